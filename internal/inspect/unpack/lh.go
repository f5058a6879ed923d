package unpack

import (
	"bufio"
	"io"
	"math"
)

// The methods of LHA and ARJ, which are of one family: matches in a window, in prefix codes of Huffman's.

// highReader gives bits, the highest of each byte first. Behind the end there are zeros; to use one is an error.
type highReader struct {
	r     io.ByteReader
	bits  uint64 // the next is the highest of the lower have bits
	have  uint
	zeros uint // how many of them lie behind the end
	err   error
}

// peek is the next n <= 32 bits.
func (b *highReader) peek(n uint) uint32 {
	for b.have < n {
		c, err := b.r.ReadByte()
		if err != nil {
			b.zeros += 8
			if err != io.EOF && b.err == nil {
				b.err = err
			}
		}
		b.bits = b.bits<<8 | uint64(c)
		b.have += 8
	}
	return uint32(b.bits >> (b.have - n) & (1<<n - 1))
}

func (b *highReader) drop(n uint) {
	b.have -= n
	if b.have < b.zeros && b.err == nil {
		b.err = errCut
	}
}

func (b *highReader) read(n uint) uint32 {
	v := b.peek(n)
	b.drop(n)
	return v
}

// highCode is a prefix code of up to 16 bits: of each length, where its codes end, and which symbols they are.
type highCode struct {
	limit   [17]uint32 // the first code that is longer, left-aligned in 16 bits
	first   [17]uint32 // the first code of the length, right-aligned
	from    [17]int    // where its symbols begin
	symbols []uint16
	only    int // the one symbol that takes no bits; -1 when there are codes
}

func (c *highCode) set(lengths []byte) error {
	var count [18]uint32
	for _, n := range lengths {
		if n > 16 {
			return errCode
		}
		count[n]++
	}
	c.only = -1
	c.symbols = c.symbols[:0]
	code := uint32(0)
	for n := uint(1); n <= 16; n++ {
		c.first[n], c.from[n] = code, len(c.symbols)
		code += count[n]
		if code > 1<<n {
			return errCode
		}
		c.limit[n] = code << (16 - n)
		code <<= 1
		if count[n] == 0 {
			continue
		}
		for symbol, l := range lengths {
			if uint(l) == n {
				c.symbols = append(c.symbols, uint16(symbol))
			}
		}
	}
	return nil
}

// decode reads a symbol; -1 when the bits are none.
func (c *highCode) decode(b *highReader) int {
	if c.only >= 0 {
		return c.only
	}
	v := b.peek(16)
	for n := uint(1); n <= 16; n++ {
		if v < c.limit[n] {
			b.drop(n)
			return int(c.symbols[c.from[n]+int(v>>(16-n)-c.first[n])])
		}
	}
	return -1
}

// lhReader reads what a step writes into the ring, up to the member's size.
type lhReader struct {
	highReader
	ring
	left             int64
	length, distance int  // of a match still to be copied
	blank            byte // what lies before the beginning
	step             func() error
	failed           error
}

func (l *lhReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := l.take(p); n > 0 {
			return n, nil
		}
		if l.failed != nil {
			return 0, l.failed
		}
		for l.free() > 0 && l.left > 0 && l.failed == nil {
			if l.length > 0 {
				b := l.blank
				if int64(l.distance) <= l.total {
					b = l.back(l.distance)
				}
				l.emit(b)
				l.length--
				continue
			}
			if l.failed = l.step(); l.failed == nil {
				l.failed = l.err
			}
		}
		if l.left <= 0 && l.failed == nil {
			l.failed = io.EOF
		}
	}
}

// emit writes a byte, unless its bits lie behind the end.
func (l *lhReader) emit(b byte) {
	if l.highReader.err == nil {
		l.put(b)
		l.left--
	}
}

// lhDecoder undoes lh4 to lh7, and the methods 1 to 3 of ARJ: blocks with codes of their own.
type lhDecoder struct {
	lhReader
	block            int // symbols left of it
	codes, distances highCode
	lengths          highCode // of the codes' lengths
	nDistances       int
	distanceBits     uint
	scratch          [510]byte
}

func newLH(in *bufio.Reader, size int64, window uint, nDistances int, distanceBits uint) io.Reader {
	d := &lhDecoder{nDistances: nDistances, distanceBits: distanceBits}
	d.r, d.left, d.buf, d.blank = in, size, make([]byte, 1<<window), ' '
	d.step = d.one
	return d
}

func (d *lhDecoder) one() error {
	for d.block == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	d.block--
	symbol := d.codes.decode(&d.highReader)
	switch {
	case symbol < 0:
		return errCode
	case symbol < 256:
		d.emit(byte(symbol))
		return nil
	}
	d.length = symbol - 256 + 3
	slot := d.distances.decode(&d.highReader)
	if slot < 0 {
		return errCode
	}
	d.distance = 1
	if slot > 0 {
		d.distance = 1<<(slot-1) + int(d.read(uint(slot-1))) + 1
	}
	if d.distance > len(d.buf) {
		return errCode
	}
	return nil
}

// begin reads the codes of a block.
func (d *lhDecoder) begin() error {
	d.block = int(d.read(16))
	if d.err != nil {
		return d.err
	}
	if err := d.table(&d.lengths, 19, 5, 3); err != nil {
		return err
	}
	n := int(d.read(9))
	if n == 0 {
		d.codes.only = int(d.read(9))
		if d.codes.only >= len(d.scratch) {
			return errCode
		}
		return d.table(&d.distances, d.nDistances, d.distanceBits, -1)
	}
	lengths := d.scratch[:]
	clear(lengths)
	for i := 0; i < n; {
		symbol := d.lengths.decode(&d.highReader)
		run := 1
		switch {
		case symbol < 0:
			return errCode
		case symbol == 1:
			run = int(d.read(4)) + 3
		case symbol == 2:
			run = int(d.read(9)) + 20
		case symbol > 2:
			if i < len(lengths) {
				lengths[i] = byte(symbol - 2)
			}
		}
		if i += run; i > len(lengths) {
			return errCode
		}
		if d.err != nil {
			return d.err
		}
	}
	if err := d.codes.set(lengths); err != nil {
		return err
	}
	return d.table(&d.distances, d.nDistances, d.distanceBits, -1)
}

// table reads a code of up to n symbols whose lengths stand there as they are; after the gap-th length it says how many zeros follow.
func (d *lhDecoder) table(c *highCode, n int, bits uint, gap int) error {
	count := int(d.read(bits))
	if count == 0 {
		if c.only = int(d.read(bits)); c.only >= max(n, 19) {
			return errCode
		}
		return d.err
	}
	var lengths [32]byte
	for i := 0; i < count; {
		l := d.read(3)
		if l == 7 {
			for d.read(1) == 1 {
				if l++; l > 16 {
					return errCode
				}
			}
		}
		if i >= len(lengths) {
			return errCode
		}
		lengths[i] = byte(l)
		if i++; i == gap {
			i += int(d.read(2))
		}
		if d.err != nil {
			return d.err
		}
	}
	return c.set(lengths[:])
}

// arjFast undoes method 4 of ARJ, whose codes are fixed.
type arjFast struct{ lhReader }

func newARJFast(in *bufio.Reader, size int64) io.Reader {
	d := &arjFast{}
	d.r, d.left, d.buf = in, size, make([]byte, 32<<10)
	d.step = d.one
	return d
}

// number reads a number: ones, as many as there are bits besides the first least; each doubles what was added before.
func (d *arjFast) number(least, most uint) int {
	base, n := 0, least
	for n < most && d.read(1) == 1 {
		base += 1 << n
		n++
	}
	return base + int(d.read(n))
}

func (d *arjFast) one() error {
	n := d.number(0, 7)
	if n == 0 {
		d.emit(byte(d.read(8)))
		return nil
	}
	d.length, d.distance = n+2, d.number(9, 13)+1
	return nil
}

// newLZS undoes lzs of LArc: a window of 2 KiB that is addressed from its beginning.
func newLZS(in *bufio.Reader, size int64) io.Reader {
	const window, from = 2 << 10, 2<<10 - 17
	d := &lhReader{left: size, blank: ' ', ring: ring{buf: make([]byte, window)}}
	d.r = in
	d.step = func() error {
		if d.read(1) == 1 {
			d.emit(byte(d.read(8)))
			return nil
		}
		at := int64(d.read(11))
		d.length = int(d.read(4)) + 2
		d.distance = windowDistance(from+d.total, at, window)
		return nil
	}
	return d
}

// windowDistance is how far back an address of a window is from the place that is written next.
func windowDistance(next, at, window int64) int {
	distance := (next - at) % window
	if distance <= 0 {
		distance += window
	}
	return int(distance)
}

// lzss undoes what Okumura's program of 1988 writes, and others after it: bytes and matches, eight after a byte that tells which are which; the
// window of 4 KiB is addressed from its beginning, and has something in it from the start.
type lzss struct {
	lhReader
	in    *bufio.Reader
	flags uint32 // the one above those that are left
	start [lzssWindow]byte
	from  int64 // where the first byte goes
	open  bool  // it goes on up to the input's end
}

const lzssWindow = 4 << 10

// newLZSS makes one whose window is blank. With a size of -1, it reads up to the input's end.
func newLZSS(in *bufio.Reader, size, from int64) *lzss {
	d := &lzss{in: in, from: from, open: size < 0}
	d.r, d.left, d.buf = in, size, make([]byte, lzssWindow)
	if d.open {
		d.left = math.MaxInt64
	}
	for i := range d.start {
		d.start[i] = ' '
	}
	d.step = d.one
	return d
}

// newLZ5 undoes lz5 of LArc, whose window is filled with what programs often have.
func newLZ5(in *bufio.Reader, size int64) io.Reader {
	d := newLZSS(in, size, lzssWindow-18)
	start := d.start[:0]
	for i := range 256 {
		for range 13 {
			start = append(start, byte(i))
		}
	}
	for i := range 256 {
		start = append(start, byte(i))
	}
	for i := range 256 {
		start = append(start, byte(255-i))
	}
	_ = append(start, make([]byte, 128)...)
	clear(d.start[d.from:]) // blanks are between the two
	return d
}

func (d *lzss) one() error {
	if d.open {
		if _, err := d.in.Peek(1); err == io.EOF {
			d.left = 0
			return nil
		}
	}
	if d.flags < 2 {
		d.flags = d.read(8) | 1<<8
		return nil
	}
	literal := d.flags&1 == 1
	d.flags >>= 1
	b := d.read(8)
	if literal {
		d.emit(byte(b))
		return nil
	}
	c := d.read(8)
	d.length = int(c&15) + 3
	d.distance = windowDistance(d.from+d.total, int64(b|c&0xf0<<4), lzssWindow)
	// What lies before the beginning is copied here.
	for ; d.err == nil && d.length > 0 && int64(d.distance) > d.total && d.left > 0 && d.free() > 0; d.length-- {
		d.emit(d.start[(d.from+d.total-int64(d.distance)+lzssWindow)%lzssWindow])
	}
	return nil
}

// lh1 undoes lh1: a code that adapts with each symbol, and distances in a fixed one.
type lh1 struct {
	lhReader
	tree      lh1Tree
	distances highCode // of their upper six bits
}

func newLH1(in *bufio.Reader, size int64) io.Reader {
	d := &lh1{}
	d.r, d.left, d.buf, d.blank = in, size, make([]byte, 4<<10), ' '
	d.tree.start()
	var lengths []byte
	for i, n := range []int{1, 3, 8, 12, 24, 16} {
		for range n {
			lengths = append(lengths, byte(i+3))
		}
	}
	d.failed = d.distances.set(lengths)
	d.step = d.one
	return d
}

func (d *lh1) one() error {
	symbol := d.tree.decode(&d.highReader)
	if symbol < 256 {
		d.emit(byte(symbol))
		return nil
	}
	d.length = symbol - 256 + 3
	high := d.distances.decode(&d.highReader)
	if high < 0 {
		return errCode
	}
	d.distance = high<<6 + int(d.read(6)) + 1
	return nil
}

const (
	lh1Symbols = 314
	lh1Nodes   = 2*lh1Symbols - 1
	lh1Root    = lh1Nodes - 1
	lh1Most    = 0x8000 // times that symbols were seen before all counts are halved
)

// lh1Tree is a Huffman tree whose nodes are kept in the order of how often they were seen; siblings are neighbours.
type lh1Tree struct {
	seen   [lh1Nodes]int
	child  [lh1Nodes]int // the first of two, or lh1Nodes + a symbol
	parent [lh1Nodes]int
	leaf   [lh1Symbols]int
}

func (t *lh1Tree) start() {
	for i := range lh1Symbols {
		t.seen[i], t.child[i], t.leaf[i] = 1, lh1Nodes+i, i
	}
	t.join()
}

// join makes the inner nodes of the leaves, which are the first nodes, in order.
func (t *lh1Tree) join() {
	for i, n := 0, lh1Symbols; n < lh1Nodes; i, n = i+2, n+1 {
		seen := t.seen[i] + t.seen[i+1]
		at := n
		for at > 0 && seen < t.seen[at-1] {
			at--
		}
		copy(t.seen[at+1:n+1], t.seen[at:n])
		copy(t.child[at+1:n+1], t.child[at:n])
		t.seen[at], t.child[at] = seen, i
	}
	t.parent[lh1Root] = -1
	for i, child := range t.child {
		if child >= lh1Nodes {
			t.leaf[child-lh1Nodes] = i
		} else {
			t.parent[child], t.parent[child+1] = i, i
		}
	}
}

func (t *lh1Tree) halve() {
	n := 0
	for i, child := range t.child {
		if child >= lh1Nodes {
			t.seen[n], t.child[n] = (t.seen[i]+1)/2, child
			n++
		}
	}
	t.join()
}

func (t *lh1Tree) decode(b *highReader) int {
	at := lh1Root
	for t.child[at] < lh1Nodes {
		at = t.child[at] + int(b.read(1))
	}
	symbol := t.child[at] - lh1Nodes
	t.count(symbol)
	return symbol
}

// count counts a symbol and keeps the order: a node that was seen once more changes places with the last one that was seen less.
func (t *lh1Tree) count(symbol int) {
	if t.seen[lh1Root] == lh1Most {
		t.halve()
	}
	for at := t.leaf[symbol]; at >= 0; at = t.parent[at] {
		t.seen[at]++
		to := at
		for to < lh1Root && t.seen[to+1] < t.seen[at] {
			to++
		}
		if to != at {
			t.seen[at], t.seen[to] = t.seen[to], t.seen[at]
			t.child[at], t.child[to] = t.child[to], t.child[at]
			for _, i := range []int{at, to} {
				if child := t.child[i]; child >= lh1Nodes {
					t.leaf[child-lh1Nodes] = i
				} else {
					t.parent[child], t.parent[child+1] = i, i
				}
			}
			at = to
		}
	}
}
