package bench

import (
	"testing"
	"time"

	"spoor/internal/intel"
	spoorpebble "spoor/internal/kv/pebble"
	"spoor/internal/store"
)

// BenchmarkKnownGood records listings of known-good files, already read, in one step.
func BenchmarkKnownGood(b *testing.B) {
	const files = 1_000_000
	var batches [][]intel.Observation
	now := time.Now()
	for i := 0; i < files; i += batchSize {
		batch := make([]intel.Observation, 0, batchSize)
		for j := i; j < min(i+batchSize, files); j++ {
			batch = append(batch, intel.Observation{Source: intel.Source{Type: intel.FeedSource, Name: "NSRL"}, File: hashesOf(j), Time: now, Count: 1,
				Fact: intel.Listing{Feed: "NSRL", Zone: intel.Green}})
		}
		batches = append(batches, batch)
	}
	for b.Loop() {
		dir := b.TempDir()
		engine, err := spoorpebble.Open(dir, spoorpebble.Options{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := store.New(engine, store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, _, err := s.RecordMany(b.Context(), func(yield func([]byte, []intel.Observation) bool) {
			for i, batch := range batches {
				if !yield([]byte{byte(i >> 8), byte(i)}, batch) {
					return
				}
			}
		}); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		engine.Flush()
		for engine.Busy() {
			time.Sleep(10 * time.Millisecond)
		}
		s.Close()
		if engine, err = spoorpebble.Open(dir, spoorpebble.Options{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(3*files/took.Seconds(), "hashes/s")
		b.ReportMetric(float64(engine.Stats().DiskBytes)/files, "B/file")
		engine.Close()
	}
}
