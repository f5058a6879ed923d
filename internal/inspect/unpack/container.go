package unpack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"spoor/internal/inspect/filetype"
)

// container is what a reader works on.
type container struct {
	ctx    context.Context
	format filetype.Format
	r      io.ReaderAt // fails once ctx is done
	size   int64
	o      Options
	yield  func(Member) error

	stop     error // yield's error
	yielding bool  // a panic is then the caller's
	file     *fileReader
	read     int64             // bytes of file, by members
	password string            // the last that opened a member: tried first
	scratch  []byte            // for find
	keys     map[string][]byte // that passwords gave, by password and salt
}

// Members may be the same bytes of their container, or runs of each other: a copy of a file costs a disk image nothing. overlapTimes is how often the
// container's bytes may be read so, after the first overlapFree bytes. Of a member no more than it has bytes itself counts: what is packed together with
// others is unpacked for each of them.
const (
	overlapTimes = 4
	overlapFree  = 64 << 20
)

// errOverlap says that members are too much the same bytes.
var errOverlap = fmt.Errorf("stopped: members lie over each other, and the bytes were read more than %d times", overlapTimes)

// overlaps reports whether members have read the container's bytes too often.
func (c *container) overlaps() bool { return Overlaps(c.read, c.file.size) != nil }

// Overlaps returns why no more is to be read of a file of which pieces have been read, which may lie over each other; nil when they are few.
func Overlaps(read, size int64) error {
	if read > overlapTimes*size+overlapFree {
		return errOverlap
	}
	return nil
}

// errCut is the end of the file inside of what it promised.
var errCut = errors.New("the data ends too early")

// letPanicsPass makes a panic inside a decoder of ours fail the fuzz targets, instead of being told as a problem.
var letPanicsPass bool

// guard turns a panic of a decoder into an error. A panic of the caller's yield goes on.
func (c *container) guard(f func(*container) error) (err error) {
	if !letPanicsPass {
		defer func() {
			if !c.yielding {
				if p := recover(); p != nil {
					err = fmt.Errorf("the decoder failed: %v", p)
				}
			}
		}()
	}
	return f(c)
}

// tell hands a member to the caller, with an error that names the member when reading it fails.
func (c *container) tell(m Member) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.overlaps() {
		return errOverlap
	}
	if m.Reader != nil {
		m.Reader = &memberReader{c: c, path: m.Path, r: m.Reader}
	} else if m.Err != nil {
		m.Err = c.problem(c.memberName(m.Path), m.Err)
	}
	c.yielding = true
	err := c.yield(m)
	c.yielding = false
	if err != nil {
		c.stop = err
	}
	return err
}

func (c *container) memberName(path string) string {
	if path == "" {
		return string(c.format)
	}
	return string(c.format) + ": member " + path
}

// problem makes a *Problem of an error, unless it is one or the context's.
func (c *container) problem(what string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if cause := c.ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return &Problem{what, err.Error()}
}

// memberReader reads a member for the caller.
type memberReader struct {
	c    *container
	path string
	r    io.Reader
	err  error

	read, given int64 // bytes: of the container, of the member
}

func (m *memberReader) Read(p []byte) (n int, err error) {
	if m.err != nil {
		return 0, m.err
	}
	if err := m.c.ctx.Err(); err != nil {
		return 0, err
	}
	if !letPanicsPass {
		defer func() {
			if p := recover(); p != nil {
				m.err = m.c.problem(m.c.memberName(m.path), fmt.Errorf("the decoder failed: %v", p))
				n, err = 0, m.err
			}
		}()
	}
	before, counted := m.c.file.read, min(m.read, m.given)
	n, err = m.r.Read(p)
	m.read += m.c.file.read - before
	m.given += int64(n)
	m.c.read += min(m.read, m.given) - counted
	if err == nil && m.c.overlaps() {
		err = errOverlap
	}
	if err != nil {
		if err != io.EOF {
			err = m.c.problem(m.c.memberName(m.path), err)
		}
		m.err = err
	}
	return n, err
}

// fileReader reads the container's file; it counts what it reads, and fails once its context is done.
type fileReader struct {
	ctx  context.Context
	r    io.ReaderAt
	size int64
	read int64
}

func (r *fileReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.ReadAt(p, off)
	r.read += int64(n)
	return n, err
}

// lazyReader opens what it reads at the first Read: a member that nobody reads costs nothing.
type lazyReader struct {
	open func() (io.Reader, error)
	r    io.Reader
	err  error
}

func (l *lazyReader) Read(p []byte) (int, error) {
	if l.open != nil {
		l.r, l.err = l.open()
		l.open = nil
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.r.Read(p)
}

// section is n bytes of the container at off, less what lies beyond its end.
func (c *container) section(off, n int64) *io.SectionReader {
	off = min(max(off, 0), c.size)
	return io.NewSectionReader(c.r, off, min(max(n, 0), c.size-off))
}

// extent is a run of a file's bytes in the container; at is -1 for a hole, which is zeros.
type extent struct{ at, size int64 }

// stored is n bytes of the container at off as they are; to read beyond the container's end is an error.
func (c *container) stored(off, n int64) io.Reader {
	return &exactReader{r: c.section(off, n), left: n}
}

// pieces is size bytes of a file that lies in several runs; it is an error when these are fewer.
func (c *container) pieces(runs []extent, size int64) io.Reader {
	all := make([]io.Reader, len(runs))
	for i, e := range runs {
		if e.at < 0 {
			all[i] = io.LimitReader(zeroReader{}, e.size)
		} else {
			all[i] = c.stored(e.at, e.size)
		}
	}
	return &exactReader{r: io.MultiReader(all...), left: size}
}

// readAt reads exactly n bytes at off. n is one that the code says, never the file.
func (c *container) readAt(off int64, n int) ([]byte, error) {
	if off < 0 || off > c.size-int64(n) {
		return nil, errCut
	}
	b := make([]byte, n)
	if n, err := c.r.ReadAt(b, off); n < len(b) {
		return nil, err
	}
	return b, nil
}

// readSome reads n bytes of r in steps, so that a length that the file claims costs no more memory than there are bytes. It fails when n is over
// limit.
func readSome(r io.Reader, n, limit int64) ([]byte, error) {
	if n < 0 || n > limit {
		return nil, fmt.Errorf("%d bytes claimed where at most %d are taken", n, limit)
	}
	var b []byte
	for int64(len(b)) < n {
		step := int(min(n-int64(len(b)), 64<<10))
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, errCut
		}
	}
	return b, nil
}

// exactReader gives left bytes of r; it is an error when r has fewer.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = errCut
	}
	return n, err
}

// buffered is r with a ReadByte that reads no more than is asked of r by the buffer.
func buffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 32<<10) }

// maxPath bounds a member's path, in bytes.
const maxPath = 4096

// printable is a name in valid UTF-8 and without control characters.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
}

// cleanPath makes a container's name for a member safe to show and to compare: slashes, no drive, no root, no "." and "..", valid UTF-8 and no
// control characters.
func cleanPath(name string) string {
	name = printable(strings.ReplaceAll(name, `\`, "/"))
	if len(name) > maxPath { // its end says more than its beginning
		name = strings.ToValidUTF8(name[len(name)-maxPath:], "")
	}
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, part := range parts {
		switch {
		case part == "" || part == "." || part == "..":
		case len(kept) == 0 && len(part) == 2 && part[1] == ':':
		default:
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "/")
}

// maxOutside bounds [Member.Outside], in bytes.
const maxOutside = 1 << 10

// rooted are archives whose names begin with a root or a drive only when somebody means them to; tar and cpio have such of ordinary backups.
var rooted = []filetype.Format{filetype.Zip, filetype.Jar, filetype.APK, filetype.Appx, filetype.OOXML, filetype.ODF, filetype.SevenZip, filetype.RAR, filetype.ARJ, filetype.LZH,
	filetype.Cab}

// named is a member by the name that an archive has for it.
func (c *container) named(name string) Member {
	return Member{Path: cleanPath(name), Outside: outside(name, slices.Contains(rooted, c.format))}
}

// outside returns the name, fit to be shown, when it leads out of the folder in which the archive is unpacked: by ".." beyond that folder, or, when
// rootless is true, by a root or a drive. Else it returns "".
func outside(name string, rootless bool) string {
	out := rootless && name != "" && (name[0] == '/' || name[0] == '\\' || len(name) > 1 && name[1] == ':' && ('a' <= name[0]|0x20 && name[0]|0x20 <= 'z'))
	if !out && strings.Contains(name, "..") {
		depth := 0
		for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
			switch part {
			case ".":
			case "..":
				depth--
			default:
				depth++
			}
			out = out || depth < 0
		}
	}
	if !out {
		return ""
	}
	const mark = "…"
	if len(name) > maxOutside {
		name = strings.ToValidUTF8(name[:maxOutside-len(mark)], "") + mark
	}
	return printable(name)
}

// localName decodes a name of a time before UTF-8: what is not valid UTF-8 is read as DOS code page 437.
func localName(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out, err := charmap.CodePage437.NewDecoder().Bytes(b)
	if err != nil {
		return string(b)
	}
	return string(out)
}

// latin1Name decodes a name of a Unix tool: UTF-8, or else Latin-1.
func latin1Name(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out, err := charmap.ISO8859_1.NewDecoder().Bytes(b)
	if err != nil {
		return string(b)
	}
	return string(out)
}

// hashChecker compares what was read, once it was read to its end, with the hash that the container has of it.
type hashChecker struct {
	r    io.Reader
	h    hash.Hash
	want []byte
}

func (c *hashChecker) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	if err == io.EOF && !bytes.Equal(c.h.Sum(nil), c.want) {
		return n, errChecksum
	}
	return n, err
}
