package serve_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/intel"
	"spoor/internal/serve"
)

// TestFailures holds the table from errors to statuses, for errors wrapped as they come.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		err     error
		status  int
		code    string
		retry   bool
		message string
	}{
		{access.ErrCredential, 401, "unauthorized", false, "spoor token create"},
		{fmt.Errorf("x: %w", access.ErrForbidden), 403, "forbidden", false, "not allowed"},
		{access.ErrQuota, 429, "quota_exceeded", true, "midnight UTC"},
		{fmt.Errorf("it is %w", serve.ErrTooLarge), 413, "too_large", false, "too large"},
		{serve.ErrMediaType, 415, "unsupported_media_type", false, ""},
		{serve.ErrNotFound, 404, "not_found", false, ""},
		{serve.ErrMethod, 405, "method_not_allowed", false, ""},
		{&intel.Refusal{Field: "count", Reason: "too many"}, 400, "bad_request", false, "count: too many"},
		{intel.ErrUnknown, 404, "unknown_hash", false, ""},
		{fmt.Errorf("%w: %w", serve.ErrNoRoom, intel.ErrUnavailable), 503, "unavailable", true, "no room for the file"},
		{fmt.Errorf("disk full: %w", intel.ErrUnavailable), 503, "unavailable", true, "try again"},
		{context.DeadlineExceeded, 503, "unavailable", true, "try again"},
		{errors.New("password=hunter2"), 500, "internal", false, "log says more"},
	} {
		w := httptest.NewRecorder()
		serve.Fail(w, httptest.NewRequest(http.MethodGet, "/", nil), tt.err)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if w.Code != tt.status || body.Error.Code != tt.code || !strings.Contains(body.Error.Message, tt.message) {
			t.Errorf("%v: %d %s", tt.err, w.Code, w.Body)
		}
		if got := w.Header().Get("Retry-After") != ""; got != tt.retry {
			t.Errorf("%v: Retry-After is %q", tt.err, w.Header().Get("Retry-After"))
		}
		if tt.status >= 500 && (strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "disk full")) {
			t.Errorf("%v: the answer tells the inside: %s", tt.err, w.Body)
		}
	}
}

// TestRecovery: a handler that panics is a 500 and a line in the log; the server goes on. No query, header or body is logged.
func TestRecovery(t *testing.T) {
	var log bytes.Buffer
	mux := http.NewServeMux()
	mux.HandleFunc("/bad", func(http.ResponseWriter, *http.Request) { panic("broken") })
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	h := serve.Handler(mux, serve.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for path, status := range map[string]int{"/bad?q=secret-query": 500, "/good?q=secret-query": 200, "/none?q=secret-query": 404} {
		r := httptest.NewRequest(http.MethodGet, path, strings.NewReader("secret-body"))
		r.Header.Set("Authorization", "Bearer secret-token")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	if !strings.Contains(log.String(), "broken") || strings.Contains(log.String(), "secret") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// TestGrace: at the end, a request under way is answered, and no new one is taken.
func TestGrace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	begun, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		fmt.Fprint(w, "done")
	})
	ended := make(chan error, 1)
	go func() { ended <- serve.Run(ctx, l, h, nil, 10*time.Second, slog.New(slog.DiscardHandler)) }()
	got := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-begun
	stop()
	for range 100 { // until it listens no more
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	close(release)
	if s := <-got; s != "done" {
		t.Errorf("the request under way: %s", s)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

// certificate makes a self-signed certificate.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClientCertificate: a token that is bound to a client certificate counts with that certificate alone, over real TLS.
func TestClientCertificate(t *testing.T) {
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := certificate(t, "right"), certificate(t, "wrong")
	sum := sha256.Sum256(right.Certificate[0])
	secret, _, err := gates.Create(access.NewToken{Account: "edge", Lifetime: time.Hour, Certificate: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	gate := &serve.Gate{Access: gates}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := gate.Identify(r, access.Lookup); err != nil {
			serve.Fail(w, r, err)
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		account      string
		status       int
	}{
		"with it":         {[]tls.Certificate{right}, "edge", 200},
		"another":         {[]tls.Certificate{wrong}, "edge", 401},
		"none":            {nil, "edge", 401},
		"another account": {[]tls.Certificate{right}, "soc", 401},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, Certificates: tt.certificates}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(tt.account, secret)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, tt.status)
		}
		client.CloseIdleConnections()
	}
}

// TestOpenLookups: without a credential one may look up and nothing else; a wrong credential is refused all the same.
func TestOpenLookups(t *testing.T) {
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	gate := &serve.Gate{Access: gates, OpenLookups: true}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if id, err := gate.Identify(r, access.Lookup); err != nil || id.Token != nil {
		t.Errorf("a look-up: %v", err)
	}
	if _, err := gate.Identify(r, access.Ingest); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("sending: %v", err)
	}
	r.Header.Set("X-Api-Key", "wrong")
	if _, err := gate.Identify(r, access.Lookup); !errors.Is(err, access.ErrCredential) {
		t.Errorf("a wrong key: %v", err)
	}
}

// TestSessionReads: a browser's session is for reading: what changes something needs a token.
func TestSessionReads(t *testing.T) {
	gates, err := access.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := gates.Create(access.NewToken{Account: "soc", Lifetime: time.Hour, Scopes: []access.Scope{access.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := gates.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	gate := &serve.Gate{Access: gates}
	for method, ok := range map[string]bool{http.MethodGet: true, http.MethodHead: true, http.MethodPost: false, http.MethodDelete: false} {
		r := httptest.NewRequest(method, "/", nil)
		r.AddCookie(&http.Cookie{Name: serve.SessionCookie, Value: gates.Session(id)})
		if _, err := gate.Identify(r, access.Lookup); (err == nil) != ok {
			t.Errorf("%s: %v", method, err)
		}
	}
}
