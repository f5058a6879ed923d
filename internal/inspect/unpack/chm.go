package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf16"
)

// A compiled help file (CHM) is a directory of names in chunks, and sections that hold the files' bytes: the first as they are, the second as one
// stream of LZX that begins anew every few frames. The second section is itself a file of the first, beside those that say how it is compressed.

const (
	chmMaxChunk   = 1 << 20
	chmMaxEntries = 1 << 20
	chmMaxTable   = 1 << 20 // frames of the compressed section: 32 GiB unpacked
	chmFrame      = 32 << 10
	chmWaste      = 50 // times the section's size that may be decompressed in vain, for files that overlap
	chmStorage    = "::DataSpace/Storage/"
	chmReset      = "/Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable"
)

// chmEntry is a name of the directory, and where its bytes lie in a section.
type chmEntry struct {
	name         string
	section      uint64
	offset, size int64
}

type chmReader struct {
	*container
	data     int64 // where the first section begins
	files    []chmEntry
	internal map[string]chmEntry
	sections []string
	lzx      *chmStream
	why      error // the compressed section cannot be read
}

// readCHM tells the files of a compiled help file, those of the compressed section in the order in which they lie there.
func readCHM(c *container) error {
	h, err := c.readAt(0, 0x58)
	if err != nil || string(h[:4]) != "ITSF" {
		return errors.New("it does not begin as it should")
	}
	le := binary.LittleEndian
	r := &chmReader{container: c, internal: make(map[string]chmEntry)}
	version, dir, dirSize := le.Uint32(h[4:]), int64(le.Uint64(h[0x48:])), int64(le.Uint64(h[0x50:]))
	switch version {
	case 2:
		r.data = dir + dirSize
	case 3:
		b, err := c.readAt(0x58, 8)
		if err != nil {
			return err
		}
		r.data = int64(le.Uint64(b))
	default:
		return fmt.Errorf("version %d is not read", version)
	}
	if r.data < 0 || r.data > c.size {
		return errCut
	}
	trouble := r.directory(dir)
	if len(r.files) == 0 && trouble != nil {
		return trouble
	}
	r.names()
	slices.SortStableFunc(r.files, func(a, b chmEntry) int {
		switch {
		case a.section != b.section:
			return int(min(a.section, 2)) - int(min(b.section, 2))
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return 0
	})
	for _, e := range r.files {
		m := Member{Path: cleanPath(e.name), Size: e.size}
		if e.offset < 0 || e.size < 0 || e.offset > 1<<50 || e.size > 1<<50 {
			m.Size, m.Err = -1, errors.New("its place is not possible")
		} else if e.size == 0 {
			m.Reader = strings.NewReader("")
		} else if m.Reader, m.Err = r.open(e); m.Err != nil {
			m.Reader = nil
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	return trouble
}

// directory reads the names of all chunks. Those that were read before an error are kept.
func (r *chmReader) directory(at int64) error {
	h, err := r.readAt(at, 0x54)
	if err != nil || string(h[:4]) != "ITSP" {
		return errors.New("the directory does not begin as it should")
	}
	le := binary.LittleEndian
	header, chunk, first, chunks := int64(le.Uint32(h[8:])), int64(le.Uint32(h[0x10:])), le.Uint32(h[0x20:]), le.Uint32(h[0x2c:])
	if chunk < 32 || chunk > chmMaxChunk {
		return fmt.Errorf("chunks of %d bytes are not possible", chunk)
	}
	// Chunks are a list; one that comes a second time would be one too many.
	for n := uint32(0); first != 1<<32-1; n++ {
		if n == chunks || int64(n)*chunk > r.size {
			return errors.New("the directory's chunks are a list without end")
		}
		b, err := r.readAt(at+header+int64(first)*chunk, int(chunk))
		if err != nil {
			return err
		}
		if string(b[:4]) != "PMGL" {
			return errors.New("a chunk of the directory does not begin as it should")
		}
		free := int64(le.Uint32(b[4:]))
		first = le.Uint32(b[16:])
		if free > chunk-20 {
			return errors.New("a chunk of the directory is damaged")
		}
		for b = b[20 : chunk-free]; len(b) > 0; {
			var e chmEntry
			length, rest, ok := chmInt(b)
			if !ok || length > uint64(len(rest)) {
				return errors.New("a name of the directory is damaged")
			}
			e.name = string(rest[:length])
			b = rest[length:]
			var v [3]uint64
			for i := range v {
				if v[i], b, ok = chmInt(b); !ok {
					return errors.New("an entry of the directory is damaged")
				}
			}
			e.section, e.offset, e.size = v[0], int64(v[1]), int64(v[2])
			if len(r.files)+len(r.internal) == chmMaxEntries {
				return fmt.Errorf("there are more than %d entries", chmMaxEntries)
			}
			switch {
			case strings.HasPrefix(e.name, "::"):
				r.internal[e.name] = e
			case strings.HasSuffix(e.name, "/") && e.size == 0: // a directory
			default:
				r.files = append(r.files, e)
			}
		}
	}
	return nil
}

// chmInt reads a number of seven bits a byte, the highest first. One of more than 63 bits is none.
func chmInt(b []byte) (uint64, []byte, bool) {
	var v uint64
	for i, c := range b {
		if v >= 1<<56 {
			return 0, nil, false
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}

// small reads a file of the first section that tells of others.
func (r *chmReader) small(name string, limit int64) ([]byte, error) {
	e, ok := r.internal[name]
	if !ok || e.section != 0 || e.offset < 0 || e.offset > r.size {
		return nil, fmt.Errorf("%s is not there", name[strings.LastIndexByte(name, '/')+1:])
	}
	return readSome(r.section(r.data+e.offset, e.size), e.size, limit)
}

// names reads the list of sections. Without it they are as they always are.
func (r *chmReader) names() {
	r.sections = []string{"Uncompressed", "MSCompressed"}
	b, err := r.small("::DataSpace/NameList", 64<<10)
	if err != nil || len(b) < 4 {
		return
	}
	le := binary.LittleEndian
	var names []string
	n := le.Uint16(b[2:])
	for b = b[4:]; n > 0 && len(b) >= 2; n-- {
		length := int(le.Uint16(b))
		if 2+2*length+2 > len(b) {
			return
		}
		u := make([]uint16, length)
		for i := range u {
			u[i] = le.Uint16(b[2+2*i:])
		}
		names = append(names, string(utf16.Decode(u)))
		b = b[2+2*length+2:]
	}
	if n == 0 {
		r.sections = names
	}
}

func (r *chmReader) open(e chmEntry) (io.Reader, error) {
	if e.section == 0 {
		return r.stored(r.data+e.offset, e.size), nil
	}
	if e.section >= uint64(len(r.sections)) {
		return nil, fmt.Errorf("section %d of %d", e.section, len(r.sections))
	}
	if name := r.sections[e.section]; name != "MSCompressed" {
		return nil, fmt.Errorf("its section, %q, is not read", name)
	}
	if r.lzx == nil && r.why == nil {
		r.lzx, r.why = r.compressed()
	}
	if r.why != nil {
		return nil, r.why
	}
	if e.offset > r.lzx.size || e.size > r.lzx.size-e.offset {
		return nil, errors.New("it lies beyond the end of the compressed section")
	}
	return &exactReader{r: &lazyReader{open: func() (io.Reader, error) { return r.lzx.at(e.offset) }}, left: e.size}, nil
}

// chmStream decompresses the compressed section.
type chmStream struct {
	c      *container
	base   int64
	packed int64
	frames []int64 // where each begins, behind base
	every  int64   // frames after which the stream begins anew
	size   int64   // unpacked
	lzx    *lzxDecoder
	next   int64  // frame to be decompressed
	out    []byte // of the last, not yet taken
	wasted int64
	failed error
}

// compressed reads how the compressed section is compressed.
func (r *chmReader) compressed() (*chmStream, error) {
	le := binary.LittleEndian
	b, err := r.small(chmStorage+"MSCompressed/ControlData", 1<<10)
	if err != nil {
		return nil, err
	}
	if len(b) < 20 || string(b[4:8]) != "LZXC" {
		return nil, errors.New("the compressed section is not of LZX")
	}
	version, every, window := le.Uint32(b[8:]), int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
	if version == 2 {
		every, window = every*chmFrame, window*chmFrame
	}
	order := uint(bits.Len64(uint64(window)) - 1)
	if version < 1 || version > 2 || window&(window-1) != 0 || order < 15 || order > 21 || every < chmFrame || every%chmFrame != 0 {
		return nil, fmt.Errorf("LZX of version %d with a window of %d bytes, that begins anew after %d bytes", version, window, every)
	}
	if window > r.o.Memory {
		return nil, errDictionary
	}
	content, ok := r.internal[chmStorage+"MSCompressed/Content"]
	if !ok || content.section != 0 || content.offset < 0 || content.size < 0 || content.offset > r.size-r.data {
		return nil, errors.New("the compressed section is not there")
	}
	if b, err = r.small(chmStorage+"MSCompressed"+chmReset, 8*chmMaxTable+1<<10); err != nil {
		return nil, err
	}
	if len(b) < 40 {
		return nil, errCut
	}
	n, width, header := int64(le.Uint32(b[4:])), le.Uint32(b[8:]), int64(le.Uint32(b[12:]))
	s := &chmStream{c: r.container, base: r.data + content.offset, packed: min(content.size, r.size-r.data-content.offset), every: every / chmFrame,
		size: int64(le.Uint64(b[16:]))}
	if frame := le.Uint64(b[32:]); frame != chmFrame || width != 8 || header < 40 || header > int64(len(b)) || n > (int64(len(b))-header)/8 || s.size < 0 {
		return nil, errors.New("the table of the compressed section is damaged")
	}
	s.size = min(s.size, n*chmFrame)
	for i := range n {
		s.frames = append(s.frames, int64(le.Uint64(b[header+8*i:])))
	}
	s.lzx = newLZX(order)
	return s, nil
}

// at is the section's stream from an offset: the frames since the stream last began anew are decompressed in vain.
func (s *chmStream) at(offset int64) (io.Reader, error) {
	from := offset / chmFrame
	begin := from - from%s.every
	told := s.next*chmFrame - int64(len(s.out))
	if s.failed != nil || offset < told || begin > s.next || len(s.out) == 0 && begin == s.next {
		s.next, s.out, s.failed = begin, nil, nil
		told = begin * chmFrame
	}
	if s.wasted += offset - told; s.wasted > chmWaste*s.size {
		return nil, errors.New("the files overlap so that the section would be decompressed too often")
	}
	if _, err := io.CopyN(io.Discard, s, offset-told); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *chmStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.out) == 0 {
		if s.failed != nil {
			return 0, s.failed
		}
		if s.out, s.failed = s.frame(); s.failed != nil {
			s.out = nil
			return 0, s.failed
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// frame decompresses the next frame.
func (s *chmStream) frame() ([]byte, error) {
	i := s.next
	if i >= int64(len(s.frames)) {
		return nil, io.EOF
	}
	from, to := s.frames[i], s.packed
	if i+1 < int64(len(s.frames)) {
		to = s.frames[i+1]
	}
	if from < 0 || to < from || to > s.packed {
		return nil, errCut
	}
	// A frame of bytes as they are is hardly longer than it is unpacked.
	b, err := s.c.readAt(s.base+from, int(min(to-from, 2*chmFrame)))
	if err != nil {
		return nil, err
	}
	if i%s.every == 0 {
		s.lzx.reset()
	}
	out, err := s.lzx.block(b, int(min(chmFrame, s.size-i*chmFrame)))
	if err != nil {
		return nil, err
	}
	s.next++
	return out, nil
}
