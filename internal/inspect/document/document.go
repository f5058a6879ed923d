// Package document reads what in a document acts by itself or may be made to: macros, scripts, actions, embedded objects, and what a shortcut starts.
package document

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// maxFacts bounds the lines that are told of one document.
const maxFacts = 64

// Read reads a document of format f in the size bytes of r: shortcuts, compound files, OOXML, PDF, RTF and HTML; of any other format it tells nothing.
// passwords are tried on an encrypted PDF or workbook, as long as spend has enough left for what they cost in rounds of a hash. What cannot be read is left out; the error says what and why, and the rest is told all the same.
func Read(f filetype.Format, r io.ReaderAt, size int64, passwords []string, spend func(rounds int64) bool) (exe.Info, error) {
	t := &teller{}
	var err error
	switch f {
	case filetype.LNK:
		err = readLNK(t, r, size)
	case filetype.OLE, filetype.MSG:
		err = readOLE(t, r, size, passwords)
	case filetype.OOXML:
		err = readOOXML(t, r, size)
	case filetype.PDF:
		err = readPDF(t, r, size, passwords, spend)
	case filetype.RTF:
		err = readRTF(t, r, size)
	case filetype.HTML:
		readHTML(t, r, size)
	}
	return t.info, err
}

// teller gathers facts, each once.
type teller struct {
	info exe.Info
	told map[string]bool
}

func (t *teller) attribute(name intel.AttributeName, value string) {
	value = clip(value)
	key := string(name) + "\x00" + value
	if value == "" || t.told[key] || len(t.info.Facts) >= maxFacts {
		return
	}
	if t.told == nil {
		t.told = map[string]bool{}
	}
	t.told[key] = true
	t.info.Facts = append(t.info.Facts, intel.Attribute{Name: name, Value: value})
}

func (t *teller) active(format string, args ...any) {
	t.attribute(intel.ActiveContent, fmt.Sprintf(format, args...))
}

// clip makes foreign text one line of UTF-8 that an observation takes.
func clip(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if len(s) > intel.MaxText {
		s = strings.ToValidUTF8(s[:intel.MaxText-len("…")], "") + "…"
	}
	return s
}

// at returns n bytes at off, fewer where the file ends.
func at(r io.ReaderAt, size, off, n int64) []byte {
	if off < 0 || off >= size || n <= 0 {
		return nil
	}
	b := make([]byte, min(n, size-off))
	k, _ := r.ReadAt(b, off)
	return b[:k]
}
