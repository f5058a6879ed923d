package web_test

import (
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/demo"
	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/internal/web"
)

// now is when the tests take place: the staged incident began three hours before.
var now = time.Date(2026, 5, 20, 15, 4, 5, 0, time.UTC)

// server is the pages on a store in memory that holds the staged incident.
type server struct {
	*httptest.Server
	store  *store.Store
	access *access.Access
	token  string
}

func newServer(t *testing.T, o store.Options, g serve.Gate) *server {
	t.Helper()
	clock := func() time.Time { return now }
	o.Now = clock
	s, err := store.New(mem.New(), o)
	if err != nil {
		t.Fatal(err)
	}
	if g.Access, err = access.Open(t.TempDir(), clock); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	web.Register(mux, web.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Gate: &g, FindHashes: source.FindHashes})
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() {
		h.Close()
		g.Access.Close()
		s.Close()
	})
	v := &server{Server: h, store: s, access: g.Access}
	v.token = v.newToken(t, access.NewToken{Account: "soc"})
	parts, err := demo.Parts(now)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if p.Options.Format == "" {
			p.Options.Format = source.Auto
		}
		im := ingest.Importer{Recorder: s, Options: p.Options}
		if sum, err := im.Import(t.Context(), []string{"-"}, p.Content); err != nil || sum.Refused > 0 {
			t.Fatalf("%s: %v %v", p.Name, err, sum)
		}
	}
	return v
}

func (s *server) newToken(t *testing.T, n access.NewToken) string {
	t.Helper()
	n.Lifetime = time.Hour
	secret, _, err := s.access.Create(n)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// record keeps observations of one telemetry source.
func (s *server) record(t *testing.T, observations ...intel.Observation) {
	t.Helper()
	for i := range observations {
		o := &observations[i]
		o.Source = intel.Source{Type: intel.Telemetry, Name: "test"}
		if o.Time.IsZero() {
			o.Time = now.Add(-time.Hour)
		}
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.store.Record(t.Context(), fmt.Append(nil, t.Name(), len(observations)), observations); err != nil {
		t.Fatal(err)
	}
}

// answer is what a page said.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request and follows no redirect. headers are name and value in turn.
func (s *server) do(t *testing.T, method, path, form string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// get asks with the server's token.
func (s *server) get(t *testing.T, path string) answer {
	t.Helper()
	return s.do(t, http.MethodGet, path, "", "Authorization", "Bearer "+s.token)
}

// session signs in by the form and returns the cookie.
func (s *server) session(t *testing.T) *http.Cookie {
	t.Helper()
	a := s.do(t, http.MethodPost, "/sign-in", "token="+s.token)
	cookies := (&http.Response{Header: a.header}).Cookies()
	if a.status != http.StatusSeeOther || len(cookies) != 1 {
		t.Fatalf("signing in: %d %v %s", a.status, a.header, a.body)
	}
	return cookies[0]
}

var (
	loader  = demo.Hashes("loader")
	unknown = strings.Repeat("0", 31) + "1"
)

// TestStatuses asks for every kind of page, signed in.
func TestStatuses(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	page := "/hash/" + loader.SHA256.String()
	for _, tt := range []struct {
		path, h1, says string
		status         int
	}{
		{"/", "What is known of this file?", "<textarea", 200},
		{page, loader.SHA256.String(), "Trojan-Downloader.Win64.Harbour.a", 200},
		{"/hash/" + loader.MD5.String(), loader.MD5.String(), "score 90 of 100", 200},
		{"/hash/" + unknown, unknown, "Unknown", 404},
		{"/hash/abc", "That cannot be looked up", "SHA-256", 400},
		{"/hash/%3Cscript%3E", "That cannot be looked up", "&lt;script&gt;", 400},
		{"/hash/", "That cannot be looked up", "", 400},
		{page + "/FileStartedObjects", "File started the following objects", "That is the last page.", 200},
		{page + "/FileGeneralInfo", "No such page", "", 404},
		{page + "/Nonsense", "No such page", "", 404},
		{page + "/FileStartedObjects?after=%21", "That cannot be looked up", "After: it is not one that a page gave.", 400},
		{page + "/FileStartedObjects?after=AAAA", "", "", 400},
		{"/hash/" + unknown + "/FileStartedObjects", "Nothing is known", "", 404},
		{"/search?q=" + loader.MD5.String() + "+" + unknown, "Found in the text", loader.MD5.String(), 200},
		{"/search?q=hello+world", "That cannot be looked up", "There is no hash in that text", 400},
		{"/search?q=hello", "That cannot be looked up", "hello", 400},
		{"/sign-in", "Sign in", `type="password"`, 200},
		{"/none", "No such page", "/none", 404},
	} {
		a := s.get(t, tt.path)
		h1 := regexp.MustCompile(`(?s)<h1[^>]*>(?:<bdi[^>]*>)?(.*?)(?:</bdi>)?</h1>`).FindStringSubmatch(a.body)
		if a.status != tt.status || h1 == nil || tt.h1 != "" && h1[1] != tt.h1 || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d, heading %q, want %d, %q and %q in it", tt.path, a.status, h1, tt.status, tt.h1, tt.says)
		}
		for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q", tt.path, name, got)
			}
		}
		if strings.Contains(a.header.Get("Cache-Control"), "public") {
			t.Errorf("%s: others may keep the page: %q", tt.path, a.header.Get("Cache-Control"))
		}
		head := s.do(t, http.MethodHead, tt.path, "", "Authorization", "Bearer "+s.token)
		if head.status != tt.status || head.body != "" || head.header.Get("Content-Type") != a.header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %q", tt.path, head.status, head.body)
		}
	}
}

// TestRedirects: other spellings lead to the one page of a hash, and a search for one hash leads there too.
func TestRedirects(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	page := "/hash/" + loader.SHA256.String()
	for _, tt := range []struct {
		path, to string
		status   int
	}{
		{"/hash/" + strings.ToUpper(loader.SHA256.String()), page, 301},
		{"/hash/0x" + loader.SHA256.String(), page, 301},
		{"/hash/%20" + loader.SHA256.String(), page, 301},
		{"/search?q=" + strings.ToUpper(loader.SHA256.String()), page, 303},
		{"/search?q=" + url.QueryEscape("file "+loader.SHA256.String()+" was seen; "+loader.SHA256.String()), page, 303},
		{"/search?q=", "/", 303},
		{"/search", "/", 303},
	} {
		a := s.get(t, tt.path)
		if a.status != tt.status || a.header.Get("Location") != tt.to {
			t.Errorf("%s: %d to %q, want %d to %q", tt.path, a.status, a.header.Get("Location"), tt.status, tt.to)
		}
	}
	a := s.do(t, http.MethodPost, "/search", "q="+loader.SHA256.String(), "Authorization", "Bearer "+s.token)
	if a.status != 303 || a.header.Get("Location") != page {
		t.Errorf("by form: %d to %q", a.status, a.header.Get("Location"))
	}
}

// TestSigningIn: every page leads there and back, and to no other server.
func TestSigningIn(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	page := "/hash/" + loader.SHA256.String()
	for path, to := range map[string]string{
		"/":                                    "/sign-in",
		page:                                   "/sign-in?next=" + url.QueryEscape(page),
		page + "/FileStartedObjects?after=x&y": "/sign-in?next=" + url.QueryEscape(page+"/FileStartedObjects?after=x&y"),
		"/search?q=a":                          "/sign-in?next=" + url.QueryEscape("/search?q=a"),
		"/hash/abc":                            "/sign-in?next=" + url.QueryEscape("/hash/abc"),
	} {
		if a := s.do(t, http.MethodGet, path, ""); a.status != 303 || a.header.Get("Location") != to {
			t.Errorf("%s: %d to %q, want %q", path, a.status, a.header.Get("Location"), to)
		}
	}
	for next, want := range map[string]string{
		page:                       page,
		"/search?q=a%20b":          "/search?q=a%20b",
		"":                         "/",
		"https://evil.example/":    "/",
		"//evil.example/":          "/",
		"///evil.example/":         "/",
		`/\evil.example/`:          "/",
		`\\evil.example/`:          "/",
		"/\t/evil.example/":        "/",
		"/\n/evil.example/":        "/",
		"javascript:alert(1)":      "/",
		"evil.example":             "/",
		"/a\r\nSet-Cookie: x=y":    "/",
		" //evil.example":          "/",
		"/.//evil.example/":        "/evil.example/",
		"/x/..//evil.example/path": "/evil.example/path",
	} {
		a := s.do(t, http.MethodPost, "/sign-in", url.Values{"token": {" " + s.token + "\n"}, "next": {next}}.Encode())
		if a.status != 303 || a.header.Get("Location") != want {
			t.Errorf("next %q: %d to %q, want %q", next, a.status, a.header.Get("Location"), want)
		}
		a = s.do(t, http.MethodGet, "/sign-in?"+url.Values{"next": {next}}.Encode(), "")
		if strings.Contains(a.body, "evil.example") && !strings.HasPrefix(want, "/evil") && next != "/.//evil.example/" {
			t.Errorf("next %q stands in the form", next)
		}
	}
	for _, token := range []string{"", "no-such-token", "spoor_" + strings.Repeat("A", 43), "<script>"} {
		a := s.do(t, http.MethodPost, "/sign-in", url.Values{"token": {token}, "next": {page}}.Encode())
		if a.status != 401 || a.header.Get("Set-Cookie") != "" || !strings.Contains(a.body, "No account has this token") || !strings.Contains(a.body, page) {
			t.Errorf("token %q: %d %v", token, a.status, a.header)
		}
		if token != "" && strings.Contains(a.body, token+`"`) {
			t.Errorf("the page repeats the token %q", token)
		}
	}
	// A token that may not look up signs nobody in.
	sender := s.newToken(t, access.NewToken{Account: "sender", Scopes: []access.Scope{access.Ingest}})
	if a := s.do(t, http.MethodPost, "/sign-in", "token="+sender); a.status != 403 || a.header.Get("Set-Cookie") != "" {
		t.Errorf("a token for sending: %d %v", a.status, a.header)
	}
	if a := s.do(t, http.MethodPost, "/sign-in", "token="+strings.Repeat("a", 1<<20)); a.status != 401 {
		t.Errorf("a token of a megabyte: %d", a.status)
	}
	// A wrong credential of a program is refused, not sent to a form.
	if a := s.do(t, http.MethodGet, page, "", "Authorization", "Bearer wrong"); a.status != 401 {
		t.Errorf("a wrong token: %d", a.status)
	}
}

// TestSession: the cookie's flags, what it opens, and its end.
func TestSession(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	c := s.session(t)
	if c.Name != serve.SessionCookie || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure || c.MaxAge != 12*60*60 {
		t.Errorf("the cookie: %+v", c)
	}
	if strings.Contains(c.Value, s.token) {
		t.Error("the cookie holds the token")
	}
	cookie := c.Name + "=" + c.Value
	page := "/hash/" + loader.SHA256.String()
	for _, path := range []string{"/", page, page + "/FileStartedObjects"} {
		if a := s.do(t, http.MethodGet, path, "", "Cookie", cookie); a.status != 200 || !strings.Contains(a.body, "soc") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do(t, http.MethodPost, "/search", "q="+loader.MD5.String()+"+"+unknown, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); a.status != 200 {
		t.Errorf("a form from here: %d", a.status)
	}
	if a := s.do(t, http.MethodPost, "/search", "q=nothing", "Cookie", cookie); a.status != 400 || !strings.Contains(a.body, "Sign out") {
		t.Errorf("a form with nothing in it: %d %s", a.status, a.body)
	}
	for _, bad := range []string{c.Value + "0", strings.Replace(c.Value, ".", ".9", 1), "x", ""} {
		if a := s.do(t, http.MethodGet, page, "", "Cookie", c.Name+"="+bad); a.status != 303 {
			t.Errorf("the cookie %q: %d", bad, a.status)
		}
	}
	a := s.do(t, http.MethodPost, "/sign-out", "", "Cookie", cookie)
	gone := (&http.Response{Header: a.header}).Cookies()
	if a.status != 303 || a.header.Get("Location") != "/sign-in" || len(gone) != 1 || gone[0].MaxAge >= 0 || gone[0].Value != "" {
		t.Errorf("signing out: %d %v", a.status, a.header)
	}

	// A revoked token ends its sessions; over TLS the cookie stays on TLS.
	if a := s.do(t, http.MethodGet, page, "", "Cookie", cookie); a.status != 200 {
		t.Fatalf("before the end: %d", a.status)
	}
	_, tokens, err := s.access.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if err := s.access.Revoke(token.ID); err != nil {
			t.Fatal(err)
		}
	}
	if a := s.do(t, http.MethodGet, page, "", "Cookie", cookie); a.status != 303 {
		t.Errorf("after the token was revoked: %d", a.status)
	}
}

// TestSecureCookie: over TLS the cookie never travels in the clear.
func TestSecureCookie(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	tls := httptest.NewTLSServer(s.Config.Handler)
	defer tls.Close()
	client := tls.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.PostForm(tls.URL+"/sign-in", url.Values{"token": {s.token}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if c := res.Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("%d %v", res.StatusCode, c)
	}
}

// TestOtherSites: what another site makes a browser send is refused, by the page's own words.
func TestOtherSites(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	c := s.session(t)
	cookie := c.Name + "=" + c.Value
	for path, form := range map[string]string{"/sign-in": "token=" + s.token, "/search": "q=" + loader.MD5.String(), "/sign-out": ""} {
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			a := s.do(t, http.MethodPost, path, form, "Cookie", cookie, header[0], header[1])
			if a.status != 403 || a.header.Get("Set-Cookie") != "" || a.header.Get("Location") != "" || !strings.Contains(a.body, "another site sent this form") {
				t.Errorf("%s with %v: %d %v", path, header, a.status, a.header)
			}
		}
		if a := s.do(t, http.MethodPost, path, form, "Cookie", cookie, "Sec-Fetch-Site", "same-origin", "Origin", s.URL); a.status != 303 {
			t.Errorf("%s from here: %d", path, a.status)
		}
	}
}

// TestMethods: what a page is not for is 405 and says what it is for.
func TestMethods(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/", "GET, HEAD"},
		{"POST", "/hash/" + unknown, "GET, HEAD"},
		{"DELETE", "/hash/" + unknown, "GET, HEAD"},
		{"POST", "/hash/" + unknown + "/FilePaths", "GET, HEAD"},
		{"PUT", "/search", "GET, HEAD, POST"},
		{"DELETE", "/sign-in", "GET, HEAD, POST"},
		{"GET", "/sign-out", "POST"},
		{"POST", "/static/style.css", "GET, HEAD"},
	} {
		a := s.do(t, tt.method, tt.path, "", "Authorization", "Bearer "+s.token)
		if a.status != 405 || a.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, want %q", tt.method, tt.path, a.status, a.header.Get("Allow"), tt.allow)
		}
	}
}

// TestQuota: look-ups count, known or not; when the quota is used up, the page says so and until when.
func TestQuota(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	four := uint64(4)
	s.token = s.newToken(t, access.NewToken{Account: "few", Quota: &four})
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/", 200}, {"/hash/abc", 400}, // free
		{"/hash/" + loader.MD5.String(), 200}, {"/hash/" + unknown, 404}, {"/search?q=" + loader.MD5.String() + "+" + unknown, 200},
		{"/hash/" + loader.MD5.String(), 429}, {"/hash/" + loader.MD5.String() + "/FilePaths", 429}, {"/search?q=" + loader.MD5.String() + "+" + unknown, 429},
		{"/", 200},
	} {
		a := s.get(t, tt.path)
		if a.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.path, a.status, tt.status)
		}
		if a.status == 429 && (!strings.Contains(a.body, "Quota used up") || !strings.Contains(a.body, "midnight UTC") || a.header.Get("Retry-After") == "") {
			t.Errorf("%s: %v\n%s", tt.path, a.header, a.body)
		}
	}
}

// TestOpenLookups: where anybody may look up, no page asks to sign in.
func TestOpenLookups(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{OpenLookups: true})
	for path, status := range map[string]int{"/": 200, "/hash/" + loader.MD5.String(): 200, "/hash/" + unknown: 404} {
		if a := s.do(t, http.MethodGet, path, ""); a.status != status {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do(t, http.MethodPost, "/search", "q="+loader.MD5.String()); a.status != 303 {
		t.Errorf("a search: %d", a.status)
	}
}

// TestClearance: a page shows no more than its reader may see.
func TestClearance(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	secret := intel.Observation{Source: intel.Source{Type: intel.Telemetry, Name: "closed", Marking: intel.TLPRed}, Time: now, File: loader, Fact: intel.Sighting{Path: `C:\closed\secret.exe`}}
	if err := secret.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Record(t.Context(), []byte("secret"), []intel.Observation{secret}); err != nil {
		t.Fatal(err)
	}
	path := "/hash/" + loader.MD5.String()
	if a := s.get(t, path); !strings.Contains(a.body, "secret.exe") {
		t.Error("who may see everything does not")
	}
	green := intel.TLPGreen
	s.token = s.newToken(t, access.NewToken{Account: "guest", Clearance: &green})
	for _, p := range []string{path, path + "/FilePaths", "/search?q=" + loader.MD5.String() + "+" + unknown} {
		if a := s.get(t, p); a.status != 200 || strings.Contains(a.body, "secret.exe") {
			t.Errorf("%s: %d, and a guest sees what is closed", p, a.status)
		}
	}
}

// TestLongSearch: of a text with very many hashes the first five hundred are answered, and the page says how many are left; what is
// larger than a text should be is refused.
func TestLongSearch(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	var text strings.Builder
	for i := range 512 {
		text.WriteString(strings.Repeat(fmt.Sprintf("%032x\n", i+1), 2))
	}
	a := s.do(t, http.MethodPost, "/search", url.Values{"q": {text.String()}}.Encode(), "Authorization", "Bearer "+s.token)
	if a.status != 200 || strings.Count(a.body, "<tr>") != 501 || !strings.Contains(a.body, "12 more hashes were not looked up") {
		t.Errorf("%d, %d rows", a.status, strings.Count(a.body, "<tr>"))
	}
	a = s.do(t, http.MethodPost, "/search", "q="+strings.Repeat("a", 5<<20), "Authorization", "Bearer "+s.token)
	if a.status != 400 && a.status != 413 || !strings.Contains(a.body, "at most 4 MB") {
		t.Errorf("five megabytes: %d", a.status)
	}
}

// TestStatic: the style, the script and the mark need no signing in.
// TestSimilar: a fuzzy hash in the search box leads to the files that have one near it, and so do those of a file's page.
func TestSimilar(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	tlsh := "T138B45552E449EFD03705DE2E8C051365C0A4A5A6507D580C932E991264091FD2302F08"
	far := tlsh[:71] + "9" // a step away
	near := demo.Hashes("near")
	s.record(t, intel.Observation{File: near, Fact: intel.FuzzyHash{Algorithm: intel.TLSH, Value: tlsh}},
		intel.Observation{File: near, Fact: intel.FuzzyHash{Algorithm: intel.SSDeep, Value: "96:ab+d:e/f"}})
	auth := "Bearer " + s.token
	a := s.do(t, http.MethodGet, "/search?q=+"+strings.ToLower(far), "", "Authorization", auth)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/similar?tlsh="+strings.ToLower(far) {
		t.Fatalf("%d %v", a.status, a.header)
	}
	page := a.header.Get("Location")
	a = s.do(t, http.MethodGet, page, "", "Authorization", auth)
	if a.status != 200 || !strings.Contains(a.body, "/hash/"+near.MD5.String()) || !strings.Contains(a.body, "tlsh distance 1") || !strings.Contains(a.body, "distance at most 30") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = s.do(t, http.MethodGet, page+"&distance=0", "", "Authorization", auth); a.status != 200 || !strings.Contains(a.body, "No file that resembles it is known") {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = s.do(t, http.MethodGet, "/hash/"+near.MD5.String(), "", "Authorization", auth)
	for _, want := range []string{"/similar?tlsh=" + tlsh, "/similar?ssdeep=96%3Aab%2Bd%3Ae%2Ff"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the file's page lacks %s", want)
		}
	}
	for _, path := range []string{"/similar", "/similar?tlsh=x", "/similar?tlsh=" + tlsh + "&distance=101", "/similar?tlsh=" + tlsh + "&imphash=aa"} {
		if a := s.do(t, http.MethodGet, path, "", "Authorization", auth); a.status != 400 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do(t, http.MethodGet, page, ""); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		t.Errorf("without a session: %d %v", a.status, a.header)
	}
}

func TestStatic(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	for path, kind := range map[string]string{"/static/style.css": "text/css; charset=utf-8", "/static/page.js": "text/javascript; charset=utf-8", "/static/mark.svg": "image/svg+xml"} {
		a := s.do(t, http.MethodGet, path, "")
		if a.status != 200 || a.header.Get("Content-Type") != kind || a.body == "" {
			t.Errorf("%s: %d %q", path, a.status, a.header.Get("Content-Type"))
		}
		if again := s.do(t, http.MethodGet, path, "", "If-None-Match", a.header.Get("ETag")); again.status != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.status)
		}
	}
	for _, path := range []string{"/static/", "/static/layout.html", "/static/../web.go"} {
		if a := s.do(t, http.MethodGet, path, ""); a.status == 200 {
			t.Errorf("%s is given out", path)
		}
	}
}

// TestPublication: the page of a publication, with its files, and the way to it from a file's page.
func TestPublication(t *testing.T) {
	s := newServer(t, store.Options{}, serve.Gate{})
	id := `https://r.example/1/?a=b&c#d <x>`
	p := intel.Publication{ID: id, Type: intel.Industrial, Title: `Harbour <script>`, URL: "https://r.example/1", Description: "One & two.\n\nThree.\r\n", Tags: []string{"ports", "<b>"},
		Published: now.Add(-48 * time.Hour)}
	s.record(t,
		intel.Observation{File: loader, Fact: p},
		intel.Observation{File: demo.Hashes("hostile"), Fact: intel.Publication{ID: id, Type: intel.Industrial, Title: p.Title}},
		intel.Observation{File: demo.Hashes("hostile"), Fact: intel.Publication{ID: "odd", Type: intel.OSINT, Title: "\u202Eodd", URL: "javascript:alert(1)"}},
	)
	link := "/publication/" + url.PathEscape(id)
	if a := s.get(t, "/hash/"+loader.MD5.String()); a.status != 200 || !strings.Contains(html.UnescapeString(a.body), `<a href="`+link+`"><bdi>Harbour <script></bdi></a>`) {
		t.Errorf("a file's page does not lead to %s: %d", link, a.status)
	}
	a := s.get(t, link)
	for _, says := range []string{`<h1><bdi>Harbour &lt;script&gt;</bdi></h1>`, "Industrial", `<p><bdi>One &amp; two.</bdi></p>`, `<p><bdi>Three.</bdi></p>`, "ports, &lt;b&gt;", "2026-05-18 15:04",
		`<a href="https://r.example/1" rel="noreferrer noopener">`, `href="/hash/` + loader.MD5.String(), `class="zone red"`, "Trojan-Downloader.Win64.Harbour.a"} {
		if a.status != 200 || !strings.Contains(a.body, says) {
			t.Errorf("%d, and there is no %s: %s", a.status, says, a.body)
		}
	}
	if strings.Index(a.body, loader.MD5.String()) > strings.Index(a.body, demo.Hashes("hostile").MD5.String()) {
		t.Error("the red file does not come first")
	}
	if a := s.get(t, "/publication/odd"); a.status != 200 || strings.Contains(a.body, `href="javascript`) || !strings.Contains(html.UnescapeString(a.body), "<bdi>[U+202E]odd</bdi>") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for path, status := range map[string]int{"/publication/none": 404, "/publication/": 404, "/publication": 404, "/publication/a/b": 404} {
		if a := s.get(t, path); a.status != status || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do(t, http.MethodGet, "/publication/odd", ""); a.status != 303 {
		t.Errorf("without a credential: %d", a.status)
	}
	quota := uint64(1)
	few := s.newToken(t, access.NewToken{Account: "few", Quota: &quota})
	for _, status := range []int{404, 429} {
		if a := s.do(t, http.MethodGet, "/publication/none", "", "Authorization", "Bearer "+few); a.status != status {
			t.Errorf("%d, want %d", a.status, status)
		}
	}
}
