package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	spoorpebble "spoor/internal/kv/pebble"
	"spoor/internal/serve"
	"spoor/internal/store"
)

// answering measures look-ups over HTTP on a store of 2 M files and 20 M observations (a tenth when quick), against an empty handler on
// the same server, and the first page of a file whose relation has a million rows.
func answering(ctx context.Context, o *Options, dir string) ([]Result, error) {
	files, n := o.scale()
	data := filepath.Join(dir, "answering")
	o.say("filling a store with %d observations of %d files", n, files)
	engine, err := spoorpebble.Open(filepath.Join(data, "store"), spoorpebble.Options{CacheBytes: o.BlockCache})
	if err != nil {
		return nil, err
	}
	s, err := store.New(engine, store.Options{})
	if err != nil {
		return nil, err
	}
	if _, err := record(ctx, s, files, n, nil); err != nil {
		return nil, err
	}
	if err := engine.Flush(); err != nil {
		return nil, err
	}
	size := engine.Stats().DiskBytes
	hub, rows, err := fillHub(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // what is in the write buffers is not what a server has
		return nil, err
	}
	if engine, err = spoorpebble.Open(filepath.Join(data, "store"), spoorpebble.Options{CacheBytes: o.BlockCache}); err != nil {
		return nil, err
	}
	if s, err = store.New(engine, store.Options{}); err != nil {
		return nil, err
	}
	defer s.Close()
	gates, err := access.Open(data, nil)
	if err != nil {
		return nil, err
	}
	defer gates.Close()
	quota := uint64(1) << 40
	token, _, err := gates.Create(access.NewToken{Account: "bench", Lifetime: time.Hour, Scopes: []access.Scope{access.Lookup}, Quota: &quota})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	api.Register(mux, api.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Recorder: s, Ready: s.Ready, Gate: &serve.Gate{Access: gates}, CacheBytes: o.AnswerCache})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: serve.Handler(mux, serve.Options{}), ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	defer server.Close()
	b := &browser{address: l.Addr().String(), token: token}

	seconds := 15 * time.Second
	if o.Quick {
		seconds = 9 * time.Second
	}
	// The same popularity as what was recorded: the files that are seen most are asked for most.
	known := func(r *rand.Rand) func() string {
		z := rand.NewZipf(r, 1.07, 8, uint64(files-1))
		return func() string { return "/api/hash/" + hashesOf(int(z.Uint64())).MD5.String() }
	}
	empty := func(*rand.Rand) func() string { return func() string { return "/empty" } }
	o.say("waiting for compactions")
	for quiet := 0; quiet < 10 && ctx.Err() == nil; quiet++ {
		if engine.Busy() {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	o.say("warming up")
	if _, err := b.load(ctx, seconds, known); err != nil {
		return nil, err
	}
	o.say("asking for the empty handler, full dossiers and unknown hashes in turn")
	var e, k, u load
	const rounds = 3 // in turn, so that what else the machine does touches all alike
	for range rounds {
		for _, x := range []struct {
			into *load
			next func(*rand.Rand) func() string
		}{{&e, empty}, {&k, known}, {&u, unknownHashes}} {
			runtime.GC() // each pays for its own garbage
			part, err := b.load(ctx, seconds/rounds, x.next)
			if err != nil {
				return nil, err
			}
			x.into.add(part)
		}
	}
	o.say("asking for a file with a million rows")
	first, err := firstPage(ctx, s, hub)
	if err != nil {
		return nil, err
	}
	// The client's part of the process is in the figure, too.
	runtime.GC()
	return []Result{
		atLeast("full dossiers a second over HTTP", k.rate(), "req/s", "empty handler on the same server", e.rate(), 0.25),
		below("full dossier, 99th percentile", quantile(k.times, 0.99), "ms", 5),
		told("full dossier, median", quantile(k.times, 0.5), "ms"),
		told("bytes of a full dossier, mean", float64(k.bytes)/float64(max(len(k.times), 1)), "bytes"),
		atLeast("unknown hashes a second over HTTP", u.rate(), "req/s", "empty handler on the same server", e.rate(), 0.7),
		below(fmt.Sprintf("first page of a hub with %d rows", rows), first, "ms", 10),
		told("bytes on disk an observation", float64(size)/float64(n), "bytes"),
		told("memory of the process, resident", residentMB(), "MB"),
	}, nil
}

// unknownHashes makes the paths of hashes of which nothing is known.
func unknownHashes(r *rand.Rand) func() string {
	return func() string {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], r.Uint64())
		binary.LittleEndian.PutUint64(b[8:], r.Uint64())
		return string(hex.AppendEncode([]byte("/api/hash/"), b[:]))
	}
}

// fillHub gives one file a million started objects.
func fillHub(ctx context.Context, o *Options, s *store.Store) (intel.Hash, int, error) {
	rows := 1_000_000
	hub := hashesOf(-1)
	o.say("giving one file %d started objects", rows)
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for done := 0; done < rows; done += batchSize {
		batch := make([]intel.Observation, min(batchSize, rows-done))
		for i := range batch {
			child := hashesOf(-1000 - done - i)
			batch[i] = intel.Observation{Source: telemetry, Time: at.Add(time.Duration(done+i) * time.Second), Count: uint64(1 + (done+i)%7),
				Fact: intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: hub, Path: `C:\Windows\System32\svchost.exe`},
					To: intel.Object{Hashes: child, Path: fmt.Sprintf(`C:\Temp\%d.exe`, done+i)}}}
		}
		if _, err := s.Record(ctx, nil, batch); err != nil {
			return intel.Hash{}, 0, fmt.Errorf("filling a hub: %w", err)
		}
	}
	if err := s.Settle(ctx); err != nil {
		return intel.Hash{}, 0, fmt.Errorf("settling a hub: %w", err)
	}
	return hub.SHA256, rows, nil
}

// firstPage returns the median time in milliseconds to build a hub's whole dossier afresh, without any cache of answers.
func firstPage(ctx context.Context, s *store.Store, hub intel.Hash) (float64, error) {
	var times []time.Duration
	for range 21 {
		start := time.Now()
		d, err := dossier.Build(ctx, s.View(intel.TLPRed), hub, dossier.Query{})
		if err != nil {
			return 0, fmt.Errorf("asking for a hub: %w", err)
		}
		times = append(times, time.Since(start))
		if len(d.Started) != dossier.MaxRows {
			return 0, fmt.Errorf("asking for a hub: %d rows came back: %w", len(d.Started), intel.ErrUnavailable)
		}
	}
	return quantile(times, 0.5), nil
}

// browser asks over a few kept connections, as a load generator on the same machine does: it writes requests and reads answers by hand, so
// that most of the processor is left to the server.
type browser struct{ address, token string }

// load is what a run of requests measured.
type load struct {
	times []time.Duration
	bytes int64
	took  time.Duration
}

func (l *load) add(o load) {
	l.times = append(l.times, o.times...)
	l.bytes += o.bytes
	l.took += o.took
}

func (l *load) rate() float64 { return float64(len(l.times)) / l.took.Seconds() }

// connections is how many requests are under way at once.
const connections = 4

func (b *browser) load(ctx context.Context, d time.Duration, next func(*rand.Rand) func() string) (load, error) {
	parts := make([]load, connections)
	errs := make([]error, connections)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { errs[i] = b.ask(ctx, next(rand.New(rand.NewPCG(uint64(i), uint64(d)))), &parts[i]) })
	}
	wg.Wait()
	var all load
	for _, p := range parts {
		all.add(p)
	}
	all.took = time.Since(start)
	return all, errors.Join(errs...)
}

func (b *browser) ask(ctx context.Context, next func() string, l *load) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", b.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	var request []byte
	for ctx.Err() == nil {
		request = append(append(request[:0], "GET "...), next()...)
		request = append(append(append(request, " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer "...), b.token...), "\r\n\r\n"...)
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return err
		}
		n, err := readAnswer(in)
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		l.times = append(l.times, time.Since(start))
		l.bytes += int64(n)
	}
	return nil
}

// readAnswer reads one answer with a Content-Length and returns the length of its body. It allocates nothing.
func readAnswer(in *bufio.Reader) (int, error) {
	length, first := 0, true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if first {
			if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 404")) {
				return 0, fmt.Errorf("the server answers %s: %w", bytes.TrimSpace(line), intel.ErrUnavailable)
			}
			first = false
		}
		if len(line) == 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(v) {
				length = 10*length + int(c-'0')
			}
		}
	}
	return in.Discard(length)
}

// residentMB reads what the process holds in memory, 0 where that cannot be told.
func residentMB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}
