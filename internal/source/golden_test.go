package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"

	"spoor/internal/intel"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testNow = time.Date(2026, 5, 20, 15, 4, 5, 0, time.UTC)

// kept is a sink that keeps what it is given.
type kept struct {
	observations []intel.Observation
	refusals     []intel.Refusal
}

func (k *kept) Observe(o intel.Observation) error {
	k.observations = append(k.observations, o)
	return nil
}
func (k *kept) Refuse(r intel.Refusal) { k.refusals = append(k.refusals, r) }

// read reads an input whole. What comes back of Read itself is the last of the refusals; any other error fails the test.
func read(t testing.TB, r io.Reader, o Options) (*kept, Result) {
	t.Helper()
	k := &kept{}
	result, err := Read(t.Context(), NewInput("input", r), o, k)
	if err != nil {
		var refusal *intel.Refusal
		var own *streamError
		switch {
		case errors.As(err, &refusal):
			k.Refuse(*refusal)
		case errors.As(err, &own):
			k.Refuse(intel.Refusal{Input: "input", Reason: own.Error()})
		default:
			t.Fatal(err)
		}
	}
	return k, result
}

// lines of JSON, one for each value.
func ndjson[T any](t testing.TB, values []T) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range values {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// goldenOptions are how the inputs of a reader are read: by content, but for lists, which need the name of their feed.
func goldenOptions(reader string) Options {
	o := Options{Now: testNow}
	if f, err := formatOf(Format(reader)); err == nil && f.anonymous {
		o.Feed = "a feed"
	}
	if reader == string(Deb) || reader == string(RPM) {
		o.Zone = intel.Green
	}
	return o
}

// TestGolden reads every input below testdata and compares what comes out with what was looked over: observations, refusals, figures.
// The folder of the reader is the format that must be recognised.
func TestGolden(t *testing.T) {
	for _, dir := range goldenCases(t) {
		reader := filepath.Base(filepath.Dir(dir))
		t.Run(reader+"/"+filepath.Base(dir), func(t *testing.T) {
			k, result := read(t, bytes.NewReader(golden(t, dir, "input")), goldenOptions(reader))
			if result.Format != Format(reader) {
				t.Errorf("recognised as %q", result.Format)
			}
			checkAll(t, k)
			compare := func(name string, got []byte) {
				t.Helper()
				if *update {
					if err := os.WriteFile(filepath.Join(dir, name), got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(strings.Split(string(golden(t, dir, name)), "\n"), strings.Split(string(got), "\n")); diff != "" {
					t.Errorf("%s (-want +got; 'go test ./internal/source -run Golden -update' writes it anew, to be looked over):\n%s", name, diff)
				}
			}
			compare("observations.ndjson", ndjson(t, k.observations))
			compare("refusals.ndjson", ndjson(t, k.refusals))
			figures, err := json.MarshalIndent(result, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			compare("result.json", append(figures, '\n'))
		})
	}
}

// TestGoldenShapes holds that one story, told in every shape, gives the same observations.
func TestGoldenShapes(t *testing.T) {
	var first, want string
	shapes := 0
	for _, dir := range goldenCases(t) {
		if !strings.HasPrefix(filepath.Base(dir), "story-") {
			continue
		}
		got := string(golden(t, dir, "observations.ndjson"))
		if shapes++; shapes == 1 {
			first, want = dir, got
		} else if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s differs from %s:\n%s", dir, first, diff)
		}
	}
	if shapes < 2 {
		t.Fatalf("%d shapes", shapes)
	}
}

// TestGoldenEncodings reads every input in other encodings, with other ends of lines, and packed: nothing changes.
func TestGoldenEncodings(t *testing.T) {
	utf16 := func(e unicode.Endianness, b unicode.BOMPolicy) func(t *testing.T, in []byte) []byte {
		return func(t *testing.T, in []byte) []byte {
			out, err := unicode.UTF16(e, b).NewEncoder().Bytes(in)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	for name, encode := range map[string]func(t *testing.T, in []byte) []byte{
		"BOM":             func(_ *testing.T, in []byte) []byte { return append([]byte("\uFEFF"), in...) },
		"CRLF":            func(_ *testing.T, in []byte) []byte { return bytes.ReplaceAll(in, []byte("\n"), []byte("\r\n")) },
		"UTF-16LE":        utf16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16BE":        utf16(unicode.BigEndian, unicode.UseBOM),
		"UTF-16LE no BOM": utf16(unicode.LittleEndian, unicode.IgnoreBOM),
	} {
		t.Run(name, func(t *testing.T) {
			for _, dir := range goldenCases(t) {
				in := golden(t, dir, "input")
				if strings.HasSuffix(dir, "latin-1") && strings.HasPrefix(name, "UTF-16") {
					continue // there is no UTF-16 of bytes that are no UTF-8
				}
				if bytes.HasPrefix(in, []byte("SQLite")) || PackageFormat(in) != "" {
					continue // no text
				}
				if in[0] >= 0x80 && name == "UTF-16LE no BOM" {
					continue // told by its first letters
				}
				reader := filepath.Base(filepath.Dir(dir))
				k, _ := read(t, bytes.NewReader(encode(t, in)), goldenOptions(reader))
				if diff := cmp.Diff(string(golden(t, dir, "observations.ndjson")), string(ndjson(t, k.observations))); diff != "" {
					t.Errorf("%s:\n%s", dir, diff)
				}
				// What is wrong stands on the same lines; a byte's place in a line may differ.
				var want, got []int64
				for line := range bytes.Lines(golden(t, dir, "refusals.ndjson")) {
					var r intel.Refusal
					if err := json.Unmarshal(line, &r); err != nil {
						t.Fatal(err)
					}
					want = append(want, r.Line)
				}
				for _, r := range k.refusals {
					got = append(got, r.Line)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: lines of refusals:\n%s", dir, diff)
				}
			}
		})
	}
}

// TestCutInputs reads inputs whose stream fails near the end: what came before is told, and the fault is.
func TestCutInputs(t *testing.T) {
	for _, dir := range goldenCases(t) {
		if !strings.HasPrefix(filepath.Base(dir), "story-") {
			continue
		}
		in := golden(t, dir, "input")
		cut := io.MultiReader(bytes.NewReader(in[:bytes.LastIndex(in, []byte("Hash"))]), iotest.ErrReader(io.ErrUnexpectedEOF))
		k, _ := read(t, cut, goldenOptions(filepath.Base(filepath.Dir(dir))))
		// The last event alone is lost.
		want := bytes.Count(golden(t, dir, "observations.ndjson"), []byte("\n")) - 1
		if len(k.observations) != want {
			t.Errorf("%s: %d observations before the cut, want %d", dir, len(k.observations), want)
		}
		if n := len(k.refusals); n == 0 || !strings.Contains(k.refusals[n-1].Reason, "unexpected EOF") {
			t.Errorf("%s: the cut is not told: %v", dir, k.refusals)
		}
	}
}

func goldenCases(t testing.TB) []string {
	t.Helper()
	cases, err := filepath.Glob("testdata/*/*/input")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	for i := range cases {
		cases[i] = filepath.Dir(cases[i])
	}
	return cases
}

func golden(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkAll holds what every reader promises: observations pass their check, refusals have a reason and a place, all is bounded.
func checkAll(t testing.TB, k *kept) {
	t.Helper()
	for i := range k.observations {
		if err := k.observations[i].Check(); err != nil {
			t.Errorf("an observation that does not pass: %v", err)
		}
	}
	for _, r := range k.refusals {
		if r.Reason == "" || r.Input == "" || r.Line < 0 {
			t.Errorf("a refusal without reason or place: %+v", r)
		}
		if len(r.Reason) > maxTold+3 || len(r.Field) > maxTold+3 {
			t.Errorf("a refusal of %d and %d bytes", len(r.Field), len(r.Reason))
		}
	}
}
