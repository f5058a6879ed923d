package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// genisoimage makes an image of a folder.
func genisoimage(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.iso")
	run(t, dir, "genisoimage", append(append([]string{"-quiet", "-input-charset", "utf-8", "-R", "-o", path}, args...), ".")...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unpackedBy7z is what 7-Zip unpacks of a container, as a format of its own when one is named.
func unpackedBy7z(t *testing.T, b []byte, as ...string) []entry {
	t.Helper()
	path, out := filepath.Join(t.TempDir(), "x.img"), t.TempDir()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, out, "7z", append([]string{"x", "-bd", "-y", path}, as...)...)
	return tree(t, out)
}

func detected(t *testing.T, b []byte, want filetype.Format) {
	t.Helper()
	if got := filetype.Detect(bytes.NewReader(b), int64(len(b))); got.Format != want {
		t.Errorf("told as %v, want %s", got, want)
	}
}

// TestISOBoot reads the boot images of genisoimage and xorriso, also those that are no file, and compares them with 7-Zip's.
func TestISOBoot(t *testing.T) {
	files := sources(2)
	files["boot.bin"] = bytes.Repeat([]byte("boot"), 1024)
	files["floppy.img"] = fatImage(t, 1440, map[string][]byte{"a.txt": []byte("on the floppy disk")})
	files["efi.img"] = fatImage(t, 2000, map[string][]byte{"EFI/BOOT/BOOTX64.EFI": files["code.exe"]})
	dir := write(t, files)
	for name, c := range map[string]struct {
		make  func(t *testing.T) []byte
		names []string // ours, in 7-Zip's order
	}{
		"genisoimage": {func(t *testing.T) []byte {
			return genisoimage(t, dir, "-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "4", "-c", "boot.cat", "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot")
		}, []string{"[BOOT]/1 BIOS no emulation.img", "[BOOT]/2 EFI no emulation.img"}},
		"hidden": {func(t *testing.T) []byte {
			return genisoimage(t, dir, "-b", "floppy.img", "-c", "boot.cat", "-hide", "floppy.img", "-hide", "boot.cat")
		}, []string{"[BOOT]/1 BIOS 1.44M floppy.img"}},
		"xorriso": {func(t *testing.T) []byte {
			path := filepath.Join(t.TempDir(), "x.iso")
			run(t, dir, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", path, "-c", "boot.cat", "-e", "efi.img", "-no-emul-boot", ".")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, []string{"[BOOT]/1 EFI no emulation.img"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.make(t)
			detected(t, b, filetype.ISO)
			want := unpackedBy7z(t, b)
			boots := 0
			for i, e := range want {
				if strings.HasPrefix(e.Path, "[BOOT]/") && boots < len(c.names) {
					want[i].Path = c.names[boots]
					boots++
					if name == "genisoimage" && boots == 1 { // 7-Zip gives as much as the catalogue says; the file's whole is ours
						want[i].Size, want[i].SHA256 = int64(len(files["boot.bin"])), sum(files["boot.bin"])
					}
				}
			}
			got, err := list(t, filetype.ISO, b, Options{})
			if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-7z +ours):\n%s", err, diff)
			}
			if boots != len(c.names) {
				t.Errorf("%d boot images of 7-Zip's, want %d", boots, len(c.names))
			}
		})
	}
}

// raw puts around each sector of an image what a drive reads besides: its mark, its mode, and bytes that correct errors.
func raw(b []byte, mode byte, stride int) []byte {
	var out []byte
	for i := 0; i < len(b); i += isoSector {
		s := make([]byte, stride)
		copy(s, isoSync)
		s[15] = mode
		copy(s[map[byte]int{1: 16, 2: 24}[mode]:], b[i:min(len(b), i+isoSector)])
		out = append(out, s...)
	}
	return out
}

// TestISORaw reads the sectors of BIN and MDF images.
func TestISORaw(t *testing.T) {
	files := sources(20)
	b := genisoimage(t, write(t, files), "-udf")
	for _, mode := range []byte{1, 2} {
		for _, stride := range []int{2352, 2448} {
			in := raw(b, mode, stride)
			detected(t, in, filetype.ISO)
			got, err := list(t, filetype.ISO, in, Options{})
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
				t.Errorf("mode %d, %d bytes: %v, members (-packed +unpacked):\n%s", mode, stride, err, diff)
			}
		}
	}
	if _, err := list(t, filetype.ISO, patch(raw(b, 1, 2352), isoSync, 1, 15, 7), Options{}); err == nil || err.Error() != "iso: sectors of the mode 7 are not known" {
		t.Error(err)
	}
}

// TestISOSessions reads an image to which a session was added, whose files only the second session's tree names, and one that was deleted by it.
func TestISOSessions(t *testing.T) {
	one, two := map[string][]byte{"first.txt": []byte("first"), "both": []byte("old")}, map[string][]byte{"second.txt": []byte("second"), "both": []byte("new one")}
	b := genisoimage(t, write(t, one))
	b = append(b, make([]byte, -len(b)&(32*isoSector-1))...)
	before := filepath.Join(t.TempDir(), "before.iso")
	if err := os.WriteFile(before, b, 0o644); err != nil {
		t.Fatal(err)
	}
	b = append(b, genisoimage(t, write(t, two), "-C", fmt.Sprint("0,", len(b)/isoSector), "-M", before)...)
	got, err := list(t, filetype.ISO, b, Options{})
	want := sorted([]entry{member("first.txt", "first"), member("both", "old"), member("both", "new one"), member("second.txt", "second")})
	if diff := cmp.Diff(want, sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// TestISOZipped reads files that are compressed by zisofs, as bsdtar does.
func TestISOZipped(t *testing.T) {
	files := sources(2)
	dir := write(t, files)
	zipped := filepath.Join(t.TempDir(), "zipped")
	run(t, ".", "mkzftree", dir, zipped)
	b := genisoimage(t, zipped, "-z")
	got, err := list(t, filetype.ISO, b, Options{})
	if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-packed +unpacked):\n%s", err, diff)
	}
	sample := unpackAll(t, filetype.Compress, realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", "test_read_format_iso_zisofs.iso.Z.uu")), "")[0].data
	out := t.TempDir()
	path := filepath.Join(out, "x.iso")
	if err := os.WriteFile(path, sample, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, out, "bsdtar", "-xf", path)
	os.Remove(path)
	got, err = list(t, filetype.ISO, sample, Options{})
	if diff := cmp.Diff(tree(t, out), sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-bsdtar +ours):\n%s", err, diff)
	}
}

// TestISOSamples compares libarchive's samples with what bsdtar unpacks, among them one with a file of several extents.
func TestISOSamples(t *testing.T) {
	for _, name := range []string{"", "_joliet", "_joliet_by_nero", "_joliet_long", "_joliet_rockridge", "_multi_extent", "_rockridge", "_rockridge_ce", "_rockridge_new", "_rockridge_rr_moved", "_xorriso"} {
		t.Run(name, func(t *testing.T) {
			sample := unpackAll(t, filetype.Compress, realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", "test_read_format_iso"+name+".iso.Z.uu")), "")[0].data
			detected(t, sample, filetype.ISO)
			out := t.TempDir()
			path := filepath.Join(t.TempDir(), "x.iso")
			if err := os.WriteFile(path, sample, 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, out, "bsdtar", "-xf", path)
			// What is linked is one file with several names, of which ours may be another; so only contents are compared.
			contents := func(in []entry) (out []entry) {
				seen := map[string]bool{}
				for _, e := range in {
					if !seen[e.SHA256] {
						out = append(out, entry{Size: e.Size, SHA256: e.SHA256, Err: e.Err})
					}
					seen[e.SHA256] = true
				}
				return sorted(out)
			}
			got, err := list(t, filetype.ISO, sample, Options{})
			if diff := cmp.Diff(contents(tree(t, out)), contents(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-bsdtar +ours):\n%s", err, diff)
			}
		})
	}
}

// TestISOHostile holds what catalogues of boot images and compressed files may not do.
func TestISOHostile(t *testing.T) {
	files := sources(200)
	files["boot.bin"] = make([]byte, 2048)
	b := genisoimage(t, write(t, files), "-b", "boot.bin", "-no-emul-boot", "-c", "boot.cat")
	at := int(binary.LittleEndian.Uint32(b[17*isoSector+0x47:])) * isoSector
	catalog := b[at : at+isoSector]
	for i := 32; i+32 <= len(catalog); i += 32 {
		copy(catalog[i:], "\x88\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\x0f") // beyond the end, as often as there is room
	}
	got, err := list(t, filetype.ISO, b, Options{})
	boots := 0
	for _, e := range got {
		if strings.HasPrefix(e.Path, "[BOOT]/") {
			boots++
			if !strings.HasSuffix(e.Err, errCut.Error()) {
				t.Errorf("%v", e)
			}
		}
	}
	if err != nil || boots != 63 {
		t.Errorf("%d boot images, %v", boots, err)
	}
	catalog[0] = 9
	if _, err := list(t, filetype.ISO, b, Options{}); err == nil || err.Error() != "iso: directory /: the catalogue of boot images is damaged" {
		t.Error(err)
	}
	r := &isoReader{container: &container{r: bytes.NewReader(nil)}}
	for name, h := range map[string]string{
		"magic":  "\x37\xe4\x53\x96\xc9\xdb\xd6\x00\xff\xff\xff\xff\x04\x0f\x00\x00",
		"blocks": "\x37\xe4\x53\x96\xc9\xdb\xd6\x07\xff\xff\xff\xff\x04\xff\x00\x00",
	} {
		r.r, r.size = strings.NewReader(h), int64(len(h))
		if _, err := r.zisofs(isoExtent{0, 16}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	h := "\x37\xe4\x53\x96\xc9\xdb\xd6\x07\xff\xff\xff\xff\x04\x0f\x00\x00\x00\x01\x00\x00\xff\x01\x00\x00"
	r.r, r.size = strings.NewReader(h), int64(len(h))
	z, err := r.zisofs(isoExtent{0, 24})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Read(make([]byte, 9)); !errors.Is(err, errCut) {
		t.Errorf("a block beyond the file: %v", err)
	}
}
