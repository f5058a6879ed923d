// Package pdf reads the objects of a PDF as they stand in the file, those of object streams and of earlier revisions, too. The table of references is
// not followed, for it is damaged or forged in the files that matter; but an object that it has inside of another's stream is one, too.
package pdf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of a file.
const (
	maxObjects      = 1 << 19
	maxPackedInflow = 32 << 20  // bytes of one object stream, unpacked
	maxPackedAll    = 128 << 20 // of all, each time that the file is walked through
	maxHops         = 8         // of references that lead to references
)

// Object is one of a file's objects.
type Object struct {
	Num    uint32
	Gen    uint16
	Value  any  // strings decrypted
	Stream bool // Value is a Dict, and Open gives the bytes behind it

	from, to int64 // of the stream as it lies in the file
}

// place is where an object lies.
type place struct {
	num      uint32
	gen      uint16
	kind     kind
	packed   bool  // in the object stream objects[stream], at the offset at
	stream   int32 // index into places
	at       int64 // behind the keyword obj
	from, to int64 // of the stream
}

type kind uint8

const (
	plain kind = iota
	streamed
	objectStream
	trailer // a dictionary that is no object
)

// File is an open file.
type File struct {
	Encrypted bool
	Password  string // by which it was opened; "" when none is needed

	r              io.ReaderAt
	size           int64
	places         []place
	byNum          []int32 // indices into places, by number and then place in the file
	crypt          *crypt
	locked         error
	faults         []error
	budget         int64  // bytes that may still be read of the file
	inflow         int64  // bytes that object streams may still unpack to, in this walk
	packing        int64  // bytes that may still be read of unpacked object streams
	walker, jumper *lexer // one goes through the file, the other to and fro
	inside         *lexer
	opened         int32 // the object stream that is inside; -1 when none
	opening        bool
	search         []byte // for the end of a stream
	unended        bool   // no stream's end was found from some place on
}

// Why nothing in an encrypted file can be read.
var (
	ErrPassword = errors.New("none of the passwords opens it")
	errTries    = errors.New("it is encrypted, and the passwords were not all tried: that would take too long")
)

// Open finds the objects of the size bytes of r. It fails only when there are none. An encrypted file is opened with the empty password or one of
// passwords, each as long as spend has enough left for what a try costs in rounds of a hash; if none fits, values are given with their strings and
// streams locked.
func Open(r io.ReaderAt, size int64, passwords []string, spend func(rounds int64) bool) (*File, error) {
	f := &File{r: r, size: size, opened: -1, budget: 6*size + 16<<20, inflow: maxPackedAll, packing: 2 * maxPackedAll}
	f.walker, f.jumper = newLexer(r, size, 16<<10, &f.budget), newLexer(r, size, 1<<10, &f.budget)
	if err := f.find(); err != nil {
		return nil, err
	}
	f.unlock(passwords, spend)
	f.unpackAll()
	f.sort()
	f.inflow = maxPackedAll
	return f, nil
}

// Locked is why strings and streams of an encrypted file cannot be read; nil when they can.
func (f *File) Locked() error { return f.locked }

// Faults are what could not be read so far, each once.
func (f *File) Faults() []error { return f.faults }

func (f *File) fault(err error) {
	if len(f.faults) < 16 && !slices.ContainsFunc(f.faults, func(o error) bool { return o.Error() == err.Error() }) {
		f.faults = append(f.faults, err)
	}
}

// mark is what may be the beginning of an object or a trailer.
type mark struct {
	num uint32
	gen uint16
	end bool  // a trailer
	at  int64 // behind the keyword

	from int64 // of an object's number
}

// marks finds every "12 0 obj" and "trailer" in the file, also those in streams, and where the words xref and startxref end.
func (f *File) marks() (marks []mark, tables []int64, err error) {
	const step, longest = 256 << 10, 64
	buf := make([]byte, longest+step)
	var out []mark
	kept := 0 // bytes of the step before, in front
	for off := int64(0); off < f.size; off += step {
		n, err := f.r.ReadAt(buf[kept:kept+int(min(step, f.size-off))], off)
		if n == 0 && err != nil {
			return out, tables, err
		}
		b := buf[:kept+n]
		base := off - int64(kept)
		for i := 0; ; {
			j := bytes.Index(b[i:], []byte("obj"))
			if j < 0 {
				break
			}
			i += j + 3
			if i <= kept { // seen in the step before
				continue
			}
			from := max(0, i-3-60)
			num, gen, front, ok := header(b[from : i-3])
			if !ok {
				continue
			}
			if len(out) >= maxObjects {
				f.fault(fmt.Errorf("more than %d objects", maxObjects))
				return out, tables, nil
			}
			out = append(out, mark{num: num, gen: gen, at: base + int64(i), from: base + int64(from+front)})
		}
		for i := 0; ; {
			j := bytes.Index(b[i:], []byte("trailer"))
			if j < 0 {
				break
			}
			i += j + 7
			if i > kept && len(out) < maxObjects {
				out = append(out, mark{end: true, at: base + int64(i)})
			}
		}
		for i := 0; len(tables) < maxTables; {
			j := bytes.Index(b[i:], []byte("xref"))
			if j < 0 {
				break
			}
			if i += j + 4; i > kept {
				tables = append(tables, base+int64(i))
			}
		}
		kept = min(longest, len(b))
		copy(buf, b[len(b)-kept:])
	}
	slices.SortStableFunc(out, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	return out, tables, nil
}

// header reads the two numbers in front of obj, from behind, and where they begin.
func header(b []byte) (num uint32, gen uint16, from int, ok bool) {
	number := func() (uint64, bool) {
		end := len(b)
		for len(b) > 0 && b[len(b)-1] >= '0' && b[len(b)-1] <= '9' {
			b = b[:len(b)-1]
		}
		v, digits := uint64(0), b[len(b):end]
		if len(digits) == 0 || len(digits) > 10 {
			return 0, false
		}
		for _, d := range digits {
			v = v*10 + uint64(d-'0')
		}
		return v, true
	}
	white := func() bool {
		n := len(b)
		for len(b) > 0 && space(b[len(b)-1]) {
			b = b[:len(b)-1]
		}
		return len(b) < n
	}
	white()
	g, ok := number()
	if !ok || !white() {
		return 0, 0, 0, false
	}
	n, ok := number()
	return uint32(n), uint16(g), len(b), ok && n < 1<<32 && g < 1<<16
}

// find fills places with what lies in the file itself. What lies in a stream is none of its objects, unless the table of references says so.
func (f *File) find() error {
	marks, tables, err := f.marks()
	if len(marks) == 0 {
		if err != nil {
			return err
		}
		return errors.New("it has no object")
	}
	byNum := make([]int32, len(marks))
	for i := range byNum {
		byNum[i] = int32(i)
	}
	slices.SortStableFunc(byNum, func(a, b int32) int { return cmp.Compare(marks[a].num, marks[b].num) })
	f.places = make([]place, 0, len(marks))
	end := int64(0)
	var inside []mark
	for _, m := range marks {
		if m.at <= end { // in a stream
			if !m.end {
				inside = append(inside, m)
			}
			continue
		}
		if f.budget <= 0 {
			f.fault(errBudget)
			break
		}
		var p place
		p, end = f.place(m, marks, byNum)
		f.places = append(f.places, p)
	}
	f.sort()
	// What the tables of references have in streams may be such a table itself.
	for rounds := 0; len(inside) > 0 && rounds < maxHops; rounds++ {
		listed, rest := f.listed(inside, tables)
		if len(listed) == 0 {
			break
		}
		for _, m := range listed {
			if f.budget <= 0 {
				f.fault(errBudget)
				break
			}
			p, _ := f.place(m, marks, byNum)
			f.places = append(f.places, p)
		}
		slices.SortStableFunc(f.places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
		f.sort()
		f.fault(fmt.Errorf("object %d stands in the stream of another, where a table of references has it", listed[0].num))
		inside = rest
	}
	return nil
}

// place reads what stands at a mark, and where what is in it ends.
func (f *File) place(m mark, marks []mark, byNum []int32) (place, int64) {
	l := f.walker
	p := place{num: m.num, gen: m.gen, at: m.at}
	if m.end {
		p.kind = trailer
	}
	v, err := l.object(m.at)
	end := l.at
	if err != nil {
		f.fault(fmt.Errorf("object %d at %d: %w", m.num, m.at, err))
		end = m.at + 1
	}
	if d, ok := v.(Dict); ok && !m.end && err == nil && l.has("stream") {
		p.kind = streamed
		if _, ok := d.Get("First").(int64); ok || f.isType(d, "ObjStm") { // whose type need not be true
			p.kind = objectStream
		}
		if !l.has("\r\n") && !l.has("\n") {
			l.has("\r")
		}
		p.from = l.at
		var ok bool
		if p.to, ok = f.streamEnd(p.from, d, marks, byNum); ok {
			end = p.to // else nothing that follows is hidden by it
		}
	}
	return p, end
}

// isType tells a dictionary by its type, which may be a reference in what wants to hide.
func (f *File) isType(d Dict, name Name) bool {
	n, _ := f.Resolve(d.Get("Type")).(Name)
	return n == name
}

const endStream = "endstream"

// streamEnd is where a stream ends: where its length says if the keyword stands there, else at the next keyword, or else at the file's end, and
// whether it was found.
func (f *File) streamEnd(from int64, d Dict, marks []mark, byNum []int32) (int64, bool) {
	fits := func(n int64) bool {
		if n < 0 || n > f.size-from {
			return false
		}
		var b [len(endStream) + 4]byte
		k, _ := f.r.ReadAt(b[:], from+n)
		f.budget -= 64
		rest := bytes.TrimLeft(b[:k], "\r\n \t")
		return bytes.HasPrefix(rest, []byte(endStream)) || bytes.HasPrefix(rest, []byte("endobj"))
	}
	switch n := d.Get("Length").(type) {
	case int64:
		if fits(n) {
			return from + n, true
		}
	case Ref:
		i, _ := slices.BinarySearchFunc(byNum, n.Num, func(k int32, num uint32) int { return cmp.Compare(marks[k].num, num) })
		for tries := 0; tries < 8 && i+tries < len(byNum) && marks[byNum[i+tries]].num == n.Num; tries++ {
			if v, _ := f.jumper.object(marks[byNum[i+tries]].at); v != nil {
				if n, ok := v.(int64); ok && fits(n) {
					return from + n, true
				}
			}
		}
	}
	const step = 16 << 10
	if f.search == nil {
		f.search = make([]byte, step+len(endStream))
	}
	buf := f.search
	for at := from; at < f.size && f.budget > 0 && !f.unended; at += step {
		n, _ := f.r.ReadAt(buf[:min(int64(len(buf)), f.size-at)], at)
		f.budget -= int64(n)
		if n == 0 {
			break
		}
		if i := bytes.Index(buf[:n], []byte(endStream)); i >= 0 {
			end := at + int64(i)
			var b [2]byte
			k, _ := f.r.ReadAt(b[:min(2, end-from)], end-min(2, end-from))
			switch {
			case bytes.HasSuffix(b[:k], []byte("\r\n")):
				end -= 2
			case k > 0 && (b[k-1] == '\n' || b[k-1] == '\r'):
				end--
			}
			return end, true
		}
	}
	f.unended = true // nor does any stream behind it
	return f.size, false
}

// sort makes the index of places by their numbers.
func (f *File) sort() {
	f.byNum = f.byNum[:0]
	for i := range f.places {
		if f.places[i].kind != trailer {
			f.byNum = append(f.byNum, int32(i))
		}
	}
	slices.SortStableFunc(f.byNum, func(a, b int32) int { return cmp.Compare(f.places[a].num, f.places[b].num) })
}

// unpackAll puts the objects of object streams among the places, behind their streams.
func (f *File) unpackAll() {
	if f.locked != nil || !slices.ContainsFunc(f.places, func(p place) bool { return p.kind == objectStream }) {
		return
	}
	all := make([]place, 0, len(f.places))
	for i := range f.places {
		all = append(all, f.places[i])
		if f.places[i].kind != objectStream {
			continue
		}
		stream := int32(len(all) - 1)
		o, d := f.at(&f.places[i], f.walker)
		b, err := f.packed(o)
		if err != nil {
			f.fault(fmt.Errorf("object stream %d: %w", o.Num, err))
		}
		n, begin := f.number(d, "N", 0), f.number(d, "First", 0)
		l := memoryLexer(b)
		for range n {
			num, err := l.item(0)
			off, err2 := l.item(0)
			k, ok := num.(int64)
			at, ok2 := off.(int64)
			if err != nil || err2 != nil || !ok || !ok2 || l.at > begin {
				break
			}
			if k < 0 || k >= 1<<32 || at < 0 || at > int64(len(b))-begin {
				continue
			}
			if len(all) >= 2*maxObjects {
				f.fault(fmt.Errorf("more than %d objects", 2*maxObjects))
				break
			}
			all = append(all, place{num: uint32(k), packed: true, stream: stream, at: begin + at})
		}
	}
	f.places = all
}

// packed unpacks an object stream. What stands before damage is given with the error.
func (f *File) packed(o Object) ([]byte, error) {
	r, err := f.Open(o)
	if err != nil {
		return nil, err
	}
	most := min(maxPackedInflow, f.inflow)
	b, err := io.ReadAll(io.LimitReader(r, most))
	f.inflow -= int64(len(b))
	if err == nil && int64(len(b)) == most {
		err = fmt.Errorf("only %d bytes of it are looked at", most)
	}
	return b, err
}

// at reads the object of a place by one of the lexers, and its dictionary if it has one.
func (f *File) at(p *place, l *lexer) (Object, Dict) {
	o := Object{Num: p.num, Gen: p.gen, Stream: p.kind == streamed || p.kind == objectStream, from: p.from, to: p.to}
	var err error
	if p.packed {
		if f.opening || f.packing <= 0 { // what an object stream needs to be opened cannot be in one
			return o, nil
		}
		if f.opened != p.stream {
			f.opening = true
			stream, _ := f.at(&f.places[p.stream], l)
			b, _ := f.packed(stream) // its error is told by unpackAll
			f.inside, f.opened, f.opening = memoryLexer(b), p.stream, false
		}
		o.Value, err = f.inside.value(p.at)
		f.packing -= max(f.inside.at-p.at, 0) + 64
	} else {
		o.Value, err = l.object(p.at)
	}
	if err != nil {
		f.fault(fmt.Errorf("object %d: %w", p.num, err))
	}
	d, _ := o.Value.(Dict)
	if f.crypt != nil && !p.packed && p.kind != trailer && !(o.Stream && f.isXRef(d)) {
		o.Value = f.crypt.text(o.Value, p.num, p.gen)
	}
	return o, d
}

func (f *File) isXRef(d Dict) bool { n, _ := d.Get("Type").(Name); return n == "XRef" }

// Each calls yield with every object in the file's order, and with the dictionaries of trailers as objects of number 0, and returns its error.
func (f *File) Each(yield func(Object) error) error {
	f.inflow = maxPackedAll
	for i := range f.places {
		if f.budget <= 0 {
			f.fault(errBudget)
			return nil
		}
		o, _ := f.at(&f.places[i], f.walker)
		if err := yield(o); err != nil {
			return err
		}
	}
	return nil
}

// All calls yield with each object of a number, in the file's order: the last is the one that is meant, others are of earlier revisions.
func (f *File) All(num uint32, yield func(Object) error) error {
	i, _ := slices.BinarySearchFunc(f.byNum, num, func(k int32, num uint32) int { return cmp.Compare(f.places[k].num, num) })
	for ; i < len(f.byNum) && f.places[f.byNum[i]].num == num; i++ {
		if f.budget <= 0 {
			f.fault(errBudget)
			return nil
		}
		o, _ := f.at(&f.places[f.byNum[i]], f.walker)
		if err := yield(o); err != nil {
			return err
		}
	}
	return nil
}

// Resolve follows references to a value.
func (f *File) Resolve(v any) any {
	for range maxHops {
		ref, ok := v.(Ref)
		if !ok {
			return v
		}
		i, _ := slices.BinarySearchFunc(f.byNum, uint64(ref.Num)+1, func(k int32, num uint64) int { return cmp.Compare(uint64(f.places[k].num), num) })
		if i == 0 || f.places[f.byNum[i-1]].num != ref.Num || f.budget <= 0 {
			return nil
		}
		o, _ := f.at(&f.places[f.byNum[i-1]], f.jumper)
		v = o.Value
	}
	return nil
}

// Open gives a stream's bytes, decrypted and decoded. An image stays packed as the file of an image that it is.
func (f *File) Open(o Object) (io.Reader, error) {
	d, ok := o.Value.(Dict)
	if !ok || !o.Stream {
		return nil, errors.New("it is no stream")
	}
	if f.locked != nil {
		return nil, f.locked
	}
	var r io.Reader = io.NewSectionReader(f.r, o.from, max(0, o.to-o.from))
	if f.crypt != nil && !f.isXRef(d) {
		var err error
		if r, err = f.crypt.stream(f, r, d, o.Num, o.Gen); err != nil {
			return nil, err
		}
	}
	return f.filters(r, d)
}

// Text is a string for people as UTF-8.
func Text(s String) string {
	b := []byte(s)
	switch {
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return wide(b[2:], binary.BigEndian)
	case bytes.HasPrefix(b, []byte("\xff\xfe")): // which no specification names, and readers take
		return wide(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return strings.ToValidUTF8(string(b[3:]), "\uFFFD")
	}
	var out strings.Builder
	for _, c := range b {
		switch {
		case c >= 0x18 && c < 0x20:
			out.WriteRune(accents[c-0x18])
		case c >= 0x80 && c <= 0xa0:
			out.WriteRune(signs[c-0x80])
		default:
			out.WriteRune(rune(c))
		}
	}
	return out.String()
}

// What PDFDocEncoding has where Latin-1 has control characters.
var (
	accents = []rune("˘ˇˆ˙˝˛˚˜")
	signs   = []rune("•†‡…—–ƒ⁄‹›−‰„“”‘’‚™ﬁﬂŁŒŠŸŽıłœšž\uFFFD€")
)
