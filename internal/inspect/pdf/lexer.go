package pdf

import (
	"errors"
	"io"
	"strconv"
)

// Values of a PDF are nil (null and what is no value), bool, int64, float64, [Name], [String], [Array], [Dict] and [Ref].
type (
	Name   string // escapes resolved, without the slash
	String string // escapes resolved
	Array  []any
	Dict   []Pair // in the file's order; a key may be there twice
	Pair   struct {
		Key   Name
		Value any
	}
	Ref struct {
		Num uint32
		Gen uint16
	}
	keyword string
)

// Get returns the last value of a key, nil when there is none.
func (d Dict) Get(key Name) any {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i].Key == key {
			return d[i].Value
		}
	}
	return nil
}

// Bounds of one object.
const (
	maxDepth = 64       // of arrays and dictionaries in each other
	maxValue = 16 << 20 // bytes of memory that its value takes, about
	maxToken = 128      // of a name, a number or a keyword; what is longer is cut
)

var (
	errLarge  = errors.New("an object is larger than 16 MiB")
	errDeep   = errors.New("an object is nested deeper than 64 levels")
	errBudget = errors.New("its objects lie over each other: reading them all takes too long")
)

// lexer reads values anywhere in a file.
type lexer struct {
	r      io.ReaderAt
	size   int64
	at     int64
	buf    []byte
	from   int64 // where in r buf begins
	have   int
	budget *int64 // bytes that may still be read
	cost   int    // of the value being read
}

// newLexer reads step bytes at once.
func newLexer(r io.ReaderAt, size, step int64, budget *int64) *lexer {
	return &lexer{r: r, size: size, buf: make([]byte, min(max(size, 1), step)), budget: budget}
}

func memoryLexer(b []byte) *lexer {
	return &lexer{size: int64(len(b)), buf: b, have: len(b)}
}

// fill reads the part of the file that the lexer is at.
func (l *lexer) fill() bool {
	if l.at < 0 || l.at >= l.size || *l.budget <= 0 {
		return false
	}
	n, _ := l.r.ReadAt(l.buf[:min(int64(len(l.buf)), l.size-l.at)], l.at)
	l.from, l.have = l.at, n
	*l.budget -= int64(n) + 64
	return n > 0
}

// peek returns the next byte; false at the end.
func (l *lexer) peek() (byte, bool) {
	if i := l.at - l.from; i < 0 || i >= int64(l.have) {
		if !l.fill() {
			return 0, false
		}
	}
	return l.buf[l.at-l.from], true
}

func (l *lexer) next() (byte, bool) {
	b, ok := l.peek()
	if ok {
		l.at++
	}
	return b, ok
}

func space(b byte) bool {
	return b == ' ' || b == '\n' || b == '\r' || b == '\t' || b == '\f' || b == 0
}

// regular tells the characters that names, numbers and keywords are made of.
func regular(b byte) bool {
	switch b {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return false
	}
	return !space(b)
}

// skip passes over white space and comments.
func (l *lexer) skip() {
	for {
		b, ok := l.peek()
		switch {
		case !ok:
			return
		case space(b):
			l.at++
		case b == '%':
			for ok && b != '\n' && b != '\r' {
				b, ok = l.next()
			}
		default:
			return
		}
	}
}

// has passes over a text if it comes next.
func (l *lexer) has(text string) bool {
	start := l.at
	for i := range len(text) {
		if b, ok := l.next(); !ok || b != text[i] {
			l.at = start
			return false
		}
	}
	return true
}

// spend accounts the memory of a value.
func (l *lexer) spend(n int) error {
	if l.cost += n; l.cost > maxValue {
		return errLarge
	}
	return nil
}

// closing ends an array, a dictionary, or an object.
type closing string

// item reads the next value, keyword or end.
func (l *lexer) item(depth int) (any, error) {
	l.skip()
	if err := l.spend(48); err != nil {
		return nil, err
	}
	b, ok := l.next()
	if !ok {
		return closing(""), nil
	}
	switch b {
	case '/':
		return l.name()
	case '(':
		return l.text()
	case '<':
		if l.has("<") {
			items, err := l.items(">>", depth+1)
			return dictOf(items), err
		}
		return l.hex()
	case '[':
		items, err := l.items("]", depth+1)
		return Array(items), err
	case '>':
		l.has(">")
		return closing(">>"), nil
	case ']':
		return closing("]"), nil
	case ')', '{', '}':
		return nil, nil
	}
	word := []byte{b}
	for {
		b, ok := l.peek()
		if !ok || !regular(b) {
			break
		}
		l.at++
		if len(word) < maxToken {
			word = append(word, b)
		}
	}
	return atom(string(word)), nil
}

// atom is a number or a keyword.
func atom(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if c := s[0]; c == '+' || c == '-' || c == '.' || c >= '0' && c <= '9' {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		v, _ := strconv.ParseFloat(s, 64)
		return v
	}
	return keyword(s)
}

// items reads values up to an end. References are put together of their three parts. A keyword that stands between objects ends it, too, and stays
// to be read again.
func (l *lexer) items(end closing, depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	var out []any
	for {
		l.skip()
		at := l.at
		v, err := l.item(depth)
		if err != nil {
			return out, err
		}
		switch v := v.(type) {
		case closing:
			if v == end || v == "" {
				return out, nil
			}
			continue
		case keyword:
			switch v {
			case "R":
				if n := len(out); n >= 2 {
					num, ok := out[n-2].(int64)
					gen, ok2 := out[n-1].(int64)
					if ok && ok2 {
						out = out[:n-2]
						if num >= 0 && num < 1<<32 && gen >= 0 && gen < 1<<16 {
							out = append(out, Ref{uint32(num), uint16(gen)})
						} else {
							out = append(out, nil)
						}
					}
				}
			case "obj", "endobj", "stream", "endstream", "xref", "trailer", "startxref":
				l.at = at
				return out, nil
			}
			continue
		}
		out = append(out, v)
	}
}

func dictOf(items []any) Dict {
	var d Dict
	for i := 0; i < len(items); i++ {
		key, ok := items[i].(Name)
		if !ok {
			continue // damaged: the next name is taken for a key
		}
		p := Pair{Key: key}
		if i+1 < len(items) {
			p.Value = items[i+1]
			i++
		}
		d = append(d, p)
	}
	return d
}

func digit(c byte) (byte, bool) {
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

// name reads a name behind its slash, #xx resolved.
func (l *lexer) name() (Name, error) {
	var out []byte
	for {
		b, ok := l.peek()
		if !ok || !regular(b) {
			return Name(out), l.spend(len(out))
		}
		l.at++
		if b == '#' {
			at := l.at
			h, _ := l.next()
			w, _ := l.next()
			x, ok := digit(h)
			y, ok2 := digit(w)
			if ok && ok2 {
				b = x<<4 | y
			} else {
				l.at = at
			}
		}
		if len(out) < maxToken {
			out = append(out, b)
		}
	}
}

// text reads a string behind its parenthesis.
func (l *lexer) text() (String, error) {
	var out []byte
	for depth := 1; ; {
		b, ok := l.next()
		if !ok {
			return String(out), l.spend(len(out))
		}
		switch b {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return String(out), l.spend(len(out))
			}
		case '\r':
			l.has("\n")
			b = '\n'
		case '\\':
			if b, ok = l.next(); !ok {
				continue
			}
			switch {
			case b == 'n':
				b = '\n'
			case b == 'r':
				b = '\r'
			case b == 't':
				b = '\t'
			case b == 'b':
				b = '\b'
			case b == 'f':
				b = '\f'
			case b == '\n':
				continue
			case b == '\r':
				l.has("\n")
				continue
			case b >= '0' && b <= '7':
				v := b - '0'
				for range 2 {
					if c, ok := l.peek(); ok && c >= '0' && c <= '7' {
						v = v<<3 | (c - '0')
						l.at++
					} else {
						break
					}
				}
				b = v
			}
		}
		if len(out) >= maxValue {
			return "", errLarge
		}
		out = append(out, b)
	}
}

// hex reads a string in hexadecimal digits.
func (l *lexer) hex() (String, error) {
	var out []byte
	high, half := byte(0), false
	for {
		b, ok := l.next()
		if !ok || b == '>' {
			if half {
				out = append(out, high<<4)
			}
			return String(out), l.spend(len(out))
		}
		d, ok := digit(b)
		if !ok {
			continue
		}
		if half {
			out = append(out, high<<4|d)
		}
		high, half = d, !half
		if len(out) >= maxValue {
			return "", errLarge
		}
	}
}

// object reads the value of the object at an offset. The lexer is then at the keyword behind it.
func (l *lexer) object(at int64) (any, error) {
	l.at, l.cost = at, 0
	items, err := l.items("", 0)
	if len(items) == 0 {
		return nil, err
	}
	return items[0], err
}

// value reads one value where others follow without a keyword between, as in object streams.
func (l *lexer) value(at int64) (any, error) {
	l.at, l.cost = at, 0
	v, err := l.item(0)
	switch n := v.(type) {
	case closing, keyword:
		return nil, err
	case int64:
		end := l.at
		gen, _ := l.item(0)
		r, _ := l.item(0)
		if g, ok := gen.(int64); ok && r == keyword("R") && n >= 0 && n < 1<<32 && g >= 0 && g < 1<<16 {
			return Ref{uint32(n), uint16(g)}, nil
		}
		l.at = end
	}
	return v, err
}
