package signature

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// maxScript is the largest script that is read.
const maxScript = 32 << 20

// scriptStyles are how the kinds of script write a line of the signature block.
var scriptStyles = []struct {
	name, begin, end string // around "Begin signature block" and base64
	windowsHost      bool   // the digest of Windows Script Host is not published
}{
	{"PowerShell", "# SIG # ", "", false},
	{"PowerShell XML", "<!-- SIG # ", " -->", false},
	{"MOF", "/* SIG # ", " */", false},
	{"JScript", "// SIG // ", "", true},
	{"VBScript", "'' SIG '' ", "", true},
	{"WSF", "** SIG ** ", "", true},
}

const blockBegin, blockEnd = "Begin signature block", "End signature block"

// script verifies the signature block at the end of a script.
func (f *file) script() error {
	if f.size > maxScript {
		return f.noLargeScript()
	}
	b, err := f.bytes(0, f.size)
	if err != nil {
		return err
	}
	wide := bytes.HasPrefix(b, []byte{0xff, 0xfe})
	encode := func(s string) []byte {
		if wide {
			return utf16LE(s)[:2*len(s)]
		}
		return []byte(s)
	}
	for _, s := range scriptStyles {
		mark := encode(s.begin + blockBegin + s.end)
		at := bytes.LastIndex(b, mark)
		if at < 0 || wide && at%2 != 0 {
			continue
		}
		if nl := encode("\n"); at > 0 && !bytes.HasSuffix(b[:at], nl) && !(wide && at == 2) {
			continue
		}
		text := b[:at]
		for _, nl := range []string{"\n", "\r"} {
			text = bytes.TrimSuffix(text, encode(nl))
		}
		block := b[at+len(mark):]
		if wide {
			block = narrow(block)
		}
		der, tail, err := scriptBlock(string(block), s.begin, s.end)
		if err != nil {
			return err
		}
		f.authenticode(s.name, der, func(in *indirect, x *finding) {
			switch {
			case s.windowsHost:
				x.fail(unchecked, "how Windows Script Host computes the digest is not published; only the signer was verified")
			case !scriptMatches(text, wide, in):
				x.fail(changed, "changed after signing: its %s is not the signed one", digestName(in.hash))
			}
			if tail {
				x.fail(appended, "text after the signature block")
			}
		})
		return nil
	}
	return nil
}

// noLargeScript says so only where there is a block.
func (f *file) noLargeScript() error {
	b, err := f.bytes(f.size-4096, 4096)
	if err == nil && bytes.Contains(b, []byte(blockEnd)) {
		return fmt.Errorf("a signed script of %d bytes; at most %d are read", f.size, maxScript)
	}
	return nil
}

// scriptBlock returns the message in a block, and whether there is text after the block.
func scriptBlock(block, begin, end string) ([]byte, bool, error) {
	var text strings.Builder
	lines := strings.Split(block, "\n")
	// PowerShell's styles repeat only the comment's sign on the lines, those of Windows Script Host the word SIG, too.
	short := strings.Replace(begin, "SIG # ", "", 1)
	for i, line := range lines[min(1, len(lines)):] {
		line = strings.TrimRight(line, "\r")
		if line == begin+blockEnd+end {
			rest := strings.TrimSpace(strings.Join(lines[i+2:], ""))
			der, err := base64.StdEncoding.DecodeString(text.String())
			if err != nil {
				return nil, false, fmt.Errorf("the signature block is no base64: %w", err)
			}
			return der, rest != "", nil
		}
		line, ok1 := strings.CutPrefix(line, short)
		line, ok2 := strings.CutSuffix(line, end)
		if !ok1 || !ok2 {
			return nil, false, fmt.Errorf("line %d of the signature block is none of it", i+1)
		}
		text.WriteString(strings.TrimSpace(line))
	}
	return nil, false, fmt.Errorf("the signature block has no end")
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

// scriptMatches reports whether the text has the signed digest, which is over its UTF-16. What encoding the signer's machine took the bytes for
// is not said: a mark of byte order may have counted or not, and bytes that are no UTF-8 are taken for Windows-1252.
func scriptMatches(text []byte, wide bool, in *indirect) bool {
	try := func(b []byte) bool { return bytes.Equal(sum(in.hash, b), in.digest) }
	if wide {
		return try(text) || try(bytes.TrimPrefix(text, []byte{0xff, 0xfe}))
	}
	if utf8.Valid(text) {
		bare := bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		if sumWide(in.hash, bare, in.digest) || len(bare) != len(text) && sumWide(in.hash, text, in.digest) {
			return true
		}
	}
	latin, err := charmap.Windows1252.NewDecoder().Bytes(text)
	return err == nil && sumWide(in.hash, latin, in.digest)
}

// sumWide compares the digest of text as UTF-16LE, a piece at a time.
func sumWide(h crypto.Hash, text, want []byte) bool {
	w := h.New()
	var buf []byte
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r > 0xffff {
			a, b := utf16.EncodeRune(r)
			buf = append(buf, byte(a), byte(a>>8), byte(b), byte(b>>8))
		} else {
			buf = append(buf, byte(r), byte(r>>8))
		}
		if len(buf) > 32<<10 {
			w.Write(buf)
			buf = buf[:0]
		}
	}
	w.Write(buf)
	return bytes.Equal(w.Sum(nil), want)
}
