package source

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// readSysmonXML reads <Event> elements: one a line among anything else (Splunk), or a whole document (wevtutil). What stands between
// them is passed over.
func readSysmonXML(r *reader) error {
	s := newSysmon(r)
	err := eachElement(r, func(raw []byte, line int64) error {
		r.result.Records++
		if otherXMLEvent(raw) || !mayMatter(raw) {
			r.result.Other++
			return nil
		}
		e, err := parseXMLEvent(raw, line)
		if err != nil {
			r.refuse(line, "", "not an event in XML: "+err.Error())
			return nil
		}
		if !e.isSysmon() {
			r.result.Other++
			return nil
		}
		if s.repeated(raw) {
			return nil
		}
		return s.take(&e)
	})
	// Also of an input that is cut, all that was read is told.
	return errors.Join(err, s.end())
}

// otherXMLEvent reports whether an event has an ID that is none of those that are read.
func otherXMLEvent(raw []byte) bool {
	_, rest, ok := bytes.Cut(raw, []byte("<EventID>"))
	id, _, ended := bytes.Cut(rest[:min(len(rest), 8)], []byte("<"))
	return ok && ended && len(id) > 0 && digits(string(id)) && !isRead(number(string(id)))
}

// parseXMLEvent reads one <Event>. Characters and entities that XML does not know are passed over: what ran on a machine may hold them.
func parseXMLEvent(raw []byte, line int64) (event, error) {
	var x xmlEvent
	if err := xml.Unmarshal(raw, &x); err != nil {
		x = xmlEvent{}
		if err := xml.Unmarshal(mendXML(raw), &x); err != nil {
			return event{}, err
		}
	}
	e := event{line: line, id: max(number(strings.TrimSpace(x.System.EventID)), 0), provider: x.System.Provider.Name, channel: x.System.Channel, host: clean(x.System.Computer)}
	for _, d := range x.EventData.Data {
		e.set(d.Name, clean(d.Text))
	}
	return e, nil
}

var entity = regexp.MustCompile(`^&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});`)

// mendXML makes text of what XML does not allow: characters become U+FFFD, and unknown entities stand as they were written.
func mendXML(raw []byte) []byte {
	b := bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	out := make([]byte, 0, len(b)+64)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c < ' ' && c != '\t' && c != '\n' && c != '\r':
			out = append(out, "\uFFFD"...)
		case c == '&':
			m := entity.Find(b[i:min(i+12, len(b))])
			switch {
			case m == nil:
				out = append(out, "&amp;"...)
				continue
			case m[1] == '#' && !allowedXML(m[2:len(m)-1]):
				out = append(out, "\uFFFD"...)
			default:
				out = append(out, m...)
			}
			i += len(m) - 1
		default:
			out = append(out, c)
		}
	}
	return out
}

// allowedXML reports whether the character of a reference, "10" or "xA", may stand in XML.
func allowedXML(digits []byte) bool {
	text, base := string(digits), 10
	if text[0] == 'x' {
		text, base = text[1:], 16
	}
	n, err := strconv.ParseUint(text, base, 32)
	return err == nil && (n == '\t' || n == '\n' || n == '\r' || n >= ' ' && n < 0xD800 || n >= 0xE000 && n < 0xFFFE || n >= 0x10000 && n <= 0x10FFFF)
}

type xmlEvent struct {
	System struct {
		Provider struct {
			Name string `xml:"Name,attr"`
		}
		EventID  string
		Channel  string
		Computer string
	}
	EventData struct {
		Data []xmlField
	}
}

type xmlField struct {
	Name string `xml:"Name,attr"`
	Text string `xml:",chardata"`
}

// set keeps a field of an event by its name.
func (e *event) set(name, value string) {
	for _, f := range e.fields() {
		if f.name == name && *f.into == "" {
			*f.into = value
		}
	}
}

type eventField struct {
	name string
	into *string
}

// fields returns where the fields of the event's data are kept.
func (e *event) fields() [23]eventField {
	return [...]eventField{
		{"UtcTime", &e.utcTime}, {"Hashes", &e.hashes}, {"Hash", &e.hash}, {"Image", &e.image}, {"ImageLoaded", &e.loaded},
		{"TargetFilename", &e.target}, {"ProcessGuid", &e.guid}, {"ParentProcessGuid", &e.parentGuid}, {"ParentImage", &e.parentImage},
		{"Signed", &e.signed}, {"Signature", &e.signature}, {"SignatureStatus", &e.signatureStatus}, {"Company", &e.company},
		{"Product", &e.product}, {"Description", &e.description}, {"FileVersion", &e.version}, {"OriginalFileName", &e.original},
		{"Contents", &e.contents}, {"Initiated", &e.initiated}, {"DestinationHostname", &e.destinationHost}, {"DestinationIp", &e.destinationIP},
		{"QueryName", &e.query}, {"QueryResults", &e.queryResults},
	}
}

// fill takes over what another form of the same event says and this one does not.
func (e *event) fill(other *event) {
	for i, f := range e.fields() {
		if *f.into == "" {
			*f.into = *other.fields()[i].into
		}
	}
	e.id = cmp.Or(e.id, other.id)
	e.host, e.provider, e.channel = cmp.Or(e.host, other.host), cmp.Or(e.provider, other.provider), cmp.Or(e.channel, other.channel)
}

// setMessage keeps the fields of the event in words: "UtcTime: …", a field a line.
func (e *event) setMessage(message string) {
	for line := range strings.Lines(message) {
		if name, value, ok := strings.Cut(line, ": "); ok {
			e.set(strings.TrimSpace(name), clean(strings.TrimSpace(value)))
		}
	}
}

// eachElement finds <Event …>…</Event> in a stream, each at most maxLine bytes, and tells the line where it begins. Lines may be of any
// length, and the name may have a prefix.
func eachElement(r *reader, f func(raw []byte, line int64) error) error {
	head, err := r.in.Peek(sniffed)
	if err != nil && len(head) == 0 && !errors.Is(err, io.EOF) {
		return err
	}
	prefix := ""
	if m := prefixedEvent.FindSubmatch(head); m != nil && elementStart(head) < 0 {
		prefix = string(m[1])
	}
	start, end := []byte("<"+prefix+"Event"), []byte("</"+prefix+"Event>")
	var buf []byte // what was read and is not told yet
	var begin int64
	open, begins := false, true
	for {
		part, readErr := r.in.ReadSlice('\n')
		full := errors.Is(readErr, bufio.ErrBufferFull)
		if begins && len(part) > 0 {
			r.in.number++
		}
		begins = !full
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		seen := len(buf)
		buf = append(buf, part...)
		at := 0 // where what is not told begins
		for {
			if !open {
				i := nameStart(buf[at:], start)
				if i < 0 {
					at = max(at, len(buf)-len(start))
					break
				}
				at += i
				open, begin, seen = true, r.in.number, at
			}
			// Another event that begins before this one ends: this one was cut.
			next, from := len(buf), min(max(at+1, seen-len(start)), len(buf))
			if i := nameStart(buf[from:], start); i >= 0 {
				next = from + i
			}
			stop := bytes.Index(buf[max(at, seen-len(end)):next], end)
			if stop < 0 && next < len(buf) {
				r.result.Records++
				r.refuse(begin, "", "another event begins within this event")
				at, begin, seen = next, r.in.number, next
				continue
			}
			if stop < 0 {
				if len(buf)-at > maxLine {
					r.result.Records++
					r.refuse(begin, "", fmt.Sprintf("an event longer than %d bytes", maxLine))
					open, at = false, len(buf)
				}
				break
			}
			open, stop = false, max(at, seen-len(end))+stop+len(end)
			if err := f(buf[at:stop], begin); err != nil {
				return err
			}
			at = stop
		}
		if at > 0 {
			buf = buf[:copy(buf, buf[at:])]
		}
		if readErr == nil || full {
			continue
		}
		if open {
			r.result.Records++
			r.refuse(begin, "", "the input ends within this event")
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		return readErr
	}
}

var prefixedEvent = regexp.MustCompile(`<([A-Za-z_][\w.-]*:)Event[\s>]`)

// elementStart finds "<Event" followed by the end of the name.
func elementStart(b []byte) int { return nameStart(b, []byte("<Event")) }

// nameStart finds the beginning of a tag, followed by the end of its name.
func nameStart(b, tag []byte) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], tag)
		if i < 0 {
			return -1
		}
		i += at
		if at = i + len(tag); at < len(b) && (b[at] == '>' || b[at] == ' ' || b[at] == '\t' || b[at] == '\r' || b[at] == '\n') {
			return i
		}
	}
}

// xmlFields reads the <Data Name="…"> elements of a fragment.
func xmlFields(in *bufio.Reader) ([]xmlField, error) {
	d := xml.NewDecoder(in)
	var out []xmlField
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if start, ok := t.(xml.StartElement); ok && start.Name.Local == "Data" {
			var f xmlField
			if err := d.DecodeElement(&f, &start); err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
}

func sniffSysmonXML(s *sample) int {
	if (elementStart(s.head) >= 0 || prefixedEvent.Match(s.head)) &&
		(bytes.Contains(s.head, []byte("schemas.microsoft.com/win/2004/08/events")) || bytes.Contains(s.head, []byte("EventData"))) && !s.json() {
		return 80
	}
	return 0
}
