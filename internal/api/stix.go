package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// stixNamespace is the one that STIX 2.1 gives for deterministic ids of observables; Spoor takes it for its other objects, too, so that
// two equal answers are equal bundles.
var stixNamespace = uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7")

const stixDate = "2006-01-02T15:04:05.000Z"

// bundle gathers the objects of one answer, each id once.
type bundle struct {
	objects []map[string]any
	ids     map[string]bool
	stamp   string // created and modified of what bears no date of its own
}

// id makes a deterministic id of a type and what makes the object itself.
func (b *bundle) id(kind string, of any) string {
	name, _ := json.Marshal(of) // maps marshal with sorted keys, as the specification asks
	return kind + "--" + uuid.NewSHA1(stixNamespace, name).String()
}

func (b *bundle) add(o map[string]any) string {
	id := o["id"].(string)
	if !b.ids[id] {
		b.ids[id] = true
		o["spec_version"] = "2.1"
		b.objects = append(b.objects, o)
	}
	return id
}

// object adds a domain or relationship object.
func (b *bundle) object(kind string, of any, o map[string]any) string {
	o["type"], o["id"] = kind, b.id(kind, of)
	o["created"], o["modified"] = b.stamp, b.stamp
	return b.add(o)
}

// file adds a file by its hashes; "" when none is known.
func (b *bundle) file(f intel.Hashes, name string, more map[string]any) string {
	hashes := map[string]string{}
	var first map[string]string // what the id is made of: the first that is there of MD5, SHA-1, SHA-256
	for _, h := range []intel.Hash{f.MD5, f.SHA1, f.SHA256} {
		if !h.IsZero() {
			hashes[h.Algorithm().String()] = h.String()
			if first == nil {
				first = map[string]string{h.Algorithm().String(): h.String()}
			}
		}
	}
	o := map[string]any{"type": "file"}
	of := map[string]any{}
	if first != nil {
		o["hashes"], of["hashes"] = hashes, first
	}
	if name != "" {
		o["name"], of["name"] = name, name
	}
	if len(of) == 0 {
		return ""
	}
	for k, v := range more {
		o[k] = v
	}
	o["id"] = b.id("file", of)
	return b.add(o)
}

func (b *bundle) relation(kind, from, to string, first, last time.Time) {
	if from == "" || to == "" || from == to {
		return
	}
	o := map[string]any{"relationship_type": kind, "source_ref": from, "target_ref": to}
	if !first.IsZero() {
		o["start_time"] = first.UTC().Format(stixDate)
		if last.After(first) {
			o["stop_time"] = last.UTC().Format(stixDate)
		}
	}
	b.object("relationship", map[string]string{"t": kind, "s": from, "o": to}, o)
}

// encodeSTIX writes a dossier as a STIX 2.1 bundle: the file with all its hashes; an indicator when it is yellow or worse; what was
// observed of it; every related file and address with its relation; its certificates; the reports that name it; the detections as malware
// analyses.
func encodeSTIX(d *dossier.Dossier) ([]byte, error) {
	g := &d.General
	stamp := g.FirstSeen
	if stamp.IsZero() {
		stamp = time.Unix(0, 0)
	}
	b := &bundle{ids: map[string]bool{}, stamp: stamp.UTC().Format(stixDate)}
	author := b.object("identity", "spoor", map[string]any{"name": "Spoor", "identity_class": "system"})
	more := map[string]any{}
	if g.Size >= 0 {
		more["size"] = g.Size
	}
	if len(d.Names) > 1 {
		names := []string{}
		for _, n := range d.Names[:min(len(d.Names), 100)] {
			names = append(names, n.Name)
		}
		more["x_spoor_names"] = names
	}
	if g.Type != "" {
		more["x_spoor_type"] = g.Type
	}
	more["x_spoor_zone"] = string(zone(d.Verdict.Zone))
	self := b.file(d.File, "", more)
	if g.Hits > 0 && !g.FirstSeen.IsZero() {
		b.object("observed-data", self, map[string]any{"created_by_ref": author, "first_observed": g.FirstSeen.UTC().Format(stixDate),
			"last_observed": g.LastSeen.UTC().Format(stixDate), "number_observed": min(g.Hits, 999_999_999), "object_refs": []string{self}})
	}
	if d.Verdict.Zone >= intel.Yellow {
		var tests []string
		for _, h := range []intel.Hash{d.File.SHA256, d.File.SHA1, d.File.MD5} {
			if !h.IsZero() {
				tests = append(tests, "file:hashes.'"+h.Algorithm().String()+"' = '"+h.String()+"'")
			}
		}
		kind := "anomalous-activity"
		if d.Verdict.Zone == intel.Red {
			kind = "malicious-activity"
		}
		indicator := b.object("indicator", self, map[string]any{"created_by_ref": author, "name": strings.ToUpper(d.File.Strongest().String()),
			"pattern": "[" + strings.Join(tests, " OR ") + "]", "pattern_type": "stix", "valid_from": b.stamp, "indicator_types": []string{kind},
			"confidence": d.Verdict.Score, "description": strings.Join(d.Verdict.Reasons, "; ")})
		b.relation("based-on", indicator, self, time.Time{}, time.Time{})
	}
	for _, x := range d.Detections {
		result := map[intel.Zone]string{intel.Red: "malicious", intel.Orange: "suspicious", intel.Yellow: "suspicious", intel.Green: "benign"}[x.Zone]
		if result == "" {
			result = "unknown"
		}
		product := x.Method
		if product == "" {
			product = "unknown"
		}
		b.object("malware-analysis", map[string]string{"p": product, "n": x.Name, "f": self}, map[string]any{"created_by_ref": author,
			"product": strings.ToLower(product), "result": result, "result_name": x.Name, "sample_ref": self, "analysis_ended": x.Last.UTC().Format(stixDate)})
	}
	files := func(kind string, rows []dossier.FileRow, forth bool) {
		for i := range rows {
			name := ""
			if rows[i].File.IsZero() {
				if name = rows[i].Name; name == "" {
					name = rows[i].Path
				}
			}
			other := b.file(rows[i].File, name, nil)
			if forth {
				b.relation(kind, self, other, rows[i].First, rows[i].Last)
			} else {
				b.relation(kind, other, self, rows[i].First, rows[i].Last)
			}
		}
	}
	files("started", d.Started, true)
	files("started", d.StartedBy, false)
	files("downloads", d.Downloaded, true)
	files("downloads", d.DownloadedBy, false)
	urls := func(kind string, rows []dossier.URLRow) {
		for _, u := range rows {
			kindOf, value := "url", u.URL
			if !strings.Contains(value, "://") && value == u.Host {
				switch {
				case !intel.IsIP(value):
					kindOf = "domain-name"
				case strings.Contains(value, ":"):
					kindOf = "ipv6-addr"
				default:
					kindOf = "ipv4-addr"
				}
			}
			id := b.add(map[string]any{"type": kindOf, "id": b.id(kindOf, map[string]string{"value": value}), "value": value})
			b.relation(kind, self, id, time.Time{}, u.Last)
		}
	}
	urls("downloaded-from", d.DownloadedFrom)
	urls("communicates-with", d.Accessed)
	for _, rows := range [][]dossier.MemberRow{d.UnpackedFrom, d.UnpackedObjects} {
		for _, m := range rows {
			b.relation("contains", b.file(m.Parent, "", nil), b.file(m.Child, "", nil), time.Time{}, time.Time{})
		}
	}
	for _, s := range d.Similar {
		b.relation("related-to", self, b.file(s.File, "", nil), time.Time{}, time.Time{})
	}
	for _, rows := range [][]dossier.CertificateRow{d.Certificates, d.ParentCertificates} {
		for i := range rows {
			b.certificate(self, &rows[i])
		}
	}
	for _, p := range g.Publications {
		o := map[string]any{"created_by_ref": author, "name": p.Title, "published": b.published(&p), "object_refs": []string{self},
			"external_references": []map[string]string{{"source_name": "Spoor", "external_id": p.ID}}}
		if p.URL != "" {
			o["external_references"] = []map[string]string{{"source_name": "Spoor", "external_id": p.ID, "url": p.URL}}
		}
		if p.Description != "" {
			o["description"] = p.Description
		}
		if len(p.Tags) > 0 {
			o["labels"] = p.Tags
		}
		b.object("report", p.ID, o)
	}
	for _, f := range d.Feeds {
		b.object("note", map[string]string{"feed": f.Feed, "f": self}, map[string]any{"created_by_ref": author, "abstract": "Listed in " + f.Feed,
			"content": strings.TrimSpace("Zone " + string(zone(f.Zone)) + " " + f.Threat), "object_refs": []string{self}})
	}
	return encodeJSON(map[string]any{"type": "bundle", "id": b.id("bundle", d.File.Strongest().String()), "objects": b.objects})
}

// published returns when a publication came out. STIX needs a date: of one that has none it is that of what bears no date.
func (b *bundle) published(p *intel.Publication) string {
	for _, t := range []time.Time{p.Published, p.Updated} {
		if !t.IsZero() {
			return t.UTC().Format(stixDate)
		}
	}
	return b.stamp
}

func (b *bundle) certificate(self string, c *dossier.CertificateRow) {
	o := map[string]any{"type": "x509-certificate", "hashes": map[string]string{"MD5": c.MD5.String()}}
	of := map[string]any{"hashes": o["hashes"]}
	if c.Serial != "" {
		o["serial_number"], of["serial_number"] = c.Serial, c.Serial
	}
	if c.Vendor != "" {
		o["subject"] = c.Vendor
	}
	if c.Publisher != "" {
		o["issuer"] = c.Publisher
	}
	if !c.Issued.IsZero() {
		o["validity_not_before"] = c.Issued.UTC().Format(stixDate)
	}
	if !c.Expires.IsZero() {
		o["validity_not_after"] = c.Expires.UTC().Format(stixDate)
	}
	o["id"] = b.id("x509-certificate", of)
	signed := self
	if !c.Container.IsZero() {
		signed = b.file(c.Container, "", nil)
	}
	b.relation("signed-with", signed, b.add(o), c.Signed, time.Time{})
}
