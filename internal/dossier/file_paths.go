package dossier

import (
	"strings"

	"spoor/internal/intel"
)

// filePaths lists where the file was seen.
func (b *builder) filePaths() error {
	rows := make([]PathRow, len(b.facts.Paths))
	for i, r := range b.facts.Paths {
		rows[i] = PathRow{Path: r.Value, Location: intel.Location(r.Value), Hits: r.Count, First: r.First.Time(), Last: r.Last.Time()}
	}
	b.d.Paths = capped(rows, b.count, func(r *PathRow) order { return order{0, r.Hits, r.Last.Unix()} },
		func(x, y *PathRow) int { return strings.Compare(x.Path, y.Path) })
	return nil
}
