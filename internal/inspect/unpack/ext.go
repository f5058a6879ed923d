package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A volume of ext2, ext3 or ext4 is groups of blocks, each with a table of inodes. An inode names the blocks of a file or a directory one by one, or by a
// tree of runs.

const (
	extMaxDepth   = 200
	extMaxDirs    = 1 << 20
	extMaxRuns    = 1 << 18 // of one file
	extRoot       = 2       // inode of the root
	extTrees      = 0x80000 // flags of an inode
	extEncrypted  = 0x800
	extInline     = 0x10000000
	extCompressed = 0x1 // features that a reader must know
	extMetaGroups = 0x10
	ext64Bit      = 0x80
)

type extReader struct {
	*container
	block, blocks       int64
	first               int64 // block that group 0 begins with
	perGroup, inodeSize int64
	inodes, descriptor  int64
	dirs                map[uint32]bool
	budget              int64 // bytes of directories that may still be read
	trouble             error
}

// extInode is what an inode says.
type extInode struct {
	mode  uint16
	flags uint32
	size  int64
	area  []byte // its places of blocks, or its bytes if they are few
}

// readExt tells the files of a volume of ext2, ext3 or ext4.
func readExt(c *container) error {
	b, err := c.readAt(1024, 1024)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint16(b[56:]) != 0xef53 {
		return errors.New("it does not begin as it should")
	}
	r := &extReader{container: c, inodes: int64(le.Uint32(b)), blocks: int64(le.Uint32(b[4:])), first: int64(le.Uint32(b[20:])), perGroup: int64(le.Uint32(b[40:])),
		inodeSize: 128, descriptor: 32, dirs: make(map[uint32]bool), budget: c.size}
	order, features := le.Uint32(b[24:]), le.Uint32(b[96:])
	if le.Uint32(b[76:]) > 0 {
		r.inodeSize = int64(le.Uint16(b[88:]))
		if features&ext64Bit != 0 {
			r.descriptor = int64(le.Uint16(b[254:]))
			r.blocks |= int64(le.Uint32(b[336:])) << 32
		}
	} else {
		features = 0
	}
	switch {
	case order > 6 || r.perGroup == 0 || r.inodeSize < 128 || r.inodeSize > 4096 || r.descriptor < 32 || r.descriptor > 1024:
		return errors.New("the superblock is damaged")
	case features&extCompressed != 0:
		return errors.New("its files are compressed, which is not read")
	case features&extMetaGroups != 0:
		return errors.New("the descriptions of its groups are scattered (meta_bg), which is not read")
	}
	r.block = 1024 << order
	if err := r.directory(extRoot, "", 0); err != nil {
		return err
	}
	return r.trouble
}

func (r *extReader) inode(n uint32) (i extInode, err error) {
	if n == 0 || int64(n) > r.inodes {
		return i, fmt.Errorf("inode %d of %d", n, r.inodes)
	}
	le := binary.LittleEndian
	group, in := int64(n-1)/r.perGroup, int64(n-1)%r.perGroup
	d, err := r.readAt((r.first+1)*r.block+group*r.descriptor, 32)
	if err != nil {
		return i, err
	}
	table := int64(le.Uint32(d[8:]))
	if r.descriptor >= 64 {
		if d, err = r.readAt((r.first+1)*r.block+group*r.descriptor+40, 4); err != nil {
			return i, err
		}
		table |= int64(le.Uint32(d)) << 32
	}
	if table > r.size/r.block {
		return i, errCut
	}
	b, err := r.readAt(table*r.block+in*r.inodeSize, 128)
	if err != nil {
		return i, err
	}
	i = extInode{mode: le.Uint16(b), flags: le.Uint32(b[32:]), size: int64(le.Uint32(b[4:])), area: b[40:100]}
	if i.mode&0o170000 == 0o100000 {
		i.size |= int64(le.Uint32(b[108:])) << 32
	}
	if i.size < 0 || i.size > 1<<50 {
		return i, errors.New("its size is not possible")
	}
	return i, nil
}

// extRuns gathers a file's runs.
type extRuns struct {
	r    *extReader
	runs []extent
	at   int64 // bytes that they hold
	size int64 // of the file
}

// add puts a run of blocks behind the others, block 0 being a hole.
func (e *extRuns) add(block, count int64) error {
	n := min(count*e.r.block, e.size-e.at)
	if n <= 0 {
		return nil
	}
	x := extent{-1, n}
	if block > 0 {
		x.at = block * e.r.block
	}
	e.at += n
	if k := len(e.runs); k > 0 {
		last := &e.runs[k-1]
		if last.at < 0 && x.at < 0 || last.at >= 0 && x.at == last.at+last.size {
			last.size += n
			return nil
		}
	}
	if len(e.runs) == extMaxRuns {
		return fmt.Errorf("it lies in more than %d pieces", extMaxRuns)
	}
	e.runs = append(e.runs, x)
	return nil
}

// tree reads a node of a tree of runs, and those below.
func (e *extRuns) tree(b []byte, depth int) error {
	le := binary.LittleEndian
	if le.Uint16(b) != 0xf30a || int(le.Uint16(b[6:])) != depth && depth < 5 || le.Uint16(b[6:]) > 5 || 12+12*int(le.Uint16(b[2:])) > len(b) {
		return errors.New("its tree of runs is damaged")
	}
	depth = int(le.Uint16(b[6:]))
	for n := le.Uint16(b[2:]); n > 0; n-- {
		b = b[12:]
		logical := int64(le.Uint32(b)) * e.r.block
		if depth == 0 {
			count, start := int64(le.Uint16(b[4:])), int64(le.Uint32(b[8:]))|int64(le.Uint16(b[6:]))<<32
			if logical < e.at {
				return errors.New("its runs are out of order")
			}
			if err := e.add(0, (logical-e.at)/e.r.block); err != nil {
				return err
			}
			if count > 1<<15 { // was never written
				count, start = count-1<<15, 0
			}
			if err := e.add(start, count); err != nil {
				return err
			}
			continue
		}
		if e.at >= e.size {
			return nil
		}
		below, err := e.r.blockAt(int64(le.Uint32(b[4:])) | int64(le.Uint16(b[8:]))<<32)
		if err != nil {
			return err
		}
		if err := e.tree(below, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// list reads the places of blocks, or of blocks of such places.
func (e *extRuns) list(b []byte, level int) error {
	le := binary.LittleEndian
	for ; len(b) >= 4 && e.at < e.size; b = b[4:] {
		n := int64(le.Uint32(b))
		if level == 0 || n == 0 {
			count := int64(1)
			for range level {
				count *= e.r.block / 4
			}
			if err := e.add(n, count); err != nil {
				return err
			}
			continue
		}
		below, err := e.r.blockAt(n)
		if err != nil {
			return err
		}
		if err := e.list(below, level-1); err != nil {
			return err
		}
	}
	return nil
}

func (r *extReader) blockAt(n int64) ([]byte, error) {
	if n > r.size/r.block {
		return nil, errCut
	}
	return r.readAt(n*r.block, int(r.block))
}

// open gives the bytes of a file or directory.
func (r *extReader) open(i extInode) (io.Reader, error) {
	switch {
	case i.flags&extEncrypted != 0:
		return nil, errors.New("it is encrypted")
	case i.flags&extInline != 0 && i.size > int64(len(i.area)):
		return nil, errors.New("its bytes stand among the attributes of its inode, which is not read")
	case i.flags&extInline != 0:
		return bytes.NewReader(i.area[:i.size]), nil
	}
	e := &extRuns{r: r, size: i.size}
	var err error
	if i.flags&extTrees != 0 {
		err = e.tree(i.area, 5)
	} else {
		for level, part := range [][]byte{i.area[:48], i.area[48:52], i.area[52:56], i.area[56:60]} {
			if err == nil {
				err = e.list(part, level)
			}
		}
	}
	if err == nil {
		err = e.add(0, (e.size-e.at+r.block-1)/r.block)
	}
	if err != nil {
		return nil, err
	}
	return r.pieces(e.runs, i.size), nil
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (r *extReader) directory(n uint32, path string, depth int) error {
	if r.dirs[n] {
		return nil
	}
	err := r.entries(n, path, depth)
	if r.stop != nil || r.ctx.Err() != nil {
		return err
	}
	if err != nil && r.trouble == nil {
		r.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
	return nil
}

func (r *extReader) entries(n uint32, path string, depth int) error {
	if depth > extMaxDepth {
		return fmt.Errorf("it lies deeper than %d levels", extMaxDepth)
	}
	if len(r.dirs) == extMaxDirs {
		return fmt.Errorf("there are more than %d directories", extMaxDirs)
	}
	r.dirs[n] = true
	i, err := r.inode(n)
	if err != nil {
		return err
	}
	if i.mode&0o170000 != 0o040000 {
		return errors.New("its inode is that of no directory")
	}
	in, err := r.open(i)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	block := make([]byte, r.block)
	for left := i.size; left > 0; {
		b := block[:min(left, r.block)]
		if r.budget -= int64(len(b)); r.budget < 0 {
			return errors.New("the directories are larger than the volume")
		}
		if _, err := io.ReadFull(in, b); err != nil {
			return err
		}
		left -= int64(len(b))
		if i.flags&extInline != 0 && len(b) >= 4 { // the directory above has no name there
			b = b[4:]
		}
		for len(b) >= 8 {
			to, size, name := le.Uint32(b), int(le.Uint16(b[4:])), int(b[6])
			if size == 0 && r.block == 64<<10 {
				size = len(b)
			}
			if size < 8 || size > len(b) || 8+name > size {
				return errors.New("a name in it is damaged")
			}
			e := latin1Name(b[8 : 8+name])
			b = b[size:]
			if to == 0 || e == "." || e == ".." || e == "" {
				continue
			}
			below := path + "/" + strings.ReplaceAll(e, `\`, "_")
			if len(below) > maxPath {
				below = below[len(below)-maxPath:]
			}
			if err := r.entry(to, below, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry tells a file, or what is below a directory.
func (r *extReader) entry(n uint32, path string, depth int) error {
	m := Member{Path: cleanPath(path), Size: -1, Key: strconv.FormatUint(uint64(n), 16)}
	i, err := r.inode(n)
	switch kind := i.mode & 0o170000; {
	case err != nil:
		m.Err = err
	case kind == 0o040000:
		return r.directory(n, path, depth+1)
	case kind != 0o100000: // a link or a device
		return nil
	default:
		m.Size = i.size
		m.Reader = &lazyReader{open: func() (io.Reader, error) { return r.open(i) }}
		if i.flags&(extEncrypted|extInline) != 0 {
			if m.Reader, m.Err = r.open(i); m.Err != nil {
				m.Reader = nil
			}
		}
	}
	return r.tell(m)
}
