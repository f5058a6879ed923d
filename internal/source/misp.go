package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

func sniffMISP(s *sample) int {
	mark := func(marks ...string) bool {
		return slices.ContainsFunc(marks, func(m string) bool { return bytes.Contains(s.head, []byte(`"`+m+`"`)) })
	}
	switch {
	case mispHashes.Match(s.first) && bytes.Count(s.head, []byte{','}) >= bytes.Count(s.trimmed, []byte{'\n'}):
		return 70
	case !s.json():
		return 0
	case (s.has("Event") || s.has("response")) && mark("threat_level_id", "Orgc", "to_ids", "publish_timestamp"):
		return 80
	case s.has("info") && (s.has("threat_level_id") || s.has("Attribute") || s.has("Orgc")):
		return 80
	case s.has("Attribute") && mark("to_ids", "Orgc", "threat_level_id"):
		return 80
	case mispManifest.Match(s.trimmed) && mark("Orgc", "info"):
		return 70
	}
	return 0
}

var (
	// mispHashes is a line of a MISP feed's hashes.csv.
	mispHashes = regexp.MustCompile(`^[0-9a-f]{32},[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	// mispManifest begins a MISP feed's manifest.json: events by their ids.
	mispManifest = regexp.MustCompile(`^\{\s*"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"\s*:\s*\{`)
)

// readMISP reads MISP events: alone, in a response, in a list, an event a line; and knows the other two files of a MISP feed, which hold nothing of files.
//
// An attribute with to_ids is a listing; one without is context (a clean file that the malware drops, a legitimate host): it is not listed, but a
// file that it names is still one that the event speaks of, so the event is a publication of it. There are organisations that never set to_ids (old
// events of ESET): in an event without a single one, hashes whose category says that they are of the attack's payload are listed all the same;
// addresses are not. What one file object states is one file.
func readMISP(r *reader) error {
	if c, err := r.in.Peek(1); err == nil && isHex(c) {
		return mispHashesOnly(r)
	}
	s := newJSONStream(r)
	m := &misp{r: r, s: s}
	return s.each(func() error { return m.inner(0) })
}

// mispHashesOnly passes over hashes.csv: its MD5s are of the values of attributes, whatever these are, and no file's.
func mispHashesOnly(r *reader) error {
	told := false
	return r.each(func(line []byte, number int64) error {
		if r.result.Other++; !told {
			r.refuse(number, "", "the hashes of a MISP feed's hashes.csv are of the values of attributes, not of files; import its events")
			told = true
		}
		return nil
	})
}

type misp struct {
	r *reader
	s *jsonStream
}

// maxMISPEntries is how many files and addresses of one event are kept; those that follow are told without what the event says behind them.
const maxMISPEntries = 200_000

// mispEvent is an event as far as it was read.
type mispEvent struct {
	id, title  string
	org        string
	date       string
	updated    string
	level      string
	link       string
	tags       []string
	flagged    bool // it has an attribute with to_ids
	entries    []mispEntry
	objects    map[string]int // the entries of file objects by the objects' ids
	references []mispReference
	parts      map[string][]intel.FuzzyHash // of "pe" and "elf" objects, by their ids
}

// mispReference says that one object includes another.
type mispReference struct{ from, to string }

// mispEntry is a file or an address of an event.
type mispEntry struct {
	line    int64
	listed  bool
	payload bool // its category says that it is the attack's
	file    intel.Hashes
	address string
	name    string
	size    string
	fuzzy   []intel.FuzzyHash
	tags    []string
	since   time.Time
	event   *mispContext // of an attribute that names its event itself
}

type mispContext struct {
	Info string   `json:"info"`
	UUID string   `json:"uuid"`
	Orgc mispOrg  `json:"Orgc"`
	Date mispText `json:"date"`
}

type mispOrg struct {
	Name string `json:"name"`
}

type mispTag struct {
	Name string `json:"name"`
}

type mispAttribute struct {
	Type      string       `json:"type"`
	Category  string       `json:"category"`
	Value     mispText     `json:"value"`
	Relation  string       `json:"object_relation"`
	ToIDs     mispText     `json:"to_ids"`
	Deleted   mispText     `json:"deleted"`
	Timestamp mispText     `json:"timestamp"`
	FirstSeen mispText     `json:"first_seen"`
	Tags      []mispTag    `json:"Tag"`
	Event     *mispContext `json:"Event"`
}

type mispObject struct {
	Name       string          `json:"name"`
	UUID       string          `json:"uuid"`
	Deleted    mispText        `json:"deleted"`
	Attributes []mispAttribute `json:"Attribute"`
	References []struct {
		To      string   `json:"referenced_uuid"`
		Verb    string   `json:"relationship_type"`
		Deleted mispText `json:"deleted"`
	} `json:"ObjectReference"`
}

// mispText is a text, number or truth, as MISP's versions spell one field by turns.
type mispText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *mispText) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case string(b) == "null" || len(b) > 0 && (b[0] == '{' || b[0] == '['):
	case len(b) > 0 && b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	default:
		s = string(b)
	}
	*t = mispText(s)
	return nil
}

func (t mispText) truth() bool { return t == "1" || strings.EqualFold(string(t), "true") }

// top reads an event, or what is around events, into e; an event within an object or list is one of its own.
func (m *misp) top(e *mispEvent, depth int) error {
	s := m.s
	c, ok := s.next()
	switch {
	case !ok:
		return s.ends()
	case depth > 8 || c != '{' && c != '[':
		_, err := s.value()
		return err
	case c == '[':
		return s.array(func() error { return m.inner(depth) })
	}
	return s.object(func(key string) error {
		switch key {
		case "Event", "response":
			return m.inner(depth)
		case "Attribute":
			if c, _ := s.next(); c == '[' {
				return s.array(func() error { return m.attribute(e) })
			}
		case "Object":
			if c, _ := s.next(); c == '[' {
				return s.array(func() error { return m.object(e) })
			}
		}
		raw, err := s.value()
		if err != nil || raw == nil {
			return err
		}
		e.set(key, raw)
		return nil
	})
}

// inner reads an event, or what is around events, and tells of it, also when it is cut.
func (m *misp) inner(depth int) error {
	e := &mispEvent{}
	err := m.top(e, depth+1)
	if told := m.tell(e); told != nil {
		return told
	}
	return err
}

// set takes a field of an event.
func (e *mispEvent) set(key string, raw []byte) {
	text := func() string {
		var t mispText
		if err := json.Unmarshal(raw, &t); err != nil {
			return ""
		}
		return strings.TrimSpace(clean(string(t)))
	}
	switch key {
	case "uuid":
		e.id = text()
	case "info":
		e.title = text()
	case "date":
		e.date = text()
	case "publish_timestamp":
		if t := text(); t != "0" {
			e.updated = cmp.Or(t, e.updated)
		}
	case "timestamp":
		e.updated = cmp.Or(e.updated, text())
	case "threat_level_id":
		e.level = text()
	case "Orgc":
		var o mispOrg
		if json.Unmarshal(raw, &o) == nil {
			e.org = strings.TrimSpace(o.Name)
		}
	case "Org":
		var o mispOrg
		if json.Unmarshal(raw, &o) == nil && e.org == "" {
			e.org = strings.TrimSpace(o.Name)
		}
	case "Tag":
		var tags []mispTag
		if err := json.Unmarshal(raw, &tags); len(tags) > 0 || err == nil {
			e.tags = mispTags(tags)
		}
	}
}

// mispTags returns the names of tags, no more than anyone needs.
func mispTags(tags []mispTag) (names []string) {
	for _, t := range tags {
		if name := fitText(strings.TrimSpace(t.Name)); name != "" && len(names) < 256 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// decode reads an attribute or object; false when it was refused.
func (m *misp) decode(v any) (bool, error) {
	raw, err := m.s.value()
	if err != nil {
		return false, err
	}
	m.r.result.Records++
	if raw == nil {
		m.r.refuse(m.s.begun, "", fmt.Sprintf("an object longer than %d bytes", maxObject))
		return false, nil
	}
	var misfit *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, v); err != nil && !errors.As(err, &misfit) {
		m.r.refuse(m.s.begun, "", "not JSON: "+err.Error())
		return false, nil
	}
	return true, nil
}

func (m *misp) attribute(e *mispEvent) error {
	var a mispAttribute
	ok, err := m.decode(&a)
	if !ok {
		return err
	}
	if a.Deleted.truth() {
		m.r.result.Other++
		return nil
	}
	if a.Type == "link" && (e.link == "" || a.Category == "External analysis" && !strings.HasPrefix(e.link, "http")) && strings.HasPrefix(strings.ToLower(string(a.Value)), "http") && mispReport(string(a.Value)) {
		e.link = fitText(strings.TrimSpace(string(a.Value)))
		m.r.result.Used++
		return nil
	}
	e.flagged = e.flagged || a.ToIDs.truth()
	f := m.file(&a)
	addresses := mispAddresses(&a)
	if f.file.IsZero() && len(addresses) == 0 {
		m.r.result.Other++
		return nil
	}
	m.r.result.Used++
	f.line, f.listed, f.payload, f.tags, f.since, f.event = m.s.begun, a.ToIDs.truth(), mispPayload(&a), mispTags(a.Tags), mispSince(&a), a.Event
	if !f.file.IsZero() {
		if err := m.add(e, f); err != nil {
			return err
		}
	}
	return m.addresses(e, f, addresses)
}

// mispReport reports whether a link may lead to what the event is about, not to a lookup of one file.
func mispReport(url string) bool {
	for _, site := range []string{"virustotal.com/", "hybrid-analysis.com/", "malwr.com/", "any.run/", "urlscan.io/", "joesandbox.com/", "tria.ge/"} {
		if strings.Contains(url, site) {
			return false
		}
	}
	return true
}

// addresses adds the addresses of an attribute, where they are listed.
func (m *misp) addresses(e *mispEvent, of mispEntry, addresses []string) error {
	if !of.listed {
		return nil
	}
	of.file, of.name = intel.Hashes{}, ""
	for _, of.address = range addresses {
		if err := m.add(e, of); err != nil {
			return err
		}
	}
	return nil
}

// add keeps an entry; when there are too many, those so far are told.
func (m *misp) add(e *mispEvent, f mispEntry) error {
	if len(e.entries) >= maxMISPEntries {
		m.r.refuse(f.line, "", fmt.Sprintf("an event of more than %d files and addresses: those before are told without what it says behind them", maxMISPEntries))
		if err := m.tell(e); err != nil {
			return err
		}
	}
	e.entries = append(e.entries, f)
	return nil
}

// mispPayload reports whether an attribute's category says that it is of the attack's payload.
func mispPayload(a *mispAttribute) bool {
	switch a.Category {
	case "Payload delivery", "Payload installation", "Payload type", "Artifacts dropped", "Antivirus detection":
		return true
	}
	return false
}

func mispSince(a *mispAttribute) time.Time {
	t, _ := parseTime(cmp.Or(string(a.FirstSeen), string(a.Timestamp)))
	return t
}

// file reads the hash of an attribute, and the name that is joined to it.
func (m *misp) file(a *mispAttribute) (e mispEntry) {
	value := string(a.Value)
	kind := a.Type
	if kind == "malware-sample" {
		kind = "filename|md5"
	}
	if rest, ok := strings.CutPrefix(kind, "filename|"); ok {
		if kind = rest; kind != "md5" && kind != "sha1" && kind != "sha256" {
			return e
		}
		i := strings.LastIndexByte(value, '|')
		if i < 0 {
			m.r.refuse(m.s.begun, a.Type, "no | between name and hash")
			return e
		}
		e.name, value = strings.TrimSpace(value[:i]), value[i+1:]
	}
	if kind != "md5" && kind != "sha1" && kind != "sha256" {
		return e
	}
	var f stixFile
	if why := f.digest(kind, value); why != "" {
		m.r.refuse(m.s.begun, a.Type, why)
	}
	e.file = f.hashes
	return e
}

// mispAddresses returns the addresses that an attribute names.
func mispAddresses(a *mispAttribute) (found []string) {
	value := strings.TrimSpace(string(a.Value))
	first, second, two := strings.Cut(value, "|")
	ip := func(s string) {
		if s = strings.TrimSuffix(strings.TrimSuffix(s, "/32"), "/128"); !strings.Contains(s, "/") { // a network is no address
			found = append(found, s)
		}
	}
	switch a.Type {
	case "domain", "hostname", "url":
		found = append(found, value)
	case "ip-dst", "ip-src":
		ip(value)
	case "ip-dst|port", "ip-src|port":
		ip(first)
	case "hostname|port":
		found = append(found, first)
	case "domain|ip":
		if found = append(found, first); two {
			ip(second)
		}
	}
	return found
}

// mispOther are words in the names of objects whose hashes are no files'.
var mispOther = []string{"-section", "section-", "x509", "certificate", "crypto", "ssh", "git", "commit", "credential", "ja3", "jarm", "blockchain", "coin"}

// object reads an object. A file's hashes, name, size and fuzzy hashes are of one file, as long as it names each algorithm once.
func (m *misp) object(e *mispEvent) error {
	var o mispObject
	ok, err := m.decode(&o)
	if !ok {
		return err
	}
	if o.Deleted.truth() {
		m.r.result.Other++
		return nil
	}
	line := m.s.begun
	files := !slices.ContainsFunc(mispOther, func(word string) bool { return strings.Contains(o.Name, word) })
	one, several, used := mispEntry{line: line}, false, false
	var apart []mispEntry
	for i := range o.Attributes {
		a := &o.Attributes[i]
		if a.Deleted.truth() {
			continue
		}
		e.flagged = e.flagged || a.ToIDs.truth()
		own := mispEntry{line: line, listed: a.ToIDs.truth(), payload: mispPayload(a), tags: mispTags(a.Tags), since: mispSince(a)}
		addresses := mispAddresses(a)
		used = used || len(addresses) > 0 && own.listed
		if err := m.addresses(e, own, addresses); err != nil {
			return err
		}
		value := strings.TrimSpace(string(a.Value))
		switch a.Type {
		case "filename":
			if a.Relation == "filename" || a.Relation == "" {
				one.name = cmp.Or(one.name, value)
			}
			continue
		case "size-in-bytes":
			one.size = cmp.Or(one.size, value)
			continue
		case "ssdeep", "tlsh", "imphash", "authentihash", "telfhash":
			if len(one.fuzzy) < 8 && value != "" {
				one.fuzzy = append(one.fuzzy, intel.FuzzyHash{Algorithm: intel.FuzzyAlgorithm(a.Type), Value: value})
			}
			continue
		case "link":
			if a.Relation == "link" && e.link == "" && mispReport(value) && o.Name == "report" && strings.HasPrefix(value, "http") {
				e.link = fitText(value)
			}
			continue
		}
		if !files || !mispOwnHash(a.Relation) {
			continue
		}
		f := m.file(a)
		if f.file.IsZero() {
			continue
		}
		own.file, own.name = f.file, f.name
		h := f.file.Strongest()
		has := one.file.Get(h.Algorithm())
		several = several || !has.IsZero() && has != h
		one.file.Set(h)
		one.name = cmp.Or(one.name, f.name)
		one.listed, one.payload = one.listed || own.listed, one.payload || own.payload
		one.tags = append(one.tags, own.tags...)
		if one.since.IsZero() || !own.since.IsZero() && own.since.Before(one.since) {
			one.since = own.since
		}
		apart = append(apart, own)
	}
	if used = used || len(apart) > 0; used {
		m.r.result.Used++
	} else {
		m.r.result.Other++
	}
	switch {
	case several:
		for _, f := range apart {
			if err := m.add(e, f); err != nil {
				return err
			}
		}
	case len(apart) > 0:
		if err := m.add(e, one); err != nil {
			return err
		}
		e.refer(&o, len(e.entries)-1)
	case o.Name == "pe" || o.Name == "elf" || o.Name == "macho":
		if len(one.fuzzy) > 0 && o.UUID != "" {
			if e.parts == nil {
				e.parts = map[string][]intel.FuzzyHash{}
			}
			if len(e.parts) < maxMISPEntries {
				e.parts[o.UUID] = one.fuzzy
			}
		}
	}
	return nil
}

// refer keeps what a file object says that it includes: the object that describes its format.
func (e *mispEvent) refer(o *mispObject, entry int) {
	if e.objects == nil {
		e.objects = map[string]int{}
	}
	e.objects[o.UUID] = entry
	for i, ref := range o.References {
		if i < 16 && ref.Verb == "includes" && !ref.Deleted.truth() {
			e.references = append(e.references, mispReference{o.UUID, ref.To})
		}
	}
}

// mispOwnHash reports whether a hash with this relation to its object is the file's own.
func mispOwnHash(relation string) bool {
	switch strings.ToLower(relation) {
	case "", "md5", "sha1", "sha256", "malware-sample", "hash", "file-hash":
		return true
	}
	return false
}

// mispThreats are the galaxies whose clusters are malware.
var mispThreats = []string{"malware", "mitre-malware", "mitre-enterprise-attack-malware", "mitre-mobile-attack-malware", "mitre-tool", "mitre-enterprise-attack-tool", "tool", "ransomware",
	"banker", "rat", "botnet", "malpedia", "backdoor", "stealer", "android", "exploit-kit", "cryptominers", "mobile-malware", "wiper"}

// mispThreat returns the names of malware that galaxies' tags give, the first four.
func mispThreat(tags []string) string {
	var names []string
	for _, tag := range tags {
		galaxy, name, ok := strings.Cut(strings.TrimPrefix(tag, "misp-galaxy:"), "=")
		if !ok || !strings.HasPrefix(tag, "misp-galaxy:") || !slices.Contains(mispThreats, galaxy) {
			continue
		}
		if name = mitreID.ReplaceAllString(strings.Trim(name, `"`), ""); name != "" && len(names) < 4 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// mitreID is what MITRE's clusters have behind their names.
var mitreID = regexp.MustCompile(` - [SGT][0-9]{4}(?:\.[0-9]{3})?$`)

// mispActor reports whether tags name those who did it, which makes the event a report of an APT.
func mispActor(tags []string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool {
		for _, galaxy := range []string{"threat-actor", "mitre-intrusion-set", "mitre-enterprise-attack-intrusion-set", "microsoft-activity-group", "360net-threat-actor"} {
			if strings.HasPrefix(tag, "misp-galaxy:"+galaxy+"=") {
				return true
			}
		}
		return false
	})
}

// zone is what an event says of what it lists. MISP's threat levels tell how skilled the attack is (low is mass malware), not how bad a file: all
// three are malware. An undefined one says nothing. Tags of adware do.
func (e *mispEvent) zone(tags []string) intel.Zone {
	for _, tag := range tags {
		t := strings.ToLower(tag)
		if strings.Contains(t, `="adware"`) || strings.Contains(t, `="pup"`) || strings.Contains(t, `="pua"`) || strings.Contains(t, `="potentially-unwanted`) {
			return intel.Yellow
		}
	}
	switch e.level {
	case "1", "2", "3":
		return intel.Red
	}
	return 0
}

// tell tells of what an event lists and names, and forgets it.
func (m *misp) tell(e *mispEvent) error {
	r := m.r
	before := r.o.Marking
	defer func() { r.o.Marking = before }()
	for _, ref := range e.references {
		if i, ok := e.objects[ref.from]; ok && i < len(e.entries) {
			e.entries[i].fuzzy = append(e.entries[i].fuzzy, e.parts[ref.to]...)
		}
	}
	p := intel.Publication{ID: e.id, Type: intel.OSINT, Title: fitText(e.title), URL: e.link, Tags: e.tags[:min(len(e.tags), intel.MaxTags)]}
	if mispActor(e.tags) {
		p.Type = intel.APT
	}
	p.Published, _ = parseTime(e.date)
	if p.Updated, _ = parseTime(e.updated); p.Updated.Before(p.Published) {
		p.Updated = time.Time{}
	}
	for i := range e.entries {
		f := &e.entries[i]
		org, own := e.org, p
		if f.event != nil {
			org = cmp.Or(org, f.event.Orgc.Name)
			if own.Title == "" {
				own.ID, own.Title = f.event.UUID, fitText(f.event.Info)
				own.Published, _ = parseTime(string(f.event.Date))
			}
		}
		if own.ID == "" && own.Title != "" {
			own.ID = publicationID(own.URL, own.Title)
		}
		feed := r.feed(cmp.Or(org, "MISP"))
		r.o.Marking = before
		for _, tags := range [][]string{e.tags, f.tags} {
			for _, tag := range tags {
				if strings.HasPrefix(strings.ToLower(tag), "tlp:") {
					if marking, ok := tlpMarking(tag); ok {
						r.o.Marking = max(r.o.Marking, marking)
					}
				}
			}
		}
		if f.listed || !e.flagged && f.payload && !f.file.IsZero() {
			since := f.since
			if since.IsZero() {
				since = own.Published
			}
			zone := e.zone(f.tags)
			if zone != intel.Yellow && e.zone(e.tags) == intel.Yellow {
				zone = intel.Yellow
			}
			threat := cmp.Or(mispThreat(f.tags), mispThreat(e.tags))
			if err := r.list(f.line, feed, entry{file: f.file, address: f.address, zone: zone, threat: threat, since: since}); err != nil {
				return err
			}
		}
		if f.file.IsZero() {
			continue
		}
		var facts []intel.Fact
		if name := clean(f.name); name != "" {
			facts = append(facts, intel.Attribute{Name: intel.OriginalName, Value: name})
		}
		if n, err := strconv.ParseUint(f.size, 10, 63); err == nil {
			facts = append(facts, intel.Attribute{Name: intel.Size, Value: strconv.FormatUint(n, 10)})
		}
		for j := range f.fuzzy[:min(len(f.fuzzy), 8)] {
			f.fuzzy[j].Value = clean(f.fuzzy[j].Value)
			facts = append(facts, f.fuzzy[j])
		}
		for _, fact := range facts {
			o := intel.Observation{Source: r.feedSource(feed), Time: r.o.Now, File: f.file, Fact: fact}
			if err := r.observe(f.line, &o); err != nil {
				return err
			}
		}
		if own.Title != "" {
			o := intel.Observation{Source: r.feedSource(feed), Time: own.Published, File: f.file, Fact: own}
			if o.Time.IsZero() {
				o.Time = r.o.Now
			}
			if err := r.observe(f.line, &o); err != nil {
				return err
			}
		}
	}
	e.entries, e.objects, e.references, e.parts = nil, nil, nil, nil
	return nil
}
