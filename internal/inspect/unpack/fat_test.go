package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// fatImage makes a FAT volume of files with mtools.
func fatImage(t *testing.T, kilobytes int, files map[string][]byte, args ...string) []byte {
	t.Helper()
	t.Setenv("MTOOLS_SKIP_CHECK", "1")
	dir := t.TempDir()
	image := filepath.Join(dir, "x.img")
	run(t, dir, "mkfs.fat", append(append([]string{"-C"}, args...), image, fmt.Sprint(kilobytes))...)
	made := map[string]bool{".": true}
	for _, e := range all(files) {
		for i, c := range e.Path + "/" {
			if d := e.Path[:min(i, len(e.Path))]; c == '/' && d != e.Path && !made[d] {
				run(t, dir, "mmd", "-i", image, "::/"+d)
				made[d] = true
			}
		}
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, files[e.Path], 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "mcopy", "-i", image, file, "::/"+e.Path)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fatFiles are files with names of every kind that mtools writes, in clusters that do not follow one another.
func fatFiles(scale int) map[string][]byte {
	files := sources(scale)
	delete(files, "docs/ümläut.txt") // mtools takes names of the locale
	files["UPPER.TXT"], files["lower.txt"], files["Mixed.Txt"], files["lower.EXT"] = []byte("1"), []byte("2"), []byte("3"), []byte("4")
	files["docs/A name with blanks that is longer than three entries can hold.document"] = []byte("long")
	for i := range 40 {
		files[fmt.Sprintf("docs/a/b/c/file number %d", i)] = bytes.Repeat([]byte{byte(i)}, i*100)
	}
	return files
}

// TestFAT reads volumes of every size of table, and compares them with what was copied there and with what 7-Zip unpacks.
func TestFAT(t *testing.T) {
	files := fatFiles(4)
	for name, c := range map[string]struct {
		kilobytes int
		args      []string
	}{
		"floppy":      {1440, nil},
		"12":          {4000, []string{"-F12"}},
		"16":          {20_000, []string{"-F16", "-s2"}},
		"32":          {40_000, []string{"-F32", "-s1"}},
		"4 KB":        {9000, []string{"-S4096"}},
		"large roots": {3000, []string{"-r1024", "-f1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := fatImage(t, c.kilobytes, files, c.args...)
			detected(t, b, filetype.FAT)
			got, err := list(t, filetype.FAT, b, Options{})
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-copied +read):\n%s", err, diff)
			}
			if name == "4 KB" { // 7-Zip opens none
				return
			}
			if diff := cmp.Diff(unpackedBy7z(t, b), sorted(got)); diff != "" {
				t.Errorf("members (-7z +ours):\n%s", diff)
			}
		})
	}
}

// TestFATPieces reads a file whose clusters lie between those of another, and no file that is deleted.
func TestFATPieces(t *testing.T) {
	t.Setenv("MTOOLS_SKIP_CHECK", "1")
	dir := t.TempDir()
	image := filepath.Join(dir, "x.img")
	if err := os.WriteFile(image, fatImage(t, 1440, map[string][]byte{"a": bytes.Repeat([]byte("a"), 5000), "b": []byte("b"), "c": bytes.Repeat([]byte("c"), 3000), "d": []byte("d")}), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mdel", "-i", image, "::a", "::c")
	big := sources(1)["docs/text.txt"][:60_000]
	if err := os.WriteFile(filepath.Join(dir, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mcopy", "-i", image, "big", "::")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(b, big[:10_000]); i >= 0 {
		t.Fatal("the file lies in one piece")
	}
	got, err := list(t, filetype.FAT, b, Options{})
	if diff := cmp.Diff([]entry{member("b", "b"), member("big", string(big)), member("d", "d")}, sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-copied +read):\n%s", err, diff)
	}
}

// TestFATHostile holds what a volume may not do.
func TestFATHostile(t *testing.T) {
	le := binary.LittleEndian
	good := fatImage(t, 160, map[string][]byte{"dir/x": bytes.Repeat([]byte("x"), 3000), "dir/y": []byte("y")}, "-F12", "-s1")
	g, err := fatGeometryOf(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := int(g.root) // the entry of dir
	for good[dir+11] != 16 {
		dir += fatEntry
	}
	in := int(g.data + int64(le.Uint16(good[dir+26:])-2)*g.cluster)
	x := in + 2*fatEntry // behind "." and ".."
	for good[x+11]&0x3f == 0x0f {
		x += fatEntry
	}
	first := int(le.Uint16(good[x+26:]))
	spoilt := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	ring := func(b []byte) { // the first cluster of x goes on in itself
		at := int(g.table) + first*3/2
		v := le.Uint16(b[at:])
		if first&1 == 1 {
			v = v&0xf | uint16(first)<<4
		} else {
			v = v&0xf000 | uint16(first)
		}
		le.PutUint16(b[at:], v)
	}
	for name, c := range map[string]struct {
		in        []byte
		err, told string // of the whole; of a member
	}{
		"sectors":               {spoilt(func(b []byte) { b[11], b[12] = 1, 2 }), "fat: the boot sector is damaged", ""},
		"clusters of none":      {spoilt(func(b []byte) { b[13] = 0 }), "fat: the boot sector is damaged", ""},
		"a table of none":       {spoilt(func(b []byte) { clear(b[22:24]); clear(b[36:40]) }), "fat: the boot sector is damaged", ""},
		"no room":               {spoilt(func(b []byte) { b[19], b[20] = 3, 0 }), "fat: the boot sector is damaged", ""},
		"cut":                   {good[:x], "fat: directory /dir: the data ends too early", ""},
		"a directory in itself": {spoilt(func(b []byte) { copy(b[x+11:], "\x10"); copy(b[x+26:], b[dir+26:dir+28]) }), "", ""},
		"a directory nowhere":   {spoilt(func(b []byte) { copy(b[dir+26:], "\xff\xff") }), "fat: directory /dir: cluster 65535 of 285", ""},
		"a ring of clusters":    {spoilt(ring), "", ""},
		"a file of 4 GB":        {spoilt(func(b []byte) { copy(b[x+28:], "\xff\xff\xff\xff") }), "", "fat: member dir/x: it claims 4294967295 bytes, more than the volume has"},
		"a file nowhere":        {spoilt(func(b []byte) { copy(b[x+26:], "\xff\x0f") }), "", "fat: member dir/x: cluster 4095 of 285"},
		"a file too short":      {spoilt(func(b []byte) { copy(b[x+28:], "\x00\x40\x00\x00") }), "", "fat: member dir/x: the data ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.FAT, c.in, Options{})
			told := ""
			for _, e := range got {
				if e.Err != "" {
					told = e.Err
				}
			}
			if (err != nil || c.err != "") && fmt.Sprint(err) != c.err || told != c.told {
				t.Errorf("%v, member: %s; want %s, %s", err, told, c.err, c.told)
			}
		})
	}
}

func FuzzFAT(f *testing.F) {
	// The smallest volume: a sector of each table, one of the root, and three clusters.
	b := make([]byte, 6*512)
	copy(b, "\xeb\x3c\x90mkfs.fat\x00\x02\x01\x01\x00\x01\x10\x00\x06\x00\xf8\x01\x00")
	copy(b[512:], "\xf8\xff\xff\x03\xf0\xff\xff\x0f")
	copy(b[1024:], "Af\x00i\x00r\x00s\x00t\x00\x0f\x00\xa2.\x00t\x00x\x00t\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff")
	copy(b[1024+32:], "FIRST   TXT \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x05\x02\x00\x00")
	copy(b[1024+64:], "DIR        \x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	copy(b[1536:], "first")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.FAT, b) })
}
