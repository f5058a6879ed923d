package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// An LHA archive is headers of one of four levels, each followed by its member's data.

const lzhMaxHeader = 64 << 10

// lzhHeader is what a header says of its member.
type lzhHeader struct {
	method       string // "lh5"
	packed, size int64
	crc          uint16
	name, folder string
	data         int64 // where its bytes are
}

// readLZH tells the members.
func readLZH(c *container) error {
	for at := int64(0); at < c.size; {
		if b, err := c.readAt(at, 1); err != nil || b[0] == 0 {
			return err
		}
		h, err := c.lzhHeader(at)
		if err != nil {
			return fmt.Errorf("the header at %d: %w", at, err)
		}
		at = h.data + h.packed
		if h.method == "lhd" {
			if h.packed == 0 { // a directory, or a link
				continue
			}
			h.method, h.size = "lh0", h.packed // data that hide
		}
		name := h.name
		if h.folder != "" {
			name = strings.TrimRight(h.folder, "/") + "/" + h.name
		}
		m := c.named(name)
		m.Size = h.size
		if !lzhKnown(h.method) {
			m.Err = fmt.Errorf("method %q is not read", h.method)
		} else {
			m.Reader = &lazyReader{open: func() (io.Reader, error) {
				r := lzhContent(h.method, c.section(h.data, h.packed), h.size)
				return &lzhChecker{r: r, left: h.size, want: h.crc}, nil
			}}
		}
		if err := c.tell(m); err != nil {
			return err
		}
		if at > c.size {
			return errCut
		}
	}
	return nil
}

func lzhKnown(method string) bool {
	switch method {
	case "lh0", "lz4", "pm0", "lh1", "lh4", "lh5", "lh6", "lh7", "lhx", "lzs", "lz5":
		return true
	}
	return false
}

// lzhContent undoes a method.
func lzhContent(method string, packed io.Reader, size int64) io.Reader {
	in := buffered(packed)
	switch method {
	case "lh1":
		return newLH1(in, size)
	case "lh4":
		return newLH(in, size, 12, 14, 4)
	case "lh5":
		return newLH(in, size, 13, 14, 4)
	case "lh6":
		return newLH(in, size, 15, 16, 5)
	case "lh7":
		return newLH(in, size, 16, 17, 5)
	case "lhx":
		return newLH(in, size, 20, 20, 5)
	case "lzs":
		return newLZS(in, size)
	case "lz5":
		return newLZ5(in, size)
	}
	return &exactReader{r: in, left: size}
}

// lzhHeader reads the header at an offset.
func (c *container) lzhHeader(at int64) (*lzhHeader, error) {
	b, err := c.readAt(at, int(min(lzhMaxHeader, c.size-at)))
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if len(b) < 24 || b[2] != '-' || b[6] != '-' {
		return nil, errors.New("it does not begin as it should")
	}
	level := b[20]
	h := &lzhHeader{method: string(b[3:6]), packed: int64(le.Uint32(b[7:])), size: int64(le.Uint32(b[11:]))}
	var extra int // bytes of extended headers' own length
	var next int  // the length of the first
	end := 0      // of the part that is always there
	wide := false // lengths have four bytes
	switch level {
	case 0, 1:
		end = int(b[0]) + 2
		if end > len(b) || end < 24 {
			return nil, errCut
		}
		var sum byte
		for _, c := range b[2:end] {
			sum += c
		}
		if sum != b[1] {
			return nil, errChecksum
		}
		n := int(b[21])
		if 22+n+2 > end {
			return nil, errors.New("the name is longer than the header")
		}
		h.name = lzhName(b[22 : 22+n])
		h.crc = le.Uint16(b[22+n:])
		if level == 1 {
			if 22+n+5 > end {
				return nil, errCut
			}
			next = int(le.Uint16(b[end-2:]))
		}
	case 2:
		end = 26
		if len(b) < end {
			return nil, errCut
		}
		h.crc, next = le.Uint16(b[21:]), int(le.Uint16(b[24:]))
	case 3:
		end, wide = 32, true
		if len(b) < end || le.Uint16(b) != 4 {
			return nil, errCut
		}
		h.crc, next = le.Uint16(b[21:]), int(le.Uint32(b[28:]))
	default:
		return nil, fmt.Errorf("level %d is not known", level)
	}
	length := 2
	if wide {
		length = 4
	}
	rest := b[end:]
	for next > 0 {
		if next <= length || next > len(rest) {
			return nil, errors.New("an extended header is longer than there are bytes")
		}
		h.extended(rest[0], rest[1:next-length])
		extra += next
		tail := rest[next-length : next]
		rest = rest[next:]
		if next = int(le.Uint16(tail)); wide {
			next = int(le.Uint32(tail))
		}
	}
	h.data = at + int64(end+extra)
	switch level {
	case 1:
		h.packed -= int64(extra)
	case 2:
		h.data = max(h.data, at+int64(le.Uint16(b)))
	case 3:
		h.data = max(h.data, at+int64(le.Uint32(b[24:])))
	}
	if h.packed < 0 || h.size < 0 || h.data > c.size {
		return nil, errCut
	}
	return h, nil
}

// extended reads an extended header.
func (h *lzhHeader) extended(kind byte, b []byte) {
	switch kind {
	case 0x01:
		h.name = lzhName(b)
	case 0x02:
		h.folder = lzhName(b)
	case 0x42:
		if len(b) >= 16 {
			h.packed, h.size = int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
		}
	case 0x44, 0x45:
		units := make([]uint16, len(b)/2)
		for i := range units {
			if units[i] = binary.LittleEndian.Uint16(b[2*i:]); units[i] == 0xffff {
				units[i] = '/'
			}
		}
		if name := string(utf16.Decode(units)); kind == 0x44 {
			h.name = name
		} else {
			h.folder = name
		}
	}
}

// lzhName decodes a name, in which 0xff separates folders. What follows a zero is the comment of an Amiga.
func lzhName(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	parts := bytes.Split(b, []byte{0xff})
	names := make([]string, len(parts))
	for i, part := range parts {
		names[i] = localName(part)
	}
	return strings.Join(names, "/")
}

// lzhChecker compares what was read with the header's checksum, CRC-16 of the polynomial 0xa001.
type lzhChecker struct {
	r    io.Reader
	left int64
	crc  uint16
	want uint16
}

func (l *lzhChecker) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for _, b := range p[:n] {
		l.crc = l.crc>>8 ^ crc16Table[byte(l.crc)^b]
	}
	l.left -= int64(n)
	if err == io.EOF {
		switch {
		case l.left > 0:
			return n, errCut
		case l.crc != l.want:
			return n, errChecksum
		}
	}
	return n, err
}

var crc16Table = func() (t [256]uint16) {
	for i := range t {
		v := uint16(i)
		for range 8 {
			if v&1 != 0 {
				v = v>>1 ^ 0xa001
			} else {
				v >>= 1
			}
		}
		t[i] = v
	}
	return t
}()
