package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"spoor/internal/durable"
	"spoor/internal/intel"
)

// State is what is kept of a feed between runs, a small file of the data directory that is replaced atomically.
type State struct {
	Place     string    `json:"place"` // fingerprint of the configuration that Cursor belongs to
	Attempted time.Time `json:"attempted,omitzero"`
	Succeeded time.Time `json:"succeeded,omitzero"`
	Error     string    `json:"error,omitempty"`    // of the last run, empty when it went well
	Failures  int       `json:"failures,omitempty"` // in a row
	Failed    uint64    `json:"failed,omitempty"`   // in all
	Entries   uint64    `json:"entries"`            // of the last complete snapshot; of a feed in increments: all so far
	Snapshot  time.Time `json:"snapshot,omitzero"`  // moment of the last complete snapshot
	Digest    string    `json:"digest,omitempty"`   // of its content
	Cursor    Cursor    `json:"cursor,omitzero"`
	Held      *Held     `json:"held,omitempty"`
	Accepted  []string  `json:"accepted,omitempty"` // files that a person let in although the guard knows them
	Was       *Was      `json:"was,omitempty"`
}

// Was is how a feed was configured when it ran last, by which it is shown when it is no longer configured.
type Was struct {
	Kind    Kind          `json:"kind"`
	Place   string        `json:"place"` // as it is shown
	Zone    intel.Zone    `json:"zone"`
	Marking intel.Marking `json:"marking,omitzero"`
}

// Cursor is where the next fetch goes on.
type Cursor struct {
	ETag         string            `json:"etag,omitempty"`
	LastModified string            `json:"last_modified,omitempty"`
	AddedAfter   string            `json:"added_after,omitempty"` // TAXII
	Next         string            `json:"next,omitempty"`        // TAXII: the page to go on with
	Since        int64             `json:"since,omitempty"`       // MISP server: Unix seconds
	Page         int               `json:"page,omitempty"`        // MISP server: the page to go on with
	Began        int64             `json:"began,omitempty"`       // MISP server: when these pages were begun
	Events       map[string]string `json:"events,omitempty"`      // MISP feed: time stamps by event
}

// Held is content that waits for a person.
type Held struct {
	At      time.Time `json:"at"`
	Digest  string    `json:"digest"`
	Entries uint64    `json:"entries"`
	Reasons []string  `json:"reasons"`
	Files   []string  `json:"files,omitempty"` // known good or common ones, the first 10,000
	Cursor  Cursor    `json:"cursor,omitzero"` // holds once it is let in
}

// maxAccepted bounds the files that are remembered as let in.
const maxAccepted = 10_000

func stateFile(dir, name string) string { return filepath.Join(dir, name+".json") }
func heldPath(dir, name string) string  { return filepath.Join(dir, name+".held") }

// readState reads a feed's state; a feed that never ran has an empty one.
func readState(dir, name string) (State, error) {
	var s State
	b, err := os.ReadFile(stateFile(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("reading the state of feed %s: %w", name, err)
	}
	return s, nil
}

func writeState(dir, name string, s *State) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := durable.Replace(stateFile(dir, name), b); err != nil {
		return fmt.Errorf("keeping the state of feed %s: %w", name, err)
	}
	return nil
}

// The states of a feed.
const (
	Waiting = "waiting" // it has not run yet
	Running = "running"
	OK      = "ok"
	Failing = "failing"
	HeldUp  = "held"    // what it gave waits for a person
	Removed = "removed" // it is no longer configured, and what it listed does not count
)

// Status is a feed as people and programs see it. No secret stands in it.
type Status struct {
	Name     string
	Kind     Kind
	Place    string // without a query, which may hold a secret
	Zone     intel.Zone
	Marking  intel.Marking
	State    string
	Entries  uint64
	Snapshot time.Time
	Attempt  time.Time
	Success  time.Time
	Next     time.Time
	Error    string
	Failures uint64
	Held     *Held
}

func (f *Feed) status(s *State, running bool, next time.Time) Status {
	st := Status{Name: f.Name, Kind: f.Kind, Place: f.shownPlace(), Zone: f.Zone, Marking: f.Marking, State: OK, Entries: s.Entries, Snapshot: s.Snapshot, Attempt: s.Attempted,
		Success: s.Succeeded, Next: next, Error: s.Error, Failures: s.Failed}
	if s.Held != nil {
		h := *s.Held
		h.Files = slices.Clone(h.Files[:min(len(h.Files), 100)])
		st.Held = &h
	}
	switch {
	case running:
		st.State = Running
	case s.Held != nil:
		st.State = HeldUp
	case s.Error != "":
		st.State = Failing
	case s.Attempted.IsZero():
		st.State = Waiting
	}
	return st
}

func (f *Feed) shownPlace() string {
	if f.url == nil || f.Kind == S3 {
		return f.Place
	}
	return shownURL(f.url)
}
