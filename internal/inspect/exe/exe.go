// Package exe reads what the headers of an executable say: PE, ELF and Mach-O; and by what it was packed.
//
// It reads what the headers point to and, once, the whole file for the authentihash. Nothing is allocated by a number that the file claims.
package exe

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Info is what an executable says of itself.
type Info struct {
	Facts    []intel.Fact // attributes and fuzzy hashes
	Embedded []Embedded   // files that lie in it: resources of PE, slices of Mach-O, the overlay
}

// Embedded is a run of bytes of the file that may be a file itself.
type Embedded struct {
	Path         string // "resource RCDATA/101", "overlay"
	Offset, Size int64
}

// maxEmbedded bounds the embedded files of one.
const maxEmbedded = 256

// Options are what an operator may add.
type Options struct {
	Patterns *Patterns // of packers, looked for at the entry point; may be nil
}

// Read reads an executable of format f in the size bytes of r. What cannot be read is left out; the error says what and why, and the rest is
// told all the same.
func Read(f filetype.Format, r io.ReaderAt, size int64) (Info, error) {
	return Options{}.Read(f, r, size)
}

// Read is [Read] with options.
func (o Options) Read(f filetype.Format, r io.ReaderAt, size int64) (Info, error) {
	in := &input{r: r, size: size}
	t := &teller{}
	var err error
	switch f {
	case filetype.PE:
		err = readPE(in, t, o.Patterns)
	case filetype.ELF:
		err = readELF(in, t)
	case filetype.MachO:
		err = readMachO(in, t)
	}
	return t.Info, err
}

// teller gathers facts.
type teller struct{ Info }

// attribute adds an attribute unless it is empty.
func (t *teller) attribute(name intel.AttributeName, value string) {
	if value = clean(value); value != "" {
		t.Facts = append(t.Facts, intel.Attribute{Name: name, Value: value})
	}
}

func (t *teller) fuzzy(a intel.FuzzyAlgorithm, value string) {
	if value != "" {
		t.Facts = append(t.Facts, intel.FuzzyHash{Algorithm: a, Value: value})
	}
}

// packers adds what a program was packed by.
func (t *teller) packers(all []finding) {
	for _, f := range all {
		t.attribute(intel.Packer, f.name)
		t.attribute(intel.PackerEvidence, f.name+": "+f.evidence)
	}
}

// embed adds a run of bytes that lies within the file.
func (t *teller) embed(in *input, path string, off, n int64) {
	if off >= 0 && n > 0 && off < in.size && n <= in.size-off && len(t.Embedded) < maxEmbedded {
		t.Embedded = append(t.Embedded, Embedded{clean(path), off, n})
	}
}

// clean makes foreign text one line of UTF-8 that an observation takes.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == 0 || unicode.IsControl(r):
			return -1
		}
		return r
	}, s))
	if len(s) > intel.MaxText {
		cut := intel.MaxText - len("…")
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

// page is how much of the file is read at once.
const (
	page     = 16 << 10
	maxPages = 64
)

// input reads a file in pages, of which it keeps a bounded number.
type input struct {
	r     io.ReaderAt
	size  int64
	pages map[int64][]byte
}

func (in *input) page(n int64) []byte {
	if p, ok := in.pages[n]; ok {
		return p
	}
	if in.pages == nil || len(in.pages) >= maxPages {
		in.pages = map[int64][]byte{}
	}
	p := make([]byte, max(0, min(page, in.size-n*page)))
	k, _ := in.r.ReadAt(p, n*page)
	in.pages[n] = p[:k]
	return p[:k]
}

// at returns n bytes at off, fewer where the file ends; at most 16 MiB. They are not to be changed.
func (in *input) at(off, n int64) []byte {
	if off < 0 || n <= 0 || off >= in.size {
		return nil
	}
	n = min(n, in.size-off, 16<<20)
	if first := off / page; (off+n-1)/page == first {
		p := in.page(first)
		from := off % page
		return p[min(from, int64(len(p))):min(from+n, int64(len(p)))]
	}
	b := make([]byte, n)
	k, _ := in.r.ReadAt(b, off)
	return b[:k]
}

// full is at, nil unless all bytes are there.
func (in *input) full(off, n int64) []byte {
	if b := in.at(off, n); int64(len(b)) == n {
		return b
	}
	return nil
}

// text returns the bytes at off up to a NUL, at most most.
func (in *input) text(off, most int64) string {
	b := in.at(off, most)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// entropy returns the bits of information a byte of n bytes at off, 0 to 8.
func (in *input) entropy(off, n int64) float64 {
	var parts [4][256]uint32 // one table would wait for itself
	var total int64
	buf := make([]byte, min(n, 256<<10))
	for n > 0 && off < in.size {
		k, err := in.r.ReadAt(buf[:min(n, int64(len(buf)), in.size-off)], off)
		b := buf[:k]
		for ; len(b) >= 4; b = b[4:] {
			parts[0][b[0]]++
			parts[1][b[1]]++
			parts[2][b[2]]++
			parts[3][b[3]]++
		}
		for _, c := range b {
			parts[0][c]++
		}
		total += int64(k)
		off += int64(k)
		n -= int64(k)
		if err != nil || k == 0 {
			break
		}
	}
	h := 0.0
	for i := range 256 {
		if c := uint64(parts[0][i]) + uint64(parts[1][i]) + uint64(parts[2][i]) + uint64(parts[3][i]); c > 0 {
			p := float64(c) / float64(total)
			h -= p * math.Log2(p)
		}
	}
	return math.Abs(h)
}

// section is a part of a file as the sections attribute tells it.
type section struct {
	name    string
	size    int64
	entropy float64 // negative when it was not measured
}

// maxSections bounds what the sections attribute tells.
const maxSections = 96

func (t *teller) sections(all []section, count int) {
	var b strings.Builder
	for i, s := range all {
		if i == maxSections {
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		name := clean(s.name)
		if name == "" {
			name = "(no name)"
		}
		fmt.Fprintf(&b, "%s %d", name, s.size)
		if s.entropy >= 0 {
			b.WriteString(" " + strconv.FormatFloat(s.entropy, 'f', 2, 64))
		}
		if b.Len() > 3800 {
			all = all[:i+1]
			break
		}
	}
	if shown := min(len(all), maxSections); count > shown {
		fmt.Fprintf(&b, "; and %d more", count-shown)
	}
	t.attribute(intel.Sections, b.String())
}

// Bounds of what is told of an overlay.
const (
	minOverlay = 16       // bytes: fewer are padding, whatever they are
	maxPadding = 64 << 10 // zeros up to that many are padding
)

// overlay tells what follows what the headers account for.
func (t *teller) overlay(in *input, off, end int64) {
	if off <= 0 || off >= end || end > in.size {
		return
	}
	n := end - off
	if n < minOverlay || n <= maxPadding && strings.Trim(string(in.at(off, n)), "\x00") == "" {
		return // padding
	}
	what := filetype.Detect(io.NewSectionReader(in.r, off, n), n)
	text := fmt.Sprintf("%d bytes at %d", n, off)
	if what.Name != "" {
		text += ": " + what.Name
	}
	t.attribute(intel.Overlay, text)
	t.embed(in, "overlay", off, n)
}

// errCut is that a header reaches beyond the file.
var errCut = errors.New("the file ends within its headers")
