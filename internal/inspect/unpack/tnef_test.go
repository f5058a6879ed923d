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

// tnefAttribute is one with its checksum.
func tnefAttribute(level byte, id uint32, data string) string {
	le := binary.LittleEndian
	sum := uint16(0)
	for i := range len(data) {
		sum += uint16(data[i])
	}
	b := le.AppendUint32([]byte{level}, id)
	b = append(le.AppendUint32(b, uint32(len(data))), data...)
	return string(le.AppendUint16(b, sum))
}

func tnefOf(attributes ...string) []byte {
	return []byte("\x78\x9f\x3e\x22\x01\x00" + tnefAttribute(1, 0x00089006, "\x00\x00\x01\x00") + strings.Join(attributes, ""))
}

// mapiOf is a list of properties of one value of bytes each: a tag and the value.
func mapiOf(list ...any) string {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(list)/2))
	for i := 0; i < len(list); i += 2 {
		tag, value := uint32(list[i].(int)), list[i+1].(string)
		b = le.AppendUint32(b, tag)
		if tag>>16 >= 0x8000 { // one that is named
			b = append(append(b, make([]byte, 16)...), "\x01\x00\x00\x00\x06\x00\x00\x00a\x00b\x00\x00\x00\x00\x00"...)
		}
		b = le.AppendUint32(le.AppendUint32(b, 1), uint32(len(value)))
		b = append(b, value...)
		b = append(b, make([]byte, -len(value)&3)...)
	}
	return string(b)
}

// lzfu packs RTF as literals, and one reference to what the dictionary holds.
func lzfu(s string) string {
	le := binary.LittleEndian
	var data []byte
	at := len(rtfWords)
	if rest, ok := strings.CutPrefix(s, `{\rtf1`); ok {
		data = append(data, 1, 0, 4) // six bytes from the dictionary's beginning
		at += 6
		for i := range 7 {
			data = append(data, rest[i])
		}
		s, at = rest[7:], at+7
	}
	for len(s) >= 8 {
		data = append(append(data, 0), s[:8]...)
		s, at = s[8:], at+8
	}
	data = append(append(data, 1<<len(s)), s...)
	at += len(s)
	data = append(data, byte(at>>4), byte(at<<4))
	b := le.AppendUint32(nil, uint32(len(data)+12))
	b = append(le.AppendUint32(b, 1000), "LZFu\x00\x00\x00\x00"...)
	return string(append(b, data...))
}

func TestTNEF(t *testing.T) {
	begin := tnefAttribute(2, tnefAttachBegin, "\x01\x00"+strings.Repeat("\x00", 12))
	content := tnefAttribute(2, tnefAttachData, "content")
	title := tnefAttribute(2, tnefAttachTitle, "INVOIC~1.DOC\x00")
	const rtf = `{\rtf1\ansi a text {\b that} is no attachment}`
	inner := string(tnefOf(begin, title, content))
	whole := tnefOf(begin, title, content)
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"short name": {whole, []entry{member("INVOIC~1.DOC", "content")}, ""},
		"long name behind the content": {tnefOf(begin, title, content, tnefAttribute(2, tnefAttachMAPI, mapiOf(0x8001001E, "named", 0x3704001E, "INVOIC~1.DOC\x00", 0x3707001F, utf16Of("invoice ü.doc\x00"), 0x3001001E, "shown\x00"))),
			[]entry{member("invoice ü.doc", "content")}, ""},
		"two":           {tnefOf(begin, content, begin, title, tnefAttribute(2, tnefAttachData, "second")), []entry{member("attachment-1", "content"), member("INVOIC~1.DOC", "second")}, ""},
		"message in it": {tnefOf(begin, title, tnefAttribute(2, tnefAttachMAPI, mapiOf(0x3701000D, strings.Repeat("i", 16)+inner))), []entry{member("INVOIC~1.DOC.tnef", inner)}, ""},
		"bodies": {tnefOf(tnefAttribute(1, tnefBody, "text"), tnefAttribute(1, tnefMessage, mapiOf(0x10090102, lzfu(rtf), 0x10130102, "<html>"))),
			[]entry{member("body.txt", "text"), member("body.rtf", rtf), member("body.html", "<html>")}, ""},
		"path":            {tnefOf(begin, tnefAttribute(2, tnefAttachTitle, "..\\../x\x00"), content), []entry{member(".._x", "content")}, ""},
		"padded":          {append(bytes.Clone(whole), "\r\n"...), []entry{member("INVOIC~1.DOC", "content")}, ""},
		"cut":             {whole[:len(whole)-5], []entry{{Path: "INVOIC~1.DOC", Size: 4, SHA256: sum([]byte("cont")), Err: "tnef: member INVOIC~1.DOC: the data ends too early"}}, "tnef: the data ends too early"},
		"damaged":         {append(bytes.Clone(whole), "something else"...), []entry{member("INVOIC~1.DOC", "content")}, "tnef: no attribute begins at 88"},
		"2^32 properties": {tnefOf(begin, title, content, tnefAttribute(2, tnefAttachMAPI, "\xff\xff\xff\xff")), []entry{member("INVOIC~1.DOC", "content")}, "tnef: 4294967295 properties claimed where at most 65536 are read"},
		"2^32 values":     {tnefOf(begin, title, content, tnefAttribute(2, tnefAttachMAPI, "\x01\x00\x00\x00\x03\x10\x01\x66\xff\xff\xff\xffabcd")), []entry{member("INVOIC~1.DOC", "content")}, "tnef: the data ends too early"},
		"bad RTF":         {tnefOf(tnefAttribute(1, tnefMessage, mapiOf(0x10090102, lzfu(rtf)[:30]))), []entry{{Path: "body.rtf", SHA256: sum(nil), Err: "tnef: member body.rtf: the data ends too early"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.TNEF, c.in, Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(sorted(c.want), sorted(got)); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTNEFPeers compares the messages of real programs, from the source package of libytnef, with what tnef and ytnef take out of them.
func TestTNEFPeers(t *testing.T) {
	for _, name := range []string{"one-file.tnef", "multi-value-attribute.tnef", "rtf.tnef", "long-filename.tnef", "missing-filenames.tnef", "winmail.dat"} {
		path := realdata.Sample(t, "libytnef", "test-data", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list(t, filetype.TNEF, b, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var ours []string
		for i, e := range got {
			if e.Path == "body.rtf" {
				got[i].Path = "message.rtf"
			}
			if !strings.HasPrefix(e.Path, "body.") {
				ours = append(ours, e.SHA256)
			}
		}
		out := t.TempDir()
		run(t, out, "tnef", "--save-body", "-C", out, path)
		if diff := cmp.Diff(sorted(tree(t, out)), sorted(got)); diff != "" {
			t.Errorf("%s (-tnef +ours):\n%s", name, diff)
		}
		out = t.TempDir()
		run(t, out, "ytnef", "-f", out, path)
		var theirs []string
		for _, e := range tree(t, out) {
			if ext := filepath.Ext(e.Path); ext != ".vcf" && ext != ".rtf" { // which it writes of its own
				theirs = append(theirs, e.SHA256)
			}
		}
		if diff := cmp.Diff(bag(theirs), bag(ours)); diff != "" {
			t.Errorf("%s: hashes (-ytnef +ours):\n%s", name, diff)
		}
	}
}

func FuzzTNEF(f *testing.F) {
	f.Add(tnefOf(tnefAttribute(2, tnefAttachBegin, "\x01\x00"), tnefAttribute(2, tnefAttachTitle, "a.doc\x00"), tnefAttribute(2, tnefAttachData, "content"),
		tnefAttribute(2, tnefAttachMAPI, mapiOf(0x8001001E, "named", 0x3707001F, utf16Of("b.doc\x00")))))
	f.Add(tnefOf(tnefAttribute(1, tnefBody, "text"), tnefAttribute(1, tnefMessage, mapiOf(0x10090102, lzfu(`{\rtf1\ansi text}`), 0x10130102, "<html>"))))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.TNEF, b) })
}
