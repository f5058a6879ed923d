// Package api answers over HTTP: dossiers as JSON and STIX in the foreign spelling of package wire, and observations taken in.
package api

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"spoor/docs"
	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/wire"
)

// Config is what the API needs.
type Config struct {
	View     func(clearance intel.Marking) dossier.View // opens one reader's look at the store
	Recorder Recorder
	Ready    func(context.Context) error
	Gate     *serve.Gate
	Metrics  *prometheus.Registry // served at /metrics; nil: none
	Logger   *slog.Logger
	// Submissions takes files in; nil: none are taken.
	Submissions Submissions
	// CacheBytes bounds the answers kept ready; 0 means 64 MiB.
	CacheBytes int
}

// Recorder is what the API needs of the store to take things in.
type Recorder interface {
	ingest.Recorder
	ingest.Marker
}

// api is the handlers' state.
type api struct {
	Config
	cache    *cache
	slots    chan struct{} // answers being built now
	taking   chan struct{} // bodies being taken in now
	recorded *prometheus.CounterVec
	elastic  elastic
}

// building is how many answers are built at once: more only makes all of them late. The others wait until their time is up.
const building = 64

// takingIn is how many bodies are taken in at once: each holds some megabytes of observations. The others wait likewise.
const takingIn = 32

//go:embed openapi.json
var openAPI []byte

// Register adds the API's paths to a mux.
func Register(mux *http.ServeMux, c Config) {
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &api{Config: c, cache: newCache(c.CacheBytes), slots: make(chan struct{}, building), taking: make(chan struct{}, takingIn)}
	a.recorded = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_observations_total", Help: "Observations received over HTTP, by outcome."}, []string{"outcome"})
	a.elastic = newElastic(c.Recorder)
	if c.Metrics != nil {
		c.Metrics.MustRegister(a.recorded, a.elastic.documents)
	}
	get := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, serve.Methods(http.MethodGet, h)) }
	for path, h := range map[string]http.HandlerFunc{"hash": a.hash, "domain": a.address(domainAddress), "ip": a.address(ipAddress), "url": a.address(urlAddress)} {
		get("/api/"+path+"/{asked...}", h)
		get("/api/"+path, h) // else the mux redirects it
	}
	get("/api/similar", a.similar)
	get("/api/v1/search/hash", a.searchHash)
	get("/api/v1/search/domain", a.searchAddress(domainAddress))
	get("/api/v1/search/ip", a.searchAddress(ipAddress))
	get("/api/v1/search/url", a.searchAddress(urlAddress))
	if c.Submissions != nil {
		mux.Handle("/api/v1/scan/file", serve.Methods(http.MethodPost, http.HandlerFunc(a.scanFile)))
		mux.Handle("/api/v1/getresult/file", serve.Methods(http.MethodPost, http.HandlerFunc(a.getResult)))
	}
	mux.HandleFunc("/api/publications/get_one", a.publication)
	mux.Handle("/api/observations", serve.Methods(http.MethodPost, http.HandlerFunc(a.observations)))
	mux.Handle("/api/events", serve.Methods(http.MethodPost, http.HandlerFunc(a.events)))
	a.registerElastic(mux)
	nothing := func(w http.ResponseWriter, r *http.Request) {
		serve.Fail(w, r, fmt.Errorf("%w; /openapi.json lists what there is", serve.ErrNotFound))
	}
	mux.HandleFunc("/api", nothing)
	mux.HandleFunc("/api/", nothing)
	get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(openAPI)
	})
	get("/observation.schema.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/schema+json")
		w.Write(docs.ObservationSchema)
	})
	get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := c.Ready(r.Context()); err != nil {
			serve.Fail(w, r, fmt.Errorf("%w: %w", intel.ErrUnavailable, err))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ready")
	})
	if c.Metrics != nil {
		metrics := promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{})
		get("/metrics", func(w http.ResponseWriter, r *http.Request) {
			if _, err := c.Gate.Identify(r, access.Lookup); err != nil {
				if _, second := c.Gate.Identify(r, access.Ingest); second != nil {
					serve.Fail(w, r, err)
					return
				}
			}
			metrics.ServeHTTP(w, r)
		})
	}
}

// ask is one look-up request, read.
type ask struct {
	question
	names  []dossier.Section
	id     *access.Identity
	v1     bool
	cursor *string // where a page of one section begins, "" at its beginning; nil when no page is asked for
}

// hash answers GET /api/hash/{hash}.
func (a *api) hash(w http.ResponseWriter, r *http.Request) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id}
	if err := q.read(r.PathValue("asked"), r.URL.RawQuery); err != nil {
		serve.Fail(w, r, err)
		return
	}
	if q.cursor != nil {
		a.page(w, r, q)
		return
	}
	a.answer(w, r, q)
}

// read reads what is asked. Each parameter may stand once.
func (q *ask) read(hash, rawQuery string) error {
	h, err := intel.ParseHash(hash)
	if err != nil {
		return err
	}
	q.question = question{hash: h, clearance: q.id.Account.Clearance, count: dossier.MaxRows}
	q.names = pageSections
	q.sections = pageBits
	if rawQuery == "" {
		return nil
	}
	values, err := parseQuery(rawQuery)
	if err != nil {
		return err
	}
	for name, v := range values {
		if len(v) > 1 {
			return &intel.Refusal{Field: cut(name), Reason: "given more than once"}
		}
		switch name {
		case "sections":
			kept, other := withoutOthers(v[0])
			names, err := dossier.ParseSections(kept)
			if err != nil {
				return err
			}
			if names != nil || other {
				q.names, q.sections = append([]dossier.Section{}, names...), bits(names)
			}
		case "count":
			if q.count, err = parseCount(v[0]); err != nil {
				return err
			}
		case "cursor":
			q.cursor = &v[0]
		case "format":
			switch v[0] {
			case "json":
			case "stix":
				q.form = stix
			default:
				return &intel.Refusal{Field: "format", Reason: fmt.Sprintf("there is no format %q; json or stix", cut(v[0]))}
			}
		}
	}
	if q.cursor != nil && (len(q.names) != 1 || q.form == stix) {
		return &intel.Refusal{Field: "cursor", Reason: "pages are of one section, as JSON: give sections=NAME beside it"}
	}
	if q.form == stix {
		q.names, q.sections, q.count = stixSections, bits(stixSections), dossier.MaxRows
	}
	return nil
}

// withoutOthers takes out of a list of sections those that a file has on the portal and Spoor keeps nothing for; clients ask for them.
func withoutOthers(list string) (kept string, other bool) {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(name) == "Industries" {
			other = true
			continue
		}
		names = append(names, name)
	}
	return strings.Join(names, ","), other
}

// parseQuery reads a query. A semicolon is a character like others: clients send URLs along without escaping them.
func parseQuery(raw string) (url.Values, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
	if err != nil {
		return nil, &intel.Refusal{Reason: "the query is not well formed: " + err.Error()}
	}
	return values, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > dossier.MaxRows {
		return 0, &intel.Refusal{Field: "count", Reason: fmt.Sprintf("%q is not a whole number within 1 to %d", cut(s), dossier.MaxRows)}
	}
	return n, nil
}

func cut(s string) string { return cutTo(s, 64) }

func cutTo(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

var (
	pageSections = dossier.PageSections()
	allSections  = dossier.AllSections()
	pageBits     = bits(pageSections)
	stixSections = append(slices.Clone(pageSections), dossier.Reasons)
)

func bits(names []dossier.Section) (b uint32) {
	for _, n := range names {
		b |= 1 << slices.Index(allSections, n)
	}
	return b
}

// answer answers a look-up of a hash: from the cache while that stands, counted against the quota when it says something new.
func (a *api) answer(w http.ResponseWriter, r *http.Request, q *ask) {
	match := r.Header.Get("If-None-Match")
	usage, err := a.Gate.Access.Use(q.id.Account, 0)
	if err == nil && usage.Left() == 0 && match == "" {
		err = access.ErrQuota
	}
	if err != nil {
		a.fail(w, r, q, usage, err)
		return
	}
	ans, err := a.find(r.Context(), q)
	if err != nil && !errors.Is(err, intel.ErrUnknown) {
		a.fail(w, r, q, usage, err)
		return
	}
	if ans != nil && match != "" && matches(match, ans.etag) {
		serve.QuotaHeaders(w, usage)
		w.Header().Set("ETag", ans.etag)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	usage, useErr := a.Gate.Access.Use(q.id.Account, 1)
	if useErr != nil {
		a.fail(w, r, q, usage, useErr)
		return
	}
	serve.QuotaHeaders(w, usage)
	h := w.Header()
	if err != nil { // unknown: the most frequent answer of all, so it is written without the table of errors
		h["Content-Type"], h["Cache-Control"] = jsonType, noStore
		body := make([]byte, 0, 256)
		body = append(body, `{"error":{"code":"unknown_hash","message":"nothing is known of `...)
		body = append(body, q.hash.Algorithm().String()...)
		body = append(body, ' ')
		body = append(body, q.hash.String()...)
		body = append(body, "\"}}\n"...)
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.WriteHeader(http.StatusNotFound)
		if r.Method != http.MethodHead {
			w.Write(body)
		}
		return
	}
	h["Content-Type"] = jsonType
	if q.form == stix {
		h["Content-Type"] = stixType
	}
	h.Set("ETag", ans.etag)
	if !ans.license {
		h.Set("Content-Length", strconv.Itoa(len(ans.rest)+1))
		if r.Method != http.MethodHead {
			w.Write(append(append(make([]byte, 0, len(ans.rest)+1), '{'), ans.rest...))
		}
		return
	}
	body := append(make([]byte, 0, len(ans.rest)+160), `{"LicenseInfo":`...)
	license, err := json.Marshal(licenseOf(q, usage))
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	body = append(body, license...)
	if len(ans.rest) > 1 {
		body = append(body, ',')
	}
	body = append(body, ans.rest...)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
	stixType = []string{"application/stix+json;version=2.1"}
)

// fail answers with an error; on /api/v1 a used-up quota is a 403.
func (a *api) fail(w http.ResponseWriter, r *http.Request, q *ask, u access.Usage, err error) {
	if u.Quota > 0 {
		serve.QuotaHeaders(w, u)
	}
	if q.v1 && errors.Is(err, access.ErrQuota) {
		f := serve.FailureOf(err)
		f.Status, f.RetryAfter = http.StatusForbidden, time.Until(u.Reset)
		serve.WriteFailure(w, r, f, err)
		return
	}
	serve.Fail(w, r, err)
}

func licenseOf(q *ask, u access.Usage) *wire.LicenseInfo {
	l := &wire.LicenseInfo{AccessType: "Commercial", DayRequests: u.Used, DayQuota: u.Quota}
	if q.id.Account.Plan == access.Trial {
		l.AccessType = "Trial"
	}
	if q.id.Token != nil {
		layout := wire.Minutes
		if q.v1 {
			layout = wire.Seconds
		}
		d := wire.DateOf(q.id.Token.Expires, layout)
		l.TokenExpirationDate = &d
	}
	return l
}

// matches compares If-None-Match with a tag, weakly, as RFC 9110 has it for this header.
func matches(header, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// find returns the answer from the cache, or builds it.
func (a *api) find(ctx context.Context, q *ask) (*answer, error) {
	if ans := a.cache.get(&q.question); ans != nil {
		return ans, nil
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	view := a.View(q.clearance)
	query := dossier.Query{Sections: q.names, Count: q.count, Publications: q.form == stix}
	if q.sections == pageBits {
		query.Sections = nil
	}
	d, err := dossier.Build(ctx, view, q.hash, query)
	if err != nil {
		return nil, err
	}
	var whole []byte
	switch q.form {
	case stix:
		whole, err = encodeSTIX(d)
	case openTIP:
		report := encoder{wire.Seconds}.report(d)
		if report.FileGeneralInfo != nil {
			report.FileGeneralInfo.FileStatus = fileStatus(d)
		}
		whole, err = encodeJSON(report)
	default:
		whole, err = encodeJSON(encoder{wire.Minutes}.report(d))
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	ans := &answer{rest: whole[1:], license: q.form != stix && slices.Contains(q.names, dossier.LicenseInfo), view: view}
	ans.etag = fmt.Sprintf(`W/"%016x"`, xxhash.Sum64(whole))
	a.cache.put(&q.question, ans)
	return ans, nil
}

// encodeJSON leaves <, > and & in texts as they are: nothing here is put into a page.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := encodeJSON(v)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
