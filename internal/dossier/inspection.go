package dossier

import (
	"cmp"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// inspection lists what reading the bytes gave beyond the overview: details in the order of intel's names, then fuzzy hashes.
func (b *builder) inspection() error {
	rows := make([]PropertyRow, 0, len(b.facts.Details)+len(b.facts.FuzzyHashes))
	details := slices.Clone(b.facts.Details)
	slices.SortStableFunc(details, func(x, y intel.Row[intel.Attribute]) int {
		return cmp.Or(cmp.Compare(x.Value.Name.Order(), y.Value.Name.Order()), strings.Compare(x.Value.Value, y.Value.Value))
	})
	for i := range details {
		r := &details[i]
		rows = append(rows, PropertyRow{string(r.Value.Name), r.Value.Value, r.Last.Time()})
	}
	fuzzy := len(rows)
	for i := range b.facts.FuzzyHashes {
		r := &b.facts.FuzzyHashes[i]
		rows = append(rows, PropertyRow{string(r.Value.Algorithm), r.Value.Value, r.Last.Time()})
	}
	slices.SortFunc(rows[fuzzy:], func(x, y PropertyRow) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Value, y.Value))
	})
	b.d.Inspection = rows[:min(len(rows), b.count)]
	return nil
}
