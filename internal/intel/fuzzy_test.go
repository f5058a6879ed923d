package intel

import (
	"strings"
	"testing"
)

func TestLooksFuzzy(t *testing.T) {
	digits := strings.Repeat("0a", 35)
	for _, tt := range []struct {
		text  string
		a     FuzzyAlgorithm
		value string
	}{
		{"T1" + digits, TLSH, "T1" + digits},
		{" t1" + strings.ToUpper(digits) + "\n", TLSH, "t1" + strings.ToUpper(digits)},
		{digits, TLSH, digits},
		{"96:abc/d:e+f", SSDeep, "96:abc/d:e+f"},
		{"imphash:f34d5f2d4577ed6d9ceec516c1f5a744", Imphash, "f34d5f2d4577ed6d9ceec516c1f5a744"},
		{"ImpHash:x", Imphash, "x"}, // it is no good one, and is told so
		{"tlsh:" + digits, TLSH, digits},
		{"f34d5f2d4577ed6d9ceec516c1f5a744", "", ""}, // an MD5
		{"T2" + digits, "", ""},
		{"see T1" + digits, "", ""}, // a text, which may hold other hashes
		{"https://evil.example:8080/a", "", ""},
		{"md5:f34d5f2d4577ed6d9ceec516c1f5a744", "", ""},
		{"", "", ""},
		{"::", "", ""},
	} {
		a, value, ok := LooksFuzzy(tt.text)
		if a != tt.a || value != tt.value || ok != (tt.a != "") {
			t.Errorf("%q: %q %q %v", tt.text, a, value, ok)
		}
	}
}
