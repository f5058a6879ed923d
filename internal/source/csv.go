package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// The reader of CSV lists: what each column holds is told by its name in the header, which feeds spell in many ways, by [Options].Columns, or,
// where there is no header, by the look of each cell.

// column is what a column of a list holds.
type column uint8

const (
	columnNone     column = iota
	columnMD5             // as columnHash; the name is what refusals tell
	columnSHA1            //
	columnSHA256          //
	columnHash            // one hash or several
	columnValue           // hash or address: the type says, else its look
	columnAny             // as columnValue, in a list without a header
	columnType            // what manner of value columnValue holds
	columnAddress         // URL, domain or IP address
	columnC2              // an address that the row's file contacts
	columnDownload        // an address that the row's file came from
	columnName            // file name
	columnSize            // in bytes
	columnFileType        // format of the file
	columnThreat          // family or other name of the threat
	columnDetected        // a name that an engine gives
	columnComment         // text; it names the threat where no other column does
	columnSince           // when it was listed or first seen
	columnLink            // of a report
	columnImphash
	columnSSDeep
	columnTLSH
)

// columnNames are the names of what a column holds, as Options.Columns takes them.
var columnNames = map[string]column{"none": columnNone, "md5": columnMD5, "sha1": columnSHA1, "sha256": columnSHA256, "hash": columnHash, "value": columnValue,
	"type": columnType, "address": columnAddress, "c2": columnC2, "download": columnDownload, "name": columnName, "size": columnSize,
	"file_type": columnFileType, "threat": columnThreat, "detection": columnDetected, "comment": columnComment, "since": columnSince, "link": columnLink,
	"imphash": columnImphash, "ssdeep": columnSSDeep, "tlsh": columnTLSH}

// ColumnKinds lists what Options.Columns may say of a column.
func ColumnKinds() []string { return slices.Sorted(maps.Keys(columnNames)) }

// columnSpellings are the names that feeds give to columns, in lower case, letters and digits alone.
var columnSpellings = func() map[string]column {
	m := map[string]column{}
	for kind, names := range map[column]string{
		columnNone: "malwarebazaar tags reporter anonymous confidencelevel urlid urlstatus lastonline lastseen lastseenutc urlhauslink vtpercent iocid hashtype indicatorid " +
			"indicatordescription iocdescription filedescription md5certificate sha384hash sha3384hash",
		columnMD5:      "md5 md5hash filehashmd5 hashmd5 md5sum md5digest filemd5",
		columnSHA1:     "sha1 sha1hash filehashsha1 hashsha1 sha1sum filesha1",
		columnSHA256:   "sha256 sha256hash filehashsha256 hashsha256 sha256sum filesha256 sha2",
		columnHash:     "hash hashes filehash filehashes checksum digest hashvalue samplehash malwarehash filehashvalue",
		columnValue:    "value values data ioc iocs indicator indicators iocvalue indicatorvalue observable observables artifact artefact sample samples observablevalue indicatorofcompromise indicatorsofcompromise attributevalue",
		columnType:     "type indicatortype ioctype entitytype kind observabletype datatype attributetype subtype valuetype category indicatorcategory ioccategory",
		columnAddress:  "url urls uri domain domains domainname fqdn host hosts hostname hostnames ip ips ipaddress ipaddresses ipv4 ipv6 address addresses ipport associatedurl dstip srcip destinationip sourceip networkindicator domainip ipdomain",
		columnC2:       "c2 c2s c2server c2servers c2domain c2domains c2url c2urls c2address c2addresses c2ip cnc cncserver ccserver cc command commandandcontrol candc cand c2host",
		columnDownload: "downloadurl itwurl payloadurl distributionurl hostingurl",
		columnName:     "filename filenames file name originalfilename itwfilename samplename filepath drivername packagename package path originalname filenameorpath",
		columnSize:     "filesize size sizebytes filesizebytes sizeinbytes filelength bytes",
		columnFileType: "filetype filetypeguess mimetype mime filetypemime fileformat format magic",
		columnThreat: "threat threatname family malwarefamily malware signature malwareprintable malwarename toolname tool associatedmalware app component " +
			"ransomware ransomwarefamily classification campaign actor threatactor cluster1",
		columnDetected: "detection detectionname detections esetdetectionname clamav virusname avdetection",
		columnComment:  "threattype malwaretype note notes comment comments description desc details detail context info information remark remarks othercontext",
		columnSince:    "firstseen firstseenutc dateadded date added datefirstseen firstsubmission created createdat timegenerated firstseendate addeddate firstsubmissiondate seen",
		columnLink:     "reference references referenceurl link links report reporturl reportlink source sourceurl blog blogpost externalreference publication reflink refs ref",
		columnImphash:  "imphash", columnSSDeep: "ssdeep", columnTLSH: "tlsh",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = kind
		}
	}
	return m
}()

// columnOf tells by a name what a column holds; known is false for a name that says nothing.
func columnOf(name string) (kind column, known bool) {
	plain := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	if len(name) > 60 || plain == "" || strings.ContainsAny(name, `="`) {
		return columnNone, false
	}
	if kind, known = columnSpellings[plain]; known {
		return kind, true
	}
	other := false // what the row's file makes, or what is no threat
	words(name, func(w string) bool {
		other = other || w == "log" || w == "decoy" || w == "dropped" || strings.HasPrefix(w, "victim") || strings.HasPrefix(w, "target") || strings.HasPrefix(w, "legit")
		return true
	})
	if other || namesNoFile(name) {
		return columnNone, true
	}
	has := func(s string) bool { return strings.Contains(plain, s) }
	switch {
	case has("sha256"):
		return columnSHA256, true
	case has("sha1") && !has("sha1withrsa"):
		return columnSHA1, true
	case has("md5"):
		return columnMD5, true
	case strings.HasSuffix(plain, "hash"), strings.HasSuffix(plain, "hashes"):
		return columnHash, true
	case has("detectionname"), has("detection") && len(plain) < 24:
		return columnDetected, true
	}
	last := ""
	words(name, func(w string) bool { last = w; return true })
	switch last {
	case "ioc", "iocs", "indicator", "indicators":
		return columnValue, true
	case "url", "urls", "domain", "domains", "hostname", "ip", "ips":
		return columnAddress, true
	case "filename", "filenames":
		return columnName, true
	case "family":
		return columnThreat, true
	}
	return columnNone, false
}

// bears reports whether a column names what is listed.
func (c column) bears() bool {
	return c >= columnMD5 && c <= columnValue || c >= columnAddress && c <= columnDownload
}

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
		c.row = append(c.row[:0], line...)
		var open bool
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

// csvReader is the reading of one CSV list.
type csvReader struct {
	r       *reader
	feed    string
	own     string
	engine  string // who gives threats their names, "" when nobody says so
	plan    *csvPlan
	found   foundHashes
	types   map[string]valueType
	lastDay []byte
	since   time.Time
	address []string
	reports []intel.Publication // that the rows are part of
}

func readCSV(r *reader) error {
	for column, kind := range r.o.Columns {
		if _, ok := columnNames[kind]; !ok {
			return &intel.Refusal{Field: column, Reason: fmt.Sprintf("a column holds none %q; it may be one of %v", short(kind), ColumnKinds())}
		}
	}
	head, err := r.in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return err
	}
	p := planCSV(bytes.Clone(head), r.o.Columns)
	if p.delimiter == 0 {
		p.delimiter = ','
		for i := range 64 {
			p.columns = append(p.columns, mapped(r.o.Columns, "", i, columnAny))
		}
	}
	c := &csvReader{r: r, plan: p, feed: r.feed(p.own), own: p.own, types: map[string]valueType{}}
	if p.own != "" {
		c.engine = p.own
	}
	rows := csvRows{r: r, delimiter: p.delimiter}
	lines := 0 // that are not blank
	for {
		before := rows.r.result.Records
		cells, number, err := rows.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		lines += int(r.result.Records - before)
		if lines-1 == p.header || len(cells[0]) > 0 && cells[0][0] == '#' {
			r.result.Other++
			continue
		}
		if err := c.row(cells, number); err != nil {
			return err
		}
	}
}

// valueType is what a type column says of the value beside it.
type valueType uint8

const (
	valueUnknown valueType = iota
	valueHash              // a hash it must be
	valueFile              // a hash, if anything
	valueAddress
	valueOther
)

// typeOf reads a cell of a type column.
func (c *csvReader) typeOf(cell []byte) valueType {
	t, ok := c.types[string(cell)]
	if !ok {
		if len(c.types) > 10_000 {
			clear(c.types)
		}
		t = valueTypeOf(string(cell))
		c.types[string(cell)] = t
	}
	return t
}

func valueTypeOf(s string) valueType {
	if namesNoFile(s) {
		return valueOther
	}
	t := valueUnknown
	words(strings.ReplaceAll(s, ":", " "), func(w string) bool {
		switch w {
		case "url", "urls", "uri", "domain", "domains", "hostname", "hostnames", "host", "fqdn", "ip", "ips", "ipv4", "ipv6", "ipaddress", "ipport", "ipdst", "ipsrc",
			"ipaddr", "domainname", "subdomain", "c2", "ip4", "ip6":
			t = valueAddress
		case "file", "sample", "malware", "payload", "binary", "executable":
			t = max(t, valueFile)
		case "filename", "filenames", "filepath", "path", "mail", "registry", "regkey", "pdb", "cve", "asn", "useragent", "yara", "mitre", "name", "string", "ttp", "attack":
			t = valueOther
			return false
		case "certificate":
			t = valueOther
			return false
		}
		switch {
		case strings.HasPrefix(w, "email"):
			t = valueOther
			return false
		case strings.Contains(w, "md5"), strings.Contains(w, "sha1"), strings.Contains(w, "sha256"), strings.HasSuffix(w, "hash"), strings.HasSuffix(w, "hashes"), w == "sha2":
			t = valueHash
			return false
		}
		return true
	})
	return t
}

// row reads one row.
func (c *csvReader) row(cells [][]byte, number int64) error {
	r := c.r
	c.found.reset()
	c.address = c.address[:0]
	cells = cells[:min(len(cells), len(c.plan.columns))]
	typ := valueUnknown
	for i, cell := range cells {
		switch kind := c.plan.columns[i]; {
		case len(cell) == 0:
		case kind == columnType && typ == valueUnknown: // of two, such as a type and a category, the first that says something
			typ = c.typeOf(cell)
		case kind == columnComment && otherDigestComment(cell):
			typ = valueOther
		}
	}
	refused, plain := false, true
	contacts, from := 0, 0
	for i, cell := range cells {
		if len(cell) == 0 {
			continue
		}
		switch kind := c.plan.columns[i]; kind {
		case columnNone, columnType:
		case columnMD5, columnSHA1, columnSHA256, columnHash:
			if !c.hash(cell) {
				refused = true
				r.refuse(number, c.plan.name(i), noHash(cell))
			}
		case columnValue, columnAny:
			if kind == columnAny && i > 0 && len(cell) >= 32 && namesNoFile(string(cells[i-1])) && len(cells[i-1]) < 40 {
				continue // a row of a name and its value
			}
			if !c.value(cell, typ) {
				refused = true
				why := "no web address"
				if typ == valueHash {
					why = noHash(cell)
				}
				r.refuse(number, c.plan.name(i), why)
			}
		case columnAddress, columnC2, columnDownload:
			before := len(c.address)
			c.addresses(cell, true)
			switch {
			case kind == columnC2:
				contacts += len(c.address) - before
			case kind == columnDownload, c.own == "URLhaus":
				from += len(c.address) - before
			}
			plain = false
		default:
			plain = false
		}
	}
	for _, n := range c.found.wrong {
		refused = true
		r.refuseCut(number, "", n)
	}
	if len(c.found.all) == 0 && len(c.address) == 0 {
		if !refused {
			r.result.Other++
		}
		return nil
	}
	r.result.Used++
	l := listed{reports: slices.Clone(c.reports)}
	if !plain {
		c.facts(&l, cells)
	}
	for _, a := range c.address {
		if err := r.list(number, c.feed, entry{address: a, threat: l.threat, since: l.since}); err != nil {
			return err
		}
	}
	files := c.found.files()
	if len(files) > 1 {
		l = listed{zone: l.zone, threat: l.threat, since: l.since, reports: l.reports, engine: l.engine} // what else is said is not said of each
	} else if len(files) == 1 {
		// Addresses stand in the order of the columns; those of a row with one kind of them are told of the file.
		switch len(c.address) {
		case contacts:
			l.contacts = c.address
		case from:
			l.from = c.address
		}
	}
	for _, f := range files {
		l.file = f
		if err := r.listFile(number, c.feed, &l); err != nil {
			return err
		}
	}
	return nil
}

// otherDigestComment reports whether a comment begins with saying that the hash beside it is no file's.
func otherDigestComment(cell []byte) (yes bool) {
	n := 0
	words(string(cell[:min(len(cell), 100)]), func(w string) bool {
		switch w {
		case "thumbprint", "thumbprints", "fingerprint", "fingerprints", "imphash", "authentihash", "jarm", "ja3", "ja3s":
			yes = true
		}
		n++
		return !yes && n < 4
	})
	return yes
}

func (p *csvPlan) name(i int) string {
	if i < len(p.names) {
		return clean(p.names[i])
	}
	return "column " + strconv.Itoa(i+1)
}

func noHash(cell []byte) string {
	return fmt.Sprintf("%q is no hash; MD5 has 32 hex digits, SHA-1 40, SHA-256 64", cutText(clean(string(cell)), 80))
}

// hash takes the hashes of a cell that holds nothing else; false when it holds something else.
func (c *csvReader) hash(cell []byte) bool {
	switch len(cell) {
	case 32, 40, 64:
		if h, err := intel.ParseHash(string(cell)); err == nil {
			c.found.all = append(c.found.all, h)
			c.found.tied = c.found.tied && (c.found.one.Get(h.Algorithm()).IsZero() || c.found.one.Get(h.Algorithm()) == h)
			c.found.one.Set(h)
			return true
		}
	}
	if cell = trimMarks(cell); len(cell) == 0 {
		return true
	}
	before := len(c.found.all) + len(c.found.wrong)
	c.found.add(cell)
	return len(c.found.all)+len(c.found.wrong) > before || absent(cell)
}

// absent reports whether a cell says that there is nothing in it.
func absent(cell []byte) bool {
	switch s := string(cell); {
	case meaningful(s) == "":
	case strings.EqualFold(s, "none"), strings.EqualFold(s, "null"), strings.EqualFold(s, "na"), strings.EqualFold(s, "unknown"), strings.EqualFold(s, "nan"), strings.EqualFold(s, "not available"), strings.Trim(s, "-–—_. ") == "":
	default:
		return false
	}
	return true
}

// value takes what a cell holds that may be of several kinds; false when the type says what it is not.
func (c *csvReader) value(cell []byte, t valueType) bool {
	switch t {
	case valueOther:
		return true
	case valueHash:
		return c.hash(cell)
	case valueAddress:
		return c.addresses(cell, true) || absent(trimMarks(cell))
	}
	cell = trimMarks(cell)
	if len(cell) >= 30 && (bytes.IndexByte(cell, '/') < 0 && bytes.IndexByte(cell, '.') < 0 || isHex(cell)) {
		before := len(c.found.all)
		if c.found.add(cell); len(c.found.all) > before {
			return true
		}
	}
	if t != valueFile {
		c.addresses(cell, false)
	}
	return true
}

// addresses takes the addresses of a cell; false when there is none.
func (c *csvReader) addresses(cell []byte, sure bool) bool {
	cell = trimMarks(cell)
	add := func(s string) bool {
		a, ok := listAddress(s, sure)
		if ok && !slices.Contains(c.address, a) && !sampleLink(a) && len(c.address) < 1000 {
			c.address = append(c.address, a)
		}
		return ok
	}
	if len(cell) == 0 {
		return false
	}
	if !bytes.ContainsAny(cell, " \t\n;,|") {
		return add(string(cell))
	}
	if bytes.Contains(cell, []byte("://")) && !bytes.ContainsAny(cell, " \t\n") && add(string(cell)) {
		return true
	}
	found := false
	for part := range strings.FieldsFuncSeq(string(cell), func(c rune) bool { return c <= ' ' || c == ';' || c == ',' || c == '|' || c == '\u00a0' }) {
		if add(strings.Trim(part, "'\"()")) {
			found = true
		} else if !sure {
			break // words after an address are a comment; words before it make it a text
		}
	}
	return found
}

// facts takes all that the row says beside what it lists.
func (c *csvReader) facts(l *listed, cells [][]byte) {
	comment, detected, link := "", "", ""
	detectedBy := ""
	for i, cell := range cells {
		kind := c.plan.columns[i]
		if kind < columnName {
			continue
		}
		if cell = bytes.TrimSpace(cell); len(cell) == 0 || absent(cell) {
			continue
		}
		switch kind {
		case columnName:
			for _, name := range fileNames(string(cell)) {
				l.name(name)
			}
		case columnSize:
			l.size(string(cell))
		case columnFileType:
			if !slices.ContainsFunc(l.attribute, func(a intel.Attribute) bool { return a.Name == intel.Type }) {
				l.add(intel.Type, string(cell))
			}
		case columnThreat:
			if l.threat == "" {
				l.threat = clean(string(cell))
			}
		case columnDetected:
			if detected == "" {
				detected, detectedBy = clean(string(cell)), engineOf(c.plan.name(i))
			}
		case columnComment:
			comment = cmp.Or(comment, clean(string(cell)))
		case columnSince:
			if l.since.IsZero() {
				l.since = c.time(cell)
			}
		case columnLink:
			if _, found := linkIn(string(cell)); found != "" {
				link = cmp.Or(link, found)
			}
		case columnImphash:
			l.resembles(intel.Imphash, string(cell))
		case columnSSDeep:
			l.resembles(intel.SSDeep, string(cell))
		case columnTLSH:
			l.resembles(intel.TLSH, string(cell))
		}
	}
	if c.own != "" && l.threat != "" {
		l.engine = c.engine
	} else if clean := notDetected(detected); clean && c.r.o.Zone > intel.Gray {
		l.zone = intel.Gray // a clean file that the malware brings or abuses
	} else if detected != "" && !clean {
		l.threat, l.engine = detected, cmp.Or(detectedBy, c.feed)
	}
	before, inComment := linkIn(comment)
	title := strings.Trim(strings.TrimSpace(before), " -–—:;(<[")
	if l.threat == "" {
		l.threat = title
	}
	if link = cmp.Or(link, inComment); link != "" && !sampleLink(link) {
		if p, ok := report(title, link); ok {
			l.reports = append(l.reports, p)
		}
	}
}

// fileNames returns the names in a cell, which are several where each stands in backquotes.
func fileNames(cell string) []string {
	parts := strings.Split(cell, "`")
	if len(parts) < 3 || len(parts)%2 == 0 {
		return []string{cell}
	}
	var names []string
	for i := 1; i < len(parts); i += 2 {
		names = append(names, parts[i])
	}
	return names
}

// notDetected reports whether a list says in the place of a detection's name that the engine finds nothing.
func notDetected(name string) bool {
	switch strings.ToLower(strings.Trim(name, "_*. ")) {
	case "clean", "benign", "undetected", "not detected", "legitimate", "legit", "no detection":
		return true
	}
	return false
}

// engineOf returns who gave the names in a column: "ESET" of "ESET detection name".
func engineOf(column string) string {
	i := strings.Index(strings.ToLower(column), "detection")
	if strings.EqualFold(column, "clamav") {
		return "ClamAV"
	}
	if i <= 0 {
		return ""
	}
	return strings.Trim(column[:i], " _-.")
}

// sampleLink reports whether a link leads to a sample in a collection, not to a report.
func sampleLink(link string) bool {
	for _, host := range [...]string{"://bazaar.abuse.ch/", "://urlhaus.abuse.ch/", "://threatfox.abuse.ch/", "://yaraify.abuse.ch/", "://www.virustotal.com/", "://virustotal.com/",
		"://app.any.run/", "://any.run/", "://tria.ge/", "://www.hybrid-analysis.com/", "://hybrid-analysis.com/", "://www.joesandbox.com/", "://joesandbox.com/", "://analyze.intezer.com/",
		"://opentip.kaspersky.com/", "://otx.alienvault.com/indicator/file", "://malshare.com/", "://polyswarm.network/", "://hashlookup.circl.lu/", "://www.unpac.me/",
		"://metadefender.opswat.com/", "://valhalla.nextron-systems.com/", "://s.threatbook.com/", "://labs.inquest.net/", "://www.filescan.io/", "://vms.drweb.com/"} {
		if strings.Contains(link, host) {
			return true
		}
	}
	return false
}

// time reads a moment; rows that follow each other bear the same, or one of the same form.
func (c *csvReader) time(cell []byte) time.Time {
	if bytes.Equal(cell, c.lastDay) && len(cell) > 0 {
		return c.since
	}
	c.lastDay = append(c.lastDay[:0], cell...)
	c.since = time.Time{}
	if len(cell) == len(time.DateTime) && cell[10] == ' ' {
		if t, err := time.Parse(time.DateTime, string(cell)); err == nil && t.Year() >= 1971 && t.Year() < 2200 {
			c.since = t
			return t
		}
	}
	if t, ok := parseTime(string(cell)); ok {
		c.since = t
	}
	return c.since
}
