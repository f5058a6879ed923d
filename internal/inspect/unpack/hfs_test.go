package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zlib"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// hfsSource is a file of a volume that a test makes.
type hfsSource struct {
	folder         string // one below the root; "" for the root
	name           string
	data, resource []byte
	pieces         bool   // every block by itself
	attribute      []byte // how it is compressed
	special        uint32 // of a hard link
	mode           uint16
}

// hfsNode are the records of a B-tree: a header, and leaves in a row.
func hfsTree(records [][]byte) []byte {
	be := binary.BigEndian
	const size = 4096
	var leaves [][][]byte
	room := 0
	for _, r := range records {
		if n := len(r) + 2; room < n {
			leaves = append(leaves, nil)
			room = size - 14 - 2
		}
		leaves[len(leaves)-1] = append(leaves[len(leaves)-1], r)
		room -= len(r) + 2
	}
	node := func(kind int8, next int, records [][]byte) []byte {
		b := make([]byte, size)
		be.PutUint32(b, uint32(next))
		b[8], b[9] = byte(kind), 1
		be.PutUint16(b[10:], uint16(len(records)))
		at := 14
		for i, r := range records {
			be.PutUint16(b[size-2*(i+1):], uint16(at))
			at += copy(b[at:], r)
		}
		be.PutUint16(b[size-2*(len(records)+1):], uint16(at))
		return b
	}
	h := make([]byte, 106)
	be.PutUint16(h[18:], size)
	be.PutUint16(h[20:], 516)
	be.PutUint32(h[22:], uint32(len(leaves)+1))
	if len(leaves) > 0 {
		be.PutUint16(h, 1)
		be.PutUint32(h[2:], 1)
		be.PutUint32(h[6:], uint32(len(records)))
		be.PutUint32(h[10:], 1)
		be.PutUint32(h[14:], uint32(len(leaves)))
	}
	be.PutUint32(h[38:], 6) // keys of any length
	out := node(1, 0, [][]byte{h, make([]byte, 128), make([]byte, size-14-106-128-8)})
	for i, l := range leaves {
		next := i + 2
		if i == len(leaves)-1 {
			next = 0
		}
		out = append(out, node(-1, next, l)...)
	}
	return out
}

func hfsUTF16(s string) []byte {
	var b []byte
	for _, r := range s {
		b = binary.BigEndian.AppendUint16(b, uint16(r))
	}
	return b
}

// hfsOf makes a volume of HFS+ of blocks of 512 bytes.
func hfsOf(sources []hfsSource) []byte {
	be := binary.BigEndian
	const block = 512
	image := make([]byte, 4*block)
	var overflow, attributes [][]byte
	put := func(b []byte, pieces bool) (e []hfsExtent) {
		for len(b) > 0 {
			n := len(b)
			if pieces {
				n = min(n, block)
				image = append(image, bytes.Repeat([]byte{0xee}, block)...) // nobody's
			}
			e = append(e, hfsExtent{uint32(len(image) / block), uint32((n + block - 1) / block)})
			image = append(append(image, b[:n]...), make([]byte, -n&(block-1))...)
			b = b[n:]
		}
		return e
	}
	list := func(e []hfsExtent) []byte {
		b := make([]byte, 64)
		for i, x := range e[:min(8, len(e))] {
			be.PutUint32(b[8*i:], x.start)
			be.PutUint32(b[8*i+4:], x.count)
		}
		return b
	}
	fork := func(id uint32, kind byte, size int, e []hfsExtent) []byte {
		b := make([]byte, 16)
		be.PutUint64(b, uint64(size))
		be.PutUint32(b[12:], uint32((size+block-1)/block))
		b = append(b, list(e)...)
		for at := uint32(8); len(e) > 8; at += 8 { // each is a block
			e = e[8:]
			key := append([]byte{0, 10, kind, 0}, be.AppendUint32(be.AppendUint32(nil, id), at)...)
			overflow = append(overflow, append(key, list(e)...))
		}
		return b
	}
	key := func(parent uint32, name string) []byte {
		u := hfsUTF16(name)
		b := be.AppendUint32(be.AppendUint16(nil, uint16(6+len(u))), parent)
		return append(be.AppendUint16(b, uint16(len(u)/2)), u...)
	}
	next := uint32(16)
	folders := map[string]uint32{"": 2}
	record := func(id, parent uint32, name string) []byte {
		b := make([]byte, 88)
		be.PutUint16(b, 1)
		be.PutUint32(b[8:], id)
		be.PutUint16(b[42:], 0o40755)
		return append(key(parent, name), b...)
	}
	catalog := [][]byte{record(2, 1, "Volume"), append(key(2, ""), append([]byte{0, 3, 0, 0, 0, 0, 0, 1, 0, 6}, hfsUTF16("Volume")...)...)}
	for _, s := range sources {
		if folders[s.folder] == 0 {
			folders[s.folder] = next
			catalog = append(catalog, record(next, 2, s.folder))
			next++
		}
	}
	for _, s := range sources {
		id := next
		next++
		b := make([]byte, 88)
		be.PutUint16(b, 2)
		be.PutUint32(b[8:], id)
		be.PutUint16(b[42:], max(s.mode, 0o100644))
		if s.special != 0 {
			be.PutUint32(b[44:], s.special)
			copy(b[48:], "hlnkhfs+")
		}
		if s.attribute != nil {
			b[41] = hfsCompressed
			u := hfsUTF16("com.apple.decmpfs")
			k := append(be.AppendUint16(nil, uint16(12+len(u))), 0, 0)
			k = be.AppendUint32(be.AppendUint32(k, id), 0)
			k = append(be.AppendUint16(k, uint16(len(u)/2)), u...)
			v := be.AppendUint32(append(make([]byte, 3), 0x10), 0)
			v = be.AppendUint32(append(v, 0, 0, 0, 0), uint32(len(s.attribute)))
			v = append(v, s.attribute...)
			attributes = append(attributes, append(append(k, v...), make([]byte, len(v)&1)...))
		}
		b = append(b, fork(id, 0, len(s.data), put(s.data, s.pieces))...)
		b = append(b, fork(id, 0xff, len(s.resource), put(s.resource, s.pieces))...)
		catalog = append(catalog, append(key(folders[s.folder], s.name), b...))
	}
	h := make([]byte, 512)
	copy(h, "H+\x00\x04")
	be.PutUint32(h[4:], 0x100)
	copy(h[8:], "test")
	be.PutUint32(h[32:], uint32(len(sources)))
	be.PutUint32(h[36:], uint32(len(folders)-1))
	be.PutUint32(h[40:], block)
	be.PutUint32(h[64:], next)
	for at, tree := range map[int][]byte{192: hfsTree(overflow), 272: hfsTree(catalog), 352: hfsTree(attributes)} {
		copy(h[at:], fork(0, 0, len(tree), put(tree, false)))
	}
	total := len(image)/block + 2 + 64
	bitmap := bytes.Repeat([]byte{0xff}, (total+7)/8)
	copy(h[112:], fork(0, 0, len(bitmap), put(bitmap, false)))
	image = append(image, make([]byte, total*block-len(image))...)
	be.PutUint32(h[44:], uint32(total))
	copy(image[1024:], h)
	copy(image[len(image)-1024:], h)
	return image
}

func zipped(b []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// decmpfs is an attribute that tells how a file is compressed.
func decmpfs(kind uint32, size int, rest []byte) []byte {
	le := binary.LittleEndian
	return append(le.AppendUint64(le.AppendUint32([]byte("fpmc"), kind), uint64(size)), rest...)
}

// hfsResource is a resource fork of compressed blocks, of which one is kept as it is.
func hfsResource(b []byte) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	var blocks [][]byte
	for from := 0; from < len(b); from += hfsBlock {
		part := b[from:min(len(b), from+hfsBlock)]
		if from == hfsBlock {
			blocks = append(blocks, append([]byte{0xff}, part...))
		} else {
			blocks = append(blocks, zipped(part))
		}
	}
	table := le.AppendUint32(nil, uint32(len(blocks)))
	at := 4 + 8*len(blocks)
	for _, p := range blocks {
		table = le.AppendUint32(le.AppendUint32(table, uint32(at)), uint32(len(p)))
		at += len(p)
	}
	table = append(table, bytes.Join(blocks, nil)...)
	h := make([]byte, 0x100)
	be.PutUint32(h, 0x100)
	be.PutUint32(h[4:], uint32(0x104+len(table)))
	be.PutUint32(h[8:], uint32(4+len(table)))
	be.PutUint32(h[12:], 50)
	out := append(be.AppendUint32(h, uint32(len(table))), table...)
	return append(append(out, make([]byte, 24)...), "\x00\x1c\x00\x32\x00\x00cmpf\x00\x00\x00\x0a\x00\x01\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// hfsTable is what LZVN and LZFSE have for a resource fork: places of blocks, of which one is kept as it is.
func hfsTable(b []byte, mark byte, pack func([]byte) []byte) []byte {
	n := (len(b) + hfsBlock - 1) / hfsBlock
	var out, blocks []byte
	for from := 0; from < len(b); from += hfsBlock {
		part := b[from:min(len(b), from+hfsBlock)]
		out = binary.LittleEndian.AppendUint32(out, uint32(4*(n+1)+len(blocks)))
		if from == hfsBlock {
			blocks = append(append(blocks, mark), part...)
		} else {
			blocks = append(blocks, pack(part)...)
		}
	}
	return append(binary.LittleEndian.AppendUint32(out, uint32(4*(n+1)+len(blocks))), blocks...)
}

func packLZFSEAll(b []byte) []byte { return append(packLZFSE(b, lzfseShort), lzfseEnd...) }

// hfsSources are files of every kind.
func hfsSources(scale int) []hfsSource {
	s := sources(scale)
	text := s["docs/text.txt"]
	return []hfsSource{
		{name: "code.exe", data: s["code.exe"]},
		{name: "empty"},
		{folder: "docs", name: "Ümläut / colon", data: []byte("hi"), resource: []byte("a resource fork")},
		{folder: "docs", name: "pieces", data: text[:20_000/scale], resource: s["noise.bin"][:10_000/scale], pieces: true},
		{folder: "packed", name: "inline", attribute: decmpfs(3, 1000/scale, zipped(text[:1000/scale]))},
		{folder: "packed", name: "as it is", attribute: decmpfs(3, 7, []byte("\xffcontent"))},
		{folder: "packed", name: "in the fork", attribute: decmpfs(4, len(text), nil), resource: hfsResource(text)},
		{folder: "packed", name: "LZVN", attribute: decmpfs(7, 1000/scale, packLZVN(text[:1000/scale]))},
		{folder: "packed", name: "LZVN, as it is", attribute: decmpfs(7, 7, []byte("\x06content"))},
		{folder: "packed", name: "LZVN in the fork", attribute: decmpfs(8, len(text), nil), resource: hfsTable(text, 6, packLZVN)},
		{folder: "packed", name: "LZFSE", attribute: decmpfs(11, 1000/scale, packLZFSEAll(text[:1000/scale]))},
		{folder: "packed", name: "LZFSE, as it is", attribute: decmpfs(11, 7, []byte("\xffcontent"))},
		{folder: "packed", name: "LZFSE in the fork", attribute: decmpfs(12, len(text), nil), resource: hfsTable(text, 0xff, packLZFSEAll)},
		{name: "link", mode: 0o120755, data: []byte("code.exe")},
	}
}

func hfsWant(scale int) []entry {
	s := sources(scale)
	text := s["docs/text.txt"]
	return sorted([]entry{member("code.exe", string(s["code.exe"])), member("empty", ""), member("docs/Ümläut : colon", "hi"), member("docs/Ümläut : colon:rsrc", "a resource fork"),
		member("docs/pieces", string(text[:20_000/scale])), member("docs/pieces:rsrc", string(s["noise.bin"][:10_000/scale])), member("packed/inline", string(text[:1000/scale])),
		member("packed/as it is", "content"), member("packed/in the fork", string(text)),
		member("packed/LZVN", string(text[:1000/scale])), member("packed/LZVN, as it is", "content"), member("packed/LZVN in the fork", string(text)),
		member("packed/LZFSE", string(text[:1000/scale])), member("packed/LZFSE, as it is", "content"), member("packed/LZFSE in the fork", string(text))})
}

// TestHFS reads a volume that the test makes: files in pieces, of two forks, and compressed as macOS does; 7-Zip reads it too.
func TestHFS(t *testing.T) {
	b := hfsOf(hfsSources(1))
	detected(t, b, filetype.HFS)
	got, err := list(t, filetype.HFS, b, Options{})
	if diff := cmp.Diff(hfsWant(1), sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
	// 7-Zip puts the volume's name before each path, gives links as files, and opens no LZFSE here.
	var theirs []entry
	less := slices.DeleteFunc(hfsSources(1), func(s hfsSource) bool { return strings.HasPrefix(s.name, "LZFSE") })
	for _, e := range unpackedBy7z(t, hfsOf(less), "-thfs") {
		if e.Path = strings.TrimPrefix(e.Path, "Volume/"); e.Path != "link" {
			e.Path = strings.Replace(e.Path, "Ümläut _ colon", "Ümläut : colon", 1)
			theirs = append(theirs, e)
		}
	}
	ours := slices.DeleteFunc(slices.Clone(got), func(e entry) bool { return strings.HasPrefix(e.Path, "packed/LZFSE") })
	if diff := cmp.Diff(sorted(theirs), sorted(ours)); diff != "" {
		t.Errorf("members (-7z +ours):\n%s", diff)
	}
	// The same in a volume of HFS, as disks of the time of Mac OS 9 have it.
	wrapped := make([]byte, 5*512)
	copy(wrapped[1024:], "BD")
	binary.BigEndian.PutUint32(wrapped[1024+20:], 1024)
	binary.BigEndian.PutUint16(wrapped[1024+28:], 3)
	copy(wrapped[1024+124:], "H+\x00\x01")
	wrapped = append(wrapped, b...)
	detected(t, wrapped, filetype.HFS)
	again, err := list(t, filetype.HFS, wrapped, Options{})
	if diff := cmp.Diff(got, sorted(again)); diff != "" || err != nil {
		t.Errorf("wrapped: %v, members (-want +got):\n%s", err, diff)
	}
}

// TestHFSXorriso compares a volume that xorriso makes beside ISO 9660 with what was packed.
func TestHFSXorriso(t *testing.T) {
	files := sources(2)
	for i := range 400 {
		files[fmt.Sprint("many/file number ", i)] = fmt.Append(nil, i)
	}
	path := filepath.Join(t.TempDir(), "x.iso")
	run(t, write(t, files), "xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-o", path, ".")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	err = eachWhole(filetype.Disk, append([]byte("ER"), b[2:]...), func(w whole) {
		if !strings.Contains(w.Path, "Apple_HFS") {
			return
		}
		parts++
		detected(t, w.data, filetype.HFS)
		got, err := list(t, filetype.HFS, w.data, Options{})
		if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
			t.Errorf("%v, members (-packed +unpacked):\n%s", err, diff)
		}
	})
	if err != nil || parts != 1 {
		t.Errorf("%d partitions of HFS+, %v", parts, err)
	}
}

// TestHFSRealDMG compares the volume of a disk image of macOS with what 7-Zip unpacks of it.
func TestHFSRealDMG(t *testing.T) {
	b, err := os.ReadFile(realdata.Path(t, "files", "relic-functest", "dummy.dmg"))
	if err != nil {
		t.Fatal(err)
	}
	volumes := 0
	err = eachWhole(filetype.DMG, b, func(w whole) {
		if filetype.Detect(bytes.NewReader(w.data), int64(len(w.data))).Format != filetype.HFS {
			return
		}
		volumes++
		got, err := list(t, filetype.HFS, w.data, Options{})
		theirs := unpackedBy7z(t, w.data, "-thfs")
		for i, e := range theirs {
			_, theirs[i].Path, _ = strings.Cut(e.Path, "/") // the volume's name
		}
		if diff := cmp.Diff(sorted(theirs), sorted(got)); diff != "" || err != nil || len(got) == 0 {
			t.Errorf("%v, %d members (-7z +ours):\n%s", err, len(got), diff)
		}
	})
	if err != nil || volumes != 1 {
		t.Errorf("%d volumes, %v", volumes, err)
	}
}

// TestHFSLinks follows hard links, and tells what cannot be read.
func TestHFSLinks(t *testing.T) {
	got, err := list(t, filetype.HFS, hfsOf([]hfsSource{
		{folder: hfsPrivate, name: "iNode77", data: []byte("once")},
		{name: "one", special: 77}, {name: "two", special: 77}, {name: "three", special: 78},
		{name: "unknown", attribute: decmpfs(99, 9, nil)}, {name: "LZBITMAP", attribute: decmpfs(13, 9, nil)}, {name: "LZFSE", attribute: decmpfs(12, 9, nil)},
		{name: "LZVN", attribute: decmpfs(7, 9, []byte("\x07\x01\x02"))}, {name: "LZVN, long", attribute: decmpfs(8, 9, nil), resource: []byte("\x08\x00\x00\x00\x00\x00\x10\x00")},
		{name: "damaged", attribute: decmpfs(3, 9, []byte("xx"))}, {name: "no mark", attribute: make([]byte, 16)},
		{name: "no fork", attribute: decmpfs(4, 9, nil)},
	}), Options{})
	want := []entry{member("one", "once"), member("two", "once"),
		{Path: "three", Size: -1, Err: "hfs: member three: it is a hard link to 78, which is not there"},
		{Path: "unknown", Size: 9, Err: "hfs: member unknown: it is compressed by the method 99, which is not known"},
		{Path: "LZBITMAP", Size: 9, Err: "hfs: member LZBITMAP: it is compressed by LZBITMAP, which is not read"},
		{Path: "LZFSE", SHA256: sum(nil), Err: "hfs: member LZFSE: the data ends too early"},
		{Path: "LZVN", SHA256: sum(nil), Err: "hfs: member LZVN: the LZFSE data is damaged"},
		{Path: "LZVN, long", SHA256: sum(nil), Err: "hfs: member LZVN, long: a block of it is too long"},
		{Path: "damaged", SHA256: sum(nil), Err: "hfs: member damaged: zlib: invalid header"},
		{Path: "no mark", Size: -1, Err: "hfs: member no mark: it is compressed, and how is not there"},
		{Path: "no fork", SHA256: sum(nil), Err: "hfs: member no fork: the data ends too early"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// TestHFSHostile holds what a volume may not do.
func TestHFSHostile(t *testing.T) {
	be := binary.BigEndian
	good := hfsOf(hfsSources(200))
	catalog := int(be.Uint32(good[1024+272+16:])) * 512
	if be.Uint32(good[1024+352+16:]) == 0 || good[catalog+4096+8] != 0xff {
		t.Fatal("the volume is not laid out as the test thinks")
	}
	spoilt := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for name, c := range map[string]struct {
		in  []byte
		err string
	}{
		"no mark":         {spoilt(func(b []byte) { b[1024] = 0 }), "hfs: it does not begin as it should"},
		"blocks":          {spoilt(func(b []byte) { b[1024+40] = 0x7f }), "hfs: blocks of 2130706944 bytes are not possible"},
		"catalog of 2^60": {spoilt(func(b []byte) { b[1024+272] = 0x10 }), "hfs: the catalog: its size is not possible"},
		"catalog in more": {spoilt(func(b []byte) { b[1024+272+4] = 0x10 }), "hfs: the catalog: some of its extents are missing"},
		"nodes":           {spoilt(func(b []byte) { b[catalog+32] = 0xff }), "hfs: the catalog: nodes of 65280 bytes are not possible"},
		"leaf in a ring":  {spoilt(func(b []byte) { be.PutUint32(b[catalog+4096:], 1) }), "hfs: the catalog: its leaves are a list without end"},
		"leaf nowhere":    {spoilt(func(b []byte) { be.PutUint32(b[catalog+4096:], 1<<31) }), "hfs: the catalog: the data ends too early"},
		"records":         {spoilt(func(b []byte) { be.PutUint16(b[catalog+4096+10:], 0xffff) }), "hfs: the catalog: a leaf is damaged"},
		"places":          {spoilt(func(b []byte) { be.PutUint16(b[catalog+8192-2:], 5) }), "hfs: the catalog: a leaf is damaged"},
		"key":             {spoilt(func(b []byte) { be.PutUint16(b[catalog+4096+14:], 0xffff) }), "hfs: the catalog: a leaf is damaged"},
		"name":            {spoilt(func(b []byte) { be.PutUint16(b[catalog+4096+20:], 0xffff) }), "hfs: the catalog: a record is damaged"},
		"extents":         {spoilt(func(b []byte) { b[1024+192] = 0x7f }), "hfs: the extents: its size is not possible"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := list(t, filetype.HFS, c.in, Options{})
			if err == nil || err.Error() != c.err {
				t.Errorf("%v, want %s", err, c.err)
			}
		})
	}
	// Folders that are in each other have no path from the root.
	b := hfsOf([]hfsSource{{folder: "x", name: "lost", data: []byte("found")}})
	key := bytes.Index(b, append([]byte{0, 8, 0, 0, 0, 2, 0, 1}, hfsUTF16("x")...))
	be.PutUint32(b[key+2:], 16) // its own number
	got, err := list(t, filetype.HFS, b, Options{})
	if diff := cmp.Diff([]entry{member("[folder 16]/lost", "found")}, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// FuzzHFS reads the bytes as a volume, and as the leaf of its catalog.
func FuzzHFS(f *testing.F) {
	b := hfsOf(hfsSources(200))
	be := binary.BigEndian
	catalog, attributes := int(be.Uint32(b[1024+272+16:]))*512, int(be.Uint32(b[1024+352+16:]))*512
	f.Add(b[1024:1536], b[catalog+4096:catalog+8192], b[attributes+4096:attributes+8192])
	f.Fuzz(func(t *testing.T, header, leaf, attribute []byte) {
		unpackAny(t, filetype.HFS, append(make([]byte, 1024), header...))
		image := bytes.Clone(b)
		copy(image[1024:1536], header)
		copy(image[catalog+4096:catalog+8192], leaf)
		copy(image[attributes+4096:attributes+8192], attribute)
		unpackAny(t, filetype.HFS, image)
	})
}
