package unpack

import (
	"encoding/binary"
	"errors"
)

// lzxDecoder decompresses LZX as cabinets have it: a stream of frames of 32 KiB, each in a block of the container, the state kept across them.
// CHM begins the stream anew every few frames; WIM has one frame a chunk, which is of any size up to the window's.
type lzxDecoder struct {
	in   []byte // of the frame
	pos  int
	bits uint64 // the highest first
	have uint
	over bool // more was used than there was

	window []byte
	at     int   // in the window
	total  int64 // bytes decoded

	wim      bool // lengths of blocks are written as WIM does
	begun    bool
	x86      uint32 // the size that calls are translated for; 0 when they are not
	frames   int
	kind     uint32
	left     int // of the block
	odd      bool
	slots    int
	recent   [3]int
	mains    []byte // lengths of codes
	lengths  [249]byte
	main     lzxCode
	length   lzxCode
	aligned  lzxCode
	pretree  lzxCode
	match    int // bytes of a match that reach into the next frame
	distance int
}

var (
	errLZX     = errors.New("the LZX data is damaged")
	lzxBase    [51]int
	lzxExtra   [51]uint
	lzxSlotsOf = map[uint]int{15: 30, 16: 32, 17: 34, 18: 36, 19: 38, 20: 42, 21: 50}
)

func init() {
	base := 0
	for i := range lzxBase {
		if i >= 4 {
			lzxExtra[i] = min(uint(i/2-1), 17)
		}
		lzxBase[i] = base
		base += 1 << lzxExtra[i]
	}
}

// lzxCode is a canonical prefix code whose bits come highest first.
type lzxCode struct {
	table []uint32 // symbol<<8 | length, by the next 16 bits' highest
	bits  uint
}

// set makes the code of lengths of at most 16 bits; all zero is a code that nothing uses.
func (c *lzxCode) set(lengths []byte) error {
	var count [17]int
	longest := uint(0)
	for _, n := range lengths {
		count[n]++
		longest = max(longest, uint(n))
	}
	c.bits = longest
	if longest == 0 {
		c.table = c.table[:0]
		return nil
	}
	if cap(c.table) < 1<<longest {
		c.table = make([]uint32, 1<<longest)
	}
	c.table = c.table[:1<<longest]
	clear(c.table)
	at := 0
	for n := uint(1); n <= longest; n++ {
		if count[n] == 0 {
			continue
		}
		for symbol, have := range lengths {
			if uint(have) != n {
				continue
			}
			span := 1 << (longest - n)
			if at+span > len(c.table) {
				return errCode
			}
			for i := range span {
				c.table[at+i] = uint32(symbol)<<8 | uint32(n)
			}
			at += span
		}
	}
	return nil
}

func newLZX(bits uint) *lzxDecoder {
	slots := lzxSlotsOf[bits]
	return &lzxDecoder{window: make([]byte, 1<<bits), slots: slots, recent: [3]int{1, 1, 1}, mains: make([]byte, 256+8*slots)}
}

// reset begins another stream.
func (d *lzxDecoder) reset() {
	*d = lzxDecoder{window: d.window, slots: d.slots, recent: [3]int{1, 1, 1}, mains: d.mains, main: d.main, length: d.length, aligned: d.aligned,
		pretree: d.pretree, wim: d.wim}
	clear(d.mains)
	if d.wim {
		d.begun, d.x86 = true, 12_000_000
	}
}

func (d *lzxDecoder) need(n uint) {
	for d.have < n {
		var w uint16
		if d.pos+2 <= len(d.in) {
			w = binary.LittleEndian.Uint16(d.in[d.pos:])
		} else if d.pos >= len(d.in)+8 {
			d.over = true
		}
		d.pos += 2
		d.bits |= uint64(w) << (48 - d.have)
		d.have += 16
	}
}

func (d *lzxDecoder) read(n uint) uint32 {
	if n == 0 {
		return 0
	}
	d.need(n)
	v := uint32(d.bits >> (64 - n))
	d.bits <<= n
	d.have -= n
	return v
}

func (d *lzxDecoder) symbol(c *lzxCode) (int, error) {
	if c.bits == 0 {
		return 0, errCode
	}
	d.need(c.bits)
	e := c.table[d.bits>>(64-c.bits)]
	n := uint(e & 0xff)
	if n == 0 {
		return 0, errCode
	}
	d.bits <<= n
	d.have -= n
	return int(e >> 8), nil
}

// codes reads changes of lengths, themselves coded.
func (d *lzxDecoder) codes(lengths []byte) error {
	var pre [20]byte
	for i := range pre {
		pre[i] = byte(d.read(4))
	}
	if err := d.pretree.set(pre[:]); err != nil {
		return err
	}
	for i := 0; i < len(lengths); {
		s, err := d.symbol(&d.pretree)
		if err != nil {
			return err
		}
		n, v := 1, byte(0)
		switch {
		case s < 17:
			v = byte((int(lengths[i]) - s + 17) % 17)
		case s == 17:
			n = int(d.read(4)) + 4
		case s == 18:
			n = int(d.read(5)) + 20
		default:
			n = int(d.read(1)) + 4
			if s, err = d.symbol(&d.pretree); err != nil || s > 16 {
				return errLZX
			}
			v = byte((int(lengths[i]) - s + 17) % 17)
		}
		if i+n > len(lengths) {
			return errLZX
		}
		for range n {
			lengths[i] = v
			i++
		}
		if d.over {
			return errCut
		}
	}
	return nil
}

// header begins a block.
func (d *lzxDecoder) header() error {
	d.kind = d.read(3)
	switch {
	case !d.wim:
		d.left = int(d.read(24))
	case d.read(1) == 1:
		d.left = cabWindow
	case len(d.window) > cabWindow:
		d.left = int(d.read(24))
	default:
		d.left = int(d.read(16))
	}
	switch d.kind {
	case 2:
		var lengths [8]byte
		for i := range lengths {
			lengths[i] = byte(d.read(3))
		}
		if err := d.aligned.set(lengths[:]); err != nil {
			return err
		}
		fallthrough
	case 1:
		if err := d.codes(d.mains[:256]); err != nil {
			return err
		}
		if err := d.codes(d.mains[256:]); err != nil {
			return err
		}
		if err := d.main.set(d.mains); err != nil {
			return err
		}
		if err := d.codes(d.lengths[:]); err != nil {
			return err
		}
		return d.length.set(d.lengths[:])
	case 3:
		// The rest of the word is dropped, a whole one when none is begun. No more than one was taken in advance.
		if d.have == 0 {
			d.pos += 2
		}
		d.bits, d.have = 0, 0
		if d.pos+12 > len(d.in) {
			return errCut
		}
		for i := range d.recent {
			v := binary.LittleEndian.Uint32(d.in[d.pos+4*i:])
			if v == 0 || int64(v) > int64(len(d.window)) {
				return errLZX
			}
			d.recent[i] = int(v)
		}
		d.pos += 12
		d.odd = d.left&1 == 1
		return nil
	}
	return errLZX
}

// block decompresses a frame of n bytes.
func (d *lzxDecoder) block(in []byte, n int) ([]byte, error) {
	d.in, d.pos, d.bits, d.have, d.over = in, 0, 0, 0, false
	if !d.begun {
		d.begun = true
		if d.read(1) == 1 {
			d.x86 = d.read(16) << 16
			d.x86 |= d.read(16)
		}
	}
	start := d.at
	for done := 0; done < n; {
		if d.over {
			return nil, errCut
		}
		if d.match > 0 {
			k := min(d.match, n-done)
			d.copy(k)
			d.match -= k
			d.left -= k
			done += k
			continue
		}
		if d.left <= 0 {
			if d.left < 0 {
				return nil, errLZX
			}
			if d.kind == 3 && d.odd {
				d.pos++ // to a whole word
				d.odd = false
			}
			if err := d.header(); err != nil {
				return nil, err
			}
			if d.left == 0 {
				return nil, errLZX // would never end
			}
			continue
		}
		if d.kind == 3 {
			k := min(d.left, n-done, len(d.window)-d.at)
			if d.pos+k > len(in) {
				return nil, errCut
			}
			copy(d.window[d.at:], in[d.pos:d.pos+k])
			d.pos += k
			d.advance(k)
			d.left -= k
			done += k
			continue
		}
		s, err := d.symbol(&d.main)
		if err != nil {
			return nil, err
		}
		if s < 256 {
			d.window[d.at] = byte(s)
			d.advance(1)
			d.left--
			done++
			continue
		}
		if err := d.reference(s - 256); err != nil {
			return nil, err
		}
	}
	if d.over {
		return nil, errCut
	}
	if d.left == 0 && d.odd && d.pos < len(in) {
		d.odd = false // the byte that fills the word lies in this frame
	}
	out := make([]byte, 0, n)
	if start+n <= len(d.window) {
		out = append(out, d.window[start:start+n]...)
	} else {
		out = append(append(out, d.window[start:]...), d.window[:start+n-len(d.window)]...)
	}
	d.translate(out)
	d.frames++
	return out, nil
}

func (d *lzxDecoder) advance(n int) {
	d.at = (d.at + n) & (len(d.window) - 1)
	d.total += int64(n)
}

func (d *lzxDecoder) copy(n int) {
	mask := len(d.window) - 1
	from := d.at - d.distance
	for i := range n {
		d.window[(d.at+i)&mask] = d.window[(from+i)&mask]
	}
	d.advance(n)
}

// reference reads the rest of a match.
func (d *lzxDecoder) reference(s int) error {
	n := s&7 + 2
	if s&7 == 7 {
		more, err := d.symbol(&d.length)
		if err != nil {
			return err
		}
		n += more
	}
	slot := s >> 3
	switch slot {
	case 0:
	case 1, 2:
		d.recent[0], d.recent[slot] = d.recent[slot], d.recent[0]
	default:
		extra, offset := lzxExtra[slot], lzxBase[slot]-2
		if d.kind == 2 && extra >= 3 {
			offset += int(d.read(extra-3)) << 3
			low, err := d.symbol(&d.aligned)
			if err != nil {
				return err
			}
			offset += low
		} else {
			offset += int(d.read(extra))
		}
		d.recent[2], d.recent[1], d.recent[0] = d.recent[1], d.recent[0], offset
	}
	d.match, d.distance = n, d.recent[0]
	if d.distance <= 0 || int64(d.distance) > d.total || d.distance > len(d.window) {
		return errLZX
	}
	return nil
}

// translate undoes what the compressor did to the targets of x86 calls, in the first 2^15 frames.
func (d *lzxDecoder) translate(b []byte) {
	if d.x86 == 0 || d.frames >= 1<<15 || len(b) <= 10 {
		return
	}
	size := int32(d.x86)
	begin := int32(d.frames) << 15
	for i := 0; i < len(b)-10; i++ {
		if b[i] != 0xe8 {
			continue
		}
		cur := begin + int32(i)
		abs := int32(binary.LittleEndian.Uint32(b[i+1:]))
		if abs >= -cur && abs < size {
			rel := abs - cur
			if abs < 0 {
				rel = abs + size
			}
			binary.LittleEndian.PutUint32(b[i+1:], uint32(rel))
		}
		i += 4
	}
}
