package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
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
	ipAddress:     {"LicenseInfo", "Zone", "IpGeneralInfo", "FilesDownloaded", "FilesAccessed", "HostedUrls"},
	urlAddress:    {"LicenseInfo", "Zone", "UrlGeneralInfo", "FilesDownloaded", "FilesAccessed"},
}

// address answers GET /api/domain/{…}, /api/ip/{…} and /api/url/{…}: an unseen but well-formed one is 200 and Grey.
func (a *api) address(kind addressKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.answerAddress(w, r, kind, false, func() (string, string, error) {
			values, err := url.ParseQuery(r.URL.RawQuery)
			if err != nil {
				return "", "", &intel.Refusal{Reason: "the query is not well formed: " + err.Error()}
			}
			return r.PathValue("address"), values.Get("sections"), nil
		})
	}
}

// searchAddress answers the same in OpenTIP's form.
func (a *api) searchAddress(kind addressKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.answerAddress(w, r, kind, true, func() (string, string, error) {
			request, err := requestOf(r)
			return request, "", err
		})
	}
}

func (a *api) answerAddress(w http.ResponseWriter, r *http.Request, kind addressKind, v1 bool, read func() (string, string, error)) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id, v1: v1}
	asked, sections, err := read()
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	address, err := parseAddress(kind, asked)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	wanted, err := parseAddressSections(kind, sections)
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
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.Contains(valid, name) {
			return nil, &intel.Refusal{Field: "sections", Reason: "there is no section " + cut(name) + "; valid are " + strings.Join(valid, ", ")}
		}
		wanted[name] = true
	}
	if len(wanted) == 0 {
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
	general := &wire.GeneralInfo{FilesCount: len(facts.Downloaded), UrlsCount: len(facts.URLs), Feeds: []string{}}
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
		report.FilesDownloaded = e.addressFiles(facts.Downloaded)
	}
	if wanted["FilesAccessed"] {
		report.FilesAccessed = e.addressFiles(facts.Accessed)
	}
	if wanted["HostedUrls"] {
		rows := topRows(facts.URLs)
		report.HostedUrls = each(rows, func(x *intel.Row[string]) wire.HostedURL {
			return wire.HostedURL{Url: x.Value, LastSeen: e.date(x.Last.Time())}
		})
	}
	if wanted["DomainDnsResolutions"] {
		rows := topRows(facts.IPs)
		report.DomainDnsResolutions = each(rows, func(x *intel.Row[string]) wire.Resolution {
			return wire.Resolution{Ip: x.Value, FirstSeen: e.date(x.First.Time()), LastSeen: e.date(x.Last.Time()), HitsCount: x.Count}
		})
	}
	return report, nil
}

// topRows orders texts by hits, then date, then themselves, and cuts them; never nil.
func topRows(rows []intel.Row[string]) []intel.Row[string] {
	rows = append([]intel.Row[string]{}, rows...)
	slices.SortFunc(rows, func(x, y intel.Row[string]) int {
		return cmp.Or(-cmp.Compare(x.Count, y.Count), -cmp.Compare(x.Last, y.Last), strings.Compare(x.Value, y.Value))
	})
	return rows[:min(len(rows), dossier.MaxRows)]
}

func (e encoder) addressFiles(related []intel.Row[intel.Related]) []wire.AddressFile {
	rows := make([]wire.AddressFile, 0, len(related))
	for i := range related {
		r := &related[i]
		if r.Value.Head == nil {
			continue
		}
		f := r.Value.Head.File
		row := wire.AddressFile{Zone: zone(verdict.Zone(r.Value.Head)), HitsCount: r.Count, Md5: upper(f.MD5), DetectionName: verdict.Detection(r.Value.Head),
			LastDownloadDate: e.date(r.Last.Time())}
		row.Sha1, row.Sha256 = fallback(f)
		rows = append(rows, row)
	}
	severity := func(z wire.Zone) int {
		return slices.Index([]wire.Zone{wire.Red, wire.Orange, wire.Yellow, wire.Grey, wire.Green}, z)
	}
	slices.SortFunc(rows, func(x, y wire.AddressFile) int {
		return cmp.Or(cmp.Compare(severity(x.Zone), severity(y.Zone)), -cmp.Compare(x.HitsCount, y.HitsCount), -cmp.Compare(x.LastDownloadDate, y.LastDownloadDate),
			cmp.Compare(x.Md5, y.Md5), cmp.Compare(x.Sha256, y.Sha256))
	})
	return rows[:min(len(rows), dossier.MaxRows)]
}
