package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"spoor/client"
	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/store"
	"spoor/wire"
)

const (
	known   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	unknown = "ffffffffffffffffffffffffffffffff"
	line    = `{"source":{"type":"telemetry","name":"t"},"time":"2026-05-01T08:00:00Z","file":{"sha256":"` + known + `"},"sighting":{"path":"/a","host":"h"}}` + "\n"
)

// server is the real API on a store in memory; before, when not nil, sees each request first and answers it when it returns true.
type server struct {
	*httptest.Server
	access *access.Access
}

func newServer(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) *server {
	t.Helper()
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// A clock that stands still, with the end of the day ahead: no quota begins anew in the midst of a test.
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(36 * time.Hour)
	gates, err := access.Open(t.TempDir(), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	api.Register(mux, api.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Recorder: s, Ready: s.Ready, Gate: &serve.Gate{Access: gates}})
	h := serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)})
	server := &server{access: gates, Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			h.ServeHTTP(w, r)
		}
	}))}
	t.Cleanup(func() {
		server.Close()
		gates.Close()
		s.Close()
	})
	return server
}

func (s *server) client(t *testing.T, n access.NewToken) *client.Client {
	t.Helper()
	n.Lifetime = time.Hour
	secret, _, err := s.access.Create(n)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s.URL+"/", secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var admin = access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}}

func TestNew(t *testing.T) {
	for _, address := range []string{"", "spoor.example", "ftp://spoor.example", "http://", "http://a b/", "://"} {
		if _, err := client.New(address, ""); err == nil || !strings.Contains(err.Error(), "https://spoor.example:8443") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := client.New("http://spoor.example", "a\r\nX: y"); err == nil {
		t.Error("a token with a line break is taken")
	}
}

func TestHash(t *testing.T) {
	s := newServer(t, nil)
	c := s.client(t, admin)
	if receipt, err := c.Observe(t.Context(), "", []byte(line)); err != nil || receipt.Accepted != 1 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	r, err := c.Hash(t.Context(), known)
	if err != nil || r.FileGeneralInfo == nil || r.FileGeneralInfo.HitsCount != 1 || r.LicenseInfo == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = c.Hash(t.Context(), strings.ToUpper(known), "Zone", "FileNames")
	if err != nil || r.FileGeneralInfo != nil || r.LicenseInfo != nil || len(r.FileNames) != 1 || r.FileNames[0].FileName != "a" {
		t.Errorf("two sections: %+v, %v", r, err)
	}
	for _, tt := range []struct {
		hash     string
		sections []string
		is       error
		says     string
	}{
		{unknown, nil, client.ErrUnknown, "looking up " + unknown},
		{"xyz", nil, nil, `"xyz" is not a hash`},
		{"", nil, nil, "is not a hash"},
		{"../../openapi.json", nil, nil, "is not a hash"}, // not another path's answer
		{"a/../../healthz", nil, nil, "is not a hash"},
		{"%2e%2e", nil, nil, "is not a hash"},
		{known + "?count=0", nil, nil, "is not a hash"},
		{known, []string{"Nothing"}, nil, `there is no section "Nothing"`},
	} {
		r, err := c.Hash(t.Context(), tt.hash, tt.sections...)
		if err == nil || !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && errors.Is(err, client.ErrUnknown) {
			t.Errorf("%q: %+v, %v; want %q", tt.hash, r, err, tt.says)
		}
	}
}

func TestRefused(t *testing.T) {
	s := newServer(t, nil)
	wrong, err := client.New(s.URL, "spoor_wrong")
	if err != nil {
		t.Fatal(err)
	}
	none, err := client.New(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	look := s.client(t, access.NewToken{Account: "look"})
	for name, c := range map[string]*client.Client{"a wrong token": wrong, "no token": none} {
		if _, err := c.Hash(t.Context(), known); !errors.Is(err, client.ErrCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := look.Observe(t.Context(), "", []byte(line)); !errors.Is(err, client.ErrCredential) || !strings.Contains(err.Error(), `scope "ingest"`) {
		t.Errorf("a token that may only look up: %v", err)
	}
	two := uint64(2)
	c := s.client(t, access.NewToken{Account: "few", Quota: &two})
	for i := range 3 {
		_, err := c.Hash(t.Context(), unknown)
		if want := []error{client.ErrUnknown, client.ErrUnknown, client.ErrQuota}[i]; !errors.Is(err, want) {
			t.Errorf("look-up %d: %v, want %v", i+1, err, want)
		}
	}
}

// TestBatches: the same name again counts nothing, another does; without a name the body is its own.
func TestBatches(t *testing.T) {
	var packed atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Encoding") == "gzip" {
			packed.Add(1)
		}
		return false
	})
	c := s.client(t, admin)
	for i, tt := range []struct {
		batch, body        string
		accepted, repeated uint64
	}{
		{"a", line, 1, 0},
		{"a", line, 0, 1},
		{"b", line, 1, 0},
		{"", line + line, 2, 0},
		{"", line + line, 0, 2},
		{"", "", 0, 0},
	} {
		r, err := c.Observe(t.Context(), tt.batch, []byte(tt.body))
		if err != nil || r.Accepted != tt.accepted || r.Repeated != tt.repeated || r.Refused != 0 {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
	}
	if packed.Load() != 6 {
		t.Errorf("%d bodies came packed", packed.Load())
	}
	r, err := c.Observe(t.Context(), "", []byte(line+"{}\n"))
	if err != nil || r.Accepted != 1 || r.Refused != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := cmp.Diff(int64(2), r.Refusals[0].Line); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Observe(t.Context(), "", []byte("no\n")); err == nil || !strings.Contains(err.Error(), "no line is an observation") {
		t.Errorf("nothing good: %v", err)
	}
}

// TestRetry: what a busy server refuses is sent again, whole, and counts once even when only the answer was lost.
func TestRetry(t *testing.T) {
	var calls atomic.Int64
	var first string
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		n := calls.Add(1)
		if n > 1 {
			return false
		}
		z, err := gzip.NewReader(r.Body)
		if err == nil {
			b, _ := io.ReadAll(z)
			first = string(b)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":{"code":"unavailable","message":"busy"}}`)
		return true
	})
	c := s.client(t, admin)
	r, err := c.Observe(t.Context(), "a", []byte(line))
	if err != nil || r.Accepted != 1 || calls.Load() != 2 || first != line {
		t.Errorf("%+v, %v after %d calls; first %q", r, err, calls.Load(), first)
	}

	var asked atomic.Int64
	fails := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		http.Error(w, "<html>a proxy's page", http.StatusBadGateway)
		return true
	})
	c = fails.client(t, admin)
	ctx, cancel := context.WithCancel(t.Context())
	c.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultTransport.RoundTrip(r)
		cancel() // gives up after the first answer
		return res, err
	})}
	if _, err := c.Hash(ctx, known); !errors.Is(err, context.Canceled) || asked.Load() != 1 {
		t.Errorf("given up: %v after %d calls", err, asked.Load())
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOddAnswers: what no Spoor server says is told in words, and not sent for again.
func TestOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		says   string
	}{
		{"another server", 200, "<html>", "not understood"},
		{"nothing", 200, "", "not understood"},
		{"another's 404", 404, "<html>", "404"},
		{"an error of another form", 400, `{"error":"x"}`, "400"},
		{"another path's 404", 404, `{"error":{"code":"not_found","message":"there is no such path"}}`, "there is no such path"},
		{"a redirect to nowhere", 302, "", "302"},
	} {
		var calls atomic.Int64
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
			calls.Add(1)
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
			return true
		})
		_, err := s.client(t, admin).Hash(t.Context(), known)
		if err == nil || !strings.Contains(err.Error(), tt.says) || errors.Is(err, client.ErrUnknown) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
		if calls.Load() != 1 && tt.status != 302 {
			t.Errorf("%s: asked %d times", tt.name, calls.Load())
		}
	}
	if wire.BatchID != http.CanonicalHeaderKey(wire.BatchID) {
		t.Error("the header's name is not canonical")
	}
}
