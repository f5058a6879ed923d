package source

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// binXML reads the binary XML of one chunk of a Windows event log, as [MS-EVEN6] 2.2.12 and the libevtx documentation describe it: tokens;
// elements whose names stand once a chunk; templates that a record fills with values of its own.
//
// It keeps of a record what an event needs, and believes no number: each is held against the bytes that are there, and what one record may
// unfold to is bounded, for templates can contain each other.
type binXML struct {
	b     []byte         // the chunk; offsets count from its beginning
	names map[int]string // by offset

	// Of one record:
	raw     []byte // the event's fields one after another, to know a repetition by
	record  event
	stack   []element
	inName  bool // the value that comes next is that of the attribute Name
	inOther bool // or of another
	steps   int
	bytes   int
	matters bool
}

// element is an open element.
type element struct {
	name string
	key  string // the attribute Name
	text []byte
}

// The bounds on what one record unfolds to.
const (
	maxTokens  = 50_000
	maxNested  = 24 // templates and values in each other
	maxOpen    = 64 // elements in each other
	maxContent = 1 << 20
)

var (
	errCut     = errors.New("it goes beyond its end")
	errUnfolds = errors.New("it unfolds to too much")
)

// event reads the record's content at [from, to). matters reports whether it names a hash.
func (x *binXML) event(from, to int) (e event, matters bool, err error) {
	x.raw, x.record, x.stack = x.raw[:0], event{}, x.stack[:0]
	x.inName, x.inOther, x.matters, x.steps, x.bytes = false, false, false, 0, 0
	err = x.tokens(&span{x.b, from, to}, nil, 0)
	return x.record, x.matters, err
}

// span is a part of a chunk that is being read.
type span struct {
	b       []byte
	at, end int
}

func (s *span) take(n int) ([]byte, error) {
	if n < 0 || n > s.end-s.at {
		return nil, errCut
	}
	s.at += n
	return s.b[s.at-n : s.at], nil
}

func (s *span) uint8() (int, error) {
	b, err := s.take(1)
	if err != nil {
		return 0, err
	}
	return int(b[0]), nil
}

func (s *span) uint16() (int, error) {
	b, err := s.take(2)
	if err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint16(b)), nil
}

func (s *span) uint32() (int, error) {
	b, err := s.take(4)
	if err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint32(b)), nil
}

// value is what a record puts in a template's place.
type value struct {
	kind    int
	at, end int
}

// tokens reads tokens until the end of the span or its end token, and puts args in the places of a template.
func (x *binXML) tokens(s *span, args []value, depth int) error {
	if depth > maxNested {
		return errUnfolds
	}
	for s.at < s.end {
		if x.steps++; x.steps > maxTokens {
			return errUnfolds
		}
		token, err := s.uint8()
		if err != nil {
			return err
		}
		switch token &^ 0x40 { // the flag says that more of the kind follow
		case 0x00: // end
			return nil
		case 0x01: // an element begins
			// Within a template the size of the element stands behind the number of the value that it depends on; outside mostly not.
			size := 4
			if rest := s.end - s.at; rest >= 6 && int(binary.LittleEndian.Uint32(x.b[s.at+2:])) <= rest-6 {
				size = 6
			}
			if _, err := s.take(size); err != nil {
				return err
			}
			name, err := x.name(s)
			if err != nil {
				return err
			}
			if token&0x40 != 0 {
				if _, err := s.take(4); err != nil { // the size of its attributes
					return err
				}
			}
			if len(x.stack) >= maxOpen {
				return errUnfolds
			}
			x.stack = append(x.stack, element{name: name})
			x.inName, x.inOther = false, false
		case 0x02: // its attributes end
			x.inName, x.inOther = false, false
		case 0x03, 0x04: // it ends
			x.inName, x.inOther = false, false
			x.close()
		case 0x05: // text
			if _, err := s.take(1); err != nil { // always a string
				return err
			}
			if err := x.string16(s); err != nil {
				return err
			}
		case 0x06: // an attribute
			name, err := x.name(s)
			if err != nil {
				return err
			}
			x.inName, x.inOther = name == "Name", name != "Name"
		case 0x07: // CDATA
			if err := x.string16(s); err != nil {
				return err
			}
		case 0x08: // a character by its number
			c, err := s.uint16()
			if err != nil {
				return err
			}
			if err := x.put(utf8.AppendRune(nil, rune(c))); err != nil {
				return err
			}
		case 0x09: // a character by its name
			name, err := x.name(s)
			if err != nil {
				return err
			}
			if err := x.put([]byte(map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}[name])); err != nil {
				return err
			}
		case 0x0A: // a processing instruction
			if _, err := x.name(s); err != nil {
				return err
			}
		case 0x0B: // and its text
			n, err := s.uint16()
			if err != nil {
				return err
			}
			if _, err := s.take(2 * n); err != nil {
				return err
			}
		case 0x0C:
			if err := x.template(s, depth); err != nil {
				return err
			}
		case 0x0D, 0x0E: // the place of a value
			i, err := s.uint16()
			if err != nil {
				return err
			}
			if _, err := s.take(1); err != nil { // its type, which the value has, too
				return err
			}
			if i < len(args) {
				if err := x.value(args[i], depth); err != nil {
					return err
				}
			}
		case 0x0F: // header of a fragment
			if _, err := s.take(3); err != nil {
				return err
			}
		default:
			return fmt.Errorf("no such token: %#x at byte %d", token, s.at-1)
		}
	}
	return nil
}

// name reads the name of an element or attribute, which stands here or elsewhere in the chunk.
func (x *binXML) name(s *span) (string, error) {
	at, err := s.uint32()
	if err != nil {
		return "", err
	}
	own := at == s.at
	if name, ok := x.names[at]; ok && !own {
		return name, nil
	}
	n := span{x.b, at, len(x.b)}
	if own {
		n.end = s.end
	}
	if _, err := n.take(6); err != nil { // the next name of the chunk's table; its hash
		return "", err
	}
	size, err := n.uint16()
	if err != nil {
		return "", err
	}
	b, err := n.take(2*size + 2)
	if err != nil {
		return "", err
	}
	if own {
		s.at = n.at
	}
	name := string(appendUTF16(nil, b[:2*size]))
	x.names[at] = name
	return name, nil
}

// template reads an instance: a template, here or elsewhere in the chunk, and its values.
func (x *binXML) template(s *span, depth int) error {
	if _, err := s.take(5); err != nil { // a version and an id
		return err
	}
	at, err := s.uint32()
	if err != nil {
		return err
	}
	own := at == s.at
	t := span{x.b, at, len(x.b)}
	if _, err := t.take(20); err != nil { // the next of the chunk's table; a GUID
		return err
	}
	size, err := t.uint32()
	if err != nil {
		return err
	}
	if _, err := t.take(size); err != nil {
		return err
	}
	body := span{x.b, t.at - size, t.at}
	if own {
		if t.at > s.end {
			return errCut
		}
		s.at = t.at
	}
	count, err := s.uint32()
	if err != nil {
		return err
	}
	table, err := s.take(4 * count)
	if err != nil {
		return err
	}
	if x.bytes += len(table); x.bytes > maxContent {
		return errUnfolds
	}
	args := make([]value, 0, count)
	for ; len(table) > 0; table = table[4:] {
		size := int(binary.LittleEndian.Uint16(table))
		if _, err := s.take(size); err != nil {
			return err
		}
		args = append(args, value{int(table[2]), s.at - size, s.at})
	}
	return x.tokens(&body, args, depth+1)
}

// string16 puts a string that its length precedes.
func (x *binXML) string16(s *span) error {
	n, err := s.uint16()
	if err != nil {
		return err
	}
	b, err := s.take(2 * n)
	if err != nil {
		return err
	}
	return x.put(appendUTF16(nil, b))
}

// value puts a value as text, or reads it as more tokens.
func (x *binXML) value(v value, depth int) error {
	b := x.b[v.at:v.end]
	le := binary.LittleEndian
	switch {
	case len(b) == 0:
		return nil
	case v.kind == 0x21:
		return x.tokens(&span{x.b, v.at, v.end}, nil, depth+1)
	case v.kind == 0x01 || v.kind == 0x81:
		return x.put(appendUTF16(nil, b))
	case v.kind == 0x02:
		return x.put(bytes.TrimRight(b, "\x00"))
	case v.kind == 0x03 && len(b) == 1:
		return x.put(strconv.AppendInt(nil, int64(int8(b[0])), 10))
	case v.kind == 0x04 && len(b) == 1:
		return x.put(strconv.AppendUint(nil, uint64(b[0]), 10))
	case v.kind == 0x05 && len(b) == 2:
		return x.put(strconv.AppendInt(nil, int64(int16(le.Uint16(b))), 10))
	case v.kind == 0x06 && len(b) == 2:
		return x.put(strconv.AppendUint(nil, uint64(le.Uint16(b)), 10))
	case v.kind == 0x07 && len(b) == 4:
		return x.put(strconv.AppendInt(nil, int64(int32(le.Uint32(b))), 10))
	case (v.kind == 0x08 || v.kind == 0x14) && len(b) == 4:
		return x.put(strconv.AppendUint(nil, uint64(le.Uint32(b)), 10))
	case v.kind == 0x09 && len(b) == 8:
		return x.put(strconv.AppendInt(nil, int64(le.Uint64(b)), 10))
	case (v.kind == 0x0A || v.kind == 0x15 || v.kind == 0x11) && len(b) == 8:
		return x.put(strconv.AppendUint(nil, le.Uint64(b), 10))
	case v.kind == 0x0D:
		return x.put(strconv.AppendBool(nil, len(bytes.Trim(b, "\x00")) > 0))
	case v.kind == 0x0F && len(b) == 16:
		return x.put(fmt.Appendf(nil, "%08X-%04X-%04X-%04X-%012X", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:]))
	}
	return x.put(hex.AppendEncode(nil, b)) // nothing that an event needs
}

// put adds text to the open element, or to its attribute Name.
func (x *binXML) put(text []byte) error {
	if x.bytes += len(text); x.bytes > maxContent {
		return errUnfolds
	}
	if len(x.stack) == 0 || x.inOther {
		return nil
	}
	top := &x.stack[len(x.stack)-1]
	if x.inName {
		top.key += string(text)
		return nil
	}
	top.text = append(top.text, text...)
	return nil
}

// close ends the open element and keeps what it says.
func (x *binXML) close() {
	last := len(x.stack) - 1
	if last < 0 {
		return
	}
	e := x.stack[last]
	x.stack = x.stack[:last]
	if last == 0 {
		return
	}
	text := clean(string(bytes.TrimRight(e.text, "\x00")))
	switch x.stack[last-1].name {
	case "System":
		switch e.name {
		case "Provider":
			x.record.provider, text = clean(e.key), e.key
		case "EventID":
			x.record.id = max(number(text), 0)
		case "Channel":
			x.record.channel = text
		case "Computer":
			x.record.host = text
		}
	case "EventData":
		if e.name != "Data" && e.key == "" {
			e.key = e.name
		}
		x.matters = x.matters || mayMatter([]byte(e.key))
		x.record.set(e.key, text)
	default:
		return
	}
	x.raw = append(append(append(append(x.raw, e.key...), 0), text...), 0)
}

// appendUTF16 appends little-endian UTF-16 as UTF-8.
func appendUTF16(dst, b []byte) []byte {
	for i := 0; i+1 < len(b); i += 2 {
		c := rune(binary.LittleEndian.Uint16(b[i:]))
		if utf16.IsSurrogate(c) && i+3 < len(b) {
			if both := utf16.DecodeRune(c, rune(binary.LittleEndian.Uint16(b[i+2:]))); both != utf8.RuneError {
				c = both
				i += 2
			}
		}
		dst = utf8.AppendRune(dst, c)
	}
	return dst
}
