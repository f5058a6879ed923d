package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// An exFAT volume is a table of clusters as FAT 32 has it, which is not asked for files that lie in one piece, and directories whose names are
// several entries of 32 bytes: what the file is, where it lies, and fifteen characters of its name each.

const (
	exfatFile   = 0x85 // kinds of entries that are in use
	exfatStream = 0xc0
	exfatName   = 0xc1

	exfatMaxDir = 256 << 20 // bytes of a directory, by the format's description
)

// exfatGeometryOf reads a boot sector.
func exfatGeometryOf(b []byte) (g fatGeometry, err error) {
	le := binary.LittleEndian
	sector, cluster := b[108], b[109]
	sectors, tables := le.Uint64(b[72:]), b[110]
	if sector < 9 || sector > 12 || cluster > 25-sector || sectors > 1<<50 || tables < 1 || tables > 2 {
		return g, errors.New("the boot sector is damaged")
	}
	g.bits, g.exfat = 32, true
	g.table, g.data = int64(le.Uint32(b[80:]))<<sector, int64(le.Uint32(b[88:]))<<sector
	if tables == 2 && le.Uint16(b[106:])&1 == 1 { // the second is the one that holds
		g.table += int64(le.Uint32(b[84:])) << sector
	}
	g.cluster = 1 << (sector + cluster)
	g.total = int64(sectors) << sector
	g.rootCluster = le.Uint32(b[96:])
	n := min(int64(le.Uint32(b[92:])), int64(le.Uint32(b[84:]))<<sector/4-2, (g.total-g.data)/g.cluster)
	if g.table == 0 || n <= 0 || n > 1<<32-11 {
		return g, errors.New("the boot sector is damaged")
	}
	g.clusters = uint32(n)
	return g, nil
}

// exfatPlace is where a file or a directory lies.
type exfatPlace struct {
	cluster     uint32
	whole       bool  // in one piece
	size, valid int64 // behind valid bytes there are zeros
}

type exfatReader struct {
	*fatReader
}

// readExFAT tells the files of an exFAT volume that are not deleted.
func readExFAT(c *container) error {
	b, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	r := exfatReader{&fatReader{container: c, dirs: make(map[uint32]bool), budget: c.size, pageAt: -1}}
	if r.fatGeometry, err = exfatGeometryOf(b); err != nil {
		return err
	}
	if err := r.directory(exfatPlace{cluster: r.rootCluster, size: exfatMaxDir, valid: exfatMaxDir}, "", 0); err != nil {
		return err
	}
	return r.trouble
}

// open reads what lies at a place.
func (r exfatReader) open(p exfatPlace) io.Reader {
	var in io.Reader = &fatFile{r: r.fatReader, cluster: p.cluster}
	if p.whole {
		in = r.stored(r.data+int64(p.cluster-2)*r.cluster, p.valid)
	}
	return &exactReader{r: io.MultiReader(io.LimitReader(in, p.valid), io.LimitReader(zeroReader{}, p.size-p.valid)), left: p.size}
}

// possible says why nothing can lie at a place.
func (r exfatReader) possible(p exfatPlace) error {
	switch {
	case p.size < 0 || p.size > int64(r.clusters)*r.cluster:
		return fmt.Errorf("it claims %d bytes, more than the volume has", uint64(p.size))
	case p.valid < 0 || p.valid > p.size:
		return fmt.Errorf("it claims %d valid bytes of %d", uint64(p.valid), p.size)
	case p.size > 0 && (p.cluster < 2 || p.cluster-2 >= r.clusters):
		return fmt.Errorf("cluster %d of %d", p.cluster, r.clusters)
	}
	return nil
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (r exfatReader) directory(p exfatPlace, path string, depth int) error {
	if r.dirs[p.cluster] {
		return nil
	}
	err := r.entries(p, path, depth)
	if r.stop != nil || r.ctx.Err() != nil {
		return err
	}
	if err != nil && r.trouble == nil {
		r.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
	return nil
}

func (r exfatReader) entries(p exfatPlace, path string, depth int) error {
	if depth > fatMaxDepth {
		return fmt.Errorf("it lies deeper than %d levels", fatMaxDepth)
	}
	if len(r.dirs) == fatMaxDirs {
		return fmt.Errorf("there are more than %d directories", fatMaxDirs)
	}
	r.dirs[p.cluster] = true
	var in io.Reader
	if depth == 0 { // which has no length, but ends where its chain does
		in = buffered(io.LimitReader(&fatFile{r: r.fatReader, cluster: p.cluster}, p.size))
	} else {
		if err := r.possible(p); err != nil {
			return err
		}
		in = buffered(io.LimitReader(r.open(p), exfatMaxDir))
	}
	type child struct {
		place exfatPlace
		path  string
	}
	var (
		below   []child
		e       [fatEntry]byte
		set     exfatSet
		damaged error
	)
	for {
		if r.budget -= fatEntry; r.budget < 0 {
			return errors.New("the directories are larger than the volume")
		}
		if _, err := io.ReadFull(in, e[:]); err != nil {
			if err == io.EOF {
				break
			}
			damaged = err
			break
		}
		if e[0] == 0 {
			break
		}
		done, err := set.add(e[:])
		if err != nil {
			damaged = err
		}
		if !done {
			continue
		}
		name := path + "/" + strings.ReplaceAll(set.name(), "/", "_")
		if len(name) > maxPath {
			name = name[len(name)-maxPath:]
		}
		if set.directory {
			below = append(below, child{set.place, name})
			continue
		}
		m := Member{Path: cleanPath(name), Size: set.place.size}
		if m.Err = r.possible(set.place); m.Err != nil {
			m.Size = -1
		} else {
			m.Reader = r.open(set.place)
		}
		if err := r.tell(m); err != nil {
			return err
		}
	}
	for _, d := range below {
		if d.place.size == 0 {
			continue
		}
		if err := r.directory(d.place, d.path, depth+1); err != nil {
			return err
		}
	}
	return damaged
}

var errExFATSet = errors.New("some of its entries are damaged")

// exfatSet gathers the entries of a name.
type exfatSet struct {
	left      int // entries to come
	directory bool
	place     exfatPlace
	length    int // of the name, in units; 0 until the second entry came
	units     []uint16
}

// add takes the next entry, and says whether it is the last of a set.
func (s *exfatSet) add(e []byte) (done bool, err error) {
	le := binary.LittleEndian
	if s.left > 0 && e[0]&0xc0 != 0xc0 { // not the rest of what began
		err = errExFATSet
		s.left = 0
	}
	switch {
	case e[0] == exfatFile:
		*s = exfatSet{left: int(e[1]), directory: e[4]&0x10 != 0, units: s.units[:0]}
		if s.left < 2 || s.left > 255 {
			s.left, err = 0, errExFATSet
		}
		return false, err
	case s.left == 0: // deleted, or of the volume
		return false, err
	case e[0] == exfatStream && s.length == 0 && e[3] > 0:
		s.length = int(e[3])
		s.place = exfatPlace{cluster: le.Uint32(e[20:]), whole: e[1]&2 != 0, size: int64(le.Uint64(e[24:])), valid: int64(le.Uint64(e[8:]))}
	case s.length == 0:
		s.left = 0
		return false, errExFATSet
	case e[0] == exfatName && len(s.units) < s.length:
		for i := 2; i < fatEntry && len(s.units) < s.length; i += 2 {
			s.units = append(s.units, le.Uint16(e[i:]))
		}
	}
	s.left--
	if s.left > 0 {
		return false, nil
	}
	if len(s.units) < s.length {
		return false, errExFATSet
	}
	return true, nil
}

func (s *exfatSet) name() string { return string(utf16.Decode(s.units)) }
