package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// TestARJVolumes opens each volume of a set that arj makes: what lies wholly in it is given, the rest is told by name.
func TestARJVolumes(t *testing.T) {
	sources := sources(2)
	dir := write(t, sources)
	volumes := t.TempDir()
	run(t, dir, "arj", "a", "-r", "-m0", "-y", "-v60000", filepath.Join(volumes, "x.arj"), ".")
	paths, err := filepath.Glob(filepath.Join(volumes, "x.a*"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("%q, %v", paths, err)
	}
	whole := 0
	named := make(map[string]bool)
	for i, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list(t, filetype.ARJ, b, Options{})
		last := strings.HasSuffix(path, fmt.Sprintf("a%02d", len(paths)-1))
		if (err == nil) != last {
			t.Errorf("volume %d: %v", i, err)
		}
		for _, e := range got {
			named[e.Path] = true
			switch {
			case e.Err == "":
				whole++
				if e.SHA256 != sum(sources[e.Path]) {
					t.Errorf("%s differs", e.Path)
				}
			case !strings.HasSuffix(e.Err, "volume before, which is another file") && !strings.HasSuffix(e.Err, "next volume, which is another file"):
				t.Error(e)
			}
		}
	}
	if len(named) != len(sources) || whole < 3 {
		t.Errorf("%d of %d members are named, %d are whole", len(named), len(sources), whole)
	}
}

// TestARJHostile reads archives that the test makes.
func TestARJHostile(t *testing.T) {
	content := "content of it"
	good := func(o arjHeader) []byte {
		return append(append(append(arjHeaderOf(arjHeader{kind: 2, encryption: o.encryption}), arjHeaderOf(o)...), content...), 0x60, 0xea, 0, 0)
	}
	header := arjHeader{name: []byte("dir/x.txt"), packed: 13, size: 13, crc: crc32.ChecksumIEEE([]byte(content))}
	with := func(f func(*arjHeader)) []byte {
		h := header
		f(&h)
		return good(h)
	}
	told := func(size int64, reason string) []entry {
		return []entry{{Path: "dir/x.txt", Size: size, Err: "arj: member dir/x.txt: " + reason}}
	}
	plain := good(header)
	first := len(arjHeaderOf(arjHeader{kind: 2}))
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"plain":             {in: plain, want: []entry{member("dir/x.txt", content)}},
		"checksum":          {in: with(func(h *arjHeader) { h.crc = 1 }), want: []entry{{Path: "dir/x.txt", Size: 13, SHA256: sum([]byte(content)), Err: "arj: member dir/x.txt: the checksum differs"}}},
		"header's checksum": {in: change(plain, first+20, 1), err: fmt.Sprintf("arj: the header at %d: the checksum differs", first)},
		"a long header":     {in: change(plain, first+3, 0x7f), err: fmt.Sprintf("arj: the header at %d: 32553 bytes long", first)},
		"cut":               {in: plain[:len(plain)-6], want: []entry{{Path: "dir/x.txt", Size: 11, SHA256: sum([]byte(content)[:11]), Err: "arj: member dir/x.txt: the data ends too early"}}, err: "arj: the data ends too early"},
		"without an end":    {in: plain[:len(plain)-4], want: []entry{member("dir/x.txt", content)}, err: fmt.Sprintf("arj: the header at %d: the data ends too early", len(plain)-4)},
		"directory":         {in: with(func(h *arjHeader) { h.kind = 3 })},
		"method not known":  {in: with(func(h *arjHeader) { h.method = 7 }), want: told(13, "method 7 is not read")},
		"no password":       {in: with(func(h *arjHeader) { h.flags = arjGarbled }), want: told(13, errPassword.Error())},
		"GOST":              {in: with(func(h *arjHeader) { h.flags, h.encryption = arjGarbled, 4 }), want: told(13, "its encryption (GOST) is not known")},
		"from before":       {in: with(func(h *arjHeader) { h.flags = arjContinues }), want: told(-1, "it begins in the volume before, which is another file")},
		"no more bits":      {in: with(func(h *arjHeader) { h.method, h.size = 4, 1<<30 }), want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.ARJ, c.in, Options{Passwords: []string{"wrong", "infected"}})
			if name == "no more bits" {
				if len(got) != 1 || !strings.HasSuffix(got[0].Err, "the data ends too early") || got[0].Size > 1000 {
					t.Errorf("%v", got)
				}
				return
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

// arjHeaderOf makes a header.
func arjHeaderOf(h arjHeader) []byte {
	le := binary.LittleEndian
	b := []byte{30, 11, 1, 2, h.flags, h.method, h.kind, h.modifier, 0, 0, 0, 0}
	b = le.AppendUint32(b, uint32(h.packed))
	b = le.AppendUint32(b, uint32(h.size))
	b = le.AppendUint32(b, h.crc)
	b = append(b, 0, 0, 0, 0, h.encryption, 0)
	b = append(append(b, h.name...), 0, 0)
	out := le.AppendUint16([]byte{0x60, 0xea}, uint16(len(b)))
	return append(le.AppendUint32(append(out, b...), crc32.ChecksumIEEE(b)), 0, 0)
}

// FuzzARJ mends the checksums of the first two headers, so that damage gets past them.
func FuzzARJ(f *testing.F) {
	seeds(f, filetype.ARJ)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		le := binary.LittleEndian
		for at, n := 0, 0; n < 2 && at+4 < len(b); n++ {
			size := int(le.Uint16(b[at+2:]))
			if at+4+size+6 > len(b) || size > arjMaxHeader {
				break
			}
			le.PutUint32(b[at+4+size:], crc32.ChecksumIEEE(b[at+4:at+4+size]))
			at += 4 + size + 6
		}
		unpackAny(t, filetype.ARJ, b)
	})
}
