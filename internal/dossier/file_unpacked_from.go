package dossier

// fileUnpackedFrom lists the edges from the file up to its containers, to six generations.
func (b *builder) fileUnpackedFrom() error {
	up, err := b.containers()
	if err != nil {
		return err
	}
	b.d.UnpackedFrom = up.best(b.count)
	return nil
}
