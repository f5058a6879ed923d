package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// TestNTFS reads a volume of mkntfs into which ntfscp put files, and compares it with what 7-Zip unpacks, which gives the system's own files too.
func TestNTFS(t *testing.T) {
	files := sources(2)
	dir := write(t, files)
	for name, args := range map[string][]string{"4096": nil, "512": {"-c", "512"}, "64 KB": {"-c", "65536"}} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "x.img")
			if err := os.WriteFile(image, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, 12<<20); err != nil {
				t.Fatal(err)
			}
			run(t, dir, "mkntfs", append(args, "-q", "-F", image)...)
			var want []entry
			for i, e := range all(files) {
				as := fmt.Sprintf("file %d %s", i, filepath.Base(e.Path))
				run(t, dir, "ntfscp", "-q", image, e.Path, as)
				e.Path = as
				want = append(want, e)
			}
			run(t, dir, "ntfscp", "-q", "-N", "Zone.Identifier", image, "docs/ümläut.txt", "file 0 code.exe")
			want = append(want, entry{Path: "file 0 code.exe:Zone.Identifier", Size: int64(len(files["docs/ümläut.txt"])), SHA256: sum(files["docs/ümläut.txt"])})
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			detected(t, b, filetype.NTFS)
			got, err := list(t, filetype.NTFS, b, Options{})
			if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-packed +read):\n%s", err, diff)
			}
			var theirs []entry
			for _, e := range unpackedBy7z(t, b) {
				if !strings.HasPrefix(e.Path, "[SYSTEM]/") {
					theirs = append(theirs, e)
				}
			}
			if diff := cmp.Diff(theirs, sorted(got)); diff != "" {
				t.Errorf("members (-7z +ours):\n%s", diff)
			}
		})
	}
}

// ntfsPart is an attribute of a record that a test makes.
type ntfsPart struct {
	kind  uint32
	name  string
	value []byte // resident
	runs  []byte // or not
	from  int64  // cluster that it goes on from
	size  int64
	flags uint16
	id    uint16
}

// ntfsRecord makes a record. base is the one that it belongs to.
func ntfsRecord(flags uint16, base int, parts ...ntfsPart) []byte {
	le := binary.LittleEndian
	b := make([]byte, 1024)
	copy(b, "FILE")
	le.PutUint16(b[4:], 48)
	le.PutUint16(b[6:], 3)
	le.PutUint16(b[20:], 56)
	le.PutUint16(b[22:], flags)
	le.PutUint64(b[32:], uint64(base))
	at := 56
	for _, p := range parts {
		name := make([]byte, 0, 2*len(p.name))
		for _, c := range p.name {
			name = le.AppendUint16(name, uint16(c))
		}
		head, rest := 24, p.value
		if p.runs != nil {
			head, rest = 64, append(bytes.Clone(p.runs), 0)
		}
		a := make([]byte, head)
		le.PutUint32(a, p.kind)
		a[9] = byte(len(p.name))
		le.PutUint16(a[10:], uint16(head))
		le.PutUint16(a[12:], p.flags)
		le.PutUint16(a[14:], p.id)
		a = append(a, name...)
		a = append(a, make([]byte, -len(a)&7)...)
		if p.runs != nil {
			a[8] = 1
			le.PutUint64(a[16:], uint64(p.from))
			le.PutUint16(a[32:], uint16(len(a)))
			if p.flags&ntfsCompressed != 0 {
				a[34] = 4
			}
			le.PutUint64(a[48:], uint64(p.size))
			le.PutUint64(a[56:], uint64(p.size))
		} else {
			le.PutUint32(a[16:], uint32(len(rest)))
			le.PutUint16(a[20:], uint16(len(a)))
		}
		a = append(a, rest...)
		a = append(a, make([]byte, -len(a)&7)...)
		le.PutUint32(a[4:], uint32(len(a)))
		at += copy(b[at:], a)
	}
	at += copy(b[at:], "\xff\xff\xff\xff\x00\x00\x00\x00")
	le.PutUint32(b[24:], uint32(at))
	// Each sector ends with a mark, and its own bytes stand in front.
	copy(b[50:], b[510:512])
	copy(b[52:], b[1022:1024])
	copy(b[48:], "\x07\x00")
	copy(b[510:], "\x07\x00")
	copy(b[1022:], "\x07\x00")
	return b
}

func ntfsNamed(parent int, name string) ntfsPart {
	b := make([]byte, 66)
	binary.LittleEndian.PutUint64(b, uint64(parent)|5<<48)
	b[64], b[65] = byte(len(name)), 1
	for _, c := range name {
		b = binary.LittleEndian.AppendUint16(b, uint16(c))
	}
	return ntfsPart{kind: ntfsName, value: b}
}

func ntfsContent(s string) ntfsPart { return ntfsPart{kind: ntfsData, value: []byte(s)} }

// ntfsOf makes a volume of clusters of 512 bytes: the MFT from cluster 4 on, data from cluster 100 on.
func ntfsOf(records map[int][]byte, data []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 100*512)
	copy(b, "\xeb\x52\x90NTFS    \x00\x02\x01")
	le.PutUint64(b[40:], 1000)
	le.PutUint64(b[48:], 4)
	b[64], b[68] = 0xf6, 1
	b[510], b[511] = 0x55, 0xaa
	copy(b[4*512:], ntfsRecord(1, 0, ntfsNamed(5, "$MFT"), ntfsPart{kind: ntfsData, runs: []byte{0x11, 96, 4}, size: 48 * 1024}))
	copy(b[(4+10)*512:], ntfsRecord(3, 0, ntfsNamed(5, ".")))
	for i, r := range records {
		copy(b[(4+2*i)*512:], r)
	}
	return append(b, data...)
}

// ntfsListed is an entry of a list of attributes.
func ntfsListed(kind uint32, record int, id uint16) []byte {
	le := binary.LittleEndian
	b := make([]byte, 32)
	le.PutUint32(b, kind)
	le.PutUint16(b[4:], 32)
	le.PutUint64(b[16:], uint64(record)|1<<48)
	le.PutUint16(b[24:], id)
	return b
}

// packLZNT1 compresses by what was at a distance of one, or not at all.
func packLZNT1(in []byte) (out []byte) {
	le := binary.LittleEndian
	for len(in) > 0 {
		chunk := in[:min(4096, len(in))]
		in = in[len(chunk):]
		var packed []byte
		for i := 0; i < len(chunk); {
			flags := len(packed)
			packed = append(packed, 0)
			for bit := 0; bit < 8 && i < len(chunk); bit++ {
				n, bits := 0, 4
				for 1<<bits < i {
					bits++
				}
				for i > 0 && i+n < len(chunk) && chunk[i+n] == chunk[i-1] && n < 1<<(16-bits)+2 {
					n++
				}
				if n < 3 {
					packed = append(packed, chunk[i])
					i++
					continue
				}
				packed[flags] |= 1 << bit
				packed = le.AppendUint16(packed, uint16(n-3)) // the distance less one is nothing
				i += n
			}
		}
		if len(packed) < len(chunk) {
			out = append(le.AppendUint16(out, uint16(len(packed)-1)|0xb000), packed...)
		} else {
			out = append(le.AppendUint16(out, uint16(len(chunk)-1)|0x3000), chunk...)
		}
	}
	return out
}

func ntfsImage() ([]byte, []entry) {
	text := bytes.Repeat([]byte("aaaaaaaaaaaaaaaaaaab"), 500)[:8192] // a unit
	packed := packLZNT1(text)
	packed = append(packed, make([]byte, -len(packed)&511)...)
	n := byte(len(packed) / 512)
	noise := sources(2)["noise.bin"][:8192]
	data := append(append([]byte("in a cluster"+strings.Repeat("\x00", 500)), packed...), noise...)
	b := ntfsOf(map[int][]byte{
		24: ntfsRecord(3, 0, ntfsNamed(5, "dir")),
		25: ntfsRecord(1, 0, ntfsNamed(24, "inline"), ntfsNamed(5, "second name"), ntfsContent("content"), ntfsPart{kind: ntfsData, name: "stream", value: []byte("beside")}),
		26: ntfsRecord(1, 0, ntfsNamed(24, "run"), ntfsPart{kind: ntfsData, runs: []byte{0x11, 1, 100}, size: 12}),
		27: ntfsRecord(1, 0, ntfsNamed(24, "holes"), ntfsPart{kind: ntfsData, runs: []byte{0x01, 2, 0x11, 1, 100}, size: 3 * 512, flags: 0x8000}),
		// a unit that is compressed, one that is not, and one of zeros
		28: ntfsRecord(1, 0, ntfsNamed(24, "packed"), ntfsPart{kind: ntfsData, runs: []byte{0x11, n, 101, 0x01, 16 - n, 0x11, 16, n, 0x01, 16}, size: 24_000, flags: ntfsCompressed}),
		29: ntfsRecord(1, 0, ntfsNamed(5, "listed"), ntfsPart{kind: ntfsList, value: append(append(ntfsListed(ntfsName, 29, 0), ntfsListed(ntfsData, 30, 1)...), ntfsListed(ntfsData, 31, 2)...)}),
		30: ntfsRecord(1, 29, ntfsPart{kind: ntfsData, runs: []byte{0x11, 1, 100}, size: 1024, id: 1}),
		31: ntfsRecord(1, 29, ntfsPart{kind: ntfsData, runs: []byte{0x11, 1, 100}, from: 1, size: 1024, id: 2}),
		32: ntfsRecord(1, 0, ntfsNamed(5, "link"), ntfsPart{kind: ntfsReparse, value: []byte("\x0c\x00\x00\xa0")}, ntfsContent("")),
		33: ntfsRecord(0, 0, ntfsNamed(5, "deleted"), ntfsContent("gone")),
		34: ntfsRecord(1, 0, ntfsNamed(5, "secret"), ntfsPart{kind: ntfsData, value: []byte("x"), flags: ntfsEncrypted}),
		35: ntfsRecord(1, 0, ntfsNamed(99, "lost"), ntfsContent("found")),
	}, data)
	cluster := string(data[:512])
	return b, []entry{member("dir/inline", "content"), member("dir/inline:stream", "beside"), member("second name", "content"), member("dir/run", "in a cluster"),
		member("dir/holes", strings.Repeat("\x00", 1024)+cluster), member("dir/packed", (string(text) + string(noise) + strings.Repeat("\x00", 8192))[:24_000]),
		member("listed", cluster+cluster), {Path: "secret", Size: 1, Err: "ntfs: member secret: it is encrypted by Windows (EFS)"}, member("[record 99]/lost", "found")}
}

// TestNTFSRecords reads what mkntfs writes none of: directories, links, holes, compressed units, attributes in other records.
func TestNTFSRecords(t *testing.T) {
	b, want := ntfsImage()
	detected(t, b, filetype.NTFS)
	got, err := list(t, filetype.NTFS, b, Options{})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// TestNTFSHostile holds what records may not do.
func TestNTFSHostile(t *testing.T) {
	part := func(p ntfsPart) []byte {
		return ntfsOf(map[int][]byte{24: ntfsRecord(1, 0, ntfsNamed(5, "x"), p)}, make([]byte, 512))
	}
	runs := func(size int64, flags uint16, b ...byte) []byte {
		return part(ntfsPart{kind: ntfsData, runs: b, size: size, flags: flags})
	}
	good, _ := ntfsImage()
	for name, c := range map[string]struct {
		in        []byte
		err, told string
	}{
		"clusters":              {patch(good, "\xeb\x52\x90", 1, 13, 0), "ntfs: the boot sector is damaged", ""},
		"records":               {patch(good, "\xeb\x52\x90", 1, 64, 0x81), "ntfs: the boot sector is damaged", ""},
		"MFT beyond":            {patch(good, "\xeb\x52\x90", 1, 48, 0, 0, 0, 0, 0, 0, 0, 0x7f), "ntfs: the boot sector is damaged", ""},
		"MFT at none":           {patch(good, "\xeb\x52\x90", 1, 48, 90), "ntfs: the MFT is damaged", ""},
		"not wholly":            {patch(good, "FILE", 1, 510, 9), "ntfs: the MFT: it was not wholly written", ""},
		"a size of 2^60":        {runs(1<<60, 0, 0x11, 1, 100), "", "ntfs: member x: its size is not possible"},
		"a run beyond":          {runs(512, 0, 0x31, 1, 0, 0, 0x7f), "", "ntfs: member x: the data ends too early"},
		"a run before":          {runs(512, 0, 0x11, 1, 0x80), "", "ntfs: member x: its runs are damaged"},
		"too few runs":          {runs(5000, 0, 0x11, 1, 100), "", "ntfs: member x: the data ends too early"},
		"a run of 2^56":         {runs(512, 0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1), "", "ntfs: member x: its runs are damaged"},
		"damaged unit":          {runs(512, ntfsCompressed, 0x11, 1, 4, 0x01, 15), "", "ntfs: member x: the data ends too early"},
		"a later part only":     {part(ntfsPart{kind: ntfsData, runs: []byte{0x11, 1, 100}, from: 7, size: 512}), "", "ntfs: member x: its first runs are missing"},
		"a list in a ring":      {part(ntfsPart{kind: ntfsList, value: bytes.Repeat(ntfsListed(ntfsData, 24, 0), 20)}), "", ""},
		"a list elsewhere":      {part(ntfsPart{kind: ntfsList, value: ntfsListed(ntfsData, 5, 0)}), "ntfs: record 24: a record that its list of attributes names is not its own", ""},
		"a list of 2^40":        {part(ntfsPart{kind: ntfsList, runs: []byte{0x11, 1, 100}, size: 1 << 40}), "ntfs: record 24: 1099511627776 bytes claimed where at most 1048576 are taken", ""},
		"directories in a ring": {ntfsOf(map[int][]byte{24: ntfsRecord(3, 0, ntfsNamed(25, "a")), 25: ntfsRecord(3, 0, ntfsNamed(24, "b")), 26: ntfsRecord(1, 0, ntfsNamed(24, "c"), ntfsContent("d"))}, nil), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []entry
			var err error
			n := allocated(func() { got, err = list(t, filetype.NTFS, c.in, Options{}) })
			told := ""
			for _, e := range got {
				if e.Err != "" {
					told = e.Err
				}
			}
			if (err != nil || c.err != "") && fmt.Sprint(err) != c.err || told != c.told {
				t.Errorf("%v, member: %s; want %s, %s", err, told, c.err, c.told)
			}
			if n > 4<<20 {
				t.Errorf("%d bytes were allocated for %d", n, len(c.in))
			}
		})
	}
}

func TestLZNT1(t *testing.T) {
	for _, in := range [][]byte{[]byte("a"), bytes.Repeat([]byte("ab"), 5000), bytes.Repeat([]byte{7}, 65536), sources(2)["noise.bin"][:10_000]} {
		out, err := lznt1(packLZNT1(in), 65536)
		if err != nil || !bytes.Equal(in, out) {
			t.Errorf("%d bytes: %d, %v", len(in), len(out), err)
		}
		if _, err := lznt1(packLZNT1(append(in, make([]byte, 65536)...)), 65536); err == nil {
			t.Error("more than was asked for is no error")
		}
	}
	if _, err := lznt1([]byte("\x02\xb0\x01\x00\x00"), 4096); err == nil {
		t.Error("a distance before the beginning is no error")
	}
	r := &ntfsUnits{r: &ntfsReader{container: &container{r: bytes.NewReader(nil)}, cluster: 1 << 20}, s: &ntfsStream{unit: 4, size: 9}}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("units of 16 MiB are no error")
	}
}

// FuzzNTFS mends nothing: the marks of sectors rarely change.
func FuzzNTFS(f *testing.F) {
	b, _ := ntfsImage()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.NTFS, b) })
}
