package source

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTopKeys: the keys of the first object alone, also of a text that is cut.
func TestTopKeys(t *testing.T) {
	for text, want := range map[string][]string{
		`{"a":1,"b":{"c":2},"d":["e",{"f":3}],"g":"h"}{"i":1}`: {"a", "b", "d", "g"},
		`[{"a":"b"},{"c":1}]`:     {"a"},
		`[["x"],{"a":{"b":[1]`:    {"a"},
		`{"a":null,"b":tr`:        {"a", "b"},
		`{"a":[],"b":{},"c":true`: {"a", "b", "c"},
		`{}`:                      nil,
		`[1,"a",{}]`:              nil,
		`text`:                    nil,
		``:                        nil,
		`]}`:                      nil,
	} {
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(topKeys([]byte(text))))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestRecognised: the input of every golden case is recognised as the format whose folder it lies in, without and, for a list, with a feed.
func TestRecognised(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/*/input*")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden inputs: %v", err)
	}
	for _, file := range inputs {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in := NewInput(file, strings.NewReader(string(b)))
		_, head, err := in.open()
		if err != nil {
			t.Fatal(err)
		}
		want := Format(filepath.Base(filepath.Dir(filepath.Dir(file))))
		f, err := formatOf(want)
		if err != nil {
			continue // a folder of something else
		}
		got := Format("nothing")
		if found := recognise(newSample(file, head), f.anonymous); found != nil {
			got = found.name
		}
		if got != want {
			t.Errorf("%s is recognised as %s, not %s", file, got, want)
		}
	}
}
