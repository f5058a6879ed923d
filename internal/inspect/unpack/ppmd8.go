package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// PPMd of variant I, as zip has it (method 98): each byte is predicted by the bytes before it, in contexts that are a tree, and coded by a range
// coder. When the encoder's memory is used up, it begins anew or cuts the tree, as the header says; ppmdHeap is that memory.

const (
	ppmdMaxFreq  = 124
	ppmdBinScale = 1 << 14
	ppmdPeriod   = 7
	ppmdIndexes  = 38 // sizes of blocks
	ppmdKept     = 9  // the order up to which contexts stay that nothing follows any more
	ppmdDeep     = 64 // more contexts than a chain of shorter ones has; it is at most 17 long
)

const (
	ppmdHigh     = 8  // a symbol is 0x40 or more
	ppmdHighLast = 16 // the last of the context's own bytes is
	ppmdRescaled = 4
)

// ppmdSee is how often what a context does not know follows it, for contexts that are alike.
type ppmdSee struct {
	sum   uint16
	shift byte
	count byte
}

// What is done when the memory is used up.
const (
	ppmdRestart = iota
	ppmdCutOff
	ppmdFreeze
)

type ppmd8 struct {
	ppmdHeap
	in                  *bufio.Reader
	left                int64
	from, size          uint32 // of the range
	code                uint32
	order, method       int
	most, least         uint32 // the longest context, and the one that knew the symbol
	found               *ppmdSymbol
	fall, run, startRun int
	success             int
	escape              int
	visits              int64 // of contexts that a cut may still do; each is visited once
	binary              [25][64]uint16
	see                 [24][32]ppmdSee
	dummy               ppmdSee
	masked              [256]bool
}

var ppmdTables = func() (t struct {
	units    [ppmdIndexes]int // of a block of each size
	index    [129]int         // the size of a block for so many units
	kind     [260]int         // of counts: alike are the large ones
	suffixes [256]int
}) {
	units := 0
	for i := range t.units {
		step := 4
		if i < 12 {
			step = i>>2 + 1
		}
		for range step {
			units++
			t.index[units] = i
		}
		t.units[i] = units
	}
	for i, m, k := 0, 0, 1; i < len(t.kind); i++ {
		if i < 5 {
			t.kind[i], m = i, i+1
			continue
		}
		t.kind[i] = m
		if k--; k == 0 {
			m++
			k = m - 4
		}
	}
	for i := range t.suffixes {
		switch {
		case i < 2:
			t.suffixes[i] = 2 * i
		case i < 11:
			t.suffixes[i] = 4
		default:
			t.suffixes[i] = 6
		}
	}
	return t
}()

var (
	ppmdEscapes   = [8]int{0x3cdd, 0x1f3f, 0x59bf, 0x48f3, 0x64a1, 0x5abc, 0x6632, 0x6051}
	ppmdEscapeAdd = [16]int{25, 14, 9, 7, 5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2}
)

// newPPMd8 reads up to size bytes. The first two bytes say how the model is.
func newPPMd8(in *bufio.Reader, size int64, c *container) (io.Reader, error) {
	var h [6]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return nil, errCut
	}
	how := int(h[0]) | int(h[1])<<8
	d := &ppmd8{in: in, left: size, order: how&15 + 1, method: how >> 12}
	if d.order < 2 || d.method > ppmdFreeze {
		return nil, fmt.Errorf("PPMd of order %d with method %d is not known", d.order, d.method)
	}
	d.memory, d.limit = int64(how>>4&255+1)<<20, c.o.Memory
	for _, b := range h[2:] {
		d.code = d.code<<8 | uint32(b)
	}
	d.size = 0xffffffff
	d.begin()
	return d, nil
}

// begin is a model that knows nothing.
func (d *ppmd8) begin() {
	d.reset()
	d.fall = d.order
	d.startRun = -min(d.order, 12) - 1
	d.run = d.startRun
	d.success = 0
	d.least = d.takeContext()
	d.most = d.least
	symbols := d.take(ppmdIndexes - 1)
	root := d.unit(d.least)
	*root = ppmdUnit{0: 255}
	root.setSum(257)
	root.setSymbols(symbols)
	for i := range uint32(256) {
		*d.symbol(symbols + i) = ppmdSymbol{byte(i), 1}
	}
	d.found = d.symbol(symbols)
	for i, m := 0, 0; m < len(d.binary); m++ {
		for ppmdTables.kind[i] == m {
			i++
		}
		for k := range d.binary[m] {
			d.binary[m][k] = uint16(ppmdBinScale - ppmdEscapes[k&7]/(i+1))
		}
	}
	for i, m := 0, 0; m < len(d.see); m++ {
		for ppmdTables.kind[i+3] == m+3 {
			i++
		}
		for k := range d.see[m] {
			d.see[m][k] = ppmdSee{sum: uint16(2*i+5) << (ppmdPeriod - 4), shift: ppmdPeriod - 4, count: 7}
		}
	}
	d.dummy = ppmdSee{shift: ppmdPeriod, count: 64}
}

func (d *ppmd8) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.err == nil {
		if d.left == 0 {
			d.err = io.EOF
			break
		}
		if symbol := d.one(); d.err == nil {
			p[n] = symbol
			n++
			d.left--
		}
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, d.err
}

var (
	errPPMd       = errors.New("the PPMd data are damaged")
	errPPMdFrozen = errors.New("PPMd of a model that is frozen when it has used up its memory is not read further")
)

// threshold is where in the range of a total the code lies.
func (d *ppmd8) threshold(total int) int {
	if total > 0 {
		d.size /= uint32(total)
	}
	if d.size == 0 || total <= 0 {
		d.err = errPPMd
		d.size = 1
	}
	return int(d.code / d.size)
}

func (d *ppmd8) consume(from, size int) {
	d.from += uint32(from) * d.size
	d.code -= uint32(from) * d.size
	d.size *= uint32(size)
	for {
		if (d.from ^ (d.from + d.size)) >= 1<<24 {
			if d.size >= 1<<15 {
				return
			}
			d.size = -d.from & (1<<15 - 1)
		}
		b, err := d.in.ReadByte()
		if err != nil {
			if err == io.EOF {
				err = errCut
			}
			if d.err == nil {
				d.err = err
			}
			d.size, d.from = 1<<31, 0 // whatever ends it
			return
		}
		d.code = d.code<<8 | uint32(b)
		d.size <<= 8
		d.from <<= 8
	}
}

// one decodes a byte and learns from it.
func (d *ppmd8) one() byte {
	at := d.least
	c := d.unit(at)
	if c[0] > 0 {
		symbols, sum := c.symbols(), c.sum()
		code := d.threshold(sum)
		before := 0
		for i := range uint32(c[0]) + 1 {
			s := d.symbol(symbols + i)
			if before += int(s[1]); before <= code {
				continue
			}
			d.consume(before-int(s[1]), int(s[1]))
			symbol := s[0]
			d.success = 0
			if i == 0 && 2*int(s[1]) >= sum {
				d.success = 1
				d.run++
			}
			s[1] += 4
			c.setSum(sum + 4)
			if i > 0 {
				if last := d.symbol(symbols + i - 1); s[1] > last[1] {
					*s, *last = *last, *s
					s = last
				}
			}
			if d.found = s; s[1] > ppmdMaxFreq {
				d.rescale()
			}
			d.next()
			return symbol
		}
		d.success = 0
		if code >= sum {
			d.err = errPPMd
			return 0
		}
		d.consume(before, sum-before)
		d.masked = [256]bool{}
		for i := range uint32(c[0]) + 1 {
			d.masked[d.symbol(symbols + i)[0]] = true
		}
	} else {
		s := c.only()
		if c.suffix() == 0 || s[1] == 0 {
			d.err = errPPMd
			return 0
		}
		run := 0
		if d.run < 0 {
			run = 0x20
		}
		p := &d.binary[min(ppmdTables.kind[s[1]-1], len(d.binary)-1)][(ppmdTables.suffixes[d.unit(c.suffix())[0]]+d.success+int(c[1])+run)&63]
		mean := (*p + 1<<(ppmdPeriod-2)) >> ppmdPeriod
		d.size >>= 14
		if d.size == 0 {
			d.err = errPPMd
			return 0
		}
		if d.code/d.size < uint32(*p) {
			d.consume(0, int(*p))
			*p += 1<<7 - mean
			d.found = s
			symbol := s[0]
			if s[1] < 196 {
				s[1]++
			}
			d.success = 1
			d.run++
			d.next()
			return symbol
		}
		d.consume(int(*p), ppmdBinScale-int(*p))
		*p -= mean
		d.escape = ppmdEscapeAdd[*p>>10]
		d.success = 0
		d.masked = [256]bool{}
		d.masked[s[0]] = true
	}
	for range ppmdDeep {
		known := c[0]
		for steps := 0; c[0] == known; steps++ {
			d.fall++
			if at = c.suffix(); at == 0 {
				d.err = errors.New("the PPMd data end before the member's size")
				return 0
			}
			if steps > ppmdDeep {
				d.err = errPPMd
				return 0
			}
			c = d.unit(at)
		}
		d.least = at
		if c[0] == 0 { // its symbol is known to the longer contexts
			d.err = errPPMd
			return 0
		}
		symbols, n := c.symbols(), uint32(c[0])+1
		all := 0
		for i := range n {
			if s := d.symbol(symbols + i); !d.masked[s[0]] {
				all += int(s[1])
			}
		}
		see, escape := d.alike(c, int(known))
		total := escape + all
		code := d.threshold(total)
		if code < all {
			before := 0
			for i := range n {
				s := d.symbol(symbols + i)
				if d.masked[s[0]] {
					continue
				}
				if before += int(s[1]); before <= code {
					continue
				}
				d.consume(before-int(s[1]), int(s[1]))
				if see.shift < ppmdPeriod {
					if see.count--; see.count == 0 {
						see.sum <<= 1
						see.count = 3 << see.shift
						see.shift++
					}
				}
				d.found = s
				symbol := s[0]
				s[1] += 4
				c.setSum(c.sum() + 4)
				if s[1] > ppmdMaxFreq {
					d.rescale()
				}
				d.run = d.startRun
				d.learn()
				return symbol
			}
		}
		if code >= total || d.err != nil {
			break
		}
		d.consume(all, total-all)
		see.sum += uint16(total)
		for i := range n {
			d.masked[d.symbol(symbols + i)[0]] = true
		}
	}
	if d.err == nil {
		d.err = errPPMd
	}
	return 0
}

// alike is how often what is not known follows contexts like this one, of which so many symbols less one were known to the last.
func (d *ppmd8) alike(c *ppmdUnit, known int) (*ppmdSee, int) {
	n := int(c[0])
	if n == 255 || c.suffix() == 0 {
		return &d.dummy, 1
	}
	at := int(c[1])
	if c.sum() > 11*(n+1) {
		at++
	}
	if 2*n < int(d.unit(c.suffix())[0])+known {
		at += 2
	}
	see := &d.see[ppmdTables.kind[n+2]-3][at&31]
	r := see.sum >> see.shift
	see.sum -= r
	return see, max(int(r), 1)
}

// next goes to the next context.
func (d *ppmd8) next() {
	if next := d.found.next(); d.fall == 0 && next >= d.start {
		d.least, d.most = next, next
		return
	}
	d.learn()
}

func highBit(symbol byte, flag byte) byte {
	if symbol >= 0x40 {
		return flag
	}
	return 0
}

// rescale halves the frequencies of the context.
func (d *ppmd8) rescale() {
	c := d.unit(d.least)
	symbols, n := c.symbols(), uint32(c[0])+1
	at := uint32(0)
	for at < n-1 && d.symbol(symbols+at) != d.found {
		at++
	}
	first := *d.found
	for ; at > 0; at-- {
		*d.symbol(symbols + at) = *d.symbol(symbols + at - 1)
	}
	add := 0
	if d.fall != 0 {
		add = 1
	}
	escape := c.sum() - int(first[1])
	first[1] = byte((int(first[1]) + 4 + add) >> 1)
	*d.symbol(symbols) = first
	sum := int(first[1])
	for i := uint32(1); i < n; i++ {
		s := *d.symbol(symbols + i)
		escape -= int(s[1])
		s[1] = byte((int(s[1]) + add) >> 1)
		sum += int(s[1])
		k := i
		for ; k > 0 && s[1] > d.symbol(symbols + k - 1)[1]; k-- {
			*d.symbol(symbols + k) = *d.symbol(symbols + k - 1)
		}
		*d.symbol(symbols + k) = s
	}
	if d.symbol(symbols + n - 1)[1] == 0 {
		old := int(n+1) >> 1
		for n > 1 && d.symbol(symbols + n - 1)[1] == 0 {
			n--
			escape++
		}
		c[0] = byte(n - 1)
		if n == 1 {
			escape = max(escape, 1)
			s := *d.symbol(symbols)
			s[1] = byte(min((2*int(s[1])+escape-1)/escape, ppmdMaxFreq/3))
			d.put(symbols, ppmdTables.index[old])
			c[1] = c[1]&ppmdHighLast | highBit(s[0], ppmdHigh)
			d.found = c.only()
			*d.found = s
			return
		}
		symbols = d.shrink(symbols, old, int(n+1)>>1)
		c.setSymbols(symbols)
		c[1] &^= ppmdHigh
		for i := range n {
			c[1] |= highBit(d.symbol(symbols + i)[0], ppmdHigh)
		}
	}
	c.setSum(sum + escape - escape>>1)
	c[1] |= ppmdRescaled
	d.found = d.symbol(symbols)
}

// knows is what a context of several symbols knows of one, or nil; it knows all that longer ones know.
func (d *ppmd8) knows(c *ppmdUnit, symbol byte) *ppmdSymbol {
	symbols := c.symbols()
	for i := range uint32(c[0]) + 1 {
		if s := d.symbol(symbols + i); s[0] == symbol {
			return s
		}
	}
	d.err = errPPMd
	return nil
}

// learn adds the symbol that was found to the contexts that did not know it.
func (d *ppmd8) learn() {
	if d.err != nil {
		return
	}
	f := *d.found
	least := d.unit(d.least)
	var up *ppmdSymbol // the same symbol in the shorter context
	if f[1] < ppmdMaxFreq/4 && least.suffix() != 0 {
		c := d.unit(least.suffix())
		if c[0] == 0 {
			if up = c.only(); up[1] < 32 {
				up[1]++
			}
		} else {
			symbols, i := c.symbols(), uint32(0)
			for i < uint32(c[0]) && d.symbol(symbols + i)[0] != f[0] {
				i++
			}
			if up = d.symbol(symbols + i); up[0] != f[0] {
				d.err = errPPMd
				return
			}
			if i > 0 {
				if last := d.symbol(symbols + i - 1); up[1] >= last[1] {
					*up, *last = *last, *up
					up = last
				}
			}
			if up[1] < ppmdMaxFreq-9 {
				up[1] += 2
				c.setSum(c.sum() + 2)
			}
		}
	}
	next := f.next()
	if d.fall == 0 && next != 0 {
		c := d.successors(true, up, d.least)
		d.found.setNext(c)
		if c == 0 {
			d.restore(d.most)
			return
		}
		d.least, d.most = c, c
		return
	}
	room := d.write(f[0])
	after := uint32(d.length)
	if !room {
		d.restore(d.most)
		return
	}
	switch {
	case next == 0:
		next = d.reduce(up, d.least)
	case next < d.start:
		next = d.successors(false, up, d.least)
	}
	if next == 0 {
		d.restore(d.most)
		return
	}
	if d.fall--; d.fall == 0 {
		after = next
		if d.most != d.least {
			d.length--
		}
	}
	ns := int(least[0])
	rest := least.sum() - ns - int(f[1])
	at := d.most
	for range ppmdDeep {
		if at == d.least || d.err != nil {
			break
		}
		c := d.unit(at)
		n := int(c[0])
		if n > 0 {
			if units := (n + 1) >> 1; n&1 != 0 && ppmdTables.index[units] != ppmdTables.index[units+1] {
				larger := d.take(ppmdTables.index[units] + 1)
				if larger == 0 {
					d.restore(at)
					return
				}
				d.move(larger, c.symbols(), units)
				d.put(c.symbols(), ppmdTables.index[units])
				c.setSymbols(larger)
			}
			if 3*n+1 < ns {
				c.setSum(c.sum() + 1)
			}
		} else {
			symbols := d.take(0)
			if symbols == 0 {
				d.restore(at)
				return
			}
			s := d.symbol(symbols)
			*s = *c.only()
			c.setSymbols(symbols)
			if s[1] < ppmdMaxFreq/4-1 {
				s[1] <<= 1
			} else {
				s[1] = ppmdMaxFreq - 4
			}
			sum := int(s[1]) + d.escape
			if ns > 2 {
				sum++
			}
			c.setSum(sum)
		}
		cf, sf := 2*int(f[1])*(c.sum()+6), rest+c.sum()
		freq, more := 1, 4
		if cf < 6*sf {
			freq += above(cf, sf) + above(cf, 4*sf-1)
		} else {
			freq = 4 + above(cf, 9*sf) + above(cf, 12*sf) + above(cf, 15*sf)
			more = freq
		}
		if n == 255 {
			break
		}
		c.setSum(c.sum() + more)
		s := d.symbol(c.symbols() + uint32(n) + 1)
		*s = ppmdSymbol{f[0], byte(freq)}
		s.setNext(after)
		c[1] |= highBit(f[0], ppmdHigh)
		c[0] = byte(n + 1)
		at = c.suffix()
	}
	if at != d.least && d.err == nil {
		d.err = errPPMd
	}
	d.least, d.most = next, next
}

func above(a, b int) int {
	if a > b {
		return 1
	}
	return 0
}

// successors makes the contexts that so far were places in the text. It returns 0 when there is no memory left.
func (d *ppmd8) successors(skip bool, up *ppmdSymbol, at uint32) uint32 {
	branch := d.found.next()
	var path [ppmdDeep]*ppmdSymbol
	n := 0
	if !skip {
		path[0] = d.found
		n++
	}
	c := d.unit(at)
	for c.suffix() != 0 {
		at = c.suffix()
		c = d.unit(at)
		s := up
		if up != nil {
			up = nil
		} else if c[0] > 0 {
			if s = d.knows(c, d.found[0]); s == nil {
				return 0
			}
			if s[1] < ppmdMaxFreq-9 {
				s[1]++
				c.setSum(c.sum() + 1)
			}
		} else if s = c.only(); s[1] < 24 && d.unit(c.suffix())[0] == 0 {
			s[1]++
		}
		if next := s.next(); next != branch {
			if n == 0 {
				return next
			}
			at = next
			c = d.unit(at)
			break
		}
		if n == ppmdDeep {
			d.err = errPPMd
			return 0
		}
		path[n] = s
		n++
	}
	if branch == 0 || branch >= uint32(len(d.text)) || n == 0 {
		d.err = errPPMd
		return 0
	}
	symbol := ppmdSymbol{d.text[branch]}
	symbol.setNext(branch + 1)
	flags := highBit(d.found[0], ppmdHighLast) | highBit(symbol[0], ppmdHigh)
	if c[0] == 0 {
		symbol[1] = c.only()[1]
	} else {
		s := d.knows(c, symbol[0])
		if s == nil {
			return 0
		}
		cf := int(s[1]) - 1
		rest := c.sum() - int(c[0]) - cf
		switch {
		case rest <= 0:
			d.err = errPPMd
			return 0
		case 2*cf > rest:
			symbol[1] = byte(1 + (cf+2*rest-3)/rest)
		case 5*cf > rest:
			symbol[1] = 2
		default:
			symbol[1] = 1
		}
	}
	for n > 0 {
		made := d.takeContext()
		if made == 0 {
			return 0
		}
		u := d.unit(made)
		u[0], u[1] = 0, flags
		*u.only() = symbol
		u.setSuffix(at)
		n--
		path[n].setNext(made)
		at = made
	}
	return at
}

// reduce has the contexts that do not know what comes next point to the text, and finds the first that knows. It returns 0 when there is no
// memory left.
func (d *ppmd8) reduce(up *ppmdSymbol, at uint32) uint32 {
	first := at
	branch := uint32(d.length)
	d.found.setNext(branch)
	d.fall++
	c := d.unit(at)
	var s *ppmdSymbol
	for steps := 0; ; steps++ {
		if c.suffix() == 0 {
			return at
		}
		at = c.suffix()
		c = d.unit(at)
		if up != nil {
			s, up = up, nil
		} else if c[0] > 0 {
			if s = d.knows(c, d.found[0]); s == nil {
				return 0
			}
			if s[1] < ppmdMaxFreq-9 {
				s[1] += 2
				c.setSum(c.sum() + 2)
			}
		} else if s = c.only(); s[1] < 32 {
			s[1]++
		}
		if s.next() != 0 {
			break
		}
		if steps > ppmdDeep {
			d.err = errPPMd
			return 0
		}
		s.setNext(branch)
		d.fall++
	}
	if s.next() <= branch {
		found := d.found
		d.found = s
		s.setNext(d.successors(false, nil, at))
		d.found = found
	}
	if d.fall == 1 && first == d.most {
		d.found.setNext(s.next())
		d.length--
	}
	return s.next()
}

// restore is what the encoder does when its memory is used up. The contexts before upTo have already learnt the symbol, and forget it.
func (d *ppmd8) restore(upTo uint32) {
	if d.err != nil {
		return
	}
	d.length = 1
	at := d.most
	for steps := 0; at != d.least; steps++ {
		if steps > ppmdDeep {
			d.err = errPPMd
			return
		}
		c := d.unit(at)
		if at == upTo {
			upTo = 0
		}
		switch {
		case upTo != 0:
			if c[0]--; c[0] == 0 {
				d.single(c, func(a uint32) { d.putFirst(a) })
			} else {
				d.refresh(c, (int(c[0])+3)>>1, 0)
			}
		case c[0] == 0:
			c.only()[1] -= c.only()[1] >> 1
		default:
			if c.setSum(c.sum() + 4); c.sum() > 128+4*int(c[0]) {
				d.refresh(c, (int(c[0])+2)>>1, 1)
			}
		}
		at = c.suffix()
	}
	switch {
	case d.method == ppmdFreeze:
		d.err = errPPMdFrozen
	case d.method == ppmdRestart || d.used() < d.memory/2:
		d.begin()
	default:
		for d.unit(d.most).suffix() != 0 {
			d.most = d.unit(d.most).suffix()
		}
		d.least = d.most
		// Each pass takes what nothing follows, so one for each order takes all.
		for passes := 0; passes == 0 || d.used() > 3*(d.memory/4); passes++ {
			d.visits = d.memory / 12
			d.cut(d.most, 0)
			d.expand()
			if d.err != nil {
				return
			}
			if passes > ppmdDeep {
				d.err = errPPMd
				return
			}
		}
		d.glue = 0
		d.fall = d.order
	}
}

// single has a context keep its first symbol only.
func (d *ppmd8) single(c *ppmdUnit, free func(uint32)) {
	symbols := c.symbols()
	s := *d.symbol(symbols)
	c[1] = c[1]&ppmdHighLast | highBit(s[0], ppmdHigh)
	s[1] = byte((int(s[1]) + 11) >> 3)
	*c.only() = s
	free(symbols)
}

// refresh has a context whose symbols were in so many units use no more than it needs, and divides frequencies by two if scale is 1.
func (d *ppmd8) refresh(c *ppmdUnit, units, scale int) {
	n := int(c[0])
	symbols := d.shrink(c.symbols(), units, (n+2)>>1)
	c.setSymbols(symbols)
	flags := c[1] & (ppmdHighLast | ppmdRescaled*byte(scale))
	escape, sum := c.sum(), 0
	for i := range uint32(n) + 1 {
		s := d.symbol(symbols + i)
		escape -= int(s[1])
		s[1] = byte((int(s[1]) + scale) >> scale)
		sum += int(s[1])
		flags |= highBit(s[0], ppmdHigh)
	}
	c.setSum(sum + (escape+scale)>>scale)
	c[1] = flags
}

// cut takes from the tree what nothing follows any more. It returns the context, or 0 if it was taken itself.
func (d *ppmd8) cut(at uint32, order int) uint32 {
	if d.visits--; d.visits < 0 {
		d.err = errPPMd
		return 0
	}
	c := d.unit(at)
	follow := func(s *ppmdSymbol) {
		next := uint32(0)
		if order < d.order {
			next = d.cut(s.next(), order+1)
		}
		s.setNext(next)
	}
	if c[0] == 0 {
		if s := c.only(); s.next() >= d.start {
			if follow(s); s.next() != 0 || order <= ppmdKept {
				return at
			}
		}
		d.putFirst(at)
		return 0
	}
	units := (int(c[0]) + 2) >> 1
	symbols := d.raise(c.symbols(), units)
	c.setSymbols(symbols)
	n := int(c[0])
	for i := n; i >= 0; i-- {
		s := d.symbol(symbols + uint32(i))
		if s.next() >= d.start {
			follow(s)
			continue
		}
		last := d.symbol(symbols + uint32(n))
		n--
		s.setNext(0)
		*s, *last = *last, *s
	}
	if n == int(c[0]) || order == 0 {
		return at
	}
	switch {
	case n < 0:
		d.put(symbols, ppmdTables.index[units])
		d.putFirst(at)
		return 0
	case n == 0:
		c[0] = 0
		d.single(c, func(a uint32) { d.put(a, ppmdTables.index[units]) })
	default:
		c[0] = byte(n)
		d.refresh(c, units, above(c.sum(), 16*n))
	}
	return at
}
