package unpack

import (
	"bytes"
	"encoding/base64"
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

// uuOf encodes as uuencode does.
func uuOf(name, content string) string {
	var b strings.Builder
	digit := func(v byte) byte { return (v&63+63)&63 + 0x21 } // a grave accent for zero
	fmt.Fprintf(&b, "begin 644 %s\n", name)
	for line := content; line != ""; {
		part := line[:min(45, len(line))]
		line = line[len(part):]
		b.WriteByte(digit(byte(len(part))))
		padded := part + "\x00\x00"
		for i := 0; i < len(part); i += 3 {
			x, y, z := padded[i], padded[i+1], padded[i+2]
			b.Write([]byte{digit(x >> 2), digit(x<<4 | y>>4), digit(y<<2 | z>>6), digit(z)})
		}
		b.WriteByte('\n')
	}
	return b.String() + "`\nend\n"
}

func yencOf(name, content string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=ybegin line=128 size=%d name=%s\r\n", len(content), name)
	for i := range len(content) {
		c := content[i] + 42
		if c == 0 || c == '\n' || c == '\r' || c == '=' {
			b.WriteByte('=')
			c += 64
		}
		b.WriteByte(c)
		if i%128 == 127 {
			b.WriteString("\r\n")
		}
	}
	fmt.Fprintf(&b, "\r\n=yend size=%d crc32=%08x\r\n", len(content), crc32.ChecksumIEEE([]byte(content)))
	return b.String()
}

// binHexOf encodes two forks as BinHex 4 does, runs undone where there are any of four bytes and more.
func binHexOf(name, data, resource string) string {
	be := binary.BigEndian
	var packed []byte
	add := func(s string) {
		b := binHexReader{}
		for i := range len(s) {
			b.sum(s[i])
		}
		s += string(be.AppendUint16(nil, b.crc))
		for len(s) > 0 {
			n := 1
			for n < len(s) && n < 255 && s[n] == s[0] {
				n++
			}
			if n < 4 || s[0] == 0x90 {
				n = 1
			}
			if packed = append(packed, s[0]); s[0] == 0x90 {
				packed = append(packed, 0)
			} else if n > 1 {
				packed = append(packed, 0x90, byte(n))
			}
			s = s[n:]
		}
	}
	header := append([]byte{byte(len(name))}, name+"\x00TEXTttxt\x00\x00"...)
	add(string(be.AppendUint32(be.AppendUint32(header, uint32(len(data))), uint32(len(resource)))))
	add(data)
	add(resource)
	var bits bitsBig
	var out strings.Builder
	out.WriteString("(This file must be converted with BinHex 4.0)\n\n:")
	for _, c := range packed {
		bits.write(uint32(c), 8)
	}
	text := base64.NewEncoding(binHexDigits).WithPadding(base64.NoPadding).EncodeToString([]byte(bits.flush()))
	for ; len(text) > 64; text = text[64:] {
		out.WriteString(text[:64] + "\n")
	}
	return out.String() + text + ":\n"
}

func TestTextCode(t *testing.T) {
	content := strings.Repeat("content that is long enough for several lines\n", 10) + strings.Repeat("\x00", 300) + "\x90\x90\x90\x90\x90=\x13\xe0\xd6"
	apple := func(kind byte) string {
		be := binary.BigEndian
		b := append([]byte{0, 5, 0x16, kind, 0, 2, 0, 0}, make([]byte, 16)...)
		b = be.AppendUint16(b, 3)
		for _, v := range []uint32{3, 62, 5, 1, 67, 4, 2, 71, 8} {
			b = be.AppendUint32(b, v)
		}
		return string(b) + "a.txtdataresource"
	}
	prose := "From the archive:\n\nbegin with this line\n\n"
	for name, c := range map[string]struct {
		format filetype.Format
		in     string
		want   []entry
		err    string
	}{
		"uu":                 {filetype.UUEncode, uuOf("a.bin", content), []entry{member("a.bin", content)}, ""},
		"uu behind text":     {filetype.UUEncode, prose + uuOf("dir/a b.bin", content) + "more\n" + uuOf("b", "x"), []entry{member("dir_a b.bin", content), member("b", "x")}, ""},
		"uu base64":          {filetype.UUEncode, "begin-base64 644 a.bin\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\n====\n" + uuOf("b", "x"), []entry{member("a.bin", content), member("b", "x")}, ""},
		"uu of nothing":      {filetype.UUEncode, uuOf("a", ""), []entry{member("a", "")}, ""},
		"uu without end":     {filetype.UUEncode, strings.TrimSuffix(uuOf("a", "abc"), "end\n"), []entry{member("a", "abc")}, "uuencode: the data ends too early"},
		"yEnc":               {filetype.YEnc, yencOf("a b.bin", content), []entry{member("a b.bin", content)}, ""},
		"yEnc behind text":   {filetype.YEnc, prose + yencOf("a", content) + yencOf("b", "x"), []entry{member("a", content), member("b", "x")}, ""},
		"yEnc part":          {filetype.YEnc, "=ybegin part=2 line=128 size=9 name=a\r\n=ypart begin=4 end=6\r\n" + "\x8b\x8c\x8d\r\n=yend size=3 part=2 pcrc32=352441c2\r\n", []entry{member("a.002", "abc")}, ""},
		"yEnc checksum":      {filetype.YEnc, strings.Replace(yencOf("a", "abc"), "crc32=3", "crc32=4", 1), []entry{{Path: "a", Size: 3, SHA256: sum([]byte("abc")), Err: "yenc: member a: the checksum differs"}}, ""},
		"yEnc cut":           {filetype.YEnc, "=ybegin line=128 size=9 name=a\r\n\x8b\x8c\x8d", []entry{{Path: "a", Size: 3, SHA256: sum([]byte("abc")), Err: "yenc: member a: the data ends too early"}}, "yenc: the data ends too early"},
		"BinHex":             {filetype.BinHex, binHexOf("a.bin", content, "resource"), []entry{member("a.bin", content), member("a.bin.rsrc", "resource")}, ""},
		"BinHex data":        {filetype.BinHex, "text in front\n" + binHexOf("x/y", "d", ""), []entry{member("x_y", "d")}, ""},
		"BinHex resource":    {filetype.BinHex, binHexOf("a", "", "r"), []entry{member("a.rsrc", "r")}, ""},
		"BinHex cut":         {filetype.BinHex, binHexOf("a", content, "r")[:400], []entry{{Path: "a", Size: 238, SHA256: sum([]byte(content[:238])), Err: "binhex: member a: the data ends too early"}}, "binhex: the data ends too early"},
		"BinHex runs of one": {filetype.BinHex, "(This file must be converted with BinHex 4.0)\n:" + strings.Repeat("C!'J\"", 10), nil, ""},
		"AppleSingle":        {filetype.AppleDouble, apple(0), []entry{member("a.txt", "data"), member("a.txt.rsrc", "resource")}, ""},
		"AppleDouble cut":    {filetype.AppleDouble, apple(7)[:75], []entry{member("a.txt", "data"), {Path: "a.txt.rsrc", Size: 4, SHA256: sum([]byte("reso")), Err: "appledouble: member a.txt.rsrc: the data ends too early"}}, ""},
		"ActiveMime":         {filetype.ActiveMime, "ActiveMime\x00\x00\x01\xf0\x04\x00\x00\x00\xff\xff\xff\xff" + strings.Repeat("\x00", 28) + deflated(content), []entry{member("object.ole", content)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, c.format, []byte(c.in), Options{})
			if name != "BinHex runs of one" {
				if err == nil && c.err != "" || err != nil && err.Error() != c.err {
					t.Errorf("error %v, want %q", err, c.err)
				}
			} else if err == nil {
				t.Error("no error")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if told := filetype.Detect(strings.NewReader(c.in), int64(len(c.in))); told.Format != c.format {
				t.Errorf("told as %v", told)
			}
		})
	}
	if told := filetype.Detect(strings.NewReader(prose), int64(len(prose))); told.Format != filetype.Text {
		t.Errorf("prose is told as %v", told)
	}
}

// TestTextCodePeers reads what uuencode, uuenview and binhex of Debian make, and compares what uudeview takes out.
func TestTextCodePeers(t *testing.T) {
	dir := t.TempDir()
	for name, b := range sources(300) {
		content := string(b)
		if content == "" {
			continue
		}
		name = filepath.Base(name)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		for tool, c := range map[string]struct {
			format filetype.Format
			out    []byte
		}{
			"uuencode":    {filetype.UUEncode, run(t, dir, "uuencode", name, name)},
			"uuencode -m": {filetype.UUEncode, run(t, dir, "uuencode", "-m", name, name)},
			"uuenview -u": {filetype.UUEncode, run(t, dir, "uuenview", "-u", name)},
			"uuenview -y": {filetype.YEnc, run(t, dir, "uuenview", "-y", name)},
			"binhex":      {filetype.BinHex, run(t, dir, "binhex", "-d", name)},
		} {
			if told := filetype.Detect(bytes.NewReader(c.out), int64(len(c.out))); told.Format != c.format {
				t.Errorf("%s: %s is told as %v", tool, name, told)
			}
			got, err := list(t, c.format, c.out, Options{})
			if err != nil || len(got) != 1 || got[0].SHA256 != sum(b) {
				t.Errorf("%s: %s: %v, %v", tool, name, got, err)
			}
		}
	}
	// And the other way round. uudeview passes over what is short.
	out := t.TempDir()
	var content []byte
	for i := range 20_000 {
		content = append(content, byte(i*i>>3), 0x90)
	}
	content = append(content, make([]byte, 1000)...)
	for kind, text := range map[string]string{"uu": uuOf("a.bin", string(content)), "yenc": yencOf("b.bin", string(content)), "hqx": binHexOf("c.bin", string(content), "")} {
		if err := os.WriteFile(filepath.Join(out, kind+".txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, out, "uudeview", "-i", "-q", kind+".txt")
	}
	for _, made := range []string{"a.bin", "b.bin", "c.bin"} {
		b, err := os.ReadFile(filepath.Join(out, made))
		if err != nil || !bytes.Equal(b, content) {
			t.Errorf("uudeview makes %d bytes of %d in %s, %v", len(b), len(content), made, err)
		}
	}
}

func FuzzTextCode(f *testing.F) {
	f.Add(byte(0), []byte(uuOf("a", "content")+"begin-base64 644 b\nYWJj\n====\n"))
	f.Add(byte(1), []byte(yencOf("a", "content =\x00")))
	f.Add(byte(2), []byte(binHexOf("a", strings.Repeat("a", 300)+"\x90", "resource")))
	f.Add(byte(3), []byte("\x00\x05\x16\x07\x00\x02\x00\x00"+strings.Repeat("\x00", 16)+"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x26\x00\x00\x00\x01x"))
	f.Add(byte(4), []byte("ActiveMime\x00\x00\x01\xf0"+deflated("x")))
	formats := []filetype.Format{filetype.UUEncode, filetype.YEnc, filetype.BinHex, filetype.AppleDouble, filetype.ActiveMime}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		unpackAny(t, formats[int(k)%len(formats)], b)
		filetype.Detect(bytes.NewReader(b), int64(len(b)))
	})
}

// TestCarriersClamAV finds the program of Debian's clamav-testfiles in each of its carriers.
func TestCarriersClamAV(t *testing.T) {
	program, err := os.ReadFile(clamAV(t, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"clam.pdf", "clam.tnef", "clam.exe.binhex", "clam.exe.html"} {
		b, err := os.ReadFile(clamAV(t, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := list(t, filetype.Detect(bytes.NewReader(b), int64(len(b))).Format, b, Options{})
		found := false
		for _, e := range got {
			found = found || e.SHA256 == sum(program)
		}
		if err != nil || !found {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
