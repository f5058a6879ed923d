package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// splitCSV splits a line at the delimiter and appends its cells. A cell may be quoted, with quotes doubled inside; blanks may stand around the
// quotes. open is true when the line ends within a quoted cell. The cells stand in line, which is changed where a quote was doubled.
func splitCSV(cells [][]byte, line []byte, delimiter byte) (_ [][]byte, open bool) {
	if bytes.IndexByte(line, '"') < 0 {
		for {
			i := bytes.IndexByte(line, delimiter)
			if i < 0 {
				return append(cells, line), false
			}
			cells, line = append(cells, line[:i]), line[i+1:]
		}
	}
	for {
		start := 0
		for start < len(line) && (line[start] == ' ' || line[start] == '\t' && delimiter != '\t') {
			start++
		}
		if start == len(line) || line[start] != '"' {
			i := bytes.IndexByte(line, delimiter)
			if i < 0 {
				return append(cells, line), false
			}
			cells, line = append(cells, line[:i]), line[i+1:]
			continue
		}
		body := line[start+1:]
		out, from, closed := body[:0], 0, false
		for from <= len(body) {
			q := bytes.IndexByte(body[from:], '"')
			if q < 0 {
				return append(cells, append(out, body[from:]...)), true
			}
			out = append(out, body[from:from+q]...)
			from += q + 1
			if from < len(body) && body[from] == '"' {
				out = append(out, '"')
				from++
				continue
			}
			closed = true
			break
		}
		if !closed {
			return append(cells, out), true
		}
		rest := body[from:]
		i := bytes.IndexByte(rest, delimiter)
		end := i
		if i < 0 {
			end = len(rest)
		}
		if extra := bytes.TrimSpace(rest[:end]); len(extra) > 0 {
			out = append(out, extra...) // a quote that did not end the cell
		}
		cells = append(cells, out)
		if i < 0 {
			return cells, false
		}
		line = rest[i+1:]
	}
}

// splitPlain is splitCSV for a line as most are written, whose cells stand in it as they are; ok is false for another. It changes nothing.
func splitPlain(cells [][]byte, line []byte, delimiter byte) (_ [][]byte, ok bool) {
	for {
		var cell []byte
		start := 0
		for start < len(line) && (line[start] == ' ' || line[start] == '\t' && delimiter != '\t') {
			start++
		}
		if start < len(line) && line[start] == '"' {
			line = line[start+1:]
			end := bytes.IndexByte(line, '"')
			if end < 0 || end+1 < len(line) && line[end+1] != delimiter {
				return cells, false // a quote is doubled, or something stands behind the last, or it is not there
			}
			cell, line = line[:end], line[end+1:]
		} else {
			end := bytes.IndexByte(line, delimiter)
			if end < 0 {
				end = len(line)
			}
			cell, line = line[:end], line[end:]
		}
		cells = append(cells, cell)
		if len(line) == 0 {
			return cells, true
		}
		line = line[1:]
	}
}

// The bounds of a row that goes over several lines.
const (
	maxRow      = 256 << 10 // bytes
	maxRowLines = 1000
)

// csvRows are the rows of an input.
type csvRows struct {
	r         *reader
	delimiter byte
	cells     [][]byte
	row       []byte
	waiting   [][]byte // lines that were read while the end of a quoted cell was looked for, and not found
	at        int64    // number of the first of them
	replayed  bool     // the line read last was one of them
}

// line returns the next line; the bytes stand until the next is read.
func (c *csvRows) line() ([]byte, int64, error) {
	if c.replayed = len(c.waiting) > 0; c.replayed {
		line := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.at++
		return line, c.at - 1, nil
	}
	for {
		line, err := c.r.in.next()
		if errors.Is(err, errLongLine) {
			c.r.result.Records++
			c.r.refuse(c.r.in.number, "", fmt.Sprintf("longer than %d bytes", maxLine))
			continue
		}
		if err == nil && c.r.in.number&0xFFF == 0 {
			err = c.r.ctx.Err()
		}
		return bytes.TrimSuffix(line, []byte("\r")), c.r.in.number, err
	}
}

// next returns the cells of the next row that is not blank, and its first line's number.
func (c *csvRows) next() ([][]byte, int64, error) {
	for {
		line, number, err := c.line()
		if err != nil {
			return nil, 0, err
		}
		if len(line) > 2 && line[0] == 0xEF {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		c.r.result.Records++
		if line[0] == '#' || bytes.IndexByte(line, '"') < 0 {
			c.cells, _ = splitCSV(c.cells[:0], line, c.delimiter)
			return c.cells, number, nil
		}
		var plain, open bool
		if c.cells, plain = splitPlain(c.cells[:0], line, c.delimiter); plain {
			return c.cells, number, nil
		}
		c.row = append(c.row[:0], line...)
		if c.cells, open = splitCSV(c.cells[:0], c.row, c.delimiter); !open {
			return c.cells, number, nil
		}
		// The cell goes on. Lines are added until its quotes pair; when they do not, or not as a cell's, the row is refused and the lines stand for
		// themselves. A line that was added once begins no such search, so that each is read twice at most.
		pairs, replayed := bytes.Count(line, quote), c.replayed
		whole := append([]byte(nil), line...)
		var added [][]byte
		for !replayed && len(whole) < maxRow && len(added) < maxRowLines {
			more, at, err := c.line()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, 0, err
			}
			if len(added) == 0 {
				c.at = at
			}
			added = append(added, bytes.Clone(more))
			whole = append(append(whole, '\n'), more...)
			if n := bytes.Count(more, quote); n == 0 {
				continue
			} else if pairs += n; pairs%2 != 0 {
				continue
			}
			c.row = append(c.row[:0], whole...)
			if c.cells, open = splitCSV(c.cells[:0], c.row, c.delimiter); open || c.loose() {
				break
			}
			return c.cells, number, nil
		}
		c.waiting = append(added, c.waiting...)
		c.r.refuse(number, "", "a quoted cell that does not end")
	}
}

var quote = []byte{'"'}

// loose reports whether a cell of the row that was read over several lines holds a quote at the end of one of its lines or the beginning of one,
// as it does when the quotes of two rows were taken for a pair.
func (c *csvRows) loose() bool {
	for _, cell := range c.cells {
		if i := bytes.IndexByte(cell, '\n'); i >= 0 && bytes.IndexByte(cell, c.delimiter) > i && bytes.Count(cell, quote)%2 != 0 {
			return true
		}
	}
	return false
}
