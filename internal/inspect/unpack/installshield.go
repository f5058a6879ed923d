package unpack

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"

	"spoor/internal/inspect/filetype"
)

// A setup of InstallShield in one program has its files behind that, each with a header, in one of three layouts: name, path, version and size as text; or a
// table of entries of fixed size; or the same with names of Unicode. The latter two are masked by the file's name.
//
// Among the files may be InstallShield's own cabinets: a header (data1.hdr) with the list of files, and volumes (data1.cab, data2.cab) with their data.

const (
	isMark     = "InstallShield\x00"
	isStream   = "ISSetupStream\x00"
	isHead     = 46
	isEntry    = 312
	isWide     = 24
	isMaxFiles = 1 << 16
	isMask     = 1024     // bytes after which the mask begins again
	isMaxHdr   = 64 << 20 // of a cabinet's header
)

// isFile is a file in a setup.
type isFile struct {
	name     string // as the mask needs it
	path     string
	at, size int64
	masked   bool
	restart  bool // the mask begins again every 1024 bytes
}

// isText reads the header of a file in the layout of texts; next is where the data begin.
func isText(b []byte) (f isFile, next int, ok bool) {
	parts := bytes.SplitN(b, []byte{0}, 5)
	if len(parts) < 5 || len(parts[0]) == 0 || len(parts[3]) == 0 || len(parts[3]) > 10 {
		return f, 0, false
	}
	size, err := strconv.ParseInt(string(parts[3]), 10, 64)
	if err != nil || size < 0 || !bytes.HasSuffix(parts[1], parts[0]) {
		return f, 0, false
	}
	for _, c := range parts[2] {
		if c != '.' && (c < '0' || c > '9') {
			return f, 0, false
		}
	}
	for _, part := range parts[:4] {
		next += len(part) + 1
	}
	return isFile{name: string(parts[0]), path: latin1Name(parts[1]), size: size}, next, true
}

func readInstallShield(c *container) error {
	head := make([]byte, isHead)
	n, err := c.r.ReadAt(head, 0)
	if n < len(head) {
		if err == io.EOF {
			err = errCut
		}
		return err
	}
	le := binary.LittleEndian
	var files []isFile
	add := func(f isFile, at int64) (int64, error) {
		if len(files) >= isMaxFiles {
			return 0, fmt.Errorf("it has more than %d files", isMaxFiles)
		}
		f.at = at
		files = append(files, f)
		if f.size > c.size-at {
			return 0, errCut
		}
		return at + f.size, nil
	}
	at := int64(isHead)
	err = nil
	switch mark := string(head[:14]); mark {
	case isMark, isStream:
		for range le.Uint16(head[14:]) {
			var b []byte
			size := isEntry
			if mark == isStream {
				size = isWide
			}
			if b, err = c.readAt(at, size); err != nil {
				break
			}
			at += int64(size)
			var f isFile
			flags := uint32(0)
			if mark == isMark {
				name, _, _ := bytes.Cut(b[:260], []byte{0})
				f.name, flags, f.size = string(name), le.Uint32(b[260:]), int64(le.Uint32(b[268:]))
				f.path = latin1Name(name)
			} else {
				length := le.Uint32(b)
				if length > maxPath {
					err = errors.New("a name is too long")
					break
				}
				flags, f.size = le.Uint32(b[4:]), int64(le.Uint32(b[10:]))
				name, e := c.readAt(at, int(length))
				if err = e; err != nil {
					break
				}
				at += int64(length)
				f.path = strings.TrimRight(utf16Name(name, le), "\x00")
				f.name = f.path
			}
			f.masked, f.restart = flags&6 != 0, flags&4 != 0
			if at, err = add(f, at); err != nil {
				break
			}
		}
	default:
		b := make([]byte, 2*maxPath)
		for at = 0; at < c.size; {
			n, e := c.r.ReadAt(b, at)
			if e != nil && e != io.EOF {
				return e
			}
			f, next, ok := isText(b[:n])
			if !ok {
				if err = fmt.Errorf("what follows at %d is no file", at); len(files) == 0 {
					return errors.New("it does not begin as it should")
				}
				break
			}
			if at, err = add(f, at+int64(next)); err != nil {
				break
			}
		}
	}
	headers := map[string]struct{}{}
	for _, f := range files {
		if base, ok := cutHeader(f.path); ok {
			headers[strings.ToLower(base)] = struct{}{}
		}
	}
	for _, f := range files {
		r, size := c.isOpen(f)
		m := Member{Path: cleanPath(f.path), Size: size, Reader: r}
		if base, ok := cutVolume(f.path); ok {
			_, m.Opened = headers[base]
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	for _, f := range files {
		base, ok := cutHeader(f.path)
		if !ok {
			continue
		}
		if err := c.isCabinet(files, f, base); err != nil {
			return err
		}
	}
	return err
}

// cutHeader returns what the names of a cabinet's files begin with, given that of its header: "data" of "data1.hdr".
func cutHeader(path string) (base string, ok bool) {
	n := len(path) - len("1.hdr")
	if n < 0 || !strings.EqualFold(path[n:], "1.hdr") {
		return "", false
	}
	return path[:n], true
}

// cutVolume returns the same in small letters, given the name of a cabinet's header or volume.
func cutVolume(path string) (base string, ok bool) {
	path = strings.ToLower(path)
	if base, ok = cutHeader(path); ok {
		return base, true
	}
	base, ok = strings.CutSuffix(path, ".cab")
	return strings.TrimRight(base, "0123456789"), ok
}

// isOpen is a file as it was before it was packed; its size is -1 when that is not said.
func (c *container) isOpen(f isFile) (io.Reader, int64) {
	r := c.stored(f.at, f.size)
	if !f.masked || f.name == "" {
		return r, f.size
	}
	return &lazyReader{open: func() (io.Reader, error) {
		in := buffered(&isUnmask{r: r, name: f.name, restart: f.restart})
		// Most are compressed, which nothing but their beginning says.
		if b, _ := in.Peek(2); len(b) == 2 && b[0] == 0x78 && binary.BigEndian.Uint16(b)%31 == 0 {
			return zlib.NewReader(in)
		}
		return in, nil
	}}, -1
}

// isUnmask takes off the mask: the halves of each byte change places, and the file's name is laid over it.
type isUnmask struct {
	r       io.Reader
	name    string
	restart bool
	at      int
}

func (u *isUnmask) Read(p []byte) (int, error) {
	const magic = "\x13\x35\x86\x07"
	n, err := u.r.Read(p)
	for i, b := range p[:n] {
		at := u.at
		if u.restart {
			at %= isMask
		}
		k := at % len(u.name)
		p[i] = ^(u.name[k] ^ magic[k%len(magic)] ^ (b<<4 | b>>4))
		u.at++
	}
	return n, err
}

// isCabinet tells the files of a cabinet of InstallShield, whose header and volumes are among the files.
func (c *container) isCabinet(files []isFile, header isFile, base string) error {
	what := cleanPath(header.path)
	if header.masked {
		return c.tell(Member{Path: what, Size: -1, Err: errors.New("the files of the cabinet are not read from masked volumes")})
	}
	h, err := readSome(c.section(header.at, header.size), header.size, isMaxHdr)
	if err != nil {
		return c.tell(Member{Path: what, Size: -1, Err: err})
	}
	list, err := isList(h)
	volumes := map[string]*isFile{}
	for i := range files {
		volumes[strings.ToLower(files[i].path)] = &files[i]
	}
	for _, f := range list {
		m := Member{Path: cleanPath(base + "/" + f.path), Size: f.size}
		volume := volumes[strings.ToLower(base+strconv.Itoa(f.volume)+".cab")]
		switch {
		case f.split:
			m.Err = errors.New("it goes on in the next volume, which is not read")
		case volume == nil:
			m.Err = fmt.Errorf("its volume %d is another file", f.volume)
		case f.at > volume.size || f.packed > volume.size-f.at:
			m.Err = errCut
		default:
			m.Reader = f.open(c.stored(volume.at+f.at, f.packed))
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	if err != nil {
		return c.tell(Member{Path: what, Size: -1, Err: err})
	}
	return nil
}

// isListed is a file as the header of a cabinet lists it.
type isListed struct {
	path             string
	volume           int
	at, packed, size int64
	sum              []byte
	split, masked    bool
	compressed       bool
}

// isList reads the list of files in a cabinet's header. Versions since 5 are known.
func isList(h []byte) ([]isListed, error) {
	le := binary.LittleEndian
	if len(h) < 20 || string(h[:4]) != "ISc(" {
		return nil, errors.New("the header of the cabinet does not begin as it should")
	}
	version := le.Uint32(h[4:])
	major := version >> 12 & 15
	if version>>24 != 1 {
		major = version & 0xffff / 100
	}
	if major < 6 {
		return nil, fmt.Errorf("cabinets of version %d are not read", major)
	}
	wide := major >= 17
	// from is h from a place on; nothing when that lies outside.
	from := func(at uint64) []byte { return h[min(at, uint64(len(h))):] }
	descriptor := uint64(le.Uint32(h[12:]))
	d := from(descriptor)
	if len(d) < 0x30 {
		return nil, errCut
	}
	table := descriptor + uint64(le.Uint32(d[0x0c:]))
	folders, count := uint64(le.Uint32(d[0x1c:])), le.Uint32(d[0x28:])
	entries := table + uint64(le.Uint32(d[0x2c:]))
	text := func(at uint32) string {
		b := from(table + uint64(at))
		b = b[:min(len(b), 2*maxPath)]
		if !wide {
			b, _, _ = bytes.Cut(b, []byte{0})
			return latin1Name(b[:min(len(b), maxPath)])
		}
		name, _, _ := strings.Cut(utf16Name(b[:len(b)&^1], le), "\x00")
		return name
	}
	const each = 0x57
	var list []isListed
	left := 16 << 20 // bytes of names, which many files may share
	for i := range uint64(count) {
		e := from(entries + i*each)
		if len(e) < each {
			return list, errCut
		}
		if len(list) >= isMaxFiles || left < 0 {
			return list, errors.New("the cabinet has too many files")
		}
		const split, masked, compressed, invalid, previous = 1, 2, 4, 8, 1
		flags := le.Uint16(e)
		size, packed, at := le.Uint64(e[2:]), le.Uint64(e[0x0a:]), le.Uint64(e[0x12:])
		// One that is not there, or that shares the data of one before.
		if flags&invalid != 0 || e[0x54]&previous != 0 || le.Uint32(e[0x3a:]) == 0 || at == 0 {
			continue
		}
		if max(size, packed, at) > 1<<50 {
			return list, errors.New("the list of the cabinet is damaged")
		}
		f := isListed{volume: int(le.Uint16(e[0x55:])), at: int64(at), packed: int64(packed), size: int64(size), split: flags&split != 0, masked: flags&masked != 0, compressed: flags&compressed != 0}
		if sum := e[0x1a:0x2a]; string(sum) != string(make([]byte, 16)) {
			f.sum = sum
		}
		if !f.compressed {
			f.packed = f.size
		}
		if k := uint64(le.Uint16(e[0x3e:])); k < folders {
			if b := from(table + 4*k); len(b) >= 4 {
				f.path = text(le.Uint32(b)) + "/"
			}
		}
		f.path += text(le.Uint32(e[0x3a:]))
		left -= len(f.path)
		list = append(list, f)
	}
	return list, nil
}

// open is a file of a cabinet as it was: its bytes are masked, then come in pieces, each of them deflate by itself.
func (f *isListed) open(r io.Reader) io.Reader {
	if f.masked {
		r = &isCabMask{r: r}
	}
	if f.compressed {
		r = &isPieces{r: r}
	}
	r = &exactReader{r: r, left: f.size}
	if f.sum != nil {
		r = &hashChecker{r, md5.New(), f.sum}
	}
	return r
}

type isCabMask struct {
	r  io.Reader
	at uint32
}

func (m *isCabMask) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	for i, b := range p[:n] {
		b ^= 0xd5
		p[i] = (b>>2 | b<<6) - byte(m.at%0x47)
		m.at++
	}
	return n, err
}

// isPieces reads pieces, each behind its length.
type isPieces struct {
	r   io.Reader
	buf [1 << 16]byte
	cur io.Reader
}

func (s *isPieces) Read(p []byte) (int, error) {
	for empty := 0; ; {
		if s.cur == nil {
			if _, err := io.ReadFull(s.r, s.buf[:2]); err != nil {
				return 0, err
			}
			n := binary.LittleEndian.Uint16(s.buf[:])
			if _, err := io.ReadFull(s.r, s.buf[:n]); err != nil {
				return 0, errCut
			}
			s.cur = flate.NewReader(bytes.NewReader(s.buf[:n]))
		}
		n, err := s.cur.Read(p)
		if err == io.EOF {
			s.cur, err = nil, nil
			if empty++; n == 0 && empty > 1<<12 {
				return 0, errors.New("too many pieces of nothing")
			}
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// installShield finds a setup by its mark, a number of files, and the first one's name.
func (f *finder) installShield(off, end int64) (Found, bool) {
	b := f.head(off, isHead+isEntry)
	found := Found{filetype.InstallShield, off, end - off}
	if len(b) < isHead+isWide || binary.LittleEndian.Uint16(b[14:]) == 0 {
		return found, false
	}
	if string(b[:14]) == isStream {
		n := binary.LittleEndian.Uint32(b[isHead:])
		return found, n > 0 && n%2 == 0 && n < maxPath
	}
	if len(b) < isHead+isEntry {
		return found, false
	}
	name, _, ok := bytes.Cut(b[isHead:isHead+260], []byte{0})
	for _, c := range name {
		if c < ' ' {
			return found, false
		}
	}
	size := int64(binary.LittleEndian.Uint32(b[isHead+268:]))
	return found, ok && len(name) > 0 && size <= end-off
}
