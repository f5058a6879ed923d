// Package digest makes and compares the two fuzzy digests of a file's bytes, TLSH and ssdeep.
//
// Both are made as the bytes go by, in constant memory: a file may be larger than memory. The digests, and the distance or score between two,
// equal those of Debian's tlsh and ssdeep, bit for bit; the tests hold that on thousands of real files.
package digest

import (
	"errors"
	"io"
)

// Digests are the fuzzy digests of one file, as text. TLSH is empty for bytes that have none.
type Digests struct{ TLSH, SSDeep string }

// Read reads r to its end and returns its digests.
func Read(r io.Reader) (Digests, error) {
	t, s := NewTLSHWriter(), NewSSDeepWriter()
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		t.Write(buffer[:n])
		s.Write(buffer[:n])
		switch {
		case errors.Is(err, io.EOF):
			var d Digests
			if sum, ok := t.Sum(); ok {
				d.TLSH = sum.String()
			}
			d.SSDeep = s.Sum()
			return d, nil
		case err != nil:
			return Digests{}, err
		}
	}
}

// ReadAt is Read for the first size bytes of r.
func ReadAt(r io.ReaderAt, size int64) (Digests, error) {
	return Read(io.NewSectionReader(r, 0, size))
}
