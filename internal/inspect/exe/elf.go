package exe

import (
	"encoding/binary"
	"regexp"
	"slices"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/similar/digest"
)

// Bounds of ELF.
const (
	maxELFSections = 4096
	maxSegments    = 512
	maxSymbols     = 1 << 18
	maxSymbolText  = 16 << 20
)

type elfSection struct {
	name      string
	kind      uint32
	flags     uint64
	addr      uint64
	off, size int64 // cut to the file
	link      uint32
	each      int64
	label     uint32
}

type elfSegment struct {
	kind, flags uint32
	vaddr       uint64
	off, size   int64 // cut to the file
}

type elf struct {
	in       *input
	o        binary.ByteOrder
	wide     bool
	kind     uint16
	machine  uint16
	entry    uint64
	sections []elfSection
	segments []elfSegment
	count    int
	end      int64 // of what the headers account for
}

func readELF(in *input, t *teller) error {
	e := &elf{in: in, o: le}
	b := in.full(0, 52)
	if b == nil {
		return errCut
	}
	e.wide = b[4] == 2
	if b[5] == 2 {
		e.o = binary.BigEndian
	}
	e.kind, e.machine, e.entry = e.o.Uint16(b[16:]), e.o.Uint16(b[18:]), uint64(e.o.Uint32(b[24:]))
	var phoff, shoff int64
	var phsize, phnum, shsize, shnum, names int64
	if e.wide {
		if b = in.full(0, 64); b == nil {
			return errCut
		}
		e.entry = e.o.Uint64(b[24:])
		phoff, shoff = int64(e.o.Uint64(b[32:])), int64(e.o.Uint64(b[40:]))
		b = b[54:]
	} else {
		phoff, shoff = int64(e.o.Uint32(b[28:])), int64(e.o.Uint32(b[32:]))
		b = b[42:]
	}
	phsize, phnum, shsize, shnum, names = int64(e.o.Uint16(b)), int64(e.o.Uint16(b[2:])), int64(e.o.Uint16(b[4:])), int64(e.o.Uint16(b[6:])), int64(e.o.Uint16(b[8:]))
	// cut bounds a run to the file.
	cut := func(off, n uint64) (int64, int64) {
		if off >= uint64(in.size) {
			return in.size, 0
		}
		return int64(off), int64(min(n, uint64(in.size)-off))
	}
	for i := range min(phnum, maxSegments) {
		var s elfSegment
		if e.wide {
			b := in.full(phoff+i*phsize, 56)
			if b == nil || phsize < 56 {
				break
			}
			s = elfSegment{kind: e.o.Uint32(b), flags: e.o.Uint32(b[4:]), vaddr: e.o.Uint64(b[16:])}
			s.off, s.size = cut(e.o.Uint64(b[8:]), e.o.Uint64(b[32:]))
		} else {
			b := in.full(phoff+i*phsize, 32)
			if b == nil || phsize < 32 {
				break
			}
			s = elfSegment{kind: e.o.Uint32(b), flags: e.o.Uint32(b[24:]), vaddr: uint64(e.o.Uint32(b[8:]))}
			s.off, s.size = cut(uint64(e.o.Uint32(b[4:])), uint64(e.o.Uint32(b[16:])))
		}
		e.segments = append(e.segments, s)
		e.end = max(e.end, s.off+s.size)
	}
	if phoff > 0 && phoff < in.size {
		e.end = max(e.end, min(in.size, phoff+phsize*phnum))
	}
	var err error
	if shoff > 0 && shnum > 0 {
		if shoff >= in.size {
			err = errCut
		} else {
			e.end = max(e.end, min(in.size, shoff+shsize*shnum))
		}
	}
	e.count = int(shnum)
	for i := range min(shnum, maxELFSections) {
		var s elfSection
		var off, n uint64
		if e.wide {
			b := in.full(shoff+i*shsize, 64)
			if b == nil || shsize < 64 {
				break
			}
			s = elfSection{label: e.o.Uint32(b), kind: e.o.Uint32(b[4:]), flags: e.o.Uint64(b[8:]), addr: e.o.Uint64(b[16:]), link: e.o.Uint32(b[40:])}
			off, n = e.o.Uint64(b[24:]), e.o.Uint64(b[32:])
			s.each = int64(min(e.o.Uint64(b[56:]), 1<<20))
		} else {
			b := in.full(shoff+i*shsize, 40)
			if b == nil || shsize < 40 {
				break
			}
			s = elfSection{label: e.o.Uint32(b), kind: e.o.Uint32(b[4:]), flags: uint64(e.o.Uint32(b[8:])), addr: uint64(e.o.Uint32(b[12:])), link: e.o.Uint32(b[24:])}
			off, n = uint64(e.o.Uint32(b[16:])), uint64(e.o.Uint32(b[20:]))
			s.each = int64(min(e.o.Uint32(b[36:]), 1<<20))
		}
		if s.kind != 8 { // a section of zeros has no bytes
			s.off, s.size = cut(off, n)
			e.end = max(e.end, s.off+s.size)
		}
		e.sections = append(e.sections, s)
	}
	if names < int64(len(e.sections)) {
		for i := range e.sections {
			e.sections[i].name = e.in.text(e.sections[names].off+int64(e.sections[i].label), 64)
		}
	}

	budget := in.size + 16<<20 // bytes read for entropies
	var all []section
	for i := range e.sections {
		s := &e.sections[i]
		if s.kind == 0 {
			continue
		}
		h := -1.0
		if s.flags&2 != 0 && s.size <= budget && len(all) < maxSections { // only what is loaded: the rest is symbols and notes
			budget -= s.size
			h = in.entropy(s.off, s.size)
		}
		all = append(all, section{s.name, s.size, h})
	}
	t.sections(all, len(all))
	t.fuzzy(intel.Telfhash, e.telfhash())
	e.runtimes(t)
	t.packers(elfPackers(e))
	t.overlay(in, e.end, in.size)
	return err
}

func (e *elf) named(name string) *elfSection {
	for i := range e.sections {
		if e.sections[i].name == name {
			return &e.sections[i]
		}
	}
	return nil
}

// Names that a telfhash leaves out, for they differ by compiler and processor and not by program.
var (
	telfhashSkip  = regexp.MustCompile(`^[_.]|64$|^str|^mem`)
	telfhashNames = []string{"main", "abort", "cachectl", "cacheflush", "puts", "atol", "malloc_trim"}
)

// telfhash returns the TLSH of the sorted names of global functions, as Trend Micro defined it. A program without a symbol table has none: its
// call targets, which the definition takes instead, would need a disassembler.
func (e *elf) telfhash() string {
	var table *elfSection
	for i := range e.sections {
		if s := &e.sections[i]; s.size > 0 && (s.kind == 11 || s.kind == 2) {
			table = s
			break
		}
	}
	if table == nil || int64(table.link) >= int64(len(e.sections)) {
		return ""
	}
	text := e.sections[table.link]
	step := int64(16)
	if e.wide {
		step = 24
	}
	if table.each > step {
		step = table.each
	}
	var names []string
	total := 0
	for i := int64(0); (i+1)*step <= table.size && i < maxSymbols && total < maxSymbolText; i++ {
		b := e.in.full(table.off+i*step, 16)
		if b == nil {
			break
		}
		info, other := b[12], b[13]
		if e.wide {
			info, other = b[4], b[5]
		}
		if info&15 != 2 || info>>4 != 1 || other&3 != 0 { // functions, global, of default visibility
			continue
		}
		at := int64(e.o.Uint32(b))
		if at <= 0 || at >= text.size {
			continue
		}
		name := e.in.text(text.off+at, min(text.size-at, 4096))
		if name == "" || telfhashSkip.MatchString(name) || slices.Contains(telfhashNames, name) {
			continue
		}
		total += len(name) + 1
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	return tlshOf([]byte(strings.Join(names, ",")))
}

// tlshOf returns the TLSH of b as telfhash writes it; "" where TLSH gives none, as for fewer than 50 bytes.
func tlshOf(b []byte) string {
	w := digest.NewTLSHWriter()
	w.Write(b)
	h, ok := w.Sum()
	if !ok {
		return ""
	}
	return strings.ToLower(h.String())
}

// memory returns up to n bytes as they are loaded at an address.
func (e *elf) memory(va uint64, n int64) []byte {
	for _, s := range e.segments {
		if s.kind == 1 && va >= s.vaddr && va-s.vaddr < uint64(s.size) {
			d := int64(va - s.vaddr)
			return e.in.at(s.off+d, min(n, s.size-d))
		}
	}
	return nil
}

func (e *elf) runtimes(t *teller) {
	read := e.memory
	build := ""
	for _, name := range []string{".go.buildinfo", ".data", "__go_buildinfo"} {
		if s := e.named(name); s != nil {
			if build = goInfo(e.in.at(s.off, min(s.size, 64<<10)), read); build != "" {
				break
			}
		}
	}
	if build == "" && len(e.sections) == 0 {
		for _, s := range e.segments {
			if s.kind == 1 && s.flags&2 != 0 {
				if build = goInfo(e.in.at(s.off, min(s.size, 64<<10)), read); build != "" {
					break
				}
			}
		}
	}
	if build == "" {
		for _, name := range []string{".comment", ".rodata"} {
			if s := e.named(name); s != nil && build == "" {
				build = rust(e.in.at(s.off, min(s.size, maxScan)))
			}
		}
	}
	if build == "" && (e.named(".gopclntab") != nil || e.named(".note.go.buildid") != nil) {
		build = "Go"
	}
	t.attribute(intel.Runtime, build)
	for _, s := range e.segments {
		if s.kind == 3 {
			if path := clean(e.in.text(s.off, min(s.size, 256))); path != "" {
				t.attribute(intel.Runtime, "interpreter "+path)
			}
			break
		}
	}
	// The libraries that a dynamic object needs.
	dynamic, strs := e.dynamic()
	told := map[string]bool{}
	for i, n := 0, 0; i < len(dynamic) && n < 256; i++ {
		if dynamic[i][0] == 1 && dynamic[i][1] < uint64(strs.size) {
			n++
			if r := library(e.in.text(strs.off+int64(dynamic[i][1]), 128)); r != "" && !told[r] && len(told) < 4 {
				told[r] = true
				t.attribute(intel.Runtime, r)
			}
		}
	}
}

// dynamic returns the entries of the dynamic section and where their names are.
func (e *elf) dynamic() ([][2]uint64, elfSection) {
	for i := range e.sections {
		s := &e.sections[i]
		if s.kind != 6 || int64(s.link) >= int64(len(e.sections)) {
			continue
		}
		var all [][2]uint64
		step := int64(8)
		if e.wide {
			step = 16
		}
		for b := e.in.at(s.off, min(s.size, 64<<10)); int64(len(b)) >= step; b = b[step:] {
			if e.wide {
				all = append(all, [2]uint64{e.o.Uint64(b), e.o.Uint64(b[8:])})
			} else {
				all = append(all, [2]uint64{uint64(e.o.Uint32(b)), uint64(e.o.Uint32(b[4:]))})
			}
		}
		return all, e.sections[s.link]
	}
	return nil, elfSection{}
}
