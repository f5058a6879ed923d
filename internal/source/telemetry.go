package source

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// telemetry reads records of other sensors than Sysmon, one by one: each by the kind that its own fields show, so that an export may mix
// them with each other and with Sysmon's events.
//
// A record is one sighting of the file that it is about, where it carries that file's hash; the process that did it is an end of a relation,
// or the file that reached an address, and is not sighted: its own start was.
type telemetry struct {
	r    *reader
	told map[string]struct{} // attributes of files

	// Of one record:
	fields
	line   int64
	source intel.Source
	at     time.Time
	host   string
	used   bool
}

// telemetryKind is one kind of record.
type telemetryKind struct {
	source string // the name of the source that its observations have
	is     func(*fields) bool
	read   func(*telemetry) error
}

// telemetryKinds are all of them; the first that a record is of reads it.
var telemetryKinds = []telemetryKind{
	{"crowdstrike", isCrowdStrike, readCrowdStrikeRecord},
	{"ocsf", isOCSF, readOCSFRecord},
	{"defender", isDefender, readDefenderRecord},
	{"wazuh", isWazuh, readWazuhRecord},
	{"ecs", isECS, readECSRecord},
	{"velociraptor", isVelociraptor, readVelociraptorRecord},
	{"osquery", isOsquery, readOsqueryRecord},
}

// telemetryRoots are where a record stands within what carries it: itself, a hit of Elasticsearch, a record streamed to an event hub, a
// result of Splunk, the fields of a hit.
var telemetryRoots = []string{"", "_source.", "properties.", "result.", "fields."}

// telemetryKeys stand in a record of one of these kinds, and not in its parts.
var telemetryKeys = [][]byte{[]byte(`"@timestamp"`), []byte(`"ActionType"`), []byte(`"CertificateSerialNumber"`), []byte(`"hostIdentifier"`),
	[]byte(`"class_uid"`), []byte(`"event_simpleName"`), []byte(`"syscheck"`)}

// jsonMayMatter reports whether the bytes of a JSON record can hold what Spoor reads. Most records of most logs hold nothing, so it looks at as
// few bytes as it can.
func jsonMayMatter(raw []byte) bool {
	if hexRun(raw) {
		return true
	}
	if !bytes.Contains(raw, []byte("Sysmon")) {
		return bytes.Contains(raw, []byte(`Hashes"`)) || bytes.Contains(raw, []byte("UtcTime")) && mayMatter(raw)
	}
	// Elastic's pipelines call a process's GUID its entity_id.
	return !otherEvent(raw) && (mayMatter(raw) || bytes.Contains(raw, []byte("entity_id")))
}

// otherEvent reports whether a record of Sysmon has an ID, once, that is none of those that are read. A key's quote is not escaped, so what ran
// on a machine cannot hold one in its text.
func otherEvent(raw []byte) bool {
	for _, key := range [...]string{`EventID":`, `event_id":`} {
		i := bytes.Index(raw, []byte(key))
		if i < 0 {
			continue
		}
		rest := raw[i+len(key):]
		value := bytes.TrimLeft(rest[:min(len(rest), 16)], " \"")
		n := 0
		for n < len(value) && '0' <= value[n] && value[n] <= '9' {
			n++
		}
		id := number(string(value[:n]))
		return n > 0 && n <= 6 && !isRead(id) && !bytes.Contains(rest, []byte(key))
	}
	return false
}

// isRead reports whether events with this ID are read.
func isRead(id int) bool {
	switch id {
	case 1, 3, 6, 7, 15, 22, 23, 26, 27, 29:
		return true
	}
	return false
}

// shortestCut is the fewest hex digits that are taken for a hash, or one that is cut: more than numbers and the parts of GUIDs have.
const shortestCut = 24

// hexRun reports whether a text holds hex digits that may be a hash: it looks at every 24th byte, and around those that are hex digits.
func hexRun(b []byte) bool {
	for i := shortestCut - 1; i < len(b); {
		if !hexDigit[b[i]] {
			i += shortestCut
			continue
		}
		start := i
		for start > 0 && i-start < shortestCut && hexDigit[b[start-1]] {
			start--
		}
		end := i + 1
		for end < len(b) && end-start < shortestCut && hexDigit[b[end]] {
			end++
		}
		if end-start >= shortestCut {
			return true
		}
		i = end + shortestCut - 1
	}
	return false
}

var hexDigit = func() (is [256]bool) {
	for _, c := range "0123456789abcdefABCDEF" {
		is[c] = true
	}
	return is
}()

// wrapsRecords reports whether an object that stands on one line holds a list of records.
func wrapsRecords(object []byte) bool {
	lists := false
	for rest := object; !lists; {
		i := bytes.IndexByte(rest, '[')
		if i < 0 {
			return false
		}
		rest = bytes.TrimLeft(rest[i+1:], " \t")
		lists = len(rest) > 0 && rest[0] == '{'
	}
	return slices.ContainsFunc(telemetryKeys, func(key []byte) bool { return bytes.Contains(object, key) })
}

func newTelemetry(r *reader) *telemetry {
	return &telemetry{r: r, told: map[string]struct{}{}, fields: fields{at: map[string]int{}}}
}

// record reads the record in t.fields.
func (t *telemetry) record(line int64) error {
	for _, t.root = range telemetryRoots {
		for i := range telemetryKinds {
			k := &telemetryKinds[i]
			if !k.is(&t.fields) {
				continue
			}
			t.source = intel.Source{Type: intel.Telemetry, Name: k.source, Marking: t.r.o.Marking}
			t.line, t.at, t.host, t.used = line, time.Time{}, "", false
			err := k.read(t)
			if t.used {
				t.r.result.Used++
			} else {
				t.r.result.Other++
			}
			return err
		}
	}
	t.r.result.Other++
	return nil
}

// when keeps the record's time, which stands in the first of these fields that says something. A time that is none is refused, with ok false.
func (t *telemetry) when(names ...string) (ok bool) {
	name, value := t.first(names...)
	if value == "" {
		return true
	}
	t.at, ok = telemetryTime(value)
	if !ok {
		t.r.refuse(t.line, name, fmt.Sprintf("%q is no time", short(value)))
	}
	return ok
}

// telemetryTime reads a time, also as portals show it to people.
func telemetryTime(s string) (time.Time, bool) {
	if at, ok := parseTime(s); ok {
		return at, true
	}
	for _, layout := range [...]string{"Jan 2, 2006 3:04:05 PM", "Jan 2, 2006, 3:04:05 PM", "Jan 2, 2006 @ 15:04:05", "1/2/2006, 3:04:05 PM", "Mon Jan 2 15:04:05 2006 MST"} {
		if at, err := time.Parse(layout, strings.Join(strings.Fields(s), " ")); err == nil && at.Unix() > 0 {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// hashes reads a file's hashes from the fields of these names. What is no hash of the field's kind is refused; the others stand.
func (t *telemetry) hashes(md5, sha1, sha256 string) (file intel.Hashes) {
	for i, name := range [...]string{md5, sha1, sha256} {
		if name != "" {
			t.setHash(&file, []intel.Algorithm{intel.MD5, intel.SHA1, intel.SHA256}[i], name, t.get(name))
		}
	}
	return file
}

// setHash keeps one hash of a file.
func (t *telemetry) setHash(file *intel.Hashes, want intel.Algorithm, name, value string) {
	if strings.Trim(value, "0") == "" || strings.EqualFold(value, "Unknown") || strings.EqualFold(value, "null") {
		return // as sensors say that they could not read the file
	}
	h, err := intel.ParseHash(value)
	if err == nil && h.Algorithm() != want {
		err = fmt.Errorf("it holds another kind of hash, %s, not %s", h.Algorithm(), want)
	}
	if err != nil {
		t.r.refuse(t.line, t.root+name, err.Error())
		return
	}
	file.Set(h)
}

// fact tells of a file, which must have a hash.
func (t *telemetry) fact(file intel.Hashes, f intel.Fact) error {
	if file.IsZero() {
		return nil
	}
	t.used = true
	return t.r.observe(t.line, &intel.Observation{Source: t.source, Time: t.at, File: file, Fact: f})
}

// sighting tells that the file was seen at its path on the record's host.
func (t *telemetry) sighting(file intel.Object) error {
	s := intel.Sighting{Path: file.Path, Host: t.host}
	if file.Path == "" {
		s.Name = file.Name
	}
	return t.fact(file.Hashes, s)
}

// relation tells of a start or download, when one end has a hash and the other at least a name.
func (t *telemetry) relation(verb intel.Verb, from, to intel.Object) error {
	for _, o := range []*intel.Object{&from, &to} {
		if o.Path != "" {
			o.Name = ""
		}
		if o.IsZero() && o.Path == "" && o.Name == "" {
			return nil
		}
	}
	if from.IsZero() && to.IsZero() {
		return nil
	}
	t.used = true
	return t.r.observe(t.line, &intel.Observation{Source: t.source, Time: t.at, Fact: intel.Relation{Verb: verb, From: from, To: to}})
}

// access tells that the file reached a URL or host, or the IP address alone.
func (t *telemetry) access(file intel.Hashes, url string, ips ...string) error {
	a := webAccess(url, "")
	for _, ip := range ips {
		switch {
		case a.URL == "":
			a = webAccess("", ip)
		case a.URL != strings.TrimSpace(ip):
			a.IPs = addIP(a.IPs, ip)
		}
	}
	if a.URL == "" {
		return nil
	}
	return t.fact(file, a)
}

// download tells where the file came from, and who fetched it.
func (t *telemetry) download(by, file intel.Object, url, referrer, ip string) error {
	a := webAccess(url, ip)
	if url == "" || a.URL != url {
		return nil
	}
	if err := t.fact(file.Hashes, intel.Download{URL: url, Referrer: referrer, IPs: a.IPs}); err != nil {
		return err
	}
	if file.IsZero() {
		return nil
	}
	return t.relation(intel.Downloaded, by, file)
}

// maxTelemetryTold bounds the attributes that are remembered as told.
const maxTelemetryTold = 1 << 18

// attribute tells a property of the bytes, once an input: properties do not count.
func (t *telemetry) attribute(file intel.Hashes, name intel.AttributeName, value string) error {
	if name == intel.Size {
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
			return nil
		}
	}
	return t.once(file, string(name), value, intel.Attribute{Name: name, Value: value})
}

// fuzzy tells a digest by which the file resembles others, once an input.
func (t *telemetry) fuzzy(file intel.Hashes, a intel.FuzzyAlgorithm, value string) error {
	if a == intel.Imphash && (len(value) != 32 || !isHex([]byte(value)) || strings.Trim(value, "0") == "") {
		return nil
	}
	if a == intel.Imphash {
		value = strings.ToLower(value)
	}
	return t.once(file, string(a), value, intel.FuzzyHash{Algorithm: a, Value: value})
}

func (t *telemetry) once(file intel.Hashes, name, value string, f intel.Fact) error {
	if value == "" || file.IsZero() {
		return nil
	}
	key := string(file.Strongest().Prefix(nil, 16)) + name + "\x00" + value
	if _, ok := t.told[key]; ok {
		return nil
	}
	if len(t.told) == maxTelemetryTold {
		clear(t.told)
	}
	t.told[key] = struct{}{}
	return t.fact(file, f)
}

// signature tells who signed the file.
func (t *telemetry) signature(file intel.Hashes, signer string, status intel.SignatureStatus) error {
	if signer == "" {
		return nil
	}
	return t.fact(file, intel.Signature{Signer: signer, Status: status})
}

// trusted reads a word or number for yes.
func trusted(yes bool) intel.SignatureStatus {
	if yes {
		return intel.Trusted
	}
	return intel.NotTrusted
}

// isYes reads a truth value as JSON, CSV and databases spell it.
func isYes(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// fields are the values of one record by the path of their keys with dots, so that nested objects and keys with dots come to the same:
// "process.hash.sha256". The objects of a list have their number in it, "file.hashes.0.value"; other values of a list share one path.
type fields struct {
	root string // what stands before the names that are asked for
	list []field
	at   map[string]int // the first of a path in list
	path []byte
	key  []byte
	keys map[string]string // paths that come again and again
}

type field struct {
	path string
	text
}

// maxPath bounds the path of a field in bytes; what stands deeper is not kept.
const maxPath = 256

func (f *fields) reset() {
	f.root, f.list, f.path = "", f.list[:0], f.path[:0]
	clear(f.at)
}

// get returns the field's value, "" when it says nothing.
func (f *fields) get(name string) string {
	f.key = append(append(f.key[:0], f.root...), name...)
	i, ok := f.at[string(f.key)]
	if !ok {
		return ""
	}
	return f.list[i].say()
}

// has reports whether there is such a field, whatever it says.
func (f *fields) has(names ...string) bool {
	for _, name := range names {
		f.key = append(append(f.key[:0], f.root...), name...)
		if _, ok := f.at[string(f.key)]; ok {
			return true
		}
	}
	return false
}

// first returns the first of the fields that says something.
func (f *fields) first(names ...string) (name, value string) {
	for _, name := range names {
		if value := f.get(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// any returns the value of the first of the fields that says something.
func (f *fields) any(names ...string) string {
	_, value := f.first(names...)
	return value
}

// all returns the values of a list.
func (f *fields) all(name string) (values []string) {
	name = f.root + name
	i, ok := f.at[name]
	if !ok {
		return nil
	}
	for ; i < len(f.list) && f.list[i].path == name; i++ {
		values = append(values, f.list[i].say())
	}
	return values
}

// say returns what a value says.
func (f *field) say() string {
	if !f.escaped {
		return meaningful(clean(string(f.b)))
	}
	return meaningful(clean(string(unescape(f.text, nil))))
}

// set adds a value under the path in f.path.
func (f *fields) set(t text) {
	if len(f.path) > maxPath || string(t.b) == "null" || len(t.b) == 0 {
		return
	}
	path, ok := f.keys[string(f.path)]
	if !ok {
		path = string(f.path)
		if f.keys == nil || len(f.keys) == 1<<14 {
			f.keys = map[string]string{}
		}
		f.keys[path] = path
	}
	if _, ok := f.at[path]; !ok {
		f.at[path] = len(f.list)
	}
	f.list = append(f.list, field{path, t})
}

// parse reads a JSON object. The values stand as long as its bytes do.
func (f *fields) parse(raw []byte) error {
	f.reset()
	c := cursor{b: raw}
	if err := f.value(&c, 0); err != nil {
		return fmt.Errorf("not JSON at byte %d: %w", c.i+1, err)
	}
	return nil
}

func (f *fields) value(c *cursor, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	c.skipBlank()
	if c.i == len(c.b) {
		return errEnds
	}
	switch open := c.b[c.i]; open {
	case '{', '[':
		c.i++
		under := len(f.path)
		for n := 0; ; n++ {
			c.skipBlank()
			if c.i < len(c.b) && n > 0 && c.b[c.i] == ',' {
				c.i++
				c.skipBlank()
			}
			if c.i == len(c.b) {
				return errEnds
			}
			if c.b[c.i] == open+2 { // the bracket that closes
				c.i++
				return nil
			}
			if open == '{' {
				if c.b[c.i] != '"' {
					return errSyntax
				}
				k, err := c.str()
				if err != nil {
					return err
				}
				if c.skipBlank(); c.i == len(c.b) || c.b[c.i] != ':' {
					return errSyntax
				}
				c.i++
				f.step(k.b)
			} else if c.b[c.i] == '{' || c.b[c.i] == '[' {
				f.step(strconv.AppendInt(f.key[:0], int64(n), 10))
			}
			if err := f.value(c, depth+1); err != nil {
				return err
			}
			f.path = f.path[:under]
		}
	case '"':
		t, err := c.str()
		if err != nil {
			return err
		}
		f.set(t)
		return nil
	}
	start := c.i
	for c.i < len(c.b) && c.b[c.i] != ',' && c.b[c.i] != '}' && c.b[c.i] != ']' && c.b[c.i] > ' ' {
		c.i++
	}
	if c.i == start {
		return errSyntax
	}
	f.set(text{b: c.b[start:c.i]})
	return nil
}

// step goes one key deeper, but no deeper than is kept.
func (f *fields) step(key []byte) {
	if len(f.path) > maxPath {
		return
	}
	if len(f.path) > 0 {
		f.path = append(f.path, '.')
	}
	f.path = append(f.path, key[:min(len(key), maxPath+1)]...)
}
