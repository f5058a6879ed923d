package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// listed is that a feed lists a file at a moment.
func listed(feed string, f intel.Hashes, at time.Time) intel.Observation {
	return intel.Observation{Source: intel.Source{Type: intel.FeedSource, Name: feed}, Time: at, File: f, Fact: intel.Listing{Feed: feed, Zone: intel.Red, Threat: "T"}}
}

// feeds are the feeds that a dossier names, with when each first and last listed the file.
func feeds(t *testing.T, s *store.Store, h intel.Hash) (rows []string) {
	t.Helper()
	d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), h, dossier.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Feeds {
		rows = append(rows, fmt.Sprintf("%s %s %s", f.Feed, f.First.Format(time.DateOnly), f.Last.Format(time.DateOnly)))
	}
	return rows
}

// TestSnapshot: what a feed no longer lists leaves the dossier and its verdict, also as a related file and also where the answer was cached; what comes
// back has its history.
func TestSnapshot(t *testing.T) {
	engine := mem.New()
	s, err := store.New(engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return noon.AddDate(0, 0, n) }
	a, b := hashes(sha256A, md5A), hashes(sha256B)
	snapshot := func(n int, files ...intel.Hashes) {
		t.Helper()
		var o []intel.Observation
		for _, f := range files {
			o = append(o, listed("F", f, day(n)))
		}
		record(t, s, fmt.Sprint("day ", n), o...)
		if err := s.Snapshot(t.Context(), "F", day(n)); err != nil {
			t.Fatal(err)
		}
	}
	record(t, s, "started", intel.Observation{Source: telemetry, Time: noon, Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: b}, To: intel.Object{Hashes: a}}},
		listed("once", b, day(0)))
	zone := func(h intel.Hash) (own, started intel.Zone) {
		t.Helper()
		d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), h, dossier.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range d.Started {
			started = r.Zone
		}
		return d.Verdict.Zone, started
	}
	check := func(what string, wantA, wantB []string, zoneA intel.Zone) {
		t.Helper()
		if diff := cmp.Diff(wantA, feeds(t, s, md5A)); diff != "" {
			t.Errorf("%s: A (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(wantB, feeds(t, s, sha256B)); diff != "" {
			t.Errorf("%s: B (-want +got):\n%s", what, diff)
		}
		own, _ := zone(sha256A)
		if _, started := zone(sha256B); own != zoneA || started != zoneA {
			t.Errorf("%s: A is %s, as a related file %s, want %s", what, own, started, zoneA)
		}
	}
	once := "once 2026-05-01 2026-05-01"
	snapshot(1, a, b)
	check("both listed", []string{"F 2026-05-02 2026-05-02"}, []string{"F 2026-05-02 2026-05-02", once}, intel.Red)
	v := s.View(intel.TLPRed)
	if _, err := v.Recall(t.Context(), sha256A, 0); err != nil || !v.Fresh() {
		t.Fatalf("%v, fresh %t", err, v.Fresh())
	}
	unlisted := s.View(intel.TLPRed)
	if _, err := unlisted.Address(t.Context(), intel.Address{URL: "h.example", Host: "h.example"}); err != nil {
		t.Fatal(err)
	}
	snapshot(2, b)
	if v.Fresh() {
		t.Error("an answer with a listing of the feed is fresh after its snapshot")
	}
	if !unlisted.Fresh() {
		t.Error("an answer without a listing of the feed is not fresh")
	}
	check("A no longer listed", nil, []string{"F 2026-05-02 2026-05-03", once}, intel.Gray)

	// A new process knows it, too.
	if s, err = store.New(engine, store.Options{}); err != nil {
		t.Fatal(err)
	}
	check("another process", nil, []string{"F 2026-05-02 2026-05-03", once}, intel.Gray)
	snapshot(3, a, b)
	check("A back", []string{"F 2026-05-02 2026-05-04"}, []string{"F 2026-05-02 2026-05-04", once}, intel.Red)

	// An older moment that comes late changes nothing.
	if err := s.Snapshot(t.Context(), "F", day(1)); err != nil {
		t.Fatal(err)
	}
	check("late", []string{"F 2026-05-02 2026-05-04"}, []string{"F 2026-05-02 2026-05-04", once}, intel.Red)
	if err := s.Snapshot(t.Context(), "", day(1)); !errors.Is(err, intel.ErrInvalid) {
		t.Errorf("a feed without name: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestLiveness draws snapshots of several feeds, read now and then so that caches fill, and holds every dossier against a count of its own: a feed is
// named when its last complete snapshot, or no snapshot at all, lists the file. The order in which the same comes does not matter.
func TestLiveness(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(500 + seed)
		s := open(t, store.Options{CachedHeads: 32})
		late := open(t, store.Options{})
		last := map[string]map[int]int{} // feed, file: the snapshot that last listed it
		done := map[string]int{}         // feed: its last complete snapshot
		var then []func()
		for n := 1; n < 30; n++ {
			feed := w.pick("one", "two", "three")
			if last[feed] == nil {
				last[feed] = map[int]int{}
			}
			at := noon.Add(time.Duration(n) * time.Hour)
			var o []intel.Observation
			for i, f := range w.files {
				if w.IntN(2) == 0 {
					last[feed][i] = n
					o = append(o, listed(feed, f, at))
				}
			}
			id := fmt.Sprint("batch ", n)
			record(t, s, id, o...)
			then = append(then, func() { record(t, late, id, o...) })
			if feed != "three" && w.IntN(4) > 0 { // else the snapshot breaks off; "three" is imported by hand
				done[feed] = n
				if err := s.Snapshot(t.Context(), feed, at); err != nil {
					t.Fatal(err)
				}
				then = append(then, func() {
					if err := late.Snapshot(t.Context(), feed, at); err != nil {
						t.Error(err)
					}
				})
			}
			for i, f := range w.files {
				var want, got []string
				for feed, by := range last {
					if by[i] > 0 && by[i] >= done[feed] {
						want = append(want, feed)
					}
				}
				d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), f.SHA256, dossier.Query{})
				if err != nil && !errors.Is(err, intel.ErrUnknown) {
					t.Fatal(err)
				}
				if d != nil {
					for _, r := range d.Feeds {
						got = append(got, r.Feed)
					}
				}
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("world %d, step %d, file %d (-want +got):\n%s", seed, n, i, diff)
				}
			}
		}
		w.Shuffle(len(then), func(i, j int) { then[i], then[j] = then[j], then[i] })
		for _, f := range then {
			f()
		}
		if diff := cmp.Diff(w.dossiers(t, s), w.dossiers(t, late)); diff != "" {
			t.Fatalf("world %d: another order, another answer:\n%s", seed, diff)
		}
	}
}

// TestFeedTerms: the terms of a feed discount its listings or hide them, at once where the answer was cached, also in a store that is opened again; and
// the last ones written count.
func TestFeedTerms(t *testing.T) {
	engine := mem.New()
	s, err := store.New(engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	record(t, s, "listed", listed("F", hashes(sha256A), noon))
	day := 24 * time.Hour
	for _, step := range []struct {
		terms intel.FeedTerms
		want  string
	}{
		{intel.FeedTerms{Weight: 100}, "red 85"},
		{intel.FeedTerms{Weight: 60}, "orange 61"},
		{intel.FeedTerms{Weight: 100, Decay: 10 * day}, "red 85"},
		{intel.FeedTerms{Weight: 100, Decay: 10 * day, AsOf: noon.Add(-day)}, "red 85"},
		{intel.FeedTerms{Weight: 100, Decay: 10 * day, AsOf: noon.Add(11*day - 1)}, "orange 55"},
		{intel.FeedTerms{Weight: 100, Decay: 10 * day, AsOf: noon.Add(100_000 * day)}, "gray 25"},
		{intel.FeedTerms{Weight: 100, Removed: true}, "gray 25"},
		{intel.FeedTerms{Weight: 1000}, "red 85"},
	} {
		view := s.View(intel.TLPRed)
		_, _ = dossier.Build(t.Context(), view, sha256A, dossier.Query{})
		if err := s.FeedTerms(t.Context(), "F", step.terms); err != nil {
			t.Fatal(err)
		}
		other, err := store.New(engine, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*store.Store{s, other} {
			got := "unknown"
			if d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), sha256A, dossier.Query{}); err == nil {
				got = fmt.Sprint(d.Verdict.Zone, " ", d.Verdict.Score)
			} else if !errors.Is(err, intel.ErrUnknown) {
				t.Fatal(err)
			}
			if got != step.want {
				t.Errorf("%+v: %s, want %s", step.terms, got, step.want)
			}
		}
		if view.Fresh() && step.terms != (intel.FeedTerms{Weight: 100}) {
			t.Errorf("%+v: what was answered before is thought fresh", step.terms)
		}
		before := s.View(intel.TLPRed)
		_, _ = dossier.Build(t.Context(), before, sha256A, dossier.Query{})
		if err := s.FeedTerms(t.Context(), "F", step.terms); err != nil || !before.Fresh() {
			t.Errorf("%+v again: %v, fresh %t", step.terms, err, before.Fresh())
		}
	}
	if err := s.FeedTerms(t.Context(), "", intel.FeedTerms{}); !errors.Is(err, intel.ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
}

// TestFleetHosts: every host that was ever seen counts once, whatever file, batch or way it came by.
func TestFleetHosts(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	count := func(want uint64) {
		t.Helper()
		if n, err := s.View(intel.TLPClear).FleetHosts(t.Context()); err != nil || n != want {
			t.Errorf("%d hosts, %v; want %d", n, err, want)
		}
	}
	count(0)
	seen := func(h intel.Hash, host string) intel.Observation {
		return intel.Observation{Source: telemetry, Time: noon, File: hashes(h), Fact: intel.Sighting{Name: "a", Host: host}}
	}
	record(t, s, "one", seen(sha256A, "a"), seen(sha256A, "b"), seen(sha256B, "a"), seen(sha256B, ""))
	count(2)
	if _, _, err := s.RecordMany(t.Context(), func(yield func([]byte, []intel.Observation) bool) {
		_ = yield([]byte("x"), []intel.Observation{seen(sha256A, "c"), seen(sha256B, "b")}) && yield([]byte("y"), []intel.Observation{seen(sha256B, "d")})
	}); err != nil {
		t.Fatal(err)
	}
	count(4)
}
