package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestSZDD compares what Debian's mscompress packs with what its msexpand makes of it, which is not always the same as was packed: of short files,
// it packs what was in its memory.
func TestSZDD(t *testing.T) {
	sources := sources(2)
	dir := write(t, sources)
	for name, b := range sources {
		if len(b) == 0 {
			continue // msexpand goes by no size, and gives the byte that mscompress wrote
		}
		run(t, dir, "mscompress", name)
		packed, err := os.ReadFile(filepath.Join(dir, name+"_"))
		if err != nil {
			t.Fatal(err)
		}
		if f := filetype.Detect(bytes.NewReader(packed), int64(len(packed))); f.Format != filetype.SZDD {
			t.Errorf("%s is taken for %s", name, f.Name)
		}
		if err := os.WriteFile(filepath.Join(dir, "in"), packed, 0o644); err != nil {
			t.Fatal(err)
		}
		want := run(t, dir, "bash", "-c", "msexpand <in")
		if len(b) > 1000 && !bytes.Equal(b, want) {
			t.Errorf("msexpand gives something else than %s", name)
		}
		got, err := list(t, filetype.SZDD, packed, Options{})
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]entry{member("", string(want))}, got); diff != "" {
			t.Errorf("%s (-msexpand +ours):\n%s", name, diff)
		}
	}
}

// kwajOf makes a KWAJ file of a name and a size.
func kwajOf(method uint16, name string, size int, data []byte) []byte {
	le := binary.LittleEndian
	flags := uint16(0)
	var more []byte
	if size >= 0 {
		flags |= 1
		more = le.AppendUint32(more, uint32(size))
	}
	if base, extension, ok := strings.Cut(name, "."); ok {
		flags |= 2 | 4 | 8 | 16 | 32
		more = append(more, 1, 2, 3, 0, 'x', 'y', 'z')
		more = append(append(more, base...), 0)
		more = append(append(more, extension...), 0)
		more = append(more, 2, 0, 'h', 'i')
	}
	b := le.AppendUint16([]byte("KWAJ\x88\xf0\x27\xd1"), method)
	b = le.AppendUint16(b, uint16(14+len(more)))
	b = le.AppendUint16(b, flags)
	return append(append(b, more...), data...)
}

// lzssOf packs bytes and, where there is one near, matches.
func lzssOf(data []byte, from int) []byte {
	var out []byte
	flag := -1
	for n, at := 0, 0; at < len(data); n++ {
		if n%8 == 0 {
			flag = len(out)
			out = append(out, 0)
		}
		length, distance := 0, 0
		for d := 1; d <= min(at, 300); d++ {
			l := 0
			for l < 18 && at+l < len(data) && data[at+l-d] == data[at+l] {
				l++
			}
			if l > length {
				length, distance = l, d
			}
		}
		if length < 3 {
			out[flag] |= 1 << (n % 8)
			out = append(out, data[at])
			at++
			continue
		}
		place := (from + at - distance) & 4095
		out = append(out, byte(place), byte(place>>4&0xf0)|byte(length-3))
		at += length
	}
	return out
}

// kwajHuffman packs by method 3, with literals of 8 bits and the other codes as long as each kind of list can say it.
func kwajHuffman(data []byte) []byte {
	var bits []byte
	put := func(v, n int) {
		for n--; n >= 0; n-- {
			bits = append(bits, byte(v>>n&1))
		}
	}
	put(0x012_303, 24) // the kinds of the five lists, and a filling
	// kind 0: 16 of 4 bits; kind 1: 16 of 4 bits
	put(4, 4)
	put(0, 15)
	// kind 2: 32 of 5 bits
	put(5, 4)
	for range 31 {
		put(1, 2)
	}
	// kind 3: 64 of 6 bits
	for range 64 {
		put(6, 4)
	}
	// kind 0: 256 of 8 bits
	for at := 0; at < len(data); {
		n := min(32, len(data)-at)
		put(0, 4)
		put(n-1, 5)
		for _, c := range data[at : at+n] {
			put(int(c), 8)
		}
		at += n
		run := 0
		for run < 17 && at+run < len(data) && at > 9 && data[at+run-9] == data[at+run] {
			run++
		}
		if run < 3 && n < 32 {
			break
		}
		if run >= 3 {
			put(run-2, 4)
			put(0, 6)
			put(9, 6)
			at += run
		}
	}
	var out []byte
	for i, bit := range bits {
		if i%8 == 0 {
			out = append(out, 0)
		}
		out[i/8] |= bit << (7 - i%8)
	}
	return out
}

// msZipOf packs in blocks of deflate.
func msZipOf(data []byte) []byte {
	var out []byte
	for at := 0; at < len(data); at += cabWindow {
		var b bytes.Buffer
		w, err := flate.NewWriterDict(&b, 9, data[max(0, at-cabWindow):at])
		if err != nil {
			panic(err)
		}
		w.Write(data[at:min(at+cabWindow, len(data))])
		w.Close()
		out = binary.LittleEndian.AppendUint16(out, uint16(b.Len()+2))
		out = append(append(out, "CK"...), b.Bytes()...)
	}
	return append(out, 0, 0)
}

func TestKWAJ(t *testing.T) {
	content := append([]byte(strings.Repeat("say it 9 ", 5000)), sources(50)["docs/text.txt"]...)
	content = append(content, sources(50)["noise.bin"]...)
	short := []byte(strings.Repeat("say it 9 ", 400))
	inverse := bytes.Clone(content)
	for i := range inverse {
		inverse[i] ^= 0xff
	}
	for name, c := range map[string]struct {
		method uint16
		packed []byte
		want   []byte
	}{
		"stored":   {0, content, content},
		"inverted": {1, inverse, content},
		"LZSS":     {2, lzssOf(content, 4096-18), content},
		"Huffman":  {3, kwajHuffman(short), short},
		"MSZIP":    {4, msZipOf(content), content},
	} {
		for _, size := range []int{len(c.want), -1} {
			b := kwajOf(c.method, "named.txt", size, c.packed)
			if f := filetype.Detect(bytes.NewReader(b), int64(len(b))); f.Format != filetype.SZDD {
				t.Errorf("it is taken for %s", f.Name)
			}
			got, err := list(t, filetype.SZDD, b, Options{})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]entry{member("named.txt", string(c.want))}, got); diff != "" {
				t.Errorf("%s, size %d (-packed +unpacked):\n%s", name, size, diff)
			}
		}
	}
	qbasic := append([]byte("SZ \x88\xf0\x27\x33\xd1"), binary.LittleEndian.AppendUint32(nil, uint32(len(short)))...)
	got, err := list(t, filetype.SZDD, append(qbasic, lzssOf(short, 4096-18)...), Options{})
	if diff := cmp.Diff([]entry{member("", string(short))}, got); diff != "" || err != nil {
		t.Errorf("QBasic's: %v %s", err, diff)
	}
}

// TestKWAJSamples reads the headers of libmspack's samples, of every combination of what may follow them.
func TestKWAJSamples(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(realdata.Sample(t, "libmspack", "test", "test_files", "kwajd"), "f*.kwj"))
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d samples, %v", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list(t, filetype.SZDD, b, Options{})
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %v, %v", path, got, err)
		}
		// The file's name says how long its parts are; 9 and 4 are too long, and told as they are.
		base, extension := int(filepath.Base(path)[1]-'0'), int(filepath.Base(path)[2]-'0')
		want := "123456789"[:base]
		if extension > 0 {
			want += "." + "1234"[:extension]
		}
		if got[0].Path != want {
			t.Errorf("%s is named %q, want %q", path, got[0].Path, want)
		}
	}
}

func TestMSCompressHostile(t *testing.T) {
	szdd := func(size uint32, data string) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte("SZDD\x88\xf0\x27\x33A\x00"), size), data...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"SZDD":              {in: szdd(3, "\xffabc"), want: []entry{member("", "abc")}},
		"claims too much":   {in: szdd(1<<31, "\xffabc"), want: []entry{{Size: 3, SHA256: sum([]byte("abc")), Err: "szdd: it has 3 bytes where the header says 2147483648"}}},
		"claims too little": {in: szdd(1, "\xffabc"), want: []entry{{Size: 3, SHA256: sum([]byte("abc")), Err: "szdd: it has 3 bytes where the header says 1"}}},
		"cut in a match":    {in: szdd(3, "\x00a"), want: []entry{{SHA256: sum(nil), Err: "szdd: the data ends too early"}}},
		"mode":              {in: change(szdd(3, "\xffabc"), 8, 'B'), err: `szdd: mode 'B' is not known`},
		"method":            {in: kwajOf(9, "", 3, []byte("abc")), want: []entry{{Size: 3, Err: "szdd: method 9 is not known"}}},
		"MSZIP of nothing":  {in: kwajOf(4, "", 3, []byte("\x02\x00XX\x00\x00")), want: []entry{{SHA256: sum(nil), Err: "szdd: a block of MSZIP does not begin as it should"}}},
		"Huffman's list":    {in: kwajOf(3, "", 3, []byte("\xff\xff\xff\xff\xff")), want: []entry{{SHA256: sum(nil), Err: "szdd: a table of codes is damaged"}}},
		"names beyond":      {in: kwajOf(0, "named.txt", 3, nil)[:20], err: "szdd: the data ends too early"},
		"nothing":           {err: "szdd: the data ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.SZDD, c.in, Options{})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func FuzzMSCompress(f *testing.F) {
	f.Add([]byte("SZDD\x88\xf0\x27\x33A\x00\x03\x00\x00\x00\xffabc\x00"))
	f.Add([]byte("SZ \x88\xf0\x27\x33\xd1\x03\x00\x00\x00\xffabc\x00"))
	content := []byte(strings.Repeat("say it 9 ", 40))
	for method, data := range [][]byte{content, content, lzssOf(content, 4096-18), kwajHuffman(content), msZipOf(content)} {
		f.Add(kwajOf(uint16(method), "named.txt", len(content), data))
		f.Add(kwajOf(uint16(method), "", -1, data))
	}
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.SZDD, b) })
}
