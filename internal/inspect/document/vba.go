package document

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/officecrypt"
	"spoor/internal/inspect/vba"
)

// Bounds of macros.
const (
	maxParts   = 64 << 20 // bytes unpacked of the parts of a document
	maxVBAFile = 32 << 20 // of a vbaProject.bin
)

func overlayText(off, size int64) string { return fmt.Sprintf("%d bytes at %d", size-off, off) }

// autoRun are procedures that Office runs by itself; suspicious are words by which macros reach out of their document.
var (
	autoRun = regexp.MustCompile(`(?i)\b(?:sub|function)[ \t]+(auto_?(?:open|exec|close|exit|new)|document_(?:open|close|new|beforeclose|contentcontrolonenter)|documentopen|workbook_(?:open|activate|beforeclose|close|deactivate|sheetactivate)|worksheet_(?:activate|calculate|change)|userform_initialize|app_documentopen|[a-z0-9_]+_(?:painted|painting|layout|mousehover|mousemove|resize|gotfocus))\b`)
	reach   = regexp.MustCompile(`(?i)\b(shell|shellexecute|createobject|getobject|wscript\.shell|powershell|urldownloadtofile|xmlhttp|winhttprequest|adodb\.stream|savetofile|virtualalloc|writeprocessmemory|createthread|callbyname|environ|declare[ \t]+(?:ptrsafe[ \t]+)?(?:sub|function)|strreverse|chrw?|executeexcel4macro|ddeinitiate|regwrite|vbaproject|application\.run|mshta|cmd(?:\.exe)?[ \t]*/c|rundll32|regsvr32|certutil|bitsadmin)\b`)
)

// words returns the distinct matches of a pattern's group, in their order, at most 24.
func words(re *regexp.Regexp, text []byte, into []string) []string {
	for _, m := range re.FindAllSubmatch(text, 256) {
		w := strings.Join(strings.Fields(string(m[1])), " ")
		if !slices.ContainsFunc(into, func(o string) bool { return strings.EqualFold(o, w) }) && len(into) < 24 {
			into = append(into, w)
		}
	}
	return into
}

// macros tells the VBA project in a compound file; where says of which part of the document it is.
func macros(t *teller, f *compound.File) bool {
	var auto, far []string
	modules, empty := 0, 0
	projects := vba.Modules(f, func(m vba.Module) bool {
		modules++
		if len(m.Source) == 0 {
			empty++
		}
		auto, far = words(autoRun, m.Source, auto), words(reach, m.Source, far)
		return true
	})
	if projects == 0 {
		return false
	}
	text := fmt.Sprintf("VBA macros: %d modules", modules)
	if modules > 0 && empty == modules {
		text += ", whose source cannot be read"
	}
	if len(auto) > 0 {
		text += "; runs by itself: " + strings.Join(auto, ", ")
	}
	if len(far) > 0 {
		text += "; uses " + strings.Join(far, ", ")
	}
	t.active("%s", text)
	return true
}

func readOLE(t *teller, r io.ReaderAt, size int64, passwords []string) error {
	f, err := compound.Open(r, size)
	if err != nil {
		return err
	}
	macros(t, f)
	locked, err := officecrypt.Open(f) // that it cannot be decrypted is told by those who unpack it
	if err != nil || locked != nil && !slices.ContainsFunc(slices.Concat(officecrypt.Passwords, passwords), locked.Try) {
		locked = nil
	}
	objects, books, equations := 0, 0, 0
	for i := range f.Entries {
		e := &f.Entries[i]
		switch {
		case e.Kind != compound.Stream:
		case e.Name == "\x01Ole10Native" && objects < 16:
			objects++
			label, path := native(f.Read(e, 4096))
			t.active("OLE package: %s", strings.TrimSpace(label+" "+path))
		case (strings.EqualFold(e.Path, "Workbook") || strings.EqualFold(e.Path, "Book")) && books < 2:
			books++
			b := f.Read(e, 1<<20)
			if locked != nil {
				if r := locked.Reader(e.Path, bytes.NewReader(b)); r != nil {
					b, _ = io.ReadAll(r) // memory does not fail
				}
			}
			if n := macroSheets(b); n > 0 {
				t.active("Excel 4 macros: %d macro sheets", n)
			}
		case strings.EqualFold(e.Name, "Equation Native"):
			equations++
		}
	}
	if equations > 0 {
		t.active("equation objects (Equation.3): %d", equations)
	}
	return nil
}

// native returns the label and the path of a packaged file.
func native(b []byte) (label, path string) {
	if len(b) < 8 {
		return "", ""
	}
	b = b[6:]
	for i := range 2 {
		text, rest, ok := bytes.Cut(b, []byte{0})
		if !ok {
			break
		}
		if i == 0 {
			label = narrow(text)
		} else if p := narrow(text); p != label {
			path = p
		}
		b = rest
	}
	return label, path
}

// macroSheets counts the sheets of a workbook that hold macros of Excel 4.
func macroSheets(b []byte) int {
	n := 0
	for range 4096 {
		if len(b) < 4 {
			break
		}
		id, size := le.Uint16(b), int(le.Uint16(b[2:]))
		if len(b) < 4+size {
			break
		}
		if id == 0x85 && size >= 6 && b[4+5] == 1 {
			n++
		}
		b = b[4+size:]
	}
	return n
}

// openZip opens a zip whose directory is no larger than 8 MiB, for the standard library keeps all of it.
func openZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	const most = 8 << 20
	from := max(0, size-(64<<10)-22)
	tail := at(r, size, from, 64<<10+22)
	i := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if i < 0 || len(tail)-i < 22 {
		return nil, errors.New("no end of the zip's directory")
	}
	length, off := int64(le.Uint32(tail[i+12:])), int64(le.Uint32(tail[i+16:]))
	if length > most || from+int64(i)-off > most+(64<<10) {
		return nil, errors.New("the zip's directory is larger than 8 MiB")
	}
	return zip.NewReader(r, size)
}

var externalTarget = regexp.MustCompile(`(?is)<(?:[\w.-]+:)?Relationship\s[^>]*>`)
var attribute = regexp.MustCompile(`(?i)\b(Target|TargetMode|Type)\s*=\s*["']([^"']*)["']`)

// utf8Of decodes XML in UTF-16, which hides it from those who look for words.
func utf8Of(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return []byte(utf16Text(b[2:], binary.LittleEndian))
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return []byte(utf16Text(b[2:], binary.BigEndian))
	}
	return b
}

func utf16Text(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

func readOOXML(t *teller, r io.ReaderAt, size int64) error {
	z, err := openZip(r, size)
	if err != nil {
		return err
	}
	embedded, activeX, sheets, parts, budget := 0, 0, 0, 0, int64(maxParts)
	for _, f := range z.File {
		name := strings.ToLower(strings.ReplaceAll(f.Name, `\`, "/"))
		read := func(most int64) []byte {
			if parts++; parts > 256 || budget <= 0 {
				return nil
			}
			m, e := f.Open()
			if e != nil {
				err = fmt.Errorf("%q: %w", f.Name, e)
				return nil
			}
			defer m.Close()
			b, _ := io.ReadAll(io.LimitReader(m, min(most, budget)))
			budget -= int64(len(b))
			return b
		}
		switch {
		case strings.HasSuffix(name, "vbaproject.bin"):
			b := read(maxVBAFile)
			c, e := compound.Open(bytes.NewReader(b), int64(len(b)))
			if e != nil {
				t.active("VBA macros, which cannot be read")
				err = fmt.Errorf("%q: %w", f.Name, e)
			} else if !macros(t, c) {
				t.active("VBA project without modules")
			}
		case strings.HasSuffix(name, ".rels"):
			for _, rel := range externalTarget.FindAll(utf8Of(read(1<<20)), 1024) {
				values := map[string]string{}
				for _, a := range attribute.FindAllSubmatch(rel, 8) {
					values[strings.ToLower(string(a[1]))] = html.UnescapeString(string(a[2]))
				}
				kind, target := values["type"][strings.LastIndexByte(values["type"], '/')+1:], values["target"]
				far := strings.Contains(target, "://") || strings.HasPrefix(target, `\\`) || strings.HasPrefix(strings.ToLower(target), "mhtml:")
				if !strings.EqualFold(values["targetmode"], "External") || strings.EqualFold(kind, "hyperlink") {
					continue // which a person follows
				}
				if far || kind == "attachedTemplate" || kind == "oleObject" || kind == "frame" || kind == "subDocument" {
					t.active("OOXML loads %s: %s", kind, target)
				}
			}
		case name == "word/document.xml":
			b := read(16 << 20)
			if bytes.Contains(b, []byte("DDEAUTO")) || bytes.Contains(b, []byte("DDE ")) {
				t.active("DDE field")
			}
		case strings.Contains(name, "/macrosheets/") && !strings.Contains(name, "/_rels/"):
			sheets++
		case strings.Contains(name, "/activex/") && strings.HasSuffix(name, ".bin"):
			activeX++
		case strings.Contains(name, "/embeddings/") && !strings.Contains(name, "/_rels/") && !strings.HasSuffix(name, "/"):
			embedded++
		}
	}
	for _, c := range []struct {
		n    int
		what string
	}{{sheets, "Excel 4 macros: %d macro sheets"}, {activeX, "ActiveX controls: %d"}, {embedded, "embedded objects: %d"}} {
		if c.n > 0 {
			t.active(c.what, c.n)
		}
	}
	return err
}
