package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// An installer of Inno Setup is its program, which has a table of places in a resource, and behind it two compressed blocks and the files. The first block is the
// script: the header, whose layout changes with almost every version, then languages, folders, files and so on. The second says for each piece of data
// where it lies, how large it is, and its checksum. Pieces lie in chunks, each of one compressed stream.

const (
	innoMark      = "rDlPtS"
	innoTable     = "rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a" // since 5.1.5
	innoName      = "Inno Setup Setup Data ("
	innoNameSize  = 64
	innoMaxBlock  = 32 << 20
	innoSearch    = 256 << 20 // bytes that are read, some of them again and again, to find the list of files
	innoCRCEach   = 4096      // bytes of a block behind each checksum
	innoMaxString = 64 << 10
	innoKept      = 16 << 20 // bytes of one piece that are kept because two files have it
	innoRC4Skip   = 1000     // bytes of the key stream that are thrown away
)

// innoPlaces are what the table says.
type innoPlaces struct{ header, data int64 }

// readInnoTable reads a table, which its checksum must guard.
func readInnoTable(b []byte) (innoPlaces, bool) {
	le := binary.LittleEndian
	at := 0 // of the place of the header
	switch {
	case len(b) < 44:
		return innoPlaces{}, false
	case string(b[:12]) == innoTable:
		if le.Uint32(b[12:]) != 1 {
			return innoPlaces{}, false
		}
		at = 32
	case string(b[6:12]) == "07\x87eVx": // since 4.1.6
		at = 28
	case string(b[6:12]) == "06\x87eVx": // since 4.0.10
		at = 32
	default:
		return innoPlaces{}, false
	}
	if crc32.ChecksumIEEE(b[:at+8]) != le.Uint32(b[at+8:]) {
		return innoPlaces{}, false
	}
	return innoPlaces{int64(le.Uint32(b[at:])), int64(le.Uint32(b[at+4:]))}, true
}

// innoReader is an installer that is read.
type innoReader struct {
	*container
	places  innoPlaces
	version int // 50309 is 5.3.9
	wide    bool
	pieces  []innoPiece
	chunk   *innoChunk // that is open
	opened  int
}

// innoPiece is a piece of data.
type innoPiece struct {
	first, last uint32 // slices
	chunk       int64  // where its chunk begins
	packed      int64  // bytes of the chunk
	at, size    int64  // in the chunk
	sum         []byte
	calls       bool // x86 calls were converted
	encrypted   bool
	compressed  bool
	names       []string
}

func readInno(c *container) error {
	z := &innoReader{container: c}
	if err := z.find(); err != nil {
		return err
	}
	at, err := z.setupName()
	if err != nil {
		return err
	}
	script, at, err := z.block(at)
	if err != nil {
		return fmt.Errorf("the script: %w", err)
	}
	locations, _, err := z.block(at)
	if err != nil {
		return fmt.Errorf("the list of data: %w", err)
	}
	if err := z.locate(locations); err != nil {
		return err
	}
	z.name(script)
	order := make([]*innoPiece, len(z.pieces))
	unnamed := 0
	for i := range z.pieces {
		p := &z.pieces[i]
		order[i] = p
		if len(p.names) == 0 {
			p.names = []string{"file " + strconv.Itoa(i+1)}
			unnamed++
		}
	}
	slices.SortStableFunc(order, func(a, b *innoPiece) int {
		if a.chunk != b.chunk {
			return int(min(max(a.chunk-b.chunk, -1), 1))
		}
		return int(min(max(a.at-b.at, -1), 1))
	})
	for _, p := range order {
		if err := z.members(p); err != nil {
			return err
		}
	}
	if unnamed > 0 {
		return fmt.Errorf("the names of %d files of %d were not found in the script of this version", unnamed, len(z.pieces))
	}
	return nil
}

// find looks for the table of places, which stands in a resource of the program.
func (z *innoReader) find() error {
	buf := make([]byte, findStep+findHead)
	for at := int64(0); at < z.size; at += findStep {
		n, err := z.r.ReadAt(buf[:min(int64(len(buf)), z.size-at)], at)
		for i := 0; i < min(n, findStep); {
			j := bytes.Index(buf[i:n], []byte(innoMark))
			if j < 0 || i+j >= findStep {
				break
			}
			var ok bool
			if z.places, ok = readInnoTable(buf[i+j : n]); ok {
				return nil
			}
			i += j + 1
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return errors.New("the table of places was not found, or is of a version that is not read")
}

// setupName reads which version wrote the script, and returns where the blocks begin.
func (z *innoReader) setupName() (int64, error) {
	b, err := z.readAt(z.places.header, innoNameSize)
	if err != nil {
		return 0, fmt.Errorf("the script: %w", err)
	}
	name, _, _ := bytes.Cut(b, []byte{0})
	rest, ok := strings.CutPrefix(string(name), innoName)
	number, rest, closed := strings.Cut(rest, ")")
	if !ok || !closed {
		return 0, errors.New("the script does not begin as it should")
	}
	parts := strings.Split(strings.TrimRight(number, "abcdefgh"), ".")
	for i := range 3 {
		part := 0
		if i < len(parts) {
			if part, err = strconv.Atoi(parts[i]); err != nil || part < 0 || part > 99 {
				return 0, fmt.Errorf("version %q is not known", number)
			}
		}
		z.version = z.version*100 + part
	}
	z.wide = strings.Contains(rest, "(u)") || z.version >= 60000
	if z.version < 40106 || z.version >= 60400 {
		return 0, fmt.Errorf("version %s is not read, only 4.1.6 to 6.3", number)
	}
	return z.places.header + innoNameSize, nil
}

// block reads a block and returns where the next one begins. Each is guarded by checksums, of its header and of every 4096 bytes.
func (z *innoReader) block(at int64) ([]byte, int64, error) {
	h, err := z.readAt(at, 9)
	if err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	if crc32.ChecksumIEEE(h[4:]) != le.Uint32(h) {
		return nil, 0, errChecksum
	}
	size := int64(le.Uint32(h[4:]))
	at += 9
	if size > z.size-at {
		return nil, 0, errCut
	}
	in := buffered(&innoBlock{r: z.section(at, size)})
	var r io.Reader = in
	if h[8] != 0 {
		var p [5]byte
		if _, err := io.ReadFull(in, p[:]); err != nil {
			return nil, 0, err
		}
		if r, err = newLZMAReader(in, p[0], le.Uint32(p[1:]), -1, z.container); err != nil {
			return nil, 0, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(r, innoMaxBlock+1))
	// The stream may have no end mark; it ends where its input does.
	if err != nil && len(b) == 0 {
		return nil, 0, err
	}
	if err != nil && !errors.Is(err, errCut) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, err
	}
	if len(b) > innoMaxBlock {
		return nil, 0, fmt.Errorf("it has more than %d bytes", innoMaxBlock)
	}
	return b, at + size, nil
}

// innoBlock gives a block's bytes without its checksums.
type innoBlock struct {
	r    io.Reader
	buf  [4 + innoCRCEach]byte
	left []byte
	err  error
}

func (b *innoBlock) Read(p []byte) (int, error) {
	for len(b.left) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		n, err := io.ReadFull(b.r, b.buf[:])
		switch {
		case err == io.EOF:
			b.err = io.EOF
		case err != nil && err != io.ErrUnexpectedEOF:
			b.err = err
		case n <= 4:
			b.err = errCut
		case crc32.ChecksumIEEE(b.buf[4:n]) != binary.LittleEndian.Uint32(b.buf[:]):
			b.err = errChecksum
		default:
			b.left = b.buf[4:n]
		}
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// checksum makes the hash that guards a piece; MD5 since 4.2.0, SHA-1 since 5.3.9.
func (z *innoReader) checksum() hash.Hash {
	switch {
	case z.version >= 60400:
		return sha256.New()
	case z.version >= 50309:
		return sha1.New()
	case z.version >= 40200:
		return md5.New()
	}
	return crc32.NewIEEE()
}

// locate reads the list of data.
func (z *innoReader) locate(b []byte) error {
	le := binary.LittleEndian
	sum := z.checksum().Size()
	// Flags that some version added: where each stands in the set.
	const calls = 4
	encrypted, compressed := 6, 7
	flags := 1
	if z.version >= 50113 {
		flags = 2
	}
	each := 36 + sum + 16 + flags
	if z.version >= 60300 {
		each++ // whether it is to be signed
	}
	if len(b)%each != 0 {
		return fmt.Errorf("the list of data has %d bytes, which is no multiple of %d", len(b), each)
	}
	for ; len(b) > 0; b = b[each:] {
		p := innoPiece{first: le.Uint32(b), last: le.Uint32(b[4:]), chunk: int64(le.Uint32(b[8:]))}
		at, size, packed := le.Uint64(b[12:]), le.Uint64(b[20:]), le.Uint64(b[28:])
		if max(at, size, packed) > 1<<50 {
			return errors.New("the list of data is damaged")
		}
		p.at, p.size, p.packed = int64(at), int64(size), int64(packed)
		p.sum = b[36 : 36+sum]
		f := b[36+sum+16]
		p.calls = f>>calls&1 != 0 && z.version >= 40108
		p.encrypted = f>>encrypted&1 != 0 && z.version >= 40200
		p.compressed = f>>compressed&1 != 0 || z.version < 40205
		z.pieces = append(z.pieces, p)
	}
	return nil
}

// name finds the list of files in the script and gives the pieces their names. Where it begins, and how many bytes of an entry are no text, depends on
// the version; so it is found by what it must be: entries of some strings of which the second is a path below a constant, {app} as a rule, then a place among the
// pieces in the middle of the fixed bytes. The list that names most pieces is taken.
func (z *innoReader) name(script []byte) {
	// Ten strings: source, destination, font, and since 5.2.5 the assembly's name; components, tasks, languages, check, before and after install.
	texts := 9
	if z.version >= 50205 {
		texts = 10
	}
	// Bytes that are no text: versions of Windows, place, attributes, size, permissions; then flags, whose number differs, and the type.
	const (
		versions = 20
		least    = versions + 4 + 4 + 8 + 2 + 2 + 1
		most     = least + 6
	)
	bracket := []byte("{")
	if z.wide {
		bracket = []byte("{\x00")
	}
	type entry struct {
		name  string
		piece uint32
	}
	left := innoSearch
	// parse reads the entry at p whose fixed bytes are n.
	parse := func(p, n int) (e entry, next int, ok bool) {
		external := false // a file that is not in the installer has a source, and no piece
		for i := range texts {
			text, after, ok := z.text(script, p)
			left -= 16 + after - p
			if !ok || i != 1 && i != 0 && len(text) > 4096 {
				return e, 0, false
			}
			if i == 1 {
				e.name = text
			}
			external = external || i == 0 && text != ""
			p = after
		}
		if p+n > len(script) {
			return e, 0, false
		}
		e.piece = binary.LittleEndian.Uint32(script[p+versions:])
		if e.piece != 1<<32-1 && (external || int64(e.piece) >= int64(len(z.pieces))) {
			return e, 0, false
		}
		// The last byte says what the entry is.
		return e, p + n, script[p+n-1] <= 3
	}
	var best []entry
	tries := 0
	for from := 0; tries < 4096 && left > 0; {
		i := bytes.Index(script[from:], bracket)
		if i < 0 {
			break
		}
		at := from + i
		from = at + len(bracket)
		// A string that begins here, behind an empty one.
		if at < 8 || binary.LittleEndian.Uint32(script[at-8:]) != 0 {
			continue
		}
		if _, _, ok := z.text(script, at-4); !ok {
			continue
		}
		tries++
		for n := least; n <= most; n++ {
			var all []entry
			end := 0
			for p := at - 8; left > 0; {
				e, next, ok := parse(p, n)
				if !ok {
					break
				}
				all = append(all, e)
				p, end = next, next
			}
			if len(all) > len(best) {
				best, from = all, max(from, end)
			}
		}
		if len(best) > 1 && len(best) >= len(z.pieces) {
			break
		}
	}
	for _, e := range best {
		if e.piece != 1<<32-1 && e.name != "" {
			p := &z.pieces[e.piece]
			p.names = append(p.names, e.name)
		}
	}
}

// text reads the string at a place: its length in bytes, then they.
func (z *innoReader) text(b []byte, at int) (string, int, bool) {
	if at < 0 || at+4 > len(b) {
		return "", at, false
	}
	n := int64(binary.LittleEndian.Uint32(b[at:]))
	at += 4
	if n > innoMaxString || n > int64(len(b)-at) || z.wide && n%2 != 0 {
		return "", at, false
	}
	s := b[at : at+int(n)]
	at += int(n)
	if !z.wide {
		return latin1Name(s), at, true
	}
	units := make([]uint16, len(s)/2)
	for i := range units {
		if units[i] = binary.LittleEndian.Uint16(s[2*i:]); units[i] < 9 {
			return "", at, false
		}
	}
	return string(utf16.Decode(units)), at, true
}

// members tells the files that are one piece of data.
func (z *innoReader) members(p *innoPiece) error {
	var kept []byte
	for i, name := range p.names {
		m := Member{Path: cleanPath(name), Size: p.size}
		if kept != nil {
			m.Reader = bytes.NewReader(kept)
		} else {
			m.Reader, m.Password, m.Err = z.piece(p)
			if m.Err != nil {
				m.Reader = nil
			} else if i+1 < len(p.names) && p.size <= min(innoKept, z.o.Memory/4) {
				if kept, m.Err = readSome(m.Reader, p.size, p.size); m.Err == nil {
					// The checksum is compared at the end.
					_, m.Err = io.ReadFull(m.Reader, make([]byte, 1))
					if m.Err == io.EOF {
						m.Err = nil
					}
				}
				if m.Reader = bytes.NewReader(kept); m.Err != nil {
					m.Reader, kept = nil, nil
				}
			}
		}
		if err := z.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// innoChunk is a chunk that is being read.
type innoChunk struct {
	begin    int64
	r        *bufio.Reader
	at       int64
	password string
	failed   error
}

func (c *innoChunk) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.at += int64(n)
	if err != nil {
		c.failed = err
	}
	return n, err
}

// piece opens a piece of data, whose chunk goes on where the piece before ended.
func (z *innoReader) piece(p *innoPiece) (io.Reader, string, error) {
	switch {
	case z.places.data == 0:
		return nil, "", fmt.Errorf("its data are in the installer's slice %d (setup-%d.bin), which is another file", p.first+1, p.first+1)
	case p.first != 0:
		return nil, "", fmt.Errorf("its data begin in slice %d, which is another file", p.first+1)
	}
	if z.chunk == nil || z.chunk.begin != p.chunk || z.chunk.at > p.at || z.chunk.failed != nil {
		if z.chunk != nil && z.chunk.begin == p.chunk {
			if z.opened++; z.opened > cabOpens {
				return nil, "", errors.New("the files lie in such disorder that their chunk would be decompressed too often")
			}
		}
		c, err := z.open(p)
		if err != nil {
			return nil, "", err
		}
		z.chunk = c
	}
	c := z.chunk
	if _, err := io.CopyN(io.Discard, c, p.at-c.at); err != nil {
		return nil, "", err
	}
	var r io.Reader = &exactReader{r: c, left: p.size}
	if p.calls {
		if z.version >= 50200 {
			r = &innoCalls{r: buffered(r), flip: z.version >= 50309}
		} else {
			r = &innoOldCalls{r: r, offset: 5}
		}
	}
	want := p.sum
	if len(want) == crc32.Size { // a number, the lowest byte first
		want = slices.Clone(want)
		slices.Reverse(want)
	}
	return &hashChecker{r: r, h: z.checksum(), want: want}, c.password, nil
}

// open opens the chunk of a piece: a mark, a salt when it is encrypted, and the stream.
func (z *innoReader) open(p *innoPiece) (*innoChunk, error) {
	at := z.places.data + p.chunk
	b, err := z.readAt(at, 4)
	if err != nil {
		return nil, err
	}
	if string(b) != "zlb\x1a" {
		return nil, errors.New("its chunk does not begin as it should")
	}
	if at += 4; p.encrypted {
		return z.unlock(p, at)
	}
	r, err := z.decompress(p, z.stored(at, p.packed))
	if err != nil {
		return nil, err
	}
	return &innoChunk{begin: p.chunk, r: buffered(r)}, nil
}

// decompress undoes the compression of a chunk. The script says which it is, in a place that differs by version; so do its first bytes.
func (z *innoReader) decompress(p *innoPiece, r io.Reader) (io.Reader, error) {
	if !p.compressed {
		return r, nil
	}
	in := buffered(r)
	b, err := in.Peek(6)
	if len(b) < 2 {
		if err == nil || err == io.EOF {
			err = errCut
		}
		return nil, err
	}
	switch {
	case b[0] == 'B' && b[1] == 'Z':
		return bzip2.NewReader(in), nil
	case b[0]&15 == 8 && binary.BigEndian.Uint16(b)%31 == 0:
		return zlib.NewReader(in)
	case b[0] <= 40 && (b[1] <= 2 || b[1] >= 0x80):
		in.Discard(1)
		dictionary, err := lzma2Dictionary(b[0])
		if err != nil {
			return nil, err
		}
		return newLZMA2Reader(in, dictionary, z.container), nil
	case len(b) == 6 && b[0] < 225 && b[5] == 0:
		dictionary := binary.LittleEndian.Uint32(b[1:])
		properties := b[0]
		in.Discard(5)
		return newLZMAReader(in, properties, dictionary, -1, z.container)
	}
	return nil, errors.New("the compression of its chunk is not known")
}

// unlock tries passwords on an encrypted chunk: until 6.4, RC4 with the hash of salt and password as its key.
func (z *innoReader) unlock(p *innoPiece, at int64) (*innoChunk, error) {
	salt, err := z.readAt(at, 8)
	if err != nil {
		return nil, err
	}
	passwords := z.o.Passwords
	if z.password != "" {
		passwords = append([]string{z.password}, passwords...)
	}
	for _, password := range passwords {
		key := bytes.Clone(salt)
		if z.wide {
			for _, u := range utf16.Encode([]rune(password)) {
				key = binary.LittleEndian.AppendUint16(key, u)
			}
		} else {
			key = append(key, password...)
		}
		h := z.checksum()
		if z.version < 40200 {
			break
		}
		h.Write(key)
		stream := func() (io.Reader, error) {
			cipher, err := rc4.NewCipher(h.Sum(nil))
			if err != nil {
				return nil, err
			}
			skip := make([]byte, innoRC4Skip)
			cipher.XORKeyStream(skip, skip)
			return z.decompress(p, &rc4Reader{z.stored(at+8, p.packed), cipher})
		}
		// A wrong password does not unpack to what the first piece's checksum says.
		r, err := stream()
		if err != nil {
			continue
		}
		trial := &exactReader{r: r, left: min(p.at+p.size, 1<<20)}
		if _, err := io.Copy(io.Discard, trial); err != nil {
			continue
		}
		if r, err = stream(); err != nil {
			return nil, err
		}
		z.password = password
		return &innoChunk{begin: p.chunk, r: buffered(r), password: password}, nil
	}
	return nil, errPassword
}

type rc4Reader struct {
	r      io.Reader
	cipher *rc4.Cipher
}

func (r *rc4Reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.cipher.XORKeyStream(p[:n], p[:n])
	return n, err
}

// innoCalls undoes how versions since 5.2.0 convert the targets of x86 calls and jumps: absolute, of 24 bits, in blocks of 64 KiB.
type innoCalls struct {
	r      *bufio.Reader
	flip   bool // the highest byte is turned over when the address is negative
	offset uint32
	left   []byte
	buf    [4]byte
	err    error
}

func (c *innoCalls) Read(p []byte) (int, error) {
	n := copy(p, c.left)
	c.left = c.left[n:]
	for n < len(p) {
		if c.err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, c.err
		}
		b, err := c.r.ReadByte()
		if err != nil {
			c.err = err
			continue
		}
		p[n] = b
		n++
		c.offset++
		if b&0xfe != 0xe8 || 1<<16-(c.offset-1)&(1<<16-1) < 5 {
			continue
		}
		k, err := io.ReadFull(c.r, c.buf[:])
		c.offset += uint32(k)
		if a := &c.buf; err == nil && (a[3] == 0 || a[3] == 0xff) {
			to := uint32(a[0]) | uint32(a[1])<<8 | uint32(a[2])<<16
			to -= c.offset & 0xffffff
			a[0], a[1], a[2] = byte(to), byte(to>>8), byte(to>>16)
			if c.flip && to&0x800000 != 0 {
				a[3] = ^a[3]
			}
		}
		if err != nil {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			c.err = err
		}
		moved := copy(p[n:], c.buf[:k])
		n += moved
		c.left = c.buf[moved:k]
	}
	return n, nil
}

// innoOldCalls undoes how versions before 5.2.0 do it: absolute, of 32 bits.
type innoOldCalls struct {
	r      io.Reader
	offset uint32
	addr   uint32
	left   int // bytes of an address to come
}

func (c *innoOldCalls) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		switch {
		case c.left > 0:
			c.addr += uint32(b)
			p[i] = byte(c.addr)
			c.addr >>= 8
			c.left--
		case b&0xfe == 0xe8:
			c.addr, c.left = -c.offset, 4
		}
		c.offset++
	}
	return n, err
}
