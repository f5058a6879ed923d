package web

import (
	"fmt"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// panelsOf makes the panels under the overview, in the page's order and under its titles.
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
		return []cell{{Zone: r.Zone}, {Text: state}, {Text: r.Vendor}, {Text: r.Publisher}, {Text: r.Serial, Kind: "hash"}, {Text: how}, {Time: r.Signed}, {Time: r.Issued}, {Time: r.Expires}}
	}
	certificateColumns := []string{"Zone", "Status", "Vendor", "Publisher", "Serial number", "Signed", "Time stamp", "Issued", "Expires"}
	member := func(r *dossier.MemberRow) []cell {
		return []cell{{Zone: r.Zone}, {Text: fmt.Sprint(r.Level), Kind: "number"}, fileCell(r.Parent), fileCell(r.Child), {Text: r.Path, Kind: "path"}, {Text: byteSize(r.Size)}, {Text: r.Type}, {Text: r.Detection}}
	}
	memberColumns := []string{"Zone", "Level", "Container", "Member", "Path in it", "Size", "Type", "Detection name"}
	gap := func(s dossier.Section) uint64 { return d.Gaps[s].Rows }
	return []panel{
		table("detections", "Detection names", []string{"Zone", "Name", "Method", "Last detected", "Hits"}, d.Detections, 0, func(r *dossier.DetectionRow) []cell {
			return []cell{{Zone: r.Zone}, {Text: r.Name}, {Text: r.Method}, {Time: r.Last}, number(r.Hits)}
		}),
		table("paths", "File paths", []string{"Hits", "Path", "Location", "First seen", "Last seen"}, d.Paths, gap(dossier.FilePaths), func(r *dossier.PathRow) []cell {
			return []cell{number(r.Hits), {Text: r.Path, Kind: "path"}, {Text: r.Location}, {Time: r.First}, {Time: r.Last}}
		}),
		table("names", "File names", []string{"Hits", "Name", "First seen", "Last seen"}, d.Names, gap(dossier.FileNames), func(r *dossier.NameRow) []cell {
			return []cell{number(r.Hits), {Text: r.Name, Kind: "path"}, {Time: r.First}, {Time: r.Last}}
		}),
		table("hosts", "Hosts", []string{"Hits", "Host", "First seen", "Last seen"}, d.Hosts, gap(dossier.Hosts), func(r *dossier.HostRow) []cell {
			return []cell{number(r.Hits), {Text: r.Host, Kind: "path"}, {Time: r.First}, {Time: r.Last}}
		}),
		table("downloaded-from", "File downloaded from URLs and domains", addressColumns("Last downloaded"), d.DownloadedFrom, gap(dossier.FileDownloadedFromUrls), address),
		table("accessed", "File accessed the following URLs", addressColumns("Last accessed"), d.Accessed, gap(dossier.FileAccessedUrls), address),
		table("started", "File started the following objects", fileColumns("Last started"), d.Started, gap(dossier.FileStartedObjects), file),
		table("started-by", "File was started by the following objects", fileColumns("Last started"), d.StartedBy, gap(dossier.FileStartedBy), file),
		table("downloaded", "File downloaded the following objects", fileColumns("Last downloaded"), d.Downloaded, gap(dossier.FileDownloadedObjects), file),
		table("downloaded-by", "File was downloaded by the following objects", fileColumns("Last downloaded"), d.DownloadedBy, gap(dossier.FileDownloadedBy), file),
		table("certificates", "File signatures and certificates", certificateColumns, d.Certificates, gap(dossier.FileCertificates), certificate),
		table("container-certificates", "Container signatures and certificates", certificateColumns, d.ParentCertificates, 0, certificate),
		table("unpacked-from", "File was unpacked from the following objects", memberColumns, d.UnpackedFrom, gap(dossier.FileUnpackedFrom), member),
		table("contains", "File contains the following objects", memberColumns, d.UnpackedObjects, gap(dossier.FileUnpackedObjects), member),
		table("similar", "Similar files", []string{"Zone", "File", "Confidence", "By", "Status", "Hits", "First seen", "Last seen", "Type", "Size", "Detection name"}, d.Similar, 0, func(r *dossier.SimilarRow) []cell {
			return []cell{{Zone: r.Zone}, fileCell(r.File), {Text: fmt.Sprint(r.Confidence), Kind: "number"}, {Text: string(r.By.Algorithm)}, {Text: r.Zone.Label()},
				number(r.Hits), {Time: r.First}, {Time: r.Last}, {Text: r.Type}, {Text: byteSize(r.Size)}, {Text: r.Detection}}
		}),
		table("feeds", "Data Feeds", []string{"Zone", "Feed", "Threat", "First listed", "Last listed"}, d.Feeds, 0, func(r *dossier.FeedRow) []cell {
			return []cell{{Zone: r.Zone}, {Text: r.Feed}, {Text: r.Threat}, {Time: r.First}, {Time: r.Last}}
		}),
		table("conflicts", "Conflicting hashes", []string{"Hash", "Claimed by", "Observations"}, d.Conflicts, 0, func(r *intel.Conflict) []cell {
			return []cell{{Text: r.Hash.String(), Kind: "hash"}, {Text: r.Other.String(), Link: "/hash/" + r.Other.String(), Kind: "hash"}, number(r.Count)}
		}),
	}
}

// table makes a panel of rows, cut to what a page should hold.
func table[T any](id, title string, columns []string, rows []T, more uint64, cells func(*T) []cell) panel {
	p := panel{ID: id, Title: title, Columns: columns, Count: len(rows), More: more}
	for i := range rows[:min(len(rows), shownRows)] {
		p.Rows = append(p.Rows, cells(&rows[i]))
	}
	return p
}

// Left is how many rows of the answer the page leaves out.
func (p panel) Left() int { return p.Count - len(p.Rows) }

// Column returns the title of the i-th column, for a narrow screen, where it stands beside each value.
func (p panel) Column(i int) string { return p.Columns[i] }
