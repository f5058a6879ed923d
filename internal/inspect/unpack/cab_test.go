package unpack

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// cabPart is a folder of a cabinet that a test makes: blocks as they are compressed, with their sizes when they are not.
type cabPart struct {
	method uint16
	blocks [][]byte
	sizes  []int
}

type cabEntry struct {
	name       string
	folder     uint16
	from, size uint32
}

func cabOf(flags uint16, names string, parts []cabPart, files []cabEntry) []byte {
	le := binary.LittleEndian
	h := make([]byte, cabHeader)
	copy(h, "MSCF")
	h[24], h[25] = 3, 1
	le.PutUint16(h[26:], uint16(len(parts)))
	le.PutUint16(h[28:], uint16(len(files)))
	le.PutUint16(h[30:], flags)
	h = append(h, names...)
	at := len(h) + 8*len(parts)
	le.PutUint32(h[16:], uint32(at))
	var list []byte
	for _, f := range files {
		list = le.AppendUint32(list, f.size)
		list = le.AppendUint32(list, f.from)
		list = le.AppendUint16(list, f.folder)
		list = append(list, 0, 0, 0, 0, 0, 0)
		list = append(append(list, f.name...), 0)
	}
	at += len(list)
	var data []byte
	for _, p := range parts {
		h = le.AppendUint32(h, uint32(at+len(data)))
		h = le.AppendUint16(h, uint16(len(p.blocks)))
		h = le.AppendUint16(h, p.method)
		for i, b := range p.blocks {
			sizes := le.AppendUint16(le.AppendUint16(nil, uint16(len(b))), uint16(p.sizes[i]))
			data = le.AppendUint32(data, cabChecksum(sizes, cabChecksum(b, 0)))
			data = append(append(data, sizes...), b...)
		}
	}
	out := append(append(h, list...), data...)
	le.PutUint32(out[8:], uint32(len(out)))
	return out
}

// lzxWriter writes bits, the highest first, in words of which the low byte comes first.
type lzxWriter struct {
	out  []byte
	word uint32
	have uint
}

func (w *lzxWriter) write(v uint32, n uint) {
	for ; n > 0; n-- {
		w.word = w.word<<1 | v>>(n-1)&1
		if w.have++; w.have == 16 {
			w.out = binary.LittleEndian.AppendUint16(w.out, uint16(w.word))
			w.word, w.have = 0, 0
		}
	}
}

func (w *lzxWriter) align() {
	if w.have > 0 {
		w.write(0, 16-w.have)
	}
}

// lzxOf compresses data with a window of 64 KiB: blocks of every kind in turn, of a length that fits no frame; calls are translated when x86 is set.
func lzxOf(data []byte, x86 bool) cabPart {
	part := cabPart{method: 16<<8 | 3}
	data = bytes.Clone(data)
	if x86 {
		for from := 0; from < len(data); from += cabWindow {
			b := data[from:min(len(data), from+cabWindow)]
			for i := 0; i < len(b)-10; i++ {
				if b[i] == 0xe8 {
					cur, rel, size := int32(from+i), int32(binary.LittleEndian.Uint32(b[i+1:])), int32(12_000_000)
					if rel >= -cur && rel < size-cur {
						binary.LittleEndian.PutUint32(b[i+1:], uint32(rel+cur))
					} else if rel >= size-cur && rel < size {
						binary.LittleEndian.PutUint32(b[i+1:], uint32(rel-size))
					}
					i += 4
				}
			}
		}
	}
	mains := bytes.Repeat([]byte{9}, 512)
	lengths := append(bytes.Repeat([]byte{8}, 242), 7, 7, 7, 7, 7, 7, 7)
	w := &lzxWriter{}
	if x86 {
		w.write(1, 1)
		w.write(12_000_000, 32)
	} else {
		w.write(0, 1)
	}
	recent := [3]int{1, 1, 1}
	known := false // the lengths of codes
	kinds := []uint32{1, 3, 2, 3, 1, 2}
	kind, left, odd := uint32(0), 0, false
	last := map[string]int{}
	pre := func(of []byte) {
		for i := range 20 {
			if i == 0 || i >= 8 && i <= 10 {
				w.write(2, 4)
			} else {
				w.write(0, 4)
			}
		}
		for _, n := range of {
			if known {
				w.write(0, 2)
			} else {
				w.write(map[byte]uint32{9: 1, 8: 2, 7: 3}[n], 2)
			}
		}
	}
	for at := 0; at < len(data); {
		end := min(len(data), at+cabWindow)
		part.sizes = append(part.sizes, end-at)
		for at < end {
			if left == 0 {
				if odd {
					w.out = append(w.out, 0)
				}
				kind = kinds[0]
				kinds = append(kinds[1:], kind)
				left = min(20_001, len(data)-at)
				odd = kind == 3 && left&1 == 1
				w.write(kind, 3)
				w.write(uint32(left), 24)
				if kind == 3 {
					w.write(0, 16-w.have)
					for _, r := range recent {
						w.out = binary.LittleEndian.AppendUint32(w.out, uint32(r))
					}
				} else {
					if kind == 2 {
						for range 8 {
							w.write(3, 3)
						}
					}
					pre(mains[:256])
					pre(mains[256:])
					pre(lengths)
					known = true
				}
			}
			if kind == 3 {
				n := min(left, end-at)
				w.out = append(w.out, data[at:at+n]...)
				at, left = at+n, left-n
				continue
			}
			n, distance := 0, 0
			if at+3 <= len(data) {
				key := string(data[at : at+3])
				if from, ok := last[key]; ok && at-from < 1<<16-3 {
					distance = at - from
					for n < min(left, end-at, 257) && data[from+n] == data[at+n] {
						n++
					}
				}
				last[key] = at
			}
			if n < 3 {
				w.write(uint32(data[at]), 9)
				at, left = at+1, left-1
				continue
			}
			slot, value := 0, 0
			switch distance {
			case recent[0]:
			case recent[1]:
				slot, recent[0], recent[1] = 1, recent[1], recent[0]
			case recent[2]:
				slot, recent[0], recent[2] = 2, recent[2], recent[0]
			default:
				for slot = 3; lzxBase[slot+1] <= distance+2; slot++ {
				}
				value = distance + 2 - lzxBase[slot]
				recent = [3]int{distance, recent[0], recent[1]}
			}
			w.write(uint32(256+slot*8+min(n-2, 7)), 9)
			if n >= 9 {
				if more := n - 9; more < 242 {
					w.write(uint32(14+more), 8)
				} else {
					w.write(uint32(more-242), 7)
				}
			}
			if slot > 2 {
				w.write(uint32(value), lzxExtra[slot]) // the aligned code of a value is the value
			}
			at, left = at+n, left-n
		}
		if kind != 3 || left == 0 && !odd {
			w.align()
		} else if left == 0 {
			w.out = append(w.out, 0)
			odd = false
		}
		part.blocks = append(part.blocks, w.out)
		w.out = nil
	}
	return part
}

func storedPart(s string) cabPart { return cabPart{blocks: [][]byte{[]byte(s)}, sizes: []int{len(s)}} }

// lzxCab is a cabinet of two folders of LZX, of files that every kind of block and of match is used for.
func lzxCab(scale int) ([]byte, []entry) { return twoFolders(scale, lzxOf) }

// twoFolders is a cabinet whose folders are packed in two ways.
func twoFolders(scale int, pack func([]byte, bool) cabPart) ([]byte, []entry) {
	var parts []cabPart
	var files []cabEntry
	var want []entry
	for i, second := range []bool{false, true} {
		var all []byte
		for _, name := range []string{"code.exe", "docs/text.txt", "empty", "noise.bin", "zeros", "one"} {
			b := sources(scale)[name]
			name = strings.Repeat("x/", i) + name
			files = append(files, cabEntry{strings.ReplaceAll(name, "/", `\`), uint16(i), uint32(len(all)), uint32(len(b))})
			want = append(want, entry{Path: name, Size: int64(len(b)), SHA256: sum(b)})
			all = append(all, b...)
		}
		parts = append(parts, pack(all, second))
	}
	return cabOf(0, "", parts, files), want
}

func TestCabLZX(t *testing.T) {
	b, want := lzxCab(2)
	cabCompared(t, b, want, "7z", "cabextract")
}

func TestCabQuantum(t *testing.T) {
	b, want := twoFolders(2, quantumOf)
	cabCompared(t, b, want, "cabextract") // 7-Zip wants a block's last bits otherwise than ours leaves them
}

// cabCompared compares a cabinet that the test made with what it was made of, and with what others unpack of it.
func cabCompared(t *testing.T, b []byte, want []entry, tools ...string) {
	got, err := list(t, filetype.Cab, b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-packed +unpacked):\n%s", diff)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "made.cab")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{"7z": {"x", "-y", "-oout", path}, "cabextract": {"-q", "-d", "out", path}}
	for _, tool := range tools {
		t.Run(tool, func(t *testing.T) {
			dir := t.TempDir()
			run(t, dir, tool, args[tool]...)
			if diff := cmp.Diff(tree(t, filepath.Join(dir, "out")), sorted(got)); diff != "" {
				t.Errorf("members (-%s +ours):\n%s", tool, diff)
			}
		})
	}
}

func TestCab(t *testing.T) {
	two := []cabEntry{{"a", 0, 0, 5}, {"b", 0, 5, 6}}
	both := []entry{member("a", "first"), member("b", "second")}
	plain := cabOf(0, "", []cabPart{storedPart("firstsecond")}, two)
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"plain":    {in: plain, want: both},
		"disorder": {in: cabOf(0, "", []cabPart{storedPart("firstsecond")}, []cabEntry{two[1], two[0], two[1]}), want: []entry{both[1], both[0], both[1]}},
		"folders":  {in: cabOf(0, "", []cabPart{storedPart("first"), storedPart("second")}, []cabEntry{two[0], {"b", 1, 0, 6}}), want: both},
		"Quantum": {in: cabOf(0, "", []cabPart{{method: 0x1672, blocks: [][]byte{{1}}, sizes: []int{5}}, storedPart("second")}, []cabEntry{two[0], {"b", 1, 0, 6}}),
			want: []entry{{Path: "a", Size: 5, Err: "cab: member a: a window of 2^22 bytes is none of Quantum"}, both[1]}},
		"set": {in: cabOf(3, "1.cab\x00disk 1\x003.cab\x00disk 3\x00", []cabPart{storedPart("first"), storedPart("second")},
			[]cabEntry{{"a", 0xfffd, 0, 5}, {"c", 0, 5, 6}, {"b", 1, 0, 6}, {"z", 0xfffe, 6, 9}}),
			want: []entry{
				{Path: "a", Size: 5, Err: `cab: member a: it begins in the cabinet before this one, "1.cab", which is another file`},
				{Path: "c", Size: 6, Err: `cab: member c: its folder begins in the cabinet before this one, "1.cab", which is another file`},
				both[1],
				{Path: "z", Size: 9, Err: `cab: member z: it goes on in the next cabinet, "3.cab", which is another file`},
			}},
		"no such folder": {in: cabOf(0, "", []cabPart{storedPart("first")}, []cabEntry{two[0], {"b", 7, 0, 6}}),
			want: []entry{both[0], {Path: "b", Size: 6, Err: "cab: member b: folder 7 of 1"}}},
		"checksum": {in: patch(plain, "firstsecond", 1, 0, 'F'), want: []entry{
			{Path: "a", SHA256: sum(nil), Err: "cab: member a: the checksum differs"}, {Path: "b", SHA256: sum(nil), Err: "cab: member b: the checksum differs"}}},
		"claims too much": {in: cabOf(0, "", []cabPart{storedPart("first")}, []cabEntry{{"a", 0, 0, 1 << 31}}),
			want: []entry{{Path: "a", Size: 5, SHA256: sum([]byte("first")), Err: "cab: member a: the data ends too early"}}},
		"cut in the list": {in: plain[:cabHeader+8+17], err: "cab: a name has no end"},
		"nothing":         {err: "cab: it does not begin as it should"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.Cab, c.in, Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCabMemory refuses a window that is larger than the caller allows.
func TestCabMemory(t *testing.T) {
	b, _ := lzxCab(200)
	got, err := list(t, filetype.Cab, b, Options{Memory: 1 << 12})
	if err != nil || len(got) == 0 || !strings.Contains(got[0].Err, errDictionary.Error()) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestCabRealFiles compares signed cabinets with what 7-Zip unpacks of them.
func TestCabRealFiles(t *testing.T) {
	comparedWith7z(t, filetype.Cab, realdata.Path(t, "files", "relic-functest", "dummy.cab"))
}

// TestCabClamAV does the same with a cabinet of Debian's clamav-testfiles.
func TestCabClamAV(t *testing.T) { comparedWith7z(t, filetype.Cab, clamAV(t, "clam.cab")) }

// clamAV is a file of Debian's clamav-testfiles; the test is skipped where they are not there.
func clamAV(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("/usr/share/clamav-testfiles", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("Debian's clamav-testfiles is not there: %v", err)
	}
	return path
}

// comparedWith7z unpacks a file as 7-Zip does.
func comparedWith7z(t *testing.T, f filetype.Format, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := filetype.Detect(bytes.NewReader(b), int64(len(b))); got.Format != f {
		t.Errorf("told as %v, want %s", got, f)
	}
	out := t.TempDir()
	run(t, out, "7z", "x", "-bd", "-y", path)
	got, err := list(t, f, b, Options{})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(tree(t, out), sorted(got)); diff != "" {
		t.Errorf("%s (-7z +ours):\n%s", path, diff)
	}
}

func FuzzCab(f *testing.F) {
	seeds(f, filetype.Cab)
	b, _ := lzxCab(200)
	f.Add(b)
	b, _ = twoFolders(200, quantumOf)
	f.Add(b)
	f.Add(cabOf(3, "1.cab\x00disk 1\x003.cab\x00disk 3\x00", []cabPart{storedPart("first")}, []cabEntry{{"a", 0xfffd, 0, 5}, {"c", 0, 5, 6}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.Cab, b)
		if len(b) < cabHeader+8 {
			return
		}
		// Without checksums, damage reaches the decoders: the first block's is taken away.
		if at := int64(binary.LittleEndian.Uint32(b[cabHeader:])); at < int64(len(b))-8 {
			b = bytes.Clone(b)
			clear(b[at : at+4])
			unpackAny(t, filetype.Cab, b)
		}
	})
}
