package intel

import (
	"slices"
	"time"
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

	// What follows is kept and shown, but stands outside of what a verdict needs.
	ShortType      AttributeName = "short_type"      // "PE", "DOCX"
	PackerEvidence AttributeName = "packer_evidence" // how the packer was recognised
	Compiled       AttributeName = "compiled"        // when, as the file's own header says, RFC 3339
	Runtime        AttributeName = "runtime"         // what it needs or was built with: ".NET v4.0.30319", "Go go1.22.1"
	Sections       AttributeName = "sections"        // name, size and entropy of each section
	Overlay        AttributeName = "overlay"         // what follows the last section
	ActiveContent  AttributeName = "active_content"  // macros, scripts, actions that run by themselves
	SignatureNote  AttributeName = "signature_note"  // a line a signature: what is right or wrong with it
	InspectionNote AttributeName = "inspection_note" // what inspection could not read, and why
	Inspected      AttributeName = "inspected"       // the last word of an inspection: by which revision of the readers it was
)

var attributeNames = []AttributeName{Size, Type, Packer, Product, Company, Description, Version, OriginalName,
	ShortType, PackerEvidence, Compiled, Runtime, Sections, Overlay, ActiveContent, SignatureNote, InspectionNote, Inspected}

// IsDetail reports whether the attribute is one that no verdict and no list of files needs, only the page of the file itself.
func (n AttributeName) IsDetail() bool { return n.Order() > OriginalName.Order() }

// Order is the attribute's place among all, for lists of them; -1 for what is no attribute.
func (n AttributeName) Order() int { return slices.Index(attributeNames, n) }

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

	// Discount says, where facts are recalled, by how many percent this listing counts less than a whole one, as its feed's terms have it. It is
	// no part of what is said, and is never kept.
	Discount uint8 `json:"-"`
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
	Symhash      FuzzyAlgorithm = "symhash" // of Mach-O, what an imphash is of PE
)

var fuzzyAlgorithms = []FuzzyAlgorithm{TLSH, SSDeep, Imphash, Authentihash, RichHash, IconHash, Telfhash, Symhash}

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
