package unpack

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"

	"spoor/internal/inspect/filetype"
)

// TestInstallShieldCabinet compares the cabinets of real setups with what unshield extracts from them.
func TestInstallShieldCabinet(t *testing.T) {
	for _, name := range []string{"clam_IScab_int.exe", "clam_IScab_ext.exe"} {
		b, err := os.ReadFile("/usr/share/clamav-testfiles/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			t.Skipf("Debian's clamav-testfiles are not there: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		at := max(bytes.Index(b, []byte("data1.cab\x00Disk1")), 0)
		if i := bytes.Index(b, []byte("clam.exe\x00Disk1")); i > 0 {
			at = min(at, i)
		}
		dir := t.TempDir()
		var got []string
		err = eachWhole(filetype.InstallShield, b[at:], func(w whole) {
			if rest, ok := strings.CutPrefix(w.Path, "Disk1/data/"); ok {
				if len(w.data) > 0 { // unshield writes no file of no bytes
					got = append(got, filepath.Base(rest)+" "+sum(w.data))
				}
				return
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(w.Path)), w.data, 0o644); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, dir, "unshield", "-D", "0", "-d", "out", "x", "data1.cab")
		var want []string
		err = filepath.WalkDir(filepath.Join(dir, "out"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if len(b) > 0 {
				want = append(want, filepath.Base(path)+" "+sum(b))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" || len(want) < 5 {
			t.Errorf("%s: %d files %s", name, len(want), d)
		}
	}
}

// isMasked lays the mask over a file.
func isMasked(content []byte, name string) []byte {
	const magic = "\x13\x35\x86\x07"
	b := bytes.Clone(content)
	for i := range b {
		k := i % isMask % len(name)
		c := ^b[i] ^ name[k] ^ magic[k%4]
		b[i] = c<<4 | c>>4
	}
	return b
}

// isSetup writes a setup in the layout of a mark, or of texts.
func isSetup(mark string, pairs ...string) []byte {
	le := binary.LittleEndian
	var b []byte
	if mark != "" {
		b = append([]byte(mark), byte(len(pairs)/2), 0)
		b = append(b, make([]byte, isHead-len(b))...)
	}
	for i := 0; i < len(pairs); i += 2 {
		name, content := pairs[i], []byte(pairs[i+1])
		if mark == "" {
			b = append(b, fmt.Sprintf("%s\x00Disk1\\%s\x001.0\x00%d\x00%s", name, name, len(content), content)...)
			continue
		}
		if i == 0 { // one of them compressed
			var z bytes.Buffer
			w := zlib.NewWriter(&z)
			w.Write(content)
			w.Close()
			content = z.Bytes()
		}
		content = isMasked(content, name)
		if mark == isMark {
			e := make([]byte, isEntry)
			copy(e, name)
			le.PutUint32(e[260:], 6)
			le.PutUint32(e[268:], uint32(len(content)))
			b = append(b, e...)
		} else {
			wide := utf16Of(name)
			e := make([]byte, isWide)
			le.PutUint32(e, uint32(len(wide)))
			le.PutUint32(e[4:], 6)
			le.PutUint32(e[10:], uint32(len(content)))
			b = append(append(b, e...), wide...)
		}
		b = append(b, content...)
	}
	return b
}

// isCabinetOf writes the header of a cabinet of one file, and its volume.
func isCabinetOf(content string, masked bool) (header, volume string) {
	le := binary.LittleEndian
	var z bytes.Buffer
	for part := range slices.Chunk([]byte(content), 1000) {
		var piece bytes.Buffer
		w, _ := flate.NewWriter(&piece, 6)
		w.Write(part)
		w.Close()
		z.Write(le.AppendUint16(nil, uint16(piece.Len())))
		z.Write(piece.Bytes())
	}
	data := z.Bytes()
	flags := uint16(4)
	if masked {
		flags |= 2
		for i, b := range data {
			b += byte(i % 0x47)
			data[i] = (b<<2 | b>>6) ^ 0xd5
		}
	}
	h := make([]byte, 0x200+0x100)
	copy(h, "ISc(")
	le.PutUint32(h[4:], 0x01009500)
	le.PutUint32(h[12:], 0x200)
	d := h[0x200:]
	le.PutUint32(d[0x0c:], 0x100)
	le.PutUint32(d[0x1c:], 1)
	le.PutUint32(d[0x28:], 1)
	le.PutUint32(d[0x2c:], 64)
	table := make([]byte, 64+0x57)
	le.PutUint32(table, 8)
	copy(table[8:], "folder\x00file.txt\x00")
	e := table[64:]
	le.PutUint16(e, flags)
	le.PutUint64(e[2:], uint64(len(content)))
	le.PutUint64(e[10:], uint64(len(data)))
	le.PutUint64(e[18:], 0x20)
	le.PutUint32(e[0x3a:], 15)
	le.PutUint16(e[0x55:], 1)
	return string(append(h, table...)), "ISc(" + strings.Repeat("\x00", 28) + string(data)
}

func TestInstallShield(t *testing.T) {
	text := strings.Repeat("text ", 1000)
	for name, mark := range map[string]string{"table": isMark, "stream": isStream, "texts": ""} {
		b := isSetup(mark, "a.txt", text, "b.bin", "bytes")
		if got := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format; got != filetype.InstallShield {
			t.Errorf("%s: detected as %q", name, got)
		}
		folder := ""
		if mark == "" {
			folder = "Disk1/"
		} else if found := Find(bytes.NewReader(append([]byte("MZ before"), b...)), int64(9+len(b)), false); len(found) != 1 || found[0] != (Found{filetype.InstallShield, 9, int64(len(b))}) {
			t.Errorf("%s: found %v", name, found)
		}
		got, err := list(t, filetype.InstallShield, b, Options{})
		if d := cmp.Diff([]entry{{folder + "a.txt", 5000, sum([]byte(text)), ""}, {folder + "b.bin", 5, sum([]byte("bytes")), ""}}, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
		got, err = list(t, filetype.InstallShield, b[:len(b)-2], Options{})
		if text := fmt.Sprint(got, err); !strings.Contains(text, "b.bin: the data ends too early") || !strings.HasSuffix(text, "installshield: the data ends too early") {
			t.Errorf("%s, cut: %s", name, text)
		}
	}
	for _, masked := range []bool{false, true} {
		h, v := isCabinetOf(text, masked)
		got, err := list(t, filetype.InstallShield, isSetup("", "data1.hdr", h, "data1.cab", v), Options{})
		if err != nil || len(got) != 3 || got[2] != (entry{"Disk1/data/folder/file.txt", 5000, sum([]byte(text)), ""}) {
			t.Errorf("%v, %v", got, err)
		}
	}
	// What is told of a cabinet's files beside it need not be told as closed; another cabinet, and one whose header is missing, must.
	h, v := isCabinetOf(text, false)
	b := isSetup("", "Data1.hdr", h, "data1.cab", v, "data12.cab", v, "engine32.cab", v)
	opened := map[string]bool{}
	err := Each(context.Background(), filetype.InstallShield, bytes.NewReader(b), int64(len(b)), Options{}, func(m Member) error {
		opened[m.Path] = m.Opened
		return nil
	})
	want := map[string]bool{"Disk1/Data1.hdr": true, "Disk1/data1.cab": true, "Disk1/data12.cab": true, "Disk1/engine32.cab": false, "Disk1/Data/folder/file.txt": false}
	if d := cmp.Diff(want, opened); d != "" || err != nil {
		t.Errorf("%v, %s", err, d)
	}
}

func TestInstallShieldHostile(t *testing.T) {
	h, v := isCabinetOf("content", false)
	le := binary.LittleEndian
	change := func(at int, value uint32) string {
		b := []byte(h)
		le.PutUint32(b[at:], value)
		return string(b)
	}
	const file = 0x300 + 64
	for name, c := range map[string]struct {
		header, volume string
		want           string
	}{
		"no header":                {"ISc(", v, "does not begin as it should"},
		"an old version":           {change(4, 0x01005000), v, "cabinets of version 5 are not read"},
		"descriptor outside":       {change(12, 1<<31), v, "the data ends too early"},
		"files outside":            {change(0x200+0x2c, 1<<31), v, "the data ends too early"},
		"2^32 files":               {change(0x200+0x28, 1<<32-1), v, "the data ends too early"},
		"a name outside":           {change(file+0x3a, 1<<31), v, "Disk1/data/folder "},
		"data outside":             {change(file+18, 1<<31), v, "file.txt installshield: member Disk1/data/folder/file.txt: the data ends too early"},
		"more than there is":       {change(file+2, 1000), v, "file.txt installshield: member Disk1/data/folder/file.txt: the data ends too early"},
		"a size of 2^60":           {change(file+6, 1<<28), v, "the list of the cabinet is damaged"},
		"a wrong checksum":         {change(file+0x1a, 1), v, "the checksum differs"},
		"another volume":           {change(file+0x53, 2<<16), v, "its volume 2 is another file"},
		"parted":                   {change(file, uint32(h[file])|1|uint32(h[file+2])<<16), v, "it goes on in the next volume"},
		"a volume that is damaged": {h, v[:34] + "\xff\xff\xff" + v[37:], "file.txt installshield: member Disk1/data/folder/file.txt: "},
	} {
		got, err := list(t, filetype.InstallShield, isSetup("", "data1.hdr", c.header, "data1.cab", c.volume), Options{})
		text := fmt.Sprint(err)
		for _, e := range got {
			text += "; " + e.Path + " " + e.Err
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %s; want %q", name, text, c.want)
		}
	}
}

func FuzzInstallShield(f *testing.F) {
	h, v := isCabinetOf("content", true)
	f.Add(isSetup("", "data1.hdr", h, "data1.cab", v))
	f.Add(isSetup(isMark, "a.txt", "text", "b.bin", "bytes"))
	f.Add(isSetup(isStream, "a.txt", "text", "b.bin", "bytes"))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.InstallShield, b) })
}
