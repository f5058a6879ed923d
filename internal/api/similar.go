package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/wire"
)

// similar answers GET /api/similar?tlsh=…|ssdeep=…|imphash=…|hash=…: the files that resemble what is asked, the surest first. It uses a unit of quota.
func (a *api) similar(w http.ResponseWriter, r *http.Request) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q, err := readSimilar(r.URL.RawQuery)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	asked := &ask{id: id, question: question{hash: q.File}}
	var rows []dossier.SimilarRow
	usage, err := a.Gate.Access.Counted(id.Account, func() (err error) {
		rows, err = a.findSimilar(r.Context(), id.Account.Clearance, q)
		return err
	})
	if err != nil {
		a.fail(w, r, asked, usage, err)
		return
	}
	serve.QuotaHeaders(w, usage)
	writeJSON(w, r, http.StatusOK, &wire.SimilarReport{LicenseInfo: licenseOf(asked, usage), SimilarFiles: SimilarFiles(rows)})
}

func (a *api) findSimilar(ctx context.Context, clearance intel.Marking, q dossier.SimilarQuery) ([]dossier.SimilarRow, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return dossier.Similar(ctx, a.View(clearance), q)
}

// SimilarFiles encodes rows as the answer has them; never nil.
func SimilarFiles(rows []dossier.SimilarRow) []wire.SimilarFile {
	return each(append([]dossier.SimilarRow{}, rows...), encoder{wire.Minutes}.similar)
}

// readSimilar reads what is asked. Each parameter may stand once; there must be a hash or a fuzzy hash.
func readSimilar(rawQuery string) (q dossier.SimilarQuery, err error) {
	q.Reach, q.Count = intel.DefaultReach, dossier.MaxRows
	// A plus in an ssdeep digest is a character like others; clients forget to escape it.
	values, err := parseQuery(strings.ReplaceAll(rawQuery, "+", "%2B"))
	if err != nil {
		return q, err
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that of two faults the same one is told
	for _, name := range names {
		if len(values[name]) > 1 {
			return q, &intel.Refusal{Field: cut(name), Reason: "given more than once"}
		}
		value := values[name][0]
		switch {
		case name == "hash":
			if q.File, err = intel.ParseHash(value); err != nil {
				return q, err
			}
		case name == "distance":
			if q.Reach.Distance, err = parseWithin(name, value, 0, intel.MaxDistance); err != nil {
				return q, err
			}
		case name == "score":
			if q.Reach.Score, err = parseWithin(name, value, 1, 100); err != nil {
				return q, err
			}
		case name == "count":
			if q.Count, err = parseCount(value); err != nil {
				return q, err
			}
		case slices.Contains(intel.FuzzyAlgorithms(), intel.FuzzyAlgorithm(name)):
			h, err := intel.ParseFuzzyHash(intel.FuzzyAlgorithm(name), value)
			if err != nil {
				return q, err
			}
			q.Hashes = append(q.Hashes, h)
		}
	}
	if q.File.IsZero() && len(q.Hashes) == 0 {
		return q, &intel.Refusal{Reason: fmt.Sprintf("nothing to look for; give hash, or one or more of %v", intel.FuzzyAlgorithms())}
	}
	return q, nil
}

func parseWithin(name, s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, &intel.Refusal{Field: name, Reason: fmt.Sprintf("%q is not a whole number within %d to %d", cut(s), least, most)}
	}
	return n, nil
}
