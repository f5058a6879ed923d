package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// samplePaths are libarchive's samples whose names match.
func samplePaths(t *testing.T, patterns ...string) []string {
	t.Helper()
	dir := realdata.Sample(t, "libarchive", "libarchive", "test")
	var out []string
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, paths...)
	}
	if len(out) == 0 {
		t.Fatalf("no sample is named like %q", patterns)
	}
	return out
}

// samplePasswords are those of libarchive's encrypted samples, besides what is usual.
var samplePasswords = append([]string{"password1234", "12345678"}, DefaultPasswords...)

// bsdtar is what libarchive unpacks, and its error, if it tells one. The test is skipped where it is not installed.
func bsdtar(t *testing.T, b []byte) ([]entry, error) {
	t.Helper()
	path, err := exec.LookPath("bsdtar")
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	dir := write(t, map[string][]byte{"archive": b})
	out := t.TempDir()
	unpack := exec.CommandContext(t.Context(), path, "-xf", filepath.Join(dir, "archive"), "--passphrase", samplePasswords[0])
	unpack.Dir, unpack.Env = out, append(unpack.Environ(), "LC_ALL=C.UTF-8")
	said, err := unpack.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	run(t, out, "chmod", "-R", "u+rwX", ".")
	return tree(t, out), nil
}

// TestRARSamples compares what libarchive's samples hold with what bsdtar reads of them.
func TestRARSamples(t *testing.T) {
	apart := map[string]string{
		"test_read_format_rar5_bad_window_sz_in_mltarc_file.rar":     "bsdtar goes on without end",
		"test_read_format_rar5_decode_number_out_of_bounds_read.rar": "no header of it is sound; bsdtar takes the first all the same",
		"test_read_format_rar5_hardlink.rar":                         "bsdtar makes a second file of the link",
		"test_read_format_rar5_extra_field_version.rar":              "bsdtar has the version in the name",
		"test_read_format_rar_ppmd_lzss_conversion.rar":              "a member of 240 MB",
	}
	compared := 0
	for _, path := range samplePaths(t, "test_read_format_rar*.uu") {
		name := strings.TrimSuffix(filepath.Base(path), ".uu")
		if apart[name] != "" || strings.Contains(name, ".part") {
			continue
		}
		b := realdata.Decoded(t, path)
		at := int64(0)
		if strings.HasSuffix(name, ".exe") {
			found := Find(bytes.NewReader(b), int64(len(b)), false)
			if len(found) != 1 || found[0].Format != filetype.RAR {
				t.Fatalf("%s: found %v in the program", name, found)
			}
			at = found[0].Offset
		}
		got, err := list(t, filetype.RAR, b[at:], Options{Passwords: samplePasswords})
		want, failed := bsdtar(t, b)
		if failed != nil { // it decrypts no RAR, and takes some attributes and links for errors
			t.Logf("%s: bsdtar tells %v; we %v of %v", name, failed, err, got)
			continue
		}
		compared++
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, sorted(got)); diff != "" {
			t.Errorf("%s (-bsdtar +ours):\n%s", name, diff)
		}
	}
	t.Logf("%d samples are compared", compared)
	if compared < 20 {
		t.Errorf("%d samples were compared", compared)
	}
}

// TestRARVolumes opens each volume of a set alone: what lies wholly in it is given, the rest is told by name.
func TestRARVolumes(t *testing.T) {
	whole := make(map[string][]entry)
	for _, path := range samplePaths(t, "test_read_format_rar*multi*.part*.uu", "test_rar_multivolume*.part*.uu") {
		name := strings.TrimSuffix(filepath.Base(path), ".uu")
		got, _ := list(t, filetype.RAR, realdata.Decoded(t, path), Options{})
		if len(got) == 0 {
			t.Errorf("%s: no member is told", name)
		}
		for i, e := range got {
			if e.Path == "" {
				t.Errorf("%s: member %d has no name", name, i)
			}
			switch {
			case e.Err == "":
				whole[name] = append(whole[name], e)
			case i == 0 && strings.HasSuffix(e.Err, errRARBefore.Error()):
			case i == len(got)-1 && strings.HasSuffix(e.Err, "it goes on in the next volume, which is another file"):
			case strings.HasSuffix(e.Err, errRARSolid.Error()):
			default:
				t.Errorf("%s: %s", name, e)
			}
		}
	}
	// The same members are, whole, in samples that bsdtar reads.
	single := make(map[string]entry)
	for _, sample := range []string{"test_read_format_rar_compress_best.rar.uu", "test_read_format_rar5_solid.rar.uu", "test_read_format_rar5_stored_manyfiles.rar.uu"} {
		got, err := list(t, filetype.RAR, realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", sample)), Options{})
		if err != nil {
			t.Error(err)
		}
		for _, e := range got {
			single[e.Path] = e
		}
	}
	want := map[string][]entry{
		"test_read_format_rar_multivolume.part0004.rar": {single["testdir/test.txt"], single["testdir/LibarchiveAddingTest.html"]},
		"test_read_format_rar5_multiarchive_solid.part01.rar": {single["cebula.txt"], single["test.bin"], single["test1.bin"], single["test2.bin"],
			single["test3.bin"], single["test4.bin"], single["test5.bin"], single["test6.bin"]},
	}
	if diff := cmp.Diff(want, whole); diff != "" {
		t.Errorf("members that lie wholly in one volume (-want +got):\n%s", diff)
	}
}

// TestRARDamage holds that damage of a header costs no member behind it.
func TestRARDamage(t *testing.T) {
	three := func(of func(string) []byte, head, end int) []byte {
		var b []byte
		for i, name := range []string{"a.txt", "b.txt", "c.txt"} {
			one := of(name)
			if i > 0 {
				one = one[head:]
			}
			if i < 2 {
				one = one[:len(one)-end]
			}
			b = append(b, one...)
		}
		return b
	}
	five := three(func(name string) []byte { return rar5(name, "content of "+name) }, 8+8, 8)
	four := three(func(name string) []byte { return rar4(name, "content of "+name, 0) }, 7+13, 7)
	a, b, c := member("a.txt", "content of a.txt"), member("b.txt", "content of b.txt"), member("c.txt", "content of c.txt")
	damaged := b
	damaged.SHA256, damaged.Err = "", "rar: member b.txt: its header is damaged"
	before := a
	before.SHA256, before.Err = "", "rar: member a.txt: it begins in the volume before, which is another file"
	const lost = "rar: a block's header is damaged; the members behind it were found by their headers"
	second := func(b []byte) int { return bytes.Index(b, []byte("b.txt")) }
	for name, test := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"5":                        {in: five, want: []entry{a, b, c}},
		"4":                        {in: four, want: []entry{a, b, c}},
		"5, a checksum":            {in: change(five, second(five)-4, 0xff), want: []entry{a, damaged, c}},
		"4, a time":                {in: change(four, second(four)-12, 0xff), want: []entry{a, damaged, c}},
		"5, the length":            {in: change(five, second(five)-14, 0x7f), want: []entry{a, c}, err: lost},
		"4, the length":            {in: change(four, second(four)-27, 0xff), want: []entry{a, c}, err: lost},
		"4, begun before":          {in: change(four, 7+13+3, 1), want: nil},
		"5, to the end":            {in: bytes.Clone(five[:second(five)]), want: []entry{a}, err: "rar: the data ends too early"},
		"4, nothing but its start": {in: four[:7], err: "rar: RAR signature not found"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "4, begun before" { // with the right checksum
				header := test.in[7+13:]
				binary.LittleEndian.PutUint16(header, uint16(crc32.ChecksumIEEE(header[2:32+len("a.txt")])))
				test.want = []entry{before, b, c}
			}
			got, err := list(t, filetype.RAR, test.in, Options{})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

// change is a copy of b with another byte at an offset.
func change(b []byte, at int, with byte) []byte {
	b = bytes.Clone(b)
	b[at] = with
	return b
}

// TestZipSamples compares what libarchive's samples hold with what 7-Zip unpacks of them.
func TestZipSamples(t *testing.T) {
	apart := map[string]string{
		"test_read_format_zip_symlink.zip": "7-Zip makes links",
	}
	compared := 0
	for _, path := range samplePaths(t, "test_compat_zip_*.uu", "test_read_format_zip*.uu") {
		name := strings.TrimSuffix(filepath.Base(path), ".uu")
		if apart[name] != "" {
			continue
		}
		b := realdata.Decoded(t, path)
		got, err := list(t, filetype.Zip, b, Options{Passwords: samplePasswords})
		want, failed := sevenZip(t, "zip", b)
		if failed != nil {
			t.Logf("%s: 7-Zip tells %v; we %v of %v", name, failed, err, got)
			continue
		}
		compared++
		if err != nil && !strings.Contains(err.Error(), "disagree") {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, sorted(got)); diff != "" {
			t.Errorf("%s (-7z +ours):\n%s", name, diff)
		}
	}
	t.Logf("%d samples are compared", compared)
	if compared < 30 {
		t.Errorf("%d samples were compared", compared)
	}
}

// sevenZip is what 7-Zip unpacks, and its error, if it tells one. The test is skipped where it is not installed.
func sevenZip(t *testing.T, kind string, b []byte) ([]entry, error) {
	t.Helper()
	path, err := exec.LookPath("7z")
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	dir := write(t, map[string][]byte{"archive": b})
	out := t.TempDir()
	unpack := exec.CommandContext(t.Context(), path, "x", "-bd", "-y", "-t"+kind, "-p"+samplePasswords[0], filepath.Join(dir, "archive"))
	unpack.Dir, unpack.Env = out, append(unpack.Environ(), "LC_ALL=C.UTF-8")
	said, err := unpack.CombinedOutput()
	if err != nil {
		_, what, _ := strings.Cut(string(said), "ERROR")
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(what))
	}
	run(t, out, "chmod", "-R", "u+rwX", ".")
	got := tree(t, out)
	for i := range got { // 7-Zip leaves names as they are where it does not know their code
		got[i].Path = cleanPath(localName([]byte(got[i].Path)))
	}
	return sorted(got), nil
}
