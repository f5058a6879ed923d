package web_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/feed"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/web"
)

// shown are feeds as a runner tells of them, every state once; it notes what is accepted.
type shown struct {
	mu       sync.Mutex
	accepted []string
}

func (s *shown) Status() ([]feed.Status, string) {
	at := time.Date(2026, 5, 20, 15, 0, 0, 0, time.UTC)
	return []feed.Status{
		{Name: "well", Kind: feed.URL, Place: "https://h.example/list", State: feed.OK, Entries: 12345, Success: at, Next: at.Add(time.Hour)},
		{Name: "broken", Kind: feed.URL, Place: "https://b.example/", State: feed.Failing, Error: "the server answers 404 <b>Not Found</b>"},
		{Name: "secret one", Kind: feed.Path, Place: "/secret", Marking: intel.TLPRed, State: feed.OK},
		{Name: "odd", Kind: feed.URL, Place: "https://o.example/", State: feed.HeldUp, Entries: 100, Success: at,
			Held: &feed.Held{At: at, Entries: 7, Reasons: []string{"it shrinks by more than half: 7 entries, 100 before"}, Files: []string{"0123456789abcdef0123456789abcdef"}}},
		{Name: "new", Kind: feed.URL, Place: "https://n.example/", State: feed.Waiting},
		{Name: "busy", Kind: feed.URL, Place: "https://n.example/", State: feed.Running},
		{Name: "gone", Kind: feed.URL, Place: "https://g.example/", State: feed.Removed, Entries: 3},
		{Name: strings.Repeat("n", 63), Kind: feed.Path, Place: "/" + strings.Repeat("p", 300), State: feed.Failing, Error: "<script>window.pwned = 1</script>" + strings.Repeat("e", 300)},
	}, "feeds.yaml: line 5: zone: \"purple\" is none"
}

func (s *shown) Accept(name string) error {
	if name != "odd" {
		return &intel.Refusal{Field: "feed", Reason: "nothing of this feed is held"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, name)
	return nil
}

func feedPages(t *testing.T) (*server, *shown) {
	t.Helper()
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	feeds := &shown{}
	mux := http.NewServeMux()
	c := web.Config{Gate: &serve.Gate{Access: gates}}
	web.Register(mux, c)
	web.RegisterFeeds(mux, c, feeds)
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() {
		h.Close()
		if err := gates.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return &server{Server: h, access: gates}, feeds
}

// TestFeedsPage: the page tells how each feed stands that the account may see; administrators get the button, and the fault of the configuration.
func TestFeedsPage(t *testing.T) {
	s, _ := feedPages(t)
	green := intel.TLPGreen
	admin := s.newToken(t, access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	reader := s.newToken(t, access.NewToken{Account: "soc", Clearance: &green})
	all := s.do(t, http.MethodGet, "/feeds", "", "Authorization", "Bearer "+admin)
	some := s.do(t, http.MethodGet, "/feeds", "", "Authorization", "Bearer "+reader)
	if all.status != 200 || some.status != 200 {
		t.Fatalf("%d, %d", all.status, some.status)
	}
	for _, want := range []string{"12\u202f345", "https://h.example/list", "2026-05-20 15:00", "404 &lt;b&gt;Not Found", "it shrinks by more than half", `href="/hash/0123456789abcdef0123456789abcdef"`} {
		for who, a := range map[string]answer{"administrator": all, "reader": some} {
			if !strings.Contains(a.body, want) {
				t.Errorf("the %s's page does not say %q", who, want)
			}
		}
	}
	for _, own := range []string{"Accept it as it is", "secret one", "purple"} {
		if !strings.Contains(all.body, own) || strings.Contains(some.body, own) {
			t.Errorf("%q is for administrators", own)
		}
	}
	if a := s.do(t, http.MethodGet, "/feeds", ""); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		t.Errorf("without credential: %d", a.status)
	}
	if a := s.do(t, http.MethodDelete, "/feeds", "", "Authorization", "Bearer "+admin); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}

// TestFeedsAccept: an administrator's session lets in what is held, from this server's own page; no other account, site or method does.
func TestFeedsAccept(t *testing.T) {
	s, feeds := feedPages(t)
	session := func(n access.NewToken) string {
		a := s.do(t, http.MethodPost, "/sign-in", "token="+s.newToken(t, n), "Sec-Fetch-Site", "same-origin")
		cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
		return cookie
	}
	admin := session(access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	reader := session(access.NewToken{Account: "soc"})
	for _, tt := range []struct {
		name, form, cookie, site string
		status                   int
	}{
		{"another site", "feed=odd", admin, "cross-site", 403},
		{"a reader", "feed=odd", reader, "same-origin", 403},
		{"nobody", "feed=odd", "", "same-origin", 401},
		{"an unknown feed", "feed=none", admin, "same-origin", 400},
		{"one that is not held", "feed=well", admin, "same-origin", 400},
	} {
		if a := s.do(t, http.MethodPost, "/feeds/accept", tt.form, "Cookie", tt.cookie, "Sec-Fetch-Site", tt.site); a.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, a.status, tt.status)
		}
	}
	if len(feeds.accepted) > 0 {
		t.Fatalf("%v", feeds.accepted)
	}
	a := s.do(t, http.MethodPost, "/feeds/accept", "feed=odd", "Cookie", admin, "Sec-Fetch-Site", "same-origin")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/feeds" || len(feeds.accepted) != 1 {
		t.Errorf("%d %v", a.status, feeds.accepted)
	}
}

// TestBrowserFeeds looks at the page of feeds in Chromium: on a phone, in the dark, by the keyboard alone, and without JavaScript.
func TestBrowserFeeds(t *testing.T) {
	browser := startBrowser(t)
	s, feeds := feedPages(t)
	s.token = s.newToken(t, access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	b := openTab(t, browser, s)
	b.signIn(t)
	b.open(t, "/feeds")
	states := evaluate[[][]string](t, b, `[...document.querySelectorAll("tbody tr")].map(r => [r.cells[0].innerText, r.cells[1].innerText, r.cells[4].innerText])`)
	next := time.Date(2026, 5, 20, 16, 0, 0, 0, time.UTC)
	want := [][]string{{"well", "ok", evaluate[string](t, b, `document.querySelector("tbody tr td:nth-child(5)").innerText`)}, {"broken", "failing", "now"}, {"secret one", "ok", "now"}, {"odd", "held", "now"},
		{"new", "waiting", "now"}, {"busy", "running", ""}, {"gone", "removed", ""}, {strings.Repeat("n", 63), "failing", "now"}}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	if got := evaluate[string](t, b, `document.querySelector("tbody tr td:nth-child(5) time").dateTime`); got != next.Format(time.RFC3339) {
		t.Errorf("the next run: %q", got)
	}
	if got := evaluate[string](t, b, `document.querySelector("[role=alert]").innerText + document.querySelector(".held").innerText + ("pwned" in window)`); !strings.Contains(got, "purple") ||
		!strings.Contains(got, "it shrinks by more than half") || !strings.HasSuffix(got, "false") {
		t.Errorf("%q", got)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(t, scheme)
		b.open(t, "/feeds")
		evaluate[any](t, b, `document.querySelector(".held details").open = true`)
		b.legible(t, scheme)
	}
	for _, width := range []int64{320, 375, 768, 1280} {
		b.screen(t, width)
		b.open(t, "/feeds")
		if got := evaluate[int64](t, b, `document.scrollingElement.scrollWidth`); got > width {
			t.Errorf("it is %d wide on a screen of %d", got, width)
		}
	}
	b.screen(t, 375)
	if bad := evaluate[[]string](t, b, `[...document.querySelectorAll("td")].filter(c => c.offsetWidth && (c.getBoundingClientRect().right > 375 || !getComputedStyle(c, "::before").content.includes(c.dataset.label))).map(c => c.textContent)`); len(bad) > 0 {
		t.Errorf("on a phone, cells out of place: %q", bad)
	}
	b.screen(t, 1280)
	b.open(t, "/feeds")
	b.tabThrough(t, "feeds")
	if bad := evaluate[[]string](t, b, structure); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
	// What is held is unfolded, and let in, by the keyboard, also without JavaScript.
	accepted := func() int {
		feeds.mu.Lock()
		defer feeds.mu.Unlock()
		return len(feeds.accepted)
	}
	for i, script := range []bool{true, false} {
		if !script {
			b.withoutScript(t)
		}
		b.open(t, "/feeds")
		evaluate[any](t, b, `document.querySelector(".held summary").focus()`)
		b.keys(t, kb.Enter)
		if !evaluate[bool](t, b, `document.querySelector(".held details").open`) {
			t.Error("the files do not unfold")
		}
		b.keys(t, kb.Tab+kb.Tab) // the file, then the button
		if got := evaluate[string](t, b, `document.activeElement.textContent`); got != "Accept it as it is" {
			t.Fatalf("the focus is at %q", got)
		}
		b.keys(t, kb.Enter)
		for end := time.Now().Add(patience); accepted() == i && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		if accepted() != i+1 {
			t.Fatalf("accepted %v", feeds.accepted)
		}
		b.arrives(t, "/feeds")
	}
}
