package dossier

import "spoor/internal/intel"

// conflicts lists the hashes that more than one file claims.
func (b *builder) conflicts() error {
	b.d.Conflicts = append([]intel.Conflict{}, b.facts.Conflicts...)
	return nil
}
