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

// filebeatConfig is the example of docs/arriving.md, for a log and a server of the test.
func filebeatConfig(t *testing.T, dir, server, token string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/arriving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "### Winlogbeat and Filebeat\n\n```yaml\n")
	config, _, end := strings.Cut(after, "```")
	if !ok || !end {
		t.Fatal("docs/arriving.md has no example for Filebeat")
	}
	for from, to := range map[string]string{"https://spoor.example.com:443": server, "TOKEN": token} {
		if !strings.Contains(config, from) {
			t.Fatalf("the example for Filebeat has no %s", from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	return fmt.Sprintf("path: {home: %[1]q, data: %[1]q, logs: %[1]q}\nfilebeat.inputs:\n  - {type: log, paths: [%[3]q], scan_frequency: 1s}\n%[2]s", dir, config, filepath.Join(dir, "sysmon.json")) +
		"output.elasticsearch.bulk_max_size: 100\noutput.elasticsearch.backoff: {init: 100ms, max: 1s}\nlogging: {level: warning, to_stderr: true, to_files: false}\n"
}

// TestRealShipper points real shippers at the API through a connection that breaks off now and then, after the server has answered, so that they send
// again what was taken: each line counts once. rsyslog is what Debian has; Filebeat is run where SPOOR_FILEBEAT says that it is (docs/arriving.md).
func TestRealShipper(t *testing.T) {
	t.Run("rsyslog", func(t *testing.T) {
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
		ships(t, "rsyslog.conf", rsyslogConfig, func(dir, config string) *exec.Cmd {
			return exec.Command(daemon, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
		})
	})
	program := os.Getenv("SPOOR_FILEBEAT")
	if program == "" {
		return // no registry has it ready to run
	}
	t.Run("Filebeat", func(t *testing.T) {
		ships(t, "filebeat.yml", filebeatConfig, func(dir, config string) *exec.Cmd {
			return exec.Command(program, "run", "-e", "-c", config)
		})
	})
}

// ships runs a shipper on a log, until all of it has arrived.
func ships(t *testing.T, file string, configure func(t *testing.T, dir, server, token string) string, command func(dir, config string) *exec.Cmd) {
	t.Helper()
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
	cmd := command(dir, write(file, configure(t, dir, proxy.URL, token)))
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
	// A shipper waits a while after each answer that was lost. That it takes too long is told below, by what is missing.
	for begin := time.Now(); got < n && time.Since(begin) < 5*patience; time.Sleep(50 * time.Millisecond) {
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
