package unpack

import (
	"encoding/binary"
	"errors"
	"slices"
)

// LZMS decompresses one block as a whole. Its units of sixteen bits are read from both ends: from the front choices, by a range coder whose
// probabilities follow the last 64 bits of their context; from the back prefix codes that are made anew of how often their symbols came, and bits as
// they are. There are literals, matches, and matches of differences; three distances of either are remembered, one item late. In the end the
// targets of x86 instructions are made relative again.

var errLZMS = errors.New("the LZMS data is damaged")

var (
	lzmsDistances = slotsFrom(1, [2]uint8{8, 0}, [2]uint8{9, 2}, [2]uint8{7, 3}, [2]uint8{10, 4}, [2]uint8{15, 5}, [2]uint8{15, 6}, [2]uint8{20, 7}, [2]uint8{20, 8},
		[2]uint8{30, 9}, [2]uint8{33, 10}, [2]uint8{40, 11}, [2]uint8{42, 12}, [2]uint8{45, 13}, [2]uint8{60, 14}, [2]uint8{73, 15}, [2]uint8{80, 16}, [2]uint8{85, 17},
		[2]uint8{95, 18}, [2]uint8{105, 19}, [2]uint8{6, 20}, [2]uint8{1, 30})
	lzmsLengths = slotsFrom(1, [2]uint8{26, 0}, [2]uint8{4, 1}, [2]uint8{6, 2}, [2]uint8{4, 3}, [2]uint8{5, 4}, [2]uint8{2, 5}, [2]uint8{1, 6}, [2]uint8{1, 7}, [2]uint8{1, 8},
		[2]uint8{1, 9}, [2]uint8{1, 10}, [2]uint8{1, 16}, [2]uint8{1, 30})
)

// lzmsContext is where a kind of choice stands: the last of its bits choose the probability of the next.
type lzmsContext struct {
	state  uint8
	chance [64]struct {
		bits  uint64 // the last 64
		zeros uint8  // among them
	}
}

func (c *lzmsContext) reset() {
	c.state = 0
	for i := range c.chance {
		c.chance[i].bits, c.chance[i].zeros = 0x55555555, 48
	}
}

// lzmsCode is a code that follows what it coded.
type lzmsCode struct {
	lzxCode
	counts  []uint32
	lengths []byte
	every   int // symbols after which the code is made anew
	left    int
	order   []uint32 // for making it
	weight  []uint32
	parent  []uint16
}

func (c *lzmsCode) reset(symbols, every int) error {
	c.counts = slices.Grow(c.counts[:0], symbols)[:symbols]
	for i := range c.counts {
		c.counts[i] = 1
	}
	c.every = every
	return c.make()
}

// make makes the code: Huffman's, where of the same weight a leaf comes before a node, and of leaves the lower symbol.
func (c *lzmsCode) make() error {
	n := len(c.counts)
	c.left = c.every
	c.lengths = slices.Grow(c.lengths[:0], n)[:n]
	if n < 2 {
		for i := range c.lengths {
			c.lengths[i] = 1
		}
		return c.set(c.lengths)
	}
	c.order = c.order[:0]
	for i, f := range c.counts {
		c.order = append(c.order, f<<10|uint32(i))
	}
	slices.Sort(c.order)
	// The leaves in their order, then the nodes as they are made, whose weights only grow.
	nodes := 2*n - 1
	c.weight = slices.Grow(c.weight[:0], nodes)[:0]
	c.parent = slices.Grow(c.parent[:0], nodes)[:nodes]
	for _, o := range c.order {
		c.weight = append(c.weight, o>>10)
	}
	leaf, node := 0, n
	for len(c.weight) < nodes {
		sum := uint32(0)
		for range 2 {
			at := leaf
			if leaf < n && (node == len(c.weight) || c.weight[leaf] <= c.weight[node]) {
				leaf++
			} else {
				at = node
				node++
			}
			sum += c.weight[at]
			c.parent[at] = uint16(len(c.weight))
		}
		c.weight = append(c.weight, sum)
	}
	c.weight[nodes-1] = 0 // from here on depths
	for i := nodes - 2; i >= 0; i-- {
		c.weight[i] = c.weight[c.parent[i]] + 1
	}
	for i, o := range c.order {
		if c.weight[i] > 15 {
			return errLZMS
		}
		c.lengths[o&1023] = byte(c.weight[i])
	}
	return c.set(c.lengths)
}

// lzmsRecent are the distances that were used last, of which the first three can be told by their place. The last item's waits to become the first.
type lzmsRecent struct {
	queue   [4]uint64
	waiting uint64
}

func (q *lzmsRecent) reset() { *q = lzmsRecent{queue: [4]uint64{1, 2, 3, 4}} }

// take removes and gives one.
func (q *lzmsRecent) take(i int) uint64 {
	v := q.queue[i]
	copy(q.queue[i:], q.queue[i+1:])
	return v
}

// after ends an item, which had a distance, or none when that is 0.
func (q *lzmsRecent) after(distance uint64) {
	if q.waiting != 0 {
		copy(q.queue[1:], q.queue[:3])
		q.queue[0] = q.waiting
	}
	q.waiting = distance
}

type lzmsDecoder struct {
	in          []byte
	front, back int // units of the front begin at the one, those of the back end at the other
	span, code  uint32
	bits        uint64 // the highest first
	have        uint
	over        bool // more was used than there was

	match, delta         lzmsContext    // whether a match comes, and of which kind
	lzAgain, deltaAgain  lzmsContext    // whether its distance is one of the last
	lzWhich, deltaWhich  [2]lzmsContext // whether it is not the first of these, not the second
	lz, differences      lzmsRecent     // a difference's is its distance by spans above the power of two that the span is
	literal, length      lzmsCode
	distance, raw, power lzmsCode

	targets [1 << 16]int32
}

// choice decodes a bit of a context that looks back on bits.
func (d *lzmsDecoder) choice(c *lzmsContext, bits uint) bool {
	if d.span < 1<<16 {
		d.span <<= 16
		d.code <<= 16
		if d.front+2 <= len(d.in) {
			d.code |= uint32(binary.LittleEndian.Uint16(d.in[d.front:]))
		}
		d.front += 2
	}
	e := &c.chance[c.state]
	bound := d.span >> 6 * uint32(min(max(e.zeros, 1), 63))
	one := uint8(0)
	if d.code < bound {
		d.span = bound
	} else {
		d.span, d.code, one = d.span-bound, d.code-bound, 1
	}
	e.zeros += uint8(e.bits>>63) - one
	e.bits = e.bits<<1 | uint64(one)
	c.state = (c.state<<1 | one) & (1<<bits - 1)
	return one == 1
}

// need has n bits in advance; behind the last there are zeros.
func (d *lzmsDecoder) need(n uint) {
	for d.have < n {
		if d.back >= 2 {
			d.back -= 2
			d.bits |= uint64(binary.LittleEndian.Uint16(d.in[d.back:])) << (48 - d.have)
		} else {
			d.back--
			d.over = d.over || d.back < -4 // no more units are taken in advance
		}
		d.have += 16
	}
}

func (d *lzmsDecoder) read(n uint) uint32 {
	if n == 0 {
		return 0
	}
	d.need(n)
	v := uint32(d.bits >> (64 - n))
	d.bits <<= n
	d.have -= n
	return v
}

func (d *lzmsDecoder) symbol(c *lzmsCode) (int, error) {
	if c.bits == 0 {
		return 0, errLZMS
	}
	d.need(c.bits)
	e := c.table[d.bits>>(64-c.bits)]
	n := uint(e & 0xff)
	s := int(e >> 8)
	if n == 0 || d.over {
		return 0, errLZMS
	}
	d.bits <<= n
	d.have -= n
	c.counts[s]++
	if c.left--; c.left == 0 {
		if err := c.make(); err != nil {
			return 0, err
		}
		for i, f := range c.counts {
			c.counts[i] = f>>1 + 1
		}
	}
	return s, nil
}

func (d *lzmsDecoder) value(c *lzmsCode, slots *valueSlots) (uint64, error) {
	s, err := d.symbol(c)
	if err != nil {
		return 0, err
	}
	return uint64(slots.base[s]) + uint64(d.read(uint(slots.extra[s]))), nil
}

// which decodes the place of a distance of before.
func (d *lzmsDecoder) which(c *[2]lzmsContext) int {
	for i := range c {
		if !d.choice(&c[i], 6) {
			return i
		}
	}
	return len(c)
}

// block appends the size bytes of a block to out, which is empty.
func (d *lzmsDecoder) block(in []byte, size int, out []byte) ([]byte, error) {
	if len(in) < 4 || len(in)%2 != 0 || size < 1 {
		return nil, errLZMS
	}
	le := binary.LittleEndian
	d.in, d.front, d.back, d.bits, d.have, d.over = in, 4, len(in), 0, 0, false
	d.span, d.code = 1<<32-1, uint32(le.Uint16(in))<<16|uint32(le.Uint16(in[2:]))
	for _, c := range []*lzmsContext{&d.match, &d.delta, &d.lzAgain, &d.deltaAgain, &d.lzWhich[0], &d.lzWhich[1], &d.deltaWhich[0], &d.deltaWhich[1]} {
		c.reset()
	}
	d.lz.reset()
	d.differences.reset()
	for i := range d.differences.queue {
		d.differences.queue[i] <<= 3
	}
	distances := 0 // symbols that a block of this size needs
	for distances < len(lzmsDistances.extra) && int(lzmsDistances.base[distances]) < size {
		distances++
	}
	if err := errors.Join(d.literal.reset(256, 1024), d.length.reset(54, 512), d.distance.reset(distances, 1024), d.raw.reset(distances, 1024), d.power.reset(8, 512)); err != nil {
		return nil, err
	}
	for len(out) < size {
		if !d.choice(&d.match, 4) {
			s, err := d.symbol(&d.literal)
			if err != nil {
				return nil, err
			}
			out = append(out, byte(s))
			d.lz.after(0)
			d.differences.after(0)
			continue
		}
		var err error
		differences := d.choice(&d.delta, 5)
		again, which, recent, code, distance := &d.lzAgain, &d.lzWhich, &d.lz, &d.distance, uint64(0)
		if differences {
			again, which, recent, code = &d.deltaAgain, &d.deltaWhich, &d.differences, &d.raw
		}
		if d.choice(again, 6) {
			distance = recent.take(d.which(which))
		} else {
			power := 0
			if differences {
				if power, err = d.symbol(&d.power); err != nil {
					return nil, err
				}
			}
			if distance, err = d.value(code, &lzmsDistances); err != nil {
				return nil, err
			}
			if differences {
				distance = distance<<3 | uint64(power)
			}
		}
		length, err := d.value(&d.length, &lzmsLengths)
		if err != nil || d.over || length > uint64(size-len(out)) {
			return nil, errLZMS
		}
		if differences {
			d.lz.after(0)
			d.differences.after(distance)
			span := uint64(1) << (distance & 7)
			offset := distance >> 3 * span
			if offset+span > uint64(len(out)) {
				return nil, errLZMS
			}
			for range length {
				i := len(out)
				out = append(out, out[i-int(offset)]+out[i-int(span)]-out[i-int(offset)-int(span)])
			}
			continue
		}
		d.lz.after(distance)
		d.differences.after(0)
		if distance > uint64(len(out)) {
			return nil, errLZMS
		}
		for range length {
			out = append(out, out[len(out)-int(distance)])
		}
	}
	d.relative(out)
	return out, nil
}

// relative undoes what the compressor did to the targets of x86 instructions: it added the instruction's place, where code is likely. That is so for
// a while behind an instruction whose target, of which sixteen bits count, was also that of another not long before.
func (d *lzmsDecoder) relative(b []byte) {
	const (
		tail  = 16 // at whose beginning no instruction is looked for any more
		reach = 1023
		apart = 1<<16 - 1
	)
	if len(b) <= tail+1 {
		return
	}
	for i := range d.targets {
		d.targets[i] = -apart - 1
	}
	le := binary.LittleEndian
	likely := -reach - 1 // where code was seen last
	for i := 1; i < len(b)-tail; {
		n, most := 0, reach // bytes before the target; how far likely code may lie
		switch b[i] {
		case 0x48: // lea and mov
			if b[i+2]&7 == 5 && (b[i+1] == 0x8d || b[i+1] == 0x8b && b[i+2]&0xf0 == 0) {
				n = 3
			}
		case 0x4c:
			if b[i+2]&7 == 5 && b[i+1] == 0x8d {
				n = 3
			}
		case 0xe8: // call
			n, most = 1, reach/2
		case 0xe9: // jmp is left as it is, and not looked into
			i += 4
		case 0xf0: // lock add
			if b[i+1] == 0x83 && b[i+2] == 5 {
				n = 3
			}
		case 0xff: // call of a pointer
			if b[i+1] == 0x15 {
				n = 2
			}
		}
		if n == 0 {
			i++
			continue
		}
		target := b[i+n:]
		if i-likely <= most {
			le.PutUint32(target, le.Uint32(target)-uint32(i))
		}
		seen := &d.targets[uint16(i)+le.Uint16(target)]
		i += n + 3
		if i-int(*seen) <= apart {
			likely = i
		}
		*seen = int32(i)
		i++
	}
}
