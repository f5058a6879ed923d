package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spoor/internal/realdata"
)

// hostileTime is how long TestHostileSubmissions goes on when $SPOOR_HOSTILE does not say, before the server is killed and as long after.
const hostileTime = 2 * time.Second

// TestHostileSubmissions throws mutated real files at a server while others look up what it knows. In the midst of it workers are killed, and then the
// server, which is started again. No look-up fails or changes its answer, and every file that was acknowledged ends with its inspection told.
func TestHostileSubmissions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("finds the workers to kill in /proc")
	}
	long := hostileTime
	if s := os.Getenv("SPOOR_HOSTILE"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatalf("SPOOR_HOSTILE: %v", err)
		}
	}
	seeds := realdata.Seeds(t, realdata.Path(t, "files"), filepath.Join("..", "..", "internal", "inspect", "unpack", "testdata"))
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	input := filepath.Join(dir, "observations.ndjson")
	const known = 1000
	hashes := strings.Fields(writeObservations(t, input, 20*known, known))
	spoor(t, "", "import", "--data", data, input)
	token := strings.TrimSpace(spoor(t, "", "token", "create", "--data", data, "--account", "attacker", "--scope", "lookup,submit", "--quota", "100000000"))

	s := startServer(t, data, token)
	want := map[string]string{}
	for _, h := range hashes {
		status, body, err := s.ask(http.MethodGet, "/api/v1/search/hash?request="+h, nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s before: %d %v", h, status, err)
		}
		want[h] = withoutQuota(body)
	}

	var quiet, busy latencies
	lookUp := func(until <-chan struct{}, seed uint64, into *latencies) {
		r := rand.New(rand.NewPCG(seed, 5))
		for {
			select {
			case <-until:
				return
			case <-time.After(time.Millisecond): // clients who ask all the time measure each other
			}
			h := hashes[r.IntN(len(hashes))]
			before, start := s.starts.Load(), time.Now()
			status, body, err := s.ask(http.MethodGet, "/api/v1/search/hash?request="+h, nil)
			took := time.Since(start)
			if err != nil && (s.down.Load() || s.starts.Load() != before) {
				continue // it is being killed
			}
			if err != nil || status != http.StatusOK || withoutQuota(body) != want[h] {
				t.Errorf("look-up of %s: %d %v\n got %.300s\nwant %.300s", h, status, err, body, want[h])
				return
			}
			into.add(took)
		}
	}
	// while lets clients go on for a time, and on a slow machine until they have done enough to prove something.
	while := func(d time.Duration, enough func() bool, clients ...func(until <-chan struct{})) {
		until := make(chan struct{})
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { c(until) })
		}
		time.Sleep(d)
		for end := time.Now().Add(patience); !enough() && time.Now().Before(end) && !t.Failed(); {
			time.Sleep(10 * time.Millisecond)
		}
		close(until)
		wg.Wait()
	}
	looking := func(into *latencies) (all []func(<-chan struct{})) {
		for n := range 3 {
			all = append(all, func(until <-chan struct{}) { lookUp(until, uint64(n), into) })
		}
		return all
	}
	while(long/3, func() bool { return quiet.n() > 0 }, looking(&quiet)...)

	var mu sync.Mutex
	var acknowledged []string
	var refused, sent atomic.Int64
	submit := func(until <-chan struct{}, seed uint64) {
		for n := uint64(0); ; n++ {
			select {
			case <-until:
				return
			default:
			}
			content := realdata.Mutate(rand.New(rand.NewPCG(n, seed+100*uint64(s.starts.Load()))), seeds)
			before := s.starts.Load()
			sent.Add(1)
			status, body, err := s.ask(http.MethodPost, "/api/v1/scan/file?wait=0&filename="+url.QueryEscape(fmt.Sprintf("../%d %d\x00.exe", seed, n)), content)
			switch {
			case err != nil && (s.down.Load() || s.starts.Load() != before):
			case err != nil:
				t.Errorf("a submission fails: %v", err)
				return
			case status == http.StatusOK:
				mu.Lock()
				acknowledged = append(acknowledged, fmt.Sprintf("%x", sha256.Sum256(content)))
				mu.Unlock()
			default:
				refused.Add(1)
				t.Errorf("a submission of %d bytes is answered with %d: %.300s", len(content), status, body)
				return
			}
		}
	}
	killed := 0
	attack := append(looking(&busy),
		func(until <-chan struct{}) { submit(until, 11) },
		func(until <-chan struct{}) { submit(until, 12) },
		func(until <-chan struct{}) { // what kills workers
			for {
				select {
				case <-until:
					return
				case <-time.After(hostileTime / 6):
				}
				for _, pid := range children(t, s.pid()) {
					if p, err := os.FindProcess(pid); err == nil && p.Kill() == nil {
						killed++
						break
					}
				}
			}
		})
	// attacked attacks, and demands that it came to something.
	attacked := func() {
		const least = 20
		taken := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(acknowledged)
		}
		files, looks := taken()+least, busy.n()+least
		while(long, func() bool { return taken() >= files && busy.n() >= looks }, attack...)
		if taken() < files || busy.n() < looks {
			t.Errorf("%d files acknowledged, %d look-ups, want %d and %d: too few to prove anything", taken(), busy.n(), files, looks)
		}
	}
	attacked()
	s.kill(t)
	s.start(t)
	attacked()

	// All that was acknowledged is inspected in the end.
	slices.Sort(acknowledged)
	acknowledged = slices.Compact(acknowledged)
	stopped := map[string]int{}
	for _, h := range acknowledged {
		for end := time.Now().Add(10 * patience); ; time.Sleep(20 * time.Millisecond) {
			status, body, err := s.ask(http.MethodPost, "/api/v1/getresult/file?request="+h, nil)
			var r struct {
				Status     string
				Inspection []struct{ Name, Value string }
			}
			if err == nil && status == http.StatusOK {
				err = json.Unmarshal([]byte(body), &r)
			}
			if err != nil || status != http.StatusOK {
				t.Fatalf("%s was acknowledged; afterwards: %d %v %.300s", h, status, err, body)
			}
			if r.Status != "complete" {
				if time.Now().After(end) {
					t.Fatalf("%s is %s", h, r.Status)
				}
				continue
			}
			for _, p := range r.Inspection {
				if why, ok := strings.CutPrefix(p.Value, "inspection stopped: "); ok {
					stopped[why]++
				}
				if strings.Contains(p.Value, "the reader failed") {
					t.Errorf("%s: %s", h, p.Value)
				}
			}
			break
		}
	}
	for why, n := range stopped {
		if !strings.Contains(why, "signal: killed") {
			t.Logf("stopped by themselves: %d: %s", n, why)
		}
	}
	t.Logf("%d submissions sent, %d acknowledged, %d workers killed, stopped: %v", sent.Load(), len(acknowledged), killed, stopped)
	t.Logf("look-ups: quiet %s; while files are inspected %s", &quiet, &busy)
	if n := killed - stopped["the worker was ended: signal: killed"]; n < 0 {
		t.Errorf("%d more inspections ended by a killed worker than were killed", -n)
	}
	s.kill(t)
	// Nothing is left in the queue, and no worker outlives its server.
	left, err := filepath.Glob(filepath.Join(data, "queue", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("in the queue is left: %q %v", left, err)
	}
}

// withoutQuota is an answer without how many were asked for on this day, which it begins with.
func withoutQuota(answer string) string {
	_, rest, _ := strings.Cut(answer, "}")
	return rest
}

// latencies are how long requests took.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *latencies) n() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// String returns the number, the median, the 99th percentile and the most.
func (l *latencies) String() string {
	if len(l.all) == 0 {
		return "none"
	}
	slices.Sort(l.all)
	at := func(q float64) time.Duration { return l.all[int(q*float64(len(l.all)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d, median %s, 99th percentile %s, most %s", len(l.all), at(0.5), at(0.99), at(1))
}

// served is a server in a process of its own.
type served struct {
	data, token string
	cmd         *exec.Cmd
	address     atomic.Value // a string
	drained     chan struct{}
	client      http.Client
	starts      atomic.Int64
	down        atomic.Bool
}

func startServer(t *testing.T, data, token string) *served {
	t.Helper()
	s := &served{data: data, token: token, client: http.Client{Timeout: patience}}
	s.start(t)
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.drained
		s.client.CloseIdleConnections()
	})
	return s
}

func (s *served) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.CommandContext(context.Background(), "spoor", "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--log-json", "--worker-time", "20s", "--workers", "2")
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Address string }
	d := json.NewDecoder(log)
	for line.Address == "" {
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	s.drained = make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, log); close(s.drained) }()
	s.address.Store(line.Address)
	s.starts.Add(1)
	s.down.Store(false)
}

// kill ends the server at once.
func (s *served) kill(t *testing.T) {
	t.Helper()
	workers := children(t, s.pid())
	s.down.Store(true)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	for end := time.Now().Add(patience); len(workers) > 0; time.Sleep(10 * time.Millisecond) {
		workers = slices.DeleteFunc(workers, func(pid int) bool { return !runs(pid) })
		if time.Now().After(end) {
			t.Fatalf("workers outlive their server: %d", workers)
		}
	}
}

func (s *served) pid() int { return s.cmd.Process.Pid }

func (s *served) ask(method, path string, body []byte) (int, string, error) {
	req, err := http.NewRequest(method, s.address.Load().(string)+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-API-Key", s.token)
	res, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// children returns the processes that a process has started.
func children(t *testing.T, parent int) (all []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(pid); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// runs reports whether a process is there and has not ended.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
