package dossier

// fileUnpackedObjects lists the edges from the file down to its members, to six generations.
func (b *builder) fileUnpackedObjects() error {
	down, err := b.members()
	if err != nil {
		return err
	}
	b.d.UnpackedObjects = down.best(b.count)
	return nil
}
