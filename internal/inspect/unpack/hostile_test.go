package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// zipOf makes a zip of names and contents, in order.
func zipOf(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.Create(members[i])
		if err == nil {
			_, err = io.WriteString(f, members[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func member(path, content string) entry {
	return entry{Path: path, Size: int64(len(content)), SHA256: sum([]byte(content))}
}

// patch changes what follows the n-th occurrence of a signature.
func patch(b []byte, signature string, n, offset int, with ...byte) []byte {
	b = bytes.Clone(b)
	at := -1
	for range n {
		at += 1 + bytes.Index(b[at+1:], []byte(signature))
	}
	copy(b[at+offset:], with)
	return b
}

const (
	local   = "PK\x03\x04"
	central = "PK\x01\x02"
	end     = "PK\x05\x06"
)

func TestZip(t *testing.T) {
	plain := zipOf(t, "a.txt", "first", "b.txt", "second")
	two := []entry{member("a.txt", "first"), member("b.txt", "second")}
	directory := bytes.Index(plain, []byte(central))
	commented := append(patch(plain, end, 1, 20, 8, 0), "PK\x05\x06xxxx"...)
	stub := append([]byte("MZ, a program that unpacks itself PK\x03\x04 "), make([]byte, 500)...)
	big := zipOf(t, "z", strings.Repeat("x", 1000))

	// The first entry of the directory is gone, its member is not.
	second := directory + 1 + bytes.Index(plain[directory+1:], []byte(central))
	unlisted := append(bytes.Clone(plain[:directory]), plain[second:]...)
	tail := unlisted[len(unlisted)-zipEndSize:]
	copy(tail[8:], []byte{1, 0, 1, 0})
	binary.LittleEndian.PutUint32(tail[12:], uint32(len(unlisted)-zipEndSize-directory))

	// What one header calls stored, the other calls deflated.
	both := strings.Repeat("both ways ", 20)
	var squeezed bytes.Buffer
	deflater, _ := flate.NewWriter(&squeezed, 9)
	io.WriteString(deflater, both)
	deflater.Close()
	bothPacked := squeezed.Bytes()
	var written bytes.Buffer
	writer := zip.NewWriter(&written)
	raw, err := writer.CreateRaw(&zip.FileHeader{Name: "x", Method: 8, CRC32: crc32.ChecksumIEEE([]byte(both)),
		CompressedSize64: uint64(len(bothPacked)), UncompressedSize64: uint64(len(both))})
	if err != nil {
		t.Fatal(err)
	}
	raw.Write(bothPacked)
	writer.Close()
	bothWays := patch(written.Bytes(), central, 1, 10, 0, 0)
	bothWays = patch(bothWays, central, 1, 16, binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(bothPacked))...)
	bothWays = patch(bothWays, central, 1, 24, byte(len(bothPacked)))
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"plain":     {in: plain, want: two},
		"comment":   {in: commented, want: two},
		"prefixed":  {in: append(bytes.Clone(stub), plain...), want: two},
		"cut short": {in: plain[:directory], want: two, err: "zip: no central directory; 2 members were found by their local headers"},
		"cut in the directory": {in: plain[:directory+50], want: two,
			err: "zip: no central directory; 2 members were found by their local headers"},
		"directory damaged": {in: patch(plain, central, 2, 0, 'X'), want: []entry{two[0], two[1]},
			err: "zip: the central directory ends after 1 of 2 members; 1 members were found by their local headers"},
		"same name twice": {in: zipOf(t, "a", "1", "a", "2"), want: []entry{member("a", "1"), member("a", "2")}},
		"paths": {in: zipOf(t, "../../etc/passwd", "1", "/abs/x", "2", `C:\dir\f`, "3", "a/./b//c", "4", "..", "5"),
			want: []entry{member("etc/passwd", "1"), member("abs/x", "2"), member("dir/f", "3"), member("a/b/c", "4"), member("", "5")}},
		"directory":                        {in: zipOf(t, "dir/", "", "dir/x", "1"), want: []entry{member("dir/x", "1")}},
		"file that looks like a directory": {in: patch(patch(plain, central, 1, 50, '/'), local, 1, 34, '/'), want: []entry{member("a.tx", "first"), two[1]}},
		"method not known": {in: patch(patch(plain, central, 1, 10, 19, 0), local, 1, 8, 19, 0),
			want: []entry{{Path: "a.txt", Size: 5, Err: "zip: member a.txt: method 19 (IBM LZ77) is not read"}, two[1]}},
		"PPMd of nothing": {in: patch(patch(plain, central, 1, 10, 98, 0), local, 1, 8, 98, 0), want: []entry{
			{Path: "a.txt", SHA256: sum(nil), Err: "zip: member a.txt: PPMd of order 11 with method 12 is not known"}, two[1]}},
		"method hidden in the directory": {in: patch(plain, central, 1, 10, 77, 0), want: two,
			err: "zip: the headers of 1 members disagree: a.txt: method 77 in the directory, 8 in the local header"},
		"encrypted by the directory only": {in: patch(plain, central, 1, 8, 9, 0), want: two,
			err: "zip: the headers of 1 members disagree: a.txt: encrypted by one header only"},
		"another name in the local header": {in: patch(plain, local, 2, 30, 'e'), want: two,
			err: "zip: the headers of 1 members disagree: b.txt: its local header names it \"e.txt\""},
		"not in the directory": {in: unlisted, want: []entry{two[1], two[0]},
			err: "zip: 1 members are not in its central directory and were found by their local headers"},
		"two in a row": {in: append(zipOf(t, "c", "3"), plain...), want: append([]entry{two[0], two[1]}, member("c", "3")),
			err: "zip: 1 members are not in its central directory and were found by their local headers; it has 2 central directories; the last counts"},
		"two in a row, the last without members": {in: append(bytes.Clone(plain), zipOf(t)...), want: two,
			err: "zip: 2 members are not in its central directory and were found by their local headers; it has 2 central directories; the last counts"},
		"two directories of the same members": {in: append(bytes.Clone(plain), plain[directory:]...), want: two,
			err: "zip: it has 2 central directories; the last counts"},
		"two methods": {in: bothWays, want: []entry{{Path: "x", Size: int64(len(bothPacked)), SHA256: sum(bothPacked)}, member("x", both)},
			err: "zip: the headers of 1 members disagree: x: method 0 in the directory, 8 in the local header"},
		"the last disk of two": {in: patch(patch(plain, end, 1, 4, 1, 0, 1, 0), central, 2, 34, 1, 0), want: []entry{
			{Path: "a.txt", Size: 5, Err: "zip: member a.txt: it begins on the disk 1 of the set, which is another file"}, two[1], two[0]},
			err: "zip: 1 members are not in its central directory and were found by their local headers; it is the disk 2 of a set, which are files of their own"},
		"no local header":                   {in: patch(plain, local, 1, 0, 'X'), want: []entry{{Path: "a.txt", Size: 5, Err: "zip: member a.txt: there is no local header where the central directory says"}, two[1]}},
		"checksum":                          {in: patch(plain, central, 1, 16, 0), want: []entry{{Path: "a.txt", Size: 5, SHA256: two[0].SHA256, Err: "zip: member a.txt: the checksum differs"}, two[1]}},
		"claims too much":                   {in: patch(big, central, 1, 24, 0, 0, 0, 0x7f), want: []entry{{Path: "z", Size: 1000, SHA256: sum(bytes.Repeat([]byte("x"), 1000)), Err: "zip: member z: it has 1000 bytes where the header says 2130706432"}}},
		"claims too little":                 {in: patch(big, central, 1, 24, 1, 0, 0, 0), want: []entry{{Path: "z", Size: 1000, SHA256: sum(bytes.Repeat([]byte("x"), 1000)), Err: "zip: member z: it has 1000 bytes where the header says 1"}}},
		"packed size beyond the file's end": {in: patch(big, central, 1, 20, 0xff, 0xff, 0xff, 0x7f), want: []entry{member("z", strings.Repeat("x", 1000))}},
		"empty":                             {in: zipOf(t)},
		"no zip":                            {in: []byte("nothing of the kind, but long enough to be one"), err: "zip: no central directory; 0 members were found by their local headers"},
		"nothing":                           {err: "zip: no central directory; 0 members were found by their local headers"},
	} {
		t.Run(name, func(t *testing.T) {
			// A header that lies of a size is what some of these are about, so the helper's check of sizes is not made.
			var got []entry
			err := Each(context.Background(), filetype.Zip, bytes.NewReader(c.in), int64(len(c.in)), Options{}, func(m Member) error {
				e := entry{Path: m.Path, Size: m.Size}
				if m.Err != nil {
					e.Err = m.Err.Error()
				} else {
					b, err := io.ReadAll(m.Reader)
					e.Size, e.SHA256 = int64(len(b)), sum(b)
					if err != nil {
						e.Err = err.Error()
					}
				}
				got = append(got, e)
				return nil
			})
			if fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

// TestZip64 reads a zip of more members than the old count can hold.
func TestZip64(t *testing.T) {
	const n = 1<<16 + 3
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range n {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"zip64": b.Bytes(), "prefixed": append([]byte("in front of it"), b.Bytes()...)} {
		told := 0
		err := Each(context.Background(), filetype.Zip, bytes.NewReader(in), int64(len(in)), Options{}, func(m Member) error {
			if m.Path != fmt.Sprint(told) || m.Err != nil {
				t.Fatalf("%s: member %d is %q, %v", name, told, m.Path, m.Err)
			}
			told++
			return nil
		})
		if err != nil || told != n {
			t.Errorf("%s: %d members of %d, %v", name, told, n, err)
		}
	}
}

func TestPasswords(t *testing.T) {
	for _, name := range []string{"zip-crypto", "zip-aes128", "7z-encrypted"} {
		b := testdata(t)[name]
		f := makers()[name].format
		for want, o := range map[string]Options{
			errEncrypted.Error(): {},
			errPassword.Error():  {Passwords: []string{"wrong", "also wrong", "infected?"}},
		} {
			got, err := list(t, f, b, o)
			if err != nil || len(got) != 7 {
				t.Errorf("%s: %d members, %v", name, len(got), err)
			}
			for _, e := range got {
				if e.Size > 0 && !strings.HasSuffix(e.Err, want) {
					t.Errorf("%s: member %s: %q, want %q", name, e.Path, e.Err, want)
				}
			}
		}
		err := Each(context.Background(), f, bytes.NewReader(b), int64(len(b)), Options{Passwords: []string{"wrong", "infected"}}, func(m Member) error {
			if m.Size > 0 && m.Password != "infected" {
				t.Errorf("%s: member %s was opened by %q", name, m.Path, m.Password)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	_, err := list(t, filetype.SevenZip, testdata(t)["7z-encrypted-all"], Options{Passwords: []string{"wrong"}})
	if err == nil || !strings.Contains(err.Error(), errPassword.Error()) {
		t.Errorf("7z with encrypted names and no right password: %v", err)
	}
}

// allocated is how many bytes f allocates in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMemory holds that what is allocated follows what is there, not what is claimed.
func TestMemory(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	lzmaHeader := append(append([]byte{0x5d}, huge...), bytes.Repeat([]byte{0xff}, 8)...)
	lzma := append(lzmaHeader, testdata(t)["lzma"][13:]...)
	sevenOf := func(header ...byte) []byte {
		b := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 24)...)
		binary.LittleEndian.PutUint64(b[20:], uint64(len(header)))
		binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(header))
		binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
		return append(b, header...)
	}
	manyFiles := append([]byte{sevenHeader, sevenFiles, 0xff}, bytes.Repeat([]byte{0x7f}, 8)...)
	rpm := append(append([]byte("\xed\xab\xee\xdb"), make([]byte, 92)...), "\x8e\xad\xe8\x01\x00\x00\x00\x00\x7f\xff\xff\xff\x7f\xff\xff\xff"...)
	bomb := zipOf(t, "zeros", strings.Repeat("\x00", 64<<20))
	for name, c := range map[string]struct {
		format filetype.Format
		in     []byte
		limit  uint64
	}{
		"lzma of 4 GiB dictionary": {filetype.LZMA, lzma, 1 << 20},
		"7z of 2^56 files":         {filetype.SevenZip, sevenOf(manyFiles...), 1 << 20},
		"7z of 2^56 folders":       {filetype.SevenZip, sevenOf(append([]byte{sevenHeader, sevenMainStreams, sevenUnpackInfo, sevenFolder, 0xff}, bytes.Repeat([]byte{0x7f}, 8)...)...), 1 << 20},
		"7z of 2^56 streams":       {filetype.SevenZip, sevenOf(append([]byte{sevenHeader, sevenMainStreams, sevenPackInfo, 0, 0xff}, bytes.Repeat([]byte{0x7f}, 8)...)...), 1 << 20},
		"rpm of 2^31 tags":         {filetype.RPM, rpm, 1 << 20},
		"ar of a 1 GB table":       {filetype.Ar, []byte("!<arch>\n//                                              999999999 `\n"), 1 << 20},
		"cpio of a 4 GB name":      {filetype.CPIO, []byte("070701" + strings.Repeat("f", 104)), 1 << 20},
		"tar of a 8 GB file":       {filetype.Tar, hugeTar(t), 1 << 20},
		"lz4 of a 4 MB block":      {filetype.LZ4, []byte("\x04\x22\x4d\x18\x64\x70\xb9\xff\xff\x3f\x00"), 1 << 20},
		"zip of 64 MiB of zeros":   {filetype.Zip, bomb, 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			n := allocated(func() {
				err := Each(context.Background(), c.format, bytes.NewReader(c.in), int64(len(c.in)), Options{}, func(m Member) error {
					if m.Reader != nil {
						io.Copy(io.Discard, m.Reader)
					}
					return nil
				})
				if err == nil && c.format != filetype.Zip && c.format != filetype.LZMA && c.format != filetype.LZ4 {
					t.Error("no problem is told")
				}
			})
			if n > c.limit {
				t.Errorf("%d bytes were allocated for %d bytes of input", n, len(c.in))
			}
		})
	}
}

func hugeTar(t *testing.T) []byte {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "x", Size: 8<<30 - 1, Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOverlap holds that 60,000 members that share their data cost what 60,000 headers cost, and that each is told.
func TestOverlap(t *testing.T) {
	one := zipOf(t, "x", "shared")
	at := bytes.Index(one, []byte(central))
	header := one[at : len(one)-zipEndSize]
	const n = 60_000
	b := append(bytes.Clone(one[:at]), bytes.Repeat(header, n)...)
	b = append(b, one[len(one)-zipEndSize:]...)
	tail := b[len(b)-zipEndSize:]
	binary.LittleEndian.PutUint16(tail[8:], n)
	binary.LittleEndian.PutUint16(tail[10:], n)
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*len(header)))
	told := 0
	spent := allocated(func() {
		err := Each(context.Background(), filetype.Zip, bytes.NewReader(b), int64(len(b)), Options{}, func(m Member) error {
			told++
			return m.Err
		})
		if err != nil {
			t.Error(err)
		}
	})
	if told != n || spent > n*2048 {
		t.Errorf("%d members told, %d bytes allocated", told, spent)
	}
}

// TestNoDescriptors holds that headers that promise a data descriptor, with none that fits, do not make the file be read once for each.
func TestNoDescriptors(t *testing.T) {
	header := []byte("PK\x03\x04\x14\x00\x08\x00\x08\x00" + strings.Repeat("\x00", 16) + "\x01\x00\x00\x00x")
	const n = 30_000
	b := append(bytes.Repeat(header, n), "PK\x07\x08 that belongs to none"...)
	r := &countedReaderAt{r: bytes.NewReader(b)}
	told := 0
	err := Each(context.Background(), filetype.Zip, r, int64(len(b)), Options{}, func(Member) error { told++; return nil })
	if err == nil || told != n {
		t.Errorf("%d members of %d, %v", told, n, err)
	}
	if limit := int64(n) * 10_000; r.n > limit {
		t.Errorf("%d bytes were read of a file of %d", r.n, len(b))
	}
}

type countedReaderAt struct {
	r io.ReaderAt
	n int64
}

func (c *countedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// TestMany holds that a container of 100,000 members is told in full.
func TestMany(t *testing.T) {
	const n = 100_000
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("dir/", i), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	told := 0
	if err := Each(context.Background(), filetype.Tar, bytes.NewReader(b.Bytes()), int64(b.Len()), Options{}, func(Member) error { told++; return nil }); err != nil || told != n {
		t.Errorf("%d members of %d, %v", told, n, err)
	}
}

func TestStops(t *testing.T) {
	b := zipOf(t, "a", "1", "b", "2")
	stop := errors.New("enough")
	told := 0
	err := Each(context.Background(), filetype.Zip, bytes.NewReader(b), int64(len(b)), Options{}, func(Member) error { told++; return stop })
	if err != stop || told != 1 {
		t.Errorf("%v after %d members; want what yield returned, after the first", err, told)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told = 0
	err = Each(ctx, filetype.Zip, bytes.NewReader(b), int64(len(b)), Options{}, func(Member) error { told++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("%v after %d members; want the context's error, after the first", err, told)
	}
	ctx, cancel = context.WithCancel(context.Background())
	bomb := testdata(t)["xz"]
	err = Each(ctx, filetype.XZ, bytes.NewReader(bomb), int64(len(bomb)), Options{}, func(m Member) error {
		cancel()
		_, err := io.Copy(io.Discard, m.Reader)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v while reading; want the context's error", err)
	}
	if err := Each(context.Background(), filetype.Text, bytes.NewReader(nil), 0, Options{}, nil); err == nil || err.Error() != "text: no reader opens this format" {
		t.Errorf("a format without a reader: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic of yield was taken for one of a decoder")
		}
	}()
	Each(context.Background(), filetype.Zip, bytes.NewReader(b), int64(len(b)), Options{}, func(Member) error { panic("the caller's") })
}

func TestTrailing(t *testing.T) {
	for _, name := range []string{"gzip-two", "bzip2", "xz", "lzip", "lz4", "zlib"} {
		m := makers()[name]
		b := append(bytes.Clone(testdata(t)[name]), "and something else"...)
		got, err := list(t, m.format, b, Options{})
		if err == nil || !strings.HasSuffix(err.Error(), errTrailing.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(m.want(sources(200)), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"a/b":               "a/b",
		"./usr/bin/x":       "usr/bin/x",
		"/etc/passwd":       "etc/passwd",
		`..\..\windows\x`:   "windows/x",
		`\\host\share\x`:    "host/share/x",
		"c:/x":              "x",
		"a/c:/x":            "a/c:/x",
		"a\x00b\n":          "a_b_",
		"\xff\xfe":          "\uFFFD",
		"...":               "...",
		"../..":             "",
		"dir/":              "dir",
		"x" + "/../y" + "/": "x/y",
	} {
		if got := cleanPath(in); got != want {
			t.Errorf("cleanPath(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"a/b":                             "",
		"a/../b":                          "",
		"a/..b/...":                       "",
		"./../x":                          "./../x",
		"a/../../x":                       "a/../../x",
		`..\x`:                            `..\x`,
		`a\..\..\x` + "\n\xff":            `a\..\..\x` + "_\uFFFD",
		"/x/..":                           "/x/..",
		`\\host\x`:                        `\\host\x`,
		"c:x":                             "c:x",
		"::x":                             "",
		"../" + strings.Repeat("x", 5000): "../" + strings.Repeat("x", maxOutside-6) + "…",
	} {
		if got := outside(in, true); got != want {
			t.Errorf("outside(%q) = %q, want %q", in, got, want)
		}
	}
	if got := outside("/etc/x", false) + outside("c:/x", false); got != "" {
		t.Errorf("what backups have is told as outside: %q", got)
	}
	if n := len(cleanPath(strings.Repeat("ü", 10_000))); n > maxPath {
		t.Errorf("a long path keeps %d bytes", n)
	}
	if got := localName([]byte("\x81ml\x84ut")); got != "ümläut" {
		t.Errorf("code page 437 gives %q", got)
	}
}

func TestFind(t *testing.T) {
	stub := append([]byte("MZ"), bytes.Repeat([]byte("PK\x03\x04 7z\xbc\xaf\x27\x1c Rar!\x1a\x07\x00 MSCF\x00\x00\x00\x00 -lh5- \x60\xea no archive "), 20_000)...)
	zip, seven, rar := testdata(t)["zip-deflate"], testdata(t)["7z-lzma2"], rar5("x", "content")
	var in []byte
	var want []Found
	add := func(format filetype.Format, archive []byte, rest int) {
		in = append(in, stub...)
		want = append(want, Found{format, int64(len(in)), int64(len(archive) + rest)})
		in = append(in, archive...)
	}
	add(filetype.Zip, zip, 0)
	add(filetype.SevenZip, seven, 0)
	add(filetype.Zip, zipOf(t, "inner.zip", string(zip)), 0) // the inner end record does not end the outer
	add(filetype.RAR, rar, len("after it"))                  // does not say how long it is
	in = append(in, "after it"...)
	if d := cmp.Diff(want, Find(bytes.NewReader(in), int64(len(in)), false)); d != "" {
		t.Error(d)
	}
	if got := Find(bytes.NewReader(stub), int64(len(stub)), true); got != nil {
		t.Errorf("found in what is none: %v", got)
	}
	// An end record whose directory counts from the beginning of the program.
	moved := bytes.Clone(zip)
	end := bytes.LastIndex(moved, []byte("PK\x05\x06"))
	le := binary.LittleEndian
	shift := uint32(len(stub))
	le.PutUint32(moved[end+16:], le.Uint32(moved[end+16:])+shift)
	for at := bytes.Index(moved, []byte("PK\x01\x02")); at < end; {
		le.PutUint32(moved[at+42:], le.Uint32(moved[at+42:])+shift)
		at += 46 + int(le.Uint16(moved[at+28:])) + int(le.Uint16(moved[at+30:])) + int(le.Uint16(moved[at+32:]))
	}
	b := append(bytes.Clone(stub), moved...)
	if d := cmp.Diff([]Found{{filetype.Zip, int64(shift), int64(len(zip))}}, Find(bytes.NewReader(b), int64(len(b)), false)); d != "" {
		t.Errorf("a zip that counts from the program's beginning: %s", d)
	}
	if _, err := list(t, filetype.Zip, b[shift:], Options{}); err != nil {
		t.Errorf("a zip that counts from the program's beginning: %v", err)
	}
}

// TestFindBounded holds that what is full of beginnings costs no more than its size.
func TestFindBounded(t *testing.T) {
	local := append([]byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"), make([]byte, 16)...)
	local = append(local, 1, 0, 0, 0)
	in := bytes.Repeat(append(local, "PK\x05\x06 MSCF\x00\x00\x00\x00"...), 1<<16)
	r := &countedReaderAt{r: bytes.NewReader(in)}
	if got := Find(r, int64(len(in)), false); got != nil {
		t.Errorf("found: %v", got)
	}
	if r.n > 40*int64(len(in)) {
		t.Errorf("%d bytes were read of %d", r.n, len(in))
	}
}

func TestFindBehind(t *testing.T) {
	script := "#!/bin/sh\n# \x1f\x8b\x08 and BZh are no archive here\ntail -n +4 \"$0\" | tar xz; exit\n"
	for name, format := range map[string]filetype.Format{"tar-bsd-pax": filetype.Tar, "gzip": filetype.Gzip, "xz": filetype.XZ, "zip-deflate": filetype.Zip} {
		archive := testdata(t)[name]
		if archive == nil {
			t.Fatalf("no %s", name)
		}
		in := append([]byte(script), archive...)
		if got, ok := FindBehind(bytes.NewReader(in), int64(len(in))); !ok || got != (Found{format, int64(len(script)), int64(len(archive))}) {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	if got, ok := FindBehind(strings.NewReader(script), int64(len(script))); ok {
		t.Errorf("found in a script alone: %v", got)
	}
	// As configure scripts have it, where the mark of a tar would stand.
	text := script + strings.Repeat(" ", 257) + "ustar -w \"$dir\"\n" + strings.Repeat("echo some words\n", 40)
	if got, ok := FindBehind(strings.NewReader(text), int64(len(text))); ok {
		t.Errorf("found in a script that speaks of ustar: %v", got)
	}
}

// TestXZFilter tells a filter that xz may have and this reader has not from damage.
func TestXZFilter(t *testing.T) {
	b := bytes.Clone(testdata(t)["xz-unchecked"])
	header := b[12 : 12+4*(int(b[12])+1)]
	if header[1] != 0 || header[2] != 0x21 {
		t.Fatalf("a block that begins % x", header)
	}
	header[2] = 0x30
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))
	got, err := list(t, filetype.XZ, b, Options{})
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Err, "the xz filter 0x30 is not known") {
		t.Error(got, err)
	}
}

// rar5 makes a RAR of version 5 of one stored member.
func rar5(name, content string) []byte {
	block := func(body ...byte) []byte {
		head := append([]byte{byte(len(body))}, body...)
		return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(head)), head...)
	}
	b := append([]byte("Rar!\x1a\x07\x01\x00"), block(1, 0, 0)...)
	file := []byte{2, 2, byte(len(content)), 4, byte(len(content)), 0}
	file = binary.LittleEndian.AppendUint32(file, crc32.ChecksumIEEE([]byte(content)))
	file = append(file, 0, 0, byte(len(name)))
	b = append(b, block(append(file, name...)...)...)
	b = append(b, content...)
	return append(b, block(5, 0, 0)...)
}

// rar4 makes a RAR of version 2.9 of one stored member; flags may say that it goes on in the next volume.
func rar4(name, content string, flags byte) []byte {
	block := func(body ...byte) []byte {
		return append(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(body))), body...)
	}
	le := binary.LittleEndian
	b := append([]byte("Rar!\x1a\x07\x00"), block(0x73, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0)...)
	file := []byte{0x74, flags, 0x80}
	file = le.AppendUint16(file, uint16(32+len(name)))
	file = le.AppendUint32(file, uint32(len(content)))
	file = le.AppendUint32(file, uint32(len(content)))
	file = append(file, 3)
	file = le.AppendUint32(file, crc32.ChecksumIEEE([]byte(content)))
	file = append(file, 0, 0, 0, 0, 29, 0x30)
	file = le.AppendUint16(file, uint16(len(name)))
	file = append(file, 0xa4, 0x81, 0, 0)
	b = append(b, block(append(file, name...)...)...)
	b = append(b, content...)
	return append(b, block(0x7b, 0, 0x40, 7, 0)...)
}

func TestRAR(t *testing.T) {
	for name, in := range map[string][]byte{"5": rar5("dir/x.txt", "content"), "4": rar4("dir/x.txt", "content", 0)} {
		got, err := list(t, filetype.RAR, in, Options{})
		if err != nil {
			t.Errorf("rar %s: %v", name, err)
		}
		if diff := cmp.Diff([]entry{member("dir/x.txt", "content")}, got); diff != "" {
			t.Errorf("rar %s (-want +got):\n%s", name, diff)
		}
	}
	got, err := list(t, filetype.RAR, rar4("x", "content", 2), Options{})
	if len(got) != 1 || got[0].Err == "" && err == nil {
		t.Errorf("a member that goes on in the next volume: %v, %v", got, err)
	}
}

// TestPKZIP undoes what encoders of the test make: no tool of today shrinks or reduces.
func TestPKZIP(t *testing.T) {
	content := string(sources(50)["docs/text.txt"]) + strings.Repeat("abracadabra ", 300) + string(sources(50)["noise.bin"])
	for method, packed := range map[uint16][]byte{1: shrink([]byte(content)), 2: reduce([]byte(content), 1), 3: reduce([]byte(content), 2), 5: reduce([]byte(content), 4)} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.CreateRaw(&zip.FileHeader{Name: "x", Method: method, CRC32: crc32.ChecksumIEEE([]byte(content)),
			CompressedSize64: uint64(len(packed)), UncompressedSize64: uint64(len(content))})
		if err == nil {
			_, err = f.Write(packed)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		got, err := list(t, filetype.Zip, b.Bytes(), Options{})
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]entry{member("x", content)}, got); diff != "" {
			t.Errorf("method %d, %d bytes packed (-want +got):\n%s", method, len(packed), diff)
		}
	}
}

// bitWriter writes bits, the lowest of each byte first.
type bitWriter struct {
	out  []byte
	bits uint64
	have uint
}

func (w *bitWriter) write(v uint32, n uint) {
	w.bits |= uint64(v) << w.have
	for w.have += n; w.have >= 8; w.have -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

func (w *bitWriter) flush() []byte {
	if w.have > 0 {
		w.write(0, 8-w.have)
	}
	return w.out
}

// shrink is the LZW of PKZIP 1, with a partial clear whenever the table is full.
func shrink(in []byte) []byte {
	type key struct {
		parent int
		b      byte
	}
	var w bitWriter
	size, free := uint(9), 256
	codes := map[key]int{}
	used := map[int]key{}
	emit := func(code int) {
		for code >= 1<<size {
			w.write(256, size)
			w.write(1, size)
			size++
		}
		w.write(uint32(code), size)
	}
	cur := int(in[0])
	for _, b := range in[1:] {
		if next, ok := codes[key{cur, b}]; ok {
			cur = next
			continue
		}
		emit(cur)
		for free++; free < 1<<13; free++ {
			if _, taken := used[free]; !taken {
				break
			}
		}
		if free < 1<<13 {
			codes[key{cur, b}], used[free] = free, key{cur, b}
		} else {
			parents := map[int]bool{}
			for _, k := range used {
				parents[k.parent] = true
			}
			w.write(256, size)
			w.write(2, size)
			for code, k := range used {
				if !parents[code] {
					delete(used, code)
					delete(codes, k)
				}
			}
			free = 256
		}
		cur = int(b)
	}
	emit(cur)
	return w.flush()
}

// reduce writes what is not the escape as it is and runs of a byte as matches, then codes each byte by the one before it.
func reduce(in []byte, factor uint) []byte {
	var first []byte
	most := 1<<(8-factor) - 1
	for i := 0; i < len(in); {
		run := 0
		for i > 0 && i+run < len(in) && in[i+run] == in[i-1] && run < most+200 {
			run++
		}
		switch {
		case run > 3 && run-3 < most:
			first = append(first, 144, byte(run-3), 0)
			i += run
		case run > most+3:
			first = append(first, 144, byte(most), byte(run-3-most), 0)
			i += run
		case in[i] == 144:
			first = append(first, 144, 0)
			i++
		default:
			first = append(first, in[i])
			i++
		}
	}
	var followers [256][]byte
	last := byte(0)
	for _, b := range first {
		if set := followers[last]; len(set) < 20+int(last)%12 && !bytes.Contains(set, []byte{b}) {
			followers[last] = append(set, b)
		}
		last = b
	}
	var w bitWriter
	for i := 255; i >= 0; i-- {
		w.write(uint32(len(followers[i])), 6)
		for _, b := range followers[i] {
			w.write(uint32(b), 8)
		}
	}
	last = 0
	for _, b := range first {
		set := followers[last]
		last = b
		at := bytes.IndexByte(set, b)
		if len(set) > 0 {
			if at < 0 {
				w.write(1, 1)
			} else {
				w.write(0, 1)
				bits := uint(1)
				for 1<<bits < len(set) {
					bits++
				}
				w.write(uint32(at), bits)
				continue
			}
		}
		w.write(uint32(b), 8)
	}
	return w.flush()
}

// seeds adds the containers of testdata of some formats, and a few that a program makes.
func seeds(f *testing.F, formats ...filetype.Format) {
	makers := makers()
	for name, b := range testdata(f) {
		for _, format := range formats {
			if makers[name].format == format {
				f.Add(b)
			}
		}
	}
}

// unpackAny reads whatever comes, up to a bound, and fails on a panic of ours, on an error that is no problem, and on paths that are not clean.
func unpackAny(t *testing.T, f filetype.Format, b []byte) {
	letPanicsPass = f != filetype.RAR
	left := int64(1 << 20)
	told := 0
	stop := errors.New("enough")
	err := Each(context.Background(), f, bytes.NewReader(b), int64(len(b)), Options{Passwords: []string{"infected"}, Memory: 16 << 20}, func(m Member) error {
		if cleanPath(m.Path) != m.Path {
			t.Errorf("path %q is not clean", m.Path)
		}
		if printable(m.Outside) != m.Outside || len(m.Outside) > maxOutside {
			t.Errorf("the name outside %q is not clean", m.Outside)
		}
		if (m.Reader == nil) == (m.Err == nil) {
			t.Errorf("member %q has a reader and an error, or neither", m.Path)
		}
		var p *Problem
		if m.Err != nil && !errors.As(m.Err, &p) {
			t.Errorf("member %q: %v is no *Problem", m.Path, m.Err)
		}
		if m.Reader != nil {
			n, err := io.CopyN(io.Discard, m.Reader, left)
			if err != nil && err != io.EOF && !errors.As(err, &p) {
				t.Errorf("member %q: %v is no *Problem", m.Path, err)
			}
			left -= n
		}
		if told++; left <= 0 || told == 1000 {
			return stop
		}
		return nil
	})
	var p *Problem
	if err != nil && err != stop && !errors.As(err, &p) {
		t.Errorf("%v is no *Problem", err)
	}
}

func FuzzZip(f *testing.F) {
	seeds(f, filetype.Zip)
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.Zip, b) })
}

// FuzzZipMethod keeps the headers whole, so that the decoders of members see the damage.
func FuzzZipMethod(f *testing.F) {
	content := sources(200)["docs/text.txt"]
	f.Add(uint16(1), shrink(content))
	f.Add(uint16(3), reduce(content, 2))
	f.Add(uint16(6), []byte{0, 0x13, 0, 0x13, 1, 2, 3, 4})
	if at := bytes.Index(testdata(f)["zip-ppmd"], []byte("docs/text.txt")); at > 0 {
		f.Add(uint16(98), testdata(f)["zip-ppmd"][at+len("docs/text.txt"):])
	}
	if _, err := exec.LookPath("7z"); err == nil {
		for method := range 3 {
			f.Add(uint16(98), ppmdStream(f, 1, method, 80_000))
		}
	}
	for _, r := range []uint16{9, 14, 95} {
		f.Add(r, testdata(f)["zip-deflate64"][40:])
	}
	f.Fuzz(func(t *testing.T, method uint16, b []byte) {
		var z bytes.Buffer
		w := zip.NewWriter(&z)
		if f, err := w.CreateRaw(&zip.FileHeader{Name: "x", Method: method, CompressedSize64: uint64(len(b)), UncompressedSize64: 1 << 20}); err == nil {
			f.Write(b)
		}
		w.Close()
		unpackAny(t, filetype.Zip, z.Bytes())
	})
}

// FuzzSevenZip mends the checksums that guard the headers, so that damage gets past them.
func FuzzSevenZip(f *testing.F) {
	seeds(f, filetype.SevenZip)
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.SevenZip, b)
		if len(b) < sevenStart {
			return
		}
		b = bytes.Clone(b)
		le := binary.LittleEndian
		if from, n := le.Uint64(b[12:])+sevenStart, le.Uint64(b[20:]); from < uint64(len(b)) && n <= uint64(len(b))-from {
			le.PutUint32(b[28:], crc32.ChecksumIEEE(b[from:from+n]))
		}
		le.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
		unpackAny(t, filetype.SevenZip, b)
	})
}

// FuzzStream reads the same bytes by every format of one stream that they begin like.
func FuzzStream(f *testing.F) {
	formats := []filetype.Format{filetype.Gzip, filetype.Bzip2, filetype.XZ, filetype.Zstd, filetype.Lzip, filetype.LZMA, filetype.LZ4, filetype.Compress, filetype.Zlib}
	seeds(f, formats...)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range formats {
			unpackAny(t, format, b)
		}
	})
}

// FuzzArchive reads the same bytes by every format without compression.
func FuzzArchive(f *testing.F) {
	formats := []filetype.Format{filetype.Tar, filetype.CPIO, filetype.Ar, filetype.RPM}
	seeds(f, formats...)
	f.Add(append(append([]byte("\xed\xab\xee\xdb"), make([]byte, 92)...), "\x8e\xad\xe8\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x03\xe8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01name"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range formats {
			unpackAny(t, format, b)
		}
	})
}

func FuzzRAR(f *testing.F) {
	f.Add(rar5("dir/x.txt", "content"))
	f.Add(rar4("dir/x.txt", "content", 0))
	f.Add(rar4("dir/x.txt", "content", 2))
	f.Add(rar4("dir/x.txt", "content", 1))
	f.Add(change(rar5("dir/x.txt", "content"), 16, 0))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.RAR, b) })
}

func FuzzFind(f *testing.F) {
	seeds(f, filetype.Zip, filetype.SevenZip, filetype.Cab)
	f.Add(rar4("x", "content", 0))
	f.Add(rar5("x", "content"))
	f.Add([]byte("#!/bin/sh\n\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := int64(len(b))
		all := Find(bytes.NewReader(b), size, true)
		at := int64(0)
		for _, found := range all {
			if found.Offset < at || found.Size <= 0 || found.Offset+found.Size > size {
				t.Errorf("%v lies outside of %d bytes, or in another", found, size)
			}
			at = found.Offset + found.Size
		}
		if found, ok := FindBehind(bytes.NewReader(b), size); ok && (found.Offset < 1 || found.Offset+found.Size != size) {
			t.Errorf("%v lies outside of %d bytes", found, size)
		}
	})
}

// TestGzipBomb holds that reading stops where the caller stops.
func TestGzipBomb(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.CopyN(w, zeros{}, 32<<20); err != nil {
		t.Fatal(err)
	}
	w.Close()
	stop := errors.New("enough")
	err := Each(context.Background(), filetype.Gzip, bytes.NewReader(b.Bytes()), int64(b.Len()), Options{}, func(m Member) error {
		if _, err := io.CopyN(io.Discard, m.Reader, 1<<20); err != nil {
			t.Error(err)
		}
		return stop
	})
	if err != stop {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// FuzzPPMd looks for damage that makes the library go on without end; its panics are caught.
func FuzzPPMd(f *testing.F) {
	f.Add(byte(8), testdata(f)["7z-ppmd"][sevenStart:])
	f.Fuzz(func(t *testing.T, order byte, b []byte) {
		c := &container{o: Options{Memory: 1 << 20}}
		r, err := newPPMd7(buffered(bytes.NewReader(b)), order, 1<<18, 1<<16, c)
		if err != nil {
			return
		}
		if n, _ := io.Copy(io.Discard, r); n > 1<<16 {
			t.Errorf("%d bytes", n)
		}
	})
}
