// Package exe reads what the headers of an executable say: PE, ELF and Mach-O.
package exe

import (
	"io"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Info is what an executable says of itself.
type Info struct {
	Facts    []intel.Fact // attributes and fuzzy hashes
	Embedded []Embedded   // files that lie in it: resources of PE, the overlay
}

// Embedded is a run of bytes of the file that may be a file itself.
type Embedded struct {
	Path         string // "resource RCDATA/101", "overlay"
	Offset, Size int64
}

// Read reads an executable of format f in the size bytes of r. What cannot be read is left out; the error says what and why, and the rest is
// told all the same.
func Read(f filetype.Format, r io.ReaderAt, size int64) (Info, error) {
	return Info{}, nil
}
