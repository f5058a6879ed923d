package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"spoor/internal/intel"
	"spoor/internal/store"
)

// numbered makes the n-th of many SHA-256s.
func numbered(n int) intel.Hash {
	b := make([]byte, 32)
	binary.BigEndian.PutUint64(b, uint64(n)*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	h, err := intel.HashFromBytes(intel.SHA256, b)
	if err != nil {
		panic(err)
	}
	return h
}

// TestHub lets one relation grow far past what stays at its head. No row and no hit may be lost, and the rows that matter stay: the
// malicious, the most frequent, the newest.
func TestHub(t *testing.T) {
	const rows, children, perBatch = 64, 4000, 50
	s := open(t, store.Options{HubRows: rows})
	hub := hashes(sha256A)
	var hits uint64
	evil, frequent, newest := numbered(17), numbered(1200), numbered(children-1)
	record(t, s, "evil", intel.Observation{Source: telemetry, File: hashes(evil), Fact: intel.Detection{Name: "T", Zone: intel.Red}})
	for i := 0; i < children; {
		var batch []intel.Observation
		for range perBatch {
			child := numbered(i)
			o := intel.Observation{Source: telemetry, Time: noon.Add(time.Duration(i) * time.Second), Count: 1 + uint64(i%3),
				Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: hub}, To: intel.Object{Hashes: hashes(child)}}}
			if child == evil {
				o.Count, o.Time = 1, noon
			}
			if child == frequent {
				o.Count = 1000
			}
			hits += o.Count
			batch = append(batch, o)
			i++
		}
		record(t, s, fmt.Sprint(i), batch...)
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f, err := s.View(intel.TLPRed).Recall(t.Context(), sha256A, intel.SectionStarted)
	if err != nil {
		t.Fatal(err)
	}
	gap := f.Gaps[intel.SectionStarted]
	if len(f.Started) > rows {
		t.Errorf("%d rows at the head, want at most %d", len(f.Started), rows)
	}
	if got := uint64(len(f.Started)) + gap.Rows; got != children {
		t.Errorf("%d rows at the head and %d left out: %d, want %d", len(f.Started), gap.Rows, got, children)
	}
	got := gap.Hits
	here := map[intel.Hash]uint64{}
	for _, r := range f.Started {
		got += r.Count
		here[r.Value.Hash] = r.Count
	}
	if got != hits {
		t.Errorf("%d hits in all, want %d", got, hits)
	}
	// Paging meets every row, head and tail, with its whole count.
	all := map[intel.Hash]uint64{}
	pages := 0
	for after := []byte(nil); ; pages++ {
		f, next, err := s.View(intel.TLPRed).Page(t.Context(), sha256A, intel.SectionStarted, after, 50)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Started) > 50 {
			t.Fatalf("a page of %d rows", len(f.Started))
		}
		for _, r := range f.Started {
			if all[r.Value.Hash] != 0 {
				t.Errorf("%s stands on two pages", r.Value.Hash)
			}
			all[r.Value.Hash] += r.Count
		}
		if after = next; after == nil {
			break
		}
	}
	var paged uint64
	for _, n := range all {
		paged += n
	}
	if len(all) != children || paged != hits {
		t.Errorf("%d pages hold %d rows with %d hits, want %d with %d", pages, len(all), paged, children, hits)
	}
	for what, want := range map[string]struct {
		hash intel.Hash
		hits uint64
	}{"malicious": {evil, 1}, "most frequent": {frequent, 1000}, "newest": {newest, 1 + (children-1)%3}} {
		if here[want.hash] != want.hits {
			t.Errorf("the %s child has %d hits at the head, want %d", what, here[want.hash], want.hits)
		}
	}
}

// TestHubOfAddresses: of the many addresses that a browser contacts, the malicious ones stay at the head.
func TestHubOfAddresses(t *testing.T) {
	const rows, urls = 64, 1000
	s := open(t, store.Options{HubRows: rows})
	record(t, s, "evil", intel.Observation{Source: telemetry, Address: "evil.example", Fact: intel.Listing{Feed: "f", Zone: intel.Red}})
	for i := range urls {
		url := fmt.Sprintf("http://h%d.example/", i)
		count := uint64(9)
		if i == 30 {
			url, count = "http://www.evil.example/gate", 1
		}
		record(t, s, fmt.Sprint(i), intel.Observation{Source: telemetry, Time: noon.Add(time.Duration(i) * time.Second), Count: count,
			File: hashes(sha256A), Fact: intel.Access{URL: url}})
		if i%100 != 50 {
			continue
		}
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		f := facts(t, s, sha256A)
		if got := uint64(len(f.Accessed)) + f.Gaps[intel.SectionAccessed].Rows; got != uint64(i+1) {
			t.Errorf("%d rows after %d", got, i+1)
		}
		found := false
		for _, a := range f.Accessed {
			found = found || a.Value.URL == "http://www.evil.example/gate"
		}
		if !found {
			t.Errorf("after %d addresses the malicious one is gone from the head", i+1)
		}
	}
}

// TestPageRefusals: a cursor of another section is refused, and an unknown file is unknown.
func TestPageRefusals(t *testing.T) {
	s := open(t, store.Options{})
	record(t, s, "1", seen(hashes(sha256A), "a", 1))
	for _, after := range [][]byte{{}, {1}, []byte("nonsense")} {
		if _, _, err := s.View(0).Page(t.Context(), sha256A, intel.SectionPaths, after, 10); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("cursor %q: %v", after, err)
		}
	}
	if _, _, err := s.View(0).Page(t.Context(), sha256B, intel.SectionPaths, nil, 10); !errors.Is(err, intel.ErrUnknown) {
		t.Errorf("unknown file: %v", err)
	}
}

// TestHubOfMany lets a hub come together in one step: it is rolled back once that is committed.
func TestHubOfMany(t *testing.T) {
	const rows = 64
	s := open(t, store.Options{HubRows: rows})
	var batch []intel.Observation
	for i := range 3000 {
		batch = append(batch, intel.Observation{Source: telemetry, Time: noon, Fact: intel.Relation{Verb: intel.Started,
			From: intel.Object{Hashes: hashes(sha256A)}, To: intel.Object{Hashes: hashes(numbered(i))}}})
	}
	recordMany(t, s, "all", batch...)
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := s.View(intel.TLPRed).Recall(t.Context(), sha256A, intel.SectionStarted)
	if err != nil {
		t.Fatal(err)
	}
	if gap := f.Gaps[intel.SectionStarted]; len(f.Started) > rows || uint64(len(f.Started))+gap.Rows != 3000 {
		t.Errorf("%d rows at the head and %d left out, want 3000 of which %d stay", len(f.Started), gap.Rows, rows)
	}
}
