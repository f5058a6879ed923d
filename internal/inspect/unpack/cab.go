package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A cabinet is folders, each one compressed stream in blocks, and files, each a piece of a folder's stream.

const (
	cabHeader = 36
	cabWindow = 32 << 10 // bytes of output of each block but a folder's last, and MSZIP's window
	cabOpens  = 100      // times that a folder is decompressed from its beginning, for files that lie out of order
)

type cabFolder struct {
	data   int64 // where its first block begins
	blocks int
	method uint16

	r     *cabStream // when it is open
	opens int
}

type cabFile struct {
	size, from int64
	folder     int
	name       string
}

// readCab tells the files of a cabinet. What lies in another cabinet of its set is told as a problem.
func readCab(c *container) error {
	h, err := c.readAt(0, cabHeader)
	if err != nil || string(h[:4]) != "MSCF" {
		return errors.New("it does not begin as it should")
	}
	le := binary.LittleEndian
	folders, files, flags := int(le.Uint16(h[26:])), int(le.Uint16(h[28:])), le.Uint16(h[30:])
	if h[25] != 1 {
		return fmt.Errorf("version %d.%d is not read", h[25], h[24])
	}
	at := int64(cabHeader)
	var folderExtra, blockExtra int64
	if flags&4 != 0 {
		b, err := c.readAt(at, 4)
		if err != nil {
			return err
		}
		folderExtra, blockExtra = int64(b[2]), int64(b[3])
		at += 4 + int64(le.Uint16(b))
	}
	var previous, next string
	for _, set := range []struct {
		flag uint16
		name *string
	}{{1, &previous}, {2, &next}} {
		if flags&set.flag == 0 {
			continue
		}
		var disk string
		for _, s := range []*string{set.name, &disk} {
			b, err := c.zeroEnded(at)
			if err != nil {
				return err
			}
			*s = localName(b)
			at += int64(len(b)) + 1
		}
	}
	all := make([]cabFolder, 0, min(folders, 64))
	for range folders {
		b, err := c.readAt(at, 8)
		if err != nil {
			return err
		}
		all = append(all, cabFolder{data: int64(le.Uint32(b)), blocks: int(le.Uint16(b[4:])), method: le.Uint16(b[6:])})
		at += 8 + folderExtra
	}

	at = int64(le.Uint32(h[16:]))
	continued := false // the first folder begins in another cabinet
	for range files {
		b, err := c.readAt(at, 16)
		if err != nil {
			return err
		}
		name, err := c.zeroEnded(at + 16)
		if err != nil {
			return err
		}
		at += 16 + int64(len(name)) + 1
		f := cabFile{size: int64(le.Uint32(b)), from: int64(le.Uint32(b[4:])), folder: int(le.Uint16(b[8:]))}
		if le.Uint16(b[14:])&0x80 != 0 {
			f.name = latin1Name(name)
		} else {
			f.name = localName(name)
		}
		m := c.named(f.name)
		m.Size = f.size
		continued = continued || f.folder == 0xfffd || f.folder == 0xffff
		switch {
		case f.folder == 0xfffd || f.folder == 0xffff:
			m.Err = fmt.Errorf("it begins in the cabinet before this one, %q, which is another file", previous)
		case f.folder == 0xfffe:
			m.Err = fmt.Errorf("it goes on in the next cabinet, %q, which is another file", next)
		case f.folder >= len(all):
			m.Err = fmt.Errorf("folder %d of %d", f.folder, len(all))
		default:
			folder := &all[f.folder]
			if m.Err = folder.readable(c); m.Err != nil {
				break
			}
			if f.folder == 0 && continued {
				m.Err = fmt.Errorf("its folder begins in the cabinet before this one, %q, which is another file", previous)
				break
			}
			m.Reader = &exactReader{r: &lazyReader{open: func() (io.Reader, error) { return folder.at(c, blockExtra, f.from) }}, left: f.size}
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// zeroEnded reads a name up to the zero that ends it.
func (c *container) zeroEnded(at int64) ([]byte, error) {
	if at < 0 || at >= c.size {
		return nil, errCut
	}
	b := make([]byte, min(257, c.size-at))
	n, err := c.r.ReadAt(b, at)
	if n < len(b) && err != nil && err != io.EOF {
		return nil, err
	}
	i := bytes.IndexByte(b[:n], 0)
	if i < 0 {
		return nil, errors.New("a name has no end")
	}
	return b[:i], nil
}

// readable says why a folder's method cannot be read.
func (f *cabFolder) readable(c *container) error {
	switch f.method & 15 {
	case 0, 1:
		return nil
	case 2:
		if bits := f.method >> 8 & 31; bits < 10 || bits > 21 {
			return fmt.Errorf("a window of 2^%d bytes is none of Quantum", bits)
		}
		return nil
	case 3:
		bits := f.method >> 8 & 31
		if bits < 15 || bits > 21 {
			return fmt.Errorf("LZX with a window of 2^%d bytes", bits)
		}
		if int64(1)<<bits > c.o.Memory {
			return errDictionary
		}
		return nil
	}
	return fmt.Errorf("compression %d is not known", f.method&15)
}

// at is the folder's stream from an offset. Files lie in order as a rule, so the stream goes on where the last file ended.
func (f *cabFolder) at(c *container, extra, from int64) (io.Reader, error) {
	if f.r == nil || f.r.failed != nil || f.r.told > from {
		if f.opens++; f.opens > cabOpens {
			return nil, errors.New("the files lie in such disorder that the folder would be decompressed too often")
		}
		f.r = newCabStream(c, f, extra)
	}
	if _, err := io.CopyN(io.Discard, f.r, from-f.r.told); err != nil {
		return nil, err
	}
	return f.r, nil
}

// cabStream decompresses a folder block by block.
type cabStream struct {
	c       *container
	next    int64 // where the next block begins
	blocks  int   // that are left
	extra   int64
	method  uint16
	out     []byte // of the current block, not yet taken
	told    int64  // bytes taken
	window  []byte // of MSZIP
	lzx     *lzxDecoder
	quantum *quantumDecoder
	failed  error
}

func newCabStream(c *container, f *cabFolder, extra int64) *cabStream {
	s := &cabStream{c: c, next: f.data, blocks: f.blocks, extra: extra, method: f.method & 15}
	switch s.method {
	case 2:
		s.quantum = newQuantum(uint(f.method >> 8 & 31))
	case 3:
		s.lzx = newLZX(uint(f.method >> 8 & 31))
	}
	return s
}

func (s *cabStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.out) == 0 {
		if s.failed != nil {
			return 0, s.failed
		}
		if s.blocks == 0 {
			return 0, io.EOF
		}
		s.blocks--
		if s.out, s.failed = s.block(); s.failed != nil {
			s.out = nil
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	s.told += int64(n)
	return n, nil
}

// block reads a block and decompresses it.
func (s *cabStream) block() ([]byte, error) {
	h, err := s.c.readAt(s.next, 8)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	packed, unpacked := int(le.Uint16(h[4:])), int(le.Uint16(h[6:]))
	b, err := s.c.readAt(s.next+8+s.extra, packed)
	if err != nil {
		return nil, err
	}
	if want := le.Uint32(h); want != 0 {
		reserved, err := s.c.readAt(s.next+8, int(s.extra))
		if err != nil {
			return nil, err
		}
		sum := cabChecksum(b, 0)
		if sum = cabChecksum(append(h[4:8:8], reserved...), sum); sum != want {
			return nil, errChecksum
		}
	}
	s.next += 8 + s.extra + int64(packed)
	if unpacked == 0 {
		return nil, errors.New("a block goes on in the next cabinet, which is another file")
	}
	if unpacked > cabWindow && s.method != 0 {
		return nil, errors.New("a block is too large")
	}
	switch s.method {
	case 0:
		if packed != unpacked {
			return nil, errors.New("a stored block has two sizes")
		}
		return b, nil
	case 1:
		if len(b) < 2 || b[0] != 'C' || b[1] != 'K' {
			return nil, errors.New("a block of MSZIP does not begin as it should")
		}
		r := flate.NewReaderDict(bytes.NewReader(b[2:]), s.window)
		out := make([]byte, unpacked)
		if _, err := io.ReadFull(r, out); err != nil {
			return nil, err
		}
		s.window = append(s.window, out...)
		s.window = s.window[max(0, len(s.window)-cabWindow):]
		return out, nil
	}
	if s.method == 2 {
		return s.quantum.block(b, unpacked)
	}
	return s.lzx.block(b, unpacked)
}

// cabChecksum is the exclusive or of a block's 32-bit words; of the last bytes, the first is the highest.
func cabChecksum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var last uint32
	for _, c := range b {
		last = last<<8 | uint32(c)
	}
	return sum ^ last
}
