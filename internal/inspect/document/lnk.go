package document

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/exe"
	"spoor/internal/intel"
)

// maxLNK bounds how much of a shortcut is read; what is appended to one may be longer.
const maxLNK = 1 << 20

var le = binary.LittleEndian

func wide(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, le.Uint16(b))
	}
	s, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return s
}

// narrow reads text of one byte a character, whose code page is not known.
func narrow(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// readLNK reads a shortcut as [MS-SHLLINK] has it.
func readLNK(t *teller, r io.ReaderAt, size int64) error {
	b := at(r, size, 0, maxLNK)
	if len(b) < 76 {
		return errors.New("the header is cut off")
	}
	const hasIDs, hasInfo, hasName, hasArguments, unicode = 1, 2, 4, 0x20, 0x80
	flags := le.Uint32(b[20:])
	show := le.Uint32(b[60:])
	pos := 76
	var target, ids string
	if flags&hasIDs != 0 {
		if len(b) < pos+2 {
			return errors.New("the list of shell items is cut off")
		}
		n := int(le.Uint16(b[pos:]))
		ids = shellItems(b[pos+2 : min(len(b), pos+2+n)])
		pos += 2 + n
	}
	if flags&hasInfo != 0 {
		if len(b) < pos+28 {
			return errors.New("the target's place is cut off")
		}
		n := int(min(le.Uint32(b[pos:]), maxLNK))
		target = linkInfo(b[pos:min(len(b), pos+n)])
		pos += n
	}
	var err error
	for _, s := range []struct {
		flag uint32
		tell func(string)
	}{
		{hasName, func(s string) { t.attribute(intel.Description, s) }},
		{8, func(s string) {
			if target == "" && ids == "" {
				target = s
			}
		}},
		{0x10, func(s string) { t.active("LNK working directory: %s", s) }},
		{hasArguments, func(s string) { t.active("LNK arguments: %s", s) }},
		{0x40, func(s string) { t.active("LNK icon: %s", s) }},
	} {
		if flags&s.flag == 0 || err != nil {
			continue
		}
		if len(b) < pos+2 {
			err = errors.New("the texts are cut off")
			continue
		}
		n := int(le.Uint16(b[pos:]))
		pos += 2
		text := ""
		if flags&unicode != 0 {
			n *= 2
			text = wide(b[pos:min(len(b), pos+n)])
		} else {
			text = narrow(b[pos:min(len(b), pos+n)])
		}
		s.tell(text)
		if pos += n; pos > len(b) {
			pos = len(b)
			err = errors.New("the texts are cut off")
		}
	}
	// Extra blocks, ended by one shorter than its own length.
	for n := 0; err == nil && len(b) >= pos+4 && n < 64; n++ {
		length := int(min(le.Uint32(b[pos:]), maxLNK))
		if length < 4 {
			pos += 4
			break
		}
		if length < 8 || len(b) < pos+length {
			err = errors.New("an extra block is cut off")
			break
		}
		x := b[pos : pos+length]
		switch le.Uint32(x[4:]) {
		case 0xA0000001: // the target with environment variables
			if len(x) >= 788 {
				if s := wide(x[268:788]); s != "" {
					t.active("LNK target: %s", s)
				} else if s := narrow(x[8:268]); s != "" {
					t.active("LNK target: %s", s)
				}
			}
		case 0xA0000003: // the distributed tracker: the machine where it was made
			if len(x) >= 32 {
				if s := narrow(x[16:32]); s != "" {
					t.active("LNK machine: %s", s)
				}
			}
		}
		pos += length
	}
	if target == "" {
		target = ids
	}
	if target != "" {
		t.active("LNK target: %s", target)
	}
	if show == 7 && flags&hasArguments != 0 {
		t.active("LNK window: minimised")
	}
	if err == nil && int64(pos) < size && pos < maxLNK {
		t.attribute(intel.Overlay, overlayText(int64(pos), size))
		t.info.Embedded = append(t.info.Embedded, exe.Embedded{Path: "overlay", Offset: int64(pos), Size: size - int64(pos)})
	}
	return err
}

// linkInfo returns the path that a link's own place gives.
func linkInfo(b []byte) string {
	if len(b) < 28 {
		return ""
	}
	text := func(field int) string {
		if off := le.Uint32(b[field:]); off > 0 && int64(off) < int64(len(b)) {
			return narrow(b[off:])
		}
		return ""
	}
	uni := func(field int) string {
		if int(le.Uint32(b[4:])) >= field+4 && len(b) >= field+4 {
			if off := le.Uint32(b[field:]); off > 0 && int64(off) < int64(len(b)) {
				return wide(b[off:])
			}
		}
		return ""
	}
	flags := le.Uint32(b[8:])
	base, suffix := uni(28), uni(32)
	if base == "" && flags&1 != 0 {
		base = text(16)
	}
	if suffix == "" {
		suffix = text(24)
	}
	if flags&2 != 0 {
		if off := int64(le.Uint32(b[20:])); off > 0 && off+12 <= int64(len(b)) {
			n := b[off:]
			if name := int64(le.Uint32(n[8:])); name > 0 && name < int64(len(n)) {
				return join(narrow(n[name:]), suffix)
			}
		}
	}
	return join(base, suffix)
}

func join(base, suffix string) string {
	if base != "" && suffix != "" && !strings.HasSuffix(base, `\`) {
		return base + `\` + suffix
	}
	return base + suffix
}

// shellItems returns the path that a list of shell items spells, as far as they are drives, folders and files.
func shellItems(b []byte) string {
	var parts []string
	for len(b) >= 3 && len(parts) < 64 {
		n := int(le.Uint16(b))
		if n < 3 || n > len(b) {
			break
		}
		item := b[:n]
		b = b[n:]
		switch kind := item[2]; {
		case kind&0x70 == 0x20 && n > 4:
			if s := narrow(item[3:]); len(s) >= 2 && s[1] == ':' {
				parts = append(parts, strings.TrimRight(s, `\`))
			}
		case kind&0x70 == 0x30 && n > 14:
			name := ""
			if kind&4 != 0 {
				name = wide(item[14:])
			} else {
				name = narrow(item[14:])
			}
			// A block behind it has the long name.
			if i := bytes.Index(item, []byte{4, 0, 0xEF, 0xBE}); i >= 4 {
				x := item[i-4:]
				for _, off := range []int{46, 42, 38, 20} { // by the block's version, newest first
					want := map[int]uint16{46: 9, 42: 8, 38: 7, 20: 3}[off]
					if le.Uint16(x[2:]) >= want && len(x) > off+2 {
						if s := wide(x[off:]); s != "" {
							name = s
						}
						break
					}
				}
			}
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, `\`)
}
