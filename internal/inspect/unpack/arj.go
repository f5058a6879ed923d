package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// An ARJ archive is a chain of headers, the first of which is that of the archive, each followed by its member's data.

const arjMaxHeader = 2600

// arjHeader is what a header says.
type arjHeader struct {
	encryption byte // only in the first
	flags      byte
	method     byte
	kind       byte
	modifier   byte // of the password
	packed     int64
	size       int64
	crc        uint32
	name       []byte
	data       int64 // where its bytes are
}

const (
	arjGarbled   = 1
	arjGoesOn    = 4 // in the next volume
	arjContinues = 8 // from the volume before
)

// readARJ tells the members of an ARJ archive. A part of a member whose other parts are in other volumes is told as such.
func readARJ(c *container) error {
	main, err := c.arjHeader(0)
	if err != nil {
		return err
	}
	if main == nil {
		return errors.New("it does not begin as it should")
	}
	volume := main.flags&arjGoesOn != 0
	for at := main.data; ; {
		h, err := c.arjHeader(at)
		if err != nil {
			return fmt.Errorf("the header at %d: %w", at, err)
		}
		if h == nil {
			break
		}
		at = h.data + h.packed
		if h.kind > 1 { // a directory, a label or a chapter
			continue
		}
		m := c.named(localName(h.name))
		m.Size = h.size
		if h.flags&(arjContinues|arjGoesOn) != 0 {
			m.Size = -1 // it says that of the part
		}
		switch {
		case h.flags&arjContinues != 0:
			m.Err = errors.New("it begins in the volume before, which is another file")
		case h.flags&arjGoesOn != 0:
			m.Err = errors.New("it goes on in the next volume, which is another file")
		case h.method > 4:
			m.Err = fmt.Errorf("method %d is not read", h.method)
		case h.flags&arjGarbled != 0:
			m.Password, m.Err = c.ungarble(main, h)
		}
		if m.Err == nil {
			m.Reader = &lazyReader{open: func() (io.Reader, error) { return c.arjContent(h, m.Password), nil }}
		}
		if err := c.tell(m); err != nil {
			return err
		}
		if at > c.size {
			return errCut
		}
	}
	if volume {
		return errors.New("it is a volume of a set, whose next is another file")
	}
	return nil
}

// arjHeader reads the header at an offset; nil is the end.
func (c *container) arjHeader(at int64) (*arjHeader, error) {
	b, err := c.readAt(at, 4)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if b[0] != 0x60 || b[1] != 0xea {
		return nil, errors.New("it does not begin as it should")
	}
	n := int(le.Uint16(b[2:]))
	if n == 0 {
		return nil, nil
	}
	if n < 30 || n > arjMaxHeader {
		return nil, fmt.Errorf("%d bytes long", n)
	}
	if b, err = c.readAt(at+4, n+4); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(b[:n]) != le.Uint32(b[n:]) {
		return nil, errChecksum
	}
	b = b[:n]
	h := &arjHeader{
		encryption: b[28], flags: b[4], method: b[5], kind: b[6], modifier: b[7], packed: int64(le.Uint32(b[12:])), size: int64(le.Uint32(b[16:])), crc: le.Uint32(b[20:]),
	}
	first := int(b[0])
	if first < 30 || first > n {
		return nil, errors.New("its parts are longer than it is")
	}
	h.name, _, _ = bytes.Cut(b[first:], []byte{0})
	h.data = at + 4 + int64(n) + 4
	for { // extended headers
		b, err := c.readAt(h.data, 2)
		if err != nil {
			return nil, err
		}
		h.data += 2
		n := int64(le.Uint16(b))
		if n == 0 {
			return h, nil
		}
		h.data += n + 4
	}
}

// arjContent opens a member's data.
func (c *container) arjContent(h *arjHeader, password string) io.Reader {
	var packed io.Reader = c.section(h.data, h.packed)
	if h.flags&arjGarbled != 0 {
		packed = &garbled{r: packed, password: password, modifier: h.modifier}
	}
	in := buffered(packed)
	var r io.Reader
	switch h.method {
	case 0:
		r = &exactReader{r: in, left: h.size}
	case 4:
		r = newARJFast(in, h.size)
	default:
		r = newLH(in, h.size, 15, 17, 5)
	}
	return &zipChecker{r: r, want: h.crc, size: h.size}
}

// garbled undoes ARJ's own encryption: each byte is changed by one of the password's.
type garbled struct {
	r        io.Reader
	password string
	modifier byte
	at       int
}

func (g *garbled) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	for i := range p[:n] {
		p[i] ^= g.password[g.at] + g.modifier
		if g.at++; g.at == len(g.password) {
			g.at = 0
		}
	}
	return n, err
}

// ungarble finds the password, by the member's checksum.
func (c *container) ungarble(main, h *arjHeader) (string, error) {
	if main.encryption > 3 {
		return "", errors.New("its encryption (GOST) is not known")
	}
	if len(c.o.Passwords) == 0 {
		return "", errEncrypted
	}
	for _, password := range c.candidates() {
		if password == "" {
			continue
		}
		if !c.spend(arjTrial) {
			return "", errTries
		}
		n, err := io.CopyN(io.Discard, c.arjContent(h, password), arjTrial)
		if err := c.ctx.Err(); err != nil {
			return "", err
		}
		// A wrong password gives a wrong code soon, as a rule; what lasts so long is right.
		if err == io.EOF || err == nil && n == arjTrial && h.method != 0 {
			c.password = password
			return password, nil
		}
	}
	return "", errPassword
}

const arjTrial = 1 << 20 // bytes of a member that a password is tried on, and what a try costs
