package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// udfVolume makes an empty volume with mkudffs.
func udfVolume(t *testing.T, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.udf")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<20); err != nil {
		t.Fatal(err)
	}
	run(t, ".", "mkudffs", append(args, path)...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// udfSeal makes the checksum of a descriptor of n bytes and the sum of its tag right.
func udfSeal(b []byte, n int) {
	var crc uint16
	for _, c := range b[16:n] {
		crc ^= uint16(c) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x1021
		}
	}
	binary.LittleEndian.PutUint16(b[8:], crc)
	binary.LittleEndian.PutUint16(b[10:], uint16(n-16))
	b[4] = 0
	var sum byte
	for _, c := range b[:16] {
		sum += c
	}
	b[4] = sum
}

// udfAdd puts a file into the root of a volume, whose entry stands in the block behind the root's.
func udfAdd(t *testing.T, b []byte, block int, name, content string) {
	t.Helper()
	le := binary.LittleEndian
	find := func(kind uint16, ok func(b []byte) bool) []byte {
		for at := 0; at < len(b); at += block {
			if udfTag(b[at:], kind) && ok(b[at:]) {
				return b[at:]
			}
		}
		return nil
	}
	set := find(256, func([]byte) bool { return true })
	if set == nil {
		t.Fatal("no set of files is there")
	}
	root, kind, data := []byte(nil), uint16(261), 176
	is := func(b []byte) bool { return b[27] == 4 && le.Uint32(b[12:]) == le.Uint32(set[404:]) }
	if root = find(261, is); root == nil {
		kind, data = 266, 216
		if root = find(266, is); root == nil {
			t.Fatal("no root is there")
		}
	}
	if le.Uint16(root[34:])&7 != 3 {
		t.Fatal("the names of the root do not stand in its entry")
	}
	file := root[block : 2*block]
	clear(file)
	copy(file, root[:data])
	le.PutUint32(file[12:], le.Uint32(set[404:])+1)
	file[27] = 5
	le.PutUint64(file[56:], uint64(len(content)))
	le.PutUint32(file[data-8:], 0)
	le.PutUint32(file[data-4:], uint32(len(content)))
	copy(file[data:], content)
	udfSeal(file, data+len(content))
	id := make([]byte, (38+1+len(name)+3)&^3)
	le.PutUint16(id, 257)
	id[16], id[19] = 1, byte(1+len(name))
	copy(id[20:36], set[400:416])
	le.PutUint32(id[24:], le.Uint32(set[404:])+1)
	id[38] = 8
	copy(id[39:], name)
	udfSeal(id, len(id))
	n := le.Uint32(root[data-4:])
	copy(root[data+int(le.Uint32(root[data-8:]))+int(n):], id)
	le.PutUint32(root[data-4:], n+uint32(len(id)))
	le.PutUint64(root[56:], le.Uint64(root[56:])+uint64(len(id)))
	if kind == 266 {
		le.PutUint64(root[64:], le.Uint64(root[56:]))
		le.PutUint64(file[64:], uint64(len(content)))
	}
	udfSeal(root, data+int(le.Uint32(root[data-8:]))+int(n)+len(id))
}

// TestUDF reads what genisoimage writes, by UDF alone and beside ISO 9660, and compares it with 7-Zip.
func TestUDF(t *testing.T) {
	files := sources(2)
	for i := range 300 {
		files[fmt.Sprint("many/", i)] = fmt.Append(nil, i)
	}
	b := genisoimage(t, write(t, files), "-udf")
	detected(t, b, filetype.ISO)
	for _, format := range []filetype.Format{filetype.ISO, filetype.UDF} {
		got, err := list(t, format, b, Options{})
		if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
			t.Errorf("%s: %v, members (-packed +unpacked):\n%s", format, err, diff)
		}
		if diff := cmp.Diff(unpackedBy7z(t, b, "-t"+string(format)), sorted(got)); diff != "" {
			t.Errorf("%s: members (-7z +ours):\n%s", format, diff)
		}
	}
	// Without volume descriptors of ISO 9660, it is one of UDF.
	at := bytes.Index(b, []byte("\x00BEA01"))
	copy(b[16*isoSector:], b[at:at+3*isoSector])
	detected(t, b, filetype.UDF)
	// A file that only the volume of UDF has is told besides, and only that.
	both := genisoimage(t, write(t, files), "-udf", "-hide", "one")
	got, err := list(t, filetype.ISO, both, Options{})
	if diff := cmp.Diff(all(files), sorted(got)); diff != "" || err != nil {
		t.Errorf("hidden from ISO 9660: %v, members (-packed +unpacked):\n%s", err, diff)
	}
}

// TestUDFRevisions reads volumes that mkudffs makes for every kind of disc: by a table at the end (VAT), through a file (metadata), with spare packets. The
// test puts a file into those that can take one.
func TestUDFRevisions(t *testing.T) {
	for _, c := range []struct {
		media, revision string
		block           int
		takes           bool
	}{
		{"hd", "1.02", 512, true}, {"hd", "1.50", 512, true}, {"hd", "2.01", 512, true}, {"dvd", "1.02", 2048, true}, {"dvdram", "2.01", 2048, true},
		{"cdrw", "1.50", 2048, true}, {"cdrw", "2.01", 2048, true}, {"dvdrw", "2.01", 2048, true},
		{"cdr", "1.50", 2048, false}, {"cdr", "2.01", 2048, false}, {"dvdr", "2.50", 2048, false}, {"bdr", "2.50", 2048, false}, {"bdr", "2.60", 2048, false},
	} {
		t.Run(c.media+" "+c.revision, func(t *testing.T) {
			b := udfVolume(t, "--media-type="+c.media, "--udfrev="+c.revision)
			detected(t, b, filetype.UDF)
			var want []entry
			if c.takes {
				udfAdd(t, b, c.block, "added", "content")
				want = append(want, member("added", "content"))
			}
			if c.media[len(c.media)-2:] == "rw" && c.revision == "1.50" {
				want = append(want, member("Non-Allocatable Space", ""))
			}
			got, err := list(t, filetype.UDF, b, Options{})
			if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" || err != nil {
				t.Errorf("%v, members (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestUDFHostile holds what a volume may not do.
func TestUDFHostile(t *testing.T) {
	le := binary.LittleEndian
	good := udfVolume(t, "--media-type=dvd", "--udfrev=2.01")
	udfAdd(t, good, 2048, "added", "content")
	// tagged is the first descriptor of a kind that a condition holds of.
	tagged := func(b []byte, kind uint16, file byte) []byte {
		for at := 0; at < len(b); at += 2048 {
			if udfTag(b[at:], kind) && (file == 0 || b[at+27] == file) {
				return b[at:]
			}
		}
		t.Fatalf("no descriptor %d is there", kind)
		return nil
	}
	kind := uint16(261)
	if !bytes.Contains(good, []byte("added")) {
		t.Fatal("no file was added")
	}
	for at := 0; at < len(good); at += 2048 {
		if udfTag(good[at:], 266) {
			kind = 266
		}
	}
	spoilt := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for name, c := range map[string]struct {
		in        []byte
		err, told string
	}{
		"blocks": {spoilt(func(b []byte) {
			for at := 0; at < len(b); at += 2048 {
				if udfTag(b[at:], 6) {
					le.PutUint32(b[at+212:], 1<<31)
				}
			}
		}), "udf: blocks of 2147483648 bytes are not possible", ""},
		"no anchor": {good[:250*2048], "udf: no anchor that points to a volume is there", ""},
		"no set of files": {spoilt(func(b []byte) {
			for at := 0; at < len(b); at += 2048 {
				if udfTag(b[at:], 256) {
					b[at] = 1
				}
			}
		}), "udf: the descriptor of the set of files is not there", ""},
		"extended root":    {spoilt(func(b []byte) { le.PutUint32(tagged(b, kind, 4)[map[uint16]int{261: 168, 266: 208}[kind]:], 1<<31) }), "udf: directory /: an entry of a file is damaged", ""},
		"kind of extents":  {spoilt(func(b []byte) { tagged(b, kind, 5)[34] = 7 }), "", "udf: member added: extents of the kind 7 are not known"},
		"an inline 2^62":   {spoilt(func(b []byte) { le.PutUint64(tagged(b, kind, 5)[56:], 1<<62) }), "", "udf: member added: the data ends too early"},
		"a partition more": {spoilt(func(b []byte) { le.PutUint16(tagged(b, 256, 0)[408:], 7) }), "udf: directory /: partition 7 of 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.UDF, c.in, Options{})
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
	// A list of extents that goes on in itself.
	r := &udfReader{container: &container{r: bytes.NewReader(make([]byte, 4096)), size: 4096}, block: 2048, maps: []udfMap{{}}}
	b := make([]byte, 2048)
	le.PutUint16(b, 258)
	le.PutUint32(b[20:], 8)
	le.PutUint32(b[24:], 3<<30|2048)
	udfSeal(b, 32)
	r.r = bytes.NewReader(append(b, b...))
	if _, err := r.extents(b[24:32], 0, 0); err == nil || err.Error() != "its list of extents goes on more than 1024 times" {
		t.Errorf("a list in a ring: %v", err)
	}
}

// FuzzUDF mends the sums of tags that are known, so that damage gets past them.
func FuzzUDF(f *testing.F) {
	// The smallest volume: an anchor at sector 256 of 512 bytes, descriptors from sector 100 on, and a partition from 120 on.
	le := binary.LittleEndian
	b := make([]byte, 300*512)
	put := func(sector int, kind uint16, location int, f func(b []byte)) {
		d := b[sector*512 : (sector+1)*512]
		le.PutUint16(d, kind)
		le.PutUint32(d[12:], uint32(location))
		f(d)
		udfSeal(d, 512)
	}
	copy(b[16*2048:], "\x00NSR02")
	put(256, 2, 256, func(b []byte) { le.PutUint32(b[16:], 3*512); le.PutUint32(b[20:], 100) })
	put(100, 5, 100, func(b []byte) { le.PutUint32(b[188:], 120); le.PutUint32(b[192:], 100) })
	put(101, 6, 101, func(b []byte) {
		le.PutUint32(b[212:], 512)
		le.PutUint32(b[264:], 6)
		le.PutUint32(b[268:], 1)
		copy(b[440:], "\x01\x06\x01")
	})
	put(102, 8, 102, func([]byte) {})
	put(120, 256, 0, func(b []byte) { le.PutUint32(b[404:], 1) })
	put(121, 261, 1, func(b []byte) {
		b[27], b[34] = 4, 3
		le.PutUint64(b[56:], 44)
		le.PutUint32(b[172:], 44)
		id := b[176:]
		le.PutUint16(id, 257)
		id[19] = 3
		le.PutUint32(id[24:], 2)
		copy(id[38:], "\x08ab")
		udfSeal(id, 44)
	})
	put(122, 261, 2, func(b []byte) {
		b[27] = 5
		le.PutUint64(b[56:], 600)
		le.PutUint32(b[172:], 8)
		le.PutUint32(b[176:], 1024)
		le.PutUint32(b[180:], 4)
	})
	got, err := list(f, filetype.UDF, b, Options{})
	if want := []entry{{Path: "ab", Size: 600, SHA256: sum(make([]byte, 600))}}; err != nil || !cmp.Equal(want, got) {
		f.Fatalf("the seed: %v, %v", got, err)
	}
	// Fuzzing changes a few places of it: what lies between the descriptors is nothing.
	f.Add(b[100*512:103*512], b[120*512:123*512])
	f.Fuzz(func(t *testing.T, volume, files []byte) {
		image := bytes.Clone(b)
		copy(image[100*512:110*512], volume)
		copy(image[120*512:200*512], files)
		for at := 100 * 512; at < 200*512; at += 512 {
			udfSeal(image[at:], 512)
		}
		unpackAny(t, filetype.UDF, image)
	})
}
