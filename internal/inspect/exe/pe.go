package exe

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"spoor/internal/intel"
)

// Bounds of PE. The first is the loader's own.
const (
	maxPESections = 96
	maxLibraries  = 1024
	maxImports    = 1 << 16
)

type peSection struct {
	name      string
	va, vsize uint32
	off, size int64 // raw bytes, cut to the file
	claimed   uint32
	flags     uint32
	entropy   float64
}

// pe is an image that is being read.
type pe struct {
	in       *input
	le       binary.ByteOrder
	head     int64 // of "PE\0\0"
	plus     bool
	opt      []byte
	dirs     int64 // offset of the data directories in the file
	ndirs    uint32
	machine  uint16
	flags    uint16
	stamp    uint32
	entry    uint32
	base     uint64
	headers  uint32
	sections []peSection
	count    int // sections that the header claims

	imports   int
	thunked   int // entries of import tables that were read, counted or not
	libraries []string
	resources []resource
	overlay   int64 // where it begins
	end       int64 // where it ends: the certificate table or the file's end
}

var le = binary.LittleEndian

func readPE(in *input, t *teller, patterns *Patterns) error {
	p := &pe{in: in, le: le}
	if err := p.header(); err != nil {
		return err
	}
	p.measure()
	imphash := p.readImports()
	t.fuzzy(intel.Imphash, imphash)
	t.fuzzy(intel.RichHash, p.richHash())
	t.fuzzy(intel.Authentihash, p.authentihash())
	p.readResources()
	t.fuzzy(intel.IconHash, p.iconHash())
	p.findOverlay()

	var all []section
	for _, s := range p.sections {
		all = append(all, section{s.name, int64(s.claimed), s.entropy})
	}
	t.sections(all, p.count)
	p.compiled(t)
	p.version(t)
	p.runtimes(t)
	t.packers(p.packers(patterns))
	for _, r := range p.resources {
		if r.embed {
			t.embed(in, "resource "+r.path(), r.off, r.size)
		}
	}
	t.overlay(in, p.overlay, p.end)
	return nil
}

func (p *pe) header() error {
	b := p.in.full(0, 64)
	if b == nil {
		return errCut
	}
	p.head = int64(le.Uint32(b[0x3C:]))
	b = p.in.full(p.head, 24)
	if b == nil || string(b[:4]) != "PE\x00\x00" {
		return errCut
	}
	p.machine, p.count, p.stamp, p.flags = le.Uint16(b[4:]), int(le.Uint16(b[6:])), le.Uint32(b[8:]), le.Uint16(b[22:])
	n := int64(le.Uint16(b[20:]))
	p.opt = p.in.at(p.head+24, max(n, 240))
	if len(p.opt) < 96 {
		return errCut
	}
	p.opt = bytes.Clone(p.opt)
	p.entry, p.headers = le.Uint32(p.opt[16:]), le.Uint32(p.opt[60:])
	p.base, p.dirs, p.ndirs = uint64(le.Uint32(p.opt[28:])), 96, le.Uint32(p.opt[92:])
	if p.plus = le.Uint16(p.opt) == 0x20B; p.plus {
		if len(p.opt) < 112 {
			return errCut
		}
		p.base, p.dirs, p.ndirs = le.Uint64(p.opt[24:]), 112, le.Uint32(p.opt[108:])
	}
	p.dirs += p.head + 24
	for i := range min(p.count, maxPESections) {
		b := p.in.full(p.head+24+n+40*int64(i), 40)
		if b == nil {
			return fmt.Errorf("section %d: %w", i+1, errCut)
		}
		s := peSection{name: strings.TrimRight(string(b[:8]), "\x00"), vsize: le.Uint32(b[8:]), va: le.Uint32(b[12:]), claimed: le.Uint32(b[16:]), off: int64(le.Uint32(b[20:])), flags: le.Uint32(b[36:])}
		if s.size = int64(s.claimed); s.off == 0 || s.off >= p.in.size {
			s.size = 0
		}
		if le.Uint32(p.opt[36:]) >= 512 { // the file's alignment; of smaller ones, which firmware knows, offsets count as they are
			s.off &^= 511 // as the loader does
		}
		s.size = max(0, min(s.size, p.in.size-s.off))
		p.sections = append(p.sections, s)
	}
	return nil
}

// dir returns a data directory.
func (p *pe) dir(n int64) (rva, size uint32) {
	if uint32(n) >= p.ndirs {
		return 0, 0
	}
	b := p.in.full(p.dirs+8*n, 8)
	if b == nil {
		return 0, 0
	}
	return le.Uint32(b), le.Uint32(b[4:])
}

// offset turns an RVA into a place in the file, and how many bytes follow it there; -1 when it has none.
func (p *pe) offset(rva uint32) (int64, int64) {
	for i := range p.sections {
		s := &p.sections[i]
		if d := int64(rva) - int64(s.va); d >= 0 && d < max(int64(s.vsize), int64(s.claimed)) {
			if d < s.size {
				return s.off + d, s.size - d
			}
			if s.size > 0 || s.vsize > 0 {
				return -1, 0
			}
		}
	}
	lowest := uint32(1<<32 - 1)
	for i := range p.sections {
		lowest = min(lowest, p.sections[i].va)
	}
	if (rva < p.headers || rva < lowest) && int64(rva) < p.in.size {
		return int64(rva), min(int64(max(p.headers, lowest)-rva), p.in.size-int64(rva))
	}
	return -1, 0
}

// rva returns n bytes at an RVA, nil unless all are there.
func (p *pe) rva(rva uint32, n int64) []byte {
	off, left := p.offset(rva)
	if off < 0 || left < n {
		return nil
	}
	return p.in.full(off, n)
}

func (p *pe) textAt(rva uint32, most int64) (string, bool) {
	off, left := p.offset(rva)
	if off < 0 {
		return "", false
	}
	return p.in.text(off, min(left, most)), true
}

// measure computes the entropy of each section. Sections may overlap, so the bytes read are bounded by the file's size and a little.
func (p *pe) measure() {
	budget := p.in.size + 16<<20
	for i := range p.sections {
		s := &p.sections[i]
		if s.size > budget {
			s.entropy = -1
			continue
		}
		budget -= s.size
		s.entropy = p.in.entropy(s.off, s.size)
	}
}

const fileNameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~+,.;=[]\\/"
const functionChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._?@$()<>"

func only(s, chars string) bool {
	for i := range len(s) {
		if strings.IndexByte(chars, s[i]) < 0 {
			return false
		}
	}
	return true
}

// readImports returns the imphash: MD5 of "library.function" of every import in order, lower case. Which entries count is as the widely
// used pefile does it, for an imphash is worth only what it equals elsewhere.
func (p *pe) readImports() string {
	rva, _ := p.dir(1)
	if rva == 0 {
		return ""
	}
	h := md5.New()
	first, bad := true, 0
	for range maxLibraries {
		d := p.rva(rva, 20)
		if d == nil || string(d) == string(make([]byte, 20)) {
			break
		}
		rva += 20
		lookup, name, addresses := le.Uint32(d), le.Uint32(d[12:]), le.Uint32(d[16:])
		entries := p.thunks(lookup)
		if len(entries) == 0 {
			entries = p.thunks(addresses)
		}
		var names []string
		for _, e := range entries {
			if n, ok := p.importName(e); ok {
				names = append(names, n)
			}
		}
		if bad > 5 {
			break
		}
		if len(names) == 0 {
			bad++
			continue
		}
		library, ok := p.textAt(name, 512)
		if !ok || !only(library, fileNameChars) {
			library = "*invalid*"
		}
		if library == "" {
			continue
		}
		library = strings.ToLower(library)
		p.libraries = append(p.libraries, library)
		p.imports += len(names)
		table := ordinalTables()[library]
		short := library
		if i := strings.LastIndexByte(short, '.'); i >= 0 && (short[i+1:] == "dll" || short[i+1:] == "ocx" || short[i+1:] == "sys") {
			short = short[:i]
		}
		for _, n := range names {
			if n[0] == '#' {
				n = p.ordinal(n[1:], table)
			}
			if !first {
				io.WriteString(h, ",")
			}
			first = false
			io.WriteString(h, short+"."+strings.ToLower(n))
		}
	}
	if first {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (p *pe) ordinal(digits string, table map[uint16]string) string {
	n := uint16(0)
	fmt.Sscan(digits, &n)
	if name := table[n]; name != "" {
		return name
	}
	return "ord" + digits
}

// thunks returns the entries of one library's table.
func (p *pe) thunks(rva uint32) []uint64 {
	if rva == 0 {
		return nil
	}
	var all []uint64
	width := int64(4)
	if p.plus {
		width = 8
	}
	start := rva
	repeated := 0
	seen := map[uint64]struct{}{}
	lowest, highest := uint64(1<<64-1), uint64(0)
	for ; p.thunked < maxImports; p.thunked++ {
		if repeated >= 15 || highest > lowest && highest-lowest > 128<<20 {
			return nil
		}
		b := p.rva(rva, width)
		if b == nil {
			return nil
		}
		v := uint64(le.Uint32(b))
		ordinal := v&(1<<31) != 0
		if p.plus {
			v = le.Uint64(b)
			ordinal = v&(1<<63) != 0
		}
		switch {
		case v >= uint64(start) && v <= uint64(rva): // it points into the table itself
			return all
		case v == 0:
			return all
		case ordinal && v&0x7FFFFFFF > 0xFFFF:
			return nil
		case !ordinal:
			if _, again := seen[v]; again {
				repeated++
			}
			seen[v] = struct{}{}
			lowest, highest = min(lowest, v), max(highest, v)
		}
		all = append(all, v)
		rva += uint32(width)
	}
	return all
}

// importName returns the name of an entry, or "#" and the number of an ordinal.
func (p *pe) importName(e uint64) (string, bool) {
	if !p.plus && e&(1<<31) != 0 || p.plus && e&(1<<63) != 0 {
		if e&0xFFFF == 0 {
			return "", false
		}
		return fmt.Sprint("#", e&0xFFFF), true
	}
	if e > 1<<32-3 {
		return "", false
	}
	name, ok := p.textAt(uint32(e)+2, 512)
	return name, ok && name != "" && only(name, functionChars)
}

// richHash returns the MD5 of the Rich header in the clear, from "DanS" up to "Rich".
func (p *pe) richHash() string {
	if p.head < 0x80 {
		return ""
	}
	b := p.in.at(0x80, min(p.head+24-0x80, 64<<10))
	end := bytes.Index(b, []byte("Rich"))
	if end < 16 || end%4 != 0 || end+8 > len(b) {
		return ""
	}
	key := b[end+4 : end+8]
	sum := le.Uint32(b[4:])
	if le.Uint32(b)^sum != 0x536E6144 || le.Uint32(b[8:]) != sum || le.Uint32(b[12:]) != sum {
		return ""
	}
	clear := make([]byte, end)
	for i := range clear {
		clear[i] = b[i] ^ key[i%4]
	}
	h := md5.Sum(clear)
	return hex.EncodeToString(h[:])
}

// certificates returns where the certificate table lies; zero when there is none within the file.
func (p *pe) certificates() (off, size int64) {
	o, n := p.dir(4)
	off, size = int64(o), int64(n)
	if off == 0 || size == 0 || off >= p.in.size || off < p.head {
		return 0, 0
	}
	return off, min(size, p.in.size-off)
}

// authentihash returns the SHA-256 of what an Authenticode signature covers: the file without its checksum, the entry of the certificate
// table, and that table. No padding is added, so of an unsigned file whose size is no multiple of 8 it differs from that of the signed one.
func (p *pe) authentihash() string {
	h := sha256.New()
	at := int64(0)
	upTo := func(to int64) { copyRange(h, p.in, at, to) }
	sum := p.head + 24 + 64
	upTo(sum)
	at = sum + 4
	if p.ndirs > 4 {
		upTo(p.dirs + 32)
		at = p.dirs + 40
	}
	if off, n := p.certificates(); n > 0 && off >= at {
		upTo(off)
		at = off + n
	}
	upTo(p.in.size)
	return hex.EncodeToString(h.Sum(nil))
}

func copyRange(h hash.Hash, in *input, from, to int64) {
	if to = min(to, in.size); from < to {
		io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(in.r, from, to-from)}, make([]byte, min(to-from, 256<<10)))
	}
}

// findOverlay sets where the overlay begins and ends: behind the headers, sections and symbols, before the certificates.
func (p *pe) findOverlay() {
	p.overlay, p.end = min(int64(p.headers), p.in.size), p.in.size
	for i := range p.sections {
		if s := &p.sections[i]; s.size > 0 {
			p.overlay = max(p.overlay, s.off+s.size)
		}
	}
	if b := p.in.full(p.head+12, 8); b != nil {
		// The symbols of the linker of GNU follow the sections: 18 bytes each, then names with their length.
		if off, n := int64(le.Uint32(b)), int64(le.Uint32(b[4:])); off >= p.overlay && off-p.overlay < 4096 && n > 0 {
			names := off + 18*n
			if l := p.in.full(names, 4); l != nil && names+int64(le.Uint32(l)) <= p.in.size {
				p.overlay = names + int64(le.Uint32(l))
			}
		}
	}
	if off, n := p.certificates(); n > 0 && off >= p.overlay {
		if off+n < p.in.size && p.overlay+16 > off {
			p.overlay = off + n // it lies behind the signature instead
		} else {
			p.end = off
		}
	}
}

// compiled tells the time of the header, unless the debug directory says that it is a hash.
func (p *pe) compiled(t *teller) {
	if p.stamp == 0 || p.stamp == 1<<32-1 {
		return
	}
	rva, size := p.dir(6)
	for i := uint32(0); i < min(size/28, 32); i++ {
		if b := p.rva(rva+28*i, 28); b != nil && le.Uint32(b[12:]) == 16 {
			return
		}
	}
	at := time.Unix(int64(p.stamp), 0).UTC()
	if at.Year() < 1985 {
		return
	}
	t.attribute(intel.Compiled, at.Format(time.RFC3339))
}
