package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a Handler needs.
type Options struct {
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none
	// Timeout bounds the answering of one request; 0 means 30 seconds. A handler that takes in much sets its own.
	Timeout time.Duration
}

type contextKey int

const logKey contextKey = 0

func logOf(r *http.Request) *slog.Logger {
	if l, ok := r.Context().Value(logKey).(*slog.Logger); ok {
		return l
	}
	return slog.New(slog.DiscardHandler)
}

// Handler wraps a mux: it recovers from panics, bounds the time, sets the headers that every answer has, counts, and logs.
//
// Every request goes to the log at level debug; those that fail on our side or take more than a second, at warning; other refusals at info.
// The log holds the path, never the query, the headers or the body.
func Handler(mux *http.ServeMux, o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_http_requests_total", Help: "Requests answered, by route and status."}, []string{"route", "status"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "spoor_http_request_seconds", Help: "Time to answer, by route.",
		Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10}}, []string{"route"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "spoor_http_requests_in_flight", Help: "Requests being answered now."})
	if o.Metrics != nil {
		o.Metrics.MustRegister(requests, seconds, inFlight)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		inFlight.Inc()
		defer inFlight.Dec()
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), logKey, o.Logger), o.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
		rec := &recorder{ResponseWriter: w}
		if r.Body != nil && r.Body != http.NoBody {
			// What is left of a body when its handler ends is read by net/http, without any bound on time of its own. Body sets further ones.
			_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTime))
		}
		h := w.Header()
		h["X-Content-Type-Options"], h["Referrer-Policy"], h["Cache-Control"] = nosniff, sameOriginReferrer, noCache
		defer func() {
			p := recover()
			if p != nil {
				o.Logger.Error("a handler failed", "path", cut(r.URL.Path, 200), "fault", fmt.Sprint(p), "stack", string(debug.Stack()))
				if !rec.wrote {
					WriteFailure(rec, r, Failure{Status: 500, Code: "internal", Message: "an error inside Spoor; its log says more"}, nil)
					p = nil
				}
			}
			took := time.Since(start)
			route := r.Pattern
			if route == "" {
				route = "other"
			}
			status := rec.status
			if status == 0 {
				status = http.StatusOK
			}
			requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
			seconds.WithLabelValues(route).Observe(took.Seconds())
			level := slog.LevelDebug
			switch {
			case status >= 500 || took > time.Second:
				level = slog.LevelWarn
			case status >= 400 && status != http.StatusNotFound:
				level = slog.LevelInfo
			}
			if o.Logger.Enabled(r.Context(), level) {
				o.Logger.Log(r.Context(), level, "request", "method", cut(r.Method, 16), "path", cut(r.URL.Path, 200), "status", status, "bytes", rec.bytes,
					"ms", float64(took.Microseconds())/1000, "from", r.RemoteAddr)
			}
			if p != nil { // half an answer must not look like a whole one: the connection is broken off
				panic(http.ErrAbortHandler)
			}
		}()
		if err := plainPath(r); err != nil {
			Fail(rec, r, err)
			return
		}
		mux.ServeHTTP(rec, r)
	})
}

// The values of headers that every answer has; nobody changes them.
var (
	nosniff            = []string{"nosniff"}
	sameOriginReferrer = []string{"same-origin"}
	noCache            = []string{"private, no-cache"}
)

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	wrote  bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

// answerTime is how long a client may take to receive what a handler writes at once.
const answerTime = 2 * time.Minute

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	// A recorder in a test has no deadline; that is no reason to fail.
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(answerTime))
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
