package dossier

// fileAccessedUrls lists the web addresses that the file contacted.
func (b *builder) fileAccessedUrls() error {
	b.d.Accessed = b.urlRows(b.facts.Accessed)
	return nil
}
