package unpack

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
	"spoor/internal/inspect/officecrypt"
	"spoor/internal/inspect/vba"
)

// oleNative is the stream in which OLE 1.0 lies in a compound file.
const oleNative = "\x01Ole10Native"

// readCompound tells the streams of a compound file under the paths of their storages. Of an installer the names are decoded; of a message each
// attachment is told by its own name, and what is in one under its name; of a package the file in it; of macros their source; of a presentation its
// packed objects; of an encrypted document the document, and its streams as they are decrypted.
func readCompound(c *container) error {
	f, err := compound.Open(c.r, c.size)
	if err != nil {
		return err
	}
	var cut error
	msg := msgNames{f: f}
	var document *officecrypt.Document
	if c.format == filetype.OLE {
		document, cut = c.encryptedDocument(f)
	}
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
		limit := c.o.Memory
		read := func() (io.Reader, error) { return f.Stream(e, limit), nil }
		switch c.format {
		case filetype.MSI:
			parts := strings.Split(e.Path, "/")
			for i, part := range parts {
				parts[i] = msiName(part)
			}
			m.Path = strings.Join(parts, "/")
		case filetype.MSG:
			m.Path = msg.path(e.Path)
			if e.Name == msgRTF {
				m.Size = -1
				read = func() (io.Reader, error) { return c.unpackRTF(f.Stream(e, limit)) }
			}
		}
		m.Path = cleanPath(m.Path)
		if document != nil {
			if r := document.Reader(e.Path, f.Stream(e, limit)); r != nil {
				m.Password = c.password
				read = func() (io.Reader, error) { return r, nil }
			}
		}
		if e.Size > c.size {
			m.Size, m.Err = e.Size, fmt.Errorf("it claims %d bytes in a file of %d", e.Size, c.size)
			cut = cmp.Or(cut, errCut)
			if err := c.tell(m); err != nil {
				return err
			}
			continue
		}
		if e.Name == oleNative {
			if e.Size <= limit {
				b := f.Read(e, e.Size)
				name, data, err := olePackage(b)
				if err != nil && len(b) > 4 && int64(binary.LittleEndian.Uint32(b)) == int64(len(b))-4 {
					name, data, err = "_Ole10Native", b[4:], nil // of another program: what follows the length is what it knows
				}
				if err == nil {
					m.Path, m.Size = cleanPath(strings.TrimSuffix(m.Path, "_Ole10Native")+name), int64(len(data))
					read = func() (io.Reader, error) { return bytes.NewReader(data), nil }
				}
			}
		}
		m.Reader = &lazyReader{open: read}
		if m.Size >= 0 {
			m.Reader = &exactReader{r: m.Reader, left: m.Size}
		}
		if err := c.tell(m); err != nil {
			return err
		}
		if e.Path == "PowerPoint Document" {
			if err := c.presentation(f.Stream(e, limit)); err != nil {
				if c.stop != nil {
					return err
				}
				cut = cmp.Or(cut, err)
			}
		}
	}
	if err := c.macros(f); err != nil {
		return err
	}
	if err := c.encryptedPackage(f); err != nil {
		return err
	}
	return cut
}

// macros tells the source of each module of VBA.
func (c *container) macros(f *compound.File) error {
	var err error
	vba.Modules(f, func(m vba.Module) bool {
		t := Member{Path: cleanPath(m.Path + ".bas"), Size: int64(len(m.Source)), Reader: bytes.NewReader(m.Source)}
		if len(m.Source) == 0 {
			t.Size, t.Reader, t.Err = -1, nil, errors.New("its source cannot be read")
		}
		err = c.tell(t)
		return err == nil
	})
	return err
}

// presentation tells the objects that are packed into the records of a presentation of PowerPoint 97, compound files each.
func (c *container) presentation(r io.Reader) error {
	const object = 0x1011 // ExOleObjStg
	b := buffered(r)
	for n := 0; ; {
		var h [8]byte
		if _, err := io.ReadFull(b, h[:]); err != nil {
			return nil // what follows the last record is no matter of ours
		}
		le := binary.LittleEndian
		ver, kind, size := le.Uint16(h[:]), le.Uint16(h[2:]), int64(le.Uint32(h[4:]))
		if ver&15 == 15 {
			continue // records are in it
		}
		rest := &io.LimitedReader{R: b, N: size}
		if kind == object {
			n++
			m := Member{Path: fmt.Sprintf("PowerPoint Document/object-%d.ole", n), Size: size, Reader: &exactReader{r: rest, left: size}}
			if ver>>4 == 1 {
				m.Size = -1
				m.Reader = &lazyReader{open: func() (io.Reader, error) {
					if _, err := io.CopyN(io.Discard, rest, 4); err != nil { // its length unpacked
						return nil, errCut
					}
					return zlib.NewReader(rest)
				}}
			}
			if err := c.tell(m); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
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

// Streams of a message.
const (
	msgData   = "__substg1.0_37010102" // an attachment's content, in its storage
	msgObject = "__substg1.0_3701000D" // the same when it is a message or an object: a storage
	msgRTF    = "__substg1.0_10090102"
	msgHTML   = "__substg1.0_10130102"
)

// msgNames gives the streams of a message paths of the names that people see.
type msgNames struct {
	f       *compound.File
	entries map[string]*compound.Entry
	objects map[string]string // what a storage that is an attachment is called, by its path
}

func (n *msgNames) path(path string) string {
	if n.entries == nil {
		n.entries, n.objects = map[string]*compound.Entry{}, map[string]string{}
		for i := range n.f.Entries {
			n.entries[n.f.Entries[i].Path] = &n.f.Entries[i]
		}
	}
	storage, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		storage, name = path[:i], path[i+1:]
	}
	switch name {
	case msgRTF:
		name = "body.rtf"
	case msgHTML:
		name = "body.html"
	case msgData:
		name = cmp.Or(n.text(storage, "3707"), n.text(storage, "3704"), name)
	}
	if storage == "" {
		return name
	}
	return n.storage(storage) + "/" + name
}

// storage is what a storage is called: that of an attached object by its name, and what is in it under that.
func (n *msgNames) storage(path string) string {
	if called, ok := n.objects[path]; ok {
		return called
	}
	above, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above, name = path[:i], path[i+1:]
	}
	called := name
	if name == msgObject {
		called = cmp.Or(n.text(above, "3707"), n.text(above, "3704"), n.text(above, "3001"), n.text(path, "0037"), name)
		if n.entries[path+"/__properties_version1.0"] != nil && !strings.HasSuffix(strings.ToLower(called), ".msg") {
			called += ".msg"
		}
		called = strings.NewReplacer("/", "_", "\\", "_").Replace(called)
		above = above[:max(strings.LastIndexByte(above, '/'), 0)] // its attachment's storage is passed over
	}
	if above != "" {
		called = n.storage(above) + "/" + called
	}
	n.objects[path] = called
	return called
}

// text is a property that is a text, "" when it is not there.
func (n *msgNames) text(storage, property string) string {
	prefix := "__substg1.0_" + property
	if storage != "" {
		prefix = storage + "/" + prefix
	}
	if e := n.entries[prefix+"001F"]; e != nil {
		return strings.TrimRight(utf16Name(n.f.Read(e, 1024), binary.LittleEndian), "\x00")
	}
	if e := n.entries[prefix+"001E"]; e != nil {
		return latin1Name(bytes.TrimRight(n.f.Read(e, 1024), "\x00"))
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
