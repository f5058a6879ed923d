package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// readSysmonJSON reads Sysmon events as JSON in every shape met: flat (winlogbeat-like, NXLog), nested (winlog.event_data, Event.EventData),
// EventData as a JSON string (Azure), with "#attributes" (evtx dumps), Name/Text pairs, keys with dots. Fields are known by their own name,
// wherever they stand. One object a line is the fast way; pretty-printed objects, arrays of them and objects around such arrays go through
// a splitter. Records of other sensors among them are read as what they are.
func readSysmonJSON(r *reader) error {
	p := jsonEvents{s: newSysmon(r), other: newTelemetry(r)}
	// Also of an input that is cut, all that was read is told.
	return errors.Join(p.read(), p.s.end())
}

// jsonEvents reads objects into events.
type jsonEvents struct {
	s     *sysmon
	other *telemetry
	e     event
	// codes are kept apart until the end: the record's own ID goes before ECS's event.code.
	id, code int
	message  text // the event in words, where it has no fields
	listed   bool // the value stands in a list
	scratch  []byte
}

// object reads one JSON object and tells of its event.
func (p *jsonEvents) object(raw []byte, line int64) error {
	if !jsonMayMatter(raw) {
		p.s.r.result.Other++
		return nil
	}
	if err := p.parse(raw, line); err != nil {
		p.s.r.refuse(line, "", err.Error())
		return nil
	}
	return p.event(raw, line)
}

// parse reads one JSON object into p.e.
func (p *jsonEvents) parse(raw []byte, line int64) error {
	p.e = event{line: line}
	p.id, p.code, p.message = 0, 0, text{}
	c := cursor{b: raw}
	if err := p.value(&c, nil, nil, 0); err != nil {
		return fmt.Errorf("not JSON at byte %d: %w", c.i+1, err)
	}
	if c.skipBlank(); c.i != len(raw) {
		return fmt.Errorf("not JSON at byte %d: %w", c.i+1, errMore)
	}
	return nil
}

// event tells of the event in p.e, which was read from raw.
func (p *jsonEvents) event(raw []byte, line int64) error {
	r := p.s.r
	if p.e.id == 0 {
		p.e.id = p.id
	}
	if p.e.id == 0 {
		p.e.id = p.code
	}
	if p.e.utcTime == "" && p.e.hashes == "" && p.message.b != nil {
		p.e.setMessage(string(unescape(p.message, nil)))
	}
	if p.e.isSysmon() && !p.e.moved() {
		if p.s.repeated(raw) {
			return nil
		}
		return p.s.take(&p.e)
	}
	if err := p.other.parse(raw); err != nil {
		r.refuse(line, "", err.Error())
		return nil
	}
	if p.s.repeated(raw) {
		return nil
	}
	if p.e.isSysmon() {
		if e, ok := ecsSysmon(&p.other.fields, p.e.id, line); ok {
			return p.s.take(&e)
		}
	}
	if e, ok := wazuhSysmon(&p.other.fields, line); ok {
		return p.s.take(&e)
	}
	return p.other.record(line)
}

// moved reports whether an event has none of the fields that it is read for: Elastic's pipelines move them to fields of the Elastic Common
// Schema.
func (e *event) moved() bool {
	path, ok := e.carrier()
	switch {
	case e.id == 3 || e.id == 22:
		return e.destinationIP == "" && e.destinationHost == "" && e.query == ""
	}
	return ok && path == "" && e.hashes == "" && e.hash == ""
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
	errMore   = errors.New("more after the object")
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
			p.listed = true
			err := p.value(c, parent, key, depth+1)
			p.listed = false
			if err != nil {
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
	p.listed = false
	var name, value text // of a pair like {"Name":"Hashes","#text":"…"} or {"#attributes":{"Name":"Hashes"},"#text":"…"}
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
			if c.i < len(c.b) && c.b[c.i] == '{' && isData(under) {
				if t := nameIn(cursor{b: c.b, i: c.i}); t.b != nil {
					name = t
				}
			}
			if err := p.value(c, under, under, depth+1); err != nil {
				return err
			}
		default:
			if err := p.value(c, under, key, depth+1); err != nil {
				return err
			}
		}
	}
	if name.b != nil && value.b != nil && isData(under) {
		return p.leaf(nil, name.b, value, depth)
	}
	return nil
}

// isData reports whether the pairs under a key are an event's fields.
func isData(key []byte) bool {
	return string(key) == "Data" || string(key) == "EventData" || string(key) == "event_data"
}

// nameIn returns the Name in an object of texts.
func nameIn(c cursor) text {
	for {
		c.i++ // the brace, or the comma
		var pair [2]text
		for i := range pair {
			if c.skipBlank(); i == 1 && c.i < len(c.b) && c.b[c.i] == ':' {
				c.i++
				c.skipBlank()
			}
			if c.i >= len(c.b) || c.b[c.i] != '"' {
				return text{}
			}
			var err error
			if pair[i], err = c.str(); err != nil {
				return text{}
			}
		}
		if string(pair[0].b) == "Name" {
			return pair[1]
		}
		if c.skipBlank(); c.i >= len(c.b) || c.b[c.i] != ',' {
			return text{}
		}
	}
}

// leaf keeps a value that is known by its key. The first that says something stands.
func (p *jsonEvents) leaf(parent, key []byte, t text, depth int) error {
	e := &p.e
	if i := bytes.LastIndexByte(key, '.'); i >= 0 { // "winlog.event_data.Hashes"
		parent, key = key[:i], key[i+1:]
		parent = parent[bytes.LastIndexByte(parent, '.')+1:]
	}
	var into *string
	switch string(key) {
	case "EventID", "event_id", "EventId", "EventCode":
		if p.id == 0 {
			p.id = eventID(t.b)
		}
	case "code":
		if p.code == 0 && string(parent) == "event" {
			p.code = eventID(t.b)
		}
	case "Id": // Get-WinEvent
		if p.code == 0 && parent == nil {
			p.code = eventID(t.b)
		}
	case "Message":
		if parent == nil && p.message.b == nil {
			p.message = t
		}
	case "_raw", "original": // the event as it was before Splunk or Elastic read it
		if string(key) == "_raw" || string(parent) == "event" {
			return p.whole(t)
		}
	case "MD5", "SHA1", "SHA256", "IMPHASH", "md5", "sha1", "sha256", "imphash":
		if into = e.hashesAt(parent); into != nil {
			*into += string(key) + "=" + string(t.b) + ","
		}
		return nil
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
	case "Computer", "computer_name", "ComputerName", "Hostname", "MachineName":
		into = &e.host
	case "UtcTime":
		into = &e.utcTime
	case "Hashes", "Hash":
		if into = e.hashesAt(key); p.listed && *into != "" {
			*into += "," + string(t.b)
			return nil
		}
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
	case "Initiated":
		into = &e.initiated
	case "DestinationHostname":
		into = &e.destinationHost
	case "DestinationIp":
		into = &e.destinationIP
	case "QueryName":
		into = &e.query
	case "QueryResults":
		into = &e.queryResults
	case "EventData", "event_data", "UserData":
		// Azure keeps the fields as JSON, or as XML, in a string.
		if len(t.b) > 0 && depth < 8 {
			inner := unescape(t, nil)
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
	p.scratch = unescape(t, p.scratch[:0])
	*into = p.s.intern(p.scratch)
	return nil
}

// hashesAt returns where the value of a key of hashes is kept, nil for another key.
func (e *event) hashesAt(key []byte) *string {
	switch string(key) {
	case "Hashes":
		return &e.hashes
	case "Hash":
		return &e.hash
	}
	return nil
}

// eventID reads an ID, which some writers make a fraction; 0 when it is none.
func eventID(b []byte) int {
	return max(number(string(bytes.TrimSuffix(bytes.TrimSpace(b), []byte(".0")))), 0)
}

// whole reads an event that stands as XML in a string.
func (p *jsonEvents) whole(t text) error {
	inner := bytes.TrimSpace(unescape(t, nil))
	if elementStart(inner) != 0 {
		return nil
	}
	if x, err := parseXMLEvent(inner, p.e.line); err == nil {
		p.e.fill(&x)
	}
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
func unescape(t text, dst []byte) []byte {
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

func sniffSysmonJSON(s *sample) int {
	switch {
	case s.has("EventID"), s.has("winlog"), s.has("Event"):
		return 60
	case s.json(), bytes.HasPrefix(s.trimmed, []byte("Record ")) && bytes.IndexByte(s.head, '{') >= 0:
		return 20
	case bytes.HasSuffix(s.first, []byte("}")) && bytes.Contains(s.first, []byte(`{"`)) && isRecord(s.first):
		return 20 // an object a line, behind what a syslog daemon puts first
	}
	return 0
}
