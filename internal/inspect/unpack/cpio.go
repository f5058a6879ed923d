package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// cpioEntry is a header of any of the four kinds.
type cpioEntry struct {
	mode, name, size int64
	data             int64 // bytes from the header to the data
	next             int64 // bytes from the header to the next one
}

const (
	cpioMode    = 0o170000
	cpioRegular = 0o100000
	cpioMaxPath = 64 << 10
	cpioTrailer = "TRAILER!!!"
)

// cpioHeader reads the header at off. io.EOF says that there is none.
func (c *container) cpioHeader(off int64) (*cpioEntry, error) {
	b := make([]byte, 110)
	n, _ := c.r.ReadAt(b, off)
	b = b[:n]
	field := func(from, size, base int) int64 {
		if from+size > len(b) {
			return -1
		}
		v, err := strconv.ParseUint(string(b[from:from+size]), base, 63)
		if err != nil {
			return -1
		}
		return int64(v)
	}
	e := &cpioEntry{}
	round := func(n, to int64) int64 { return (n + to - 1) / to * to }
	switch {
	case n >= 6 && (string(b[:6]) == "070701" || string(b[:6]) == "070702"):
		e.mode, e.size, e.name = field(14, 8, 16), field(54, 8, 16), field(94, 8, 16)
		e.data = round(110+e.name, 4)
		e.next = round(e.data+e.size, 4)
		e.name |= 110 << 32
	case n >= 6 && string(b[:6]) == "070707":
		e.mode, e.name, e.size = field(18, 6, 8), field(59, 6, 8), field(65, 11, 8)
		e.data = 76 + e.name
		e.next = e.data + e.size
		e.name |= 76 << 32
	case n >= 26 && (b[0] == 0xc7 && b[1] == 0x71 || b[0] == 0x71 && b[1] == 0xc7):
		var order binary.ByteOrder = binary.LittleEndian
		if b[0] == 0x71 {
			order = binary.BigEndian
		}
		e.mode = int64(order.Uint16(b[6:]))
		e.name = int64(order.Uint16(b[20:]))
		e.size = int64(order.Uint16(b[22:]))<<16 | int64(order.Uint16(b[24:]))
		e.data = round(26+e.name, 2)
		e.next = round(e.data+e.size, 2)
		e.name |= 26 << 32
	default:
		return nil, io.EOF
	}
	if e.mode < 0 || e.size < 0 || e.name < 0 || e.name&(1<<32-1) > cpioMaxPath {
		return nil, errors.New("a header is damaged")
	}
	return e, nil
}

// readCPIO tells the files of a cpio archive, and of those that follow it, as the Linux kernel takes them.
func readCPIO(c *container) error {
	for at, first := int64(0), true; first || at < c.size; first = false {
		e, err := c.cpioHeader(at)
		if err == io.EOF {
			if first {
				return errors.New("it does not begin as it should")
			}
			return fmt.Errorf("there is no header at %d", at)
		}
		if err != nil {
			return err
		}
		name, err := c.readAt(at+e.name>>32, int(e.name&(1<<32-1)))
		if err != nil {
			return errCut
		}
		for len(name) > 0 && name[len(name)-1] == 0 {
			name = name[:len(name)-1]
		}
		if string(name) == cpioTrailer {
			if at, err = c.skipZeros(at + e.next); err != nil {
				return err
			}
			if at < c.size {
				if _, err := c.cpioHeader(at); err == io.EOF {
					return fmt.Errorf("what follows its end at %d is something else", at)
				}
			}
			continue
		}
		if e.mode&cpioMode == cpioRegular {
			m := c.named(latin1Name(name))
			m.Size, m.Reader = e.size, c.stored(at+e.data, e.size)
			if err := c.tell(m); err != nil {
				return err
			}
		}
		if e.data+e.size > c.size-at {
			return errCut
		}
		at += e.next
	}
	return nil
}

// skipZeros tells where the next byte that is not zero stands.
func (c *container) skipZeros(at int64) (int64, error) {
	buf := make([]byte, 64)
	for ; at < c.size; buf = make([]byte, 32<<10) {
		n, err := c.r.ReadAt(buf[:min(int64(len(buf)), c.size-at)], at)
		for i, b := range buf[:n] {
			if b != 0 {
				return at + int64(i), nil
			}
		}
		at += int64(n)
		if err != nil && err != io.EOF {
			return at, err
		}
		if n == 0 {
			break
		}
	}
	return c.size, nil
}
