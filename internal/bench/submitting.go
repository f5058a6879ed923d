package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/worker"
)

// Served is a server in a process of its own.
type Served struct {
	URL   string
	Token string // with the scopes lookup and submit
	PID   int
	Stop  func() error
}

// submitting sends files to a server, from two clients, and tells what it and its workers hold in memory while they are inspected, and how long look-ups
// take meanwhile.
func submitting(ctx context.Context, o *Options, dir string, files []string) (_ []Result, err error) {
	if o.Serve == nil {
		return nil, nil
	}
	o.say("sending %d packages to a server", len(files))
	s, err := o.Serve(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	next := make(chan string)
	hashes := make(chan string, len(files))
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	var sending sync.WaitGroup
	for range 2 {
		sending.Go(func() {
			for name := range next {
				hash, err := s.submit(ctx, name)
				if err != nil {
					fail(fmt.Errorf("submitting %s: %w", name, err))
				}
				hashes <- hash
			}
		})
	}
	start := time.Now()
	go func() {
		defer close(hashes)
		defer sending.Wait()
		defer close(next)
		for _, name := range files {
			next <- name
		}
	}()
	// Each answer is asked for again and again until it is complete: those are the look-ups that are timed.
	var times []time.Duration
	var memory int64
	for hash := range hashes {
		for status := ""; status != "complete"; {
			select {
			case err := <-failed:
				go func() { // the senders end
					for range hashes {
					}
				}()
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
			asked := time.Now()
			if status, err = s.state(ctx, hash); err != nil {
				return nil, err
			}
			times = append(times, time.Since(asked))
			memory = max(memory, worker.PeakMemoryOf(s.PID))
		}
	}
	took := time.Since(start)
	workers, err := s.workerMemory(ctx)
	if err != nil {
		return nil, err
	}
	all := []Result{told("the same, sent to a server", float64(len(files))/took.Seconds(), "files/s"),
		told("look-up meanwhile, 99th percentile", quantile(times, 0.99), "ms")}
	if memory > 0 {
		all = append(all, told("most memory of the server meanwhile", float64(memory)/1e6, "MB"), below("most memory of its workers, each", workers/1e6, "MB", 512))
	}
	return all, nil
}

// submit sends a file and returns its hash.
func (s *Served) submit(ctx context.Context, name string) (hash string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hashes, _, err := inspect.HashReader(f)
	if err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	_, err = s.ask(ctx, http.MethodPost, "/api/v1/scan/file?wait=0&filename=x.zip", f)
	return hashes.SHA256.String(), err
}

// state asks for a submitted file.
func (s *Served) state(ctx context.Context, hash string) (string, error) {
	b, err := s.ask(ctx, http.MethodPost, "/api/v1/getresult/file?request="+hash, http.NoBody)
	var answer struct{ Status string }
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	return answer.Status, err
}

// workerMemory asks how much memory a worker has held at most.
func (s *Served) workerMemory(ctx context.Context) (float64, error) {
	b, err := s.ask(ctx, http.MethodGet, "/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if number, ok := strings.CutPrefix(line, "spoor_worker_memory_peak_bytes "); ok {
			return strconv.ParseFloat(strings.TrimSpace(number), 64)
		}
	}
	return 0, errors.New("the server's metrics do not tell the memory of its workers")
}

func (s *Served) ask(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", res.Status, b)
	}
	return b, err
}
