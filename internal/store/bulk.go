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
	data    []byte          // groups, one after another
	value   []byte          // a buffer
	entries []pileEntry

	repeated uint64 // observations of batches that came twice
}

type piledBatch struct {
	id           []byte
	observations uint64
	again        bool // it was recorded before
}

// pileEntry is a group of a pile: rows of one batch and one partition that came one after another. It is
//
//	length(1) | partition | again and again: length of key and 1 uvarint, key, length of value uvarint, value | 0
//
// The beginning of the partition decides most comparisons.
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
	p.batch.observations(s, observations)
}

// put piles up one row, whose key begins at split in its name.
func (p *pile) put(name []byte, split int, v *kv.Value) {
	if len(p.data) > 1<<20 && cap(p.data) < pileBytes { // it will be a large one: grow once
		p.data = slices.Grow(p.data, pileBytes+pileBytes/16)
		p.entries = slices.Grow(p.entries, pileRows+pileRows/16)
	}
	batch := uint32(len(p.batches) - 1)
	if last := len(p.entries) - 1; last >= 0 && p.entries[last].batch == batch && bytes.Equal(p.partition(&p.entries[last]), name[:split]) {
		p.data = p.data[:len(p.data)-1] // the group goes on
	} else {
		e := pileEntry{at: uint32(len(p.data)), batch: batch}
		if split >= 8 {
			e.prefix = binary.BigEndian.Uint64(name)
		} else {
			var short [8]byte
			copy(short[:], name[:split])
			e.prefix = binary.BigEndian.Uint64(short[:])
		}
		p.entries = append(p.entries, e)
		p.data = append(p.data, name[:split]...)
	}
	p.data = binary.AppendUvarint(p.data, uint64(len(name)-split+1))
	p.data = append(p.data, name[split:]...)
	p.value = v.Append(p.value[:0])
	p.data = binary.AppendUvarint(p.data, uint64(len(p.value)))
	p.data = append(append(p.data, p.value...), 0)
}

// partition returns the partition of a group with its length before it.
func (p *pile) partition(e *pileEntry) []byte {
	b := p.data[e.at:]
	return b[: 1+int(b[0]) : 1+int(b[0])]
}

// pileRow is one row of a group.
type pileRow struct{ key, value []byte }

// group appends the rows of a group to dst.
func (p *pile) group(dst []pileRow, e *pileEntry) []pileRow {
	rest := p.data[int(e.at)+1+int(p.data[e.at]):]
	part := func(n uint64) (part []byte) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	length := func() uint64 {
		n, w := binary.Uvarint(rest)
		rest = rest[w:]
		return n
	}
	for {
		n := length()
		if n == 0 {
			return dst
		}
		key := part(n - 1)
		dst = append(dst, pileRow{key, part(length())})
	}
}

// sort brings the groups in the order of their partitions, as [kv.CompareRows] has it: by the bytes of their prefixes, the last first, and what
// has one prefix by its whole partition.
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
				return bytes.Compare(p.partition(&a), p.partition(&b))
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
		var rows []pileRow // of one partition
		var sum, v kv.Value
		for i := 0; i < len(p.entries); {
			partition := p.partition(&p.entries[i])
			rows = rows[:0]
			for first := i; i < len(p.entries); i++ {
				e := &p.entries[i]
				if i > first && (e.prefix != p.entries[first].prefix || !bytes.Equal(p.partition(e), partition)) {
					break
				}
				if !p.batches[e.batch].again {
					rows = p.group(rows, e)
				}
			}
			if len(rows) == 0 {
				continue
			}
			slices.SortFunc(rows, func(a, b pileRow) int { return bytes.Compare(a.key, b.key) })
			w := kv.Write{Partition: partition[1:], Value: &sum}
			slot := st.s.changes.slot(w.Partition)
			st.slots[slot/64] |= 1 << (slot % 64)
			for j := 0; j < len(rows); {
				w.Key = rows[j].key
				decode(&sum, rows[j].value)
				for j++; j < len(rows) && bytes.Equal(rows[j].key, w.Key); j++ {
					decode(&v, rows[j].value)
					sum.Merge(&v)
				}
				if st.s.hubs.count(&w) {
					st.hubs[hub{string(w.Partition), w.Key[0]}] = true
				}
				st.s.catalogued(&w) // a little early, which harms nothing
				if !yield(w) {
					return
				}
			}
		}
	}
}

func decode(v *kv.Value, b []byte) {
	if err := v.Decode(b); err != nil {
		panic("store: a pile does not hold what was piled up") // put wrote it
	}
}
