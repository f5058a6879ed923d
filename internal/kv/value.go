package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// MaxSources bounds the set of sources of one row: the 16 smallest ids are kept, which merges in any order.
const MaxSources = 16

// Value is what a row holds. The zero Value is the row's mere existence. Times are Unix seconds, 0 unknown.
type Value struct {
	Count   uint64   // adds up
	First   int64    // minimum of those known
	Last    int64    // maximum
	Learned int64    // minimum of those known
	Sources []uint32 // union, sorted, the smallest MaxSources
	Hosts   Sketch   // union
	Text    Text     // last writer
}

// Text is bytes with the time of their writing: the later one wins, among equals the larger one.
type Text struct {
	At   int64
	Data []byte // nil: no text
}

// Merge unites o into v. It keeps no reference to o's memory.
func (v *Value) Merge(o *Value) {
	if v.Count+o.Count < v.Count {
		v.Count = ^uint64(0)
	} else {
		v.Count += o.Count
	}
	v.First = earlier(v.First, o.First)
	v.Last = max(v.Last, o.Last)
	v.Learned = earlier(v.Learned, o.Learned)
	v.Sources = uniteSources(v.Sources, o.Sources)
	v.Hosts.Merge(&o.Hosts)
	if o.Text.Data != nil && (v.Text.Data == nil || o.Text.At > v.Text.At || o.Text.At == v.Text.At && bytes.Compare(o.Text.Data, v.Text.Data) > 0) {
		v.Text.At = o.Text.At
		v.Text.Data = append(make([]byte, 0, len(o.Text.Data)), o.Text.Data...)
	}
}

// Clone returns a deep copy.
func (v *Value) Clone() *Value {
	var c Value
	c.Merge(v)
	return &c
}

func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// uniteSources merges two sorted sets into a. The common case, b within a, allocates nothing.
func uniteSources(a, b []uint32) []uint32 {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return append(make([]uint32, 0, len(b)), b...)
	}
	missing := false
	for _, x := range b {
		if _, ok := slices.BinarySearch(a, x); !ok {
			missing = true
			break
		}
	}
	if !missing {
		return a
	}
	out := make([]uint32, 0, min(len(a)+len(b), MaxSources))
	for len(out) < MaxSources && (len(a) > 0 || len(b) > 0) {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return out
}

// The bits of an encoded value's first byte say which fields follow, in this order.
const (
	hasCount = 1 << iota
	hasTimes
	hasLearned
	hasSources
	hasHosts
	hasText
)

// errCorrupt is what Decode returns for bytes that Append never wrote.
var errCorrupt = errors.New("kv: corrupt value")

// Append appends the value's one encoding to dst. Equal values have equal encodings.
//
//	bits(1) | count uvarint | first varint, last-first uvarint | learned varint | n uvarint, n × source(4) | sketch | text at varint, length uvarint, bytes
func (v *Value) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	var bits byte
	if v.Count > 0 {
		bits |= hasCount
		dst = binary.AppendUvarint(dst, v.Count)
	}
	if v.First != 0 || v.Last != 0 {
		bits |= hasTimes
		dst = binary.AppendVarint(dst, v.First)
		dst = binary.AppendVarint(dst, v.Last-v.First)
	}
	if v.Learned != 0 {
		bits |= hasLearned
		dst = binary.AppendVarint(dst, v.Learned)
	}
	if len(v.Sources) > 0 {
		bits |= hasSources
		dst = binary.AppendUvarint(dst, uint64(len(v.Sources)))
		for _, s := range v.Sources {
			dst = binary.BigEndian.AppendUint32(dst, s)
		}
	}
	if !v.Hosts.empty() {
		bits |= hasHosts
		dst = v.Hosts.append(dst)
	}
	if v.Text.Data != nil {
		bits |= hasText
		dst = binary.AppendVarint(dst, v.Text.At)
		dst = binary.AppendUvarint(dst, uint64(len(v.Text.Data)))
		dst = append(dst, v.Text.Data...)
	}
	dst[at] = bits
	return dst
}

// Decode reads into v what Append wrote, reusing v's memory. v.Text.Data points into b.
// It never allocates more than b's length asks for.
func (v *Value) Decode(b []byte) error {
	rest, err := v.DecodePrefix(b)
	if err == nil && len(rest) > 0 {
		err = errCorrupt
	}
	return err
}

// DecodePrefix is Decode for a value that other bytes follow; it returns those.
func (v *Value) DecodePrefix(b []byte) (rest []byte, err error) {
	sources := v.Sources[:0]
	hosts := v.Hosts
	hosts.reset()
	*v = Value{Sources: sources, Hosts: hosts}
	if len(b) == 0 {
		return nil, errCorrupt
	}
	bits := b[0]
	b = b[1:]
	ok := true
	uvarint := func() uint64 {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			ok = false
			return 0
		}
		b = b[w:]
		return n
	}
	varint := func() int64 {
		n, w := binary.Varint(b)
		if w <= 0 {
			ok = false
			return 0
		}
		b = b[w:]
		return n
	}
	if bits&hasCount != 0 {
		v.Count = uvarint()
	}
	if bits&hasTimes != 0 {
		v.First = varint()
		v.Last = v.First + varint()
	}
	if bits&hasLearned != 0 {
		v.Learned = varint()
	}
	if bits&hasSources != 0 {
		n := uvarint()
		if !ok || n > MaxSources || uint64(len(b)) < 4*n {
			return nil, errCorrupt
		}
		for range n {
			v.Sources = append(v.Sources, binary.BigEndian.Uint32(b))
			b = b[4:]
		}
	}
	if bits&hasHosts != 0 && ok {
		b, ok = v.Hosts.decode(b)
	}
	if bits&hasText != 0 && ok {
		v.Text.At = varint()
		n := uvarint()
		if !ok || n > uint64(len(b)) {
			return nil, errCorrupt
		}
		v.Text.Data = b[:n:n]
		b = b[n:]
	}
	if !ok || bits >= hasText<<1 {
		return nil, errCorrupt
	}
	return b, nil
}
