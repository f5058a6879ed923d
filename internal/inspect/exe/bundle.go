package exe

import (
	"bytes"
	"fmt"
)

// bundleTail is how much of the end of a file is searched for the mark of a bundle. The longest that follows a mark is the prelude of pkg.
const bundleTail = 256 << 10

// bundles tells programs that are an interpreter with a script and its modules behind it, by what they append: overlay and end are where
// that lies.
func bundles(in *input, overlay, end int64) []finding {
	if overlay >= end {
		return nil
	}
	from := max(overlay, end-bundleTail)
	tail := in.at(from, end-from)
	last := func(n int) []byte { return tail[max(0, len(tail)-n):] }
	var all []finding
	if v := pyInstaller(last(8192)); v != "" {
		all = found(all, v, "archive mark MEI at the end of the overlay")
	}
	if bytes.Contains(last(64), []byte("<nexe~~sentinel>")) {
		all = found(all, "nexe (Node.js)", "mark <nexe~~sentinel> at the end of the overlay")
	}
	if bytes.Contains(tail, []byte("(REQUIRE_COMMON, VIRTUAL_FILESYSTEM, DEFAULT_ENTRYPOINT")) {
		all = found(all, "pkg (Node.js)", "prelude of pkg at the end of the overlay")
	}
	if bytes.Contains(last(256), []byte("\n---- Bun! ----\n")) {
		all = found(all, "Bun executable", "mark ---- Bun! ---- at the end of the overlay")
	}
	if bytes.Contains(last(64), []byte("d3n0l4nd")) {
		all = found(all, "Deno executable", "mark d3n0l4nd at the end of the overlay")
	}
	// The stub of caxa ends with a mark, an archive follows, and a line of JSON.
	if i := bytes.LastIndexByte(last(4096), '\n'); i >= 0 && bytes.HasPrefix(last(4096)[i+1:], []byte(`{"identifier":`)) {
		if head := in.at(max(0, overlay-64), 128); bytes.Contains(head, []byte("\nCAXACAXACAXA\n")) {
			all = found(all, "caxa (Node.js)", "mark CAXACAXACAXA before the overlay")
		}
	}
	return all
}

// bunInSegment finds the mark of Bun in what it appends to the last segment of an ELF file, as its newer versions do.
func (e *elf) bunInSegment() bool {
	for i := len(e.segments) - 1; i >= 0; i-- {
		if s := &e.segments[i]; s.kind == 1 {
			b := e.in.at(max(s.off, s.off+s.size-16<<10), 16<<10)
			return bytes.Contains(b, []byte("\n---- Bun! ----\n"))
		}
	}
	return false
}

// seaNote reports whether a note holds an application of Node.js.
func (e *elf) seaNote() bool {
	for i := range e.segments {
		s := &e.segments[i]
		if s.kind != 4 {
			continue
		}
		off, end := s.off, s.off+s.size
		for range 256 {
			b := e.in.full(off, 12)
			if b == nil || off+12 > end {
				break
			}
			name, desc := int64(e.o.Uint32(b)), int64(e.o.Uint32(b[4:]))
			if name == 14 && string(e.in.at(off+12, 14)) == "NODE_SEA_BLOB\x00" {
				return true
			}
			off += 12 + (name+3)&^3 + (desc+3)&^3
		}
	}
	return false
}

// pyInstaller finds the mark that ends an archive of PyInstaller, which names the version of Python.
func pyInstaller(b []byte) string {
	i := bytes.LastIndex(b, []byte("MEI\x0c\x0b\x0a\x0b\x0e"))
	if i < 0 || len(b)-i < 24 {
		return ""
	}
	v := uint32(b[i+20])<<24 | uint32(b[i+21])<<16 | uint32(b[i+22])<<8 | uint32(b[i+23])
	switch {
	case v >= 300 && v < 400:
		return fmt.Sprintf("PyInstaller (Python 3.%d)", v-300)
	case v >= 20 && v < 40:
		return fmt.Sprintf("PyInstaller (Python %d.%d)", v/10, v%10)
	}
	return "PyInstaller"
}
