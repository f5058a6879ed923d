package unpack

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// binHexDigits are the 64 characters of BinHex 4.
const binHexDigits = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

var binHexValues = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range binHexDigits {
		t[binHexDigits[i]] = byte(i)
	}
	return t
}()

// binHexReader decodes the characters between the colons, and undoes runs.
type binHexReader struct {
	r     *bufio.Reader
	begun bool
	done  bool
	bits  uint32
	have  uint
	last  byte
	left  int // of a run
	crc   uint16
}

// packed gives the next byte before runs are undone.
func (b *binHexReader) packed() (byte, error) {
	for b.have < 8 {
		if b.done {
			return 0, io.EOF
		}
		c, err := b.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch v := binHexValues[c]; {
		case c == ':' && b.begun:
			b.done = true
		case c == ':':
			b.begun = true
		case v != 0xff:
			b.bits, b.have = b.bits<<6|uint32(v), b.have+6
		case c != '\r' && c != '\n' && c != ' ' && c != '\t':
			return 0, fmt.Errorf("the character %q is no digit", c)
		}
	}
	b.have -= 8
	return byte(b.bits >> b.have), nil
}

func (b *binHexReader) ReadByte() (byte, error) {
	for b.left == 0 {
		c, err := b.packed()
		if err != nil {
			return 0, err
		}
		if c != 0x90 {
			b.last, b.left = c, 1
			break
		}
		n, err := b.packed()
		if err != nil {
			return 0, err
		}
		if n == 0 { // no run, the byte itself
			b.last, b.left = c, 1
		} else {
			b.left = int(n) - 1
		}
	}
	b.left--
	b.sum(b.last)
	return b.last, nil
}

// sum adds a byte to the checksum: CRC of the polynomial 0x1021.
func (b *binHexReader) sum(c byte) {
	b.crc ^= uint16(c) << 8
	for range 8 {
		if b.crc&0x8000 != 0 {
			b.crc = b.crc<<1 ^ 0x1021
		} else {
			b.crc <<= 1
		}
	}
}

// part reads n bytes.
func (b *binHexReader) part(n int) ([]byte, error) {
	out := make([]byte, n)
	for i := range out {
		var err error
		if out[i], err = b.ReadByte(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// check compares the checksum that comes next with that of what came since the last.
func (b *binHexReader) check() error {
	have := b.crc
	want, err := b.part(2)
	if err != nil {
		return err
	}
	b.crc = 0
	if binary.BigEndian.Uint16(want) != have {
		return errChecksum
	}
	return nil
}

// forkReader reads a fork and compares its checksum.
type forkReader struct {
	b    *binHexReader
	left int64
	done error
}

func (f *forkReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && f.left > 0 && f.done == nil {
		c, err := f.b.ReadByte()
		if err != nil {
			f.done = err
			if err == io.EOF {
				f.done = errCut
			}
			break
		}
		p[n] = c
		n++
		f.left--
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	if f.done == nil {
		if f.done = f.b.check(); f.done == nil {
			f.done = io.EOF
		}
	}
	return 0, f.done
}

// readBinHex tells the data fork of a file of the Macintosh by its name, and its resource fork with .rsrc behind it.
func readBinHex(c *container) error {
	lines := lineReader{r: bufio.NewReaderSize(c.section(0, c.size), mailLine)}
	for {
		line, _, err := lines.next()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("(This file must be converted")) {
			break
		}
	}
	b := &binHexReader{r: lines.r}
	n, err := b.ReadByte()
	if err != nil {
		return err
	}
	h, err := b.part(int(n) + 19)
	if err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	name := cleanPath(strings.ReplaceAll(latin1Name(h[:n]), "/", "_"))
	if name == "" {
		name = "data"
	}
	h = h[int(n)+11:]
	for i, path := range []string{name, name + ".rsrc"} {
		size := int64(binary.BigEndian.Uint32(h[4*i:]))
		if size > 0 || i == 0 && binary.BigEndian.Uint32(h[4:]) == 0 {
			f := &forkReader{b: b, left: size}
			if err := c.tell(Member{Path: path, Size: size, Reader: f}); err != nil {
				return err
			}
			if f.done == nil {
				io.Copy(io.Discard, f)
			}
			if f.done != nil && f.done != io.EOF && !errors.Is(f.done, errChecksum) {
				return f.done
			}
			continue
		}
		b.check() // of nothing
	}
	return nil
}

// readAppleDouble tells the forks that a file of the Macintosh has in AppleSingle or AppleDouble.
func readAppleDouble(c *container) error {
	const most = 256
	h, err := c.readAt(0, 26)
	if err != nil {
		return err
	}
	be := binary.BigEndian
	count := int(be.Uint16(h[24:]))
	if count > most {
		return fmt.Errorf("%d entries claimed where at most %d are read", count, most)
	}
	type entry struct{ id, off, n uint32 }
	var entries []entry
	name := ""
	for i := range count {
		b, err := c.readAt(26+12*int64(i), 12)
		if err != nil {
			return err
		}
		e := entry{be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:])}
		if e.id == 3 && e.n <= maxPath {
			if b, err := c.readAt(int64(e.off), int(e.n)); err == nil {
				name = cleanPath(strings.ReplaceAll(latin1Name(b), "/", "_"))
			}
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		path := name
		switch {
		case e.n == 0:
			continue
		case e.id == 1 && name == "":
			path = "data"
		case e.id == 1:
		case e.id == 2 && name == "":
			path = "resource fork"
		case e.id == 2:
			path = name + ".rsrc"
		default:
			continue
		}
		if err := c.tell(Member{Path: path, Size: int64(e.n), Reader: c.stored(int64(e.off), int64(e.n))}); err != nil {
			return err
		}
	}
	return nil
}

// readActiveMime tells the compound file in an object that Office keeps beside HTML and XML.
func readActiveMime(c *container) error {
	h, err := c.readAt(0, int(min(c.size, 128)))
	if err != nil {
		return err
	}
	// What stands in front of the data has no length that all versions agree on: they begin with a header of zlib.
	for i := 12; i+2 <= len(h); i++ {
		if h[i] == 0x78 && (uint(h[i])<<8|uint(h[i+1]))%31 == 0 {
			off := int64(i)
			return c.tell(Member{Path: "object.ole", Size: -1, Reader: &lazyReader{open: func() (io.Reader, error) {
				return zlib.NewReader(c.section(off, c.size-off))
			}}})
		}
	}
	return errors.New("no packed data begin in its first 128 bytes")
}
