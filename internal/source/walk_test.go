package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/intel"
)

// file is a member to be packed.
type file struct{ name, content string }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func zipped(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		must[int](t)(io.WriteString(must[io.Writer](t)(w.Create(f.name)), f.content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// zippedRaw makes a zip with one member whose header is as given.
func zippedRaw(t testing.TB, h zip.FileHeader, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h.CompressedSize64 = uint64(len(content))
	if h.UncompressedSize64 == 0 {
		h.UncompressedSize64 = h.CompressedSize64
	}
	must[int](t)(io.WriteString(must[io.Writer](t)(w.CreateRaw(&h)), content))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarred(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		must[int](t)(io.WriteString(w, f.content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	must[int](t)(io.WriteString(w, s))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t testing.TB, s string) string {
	t.Helper()
	return string(must[*zstd.Encoder](t)(zstd.NewWriter(nil)).EncodeAll([]byte(s), nil))
}

// bzipped is "bzip2\n" packed with bzip2, for which Go has no packer.
const bzipped = "BZh91AY&SY\xef\xdfOR\x00\x00\x01I\x80\x00\x10\x10\x00\x10 @\x10 \x00\"\x18h0\x05X\x18]\xc9\x14\xe1BC\xbf}=H"

// xzed is "xz\n" packed with xz, for which Go has no packer.
const xzed = "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x02xz\x0a\x00\x00\x98\xde\x08j\xbe\xe33G\x00\x01\x1b\x03\x0b/\xb9\x10\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"

// walked is what a walk found: the inputs' contents by name in order, and what was refused.
type walked struct {
	Inputs  []string
	Refused []string
}

func (w *walked) visit(in *Input) error {
	lines, _, err := in.open()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(lines)
	w.Inputs = append(w.Inputs, in.Name+": "+string(content))
	return err
}

func (w *walked) refuse(r intel.Refusal) {
	w.Refused = append(w.Refused, r.Error())
}

// noLitter makes the test fail when the walk leaves a file in the folder for temporary ones.
func noLitter(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	t.Cleanup(func() {
		if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestWalkUnpacks walks what is packed, in a file and as a stream.
func TestWalkUnpacks(t *testing.T) {
	deep := "deep"
	for range maxNesting {
		deep = gzipped(t, deep)
	}
	big := strings.Repeat("0123456789abcdef", 1<<17) // more than any buffer
	half := gzipped(t, big)
	sparse := sparseTar(t, 1<<20)
	encrypted := zippedRaw(t, zip.FileHeader{Name: "secret.json", Flags: 1}, "xxxx")
	damaged := zippedRaw(t, zip.FileHeader{Name: "a", CRC32: 1}, "abc")
	for _, test := range []struct {
		name    string
		content string
		want    walked
	}{
		{"plain.txt", "a", walked{Inputs: []string{"plain.txt: a"}}},
		{"empty.txt", "", walked{Inputs: []string{"empty.txt: "}}},
		{"a.txt.gz", gzipped(t, "a"), walked{Inputs: []string{"a.txt.gz!a.txt: a"}}},
		{"two.gz", gzipped(t, "a") + gzipped(t, "b"), walked{Inputs: []string{"two.gz!two: ab"}}},
		{"no-suffix", gzipped(t, "a"), walked{Inputs: []string{"no-suffix!: a"}}},
		{"a.txt.ZST", zstandard(t, "a"), walked{Inputs: []string{"a.txt.ZST!a.txt: a"}}},
		{"a.bz2", bzipped, walked{Inputs: []string{"a.bz2!a: bzip2\n"}}},
		{"a.xz", xzed, walked{Inputs: []string{"a.xz!a: xz\n"}}},
		{"a.txz", xzed, walked{Inputs: []string{"a.txz!a.tar: xz\n"}}},
		{"cut.xz", xzed[:len(xzed)-20], walked{Inputs: []string{"cut.xz!cut: xz\n"}, Refused: []string{"cut.xz!cut: reading: xz: data is truncated or corrupt"}}},
		{"window.xz", "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01 \x00\x00\x00\x09\x88\xa5v\x01\x00\x02xz\x0a\x00\x00\x98\xde\x08j\xbe\xe33G\x00\x01\x1b\x03\x0b/\xb9\x10\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ", walked{Refused: []string{"window.xz: xz: xz: LZMA2 dictionary size exceeds max"}}},
		{"a.zip", zipped(t, file{"x", "1"}, file{"d/y", "2"}, file{"d/", ""}), walked{Inputs: []string{"a.zip!x: 1", "a.zip!d/y: 2"}}},
		{"none.zip", zipped(t), walked{}},
		{"a.tar", tarred(t, file{"x", "1"}, file{"d/y", "2"}), walked{Inputs: []string{"a.tar!x: 1", "a.tar!d/y: 2"}}},
		{"a.tgz", gzipped(t, tarred(t, file{"x", "1"})), walked{Inputs: []string{"a.tgz!a.tar!x: 1"}}},
		{"in.tar", tarred(t, file{"first", "0"}, file{"in.zip", zipped(t, file{"x", "1"})}, file{"last.gz", gzipped(t, "2")}),
			walked{Inputs: []string{"in.tar!first: 0", "in.tar!in.zip!x: 1", "in.tar!last.gz!last: 2"}}},
		{"in.zip", zipped(t, file{"in.zip", zipped(t, file{"in.tar.gz", gzipped(t, tarred(t, file{"x", "1"}))})}),
			walked{Inputs: []string{"in.zip!in.zip!in.tar.gz!in.tar!x: 1"}}},
		{"deep.gz", deep, walked{Inputs: []string{"deep.gz!deep!!!: deep"}}},
		{"deeper.gz", gzipped(t, deep), walked{Refused: []string{"deeper.gz!deeper!!!: packed more than 4 times over"}}},
		{"mac.zip", zipped(t, file{"x", "1"}, file{"__MACOSX/._x", "junk"}, file{"d/__MACOSX/y", "junk"}, file{".DS_Store", "junk"}, file{"d/._y", "junk"}, file{"a__MACOSX/z", "2"}),
			walked{Inputs: []string{"mac.zip!x: 1", "mac.zip!a__MACOSX/z: 2"}}},
		{"tricks.zip", zipped(t, file{"../../etc/passwd", "1"}, file{"/abs", "2"}, file{`C:\win`, "3"}, file{"red\x1b[31m\n\r\u202egnp", "4"}, file{"bad\xff", "5"}),
			walked{Inputs: []string{"tricks.zip!../../etc/passwd: 1", "tricks.zip!/abs: 2", `tricks.zip!C:\win: 3`, "tricks.zip!red?[31m???gnp: 4", "tricks.zip!bad?: 5"}}},
		{"tricks.tar", tarred(t, file{"../x", "1"}, file{"/y", "2"}), walked{Inputs: []string{"tricks.tar!../x: 1", "tricks.tar!/y: 2"}}},
		{"encrypted.zip", encrypted, walked{Refused: []string{"encrypted.zip!secret.json: encrypted; unpack it first"}}},
		{"method.zip", zippedRaw(t, zip.FileHeader{Name: "a", Method: 9}, "x"), walked{Refused: []string{"method.zip!a: packed with deflate64, which is not read; unpack it first"}}},
		{"method.zip", zippedRaw(t, zip.FileHeader{Name: "a", Method: 77}, "x"), walked{Refused: []string{"method.zip!a: packed with method 77, which is not read; unpack it first"}}},
		{"method.zip", zippedRaw(t, zip.FileHeader{Name: "a", Method: 93, UncompressedSize64: 1}, zstandard(t, "x")), walked{Inputs: []string{"method.zip!a: x"}}},
		{"method.zip", zippedRaw(t, zip.FileHeader{Name: "a", Method: 12, UncompressedSize64: 6}, bzipped), walked{Inputs: []string{"method.zip!a: bzip2\n"}}},
		{"size.zip", zippedRaw(t, zip.FileHeader{Name: "a", Method: 93, UncompressedSize64: 1 << 40}, zstandard(t, "x")), walked{Inputs: []string{"size.zip!a: x"}, Refused: []string{"size.zip!a: reading: unexpected EOF"}}},
		{"sum.zip", damaged, walked{Inputs: []string{"sum.zip!a: abc"}, Refused: []string{"sum.zip!a: reading: zip: checksum error"}}},
		{"cut.gz", half[:len(half)-4], walked{Inputs: []string{"cut.gz!cut: " + big}, Refused: []string{"cut.gz!cut: reading: unexpected EOF"}}},
		{"sum.gz", half[:len(half)-8] + "\x00\x00\x00\x00" + half[len(half)-4:], walked{Inputs: []string{"sum.gz!sum: " + big}, Refused: []string{"sum.gz!sum: reading: gzip: invalid checksum"}}},
		{"begin.gz", half[:5], walked{Refused: []string{"begin.gz: gzip: unexpected EOF"}}},
		{"cut.zip", zipped(t, file{"a", "1"})[:30], walked{Refused: []string{"cut.zip: zip: zip: not a valid zip file"}}},
		{"cut.tar", tarred(t, file{"a", "1"}, file{"b", strings.Repeat("2", 600)})[:512+512+512+512],
			walked{Inputs: []string{"cut.tar!a: 1", "cut.tar!b: " + strings.Repeat("2", 512)}, Refused: []string{"cut.tar!b: reading: unexpected EOF", "cut.tar: tar: unexpected EOF"}}},
		{"sparse.tar", sparse, walked{Inputs: []string{"sparse.tar!holes: " + strings.Repeat("\x00", 1<<20-1) + "x"}}},
		{"good-after-bad.zip", zipped(t, file{"bad.gz", half[:5]}, file{"good", "1"}), walked{Inputs: []string{"good-after-bad.zip!good: 1"}, Refused: []string{"good-after-bad.zip!bad.gz: gzip: unexpected EOF"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLitter(t)
			var stream walked
			if err := WalkReader(t.Context(), test.name, strings.NewReader(test.content), stream.visit, stream.refuse); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, stream); diff != "" {
				t.Errorf("as a stream:\n%s", diff)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, test.name), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var onDisk walked
			if err := Walk(t.Context(), []string{dir}, onDisk.visit, onDisk.refuse); err != nil {
				t.Fatal(err)
			}
			for _, list := range [][]string{onDisk.Inputs, onDisk.Refused} {
				for i := range list {
					list[i] = strings.TrimPrefix(list[i], dir+string(filepath.Separator))
				}
			}
			if diff := cmp.Diff(test.want, onDisk); diff != "" {
				t.Errorf("on disk:\n%s", diff)
			}
		})
	}
}

// sparseTar makes a tar in the PAX form of sparse files: a member of size bytes, all holes but the last byte.
func sparseTar(t testing.TB, size int64) string {
	t.Helper()
	data := fmt.Sprintf("1\n%d\n1\n", size-1)
	data += strings.Repeat("\x00", 512-len(data)) + "x"
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// The writer refuses to write these records itself; so another name of the same length is written, and then replaced.
	err := w.WriteHeader(&tar.Header{Name: "GNUSparseFile.0/holes", Size: int64(len(data)), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"XYZ.sparse.major": "1", "XYZ.sparse.minor": "0", "XYZ.sparse.name": "holes", "XYZ.sparse.realsize": fmt.Sprint(size)}})
	if err != nil {
		t.Fatal(err)
	}
	must[int](t)(io.WriteString(w, data))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "XYZ.sparse", "GNU.sparse")
}

// TestWalkBounds holds that a file that unfolds without end is given up as a whole, and that the next is read.
func TestWalkBounds(t *testing.T) {
	noLitter(t)
	for _, test := range []struct {
		name, content string
		set           func(u *unpacker)
		want          walked
	}{
		{"bomb.zip", zipped(t, file{"a", "1"}, file{"b.gz", gzipped(t, strings.Repeat("0", 1<<20))}, file{"c", "3"}),
			func(u *unpacker) { u.packed, u.unpacked = 1, freeBytes-100_000 },
			walked{Inputs: []string{"bomb.zip!a: 1"}, Refused: []string{"bomb.zip: it unpacks to more than 300 times its size: the rest of it is given up"}}},
		{"sparse.tar", sparseTar(t, 1<<40), func(u *unpacker) { u.packed, u.unpacked = 1, freeBytes-100_000 },
			walked{Refused: []string{"sparse.tar: it unpacks to more than 300 times its size: the rest of it is given up"}}},
		{"spooled.tar", tarred(t, file{"in.zip.gz", gzipped(t, zipped(t, file{"a", strings.Repeat("0", 1<<20)}))}, file{"c", "3"}),
			func(u *unpacker) { u.packed, u.unpacked = 1, freeBytes-10_000 },
			walked{Refused: []string{"spooled.tar: it unpacks to more than 300 times its size: the rest of it is given up"}}},
		{"many.zip", zipped(t, file{"a", "1"}, file{"in.tar", tarred(t, file{"b", "2"}, file{"c", "3"})}, file{"d", "4"}),
			func(u *unpacker) { u.members = maxMembers - 3 },
			walked{Inputs: []string{"many.zip!a: 1", "many.zip!in.tar!b: 2"}, Refused: []string{"many.zip: it holds more than 100000 members: the rest of it is given up"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w walked
			visit := func(in *Input) error { // without keeping a bomb's content
				lines, _, err := in.open()
				if err != nil {
					return err
				}
				var first bytes.Buffer
				if _, err := io.CopyN(&first, lines, 100); err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if _, err := io.Copy(io.Discard, lines); err != nil {
					return err
				}
				w.Inputs = append(w.Inputs, in.Name+": "+first.String())
				return nil
			}
			u := &unpacker{ctx: t.Context(), visit: visit, refuse: w.refuse, packed: int64(len(test.content))}
			test.set(u)
			if err := u.whole(test.name, strings.NewReader(test.content), nil, -1); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, w); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWalkDirectories holds the order, links, and what cannot be read.
func TestWalkDirectories(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("logs/b", "2", 0o600)
	write("logs/a/z", "1", 0o600)
	write("logs/__MACOSX/x", "junk", 0o600)
	want := walked{Inputs: []string{"logs/a/z: 1", "logs/b: 2"}}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
	}
	link("..", "logs/a/loop")
	link("self", "logs/self")
	link("nowhere", "logs/dangling")
	link("b", "logs/c")
	want.Inputs = append(want.Inputs, "logs/c: 2")
	if runtime.GOOS == "linux" {
		link("/proc/self/mem", "logs/d") // opens, and cannot be read
		want.Refused = append(want.Refused, "logs/d: reading: input/output error")
	}
	if os.Geteuid() > 0 {
		write("logs/e", "locked", 0)
		want.Refused = append(want.Refused, "logs/e: open DIR/logs/e: permission denied")
	}
	write("logs/f", "3", 0o600)
	want.Inputs = append(want.Inputs, "logs/f: 3")
	link("logs", "link")
	for _, from := range []string{"logs", "link"} {
		var w walked
		if err := Walk(t.Context(), []string{filepath.Join(dir, from)}, w.visit, w.refuse); err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]string{w.Inputs, w.Refused} {
			for i := range list {
				list[i] = strings.ReplaceAll(strings.TrimPrefix(list[i], dir+"/"), dir, "DIR")
				list[i] = strings.ReplaceAll(list[i], "link/", "logs/")
			}
		}
		if diff := cmp.Diff(want, w); diff != "" {
			t.Errorf("%s:\n%s", from, diff)
		}
	}
	if err := Walk(t.Context(), []string{filepath.Join(dir, "none")}, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

// TestWalkEnds holds that an error of the visitor ends the walk and comes back, also one that looks like a fault of the packing.
func TestWalkEnds(t *testing.T) {
	for _, want := range []error{errors.New("disk full"), io.ErrUnexpectedEOF, errors.New("zstd: corrupt"), &intel.Refusal{Reason: "the store does not take it"}} {
		for _, content := range []string{"plain", zipped(t, file{"a", "1"}, file{"b", "2"}), gzipped(t, tarred(t, file{"a", "1"}, file{"b", "2"}))} {
			visits := 0
			err := WalkReader(t.Context(), "in", strings.NewReader(content), func(*Input) error { visits++; return want }, func(r intel.Refusal) { t.Errorf("refused: %v", &r) })
			if !errors.Is(err, want) || visits != 1 {
				t.Errorf("%v after %d visits, want %v after 1", err, visits, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	visits := 0
	err := WalkReader(ctx, "in", strings.NewReader(zipped(t, file{"a", "1"}, file{"b", "2"})), func(*Input) error { visits++; cancel(); return nil }, func(r intel.Refusal) { t.Errorf("refused: %v", &r) })
	if !errors.Is(err, context.Canceled) || visits != 1 {
		t.Errorf("%v after %d visits of a walk that was called off at the first", err, visits)
	}
}

// FuzzWalk walks foreign bytes: no panic, nothing left behind, and the same twice.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{"", "plain", zipped(f, file{"a", "1"}, file{"b.gz", gzipped(f, "2")}), tarred(f, file{"c.zip", zipped(f, file{"d", "3"})}, file{"e.zst", zstandard(f, "4")}),
		gzipped(f, tarred(f, file{"x", "y"})), bzipped, sparseTar(f, 4096), zippedRaw(f, zip.FileHeader{Name: "a", Flags: 1}, "xx"), zippedRaw(f, zip.FileHeader{Name: "a", Method: 9}, "xx"),
		zippedRaw(f, zip.FileHeader{Name: "a", Method: 93}, zstandard(f, "z")), zippedRaw(f, zip.FileHeader{Name: "a", Method: 12}, bzipped)} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Setenv("TMPDIR", dir)
	f.Fuzz(func(t *testing.T, b []byte) {
		walk := func() (w walked, total int64) {
			visit := func(in *Input) error {
				lines, _, err := in.open()
				if err != nil {
					return err
				}
				n, err := io.Copy(io.Discard, lines)
				total += n
				w.Inputs = append(w.Inputs, fmt.Sprintf("%s: %x", in.Name, in.Digest()))
				return err
			}
			u := &unpacker{ctx: t.Context(), visit: visit, refuse: w.refuse, packed: int64(len(b)), unpacked: freeBytes - 1<<20}
			if err := u.whole("in", bytes.NewReader(b), nil, -1); err != nil {
				t.Fatal(err)
			}
			return w, total
		}
		first, total := walk()
		if most := int64(len(b))*(maxRatio+1) + freeBytes + 1<<21; total > most {
			t.Errorf("%d bytes unfolded to %d", len(b), total)
		}
		for _, r := range first.Refused {
			if strings.HasSuffix(r, ": ") {
				t.Errorf("refused without reason: %q", r)
			}
		}
		second, _ := walk()
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("not the same twice:\n%s", diff)
		}
		if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestDigest holds that an input's digest does not depend on how its bytes come.
func TestDigest(t *testing.T) {
	content := make([]byte, 3*blockSize+17)
	for i := 0; i < len(content)-8; i += 8 {
		binary.LittleEndian.PutUint64(content[i:], uint64(i)*0x9E3779B97F4A7C15)
	}
	digests := func(r io.Reader) (out [][32]byte) {
		in := NewInput("x", r)
		lines, _, err := in.open()
		if err != nil {
			t.Fatal(err)
		}
		for {
			out = append(out, in.Digest())
			if _, err := io.CopyN(io.Discard, lines, 100_000); err != nil {
				return out
			}
		}
	}
	want := digests(bytes.NewReader(content))
	if diff := cmp.Diff(want, digests(iotestChunks{bytes.NewReader(content), 977})); diff != "" {
		t.Error(diff)
	}
	if want[0] == want[len(want)-1] {
		t.Error("the digest does not move")
	}
}

// iotestChunks gives at most n bytes at a time.
type iotestChunks struct {
	r io.Reader
	n int
}

func (c iotestChunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }
