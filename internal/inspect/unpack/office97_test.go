package unpack

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
)

// office97 encrypts as Word and Excel 97 to 2003 do: by RC4 with a key of 40 bits, or of so many as the CryptoAPI makes it.
type office97 struct {
	password string
	bits     int // 0: not by the CryptoAPI
}

const office97Salt = "salt of password"

func (o office97) key(block int) []byte {
	n := binary.LittleEndian.AppendUint32(nil, uint32(block))
	if o.bits == 0 {
		h := md5.Sum([]byte(utf16Of(o.password)))
		h = md5.Sum([]byte(strings.Repeat(string(h[:5])+office97Salt, 16)))
		h = md5.Sum(append(h[:5:5], n...))
		return h[:]
	}
	h := sha1.Sum([]byte(office97Salt + utf16Of(o.password)))
	h = sha1.Sum(append(h[:], n...))
	if o.bits == 40 {
		return append(h[:5:5], make([]byte, 11)...)
	}
	return h[:o.bits/8]
}

// seal encrypts what is not plain of a stream, in blocks.
func (o office97) seal(b []byte, block int, plain func(i int) bool) []byte {
	b = bytes.Clone(b)
	for at := 0; at < len(b); at += block {
		keys := make([]byte, min(block, len(b)-at))
		c, err := rc4.NewCipher(o.key(at / block))
		if err != nil {
			panic(err)
		}
		c.XORKeyStream(keys, keys)
		for i, k := range keys {
			if !plain(at + i) {
				b[at+i] ^= k
			}
		}
	}
	return b
}

// info describes the encryption.
func (o office97) info() []byte {
	input := []byte("verifier's input")
	h := md5.Sum(input)
	sum := h[:]
	if o.bits > 0 {
		h := sha1.Sum(input)
		sum = h[:]
	}
	sealed := o.seal(append(input, sum...), 512, func(int) bool { return false })
	if o.bits == 0 {
		return []byte("\x01\x00\x01\x00" + office97Salt + string(sealed))
	}
	le := binary.LittleEndian
	var header []byte
	for _, v := range []uint32{4, 0, 0x6801, 0x8004, uint32(o.bits), 1, 0, 0} {
		header = le.AppendUint32(header, v)
	}
	header = append(header, utf16Of("Microsoft Enhanced Cryptographic Provider v1.0\x00")...)
	b := append([]byte("\x02\x00\x02\x00\x04\x00\x00\x00"), le.AppendUint32(nil, uint32(len(header)))...)
	b = append(append(b, header...), "\x10\x00\x00\x00"+office97Salt...)
	return append(append(append(b, sealed[:16]...), 20, 0, 0, 0), sealed[16:]...)
}

// xlsRecords are a workbook behind the record that describes its encryption, with a macro sheet, and which of its bytes are never encrypted.
func xlsRecords(pass []byte) (b []byte, plain []bool) {
	record := func(id uint16, clear int, data string) {
		le := binary.LittleEndian
		b = append(le.AppendUint16(le.AppendUint16(b, id), uint16(len(data))), data...)
		for i := range 4 + len(data) {
			plain = append(plain, i < 4+clear)
		}
	}
	record(0x809, 16, "\x00\x06\x05\x00"+strings.Repeat("\x00", 12))
	record(0x2F, len(pass), string(pass))
	record(0xE1, 2, "\xb0\x04")
	record(0x85, 4, "\x10\x10\x00\x00\x00\x01\x05\x00Macro")
	record(0x3C, 0, strings.Repeat("what the workbook says ", 300))
	record(0x85, 4, "\x10\x20\x00\x00\x00\x00\x05\x00Sheet")
	record(0x0A, 0, "")
	return b, plain
}

// xlsOf encrypts a workbook.
func xlsOf(o office97) (in, workbook []byte) {
	workbook, plain := xlsRecords(append([]byte{1, 0}, o.info()...))
	return compoundOf("Workbook", string(o.seal(workbook, 1024, func(i int) bool { return plain[i] }))), workbook
}

// docOf encrypts a document of Word.
func docOf(o office97) (in []byte, word, table, data string) {
	info := string(o.info())
	fib := make([]byte, 68)
	binary.LittleEndian.PutUint16(fib, 0xA5EC)
	binary.LittleEndian.PutUint16(fib[2:], 0xC1)
	fib[11] = 3 // encrypted, and the table is 1Table
	binary.LittleEndian.PutUint32(fib[14:], uint32(len(info)))
	word = string(fib) + strings.Repeat("what the document says ", 300)
	table = info + strings.Repeat("what the table says ", 300)
	data = strings.Repeat("data of pictures ", 300)
	seal := func(s string, plain int) string {
		return string(o.seal([]byte(s), 512, func(i int) bool { return i < plain }))
	}
	return compoundOf("WordDocument", seal(word, len(fib)), "1Table", seal(table, len(info)), "Data", seal(data, 0)), word, table, data
}

// TestOffice97 opens what this test encrypts, which msoffcrypto-tool opens, too.
func TestOffice97(t *testing.T) {
	for _, o := range []office97{{"infected", 0}, {"infected", 128}, {"infected", 40}, {"infected", 56}, {"VelvetSweatshop", 0}, {"VelvetSweatshop", 128}, {"Grüße", 0}} {
		xls, workbook := xlsOf(o)
		doc, word, table, data := docOf(o)
		for _, c := range []struct {
			name, typ string
			in        []byte
			streams   []string // and from where on the reference gives the same
			from      map[string]int
		}{
			{"xls", "OLE Excel workbook, encrypted (XLS)", xls, []string{"Workbook", string(workbook)}, map[string]int{"Workbook": 20 + 4 + 2 + len(o.info())}},
			{"doc", "OLE Word document, encrypted (DOC)", doc, []string{"WordDocument", word, "1Table", table, "Data", data}, map[string]int{"WordDocument": 68, "1Table": len(o.info())}},
		} {
			t.Run(fmt.Sprint(c.name, o), func(t *testing.T) {
				if told := filetype.Detect(bytes.NewReader(c.in), int64(len(c.in))); told.Name != c.typ {
					t.Errorf("told as %v", told)
				}
				read := func(passwords ...string) (map[string]string, map[string]string, error) {
					got, by := map[string]string{}, map[string]string{}
					err := Each(context.Background(), filetype.OLE, bytes.NewReader(c.in), int64(len(c.in)), Options{Passwords: passwords}, func(m Member) error {
						b, err := io.ReadAll(m.Reader)
						got[m.Path], by[m.Path] = string(b), m.Password
						return err
					})
					return got, by, err
				}
				got, by, err := read("wrong", "infected", "Grüße")
				if err != nil {
					t.Error(err)
				}
				dir := t.TempDir()
				in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
				if err := os.WriteFile(in, c.in, 0o600); err != nil {
					t.Fatal(err)
				}
				run(t, dir, "msoffcrypto-tool", "-p", o.password, in, out)
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := compound.Open(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(c.streams); i += 2 {
					name, want := c.streams[i], c.streams[i+1]
					if got[name] != want || by[name] != o.password {
						t.Errorf("%s differs, by the password %q", name, by[name])
					}
					from := c.from[name]
					if b := string(theirs.Read(theirs.Find(name), 1<<20)); len(b) < from || b[from:] != want[from:] {
						t.Errorf("%s of msoffcrypto-tool differs", name)
					}
				}
				if o.password == "infected" {
					// Without the password, the streams as they are.
					got, by, err := read("wrong")
					if name := c.streams[0]; len(got) != len(c.streams)/2 || got[name] == c.streams[1] || by[name] != "" || fmt.Sprint(err) != "ole: "+errPassword.Error() {
						t.Errorf("%d members, %v", len(got), err)
					}
				}
			})
		}
	}
}

// TestEncryptedPresentation names one, which is not decrypted.
func TestEncryptedPresentation(t *testing.T) {
	for token, want := range map[string]string{"\xdf\xc4\xd1\xf3": "OLE PowerPoint presentation, encrypted (PPT)", "\x5f\xc0\x91\xe3": "OLE PowerPoint presentation (PPT)"} {
		b := compoundOf("PowerPoint Document", "x", "Current User", "\x00\x00\xf6\x0f\x18\x00\x00\x00\x14\x00\x00\x00"+token+"\x00\x00\x00\x00")
		if told := filetype.Detect(bytes.NewReader(b), int64(len(b))); told.Name != want {
			t.Errorf("told as %q, want %q", told.Name, want)
		}
	}
}

// TestOfficeXOR opens workbooks that are obfuscated by the password that Excel tries by itself, whose key and verifier are well known.
func TestOfficeXOR(t *testing.T) {
	for name, pass := range map[string]string{"Workbook": "\x00\x00\x59\xb3\x0a\x9a", "Book": "\x59\xb3\x0a\x9a"} {
		want, plain := xlsRecords([]byte(pass))
		b := bytes.Clone(want)
		key := append([]byte("VelvetSweatshop"), 0xBB)
		start, size := 0, 0
		for i := range b {
			if i == start+size { // the next record
				start, size = i, 4+int(binary.LittleEndian.Uint16(b[i+2:]))
			}
			if !plain[i] {
				k := (i + size - 4) % 16
				b[i] = bits.RotateLeft8(b[i], 5) ^ bits.RotateLeft8(key[k]^"\x59\xb3"[k&1], 7)
			}
		}
		got, err := list(t, filetype.OLE, compoundOf(name, string(b)), Options{})
		if len(got) != 1 || got[0].SHA256 != sum(want) || err != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
		got, err = list(t, filetype.OLE, compoundOf(name, strings.Replace(string(b), pass, "\x00\x00\x59\xb3\x0a\x9b"[6-len(pass):], 1)), Options{Passwords: []string{"", "a password of more than 15"}})
		if len(got) != 1 || err == nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// FuzzOffice97 reads bytes as a workbook, and as a document and its table.
func FuzzOffice97(f *testing.F) {
	for _, o := range []office97{{"infected", 0}, {"infected", 128}} {
		for _, name := range []string{"Workbook", "WordDocument"} {
			in, _ := xlsOf(o)
			if name == "WordDocument" {
				in, _, _, _ = docOf(o)
			}
			c, err := compound.Open(bytes.NewReader(in), int64(len(in)))
			if err != nil {
				f.Fatal(err)
			}
			table := []byte{}
			if e := c.Find("1Table"); e != nil {
				table = c.Read(e, 1<<20)
			}
			f.Add(c.Read(c.Find(name), 1<<20), table)
		}
	}
	f.Fuzz(func(t *testing.T, b, table []byte) {
		if len(b)+len(table) > 60_000 { // what the table of sectors of compoundOf takes
			return
		}
		unpackAny(t, filetype.OLE, compoundOf("Workbook", string(b)))
		unpackAny(t, filetype.OLE, compoundOf("WordDocument", string(b), "1Table", string(table)))
	})
}
