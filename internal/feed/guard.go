package feed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
)

// View is what the guard needs of the store: what is known of a file before the feed speaks.
type View interface {
	// Recall returns the facts of the file that h names, or fails with [intel.ErrUnknown].
	Recall(ctx context.Context, h intel.Hash, want intel.Section) (*intel.Facts, error)
	// FleetHosts returns how many hosts there are.
	FleetHosts(ctx context.Context) (uint64, error)
}

// maxDistinct bounds the entries that are told apart; beyond it each counts.
const maxDistinct = 4 << 20

// survey is a look at all that a feed says, before any of it is recorded. It is an [ingest.Recorder] that records nothing.
type survey struct {
	feed     *Feed
	guard    Guard
	view     func() View
	accepted []string // sorted
	hosts    uint64   // a file that so many saw is common

	seen         map[uint64]struct{}
	entries      uint64
	observations uint64
	suspects     uint64
	files        []string // the suspects' hashes, the first of them
	good, common uint64
	examples     []string
}

// common is how many hosts make a file common: the guard's share of the fleet, and no fewer than it says.
func (g *Guard) common(fleet uint64) uint64 {
	return max(g.Hosts, (fleet*uint64(g.Share)+99)/100)
}

func (s *survey) Record(ctx context.Context, _ []byte, observations []intel.Observation) (bool, error) {
	view := s.view() // a view remembers what it read, so each batch has its own
	for i := range observations {
		s.observations++
		o := &observations[i]
		l, ok := o.Fact.(intel.Listing)
		zone := l.Zone
		if d, is := o.Fact.(intel.Detection); is {
			zone = d.Zone
		} else if !ok {
			continue
		}
		if ok && !s.first(o) || zone < intel.Orange || o.File.IsZero() {
			continue
		}
		if err := s.look(ctx, view, &o.File); err != nil {
			return false, err
		}
	}
	return false, nil
}

// first counts an entry, and reports whether it is new.
func (s *survey) first(o *intel.Observation) bool {
	if len(s.seen) < maxDistinct {
		key := xxhash.Sum64String(o.Address)
		if h := o.File.Strongest(); !h.IsZero() {
			key = xxhash.Sum64(binary.BigEndian.AppendUint64(h.Append(nil), key))
		}
		if _, ok := s.seen[key]; ok {
			return false
		}
		s.seen[key] = struct{}{}
	}
	s.entries++
	return true
}

// look asks what the store knows of a file that the feed calls bad.
func (s *survey) look(ctx context.Context, view View, file *intel.Hashes) error {
	for _, h := range []intel.Hash{file.SHA256, file.SHA1, file.MD5} {
		if h.IsZero() {
			continue
		}
		text := h.String()
		if _, ok := slices.BinarySearch(s.accepted, text); ok {
			return nil
		}
		if slices.Contains(s.files[max(len(s.files)-4, 0):], text) {
			return nil // the same file told of in several ways
		}
		f, err := view.Recall(ctx, h, 0)
		if errors.Is(err, intel.ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		why := s.suspicion(f)
		if why == "" {
			continue
		}
		s.suspects++
		if len(s.files) < maxAccepted {
			s.files = append(s.files, text)
		}
		if len(s.examples) < 5 {
			s.examples = append(s.examples, text+" ("+why+")")
		}
		return nil
	}
	return nil
}

func (s *survey) suspicion(f *intel.Facts) string {
	for _, l := range f.Listings {
		if l.Value.Zone == intel.Green && l.Value.Feed != s.feed.Name {
			s.good++
			return "known good by " + l.Value.Feed
		}
	}
	for _, d := range f.Detections {
		if d.Value.Zone == intel.Green {
			s.good++
			return "known good: " + d.Value.Name
		}
	}
	for _, v := range f.Verdicts {
		if v.Value.Zone == intel.Green {
			s.good++
			return "an analyst called it good"
		}
	}
	if f.HostCount >= s.hosts {
		s.common++
		return fmt.Sprintf("on %d hosts", f.HostCount)
	}
	return ""
}

// reasons says why what was surveyed must wait for a person; none when it may go in. before is how many entries the snapshot before had.
func (s *survey) reasons(before uint64) (out []string) {
	if s.feed.Snapshot() && before > 1 && s.entries*2 < before {
		out = append(out, fmt.Sprintf("it shrinks by more than half: %d entries, %d before", s.entries, before))
	}
	if s.suspects > uint64(s.guard.Allowed) {
		var kinds []string
		if s.good > 0 {
			kinds = append(kinds, fmt.Sprintf("%d known good", s.good))
		}
		if s.common > 0 {
			kinds = append(kinds, fmt.Sprintf("%d common in the fleet (on %d hosts or more)", s.common, s.hosts))
		}
		out = append(out, fmt.Sprintf("it calls files bad that are trusted here: %s; %s", strings.Join(kinds, ", "), strings.Join(s.examples, ", ")))
	}
	return out
}

// told is a feed's observations on their way to the store: in the feed's name, of this moment, and nothing that only a person may say.
type told struct {
	Store
	feed *Feed
	at   time.Time
}

// Record splits a batch: listings are named by the snapshot's moment too, so that an unchanged list moves their last moment; all else, when it comes
// again, counts nothing.
func (t *told) Record(ctx context.Context, id []byte, observations []intel.Observation) (repeated bool, err error) {
	var listings, others []intel.Observation
	for _, o := range observations {
		o.Source.Type, o.Source.Name = intel.FeedSource, t.feed.Name
		o.Source.Marking = max(o.Source.Marking, t.feed.Marking)
		switch f := o.Fact.(type) {
		case intel.AnalystVerdict:
			continue
		case intel.Listing:
			f.Feed = t.feed.Name
			o.Fact, o.Last = f, t.at
			if o.Time.IsZero() || o.Time.After(t.at) {
				o.Time = t.at
			}
			listings = append(listings, o)
		default:
			others = append(others, o)
		}
	}
	name := func(what string) []byte {
		sum := sha256.Sum256(fmt.Appendf(nil, "feed\x00%s\x00%s\x00%x", t.feed.Name, what, id))
		return sum[:]
	}
	if len(listings) > 0 {
		if repeated, err = t.Store.Record(ctx, name(fmt.Sprint("listings ", t.at.Unix())), listings); err != nil {
			return false, err
		}
	}
	if len(others) > 0 {
		repeated, err = t.Store.Record(ctx, name("others"), others)
	}
	return repeated, err
}
