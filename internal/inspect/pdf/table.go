package pdf

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
)

// Bounds of the tables of references.
const (
	maxTables  = 1 << 12 // words xref in a file
	maxEntries = 1 << 21 // of all tables, each time that they are read
	nearby     = 8       // bytes that an object may stand behind the place that a table has for it: white space, as readers take it
)

// listed divides marks into those where a table of references has their object, and the rest. Every table is read, whatever refers to it.
func (f *File) listed(marks []mark, tables []int64) (listed, rest []mark) {
	found := make([]bool, len(marks))
	left := maxEntries
	// Offsets count from the header, which need not be at the beginning.
	head := make([]byte, 1024)
	n, _ := f.r.ReadAt(head[:min(int64(len(head)), f.size)], 0)
	base := int64(max(bytes.Index(head[:n], []byte("%PDF-")), 0))
	take := func(off int64, num uint32, any bool) {
		left--
		for _, off := range []int64{off, off + base} {
			i, _ := slices.BinarySearchFunc(marks, off, func(m mark, off int64) int { return cmp.Compare(m.from, off) })
			if i < len(marks) && marks[i].from-off <= nearby && (any || marks[i].num == num) {
				found[i] = true
			}
		}
	}
	b := bufio.NewReader(nil)
	for _, at := range tables {
		if f.budget <= 0 || left <= 0 {
			break
		}
		b.Reset(io.NewSectionReader(f.r, at, f.size-at))
		f.budget -= 64
		var word [5]byte
		if n, _ := f.r.ReadAt(word[:], max(at-9, 0)); string(word[:n]) == "start" {
			if off, ok := f.tableNumber(b); ok {
				take(off, 0, true)
			}
			continue
		}
		f.table(b, func(num uint32, off int64) bool {
			take(off, num, false)
			return left > 0 && f.budget > 0
		})
	}
	for i := range f.places {
		if p := &f.places[i]; (p.kind == streamed || p.kind == objectStream) && left > 0 && f.budget > 0 {
			if o, d := f.at(p, f.walker); f.isXRef(d) {
				f.tableStream(o, d, func(num uint32, off int64) bool {
					take(off, num, false)
					return left > 0
				})
			}
		}
	}
	for i, m := range marks {
		if found[i] {
			listed = append(listed, m)
		} else {
			rest = append(rest, m)
		}
	}
	return listed, rest
}

// tableWord reads a word of a table, of at most 20 bytes.
func (f *File) tableWord(b *bufio.Reader) string {
	var word []byte
	for len(word) < 20 {
		c, err := b.ReadByte()
		f.budget--
		if err != nil || space(c) && len(word) > 0 || f.budget <= 0 {
			break
		}
		if !space(c) {
			word = append(word, c)
		}
	}
	return string(word)
}

func (f *File) tableNumber(b *bufio.Reader) (int64, bool) {
	n, err := strconv.ParseInt(f.tableWord(b), 10, 64)
	return n, err == nil && n >= 0
}

// table reads a table behind its word, and yields which object begins where, until it returns false.
func (f *File) table(b *bufio.Reader, yield func(num uint32, off int64) bool) {
	for {
		first, ok := f.tableNumber(b)
		count, ok2 := f.tableNumber(b)
		if !ok || !ok2 {
			return
		}
		for k := range count {
			off, ok := f.tableNumber(b)
			_, ok2 := f.tableNumber(b)
			kind := f.tableWord(b)
			if !ok || !ok2 || kind != "n" && kind != "f" {
				return
			}
			if kind == "n" && !yield(uint32(first+k), off) {
				return
			}
		}
	}
}

// tableStream reads a table that is a stream.
func (f *File) tableStream(o Object, d Dict, yield func(num uint32, off int64) bool) {
	var widths [3]int64
	w := f.list(d.Get("W"))
	for i := range widths {
		if i < len(w) {
			widths[i], _ = w[i].(int64)
		}
		if widths[i] < 0 || widths[i] > 8 {
			return
		}
	}
	size := widths[0] + widths[1] + widths[2]
	index := f.list(d.Get("Index"))
	if len(index) == 0 {
		index = Array{int64(0), f.number(d, "Size", 0)}
	}
	r, err := f.Open(o)
	if err != nil || size == 0 {
		return // it is told when it is read as an object
	}
	b := bufio.NewReader(r)
	entry := make([]byte, size)
	for i := 0; i+1 < len(index); i += 2 {
		first, _ := index[i].(int64)
		count, _ := index[i+1].(int64)
		for k := range count {
			if _, err := io.ReadFull(b, entry); err != nil {
				return
			}
			field := func(from, n int64) (v int64) {
				for _, c := range entry[from : from+n] {
					v = v<<8 | int64(c)
				}
				return v
			}
			if kind := field(0, widths[0]); (kind == 1 || widths[0] == 0) && !yield(uint32(first+k), field(widths[0], widths[1])) {
				return
			}
		}
	}
}
