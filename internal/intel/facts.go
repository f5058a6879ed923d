package intel

import "time"

// Seconds is a moment in whole Unix seconds, UTC. Zero means unknown.
type Seconds int64

// SecondsOf cuts t to whole seconds; the zero time is zero.
func SecondsOf(t time.Time) Seconds {
	if t.IsZero() {
		return 0
	}
	return Seconds(t.Unix())
}

// Time returns the moment, the zero time when unknown.
func (s Seconds) Time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// Tally is what merging keeps of many observations of one fact.
type Tally struct {
	Count   uint64   // how often it was observed
	First   Seconds  // when it first happened
	Last    Seconds  // when it last happened
	Learned Seconds  // when Spoor first heard of it
	Sources []string // who says so, sorted, at most 16; shared, not to be changed
}

// Row is one merged fact and its tally.
type Row[T any] struct {
	Value T
	Tally
}

// Related is the other file of a relation.
type Related struct {
	Hash Hash   // its strongest known hash; zero when it is known by path and name alone
	Path string // where it was in the latest observation that says; of a container, where in it the file is
	Name string // as Path
	Weak bool   // every observation of it was a weak match
	Head *Head  // what a verdict on it needs; never nil when Hash is not zero
}

// WebAddress is a URL of a relation with what is known of it.
type WebAddress struct {
	Address
	Listings []Row[Listing] // of the URL itself, its host and its registered domain
	IPs      int            // IP addresses that the host was seen to resolve to
}

// Head is what a verdict needs of a file: few rows, kept at the head of its partition.
type Head struct {
	File         Hashes // every hash that names the file
	Seen         Tally  // its sightings: hits, first and last seen
	Attributes   []Row[Attribute]
	Detections   []Row[Detection]
	Listings     []Row[Listing]
	Verdicts     []Row[AnalystVerdict]
	Signatures   []Row[Signature]
	Publications []Row[Publication]
}

// Known reports whether anything at all but its hash is known of the file.
func (h *Head) Known() bool {
	return h.Seen.Count > 0 || len(h.Attributes)+len(h.Detections)+len(h.Listings)+len(h.Verdicts)+len(h.Signatures)+len(h.Publications) > 0
}

// FeedTerms say how the listings of a feed count. A feed without terms counts fully.
type FeedTerms struct {
	Weight  int           // 0 to 100: how much one counts
	Decay   time.Duration // in what time half of the weight of one that is not renewed is gone; 0: never
	AsOf    time.Time     // the moment at which their age is looked at; whole days since a listing's last moment count
	Removed bool          // the feed is no longer subscribed: no listing of it is live
}

// Gap says what a relation's head does not hold because it grew past its bound.
type Gap struct {
	Rows uint64 // rows that are left out of the answer; paging reaches them
	Hits uint64 // their hits
}

// Conflict is a hash that is tied to more than one file, or a second hash of one algorithm for one file.
type Conflict struct {
	Hash  Hash   // the hash in dispute
	Other Hash   // the other file (or the hash that this file also has) that claims it
	Count uint64 // how many observations make that claim
}

// Facts is what the store recalls of one file.
type Facts struct {
	Head
	Asked     Hash // the hash of the question
	HostCount uint64
	Conflicts []Conflict

	Certificates []Row[Certificate]
	FuzzyHashes  []Row[FuzzyHash]
	Details      []Row[Attribute] // those of which IsDetail is true
	Paths        []Row[string]
	Names        []Row[string]
	Hosts        []Row[string]

	Started, StartedBy       []Row[Related]
	Downloaded, DownloadedBy []Row[Related]
	Contains, ContainedIn    []Row[Related]

	DownloadedFrom, Accessed []Row[WebAddress]

	Similar []Resemblance

	Gaps map[Section]Gap // by relation; only those that are cut
}

// Resemblance is another file that has the same fuzzy hash, or one near it. A file that resembles in several ways comes once for each.
type Resemblance struct {
	Head     *Head
	By       FuzzyHash // what the other resembles: a fuzzy hash of this file
	Distance int       // of the other's TLSH from it; 0 is the same
	Score    int       // of the other's ssdeep with it; 100 is the same
}

// Reach bounds a search for fuzzy hashes near one.
type Reach struct {
	Distance int // greatest distance of a TLSH
	Score    int // least score of an ssdeep
	Files    int // about how many files at most, the nearest
}

// DefaultReach is what a dossier looks for; MaxDistance is the farthest that may be asked for. At a distance of 30 files are nearly the same,
// at 100 they need have nothing to do with each other.
var DefaultReach = Reach{Distance: 30, Score: 1, Files: 1000}

// MaxDistance is the greatest distance of a TLSH that may be asked for.
const MaxDistance = 100

// Section names a group of facts that can be asked for alone.
type Section uint32

// The groups. Head facts are always recalled.
const (
	SectionPaths Section = 1 << iota
	SectionNames
	SectionHosts
	SectionStarted
	SectionStartedBy
	SectionDownloaded
	SectionDownloadedBy
	SectionContains
	SectionContainedIn
	SectionDownloadedFrom
	SectionAccessed
	SectionCertificates
	SectionFuzzyHashes
	SectionSimilar
	SectionDetails

	AllSections Section = 1<<iota - 1
)

// PublicationFacts is what the store recalls of a publication. Its tally is that of its naming files.
type PublicationFacts struct {
	Row[Publication]
	Files []Row[Related] // that it names
	Gap   Gap            // files that are left out
}

// AddressFacts is what the store recalls of a URL, domain or IP address.
type AddressFacts struct {
	Address
	Listings   []Row[Listing]
	Downloaded []Row[Related]    // files that came from it
	Accessed   []Row[Related]    // files that contacted it
	URLs       []Row[WebAddress] // of a domain or IP address: URLs seen on it
	IPs        []Row[string]     // of a domain: what it resolved to
	Domains    []Row[WebAddress] // of an IP address: what resolved to it
}
