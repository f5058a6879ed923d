package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"spoor/internal/demo"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/store"
)

// patience is how long a page, or the browser, may take to come before a test fails; on a machine that has nothing else to do none takes a second.
const patience = 2 * time.Minute

// startBrowser starts Chromium, with nothing kept of an earlier run, and returns the context that tabs are opened in. chromedp makes its folder, and
// removes it: not at once, as some of its processes write into it a moment longer.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium is installed ('apt-get install chromium')")
	}
	flags := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun}
	for _, f := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		flags = append(flags, chromedp.Flag(f, true))
	}
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // root has no sandbox in Chromium
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stop)
	ctx, closeAll := chromedp.NewContext(ctx)
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return ctx
}

// tab is one tab with its own cookies, on one server. A test fails by it when the console tells an error, the content security policy
// stops anything, or a request goes anywhere else.
type tab struct {
	ctx    context.Context
	server *server
	mu     sync.Mutex
	faults []string
}

func openTab(t *testing.T, browser context.Context, s *server) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{ctx: ctx, server: s}
	t.Cleanup(func() {
		end()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Errorf("in the browser: %s", f)
		}
	})
	fault := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fmt.Sprintf(format, args...))
	}
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(ev.Request.URL, s.URL+"/") && ev.Request.URL != "about:blank" {
				fault("a request to %s", ev.Request.URL)
			}
		case *log.EventEntryAdded:
			// A page whose status is 404 or 400 is an entry too, of the network; it is meant so.
			if e := ev.Entry; e.Level != "verbose" && (e.Source != "network" || strings.Contains(e.URL, "/static/")) {
				fault("%s: %s (%s)", e.Source, e.Text, e.URL)
			}
		case *runtime.EventExceptionThrown:
			fault("exception: %s", ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			fault("console: %s", ev.Type)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	b.screen(t, 1280)
	return b
}

func (b *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// open loads a page of the server.
func (b *tab) open(t *testing.T, path string) {
	t.Helper()
	b.do(t, chromedp.Navigate(b.server.URL+path))
}

// awaits waits until a condition, in JavaScript, holds in the page.
func (b *tab) awaits(t *testing.T, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		// While a page goes, asking it fails; the next one is asked then.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](condition)); err == nil && ok {
			return
		}
	}
	t.Fatalf("the page at %s does not come to %s", evaluate[string](t, b, `location.href`), condition)
}

// arrives waits until the tab shows a page of the server.
func (b *tab) arrives(t *testing.T, path string) {
	t.Helper()
	b.awaits(t, fmt.Sprintf(`document.readyState === "complete" && location.href === %q`, b.server.URL+path))
}

// awaitFocus waits until the element that a page gives the focus when it comes has it.
func (b *tab) awaitFocus(t *testing.T, id string) {
	t.Helper()
	b.awaits(t, fmt.Sprintf(`document.activeElement?.id === %q`, id))
}

// evaluate returns what an expression of JavaScript is in the page. It works where the page's own scripts are switched off.
func evaluate[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// keys types.
func (b *tab) keys(t *testing.T, keys string) {
	t.Helper()
	b.do(t, chromedp.KeyEvent(keys))
}

// paste puts a text where the focus is, all at once.
func (b *tab) paste(t *testing.T, text string) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		t.Fatal(err)
	}
}

// signIn gives the tab a session.
func (b *tab) signIn(t *testing.T) {
	t.Helper()
	c := b.server.session(t)
	if _, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: serve.SessionCookie, Value: c.Value, URL: b.server.URL}); err != nil {
		t.Fatal(err)
	}
}

// screen sets the width of the window; narrow ones are a phone's.
func (b *tab) screen(t *testing.T, width int64) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 500})
	if err != nil {
		t.Fatal(err)
	}
}

// scheme sets whether the reader likes it "light" or "dark".
func (b *tab) scheme(t *testing.T, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err != nil {
		t.Fatal(err)
	}
}

// withoutScript switches the pages' scripts off.
func (b *tab) withoutScript(t *testing.T) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
}

// tabThrough holds that Tab reaches everything on the page that does something, and that the focus is seen where it is.
func (b *tab) tabThrough(t *testing.T, name string) {
	t.Helper()
	// A key that comes before the page has given the focus keeps it from doing so, and the console says that.
	b.awaits(t, `(e => !e || document.activeElement === e)(document.querySelector("[autofocus]"))`)
	const things = `[...document.querySelectorAll("a[href], button, input:not([type=hidden]), textarea, summary, [tabindex]")].filter(e => e.getClientRects().length && e.checkVisibility())`
	n := evaluate[int](t, b, things+`.length`)
	type stop struct {
		Index   int
		Outline string
		Width   string
		Seen    bool
	}
	reached := map[int]bool{}
	for range n + 3 { // Tab goes round, from wherever the page put the focus
		b.keys(t, kb.Tab)
		st := evaluate[stop](t, b, `(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			return {Index: `+things+`.indexOf(e), Outline: s.outlineStyle, Width: s.outlineWidth, Seen: r.right > 0 && r.bottom > 0 && r.left < innerWidth && r.top < innerHeight && r.width > 1}; })()`)
		if st.Index < 0 {
			continue // the document itself, on the way round
		}
		reached[st.Index] = true
		if st.Outline != "solid" || st.Width != "3px" || !st.Seen {
			t.Errorf("%s: the focus is not to be seen at %s: %+v", name, evaluate[string](t, b, `document.activeElement.outerHTML.slice(0, 120)`), st)
		}
	}
	if len(reached) != n {
		t.Errorf("%s: Tab reaches %d of %d", name, len(reached), n)
	}
}

// legible holds that every text of the page stands out from what is behind it, of the colours that are on.
func (b *tab) legible(t *testing.T, name string) {
	t.Helper()
	var found struct {
		Texts int
		Low   []string
	}
	if err := json.Unmarshal([]byte(evaluate[string](t, b, contrasts)), &found); err != nil {
		t.Fatal(err)
	}
	if found.Texts < 5 {
		t.Errorf("%s: only %d texts were looked at", name, found.Texts)
	}
	if len(found.Low) > 0 {
		t.Errorf("%s: hard to read: %q", name, found.Low)
	}
}

// portalPanels are the titles under the overview, in the order of the portal's page, and ours: the inspection among them, others behind.
var portalPanels = []string{
	"Detection names", "Inspection",
	"File paths",
	"File names",
	"File downloaded from URLs and domains",
	"File accessed the following URLs",
	"File started the following objects",
	"File was started by the following objects",
	"File downloaded the following objects",
	"File was downloaded by the following objects",
	"File signatures and certificates",
	"Container signatures and certificates",
	"File was unpacked from the following objects",
	"File contains the following objects",
	"Similar files",
	"Data Feeds",
	"Hosts",
	"Conflicting hashes",
}

// hostile are texts that a page must show and not obey.
var hostile = struct {
	md5                         intel.Hashes
	script, markup, turned, far string
}{
	demo.Hashes("hostile"),
	`<script>window.pwned = 1</script>`,
	`"><img src=x onerror="window.pwned = 2">{{.}}${1}`,
	"invoice\u202Efdp.exe",
	`C:\` + strings.Repeat("x", 4000),
}

// TestBrowser looks at the pages in Chromium.
func TestBrowser(t *testing.T) {
	browser := startBrowser(t)
	s := newServer(t, store.Options{}, serve.Gate{})
	f := hostile.md5
	s.record(t,
		intel.Observation{File: f, Fact: intel.Sighting{Path: hostile.script, Host: hostile.markup}},
		intel.Observation{File: f, Fact: intel.Sighting{Path: `C:\` + hostile.turned, Host: "a\nb\u2067c"}},
		intel.Observation{File: f, Fact: intel.Sighting{Path: hostile.far, Host: strings.Repeat("h", 200)}},
		intel.Observation{File: f, Fact: intel.Attribute{Name: intel.Product, Value: hostile.script + strings.Repeat("p", 3000)}},
		intel.Observation{File: f, Fact: intel.Detection{Name: hostile.markup + strings.Repeat("d", 3000), Zone: intel.Red, URL: "javascript:window.pwned=3"}},
		intel.Observation{File: f, Fact: intel.Publication{ID: hostile.markup, Type: intel.APT, Title: hostile.script, URL: "javascript:window.pwned=4"}},
		intel.Observation{File: f, Fact: intel.Publication{ID: "P-2", Type: intel.APT, Title: "plain", URL: "https://reports.example/?a=\"><script>"}},
		intel.Observation{File: f, Fact: intel.Access{URL: "http://evil.example/" + strings.Repeat("u", 3000)}},
		intel.Observation{File: f, Fact: intel.Listing{Feed: hostile.script, Zone: intel.Orange, Threat: strings.Repeat("t", 3000)}},
		intel.Observation{Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: f}, To: intel.Object{Hashes: loader, Path: hostile.far}}},
		intel.Observation{Fact: intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: f}, To: intel.Object{Hashes: loader, Path: hostile.markup}}},
		intel.Observation{File: f, Fact: intel.FuzzyHash{Algorithm: intel.Imphash, Value: strings.Repeat("a", 32)}},
		intel.Observation{File: demo.Hashes("only seen"), Fact: intel.Sighting{Path: `C:\seen.exe`, Host: "ws-1"}},
	)
	page := func(name string) string { return "/hash/" + demo.Hashes(name).SHA256.String() }
	pages := map[string]string{
		"home": "/", "red": page("loader"), "orange": page("beacon"), "yellow": page("installer"), "green": page("browser"), "gray": page("only seen"),
		"hostile": page("hostile"), "unknown": "/hash/" + unknown, "bad": "/hash/abc", "rows": page("loader") + "/FileStartedObjects", "publication": "/publication/P-2", "publication, hostile": "/publication/" + url.PathEscape(hostile.markup),
		"list": "/search?q=" + url.QueryEscape(loader.SHA256.String()+" "+demo.Hashes("browser").MD5.String()+" "+unknown), "similar": "/similar?imphash=" + strings.Repeat("a", 32), "sign-in": "/sign-in?next=/hash/abc",
	}
	names := slices.Sorted(maps.Keys(pages))

	t.Run("keyboard", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.open(t, "/")
		b.arrives(t, "/sign-in")
		b.awaitFocus(t, "token")
		b.keys(t, "wrong"+kb.Enter)
		b.awaits(t, `!!document.querySelector("[role=alert]")`)
		b.arrives(t, "/sign-in")
		if got := evaluate[string](t, b, `document.querySelector("[role=alert]").textContent`); !strings.Contains(got, "No account has this token") {
			t.Errorf("a wrong token: %q", got)
		}
		b.awaitFocus(t, "token")
		b.keys(t, s.token+kb.Enter)
		b.arrives(t, "/")
		b.awaitFocus(t, "text")
		b.keys(t, loader.MD5.String()+kb.Enter)
		b.arrives(t, "/hash/"+loader.MD5.String())
		// "/" goes to the small box from anywhere on the page, and is typed in it when there.
		b.keys(t, "/")
		if got := evaluate[string](t, b, `document.activeElement.id`); got != "q" {
			t.Errorf("after a slash the focus is at %q", got)
		}
		evaluate[any](t, b, `document.activeElement.select()`)
		b.keys(t, demo.Hashes("beacon").SHA256.String()+kb.Enter)
		b.arrives(t, page("beacon"))
		if got, want := evaluate[string](t, b, `document.title`), "Not trusted "+demo.Hashes("beacon").SHA256.String()+" · Spoor"; got != want {
			t.Errorf("the title is %q, want %q", got, want)
		}
		// A link is followed, a panel folded, by the keyboard alone.
		first := evaluate[string](t, b, `(() => { const a = document.querySelector("#started-by a"); a.focus(); return a.getAttribute("href"); })()`)
		b.keys(t, kb.Enter)
		b.arrives(t, first)
		b.keys(t, "/")
		b.keys(t, kb.Tab+kb.Tab) // the button, then signing out
		b.keys(t, kb.Enter)
		b.arrives(t, "/sign-in")
		b.open(t, page("loader"))
		b.arrives(t, "/sign-in?next="+url.QueryEscape(page("loader")))
	})

	t.Run("paste", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, "/")
		b.awaitFocus(t, "text")
		b.paste(t, fmt.Sprintf("10:01 created %s\n10:02 %s started %s\n10:03 again %[1]s\n", loader.SHA256, strings.ToUpper(demo.Hashes("browser").MD5.String()), unknown))
		b.keys(t, kb.Tab+kb.Enter)
		b.arrives(t, "/search")
		got := evaluate[[][]string](t, b, `[...document.querySelectorAll("tbody tr")].map(r => [...r.cells].slice(0, 2).map(c => c.textContent))`)
		want := [][]string{{"red", loader.SHA256.String()}, {"green", demo.Hashes("browser").MD5.String()}, {"unknown", unknown}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the list (-want +got):\n%s", diff)
		}
		evaluate[any](t, b, `document.querySelector("tbody a").focus()`)
		b.keys(t, kb.Enter)
		b.arrives(t, page("loader"))
	})

	t.Run("nothing to show", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, "/")
		b.awaitFocus(t, "text")
		b.keys(t, unknown+kb.Enter)
		b.arrives(t, "/hash/"+unknown)
		if got := evaluate[string](t, b, `document.querySelector("main").innerText`); !strings.Contains(got, "Unknown") || !strings.Contains(got, unknown) {
			t.Errorf("an unknown hash: %q", got)
		}
		b.open(t, "/")
		b.awaitFocus(t, "text")
		b.keys(t, "no such thing"+kb.Enter)
		b.arrives(t, "/search")
		got := evaluate[string](t, b, `document.querySelector("main").innerText + "|" + document.getElementById("q").value`)
		if !strings.Contains(got, "There is no hash in that text") || !strings.HasSuffix(got, "|no such thing") {
			t.Errorf("no hash: %q", got)
		}
	})

	t.Run("panels", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		type panel struct {
			Title string
			Open  bool
			Rows  int
			Count string
		}
		for _, name := range []string{"red", "gray", "hostile"} {
			b.open(t, pages[name])
			if got := evaluate[[]string](t, b, `[...document.querySelectorAll("h2")].map(h => h.textContent)`); !cmp.Equal(got, append([]string{"Overview"}, portalPanels...)) {
				t.Errorf("%s: the titles: %q", name, got)
			}
			full := 0
			for _, p := range evaluate[[]panel](t, b, `[...document.querySelectorAll("details.panel")].map(d => ({Title: d.querySelector("h2").textContent, Open: d.open,
				Rows: d.querySelectorAll("tbody tr").length, Count: d.querySelector(".count").textContent}))`) {
				want := panel{p.Title, p.Rows > 0, p.Rows, fmt.Sprint(p.Rows)}
				if p.Rows == 0 {
					want.Count = "none"
				} else {
					full++
				}
				if p != want {
					t.Errorf("%s: %+v, want %+v", name, p, want)
				}
			}
			if want := map[string]int{"red": len(portalPanels) - 1, "gray": 3}[name]; want != 0 && full != want {
				t.Errorf("%s: %d panels have something, want %d", name, full, want)
			}
		}
		// The panel with the hash: each zone has its own colour and its label.
		colours := map[string]string{}
		for name, label := range map[string]string{"red": "Malware", "orange": "Not trusted", "yellow": "Adware and other", "gray": "Not categorized", "green": "Clean"} {
			b.open(t, pages[name])
			got := evaluate[[]string](t, b, `(() => { const v = document.querySelector(".verdict"); return [v.querySelector("h1").innerText, v.querySelector(".status").innerText, getComputedStyle(v).backgroundColor]; })()`)
			if !strings.HasPrefix(got[0], strings.TrimPrefix(pages[name], "/hash/")) || !strings.HasPrefix(strings.ToLower(got[1]), name+" "+strings.ToLower(label)) {
				t.Errorf("%s: %q", name, got)
			}
			if other := colours[got[2]]; other != "" {
				t.Errorf("%s has the colour of %s: %s", name, other, got[2])
			}
			colours[got[2]] = name
		}
	})

	t.Run("links", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, page("loader"))
		links := evaluate[[]string](t, b, `[...new Set([...document.querySelectorAll("main a[href^='/']")].map(a => a.getAttribute("href")))]`)
		if len(links) < 10 {
			t.Errorf("only %d links: %q", len(links), links)
		}
		for _, l := range links {
			if a := s.get(t, l); a.status != 200 {
				t.Errorf("%s: %d", l, a.status)
			}
		}
		if bad := evaluate[[]string](t, b, `[...document.querySelectorAll("main a[href^='#']")].map(a => a.getAttribute("href")).filter(h => !document.querySelector(h))`); len(bad) > 0 {
			t.Errorf("links to nowhere: %q", bad)
		}
		if bad := evaluate[[]string](t, b, `[...document.querySelectorAll("a[href^='http']")].filter(a => !/noreferrer/.test(a.rel)).map(a => a.href)`); len(bad) > 0 {
			t.Errorf("links outward that tell where from: %q", bad)
		}
	})

	t.Run("dates", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		if _, err := chromedp.Call(b.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"}); err != nil {
			t.Fatal(err)
		}
		type date struct{ At, Text, Title string }
		all := `[...document.querySelectorAll("time")].map(t => ({At: t.dateTime, Text: t.textContent, Title: t.title}))`
		check := func(show func(time.Time) date) {
			t.Helper()
			b.open(t, page("loader"))
			dates := evaluate[[]date](t, b, all)
			if len(dates) < 20 {
				t.Errorf("only %d dates", len(dates))
			}
			for _, d := range dates {
				at, err := time.Parse(time.RFC3339, d.At)
				if err != nil {
					t.Error(err)
				}
				want := show(at)
				want.At = d.At
				if d != want {
					t.Errorf("%+v, want %+v", d, want)
				}
			}
		}
		utc := func(at time.Time) string { return at.Format("2006-01-02 15:04") + " UTC" }
		tokyo := time.FixedZone("JST", 9*60*60)
		check(func(at time.Time) date { return date{Text: at.In(tokyo).Format("2006-01-02 15:04"), Title: utc(at)} })
		if got := evaluate[string](t, b, `document.querySelector("[data-dates]").textContent`); !strings.Contains(got, "Asia/Tokyo") {
			t.Errorf("the page does not say whose zone it is: %q", got)
		}
		b.withoutScript(t)
		check(func(at time.Time) date { return date{Text: utc(at)} })
	})

	t.Run("without JavaScript", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.withoutScript(t)
		b.open(t, page("loader"))
		b.awaitFocus(t, "token")
		b.keys(t, s.token+kb.Enter)
		b.arrives(t, page("loader"))
		if n := evaluate[int](t, b, `document.querySelectorAll(".copy").length`); n != 0 {
			t.Fatalf("a script ran: %d buttons", n)
		}
		// The head of a panel folds it and unfolds it.
		folded := func() bool { return !evaluate[bool](t, b, `document.getElementById("paths").open`) }
		evaluate[any](t, b, `document.querySelector("#paths summary").focus()`)
		for _, want := range []bool{true, false} {
			b.keys(t, kb.Enter)
			if folded() != want {
				t.Errorf("the panel is folded: %v, want %v", !want, want)
			}
		}
		b.open(t, "/")
		b.awaitFocus(t, "text")
		b.paste(t, loader.SHA256.String()+"\n"+unknown)
		b.keys(t, kb.Tab+kb.Enter)
		b.arrives(t, "/search")
		if n := evaluate[int](t, b, `document.querySelectorAll("tbody tr").length`); n != 2 {
			t.Errorf("%d rows", n)
		}
		evaluate[any](t, b, `document.getElementById("q").focus()`)
		b.keys(t, demo.Hashes("browser").MD5.String()+kb.Enter)
		b.arrives(t, "/hash/"+demo.Hashes("browser").MD5.String())
		evaluate[any](t, b, `document.querySelector(".account button").focus()`)
		b.keys(t, kb.Enter)
		b.arrives(t, "/sign-in")
	})

	t.Run("colours", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		grounds := map[string]string{}
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(t, scheme)
			for _, name := range names {
				b.open(t, pages[name])
				grounds[scheme] = evaluate[string](t, b, `getComputedStyle(document.body).backgroundColor`)
				b.legible(t, scheme+", "+name)
			}
		}
		if grounds["light"] == grounds["dark"] {
			t.Errorf("light and dark are alike: %v", grounds)
		}
	})

	t.Run("width", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		for _, width := range []int64{320, 375, 768, 1280} {
			b.screen(t, width)
			for _, name := range names {
				b.open(t, pages[name])
				if got := evaluate[int64](t, b, `document.scrollingElement.scrollWidth`); got > width {
					t.Errorf("%s is %d wide on a screen of %d", name, got, width)
				}
			}
		}
		// On a phone each value stands under the one before, with its column's title beside it, and nothing is cut off.
		b.screen(t, 375)
		b.open(t, page("loader"))
		if bad := evaluate[[]string](t, b, `[...document.querySelectorAll("td")].filter(c => c.offsetWidth && (c.getBoundingClientRect().right > 375 || !getComputedStyle(c, "::before").content.includes(c.dataset.label))).map(c => c.textContent)`); len(bad) > 0 {
			t.Errorf("cells out of place: %q", bad)
		}
	})

	t.Run("focus", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		for _, name := range []string{"home", "red", "hostile", "list", "unknown", "rows", "sign-in"} {
			b.open(t, pages[name])
			b.tabThrough(t, name)
		}
	})

	t.Run("structure", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		for _, name := range names {
			b.open(t, pages[name])
			if bad := evaluate[[]string](t, b, structure); len(bad) > 0 {
				t.Errorf("%s: %q", name, bad)
			}
		}
	})

	t.Run("hostile", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, pages["hostile"])
		var got struct {
			Pwned   bool
			Scripts int
			Images  int
			Text    string
			Paths   []string
			Hosts   []string
		}
		const look = `JSON.stringify({Pwned: "pwned" in window, Scripts: document.scripts.length, Images: document.images.length,
			Text: document.querySelector("main").textContent, Paths: [...document.querySelectorAll("#paths td.path bdi")].map(e => e.textContent),
			Hosts: [...document.querySelectorAll("#hosts td.path bdi")].map(e => e.textContent)})`
		if err := json.Unmarshal([]byte(evaluate[string](t, b, look)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Pwned || got.Scripts != 1 || got.Images != 1 {
			t.Errorf("the page obeys: %v, %d scripts, %d images", got.Pwned, got.Scripts, got.Images)
		}
		for _, want := range []string{hostile.script, `C:\invoice[U+202E]fdp.exe`, hostile.far} {
			if !slices.Contains(got.Paths, want) {
				t.Errorf("no path is shown as %.80q: %.200q", want, got.Paths)
			}
		}
		for _, want := range []string{hostile.markup, "a[U+000A]b[U+2067]c"} {
			if !slices.Contains(got.Hosts, want) {
				t.Errorf("no host is shown as %q: %q", want, got.Hosts)
			}
		}
		for _, want := range []string{"javascript:window.pwned=3", "javascript:window.pwned=4", hostile.script, hostile.markup} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("%q is not shown", want)
			}
		}
		for _, turn := range []string{"\u202E", "\u2067"} {
			if strings.Contains(got.Text, turn) {
				t.Errorf("%+q stands in the page", turn)
			}
		}
		// What is very long is folded, so that the rest stays in reach, and unfolds by the keyboard.
		if height := evaluate[int](t, b, `document.documentElement.scrollHeight`); height > 8000 {
			t.Errorf("the page is %d high", height)
		}
		evaluate[any](t, b, `document.querySelector("#paths .long summary").focus()`)
		b.keys(t, kb.Enter)
		b.awaits(t, `document.querySelector("#paths .long").innerText.includes("x".repeat(4000))`)
		schemes := evaluate[[]string](t, b, `[...new Set([...document.links].map(a => a.protocol))].sort()`)
		if diff := cmp.Diff([]string{"http:", "https:"}, schemes); diff != "" {
			t.Errorf("links lead elsewhere than to the web: %q", schemes)
		}
	})

	t.Run("copy", func(t *testing.T) {
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, page("loader"))
		names := evaluate[[]string](t, b, `[...document.querySelectorAll(".copy")].map(e => e.getAttribute("aria-label"))`)
		want := []string{"Copy " + loader.SHA256.String(), "Copy " + loader.MD5.String(), "Copy " + loader.SHA1.String(), "Copy " + loader.SHA256.String()}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("the buttons (-want +got):\n%s", diff)
		}
		// What the button says is noted as it changes: it says so for a moment only, in which a slow machine may not come to ask.
		evaluate[any](t, b, `(() => { const e = document.querySelector(".copy"); window.said = [];
			new MutationObserver(() => window.said.push(e.textContent)).observe(e, {childList: true, characterData: true, subtree: true}); e.focus(); })()`)
		b.keys(t, kb.Enter)
		b.awaits(t, `window.said.join() === "Copied,Copy"`)
	})

	t.Run("pages of a hub", func(t *testing.T) {
		const children = 700
		s := newServer(t, store.Options{HubRows: 256}, serve.Gate{})
		hub := demo.Hashes("hub")
		var want []string
		for from := 0; from < children; from += 50 {
			var batch []intel.Observation
			for i := range 50 {
				child := demo.Hashes(fmt.Sprint("child ", from+i))
				want = append(want, child.MD5.String())
				batch = append(batch, intel.Observation{Time: now.Add(time.Duration(from+i-10_000) * time.Second), Source: intel.Source{Type: intel.Telemetry, Name: "test"},
					Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: hub}, To: intel.Object{Hashes: child}}})
			}
			if _, err := s.store.Record(t.Context(), fmt.Append(nil, "hub", from), batch); err != nil {
				t.Fatal(err)
			}
			if err := s.store.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b := openTab(t, browser, s)
		b.signIn(t)
		b.open(t, "/hash/"+hub.SHA256.String())
		if got := evaluate[string](t, b, `document.querySelector("#started .count").textContent`); got != fmt.Sprint(children) {
			t.Errorf("the panel counts %s", got)
		}
		b.do(t, chromedp.Click(chromedp.CSS("#started .more a")))
		path := "/hash/" + hub.SHA256.String() + "/FileStartedObjects"
		b.arrives(t, path)
		var got []string
		pages := 0
		for {
			pages++
			rows := evaluate[[]string](t, b, `[...document.querySelectorAll("tbody a")].map(a => a.textContent)`)
			if len(rows) > 200 {
				t.Errorf("a page of %d rows", len(rows))
			}
			got = append(got, rows...)
			next := evaluate[string](t, b, `(document.querySelector("a[rel=next]") || {getAttribute: () => ""}).getAttribute("href")`)
			if next == "" {
				break
			}
			evaluate[any](t, b, `document.querySelector("a[rel=next]").focus()`)
			b.keys(t, kb.Enter)
			b.arrives(t, path+next)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || pages < 4 {
			t.Errorf("%d pages (-want +got):\n%s", pages, diff)
		}
	})
}

// contrasts is JavaScript that gives, as JSON, how many texts of the page it looked at and those that have less than 4.5 to 1 against what
// is behind them (WCAG 2.2, 1.4.3). All grounds of the page are of one colour.
const contrasts = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
	const light = (rgb) => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a === 1) return c.rgb; if (c.a) throw new Error("half a ground"); } return [255, 255, 255]; };
	const ratio = (fg, bg) => { const [a, b] = [light(fg), light(bg)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
	const low = new Set(); let texts = 0;
	const look = (e, colour, text) => {
		texts++;
		const c = parse(colour), r = ratio(c.rgb, behind(e));
		if (r < 4.5 || c.a < 1) low.add(text.trim().slice(0, 40) + " " + r.toFixed(2));
	};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (walk.currentNode.data.trim() && e.getClientRects().length) look(e, getComputedStyle(e).color, walk.currentNode.data);
	}
	for (const e of document.querySelectorAll("input:not([type=hidden]), textarea")) {
		look(e, getComputedStyle(e).color, "in the box");
		look(e, getComputedStyle(e, "::placeholder").color, "placeholder");
	}
	return JSON.stringify({Texts: texts, Low: [...low]});
})()`

// structure is JavaScript that gives what a page lacks for those who do not see it.
const structure = `(() => {
	const bad = [], all = (q) => [...document.querySelectorAll(q)];
	if (document.documentElement.lang !== "en") bad.push("language");
	if (!document.title.endsWith("Spoor")) bad.push("title " + document.title);
	if (all("h1").length !== 1) bad.push(all("h1").length + " first headings");
	if (all("main").length !== 1) bad.push("main");
	let level = 0;
	for (const h of all("h1, h2, h3, h4")) { const n = +h.tagName[1]; if (n > level + 1) bad.push("heading " + h.textContent); level = n; }
	for (const e of all("input:not([type=hidden]), textarea")) if (!e.labels.length || !e.labels[0].textContent.trim()) bad.push("no label: " + e.id);
	for (const e of all("button, a, summary")) if (!(e.getAttribute("aria-label") || e.textContent).trim()) bad.push("no name: " + e.outerHTML.slice(0, 80));
	for (const e of all("img")) if (!e.hasAttribute("alt")) bad.push("no alt: " + e.src);
	for (const e of all("th")) if (e.scope !== "col") bad.push("scope: " + e.textContent);
	for (const t of all("table")) for (const r of t.rows) if (r.cells.length !== t.rows[0].cells.length) bad.push("a row of " + r.cells.length);
	for (const e of all("[role=region]")) if (!e.getAttribute("aria-label")) bad.push("region");
	const ids = all("[id]").map(e => e.id);
	if (new Set(ids).size !== ids.length) bad.push("an id twice");
	for (const e of all("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) bad.push("labelledby");
	if (all("[style], style, [onclick]").length) bad.push("inline style or script");
	return bad;
})()`
