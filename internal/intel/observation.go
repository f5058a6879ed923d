package intel

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of one observation. What is larger is refused, so that no source can make a row of the store large.
const (
	MaxText  = 4096 // bytes of a path, name, URL, title or any other text
	MaxCount = 1 << 40
	MaxIPs   = 64 // addresses that one observation names
)

// SourceType says what manner of source speaks.
type SourceType string

// The source types.
const (
	Telemetry        SourceType = "telemetry"  // the fleet's own logs and sensors
	FeedSource       SourceType = "feed"       // a subscribed or imported list
	InspectionSource SourceType = "inspection" // reading the bytes
	Analyst          SourceType = "analyst"    // a person
)

// Source says who speaks and who may hear it.
type Source struct {
	Type    SourceType `json:"type"`
	Name    string     `json:"name"`             // "sysmon", "dpkg", a feed's name, an account
	Marking Marking    `json:"marking,omitzero"` // TLP; clear when not given
}

// Observation is everything that Spoor can learn: source S says, at time T, N times, of file F, one fact.
//
// Its JSON form is one object with exactly one fact under the fact's name; docs/observations.md shows each.
type Observation struct {
	Source  Source
	Time    time.Time // when it happened (first); zero when the source does not say
	Last    time.Time // when it last happened; zero means Time
	Count   uint64    // how often; zero means once
	File    Hashes    // of which file; empty for a Relation, whose ends name the files, and for a Listing of an Address
	Address string    // for a Listing only: the URL, domain or IP address that is listed, instead of a file
	Fact    Fact
}

// Fact is one of the twelve kinds of thing that an observation can say:
// [Attribute], [Sighting], [Relation], [Access], [Download], [Detection], [Listing], [Signature], [Certificate],
// [Publication], [FuzzyHash], [AnalystVerdict].
type Fact interface {
	// Kind returns the fact's name as the JSON form spells it.
	Kind() string
	check() error
}

// AttributeName names a property of the bytes.
type AttributeName string

// The attributes that Spoor keeps.
const (
	Size         AttributeName = "size" // in bytes, decimal
	Type         AttributeName = "type" // format in the field's words, "PE32+ DLL x64"
	Packer       AttributeName = "packer"
	Product      AttributeName = "product"
	Company      AttributeName = "company"
	Description  AttributeName = "description"
	Version      AttributeName = "version"
	OriginalName AttributeName = "original_name" // as the version resource says
)

var attributeNames = []AttributeName{Size, Type, Packer, Product, Company, Description, Version, OriginalName}

// Attribute is a property of the bytes.
type Attribute struct {
	Name  AttributeName `json:"name"`
	Value string        `json:"value"`
}

// Sighting is the file seen on a host of the fleet.
type Sighting struct {
	Path string `json:"path,omitempty"` // full path on the host
	Name string `json:"name,omitempty"` // file name; taken from Path when empty
	Host string `json:"host,omitempty"`
}

// Verb says what one file did to another.
type Verb string

// The verbs.
const (
	Started    Verb = "started"
	Downloaded Verb = "downloaded"
	Contains   Verb = "contains"
)

// Object is one end of a relation: a file by its hashes, or, when no hash is known, by path and name alone.
type Object struct {
	Hashes
	Path string `json:"path,omitempty"` // on the host; for a member, inside the container
	Name string `json:"name,omitempty"` // taken from Path when empty
}

// Relation is one file starting, downloading or containing another. At least one end has a hash.
type Relation struct {
	Verb Verb   `json:"verb"`
	From Object `json:"from"`
	To   Object `json:"to"`
	Weak bool   `json:"weak,omitempty"` // the ends were matched by something weaker than an id, such as a path
}

// Access is the file contacting a web address.
type Access struct {
	URL string   `json:"url"`           // or a bare domain or IP address
	IPs []string `json:"ips,omitempty"` // what the host resolved to
}

// Download is the file having come from a web address.
type Download struct {
	URL      string   `json:"url"`
	Referrer string   `json:"referrer,omitempty"`
	IPs      []string `json:"ips,omitempty"` // what the host resolved to
}

// Detection is a name that an engine or rule gives.
type Detection struct {
	Name   string `json:"name"`             // "HEUR:Trojan.Win32.Generic"
	Method string `json:"method,omitempty"` // the engine or the way: "clamav", "yara"
	Zone   Zone   `json:"zone"`
	URL    string `json:"url,omitempty"` // a description of the threat
}

// Listing is one file's (or address's) entry in a feed.
type Listing struct {
	Feed   string `json:"feed"` // the feed's name as DataFeeds shows it
	Zone   Zone   `json:"zone"` // what being listed there means; green for a list of known-good files
	Threat string `json:"threat,omitempty"`
}

// SignatureStatus is the trust in a signature.
type SignatureStatus string

// The trust levels of a signature.
const (
	Trusted     SignatureStatus = "trusted"
	NotTrusted  SignatureStatus = "not trusted"
	Discredited SignatureStatus = "discredited"
)

// Signature is that somebody signed the file.
type Signature struct {
	Signer string          `json:"signer"`
	Status SignatureStatus `json:"status"`
}

// Certificate is a certificate that the file's signature carries.
type Certificate struct {
	MD5         Hash      `json:"md5"` // of the certificate's DER bytes
	Serial      string    `json:"serial,omitempty"`
	Vendor      string    `json:"vendor,omitempty"`    // owner
	Publisher   string    `json:"publisher,omitempty"` // issuer
	Signed      time.Time `json:"signed,omitzero"`     // when the signature was made
	Issued      time.Time `json:"issued,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	Direct      bool      `json:"direct,omitempty"` // embedded in the file, not by way of a catalogue
	Trusted     bool      `json:"trusted,omitempty"`
	Revoked     bool      `json:"revoked,omitempty"`
	Discredited bool      `json:"discredited,omitempty"`
}

// PublicationType is the manner of a publication.
type PublicationType string

// The publication types.
const (
	APT        PublicationType = "APT"
	Crimeware  PublicationType = "Crimeware"
	Industrial PublicationType = "Industrial"
	OSINT      PublicationType = "OSINT"
)

// Publication is a report that names the file.
type Publication struct {
	ID    string          `json:"id"`
	Type  PublicationType `json:"type"`
	Title string          `json:"title"`
	URL   string          `json:"url,omitempty"`

	// About the publication itself; kept once, with it, not with every file that it names.
	Description string    `json:"description,omitempty"`
	Published   time.Time `json:"published,omitzero"`
	Updated     time.Time `json:"updated,omitzero"`
	Tags        []string  `json:"tags,omitempty"` // at most 64
}

// MaxTags bounds the tags of a publication.
const MaxTags = 64

// FuzzyAlgorithm is a digest that resembles or groups but never identifies.
type FuzzyAlgorithm string

// The fuzzy algorithms.
const (
	TLSH         FuzzyAlgorithm = "tlsh"
	SSDeep       FuzzyAlgorithm = "ssdeep"
	Imphash      FuzzyAlgorithm = "imphash"
	Authentihash FuzzyAlgorithm = "authentihash"
	RichHash     FuzzyAlgorithm = "richhash"
	IconHash     FuzzyAlgorithm = "iconhash"
	Telfhash     FuzzyAlgorithm = "telfhash"
)

var fuzzyAlgorithms = []FuzzyAlgorithm{TLSH, SSDeep, Imphash, Authentihash, RichHash, IconHash, Telfhash}

// FuzzyHash is a digest by which the file resembles others.
type FuzzyHash struct {
	Algorithm FuzzyAlgorithm `json:"algorithm"`
	Value     string         `json:"value"`
}

// AnalystVerdict is what a person of the team decided.
type AnalystVerdict struct {
	Zone    Zone   `json:"zone"`
	Analyst string `json:"analyst,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// Kind implements [Fact]. The others below do the same.
func (Attribute) Kind() string      { return "attribute" }
func (Sighting) Kind() string       { return "sighting" }    // Kind implements [Fact].
func (Relation) Kind() string       { return "relation" }    // Kind implements [Fact].
func (Access) Kind() string         { return "access" }      // Kind implements [Fact].
func (Download) Kind() string       { return "download" }    // Kind implements [Fact].
func (Detection) Kind() string      { return "detection" }   // Kind implements [Fact].
func (Listing) Kind() string        { return "listing" }     // Kind implements [Fact].
func (Signature) Kind() string      { return "signature" }   // Kind implements [Fact].
func (Certificate) Kind() string    { return "certificate" } // Kind implements [Fact].
func (Publication) Kind() string    { return "publication" } // Kind implements [Fact].
func (FuzzyHash) Kind() string      { return "fuzzy_hash" }  // Kind implements [Fact].
func (AnalystVerdict) Kind() string { return "verdict" }     // Kind implements [Fact].

// Kinds lists the names of all facts, in the order of the documentation.
func Kinds() []string {
	return []string{"attribute", "sighting", "relation", "access", "download", "detection", "listing", "signature",
		"certificate", "publication", "fuzzy_hash", "verdict"}
}

// observationJSON is the published spelling of an observation: exactly one of the fact fields is set.
type observationJSON struct {
	Source  Source    `json:"source"`
	Time    time.Time `json:"time,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Count   uint64    `json:"count,omitzero"`
	File    Hashes    `json:"file,omitzero"`
	Address string    `json:"address,omitempty"`

	Attribute   *Attribute      `json:"attribute,omitempty"`
	Sighting    *Sighting       `json:"sighting,omitempty"`
	Relation    *Relation       `json:"relation,omitempty"`
	Access      *Access         `json:"access,omitempty"`
	Download    *Download       `json:"download,omitempty"`
	Detection   *Detection      `json:"detection,omitempty"`
	Listing     *Listing        `json:"listing,omitempty"`
	Signature   *Signature      `json:"signature,omitempty"`
	Certificate *Certificate    `json:"certificate,omitempty"`
	Publication *Publication    `json:"publication,omitempty"`
	FuzzyHash   *FuzzyHash      `json:"fuzzy_hash,omitempty"`
	Verdict     *AnalystVerdict `json:"verdict,omitempty"`
}

// MarshalJSON writes the published form.
func (o Observation) MarshalJSON() ([]byte, error) {
	j := observationJSON{Source: o.Source, Time: o.Time, Last: o.Last, Count: o.Count, File: o.File, Address: o.Address}
	switch f := o.Fact.(type) {
	case Attribute:
		j.Attribute = &f
	case Sighting:
		j.Sighting = &f
	case Relation:
		j.Relation = &f
	case Access:
		j.Access = &f
	case Download:
		j.Download = &f
	case Detection:
		j.Detection = &f
	case Listing:
		j.Listing = &f
	case Signature:
		j.Signature = &f
	case Certificate:
		j.Certificate = &f
	case Publication:
		j.Publication = &f
	case FuzzyHash:
		j.FuzzyHash = &f
	case AnalystVerdict:
		j.Verdict = &f
	default:
		return nil, fmt.Errorf("observation without a fact: %w", ErrInvalid)
	}
	return json.Marshal(j)
}

// ParseObservation reads one line of the NDJSON form. A field that the form does not have is refused by name;
// the result has passed [Observation.Check].
func ParseObservation(line []byte) (Observation, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var j observationJSON
	if err := dec.Decode(&j); err != nil {
		return Observation{}, lineRefusal(line, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Observation{}, &Refusal{Reason: "more than one JSON value on the line"}
	}
	o := Observation{Source: j.Source, Time: j.Time, Last: j.Last, Count: j.Count, File: j.File, Address: j.Address}
	n := 0
	set := func(given bool, f func() Fact) {
		if given {
			o.Fact = f()
			n++
		}
	}
	set(j.Attribute != nil, func() Fact { return *j.Attribute })
	set(j.Sighting != nil, func() Fact { return *j.Sighting })
	set(j.Relation != nil, func() Fact { return *j.Relation })
	set(j.Access != nil, func() Fact { return *j.Access })
	set(j.Download != nil, func() Fact { return *j.Download })
	set(j.Detection != nil, func() Fact { return *j.Detection })
	set(j.Listing != nil, func() Fact { return *j.Listing })
	set(j.Signature != nil, func() Fact { return *j.Signature })
	set(j.Certificate != nil, func() Fact { return *j.Certificate })
	set(j.Publication != nil, func() Fact { return *j.Publication })
	set(j.FuzzyHash != nil, func() Fact { return *j.FuzzyHash })
	set(j.Verdict != nil, func() Fact { return *j.Verdict })
	if n != 1 {
		return Observation{}, &Refusal{Reason: fmt.Sprintf("%d facts on the line; give exactly one of %s", n, strings.Join(Kinds(), ", "))}
	}
	if err := o.Check(); err != nil {
		return Observation{}, err
	}
	return o, nil
}

// lineRefusal turns an error of reading the line into a Refusal that names the field, or the byte where the JSON breaks.
func lineRefusal(line []byte, err error) error {
	if r := misfit(line, reflect.TypeFor[observationJSON]()); r != nil {
		return r
	}
	return jsonRefusal(err)
}

// misfit returns the first field of a JSON object that the struct t does not have or cannot hold, by its whole name; nil when there is none.
// The decoder's own errors name the last part of it at most.
func misfit(object []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if brace, err := dec.Token(); err != nil || brace != json.Delim('{') {
		return nil
	}
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil
		}
		field := fieldType(t, name)
		switch {
		case field == nil:
			return &Refusal{Field: strings.Trim(quoteShort(name), `"`), Reason: "no such field in an observation"}
		case field.Kind() == reflect.Struct && value[0] == '{' && !reflect.PointerTo(field).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			err = misfit(value, field)
		default:
			if err = json.Unmarshal(value, reflect.New(field).Interface()); err != nil {
				err = jsonRefusal(err)
			}
		}
		if err != nil {
			return within(name, err)
		}
	}
	return nil
}

// fieldType returns the type of the field that JSON calls name, without pointer; nil when t has none.
func fieldType(t reflect.Type, name string) reflect.Type {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" || !strings.EqualFold(tag, name) { // as encoding/json finds it
			continue
		}
		if f.Type.Kind() == reflect.Pointer {
			return f.Type.Elem()
		}
		return f.Type
	}
	return nil
}

// jsonRefusal turns an error of encoding/json into a Refusal.
func jsonRefusal(err error) error {
	var ref *Refusal
	var typ *json.UnmarshalTypeError
	var syn *json.SyntaxError
	var at *time.ParseError
	switch {
	case errors.As(err, &ref):
		return ref
	case errors.As(err, &typ):
		return &Refusal{Field: typ.Field, Reason: fmt.Sprintf("a JSON %s where %s belongs", typ.Value, jsonName(typ.Type))}
	case errors.As(err, &syn):
		return &Refusal{Reason: fmt.Sprintf("not JSON at byte %d: %v", syn.Offset, syn)}
	case errors.As(err, &at):
		return &Refusal{Reason: fmt.Sprintf("%s is no time; give one like \"2026-05-01T08:15:30Z\" (RFC 3339)", quoteShort(strings.Trim(at.Value, `"`)))}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Refusal{Reason: "not JSON: the line ends before the object does"}
	}
	return &Refusal{Reason: err.Error()}
}

// jsonName says in words what JSON value a type is read from.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(MaxCount))
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		if !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return "an object"
		}
	}
	return "a string"
}

// earliest and latest bound the times that the store can keep: whole Unix seconds above zero.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Check reports, as a [Refusal] that names the field, the first thing wrong with the observation.
func (o *Observation) Check() error {
	switch o.Source.Type {
	case Telemetry, FeedSource, InspectionSource, Analyst:
	default:
		return &Refusal{Field: "source.type", Reason: fmt.Sprintf("%s is no source type; one of telemetry, feed, inspection, analyst", quoteShort(string(o.Source.Type)))}
	}
	if err := need("source.name", o.Source.Name); err != nil {
		return err
	}
	if o.Source.Marking > TLPRed {
		return &Refusal{Field: "source.marking", Reason: "no such marking"}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"time", o.Time}, {"last", o.Last}} {
		if !t.at.IsZero() && (t.at.Before(earliest) || t.at.After(latest)) {
			return &Refusal{Field: t.name, Reason: fmt.Sprintf("%s is outside 1970 to 2200", t.at.UTC().Format(time.RFC3339))}
		}
	}
	if !o.Last.IsZero() && (o.Time.IsZero() || o.Last.Before(o.Time)) {
		return &Refusal{Field: "last", Reason: "earlier than time"}
	}
	if o.Count > MaxCount {
		return &Refusal{Field: "count", Reason: fmt.Sprintf("larger than %d", uint64(MaxCount))}
	}
	if err := o.File.check(); err != nil {
		return within("file", err)
	}
	if o.Fact == nil {
		return &Refusal{Reason: "no fact; give exactly one of " + strings.Join(Kinds(), ", ")}
	}
	_, listing := o.Fact.(Listing)
	_, relation := o.Fact.(Relation)
	switch {
	case o.Address != "" && !listing:
		return &Refusal{Field: "address", Reason: "only a listing may be of an address"}
	case o.Address != "" && !o.File.IsZero():
		return &Refusal{Field: "address", Reason: "give a file or an address, not both"}
	case relation && !o.File.IsZero():
		return &Refusal{Field: "file", Reason: "a relation names its files in from and to"}
	case !relation && o.Address == "" && o.File.IsZero():
		return &Refusal{Field: "file", Reason: "no hash; give md5, sha1 or sha256"}
	}
	if o.Address != "" {
		if err := text("address", o.Address); err != nil {
			return err
		}
		if _, err := ParseAddress(o.Address); err != nil {
			return within("address", err)
		}
	}
	if err := o.Fact.check(); err != nil {
		return within(o.Fact.Kind(), err)
	}
	return nil
}

func within(outer string, err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		c := *r
		if c.Field == "" {
			c.Field = outer
		} else {
			c.Field = outer + "." + c.Field
		}
		return &c
	}
	return err
}

func text(field, s string) error {
	if len(s) > MaxText {
		return &Refusal{Field: field, Reason: fmt.Sprintf("%d bytes; at most %d", len(s), MaxText)}
	}
	if !utf8.ValidString(s) {
		return &Refusal{Field: field, Reason: "not UTF-8"}
	}
	if strings.IndexByte(s, 0) >= 0 {
		return &Refusal{Field: field, Reason: "holds a NUL character"}
	}
	return nil
}

func need(field, s string) error {
	if s == "" {
		return &Refusal{Field: field, Reason: "missing"}
	}
	return text(field, s)
}

func texts(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := text(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func needZone(z Zone) error {
	if z < Green || z > Red {
		return &Refusal{Field: "zone", Reason: "missing; one of red, orange, yellow, gray, green"}
	}
	return nil
}

func (a Attribute) check() error {
	if !slices.Contains(attributeNames, a.Name) {
		return &Refusal{Field: "name", Reason: fmt.Sprintf("%s is no attribute; one of %v", quoteShort(string(a.Name)), attributeNames)}
	}
	if a.Name == Size {
		if n, ok := parseSize(a.Value); !ok || n > math.MaxInt64 {
			return &Refusal{Field: "value", Reason: "a size is a whole number of bytes in decimal digits"}
		}
	}
	return need("value", a.Value)
}

func parseSize(s string) (uint64, bool) {
	if s == "" || len(s) > 19 || (len(s) > 1 && s[0] == '0') {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

func (s Sighting) check() error { return texts("path", s.Path, "name", s.Name, "host", s.Host) }

func (r Relation) check() error {
	switch r.Verb {
	case Started, Downloaded, Contains:
	default:
		return &Refusal{Field: "verb", Reason: fmt.Sprintf("%s is no verb; one of started, downloaded, contains", quoteShort(string(r.Verb)))}
	}
	for _, e := range []struct {
		name string
		o    Object
	}{{"from", r.From}, {"to", r.To}} {
		if err := e.o.Hashes.check(); err != nil {
			return within(e.name, err)
		}
		if err := texts("path", e.o.Path, "name", e.o.Name); err != nil {
			return within(e.name, err)
		}
		if e.o.Hashes.IsZero() && e.o.Path == "" && e.o.Name == "" {
			return &Refusal{Field: e.name, Reason: "neither a hash nor a path nor a name"}
		}
	}
	if r.From.Hashes.IsZero() && r.To.Hashes.IsZero() {
		return &Refusal{Field: "from", Reason: "no hash at either end; at least one end must have one"}
	}
	if r.Verb == Contains && (r.From.Hashes.IsZero() || r.To.Hashes.IsZero()) {
		return &Refusal{Field: "from", Reason: "a container and its member both need a hash"}
	}
	return nil
}

func checkWeb(url string, ips []string) error {
	if err := need("url", url); err != nil {
		return err
	}
	if len(ips) > MaxIPs {
		return &Refusal{Field: "ips", Reason: fmt.Sprintf("%d addresses; at most %d", len(ips), MaxIPs)}
	}
	for _, ip := range ips {
		if _, err := ParseAddress(ip); err != nil || !IsIP(ip) {
			return &Refusal{Field: "ips", Reason: quoteShort(ip) + " is no IP address"}
		}
	}
	if _, err := ParseAddress(url); err != nil {
		return within("url", err)
	}
	return nil
}

func (a Access) check() error { return checkWeb(a.URL, a.IPs) }
func (d Download) check() error {
	if err := text("referrer", d.Referrer); err != nil {
		return err
	}
	return checkWeb(d.URL, d.IPs)
}

func (d Detection) check() error {
	if err := need("name", d.Name); err != nil {
		return err
	}
	if err := texts("method", d.Method, "url", d.URL); err != nil {
		return err
	}
	return needZone(d.Zone)
}

func (l Listing) check() error {
	if err := need("feed", l.Feed); err != nil {
		return err
	}
	if err := text("threat", l.Threat); err != nil {
		return err
	}
	return needZone(l.Zone)
}

func (s Signature) check() error {
	switch s.Status {
	case Trusted, NotTrusted, Discredited:
	default:
		return &Refusal{Field: "status", Reason: fmt.Sprintf("%s is no status; one of trusted, not trusted, discredited", quoteShort(string(s.Status)))}
	}
	return need("signer", s.Signer)
}

func (c Certificate) check() error {
	if c.MD5.Algorithm() != MD5 {
		return &Refusal{Field: "md5", Reason: "missing; the MD5 of the certificate's DER bytes"}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"signed", c.Signed}, {"issued", c.Issued}, {"expires", c.Expires}} {
		if y := t.at.UTC().Year(); !t.at.IsZero() && (y < 1950 || y > 9999) {
			return &Refusal{Field: t.name, Reason: "outside the years 1950 to 9999"}
		}
	}
	return texts("serial", c.Serial, "vendor", c.Vendor, "publisher", c.Publisher)
}

func (p Publication) check() error {
	switch p.Type {
	case APT, Crimeware, Industrial, OSINT:
	default:
		return &Refusal{Field: "type", Reason: fmt.Sprintf("%s is no publication type; one of APT, Crimeware, Industrial, OSINT", quoteShort(string(p.Type)))}
	}
	if err := need("id", p.ID); err != nil {
		return err
	}
	if err := need("title", p.Title); err != nil {
		return err
	}
	if len(p.Tags) > MaxTags {
		return &Refusal{Field: "tags", Reason: fmt.Sprintf("%d tags; at most %d", len(p.Tags), MaxTags)}
	}
	for _, tag := range p.Tags {
		if err := need("tags", tag); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"published", p.Published}, {"updated", p.Updated}} {
		if !t.at.IsZero() && (t.at.Before(earliest) || t.at.After(latest)) {
			return &Refusal{Field: t.name, Reason: fmt.Sprintf("%s is outside 1970 to 2200", t.at.UTC().Format(time.RFC3339))}
		}
	}
	return texts("url", p.URL, "description", p.Description)
}

func (f FuzzyHash) check() error {
	if !slices.Contains(fuzzyAlgorithms, f.Algorithm) {
		return &Refusal{Field: "algorithm", Reason: fmt.Sprintf("%s is no fuzzy algorithm; one of %v", quoteShort(string(f.Algorithm)), fuzzyAlgorithms)}
	}
	return need("value", f.Value)
}

func (v AnalystVerdict) check() error {
	if err := texts("analyst", v.Analyst, "comment", v.Comment); err != nil {
		return err
	}
	return needZone(v.Zone)
}
