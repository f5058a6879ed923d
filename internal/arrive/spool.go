package arrive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spoor/internal/ingest"
	"spoor/internal/source"
)

// The folders within a spool folder.
const (
	doneFolder   = "done"
	failedFolder = "failed"
)

// Spool takes in the files that appear in a folder, whatever 'spoor import' reads, each once: then it stands in done, or in failed when
// nothing of it could be read, with a report beside it. A file is taken when its size and time have not changed from one look to the next;
// one whose name begins with a dot or ends in .tmp or .part is being written and is left alone, as are folders.
type Spool struct {
	Dir      string
	Recorder ingest.Recorder
	Options  source.Options // Now is set for each file
	Every    time.Duration  // between two looks; 0 means 2 seconds
	Logger   *slog.Logger
	Metrics  prometheus.Registerer // nil: none

	files *prometheus.CounterVec
	seen  map[string]look
}

// look is what a file was like at the last look at it.
type look struct {
	size     int64
	modified time.Time
}

// Open makes the folders. It fails when they cannot be made or written.
func (s *Spool) Open() error {
	if s.Every == 0 {
		s.Every = 2 * time.Second
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	s.seen = map[string]look{}
	for _, d := range []string{s.Dir, filepath.Join(s.Dir, doneFolder), filepath.Join(s.Dir, failedFolder)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("making the spool folder: %w", err)
		}
	}
	probe, err := os.CreateTemp(s.Dir, ".spoor-*")
	if err != nil {
		return fmt.Errorf("the spool folder must be writable, for files are moved from it: %w", err)
	}
	s.files = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_spool_files_total", Help: "Files taken from the spool folder, by where they went."}, []string{"outcome"})
	if s.Metrics != nil {
		s.Metrics.MustRegister(s.files)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// Run takes files in until ctx ends. A failure is logged and tried again.
func (s *Spool) Run(ctx context.Context) {
	var wait time.Duration
	for ctx.Err() == nil {
		err := s.Look(ctx)
		if err == nil || ctx.Err() != nil {
			wait = 0
			select {
			case <-ctx.Done():
			case <-time.After(s.Every):
			}
			continue
		}
		s.Logger.Error("the spool folder cannot be taken in; trying again", "folder", s.Dir, "error", err)
		wait = pause(ctx, wait)
	}
}

// Look takes in the files that are as they were at the look before. It fails when the folder or the store does; the file stays where it is.
func (s *Spool) Look(ctx context.Context) error {
	entries, err := os.ReadDir(s.Dir) // in the order of their names
	if err != nil {
		return err
	}
	now := map[string]look{}
	defer func() { s.seen = now }()
	var failed error
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		l := look{info.Size(), info.ModTime()}
		now[name] = l
		if before, ok := s.seen[name]; !ok || before != l || ctx.Err() != nil {
			continue
		}
		if err := s.take(ctx, name); err != nil {
			// One file that cannot be taken keeps no other waiting.
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// spoolReport is what stands beside a file that was taken.
type spoolReport struct {
	File string    `json:"file"`
	Time time.Time `json:"time"`
	*ingest.Summary
}

// take imports one file and moves it. When the program ends in between, the next look imports it again, which counts nothing.
func (s *Spool) take(ctx context.Context, name string) error {
	from := filepath.Join(s.Dir, name)
	o := s.Options
	o.Now = time.Now()
	im := ingest.Importer{Recorder: s.Recorder, Options: o}
	summary, err := im.Import(ctx, []string{from}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody took it back
	}
	if err != nil {
		return err
	}
	for i := range summary.Refusals {
		summary.Refusals[i].Input = strings.TrimPrefix(summary.Refusals[i].Input, s.Dir+string(filepath.Separator))
	}
	folder := doneFolder
	if summary.Refused > 0 && summary.Accepted+summary.Repeated == 0 {
		folder = failedFolder
	}
	to, err := s.free(folder, name)
	if err != nil {
		return err
	}
	report, err := json.MarshalIndent(spoolReport{name, o.Now.UTC(), summary}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".report.json", append(report, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	s.files.WithLabelValues(folder).Inc()
	s.Logger.Info("a file of the spool folder was taken in", "file", name, "to", folder, "accepted", summary.Accepted, "repeated", summary.Repeated, "refused", summary.Refused)
	return nil
}

// free returns a path in a folder that no other file has: name, or name with a number.
func (s *Spool) free(folder, name string) (string, error) {
	for n := 0; n < 1_000_000; n++ {
		to := filepath.Join(s.Dir, folder, name)
		if n > 0 {
			to += fmt.Sprintf(".%d", n)
		}
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			return to, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s holds a million files named %s", folder, name)
}
