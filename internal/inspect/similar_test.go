package inspect

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"spoor/internal/intel"
)

// TestFuzzyHashes: a file and its members have TLSH and ssdeep, told by the bytes; what is too short for a TLSH has none.
func TestFuzzyHashes(t *testing.T) {
	var text strings.Builder
	for i := range 300 {
		text.WriteString(strings.Repeat("line ", i%7) + string(rune('a'+i%26)) + "\n")
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{"long.txt": text.String(), "short.txt": "short", "empty": ""} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, all := look(t, b.Bytes(), "a.zip", nil)
	got := map[string]map[intel.FuzzyAlgorithm]string{}
	for _, o := range all {
		if f, ok := o.Fact.(intel.FuzzyHash); ok {
			if f != f.Canonical() {
				t.Errorf("%v is not spelled as others are", f)
			}
			key := o.File.SHA256.String()[:8]
			if got[key] == nil {
				got[key] = map[intel.FuzzyAlgorithm]string{}
			}
			got[key][f.Algorithm] = f.Value
		}
	}
	long, small, empty := got[short([]byte(text.String()))], got[short([]byte("short"))], got[short(nil)]
	if len(long[intel.TLSH]) != 72 || len(long[intel.SSDeep]) < 20 || small[intel.TLSH] != "" || small[intel.SSDeep] != "3:Xn:X" || len(empty) != 0 || len(got) != 3 {
		t.Errorf("fuzzy hashes: %v", got)
	}
}
