package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/store"
)

// rsyslogConfig is the example of docs/arriving.md, for a log and a server of the test.
func rsyslogConfig(t *testing.T, dir, server, token string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/arriving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "```rsyslog\n")
	config, _, end := strings.Cut(after, "```")
	if !ok || !end {
		t.Fatal("docs/arriving.md has no example for rsyslog")
	}
	for from, to := range map[string]string{"/var/log/sysmon.json": dir + "/sysmon.json", "https://spoor.example.com:443": server, "TOKEN": token, `"1000"`: `"100"`} {
		if !strings.Contains(config, from) {
			t.Fatalf("the example for rsyslog has no %s", from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	return fmt.Sprintf("global(workDirectory=%q)\n%s", dir, config)
}

// TestRealShipper points rsyslog, a shipper that Debian has, at the API through a connection that breaks off now and then, after the server
// has answered, so that rsyslog sends again what was taken: each line counts once.
func TestRealShipper(t *testing.T) {
	daemon, err := exec.LookPath("rsyslogd")
	if err != nil {
		daemon = "/usr/sbin/rsyslogd" // not in everybody's path
		if _, err := os.Stat(daemon); err != nil {
			t.Skip("rsyslogd is not installed")
		}
	}
	if modules, _ := filepath.Glob("/usr/lib/*/rsyslog/omelasticsearch.so"); len(modules) == 0 {
		t.Skip("rsyslog's module for Elasticsearch is not installed")
	}
	s := newServer(t, store.Options{})
	token := s.token(t, access.NewToken{Account: "ship", Scopes: []access.Scope{access.Ingest}})
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	bulks, lost := 0, 0
	through := httputil.NewSingleHostReverseProxy(target)
	through.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, "_bulk") {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if bulks++; bulks%3 == 2 {
			lost++
			panic(http.ErrAbortHandler) // the answer never arrives
		}
		return nil
	}
	proxy := httptest.NewServer(through)
	defer proxy.Close()
	dir := t.TempDir()
	const n = 2000
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("sysmon.json", sysmonLog(0, n))
	config := write("rsyslog.conf", rsyslogConfig(t, dir, proxy.URL, token))
	cmd := exec.Command(daemon, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is told to end below
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	var got uint64
	for begin := time.Now(); got < n && time.Since(begin) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		if a := s.ask(t, request{path: "/api/hash/" + knownSHA256}); a.status == http.StatusOK {
			got = s.hits(t)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d requests, the answers to %d of them lost", bulks, lost)
	if got != n || lost == 0 {
		t.Errorf("%d hits, want %d; the answers to %d of %d requests were lost", got, n, lost, bulks)
	}
}
