package collect

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/durable"
	"spoor/internal/intel"
)

// ErrRefused is what a sensor's Send returns when the receiver will never take the batch.
var ErrRefused = errors.New("the receiver does not take this")

// Sensor collects from this machine again and again, and tells nothing twice: the start of one process once, the file at one path once until it
// changes or is another. What was found is kept in its folder until the receiver has acknowledged it; each batch has a name, by which the receiver
// knows one that it has already.
type Sensor struct {
	Options
	Dir   string        // where it keeps what it told and what is not acknowledged; of one sensor alone
	Every time.Duration // from the beginning of one look to the next; 0: one look
	// Send hands a batch of observations over, one a line. Only what it returned nil for is forgotten; [ErrRefused] gives the batch up.
	Send   func(ctx context.Context, batch string, ndjson []byte) error
	Logger *slog.Logger
	// Told, when not nil, is called after each look.
	Told func(*Summary)

	wait func(context.Context, time.Duration) error // tests have their own
}

const (
	batchSize = 4096      // observations of a batch
	maxSpool  = 256 << 20 // bytes that wait for the receiver; beyond, the sensor does not look for more
	// After a failure it is tried again after so long, and after twice as long each time, but at least so often as it looks.
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// Run collects and sends until the context ends; with Every 0 once. It fails when its folder cannot be used; of one look also when collecting or
// sending fails.
func (s *Sensor) Run(ctx context.Context) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.wait == nil {
		s.wait = wait
	}
	for _, dir := range []string{s.Dir, s.spool()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the sensor's folder: %w", err)
		}
	}
	held, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("taking the sensor's folder: %w", err)
	}
	defer held.Close()
	if err := lock(held); err != nil {
		return fmt.Errorf("the folder %s is another sensor's: %w", s.Dir, err)
	}
	if s.Every == 0 {
		if err := s.look(ctx); err != nil {
			return err
		}
		return s.send(ctx)
	}
	retry := firstRetry
	var next time.Time
	for {
		now := time.Now()
		if !now.Before(next) {
			next = now.Add(s.Every)
			if err := s.look(ctx); err != nil && ctx.Err() == nil {
				s.Logger.Error("this machine could not be looked at", "error", err)
			}
		}
		pause := time.Until(next)
		if err := s.send(ctx); err == nil {
			retry = firstRetry
		} else if ctx.Err() == nil {
			pause = min(pause, retry)
			s.Logger.Warn("what was found could not be sent; it is kept", "error", err, "again_in", pause.Round(time.Second).String())
			retry = min(2*retry, lastRetry)
		}
		if err := s.wait(ctx, max(pause, time.Second)); err != nil {
			return nil // told to end
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Sensor) spool() string { return filepath.Join(s.Dir, "pending") }

// look collects once into the spool. What it found counts when the memory is written, which names the batches; a look that is cut off before
// leaves nothing.
func (s *Sensor) look(ctx context.Context) error {
	m, err := loadMemory(s.Dir)
	if err != nil {
		return err
	}
	size, err := s.sweep(m)
	if err != nil {
		return err
	}
	if size > maxSpool {
		s.Logger.Warn("the receiver has not taken what was found before; nothing more is looked for until then", "bytes", size)
		return nil
	}
	b := &batches{dir: s.spool(), log: s.Logger}
	o := s.Options
	o.memory = m
	summary, err := Run(ctx, o, b)
	if err == nil {
		err = b.flush()
	}
	if err != nil {
		return err
	}
	if !summary.CutShort {
		m.forget()
	}
	m.Pending = append(m.Pending, b.names...)
	if err := m.save(s.Dir); err != nil {
		return err
	}
	s.Logger.Info("looked at this machine", "processes", summary.Processes, "files", summary.Files, "observations", b.count, "seconds", summary.Seconds)
	if s.Told != nil {
		s.Told(summary)
	}
	return nil
}

// sweep removes what a look left that was cut off, forgets batches that are acknowledged, and returns how many bytes wait.
func (s *Sensor) sweep(m *memory) (size int64, err error) {
	entries, err := os.ReadDir(s.spool())
	if err != nil {
		return 0, fmt.Errorf("reading what waits to be sent: %w", err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	pending := m.Pending[:0]
	for _, name := range m.Pending {
		if !there[name] {
			continue // sent
		}
		delete(there, name)
		pending = append(pending, name)
		if info, err := os.Stat(filepath.Join(s.spool(), name)); err == nil {
			size += info.Size()
		}
	}
	m.Pending = pending
	for name := range there {
		if err := os.Remove(filepath.Join(s.spool(), name)); err != nil {
			return 0, fmt.Errorf("removing what was cut off: %w", err)
		}
	}
	return size, nil
}

// send hands over what waits, oldest first, and removes what was taken. A batch that was taken without this being noted is sent again under its
// name, and changes nothing.
func (s *Sensor) send(ctx context.Context) error {
	m, err := loadMemory(s.Dir)
	if err != nil {
		return err
	}
	sent := 0
	for _, name := range m.Pending {
		path := filepath.Join(s.spool(), name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // sent before
		}
		if err != nil {
			return fmt.Errorf("reading what waits to be sent: %w", err)
		}
		err = s.Send(ctx, strings.TrimSuffix(name, batchSuffix), b)
		if errors.Is(err, ErrRefused) {
			s.Logger.Error("a batch is given up", "batch", name, "error", err)
		} else if err != nil {
			return err
		} else {
			sent++
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing what was sent: %w", err)
		}
		if err := durable.SyncDir(s.spool()); err != nil {
			return fmt.Errorf("removing what was sent: %w", err)
		}
	}
	if sent > 0 {
		s.Logger.Info("everything is sent", "batches", sent)
	}
	return nil
}

const batchSuffix = ".ndjson"

// batches is a sink that writes a file for every so many observations.
type batches struct {
	dir   string
	log   *slog.Logger
	names []string
	text  bytes.Buffer
	lines int
	count int
}

func (b *batches) Observe(o intel.Observation) error {
	e := json.NewEncoder(&b.text)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return fmt.Errorf("writing an observation: %w", err)
	}
	b.count++
	if b.lines++; b.lines == batchSize {
		return b.flush()
	}
	return nil
}

func (b *batches) Refuse(r intel.Refusal) { b.log.Warn("refused", "reason", r.Error()) }

func (b *batches) flush() error {
	if b.lines == 0 {
		return nil
	}
	var id [16]byte
	rand.Read(id[:])
	name := "collect-" + hex.EncodeToString(id[:]) + batchSuffix
	if err := durable.Replace(filepath.Join(b.dir, name), b.text.Bytes()); err != nil {
		return fmt.Errorf("keeping what was found: %w", err)
	}
	b.names = append(b.names, name)
	b.text.Reset()
	b.lines = 0
	return nil
}
