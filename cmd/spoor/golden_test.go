package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// server is a whole server in this process, on a store in memory, with a clock that stands still.
type server struct {
	*httptest.Server
	store *store.Store
	token string
}

var testNow = time.Date(2026, 5, 20, 15, 4, 5, 0, time.UTC)

func newServer(t *testing.T) *server {
	t.Helper()
	now := func() time.Time { return testNow }
	s, err := store.New(mem.New(), store.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	gates, err := access.Open(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := gates.Create(access.NewToken{Account: "soc", Plan: access.Commercial, Lifetime: 24 * time.Hour, Scopes: []access.Scope{access.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(newHandler(s, gates, nil, nil, false, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), serve.Options{}))
	t.Cleanup(func() {
		h.Close()
		if err := gates.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &server{h, s, token}
}

// get asks with the server's token.
func (s *server) get(t *testing.T, path string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// take imports NDJSON.
func (s *server) take(t *testing.T, ndjson []byte) {
	t.Helper()
	im := ingest.Importer{Recorder: s.store, Options: source.Options{Format: source.Observations}}
	summary, err := im.Import(t.Context(), []string{"-"}, bytes.NewReader(ndjson))
	if err != nil {
		t.Fatal(err)
	}
	if summary.Refused > 0 {
		t.Fatalf("refused: %v", summary.Refusals)
	}
}

// TestGolden takes observations and compares every print of the answer with the one that was looked over: JSON, STIX, HTML, text.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	proven := map[dossier.Section]bool{}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			read := func(name string) []byte {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			s := newServer(t)
			s.take(t, read("observations.ndjson"))
			asked := strings.TrimSpace(string(read("hash")))
			compare := func(name string, got []byte) {
				t.Helper()
				file := filepath.Join(dir, name)
				if *update {
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(strings.Split(string(read(name)), "\n"), strings.Split(string(got), "\n")); diff != "" {
					t.Errorf("%s (-want +got; 'go test ./cmd/spoor -run Golden -update' writes it anew, to be looked over):\n%s", name, diff)
				}
			}
			answer := func(path string) []byte {
				status, body := s.get(t, path)
				if status != http.StatusOK {
					t.Fatalf("%s: %d %s", path, status, body)
				}
				return body
			}
			whole := answer("/api/hash/" + asked)
			compare("answer.json", indented(t, whole))
			compare("own.json", indented(t, answer("/api/hash/"+asked+"?sections=Hosts,Reasons,Conflicts,Inspection")))
			compare("opentip.json", indented(t, answer("/api/v1/search/hash?request="+asked)))
			compare("answer.stix.json", indented(t, answer("/api/hash/"+asked+"?format=stix")))
			compare("page.html", answer("/hash/"+asked))

			for _, r := range reports(t, whole) {
				compare("publication-"+r.Id+".json", indented(t, answer("/api/publications/get_one?include_info=all&publication_id="+r.Id)))
				compare("publication-"+r.Id+".html", answer("/publication/"+r.Id))
			}

			h, err := intel.ParseHash(asked)
			if err != nil {
				t.Fatal(err)
			}
			p := place{server: s.URL, token: s.token}
			ask, end, err := p.asker()
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			report, err := ask(t.Context(), h, dossier.AllSections())
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if err := (&printer{w: &text, full: true}).print(h, report); err != nil {
				t.Fatal(err)
			}
			compare("answer.txt", text.Bytes())

			var sections map[dossier.Section]json.RawMessage
			if err := json.Unmarshal(whole, &sections); err != nil {
				t.Fatal(err)
			}
			for name, value := range sections {
				if string(value) != "[]" {
					proven[name] = true
				}
			}
			// All hashes of the file, in any spelling, give the same answer but for the count of requests.
			for _, other := range allHashes(t, sections[dossier.FileGeneralInfo]) {
				var again map[dossier.Section]json.RawMessage
				if err := json.Unmarshal(answer("/api/hash/"+other), &again); err != nil {
					t.Fatal(err)
				}
				if filepath.Base(dir) == "a-conflict" {
					break // there a weak hash is not the file's alone
				}
				delete(again, dossier.LicenseInfo)
				delete(sections, dossier.LicenseInfo)
				if diff := cmp.Diff(sections, again); diff != "" {
					t.Errorf("asked by %s:\n%s", other, diff)
				}
			}
		})
	}
	for _, s := range dossier.PageSections() {
		if !proven[s] {
			t.Errorf("no golden case has anything in %s", s)
		}
	}
}

// reports returns the publications that an answer names.
func reports(t *testing.T, answer []byte) []wire.Report {
	t.Helper()
	var r wire.HashReport
	if err := json.Unmarshal(answer, &r); err != nil {
		t.Fatal(err)
	}
	return r.FileGeneralInfo.RelatedAptReports
}

// allHashes returns the file's own hashes as an answer gives them.
func allHashes(t *testing.T, general json.RawMessage) (out []string) {
	var g struct{ Md5, Sha1, Sha256 string }
	if err := json.Unmarshal(general, &g); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{g.Md5, g.Sha1, g.Sha256} {
		if h != "" {
			out = append(out, h, strings.ToLower(h), "0x"+h, "%20"+h+"%20")
		}
	}
	return out
}

func indented(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	out.WriteByte('\n')
	return out.Bytes()
}
