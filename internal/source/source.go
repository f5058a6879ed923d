// Package source turns foreign formats into observations: bytes of one format in, observations out.
package source

import "spoor/internal/intel"

// Sink takes what a reader makes of its input. A Sink is called from one goroutine at a time.
type Sink interface {
	// Observe takes one observation. An error stops the reader and comes back from it.
	Observe(o intel.Observation) error
	// Refuse takes notice of a part of the input that was not read; the rest goes on.
	Refuse(r intel.Refusal)
}
