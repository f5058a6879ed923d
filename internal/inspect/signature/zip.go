package signature

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of the zips that signatures are in.
const (
	maxZipEntries   = 200_000
	maxZipDirectory = 64 << 20
	maxMember       = 32 << 20 // of a member that is held in memory: manifests, block maps, signatures
	maxUnpacked     = 4 << 30  // of all members together, as they are digested
)

// archive is a zip, with the places of its parts, which the signatures of packages cover.
type archive struct {
	f         *file
	entries   []zipEntry
	byName    map[string]*zipEntry
	directory []byte
	start     int64 // of the directory
	end64     []byte
	locator   []byte
	end       []byte // with the comment
	endAt     int64  // where what follows the directory begins
	left      int64  // bytes that may still be unpacked
	twice     string // a name that occurs twice
}

type zipEntry struct {
	name       string
	method     uint16
	flags      uint16
	size, full int64 // compressed and not
	offset     int64
	raw        []byte // its record in the directory
}

var errZip = errors.New("a damaged zip")

func (f *file) zip() (*archive, error) {
	le := binary.LittleEndian
	n := min(f.size, 22+65535)
	tail, err := f.bytes(f.size-n, n)
	if err != nil {
		return nil, err
	}
	at := -1
	for i := len(tail) - 22; i >= 0; i-- {
		if tail[i] == 'P' && bytes.Equal(tail[i:i+4], []byte("PK\x05\x06")) && int(le.Uint16(tail[i+20:]))+22 <= len(tail)-i {
			at = i
			break
		}
	}
	if at < 0 {
		return nil, errZip
	}
	a := &archive{f: f, byName: map[string]*zipEntry{}, left: maxUnpacked}
	a.end = tail[at:]
	a.endAt = f.size - n + int64(at)
	size, start := int64(le.Uint32(a.end[12:])), int64(le.Uint32(a.end[16:]))
	if loc, err := f.bytes(a.endAt-20, 20); err == nil && bytes.Equal(loc[:4], []byte("PK\x06\x07")) {
		if rec, err := f.bytes(int64(le.Uint64(loc[8:])), 56); err == nil && bytes.Equal(rec[:4], []byte("PK\x06\x06")) {
			a.locator, a.end64 = loc, rec
			size, start = int64(le.Uint64(rec[40:])), int64(le.Uint64(rec[48:]))
			a.endAt = int64(le.Uint64(loc[8:]))
		}
	}
	if size < 0 || size > maxZipDirectory || start < 0 || start > a.endAt {
		return nil, errZip
	}
	if a.directory, err = f.bytes(start, size); err != nil {
		return nil, errZip
	}
	a.start = start
	for b := a.directory; len(b) >= 46 && bytes.Equal(b[:4], []byte("PK\x01\x02")); {
		total := 46 + int(le.Uint16(b[28:])) + int(le.Uint16(b[30:])) + int(le.Uint16(b[32:]))
		if total > len(b) {
			return nil, errZip
		}
		if len(a.entries) == maxZipEntries {
			return nil, fmt.Errorf("a zip of more than %d members", maxZipEntries)
		}
		nameEnd := 46 + int(le.Uint16(b[28:]))
		e := zipEntry{name: string(b[46:nameEnd]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), size: int64(le.Uint32(b[20:])),
			full: int64(le.Uint32(b[24:])), offset: int64(le.Uint32(b[42:])), raw: b[:total]}
		e.large(b[nameEnd : nameEnd+int(le.Uint16(b[30:]))])
		a.entries = append(a.entries, e)
		b = b[total:]
	}
	for i := range a.entries {
		e := &a.entries[i]
		if a.byName[e.name] != nil && a.twice == "" {
			a.twice = e.name
		}
		a.byName[e.name] = e
	}
	return a, nil
}

// large takes the sizes and the offset that do not fit 32 bits from the extra field of zip64.
func (e *zipEntry) large(extra []byte) {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		n := int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			return
		}
		if le.Uint16(extra) == 1 {
			v := extra[4 : 4+n]
			for _, p := range []*int64{&e.full, &e.size, &e.offset} {
				if *p == 0xffffffff && len(v) >= 8 {
					*p, v = int64(le.Uint64(v)), v[8:]
				}
			}
			return
		}
		extra = extra[4+n:]
	}
}

// data is where a member's compressed bytes begin.
func (a *archive) data(e *zipEntry) (int64, error) {
	h, err := a.f.bytes(e.offset, 30)
	if err != nil || !bytes.Equal(h[:4], []byte("PK\x03\x04")) {
		return 0, errZip
	}
	at := e.offset + 30 + int64(binary.LittleEndian.Uint16(h[26:])) + int64(binary.LittleEndian.Uint16(h[28:]))
	if e.size < 0 || at > a.f.size || e.size > a.f.size-at {
		return 0, errZip
	}
	return at, nil
}

var errTooMuch = errors.New("it unpacks to more than is read")

// open returns a member's bytes, unpacked.
func (a *archive) open(e *zipEntry) (io.Reader, error) {
	at, err := a.data(e)
	if err != nil {
		return nil, err
	}
	var r io.Reader = io.NewSectionReader(a.f.r, at, e.size)
	switch {
	case e.flags&1 != 0:
		return nil, errors.New("an encrypted member")
	case e.method == 8:
		r = flate.NewReader(r)
	case e.method != 0:
		return nil, fmt.Errorf("a member packed by method %d", e.method)
	}
	return &budget{r, &a.left}, nil
}

// budget stops reading when all members together have become too large.
type budget struct {
	r    io.Reader
	left *int64
}

func (b *budget) Read(p []byte) (int, error) {
	if *b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.r.Read(p)
	*b.left -= int64(n)
	return n, err
}

// member returns a small member whole; nil when it is not there.
func (a *archive) member(name string) ([]byte, error) {
	e := a.byName[name]
	if e == nil {
		return nil, nil
	}
	r, err := a.open(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clean(name), err)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxMember+1))
	if err == nil && len(b) > maxMember {
		err = errTooMuch
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clean(name), err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// signature files of a JAR stand directly in META-INF.
func metaInf(name string) (string, bool) {
	if len(name) < 9 || !strings.EqualFold(name[:9], "META-INF/") || strings.Contains(name[9:], "/") {
		return "", false
	}
	return strings.ToUpper(name[9:]), true
}
