package source

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// sniffSTIX knows STIX by its ids: a type, two dashes, a UUID.
func sniffSTIX(s *sample) int {
	switch {
	case !s.json():
		return 0
	case s.has("stix_header"), s.has("observables", "version"), bytes.Contains(s.head, []byte(`"stix_header"`)) && bytes.Contains(s.head, []byte(`imple_`)):
		return 70 // STIX 1 as JSON
	case !stixID.Match(s.head):
		return 0
	case s.has("type", "id"), s.has("objects"):
		return 80
	}
	return 0
}

var stixID = regexp.MustCompile(`"id"\s*:\s*"[a-z0-9-]{3,50}--[0-9a-fA-F]{8}-`)

// readSTIX reads STIX 2.0 and 2.1: bundles, TAXII envelopes, lists of objects, an object a line. An indicator is a listing of the files and addresses
// that its pattern names, a report a publication of the files that it refers to. Relations point either way, so objects are read one by one, what joins
// need is kept in few bytes each, and all is told at the end.
func readSTIX(r *reader) error {
	x := newSTIX(r)
	err := x.s.each(func() error { return x.top(0) })
	// Also of an input that is cut, all that was read is told.
	return errors.Join(err, x.tell())
}

// What a reading keeps at most, in bytes. A bundle with more is told in parts, and what relates objects of two parts is lost and said to be.
const maxSTIXKept = 96 << 20

type stix struct {
	r    *reader
	s    *jsonStream
	seed maphash.Seed
	zero stixObject
	o    stixObject

	kept  [][]byte // records of the files and addresses that await the end
	size  int      // bytes kept, of all kinds
	names map[uint64]stixName
	only  string // the name of the only identity that created anything
	// creators are the identities that created objects, so that a victim's name is not taken for that of the feed.
	creators map[uint64]bool
	// edges lead from objects to others, by kind.
	edges   [stixEdgeKinds][]stixEdge
	reports []stixReport
	revoked map[uint64]bool
	parted  bool  // it was told in parts
	joined  int64 // publications told of files
	told    bool  // that there were too many
}

// stixEdge leads from an object to another, by their keys; to is the number of a report where one is meant.
type stixEdge struct{ from, to uint64 }

const (
	stixIndicates = iota // from an indicator to a malware or tool
	stixReported         // from what a report refers to, to the report's number
	stixSampled          // from a file to the malware that it is a sample of
	stixObserved         // from a file to the observed data that holds it
	stixContained        // from a container to its member
	stixMarked           // from an object to a marking that is none of the known
	stixEdgeKinds
)

// stixName is what is kept of an object that gives others its name.
type stixName struct {
	name    string
	kind    byte       // 'm' malware, 't' tool, 'i' identity, 'x' marking
	zone    intel.Zone // of a malware
	marking intel.Marking
}

type stixReport struct {
	publication intel.Publication
	creator     uint64
	marking     intel.Marking
}

// stixObject has the properties of all types of object that are read.
type stixObject struct {
	Type           string            `json:"type"`
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Description    string            `json:"description"`
	Pattern        string            `json:"pattern"`
	PatternType    string            `json:"pattern_type"`
	CreatedBy      string            `json:"created_by_ref"`
	Created        string            `json:"created"`
	Modified       string            `json:"modified"`
	Published      string            `json:"published"`
	ValidFrom      string            `json:"valid_from"`
	ValidUntil     string            `json:"valid_until"`
	Revoked        bool              `json:"revoked"`
	Labels         []string          `json:"labels"`
	IndicatorTypes []string          `json:"indicator_types"`
	MalwareTypes   []string          `json:"malware_types"`
	ReportTypes    []string          `json:"report_types"`
	KillChain      []struct{}        `json:"kill_chain_phases"`
	External       []stixExternal    `json:"external_references"`
	Refs           []string          `json:"object_refs"`
	MarkingRefs    []string          `json:"object_marking_refs"`
	SampleRefs     []string          `json:"sample_refs"`
	ContainsRefs   []string          `json:"contains_refs"`
	Relationship   string            `json:"relationship_type"`
	SourceRef      string            `json:"source_ref"`
	TargetRef      string            `json:"target_ref"`
	Hashes         map[string]string `json:"hashes"`
	Size           json.Number       `json:"size"`
	Objects        json.RawMessage   `json:"objects"` // of observed data, by STIX 2.0
	Definition     stixTLP           `json:"definition"`
}

type stixExternal struct {
	Source string `json:"source_name"`
	URL    string `json:"url"`
}

type stixTLP struct {
	TLP string `json:"tlp"`
}

func newSTIX(r *reader) *stix {
	return &stix{r: r, s: newJSONStream(r), seed: maphash.MakeSeed(), names: map[uint64]stixName{}, creators: map[uint64]bool{}, revoked: map[uint64]bool{}}
}

// key stands for an id, 0 for none.
func (x *stix) key(id string) uint64 {
	if id == "" {
		return 0
	}
	return maphash.String(x.seed, id) | 1
}

// top reads an object or a list of such at the top.
func (x *stix) top(depth int) error {
	s := x.s
	c, ok := s.next()
	switch {
	case !ok:
		return s.ends()
	case c == '[' && depth < 2:
		return s.array(func() error { return x.top(depth + 1) })
	case c != '{':
		raw, err := s.value()
		if err == nil {
			err = x.object(raw)
		}
		return err
	}
	// An object with a list "objects" is a bundle or envelope, whose objects are read one by one; any other is an object itself, put together again.
	line, bundle, old := s.line, false, false // old: it is a package of STIX 1
	whole := []byte("{")
	err := s.object(func(key string) error {
		if c, _ := s.next(); key == "objects" && c == '[' {
			bundle = true
			return s.array(func() error {
				raw, err := s.value()
				if err == nil {
					err = x.object(raw)
				}
				return err
			})
		}
		raw, err := s.value()
		switch {
		case err != nil:
			return err
		case key == "stix_header", key == "observables", key == "indicators":
			old = true
			return x.stix1(key, raw)
		case raw == nil || len(whole)+len(raw) > maxObject:
			whole = nil
			return nil
		case whole == nil:
			return nil
		}
		if len(whole) > 1 {
			whole = append(whole, ',')
		}
		whole = append(append(append(append(whole, '"'), key...), '"', ':'), raw...)
		return nil
	})
	if err != nil || bundle || old {
		return err
	}
	s.begun = line
	if whole != nil {
		whole = append(whole, '}')
	}
	return x.object(whole)
}

// object reads one STIX object, nil when it is too long.
func (x *stix) object(raw []byte) error {
	r := x.r
	r.result.Records++
	if raw == nil {
		r.refuse(x.s.begun, "", fmt.Sprintf("an object longer than %d bytes", maxObject))
		return nil
	}
	o := &x.o
	*o = x.zero
	var misfit *json.UnmarshalTypeError // a property of another kind is passed over
	if err := json.Unmarshal(raw, o); err != nil && !errors.As(err, &misfit) {
		r.refuse(x.s.begun, "", "not JSON: "+err.Error())
		return nil
	}
	if x.size > maxSTIXKept {
		if !x.parted {
			r.refuse(x.s.begun, "", fmt.Sprintf("more objects than can be joined at once (%d MiB): those before are told without what relates them to those that follow", maxSTIXKept>>20))
		}
		x.parted = true
		if err := x.tell(); err != nil {
			return err
		}
	}
	if creator := x.key(o.CreatedBy); creator != 0 && !x.creators[creator] {
		x.creators[creator] = true
		x.size += 32
	}
	used := false
	switch o.Type {
	case "indicator":
		used = x.indicator(o)
	case "file", "artifact":
		used = x.file(o, x.key(o.ID))
	case "observed-data":
		used = x.observed(o)
	case "report":
		used = x.report(o)
	case "relationship":
		if !o.Revoked && o.Relationship == "indicates" && (strings.HasPrefix(o.TargetRef, "malware--") || strings.HasPrefix(o.TargetRef, "tool--")) {
			x.edge(stixIndicates, x.key(o.SourceRef), x.key(o.TargetRef))
			used = true
		}
	case "malware", "tool", "identity", "marking-definition":
		used = x.named(o)
	case "bundle":
		r.refuse(x.s.begun, "", "a bundle within a bundle")
		return nil
	}
	if used {
		r.result.Used++
	} else {
		r.result.Other++
	}
	return nil
}

func (x *stix) edge(kind int, from, to uint64) {
	x.edges[kind] = append(x.edges[kind], stixEdge{from, to})
	x.size += 16
}

// named keeps the name of an object that others refer to.
func (x *stix) named(o *stixObject) bool {
	n := stixName{name: clean(strings.TrimSpace(o.Name))}
	if len(n.name) > 256 {
		n.name = strings.ToValidUTF8(n.name[:256], "")
	}
	switch o.Type {
	case "malware":
		n.kind, n.zone = 'm', cmp.Or(stixZone(o.MalwareTypes), stixZone(o.Labels), intel.Red)
		for _, ref := range o.SampleRefs {
			x.edge(stixSampled, x.key(ref), x.key(o.ID))
		}
	case "tool":
		n.kind, n.zone = 't', intel.Orange
	case "identity":
		n.kind = 'i'
	default:
		m, ok := tlpMarking(cmp.Or(o.Definition.TLP, o.Name))
		if !ok {
			return false
		}
		n.kind, n.marking = 'x', m
	}
	key := x.key(o.ID)
	if _, ok := x.names[key]; !ok {
		x.size += 128 + len(n.name)
	}
	x.names[key] = n
	return true
}

// stixZones are what the open vocabularies of STIX, and words met beside them, say of a file. What is not here says nothing.
var stixZones = map[string]intel.Zone{
	"malicious-activity": intel.Red, "malicious": intel.Red, "compromised": intel.Red, "malware": intel.Red, "c2": intel.Red,
	"anomalous-activity": intel.Orange, "suspicious": intel.Orange, "suspicious-activity": intel.Orange,
	"adware": intel.Yellow, "pua": intel.Yellow, "pup": intel.Yellow, "potentially-unwanted": intel.Yellow, "riskware": intel.Yellow, "grayware": intel.Yellow,
	"benign": intel.Green, "known-good": intel.Green,
}

// stixZone is the most severe of what words say.
func stixZone(words []string) (z intel.Zone) {
	for _, w := range words {
		z = max(z, stixZones[strings.ToLower(strings.TrimSpace(w))])
	}
	return z
}

// markings returns the marking of an object, as far as its references are those that the standard gives TLP; other references are kept.
func (x *stix) markings(o *stixObject) (m intel.Marking) {
	for _, ref := range o.MarkingRefs {
		known, ok := stixTLPs[strings.ToLower(strings.TrimPrefix(ref, "marking-definition--"))]
		if !ok {
			x.edge(stixMarked, x.key(o.ID), x.key(ref))
		}
		m = max(m, known)
	}
	return m
}

// stixTLPs are the ids of the marking definitions of TLP 1 and 2.
var stixTLPs = map[string]intel.Marking{
	"613f2e26-407d-48c7-9eca-b8e91df99dc9": intel.TLPClear, "94868c89-83c2-464b-929b-a1a8aa3c8487": intel.TLPClear,
	"34098fce-860f-48ae-8e50-ebd3cc5e41da": intel.TLPGreen, "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": intel.TLPGreen,
	"f88d31f6-486f-44da-b317-01333bde0b82": intel.TLPAmber, "55d920b0-5e8b-4f79-9ee9-91f868d9b421": intel.TLPAmber,
	"939a9414-2ddd-4d32-a0cd-375ea402b003": intel.TLPAmberStrict,
	"5e57c739-391a-4eb3-b6be-7d15ca92d5ed": intel.TLPRed, "e828b379-4e03-4974-9ac4-e53a884c97c1": intel.TLPRed,
}

// tlpMarking reads a TLP marking as people write it: "white", "TLP:AMBER+STRICT".
func tlpMarking(s string) (intel.Marking, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimLeft(strings.TrimPrefix(s, "tlp"), ": -_")
	switch s {
	case "white", "clear", "unclear":
		return intel.TLPClear, true
	case "green":
		return intel.TLPGreen, true
	case "amber":
		return intel.TLPAmber, true
	case "amber+strict", "amber-strict", "amber strict":
		return intel.TLPAmberStrict, true
	case "red":
		return intel.TLPRed, true
	}
	return 0, false
}

// stixRecord is what is kept of one file or address until the end.
type stixRecord struct {
	key, creator uint64
	line         int64
	listed       bool
	attacks      bool // it has a phase of a kill chain
	zone         intel.Zone
	marking      intel.Marking
	since        time.Time
	file         stixFile
	address      string
}

// stixChunk is how many bytes of records are kept together.
const stixChunk = 1 << 20

// keep keeps a record.
func (x *stix) keep(rec *stixRecord) {
	if len(x.kept) == 0 || len(x.kept[len(x.kept)-1]) > stixChunk-512 {
		x.kept = append(x.kept, make([]byte, 0, min(stixChunk, 4096<<min(8, len(x.kept)))))
	}
	b := x.kept[len(x.kept)-1]
	before := len(b)
	flags := byte(0)
	if rec.listed {
		flags |= 1
	}
	if rec.attacks {
		flags |= 2
	}
	b = binary.LittleEndian.AppendUint64(b, rec.key)
	b = binary.LittleEndian.AppendUint64(b, rec.creator)
	b = binary.AppendUvarint(b, uint64(rec.line))
	b = append(b, flags, byte(rec.zone), byte(rec.marking))
	since := int64(0)
	if !rec.since.IsZero() {
		since = rec.since.Unix()
	}
	b = binary.AppendVarint(b, since)
	for _, h := range []intel.Hash{rec.file.hashes.MD5, rec.file.hashes.SHA1, rec.file.hashes.SHA256} {
		b = append(b, byte(h.Algorithm()))
		b = h.Append(b)
	}
	text := func(s string) {
		s = clean(s)
		if len(s) > intel.MaxText {
			s = strings.ToValidUTF8(s[:intel.MaxText], "")
		}
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	text(rec.address)
	text(rec.file.name)
	text(rec.file.size)
	n := min(len(rec.file.fuzzy), 8)
	b = append(b, byte(n))
	for _, f := range rec.file.fuzzy[:n] {
		text(string(f.Algorithm))
		text(f.Value)
	}
	x.kept[len(x.kept)-1] = b
	x.size += len(b) - before
}

// stixTake reads the next record of b, and returns what is behind it.
func stixTake(b []byte) (rec stixRecord, rest []byte) {
	unsigned := func() uint64 {
		n, size := binary.Uvarint(b)
		b = b[size:]
		return n
	}
	text := func() string {
		n := unsigned()
		s := string(b[:n])
		b = b[n:]
		return s
	}
	rec.key, rec.creator = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	b = b[16:]
	rec.line = int64(unsigned())
	rec.listed, rec.attacks = b[0]&1 != 0, b[0]&2 != 0
	rec.zone, rec.marking = intel.Zone(b[1]), intel.Marking(b[2])
	b = b[3:]
	since, size := binary.Varint(b)
	if b = b[size:]; since != 0 {
		rec.since = time.Unix(since, 0).UTC()
	}
	for range 3 {
		a := intel.Algorithm(b[0])
		if b = b[1:]; a == 0 {
			continue
		}
		if h, err := intel.HashFromBytes(a, b[:a.Size()]); err == nil {
			rec.file.hashes.Set(h)
		}
		b = b[a.Size():]
	}
	rec.address, rec.file.name, rec.file.size = text(), text(), text()
	n := b[0]
	for b = b[1:]; n > 0; n-- {
		rec.file.fuzzy = append(rec.file.fuzzy, intel.FuzzyHash{Algorithm: intel.FuzzyAlgorithm(text()), Value: text()})
	}
	return rec, b
}

// indicator keeps what an indicator lists. One that was revoked says nothing; one whose time is over lists nothing, but reports still name its files.
func (x *stix) indicator(o *stixObject) bool {
	key := x.key(o.ID)
	if o.Revoked {
		x.revoke(key)
		return false
	}
	if o.Pattern == "" || o.PatternType != "" && o.PatternType != "stix" {
		return false
	}
	things, err := stixPatternThings(o.Pattern)
	if err != nil {
		x.r.refuse(x.s.begun, "pattern", "not a STIX pattern: "+err.Error())
		return false
	}
	for _, why := range things.wrong {
		x.r.refuse(x.s.begun, "pattern", why)
	}
	rec := stixRecord{key: key, creator: x.key(o.CreatedBy), line: x.s.begun, listed: true, attacks: len(o.KillChain) > 0,
		zone: max(stixZone(o.IndicatorTypes), stixZone(o.Labels))}
	if until, ok := parseTime(o.ValidUntil); ok && !x.r.o.Now.IsZero() && until.Before(x.r.o.Now) {
		rec.listed = false
	}
	rec.since, _ = parseTime(cmp.Or(o.ValidFrom, o.Created))
	if len(things.files)+len(things.addresses) == 0 {
		return false
	}
	rec.marking = x.markings(o)
	for _, f := range things.files {
		if rec.file = f; !f.hashes.IsZero() {
			x.keep(&rec)
		}
	}
	rec.file = stixFile{}
	for _, rec.address = range things.addresses {
		if rec.listed {
			x.keep(&rec)
		}
	}
	return true
}

// revoke says that an object holds no more, whichever of its versions is read.
func (x *stix) revoke(key uint64) {
	if key != 0 && !x.revoked[key] {
		x.revoked[key] = true
		x.size += 32
	}
}

// file keeps a file that is an object of its own: not listed, but named by what refers to it.
func (x *stix) file(o *stixObject, key uint64) bool {
	f := stixFile{name: strings.TrimSpace(o.Name), size: o.Size.String()}
	for _, why := range f.stixDigests(o.Hashes) {
		x.r.refuse(x.s.begun, "hashes", why)
	}
	if f.hashes.IsZero() {
		return false
	}
	rec := stixRecord{key: key, creator: x.key(o.CreatedBy), line: x.s.begun, marking: x.markings(o), file: f}
	x.keep(&rec)
	for _, ref := range o.ContainsRefs {
		x.edge(stixContained, key, x.key(ref))
	}
	return true
}

// observed keeps the files of observed data: its own by STIX 2.0, those that it refers to by 2.1.
func (x *stix) observed(o *stixObject) bool {
	key := x.key(o.ID)
	used := false
	for _, ref := range o.Refs {
		if strings.HasPrefix(ref, "file--") || strings.HasPrefix(ref, "artifact--") {
			x.edge(stixObserved, x.key(ref), key)
			used = true
		}
	}
	var own map[string]stixObject
	var misfit *json.UnmarshalTypeError
	if len(o.ID) > 256 { // it becomes a part of the ids of its objects
		return used
	}
	if err := json.Unmarshal(o.Objects, &own); len(o.Objects) == 0 || err != nil && !errors.As(err, &misfit) {
		return used
	}
	id, names := o.ID, make([]string, 0, len(own))
	for name := range own {
		names = append(names, name)
	}
	slices.Sort(names)
	within := func(name string) string { return id + "/" + name }
	for _, name := range names {
		f := own[name]
		if f.Type != "file" && f.Type != "artifact" {
			continue
		}
		f.ID, f.CreatedBy, f.MarkingRefs = within(name), o.CreatedBy, o.MarkingRefs
		for i := range f.ContainsRefs {
			f.ContainsRefs[i] = within(f.ContainsRefs[i])
		}
		if x.file(&f, x.key(f.ID)) {
			x.edge(stixObserved, x.key(f.ID), key)
			used = true
		}
	}
	return used
}

// report keeps a publication and what it refers to.
func (x *stix) report(o *stixObject) bool {
	if o.Revoked || o.ID == "" || len(o.ID) > intel.MaxText {
		return false
	}
	p := intel.Publication{ID: clean(o.ID), Type: intel.OSINT, Title: fitText(cmp.Or(strings.TrimSpace(o.Name), o.ID)), Description: fitText(o.Description)}
	p.Published, _ = parseTime(cmp.Or(o.Published, o.Created))
	p.Updated, _ = parseTime(o.Modified)
	for _, e := range o.External {
		if strings.HasPrefix(strings.ToLower(e.URL), "http") {
			p.URL = fitText(e.URL)
			break
		}
	}
	for _, tag := range append(o.ReportTypes, o.Labels...) {
		if tag = fitText(strings.TrimSpace(tag)); tag != "" && len(p.Tags) < intel.MaxTags && !slices.Contains(p.Tags, tag) {
			p.Tags = append(p.Tags, tag)
		}
	}
	number := uint64(len(x.reports))
	for _, ref := range o.Refs {
		kind, _, _ := strings.Cut(ref, "--")
		switch kind {
		case "threat-actor", "intrusion-set", "campaign":
			p.Type = intel.APT
		case "indicator", "file", "artifact", "observed-data":
			x.edge(stixReported, x.key(ref), number)
		}
	}
	x.size += 256 + len(p.Description) + len(p.Title) + len(p.URL)
	x.reports = append(x.reports, stixReport{publication: p, creator: x.key(o.CreatedBy), marking: x.markings(o)})
	return true
}

// fitText makes foreign text fit for a publication.
func fitText(s string) string {
	if s = clean(s); len(s) > intel.MaxText {
		s = strings.ToValidUTF8(s[:intel.MaxText-3], "") + "…"
	}
	return s
}

// to returns the edges of one kind that lead from an object.
func (x *stix) to(kind int, from uint64) []stixEdge {
	edges := x.edges[kind]
	i, _ := slices.BinarySearchFunc(edges, from, func(e stixEdge, key uint64) int { return cmp.Compare(e.from, key) })
	n := i
	for n < len(edges) && edges[n].from == from {
		n++
	}
	return edges[i:n]
}

// tell tells of all that is kept, and forgets it but for the names.
func (x *stix) tell() error {
	x.only = x.onlyIdentity()
	for kind := range x.edges {
		slices.SortStableFunc(x.edges[kind], func(a, b stixEdge) int { return cmp.Compare(a.from, b.from) })
	}
	// The ends of containers' relations are looked up by their keys.
	ends := map[uint64]intel.Hashes{}
	for _, e := range x.edges[stixContained] {
		ends[e.from], ends[e.to] = intel.Hashes{}, intel.Hashes{}
	}
	for _, chunk := range x.kept {
		for len(chunk) > 0 {
			var rec stixRecord
			if rec, chunk = stixTake(chunk); x.revoked[rec.key] {
				continue
			}
			if _, ok := ends[rec.key]; ok && ends[rec.key].IsZero() {
				ends[rec.key] = rec.file.hashes
			}
			if err := x.tellOf(&rec); err != nil {
				return err
			}
		}
	}
	for _, e := range x.edges[stixContained] {
		from, to := ends[e.from], ends[e.to]
		if from.IsZero() || to.IsZero() || from == to {
			continue
		}
		o := intel.Observation{Source: x.r.feedSource(x.feed(0)), Time: x.r.o.Now,
			Fact: intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: from}, To: intel.Object{Hashes: to}}}
		if err := x.r.observe(0, &o); err != nil {
			return err
		}
	}
	x.kept, x.reports, x.edges, x.size = nil, nil, [stixEdgeKinds][]stixEdge{}, 0
	return nil
}

// feed names the feed: the identity that created an object, else the only one that created anything, else just STIX.
func (x *stix) feed(creator uint64) string {
	if n := x.names[creator]; n.kind == 'i' && n.name != "" {
		return x.r.feed(n.name)
	}
	return x.r.feed(cmp.Or(x.only, "STIX"))
}

// onlyIdentity returns the name of the only identity that created anything, "" when there are several.
func (x *stix) onlyIdentity() (only string) {
	for key := range x.creators {
		switch n := x.names[key]; {
		case n.kind != 'i' || n.name == "" || n.name == only:
		case only != "":
			return ""
		default:
			only = n.name
		}
	}
	return only
}

// tellOf tells of a file or an address, with what relates to it.
func (x *stix) tellOf(rec *stixRecord) error {
	r := x.r
	before := r.o.Marking
	defer func() { r.o.Marking = before }()
	marking := max(before, rec.marking)
	for _, e := range x.to(stixMarked, rec.key) {
		marking = max(marking, x.names[e.to].marking)
	}
	r.o.Marking = marking
	feed := x.feed(rec.creator)

	var threats []string
	length := 0              // of their names
	related := intel.Zone(0) // what related malware and tools say
	for _, kind := range []int{stixIndicates, stixSampled} {
		for i, e := range x.to(kind, rec.key) {
			if i == 16 {
				break // of one file, more names are of no use
			}
			n := x.names[e.to]
			if n.kind != 'm' && n.kind != 't' {
				continue
			}
			if kind == stixSampled {
				rec.listed = true
			}
			related = max(related, n.zone)
			if n.name != "" && length+len(n.name) <= 512 && !slices.Contains(threats, n.name) {
				threats = append(threats, n.name)
				length += len(n.name)
			}
		}
	}
	if rec.attacks {
		related = cmp.Or(related, intel.Red)
	}
	if rec.listed {
		e := entry{file: rec.file.hashes, address: rec.address, zone: cmp.Or(rec.zone, related), threat: strings.Join(threats, ", "), since: rec.since}
		if err := r.list(rec.line, feed, e); err != nil {
			return err
		}
	}
	if rec.file.hashes.IsZero() {
		return nil
	}
	say := func(f intel.Fact) error {
		o := intel.Observation{Source: r.feedSource(feed), Time: r.o.Now, File: rec.file.hashes, Fact: f}
		return r.observe(rec.line, &o)
	}
	if rec.file.name != "" {
		if err := say(intel.Attribute{Name: intel.OriginalName, Value: rec.file.name}); err != nil {
			return err
		}
	}
	if n, err := strconv.ParseUint(rec.file.size, 10, 63); err == nil {
		if err := say(intel.Attribute{Name: intel.Size, Value: strconv.FormatUint(n, 10)}); err != nil {
			return err
		}
	}
	for _, f := range rec.file.fuzzy {
		if err := say(f); err != nil {
			return err
		}
	}
	// A report names the file itself, or the observed data that holds it.
	if err := x.publications(rec, rec.key, marking); err != nil {
		return err
	}
	for i, e := range x.to(stixObserved, rec.key) {
		if i == 16 {
			break
		}
		if err := x.publications(rec, e.to, marking); err != nil {
			return err
		}
	}
	return nil
}

// publications tells of the reports that refer to an object, for a file. In all they are no more than the input is long, so that a small hostile
// one, in which every report refers to one indicator of a thousand files, does not become a large answer.
func (x *stix) publications(rec *stixRecord, key uint64, marking intel.Marking) error {
	last := ^uint64(0)
	for _, e := range x.to(stixReported, key) {
		if e.to == last {
			continue // it refers to the object twice
		}
		last = e.to
		if x.joined++; x.joined > 64+x.s.bytes()/16 {
			if !x.told {
				x.told = true
				x.r.refuse(rec.line, "", "too many reports of the same files: the rest is not told")
			}
			return nil
		}
		p := &x.reports[e.to]
		x.r.o.Marking = max(marking, p.marking)
		feed := x.feed(cmp.Or(p.creator, rec.creator))
		o := intel.Observation{Source: x.r.feedSource(feed), Time: cmp.Or(p.publication.Published, x.r.o.Now), File: rec.file.hashes, Fact: p.publication}
		err := x.r.observe(rec.line, &o)
		x.r.o.Marking = marking
		if err != nil {
			return err
		}
	}
	return nil
}
