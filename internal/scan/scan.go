// Package scan asks other engines what they detect in a file: YARA's rules, by YARA's own program, and ClamAV, by its daemon.
package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"spoor/internal/intel"
)

// Config says which engines are asked. An engine that is not named is not asked.
type Config struct {
	Rules   string   // a folder of YARA rules: files that end in .yar or .yara, at any depth
	Confine []string // starts a program without rights: the command to which "FILE… -- PROGRAM ARGUMENT…" is added; FILE may be read
	Scratch string   // a folder for a copy of what YARA reads, 16 MiB a scan at once; the system's for temporary files
	Clamd   string   // address of clamd: a path of its socket, or HOST:PORT
	Log     *slog.Logger
}

// scanTime is how long an engine may take over one file, at most.
const scanTime = 2 * time.Minute

// Scanner asks the engines. It may be used from many goroutines.
type Scanner struct {
	engines []engine
	yara    *yara // nil when it is not asked
}

// engine says what it detects in the size bytes of f. It may know something also when it fails.
type engine struct {
	name string
	scan func(ctx context.Context, f *os.File, size int64) ([]intel.Detection, error)
}

// New makes a scanner. It fails when an engine that is named cannot be used at all; rules that are wrong are left out and told in the log.
func New(c Config) (*Scanner, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scanner{}
	if c.Clamd != "" {
		clamd := newClamd(c.Clamd)
		if err := clamd.ping(context.Background()); err != nil {
			c.Log.Warn("clamd does not answer; files are inspected without it until it does", "address", c.Clamd, "error", err)
		}
		s.engines = append(s.engines, engine{"clamav", clamd.scan})
	}
	if c.Rules != "" {
		var err error
		if s.yara, err = newYARA(&c); err != nil {
			return nil, err
		}
		s.engines = append(s.engines, engine{"yara", s.yara.scan})
	}
	return s, nil
}

// Close ends what the scanner has started. Nothing may be scanned any more.
func (s *Scanner) Close() {
	if s.yara != nil {
		s.yara.close()
	}
}

// Rules returns how many files of rules are used, and what is wrong with each that is left out, by path.
func (s *Scanner) Rules() (used int, wrong map[string]string) {
	if s.yara == nil {
		return 0, nil
	}
	return s.yara.rules.state()
}

// Scan returns what the engines detect in the size bytes of f, and a note for each engine that does not say all. They are asked at the same time.
func (s *Scanner) Scan(ctx context.Context, f *os.File, size int64) (found []intel.Detection, notes []string) {
	type answer struct {
		found []intel.Detection
		err   error
	}
	answers := make([]chan answer, len(s.engines))
	for i, e := range s.engines {
		c := make(chan answer, 1)
		answers[i] = c
		go func() {
			ctx, cancel := context.WithTimeout(ctx, scanTime)
			defer cancel()
			began := time.Now()
			d, err := e.scan(ctx, f, size)
			if err != nil && (ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)) {
				err = fmt.Errorf("no answer within %s", time.Since(began).Round(time.Second/10))
			}
			c <- answer{d, err}
		}()
	}
	for i, c := range answers {
		a := <-c
		found = append(found, a.found...)
		if a.err != nil {
			notes = append(notes, fmt.Sprintf("%s: %s", s.engines[i].name, a.err))
		}
	}
	return found, notes
}
