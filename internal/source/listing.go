package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"spoor/internal/intel"
)

// entry is what one object or row of a list states: of a file, or of an address.
type entry struct {
	file    intel.Hashes
	address string     // URL, domain or IP address, instead of a file
	zone    intel.Zone // what the list itself says of this entry; 0: what being listed means
	threat  string
	since   time.Time // when it was listed, zero when the list does not say
}

// feed returns the name of the feed that is read: the one that --feed names, else the one that the list's content tells.
func (r *reader) feed(own string) string { return cmp.Or(r.o.Feed, clean(strings.TrimSpace(own))) }

// feedSource is who says what a feed says.
func (r *reader) feedSource(feed string) intel.Source {
	return intel.Source{Type: intel.FeedSource, Name: feed, Marking: r.o.Marking}
}

// list tells of an entry. Its first moment is when it was listed, where the list says so; its last is this reading, so that an entry is live as
// long as each reading finds it.
func (r *reader) list(line int64, feed string, e entry) error {
	if l := (intel.Listing{Feed: feed, Zone: cmp.Or(e.zone, r.o.Zone), Threat: clean(e.threat)}); r.listing != l {
		r.listing = l // many entries say the same
	}
	o := intel.Observation{Source: r.feedSource(feed), File: e.file, Address: e.address, Fact: r.listing}
	switch {
	case e.since.IsZero() || !r.o.Now.IsZero() && !e.since.Before(r.o.Now):
		o.Time = r.o.Now
	default:
		o.Time, o.Last = e.since, r.o.Now
	}
	return r.observe(line, &o)
}

// publicationID is the stable id of a publication that has none of its own: of its address, else of its title.
func publicationID(url, title string) string {
	sum := sha256.Sum256([]byte(cmp.Or(strings.ToLower(strings.TrimSuffix(url, "/")), title)))
	return "pub-" + hex.EncodeToString(sum[:8])
}
