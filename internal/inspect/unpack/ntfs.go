package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A volume of NTFS is records in one file, the MFT: of each file its names, each with the record of its directory, and its streams, whose bytes stand in
// the record or in runs of clusters. What does not fit into a record stands in others, which a list names.

const (
	ntfsMaxDepth   = 200
	ntfsMaxDirs    = 1 << 20
	ntfsMaxNames   = 32 << 20 // bytes of directories' names
	ntfsMaxRuns    = 1 << 18  // of one stream
	ntfsMaxList    = 1 << 20  // bytes of a list of attributes
	ntfsRoot       = 5        // record of the root
	ntfsFirst      = 24       // record of the first file that is not the system's
	ntfsData       = 0x80     // kinds of attributes
	ntfsName       = 0x30
	ntfsList       = 0x20
	ntfsReparse    = 0xc0
	ntfsUnit       = 16 // clusters that are compressed together, always
	ntfsCompressed = 0x0001
	ntfsEncrypted  = 0x4000
)

// ntfsRun is clusters in a row; lcn is -1 where there are none.
type ntfsRun struct{ lcn, count int64 }

// ntfsStream is an attribute's bytes.
type ntfsStream struct {
	name        string
	flags       uint16
	inline      []byte // when resident
	runs        []ntfsRun
	clusters    int64 // of the runs
	size        int64
	initialised int64 // bytes; the rest is zeros
	unit        byte  // log2 of the clusters that are compressed together
	err         error
}

// ntfsFile is what records say of a file.
type ntfsFile struct {
	directory bool
	names     []ntfsLink
	streams   []ntfsStream
	tag       uint32 // of a reparse point
}

type ntfsLink struct {
	parent int64
	name   string
}

type ntfsReader struct {
	*container
	cluster, record int64
	mft             ntfsBytes
	dirs            map[int64]ntfsLink
	trouble         error
}

// readNTFS tells the files of a volume of NTFS that are in use, with all names and streams, but for the system's own.
func readNTFS(c *container) error {
	b, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if string(b[3:11]) != "NTFS    " {
		return errors.New("it does not begin as it should")
	}
	sector, per := int64(le.Uint16(b[11:])), int64(b[13])
	if per > 0x80 {
		per = 1 << min(256-per, 32)
	}
	r := &ntfsReader{container: c, cluster: sector * per, dirs: make(map[int64]ntfsLink)}
	if r.record = int64(int8(b[64])); r.record > 0 {
		r.record *= r.cluster
	} else {
		r.record = 1 << min(-r.record, 32)
	}
	if r.cluster < 512 || r.cluster > 2<<20 || r.cluster&(r.cluster-1) != 0 || r.record < 512 || r.record > 64<<10 || r.record&(r.record-1) != 0 {
		return errors.New("the boot sector is damaged")
	}
	at := int64(le.Uint64(b[48:]))
	if at < 0 || at > c.size/r.cluster {
		return errors.New("the boot sector is damaged")
	}
	// The MFT's own record tells where the others are; until then it is where the boot sector says.
	r.mft = ntfsBytes{r: r, s: &ntfsStream{runs: []ntfsRun{{at, (16*r.record + r.cluster - 1) / r.cluster}}, size: 16 * r.record, initialised: 16 * r.record}}
	f, _, err := r.file(0)
	if err != nil {
		return fmt.Errorf("the MFT: %w", err)
	}
	var mft *ntfsStream
	for i := range f.streams {
		if f.streams[i].name == "" {
			mft = &f.streams[i]
		}
	}
	if mft == nil || mft.err != nil || mft.inline != nil {
		return errors.New("the MFT is damaged")
	}
	r.mft.s = mft
	n := min(mft.size, c.size) / r.record
	names := 0
	for i := int64(0); i < n; i++ {
		if i == ntfsRoot {
			continue
		}
		f, ok, err := r.file(i)
		if err != nil {
			if c.ctx.Err() != nil {
				return err
			}
			r.lost(i, err)
		}
		if !ok || !f.directory || len(f.names) == 0 {
			continue
		}
		if names += len(f.names[0].name); len(r.dirs) == ntfsMaxDirs || names > ntfsMaxNames {
			r.lost(i, fmt.Errorf("there are more directories than %d, or their names are longer than %d bytes", ntfsMaxDirs, ntfsMaxNames))
			break
		}
		r.dirs[i] = f.names[0]
	}
	for i := int64(ntfsFirst); i < n; i++ {
		f, ok, _ := r.file(i)
		if !ok {
			continue
		}
		if err := r.tellFile(i, f); err != nil {
			return err
		}
	}
	return r.trouble
}

func (r *ntfsReader) lost(record int64, err error) {
	if r.trouble == nil {
		r.trouble = fmt.Errorf("record %d: %w", record, err)
	}
}

// raw reads a record, whose sectors each end with a mark instead of their own last bytes.
func (r *ntfsReader) raw(i int64) ([]byte, error) {
	b := make([]byte, r.record)
	if _, err := r.mft.ReadAt(b, i*r.record); err != nil {
		return nil, err
	}
	if string(b[:4]) != "FILE" {
		return nil, nil // was never used
	}
	le := binary.LittleEndian
	at, n := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	if n == 0 || at+2*n > len(b) || (n-1)*512 > len(b) {
		return nil, errors.New("it is damaged")
	}
	for k := 1; k < n; k++ {
		end := b[k*512-2 : k*512]
		if !bytes.Equal(end, b[at:at+2]) {
			return nil, errors.New("it was not wholly written")
		}
		copy(end, b[at+2*k:at+2*k+2])
	}
	return b, nil
}

// ntfsAttribute is one of a record.
type ntfsAttribute struct {
	kind uint32
	name string
	id   uint16
	b    []byte
}

// attributes calls yield with each attribute of a record.
func ntfsAttributes(b []byte, yield func(ntfsAttribute) error) error {
	le := binary.LittleEndian
	at, end := int(le.Uint16(b[20:])), int(min(le.Uint32(b[24:]), uint32(len(b))))
	for at+8 <= end {
		kind, n := le.Uint32(b[at:]), int(le.Uint32(b[at+4:]))
		if kind == 1<<32-1 {
			return nil
		}
		if n < 24 || n > end-at {
			return errors.New("an attribute is damaged")
		}
		a := ntfsAttribute{kind: kind, b: b[at : at+n]}
		at += n
		a.id = le.Uint16(a.b[14:])
		from, to := int(le.Uint16(a.b[10:])), int(le.Uint16(a.b[10:]))+2*int(a.b[9])
		if to > n {
			return errors.New("an attribute is damaged")
		}
		a.name = utf16Name(a.b[from:to], le)
		if err := yield(a); err != nil {
			return err
		}
	}
	return nil
}

// file reads what a record and those that belong to it say. It is not ok when the record is not in use or belongs to another.
func (r *ntfsReader) file(i int64) (f ntfsFile, ok bool, err error) {
	b, err := r.raw(i)
	if err != nil || b == nil {
		return f, false, err
	}
	le := binary.LittleEndian
	flags, base := le.Uint16(b[22:]), le.Uint64(b[32:])&(1<<48-1)
	if flags&1 == 0 || base != 0 {
		return f, false, nil
	}
	f.directory = flags&2 != 0
	var list []byte
	err = ntfsAttributes(b, func(a ntfsAttribute) error {
		if a.kind != ntfsList {
			return f.add(r, a)
		}
		s := r.stream(a)
		list, err = readSome(r.open(&s), s.size, ntfsMaxList)
		return err
	})
	if err != nil {
		return f, true, err
	}
	// The list has the attributes of other records, each named as often as it has parts.
	last := i
	for len(list) >= 26 {
		n := int(le.Uint16(list[4:]))
		if n < 26 || n > len(list) {
			return f, true, errors.New("its list of attributes is damaged")
		}
		kind, in, id := le.Uint32(list), int64(le.Uint64(list[16:])&(1<<48-1)), le.Uint16(list[24:])
		list = list[n:]
		if in == i || kind != ntfsData && kind != ntfsName && kind != ntfsReparse {
			continue
		}
		if in != last {
			if b, err = r.raw(in); err != nil {
				return f, true, err
			}
			last = in
		}
		if b == nil || int64(le.Uint64(b[32:])&(1<<48-1)) != i {
			return f, true, errors.New("a record that its list of attributes names is not its own")
		}
		err := ntfsAttributes(b, func(a ntfsAttribute) error {
			if a.kind == kind && a.id == id {
				return f.add(r, a)
			}
			return nil
		})
		if err != nil {
			return f, true, err
		}
	}
	return f, true, nil
}

// add keeps an attribute that matters.
func (f *ntfsFile) add(r *ntfsReader, a ntfsAttribute) error {
	le := binary.LittleEndian
	switch a.kind {
	case ntfsName, ntfsReparse:
		s := r.stream(a)
		switch {
		case a.kind == ntfsReparse && len(s.inline) >= 4:
			f.tag = le.Uint32(s.inline)
		case a.kind == ntfsReparse:
			f.tag = 1
		case len(s.inline) >= 66 && s.inline[65] != 2 && len(f.names) < 1024: // a second name for DOS is none of its own
			if n := 66 + 2*int(s.inline[64]); n <= len(s.inline) {
				f.names = append(f.names, ntfsLink{int64(le.Uint64(s.inline) & (1<<48 - 1)), utf16Name(s.inline[66:n], le)})
			}
		}
	case ntfsData:
		s := r.stream(a)
		if a.b[8] != 0 && le.Uint64(a.b[16:]) != 0 { // it goes on from a cluster
			for i := range f.streams {
				g := &f.streams[i]
				if g.name != s.name {
					continue
				}
				switch {
				case g.err != nil:
				case s.err != nil:
					g.err = s.err
				case g.clusters != int64(le.Uint64(a.b[16:])) || len(g.runs)+len(s.runs) > ntfsMaxRuns:
					g.err = errors.New("its runs are out of order, or too many")
				default:
					g.runs = append(g.runs, s.runs...)
					g.clusters += s.clusters
				}
				return nil
			}
			s.err = errors.New("its first runs are missing")
		}
		if len(f.streams) == 4096 {
			return errors.New("it has too many streams")
		}
		f.streams = append(f.streams, s)
	}
	return nil
}

// stream reads an attribute's place.
func (r *ntfsReader) stream(a ntfsAttribute) ntfsStream {
	le := binary.LittleEndian
	s := ntfsStream{name: a.name, flags: le.Uint16(a.b[12:])}
	if a.b[8] == 0 {
		from, n := int64(le.Uint16(a.b[20:])), int64(le.Uint32(a.b[16:]))
		if from+n > int64(len(a.b)) {
			s.err = errors.New("an attribute is damaged")
			return s
		}
		s.inline, s.size, s.initialised = append([]byte{}, a.b[from:from+n]...), n, n
		return s
	}
	if len(a.b) < 64 {
		s.err = errors.New("an attribute is damaged")
		return s
	}
	s.unit, s.size, s.initialised = a.b[34], int64(le.Uint64(a.b[48:])), int64(le.Uint64(a.b[56:]))
	if s.size < 0 || s.size > 1<<50 || s.initialised < 0 {
		s.size, s.err = -1, errors.New("its size is not possible")
		return s
	}
	from := int(le.Uint16(a.b[32:]))
	var lcn int64
	for b := a.b[min(from, len(a.b)):]; len(b) > 0 && b[0] != 0; {
		n, o := int(b[0]&15), int(b[0]>>4)
		if n == 0 || n > 8 || o > 8 || 1+n+o > len(b) {
			s.err = errors.New("its runs are damaged")
			return s
		}
		var count, delta int64
		for i := range n {
			count |= int64(b[1+i]) << (8 * i)
		}
		for i := range o {
			delta |= int64(b[1+n+i]) << (8 * i)
		}
		if o > 0 {
			delta = delta << (64 - 8*o) >> (64 - 8*o)
		}
		b = b[1+n+o:]
		run := ntfsRun{-1, count}
		if o > 0 {
			lcn += delta
			run.lcn = lcn
		}
		if count <= 0 || count > 1<<50/r.cluster || o > 0 && (lcn < 0 || lcn > 1<<50/r.cluster) {
			s.err = errors.New("its runs are damaged")
			return s
		}
		if s.clusters += count; s.clusters > 1<<50/r.cluster {
			s.err = errors.New("its runs are damaged")
			return s
		}
		s.runs = append(s.runs, run)
	}
	return s
}

// ntfsBytes reads a stream that is not compressed.
type ntfsBytes struct {
	r *ntfsReader
	s *ntfsStream
}

func (b ntfsBytes) ReadAt(p []byte, off int64) (n int, err error) {
	if off >= b.s.size {
		return 0, io.EOF
	}
	if int64(len(p)) > b.s.size-off {
		p, err = p[:b.s.size-off], io.EOF
	}
	if b.s.inline != nil {
		return copy(p, b.s.inline[off:]), err
	}
	if m, e := b.clusters(p, off); e != nil {
		return m, e
	}
	if from := max(b.s.initialised-off, 0); from < int64(len(p)) {
		clear(p[from:])
	}
	return len(p), err
}

// clusters reads what lies in the runs.
func (b ntfsBytes) clusters(p []byte, off int64) (n int, err error) {
	for _, run := range b.s.runs {
		if n == len(p) {
			return n, nil
		}
		size := run.count * b.r.cluster
		if off >= size {
			off -= size
			continue
		}
		k := int(min(int64(len(p)-n), size-off))
		if run.lcn < 0 {
			clear(p[n : n+k])
		} else if m, err := b.r.r.ReadAt(p[n:n+k], run.lcn*b.r.cluster+off); m < k {
			if err == io.EOF {
				err = errCut
			}
			return n + m, err
		}
		n += k
		off = 0
	}
	if n < len(p) {
		return n, errCut
	}
	return n, nil
}

// open gives a stream's bytes.
func (r *ntfsReader) open(s *ntfsStream) io.Reader {
	if s.err != nil {
		return &lazyReader{err: s.err}
	}
	if s.flags&ntfsCompressed != 0 && s.inline == nil && s.unit != 0 {
		return &exactReader{r: &ntfsUnits{r: r, s: s}, left: s.size}
	}
	return &exactReader{r: io.NewSectionReader(ntfsBytes{r, s}, 0, s.size), left: s.size}
}

// ntfsUnits reads a compressed stream: of each sixteen clusters, as many are there as were needed.
type ntfsUnits struct {
	r    *ntfsReader
	s    *ntfsStream
	next int64 // unit
	run  int   // in which the unit begins
	in   int64 // clusters of that run before it
	out  []byte
	err  error
}

func (u *ntfsUnits) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err == nil {
			u.out, u.err = u.unit()
		}
		if u.err != nil {
			return 0, u.err
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *ntfsUnits) unit() ([]byte, error) {
	if u.s.unit != 4 {
		return nil, fmt.Errorf("its clusters are compressed 2^%d at once, which is not read", u.s.unit)
	}
	size := ntfsUnit * u.r.cluster
	if size > 1<<20 {
		return nil, errors.New("its clusters are too large to be compressed")
	}
	if u.next*size >= u.s.size {
		return nil, io.EOF
	}
	u.next++
	var packed []byte
	holes := false
	for left := int64(ntfsUnit); left > 0; {
		if u.run == len(u.s.runs) {
			if left == ntfsUnit {
				return nil, errCut
			}
			break
		}
		run := u.s.runs[u.run]
		n := min(left, run.count-u.in)
		if run.lcn < 0 {
			holes = true
		} else {
			b, err := u.r.readAt((run.lcn+u.in)*u.r.cluster, int(n*u.r.cluster))
			if err != nil {
				return nil, err
			}
			packed = append(packed, b...)
		}
		left -= n
		if u.in += n; u.in == run.count {
			u.run, u.in = u.run+1, 0
		}
	}
	switch {
	case len(packed) == 0:
		return make([]byte, size), nil
	case !holes:
		return packed, nil
	}
	out, err := lznt1(packed, int(size))
	if err != nil {
		return nil, err
	}
	return append(out, make([]byte, int(size)-len(out))...), nil
}

// lznt1 decompresses chunks, each of 4,096 bytes but for the last, to at most most bytes.
func lznt1(in []byte, most int) ([]byte, error) {
	errLZNT1 := errors.New("the LZNT1 data is damaged")
	le := binary.LittleEndian
	var out []byte
	for len(in) >= 2 {
		h := le.Uint16(in)
		if h == 0 {
			break
		}
		n := int(h&0xfff) + 1
		if in = in[2:]; n > len(in) {
			return nil, errCut
		}
		chunk := in[:n]
		in = in[n:]
		start := len(out)
		if h&0x8000 == 0 {
			out = append(out, chunk...)
		}
		for h&0x8000 != 0 && len(chunk) > 0 {
			flags := chunk[0]
			chunk = chunk[1:]
			for bit := 0; bit < 8 && len(chunk) > 0; bit++ {
				if flags>>bit&1 == 0 {
					out = append(out, chunk[0])
					chunk = chunk[1:]
					continue
				}
				if len(chunk) < 2 {
					return nil, errCut
				}
				v := int(le.Uint16(chunk))
				chunk = chunk[2:]
				// The more of the chunk is there, the more bits has a distance.
				bits := 4
				for 1<<bits < len(out)-start {
					bits++
				}
				distance, length := v>>(16-bits)+1, v&(1<<(16-bits)-1)+3
				if distance > len(out)-start || len(out)-start+length > 4096 {
					return nil, errLZNT1
				}
				for range length {
					out = append(out, out[len(out)-distance])
				}
			}
		}
		if len(out) > most || len(out)-start > 4096 {
			return nil, errLZNT1
		}
		if len(out)-start < 4096 && len(in) >= 2 && le.Uint16(in) != 0 {
			out = append(out, make([]byte, 4096-(len(out)-start))...)
		}
	}
	return out[:min(len(out), most)], nil
}

// path is that of a directory. It is not ok in a ring, or below the system's own.
func (r *ntfsReader) path(i int64) (string, bool) {
	var parts []string
	for range ntfsMaxDepth {
		if i == ntfsRoot {
			path := ""
			for k := len(parts) - 1; k >= 0; k-- {
				path += parts[k] + "/"
			}
			return path, true
		}
		d, ok := r.dirs[i]
		if !ok {
			break
		}
		parts = append(parts, d.name)
		i = d.parent
	}
	return "", false
}

// tellFile tells a file's streams, under each of its names.
func (r *ntfsReader) tellFile(i int64, f ntfsFile) error {
	if f.tag == 0xa000000c || f.tag == 0xa0000003 { // links
		return nil
	}
	for k, link := range f.names {
		path, ok := r.path(link.parent)
		if !ok {
			path = fmt.Sprintf("[record %d]/", link.parent)
		}
		if strings.HasPrefix(path, "$Extend/") {
			return nil
		}
		path += link.name
		if len(path) > maxPath {
			path = path[len(path)-maxPath:]
		}
		if !f.directory && len(f.streams) == 0 {
			if err := r.tell(Member{Path: cleanPath(path), Reader: strings.NewReader("")}); err != nil {
				return err
			}
		}
		for n := range f.streams {
			s := &f.streams[n]
			name := path
			if s.name != "" {
				if k > 0 { // one of several names is enough for those
					continue
				}
				name += ":" + s.name
			}
			m := Member{Path: cleanPath(name), Size: s.size}
			switch {
			case s.err != nil:
				m.Err = s.err
			case s.flags&ntfsEncrypted != 0:
				m.Err = errors.New("it is encrypted by Windows (EFS)")
			case f.tag == 0x80000017 && s.name == "":
				m.Err = errors.New("it is compressed by Windows outside of the file system (WOF), which is not read")
			case f.tag != 0 && s.name == "" && s.size > 0 && len(s.runs) > 0 && s.runs[0].lcn < 0:
				m.Err = fmt.Errorf("it is a reparse point of tag 0x%x, whose bytes lie elsewhere", f.tag)
			default:
				m.Reader, m.Key = r.open(s), fmt.Sprintf("%d %d", i, n)
			}
			if err := r.tell(m); err != nil {
				return err
			}
		}
	}
	return nil
}
