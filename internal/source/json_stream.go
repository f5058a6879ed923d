package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxJSONText is how much of one text is kept, in bytes: a file that was put into its description goes on without.
const maxJSONText = 1 << 20

// jsonStream reads JSON of any size value by value, in memory that does not grow with the input. It forgives what real exporters write: a comma too
// many, control characters in texts, a byte order mark in the middle.
type jsonStream struct {
	r    *reader
	win  []byte // what is read and not yet passed
	pos  int    // in win
	err  error  // that the input ended with
	read int64  // bytes before win
	line int64  // of pos, from 1

	begun int64  // the line on which the value in hand begins
	buf   []byte // the value in hand
	nest  []byte // the brackets that are open in it
	over  bool   // buf lacks a part
	last  byte   // of the value in hand: the last byte that was neither blank nor text
}

// jsonFault says what is wrong at one place. What follows may be read again.
type jsonFault struct {
	why  string
	ends bool // the input ends here
}

func (f *jsonFault) Error() string { return f.why }

func newJSONStream(r *reader) *jsonStream { return &jsonStream{r: r, line: 1} }

// bytes returns how much was read.
func (s *jsonStream) bytes() int64 { return s.read + int64(s.pos) }

// fill looks at the next part of the input and reports whether there is one.
func (s *jsonStream) fill() bool {
	n, _ := s.r.in.Discard(len(s.win))
	s.read += int64(n)
	s.win, s.pos = nil, 0
	if s.err == nil {
		s.err = s.r.ctx.Err()
	}
	if s.err == nil {
		_, s.err = s.r.in.Peek(1)
	}
	if s.err != nil {
		return false
	}
	s.win, _ = s.r.in.Peek(s.r.in.Buffered())
	return true
}

// next passes over blanks and returns the byte behind them, which it does not pass.
func (s *jsonStream) next() (byte, bool) {
	for s.pos < len(s.win) || s.fill() {
		switch c := s.win[s.pos]; c {
		case '\n':
			s.line++
			s.pos++
		case ' ', '\t', '\r', 0xEF, 0xBB, 0xBF:
			s.pos++
		default:
			return c, true
		}
	}
	return 0, false
}

func (s *jsonStream) ends() error {
	return &jsonFault{why: "the input ends within this object", ends: true}
}

// fault is what is wrong with the byte that is next; it is passed over unless an object may begin with it.
func (s *jsonStream) fault(c byte) error {
	if c == '{' {
		return &jsonFault{why: "another object begins within this one"}
	}
	s.pos++
	return &jsonFault{why: fmt.Sprintf("%q does not belong there", rune(c))}
}

// each calls f for every object or array at the top, and refuses what is no JSON. It fails as f and the input do.
func (s *jsonStream) each(f func() error) error {
	told := false // something between the values was refused
	for {
		c, ok := s.next()
		switch {
		case !ok && errors.Is(s.err, io.EOF):
			return nil
		case !ok:
			return s.err
		case c == '{' || c == '[':
		case c == ',' || c == 0x1E || c == 0: // between the values of a sequence
			s.pos++
			continue
		default:
			if !told {
				s.r.result.Records++
				s.r.refuse(s.line, "", "not JSON")
				told = true
			}
			s.pass()
			continue
		}
		s.begun, told = s.line, false
		err := f()
		var fault *jsonFault
		if errors.As(err, &fault) {
			s.r.result.Records++
			s.r.refuse(s.begun, "", fault.why)
			if told = true; !fault.ends {
				s.again()
			}
			err = nil
		}
		if err != nil {
			return err
		}
	}
}

// pass passes over bytes to the next that may begin a value or a line.
func (s *jsonStream) pass() {
	for s.pos++; s.pos < len(s.win) || s.fill(); s.pos++ {
		switch s.win[s.pos] {
		case '{', '[', '\n':
			return
		}
	}
}

// again goes on after a fault: where another object begins, else on the next line.
func (s *jsonStream) again() {
	for s.pos < len(s.win) || s.fill() {
		w := s.win[s.pos:]
		if w[0] == '{' {
			return
		}
		n := bytes.IndexByte(w, '\n')
		if n >= 0 {
			s.pos += n
			return
		}
		s.pos = len(s.win)
	}
}

// object calls f for every key of the object that is next; f takes its value.
func (s *jsonStream) object(f func(key string) error) error {
	s.pos++
	s.begun = s.line
	begun := s.line
	for {
		c, ok := s.next()
		switch {
		case !ok:
			s.begun = max(begun, s.begun)
			return s.ends()
		case c == '}':
			s.pos++
			return nil
		case c == ',':
			s.pos++
			continue
		case c != '"':
			return s.fault(c)
		}
		s.buf, s.over = s.buf[:0], false
		if err := s.text(); err != nil {
			return err
		}
		key := string(s.buf[1 : len(s.buf)-1])
		if c, ok = s.next(); !ok {
			return s.ends()
		} else if c != ':' {
			return s.fault(c)
		}
		s.pos++
		if c, ok = s.next(); !ok {
			return s.ends()
		} else if c == ',' || c == ':' || c == '}' || c == ']' {
			return s.fault(c)
		}
		if err := f(key); err != nil {
			return err
		}
	}
}

// array calls f for every element of the array that is next; f takes it.
func (s *jsonStream) array(f func() error) error {
	s.pos++
	for {
		c, ok := s.next()
		switch {
		case !ok:
			return s.ends()
		case c == ']':
			s.pos++
			return nil
		case c == ',':
			s.pos++
			continue
		case c == ':' || c == '}':
			return s.fault(c)
		}
		if err := f(); err != nil {
			return err
		}
	}
}

// value reads the value that is next, without blanks and mended where that is safe; nil when it is longer than maxObject. It stands until the
// next is read.
func (s *jsonStream) value() ([]byte, error) {
	s.buf, s.nest, s.over, s.last = s.buf[:0], s.nest[:0], false, 0
	for first := true; first || len(s.nest) > 0; first = false {
		c, ok := s.next()
		if !ok {
			return nil, s.ends()
		}
		if first {
			s.begun = s.line
		}
		switch c {
		case '"':
			s.last = c
			if err := s.text(); err != nil {
				return nil, err
			}
		case '{', '[':
			if c == '{' && !first && !s.mayOpen() {
				return nil, s.fault(c)
			}
			if len(s.nest) == maxLevels {
				s.pos++
				return nil, &jsonFault{why: "nested too deeply"}
			}
			s.nest = append(s.nest, c)
			s.one(c)
		case '}', ']':
			if len(s.nest) == 0 || s.nest[len(s.nest)-1] != c-2 { // '{' and '}', '[' and ']' are two apart
				return nil, s.fault(c)
			}
			s.nest = s.nest[:len(s.nest)-1]
			if s.last == ',' && !s.over {
				s.buf = s.buf[:len(s.buf)-1]
			}
			s.one(c)
		case ',', ':':
			if len(s.nest) == 0 {
				return nil, s.fault(c)
			}
			s.one(c)
		default:
			s.one(c)
		literal:
			for s.pos < len(s.win) || s.fill() {
				switch c := s.win[s.pos]; c {
				case '"', '{', '[', '}', ']', ',', ':', ' ', '\t', '\r', '\n':
					break literal
				default:
					s.one(c)
				}
			}
		}
	}
	if s.over {
		return nil, nil
	}
	return s.buf, nil
}

// mayOpen reports whether an object may stand here.
func (s *jsonStream) mayOpen() bool {
	if s.nest[len(s.nest)-1] == '[' {
		return s.last == '[' || s.last == ','
	}
	return s.last == ':'
}

// one keeps a byte and passes it.
func (s *jsonStream) one(c byte) {
	s.keep(c)
	s.last = c
	s.pos++
}

func (s *jsonStream) keep(b ...byte) {
	if s.over = s.over || len(s.buf)+len(b) > maxObject; !s.over {
		s.buf = append(s.buf, b...)
	}
}

// text keeps the text whose opening quote is next. It ends on its line, as JSON has it: one that does not was cut.
func (s *jsonStream) text() error {
	s.keep('"')
	s.pos++
	for n := 0; ; {
		if s.pos == len(s.win) && !s.fill() {
			return s.ends()
		}
		w := s.win[s.pos:]
		i := 0
		for i < len(w) && w[i] != '"' && w[i] != '\\' && w[i] >= ' ' {
			i++
		}
		if i > 0 {
			if n < maxJSONText {
				s.keep(w[:i]...)
			}
			n += i
			s.pos += i
			continue
		}
		switch c := w[0]; c {
		case '"':
			s.pos++
			if n >= maxJSONText { // it may have been cut within a character
				s.trim()
			}
			s.keep('"')
			return nil
		case '\\':
			if s.pos++; s.pos == len(s.win) && !s.fill() {
				return s.ends()
			}
			c := s.win[s.pos]
			if c == '\n' {
				return &jsonFault{why: "a text that does not end on its line"}
			}
			if n < maxJSONText {
				s.keep('\\', c)
			}
			n += 2
			s.pos++
		case '\n':
			return &jsonFault{why: "a text that does not end on its line"}
		default: // a control character
			if n < maxJSONText {
				s.keep(' ')
			}
			n++
			s.pos++
		}
	}
}

// trim takes a part of a character from the end of buf.
func (s *jsonStream) trim() {
	for i := 0; i < utf8.UTFMax && len(s.buf) > 0; i++ {
		if r, size := utf8.DecodeLastRune(s.buf); r != utf8.RuneError || size != 1 {
			return
		}
		s.buf = s.buf[:len(s.buf)-1]
	}
}
