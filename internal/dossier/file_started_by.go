package dossier

// fileStartedBy lists what started this file.
func (b *builder) fileStartedBy() error {
	b.d.StartedBy = b.fileRows(b.facts.StartedBy)
	return nil
}
