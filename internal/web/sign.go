package web

import (
	"errors"
	"net/http"
	"strings"

	"spoor/internal/access"
	"spoor/internal/serve"
)

// signInBody is what the sign-in page shows.
type signInBody struct {
	Next  string
	Wrong bool
}

func (w *web) signIn(rw http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		w.render(rw, r, http.StatusOK, "sign-in.html", page{Title: "Sign in", Body: signInBody{Next: local(r.URL.Query().Get("next"))}})
	case http.MethodPost:
		w.sameOrigin(w.enter).ServeHTTP(rw, r)
	default:
		rw.Header().Set("Allow", "GET, HEAD, POST")
		w.fail(rw, r, serve.ErrMethod)
	}
}

func (w *web) enter(rw http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(rw, r.Body, 16<<10)
	next := local(r.PostFormValue("next"))
	// The token is checked as if it were a header, so that the rules stand in one place.
	asked := r.Clone(r.Context())
	asked.Header = http.Header{"Authorization": {"Bearer " + strings.TrimSpace(r.PostFormValue("token"))}}
	id, err := w.Gate.Identify(asked, access.Lookup)
	if errors.Is(err, access.ErrCredential) {
		w.render(rw, r, http.StatusUnauthorized, "sign-in.html", page{Title: "Sign in", Body: signInBody{Next: next, Wrong: true}})
		return
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	http.SetCookie(rw, &http.Cookie{Name: serve.SessionCookie, Value: w.Gate.Access.Session(id), Path: "/", MaxAge: int(access.SessionLifetime.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
	http.Redirect(rw, r, next, http.StatusSeeOther)
}

func (w *web) signOut(rw http.ResponseWriter, r *http.Request) {
	http.SetCookie(rw, &http.Cookie{Name: serve.SessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
	http.Redirect(rw, r, "/sign-in", http.StatusSeeOther)
}

// local returns a path of this server, "/" for anything that could lead elsewhere.
func local(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
