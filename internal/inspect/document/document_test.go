package document

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// told returns the attributes that a document gives, as "name: value".
func told(t testing.TB, f filetype.Format, b []byte) []string {
	t.Helper()
	info, err := Read(f, bytes.NewReader(b), int64(len(b)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range info.Facts {
		a := f.(intel.Attribute)
		all = append(all, string(a.Name)+": "+a.Value)
	}
	return all
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// container packs bytes as a VBA module's source is, with literals and one reference where the text repeats.
func container(s string) []byte {
	out := []byte{1}
	for len(s) > 0 {
		n := min(len(s), 3000)
		var chunk []byte
		for part := s[:n]; len(part) > 0; {
			k := min(len(part), 8)
			chunk = append(append(chunk, 0), part[:k]...)
			part = part[k:]
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(len(chunk)+2-3)|0xB000)
		out = append(out, chunk...)
		s = s[n:]
	}
	return out
}

// stream is a stream of a compound file; its path names the storages above it.
type stream struct {
	path string
	data []byte
}

// compoundOf makes a compound file of sectors of 512 bytes. Streams are padded to 4,096 bytes, so that there is no mini stream.
func compoundOf(streams ...stream) []byte {
	type entry struct {
		name         string
		kind         byte
		child, right uint32
		start, size  uint32
	}
	none := ^uint32(0)
	entries := []entry{{name: "Root Entry", kind: 5, child: none, right: none, start: 0xFFFFFFFE}}
	index := map[string]int{"": 0}
	add := func(parent int, e entry) int {
		id := uint32(len(entries))
		e.right = entries[parent].child
		entries = append(entries, e)
		entries[parent].child = id
		return int(id)
	}
	var data []byte
	var chains [][2]uint32 // first sector and count
	for _, s := range streams {
		parts := strings.Split(s.path, "/")
		parent, path := 0, ""
		for _, p := range parts[:len(parts)-1] {
			path += p + "/"
			if _, ok := index[path]; !ok {
				index[path] = add(parent, entry{name: p, kind: 1, child: none, start: 0})
			}
			parent = index[path]
		}
		b := append(bytes.Clone(s.data), make([]byte, max(0, 4096-len(s.data)))...)
		size := len(b)
		b = append(b, make([]byte, -len(b)&511)...)
		chains = append(chains, [2]uint32{uint32(len(data) / 512), uint32(len(b) / 512)})
		add(parent, entry{name: parts[len(parts)-1], kind: 2, child: none, start: uint32(len(data) / 512), size: uint32(size)})
		data = append(data, b...)
	}
	var dir []byte
	for _, e := range entries {
		b := make([]byte, 128)
		name := utf16le(e.name)
		copy(b, name)
		le.PutUint16(b[64:], uint16(len(name)+2))
		b[66] = e.kind
		le.PutUint32(b[68:], none)
		le.PutUint32(b[72:], e.right)
		le.PutUint32(b[76:], e.child)
		le.PutUint32(b[116:], e.start)
		le.PutUint32(b[120:], e.size)
		dir = append(dir, b...)
	}
	dir = append(dir, make([]byte, -len(dir)&511)...)
	// Sectors: the data, the directory, the FAT of one or two sectors.
	n := uint32(len(data) / 512)
	chains = append(chains, [2]uint32{n, uint32(len(dir) / 512)})
	fats := (n+uint32(len(dir)/512))/127 + 1
	fat := make([]byte, 512*fats)
	for i := range len(fat) / 4 {
		le.PutUint32(fat[4*i:], none)
	}
	for _, c := range chains {
		for i := c[0]; i < c[0]+c[1]; i++ {
			le.PutUint32(fat[4*i:], i+1)
		}
		le.PutUint32(fat[4*(c[0]+c[1]-1):], 0xFFFFFFFE)
	}
	h := make([]byte, 512)
	copy(h, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")
	le.PutUint16(h[30:], 9)
	le.PutUint16(h[32:], 6)
	le.PutUint32(h[48:], n)
	le.PutUint32(h[56:], 4096)
	le.PutUint32(h[60:], 0xFFFFFFFE)
	le.PutUint32(h[68:], 0xFFFFFFFE)
	for i := range 109 {
		le.PutUint32(h[76+4*i:], none)
	}
	for i := range fats {
		le.PutUint32(h[76+4*i:], n+uint32(len(dir)/512)+i)
	}
	return bytes.Join([][]byte{h, data, dir, fat}, nil)
}

// project is a VBA project of one module, below a storage.
func project(below, source string) []stream {
	record := func(id uint16, data []byte) []byte {
		return append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(nil, id), uint32(len(data))), data...)
	}
	dir := bytes.Join([][]byte{record(1, make([]byte, 4)), {9, 0, 4, 0, 0, 0, 1, 2, 3, 4, 5, 6}, record(0x19, []byte("Module1")), record(0x1A, []byte("Module1")), record(0x32, utf16le("Module1")), record(0x31, []byte{10, 0, 0, 0})}, nil)
	return []stream{{below + "VBA/dir", container(string(dir))}, {below + "VBA/Module1", append([]byte("compiled.."), container(source)...)}, {below + "VBA/_VBA_PROJECT", []byte{0xCC, 0x61}}}
}

const macro = "Attribute VB_Name = \"Module1\"\r\nSub AutoOpen()\r\n  Set s = CreateObject(\"WScript.Shell\")\r\n  s.Run \"powershell -enc AAAA\"\r\nEnd Sub\r\n"

func TestMacros(t *testing.T) {
	want := "active_content: VBA macros: 1 modules; runs by itself: AutoOpen; uses CreateObject, WScript.Shell, powershell"
	if d := cmp.Diff([]string{want}, told(t, filetype.OLE, compoundOf(project("Macros/", macro)...))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{want}, told(t, filetype.OLE, compoundOf(project("Macros/", macro)[1:]...))); d != "" {
		t.Errorf("without the stream dir: %s", d)
	}
	quiet := "Attribute VB_Name = \"Module1\"\r\nSub Sum()\r\n  x = 1 + 2\r\nEnd Sub\r\n"
	if d := cmp.Diff([]string{"active_content: VBA macros: 1 modules"}, told(t, filetype.OLE, compoundOf(project("_VBA_PROJECT_CUR/", quiet)...))); d != "" {
		t.Error(d)
	}
	docm := zipOf(map[string]string{
		"[Content_Types].xml": "<Types/>", "word/vbaProject.bin": string(compoundOf(project("", macro)...)), "word/embeddings/oleObject1.bin": "x",
		"word/_rels/settings.xml.rels": `<Relationships><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate" Target="http://example.org/t.dotm" TargetMode="External"/><Relationship Type="x/hyperlink" Target="http://example.org/" TargetMode="External"/></Relationships>`,
	})
	got := told(t, filetype.OOXML, docm)
	if d := cmp.Diff([]string{want, "active_content: OOXML loads attachedTemplate: http://example.org/t.dotm", "active_content: embedded objects: 1"}, got); d != "" {
		t.Error(d)
	}
	sheet := []byte{0x09, 0x08, 0, 0, 0x85, 0, 8, 0, 0, 0, 0, 0, 0, 1, 1, 'A'}
	if d := cmp.Diff([]string{"active_content: Excel 4 macros: 1 macro sheets"}, told(t, filetype.OLE, compoundOf(stream{"Workbook", sheet}))); d != "" {
		t.Error(d)
	}
	// The same, obfuscated by the password that Excel tries by itself, from the fifth byte of the last record on.
	locked := append([]byte{0x09, 0x08, 0, 0, 0x2F, 0, 6, 0, 0, 0, 0x59, 0xB3, 0x0A, 0x9A}, sheet[4:]...)
	key := []byte("VelvetSweatshop\xBB")
	for i := 22; i < len(locked); i++ {
		k := (i + 8) % 16
		locked[i] = bits.RotateLeft8(locked[i], 5) ^ bits.RotateLeft8(key[k]^"\x59\xB3"[k&1], 7)
	}
	if d := cmp.Diff([]string{"active_content: Excel 4 macros: 1 macro sheets"}, told(t, filetype.OLE, compoundOf(stream{"Workbook", locked}))); d != "" {
		t.Error(d)
	}
	native := "\x00\x00\x00\x00\x02\x00invoice.js\x00C:\\tmp\\invoice.js\x00"
	if d := cmp.Diff([]string{`active_content: OLE package: invoice.js C:\tmp\invoice.js`}, told(t, filetype.OLE, compoundOf(stream{"ObjectPool/_1/\x01Ole10Native", []byte(native)}))); d != "" {
		t.Error(d)
	}
}

// A project that Excel wrote, of Debian's package python3-xlsxwriter.
func TestRealMacros(t *testing.T) {
	const path = "/usr/share/doc/python3-xlsxwriter/examples/vbaProject.bin"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skip("Debian's python3-xlsxwriter is not installed: ", err)
	}
	got := strings.Join(told(t, filetype.OLE, b), "\n")
	if !strings.HasPrefix(got, "active_content: VBA macros: ") || strings.Contains(got, "cannot be read") {
		t.Error(got)
	}
}

func zipOf(files map[string]string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"[Content_Types].xml", "word/vbaProject.bin", "word/_rels/settings.xml.rels", "word/embeddings/oleObject1.bin"} {
		if body, ok := files[name]; ok {
			f, _ := w.Create(name)
			f.Write([]byte(body))
		}
	}
	w.Close()
	return b.Bytes()
}

func shortcut() []byte {
	b := make([]byte, 76)
	copy(b, "\x4C\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46")
	le.PutUint32(b[20:], 1|2|4|0x10|0x20|0x40|0x80)
	le.PutUint32(b[60:], 7)
	b = append(b, 2, 0, 0, 0) // no shell items
	path := `C:\Windows\System32\cmd.exe`
	info := make([]byte, 28)
	le.PutUint32(info[4:], 28)
	le.PutUint32(info[8:], 1)
	le.PutUint32(info[16:], 28)
	le.PutUint32(info[24:], uint32(28+len(path)))
	info = append(append(info, path...), 0, 0)
	le.PutUint32(info, uint32(len(info)))
	b = append(b, info...)
	for _, s := range []string{"Invoice", `C:\Temp`, "/c calc.exe", `%SystemRoot%\shell32.dll`} {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), utf16le(s)...)
	}
	tracker := make([]byte, 0x60)
	le.PutUint32(tracker, 0x60)
	le.PutUint32(tracker[4:], 0xA0000003)
	copy(tracker[16:], "desktop-1")
	return append(append(b, tracker...), 0, 0, 0, 0)
}

func TestLNK(t *testing.T) {
	want := []string{"description: Invoice", `active_content: LNK working directory: C:\Temp`, "active_content: LNK arguments: /c calc.exe", `active_content: LNK icon: %SystemRoot%\shell32.dll`,
		"active_content: LNK machine: desktop-1", `active_content: LNK target: C:\Windows\System32\cmd.exe`, "active_content: LNK window: minimised"}
	if d := cmp.Diff(want, told(t, filetype.LNK, shortcut())); d != "" {
		t.Error(d)
	}
	b := append(shortcut(), "PK\x03\x04 something appended"...)
	if d := cmp.Diff(append(want, fmt.Sprintf("overlay: 23 bytes at %d", len(b)-23)), told(t, filetype.LNK, b)); d != "" {
		t.Error(d)
	}
}

func pdfOf(compress bool) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n% a comment with /JavaScript in it\n1 0 obj\n<< /Type /Catalog /OpenAction 2 0 R /Title (/JS \\) (nested /Launch) ) >>\nendobj\n")
	b.WriteString("2 0 obj << /S /Java#53cript /JS (app.alert\\(1\\)) >> endobj\n")
	b.WriteString("3 0 obj << /Length 20 >> stream\n/AA /Launch /XFA junk\nendstream endobj\n")
	if compress {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write([]byte("10 0 << /AA << /O 2 0 R >> /S /Launch >>"))
		w.Close()
		fmt.Fprintf(&b, "4 0 obj << /Type /ObjStm /N 1 /First 5 /Filter /FlateDecode /Length %d >> stream\r\n%s\r\nendstream endobj\n", z.Len(), z.Bytes())
	}
	b.WriteString("5 0 obj << /Type /EmbeddedFile >> stream\nendstreaendstream endobj\ntrailer << /Root 1 0 R >>\n%%EOF\n")
	return b.Bytes()
}

func TestPDF(t *testing.T) {
	if d := cmp.Diff([]string{"active_content: PDF: JavaScript 1, OpenAction 1, EmbeddedFile 1"}, told(t, filetype.PDF, pdfOf(false))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"active_content: PDF: JavaScript 1, OpenAction 1, AA 1, Launch 1, EmbeddedFile 1"}, told(t, filetype.PDF, pdfOf(true))); d != "" {
		t.Error(d)
	}
	links := "%PDF-1.4\n1 0 obj << /S /GoToR /F (web.pdf) >> endobj 2 0 obj << /S /GoToR /F << /Type /Filespec /F (../a/b.pdf) >> >> endobj\n"
	if got := told(t, filetype.PDF, []byte(links+"%%EOF")); got != nil {
		t.Errorf("links to documents beside it: %v", got)
	}
	links += `3 0 obj << /S /GoToR /F (\\\\host\\share\\x.pdf) >> endobj 4 0 obj << /S /GoToR /F (//host/x) >> endobj 5 0 obj << /S /GoToR /F (http://example.org/x) >> endobj`
	if d := cmp.Diff([]string{`active_content: PDF GoToR: \\host\share\x.pdf`, "active_content: PDF GoToR: //host/x", "active_content: PDF GoToR: http://example.org/x"}, told(t, filetype.PDF, []byte(links+"\n%%EOF"))); d != "" {
		t.Error(d)
	}
	if got := told(t, filetype.PDF, []byte("%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\n%%EOF")); got != nil {
		t.Error(got)
	}
}

func rtf() []byte {
	object := make([]byte, 12)
	le.PutUint32(object, 0x501)
	le.PutUint32(object[4:], 2)
	le.PutUint32(object[8:], 11)
	digits := hex.EncodeToString(append(object, "Equation.3\x00"...))
	return []byte("{\\rtf1{\\object\\objemb\\objupdate{\\*\\objclass Word.Document.8}{\\*\\objdata " + digits[:10] + "\r\n{\\*\\x 1}" + digits[10:] + "00}}{\\*\\template http://example.org/a.dotm}}")
}

func TestRTF(t *testing.T) {
	b := bytes.Replace(rtf(), []byte("{\\*\\x 1}"), nil, 1)
	want := []string{"active_content: RTF loads template: http://example.org/a.dotm", "active_content: RTF objects: 1 (Word.Document.8, Equation.3); opened by themselves"}
	if d := cmp.Diff(want, told(t, filetype.RTF, b)); d != "" {
		t.Error(d)
	}
	if got := told(t, filetype.RTF, []byte(`{\rtf1 plain \\objdata text}`)); got != nil {
		t.Error(got)
	}
}

func TestHTML(t *testing.T) {
	page := `<html><script>var d = atob("UEsDBA"); var u = URL.createObjectURL(new Blob([d]));</script><a href="search-ms:query=x&crumb=location:\\\\host\\share">x</a></html>`
	want := []string{"active_content: HTML makes a file of its own text: atob, blob, createobjecturl", "active_content: HTML starts programs by links: search-ms"}
	if d := cmp.Diff(want, told(t, filetype.HTML, []byte(page))); d != "" {
		t.Error(d)
	}
	if got := told(t, filetype.HTML, []byte("<html><script>x = atob(y)</script> ms-word is a program</html>")); got != nil {
		t.Error(got)
	}
}

// TestRelationships holds that neither a prefix, escapes nor UTF-16 hide what a document loads.
func TestRelationships(t *testing.T) {
	rel := `<Relationship Type="http://x/relationships/oleObject" Target="mhtml:http://example.org/a!x" TargetMode="External"/>`
	for name, c := range map[string]struct{ in, want string }{
		"plain":     {rel, "OOXML loads oleObject: mhtml:http://example.org/a!x"},
		"prefix":    {strings.Replace(rel, "<Rel", "<x:Rel", 1), "OOXML loads oleObject: mhtml:http://example.org/a!x"},
		"escaped":   {strings.Replace(rel, "http://example", "&#104;ttp:&#x2f;/example", 1), "OOXML loads oleObject: mhtml:http://example.org/a!x"},
		"UTF-16":    {"\xff\xfe" + string(utf16le(rel)), "OOXML loads oleObject: mhtml:http://example.org/a!x"},
		"picture":   {`<Relationship Type="x/image" Target="\\host\share\a.png" TargetMode="External"/>`, `OOXML loads image: \\host\share\a.png`},
		"hyperlink": {`<Relationship Type="x/hyperlink" Target="http://example.org/" TargetMode="External"/>`, ""},
		"inside":    {`<Relationship Type="x/image" Target="media/a.png"/>`, ""},
	} {
		got := strings.Join(told(t, filetype.OOXML, zipOf(map[string]string{"[Content_Types].xml": "<Types/>", "word/_rels/settings.xml.rels": c.in})), "\n")
		if strings.TrimPrefix(got, "active_content: ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(byte(0), shortcut())
	f.Add(byte(1), compoundOf(project("Macros/", macro)...))
	f.Add(byte(2), zipOf(map[string]string{"[Content_Types].xml": "<Types/>", "word/vbaProject.bin": string(compoundOf(project("", macro)...))}))
	f.Add(byte(3), pdfOf(true))
	f.Add(byte(4), rtf())
	f.Add(byte(5), []byte("<html>atob new Blob createObjectURL ms-msdt:"))
	formats := []filetype.Format{filetype.LNK, filetype.OLE, filetype.OOXML, filetype.PDF, filetype.RTF, filetype.HTML}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		info, _ := Read(formats[int(k)%len(formats)], bytes.NewReader(b), int64(len(b)), nil, nil)
		for _, fact := range info.Facts {
			if a := fact.(intel.Attribute); a.Value == "" || len(a.Value) > intel.MaxText {
				t.Errorf("%s has %d bytes", a.Name, len(a.Value))
			}
		}
		for _, e := range info.Embedded {
			if e.Offset < 0 || e.Size <= 0 || e.Offset+e.Size > int64(len(b)) {
				t.Errorf("%+v of %d bytes", e, len(b))
			}
		}
	})
}
