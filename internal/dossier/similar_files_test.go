package dossier

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"spoor/internal/intel"
)

func resembles(a intel.FuzzyAlgorithm, distance, score int) evidence {
	return evidenceOf(&intel.Resemblance{By: intel.FuzzyHash{Algorithm: a, Value: "12:abcdefgh:abcdefgh"}, Distance: distance, Score: score})
}

// TestConfidence: nearer is surer, more evidence is never less sure, and all stays within 1 to 99.
func TestConfidence(t *testing.T) {
	last := 100
	for d := 0; d <= 300; d++ {
		c := confidence([]evidence{resembles(intel.TLSH, d, 0)})
		if c > last || c < 1 || c > 99 {
			t.Errorf("at a distance of %d it is %d, at %d %d", d, c, d-1, last)
		}
		last = c
	}
	last = 0
	for s := 1; s <= 100; s++ {
		c := confidence([]evidence{resembles(intel.SSDeep, 0, s)})
		if c < last || c < 1 || c > 99 {
			t.Errorf("with a score of %d it is %d, with %d %d", s, c, s-1, last)
		}
		last = c
	}
	all := []evidence{resembles(intel.TLSH, 0, 0), resembles(intel.TLSH, 60, 0), resembles(intel.SSDeep, 0, 30), resembles(intel.SSDeep, 0, 100), {ofSigner, sameSigner, ""}, {ofNames, sameNames, ""}}
	for _, a := range intel.FuzzyAlgorithms()[2:] {
		all = append(all, resembles(a, 0, 0))
	}
	for set := 1; set < 1<<len(all); set++ {
		var some []evidence
		for i := range all {
			if set>>i&1 == 1 {
				some = append(some, all[i])
			}
		}
		c := confidence(some)
		for i := range all {
			if more := confidence(append(some[:len(some):len(some)], all[i])); more < c || more > 99 {
				t.Fatalf("%v is %d sure, with %v %d", some, c, all[i], more)
			}
		}
	}
}

// TestConfidenceTable holds the table of docs/similarity.md to the code.
func TestConfidenceTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/similarity.md")
	if err != nil {
		t.Fatal(err)
	}
	short := evidenceOf(&intel.Resemblance{By: intel.FuzzyHash{Algorithm: intel.SSDeep, Value: "3:Xn:X"}, Score: 100})
	for name, e := range map[string][]evidence{
		"equal authentihash":                 {resembles(intel.Authentihash, 0, 0)},
		"TLSH at a distance of 0":            {resembles(intel.TLSH, 0, 0)},
		"TLSH at a distance of 30":           {resembles(intel.TLSH, 30, 0)},
		"TLSH at a distance of 60":           {resembles(intel.TLSH, 60, 0)},
		"TLSH at a distance of 100":          {resembles(intel.TLSH, 100, 0)},
		"ssdeep with a score of 100":         {resembles(intel.SSDeep, 0, 100)},
		"ssdeep with a score of 50":          {resembles(intel.SSDeep, 0, 50)},
		"equal ssdeep of a few characters":   {short},
		"equal imphash, telfhash or symhash": {resembles(intel.Symhash, 0, 0)},
		"equal Rich hash":                    {resembles(intel.RichHash, 0, 0)},
		"equal icon hash":                    {resembles(intel.IconHash, 0, 0)},
		"TLSH at 12 and equal imphash":       {resembles(intel.TLSH, 12, 0), resembles(intel.Imphash, 0, 0)},
		"imphash, and the same certificate":  {resembles(intel.Imphash, 0, 0), {ofSigner, sameSigner, ""}},
		"imphash, and a name alike":          {resembles(intel.Imphash, 0, 0), {ofNames, sameNames, ""}},
	} {
		if row := fmt.Sprintf("| %s | %d |", name, confidence(e)); !strings.Contains(string(page), row) {
			t.Errorf("docs/similarity.md has no row %q", row)
		}
	}
}

func TestNameShape(t *testing.T) {
	for name, want := range map[string]string{"Invoice_2024-11.exe": "invoice_#-#.exe", "invoice_7-3.EXE": "invoice_#-#.exe", "a.exe": "", "123.dll": "", "": "", "отчёт 5.doc": "отчёт #.doc",
		"loader": "loader", "İİİİ.exe": "iiii.exe"} {
		if got := nameShape(name); got != want {
			t.Errorf("%s has the shape %q, want %q", name, got, want)
		}
	}
}
