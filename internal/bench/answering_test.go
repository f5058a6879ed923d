package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	spoorpebble "spoor/internal/kv/pebble"
	"spoor/internal/serve"
	"spoor/internal/store"
)

// benchFiles is how many files the benchmarks' store knows.
const benchFiles = 50_000

func fill(b *testing.B) *store.Store {
	b.Helper()
	engine, err := spoorpebble.Open(b.TempDir(), spoorpebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := store.New(engine, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if _, err := record(b.Context(), s, benchFiles, 500_000, nil); err != nil {
		b.Fatal(err)
	}
	if err := engine.Flush(); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkBuild builds whole dossiers of files drawn by popularity, without any cache of answers.
func BenchmarkBuild(b *testing.B) {
	s := fill(b)
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.07, 8, benchFiles-1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dossier.Build(b.Context(), s.View(intel.TLPRed), hashesOf(int(z.Uint64())).MD5, dossier.Query{}); err != nil && !errors.Is(err, intel.ErrUnknown) {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnknown asks the handler for hashes of which nothing is known.
func BenchmarkUnknown(b *testing.B) {
	s := fill(b)
	gates, err := access.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer gates.Close()
	quota := uint64(1) << 40
	token, _, err := gates.Create(access.NewToken{Account: "bench", Lifetime: time.Hour, Quota: &quota})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	api.Register(mux, api.Config{View: func(c intel.Marking) dossier.View { return s.View(c) }, Recorder: s, Ready: s.Ready, Gate: &serve.Gate{Access: gates}})
	h := serve.Handler(mux, serve.Options{})
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/hash/%016x%016x", r.Uint64(), r.Uint64()), nil)
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusNotFound {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkHub builds the dossier of a file with a million started objects.
func BenchmarkHub(b *testing.B) {
	s := fill(b)
	hub, _, err := fillHub(b.Context(), &Options{}, s)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dossier.Build(b.Context(), s.View(intel.TLPRed), hub, dossier.Query{}); err != nil {
			b.Fatal(err)
		}
	}
}
