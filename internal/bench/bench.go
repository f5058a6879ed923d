// Package bench measures this machine: each figure of Spoor beside its limit or peer, taken in the same run.
package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"time"
)

// Result is one figure. Ratio is what Target bounds: Value/PeerValue where there is a peer, else Value itself.
type Result struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Peer      string  `json:"peer"` // what it is compared with; empty when with nothing
	PeerValue float64 `json:"peer_value"`
	Ratio     float64 `json:"ratio"`
	Target    string  `json:"target"` // ">= 0.5", "< 10"; empty when the figure is only told
	Reached   bool    `json:"reached"`
}

// Options say what to measure.
type Options struct {
	Quick bool   // a tenth of the data
	Dir   string // scratch directory; a temporary one when empty
	// Progress is told what is being done; it may be nil.
	Progress func(what string)
	// BlockCache and AnswerCache are the sizes of the server's caches in bytes; 0 means what the packages take by themselves.
	BlockCache  int64
	AnswerCache int
	// Import runs a whole import of one file into a new store below dir, as the command does.
	Import func(ctx context.Context, dir string, in Input) error
	// ImportApart is Import in a process of its own; it returns the most memory that the process held, in bytes, 0 where that cannot be told.
	ImportApart func(ctx context.Context, dir string, in Input) (memory int64, err error)
	// StoreDir is where the engine's files are below a directory that Import was given.
	StoreDir func(dir string) string
	// Worker starts a process that inspects files.
	Worker []string
	// Confine starts a program of the system without rights, as the server does; empty where that cannot be.
	Confine []string
	// Serve starts a server on a new data directory below dir; may be nil.
	Serve func(ctx context.Context, dir string) (*Served, error)
	// Formats are the names of the formats that Import reads.
	Formats []string
}

// Input is a file to import.
type Input struct {
	File      string
	Format    string // by content when empty
	Feed      string // whose list it is, when it is one
	KnownGood bool   // being listed means green
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// scale is the size of the data: 2 M files and 20 M observations, or a tenth.
func (o *Options) scale() (files, observations int) {
	if o.Quick {
		return 200_000, 2_000_000
	}
	return 2_000_000, 20_000_000
}

// Run measures everything and returns the figures in the order of docs/performance.md.
// A figure whose peer is not installed is told without it.
func Run(ctx context.Context, o Options) ([]Result, error) {
	dir, err := os.MkdirTemp(o.Dir, "spoor-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a scratch directory: %w", err)
	}
	defer os.RemoveAll(dir)
	var all []Result
	for _, part := range []func(context.Context, *Options, string) ([]Result, error){recording, importing, feeds, similarity, inspecting, answering} {
		rs, err := part(ctx, &o, dir)
		if err != nil {
			return all, err
		}
		all = append(all, rs...)
		runtime.GC()
	}
	return all, nil
}

// atLeast makes a figure whose ratio to a peer is to reach a target.
func atLeast(name string, value float64, unit, peer string, peerValue, target float64) Result {
	r := Result{Name: name, Value: round(value), Unit: unit, Peer: peer, PeerValue: round(peerValue), Target: fmt.Sprintf(">= %g", target)}
	if peerValue > 0 {
		r.Ratio = round(value / peerValue)
		r.Reached = value/peerValue >= target
	}
	return r
}

// below makes a figure that is to stay under a limit.
func below(name string, value float64, unit string, limit float64) Result {
	return Result{Name: name, Value: round(value), Unit: unit, Peer: "limit", PeerValue: limit, Ratio: round(value / limit),
		Target: fmt.Sprintf("< %g", limit), Reached: value < limit}
}

// reaches makes a figure that is to reach a limit.
func reaches(name string, value float64, unit string, limit float64) Result {
	return Result{Name: name, Value: round(value), Unit: unit, Peer: "limit", PeerValue: limit, Ratio: round(value / limit),
		Target: fmt.Sprintf(">= %.0f", limit), Reached: value >= limit}
}

// told makes a figure that has no target.
func told(name string, value float64, unit string) Result {
	return Result{Name: name, Value: round(value), Unit: unit, Reached: true}
}

// round keeps four significant digits.
func round(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	p := math.Pow(10, 4-math.Ceil(math.Log10(math.Abs(x))))
	return math.Round(x*p) / p
}

// quantile returns the q-quantile of durations in milliseconds; it sorts them.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(int(q*float64(len(d))), len(d)-1)]) / float64(time.Millisecond)
}
