package main

import (
	"bufio"
	"fmt"
	"strings"

	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/wire"
)

// statuses are the labels beside the zones.
var statuses = map[wire.Zone]string{wire.Red: intel.Red.Label(), wire.Orange: intel.Orange.Label(), wire.Yellow: intel.Yellow.Label(),
	wire.Grey: intel.Gray.Label(), wire.Green: intel.Green.Label()}

// dossier prints a whole answer for a person: the panels of the page, empty ones left out.
func (p *printer) dossier(h intel.Hash, r *wire.HashReport) error {
	w := bufio.NewWriter(p.w)
	if r == nil {
		fmt.Fprintf(w, "%s %s: nothing is known of it\n", h.Algorithm(), h)
		return w.Flush()
	}
	fmt.Fprintf(w, "%s  %s\n", p.zone(r.Zone, 0), statuses[r.Zone])
	if r.Reasons != nil {
		for _, reason := range r.Reasons.Reasons {
			fmt.Fprintf(w, "  because: %s\n", printable(reason))
		}
	}
	if r.RelatedObjects != nil && r.RelatedObjects.HasRedZone {
		fmt.Fprintln(w, "  a related file, address or certificate is red")
	}
	p.overview(w, r)
	section(p, w, "Detection names", r.DetectionsInfo, func(x *wire.Detection) []string {
		return []string{p.zone(x.Zone, 6), string(x.LastDetectDate), x.DetectionName, x.DetectionMethod}
	})
	section(p, w, "File paths", r.FilePaths, func(x *wire.FilePath) []string { return []string{hits(x.FilePathHitsCount), x.Path} })
	section(p, w, "File names", r.FileNames, func(x *wire.FileName) []string { return []string{hits(x.FileNamesHitsCount), x.FileName} })
	section(p, w, "Inspection", r.Inspection, func(x *wire.Property) []string { return []string{x.Name, x.Value} })
	if r.Hosts != nil {
		section(p, w, fmt.Sprintf("Hosts (%d)", r.Hosts.HostsCount), r.Hosts.Hosts, func(x *wire.Host) []string {
			return []string{hits(x.HitsCount), string(x.FirstSeen), string(x.LastSeen), x.Host}
		})
	}
	address := func(x *wire.WebAddress) []string {
		return []string{p.zone(x.Zone, 6), string(x.LastDownloadDate), x.Url}
	}
	section(p, w, "File downloaded from URLs and domains", r.FileDownloadedFromUrls, address)
	section(p, w, "File accessed the following URLs", r.FileAccessedUrls, address)
	related := func(x *wire.RelatedFile, date wire.Date, detection string) []string {
		return []string{p.zone(x.Zone, 6), hits(x.HitsCount), string(date), known(x.Md5, x.Sha1, x.Sha256), firstOf(x.Path, x.Name), detection}
	}
	started := func(x *wire.StartedFile) []string { return related(&x.RelatedFile, x.LastStartDate, x.DetectionName) }
	downloaded := func(x *wire.DownloadedFile) []string {
		return related(&x.RelatedFile, x.LastDownloadDate, x.DetectionName)
	}
	section(p, w, "File started the following objects", r.FileStartedObjects, started)
	section(p, w, "File was started by the following objects", r.FileStartedBy, started)
	section(p, w, "File downloaded the following objects", r.FileDownloadedObjects, downloaded)
	section(p, w, "File was downloaded by the following objects", r.FileDownloadedBy, downloaded)
	certificate := func(x *wire.Certificate) []string {
		state := "not trusted"
		switch {
		case x.IsRevoked:
			state = "revoked"
		case x.IsDiscredited:
			state = "discredited"
		case x.IsTrusted:
			state = "trusted"
		}
		return []string{state, x.Vendor, "by " + x.Publisher, "serial " + x.SerialNumber, "until " + string(x.Expires)}
	}
	section(p, w, "File signatures and certificates", r.FileCertificates, certificate)
	section(p, w, "Container signatures and certificates", r.FileParentCertificates, certificate)
	section(p, w, "File was unpacked from the following objects", r.FileUnpackedFrom, func(x *wire.Container) []string {
		return []string{p.zone(x.Zone, 6), fmt.Sprint("level ", x.Level), known(x.ParentMd5, x.Sha1, x.Sha256), x.ParentFileType, x.ParentDetectionName}
	})
	members := r.MemberPaths
	if members == nil {
		members = r.FileUnpackedObjects
	}
	section(p, w, "File contains the following objects", members, func(x *wire.Member) []string {
		return []string{p.zone(x.Zone, 6), fmt.Sprint("level ", x.Level), known(x.ChildMD5, x.Sha1, x.Sha256), x.Path, x.ChildFileType, x.ChildDetectionName}
	})
	alike := r.SimilarEvidence
	if alike == nil {
		alike = r.SimilarFiles
	}
	section(p, w, "Similar files", alike, similarLine)
	section(p, w, "Data Feeds", r.DataFeeds, func(x *string) []string { return []string{printable(*x)} })
	section(p, w, "Conflicts", r.Conflicts, func(x *wire.Conflict) []string {
		return []string{strings.ToLower(x.Hash), "is claimed by", strings.ToLower(x.Other), fmt.Sprintf("(%d observations)", x.Count)}
	})
	return w.Flush()
}

func similarLine(x *wire.SimilarFile) []string {
	return []string{fmt.Sprintf("%d %%", x.Confidence), x.Status, known(x.Md5, x.Sha1, x.Sha256), x.DetectionName, strings.Join(x.Evidence, "; ")}
}

func (p *printer) overview(w *bufio.Writer, r *wire.HashReport) {
	g := r.FileGeneralInfo
	if g == nil {
		return
	}
	p.title(w, "Overview")
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-11s %s\n", name, printable(value))
		}
	}
	field("MD5", strings.ToLower(g.Md5))
	field("SHA-1", strings.ToLower(g.Sha1))
	field("SHA-256", strings.ToLower(g.Sha256))
	if g.Size != nil {
		field("Size", fmt.Sprintf("%d bytes", *g.Size))
	}
	field("Type", g.Type)
	field("Packer", g.Packer)
	if g.Signer != "" {
		field("Signer", fmt.Sprintf("%s (%s)", g.Signer, strings.ToLower(g.SignerStatus)))
	}
	field("First seen", string(g.FirstSeen))
	field("Last seen", string(g.LastSeen))
	field("Hits", fmt.Sprint(g.HitsCount))
	for _, x := range g.RelatedAptReports {
		field("Report", fmt.Sprintf("%s: %s (%s)", x.Type, x.Title, x.Id))
	}
}

func (p *printer) title(w *bufio.Writer, s string) {
	if p.colour {
		s = "\x1b[1m" + s + "\x1b[0m"
	}
	fmt.Fprintf(w, "\n%s\n", s)
}

// shownRows is how many rows of a panel the terminal gets; --json has more.
const shownRows = 20

func section[T any](p *printer, w *bufio.Writer, title string, rows []T, cells func(*T) []string) {
	if len(rows) == 0 {
		return
	}
	p.title(w, title)
	for i := range rows {
		if i == shownRows {
			more := "--json has them all"
			if len(rows) == dossier.MaxRows {
				more = fmt.Sprintf("or beyond; --json has the first %d", dossier.MaxRows)
			}
			fmt.Fprintf(w, "  … and %d more (%s)\n", len(rows)-i, more)
			break
		}
		var line []string
		for n, c := range cells(&rows[i]) {
			if n > 0 {
				c = printable(c)
			}
			if strings.TrimSpace(c) != "" {
				line = append(line, c)
			}
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(line, "  "))
	}
}

func hits(n uint64) string { return fmt.Sprintf("%7d", n) }

// known returns the hash that is known of a related file.
func known(md5, sha1, sha256 string) string {
	if h := strings.ToLower(firstOf(md5, sha256, sha1)); h != "" {
		return h
	}
	return "(no hash)"
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
