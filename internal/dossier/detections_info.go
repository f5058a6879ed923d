package dossier

import (
	"cmp"
	"math"
	"strings"
	"time"

	"spoor/internal/intel"
)

// detectionsInfo lists every detection; count does not cap it.
func (b *builder) detectionsInfo() error {
	rows := make([]DetectionRow, 0, len(b.facts.Detections))
	for _, r := range b.facts.Detections {
		rows = append(rows, DetectionRow{Detection: r.Value, Last: lastOrLearned(&r.Tally), Hits: r.Count, Sources: r.Sources})
	}
	b.d.Detections = capped(rows, math.MaxInt, func(r *DetectionRow) order { return order{r.Zone, r.Hits, r.Last.Unix()} },
		func(x, y *DetectionRow) int {
			return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Method, y.Method))
		})
	return nil
}

// lastOrLearned is when a detection was last made; of one that bears no date, when it was first heard of.
func lastOrLearned(t *intel.Tally) time.Time {
	if t.Last == 0 {
		return t.Learned.Time()
	}
	return t.Last.Time()
}
