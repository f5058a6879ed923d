package web

import (
	"fmt"
	"slices"
	"strings"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// panelsOf makes the panels under the overview, in the portal's order and under its titles; ours stand among them.
func panelsOf(d *dossier.Dossier) []panel {
	file := func(r *dossier.FileRow) []cell {
		name := cell{Text: r.Name}
		if r.Weak {
			name.Note = "matched by path"
		}
		return []cell{{Zone: r.Zone}, number(r.Hits), fileCell(r.File), {Text: r.Location}, {Text: r.Path, Kind: "path"}, name, {Time: r.Last}, {Text: r.Detection}}
	}
	fileColumns := func(date string) []string {
		return []string{"Zone", "Hits", "File", "Location", "Path", "Name", date, "Detection name"}
	}
	address := func(r *dossier.URLRow) []cell {
		url := cell{Text: r.URL, Kind: "path"}
		if r.Truncated {
			url.Note = "private data left out"
		}
		return []cell{{Zone: r.Zone}, url, {Text: r.Domain}, number(r.Hits), {Time: r.Last}, number(uint64(r.IPs))}
	}
	addressColumns := func(date string) []string { return []string{"Zone", "URL", "Domain", "Hits", date, "IP addresses"} }
	certificate := func(r *dossier.CertificateRow) []cell {
		state := "not trusted"
		switch {
		case r.Revoked:
			state = "revoked"
		case r.Discredited:
			state = "discredited"
		case r.Trusted:
			state = "trusted"
		}
		how := "by a catalogue"
		if r.Direct {
			how = "in the file"
		}
		return []cell{{Zone: r.Zone}, {Text: state}, {Text: r.Vendor, Kind: "name"}, {Text: r.Publisher, Kind: "name"}, {Text: r.Serial, Kind: "hash"}, {Text: how}, {Time: r.Signed}, {Time: r.Issued}, {Time: r.Expires}, {Text: r.MD5.String(), Kind: "hash"}}
	}
	certificateColumns := []string{"Zone", "Status", "Vendor", "Publisher", "Serial number", "Signed", "Time stamp", "Issued", "Expires", "Certificate's MD5"}
	member := func(r *dossier.MemberRow) []cell {
		return []cell{{Zone: r.Zone}, {Text: fmt.Sprint(r.Level), Kind: "number"}, fileCell(r.Parent), fileCell(r.Child), {Text: r.Path, Kind: "path"}, size(r.Size), {Text: r.Type}, {Text: r.Detection}}
	}
	memberColumns := []string{"Zone", "Level", "Container", "Member", "Path in it", "Bytes", "Type", "Detection name"}
	return []panel{
		table(d, dossier.DetectionsInfo, "detections", "Detection names", []string{"Zone", "Name", "Method", "Last detected", "Hits"}, d.Detections, func(r *dossier.DetectionRow) []cell {
			return []cell{{Zone: r.Zone}, outward(r.Name, r.URL), {Text: r.Method}, {Time: r.Last}, number(r.Hits)}
		}),
		// What the bytes say, and what of them could not be read, stands before what others say. The panel is ours.
		table(d, dossier.Inspection, "inspection", "Inspection", []string{"Property", "Value", "Last seen"}, d.Inspection, func(r *dossier.PropertyRow) []cell {
			value := cell{Text: r.Value, Kind: "path"}
			if a := intel.FuzzyAlgorithm(r.Name); slices.Contains(intel.FuzzyAlgorithms(), a) {
				if _, err := intel.ParseFuzzyHash(a, r.Value); err == nil { // sources tell also what is none
					value.Link = similarPath(a, r.Value) // others that have it, or one near it
				}
			}
			return []cell{{Text: strings.ReplaceAll(r.Name, "_", " ")}, value, {Time: r.Last}}
		}),
		table(d, dossier.FilePaths, "paths", "File paths", []string{"Hits", "Path", "Location", "First seen", "Last seen"}, d.Paths, func(r *dossier.PathRow) []cell {
			return []cell{number(r.Hits), {Text: r.Path, Kind: "path"}, {Text: r.Location}, {Time: r.First}, {Time: r.Last}}
		}),
		table(d, dossier.FileNames, "names", "File names", []string{"Hits", "Name", "First seen", "Last seen"}, d.Names, func(r *dossier.NameRow) []cell {
			return []cell{number(r.Hits), {Text: r.Name, Kind: "path"}, {Time: r.First}, {Time: r.Last}}
		}),
		table(d, dossier.FileDownloadedFromUrls, "downloaded-from", "File downloaded from URLs and domains", addressColumns("Last downloaded"), d.DownloadedFrom, address),
		table(d, dossier.FileAccessedUrls, "accessed", "File accessed the following URLs", addressColumns("Last accessed"), d.Accessed, address),
		table(d, dossier.FileStartedObjects, "started", "File started the following objects", fileColumns("Last started"), d.Started, file),
		table(d, dossier.FileStartedBy, "started-by", "File was started by the following objects", fileColumns("Last started"), d.StartedBy, file),
		table(d, dossier.FileDownloadedObjects, "downloaded", "File downloaded the following objects", fileColumns("Last downloaded"), d.Downloaded, file),
		table(d, dossier.FileDownloadedBy, "downloaded-by", "File was downloaded by the following objects", fileColumns("Last downloaded"), d.DownloadedBy, file),
		table(d, dossier.FileCertificates, "certificates", "File signatures and certificates", certificateColumns, d.Certificates, certificate),
		table(d, dossier.FileParentCertificates, "container-certificates", "Container signatures and certificates", slices.Insert(slices.Clone(certificateColumns), 1, "Container"), d.ParentCertificates, func(r *dossier.CertificateRow) []cell {
			return slices.Insert(certificate(r), 1, fileCell(r.Container))
		}),
		table(d, dossier.FileUnpackedFrom, "unpacked-from", "File was unpacked from the following objects", memberColumns, d.UnpackedFrom, member),
		table(d, dossier.FileUnpackedObjects, "contains", "File contains the following objects", memberColumns, d.UnpackedObjects, member),
		table(d, dossier.SimilarFiles, "similar", "Similar files", []string{"Zone", "File", "Confidence", "By", "Status", "Hits", "First seen", "Last seen", "Type", "Bytes", "Detection name"}, d.Similar, func(r *dossier.SimilarRow) []cell {
			return []cell{{Zone: r.Zone}, fileCell(r.File), {Text: fmt.Sprint(r.Confidence), Kind: "number"}, {Text: strings.Join(r.By, "; ")}, {Text: r.Zone.Label()},
				number(r.Hits), {Time: r.First}, {Time: r.Last}, {Text: r.Type}, size(r.Size), {Text: r.Detection}}
		}),
		table(d, dossier.DataFeeds, "feeds", "Data Feeds", []string{"Zone", "Feed", "Threat", "First listed", "Last listed"}, d.Feeds, func(r *dossier.FeedRow) []cell {
			return []cell{{Zone: r.Zone}, {Text: r.Feed}, {Text: r.Threat}, {Time: r.First}, {Time: r.Last}}
		}),
		// Beyond the portal's panels, ours.
		table(d, dossier.Hosts, "hosts", "Hosts", []string{"Hits", "Host", "First seen", "Last seen"}, d.Hosts, func(r *dossier.HostRow) []cell {
			return []cell{number(r.Hits), {Text: r.Host, Kind: "path"}, {Time: r.First}, {Time: r.Last}}
		}),
		table(d, dossier.Conflicts, "conflicts", "Conflicting hashes", []string{"Hash", "Claimed by", "Observations"}, d.Conflicts, func(r *intel.Conflict) []cell {
			return []cell{{Text: r.Hash.String(), Kind: "hash"}, {Text: r.Other.String(), Link: "/hash/" + r.Other.String(), Kind: "hash"}, number(r.Count)}
		}),
	}
}

// table makes a panel of a section's rows, cut to what a page should hold.
func table[T any](d *dossier.Dossier, section dossier.Section, id, title string, columns []string, rows []T, cells func(*T) []cell) panel {
	p := panel{ID: id, Section: section, Title: title, Columns: columns, Count: len(rows), More: d.Gaps[section].Rows}
	for i := range rows[:min(len(rows), shownRows)] {
		p.Rows = append(p.Rows, cells(&rows[i]))
	}
	if (p.More > 0 || p.Left() > 0) && dossier.Pages(section) {
		p.All = "/hash/" + d.Asked.String() + "/" + string(section)
	}
	return p
}

// Left is how many rows of the answer the page leaves out.
func (p panel) Left() int { return p.Count - len(p.Rows) }

// Total is how many rows there are, as text. An answer that is as long as it may be does not know how many there are.
func (p panel) Total() string {
	total := group(uint64(p.Count) + p.More)
	if p.Count == dossier.MaxRows && p.More == 0 {
		return total + " or more"
	}
	return total
}

// Numeric reports whether the i-th column holds numbers, which stand at its right.
func (p panel) Numeric(i int) bool { return len(p.Rows) > 0 && p.Rows[0][i].Kind == "number" }

// Column returns the title of the i-th column, for a narrow screen, where it stands beside each value.
func (p panel) Column(i int) string { return p.Columns[i] }
