// Package source turns foreign formats into observations: bytes of one format in, observations out.
//
// [Walk] finds the inputs: files, directories, and what is packed in zip, gz, bz2, zst, xz and tar. [Read] recognises an input's format by its
// content and reads it. What cannot be read is refused with its place, and the rest goes on.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"spoor/internal/intel"
)

// Sink takes what a reader makes of its input. A Sink is called from one goroutine at a time.
type Sink interface {
	// Observe takes one observation. An error stops the reader and comes back from it; a [intel.Refusal] is handed to Refuse instead.
	Observe(o intel.Observation) error
	// Refuse takes notice of a part of the input that was not read; the rest goes on.
	Refuse(r intel.Refusal)
}

// Options say how to read.
type Options struct {
	Format Format // Auto or "": by content
	// Feed says that the inputs are listings of this feed; Zone says what being listed there means; when not given, what Format.Zone says.
	Feed    string
	Zone    intel.Zone
	Marking intel.Marking
	Now     time.Time // when a list that bears no dates was taken in
	// Joins, when not nil, ties what the inputs of one import tell together, as Zeek's files.log and http.log; else each is read by itself.
	Joins *Joins
	// Processes, when not nil, ties the events of inputs that are parts of one stream.
	Processes *Processes
	// Columns says what the columns of a CSV list hold, by the name that its header gives them or by their number from 1: one of [ColumnKinds].
	// A column that it does not name is recognised by its own name, as without it.
	Columns map[string]string
}

// Result is what Read found.
type Result struct {
	Format  Format
	Records int64 // lines, events or records
	Used    int64 // of them, those that observations were made of
	Repeats int64 // events that stood in the input before, byte for byte
	Other   int64 // records that say nothing of a file's hash
}

// sniffed is how much of an input decides its format.
const sniffed = 64 << 10

// Read reads one input into sink. It fails with an [intel.ErrInvalid] when the format is not recognised or the whole input is unusable,
// and as the sink or the input fail.
func Read(ctx context.Context, in *Input, o Options, sink Sink) (Result, error) {
	text, head, err := in.open()
	if err != nil {
		return Result{}, fmt.Errorf("reading %s: %w", in.Name, err)
	}
	f, err := choose(in, head, &o)
	if err != nil {
		if f != nil {
			return Result{Format: f.name}, err
		}
		return Result{}, err
	}
	if f == nil {
		return Result{}, nil
	}
	if o.Zone == 0 {
		o.Zone = f.name.Zone()
	}
	r := &reader{ctx: ctx, input: in, in: text, name: in.Name, sink: sink, o: o}
	r.result.Format, in.format = f.name, f.name
	err = f.read(r)
	if err != nil {
		var refusal *intel.Refusal
		if errors.As(err, &refusal) && refusal.Input == "" {
			refusal.Input = in.Name
		}
		return r.result, fmt.Errorf("reading %s: %w", in.Name, err)
	}
	return r.result, nil
}

// reader is one Read under way.
type reader struct {
	ctx    context.Context
	input  *Input
	in     *lines
	name   string
	sink   Sink
	o      Options
	result Result

	listing intel.Fact // the last that was told
}

// refuse tells the sink of a part that was not read.
func (r *reader) refuse(line int64, field, reason string) {
	r.sink.Refuse(intel.Refusal{Input: r.name, Line: line, Field: short(field), Reason: short(reason)})
}

// maxTold bounds the foreign text in a refusal, in bytes.
const maxTold = 1024

func short(s string) string {
	if len(s) <= maxTold {
		return s
	}
	return strings.ToValidUTF8(s[:maxTold], "") + "…"
}

// observe hands an observation on; one that does not pass its check, or that the sink refuses, is refused at line.
func (r *reader) observe(line int64, o *intel.Observation) error {
	err := o.Check()
	if err == nil {
		err = r.sink.Observe(*o)
	}
	return r.refusal(line, err)
}

// refusal tells the sink of an error that is a refusal of something at line; any other comes back.
func (r *reader) refusal(line int64, err error) error {
	if err == nil {
		return nil
	}
	var refusal *intel.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	r.refuse(line, refusal.Field, refusal.Reason)
	return nil
}

// clean makes foreign text fit for an observation: UTF-8, without NUL.
func clean(s string) string {
	for i := 0; ; i++ {
		if i == len(s) {
			return s // as nearly all is
		}
		if s[i] == 0 || s[i] >= utf8.RuneSelf {
			break
		}
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// each calls f for every line that is not blank; a line over the limit is refused and the rest goes on.
func (r *reader) each(f func(line []byte, number int64) error) error {
	return r.eachRaw(func(line []byte) error {
		// A byte order mark in the middle comes from files that were put one after another.
		line = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(line), []byte("\uFEFF")))
		if len(line) == 0 {
			return nil
		}
		r.result.Records++
		return f(line, r.in.number)
	})
}

// eachRaw calls f for every line as it stands; one over the limit is a record that is refused.
func (r *reader) eachRaw(f func(line []byte) error) error {
	for {
		line, err := r.in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errLongLine) {
			r.result.Records++
			r.refuse(r.in.number, "", fmt.Sprintf("longer than %d bytes", maxLine))
			continue
		}
		if err != nil {
			return err
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err := f(line); err != nil {
			return err
		}
	}
}
