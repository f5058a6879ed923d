package source

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// csvPlan is how a list is to be read.
type csvPlan struct {
	delimiter byte
	columns   []column
	names     []string // of the columns, as the header has them
	header    int      // number among the lines that are not blank of the one that is the header; -1 for none
	own       string   // the feed that its comments or columns tell of
	score     int
}

var delimiters = [...]byte{',', ';', '\t', '|'}

// planCSV looks at the beginning of a list.
func planCSV(head []byte, columns map[string]string) *csvPlan {
	var lines [][]byte
	for line := range bytes.Lines(head) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
		if len(lines) == 200 {
			break
		}
	}
	if len(lines) > 1 && len(head) >= sniffed {
		lines = lines[:len(lines)-1] // it may be cut
	}
	best := &csvPlan{header: -1}
	for _, d := range delimiters {
		if p := planDelimiter(lines, d, columns); p.score > best.score {
			best = p
		}
	}
	return best
}

func planDelimiter(lines [][]byte, delimiter byte, mapping map[string]string) *csvPlan {
	p := &csvPlan{delimiter: delimiter, header: -1}
	var cells [][]byte
	first := -1 // the first line that is no comment
	widths := map[int]int{}
	rows, looks, tables := 0, 0, 0
	comment := false // the header is one
	for i, line := range lines {
		split, _ := splitCSV(cells[:0], bytes.TrimLeft(bytes.TrimPrefix(line, []byte("\uFEFF")), "# "), delimiter)
		cells = split
		if line[0] == '#' {
			if own := ownFeed(line); own != "" {
				p.own = own
			}
			if len(cells) > 1 && p.take(cells, mapping) >= 2 && first < 0 {
				p.header, comment = i, true
			}
			continue
		}
		if line[0] == '|' {
			tables++ // of Markdown
		}
		if first < 0 {
			first = i
			if len(cells) > 1 && !anyIndicator(cells) && p.header < 0 && p.take(cells, mapping) > 0 {
				p.header = i
				continue
			}
		}
		rows++
		widths[len(cells)]++
		if anyIndicator(cells) {
			looks++
		}
	}
	most, width := 0, 0
	for w, n := range widths {
		if w > 1 && (n > most || n == most && w > width) {
			most, width = n, w
		}
	}
	if comment && (len(p.columns) != width || most*10 < rows*9) {
		p.header = -1 // a sentence with commas
	}
	if comment && delimiter == ';' && len(p.columns) == 2 && p.columns[1] == columnComment {
		p.header = -1 // "MD5;COMMENT": a list of hashes of any kind, with semicolons in their comments too
	}
	switch {
	case tables*2 > rows:
	case p.header >= 0:
		p.score = 60
		if p.own == "" {
			p.own = ownColumns(p.names)
		}
		if len(p.columns) > 2 && most*2 > rows {
			p.score++ // of two delimiters the one that the rows agree with
		}
	case width > 1 && most*10 >= rows*9 && looks > 0 && rows > 1 && first >= 0 && (delimiter != ';' || width > 2):
		p.score = 15
		// A first line that lists nothing, above lines that do, names the columns in words that are not known.
		cells, _ = splitCSV(nil, lines[first], delimiter)
		if len(cells) == width && !anyIndicator(cells) {
			p.header = first
			p.columns, p.names = nil, nil
			for i, cell := range cells {
				kind := columnAny
				if namesNoFile(string(cell)) {
					kind = columnNone
				}
				p.columns, p.names = append(p.columns, mapped(mapping, string(cell), i, kind)), append(p.names, string(cell))
			}
		}
	}
	if p.header < 0 {
		p.columns, p.names = nil, nil
		for i := range 64 {
			p.columns = append(p.columns, mapped(mapping, "", i, columnAny))
		}
	}
	if len(mapping) > 0 && p.score > 0 {
		p.score++
	}
	return p
}

// mapped returns what the mapping says of a column, else kind.
func mapped(mapping map[string]string, name string, i int, kind column) column {
	says, ok := mapping[name]
	if name == "" || !ok {
		says, ok = mapping[strconv.Itoa(i+1)]
	}
	if ok {
		kind = columnNames[says]
	}
	return kind
}

// take takes a line's cells for the header and returns how many names it knows, 0 when none of them names what is listed.
func (p *csvPlan) take(cells [][]byte, mapping map[string]string) int {
	columns, names, known, bears := make([]column, len(cells)), make([]string, len(cells)), 0, false
	strongest := columnNone
	for i, cell := range cells {
		names[i] = string(trimMarks(cell))
		kind, ok := columnOf(names[i])
		if kind = mapped(mapping, names[i], i, kind); ok || kind != columnNone {
			known++
		}
		columns[i] = kind
		if bears = bears || kind.bears(); kind.bears() && (strongest == columnNone || kind < strongest) {
			strongest = kind
		}
	}
	if !bears || len(cells) == 2 && known < 2 && strongest == columnAddress && len(names[0]) > 0 && len(names[1]) > 30 {
		return 0
	}
	p.columns, p.names = columns, names
	return known
}

// ownFeed returns the feed that a comment at the top of a list names.
func ownFeed(line []byte) string {
	line = bytes.ToLower(line)
	for _, f := range [...]struct{ mark, name string }{{"malwarebazaar", "MalwareBazaar"}, {"malware bazaar", "MalwareBazaar"}, {"threatfox", "ThreatFox"}, {"urlhaus", "URLhaus"}} {
		if bytes.Contains(line, []byte(f.mark)) {
			return f.name
		}
	}
	return ""
}

// ownColumns returns the feed that alone names its columns so.
func ownColumns(names []string) string {
	has := func(name string) bool {
		return slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, name) })
	}
	switch {
	case has("sha256_hash") && has("md5_hash") && has("sha1_hash") && has("first_seen_utc"):
		return "MalwareBazaar"
	case has("ioc_value") && has("ioc_type") && has("malware_printable"):
		return "ThreatFox"
	case has("urlhaus_link"), has("url_status") && has("dateadded"):
		return "URLhaus"
	}
	return ""
}

// anyIndicator reports whether a cell is a hash or an address.
func anyIndicator(cells [][]byte) bool {
	for _, cell := range cells {
		cell = trimMarks(cell)
		if len(cell) >= 32 && len(FindHashes(cell)) > 0 {
			return true
		}
		if _, ok := listAddress(string(cell), false); ok {
			return true
		}
	}
	return false
}

func sniffCSVOf(own string) func(s *sample) int {
	return func(s *sample) int {
		if len(s.trimmed) == 0 || s.json() || s.trimmed[0] == '<' || s.trimmed[0] == '|' {
			return 0
		}
		p := s.csv()
		switch {
		case own == "":
			return min(p.score, 50) // less than a format whose own columns these are
		case p.own == own && p.score >= 60:
			return 65
		}
		return 0
	}
}

// csv looks at the sample as a CSV list, once.
func (s *sample) csv() *csvPlan {
	if s.plan == nil {
		s.plan = planCSV(s.head, nil)
	}
	return s.plan
}

func (p *csvPlan) name(i int) string {
	if i < len(p.names) {
		return clean(p.names[i])
	}
	return "column " + strconv.Itoa(i+1)
}
