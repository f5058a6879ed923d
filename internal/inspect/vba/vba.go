// Package vba reads the source of the macros in a compound file.
package vba

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/compound"
)

// Bounds of macros.
const (
	maxModule  = 4 << 20  // bytes of one module, packed or not
	maxProject = 32 << 20 // of all modules of a document
	maxModules = 512
	maxStorage = 16 // storages named VBA
)

var le = binary.LittleEndian

// Module is one of a project.
type Module struct {
	Path   string // of its stream
	Source []byte // in the project's code page; empty when it cannot be read
}

// Modules calls yield with each module until it returns false, and returns how many projects there are.
func Modules(f *compound.File, yield func(Module) bool) int {
	projects, modules, budget := 0, 0, int64(maxProject)
	for i := range f.Entries {
		e := &f.Entries[i]
		if e.Kind != compound.Storage || !strings.EqualFold(e.Name, "VBA") {
			continue
		}
		if projects++; projects > maxStorage {
			break
		}
		offsets := moduleOffsets(f, e.Path)
		for k := range f.Entries {
			m := &f.Entries[k]
			name, inside := strings.CutPrefix(m.Path, e.Path+"/")
			if m.Kind != compound.Stream || !inside || strings.Contains(name, "/") || modules >= maxModules || budget <= 0 {
				continue
			}
			low := strings.ToLower(name)
			if low == "dir" || low == "_vba_project" || strings.HasPrefix(low, "__srp_") {
				continue
			}
			b := f.Read(m, min(maxModule, budget))
			budget -= int64(len(b))
			var source []byte
			if off, ok := offsets[low]; ok && int64(off) < int64(len(b)) {
				source = decompress(b[off:], maxModule)
			}
			if source == nil {
				// Without its place: the source begins with an attribute, which is never packed at the start.
				if at := bytes.Index(b, []byte("\x00Attribut\x00e ")); at >= 3 {
					source = decompress(b[at-3:], maxModule)
				}
			}
			modules++
			budget -= int64(len(source))
			if !yield(Module{m.Path, source}) {
				return projects
			}
		}
	}
	return projects
}

// moduleOffsets reads the stream dir: where in each module's stream its source begins.
func moduleOffsets(f *compound.File, storage string) map[string]uint32 {
	var dir *compound.Entry
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Kind == compound.Stream && strings.EqualFold(e.Path, storage+"/dir") {
			dir = e
		}
	}
	if dir == nil {
		return nil
	}
	b := decompress(f.Read(dir, maxModule), maxModule)
	all := map[string]uint32{}
	name := ""
	for len(b) >= 6 && len(all) < maxModules {
		id, n := le.Uint16(b), int64(le.Uint32(b[2:]))
		if id == 9 { // the version, whose length is told wrong
			n = 6
		}
		if n > int64(len(b)-6) {
			break
		}
		data := b[6 : 6+n]
		b = b[6+n:]
		switch {
		case id == 0x1A:
			name = strings.ToLower(narrow(data))
		case id == 0x32 && n >= 2: // the same in UTF-16
			name = strings.ToLower(wide(data))
		case id == 0x31 && n == 4:
			all[name] = le.Uint32(data)
		}
	}
	return all
}

// decompress unpacks the compressed container that a module's source is in ([MS-OVBA] 2.4.1), as far as it can, to at most most bytes.
func decompress(b []byte, most int) []byte {
	if len(b) < 3 || b[0] != 1 {
		return nil
	}
	b = b[1:]
	var out []byte
	for len(b) >= 2 && len(out) < most {
		head := le.Uint16(b)
		size := int(head&0x0FFF) + 3
		if head>>12&7 != 3 {
			break
		}
		chunk := b[2:min(size, len(b))]
		b = b[min(size, len(b)):]
		if head&0x8000 == 0 {
			out = append(out, chunk...)
			continue
		}
		start := len(out)
		for len(chunk) > 0 {
			flags := chunk[0]
			chunk = chunk[1:]
			for i := 0; i < 8 && len(chunk) > 0; i++ {
				if flags>>i&1 == 0 {
					out = append(out, chunk[0])
					chunk = chunk[1:]
					continue
				}
				if len(chunk) < 2 {
					chunk = nil
					break
				}
				token := le.Uint16(chunk)
				chunk = chunk[2:]
				bits := uint(4)
				for 1<<bits < len(out)-start {
					bits++
				}
				length := int(token&(0xFFFF>>bits)) + 3
				back := int(token>>(16-bits)) + 1
				if back > len(out)-start || len(out)-start > 4096 {
					return out
				}
				for range length {
					out = append(out, out[len(out)-back])
				}
			}
		}
	}
	return out[:min(len(out), most)]
}

// narrow reads a name of one byte a character, whose code page is not known, as Latin-1.
func narrow(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func wide(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = le.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
