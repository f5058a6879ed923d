package unpack

import (
	"bytes"
	"compress/bzip2"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"github.com/klauspost/compress/flate"
)

// 7z. The header is read whole, bounded; members are then unpacked in the order in which their folder (a run of members compressed as one) holds
// them, each folder once.

var (
	errSevenZip  = errors.New("the header is damaged")
	errSevenMany = errors.New("it has more members than are taken")
	sevenMagic   = []byte("7z\xbc\xaf\x27\x1c")
)

const (
	sevenStart      = 32       // bytes of the signature header
	sevenMaxHeader  = 64 << 20 // bytes of the header that are taken, unpacked
	sevenMaxCoders  = 16       // in a folder
	sevenMaxFolders = 1 << 18
	sevenMaxFiles   = 1 << 20
	sevenTrial      = 64 << 20 // bytes of a member that a password is tried on
	sevenMaxCycles  = 22       // as a power of two: four million rounds
)

// The methods.
const (
	sevenIDCopy    = 0
	sevenIDDelta   = 3
	sevenIDLZMA2   = 0x21
	sevenIDLZMA    = 0x30101
	sevenIDPPMd    = 0x30401
	sevenIDBCJ     = 0x3030103
	sevenIDBCJ2    = 0x303011b
	sevenIDPPC     = 0x3030205
	sevenIDIA64    = 0x3030401
	sevenIDARM     = 0x3030501
	sevenIDARMT    = 0x3030701
	sevenIDSPARC   = 0x3030805
	sevenIDDeflate = 0x40108
	sevenIDDefl64  = 0x40109
	sevenIDBzip2   = 0x40202
	sevenIDAES     = 0x6f10701
	sevenIDZstd    = 0x4f71101
)

// The identifiers of what a header holds.
const (
	sevenEnd = iota
	sevenHeader
	sevenArchiveProperties
	sevenAdditionalStreams
	sevenMainStreams
	sevenFiles
	sevenPackInfo
	sevenUnpackInfo
	sevenSubStreams
	sevenSize
	sevenCRC
	sevenFolder
	sevenCodersUnpackSize
	sevenNumUnpackStream
	sevenEmptyStream
	sevenEmptyFile
	sevenAnti
	sevenNames
	sevenCTime
	sevenATime
	sevenMTime
	sevenAttributes
	sevenComment
	sevenEncodedHeader
)

// sevenBuf reads a header. Reading past its end sets bad and gives zeros.
type sevenBuf struct {
	b   []byte
	bad bool
}

func (s *sevenBuf) byte() byte {
	if len(s.b) == 0 {
		s.bad = true
		return 0
	}
	b := s.b[0]
	s.b = s.b[1:]
	return b
}

func (s *sevenBuf) take(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.bad = true
		return nil
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

// number reads a number: the first byte's leading ones tell how many bytes follow.
func (s *sevenBuf) number() uint64 {
	first := s.byte()
	var v uint64
	mask := byte(0x80)
	for i := range 8 {
		if first&mask == 0 {
			return v | uint64(first&(mask-1))<<(8*i)
		}
		v |= uint64(s.byte()) << (8 * i)
		mask >>= 1
	}
	return v
}

// count reads a number of things of which each takes at least one byte of the header, unless an earlier count bounds it.
func (s *sevenBuf) count() int {
	n := s.number()
	if n > uint64(len(s.b)) {
		s.bad = true
		return 0
	}
	return int(n)
}

func (s *sevenBuf) bits(n int) []bool {
	b := s.take(uint64(n+7) / 8)
	if b == nil && n > 0 {
		return nil
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = b[i/8]>>(7-i%8)&1 == 1
	}
	return out
}

func (s *sevenBuf) definedBits(n int) []bool {
	if s.byte() == 0 {
		return s.bits(n)
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = true
	}
	return out
}

// sevenDigest is a checksum that may be missing.
type sevenDigest struct {
	crc     uint32
	defined bool
}

func (s *sevenBuf) digests(n int) []sevenDigest {
	defined := s.definedBits(n)
	out := make([]sevenDigest, n)
	for i := range out {
		if s.bad || i >= len(defined) {
			break
		}
		if defined[i] {
			if b := s.take(4); b != nil {
				out[i] = sevenDigest{binary.LittleEndian.Uint32(b), true}
			}
		}
	}
	return out
}

type sevenCoder struct {
	id         uint64
	in         int
	properties []byte
	first      int    // the number of its first input
	size       uint64 // unpacked
}

type sevenFolderInfo struct {
	coders    []sevenCoder
	bound     []int8 // of each input, the coder it takes (each has one output), or -1
	packed    []int8 // of each input, the packed stream of this folder that it takes, or -1
	main      int    // the coder whose output is the folder's
	first     int    // the number of its first packed stream
	streamsIn int    // packed streams
	digest    sevenDigest
	streams   []sevenStream // the members in it
}

type sevenStream struct {
	size   uint64
	digest sevenDigest
}

func (f *sevenFolderInfo) encrypted() bool {
	for _, c := range f.coders {
		if c.id == sevenIDAES {
			return true
		}
	}
	return false
}

// sevenStreams is what a header says of the packed data.
type sevenStreams struct {
	offsets []int64 // of the packed streams
	sizes   []int64
	folders []sevenFolderInfo
}

// streams reads a StreamsInfo.
func (s *sevenBuf) streams(c *container) (*sevenStreams, error) {
	out := &sevenStreams{}
	sub := false
	id := s.byte()
	if id == sevenPackInfo {
		at := s.number()
		n := s.count()
		if s.bad || at > uint64(c.size) {
			return nil, errSevenZip
		}
		at += sevenStart
		for id = s.byte(); id != sevenEnd && !s.bad; id = s.byte() {
			switch id {
			case sevenSize:
				out.offsets, out.sizes = make([]int64, n), make([]int64, n)
				for i := range n {
					size := s.number()
					if s.bad || size > uint64(c.size) {
						return nil, errSevenZip
					}
					out.offsets[i], out.sizes[i] = int64(at), int64(size)
					at += size
					if at > 1<<62 {
						return nil, errSevenZip
					}
				}
			case sevenCRC:
				s.digests(n)
			default:
				return nil, errSevenZip
			}
		}
		id = s.byte()
	}
	if id == sevenUnpackInfo {
		if err := s.folders(out); err != nil {
			return nil, err
		}
		id = s.byte()
	}
	if id == sevenSubStreams {
		if err := s.subStreams(out); err != nil {
			return nil, err
		}
		sub = true
		id = s.byte()
	}
	if id != sevenEnd || s.bad {
		return nil, errSevenZip
	}
	if !sub {
		for i := range out.folders {
			f := &out.folders[i]
			f.streams = []sevenStream{{f.coders[f.main].size, f.digest}}
		}
	}
	return out, nil
}

func (s *sevenBuf) folders(out *sevenStreams) error {
	if s.byte() != sevenFolder {
		return errSevenZip
	}
	n := s.count()
	if s.byte() != 0 || s.bad {
		return errSevenZip
	}
	if n > sevenMaxFolders {
		return errSevenMany
	}
	packed := 0
	for range n {
		f, err := s.folder()
		if err != nil {
			return err
		}
		f.first = packed
		packed += f.streamsIn
		if packed > len(out.sizes) {
			return errSevenZip
		}
		out.folders = append(out.folders, f)
	}
	if s.byte() != sevenCodersUnpackSize {
		return errSevenZip
	}
	for i := range out.folders {
		for j := range out.folders[i].coders {
			out.folders[i].coders[j].size = s.number()
			if out.folders[i].coders[j].size > 1<<62 {
				return errSevenZip
			}
		}
	}
	id := s.byte()
	if id == sevenCRC {
		for i, d := range s.digests(n) {
			out.folders[i].digest = d
		}
		id = s.byte()
	}
	if id != sevenEnd || s.bad {
		return errSevenZip
	}
	return nil
}

func (s *sevenBuf) folder() (sevenFolderInfo, error) {
	var f sevenFolderInfo
	n := s.count()
	if n == 0 || n > sevenMaxCoders {
		return f, errSevenZip
	}
	inputs := 0
	for range n {
		head := s.byte()
		id := s.take(uint64(head & 15))
		if len(id) > 8 {
			return f, errSevenZip
		}
		c := sevenCoder{in: 1, first: inputs}
		for _, b := range id {
			c.id = c.id<<8 | uint64(b)
		}
		if head&16 != 0 {
			c.in = s.count()
			if s.count() != 1 || c.in == 0 || c.in > 8 {
				return f, errSevenZip
			}
		}
		if head&32 != 0 {
			c.properties = s.take(s.number())
		}
		if head&0xc0 != 0 || s.bad {
			return f, errSevenZip
		}
		inputs += c.in
		f.coders = append(f.coders, c)
	}
	f.bound, f.packed = make([]int8, inputs), make([]int8, inputs)
	for i := range inputs {
		f.bound[i], f.packed[i] = -1, -1
	}
	output := make([]bool, n) // bound
	for range n - 1 {
		in, from := s.number(), s.number()
		if in >= uint64(inputs) || from >= uint64(n) || f.bound[in] >= 0 || output[from] {
			return f, errSevenZip
		}
		f.bound[in] = int8(from)
		output[from] = true
	}
	for i := range output {
		if !output[i] {
			f.main = i
		}
	}
	f.streamsIn = inputs - (n - 1)
	if f.streamsIn == 1 {
		for in := range f.packed {
			if f.bound[in] < 0 {
				f.packed[in] = 0
			}
		}
		return f, nil
	}
	for i := range f.streamsIn {
		in := s.number()
		if in >= uint64(inputs) || f.bound[in] >= 0 || f.packed[in] >= 0 {
			return f, errSevenZip
		}
		f.packed[in] = int8(i)
	}
	return f, nil
}

func (s *sevenBuf) subStreams(out *sevenStreams) error {
	counts := make([]int, len(out.folders))
	for i := range counts {
		counts[i] = 1
	}
	id := s.byte()
	for ; id != sevenEnd && id != sevenSize && id != sevenCRC && id != sevenNumUnpackStream; id = s.byte() {
		if s.bad {
			return errSevenZip
		}
		s.take(s.number())
	}
	if id == sevenNumUnpackStream {
		total := 0
		for i := range counts {
			v := s.number()
			// Each but the last of a folder has a size of at least one byte here.
			if v > uint64(len(s.b))+1 {
				return errSevenZip
			}
			counts[i] = int(v)
			total += counts[i]
			if total > sevenMaxFiles {
				return errSevenMany
			}
		}
		id = s.byte()
	}
	for i := range out.folders {
		f := &out.folders[i]
		if counts[i] == 0 {
			continue
		}
		f.streams = make([]sevenStream, counts[i])
		left := f.coders[f.main].size
		for j := range f.streams[:counts[i]-1] {
			if id != sevenSize {
				return errSevenZip
			}
			size := s.number()
			if size > left || s.bad {
				return errSevenZip
			}
			f.streams[j].size = size
			left -= size
		}
		f.streams[counts[i]-1].size = left
	}
	if id == sevenSize {
		id = s.byte()
	}
	// Folders of one member with a checksum of their own have no other.
	var missing []*sevenDigest
	for i := range out.folders {
		f := &out.folders[i]
		if len(f.streams) == 1 && f.digest.defined {
			f.streams[0].digest = f.digest
			continue
		}
		for j := range f.streams {
			missing = append(missing, &f.streams[j].digest)
		}
	}
	for ; id != sevenEnd; id = s.byte() {
		if s.bad {
			return errSevenZip
		}
		if id != sevenCRC {
			s.take(s.number())
			continue
		}
		for i, d := range s.digests(len(missing)) {
			*missing[i] = d
		}
	}
	return nil
}

// sevenFile is what a header says of a member.
type sevenFile struct {
	name       []byte // UTF-16
	attributes uint32
	empty      bool // has no stream: a directory, unless file
	file       bool
	anti       bool
}

func (s *sevenBuf) files() ([]sevenFile, error) {
	n := s.count()
	if s.bad {
		return nil, errSevenZip
	}
	if n > sevenMaxFiles {
		return nil, errSevenMany
	}
	files := make([]sevenFile, n)
	var empty []*sevenFile
	for {
		id := s.number()
		if id == sevenEnd || s.bad {
			break
		}
		p := sevenBuf{b: s.take(s.number())}
		switch id {
		case sevenEmptyStream:
			for i, is := range p.bits(n) {
				if files[i].empty = is; is {
					empty = append(empty, &files[i])
				}
			}
		case sevenEmptyFile:
			for i, is := range p.bits(len(empty)) {
				empty[i].file = is
			}
		case sevenAnti:
			for i, is := range p.bits(len(empty)) {
				empty[i].anti = is
			}
		case sevenNames:
			if p.byte() != 0 {
				return nil, errSevenZip
			}
			for i := range files {
				end := 0
				for end+1 < len(p.b) && (p.b[end] != 0 || p.b[end+1] != 0) {
					end += 2
				}
				if end+1 >= len(p.b) {
					return nil, errSevenZip
				}
				files[i].name = p.b[:end]
				p.b = p.b[end+2:]
			}
		case sevenAttributes:
			defined := p.definedBits(n)
			if p.byte() != 0 {
				return nil, errSevenZip
			}
			for i, is := range defined {
				if b := []byte(nil); is {
					if b = p.take(4); b == nil {
						break
					}
					files[i].attributes = binary.LittleEndian.Uint32(b)
				}
			}
		}
	}
	if s.bad {
		return nil, errSevenZip
	}
	return files, nil
}

func utf16Name(b []byte, order binary.ByteOrder) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}

func readSevenZip(c *container) error {
	start, err := c.readAt(0, sevenStart)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(start, sevenMagic) {
		return errors.New("it does not begin as it should")
	}
	le := binary.LittleEndian
	offset, size, crc := le.Uint64(start[12:]), le.Uint64(start[20:]), le.Uint32(start[28:])
	if crc32.ChecksumIEEE(start[12:]) != le.Uint32(start[8:]) {
		return errors.New("the start header is damaged")
	}
	if size == 0 {
		return nil
	}
	if offset > uint64(c.size) || size > uint64(c.size) || int64(offset+size) > c.size-sevenStart {
		return errCut
	}
	header, err := readSome(c.section(sevenStart+int64(offset), int64(size)), int64(size), sevenMaxHeader)
	if err != nil {
		return err
	}
	if crc32.ChecksumIEEE(header) != crc {
		return errSevenZip
	}
	for range 4 { // a header may be packed, and its header too
		s := &sevenBuf{b: header}
		switch s.byte() {
		case sevenEncodedHeader:
			streams, err := s.streams(c)
			if err != nil {
				return err
			}
			if len(streams.folders) != 1 {
				return errSevenZip
			}
			z := &sevenReader{container: c, s: streams}
			if header, err = z.header(); err != nil {
				return err
			}
		case sevenHeader:
			return readSevenHeader(c, s)
		default:
			return errSevenZip
		}
	}
	return errSevenZip
}

// sevenReader unpacks folders.
type sevenReader struct {
	*container
	s *sevenStreams
}

// header unpacks a packed header.
func (z *sevenReader) header() ([]byte, error) {
	f := &z.s.folders[0]
	if len(f.streams) != 1 {
		return nil, errSevenZip
	}
	password, err := z.unlock(f)
	if err != nil {
		return nil, err
	}
	r, err := z.open(f, password)
	if err != nil {
		return nil, err
	}
	return readSome(&sevenChecker{r: r, left: f.streams[0].size, digest: f.streams[0].digest}, int64(f.streams[0].size), sevenMaxHeader)
}

func readSevenHeader(c *container, s *sevenBuf) error {
	z := &sevenReader{container: c, s: &sevenStreams{}}
	id := s.byte()
	if id == sevenArchiveProperties {
		for p := s.number(); p != sevenEnd && !s.bad; p = s.number() {
			s.take(s.number())
		}
		id = s.byte()
	}
	for id == sevenAdditionalStreams || id == sevenMainStreams {
		streams, err := s.streams(c)
		if err != nil {
			return err
		}
		if id == sevenMainStreams {
			z.s = streams
		}
		id = s.byte()
	}
	if id != sevenFiles {
		if id == sevenEnd && !s.bad {
			return nil
		}
		return errSevenZip
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	return z.members(files)
}

// sevenRun is the folder whose members are being told.
type sevenRun struct {
	f        *sevenFolderInfo
	next     int    // stream
	offset   uint64 // of it in the folder's output
	password string
	err      error     // why the folder cannot be opened
	r        io.Reader // nil until a member is read
	at       uint64    // how far r was read
}

func (z *sevenReader) members(files []sevenFile) error {
	folder := -1
	var run *sevenRun
	for i := range files {
		file := &files[i]
		m := z.named(utf16Name(file.name, binary.LittleEndian))
		if file.empty {
			if file.file && !file.anti {
				m.Reader = bytes.NewReader(nil)
				if err := z.tell(m); err != nil {
					return err
				}
			}
			continue
		}
		for run == nil || run.next == len(run.f.streams) {
			if folder++; folder == len(z.s.folders) {
				return errSevenZip
			}
			f := &z.s.folders[folder]
			run = &sevenRun{f: f}
			if len(f.streams) > 0 {
				run.password, run.err = z.unlock(f)
			}
		}
		stream := run.f.streams[run.next]
		at := run.offset
		run.next++
		run.offset += stream.size
		const unixExtension, typeMask, symlink = 0x8000, 0o170000, 0o120000
		if file.attributes&unixExtension != 0 && file.attributes>>16&typeMask == symlink && stream.size <= maxPath {
			continue
		}
		m.Size, m.Password = int64(stream.size), run.password
		if run.err != nil {
			m.Err = run.err
		} else {
			m.Reader = &lazyReader{open: func() (io.Reader, error) { return z.member(run, at, stream) }}
		}
		if err := z.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// member opens a member, unpacking what stands before it in its folder when that was not read.
func (z *sevenReader) member(run *sevenRun, at uint64, stream sevenStream) (io.Reader, error) {
	if run.r == nil {
		r, err := z.open(run.f, run.password)
		if err != nil {
			return nil, err
		}
		run.r = &sevenRunReader{run, r}
	}
	for run.at < at {
		if _, err := io.CopyN(io.Discard, run.r, int64(min(at-run.at, 1<<20))); err != nil {
			return nil, err
		}
		if err := z.ctx.Err(); err != nil {
			return nil, err
		}
	}
	return &sevenChecker{r: run.r, left: stream.size, digest: stream.digest}, nil
}

// sevenRunReader keeps count of what was read of a folder. An error stays.
type sevenRunReader struct {
	run *sevenRun
	r   io.Reader
}

func (r *sevenRunReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.run.at += uint64(n)
	return n, err
}

// sevenChecker reads a member's part of a folder's output.
type sevenChecker struct {
	r      io.Reader
	left   uint64
	digest sevenDigest
	crc    uint32
}

func (s *sevenChecker) Read(p []byte) (int, error) {
	if s.left == 0 {
		if s.digest.defined && s.crc != s.digest.crc {
			return 0, errChecksum
		}
		return 0, io.EOF
	}
	if uint64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.r.Read(p)
	s.left -= uint64(n)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p[:n])
	if err == io.EOF {
		err = nil
		if s.left > 0 {
			err = errCut
		}
	}
	return n, err
}

// unlock finds the password of a folder; "" when it needs none.
func (z *sevenReader) unlock(f *sevenFolderInfo) (string, error) {
	if !f.encrypted() {
		return "", nil
	}
	if len(z.o.Passwords) == 0 {
		return "", errEncrypted
	}
	for _, password := range z.candidates() {
		r, err := z.open(f, password)
		if err == nil {
			_, err = io.CopyN(io.Discard, &sevenChecker{r: r, left: f.streams[0].size, digest: f.streams[0].digest}, sevenTrial)
		}
		switch {
		case err == nil || err == io.EOF:
			z.password = password
			return password, nil
		case errors.Is(err, errTries) || z.ctx.Err() != nil || errors.As(err, new(*sevenUnknown)):
			return "", err
		}
	}
	return "", errPassword
}

// sevenUnknown is a method that is not read.
type sevenUnknown struct{ id uint64 }

func (e *sevenUnknown) Error() string {
	names := map[uint64]string{
		0xb: "RISC-V filter", 0x4f71102: "brotli", 0x4f71104: "LZ4", 0x4f71105: "LZS", 0x4f71106: "lizard", 0x6f10101: "AES",
		0x4015d: "Ultra Compressor", 0x40301: "rar1", 0x40302: "rar2", 0x40303: "rar3", 0x40305: "rar5",
	}
	if name := names[e.id]; name != "" {
		return fmt.Sprintf("method %x (%s) is not read", e.id, name)
	}
	return fmt.Sprintf("method %x is not known", e.id)
}

// open opens a folder's output.
func (z *sevenReader) open(f *sevenFolderInfo, password string) (io.Reader, error) {
	return z.coder(f, f.main, password, 0)
}

// coder opens a coder's output.
func (z *sevenReader) coder(f *sevenFolderInfo, i int, password string, depth int) (io.Reader, error) {
	if depth >= sevenMaxCoders {
		return nil, errSevenZip // a cycle
	}
	c := &f.coders[i]
	inputs := make([]io.Reader, c.in)
	for j := range inputs {
		in := c.first + j
		if from := f.bound[in]; from >= 0 {
			r, err := z.coder(f, int(from), password, depth+1)
			if err != nil {
				return nil, err
			}
			inputs[j] = r
			continue
		}
		if f.packed[in] < 0 {
			return nil, errSevenZip
		}
		packed := f.first + int(f.packed[in])
		inputs[j] = z.section(z.s.offsets[packed], z.s.sizes[packed])
	}
	r, err := z.decode(c, inputs, password)
	if err != nil {
		return nil, err
	}
	return &exactReader{r: r, left: int64(c.size)}, nil
}

func (z *sevenReader) decode(c *sevenCoder, inputs []io.Reader, password string) (io.Reader, error) {
	if (c.id == sevenIDBCJ2) != (len(inputs) == 4) || c.id != sevenIDBCJ2 && len(inputs) != 1 {
		return nil, errSevenZip
	}
	in := inputs[0]
	switch c.id {
	case sevenIDCopy:
		return in, nil
	case sevenIDLZMA:
		if len(c.properties) < 5 {
			return nil, errSevenZip
		}
		return newLZMAReader(buffered(in), c.properties[0], binary.LittleEndian.Uint32(c.properties[1:]), int64(c.size), z.container)
	case sevenIDLZMA2:
		if len(c.properties) < 1 {
			return nil, errSevenZip
		}
		dictionary, err := lzma2Dictionary(c.properties[0])
		if err != nil {
			return nil, err
		}
		return newLZMA2Reader(buffered(in), min(dictionary, c.size), z.container), nil
	case sevenIDPPMd:
		if len(c.properties) != 5 {
			return nil, errSevenZip
		}
		return newPPMd7(buffered(in), c.properties[0], binary.LittleEndian.Uint32(c.properties[1:]), int64(c.size), z.container)
	case sevenIDDelta:
		if len(c.properties) != 1 {
			return nil, errSevenZip
		}
		return &deltaReader{r: in, back: c.properties[0]}, nil
	case sevenIDBCJ:
		return newFilterReader(in, x86Filter(), 0), nil
	case sevenIDPPC:
		return newFilterReader(in, ppcFilter, 0), nil
	case sevenIDIA64:
		return newFilterReader(in, ia64Filter, 0), nil
	case sevenIDARM:
		return newFilterReader(in, armFilter, 0), nil
	case sevenIDARMT:
		return newFilterReader(in, armThumbFilter, 0), nil
	case sevenIDSPARC:
		return newFilterReader(in, sparcFilter, 0), nil
	case 4, 5, 6, 7, 8, 9, 10:
		var start uint32
		if len(c.properties) == 4 {
			start = binary.LittleEndian.Uint32(c.properties)
		}
		return newFilterReader(in, branchFilterOf(c.id), start), nil
	case sevenIDBCJ2:
		b := &bcj2Reader{main: buffered(in), call: buffered(inputs[1]), jump: buffered(inputs[2])}
		b.rc.r = buffered(inputs[3])
		return b, nil
	case sevenIDDeflate:
		return flate.NewReader(buffered(in)), nil
	case sevenIDDefl64:
		return newInflater64(buffered(in)), nil
	case sevenIDBzip2:
		return bzip2.NewReader(buffered(in)), nil
	case sevenIDZstd:
		return newZstd(in)
	case sevenIDAES:
		return z.decrypt(c.properties, in, password)
	}
	return nil, &sevenUnknown{c.id}
}

// decrypt opens a stream of AES-256 in CBC.
func (z *sevenReader) decrypt(properties []byte, in io.Reader, password string) (io.Reader, error) {
	if len(properties) < 1 {
		return nil, errSevenZip
	}
	cycles := properties[0] & 0x3f
	var salt, iv []byte
	if properties[0]&0xc0 != 0 {
		if len(properties) < 2 {
			return nil, errSevenZip
		}
		salts := int(properties[0]>>7&1) + int(properties[1]>>4)
		ivs := int(properties[0]>>6&1) + int(properties[1]&15)
		if len(properties) < 2+salts+ivs {
			return nil, errSevenZip
		}
		salt, iv = properties[2:2+salts], properties[2+salts:2+salts+ivs]
	}
	key, err := z.key(password, salt, cycles)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &cbcReader{r: in, mode: cipher.NewCBCDecrypter(block, append(append([]byte(nil), iv...), make([]byte, 16-len(iv))...))}, nil
}

// key makes a key of a password, by many rounds of SHA-256; the costly ones are kept.
func (z *sevenReader) key(password string, salt []byte, cycles byte) ([]byte, error) {
	var secret []byte
	for _, u := range utf16.Encode([]rune(password)) {
		secret = binary.LittleEndian.AppendUint16(secret, u)
	}
	if cycles == 0x3f {
		key := make([]byte, 32)
		copy(key, append(append([]byte(nil), salt...), secret...))
		return key, nil
	}
	if cycles > sevenMaxCycles {
		return nil, fmt.Errorf("encrypted, with a key of 2^%d rounds, more than are tried", cycles)
	}
	name := fmt.Sprintf("%d %x %s", cycles, salt, password)
	if key := z.keys[name]; key != nil {
		return key, nil
	}
	if !z.spend(1 << cycles) {
		return nil, errTries
	}
	h := sha256.New()
	round := append(append(append([]byte(nil), salt...), secret...), make([]byte, 8)...)
	counter := round[len(round)-8:]
	for i := range uint64(1) << cycles {
		if i&0xffff == 0 {
			if err := z.ctx.Err(); err != nil {
				return nil, err
			}
		}
		binary.LittleEndian.PutUint64(counter, i)
		h.Write(round)
	}
	key := h.Sum(nil)
	if z.keys == nil {
		z.keys = make(map[string][]byte)
	}
	if len(z.keys) < 1000 {
		z.keys[name] = key
	}
	return key, nil
}

// cbcReader decrypts block by block.
type cbcReader struct {
	r    io.Reader
	mode cipher.BlockMode
	buf  [4096]byte
	out  []byte
	err  error
}

func (c *cbcReader) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		var n int
		n, c.err = io.ReadFull(c.r, c.buf[:])
		if c.err == io.ErrUnexpectedEOF {
			c.err = io.EOF
		}
		n -= n % 16
		c.out = c.buf[:n]
		c.mode.CryptBlocks(c.out, c.out)
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}
