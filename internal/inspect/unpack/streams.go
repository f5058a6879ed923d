package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"
)

// Formats of one compressed stream. Each is a container of one member; several streams one after another are one, as their own tools have it.

// joined reads streams one after another.
type joined struct {
	in   *bufio.Reader
	next func(*bufio.Reader) (io.Reader, error) // io.EOF at the end; errTrailing when something else follows
	cur  io.Reader
	rest error // errTrailing was met
	err  error
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.err != nil {
			return 0, j.err
		}
		if j.cur == nil {
			if j.cur, j.err = j.next(j.in); j.err == errTrailing {
				j.rest, j.err = j.err, io.EOF
			}
			continue
		}
		n, err := j.cur.Read(p)
		if err == io.EOF {
			j.cur = nil
		} else if err != nil {
			j.err = err
			if err == errTrailing {
				j.rest, j.err = err, io.EOF
			}
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// stream tells the one member. The first stream is opened before, so that what is none has no member.
func (c *container) stream(next func(*bufio.Reader) (io.Reader, error), path func() string) error {
	j := &joined{in: buffered(c.section(0, c.size)), next: next}
	if j.cur, j.err = next(j.in); j.err != nil {
		if j.err == errTrailing {
			j.err = errors.New("it does not begin as it should")
		}
		return j.err
	}
	m := Member{Size: -1, Reader: j}
	if path != nil {
		m.Path = path()
	}
	if err := c.tell(m); err != nil {
		return err
	}
	return j.rest
}

// skipZeros passes over padding, as tapes and disks leave it.
func skipZeros(r *bufio.Reader) error {
	for {
		b, err := r.Peek(1)
		if err != nil || b[0] != 0 {
			return err
		}
		r.Discard(1)
	}
}

// follows tells whether the magic comes next; io.EOF or errTrailing says what else does.
func follows(r *bufio.Reader, magic string) error {
	b, err := r.Peek(len(magic))
	if len(b) == 0 {
		return err
	}
	if string(b) != magic {
		return errTrailing
	}
	return nil
}

func readGzip(c *container) error {
	var z *gzip.Reader
	next := func(r *bufio.Reader) (io.Reader, error) {
		if z != nil {
			if err := skipZeros(r); err != nil {
				return nil, err
			}
		}
		if err := follows(r, "\x1f\x8b"); err != nil {
			return nil, err
		}
		var err error
		if z == nil {
			z, err = gzip.NewReader(r)
		} else {
			err = z.Reset(r)
		}
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return z, nil
	}
	return c.stream(next, func() string {
		// The package reads the name as Latin-1; most are UTF-8.
		name := make([]byte, 0, len(z.Name))
		for _, r := range z.Name {
			name = append(name, byte(r))
		}
		return cleanPath(latin1Name(name))
	})
}

// readZlib reads a stream of zlib as it is, as Git keeps objects and firmware its parts.
func readZlib(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun {
			if _, err := r.Peek(1); err != nil {
				return nil, err
			}
			return nil, errTrailing
		}
		begun = true
		return zlib.NewReader(r)
	}, nil)
}

func readBzip2(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun { // the package joins streams itself
			return nil, io.EOF
		}
		begun = true
		if err := follows(r, "BZh"); err != nil {
			return nil, err
		}
		return &bzip2Reader{bzip2.NewReader(r)}, nil
	}, nil)
}

// bzip2Reader tells what follows the last stream from damage.
type bzip2Reader struct{ r io.Reader }

func (b *bzip2Reader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == bzip2.StructuralError("bad magic value in continuation file") {
		err = errTrailing
	}
	return n, err
}

func readXZ(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun {
			return nil, io.EOF
		}
		begun = true
		x := newXZReader(r, c)
		return x, x.err
	}, nil)
}

func readZstd(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun {
			return nil, io.EOF
		}
		begun = true
		if b, err := r.Peek(4); err != nil || string(b) != "\x28\xb5\x2f\xfd" && (string(b[1:]) != "\x2a\x4d\x18" || b[0]>>4 != 5) {
			return nil, errTrailing
		}
		return newZstd(r)
	}, nil)
}

// readLZMA reads the format of before xz: properties, dictionary, size (all ones when unknown).
func readLZMA(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun {
			return nil, io.EOF
		}
		begun = true
		return newLZMAFile(r, c)
	}, nil)
}

// newLZMAFile reads a file of LZMA, which begins with 13 bytes that say how it is read.
func newLZMAFile(r *bufio.Reader, c *container) (io.Reader, error) {
	var b [13]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, errCut
	}
	size := int64(binary.LittleEndian.Uint64(b[5:]))
	if size < -1 {
		return nil, errLZMA
	}
	return newLZMAReader(r, b[0], binary.LittleEndian.Uint32(b[1:]), size, c)
}

func readLzip(c *container) error {
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if err := follows(r, "LZIP"); err != nil {
			return nil, err
		}
		var b [6]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, errCut
		}
		if b[4] > 1 {
			return nil, fmt.Errorf("version %d is not known", b[4])
		}
		size := uint32(1) << (b[5] & 31)
		size -= size / 16 * uint32(b[5]>>5)
		const properties = 3 + 9*(0+5*2) // lc 3, lp 0, pb 2
		l, err := newLZMAReader(r, properties, size, -1, c)
		if err != nil {
			return nil, err
		}
		return &lzipReader{l: l, in: r, version: b[4]}, nil
	}, nil)
}

// lzipReader compares a member with its trailer: checksum, size, and size of the member itself.
type lzipReader struct {
	l       *lzmaReader
	in      *bufio.Reader
	version byte
	crc     uint32
	n       uint64
}

func (l *lzipReader) Read(p []byte) (int, error) {
	n, err := l.l.Read(p)
	l.crc = crc32.Update(l.crc, crc32.IEEETable, p[:n])
	l.n += uint64(n)
	if err == io.EOF {
		var b [20]byte
		t := b[:12]
		if l.version == 1 {
			t = b[:]
		}
		if _, err := io.ReadFull(l.in, t); err != nil {
			return n, errCut
		}
		if binary.LittleEndian.Uint32(b[:]) != l.crc || binary.LittleEndian.Uint64(b[4:]) != l.n {
			return n, errChecksum
		}
	}
	return n, err
}

const (
	lz4Magic  = 0x184d2204
	lz4Legacy = 0x184c2102
)

func readLZ4(c *container) error {
	frame := &lz4Frame{}
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		for {
			b, err := r.Peek(4)
			if len(b) == 0 {
				return nil, err
			}
			if len(b) < 4 {
				return nil, errTrailing
			}
			switch magic := binary.LittleEndian.Uint32(b); {
			case magic&^15 == 0x184d2a50: // a frame to be passed over
				r.Discard(4)
				if _, err := io.ReadFull(r, b); err != nil {
					return nil, errCut
				}
				n := int64(binary.LittleEndian.Uint32(b))
				if skipped, _ := io.CopyN(io.Discard, r, n); skipped < n {
					return nil, errCut
				}
			case magic == lz4Magic, magic == lz4Legacy:
				r.Discard(4)
				return frame, frame.start(r, magic == lz4Legacy)
			default:
				return nil, errTrailing
			}
		}
	}, nil)
}

// lz4Frame reads a frame of lz4: blocks, each at most 4 MiB, 8 in the old format.
type lz4Frame struct {
	r        *bufio.Reader
	legacy   bool
	flags    byte
	max      int
	src, dst []byte // dst begins with up to 64 KiB of the blocks before
	history  int    // bytes of them
	filled   int    // bytes of the block behind them
	out      []byte // to be given away
	sum      xxh32
}

func (f *lz4Frame) start(r *bufio.Reader, legacy bool) error {
	f.r, f.legacy, f.history, f.filled, f.out, f.flags = r, legacy, 0, 0, nil, 0
	f.sum.reset()
	if legacy {
		f.max = 8 << 20
		return nil
	}
	var b [2 + 8 + 4 + 1]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return errCut
	}
	f.flags = b[0]
	if f.flags>>6 != 1 {
		return fmt.Errorf("version %d is not known", f.flags>>6)
	}
	n := 2
	if f.flags&8 != 0 {
		n += 8
	}
	if f.flags&1 != 0 {
		n += 4
	}
	if _, err := io.ReadFull(r, b[2:n+1]); err != nil {
		return errCut
	}
	var sum xxh32
	sum.reset()
	sum.write(b[:n])
	if byte(sum.sum()>>8) != b[n] {
		return errChecksum
	}
	if f.flags&1 != 0 {
		return errors.New("it was compressed with a dictionary that it does not bring")
	}
	switch size := b[1] >> 4 & 7; size {
	case 4, 5, 6, 7:
		f.max = 1 << (8 + 2*size)
	default:
		return fmt.Errorf("block size %d is not known", size)
	}
	return nil
}

const lz4Window = 64 << 10

func (f *lz4Frame) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if err := f.block(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

func (f *lz4Frame) block() error {
	var b [4]byte
	if f.legacy {
		// The old format has no end mark: the file ends, or another frame begins.
		head, err := f.r.Peek(4)
		if len(head) < 4 {
			if len(head) == 0 {
				return err
			}
			return errCut
		}
		if v := binary.LittleEndian.Uint32(head); v == lz4Magic || v == lz4Legacy || v&^15 == 0x184d2a50 {
			return io.EOF
		}
	}
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return errCut
	}
	size := binary.LittleEndian.Uint32(b[:])
	raw := !f.legacy && size>>31 != 0
	if !f.legacy {
		if size == 0 {
			return f.end()
		}
		size &^= 1 << 31
	}
	if int64(size) > int64(f.max)+int64(f.max)/255+16 {
		return fmt.Errorf("a block of %d bytes is larger than the frame allows", size)
	}
	var err error
	if cap(f.src) >= int(size) {
		f.src = f.src[:size]
		_, err = io.ReadFull(f.r, f.src)
	} else {
		f.src, err = readSome(f.r, int64(size), int64(size))
	}
	if err != nil {
		return errCut
	}
	if f.flags&16 != 0 {
		if _, err := io.ReadFull(f.r, b[:]); err != nil {
			return errCut
		}
		var sum xxh32
		sum.reset()
		sum.write(f.src)
		if sum.sum() != binary.LittleEndian.Uint32(b[:]) {
			return errChecksum
		}
	}
	if raw {
		if len(f.src) > f.max {
			return errors.New("a block is larger than the frame allows")
		}
	}
	end := f.history + f.filled
	keep := min(end, lz4Window)
	if f.legacy || f.flags&32 != 0 {
		keep = 0 // blocks stand alone
	}
	copy(f.dst, f.dst[end-keep:end])
	f.history, f.filled = keep, 0
	// A block cannot unpack to more than 255 times its size, so that the memory does not follow the claim.
	need := lz4Window + min(f.max, 255*len(f.src)+64)
	if len(f.dst) < need {
		grown := make([]byte, need)
		copy(grown, f.dst[:f.history])
		f.dst = grown
	}
	var n int
	if raw {
		n = copy(f.dst[f.history:], f.src)
	} else {
		n, err = lz4.UncompressBlockWithDict(f.src, f.dst[f.history:need], f.dst[:f.history])
		if err != nil || n > f.max {
			return errors.New("the data are damaged")
		}
	}
	f.filled = n
	f.out = f.dst[f.history : f.history+n]
	f.sum.write(f.out)
	return nil
}

func (f *lz4Frame) end() error {
	if f.flags&4 != 0 {
		var b [4]byte
		if _, err := io.ReadFull(f.r, b[:]); err != nil {
			return errCut
		}
		if f.sum.sum() != binary.LittleEndian.Uint32(b[:]) {
			return errChecksum
		}
	}
	return io.EOF
}

// xxh32 is the checksum of lz4.
type xxh32 struct {
	v    [4]uint32
	tail [16]byte
	have int
	n    uint64
}

const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

func (x *xxh32) reset() {
	p1, p2 := xxPrime1, xxPrime2
	*x = xxh32{v: [4]uint32{p1 + p2, p2, 0, 0 - p1}}
}

func (x *xxh32) round(b []byte) {
	for i := range x.v {
		x.v[i] = bits.RotateLeft32(x.v[i]+binary.LittleEndian.Uint32(b[4*i:])*xxPrime2, 13) * xxPrime1
	}
}

func (x *xxh32) write(p []byte) {
	x.n += uint64(len(p))
	if x.have > 0 {
		n := copy(x.tail[x.have:], p)
		x.have += n
		p = p[n:]
		if x.have < 16 {
			return
		}
		x.round(x.tail[:])
		x.have = 0
	}
	for ; len(p) >= 16; p = p[16:] {
		x.round(p)
	}
	x.have = copy(x.tail[:], p)
}

func (x *xxh32) sum() uint32 {
	h := x.v[2] + xxPrime5
	if x.n >= 16 {
		h = bits.RotateLeft32(x.v[0], 1) + bits.RotateLeft32(x.v[1], 7) + bits.RotateLeft32(x.v[2], 12) + bits.RotateLeft32(x.v[3], 18)
	}
	h += uint32(x.n)
	t := x.tail[:x.have]
	for ; len(t) >= 4; t = t[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(t)*xxPrime3, 17) * xxPrime4
	}
	for _, b := range t {
		h = bits.RotateLeft32(h+uint32(b)*xxPrime5, 11) * xxPrime1
	}
	h ^= h >> 15
	h *= xxPrime2
	h ^= h >> 13
	h *= xxPrime3
	return h ^ h>>16
}

// readCompress reads what compress(1) writes.
func readCompress(c *container) error {
	begun := false
	return c.stream(func(r *bufio.Reader) (io.Reader, error) {
		if begun {
			return nil, io.EOF
		}
		begun = true
		var b [3]byte
		if _, err := io.ReadFull(r, b[:]); err != nil || !bytes.HasPrefix(b[:], []byte("\x1f\x9d")) {
			return nil, errTrailing
		}
		most := uint(b[2] & 31)
		if most < 9 || most > 16 {
			return nil, fmt.Errorf("codes of %d bits are not possible", most)
		}
		z := &uncompressor{bitReader: bitReader{r: r}, most: most, blocks: b[2]&128 != 0, size: 9, old: -1}
		z.free = 256
		if z.blocks {
			z.free = 257
		}
		return z, nil
	}, nil)
}

// uncompressor undoes compress(1): LZW whose codes come in groups of eight of a size. There is no end mark.
type uncompressor struct {
	bitReader
	most   uint // bits of a code
	blocks bool // code 256 clears the table
	size   uint // bits of a code now
	count  int  // codes read at this size
	free   int  // the next code to be given
	old    int  // the code before; -1 at the start
	first  byte // of the string before
	out    []byte
	parent [1 << 16]uint16
	suffix [1 << 16]byte
	stack  [1 << 16]byte
	failed error
}

func (z *uncompressor) Read(p []byte) (int, error) {
	for len(z.out) == 0 {
		if z.failed != nil {
			return 0, z.failed
		}
		if len(p) == 0 {
			return 0, nil
		}
		z.failed = z.code()
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// resize changes the codes' size. What is left of a group is void.
func (z *uncompressor) resize(size uint) {
	for ; z.count&7 != 0; z.count++ {
		z.read(z.size)
	}
	z.size, z.count = size, 0
}

func (z *uncompressor) code() error {
	if z.free >= 1<<z.size && z.size < z.most {
		z.resize(z.size + 1)
	}
	z.need(z.size)
	if z.have < z.zeros+z.size {
		// Fewer bits than a code: the end.
		if z.err != nil && z.err != errCut {
			return z.err
		}
		return io.EOF
	}
	code := int(z.read(z.size))
	z.count++
	if code == 256 && z.blocks {
		z.free = 256
		z.resize(9)
		return nil
	}
	if z.old < 0 {
		if code > 255 {
			return errCode
		}
		z.old, z.first = code, byte(code)
		z.stack[0] = byte(code)
		z.out = z.stack[:1]
		return nil
	}
	at, c := len(z.stack), code
	if c >= z.free {
		if c > z.free {
			return errCode
		}
		at--
		z.stack[at] = z.first
		c = z.old
	}
	for c >= 256 {
		if at == 0 {
			return errCode
		}
		at--
		z.stack[at] = z.suffix[c]
		c = int(z.parent[c])
	}
	if at == 0 {
		return errCode
	}
	at--
	z.stack[at] = byte(c)
	z.first = byte(c)
	z.out = z.stack[at:]
	if z.free < 1<<z.most {
		z.parent[z.free], z.suffix[z.free] = uint16(z.old), z.first
		z.free++
	}
	z.old = code
	return nil
}
