package unpack

import (
	"bytes"
	"errors"
	"slices"
)

// quantumDecoder undoes Quantum, as cabinets have it: literals and matches in a range coder of 16 bits, with models that adapt. The coder begins
// anew with each block; the models and the window go on.
type quantumDecoder struct {
	highReader
	window          []byte
	pos             int
	total           int64
	low, high, code uint32

	kinds     quantumModel    // what comes: four kinds of literals, matches of 3 bytes, of 4, longer ones
	literals  [4]quantumModel // by their upper two bits
	three     quantumModel    // distances of matches of 3 bytes
	four      quantumModel
	distances quantumModel
	lengths   quantumModel
}

func newQuantum(bits uint) *quantumDecoder {
	d := &quantumDecoder{window: make([]byte, 1<<bits)}
	slots := int(2 * bits)
	d.kinds.start(7)
	for i := range d.literals {
		d.literals[i].start(64)
	}
	d.three.start(min(slots, 24))
	d.four.start(min(slots, 36))
	d.distances.start(slots)
	d.lengths.start(27)
	return d
}

// quantumModel counts symbols. They are kept so that the frequent ones stand first, as a rule.
type quantumModel struct {
	symbols []quantumSymbol
	halve   int // times that the counts are halved before they are sorted again
}

type quantumSymbol struct {
	symbol int
	count  uint32 // of it and of all that stand behind it
}

const quantumMost = 3800 // of a model's counts

func (m *quantumModel) start(n int) {
	m.halve = 4
	m.symbols = make([]quantumSymbol, n+1) // the last is none
	for i := range n {
		m.symbols[i] = quantumSymbol{i, uint32(n - i)}
	}
}

// seen counts the symbol at a place.
func (m *quantumModel) seen(at int) {
	for i := range at + 1 {
		m.symbols[i].count += 8
	}
	if m.symbols[0].count <= quantumMost {
		return
	}
	s := m.symbols
	n := len(s) - 1
	if m.halve--; m.halve > 0 {
		for i := n - 1; i >= 0; i-- {
			s[i].count = max(s[i].count/2, s[i+1].count+1)
		}
		return
	}
	m.halve = 50
	for i := range n {
		s[i].count = (s[i].count - s[i+1].count + 1) / 2
	}
	// The order of equals is that of exchanging each with the first larger one behind it.
	for i := range n {
		for j := i + 1; j < n; j++ {
			if s[i].count < s[j].count {
				s[i], s[j] = s[j], s[i]
			}
		}
	}
	for i := n - 1; i >= 0; i-- {
		s[i].count += s[i+1].count
	}
}

// symbol decodes one by a model.
func (d *quantumDecoder) symbol(m *quantumModel) int {
	all := m.symbols[0].count
	span := d.high - d.low + 1
	at := ((d.code-d.low+1)*all - 1) / span & 0xffff
	i := 0
	for i < len(m.symbols)-2 && m.symbols[i+1].count > at {
		i++
	}
	symbol := m.symbols[i].symbol
	d.high = d.low + m.symbols[i].count*span/all - 1
	d.low += m.symbols[i+1].count * span / all
	m.seen(i)
	for {
		if d.low&0x8000 != d.high&0x8000 {
			if d.low&0x4000 == 0 || d.high&0x4000 != 0 {
				return symbol
			}
			d.code ^= 0x4000
			d.low &= 0x3fff
			d.high |= 0x4000
		}
		d.low = d.low << 1 & 0xffff
		d.high = d.high<<1&0xffff | 1
		d.code = d.code<<1&0xffff | d.read(1)
	}
}

func (d *quantumDecoder) put(b byte) {
	d.window[d.pos] = b
	if d.pos++; d.pos == len(d.window) {
		d.pos = 0
	}
	d.total++
}

// distance reads a distance by a model of slots, two to each bit.
func (d *quantumDecoder) distance(m *quantumModel) int {
	slot := d.symbol(m)
	if slot < 4 {
		return slot + 1
	}
	extra := uint(slot/2 - 1)
	return (2+slot&1)<<extra + int(d.read(extra)) + 1
}

// block decompresses a block.
func (d *quantumDecoder) block(b []byte, unpacked int) ([]byte, error) {
	d.highReader = highReader{r: bytes.NewReader(b)}
	d.low, d.high = 0, 0xffff
	d.code = d.read(16)
	out := make([]byte, 0, unpacked)
	for len(out) < unpacked {
		if d.err != nil {
			return nil, d.err
		}
		if d.low > d.high || d.code < d.low || d.code > d.high {
			return nil, errors.New("the data of Quantum are damaged")
		}
		kind := d.symbol(&d.kinds)
		if kind < 4 {
			c := byte(kind<<6 + d.symbol(&d.literals[kind]))
			d.put(c)
			out = append(out, c)
			continue
		}
		length, distance := kind-1, 0
		switch kind {
		case 4:
			distance = d.distance(&d.three)
		case 5:
			distance = d.distance(&d.four)
		default:
			length = d.length()
			distance = d.distance(&d.distances)
		}
		if int64(distance) > d.total || distance > len(d.window) || length > unpacked-len(out) {
			return nil, errors.New("a match of Quantum goes beyond what there is")
		}
		from := d.pos - distance
		if from < 0 {
			from += len(d.window)
		}
		for range length {
			c := d.window[from]
			if from++; from == len(d.window) {
				from = 0
			}
			d.put(c)
			out = append(out, c)
		}
	}
	return slices.Clip(out), nil
}

// length reads the length of a match of 5 bytes or more.
func (d *quantumDecoder) length() int {
	slot := d.symbol(&d.lengths)
	switch {
	case slot < 6:
		return slot + 5
	case slot == 26:
		return 254 + 5
	}
	extra := uint(slot-2) / 4
	return (4+(slot-2)&3)<<extra - 2 + int(d.read(extra)) + 5
}
