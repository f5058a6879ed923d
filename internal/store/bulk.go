package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Bulk recording: the rows of many batches are piled up in memory, sorted, added up and loaded in one step ([kv.Loader]). Each batch keeps
// its own id, so that it does not matter how a batch comes, alone or among others, the first time or again.

// A pile is loaded when it holds so many bytes or rows. Two are in use at once: one is filled while the other is loaded.
const (
	pileBytes = 72 << 20
	pileRows  = 1 << 20
)

// RecordMany records batches, each as [Store.Record] would, but many in one step: faster, and nothing of a step is seen before it is whole.
// What was recorded when it fails stays. It returns how many observations it recorded, and how many were in batches recorded before.
// The batches are read from the calling goroutine.
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
	filling, loading := newPile(), newPile()
	var done chan error // of the pile that is being loaded, nil when none is
	wait := func() {
		if done != nil {
			err, done = <-done, nil
			accepted += loading.accepted
			repeated += loading.repeated
		}
	}
	for id, observations := range batches {
		filling.add(s, id, observations)
		if !filling.full() {
			continue
		}
		if wait(); err != nil {
			return accepted, repeated, err
		}
		filling, loading = loading, filling
		filling.reset()
		done = make(chan error, 1)
		go func(p *pile, done chan<- error) { done <- s.load(ctx, engine, p) }(loading, done)
	}
	if wait(); err != nil {
		return accepted, repeated, err
	}
	err = s.load(ctx, engine, filling)
	return accepted + filling.accepted, repeated + filling.repeated, err
}

// load loads what is piled up, but for the batches that were recorded before.
func (s *Store) load(ctx context.Context, engine kv.Loader, p *pile) error {
	p.sort()
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
		again, err := engine.Load(ctx, ids, p.rows(s))
		if err != nil {
			return fmt.Errorf("recording %d observations: %w", left, s.kind(err))
		}
		if len(again) > 0 {
			for _, i := range again {
				p.batches[of[i]].again = true
				p.repeated += p.batches[of[i]].observations
			}
			continue
		}
		p.accepted = left
		for id, name := range p.batch.sources {
			s.sources.learn(id, name)
		}
		for _, slot := range p.slots {
			s.changes.slots[slot].Add(1)
		}
		return nil
	}
}

// pile is rows of many batches, one after another as they came, and the order in which they are to be loaded.
type pile struct {
	batch   *batch // makes rows of observations
	batches []piledBatch
	index   map[string]bool // ids of batches
	data    []byte          // length of name uvarint, name, length of value uvarint, value; again and again
	entries []pileEntry
	slots   []uint32 // of s.changes: those of the partitions that were loaded

	accepted, repeated uint64 // observations
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
	p.accepted, p.repeated = 0, 0
	clear(p.index)
	p.batch.sources = make(map[uint32]string)
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

// sort brings the rows in the order of [kv.CompareRows], which is that of their names.
func (p *pile) sort() {
	slices.SortFunc(p.entries, func(a, b pileEntry) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		x, _ := p.name(&a)
		y, _ := p.name(&b)
		return bytes.Compare(x, y)
	})
}

// rows yields the rows, each once with its values added up, but for batches that were recorded before. On the way it notes which partitions
// they are of and counts them for hubs: they may be looked at a little early, or twice, which harms nothing.
func (p *pile) rows(s *Store) iter.Seq[kv.Write] {
	return func(yield func(kv.Write) bool) {
		p.slots = p.slots[:0]
		var w kv.Write // the row that is being added up
		var name []byte
		var sum, v kv.Value
		give := func() bool {
			split := 1 + int(name[0])
			if !bytes.Equal(w.Partition, name[1:split]) {
				w.Partition = name[1:split:split]
				p.slots = append(p.slots, s.changes.slot(w.Partition))
			}
			w.Key, w.Value = name[split:], &sum
			s.hubs.wrote(&w)
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
