// Package ingest is the way of observations into the store: read, batch, name the batch, record.
//
// A batch's name follows from the content that it was made of. So whatever is delivered again, whole, after a crash or in another
// container, is recognised batch by batch and counts nothing.
package ingest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// Recorder is what ingest needs of the store.
type Recorder interface {
	// Record keeps the observations, durably, all or none. id names the batch: recording a batch whose id was
	// recorded before changes nothing and is reported as repeated. Every observation has passed Check.
	Record(ctx context.Context, id []byte, observations []intel.Observation) (repeated bool, err error)
}

// ManyRecorder is a Recorder that also takes many batches in one step.
type ManyRecorder interface {
	Recorder
	// RecordMany records each batch as Record would, but many in one step, so that what was recorded is seen later than it came. It returns
	// how many observations it recorded, and how many were in batches recorded before. It keeps nothing of a batch's observations when it asks
	// for the next.
	RecordMany(ctx context.Context, batches iter.Seq2[[]byte, []intel.Observation]) (accepted, repeated uint64, err error)
}

// Of an input that does not say to have largeBytes so many batches are recorded one by one; those that follow, and all of a larger one, are recorded
// many in one step, if the Recorder can.
const (
	largeInput = 8
	largeBytes = 16 << 20
)

// BatchSize is how many observations are recorded at once. Its value is part of the names of batches: changing it makes inputs that were
// taken in before count again.
const BatchSize = 8192

// firstPending is how many observations a batch has room for at first: many requests bring one or two, and a thousand come at once.
const firstPending = 64

// Batcher gathers observations and records them in batches, one ahead of the reader. It is a [source.Sink] for one goroutine.
type Batcher struct {
	ctx     context.Context
	rec     Recorder
	name    func(n uint64) []byte // of the n-th batch, at the moment when it is full
	refuse  func(intel.Refusal)
	pending []intel.Observation
	number  uint64
	many    ManyRecorder             // when not nil, takes what follows the first batches
	alone   int                      // how many those are
	spare   chan []intel.Observation // room of batches that are recorded
	grown   *growing                 // when not nil, leaves out what was recorded before the input grew
	before  []byte                   // names what came before this batch
	stable  int                      // of pending, those that will be told the same when the input goes on

	work chan job
	done chan struct{}

	mu       sync.Mutex
	err      error
	accepted uint64
	repeated uint64
}

type job struct {
	id           []byte
	observations []intel.Observation

	before []byte // names what came before it
	last   bool   // it is the last of its input, and may be longer when that has grown
	stable int    // of observations, those that are told the same then
}

// NewBatcher starts a batcher. name names the n-th batch, from 0, when it is full; what is refused goes to refuse. Close must be called.
func NewBatcher(ctx context.Context, rec Recorder, name func(n uint64) []byte, refuse func(intel.Refusal)) *Batcher {
	return newBatcher(ctx, rec, nil, 0, name, refuse)
}

// newBatcher is NewBatcher; many, when not nil, takes what follows after so many batches.
func newBatcher(ctx context.Context, rec Recorder, many ManyRecorder, alone int, name func(n uint64) []byte, refuse func(intel.Refusal)) *Batcher {
	b := &Batcher{ctx: ctx, rec: rec, many: many, alone: alone, name: name, refuse: refuse,
		work: make(chan job, 1), spare: make(chan []intel.Observation, 3), done: make(chan struct{})}
	go b.record()
	return b
}

func (b *Batcher) record() {
	defer close(b.done)
	n := 0
	for j := range b.work {
		if b.failed() != nil {
			continue
		}
		if n++; n > b.alone && b.many != nil && !j.last {
			if j, ok := b.recordMany(j); ok {
				b.recordOne(j)
			}
			continue
		}
		b.recordOne(j)
	}
}

func (b *Batcher) recordOne(j job) {
	skip, err := b.grown.recorded(b.ctx, j.before, j.observations)
	repeated := skip > 0 && skip == len(j.observations)
	if err == nil && !repeated {
		if b.grown != nil && j.last {
			var marks map[string]uint64
			if marks, err = b.grown.marks(j.before, j.observations, j.stable); err == nil {
				repeated, err = b.grown.rec.RecordEnd(b.ctx, j.id, marks, j.observations[skip:])
			}
		} else {
			repeated, err = b.rec.Record(b.ctx, j.id, j.observations[skip:])
		}
	}
	if repeated {
		skip = len(j.observations)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.err = err
		return
	}
	b.repeated += uint64(skip)
	b.accepted += uint64(len(j.observations) - skip)
}

// recordMany records a batch and all that follow it but for the last one, which it returns.
func (b *Batcher) recordMany(j job) (last job, ok bool) {
	skipped := 0
	var failed error
	accepted, repeated, err := b.many.RecordMany(b.ctx, func(yield func([]byte, []intel.Observation) bool) {
		for ok = true; ok && !j.last; j, ok = <-b.work {
			var skip int
			if skip, failed = b.grown.recorded(b.ctx, j.before, j.observations); failed != nil || !yield(j.id, j.observations[skip:]) {
				ok = false
				return
			}
			skipped += skip
			select {
			case b.spare <- j.observations[:0]:
			default:
			}
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted += accepted
	b.repeated += repeated + uint64(skipped)
	b.err = cmp.Or(err, failed)
	return j, ok && b.err == nil
}

func (b *Batcher) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Observe implements [source.Sink].
func (b *Batcher) Observe(o intel.Observation) error {
	if b.pending == nil {
		select {
		case b.pending = <-b.spare:
		default:
			b.pending = make([]intel.Observation, 0, firstPending)
		}
	}
	b.pending = append(b.pending, o)
	if len(b.pending) == BatchSize {
		return b.flush(false)
	}
	return nil
}

// Refuse implements [source.Sink].
func (b *Batcher) Refuse(r intel.Refusal) { b.refuse(r) }

// stopped ends the reader when recording has failed. It is what the recorder said, but never a refusal, which the reader would take for one
// of the observation.
type stopped struct{ err error }

func (s *stopped) Error() string        { return s.err.Error() }
func (s *stopped) Is(target error) bool { return errors.Is(s.err, target) }

func (b *Batcher) flush(last bool) error {
	if err := b.failed(); err != nil {
		return &stopped{err}
	}
	if len(b.pending) == 0 {
		return nil
	}
	id := b.name(b.number)
	b.work <- job{id, b.pending, b.before, last, b.stable}
	b.number++
	b.pending, b.before, b.stable = nil, id, 0
	return nil
}

// Close records what is left, waits, and returns how many observations were recorded, how many had been before, and the first error.
func (b *Batcher) Close() (accepted, repeated uint64, err error) {
	_ = b.flush(true) // fails only when recording has
	close(b.work)
	<-b.done
	return b.accepted, b.repeated, b.err
}

// Summary is what an import did.
type Summary struct {
	Inputs   int               `json:"inputs"`   // read, wholly or in part
	Bytes    int64             `json:"bytes"`    // of them, unpacked
	Records  int64             `json:"records"`  // lines, events
	Used     int64             `json:"used"`     // of them, those that observations were made of
	Repeats  int64             `json:"repeats"`  // events that stood in their input before, byte for byte
	Other    int64             `json:"other"`    // records that say nothing of a file's hash
	Kinds    map[string]uint64 `json:"kinds"`    // observations by kind
	Accepted uint64            `json:"accepted"` // observations recorded
	Repeated uint64            `json:"repeated"` // observations that an earlier import had recorded: nothing changed
	Refused  uint64            `json:"refused"`  // files and lines
	Faults   map[string]uint64 `json:"faults"`   // the refused, by fault
	Refusals []intel.Refusal   `json:"refusals"` // the first of them, at most 10,000
	Seconds  float64           `json:"seconds"`
}

// maxRefusals bounds the refusals that a summary names.
const maxRefusals = 10_000

// maxFaults bounds the faults that a summary tells apart, for a field's name is the input's own; otherFaults are the rest of them.
const (
	maxFaults   = 200
	otherFaults = "other faults"
)

// Importer reads inputs into a store.
type Importer struct {
	Recorder Recorder
	Options  source.Options
	// Batch, when not "", names what is imported: batches are then named by it, the input's number and their own instead of by the content.
	Batch string
	// Each, when not nil, is told of every refusal as it comes.
	Each func(intel.Refusal)
	// Progress, when not nil, is called now and then with the input being read and the figures so far.
	Progress func(input string, s *Summary)

	inputs uint64 // so far
}

// Import reads all inputs under the paths; "-" is stdin. It fails when a path is not there or the store cannot record; what cannot be
// read is refused and counted, and the rest goes on.
func (im *Importer) Import(ctx context.Context, paths []string, stdin io.Reader) (*Summary, error) {
	start := time.Now()
	s := newSummary()
	refuse := im.refuser(s)
	joins := source.NewJoins()
	visit := func(in *source.Input) error { return im.input(ctx, in, joins, s, refuse) }
	var err error
	for _, p := range paths {
		if p == "-" {
			err = source.WalkReader(ctx, "standard input", stdin, visit, refuse)
		} else {
			err = source.Walk(ctx, []string{p}, visit, refuse)
		}
		if err != nil {
			break
		}
	}
	s.Seconds = time.Since(start).Seconds()
	return s, err
}

// ImportReader reads the inputs in a stream, as Import does those in a file.
func (im *Importer) ImportReader(ctx context.Context, name string, r io.Reader) (*Summary, error) {
	start := time.Now()
	s := newSummary()
	refuse := im.refuser(s)
	joins := source.NewJoins()
	err := source.WalkReader(ctx, name, r, func(in *source.Input) error { return im.input(ctx, in, joins, s, refuse) }, refuse)
	s.Seconds = time.Since(start).Seconds()
	return s, err
}

func newSummary() *Summary {
	return &Summary{Kinds: map[string]uint64{}, Faults: map[string]uint64{}, Refusals: []intel.Refusal{}}
}

// refuser returns what counts the refusals into s.
func (im *Importer) refuser(s *Summary) func(intel.Refusal) {
	return func(r intel.Refusal) {
		s.Refused++
		name := fault(&r)
		if _, ok := s.Faults[name]; !ok && len(s.Faults) >= maxFaults {
			name = otherFaults
		}
		s.Faults[name]++
		if len(s.Refusals) < maxRefusals {
			s.Refusals = append(s.Refusals, r)
		}
		if im.Each != nil {
			im.Each(r)
		}
	}
}

// Take records what tell tells to its sink, for what is no input that can be read: tell counts into the summary what it looks at. A batch is
// named by the observations in it, but not by their times: what is told again, in the same order, counts nothing.
func (im *Importer) Take(ctx context.Context, tell func(source.Sink, *Summary) error) (*Summary, error) {
	start := time.Now()
	s := newSummary()
	h := sha256.New()
	name := func(n uint64) []byte {
		id := sha256.New()
		fmt.Fprint(id, "told\x00")
		id.Write(h.Sum(nil))
		h.Reset()
		return id.Sum(nil)
	}
	b := NewBatcher(ctx, im.Recorder, name, im.refuser(s))
	err := tell(&naming{b, s, h}, s)
	var closeErr error
	if s.Accepted, s.Repeated, closeErr = b.Close(); closeErr != nil {
		err = fmt.Errorf("recording: %w", closeErr)
	}
	s.Seconds = time.Since(start).Seconds()
	return s, err
}

// naming makes the names of batches of the observations in them.
type naming struct {
	*Batcher
	s *Summary
	h hash.Hash
}

func (n *naming) Observe(o intel.Observation) error {
	n.s.Kinds[o.Fact.Kind()]++
	named := o
	named.Time, named.Last = time.Time{}, time.Time{}
	if err := json.NewEncoder(n.h).Encode(named); err != nil {
		return err
	}
	return n.Batcher.Observe(o)
}

// fault groups refusals: by field where there is one, else by the reason without what it quotes and without numbers.
func fault(r *intel.Refusal) string {
	const most = 120 // bytes
	if r.Field != "" {
		return strings.ToValidUTF8(r.Field[:min(most, len(r.Field))], "")
	}
	out := make([]byte, 0, most)
	quoted, escaped := false, false
	for _, c := range []byte(r.Reason) {
		if len(out) >= most {
			break
		}
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			if quoted = !quoted; quoted {
				out = append(out, "…"...)
			}
		case quoted:
		case '0' <= c && c <= '9':
			if len(out) == 0 || out[len(out)-1] != '#' {
				out = append(out, '#')
			}
		default:
			out = append(out, c)
		}
	}
	return strings.ToValidUTF8(string(out), "")
}

// input reads one input. Its batches are named by its content up to the point where each was full, by how it was read, and by number.
func (im *Importer) input(ctx context.Context, in *source.Input, joins *source.Joins, s *Summary, refuse func(intel.Refusal)) error {
	number := im.inputs
	im.inputs++
	o := im.Options
	o.Joins = joins
	name := func(n uint64) []byte {
		h := sha256.New()
		if im.Batch != "" {
			fmt.Fprintf(h, "named\x00%s\x00%d\x00", im.Batch, number)
			h.Write(binary.BigEndian.AppendUint64(nil, n))
			return h.Sum(nil)
		}
		digest := in.Digest()
		zone := o.Zone
		if zone == 0 {
			zone = in.Format().Zone() // as source reads it: said or not said, the batch is the same
		}
		fmt.Fprintf(h, "import\x00%s\x00%s\x00%s\x00%s\x00", in.Format(), o.Feed, zone, o.Marking)
		h.Write(digest[:])
		h.Write(binary.BigEndian.AppendUint64(nil, n))
		return h.Sum(nil)
	}
	many, _ := im.Recorder.(ManyRecorder)
	alone := largeInput
	if in.Size >= largeBytes {
		alone = 0
	}
	b := newBatcher(ctx, im.Recorder, many, alone, name, refuse)
	if rec, ok := im.Recorder.(grownRecorder); ok && im.Batch == "" {
		b.grown = &growing{rec, o.Now}
	}
	counter := &counting{Batcher: b, im: im, s: s, in: in}
	result, err := source.Read(ctx, in, o, counter)
	s.Bytes += in.Bytes()
	s.Records += result.Records
	s.Used += result.Used
	s.Repeats += result.Repeats
	s.Other += result.Other
	if result.Format != "" {
		s.Inputs++
	}
	joinErr := counter.flushJoined(ctx)
	accepted, repeated, closeErr := b.Close()
	closeErr = cmp.Or(closeErr, joinErr)
	s.Accepted += accepted
	s.Repeated += repeated
	if im.Progress != nil {
		im.Progress(in.Name, s)
	}
	if closeErr != nil {
		return fmt.Errorf("recording what %s says: %w", in.Name, closeErr)
	}
	// Only a refusal of Read itself is the input's own: whatever the recorder says, also a refusal, has ended the import above.
	var refusal *intel.Refusal
	if errors.As(err, &refusal) {
		refuse(*refusal)
		return nil
	}
	return err
}

// counting counts kinds on the way.
type counting struct {
	*Batcher
	im *Importer
	s  *Summary
	in *source.Input
	n  int

	joined map[[32]byte][]intel.Observation // made of this input and another one, by the other's digest
	held   int                              // of them
	flush  map[[32]byte]uint64              // batches of a pair so far
}

func (c *counting) Observe(o intel.Observation) error {
	c.s.Kinds[o.Fact.Kind()]++
	if c.n++; c.n&0xFFF == 0 && c.im.Progress != nil {
		c.im.Progress(c.in.Name, c.s)
	}
	if c.grown != nil {
		if c.before == nil {
			c.before = begins(string(c.in.Format()), c.im.Options.Feed, c.zone().String(), c.im.Options.Marking.String())
		}
		if !c.in.Ended() {
			c.stable = len(c.pending) + 1
		}
	}
	return c.Batcher.Observe(o)
}

// zone is what being listed in the input means: said or not said, its batches are the same.
func (c *counting) zone() intel.Zone { return cmp.Or(c.im.Options.Zone, c.in.Format().Zone()) }

// maxJoined is how many joined observations are held before they are recorded.
const maxJoined = 8 * BatchSize

// ObserveJoined implements [source.JoinedSink]. What two inputs tell together is recorded under both of their names, so that it counts once
// for the pair, whatever is read with them, in either order, and again.
func (c *counting) ObserveJoined(with [32]byte, o intel.Observation) error {
	c.s.Kinds[o.Fact.Kind()]++
	if c.joined == nil {
		c.joined, c.flush = map[[32]byte][]intel.Observation{}, map[[32]byte]uint64{}
	}
	c.joined[with] = append(c.joined[with], o)
	if c.held++; c.held < maxJoined {
		return nil
	}
	if err := c.flushJoined(c.ctx); err != nil {
		return &stopped{err}
	}
	return nil
}

// flushJoined records what is held, pair by pair.
func (c *counting) flushJoined(ctx context.Context) error {
	digest := c.in.Digest()
	for _, with := range slices.SortedFunc(maps.Keys(c.joined), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
		first, second := with, digest
		if bytes.Compare(first[:], second[:]) > 0 {
			first, second = second, first
		}
		// Which of the two was read first must not show.
		all := c.joined[with]
		slices.SortStableFunc(all, func(a, b intel.Observation) int {
			return cmp.Or(a.Time.Compare(b.Time), a.File.Strongest().Compare(b.File.Strongest()), strings.Compare(fmt.Sprint(a.Fact), fmt.Sprint(b.Fact)))
		})
		for batch := range slices.Chunk(all, BatchSize) {
			h := sha256.New()
			fmt.Fprintf(h, "joined\x00%s\x00", c.im.Options.Marking)
			h.Write(first[:])
			h.Write(second[:])
			h.Write(binary.BigEndian.AppendUint64(nil, c.flush[with]))
			c.flush[with]++
			accepted, err := c.grown.joined(ctx, c.im.Recorder, h.Sum(nil), slices.Clone(batch))
			if err != nil {
				return err
			}
			c.s.Accepted += uint64(accepted)
			c.s.Repeated += uint64(len(batch) - accepted)
		}
		delete(c.joined, with)
	}
	c.held = 0
	return nil
}
