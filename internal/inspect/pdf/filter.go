package pdf

import (
	"bufio"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// Bounds of filters.
const (
	maxFilters = 16
	maxRow     = 1 << 20 // bytes of a row of a predictor
)

// ErrDamaged is a stream that cannot be decoded to its end.
var ErrDamaged = errors.New("the stream is damaged")

// filters puts the decoders of a stream one behind the other. A filter that makes an image of bytes ends them: what it would decode is a file.
func (f *File) filters(r io.Reader, d Dict) (io.Reader, error) {
	names := f.list(first(f.Resolve(d.Get("Filter")), f.Resolve(d.Get("F"))))
	params := f.list(first(f.Resolve(d.Get("DecodeParms")), f.Resolve(d.Get("DP"))))
	if len(names) > maxFilters {
		return nil, fmt.Errorf("%d filters are on a stream, one on the other", len(names))
	}
	for i, v := range names {
		name, _ := f.Resolve(v).(Name)
		var p Dict
		if i < len(params) {
			p, _ = f.Resolve(params[i]).(Dict)
		}
		switch name {
		case "FlateDecode", "Fl":
			r = f.predictor(&inflater{r: bufio.NewReaderSize(r, 16<<10)}, p)
		case "LZWDecode", "LZW":
			early := f.number(p, "EarlyChange", 1)
			r = f.predictor(&lzwReader{r: bufio.NewReaderSize(r, 16<<10), early: int(min(max(early, 0), 1))}, p)
		case "ASCIIHexDecode", "AHx":
			r = &hexReader{r: bufio.NewReaderSize(r, 16<<10)}
		case "ASCII85Decode", "A85":
			r = &ascii85Reader{r: bufio.NewReaderSize(r, 16<<10)}
		case "RunLengthDecode", "RL":
			r = &runReader{r: bufio.NewReaderSize(r, 16<<10)}
		case "Crypt": // done already, by Open
		case "DCTDecode", "DCT", "JPXDecode", "JBIG2Decode", "CCITTFaxDecode", "CCF":
			return r, nil
		default:
			return nil, fmt.Errorf("filter %.40q is not known", string(name))
		}
	}
	return r, nil
}

func first(a, b any) any {
	if a != nil {
		return a
	}
	if _, ok := b.(Dict); ok { // F of a stream that lies in another file
		return nil
	}
	return b
}

// list is an array, or one value as an array of it.
func (f *File) list(v any) Array {
	switch v := v.(type) {
	case nil:
		return nil
	case Array:
		return v
	}
	return Array{v}
}

func (f *File) number(d Dict, key Name, otherwise int64) int64 {
	if n, ok := f.Resolve(d.Get(key)).(int64); ok {
		return n
	}
	return otherwise
}

// inflater is lenient as readers of PDF are: a wrong checksum is not looked at, and what stands before damage is given.
type inflater struct {
	r *bufio.Reader
	z io.ReadCloser
	n int64
}

func (i *inflater) Read(p []byte) (int, error) {
	if i.z == nil {
		if h, err := i.r.Peek(2); err == nil && h[0]&15 == 8 && (uint(h[0])<<8|uint(h[1]))%31 == 0 {
			i.r.Discard(2)
		} else if err != nil {
			return 0, io.EOF
		}
		i.z = flate.NewReader(i.r)
	}
	n, err := i.z.Read(p)
	i.n += int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w after %d bytes inflated", ErrDamaged, i.n)
	}
	return n, err
}

// lzwReader decodes LZW of codes of 9 to 12 bits, the first bit the highest.
type lzwReader struct {
	r      *bufio.Reader
	early  int // codes by which the width grows early
	begun  bool
	bits   uint32
	have   uint
	width  uint
	last   int // code before; -1 behind a clearing
	next   int
	prefix [4096]uint16
	suffix [4096]byte
	stack  [4097]byte
	out    []byte // of the stack
	err    error
}

func (l *lzwReader) clear() { l.width, l.next, l.last = 9, 258, -1 }

func (l *lzwReader) Read(p []byte) (int, error) {
	if !l.begun {
		l.clear()
		l.begun = true
	}
	n := 0
	for n < len(p) {
		if len(l.out) > 0 {
			k := copy(p[n:], l.out)
			l.out, n = l.out[k:], n+k
			continue
		}
		if l.err != nil {
			break
		}
		l.err = l.code()
	}
	if n > 0 {
		return n, nil
	}
	return 0, l.err
}

// code decodes one code onto the stack.
func (l *lzwReader) code() error {
	for l.have < l.width {
		b, err := l.r.ReadByte()
		if err != nil {
			return err // the end without its code is usual
		}
		l.bits, l.have = l.bits<<8|uint32(b), l.have+8
	}
	l.have -= l.width
	code := int(l.bits>>l.have) & (1<<l.width - 1)
	switch {
	case code == 256:
		l.clear()
		return nil
	case code == 257:
		return io.EOF
	case code > l.next || code == l.next && l.last < 0 || code >= 4096:
		return fmt.Errorf("%w: a code of LZW that is not yet defined", ErrDamaged)
	}
	at := len(l.stack)
	c := code
	if code >= l.next { // the one that is being defined: the last and its own first byte
		at--
		c = l.last
	}
	for c >= 258 {
		at--
		l.stack[at] = l.suffix[c]
		c = int(l.prefix[c])
	}
	at--
	l.stack[at] = byte(c)
	if code >= l.next {
		l.stack[len(l.stack)-1] = byte(c)
	}
	if l.last >= 0 && l.next < 4096 {
		l.prefix[l.next], l.suffix[l.next] = uint16(l.last), byte(c)
		l.next++
	}
	if l.next+l.early >= 1<<l.width && l.width < 12 {
		l.width++
	}
	l.last = code
	l.out = l.stack[at:]
	return nil
}

// hexReader decodes digits up to '>'.
type hexReader struct {
	r    *bufio.Reader
	done bool
}

func (h *hexReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !h.done {
		high, half := byte(0), false
		for !h.done {
			b, err := h.r.ReadByte()
			if err == io.EOF || err == nil && b == '>' {
				h.done = true
				break
			}
			if err != nil {
				return n, err
			}
			d, ok := digit(b)
			if !ok {
				continue
			}
			if half {
				p[n] = high<<4 | d
				n++
				half = false
				break
			}
			high, half = d, true
		}
		if half {
			p[n] = high << 4
			n++
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ascii85Reader decodes groups of five up to '~'.
type ascii85Reader struct {
	r    *bufio.Reader
	buf  [4]byte
	out  []byte
	done bool
}

func (a *ascii85Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(a.out) > 0 {
			k := copy(p[n:], a.out)
			a.out, n = a.out[k:], n+k
			continue
		}
		if a.done {
			break
		}
		if err := a.group(); err != nil {
			return n, err
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (a *ascii85Reader) group() error {
	v, k := uint32(0), 0
	for k < 5 {
		b, err := a.r.ReadByte()
		switch {
		case err == io.EOF || err == nil && b == '~':
			a.done = true
		case err != nil:
			return err
		case b == 'z' && k == 0:
			a.buf = [4]byte{}
			a.out = a.buf[:]
			return nil
		case b >= '!' && b <= 'u':
			v = v*85 + uint32(b-'!')
			k++
			continue
		default:
			continue
		}
		break
	}
	if k < 2 {
		return nil
	}
	for range 5 - k {
		v = v*85 + 84
	}
	a.buf = [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	a.out = a.buf[:k-1]
	return nil
}

// runReader decodes runs: a count of bytes that follow, or of how often the next one is repeated.
type runReader struct {
	r      *bufio.Reader
	left   int
	repeat bool
	b      byte
	done   bool
}

func (r *runReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.left == 0 {
			if r.done {
				break
			}
			c, err := r.r.ReadByte()
			if err == nil && c == 128 {
				r.done = true
				break
			}
			if err == nil {
				if r.left, r.repeat = int(c)+1, c > 128; r.repeat {
					r.left = 257 - int(c)
					r.b, err = r.r.ReadByte()
				}
			}
			if err != nil {
				r.left = 0
				if n > 0 {
					return n, nil
				}
				return 0, err
			}
		}
		b := r.b
		if !r.repeat {
			var err error
			if b, err = r.r.ReadByte(); err != nil {
				r.left = 0
				return n, err
			}
		}
		p[n] = b
		n++
		r.left--
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// predictor undoes what was done to rows before they were packed.
func (f *File) predictor(r io.Reader, d Dict) io.Reader {
	kind := f.number(d, "Predictor", 1)
	if kind < 2 {
		return r
	}
	colors, bits, columns := f.number(d, "Colors", 1), f.number(d, "BitsPerComponent", 8), f.number(d, "Columns", 1)
	if colors < 1 || colors > 64 || bits < 1 || bits > 16 || columns < 1 || columns > maxRow {
		return failing{fmt.Errorf("rows of %d columns of %d times %d bits", columns, colors, bits)}
	}
	row := (colors*bits*columns + 7) / 8
	if row > maxRow {
		return failing{fmt.Errorf("rows of %d bytes", row)}
	}
	return &rowReader{r: bufio.NewReaderSize(r, 4<<10), png: kind >= 10, pixel: int(colors*bits+7) / 8, row: make([]byte, row), bits: int(bits)}
}

// failing fails at once.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type rowReader struct {
	r     *bufio.Reader
	png   bool
	pixel int
	bits  int
	row   []byte // holds the row above until the next is read
	out   []byte
}

func (r *rowReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.out) == 0 {
		kind := byte(0)
		if r.png {
			var err error
			if kind, err = r.r.ReadByte(); err != nil {
				return 0, err
			}
		}
		n, err := r.next(kind)
		if n == 0 {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
		r.out = r.row[:n]
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// next reads a row over the one above, byte by byte: left and upper left are still needed of the old one.
func (r *rowReader) next(kind byte) (int, error) {
	var corner [128]byte // of the pixel before, above: at most 64 colours of 16 bits
	for i := range r.row {
		b, err := r.r.ReadByte()
		if err != nil {
			return i, err
		}
		var left, up, diagonal byte
		if i >= r.pixel {
			left, diagonal = r.row[i-r.pixel], corner[i%r.pixel]
		}
		up = r.row[i]
		if !r.png {
			if r.bits == 8 {
				b += left
			}
			r.row[i] = b
			continue
		}
		switch kind {
		case 1:
			b += left
		case 2:
			b += up
		case 3:
			b += byte((int(left) + int(up)) / 2)
		case 4:
			b += paeth(left, up, diagonal)
		}
		corner[i%r.pixel] = up
		r.row[i] = b
	}
	return len(r.row), nil
}

func paeth(a, b, c byte) byte {
	pa, pb := int(b)-int(c), int(a)-int(c)
	pc := pa + pb
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	switch {
	case pa <= pb && pa <= pc:
		return a
	case pb <= pc:
		return b
	}
	return c
}
