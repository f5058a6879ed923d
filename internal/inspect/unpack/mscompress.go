package unpack

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// readMSCompress tells the one file in what COMPRESS.EXE of MS-DOS and Windows made: SZDD, that of QBasic, or KWAJ.
func readMSCompress(c *container) error {
	h, err := c.readAt(0, 12)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case string(h[:8]) == "SZDD\x88\xf0\x27\x33":
		b, err := c.readAt(10, 4)
		if err != nil {
			return err
		}
		if h[8] != 'A' {
			return fmt.Errorf("mode %q is not known", h[8])
		}
		size := int64(le.Uint32(b))
		return c.tell(Member{Size: size, Reader: &zipChecker{r: newLZSS(buffered(c.section(14, c.size)), -1, lzssWindow-16), size: size, noCRC: true}})
	case string(h[:8]) == "SZ \x88\xf0\x27\x33\xd1":
		size := int64(le.Uint32(h[8:]))
		return c.tell(Member{Size: size, Reader: &zipChecker{r: newLZSS(buffered(c.section(12, c.size)), -1, lzssWindow-18), size: size, noCRC: true}})
	case string(h[:8]) == "KWAJ\x88\xf0\x27\xd1":
		return c.kwaj()
	}
	return errors.New("it does not begin as it should")
}

// kwaj reads the header and what it says follows it.
func (c *container) kwaj() error {
	h, err := c.readAt(8, 6)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	method, data, flags := le.Uint16(h), int64(le.Uint16(h[2:])), le.Uint16(h[4:])
	m := Member{Size: -1}
	at := int64(14)
	var name string
	for bit := range 6 {
		if flags>>bit&1 == 0 {
			continue
		}
		switch bit {
		case 0:
			b, err := c.readAt(at, 4)
			if err != nil {
				return err
			}
			m.Size = int64(le.Uint32(b))
			at += 4
		case 1:
			at += 2
		case 2, 5:
			b, err := c.readAt(at, 2)
			if err != nil {
				return err
			}
			at += 2 + int64(le.Uint16(b))
		case 3, 4:
			most := 9 - 5*(bit-3) // with the zero
			b, err := c.readAt(at, int(min(int64(most), max(c.size-at, 0))))
			if err != nil {
				return err
			}
			part, _, ended := bytes.Cut(b, []byte{0})
			if at += int64(len(part)); ended {
				at++
			}
			if bit == 4 {
				name += "."
			}
			name += localName(part)
		}
	}
	m.Path = cleanPath(name)
	in := buffered(c.section(data, c.size))
	switch method {
	case 0, 1:
		m.Reader = in
		if method == 1 {
			m.Reader = inverted{in}
		}
		if m.Size >= 0 {
			m.Reader = &exactReader{r: m.Reader, left: m.Size}
		}
	case 2:
		m.Reader = newLZSS(in, m.Size, lzssWindow-18)
	case 3:
		m.Reader = newKWAJ(in, m.Size)
	case 4:
		m.Reader = &msZip{in: in}
		if m.Size >= 0 {
			m.Reader = &exactReader{r: m.Reader, left: m.Size}
		}
	default:
		m.Err = fmt.Errorf("method %d is not known", method)
	}
	return c.tell(m)
}

type inverted struct{ r io.Reader }

func (i inverted) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	for j := range p[:n] {
		p[j] ^= 0xff
	}
	return n, err
}

// msZip reads blocks of deflate, each with the output before it as its dictionary.
type msZip struct {
	in     *bufio.Reader
	window []byte
	out    []byte // not yet taken
	err    error
}

func (m *msZip) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.err == nil {
			m.err = m.block()
		}
		if m.err != nil {
			return 0, m.err
		}
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

func (m *msZip) block() error {
	var h [2]byte
	if _, err := io.ReadFull(m.in, h[:]); err != nil {
		return errCut
	}
	n := int64(binary.LittleEndian.Uint16(h[:]))
	if n == 0 {
		return io.EOF
	}
	b, err := readSome(m.in, n, 1<<16)
	if err != nil {
		return err
	}
	if len(b) < 2 || b[0] != 'C' || b[1] != 'K' {
		return errors.New("a block of MSZIP does not begin as it should")
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(b[2:]), m.window), cabWindow+1))
	if err != nil {
		return err
	}
	if len(out) > cabWindow {
		return errors.New("a block is too large")
	}
	m.window = append(m.window, out...)
	m.window = m.window[max(0, len(m.window)-cabWindow):]
	m.out = out
	return nil
}

// kwajDecoder undoes KWAJ's method 3: runs of literals and matches in five prefix codes.
type kwajDecoder struct {
	lhReader
	matches, after, runs, distances, literals highCode // after a run of literals, matches have a code of their own
	open                                      bool     // it goes on up to the input's end
	ran, begun                                bool
	run                                       int // literals to come
}

func newKWAJ(in *bufio.Reader, size int64) io.Reader {
	d := &kwajDecoder{open: size < 0}
	d.r, d.left, d.buf, d.blank = in, size, make([]byte, 4<<10), ' '
	if d.open {
		d.left = math.MaxInt64
	}
	d.step = d.one
	return d
}

func (d *kwajDecoder) one() error {
	if !d.begun {
		d.begun = true
		kinds := d.read(24)
		for i, code := range []*highCode{&d.matches, &d.after, &d.runs, &d.distances, &d.literals} {
			if err := d.lengths(code, []int{16, 16, 32, 64, 256}[i], kinds>>(20-4*i)&15); err != nil {
				return err
			}
		}
	}
	symbol, err := 0, error(nil)
	if d.run > 0 {
		d.run--
		if symbol = d.literals.decode(&d.highReader); symbol >= 0 && d.err == nil {
			d.emit(byte(symbol))
		}
	} else {
		code := &d.matches
		if d.ran {
			code = &d.after
		}
		if symbol = code.decode(&d.highReader); symbol > 0 {
			high := d.distances.decode(&d.highReader)
			low := d.read(6)
			if d.distance = high<<6 | int(low); d.distance == 0 {
				d.distance = len(d.buf)
			}
			if high < 0 {
				symbol = -1
			} else if d.err == nil {
				d.length, d.ran = symbol+2, false
			}
		} else if symbol == 0 {
			if symbol = d.runs.decode(&d.highReader); symbol >= 0 {
				d.run = symbol + 1
				d.ran = d.ran || symbol != 31
			}
		}
	}
	if symbol < 0 {
		err = errCode
	}
	if d.open && (d.err == errCut || symbol < 0 && d.have <= d.zeros+7) {
		d.err, d.left, d.length = nil, 0, 0 // the last bits fill a byte
		return nil
	}
	return err
}

// lengths reads a code of n symbols.
func (d *kwajDecoder) lengths(code *highCode, n int, kind uint32) error {
	lengths := make([]byte, n)
	for i := range lengths {
		last := uint32(0)
		if i > 0 {
			last = uint32(lengths[i-1])
		}
		switch {
		case kind == 0:
			for 1<<lengths[i] < n {
				lengths[i]++
			}
			continue
		case kind > 3:
			return errCode
		case kind == 3 || i == 0:
			last = d.read(4)
		case kind == 1:
			if d.read(1) == 1 {
				if last++; d.read(1) == 1 {
					last = d.read(4)
				}
			}
		case kind == 2:
			if by := d.read(2); by == 3 {
				last = d.read(4)
			} else {
				last += by - 1
			}
		}
		if last > 16 {
			return errCode
		}
		lengths[i] = byte(last)
	}
	return code.set(lengths)
}
