package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
)

// oleNative is the stream in which OLE 1.0 lies in a compound file.
const oleNative = "\x01Ole10Native"

// readCompound tells the streams of a compound file under the paths of their storages. Of an installer the names are decoded; of a message each
// attachment is told by its own name; of a package the file in it.
func readCompound(c *container) error {
	f, err := compound.Open(c.r, c.size)
	if err != nil {
		return err
	}
	var cut error
	var names map[string]string
	if c.format == filetype.MSI {
		if d, err := openMSI(f); err == nil {
			names = d.names()
			for _, name := range d.cabinets() {
				m := Member{Path: cleanPath(name), Size: -1, Err: errors.New("files of the installer are in this cabinet, which is another file")}
				if err := c.tell(m); err != nil {
					return err
				}
			}
		}
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		if e.Kind != compound.Stream {
			continue
		}
		m := Member{Path: e.Path, Size: e.Size, Names: names}
		if c.format == filetype.MSI {
			parts := strings.Split(e.Path, "/")
			for i, part := range parts {
				parts[i] = msiName(part)
			}
			m.Path = strings.Join(parts, "/")
		}
		if c.format == filetype.MSG && strings.HasSuffix(e.Path, msgData) {
			if name := msgName(f, strings.TrimSuffix(e.Path, msgData)); name != "" {
				m.Path = strings.TrimSuffix(e.Path, msgData) + name
			}
		}
		m.Path = cleanPath(m.Path)
		if e.Size > c.size {
			m.Err = fmt.Errorf("it claims %d bytes in a file of %d", e.Size, c.size)
			cut = errCut
			if err := c.tell(m); err != nil {
				return err
			}
			continue
		}
		limit := c.o.Memory
		read := func() (io.Reader, error) { return f.Stream(e, limit), nil }
		if e.Name == oleNative {
			if e.Size <= limit {
				name, data, err := olePackage(f.Read(e, e.Size))
				if err == nil {
					m.Path, m.Size = cleanPath(strings.TrimSuffix(e.Path, oleNative)+name), int64(len(data))
					read = func() (io.Reader, error) { return bytes.NewReader(data), nil }
				}
			}
		}
		m.Reader = &exactReader{r: &lazyReader{open: read}, left: m.Size}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	return cut
}

// msiName decodes a name of a stream as an installer packs it: two characters of 64 in one of Unicode's.
func msiName(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	var b strings.Builder
	for i, r := range name {
		switch {
		case r == 0x4840 && i == 0:
			b.WriteByte('!') // a table
		case r >= 0x3800 && r < 0x4800:
			b.WriteByte(digits[(r-0x3800)&63])
			b.WriteByte(digits[(r-0x3800)>>6&63])
		case r >= 0x4800 && r < 0x4840:
			b.WriteByte(digits[r-0x4800])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// msgData is an attachment's content in its storage.
const msgData = "__substg1.0_37010102"

// msgName is the long name of the attachment in a storage whose path ends with a slash, or else the short one.
func msgName(f *compound.File, storage string) string {
	for _, property := range []string{"3707", "3704"} {
		if e := f.Find(storage + "__substg1.0_" + property + "001F"); e != nil {
			b := f.Read(e, 1024)
			units := make([]uint16, len(b)/2)
			for i := range units {
				units[i] = binary.LittleEndian.Uint16(b[2*i:])
			}
			return strings.TrimRight(string(utf16.Decode(units)), "\x00")
		}
		if e := f.Find(storage + "__substg1.0_" + property + "001E"); e != nil {
			return latin1Name(bytes.TrimRight(f.Read(e, 1024), "\x00"))
		}
	}
	return ""
}

var errPackage = errors.New("it is no package of OLE 1.0")

// olePackage is the file in the native data of OLE 1.0's packager, and its name. The data begins with its length.
func olePackage(b []byte) (string, []byte, error) {
	le := binary.LittleEndian
	if len(b) < 6 || le.Uint16(b[4:]) != 2 {
		return "", nil, errPackage
	}
	b = b[6:]
	text := func() (string, bool) {
		i := bytes.IndexByte(b[:min(len(b), 1024)], 0)
		if i < 0 {
			return "", false
		}
		s := latin1Name(b[:i])
		b = b[i+1:]
		return s, true
	}
	label, ok := text()
	if !ok {
		return "", nil, errPackage
	}
	path, ok := text()
	if !ok || len(b) < 8 || le.Uint16(b[2:]) != 3 { // a file that is embedded, not one that is linked to
		return "", nil, errPackage
	}
	n := le.Uint32(b[4:])
	if b = b[8:]; int64(n) > int64(len(b)) {
		return "", nil, errPackage
	}
	b = b[n:] // the path of a temporary file
	if len(b) < 4 {
		return "", nil, errPackage
	}
	n = le.Uint32(b)
	if b = b[4:]; int64(n) > int64(len(b)) {
		return "", nil, errPackage
	}
	if label == "" {
		label = path
	}
	label = strings.ReplaceAll(label, `\`, "/")
	label = label[strings.LastIndexByte(label, '/')+1:]
	if cleanPath(label) == "" {
		label = "package"
	}
	return label, b[:n], nil
}
