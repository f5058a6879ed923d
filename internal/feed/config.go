// Package feed fetches feeds on a schedule and hands them to source.
//
// A [Runner] reads its configuration from one YAML file (docs/feeds.md) and takes up each change of it. What a feed's place gives is kept in a file, read
// once to look for what would poison the answers (guard.go), and only then read again into the store. A feed that tells all it lists each time is a
// snapshot: when it was recorded whole, the store learns its moment, and what it no longer lists is no longer live.
package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// Config is what the file says.
type Config struct {
	Guard Guard
	Feeds []Feed
}

// Guard bounds what a feed may say against files that this fleet trusts.
type Guard struct {
	Hosts   uint64 // a file that so many hosts saw is common in the fleet,
	Share   int    // if they are so many percent of all hosts, too
	Allowed int    // so many files that are known good or common may stand in a feed as red or orange
}

// Kind is where a feed comes from.
type Kind string

// The kinds, as the keys of the configuration name them.
const (
	Path     Kind = "path"      // a file or folder of this machine
	URL      Kind = "url"       // a file by HTTP
	TAXII    Kind = "taxii"     // a TAXII 2.1 collection
	MISP     Kind = "misp"      // a MISP server
	MISPFeed Kind = "misp-feed" // a MISP feed: a manifest and its events
	S3       Kind = "s3"        // an object of an S3-style store
)

// Feed is one feed as it is configured.
type Feed struct {
	Name    string
	Kind    Kind
	Place   string // path or URL
	Every   time.Duration
	Format  source.Format
	Zone    intel.Zone
	Marking intel.Marking
	// Weight, 0 to 100, and Decay say how much a listing counts, and in what time half of that is gone; see [intel.FeedTerms].
	Weight  int
	Decay   time.Duration
	MaxSize int64         // bytes of one fetch
	Timeout time.Duration // of one run
	Hosts   []string      // other hosts that a redirect may lead to
	Private bool          // the place's host name stands for an address that is not public
	CA      string        // file of the authorities (PEM) that vouch for the server

	Credential *Credential
	Region     string // S3
	Endpoint   string // S3

	url *url.URL // where the first request goes; nil for a path
}

// Credential says where the secret is and how it is sent. The secret itself is read for each run and never kept.
type Credential struct {
	Scheme string `yaml:"scheme"` // bearer, basic, header, s3
	User   string `yaml:"user"`
	Header string `yaml:"header"`
	File   string `yaml:"file"`
	Env    string `yaml:"env"`
}

// document is the file as it is written.
type document struct {
	Guard *struct {
		Hosts   *uint64 `yaml:"hosts"`
		Share   *string `yaml:"share"`
		Allowed int     `yaml:"allowed"`
	} `yaml:"guard"`
	Feeds []written `yaml:"feeds"`
}

type written struct {
	Name       string      `yaml:"name"`
	Path       string      `yaml:"path"`
	URL        string      `yaml:"url"`
	TAXII      string      `yaml:"taxii"`
	MISP       string      `yaml:"misp"`
	MISPFeed   string      `yaml:"misp-feed"`
	S3         string      `yaml:"s3"`
	Region     string      `yaml:"region"`
	Endpoint   string      `yaml:"endpoint"`
	Every      string      `yaml:"every"`
	Format     string      `yaml:"format"`
	Zone       string      `yaml:"zone"`
	Marking    string      `yaml:"marking"`
	Weight     *int        `yaml:"weight"`
	Decay      string      `yaml:"decay"`
	MaxSize    string      `yaml:"max-size"`
	Timeout    string      `yaml:"timeout"`
	Hosts      []string    `yaml:"hosts"`
	Private    bool        `yaml:"private"`
	CA         string      `yaml:"ca"`
	Credential *Credential `yaml:"credential"`
}

// The defaults and bounds of a feed.
const (
	defaultEvery   = time.Hour
	defaultTimeout = 15 * time.Minute
	defaultSize    = 2 << 30
	defaultHosts   = 50
	defaultShare   = 5 // percent
	maxFeeds       = 1000
	maxFile        = 1 << 20 // bytes of the configuration
)

// isName reports whether a feed may be called so: its state stands in a file of that name.
func isName(s string) bool {
	n := 0
	for _, r := range s {
		word := unicode.In(r, unicode.L, unicode.N) || r == '_'
		if n++; n > 63 || !word && (n == 1 || !strings.ContainsRune(" .-", r)) {
			return false
		}
	}
	return n > 0
}

// ParseConfig reads a configuration. What is wrong is an [intel.Refusal] that names the line. Relative paths stand beside the file.
func ParseConfig(file string, text []byte) (*Config, error) {
	refuse := func(line int, field, why string, args ...any) error {
		return &intel.Refusal{Input: file, Line: int64(line), Field: field, Reason: fmt.Sprintf(why, args...)}
	}
	if len(text) > maxFile {
		return nil, refuse(0, "", "larger than %d bytes", maxFile)
	}
	var doc document
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlError(file, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, refuse(0, "", "one YAML document is read; there is a second one behind ---")
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, yamlError(file, err)
	}
	c := &Config{Guard: Guard{Hosts: defaultHosts, Share: defaultShare}}
	if g := doc.Guard; g != nil {
		if g.Hosts != nil {
			c.Guard.Hosts = *g.Hosts
		}
		if g.Share != nil {
			n, err := strconv.Atoi(strings.TrimSuffix(*g.Share, "%"))
			if err != nil || n < 0 || n > 100 {
				return nil, refuse(lineOf(&root, -1, ""), "guard", "share is 0%% to 100%% of all hosts")
			}
			c.Guard.Share = n
		}
		if c.Guard.Allowed = g.Allowed; g.Allowed < 0 || c.Guard.Hosts == 0 {
			return nil, refuse(lineOf(&root, -1, ""), "guard", "hosts is 1 or more, allowed 0 or more")
		}
	}
	if len(doc.Feeds) > maxFeeds {
		return nil, refuse(0, "feeds", "%d feeds; at most %d", len(doc.Feeds), maxFeeds)
	}
	seen := map[string]bool{}
	for i := range doc.Feeds {
		f, field, err := doc.Feeds[i].feed(filepath.Dir(file))
		if err == nil && seen[strings.ToLower(f.Name)] {
			field, err = "name", fmt.Errorf("there is another feed %q", f.Name)
		}
		if err != nil {
			return nil, refuse(lineOf(&root, i, field), field, "%v", err)
		}
		seen[strings.ToLower(f.Name)] = true
		c.Feeds = append(c.Feeds, *f)
	}
	return c, nil
}

var (
	yamlUnknown = regexp.MustCompile(`^line (\d+): field (\S+) not found`)
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.+)`)
)

// yamlError tells of the first thing that YAML itself finds wrong.
func yamlError(file string, err error) error {
	text := err.Error()
	var types *yaml.TypeError
	if errors.As(err, &types) && len(types.Errors) > 0 {
		text = types.Errors[0]
	}
	r := &intel.Refusal{Input: file, Reason: strings.TrimPrefix(text, "yaml: ")}
	if m := yamlUnknown.FindStringSubmatch(text); m != nil {
		r.Line, _ = strconv.ParseInt(m[1], 10, 64)
		r.Field, r.Reason = m[2], "there is no such key here; docs/feeds.md has all of them"
	} else if m := yamlLine.FindStringSubmatch(text); m != nil {
		r.Line, _ = strconv.ParseInt(m[1], 10, 64)
		r.Reason = m[2]
	}
	return r
}

// lineOf finds the line of a key of the i-th feed, or of the feed itself; 0 when it cannot be told.
func lineOf(root *yaml.Node, i int, key string) int {
	value := func(n *yaml.Node, key string) (at, v *yaml.Node) {
		for j := 0; n != nil && n.Kind == yaml.MappingNode && j+1 < len(n.Content); j += 2 {
			if n.Content[j].Value == key {
				return n.Content[j], n.Content[j+1]
			}
		}
		return nil, nil
	}
	if len(root.Content) == 0 {
		return 0
	}
	if i < 0 {
		if at, _ := value(root.Content[0], "guard"); at != nil {
			return at.Line
		}
		return 0
	}
	_, feeds := value(root.Content[0], "feeds")
	if feeds == nil || i >= len(feeds.Content) {
		return 0
	}
	if at, _ := value(feeds.Content[i], key); at != nil {
		return at.Line
	}
	return feeds.Content[i].Line
}

// feed checks what is written and fills in what is not. field names the key at fault.
func (w *written) feed(beside string) (f *Feed, field string, err error) {
	f = &Feed{Name: w.Name, Every: defaultEvery, Format: source.Format(w.Format), Zone: intel.Red, Weight: 100, MaxSize: defaultSize, Timeout: defaultTimeout,
		Hosts: w.Hosts, Private: w.Private, CA: w.CA, Credential: w.Credential, Region: w.Region, Endpoint: w.Endpoint}
	if !isName(w.Name) || strings.HasSuffix(w.Name, " ") || strings.HasSuffix(w.Name, ".") {
		return nil, "name", fmt.Errorf("%.80q: a name has 1 to 63 letters, digits, spaces, and . _ - within", w.Name)
	}
	for _, p := range []struct {
		kind  Kind
		place string
	}{{Path, w.Path}, {URL, w.URL}, {TAXII, w.TAXII}, {MISP, w.MISP}, {MISPFeed, w.MISPFeed}, {S3, w.S3}} {
		if p.place == "" {
			continue
		}
		if f.Kind != "" {
			return nil, string(p.kind), fmt.Errorf("a feed has one place, and %s is given too", f.Kind)
		}
		f.Kind, f.Place = p.kind, p.place
	}
	if f.Kind == "" {
		return nil, "name", errors.New("it has no place: give one of path, url, taxii, misp, misp-feed, s3")
	}
	if err := f.locate(beside); err != nil {
		return nil, string(f.Kind), err
	}
	if f.Format == "" {
		f.Format = source.Auto
	}
	if !slices.Contains(source.Formats(), f.Format) {
		return nil, "format", fmt.Errorf("there is no format %q; known are %v", f.Format, source.Formats())
	}
	if w.Zone != "" {
		if err := f.Zone.UnmarshalText([]byte(w.Zone)); err != nil || f.Zone == 0 {
			return nil, "zone", fmt.Errorf("%q is none of red, orange, yellow, gray, green", w.Zone)
		}
	}
	if w.Marking != "" {
		if err := f.Marking.UnmarshalText([]byte(w.Marking)); err != nil {
			return nil, "marking", fmt.Errorf("%q is none of clear, green, amber, amber+strict, red", w.Marking)
		}
	}
	if w.Weight != nil {
		if f.Weight = *w.Weight; f.Weight < 0 || f.Weight > 100 {
			return nil, "weight", errors.New("a weight is 0 to 100")
		}
	}
	for _, d := range []struct {
		field       string
		text        string
		into        *time.Duration
		least, most time.Duration
	}{{"every", w.Every, &f.Every, time.Minute, 366 * 24 * time.Hour}, {"decay", w.Decay, &f.Decay, time.Hour, 3660 * 24 * time.Hour}, {"timeout", w.Timeout, &f.Timeout, time.Second, 24 * time.Hour}} {
		if d.text == "" {
			continue
		}
		if *d.into, err = parseDuration(d.text); err != nil || *d.into < d.least || *d.into > d.most {
			return nil, d.field, fmt.Errorf("%q is no time from %s to %s; write 30m, 12h or 90d", d.text, d.least, d.most)
		}
	}
	if w.MaxSize != "" {
		if f.MaxSize, err = parseSize(w.MaxSize); err != nil {
			return nil, "max-size", err
		}
	}
	for _, h := range f.Hosts {
		if u, err := url.Parse("https://" + h); err != nil || u.Host != h || h == "" {
			return nil, "hosts", fmt.Errorf("%q is no host, as cdn.example or cdn.example:8443", h)
		}
	}
	if c := f.Credential; c != nil {
		if err := c.check(f.Kind); err != nil {
			return nil, "credential", err
		}
	}
	if f.Kind == S3 && f.Credential != nil && f.Region == "" {
		return nil, "s3", errors.New("a signed request needs its region, as us-east-1")
	}
	return f, "", nil
}

// locate checks the place and finds its URL.
func (f *Feed) locate(beside string) (err error) {
	if f.Kind == Path {
		if !filepath.IsAbs(f.Place) {
			f.Place = filepath.Join(beside, f.Place)
		}
		return nil
	}
	place := f.Place
	if f.Kind == S3 {
		rest, ok := strings.CutPrefix(place, "s3://")
		bucket, key, found := strings.Cut(rest, "/")
		if !ok || !found || bucket == "" || key == "" {
			return fmt.Errorf("%q is not like s3://bucket/key", place)
		}
		if f.Endpoint == "" {
			if f.Region == "" {
				return errors.New("it needs an endpoint, as https://minio.example:9000, or a region of AWS")
			}
			f.Endpoint = "https://s3." + f.Region + ".amazonaws.com"
		}
		base, err := url.Parse(f.Endpoint)
		if err != nil {
			return errors.New("the endpoint is no URL")
		}
		place = base.JoinPath(bucket, key).String()
	}
	if f.url, err = url.Parse(place); err != nil || f.url.Host == "" || f.url.Scheme != "http" && f.url.Scheme != "https" {
		return errors.New("it is no http or https URL")
	}
	if f.url.User != nil {
		return errors.New("a URL holds no user and password here: give them as credential")
	}
	return nil
}

func (c *Credential) check(kind Kind) error {
	if c.Scheme == "" {
		switch kind {
		case MISP:
			c.Scheme = "header"
		case S3:
			c.Scheme = "s3"
		default:
			c.Scheme = "bearer"
		}
	}
	switch {
	case kind == Path:
		return errors.New("a path takes no credential")
	case (c.File == "") == (c.Env == ""):
		return errors.New("give file or env, where the secret is; it does not stand in this file itself")
	case c.Scheme == "basic" && c.User == "":
		return errors.New("basic needs a user")
	case c.Scheme == "s3" && (kind != S3 || c.User == ""):
		return errors.New("s3 is for s3 places and needs the access key's id as user")
	case kind == S3 && c.Scheme != "s3":
		return errors.New("an s3 place takes the scheme s3")
	case c.Scheme == "header" && c.Header == "":
		c.Header = "Authorization"
	}
	if !slices.Contains([]string{"bearer", "basic", "header", "s3"}, c.Scheme) {
		return fmt.Errorf("%q is none of bearer, basic, header, s3", c.Scheme)
	}
	if strings.ContainsAny(c.Header, " \r\n\t:") {
		return errors.New("it is no header's name")
	}
	return nil
}

// parseDuration reads 90d beside what Go reads.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return 0, fmt.Errorf("%q is no time", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// parseSize reads 500MB, 2GiB or bytes.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	number := s
	for _, u := range []struct {
		suffix string
		n      int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > (1<<40)/unit {
		return 0, fmt.Errorf("%q is no size from 1 byte to 1024 GiB; write 500MB or 2GiB", s)
	}
	return n * unit, nil
}

// terms are how the feed's listings count at a moment. Their age moves on once a day.
func (f *Feed) terms(now time.Time) intel.FeedTerms {
	t := intel.FeedTerms{Weight: f.Weight, Decay: f.Decay}
	if f.Decay > 0 {
		t.AsOf = now.UTC().Truncate(24 * time.Hour)
	}
	return t
}

// Snapshot reports whether each fetch tells all that the feed lists.
func (f *Feed) Snapshot() bool { return f.Kind == Path || f.Kind == URL || f.Kind == S3 }

// fingerprint changes when what was fetched before no longer says what this feed lists.
func (f *Feed) fingerprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%s\x00%s", f.Kind, f.Place, f.Endpoint, f.Format, f.Zone, f.Marking))
	return hex.EncodeToString(sum[:16])
}
