// Package mem is an engine that keeps its rows in memory, for tests and for answers that need no directory.
package mem

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"spoor/internal/kv"
)

// Store is an engine in memory. Closing it loses everything.
type Store struct {
	mu         sync.Mutex
	partitions map[string]*partition
	names      []string // of partitions, sorted; nil when it must be made again
	batches    map[string]bool
	closed     bool
	holds      kv.Holds
}

type partition struct {
	keys   []string // sorted
	values map[string]*kv.Value
	sorted bool
}

// New returns an empty engine.
func New() *Store {
	return &Store{partitions: map[string]*partition{}, batches: map[string]bool{}}
}

// Apply implements [kv.Store].
func (s *Store) Apply(ctx context.Context, b *kv.Batch) (bool, error) {
	if err := kv.CheckBatch(b); err != nil {
		return false, err
	}
	if len(b.ID) > 0 {
		give, err := s.holds.Take(ctx, true, b.ID)
		if err != nil {
			return false, err
		}
		defer give()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return false, err
	}
	if len(b.ID) > 0 {
		if s.batches[string(b.ID)] {
			return true, nil
		}
		s.batches[string(b.ID)] = true
	}
	s.merge(b.Writes)
	return false, nil
}

var _ kv.Loader = (*Store)(nil)

// NewLoad implements [kv.Loader].
func (s *Store) NewLoad() kv.Load { return &load{s: s, held: kv.Held{Holds: &s.holds}} }

// load is a load under way: what it will write.
type load struct {
	s      *Store
	held   kv.Held
	writes []kv.Write
}

// Add implements [kv.Load].
func (l *load) Add(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	return l.held.Add(ctx, ids, func() ([]int, error) { return l.add(ctx, ids, rows) })
}

func (l *load) add(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	var writes []kv.Write
	for w := range rows {
		if err := cmp.Or(ctx.Err(), kv.CheckWrite(&w)); err != nil {
			return nil, err
		}
		if len(writes) > 0 && kv.CompareRows(&writes[len(writes)-1], &w) >= 0 {
			return nil, kv.Unsorted(&w)
		}
		writes = append(writes, kv.Write{Partition: slices.Clone(w.Partition), Key: slices.Clone(w.Key), Value: w.Value.Clone()})
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if err := l.s.usable(ctx); err != nil {
		return nil, err
	}
	for i, id := range ids {
		if l.s.batches[string(id)] {
			repeated = append(repeated, i)
		}
	}
	if len(repeated) == 0 {
		l.writes = append(l.writes, writes...)
	}
	return repeated, nil
}

// Commit implements [kv.Load].
func (l *load) Commit(ctx context.Context) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if err := l.s.usable(ctx); err != nil {
		return err
	}
	for id := range l.held.All() {
		l.s.batches[id] = true
	}
	l.s.merge(l.writes)
	l.writes = nil
	return nil
}

// Close implements [kv.Load].
func (l *load) Close() {
	l.held.Give()
}

func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return kv.ErrClosed
	}
	return ctx.Err()
}

func (s *Store) merge(writes []kv.Write) {
	for i := range writes {
		w := &writes[i]
		p := s.partitions[string(w.Partition)]
		if p == nil {
			p = &partition{values: map[string]*kv.Value{}, sorted: true}
			s.partitions[string(w.Partition)] = p
			s.names = nil
		}
		v := p.values[string(w.Key)]
		if v == nil {
			k := string(w.Key)
			v = new(kv.Value)
			p.values[k] = v
			p.sorted = p.sorted && (len(p.keys) == 0 || p.keys[len(p.keys)-1] < k)
			p.keys = append(p.keys, k)
		}
		v.Merge(w.Value)
	}
}

// order sorts what writes left unsorted, under the write lock.
func (s *Store) order(ranges []kv.Range) {
	for _, r := range ranges {
		if r.Prefix > 0 {
			if s.names == nil {
				for n := range s.partitions {
					s.names = append(s.names, n)
				}
				slices.Sort(s.names)
			}
			for _, n := range s.under(r) {
				s.partitions[n].sort()
			}
		} else if p := s.partitions[string(r.Partition)]; p != nil {
			p.sort()
		}
	}
}

func (p *partition) sort() {
	if !p.sorted {
		slices.Sort(p.keys)
		p.sorted = true
	}
}

// under lists the partitions that a range with Prefix names.
func (s *Store) under(r kv.Range) (names []string) {
	i, _ := slices.BinarySearch(s.names, string(r.Partition))
	for ; i < len(s.names) && strings.HasPrefix(s.names[i], string(r.Partition)); i++ {
		if len(s.names[i]) == r.Prefix && (r.Limit == 0 || len(names) < r.Limit) {
			names = append(names, s.names[i])
		}
	}
	return names
}

// Scan implements [kv.Store]. It keeps writers out while it runs.
func (s *Store) Scan(ctx context.Context, ranges []kv.Range, yield func(kv.Row) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.order(ranges)
	for i, r := range ranges {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.Prefix > 0 {
			for _, n := range s.under(r) {
				p := s.partitions[n]
				k := slices.Min(p.keys)
				if err := yield(kv.Row{Range: i, Partition: []byte(n), Key: []byte(k), Value: p.values[k].Clone()}); err != nil {
					return err
				}
			}
			continue
		}
		p := s.partitions[string(r.Partition)]
		if p == nil {
			continue
		}
		keys := p.within(r)
		for n, k := range keys {
			if r.Limit > 0 && n == r.Limit {
				break
			}
			if err := yield(kv.Row{Range: i, Partition: r.Partition, Key: []byte(k), Value: p.values[k].Clone()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// within returns the sorted keys of a range.
func (p *partition) within(r kv.Range) []string {
	keys := p.keys
	lo, hi := 0, len(keys)
	if r.From != nil {
		lo, _ = slices.BinarySearch(keys, string(r.From))
	}
	if r.To != nil {
		hi, _ = slices.BinarySearch(keys, string(r.To))
	}
	return keys[lo:max(lo, hi)]
}

// Rewrite implements [kv.Store].
func (s *Store) Rewrite(ctx context.Context, r kv.Range, replace func([]kv.Row) ([]kv.Row, []kv.Write, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	p := s.partitions[string(r.Partition)]
	if p == nil {
		return nil
	}
	p.sort()
	var rows []kv.Row
	for _, k := range p.within(r) {
		rows = append(rows, kv.Row{Partition: r.Partition, Key: []byte(k), Value: p.values[k].Clone()})
	}
	kept, moved, err := replace(rows)
	if err != nil {
		return err
	}
	if err := kv.CheckBatch(&kv.Batch{Writes: moved}); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	for _, row := range rows {
		delete(p.values, string(row.Key))
	}
	p.keys = p.keys[:0]
	for k := range p.values {
		p.keys = append(p.keys, k)
	}
	p.sorted = false
	if len(p.keys) == 0 {
		delete(s.partitions, string(r.Partition))
		s.names = nil
	}
	var writes []kv.Write
	for _, row := range kept {
		writes = append(writes, kv.Write{Partition: r.Partition, Key: row.Key, Value: row.Value})
	}
	s.merge(append(writes, moved...))
	return nil
}

// Stats implements [kv.Store]; this engine keeps no figures.
func (s *Store) Stats() kv.Stats { return kv.Stats{} }

// Close implements [kv.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
