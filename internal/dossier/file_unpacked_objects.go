package dossier

// fileUnpackedObjects lists the edges from the file down to its members, to six generations.
func (b *builder) fileUnpackedObjects() error {
	if b.d.UnpackedObjects != nil { // two sections tell of it
		return nil
	}
	down, err := b.members()
	if err != nil {
		return err
	}
	b.d.UnpackedObjects = down.best(b.count)
	return nil
}
