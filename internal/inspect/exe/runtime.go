package exe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"regexp"
	"strings"

	"spoor/internal/intel"
)

// maxScan bounds how much of a section is searched for a mark.
const maxScan = 4 << 20

var (
	pythonLibrary = regexp.MustCompile(`^(?:lib)?python(\d)\.?(\d+)?`)
	rustMark      = regexp.MustCompile(`rustc version (\d+\.\d+\.\d+)|/rustc/(?:([0-9a-f]{40})|(\d+\.\d+\.\d+))[/\\]`)
)

// library tells a runtime by a library that only its programs need.
func library(name string) string {
	name = strings.ToLower(name)
	if m := pythonLibrary.FindStringSubmatch(name); m != nil {
		if m[2] != "" {
			return "Python " + m[1] + "." + m[2]
		}
		return "Python " + m[1]
	}
	switch {
	case name == "msvbvm60.dll":
		return "Visual Basic 6"
	case name == "msvbvm50.dll":
		return "Visual Basic 5"
	case name == "cygwin1.dll":
		return "Cygwin"
	case name == "msys-2.0.dll":
		return "MSYS2"
	case strings.HasPrefix(name, "libgfortran"):
		return "Fortran"
	case strings.HasPrefix(name, "jvm.dll") || strings.HasPrefix(name, "libjvm.so"):
		return "Java"
	}
	return ""
}

// runtimes tells what a PE needs or was built with.
func (p *pe) runtimes(t *teller) {
	if v := p.dotnet(); v != "" {
		t.attribute(intel.Runtime, v)
	}
	if g := p.goBuild(); g != "" {
		t.attribute(intel.Runtime, g)
	} else {
		for i := range p.sections {
			if s := &p.sections[i]; s.name == ".rdata" {
				if r := rust(p.in.at(s.off, min(s.size, maxScan))); r != "" {
					t.attribute(intel.Runtime, r)
				}
				break
			}
		}
	}
	told := map[string]bool{}
	for _, l := range p.libraries {
		if r := library(l); r != "" && !told[r] && len(told) < 4 {
			told[r] = true
			t.attribute(intel.Runtime, r)
		}
	}
	for i := range p.resources {
		if r := &p.resources[i]; r.kind == "10" && (r.name == "DVCLAL" || r.name == "PACKAGEINFO") {
			t.attribute(intel.Runtime, "Delphi or C++Builder")
			break
		}
	}
}

// dotnet returns what the metadata of the common language runtime says of the module: the version of the runtime, the module's name and its
// MVID, which a compiler makes anew for each build.
func (p *pe) dotnet() string {
	rva, size := p.dir(14)
	if rva == 0 || size == 0 {
		return ""
	}
	h := p.rva(rva, 16)
	if h == nil {
		return ""
	}
	root := le.Uint32(h[8:])
	m := p.rva(root, 16)
	if m == nil || string(m[:4]) != "BSJB" {
		return ".NET"
	}
	n := min(le.Uint32(m[12:]), 255)
	v, _ := p.textAt(root+16, int64(n))
	text := ".NET " + v
	if name, mvid := p.module(root, root+16+n); mvid != "" {
		text += ", module " + name + ", MVID " + mvid
	}
	return text
}

// module reads the one row of the table Module; at is where the number of streams stands, behind flags.
func (p *pe) module(root, at uint32) (name, mvid string) {
	b := p.rva(at, 4)
	if b == nil {
		return "", ""
	}
	streams := map[string]uint32{} // where each begins
	at += 4
	for range min(le.Uint16(b[2:]), 16) {
		h := p.rva(at, 12) // the shortest name has four bytes
		if h == nil {
			return "", ""
		}
		label, ok := p.textAt(at+8, 32)
		if !ok {
			return "", ""
		}
		streams[label] = root + le.Uint32(h)
		at += 8 + uint32(len(label)+4)&^3
	}
	tables, ok := streams["#~"]
	if !ok {
		tables, ok = streams["#-"]
	}
	b = p.rva(tables, 24)
	if !ok || b == nil || le.Uint64(b[8:])&1 == 0 {
		return "", ""
	}
	heaps := b[6]
	at = tables + 24 + 4*uint32(bits.OnesCount64(le.Uint64(b[8:])))
	if heaps&0x40 != 0 {
		at += 4
	}
	b = p.rva(at+2, 8)
	if b == nil {
		return "", ""
	}
	index := func(wide bool) uint32 {
		if wide {
			v := le.Uint32(b)
			b = b[4:]
			return v
		}
		v := le.Uint16(b)
		b = b[2:]
		return uint32(v)
	}
	nameAt, guid := index(heaps&1 != 0), index(heaps&2 != 0)
	if name, ok = p.textAt(streams["#Strings"]+nameAt, 512); !ok || guid == 0 || guid > 1<<24 {
		return "", ""
	}
	g := p.rva(streams["#GUID"]+16*(guid-1), 16)
	if g == nil {
		return "", ""
	}
	return name, fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

func rust(b []byte) string {
	i := bytes.Index(b, []byte("/rustc/"))
	if j := bytes.Index(b, []byte("rustc version ")); i < 0 || j >= 0 && j < i {
		i = j
	}
	if i < 0 {
		return ""
	}
	m := rustMark.FindSubmatch(b[i:min(len(b), i+128)])
	switch {
	case m == nil:
		return ""
	case len(m[1]) > 0:
		return "Rust " + string(m[1])
	case len(m[3]) > 0:
		return "Rust " + string(m[3])
	}
	return "Rust, rustc commit " + string(m[2])
}

// goMark begins what the linker of Go leaves, on a multiple of 16.
const goMark = "\xff Go buildinf:"

func (p *pe) goBuild() string {
	// Go puts it at the beginning of its writable data.
	for i := range p.sections {
		s := &p.sections[i]
		if s.flags&0x80000040 != 0x80000040 && s.name != ".data" {
			continue
		}
		read := func(va uint64, n int64) []byte {
			if va < p.base || va-p.base > 1<<32-1 {
				return nil
			}
			return p.rva(uint32(va-p.base), n)
		}
		if v := goInfo(p.in.at(s.off, min(s.size, 64<<10)), read); v != "" {
			return v
		}
	}
	// Without that, a program of Go still begins its code with the build's name.
	for i := range p.sections {
		if s := &p.sections[i]; s.name == ".text" && bytes.Contains(p.in.at(s.off, min(s.size, 256)), []byte("Go build ID: ")) {
			return "Go"
		}
	}
	// A build without any of these still has its table of functions. Only Go's linker gives a section of symbols this name.
	if p.has(".symtab") {
		for i := range p.sections {
			if s := &p.sections[i]; s.name == ".rdata" && goTable(p.in.at(s.off, s.size)) {
				return "Go"
			}
		}
	}
	return ""
}

// goTable reports whether the table of functions and lines that Go's runtime reads begins somewhere in b: a number by version, two zeros, the
// shortest instruction and the width of a pointer.
func goTable(b []byte) bool {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte("\xFF\xFF\xFF\x00\x00"))
		if i < 0 || from+i+7 > len(b) {
			return false
		}
		at := from + i
		from = at + 1
		if at < 1 || (at-1)%4 != 0 {
			continue
		}
		switch b[at-1] {
		case 0xF1, 0xF0, 0xFA, 0xFB:
			if shortest, width := b[at+5], b[at+6]; (shortest == 1 || shortest == 2 || shortest == 4) && (width == 4 || width == 8) {
				return true
			}
		}
	}
}

// goInfo reads the build information in b; read returns memory of the program.
func goInfo(b []byte, read func(va uint64, n int64) []byte) string {
	i := bytes.Index(b, []byte(goMark))
	if i < 0 || len(b)-i < 32 {
		return ""
	}
	b = b[i:]
	var version, module string
	if b[15]&2 != 0 {
		var ok bool
		rest := b[32:]
		if version, rest, ok = varString(rest); !ok {
			return ""
		}
		module, _, _ = varString(rest)
	} else {
		var o binary.ByteOrder = le
		if b[15]&1 != 0 {
			o = binary.BigEndian
		}
		text := func(at []byte) string {
			word := func(b []byte) uint64 {
				if len(b) == 4 {
					return uint64(o.Uint32(b))
				}
				return o.Uint64(b)
			}
			w := int64(b[14])
			if w != 4 && w != 8 {
				return ""
			}
			head := read(word(at[:w]), 2*w)
			if int64(len(head)) < 2*w {
				return ""
			}
			n := word(head[w:])
			return string(read(word(head[:w]), int64(min(n, 64<<10))))
		}
		version, module = text(b[16:]), text(b[16+max(4, min(b[14], 8)):])
	}
	if !strings.HasPrefix(version, "go") && !strings.HasPrefix(version, "devel") {
		return ""
	}
	text := "Go " + version
	for line := range strings.Lines(module) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) >= 3 && f[0] == "mod" {
			return text + ", module " + f[1] + " " + f[2]
		}
	}
	return text
}

func varString(b []byte) (string, []byte, bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, false
	}
	return string(b[k : k+int(n)]), b[k+int(n):], true
}
