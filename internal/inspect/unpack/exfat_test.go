package unpack

import (
	"bytes"
	stdcmp "cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// exfatWriter writes files to an empty volume of mkfs.exfat.
type exfatWriter struct {
	image []byte
	g     fatGeometry
	dirs  map[string]*exfatDir
	free  uint32
}

// exfatDir is a directory that is being written.
type exfatDir struct {
	parent  *exfatDir
	name    string
	entries []byte
	first   uint32
}

func newExFATWriter(t *testing.T, megabytes int, args ...string) *exfatWriter {
	t.Helper()
	image := filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(image, make([]byte, megabytes<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, ".", "mkfs.exfat", append(args, image)...)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	g, err := exfatGeometryOf(b)
	if err != nil {
		t.Fatal(err)
	}
	// The root is the last that mkfs.exfat writes.
	w := &exfatWriter{image: b, g: g, free: g.rootCluster + 1, dirs: map[string]*exfatDir{}}
	root := w.at(g.rootCluster)
	n := 0
	for root[n] != 0 {
		n += fatEntry
	}
	w.dirs[""] = &exfatDir{entries: bytes.Clone(root[:n]), first: g.rootCluster}
	return w
}

// at is a cluster.
func (w *exfatWriter) at(n uint32) []byte {
	from := w.g.data + int64(n-2)*w.g.cluster
	return w.image[from : from+w.g.cluster]
}

// use marks a cluster, whose file goes on in next.
func (w *exfatWriter) use(n, next uint32) {
	root := w.dirs[""].entries
	bitmap := 0
	for root[bitmap] != 0x81 {
		bitmap += fatEntry
	}
	w.at(binary.LittleEndian.Uint32(root[bitmap+20:]))[(n-2)/8] |= 1 << ((n - 2) % 8)
	binary.LittleEndian.PutUint32(w.image[w.g.table+4*int64(n):], next)
}

// put writes bytes in one piece, or in clusters between which others are left; and gives the first.
func (w *exfatWriter) put(b []byte, whole bool, first uint32) uint32 {
	if len(b) == 0 {
		return 0
	}
	if first == 0 {
		first = w.free
		w.free++
	}
	for n := first; ; {
		b = b[copy(w.at(n), b):]
		next := uint32(1<<32 - 1)
		if len(b) > 0 {
			if !whole {
				w.free++
			}
			next = w.free
			w.free++
		}
		if whole {
			w.use(n, 0)
		} else {
			w.use(n, next)
		}
		if len(b) == 0 {
			return first
		}
		n = next
	}
}

// exfatEntry are the entries of a name.
func exfatEntry(name string, attributes uint16, whole bool, first uint32, size, valid int) []byte {
	le := binary.LittleEndian
	units := utf16.Encode([]rune(name))
	b := make([]byte, 2*fatEntry)
	b[0], b[1] = exfatFile, byte(1+(len(units)+14)/15)
	le.PutUint16(b[4:], attributes)
	for at := 8; at < 20; at += 4 {
		le.PutUint32(b[at:], 0x5a210000)
	}
	s := b[fatEntry:]
	s[0], s[1], s[3] = exfatStream, 1, byte(len(units))
	if whole {
		s[1] |= 2
	}
	hash := uint16(0)
	for _, u := range units {
		up := uint16(unicode.ToUpper(rune(u)))
		for _, c := range []byte{byte(up), byte(up >> 8)} {
			hash = hash>>1 | hash<<15
			hash += uint16(c)
		}
	}
	le.PutUint16(s[4:], hash)
	le.PutUint64(s[8:], uint64(valid))
	le.PutUint32(s[20:], first)
	le.PutUint64(s[24:], uint64(size))
	for len(units) > 0 {
		n := make([]byte, fatEntry)
		n[0] = exfatName
		for i := 0; i < min(15, len(units)); i++ {
			le.PutUint16(n[2+2*i:], units[i])
		}
		b = append(b, n...)
		units = units[min(15, len(units)):]
	}
	sum := uint16(0)
	for i, c := range b {
		if i != 2 && i != 3 {
			sum = sum>>1 | sum<<15
			sum += uint16(c)
		}
	}
	le.PutUint16(b[2:], sum)
	return b
}

// dir is a directory by its path.
func (w *exfatWriter) dir(path string) *exfatDir {
	if d := w.dirs[path]; d != nil {
		return d
	}
	above, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above, name = path[:i], path[i+1:]
	}
	d := &exfatDir{parent: w.dir(above), name: name}
	w.dirs[path] = d
	return d
}

// add writes a file whose bytes behind valid are told as zeros.
func (w *exfatWriter) add(path string, b []byte, whole bool, valid int) {
	d, name := w.dir(""), path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		d, name = w.dir(path[:i]), path[i+1:]
	}
	stale := bytes.Clone(b)
	for i := valid; i < len(stale); i++ {
		stale[i] = 0xee
	}
	d.entries = append(d.entries, exfatEntry(name, 0x20, whole && len(b) > 0, w.put(stale, whole, 0), len(b), valid)...)
}

// end writes the directories, the deepest first.
func (w *exfatWriter) end() []byte {
	paths := slices.SortedFunc(maps.Keys(w.dirs), func(a, b string) int {
		return stdcmp.Or(strings.Count(b, "/")-strings.Count(a, "/"), strings.Compare(a, b))
	})
	for i, path := range paths {
		d := w.dirs[path]
		if path == "" {
			continue
		}
		n := -len(d.entries) & int(w.g.cluster-1)
		b := append(bytes.Clone(d.entries), make([]byte, n)...)
		whole := i%2 == 0
		d.parent.entries = append(d.parent.entries, exfatEntry(d.name, 0x10, whole, w.put(b, whole, 0), len(b), len(b))...)
	}
	w.put(w.dirs[""].entries, false, w.g.rootCluster)
	return w.image
}

// exfatFiles are files in one piece and in many, whose bytes are not all valid.
func exfatFiles(w *exfatWriter, scale int) map[string][]byte {
	files := sources(scale)
	files["docs/A name that needs more than three entries of a directory, as each holds fifteen characters.document"] = []byte("long")
	for i := range 40 {
		files[fmt.Sprintf("many/below/file number %d", i)] = bytes.Repeat([]byte{byte(i)}, i*100)
	}
	for i, e := range all(files) {
		w.add(e.Path, files[e.Path], i%2 == 0, len(files[e.Path]))
	}
	files["half"] = append(bytes.Repeat([]byte("half"), 2000), make([]byte, 10_000)...)
	w.add("half", files["half"], false, 8000)
	files["none"] = make([]byte, 6000)
	w.add("none", files["none"], true, 0)
	return files
}

// TestExFAT reads volumes of mkfs.exfat to which the test writes files, when fsck.exfat has nothing to say against them.
func TestExFAT(t *testing.T) {
	for name, args := range map[string][]string{"512": {"-c", "512"}, "4 KB": {"-c", "4096"}, "64 KB": {"-c", "65536"}} {
		t.Run(name, func(t *testing.T) {
			w := newExFATWriter(t, 16, args...)
			files := exfatFiles(w, 4)
			b := w.end()
			image := filepath.Join(t.TempDir(), "x.img")
			if err := os.WriteFile(image, b, 0o644); err != nil {
				t.Fatal(err)
			}
			checked := run(t, ".", "fsck.exfat", "-n", image)
			if want := fmt.Sprintf("clean. directories 4, files %d", len(files)); !strings.Contains(string(checked), want) {
				t.Fatalf("fsck.exfat says: %s\nwant %s", checked, want)
			}
			detected(t, b, filetype.ExFAT)
			got, err := list(t, filetype.ExFAT, b, Options{})
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-written +read):\n%s", err, diff)
			}
		})
	}
}

// TestExFATHostile holds what a volume may not do.
func TestExFATHostile(t *testing.T) {
	le := binary.LittleEndian
	w := newExFATWriter(t, 4, "-c", "512")
	w.add("dir/x", bytes.Repeat([]byte("x"), 3000), false, 3000)
	w.add("dir/y", []byte("y"), true, 1)
	good := w.end()
	find := func(name string) int { // of the first entry of a name
		at := bytes.Index(good, exfatEntry(name, 0, false, 0, 0, 0)[2*fatEntry:])
		return at - 2*fatEntry
	}
	x, dir := find("x"), find("dir")
	first := le.Uint32(good[x+fatEntry+20:])
	spoilt := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	const damaged = "exfat: directory /dir: some of its entries are damaged"
	for name, c := range map[string]struct {
		in        []byte
		err, told string // of the whole; of a member
	}{
		"as it is":       {good, "", ""},
		"sectors":        {spoilt(func(b []byte) { b[108] = 13 }), "exfat: the boot sector is damaged", ""},
		"clusters":       {spoilt(func(b []byte) { b[109] = 17 }), "exfat: the boot sector is damaged", ""},
		"no room":        {spoilt(func(b []byte) { le.PutUint64(b[72:], 9) }), "exfat: the boot sector is damaged", ""},
		"tables of none": {spoilt(func(b []byte) { b[110] = 0 }), "exfat: the boot sector is damaged", ""},
		"root nowhere":   {spoilt(func(b []byte) { le.PutUint32(b[96:], 1<<30) }), fmt.Sprintf("exfat: directory /: cluster %d of %d", 1<<30, w.g.clusters), ""},
		"cut":            {good[:x+fatEntry], "exfat: directory /dir: the data ends too early", ""},
		"a directory in itself": {spoilt(func(b []byte) {
			b[x+4] = 0x10
			copy(b[x+fatEntry:], b[dir+fatEntry:dir+2*fatEntry])
			b[x+fatEntry+3] = 1
		}), "", ""},
		"a directory nowhere":    {spoilt(func(b []byte) { le.PutUint32(b[dir+fatEntry+20:], 1) }), fmt.Sprintf("exfat: directory /dir: cluster 1 of %d", w.g.clusters), ""},
		"a ring of clusters":     {spoilt(func(b []byte) { le.PutUint32(b[w.g.table+4*int64(first):], first) }), "", ""},
		"a file of 2^63":         {spoilt(func(b []byte) { le.PutUint64(b[x+fatEntry+24:], 1<<63) }), "", "exfat: member dir/x: it claims 9223372036854775808 bytes, more than the volume has"},
		"more valid than bytes":  {spoilt(func(b []byte) { le.PutUint64(b[x+fatEntry+8:], 3001) }), "", "exfat: member dir/x: it claims 3001 valid bytes of 3000"},
		"a file nowhere":         {spoilt(func(b []byte) { le.PutUint32(b[x+fatEntry+20:], 1<<31) }), "", fmt.Sprintf("exfat: member dir/x: cluster %d of %d", 1<<31, w.g.clusters)},
		"a file too short":       {spoilt(func(b []byte) { le.PutUint64(b[x+fatEntry+24:], 5000); le.PutUint64(b[x+fatEntry+8:], 5000) }), "", "exfat: member dir/x: the data ends too early"},
		"a name without a place": {spoilt(func(b []byte) { b[x+fatEntry] = exfatName }), damaged, ""},
		"a name that is short":   {spoilt(func(b []byte) { b[x+fatEntry+3] = 200 }), damaged, ""},
		"entries of none":        {spoilt(func(b []byte) { b[x+1] = 0 }), damaged, ""},
		"entries of another":     {spoilt(func(b []byte) { b[x+1] = 9 }), damaged, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.ExFAT, c.in, Options{})
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
	// Deleted files are no members.
	got, err := list(t, filetype.ExFAT, spoilt(func(b []byte) {
		for i := range 3 {
			b[x+i*fatEntry] &= 0x7f
		}
	}), Options{})
	if diff := cmp.Diff([]entry{member("dir/y", "y")}, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

func FuzzExFAT(f *testing.F) {
	// The smallest volume: a sector of the table, one of the root, and three clusters.
	le := binary.LittleEndian
	b := make([]byte, 6*512)
	copy(b[3:], "EXFAT   ")
	le.PutUint64(b[72:], 6)
	for i, v := range []uint32{1, 1, 2, 4, 2} {
		le.PutUint32(b[80+4*i:], v)
	}
	b[108], b[110], b[510], b[511] = 9, 1, 0x55, 0xaa
	copy(b[512:], "\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x04\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
	root := append(exfatEntry("first.txt", 0x20, true, 5, 500, 10), exfatEntry("dir", 0x10, false, 3, 512, 512)...)
	copy(b[1024:], root)
	copy(b[1536:], exfatEntry("A name of more than fifteen.txt", 0x20, false, 4, 300, 200))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.ExFAT, b) })
}
