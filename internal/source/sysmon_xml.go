package source

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readSysmonXML reads <Event> elements: one a line among anything else (Splunk), or a whole document (wevtutil). What stands between
// them is passed over.
func readSysmonXML(r *reader) error {
	s := newSysmon(r)
	err := eachElement(r, func(raw []byte, line int64) error {
		r.result.Records++
		if !mayMatter(raw) {
			r.result.Other++
			return nil
		}
		var x xmlEvent
		if err := xml.Unmarshal(raw, &x); err != nil {
			r.refuse(line, "", "not an event in XML: "+err.Error())
			return nil
		}
		e := event{line: line, id: max(number(strings.TrimSpace(x.System.EventID)), 0), provider: x.System.Provider.Name, channel: x.System.Channel, host: clean(x.System.Computer)}
		for _, d := range x.EventData.Data {
			e.set(d.Name, clean(d.Text))
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
	for _, f := range []struct {
		name string
		into *string
	}{
		{"UtcTime", &e.utcTime}, {"Hashes", &e.hashes}, {"Hash", &e.hash}, {"Image", &e.image}, {"ImageLoaded", &e.loaded},
		{"TargetFilename", &e.target}, {"ProcessGuid", &e.guid}, {"ParentProcessGuid", &e.parentGuid}, {"ParentImage", &e.parentImage},
		{"Signed", &e.signed}, {"Signature", &e.signature}, {"SignatureStatus", &e.signatureStatus}, {"Company", &e.company},
		{"Product", &e.product}, {"Description", &e.description}, {"FileVersion", &e.version}, {"OriginalFileName", &e.original},
		{"Contents", &e.contents},
	} {
		if f.name == name && *f.into == "" {
			*f.into = value
		}
	}
}

// eachElement finds <Event …>…</Event> in a stream, each at most maxLine bytes, and tells the line where it begins.
func eachElement(r *reader, f func(raw []byte, line int64) error) error {
	var element []byte
	var begin int64
	open := false
	take := func(b []byte) error {
		open = false
		return f(bytes.TrimSpace(b), begin)
	}
	for {
		line, err := r.in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errLongLine) {
			r.refuse(r.in.number, "", fmt.Sprintf("longer than %d bytes", maxLine))
			open = false
			continue
		}
		if err != nil {
			return err
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		for len(line) > 0 {
			if !open {
				i := elementStart(line)
				if i < 0 {
					break
				}
				open, begin, element = true, r.in.number, element[:0]
				line = line[i:]
			}
			end := bytes.Index(line, []byte("</Event>"))
			// Another event that begins before this one ends: this one was cut.
			own := 0
			if len(element) == 0 {
				own = 1 // the line begins with this one
			}
			if next := elementStart(line[own:]); next >= 0 && (end < 0 || next+own < end) {
				r.result.Records++
				r.refuse(begin, "", "another event begins within this event")
				begin, element, line = r.in.number, element[:0], line[next+own:]
				continue
			}
			if end < 0 {
				if len(element)+len(line) > maxLine {
					r.refuse(begin, "", fmt.Sprintf("an event longer than %d bytes", maxLine))
					open = false
					break
				}
				element = append(append(element, line...), '\n')
				break
			}
			end += len("</Event>")
			if len(element) == 0 {
				err = take(line[:end])
			} else {
				err = take(append(element, line[:end]...))
			}
			if err != nil {
				return err
			}
			line = line[end:]
		}
	}
	if open {
		r.result.Records++
		r.refuse(begin, "", "the input ends within this event")
	}
	return nil
}

// elementStart finds "<Event" followed by the end of the name.
func elementStart(b []byte) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("<Event"))
		if i < 0 {
			return -1
		}
		i += at
		at = i + len("<Event")
		if at < len(b) && (b[at] == '>' || b[at] == ' ' || b[at] == '\t' || b[at] == '\r') || at == len(b) {
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
