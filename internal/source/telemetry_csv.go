package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"spoor/internal/intel"
)

// readTelemetry reads records of sensors: as JSON, in every shape that Sysmon's events may have, or as a table whose columns are the fields.
func readTelemetry(r *reader) error {
	head, err := r.in.Peek(sniffed)
	if len(head) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if s := newSample("", head); s.json() || bytes.IndexByte(s.first, '{') >= 0 {
		return readSysmonJSON(r)
	}
	return readTelemetryTable(r)
}

// readTelemetryTable reads a table with a header.
func readTelemetryTable(r *reader) error {
	t := newTelemetry(r)
	s := newSysmon(r) // knows what was there before
	var header []string
	comma := ','
	return eachTableRow(r, func(raw []byte, line int64) error {
		if header == nil {
			if first, _, _ := bytes.Cut(raw, []byte("\n")); bytes.Count(first, []byte("\t")) > bytes.Count(first, []byte(",")) {
				comma = '\t'
			} else if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
				comma = ';'
			}
		}
		row, err := tableRow(raw, comma)
		if err != nil {
			return r.refusal(line, &intel.Refusal{Reason: "not a row of the table: " + err.Error()})
		}
		if header == nil {
			for _, name := range row {
				header = append(header, strings.TrimSuffix(strings.TrimSpace(name), " [UTC]")) // as Log Analytics marks times
			}
			return nil
		}
		r.result.Records++
		if s.repeated(raw) {
			return nil
		}
		t.reset()
		for i, value := range row {
			if i < len(header) {
				t.path = append(t.path[:0], header[i]...)
				t.set(text{b: []byte(value)})
			}
		}
		if len(row) != len(header) {
			r.refuse(line, "", fmt.Sprintf("%d columns; the header has %d", len(row), len(header)))
			return nil
		}
		return t.record(line)
	})
}

func tableRow(raw []byte, comma rune) ([]string, error) {
	c := csv.NewReader(bytes.NewReader(raw))
	c.Comma, c.LazyQuotes, c.FieldsPerRecord = comma, true, -1
	return c.Read()
}

// eachTableRow finds the rows of a table in which a quoted value may hold line breaks. One whose quotes do not end within maxLine bytes is
// refused, and the rest goes on behind it.
func eachTableRow(r *reader, f func(raw []byte, line int64) error) error {
	var row []byte // begun and not ended
	var begin int64
	quoted := false
	for {
		part, err := r.in.next()
		switch {
		case errors.Is(err, io.EOF):
			if row != nil {
				r.result.Records++
				r.refuse(begin, "", "the input ends within this row")
			}
			return nil
		case errors.Is(err, errLongLine):
			r.result.Records++
			r.refuse(r.in.number, "", fmt.Sprintf("longer than %d bytes", maxLine))
			continue
		case err != nil:
			return err
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		part = bytes.TrimPrefix(bytes.TrimSuffix(part, []byte("\r")), []byte("\uFEFF"))
		if row == nil && len(bytes.TrimSpace(part)) == 0 {
			continue
		}
		if row == nil {
			begin = r.in.number
		} else {
			row = append(row, '\n')
		}
		row = append(row, part...)
		if bytes.Count(part, []byte(`"`))%2 != 0 {
			quoted = !quoted
		}
		if quoted {
			if len(row) > maxLine {
				r.result.Records++
				r.refuse(begin, "", fmt.Sprintf("a row longer than %d bytes: its quotes do not end", maxLine))
				row, quoted = nil, false
			}
			continue
		}
		if err := f(row, begin); err != nil {
			return err
		}
		row = nil
	}
}
