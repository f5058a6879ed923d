package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// An ISO 9660 image holds one tree of directories or several of the same files: the primary one, with Rock Ridge's names where a Unix tool made
// it, and Joliet's. The tree with the best names is told first, and of the others the files that no tree before has.

const (
	isoSector     = 2048
	isoMaxVolumes = 64
	isoMaxDepth   = 100
	isoMaxParts   = 4096    // extents of one file
	isoMaxSeen    = 1 << 20 // files of one tree that are remembered, for those that another tree has besides
	isoMaxUse     = 32      // continuations of one record's system use fields
)

// isoExtent is where bytes lie. It has a file or directory known again.
type isoExtent struct{ at, size int64 }

// isoRecord is an entry of a directory.
type isoRecord struct {
	isoExtent
	flags       byte
	interleaved bool
	name        string
	mode        uint32 // of Rock Ridge; 0 when it does not say
	link        int64  // block where a directory moved elsewhere begins; 0 when it is none
	moved       bool   // a directory that stands here only because its own place is too deep
	zipped      bool
}

type isoTree struct {
	block  int64
	root   isoRecord
	joliet bool
	rock   bool
	skip   int // bytes before the first system use field
}

type isoReader struct {
	*container
	tree    *isoTree
	dirs    map[int64]bool     // told in this tree, by where they begin
	seen    map[isoExtent]bool // files that were told
	first   bool               // tree
	budget  int64              // bytes of directories that may still be read: they cannot be more than the image
	moved   []isoRecord
	trouble error // the first of those that cost a directory
}

// readISO tells the files of an ISO 9660 image.
func readISO(c *container) error {
	le := binary.LittleEndian
	var trees []*isoTree
	for i := range int64(isoMaxVolumes) {
		b, err := c.readAt((16+i)*isoSector, isoSector)
		if err != nil {
			if len(trees) == 0 {
				return err
			}
			break
		}
		if string(b[1:6]) != "CD001" || b[0] == 255 {
			break
		}
		if b[0] != 1 && b[0] != 2 {
			continue
		}
		t := &isoTree{block: int64(le.Uint16(b[128:]))}
		if t.block != 512 && t.block != 1024 && t.block != 2048 {
			return fmt.Errorf("blocks of %d bytes are not possible", t.block)
		}
		t.joliet = b[0] == 2 && b[88] == '%' && b[89] == '/' && bytes.IndexByte([]byte("@CE"), b[90]) >= 0
		root, ok := t.record(b[156:190])
		if !ok {
			return errors.New("the record of the root is damaged")
		}
		t.root = root
		// The root's first record says whether Rock Ridge is there.
		if b, err := c.readAt(root.at, isoSector); err == nil && b[0] >= 34+7 {
			if use := b[34:b[0]]; string(use[:2]) == "SP" && use[4] == 0xbe && use[5] == 0xef {
				t.rock, t.skip = true, int(use[6])
			}
		}
		trees = append(trees, t)
	}
	if len(trees) == 0 {
		return errors.New("no volume descriptor is there")
	}
	best := 0
	for i, t := range trees {
		rank := func(t *isoTree) int {
			switch {
			case t.rock:
				return 2
			case t.joliet:
				return 1
			}
			return 0
		}
		if rank(t) > rank(trees[best]) {
			best = i
		}
	}
	trees[0], trees[best] = trees[best], trees[0]
	r := &isoReader{container: c, seen: make(map[isoExtent]bool), budget: c.size, first: true}
	for _, t := range trees {
		r.tree, r.dirs, r.moved = t, make(map[int64]bool), nil
		if err := r.directory(t.root.isoExtent, "", 0); err != nil {
			return err
		}
		for _, m := range r.moved { // those that nothing links to
			if err := r.directory(m.isoExtent, m.name, 1); err != nil {
				return err
			}
		}
		r.first = false
	}
	return r.trouble
}

// record reads a directory record, without its system use fields.
func (t *isoTree) record(b []byte) (isoRecord, bool) {
	if len(b) < 34 || int(b[0]) > len(b) || 33+int(b[32]) > int(b[0]) {
		return isoRecord{}, false
	}
	le := binary.LittleEndian
	r := isoRecord{flags: b[25], interleaved: b[26] != 0 || b[27] != 0}
	r.at, r.size = (int64(le.Uint32(b[2:]))+int64(b[1]))*t.block, int64(le.Uint32(b[10:]))
	name := b[33 : 33+int(b[32])]
	if t.joliet {
		u := make([]uint16, len(name)/2)
		for i := range u {
			u[i] = binary.BigEndian.Uint16(name[2*i:])
		}
		r.name = string(utf16.Decode(u))
	} else {
		r.name = latin1Name(name)
	}
	if r.flags&2 == 0 {
		if i := strings.LastIndexByte(r.name, ';'); i > 0 && strings.Trim(r.name[i+1:], "0123456789") == "" {
			r.name = r.name[:i]
		}
		if !t.joliet {
			r.name = strings.TrimSuffix(r.name, ".")
		}
	}
	return r, true
}

// rockRidge reads the system use fields of a record.
func (r *isoReader) rockRidge(rec *isoRecord, use []byte) {
	le := binary.LittleEndian
	var name []byte
	var named bool
	for range isoMaxUse {
		var next []byte
		for len(use) >= 4 {
			n := int(use[2])
			if n < 4 || n > len(use) {
				break
			}
			f := use[:n]
			use = use[n:]
			switch kind := string(f[:2]); {
			case kind == "CE" && n >= 28:
				if length := int64(le.Uint32(f[20:])); length <= isoSector {
					next, _ = r.readAt(int64(le.Uint32(f[4:]))*r.tree.block+int64(le.Uint32(f[12:])), int(length))
				}
			case kind == "NM" && n >= 5 && f[4]&6 == 0:
				if len(name) < maxPath {
					name = append(name, f[5:]...)
				}
				named = true
			case kind == "PX" && n >= 8:
				rec.mode = le.Uint32(f[4:])
			case kind == "CL" && n >= 8:
				rec.link = int64(le.Uint32(f[4:]))
			case kind == "RE":
				rec.moved = true
			case kind == "ZF":
				rec.zipped = true
			case kind == "ST":
				use = nil
			}
		}
		if next == nil {
			break
		}
		use = next
	}
	if named {
		rec.name = latin1Name(name)
	}
}

// lost keeps why a directory cannot be read.
func (r *isoReader) lost(path string, err error) {
	if r.trouble == nil {
		r.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (r *isoReader) directory(e isoExtent, path string, depth int) error {
	if r.dirs[e.at] {
		return nil
	}
	r.dirs[e.at] = true
	if depth > isoMaxDepth {
		r.lost(path, fmt.Errorf("it lies deeper than %d levels", isoMaxDepth))
		return nil
	}
	var file isoRecord // whose extents are being gathered
	var parts []isoExtent
	for at := e.at; at < e.at+e.size; at += isoSector {
		if r.budget -= isoSector; r.budget < 0 {
			r.lost(path, errors.New("the directories are larger than the image"))
			return nil
		}
		b, err := r.readAt(at, int(min(isoSector, e.at+e.size-at)))
		if err != nil {
			r.lost(path, err)
			return r.ctx.Err()
		}
		for len(b) > 0 && b[0] != 0 { // no record crosses a sector's end
			rec, ok := r.tree.record(b)
			if !ok {
				r.lost(path, fmt.Errorf("a record in the sector at %d is damaged", at))
				break
			}
			use := b[33+int(b[32]) : b[0]]
			special := b[32] == 1 && b[33] < 2 // "." and ".."
			if b[32]&1 == 0 && len(use) > 0 {
				use = use[1:]
			}
			b = b[b[0]:]
			if special {
				continue
			}
			if r.tree.rock && len(use) > r.tree.skip {
				r.rockRidge(&rec, use[r.tree.skip:])
			}
			below := path + "/" + rec.name
			if len(below) > maxPath {
				below = below[len(below)-maxPath:]
			}
			switch {
			case rec.link != 0:
				to := isoExtent{at: rec.link * r.tree.block}
				if b, err := r.readAt(to.at, 34); err != nil {
					r.lost(below, err)
				} else {
					to.size = int64(binary.LittleEndian.Uint32(b[10:]))
					if err := r.directory(to, below, depth+1); err != nil {
						return err
					}
				}
				continue
			case rec.flags&2 != 0 && rec.moved:
				r.moved = append(r.moved, rec)
				continue
			case rec.flags&2 != 0:
				if err := r.directory(rec.isoExtent, below, depth+1); err != nil {
					return err
				}
				continue
			}
			if parts = append(parts, rec.isoExtent); len(parts) == 1 {
				file = rec
				file.name = below
			}
			if rec.flags&0x80 != 0 && len(parts) < isoMaxParts {
				continue
			}
			if err := r.file(file, parts, rec.flags&0x80 == 0); err != nil {
				return err
			}
			parts = nil
		}
	}
	if parts != nil {
		return r.file(file, parts, false)
	}
	return nil
}

// file tells a file of one extent or several, unless another tree has it.
func (r *isoReader) file(rec isoRecord, parts []isoExtent, whole bool) error {
	m := Member{Path: cleanPath(rec.name)}
	for _, p := range parts {
		m.Size += p.size
	}
	if m.Size == 0 && rec.mode != 0 && rec.mode&0o170000 != 0o100000 {
		return nil
	}
	if m.Size == 0 && !r.first { // there is no telling which it is
		return nil
	}
	key := isoExtent{parts[0].at, m.Size}
	if r.seen[key] && !r.first {
		return nil
	}
	if len(r.seen) < isoMaxSeen {
		r.seen[key] = true
	} else if !r.first {
		r.lost("", errors.New("there are too many files to tell what another of the image's trees holds besides"))
		return nil
	}
	switch {
	case rec.zipped:
		m.Err = errors.New("it is compressed by zisofs, which is not read")
	case rec.interleaved:
		m.Err = errors.New("it is interleaved with another, which is not read")
	case !whole:
		m.Err = errors.New("its last extent is missing")
	default:
		readers := make([]io.Reader, len(parts))
		for i, p := range parts {
			readers[i] = r.stored(p.at, p.size)
		}
		m.Reader = io.MultiReader(readers...)
	}
	return r.tell(m)
}
