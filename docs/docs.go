// Package docs holds the parts of the documentation that the server serves too.
package docs

import _ "embed"

// ObservationSchema is the JSON Schema (2020-12) of one observation, as observations.md describes it.
//
//go:embed observation.schema.json
var ObservationSchema []byte
