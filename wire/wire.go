// Package wire is the JSON contract of Spoor's HTTP API, spelled as existing clients of the Kaspersky Threat Intelligence Portal expect it.
//
// A [HashReport] answers GET /api/hash/{hash}. Its keys are the section names, in the page's order; a section that was not asked for is
// absent, one that was asked for and has nothing is an empty array. Values that are unknown are left out, except where a field says otherwise.
package wire

import "time"

// Date is a moment in UTC: to the minute ("2006-01-02T15:04Z") on /api, to the second ("2006-01-02T15:04:05Z") on /api/v1. Empty is unknown.
type Date string

// The layouts of a Date.
const (
	Minutes = "2006-01-02T15:04Z"
	Seconds = "2006-01-02T15:04:05Z"
)

// DateOf writes a moment in a layout; the zero time is the empty Date.
func DateOf(t time.Time, layout string) Date {
	if t.IsZero() {
		return ""
	}
	return Date(t.UTC().Format(layout))
}

// Time reads the moment back; the empty Date is the zero time.
func (d Date) Time() (time.Time, error) {
	switch len(d) {
	case 0:
		return time.Time{}, nil
	case len(Minutes):
		return time.Parse(Minutes, string(d))
	}
	return time.Parse(Seconds, string(d))
}

// Zone is a colour as the contract spells it.
type Zone string

// The zones. Gray is spelled with an e on the wire.
const (
	Red    Zone = "Red"
	Orange Zone = "Orange"
	Yellow Zone = "Yellow"
	Grey   Zone = "Grey"
	Green  Zone = "Green"
)

// HashReport is everything that is known of a file.
type HashReport struct {
	Status                 string           `json:",omitempty"` // of an inspection, on /api/v1 only: "not started", "in progress", "complete"
	LicenseInfo            *LicenseInfo     `json:",omitempty"`
	Zone                   Zone             `json:",omitempty"`
	RelatedObjects         *RelatedObjects  `json:",omitempty"`
	FileGeneralInfo        *FileGeneralInfo `json:",omitempty"`
	DetectionsInfo         []Detection      `json:",omitzero"`
	FilePaths              []FilePath       `json:",omitzero"`
	FileNames              []FileName       `json:",omitzero"`
	FileDownloadedFromUrls []WebAddress     `json:",omitzero"`
	FileAccessedUrls       []WebAddress     `json:",omitzero"`
	FileStartedObjects     []StartedFile    `json:",omitzero"`
	FileStartedBy          []StartedFile    `json:",omitzero"`
	FileDownloadedObjects  []DownloadedFile `json:",omitzero"`
	FileDownloadedBy       []DownloadedFile `json:",omitzero"`
	FileCertificates       []Certificate    `json:",omitzero"`
	FileParentCertificates []Certificate    `json:",omitzero"`
	FileUnpackedFrom       []Container      `json:",omitzero"`
	FileUnpackedObjects    []Member         `json:",omitzero"`
	SimilarFiles           []SimilarFile    `json:",omitzero"`
	DataFeeds              []string         `json:",omitempty"` // absent when no feed lists the file
	Hosts                  *Hosts           `json:",omitempty"` // Spoor's own, only when asked for by name; so are those below
	Reasons                *Reasons         `json:",omitempty"`
	SimilarEvidence        []SimilarFile    `json:",omitzero"` // SimilarFiles with their evidence
	MemberPaths            []Member         `json:",omitzero"` // FileUnpackedObjects with their paths
	Conflicts              []Conflict       `json:",omitzero"`
	Inspection             []Property       `json:",omitzero"`
}

// LicenseInfo is about the asking account.
type LicenseInfo struct {
	AccessType          string // "Commercial" or "Trial"
	DayRequests         uint64 // answered today, UTC, this one included
	DayQuota            uint64
	TokenExpirationDate *Date // null when the request came without a token
}

// RelatedObjects is whether any related file, web address or certificate is red.
type RelatedObjects struct {
	HasRedZone bool
}

// FileGeneralInfo is the overview. The hashes are upper-case hex and always present, empty when unknown.
type FileGeneralInfo struct {
	FileStatus        string `json:",omitempty"` // on /api/v1 only: Malware, NotTrusted, Adware, Clean, NoThreats, NotCategorized
	Md5, Sha1, Sha256 string
	FirstSeen         Date   `json:",omitempty"`
	LastSeen          Date   `json:",omitempty"`
	Signer            string `json:",omitempty"`
	SignerZone        Zone   `json:",omitempty"` // Red, Grey or Green
	SignerStatus      string `json:",omitempty"` // "Discredited", "Not trusted", "Trusted"
	Packer            string `json:",omitempty"`
	Size              *int64 `json:",omitempty"` // bytes
	Type              string `json:",omitempty"`
	HitsCount         uint64
	HasApt            bool // a report of type APT names the file
	RelatedAptReports []Report
}

// Report is a publication that names the file.
type Report struct {
	Id    string // an argument of get_one
	Type  string // "APT", "Crimeware", "Industrial", "OSINT"
	Title string
}

// Detection is a name that an engine or rule gives. Every key is in every row.
type Detection struct {
	LastDetectDate  Date
	DescriptionUrl  *string // null when there is none
	Zone            Zone
	DetectionName   string
	DetectionMethod string
}

// FilePath is a path of the file on machines of the fleet.
type FilePath struct {
	Path              string
	Location          string `json:",omitempty"` // root folder or drive: "C:", "%WinDir%", "/usr"
	FilePathHitsCount uint64
}

// FileName is a name of the file on machines of the fleet.
type FileName struct {
	FileName           string
	FileNamesHitsCount uint64
}

// WebAddress is an address that the file came from or contacted.
type WebAddress struct {
	Url              string
	IsUrlTruncated   bool // private data was cut out
	Zone             Zone
	Domain           string `json:",omitempty"` // upper domain
	LastDownloadDate Date   `json:",omitempty"` // in FileAccessedUrls the last access
	IpsCount         int    // IP addresses that the host was seen to resolve to
}

// RelatedFile is what the rows of related files share. Where Md5 is unknown it is empty, and the hash that is known stands beside it.
type RelatedFile struct {
	Zone      Zone
	HitsCount uint64
	Md5       string
	Sha1      string `json:",omitempty"`
	Sha256    string `json:",omitempty"`
	Location  string `json:",omitempty"`
	Path      string `json:",omitempty"`
	Name      string `json:",omitempty"`
}

// StartedFile is a file that this one started or was started by.
type StartedFile struct {
	RelatedFile
	LastStartDate Date   `json:",omitempty"`
	DetectionName string `json:",omitempty"`
}

// DownloadedFile is a file that this one downloaded or was downloaded by.
type DownloadedFile struct {
	RelatedFile
	LastDownloadDate Date   `json:",omitempty"`
	DetectionName    string `json:",omitempty"`
}

// Certificate is a certificate of the file's signature, or of a container's. ParentMd5 is the MD5 of the certificate itself.
type Certificate struct {
	ParentMd5        string
	SerialNumber     string `json:",omitempty"`
	Vendor           string `json:",omitempty"`
	Publisher        string `json:",omitempty"`
	TimeStamp        Date   `json:",omitempty"`
	Issued           Date   `json:",omitempty"`
	Expires          Date   `json:",omitempty"`
	IsDirectlySigned bool
	IsDiscredited    bool
	IsTrusted        bool
	IsRevoked        bool
	IsGray           bool
	IsGood           bool
}

// Container is an edge from a container to what it holds. At level 0 ChildMd5 is the requested file, at level n the container of level n−1.
type Container struct {
	Zone                Zone
	ParentMd5           string
	ChildMd5            string
	Sha1                string `json:",omitempty"` // of the container, when its MD5 is unknown
	Sha256              string `json:",omitempty"`
	ParentFileSize      *int64 `json:",omitempty"`
	ParentFileType      string `json:",omitempty"`
	ParentDetectionName string `json:",omitempty"`
	Level               int
}

// Member is an edge from a container to a member. At level 0 ParentMD5 is the requested file, at level n the member of level n−1.
type Member struct {
	Zone               Zone
	ChildMD5           string
	ParentMD5          string
	Sha1               string `json:",omitempty"` // of the member, when its MD5 is unknown
	Sha256             string `json:",omitempty"`
	ChildFileSize      *int64 `json:",omitempty"`
	ChildFileType      string `json:",omitempty"`
	ChildDetectionName string `json:",omitempty"`
	Level              int
	Path               string `json:",omitempty"` // in its container; in MemberPaths only
}

// SimilarFile is a file that resembles the requested one.
type SimilarFile struct {
	Md5           string
	Sha1          string `json:",omitempty"` // when the MD5 is unknown
	Sha256        string `json:",omitempty"`
	Confidence    int    // 1 to 99
	Status        string
	DetectionName string `json:",omitempty"`
	Hits          uint64 // rounded to the nearest power of ten
	FirstSeen     Date   `json:",omitempty"`
	LastSeen      Date   `json:",omitempty"`
	Type          string `json:",omitempty"`
	Size          *int64 `json:",omitempty"`
	// What the row is told by, what says most first: "tlsh distance 12", "imphash". Not in SimilarFiles of a hash look-up.
	Evidence []string `json:",omitempty"`
}

// SimilarReport is the answer to a search for similar files.
type SimilarReport struct {
	LicenseInfo  *LicenseInfo  `json:",omitempty"`
	SimilarFiles []SimilarFile // the surest first
}

// Property is something that reading the bytes gave beyond the overview: a detail such as "sections" or "signature_note", or a fuzzy hash.
type Property struct {
	Name     string
	Value    string
	LastSeen Date `json:",omitempty"`
}

// Hosts are the machines that saw the file.
type Hosts struct {
	HostsCount uint64 // all of them; exact to 64, then within about five percent
	Hosts      []Host // the first of them by hits
}

// Host is one machine.
type Host struct {
	Host      string
	HitsCount uint64
	FirstSeen Date `json:",omitempty"`
	LastSeen  Date `json:",omitempty"`
}

// Reasons say why the zone is what it is.
type Reasons struct {
	Score   int      // 0 (good) to 100 (bad); 50 to 74 is orange
	Reasons []string // strongest first
}

// Conflict is a hash that another file claims, too.
type Conflict struct {
	Hash  string // the hash in dispute
	Other string // the other file
	Count uint64 // observations that say so
}

// DomainReport is what is known of a web domain, URL or IP address.
type DomainReport struct {
	LicenseInfo           *LicenseInfo       `json:",omitempty"`
	Zone                  Zone               `json:",omitempty"`
	DomainGeneralInfo     *GeneralInfo       `json:",omitempty"` // one of the three, by what was asked
	UrlGeneralInfo        *GeneralInfo       `json:",omitempty"`
	IpGeneralInfo         *GeneralInfo       `json:",omitempty"`
	FilesDownloaded       []AddressFile      `json:",omitzero"`
	FilesDownloadedFromIp []AddressFile      `json:",omitzero"` // of an IP address, in the place of FilesDownloaded
	FilesAccessed         []AddressFile      `json:",omitzero"`
	HostedUrls            []HostedURL        `json:",omitzero"`
	DomainDnsResolutions  []Resolution       `json:",omitzero"`
	IpDnsResolutions      []DomainResolution `json:",omitzero"`
}

// GeneralInfo is the overview of an address: the field of its kind is set.
type GeneralInfo struct {
	Domain            string   `json:",omitempty"`
	Url               string   `json:",omitempty"`
	Ip                string   `json:",omitempty"`
	Host              string   `json:",omitempty"` // of a URL
	HitsCount         uint64   // downloads from it and accesses to it
	ThreatScore       int      // 0 (good) to 100 (bad), in the zone's band; 25 when nothing is known
	Categories        []string // always there, for clients that read it unasked; Spoor keeps none
	HasApt            bool     // likewise
	RelatedAptReports []Report
	FilesCount        int      // files that came from it
	UrlsCount         int      // URLs seen on it
	Feeds             []string // that list it
}

// AddressFile is a file that came from an address or contacted it.
type AddressFile struct {
	Zone             Zone
	HitsCount        uint64
	Md5              string
	Sha1             string `json:",omitempty"`
	Sha256           string `json:",omitempty"`
	DetectionName    string `json:",omitempty"`
	Url              string // what was asked about: no row knows it better
	FirstSeen        Date   `json:",omitempty"`
	LastSeen         Date   `json:",omitempty"`
	LastDownloadDate Date   `json:",omitempty"` // LastSeen again
}

// HostedURL is a URL seen on a host.
type HostedURL struct {
	Url       string
	Zone      Zone
	HitsCount uint64
	FirstSeen Date `json:",omitempty"`
	LastSeen  Date `json:",omitempty"`
}

// Resolution is an IP address that a name resolved to.
type Resolution struct {
	Ip        string
	FirstSeen Date `json:",omitempty"`
	LastSeen  Date `json:",omitempty"`
	HitsCount uint64
}

// DomainResolution is a name that resolved to an IP address.
type DomainResolution struct {
	Domain    string
	Zone      Zone
	FirstSeen Date `json:",omitempty"`
	LastSeen  Date `json:",omitempty"`
	HitsCount uint64
}

// PublicationReport answers /api/publications/get_one. Its keys are spelled as the portal spells them on this path.
type PublicationReport struct {
	Status     string      `json:"status"` // "ok"
	ReturnData Publication `json:"return_data"`
}

// Publication is a report with the files that it names. All keys are always there, for clients that read them unasked.
type Publication struct {
	Id           string            `json:"id"`
	Name         string            `json:"name"` // its title
	Desc         string            `json:"desc"`
	Published    int64             `json:"published"`    // Unix seconds; when nobody said, those of Updated, else of when Spoor first heard of it
	Updated      int64             `json:"updated"`      // likewise, the other way round
	ReportGroup  string            `json:"report_group"` // "apt", "crimeware", "industrial", "osint"
	Tags         []string          `json:"tags"`
	TagsGeo      []string          `json:"tags_geo"` // of machine tags as misp-galaxy:sector="Finance"; the others are in Tags alone
	TagsIndustry []string          `json:"tags_industry"`
	TagsActors   []string          `json:"tags_actors"`
	Type         string            `json:"type"`       // Spoor's own from here on: as in RelatedAptReports
	Url          string            `json:"url"`        // "" when unknown
	Sources      []string          `json:"sources"`    // who names it
	FilesLeft    uint64            `json:"files_left"` // files beyond those that follow
	Files        []PublicationFile `json:"files"`      // red first, then by hits
}

// PublicationFile is a file that a publication names.
type PublicationFile struct {
	Zone          Zone
	Md5           string // each hash is empty when unknown
	Sha1          string
	Sha256        string
	HitsCount     uint64
	FirstSeen     Date   `json:",omitempty"`
	LastSeen      Date   `json:",omitempty"`
	DetectionName string `json:",omitempty"`
}

// PublicationFailure answers /api/publications/get_one for an id that no publication has: as the portal says it, and as every error of Spoor's.
type PublicationFailure struct {
	Status    string    `json:"status"` // "error"
	StatusMsg string    `json:"status_msg"`
	Error     ErrorInfo `json:"error"`
}

// Error is the body of every error.
type Error struct {
	Error ErrorInfo `json:"error"`
}

// ErrorInfo says what went wrong and what to do.
type ErrorInfo struct {
	Code    string `json:"code"` // for programs: "unknown_hash", "bad_request", "quota_exceeded" …
	Message string `json:"message"`
}

// Receipt answers POST /api/observations and POST /api/events.
type Receipt struct {
	Accepted uint64    `json:"accepted"` // recorded by this request
	Repeated uint64    `json:"repeated"` // recorded by an earlier request with the same batch id: nothing changed
	Refused  uint64    `json:"refused"`
	Refusals []Refusal `json:"refusals"` // the first hundred
}

// Refusal says which line was not taken, and why.
type Refusal struct {
	Input  string `json:"input,omitempty"` // of /api/events: the member of an archive
	Line   int64  `json:"line"`            // 1-based; 0: the whole of it
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// BatchID is the header that names a batch of observations: sending the same again changes nothing. Without it, the body names itself.
const BatchID = "Spoor-Batch-Id"

// NextCursor is the header of an answer to a request with a cursor: the cursor of the next page. It is absent at the end.
const NextCursor = "Spoor-Next-Cursor"

// Feeds answers GET /api/feeds.
type Feeds struct {
	Feeds       []Feed `json:"feeds"`
	ConfigError string `json:"config_error,omitempty"` // what is wrong with the configuration's newest form; the one before stays in force
}

// Feed is a configured feed as it stands.
type Feed struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`  // path, url, taxii, misp, misp-feed, s3
	Place    string    `json:"place"` // where it comes from
	Zone     string    `json:"zone"`  // what being listed means
	Marking  string    `json:"marking"`
	State    string    `json:"state"`   // waiting, running, ok, failing, held, removed
	Entries  uint64    `json:"entries"` // of the last complete snapshot; of a feed in increments: all so far
	Snapshot time.Time `json:"snapshot,omitzero"`
	Attempt  time.Time `json:"last_attempt,omitzero"`
	Success  time.Time `json:"last_success,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Error    string    `json:"error,omitempty"` // of the last run
	Failures uint64    `json:"failures"`        // in all
	Held     *HeldFeed `json:"held,omitempty"`
}

// HeldFeed says why what a feed gave waits for a person.
type HeldFeed struct {
	At      time.Time `json:"at"`
	Entries uint64    `json:"entries"`
	Reasons []string  `json:"reasons"`
	Files   []string  `json:"files"` // trusted files that the feed calls bad, the first hundred
}
