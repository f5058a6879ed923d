package dossier

import "strings"

// fileNames lists what the file was called.
func (b *builder) fileNames() error {
	rows := make([]NameRow, len(b.facts.Names))
	for i, r := range b.facts.Names {
		rows[i] = NameRow{Name: r.Value, Hits: r.Count, First: r.First.Time(), Last: r.Last.Time()}
	}
	b.d.Names = capped(rows, b.count, func(r *NameRow) order { return order{0, r.Hits, r.Last.Unix()} },
		func(x, y *NameRow) int { return strings.Compare(x.Name, y.Name) })
	return nil
}
