package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The bounds of the splitter.
const (
	maxObject  = 4 << 20 // bytes of one object that are kept together
	maxLevels  = 128     // of objects and arrays within each other
	firstLines = 64      // are checked to be whole objects, before lines without a hash are taken for such by their ends
)

// read finds the objects of the input and reads each as an event. A line that is one whole object is read at once; all else, and lines of
// any length, go through the splitter.
func (p *jsonEvents) read() error {
	r := p.s.r
	s := splitter{r: r, emit: p.object, fresh: true}
	begins, whole := true, 0 // whole counts the lines in a row that were whole objects
	for {
		part, readErr := r.in.ReadSlice('\n')
		ends := !errors.Is(readErr, bufio.ErrBufferFull)
		if begins && len(part) > 0 {
			r.in.number++
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		taken := false
		if begins && ends && !s.within() {
			// A byte order mark in the middle comes from files that were put one after another.
			line := bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(part), []byte("\uFEFF")))
			switch line = bytes.Trim(line, ",[] \t\r\n"); {
			case len(line) == 0, line[0] == '}', bytes.HasPrefix(line, []byte("Record ")):
				taken = bytes.IndexByte(line, '{') < 0
			case bytes.IndexByte(line, '{') < 0:
				r.result.Records++
				r.refuse(r.in.number, "", "not a whole JSON object on the line")
				taken = true
			case line[0] == '{' && line[len(line)-1] == '}':
				var err error
				if taken, err = p.line(line, whole < firstLines); err != nil {
					return err
				}
			}
			if whole++; !taken {
				whole = 0
			}
		}
		if !taken {
			if err := s.feed(part); err != nil {
				return err
			}
		}
		if begins = ends; !ends || readErr == nil {
			continue
		}
		s.end()
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		return readErr
	}
}

// line reads a line that begins and ends as an object does, when it is one whole object, and reports whether it was. check says to look
// even where there is nothing to read.
func (p *jsonEvents) line(object []byte, check bool) (taken bool, err error) {
	r := p.s.r
	if !jsonMayMatter(object) {
		if check && !json.Valid(object) {
			return false, nil
		}
		r.result.Records++
		r.result.Other++
		return true, nil
	}
	for _, key := range recordKeys {
		if bytes.Count(object, key) > 1 {
			return false, nil // several records, maybe
		}
	}
	if wrapsRecords(object) {
		return false, nil
	}
	if p.parse(object, r.in.number) != nil {
		return false, nil
	}
	r.result.Records++
	return true, p.event(object, r.in.number)
}

// recordKeys stand in the record of an event and not in its parts.
var recordKeys = [][]byte{[]byte(`EventID"`), []byte(`event_id"`), []byte(`EventId"`), []byte(`EventCode"`), []byte(`"_raw"`)}

// splitter finds the outermost objects of a stream, whatever stands between them. In an object around an array of records, each record is
// an object of its own. An object that was cut ends where the next begins.
type splitter struct {
	r    *reader
	emit func(object []byte, line int64) error

	buf     []byte  // the outermost object so far, without the records that were found in it
	levels  []level // the objects and arrays that are open
	inside  int     // records found in the outermost object
	tooLong bool    // buf lacks the end

	quoted, escaped bool
	fresh           bool // nothing but blanks in this line so far
	last            byte // the last byte that was neither blank nor text
}

type level struct {
	array   bool
	records bool  // of an array: its objects are records
	start   int   // where it begins in buf
	line    int64 // where it begins in the input
}

// within reports whether an object is open.
func (s *splitter) within() bool { return len(s.levels) > 0 }

// feed reads the next bytes of the line whose number the reader has.
func (s *splitter) feed(b []byte) error {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if !s.within() {
			if c != '{' {
				n := bytes.IndexByte(b[i:], '{')
				if n < 0 {
					s.fresh = true
					return nil
				}
				i += n
			}
			s.begin()
			continue
		}
		s.keep(c)
		blank := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		fresh := s.fresh
		s.fresh = c == '\n' || blank && fresh
		switch {
		case s.quoted && fresh && c == '{':
			s.cut("another object begins within a text of this one")
			s.begin()
		case s.escaped:
			s.escaped = false
		case s.quoted && c == '\\':
			s.escaped = true
		case c == '"':
			s.quoted = !s.quoted
			s.last = c
		case s.quoted || blank:
		case c == '{' && !s.mayOpen():
			s.cut("another object begins within this one")
			s.begin()
		case c == '{' || c == '[':
			s.last = c
			if len(s.levels) == maxLevels {
				s.cut("nested too deeply")
				continue
			}
			s.levels = append(s.levels, level{array: c == '[', start: len(s.buf) - 1, line: s.r.in.number})
		case c == '}' || c == ']':
			s.last = c
			if s.levels[len(s.levels)-1].array != (c == ']') {
				s.cut("a bracket that does not belong there")
				continue
			}
			if err := s.close(); err != nil {
				return err
			}
		default:
			s.last = c
		}
	}
	return nil
}

// begin opens an outermost object.
func (s *splitter) begin() {
	*s = splitter{r: s.r, emit: s.emit, buf: append(s.buf[:0], '{'), levels: append(s.levels[:0], level{line: s.r.in.number}), last: '{'}
}

func (s *splitter) keep(c byte) {
	if len(s.buf) < maxObject {
		s.buf = append(s.buf, c)
		return
	}
	s.tooLong = true
}

// mayOpen reports whether an object may stand here.
func (s *splitter) mayOpen() bool {
	if s.levels[len(s.levels)-1].array {
		return s.last == '[' || s.last == ','
	}
	return s.last == ':'
}

// close ends the innermost object or array.
func (s *splitter) close() error {
	r := s.r
	l := s.levels[len(s.levels)-1]
	s.levels = s.levels[:len(s.levels)-1]
	if len(s.levels) == 0 {
		switch {
		case s.inside > 0:
			return nil
		case s.tooLong:
			r.result.Records++
			r.refuse(l.line, "", fmt.Sprintf("an object longer than %d bytes", maxObject))
			return nil
		}
		r.result.Records++
		return s.emit(s.buf, l.line)
	}
	around := &s.levels[len(s.levels)-1]
	if l.array || !around.array {
		return nil
	}
	if !around.records {
		if s.tooLong || !isRecord(s.buf[l.start:]) {
			return nil
		}
		around.records = true
	}
	s.inside++
	r.result.Records++
	object, tooLong := s.buf[min(l.start, len(s.buf)):], s.tooLong
	s.buf, s.tooLong = s.buf[:around.start+1], false
	if tooLong {
		r.refuse(l.line, "", fmt.Sprintf("an object longer than %d bytes", maxObject))
		return nil
	}
	return s.emit(object, l.line)
}

// isRecord reports whether an object in an array is an event's record, not a part of one.
func isRecord(object []byte) bool {
	for _, keys := range [...][][]byte{recordKeys, telemetryKeys} {
		for _, key := range keys {
			if bytes.Contains(object, key) {
				return true
			}
		}
	}
	return false
}

// cut gives up the object that is open.
func (s *splitter) cut(why string) {
	line := s.levels[0].line
	for i, l := range s.levels[1:] {
		if s.levels[i].records {
			line = l.line
		}
	}
	s.r.result.Records++
	s.r.refuse(line, "", why)
	*s = splitter{r: s.r, emit: s.emit, buf: s.buf[:0], levels: s.levels[:0]}
}

// end tells of what the input ends within.
func (s *splitter) end() {
	if s.within() {
		s.cut("the input ends within this object")
	}
}
