// Package scan asks other engines what they detect in a file: YARA's rules, by YARA's own program, and ClamAV, by its daemon.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"spoor/internal/intel"
)

// Config says which engines are asked. An engine that is not named is not asked.
type Config struct {
	Rules   string   // a folder of YARA rules: files that end in .yar or .yara, at any depth
	Confine []string // starts a program without rights: the command to which "FILE… -- PROGRAM ARGUMENT…" is added; FILE may be read
	Clamd   string   // address of clamd: a path of its socket, or HOST:PORT
	Log     *slog.Logger
}

// Scanner asks the engines. It may be used from many goroutines.
type Scanner struct {
	yara  *yara
	clamd *clamd
}

// New makes a scanner. It fails when an engine that is named cannot be used at all; rules that are wrong are left out and told in the log.
func New(c Config) (*Scanner, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scanner{}
	if c.Clamd != "" {
		s.clamd = newClamd(c.Clamd)
		if err := s.clamd.ping(context.Background()); err != nil {
			c.Log.Warn("clamd does not answer; files are inspected without it until it does", "address", c.Clamd, "error", err)
		}
	}
	if c.Rules != "" {
		var err error
		if s.yara, err = newYARA(c.Rules, c.Confine, c.Log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close removes what the scanner keeps on disk.
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
	return s.yara.state()
}

// Scan returns what the engines detect in the size bytes of f, and a note for each engine that could not be asked.
func (s *Scanner) Scan(ctx context.Context, f *os.File, size int64) (found []intel.Detection, notes []string) {
	if s.clamd != nil {
		d, err := s.clamd.scan(ctx, io.NewSectionReader(f, 0, size))
		found = append(found, d...)
		if err != nil {
			notes = append(notes, "clamav: "+reason(ctx, err))
		}
	}
	if s.yara != nil {
		d, err := s.yara.scan(ctx, f, size)
		found = append(found, d...)
		if err != nil {
			notes = append(notes, "yara: "+reason(ctx, err))
		}
	}
	return found, notes
}

func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return fmt.Sprintf("not asked: %s", err)
}
