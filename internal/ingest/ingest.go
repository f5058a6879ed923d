// Package ingest is the way of observations into the store: check, normalise, batch, record.
package ingest

import (
	"context"

	"spoor/internal/intel"
)

// Recorder is what ingest needs of the store.
type Recorder interface {
	// Record keeps the observations, durably, all or none. id names the batch: recording a batch whose id was
	// recorded before changes nothing and is reported as repeated. Every observation has passed Check.
	Record(ctx context.Context, id []byte, observations []intel.Observation) (repeated bool, err error)
}
