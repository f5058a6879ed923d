package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/feed"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/internal/web"
)

// defaultListen is loopback: whoever wants more says so.
const defaultListen = "127.0.0.1:8420"

type serveOptions struct {
	data, listen   string
	orFree         bool // listen on a free port where that of listen is taken
	feeds          string
	cert, key      string
	openLookups    bool
	logLevel       string
	logJSON        bool
	grace          time.Duration
	requestTimeout time.Duration
	listening      func(url string) // told when it listens; nil: nobody
	arrivals       arrivals
	submissions    submissions
}

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run the server: HTTP API and web page",
		Long: `Serve answers look-ups over HTTP, as JSON and as a page, and takes observations in. It listens on loopback unless told otherwise.
Its caches take about a tenth of the memory that the machine, or its control group, has.
The first start makes an administrator's token and prints it, once, on standard output (under systemd, where that is a log, into the
file admin-token of the data directory); 'spoor token create' makes more.

It fetches the feeds that feeds.yaml in the data directory, or the file of --feeds, configures, and takes up each change of it; docs/feeds.md.
Besides HTTP it takes in what is moved into a spool folder, and the topics of Kafka: docs/arriving.md tells how, and how to point
Winlogbeat, Filebeat, Fluent Bit, Vector and rsyslog at it.

It stops gracefully on SIGTERM or an interrupt: requests under way are answered, and nothing that was acknowledged is lost.

Exit codes: 0 stopped when told to; 1 failure; 2 misuse.`,
		Example: `  spoor serve --data /var/lib/spoor
  spoor serve --data /var/lib/spoor --listen :8443 --tls-cert cert.pem --tls-key key.pem
  spoor serve --data /var/lib/spoor --spool /var/spool/spoor
  spoor serve --data /var/lib/spoor --kafka broker1:9092,broker2:9092 --kafka-topic sysmon`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	dataFlag(cmd, &o.data)
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", defaultListen, "`ADDR`ess to listen on, host:port; port 0 takes a free one")
	f.StringVar(&o.feeds, "feeds", "", "fetch the feeds that `FILE` configures (feeds.yaml in the data directory)")
	f.StringVar(&o.cert, "tls-cert", "", "TLS certificate `FILE` (PEM); with --tls-key")
	f.StringVar(&o.key, "tls-key", "", "TLS key `FILE` (PEM)")
	f.BoolVar(&o.openLookups, "open-lookups", false, "let anyone look up without a token; on loopback only")
	f.StringVar(&o.logLevel, "log-level", "info", "`LEVEL` of the log on standard error: debug (every request), info, warn or error")
	f.BoolVar(&o.logJSON, "log-json", false, "log as JSON")
	f.DurationVar(&o.grace, "grace", 20*time.Second, "how long requests under way may take to finish at the end")
	f.DurationVar(&o.requestTimeout, "request-timeout", 30*time.Second, "longest time for one look-up")
	for _, file := range []string{"tls-cert", "tls-key", "feeds"} {
		_ = cmd.MarkFlagFilename(file)
	}
	o.arrivals.flags(cmd)
	o.submissions.flags(cmd)
	complete(cmd, "log-level", "debug", "info", "warn", "error")
	return cmd
}

// runServe serves until ctx ends.
func runServe(ctx context.Context, o serveOptions, stdout, stderr io.Writer) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return misuse("--log-level: %q is none of debug, info, warn, error", o.logLevel)
	}
	log := serverLog(stderr, level, o.logJSON)
	tlsConfig, err := o.tls()
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return misuse("--listen: %v", err)
	}
	local := isLoopback(host)
	if o.openLookups && !local {
		return misuse("--open-lookups is for loopback only, and %s is not", o.listen)
	}
	if _, err := o.arrivals.check(); err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(machineMemory() / 4 * 3) // collect sooner rather than be killed
	}
	s, err := openStoreWith(o.data, log, cachesFor(machineMemory()).blocks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	gates, err := access.Open(o.data, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gates.Close()) }()
	l, err := net.Listen("tcp", o.listen)
	if err != nil && o.orFree {
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	token, err := gates.EnsureAdmin()
	if err != nil {
		l.Close()
		return err
	}
	if token != "" {
		if err := showToken(stdout, o.data, token); err != nil {
			l.Close()
			return err
		}
	}
	if !local && tlsConfig == nil {
		log.Warn("listening beyond this machine without TLS: tokens and answers travel in the clear; give --tls-cert and --tls-key, or stand behind a proxy that has them")
	}
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
	}
	address := fmt.Sprintf("%s://%s", scheme, l.Addr())
	if o.feeds == "" {
		o.feeds = feedsFile(o.data)
	} else if _, err := os.Stat(o.feeds); err != nil {
		l.Close()
		return fmt.Errorf("reading the configuration of feeds: %w", err)
	}
	runner, err := newRunner(o.feeds, o.data, s, log)
	if err != nil {
		l.Close()
		return err
	}
	fetching := make(chan struct{})
	feeding, endFeeds := context.WithCancel(ctx)
	go func() {
		defer close(fetching)
		runner.Run(feeding)
	}()
	// Runs end before the store closes; what they recorded stays.
	defer func() { endFeeds(); <-fetching; runner.Close() }()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		loadSimilar(feeding, s, log)
	}()
	defer func() { endFeeds(); <-reading }()
	metrics := prometheus.NewRegistry()
	queue, closeQueue, err := o.submissions.start(ctx, o.data, s, log, metrics)
	if err != nil {
		l.Close()
		return err
	}
	defer closeQueue() // before the store is closed
	handler := newHandler(s, gates, runner, queue, o.openLookups, log, metrics, serve.Options{Logger: log, Timeout: o.requestTimeout})
	arriving, stop := context.WithCancel(ctx)
	wait, err := o.arrivals.start(arriving, s, log, metrics)
	if err != nil {
		stop()
		l.Close()
		return err
	}
	defer func() { stop(); wait() }() // before the store is closed
	log.Info("serving", "address", address, "data", o.data, "version", version())
	if o.listening != nil {
		o.listening(address)
	}
	if err := serve.Run(ctx, l, handler, tlsConfig, o.grace, log); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// loadSimilar reads the fuzzy hashes into memory. Until it is done, and if it fails, look-ups read them from the store: slower, but right.
func loadSimilar(ctx context.Context, s *store.Store, log *slog.Logger) {
	begun := time.Now()
	if err := s.LoadSimilar(ctx); err != nil {
		if ctx.Err() == nil {
			log.Error("fuzzy hashes could not be read into memory; look-ups go on without", "error", err)
		}
		return
	}
	tlsh, ssdeep, _ := s.SimilarCount()
	log.Info("fuzzy hashes are in memory", "tlsh", tlsh, "ssdeep", ssdeep, "took", time.Since(begun).Round(time.Millisecond))
}

// showToken prints the administrator's token. Under systemd, where standard output is a log and no secret belongs, a file of the data directory gets it.
func showToken(stdout io.Writer, data, token string) error {
	if os.Getenv("JOURNAL_STREAM") == "" {
		_, err := fmt.Fprintf(stdout, "administrator's token, shown this once: %s\n", token)
		return err
	}
	file := filepath.Join(data, "admin-token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return fmt.Errorf("keeping the administrator's token: %w", err)
	}
	_, err := fmt.Fprintf(stdout, "administrator's token: in %s; keep it elsewhere and remove the file\n", file)
	return err
}

func (o *serveOptions) tls() (*tls.Config, error) {
	if o.cert == "" && o.key == "" {
		return nil, nil
	}
	if o.cert == "" || o.key == "" {
		return nil, misuse("--tls-cert and --tls-key belong together")
	}
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	// A client's certificate is compared with the one that its token is bound to, so no authority needs to vouch for it.
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// newHandler puts api and web before one store.
func newHandler(s *store.Store, gates *access.Access, feeds *feed.Runner, files api.Submissions, open bool, log *slog.Logger, metrics *prometheus.Registry, o serve.Options) http.Handler {
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "spoor_store_disk_bytes", Help: "Live data on disk."}, func() float64 { return float64(s.Stats().DiskBytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "spoor_store_memory_bytes", Help: "Caches and write buffers of the store."}, func() float64 { return float64(s.Stats().MemoryBytes) }))
	view := func(c intel.Marking) dossier.View { return s.View(c) }
	gate := &serve.Gate{Access: gates, OpenLookups: open}
	mux := http.NewServeMux()
	if feeds != nil {
		metrics.MustRegister(feeds)
		api.RegisterFeeds(mux, gate, feeds)
		web.RegisterFeeds(mux, web.Config{Gate: gate, Logger: log}, feeds)
	}
	api.Register(mux, api.Config{View: view, Recorder: s, Ready: s.Ready, Gate: gate, Metrics: metrics, Logger: log,
		CacheBytes: cachesFor(machineMemory()).answers, Submissions: files})
	web.Register(mux, web.Config{View: view, Gate: gate, Logger: log, FindHashes: source.FindHashes, Submissions: files})
	o.Metrics = metrics
	return serve.Handler(mux, o)
}
