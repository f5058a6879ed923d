package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// maxScript is the largest script that is read.
const maxScript = 32 << 20

// scriptStyles are how the kinds of script write a signature block: its first and last line, and what is around the base64 on those between.
var scriptStyles = []struct {
	name, first, last, prefix, suffix string
	host                              bool // for Windows Script Host, which signs the length of the text, too
}{
	{"PowerShell", "# SIG # Begin signature block", blockEnd, "# ", "", false},
	{"PowerShell XML", "<!-- SIG # Begin signature block -->", "<!-- " + blockEnd[2:] + " -->", "<!-- ", " -->", false},
	{"MOF", "/* SIG # Begin signature block */", "/* " + blockEnd[2:] + " */", "/* ", " */", false},
	{"JScript", "// SIG // Begin signature block", "// SIG // End signature block", "// SIG // ", "", true},
	{"VBScript", "'' SIG '' Begin signature block", "'' SIG '' End signature block", "'' SIG '' ", "", true},
	{"WSF", "<signature>", "</signature>", "** SIG ** ", "", true}, // an element, with signed text also behind it
}

const blockEnd = "# SIG # End signature block"

// script verifies the signature block of a script.
func (f *file) script() error {
	if f.size > maxScript {
		return f.noLargeScript()
	}
	b, err := f.bytes(0, f.size)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(b, []byte{0xfe, 0xff}) { // what is signed is little-endian all the same
		for i := 1; i < len(b); i += 2 {
			b[i-1], b[i] = b[i], b[i-1]
		}
	}
	wide := bytes.HasPrefix(b, []byte{0xff, 0xfe})
	encode := func(s string) []byte {
		if wide {
			return utf16LE(s)
		}
		return []byte(s)
	}
	trim := func(b []byte) []byte { return bytes.TrimSuffix(bytes.TrimSuffix(b, encode("\n")), encode("\r")) }
	for _, s := range scriptStyles {
		mark := encode(s.first)
		at := lastIndex(b, mark)
		if at < 0 || wide && at%2 != 0 {
			continue
		}
		if nl := encode("\n"); at > 0 && !bytes.HasSuffix(b[:at], nl) && !(wide && at == 2) {
			continue
		}
		text, block := trim(b[:at]), b[at+len(mark):]
		if s.last == "</signature>" && !bytes.HasPrefix(bytes.TrimPrefix(block, encode("\r")), encode("\n"+s.prefix)) {
			continue // an element of that name in some other XML
		}
		end := bytes.Index(block, encode(s.last))
		if end < 0 {
			return fmt.Errorf("the signature block has no end")
		}
		tail := block[end+len(encode(s.last)):]
		tail = bytes.TrimPrefix(bytes.TrimPrefix(tail, encode("\r")), encode("\n"))
		block = block[:end]
		if wide {
			block = narrow(block)
		}
		der, err := scriptBlock(string(block), s.prefix, s.suffix)
		if err != nil {
			return err
		}
		more := len(bytes.Trim(tail, "\x00 \t\r\n\x1a")) > 0
		if s.last == "</signature>" {
			text, more = append(text[:len(text):len(text)], tail...), false
		}
		f.authenticode(s.name, der, func(in *indirect, x *finding) {
			if !scriptMatches(text, wide, s.host, in) {
				why := ""
				if !wide && bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
					why = "; its text, which is not only ASCII, was taken for UTF-8 and for Windows-1252"
				}
				x.fail(changed, "changed after signing: its %s is not the signed one%s", digestName(in.hash), why)
			}
			if more {
				x.fail(appended, "text after the signature block")
			}
		})
		return nil
	}
	f.clickOnce(b)
	return nil
}

// lastIndex is bytes.LastIndex, which reads a text backwards, a byte at a time, where Index reads many at once.
func lastIndex(b, mark []byte) int {
	last := -1
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], mark)
		if i < 0 {
			return last
		}
		at += i
		last = at
	}
}

// noLargeScript says so only where there is a block.
func (f *file) noLargeScript() error {
	b, err := f.bytes(f.size-4096, 4096)
	if err == nil && bytes.Contains(b, []byte("End signature block")) {
		return fmt.Errorf("a signed script of %d bytes; at most %d are read", f.size, maxScript)
	}
	return nil
}

// scriptBlock returns the message in the lines of a block.
func scriptBlock(block, prefix, suffix string) ([]byte, error) {
	var text strings.Builder
	for i, line := range strings.Split(block, "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" {
			continue // the ends of the first line and of the last
		}
		line, ok1 := strings.CutPrefix(line, prefix)
		line, ok2 := strings.CutSuffix(line, suffix)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("line %d of the signature block is none of it", i)
		}
		text.WriteString(strings.TrimSpace(line))
	}
	der, err := base64.StdEncoding.DecodeString(text.String())
	if err != nil {
		return nil, fmt.Errorf("the signature block is no base64: %w", err)
	}
	return der, nil
}

// utf16LE widens ASCII.
func utf16LE(s string) []byte {
	b := make([]byte, 0, 2*len(s))
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return b
}

func narrow(b []byte) []byte {
	var n []byte
	for ; len(b) >= 2; b = b[2:] {
		c := b[0]
		if b[1] != 0 {
			c = '?'
		}
		n = append(n, c)
	}
	return n
}

// scriptMatches reports whether the text has the signed digest, which is over its UTF-16, and for Windows Script Host over the number of its units, too.
// What encoding the signer's machine took the bytes for is not said: a mark of byte order may have counted or not, and UTF-8 without such a mark was
// often taken for Windows-1252.
func scriptMatches(text []byte, wide, host bool, in *indirect) bool {
	if wide {
		bare := bytes.TrimPrefix(text, []byte{0xff, 0xfe})
		return sumWide(in, bare, host, units) || sumWide(in, text, host, units)
	}
	if utf8.Valid(text) {
		bare := bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		if sumWide(in, bare, host, runes) || len(bare) != len(text) && sumWide(in, text, host, runes) {
			return true
		}
	}
	return sumWide(in, text, host, latin)
}

// units, runes and latin take the first character from text and append its UTF-16LE to buf.
func units(text, buf []byte) (rest, out []byte) {
	n := min(2, len(text))
	return text[n:], append(buf, text[:n]...)
}

func runes(text, buf []byte) (rest, out []byte) {
	r, n := utf8.DecodeRune(text)
	if r > 0xffff {
		a, b := utf16.EncodeRune(r)
		return text[n:], append(buf, byte(a), byte(a>>8), byte(b), byte(b>>8))
	}
	return text[n:], append(buf, byte(r), byte(r>>8))
}

// latin is Windows-1252 as Windows reads it: a byte that stands for no character is the control of that number.
func latin(text, buf []byte) (rest, out []byte) {
	r := charmap.Windows1252.DecodeByte(text[0])
	if r == utf8.RuneError {
		r = rune(text[0])
	}
	return text[1:], append(buf, byte(r), byte(r>>8))
}

// sumWide compares the signed digest with that of text as UTF-16LE, a piece at a time.
func sumWide(in *indirect, text []byte, host bool, next func(text, buf []byte) (rest, out []byte)) bool {
	w := in.hash.New()
	var buf []byte
	size := 0
	for len(text) > 0 {
		text, buf = next(text, buf)
		if len(buf) > 32<<10 {
			size += len(buf)
			w.Write(buf)
			buf = buf[:0]
		}
	}
	if host {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(size+len(buf))/2)
	}
	w.Write(buf)
	return bytes.Equal(w.Sum(nil), in.digest)
}
