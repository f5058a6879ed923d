// Package store keeps what observations say and recalls it as facts: identity, merging and the key schema live here.
//
// [Store.Record] turns observations into merges of rows (keys.go has the schema) and never reads. A [View] finds out which
// hashes are one file (identity.go), unites the facts kept under each of them and returns [intel.Facts]. Relations that
// grow without bound are rolled back in the background (hubs.go).
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Options are the store's settings; the zero value is good.
type Options struct {
	Now    func() time.Time // the arrival clock; time.Now when nil
	Logger *slog.Logger     // discards when nil
	// HubRows is how many rows of one relation stay at its head once it was rolled back; 0 means 2048.
	HubRows int
	// CachedHeads bounds the cache of related files' heads; 0 means 65,536 (about 100 MB when full).
	CachedHeads int
}

// Store keeps and recalls. Its methods may be called from many goroutines.
type Store struct {
	kv        kv.Store
	now       func() time.Time
	log       *slog.Logger
	sources   *sources
	changes   changes
	snapshots snapshots
	heads     *headCache
	hubs      *hubs
	alike     atomic.Pointer[alike] // nil until LoadSimilar
}

// New makes a store over an engine. It starts one goroutine that rolls large relations back; Close ends it and closes the engine.
func New(engine kv.Store, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HubRows == 0 {
		o.HubRows = 2048
	}
	if o.CachedHeads == 0 {
		o.CachedHeads = 1 << 16
	}
	s := &Store{kv: engine, now: o.Now, log: o.Logger, sources: newSources(), heads: newHeadCache(o.CachedHeads)}
	s.changes.slots = make([]atomic.Uint32, 1<<changeBits)
	err := engine.Scan(context.Background(), []kv.Range{{Partition: []byte{spaceSources}}}, func(r kv.Row) error {
		if len(r.Key) == 4 {
			_, name := cutPair(string(r.Value.Text.Data))
			s.sources.learn(binary.BigEndian.Uint32(r.Key), name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the names of sources: %w", s.kind(err))
	}
	if err := s.readSnapshots(); err != nil {
		return nil, err
	}
	if err := s.makeCatalogue(context.Background()); err != nil {
		return nil, err
	}
	s.hubs = newHubs(s, o.HubRows)
	return s, nil
}

// Close stops the background work and closes the engine. Nothing acknowledged is lost.
func (s *Store) Close() error {
	s.hubs.stop()
	return s.kv.Close()
}

// Ready reports whether the store answers.
func (s *Store) Ready(ctx context.Context) error {
	return s.kind(s.kv.Scan(ctx, []kv.Range{{Partition: []byte{spaceSources}, Limit: 1}}, func(kv.Row) error { return nil }))
}

// Stats tells what the engine knows of itself.
func (s *Store) Stats() kv.Stats { return s.kv.Stats() }

// kind gives an engine's error its kind: all that is not the caller's own doing is "unavailable".
func (s *Store) kind(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, intel.ErrInvalid) || errors.Is(err, intel.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", intel.ErrUnavailable, err)
}

// changes counts, for each partition's slot, how often it was written, so that a reader can tell later whether what it read still stands.
// Partitions share slots; a shared one makes a reader think that something changed, never the reverse.
type changes struct {
	slots []atomic.Uint32
}

const changeBits = 20 // 4 MiB of counters

// stamp is a slot and its count before a read.
type stamp struct{ slot, count uint32 }

func (c *changes) slot(partition []byte) uint32 {
	return uint32(xxhash.Sum64(partition) >> (64 - changeBits))
}

// stamp must be taken before the partition is read.
func (c *changes) stamp(partition []byte) stamp {
	i := c.slot(partition)
	return stamp{i, c.slots[i].Load()}
}

func (c *changes) fresh(stamps []stamp) bool {
	for _, s := range stamps {
		if c.slots[s.slot].Load() != s.count {
			return false
		}
	}
	return true
}

// changed is told of writes after they became visible and before they are acknowledged.
func (s *Store) changed(writes []kv.Write) {
	var last []byte
	for i := range writes {
		w := &writes[i]
		if w.Partition[0] == spaceMark || w.Partition[0] == spaceFleet {
			continue // no answer is made from it
		}
		s.catalogued(w) // before the change is told: who reads after that finds it
		if string(w.Partition) != string(last) {
			s.changes.slots[s.changes.slot(w.Partition)].Add(1)
			last = w.Partition
		}
		s.hubs.wrote(w)
	}
}

// headCache keeps the heads of related files that were read lately, each valid while its stamps are fresh.
type headCache struct {
	shards [16]headShard
	most   int
}

type headShard struct {
	mu      sync.Mutex
	entries map[headKey]*cachedHead
	gives   int64
}

type headKey struct {
	hash      intel.Hash
	clearance intel.Marking
}

type cachedHead struct {
	head      *intel.Head
	canonical intel.Hash
	under     []intel.Hash // the hashes under which the file's facts stand
	stamps    []stamp
	used      int64 // when it was last given, by the shard's count of gives; under its lock
}

func newHeadCache(most int) *headCache {
	c := &headCache{most: max(most/16, 1)}
	for i := range c.shards {
		c.shards[i].entries = make(map[headKey]*cachedHead)
	}
	return c
}

func (c *headCache) shard(k headKey) *headShard {
	return &c.shards[k.hash.Byte(0)&15]
}

func (c *headCache) get(k headKey) *cachedHead {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.entries[k]
	if h != nil {
		s.gives++
		h.used = s.gives
	}
	return h
}

// put keeps the head; when the shard is full, the one given longest ago of a few drawn at random goes.
func (c *headCache) put(k headKey, h *cachedHead) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) >= c.most {
		const drawn = 4
		var oldest headKey
		var least int64
		n := 0
		for old, e := range s.entries {
			if u := e.used; n == 0 || u < least {
				oldest, least = old, u
			}
			if n++; n == drawn {
				break
			}
		}
		delete(s.entries, oldest)
	}
	s.gives++
	h.used = s.gives
	s.entries[k] = h
}
