package submit

import (
	"context"
	"errors"
	"fmt"
	"os"

	"spoor/internal/ingest"
	"spoor/internal/inspect"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/worker"
)

// Record inspects a file and records what it says, and its name. What is recorded again, of the same bytes, or under the same name, counts nothing.
func Record(ctx context.Context, pool *worker.Pool, rec ingest.Recorder, f *os.File, j worker.Job) (worker.Result, error) {
	var r worker.Result
	im := ingest.Importer{Recorder: rec}
	_, err := im.Take(ctx, func(sink source.Sink, _ *ingest.Summary) (err error) {
		r, err = pool.Inspect(ctx, f, j, sink.Observe)
		return err
	})
	if err == nil {
		err = RecordNames(ctx, rec, r.File, j)
	}
	if err != nil {
		return r, fmt.Errorf("inspecting %s: %w", j.Name, err)
	}
	return r, nil
}

// RecordNames records the name under which somebody has a file, which may have been inspected before.
func RecordNames(ctx context.Context, rec ingest.Recorder, file intel.Hashes, j worker.Job) error {
	return record(ctx, rec, Names(file, j, j.Name)...)
}

// Names returns the observations that say under which names somebody has a file.
func Names(file intel.Hashes, j worker.Job, names ...string) (all []intel.Observation) {
	for _, n := range names {
		if n = inspect.BaseName(n); n != "" {
			all = append(all, intel.Observation{Source: intel.Source{Type: intel.InspectionSource, Name: worker.SourceName, Marking: j.Marking}, Time: j.Now, File: file, Fact: intel.Sighting{Name: n}})
		}
	}
	return all
}

// record records observations, each in a batch of its own, so that each counts once however it comes.
func record(ctx context.Context, rec ingest.Recorder, all ...intel.Observation) error {
	for _, o := range all {
		im := ingest.Importer{Recorder: rec}
		_, err := im.Take(ctx, func(sink source.Sink, _ *ingest.Summary) error { return errors.Join(o.Check(), sink.Observe(o)) })
		if err != nil {
			return err
		}
	}
	return nil
}
