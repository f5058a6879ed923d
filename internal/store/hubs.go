package store

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Hubs: relations that grow without bound.
//
// The empty file, svchost.exe or a shared DLL have a million rows in one relation, and reading costs 100 ns a row. So a relation
// that has taken many new rows is rolled back in the background to its best rows: those of related files that are red or orange,
// then three quarters by hits, one quarter the newest. The others move, in the same atomic step, to a tail partition that only
// paging reads, and two gap rows say how many they were. A row that comes back after it was moved starts again at the head with
// its new hits only; its whole count is the sum of head and tail, which paging gives.
//
// Writers count row writes of a relation in a table of counters that relations share: a false alarm costs one scan of a few rows.

const (
	hubCounters = 1 << 16
	hubQueue    = 1024
	maxGraves   = 1 << 17 // rows whose related file's head is read before a roll-back
)

type hubs struct {
	s        *Store
	rows     int // C: how many stay
	counters []atomic.Uint32
	queue    chan hub
	mu       sync.Mutex
	queued   map[string]bool
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup
	pending  atomic.Int64
}

type hub struct {
	partition string
	tag       byte
}

func newHubs(s *Store, rows int) *hubs {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hubs{s: s, rows: rows, counters: make([]atomic.Uint32, hubCounters), queue: make(chan hub, hubQueue),
		queued: make(map[string]bool), ctx: ctx, cancel: cancel}
	h.done.Add(1)
	go h.run()
	return h
}

func (h *hubs) stop() {
	h.cancel()
	h.done.Wait()
}

// trigger is how many row writes to a relation call for a look at it.
func (h *hubs) trigger() int { return 4 * h.rows }

// scanBudget is how many rows of one relation a read looks at: what can come together between two roll-backs, and some.
func (h *hubs) scanBudget() int { return 6 * h.rows }

// wrote counts one row write, which is visible now.
func (h *hubs) wrote(w *kv.Write) {
	if h.count(w) {
		h.tell(w.Partition, w.Key[0])
	}
}

// count counts one row write and reports whether it calls for a look at the relation once it is visible.
func (h *hubs) count(w *kv.Write) bool {
	if len(w.Key) == 0 || w.Key[0] < endOfHead {
		return false
	}
	switch w.Partition[0] {
	case spaceFile, spaceURL, spaceHost, spaceFuzzy, spaceCertificate, spacePublication:
	default:
		return false
	}
	c := &h.counters[(xxhash.Sum64(w.Partition)+uint64(w.Key[0])*0x9E3779B97F4A7C15)%hubCounters]
	if c.Add(1) < uint32(h.trigger()) {
		return false
	}
	c.Store(0)
	return true
}

// tell asks for a look at a relation. It never waits: a full queue drops the call, and a later write or read tells again.
func (h *hubs) tell(partition []byte, tag byte) {
	k := string(append(partition[:len(partition):len(partition)], tag))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queued[k] {
		return
	}
	select {
	case h.queue <- hub{string(partition), tag}:
		h.queued[k] = true
		h.pending.Add(1)
	default:
	}
}

func (h *hubs) run() {
	defer h.done.Done()
	for {
		select {
		case <-h.ctx.Done():
			return
		case u := <-h.queue:
			h.mu.Lock()
			delete(h.queued, string(append([]byte(u.partition), u.tag)))
			h.mu.Unlock()
			if err := h.rollBack(h.ctx, u); err != nil && h.ctx.Err() == nil {
				h.s.log.Error("a large relation could not be rolled back; it will be tried again when it grows", "error", err)
			}
			h.pending.Add(-1)
		}
	}
}

// Settle waits until every relation that waits for a roll-back has had it. For tests and for bench.
func (s *Store) Settle(ctx context.Context) error {
	for s.hubs.pending.Load() > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		runtime.Gosched()
	}
	return nil
}

// score is what of a row decides whether it stays.
type score struct {
	grave bool // the related file or address is red or orange
	count uint64
	last  int64
	key   string
	index int
}

// choose marks the indices of the best scores: the graves, then by hits, then the newest. It sorts scores.
func (h *hubs) choose(scores []score) []bool {
	keep := make([]bool, len(scores))
	kept := 0
	for _, s := range scores {
		if kept < h.rows/4 && s.grave {
			keep[s.index] = true
			kept++
		}
	}
	take := func(until int, compare func(a, b score) int) {
		slices.SortFunc(scores, compare)
		for _, s := range scores {
			if kept >= until {
				return
			}
			if !keep[s.index] {
				keep[s.index] = true
				kept++
			}
		}
	}
	take(max(kept, h.rows*3/4), func(a, b score) int {
		return cmp.Or(-cmp.Compare(a.count, b.count), -cmp.Compare(a.last, b.last), strings.Compare(a.key, b.key))
	})
	take(h.rows, func(a, b score) int {
		return cmp.Or(-cmp.Compare(a.last, b.last), -cmp.Compare(a.count, b.count), strings.Compare(a.key, b.key))
	})
	return keep
}

// best returns the rows of one relation that an answer looks at, in their order.
func (v *View) best(ctx context.Context, rows []row) ([]row, error) {
	h := v.s.hubs
	if len(rows) <= h.rows {
		return rows, nil
	}
	grave, err := v.graves(ctx, rows)
	if err != nil {
		return nil, err
	}
	scores := make([]score, len(rows))
	for i := range rows {
		r := &rows[i]
		scores[i] = score{grave[r.object], r.tally.Count, int64(r.tally.Last), r.object, i}
	}
	keep := h.choose(scores)
	out := make([]row, 0, h.rows)
	for i := range rows {
		if keep[i] {
			out = append(out, rows[i])
		}
	}
	return out, nil
}

// rollBack moves all but the best rows of a relation to its tail, if it has grown to more than twice what stays.
func (h *hubs) rollBack(ctx context.Context, u hub) error {
	partition := []byte(u.partition)
	r := kv.Range{Partition: partition, From: tagBound(u.tag), To: tagBound(u.tag + 1)}
	v := h.s.View(intel.TLPRed)
	var seen []row
	count := 0
	err := h.s.kv.Scan(ctx, []kv.Range{r}, func(kr kv.Row) error {
		count++
		if kept, ok := v.keep(&kr); ok && len(seen) < maxGraves {
			seen = append(seen, kept)
		}
		return nil
	})
	if err != nil || count <= 2*h.rows {
		return err
	}
	grave, err := v.graves(ctx, seen)
	if err != nil {
		return err
	}
	err = h.s.kv.Rewrite(ctx, r, func(rows []kv.Row) ([]kv.Row, []kv.Write, error) {
		scores := make([]score, len(rows))
		for i := range rows {
			scores[i] = score{count: rows[i].Value.Count, last: rows[i].Value.Last, key: string(rows[i].Key), index: i}
			if k, ok := parseKey(rows[i].Key, rows[i].Value.Text); ok {
				scores[i].grave = grave[string(k.object)]
			}
		}
		keep := h.choose(scores)
		kept := make([]kv.Row, 0, h.rows)
		var moved []kv.Write
		var hits uint64
		tail := append([]byte{spaceTail}, partition...)
		for i := range rows {
			if keep[i] {
				kept = append(kept, rows[i])
				continue
			}
			hits += rows[i].Value.Count
			moved = append(moved, kv.Write{Partition: tail, Key: rows[i].Key, Value: rows[i].Value})
		}
		for _, g := range []struct {
			what  byte
			count uint64
		}{{'r', uint64(len(moved))}, {'h', hits}} {
			k := key{tag: tagGap, detail: [2]byte{u.tag, g.what}}
			moved = append(moved, kv.Write{Partition: partition, Key: k.append(nil), Value: &kv.Value{Count: g.count}})
		}
		return kept, moved, nil
	})
	h.s.changes.slots[h.s.changes.slot(partition)].Add(1)
	return err
}

// graves returns the objects among the rows of one relation whose file or address is red or orange by what is said of it itself.
func (v *View) graves(ctx context.Context, rows []row) (map[string]bool, error) {
	grave := map[string]bool{}
	switch tag := rows[0].tag; {
	case tag == tagCameFrom || tag == tagAccessed:
		addresses, err := v.addresses(ctx, rows)
		if err != nil {
			return nil, err
		}
		for i := range addresses {
			for j := range addresses[i].Value.Listings {
				if addresses[i].Value.Listings[j].Value.Zone >= intel.Orange {
					grave[addresses[i].Value.URL] = true
				}
			}
		}
	case tagStarted <= tag && tag <= tagContainedIn, tagCame <= tag && tag <= tagMemberFile:
		hashes := make([]intel.Hash, 0, len(rows))
		objects := make([]string, 0, len(rows))
		for i := range rows {
			if hash, _, _, ok := parseFileObject(rows[i].object); ok && !hash.IsZero() {
				hashes, objects = append(hashes, hash), append(objects, rows[i].object)
			}
		}
		heads, err := v.resolve(ctx, hashes)
		if err != nil {
			return nil, err
		}
		for i := range heads {
			if isGrave(heads[i].head) {
				grave[objects[i]] = true
			}
		}
	}
	return grave, nil
}

func isGrave(h *intel.Head) bool {
	for i := range h.Detections {
		if h.Detections[i].Value.Zone >= intel.Orange {
			return true
		}
	}
	for i := range h.Listings {
		if h.Listings[i].Value.Zone >= intel.Orange {
			return true
		}
	}
	for i := range h.Verdicts {
		if h.Verdicts[i].Value.Zone >= intel.Orange {
			return true
		}
	}
	return false
}
