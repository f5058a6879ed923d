package intel

import (
	"errors"
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

func TestParseFuzzyHash(t *testing.T) {
	digits := strings.Repeat("0a", 35)
	for _, tt := range []struct {
		a           FuzzyAlgorithm
		value, want string // "": it is none
	}{
		{TLSH, digits, "T1" + strings.ToUpper(digits)},
		{TLSH, " t1" + digits, "T1" + strings.ToUpper(digits)},
		{TLSH, "T1" + strings.Repeat("zz", 35), ""},
		{TLSH, "T1" + digits + "00", ""},
		{TLSH, "", ""},
		{SSDeep, "96:abc/d:e+f", "96:abc/d:e+f"},
		{SSDeep, `3::,"empty.txt"`, "3::"},
		{SSDeep, "3221225472:a:b", "3221225472:a:b"},
		{SSDeep, "6442450944:a:b", ""},
		{SSDeep, "7:abc:abc", ""},
		{SSDeep, "9:abc:abc", ""},
		{SSDeep, "0:abc:abc", ""},
		{SSDeep, "18446744073709551616:a:b", ""},
		{SSDeep, "3:" + strings.Repeat("a", 65) + ":b", ""},
		{SSDeep, "3:abc", ""},
		{SSDeep, "3:a b:c", ""},
		{Imphash, "F34D5F2D4577ED6D9CEEC516C1F5A744", "f34d5f2d4577ed6d9ceec516c1f5a744"},
		{Imphash, "f34d", ""},
		{Imphash, "", ""},
		{RichHash, "f34d5f2d4577ed6d9ceec516c1f5a74g", ""},
		{Symhash, "f34d5f2d4577ed6d9ceec516c1f5a7440", ""},
		{Authentihash, strings.Repeat("AB", 32), strings.Repeat("ab", 32)},
		{Authentihash, strings.Repeat("ab", 31), ""},
		{Telfhash, "T1" + digits, "t1" + digits},
		{Telfhash, "tnull", ""},
		{IconHash, "c4d4f0e8c8c8d4f0", "c4d4f0e8c8c8d4f0"},
	} {
		f, err := ParseFuzzyHash(tt.a, tt.value)
		switch {
		case tt.want == "":
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), string(tt.a)) {
				t.Errorf("%s %q: %v, %v", tt.a, tt.value, f, err)
			}
		case err != nil || f != FuzzyHash{tt.a, tt.want}:
			t.Errorf("%s %q: %v, %v; want %q", tt.a, tt.value, f, err, tt.want)
		}
	}
}
