package unpack

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

const (
	mailHeaders = 256 << 10 // bytes of one part's header fields that are looked at
	mailLine    = 64 << 10  // bytes of a line that are looked at together
	mailLevels  = 32        // of parts in parts
)

// mailPart is a part of a message while its lines go by.
type mailPart struct {
	boundary string // of the parts in it; "" when it has none
	inside   bool   // its first boundary was met
}

// readMail tells the parts of a message: attachments by their names, other parts as part-1.txt and so on, messages in it as they are.
// It is read once, line by line, so every part is a piece of the container that is decoded when it is read.
func readMail(c *container) error {
	m := &mailReader{container: c, lines: lineReader{r: bufio.NewReaderSize(c.section(0, c.size), mailLine)}}
	if err := m.header(); err != nil {
		return err
	}
	for {
		begin := m.lines.at
		line, whole, err := m.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		level, last := -1, false
		if whole && len(line) > 2 && line[0] == '-' && line[1] == '-' {
			level, last = m.boundary(line)
		}
		if level < 0 {
			continue
		}
		if err := m.end(begin); err != nil {
			return err
		}
		m.open = m.open[:level+1]
		m.open[level].inside = true
		m.leaf = mailLeaf{}
		if last {
			m.open = m.open[:level]
			continue
		}
		if err := m.header(); err != nil {
			return err
		}
	}
	if err := m.end(m.lines.at); err != nil {
		return err
	}
	if len(m.open) > 0 {
		return errCut
	}
	return nil
}

// mailLeaf is a part without parts.
type mailLeaf struct {
	set      bool
	from     int64
	name     string
	encoding string
}

type mailReader struct {
	*container
	lines lineReader
	open  []mailPart
	leaf  mailLeaf
	parts int
}

// boundary is the level of the part that a line delimits, and whether it is the last.
func (m *mailReader) boundary(line []byte) (int, bool) {
	text := strings.TrimRight(string(line[2:]), " \t\r\n")
	for i := len(m.open) - 1; i >= 0; i-- {
		rest, ok := strings.CutPrefix(text, m.open[i].boundary)
		if ok && (rest == "" || rest == "--") {
			return i, rest == "--"
		}
	}
	return -1, false
}

// header reads a part's header fields, and begins the part.
func (m *mailReader) header() error {
	fields, err := m.lines.fields()
	if err != nil {
		return err
	}
	kind, kindParams := mailValue(fields["content-type"])
	disposition, params := mailValue(fields["content-disposition"])
	if strings.HasPrefix(kind, "multipart/") && kindParams["boundary"] != "" {
		if len(m.open) >= mailLevels {
			return fmt.Errorf("parts in parts deeper than %d levels", mailLevels)
		}
		m.open = append(m.open, mailPart{boundary: kindParams["boundary"]})
		return nil
	}
	m.parts++
	name := params["filename"]
	if name == "" {
		name = kindParams["name"]
	}
	if name = cleanPath(strings.ReplaceAll(mailWords(name), "/", "_")); name == "" {
		suffix := map[string]string{"text/html": ".html", "message/rfc822": ".eml", "text/plain": ".txt", "": ".txt", "application/pdf": ".pdf"}[kind]
		if suffix == "" {
			suffix = ".bin"
		}
		if disposition == "" && len(m.open) == 0 {
			name = "body" + suffix
		} else {
			name = fmt.Sprintf("part-%d%s", m.parts, suffix)
		}
	}
	encoding := strings.ToLower(strings.TrimSpace(fields["content-transfer-encoding"]))
	m.leaf = mailLeaf{set: true, from: m.lines.at, name: name, encoding: encoding}
	return nil
}

// end tells the part that ends at an offset, if one is open. The line end in front of a boundary is not its.
func (m *mailReader) end(at int64) error {
	l := m.leaf
	m.leaf = mailLeaf{}
	if !l.set {
		return nil
	}
	if len(m.open) > 0 {
		b, err := m.readAt(max(at-2, 0), int(min(at, 2)))
		if err != nil {
			return err
		}
		if bytes.HasSuffix(b, []byte("\r\n")) {
			at -= 2
		} else if bytes.HasSuffix(b, []byte("\n")) {
			at--
		}
	}
	n := max(at-l.from, 0)
	t := Member{Path: l.name, Size: -1}
	switch l.encoding {
	case "base64":
		t.Reader = &lazyReader{open: func() (io.Reader, error) {
			return &base64Reader{r: bufio.NewReaderSize(m.section(l.from, n), 16<<10)}, nil
		}}
	case "quoted-printable":
		t.Reader = &lazyReader{open: func() (io.Reader, error) {
			return &quotedReader{r: bufio.NewReaderSize(m.section(l.from, n), 16<<10)}, nil
		}}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		t.Reader = &lazyReader{open: func() (io.Reader, error) {
			return &uuReader{lines: lineReader{r: bufio.NewReaderSize(m.section(l.from, n), mailLine)}}, nil
		}}
	default:
		t.Size, t.Reader = n, m.stored(l.from, n)
	}
	return m.tell(t)
}

// lineReader gives lines with their ends, and knows where it is.
type lineReader struct {
	r  *bufio.Reader
	at int64
	in bool // the rest of a long line comes next
}

// next gives a line, or a piece of one that is longer than the buffer: whole says that the piece begins the line.
func (l *lineReader) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	l.at += int64(len(line))
	whole = !l.in
	l.in = err == bufio.ErrBufferFull
	if l.in || err == io.EOF && len(line) > 0 {
		err = nil
	}
	return line, whole, err
}

// fields reads header fields up to the empty line: the first of each name, unfolded. What is no field is passed over, as readers of mail do.
func (l *lineReader) fields() (map[string]string, error) {
	out := map[string]string{}
	name, kept := "", 0
	for {
		line, _, err := l.next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			return out, nil
		}
		if kept += len(text); kept > mailHeaders {
			continue
		}
		if text[0] == ' ' || text[0] == '\t' {
			if name != "" {
				out[name] += text
			}
			continue
		}
		name = ""
		if key, value, ok := strings.Cut(text, ":"); ok {
			key = strings.ToLower(strings.TrimSpace(key))
			switch key {
			case "content-type", "content-disposition", "content-transfer-encoding":
				if _, again := out[key]; !again {
					name, out[key] = key, value
				}
			}
		}
	}
}

// mailValue is a field's value and its parameters, also where they are damaged. Parameters may be in pieces and encoded (RFC 2231).
func mailValue(field string) (string, map[string]string) {
	if value, params, err := mime.ParseMediaType(field); err == nil {
		return value, params
	}
	value, rest, _ := strings.Cut(field, ";")
	params := map[string]string{}
	for rest != "" {
		var part string
		part, rest = cutUnquoted(rest)
		key, v, ok := strings.Cut(part, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if _, again := params[key]; ok && !again && len(params) < 64 {
			params[key] = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	for _, key := range []string{"filename", "name"} {
		if v := params[key+"*"]; v != "" {
			if _, decoded, err := mime.ParseMediaType("x/y; z*=" + v); err == nil && decoded["z"] != "" {
				params[key] = decoded["z"]
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(value)), params
}

// cutUnquoted cuts at the first semicolon that is in no quotes.
func cutUnquoted(s string) (string, string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// mailWords decodes the words of RFC 2047.
func mailWords(s string) string {
	d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		e, err := htmlindex.Get(charset)
		if err != nil {
			return nil, err
		}
		return e.NewDecoder().Reader(r), nil
	}}
	if out, err := d.DecodeHeader(s); err == nil {
		return out
	}
	return latin1Name([]byte(s))
}

// base64Reader decodes base64, passes over what is none, and goes on behind padding, as readers of mail do.
type base64Reader struct {
	r    *bufio.Reader
	out  []byte
	buf  [3]byte
	done bool
}

var base64Digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 64 {
		t[base64.StdEncoding.EncodeToString([]byte{byte(i << 2)})[0]] = byte(i)
	}
	return t
}()

func (b *base64Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(b.out) > 0 {
			k := copy(p[n:], b.out)
			b.out, n = b.out[k:], n+k
			continue
		}
		if b.done {
			break
		}
		v, have := uint32(0), 0
		for have < 4 {
			c, err := b.r.ReadByte()
			if err == io.EOF || err == nil && c == '=' && have > 0 {
				b.done = err == io.EOF
				break
			}
			if err != nil {
				return n, err
			}
			if d := base64Digits[c]; d != 0xff {
				v = v<<6 | uint32(d)
				have++
			}
		}
		v <<= uint(6 * (4 - have))
		b.buf = [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}
		b.out = b.buf[:have*6/8]
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// quotedReader decodes quoted-printable; what is damaged stays as it is.
type quotedReader struct {
	r *bufio.Reader
}

func (q *quotedReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c, err := q.r.ReadByte()
		if err != nil {
			if n > 0 && err == io.EOF {
				return n, nil
			}
			return n, err
		}
		if c == '=' {
			next, _ := q.r.Peek(2)
			if len(next) > 0 && next[0] == '\n' || len(next) == 0 {
				q.r.Discard(len(next[:min(len(next), 1)]))
				continue
			}
			if len(next) > 1 && next[0] == '\r' && next[1] == '\n' {
				q.r.Discard(2)
				continue
			}
			if len(next) > 1 {
				high, low := hexDigit(next[0]), hexDigit(next[1])
				if high < 16 && low < 16 {
					q.r.Discard(2)
					c = high<<4 | low
				}
			}
		}
		p[n] = c
		n++
	}
	return n, nil
}

// hexDigit is a digit's value; 16 when it is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// uuReader decodes uuencode between its begin and end.
type uuReader struct {
	lines lineReader
	begun bool
	out   []byte
}

func (u *uuReader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		line, whole, err := u.lines.next()
		if err == io.EOF && !u.begun {
			return 0, errors.New("it has no line that begins uuencoded data")
		}
		if err != nil {
			return 0, err
		}
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case !u.begun:
			u.begun = whole && bytes.HasPrefix(text, []byte("begin "))
		case bytes.Equal(text, []byte("end")):
			return 0, io.EOF
		case len(text) > 0 && whole:
			n := int(text[0]-' ') & 63
			u.out = u.out[:0:0]
			for text = text[1:]; len(u.out) < n && len(text) > 0; text = text[min(4, len(text)):] {
				var v uint32
				for i := range 4 {
					v <<= 6
					if i < len(text) {
						v |= uint32(text[i]-' ') & 63
					}
				}
				u.out = append(u.out, byte(v>>16), byte(v>>8), byte(v))
			}
			u.out = u.out[:min(n, len(u.out))]
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// mboxTime is what a line that begins a message has, and a sentence that begins with "From" has not.
var mboxTime = regexp.MustCompile(`\d\d:\d\d`)

// readMbox tells the messages of a mailbox, each as a file of its own.
func readMbox(c *container) error {
	lines := lineReader{r: bufio.NewReaderSize(c.section(0, c.size), mailLine)}
	from, n := int64(-1), 0
	end := func(at int64) error {
		if from < 0 {
			return nil
		}
		n++
		return c.tell(Member{Path: fmt.Sprintf("message-%d.eml", n), Size: at - from, Reader: c.stored(from, at-from)})
	}
	empty := true // a message begins behind an empty line
	for {
		begin := lines.at
		line, whole, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if whole && empty && bytes.HasPrefix(line, []byte("From ")) && (from < 0 || mboxTime.Match(line)) {
			if err := end(begin); err != nil {
				return err
			}
			from = lines.at
			for lines.in { // the rest of a long one
				if _, _, err := lines.next(); err != nil {
					break
				}
				from = lines.at
			}
			empty = false
			continue
		}
		empty = whole && len(bytes.TrimRight(line, "\r\n")) == 0
	}
	if from < 0 {
		return errors.New("no line begins a message")
	}
	return end(lines.at)
}
