package unpack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An archive of Electron (asar) is a tree of folders and files in JSON, with four lengths before it, and behind it the files as they are.

const (
	asarHead      = 16
	asarMaxHeader = 64 << 20
	asarMaxDepth  = 256 // folders in each other
)

// asarReader follows the tree.
type asarReader struct {
	*container
	d    *json.Decoder
	data int64 // where the files begin
}

func readAsar(c *container) error {
	le := binary.LittleEndian
	b, err := c.readAt(0, asarHead)
	if err != nil {
		return err
	}
	whole, text := int64(le.Uint32(b[4:])), int64(le.Uint32(b[12:]))
	if le.Uint32(b) != 4 || text > whole-8 {
		return errors.New("it does not begin as it should")
	}
	header, err := readSome(c.section(asarHead, text), text, asarMaxHeader)
	if err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	a := &asarReader{container: c, d: json.NewDecoder(bytes.NewReader(header)), data: 8 + whole}
	a.d.UseNumber()
	return a.node("", 0)
}

var errAsar = errors.New("the header is damaged")

// delimiter reads one that must come.
func (a *asarReader) delimiter(want json.Delim) error {
	t, err := a.d.Token()
	if err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	if t != want {
		return errAsar
	}
	return nil
}

// each calls f with each key of an object, whose value f must read.
func (a *asarReader) each(f func(key string) error) error {
	if err := a.delimiter('{'); err != nil {
		return err
	}
	for a.d.More() {
		t, err := a.d.Token()
		if err != nil {
			return fmt.Errorf("the header: %w", err)
		}
		key, ok := t.(string)
		if !ok {
			return errAsar
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return a.delimiter('}')
}

// node reads a folder or a file, and tells the file.
func (a *asarReader) node(path string, depth int) error {
	if depth > asarMaxDepth {
		return fmt.Errorf("the header has folders in each other beyond %d", asarMaxDepth)
	}
	folder := false
	var size json.Number
	var offset, link string
	var unpacked bool
	var integrity struct {
		Algorithm, Hash string
	}
	err := a.each(func(key string) error {
		var err error
		switch key {
		case "files":
			folder = true
			return a.each(func(name string) error {
				if len(path)+len(name) > 2*maxPath {
					return fmt.Errorf("a path of more than %d bytes", 2*maxPath)
				}
				return a.node(path+"/"+name, depth+1)
			})
		case "size":
			err = a.d.Decode(&size)
		case "offset":
			err = a.d.Decode(&offset)
		case "link":
			err = a.d.Decode(&link)
		case "unpacked":
			err = a.d.Decode(&unpacked)
		case "integrity":
			err = a.d.Decode(&integrity)
		default:
			var skipped json.RawMessage
			err = a.d.Decode(&skipped)
		}
		if err != nil {
			return fmt.Errorf("the header: %s: %w", cleanPath(path), err)
		}
		return nil
	})
	if err != nil || folder || link != "" {
		return err
	}
	m := a.named(strings.TrimPrefix(path, "/"))
	at, wrong := strconv.ParseInt(offset, 10, 64)
	if m.Size, err = size.Int64(); err != nil {
		return fmt.Errorf("the header: %s has no size", m.Path)
	}
	switch {
	case unpacked:
		m.Err = errors.New("it lies beside the archive, in the folder of what is not packed")
	case wrong != nil || at < 0 || m.Size < 0:
		m.Err = errAsar
	case at > a.size-a.data || m.Size > a.size-a.data-at:
		m.Err = errCut
	default:
		m.Reader = a.stored(a.data+at, m.Size)
		if want, err := hex.DecodeString(integrity.Hash); err == nil && strings.EqualFold(integrity.Algorithm, "sha256") {
			m.Reader = &hashChecker{m.Reader, sha256.New(), want}
		}
	}
	return a.tell(m)
}
