package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestLZHSamples compares what the samples of Lhasa and libarchive hold with what Lhasa unpacks of them.
func TestLZHSamples(t *testing.T) {
	lhasa, err := exec.LookPath("lhasa")
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	paths := samplePaths(t, "test_read_format_lha*.uu", "test_fuzz.lzh.uu")
	err = filepath.WalkDir(realdata.Sample(t, "lhasa", "test", "archives"), func(path string, d fs.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".lzh", ".lzs", ".pma":
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	apart := map[string]string{
		"test/test_read_format_lha_filename_cp932.lzh": "Lhasa takes names as they are",
		"test/test_read_format_lha_filename_utf16.lzh": "Lhasa reads no names in UTF-16",
		"regression/badterm.lzh":                       "control characters in a name",
		"regression/dotdot.lzh":                        "a name that climbs",
		"lha_osk_201/h0_subdir.lzh":                    "Lhasa does not unpack beside directories without a name",
		"lha_unix114i/h0_subdir.lzh":                   "the same",
	}
	methods := make(map[string]int)
	compared := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path)), ".uu")
		b := realdata.Decoded(t, path)
		if len(b) < 7 || apart[name] != "" {
			continue
		}
		if f := filetype.Detect(bytes.NewReader(b), int64(len(b))); f.Format != filetype.LZH {
			t.Errorf("%s is taken for %s", name, f.Name)
		}
		got, err := list(t, filetype.LZH, b, Options{})
		last := make(map[string]entry) // what is there twice is unpacked over the first
		for _, e := range got {
			if strings.Contains(e.Err, "is not read") {
				continue
			}
			e.Path = strings.ToLower(e.Path)
			last[e.Path] = e
		}
		var read []entry
		for _, e := range last {
			read = append(read, e)
		}
		out := t.TempDir()
		said, failed := exec.CommandContext(t.Context(), lhasa, "xfqw="+out, write(t, map[string][]byte{"x": b})+"/x").CombinedOutput()
		if failed != nil {
			t.Logf("%s: Lhasa tells %v %s; we %v of %v", name, failed, said, err, got)
			continue
		}
		if len(read) == 0 && len(got) > 0 {
			t.Logf("%s: %v", name, got)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compared++
		methods[string(b[3:6])]++
		want := tree(t, out)
		for i := range want {
			want[i].Path = strings.ToLower(want[i].Path)
		}
		if strings.HasPrefix(name, "maclha") && b[20] > 0 { // Lhasa gives only the file's own bytes of MacBinary
			read = nil
			for _, w := range unpackAll(t, filetype.LZH, b, "") {
				if n := len(w.data); n > 128 && w.data[0] == 0 && n%128 == 0 {
					w.data = w.data[128:][:binary.BigEndian.Uint32(w.data[83:])]
				}
				read = append(read, entry{Path: strings.ToLower(w.Path), Size: int64(len(w.data)), SHA256: sum(w.data)})
			}
		}
		if diff := cmp.Diff(sorted(want), sorted(read)); diff != "" {
			t.Errorf("%s (-lhasa +ours):\n%s", name, diff)
		}
	}
	t.Log(compared, methods)
	for _, method := range []string{"lh0", "lh1", "lh4", "lh5", "lh6", "lh7", "lzs", "lz5", "pm0"} {
		if methods[method] == 0 {
			t.Errorf("no archive was compared that begins with a member of method %s", method)
		}
	}
	if compared < 100 {
		t.Errorf("%d archives were compared", compared)
	}
}

// lzhOf makes an archive of one member, with a header of a level.
func lzhOf(level byte, method, name string, data []byte, size int, crc uint16) []byte {
	le := binary.LittleEndian
	b := append([]byte{0, 0}, "-"+method+"-"...)
	b = le.AppendUint32(b, uint32(len(data)))
	b = le.AppendUint32(b, uint32(size))
	b = append(b, 0, 0, 0, 0, 0x20, level)
	switch level {
	case 0, 1:
		b = append(append(b, byte(len(name))), name...)
		b = le.AppendUint16(b, crc)
		if level == 1 {
			b = append(b, 'U', 0, 0)
		}
		b[0] = byte(len(b) - 2)
		for _, c := range b[2:] {
			b[1] += c
		}
	case 2:
		b = append(le.AppendUint16(b, crc), 'U', byte(len(name)+3), 0, 1)
		b = append(append(b, name...), 0, 0)
		le.PutUint16(b, uint16(len(b)))
	}
	return append(append(b, data...), 0)
}

func crc16(b []byte) (crc uint16) {
	for _, c := range b {
		crc = crc>>8 ^ crc16Table[byte(crc)^c]
	}
	return crc
}

func TestLZHHostile(t *testing.T) {
	content := []byte("content of it")
	good := func(level byte) []byte { return lzhOf(level, "lh0", "a/x.txt", content, len(content), crc16(content)) }
	want := []entry{member("a/x.txt", string(content))}
	claims := func(size int64) []entry {
		return []entry{{Path: "x", Size: size, Err: "lzh: member x: the data ends too early"}}
	}
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"level 0":            {in: good(0), want: want},
		"level 1":            {in: good(1), want: want},
		"level 2":            {in: good(2), want: want},
		"two":                {in: append(good(0)[:len(good(0))-1], good(2)...), want: append(want, want...)},
		"checksum":           {in: lzhOf(2, "lh0", "x", content, len(content), 1), want: []entry{{Path: "x", Size: 13, SHA256: sum(content), Err: "lzh: member x: the checksum differs"}}},
		"header's checksum":  {in: change(good(0), 1, 0), err: "lzh: the header at 0: the checksum differs"},
		"level 9":            {in: change(good(2), 20, 9), err: "lzh: the header at 0: level 9 is not known"},
		"extended header":    {in: change(good(2), 24, 0xff), err: "lzh: the header at 0: an extended header is longer than there are bytes"},
		"method not known":   {in: lzhOf(2, "pm2", "x", nil, 5, 0), want: []entry{{Path: "x", Size: 5, Err: `lzh: member x: method "pm2" is not read`}}},
		"cut":                {in: good(2)[:len(good(2))-4], want: []entry{{Path: "a/x.txt", Size: 10, SHA256: sum(content[:10]), Err: "lzh: member a/x.txt: the data ends too early"}}, err: "lzh: the data ends too early"},
		"nothing behind it":  {in: good(2)[:len(good(2))-1], want: want},
		"lh5 without data":   {in: lzhOf(2, "lh5", "x", nil, 1<<30, 0), want: claims(0)},
		"lh1 without data":   {in: lzhOf(2, "lh1", "x", nil, 1<<30, 0), want: claims(0)},
		"lz5 without data":   {in: lzhOf(2, "lz5", "x", nil, 1<<30, 0), want: claims(0)},
		"a block of nothing": {in: lzhOf(2, "lh5", "x", make([]byte, 64<<10), 1<<20, 0), want: claims(0)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.LZH, c.in, Options{})
			for i, e := range got {
				if strings.HasSuffix(e.Err, "ends too early") && e.Path == "x" {
					got[i].SHA256, got[i].Size = "", 0
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func FuzzLZH(f *testing.F) {
	content := []byte("content of it")
	for level := range byte(3) {
		f.Add(lzhOf(level, "lh0", "a/x.txt", content, len(content), crc16(content)))
	}
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.LZH, b) })
}

// FuzzLH keeps the headers whole, so that the decoders see the damage.
func FuzzLH(f *testing.F) {
	methods := []string{"lh1", "lh4", "lh5", "lh6", "lh7", "lhx", "lzs", "lz5"}
	for i := range methods {
		f.Add(byte(i), []byte("\x00\x05\x00\x00\x20\x41 and more of that kind, as a program takes it"))
	}
	f.Fuzz(func(t *testing.T, method byte, b []byte) {
		unpackAny(t, filetype.LZH, lzhOf(2, methods[int(method)%len(methods)], "x", b, 1<<20, 0))
	})
}
