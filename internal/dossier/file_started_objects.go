package dossier

// fileStartedObjects lists what this file started: the name of the section, not its swapped description on the page.
func (b *builder) fileStartedObjects() error {
	b.d.Started = b.fileRows(b.facts.Started)
	return nil
}
