package bench

import (
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
)

func BenchmarkHTTP(b *testing.B) {
	s := fill(b)
	gates, _ := access.Open(b.TempDir(), nil)
	defer gates.Close()
	quota := uint64(1) << 40
	token, _, _ := gates.Create(access.NewToken{Account: "bench", Lifetime: time.Hour, Quota: &quota})
	mux := http.NewServeMux()
	api.Register(mux, api.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Recorder: s, Ready: s.Ready, Gate: &serve.Gate{Access: gates}})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	server := &http.Server{Handler: serve.Handler(mux, serve.Options{})}
	go server.Serve(l)
	defer server.Close()
	br := &browser{l.Addr().String(), token}
	for name, next := range map[string]func(r *rand.Rand) func() string{
		"empty":   func(*rand.Rand) func() string { return func() string { return "/empty" } },
		"unknown": unknownHashes,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l, err := br.load(b.Context(), 5*time.Second, next)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(l.rate(), "req/s")
			}
		})
	}
}
