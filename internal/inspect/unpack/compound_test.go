package unpack

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// compoundOf makes a compound file of paths and contents, in sectors of 512 bytes. All storages' entries lie in one chain of siblings.
func compoundOf(streams ...string) []byte {
	le := binary.LittleEndian
	const none = 0xffffffff
	type node struct {
		name        string
		kind        byte
		right, down int
		start       uint32
		size        int
	}
	nodes := []node{{name: "Root Entry", kind: 5, right: -1, down: -1}}
	storages := map[string]int{"": 0}
	add := func(parent int, n node) int {
		n.right = nodes[parent].down
		nodes = append(nodes, n)
		nodes[parent].down = len(nodes) - 1
		return len(nodes) - 1
	}
	var data []byte
	var fat []uint32
	chain := func(b []byte) uint32 {
		if len(b) == 0 {
			return 0xfffffffe
		}
		start := uint32(len(fat))
		for len(b) > 0 {
			sector := make([]byte, 512)
			b = b[copy(sector, b):]
			data = append(data, sector...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = 0xfffffffe
		return start
	}
	for i := len(streams) - 2; i >= 0; i -= 2 {
		parts := strings.Split(streams[i], "/")
		parent, path := 0, ""
		for _, storage := range parts[:len(parts)-1] {
			path += storage + "/"
			if _, ok := storages[path]; !ok {
				storages[path] = add(parent, node{name: storage, kind: 1, down: -1})
			}
			parent = storages[path]
		}
		name := parts[len(parts)-1]
		b := []byte(streams[i+1])
		add(parent, node{name: name, kind: 2, down: -1, start: chain(b), size: len(b)})
	}
	var directory []byte
	for _, n := range nodes {
		e := make([]byte, 128)
		units := utf16.Encode([]rune(n.name))
		for i, u := range units {
			le.PutUint16(e[2*i:], u)
		}
		le.PutUint16(e[64:], uint16(2*len(units)+2))
		e[66], e[67] = n.kind, 1
		le.PutUint32(e[68:], none)
		le.PutUint32(e[72:], uint32(n.right))
		le.PutUint32(e[76:], uint32(n.down))
		le.PutUint32(e[116:], n.start)
		le.PutUint32(e[120:], uint32(n.size))
		directory = append(directory, e...)
	}
	le.PutUint32(directory[116:], 0xfffffffe)
	at := chain(directory)
	table := uint32(len(fat))
	fat = append(fat, 0xfffffffd)
	sector := bytes.Repeat([]byte{0xff}, 512)
	for i, v := range fat {
		le.PutUint32(sector[4*i:], v)
	}
	h := make([]byte, 512)
	copy(h, compound.Magic)
	h[24], h[26], h[28], h[29], h[30], h[32], h[44] = 0x3e, 3, 0xfe, 0xff, 9, 6, 1
	le.PutUint32(h[48:], at)
	le.PutUint32(h[60:], 0xfffffffe)
	le.PutUint32(h[68:], 0xfffffffe)
	copy(h[76:], bytes.Repeat([]byte{0xff}, 436))
	le.PutUint32(h[76:], table)
	return append(append(h, data...), sector...)
}

func packageOf(label, content string) string {
	le := binary.LittleEndian
	b := append([]byte{2, 0}, label+"\x00C:\\in\\"+label+"\x00\x00\x00\x03\x00"...)
	temporary := `C:\tmp\` + label + "\x00"
	b = append(le.AppendUint32(b, uint32(len(temporary))), temporary...)
	b = append(le.AppendUint32(b, uint32(len(content))), content...)
	return string(append(le.AppendUint32(nil, uint32(len(b))), b...))
}

func utf16Of(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func TestCompound(t *testing.T) {
	const attachment = "__attach_version1.0_#00000000/"
	big := strings.Repeat("content ", 1000)
	plain := compoundOf("a", "first", "dir/b", big, "empty", "")
	for name, c := range map[string]struct {
		format filetype.Format
		in     []byte
		want   []entry
		err    string
	}{
		"plain": {filetype.OLE, plain, []entry{member("a", "first"), member("dir/b", big), member("empty", "")}, ""},
		"package": {filetype.OLE, compoundOf("obj/"+oleNative, packageOf("run.exe", "MZ program"), "x", "1"),
			[]entry{member("obj/run.exe", "MZ program"), member("x", "1")}, ""},
		"native data of something else": {filetype.OLE, compoundOf(oleNative, "\x05\x00\x00\x00Hello"), []entry{member("_Ole10Native", "Hello")}, ""},
		"package that claims too much":  {filetype.OLE, compoundOf(oleNative, "\xff\xff\xff\xff\x02\x00a\x00b\x00\x00\x00\x03\x00\xff\xff\xff\x7f"), []entry{member("_Ole10Native", "\xff\xff\xff\xff\x02\x00a\x00b\x00\x00\x00\x03\x00\xff\xff\xff\x7f")}, ""},
		"message": {filetype.MSG, compoundOf(attachment+"__substg1.0_37010102", "bytes", attachment+"__substg1.0_3707001F", utf16Of("invoice ü.doc"), "__properties_version1.0", "p"),
			[]entry{member(attachment+"invoice ü.doc", "bytes"), member(attachment+"__substg1.0_3707001F", utf16Of("invoice ü.doc")), member("__properties_version1.0", "p")}, ""},
		"installer": {filetype.MSI, compoundOf("\u4840\u3f3f\u4577\u446c\u3b6a\u45e4\u4824", "pool", "\u3b33", "x"),
			[]entry{member("!_StringData", "pool"), member("pC", "x")}, ""},
		"claims too much": {filetype.OLE, patch(plain, "a\x00\x00\x00", 1, 120, 0xff, 0xff, 0xff, 0x7f),
			[]entry{{Path: "a", Size: 1<<31 - 1, Err: "ole: member a: it claims 2147483647 bytes in a file of 10752"}, member("dir/b", big), member("empty", "")},
			"ole: the data ends too early"},
		"nothing": {filetype.OLE, nil, nil, "ole: no compound file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, c.format, c.in, Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(sorted(c.want), sorted(got)); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if c.in != nil {
				if told := filetype.Detect(bytes.NewReader(c.in), int64(len(c.in))); told.Format != c.format {
					t.Errorf("told as %v", told)
				}
			}
		})
	}
}

// TestCompoundReal compares real files with what 7-Zip unpacks of them. 7-Zip writes control characters as their numbers in brackets.
func TestCompoundReal(t *testing.T) {
	for _, c := range []struct {
		format filetype.Format
		path   func() string
	}{
		{filetype.MSI, func() string { return realdata.Path(t, "files", "relic-functest", "dummy.msi") }},
		{filetype.OLE, func() string { return clamAV(t, "clam.ole.doc") }},
		{filetype.OLE, func() string { return clamAV(t, "clam.ppt") }},
	} {
		path := c.path()
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			run(t, out, "7z", "x", "-bd", "-y", "-tCompound", path)
			got, err := list(t, c.format, b, Options{})
			if err != nil {
				t.Error(err)
			}
			var ours, theirs []string
			for _, e := range got {
				if strings.HasSuffix(e.Path, "/Clam.exe") { // which 7-Zip leaves in its package
					program, err := os.ReadFile(clamAV(t, "clam.exe"))
					if err != nil || e.SHA256 != sum(program) {
						t.Errorf("the package has %v, %v", e, err)
					}
					continue
				}
				if strings.HasPrefix(e.Path, "PowerPoint Document/") { // which 7-Zip leaves packed
					inner, err := list(t, filetype.OLE, unpackAll(t, c.format, b, e.Path)[0].data, Options{})
					program, err2 := os.ReadFile(clamAV(t, "clam.exe"))
					if err != nil || err2 != nil || !slices.ContainsFunc(inner, func(e entry) bool { return e.SHA256 == sum(program) }) {
						t.Errorf("%s has %v, %v, %v", e.Path, inner, err, err2)
					}
					continue
				}
				ours = append(ours, e.SHA256)
			}
			for _, e := range tree(t, out) {
				if !strings.Contains(e.Path, "Ole10Native") {
					theirs = append(theirs, e.SHA256)
				}
			}
			if diff := cmp.Diff(bag(theirs), bag(ours)); diff != "" {
				t.Errorf("members' hashes (-7z +ours):\n%s\n%v\n%v", diff, tree(t, out), got)
			}
		})
	}
}

func bag(all []string) map[string]int {
	out := map[string]int{}
	for _, s := range all {
		out[s]++
	}
	return out
}

// TestCompoundNames compares names with those that msiinfo decodes, and cabinets with cabextract's.
func TestCompoundNames(t *testing.T) {
	path := realdata.Path(t, "files", "relic-functest", "dummy.msi")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	var cab []byte
	if err := eachWhole(filetype.MSI, b, func(w whole) {
		ours[w.Path] = true
		if w.Path == "product.cab" {
			cab = w.data
		}
	}); err != nil {
		t.Fatal(err)
	}
	files, err := list(t, filetype.Cab, cab, Options{})
	if err != nil || len(files) != 1 || files[0].Size != 4608 || files[0].Err != "" {
		t.Errorf("the cabinet has %v, %v", files, err)
	}
	for _, name := range strings.Fields(string(run(t, t.TempDir(), "msiinfo", "streams", path))) {
		if !ours[cleanPath(name)] {
			t.Errorf("msiinfo names %q, which is not among %v", name, ours)
		}
	}
}

func FuzzCompound(f *testing.F) {
	f.Add(compoundOf("obj/"+oleNative, packageOf("run.exe", "MZ"), "\u4840\u3f3f", "1"))
	f.Add(compoundOf("__attach_version1.0_#00000000/__substg1.0_37010102", "bytes", "__attach_version1.0_#00000000/__substg1.0_3707001F", utf16Of("a.doc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range []filetype.Format{filetype.OLE, filetype.MSI, filetype.MSG} {
			unpackAny(t, format, b)
		}
	})
}
