package api

import (
	"net/http"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
)

// searchHash answers GET /api/v1/search/hash?request=, the OpenTIP form of a look-up: dates with seconds, FileStatus, 403 for a used-up quota.
func (a *api) searchHash(w http.ResponseWriter, r *http.Request) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	request, err := requestOf(r)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id, v1: true}
	if err := q.read(request, ""); err != nil {
		serve.Fail(w, r, err)
		return
	}
	q.form = openTIP
	a.answer(w, r, q)
}

// requestOf reads the one parameter that counts here; others, which clients send along, are passed over.
func requestOf(r *http.Request) (string, error) {
	values, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	if len(values["request"]) != 1 {
		return "", &intel.Refusal{Field: "request", Reason: "give what is asked for once, as ?request="}
	}
	return values["request"][0], nil
}

// fileStatus is OpenTIP's word for the verdict. A file of which nothing bad or good is known, but which was read or seen, has no threats.
func fileStatus(d *dossier.Dossier) string {
	switch d.Verdict.Zone {
	case intel.Red:
		return "Malware"
	case intel.Orange:
		return "NotTrusted"
	case intel.Yellow:
		return "Adware"
	case intel.Green:
		return "Clean"
	}
	return "NotCategorized"
}
