package intel

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

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
	if err := checkTime("time", o.Time); err != nil {
		return err
	}
	if err := checkTime("last", o.Last); err != nil {
		return err
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

// checkTime fails for a time that the store cannot keep; the zero time says nothing.
func checkTime(field string, t time.Time) error {
	if t.IsZero() || !t.Before(earliest) && !t.After(latest) {
		return nil
	}
	return &Refusal{Field: field, Reason: fmt.Sprintf("%s is outside 1970 to 2200", t.UTC().Format(time.RFC3339))}
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
	if err := checkTime("published", p.Published); err != nil {
		return err
	}
	if err := checkTime("updated", p.Updated); err != nil {
		return err
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
