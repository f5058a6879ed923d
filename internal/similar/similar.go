// Package similar is the index of fuzzy digests: which of all TLSH digests are within a distance of one, which of all ssdeep digests have
// something in common with one. It is exact: it finds all that a comparison with every digest would.
//
// An index holds digests only, each once; which files have them is known elsewhere. It is in memory. What is kept on disk is the same
// arrangement: [Cell] and [Level] say where a digest stands, so that a reader without an index looks at a few places too.
package similar

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"spoor/internal/similar/digest"
)

// Cell is what of a TLSH digest alone adds more to a distance than the whole may be, for most pairs: its length and quartiles.
type Cell uint16

// CellOf is the cell of a digest.
func CellOf(t *digest.TLSH) Cell { return Cell(t.Length)<<8 | Cell(t.Q1&15)<<4 | Cell(t.Q2&15) }

// Near yields the cells whose digests may be within a distance of t, and what a digest there is apart at least.
func Near(t *digest.TLSH, distance int) iter.Seq2[Cell, int] {
	var q1s, q2s [16]int
	for q := range byte(16) {
		q1s[q], q2s[q] = digest.QuartileCost(t.Q1, q), digest.QuartileCost(t.Q2, q)
	}
	return func(yield func(Cell, int) bool) {
		for l := range 256 {
			cost := digest.LengthCost(t.Length, byte(l))
			if cost > distance {
				continue
			}
			for q1, c1 := range q1s {
				if cost+c1 > distance {
					continue
				}
				for q2, c2 := range q2s {
					if all := cost + c1 + c2; all <= distance && !yield(Cell(l<<8|q1<<4|q2), all) {
						return
					}
				}
			}
		}
	}
}

// KeySize is the length of a digest's key in its cell.
const KeySize = 33

// Key is what tells a digest from the others of its cell: its codes, then its checksum. Keys in order fill an index fastest.
func Key(dst []byte, t *digest.TLSH) []byte {
	for _, w := range t.Codes() {
		dst = binary.BigEndian.AppendUint64(dst, w)
	}
	return append(dst, t.Checksum)
}

// FromKey is the digest of a key in a cell. ok is false for what is no key.
func FromKey(c Cell, key []byte) (t digest.TLSH, ok bool) {
	if len(key) != KeySize {
		return t, false
	}
	var e entry
	e.read(key)
	return e.digest(c), true
}

// entry is a digest in its cell.
type entry struct {
	codes    digest.Codes
	checksum byte
}

func (e *entry) read(key []byte) {
	for i := range e.codes {
		e.codes[i] = binary.BigEndian.Uint64(key[8*i:])
	}
	e.checksum = key[32]
}

func (e *entry) digest(c Cell) digest.TLSH {
	return digest.TLSH{Checksum: e.checksum, Length: byte(c >> 8), Q1: byte(c >> 4 & 15), Q2: byte(c & 15), Body: e.codes.Body()}
}

func (e *entry) compare(o *entry) int {
	for i := range e.codes {
		if e.codes[i] != o.codes[i] {
			return cmp.Compare(e.codes[i], o.codes[i])
		}
	}
	return cmp.Compare(e.checksum, o.checksum)
}

// TLSH is an index of TLSH digests. The zero value is empty. Its methods may be called from many goroutines.
type TLSH struct {
	writing sync.Mutex
	cells   [1 << 16]atomic.Pointer[cell]
	n       atomic.Int64
}

// cell holds the digests of one cell by column: a quarter of the codes decides of nearly all that they are too far, and eight bytes a digest
// is all that is read of those. The first sorted ones are in the order of their keys, the others as they came.
type cell struct {
	mu     sync.RWMutex // held by readers, and by the writer while it changes what they read
	first  []uint64
	rest   [][3]uint64
	sums   []byte
	sorted int
}

func (c *cell) at(i int) entry {
	r := &c.rest[i]
	return entry{digest.Codes{c.first[i], r[0], r[1], r[2]}, c.sums[i]}
}

func (c *cell) append(e *entry) {
	c.first = append(c.first, e.codes[0])
	c.rest = append(c.rest, [3]uint64(e.codes[1:]))
	c.sums = append(c.sums, e.checksum)
}

// Len is how many digests the index holds.
func (x *TLSH) Len() int { return int(x.n.Load()) }

// Add adds a digest, if it is not there.
func (x *TLSH) Add(t *digest.TLSH) {
	e := entry{t.Codes(), t.Checksum}
	x.writing.Lock()
	defer x.writing.Unlock()
	x.add(CellOf(t), &e)
}

// AddKey adds the digest of a key; what is no key adds nothing.
func (x *TLSH) AddKey(c Cell, key []byte) {
	if len(key) != KeySize {
		return
	}
	var e entry
	e.read(key)
	x.writing.Lock()
	defer x.writing.Unlock()
	x.add(c, &e)
}

func (x *TLSH) add(at Cell, e *entry) {
	c := x.cells[at].Load()
	if c == nil {
		c = new(cell)
		x.cells[at].Store(c)
	}
	n := len(c.first)
	inOrder := n == c.sorted
	if inOrder && n > 0 {
		last := c.at(n - 1)
		inOrder = last.compare(e) < 0
	}
	if !inOrder {
		if c.has(e) {
			return
		}
		// Of those that came out of order there are never many, so that has stays fast.
		if n-c.sorted >= 64+n/8 {
			c.sort()
		}
	}
	c.mu.Lock()
	c.append(e)
	if inOrder {
		c.sorted++
	}
	c.mu.Unlock()
	x.n.Add(1)
}

func (c *cell) has(e *entry) bool {
	i := sort.Search(c.sorted, func(i int) bool { o := c.at(i); return o.compare(e) >= 0 })
	if i < c.sorted && c.at(i) == *e {
		return true
	}
	for i := c.sorted; i < len(c.first); i++ {
		if c.first[i] == e.codes[0] && c.at(i) == *e {
			return true
		}
	}
	return false
}

// sort brings all in order. Readers go on in the old columns until the new ones are done.
func (c *cell) sort() {
	all := make([]entry, len(c.first))
	for i := range all {
		all[i] = c.at(i)
	}
	late := all[c.sorted:]
	slices.SortFunc(late, func(a, b entry) int { return a.compare(&b) })
	var next cell
	next.first = make([]uint64, 0, len(all)+len(all)/8+16)
	next.rest = make([][3]uint64, 0, cap(next.first))
	next.sums = make([]byte, 0, cap(next.first))
	early := all[:c.sorted]
	for len(early) > 0 || len(late) > 0 {
		from := &early
		if len(early) == 0 || len(late) > 0 && late[0].compare(&early[0]) < 0 {
			from = &late
		}
		next.append(&(*from)[0])
		*from = (*from)[1:]
	}
	c.mu.Lock()
	c.first, c.rest, c.sums, c.sorted = next.first, next.rest, next.sums, len(all)
	c.mu.Unlock()
}

// TLSHMatch is a digest that was found.
type TLSHMatch struct {
	Digest   digest.TLSH
	Distance int
}

// Search returns the digests within the distance of t, the nearest first, at most most of them. Whether there were more is told by cut.
func (x *TLSH) Search(t *digest.TLSH, distance, most int) (found []TLSHMatch, cut bool) {
	s := NewTLSHSearch(t, distance, most)
	for at, cost := range Near(t, distance) {
		if c := x.cells[at].Load(); c != nil && cost <= s.distance {
			s.look(at, c, cost)
		}
	}
	return s.Found()
}

// TLSHSearch gathers the digests nearest to one.
type TLSHSearch struct {
	from           digest.TLSH
	codes          digest.Codes
	distance, most int
	found          []TLSHMatch
	cut            bool
}

// NewTLSHSearch begins a search, for callers who bring the digests themselves.
func NewTLSHSearch(t *digest.TLSH, distance, most int) *TLSHSearch {
	return &TLSHSearch{from: *t, codes: t.Codes(), distance: distance, most: max(most, 1)}
}

// Look compares with the digest of a key in a cell that [Near] yielded with this cost.
func (s *TLSHSearch) Look(at Cell, cost int, key []byte) {
	if len(key) == KeySize {
		var e entry
		e.read(key)
		s.compare(at, cost+digest.CodeDistance(s.codes[0], e.codes[0]), &e)
	}
}

func (s *TLSHSearch) look(at Cell, c *cell, cost int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	budget := s.distance - cost
	codes := s.codes
	rest := c.rest[:len(c.first)]
	for i, w := range c.first {
		d := digest.CodeDistance(codes[0], w)
		if d > budget {
			continue
		}
		// Written out: within a large distance most digests come here.
		r := &rest[i]
		if d += digest.CodeDistance(codes[1], r[0]); d > budget {
			continue
		}
		if d += digest.CodeDistance(codes[2], r[1]); d > budget {
			continue
		}
		if d += digest.CodeDistance(codes[3], r[2]); d > budget {
			continue
		}
		e := c.at(i)
		s.take(at, cost+d, &e)
		budget = s.distance - cost
	}
}

// compare goes on with a digest that is so far apart in its header and the first quarter of its codes.
func (s *TLSHSearch) compare(at Cell, d int, e *entry) {
	for i := 1; i < len(s.codes) && d <= s.distance; i++ {
		d += digest.CodeDistance(s.codes[i], e.codes[i])
	}
	s.take(at, d, e)
}

// take takes a digest that is so far apart but for its checksum.
func (s *TLSHSearch) take(at Cell, d int, e *entry) {
	if e.checksum != s.from.Checksum {
		d++
	}
	if d > s.distance {
		return
	}
	s.found = append(s.found, TLSHMatch{e.digest(at), d})
	if len(s.found) >= 2*s.most+64 {
		s.best()
		s.distance = s.found[len(s.found)-1].Distance
	}
}

// best keeps the nearest.
func (s *TLSHSearch) best() {
	slices.SortFunc(s.found, func(a, b TLSHMatch) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Digest.Length, b.Digest.Length), cmp.Compare(a.Digest.Q1, b.Digest.Q1),
			cmp.Compare(a.Digest.Q2, b.Digest.Q2), bytes.Compare(a.Digest.Body[:], b.Digest.Body[:]), cmp.Compare(a.Digest.Checksum, b.Digest.Checksum))
	})
	if len(s.found) > s.most {
		s.found, s.cut = s.found[:s.most], true
	}
}

// Found returns what was found, the nearest first, and whether there was more.
func (s *TLSHSearch) Found() ([]TLSHMatch, bool) {
	s.best()
	return s.found, s.cut
}
