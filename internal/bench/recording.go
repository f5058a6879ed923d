package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"spoor/internal/intel"
	"spoor/internal/kv"
	spoorpebble "spoor/internal/kv/pebble"
	"spoor/internal/store"
)

// batchSize is how many observations are recorded at once, as an import does.
const batchSize = 8192

// recording measures observations recorded a second from memory against the same rows merged into a raw Pebble.
func recording(ctx context.Context, o *Options, dir string) ([]Result, error) {
	_, n := o.scale()
	n /= 4
	files, _ := o.scale()
	o.say("recording %d observations", n)
	engine, err := spoorpebble.Open(filepath.Join(dir, "recording"), spoorpebble.Options{})
	if err != nil {
		return nil, err
	}
	s, err := store.New(engine, store.Options{})
	if err != nil {
		return nil, err
	}
	taken, err := record(ctx, s, files, n, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}

	o.say("merging the same rows into a raw Pebble")
	raw, err := pebble.Open(filepath.Join(dir, "raw"), spoorpebble.RawOptions())
	if err != nil {
		return nil, err
	}
	peer := &rawPebble{db: raw}
	s, err = store.New(peer, store.Options{})
	if err != nil {
		return nil, err
	}
	if _, err := record(ctx, s, files, n, peer.merge); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	rate := float64(n) / taken.Seconds()
	return []Result{
		atLeast("observations recorded a second", rate, "obs/s", "raw Pebble merges of the same rows", float64(n)/peer.taken.Seconds(), 0.5),
		told("rows written an observation", float64(peer.rows)/float64(n), "rows"),
	}, nil
}

// writers is how many goroutines record, and how many merge into the raw Pebble.
const writers = 2

// record feeds n generated observations to the store and returns the time that recording took, generating left out.
// after, when not nil, is called now and then, when no batch is under way.
func record(ctx context.Context, s *store.Store, files, n int, after func() error) (time.Duration, error) {
	const ahead = 16 // batches made before the clock runs, so that making them is not measured
	g := newGenerator(1, files)
	var taken time.Duration
	for done := 0; done < n; {
		var batches [][]intel.Observation
		for len(batches) < ahead && done < n {
			b := g.batch(min(batchSize, n-done))
			batches = append(batches, b)
			done += len(b)
		}
		start := time.Now()
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for w := range errs {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := w; i < len(batches); i += len(errs) {
					id := fmt.Appendf(nil, "bench-%d-%d", done, i)
					if _, err := s.Record(ctx, id, batches[i]); err != nil {
						errs[w] = err
						return
					}
				}
			}()
		}
		wg.Wait()
		taken += time.Since(start)
		for _, err := range errs {
			if err != nil {
				return 0, fmt.Errorf("recording: %w", err)
			}
		}
		if after != nil {
			if err := after(); err != nil {
				return 0, err
			}
		}
	}
	return taken, nil
}

// rawPebble is the peer: an engine that only encodes the rows that the store hands it, and merges them into Pebble afterwards, on the clock.
type rawPebble struct {
	mu      sync.Mutex
	db      *pebble.DB
	pending [][]rawRow // by batch
	taken   time.Duration
	rows    int64
}

type rawRow struct{ key, value []byte }

func (p *rawPebble) Apply(_ context.Context, b *kv.Batch) (bool, error) {
	rows := make([]rawRow, len(b.Writes))
	for i, w := range b.Writes {
		k := append([]byte{byte(len(w.Partition))}, w.Partition...)
		rows[i] = rawRow{append(k, w.Key...), w.Value.Append(nil)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, rows)
	return false, nil
}

// merge measures the batches so far: one Pebble batch of merges and a synced commit each.
func (p *rawPebble) merge() error {
	start := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < len(p.pending) && errs[w] == nil; i += len(errs) {
				batch := p.db.NewBatch()
				for _, r := range p.pending[i] {
					if err := batch.Merge(r.key, r.value, nil); err != nil {
						errs[w] = err
						return
					}
				}
				errs[w] = batch.Commit(pebble.Sync)
			}
		}()
	}
	wg.Wait()
	p.taken += time.Since(start)
	for _, rows := range p.pending {
		p.rows += int64(len(rows))
	}
	p.pending = p.pending[:0]
	return errors.Join(errs...)
}

func (*rawPebble) Scan(context.Context, []kv.Range, func(kv.Row) error) error { return nil }
func (*rawPebble) Rewrite(context.Context, kv.Range, func([]kv.Row) ([]kv.Row, []kv.Write, error)) error {
	return nil
}
func (*rawPebble) Stats() kv.Stats { return kv.Stats{} }
func (p *rawPebble) Close() error  { return p.db.Close() }
