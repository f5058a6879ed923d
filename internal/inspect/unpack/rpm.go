package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

const (
	rpmLead      = 96
	rpmMaxHeader = 256 << 20
)

// readRPM tells the one member of an RPM package, its payload, as it is packed. Its path is what 7-Zip calls it: name-version-release.arch.cpio.gz.
func readRPM(c *container) error {
	lead, err := c.readAt(0, rpmLead)
	if err != nil || !bytes.HasPrefix(lead, []byte("\xed\xab\xee\xdb")) {
		return errors.New("it does not begin as it should")
	}
	_, at, err := c.rpmHeader(rpmLead)
	if err != nil {
		return err
	}
	tags, at, err := c.rpmHeader((at + 7) &^ 7)
	if err != nil {
		return err
	}
	name := strings.TrimRight(string(lead[10:76]), "\x00")
	if tags[1000] != "" {
		name = tags[1000] + "-" + tags[1001] + "-" + tags[1002] + "." + tags[1022]
	}
	format := tags[1124]
	if format == "" {
		format = "cpio"
	}
	name += "." + format
	size := c.size - at
	head, _ := c.readAt(at, int(min(size, 8)))
	for _, p := range []struct{ magic, suffix string }{
		{"\x1f\x8b", ".gz"}, {"BZh", ".bz2"}, {"\xfd7zXZ\x00", ".xz"}, {"\x28\xb5\x2f\xfd", ".zst"}, {"\x5d\x00\x00", ".lzma"},
	} {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			name += p.suffix
			break
		}
	}
	return c.tell(Member{Path: cleanPath(name), Size: size, Reader: c.stored(at, size)})
}

// rpmHeader reads the header structure at off: the few strings that name the package, and where it ends.
func (c *container) rpmHeader(off int64) (map[uint32]string, int64, error) {
	h, err := c.readAt(off, 16)
	if err != nil {
		return nil, 0, err
	}
	if !bytes.HasPrefix(h, []byte("\x8e\xad\xe8")) {
		return nil, 0, errors.New("a header is damaged")
	}
	entries, size := int64(binary.BigEndian.Uint32(h[8:])), int64(binary.BigEndian.Uint32(h[12:]))
	data := off + 16 + 16*entries
	if 16*entries+size > rpmMaxHeader || data+size > c.size {
		return nil, 0, errCut
	}
	out := make(map[uint32]string)
	r := buffered(c.section(off+16, 16*entries))
	for range entries {
		var e [16]byte
		if _, err := io.ReadFull(r, e[:]); err != nil {
			return nil, 0, errCut
		}
		tag, kind, at := binary.BigEndian.Uint32(e[:]), binary.BigEndian.Uint32(e[4:]), int64(binary.BigEndian.Uint32(e[8:]))
		const isString = 6
		switch tag {
		case 1000, 1001, 1002, 1022, 1124: // name, version, release, architecture, payload's format
			if kind != isString || at >= size {
				continue
			}
			b, err := c.readAt(data+at, int(min(size-at, 256)))
			if err != nil {
				return nil, 0, err
			}
			if end := bytes.IndexByte(b, 0); end >= 0 {
				out[tag] = string(b[:end])
			}
		}
	}
	return out, data + size, nil
}
