package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// A UDF volume is found by an anchor at one of a few places, which points to descriptors of the volume, of its partitions and of how logical blocks
// are found in them: as they lie, by a table at the end of a disc that is written once (VAT), through a file (metadata, from 2.50 on), or past packets
// that went bad (sparable). Files and directories are told by entries (ICB) that list extents.

const (
	udfMaxDepth   = 100
	udfMaxDirs    = 1 << 20
	udfMaxExtents = 1 << 16 // of one file
	udfMaxTable   = 16 << 20
	udfMaxMaps    = 4
	udfMaxHops    = 1 << 10 // blocks that continue a list of extents, of descriptors or of entries
)

// udfAddress is a logical block of a partition that a map knows.
type udfAddress struct {
	block int64
	part  int
}

// udfMap is how blocks of a partition are found.
type udfMap struct {
	start, length int64             // of the partition, in blocks
	through       []extent          // the metadata file
	table         []byte            // the VAT
	packets       map[uint32]uint32 // of a sparable one: bad to good, both the first block's
	packet        int64
	why           error // it cannot be read
}

// udfFile is an entry of a file or directory.
type udfFile struct {
	kind    byte
	size    int64
	extents []extent
	inline  []byte // its bytes, when they stand in the entry
	err     error  // why the extents are not known
}

type udfReader struct {
	*container
	block   int64
	maps    []udfMap
	dirs    map[udfAddress]bool
	told    func(at, size int64) bool // a tree told before has the file; nil when there is none
	budget  int64                     // bytes of directories that may still be read
	trouble error
}

// readUDF tells the files of a UDF volume.
func readUDF(c *container) error { return c.udf(nil) }

// udf tells the files of a UDF volume, less those that told knows.
func (c *container) udf(told func(at, size int64) bool) error {
	r := &udfReader{container: c, dirs: make(map[udfAddress]bool), told: told, budget: 2*c.size + 1<<20}
	le := binary.LittleEndian
	var volume []byte // the logical volume's descriptor
	parts := make(map[uint16]udfMap)
	var why error
search:
	for _, sector := range []int64{2048, 512, 4096, 1024} {
		last := c.size/sector - 1
		for _, at := range []int64{256, last - 256, last, 512} {
			anchor, err := c.readAt(at*sector, 512)
			if err != nil || !udfTag(anchor, 2) || int64(le.Uint32(anchor[12:])) != at {
				continue
			}
			for _, e := range []int{16, 24} { // the main sequence of descriptors and its copy
				r.block = sector
				if volume, why = r.sequence(int64(le.Uint32(anchor[e+4:])), int64(le.Uint32(anchor[e:]))/sector, parts); volume != nil {
					break search
				}
			}
		}
	}
	if volume == nil {
		if why != nil {
			return why
		}
		return errors.New("no anchor that points to a volume is there")
	}
	if r.block = int64(le.Uint32(volume[212:])); r.block < 512 || r.block > 32<<10 || r.block&(r.block-1) != 0 {
		return fmt.Errorf("blocks of %d bytes are not possible", r.block)
	}
	r.partitions(volume, parts)
	set, err := r.read(udfAddressOf(volume[248:]), 512)
	if err != nil || !udfTag(set, 256) {
		return errors.New("the descriptor of the set of files is not there")
	}
	if err := r.directory(udfAddressOf(set[400:]), "", 0); err != nil {
		return err
	}
	return r.trouble
}

// udfTag reports whether a descriptor begins with its tag, whose bytes add up.
func udfTag(b []byte, kind uint16) bool {
	if len(b) < 16 || binary.LittleEndian.Uint16(b) != kind {
		return false
	}
	var sum byte
	for i, c := range b[:16] {
		if i != 4 {
			sum += c
		}
	}
	return sum == b[4]
}

// udfAddressOf reads a long allocation descriptor's place.
func udfAddressOf(b []byte) udfAddress {
	return udfAddress{int64(binary.LittleEndian.Uint32(b[4:])), int(binary.LittleEndian.Uint16(b[8:]))}
}

// sequence reads the descriptors of n sectors, of which that of the logical volume is returned.
func (r *udfReader) sequence(at, n int64, parts map[uint16]udfMap) (volume []byte, err error) {
	le := binary.LittleEndian
	for range udfMaxHops {
		if n--; n < 0 {
			return volume, nil
		}
		b, err := r.readAt(at*r.block, 512)
		if err != nil {
			return volume, err
		}
		switch {
		case udfTag(b, 3): // it goes on elsewhere
			n, at = int64(le.Uint32(b[20:]))/r.block, int64(le.Uint32(b[24:]))-1
		case udfTag(b, 5):
			parts[le.Uint16(b[22:])] = udfMap{start: int64(le.Uint32(b[188:])), length: int64(le.Uint32(b[192:]))}
		case udfTag(b, 6):
			if maps := int(min(le.Uint32(b[264:]), 64<<10)); 440+maps > len(b) {
				if b, err = r.readAt(at*r.block, 440+maps); err != nil {
					return volume, err
				}
			}
			volume = b
		case udfTag(b, 8):
			return volume, nil
		}
		at++
	}
	return volume, nil
}

// partitions reads the maps of the logical volume.
func (r *udfReader) partitions(volume []byte, parts map[uint16]udfMap) {
	le := binary.LittleEndian
	maps := volume[440:]
	maps = maps[:min(int(le.Uint32(volume[264:])), len(maps))]
	for n := le.Uint32(volume[268:]); n > 0 && len(maps) >= 6 && len(r.maps) < udfMaxMaps; n-- {
		length := int(maps[1])
		if length < 6 || length > len(maps) {
			break
		}
		b := maps[:length]
		maps = maps[length:]
		number := le.Uint16(b[4:])
		if b[0] == 2 && length >= 64 {
			number = le.Uint16(b[38:])
		}
		m, ok := parts[number]
		switch name := ""; {
		case !ok:
			m.why = fmt.Errorf("partition %d is not described", number)
		case b[0] == 1:
		case b[0] == 2 && length >= 64:
			name = string(bytes.TrimRight(b[5:28], "\x00"))
			base := m
			r.maps = append(r.maps, base) // what the tables lie in, for as long as they are read
			here := len(r.maps) - 1
			switch name {
			case "*UDF Metadata Partition":
				m.through, m.why = r.metadata(here, int64(le.Uint32(b[40:])), int64(le.Uint32(b[44:])))
			case "*UDF Virtual Partition":
				m.table, m.why = r.virtual(here)
			case "*UDF Sparable Partition":
				m.packet = int64(le.Uint16(b[40:]))
				m.packets, m.why = r.sparing(int(b[42]), b[48:])
			default:
				m.why = fmt.Errorf("a partition of the kind %q is not read", cleanPath(name))
			}
			r.maps = r.maps[:here]
		default:
			m.why = fmt.Errorf("a partition map of the kind %d is not read", b[0])
		}
		r.maps = append(r.maps, m)
	}
}

// metadata is where the blocks of a metadata partition lie, by the first of its two files that can be read.
func (r *udfReader) metadata(part int, files ...int64) ([]extent, error) {
	var why error
	for _, block := range files {
		f, err := r.entry(udfAddress{block, part})
		if err == nil {
			err = f.err
		}
		if err == nil && len(f.extents) > 0 {
			return f.extents, nil
		}
		why = err
	}
	return nil, fmt.Errorf("the metadata file cannot be read: %w", cmpError(why))
}

// cmpError is err, or that what was read is damaged.
func cmpError(err error) error {
	if err != nil {
		return err
	}
	return errors.New("it is damaged")
}

// virtual reads the table of a disc that is written once: it is the last file that was written.
func (r *udfReader) virtual(part int) ([]byte, error) {
	le := binary.LittleEndian
	p := r.maps[part]
	for block := r.size/r.block - 1; block >= p.start; block-- { // an image of a disc that is not full may have anything behind
		if h, err := r.readAt(block*r.block, 16); err != nil || !udfTag(h, 261) && !udfTag(h, 266) {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		f, err := r.entry(udfAddress{block - p.start, part})
		if err != nil || f.err != nil || f.kind != 248 && f.kind != 0 {
			continue
		}
		b, err := readSome(r.open(f), f.size, udfMaxTable)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the table of virtual blocks: %w", err)
		case f.kind == 248 && len(b) >= 152: // from 2.00 on
			return b[min(len(b), int(le.Uint16(b))):], nil
		case f.kind == 0 && len(b) >= 36 && string(b[len(b)-35:len(b)-35+22]) == "*UDF Virtual Alloc Tbl": // 1.50
			return b[:len(b)-36], nil
		}
	}
	return nil, errors.New("the table of virtual blocks is not there")
}

// sparing reads the table of packets that lie elsewhere, of the first copy that is whole.
func (r *udfReader) sparing(n int, places []byte) (map[uint32]uint32, error) {
	le := binary.LittleEndian
	for i := 0; i < n && 4*i+4 <= len(places); i++ {
		at := int64(le.Uint32(places[4*i:])) * r.block
		b, err := r.readAt(at, 56)
		if err != nil || string(b[17:17+18]) != "*UDF Sparing Table" {
			continue
		}
		packets := make(map[uint32]uint32)
		entries, err := readSome(r.section(at+56, r.size), int64(le.Uint16(b[48:]))*8, 1<<20)
		if err != nil {
			continue
		}
		for ; len(entries) >= 8; entries = entries[8:] {
			if from := le.Uint32(entries); from < 0xfffffff0 {
				packets[from] = le.Uint32(entries[4:])
			}
		}
		return packets, nil
	}
	return nil, nil // no table: nothing lies elsewhere
}

// place is where size bytes at a logical block lie, as runs of the container.
func (r *udfReader) place(a udfAddress, size int64, out []extent) ([]extent, error) {
	if a.part < 0 || a.part >= len(r.maps) {
		return out, fmt.Errorf("partition %d of %d", a.part, len(r.maps))
	}
	m := &r.maps[a.part]
	if m.why != nil {
		return out, m.why
	}
	switch {
	case m.through != nil:
		from := a.block * r.block
		for _, e := range m.through {
			if from >= e.size {
				from -= e.size
				continue
			}
			n := min(size, e.size-from)
			if e.at < 0 {
				return out, errCut
			}
			out = append(out, extent{e.at + from, n})
			if size -= n; size == 0 {
				return out, nil
			}
			from = 0
		}
		return out, errCut
	case m.table != nil:
		for size > 0 { // every block has a place of its own
			if a.block >= int64(len(m.table)/4) || len(out) == udfMaxExtents {
				return out, errCut
			}
			n := min(size, r.block)
			out = append(out, extent{(m.start + int64(binary.LittleEndian.Uint32(m.table[4*a.block:]))) * r.block, n})
			size -= n
			a.block++
		}
		return out, nil
	case len(m.packets) > 0 && m.packet > 0:
		for size > 0 {
			if len(out) == udfMaxExtents {
				return out, errCut
			}
			first := a.block - a.block%m.packet
			at := m.start + a.block
			if to, ok := m.packets[uint32(first)]; ok {
				at = int64(to) + a.block - first
			}
			n := min(size, (first+m.packet-a.block)*r.block)
			out = append(out, extent{at * r.block, n})
			size -= n
			a.block = first + m.packet
		}
		return out, nil
	}
	return append(out, extent{(m.start + a.block) * r.block, size}), nil
}

// read reads n bytes of a logical block.
func (r *udfReader) read(a udfAddress, n int) ([]byte, error) {
	e, err := r.place(a, int64(n), nil)
	if err != nil {
		return nil, err
	}
	if len(e) != 1 {
		return nil, errCut
	}
	return r.readAt(e[0].at, n)
}

// entry reads a file's entry.
func (r *udfReader) entry(a udfAddress) (udfFile, error) {
	b, err := r.read(a, int(r.block))
	if err != nil {
		return udfFile{}, err
	}
	le := binary.LittleEndian
	f := udfFile{kind: b[27], size: int64(le.Uint64(b[56:]))}
	at := 176
	switch {
	case udfTag(b, 261):
	case udfTag(b, 266):
		at = 216
	default:
		return f, errors.New("an entry of a file is not there")
	}
	attributes, length := int64(le.Uint32(b[at-8:])), int64(le.Uint32(b[at-4:]))
	if attributes > r.block || length > r.block || int64(at)+attributes+length > r.block || f.size < 0 {
		return f, errors.New("an entry of a file is damaged")
	}
	list := b[int64(at)+attributes:][:length]
	kind := le.Uint16(b[34:]) & 7
	if kind == 3 {
		f.inline = list[:min(f.size, length)]
		if f.size > length {
			f.err = errCut
		}
		return f, nil
	}
	f.extents, f.err = r.extents(list, kind, a.part)
	return f, nil
}

// extents reads a list of extents, and the blocks that continue it.
func (r *udfReader) extents(list []byte, kind uint16, part int) (out []extent, err error) {
	width, ok := map[uint16]int{0: 8, 1: 16, 2: 20}[kind]
	if !ok {
		return nil, fmt.Errorf("extents of the kind %d are not known", kind)
	}
	le := binary.LittleEndian
	for hops := 0; len(list) >= width; {
		e := list[:width]
		list = list[width:]
		length := le.Uint32(e)
		to := udfAddress{int64(le.Uint32(e[4:])), part}
		switch kind {
		case 1:
			to.part = int(le.Uint16(e[8:]))
		case 2:
			to = udfAddress{int64(le.Uint32(e[12:])), int(le.Uint16(e[16:]))}
		}
		size := int64(length & (1<<30 - 1))
		switch {
		case size == 0:
			return out, nil
		case length>>30 == 0:
			if out, err = r.place(to, size, out); err != nil {
				return out, err
			}
		case length>>30 == 3:
			if hops++; hops == udfMaxHops {
				return out, fmt.Errorf("its list of extents goes on more than %d times", udfMaxHops)
			}
			b, err := r.read(to, int(r.block))
			if err != nil {
				return out, err
			}
			if n := int64(le.Uint32(b[20:])); !udfTag(b, 258) || n > r.block-24 {
				return out, errors.New("its list of extents is damaged")
			} else {
				list = b[24 : 24+n]
			}
		default:
			out = append(out, extent{-1, size})
		}
		if len(out) > udfMaxExtents {
			return out, fmt.Errorf("it has more than %d extents", udfMaxExtents)
		}
	}
	return out, nil
}

// open gives a file's bytes.
func (r *udfReader) open(f udfFile) io.Reader {
	if f.inline != nil {
		return &exactReader{r: bytes.NewReader(f.inline), left: f.size}
	}
	return r.pieces(f.extents, f.size)
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (r *udfReader) directory(a udfAddress, path string, depth int) error {
	if r.dirs[a] {
		return nil
	}
	err := r.entries(a, path, depth)
	if r.stop != nil || r.ctx.Err() != nil {
		return err
	}
	if err != nil && r.trouble == nil {
		r.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
	return nil
}

func (r *udfReader) entries(a udfAddress, path string, depth int) error {
	if depth > udfMaxDepth {
		return fmt.Errorf("it lies deeper than %d levels", udfMaxDepth)
	}
	if len(r.dirs) == udfMaxDirs {
		return fmt.Errorf("there are more than %d directories", udfMaxDirs)
	}
	r.dirs[a] = true
	dir, err := r.entry(a)
	if err == nil {
		err = dir.err
	}
	if err != nil {
		return err
	}
	if dir.kind != 4 {
		return errors.New("its entry is that of no directory")
	}
	in := buffered(r.open(dir))
	le := binary.LittleEndian
	var h [38]byte
	for left := dir.size; left >= int64(len(h)); {
		if r.budget -= int64(len(h)); r.budget < 0 {
			return errors.New("the directories are larger than the volume")
		}
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return err
		}
		if !udfTag(h[:], 257) {
			return errors.New("a name in it is damaged")
		}
		nameLen, use := int(h[19]), int(le.Uint16(h[36:]))
		rest := make([]byte, (len(h)+nameLen+use+3)&^3-len(h))
		left -= int64(len(h) + len(rest))
		r.budget -= int64(len(rest))
		if left < -3 {
			return errCut
		}
		if _, err := io.ReadFull(in, rest); err != nil {
			return err
		}
		if h[18]&0x0c != 0 { // deleted, or the directory above
			continue
		}
		to := udfAddressOf(h[20:])
		below := path + "/" + udfName(rest[use:use+nameLen])
		if len(below) > maxPath {
			below = below[len(below)-maxPath:]
		}
		if h[18]&2 != 0 {
			err = r.directory(to, below, depth+1)
		} else {
			err = r.file(to, below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// udfName decodes a name: a byte that says how wide its characters are, then those.
func udfName(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	wide := b[0] == 16 || b[0] == 255
	b = b[1:]
	var name string
	if wide {
		name = utf16Name(b, binary.BigEndian)
	} else {
		u := make([]uint16, len(b))
		for i, c := range b {
			u[i] = uint16(c)
		}
		name = string(utf16.Decode(u))
	}
	return strings.ReplaceAll(name, "/", "_")
}

func (r *udfReader) file(a udfAddress, path string) error {
	m := Member{Path: cleanPath(path), Size: -1}
	f, err := r.entry(a)
	switch {
	case err != nil:
		m.Err = err
	case f.kind != 5 && f.kind != 0 && f.kind != 249: // no file, or one for real-time access
		return nil
	case f.err != nil:
		m.Size, m.Err = f.size, f.err
	default:
		m.Size, m.Reader = f.size, r.open(f)
		if r.told != nil {
			if i := slices.IndexFunc(f.extents, func(e extent) bool { return e.at >= 0 }); i == 0 && r.told(f.extents[0].at, f.size) || f.size == 0 {
				return nil
			}
		}
	}
	return r.tell(m)
}
