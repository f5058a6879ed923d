package document

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of PDF.
const (
	maxDictionary   = 64 << 10 // of the text of an object that is kept
	maxObjectStream = 8 << 20  // packed
	maxInflated     = 16 << 20 // of one object stream
	maxInflatedAll  = 64 << 20
	maxString       = 1 << 20 // a string longer than this is taken for a stray parenthesis
)

// pdfNames are counted, in this order; the first word says what it is where the name does not.
var pdfNames = []string{"JavaScript", "JS", "OpenAction", "AA", "Launch", "EmbeddedFile", "XFA", "RichMedia", "SubmitForm", "ImportData", "GoToR", "GoToE", "Rendition"}

// pdf counts the names that act. It follows objects as they stand in the file, not the table of references, which malicious files forge.
type pdf struct {
	counts    map[string]int
	encrypted bool
	inflated  int64
}

func readPDF(t *teller, r io.ReaderAt, size int64) error {
	p := &pdf{counts: map[string]int{}}
	b := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 256<<10)
	err := p.scan(b, true)
	var parts []string
	js := max(p.counts["JavaScript"], p.counts["JS"])
	for _, n := range pdfNames {
		switch {
		case n == "JS" || p.counts[n] == 0 && (n != "JavaScript" || js == 0):
		case n == "JavaScript":
			parts = append(parts, fmt.Sprintf("JavaScript %d", js))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", n, p.counts[n]))
		}
	}
	if len(parts) > 0 {
		text := "PDF: " + strings.Join(parts, ", ")
		if p.encrypted {
			text += " (encrypted)"
		}
		t.active("%s", text)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func regular(c byte) bool {
	switch c {
	case 0, '\t', '\n', '\f', '\r', ' ', '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return false
	}
	return true
}

// scan reads to the end. streams says whether the keyword stream begins bytes that are no objects.
func (p *pdf) scan(b *bufio.Reader, streams bool) error {
	var dict bytes.Buffer // names of the object being read
	word := make([]byte, 0, 32)
	endWord := func() error {
		w := string(word)
		word = word[:0]
		switch {
		case w == "obj" || w == "endobj":
			dict.Reset()
		case w == "stream" && streams:
			err := p.stream(b, dict.String())
			dict.Reset()
			return err
		}
		return nil
	}
	for {
		c, err := b.ReadByte()
		if err != nil {
			return err
		}
		if regular(c) {
			if len(word) < cap(word) {
				word = append(word, c)
			}
			continue
		}
		if len(word) > 0 {
			if string(word) == "stream" && streams {
				b.UnreadByte()
			}
			again := string(word) == "stream" && streams
			if err := endWord(); err != nil {
				return err
			}
			if again {
				continue
			}
		}
		switch c {
		case '/':
			name, err := readName(b)
			if err != nil && len(name) == 0 {
				return err
			}
			if dict.Len() < maxDictionary {
				dict.WriteString("/" + name)
			}
			if name == "Encrypt" {
				p.encrypted = true
			}
			if len(name) <= 16 {
				for _, n := range pdfNames {
					if n == name {
						p.counts[n]++
					}
				}
			}
		case '%':
			for {
				c, err := b.ReadByte()
				if err != nil {
					return err
				}
				if c == '\n' || c == '\r' {
					break
				}
			}
		case '(':
			if err := skipString(b); err != nil {
				return err
			}
		}
	}
}

// readName reads a name behind its slash, #xx resolved.
func readName(b *bufio.Reader) (string, error) {
	name := make([]byte, 0, 32)
	for {
		c, err := b.ReadByte()
		if err != nil {
			return string(name), err
		}
		if !regular(c) {
			b.UnreadByte()
			return string(name), nil
		}
		if c == '#' {
			if h, err := b.Peek(2); err == nil {
				if v, ok := hexByte(h[0], h[1]); ok {
					c = v
					b.Discard(2)
				}
			}
		}
		if len(name) < 127 {
			name = append(name, c)
		}
	}
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

func skipString(b *bufio.Reader) error {
	depth := 1
	for n := 0; depth > 0 && n < maxString; n++ {
		c, err := b.ReadByte()
		if err != nil {
			return err
		}
		switch c {
		case '\\':
			if _, err := b.ReadByte(); err != nil {
				return err
			}
		case '(':
			depth++
		case ')':
			depth--
		}
	}
	return nil
}

// stream skips a stream up to its end; one of objects is unpacked and looked into.
func (p *pdf) stream(b *bufio.Reader, dict string) error {
	objects := strings.Contains(dict, "/ObjStm") && p.inflated < maxInflatedAll
	if c, err := b.Peek(2); err == nil {
		switch {
		case c[0] == '\r' && c[1] == '\n':
			b.Discard(2)
		case c[0] == '\n' || c[0] == '\r':
			b.Discard(1)
		}
	}
	var data bytes.Buffer
	const end = "endstream"
	matched := 0
	for {
		c, err := b.ReadByte()
		if err != nil {
			return err
		}
		if objects && data.Len() < maxObjectStream {
			data.WriteByte(c)
		}
		// No letter but the first of "endstream" repeats its beginning but e itself.
		switch {
		case c == end[matched]:
			matched++
		case c == 'e':
			matched = 1
		default:
			matched = 0
		}
		if matched == len(end) {
			break
		}
	}
	if !objects {
		return nil
	}
	var in io.Reader = &data
	if strings.Contains(dict, "/FlateDecode") || strings.Contains(dict, "/Fl/") || strings.HasSuffix(dict, "/Fl") {
		z, err := zlib.NewReader(&data)
		if err != nil {
			return nil // encrypted, or damaged
		}
		in = z
	}
	count := &counter{r: io.LimitReader(in, min(maxInflated, maxInflatedAll-p.inflated))}
	p.scan(bufio.NewReaderSize(count, 32<<10), false)
	p.inflated += count.n
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
