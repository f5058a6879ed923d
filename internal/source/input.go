package source

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Input is one stream of bytes with a name: a file, a member of an archive, or standard input.
type Input struct {
	Name   string // as "logs.zip!day1.json"
	Size   int64  // how many bytes it is said to have at least; 0 when nothing is said
	format Format
	blocks *blocks
	text   *lines // once it is opened
}

// NewInput makes an input of a stream.
func NewInput(name string, r io.Reader) *Input {
	return &Input{Name: name, blocks: &blocks{r: r, sum: sha256.New()}}
}

// Digest returns the SHA-256 of what the reader has taken so far. So at every point of its reading the same content has the same digest, whatever
// it was packed in and whatever follows; of UTF-16, which is read ahead, only whatever it was packed in.
func (in *Input) Digest() [32]byte {
	var d [32]byte
	in.blocks.settle()
	in.blocks.sum.Sum(d[:0])
	return d
}

// Ended reports whether the reader is behind the last line that has an end: what it tells from then on may be told differently when more follows.
func (in *Input) Ended() bool { return in.text != nil && in.text.ended }

// Format returns what Read recognised, "" before.
func (in *Input) Format() Format { return in.format }

// Bytes returns how many bytes have been read.
func (in *Input) Bytes() int64 { return in.blocks.total }

// blocks reads a stream in steps of fixed size and hashes what its reader has taken.
type blocks struct {
	r     io.Reader
	rest  []byte // of the last block, not yet given
	total int64  // bytes read
	err   error

	sum    hash.Hash
	ahead  func() int // of the bytes given, how many wait in a buffer for the reader
	kept   [][]byte   // blocks that are not all hashed
	hashed int        // bytes of the first of them
	free   [][]byte   // blocks to use again
}

// settle hashes up to what the reader has taken.
func (b *blocks) settle() {
	left := len(b.rest)
	if b.ahead != nil {
		left += b.ahead()
	}
	for _, k := range b.kept {
		left -= len(k)
	}
	for n := -left - b.hashed; n > 0; { // bytes of kept that are taken and not hashed
		k := b.kept[0][b.hashed:]
		k = k[:min(len(k), n)]
		b.sum.Write(k)
		n -= len(k)
		if b.hashed += len(k); b.hashed == len(b.kept[0]) {
			b.free = append(b.free, b.kept[0][:0])
			b.kept, b.hashed = b.kept[1:], 0
		}
	}
}

const blockSize = 256 << 10

// streamError marks an error that came with the input's own bytes: it is packed and damaged, cut, or on a broken disk. It is the input's
// fault, not the sink's.
type streamError struct{ err error }

func (s *streamError) Error() string { return s.err.Error() }
func (s *streamError) Unwrap() error { return s.err }

func (b *blocks) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.settle()
		var buf []byte
		if n := len(b.free); n > 0 {
			buf, b.free = b.free[n-1][:blockSize], b.free[:n-1]
		} else {
			buf = make([]byte, blockSize)
		}
		// Not io.ReadFull: it tells an end from a stream that was cut only by an error that the stream itself may give.
		n := 0
		for n < len(buf) && b.err == nil {
			var m int
			m, b.err = b.r.Read(buf[n:])
			n += m
		}
		if b.err != nil && !errors.Is(b.err, io.EOF) {
			b.err = &streamError{b.err}
		}
		b.total += int64(n)
		if n == 0 {
			return 0, b.err
		}
		b.rest = buf[:n]
		b.kept = append(b.kept, b.rest)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// open begins to read: it looks at the first bytes, and turns UTF-16 and a byte order mark into plain UTF-8.
func (in *Input) open() (*lines, []byte, error) {
	raw := bufio.NewReaderSize(in.blocks, maxLine)
	in.blocks.ahead = raw.Buffered
	// An error after the first bytes comes again when they have been read; what came before it is not lost.
	head, err := raw.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return nil, nil, err
	}
	wide := bytes.HasPrefix(head, []byte{0xFF, 0xFE}) || bytes.HasPrefix(head, []byte{0xFE, 0xFF})
	if !wide && len(head) >= 4 && head[0] != 0 && head[1] == 0 && head[3] == 0 && !bytes.HasPrefix(head, []byte("ElfFile\x00")) {
		wide = true // UTF-16LE without its mark
	}
	switch {
	case wide:
		decoder := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
		raw = bufio.NewReaderSize(transform.NewReader(raw, decoder), maxLine)
	case bytes.HasPrefix(head, []byte{0xEF, 0xBB, 0xBF}):
		if _, err := raw.Discard(3); err != nil {
			return nil, nil, err
		}
	}
	head, err = raw.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return nil, nil, err
	}
	head = bytes.Clone(head)
	if crs := bytes.Count(head, []byte("\r")); crs > 0 && crs > 2*bytes.Count(head, []byte("\n")) && bytes.IndexByte(head, 0) < 0 && !bytes.HasPrefix(head, []byte(arMagic)) {
		// Lines that end as they did on old Macs.
		raw = bufio.NewReaderSize(transform.NewReader(raw, carriageReturns{}), maxLine)
		head = bytes.ReplaceAll(head, []byte("\r"), []byte("\n"))
	}
	in.text = &lines{Reader: raw}
	return in.text, head, nil
}

// carriageReturns turns every carriage return into the end of a line.
type carriageReturns struct{ transform.NopResetter }

func (carriageReturns) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	n := copy(dst, src)
	for i, c := range dst[:n] {
		if c == '\r' {
			dst[i] = '\n'
		}
	}
	if n < len(src) {
		err = transform.ErrShortDst
	}
	return n, n, err
}

// maxLine is the longest line in bytes.
const maxLine = 1 << 20

var errLongLine = errors.New("line too long")

// lines reads line by line; the bytes of a line stand until the next is read.
type lines struct {
	*bufio.Reader
	number int64 // of the line returned last, from 1
	ended  bool  // the last line that has an end is behind
}

// ReadSlice is that of [bufio.Reader]; it notes the end.
func (l *lines) ReadSlice(delim byte) ([]byte, error) {
	part, err := l.Reader.ReadSlice(delim)
	l.ended = l.ended || err != nil && !errors.Is(err, bufio.ErrBufferFull)
	return part, err
}

// next returns the next line without its end. It fails with errLongLine, having passed over the line, or with io.EOF after the last.
func (l *lines) next() ([]byte, error) {
	line, err := l.ReadSlice('\n')
	if len(line) > 0 {
		l.number++
	}
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case !errors.Is(err, bufio.ErrBufferFull) && len(line) > 0:
		return line, nil // the error comes again, alone
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, errLongLine
	}
	return nil, err
}
