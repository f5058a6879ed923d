package store

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Feeds are snapshots: a listing is live while its last moment reaches the feed's last complete snapshot. So what a feed no longer lists needs no
// deleting, its history stays, and a feed of which no snapshot is known (a list imported once) is always live.

// snapshots are the last complete snapshots, by feed. There is one map for all readers, replaced whole.
type snapshots struct {
	write sync.Mutex
	last  atomic.Pointer[map[string]intel.Seconds]
}

// maxFeedName bounds the name of a feed that has snapshots, in bytes: it is a row's key.
const maxFeedName = 256

// Snapshot keeps that the feed was taken in completely at a moment, durably: its listings that were last seen before it are no longer live. The latest
// moment counts, in whatever order they come.
func (s *Store) Snapshot(ctx context.Context, feed string, at time.Time) error {
	if feed == "" || len(feed) > maxFeedName {
		return &intel.Refusal{Field: "feed", Reason: fmt.Sprintf("a feed's name has 1 to %d bytes", maxFeedName)}
	}
	s.snapshots.write.Lock()
	defer s.snapshots.write.Unlock()
	moment := intel.SecondsOf(at)
	w := kv.Write{Partition: []byte{spaceSnapshots}, Key: []byte(feed), Value: &kv.Value{Last: int64(moment)}}
	if _, err := s.kv.Apply(ctx, &kv.Batch{Writes: []kv.Write{w}}); err != nil {
		return fmt.Errorf("keeping a snapshot of %s: %w", feed, s.kind(err))
	}
	next := maps.Clone(*s.snapshots.last.Load())
	if moment <= next[feed] {
		return nil
	}
	next[feed] = moment
	s.snapshots.last.Store(&next)
	s.changes.slots[s.changes.slot(snapshotPartition(feed))].Add(1) // after it is visible, as all changes
	return nil
}

// snapshotPartition stands for one feed's snapshot among the change counters; in the engine all of them share a partition.
func snapshotPartition(feed string) []byte { return append([]byte{spaceSnapshots}, feed...) }

// readSnapshots reads all of them, when the store opens.
func (s *Store) readSnapshots() error {
	last := map[string]intel.Seconds{}
	err := s.kv.Scan(context.Background(), []kv.Range{{Partition: []byte{spaceSnapshots}}}, func(r kv.Row) error {
		last[string(r.Key)] = intel.Seconds(r.Value.Last)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the snapshots of feeds: %w", s.kind(err))
	}
	s.snapshots.last.Store(&last)
	return nil
}

// live reports whether a listing is in its feed's last complete snapshot, and what that was read from.
func (s *Store) live(l *intel.Row[intel.Listing]) (bool, stamp) {
	st := s.changes.stamp(snapshotPartition(l.Value.Feed))
	return l.Last >= (*s.snapshots.last.Load())[l.Value.Feed], st
}

// appendLive appends the listing when it is live; either way the view depends on the feed's snapshot from here on.
func (v *View) appendLive(to []intel.Row[intel.Listing], l intel.Row[intel.Listing]) []intel.Row[intel.Listing] {
	ok, st := v.s.live(&l)
	v.depend(st)
	if ok {
		to = append(to, l)
	}
	return to
}

// depend adds a stamp, once when it comes several times in a row.
func (v *View) depend(st stamp) {
	if n := len(v.stamps); n == 0 || v.stamps[n-1] != st {
		v.stamps = append(v.stamps, st)
	}
}
