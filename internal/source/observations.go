package source

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"

	"spoor/internal/intel"
)

// readObservations reads Spoor's own NDJSON form, one observation a line. Each says who may see it; a marking of the whole reading is the least.
func readObservations(r *reader) error {
	return r.each(func(line []byte, number int64) error {
		o, err := intel.ParseObservation(line)
		if err != nil {
			return r.refusal(number, err)
		}
		r.result.Used++
		o.Source.Marking = max(o.Source.Marking, r.o.Marking)
		return r.refusal(number, r.sink.Observe(o))
	})
}

func sniffObservations(s *sample) int {
	if bytes.HasPrefix(s.trimmed, []byte("{")) && looksLikeObservation(s.first) {
		return 90
	}
	return 0
}

var sourceObject = regexp.MustCompile(`"source"\s*:\s*\{`)

// looksLikeObservation reports whether a line has the source of the NDJSON form: an object with type and name. Other JSON has a source
// too, as a text or of other make. A line that is no JSON, or not wholly in sight, is told by the source and the name of a fact.
func looksLikeObservation(line []byte) bool {
	var o struct{ Source map[string]any }
	if err := json.Unmarshal(line, &o); err == nil {
		return o.Source["type"] != nil && o.Source["name"] != nil
	} else if json.Valid(line) || !sourceObject.Match(line) {
		return false
	}
	return slices.ContainsFunc(intel.Kinds(), func(kind string) bool { return bytes.Contains(line, []byte(`"`+kind+`"`)) })
}
