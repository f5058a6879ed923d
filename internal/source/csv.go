package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"spoor/internal/intel"
)

// The reader of CSV lists: what each column holds is told by its name in the header, which feeds spell in many ways, by [Options].Columns, or,
// where there is no header, by the look of each cell.

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

	attributes []intel.Attribute // of the row; the next uses the memory again
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
	l := listed{attribute: c.attributes[:0], reports: slices.Clone(c.reports)}
	if !plain {
		c.facts(&l, cells)
		c.attributes = l.attribute[:0]
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

func noHash(cell []byte) string {
	return fmt.Sprintf("%q is no hash; MD5 has 32 hex digits, SHA-1 40, SHA-256 64", cutText(clean(string(cell)), 80))
}

// hash takes the hashes of a cell that holds nothing else; false when it holds something else.
func (c *csvReader) hash(cell []byte) bool {
	switch len(cell) {
	case 32, 40, 64:
		if h, ok := hexHash(cell); ok {
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
	if len(cell) > 0 && wordByte[cell[0]] && cell[0] != '_' && cell[0]|0x20 != 'n' && cell[0]|0x20 != 'u' {
		return false // it begins as none of the words below
	}
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
	if t, ok := dateTime(string(cell)); ok {
		c.since = t
		return t
	}
	if t, ok := parseTime(string(cell)); ok {
		c.since = t
	}
	return c.since
}
