package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
	"spoor/internal/kv"
	"spoor/internal/similar"
	"spoor/internal/similar/digest"
)

// Similarity: the catalogue has a row for every TLSH and ssdeep ever recorded, written in the same step as the fact. Its partitions are those of
// package similar: what can be near a digest stands in few of them. So the rows are the index on disk, on any engine. A server reads them into an
// index in memory as well (LoadSimilar) and adds what is recorded; before that is done, and in a command that is soon done, a search reads
// the rows. Which files have a digest, and who may see that, only its partition in the space of fuzzy hashes tells.

// catalogueShards is into how many partitions the ssdeep digests of one block size go.
const catalogueShards = 16

const cataloguePrefix = 4 // the length of the catalogue's partitions

func tlshPartition(dst []byte, c similar.Cell) []byte {
	return binary.BigEndian.AppendUint16(append(dst, spaceCatalogue, 't'), uint16(c))
}

func ssdeepPartition(dst []byte, l similar.Level, shard uint8) []byte {
	return append(dst, spaceCatalogue, 's', byte(l), shard)
}

// catalogueRow returns where a fuzzy hash stands in the catalogue. ok is false for one that is looked up as a whole only.
func catalogueRow(f *intel.FuzzyHash) (partition, key []byte, ok bool) {
	switch f.Algorithm {
	case intel.TLSH:
		if t, err := digest.ParseTLSH(f.Value); err == nil {
			return tlshPartition(nil, similar.CellOf(&t)), similar.Key(nil, &t), true
		}
	case intel.SSDeep:
		if d, err := digest.ParseSSDeep(f.Value); err == nil {
			return ssdeepPartition(nil, similar.LevelOf(&d), uint8(xxhash.Sum64String(f.Value)%catalogueShards)), []byte(f.Value), true
		}
	}
	return nil, nil, false
}

// catalogue enters a fuzzy hash.
func (f *fact) catalogue(h *intel.FuzzyHash) {
	if partition, key, ok := catalogueRow(h); ok {
		split := f.begin(partition)
		f.name = append(f.name, key...)
		f.merge(split, &kv.Value{})
	}
}

// alike is the catalogue in memory.
type alike struct {
	tlsh   similar.TLSH
	ssdeep similar.SSDeep
	whole  atomic.Bool // all rows that there were are in it
}

func (x *alike) add(partition, key []byte) {
	if len(partition) != cataloguePrefix {
		return
	}
	switch partition[1] {
	case 't':
		x.tlsh.AddKey(similar.Cell(binary.BigEndian.Uint16(partition[2:])), key)
	case 's':
		x.ssdeep.Add(string(key))
	}
}

// catalogued is told of writes, after they became visible or before.
func (s *Store) catalogued(w *kv.Write) {
	if w.Partition[0] == spaceCatalogue {
		if x := s.alike.Load(); x != nil {
			x.add(w.Partition, w.Key)
		}
	}
}

// LoadSimilar reads the catalogue into memory, so that searches take a fraction of a millisecond, and keeps it up from then on. It takes
// about 50 bytes for each TLSH and 450 for each ssdeep, and less than a microsecond for each. Look-ups and recording go on meanwhile.
func (s *Store) LoadSimilar(ctx context.Context) error {
	x := new(alike)
	if !s.alike.CompareAndSwap(nil, x) {
		return nil
	}
	// What is recorded from here on is added by who records it; what was visible before is read now.
	err := s.catalogueRows(ctx, func(r kv.Row) { x.add(r.Partition, r.Key) })
	if err != nil {
		s.alike.Store(nil)
		return fmt.Errorf("reading the catalogue of fuzzy hashes: %w", s.kind(err))
	}
	x.whole.Store(true)
	return nil
}

// catalogueRows reads all rows of the catalogue.
func (s *Store) catalogueRows(ctx context.Context, visit func(kv.Row)) error {
	var ranges []kv.Range
	err := s.kv.Scan(ctx, []kv.Range{{Partition: []byte{spaceCatalogue}, Prefix: cataloguePrefix}}, func(r kv.Row) error {
		ranges = append(ranges, kv.Range{Partition: bytes.Clone(r.Partition)})
		return nil
	})
	for len(ranges) > 0 && err == nil {
		some := ranges[:min(len(ranges), 256)]
		ranges = ranges[len(some):]
		err = s.kv.Scan(ctx, some, func(r kv.Row) error { visit(r); return nil })
	}
	return err
}

// SimilarCount tells how many TLSH and ssdeep digests the index in memory holds, and whether it is whole.
func (s *Store) SimilarCount() (tlsh, ssdeep int, whole bool) {
	x := s.alike.Load()
	if x == nil {
		return 0, 0, false
	}
	return x.tlsh.Len(), x.ssdeep.Len(), x.whole.Load()
}

// makeCatalogue enters what a version without catalogue recorded: the first look at a store that has fuzzy hashes and no catalogue.
func (s *Store) makeCatalogue(ctx context.Context) error {
	any := func(r kv.Range) (found bool, err error) {
		r.Limit = 1
		err = s.kv.Scan(ctx, []kv.Range{r}, func(kv.Row) error { found = true; return nil })
		return found, err
	}
	fail := func(err error) error { return fmt.Errorf("making the catalogue of fuzzy hashes: %w", s.kind(err)) }
	there, err := any(kv.Range{Partition: []byte{spaceCatalogue}, Prefix: cataloguePrefix})
	if err != nil || there {
		return err
	}
	for _, old := range []struct {
		algorithm       intel.FuzzyAlgorithm
		shortest, least int
	}{{intel.TLSH, 72, 72}, {intel.SSDeep, 3, 11 + 64 + 64}} {
		name := append([]byte{spaceFuzzy}, pair(string(old.algorithm), " ")...)
		name = name[:len(name)-1]
		for length := old.shortest; length <= old.least; length++ {
			var b kv.Batch
			err := s.kv.Scan(ctx, []kv.Range{{Partition: name, Prefix: len(name) + length}}, func(r kv.Row) error {
				partition, key, ok := catalogueRow(&intel.FuzzyHash{Algorithm: old.algorithm, Value: string(r.Partition[len(name):])})
				if ok {
					b.Writes = append(b.Writes, kv.Write{Partition: partition, Key: key, Value: &kv.Value{}})
				}
				return nil
			})
			if err != nil {
				return fail(err)
			}
			if len(b.Writes) > 0 {
				if _, err := s.kv.Apply(ctx, &b); err != nil {
					return fail(err)
				}
			}
		}
	}
	return nil
}

const (
	maxAlike  = 200 // files that are looked at of those that share one fuzzy hash
	maxHashes = 16  // fuzzy hashes of a file that are searched with
)

// near is a fuzzy hash that resembles one, which the by-th of those asked for is.
type near struct {
	value           string
	by              int
	distance, score int
	apart           int // 0 for the same
}

// nearest returns the fuzzy hashes near h that were ever recorded, the nearest first.
func (v *View) nearest(ctx context.Context, by int, h *intel.FuzzyHash, reach intel.Reach) ([]near, error) {
	var out []near
	var ranges []kv.Range
	index := v.s.alike.Load()
	if index != nil && !index.whole.Load() {
		index = nil
	}
	look := func(partition []byte) {
		v.stamps = append(v.stamps, v.s.changes.stamp(partition))
		if index == nil {
			ranges = append(ranges, kv.Range{Partition: partition})
		}
	}
	switch h.Algorithm {
	case intel.TLSH:
		t, err := digest.ParseTLSH(h.Value)
		if err != nil {
			break
		}
		type place struct {
			cell similar.Cell
			cost int
		}
		var places []place
		for cell, cost := range similar.Near(&t, reach.Distance) {
			look(tlshPartition(nil, cell))
			places = append(places, place{cell, cost})
		}
		var found []similar.TLSHMatch
		if index != nil {
			found, _ = index.tlsh.Search(&t, reach.Distance, reach.Files)
		} else {
			search := similar.NewTLSHSearch(&t, reach.Distance, reach.Files)
			err := v.s.kv.Scan(ctx, ranges, func(r kv.Row) error {
				p := places[r.Range]
				search.Look(p.cell, p.cost, r.Key)
				return nil
			})
			if err != nil {
				return nil, err
			}
			found, _ = search.Found()
		}
		for i := range found {
			out = append(out, near{found[i].Digest.String(), by, found[i].Distance, 0, found[i].Distance})
		}
		return out, nil
	case intel.SSDeep:
		d, err := digest.ParseSSDeep(h.Value)
		if err != nil {
			break
		}
		for _, l := range similar.NearLevels(&d) {
			for shard := range uint8(catalogueShards) {
				look(ssdeepPartition(nil, l, shard))
			}
		}
		var found []similar.SSDeepMatch
		if index != nil {
			found, _ = index.ssdeep.Search(&d, reach.Score, reach.Files)
		} else {
			search := similar.NewSSDeepSearch(&d, reach.Score, reach.Files)
			if err := v.s.kv.Scan(ctx, ranges, func(r kv.Row) error { search.Look(r.Key); return nil }); err != nil {
				return nil, err
			}
			found, _ = search.Found()
		}
		for _, m := range found {
			out = append(out, near{m.Text, by, 0, m.Score, 100 - m.Score})
		}
		return out, nil
	}
	return []near{{value: h.Value, by: by}}, nil
}

// Similar returns the files that have one of the fuzzy hashes, or a TLSH or ssdeep near one.
func (v *View) Similar(ctx context.Context, hashes []intel.FuzzyHash, reach intel.Reach) ([]intel.Resemblance, error) {
	return v.similar(ctx, hashes, reach, intel.Hash{})
}

// similar does the same but for one file.
func (v *View) similar(ctx context.Context, hashes []intel.FuzzyHash, reach intel.Reach, but intel.Hash) ([]intel.Resemblance, error) {
	var all []near
	for i := range hashes[:min(len(hashes), maxHashes)] {
		some, err := v.nearest(ctx, i, &hashes[i], reach)
		if err != nil {
			return nil, fmt.Errorf("recalling similar files: %w", v.s.kind(err))
		}
		all = append(all, some...)
	}
	// The nearest first: those are found before there are enough.
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Compare(a.apart, b.apart) })
	type found struct {
		hash intel.Hash
		by   *near
	}
	var members []found
	files := map[intel.Hash]bool{}
	for rest := all; len(rest) > 0 && len(files) < reach.Files; {
		some := rest[:min(len(rest), 64)]
		rest = rest[len(some):]
		var ranges []kv.Range
		for i := range some {
			p := addressPartition(nil, spaceFuzzy, pair(string(hashes[some[i].by].Algorithm), some[i].value))
			v.stamps = append(v.stamps, v.s.changes.stamp(p))
			ranges = append(ranges, kv.Range{Partition: p, From: tagBound(tagMemberFile), To: tagBound(tagMemberFile + 1), Limit: maxAlike})
		}
		err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
			r, ok := v.keep(&kr)
			if !ok {
				return nil
			}
			if h, _, _, ok := parseFileObject(r.object); ok && !h.IsZero() {
				members = append(members, found{h, &some[kr.Range]})
				files[h] = true
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("recalling similar files: %w", v.s.kind(err))
		}
	}
	names := make([]intel.Hash, len(members))
	for i := range members {
		names[i] = members[i].hash
	}
	heads, err := v.resolve(ctx, names)
	if err != nil {
		return nil, err
	}
	// Of each file the nearest of each fuzzy hash that was asked for.
	type key struct {
		file intel.Hash
		by   int
	}
	at := map[key]int{}
	var out []intel.Resemblance
	for i, m := range members {
		c := heads[i]
		if c.canonical == but {
			continue
		}
		r := intel.Resemblance{Head: c.head, By: hashes[m.by.by], Distance: m.by.distance, Score: m.by.score}
		k := key{c.canonical, m.by.by}
		j, seen := at[k]
		switch {
		case !seen:
			at[k] = len(out)
			out = append(out, r)
		case r.Distance < out[j].Distance || r.Score > out[j].Score:
			out[j] = r
		}
	}
	slices.SortFunc(out, func(a, b intel.Resemblance) int {
		return cmp.Or(a.Head.File.Strongest().Compare(b.Head.File.Strongest()),
			strings.Compare(pair(string(a.By.Algorithm), a.By.Value), pair(string(b.By.Algorithm), b.By.Value)))
	})
	return out, nil
}

// Names returns the names of each file on hosts.
func (v *View) Names(ctx context.Context, files []intel.Hash) ([][]intel.Row[string], error) {
	sets, err := v.group(ctx, files, intel.SectionNames)
	if err != nil {
		return nil, err
	}
	out := make([][]intel.Row[string], len(sets))
	for i, rows := range sets {
		for j := range rows {
			out[i] = append(out[i], intel.Row[string]{Value: rows[j].object, Tally: rows[j].tally})
		}
	}
	return out, nil
}
