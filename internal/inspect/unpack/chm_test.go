package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// chmEnc writes a number as chmInt reads it.
func chmEnc(b []byte, v uint64) []byte {
	for shift := 63; shift > 0; shift -= 7 {
		if v>>shift != 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v&0x7f))
}

// chmOf makes a compiled help file of files that lie compressed, and one that does not; every is after how many frames the compression begins anew.
// change may spoil the entries and the parts that tell of the compressed section.
func chmOf(files map[string][]byte, every int, change func(entries *[]chmEntry, parts map[string][]byte)) []byte {
	le := binary.LittleEndian
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(names)))
	var entries []chmEntry
	var whole []byte
	for _, name := range names {
		entries = append(entries, chmEntry{"/" + name, 1, int64(len(whole)), int64(len(files[name]))})
		whole = append(whole, files[name]...)
	}
	var content []byte
	table := le.AppendUint32(le.AppendUint32(nil, 2), 0)
	table = le.AppendUint32(le.AppendUint32(table, 8), 40)
	table = le.AppendUint64(le.AppendUint64(le.AppendUint64(table, uint64(len(whole))), 0), chmFrame)
	frames := uint32(0)
	padded := append(bytes.Clone(whole), make([]byte, -len(whole)&(chmFrame-1))...) // 7-Zip takes no shorter frame
	for from := 0; from < len(padded); from += every * chmFrame {
		for _, b := range lzxOf(padded[from:min(len(padded), from+every*chmFrame)], false).blocks {
			table = le.AppendUint64(table, uint64(len(content)))
			content = append(content, b...)
			frames++
		}
	}
	le.PutUint32(table[4:], frames)
	le.PutUint64(table[24:], uint64(len(content)))
	control := le.AppendUint32([]byte("\x06\x00\x00\x00LZXC\x02\x00\x00\x00"), uint32(every))
	control = append(control, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	list := []byte{0, 0, 2, 0}
	for _, s := range []string{"Uncompressed", "MSCompressed"} {
		list = le.AppendUint16(list, uint16(len(s)))
		for _, c := range s {
			list = le.AppendUint16(list, uint16(c))
		}
		list = append(list, 0, 0)
	}
	le.PutUint16(list, uint16(len(list)/2))
	parts := map[string][]byte{"::DataSpace/NameList": list, chmStorage + "MSCompressed/Content": content, chmStorage + "MSCompressed/ControlData": control,
		chmStorage + "MSCompressed" + chmReset: table, "::DataSpace/Storage/MSCompressed/SpanInfo": le.AppendUint64(nil, uint64(len(whole))),
		"::DataSpace/Storage/MSCompressed/Transform/List": []byte("{\x007\x00F\x00C\x002\x008\x009\x004\x000\x00-\x009\x00D\x003\x001\x00-\x001\x001\x00D\x000"),
		"/stored.txt": []byte("stored")}
	if change != nil {
		change(&entries, parts)
	}
	var data []byte
	for name, b := range parts {
		entries = append(entries, chmEntry{name, 0, int64(len(data)), int64(len(b))})
		data = append(data, b...)
	}
	entries = append(entries, chmEntry{"/docs/", 0, 0, 0})
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].name < entries[j].name })

	const chunk = 1024
	var chunks [][]byte
	for _, e := range entries {
		b := append(chmEnc(nil, uint64(len(e.name))), e.name...)
		b = chmEnc(chmEnc(chmEnc(b, e.section), uint64(e.offset)), uint64(e.size))
		if n := len(chunks); n == 0 || len(chunks[n-1])+len(b) > chunk-16 {
			head := le.AppendUint32(append([]byte("PMGL"), make([]byte, 8)...), uint32(n)-1)
			chunks = append(chunks, le.AppendUint32(head, 1<<32-1))
			if n > 0 {
				le.PutUint32(chunks[n-1][16:], uint32(n))
			}
		}
		chunks[len(chunks)-1] = append(chunks[len(chunks)-1], b...)
	}
	dir := make([]byte, 0x54)
	copy(dir, "ITSP")
	for at, v := range map[int]int{4: 1, 8: 0x54, 12: 10, 0x10: chunk, 0x14: 2, 0x18: 1, 0x1c: -1, 0x20: 0, 0x24: len(chunks) - 1, 0x28: -1, 0x2c: len(chunks), 0x30: 0x409, 0x44: 0x54, 0x48: -1, 0x4c: -1, 0x50: -1} {
		le.PutUint32(dir[at:], uint32(v))
	}
	copy(dir[0x34:], "\x6a\x92\x02\x5d\x2e\x21\xd0\x11\x9d\xf9\x00\xa0\xc9\x22\xe6\xec")
	for _, c := range chunks {
		le.PutUint32(c[4:], uint32(chunk-len(c)))
		dir = append(dir, append(c, make([]byte, chunk-len(c))...)...)
	}
	h := make([]byte, 0x78)
	copy(h, "ITSF")
	le.PutUint32(h[4:], 3)
	le.PutUint32(h[8:], 0x60)
	le.PutUint32(h[12:], 1)
	copy(h[0x18:], "\x10\xfd\x01\x7c\xaa\x7b\xd0\x11\x9e\x0c\x00\xa0\xc9\x22\xe6\xec\x11\xfd\x01\x7c\xaa\x7b\xd0\x11\x9e\x0c\x00\xa0\xc9\x22\xe6\xec")
	le.PutUint64(h[0x38:], 0x60)
	le.PutUint64(h[0x40:], 0x18)
	le.PutUint64(h[0x48:], 0x78)
	le.PutUint64(h[0x50:], uint64(len(dir)))
	le.PutUint64(h[0x58:], uint64(0x78+len(dir)))
	le.PutUint32(h[0x60:], 0x1fe)
	le.PutUint64(h[0x68:], uint64(0x78+len(dir)+len(data)))
	return append(append(h, dir...), data...)
}

// TestCHM reads help files that the test compresses, and has 7-Zip read them too.
func TestCHM(t *testing.T) {
	files := sources(2)
	for _, every := range []int{1, 2, 16} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.chm")
			if err := os.WriteFile(path, chmOf(files, every, nil), 0o644); err != nil {
				t.Fatal(err)
			}
			comparedWith7z(t, filetype.CHM, path)
		})
	}
	got, err := list(t, filetype.CHM, chmOf(files, 2, nil), Options{})
	want := append(all(files), entry{Path: "stored.txt", Size: 6, SHA256: sum([]byte("stored"))})
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-packed +unpacked):\n%s", err, diff)
	}
}

// TestCHMSamples compares the help file of Debian's clamav-testfiles with what 7-Zip unpacks of it. libmspack's are broken in ways that once were
// dangerous, and 7-Zip opens none: each gives a problem or its members.
func TestCHMSamples(t *testing.T) {
	t.Run("clam.chm", func(t *testing.T) { comparedWith7z(t, filetype.CHM, clamAV(t, "clam.chm")) })
	dir := realdata.Sample(t, "libmspack", "test", "test_files", "chmd")
	paths, err := filepath.Glob(filepath.Join(dir, "*.chm"))
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no samples")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, filetype.CHM, b, Options{})
			if err == nil && len(got) == 0 {
				t.Error("neither a member nor a problem is told")
			}
		})
	}
}

// TestCHMHostile holds what a help file may not do.
func TestCHMHostile(t *testing.T) {
	files := map[string][]byte{"a": bytes.Repeat([]byte("abc"), 30_000), "b": []byte("second")}
	good := chmOf(files, 2, nil)
	le := binary.LittleEndian
	part := func(name string, at int, with ...byte) []byte {
		return chmOf(files, 2, func(_ *[]chmEntry, parts map[string][]byte) { copy(parts[name][at:], with) })
	}
	const control, reset = chmStorage + "MSCompressed/ControlData", chmStorage + "MSCompressed" + chmReset
	for name, c := range map[string]struct {
		in        []byte
		err, told string // of the whole; of the first member that has an error
	}{
		"version":          {patch(good, "ITSF", 1, 4, 9), "chm: version 9 is not read", ""},
		"no directory":     {patch(good, "ITSP", 1, 0, 'X'), "chm: the directory does not begin as it should", ""},
		"chunks of 2 GB":   {patch(good, "ITSP", 1, 0x10, 0, 0, 0, 0x7f), "chm: chunks of 2130706432 bytes are not possible", ""},
		"a list in a ring": {patch(good, "PMGL", 1, 16, 0, 0, 0, 0), "chm: the directory's chunks are a list without end", ""},
		"free space":       {patch(good, "PMGL", 1, 4, 0xff, 0xff), "chm: a chunk of the directory is damaged", ""},
		"a name too long":  {patch(good, "PMGL", 1, 20, 0xff, 0x7f), "chm: a name of the directory is damaged", ""},
		"window":           {part(control, 16, 0, 0, 0, 1), "", "chm: member b: LZX of version 2 with a window of 549755813888 bytes, that begins anew after 65536 bytes"},
		"window of none":   {part(control, 16, 0, 0, 0, 0), "", "chm: member b: LZX of version 2 with a window of 0 bytes, that begins anew after 65536 bytes"},
		"interval of none": {part(control, 12, 0, 0, 0, 0), "", "chm: member b: LZX of version 2 with a window of 65536 bytes, that begins anew after 0 bytes"},
		"table":            {part(reset, 4, 0xff, 0xff), "", "chm: member b: the table of the compressed section is damaged"},
		"a frame's place":  {part(reset, 48, 0, 0, 0, 0x7f), "", "chm: member b: the data ends too early"},
		"beyond": {chmOf(files, 2, func(e *[]chmEntry, _ map[string][]byte) { (*e)[0].offset = 1 << 40 }), "",
			"chm: member b: it lies beyond the end of the compressed section"},
		"a section too much": {chmOf(files, 2, func(e *[]chmEntry, _ map[string][]byte) { (*e)[0].section = 7 }), "", "chm: member b: section 7 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.CHM, c.in, Options{})
			told := ""
			for _, e := range got {
				if e.Err != "" {
					told = e.Err
					break
				}
			}
			if (err != nil || c.err != "") && fmt.Sprint(err) != c.err || told != c.told {
				t.Errorf("%v, member: %s; want %s, %s", err, told, c.err, c.told)
			}
		})
	}
	// A thousand files at the end of a stream that begins only once cost as many decompressions, until they are too many.
	over := chmOf(files, 1000, func(entries *[]chmEntry, _ map[string][]byte) {
		for i := range 1000 {
			*entries = append(*entries, chmEntry{fmt.Sprint("/x", i), 1, 80_000, 10})
		}
	})
	got, err := list(t, filetype.CHM, over, Options{})
	refused := 0
	for _, e := range got {
		if strings.Contains(e.Err, "decompressed too often") {
			refused++
		}
	}
	if err != nil || len(got) != 1003 || refused < 900 {
		t.Errorf("%d members, %d refused, %v", len(got), refused, err)
	}
	huge := bytes.Clone(good)
	le.PutUint32(huge[0x78+0x2c:], 1<<32-1)
	if n := allocated(func() { list(t, filetype.CHM, huge, Options{}) }); n > 4<<20 {
		t.Errorf("%d bytes were allocated for %d", n, len(huge))
	}
}

func FuzzCHM(f *testing.F) {
	f.Add(chmOf(map[string][]byte{"a": []byte("first"), "b": sources(200)["docs/text.txt"]}, 2, nil))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.CHM, b) })
}
