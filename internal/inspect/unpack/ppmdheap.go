package unpack

import "encoding/binary"

// The memory of PPMd of variant I. When it is used up, and where what is freed lies then, follows from every block that was given and taken back, so
// addresses and lists are kept here as the encoder keeps them. The text is below, and grows up to where the units begin. A unit has 12 bytes: it is
// a context, two symbols, or the head of a free block. Blocks are taken from the left end of a gap, contexts from its right end, and when there is
// neither gap nor free block, units are taken from what the text has not reached.

const (
	ppmdUnits   = 1 << 31 // addresses from here on are of units, in halves of them; those before are places in the text, and 0 is none
	ppmdPage    = 1 << 12 // units that are allocated at once
	ppmdFree    = 1<<32 - 1
	ppmdMost    = 128 // units of a block
	ppmdGlueing = 1 << 13
	ppmdNear    = 1 << 14 // bytes behind the text: what lies there is moved away when the tree is cut
)

// ppmdSymbol is what a context knows of a symbol that followed it: the symbol, its frequency, and what comes next. That is the address of the
// context of both, or so far only a place in the text.
type ppmdSymbol [6]byte

func (s *ppmdSymbol) next() uint32     { return binary.LittleEndian.Uint32(s[2:]) }
func (s *ppmdSymbol) setNext(a uint32) { binary.LittleEndian.PutUint32(s[2:], a) }

// ppmdUnit is a context: the number of its symbols less one, flags, the sum of their frequencies and that of something else, where the symbols are,
// and the context that is shorter by a byte. A context's only symbol is kept in place of the sum and of where it is.
type ppmdUnit [12]byte

func (u *ppmdUnit) sum() int             { return int(binary.LittleEndian.Uint16(u[2:])) }
func (u *ppmdUnit) setSum(n int)         { binary.LittleEndian.PutUint16(u[2:], uint16(n)) }
func (u *ppmdUnit) symbols() uint32      { return binary.LittleEndian.Uint32(u[4:]) }
func (u *ppmdUnit) setSymbols(a uint32)  { binary.LittleEndian.PutUint32(u[4:], a) }
func (u *ppmdUnit) suffix() uint32       { return binary.LittleEndian.Uint32(u[8:]) }
func (u *ppmdUnit) setSuffix(a uint32)   { binary.LittleEndian.PutUint32(u[8:], a) }
func (u *ppmdUnit) only() *ppmdSymbol    { return (*ppmdSymbol)(u[2:8]) }
func (u *ppmdUnit) stamp() uint32        { return binary.LittleEndian.Uint32(u[:]) } // of a free block: ppmdFree, the next in its list, its units
func (u *ppmdUnit) setStamp(n uint32)    { binary.LittleEndian.PutUint32(u[:], n) }
func (u *ppmdUnit) nextFree() uint32     { return binary.LittleEndian.Uint32(u[4:]) }
func (u *ppmdUnit) setNextFree(a uint32) { binary.LittleEndian.PutUint32(u[4:], a) }
func (u *ppmdUnit) units() uint32        { return binary.LittleEndian.Uint32(u[8:]) }
func (u *ppmdUnit) setUnits(n uint32)    { binary.LittleEndian.PutUint32(u[8:], n) }

type ppmdHeap struct {
	memory    int64 // bytes of the encoder
	limit     int64 // bytes that may be allocated here
	allocated int64
	pages     []*[ppmdPage]ppmdUnit
	blank     *[ppmdPage]ppmdUnit // in place of those that nothing was taken of
	text      []byte              // what was read since the model began or was cut
	length    int                 // of the text; what is behind was read before
	start     uint32              // where units begin
	low, high uint32              // the gap
	lists     [ppmdIndexes]uint32 // of free blocks of each size
	counts    [ppmdIndexes]int    // of blocks in each
	glue      int                 // times that no block was found until free ones are glued
	err       error
}

// reset frees all. What was allocated is used again.
func (h *ppmdHeap) reset() {
	units := uint32(h.memory / 12)
	if h.pages == nil {
		h.blank = new([ppmdPage]ppmdUnit)
		h.pages = make([]*[ppmdPage]ppmdUnit, units/ppmdPage+1)
		for i := range h.pages {
			h.pages[i] = h.blank
		}
		h.text = make([]byte, 1, 1<<10)
	}
	h.length = 1 // place 0 is none
	h.lists = [ppmdIndexes]uint32{}
	h.counts = [ppmdIndexes]int{}
	h.glue = 0
	h.high = ppmdUnits + 2*units
	h.start = h.high - 2*uint32(h.memory/8/12*7)
	h.low = h.start
}

func (h *ppmdHeap) unit(a uint32) *ppmdUnit {
	if i := (a - ppmdUnits) / (2 * ppmdPage); i < uint32(len(h.pages)) {
		return &h.pages[i][a/2%ppmdPage]
	}
	return &h.blank[0]
}

func (h *ppmdHeap) symbol(a uint32) *ppmdSymbol {
	u := h.unit(a)
	if a&1 == 0 {
		return (*ppmdSymbol)(u[:6])
	}
	return (*ppmdSymbol)(u[6:])
}

// touch allocates what n units are kept in.
func (h *ppmdHeap) touch(a, n uint32) {
	for i := (a - ppmdUnits) / 2 / ppmdPage; i <= ((a-ppmdUnits)/2+n-1)/ppmdPage && i < uint32(len(h.pages)); i++ {
		if h.pages[i] != h.blank {
			continue
		}
		if h.allocated += 12 * ppmdPage; h.allocated+int64(cap(h.text)) > h.limit {
			h.err = errDictionary
			return
		}
		h.pages[i] = new([ppmdPage]ppmdUnit)
	}
}

// write adds to the text. It returns false when that has reached the units.
func (h *ppmdHeap) write(b byte) bool {
	if h.length < len(h.text) {
		h.text[h.length] = b
	} else {
		h.text = append(h.text, b)
		if h.allocated+int64(cap(h.text)) > h.limit {
			h.err = errDictionary
		}
	}
	h.length++
	return h.room() > 0
}

// room is how many bytes the text has up to the units.
func (h *ppmdHeap) room() int64 {
	return h.memory%12 + 6*int64(h.start-ppmdUnits) - int64(h.length-1)
}

// used is how many bytes are not free.
func (h *ppmdHeap) used() int64 {
	n := h.memory - 6*int64(h.high-h.low) - h.room()
	for i, count := range h.counts {
		n -= 12 * int64(count*ppmdTables.units[i])
	}
	return n
}

// put is for a block of the size i.
func (h *ppmdHeap) put(a uint32, i int) {
	u := h.unit(a)
	u.setStamp(ppmdFree)
	u.setNextFree(h.lists[i])
	u.setUnits(uint32(ppmdTables.units[i]))
	h.lists[i] = a
	h.counts[i]++
}

// get takes the first block of a list that is not empty.
func (h *ppmdHeap) get(i int) uint32 {
	a := h.lists[i]
	h.lists[i] = h.unit(a).nextFree()
	h.counts[i]--
	return a
}

// putUnits is for so many units, up to ppmdMost, which may be no block's size: the smaller block of two is the right one.
func (h *ppmdHeap) putUnits(a uint32, n int) {
	i := ppmdTables.index[n]
	if ppmdTables.units[i] != n {
		i--
		rest := n - ppmdTables.units[i]
		h.put(a+2*uint32(n-rest), ppmdTables.index[rest])
	}
	h.put(a, i)
}

// take is a block of the size i, or 0 when there is none left.
func (h *ppmdHeap) take(i int) uint32 {
	if h.lists[i] != 0 {
		return h.get(i)
	}
	if n := uint32(ppmdTables.units[i]); 2*n <= h.high-h.low {
		a := h.low
		h.low += 2 * n
		h.touch(a, n)
		return a
	}
	return h.search(i)
}

// takeContext is a unit from the other end of the gap.
func (h *ppmdHeap) takeContext() uint32 {
	switch {
	case h.high != h.low:
		h.high -= 2
		h.touch(h.high, 1)
		return h.high
	case h.lists[0] != 0:
		return h.get(0)
	}
	return h.search(0)
}

// search splits a larger block, or takes from the text's room.
func (h *ppmdHeap) search(i int) uint32 {
	if h.glue == 0 {
		if h.join(); h.lists[i] != 0 {
			return h.get(i)
		}
	}
	n := ppmdTables.units[i]
	for k := i + 1; k < ppmdIndexes; k++ {
		if h.lists[k] != 0 {
			a := h.get(k)
			h.putUnits(a+2*uint32(n), ppmdTables.units[k]-n)
			return a
		}
	}
	h.glue--
	if h.room() <= 12*int64(n) {
		return 0
	}
	h.start -= 2 * uint32(n)
	h.touch(h.start, uint32(n))
	return h.start
}

// join glues free blocks to those free ones that follow them, in the order of the lists.
func (h *ppmdHeap) join() {
	h.glue = ppmdGlueing
	h.counts = [ppmdIndexes]int{}
	h.guard()
	head, last := uint32(0), uint32(0) // of those that were not glued to another
	steps := h.memory / 6              // there are not more blocks than units, and each is met in its list once and glued once
	for i := range h.lists {
		a := h.lists[i]
		h.lists[i] = 0
		for ; a != 0; a = h.unit(a).nextFree() {
			if steps--; steps < 0 {
				h.err = errPPMd
				return
			}
			u := h.unit(a)
			if u.units() == 0 {
				continue
			}
			if last == 0 {
				head = a
			} else {
				h.unit(last).setNextFree(a)
			}
			last = a
			for steps > 0 {
				after := h.unit(a + 2*u.units())
				if after.stamp() != ppmdFree || after.units() == 0 {
					break
				}
				u.setUnits(u.units() + after.units())
				after.setUnits(0)
				steps--
			}
		}
	}
	if last != 0 {
		h.unit(last).setNextFree(0)
	}
	for head != 0 {
		a, n := head, h.unit(head).units()
		head = h.unit(head).nextFree()
		if n == 0 { // it was glued to one that came later
			continue
		}
		for ; n > ppmdMost; n -= ppmdMost {
			h.put(a, ppmdIndexes-1)
			a += 2 * ppmdMost
		}
		h.putUnits(a, int(n))
	}
}

// guard has the gap not look as a free block.
func (h *ppmdHeap) guard() {
	if h.low != h.high {
		h.touch(h.low, 1)
		h.unit(h.low).setStamp(0)
	}
}

// move copies so many units.
func (h *ppmdHeap) move(to, from uint32, n int) {
	for range n {
		*h.unit(to) = *h.unit(from)
		to += 2
		from += 2
	}
}

// shrink gives back what a block of old units has more than one of now units. It returns where the block is then.
func (h *ppmdHeap) shrink(a uint32, old, now int) uint32 {
	i, k := ppmdTables.index[old], ppmdTables.index[now]
	if i == k {
		return a
	}
	if h.lists[k] != 0 {
		to := h.get(k)
		h.move(to, a, now)
		h.put(a, i)
		return to
	}
	h.putUnits(a+2*uint32(ppmdTables.units[k]), ppmdTables.units[i]-ppmdTables.units[k])
	return a
}

// putFirst gives back a unit, to the text when it is the first.
func (h *ppmdHeap) putFirst(a uint32) {
	if a != h.start {
		h.put(a, 0)
		return
	}
	h.start += 2
}

// raise moves a block away from the text, if a free one lies higher in memory.
func (h *ppmdHeap) raise(a uint32, n int) uint32 {
	i := ppmdTables.index[n]
	if 6*int64(a)-6*int64(h.start) > ppmdNear || a > h.lists[i] {
		return a
	}
	to := h.get(i)
	h.move(to, a, n)
	if a != h.start {
		h.put(a, i)
	} else {
		h.start += 2 * uint32(ppmdTables.units[i])
	}
	return to
}

// expand gives the text the free blocks that are next to it.
func (h *ppmdHeap) expand() {
	var counts [ppmdIndexes]int
	h.guard()
	for {
		u := h.unit(h.start)
		if u.stamp() != ppmdFree {
			break
		}
		n := u.units()
		if n == 0 || n > ppmdMost {
			h.err = errPPMd
			return
		}
		u.setStamp(0)
		counts[ppmdTables.index[n]]++
		h.start += 2 * n
	}
	steps := h.memory / 12
	for i, count := range counts {
		last := uint32(0) // that stays in the list
		for a := h.lists[i]; count > 0 && a != 0; {
			if steps--; steps < 0 {
				h.err = errPPMd
				return
			}
			u := h.unit(a)
			after := u.nextFree()
			switch {
			case u.stamp() != 0:
				last = a
			case last == 0:
				h.lists[i] = after
			default:
				h.unit(last).setNextFree(after)
			}
			if u.stamp() == 0 {
				h.counts[i]--
				count--
			}
			a = after
		}
	}
}
