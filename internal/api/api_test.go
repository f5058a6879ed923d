package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/store"
)

// server is the API on a store in memory. Every answer that ask gets is checked against openapi.json.
type server struct {
	*httptest.Server
	store  *store.Store
	access *access.Access
	clock  *clock // that access goes by
	admin  string // token
	paths  []described
}

// patience is how long a test waits for something that must come; one that passes never waits so long.
const patience = time.Minute

// eventually waits until something holds, and reports whether it came to that.
func eventually(ready func() bool) bool {
	for end := time.Now().Add(patience); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// clock stands still but when a test moves it: no token ends and no day of a quota begins in the midst of a test.
type clock struct{ t atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.t.Load()) }
func (c *clock) forward(d time.Duration) { c.t.Add(int64(d)) }

// openAccess opens accounts at noon of tomorrow, so that the end of their day is ahead whenever the test runs.
func openAccess(t *testing.T) (*access.Access, *clock) {
	t.Helper()
	c := &clock{}
	c.t.Store(time.Now().UTC().Truncate(24 * time.Hour).Add(36 * time.Hour).UnixNano())
	a, err := access.Open(t.TempDir(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

// described is one operation of openapi.json: the statuses that it may answer with, and the schema of each body.
type described struct {
	method, template string
	path             *regexp.Regexp
	bodies           map[string]map[string]*jsonschema.Schema // by status, media type; a nil schema is not JSON
}

func newServer(t *testing.T, o store.Options) *server {
	t.Helper()
	return newServerOn(t, mem.New(), o)
}

// unsteady is an engine that fails to apply now and then, before or after it did.
type unsteady struct {
	kv.Store
	mu  sync.Mutex
	rnd *rand.Rand
}

func (u *unsteady) Apply(ctx context.Context, b *kv.Batch) (bool, error) {
	u.mu.Lock()
	fate := u.rnd.IntN(6)
	u.mu.Unlock()
	if fate == 0 {
		return false, errors.New("not now")
	}
	repeated, err := u.Store.Apply(ctx, b)
	if fate == 1 && err == nil {
		err = errors.New("nobody knows")
	}
	return repeated, err
}

func newServerOn(t *testing.T, engine kv.Store, o store.Options) *server {
	t.Helper()
	s, err := store.New(engine, o)
	if err != nil {
		t.Fatal(err)
	}
	gates, clock := openAccess(t)
	mux := http.NewServeMux()
	metrics := prometheus.NewRegistry()
	api.Register(mux, api.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Recorder: s, Ready: s.Ready,
		Gate: &serve.Gate{Access: gates}, Metrics: metrics})
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler), Metrics: metrics}))
	t.Cleanup(func() {
		h.Close()
		gates.Close()
		s.Close()
	})
	v := &server{Server: h, store: s, access: gates, clock: clock, paths: readOpenAPI(t)}
	v.admin = v.token(t, access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	return v
}

func (s *server) token(t *testing.T, n access.NewToken) string {
	t.Helper()
	if n.Lifetime == 0 {
		n.Lifetime = time.Hour
	}
	secret, _, err := s.access.Create(n)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// readOpenAPI compiles the schemas of openapi.json.
func readOpenAPI(t *testing.T) (all []described) {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D", "+", "%2B", ";", "%3B")
	type object = map[string]any
	// follow returns what a pointer's object stands for, and the pointer to that.
	follow := func(at string, v any) (string, object) {
		o := v.(object)
		if r, ok := o["$ref"].(string); ok {
			at = r
			v = doc
			for _, part := range strings.Split(strings.TrimPrefix(r, "#/"), "/") {
				v = v.(object)[part]
			}
			o = v.(object)
		}
		return at, o
	}
	variable := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for template, methods := range doc.(object)["paths"].(object) {
		for method, operation := range methods.(object) {
			d := described{method: strings.ToUpper(method), template: template, bodies: map[string]map[string]*jsonschema.Schema{}}
			d.path = regexp.MustCompile("^" + variable.ReplaceAllString(regexp.QuoteMeta(template), ".*") + "$")
			for status, response := range operation.(object)["responses"].(object) {
				at, r := follow("#/paths/"+escape.Replace(template)+"/"+method+"/responses/"+status, response)
				d.bodies[status] = map[string]*jsonschema.Schema{}
				content, _ := r["content"].(object)
				for media := range content {
					if !strings.Contains(media, "json") {
						d.bodies[status][media] = nil
						continue
					}
					if d.bodies[status][media], err = c.Compile("openapi.json" + at + "/content/" + escape.Replace(media) + "/schema"); err != nil {
						t.Fatal(err)
					}
				}
			}
			all = append(all, d)
		}
	}
	return all
}

// request is one question.
type request struct {
	method, path string // GET when empty
	header       http.Header
	token        string // "" sends the administrator's, "none" none
	account      string // with token: HTTP Basic
	body         io.Reader
	undocumented bool // the path is none of the API's
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request, and checks what comes against openapi.json.
func (s *server) ask(t *testing.T, q request) answer {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), q.method, s.URL+q.path, q.body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	switch {
	case q.token == "none":
	case q.account != "":
		req.SetBasicAuth(q.account, q.token)
	case q.token != "":
		req.Header.Set("Authorization", "Bearer "+q.token)
	case req.Header.Get("Authorization") == "" && req.Header.Get("X-Api-Key") == "":
		req.Header.Set("Authorization", "Bearer "+s.admin)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{res.StatusCode, res.Header, string(b)}
	if err := s.conforms(req, a); err != nil && !q.undocumented {
		t.Errorf("%s %s: %v", q.method, q.path, err)
	}
	return a
}

// conforms checks an answer against openapi.json.
func (s *server) conforms(req *http.Request, a answer) error {
	for _, d := range s.paths {
		if !d.path.MatchString(req.URL.Path) {
			continue
		}
		if d.method != req.Method && a.status != http.StatusMethodNotAllowed && !(d.method == http.MethodGet && req.Method == http.MethodHead) {
			continue
		}
		bodies, ok := d.bodies[fmt.Sprint(a.status)]
		if !ok {
			return fmt.Errorf("openapi.json does not know that %s answers %d: %s", d.template, a.status, a.body)
		}
		if len(bodies) == 0 || req.Method == http.MethodHead {
			if a.body != "" {
				return fmt.Errorf("status %d has a body: %s", a.status, a.body)
			}
			return nil
		}
		media := a.header.Get("Content-Type")
		schema, ok := bodies[media]
		if !ok {
			if _, ok = bodies[strings.SplitN(media, ";", 2)[0]]; !ok {
				return fmt.Errorf("openapi.json does not know that %s answers %s", d.template, media)
			}
		}
		if schema == nil {
			return nil
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
		if err != nil {
			return fmt.Errorf("status %d: %w: %s", a.status, err, a.body)
		}
		if err := schema.Validate(v); err != nil {
			return fmt.Errorf("status %d: %w\n%s", a.status, err, a.body)
		}
		return nil
	}
	return fmt.Errorf("openapi.json does not know it")
}

const (
	knownMD5    = "0123456789abcdef0123456789abcdef"
	knownSHA1   = "0123456789abcdef0123456789abcdef01234567"
	knownSHA256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	otherSHA256 = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	unknownMD5  = "ffffffffffffffffffffffffffffffff"
)

// lines are observations of each kind; the golden cases of the command have more.
func lines() string {
	file := fmt.Sprintf(`"source":{"type":"telemetry","name":"test"},"time":"2026-05-01T08:15:30Z","file":{"md5":%q,"sha1":%q,"sha256":%q}`, knownMD5, knownSHA1, knownSHA256)
	return strings.Join([]string{
		`{` + file + `,"sighting":{"path":"C:\\a\\b.exe","host":"h1"}}`,
		`{` + file + `,"sighting":{"path":"C:\\a\\c.exe","host":"h2"},"count":3}`,
		`{` + file + `,"detection":{"name":"T.A","zone":"red"}}`,
		`{` + file + `,"detection":{"name":"T.B","zone":"orange","method":"m"}}`,
		`{` + file + `,"listing":{"feed":"F","zone":"yellow"}}`,
		`{` + file + `,"access":{"url":"http://evil.example/x","ips":["192.0.2.9"]}}`,
		`{` + file + `,"download":{"url":"http://cdn.example/y"}}`,
		`{"source":{"type":"telemetry","name":"test"},"relation":{"verb":"contains","from":{"sha256":"` + otherSHA256 + `"},"to":{"sha256":"` + knownSHA256 + `"}}}`,
		`{"source":{"type":"telemetry","name":"test"},"file":{"sha256":"` + otherSHA256 + `"},"certificate":{"md5":"` + unknownMD5 + `","trusted":true}}`,
		`{"source":{"type":"telemetry","name":"test"},"file":{"sha256":"` + otherSHA256 + `"},"certificate":{"md5":"` + knownMD5 + `"}}`,
	}, "\n") + "\n"
}

// filled is a server that knows the file.
func filled(t *testing.T) *server {
	t.Helper()
	s := newServer(t, store.Options{})
	a := s.ask(t, request{method: http.MethodPost, path: "/api/observations", body: strings.NewReader(lines())})
	if a.status != http.StatusOK || !strings.Contains(a.body, `"accepted":10`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return s
}

func TestStatuses(t *testing.T) {
	s := filled(t)
	look, send := s.token(t, access.NewToken{Account: "soc"}), s.token(t, access.NewToken{Account: "sensor", Scopes: []access.Scope{access.Ingest}})
	for _, tt := range []struct {
		name   string
		q      request
		status int
		body   string // is in the answer
	}{
		{"an MD5", request{path: "/api/hash/" + knownMD5}, 200, `"Zone":"Red"`},
		{"upper case, with 0x", request{path: "/api/hash/0X" + strings.ToUpper(knownSHA1)}, 200, `"Zone":"Red"`},
		{"blanks around", request{path: "/api/hash/%20" + knownSHA256 + "%09"}, 200, `"Zone":"Red"`},
		{"without the body", request{method: "HEAD", path: "/api/hash/" + knownMD5}, 200, ``},
		{"parameters nobody knows are passed over", request{path: "/api/hash/" + knownMD5 + "?verbose=1"}, 200, `"Zone":"Red"`},
		{"unknown", request{path: "/api/hash/" + unknownMD5}, 404, `"unknown_hash"`},
		{"unknown, without the body", request{method: "HEAD", path: "/api/hash/" + unknownMD5}, 404, ``},
		{"no hash", request{path: "/api/hash/"}, 400, `is not a hash`},
		{"a hash cut short", request{path: "/api/hash/" + knownMD5[1:]}, 400, `31 characters`},
		{"a letter that is no digit", request{path: "/api/hash/g" + knownMD5[1:]}, 400, `no hex digit`},
		{"a path behind it", request{path: "/api/hash/" + knownMD5 + "/x"}, 400, `is not a hash`},
		{"a very long one", request{path: "/api/hash/" + strings.Repeat("a", 8000)}, 400, `8000 characters`},
		{"markup", request{path: "/api/hash/%3Cscript%3E"}, 400, `bad_request`},
		{"NUL", request{path: "/api/hash/%00"}, 400, `bad_request`},
		{"an unknown section", request{path: "/api/hash/" + knownMD5 + "?sections=Zone,zone"}, 400, `there is no section \"zone\"; valid are LicenseInfo, Zone,`},
		{"count 0", request{path: "/api/hash/" + knownMD5 + "?count=0"}, 400, `count: `},
		{"count 1001", request{path: "/api/hash/" + knownMD5 + "?count=1001"}, 400, `within 1 to 1000`},
		{"count -1", request{path: "/api/hash/" + knownMD5 + "?count=-1"}, 400, `count: `},
		{"count x", request{path: "/api/hash/" + knownMD5 + "?count=x"}, 400, `count: `},
		{"count without value", request{path: "/api/hash/" + knownMD5 + "?count="}, 400, `count: `},
		{"count of many digits", request{path: "/api/hash/" + knownMD5 + "?count=99999999999999999999"}, 400, `count: `},
		{"a format that is not there", request{path: "/api/hash/" + knownMD5 + "?format=xml"}, 400, `json or stix`},
		{"a parameter twice", request{path: "/api/hash/" + knownMD5 + "?count=1&count=2"}, 400, `more than once`},
		{"a broken query", request{path: "/api/hash/" + knownMD5 + "?count=%zz"}, 400, `not well formed`},
		{"another method", request{method: "POST", path: "/api/hash/" + knownMD5}, 405, `use GET, HEAD`},
		{"DELETE", request{method: "DELETE", path: "/api/hash/" + knownMD5}, 405, `method_not_allowed`},
		{"no credential", request{path: "/api/hash/" + knownMD5, token: "none"}, 401, `unauthorized`},
		{"a wrong token", request{path: "/api/hash/" + knownMD5, token: "spoor_x"}, 401, `unauthorized`},
		{"a very long token", request{path: "/api/hash/" + knownMD5, token: strings.Repeat("x", 20000)}, 401, `unauthorized`},
		{"a scheme nobody knows", request{path: "/api/hash/" + knownMD5, header: http.Header{"Authorization": {"Digest " + look}}}, 401, `unauthorized`},
		{"Basic that is none", request{path: "/api/hash/" + knownMD5, header: http.Header{"Authorization": {"Basic !!!"}}}, 401, `unauthorized`},
		{"a wrong token goes before a right key", request{path: "/api/hash/" + knownMD5, header: http.Header{"Authorization": {"Bearer x"}, "X-Api-Key": {look}}}, 401, `unauthorized`},
		{"a token as bearer", request{path: "/api/hash/" + knownMD5, header: http.Header{"Authorization": {"bearer " + look}}}, 200, `"Zone":"Red"`},
		{"a token as password", request{path: "/api/hash/" + knownMD5, account: "soc", token: look}, 200, `"Zone":"Red"`},
		{"another's token as password", request{path: "/api/hash/" + knownMD5, account: "admin", token: look}, 401, `unauthorized`},
		{"a token as key", request{path: "/api/hash/" + knownMD5, header: http.Header{"X-Api-Key": {look}}}, 200, `"Zone":"Red"`},
		{"a token that may only send", request{path: "/api/hash/" + knownMD5, token: send}, 403, `scope \"lookup\"`},
		{"a token that may only look up", request{method: "POST", path: "/api/observations", token: look, body: strings.NewReader("{}")}, 403, `scope \"ingest\"`},
		{"sending without a token", request{method: "POST", path: "/api/observations", token: "none", body: strings.NewReader("{}")}, 401, `unauthorized`},
		{"observations by GET", request{path: "/api/observations"}, 405, `use POST`},
		{"a path that is not there", request{path: "/api/nothing", undocumented: true}, 404, `not_found`},
		{"the connection test of clients", request{path: "/api/domain/example.com?sections=Zone,LicenseInfo"}, 200, `"Zone":"Grey"`},
		{"a domain", request{path: "/api/domain/evil.example"}, 200, `"FilesAccessed":[{"Zone":"Red"`},
		{"no domain", request{path: "/api/domain/a%20b"}, 400, `no web address`},
		{"an address as domain", request{path: "/api/domain/192.0.2.1"}, 400, `no domain name`},
		{"a section of another look-up", request{path: "/api/domain/example.com?sections=FilePaths"}, 400, `DomainGeneralInfo`},
		{"an IP address", request{path: "/api/ip/192.0.2.1"}, 200, `"IpGeneralInfo"`},
		{"a domain as address", request{path: "/api/ip/example.com"}, 400, `no IP address`},
		{"a URL", request{path: "/api/url/http%3A%2F%2Fevil.example%2Fx"}, 200, `"FilesAccessed":[{"Zone":"Red"`},
		{"OpenTIP: a hash", request{path: "/api/v1/search/hash?request=" + knownMD5}, 200, `"FileStatus":"Malware"`},
		{"OpenTIP: dates with seconds", request{path: "/api/v1/search/hash?request=" + knownSHA256}, 200, `"FirstSeen":"2026-05-01T08:15:30Z"`},
		{"OpenTIP: unknown", request{path: "/api/v1/search/hash?request=" + unknownMD5}, 404, `unknown_hash`},
		{"OpenTIP: nothing asked", request{path: "/api/v1/search/hash"}, 400, `?request=`},
		{"OpenTIP: no hash", request{path: "/api/v1/search/hash?request=x"}, 400, `is not a hash`},
		{"OpenTIP: a domain", request{path: "/api/v1/search/domain?request=evil.example"}, 200, `"Domain":"evil.example"`},
		{"OpenTIP: an address", request{path: "/api/v1/search/ip?request=192.0.2.9"}, 200, `"Ip":"192.0.2.9"`},
		{"OpenTIP: a URL", request{path: "/api/v1/search/url?request=http://evil.example/x"}, 200, `"Host":"evil.example"`},
		{"OpenTIP: no credential", request{path: "/api/v1/search/url?request=http://evil.example/x", token: "none"}, 401, `unauthorized`},
		{"alive", request{path: "/healthz", token: "none"}, 200, "ok\n"},
		{"ready", request{path: "/readyz", token: "none"}, 200, "ready\n"},
		{"metrics", request{path: "/metrics", token: send}, 200, "spoor_observations_total{outcome=\"accepted\"} 10"},
		{"metrics without a token", request{path: "/metrics", token: "none"}, 401, `unauthorized`},
		{"the description of it all", request{path: "/openapi.json", token: "none"}, 200, `"openapi": "3.1.0"`},
		{"the form of an observation", request{path: "/observation.schema.json", token: "none"}, 200, `"title": "Observation"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.ask(t, tt.q)
			if a.status != tt.status || !strings.Contains(a.body, tt.body) {
				t.Errorf("%d %s\nwant %d with %s", a.status, a.body, tt.status, tt.body)
			}
			if a.status == http.StatusUnauthorized && len(a.header.Values("WWW-Authenticate")) == 0 {
				t.Error("a 401 without WWW-Authenticate")
			}
			if a.status == http.StatusMethodNotAllowed && a.header.Get("Allow") == "" {
				t.Error("a 405 without Allow")
			}
			if strings.Contains(a.body, "spoor_") && !strings.HasPrefix(tt.q.path, "/metrics") {
				t.Errorf("a token in an answer: %s", a.body)
			}
		})
	}
}

// TestEnds: a token that was revoked, or has expired, is refused at once.
func TestEnds(t *testing.T) {
	s := filled(t)
	first := s.token(t, access.NewToken{Account: "soc"})
	second := s.token(t, access.NewToken{Account: "soc", Replace: true})
	short := s.token(t, access.NewToken{Account: "soc", Lifetime: time.Second})
	for _, tt := range []struct {
		token  string
		status int
	}{{first, 401}, {second, 200}, {short, 200}} {
		if a := s.ask(t, request{path: "/api/hash/" + knownMD5, token: tt.token}); a.status != tt.status {
			t.Errorf("%d %s, want %d", a.status, a.body, tt.status)
		}
	}
	s.clock.forward(time.Second)
	if a := s.ask(t, request{path: "/api/hash/" + knownMD5, token: short}); a.status != http.StatusUnauthorized {
		t.Errorf("a token of one second after that: %d %s", a.status, a.body)
	}
}

// TestSections asks for every section alone, and for several in any order: the answer has just these, in the page's order.
func TestSections(t *testing.T) {
	s := filled(t)
	// keys returns the keys of an object in their order.
	keys := func(body string) (out []string) {
		d := json.NewDecoder(strings.NewReader(body))
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, key.(string))
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	for _, name := range dossier.AllSections() {
		a := s.ask(t, request{path: "/api/hash/" + knownSHA256 + "?sections=" + string(name)})
		if diff := cmp.Diff([]string{string(name)}, keys(a.body)); a.status != 200 || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", name, a.status, diff)
		}
	}
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"?sections=FilePaths%2CZone,LicenseInfo", []string{"LicenseInfo", "Zone", "FilePaths"}},
		{"?sections=Zone,Zone,%20Zone", []string{"Zone"}},
		{"?sections=", names(dossier.PageSections())},
		{"", names(dossier.PageSections())},
		{"?count=1&sections=FileNames", []string{"FileNames"}},
	} {
		if diff := cmp.Diff(tt.want, keys(s.ask(t, request{path: "/api/hash/" + knownSHA256 + tt.query}).body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
	if a := s.ask(t, request{path: "/api/hash/" + otherSHA256 + "?sections=DataFeeds"}); a.body != "{}" {
		t.Errorf("a hash in no feed: %s, want DataFeeds left out", a.body)
	}
}

func names(sections []dossier.Section) (out []string) {
	for _, s := range sections {
		out = append(out, string(s))
	}
	return out
}

// TestCount: count caps every section but the two that the contract names.
func TestCount(t *testing.T) {
	s := filled(t)
	var r map[string][]json.RawMessage
	a := s.ask(t, request{path: "/api/hash/" + knownMD5 + "?count=1&sections=FilePaths,FileNames,DetectionsInfo,FileParentCertificates"})
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatal(err)
	}
	for section, want := range map[string]int{"FilePaths": 1, "FileNames": 1, "DetectionsInfo": 2, "FileParentCertificates": 2} {
		if len(r[section]) != want {
			t.Errorf("%d rows in %s, want %d", len(r[section]), section, want)
		}
	}
}

// TestETag: the tag is the version of the facts. An answer that still stands costs nothing; one that changed comes whole.
func TestETag(t *testing.T) {
	s := filled(t)
	quota := uint64(3)
	token := s.token(t, access.NewToken{Account: "soc", Quota: &quota})
	path := "/api/hash/" + knownMD5
	first := s.ask(t, request{path: path, token: token})
	tag := first.header.Get("ETag")
	if first.status != 200 || tag == "" {
		t.Fatalf("%d, ETag %q", first.status, tag)
	}
	match := func(v string) request {
		return request{path: path, token: token, header: http.Header{"If-None-Match": {v}}}
	}
	for _, v := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
		if a := s.ask(t, match(v)); a.status != 304 || a.header.Get("ETag") != tag || a.header.Get("Ratelimit-Remaining") != "2" {
			t.Errorf("If-None-Match %s: %d, ETag %s, %s left", v, a.status, a.header.Get("ETag"), a.header.Get("Ratelimit-Remaining"))
		}
	}
	if second := s.ask(t, request{path: path, token: token}); second.header.Get("ETag") != tag {
		t.Error("the tag changed though nothing did")
	}
	s.ask(t, request{method: "POST", path: "/api/observations", body: strings.NewReader(
		`{"source":{"type":"telemetry","name":"test"},"file":{"sha256":"` + otherSHA256 + `"},"detection":{"name":"New","zone":"red"}}`)})
	third := s.ask(t, match(tag)) // a related file changed, and with it the answer
	if third.status != 200 || third.header.Get("ETag") == tag {
		t.Errorf("after a change: %d, ETag %s", third.status, third.header.Get("ETag"))
	}
	if a := s.ask(t, request{path: path, token: token}); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("past the quota: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	if a := s.ask(t, match(third.header.Get("ETag"))); a.status != 304 {
		t.Errorf("past the quota, unchanged: %d", a.status)
	}
	if a := s.ask(t, request{path: "/api/v1/search/hash?request=" + knownMD5, token: token}); a.status != 403 || !strings.Contains(a.body, "quota_exceeded") || a.header.Get("Retry-After") == "" {
		t.Errorf("past the quota, OpenTIP: %d %s", a.status, a.body)
	}
	if a := s.ask(t, request{path: "/api/domain/example.com", token: token}); a.status != 429 {
		t.Errorf("past the quota, a domain: %d", a.status)
	}
}

// TestQuota: a thousand clients at once, known hashes and unknown, and exactly the quota is answered; refused requests cost nothing.
func TestQuota(t *testing.T) {
	s := filled(t)
	quota := uint64(1500)
	token := s.token(t, access.NewToken{Account: "crowd", Quota: &quota, Plan: access.Trial})
	paths := []string{"/api/hash/" + knownMD5 + "?sections=LicenseInfo,Zone", "/api/hash/" + unknownMD5, "/api/hash/nonsense"}
	statuses := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	for range 1000 {
		wg.Go(func() {
			for _, path := range paths {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Api-Key", token)
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err := s.conforms(req, answer{res.StatusCode, res.Header, string(b)}); err != nil {
					t.Error(err)
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				statuses[res.StatusCode]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	client.CloseIdleConnections()
	if statuses[200]+statuses[404] != 1500 || statuses[429] != 500 || statuses[400] != 1000 {
		t.Errorf("statuses %v, want 1500 answered, 500 past the quota, 1000 refused", statuses)
	}
}

// TestUnavailable: a store that cannot answer is a 503 that says when to come again.
func TestUnavailable(t *testing.T) {
	s := filled(t)
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, q := range []request{{path: "/api/hash/" + otherSHA256}, {path: "/api/domain/evil.example"}, {path: "/readyz"},
		{path: "/api/v1/search/hash?request=" + otherSHA256}, {path: "/api/hash/" + otherSHA256 + "?sections=FilePaths&cursor="},
		{method: "POST", path: "/api/observations", body: strings.NewReader(lines() + "\n")}} {
		if a := s.ask(t, q); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, Retry-After %q", q.path, a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	if a := s.ask(t, request{path: "/healthz"}); a.status != 200 {
		t.Errorf("healthz: %d", a.status)
	}
}

// TestPages goes through a hub's rows by cursor, head and tail.
func TestPages(t *testing.T) {
	s := newServer(t, store.Options{HubRows: 50})
	const children = 700
	for batch := range 7 {
		var b strings.Builder
		for i := range children / 7 {
			fmt.Fprintf(&b, `{"source":{"type":"telemetry","name":"t"},"relation":{"verb":"started","from":{"sha256":%q},"to":{"md5":"%032x"}}}`+"\n", knownSHA256, batch*100+i+1)
		}
		s.ask(t, request{method: "POST", path: "/api/observations", body: strings.NewReader(b.String())})
		if err := s.store.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	pages := 0
	for cursor := ""; ; pages++ {
		a := s.ask(t, request{path: "/api/hash/" + knownSHA256 + "?sections=FileStartedObjects&count=40&cursor=" + cursor})
		var r struct{ FileStartedObjects []struct{ Md5 string } }
		if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, row := range r.FileStartedObjects {
			seen[row.Md5] = true
		}
		if cursor = a.header.Get("Spoor-Next-Cursor"); cursor == "" {
			break
		}
	}
	if len(seen) != children {
		t.Errorf("%d rows on %d pages, want %d", len(seen), pages+1, children)
	}
	for _, query := range []string{"?cursor=", "?sections=Zone,FilePaths&cursor=", "?sections=Zone&cursor=", "?sections=FilePaths&cursor=!", "?sections=FilePaths&cursor=AAAA", "?sections=FilePaths&format=stix&cursor="} {
		if a := s.ask(t, request{path: "/api/hash/" + knownSHA256 + query}); a.status != 400 {
			t.Errorf("%s: %d %s, want 400", query, a.status, a.body)
		}
	}
	if a := s.ask(t, request{path: "/api/hash/" + unknownMD5 + "?sections=FilePaths&cursor="}); a.status != 404 {
		t.Errorf("unknown: %d", a.status)
	}
}

// TestSTIX: equal questions get equal bundles, whatever hash asks, and count and sections are passed over.
func TestSTIX(t *testing.T) {
	s := filled(t)
	first := s.ask(t, request{path: "/api/hash/" + knownMD5 + "?format=stix"})
	second := s.ask(t, request{path: "/api/hash/" + knownSHA256 + "?format=stix&count=1&sections=Zone"})
	if diff := cmp.Diff(strings.Split(first.body, ","), strings.Split(second.body, ",")); diff != "" {
		t.Error(diff)
	}
	// Every reference leads to an object of the bundle.
	var bundle struct {
		Objects []map[string]any `json:"objects"`
	}
	if err := json.Unmarshal([]byte(first.body), &bundle); err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	for _, o := range bundle.Objects {
		if ids[o["id"]] {
			t.Errorf("%s stands twice", o["id"])
		}
		ids[o["id"]] = true
	}
	for _, o := range bundle.Objects {
		for k, v := range o {
			if strings.HasSuffix(k, "_ref") && !ids[v] {
				t.Errorf("%s: %s leads nowhere", o["id"], k)
			}
		}
	}
}
