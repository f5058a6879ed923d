// Package demo is a staged incident, written by us, that shows an answer with something in every section.
//
// A person is lured to an invoice in an archive; a loader in it fetches a beacon, which a known-bad driver helps. The events are Sysmon's,
// the rest is what a sandbox, a feed, an analyst and a report would add. No such file exists: the hashes are those of short texts.
package demo

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"spoor/internal/intel"
	"spoor/internal/source"
)

//go:embed incident
var incident embed.FS

// Part is one input of the incident and how it is read.
type Part struct {
	Name    string
	Content io.Reader
	Options source.Options
}

// Feed is the name of the staged feed.
const Feed = "Demo blocklist"

// Parts returns the inputs, as if the incident had begun three hours before now.
func Parts(now time.Time) ([]Part, error) {
	start := now.UTC().Add(-3 * time.Hour).Truncate(time.Minute)
	t, err := template.New("").Funcs(template.FuncMap{
		"md5":    func(name string) string { return Hashes(name).MD5.String() },
		"sha1":   func(name string) string { return Hashes(name).SHA1.String() },
		"sha256": func(name string) string { return Hashes(name).SHA256.String() },
		"sysmon": func(name string) string {
			h := Hashes(name)
			return strings.ToUpper(fmt.Sprintf("SHA1=%s,MD5=%s,SHA256=%s,IMPHASH=%x", h.SHA1, h.MD5, h.SHA256, md5.Sum([]byte("imports of "+family(name)))))
		},
		"imphash": func(name string) string { return fmt.Sprintf("%x", md5.Sum([]byte("imports of "+family(name)))) },
		"at": func(minute int) string {
			return start.Add(time.Duration(minute) * time.Minute).Format("2006-01-02 15:04:05.000")
		},
		"iso": func(minute int) string { return start.Add(time.Duration(minute) * time.Minute).Format(time.RFC3339) },
	}).ParseFS(incident, "incident/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the staged incident: %w", err)
	}
	var parts []Part
	for _, p := range []struct {
		name string
		o    source.Options
	}{
		{"sysmon.json", source.Options{}},
		{"observations.ndjson", source.Options{}},
		{"feed.txt", source.Options{Feed: Feed, Zone: intel.Red, Now: start}},
	} {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, p.name+".tmpl", nil); err != nil {
			return nil, fmt.Errorf("reading the staged incident: %w", err)
		}
		parts = append(parts, Part{p.name, &b, p.o})
	}
	return parts, nil
}

// family groups files that share their imports: names before the first dash.
func family(name string) string {
	f, _, _ := strings.Cut(name, "-")
	return f
}

// Hashes returns the hashes of a staged file: of the text that stands for it.
func Hashes(name string) intel.Hashes {
	text := []byte("spoor demo: " + name)
	m, s1, s2 := md5.Sum(text), sha1.Sum(text), sha256.Sum256(text)
	var h intel.Hashes
	for _, sum := range []struct {
		a intel.Algorithm
		b []byte
	}{{intel.MD5, m[:]}, {intel.SHA1, s1[:]}, {intel.SHA256, s2[:]}} {
		if one, err := intel.HashFromBytes(sum.a, sum.b); err == nil { // never fails: the lengths are the algorithms' own
			h.Set(one)
		}
	}
	return h
}

// Highlight is a staged file worth looking at.
type Highlight struct {
	Name string
	What string
}

// Highlights are the staged files worth looking at, the best first.
func Highlights() []Highlight {
	return []Highlight{
		{"loader", "the loader: downloaded, unpacked, started, and all that it did"},
		{"beacon", "the beacon that it fetched: orange, with a red neighbourhood"},
	}
}
