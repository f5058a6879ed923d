package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Feeds are snapshots: a listing is live while its last moment reaches the feed's last complete snapshot. So what a feed no longer lists needs no
// deleting, its history stays, and a feed of which no snapshot is known (a list imported once) is always live. Beside the moment stand the feed's terms,
// by which its listings count less, or not at all. Nothing here looks at a clock: a listing's age is that at the moment that the terms name, so an answer
// changes only when something is written, and is the same wherever it is made.

// snapshots are what is known of feeds, by name. There is one map for all readers, replaced whole.
type snapshots struct {
	write sync.Mutex
	feeds atomic.Pointer[map[string]feedState]
}

type feedState struct {
	last    intel.Seconds // the last complete snapshot
	terms   intel.FeedTerms
	written int64 // when the terms were written, in nanoseconds; 0: there are none
}

// keptTerms are terms as the feed's row has them.
type keptTerms struct {
	Weight  int           `json:"weight"`
	Decay   int64         `json:"decay,omitempty"` // seconds
	AsOf    intel.Seconds `json:"as_of,omitempty"`
	Removed bool          `json:"removed,omitempty"`
}

// maxFeedName bounds the name of a feed that has snapshots, in bytes: it is a row's key.
const maxFeedName = 256

// Snapshot keeps that the feed was taken in completely at a moment, durably: its listings that were last seen before it are no longer live. The latest
// moment counts, in whatever order they come.
func (s *Store) Snapshot(ctx context.Context, feed string, at time.Time) error {
	moment := intel.SecondsOf(at)
	return s.feed(ctx, feed, func(f *feedState) (*kv.Value, bool) {
		newer := moment > f.last
		f.last = max(f.last, moment)
		return &kv.Value{Last: int64(moment)}, newer
	})
}

// FeedTerms keeps how a feed's listings count from here on. Terms that are kept already cost nothing.
func (s *Store) FeedTerms(ctx context.Context, feed string, t intel.FeedTerms) error {
	t = intel.FeedTerms{Weight: min(max(t.Weight, 0), 100), Decay: t.Decay.Truncate(time.Second), AsOf: intel.SecondsOf(t.AsOf).Time(), Removed: t.Removed}
	if f := (*s.snapshots.feeds.Load())[feed]; f.written > 0 && f.terms == t {
		return nil
	}
	text, err := json.Marshal(keptTerms{t.Weight, int64(t.Decay / time.Second), intel.SecondsOf(t.AsOf), t.Removed})
	if err != nil {
		return err
	}
	return s.feed(ctx, feed, func(f *feedState) (*kv.Value, bool) {
		f.terms, f.written = t, max(s.now().UnixNano(), f.written+1)
		return &kv.Value{Text: kv.Text{At: f.written, Data: text}}, true
	})
}

// feed changes what is known of a feed: change returns what to merge into its row, and whether readers must look again.
func (s *Store) feed(ctx context.Context, feed string, change func(*feedState) (*kv.Value, bool)) error {
	if feed == "" || len(feed) > maxFeedName {
		return &intel.Refusal{Field: "feed", Reason: fmt.Sprintf("a feed's name has 1 to %d bytes", maxFeedName)}
	}
	s.snapshots.write.Lock()
	defer s.snapshots.write.Unlock()
	next := maps.Clone(*s.snapshots.feeds.Load())
	state := next[feed]
	v, changed := change(&state)
	if _, err := s.kv.Apply(ctx, &kv.Batch{Writes: []kv.Write{{Partition: []byte{spaceSnapshots}, Key: []byte(feed), Value: v}}}); err != nil {
		return fmt.Errorf("keeping what is known of the feed %s: %w", feed, s.kind(err))
	}
	if !changed {
		return nil
	}
	next[feed] = state
	s.snapshots.feeds.Store(&next)
	s.changes.slots[s.changes.slot(snapshotPartition(feed))].Add(1) // after it is visible, as all changes
	return nil
}

// snapshotPartition stands for one feed among the change counters; in the engine all of them share a partition.
func snapshotPartition(feed string) []byte { return append([]byte{spaceSnapshots}, feed...) }

// readSnapshots reads all of them, when the store opens.
func (s *Store) readSnapshots() error {
	feeds := map[string]feedState{}
	err := s.kv.Scan(context.Background(), []kv.Range{{Partition: []byte{spaceSnapshots}}}, func(r kv.Row) error {
		f := feedState{last: intel.Seconds(r.Value.Last)}
		if text := r.Value.Text; text.Data != nil {
			var t keptTerms
			if err := json.Unmarshal(text.Data, &t); err != nil {
				return fmt.Errorf("the terms of the feed %.80q: %w", r.Key, err)
			}
			f.terms = intel.FeedTerms{Weight: t.Weight, Decay: time.Duration(t.Decay) * time.Second, AsOf: t.AsOf.Time(), Removed: t.Removed}
			f.written = text.At
		}
		feeds[string(r.Key)] = f
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what is known of feeds: %w", s.kind(err))
	}
	s.snapshots.feeds.Store(&feeds)
	return nil
}

// appendLive appends the listing when it is live, with its discount; either way the view depends on what is known of the feed from here on.
func (v *View) appendLive(to []intel.Row[intel.Listing], l intel.Row[intel.Listing]) []intel.Row[intel.Listing] {
	v.depend(v.s.changes.stamp(snapshotPartition(l.Value.Feed)))
	f := (*v.s.snapshots.feeds.Load())[l.Value.Feed]
	if l.Last < f.last || f.terms.Removed {
		return to
	}
	if f.written > 0 {
		l.Value.Discount = discount(&f.terms, l.Last)
	}
	return append(to, l)
}

// discount is by how many percent a listing counts less: by its feed's weight, and by how long it was not renewed.
func discount(t *intel.FeedTerms, last intel.Seconds) uint8 {
	weight := float64(t.Weight)
	if asOf := intel.SecondsOf(t.AsOf); t.Decay > 0 && last > 0 && asOf > last {
		const day = 24 * 60 * 60
		weight *= math.Exp2(-float64((asOf-last)/day*day) / t.Decay.Seconds())
	}
	return 100 - uint8(math.Round(weight))
}

// depend adds a stamp, once when it comes several times in a row.
func (v *View) depend(st stamp) {
	if n := len(v.stamps); n == 0 || v.stamps[n-1] != st {
		v.stamps = append(v.stamps, st)
	}
}
