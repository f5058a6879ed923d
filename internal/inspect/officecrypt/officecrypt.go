// Package officecrypt decrypts binary documents of Word and Excel ([MS-OFFCRYPTO], [MS-DOC], [MS-XLS]): their streams, as they are read.
package officecrypt

import (
	"bytes"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/compound"
)

// Passwords are those by which Office opens documents without asking.
var Passwords = []string{"VelvetSweatshop", "/01Hannes Ruescher/01"}

const (
	maxInfo    = 4096 // bytes of what describes the encryption
	wordPlain  = 68   // bytes at the beginning of the stream WordDocument that are not encrypted
	wordBlock  = 512  // bytes for which a key is used
	excelBlock = 1024
)

var (
	le     = binary.LittleEndian
	errCut = errors.New("what describes the encryption is cut")
)

// Document is an encrypted document.
type Document struct {
	excel  bool
	stream string // WordDocument, Workbook or Book
	table  string // of Word
	info   int64  // bytes at the beginning of the table that are not encrypted
	scheme scheme
}

// scheme is how a document is encrypted.
type scheme interface {
	// try tells whether a password opens it, and keeps the key if so.
	try(password string) bool
	// at decrypts bytes that stand at an offset of a stream. A key is for a block of so many bytes; the data of the record in which they stand are so long.
	at(offset int64, b []byte, block, record int)
}

// Open returns the encrypted document in a compound file; nil when none is encrypted. The error says why it cannot be decrypted.
func Open(f *compound.File) (*Document, error) {
	for i := range f.Entries {
		e := &f.Entries[i]
		if e.Kind != compound.Stream {
			continue
		}
		switch {
		case strings.EqualFold(e.Path, "WordDocument"):
			b := f.Read(e, 32)
			if len(b) < 32 || b[11]&1 == 0 {
				return nil, nil
			}
			return openWord(f, e.Path, b)
		case strings.EqualFold(e.Path, "Workbook") || strings.EqualFold(e.Path, "Book"):
			b := f.Read(e, maxInfo)
			for range 32 { // the record that says so comes soon
				if len(b) < 4 {
					break
				}
				n := int(le.Uint16(b[2:]))
				if le.Uint16(b) == filePass {
					s, err := openExcel(b[4:min(4+n, len(b))])
					return &Document{excel: true, stream: e.Path, scheme: s}, err
				}
				b = b[min(4+n, len(b)):]
			}
		}
	}
	return nil, nil
}

func openWord(f *compound.File, path string, fib []byte) (*Document, error) {
	d := &Document{stream: path, table: "0Table", info: int64(le.Uint32(fib[14:]))}
	if fib[11]&2 != 0 {
		d.table = "1Table"
	}
	if fib[11]&0x80 != 0 {
		return d, errors.New("obfuscation by XOR is not read in Word documents")
	}
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Kind == compound.Stream && strings.EqualFold(e.Path, d.table) {
			d.table = e.Path
			var err error
			d.scheme, err = openRC4(f.Read(e, min(d.info, maxInfo)))
			return d, err
		}
	}
	return d, errCut
}

func openExcel(b []byte) (scheme, error) {
	switch {
	case len(b) == 4: // before Excel 97
		return &xor{key: le.Uint16(b), verifier: le.Uint16(b[2:])}, nil
	case len(b) >= 6 && le.Uint16(b) == 0:
		return &xor{key: le.Uint16(b[2:]), verifier: le.Uint16(b[4:])}, nil
	case len(b) >= 6 && le.Uint16(b) == 1:
		return openRC4(b[2:])
	}
	return nil, errCut
}

// openRC4 reads the description of either kind of RC4.
func openRC4(b []byte) (scheme, error) {
	if len(b) < 4 {
		return nil, errCut
	}
	major, minor := le.Uint16(b), le.Uint16(b[2:])
	b = b[4:]
	switch {
	case major == 1 && minor == 1:
		if len(b) < 48 {
			return nil, errCut
		}
		return &cipher{salt: b[:16], verifier: b[16:32], verified: b[32:48]}, nil
	case major >= 2 && major <= 4 && minor == 2:
		if len(b) < 8 {
			return nil, errCut
		}
		n := int64(le.Uint32(b[4:]))
		if b = b[8:]; n < 20 || int64(len(b)) < n+4+16+16+4+20 {
			return nil, errCut
		}
		algorithm, bits := le.Uint32(b[8:]), le.Uint32(b[16:])
		if bits == 0 {
			bits = 40
		}
		if algorithm != 0x6801 || bits%8 != 0 || bits < 40 || bits > 128 {
			return nil, fmt.Errorf("encryption by the algorithm %#x of %d bits is not read", algorithm, bits)
		}
		b = b[n+4:]
		return &cipher{api: true, length: int(bits / 8), salt: b[:16], verifier: b[16:32], verified: b[36:56]}, nil
	}
	return nil, fmt.Errorf("encryption of version %d.%d is not read", major, minor)
}

// Try tells whether a password opens the document; its streams can be read then.
func (d *Document) Try(password string) bool { return d.scheme != nil && d.scheme.try(password) }

// Reader decrypts the stream of a path that r reads; nil when that is not encrypted. The bytes are those of the stream, but for what is encrypted: what
// says that it is encrypted stays.
func (d *Document) Reader(path string, r io.Reader) io.Reader {
	switch {
	case d.excel && path == d.stream:
		return &records{d: d, r: r}
	case d.excel:
	case path == d.stream:
		return &wordStream{d: d, r: r, plain: wordPlain}
	case path == d.table:
		return &wordStream{d: d, r: r, plain: d.info}
	case strings.EqualFold(path, "Data"):
		return &wordStream{d: d, r: r}
	}
	return nil
}

// wordStream is encrypted as a whole, but for its beginning.
type wordStream struct {
	d     *Document
	r     io.Reader
	off   int64
	plain int64
	block [wordBlock]byte
	out   []byte
	end   error
}

func (w *wordStream) Read(p []byte) (int, error) {
	if len(w.out) == 0 {
		if w.end != nil {
			return 0, w.end
		}
		n, err := io.ReadFull(w.r, w.block[:])
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		w.end, w.out = err, w.block[:n]
		clear := int(min(max(w.plain-w.off, 0), int64(n)))
		w.d.scheme.at(w.off+int64(clear), w.out[clear:], wordBlock, 0)
		w.off += int64(n)
		if n == 0 {
			return 0, w.end
		}
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

// Records of a workbook.
const (
	filePass   = 0x2F
	boundSheet = 0x85
)

// plainRecords are never encrypted: BOF of every version, FilePass, InterfaceHdr, RRDHead, UsrExcl, FileLock, RRDInfo.
var plainRecords = map[uint16]bool{0x809: true, 0x409: true, 0x209: true, 0x009: true, filePass: true, 0xE1: true, 0x138: true, 0x194: true, 0x195: true, 0x196: true}

// records decrypts the records of a workbook, whose headers are not encrypted.
type records struct {
	d     *Document
	r     io.Reader
	off   int64
	begun bool // the record FilePass has been
	buf   []byte
	out   []byte
	end   error
}

func (w *records) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.end != nil {
			return 0, w.end
		}
		w.next()
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

func (w *records) next() {
	if w.buf == nil {
		w.buf = make([]byte, 4+1<<16)
	}
	n, err := io.ReadFull(w.r, w.buf[:4])
	size := 0
	if err == nil {
		size, err = io.ReadFull(w.r, w.buf[4:4+int(le.Uint16(w.buf[2:]))])
	}
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	w.end, w.out = err, w.buf[:n+size]
	kind, data, plain := le.Uint16(w.buf), w.buf[n:n+size], 0
	switch {
	case !w.begun || plainRecords[kind]:
		plain = size
	case kind == boundSheet: // where the sheet begins is not encrypted
		plain = min(4, size)
	}
	w.begun = w.begun || kind == filePass
	w.off += int64(n)
	w.d.scheme.at(w.off+int64(plain), data[plain:], excelBlock, size)
	w.off += int64(size)
}

func wide(password string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(password)) {
		b = le.AppendUint16(b, u)
	}
	return b
}

// cipher is RC4, with a key for each block: of 40 bits by MD5, or as the CryptoAPI makes it by SHA-1.
type cipher struct {
	api                      bool
	length                   int // bytes of the key, of the CryptoAPI
	salt, verifier, verified []byte

	base   []byte // what the keys are made of
	stream *rc4.Cipher
	next   int64 // the offset that stream is at
	size   int   // of the blocks that it is for
}

// begin makes the key of a block.
func (c *cipher) begin(block uint32) {
	b := le.AppendUint32(bytes.Clone(c.base), block)
	key := make([]byte, 16)
	if c.api {
		sum := sha1.Sum(b)
		key = key[:max(c.length, 5)]
		copy(key, sum[:])
		if c.length == 5 { // a key of 40 bits is filled up with zeros
			key = append(key, make([]byte, 11)...)
		}
	} else {
		sum := md5.Sum(b)
		copy(key, sum[:])
	}
	c.stream, _ = rc4.NewCipher(key) // 5 to 16 bytes, which it takes
}

func (c *cipher) try(password string) bool {
	if c.api {
		sum := sha1.Sum(append(bytes.Clone(c.salt), wide(password)...))
		c.base = sum[:]
	} else {
		sum := md5.Sum(wide(password))
		again := md5.Sum(bytes.Repeat(append(bytes.Clone(sum[:5]), c.salt...), 16))
		c.base = again[:5]
	}
	c.begin(0)
	c.size = 0
	verifier, verified := make([]byte, len(c.verifier)), make([]byte, len(c.verified))
	c.stream.XORKeyStream(verifier, c.verifier)
	c.stream.XORKeyStream(verified, c.verified)
	if c.api {
		sum := sha1.Sum(verifier)
		return bytes.Equal(sum[:], verified)
	}
	sum := md5.Sum(verifier)
	return bytes.Equal(sum[:], verified)
}

func (c *cipher) at(offset int64, b []byte, block, _ int) {
	for len(b) > 0 {
		if c.size != block || offset < c.next || offset/int64(block) != c.next/int64(block) || c.next%int64(block) == 0 {
			c.begin(uint32(offset / int64(block)))
			c.size, c.next = block, offset/int64(block)*int64(block)
		}
		if skip := make([]byte, offset-c.next); len(skip) > 0 {
			c.stream.XORKeyStream(skip, skip)
		}
		n := min(len(b), block-int(offset%int64(block)))
		c.stream.XORKeyStream(b[:n], b[:n])
		b, offset = b[n:], offset+int64(n)
		c.next = offset
	}
}
