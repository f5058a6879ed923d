package unpack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"slices"
)

// Apple's LZFSE is a row of blocks, whose matches reach back into the blocks before: bytes as they are, LZVN (a code of whole bytes), or literals and
// matches coded by finite state entropy, with a long header or a short one. Disk images have streams of it, compressed files of macOS streams of it or
// of LZVN alone.

const (
	lzfseEnd   = "bvx$"
	lzfseRaw   = "bvx-"
	lzfseLong  = "bvx1"
	lzfseShort = "bvx2"
	lzfseLZVN  = "bvxn"

	lzfseWindow   = 1 << 18 // no distance is longer
	lzfseLiterals = 40_000  // the most of a block
	lzfseMatches  = 10_000
	lzfsePayload  = 1 << 20 // bytes of codes, the most that the short header can say
	lzfseLongSize = 772     // bytes of the long header
	lzfseFreqs    = 20 + 20 + 64 + 256
)

var errLZFSE = errors.New("the LZFSE data is damaged")

// How many states the codes of a literal, a number of literals, a match's length and a distance have.
var lzfseStates = [4]int{1024, 64, 64, 256}

var (
	lzfseL = slotsFrom(0, [2]uint8{16, 0}, [2]uint8{1, 2}, [2]uint8{1, 3}, [2]uint8{1, 5}, [2]uint8{1, 8})
	lzfseM = slotsFrom(0, [2]uint8{16, 0}, [2]uint8{1, 3}, [2]uint8{1, 5}, [2]uint8{1, 8}, [2]uint8{1, 11})
	lzfseD = func() valueSlots {
		var pairs [][2]uint8
		for n := range uint8(16) {
			pairs = append(pairs, [2]uint8{4, n})
		}
		return slotsFrom(0, pairs...)
	}()
)

// lzfseState is what a state of a code stands for, and how the next is found.
type lzfseState struct {
	next  uint16 // to which the bits are added
	bits  uint8
	extra uint8 // bits of the value, behind those of the state
	value int32
}

// lzfseCode makes the states of a code of how often its symbols occur; slots is nil when the symbols are the values.
func lzfseCode(states []lzfseState, freqs []uint16, total int, slots *valueSlots) ([]lzfseState, error) {
	states = states[:0]
	for symbol, f := range freqs {
		if f == 0 {
			continue
		}
		n := int(f)
		if len(states)+n > total {
			return nil, errLZFSE
		}
		s := lzfseState{value: int32(symbol)}
		if slots != nil {
			s.value, s.extra = int32(slots.base[symbol]), slots.extra[symbol]
		}
		// Each of the n states leads to a share of all: the first ones to one of 2^k, the rest to one of half of that.
		k := bits.Len(uint(total)) - bits.Len(uint(n)) // total is a power of two
		first := 2*total>>k - n
		for i := range n {
			if i < first {
				s.bits, s.next = uint8(k), uint16((n+i)<<k-total)
			} else {
				s.bits, s.next = uint8(k-1), uint16((i-first)<<(k-1))
			}
			states = append(states, s)
		}
	}
	return states, nil
}

// lzfseBits reads bits from the end of what is there to its beginning, the highest first.
type lzfseBits struct {
	in   []byte
	bits uint64 // the next is the highest of have
	have uint
	over bool // more was asked for than there was
}

// open begins at the end of in, whose last byte has unused bits that are zeros.
func (b *lzfseBits) open(in []byte, unused uint) error {
	*b = lzfseBits{in: in}
	if unused > 7 || unused > 0 && b.read(unused) != 0 || b.over {
		return errLZFSE
	}
	return nil
}

func (b *lzfseBits) read(n uint) uint32 {
	for b.have < n {
		if len(b.in) == 0 {
			b.over = true
			return 0
		}
		b.bits, b.have = b.bits<<8|uint64(b.in[len(b.in)-1]), b.have+8
		b.in = b.in[:len(b.in)-1]
	}
	b.have -= n
	return uint32(b.bits >> b.have & (1<<n - 1))
}

// value gives the value of a state, and goes on to the next.
func (b *lzfseBits) value(states []lzfseState, state *uint16) (int32, bool) {
	if int(*state) >= len(states) {
		return 0, false
	}
	s := states[*state]
	*state = s.next + uint16(b.read(uint(s.bits)))
	return s.value + int32(b.read(uint(s.extra))), !b.over
}

// lzfseHeader is what a block of coded literals and matches begins with.
type lzfseHeader struct {
	literals, matches             uint32
	literalBytes, matchBytes      uint32 // of codes
	literalUnused, matchUnused    uint   // bits of the last byte
	literalStates                 [4]uint16
	literalRun, length, distances uint16 // states
}

type lzfseReader struct {
	in     *bufio.Reader
	window ring
	err    error
	alone  bool // LZVN without blocks

	kind   string // of the block
	left   int64  // bytes that it still has to give
	packed int64  // bytes of LZVN that it still has

	literals int    // to be copied, from the buffer or the input
	buffer   []byte // literals of the block
	match    int    // bytes of it to come
	distance int

	header lzfseHeader
	codes  [4][]lzfseState // as in lzfseStates
	bits   lzfseBits
}

// newLZFSE decompresses LZFSE; window is lzfseWindow, or less when no more bytes than that come.
func newLZFSE(r *bufio.Reader, window int) *lzfseReader {
	return &lzfseReader{in: r, window: ring{buf: make([]byte, window)}}
}

// newLZVN decompresses LZVN that stands without a block's header.
func newLZVN(r *bufio.Reader, window int) *lzfseReader {
	z := newLZFSE(r, window)
	z.alone, z.kind, z.left, z.packed = true, lzfseLZVN, math.MaxInt64, math.MaxInt64
	return z
}

func (z *lzfseReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.window.out == z.window.pos {
		if z.err != nil {
			return 0, z.err
		}
		z.err = z.fill(min(len(p), z.window.free()))
	}
	return z.window.take(p), nil
}

// fill gives n bytes to the window.
func (z *lzfseReader) fill(n int) error {
	w := &z.window
	for n > 0 {
		k := min(n, max(z.literals, z.match))
		switch {
		case z.literals > 0:
			k = min(n, z.literals)
			to := w.buf[w.pos : w.pos+k]
			if z.kind == lzfseRaw || z.kind == lzfseLZVN {
				if _, err := io.ReadFull(z.in, to); err != nil {
					return errCut
				}
			} else {
				z.buffer = z.buffer[copy(to, z.buffer):]
			}
			w.pos, w.total = w.pos+k, w.total+int64(k)
			z.literals -= k
		case z.match > 0:
			for range k {
				w.put(w.back(z.distance))
			}
			z.match -= k
		default:
			if err := z.next(); err != nil {
				return err
			}
			continue
		}
		n -= k
	}
	return nil
}

// next reads what is to be copied next.
func (z *lzfseReader) next() error {
	switch {
	case z.kind == "":
		return z.block()
	case z.kind == lzfseRaw:
		z.kind = ""
		return nil
	case z.kind == lzfseLZVN && z.left > 0:
		return z.opcode()
	case z.kind == lzfseLZVN:
		// What follows the last byte is the mark of the end.
		if _, err := io.CopyN(io.Discard, z.in, z.packed); err != nil {
			return errCut
		}
		z.kind = ""
		return nil
	case z.header.matches == 0:
		if z.left != 0 {
			return errLZFSE
		}
		z.kind = ""
		return nil
	}
	h := &z.header
	h.matches--
	l, ok1 := z.bits.value(z.codes[1], &h.literalRun)
	m, ok2 := z.bits.value(z.codes[2], &h.length)
	d, ok3 := z.bits.value(z.codes[3], &h.distances)
	if !ok1 || !ok2 || !ok3 || int(l) > len(z.buffer) {
		return errLZFSE
	}
	if d != 0 {
		z.distance = int(d)
	}
	return z.copy(int(l), int(m))
}

// copy sets what is to be copied: literals, then a match.
func (z *lzfseReader) copy(literals, match int) error {
	if int64(literals)+int64(match) > z.left || match > 0 && (z.distance == 0 || z.distance > len(z.window.buf) || int64(z.distance) > z.window.total+int64(literals)) {
		return errLZFSE
	}
	z.literals, z.match = literals, match
	z.left -= int64(literals) + int64(match)
	return nil
}

// byte reads a byte of LZVN.
func (z *lzfseReader) byte() (int, error) {
	if z.packed <= 0 {
		return 0, errCut
	}
	z.packed--
	b, err := z.in.ReadByte()
	if err != nil {
		return 0, errCut
	}
	return int(b), nil
}

// opcode reads an instruction of LZVN: how many literals follow it, and a match behind these.
func (z *lzfseReader) opcode() error {
	op, err := z.byte()
	if err != nil {
		return err
	}
	var more [2]int
	read := func(n int) {
		for i := range n {
			if err == nil {
				more[i], err = z.byte()
			}
		}
	}
	literals, match, distance := op>>6, op>>3&7+3, z.distance
	switch {
	case op == 6:
		if z.alone {
			return io.EOF
		}
		return errLZFSE // less than was promised
	case op == 0x0e || op == 0x16: // for alignment
		return nil
	case op >= 0xf0: // a match alone, of the distance before
		literals, match = 0, op&15
		if match == 0 {
			read(1)
			match = more[0] + 16
		}
	case op >= 0xe0: // literals alone
		literals, match = op&15, 0
		if literals == 0 {
			read(1)
			literals = more[0] + 16
		}
	case op>>4 == 7 || op>>4 == 13:
		return errLZFSE
	case op >= 0xa0 && op < 0xc0: // a distance of 14 bits
		read(2)
		literals, match, distance = op>>3&3, op&7<<2|more[0]&3+3, (more[1]<<8|more[0])>>2
	case op&7 == 7: // of 16
		read(2)
		distance = more[1]<<8 | more[0]
	case op&7 == 6: // as before
		if literals == 0 {
			return errLZFSE
		}
	default: // of 11
		read(1)
		distance = op&7<<8 | more[0]
	}
	if err != nil {
		return err
	}
	if z.packed < int64(literals) {
		return errCut
	}
	z.packed -= int64(literals)
	z.distance = distance
	return z.copy(literals, match)
}

// block reads the header of a block. It is io.EOF at the stream's end.
func (z *lzfseReader) block() error {
	var h [lzfseLongSize]byte
	if _, err := io.ReadFull(z.in, h[:4]); err != nil {
		return errCut
	}
	le := binary.LittleEndian
	rest := map[string]int{lzfseEnd: 0, lzfseRaw: 4, lzfseLZVN: 8, lzfseLong: lzfseLongSize - 4, lzfseShort: 28}
	kind := string(h[:4])
	n, ok := rest[kind]
	if !ok {
		return errors.New("a block of LZFSE is of no known kind")
	}
	if kind == lzfseEnd {
		return io.EOF
	}
	if _, err := io.ReadFull(z.in, h[4:4+n]); err != nil {
		return errCut
	}
	z.kind, z.left, z.distance = kind, int64(le.Uint32(h[4:])), 0
	switch kind {
	case lzfseRaw:
		z.literals = int(min(z.left, math.MaxInt32))
		return nil
	case lzfseLZVN:
		z.packed = int64(le.Uint32(h[8:]))
		return nil
	}
	var freqs [lzfseFreqs]uint16
	b := &z.header
	if kind == lzfseLong {
		*b = lzfseHeader{literals: le.Uint32(h[12:]), matches: le.Uint32(h[16:]), literalBytes: le.Uint32(h[20:]), matchBytes: le.Uint32(h[24:]),
			literalUnused: uint(-int32(le.Uint32(h[28:]))), matchUnused: uint(-int32(le.Uint32(h[40:]))),
			literalRun: le.Uint16(h[44:]), length: le.Uint16(h[46:]), distances: le.Uint16(h[48:])}
		for i := range b.literalStates {
			b.literalStates[i] = le.Uint16(h[32+2*i:])
		}
		for i := range freqs {
			freqs[i] = le.Uint16(h[50+2*i:])
		}
	} else {
		v := [3]uint64{le.Uint64(h[8:]), le.Uint64(h[16:]), le.Uint64(h[24:])}
		field := func(i, at, n int) uint32 { return uint32(v[i] >> at & (1<<n - 1)) }
		*b = lzfseHeader{literals: field(0, 0, 20), literalBytes: field(0, 20, 20), matches: field(0, 40, 20), literalUnused: uint(7 - field(0, 60, 3)),
			matchBytes: field(1, 40, 20), matchUnused: uint(7 - field(1, 60, 3)),
			literalRun: uint16(field(2, 32, 10)), length: uint16(field(2, 42, 10)), distances: uint16(field(2, 52, 10))}
		for i := range b.literalStates {
			b.literalStates[i] = uint16(field(1, 10*i, 10))
		}
		if err := z.freqs(&freqs, int64(field(2, 0, 32))-32); err != nil {
			return err
		}
	}
	// Every literal and every match gives a byte at least, but for the literals that fill up the last four: so the work is bounded by what comes out.
	if b.literals > lzfseLiterals || b.matches > lzfseMatches || int64(b.literals) > z.left+3 || int64(b.matches) > z.left {
		return errLZFSE
	}
	return z.tables(&freqs)
}

// freqs reads how often symbols occur, from n bytes of a code of its own. All are zero when there are none.
func (z *lzfseReader) freqs(freqs *[lzfseFreqs]uint16, n int64) error {
	const longest = (lzfseFreqs*14 + 7) / 8
	if n < 0 || n > longest {
		return errLZFSE
	}
	var in [longest + 8]byte
	if _, err := io.ReadFull(z.in, in[:n]); err != nil {
		return errCut
	}
	if n == 0 {
		return nil
	}
	bit := 0
	for i := range freqs {
		v := binary.LittleEndian.Uint32(in[bit/8:]) >> (bit % 8)
		size, f := 0, uint32(0)
		switch {
		case v&1 == 0:
			size, f = 2, v>>1&1
		case v&2 == 0:
			size, f = 3, v>>2&1+2
		case v&4 == 0:
			size, f = 5, v>>3&3+4
		case v&8 == 0:
			size, f = 8, v>>4&15+8
		default:
			size, f = 14, v>>4&1023+24
		}
		freqs[i] = uint16(f)
		if bit += size; bit > int(n)*8 {
			return errLZFSE
		}
	}
	return nil
}

// tables reads the codes of a block, of which the literals are decoded at once.
func (z *lzfseReader) tables(freqs *[lzfseFreqs]uint16) error {
	b := &z.header
	var (
		in  []byte
		err error
	)
	for i, part := range []struct {
		from, to int
		slots    *valueSlots
	}{{104, 360, nil}, {0, 20, &lzfseL}, {20, 40, &lzfseM}, {40, 104, &lzfseD}} {
		if z.codes[i], err = lzfseCode(z.codes[i], freqs[part.from:part.to], lzfseStates[i], part.slots); err != nil {
			return err
		}
	}
	if in, err = readSome(z.in, int64(b.literalBytes), lzfsePayload); err != nil {
		return err
	}
	if err := z.bits.open(in, b.literalUnused); err != nil {
		return err
	}
	z.buffer = slices.Grow(z.buffer[:0], int(b.literals)+3)
	for n := 0; n < int(b.literals); n += 4 {
		for i := range b.literalStates {
			v, ok := z.bits.value(z.codes[0], &b.literalStates[i])
			if !ok {
				return errLZFSE
			}
			z.buffer = append(z.buffer, byte(v))
		}
	}
	if in, err = readSome(z.in, int64(b.matchBytes), lzfsePayload); err != nil {
		return err
	}
	return z.bits.open(in, b.matchUnused)
}
