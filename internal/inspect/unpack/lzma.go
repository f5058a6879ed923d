package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// LZMA and LZMA2. One decoder serves lzma, lzip, xz, 7z and zip. Its dictionary grows with what is decoded, not with what a header claims, and it
// reads no byte beyond the stream's end.

var (
	errLZMA       = errors.New("the LZMA data are damaged")
	errDictionary = errors.New("the data need a larger dictionary than is allowed")
)

// window is a dictionary: a ring of the last size bytes written.
type window struct {
	buf   []byte
	pos   int   // where the next byte goes
	out   int   // up to where it was given away; out <= pos
	total int64 // bytes written since reset
	size  int   // how large buf may grow: the smaller of the dictionary and the limit
	short bool  // size is less than the dictionary
}

// newWindow makes a window for a dictionary of size bytes, of which limit may be used.
func newWindow(size uint64, limit int64) *window {
	return &window{size: int(max(min(size, uint64(limit)), 4096)), short: size > uint64(limit)}
}

// room makes place for bytes at pos and tells how many fit before the end of the ring.
func (w *window) room() (int, error) {
	if w.pos == len(w.buf) {
		if len(w.buf) < w.size {
			grown := make([]byte, min(max(2*len(w.buf), 64<<10), w.size))
			copy(grown, w.buf)
			w.buf = grown
		} else if w.short {
			return 0, errDictionary
		} else {
			w.pos, w.out = 0, 0
		}
	}
	return len(w.buf) - w.pos, nil
}

// has tells whether a distance (0: the last byte) lies within what was written.
func (w *window) has(distance uint32) bool {
	return int64(distance) < w.total && int(distance) < len(w.buf) && int(distance) < w.size
}

// at is the byte at a distance that the window has.
func (w *window) at(distance uint32) byte {
	i := w.pos - int(distance) - 1
	if i < 0 {
		i += len(w.buf)
	}
	return w.buf[i]
}

// take moves decoded bytes to p.
func (w *window) take(p []byte) int {
	n := copy(p, w.buf[w.out:w.pos])
	w.out += n
	return n
}

// byteSource gives the bytes of a bufio.Reader fast; close puts back what was not used.
type byteSource struct {
	r   *bufio.Reader
	buf []byte
	pos int
	err error
}

func (s *byteSource) refill() {
	if s.err != nil {
		return
	}
	s.r.Discard(s.pos)
	s.buf, s.pos = nil, 0
	if _, err := s.r.Peek(1); err != nil {
		if err == io.EOF {
			err = errCut
		}
		s.err = err
		return
	}
	s.buf, _ = s.r.Peek(s.r.Buffered())
}

func (s *byteSource) next() byte {
	if s.pos == len(s.buf) {
		s.refill()
		if s.err != nil {
			return 0
		}
	}
	b := s.buf[s.pos]
	s.pos++
	return b
}

func (s *byteSource) close() {
	s.r.Discard(s.pos)
	s.buf, s.pos = nil, 0
}

type prob = uint16

const (
	probBits = 11
	probHalf = 1 << probBits / 2
	probMove = 5
)

// rangeDecoder is LZMA's arithmetic decoder.
type rangeDecoder struct {
	byteSource
	rng, code uint32
}

func (r *rangeDecoder) start() error {
	if r.next() != 0 && r.err == nil {
		return errLZMA
	}
	r.rng, r.code = 1<<32-1, 0
	for range 4 {
		r.code = r.code<<8 | uint32(r.next())
	}
	return r.err
}

func (r *rangeDecoder) normalize() {
	if r.rng < 1<<24 {
		r.rng <<= 8
		r.code = r.code<<8 | uint32(r.next())
	}
}

func (r *rangeDecoder) bit(p *prob) uint32 {
	if r.rng < 1<<24 {
		r.rng <<= 8
		r.code = r.code<<8 | uint32(r.next())
	}
	bound := (r.rng >> probBits) * uint32(*p)
	if r.code < bound {
		r.rng = bound
		*p += (1<<probBits - *p) >> probMove
		return 0
	}
	r.rng -= bound
	r.code -= bound
	*p -= *p >> probMove
	return 1
}

func (r *rangeDecoder) direct(bits int) uint32 {
	var v uint32
	for range bits {
		r.normalize()
		r.rng >>= 1
		r.code -= r.rng
		sign := 0 - r.code>>31
		r.code += r.rng & sign
		v = v<<1 + sign + 1
	}
	return v
}

// tree decodes a symbol of len(probs) = 1<<bits values.
func (r *rangeDecoder) tree(probs []prob) uint32 {
	m := uint32(1)
	for m < uint32(len(probs)) {
		m = m<<1 | r.bit(&probs[m])
	}
	return m - uint32(len(probs))
}

func (r *rangeDecoder) reverse(probs []prob, bits int) uint32 {
	m, v := uint32(1), uint32(0)
	for i := range bits {
		b := r.bit(&probs[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

type lengthCoder struct {
	choice, choice2 prob
	low, mid        [16][8]prob
	high            [256]prob
}

func (l *lengthCoder) decode(r *rangeDecoder, posState uint32) int {
	if r.bit(&l.choice) == 0 {
		return int(r.tree(l.low[posState][:])) + 2
	}
	if r.bit(&l.choice2) == 0 {
		return int(r.tree(l.mid[posState][:])) + 10
	}
	return int(r.tree(l.high[:])) + 18
}

// lzmaState is the decoder proper.
type lzmaState struct {
	rangeDecoder
	w          *window
	lc, lp, pb uint

	state                  uint32
	rep0, rep1, rep2, rep3 uint32
	length                 int // of a match, still to be copied
	ended                  bool

	isMatch    [12][16]prob
	isRep      [12]prob
	isRepG0    [12]prob
	isRepG1    [12]prob
	isRepG2    [12]prob
	isRep0Long [12][16]prob
	slots      [4][64]prob
	special    [115]prob
	align      [16]prob
	lens, reps lengthCoder
	literal    []prob
}

// properties sets lc, lp and pb from their byte.
func (d *lzmaState) properties(b byte) error {
	if b >= 9*5*5 {
		return fmt.Errorf("LZMA properties 0x%02x are not possible", b)
	}
	d.lc, d.lp, d.pb = uint(b%9), uint(b/9%5), uint(b/45)
	return nil
}

func fill(p []prob) {
	for i := range p {
		p[i] = probHalf
	}
}

// reset forgets the statistics, not the dictionary.
func (d *lzmaState) reset() {
	d.state, d.rep0, d.rep1, d.rep2, d.rep3, d.length, d.ended = 0, 0, 0, 0, 0, 0, false
	for i := range d.isMatch {
		fill(d.isMatch[i][:])
		fill(d.isRep0Long[i][:])
	}
	fill(d.isRep[:])
	fill(d.isRepG0[:])
	fill(d.isRepG1[:])
	fill(d.isRepG2[:])
	for i := range d.slots {
		fill(d.slots[i][:])
	}
	fill(d.special[:])
	fill(d.align[:])
	for _, l := range []*lengthCoder{&d.lens, &d.reps} {
		l.choice, l.choice2 = probHalf, probHalf
		for i := range l.low {
			fill(l.low[i][:])
			fill(l.mid[i][:])
		}
		fill(l.high[:])
	}
	if n := 0x300 << (d.lc + d.lp); cap(d.literal) < n {
		d.literal = make([]prob, n)
	} else {
		d.literal = d.literal[:n]
	}
	fill(d.literal)
}

// copyMatch copies what is left of a match, at most up to limit.
func (d *lzmaState) copyMatch(limit int) {
	w := d.w
	n := min(d.length, limit-w.pos)
	d.length -= n
	w.total += int64(n)
	from := w.pos - int(d.rep0) - 1
	if from < 0 {
		from += len(w.buf)
	}
	buf, pos := w.buf, w.pos
	if from+n <= len(buf) && (from+n <= pos || from >= pos) {
		copy(buf[pos:pos+n], buf[from:from+n])
	} else {
		for i := range n {
			buf[pos+i] = buf[from]
			if from++; from == len(buf) {
				from = 0
			}
		}
	}
	w.pos += n
}

// decode writes up to n bytes into the window, fewer when the ring's end or the end marker comes first.
func (d *lzmaState) decode(n int64) error {
	w := d.w
	room, err := w.room()
	if err != nil {
		return err
	}
	limit := w.pos + int(min(int64(room), n))
	if d.length > 0 {
		d.copyMatch(limit)
	}
	pbMask, lpMask := uint32(1)<<d.pb-1, uint32(1)<<d.lp-1
	for w.pos < limit {
		if d.err != nil {
			return d.err
		}
		posState := uint32(w.total) & pbMask
		if d.bit(&d.isMatch[d.state][posState]) == 0 {
			var prev uint32
			if w.total > 0 {
				prev = uint32(w.at(0))
			}
			probs := d.literal[0x300*((uint32(w.total)&lpMask)<<d.lc+prev>>(8-d.lc)):]
			probs = probs[:0x300]
			symbol := uint32(1)
			if d.state >= 7 {
				if !w.has(d.rep0) {
					return errLZMA
				}
				match := uint32(w.at(d.rep0)) << 1
				offset := uint32(0x100)
				for symbol < 0x100 {
					b := match & offset
					match <<= 1
					if d.bit(&probs[offset+b+symbol]) != 0 {
						symbol = symbol<<1 | 1
						offset &= b
					} else {
						symbol <<= 1
						offset &^= b
					}
				}
			} else {
				for symbol < 0x100 {
					symbol = symbol<<1 | d.bit(&probs[symbol])
				}
			}
			w.buf[w.pos] = byte(symbol)
			w.pos++
			w.total++
			switch {
			case d.state < 4:
				d.state = 0
			case d.state < 10:
				d.state -= 3
			default:
				d.state -= 6
			}
			continue
		}
		if d.bit(&d.isRep[d.state]) == 0 {
			d.rep3, d.rep2, d.rep1 = d.rep2, d.rep1, d.rep0
			d.length = d.lens.decode(&d.rangeDecoder, posState)
			slot := d.tree(d.slots[min(d.length-2, 3)][:])
			if slot < 4 {
				d.rep0 = slot
			} else {
				bits := int(slot>>1) - 1
				d.rep0 = (2 | slot&1) << bits
				if slot < 14 {
					d.rep0 += d.reverse(d.special[d.rep0-slot:], bits)
				} else {
					d.rep0 += d.direct(bits-4) << 4
					d.rep0 += d.reverse(d.align[:], 4)
				}
			}
			if d.rep0 == 1<<32-1 {
				d.normalize()
				d.length, d.ended = 0, true
				return d.err
			}
			if d.state < 7 {
				d.state = 7
			} else {
				d.state = 10
			}
		} else {
			short := false
			if d.bit(&d.isRepG0[d.state]) == 0 {
				if d.bit(&d.isRep0Long[d.state][posState]) == 0 {
					short = true
				}
			} else {
				var distance uint32
				if d.bit(&d.isRepG1[d.state]) == 0 {
					distance = d.rep1
				} else {
					if d.bit(&d.isRepG2[d.state]) == 0 {
						distance = d.rep2
					} else {
						distance = d.rep3
						d.rep3 = d.rep2
					}
					d.rep2 = d.rep1
				}
				d.rep1 = d.rep0
				d.rep0 = distance
			}
			switch {
			case short && d.state < 7:
				d.state, d.length = 9, 1
			case short:
				d.state, d.length = 11, 1
			default:
				d.length = d.reps.decode(&d.rangeDecoder, posState)
				if d.state < 7 {
					d.state = 8
				} else {
					d.state = 11
				}
			}
		}
		if !w.has(d.rep0) {
			if d.err != nil {
				return d.err
			}
			return errLZMA
		}
		d.copyMatch(limit)
	}
	return d.err
}

// lzmaReader reads an LZMA stream.
type lzmaReader struct {
	d    lzmaState
	left int64 // bytes to come, -1: up to the end marker
	err  error
}

// newLZMAReader reads an LZMA stream with the given properties byte and dictionary from r, size bytes of it or, when size is negative, up to the
// end marker. After io.EOF, r stands behind the stream.
func newLZMAReader(r *bufio.Reader, properties byte, dictionary uint32, size int64, c *container) (*lzmaReader, error) {
	l := &lzmaReader{left: size}
	if err := l.d.properties(properties); err != nil {
		return nil, err
	}
	want := uint64(dictionary)
	if size >= 0 {
		want = min(want, uint64(size))
	}
	l.d.w = newWindow(want, c.o.Memory)
	l.d.r = r
	l.d.reset()
	if err := l.d.start(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *lzmaReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := l.d.w.take(p); n > 0 {
			return n, nil
		}
		if l.err != nil {
			return 0, l.err
		}
		if l.left == 0 || l.d.ended {
			l.d.close()
			l.err = io.EOF
			if l.left > 0 {
				l.err = errCut
			}
			continue
		}
		n := l.left
		if n < 0 {
			n = 1 << 40
		}
		before := l.d.w.total
		l.err = l.d.decode(n)
		if l.left > 0 {
			l.left -= l.d.w.total - before
		}
	}
}

// lzma2Reader reads an LZMA2 stream: chunks, each LZMA or as it is.
type lzma2Reader struct {
	d         lzmaState
	left      int64 // in this chunk
	raw       bool
	coded     bool // a chunk of LZMA was begun
	dictReset bool // seen
	propsSet  bool // seen
	err       error
}

// newLZMA2Reader reads LZMA2 chunks up to the end mark. After io.EOF, r stands behind it.
func newLZMA2Reader(r *bufio.Reader, dictionary uint64, c *container) *lzma2Reader {
	l := &lzma2Reader{}
	l.d.w = newWindow(dictionary, c.o.Memory)
	l.d.r = r
	return l
}

// lzma2Dictionary is the size that a properties byte of LZMA2 means.
func lzma2Dictionary(b byte) (uint64, error) {
	if b > 40 {
		return 0, fmt.Errorf("LZMA2 dictionary size %d is not possible", b)
	}
	if b == 40 {
		return 1<<32 - 1, nil
	}
	return uint64(2|b&1) << (b/2 + 11), nil
}

func (l *lzma2Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := l.d.w.take(p); n > 0 {
			return n, nil
		}
		if l.err != nil {
			return 0, l.err
		}
		if l.left == 0 {
			l.err = l.chunk()
			continue
		}
		if l.raw {
			l.err = l.copyRaw()
			continue
		}
		before := l.d.w.total
		l.err = l.d.decode(l.left)
		l.left -= l.d.w.total - before
		if l.err == nil && l.d.ended {
			l.err = errLZMA
		}
	}
}

func (l *lzma2Reader) copyRaw() error {
	w := l.d.w
	room, err := w.room()
	if err != nil {
		return err
	}
	n := int(min(int64(room), l.left))
	if _, err := io.ReadFull(l.d.r, w.buf[w.pos:w.pos+n]); err != nil {
		return errCut
	}
	w.pos += n
	w.total += int64(n)
	l.left -= int64(n)
	return nil
}

// chunk reads a chunk's header.
func (l *lzma2Reader) chunk() error {
	if l.coded {
		// The last byte of a chunk is only taken when it is needed.
		l.d.normalize()
		l.coded = false
		if l.d.err != nil {
			return l.d.err
		}
	}
	l.d.close()
	r := l.d.r
	control, err := r.ReadByte()
	if err != nil {
		return errCut
	}
	if control == 0 {
		return io.EOF
	}
	var b [5]byte
	size := 2
	if control >= 0x80 {
		size = 4
		if control >= 0xc0 {
			size = 5
		}
	} else if control > 2 {
		return fmt.Errorf("LZMA2 control byte 0x%02x is not known", control)
	}
	if _, err := io.ReadFull(r, b[:size]); err != nil {
		return errCut
	}
	if control == 1 || control >= 0xe0 {
		// Matches must not reach before a reset. The memory is kept.
		l.d.w.total, l.dictReset = 0, true
	} else if !l.dictReset {
		return errLZMA
	}
	l.raw = control < 0x80
	if l.raw {
		l.left = int64(b[0])<<8 + int64(b[1]) + 1
		return nil
	}
	l.left = int64(control&0x1f)<<16 + int64(b[0])<<8 + int64(b[1]) + 1
	switch {
	case control >= 0xc0:
		if err := l.d.properties(b[4]); err != nil {
			return err
		}
		if l.d.lc+l.d.lp > 4 {
			return errLZMA
		}
		l.propsSet = true
		l.d.reset()
	case !l.propsSet:
		return errLZMA
	case control >= 0xa0:
		l.d.reset()
	}
	l.d.length, l.coded = 0, true
	return l.d.start()
}
