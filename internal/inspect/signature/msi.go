package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"slices"

	"spoor/internal/inspect/compound"
)

// maxOLEDepth bounds the storages of an installer that stand in each other.
const maxOLEDepth = 32

const (
	nameSignature   = "\x05DigitalSignature"
	nameSignatureEx = "\x05MsiDigitalSignatureEx"
)

var errCompound = errors.New("a damaged compound file")

// installer is a compound file as an MSI's digest takes it: what is in each storage, by the bytes of the names.
type installer struct {
	*compound.File
	in   map[int][]int // the entries in a storage, by their indices
	left int64         // bytes that may still be read; streams may share sectors
}

func (f *file) installer() (*installer, error) {
	c, err := compound.Open(f.r, f.size)
	if err != nil {
		return nil, err
	}
	x := &installer{c, map[int][]int{}, 4*f.size + 1<<20}
	for i := range c.Entries {
		if e := &c.Entries[i]; e.Parent >= 0 {
			x.in[e.Parent] = append(x.in[e.Parent], i)
		}
	}
	for _, all := range x.in {
		slices.SortFunc(all, func(a, b int) int { return compareNames(rawName(&c.Entries[a]), rawName(&c.Entries[b])) })
	}
	return x, nil
}

// rawName is a name in UTF-16 with its NUL.
func rawName(e *compound.Entry) []byte {
	n := int(binary.LittleEndian.Uint16(e.Raw[64:]))
	if n < 2 || n > 64 {
		return nil
	}
	return e.Raw[:n]
}

func compareNames(a, b []byte) int {
	n := min(len(a), len(b))
	if d := bytes.Compare(a[:n], b[:n]); d != 0 {
		return d
	}
	return len(a) - len(b)
}

func isSignature(e *compound.Entry) bool {
	return e.Parent == 0 && (e.Name == nameSignature || e.Name == nameSignatureEx)
}

// copyTo writes a stream.
func (c *installer) copyTo(w io.Writer, e *compound.Entry) error {
	if e.Size > c.left {
		return errCompound
	}
	c.left -= e.Size
	if n, err := io.Copy(w, c.Stream(e, maxCMS)); err != nil || n != e.Size {
		return errCompound
	}
	return nil
}

// digest hashes the streams of a storage and its class.
func (c *installer) digest(w io.Writer, storage, depth int) error {
	if depth > maxOLEDepth {
		return errCompound
	}
	for _, i := range c.in[storage] {
		var err error
		switch e := &c.Entries[i]; {
		case isSignature(e):
		case e.Kind == compound.Stream:
			err = c.copyTo(w, e)
		case e.Kind == compound.Storage:
			err = c.digest(w, i, depth+1)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.Write(c.Entries[storage].CLSID[:])
	return err
}

// metadata hashes names, sizes, flags and times, which the stream MsiDigitalSignatureEx keeps the digest of.
func (c *installer) metadata(w hash.Hash, storage, depth int) error {
	if depth > maxOLEDepth {
		return errCompound
	}
	about := func(e *compound.Entry) {
		if name := rawName(e); e.Kind != compound.Root && len(name) >= 2 {
			w.Write(name[:len(name)-2])
		}
		if e.Kind == compound.Stream {
			w.Write(e.Raw[120:124])
		} else {
			w.Write(e.CLSID[:])
		}
		w.Write(e.Raw[96:100])
		if e.Kind != compound.Root {
			w.Write(e.Raw[100:116])
		}
	}
	about(&c.Entries[storage])
	for _, i := range c.in[storage] {
		switch e := &c.Entries[i]; {
		case isSignature(e):
		case e.Kind == compound.Stream:
			about(e)
		case e.Kind == compound.Storage:
			if err := c.metadata(w, i, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// stream returns a stream of the root by name; nil when it is not there.
func (c *installer) stream(name string) ([]byte, error) {
	e := c.Find(name)
	if e == nil || e.Kind != compound.Stream {
		return nil, nil
	}
	if e.Size > maxCMS {
		return nil, errors.New("a signature that is too large")
	}
	b := c.Read(e, maxCMS)
	if int64(len(b)) != e.Size {
		return nil, errCompound
	}
	if len(b) == 0 {
		return nil, errors.New("an empty signature")
	}
	return b, nil
}

// msi verifies the signature of an installer, or of another compound file that carries one.
func (f *file) msi() error {
	c, err := f.installer()
	if err != nil {
		return nil // without its directory, there is no telling that there was a signature
	}
	sig, err := c.stream(nameSignature)
	if err != nil {
		return err
	}
	if sig == nil {
		return nil
	}
	ex, err := c.stream(nameSignatureEx)
	if err != nil {
		return err
	}
	meta := map[crypto.Hash]bool{}
	digest := f.memo(func(h crypto.Hash) ([]byte, error) {
		w := h.New()
		if ex != nil {
			m := h.New()
			if err := c.metadata(m, 0, 0); err != nil {
				return nil, err
			}
			meta[h] = bytes.Equal(m.Sum(nil), ex)
			w.Write(ex)
		}
		c.left = 4*f.size + 1<<20
		if err := c.digest(w, 0, 0); err != nil {
			return nil, err
		}
		return w.Sum(nil), nil
	})
	f.authenticode("MSI", sig, func(in *indirect, x *finding) {
		f.compare(digest)(in, x)
		if ex != nil && !meta[in.hash] {
			x.fail(changed, "changed after signing: names, sizes or times of its streams are not the signed ones")
		}
	})
	return nil
}
