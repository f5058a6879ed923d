package unpack

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// capture makes a Windows image of a folder with wimlib.
func capture(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.wim")
	run(t, ".", "wimcapture", append([]string{dir, path, "--threads=1"}, args...)...)
	return path
}

// TestWIM reads images that wimlib makes by every compression, and compares them with what was packed and with what 7-Zip and wimlib unpack.
func TestWIM(t *testing.T) {
	files := sources(2)
	files["again/code.exe"] = files["code.exe"] // one stream, two paths
	files["exact"] = bytes.Repeat([]byte("0123456789abcdef"), 2*chmFrame/16)
	dir := write(t, files)
	for name, args := range map[string][]string{
		"stored":       {"--compress=none"},
		"XPRESS":       {"--compress=xpress"},
		"XPRESS 4 KB":  {"--compress=xpress", "--chunk-size=4096"},
		"XPRESS 64KB":  {"--compress=xpress", "--chunk-size=65536"},
		"LZX":          {"--compress=lzx"},
		"LZX 64 KB":    {"--compress=lzx", "--chunk-size=65536"},
		"LZX 2 MB":     {"--compress=lzx", "--chunk-size=2097152"},
		"checked":      {"--compress=lzx:20", "--check"},
		"LZMS":         {"--compress=lzms"},
		"LZMS 1 MB":    {"--compress=lzms:100", "--chunk-size=1048576"},
		"solid":        {"--solid"},
		"solid 128K":   {"--solid", "--solid-chunk-size=131072"},
		"solid LZX":    {"--compress=lzx", "--solid", "--solid-compress=lzx"},
		"solid XPRESS": {"--compress=xpress", "--solid", "--solid-compress=xpress"},
	} {
		t.Run(name, func(t *testing.T) { comparedWith7z(t, filetype.WIM, capture(t, dir, args...)) })
	}
	t.Run("two images", func(t *testing.T) {
		path := capture(t, dir)
		run(t, ".", "wimappend", filepath.Join(dir, "docs"), path, "the second")
		out := t.TempDir()
		run(t, out, "wimapply", path, "1", "1")
		run(t, out, "wimapply", path, "2", "2")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list(t, filetype.WIM, b, Options{})
		if diff := cmp.Diff(tree(t, out), sorted(got)); diff != "" || err != nil {
			t.Errorf("%v, members (-wimapply +ours):\n%s", err, diff)
		}
	})
	for name, c := range map[string]struct {
		args      []string
		err, told string
	}{
		"for a pipe": {[]string{"--pipable"}, "wim: it is written for a pipe, which is not read", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(capture(t, dir, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			if got := filetype.Detect(bytes.NewReader(b), int64(len(b))); got.Format != filetype.WIM {
				t.Errorf("told as %v", got)
			}
			got, err := list(t, filetype.WIM, b, Options{})
			if c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && err != nil {
				t.Errorf("%v, want %q", err, c.err)
			}
			if c.told == "" {
				return
			}
			if len(got) != len(files) {
				t.Errorf("%d members of %d", len(got), len(files))
			}
			for _, e := range got {
				if e.Path != "empty" && !strings.HasSuffix(e.Err, c.told) {
					t.Errorf("member %s: %q", e.Path, e.Err)
				}
			}
		})
	}
}

// x86Code is what looks like code of x86 that calls and reads few places from many, by every instruction whose target compressors change.
func x86Code(size int) []byte {
	ops := [][]byte{{0x48, 0x8d, 0x05}, {0x48, 0x8b, 0x0d}, {0x4c, 0x8d, 0x3d}, {0xe8}, {0xe9}, {0xf0, 0x83, 0x05}, {0xff, 0x15}, {0x48, 0x8b, 0x45}, {0xff, 0x25}, {0x4c, 0x8b, 0x05}}
	noise := sources(1)["noise.bin"]
	var b []byte
	for i := 0; len(b) < size; i++ {
		n := noise[i%len(noise)]
		b = append(append(b, noise[i%251:i%251+int(n%7)]...), ops[int(n>>3)%len(ops)]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(5000*int(n%16)-len(b)))
		if n == 0 {
			b = append(b, noise[:3000]...) // no code for a while
		}
	}
	return b
}

// ramps are numbers of every width that rise and fall.
func ramps(size int) (b []byte) {
	for width := 1; width <= 8; width *= 2 {
		v := uint64(0)
		for i := range size / 4 / width {
			b = append(b, binary.LittleEndian.AppendUint64(nil, v)[:width]...)
			v += uint64(1000/width + i/500*7)
			if i%97 == 0 {
				v *= 3
			}
		}
	}
	return b
}

// TestWIMLZMS reads what wimlib compresses by LZMS, each stream by itself and solid, and compares it with what wimlib was given.
func TestWIMLZMS(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	code := make([]byte, 400_000)
	if _, err := io.ReadFull(program, code); err != nil {
		t.Fatal(err)
	}
	files := sources(4)
	files["program"], files["x86"], files["ramps"] = code, x86Code(100_000), ramps(100_000)
	files["17"], files["18"], files["19"] = x86Code(17)[:17], x86Code(18)[:18], x86Code(19)[:19]
	for i := range 300 {
		files[fmt.Sprintf("many/%d/%d", i%7, i)] = append(bytes.Repeat([]byte{byte(i)}, i), code[i*1000:i*1000+i]...)
	}
	files["again/program"] = code
	files["two"] = []byte("22")
	dir := write(t, files)
	for name, args := range map[string][]string{
		"each":            {"--compress=lzms"},
		"each, by 32 KB":  {"--compress=lzms", "--chunk-size=32768"},
		"each, whole":     {"--compress=lzms:20", "--chunk-size=1048576"},
		"solid":           {"--solid"},
		"solid by 128 KB": {"--solid", "--solid-chunk-size=131072"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(capture(t, dir, args...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, filetype.WIM, b, Options{})
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-packed +unpacked):\n%s", err, diff)
			}
		})
	}
	// A chunk that needs more memory than there is.
	b, err := os.ReadFile(capture(t, dir, "--solid"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t, filetype.WIM, b, Options{Memory: 1 << 20})
	if err != nil || len(got) != len(files) {
		t.Errorf("%d members of %d, %v", len(got), len(files), err)
	}
	for _, e := range got {
		if want := "its solid resource: " + errDictionary.Error(); len(files[e.Path]) > 0 && !strings.HasSuffix(e.Err, want) {
			t.Errorf("member %s: %q", e.Path, e.Err)
		}
	}
}

// wimSolidOf is an image of files in a run of two solid resources whose chunks lie as they are, and where the first resource and the table begin.
func wimSolidOf(files map[string]string) (b []byte, first, table int) {
	le := binary.LittleEndian
	var names []wimName
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(files))) { // their streams lie in the other order
		names = append(names, wimName{name: name, stream: files[name]})
	}
	b = wimOf(names, nil)
	at, size := le.Uint64(b[56:]), le.Uint64(b[64:])
	old := bytes.Clone(b[at : at+size])
	meta := old[len(old)-wimEntry:]
	var data, entries []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		hash := sha1.Sum([]byte(files[name]))
		e := le.AppendUint64(nil, uint64(len(files[name]))|wimSolid<<56)
		e = le.AppendUint64(le.AppendUint64(e, uint64(len(data))), 0)
		e = append(append(e, 1, 0, 1, 0, 0, 0), hash[:]...)
		entries = append(entries, e...)
		data = append(data, files[name]...)
	}
	var marks []byte
	first = len(b)
	for cut := len(data) / 3; len(data) > 0; cut = len(data) {
		part := data[:cut]
		data = data[cut:]
		at := len(b)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint64(b, uint64(len(part))), 1<<12), 3)
		for i := 0; i < len(part); i += 1 << 12 {
			b = le.AppendUint32(b, uint32(min(len(part)-i, 1<<12)))
		}
		b = append(b, part...)
		e := le.AppendUint64(nil, uint64(len(b)-at)|wimSolid<<56)
		e = le.AppendUint64(le.AppendUint64(e, uint64(at)), wimSolidMark)
		marks = append(marks, append(e, make([]byte, 26)...)...)
	}
	table = len(b)
	b = append(append(append(b, marks...), entries...), meta...)
	le.PutUint64(b[48:], uint64(len(b)-table))
	le.PutUint64(b[56:], uint64(table))
	le.PutUint64(b[64:], uint64(len(b)-table))
	return b, first, table
}

// TestWIMSolid reads a run of solid resources, in the order of their bytes, and holds what they may not do.
func TestWIMSolid(t *testing.T) {
	le := binary.LittleEndian
	text := string(sources(10)["docs/text.txt"])
	files := map[string]string{"a": text[:9000], "b": text[9000:9010], "c": text[9010:20_000]}
	b, first, table := wimSolidOf(files)
	got, err := list(t, filetype.WIM, b, Options{})
	if diff := cmp.Diff([]entry{member("a", files["a"]), member("b", files["b"]), member("c", files["c"])}, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
	spoilt := func(f func(b []byte)) []byte {
		b := bytes.Clone(b)
		f(b)
		return b
	}
	for name, c := range map[string]struct {
		in   []byte
		told string // of a
	}{
		"size":            {spoilt(func(b []byte) { le.PutUint64(b[first:], 1<<60) }), "its solid resource: 1152921504606846976 bytes in chunks of 4096 bytes are not possible"},
		"chunks":          {spoilt(func(b []byte) { le.PutUint64(b[first:], 1<<49) }), "its solid resource: there are more than 4194304 chunks"},
		"a table beyond":  {spoilt(func(b []byte) { le.PutUint64(b[first:], 1<<33) }), "its solid resource: the data ends too early"},
		"chunks of none":  {spoilt(func(b []byte) { le.PutUint32(b[first+8:], 0) }), "its solid resource: 6666 bytes in chunks of 0 bytes are not possible"},
		"compression":     {spoilt(func(b []byte) { le.PutUint32(b[first+12:], 9) }), "its solid resource: compression 0x0 is not known"},
		"LZX":             {spoilt(func(b []byte) { le.PutUint32(b[first+12:], 2) }), "its solid resource: LZX with chunks of 4096 bytes"},
		"a chunk beyond":  {spoilt(func(b []byte) { le.PutUint32(b[first+16:], 1<<31) }), "its solid resource: the data ends too early"},
		"a chunk of less": {spoilt(func(b []byte) { le.PutUint32(b[first+16:], 4095) }), "the LZMS data is damaged"},
		"beyond the run":  {spoilt(func(b []byte) { le.PutUint64(b[table+2*wimEntry+8:], 1<<40) }), "the data ends too early"},
		"no resource":     {spoilt(func(b []byte) { le.PutUint64(b[table+16:], 0); le.PutUint64(b[table+wimEntry+16:], 0) }), "it lies in a solid resource, which is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []entry
			n := allocated(func() { got, _ = list(t, filetype.WIM, c.in, Options{}) })
			told := ""
			for _, e := range got {
				if e.Path == "a" {
					told = e.Err
				}
			}
			if told != "wim: member a: "+c.told {
				t.Errorf("%q, want %s", told, c.told)
			}
			if n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestWIMSolidBudget stops where unpacking takes too much.
func TestWIMSolidBudget(t *testing.T) {
	defer func(n int64) { wimMaxUnpacked = n }(wimMaxUnpacked)
	wimMaxUnpacked = 10_000
	text := string(sources(10)["docs/text.txt"])
	b, _, _ := wimSolidOf(map[string]string{"a": text[:5000], "b": text[5000:15_000]})
	got, err := list(t, filetype.WIM, b, Options{})
	if err != nil || len(got) != 2 || got[0] != member("a", text[:5000]) || got[1].Err != "wim: member b: the solid resources take more than 10000 bytes to be unpacked" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLZMSHostile decompresses what no compressor writes: it ends, and takes no more memory than comes out.
func TestLZMSHostile(t *testing.T) {
	noise := sources(1)["noise.bin"]
	d := new(lzmsDecoder)
	for i := range 400 {
		in := noise[i*50 : i*50+2*(i%100)]
		size := []int{1, 2, 3, 20, 5000, 1 << 26}[i%6]
		var out []byte
		var err error
		n := allocated(func() { out, err = d.block(in, size, nil) })
		if err == nil && len(out) != size || err != nil && err != errLZMS {
			t.Errorf("block %d: %d bytes, %v", i, len(out), err)
		}
		if n > 1<<20+8*uint64(size) {
			t.Errorf("block %d: %d bytes were allocated for %d", i, n, size)
		}
	}
	for name, in := range map[string][]byte{"none": nil, "short": {1, 2}, "odd": make([]byte, 5)} {
		if _, err := d.block(in, 10, nil); err != errLZMS {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wimName is a name of a tree that a test makes.
type wimName struct {
	name       string
	attributes uint32
	tag        uint32
	stream     string            // its bytes
	named      map[string]string // bytes of further streams by their names; "" moves its own there
	below      []wimName
}

// wimOf makes an image of one tree whose streams lie as they are. change may spoil the tree.
func wimOf(names []wimName, change func(tree []byte)) []byte {
	le := binary.LittleEndian
	out := make([]byte, wimHeader)
	var table []byte
	add := func(s string, flags byte) (sum [sha1.Size]byte) {
		if s == "" {
			return sum
		}
		sum = sha1.Sum([]byte(s))
		e := le.AppendUint64(nil, uint64(len(s))|uint64(flags)<<56)
		e = le.AppendUint64(le.AppendUint64(e, uint64(len(out))), uint64(len(s)))
		e = append(e, 1, 0, 1, 0, 0, 0)
		table = append(table, append(e, sum[:]...)...)
		out = append(out, s...)
		return sum
	}
	text := func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = le.AppendUint16(b, u)
		}
		return b
	}
	var tree []byte
	var list func(names []wimName)
	list = func(names []wimName) {
		at := make([]int, len(names))
		for i, n := range names {
			at[i] = len(tree)
			b := make([]byte, wimDentry)
			le.PutUint32(b[8:], n.attributes)
			le.PutUint32(b[12:], 1<<32-1)
			sum := add(n.stream, 0)
			if _, moved := n.named[""]; !moved {
				copy(b[64:], sum[:])
			}
			le.PutUint32(b[88:], n.tag)
			le.PutUint16(b[96:], uint16(len(n.named)))
			le.PutUint16(b[100:], uint16(len(text(n.name))))
			b = append(append(b, text(n.name)...), 0, 0)
			le.PutUint64(b, uint64(len(b)))
			tree = append(append(tree, b...), make([]byte, -len(b)&7)...)
			for name, s := range n.named {
				e := make([]byte, 38)
				sum := add(s, 0)
				copy(e[16:], sum[:])
				le.PutUint16(e[36:], uint16(len(text(name))))
				if name != "" {
					e = append(append(e, text(name)...), 0, 0)
				}
				le.PutUint64(e, uint64(len(e)))
				tree = append(append(tree, e...), make([]byte, -len(e)&7)...)
			}
		}
		tree = append(tree, make([]byte, 8)...)
		for i, n := range names {
			if n.below != nil {
				le.PutUint64(tree[at[i]+16:], uint64(len(tree)))
				list(n.below)
			}
		}
	}
	tree = append(tree, 8, 0, 0, 0, 0, 0, 0, 0)
	list([]wimName{{attributes: 0x10, below: names}})
	if change != nil {
		change(tree)
	}
	add(string(tree), 2)
	copy(out, "MSWIM\x00\x00\x00")
	for at, v := range map[int]uint32{8: wimHeader, 12: 0x10d00, 40: 1 | 1<<16, 44: 1} {
		le.PutUint32(out[at:], v)
	}
	le.PutUint64(out[48:], uint64(len(table)))
	le.PutUint64(out[56:], uint64(len(out)))
	le.PutUint64(out[64:], uint64(len(table)))
	return append(out, table...)
}

var wimNames = []wimName{
	{name: "dir", attributes: 0x10, named: map[string]string{"note": "of a directory"}, below: []wimName{{name: "Ümläut", stream: "first"}}},
	{name: "dir", attributes: 0x10}, // without anything below
	{name: "other", stream: "second", named: map[string]string{"Zone.Identifier": "from afar"}},
	{name: "moved", named: map[string]string{"": "third"}},
	{name: "empty"},
	{name: "link", attributes: 0x400, tag: 0xa000000c, stream: "where to"},
	{name: "cloud", attributes: 0x400, tag: 0x9000001a, stream: "somewhere"},
}

// TestWIMNames reads streams beside the nameless one, and what is no file.
func TestWIMNames(t *testing.T) {
	got, err := list(t, filetype.WIM, wimOf(wimNames, nil), Options{})
	want := []entry{member("dir:note", "of a directory"), member("dir/Ümläut", "first"), member("other", "second"), member("other:Zone.Identifier", "from afar"),
		member("moved", "third"), member("empty", ""), {Path: "cloud", Size: -1, Err: "wim: member cloud: it is a reparse point of tag 0x9000001a, whose bytes lie elsewhere"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// TestWIMHostile holds what an image may not do.
func TestWIMHostile(t *testing.T) {
	le := binary.LittleEndian
	good := wimOf(wimNames, nil)
	names := func(change func(tree []byte)) []byte { return wimOf(wimNames, change) }
	root := 8
	table := int(le.Uint64(good[56:]))
	for name, c := range map[string]struct {
		in  []byte
		err string
	}{
		"version":          {patch(good, "MSWIM", 1, 12, 1, 0, 0, 0), "wim: version 0x1 is not read"},
		"second part":      {patch(good, "MSWIM", 1, 40, 2, 0, 3, 0), "wim: it is part 2 of 3: its files are named by the first, which is another file"},
		"table of 2^56":    {patch(good, "MSWIM", 1, 48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0), "wim: the table of streams: the data ends too early"},
		"table beyond":     {patch(good, "MSWIM", 1, 56, 0, 0, 0, 0, 0, 0, 0, 0x7f), "wim: the table of streams: the data ends too early"},
		"no image":         {good[:table-1], "wim: the table of streams: the data ends too early"},
		"chunks of a byte": {patch(good, "MSWIM", 1, 16, 2, 0, 4, 0, 1, 0, 0, 0), "wim: chunks of 1 bytes are not possible"},
		"LZX of 64 MB":     {patch(good, "MSWIM", 1, 16, 2, 0, 4, 0, 0, 0, 0, 4), "wim: LZX with chunks of 67108864 bytes"},
		"root":             {names(func(tree []byte) { le.PutUint64(tree[root:], 1<<40) }), "wim: the tree of image 1: its root is damaged"},
		"ring":             {names(func(tree []byte) { le.PutUint64(tree[root+16+104:], uint64(root)) }), ""},
		"own below":        {names(func(tree []byte) { le.PutUint64(tree[root+16:], uint64(root)) }), ""},
		"below beyond":     {names(func(tree []byte) { le.PutUint64(tree[root+16:], 1<<60) }), "wim: the tree of image 1: directory / is damaged"},
		"name too long":    {names(func(tree []byte) { le.PutUint16(tree[root+100:], 0xffff) }), "wim: the tree of image 1: its root is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			n := allocated(func() { _, err = list(t, filetype.WIM, c.in, Options{}) })
			if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("%v, want %s", err, c.err)
			}
			if n > 1<<20 {
				t.Errorf("%d bytes were allocated for %d", n, len(c.in))
			}
		})
	}
	// A stream that is not what its hash says is given, and the difference told.
	got, err := list(t, filetype.WIM, bytes.Replace(good, []byte("second"), []byte("SECOND"), 1), Options{})
	if err != nil || len(got) < 3 || got[2].Err != "wim: member other: the checksum differs" || got[2].SHA256 != sum([]byte("SECOND")) {
		t.Errorf("a changed stream: %v, %v", got, err)
	}
}

// wimPacked is an image of one file, of one compressed chunk.
func wimPacked(kind uint32, size int, packed []byte) []byte {
	le := binary.LittleEndian
	b := wimOf([]wimName{{name: "x", stream: string(packed)}}, nil)
	le.PutUint32(b[16:], 2|kind)
	le.PutUint32(b[20:], 32<<10)
	e := b[le.Uint64(b[56:]):] // the table's first is the file's
	e[7] |= wimCompressed
	le.PutUint64(e[16:], uint64(size))
	return b
}

func FuzzWIM(f *testing.F) {
	f.Add(wimOf(wimNames, nil))
	text := string(sources(10)["docs/text.txt"])
	solid, _, _ := wimSolidOf(map[string]string{"a": text[:5000], "b": text[5000:5100]})
	f.Add(solid)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.WIM, b) })
}

// FuzzWIMChunk keeps the image whole, so that the decoders see the damage.
func FuzzWIMChunk(f *testing.F) {
	f.Add(uint16(300), bytes.Repeat([]byte{0x88}, 290))
	f.Add(uint16(3000), lzxOf(sources(200)["docs/text.txt"], false).blocks[0])
	f.Add(uint16(5000), sources(100)["noise.bin"])
	f.Fuzz(func(t *testing.T, size uint16, b []byte) {
		if len(b) == 0 {
			return
		}
		unpackAny(t, filetype.WIM, wimPacked(wimXPRESS, int(size), b))
		unpackAny(t, filetype.WIM, wimPacked(wimLZX, int(size), b))
		unpackAny(t, filetype.WIM, wimPacked(wimLZMS, int(size), b))
	})
}
