package submit

import (
	"context"
	"fmt"
	"os"

	"spoor/internal/ingest"
	"spoor/internal/source"
	"spoor/internal/worker"
)

// Record inspects a file and records what it says. An inspection that is made again, of the same bytes under the same name, counts nothing.
func Record(ctx context.Context, pool *worker.Pool, rec ingest.Recorder, f *os.File, j worker.Job) (worker.Result, *ingest.Summary, error) {
	var r worker.Result
	im := ingest.Importer{Recorder: rec}
	s, err := im.Take(ctx, func(sink source.Sink, _ *ingest.Summary) (err error) {
		r, err = pool.Inspect(ctx, f, j, sink.Observe)
		return err
	})
	if err != nil {
		return r, s, fmt.Errorf("inspecting %s: %w", j.Name, err)
	}
	return r, s, nil
}
