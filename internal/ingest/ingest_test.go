package ingest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/source"
	"spoor/internal/store"
)

var testNow = time.Date(2026, 5, 20, 15, 4, 5, 0, time.UTC)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.New(mem.New(), store.Options{Now: func() time.Time { return testNow }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// failing records in a store until the n-th batch, which fails with err.
type failing struct {
	ingest.Recorder
	n   int
	err error
}

func (f *failing) Record(ctx context.Context, id []byte, o []intel.Observation) (bool, error) {
	if f.n--; f.n < 0 {
		return false, f.err
	}
	return f.Recorder.Record(ctx, id, o)
}

// sightings makes n observations as NDJSON, each of a file of its own.
func sightings(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"source":{"type":"telemetry","name":"agent"},"time":"2026-05-01T08:00:00Z","file":{"md5":"%032x"},"sighting":{"path":"/a","host":"h"}}`+"\n", i+1)
	}
	return b.String()
}

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zipped(t *testing.T, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	m, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(m, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// importing imports a stream and fails the test on an error.
func importing(t *testing.T, rec ingest.Recorder, o source.Options, content string) *ingest.Summary {
	t.Helper()
	im := ingest.Importer{Recorder: rec, Options: o}
	s, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOnce holds that the same content counts once, however it is packed, named and delivered.
func TestOnce(t *testing.T) {
	s := newStore(t)
	const n = ingest.BatchSize + 100
	content := sightings(n)
	first := importing(t, s, source.Options{}, content)
	want := ingest.Summary{Inputs: 1, Bytes: int64(len(content)), Records: n, Used: n, Kinds: map[string]uint64{"sighting": n}, Accepted: n, Faults: map[string]uint64{}, Refusals: []intel.Refusal{}}
	first.Seconds = 0
	if diff := cmp.Diff(&want, first); diff != "" {
		t.Errorf("the first import:\n%s", diff)
	}
	dir := t.TempDir()
	for name, packed := range map[string]string{"plain.ndjson": content, "other.gz": gzipped(t, content), "a.zip": zipped(t, "x.json", content), "b.zip": zipped(t, "in.gz", gzipped(t, content))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(packed), 0o600); err != nil {
			t.Fatal(err)
		}
		again := importing(t, s, source.Options{}, packed)
		if again.Accepted != 0 || again.Repeated != n || again.Refused != 0 {
			t.Errorf("%s: %d recorded again, %d known, %d refused", name, again.Accepted, again.Repeated, again.Refused)
		}
	}
	im := ingest.Importer{Recorder: s, Options: source.Options{Format: source.Observations, Zone: intel.Red}}
	all, err := im.Import(t.Context(), []string{dir}, nil)
	if err != nil || all.Inputs != 4 || all.Accepted != 0 || all.Repeated != 4*n {
		t.Errorf("a folder: %v, %d inputs, %d recorded again, %d known", err, all.Inputs, all.Accepted, all.Repeated)
	}
	// Other content counts.
	if other := importing(t, s, source.Options{}, content+sightings(1)); other.Accepted == 0 {
		t.Error("a longer input counted nothing")
	}
}

// TestResumed holds that an import that broke off goes on where it ended.
func TestResumed(t *testing.T) {
	s := newStore(t)
	const n = 2*ingest.BatchSize + 100
	content := sightings(n)
	full := errors.New("disk full")
	im := ingest.Importer{Recorder: &failing{s, 1, full}}
	broken, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(content))
	if !errors.Is(err, full) {
		t.Fatalf("the import ended with %v", err)
	}
	if broken.Accepted != ingest.BatchSize {
		t.Errorf("%d recorded before the end", broken.Accepted)
	}
	again := importing(t, s, source.Options{}, gzipped(t, content))
	if again.Repeated != ingest.BatchSize || again.Accepted != n-ingest.BatchSize {
		t.Errorf("%d known, %d recorded", again.Repeated, again.Accepted)
	}
}

// TestRecorderFails holds that whatever the recorder fails with ends the import and comes back, in the midst of an archive, too.
func TestRecorderFails(t *testing.T) {
	long := sightings(2*ingest.BatchSize + 1)
	refusal := &intel.Refusal{Reason: "not this one"}
	for _, want := range []error{errors.New("disk full"), io.ErrUnexpectedEOF, errors.New("zstd: corrupt"), refusal, intel.ErrUnavailable} {
		contents := map[string]string{"at the end": sightings(1)}
		if want == error(refusal) { // the one that a reader could take for the input's fault
			contents["on the way"] = long
		}
		for name, content := range contents {
			im := ingest.Importer{Recorder: &failing{nil, 0, want}}
			s, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(zipped(t, "a", content)))
			if !errors.Is(err, want) || s.Accepted != 0 || s.Refused != 0 {
				t.Errorf("%s: %v, want %v; %d recorded, %d refused", name, err, want, s.Accepted, s.Refused)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	im := ingest.Importer{Recorder: newStore(t)}
	if _, err := im.Import(ctx, []string{"-"}, strings.NewReader(sightings(5000))); !errors.Is(err, context.Canceled) {
		t.Errorf("an import that was called off ended with %v", err)
	}
}

// TestNamesDiffer holds that the same bytes, read in another way, are another batch; and that a zone that is not said is red.
func TestNamesDiffer(t *testing.T) {
	s := newStore(t)
	list := "d41d8cd98f00b204e9800998ecf8427e\n"
	for _, test := range []struct {
		name     string
		o        source.Options
		repeated uint64
	}{
		{"first", source.Options{Feed: "a"}, 0},
		{"the same", source.Options{Feed: "a"}, 1},
		{"the zone said", source.Options{Feed: "a", Zone: intel.Red}, 1},
		{"the format said", source.Options{Feed: "a", Format: source.HashList}, 1},
		{"another feed", source.Options{Feed: "b"}, 0},
		{"another zone", source.Options{Feed: "a", Zone: intel.Green}, 0},
		{"another marking", source.Options{Feed: "a", Marking: intel.TLPAmber}, 0},
	} {
		test.o.Now = testNow
		if got := importing(t, s, test.o, list); got.Repeated != test.repeated || got.Accepted != 1-test.repeated {
			t.Errorf("%s: %d known, %d recorded", test.name, got.Repeated, got.Accepted)
		}
	}
	// The same bytes as two formats: an event as JSON that holds the event as XML.
	both := `{"EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Image":"a","Hashes":"MD5=D41D8CD98F00B204E9800998ECF8427E","raw":"` +
		`<Event><System><Provider Name='Microsoft-Windows-Sysmon'/><EventID>1</EventID></System><EventData><Data Name='Image'>a</Data>` +
		`<Data Name='Hashes'>MD5=D41D8CD98F00B204E9800998ECF8427E</Data></EventData></Event>"}` + "\n"
	for _, format := range []source.Format{source.SysmonJSON, source.SysmonXML} {
		if got := importing(t, s, source.Options{Format: format}, both); got.Accepted != 1 || got.Repeated != 0 {
			t.Errorf("%s: %d recorded, %d known", format, got.Accepted, got.Repeated)
		}
	}
}

// TestRefusals holds that what is refused is counted, told, grouped and bounded, and that the good rest is kept.
func TestRefusals(t *testing.T) {
	s := newStore(t)
	var b strings.Builder
	b.WriteString(sightings(1))
	const bad = 12_000
	for i := range bad {
		fmt.Fprintf(&b, `{"source":{"type":"telemetry","name":"agent"},"file":{"md5":"%032x"},"sighting":{},"field%d":1}`+"\n", i, i)
	}
	b.WriteString(strings.Replace(sightings(2), `"/a"`, `"/b"`, 1))
	told := 0
	im := ingest.Importer{Recorder: s, Each: func(intel.Refusal) { told++ }}
	got, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got.Refused != bad || told != bad || got.Accepted != 3 || got.Records != bad+3 {
		t.Errorf("%d refused, %d told, %d recorded of %d", got.Refused, told, got.Accepted, got.Records)
	}
	if len(got.Refusals) != 10_000 {
		t.Errorf("%d refusals kept", len(got.Refusals))
	}
	if first := got.Refusals[0]; first.Input != "standard input" || first.Line != 2 || first.Field != "field0" {
		t.Errorf("the first refusal: %+v", first)
	}
	sum := uint64(0)
	for _, n := range got.Faults {
		sum += n
	}
	if len(got.Faults) > 201 || got.Faults["other faults"] != bad-200 || sum != bad {
		t.Errorf("%d faults, %d of them others, %d in all", len(got.Faults), got.Faults["other faults"], sum)
	}
}

// TestFaults holds how refusals are grouped: by field; else by reason without what it quotes and without numbers.
func TestFaults(t *testing.T) {
	s := newStore(t)
	bad := `{"source":{"type":"telemetry","name":"agent"},"file":{"md5":"d41d8cd98f00b204e9800998ecf8427e"},"attribute":{"name":"size","value":"x"}}` + "\n"
	got := importing(t, s, source.Options{Format: source.Observations}, bad+bad+"no JSON\n   {\n{}\n[]\n"+
		`{"file":{"md5":"abc"}}`+"\n"+`{"file":{"md5":"ab\"cd"}}`+"\n"+`{"file":{"md5":"`+strings.Repeat("é", 500)+`"}}`+"\n")
	want := map[string]uint64{
		"attribute.value": 2,
		"not JSON at byte #: invalid character 'o' in literal null (expecting 'u')":                                                1,
		"not JSON: the line ends before the object does":                                                                           1,
		"# facts on the line; give exactly one of attribute, sighting, relation, access, download, detection, listing, signature,": 1,
		"a JSON array where an object belongs":                                                                                     1,
		"file.md5":                                                                                                                 3,
	}
	if diff := cmp.Diff(want, got.Faults); diff != "" {
		t.Error(diff)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

// TestUnreadable holds that an input that cannot be read is refused, and the others go on; an empty one lacks nothing.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.txt": "no format that is known\n", "b.ndjson": strings.Replace(sightings(1), `"/a"`, `"/b"`, 1), "c.gz": gzipped(t, sightings(3000))[:2000], "d.txt": "", "e.txt": "d41d8cd98f00b204e9800998ecf8427e\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	im := ingest.Importer{Recorder: newStore(t)}
	s, err := im.Import(t.Context(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range s.Refusals {
		got = append(got, strings.TrimPrefix(r.Error(), dir+string(filepath.Separator)))
	}
	for i, want := range []string{"a.txt: its format is not recognised", "c.gz!c: line ", "c.gz!c: reading: unexpected EOF", "e.txt: it looks like a list of hashes: say with --feed NAME whose list it is"} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("refusal %d of %q; want %q", i, got, want)
		}
	}
	if s.Accepted == 0 || s.Accepted != uint64(s.Used) {
		t.Errorf("%d recorded of %d", s.Accepted, s.Used)
	}
	if _, err := im.Import(t.Context(), []string{filepath.Join(dir, "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

// TestMarking: a marking of the whole import is the least that any observation in it gets.
func TestMarking(t *testing.T) {
	s := newStore(t)
	line := `{"source":{"type":"telemetry","name":"edr"},"file":{"md5":"44d88612fea8a8f36de82e1278abb02f"},"sighting":{"path":"/a"}}` + "\n"
	im := ingest.Importer{Recorder: s, Options: source.Options{Format: source.Observations, Marking: intel.TLPAmber}}
	if _, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(line)); err != nil {
		t.Fatal(err)
	}
	h, err := intel.ParseHash("44d88612fea8a8f36de82e1278abb02f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.View(intel.TLPGreen).Recall(t.Context(), h, 0); !errors.Is(err, intel.ErrUnknown) {
		t.Errorf("who may see green sees amber: %v", err)
	}
	if _, err := s.View(intel.TLPAmber).Recall(t.Context(), h, 0); err != nil {
		t.Error(err)
	}
}

// zeekLogs are a files.log of n files and the http.log that says where they came from, each once.
func zeekLogs(n int) (files, http string) {
	var f, h strings.Builder
	f.WriteString("#separator \\x09\n#path\tfiles\n#fields\tts\tfuid\tid.orig_h\tid.resp_h\tmd5\n")
	h.WriteString("#separator \\x09\n#path\thttp\n#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\thost\turi\tstatus_code\tresp_fuids\n")
	for i := range n {
		fmt.Fprintf(&f, "1777622400.0\tF%017d\t10.0.0.5\t198.51.100.7\t%032x\n", i, i+1)
		fmt.Fprintf(&h, "1777622400.0\t10.0.0.5\t198.51.100.7\t80\tfiles.example.com\t/%d\t200\tF%017d\n", i, i)
	}
	return f.String(), h.String()
}

// TestJoined: what files.log and http.log of a folder tell together counts once for the pair, whatever is read with them, in either order,
// and again; logs of different folders are not joined, though their ids are the same.
func TestJoined(t *testing.T) {
	const n = ingest.BatchSize + 8
	files, http := zeekLogs(n)
	more, moreHTTP := zeekLogs(3)
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b := write("day/files.log", files), write("day/http.log", http)
	write("other/http.log", moreHTTP)
	write("late/a-http.log", moreHTTP)
	write("late/files.log", more)
	s := newStore(t)
	for _, step := range []struct {
		name               string
		paths              []string
		accepted, repeated uint64
		downloads          uint64
	}{
		{"http.log alone", []string{b}, 0, 0, 0},
		{"another folder's files.log", []string{filepath.Join(dir, "other"), a}, n, 0, 0},
		{"http.log first", []string{b, a}, n, n, n},
		{"files.log first", []string{a, b}, 0, 2 * n, n},
		{"the folder", []string{filepath.Join(dir, "day")}, 0, 2 * n, n},
		{"http.log before files.log", []string{filepath.Join(dir, "late")}, 3, 3, 3}, // the downloads are among those of the day
		{"all", []string{dir}, 0, 2*n + 6, n + 3},
	} {
		summary, err := (&ingest.Importer{Recorder: s, Options: source.Options{Now: testNow}}).Import(t.Context(), step.paths, nil)
		if err != nil {
			t.Fatal(err)
		}
		if summary.Accepted != step.accepted || summary.Repeated != step.repeated || summary.Kinds["download"] != step.downloads || summary.Refused != 0 {
			t.Errorf("%s: %+v", step.name, summary)
		}
	}
}

// TestLargeInput imports an input of many batches: most of them come in one step. Again, by a recorder that takes only single batches, and
// grown at its end, the store says the same of it as one that took it batch by batch.
func TestLargeInput(t *testing.T) {
	const n = ingest.BatchSize*10 + 100 // more than are recorded one by one
	file := filepath.Join(t.TempDir(), "large.ndjson")
	if err := os.WriteFile(file, []byte(sightings(n)), 0o600); err != nil {
		t.Fatal(err)
	}
	type single struct{ ingest.Recorder } // hides that it can take many
	s := newStore(t)
	for i, rec := range []ingest.Recorder{s, s, single{s}} {
		im := ingest.Importer{Recorder: rec}
		summary, err := im.Import(t.Context(), []string{file}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := [2]uint64{n, 0}
		if i > 0 {
			want = [2]uint64{0, n}
		}
		if got := [2]uint64{summary.Accepted, summary.Repeated}; got != want {
			t.Errorf("import %d: accepted and repeated %v, want %v", i, got, want)
		}
	}
	for _, i := range []int{1, ingest.BatchSize * 5, ingest.BatchSize * 9, n} {
		h, err := intel.ParseHash(fmt.Sprintf("%032x", i))
		if err != nil {
			t.Fatal(err)
		}
		facts, err := s.View(intel.TLPRed).Recall(t.Context(), h, intel.AllSections)
		if err != nil || facts.Head.Seen.Count != 1 || len(facts.Paths) != 1 {
			t.Errorf("observation %d: %+v, %v", i, facts, err)
		}
	}
	cut := errors.New("no more")
	im := ingest.Importer{Recorder: &failingMany{newStore(t), cut}}
	if summary, err := im.Import(t.Context(), []string{file}, nil); !errors.Is(err, cut) || summary.Accepted < 8*ingest.BatchSize || summary.Accepted >= n {
		t.Errorf("a recorder that fails: %v", err)
	}
}

// failingMany fails when many batches come, after it took one of them.
type failingMany struct {
	*store.Store
	err error
}

func (f *failingMany) RecordMany(ctx context.Context, batches iter.Seq2[[]byte, []intel.Observation]) (accepted, repeated uint64, err error) {
	for id, o := range batches {
		if accepted >= ingest.BatchSize {
			return accepted, 0, f.err
		}
		if _, err := f.Record(ctx, id, o); err != nil {
			return accepted, 0, err
		}
		accepted += uint64(len(o))
	}
	return accepted, 0, nil
}
