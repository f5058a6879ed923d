package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/kv/pebble"
	"spoor/internal/store"
)

// hash makes a hash of one repeated hex digit pair.
func hash(a intel.Algorithm, pair string) intel.Hash {
	h, err := intel.ParseHash(strings.Repeat(pair, a.Size()))
	if err != nil {
		panic(err)
	}
	return h
}

func hashes(h ...intel.Hash) (s intel.Hashes) {
	for _, x := range h {
		s.Set(x)
	}
	return s
}

var (
	md5A, md5B       = hash(intel.MD5, "a1"), hash(intel.MD5, "b1")
	sha1A, sha1B     = hash(intel.SHA1, "a2"), hash(intel.SHA1, "b2")
	sha256A, sha256B = hash(intel.SHA256, "a3"), hash(intel.SHA256, "b3")

	telemetry = intel.Source{Type: intel.Telemetry, Name: "sysmon"}
	noon      = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
)

// seen is n sightings of a file at a path.
func seen(f intel.Hashes, path string, n uint64) intel.Observation {
	return intel.Observation{Source: telemetry, Time: noon, Count: n, File: f, Fact: intel.Sighting{Path: path, Host: "h"}}
}

// facts recalls a file, everything; nil when nothing is known.
func facts(t *testing.T, s *store.Store, h intel.Hash) *intel.Facts {
	t.Helper()
	f, err := s.View(intel.TLPRed).Recall(t.Context(), h, intel.AllSections)
	if errors.Is(err, intel.ErrUnknown) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestIdentity records the observations in the order given and in reverse: the answers must be the same.
func TestIdentity(t *testing.T) {
	type want struct {
		asked     intel.Hash
		file      intel.Hashes
		hits      uint64
		conflicts []intel.Conflict
	}
	for _, tt := range []struct {
		name         string
		observations []intel.Observation
		want         []want
	}{
		{
			name:         "an MD5 alone",
			observations: []intel.Observation{seen(hashes(md5A), "a", 1)},
			want:         []want{{md5A, hashes(md5A), 1, nil}},
		},
		{
			name:         "what knew an MD5 only joins once one observation ties it",
			observations: []intel.Observation{seen(hashes(md5A), "a", 2), seen(hashes(sha256A), "b", 3), seen(hashes(md5A, sha256A), "c", 4)},
			want: []want{
				{md5A, hashes(md5A, sha256A), 9, nil},
				{sha256A, hashes(md5A, sha256A), 9, nil},
			},
		},
		{
			name:         "MD5 and SHA-256 tied by way of the SHA-1",
			observations: []intel.Observation{seen(hashes(md5A, sha1A), "a", 1), seen(hashes(sha1A, sha256A), "b", 1), seen(hashes(md5A), "c", 1)},
			want: []want{
				{md5A, hashes(md5A, sha1A, sha256A), 3, nil},
				{sha1A, hashes(md5A, sha1A, sha256A), 3, nil},
				{sha256A, hashes(md5A, sha1A, sha256A), 3, nil},
			},
		},
		{
			name:         "SHA-1 and SHA-256 tied by way of the MD5",
			observations: []intel.Observation{seen(hashes(md5A, sha1A), "a", 1), seen(hashes(md5A, sha256A), "b", 1)},
			want: []want{
				{md5A, hashes(md5A, sha1A, sha256A), 2, nil},
				{sha1A, hashes(md5A, sha1A, sha256A), 2, nil},
				{sha256A, hashes(md5A, sha1A, sha256A), 2, nil},
			},
		},
		{
			name:         "one MD5 with two SHA-256: shown, never merged; asked by the MD5, the file with more hits answers",
			observations: []intel.Observation{seen(hashes(md5A, sha256A), "a", 1), seen(hashes(md5A, sha256B), "b", 5)},
			want: []want{
				{sha256A, hashes(md5A, sha256A), 1, []intel.Conflict{{Hash: md5A, Other: sha256B, Count: 5}}},
				{sha256B, hashes(md5A, sha256B), 5, []intel.Conflict{{Hash: md5A, Other: sha256A, Count: 1}}},
				{md5A, hashes(md5A, sha256B), 5, []intel.Conflict{{Hash: md5A, Other: sha256A, Count: 1}}},
			},
		},
		{
			name: "facts under an MD5 in conflict belong to neither file, and to the answer to the MD5",
			observations: []intel.Observation{seen(hashes(md5A, sha256A), "a", 1), seen(hashes(md5A, sha256B), "b", 5),
				seen(hashes(md5A), "c", 7)},
			want: []want{
				{sha256A, hashes(md5A, sha256A), 1, []intel.Conflict{{Hash: md5A, Other: sha256B, Count: 5}}},
				{md5A, hashes(md5A, sha256B), 12, []intel.Conflict{{Hash: md5A, Other: sha256A, Count: 1}}},
			},
		},
		{
			name:         "one file with two MD5: the one more often attested names it",
			observations: []intel.Observation{seen(hashes(md5A, sha256A), "a", 2), seen(hashes(md5B, sha256A), "b", 1)},
			want: []want{
				{sha256A, hashes(md5A, sha256A), 3, []intel.Conflict{{Hash: sha256A, Other: md5B, Count: 1}}},
			},
		},
		{
			name:         "two files of the same names stay two",
			observations: []intel.Observation{seen(hashes(md5A, sha1A, sha256A), "a", 1), seen(hashes(md5B, sha1B, sha256B), "a", 1)},
			want: []want{
				{md5A, hashes(md5A, sha1A, sha256A), 1, nil},
				{sha1B, hashes(md5B, sha1B, sha256B), 1, nil},
			},
		},
		{
			name: "a fuzzy hash never ties",
			observations: []intel.Observation{seen(hashes(md5A), "a", 1), seen(hashes(sha256B), "b", 1),
				{Source: telemetry, File: hashes(md5A), Fact: intel.FuzzyHash{Algorithm: intel.Imphash, Value: "f"}},
				{Source: telemetry, File: hashes(sha256B), Fact: intel.FuzzyHash{Algorithm: intel.Imphash, Value: "f"}}},
			want: []want{{md5A, hashes(md5A), 1, nil}, {sha256B, hashes(sha256B), 1, nil}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range []string{"forward", "backward"} {
				s := open(t, store.Options{})
				for i := range tt.observations {
					if order == "backward" {
						i = len(tt.observations) - 1 - i
					}
					record(t, s, fmt.Sprint(i), tt.observations[i])
				}
				for _, w := range tt.want {
					f := facts(t, s, w.asked)
					if f == nil {
						t.Fatalf("%s: nothing is known of %s", order, w.asked)
					}
					if diff := cmp.Diff(w.file, f.File, cmp.AllowUnexported(intel.Hash{})); diff != "" {
						t.Errorf("%s: the file of %s (-want +got):\n%s", order, w.asked, diff)
					}
					if f.Seen.Count != w.hits {
						t.Errorf("%s: %s has %d hits, want %d", order, w.asked, f.Seen.Count, w.hits)
					}
					if diff := cmp.Diff(w.conflicts, f.Conflicts, cmp.AllowUnexported(intel.Hash{})); diff != "" {
						t.Errorf("%s: conflicts of %s (-want +got):\n%s", order, w.asked, diff)
					}
				}
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	s := open(t, store.Options{})
	record(t, s, "1", seen(hashes(md5A, sha256A), "a", 1))
	for _, h := range []intel.Hash{md5B, sha1A, sha256B} {
		_, err := s.View(intel.TLPRed).Recall(t.Context(), h, intel.AllSections)
		if !errors.Is(err, intel.ErrUnknown) || !strings.Contains(err.Error(), h.String()) {
			t.Errorf("%s: %v, want an ErrUnknown that names it", h, err)
		}
	}
}

// TestKnownByRelation: a file that nothing but a relation names is known, whatever is asked of it.
func TestKnownByRelation(t *testing.T) {
	s := open(t, store.Options{})
	record(t, s, "1", intel.Observation{Source: telemetry, Fact: intel.Relation{Verb: intel.Started,
		From: intel.Object{Hashes: hashes(sha256A)}, To: intel.Object{Hashes: hashes(md5B)}}})
	for _, h := range []intel.Hash{sha256A, md5B} {
		for _, want := range []intel.Section{0, intel.SectionPaths, intel.SectionHosts, intel.AllSections} {
			if _, err := s.View(0).Recall(t.Context(), h, want); err != nil {
				t.Errorf("%s, sections %b: %v", h, want, err)
			}
		}
	}
}

// TestMarkings: an answer leaves out, uncounted, what the reader may not see.
func TestMarkings(t *testing.T) {
	s := open(t, store.Options{})
	open, secret := seen(hashes(sha256A), "open", 1), seen(hashes(md5A, sha256A), "secret", 10)
	secret.Source.Marking = intel.TLPRed
	only := seen(hashes(sha256B), "secret", 10)
	only.Source.Marking = intel.TLPAmber
	record(t, s, "1", open, secret, only)
	for _, tt := range []struct {
		clearance intel.Marking
		hits      uint64
		md5       intel.Hash
		other     bool
	}{
		{intel.TLPClear, 1, intel.Hash{}, false},
		{intel.TLPGreen, 1, intel.Hash{}, false},
		{intel.TLPAmber, 1, intel.Hash{}, true},
		{intel.TLPRed, 11, md5A, true},
	} {
		f, err := s.View(tt.clearance).Recall(t.Context(), sha256A, intel.AllSections)
		if err != nil {
			t.Fatal(err)
		}
		if f.Seen.Count != tt.hits || f.File.MD5 != tt.md5 {
			t.Errorf("%s: %d hits, MD5 %q; want %d, %q", tt.clearance, f.Seen.Count, f.File.MD5, tt.hits, tt.md5)
		}
		_, err = s.View(tt.clearance).Recall(t.Context(), sha256B, intel.AllSections)
		if known := err == nil; known != tt.other {
			t.Errorf("%s: the amber file is known: %v, want %v", tt.clearance, known, tt.other)
		}
	}
}

// TestTwoClocks: a fact keeps when it happened and when Spoor first learned it.
func TestTwoClocks(t *testing.T) {
	now := noon
	s, err := store.New(mem.New(), store.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	early := seen(hashes(sha256A), "a", 1)
	early.Time = noon.Add(-time.Hour)
	record(t, s, "late first", seen(hashes(sha256A), "a", 1))
	now = noon.Add(24 * time.Hour)
	record(t, s, "then early", early)
	got := facts(t, s, sha256A).Seen
	want := intel.Tally{Count: 2, First: intel.SecondsOf(early.Time), Last: intel.SecondsOf(noon), Learned: intel.SecondsOf(noon), Sources: []string{"sysmon"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLongTexts: a path too long for a key is kept whole, and two that begin alike stay two.
func TestLongTexts(t *testing.T) {
	s := open(t, store.Options{})
	long := `C:\` + strings.Repeat("x", 4000)
	record(t, s, "1", seen(hashes(sha256A), long+"1", 1), seen(hashes(sha256A), long+"2", 2))
	got := map[string]uint64{}
	for _, r := range facts(t, s, sha256A).Paths {
		got[r.Value] = r.Count
	}
	if diff := cmp.Diff(map[string]uint64{long + "1": 1, long + "2": 2}, got); diff != "" {
		t.Error(diff)
	}
}

// TestHosts: hosts are counted exactly while few, and by a sketch when many.
func TestHosts(t *testing.T) {
	s := open(t, store.Options{})
	var all []intel.Observation
	for i := range 5000 {
		o := seen(hashes(sha256A), "a", 1)
		o.Fact = intel.Sighting{Path: "a", Host: fmt.Sprint("host", i)}
		all = append(all, o)
		if i < 40 {
			o.File = hashes(sha256B)
			all = append(all, o, o)
		}
	}
	record(t, s, "1", all...)
	v := s.View(intel.TLPRed)
	few, err := v.Recall(t.Context(), sha256B, 0)
	if err != nil {
		t.Fatal(err)
	}
	if few.HostCount != 40 {
		t.Errorf("%d hosts, want 40 exactly", few.HostCount)
	}
	many, err := v.Recall(t.Context(), sha256A, 0)
	if err != nil {
		t.Fatal(err)
	}
	if many.HostCount < 4500 || many.HostCount > 5500 {
		t.Errorf("%d hosts, want about 5000", many.HostCount)
	}
}

// TestFresh: a view knows when what it read has changed, and is not disturbed by what it did not read.
func TestFresh(t *testing.T) {
	s := open(t, store.Options{})
	child := seen(hashes(sha256B), "b", 1)
	record(t, s, "1", seen(hashes(md5A, sha256A), "a", 1), child,
		intel.Observation{Source: telemetry, Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: hashes(sha256A)}, To: intel.Object{Hashes: hashes(sha256B)}}},
		intel.Observation{Source: telemetry, File: hashes(sha256A), Fact: intel.Access{URL: "http://evil.example/x"}})
	read := func() *store.View {
		v := s.View(intel.TLPRed)
		if _, err := v.Recall(t.Context(), md5A, intel.AllSections); err != nil {
			t.Fatal(err)
		}
		if !v.Fresh() {
			t.Fatal("a view is stale at once")
		}
		return v
	}
	for i, o := range []intel.Observation{
		seen(hashes(sha256A), "a", 1),
		seen(hashes(md5A), "a", 1),
		{Source: telemetry, File: hashes(sha256B), Fact: intel.Detection{Name: "T", Zone: intel.Red}}, // of a related file
		{Source: telemetry, Address: "evil.example", Fact: intel.Listing{Feed: "f", Zone: intel.Red}}, // of an address
	} {
		v := read()
		record(t, s, fmt.Sprint("change ", i), o)
		if v.Fresh() {
			t.Errorf("change %d went unnoticed", i)
		}
	}
	v := read()
	record(t, s, "elsewhere", seen(hashes(hash(intel.SHA256, "c3")), "c", 1))
	if !v.Fresh() {
		t.Error("a write elsewhere made the view stale")
	}
}

func TestAddress(t *testing.T) {
	s := open(t, store.Options{})
	record(t, s, "1",
		intel.Observation{Source: telemetry, Time: noon, File: hashes(sha256A), Fact: intel.Download{URL: "http://cdn.evil.example/a", IPs: []string{"192.0.2.7"}}},
		intel.Observation{Source: telemetry, Time: noon, File: hashes(sha256B), Fact: intel.Access{URL: "http://evil.example/b"}},
		intel.Observation{Source: telemetry, Time: noon.Add(time.Hour), File: hashes(sha256A), Fact: intel.Download{URL: "http://cdn.evil.example/a", IPs: []string{"192.0.2.7"}}},
		intel.Observation{Source: telemetry, Time: noon, File: hashes(sha256B), Fact: intel.Access{URL: "192.0.2.8", IPs: []string{"192.0.2.8"}}},
		intel.Observation{Source: telemetry, Address: "evil.example", Fact: intel.Listing{Feed: "f", Zone: intel.Red}})
	for _, tt := range []struct {
		address                           string
		downloaded, accessed, urls, lists int
	}{
		{"evil.example", 1, 1, 2, 1},
		{"cdn.evil.example", 1, 0, 1, 1},
		{"http://cdn.evil.example/a", 1, 0, 0, 1},
		{"unseen.example", 0, 0, 0, 0},
		{"192.0.2.7", 0, 0, 0, 0},
		{"192.0.2.8", 0, 1, 1, 0},
	} {
		a, err := intel.ParseAddress(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.View(intel.TLPRed).Address(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if tt.address == "192.0.2.7" {
			if len(f.Domains) != 1 || f.Domains[0].Value.Host != "cdn.evil.example" || len(f.Domains[0].Value.Listings) != 1 || f.Domains[0].Count != 2 || f.Domains[0].First != intel.SecondsOf(noon) {
				t.Errorf("resolved to %s: %+v", tt.address, f.Domains)
			}
		} else if len(f.Domains) > 0 {
			t.Errorf("resolved to %s: %+v", tt.address, f.Domains)
		}
		got := []int{len(f.Downloaded), len(f.Accessed), len(f.URLs), len(f.Listings)}
		if diff := cmp.Diff([]int{tt.downloaded, tt.accessed, tt.urls, tt.lists}, got); diff != "" {
			t.Errorf("%s: files that came, files that contacted, URLs, listings (-want +got):\n%s", tt.address, diff)
		}
	}
}

// TestReopen: what was recorded is there after a restart, the names of sources too, and a batch is still known.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	start := func() *store.Store {
		engine, err := pebble.Open(dir, pebble.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.New(engine, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	record(t, s, "1", seen(hashes(sha256A), "a", 3))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start()
	defer s.Close()
	if !record(t, s, "1", seen(hashes(sha256A), "a", 3)) {
		t.Error("the batch is forgotten")
	}
	f := facts(t, s, sha256A)
	if f.Seen.Count != 3 || cmp.Diff([]string{"sysmon"}, f.Seen.Sources) != "" {
		t.Errorf("%d hits from %v, want 3 from sysmon", f.Seen.Count, f.Seen.Sources)
	}
}

// TestUnavailable: what the engine cannot do is told as such.
func TestUnavailable(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.View(0).Recall(ended, sha256A, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("recall after the context ended: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.View(0).Recall(t.Context(), sha256A, 0); !errors.Is(err, intel.ErrUnavailable) {
		t.Errorf("recall after close: %v", err)
	}
	if _, err := s.Record(t.Context(), []byte("1"), []intel.Observation{seen(hashes(sha256A), "a", 1)}); !errors.Is(err, intel.ErrUnavailable) {
		t.Errorf("record after close: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, intel.ErrUnavailable) {
		t.Errorf("ready after close: %v", err)
	}
}
