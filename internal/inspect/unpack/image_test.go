package unpack

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zlib"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestImagesAreKnown holds that what testdata keeps of images is told by its content.
func TestImagesAreKnown(t *testing.T) {
	makers := makers()
	for name, b := range testdata(t) {
		switch want := makers[name].format; want {
		case filetype.ISO, filetype.XAR, filetype.SquashFS:
			if got := filetype.Detect(bytes.NewReader(b), int64(len(b))); got.Format != want {
				t.Errorf("%s: detected as %q", name, got.Format)
			}
		}
	}
}

// TestImagesAgainst7Zip compares images of larger files, of deep and long-named ones and of many with what 7-Zip unpacks.
func TestImagesAgainst7Zip(t *testing.T) {
	files := sources(2)
	files["a/b/c/d/e/f/g/h/i/deep.txt"] = []byte("deeper than ISO 9660 allows\n")
	files["long/"+strings.Repeat("long-", 40)+"name.txt"] = []byte("long\n")
	for i := range 700 {
		files["many/"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+string(rune('a'+i/26))] = []byte{byte(i), byte(i >> 8)}
	}
	dir := write(t, files)
	for name, c := range map[string]struct {
		format filetype.Format
		tool   string
		args   []string
	}{
		"genisoimage -R": {filetype.ISO, "genisoimage", []string{"-quiet", "-input-charset", "utf-8", "-R", "-o", "../x", "."}},
		"genisoimage -J": {filetype.ISO, "genisoimage", []string{"-quiet", "-input-charset", "utf-8", "-R", "-J", "-joliet-long", "-o", "../x", "."}},
		"gzip":           {filetype.SquashFS, "mksquashfs", []string{".", "../x", "-quiet", "-no-progress"}},
		"xz":             {filetype.SquashFS, "mksquashfs", []string{".", "../x", "-quiet", "-no-progress", "-comp", "xz"}},
		"zstd":           {filetype.SquashFS, "mksquashfs", []string{".", "../x", "-quiet", "-no-progress", "-comp", "zstd", "-b", "8192"}},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(filepath.Dir(dir), "x")
			os.Remove(image)
			run(t, dir, c.tool, c.args...)
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, c.format, b, Options{})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" {
				t.Errorf("members (-packed +unpacked):\n%s", diff)
			}
			if c.tool == "mksquashfs" { // of deep directories in an image, 7-Zip tells where they were moved
				out := t.TempDir()
				run(t, out, "7z", "x", "-bd", "-y", image)
				if diff := cmp.Diff(tree(t, out), got); diff != "" {
					t.Errorf("members (-7z +ours):\n%s", diff)
				}
			}
		})
	}
}

// TestRealPKG compares a signed package of macOS with what 7-Zip unpacks of it.
func TestRealPKG(t *testing.T) {
	path := filepath.Join(realdata.Path(t, "files", "relic-functest"), "dummy.pkg")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t, filetype.XAR, b, Options{})
	if err != nil {
		t.Error(err)
	}
	out := t.TempDir()
	run(t, out, "7z", "x", "-bd", "-y", "-txar", path)
	var want []entry
	for _, e := range tree(t, out) {
		if e.Path != "[TOC].xml" { // 7-Zip's own
			want = append(want, e)
		}
	}
	if diff := cmp.Diff(want, sorted(got)); diff != "" {
		t.Errorf("members (-7z +ours):\n%s", diff)
	}
}

// TestISOCycle holds that a directory that is below itself is told once, and that its other files are told.
func TestISOCycle(t *testing.T) {
	b := bytes.Clone(testdata(t)["iso-plain"])
	root := int(binary.LittleEndian.Uint32(b[16*isoSector+158:])) * isoSector
	// The last record becomes a directory: the root.
	last := root
	for at := root; b[at] != 0; at += int(b[at]) {
		last = at
	}
	copy(b[last+2:last+18], b[root+2:root+18])
	b[last+25] = 2
	got, err := list(t, filetype.ISO, b, Options{})
	if want := only("code.exe", "CODE.EXE", 1)(sources(200)); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("members %v, %v; want %v", got, err, want)
	}
}

// TestISOHidden holds that a file which only the tree of lesser names has is told, too.
func TestISOHidden(t *testing.T) {
	b := bytes.Clone(testdata(t)["iso-both"])
	// Without its records, the root with Rock Ridge's names is empty.
	root := int(binary.LittleEndian.Uint32(b[16*isoSector+158:])) * isoSector
	second := root + int(b[root])
	clear(b[second+int(b[second]) : root+isoSector])
	got, err := list(t, filetype.ISO, b, Options{})
	var want []entry
	for _, e := range all(sources(200)) {
		if e.Size > 0 {
			want = append(want, e)
		}
	}
	if diff := cmp.Diff(want, sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-packed +unpacked):\n%s", err, diff)
	}
}

// TestSquashFSCycle holds that directories which are below themselves end.
func TestSquashFSCycle(t *testing.T) {
	b := bytes.Clone(testdata(t)["squashfs-stored"])
	le := binary.LittleEndian
	root, lists := le.Uint64(b[32:]), int(le.Uint64(b[72:]))
	// The entry of docs becomes the root: the first block of the directories is all there is.
	at := bytes.Index(b[lists:], []byte("docs"))
	if at < 8 {
		t.Fatal("docs is not in the directories")
	}
	le.PutUint16(b[lists+at-8:], uint16(root))
	got, err := list(t, filetype.SquashFS, b, Options{})
	if err != nil {
		t.Error(err)
	}
	var want []entry
	for _, e := range all(sources(200)) {
		if !strings.HasPrefix(e.Path, "docs/") {
			want = append(want, e)
		}
	}
	if diff := cmp.Diff(want, sorted(got)); diff != "" {
		t.Errorf("members (-packed +unpacked):\n%s", diff)
	}
}

// TestXARHostile holds what a table of contents may not do.
func TestXARHostile(t *testing.T) {
	for name, c := range map[string]struct{ toc, want string }{
		"deep":    {strings.Repeat("<file>", 100_000), "nested deeper than 200 levels"},
		"not XML": {"<xar><toc></xar>", "the table of contents is damaged"},
		"no end":  {"<xar><toc>", "the data ends too early"},
	} {
		_, err := list(t, filetype.XAR, xarOf(c.toc, ""), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	got, err := list(t, filetype.XAR, xarOf(`<xar><toc><file><name>../a</name><type>file</type><data><offset>9</offset><length>9</length><size>9</size></data></file>`+
		`<file><name>b</name><type>file</type><data><offset>0</offset><length>3</length><size>3</size><encoding style="application/x-new"/></data></file>`+
		`<file><name>c</name><type>file</type><data><offset>0</offset><length>3</length><size>3</size></data></file></toc></xar>`, "abc"), Options{})
	want := []entry{
		{Path: "a", Size: 9, Err: "xar: member a: the data ends too early"},
		{Path: "b", Size: 3, Err: `xar: member b: the encoding "application/x-new" is not known`},
		{Path: "c", Size: 3, SHA256: sum([]byte("abc"))},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// xarOf is a xar of a table of contents and a heap.
func xarOf(toc, heap string) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write([]byte(toc))
	w.Close()
	b := []byte("xar!\x00\x1c\x00\x01")
	b = binary.BigEndian.AppendUint64(b, uint64(z.Len()))
	b = binary.BigEndian.AppendUint64(b, uint64(len(toc)))
	b = append(b, 0, 0, 0, 0)
	return append(append(b, z.Bytes()...), heap...)
}

func FuzzISO(f *testing.F) {
	seeds(f, filetype.ISO)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.ISO, b) })
}

// FuzzXAR reads the bytes as they are, and as a table of contents.
func FuzzXAR(f *testing.F) {
	seeds(f, filetype.XAR)
	f.Add([]byte(`<xar><toc><file><name>c</name><data><offset>0</offset><length>3</length><size>3</size></data></file></toc></xar>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.XAR, b)
		unpackAny(t, filetype.XAR, xarOf(string(b), "abc"))
	})
}

func FuzzSquashFS(f *testing.F) {
	seeds(f, filetype.SquashFS)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.SquashFS, b) })
}
