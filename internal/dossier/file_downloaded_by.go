package dossier

// fileDownloadedBy lists what downloaded this file.
func (b *builder) fileDownloadedBy() error {
	b.d.DownloadedBy = b.fileRows(b.facts.DownloadedBy)
	return nil
}
