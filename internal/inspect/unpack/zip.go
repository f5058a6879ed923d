package unpack

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

const (
	zipLocalSize   = 30
	zipCentralSize = 46
	zipEndSize     = 22
	zipMaxComment  = 1<<16 - 1
	zipMaxEnds     = 16 // central directories besides the last that are counted
)

// zipHeader is what a header, central or local, says of a member.
type zipHeader struct {
	made       uint16 // by which system, in the upper byte
	flags      uint16
	method     uint16
	time       uint16
	crc        uint32
	packed     int64
	size       int64
	name       []byte
	attributes uint32
	local      int64 // where the local header is, as the central directory says
	aes        *zipAES
	streamed   bool   // the sizes follow the data
	disk       int    // on which the member begins
	first      []byte // the name before extra fields changed it
}

// zipReader is the state of one zip.
type zipReader struct {
	*container
	base     int64         // added to every offset: what stands before the zip
	disk     int           // of a set
	told     []int64       // local headers that the central directory lists
	taken    []zipSpan     // what belongs to members and to the directory
	apart    int           // members whose two headers disagree
	example  string        // how the first of them does
	others   int           // central directories besides the one that counts
	inflater io.ReadCloser // used again for each member
	searched int64         // bytes read over for data descriptors
}

// zipSpan is bytes of the file from an offset up to another.
type zipSpan struct{ from, to int64 }

// readZip tells the members that the central directory lists, as every unzipper does, and then those that are left, found by their local headers:
// there are such when the directory is damaged or not there, or when somebody hides them.
func readZip(c *container) error {
	z := &zipReader{container: c}
	start, count, err := z.findDirectory()
	if err == nil {
		err = z.directory(start, count)
		if c.stop != nil || c.ctx.Err() != nil {
			return err
		}
	}
	damage := err
	found, err := z.scan()
	if err != nil {
		return err
	}
	if damage != nil {
		return fmt.Errorf("%w; %d members were found by their local headers", damage, found)
	}
	var notes []string
	if found > 0 {
		notes = append(notes, fmt.Sprintf("%d members are not in its central directory and were found by their local headers", found))
	}
	if z.others > 0 {
		notes = append(notes, fmt.Sprintf("it has %d central directories; the last counts", z.others+1))
	}
	if z.apart > 0 {
		notes = append(notes, fmt.Sprintf("the headers of %d members disagree: %s", z.apart, z.example))
	}
	if z.disk > 0 {
		notes = append(notes, fmt.Sprintf("it is the disk %d of a set, which are files of their own", z.disk+1))
	}
	if len(notes) > 0 {
		return errors.New(strings.Join(notes, "; "))
	}
	return nil
}

// findDirectory finds the central directory by the record at the file's end. The count is -1 when it does not say.
func (z *zipReader) findDirectory() (start, count int64, err error) {
	tail := min(z.size, zipEndSize+zipMaxComment)
	b, err := z.readAt(z.size-tail, int(tail))
	if err != nil {
		return 0, 0, err
	}
	// The last record whose directory is there counts; a comment may hold what looks like one.
	for i := len(b) - zipEndSize; i >= 0; i-- {
		if b[i] != 'P' || !bytes.HasPrefix(b[i:], []byte("PK\x05\x06")) {
			continue
		}
		end := z.size - tail + int64(i)
		count := int64(binary.LittleEndian.Uint16(b[i+10:]))
		length := int64(binary.LittleEndian.Uint32(b[i+12:]))
		offset := int64(binary.LittleEndian.Uint32(b[i+16:]))
		record := zipSpan{end, end + zipEndSize}
		if l, err := z.readAt(end-20, 20); err == nil && bytes.HasPrefix(l, []byte("PK\x06\x07")) {
			if at, c64, len64, off64, ok := z.end64(int64(binary.LittleEndian.Uint64(l[8:])), end-20); ok {
				end, count, length, offset = at, c64, len64, off64
			}
		}
		if length < 0 || offset < 0 {
			continue
		}
		// What stands before the zip, as in a self-extractor, shifts all offsets, or was counted in; it may lack here.
		for _, base := range []int64{end - length - offset, 0} {
			at := base + offset
			if at < 0 || at > end {
				continue
			}
			sig, err := z.readAt(at, 4)
			if err == nil && (string(sig) == "PK\x01\x02" || count == 0 && at == end) {
				if z.base = base; base > 0 && !z.localAt(at, base) && z.localAt(at, 0) {
					z.base = 0 // another directory stands in front, and not the zip
				}
				if disk := int(binary.LittleEndian.Uint16(b[i+4:])); disk < 1<<16-1 {
					z.disk = disk
				}
				z.taken = append(z.taken, zipSpan{at, record.to})
				return at, count, nil
			}
		}
	}
	return 0, 0, errors.New("no central directory")
}

// localAt tells whether there is a local header where the first entry of a directory says, from a base on.
func (z *zipReader) localAt(directory, base int64) bool {
	b, err := z.readAt(directory, zipCentralSize)
	if err != nil {
		return false
	}
	sig, err := z.readAt(base+int64(binary.LittleEndian.Uint32(b[42:])), 4)
	return err == nil && string(sig) == "PK\x03\x04"
}

// end64 reads the end record of a zip64, at the offset that its locator gives or, when the zip is prefixed, right before the locator.
func (z *zipReader) end64(at, locator int64) (where, count, length, offset int64, ok bool) {
	for _, at := range []int64{at, locator - 56} {
		b, err := z.readAt(at, 56)
		if err == nil && bytes.HasPrefix(b, []byte("PK\x06\x06")) {
			return at, int64(binary.LittleEndian.Uint64(b[32:])), int64(binary.LittleEndian.Uint64(b[40:])),
				int64(binary.LittleEndian.Uint64(b[48:])), true
		}
	}
	return 0, 0, 0, 0, false
}

// directory tells each member of the central directory.
func (z *zipReader) directory(start, count int64) error {
	r := bufio.NewReaderSize(z.section(start, z.size), 64<<10)
	for n := int64(0); ; n++ {
		sig, err := r.Peek(4)
		if err != nil || string(sig) != "PK\x01\x02" {
			// The count has 16 bits, and wraps in zips of more members without zip64.
			if n&0xffff == count&0xffff {
				return nil
			}
			return fmt.Errorf("the central directory ends after %d of %d members", n, count)
		}
		h, err := readZipCentral(r)
		if err != nil {
			return fmt.Errorf("the central directory is damaged after %d of %d members: %w", n, count, err)
		}
		h.local += z.base
		if h.disk == z.disk {
			z.told = append(z.told, h.local)
		}
		if err := z.listed(h); err != nil {
			return err
		}
	}
}

func readZipCentral(r io.Reader) (*zipHeader, error) {
	var b [zipCentralSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, errCut
	}
	le := binary.LittleEndian
	h := &zipHeader{
		made: le.Uint16(b[4:]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), time: le.Uint16(b[12:]), crc: le.Uint32(b[16:]),
		packed: int64(le.Uint32(b[20:])), size: int64(le.Uint32(b[24:])), attributes: le.Uint32(b[38:]), local: int64(le.Uint32(b[42:])),
		disk: int(le.Uint16(b[34:])),
	}
	name, extra, comment := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	rest := make([]byte, name+extra+comment) // at most 192 KiB
	if n, err := io.ReadFull(r, rest); err != nil && n < name {
		return nil, errCut
	}
	h.name, h.first = rest[:name], rest[:name]
	h.extras(rest[name:name+extra], true)
	return h, nil
}

// extras reads the extra fields: zip64 sizes, WinZip's AES and Info-ZIP's Unicode name. Damaged ones are passed over.
func (h *zipHeader) extras(b []byte, central bool) {
	le := binary.LittleEndian
	for len(b) >= 4 {
		id, n := le.Uint16(b), int(le.Uint16(b[2:]))
		b = b[4:]
		if n > len(b) {
			return
		}
		f := b[:n]
		b = b[n:]
		switch id {
		case 0x0001:
			fields := []*int64{&h.size, &h.packed}
			if central {
				fields = append(fields, &h.local)
			}
			for _, v := range fields {
				if *v == 1<<32-1 && len(f) >= 8 {
					*v = int64(le.Uint64(f))
					f = f[8:]
				}
			}
		case 0x9901:
			if len(f) >= 7 {
				h.aes = &zipAES{version: le.Uint16(f), strength: f[4], method: le.Uint16(f[5:])}
			}
		case 0x7075:
			if len(f) >= 5 && f[0] == 1 && le.Uint32(f[1:]) == crc32.ChecksumIEEE(h.name) {
				h.name = f[5:]
				h.flags |= 1 << 11
			}
		}
	}
}

// readZipLocal reads the local header at off and tells where its data begin.
func (z *zipReader) readZipLocal(off int64) (*zipHeader, int64, error) {
	b, err := z.readAt(off, zipLocalSize)
	if err != nil || string(b[:4]) != "PK\x03\x04" {
		return nil, 0, errors.New("there is no local header where the central directory says")
	}
	le := binary.LittleEndian
	h := &zipHeader{
		flags: le.Uint16(b[6:]), method: le.Uint16(b[8:]), time: le.Uint16(b[10:]), crc: le.Uint32(b[14:]),
		packed: int64(le.Uint32(b[18:])), size: int64(le.Uint32(b[22:])), local: off,
	}
	n, e := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	rest, err := z.readAt(off+zipLocalSize, n+e)
	if err != nil {
		rest, err = z.readAt(off+zipLocalSize, n)
		if err != nil {
			return nil, 0, errCut
		}
	}
	h.name, h.first = rest[:n], rest[:n]
	h.extras(rest[n:], false)
	h.streamed = h.flags&8 != 0
	return h, off + zipLocalSize + int64(n+e), nil
}

// text is the name as it is in the header.
func (h *zipHeader) text() string {
	if h.flags&(1<<11) != 0 {
		return string(h.name)
	}
	return localName(h.name)
}

func (h *zipHeader) path() string {
	return cleanPath(h.text())
}

// skip tells whether it is a directory or a symbolic link. A name that ends in a slash and has data is a file that hides.
func (h *zipHeader) skip() bool {
	if h.size == 0 && (strings.HasSuffix(string(h.name), "/") || strings.HasSuffix(string(h.name), `\`)) {
		return true
	}
	const unix, typeMask, symlink, directory = 3, 0o170000, 0o120000, 0o040000
	switch h.made >> 8 {
	case 0, 10, 11, 14: // DOS and Windows
		return h.size == 0 && h.attributes&0x10 != 0
	case unix:
		switch h.attributes >> 16 & typeMask {
		case symlink:
			return h.size <= maxPath
		case directory:
			return h.size == 0
		}
	}
	return false
}

// listed tells a member of the central directory.
func (z *zipReader) listed(h *zipHeader) error {
	if h.skip() {
		return z.ctx.Err()
	}
	m := z.named(h.text())
	m.Size = h.size
	if h.disk != z.disk && h.disk < 1<<16-1 {
		m.Err = fmt.Errorf("it begins on the disk %d of the set, which is another file", h.disk+1)
		return z.tell(m)
	}
	local, data, err := z.readZipLocal(h.local)
	if err != nil {
		m.Err = err
		return z.tell(m)
	}
	z.taken = append(z.taken, zipSpan{h.local, data + min(h.packed, max(z.size-data, 0))})
	other := z.compare(h, local, m.Path)
	if m.Outside == "" {
		m.Outside = z.named(local.text()).Outside
	}
	// A header that contradicts the other is a way to hide: what the data can be read by counts. Android and Java go by the directory.
	if !zipMethodKnown(h) && zipMethodKnown(local) {
		h.method, h.aes = local.method, local.aes
		other = false
	}
	second := *local
	if h.flags&1 != local.flags&1 {
		h.flags &^= 1
		local.flags &^= 1
	}
	h.time = local.time
	h.streamed = local.streamed
	// The flags of method 6 stand in both headers, those of the local one are the encoder's.
	h.flags = h.flags&^6 | local.flags&6
	if err := z.open(m, h, data); err != nil || !other || !zipMethodKnown(&second) {
		return err
	}
	// The data as those see them who go by the local header.
	m = z.named(second.text())
	m.Size = second.size
	return z.open(m, &second, data)
}

// compare counts a member whose headers disagree. It tells whether the local one gives other bytes.
func (z *zipReader) compare(h, local *zipHeader, path string) bool {
	var how string
	other := false
	unsaid := local.streamed || local.packed == 0 && local.size == 0 && local.crc == 0 || local.packed == 1<<32-1 || local.size == 1<<32-1
	switch {
	case h.method != local.method:
		how = fmt.Sprintf("method %d in the directory, %d in the local header", h.method, local.method)
		other = !unsaid
	case h.flags&1 != local.flags&1:
		how = "encrypted by one header only"
	case !unsaid && (h.packed != local.packed || h.size != local.size):
		how = fmt.Sprintf("%d bytes (%d packed) in the directory, %d (%d) in the local header", h.size, h.packed, local.size, local.packed)
		other = h.packed != local.packed || h.method == 0
	case !bytes.Equal(h.first, local.first) && path != local.path():
		how = fmt.Sprintf("its local header names it %q", local.path())
	default:
		return false
	}
	if z.apart++; z.apart == 1 {
		z.example = path + ": " + how
	}
	return other
}

// open tells a member with its data.
func (z *zipReader) open(m Member, h *zipHeader, data int64) error {
	if h.packed > z.size-data {
		// Cut, or a lie: what is there is given.
		h.packed = max(z.size-data, 0)
	}
	if !zipMethodKnown(h) {
		m.Err = zipMethodUnknown(h)
		return z.tell(m)
	}
	if h.flags&1 != 0 {
		if h.flags&(1<<6) != 0 && h.aes == nil {
			m.Err = errors.New("the encryption of PKWARE's specification (strong encryption) is not known")
			return z.tell(m)
		}
		password, err := z.unlock(h, data)
		if err != nil {
			m.Err = err
			return z.tell(m)
		}
		m.Password = password
	}
	m.Reader = &lazyReader{open: func() (io.Reader, error) { return z.content(h, data, m.Password) }}
	return z.tell(m)
}

// content opens a member's data.
func (z *zipReader) content(h *zipHeader, data int64, password string) (io.Reader, error) {
	var packed io.Reader = z.section(data, h.packed)
	method, size := h.method, h.packed
	if h.flags&1 != 0 {
		var err error
		if packed, size, err = z.decrypt(h, data, password); err != nil {
			return nil, err
		}
		if h.aes != nil {
			method = h.aes.method
		}
	}
	in := buffered(packed)
	r, err := z.decompress(h, method, in, size)
	if err != nil {
		return nil, err
	}
	check := &zipChecker{r: r, want: h.crc, size: h.size, noCRC: h.aes != nil && h.aes.version == 2}
	return check, nil
}

// zipChecker compares what was read with what the header says, once it was read to its end.
type zipChecker struct {
	r     io.Reader
	crc   uint32
	n     int64
	want  uint32
	size  int64
	noCRC bool
}

func (z *zipChecker) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	z.n += int64(n)
	z.crc = crc32.Update(z.crc, crc32.IEEETable, p[:n])
	if err == io.EOF {
		if z.n != z.size {
			return n, fmt.Errorf("it has %d bytes where the header says %d", z.n, z.size)
		}
		if !z.noCRC && z.crc != z.want {
			return n, errChecksum
		}
	}
	return n, err
}

var errChecksum = errors.New("the checksum differs")

// zipMethods names the methods of the specification, known here or not.
var zipMethods = map[uint16]string{
	0: "stored", 1: "shrunk", 2: "reduced 1", 3: "reduced 2", 4: "reduced 3", 5: "reduced 4", 6: "imploded", 7: "tokenized", 8: "deflate",
	9: "deflate64", 10: "PKWARE DCL imploded", 12: "bzip2", 14: "LZMA", 16: "IBM z/OS CMPSC", 18: "IBM TERSE", 19: "IBM LZ77", 20: "zstd (old number)",
	93: "zstd", 94: "MP3", 95: "xz", 96: "JPEG variant", 97: "WavPack", 98: "PPMd", 99: "AES",
}

func zipMethodKnown(h *zipHeader) bool {
	method := h.method
	if method == 99 && h.aes != nil {
		method = h.aes.method
	}
	switch method {
	case 0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 14, 20, 93, 95, 98:
		return true
	}
	return false
}

func zipMethodUnknown(h *zipHeader) error {
	name := zipMethods[h.method]
	if name == "" {
		name = "not in the specification"
	}
	return fmt.Errorf("method %d (%s) is not read", h.method, name)
}

// decompress undoes a method. size is that of the compressed data.
func (z *zipReader) decompress(h *zipHeader, method uint16, in *bufio.Reader, size int64) (io.Reader, error) {
	switch method {
	case 0:
		return in, nil
	case 1:
		return newUnshrinker(in, h.size), nil
	case 2, 3, 4, 5:
		return newExpander(in, int(method)-1, h.size), nil
	case 6:
		return newExploder(in, h.flags&2 != 0, h.flags&4 != 0, h.size)
	case 8:
		if z.inflater == nil {
			z.inflater = flate.NewReader(in)
		} else if err := z.inflater.(flate.Resetter).Reset(in, nil); err != nil {
			return nil, err
		}
		return z.inflater, nil
	case 9:
		return newInflater64(in), nil
	case 12:
		return bzip2.NewReader(in), nil
	case 14:
		var b [9]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return nil, errCut
		}
		if n := binary.LittleEndian.Uint16(b[2:]); n != 5 {
			return nil, fmt.Errorf("LZMA properties of %d bytes are not known", n)
		}
		left := h.size
		if h.flags&2 != 0 {
			left = -1 // up to the end marker
		}
		return newLZMAReader(in, b[4], binary.LittleEndian.Uint32(b[5:]), left, z.container)
	case 20, 93:
		return newZstd(in)
	case 95:
		return newXZReader(in, z.container), nil
	case 98:
		return newPPMd8(in, h.size, z.container)
	}
	return nil, zipMethodUnknown(h)
}

// newZstd takes windows of up to 64 MiB; without --long, the format's own tool writes 8 MiB at most, and 128 MiB is all that it reads.
func newZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, err
	}
	return d, nil
}

// scan finds members by their local headers, in what belongs to no member that the central directory lists. It returns how many.
func (z *zipReader) scan() (int64, error) {
	slices.Sort(z.told)
	slices.SortFunc(z.taken, func(a, b zipSpan) int { return cmp.Compare(a.from, b.from) })
	var found int64
	at := int64(0)
	for _, taken := range append(z.taken, zipSpan{z.size, z.size}) {
		// A gap that can hold no header, such as that of a data descriptor, is not read.
		for from := at; z.others < zipMaxEnds && taken.from-from >= zipEndSize; {
			i := z.findBefore(from, taken.from, "PK\x05\x06")
			if i < 0 {
				break
			}
			if z.isEnd(i) {
				z.others++
			}
			from = i + zipEndSize
		}
		for taken.from-at > zipLocalSize {
			i := z.findBefore(at, taken.from, "PK\x03\x04")
			if i < 0 {
				break
			}
			// What is cheap comes first.
			b, err := z.readAt(i, zipLocalSize)
			if _, told := slices.BinarySearch(z.told, i); err != nil || told || !plausibleZip(b) {
				at = i + 4
				continue
			}
			h, data, err := z.readZipLocal(i)
			if err != nil || h.packed < 0 || h.size < 0 {
				at = i + 4
				continue
			}
			if h.skip() {
				at = data
				continue
			}
			found++
			m := z.named(h.text())
			m.Size = h.size
			if h.streamed && h.packed == 0 {
				if at, err = z.streamed(m, h, data); err != nil {
					return found, err
				}
				continue
			}
			at = data + min(h.packed, max(z.size-data, 0))
			if err := z.open(m, h, data); err != nil {
				return found, err
			}
		}
		at = max(at, taken.to)
	}
	return found, nil
}

// isEnd tells whether a record stands there that ends a central directory.
func (z *zipReader) isEnd(at int64) bool {
	b, err := z.readAt(at, zipEndSize)
	if err != nil || !bytes.HasPrefix(b, []byte("PK\x05\x06")) {
		return false
	}
	sig, err := z.readAt(at-int64(binary.LittleEndian.Uint32(b[12:])), 4)
	return err == nil && string(sig) == "PK\x01\x02"
}

// plausibleZip keeps noise out of the scan: it tells whether a local header has a name and a method that there is.
func plausibleZip(b []byte) bool {
	return binary.LittleEndian.Uint16(b[26:]) > 0 && zipMethods[binary.LittleEndian.Uint16(b[8:])] != ""
}

// streamed tells a member whose sizes follow its data, and tells where the search for the next one goes on.
func (z *zipReader) streamed(m Member, h *zipHeader, data int64) (int64, error) {
	m.Size = -1
	end := z.descriptor(data)
	for end >= 0 {
		// The descriptor: signature, checksum, packed size, size; of 4 bytes each, or 8 in a zip64.
		b, err := z.readAt(end, 16)
		if err != nil {
			break
		}
		if int64(binary.LittleEndian.Uint32(b[8:])) == end-data {
			h.crc, h.packed, h.size = binary.LittleEndian.Uint32(b[4:]), end-data, int64(binary.LittleEndian.Uint32(b[12:]))
			m.Size = h.size
			return end + 16, z.open(m, h, data)
		}
		if b, err := z.readAt(end, 24); err == nil && int64(binary.LittleEndian.Uint64(b[8:])) == end-data {
			h.crc, h.packed, h.size = binary.LittleEndian.Uint32(b[4:]), end-data, int64(binary.LittleEndian.Uint64(b[16:]))
			m.Size = h.size
			return end + 24, z.open(m, h, data)
		}
		end = z.descriptor(end + 4)
	}
	// No descriptor: the data end at the next header, or with the file. Only a method that ends by itself can be read.
	end = z.find(data, "PK\x03\x04")
	if end < 0 {
		end = z.size
	}
	if h.method != 8 || h.flags&1 != 0 {
		m.Err = errors.New("its size stands nowhere")
		return end, z.tell(m)
	}
	m.Reader = &lazyReader{open: func() (io.Reader, error) { return flate.NewReader(buffered(z.section(data, z.size))), nil }}
	return end, z.tell(m)
}

// descriptor finds the next data descriptor; -1 when there is none, or when headers without one have made the file be read too often.
func (z *zipReader) descriptor(at int64) int64 {
	if z.searched > 8*z.size {
		return -1
	}
	end := z.find(at, "PK\x07\x08")
	if end < 0 {
		z.searched += z.size - at
	} else {
		z.searched += end - at + 64
	}
	return end
}

// find searches the container from at on; -1 when it is not there.
func (c *container) find(at int64, what string) int64 { return c.findBefore(at, c.size, what) }

// findBefore searches the container from at up to end; -1 when it is not there.
func (c *container) findBefore(at, end int64, what string) int64 {
	if c.scratch == nil {
		c.scratch = make([]byte, 64<<10)
	}
	// Small steps first: mostly it is near.
	for step := 1 << 10; at < end; step = min(4*step, len(c.scratch)) {
		buf := c.scratch[:min(int64(step), end-at)]
		n, err := c.r.ReadAt(buf, at)
		if i := bytes.Index(buf[:n], []byte(what)); i >= 0 {
			return at + int64(i)
		}
		if err != nil && err != io.EOF || n < len(buf) || n < len(what) {
			return -1
		}
		if at += int64(n); at < end {
			at -= int64(len(what) - 1)
		}
	}
	return -1
}
