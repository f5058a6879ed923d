package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// similarPath is the page of what resembles a fuzzy hash.
func similarPath(a intel.FuzzyAlgorithm, value string) string {
	return "/similar?" + url.Values{string(a): {value}}.Encode()
}

// similarBody is what resembles a fuzzy hash.
type similarBody struct {
	Asked    intel.FuzzyHash
	Distance int // of a TLSH, at most; 0 for other algorithms
	Wider    string
	Most     int // rows
	Table    panel
}

// similar answers GET /similar?tlsh=…, or another fuzzy hash, and distance=. It uses a unit of quota as the API does.
func (w *web) similar(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, r)
	if id == nil {
		return
	}
	values := r.URL.Query()
	q := dossier.SimilarQuery{Reach: intel.DefaultReach, Count: shownRows}
	for _, a := range intel.FuzzyAlgorithms() {
		if !values.Has(string(a)) {
			continue
		}
		h, err := intel.ParseFuzzyHash(a, values.Get(string(a)))
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		q.Hashes = append(q.Hashes, h)
	}
	if len(q.Hashes) != 1 {
		w.fail(rw, r, &intel.Refusal{Reason: fmt.Sprintf("give one of %v", intel.FuzzyAlgorithms())})
		return
	}
	body := similarBody{Asked: q.Hashes[0], Most: q.Count}
	if body.Asked.Algorithm == intel.TLSH {
		if d := values.Get("distance"); d != "" {
			n, err := strconv.Atoi(d)
			if err != nil || n < 0 || n > intel.MaxDistance {
				w.fail(rw, r, &intel.Refusal{Field: "distance", Reason: fmt.Sprintf("%q is not a whole number within 0 to %d", cut(d, 100), intel.MaxDistance)})
				return
			}
			q.Reach.Distance = n
		}
		body.Distance = q.Reach.Distance
		if body.Distance < intel.MaxDistance {
			body.Wider = similarPath(intel.TLSH, body.Asked.Value) + "&distance=" + strconv.Itoa(intel.MaxDistance)
		}
	}
	var d dossier.Dossier
	_, err := w.Gate.Access.Counted(id.Account, func() (err error) {
		d.Similar, err = dossier.Similar(r.Context(), w.View(id.Account.Clearance), q)
		return err
	})
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	panels := panelsOf(&d)
	body.Table = panels[slices.IndexFunc(panels, func(p panel) bool { return p.Section == dossier.SimilarFiles })]
	w.render(rw, r, http.StatusOK, "similar.html", page{Title: "Similar files", Account: id.Account.Name, Query: string(body.Asked.Algorithm) + ":" + body.Asked.Value, Body: body})
}
