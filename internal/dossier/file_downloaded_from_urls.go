package dossier

// fileDownloadedFromUrls lists the web addresses that the file came from.
func (b *builder) fileDownloadedFromUrls() error {
	b.d.DownloadedFrom = b.urlRows(b.facts.DownloadedFrom)
	return nil
}
