package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zlib"
)

// An ISO 9660 image holds one tree of directories or several of the same files: the primary one, with Rock Ridge's names where a Unix tool made
// it, and Joliet's. The tree with the best names is told first, and of the others the files that no tree before has.

const (
	isoSector      = 2048
	isoMaxVolumes  = 64
	isoMaxDepth    = 100
	isoMaxParts    = 4096    // extents of one file
	isoMaxSeen     = 1 << 20 // files of one tree that are remembered, for those that another tree has besides
	isoMaxSessions = 100
	isoMaxUse      = 32 // continuations of one record's system use fields
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
	end    int64 // of the volume, as it says
	joliet bool
	rock   bool
	skip   int // bytes before the first system use field
}

type isoReader struct {
	*container
	tree     *isoTree
	dirs     map[int64]bool     // told in this tree, by where they begin
	seen     map[isoExtent]bool // files that were told
	first    bool               // tree
	budget   int64              // bytes of directories that may still be read: they cannot be more than the image
	moved    []isoRecord
	boots    map[int64]int64 // where boot images begin, and how long the files are that begin there
	numbered int             // boot images that were told
	trouble  error           // the first of those that cost a directory
}

// readISO tells the files of an ISO 9660 image, then its boot images. Of an image to which sessions were added, the trees of each are told; of one
// that has a UDF volume besides, the files that only this has.
func readISO(c *container) error {
	if err := c.cook(); err != nil {
		return err
	}
	r := &isoReader{container: c, seen: make(map[isoExtent]bool), budget: c.size, first: true, boots: make(map[int64]int64)}
	trees, catalog, udf, err := r.volumes(0)
	if err != nil {
		return err
	}
	var names []isoBoot
	if catalog > 0 {
		names = r.catalog(catalog)
	}
	if err := r.session(trees); err != nil {
		return err
	}
	// A session that was added begins behind the one before, on a boundary of sectors.
	var end int64
	for _, t := range trees {
		end = max(end, t.end)
	}
	for range isoMaxSessions {
		at, ok := r.nextSession(end)
		if !ok {
			break
		}
		trees, _, also, err := r.volumes(at)
		if err != nil || len(trees) == 0 {
			break
		}
		udf = udf || also
		if err := r.session(trees); err != nil {
			return err
		}
		end = at + 16*isoSector
		for _, t := range trees {
			end = max(end, t.end)
		}
	}
	for _, b := range names {
		if err := r.boot(b); err != nil {
			return err
		}
	}
	if udf {
		if err := c.udf(func(at, size int64) bool { return r.seen[isoExtent{at, size}] }); err != nil {
			if c.stop != nil || c.ctx.Err() != nil {
				return err
			}
			if r.trouble == nil {
				r.trouble = fmt.Errorf("the UDF volume: %w", err)
			}
		}
	}
	return r.trouble
}

// volumes reads the descriptors of a session that begins at: the best tree first. It also tells where the catalogue of boot images is, 0 for none,
// and whether a UDF volume shares the disc.
func (r *isoReader) volumes(start int64) (trees []*isoTree, catalog int64, udf bool, err error) {
	le := binary.LittleEndian
	ended := false
	for i := range int64(isoMaxVolumes) {
		at := start + (16+i)*isoSector
		b, err := r.readAt(at, isoSector)
		if err != nil {
			if len(trees) == 0 {
				return nil, 0, false, err
			}
			break
		}
		if kind := string(b[1:6]); kind != "CD001" {
			udf = udf || kind == "NSR02" || kind == "NSR03"
			if kind != "BEA01" && kind != "NSR02" && kind != "NSR03" {
				break
			}
			continue
		}
		if b[0] == 255 {
			ended = true
		}
		if b[0] == 0 && string(b[7:30]) == "EL TORITO SPECIFICATION" && catalog == 0 {
			catalog = int64(le.Uint32(b[0x47:])) * isoSector
		}
		if ended || b[0] != 1 && b[0] != 2 {
			continue
		}
		t := &isoTree{block: int64(le.Uint16(b[128:]))}
		if t.block != 512 && t.block != 1024 && t.block != 2048 {
			return nil, 0, false, fmt.Errorf("blocks of %d bytes are not possible", t.block)
		}
		t.end = min(start, r.size) + int64(le.Uint32(b[80:]))*t.block
		t.joliet = b[0] == 2 && b[88] == '%' && b[89] == '/' && bytes.IndexByte([]byte("@CE"), b[90]) >= 0
		root, ok := t.record(b[156:190])
		if !ok {
			return nil, 0, false, errors.New("the record of the root is damaged")
		}
		t.root = root
		// The root's first record says whether Rock Ridge is there.
		if b, err := r.readAt(root.at, isoSector); err == nil && b[0] >= 34+7 {
			if use := b[34:b[0]]; string(use[:2]) == "SP" && use[4] == 0xbe && use[5] == 0xef {
				t.rock, t.skip = true, int(use[6])
			}
		}
		trees = append(trees, t)
	}
	if len(trees) == 0 {
		return nil, 0, udf, errors.New("no volume descriptor is there")
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
	return trees, catalog, udf, nil
}

// session tells the files of a session's trees that none before had.
func (r *isoReader) session(trees []*isoTree) error {
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
	return nil
}

// nextSession is where the next session begins behind from: sixteen sectors before the next primary volume descriptor.
func (r *isoReader) nextSession(from int64) (int64, bool) {
	const step = 32 // sectors that are read at once
	for at := max(from/isoSector, 17) * isoSector; at < r.size; at += step * isoSector {
		b := make([]byte, min(step*isoSector, r.size-at))
		if n, _ := r.r.ReadAt(b, at); n < len(b) {
			return 0, false
		}
		for i := 0; i+7 <= len(b); i += isoSector {
			if string(b[i:i+7]) == "\x01CD001\x01" {
				return at + int64(i) - 16*isoSector, true
			}
		}
	}
	return 0, false
}

// isoBoot is an entry of the catalogue of boot images.
type isoBoot struct {
	platform, media byte
	at, size        int64
}

// catalog reads the catalogue of boot images (El Torito). A file that begins where an image does says how long this is.
func (r *isoReader) catalog(at int64) []isoBoot {
	b, err := r.readAt(at, isoSector)
	if err != nil || b[0] != 1 || b[30] != 0x55 || b[31] != 0xaa {
		r.lost("", errors.New("the catalogue of boot images is damaged"))
		return nil
	}
	le := binary.LittleEndian
	var boots []isoBoot
	platform := b[1]
	for e := b[32:]; len(e) >= 32; e = e[32:] {
		switch e[0] {
		case 0x90, 0x91:
			platform = e[1]
		case 0x88, 0:
			i := isoBoot{platform: platform, media: e[1] & 15, at: int64(le.Uint32(e[8:])) * isoSector, size: int64(le.Uint16(e[6:])) * 512}
			if i.at == 0 {
				continue
			}
			switch i.media {
			case 1, 2, 3: // a floppy disk is whole
				i.size = []int64{1200, 1440, 2880}[i.media-1] << 10
			}
			boots = append(boots, i)
			r.boots[i.at] = 0
		}
	}
	return boots
}

// boot tells a boot image.
func (r *isoReader) boot(b isoBoot) error {
	name := map[byte]string{0: "BIOS", 1: "PowerPC", 2: "Mac", 0xef: "EFI"}[b.platform]
	if name == "" {
		name = fmt.Sprintf("platform %d", b.platform)
	}
	kind := "no emulation"
	if b.media > 0 && b.media < 5 {
		kind = []string{"1.2M floppy", "1.44M floppy", "2.88M floppy", "hard disk"}[b.media-1]
	}
	if size := r.boots[b.at]; size > b.size && (b.media == 0 || b.media > 3) {
		b.size = size
	}
	if size := r.volumeSize(b.at); size > b.size {
		b.size = size
	}
	r.numbered++
	return r.tell(Member{Path: fmt.Sprintf("[BOOT]/%d %s %s.img", r.numbered, name, kind), Size: b.size, Reader: r.stored(b.at, b.size)})
}

// volumeSize is how long a FAT volume at a place says it is, 0 when none is there: the catalogue's count of sectors is often that of the first ones.
func (r *isoReader) volumeSize(at int64) int64 {
	b, err := r.readAt(at, 512)
	if err != nil || b[510] != 0x55 || b[511] != 0xaa {
		return 0
	}
	g, err := fatGeometryOf(b)
	if err != nil || g.total > r.size-min(at, r.size) {
		return 0
	}
	return g.total
}

// cook takes away what surrounds the data in the sectors of a raw image of a disc.
func (c *container) cook() error {
	h, err := c.readAt(0, 16)
	if err != nil || string(h[:12]) != isoSync {
		return nil
	}
	raw := rawSectors{r: c.r}
	for _, raw.stride = range []int64{2352, 2448} {
		if b, err := c.readAt(raw.stride, 12); err == nil && string(b) == isoSync {
			break
		}
	}
	switch h[15] {
	case 1:
		raw.skip = 16
	case 2:
		raw.skip = 24
	default:
		return fmt.Errorf("sectors of the mode %d are not known", h[15])
	}
	raw.size = c.size / raw.stride * isoSector
	c.r, c.size = raw, raw.size
	return nil
}

const isoSync = "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00" // begins every raw sector

// rawSectors gives the 2,048 bytes of data of each raw sector.
type rawSectors struct {
	r                  io.ReaderAt
	stride, skip, size int64
}

func (s rawSectors) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= s.size {
			return n, io.EOF
		}
		in := off % isoSector
		k := min(len(p)-n, int(isoSector-in))
		m, err := s.r.ReadAt(p[n:n+k], off/isoSector*s.stride+s.skip+in)
		n += m
		if m < k {
			return n, err
		}
		off += int64(k)
	}
	return n, nil
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
	if size, ok := r.boots[parts[0].at]; ok {
		r.boots[parts[0].at] = max(size, m.Size)
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
	case rec.interleaved:
		m.Err = errors.New("it is interleaved with another, which is not read")
	case !whole:
		m.Err = errors.New("its last extent is missing")
	default:
		readers := make([]io.Reader, len(parts))
		for i, p := range parts {
			readers[i] = r.stored(p.at, p.size)
		}
		if len(parts) == 1 && !rec.zipped {
			m.Key = fmt.Sprintf("%d %d", parts[0].at, parts[0].size)
		}
		m.Reader = io.MultiReader(readers...)
		if rec.zipped && len(parts) == 1 {
			if z, err := r.zisofs(parts[0]); err == nil {
				m.Reader, m.Size = z, z.size
			} else {
				m.Reader, m.Err = nil, err
			}
		} else if rec.zipped {
			m.Reader, m.Err = nil, errors.New("it is compressed by zisofs and has several extents, which is not read")
		}
	}
	return r.tell(m)
}

// isoZipped is a file that is compressed block by block (zisofs).
type isoZipped struct {
	r     *isoReader
	file  isoExtent
	head  int64 // where the places of the blocks stand in it
	block int64
	size  int64 // unpacked
	next  int64 // block
	out   []byte
	err   error
}

func (r *isoReader) zisofs(e isoExtent) (*isoZipped, error) {
	h, err := r.readAt(e.at, 16)
	if err != nil {
		return nil, err
	}
	if string(h[:8]) != "\x37\xe4\x53\x96\xc9\xdb\xd6\x07" {
		return nil, errors.New("it is compressed by a kind of zisofs that is not read")
	}
	if h[13] < 15 || h[13] > 17 {
		return nil, fmt.Errorf("zisofs with blocks of 2^%d bytes", h[13])
	}
	return &isoZipped{r: r, file: e, head: int64(h[12]) * 4, block: 1 << h[13], size: int64(binary.LittleEndian.Uint32(h[8:]))}, nil
}

func (z *isoZipped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(z.out) == 0 {
		if z.err == nil && z.next*z.block >= z.size {
			z.err = io.EOF
		}
		if z.err == nil {
			z.out, z.err = z.unpack(z.next, min(z.block, z.size-z.next*z.block))
			z.next++
		}
		if z.err != nil {
			return 0, z.err
		}
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// unpack decompresses a block; one without bytes is zeros.
func (z *isoZipped) unpack(i, size int64) ([]byte, error) {
	b, err := z.r.readAt(z.file.at+z.head+4*i, 8)
	if err != nil {
		return nil, err
	}
	from, to := int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
	if from > to || to > z.file.size {
		return nil, errCut
	}
	out := make([]byte, size)
	if from == to {
		return out, nil
	}
	in, err := zlib.NewReader(z.r.section(z.file.at+from, to-from))
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(in, out)
	return out, err
}
