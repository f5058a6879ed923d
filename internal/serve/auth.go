package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spoor/internal/access"
)

// SessionCookie is the name of the cookie of a signed-in browser.
const SessionCookie = "spoor_session"

// Gate finds out who asks.
type Gate struct {
	Access *access.Access
	// OpenLookups lets requests without any credential look up.
	OpenLookups bool
}

// Identify returns who asks, when they may do it. It fails with [access.ErrCredential] or [access.ErrForbidden].
//
// A credential is a token as bearer, as the password of HTTP Basic beside its account's name, or as x-api-key; for reading, a browser's
// session too; shippers for Elasticsearch may send it as the second half of an ApiKey. A credential that is given and wrong is refused even where none is needed.
func (g *Gate) Identify(r *http.Request, scope access.Scope) (*access.Identity, error) {
	id, err := g.identify(r)
	if err != nil {
		return nil, err
	}
	if !id.May(scope) {
		return nil, fmt.Errorf("%w: this token may not do that; it needs the scope %q ('spoor token create --scope %s')", access.ErrForbidden, scope, scope)
	}
	return id, nil
}

func (g *Gate) identify(r *http.Request) (*access.Identity, error) {
	certificate := certificateOf(r)
	if len(r.Header["Authorization"]) > 1 || len(r.Header["X-Api-Key"]) > 1 {
		return nil, access.ErrCredential // a proxy before us may have looked at another one of them
	}
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, rest, _ := strings.Cut(header, " ")
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			return g.Access.Check(strings.TrimSpace(rest), "", certificate)
		case strings.EqualFold(scheme, "Basic"):
			account, secret, ok := r.BasicAuth()
			if !ok || account == "" {
				return nil, access.ErrCredential
			}
			return g.Access.Check(secret, account, certificate)
		case strings.EqualFold(scheme, "ApiKey"): // of Elasticsearch's shippers: base64 of an id, which says nothing here, and the token
			pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
			if _, secret, ok := strings.Cut(string(pair), ":"); ok && err == nil {
				return g.Access.Check(secret, "", certificate)
			}
		}
		return nil, access.ErrCredential
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return g.Access.Check(strings.TrimSpace(key), "", certificate)
	}
	if c, err := r.Cookie(SessionCookie); err == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if id, err := g.Access.CheckSession(c.Value, certificate); err == nil || !g.OpenLookups {
			return id, err
		}
	}
	if g.OpenLookups {
		return access.OpenAccount(), nil
	}
	return nil, access.ErrCredential
}

// certificateOf returns the SHA-256 of the TLS client certificate, "" without one.
func certificateOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// QuotaHeaders tells the client where its quota stands.
func QuotaHeaders(w http.ResponseWriter, u access.Usage) {
	values := []string{strconv.FormatUint(u.Quota, 10), strconv.FormatUint(u.Left(), 10), strconv.Itoa(int(time.Until(u.Reset).Seconds()) + 1)}
	h := w.Header()
	h["Ratelimit-Limit"], h["Ratelimit-Remaining"], h["Ratelimit-Reset"] = values[0:1:1], values[1:2:2], values[2:3:3]
}
