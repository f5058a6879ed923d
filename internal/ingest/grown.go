package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"strings"
	"time"

	"spoor/internal/intel"
)

// A log that grew since it was imported begins with what was recorded then. Its full batches have the names that they had, for a name follows from the
// content up to where a batch was full. The last batch was not full then, and is longer now: so it left marks, in the same step as its observations, that
// say how many it held. Who records a batch that begins as that one did leaves out so many.
//
// The marks of a last batch have names that follow from the batch before it, whose name follows from all that came before, and from its own observations:
//
//	first  of its first observation                   1: look further
//	size   of the first 1, 2, 4 … that it held        how many it held, the most that any did that began so; there are several, by its remainder
//	whole  of all that it held                        1
//
// A size is only where to look; the mark of the whole says that these very observations were recorded. What was made of a last line without an end, or
// after it, may be told otherwise when the log goes on, so a batch leaves marks of what came before that, too.

// grownRecorder is a Recorder that keeps marks.
type grownRecorder interface {
	Recorder
	// RecordEnd records as Record does, and raises the marks in the same step.
	RecordEnd(ctx context.Context, id []byte, marks map[string]uint64, observations []intel.Observation) (repeated bool, err error)
	// Marks returns the number of each name's mark, 0 where there is none.
	Marks(ctx context.Context, names []string) ([]uint64, error)
}

// growing knows the last batches of inputs that grew. nil knows none.
type growing struct {
	rec grownRecorder
	now time.Time // what is told of this moment may be told of another one the next time
}

// The kinds of marks; those of what stood before the last end of a line are of kinds of their own.
const (
	markFirst  = "first"
	markSize   = "size"
	markStable = "stable"
	markWhole  = "whole"
)

// prefix hashes a batch's observations one after another.
type prefix struct {
	g      *growing
	before []byte
	h      hash.Hash
	e      *json.Encoder
	n      int
}

func (g *growing) prefix(before []byte) *prefix {
	h := sha256.New()
	return &prefix{g, before, h, json.NewEncoder(h), 0}
}

func (p *prefix) add(o intel.Observation) error {
	if o.Time.Equal(p.g.now) {
		o.Time = time.Time{}
	}
	if o.Last.Equal(p.g.now) {
		o.Last = time.Time{}
	}
	p.n++
	return p.e.Encode(o)
}

// sizes is how many marks of a size there are for one beginning: other batches that begin alike rarely hide a size.
const sizes = 16

// mark names a mark of the observations so far.
func (p *prefix) mark(kind string, which int) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%d\x00", kind, which, p.n)
	h.Write(p.before)
	h.Write(p.h.Sum(nil))
	return "grown " + hex.EncodeToString(h.Sum(nil))
}

// marks are those that the last batch of an input leaves. Of its observations so many, at least, will be told the same when the input goes on.
func (g *growing) marks(before []byte, observations []intel.Observation, stable int) (map[string]uint64, error) {
	marks := map[string]uint64{}
	all := len(observations)
	p := g.prefix(before)
	for i := range observations {
		if err := p.add(observations[i]); err != nil {
			return nil, err
		}
		if p.n == 1 {
			marks[p.mark(markFirst, 0)] = 1
		}
		if p.n == floor(all) {
			marks[p.mark(markSize, all%sizes)] = uint64(all)
		}
		if stable < all && p.n == floor(stable) {
			marks[p.mark(markStable, stable%sizes)] = uint64(stable)
		}
		if p.n == all || p.n == stable {
			marks[p.mark(markWhole, 0)] = 1
		}
	}
	return marks, nil
}

// floor is the greatest power of two that is no larger than n.
func floor(n int) int {
	if n == 0 {
		return 0
	}
	return 1 << (bits.Len(uint(n)) - 1)
}

// recorded returns how many of a batch's first observations were recorded as a last batch.
func (g *growing) recorded(ctx context.Context, before []byte, observations []intel.Observation) (int, error) {
	if g == nil || len(observations) == 0 {
		return 0, nil
	}
	p := g.prefix(before)
	if err := p.add(observations[0]); err != nil {
		return 0, err
	}
	if m, err := g.rec.Marks(ctx, []string{p.mark(markFirst, 0)}); err != nil || m[0] == 0 {
		return 0, err
	}
	var names []string
	for i := 1; ; i++ {
		if p.n == floor(p.n) {
			for which := range sizes {
				names = append(names, p.mark(markSize, which), p.mark(markStable, which))
			}
		}
		if i == len(observations) {
			break
		}
		if err := p.add(observations[i]); err != nil {
			return 0, err
		}
	}
	told, err := g.rec.Marks(ctx, names)
	if err != nil {
		return 0, err
	}
	slices.Sort(told)
	names = names[:0]
	var held []int
	p = g.prefix(before)
	for i := range observations {
		if err := p.add(observations[i]); err != nil {
			return 0, err
		}
		if _, ok := slices.BinarySearch(told, uint64(p.n)); ok {
			names = append(names, p.mark(markWhole, 0))
			held = append(held, p.n)
		}
	}
	whole, err := g.rec.Marks(ctx, names)
	if err != nil {
		return 0, err
	}
	for i := len(names) - 1; i >= 0; i-- {
		if whole[i] > 0 {
			return held[i], nil
		}
	}
	return 0, nil
}

// joined records a batch of what two inputs tell together, and returns how many it recorded. When either has grown there is more of it, anywhere among what
// there was: so each of these observations leaves a mark of its own.
func (g *growing) joined(ctx context.Context, rec Recorder, id []byte, observations []intel.Observation) (accepted int, err error) {
	if g == nil {
		repeated, err := rec.Record(ctx, id, observations)
		if err != nil || repeated {
			return 0, err
		}
		return len(observations), nil
	}
	names := make([]string, len(observations))
	same := map[string]int{}
	for i := range observations {
		text, err := json.Marshal(observations[i])
		if err != nil {
			return 0, err
		}
		// Two that are alike are two.
		sum := sha256.Sum256(text)
		names[i] = fmt.Sprintf("joined %x %d", sum, same[string(sum[:])])
		same[string(sum[:])]++
	}
	marks, err := g.rec.Marks(ctx, names)
	if err != nil {
		return 0, err
	}
	fresh := observations[:0]
	raised := map[string]uint64{}
	for i := range observations {
		if marks[i] == 0 {
			fresh = append(fresh, observations[i])
			raised[names[i]] = 1
		}
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	repeated, err := g.rec.RecordEnd(ctx, id, raised, fresh)
	if err != nil || repeated {
		return 0, err
	}
	return len(fresh), nil
}

// begins names what came before the first batch of an input: how it is read.
func begins(how ...string) []byte {
	sum := sha256.Sum256([]byte("begin\x00" + strings.Join(how, "\x00")))
	return sum[:]
}
