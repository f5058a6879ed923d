package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// house is a runner on a real store in memory, with a clock that only its own waiting moves.
type house struct {
	t      *testing.T
	store  *store.Store
	runner *Runner
	dir    string
	file   string
	log    bytes.Buffer

	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newHouse(t *testing.T, config string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	h.file = filepath.Join(h.dir, "feeds.yaml")
	h.configure(config)
	var err error
	if h.store, err = store.New(mem.New(), store.Options{Now: h.clock}); err != nil {
		t.Fatal(err)
	}
	h.open()
	t.Cleanup(func() {
		h.runner.Close()
		if err := h.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// open makes a runner, as a new process does.
func (h *house) open() {
	h.t.Helper()
	if h.runner != nil {
		h.runner.Close()
	}
	var err error
	h.runner, err = New(Options{File: h.file, Dir: filepath.Join(h.dir, "state"), Store: h.store, View: func() View { return h.store.View(intel.TLPRed) },
		Logger: slog.New(slog.NewTextHandler(&h.log, nil)), Now: h.clock, Sleep: h.sleep})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) configure(config string) {
	h.t.Helper()
	if err := os.WriteFile(h.file, []byte(config), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) sleep(ctx context.Context, d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
	h.slept = append(h.slept, d)
	return ctx.Err()
}

func (h *house) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
	h.slept = nil
}

// status is how one feed stands.
func (h *house) status(name string) Status {
	h.t.Helper()
	all, _ := h.runner.Status()
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	h.t.Fatalf("there is no feed %q", name)
	return Status{}
}

// run fetches a feed and returns how it stands.
func (h *house) run(name string) Status {
	h.t.Helper()
	if err := h.runner.Do(h.t.Context(), name, false); err != nil {
		h.t.Fatal(err)
	}
	return h.status(name)
}

// want runs a feed and checks its state.
func (h *house) want(name, state string, entries uint64) Status {
	h.t.Helper()
	s := h.run(name)
	if s.State != state || s.Entries != entries {
		h.t.Fatalf("%s with %d entries, want %s with %d; error %q, held %+v", s.State, s.Entries, state, entries, s.Error, s.Held)
	}
	return s
}

// record keeps observations.
func (h *house) record(lines ...string) {
	h.t.Helper()
	im := ingest.Importer{Recorder: h.store}
	if sum, err := im.Import(h.t.Context(), []string{"-"}, strings.NewReader(strings.Join(lines, "\n")+"\n")); err != nil || sum.Accepted != uint64(len(lines)) {
		h.t.Fatalf("%+v %v", sum, err)
	}
}

// listed is the feeds that name a file, with the days of first and last, and the zone.
func (h *house) listed(hash string) string {
	h.t.Helper()
	x, err := intel.ParseHash(hash)
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := dossier.Build(h.t.Context(), h.store.View(intel.TLPRed), x, dossier.Query{})
	if err != nil {
		if !errors.Is(err, intel.ErrUnknown) {
			h.t.Fatal(err)
		}
		return "unknown"
	}
	out := []string{d.Verdict.Zone.String()}
	for _, f := range d.Feeds {
		out = append(out, fmt.Sprintf("%s %s–%s", f.Feed, f.First.Format("2"), f.Last.Format("2")))
	}
	return strings.Join(out, "; ")
}

func md5Of(n int) string { return fmt.Sprintf("%032x", n+0xabcdef00) }

// hashes is a list of so many hashes, from a number on.
func hashes(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, md5Of(from+i))
	}
	return b.String()
}

// site serves what answer says, and counts.
func site(t *testing.T, answer http.HandlerFunc) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func urlFeed(address, more string) string {
	return "feeds:\n  - name: list\n    url: " + address + "\n    every: 1h\n" + more
}

// TestSnapshots: what a list no longer names is no longer live, an unchanged list is asked for with its ETag, and one that comes again the next day
// moves the last moment.
func TestSnapshots(t *testing.T) {
	content, etag, conditional := hashes(0, 4), "", ""
	address, asked := site(t, func(w http.ResponseWriter, r *http.Request) {
		conditional = r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since")
		if etag != "" && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if etag != "" {
			w.Header().Set("ETag", etag)
			w.Header().Set("Last-Modified", "Fri, 01 May 2026 00:00:00 GMT")
		}
		io.WriteString(w, content)
	})
	h := newHouse(t, urlFeed(address, ""))
	h.want("list", OK, 4)
	if got := h.listed(md5Of(0)); got != "red; list 1–1" {
		t.Fatal(got)
	}
	day := 24 * time.Hour
	h.later(day + time.Hour)
	h.want("list", OK, 4)
	if got := h.listed(md5Of(0)); got != "red; list 1–2" || conditional != "" {
		t.Fatalf("unchanged, the next day: %s, %q", got, conditional)
	}
	h.later(day)
	content, etag = hashes(1, 4), `"two"`
	h.want("list", OK, 4)
	if gone, stays := h.listed(md5Of(0)), h.listed(md5Of(1)); gone != "gray" || stays != "red; list 1–3" {
		t.Fatalf("gone: %s; stays: %s", gone, stays)
	}
	h.later(day)
	h.open() // what it knows, it knows from the disk
	if s := h.want("list", OK, 4); conditional != `"two"Fri, 01 May 2026 00:00:00 GMT` || !s.Success.Equal(h.clock()) {
		t.Fatalf("%q, %v", conditional, s.Success)
	}
	if got := h.listed(md5Of(1)); got != "red; list 1–3" {
		t.Fatalf("not modified: %s", got)
	}
	h.later(day)
	content, etag = hashes(0, 4), `"three"`
	h.want("list", OK, 4)
	if back := h.listed(md5Of(0)); back != "red; list 1–5" {
		t.Fatalf("back: %s", back)
	}
	if asked.Load() != 5 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// TestZoneChanged: a feed whose configuration says something else is read anew, whatever its ETag.
func TestZoneChanged(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, hashes(0, 3))
	})
	h := newHouse(t, urlFeed(address, ""))
	h.want("list", OK, 3)
	h.later(time.Hour)
	h.configure(urlFeed(address, "    zone: orange\n"))
	h.want("list", OK, 3)
	if got := h.listed(md5Of(0)); got != "orange; list 1–1" {
		t.Error(got)
	}
}

// TestRetries: what may pass is tried again with waits that double, or as the server says; what cannot is not.
func TestRetries(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(n int32, w http.ResponseWriter)
		asked  int32
		slept  []time.Duration
		err    string
	}{
		{"503 twice", func(n int32, w http.ResponseWriter) {
			if n < 3 {
				w.WriteHeader(503)
			}
		}, 3, []time.Duration{2 * time.Second, 4 * time.Second}, ""},
		{"429 that says when", func(n int32, w http.ResponseWriter) {
			if n < 2 {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(429)
			}
		}, 2, []time.Duration{7 * time.Second}, ""},
		{"429 for an hour", func(_ int32, w http.ResponseWriter) { w.Header().Set("Retry-After", "3600"); w.WriteHeader(429) }, 1, nil, "answers 429"},
		{"503 always", func(_ int32, w http.ResponseWriter) { w.WriteHeader(503) }, 4, []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}, "answers 503"},
		{"404", func(_ int32, w http.ResponseWriter) { w.WriteHeader(404) }, 1, nil, "answers 404"},
		{"broken off once", func(n int32, w http.ResponseWriter) {
			if n < 2 {
				w.Header().Set("Content-Length", "100000")
				io.WriteString(w, md5Of(900)+"\n")
			}
		}, 2, []time.Duration{2 * time.Second}, ""},
		{"no list", func(_ int32, w http.ResponseWriter) { io.WriteString(w, "<html>sign in</html>") }, 1, nil, "lists nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			address, asked := site(t, func(w http.ResponseWriter, _ *http.Request) {
				rec := &wrote{ResponseWriter: w}
				if tt.answer(n.Add(1), rec); !rec.done {
					io.WriteString(w, hashes(0, 2))
				}
			})
			h := newHouse(t, urlFeed(address, ""))
			s := h.run("list")
			if asked.Load() != tt.asked || !slices.Equal(h.slept, tt.slept) {
				t.Errorf("asked %d times, waited %v", asked.Load(), h.slept)
			}
			if tt.err == "" && (s.State != OK || s.Entries != 2) || tt.err != "" && !strings.Contains(s.Error, tt.err) {
				t.Errorf("%+v", s)
			}
			if got := h.listed(md5Of(900)); got != "unknown" {
				t.Errorf("what was broken off was recorded: %s", got)
			}
		})
	}
}

// wrote notices whether anything was answered.
type wrote struct {
	http.ResponseWriter
	done bool
}

func (w *wrote) WriteHeader(status int) { w.done = true; w.ResponseWriter.WriteHeader(status) }
func (w *wrote) Write(b []byte) (int, error) {
	w.done = true
	return w.ResponseWriter.Write(b)
}

// TestBackOff: a feed that fails is tried again soon, then less and less often, never less than its interval.
func TestBackOff(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	h := newHouse(t, urlFeed(address, ""))
	var waits []time.Duration
	for range 8 {
		s := h.run("list")
		waits = append(waits, s.Next.Sub(s.Attempt).Truncate(time.Minute))
	}
	m := time.Minute
	if diff := cmp.Diff([]time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 32 * m}, waits[:6]); diff != "" || waits[6] < 60*m || waits[6] > 66*m || waits[7] != waits[6] {
		t.Errorf("%v", waits)
	}
	if s := h.status("list"); s.Failures != 8 || s.State != Failing {
		t.Errorf("%+v", s)
	}
}

// TestLimits: neither a large nor a slow answer gets through, announced or not, packed or not.
func TestLimits(t *testing.T) {
	stop := make(chan struct{})
	address, asked := site(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announced":
			w.Header().Set("Content-Length", "1000000")
		case "/slow":
			io.WriteString(w, md5Of(1)+"\n")
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-stop:
			}
			return
		}
		for range 1000 {
			if _, err := io.WriteString(w, hashes(0, 30)); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { close(stop) })
	for _, tt := range []struct{ path, timeout, want string }{
		{"/announced", "1h", "larger than max-size"}, {"/endless", "1h", "larger than max-size"}, {"/slow", "1s", "it took longer than 1s"},
	} {
		path := tt.path
		h := newHouse(t, urlFeed(address+path, "    max-size: 100KB\n    timeout: "+tt.timeout+"\n"))
		before := asked.Load()
		// On a very slow machine the second may be over before the server sees the request.
		s := h.run("list")
		if n := asked.Load() - before; !strings.Contains(s.Error, tt.want) || n > 1 || n == 0 && path != "/slow" || len(h.slept) > 0 {
			t.Errorf("%s: %q, asked %d times, waited %v", path, s.Error, n, h.slept)
		}
		if got := h.listed(md5Of(1)); got != "unknown" {
			t.Errorf("%s: %s", path, got)
		}
		if left, _ := filepath.Glob(filepath.Join(h.dir, "state", ".*")); len(left) > 0 {
			t.Errorf("%s leaves %v", path, left)
		}
	}
}

// TestRedirects: to another host only when it is listed, never to an address that is not public, and never with the secret.
func TestRedirects(t *testing.T) {
	other, reached := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hashes(0, 2)) })
	var target string
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/again" {
			io.WriteString(w, hashes(0, 2))
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	})
	for _, tt := range []struct{ to, hosts, err string }{
		{"/again", "", ""},
		{other + "/x", "", "not public"},
		{other + "/x", "127.0.0.1", "not public"},
		{strings.Replace(other, "127.0.0.1", "localhost", 1), "localhost", "not public"},
		{"http://169.254.169.254/latest/meta-data", "169.254.169.254", "not public"},
		{"http://10.0.0.1/", "10.0.0.1", "not public"},
		{"http://[::1]/", "", "not public"},
		{"http://[::ffff:10.0.0.1]/", "", "not public"},
		{"http://evil.example/", "", "not listed in hosts"},
		{"file:///etc/passwd", "", "refused"},
	} {
		target = tt.to
		config := urlFeed(address, "")
		if tt.hosts != "" {
			config = urlFeed(address, "    hosts: ["+tt.hosts+"]\n")
		}
		h := newHouse(t, config)
		if s := h.run("list"); tt.err == "" && s.State != OK || tt.err != "" && !strings.Contains(s.Error, tt.err) {
			t.Errorf("%s: %s %q", tt.to, s.State, s.Error)
		}
		if len(h.slept) > 0 {
			t.Errorf("%s: tried again", tt.to)
		}
	}
	if reached.Load() > 0 {
		t.Error("the other server was reached")
	}
}

// TestDial: a public name that resolves to an address inside is not connected to, listed redirects neither; the configuration may allow it for its own host.
func TestDial(t *testing.T) {
	parse := func(more string) *Feed {
		t.Helper()
		c, err := ParseConfig("f", []byte(urlFeed("http://localhost.example:80/", more)))
		if err != nil {
			t.Fatal(err)
		}
		return &c.Feeds[0]
	}
	for _, address := range []string{"127.0.0.1:9", "10.0.0.1:9", "169.254.169.254:80", "[::1]:9", "[::ffff:127.0.0.1]:9", "[fe80::1]:9", "100.64.0.1:9", "0.0.0.0:9", "[64:ff9b::a00:1]:9"} {
		c, err := parse("").dial(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: %v", address, err)
		}
	}
	listening := httptest.NewServer(http.NotFoundHandler())
	defer listening.Close()
	host := listening.Listener.Addr().String()
	own, err := ParseConfig("f", []byte(urlFeed("http://"+host, "")))
	if err != nil {
		t.Fatal(err)
	}
	c, err := own.Feeds[0].dial(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestGuardShrinks: a list that shrinks by more than half waits for a person, who lets that very content in.
func TestGuardShrinks(t *testing.T) {
	content := hashes(0, 10)
	address, asked := site(t, func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf(`"%x"`, len(content))
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, content)
	})
	h := newHouse(t, urlFeed(address, ""))
	h.want("list", OK, 10)
	h.later(time.Hour)
	content = hashes(0, 5)
	h.want("list", OK, 5) // half is not more than half
	h.later(time.Hour)
	content = strings.Repeat(hashes(0, 2), 20) // the same ones again and again are two
	s := h.want("list", HeldUp, 5)
	if len(s.Held.Reasons) != 1 || !strings.Contains(s.Held.Reasons[0], "shrinks by more than half: 2 entries, 5 before") {
		t.Errorf("%q", s.Held.Reasons)
	}
	if got := h.listed(md5Of(4)); got != "red; list 1–1" {
		t.Errorf("while it is held: %s", got)
	}
	h.later(time.Hour)
	h.open()
	h.want("list", HeldUp, 5) // not modified, still held
	before := asked.Load()
	content = hashes(50, 1) // what the server says meanwhile does not matter
	if err := h.runner.Do(t.Context(), "list", true); err != nil {
		t.Fatal(err)
	}
	if s := h.status("list"); s.State != OK || s.Entries != 2 || asked.Load() != before {
		t.Errorf("%+v, asked %d times", s, asked.Load()-before)
	}
	if in, out, other := h.listed(md5Of(1)), h.listed(md5Of(4)), h.listed(md5Of(50)); in != "red; list 1–1" || out != "gray" || other != "unknown" {
		t.Errorf("in: %s; out: %s; other: %s", in, out, other)
	}
	if err := h.runner.Do(t.Context(), "list", true); err != errNotHeld {
		t.Errorf("accepted twice: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "state", "*.held")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestGuardPoison: a list that calls known-good or common files bad waits; once let in, those files no longer hold it, others do. A list that mends itself
// goes in by itself, and a list of good files is none to guard against.
func TestGuardPoison(t *testing.T) {
	content := hashes(0, 4)
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, content) })
	h := newHouse(t, "guard: {hosts: 3}\n"+urlFeed(address, "")+"  - name: good\n    zone: green\n    url: "+address+"\n")
	h.record(`{"source":{"type":"feed","name":"distribution"},"time":"2026-01-01T00:00:00Z","file":{"md5":"`+md5Of(1)+`"},"listing":{"feed":"distribution","zone":"green"}}`,
		`{"source":{"type":"analyst","name":"ann"},"time":"2026-01-01T00:00:00Z","file":{"md5":"`+md5Of(7)+`"},"verdict":{"zone":"green","analyst":"ann"}}`)
	for i := range 3 {
		h.record(fmt.Sprintf(`{"source":{"type":"telemetry","name":"edr"},"time":"2026-01-01T00:00:00Z","file":{"md5":"%s"},"sighting":{"path":"/bin/x","host":"h%d"}}`, md5Of(2), i))
	}
	s := h.want("list", HeldUp, 0)
	if diff := cmp.Diff([]string{md5Of(1), md5Of(2)}, s.Held.Files); diff != "" {
		t.Error(diff)
	}
	why := strings.Join(s.Held.Reasons, " ")
	for _, want := range []string{"1 known good, 1 common in the fleet (on 3 hosts or more)", md5Of(1) + " (known good by distribution)", md5Of(2) + " (on 3 hosts)"} {
		if !strings.Contains(why, want) {
			t.Errorf("%q does not say %q", why, want)
		}
	}
	if a, b := h.listed(md5Of(1)), h.listed(md5Of(0)); a != "green; distribution 1–1" || b != "unknown" {
		t.Errorf("while held: %s, %s", a, b)
	}
	if err := h.runner.Do(t.Context(), "list", true); err != nil {
		t.Fatal(err)
	}
	if got := h.listed(md5Of(1)); !strings.HasPrefix(got, "red; ") || h.status("list").State != OK {
		t.Errorf("let in: %s %+v", got, h.status("list"))
	}
	h.later(time.Hour)
	content = hashes(0, 5)
	h.want("list", OK, 5) // the same trusted files again
	h.later(time.Hour)
	content = hashes(0, 8)
	if s := h.want("list", HeldUp, 5); !slices.Equal(s.Held.Files, []string{md5Of(7)}) {
		t.Errorf("%v", s.Held.Files)
	}
	h.later(time.Hour)
	content = hashes(0, 7)
	h.want("list", OK, 7) // it mended itself
	h.want("good", OK, 7)
}

// TestFailingBlocksNoOther: of feeds that are due at once, one that hangs and one that fails keep nobody waiting; a new process does not run what is not due.
func TestFailingBlocksNoOther(t *testing.T) {
	hang := make(chan struct{})
	address, asked := site(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		case "/fails":
			w.WriteHeader(404)
		default:
			io.WriteString(w, hashes(0, 2))
		}
	})
	var b strings.Builder
	b.WriteString("feeds:\n")
	for _, name := range []string{"hangs", "fails", "good"} {
		fmt.Fprintf(&b, "  - {name: %s, url: '%s/%s', every: 2h}\n", name, address, name)
	}
	h := newHouse(t, b.String())
	h.runner.tick(t.Context())
	await(t, func() bool { return h.status("good").State == OK && h.status("fails").State == Failing })
	if s := h.status("hangs"); s.State != Running {
		t.Errorf("%+v", s)
	}
	if err := h.runner.Start("hangs"); err != errBusy {
		t.Errorf("started twice: %v", err)
	}
	close(hang)
	await(t, func() bool { return h.status("hangs").State != Running })
	h.open()
	before := asked.Load()
	h.runner.tick(t.Context())
	h.runner.wg.Wait()
	if asked.Load() != before {
		t.Error("what is not due ran")
	}
	h.later(3 * time.Hour)
	h.runner.tick(t.Context())
	h.runner.wg.Wait()
	if asked.Load() != before+3 {
		t.Errorf("%d of 3 ran when due", asked.Load()-before)
	}
}

func await(t *testing.T, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happened")
		}
	}
}

// TestReload: a change of the configuration is taken up, a wrong one leaves the one before in force and says so, a missing one is none.
func TestReload(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hashes(0, 2)) })
	h := newHouse(t, urlFeed(address, ""))
	h.want("list", OK, 2)
	h.configure(urlFeed(address, "") + "  - {name: more, url: '" + address + "'}\n")
	h.runner.tick(t.Context())
	h.runner.wg.Wait()
	if s := h.status("more"); s.State != OK {
		t.Errorf("%+v", s)
	}
	h.configure(urlFeed(address, "    zone: purple # no such colour\n"))
	all, wrong := h.runner.Status()
	if len(all) != 2 || !strings.Contains(wrong, "feeds.yaml: line 5: zone: \"purple\"") || !strings.Contains(h.log.String(), "purple") {
		t.Errorf("%d feeds, %q", len(all), wrong)
	}
	if err := os.Remove(h.file); err != nil {
		t.Fatal(err)
	}
	if all, wrong := h.runner.Status(); len(all) != 2 || all[0].State != Removed || all[1].State != Removed || wrong != "" {
		t.Errorf("%v, %q", all, wrong)
	}
	h.configure(urlFeed(address, ""))
	if s := h.status("list"); s.State != OK || s.Entries != 2 {
		t.Errorf("back: %+v", s)
	}
}

// TestSecrets: a secret goes to its own host, and nowhere else: not into the state, the log or a status.
func TestSecrets(t *testing.T) {
	const secret = "s3cr3t-of-the-feed"
	t.Setenv("FEED_SECRET", secret)
	var got http.Header
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		switch r.URL.Path {
		case "/leads":
			http.Redirect(w, r, "http://"+secret+".example/?q="+secret, http.StatusFound)
		case "/fails":
			w.WriteHeader(403)
		default:
			io.WriteString(w, hashes(0, 2))
		}
	})
	for _, tt := range []struct{ path, credential, header, want string }{
		{"/", "env: FEED_SECRET", "Authorization", "Bearer " + secret},
		{"/", "scheme: basic\n      user: ann\n      env: FEED_SECRET", "Authorization", "Basic YW5uOnMzY3IzdC1vZi10aGUtZmVlZA=="},
		{"/", "scheme: header\n      header: Auth-Key\n      env: FEED_SECRET", "Auth-Key", secret},
		{"/leads?key=" + secret, "env: FEED_SECRET", "Authorization", "Bearer " + secret},
		{"/fails?key=" + secret, "env: FEED_SECRET", "Authorization", "Bearer " + secret},
	} {
		h := newHouse(t, urlFeed(address+tt.path, "    credential:\n      "+tt.credential+"\n"))
		s := h.run("list")
		if got.Get(tt.header) != tt.want {
			t.Errorf("%s: %s: %q", tt.path, tt.header, got.Get(tt.header))
		}
		kept, err := os.ReadFile(filepath.Join(h.dir, "state", "list.json"))
		if err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"state": string(kept), "log": h.log.String(), "status": fmt.Sprintf("%+v", s)} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the secret is in the %s: %s", tt.path, where, text)
			}
		}
	}
	h := newHouse(t, urlFeed(address, "    credential: {env: NO_SUCH_VARIABLE}\n"))
	if s := h.run("list"); !strings.Contains(s.Error, "the environment has no NO_SUCH_VARIABLE") {
		t.Errorf("%q", s.Error)
	}
}

// TestPath: a file, and a folder of files, of this machine. Observations speak in the feed's name, and none speaks for an analyst.
func TestPath(t *testing.T) {
	h := newHouse(t, "feeds:\n  - {name: folder, path: lists}\n  - {name: own, path: own.ndjson, format: observations, marking: amber}\n")
	if err := os.Mkdir(filepath.Join(h.dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("lists/a.txt", hashes(0, 2))
	put("lists/b.txt", hashes(2, 2))
	h.want("folder", OK, 4)
	file := `"file":{"md5":"` + md5Of(9) + `"}`
	put("own.ndjson", `{"source":{"type":"analyst","name":"x"},`+file+`,"verdict":{"zone":"green"}}`+"\n"+
		`{"source":{"type":"telemetry","name":"x"},"time":"2099-01-01T00:00:00Z",`+file+`,"listing":{"feed":"elsewhere","zone":"yellow","threat":"T"}}`+"\n")
	h.want("own", OK, 1)
	if got := h.listed(md5Of(9)); got != "yellow; own 1–1" {
		t.Error(got)
	}
	x, _ := intel.ParseHash(md5Of(9))
	if _, err := h.store.View(intel.TLPGreen).Recall(t.Context(), x, 0); err == nil {
		t.Error("the marking is lost")
	}
	h.later(time.Hour)
	if err := os.Remove(filepath.Join(h.dir, "lists", "b.txt")); err != nil {
		t.Fatal(err)
	}
	h.want("folder", OK, 2)
	if a, b := h.listed(md5Of(0)), h.listed(md5Of(2)); a != "red; folder 1–1" || b != "gray" {
		t.Errorf("%s, %s", a, b)
	}
	put("lists/a.txt", hashes(0, 0)+"\n")
	h.want("folder", HeldUp, 2)
	put("lists/a.txt", hashes(0, 1)+"\n")
	if err := h.runner.Do(t.Context(), "folder", true); err != nil {
		t.Fatal(err)
	}
	if s := h.status("folder"); !strings.Contains(s.Error, "changed since it was held") {
		t.Errorf("%+v", s)
	}
	h.want("folder", OK, 1)
}

// TestNotWhole: content that cannot be read to its end adds, but takes nothing away.
func TestNotWhole(t *testing.T) {
	h := newHouse(t, "feeds:\n  - {name: folder, path: lists}\n")
	if err := os.Mkdir(filepath.Join(h.dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a.txt": hashes(0, 2), "b.txt": hashes(2, 2)} {
		if err := os.WriteFile(filepath.Join(h.dir, "lists", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.want("folder", OK, 4)
	h.later(time.Hour)
	if err := os.WriteFile(filepath.Join(h.dir, "lists", "b.txt"), []byte("\x1f\x8b\x08\x00broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := h.want("folder", Failing, 4); !strings.Contains(s.Error, "not all of it can be read") {
		t.Errorf("%+v", s)
	}
	if got := h.listed(md5Of(3)); got != "red; folder 1–1" {
		t.Error(got)
	}
}

// TestWeightAndDecay: a listing counts as its feed's weight says, and less the longer it is not renewed; that is the same wherever the answer is made.
func TestWeightAndDecay(t *testing.T) {
	content := hashes(0, 4)
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) {
		if content == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, content)
	})
	h := newHouse(t, urlFeed(address, "    weight: 90\n    decay: 10d\n"))
	day := 24 * time.Hour
	verdict := func(zone string, score int) {
		t.Helper()
		x, err := intel.ParseHash(md5Of(0))
		if err != nil {
			t.Fatal(err)
		}
		d, err := dossier.Build(t.Context(), h.store.View(intel.TLPRed), x, dossier.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Verdict.Zone.String() != zone || d.Verdict.Score != score {
			t.Errorf("%s %d, want %s %d: %q", d.Verdict.Zone, d.Verdict.Score, zone, score, d.Verdict.Reasons)
		}
	}
	h.want("list", OK, 4)
	verdict("red", 79) // 25 + 60 × 0.9
	h.later(5 * day)
	content = hashes(0, 5)
	h.want("list", OK, 5)
	verdict("red", 79) // it was renewed
	content = ""
	h.later(10*day + 2*time.Hour)
	h.runner.agree(t.Context()) // as each look at the clock does
	h.runner.agree(t.Context())
	verdict("orange", 53) // of 90, after nine whole days of ten: 48
	h.later(20 * day)
	h.runner.agree(t.Context())
	verdict("yellow", 32)
	h.configure(urlFeed(address, "    weight: 0\n"))
	h.runner.reload()
	h.runner.agree(t.Context())
	verdict("gray", 25)
	h.configure(urlFeed(address, ""))
	h.runner.reload()
	h.runner.agree(t.Context())
	verdict("red", 85)
}

// TestRemoved: what a feed listed that is taken out of the configuration no longer counts, until it is configured again; a configuration that cannot be
// read takes nothing out.
func TestRemoved(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hashes(0, 4)) })
	both := urlFeed(address, "") + "  - name: other\n    marking: amber\n    url: " + address + "\n"
	h := newHouse(t, both)
	h.want("list", OK, 4)
	h.want("other", OK, 4)
	tick := func(want string) {
		t.Helper()
		h.runner.reload()
		h.runner.agree(t.Context())
		if got := h.listed(md5Of(0)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	tick("red; list 1–1; other 1–1")
	h.later(time.Minute)
	h.configure(urlFeed(address, ""))
	tick("red; list 1–1")
	h.open() // it is known from the disk, too
	tick("red; list 1–1")
	if s := h.status("other"); s.State != Removed || s.Marking != intel.TLPAmber || s.Kind != URL || s.Place != address || s.Zone != intel.Red || !s.Next.IsZero() {
		t.Errorf("%+v", s)
	}
	if err := h.runner.Start("other"); !errors.Is(err, intel.ErrInvalid) {
		t.Errorf("it runs: %v", err)
	}
	h.configure("feeds: nonsense")
	h.open()
	tick("red; list 1–1")
	h.configure(both)
	h.later(time.Minute)
	tick("red; list 1–1; other 1–1")
	if s := h.status("other"); s.State != OK {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(h.file); err != nil {
		t.Fatal(err)
	}
	tick("gray")
}

// TestGuardShare: in a large fleet a file is common when a share of it has the file.
func TestGuardShare(t *testing.T) {
	for _, test := range []struct {
		guard Guard
		fleet uint64
		want  uint64
	}{{Guard{50, 5, 0}, 0, 50}, {Guard{50, 5, 0}, 1000, 50}, {Guard{50, 5, 0}, 1001, 51}, {Guard{50, 5, 0}, 100_000, 5000}, {Guard{50, 0, 0}, 100_000, 50}} {
		if got := test.guard.common(test.fleet); got != test.want {
			t.Errorf("%+v of %d hosts: %d, want %d", test.guard, test.fleet, got, test.want)
		}
	}
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hashes(0, 1)) })
	h := newHouse(t, "guard: {hosts: 2, share: 50%}\n"+urlFeed(address, ""))
	for i := range 6 {
		file := md5Of(100)
		if i < 2 {
			file = md5Of(0)
		}
		h.record(fmt.Sprintf(`{"source":{"type":"telemetry","name":"edr"},"time":"2026-01-01T00:00:00Z","file":{"md5":"%s"},"sighting":{"path":"/bin/x","host":"h%d"}}`, file, i))
	}
	h.want("list", OK, 1) // 2 of 6 hosts
	h.configure("guard: {hosts: 2, share: 30}\n" + urlFeed(address, "    zone: orange\n"))
	if s := h.want("list", HeldUp, 1); !strings.Contains(strings.Join(s.Held.Reasons, " "), "on 2 hosts or more") {
		t.Errorf("%v", s.Held.Reasons)
	}
}
