package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/internal/submit"
	"spoor/internal/web"
	"spoor/internal/worker"
)

// TestMain is also the worker that inspects submitted files.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-child" {
		if err := worker.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newSubmitServer is the pages before an empty store and a queue, which runs once run is called.
func newSubmitServer(t *testing.T) (s *server, run func()) {
	t.Helper()
	kept, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	view := func(c intel.Marking) dossier.View { return kept.View(c) }
	pool := worker.NewPool(worker.Config{Command: []string{os.Args[0], "-child"}, Scratch: t.TempDir()})
	queue, err := submit.Open(submit.Options{Dir: t.TempDir(), Pool: pool, Recorder: kept, Inspected: func(ctx context.Context, h intel.Hash, m intel.Marking) (bool, error) {
		d, err := dossier.Build(ctx, view(m), h, dossier.Query{Sections: []dossier.Section{dossier.Inspection}})
		if errors.Is(err, intel.ErrUnknown) {
			return false, nil
		}
		return err == nil && len(d.Inspection) > 0, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-started:
			queue.Run(ctx)
		case <-ctx.Done():
		}
	}()
	mux := http.NewServeMux()
	web.Register(mux, web.Config{View: view, Gate: &serve.Gate{Access: gates}, FindHashes: source.FindHashes, Submissions: queue})
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() {
		h.Close()
		cancel()
		<-done
		pool.Close()
		gates.Close()
		kept.Close()
	})
	s = &server{Server: h, store: kept, access: gates}
	s.token = s.newToken(t, access.NewToken{Account: "soc", Scopes: []access.Scope{access.Lookup, access.Submit}})
	return s, func() { close(started) }
}

// helloSHA256 is that of "hello\n".
const helloSHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

func formWith(t *testing.T, field, name, content string) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	p, err := m.CreateFormFile(field, name)
	if err == nil {
		_, err = p.Write([]byte(content))
	}
	if err := errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String(), m.FormDataContentType()
}

func TestSubmitForm(t *testing.T) {
	s, run := newSubmitServer(t)
	cookie := s.session(t).String()
	if a := s.do(t, http.MethodGet, "/", "", "Cookie", cookie); !strings.Contains(a.body, `action="/submit"`) {
		t.Errorf("no form for files: %s", a.body)
	}
	body, kind := formWith(t, "file", "hello.txt", "hello\n")
	start := time.Now()
	a := s.do(t, http.MethodPost, "/submit", body, "Cookie", cookie, "Content-Type", kind, "Sec-Fetch-Site", "same-origin")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/hash/"+helloSHA256 {
		t.Fatalf("after %s: %d %v %s", time.Since(start), a.status, a.header, a.body)
	}
	// While it waits the page says so and is asked for again by itself.
	a = s.do(t, http.MethodGet, "/hash/"+helloSHA256, "", "Cookie", cookie)
	if a.status != 200 || a.header.Get("Refresh") != "3" || !strings.Contains(a.body, "Being inspected") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	run()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a = s.do(t, http.MethodGet, "/hash/"+helloSHA256, "", "Cookie", cookie); a.header.Get("Refresh") == "" {
			break
		}
	}
	if a.status != 200 || !strings.Contains(a.body, "hello.txt") || strings.Contains(a.body, "this page looks again") {
		t.Errorf("%d %s", a.status, a.body)
	}

	other, otherKind := formWith(t, "text", "x", "x")
	reader := "Bearer " + s.newToken(t, access.NewToken{Account: "reader"})
	if a := s.do(t, http.MethodGet, "/", "", "Authorization", reader); strings.Contains(a.body, `action="/submit"`) {
		t.Error("a form for those who may not use it")
	}
	for _, tt := range []struct {
		what    string
		body    string
		headers []string
		status  int
		says    string
	}{
		{"another site's form", body, []string{"Cookie", cookie, "Content-Type", kind, "Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"a reader", body, []string{"Authorization", reader, "Content-Type", kind}, 403, "submit"},
		{"nobody", body, []string{"Content-Type", kind}, 401, ""},
		{"no file", other, []string{"Cookie", cookie, "Content-Type", otherKind}, 400, "no file in the form"},
		{"no form", "x", []string{"Cookie", cookie, "Content-Type", "text/plain"}, 400, "cannot be read"},
	} {
		if a := s.do(t, http.MethodPost, "/submit", tt.body, tt.headers...); a.status != tt.status || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s", tt.what, a.status, a.body)
		}
	}
}

// TestBrowserSubmit: a person chooses a file, without JavaScript's help, and arrives at its page.
func TestBrowserSubmit(t *testing.T) {
	browser := startBrowser(t)
	s, run := newSubmitServer(t)
	run()
	file := filepath.Join(t.TempDir(), "hello.txt")
	if err := os.WriteFile(file, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := openTab(t, browser, s)
	b.signIn(t)
	b.open(t, "/")
	b.do(t, chromedp.SetUploadFiles("#file", []string{file}), chromedp.Click(".submit button"))
	b.arrives(t, "/hash/"+helloSHA256)
	b.awaits(t, `document.querySelector("#names")?.textContent.includes("hello.txt") && document.querySelector("#inspection").textContent.includes("revision")`)
	// What the bytes say stands before what others say, and before a thousand members.
	if !evaluate[bool](t, b, `document.querySelector("#inspection").compareDocumentPosition(document.querySelector("#paths")) === Node.DOCUMENT_POSITION_FOLLOWING`) {
		t.Error("the inspection stands behind the file's paths")
	}
	// A file that is too large is told before it is sent.
	b.open(t, "/")
	if evaluate[string](t, b, `document.querySelector("#file").dataset.most`) != "268435456" {
		t.Error("the form does not know the limit")
	}
	evaluate[int](t, b, `document.querySelector("#file").dataset.most = 3`)
	b.do(t, chromedp.SetUploadFiles("#file", []string{file}))
	b.awaits(t, `document.querySelector("#file").validationMessage.includes("too large")`)
}

// TestTooLargeForm: a browser learns that a file is too large, though it looks for an answer only when it has sent everything.
func TestTooLargeForm(t *testing.T) {
	s, _ := newSubmitServer(t)
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/submit", io.LimitReader(zeros{}, 258<<20))
	if err != nil {
		t.Fatal(err)
	}
	ask.ContentLength = 258 << 20
	ask.Header = http.Header{"Cookie": {s.session(t).String()}, "Content-Type": {"multipart/form-data; boundary=b"}, "Sec-Fetch-Site": {"same-origin"}}
	a, err := http.DefaultTransport.RoundTrip(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if page, err := io.ReadAll(a.Body); err != nil || a.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(page), "The file is too large: at most 256 MiB") {
		t.Errorf("%d %v %s", a.StatusCode, err, page)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
