package api

import (
	"math"
	"strings"
	"time"

	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/wire"
)

// zones spells a zone for the wire.
var zones = [...]wire.Zone{wire.Grey, wire.Green, wire.Grey, wire.Yellow, wire.Orange, wire.Red}

func zone(z intel.Zone) wire.Zone {
	if int(z) < len(zones) {
		return zones[z]
	}
	return wire.Grey
}

func upper(h intel.Hash) string { return strings.ToUpper(h.String()) }

// fallback returns the hashes that stand beside an unknown MD5.
func fallback(f intel.Hashes) (sha1, sha256 string) {
	if f.MD5.IsZero() {
		return upper(f.SHA1), upper(f.SHA256)
	}
	return "", ""
}

func sized(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// signerStatuses spells the trust in a signature.
var signerStatuses = map[intel.SignatureStatus]string{intel.Trusted: "Trusted", intel.NotTrusted: "Not trusted", intel.Discredited: "Discredited"}

// tenPower rounds to the nearest power of ten, by the logarithm.
func tenPower(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(math.Pow(10, math.Round(math.Log10(float64(n)))))
}

// encoder turns a dossier into the wire's form, with dates in one layout.
type encoder struct{ layout string }

func (e encoder) date(t time.Time) wire.Date { return wire.DateOf(t, e.layout) }

// report encodes everything but LicenseInfo.
func (e encoder) report(d *dossier.Dossier) *wire.HashReport {
	r := &wire.HashReport{}
	for _, s := range d.Sections {
		switch s {
		case dossier.Zone:
			r.Zone = zone(d.Verdict.Zone)
		case dossier.RelatedObjects:
			r.RelatedObjects = &wire.RelatedObjects{HasRedZone: d.HasRedZone}
		case dossier.FileGeneralInfo:
			r.FileGeneralInfo = e.general(d)
		case dossier.Hosts:
			r.Hosts = &wire.Hosts{HostsCount: d.HostCount, Hosts: each(d.Hosts, func(h *dossier.HostRow) wire.Host {
				return wire.Host{Host: h.Host, HitsCount: h.Hits, FirstSeen: e.date(h.First), LastSeen: e.date(h.Last)}
			})}
		case dossier.SimilarFiles:
			r.SimilarFiles = each(d.Similar, e.similar)
			for i := range r.SimilarFiles {
				r.SimilarFiles[i].Evidence = nil // the portal's row has no such key
			}
		case dossier.SimilarEvidence:
			r.SimilarEvidence = each(d.Similar, e.similar)
		case dossier.FileUnpackedObjects:
			r.FileUnpackedObjects = each(d.UnpackedObjects, e.member)
			for i := range r.FileUnpackedObjects {
				r.FileUnpackedObjects[i].Path = "" // the portal's row has no such key
			}
		case dossier.MemberPaths:
			r.MemberPaths = each(d.UnpackedObjects, e.member)
		case dossier.Reasons:
			r.Reasons = &wire.Reasons{Score: d.Verdict.Score, Reasons: d.Verdict.Reasons}
		}
	}
	r.DetectionsInfo = each(d.Detections, func(x *dossier.DetectionRow) wire.Detection {
		row := wire.Detection{LastDetectDate: e.date(x.Last), Zone: zone(x.Zone), DetectionName: x.Name, DetectionMethod: x.Method}
		if x.URL != "" {
			row.DescriptionUrl = &x.URL
		}
		return row
	})
	r.Inspection = each(d.Inspection, func(x *dossier.PropertyRow) wire.Property {
		return wire.Property{Name: x.Name, Value: x.Value, LastSeen: e.date(x.Last)}
	})
	r.FilePaths = each(d.Paths, func(x *dossier.PathRow) wire.FilePath {
		return wire.FilePath{Path: x.Path, Location: x.Location, FilePathHitsCount: x.Hits}
	})
	r.FileNames = each(d.Names, func(x *dossier.NameRow) wire.FileName {
		return wire.FileName{FileName: x.Name, FileNamesHitsCount: x.Hits}
	})
	r.FileDownloadedFromUrls = each(d.DownloadedFrom, e.address)
	r.FileAccessedUrls = each(d.Accessed, e.address)
	r.FileStartedObjects = each(d.Started, e.started)
	r.FileStartedBy = each(d.StartedBy, e.started)
	r.FileDownloadedObjects = each(d.Downloaded, e.downloaded)
	r.FileDownloadedBy = each(d.DownloadedBy, e.downloaded)
	r.FileCertificates = each(d.Certificates, e.certificate)
	r.FileParentCertificates = each(d.ParentCertificates, e.certificate)
	r.FileUnpackedFrom = each(d.UnpackedFrom, func(x *dossier.MemberRow) wire.Container {
		row := wire.Container{Zone: zone(x.Zone), ParentMd5: upper(x.Parent.MD5), ChildMd5: upper(x.Child.MD5), ParentFileSize: sized(x.Size),
			ParentFileType: x.Type, ParentDetectionName: x.Detection, Level: x.Level}
		row.Sha1, row.Sha256 = fallback(x.Parent)
		return row
	})
	r.DataFeeds = each(d.Feeds, func(x *dossier.FeedRow) string { return x.Feed })
	r.Conflicts = each(d.Conflicts, func(x *intel.Conflict) wire.Conflict {
		return wire.Conflict{Hash: upper(x.Hash), Other: upper(x.Other), Count: x.Count}
	})
	return r
}

func (e encoder) member(x *dossier.MemberRow) wire.Member {
	row := wire.Member{Zone: zone(x.Zone), ChildMD5: upper(x.Child.MD5), ParentMD5: upper(x.Parent.MD5), ChildFileSize: sized(x.Size),
		ChildFileType: x.Type, ChildDetectionName: x.Detection, Level: x.Level, Path: x.Path}
	row.Sha1, row.Sha256 = fallback(x.Child)
	return row
}

func (e encoder) similar(x *dossier.SimilarRow) wire.SimilarFile {
	row := wire.SimilarFile{Md5: upper(x.File.MD5), Confidence: x.Confidence, Status: x.Zone.Label(), DetectionName: x.Detection,
		Hits: tenPower(x.Hits), FirstSeen: e.date(x.First), LastSeen: e.date(x.Last), Type: x.Type, Size: sized(x.Size), Evidence: x.By}
	row.Sha1, row.Sha256 = fallback(x.File)
	return row
}

// each encodes rows; a section that was not asked for stays nil, and so absent.
func each[A, B any](rows []A, f func(*A) B) []B {
	if rows == nil {
		return nil
	}
	out := make([]B, len(rows))
	for i := range rows {
		out[i] = f(&rows[i])
	}
	return out
}

func (e encoder) general(d *dossier.Dossier) *wire.FileGeneralInfo {
	g := &d.General
	out := &wire.FileGeneralInfo{Md5: upper(d.File.MD5), Sha1: upper(d.File.SHA1), Sha256: upper(d.File.SHA256),
		FirstSeen: e.date(g.FirstSeen), LastSeen: e.date(g.LastSeen), Signer: g.Signer, Packer: g.Packer, Size: sized(g.Size), Type: g.Type,
		HitsCount: g.Hits, RelatedAptReports: []wire.Report{}}
	if g.Signer != "" {
		out.SignerZone, out.SignerStatus = zone(g.SignerZone), signerStatuses[g.SignerStatus]
	}
	for _, p := range g.Publications {
		out.HasApt = out.HasApt || p.Type == intel.APT
		out.RelatedAptReports = append(out.RelatedAptReports, wire.Report{Id: p.ID, Type: string(p.Type), Title: p.Title})
	}
	return out
}

func (e encoder) address(x *dossier.URLRow) wire.WebAddress {
	return wire.WebAddress{Url: x.URL, IsUrlTruncated: x.Truncated, Zone: zone(x.Zone), Domain: x.Domain, LastDownloadDate: e.date(x.Last), IpsCount: x.IPs}
}

func (e encoder) related(x *dossier.FileRow) wire.RelatedFile {
	row := wire.RelatedFile{Zone: zone(x.Zone), HitsCount: x.Hits, Md5: upper(x.File.MD5), Location: x.Location, Path: x.Path, Name: x.Name}
	row.Sha1, row.Sha256 = fallback(x.File)
	return row
}

func (e encoder) started(x *dossier.FileRow) wire.StartedFile {
	return wire.StartedFile{RelatedFile: e.related(x), LastStartDate: e.date(x.Last), DetectionName: x.Detection}
}

func (e encoder) downloaded(x *dossier.FileRow) wire.DownloadedFile {
	return wire.DownloadedFile{RelatedFile: e.related(x), LastDownloadDate: e.date(x.Last), DetectionName: x.Detection}
}

func (e encoder) certificate(x *dossier.CertificateRow) wire.Certificate {
	return wire.Certificate{ParentMd5: upper(x.MD5), SerialNumber: x.Serial, Vendor: x.Vendor, Publisher: x.Publisher,
		TimeStamp: e.date(x.Signed), Issued: e.date(x.Issued), Expires: e.date(x.Expires), IsDirectlySigned: x.Direct,
		IsDiscredited: x.Discredited, IsTrusted: x.Trusted, IsRevoked: x.Revoked, IsGray: x.Zone == intel.Gray, IsGood: x.Zone == intel.Green}
}

// Report spells a dossier as the wire does on /api, without LicenseInfo: for printers that stand beside the API.
func Report(d *dossier.Dossier) *wire.HashReport { return encoder{wire.Minutes}.report(d) }
