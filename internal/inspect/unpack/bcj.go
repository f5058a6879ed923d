package unpack

import (
	"encoding/binary"
	"io"
)

// Filters that made machine code compress better, undone: branch addresses back to relative ones, and deltas.

// branchFilter undoes a filter on b, whose first byte is the at-th of the stream, and tells how many bytes are final. The rest is offered again
// with more behind it, or at the stream's end taken as it is.
type branchFilter func(b []byte, at uint32) int

// filterReader applies a branchFilter to what it reads.
type filterReader struct {
	r      io.Reader
	filter branchFilter
	buf    []byte
	from   int // buf[from:done] is to be given away
	done   int
	have   int // buf[done:have] is not yet final
	at     uint32
	err    error
}

func newFilterReader(r io.Reader, f branchFilter, start uint32) io.Reader {
	return &filterReader{r: r, filter: f, at: start, buf: make([]byte, 32<<10)}
}

func (f *filterReader) Read(p []byte) (int, error) {
	for f.from == f.done {
		if f.err != nil {
			return 0, f.err
		}
		f.have = copy(f.buf, f.buf[f.done:f.have])
		f.from, f.done = 0, 0
		for f.have < len(f.buf) && f.err == nil {
			var n int
			n, f.err = f.r.Read(f.buf[f.have:])
			f.have += n
		}
		f.done = f.filter(f.buf[:f.have], f.at)
		f.at += uint32(f.done)
		if f.err != nil {
			f.done = f.have
		}
	}
	n := copy(p, f.buf[f.from:f.done])
	f.from += n
	return n, nil
}

// x86Filter returns the filter for x86 calls and jumps, which keeps what it saw before.
func x86Filter() branchFilter {
	var mask uint32 // of the bytes before that looked like an opcode
	allowed := [8]bool{true, true, true, false, true, false, false, false}
	bitNumber := [8]uint32{0, 1, 2, 2, 3, 3, 3, 3}
	edge := func(b byte) bool { return b == 0 || b == 0xff }
	return func(b []byte, at uint32) int {
		if len(b) <= 4 {
			return 0
		}
		last, i := -1, 0
		for ; i < len(b)-4; i++ {
			if b[i]&0xfe != 0xe8 {
				continue
			}
			if gap := i - last; gap > 3 {
				mask = 0
			} else {
				mask = mask << (gap - 1) & 7
				if mask != 0 && (!allowed[mask] || edge(b[i+4-int(bitNumber[mask])])) {
					last = i
					mask = mask<<1 | 1
					continue
				}
			}
			last = i
			if !edge(b[i+4]) {
				mask = mask<<1 | 1
				continue
			}
			src := binary.LittleEndian.Uint32(b[i+1:])
			var dest uint32
			for {
				dest = src - (at + uint32(i) + 5)
				if mask == 0 {
					break
				}
				shift := bitNumber[mask] * 8
				if !edge(byte(dest >> (24 - shift))) {
					break
				}
				src = dest ^ (1<<(32-shift) - 1)
			}
			dest &= 0x01ffffff
			dest |= 0 - dest&0x01000000
			binary.LittleEndian.PutUint32(b[i+1:], dest)
			i += 4
		}
		if gap := i - last; gap > 3 {
			mask = 0
		} else {
			mask <<= gap - 1
		}
		return i
	}
}

func armFilter(b []byte, at uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		if b[i+3] == 0xeb {
			v := (uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16) << 2
			v = (v - (at + uint32(i) + 8)) >> 2
			b[i], b[i+1], b[i+2] = byte(v), byte(v>>8), byte(v>>16)
		}
	}
	return i
}

func armThumbFilter(b []byte, at uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 2 {
		if b[i+1]&0xf8 == 0xf0 && b[i+3]&0xf8 == 0xf8 {
			v := uint32(b[i+1]&7)<<19 | uint32(b[i])<<11 | uint32(b[i+3]&7)<<8 | uint32(b[i+2])
			v = (v<<1 - (at + uint32(i) + 4)) >> 1
			b[i+1] = 0xf0 | byte(v>>19)&7
			b[i] = byte(v >> 11)
			b[i+3] = 0xf8 | byte(v>>8)&7
			b[i+2] = byte(v)
			i += 2
		}
	}
	return i
}

func arm64Filter(b []byte, at uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		pc := at + uint32(i)
		v := binary.LittleEndian.Uint32(b[i:])
		if v>>26 == 0x25 { // BL
			v = 0x94000000 | (v-pc>>2)&0x03ffffff
		} else if v&0x9f000000 == 0x90000000 { // ADRP
			src := v>>29&3 | v>>3&0x1ffffc
			if (src+0x020000)&0x1c0000 != 0 {
				continue
			}
			v &= 0x9000001f
			dest := src - pc>>12
			v |= dest & 3 << 29
			v |= dest & 0x3fffc << 3
			v |= (0 - dest&0x020000) & 0xe00000
		}
		binary.LittleEndian.PutUint32(b[i:], v)
	}
	return i
}

func ppcFilter(b []byte, at uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		if v&0xfc000003 == 0x48000001 {
			v = 0x48000001 | (v&0x03fffffc-(at+uint32(i)))&0x03fffffc
			binary.BigEndian.PutUint32(b[i:], v)
		}
	}
	return i
}

func sparcFilter(b []byte, at uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		if v>>22 == 0x100 || v>>22 == 0x1ff {
			v = v<<2 - (at + uint32(i))
			v >>= 2
			v = (0-v>>22&1)<<22&0x3fffffff | v&0x3fffff | 0x40000000
			binary.BigEndian.PutUint32(b[i:], v)
		}
	}
	return i
}

func ia64Filter(b []byte, at uint32) int {
	branches := [32]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 6, 6, 0, 0, 7, 7, 4, 4, 0, 0, 4, 4, 0, 0}
	i := 0
	for ; i+16 <= len(b); i += 16 {
		mask := branches[b[i]&0x1f]
		for slot := range 3 {
			if mask>>slot&1 == 0 {
				continue
			}
			bit := 5 + slot*41
			from, shift := i+bit/8, bit%8
			var v uint64
			for j := range 6 {
				v |= uint64(b[from+j]) << (8 * j)
			}
			norm := v >> shift
			if norm>>37&0xf != 5 || norm>>9&7 != 0 {
				continue
			}
			address := uint32(norm>>13&0xfffff) | uint32(norm>>36&1)<<20
			address = (address<<4 - (at + uint32(i))) >> 4
			norm &^= uint64(0x8fffff) << 13
			norm |= uint64(address&0xfffff)<<13 | uint64(address&0x100000)<<(36-20)
			v = v&(1<<shift-1) | norm<<shift
			for j := range 6 {
				b[from+j] = byte(v >> (8 * j))
			}
		}
	}
	return i
}

// deltaReader adds to each byte the one at a distance before it.
type deltaReader struct {
	r       io.Reader
	history [256]byte
	at      byte
	back    byte // distance - 1
}

func (d *deltaReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	for i := range n {
		d.at++
		p[i] += d.history[d.at-d.back-1]
		d.history[d.at] = p[i]
	}
	return n, err
}

// bcj2Reader joins the four streams of 7-Zip's second x86 filter.
type bcj2Reader struct {
	main, call, jump byteReader
	rc               rangeDecoder
	probs            [2 + 256]prob
	previous         byte
	written          uint32
	pending          [4]byte // an address being given away
	count            int
	started          bool
	err              error
}

// byteReader is io.ByteReader; a bufio.Reader is one.
type byteReader = io.ByteReader

func (d *bcj2Reader) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if !d.started {
		d.started = true
		fill(d.probs[:])
		if d.err = d.rc.start(); d.err != nil {
			return 0, d.err
		}
	}
	n := 0
	for n < len(p) {
		if d.count > 0 {
			p[n] = d.pending[4-d.count]
			d.count--
			n++
			continue
		}
		b, err := d.main.ReadByte()
		if err != nil {
			d.err = err
			break
		}
		p[n] = b
		n++
		d.written++
		branch := b&0xfe == 0xe8 || d.previous == 0x0f && b&0xf0 == 0x80
		if !branch {
			d.previous = b
			continue
		}
		var which *prob
		switch b {
		case 0xe8:
			which = &d.probs[2+int(d.previous)]
		case 0xe9:
			which = &d.probs[1]
		default:
			which = &d.probs[0]
		}
		taken := d.rc.bit(which)
		if d.rc.err != nil {
			d.err = d.rc.err
			break
		}
		if taken == 0 {
			d.previous = b
			continue
		}
		from := d.jump
		if b == 0xe8 {
			from = d.call
		}
		var address uint32
		for range 4 {
			b, err := from.ReadByte()
			if err != nil {
				d.err = errCut
				return n, d.err
			}
			address = address<<8 | uint32(b)
		}
		address -= d.written + 4
		binary.LittleEndian.PutUint32(d.pending[:], address)
		d.count = 4
		d.written += 4
		d.previous = byte(address >> 24)
	}
	return n, d.err
}
