package source

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// reportTable is the table of a report that is being read, in AsciiDoc or Markdown: what its header says of its columns is what [columnOf] says
// of a CSV list's. AsciiDoc counts a row's cells, which may stand on lines of their own; Markdown has a row a line.
type reportTable struct {
	asciidoc bool
	width    int  // cells of a row
	headed   bool // the header was read, or there is none
	csv      csvReader
	cells    []string // of the AsciiDoc row that is being read
	size     int      // bytes in them
	line     int64    // where it began
	before   []byte   // the line before in Markdown, which is a table's header when dashes follow
	last     int64    // the line of the table that was read last, in Markdown
	columns  int      // that the attributes above an AsciiDoc table name
	counted  int64    // the line that was counted as a row last
}

// maxCells bounds the cells of a row.
const maxCells = 64

// newReportTable returns the state of a report that has had no table yet.
func newReportTable(r *reader, feed string) *reportTable {
	return &reportTable{csv: csvReader{r: r, feed: feed, plan: &csvPlan{}, types: map[string]valueType{}}}
}

// take takes a line that is part of a table; false when it is not.
func (t *reportTable) take(line []byte, number int64, part *reportPart, no bool) (bool, error) {
	bar := bytes.IndexByte(line, '|') >= 0
	if t.asciidoc {
		if edge := isTableEdge(line); edge || headingOf(line) > 0 { // where a heading comes, the table's end was forgotten
			t.asciidoc = false
			if edge {
				t.csv.r.result.Other++
			}
			return edge, t.flush(no)
		}
		part.prose, t.csv.reports = false, part.publication
		return true, t.asciidocLine(line, number, no)
	}
	if !bar && line[0] != '[' {
		if t.headed || len(t.before) > 0 {
			t.end()
		}
		if t.columns > 0 && line[0] != '.' { // a line that begins with a dot is a table's title
			t.columns = 0
		}
		return false, nil
	}
	if t.headed && number != t.last+1 {
		t.end() // by a blank line
	}
	switch {
	case isTableEdge(line):
		t.end()
		t.asciidoc, t.width, t.columns = true, t.columns, 0
	case line[0] == '[' && line[len(line)-1] == ']' && !bar:
		if t.columns = asciidocColumns(line); t.columns == 0 && !bytes.HasPrefix(line, []byte("[%")) {
			return false, nil
		}
	case bar && isTableRule(line):
		header := markdownCells(t.before)
		if len(t.before) == 0 || len(header) != len(markdownCells(line)) {
			return false, nil
		}
		t.end()
		t.header(header)
	case t.headed:
		part.prose, t.csv.reports = false, part.publication
		t.last, t.before = number, append(t.before[:0], line...) // it may be the header of the next table
		return true, t.row(markdownCells(line), number, no)
	default:
		if t.before = t.before[:0]; len(line) < 4096 {
			t.before = append(t.before, line...)
		}
		return false, nil
	}
	t.last = number
	t.csv.r.result.Other++
	return true, nil
}

// end ends a table of Markdown.
func (t *reportTable) end() {
	t.headed, t.before = false, t.before[:0]
	t.csv.plan.columns, t.csv.plan.names = t.csv.plan.columns[:0], t.csv.plan.names[:0]
}

// flush tells of the row that is being read, and ends a table of AsciiDoc.
func (t *reportTable) flush(no bool) error {
	err := t.asciidocRow(no)
	t.end()
	t.width = 0
	return err
}

// asciidocLine adds a line within a table of AsciiDoc to its row.
func (t *reportTable) asciidocLine(line []byte, number int64, no bool) error {
	rest, cells := splitAsciidoc(string(line))
	if t.width == 0 && len(cells) > 0 {
		t.width = min(len(cells), maxCells)
	}
	if rest == "" && len(cells) == t.width && len(t.cells) > 0 && len(t.cells) < t.width {
		// A whole row, where the one before lacks cells.
		if err := t.asciidocRow(no); err != nil {
			return err
		}
	}
	if rest != "" && len(t.cells) > 0 && t.size < maxRow {
		t.cells[len(t.cells)-1] += " " + rest
		t.size += len(rest)
	}
	for _, cell := range cells {
		if len(t.cells) == t.width {
			if err := t.asciidocRow(no); err != nil {
				return err
			}
		}
		if len(t.cells) == 0 {
			t.line = number
		}
		if t.size += len(cell); t.size >= maxRow {
			cell = ""
		}
		t.cells = append(t.cells, cell)
	}
	t.csv.r.result.Other++
	return nil
}

// asciidocRow tells of the row whose cells were read.
func (t *reportTable) asciidocRow(no bool) error {
	if len(t.cells) == 0 {
		return nil
	}
	var cells [][]byte
	for _, cell := range t.cells {
		cells = append(cells, cellText(cell))
	}
	t.cells, t.size = t.cells[:0], 0
	if !t.headed && !anyIndicator(cells) {
		t.header(cells)
		return nil
	}
	if t.line == t.counted {
		t.csv.r.result.Records++ // of several rows of one line
	} else {
		t.counted = t.line
		t.csv.r.result.Other-- // the line that it began with was counted so
	}
	return t.row(cells, t.line, no)
}

// header takes the names of the columns; of those that say nothing each cell is looked at where no other column names what is listed.
func (t *reportTable) header(cells [][]byte) {
	t.headed = true
	p := t.csv.plan
	p.take(cells, nil)
	if len(p.columns) == len(cells) && len(cells) > 0 {
		return
	}
	p.columns, p.names = p.columns[:0], p.names[:0]
	for _, cell := range cells {
		kind, known := columnOf(string(cell))
		if !known {
			kind = columnAny
		}
		p.columns, p.names = append(p.columns, kind), append(p.names, string(cell))
	}
}

// row tells of one row.
func (t *reportTable) row(cells [][]byte, number int64, no bool) error {
	if no || isEmptyRow(cells) {
		t.csv.r.result.Other++
		return nil
	}
	p := t.csv.plan
	if t.headed = true; len(p.columns) == 0 { // there was no header
		for range maxCells {
			p.columns = append(p.columns, columnAny)
		}
	}
	return t.csv.row(cells, number)
}

func isEmptyRow(cells [][]byte) bool {
	return !slices.ContainsFunc(cells, func(c []byte) bool { return len(c) > 0 })
}

// isTableEdge reports whether a line begins or ends a table of AsciiDoc.
func isTableEdge(line []byte) bool {
	return len(line) > 3 && line[0] == '|' && len(bytes.Trim(line[1:], "=")) == 0
}

// isTableRule reports whether a line is the one of dashes between the header and the rows of a table of Markdown.
func isTableRule(line []byte) bool {
	return bytes.Count(line, []byte("-")) > 1 && len(bytes.Trim(line, "|-: \t")) == 0
}

// columnsAttribute is how AsciiDoc names a table's columns: cols="1,2a,3*" or cols=3*.
var columnsAttribute = regexp.MustCompile(`\bcols\s*=\s*(?:"([^"]*)"|'([^']*)'|([^,\]\s]*))`)

// asciidocColumns returns how many columns a line of attributes names, 0 when it says nothing of them.
func asciidocColumns(line []byte) int {
	if len(line) > 1024 {
		return 0
	}
	m := columnsAttribute.FindSubmatch(line)
	if m == nil {
		return 0
	}
	n := 0
	for part := range strings.FieldsFuncSeq(cmp.Or(string(m[1]), string(m[2]), string(m[3])), func(c rune) bool { return c == ',' || c == ';' }) {
		times := 1
		if before, _, ok := strings.Cut(part, "*"); ok {
			times, _ = strconv.Atoi(strings.TrimSpace(before))
		}
		n += max(0, min(times, maxCells))
	}
	return min(n, maxCells)
}

// cellSpec is what may stand before the bar of an AsciiDoc cell: how many cells it spans or stands for, how it is aligned, its style.
var cellSpec = regexp.MustCompile(`(?:^|\s)((\d+)?(?:\.\d+)?[+*])?(?:[<^>])?(?:\.[<^>])?[adehlmsv]?$`)

// splitAsciidoc splits a line of a table at its bars, which a backslash makes plain text: what goes on with the cell before, and the cells that it begins.
func splitAsciidoc(line string) (rest string, cells []string) {
	first, times := true, 1
	var b strings.Builder
	end := func(bar bool) {
		text := strings.TrimSpace(b.String())
		next := 1
		if bar {
			if m := cellSpec.FindStringSubmatchIndex(text); m != nil && m[0] < len(text) {
				if m[4] >= 0 {
					next, _ = strconv.Atoi(text[m[4]:m[5]])
				}
				text = strings.TrimSpace(text[:m[0]])
			}
		}
		if first {
			rest, first = text, false
		} else {
			cells = append(cells, text)
			for range min(times, maxCells) - 1 {
				cells = append(cells, "")
			}
		}
		times = max(1, next)
		b.Reset()
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '|':
			b.WriteByte('|')
			i++
		case c == '|' && len(cells) < maxCells:
			end(true)
		default:
			b.WriteByte(c)
		}
	}
	end(false)
	return rest, cells
}

// markdownCells splits a row of a table of Markdown. A bar that a backslash stands before is text.
func markdownCells(line []byte) (cells [][]byte) {
	text := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(string(line)), "|"), `\|`, "\x00")
	text = strings.TrimSuffix(text, "|")
	for cell := range strings.SplitSeq(text, "|") {
		if cells = append(cells, cellText(strings.ReplaceAll(cell, "\x00", "|"))); len(cells) == maxCells {
			break
		}
	}
	return cells
}

// Links of Markdown and of AsciiDoc, of which a cell shows the text alone. What is defanged with brackets is none.
var (
	markdownLink = regexp.MustCompile(`\[([^\[\]]+)\]\((?:https?://|\.?/|#)[^()\s]*\)`)
	asciidocLink = regexp.MustCompile(`^(?:https?://|link:|\{[\w-]+\})[^\s\[\]]*\[([^\[\]]{2,})\]$`)
)

// cellText takes a cell's marks away: those around it, and a link for its text.
func cellText(cell string) []byte {
	cell = strings.TrimSpace(cell)
	if strings.Contains(cell, "](") {
		cell = markdownLink.ReplaceAllString(cell, "$1")
	}
	if strings.HasSuffix(cell, "]") {
		if m := asciidocLink.FindStringSubmatch(cell); m != nil {
			cell = m[1]
		}
	}
	cell = strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(cell, "<br>", " "), "<br/>", " "))
	for len(cell) > 2 && cell[0] == cell[len(cell)-1] && strings.IndexByte("`+*_\"", cell[0]) >= 0 {
		code, inner := cell[0] == '`', cell[1:len(cell)-1]
		if cell[0] == '_' && (inner[0] == '_' || strings.Contains(inner, "_")) || strings.IndexByte(inner, cell[0]) > 0 && strings.Count(inner, cell[:1])%2 == 0 && inner[0] != cell[0] {
			break // a name's own, or two words in marks
		}
		if cell = strings.TrimSpace(inner); code && (cell == "" || cell[0] != '+' && cell[0] != '`') {
			break
		}
	}
	return []byte(cell)
}
