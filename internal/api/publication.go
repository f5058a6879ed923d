package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/wire"
)

// publicationFiles is how many files of a publication an answer names.
const publicationFiles = dossier.MaxRows

// maxForm bounds the body of a POST to get_one: it holds two parameters.
const maxForm = 64 << 10

// publication answers GET and POST /api/publications/get_one?publication_id=. An unknown id uses a unit of quota, as an unknown hash does.
func (a *api) publication(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		const list = "GET, HEAD, POST"
		w.Header().Set("Allow", list)
		serve.Fail(w, r, fmt.Errorf("%s: %w here; use %s", cut(r.Method), serve.ErrMethod, list))
		return
	}
	who, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	id, err := publicationAsked(w, r)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	var d *dossier.PublicationDossier
	usage, err := a.Gate.Access.Counted(who.Account, func() (err error) {
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
		case <-r.Context().Done():
			return r.Context().Err()
		}
		d, err = dossier.Publication(r.Context(), a.View(who.Account.Clearance), id, publicationFiles)
		return err
	})
	switch {
	case errors.Is(err, intel.ErrUnknown):
		serve.QuotaHeaders(w, usage)
		message := "no publication with this id is known"
		writeJSON(w, r, http.StatusNotFound, &wire.PublicationFailure{Status: "error", StatusMsg: message,
			Error: wire.ErrorInfo{Code: "unknown_publication", Message: message}})
	case err != nil:
		a.fail(w, r, &ask{id: who}, usage, err)
	default:
		serve.QuotaHeaders(w, usage)
		writeJSON(w, r, http.StatusOK, &wire.PublicationReport{Status: "ok", ReturnData: encoder{wire.Minutes}.publication(d)})
	}
}

// publicationAsked reads the id, from the query or, by POST, from a form. include_info, which clients send along, is passed over: every
// answer has all that there is.
func publicationAsked(w http.ResponseWriter, r *http.Request) (string, error) {
	values, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	ids := values["publication_id"]
	if r.Method == http.MethodPost {
		values, err := readForm(w, r)
		if err != nil {
			return "", err
		}
		ids = append(ids, values["publication_id"]...)
	}
	switch {
	case len(ids) != 1 || ids[0] == "":
		return "", &intel.Refusal{Field: "publication_id", Reason: "give it once, an Id of RelatedAptReports"}
	case len(ids[0]) > intel.MaxText:
		return "", &intel.Refusal{Field: "publication_id", Reason: fmt.Sprintf("%d bytes; at most %d", len(ids[0]), intel.MaxText)}
	}
	return ids[0], nil
}

// readForm reads a small form. A body of another type that is not empty is refused: what it asks would not be heard.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	var b strings.Builder
	body := http.MaxBytesReader(w, r.Body, maxForm)
	if _, err := io.Copy(&b, body); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, fmt.Errorf("the form is %w: at most %d bytes", serve.ErrTooLarge, maxForm)
		}
		return nil, &intel.Refusal{Reason: "the body cannot be read"}
	}
	if b.Len() == 0 {
		return nil, nil
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/x-www-form-urlencoded" {
			return nil, fmt.Errorf("%s: %w; send application/x-www-form-urlencoded, or the parameters in the query", cut(t), serve.ErrMediaType)
		}
	}
	return parseQuery(b.String())
}

func (e encoder) publication(d *dossier.PublicationDossier) wire.Publication {
	p := wire.Publication{Id: d.ID, Name: d.Title, Desc: d.Description, ReportGroup: strings.ToLower(string(d.Type)), Tags: append([]string{}, d.Tags...),
		TagsGeo: tagsOf(d.Tags, geoTags), TagsIndustry: tagsOf(d.Tags, industryTags), TagsActors: tagsOf(d.Tags, actorTags), Type: string(d.Type), Url: d.URL, Sources: append([]string{}, d.Sources...),
		FilesLeft: d.Left}
	p.Published = firstOf(d.Published, d.Updated, d.Learned.Time())
	p.Updated = firstOf(d.Updated, d.Published, d.Learned.Time())
	p.Files = each(d.Files, func(x *dossier.FileRow) wire.PublicationFile {
		return wire.PublicationFile{Zone: zone(x.Zone), Md5: upper(x.File.MD5), Sha1: upper(x.File.SHA1), Sha256: upper(x.File.SHA256), HitsCount: x.Hits,
			FirstSeen: e.date(x.First), LastSeen: e.date(x.Last), DetectionName: x.Detection}
	})
	return p
}

// The predicates of machine tags, as MISP's galaxies have them, that name places, industries and actors. No other tag says what it is.
var (
	geoTags      = []string{"country", "region", "target-information", "target-location"}
	industryTags = []string{"sector", "industry", "target-sector"}
	actorTags    = []string{"threat-actor", "mitre-intrusion-set", "intrusion-set", "microsoft-activity-group", "360net-threat-actor"}
)

// tagsOf returns the values of the machine tags, as misp-galaxy:sector="Finance", with one of the predicates.
func tagsOf(tags, predicates []string) []string {
	values := []string{}
	for _, tag := range tags {
		name, value, ok := strings.Cut(tag, "=")
		_, predicate, machine := strings.Cut(name, ":")
		if value = strings.Trim(value, `"`); ok && machine && value != "" && slices.Contains(predicates, predicate) && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// firstOf is the first of the moments that is known, in Unix seconds.
func firstOf(moments ...time.Time) int64 {
	for _, t := range moments {
		if !t.IsZero() {
			return t.Unix()
		}
	}
	return 0
}
