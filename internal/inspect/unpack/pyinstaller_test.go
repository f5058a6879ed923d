package unpack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// pyPiece is an entry that a test writes.
type pyPiece struct {
	name    string
	kind    byte
	packed  bool
	content string
}

// pyArchiveOf writes an archive of PyInstaller; a short cookie is that of version 2.0.
func pyArchiveOf(short bool, pieces ...pyPiece) []byte {
	be := binary.BigEndian
	var data, table []byte
	for _, p := range pieces {
		content := []byte(p.content)
		compressed := byte(0)
		if p.packed {
			var z bytes.Buffer
			w := zlib.NewWriter(&z)
			w.Write(content)
			w.Close()
			content, compressed = z.Bytes(), 1
		}
		name := append([]byte(p.name), make([]byte, 16-len(p.name)%16)...)
		table = be.AppendUint32(table, uint32(pyEntry+len(name)))
		table = be.AppendUint32(table, uint32(len(data)))
		table = be.AppendUint32(table, uint32(len(content)))
		table = be.AppendUint32(table, uint32(len(p.content)))
		table = append(append(table, compressed, p.kind), name...)
		data = append(data, content...)
	}
	cookie := pyCookieLong
	if short {
		cookie = pyCookie
	}
	b := append(bytes.Clone(data), table...)
	whole := len(b) + cookie
	b = append(b, pyMark...)
	b = be.AppendUint32(b, uint32(whole))
	b = be.AppendUint32(b, uint32(len(data)))
	b = be.AppendUint32(b, uint32(len(table)))
	b = be.AppendUint32(b, 311)
	if !short {
		b = append(b, append([]byte("libpython3.11.so.1.0"), make([]byte, 64-20)...)...)
	}
	return b
}

var pyPieces = []pyPiece{
	{"pyi-option", 'o', false, ""},
	{"main", 's', true, "code of the main script"},
	{"PYZ-00.pyz", 'z', false, "PYZ\x00stored"},
	{"lib/_ctypes.so", 'b', true, strings.Repeat("library ", 1000)},
	{"../../etc/passwd", 'x', false, "climbs"},
}

func TestPyInstaller(t *testing.T) {
	want := []entry{{"main", 23, sum([]byte("code of the main script")), ""}, {"PYZ-00.pyz", 10, sum([]byte("PYZ\x00stored")), ""},
		{"lib/_ctypes.so", 8000, sum([]byte(strings.Repeat("library ", 1000))), ""}, {"etc/passwd", 6, sum([]byte("climbs")), ""}}
	for _, short := range []bool{false, true} {
		b := pyArchiveOf(short, pyPieces...)
		if got := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format; got != filetype.PyInstaller {
			t.Errorf("detected as %q", got)
		}
		got, err := list(t, filetype.PyInstaller, b, Options{})
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%v %s", err, d)
		}
		// Behind a program, and before a signature's padding.
		stub := bytes.Repeat([]byte("\x7fELF program "), 100)
		in := append(append(bytes.Clone(stub), b...), "\x00\x00\x00"...)
		if d := cmp.Diff([]Found{{filetype.PyInstaller, int64(len(stub)), int64(len(b))}}, Find(bytes.NewReader(in), int64(len(in)), false)); d != "" {
			t.Error(d)
		}
	}
}

func TestPyInstallerHostile(t *testing.T) {
	good := pyArchiveOf(false, pyPieces...)
	table := bytes.Index(good, []byte("pyi-option")) - pyEntry
	main := table + pyEntry + 16
	be := binary.BigEndian
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		be.PutUint32(b[at:], v)
		return b
	}
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"an entry of no bytes":     {change(main, 0), "the table is damaged"},
		"an entry of 4 GiB":        {change(main, 1<<32-1), "the table is damaged"},
		"a piece outside":          {change(main+4, 1<<31), "main pyinstaller: member main: the data ends too early"},
		"a piece larger than said": {change(main+12, 1<<31), "main pyinstaller: member main: the data ends too early"},
		"a piece that is damaged":  {append([]byte{0}, good[1:]...), "main pyinstaller: member main: "},
		"a table of 4 GiB":         {change(len(good)-pyCookieLong+16, 1<<32-1), "does not end with a cookie"},
		"no cookie":                {good[:100], "does not end with a cookie"},
		"nothing":                  {good[:10], "does not end with a cookie"},
	} {
		got, err := list(t, filetype.PyInstaller, c.in, Options{})
		text := fmt.Sprint(err)
		for _, e := range got {
			text += "; " + e.Path + " " + e.Err
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %s; want %q", name, text, c.want)
		}
	}
}

// pyzProgram writes an archive of modules by Python's own marshal, with the table as a list or, as before version 4, as a dictionary.
const pyzProgram = `
import marshal, sys, zlib
data, toc = b"PYZ\0" + b"\x0d\x0d\x0d\x0a" + bytes(4) + bytes(5), []
for name, kind, content in [("pkg", 1, b"code of pkg"), ("pkg.module", 0, b"code of module" * 100), ("space", 3, b"")]:
    packed = zlib.compress(content) if content else b""
    toc.append((name, (kind, len(data), len(packed))))
    data += packed
data = data[:8] + len(data).to_bytes(4, "big") + data[12:]
sys.stdout.buffer.write(data + marshal.dumps(dict(toc) if sys.argv[1] == "dict" else toc))
`

func TestPYZ(t *testing.T) {
	for _, kind := range []string{"list", "dict"} {
		b := run(t, t.TempDir(), "python3", "-c", pyzProgram, kind)
		if got := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format; got != filetype.PYZ {
			t.Errorf("detected as %q", got)
		}
		got, err := list(t, filetype.PYZ, b, Options{})
		want := []entry{{"pkg", 11, sum([]byte("code of pkg")), ""}, {"pkg.module", 1400, sum([]byte(strings.Repeat("code of module", 100))), ""}}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", kind, err, d)
		}
	}
}

func TestPYZHostile(t *testing.T) {
	of := func(table string) []byte {
		return append([]byte("PYZ\x00\x0d\x0d\x0d\x0a\x00\x00\x00\x10data"), table...)
	}
	for name, c := range map[string]struct{ table, want string }{
		"a list of 2^31":         {"[\xff\xff\xff\x7f", "the data of Python are damaged"},
		"a text of 2^31":         {"u\xff\xff\xff\x7f", "the data of Python are damaged"},
		"a negative text":        {"u\xff\xff\xff\xff", "the data of Python are damaged"},
		"lists in lists":         {strings.Repeat("[\x01\x00\x00\x00", 1000), "the data of Python are damaged"},
		"a list in itself":       {"\xdb\x01\x00\x00\x00r\x00\x00\x00\x00", "the data of Python are damaged"},
		"a reference to nothing": {"r\x05\x00\x00\x00", "the data of Python are damaged"},
		"another type":           {"g12345678", "the data of Python are damaged"},
		"a number":               {"i\x01\x00\x00\x00", "the data of Python are damaged"},
		"nothing":                {"", "the data of Python are damaged"},
		"a place outside":        {"[\x01\x00\x00\x00)\x02z\x01x)\x03i\x00\x00\x00\x00i\x00\x00\x00\x10i\x05\x00\x00\x00", "x pyz: member x: the data ends too early"},
		"no zlib":                {"[\x01\x00\x00\x00)\x02z\x01x)\x03i\x00\x00\x00\x00i\x0c\x00\x00\x00i\x04\x00\x00\x00", "x pyz: member x: it is encrypted, or damaged"},
	} {
		got, err := list(t, filetype.PYZ, of(c.table), Options{})
		text := fmt.Sprint(err)
		for _, e := range got {
			text += "; " + e.Path + " " + e.Err
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %s; want %q", name, text, c.want)
		}
	}
}

func FuzzPYZ(f *testing.F) {
	f.Add([]byte("PYZ\x00\x0d\x0d\x0d\x0a\x00\x00\x00\x10data[\x01\x00\x00\x00)\x02z\x01x)\x03i\x00\x00\x00\x00i\x0c\x00\x00\x00i\x04\x00\x00\x00"))
	f.Add([]byte("PYZ\x00\x0d\x0d\x0d\x0a\x00\x00\x00\x10data\xfb\xda\x01x\xa9\x03i\x00\x00\x00\x00r\x00\x00\x00\x00i\x04\x00\x00\x000"))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.PYZ, b) })
}

func FuzzPyInstaller(f *testing.F) {
	f.Add(pyArchiveOf(false, pyPieces...))
	f.Add(pyArchiveOf(true, pyPieces...))
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.PyInstaller, b)
		Find(bytes.NewReader(b), int64(len(b)), false)
	})
}
