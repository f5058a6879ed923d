package unpack

import (
	"compress/bzip2"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zlib"
)

const (
	xarHeader   = 28
	xarMaxTOC   = 32 << 20 // bytes of the table of contents, unpacked
	xarMaxDepth = 200      // elements of it
)

// xarFile is a file element whose end has not come.
type xarFile struct {
	depth               int
	name, kind          string
	offset, length, raw int64 // of its data; raw is unpacked
	data                bool
	encoding            string
}

// readXAR tells the files of a xar, as the installer packages of macOS are: a table of contents in XML, compressed, and the heap behind it.
func readXAR(c *container) error {
	h, err := c.readAt(0, xarHeader)
	if err != nil || string(h[:4]) != "xar!" {
		return errors.New("it does not begin as it should")
	}
	be := binary.BigEndian
	size, toc := int64(be.Uint16(h[4:])), int64(be.Uint64(h[8:]))
	if size < xarHeader || toc < 0 || toc > c.size-size {
		return errCut
	}
	z, err := zlib.NewReader(c.section(size, toc))
	if err != nil {
		return fmt.Errorf("the table of contents: %w", err)
	}
	limited := &io.LimitedReader{R: z, N: xarMaxTOC}
	d := xml.NewDecoder(limited)
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	heap := size + toc
	var files []*xarFile
	var elements []string
	var text []byte
	base64Name, ended := false, false
	for {
		token, err := d.RawToken()
		if err != nil {
			if limited.N <= 0 {
				return fmt.Errorf("the table of contents is longer than %d bytes", xarMaxTOC)
			}
			if err == io.EOF && ended {
				return nil
			}
			return fmt.Errorf("the table of contents: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(elements) == xarMaxDepth {
				return fmt.Errorf("the table of contents is nested deeper than %d levels", xarMaxDepth)
			}
			elements = append(elements, t.Name.Local)
			text = text[:0]
			base64Name = false
			for _, a := range t.Attr {
				base64Name = base64Name || a.Name.Local == "enctype" && a.Value == "base64"
			}
			if t.Name.Local == "file" {
				files = append(files, &xarFile{depth: len(elements)})
			} else if f := xarInside(files, elements, "data", "encoding"); f != nil {
				for _, a := range t.Attr {
					if a.Name.Local == "style" {
						f.encoding = a.Value
					}
				}
			} else if f := xarInside(files, elements, "data"); f != nil {
				f.data = true
			}
		case xml.CharData:
			if len(text)+len(t) <= maxPath*2 {
				text = append(text, t...)
			}
		case xml.EndElement:
			if len(elements) == 0 || elements[len(elements)-1] != t.Name.Local {
				return errors.New("the table of contents is damaged")
			}
			value := strings.TrimSpace(string(text))
			if f := xarInside(files, elements, "name"); f != nil {
				f.name = string(text)
				if base64Name {
					if b, err := base64.StdEncoding.DecodeString(value); err == nil {
						f.name = latin1Name(b)
					}
				}
			} else if f := xarInside(files, elements, "type"); f != nil {
				f.kind = value
			} else {
				for name, field := range map[string]func(*xarFile) *int64{
					"offset": func(f *xarFile) *int64 { return &f.offset },
					"length": func(f *xarFile) *int64 { return &f.length },
					"size":   func(f *xarFile) *int64 { return &f.raw },
				} {
					if f := xarInside(files, elements, "data", name); f != nil {
						n, err := strconv.ParseInt(value, 10, 64)
						if err != nil || n < 0 {
							n = -1
						}
						*field(f) = n
					}
				}
			}
			if n := len(files); n > 0 && files[n-1].depth == len(elements) {
				if err := c.xarTell(files, heap); err != nil {
					return err
				}
				files = files[:n-1]
			}
			elements = elements[:len(elements)-1]
			text = text[:0]
			ended = len(elements) == 0
		}
	}
}

// xarInside is the file whose element, by the given path from it, is the present one; nil when it is another.
func xarInside(files []*xarFile, elements []string, path ...string) *xarFile {
	if len(files) == 0 {
		return nil
	}
	f := files[len(files)-1]
	if len(elements) != f.depth+len(path) {
		return nil
	}
	for i, p := range path {
		if elements[f.depth+i] != p {
			return nil
		}
	}
	return f
}

// xarTell tells the last of the open files.
func (c *container) xarTell(files []*xarFile, heap int64) error {
	f := files[len(files)-1]
	if !f.data && f.kind != "file" {
		return nil
	}
	var path strings.Builder
	for _, f := range files {
		path.WriteString("/" + f.name)
	}
	m := c.named(strings.TrimPrefix(path.String(), "/"))
	m.Size = f.raw
	var packed io.Reader
	if f.offset < 0 || f.length < 0 || f.raw < 0 || f.offset > c.size-heap || f.length > c.size-heap-f.offset {
		m.Err = errCut
	} else {
		packed = c.stored(heap+f.offset, f.length)
	}
	switch {
	case m.Err != nil:
	case !f.data:
		m.Reader, m.Size = strings.NewReader(""), 0
	case f.encoding == "" || f.encoding == "application/octet-stream":
		m.Reader, m.Size = packed, f.length
	case f.encoding == "application/x-gzip": // zlib in truth
		m.Reader = &lazyReader{open: func() (io.Reader, error) { return zlib.NewReader(packed) }}
	case f.encoding == "application/x-bzip2":
		m.Reader = bzip2.NewReader(packed)
	case f.encoding == "application/x-xz":
		m.Reader = &lazyReader{open: func() (io.Reader, error) { return newXZReader(packed, c), nil }}
	case f.encoding == "application/x-lzma":
		m.Reader = &lazyReader{open: func() (io.Reader, error) {
			// Both kinds are written under this name.
			r := buffered(packed)
			if b, _ := r.Peek(6); string(b) == string(xzMagic) {
				return newXZReader(r, c), nil
			}
			return newLZMAFile(r, c)
		}}
	default:
		m.Err = fmt.Errorf("the encoding %q is not known", f.encoding)
	}
	if m.Reader != nil && m.Size > 0 {
		m.Reader = &exactReader{r: m.Reader, left: m.Size}
	}
	return c.tell(m)
}
