package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"slices"
)

// Bounds of a compound file (OLE 2), the form of an MSI.
const (
	maxEntries   = 100_000 // storages and streams
	maxOLEDepth  = 32
	endOfChain   = 0xfffffffe
	noStream     = 0xffffffff
	oleStorage   = 1
	oleStream    = 2
	oleRoot      = 5
	streamCutoff = 4096
)

// compound reads a compound file as far as an MSI's digest needs it: raw directory entries in their own order, and streams as streams.
type compound struct {
	f          *file
	sector     int64
	fat        []uint32
	mini       []uint32
	miniStream []int64 // offsets of the sectors of the mini stream
	entries    []oleEntry
	left       int64 // bytes that may still be read; streams may share sectors
}

type oleEntry struct {
	raw  [128]byte
	name []byte // UTF-16LE with its NUL
}

func (e *oleEntry) kind() byte    { return e.raw[66] }
func (e *oleEntry) start() uint32 { return binary.LittleEndian.Uint32(e.raw[116:]) }
func (e *oleEntry) size() int64   { return int64(binary.LittleEndian.Uint32(e.raw[120:])) }

var errCompound = errors.New("a damaged compound file")

func (f *file) compound() (*compound, error) {
	head, err := f.bytes(0, 512)
	if err != nil || !bytes.Equal(head[:8], []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) {
		return nil, errCompound
	}
	le := binary.LittleEndian
	shift := le.Uint16(head[30:])
	if shift != 9 && shift != 12 || le.Uint16(head[32:]) != 6 {
		return nil, errCompound
	}
	c := &compound{f: f, sector: 1 << shift, left: 4*f.size + 1<<20}
	sectors := f.size/c.sector + 1

	// The list of the sectors of the allocation table: 109 in the header, the rest in sectors of their own.
	// No more are taken than the file has sectors to tell of: the list may bite its tail, and what stands in unused places is no fault.
	need := sectors/(c.sector/4) + 1
	var list []uint32
	for i := range min(109, need) {
		list = append(list, le.Uint32(head[76+4*i:]))
	}
	for next := le.Uint32(head[68:]); next < endOfChain && int64(len(list)) < need; {
		b, err := c.read(next)
		if err != nil {
			break
		}
		for i := 0; i+8 <= len(b); i += 4 {
			list = append(list, le.Uint32(b[i:]))
		}
		next = le.Uint32(b[len(b)-4:])
	}
	for _, s := range list {
		b, err := c.read(s)
		if err != nil {
			continue
		}
		for i := 0; i < len(b); i += 4 {
			c.fat = append(c.fat, le.Uint32(b[i:]))
		}
	}
	for _, s := range c.chain(c.fat, le.Uint32(head[48:]), sectors) {
		b, err := c.read(s)
		if err != nil {
			return nil, errCompound
		}
		for ; len(b) >= 128; b = b[128:] {
			var e oleEntry
			copy(e.raw[:], b)
			if n := int(le.Uint16(e.raw[64:])); n >= 2 && n <= 64 {
				e.name = e.raw[:n]
			}
			if len(c.entries) == maxEntries {
				return nil, errors.New("a compound file of too many entries")
			}
			c.entries = append(c.entries, e)
		}
	}
	if len(c.entries) == 0 || c.entries[0].kind() != oleRoot {
		return nil, errCompound
	}
	for _, s := range c.chain(c.fat, le.Uint32(head[60:]), sectors) {
		b, err := c.read(s)
		if err != nil {
			return nil, errCompound
		}
		for i := 0; i < len(b); i += 4 {
			c.mini = append(c.mini, le.Uint32(b[i:]))
		}
	}
	for _, s := range c.chain(c.fat, c.entries[0].start(), sectors) {
		c.miniStream = append(c.miniStream, (int64(s)+1)*c.sector)
	}
	return c, nil
}

func (c *compound) read(sector uint32) ([]byte, error) {
	at := (int64(sector) + 1) * c.sector
	if at >= c.f.size {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, c.sector)
	if n := min(c.sector, c.f.size-at); n < c.sector { // a last sector that is cut off
		part, err := c.f.bytes(at, n)
		copy(b, part)
		return b, err
	}
	return c.f.bytes(at, c.sector)
}

// chain returns the sectors from start on, at most limit, for a chain may bite its tail.
func (c *compound) chain(table []uint32, start uint32, limit int64) []uint32 {
	var all []uint32
	for s := start; int64(s) < int64(len(table)) && int64(len(all)) < limit; s = table[s] {
		all = append(all, s)
	}
	return all
}

// copyTo writes a stream.
func (c *compound) copyTo(w io.Writer, e *oleEntry) error {
	size := e.size()
	if size > c.left || size > c.f.size {
		return errCompound
	}
	c.left -= size
	unit, table := c.sector, c.fat
	small := size < streamCutoff
	if small {
		unit, table = 64, c.mini
	}
	s := e.start()
	for rest := size; rest > 0; rest -= unit {
		if int64(s) >= int64(len(table)) {
			return errCompound
		}
		n := min(unit, rest)
		at := (int64(s) + 1) * c.sector
		if small {
			i := int64(s) * 64 / c.sector
			if i >= int64(len(c.miniStream)) {
				return errCompound
			}
			at = c.miniStream[i] + int64(s)*64%c.sector
		}
		// Sectors that follow each other are read in one go.
		last := s
		for n < rest && n < 1<<20 && !small && int64(last) < int64(len(table)) && table[last] == last+1 {
			last++
			add := min(unit, rest-n)
			n += add
		}
		if err := c.f.copyTo(w, at, at+n); err != nil {
			return errCompound
		}
		rest -= (n - 1) / unit * unit
		if int64(last) >= int64(len(table)) {
			return errCompound
		}
		s = table[last]
	}
	return nil
}

// children returns the entries of a storage, in the order that an MSI's digest takes them: by the bytes of their names.
func (c *compound) children(e *oleEntry, seen map[uint32]bool) []*oleEntry {
	var all []*oleEntry
	todo := []uint32{binary.LittleEndian.Uint32(e.raw[76:])}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i == noStream || int64(i) >= int64(len(c.entries)) || seen[i] {
			continue
		}
		seen[i] = true
		x := &c.entries[i]
		all = append(all, x)
		todo = append(todo, binary.LittleEndian.Uint32(x.raw[68:]), binary.LittleEndian.Uint32(x.raw[72:]))
	}
	slices.SortFunc(all, func(a, b *oleEntry) int {
		n := min(len(a.name), len(b.name))
		if d := bytes.Compare(a.name[:n], b.name[:n]); d != 0 {
			return d
		}
		return len(a.name) - len(b.name)
	})
	return all
}

func utf16LE(s string) []byte {
	b := make([]byte, 0, 2*len(s)+2)
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return append(b, 0, 0)
}

var (
	nameSignature   = utf16LE("\x05DigitalSignature")
	nameSignatureEx = utf16LE("\x05MsiDigitalSignatureEx")
)

func isSignature(e *oleEntry) bool {
	return bytes.Equal(e.name, nameSignature) || bytes.Equal(e.name, nameSignatureEx)
}

// digest hashes the streams of a storage and its class.
func (c *compound) digest(w io.Writer, e *oleEntry, seen map[uint32]bool, depth int) error {
	if depth > maxOLEDepth {
		return errCompound
	}
	for _, x := range c.children(e, seen) {
		if depth == 0 && isSignature(x) {
			continue
		}
		var err error
		switch x.kind() {
		case oleStream:
			err = c.copyTo(w, x)
		case oleStorage:
			err = c.digest(w, x, seen, depth+1)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.Write(e.raw[80:96])
	return err
}

// metadata hashes names, sizes, flags and times, which the stream MsiDigitalSignatureEx keeps the digest of.
func (c *compound) metadata(w hash.Hash, e *oleEntry, seen map[uint32]bool, depth int) error {
	if depth > maxOLEDepth {
		return errCompound
	}
	about := func(x *oleEntry) {
		if x.kind() != oleRoot && len(x.name) >= 2 {
			w.Write(x.name[:len(x.name)-2])
		}
		if x.kind() == oleStream {
			w.Write(x.raw[120:124])
		} else {
			w.Write(x.raw[80:96])
		}
		w.Write(x.raw[96:100])
		if x.kind() != oleRoot {
			w.Write(x.raw[100:116])
		}
	}
	about(e)
	for _, x := range c.children(e, seen) {
		switch {
		case depth == 0 && isSignature(x):
		case x.kind() == oleStream:
			about(x)
		case x.kind() == oleStorage:
			if err := c.metadata(w, x, seen, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// stream returns a stream of the root by name; nil when it is not there.
func (c *compound) stream(name []byte) ([]byte, error) {
	for _, x := range c.children(&c.entries[0], map[uint32]bool{}) {
		if x.kind() == oleStream && bytes.Equal(x.name, name) {
			if x.size() > maxCMS {
				return nil, errors.New("a signature that is too large")
			}
			var b bytes.Buffer
			if err := c.copyTo(&b, x); err != nil {
				return nil, err
			}
			if b.Len() == 0 {
				return nil, errors.New("an empty signature")
			}
			return b.Bytes(), nil
		}
	}
	return nil, nil
}

// msi verifies the signature of an installer, or of another compound file that carries one.
func (f *file) msi() error {
	c, err := f.compound()
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
	root := &c.entries[0]
	meta := map[crypto.Hash]bool{}
	digest := f.memo(func(h crypto.Hash) ([]byte, error) {
		w := h.New()
		if ex != nil {
			m := h.New()
			if err := c.metadata(m, root, map[uint32]bool{}, 0); err != nil {
				return nil, err
			}
			meta[h] = bytes.Equal(m.Sum(nil), ex)
			w.Write(ex)
		}
		c.left = 4*f.size + 1<<20
		if err := c.digest(w, root, map[uint32]bool{}, 0); err != nil {
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
