package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The identifiers that stand in front of and behind the content of a file in a OneNote section.
const (
	oneDataBegin = "\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
	oneDataEnd   = "\x22\xa7\xfb\x71\x79\x0f\x0b\x4a\xbb\x13\x89\x92\x56\x42\x6b\x24"
	oneDataHead  = 36 // identifier, length, and what is not used
)

// readOneNote tells the files in a section, embedded ones and pictures alike, by looking for their marks: so what was deleted but is still there is
// told, too. What names them lies elsewhere and is not read.
func readOneNote(c *container) error {
	const step = 256 << 10
	buf := make([]byte, step+len(oneDataBegin)-1)
	n := 0
	var damaged error
	for at := int64(0); at < c.size; {
		k, err := c.r.ReadAt(buf[:min(int64(len(buf)), c.size-at)], at)
		if k == 0 && err != nil {
			return err
		}
		i := bytes.Index(buf[:k], []byte(oneDataBegin))
		if i < 0 {
			at += step
			continue
		}
		at += int64(i)
		h, err := c.readAt(at, oneDataHead)
		if err != nil { // a mark at the very end
			at += int64(len(oneDataBegin))
			continue
		}
		size, off := binary.LittleEndian.Uint64(h[16:]), at+oneDataHead
		n++
		m := Member{Path: fmt.Sprintf("file-%d", n)}
		if size > uint64(c.size-off) {
			m.Size, m.Err = -1, fmt.Errorf("it claims %d bytes of the %d that follow", size, c.size-off)
			at += int64(len(oneDataBegin))
		} else {
			m.Size, m.Reader = int64(size), c.stored(off, int64(size))
			end := off + (int64(size)+7)&^7
			if tail, err := c.readAt(end, len(oneDataEnd)); err != nil || string(tail) != oneDataEnd {
				if damaged == nil {
					damaged = fmt.Errorf("no mark ends the file at %d of %d bytes", at, size)
				}
				end = at + int64(len(oneDataBegin))
			}
			at = end
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	return damaged
}
