package unpack

import (
	"errors"
	"io"
)

// bitReader gives bits, the lowest of each byte first. Behind the end there are zeros; to use one is an error.
type bitReader struct {
	r     io.ByteReader
	bits  uint64
	have  uint
	zeros uint // how many of them lie behind the end
	err   error
}

// need makes sure of n <= 32 bits.
func (b *bitReader) need(n uint) {
	for b.have < n {
		c, err := b.r.ReadByte()
		if err != nil {
			b.zeros += 8
			if err != io.EOF && b.err == nil {
				b.err = err
			}
		}
		b.bits |= uint64(c) << b.have
		b.have += 8
	}
}

func (b *bitReader) drop(n uint) {
	b.bits >>= n
	b.have -= n
	if b.have < b.zeros && b.err == nil {
		b.err = errCut
	}
}

func (b *bitReader) read(n uint) uint32 {
	b.need(n)
	v := uint32(b.bits & (1<<n - 1))
	b.drop(n)
	return v
}

// align drops the rest of a byte.
func (b *bitReader) align() {
	b.drop(b.have & 7)
}

// prefixCode is a prefix code as a table of all bit patterns as long as its longest code: entry = symbol<<8 | length.
type prefixCode struct {
	table []uint32
	bits  uint
}

var errCode = errors.New("a table of codes is damaged")

// set puts a code of n bits, whose first bit in the stream is its highest, into the table.
func (c *prefixCode) set(code uint32, n uint, symbol int) {
	var reversed uint32
	for i := range n {
		reversed |= code >> i & 1 << (n - 1 - i)
	}
	for i := reversed; i < uint32(len(c.table)); i += 1 << n {
		c.table[i] = uint32(symbol)<<8 | uint32(n)
	}
}

func (c *prefixCode) resize(bits uint) {
	c.bits = bits
	if cap(c.table) < 1<<bits {
		c.table = make([]uint32, 1<<bits)
	}
	c.table = c.table[:1<<bits]
	clear(c.table)
}

// canonical makes the code of deflate from the lengths of its codes, each at most 15.
func (c *prefixCode) canonical(lengths []byte) error {
	var count [16]uint32
	var longest uint
	for _, n := range lengths {
		count[n]++
		longest = max(longest, uint(n))
	}
	count[0] = 0
	var next [17]uint32
	for n := 1; n < 16; n++ {
		next[n+1] = (next[n] + count[n]) << 1
		if next[n]+count[n] > 1<<n {
			return errCode
		}
	}
	c.resize(max(longest, 1))
	for symbol, n := range lengths {
		if n > 0 {
			c.set(next[n], uint(n), symbol)
			next[n]++
		}
	}
	return nil
}

// decode reads a symbol; -1 when the bits are none.
func (c *prefixCode) decode(b *bitReader) int {
	b.need(c.bits)
	e := c.table[b.bits&(1<<c.bits-1)]
	n := uint(e & 0xff)
	if n == 0 {
		return -1
	}
	b.drop(n)
	return int(e >> 8)
}

// ring is a dictionary of fixed size, from which Read gives away what was written.
type ring struct {
	buf   []byte
	pos   int
	out   int
	total int64
}

// free is how much can be written before what is there must be taken.
func (r *ring) free() int { return len(r.buf) - r.pos }

func (r *ring) put(b byte) {
	r.buf[r.pos] = b
	r.pos++
	r.total++
}

// back is the byte at a distance, 1 being the last; before the beginning there are zeros.
func (r *ring) back(distance int) byte {
	if int64(distance) > r.total {
		return 0
	}
	i := r.pos - distance
	if i < 0 {
		i += len(r.buf)
	}
	return r.buf[i]
}

// take moves bytes to p, and begins again at the ring's start when all were taken from its end.
func (r *ring) take(p []byte) int {
	n := copy(p, r.buf[r.out:r.pos])
	r.out += n
	if r.out == len(r.buf) {
		r.pos, r.out = 0, 0
	}
	return n
}

// valueSlots are values that are told by a symbol and some bits more.
type valueSlots struct {
	base  []uint32
	extra []uint8
}

// slotsFrom makes them, from the least value on, of pairs: how many symbols have how many bits.
func slotsFrom(least uint32, pairs ...[2]uint8) (s valueSlots) {
	at := least
	for _, p := range pairs {
		for range p[0] {
			s.base, s.extra = append(s.base, at), append(s.extra, p[1])
			at += 1 << p[1]
		}
	}
	return s
}
