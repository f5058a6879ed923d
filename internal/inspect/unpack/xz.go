package unpack

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// xzReader reads the streams of an xz file as one. The index is read over: what it says, the blocks have shown.
type xzReader struct {
	in    *bufio.Reader
	n     *countingReader // below in
	c     *container
	check byte      // the kind of checksum
	sum   hash.Hash // of this block; nil when the kind is not known
	block io.Reader // nil between blocks
	raw   int64     // where the block's data begin
	first bool      // stream
	err   error
}

// countingReader counts what was read from it.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func newXZReader(r io.Reader, c *container) *xzReader {
	n := &countingReader{r: r}
	x := &xzReader{in: buffered(n), n: n, c: c, first: true}
	x.err = x.stream()
	return x
}

// at is how far in the file in stands.
func (x *xzReader) at() int64 { return x.n.n - int64(x.in.Buffered()) }

var (
	xzMagic   = []byte("\xfd7zXZ\x00")
	errXZ     = errors.New("the xz headers are damaged")
	crc64ECMA = crc64.MakeTable(crc64.ECMA)
)

// stream reads a stream's header. io.EOF is the end of the file, errTrailing something else behind the last stream.
func (x *xzReader) stream() error {
	var b [12]byte
	for {
		// Streams may be padded with zeros, four by four.
		four, err := x.in.Peek(4)
		if len(four) == 0 && !x.first {
			return io.EOF
		}
		if err == nil && !x.first && bytes.Equal(four, make([]byte, 4)) {
			x.in.Discard(4)
			continue
		}
		break
	}
	if magic, _ := x.in.Peek(6); !bytes.Equal(magic, xzMagic) {
		if x.first {
			return errXZ
		}
		return errTrailing
	}
	if _, err := io.ReadFull(x.in, b[:]); err != nil {
		return errCut
	}
	if crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]) {
		return errXZ
	}
	if b[6] != 0 || b[7] > 15 {
		return errors.New("the xz stream has flags that are not known")
	}
	x.first, x.check = false, b[7]
	return nil
}

// errTrailing says that something that is not of the format follows.
var errTrailing = errors.New("what follows is something else")

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.header()
			continue
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if err == io.EOF {
			x.block = nil
			err = x.endBlock()
		}
		if err != nil {
			x.err = err
		}
		if n > 0 {
			return n, nil
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	return 0, x.err
}

// header reads a block's header, or the index and what follows.
func (x *xzReader) header() error {
	size, err := x.in.ReadByte()
	if err != nil {
		return errCut
	}
	if size == 0 {
		return x.index()
	}
	b := make([]byte, (int(size)+1)*4)
	b[0] = size
	if _, err := io.ReadFull(x.in, b[1:]); err != nil {
		return errCut
	}
	if crc32.ChecksumIEEE(b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return errXZ
	}
	flags, fields := b[1], bytes.NewReader(b[2:len(b)-4])
	if flags&0x3C != 0 {
		return errors.New("the xz block has flags that are not known")
	}
	for _, bit := range []byte{0x40, 0x80} { // packed and unpacked size
		if flags&bit != 0 {
			if _, err := binary.ReadUvarint(fields); err != nil {
				return errXZ
			}
		}
	}
	x.raw = x.at()
	type filter struct {
		id         uint64
		properties []byte
	}
	var filters []filter
	for range flags&3 + 1 {
		id, err := binary.ReadUvarint(fields)
		if err != nil {
			return errXZ
		}
		n, err := binary.ReadUvarint(fields)
		if err != nil || n > uint64(fields.Len()) {
			return errXZ
		}
		p := make([]byte, n)
		fields.Read(p)
		filters = append(filters, filter{id, p})
	}
	var r io.Reader
	for i := len(filters) - 1; i >= 0; i-- {
		f := filters[i]
		if f.id != 0x21 && f.id != 3 && branchFilterOf(f.id) == nil {
			return fmt.Errorf("the xz filter 0x%x is not known", f.id)
		}
		if (f.id == 0x21) != (i == len(filters)-1) {
			return errXZ
		}
		if f.id == 0x21 {
			if len(f.properties) != 1 {
				return errXZ
			}
			dictionary, err := lzma2Dictionary(f.properties[0])
			if err != nil {
				return err
			}
			r = newLZMA2Reader(x.in, dictionary, x.c)
			continue
		}
		if f.id == 3 {
			if len(f.properties) != 1 {
				return errXZ
			}
			r = &deltaReader{r: r, back: f.properties[0]}
			continue
		}
		var start uint32
		if len(f.properties) == 4 {
			start = binary.LittleEndian.Uint32(f.properties)
		}
		r = newFilterReader(r, branchFilterOf(f.id), start)
	}
	x.block = r
	switch x.check {
	case 1:
		x.sum = crc32.NewIEEE()
	case 4:
		x.sum = crc64.New(crc64ECMA)
	case 10:
		x.sum = sha256.New()
	default:
		x.sum = nil
	}
	return nil
}

// branchFilterOf returns the filter that xz, and 7z in the last byte of its longer ids, number so; nil when it is not known.
func branchFilterOf(id uint64) branchFilter {
	switch id {
	case 4:
		return x86Filter()
	case 5:
		return ppcFilter
	case 6:
		return ia64Filter
	case 7:
		return armFilter
	case 8:
		return armThumbFilter
	case 9:
		return sparcFilter
	case 10:
		return arm64Filter
	}
	return nil
}

// endBlock reads the padding and the checksum behind a block.
func (x *xzReader) endBlock() error {
	for (x.at()-x.raw)&3 != 0 {
		if b, err := x.in.ReadByte(); err != nil {
			return errCut
		} else if b != 0 {
			return errXZ
		}
	}
	want := make([]byte, [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[x.check])
	if _, err := io.ReadFull(x.in, want); err != nil {
		return errCut
	}
	if x.sum == nil {
		return nil
	}
	got := x.sum.Sum(nil)
	if x.check != 10 { // the CRCs are little-endian
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
	}
	if !bytes.Equal(got, want) {
		return errChecksum
	}
	return nil
}

// index reads over the index and the footer, and on to the next stream.
func (x *xzReader) index() error {
	start := x.at() - 1
	n, err := binary.ReadUvarint(x.in)
	if err != nil {
		return errCut
	}
	for range n {
		for range 2 {
			if _, err := binary.ReadUvarint(x.in); err != nil {
				return errCut
			}
		}
	}
	for (x.at()-start)&3 != 0 {
		if _, err := x.in.ReadByte(); err != nil {
			return errCut
		}
	}
	var b [16]byte // checksum of the index, footer
	if _, err := io.ReadFull(x.in, b[:]); err != nil {
		return errCut
	}
	if string(b[14:]) != "YZ" {
		return errXZ
	}
	return x.stream()
}
