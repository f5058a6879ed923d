// Package signature verifies who signed a file: digest, chain and time, against roots that the operator chooses.
package signature

import (
	"crypto/x509"
	"io"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Trust is what signatures are verified against. It is plain data, for it is handed to another process.
type Trust struct {
	Roots       []*x509.Certificate    // trusted to sign code and time stamps
	Extra       []*x509.Certificate    // intermediates that may complete a chain
	Revocations []*x509.RevocationList // imported CRLs
}

// Result is what the signatures of a file say.
type Result struct {
	Facts []intel.Fact // intel.Signature, one a signature; intel.Certificate, one a certificate; attributes that say what is wrong
	Notes []string     // a line a signature, for a person: "signature 1 (SHA-256, nested): valid, timestamped 2019-03-01"
}

// Signed reports whether files of a format can carry a signature that Verify reads.
func Signed(f filetype.Format) bool { return false }

// Verify reads and verifies all signatures of a file of format f in the size bytes of r. A file without a signature gives an empty result.
func Verify(f filetype.Format, r io.ReaderAt, size int64, t *Trust) (Result, error) {
	return Result{}, nil
}
