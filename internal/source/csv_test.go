package source

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

// TestCSVColumns: what the configuration says of a column, by name or number, comes before what its name says; what is no kind is refused.
func TestCSVColumns(t *testing.T) {
	const sha256, sha1 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	const list = "Thing,Other,Family\n" + sha256 + "," + sha1 + ",ignored\n"
	k, result := read(t, strings.NewReader(list), Options{Feed: "a feed", Format: CSV, Now: testNow,
		Columns: map[string]string{"Thing": "hash", "2": "comment", "Family": "none"}})
	want := []intel.Fact{intel.Listing{Feed: "a feed", Zone: intel.Red, Threat: sha1}}
	var got []intel.Fact
	for _, o := range k.observations {
		got = append(got, o.Fact)
		if o.File.SHA256.String() != sha256 || !o.File.SHA1.IsZero() {
			t.Errorf("of %v", o.File)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || result.Used != 1 {
		t.Errorf("%+v (-want +got):\n%s", result, diff)
	}
	k, _ = read(t, strings.NewReader(list), Options{Feed: "a feed", Format: CSV, Now: testNow, Columns: map[string]string{"Thing": "digest"}})
	if len(k.observations) != 0 || len(k.refusals) != 1 || k.refusals[0].Field != "Thing" {
		t.Errorf("%v, %v", k.observations, k.refusals)
	}
}

// TestListAddress: what is an address of a list, defanged or not, and what is none.
func TestListAddress(t *testing.T) {
	for in, want := range map[string]string{
		"evil.example.com":                    "evil.example.com",
		"evil[.]example(.)com":                "evil.example.com",
		"evil[dot]example[.com":               "evil.example.com",
		"hxxps[:]//evil.example.com/A":        "https://evil.example.com/A",
		"hXXp://198[.]51.100.7:80/x":          "http://198.51.100.7:80/x",
		"*.example.com":                       "example.com",
		"198.51.100.7:443":                    "198.51.100.7:443",
		"a.example.onion":                     "a.example.onion",
		"someone[@]example.com":               "",
		"run.exe":                             "",
		"archive.zip":                         "",
		"setup.py":                            "",
		"1.2.3":                               "",
		`C:\Users\a.com`:                      "",
		"%TEMP%/a.com":                        "",
		"com":                                 "",
		"javascript://x":                      "",
		"http://":                             "",
		"e3b0c44298fc1c149afbf4c8996fb924":    "",
		strings.Repeat("a", 70) + ".com":      "",
		"http://" + strings.Repeat("a", 5000): "",
	} {
		got, ok := listAddress(in, false)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%.60s: %q, want %q", in, got, want)
		}
	}
}

// TestSplitPlain: where the short way of splitting a line says that it can, it splits as the long one does, and changes nothing.
func TestSplitPlain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	plain := 0
	for range 200_000 {
		line := make([]byte, rnd.IntN(12))
		for i := range line {
			line[i] = `"",; a`[rnd.IntN(6)]
			if rnd.IntN(12) == 0 {
				line[i] = '\t'
			}
		}
		delimiter := delimiters[rnd.IntN(len(delimiters))]
		was := bytes.Clone(line)
		got, ok := splitPlain(nil, line, delimiter)
		if !bytes.Equal(line, was) {
			t.Fatalf("%q became %q", was, line)
		}
		if !ok {
			continue
		}
		plain++
		want, open := splitCSV(nil, bytes.Clone(was), delimiter)
		if diff := cmp.Diff(cellTexts(want), cellTexts(got)); diff != "" || open {
			t.Fatalf("%q by %q: open %v (-want +got):\n%s", was, delimiter, open, diff)
		}
	}
	if plain < 50_000 {
		t.Errorf("only %d lines were plain", plain)
	}
}

func cellTexts(cells [][]byte) []string {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = string(c)
	}
	return texts
}
