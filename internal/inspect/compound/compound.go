// Package compound reads compound files (OLE2, [MS-CFB]): the directory and the streams, each only as far as the file goes.
package compound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// Magic is what a compound file begins with.
const Magic = "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"

// maxEntries bounds the directory.
const maxEntries = 1 << 16

// Kind is what a directory entry is.
type Kind byte

// The kinds of entry.
const (
	Storage Kind = 1
	Stream  Kind = 2
	Root    Kind = 5
)

// Entry is a storage or a stream.
type Entry struct {
	Path  string // names joined by slashes; "" for the root
	Name  string
	Kind  Kind
	CLSID [16]byte // of a storage or the root, as it lies in the file
	Size  int64    // as claimed

	Raw    [128]byte // its record, as it lies in the directory
	Parent int       // the storage that it is in: index into Entries; -1 for the root

	start             uint32
	left, right, down uint32
}

// File is an open compound file.
type File struct {
	Entries []Entry // reachable ones, the root first, each storage before what is in it

	r          io.ReaderAt
	size       int64
	shift      uint // log2 of a sector
	mshift     uint // log2 of a mini sector
	cutoff     int64
	difat      []uint32
	minis      []uint32 // sectors of the mini FAT
	ministream []uint32 // sectors of the root's stream, which mini sectors lie in
	cached     uint32   // index into difat of the sector in fat; ^0 when none
	fat        []byte
}

const free = 0xFFFFFFF0 // sector numbers from here on are marks

// Open reads the directory of the size bytes of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var h [512]byte
	if _, err := r.ReadAt(h[:], 0); err != nil && size >= 512 {
		return nil, err
	} else if size < 512 || string(h[:8]) != Magic {
		return nil, errors.New("no compound file")
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	f := &File{r: r, size: size, shift: uint(u16(h[30:])), mshift: uint(u16(h[32:])), cutoff: int64(u32(h[56:])), cached: ^uint32(0)}
	if f.shift < 7 || f.shift > 16 || f.mshift >= f.shift || f.mshift < 4 {
		return nil, fmt.Errorf("sectors of 2^%d and 2^%d bytes", f.shift, f.mshift)
	}
	for i := range 109 {
		if s := u32(h[76+4*i:]); s < free {
			f.difat = append(f.difat, s)
		}
	}
	// Further DIFAT sectors form a chain by their last entry.
	most := int(size>>f.shift) + 1
	buf := make([]byte, 1<<f.shift)
	for s, n := u32(h[68:]), 0; s < free && n < most && len(f.difat) < most; n++ {
		if f.sector(s, buf) != nil {
			break
		}
		for i := 0; i < len(buf)-4; i += 4 {
			if s := u32(buf[i:]); s < free {
				f.difat = append(f.difat, s)
			}
		}
		s = u32(buf[len(buf)-4:])
	}
	f.fat = make([]byte, 1<<f.shift)
	f.minis = f.chain(u32(h[60:]), most)

	var all []Entry
	for _, s := range f.chain(u32(h[48:]), maxEntries*128>>f.shift+1) {
		if f.sector(s, buf) != nil {
			break
		}
		for b := buf; len(b) >= 128 && len(all) < maxEntries; b = b[128:] {
			all = append(all, entry(b[:128], f.shift))
		}
	}
	if len(all) == 0 || all[0].Kind != Root {
		return nil, errors.New("the directory cannot be read")
	}
	f.ministream = f.chain(all[0].start, most)
	f.tree(all)
	return f, nil
}

func entry(b []byte, shift uint) Entry {
	n := int(binary.LittleEndian.Uint16(b[64:]))
	n = max(0, min(n, 64)-2) / 2
	units := make([]uint16, n)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	u32 := binary.LittleEndian.Uint32
	e := Entry{Name: string(utf16.Decode(units)), Kind: Kind(b[66]), left: u32(b[68:]), right: u32(b[72:]), down: u32(b[76:]), start: u32(b[116:])}
	copy(e.CLSID[:], b[80:96])
	copy(e.Raw[:], b)
	e.Size = int64(u32(b[120:]))
	if shift > 9 { // the upper half is garbage in files of 512-byte sectors
		if high := int64(u32(b[124:])); high < 1<<31 {
			e.Size |= high << 32
		}
	}
	return e
}

// tree puts the reachable entries in order. Every entry is visited once, so cycles end.
func (f *File) tree(all []Entry) {
	type step struct {
		id     uint32
		path   string
		parent int
	}
	seen := make([]bool, len(all))
	seen[0] = true
	root := all[0]
	root.Path, root.Parent = "", -1
	f.Entries = append(f.Entries, root)
	todo := []step{{id: root.down}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if int64(s.id) >= int64(len(all)) || seen[s.id] {
			continue
		}
		seen[s.id] = true
		e := all[s.id]
		todo = append(todo, step{e.right, s.path, s.parent}, step{e.left, s.path, s.parent})
		if e.Kind != Storage && e.Kind != Stream {
			continue
		}
		e.Path, e.Parent = e.Name, s.parent
		if s.path != "" {
			e.Path = s.path + "/" + e.Name
		}
		if len(e.Path) > 1024 { // deeper than any real one, and each level costs memory
			continue
		}
		f.Entries = append(f.Entries, e)
		if e.Kind == Storage {
			todo = append(todo, step{e.down, e.Path, len(f.Entries) - 1})
		}
	}
}

// sector fills buf with a sector; what lies behind the file's end is zero.
func (f *File) sector(n uint32, buf []byte) error {
	off := (int64(n) + 1) << f.shift
	if off >= f.size {
		return io.ErrUnexpectedEOF
	}
	k, err := f.r.ReadAt(buf, off)
	if k == 0 && err != nil {
		return err
	}
	clear(buf[k:])
	return nil
}

// next returns the sector after n.
func (f *File) next(n uint32) uint32 {
	per := uint32(1) << (f.shift - 2)
	at := n / per
	if int64(at) >= int64(len(f.difat)) {
		return ^uint32(0)
	}
	if f.cached != at {
		f.cached = ^uint32(0)
		if f.sector(f.difat[at], f.fat) != nil {
			return ^uint32(0)
		}
		f.cached = at
	}
	return binary.LittleEndian.Uint32(f.fat[n%per*4:])
}

// chain returns at most most sectors from s on. No chain is longer than the file has sectors.
func (f *File) chain(s uint32, most int) []uint32 {
	most = min(most, int(f.size>>f.shift)+1)
	var all []uint32
	for s < free && len(all) < most {
		all = append(all, s)
		s = f.next(s)
	}
	return all
}

// Find returns the stream or storage of a path, nil when there is none.
func (f *File) Find(path string) *Entry {
	for i := range f.Entries {
		if f.Entries[i].Path == path {
			return &f.Entries[i]
		}
	}
	return nil
}

// Read returns at most most bytes of a stream, fewer when the file does not hold them.
func (f *File) Read(e *Entry, most int64) []byte {
	most = min(most, e.Size, f.size)
	if e.Kind != Stream || most <= 0 {
		return nil
	}
	var out []byte
	if e.Size >= f.cutoff {
		buf := make([]byte, 1<<f.shift)
		for _, s := range f.chain(e.start, int((most-1)>>f.shift)+1) {
			if f.sector(s, buf) != nil {
				break
			}
			out = append(out, buf...)
		}
		return out[:min(int64(len(out)), most)]
	}
	buf := make([]byte, 1<<f.shift)
	mini := make([]byte, 1<<f.mshift)
	per := int64(1) << (f.shift - 2)
	for s, n := e.start, int64(0); s < free && n <= (most-1)>>f.mshift; n++ {
		at := int64(s) << f.mshift
		k := at >> f.shift
		if k >= int64(len(f.ministream)) {
			break
		}
		off := (int64(f.ministream[k])+1)<<f.shift + at&(1<<f.shift-1)
		got, _ := f.r.ReadAt(mini, off)
		if got == 0 {
			break
		}
		clear(mini[got:])
		out = append(out, mini...)
		if int64(s)/per >= int64(len(f.minis)) || f.sector(f.minis[int64(s)/per], buf) != nil {
			break
		}
		s = binary.LittleEndian.Uint32(buf[int64(s)%per*4:])
	}
	return out[:min(int64(len(out)), most)]
}

// Stream gives a stream's bytes as they are read; it ends early when the file does not hold them all. What is kept in mini sectors is read at once,
// and is empty when it is over most bytes.
func (f *File) Stream(e *Entry, most int64) io.Reader {
	switch {
	case e.Kind != Stream:
		return bytes.NewReader(nil)
	case e.Size < f.cutoff:
		if e.Size > most {
			return bytes.NewReader(nil)
		}
		return bytes.NewReader(f.Read(e, e.Size))
	}
	// A chain that turns back on itself ends with the size, which is no larger than the file's.
	return &stream{f: f, next: e.start, left: min(e.Size, f.size)}
}

type stream struct {
	f    *File
	next uint32
	left int64
	buf  []byte
	out  []byte // of buf, not yet taken
}

func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.out) == 0 {
		if s.left <= 0 || s.next >= free {
			return 0, io.EOF
		}
		if s.buf == nil {
			s.buf = make([]byte, 1<<s.f.shift)
		}
		if err := s.f.sector(s.next, s.buf); err != nil {
			return 0, err
		}
		s.out = s.buf[:min(s.left, int64(len(s.buf)))]
		s.left -= int64(len(s.out))
		s.next = s.f.next(s.next)
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}
