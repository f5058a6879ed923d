package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// TestExt reads volumes that mke2fs fills, and compares them with what was packed; 7-Zip, which gives the journal too, reads all but two.
func TestExt(t *testing.T) {
	files := sources(2)
	files["large"] = bytes.Repeat(append(files["noise.bin"], files["code.exe"]...), 20) // blocks of blocks of places
	for i := range 500 {
		files[fmt.Sprintf("many/file with a name that is not short %d", i)] = fmt.Append(nil, i)
	}
	dir := write(t, files)
	if err := os.Symlink("one", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	holes := filepath.Join(dir, "holes")
	f, err := os.Create(holes)
	if err == nil {
		_, err = f.WriteAt([]byte("behind a hole"), 3_000_000)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	files["holes"] = append(make([]byte, 3_000_000), "behind a hole"...)
	for name, args := range map[string][]string{
		"ext2":        {"-t", "ext2"},
		"ext2 4096":   {"-t", "ext2", "-b", "4096", "-r", "0"},
		"ext3":        {"-t", "ext3"},
		"ext4":        {"-t", "ext4"},
		"ext4 64 bit": {"-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum"},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "x.img")
			run(t, dir, "mke2fs", append(args, "-q", "-d", dir, image, "24M")...)
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			detected(t, b, filetype.Ext)
			got, err := list(t, filetype.Ext, b, Options{})
			if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-packed +read):\n%s", err, diff)
			}
			if !strings.HasPrefix(name, "ext4") { // 7-Zip opens no holes of the older ones
				return
			}
			var theirs []entry
			for _, e := range unpackedBy7z(t, b) {
				if !strings.HasPrefix(e.Path, "[SYS]/") {
					theirs = append(theirs, e)
				}
			}
			if diff := cmp.Diff(theirs, sorted(got)); diff != "" {
				t.Errorf("members (-7z +ours):\n%s", diff)
			}
		})
	}
}

// TestExtInline reads bytes that stand in the inode, which 7-Zip does not.
func TestExtInline(t *testing.T) {
	files := map[string][]byte{"tiny": []byte("in the inode"), "dir/sixty": bytes.Repeat([]byte("x"), 60), "text": sources(2)["docs/text.txt"]}
	dir := write(t, files)
	image := filepath.Join(t.TempDir(), "x.img")
	run(t, dir, "mke2fs", "-t", "ext4", "-O", "inline_data,^has_journal", "-I", "256", "-q", "-d", dir, image, "8M")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t, filetype.Ext, b, Options{})
	if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
		t.Errorf("%v, members (-packed +read):\n%s", err, diff)
	}
}

// extOf makes a volume of 64 blocks of 1,024 bytes: inodes from block 3 on, the root in block 10. change may spoil it.
func extOf(change func(b []byte, inode func(n int) []byte)) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64<<10)
	super := b[1024:]
	for at, v := range map[int]uint32{0: 32, 4: 64, 20: 1, 32: 8192, 40: 32, 76: 1} {
		le.PutUint32(super[at:], v)
	}
	le.PutUint16(super[56:], 0xef53)
	le.PutUint16(super[88:], 128)
	le.PutUint32(b[2*1024+8:], 3)
	inode := func(n int) []byte { return b[3*1024+(n-1)*128:][:128] }
	set := func(n int, mode uint16, size uint32, flags uint32, area string) {
		i := inode(n)
		le.PutUint16(i, mode)
		le.PutUint32(i[4:], size)
		le.PutUint32(i[32:], flags)
		copy(i[40:100], area)
	}
	set(2, 0o040755, 1024, 0, "\x0a\x00\x00\x00")
	at := 10 * 1024
	name := func(n int, name string, last bool) {
		size := (8 + len(name) + 3) &^ 3
		if last {
			size = 11*1024 - at
		}
		le.PutUint32(b[at:], uint32(n))
		le.PutUint16(b[at+4:], uint16(size))
		b[at+6] = byte(len(name))
		copy(b[at+8:], name)
		at += size
	}
	name(2, ".", false)
	name(2, "..", false)
	name(11, "list", false)
	name(12, "tree", false)
	name(13, "inline", false)
	name(14, "link", false)
	name(15, "dir", true)
	set(11, 0o100644, 1024+512, 0, "\x0b\x00\x00\x00\x00\x00\x00\x00") // a block and a hole
	set(12, 0o100644, 3*1024, extTrees, "\x0a\xf3\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x0b\x00\x00\x00")
	set(13, 0o100644, 6, extInline, "inside")
	set(14, 0o120755, 4, 0, "list")
	set(15, 0o040755, 4, extInline, "\x02\x00\x00\x00")
	copy(b[11*1024:], "first")
	copy(b[12*1024:], "second")
	if change != nil {
		change(b, inode)
	}
	return b
}

// TestExtHostile holds what inodes and directories may not do.
func TestExtHostile(t *testing.T) {
	le := binary.LittleEndian
	pad := func(s string, n int) string { return s + strings.Repeat("\x00", n-len(s)) }
	want := []entry{member("list", pad("first", 1536)), member("tree", strings.Repeat("\x00", 1024)+pad("first", 1024)+pad("second", 1024)), member("inline", "inside")}
	got, err := list(t, filetype.Ext, extOf(nil), Options{})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
	for name, c := range map[string]struct {
		change    func(b []byte, inode func(n int) []byte)
		err, told string
	}{
		"no mark":             {func(b []byte, _ func(int) []byte) { b[1024+56] = 0 }, "ext: it does not begin as it should", ""},
		"blocks":              {func(b []byte, _ func(int) []byte) { b[1024+24] = 40 }, "ext: the superblock is damaged", ""},
		"groups":              {func(b []byte, _ func(int) []byte) { b[1024+40] = 0 }, "ext: the superblock is damaged", ""},
		"compressed":          {func(b []byte, _ func(int) []byte) { b[1024+96] = 1 }, "ext: its files are compressed, which is not read", ""},
		"scattered":           {func(b []byte, _ func(int) []byte) { b[1024+96] = 0x10 }, "ext: the descriptions of its groups are scattered (meta_bg), which is not read", ""},
		"table":               {func(b []byte, _ func(int) []byte) { le.PutUint32(b[2048+8:], 1<<31) }, "ext: directory /: the data ends too early", ""},
		"root":                {func(_ []byte, inode func(int) []byte) { inode(2)[1] = 0 }, "ext: directory /: its inode is that of no directory", ""},
		"name":                {func(b []byte, _ func(int) []byte) { b[10*1024+6] = 200 }, "ext: directory /: a name in it is damaged", ""},
		"a name of no length": {func(b []byte, _ func(int) []byte) { b[10*1024+4] = 0 }, "ext: directory /: a name in it is damaged", ""},
		"an inode too much":   {func(b []byte, _ func(int) []byte) { le.PutUint32(b[10*1024+24:], 99) }, "", "ext: member list: inode 99 of 32"},
		"encrypted":           {func(_ []byte, inode func(int) []byte) { le.PutUint32(inode(11)[32:], extEncrypted) }, "", "ext: member list: it is encrypted"},
		"a size of 2^60":      {func(_ []byte, inode func(int) []byte) { le.PutUint32(inode(11)[108:], 1<<28) }, "", "ext: member list: its size is not possible"},
		"a tree in a ring": {func(b []byte, inode func(int) []byte) {
			copy(inode(12)[40:], "\x0a\xf3\x01\x00\x04\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00")
			copy(b[20*1024:], "\x0a\xf3\x01\x00\x04\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00")
		}, "", "ext: member tree: its tree of runs is damaged"},
		"runs backwards": {func(_ []byte, inode func(int) []byte) {
			copy(inode(12)[40:], "\x0a\xf3\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0b\x00\x00\x00")
		}, "", "ext: member tree: its runs are out of order"},
		"a run beyond":    {func(_ []byte, inode func(int) []byte) { inode(12)[40+12+11] = 0x7f }, "", "ext: member tree: the data ends too early"},
		"inline and long": {func(_ []byte, inode func(int) []byte) { inode(13)[5] = 9 }, "", "ext: member inline: its bytes stand among the attributes of its inode, which is not read"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.Ext, extOf(c.change), Options{})
			told := ""
			for _, e := range got {
				if e.Err != "" {
					told = e.Err
				}
			}
			if (err != nil || c.err != "") && fmt.Sprint(err) != c.err || told != c.told {
				t.Errorf("%v, member: %s; want %s, %s", err, told, c.err, c.told)
			}
		})
	}
	// Places that lead to themselves, in a file of 2^40 bytes: no more memory than runs may take.
	ring := extOf(func(b []byte, inode func(int) []byte) {
		for i := 20 * 1024; i < 21*1024; i += 4 {
			b[i] = 20
		}
		copy(inode(11)[40:], strings.Repeat("\x14\x00\x00\x00", 15))
		le.PutUint32(inode(11)[108:], 256)
	})
	if n := allocated(func() { got, err = list(t, filetype.Ext, ring, Options{}) }); n > 256<<20 || err != nil || !strings.Contains(got[0].Err, "it lies in more than 262144 pieces") {
		t.Errorf("%d bytes were allocated: %v, %v", n, got, err)
	}
}

func FuzzExt(f *testing.F) {
	b := extOf(nil)
	f.Add(b[:21*1024])
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.Ext, b) })
}
