package source

import (
	"errors"

	"spoor/internal/intel"
)

// readObservations reads Spoor's own NDJSON form, one observation a line.
func readObservations(r *reader) error {
	return r.each(func(line []byte, number int64) error {
		o, err := intel.ParseObservation(line)
		if err != nil {
			var refusal *intel.Refusal
			if !errors.As(err, &refusal) {
				return err
			}
			r.refuse(number, refusal.Field, refusal.Reason)
			return nil
		}
		r.result.Used++
		return r.sink.Observe(o)
	})
}
