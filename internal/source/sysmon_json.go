package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// readSysmonJSON reads Sysmon events as JSON in every shape met: flat (winlogbeat-like, NXLog), nested (winlog.event_data, Event.EventData),
// EventData as a JSON string (Azure), with "#attributes" (evtx dumps), Name/Text pairs. Fields are known by their own name, wherever they
// stand. One object a line is the fast way; pretty-printed objects and arrays of them go through a splitter.
func readSysmonJSON(r *reader) error {
	s := newSysmon(r)
	p := jsonEvents{s: s}
	head, err := r.in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return err
	}
	if oneALine(head) {
		err = r.each(func(line []byte, number int64) error {
			if line[0] == '{' && line[len(line)-1] == '}' {
				return p.object(line, number)
			}
			line = bytes.TrimSpace(bytes.TrimRight(line, ",]"))
			line = bytes.TrimSpace(bytes.TrimLeft(line, "["))
			switch {
			case len(line) == 0:
				r.result.Records--
				return nil
			case line[0] == '{' && line[len(line)-1] == '}':
				return p.object(line, number)
			}
			r.refuse(number, "", "not a whole JSON object on the line")
			return nil
		})
	} else {
		err = p.split(r.in)
	}
	// Also of an input that is cut, all that was read is told.
	return errors.Join(err, s.end())
}

// oneALine reports whether the first line that holds an object holds it whole, or is cut and the next line begins another.
func oneALine(head []byte) bool {
	begun := false
	for line := range bytes.Lines(head) {
		if len(line) == len(head) && len(head) == sniffed {
			return true // a line so long that its end is not in sight
		}
		line = bytes.Trim(line, " \t\r\n,[]")
		if len(line) == 0 {
			continue
		}
		switch opens := line[0] == '{'; {
		case begun, !opens:
			return opens
		case json.Valid(line):
			return true
		}
		begun = true
	}
	return true
}

// maxObject is the longest object that the splitter keeps together.
const maxObject = 4 << 20

// split finds the outermost objects of a stream, whatever stands between them, and reads each.
func (p *jsonEvents) split(in *lines) error {
	r := p.s.r
	var object []byte
	depth, line, begin := 0, int64(1), int64(0)
	quoted, escaped, tooLong := false, false, false
	for n := 0; ; n++ {
		if n&0xFFFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if c == '\n' {
			line++
		}
		if depth > 0 {
			if len(object) < maxObject {
				object = append(object, c)
			} else {
				tooLong = true
			}
		}
		switch {
		case quoted:
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				quoted = false
			}
		case c == '"' && depth > 0:
			quoted = true
		case c == '{':
			if depth == 0 {
				object, begin, tooLong = append(object[:0], c), line, false
			}
			depth++
		case c == '}' && depth > 0:
			if depth--; depth > 0 {
				continue
			}
			r.result.Records++
			if tooLong {
				r.refuse(begin, "", fmt.Sprintf("an object longer than %d bytes", maxObject))
				continue
			}
			if err := p.object(object, begin); err != nil {
				return err
			}
		}
	}
	if depth > 0 {
		r.result.Records++
		r.refuse(begin, "", "the input ends within this object")
	}
	return nil
}

// jsonEvents reads objects into events.
type jsonEvents struct {
	s *sysmon
	e event
	// codes are kept apart until the end: the record's own ID goes before ECS's event.code.
	id, code int
	scratch  []byte
}

// object reads one JSON object.
func (p *jsonEvents) object(raw []byte, line int64) error {
	r := p.s.r
	if !mayMatter(raw) {
		r.result.Other++
		return nil
	}
	p.e = event{line: line}
	p.id, p.code = 0, 0
	c := cursor{b: raw}
	if err := p.value(&c, nil, nil, 0); err != nil {
		r.refuse(line, "", fmt.Sprintf("not JSON at byte %d: %v", c.i+1, err))
		return nil
	}
	if c.skipBlank(); c.i != len(raw) {
		r.refuse(line, "", fmt.Sprintf("not JSON at byte %d: more after the object", c.i+1))
		return nil
	}
	p.e.id = p.id
	if p.e.id == 0 {
		p.e.id = p.code
	}
	if !p.e.isSysmon() {
		r.result.Other++
		return nil
	}
	if p.s.repeated(raw) {
		return nil
	}
	return p.s.take(&p.e)
}

// cursor is a place in a JSON text.
type cursor struct {
	b []byte
	i int
}

var (
	errEnds   = errors.New("it ends too early")
	errDeep   = errors.New("nested too deeply")
	errSyntax = errors.New("a character that does not belong there")
)

func (c *cursor) skipBlank() {
	for c.i < len(c.b) && (c.b[c.i] == ' ' || c.b[c.i] == '\t' || c.b[c.i] == '\n' || c.b[c.i] == '\r') {
		c.i++
	}
}

// text is a JSON string as it stands between its quotes.
type text struct {
	b       []byte
	escaped bool
}

// str reads a string whose opening quote is at the cursor.
func (c *cursor) str() (text, error) {
	start := c.i + 1
	t := text{}
	for at := start; ; {
		n := bytes.IndexByte(c.b[at:], '"')
		if n < 0 {
			c.i = len(c.b)
			return t, errEnds
		}
		end := at + n
		slashes := 0
		for end-slashes > start && c.b[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			c.i = end + 1
			t.b = c.b[start:end]
			t.escaped = bytes.IndexByte(t.b, '\\') >= 0
			return t, nil
		}
		at = end + 1
	}
}

const maxDepth = 64

// value reads one value that stands under key, in an object that stands under parent, and keeps what is known by the key.
func (p *jsonEvents) value(c *cursor, parent, key []byte, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	c.skipBlank()
	if c.i == len(c.b) {
		return errEnds
	}
	switch c.b[c.i] {
	case '{':
		return p.members(c, key, depth)
	case '[':
		c.i++
		for first := true; ; first = false {
			c.skipBlank()
			if c.i == len(c.b) {
				return errEnds
			}
			if c.b[c.i] == ']' {
				c.i++
				return nil
			}
			if !first {
				if c.b[c.i] != ',' {
					return errSyntax
				}
				c.i++
			}
			if err := p.value(c, parent, key, depth+1); err != nil {
				return err
			}
		}
	case '"':
		t, err := c.str()
		if err != nil {
			return err
		}
		return p.leaf(parent, key, t, depth)
	}
	start := c.i
	for c.i < len(c.b) && c.b[c.i] != ',' && c.b[c.i] != '}' && c.b[c.i] != ']' && c.b[c.i] > ' ' {
		c.i++
	}
	word := c.b[start:c.i]
	if len(word) == 0 || !(word[0] == '-' || '0' <= word[0] && word[0] <= '9' || string(word) == "true" || string(word) == "false" || string(word) == "null") {
		c.i = start
		return errSyntax
	}
	return p.leaf(parent, key, text{b: word}, depth)
}

// members reads an object that stands under key. "#attributes" and the like do not count as a level.
func (p *jsonEvents) members(c *cursor, under []byte, depth int) error {
	c.i++
	var name, value text // of a pair like {"Name":"Hashes","#text":"…"}
	for first := true; ; first = false {
		c.skipBlank()
		if c.i == len(c.b) {
			return errEnds
		}
		if c.b[c.i] == '}' {
			c.i++
			break
		}
		if !first {
			if c.b[c.i] != ',' {
				return errSyntax
			}
			c.i++
			c.skipBlank()
		}
		if c.i == len(c.b) {
			return errEnds
		}
		if c.b[c.i] != '"' {
			return errSyntax
		}
		k, err := c.str()
		if err != nil {
			return err
		}
		c.skipBlank()
		if c.i == len(c.b) {
			return errEnds
		}
		if c.b[c.i] != ':' {
			return errSyntax
		}
		c.i++
		c.skipBlank()
		key := k.b
		if c.i < len(c.b) && c.b[c.i] == '"' && len(key) <= 7 {
			switch string(key) {
			case "Name", "@Name", "_Name":
				if name, err = (&cursor{b: c.b, i: c.i}).str(); err != nil {
					return err
				}
			case "#text", "Text", "Value", "Content", "_", "$", "content":
				if value, err = (&cursor{b: c.b, i: c.i}).str(); err != nil {
					return err
				}
			}
		}
		switch string(key) {
		case "#attributes", "#text", "$", "_", "Value", "@attributes":
			if err := p.value(c, under, under, depth+1); err != nil {
				return err
			}
		default:
			if err := p.value(c, under, key, depth+1); err != nil {
				return err
			}
		}
	}
	if name.b != nil && value.b != nil && string(under) == "Data" {
		return p.leaf(nil, name.b, value, depth)
	}
	return nil
}

// leaf keeps a value that is known by its key. The first that says something stands.
func (p *jsonEvents) leaf(parent, key []byte, t text, depth int) error {
	e := &p.e
	var into *string
	switch string(key) {
	case "EventID", "event_id", "EventId", "EventCode":
		if p.id == 0 {
			p.id = max(number(string(t.b)), 0)
		}
	case "code":
		if p.code == 0 && string(parent) == "event" {
			p.code = max(number(string(t.b)), 0)
		}
	case "SourceName", "ProviderName", "provider_name", "Provider_Name", "source_name":
		into = &e.provider
	case "Name", "@Name", "_Name":
		if string(parent) == "Provider" {
			into = &e.provider
		}
	case "provider":
		if string(parent) == "event" {
			into = &e.provider
		}
	case "Provider", "Source":
		if e.provider == "" && bytes.Contains(t.b, []byte("Sysmon")) {
			into = &e.provider
		}
	case "Channel", "channel", "log_name":
		into = &e.channel
	case "Computer", "computer_name", "ComputerName", "Hostname":
		into = &e.host
	case "UtcTime":
		into = &e.utcTime
	case "Hashes":
		into = &e.hashes
	case "Hash":
		into = &e.hash
	case "Image":
		into = &e.image
	case "ImageLoaded":
		into = &e.loaded
	case "TargetFilename":
		into = &e.target
	case "ProcessGuid", "ProcessGUID", "SourceProcessGUID":
		into = &e.guid
	case "ParentProcessGuid", "ParentProcessGUID":
		into = &e.parentGuid
	case "ParentImage":
		into = &e.parentImage
	case "Signed":
		into = &e.signed
	case "Signature":
		into = &e.signature
	case "SignatureStatus":
		into = &e.signatureStatus
	case "Company":
		into = &e.company
	case "Product":
		into = &e.product
	case "Description":
		into = &e.description
	case "FileVersion":
		into = &e.version
	case "OriginalFileName":
		into = &e.original
	case "Contents":
		into = &e.contents
	case "EventData", "event_data", "UserData":
		// Azure keeps the fields as JSON, or as XML, in a string.
		if len(t.b) > 0 && depth < 8 {
			inner := p.unescape(t, nil)
			switch trimmed := bytes.TrimSpace(inner); {
			case len(trimmed) > 0 && trimmed[0] == '{':
				return p.value(&cursor{b: trimmed}, parent, key, depth+8)
			case len(trimmed) > 0 && trimmed[0] == '<':
				return p.xmlData(trimmed)
			}
		}
	}
	if into == nil || *into != "" || len(t.b) == 0 {
		return nil
	}
	if !t.escaped {
		*into = p.s.intern(t.b)
		return nil
	}
	p.scratch = p.unescape(t, p.scratch[:0])
	*into = p.s.intern(p.scratch)
	return nil
}

// xmlData reads <Data Name="…">…</Data> elements that stand in a string.
func (p *jsonEvents) xmlData(b []byte) error {
	data, err := xmlFields(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return err
	}
	for _, d := range data {
		if err := p.leaf(nil, []byte(d.Name), text{b: []byte(d.Text)}, maxDepth); err != nil {
			return err
		}
	}
	return nil
}

// unescape appends the string's own text to dst. A faulty escape stays as it stands.
func (p *jsonEvents) unescape(t text, dst []byte) []byte {
	b := t.b
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\\')
		if n < 0 || n+1 >= len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		c := b[n+1]
		b = b[n+2:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b', 'f':
			dst = append(dst, ' ')
		case 'u':
			r, ok := hex4(b)
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			b = b[4:]
			if utf16.IsSurrogate(r) && len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
				if low, ok := hex4(b[2:]); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r, b = both, b[6:]
					}
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
	}
	return dst
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 || !isHex(b[:4]) {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(c|0x20-'a'+10)
		}
	}
	return r, true
}
