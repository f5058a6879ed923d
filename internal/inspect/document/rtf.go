package document

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// readRTF tells the objects in an RTF file: their classes as the text says and as their own bytes say, and whether they are opened by themselves.
func readRTF(t *teller, r io.ReaderAt, size int64) error {
	b := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 256<<10)
	objects, update, templates := 0, false, 0
	var classes []string
	add := func(c string) {
		if c = clip(c); c != "" && len(c) <= 128 && len(classes) < 32 && !slices.Contains(classes, c) {
			classes = append(classes, c)
		}
	}
	for {
		c, err := b.ReadByte()
		if err != nil {
			break
		}
		if c != '\\' {
			continue
		}
		word := controlWord(b)
		switch word {
		case "bin":
			// Bytes follow that are no text. How many the number said is not trusted: looking into them does no harm.
		case "objdata":
			objects++
			add(objectClass(hexRun(b, 512)))
		case "objclass":
			add(plainText(b, 128))
		case "objupdate", "objautlink":
			update = true
		case "template":
			if s := strings.TrimSpace(plainText(b, 1024)); strings.Contains(s, "://") || strings.HasPrefix(s, `\\`) {
				if templates++; templates <= 8 {
					t.active("RTF loads template: %s", s)
				}
			}
		}
	}
	if objects > 0 {
		text := fmt.Sprintf("RTF objects: %d", objects)
		if len(classes) > 0 {
			text += " (" + strings.Join(classes, ", ") + ")"
		}
		if update {
			text += "; opened by themselves"
		}
		t.active("%s", text)
	}
	return nil
}

// controlWord reads the letters behind a backslash, and the number and space that end the word.
func controlWord(b *bufio.Reader) string {
	var w []byte
	for {
		c, err := b.ReadByte()
		if err != nil {
			return string(w)
		}
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			if len(w) < 32 {
				w = append(w, c)
			}
		case len(w) > 0 && (c >= '0' && c <= '9' || c == '-'):
		case c == ' ' && len(w) > 0:
			return string(w)
		default:
			if len(w) > 0 || c == '\\' {
				b.UnreadByte()
				if len(w) == 0 {
					b.ReadByte() // an escaped backslash
				}
			}
			return string(w)
		}
	}
}

// hexRun reads at most most bytes of hexadecimal digits. Whatever else stands between them (line ends, groups, control words) is passed over, as Word
// does; a closing brace at the object's own level ends it.
func hexRun(b *bufio.Reader, most int) []byte {
	var out []byte
	var half byte
	odd := false
	depth := 0
	for n := 0; len(out) < most && n < 64*most; n++ {
		c, err := b.ReadByte()
		if err != nil {
			break
		}
		switch {
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth < 0 {
				b.UnreadByte()
				return out
			}
		case c == '\\':
			controlWord(b)
		default:
			v, ok := hexDigit(c)
			if !ok {
				continue
			}
			if odd {
				out = append(out, half<<4|v)
			}
			half, odd = v, !odd
		}
	}
	return out
}

// objectClass returns the class name in the header of an OLE 1 object: version, format, then the name with its length.
func objectClass(b []byte) string {
	if len(b) < 12 {
		return ""
	}
	n := le.Uint32(b[8:])
	if kind := le.Uint32(b[4:]); kind != 1 && kind != 2 || n == 0 || n > 128 || int(n) > len(b)-12 {
		return ""
	}
	return narrow(b[12 : 12+n])
}

// plainText reads text up to the end of its group, at most most bytes.
func plainText(b *bufio.Reader, most int) string {
	var out []byte
	for len(out) < most {
		c, err := b.ReadByte()
		if err != nil {
			break
		}
		if c == '{' || c == '}' {
			b.UnreadByte()
			break
		}
		if c == '\\' {
			if next, err := b.Peek(1); err == nil && next[0] == '\\' {
				b.Discard(1)
				out = append(out, '\\')
				continue
			}
			if next, err := b.Peek(3); err == nil && next[0] == '\'' {
				if v, ok := hexByte(next[1], next[2]); ok {
					out = append(out, v)
					b.Discard(3)
					continue
				}
			}
			controlWord(b)
			continue
		}
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return narrow(out)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func hexByte(a, b byte) (byte, bool) {
	x, ok := hexDigit(a)
	y, ok2 := hexDigit(b)
	return x<<4 | y, ok && ok2
}
