package unpack

import (
	"bytes"
	"encoding/base64"
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

// TestRealDMG compares a disk image of macOS with what 7-Zip unpacks of it, which names the partitions otherwise.
func TestRealDMG(t *testing.T) {
	path := filepath.Join(realdata.Path(t, "files", "relic-functest"), "dummy.dmg")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t, filetype.DMG, b, Options{})
	if err != nil {
		t.Error(err)
	}
	out := t.TempDir()
	run(t, out, "7z", "x", "-bd", "-y", "-tdmg", path)
	nameless := func(in []entry) []entry {
		for i := range in {
			in[i].Path = ""
		}
		return sorted(in)
	}
	if diff := cmp.Diff(nameless(tree(t, out)), nameless(got)); diff != "" {
		t.Errorf("members (-7z +ours):\n%s", diff)
	}
}

// dmgOf is a disk image of one partition of runs, whose data stand at the file's beginning.
func dmgOf(data []byte, sectors uint64, runs ...[5]uint64) []byte {
	be := binary.BigEndian
	table := make([]byte, dmgHead)
	copy(table, "mish\x00\x00\x00\x01")
	be.PutUint64(table[16:], sectors)
	be.PutUint32(table[200:], uint32(len(runs)))
	for _, r := range runs {
		table = be.AppendUint32(table, uint32(r[0]))
		table = append(table, 0, 0, 0, 0)
		for _, v := range r[1:] {
			table = be.AppendUint64(table, v)
		}
	}
	plist := "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key><data>" + base64.StdEncoding.EncodeToString(table) +
		"</data><key>Name</key><string>disk (Apple_HFS : 1)</string></dict></array></dict></dict></plist>"
	trailer := make([]byte, dmgTrailer)
	copy(trailer, "koly\x00\x00\x00\x04\x00\x00\x02\x00")
	be.PutUint64(trailer[0x20:], uint64(len(data)))
	be.PutUint64(trailer[0xd8:], uint64(len(data)))
	be.PutUint64(trailer[0xe0:], uint64(len(plist)))
	return append(append(bytes.Clone(data), plist...), trailer...)
}

// TestDMG holds what each kind of run gives, and what is told of one that cannot be read.
func TestDMG(t *testing.T) {
	content := sources(2)["noise.bin"][:2*dmgSector]
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(content)
	w.Close()
	data := append(bytes.Clone(content), z.Bytes()...)
	raw, packed := [5]uint64{dmgRaw, 0, 2, 0, 2 * dmgSector}, [5]uint64{dmgZlib, 2, 2, 2 * dmgSector, uint64(z.Len())}
	const name = "disk (Apple_HFS : 1)"
	twice := append(bytes.Clone(content), content...)
	for label, c := range map[string]struct {
		b    []byte
		want entry
	}{
		"whole": {dmgOf(data, 7, raw, packed, [5]uint64{dmgZero, 4, 3}, [5]uint64{dmgEndOfRuns, 7}),
			entry{Path: name, Size: 7 * dmgSector, SHA256: sum(append(bytes.Clone(twice), make([]byte, 3*dmgSector)...))}},
		"short":  {dmgOf(data, 7, raw, packed), entry{Path: name, Size: 4 * dmgSector, SHA256: sum(twice), Err: "dmg: member " + name + ": the data ends too early"}},
		"LZFSE":  {dmgOf(data, 2, [5]uint64{dmgLZFSE, 0, 2, 0, 99}), entry{Path: name, SHA256: sum(nil), Err: "dmg: member " + name + ": a block of LZFSE is of no known kind"}},
		"beyond": {dmgOf(data, 2, [5]uint64{dmgRaw, 0, 2, 1 << 40, 99}), entry{Path: name, SHA256: sum(nil), Err: "dmg: member " + name + ": the data ends too early"}},
		"order":  {dmgOf(data, 2, [5]uint64{dmgRaw, 1, 2, 0, 99}), entry{Path: name, SHA256: sum(nil), Err: "dmg: member " + name + ": the runs are out of order"}},
	} {
		if got := filetype.Detect(bytes.NewReader(c.b), int64(len(c.b))); got.Format != filetype.DMG {
			t.Errorf("%s: detected as %q", label, got.Format)
		}
		got, err := list(t, filetype.DMG, c.b, Options{})
		if diff := cmp.Diff([]entry{c.want}, got); diff != "" || err != nil {
			t.Errorf("%s: %v, members (-want +got):\n%s", label, err, diff)
		}
	}
}

// packADC compresses by the last place of the same three bytes.
func packADC(in []byte) (out []byte) {
	last := map[[3]byte]int{}
	var literals []byte
	flush := func() {
		for len(literals) > 0 {
			n := min(len(literals), 128)
			out = append(append(out, byte(n-1)|0x80), literals[:n]...)
			literals = literals[n:]
		}
	}
	for i := 0; i < len(in); {
		n, distance := 0, 0
		if i+3 <= len(in) {
			if at, ok := last[[3]byte(in[i:])]; ok && i-at <= 1<<16 {
				distance = i - at
				for i+n < len(in) && in[i+n] == in[at+n] && n < 67 {
					n++
				}
			}
			last[[3]byte(in[i:])] = i
		}
		switch {
		case n >= 3 && n <= 18 && distance <= 1<<10:
			flush()
			out = append(out, byte(n-3)<<2|byte((distance-1)>>8), byte(distance-1))
		case n >= 4:
			flush()
			out = append(out, byte(n-4)|0x40, byte((distance-1)>>8), byte(distance-1))
		default:
			literals, n = append(literals, in[i]), 1
		}
		i += n
	}
	flush()
	return out
}

// TestDMGADC reads a run that the test compresses, as 7-Zip does.
func TestDMGADC(t *testing.T) {
	s := sources(1)
	content := append(append(bytes.Clone(s["code.exe"]), s["docs/text.txt"]...), s["noise.bin"]...)
	content = content[:len(content)&^(dmgSector-1)]
	packed := packADC(content)
	if len(packed) >= len(content) {
		t.Fatal("nothing was compressed")
	}
	sectors := uint64(len(content) / dmgSector)
	b := dmgOf(packed, sectors, [5]uint64{dmgADC, 0, sectors, 0, uint64(len(packed))}, [5]uint64{dmgEndOfRuns, sectors})
	got, err := list(t, filetype.DMG, b, Options{})
	want := []entry{{Path: "disk (Apple_HFS : 1)", Size: int64(len(content)), SHA256: sum(content)}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
	theirs := unpackedBy7z(t, b, "-tdmg")
	if len(theirs) != 1 || theirs[0].SHA256 != sum(content) {
		t.Errorf("7-Zip has %v", theirs)
	}
	for name, packed := range map[string]string{"before the beginning": "\x00\x00", "cut": "\xffabc", "cut in a match": "\x80a\x40"} {
		got, err := list(t, filetype.DMG, dmgOf([]byte(packed), 1, [5]uint64{dmgADC, 0, 1, 0, uint64(len(packed))}), Options{})
		if err != nil || len(got) != 1 || got[0].Err == "" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzDMG(f *testing.F) {
	f.Add(dmgOf([]byte("abc"), 2, [5]uint64{dmgRaw, 0, 1, 0, 3}, [5]uint64{dmgZero, 1, 1}))
	f.Add(dmgOf([]byte("BZh9"), 2, [5]uint64{dmgBzip2, 0, 1, 0, 4}, [5]uint64{dmgXZ, 1, 1, 0, 4}))
	f.Add(dmgOf([]byte("bvx-\x03\x00\x00\x00abcbvx$"), 1, [5]uint64{dmgLZFSE, 0, 1, 0, 15}))
	f.Add(dmgOf([]byte("\x81ab\x3c\x01\x7f\x00\x03"), 1, [5]uint64{dmgADC, 0, 1, 0, 8}))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.DMG, b) })
}
