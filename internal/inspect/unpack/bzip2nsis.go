package unpack

import (
	"bufio"
	"errors"
	"io"
)

// bzip2 as NSIS has it: no header, blocks of up to 900,000 bytes that begin with one byte of their mark, no checksums, nothing randomised.

const (
	nsisBlock      = 900_000
	nsisBlockMark  = 0x31
	nsisEndMark    = 0x17
	bzipGroup      = 50 // symbols that one table decodes
	bzipSelectors  = 18_002
	bzipMaxLength  = 20
	bzipMaxSymbols = 258
)

// nsisBzip2 reads it.
type nsisBzip2 struct {
	r      *bufio.Reader
	bits   uint64
	have   uint
	cut    bool
	block  []uint32 // of each place, the byte that stands there in its low 8 bits, and above them where the next one stands
	next   uint32   // in block
	left   int      // bytes of the block to come, before runs
	run    int      // equal bytes seen
	last   int      // the byte before; -1 when there is none
	repeat int      // of last, still to be given
	failed error
}

func newNSISBzip2(r *bufio.Reader) io.Reader { return &nsisBzip2{r: r, last: -1} }

// read reads n <= 24 bits, the highest of each byte first.
func (z *nsisBzip2) read(n uint) uint32 {
	for z.have < n {
		c, err := z.r.ReadByte()
		if err != nil {
			z.cut = true
		}
		z.bits = z.bits<<8 | uint64(c)
		z.have += 8
	}
	z.have -= n
	return uint32(z.bits >> z.have & (1<<n - 1))
}

func (z *nsisBzip2) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		switch {
		case z.repeat > 0:
			p[n] = byte(z.last)
			n++
			z.repeat--
		case z.left > 0:
			e := z.block[z.next]
			z.next = e >> 8
			z.left--
			c := int(byte(e))
			if z.run == 4 { // four equal bytes are followed by how many more there are
				z.repeat, z.run = c, 0
				continue
			}
			if c != z.last {
				z.run = 0
			}
			z.run++
			z.last = c
			p[n] = byte(c)
			n++
		case z.failed != nil:
			if n > 0 {
				return n, nil
			}
			return 0, z.failed
		default:
			z.failed = z.decode()
			z.run, z.last = 0, -1
		}
	}
	return n, nil
}

var errBzip2 = errors.New("the bzip2 data are damaged")

// bzipTable decodes a prefix code whose first bit is the highest: of each length the largest code, and where its symbols begin.
type bzipTable struct {
	limit   [bzipMaxLength + 2]int
	base    [bzipMaxLength + 2]int
	symbols [bzipMaxSymbols]uint16
	least   uint
}

func (t *bzipTable) set(lengths []byte) {
	*t = bzipTable{least: bzipMaxLength}
	var count [bzipMaxLength + 2]int
	for _, n := range lengths {
		count[n]++
		t.least = min(t.least, uint(n))
	}
	k := 0
	for n := 1; n <= bzipMaxLength; n++ {
		for s, l := range lengths {
			if int(l) == n {
				t.symbols[k] = uint16(s)
				k++
			}
		}
	}
	code, at := 0, 0
	for n := 1; n <= bzipMaxLength; n++ {
		t.base[n] = at - code
		code += count[n]
		at += count[n]
		t.limit[n] = code - 1
		code <<= 1
	}
}

func (z *nsisBzip2) symbol(t *bzipTable) int {
	n := t.least
	for code := int(z.read(n)); n <= bzipMaxLength; n++ {
		if code <= t.limit[n] {
			if at := code + t.base[n]; at >= 0 && at < bzipMaxSymbols {
				return int(t.symbols[at])
			}
			return -1
		}
		code = code<<1 | int(z.read(1))
	}
	return -1
}

// decode reads a block.
func (z *nsisBzip2) decode() error {
	switch mark := z.read(8); {
	case z.cut:
		return errCut
	case mark == nsisEndMark:
		return io.EOF
	case mark != nsisBlockMark:
		return errBzip2
	}
	origin := z.read(24)
	var used [256]byte
	symbols := 0
	groups := z.read(16)
	for g := range 16 {
		if groups>>(15-g)&1 == 0 {
			continue
		}
		members := z.read(16)
		for k := range 16 {
			if members>>(15-k)&1 != 0 {
				used[symbols] = byte(g*16 + k)
				symbols++
			}
		}
	}
	tables, count := int(z.read(3)), int(z.read(15))
	if symbols == 0 || tables < 2 || tables > 6 || count == 0 || count > bzipSelectors || z.cut {
		return errBzip2
	}
	selectors := make([]byte, count)
	order := [6]byte{0, 1, 2, 3, 4, 5}
	for i := range selectors {
		k := 0
		for z.read(1) == 1 {
			if k++; k >= tables {
				return errBzip2
			}
		}
		chosen := order[k]
		copy(order[1:k+1], order[:k])
		order[0], selectors[i] = chosen, chosen
	}
	var codes [6]bzipTable
	for i := range tables {
		var lengths [bzipMaxSymbols]byte
		n := int(z.read(5))
		for k := range symbols + 2 {
			for {
				if n < 1 || n > bzipMaxLength {
					return errBzip2
				}
				if z.read(1) == 0 {
					break
				}
				n += 1 - 2*int(z.read(1))
			}
			lengths[k] = byte(n)
		}
		codes[i].set(lengths[:symbols+2])
	}
	if z.cut {
		return errCut
	}

	// Moved to the front, with runs of the first as numbers in base two of digits 1 and 2.
	z.block = z.block[:0]
	var starts [256]uint32 // how often each byte is there
	run, digit := 0, 1
	flush := func() bool {
		if run > nsisBlock-len(z.block) {
			return false
		}
		starts[used[0]] += uint32(run)
		for ; run > 0; run-- {
			z.block = append(z.block, uint32(used[0]))
		}
		digit = 1
		return true
	}
	for n := 0; ; n++ {
		if n/bzipGroup >= len(selectors) {
			return errBzip2
		}
		s := z.symbol(&codes[selectors[n/bzipGroup]])
		switch {
		case z.cut:
			return errCut
		case s < 0 || s > symbols+1:
			return errBzip2
		}
		if s < 2 {
			if run += digit << s; run > nsisBlock {
				return errBzip2
			}
			digit <<= 1
			continue
		}
		if run > 0 && !flush() {
			return errBzip2
		}
		if s == symbols+1 {
			break
		}
		if len(z.block) >= nsisBlock {
			return errBzip2
		}
		c := used[s-1]
		copy(used[1:s], used[:s-1])
		used[0] = c
		starts[c]++
		z.block = append(z.block, uint32(c))
	}
	if int(origin) >= len(z.block) {
		return errBzip2
	}
	var at uint32
	for c := range starts {
		starts[c], at = at, at+starts[c]
	}
	for i, e := range z.block {
		c := byte(e)
		z.block[starts[c]] |= uint32(i) << 8
		starts[c]++
	}
	z.next = z.block[origin] >> 8
	z.left = len(z.block)
	return nil
}
