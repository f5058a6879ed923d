package unpack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// nsisScript is what Debian's makensis compiles: folders, a name of its own, a plugin, an uninstaller with a script of its own, and the same data twice.
const nsisScript = `Unicode %[1]t
Name "Test"
OutFile "setup.exe"
InstallDir "$PROGRAMFILES\Test"
SetCompressor %[2]s
Section "main"
SetOutPath "$INSTDIR"
File text.txt
File empty.txt
SetOutPath "$INSTDIR\sub folder"
File random.bin
File runs.bin
SetOutPath "$SYSDIR"
File /oname=renamed.txt text.txt
SetOutPath "$APPDATA\Test"
File zeros.bin
InitPluginsDir
File "/oname=$PLUGINSDIR\part.dat" small.txt
System::Call 'kernel32::GetTickCount()i.r0'
WriteUninstaller "$INSTDIR\remove.exe"
SectionEnd
Section "Uninstall"
Delete "$INSTDIR\text.txt"
nsExec::Exec 'x'
SectionEnd
`

// nsisSources are the files that the script packs.
func nsisSources(t testing.TB, dir string) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{9})
	random := make([]byte, 70_000)
	rng.Read(random)
	var runs []byte
	for i := range 2000 {
		runs = append(runs, bytes.Repeat([]byte{byte(i % 7)}, i%260)...)
	}
	for name, b := range map[string][]byte{"text.txt": bytes.Repeat([]byte("A line of text, and another one.\r\n"), 3000), "empty.txt": {}, "random.bin": random, "runs.bin": runs,
		"zeros.bin": make([]byte, 1<<20), "small.txt": []byte("small")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// nsisInstaller compiles the script.
func nsisInstaller(t testing.TB, unicode bool, compressor string) []byte {
	t.Helper()
	dir := t.TempDir()
	nsisSources(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "x.nsi"), fmt.Appendf(nil, nsisScript, unicode, compressor), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "makensis", "-V1", "x.nsi")
	b, err := os.ReadFile(filepath.Join(dir, "setup.exe"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNSIS compares installers of Debian's makensis with what 7-Zip extracts from them.
func TestNSIS(t *testing.T) {
	for _, compressor := range []string{"zlib", "bzip2", "lzma", "/SOLID zlib", "/SOLID bzip2", "/SOLID lzma"} {
		for _, unicode := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s unicode %t", compressor, unicode), func(t *testing.T) {
				b := nsisInstaller(t, unicode, compressor)
				got := map[string]string{}
				entries, err := list(t, filetype.NSIS, b, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Err != "" {
						t.Error(e.Err)
					}
					got[strings.TrimPrefix(e.Path, "$INSTDIR/")] = e.SHA256
				}
				if d := cmp.Diff(sevenZipExtracts(t, b), got); d != "" {
					t.Error(d)
				}
				if got["remove.exe"] == "" || got["$SYSDIR/renamed.txt"] == "" || got["$PLUGINSDIR/System.dll"] == "" {
					t.Errorf("a file lacks: %v", slices.Sorted(maps.Keys(got)))
				}
			})
		}
	}
}

// sevenZipExtracts are the files that 7-Zip extracts from an archive, by path.
func sevenZipExtracts(t testing.TB, b []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "setup.exe"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "7z", "x", "-y", "-oout", "setup.exe")
	out := map[string]string{}
	root := filepath.Join(dir, "out")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h := sha256.Sum256(b)
		name, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(name)] = hex.EncodeToString(h[:8])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nsisData writes the data of an installer without compression: a header of entries and strings, and the files behind it.
func nsisData(texts string, entries [][7]uint32, files ...string) []byte {
	le := binary.LittleEndian
	const tables = 4 + 8*8
	script := make([]byte, 0, nsisEntry*len(entries))
	for _, e := range entries {
		for _, v := range e {
			script = le.AppendUint32(script, v)
		}
	}
	at := uint32(tables)
	end := at + uint32(len(script))
	header := le.AppendUint32(nil, 0)
	for _, table := range [8][2]uint32{2: {at, uint32(len(entries))}, 3: {end, 0}, 4: {end + uint32(len(texts)), 0}} {
		if table[0] == 0 {
			table[0] = at // none is at zero, which the headers of 64 bits have
		}
		header = le.AppendUint32(le.AppendUint32(header, table[0]), table[1])
	}
	header = append(append(header, script...), texts...)
	body := append(le.AppendUint32(nil, uint32(len(header))), header...)
	for _, f := range files {
		body = append(le.AppendUint32(body, uint32(len(f))), f...)
	}
	first := append(le.AppendUint32(nil, 0), nsisMark...)
	first = le.AppendUint32(le.AppendUint32(first, uint32(len(header))), uint32(nsisFirst+len(body)))
	return append(first, body...)
}

// TestNSISPaths holds how the codes of strings are read, in each of the editions.
func TestNSISPaths(t *testing.T) {
	const create, extract = nsisCreateDir, nsisExtractFile
	for name, c := range map[string]struct {
		texts string
		want  string
	}{
		"NSIS 3":                    {"\x00a.txt\x00\x03\x95\x80\\sub\x00", "$INSTDIR/sub/a.txt"},
		"NSIS 3, folder of Windows": {"\x00a.txt\x00\x02\x1a\x23\\sub\x00", "$APPDATA/sub/a.txt"},
		"NSIS 2":                    {"\x00a.txt\x00\xfd\x95\x80\\sub\x00", "$INSTDIR/sub/a.txt"},
		"NSIS 2, folder of Windows": {"\x00a.txt\x00\xfe\x1a\x23\\sub\xfc\xfd\x00", "$APPDATA/sub\u00fd/a.txt"},
		"NSIS 2, named folder":      {"\x00a.txt\x00\xfe\x8c\x26\\\x00ProgramFilesDir\x00", "$PROGRAMFILES/a.txt"},
		"climbs":                    {"\x00a.txt\x00\x03\x95\x80\\..\\..\\x\x00", "$INSTDIR/x/a.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			b := nsisData(c.texts, [][7]uint32{{create, 7, 1}, {extract, 0, 1, 0}}, "content")
			got, err := list(t, filetype.NSIS, b, Options{})
			if d := cmp.Diff([]entry{{c.want, 7, sum([]byte("content")), ""}}, got); d != "" || err != nil {
				t.Errorf("%v %s", err, d)
			}
		})
	}
}

// TestNSISHostile holds that what is damaged is told, and the rest given.
func TestNSISHostile(t *testing.T) {
	texts := "\x00a.txt\x00b.txt\x00"
	extract := func(name, at uint32) [7]uint32 { return [7]uint32{nsisExtractFile, 0, name, at} }
	good := nsisData(texts, [][7]uint32{extract(1, 0), extract(7, 11)}, "content", "more")
	reason := func(b []byte) string {
		got, err := list(t, filetype.NSIS, b, Options{})
		text := fmt.Sprint(err)
		for _, e := range got {
			text += "; " + e.Path + " " + e.Err
		}
		return text
	}
	if got := reason(good); got != "<nil>; $INSTDIR/a.txt ; $INSTDIR/b.txt " {
		t.Error(got)
	}
	le := binary.LittleEndian
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		le.PutUint32(b[at:], v)
		return b
	}
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"cut in the header":         {good[:60], "the data ends too early"},
		"cut in a file":             {good[:len(good)-2], "b.txt nsis: member $INSTDIR/b.txt: the data ends too early"},
		"a header of 4 GiB":         {change(20, 1<<32-1), "nsis: "},
		"entries outside of it":     {change(nsisFirst+4+4+8*2+4, 1<<30), "the header's tables lie outside of it"},
		"strings outside of it":     {change(nsisFirst+4+4+8*4, 1<<30), "the header's tables lie outside of it"},
		"a file beyond the end":     {nsisData(texts, [][7]uint32{extract(1, 0), extract(7, 1<<31)}, "content"), "b.txt nsis: member $INSTDIR/b.txt: the data ends too early"},
		"a name beyond the strings": {nsisData(texts, [][7]uint32{extract(1<<31, 0)}, "content"), "<nil>; $INSTDIR "},
		"a file of 2 GiB":           {change(len(good)-8, 1<<31-1), "b.txt nsis: member $INSTDIR/b.txt: the data ends too early"},
		"no first header":           {make([]byte, 4096), "there is no first header"},
	} {
		if got := reason(c.in); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; want %q", name, got, c.want)
		}
	}
	// Many entries that write the same piece do not unpack it again and again.
	many := make([][7]uint32, 2000)
	for i := range many {
		many[i] = extract(1, 0)
	}
	b := nsisData(texts, many, strings.Repeat("x", 1<<16))
	r := &countedReaderAt{r: bytes.NewReader(b)}
	if got, err := listReader(t, filetype.NSIS, r, int64(len(b)), Options{}); len(got) != len(many) || err != nil || r.n > 1<<20 {
		t.Errorf("%d members, %v, %d bytes read", len(got), err, r.n)
	}
}

// TestNSISPathsBounded holds that paths do not take more memory than is right because many entries share a long text.
func TestNSISPathsBounded(t *testing.T) {
	many := make([][7]uint32, 100_000)
	for i := range many {
		many[i] = [7]uint32{nsisExtractFile, 0, 1, 0}
	}
	b := nsisData("\x00"+strings.Repeat("x", 3000)+"\x00", many, "content")
	told := 0
	err := Each(t.Context(), filetype.NSIS, bytes.NewReader(b), int64(len(b)), Options{}, func(Member) error { told++; return nil })
	if most := nsisMaxPaths / 3000; err == nil || !strings.Contains(err.Error(), "what followed was not looked at") || told > most {
		t.Errorf("%d members, %v", told, err)
	}
}

// FuzzNSIS reads installers of every compressor with damage, also in the header that they compress.
func FuzzNSIS(f *testing.F) {
	f.Add(nsisData("\x00a.txt\x00\x03\x95\x80\\sub\x00", [][7]uint32{{nsisCreateDir, 7, 1}, {nsisExtractFile, 0, 1, 0}, {62, 1, 0, 4}}, "content", "more"))
	for _, compressor := range []string{"zlib", "bzip2", "/SOLID lzma", "/SOLID bzip2"} {
		b := nsisInstaller(f, true, compressor)
		f.Add(b[bytes.Index(b, []byte(nsisMark))-4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.NSIS, b) })
}

// FuzzNSISBzip2 reads what may be a stream of NSIS's bzip2.
func FuzzNSISBzip2(f *testing.F) {
	f.Add([]byte{nsisBlockMark, 0, 0, 1, 0x80, 0, 0x80, 0, 0x40, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		io.CopyN(io.Discard, newNSISBzip2(buffered(bytes.NewReader(b))), 4<<20)
	})
}
