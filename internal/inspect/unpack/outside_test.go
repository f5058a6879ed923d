package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// outsides lists the names by which a container leads out of itself.
func outsides(f filetype.Format, r *bytes.Reader, size int64) (out []string, err error) {
	err = Each(context.Background(), f, r, size, Options{}, func(m Member) error {
		if m.Outside != "" {
			out = append(out, m.Outside)
		}
		return nil
	})
	return out, err
}

func TestOutside(t *testing.T) {
	type path struct{ name, outside string }
	climbs := []path{{"a/../b", ""}, {"../../etc/passwd", "../../etc/passwd"}, {`a\..\..\x.dll`, `a\..\..\x.dll`}}
	rooted := append([]path{{"/etc/x", "/etc/x"}, {`C:\x`, `C:\x`}}, climbs...)
	unrooted := append([]path{{"/etc/x", ""}, {`C:\x`, ""}}, climbs...)
	for _, c := range []struct {
		format filetype.Format
		make   func(name string) []byte
		paths  []path
	}{
		{filetype.Zip, func(name string) []byte { return zipOf(t, name, "content") }, rooted},
		{filetype.Jar, func(name string) []byte { return zipOf(t, name, "content") }, rooted},
		{filetype.RAR, func(name string) []byte { return rar5(name, "content") }, rooted},
		{filetype.RAR, func(name string) []byte { return rar4(name, "content", 0) }, append([]path{{`\x`, "/x"}}, rooted[0], rooted[3])},
		{filetype.LZH, func(name string) []byte { return lzhOf(0, "lh0", name, []byte("content"), 7, crc16([]byte("content"))) }, rooted},
		{filetype.ARJ, func(name string) []byte {
			h := arjHeader{name: []byte(name), packed: 7, size: 7, crc: crc32.ChecksumIEEE([]byte("content"))}
			return append(append(append(arjHeaderOf(arjHeader{kind: 2}), arjHeaderOf(h)...), "content"...), 0x60, 0xea, 0, 0)
		}, rooted},
		{filetype.Cab, func(name string) []byte {
			return cabOf(0, "", []cabPart{storedPart("content")}, []cabEntry{{name: name, size: 7}})
		}, rooted},
		{filetype.SevenZip, func(name string) []byte {
			// 7-Zip writes no such names: those of the same length are put in their place, and the checksums mended.
			dir := t.TempDir()
			plain := strings.Repeat("n", len(name))
			if err := os.WriteFile(filepath.Join(dir, plain), []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, dir, "7z", "a", "-mhc=off", "-m0=copy", "x.7z", plain)
			b, err := os.ReadFile(filepath.Join(dir, "x.7z"))
			if err != nil {
				t.Fatal(err)
			}
			return mend7z(bytes.Replace(b, []byte(utf16Of(plain)), []byte(utf16Of(name)), 1))
		}, rooted},
		{filetype.Tar, func(name string) []byte {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			err := w.WriteHeader(&tar.Header{Name: name, Size: 7})
			_, wrong := w.Write([]byte("content"))
			if err := errors.Join(err, wrong, w.Close()); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}, unrooted},
		{filetype.CPIO, func(name string) []byte {
			return fmt.Appendf(nil, "070707000000000000%06o%035o%06o%011o%s\x00content", cpioRegular, 0, len(name)+1, 7, name)
		}, unrooted},
		{filetype.Ar, func(name string) []byte {
			return fmt.Appendf(nil, "!<arch>\n%-16s%-32s%-10d`\n%scontent\n", fmt.Sprintf("#1/%d", len(name)), "", len(name)+7, name)
		}, unrooted},
		{filetype.Ar, func(name string) []byte { // thin: it names what lies beside it
			return fmt.Appendf(nil, "!<thin>\n%-48s%-10d`\n%s/\n%-48s%-10d`\n", "//", len(name)+2, name, "/0", 7)
		}, []path{{"../x.o", ""}}},
		{filetype.Asar, func(name string) []byte {
			return asarOf(fmt.Sprintf(`{"files":{%q:{"size":7,"offset":"0"}}}`, name), "content")
		}, []path{{"x", ""}, {"..", ".."}, {"../x", "../x"}}},
		{filetype.XAR, func(name string) []byte {
			return xarOf("<xar><toc><file><type>file</type><name>"+name+"</name><data><offset>0</offset><length>7</length><size>7</size></data></file></toc></xar>", "content")
		}, []path{{"x", ""}, {"../x", "../x"}}},
	} {
		for _, p := range c.paths {
			t.Run(string(c.format)+" "+p.name, func(t *testing.T) {
				b := c.make(p.name)
				entries, err := list(t, c.format, b, Options{})
				if len(entries) != 1 || entries[0].Path != cleanPath(p.name) || err != nil {
					t.Fatalf("%v %v", entries, err)
				}
				var want []string
				if p.outside != "" {
					want = []string{p.outside}
				}
				got, _ := outsides(c.format, bytes.NewReader(b), int64(len(b)))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestOutsideByOneHeader has a zip whose local header leads out, and not its directory.
func TestOutsideByOneHeader(t *testing.T) {
	b := zipOf(t, "abcd", "content")
	got, err := outsides(filetype.Zip, bytes.NewReader(bytes.Replace(b, []byte("abcd"), []byte("../d"), 1)), int64(len(b)))
	if diff := cmp.Diff([]string{"../d"}, got); diff != "" || err == nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestNoneOutside reads real archives, of packages above all, none of which leads out of itself.
func TestNoneOutside(t *testing.T) {
	read := 0
	err := filepath.WalkDir(realdata.Path(t, "files"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 4<<20 {
			return err
		}
		read += noneOutside(t, path, b, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d containers", read)
	if read < 20 {
		t.Errorf("%d containers were read", read)
	}
}

// noneOutside counts the containers in a file, itself too, and fails for each name that leads out.
func noneOutside(t *testing.T, path string, b []byte, level int) (read int) {
	f := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format
	if !Opens(f) || level > 3 {
		return 0
	}
	names, _ := outsides(f, bytes.NewReader(b), int64(len(b)))
	for _, name := range names {
		t.Errorf("%s: %s", path, name)
	}
	_ = eachWhole(f, b, func(m whole) { read += noneOutside(t, path+"/"+m.Path, m.data, level+1) })
	return read + 1
}

// mend7z puts right the checksums of a 7z whose headers are not packed.
func mend7z(b []byte) []byte {
	le := binary.LittleEndian
	at := 32 + le.Uint64(b[12:])
	le.PutUint32(b[28:], crc32.ChecksumIEEE(b[at:at+le.Uint64(b[20:])]))
	le.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return b
}
