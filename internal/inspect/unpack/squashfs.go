package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	squashHeader   = 96
	squashMeta     = 8 << 10 // bytes of a block of the tables, unpacked
	squashMaxBlock = 1 << 20
	squashMaxDepth = 100
	squashMaxDirs  = 1 << 20
	squashMaxList  = 64 << 20 // bytes of all directories
	squashKept     = 8        // blocks of the tables that are kept unpacked
	squashParts    = 16 << 20 // bytes of fragment blocks that are kept unpacked
	squashNone     = 1<<32 - 1
)

// squashBlock is a block of a table, unpacked.
type squashBlock struct {
	at, next int64
	data     []byte
}

// squashFragment is a block that has the ends of many files, unpacked.
type squashFragment struct {
	n    uint32
	data []byte
}

// squashReader reads a squashfs of version 4.
type squashReader struct {
	*container
	block                    int64
	kind                     uint16
	inodes, lists, fragments int64
	parts                    uint32
	kept                     []squashBlock
	fragmentsKept            []squashFragment // the one that was asked for last comes first
	zstd                     *zstd.Decoder
	dirs                     map[uint64]bool
	list                     int64 // bytes of directories that were read
	trouble                  error
}

var errSquash = errors.New("the tables are damaged")

// readSquashFS tells the files of a squashfs of version 4, as Linux writes them.
func readSquashFS(c *container) error {
	h, err := c.readAt(0, squashHeader)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if string(h[:4]) != "hsqs" {
		return errors.New("only squashfs of version 4, which is little-endian, is read")
	}
	if v := le.Uint16(h[28:]); v != 4 {
		return fmt.Errorf("version %d is not read", v)
	}
	s := &squashReader{container: c, block: int64(le.Uint32(h[12:])), kind: le.Uint16(h[20:]), parts: le.Uint32(h[16:]),
		inodes: int64(le.Uint64(h[64:])), lists: int64(le.Uint64(h[72:])), fragments: int64(le.Uint64(h[80:])), dirs: make(map[uint64]bool)}
	if s.block < 4096 || s.block > squashMaxBlock || s.block&(s.block-1) != 0 {
		return fmt.Errorf("blocks of %d bytes are not possible", s.block)
	}
	switch s.kind {
	case 1, 4, 5:
	case 6:
		if s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(8<<20)); err != nil {
			return err
		}
		defer s.zstd.Close()
	case 2, 3:
		return fmt.Errorf("its compression, %s, is not read", map[uint16]string{2: "LZMA", 3: "LZO"}[s.kind])
	default:
		return fmt.Errorf("compression %d is not known", s.kind)
	}
	if err := s.directory(le.Uint64(h[32:]), "", 0); err != nil {
		return err
	}
	return s.trouble
}

// unpack decompresses a block to at most most bytes.
func (s *squashReader) unpack(b []byte, most int) ([]byte, error) {
	var r io.Reader
	switch s.kind {
	case 1:
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		r = z
	case 4:
		r = newXZReader(bytes.NewReader(b), s.container)
	case 5:
		out := make([]byte, most)
		n, err := lz4.UncompressBlock(b, out)
		if err != nil {
			return nil, errors.New("the data are damaged")
		}
		return out[:n], nil
	case 6:
		out, err := s.zstd.DecodeAll(b, nil)
		if err == nil && len(out) > most {
			err = errSquash
		}
		return out, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(out) > most {
		err = errSquash
	}
	return out, err
}

// table reads the block of a table that begins at.
func (s *squashReader) table(at int64) (squashBlock, error) {
	for i, k := range s.kept {
		if k.at == at {
			copy(s.kept[1:i+1], s.kept[:i])
			s.kept[0] = k
			return k, nil
		}
	}
	h, err := s.readAt(at, 2)
	if err != nil {
		return squashBlock{}, err
	}
	size := int(binary.LittleEndian.Uint16(h))
	raw := size&0x8000 != 0
	if size &= 0x7fff; size > squashMeta {
		return squashBlock{}, errSquash
	}
	k := squashBlock{at: at, next: at + 2 + int64(size)}
	if k.data, err = s.readAt(at+2, size); err != nil {
		return k, err
	}
	if !raw {
		if k.data, err = s.unpack(k.data, squashMeta); err != nil {
			return k, err
		}
	}
	if len(s.kept) < squashKept {
		s.kept = append(s.kept, k)
	}
	copy(s.kept[1:], s.kept)
	s.kept[0] = k
	return k, nil
}

// squashCursor reads a table across its blocks.
type squashCursor struct {
	s    *squashReader
	next int64
	data []byte
}

// cursor begins in the block that begins at, off bytes into it.
func (s *squashReader) cursor(at int64, off int) (*squashCursor, error) {
	k, err := s.table(at)
	if err != nil {
		return nil, err
	}
	if off > len(k.data) {
		return nil, errSquash
	}
	return &squashCursor{s, k.next, k.data[off:]}, nil
}

// take reads n bytes, which are few.
func (c *squashCursor) take(n int) ([]byte, error) {
	out := make([]byte, 0, n)
	for {
		m := min(n-len(out), len(c.data))
		out = append(out, c.data[:m]...)
		if c.data = c.data[m:]; len(out) == n {
			return out, nil
		}
		k, err := c.s.table(c.next)
		if err != nil {
			return nil, err
		}
		if len(k.data) == 0 {
			return nil, errSquash
		}
		c.next, c.data = k.next, k.data
	}
}

// inode begins to read an inode, whose kind it returns; the cursor stands behind the common header.
func (s *squashReader) inode(ref uint64) (uint16, *squashCursor, error) {
	at := int64(ref >> 16)
	if at > s.size {
		return 0, nil, errSquash
	}
	cur, err := s.cursor(s.inodes+at, int(ref&0xffff))
	if err != nil {
		return 0, nil, err
	}
	b, err := cur.take(16)
	if err != nil {
		return 0, nil, err
	}
	return binary.LittleEndian.Uint16(b), cur, nil
}

// directory tells the files below a directory. Only what ends the whole is returned.
func (s *squashReader) directory(ref uint64, path string, depth int) error {
	if s.dirs[ref] {
		return nil
	}
	err := s.entries(ref, path, depth)
	if s.stop != nil || s.ctx.Err() != nil {
		return err
	}
	if err != nil && s.trouble == nil {
		s.trouble = fmt.Errorf("directory /%s: %w", cleanPath(path), err)
	}
	return nil
}

func (s *squashReader) entries(ref uint64, path string, depth int) error {
	if depth > squashMaxDepth {
		return fmt.Errorf("it lies deeper than %d levels", squashMaxDepth)
	}
	if len(s.dirs) == squashMaxDirs {
		return fmt.Errorf("there are more than %d directories", squashMaxDirs)
	}
	s.dirs[ref] = true
	kind, cur, err := s.inode(ref)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	var start, size int64
	var off int
	switch kind {
	case 1:
		b, err := cur.take(16)
		if err != nil {
			return err
		}
		start, size, off = int64(le.Uint32(b)), int64(le.Uint16(b[8:])), int(le.Uint16(b[10:]))
	case 8:
		b, err := cur.take(24)
		if err != nil {
			return err
		}
		start, size, off = int64(le.Uint32(b[8:])), int64(le.Uint32(b[4:])), int(le.Uint16(b[18:]))
	default:
		return errSquash
	}
	size -= 3 // for "." and "..", which are not there
	if size <= 0 {
		return nil
	}
	if cur, err = s.cursor(s.lists+start, off); err != nil {
		return err
	}
	for size > 0 {
		h, err := cur.take(12)
		if err != nil {
			return err
		}
		size -= 12
		count, block := le.Uint32(h), uint64(le.Uint32(h[4:]))
		if count >= 256 {
			return errSquash
		}
		for range count + 1 {
			e, err := cur.take(8)
			if err != nil {
				return err
			}
			n := int(le.Uint16(e[6:])) + 1
			if n > 256 {
				return errSquash
			}
			name, err := cur.take(n)
			if err != nil {
				return err
			}
			size -= 8 + int64(n)
			if s.list += 8 + int64(n); s.list > squashMaxList {
				return fmt.Errorf("the directories are larger than %d bytes", squashMaxList)
			}
			ref := block<<16 | uint64(le.Uint16(e))
			below := path + "/" + latin1Name(name)
			if len(below) > maxPath {
				below = below[len(below)-maxPath:]
			}
			switch le.Uint16(e[4:]) {
			case 1, 8:
				err = s.directory(ref, below, depth+1)
			case 2, 9:
				m := Member{Path: cleanPath(below), Key: strconv.FormatUint(ref, 16)}
				m.Reader, m.Size, m.Err = s.file(ref)
				if m.Err != nil {
					m.Reader = nil
				}
				err = s.tell(m)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// squashFile reads a file block by block.
type squashFile struct {
	s      *squashReader
	sizes  *squashCursor // of its blocks
	at     int64         // of the next block
	left   int64         // bytes of the file to come
	part   uint32        // the fragment that holds its end
	offset int64         // in it
	out    []byte
	zeros  int64 // of a hole, to be given before the next block
	err    error
}

func (s *squashReader) file(ref uint64) (io.Reader, int64, error) {
	kind, cur, err := s.inode(ref)
	if err != nil {
		return nil, -1, err
	}
	le := binary.LittleEndian
	f := &squashFile{s: s, sizes: cur}
	switch kind {
	case 2:
		b, err := cur.take(16)
		if err != nil {
			return nil, -1, err
		}
		f.at, f.part, f.offset, f.left = int64(le.Uint32(b)), le.Uint32(b[4:]), int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	case 9:
		b, err := cur.take(40)
		if err != nil {
			return nil, -1, err
		}
		f.at, f.left, f.part, f.offset = int64(le.Uint64(b)), int64(le.Uint64(b[8:])), le.Uint32(b[28:]), int64(le.Uint32(b[32:]))
	default:
		return nil, -1, errSquash
	}
	if f.left < 0 || f.at < 0 || f.at > s.size {
		return nil, -1, errSquash
	}
	return f, f.left, nil
}

func (f *squashFile) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(f.out) > 0:
			n := copy(p, f.out)
			f.out = f.out[n:]
			return n, nil
		case f.zeros > 0:
			n := int(min(f.zeros, int64(len(p))))
			clear(p[:n])
			f.zeros -= int64(n)
			return n, nil
		case f.err != nil:
			return 0, f.err
		case f.left == 0:
			return 0, io.EOF
		}
		f.err = f.next()
	}
}

// next unpacks the next block.
func (f *squashFile) next() error {
	s := f.s
	want := min(f.left, s.block)
	if want < s.block && f.part != squashNone {
		b, err := s.fragment(f.part)
		if err != nil {
			return err
		}
		if f.offset > int64(len(b)) || want > int64(len(b))-f.offset {
			return errSquash
		}
		f.out, f.left = b[f.offset:f.offset+want], 0
		return nil
	}
	b, err := f.sizes.take(4)
	if err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(b)
	f.left -= want
	if size == 0 {
		f.zeros = want
		return nil
	}
	data, err := s.data(f.at, size)
	if err != nil {
		return err
	}
	if int64(len(data)) != want {
		return errors.New("a block has not the length that it should have")
	}
	f.at += int64(size &^ (1 << 24))
	f.out = data
	return nil
}

// data reads a block of data. A bit of its size says that it is not compressed.
func (s *squashReader) data(at int64, size uint32) ([]byte, error) {
	raw := size&(1<<24) != 0
	size &^= 1 << 24
	if int64(size) > s.block {
		return nil, errSquash
	}
	b, err := s.readAt(at, int(size))
	if err != nil || raw {
		return b, err
	}
	return s.unpack(b, int(s.block))
}

// fragment reads a block of the ends of files.
func (s *squashReader) fragment(n uint32) ([]byte, error) {
	for i, k := range s.fragmentsKept {
		if k.n == n {
			copy(s.fragmentsKept[1:i+1], s.fragmentsKept[:i])
			s.fragmentsKept[0] = k
			return k.data, nil
		}
	}
	if n >= s.parts {
		return nil, errSquash
	}
	le := binary.LittleEndian
	b, err := s.readAt(s.fragments+int64(n/512)*8, 8)
	if err != nil {
		return nil, err
	}
	cur, err := s.cursor(int64(le.Uint64(b)), int(n%512)*16)
	if err != nil {
		return nil, err
	}
	if b, err = cur.take(16); err != nil {
		return nil, err
	}
	data, err := s.data(int64(le.Uint64(b)), le.Uint32(b[8:]))
	if err != nil {
		return nil, err
	}
	if len(s.fragmentsKept) < int(max(squashParts/s.block, 1)) {
		s.fragmentsKept = append(s.fragmentsKept, squashFragment{})
	}
	copy(s.fragmentsKept[1:], s.fragmentsKept)
	s.fragmentsKept[0] = squashFragment{n, data}
	return data, nil
}
