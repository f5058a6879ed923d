package dossier

import (
	"cmp"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// fileCertificates lists the certificates of the file's own signatures.
func (b *builder) fileCertificates() error {
	rows := make([]CertificateRow, len(b.facts.Certificates))
	for i := range b.facts.Certificates {
		rows[i] = certificateRow(&b.facts.Certificates[i].Value, intel.Hashes{})
	}
	b.d.Certificates = orderedCertificates(rows, b.count)
	return nil
}

func certificateRow(c *intel.Certificate, container intel.Hashes) CertificateRow {
	return CertificateRow{Certificate: *c, Zone: verdict.Certificate(c), Container: container}
}

func orderedCertificates(rows []CertificateRow, most int) []CertificateRow {
	return capped(rows, most, func(r *CertificateRow) order { return order{r.Zone, 0, r.Signed.Unix()} }, func(x, y *CertificateRow) int {
		return cmp.Or(x.MD5.Compare(y.MD5), strings.Compare(x.Serial, y.Serial), compareFiles(x.Container, y.Container))
	})
}
