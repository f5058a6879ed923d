package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/serve"
	"spoor/internal/store"
	"spoor/internal/submit"
	"spoor/internal/worker"
	"spoor/wire"
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

// newSubmitServer is a server with a queue that runs, or waits, as the test wants it.
func newSubmitServer(t *testing.T, run bool) *server {
	t.Helper()
	kept, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gates, clock := openAccess(t)
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		if run {
			queue.Run(ctx)
		}
	}()
	mux := http.NewServeMux()
	api.Register(mux, api.Config{View: view, Recorder: kept, Ready: kept.Ready, Gate: &serve.Gate{Access: gates}, Submissions: queue})
	h := httptest.NewServer(serve.Handler(mux, serve.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() {
		h.Close()
		cancel()
		<-done
		pool.Close()
		gates.Close()
		kept.Close()
	})
	s := &server{Server: h, store: kept, access: gates, clock: clock, paths: readOpenAPI(t)}
	s.admin = s.token(t, access.NewToken{Account: "admin", Scopes: []access.Scope{access.Admin}})
	return s
}

func report(t *testing.T, a answer) wire.HashReport {
	t.Helper()
	var r wire.HashReport
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return r
}

// The hashes of "hello\n".
const (
	helloMD5    = "B1946AC92492D2347C6235B4D2611184"
	helloSHA256 = "5891B5B522D5DF086D0FF0B110FBD9D21BB4FC7163AF34D08286A2E846F6BE03"
)

func TestScanFile(t *testing.T) {
	s := newSubmitServer(t, true)
	scan := func(query string) request {
		return request{method: "POST", path: "/api/v1/scan/file" + query, body: strings.NewReader("hello\n")}
	}
	for range 2 { // the second time it has been inspected before
		a := s.ask(t, scan("?filename=dir%2Fhello.txt&wait=25"))
		r := report(t, a)
		if a.status != 200 || r.Status != "complete" || r.FileGeneralInfo.Sha256 != helloSHA256 || r.FileGeneralInfo.FileStatus != "NotCategorized" ||
			len(r.FileNames) != 1 || r.FileNames[0].FileName != "hello.txt" || r.FileNames[0].FileNamesHitsCount != 1 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	clearance := intel.TLPGreen
	green := s.token(t, access.NewToken{Account: "green", Scopes: []access.Scope{access.Submit}, Clearance: &clearance})
	a := s.ask(t, request{method: "POST", path: "/api/v1/getresult/file?request=" + helloMD5})
	if r := report(t, a); a.status != 200 || r.Status != "complete" || *r.FileGeneralInfo.Size != 6 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, tt := range []struct {
		what   string
		q      request
		status int
		says   string
	}{
		{"an unknown hash", request{method: "POST", path: "/api/v1/getresult/file?request=" + strings.Repeat("0", 32)}, 404, "unknown_hash"},
		{"no hash", request{method: "POST", path: "/api/v1/getresult/file?request=x"}, 400, "is not a hash"},
		{"nothing asked", request{method: "POST", path: "/api/v1/getresult/file"}, 400, "request"},
		{"a token that may only look", request{method: "POST", path: "/api/v1/scan/file", token: s.token(t, access.NewToken{Account: "reader"}), body: strings.NewReader("x")}, 403, "scope submit"},
		{"no token", request{method: "POST", path: "/api/v1/scan/file", token: "none", body: strings.NewReader("x")}, 401, "credential"},
		{"a wait that is none", scan("?wait=1h"), 400, "wait"},
		{"a wait too long", scan("?wait=26"), 400, "wait"},
		{"a name twice", scan("?filename=a&filename=b"), 400, "more than once"},
		{"a marking that is none", scan("?marking=blue"), 400, "marking"},
		{"a form", request{method: "POST", path: "/api/v1/scan/file", body: strings.NewReader("x"), header: http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}}, 415, "data-binary"},
		{"a packed body", request{method: "POST", path: "/api/v1/scan/file", body: strings.NewReader("x"), header: http.Header{"Content-Encoding": {"gzip"}}}, 415, "as it is"},
		{"what curl calls a form", request{method: "POST", path: "/api/v1/scan/file", body: strings.NewReader("hello\n"), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, 200, helloSHA256},
		{"a marking stricter than the clearance", request{method: "POST", path: "/api/v1/scan/file?marking=amber", token: green, body: strings.NewReader("x")}, 400, "stricter than green"},
		{"an empty file", request{method: "POST", path: "/api/v1/scan/file", body: http.NoBody, header: http.Header{}}, 200, helloless},
		{"another method", request{path: "/api/v1/scan/file"}, 405, "POST"},
	} {
		a := s.ask(t, tt.q)
		if a.status != tt.status || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s", tt.what, a.status, a.body)
		}
	}
	// The quota counts a submission as a request; on this path it is 403 when it is used up.
	one := uint64(1)
	few := s.token(t, access.NewToken{Account: "few", Scopes: []access.Scope{access.Submit, access.Lookup}, Quota: &one})
	// One that is cut off costs nothing, though a unit is taken while it comes.
	id, err := s.access.Check(few, "", "")
	if err != nil {
		t.Fatal(err)
	}
	used := func(want uint64) {
		t.Helper()
		ok := eventually(func() bool {
			u, err := s.access.Use(id.Account, 0)
			if err != nil {
				t.Fatal(err)
			}
			return u.Used == want
		})
		if !ok {
			t.Errorf("never %d units used", want)
		}
	}
	body, half := io.Pipe()
	cut, err := http.NewRequest("POST", s.URL+"/api/v1/scan/file", body)
	if err != nil {
		t.Fatal(err)
	}
	cut.Header.Set("x-api-key", few)
	done := make(chan error, 1)
	go func() {
		r, err := http.DefaultClient.Do(cut)
		if err == nil {
			r.Body.Close()
		}
		done <- err
	}()
	fmt.Fprint(half, "half a f")
	used(1)
	half.CloseWithError(errors.New("the line is dead"))
	if err := <-done; err == nil {
		t.Error("half a file was taken")
	}
	used(0)
	if a := s.ask(t, request{method: "POST", path: "/api/v1/scan/file", token: few, body: strings.NewReader("one")}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.ask(t, request{method: "POST", path: "/api/v1/scan/file", token: few, body: strings.NewReader("two")}); a.status != 403 || !strings.Contains(a.body, "quota") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// helloless is a part of the answer about the empty file.
const helloless = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

// TestWaiting: while a file waits its state is told by any of its hashes, and what is submitted again waits once.
func TestWaiting(t *testing.T) {
	s := newSubmitServer(t, false)
	for range 2 {
		a := s.ask(t, request{method: "POST", path: "/api/v1/scan/file?wait=0", body: strings.NewReader("hello\n")})
		r := report(t, a)
		if a.status != 200 || r.Status != "not started" || r.FileGeneralInfo.Md5 != helloMD5 || r.Zone != wire.Grey || *r.FileGeneralInfo.Size != 6 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	a := s.ask(t, request{method: "POST", path: "/api/v1/getresult/file?request=" + helloMD5})
	if r := report(t, a); a.status != 200 || r.Status != "not started" || r.FileGeneralInfo.Sha256 != helloSHA256 || *r.FileGeneralInfo.Size != 6 || r.FileGeneralInfo.FileStatus != "NotCategorized" {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Its sections are those of a file that has been inspected.
	sections := func(a answer) (names []string) {
		var all map[string]json.RawMessage
		if err := json.Unmarshal([]byte(a.body), &all); err != nil {
			t.Fatalf("%s: %v", a.body, err)
		}
		return slices.Sorted(maps.Keys(all))
	}
	done := newSubmitServer(t, true).ask(t, request{method: "POST", path: "/api/v1/scan/file?wait=25", body: strings.NewReader("hello\n")})
	if diff := cmp.Diff(sections(done), sections(a)); diff != "" {
		t.Errorf("sections (-inspected +waiting):\n%s", diff)
	}
}

// TestMemberPaths: what a member is called is in the section that is asked for by name, and in no row of the portal's.
func TestMemberPaths(t *testing.T) {
	s := newSubmitServer(t, true)
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create("dir/<b>.txt")
	if err == nil {
		_, err = w.Write([]byte("hello\n"))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	h := report(t, s.ask(t, request{method: "POST", path: "/api/v1/scan/file?wait=25", body: &packed})).FileGeneralInfo.Sha256
	for sections, want := range map[string][2]int{"MemberPaths": {0, 1}, "FileUnpackedObjects": {1, 0}, "FileUnpackedObjects,MemberPaths": {1, 1}} {
		a := s.ask(t, request{path: "/api/hash/" + h + "?sections=" + sections})
		r := report(t, a)
		if len(r.FileUnpackedObjects) != want[0] || len(r.MemberPaths) != want[1] {
			t.Fatalf("%s: %s", sections, a.body)
		}
		for _, m := range r.FileUnpackedObjects {
			if m.ChildMD5 != helloMD5 || m.Path != "" {
				t.Errorf("%s: %s", sections, a.body)
			}
		}
		for _, m := range r.MemberPaths {
			if m.ChildMD5 != helloMD5 || m.Path != "dir/<b>.txt" {
				t.Errorf("%s: %s", sections, a.body)
			}
		}
	}
}
