package filetype

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"spoor/internal/inspect/compound"
)

// oleClasses are class identifiers of a root, as the bytes lie in the file.
var oleClasses = map[string]Type{
	"84100c0000000000c000000000000046": {MSI, "MSI", "MSI"},
	"86100c0000000000c000000000000046": {MSI, "MSI patch", "MSP"},
	"82100c0000000000c000000000000046": {MSI, "MSI transform", "MST"},
	"85100c0000000000c000000000000046": {MSI, "MSI merge module", "MSM"},
	"0609020000000000c000000000000046": {OLE, "Word document", "DOC"},
	"0009020000000000c000000000000046": {OLE, "Word document", "DOC"},
	"2008020000000000c000000000000046": {OLE, "Excel workbook", "XLS"},
	"1008020000000000c000000000000046": {OLE, "Excel workbook", "XLS"},
	"108d81649b4fcf1186ea00aa00b929e8": {OLE, "PowerPoint presentation", "PPT"},
	"51484c6004d9cf11918b0080adb0ca18": {OLE, "PowerPoint presentation", "PPT"},
	"0b0d020000000000c000000000000046": {MSG, "Outlook message", "MSG"},
	"141a020000000000c000000000000046": {OLE, "Visio drawing", "VSD"},
	"0112020000000000c000000000000046": {OLE, "Publisher document", "PUB"},
}

// ole tells a compound file by its root's class and its streams.
func (s *sample) ole() Type {
	plain := Type{OLE, "OLE compound file", "OLE"}
	f, err := compound.Open(s.r, s.size)
	if err != nil {
		return plain
	}
	has := map[string]bool{}
	macros := false
	for i := range f.Entries {
		e := &f.Entries[i]
		up := strings.ToUpper(e.Path)
		if strings.Count(e.Path, "/") <= 1 {
			has[up] = true
		}
		if e.Kind == compound.Storage && (up == "VBA" || strings.HasSuffix(up, "/VBA")) || up == "_VBA_PROJECT_CUR" {
			macros = true
		}
	}
	t, known := oleClasses[hex.EncodeToString(f.Entries[0].CLSID[:])]
	switch {
	case known && t.Format != OLE:
		return t
	case has["__PROPERTIES_VERSION1.0"] || has["__NAMEID_VERSION1.0"]:
		return Type{MSG, "Outlook message", "MSG"}
	case has["ENCRYPTEDPACKAGE"]:
		return Type{OLE, "OOXML, encrypted", "OLE"}
	case has["WORDDOCUMENT"]:
		t = Type{OLE, "Word document", "DOC"}
	case has["WORKBOOK"] || has["BOOK"]:
		t = Type{OLE, "Excel workbook", "XLS"}
	case has["POWERPOINT DOCUMENT"] || has["PP40"]:
		t = Type{OLE, "PowerPoint presentation", "PPT"}
	case has["VISIODOCUMENT"]:
		t = Type{OLE, "Visio drawing", "VSD"}
	case has["QUILL"] || has["QUILL/QUILLSUB"]:
		t = Type{OLE, "Publisher document", "PUB"}
	case has["HWPSUMMARYINFORMATION"] || has["\x05HWPSUMMARYINFORMATION"]:
		t = Type{OLE, "Hangul document", "HWP"}
	case has["CATALOG"] && !known:
		t = Type{OLE, "Windows thumbnails", "DB"}
	case has["\x01OLE10NATIVE"] && !known:
		t = Type{OLE, "package", "OLE"}
	case !known:
		t = plain
		// An installer without its class has streams whose names are packed into the private use of Unicode.
		if !macros {
			for i := range f.Entries {
				if strings.HasPrefix(f.Entries[i].Name, "\u4840") {
					return Type{MSI, "MSI", "MSI"}
				}
			}
		}
	}
	if t.Name == plain.Name {
		if macros {
			t.Name += " with macros"
		}
		return t
	}
	t.Name = "OLE " + t.Name
	if locked(f, t.Short) {
		t.Name += ", encrypted"
	}
	if macros {
		t.Name += " with macros"
	}
	t.Name += " (" + t.Short + ")"
	return t
}

// locked reports whether the text of a Word document, an Excel workbook or a presentation is encrypted, as their first bytes say.
func locked(f *compound.File, short string) bool {
	le := binary.LittleEndian
	for i := range f.Entries {
		e := &f.Entries[i]
		if e.Kind != compound.Stream || strings.Contains(e.Path, "/") {
			continue
		}
		switch up := strings.ToUpper(e.Name); {
		case short == "DOC" && up == "WORDDOCUMENT":
			b := f.Read(e, 12)
			return len(b) == 12 && le.Uint16(b[10:])&0x100 != 0
		case short == "PPT" && up == "CURRENT USER":
			b := f.Read(e, 16)
			return len(b) == 16 && le.Uint32(b[12:]) == 0xF3D1C4DF
		case short == "XLS" && (up == "WORKBOOK" || up == "BOOK"):
			b := f.Read(e, 4096)
			for range 32 { // the record that says so comes soon
				if len(b) < 4 {
					return false
				}
				if le.Uint16(b) == 0x2F {
					return true
				}
				n := 4 + int(le.Uint16(b[2:]))
				b = b[min(n, len(b)):]
			}
			return false
		}
	}
	return false
}
