package store_test

import (
	"encoding/binary"
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
	for what, want := range map[string]struct {
		hash intel.Hash
		hits uint64
	}{"malicious": {evil, 1}, "most frequent": {frequent, 1000}, "newest": {newest, 1 + (children-1)%3}} {
		if here[want.hash] != want.hits {
			t.Errorf("the %s child has %d hits at the head, want %d", what, here[want.hash], want.hits)
		}
	}
}
