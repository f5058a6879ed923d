package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/store"
)

// counts are the hits of files, by their MD5.
func counts(t *testing.T, s *store.Store, files int) map[int]uint64 {
	t.Helper()
	got := map[int]uint64{}
	for i := range files {
		h, err := intel.ParseHash(fmt.Sprintf("%032x", i+1))
		if err != nil {
			t.Fatal(err)
		}
		d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), h, dossier.Query{})
		if err != nil {
			if errors.Is(err, intel.ErrUnknown) {
				continue
			}
			t.Fatal(err)
		}
		got[i] = d.General.Hits
	}
	return got
}

// sysmonLog is n process starts as JSON lines, of few files; each line is some 500 bytes, so a log of thousands has several blocks.
func sysmonLog(n int) (lines []string) {
	at := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"ws-1","UtcTime":"%s","Image":"C:\\a\\%d.exe","Hashes":"MD5=%032X","ProcessGuid":"{5c1e37f0-0000-665f-0001-%012x}","CommandLine":"%s"}`+"\n",
			at.Add(time.Duration(i)*time.Second).Format("2006-01-02 15:04:05.000"), i%7, i%7+1, i, strings.Repeat("x", 100+i%300)))
	}
	return lines
}

// TestGrown: a log that is imported each time that it has grown counts as one that is imported once, wherever it was cut.
func TestGrown(t *testing.T) {
	list := strings.SplitAfter(sightings(3*ingest.BatchSize/2), "\n")
	for name, test := range map[string]struct {
		lines []string
		cuts  []int // whole lines at each import, ascending
		files int
		o     source.Options
	}{
		"every line of a short one":        {sysmonLog(40), sequence(1, 40), 7, source.Options{}},
		"over blocks":                      {sysmonLog(3000), []int{1, 2, 500, 501, 700, 1100, 1101, 2999, 3000}, 7, source.Options{}},
		"over batches":                     {list, []int{5, ingest.BatchSize - 1, ingest.BatchSize, ingest.BatchSize + 1, ingest.BatchSize + 100, len(list) - 1}, 20, source.Options{}},
		"a list, which bears no times":     {sums(50), []int{1, 7, 8, 30, 50}, 20, source.Options{Feed: "list", Format: source.Sums}},
		"over many batches, into the next": {many(12*ingest.BatchSize + 50), []int{30, 9*ingest.BatchSize + 5, 12*ingest.BatchSize + 50}, 20, source.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			whole, grown := newStore(t), newStore(t)
			test.o.Now = testNow
			once := importing(t, whole, test.o, strings.Join(test.lines, ""))
			accepted := uint64(0)
			for i, cut := range test.cuts {
				test.o.Now = testNow.Add(time.Duration(i) * time.Hour)
				content := strings.Join(test.lines[:cut], "")
				if i%3 == 1 {
					content = gzipped(t, content)
				}
				accepted += importing(t, grown, test.o, content).Accepted
				if again := importing(t, grown, test.o, content); again.Accepted != 0 {
					t.Fatalf("%d lines again: %d accepted", cut, again.Accepted)
				}
			}
			if accepted != once.Accepted {
				t.Errorf("%d observations accepted, want %d", accepted, once.Accepted)
			}
			if diff := cmp.Diff(counts(t, whole, test.files), counts(t, grown, test.files)); diff != "" {
				t.Errorf("hits (-once +grown):\n%s", diff)
			}
		})
	}
}

func sequence(from, to int) (all []int) {
	for i := from; i <= to; i++ {
		all = append(all, i)
	}
	return all
}

// sums are lines of md5sum.
func sums(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("%032x  dir/file-%d\n", i+1, i))
	}
	return lines
}

// many are so many sightings, of few files.
func many(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"source":{"type":"telemetry","name":"agent"},"time":"2026-05-01T08:00:00Z","file":{"md5":"%032x"},"sighting":{"host":"h","name":"%d"}}`+"\n", i%5+1, i/50))
	}
	return lines
}

// TestGrownCut: a last line that is half written counts once when it is whole.
func TestGrownCut(t *testing.T) {
	lines := sysmonLog(30)
	content := strings.Join(lines, "")
	whole, grown := newStore(t), newStore(t)
	once := importing(t, whole, source.Options{}, content)
	random := rand.New(rand.NewPCG(1, 2))
	cuts := []int{len(lines[0]), len(content) - 1, len(content)} // whole but for its end
	for range 40 {
		cuts = append(cuts, len(lines[0])+random.IntN(len(content)-len(lines[0])))
	}
	slices.Sort(cuts)
	accepted := uint64(0)
	for _, cut := range cuts {
		accepted += importing(t, grown, source.Options{Format: source.SysmonJSON}, content[:cut]).Accepted
	}
	if accepted != once.Accepted {
		t.Errorf("%d observations accepted, want %d", accepted, once.Accepted)
	}
	if diff := cmp.Diff(counts(t, whole, 7), counts(t, grown, 7)); diff != "" {
		t.Errorf("hits (-once +grown):\n%s", diff)
	}
}

// TestGrownHalf: what a half-written line was taken for stays, but the lines before it count once.
func TestGrownHalf(t *testing.T) {
	s := newStore(t)
	o := source.Options{Feed: "list", Format: source.HashList, Now: testNow}
	first := fmt.Sprintf("%032x\n%032x\n%032x", 1, 2, 3)
	importing(t, s, o, first)                                   // the third is an MD5, so far
	sum := importing(t, s, o, first+"00000000"+"\n"+first+"\n") // and is a SHA-1 now
	if sum.Accepted == 0 || sum.Repeated != 2 {
		t.Errorf("%+v", sum)
	}
}

// TestGrownCrash: when recording fails on the way, what was recorded counts once, and the rest is recorded the next time.
func TestGrownCrash(t *testing.T) {
	lines := many(2*ingest.BatchSize + 40)
	whole, grown := newStore(t), newStore(t)
	once := importing(t, whole, source.Options{}, strings.Join(lines, ""))
	accepted := uint64(0)
	for _, step := range []struct{ lines, batches int }{{100, 1}, {ingest.BatchSize + 9, 1}, {ingest.BatchSize + 9, 2}, {len(lines), 0}, {len(lines), 2}, {len(lines), 3}} {
		im := ingest.Importer{Recorder: &failingEnd{grown, step.batches}}
		sum, err := im.Import(t.Context(), []string{"-"}, strings.NewReader(strings.Join(lines[:step.lines], "")))
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		accepted += sum.Accepted
	}
	if accepted != once.Accepted {
		t.Errorf("%d accepted, want %d", accepted, once.Accepted)
	}
	if diff := cmp.Diff(counts(t, whole, 5), counts(t, grown, 5)); diff != "" {
		t.Errorf("hits (-once +grown):\n%s", diff)
	}
}

// failingEnd is a store that records so many batches and then fails.
type failingEnd struct {
	*store.Store
	left int
}

func (f *failingEnd) Record(ctx context.Context, id []byte, o []intel.Observation) (bool, error) {
	return f.RecordEnd(ctx, id, nil, o)
}

func (f *failingEnd) RecordEnd(ctx context.Context, id []byte, marks map[string]uint64, o []intel.Observation) (bool, error) {
	if f.left--; f.left < 0 {
		return false, io.ErrClosedPipe
	}
	return f.Store.RecordEnd(ctx, id, marks, o)
}

// TestGrownOthers: inputs that begin alike and are no continuations of one another count by themselves; so does one that is read in another way.
func TestGrownOthers(t *testing.T) {
	lines := sysmonLog(20)
	s := newStore(t)
	importing(t, s, source.Options{}, strings.Join(lines[:10], ""))
	other := slices.Clone(lines[:12])
	other[9] = strings.Replace(other[9], "ws-1", "ws-2", 1)
	if sum := importing(t, s, source.Options{}, strings.Join(other, "")); sum.Repeated != 0 {
		t.Errorf("another log: %+v", sum)
	}
	if sum := importing(t, s, source.Options{Marking: intel.TLPAmber}, strings.Join(lines[:12], "")); sum.Repeated != 0 {
		t.Errorf("another marking: %+v", sum)
	}
	if sum := importing(t, s, source.Options{}, strings.Join(lines[:12], "")); sum.Repeated == 0 || sum.Accepted == 0 {
		t.Errorf("the same, grown: %+v", sum)
	}
	want := map[string]uint64{"sums": 1, "again": 0}
	o := source.Options{Feed: "f", Format: source.Sums, Now: testNow}
	got := map[string]uint64{"sums": importing(t, s, o, sums(3)[0]).Accepted, "again": importing(t, s, o, sums(3)[0]).Accepted}
	if got["sums"] > 0 {
		got["sums"] = 1
	}
	if !maps.Equal(want, got) {
		t.Errorf("%v", got)
	}
}

// TestGrownJoined: what two logs of a folder tell together counts once, when one, the other or both have grown.
func TestGrownJoined(t *testing.T) {
	var files, requests []string
	for i := range 60 {
		at := fmt.Sprintf("%d.%06d", 1777622400+i, i)
		files = append(files, fmt.Sprintf(`{"ts":%s,"fuid":"F%04d","id.orig_h":"10.0.0.5","id.resp_h":"198.51.100.7","md5":"%032x"}`+"\n", at, i, i%7+1))
		requests = append(requests, fmt.Sprintf(`{"ts":%s,"uid":"C%d","id.orig_h":"10.0.0.5","id.resp_h":"198.51.100.7","id.resp_p":80,"host":"files.example.com","uri":"/%d","status_code":200,"resp_fuids":["F%04d"]}`+"\n", at, i, i, i))
	}
	take := func(s *store.Store, f, r int, swapped bool) *ingest.Summary {
		t.Helper()
		dir := t.TempDir()
		names := [2]string{"a.log", "b.log"} // which is read first must not matter
		if swapped {
			names = [2]string{"b.log", "a.log"}
		}
		for i, lines := range [][]string{files[:f], requests[:r]} {
			if err := os.WriteFile(filepath.Join(dir, names[i]), []byte(strings.Join(lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		im := ingest.Importer{Recorder: s}
		sum, err := im.Import(t.Context(), []string{dir}, nil)
		if err != nil || sum.Refused > 0 {
			t.Fatalf("%+v %v", sum, err)
		}
		return sum
	}
	whole, grown := newStore(t), newStore(t)
	once := take(whole, len(files), len(requests), false)
	if once.Kinds["download"] != uint64(len(files)) {
		t.Fatalf("%+v", once)
	}
	accepted := uint64(0)
	for i, cut := range [][2]int{{1, 1}, {1, 20}, {20, 20}, {21, 22}, {45, 40}, {45, 60}, {60, 60}, {60, 60}} {
		accepted += take(grown, cut[0], cut[1], i%2 == 1).Accepted
	}
	if accepted != once.Accepted {
		t.Errorf("%d accepted, want %d", accepted, once.Accepted)
	}
	if diff := cmp.Diff(counts(t, whole, 7), counts(t, grown, 7)); diff != "" {
		t.Errorf("hits (-once +grown):\n%s", diff)
	}
}
