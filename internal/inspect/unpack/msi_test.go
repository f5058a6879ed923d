package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
)

const msiSource = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
<Product Id="12345678-1234-1234-1234-123456789011" Name="Test" Language="1033" Version="1.0.0" Manufacturer="M" UpgradeCode="12345678-1234-1234-1234-123456789012">
<Package InstallerVersion="200" Compressed="yes"/>
<Media Id="1" Cabinet="test.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir">
 <Directory Id="ProgramFilesFolder" Name="PFiles">
  <Directory Id="INSTALLDIR" Name="Long Folder Name">
   <Component Id="C1" Guid="12345678-1234-1234-1234-123456789013"><File Id="F1" Name="a long file name.txt" Source="a.txt"/></Component>
   <Directory Id="D2" Name="sub"><Component Id="C2" Guid="12345678-1234-1234-1234-123456789014"><File Id="F2" Name="renamed.bin" Source="b.bin"/><File Id="F3" Source="c.exe"/></Component></Directory>
  </Directory>
 </Directory>
 <Directory Id="SystemFolder" Name="Sys"><Component Id="C3" Guid="12345678-1234-1234-1234-123456789015"><File Id="F4" Name="sys.dll" Source="a.txt"/></Component></Directory>
</Directory>
<Feature Id="f" Level="1"><ComponentRef Id="C1"/><ComponentRef Id="C2"/><ComponentRef Id="C3"/></Feature>
</Product></Wix>
`

// msiNamesOf are the names that an installer gives the files of its cabinets, and the cabinets that lie beside it.
func msiNamesOf(t testing.TB, b []byte) (names map[string]string, beside []string) {
	t.Helper()
	err := Each(t.Context(), filetype.MSI, bytes.NewReader(b), int64(len(b)), Options{}, func(m Member) error {
		if m.Err != nil {
			beside = append(beside, m.Err.Error())
		}
		names = m.Names
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return names, beside
}

// TestMSINames compares an installer that Debian's wixl makes with what msiextract says of it.
func TestMSINames(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"x.wxs": msiSource, "a.txt": "a", "b.bin": "bb", "c.exe": "ccc"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "wixl", "-o", "x.msi", "x.wxs")
	b, err := os.ReadFile(filepath.Join(dir, "x.msi"))
	if err != nil {
		t.Fatal(err)
	}
	names, beside := msiNamesOf(t, b)
	got := map[string]bool{}
	for _, name := range names {
		got[name] = true
	}
	want := map[string]bool{}
	for _, name := range strings.Split(strings.TrimSpace(string(run(t, dir, "msiextract", "-l", "x.msi"))), "\n") {
		want[name] = true
	}
	if d := cmp.Diff(want, got); d != "" || len(want) != 4 || len(beside) != 0 {
		t.Errorf("%v %s", beside, d)
	}
	if names["F2"] != "Program Files/Long Folder Name/sub/renamed.bin" {
		t.Errorf("names: %v", names)
	}
}

// msiPacked packs a name as msiName undoes it; letters and "!" only.
func msiPacked(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	var out []rune
	if rest, table := strings.CutPrefix(name, "!"); table {
		out, name = append(out, 0x4840), rest
	}
	for i := 0; i < len(name); i += 2 {
		a := strings.IndexByte(digits, name[i])
		if i+1 == len(name) {
			out = append(out, rune(0x4800+a))
			break
		}
		out = append(out, rune(0x3800+a+strings.IndexByte(digits, name[i+1])<<6))
	}
	return string(out)
}

// msiOf writes a database of tables: each a name, columns as "name:kind" of texts, and rows.
func msiOf(tables map[string][][]string) []byte {
	le := binary.LittleEndian
	number := map[string]uint16{"": 0}
	pool, data := le.AppendUint32(nil, 0), []byte(nil)
	id := func(s string) uint16 {
		if n, ok := number[s]; ok {
			return n
		}
		number[s] = uint16(len(number))
		pool = le.AppendUint16(le.AppendUint16(pool, uint16(len(s))), 1)
		data = append(data, s...)
		return number[s]
	}
	var columns [4][]byte
	pairs := []string{}
	for name, rows := range tables {
		for i, c := range rows[0] {
			columns[0] = le.AppendUint16(columns[0], id(name))
			columns[1] = le.AppendUint16(columns[1], 0x8000|uint16(i+1))
			columns[2] = le.AppendUint16(columns[2], id(c))
			columns[3] = le.AppendUint16(columns[3], 0x8d00)
		}
		var table []byte
		for i := range rows[0] {
			for _, row := range rows[1:] {
				table = le.AppendUint16(table, id(row[i]))
			}
		}
		pairs = append(pairs, msiPacked("!"+name), string(table))
	}
	pairs = append(pairs, msiPacked("!_Columns"), string(bytes.Join(columns[:], nil)), msiPacked("!_StringPool"), string(pool), msiPacked("!_StringData"), string(data))
	return compoundOf(pairs...)
}

// TestMSIHostile holds that folders in a circle end, that paths do not climb out, and that cabinets beside the installer are told.
func TestMSIHostile(t *testing.T) {
	b := msiOf(map[string][][]string{
		"Directory": {{"Directory", "Directory_Parent", "DefaultDir"}, {"ROOT", "", "SourceDir"}, {"A", "B", "a"}, {"B", "A", "b"}, {"C", "ROOT", "SHORT|long name:FROM|from"}, {"UP", "C", "..|../../.."}},
		"Component": {{"Component", "Directory_"}, {"CA", "A"}, {"CC", "C"}, {"CUP", "UP"}},
		"File":      {{"File", "Component_", "FileName"}, {"F1", "CA", "circle.txt"}, {"F2", "CC", "FILE~1.TXT|file name.txt"}, {"F3", "CUP", "up.txt"}, {"F4", "nowhere", "lost.txt"}},
		"Media":     {{"DiskId", "Cabinet"}, {"", "#inside.cab"}, {"", "Data1.cab"}},
	})
	names, beside := msiNamesOf(t, b)
	if want := "[msi: member Data1.cab: files of the installer are in this cabinet, which is another file]"; fmt.Sprint(beside) != want {
		t.Errorf("%v, want %s", beside, want)
	}
	if names["F2"] != "long name/file name.txt" || names["F3"] != "long name/up.txt" || names["F4"] != "lost.txt" || !strings.HasSuffix(names["F1"], "/circle.txt") {
		t.Errorf("names: %v", names)
	}
	// Paths that are much longer together than the file are bounded.
	rows := [][]string{{"Directory", "Directory_Parent", "DefaultDir"}, {"ROOT", "", "SourceDir"}, {"D", "ROOT", strings.Repeat("d", 3000)}}
	files := [][]string{{"File", "Component_", "FileName"}}
	files = append(files, []string{"FIRST", "C", "x"})
	for range msiMaxPaths / 3000 {
		files = append(files, []string{"F", "C", "x"})
	}
	files = append(files, []string{"LAST", "C", "x"})
	b = msiOf(map[string][][]string{"Directory": rows, "Component": {{"Component", "Directory_"}, {"C", "D"}}, "File": files})
	names, _ = msiNamesOf(t, b)
	if len(names["FIRST"]) != 3002 || names["LAST"] != "" {
		t.Errorf("%d and %d bytes of paths", len(names["FIRST"]), len(names["LAST"]))
	}
}

// FuzzMSI reads databases of damaged streams.
func FuzzMSI(f *testing.F) {
	le := binary.LittleEndian
	f.Add([]byte("\x00\x00\x00\x00\x04\x00\x01\x00\x01\x00\x01\x00"), []byte("Filex"), le.AppendUint16(nil, 1), []byte{1, 0, 2, 0})
	f.Fuzz(func(t *testing.T, pool, data, columns, table []byte) {
		if len(pool)+len(data)+len(columns)+len(table) > 1<<16 {
			return
		}
		b := compoundOf(msiPacked("!_StringPool"), string(pool), msiPacked("!_StringData"), string(data), msiPacked("!_Columns"), string(columns), msiPacked("!File"), string(table),
			msiPacked("!Directory"), string(table), msiPacked("!Media"), string(table))
		c, err := compound.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := openMSI(c); err == nil {
			for key, name := range d.names() {
				if cleanPath(name) != name {
					t.Errorf("%q is called %q", key, name)
				}
			}
			d.cabinets()
		}
	})
}
