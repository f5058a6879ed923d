package kv

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

const (
	sketchExact     = 64 // up to so many distinct elements are kept one by one
	sketchPrecision = 11 // then 2^11 registers: a standard error of 2.3 %
	sketchRegisters = 1 << sketchPrecision
)

// Sketch counts distinct elements of a set and merges: exact to 64, then a HyperLogLog of 2,048 registers.
// Its state, and so its bytes, depend on the set alone, not on the order in which it came together.
// The zero Sketch is the empty set.
type Sketch struct {
	exact []uint64 // sorted hashes, while registers is nil
	regs  []byte   // sketchRegisters of them, or nil
}

// Add puts an element in the set, by a 64-bit hash of it that is uniform over all bits.
func (s *Sketch) Add(hash uint64) {
	if s.regs != nil {
		s.setRegister(hash)
		return
	}
	i, found := slices.BinarySearch(s.exact, hash)
	if found {
		return
	}
	if len(s.exact) < sketchExact {
		s.exact = slices.Insert(s.exact, i, hash)
		return
	}
	s.spill()
	s.setRegister(hash)
}

func (s *Sketch) spill() {
	s.regs = make([]byte, sketchRegisters)
	for _, h := range s.exact {
		s.setRegister(h)
	}
	s.exact = nil
}

func (s *Sketch) setRegister(hash uint64) {
	i := hash >> (64 - sketchPrecision)
	rank := byte(bits.LeadingZeros64(hash<<sketchPrecision|1<<(sketchPrecision-1)) + 1)
	s.regs[i] = max(s.regs[i], rank)
}

// Merge unites o into s and keeps no reference to o's memory.
func (s *Sketch) Merge(o *Sketch) {
	switch {
	case o.regs != nil:
		if s.regs == nil {
			s.spill()
		}
		for i, r := range o.regs {
			s.regs[i] = max(s.regs[i], r)
		}
	case len(s.exact) == 0 && s.regs == nil:
		s.exact = append(s.exact, o.exact...)
	default:
		for _, h := range o.exact {
			s.Add(h)
		}
	}
}

// Count returns the number of distinct elements, exact up to 64.
func (s *Sketch) Count() uint64 {
	if s.regs == nil {
		return uint64(len(s.exact))
	}
	sum, zeros := 0.0, 0
	for _, r := range s.regs {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	const m = float64(sketchRegisters)
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && zeros > 0 {
		estimate = m * math.Log(m/float64(zeros)) // linear counting, better while many registers are empty
	}
	return uint64(estimate + 0.5)
}

func (s *Sketch) empty() bool { return s.regs == nil && len(s.exact) == 0 }
func (s *Sketch) reset()      { s.exact, s.regs = s.exact[:0], nil }

// append writes n (1 to 64) and n hashes, or 0 and the registers.
func (s *Sketch) append(dst []byte) []byte {
	if s.regs != nil {
		return append(append(dst, 0), s.regs...)
	}
	dst = append(dst, byte(len(s.exact)))
	for _, h := range s.exact {
		dst = binary.BigEndian.AppendUint64(dst, h)
	}
	return dst
}

func (s *Sketch) decode(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	n := int(b[0])
	b = b[1:]
	if n == 0 {
		if len(b) < sketchRegisters {
			return nil, false
		}
		s.regs = append([]byte(nil), b[:sketchRegisters]...)
		s.exact = nil
		return b[sketchRegisters:], true
	}
	if n > sketchExact || len(b) < 8*n {
		return nil, false
	}
	for range n {
		s.exact = append(s.exact, binary.BigEndian.Uint64(b))
		b = b[8:]
	}
	return b, true
}
