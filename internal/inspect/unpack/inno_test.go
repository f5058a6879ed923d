package unpack

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// innoFile is a file that a test writes; those of one content are one piece.
type innoFile struct {
	path, content string
	calls         bool
}

// innoWriter writes installers of Inno Setup: a program that is none, the table, the script's block, the list of data, and a chunk.
type innoWriter struct {
	version   string // "6.2.0"
	number    int
	wide      bool
	stored    bool   // the chunk is not compressed
	password  string // of the chunk
	external  bool   // the data are in another file
	innocent  string // something between the header's start and the list of files
	fixed     int    // bytes of an entry that are no text
	patchList func([]byte)
}

func (w *innoWriter) text(b []byte, s string) []byte {
	if !w.wide {
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	units := utf16.Encode([]rune(s))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*len(units)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// block writes a block as it is, with its checksums.
func innoBlockOf(content []byte) []byte {
	le := binary.LittleEndian
	var body []byte
	for len(content) > 0 {
		n := min(len(content), innoCRCEach)
		body = le.AppendUint32(body, crc32.ChecksumIEEE(content[:n]))
		body = append(body, content[:n]...)
		content = content[n:]
	}
	head := append(le.AppendUint32(nil, uint32(len(body))), 0)
	return append(append(le.AppendUint32(nil, crc32.ChecksumIEEE(head)), head...), body...)
}

// convert does to x86 calls what innoCalls undoes.
func innoConvert(b []byte, flip bool) []byte {
	b = bytes.Clone(b)
	for i := 0; i+5 <= len(b); i++ {
		if b[i]&0xfe != 0xe8 || 1<<16-i&(1<<16-1) < 5 {
			continue
		}
		if a := b[i+1 : i+5]; a[3] == 0 || a[3] == 0xff {
			to := uint32(a[0]) | uint32(a[1])<<8 | uint32(a[2])<<16
			if flip && to&0x800000 != 0 {
				a[3] = ^a[3]
			}
			to += uint32(i+5) & 0xffffff
			a[0], a[1], a[2] = byte(to), byte(to>>8), byte(to>>16)
		}
		i += 4
	}
	return b
}

func (w *innoWriter) write(files ...innoFile) []byte {
	le := binary.LittleEndian
	var list, chunk []byte
	index := map[string]int{}
	script := w.text(w.text(nil, "Some Program"), w.innocent)
	script = append(script, make([]byte, 100)...)
	for _, f := range files {
		piece, again := index[f.content]
		if !again {
			piece = len(index)
			index[f.content] = piece
			at := len(chunk)
			content := []byte(f.content)
			flags := byte(0)
			if f.calls {
				content = innoConvert(content, w.number >= 50309)
				flags |= 1 << 4
			}
			if w.password != "" {
				flags |= 1 << 6
			}
			if !w.stored {
				flags |= 1 << 7
			}
			chunk = append(chunk, content...)
			list = le.AppendUint32(le.AppendUint32(le.AppendUint32(list, 0), 0), 0)
			list = le.AppendUint64(le.AppendUint64(le.AppendUint64(list, uint64(at)), uint64(len(content))), 0) // the chunk's size is put in below
			switch {
			case w.number >= 50309:
				sum := sha1.Sum([]byte(f.content))
				list = append(list, sum[:]...)
			case w.number >= 40200:
				sum := md5.Sum([]byte(f.content))
				list = append(list, sum[:]...)
			default:
				list = le.AppendUint32(list, crc32.ChecksumIEEE([]byte(f.content)))
			}
			list = append(append(list, make([]byte, 16)...), flags)
			if w.number >= 50113 {
				list = append(list, 0)
			}
			if w.number >= 60300 {
				list = append(list, 0)
			}
		}
		texts := []string{"", f.path, "", "", "main", "", "", "", "", ""}
		if w.number < 50205 {
			texts = texts[1:]
			texts[0], texts[1] = "", f.path
		}
		for _, s := range texts {
			script = w.text(script, s)
		}
		fixed := make([]byte, w.fixed)
		le.PutUint32(fixed[20:], uint32(piece))
		script = append(script, fixed...)
	}
	script = append(script, bytes.Repeat([]byte("\x07what follows"), 10)...)
	var packed bytes.Buffer
	if w.stored {
		packed.Write(chunk)
	} else {
		z := zlib.NewWriter(&packed)
		z.Write(chunk)
		z.Close()
	}
	data := packed.Bytes()
	head := []byte("zlb\x1a")
	if w.password != "" {
		salt := []byte("saltsalt")
		key := bytes.Clone(salt)
		if w.wide {
			for _, u := range utf16.Encode([]rune(w.password)) {
				key = le.AppendUint16(key, u)
			}
		} else {
			key = append(key, w.password...)
		}
		sum := sha1.Sum(key)
		cipher, _ := rc4.NewCipher(sum[:])
		if w.number < 50309 {
			sum := md5.Sum(key)
			cipher, _ = rc4.NewCipher(sum[:])
		}
		skip := make([]byte, 1000)
		cipher.XORKeyStream(skip, skip)
		cipher.XORKeyStream(data, data)
		head = append(head, salt...)
	}
	if each := len(list) / max(len(index), 1); each > 0 {
		for at := 0; at < len(list); at += each {
			le.PutUint64(list[at+28:], uint64(len(data)))
		}
	}
	if w.patchList != nil {
		w.patchList(list)
	}
	name := make([]byte, innoNameSize)
	mark := ""
	if w.wide && w.number < 60300 {
		mark = " (u)"
	}
	copy(name, innoName+w.version+")"+mark)
	const stub = 1000
	blocks := append(append(name, innoBlockOf(script)...), innoBlockOf(list)...)
	b := make([]byte, stub, stub+len(blocks)+len(head)+len(data))
	copy(b, "MZ")
	var table []byte
	at := 0
	if w.number >= 50105 {
		table, at = append([]byte(innoTable), 1, 0, 0, 0), 32
	} else {
		table, at = []byte("rDlPtS07\x87eVx"), 28
	}
	table = append(table, make([]byte, at-len(table))...)
	table = le.AppendUint32(table, stub)
	if place := uint32(stub + len(blocks)); w.external {
		table = le.AppendUint32(table, 0)
	} else {
		table = le.AppendUint32(table, place)
	}
	table = le.AppendUint32(table, crc32.ChecksumIEEE(table))
	copy(b[500:], table)
	return append(append(append(b, blocks...), head...), data...)
}

// innoFiles are code with calls, text, and the same text once more.
func innoFiles() []innoFile {
	rng := rand.New(rand.NewPCG(1, 2))
	code := make([]byte, 200_000)
	for i := 0; i < len(code); i++ {
		code[i] = byte(rng.Uint32())
		if rng.IntN(9) == 0 && i+5 < len(code) {
			code[i] = 0xe8 + byte(rng.IntN(2))
			binary.LittleEndian.PutUint32(code[i+1:], uint32(int32(rng.IntN(1<<24)-1<<23)))
			i += 4
		}
	}
	text := strings.Repeat("A line of text.\r\n", 1000)
	return []innoFile{{`{app}\doc\läs mich.txt`, text, false}, {`{app}\program.exe`, string(code), true}, {`{sys}\..\..\copy.txt`, text, false}, {`{tmp}\empty`, "", false}}
}

// TestInno reads what a program of ours writes: the layouts differ by version. Installers that Inno Setup's own compiler wrote are compared in
// docs/inspection.md, for the compiler runs on Windows.
func TestInno(t *testing.T) {
	files := innoFiles()
	ansi := innoFiles()
	ansi[0].path = `{app}\doc\read me.txt`
	want := func(files []innoFile, password string) map[string]string {
		out := map[string]string{}
		for _, f := range files {
			out[cleanPath(f.path)] = sum([]byte(f.content))
		}
		return out
	}
	for name, c := range map[string]struct {
		w     innoWriter
		files []innoFile
	}{
		"6.3":              {innoWriter{version: "6.3.0", number: 60300, wide: true, fixed: 44}, files},
		"6.2":              {innoWriter{version: "6.2.0", number: 60200, wide: true, fixed: 43}, files},
		"6.0, stored":      {innoWriter{version: "6.0.0", number: 60000, wide: true, fixed: 43, stored: true}, files},
		"6.1, encrypted":   {innoWriter{version: "6.1.0", number: 60100, wide: true, fixed: 43, password: "infected"}, files},
		"5.5.7, Unicode":   {innoWriter{version: "5.5.7", number: 50507, wide: true, fixed: 43}, files},
		"5.5.7":            {innoWriter{version: "5.5.7", number: 50507, fixed: 43}, ansi},
		"5.3.5, encrypted": {innoWriter{version: "5.3.5", number: 50305, fixed: 43, password: "virus"}, ansi},
		"5.2.3":            {innoWriter{version: "5.2.3", number: 50203, fixed: 43}, ansi},
		"5.1.0, old table": {innoWriter{version: "5.1.0", number: 50100, fixed: 42}, ansi[2:]},
		"4.2.7":            {innoWriter{version: "4.2.7", number: 40207, fixed: 42}, ansi[2:]},
		"4.1.6":            {innoWriter{version: "4.1.6", number: 40106, fixed: 42}, ansi[2:]},
		"text before":      {innoWriter{version: "6.2.0", number: 60200, wide: true, fixed: 43, innocent: `{app}\{group}`}, files},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.w.write(c.files...)
			entries, err := list(t, filetype.Inno, b, Options{Passwords: DefaultPasswords})
			if err != nil {
				t.Error(err)
			}
			got := map[string]string{}
			for _, e := range entries {
				if e.Err != "" {
					t.Error(e.Err)
				}
				got[e.Path] = e.SHA256
			}
			if d := cmp.Diff(want(c.files, c.w.password), got); d != "" || len(entries) != len(c.files) {
				t.Errorf("%d members %s", len(entries), d)
			}
			found := Find(bytes.NewReader(b), int64(len(b)), false)
			if len(found) != 1 || found[0].Format != filetype.Inno {
				t.Errorf("found %v", found)
			}
		})
	}
}

// TestInnoOldCalls holds how x86 calls were converted before 5.2.0.
func TestInnoOldCalls(t *testing.T) {
	// A call at 3 to the place 0x1000 is written as the place.
	in := []byte{0x90, 0x90, 0x90, 0xe8, 0x00, 0x10, 0x00, 0x00, 0x90}
	out := make([]byte, len(in))
	r := &innoOldCalls{r: bytes.NewReader(in), offset: 5}
	for i := range out { // byte by byte
		if n, err := r.Read(out[i : i+1]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	want := bytes.Clone(in)
	binary.LittleEndian.PutUint32(want[4:], 0x1000-8)
	if !bytes.Equal(out, want) {
		t.Errorf("% x, want % x", out, want)
	}
}

func TestInnoHostile(t *testing.T) {
	files := innoFiles()
	w := innoWriter{version: "6.2.0", number: 60200, wide: true, fixed: 43}
	good := w.write(files...)
	list6 := func(patch func(le binary.ByteOrder, b []byte)) []byte {
		w := w
		w.patchList = func(b []byte) { patch(binary.LittleEndian, b) }
		return w.write(files...)
	}
	change := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	with := func(change func(*innoWriter)) []byte {
		w := w
		change(&w)
		return w.write(files...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"no table":                      {change(good, 500, 0), "the table of places was not found"},
		"the table's checksum":          {change(good, 500+36, 1), "the table of places was not found"},
		"a version to come":             {with(func(w *innoWriter) { w.version = "7.0.0" }), "version 7.0.0 is not read"},
		"a version that is none":        {with(func(w *innoWriter) { w.version = "x.y" }), `version "x.y" is not known`},
		"the script's checksum":         {change(good, 1000+innoNameSize+9+4+50, 0xff), "the script: the checksum differs"},
		"the block's checksum":          {change(good, 1000+innoNameSize, 0xff), "the script: the checksum differs"},
		"cut in the script":             {good[:1000+innoNameSize+50], "the data ends too early"},
		"cut in the data":               {good[:len(good)-100], "the data ends too early"},
		"damaged data":                  {change(good, len(good)-1000, 0xff, 0xff, 0xff), "inno setup: member {app}/program.exe: "},
		"a wrong checksum":              {list6(func(le binary.ByteOrder, b []byte) { b[36]++ }), "läs mich.txt inno setup: member {app}/doc/läs mich.txt: the checksum differs"},
		"a piece larger than its chunk": {list6(func(le binary.ByteOrder, b []byte) { le.PutUint64(b[74+20:], 1<<40) }), "{app}/program.exe inno setup: member {app}/program.exe: the data ends too early"},
		"a piece of 2^60":               {list6(func(le binary.ByteOrder, b []byte) { le.PutUint64(b[20:], 1<<60) }), "the list of data is damaged"},
		"a chunk elsewhere":             {list6(func(le binary.ByteOrder, b []byte) { le.PutUint32(b[8:], 1<<31) }), "the data ends too early"},
		"a slice elsewhere":             {list6(func(le binary.ByteOrder, b []byte) { le.PutUint32(b, 1) }), "its data begin in slice 2, which is another file"},
		"another file":                  {with(func(w *innoWriter) { w.external = true }), "setup-1.bin"},
		"encrypted":                     {with(func(w *innoWriter) { w.password = "no usual one" }), errPassword.Error()},
		"no names":                      {with(func(w *innoWriter) { w.fixed = 80 }), "file 2 ; file 3"},
		"and that is told":              {with(func(w *innoWriter) { w.fixed = 80 }), "the names of 2 files of 3 were not found"},
	} {
		got, err := list(t, filetype.Inno, c.in, Options{Passwords: DefaultPasswords})
		text := ""
		for _, e := range got {
			text += e.Path + " " + e.Err + "; "
		}
		text += fmt.Sprint(err)
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %.400s; want %q", name, text, c.want)
		}
	}
}

// TestInnoSearchBounded holds that a script full of what may be the list of files is not read without end: two long lists of which the second is a little
// shorter, so that each of its entries may begin one.
func TestInnoSearchBounded(t *testing.T) {
	w := innoWriter{version: "6.2.0", number: 60200, wide: true, fixed: 43}
	entry := func(b []byte) []byte {
		for _, s := range []string{"", "{a}", "", "", "", "", "", "", "", ""} {
			b = w.text(b, s)
		}
		return append(b, make([]byte, 43)...)
	}
	var script []byte
	for range 30_000 {
		script = entry(script)
	}
	script = append(script, "something else"...)
	for range 29_999 {
		script = entry(script)
	}
	z := &innoReader{version: 60200, wide: true, pieces: make([]innoPiece, 1<<20)}
	n := allocated(func() { z.name(script) })
	if n > 4*innoSearch {
		t.Errorf("%d bytes were allocated for a script of %d", n, len(script))
	}
	if len(z.pieces[0].names) != 30_000 {
		t.Errorf("%d names", len(z.pieces[0].names))
	}
}

// FuzzInno mends the checksums that guard table and blocks, so that damage gets past them.
func FuzzInno(f *testing.F) {
	files := []innoFile{{`{app}\x.txt`, "content", false}, {`{app}\y.exe`, "\xe8\x00\x00\x00\x00code", true}, {`{app}\z.txt`, "content", false}}
	for _, w := range []innoWriter{{version: "6.2.0", number: 60200, wide: true, fixed: 43}, {version: "5.5.7", number: 50507, fixed: 43, password: "infected"}, {version: "4.2.7", number: 40207, fixed: 42, stored: true}} {
		f.Add(w.write(files...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.Inno, b)
		le := binary.LittleEndian
		if len(b) < 1000+innoNameSize+9 {
			return
		}
		b = bytes.Clone(b)
		le.PutUint32(b[540:], crc32.ChecksumIEEE(b[500:540]))
		for at := 1000 + innoNameSize; at+9 <= len(b); {
			le.PutUint32(b[at:], crc32.ChecksumIEEE(b[at+4:at+9]))
			n := int(le.Uint32(b[at+4:]))
			at += 9
			if n < 0 || n > len(b)-at {
				break
			}
			for body := b[at : at+n]; len(body) > 4; {
				k := min(len(body), 4+innoCRCEach)
				le.PutUint32(body, crc32.ChecksumIEEE(body[4:k]))
				body = body[k:]
			}
			at += n
		}
		unpackAny(t, filetype.Inno, b)
	})
}
