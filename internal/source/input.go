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
	format Format
	blocks *blocks
}

// NewInput makes an input of a stream.
func NewInput(name string, r io.Reader) *Input {
	return &Input{Name: name, blocks: &blocks{r: r, sum: sha256.New()}}
}

// Digest returns the SHA-256 of what has been read so far. It moves in steps of fixed size, so at every point of its reading the same
// content has the same digest, whatever it was packed in.
func (in *Input) Digest() [32]byte {
	var d [32]byte
	in.blocks.sum.Sum(d[:0])
	return d
}

// Format returns what Read recognised, "" before.
func (in *Input) Format() Format { return in.format }

// Bytes returns how many bytes have been read.
func (in *Input) Bytes() int64 { return in.blocks.total }

// blocks reads a stream in steps of fixed size and hashes it on the way.
type blocks struct {
	r     io.Reader
	sum   hash.Hash
	buf   []byte
	rest  []byte
	total int64
	err   error
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
		if b.buf == nil {
			b.buf = make([]byte, blockSize)
		}
		// Not io.ReadFull: it tells an end from a stream that was cut only by an error that the stream itself may give.
		n := 0
		for n < len(b.buf) && b.err == nil {
			var m int
			m, b.err = b.r.Read(b.buf[n:])
			n += m
		}
		if b.err != nil && !errors.Is(b.err, io.EOF) {
			b.err = &streamError{b.err}
		}
		b.rest = b.buf[:n]
		b.sum.Write(b.rest)
		b.total += int64(n)
		if n == 0 {
			return 0, b.err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// open begins to read: it looks at the first bytes, and turns UTF-16 and a byte order mark into plain UTF-8.
func (in *Input) open() (*lines, []byte, error) {
	raw := bufio.NewReaderSize(in.blocks, maxLine)
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
	return &lines{Reader: raw}, head, nil
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
