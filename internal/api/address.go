package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/verdict"
	"spoor/wire"
)

// addressKind is which of the three address look-ups is asked.
type addressKind uint8

const (
	domainAddress addressKind = iota
	ipAddress
	urlAddress
)

var addressSections = map[addressKind][]string{
	domainAddress: {"LicenseInfo", "Zone", "DomainGeneralInfo", "FilesDownloaded", "FilesAccessed", "HostedUrls", "DomainDnsResolutions"},
	ipAddress:     {"LicenseInfo", "Zone", "IpGeneralInfo", "FilesDownloadedFromIp", "FilesAccessed", "HostedUrls", "IpDnsResolutions"},
	urlAddress:    {"LicenseInfo", "Zone", "UrlGeneralInfo", "FilesDownloaded", "FilesAccessed"},
}

// otherSections are sections of the portal's that clients ask for and Spoor keeps nothing for: they are left out, as clients bear it.
var otherSections = []string{"RelatedObjects", "Industries", "IpWhoIs", "DomainWhoIsInfo", "UrlDomainWhoIs", "DataFeeds"}

// address answers GET /api/domain/{…}, /api/ip/{…} and /api/url/{…}: an unseen but well-formed one is 200 and Grey.
func (a *api) address(kind addressKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.answerAddress(w, r, kind, false, func() (q addressQuestion, err error) {
			q.asked, q.count = r.PathValue("asked"), dossier.MaxRows
			values, err := parseQuery(r.URL.RawQuery)
			if err != nil {
				return q, err
			}
			q.sections = values.Get("sections")
			if values.Has("count") {
				if q.count, err = parseCount(values.Get("count")); err != nil {
					return q, err
				}
			}
			if f := values.Get("format"); f != "" && f != "json" {
				return q, &intel.Refusal{Field: "format", Reason: fmt.Sprintf("there is no format %q here; json", cut(f))}
			}
			return q, nil
		})
	}
}

// searchAddress answers the same in OpenTIP's form.
func (a *api) searchAddress(kind addressKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.answerAddress(w, r, kind, true, func() (q addressQuestion, err error) {
			q.count = dossier.MaxRows
			q.asked, err = requestOf(r)
			return q, err
		})
	}
}

// addressQuestion is what is asked of an address, as it came.
type addressQuestion struct {
	asked, sections string
	count           int
}

func (a *api) answerAddress(w http.ResponseWriter, r *http.Request, kind addressKind, v1 bool, read func() (addressQuestion, error)) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id, v1: v1}
	asked, err := read()
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q.count = asked.count
	address, err := parseAddress(kind, asked.asked)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	wanted, err := parseAddressSections(kind, asked.sections)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	var report *wire.DomainReport
	usage, err := a.Gate.Access.Counted(id.Account, func() (err error) {
		report, err = a.addressReport(r.Context(), q, kind, address, wanted)
		return err
	})
	if err != nil {
		a.fail(w, r, q, usage, err)
		return
	}
	if wanted["LicenseInfo"] {
		report.LicenseInfo = licenseOf(q, usage)
	}
	serve.QuotaHeaders(w, usage)
	writeJSON(w, r, http.StatusOK, report)
}

func parseAddress(kind addressKind, s string) (intel.Address, error) {
	if len(s) > intel.MaxText {
		return intel.Address{}, &intel.Refusal{Reason: "the address is too long"}
	}
	address, err := intel.ParseAddress(s)
	if err != nil {
		return address, err
	}
	switch {
	case kind == ipAddress && !intel.IsIP(address.URL):
		return address, &intel.Refusal{Reason: "that is no IP address"}
	case kind == domainAddress && (address.URL != address.Host || intel.IsIP(address.Host)):
		return address, &intel.Refusal{Reason: "that is no domain name"}
	}
	return address, nil
}

func parseAddressSections(kind addressKind, list string) (map[string]bool, error) {
	valid := addressSections[kind]
	wanted := map[string]bool{}
	other := false
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if slices.Contains(otherSections, name) {
			other = true
			continue
		}
		if !slices.Contains(valid, name) {
			return nil, &intel.Refusal{Field: "sections", Reason: "there is no section " + cut(name) + "; valid are " + strings.Join(valid, ", ")}
		}
		wanted[name] = true
	}
	if len(wanted) == 0 && !other {
		for _, name := range valid {
			wanted[name] = true
		}
	}
	return wanted, nil
}

func (a *api) addressReport(ctx context.Context, q *ask, kind addressKind, address intel.Address, wanted map[string]bool) (*wire.DomainReport, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	facts, err := a.View(q.id.Account.Clearance).Address(ctx, address)
	if err != nil {
		return nil, err
	}
	e := encoder{wire.Minutes}
	if q.v1 {
		e.layout = wire.Seconds
	}
	report := &wire.DomainReport{}
	if wanted["Zone"] {
		report.Zone = zone(verdict.Address(facts.Listings))
	}
	general := &wire.GeneralInfo{ThreatScore: verdict.Judge(&intel.Head{Listings: facts.Listings}).Score, Categories: []string{}, RelatedAptReports: []wire.Report{},
		FilesCount: len(facts.Downloaded), UrlsCount: len(facts.URLs), Feeds: []string{}}
	for _, related := range [][]intel.Row[intel.Related]{facts.Downloaded, facts.Accessed} {
		for i := range related {
			general.HitsCount += related[i].Count
		}
	}
	for _, l := range facts.Listings {
		general.Feeds = append(general.Feeds, l.Value.Feed)
	}
	slices.Sort(general.Feeds)
	general.Feeds = slices.Compact(general.Feeds)
	switch {
	case wanted["DomainGeneralInfo"]:
		general.Domain, report.DomainGeneralInfo = address.Host, general
	case wanted["IpGeneralInfo"]:
		general.Ip, report.IpGeneralInfo = address.Host, general
	case wanted["UrlGeneralInfo"]:
		general.Url, general.Host, report.UrlGeneralInfo = address.URL, address.Host, general
	}
	if wanted["FilesDownloaded"] {
		report.FilesDownloaded = e.addressFiles(facts.Downloaded, address, q.count)
	}
	if wanted["FilesDownloadedFromIp"] {
		report.FilesDownloadedFromIp = e.addressFiles(facts.Downloaded, address, q.count)
	}
	if wanted["FilesAccessed"] {
		report.FilesAccessed = e.addressFiles(facts.Accessed, address, q.count)
	}
	if wanted["HostedUrls"] {
		report.HostedUrls = e.hostedURLs(facts.URLs, q.count)
	}
	if wanted["DomainDnsResolutions"] {
		rows := topRows(facts.IPs, q.count)
		report.DomainDnsResolutions = each(rows, func(x *intel.Row[string]) wire.Resolution {
			return wire.Resolution{Ip: x.Value, FirstSeen: e.date(x.First.Time()), LastSeen: e.date(x.Last.Time()), HitsCount: x.Count}
		})
	}
	if wanted["IpDnsResolutions"] {
		report.IpDnsResolutions = e.domainResolutions(facts.Domains, q.count)
	}
	return report, nil
}

// topRows orders texts by hits, then date, then themselves, and cuts them; never nil.
func topRows(rows []intel.Row[string], count int) []intel.Row[string] {
	rows = append([]intel.Row[string]{}, rows...)
	slices.SortFunc(rows, func(x, y intel.Row[string]) int {
		return cmp.Or(-cmp.Compare(x.Count, y.Count), -cmp.Compare(x.Last, y.Last), strings.Compare(x.Value, y.Value))
	})
	return rows[:min(len(rows), count)]
}

// severity places a zone in the order of rows: the gravest first.
func severity(z wire.Zone) int {
	return slices.Index([]wire.Zone{wire.Red, wire.Orange, wire.Yellow, wire.Grey, wire.Green}, z)
}

func (e encoder) hostedURLs(urls []intel.Row[intel.WebAddress], count int) []wire.HostedURL {
	rows := make([]wire.HostedURL, len(urls))
	for i := range urls {
		u := &urls[i]
		rows[i] = wire.HostedURL{Url: u.Value.URL, Zone: zone(verdict.Address(u.Value.Listings)), HitsCount: u.Count, FirstSeen: e.date(u.First.Time()), LastSeen: e.date(u.Last.Time())}
	}
	slices.SortFunc(rows, func(x, y wire.HostedURL) int {
		return cmp.Or(cmp.Compare(severity(x.Zone), severity(y.Zone)), -cmp.Compare(x.HitsCount, y.HitsCount), -cmp.Compare(x.LastSeen, y.LastSeen), strings.Compare(x.Url, y.Url))
	})
	return rows[:min(len(rows), count)]
}

func (e encoder) domainResolutions(domains []intel.Row[intel.WebAddress], count int) []wire.DomainResolution {
	rows := make([]wire.DomainResolution, len(domains))
	for i := range domains {
		d := &domains[i]
		rows[i] = wire.DomainResolution{Domain: d.Value.Host, Zone: zone(verdict.Address(d.Value.Listings)), FirstSeen: e.date(d.First.Time()), LastSeen: e.date(d.Last.Time()), HitsCount: d.Count}
	}
	slices.SortFunc(rows, func(x, y wire.DomainResolution) int {
		return cmp.Or(cmp.Compare(severity(x.Zone), severity(y.Zone)), -cmp.Compare(x.HitsCount, y.HitsCount), -cmp.Compare(x.LastSeen, y.LastSeen), strings.Compare(x.Domain, y.Domain))
	})
	return rows[:min(len(rows), count)]
}

func (e encoder) addressFiles(related []intel.Row[intel.Related], address intel.Address, count int) []wire.AddressFile {
	rows := make([]wire.AddressFile, 0, len(related))
	for i := range related {
		r := &related[i]
		if r.Value.Head == nil {
			continue
		}
		f := r.Value.Head.File
		row := wire.AddressFile{Zone: zone(verdict.Zone(r.Value.Head)), HitsCount: r.Count, Md5: upper(f.MD5), DetectionName: verdict.Detection(r.Value.Head),
			Url: address.URL, FirstSeen: e.date(r.First.Time()), LastSeen: e.date(r.Last.Time()), LastDownloadDate: e.date(r.Last.Time())}
		row.Sha1, row.Sha256 = fallback(f)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(x, y wire.AddressFile) int {
		return cmp.Or(cmp.Compare(severity(x.Zone), severity(y.Zone)), -cmp.Compare(x.HitsCount, y.HitsCount), -cmp.Compare(x.LastDownloadDate, y.LastDownloadDate),
			cmp.Compare(x.Md5, y.Md5), cmp.Compare(x.Sha1, y.Sha1), cmp.Compare(x.Sha256, y.Sha256))
	})
	return rows[:min(len(rows), count)]
}
