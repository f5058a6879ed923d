package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// What attributes of TNEF are read, by their type and number.
const (
	tnefBody           = 0x0002800C
	tnefMessage        = 0x00069003 // properties of MAPI
	tnefAttachBegin    = 0x00069002
	tnefAttachTitle    = 0x00018010
	tnefAttachData     = 0x0006800F
	tnefAttachMAPI     = 0x00069005
	tnefAttachFilename = 0x00069001
)

// Properties of MAPI, without their types.
const (
	mapiBody         = 0x1000
	mapiRTF          = 0x1009
	mapiHTML         = 0x1013
	mapiDisplayName  = 0x3001
	mapiAttachData   = 0x3701
	mapiFileName     = 0x3704
	mapiLongFileName = 0x3707
	maxMAPIName      = 4 << 10
	maxMAPI          = 1 << 16 // properties of one attribute
)

// tnefAttachment is one while its attributes go by: its name may come behind its content.
type tnefAttachment struct {
	title, name string
	parts       []tnefPart
}

type tnefPart struct {
	off, n int64
	nested bool // an object, whose bytes may be a message
}

// readTNEF tells the attachments of a message and its bodies. Of a damaged file, what stands before the damage.
func readTNEF(c *container) error {
	var a *tnefAttachment
	n := 0
	flush := func() error {
		if a == nil {
			return nil
		}
		n++
		name := a.name
		if name == "" {
			name = a.title
		}
		name = cleanPath(strings.ReplaceAll(name, "/", "_"))
		if name == "" {
			name = fmt.Sprintf("attachment-%d", n)
		}
		for _, p := range a.parts {
			path := name
			if p.nested {
				if b, err := c.readAt(p.off, 4); err == nil && string(b) == "\x78\x9f\x3e\x22" {
					path += ".tnef"
				}
			}
			if err := c.tell(Member{Path: path, Size: p.n, Reader: c.stored(p.off, p.n)}); err != nil {
				return err
			}
		}
		a = nil
		return nil
	}
	fail := func(err error) error {
		if c.stop == nil {
			if err := flush(); err != nil {
				return err
			}
		}
		return err
	}
	for at := int64(6); ; {
		if at == c.size || at > 6 && c.size-at < 9 { // padding that a transport added
			return flush()
		}
		h, err := c.readAt(at, 9)
		if err != nil {
			return fail(err)
		}
		level, id, length := h[0], binary.LittleEndian.Uint32(h[1:]), int64(binary.LittleEndian.Uint32(h[5:]))
		off := at + 9
		if level != 1 && level != 2 {
			return fail(fmt.Errorf("no attribute begins at %d", at))
		}
		at = off + length + 2
		cut := at > c.size
		if level == 2 && a == nil && id != tnefAttachBegin {
			a = &tnefAttachment{}
		}
		switch {
		case id == tnefAttachBegin && level == 2:
			if err := flush(); err != nil {
				return err
			}
			a = &tnefAttachment{}
		case level == 2 && (id == tnefAttachTitle || id == tnefAttachFilename):
			if b, err := c.readAt(off, int(min(length, maxMAPIName, c.size-off))); err == nil && (a.title == "" || id == tnefAttachTitle) {
				a.title = latin1Name(bytes.TrimRight(b, "\x00"))
			}
		case level == 2 && id == tnefAttachData:
			a.parts = append(a.parts, tnefPart{off: off, n: length})
		case level == 2 && id == tnefAttachMAPI:
			err := c.mapi(off, length, func(id uint16, kind uint16, off, n int64) error {
				switch id {
				case mapiLongFileName:
					a.name = c.mapiText(kind, off, n)
				case mapiFileName, mapiDisplayName:
					if a.name == "" {
						a.name = c.mapiText(kind, off, n)
					}
				case mapiAttachData:
					if kind == 0x000D && n >= 16 { // the interface by which it is opened stands in front
						a.parts = append(a.parts, tnefPart{off + 16, n - 16, true})
					} else if kind == 0x0102 && n > 0 {
						a.parts = append(a.parts, tnefPart{off: off, n: n})
					}
				}
				return nil
			})
			if err != nil {
				return fail(err)
			}
		case id == tnefBody && length > 0:
			if err := c.tell(Member{Path: "body.txt", Size: length, Reader: c.stored(off, length)}); err != nil {
				return err
			}
		case id == tnefMessage:
			err := c.mapi(off, length, func(id uint16, kind uint16, off, n int64) error {
				switch {
				case id == mapiRTF && kind == 0x0102:
					return c.tell(Member{Path: "body.rtf", Size: -1, Reader: &lazyReader{open: func() (io.Reader, error) { return c.unpackRTF(c.section(off, n)) }}})
				case id == mapiHTML && n > 0:
					return c.tell(Member{Path: "body.html", Size: n, Reader: c.stored(off, n)})
				case id == mapiBody && n > 0:
					return c.tell(Member{Path: "body.txt", Size: n, Reader: c.stored(off, n)})
				}
				return nil
			})
			if err != nil {
				return fail(err)
			}
		}
		if cut {
			return fail(errCut)
		}
	}
}

// mapi calls yield with each property of length bytes at off: its number, its type, and where its value lies.
func (c *container) mapi(off, length int64, yield func(id, kind uint16, off, n int64) error) error {
	end := min(off+length, c.size)
	number := func() (uint32, error) {
		if off+4 > end {
			return 0, errCut
		}
		b, err := c.readAt(off, 4)
		if err != nil {
			return 0, err
		}
		off += 4
		return binary.LittleEndian.Uint32(b), nil
	}
	count, err := number()
	if err != nil {
		return err
	}
	if count > maxMAPI {
		return fmt.Errorf("%d properties claimed where at most %d are read", count, maxMAPI)
	}
	for range count {
		tag, err := number()
		if err != nil {
			return err
		}
		kind, id := uint16(tag), uint16(tag>>16)
		if id >= 0x8000 { // named by a number or a text
			off += 16
			by, err := number()
			if err != nil {
				return err
			}
			n, err := number()
			if err != nil {
				return err
			}
			if by == 1 {
				off += (int64(n) + 3) &^ 3
			}
		}
		values := uint32(1)
		several := kind&0x1000 != 0
		kind &^= 0x1000
		size := int64(0)
		switch kind {
		case 0x001E, 0x001F, 0x000D, 0x0102:
			several = true
		case 0x0002, 0x0003, 0x0004, 0x000A, 0x000B:
			size = 4
		case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
			size = 8
		case 0x0048:
			size = 16
		case 0x0000, 0x0001:
		default:
			return fmt.Errorf("a property of the type %#x is not known", kind)
		}
		if several {
			if values, err = number(); err != nil {
				return err
			}
		}
		for i := uint32(0); i < values; i++ {
			n := size
			if size == 0 {
				if !several {
					break
				}
				v, err := number()
				if err != nil {
					return err
				}
				n = int64(v)
			}
			if n > end-off {
				return errCut
			}
			if i == 0 {
				if err := yield(id, kind, off, n); err != nil {
					return err
				}
			}
			off += (n + 3) &^ 3
		}
	}
	return nil
}

// mapiText is a property that is a text.
func (c *container) mapiText(kind uint16, off, n int64) string {
	b, err := c.readAt(off, int(min(n, maxMAPIName)))
	if err != nil {
		return ""
	}
	if kind == 0x001F {
		return strings.TrimRight(utf16Name(b, binary.LittleEndian), "\x00")
	}
	return latin1Name(bytes.TrimRight(b, "\x00"))
}

// rtfWords is what the dictionary of compressed RTF holds at first.
const rtfWords = `{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0` + "\r\n" + `\par \pard\plain\f0\fs20\b\i\u\tab\tx`

// unpackRTF unpacks the RTF of a message. What stands before damage is not given: a text cut short would be read as another.
func (c *container) unpackRTF(r io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(io.LimitReader(r, c.o.Memory/16+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > c.o.Memory/16: // it unpacks to nearly nine times as many
		return nil, errors.New("the compressed RTF is larger than the memory that is allowed")
	case len(b) < 16:
		return nil, errCut
	}
	le := binary.LittleEndian
	size, method := int64(le.Uint32(b[4:])), string(b[8:12])
	in := b[16:]
	switch method {
	case "MELA":
		return bytes.NewReader(in[:min(int64(len(in)), size)]), nil
	case "LZFu":
	default:
		return nil, fmt.Errorf("RTF compressed by %q is not read", method)
	}
	var window [4096]byte
	at := copy(window[:], rtfWords)
	var out []byte
	put := func(b byte) {
		out = append(out, b)
		window[at] = b
		at = (at + 1) & 4095
	}
	for len(in) > 0 {
		flags := in[0]
		in = in[1:]
		for i := 0; i < 8; i++ {
			if flags>>i&1 == 0 {
				if len(in) == 0 {
					return nil, errCut
				}
				put(in[0])
				in = in[1:]
				continue
			}
			if len(in) < 2 {
				return nil, errCut
			}
			v := int(in[0])<<8 | int(in[1])
			in = in[2:]
			from, n := v>>4, v&15+2
			if from == at {
				return bytes.NewReader(out), nil
			}
			for range n {
				put(window[from])
				from = (from + 1) & 4095
			}
		}
	}
	return nil, errCut
}
