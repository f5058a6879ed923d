package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/access"
	"spoor/internal/store"
	"spoor/wire"
)

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, s string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(s), nil)
}

// send posts a body and reads the receipt.
func (s *server) send(t *testing.T, body []byte, header map[string]string) (int, wire.Receipt, string) {
	t.Helper()
	h := http.Header{}
	for k, v := range header {
		h.Set(k, v)
	}
	a := s.ask(t, request{method: http.MethodPost, path: "/api/observations", body: bytes.NewReader(body), header: h})
	var r wire.Receipt
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return a.status, r, a.body
}

// hits asks how often the known file was seen.
func (s *server) hits(t *testing.T) uint64 {
	t.Helper()
	a := s.ask(t, request{path: "/api/hash/" + knownSHA256 + "?sections=FileGeneralInfo"})
	var r wire.HashReport
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || r.FileGeneralInfo == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return r.FileGeneralInfo.HitsCount
}

func sightings(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"source":{"type":"telemetry","name":"t"},"file":{"sha256":%q},"sighting":{"host":"h%d"}}`+"\n", knownSHA256, i)
	}
	return b.String()
}

// TestPacked: plain, gzip and zstd count alike, and a batch of one name counts once however it is packed.
func TestPacked(t *testing.T) {
	s := newServer(t, store.Options{})
	const n = 20_000 // more than two batches of the store
	body := sightings(n)
	for i, tt := range []struct {
		name   string
		body   []byte
		header map[string]string
		want   wire.Receipt
		hits   uint64
	}{
		{"plain", []byte(body), nil, wire.Receipt{Accepted: n}, n},
		{"the same again", []byte(body), nil, wire.Receipt{Repeated: n}, n},
		{"gzip, named", gzipped(t, body), map[string]string{"Content-Encoding": "gzip", "Spoor-Batch-Id": "a"}, wire.Receipt{Accepted: n}, 2 * n},
		{"zstd, the same name", zstandard(t, body), map[string]string{"Content-Encoding": "zstd", "Spoor-Batch-Id": "a"}, wire.Receipt{Repeated: n}, 2 * n},
		{"zstd, another name", zstandard(t, body), map[string]string{"Content-Encoding": "ZSTD", "Spoor-Batch-Id": "b"}, wire.Receipt{Accepted: n}, 3 * n},
		{"one that broke off, sent whole", []byte(body + sightings(1)), map[string]string{"Spoor-Batch-Id": "c"}, wire.Receipt{Accepted: n + 1}, 4*n + 1},
		{"nothing", nil, nil, wire.Receipt{}, 4*n + 1},
	} {
		status, got, text := s.send(t, tt.body, tt.header)
		tt.want.Refusals = []wire.Refusal{}
		if diff := cmp.Diff(tt.want, got); status != 200 || diff != "" {
			t.Errorf("%d %s: %d %s\n%s", i, tt.name, status, text, diff)
		}
		if got := s.hits(t); got != tt.hits {
			t.Errorf("%d %s: %d hits, want %d", i, tt.name, got, tt.hits)
		}
	}
}

// TestNamesAreTheAccounts: two accounts may use one batch id.
func TestNamesAreTheAccounts(t *testing.T) {
	s := newServer(t, store.Options{})
	for _, account := range []string{"a", "b"} {
		token := s.token(t, access.NewToken{Account: account, Scopes: []access.Scope{access.Ingest}})
		a := s.ask(t, request{method: "POST", path: "/api/observations", token: token, body: strings.NewReader(sightings(1)), header: http.Header{"Spoor-Batch-Id": {"1"}}})
		if !strings.Contains(a.body, `"accepted":1`) {
			t.Errorf("%s: %s", account, a.body)
		}
	}
}

// TestAtOnce: the same batch sent by many at once counts once.
func TestAtOnce(t *testing.T) {
	s := newServer(t, store.Options{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/observations", strings.NewReader(sightings(500)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+s.admin)
			req.Header.Set(wire.BatchID, "same")
			res, err := s.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s", res.Status)
			}
		})
	}
	wg.Wait()
	if got := s.hits(t); got != 500 {
		t.Errorf("%d hits, want 500", got)
	}
}

// TestRefusedLines: what is wrong is named by line and field; the good rest goes in.
func TestRefusedLines(t *testing.T) {
	s := newServer(t, store.Options{})
	good := strings.TrimSuffix(sightings(1), "\n")
	body := strings.Join([]string{
		good,
		`not json`,
		``,
		`{"source":{"type":"telemetry","name":"t"},"file":{"sha256":"12"},"sighting":{}}`,
		`{"source":{"type":"telemetry","name":"t"},"file":{"sha256":"` + knownSHA256 + `"},"sighting":{"colour":"red"}}`,
		`{"source":{"type":"telemetry","name":"t"},"file":{"sha256":"` + knownSHA256 + `"},"sighting":{"host":"` + strings.Repeat("h", 5000) + `"}}`,
		`[1,2]`,
		good + good,
		"\xff\xfe",
		good,
	}, "\n")
	status, got, text := s.send(t, []byte(body), nil)
	if status != 200 || got.Accepted != 2 || got.Refused != 7 {
		t.Errorf("%d %s", status, text)
	}
	var at []string
	for _, r := range got.Refusals {
		at = append(at, fmt.Sprintf("%d %s", r.Line, r.Field))
	}
	want := []string{"2 ", "4 file.sha256", "5 sighting.colour", "6 sighting.host", "7 ", "8 ", "9 "}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Errorf("lines and fields (-want +got):\n%s\n%s", diff, text)
	}
	if status, got, text := s.send(t, []byte(strings.Repeat("no\n", 300)), nil); status != 400 || got.Refused != 300 || len(got.Refusals) != 100 {
		t.Errorf("nothing good: %d, %d refused, %d named: %.200s", status, got.Refused, len(got.Refusals), text)
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// TestRefusedBodies: what is no body for this call is told, not swallowed.
func TestRefusedBodies(t *testing.T) {
	s := newServer(t, store.Options{})
	for _, tt := range []struct {
		name   string
		header http.Header
		body   io.Reader
		status int
		text   string
	}{
		{"a picture", http.Header{"Content-Type": {"image/png"}}, strings.NewReader("x"), 415, "application/x-ndjson"},
		{"a broken type", http.Header{"Content-Type": {"/;"}}, strings.NewReader("x"), 415, "not well formed"},
		{"an unknown packing", http.Header{"Content-Encoding": {"br"}}, strings.NewReader("x"), 415, "gzip or zstd"},
		{"gzip that is none", http.Header{"Content-Encoding": {"gzip"}}, strings.NewReader("hello"), 400, "cannot be read"},
		{"zstd that is none", http.Header{"Content-Encoding": {"zstd"}}, strings.NewReader("hello"), 400, "cannot be read"},
		{"gzip cut short", http.Header{"Content-Encoding": {"gzip"}}, bytes.NewReader(gzipped(t, sightings(100))[:60]), 400, "cannot be read"},
		{"a batch id too long", http.Header{"Spoor-Batch-Id": {strings.Repeat("x", 257)}}, strings.NewReader(sightings(1)), 400, "Spoor-Batch-Id"},
		{"a body without end", http.Header{"Spoor-Batch-Id": {"endless"}}, io.LimitReader(endless{}, 1<<30), 413, "at most 268435456 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.ask(t, request{method: "POST", path: "/api/observations", header: tt.header, body: tt.body})
			if a.status != tt.status || !strings.Contains(a.body, tt.text) {
				t.Errorf("%d %s, want %d with %q", a.status, a.body, tt.status, tt.text)
			}
		})
	}
}
