package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// A FAT volume is a table of clusters, each pointing to the next of its file, and directories of entries of 32 bytes, some of which hold pieces of the
// long name of the one that follows.

const (
	fatEntry    = 32
	fatMaxDepth = 100
	fatMaxDirs  = 1 << 20
	fatMaxDir   = 2 << 20  // bytes of a directory: 65,536 entries
	fatPage     = 16 << 10 // bytes of the table that are read at once
)

// fatGeometry is what the boot sector says.
type fatGeometry struct {
	table, root, data int64 // where the first table, the root (of FAT 12 and 16) and the first cluster begin
	cluster           int64 // bytes
	total             int64 // bytes of the volume
	clusters          uint32
	rootSize          int64 // bytes of the root; 0 in FAT 32
	rootCluster       uint32
	bits              int  // of an entry of the table
	exfat             bool // whose table has 32 of them
}

// fatGeometryOf reads a boot sector.
func fatGeometryOf(b []byte) (g fatGeometry, err error) {
	le := binary.LittleEndian
	sector, per, reserved, tables := int64(le.Uint16(b[11:])), int64(b[13]), int64(le.Uint16(b[14:])), int64(b[16])
	roots, total, size := int64(le.Uint16(b[17:])), int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	large := size == 0
	if large {
		size = int64(le.Uint32(b[36:]))
	}
	if sector < 128 || sector > 4096 || sector&(sector-1) != 0 || per == 0 || per&(per-1) != 0 || reserved == 0 || tables == 0 || tables > 4 || size == 0 {
		return g, errors.New("the boot sector is damaged")
	}
	g.table = reserved * sector
	g.root = g.table + tables*size*sector
	g.rootSize = roots * fatEntry
	g.data = g.root + (g.rootSize+sector-1)/sector*sector
	g.cluster = per * sector
	g.total = total * sector
	n := (g.total - g.data) / g.cluster
	if n <= 0 || n > 1<<28 {
		return g, errors.New("the boot sector is damaged")
	}
	switch {
	case large:
		g.bits, g.rootSize, g.rootCluster = 32, 0, le.Uint32(b[44:])
	case n < 4085:
		g.bits = 12
	default:
		g.bits = 16
	}
	g.clusters = uint32(min(n, size*sector*8/int64(g.bits)-2))
	return g, nil
}

type fatReader struct {
	*container
	fatGeometry
	page    []byte // of the table
	pageAt  int64
	dirs    map[uint32]bool
	budget  int64 // bytes of directories that may still be read
	trouble error
}

// readFAT tells the files of a FAT volume that are not deleted.
func readFAT(c *container) error {
	b, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	r := &fatReader{container: c, dirs: make(map[uint32]bool), budget: c.size, pageAt: -1}
	if r.fatGeometry, err = fatGeometryOf(b); err != nil {
		return err
	}
	if err := r.directory(r.rootCluster, "", 0); err != nil {
		return err
	}
	return r.trouble
}

// next is the cluster after n in its file; ok is false at the file's end.
func (r *fatReader) next(n uint32) (_ uint32, ok bool, err error) {
	if n < 2 || n-2 >= r.clusters {
		return 0, false, fmt.Errorf("cluster %d of %d", n, r.clusters)
	}
	bit := int64(n) * int64(r.bits)
	var v uint32
	for i := range int64(4) { // bytes, one by one: an entry of twelve bits may lie on two pages
		at := bit/8 + i
		if i*8 >= int64(r.bits)+4 {
			break
		}
		if page := at / fatPage; page != r.pageAt {
			if r.page == nil {
				r.page = make([]byte, fatPage)
			}
			clear(r.page)
			if _, err := r.r.ReadAt(r.page, r.table+page*fatPage); err != nil && err != io.EOF {
				return 0, false, err
			}
			r.pageAt = page
		}
		v |= uint32(r.page[at%fatPage]) << (8 * i)
	}
	last := uint32(0xff8)
	switch {
	case r.bits == 12:
		v = v >> (bit % 8) & 0xfff
	case r.bits == 16:
		v, last = v&0xffff, 0xfff8
	case r.exfat:
		last = 0xfffffff8
	default:
		v, last = v&0xfffffff, 0xffffff8
	}
	if v >= last {
		return 0, false, nil
	}
	if v < 2 || v-2 >= r.clusters {
		return 0, false, fmt.Errorf("a file goes on in cluster %d of %d", v, r.clusters)
	}
	return v, true, nil
}

// fatFile reads a chain of clusters.
type fatFile struct {
	r       *fatReader
	cluster uint32
	at      int64 // in the cluster
	steps   uint32
	err     error
}

func (f *fatFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	r := f.r
	if f.at == r.cluster {
		next, ok, err := r.next(f.cluster)
		switch {
		case err != nil:
			f.err = err
		case !ok:
			f.err = io.EOF
		case f.steps == r.clusters:
			f.err = errors.New("its clusters are a ring")
		}
		if f.err != nil {
			return 0, f.err
		}
		f.cluster, f.at, f.steps = next, 0, f.steps+1
	}
	if f.cluster < 2 || f.cluster-2 >= r.clusters {
		f.err = fmt.Errorf("cluster %d of %d", f.cluster, r.clusters)
		return 0, f.err
	}
	p = p[:min(int64(len(p)), r.cluster-f.at)]
	n, err := r.r.ReadAt(p, r.data+int64(f.cluster-2)*r.cluster+f.at)
	f.at += int64(n)
	if n < len(p) && err != nil {
		if f.err = err; err == io.EOF {
			f.err = errCut
		}
		return n, f.err
	}
	return n, nil
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (r *fatReader) directory(cluster uint32, path string, depth int) error {
	if r.dirs[cluster] {
		return nil
	}
	err := r.entries(cluster, path, depth)
	if r.stop != nil || r.ctx.Err() != nil {
		return err
	}
	if err != nil && r.trouble == nil {
		r.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
	return nil
}

func (r *fatReader) entries(cluster uint32, path string, depth int) error {
	if depth > fatMaxDepth {
		return fmt.Errorf("it lies deeper than %d levels", fatMaxDepth)
	}
	if len(r.dirs) == fatMaxDirs {
		return fmt.Errorf("there are more than %d directories", fatMaxDirs)
	}
	r.dirs[cluster] = true
	var in io.Reader = &fatFile{r: r, cluster: cluster}
	if depth == 0 && r.rootSize > 0 {
		in = r.stored(r.root, r.rootSize)
	}
	in = io.LimitReader(in, fatMaxDir)
	le := binary.LittleEndian
	var long fatLongName
	var e [fatEntry]byte
	// Clusters of the directory are read before those of what is below, so all of its table's pages are used at once.
	type child struct {
		cluster uint32
		path    string
	}
	var below []child
	in = buffered(in)
	for {
		if r.budget -= fatEntry; r.budget < 0 {
			return errors.New("the directories are larger than the volume")
		}
		if _, err := io.ReadFull(in, e[:]); err != nil {
			if err == io.EOF {
				break
			}
			return err
		}
		if e[0] == 0 {
			break
		}
		if e[0] == 0xe5 {
			long = fatLongName{}
			continue
		}
		if e[11]&0x3f == 0x0f {
			long.add(e[:])
			continue
		}
		name := long.name(e[:11])
		long = fatLongName{}
		if e[11]&8 != 0 || e[0] == '.' && e[11]&16 != 0 { // the volume's label; "." and ".."
			continue
		}
		if name == "" {
			name = fatShortName(e[:])
		}
		to := uint32(le.Uint16(e[26:]))
		if r.bits == 32 {
			to |= uint32(le.Uint16(e[20:])) << 16
		}
		name = path + "/" + strings.ReplaceAll(name, "/", "_")
		if len(name) > maxPath {
			name = name[len(name)-maxPath:]
		}
		if e[11]&16 != 0 {
			below = append(below, child{to, name})
			continue
		}
		m := Member{Path: cleanPath(name), Size: int64(le.Uint32(e[28:]))}
		switch {
		case m.Size == 0:
			m.Reader = strings.NewReader("")
		case m.Size > int64(r.clusters)*r.cluster:
			m.Err = fmt.Errorf("it claims %d bytes, more than the volume has", m.Size)
		default:
			m.Reader = &exactReader{r: &fatFile{r: r, cluster: to}, left: m.Size}
		}
		if err := r.tell(m); err != nil {
			return err
		}
	}
	for _, d := range below {
		if err := r.directory(d.cluster, d.path, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fatLongName gathers a long name, whose last piece comes first.
type fatLongName struct {
	units [260]uint16
	left  int // pieces to come
	sum   byte
	whole bool
	count int
}

func (l *fatLongName) add(e []byte) {
	n := int(e[0] & 0x3f)
	switch {
	case e[0]&0x40 != 0 && n >= 1 && n <= 20:
		*l = fatLongName{left: n, sum: e[13], count: n * 13}
	case l.left == 0 || n != l.left || e[13] != l.sum:
		*l = fatLongName{}
		return
	}
	if n < 1 || n > 20 {
		return
	}
	i := (n - 1) * 13
	for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		l.units[i] = binary.LittleEndian.Uint16(e[at:])
		i++
	}
	l.left--
	l.whole = l.left == 0
}

// name is the long name, if it belongs to a short one.
func (l *fatLongName) name(short []byte) string {
	var sum byte
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	if !l.whole || sum != l.sum {
		return ""
	}
	u := l.units[:l.count]
	for i, c := range u {
		if c == 0 {
			u = u[:i]
			break
		}
	}
	return string(utf16.Decode(u))
}

// fatShortName is a name of eight and three characters; flags say which part Windows shows in small letters.
func fatShortName(e []byte) string {
	b := append([]byte(nil), e[:11]...)
	if b[0] == 5 {
		b[0] = 0xe5
	}
	name, suffix := strings.TrimRight(localName(b[:8]), " "), strings.TrimRight(localName(b[8:]), " ")
	if e[12]&8 != 0 {
		name = strings.ToLower(name)
	}
	if e[12]&16 != 0 {
		suffix = strings.ToLower(suffix)
	}
	if suffix != "" {
		name += "." + suffix
	}
	return name
}
