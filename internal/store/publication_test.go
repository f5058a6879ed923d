package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// TestPublication: what is said of a publication adds up field by field, in any order; the latest wins, and who says less takes nothing away.
func TestPublication(t *testing.T) {
	feed := func(name string, m intel.Marking) intel.Source {
		return intel.Source{Type: intel.FeedSource, Name: name, Marking: m}
	}
	p := intel.Publication{ID: "R/1", Type: intel.OSINT, Title: "old", Description: "long\ntext", Published: noon.Add(-time.Hour), Tags: []string{"a", "b"}}
	observations := []intel.Observation{
		{Source: feed("one", intel.TLPClear), Time: noon, File: hashes(md5A), Fact: p},
		{Source: feed("two", intel.TLPClear), Time: noon.Add(time.Minute), File: hashes(sha256A, md5A), Fact: intel.Publication{ID: "R/1", Type: intel.APT, Title: "new", URL: "https://r.example/1"}},
		{Source: feed("secret", intel.TLPRed), Time: noon.Add(time.Hour), File: hashes(sha256B), Fact: intel.Publication{ID: "R/1", Type: intel.APT, Title: "secret", Updated: noon}},
		{Source: feed("secret", intel.TLPRed), Time: noon, File: hashes(sha256B), Fact: intel.Publication{ID: "R/2", Type: intel.APT, Title: "secret"}},
		{Source: telemetry, Time: noon, Count: 3, File: hashes(sha256A), Fact: intel.Sighting{Path: "/a", Host: "h"}},
	}
	type answer struct {
		Publication intel.Publication
		Sources     []string
		Files       []intel.Hash
	}
	open, all := p, p
	open.Type, open.Title, open.URL = intel.APT, "new", "https://r.example/1"
	all = open
	all.Title, all.Updated = "secret", noon
	for order := range 4 {
		if order == 2 {
			slices.Reverse(observations)
		}
		s, err := store.New(mem.New(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range observations {
			batch := observations[i : i+1]
			if order%2 == 1 {
				if batch = observations; i > 0 {
					break
				}
			}
			if _, err := s.Record(t.Context(), fmt.Append(nil, order, i), batch); err != nil {
				t.Fatal(err)
			}
		}
		for clearance, want := range map[intel.Marking]answer{
			intel.TLPGreen: {open, []string{"one", "two"}, []intel.Hash{sha256A}},
			intel.TLPRed:   {all, []string{"one", "secret", "two"}, []intel.Hash{sha256A, sha256B}},
		} {
			f, err := s.View(clearance).Publication(t.Context(), "R/1")
			if err != nil {
				t.Fatal(err)
			}
			got := answer{f.Value, f.Sources, nil}
			for _, r := range f.Files {
				got.Files = append(got.Files, r.Value.Hash)
				if r.Value.Hash == sha256A && r.Value.Head.Seen.Count != 3 {
					t.Errorf("the file's head: %+v", r.Value.Head)
				}
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b intel.Hash) bool { return a == b })); diff != "" {
				t.Errorf("order %d, clearance %v (-want +got):\n%s", order, clearance, diff)
			}
		}
		for id, clearance := range map[string]intel.Marking{"R/2": intel.TLPGreen, "R/3": intel.TLPRed, "": intel.TLPRed} {
			if f, err := s.View(clearance).Publication(t.Context(), id); !errors.Is(err, intel.ErrUnknown) {
				t.Errorf("%q: %+v, %v", id, f, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLargePublication: of one that names very many files the best stay, how many are left out is told, and a view knows when it is out of date.
func TestLargePublication(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{HubRows: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := intel.Publication{ID: strings.Repeat("long ", 100), Type: intel.Crimeware, Title: "T", Description: strings.Repeat("x", intel.MaxText)}
	var all []intel.Observation
	for i := range 100 {
		h, err := intel.ParseHash(fmt.Sprintf("%032x", i+1))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, intel.Observation{Source: telemetry, Time: noon, File: hashes(h), Fact: p})
		if i == 77 {
			all = append(all, intel.Observation{Source: telemetry, Time: noon, File: hashes(h), Fact: intel.Detection{Name: "T", Zone: intel.Red}})
		}
	}
	view := s.View(intel.TLPRed)
	if _, err := view.Publication(t.Context(), p.ID); !errors.Is(err, intel.ErrUnknown) || !view.Fresh() {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), []byte("all"), all); err != nil {
		t.Fatal(err)
	}
	if view.Fresh() {
		t.Error("a view that found nothing thinks that it still stands")
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := s.View(intel.TLPRed).Publication(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	red := slices.ContainsFunc(f.Files, func(r intel.Row[intel.Related]) bool { return len(r.Value.Head.Detections) > 0 })
	if len(f.Files) != 16 || f.Gap.Rows != 84 || !red || f.Value.Description != p.Description {
		t.Errorf("%d files, %d left out, the red one there: %v", len(f.Files), f.Gap.Rows, red)
	}
}
