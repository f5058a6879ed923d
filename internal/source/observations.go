package source

import "spoor/internal/intel"

// readObservations reads Spoor's own NDJSON form, one observation a line.
func readObservations(r *reader) error {
	return r.each(func(line []byte, number int64) error {
		o, err := intel.ParseObservation(line)
		if err != nil {
			return r.refusal(number, err)
		}
		r.result.Used++
		return r.refusal(number, r.sink.Observe(o))
	})
}
