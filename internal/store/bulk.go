package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Bulk recording: the rows of many batches are piled up in memory, sorted, added up and handed to a load ([kv.Load]), pile after pile, and
// committed in one step. Each batch keeps its own id, so that it does not matter how a batch comes, alone or among others, the first time or
// again.

const (
	// A pile is added to the load when it holds so many bytes or rows. Two are in use at once: one is filled while the other is added.
	pileBytes = 18 << 20
	pileRows  = 1 << 18
	// stepBytes of piles are committed at once, a few ten million known-good files. The more, the less the engine must merge afterwards; but
	// what was not committed, a minute or two of work, is to be recorded again after a crash, and stands on disk twice for a while.
	stepBytes = 8 << 30
)

// RecordMany records batches, each as [Store.Record] would, but many in one step: faster, and nothing of a step is seen before it is whole.
// What was recorded when it fails stays. It returns how many observations it recorded, and how many were in batches recorded before.
// The batches are read from the calling goroutine; the observations of one are not looked at any more when the next is asked for.
func (s *Store) RecordMany(ctx context.Context, batches iter.Seq2[[]byte, []intel.Observation]) (accepted, repeated uint64, err error) {
	engine, ok := s.kv.(kv.Loader)
	if !ok {
		for id, observations := range batches {
			again, err := s.Record(ctx, id, observations)
			if err != nil {
				return accepted, repeated, err
			}
			if again {
				repeated += uint64(len(observations))
			} else {
				accepted += uint64(len(observations))
			}
		}
		return accepted, repeated, nil
	}
	st := &step{s: s, engine: engine}
	st.begin()
	defer func() { st.load.Close() }()
	err = st.pile(ctx, batches)
	if err == nil {
		err = st.commit(ctx)
	}
	return st.accepted, st.repeated, err
}

// pile piles batches up and adds the piles, one while the next is filled.
func (st *step) pile(ctx context.Context, batches iter.Seq2[[]byte, []intel.Observation]) (err error) {
	filling, adding := newPile(), newPile()
	var done chan error // of the pile that is being added, nil when none is
	wait := func() {
		if done != nil {
			err, done = <-done, nil
		}
	}
	for id, observations := range batches {
		filling.add(st.s, id, observations)
		if !filling.full() {
			continue
		}
		if wait(); err != nil {
			return err
		}
		filling, adding = adding, filling
		filling.reset()
		done = make(chan error, 1)
		go func(p *pile, done chan<- error) { done <- st.add(ctx, p) }(adding, done)
	}
	if wait(); err != nil {
		return err
	}
	return st.add(ctx, filling)
}

// step is what is committed at once.
type step struct {
	s      *Store
	engine kv.Loader
	load   kv.Load

	// Of the load under way:
	bytes        int
	observations uint64
	sources      map[uint32]string            // whose names it writes
	slots        [1 << changeBits / 64]uint64 // bits of s.changes' slots: those of its partitions
	hubs         map[hub]bool                 // relations that it may have made too large

	spare              []pileEntry // to sort piles with
	accepted, repeated uint64      // observations: recorded, recorded before
}

func (st *step) begin() {
	st.load = st.engine.NewLoad()
	st.bytes, st.observations, st.sources, st.hubs = 0, 0, map[uint32]string{}, map[hub]bool{}
	clear(st.slots[:])
}

// add adds what is piled up to the load, but for the batches that were recorded before.
func (st *step) add(ctx context.Context, p *pile) error {
	st.repeated += p.repeated
	st.spare = p.sort(st.spare)
	for {
		var ids [][]byte
		var of []int // which batch each id is of
		left := uint64(0)
		for i := range p.batches {
			b := &p.batches[i]
			if b.again {
				continue
			}
			left += b.observations
			if len(b.id) > 0 {
				ids, of = append(ids, b.id), append(of, i)
			}
		}
		if left == 0 {
			return nil
		}
		again, err := st.load.Add(ctx, ids, p.rows(st))
		switch {
		case errors.Is(err, kv.ErrHeld):
			if err := st.commit(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("recording %d observations: %w", left, st.s.kind(err))
		case len(again) > 0:
			for _, i := range again {
				p.batches[of[i]].again = true
				st.repeated += p.batches[of[i]].observations
			}
			continue
		}
		st.observations += left
		maps.Copy(st.sources, p.batch.sources)
		if st.bytes += len(p.data); st.bytes >= stepBytes {
			return st.commit(ctx)
		}
		return nil
	}
}

// commit records what was added, and begins anew.
func (st *step) commit(ctx context.Context) error {
	if err := st.load.Commit(ctx); err != nil {
		return fmt.Errorf("recording %d observations: %w", st.observations, st.s.kind(err))
	}
	st.accepted += st.observations
	for id, name := range st.sources {
		st.s.sources.learn(id, name)
	}
	for i, word := range st.slots {
		for ; word != 0; word &= word - 1 {
			st.s.changes.slots[i*64+bits.TrailingZeros64(word)].Add(1)
		}
	}
	for h := range st.hubs {
		st.s.hubs.tell([]byte(h.partition), h.tag)
	}
	st.load.Close()
	st.begin()
	return nil
}

// pile is rows of many batches, one after another as they came, and the order in which they are to be loaded.
type pile struct {
	batch   *batch // makes rows of observations
	batches []piledBatch
	index   map[string]bool // ids of batches
	data    []byte          // length of name uvarint, name, length of value uvarint, value; again and again
	entries []pileEntry

	repeated uint64 // observations of batches that came twice
}

type piledBatch struct {
	id           []byte
	observations uint64
	again        bool // it was recorded before
}

// pileEntry is one row of a pile. The beginning of its name decides most comparisons.
type pileEntry struct {
	prefix uint64
	at     uint32 // in data
	batch  uint32
}

func newPile() *pile {
	p := &pile{batch: &batch{}, index: map[string]bool{}}
	p.batch.pile = p
	p.reset()
	return p
}

func (p *pile) reset() {
	p.batches, p.data, p.entries = p.batches[:0], p.data[:0], p.entries[:0]
	p.repeated = 0
	clear(p.index)
	p.batch.sources, p.batch.source = make(map[uint32]string), sourceKey{}
}

// full reports whether another batch might be too many.
func (p *pile) full() bool { return len(p.data) >= pileBytes || len(p.entries) >= pileRows }

func (p *pile) add(s *Store, id []byte, observations []intel.Observation) {
	if len(id) > 0 && p.index[string(id)] {
		p.repeated += uint64(len(observations))
		return
	}
	p.index[string(id)] = true
	p.batches = append(p.batches, piledBatch{id: id, observations: uint64(len(observations))})
	p.batch.learned = s.now().Unix()
	for i := range observations {
		p.batch.observation(s, &observations[i])
	}
	p.batch.fleet()
}

// put piles up one row.
func (p *pile) put(name []byte, v *kv.Value) {
	if len(p.data) > 1<<20 && cap(p.data) < pileBytes { // it will be a large one: grow once
		p.data = slices.Grow(p.data, pileBytes+pileBytes/16)
		p.entries = slices.Grow(p.entries, pileRows+pileRows/16)
	}
	e := pileEntry{at: uint32(len(p.data)), batch: uint32(len(p.batches) - 1)}
	if len(name) >= 8 {
		e.prefix = binary.BigEndian.Uint64(name)
	} else {
		var short [8]byte
		copy(short[:], name)
		e.prefix = binary.BigEndian.Uint64(short[:])
	}
	p.entries = append(p.entries, e)
	p.data = binary.AppendUvarint(p.data, uint64(len(name)))
	p.data = append(p.data, name...)
	p.data = v.Append(p.data)
}

// name returns the name of a row, and what follows it: the value and then other rows.
func (p *pile) name(e *pileEntry) (name, rest []byte) {
	n, w := binary.Uvarint(p.data[e.at:])
	at := int(e.at) + w
	return p.data[at : at+int(n) : at+int(n)], p.data[at+int(n):]
}

// sort brings the rows in the order of [kv.CompareRows], which is that of their names: by the bytes of their prefixes, the last first, and what
// has one prefix by its whole name.
// It takes a second array to sort with, and returns the one that is free afterwards.
func (p *pile) sort(spare []pileEntry) []pileEntry {
	from := p.entries
	to := slices.Grow(spare[:0], cap(from))[:len(from)]
	var counts [8][256]uint32
	for i := range from {
		for x, at := from[i].prefix, 0; at < 8; at++ {
			counts[at][byte(x)]++
			x >>= 8
		}
	}
	for at := range counts {
		c := &counts[at]
		if len(from) > 0 && c[byte(from[0].prefix>>(8*at))] == uint32(len(from)) {
			continue // all have the same
		}
		sum := uint32(0)
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for i := range from {
			k := byte(from[i].prefix >> (8 * at))
			to[c[k]] = from[i]
			c[k]++
		}
		from, to = to, from
	}
	p.entries = from
	for i := 0; i < len(from); {
		end := i + 1
		for end < len(from) && from[end].prefix == from[i].prefix {
			end++
		}
		if end > i+1 {
			slices.SortFunc(from[i:end], func(a, b pileEntry) int {
				x, _ := p.name(&a)
				y, _ := p.name(&b)
				return bytes.Compare(x, y)
			})
		}
		i = end
	}
	return to
}

// rows yields the rows, each once with its values added up, but for batches that were recorded before. On the way it notes in the step which
// partitions they are of and which relations may become hubs.
func (p *pile) rows(st *step) iter.Seq[kv.Write] {
	return func(yield func(kv.Write) bool) {
		var w kv.Write // the row that is being added up
		var name []byte
		var sum, v kv.Value
		give := func() bool {
			split := 1 + int(name[0])
			if !bytes.Equal(w.Partition, name[1:split]) {
				w.Partition = name[1:split:split]
				slot := st.s.changes.slot(w.Partition)
				st.slots[slot/64] |= 1 << (slot % 64)
			}
			w.Key, w.Value = name[split:], &sum
			if st.s.hubs.count(&w) {
				st.hubs[hub{string(w.Partition), w.Key[0]}] = true
			}
			return yield(w)
		}
		for i := range p.entries {
			e := &p.entries[i]
			if p.batches[e.batch].again {
				continue
			}
			next, rest := p.name(e)
			if bytes.Equal(next, name) {
				decode(&v, rest)
				sum.Merge(&v)
				continue
			}
			if name != nil && !give() {
				return
			}
			name = next
			decode(&sum, rest)
		}
		if name != nil {
			give()
		}
	}
}

func decode(v *kv.Value, b []byte) {
	if _, err := v.DecodePrefix(b); err != nil {
		panic("store: a pile does not hold what was piled up") // put wrote it
	}
}
