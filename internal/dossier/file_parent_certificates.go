package dossier

import (
	"math"

	"spoor/internal/intel"
)

// fileParentCertificates lists the certificates of the containers that the file came in, at every level; count does not cap it.
func (b *builder) fileParentCertificates() error {
	rows, err := b.containerCertificates()
	if err != nil {
		return err
	}
	b.d.ParentCertificates = orderedCertificates(rows, math.MaxInt)
	return nil
}

// containerCertificates reads the certificates of all containers; each certificate stands once, with one of its containers.
func (b *builder) containerCertificates() ([]CertificateRow, error) {
	up, err := b.containers()
	if err != nil || len(up.files) == 0 {
		return nil, err
	}
	sets, err := b.view.Certificates(b.ctx, up.files)
	if err != nil {
		return nil, err
	}
	var rows []CertificateRow
	seen := map[intel.Certificate]bool{}
	for i, set := range sets {
		for j := range set {
			if c := &set[j].Value; !seen[*c] {
				seen[*c] = true
				rows = append(rows, certificateRow(c, up.names[up.files[i]]))
			}
		}
	}
	return rows, nil
}
