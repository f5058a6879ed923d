package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/serve"
)

// running is a server of serve.Run on loopback that answers every path under /api with what it got.
func running(t *testing.T, log *slog.Logger) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/url/{asked...}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "url %q", r.PathValue("asked")) })
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "path %q query %q", r.URL.Path, r.URL.RawQuery)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve.Run(ctx, l, serve.Handler(mux, serve.Options{Logger: log}), nil, 10*time.Second, log)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// send writes bytes to a server and reads its first answer.
func send(t *testing.T, address, request string) (int, http.Header, string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(c, request) // a server that refuses early reads no further
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return res.StatusCode, res.Header, string(b)
}

// TestPlainPaths: paths are taken as clients join them, without redirects; what follows /api/url/ is kept.
func TestPlainPaths(t *testing.T) {
	address := running(t, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		target string
		status int
		body   string
	}{
		{"/api/a?x=1", 200, `path "/api/a" query "x=1"`},
		{"//api/a?x=//1", 200, `path "/api/a" query "x=//1"`},
		{"/api//a///b/?x=1", 200, `path "/api/a/b" query "x=1"`},
		{"/api/a%2Fb/", 200, `path "/api/a/b" query ""`},
		{"/api/%20a%09", 200, `path "/api/ a\t" query ""`},
		{"/api/url/http://h/a//b/../c/", 200, `url "http://h/a//b/../c/"`},
		{"/api/url/http%3A%2F%2Fh%2Fa%3Fb", 200, `url "http://h/a?b"`},
		{"//api//url//h/a", 200, `url "/h/a"`},
		{"/api/url/", 200, `url ""`},
		{"/api/../secret", 404, "not_found"},
		{"/api/./a", 404, "not_found"},
		{"/api/a/..", 404, "not_found"},
		{"/api/url/..", 404, "not_found"},
		{"/api/url/.", 404, "not_found"},
		{"/api/" + strings.Repeat("a", 8<<10), 414, "too_long"},
		{"/api/a?x=" + strings.Repeat("a", 60_000), 414, "too_long"},
		{"/else/" + strings.Repeat("a", 8<<10), 414, "too_long"},
	} {
		status, header, body := send(t, address, "GET "+tt.target+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%.60s: %d %s, want %d with %s", tt.target, status, body, tt.status, tt.body)
		}
		if status != 200 && header.Get("Content-Type") != "application/json" {
			t.Errorf("%.60s: %s", tt.target, header.Get("Content-Type"))
		}
	}
}

// TestNoRequests: what net/http refuses before any handler has the body of every other error.
func TestNoRequests(t *testing.T) {
	address := running(t, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"a broken escape", "GET /api/%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"},
		{"NUL", "GET /api/\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"},
		{"no host", "GET /api/a HTTP/1.1\r\n\r\n", 400, "bad_request"},
		{"a method that is none", "G(T /api/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"},
		{"no request", "hello\r\n\r\n", 400, "bad_request"},
		{"a control character in a header", "GET /api/a HTTP/1.1\r\nHost: h\r\nSpoor-Batch-Id: a\x07\r\n\r\n", 400, "bad_request"},
		{"two lengths", "POST /api/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"},
		{"an unknown transfer encoding", "POST /api/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\n\r\n", 501, "not_implemented"},
		{"a version nobody speaks", "GET /api/a HTTP/9.9\r\nHost: h\r\n\r\n", 505, "http_version_not_supported"},
		{"a header without end", "GET /api/a HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 1<<20), 431, "request_header_fields_too_large"},
	} {
		status, header, body := send(t, address, tt.request)
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: %q: %v", tt.name, body, err)
		}
		if status != tt.status || e.Error.Code != tt.code || e.Error.Message == "" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %s, want %d %s", tt.name, status, header.Get("Content-Type"), body, tt.status, tt.code)
		}
	}
}

// TestLogLines: whatever stands in a path or a method, a request is one line of the log, and a short one.
func TestLogLines(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { serve.Fail(w, r, fmt.Errorf("%q: broken", r.URL.Path)) })
	h := serve.Handler(mux, serve.Options{Logger: logger})
	for _, target := range []string{"/api/a%0Alevel=ERROR%20msg=forged", "/api/a%0D%0A%1B%5B2Jforged", "/api/" + strings.Repeat("b", 5000), "/api/%FF%FE"} {
		log.Reset()
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Method = strings.Repeat("M", 3000)
		h.ServeHTTP(httptest.NewRecorder(), r)
		lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		for _, line := range lines {
			if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\r\x1b") {
				t.Errorf("%.60s: the line %q", target, line)
			}
		}
		if last := lines[len(lines)-1]; len(lines) != 2 || len(last) > 1000 { // the failure and the request
			t.Errorf("%.60s: %d lines, the last of %d bytes", target, len(lines), len(last))
		}
	}
}

// TestBrokenOff: a handler that fails amid its answer breaks the connection: half an answer is not taken for a whole one.
func TestBrokenOff(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 10_000))
		panic("broken")
	})
	s := httptest.NewServer(serve.Handler(mux, serve.Options{}))
	defer s.Close()
	res, err := http.Get(s.URL + "/half")
	if err != nil {
		return
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d bytes came as if whole", len(b))
	}
}

// TestTwoCredentials: of two credentials of one kind none counts, whichever is right: a proxy may have looked at the other.
func TestTwoCredentials(t *testing.T) {
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := gates.Create(access.NewToken{Account: "soc", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	gate := &serve.Gate{Access: gates}
	for _, h := range []http.Header{
		{"Authorization": {"Bearer " + secret, "Bearer x"}},
		{"Authorization": {"Bearer " + secret, "Bearer " + secret}},
		{"X-Api-Key": {secret, "x"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = h
		if id, err := gate.Identify(r, access.Lookup); err == nil {
			t.Errorf("%d of %v were let in as %s", len(h), h, id.Account.Name)
		}
	}
}

// TestForgedSessions: no cookie that the server did not make lets anybody in.
func TestForgedSessions(t *testing.T) {
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret, token, err := gates.Create(access.NewToken{Account: "soc", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	id, err := gates.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	good := gates.Session(id)
	parts := strings.Split(good, ".")
	gate := &serve.Gate{Access: gates}
	identify := func(cookie string) error {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", serve.SessionCookie+"="+cookie)
		_, err := gate.Identify(r, access.Lookup)
		return err
	}
	if err := identify(good); err != nil {
		t.Fatalf("the right cookie: %v", err)
	}
	for _, cookie := range []string{
		"", ".", "..", "...", secret, token.Hash, parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".",
		parts[0] + ".99999999999." + parts[2], parts[0] + "." + parts[1] + "." + strings.Repeat("0", 64),
		strings.Repeat("0", 64) + "." + parts[1] + "." + parts[2], parts[0] + "." + parts[1] + ".x." + parts[2], good + good, good[:len(good)-1],
		strings.Repeat("a", 5000),
	} {
		if err := identify(cookie); err == nil {
			t.Errorf("%.100q was let in", cookie)
		}
	}
	if err := gates.Revoke(token.ID); err != nil {
		t.Fatal(err)
	}
	if err := identify(good); err == nil {
		t.Error("the session outlived its token")
	}
}
