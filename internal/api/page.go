package api

import (
	"encoding/base64"
	"net/http"

	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/wire"
)

// page answers GET /api/hash/{hash}?sections=NAME&cursor=: some rows of one section, and where the next page begins. Going on until no cursor
// comes meets every row, also of relations that are too large for the answer. Each page uses a unit of quota.
func (a *api) page(w http.ResponseWriter, r *http.Request, q *ask) {
	after, err := decodeCursor(*q.cursor)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	var d *dossier.Dossier
	var next []byte
	usage, err := a.Gate.Access.Counted(q.id.Account, func() (err error) {
		d, next, err = dossier.Page(r.Context(), a.View(q.clearance), q.hash, q.names[0], after, q.count)
		return err
	})
	if err != nil {
		a.fail(w, r, q, usage, err)
		return
	}
	serve.QuotaHeaders(w, usage)
	if next != nil {
		w.Header().Set(wire.NextCursor, base64.RawURLEncoding.EncodeToString(next))
	}
	writeJSON(w, r, http.StatusOK, encoder{wire.Minutes}.report(d))
}

// decodeCursor reads a cursor; the empty one is the beginning.
func decodeCursor(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > 2048 {
		return nil, &intel.Refusal{Field: "cursor", Reason: "it is not one that an answer gave"}
	}
	return b, nil
}
