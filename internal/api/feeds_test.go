package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/feed"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/store"
	"spoor/wire"
)

// feedServer is the API of feeds on a real runner and store, with two lists: one is well, one shrinks when it is put.
func feedServer(t *testing.T) (s *server, put func(list string, n int)) {
	t.Helper()
	dir := t.TempDir()
	put = func(list string, n int) {
		t.Helper()
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%032x\n", i+1)
		}
		if err := os.WriteFile(filepath.Join(dir, list), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("good.txt", 3)
	put("odd.txt", 10)
	file := filepath.Join(dir, "feeds.yaml")
	if err := os.WriteFile(file, []byte("feeds:\n  - {name: good one, path: good.txt}\n  - {name: odd, path: odd.txt, marking: red}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gates, clock := openAccess(t)
	runner, err := feed.New(feed.Options{File: file, Dir: filepath.Join(dir, "state"), Store: kept, View: func() feed.View { return kept.View(intel.TLPRed) }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	api.RegisterFeeds(mux, &serve.Gate{Access: gates}, runner)
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() {
		h.Close()
		runner.Close()
		gates.Close()
		kept.Close()
	})
	s = &server{Server: h, store: kept, access: gates, clock: clock, paths: readOpenAPI(t)}
	s.admin = s.token(t, access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	return s, put
}

// settled asks for the feeds until none runs.
func (s *server) settled(t *testing.T) map[string]wire.Feed {
	t.Helper()
	var out map[string]wire.Feed
	ended := eventually(func() bool {
		a := s.ask(t, request{path: "/api/feeds"})
		var f wire.Feeds
		if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		running := false
		out = map[string]wire.Feed{}
		for _, x := range f.Feeds {
			out[x.Name] = x
			running = running || x.State == feed.Running
		}
		return !running
	})
	if !ended {
		t.Fatal("a feed never ends")
	}
	return out
}

// TestFeeds: administrators see the feeds, run them, and let in what is held; nobody else does. Every answer is as openapi.json has it.
func TestFeeds(t *testing.T) {
	s, put := feedServer(t)
	for _, f := range s.settled(t) {
		if f.State != "waiting" {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"good%20one", "odd"} {
		if a := s.ask(t, request{method: "POST", path: "/api/feeds/" + name + "/run"}); a.status != 200 || !strings.Contains(a.body, `"state":"running"`) && !strings.Contains(a.body, `"state":"ok"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if f := s.settled(t); f["good one"].State != "ok" || f["good one"].Entries != 3 || f["odd"].Marking != "red" {
		t.Errorf("%+v", f)
	}
	if a := s.ask(t, request{method: "POST", path: "/api/feeds/odd/accept"}); a.status != 400 || !strings.Contains(a.body, "nothing of this feed is held") {
		t.Errorf("%d %s", a.status, a.body)
	}
	put("odd.txt", 1)
	s.ask(t, request{method: "POST", path: "/api/feeds/odd/run"})
	if f := s.settled(t)["odd"]; f.State != "held" || f.Held == nil || len(f.Held.Reasons) != 1 || f.Entries != 10 || f.Held.Entries != 1 {
		t.Errorf("%+v", f)
	}
	if a := s.ask(t, request{method: "POST", path: "/api/feeds/odd/accept"}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if f := s.settled(t)["odd"]; f.State != "ok" || f.Held != nil || f.Entries != 1 {
		t.Errorf("%+v", f)
	}
	lookup := s.token(t, access.NewToken{Account: "soc"})
	for _, tt := range []struct {
		q      request
		status int
	}{
		{request{path: "/api/feeds", token: lookup}, 403},
		{request{path: "/api/feeds", token: "none"}, 401},
		{request{method: "POST", path: "/api/feeds/odd/run", token: lookup}, 403},
		{request{method: "POST", path: "/api/feeds/odd/accept", token: "none"}, 401},
		{request{path: "/api/feeds/odd/run"}, 405},
		{request{method: "POST", path: "/api/feeds"}, 405},
		{request{method: "POST", path: "/api/feeds/none/run"}, 404},
		{request{method: "POST", path: "/api/feeds/odd/burn", undocumented: true}, 404},
	} {
		if a := s.ask(t, tt.q); a.status != tt.status {
			t.Errorf("%s %s: %d %s, want %d", tt.q.method, tt.q.path, a.status, a.body, tt.status)
		}
	}
}
