package dossier

import "spoor/internal/verdict"

// zone fills Zone, and Reasons, which come with it.
func (b *builder) zone() error {
	b.d.Verdict = verdict.Judge(&b.facts.Head)
	return nil
}
