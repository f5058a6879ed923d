package dossier

// fileDownloadedObjects lists what this file downloaded.
func (b *builder) fileDownloadedObjects() error {
	b.d.Downloaded = b.fileRows(b.facts.Downloaded)
	return nil
}
