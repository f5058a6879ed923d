package unpack

import (
	"bufio"
	"io"
)

// PKZIP's methods before deflate: shrink, reduce and implode. None marks its own end, so each reads up to the member's size.

// pkzipReader reads what a step writes into the ring.
type pkzipReader struct {
	bitReader
	ring
	left             int64 // bytes to come
	length, distance int   // of a match still to be copied
	step             func() error
	failed           error
}

func (r *pkzipReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := r.take(p); n > 0 {
			return n, nil
		}
		if r.failed != nil {
			return 0, r.failed
		}
		for r.free() > 0 && r.left > 0 && r.failed == nil {
			if r.length > 0 {
				r.emit(r.back(r.distance))
				r.length--
				continue
			}
			r.failed = r.step()
			if r.failed == nil {
				r.failed = r.err
			}
		}
		if r.left <= 0 && r.failed == nil {
			r.failed = io.EOF
		}
	}
}

func (r *pkzipReader) emit(b byte) {
	r.put(b)
	r.left--
}

// exploder undoes implode: matches and, with three trees, literals in Shannon-Fano codes.
type exploder struct {
	pkzipReader
	literals, lengths, distances prefixCode
	coded                        bool // literals are
	low                          uint // bits of a distance that are not coded
	shortest                     int
}

func newExploder(in *bufio.Reader, large, coded bool, size int64) (io.Reader, error) {
	e := &exploder{coded: coded, low: 6, shortest: 2}
	e.r, e.left, e.buf = in, size, make([]byte, 16<<10)
	if large {
		e.low = 7
	}
	if coded {
		e.shortest = 3
		if err := shannonFano(&e.literals, in, 256); err != nil {
			return nil, err
		}
	}
	if err := shannonFano(&e.lengths, in, 64); err != nil {
		return nil, err
	}
	if err := shannonFano(&e.distances, in, 64); err != nil {
		return nil, err
	}
	e.step = e.one
	return e, nil
}

// shannonFano reads a code of n symbols: runs of lengths. Codes go down from the longest, which is all zeros.
func shannonFano(c *prefixCode, in io.ByteReader, n int) error {
	runs, err := in.ReadByte()
	if err != nil {
		return errCut
	}
	lengths := make([]byte, 0, 256)
	for range int(runs) + 1 {
		b, err := in.ReadByte()
		if err != nil {
			return errCut
		}
		for range int(b>>4) + 1 {
			lengths = append(lengths, b&15+1)
		}
		if len(lengths) > n {
			return errCode
		}
	}
	if len(lengths) != n {
		return errCode
	}
	var longest uint
	for _, l := range lengths {
		longest = max(longest, uint(l))
	}
	c.resize(longest)
	next := uint32(0) // left-aligned in 16 bits
	for l := longest; l > 0; l-- {
		for symbol := n - 1; symbol >= 0; symbol-- {
			if uint(lengths[symbol]) != l {
				continue
			}
			if next >= 1<<16 {
				return errCode
			}
			c.set(next>>(16-l), l, symbol)
			next += 1 << (16 - l)
		}
	}
	return nil
}

func (e *exploder) one() error {
	if e.read(1) == 1 {
		if !e.coded {
			e.emit(byte(e.read(8)))
			return nil
		}
		symbol := e.literals.decode(&e.bitReader)
		if symbol < 0 {
			return errCode
		}
		e.emit(byte(symbol))
		return nil
	}
	distance := int(e.read(e.low))
	high := e.distances.decode(&e.bitReader)
	length := e.lengths.decode(&e.bitReader)
	if high < 0 || length < 0 {
		return errCode
	}
	e.distance = high<<e.low + distance + 1
	e.length = length + e.shortest
	if length == 63 {
		e.length += int(e.read(8))
	}
	return nil
}

// expander undoes reduce: bytes coded by the byte before, then runs and matches.
type expander struct {
	pkzipReader
	followers [256][]byte
	factor    uint
	last      byte
	loaded    bool
}

func newExpander(in *bufio.Reader, factor int, size int64) io.Reader {
	e := &expander{factor: uint(factor)}
	e.r, e.left, e.buf = in, size, make([]byte, 16<<10)
	e.step = e.one
	return e
}

// next undoes the coding by followers.
func (e *expander) next() byte {
	set := e.followers[e.last]
	if len(set) == 0 || e.read(1) == 1 {
		e.last = byte(e.read(8))
		return e.last
	}
	bits := uint(1)
	for 1<<bits < len(set) {
		bits++
	}
	if i := int(e.read(bits)); i < len(set) {
		e.last = set[i]
	} else {
		e.err = errCode
	}
	return e.last
}

func (e *expander) one() error {
	if !e.loaded {
		e.loaded = true
		for i := 255; i >= 0; i-- {
			set := make([]byte, e.read(6))
			if len(set) > 32 {
				return errCode
			}
			for j := range set {
				set[j] = byte(e.read(8))
			}
			e.followers[i] = set
		}
	}
	const escape = 144
	c := e.next()
	if c != escape {
		if e.err == nil {
			e.emit(c)
		}
		return nil
	}
	v := e.next()
	if v == 0 {
		if e.err == nil {
			e.emit(escape)
		}
		return nil
	}
	lengthBits := 8 - e.factor
	length := int(v) & (1<<lengthBits - 1)
	if length == 1<<lengthBits-1 {
		length += int(e.next())
	}
	e.distance = int(v)>>lengthBits<<8 + int(e.next()) + 1
	e.length = length + 3
	return nil
}

// unshrinker undoes shrink: LZW whose table is cleared of its leaves only.
type unshrinker struct {
	pkzipReader
	parent  [1 << 13]int16 // -1: no such code
	value   [1 << 13]byte
	size    uint // of a code, in bits
	free    int  // the last code given
	old     int  // the code before; -1 at the start
	first   byte // of the string before
	pending []byte
	stack   [1<<13 + 1]byte
}

func newUnshrinker(in *bufio.Reader, size int64) io.Reader {
	u := &unshrinker{size: 9, free: 256, old: -1}
	u.r, u.left, u.buf = in, size, make([]byte, 16<<10)
	for i := range u.parent {
		u.parent[i] = -1
		if i < 256 {
			u.value[i] = byte(i)
		}
	}
	u.step = u.one
	return u
}

func (u *unshrinker) one() error {
	if len(u.pending) > 0 {
		u.emit(u.pending[0])
		u.pending = u.pending[1:]
		return nil
	}
	code := int(u.read(u.size))
	if u.err != nil {
		return u.err
	}
	if code == 256 {
		switch u.read(u.size) {
		case 1:
			if u.size == 13 {
				return errCode
			}
			u.size++
		case 2:
			u.clearLeaves()
		default:
			return errCode
		}
		return nil
	}
	if u.old < 0 {
		if code > 255 {
			return errCode
		}
		u.old, u.first = code, byte(code)
		u.emit(byte(code))
		return nil
	}
	at := len(u.stack)
	for c := code; ; {
		if at == 0 {
			return errCode // a cycle
		}
		at--
		if c < 256 {
			u.stack[at] = byte(c)
			break
		}
		if u.parent[c] < 0 {
			// Not yet known: the string before and its own first byte.
			u.stack[at] = u.first
			if c == u.old {
				return errCode
			}
			c = u.old
			continue
		}
		u.stack[at] = u.value[c]
		c = int(u.parent[c])
	}
	u.first = u.stack[at]
	u.pending = u.stack[at:]
	for u.free++; u.free < len(u.parent) && u.parent[u.free] >= 0; u.free++ {
	}
	if u.free < len(u.parent) {
		u.value[u.free], u.parent[u.free] = u.first, int16(u.old)
	} else {
		u.free = len(u.parent) - 1
	}
	u.old = code
	return nil
}

func (u *unshrinker) clearLeaves() {
	var isParent [1 << 13]bool
	for code := 257; code < len(u.parent); code++ {
		if p := u.parent[code]; p > 256 {
			isParent[p] = true
		}
	}
	for code := 257; code < len(u.parent); code++ {
		if !isParent[code] {
			u.parent[code] = -1
		}
	}
	u.free = 256
}
