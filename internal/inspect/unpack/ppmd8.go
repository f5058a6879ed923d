package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// PPMd of variant I, as zip has it (method 98): each byte is predicted by the bytes before it, in contexts that are a tree, and coded by a range
// coder. When the encoder's memory is used up, it gathers freed blocks, and then cuts the tree or begins anew. When that is follows from its allocator,
// which is not rebuilt here: its memory is counted, and up to where it would have to gather, the data are read.

const (
	ppmdMaxFreq  = 124
	ppmdBinScale = 1 << 14
	ppmdPeriod   = 7
	ppmdUnit     = 12 // bytes of a context, or of two symbols
	ppmdIndexes  = 38 // sizes of blocks
	ppmdLarger   = 7  // times that our contexts are larger than the encoder's, about
)

// ppmdSymbol is what a context knows of a symbol that followed it. What comes next is the context of both, or so far only a place in the text.
type ppmdSymbol struct {
	symbol, freq byte
	next         ppmdNext
}

type ppmdNext struct {
	context *ppmdContext
	text    int32 // 0 is none
}

type ppmdContext struct {
	symbols []ppmdSymbol
	sum     int // of their frequencies, and that of something else
	flags   byte
	suffix  *ppmdContext
}

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

type ppmd8 struct {
	in                  *bufio.Reader
	left                int64
	low, size           uint32 // of the range
	code                uint32
	order               int
	memory              int64  // of the encoder
	limit               int64  // of ours
	text                []byte // what was read since the model began
	unitsStart          int64  // these are the encoder's addresses
	lowUnit, highUnit   int64
	free                [ppmdIndexes]int // freed blocks of each size
	most, least         *ppmdContext     // the longest context, and the one that knew the symbol
	found               *ppmdSymbol
	fall, run, startRun int
	success             int
	escape              int
	binary              [25][64]uint16
	see                 [24][32]ppmdSee
	dummy               ppmdSee
	masked              [256]bool
	err                 error
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
	d := &ppmd8{in: in, left: size, order: how&15 + 1, memory: int64(how>>4&255+1) << 20}
	if d.order < 2 || how>>12 > 2 {
		return nil, fmt.Errorf("PPMd of order %d with method %d is not known", d.order, how>>12)
	}
	d.limit = c.o.Memory
	for _, b := range h[2:] {
		d.code = d.code<<8 | uint32(b)
	}
	d.size = 0xffffffff
	d.begin()
	return d, nil
}

// begin is a model that knows nothing.
func (d *ppmd8) begin() {
	d.text = append(d.text[:0], 0) // place 0 is none
	d.free = [ppmdIndexes]int{}
	d.highUnit = d.memory
	d.lowUnit = d.highUnit - d.memory/8/ppmdUnit*7*ppmdUnit
	d.unitsStart = d.lowUnit
	d.fall = d.order
	d.startRun = -min(d.order, 12) - 1
	d.run = d.startRun
	d.success = 0
	d.highUnit -= ppmdUnit
	d.lowUnit += 128 * ppmdUnit
	root := &ppmdContext{symbols: make([]ppmdSymbol, 256), sum: 257}
	for i := range root.symbols {
		root.symbols[i] = ppmdSymbol{symbol: byte(i), freq: 1}
	}
	d.least, d.most, d.found = root, root, &root.symbols[0]
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
		symbol, err := d.one()
		if d.err == nil {
			d.err = err
		}
		if d.err == nil {
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
	errPPMdMemory = errors.New("PPMd of a model that has used up its memory is not read further")
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

func (d *ppmd8) take(from, size int) {
	d.low += uint32(from) * d.size
	d.code -= uint32(from) * d.size
	d.size *= uint32(size)
	for {
		if (d.low ^ (d.low + d.size)) >= 1<<24 {
			if d.size >= 1<<15 {
				return
			}
			d.size = -d.low & (1<<15 - 1)
		}
		b, err := d.in.ReadByte()
		if err != nil {
			if err == io.EOF {
				err = errCut
			}
			if d.err == nil {
				d.err = err
			}
			d.size, d.low = 1<<31, 0 // whatever ends it
			return
		}
		d.code = d.code<<8 | uint32(b)
		d.size <<= 8
		d.low <<= 8
	}
}

// one decodes a byte and learns from it.
func (d *ppmd8) one() (byte, error) {
	c := d.least
	marked := c
	if len(c.symbols) > 1 {
		at := d.threshold(c.sum)
		s := &c.symbols[0]
		if at < int(s.freq) {
			d.take(0, int(s.freq))
			d.found = s
			symbol := s.symbol
			d.success = 0
			if 2*int(s.freq) >= c.sum {
				d.success = 1
			}
			d.run += d.success
			c.sum += 4
			if s.freq += 4; s.freq > ppmdMaxFreq {
				d.rescale()
			}
			return symbol, d.next()
		}
		d.success = 0
		before := int(s.freq)
		for i := 1; i < len(c.symbols); i++ {
			s := &c.symbols[i]
			if before+int(s.freq) > at {
				d.take(before, int(s.freq))
				symbol := s.symbol
				s.freq += 4
				c.sum += 4
				if last := &c.symbols[i-1]; s.freq > last.freq {
					*s, *last = *last, *s
					s = last
				}
				if d.found = s; s.freq > ppmdMaxFreq {
					d.rescale()
				}
				return symbol, d.next()
			}
			before += int(s.freq)
		}
		if at >= c.sum {
			return 0, errPPMd
		}
		d.take(before, c.sum-before)
	} else {
		s := &c.symbols[0]
		if c.suffix == nil || s.freq == 0 {
			return 0, errPPMd
		}
		run := 0
		if d.run < 0 {
			run = 0x20
		}
		p := &d.binary[ppmdTables.kind[s.freq-1]][ppmdTables.suffixes[len(c.suffix.symbols)-1]+d.success+int(c.flags)+run]
		mean := (*p + 1<<(ppmdPeriod-2)) >> ppmdPeriod
		d.size >>= 14
		if d.size == 0 {
			return 0, errPPMd
		}
		if d.code/d.size < uint32(*p) {
			d.take(0, int(*p))
			*p += 1<<7 - mean
			d.found = s
			symbol := s.symbol
			if s.freq < 196 {
				s.freq++
			}
			d.success = 1
			d.run++
			return symbol, d.next()
		}
		d.take(int(*p), ppmdBinScale-int(*p))
		*p -= mean
		d.escape = ppmdEscapeAdd[*p>>10]
		d.success = 0
	}
	d.masked = [256]bool{}
	for {
		for _, s := range marked.symbols {
			d.masked[s.symbol] = true
		}
		known := len(c.symbols)
		for len(c.symbols) == known {
			d.fall++
			if c.suffix == nil {
				return 0, errors.New("the PPMd data end before the member's size")
			}
			c = c.suffix
		}
		d.least = c
		all := 0
		for _, s := range c.symbols {
			if !d.masked[s.symbol] {
				all += int(s.freq)
			}
		}
		see, escape := d.alike(c, known)
		total := escape + all
		at := d.threshold(total)
		if at < all {
			before := 0
			for i := range c.symbols {
				s := &c.symbols[i]
				if d.masked[s.symbol] {
					continue
				}
				if before+int(s.freq) <= at {
					before += int(s.freq)
					continue
				}
				d.take(before, int(s.freq))
				if see.shift < ppmdPeriod {
					if see.count--; see.count == 0 {
						see.sum <<= 1
						see.count = 3 << see.shift
						see.shift++
					}
				}
				d.found = s
				symbol := s.symbol
				c.sum += 4
				if s.freq += 4; s.freq > ppmdMaxFreq {
					d.rescale()
				}
				d.run = d.startRun
				return symbol, d.learn()
			}
		}
		if at >= total || d.err != nil {
			return 0, errPPMd
		}
		d.take(all, total-all)
		see.sum += uint16(total)
		marked = c
	}
}

// alike is how often what is not known follows contexts like this one, of which so many symbols were known to the last.
func (d *ppmd8) alike(c *ppmdContext, known int) (*ppmdSee, int) {
	n := len(c.symbols) - 1
	if n == 255 || c.suffix == nil {
		return &d.dummy, 1
	}
	at := int(c.flags)
	if c.sum > 11*(n+1) {
		at++
	}
	if 2*n < len(c.suffix.symbols)-1+known-1 {
		at += 2
	}
	see := &d.see[ppmdTables.kind[n+2]-3][at]
	r := see.sum >> see.shift
	see.sum -= r
	return see, max(int(r), 1)
}

// next goes to the next context.
func (d *ppmd8) next() error {
	if d.fall == 0 && d.found.next.context != nil {
		d.least = d.found.next.context
		d.most = d.least
		return nil
	}
	return d.learn()
}

func highBit(symbol byte, flag byte) byte {
	if symbol >= 0x40 {
		return flag
	}
	return 0
}

// rescale halves the frequencies of the context.
func (d *ppmd8) rescale() {
	c := d.least
	s := c.symbols
	at := 0
	for &s[at] != d.found {
		at++
	}
	first := s[at]
	copy(s[1:at+1], s[:at])
	s[0] = first
	add := 0
	if d.fall != 0 {
		add = 1
	}
	escape := c.sum - int(s[0].freq)
	s[0].freq = byte((int(s[0].freq) + 4 + add) >> 1)
	sum := int(s[0].freq)
	for i := 1; i < len(s); i++ {
		escape -= int(s[i].freq)
		s[i].freq = byte((int(s[i].freq) + add) >> 1)
		sum += int(s[i].freq)
		if s[i].freq > s[i-1].freq {
			one, j := s[i], i
			for ; j > 0 && one.freq > s[j-1].freq; j-- {
				s[j] = s[j-1]
			}
			s[j] = one
		}
	}
	if s[len(s)-1].freq == 0 {
		n := len(s)
		for s[n-1].freq == 0 {
			n--
			escape++
		}
		old, now := (len(s)+1)>>1, (n+1)>>1
		c.symbols = s[:n]
		if n == 1 {
			escape = max(escape, 1)
			s[0].freq = byte(min((2*int(s[0].freq)+escape-1)/escape, ppmdMaxFreq/3))
			d.free[ppmdTables.index[old]]++
			c.flags = c.flags&ppmdHighLast | highBit(s[0].symbol, ppmdHigh)
			d.found = &s[0]
			return
		}
		d.shrink(old, now)
		c.flags &^= ppmdHigh
		for _, one := range c.symbols {
			c.flags |= highBit(one.symbol, ppmdHigh)
		}
	}
	c.sum = sum + escape - escape>>1
	c.flags |= ppmdRescaled
	d.found = &c.symbols[0]
}

// block accounts a block of so many units; false when the encoder had to look for one.
func (d *ppmd8) block(units int) bool {
	i := ppmdTables.index[units]
	if d.free[i] > 0 {
		d.free[i]--
		return true
	}
	if bytes := int64(ppmdTables.units[i]) * ppmdUnit; bytes <= d.highUnit-d.lowUnit {
		d.lowUnit += bytes
		return true
	}
	return false
}

func (d *ppmd8) shrink(old, now int) {
	i, j := ppmdTables.index[old], ppmdTables.index[now]
	if i == j {
		return
	}
	if d.free[j] > 0 {
		d.free[j]--
		d.free[i]++
		return
	}
	rest := ppmdTables.units[i] - ppmdTables.units[j]
	k := ppmdTables.index[rest]
	if units := ppmdTables.units[k]; units != rest {
		k--
		d.free[ppmdTables.index[rest-ppmdTables.units[k]]]++
	}
	d.free[k]++
}

// context makes one of one symbol.
func (d *ppmd8) context(s ppmdSymbol, flags byte, suffix *ppmdContext) *ppmdContext {
	switch {
	case d.highUnit != d.lowUnit:
		d.highUnit -= ppmdUnit
	case d.free[0] > 0:
		d.free[0]--
	default:
		return nil
	}
	return &ppmdContext{symbols: []ppmdSymbol{s}, flags: flags, suffix: suffix}
}

// knows is what a context knows of a symbol; it knows all that longer ones know.
func (c *ppmdContext) knows(symbol byte) *ppmdSymbol {
	for i := range c.symbols {
		if c.symbols[i].symbol == symbol {
			return &c.symbols[i]
		}
	}
	return nil
}

// learn adds the symbol that was found to the contexts that did not know it.
func (d *ppmd8) learn() error {
	if d.err != nil {
		return d.err
	}
	if used := d.lowUnit + d.memory - d.highUnit - d.unitsStart; ppmdLarger*used+int64(len(d.text)) > d.limit {
		return errDictionary
	}
	f := *d.found
	var up *ppmdSymbol // the same symbol in the shorter context
	if f.freq < ppmdMaxFreq/4 && d.least.suffix != nil {
		c := d.least.suffix
		if len(c.symbols) == 1 {
			if up = &c.symbols[0]; up.freq < 32 {
				up.freq++
			}
		} else {
			i := 0
			for i < len(c.symbols) && c.symbols[i].symbol != f.symbol {
				i++
			}
			if i == len(c.symbols) {
				return errPPMd
			}
			if i > 0 && c.symbols[i].freq >= c.symbols[i-1].freq {
				c.symbols[i], c.symbols[i-1] = c.symbols[i-1], c.symbols[i]
				i--
			}
			if up = &c.symbols[i]; up.freq < ppmdMaxFreq-9 {
				up.freq += 2
				c.sum += 2
			}
		}
	}
	if d.fall == 0 && f.next != (ppmdNext{}) {
		c, err := d.successors(true, up, d.least)
		if err != nil || c == nil {
			return d.full(err)
		}
		d.found.next = ppmdNext{context: c}
		d.least, d.most = c, c
		return nil
	}
	d.text = append(d.text, f.symbol)
	after := ppmdNext{text: int32(len(d.text))}
	if int64(len(d.text))-1 >= d.unitsStart {
		return d.full(nil)
	}
	switch {
	case f.next == ppmdNext{}:
		c, err := d.reduce(up, d.least)
		if err != nil || c == nil {
			return d.full(err)
		}
		f.next = ppmdNext{context: c}
	case f.next.context == nil:
		c, err := d.successors(false, up, d.least)
		if err != nil || c == nil {
			return d.full(err)
		}
		f.next = ppmdNext{context: c}
	}
	if d.fall--; d.fall == 0 {
		after = f.next
		if d.most != d.least {
			d.text = d.text[:len(d.text)-1]
		}
	}
	ns := len(d.least.symbols) - 1
	rest := d.least.sum - ns - int(f.freq)
	for c := d.most; c != d.least; c = c.suffix {
		n := len(c.symbols) - 1
		if n > 0 {
			if units := (n + 1) >> 1; n&1 != 0 && ppmdTables.index[units] != ppmdTables.index[units+1] {
				if !d.block(units + 1) {
					return d.full(nil)
				}
				d.free[ppmdTables.index[units]]++
			}
			if 3*n+1 < ns {
				c.sum++
			}
		} else {
			if !d.block(1) {
				return d.full(nil)
			}
			s := &c.symbols[0]
			if s.freq < ppmdMaxFreq/4-1 {
				s.freq <<= 1
			} else {
				s.freq = ppmdMaxFreq - 4
			}
			if c.sum = int(s.freq) + d.escape; ns > 2 {
				c.sum++
			}
		}
		cf, sf := 2*int(f.freq)*(c.sum+6), rest+c.sum
		freq := 1
		if cf < 6*sf {
			for _, more := range []bool{cf > sf, cf >= 4*sf} {
				if more {
					freq++
				}
			}
			c.sum += 4
		} else {
			freq = 4
			for _, more := range []bool{cf > 9*sf, cf > 12*sf, cf > 15*sf} {
				if more {
					freq++
				}
			}
			c.sum += freq
		}
		if n >= 255 {
			return errPPMd
		}
		c.symbols = append(c.symbols, ppmdSymbol{symbol: f.symbol, freq: byte(freq), next: after})
		c.flags |= highBit(f.symbol, ppmdHigh)
	}
	d.least, d.most = f.next.context, f.next.context
	return nil
}

// full is the error, if there was one, or that there is no memory left.
func (d *ppmd8) full(err error) error {
	if err != nil {
		return err
	}
	return errPPMdMemory
}

// successors makes the contexts that so far were places in the text. It returns nil when there is no memory left.
func (d *ppmd8) successors(skip bool, up *ppmdSymbol, c *ppmdContext) (*ppmdContext, error) {
	branch := d.found.next
	var path []*ppmdSymbol
	if !skip {
		path = append(path, d.found)
	}
	for c.suffix != nil {
		c = c.suffix
		s := up
		if up != nil {
			up = nil
		} else if len(c.symbols) > 1 {
			if s = c.knows(d.found.symbol); s == nil {
				return nil, errPPMd
			}
			if s.freq < ppmdMaxFreq-9 {
				s.freq++
				c.sum++
			}
		} else if s = &c.symbols[0]; s.freq < 24 && c.suffix != nil && len(c.suffix.symbols) == 1 {
			s.freq++
		}
		if s.next != branch {
			if c = s.next.context; c == nil {
				return nil, errPPMd
			}
			if len(path) == 0 {
				return c, nil
			}
			break
		}
		path = append(path, s)
	}
	if branch.text <= 0 || int(branch.text) >= len(d.text) {
		return nil, errPPMd
	}
	symbol := ppmdSymbol{symbol: d.text[branch.text], next: ppmdNext{text: branch.text + 1}}
	flags := highBit(d.found.symbol, ppmdHighLast) | highBit(symbol.symbol, ppmdHigh)
	if len(c.symbols) == 1 {
		symbol.freq = c.symbols[0].freq
	} else {
		s := c.knows(symbol.symbol)
		if s == nil {
			return nil, errPPMd
		}
		cf := int(s.freq) - 1
		rest := c.sum - (len(c.symbols) - 1) - cf
		switch {
		case rest <= 0:
			return nil, errPPMd
		case 2*cf > rest:
			symbol.freq = byte(1 + (cf+2*rest-3)/rest)
		case 5*cf > rest:
			symbol.freq = 2
		default:
			symbol.freq = 1
		}
	}
	for i := len(path) - 1; i >= 0; i-- {
		made := d.context(symbol, flags, c)
		if made == nil {
			return nil, nil
		}
		path[i].next = ppmdNext{context: made}
		c = made
	}
	return c, nil
}

// reduce has the contexts that do not know what comes next point to the text, and finds the first that knows. It returns nil when there is no
// memory left.
func (d *ppmd8) reduce(up *ppmdSymbol, c *ppmdContext) (*ppmdContext, error) {
	first := c
	branch := ppmdNext{text: int32(len(d.text))}
	d.found.next = branch
	d.fall++
	var s *ppmdSymbol
	for {
		if up != nil {
			c, s, up = c.suffix, up, nil
		} else {
			if c.suffix == nil {
				return c, nil
			}
			c = c.suffix
			if len(c.symbols) > 1 {
				if s = c.knows(d.found.symbol); s == nil {
					return nil, errPPMd
				}
				if s.freq < ppmdMaxFreq-9 {
					s.freq += 2
					c.sum += 2
				}
			} else if s = &c.symbols[0]; s.freq < 32 {
				s.freq++
			}
		}
		if s.next != (ppmdNext{}) {
			break
		}
		s.next = branch
		d.fall++
	}
	if s.next.context == nil {
		found := d.found
		d.found = s
		made, err := d.successors(false, nil, c)
		d.found = found
		if err != nil || made == nil {
			return nil, err
		}
		s.next = ppmdNext{context: made}
	}
	if d.fall == 1 && first == d.most {
		d.found.next = s.next
		d.text = d.text[:len(d.text)-1]
	}
	return s.next.context, nil
}
