// Package web is the page: a search box, the dossier of a file as HTML, and signing in.
//
// Everything is rendered here and works without JavaScript; the one script turns dates to the reader's zone and copies hashes.
package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/submit"
)

// Config is what the page needs.
type Config struct {
	View   func(clearance intel.Marking) dossier.View
	Gate   *serve.Gate
	Logger *slog.Logger
	// FindHashes returns the hashes that stand in any text.
	FindHashes func(text []byte) []intel.Hash
	// Submissions takes files in; nil: none are taken.
	Submissions Submissions
}

//go:embed templates static
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{"visible": visible, "brief": brief}).ParseFS(files, "templates/*.html"))

// policy lets a page load its own style and script, send forms to itself, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

type web struct{ Config }

// Register adds the pages to a mux.
func Register(mux *http.ServeMux, c Config) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	w := &web{c}
	get := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, serve.Methods(http.MethodGet, h)) }
	get("/{$}", w.home)
	get("/hash/{hash...}", w.hash)
	get("/hash/{hash}/{section}", w.rows)
	get("/publication/{id}", w.publication)
	get("/similar", w.similar)
	mux.HandleFunc("/search", w.search)
	if c.Submissions != nil {
		mux.Handle("/submit", serve.Methods(http.MethodPost, w.sameOrigin(w.submit)))
	}
	mux.HandleFunc("/sign-in", w.signIn)
	mux.Handle("/sign-out", serve.Methods(http.MethodPost, w.sameOrigin(w.signOut)))
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		w.fail(rw, r, fmt.Errorf("%w: %s", serve.ErrNotFound, cut(r.URL.Path, 100)))
	})
	for _, f := range []struct{ name, kind string }{{"style.css", "text/css; charset=utf-8"}, {"page.js", "text/javascript; charset=utf-8"}, {"mark.svg", "image/svg+xml"}} {
		body, err := files.ReadFile("static/" + f.name)
		if err != nil {
			w.Logger.Error("a static file is missing", "file", f.name)
		}
		etag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
		get("/static/"+f.name, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", f.kind)
			rw.Header().Set("ETag", etag) // a browser asks each time, so that an upgrade shows at once, and is told that nothing changed
			http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(body))
		})
	}
}

// sameOrigin refuses what another site makes a browser send.
func (w *web) sameOrigin(next http.HandlerFunc) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.fail(rw, r, fmt.Errorf("%w: another site sent this form", access.ErrForbidden))
	}))
	return protection.Handler(next)
}

// page is what every template gets.
type page struct {
	Title   string
	Account string // who is signed in, "" for nobody
	Query   string // what stands in the search box
	Body    any
}

func (w *web) render(rw http.ResponseWriter, r *http.Request, status int, name string, p page) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, p); err != nil {
		w.Logger.Error("rendering a page", "page", name, "error", err)
		http.Error(rw, "an error inside Spoor; its log says more", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	rw.WriteHeader(status)
	if r.Method != http.MethodHead {
		rw.Write(b.Bytes())
	}
}

// identify returns who asks; without a credential it sends a browser to sign in and returns nil.
func (w *web) identify(rw http.ResponseWriter, r *http.Request) *access.Identity {
	id, err := w.Gate.Identify(r, access.Lookup)
	if errors.Is(err, access.ErrCredential) && r.Header.Get("Authorization") == "" && r.Header.Get("X-Api-Key") == "" {
		target := "/sign-in"
		if r.URL.Path != "/" {
			target += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
		}
		http.Redirect(rw, r, target, http.StatusSeeOther)
		return nil
	}
	if err != nil {
		w.fail(rw, r, err)
		return nil
	}
	return id
}

// failure is the body of an error's page.
type failure struct {
	Heading, Message string
}

var headings = map[int]string{400: "That cannot be looked up", 401: "Not signed in", 403: "Not allowed", 404: "Nothing is known", 405: "Not here",
	413: "Too large", 429: "Quota used up", 503: "Not available now"}

func (w *web) fail(rw http.ResponseWriter, r *http.Request, err error) {
	f := serve.FailureOf(err)
	if f.Status >= 500 {
		w.Logger.Error("request failed", "path", r.URL.Path, "error", err)
	}
	heading := headings[f.Status]
	if errors.Is(err, serve.ErrNotFound) {
		heading = "No such page"
	}
	if heading == "" {
		heading = "That did not work"
	}
	serve.SetFailureHeaders(rw, f)
	p := page{Title: heading, Body: failure{heading, sentence(f.Message)}}
	if id, err := w.Gate.Identify(reading(r), access.Lookup); err == nil {
		p.Account = id.Account.Name
		// What was asked stays in the box, to be put right there, unless it is a whole text.
		if p.Query = cmp.Or(r.Form.Get("q"), r.PathValue("hash")); len(p.Query) > 200 || strings.Contains(p.Query, "\n") {
			p.Query = ""
		}
	}
	w.render(rw, r, f.Status, "failure.html", p)
}

// homeBody is what the first page shows beside the search.
type homeBody struct {
	Submit    bool // whether the account may submit a file
	MostBytes int64
}

func (w *web) home(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, r)
	if id == nil {
		return
	}
	w.render(rw, r, http.StatusOK, "home.html", page{Title: "Spoor", Account: id.Account.Name, Body: homeBody{w.Submissions != nil && id.May(access.Submit), submit.MaxFile}})
}

// maxSearch bounds the text of a search, and maxFound the hashes that one page answers.
const (
	maxSearch = 4 << 20
	maxFound  = 500
)

// search finds the hashes in what was typed or pasted: one leads to its page, more to a list.
func (w *web) search(rw http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		w.sameOrigin(w.found).ServeHTTP(rw, r)
		return
	default:
		rw.Header().Set("Allow", "GET, HEAD, POST")
		w.fail(rw, r, serve.ErrMethod)
		return
	}
	w.found(rw, r)
}

func (w *web) found(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, reading(r)) // a browser's session counts here: the form came from this server
	if id == nil {
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, maxSearch)
	if err := r.ParseForm(); err != nil {
		w.fail(rw, r, &intel.Refusal{Reason: fmt.Sprintf("the form cannot be read; at most %d MB of text", maxSearch>>20)})
		return
	}
	text := strings.TrimSpace(r.Form.Get("q"))
	if text == "" {
		http.Redirect(rw, r, "/", http.StatusSeeOther)
		return
	}
	if a, value, fuzzy := intel.LooksFuzzy(text); fuzzy {
		http.Redirect(rw, r, similarPath(a, value), http.StatusSeeOther)
		return
	}
	var hashes []intel.Hash
	seen := map[intel.Hash]bool{}
	for _, h := range w.FindHashes([]byte(text)) {
		if !seen[h] {
			seen[h] = true
			hashes = append(hashes, h)
		}
	}
	switch {
	case len(hashes) == 0:
		_, err := intel.ParseHash(text)
		if err == nil || strings.ContainsAny(text, " \n") {
			err = &intel.Refusal{Reason: "there is no hash in that text: an MD5 has 32 hex digits, a SHA-1 40, a SHA-256 64; a fuzzy hash stands alone, a TLSH, an ssdeep, or with its name as in imphash:…"}
		}
		w.fail(rw, r, err)
	case len(hashes) == 1:
		http.Redirect(rw, r, "/hash/"+hashes[0].String(), http.StatusSeeOther)
	default:
		w.list(rw, r, id, hashes)
	}
}

// reading returns a form's request as one that only reads, for which a browser's session counts.
func reading(r *http.Request) *http.Request {
	if r.Method != http.MethodPost {
		return r
	}
	read := r.Clone(r.Context())
	read.Method = http.MethodGet
	return read
}

// sentence writes a message, which begins small for logs and lists, as a sentence.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + strings.TrimRight(s[n:], ".") + "."
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
