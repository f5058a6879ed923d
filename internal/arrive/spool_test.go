package arrive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/arrive"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

const theMD5 = "0123456789abcdef0123456789abcdef"

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// hits is how often the store saw the file.
func hits(t *testing.T, s *store.Store) uint64 {
	t.Helper()
	h, err := intel.ParseHash(theMD5)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.View(intel.TLPRed).Recall(t.Context(), h, 0)
	if errors.Is(err, intel.ErrUnknown) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Seen.Count
}

// sighting is one observation; each n is another.
func sighting(n int) string {
	return fmt.Sprintf(`{"source":{"type":"telemetry","name":"t"},"file":{"md5":%q},"sighting":{"host":"h%d"}}`, theMD5, n)
}

func sightings(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(sighting(i) + "\n")
	}
	return b.String()
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree lists the files under a folder.
func tree(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// unsure records, but for the first times it fails before or after it did.
type unsure struct {
	ingest.Recorder
	before, after int
}

func (u *unsure) Record(ctx context.Context, id []byte, o []intel.Observation) (bool, error) {
	if u.before > 0 {
		u.before--
		return false, intel.ErrUnavailable
	}
	repeated, err := u.Recorder.Record(ctx, id, o)
	if u.after > 0 && err == nil {
		u.after--
		return false, intel.ErrUnavailable
	}
	return repeated, err
}

func TestSpool(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	recorder := &unsure{Recorder: s}
	spool := &arrive.Spool{Dir: dir, Recorder: recorder}
	if err := spool.Open(); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		if err := spool.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "a.ndjson", sightings(0, 5))
	write(t, dir, ".hidden", sightings(100, 101))
	write(t, dir, "b.ndjson.tmp", sightings(100, 101))
	write(t, dir, "c.part", sightings(100, 101))
	write(t, dir, "bad.bin", "\x00\x01\x02\x03")
	write(t, dir, "partly.ndjson", sightings(5, 7)+"{}\n")
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	look() // sees them
	if got := hits(t, s); got != 0 {
		t.Errorf("%d hits before it is clear that the files are whole", got)
	}
	write(t, dir, "partly.ndjson", sightings(5, 8)+"{}\n") // still being written
	look()
	look()
	want := []string{".hidden", "b.ndjson.tmp", "c.part", "done/a.ndjson", "done/a.ndjson.report.json", "done/partly.ndjson", "done/partly.ndjson.report.json",
		"failed/bad.bin", "failed/bad.bin.report.json"}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	if got := hits(t, s); got != 8 {
		t.Errorf("%d hits, want 8", got)
	}
	var report struct {
		File     string
		Accepted int
		Refused  int
		Refusals []struct{ Input, Reason string }
	}
	b, err := os.ReadFile(filepath.Join(dir, "done/partly.ndjson.report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	if report.File != "partly.ndjson" || report.Accepted != 3 || report.Refused != 1 || len(report.Refusals) != 1 || report.Refusals[0].Input != "partly.ndjson" {
		t.Errorf("the report: %+v", report)
	}

	// The same content again under the same name: it counts nothing and overwrites nothing.
	write(t, dir, "a.ndjson", sightings(0, 5))
	look()
	look()
	if got := hits(t, s); got != 8 {
		t.Errorf("%d hits after the same file again, want 8", got)
	}
	if files := tree(t, dir); !slices.Contains(files, "done/a.ndjson.1") || !slices.Contains(files, "done/a.ndjson.1.report.json") {
		t.Errorf("%v", files)
	}

	// A store that fails, also after it has recorded: the file stays until it is taken, and counts once; the others go on.
	write(t, dir, "e.ndjson", sightings(20, 23))
	write(t, dir, "f.ndjson", sightings(30, 34))
	look()
	recorder.before, recorder.after = 1, 1
	for range 2 {
		err = spool.Look(t.Context())
	}
	if err != nil {
		t.Errorf("the second time: %v", err)
	}
	if got := hits(t, s); got != 15 {
		t.Errorf("%d hits, want 15", got)
	}
}

// TestSpoolOpen fails where no folder can be.
func TestSpoolOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	if err := (&arrive.Spool{Dir: filepath.Join(dir, "file")}).Open(); err == nil {
		t.Error("a file is no folder")
	}
}
