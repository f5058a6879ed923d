// Package dossier builds the one answer: everything that is known of a file, section by section.
//
// A [Builder] recalls facts through a [View] that the caller opens on the store, judges the file and every related file, orders and cuts
// the rows, and returns a [Dossier]. Printing it as JSON, HTML, STIX or text is for others.
package dossier

import (
	"context"
	"time"

	"spoor/internal/intel"
)

// View is what the dossier needs of the store: one reader's look at it, limited to what its account may see.
type View interface {
	// Recall returns the facts of the file that h names, with the groups that want names.
	// It fails with [intel.ErrUnknown] when nothing at all is known of h. Related files come with their heads, in no
	// particular order, at most a few thousand a relation, and what was left out stands in Gaps.
	Recall(ctx context.Context, h intel.Hash, want intel.Section) (*intel.Facts, error)

	// Relatives returns, for each file, the rows of one relation, as Recall does. An unknown file has none.
	Relatives(ctx context.Context, files []intel.Hash, relation intel.Section) ([][]intel.Row[intel.Related], error)

	// Page returns about most rows of one group of a file's facts, those that follow after in an order of the view's own, and where the
	// next page begins, nil at the end. It reaches what Recall leaves out.
	Page(ctx context.Context, h intel.Hash, group intel.Section, after []byte, most int) (f *intel.Facts, next []byte, err error)

	// Certificates returns the certificates of each file.
	Certificates(ctx context.Context, files []intel.Hash) ([][]intel.Row[intel.Certificate], error)

	// Names returns the names of each file on hosts.
	Names(ctx context.Context, files []intel.Hash) ([][]intel.Row[string], error)

	// Similar returns the files that have one of the fuzzy hashes, or a TLSH or ssdeep near one, with their heads. A file comes once for each
	// fuzzy hash that it resembles.
	Similar(ctx context.Context, hashes []intel.FuzzyHash, reach intel.Reach) ([]intel.Resemblance, error)

	// Address returns what is known of a URL, domain or IP address; an unseen one has empty facts, not an error.
	Address(ctx context.Context, a intel.Address) (*intel.AddressFacts, error)

	// Publication returns a publication and the files that it names, with their heads, as Recall does related files. It fails with
	// [intel.ErrUnknown] when there is none with this id.
	Publication(ctx context.Context, id string) (*intel.PublicationFacts, error)

	// Publications returns what is said of each publication itself, in the order of the ids; of one that is not known only the id.
	Publications(ctx context.Context, ids []string) ([]intel.Row[intel.Publication], error)

	// Fresh reports whether every row that this view has read is still as it was. It costs a microsecond or two.
	Fresh() bool

	// Size is about how many bytes the view keeps to answer Fresh.
	Size() int
}

// Section is the name of a section, as clients ask for it.
type Section string

// The nineteen sections of the page, in its order. (LicenseInfo is the asking account's and is filled in by the API.)
const (
	LicenseInfo            Section = "LicenseInfo"
	Zone                   Section = "Zone"
	RelatedObjects         Section = "RelatedObjects"
	FileGeneralInfo        Section = "FileGeneralInfo"
	DetectionsInfo         Section = "DetectionsInfo"
	FilePaths              Section = "FilePaths"
	FileNames              Section = "FileNames"
	FileDownloadedFromUrls Section = "FileDownloadedFromUrls"
	FileAccessedUrls       Section = "FileAccessedUrls"
	FileStartedObjects     Section = "FileStartedObjects"
	FileStartedBy          Section = "FileStartedBy"
	FileDownloadedObjects  Section = "FileDownloadedObjects"
	FileDownloadedBy       Section = "FileDownloadedBy"
	FileCertificates       Section = "FileCertificates"
	FileParentCertificates Section = "FileParentCertificates"
	FileUnpackedFrom       Section = "FileUnpackedFrom"
	FileUnpackedObjects    Section = "FileUnpackedObjects"
	SimilarFiles           Section = "SimilarFiles"
	DataFeeds              Section = "DataFeeds"
)

// Spoor's own sections, given only when asked for by name.
const (
	Hosts Section = "Hosts"
	// SimilarEvidence is SimilarFiles with what each row is told by.
	SimilarEvidence Section = "SimilarEvidence"
	// MemberPaths is FileUnpackedObjects with what each member is called in its container.
	MemberPaths Section = "MemberPaths"
	Reasons     Section = "Reasons"
	Conflicts   Section = "Conflicts"
	Inspection  Section = "Inspection"
)

// MaxRows is the greatest, and the default, number of rows in a section.
const MaxRows = 1000

// MaxLevel is the deepest level of unpacking: 0 is the direct container or member.
const MaxLevel = 5

// Dossier is the answer. A slice is nil when its section was not asked for and empty when it has nothing.
type Dossier struct {
	Asked    intel.Hash
	File     intel.Hashes
	Sections []Section // what was asked for, in the page's order

	Verdict    intel.Verdict
	HasRedZone bool // a related file, URL, domain or certificate is red
	General    General

	Detections         []DetectionRow
	Paths              []PathRow
	Names              []NameRow
	DownloadedFrom     []URLRow
	Accessed           []URLRow
	Started, StartedBy []FileRow
	Downloaded         []FileRow
	DownloadedBy       []FileRow
	Certificates       []CertificateRow
	ParentCertificates []CertificateRow
	UnpackedFrom       []MemberRow
	UnpackedObjects    []MemberRow
	Similar            []SimilarRow
	Feeds              []FeedRow // live listings
	Hosts              []HostRow
	HostCount          uint64
	Conflicts          []intel.Conflict
	Inspection         []PropertyRow
	Gaps               map[Section]intel.Gap // sections whose tail is left out
}

// PropertyRow is something that the bytes say, or that reading them met, beyond the overview.
type PropertyRow struct {
	Name, Value string
	Last        time.Time // when it was last said
}

// General is the overview of the file. Zero values are unknown.
type General struct {
	FirstSeen, LastSeen time.Time
	Hits                uint64
	Signer              string
	SignerStatus        intel.SignatureStatus
	SignerZone          intel.Zone
	Packer              string
	Size                int64 // -1 when unknown
	Type                string
	Publications        []intel.Publication
	// What the version resource says; not on the portal's wire, shown on the page.
	Product, Company, Description, Version, OriginalName string
}

// DetectionRow is a detection and when it was last made.
type DetectionRow struct {
	intel.Detection
	Last    time.Time
	Hits    uint64
	Sources []string
}

// PathRow is a path of the file on hosts.
type PathRow struct {
	Path, Location string
	Hits           uint64
	First, Last    time.Time
}

// NameRow is a name of the file on hosts.
type NameRow struct {
	Name        string
	Hits        uint64
	First, Last time.Time
}

// HostRow is a host that saw the file.
type HostRow struct {
	Host        string
	Hits        uint64
	First, Last time.Time
}

// URLRow is a web address that the file came from or contacted.
type URLRow struct {
	URL       string
	Truncated bool
	Host      string
	Domain    string // registered domain
	Zone      intel.Zone
	Hits      uint64
	Last      time.Time
	IPs       int
}

// FileRow is a related file. MD5 may be unknown; then another hash may be, or none (known by path and name alone).
type FileRow struct {
	File                 intel.Hashes
	Zone                 intel.Zone
	Hits                 uint64
	Path, Location, Name string
	First, Last          time.Time
	Detection            string // the gravest detection's name, empty when none
	Weak                 bool   // the match was by path alone
}

// CertificateRow is a certificate of the file's signature, or of a container's.
type CertificateRow struct {
	intel.Certificate
	Zone      intel.Zone   // green when trusted and not revoked or discredited, red when revoked or discredited, else gray
	Container intel.Hashes // for a container's certificate: the container
}

// MemberRow is one edge between a container and its member, seen from the file of the dossier.
type MemberRow struct {
	Zone          intel.Zone // of the related end: the container in UnpackedFrom, the member in UnpackedObjects
	Parent, Child intel.Hashes
	Level         int    // 0 is the direct container or member
	Size          int64  // of the related end, -1 when unknown
	Type          string // of the related end
	Detection     string // the gravest detection of the related end
	Path          string // of the member in its container
}

// SimilarRow is a file that resembles this one.
type SimilarRow struct {
	File        intel.Hashes
	Zone        intel.Zone
	Confidence  int      // 1 to 99, see docs/similarity.md
	By          []string // what it is told by, what says most first: "tlsh distance 12", "imphash", "same certificate"
	Detection   string
	Hits        uint64
	First, Last time.Time
	Type        string
	Size        int64 // -1 when unknown
}

// FeedRow is a live listing.
type FeedRow struct {
	intel.Listing
	First, Last time.Time
}

// Query says what of a dossier is wanted.
type Query struct {
	Sections []Section // nil: the page's nineteen
	Count    int       // greatest number of rows in a section; 0 means MaxRows

	Publications bool // of the general info's publications also what is said of them themselves: their dates, descriptions and tags
}
