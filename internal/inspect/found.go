package inspect

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/filetype"
	"spoor/internal/inspect/unpack"
)

// overlayPath is where exe says that something follows the program.
const overlayPath = "overlay"

// carve returns what lies in a program or a script, as runs of bytes that are files: those of embedded that begin like one, and the archives that
// begin somewhere else in it, as those that unpack themselves have them. No byte is in two of the runs that are found here. installer is a format
// of which the whole program is one.
func (w *walk) carve(r io.ReaderAt, size int64, typ filetype.Type, embedded []exe.Embedded) (known []exe.Embedded, installer filetype.Format) {
	r = &readerAt{w, r}
	overlay := size
	if typ.Short == "MZ" { // of a DOS program the header says how long it is, in pages of 512 bytes
		var b [6]byte
		if n, _ := r.ReadAt(b[:], 0); n == len(b) {
			overlay = 512 * int64(binary.LittleEndian.Uint16(b[4:]))
			if last := int64(binary.LittleEndian.Uint16(b[2:])); last > 0 {
				overlay += last - 512
			}
		}
	}
	var done []exe.Embedded   // known, too
	var behind []exe.Embedded // an overlay that may hold more than it begins with
	for _, e := range embedded {
		if e.Offset < 0 || e.Size <= 0 || e.Size > size-e.Offset {
			continue
		}
		if e.Path == overlayPath {
			overlay = e.Offset
		}
		run := io.NewSectionReader(r, e.Offset, e.Size)
		t, err := w.detect(run, e.Size)
		if err != nil {
			continue // as what is known of no format
		}
		switch t.Format {
		case filetype.Unknown, filetype.Text, filetype.Empty:
		case filetype.NSIS:
			// Its uninstaller is made of the program, too.
			installer, done = t.Format, append(done, e)
		default:
			// A zip may lie behind something else, and another archive behind one that says where it ends.
			late := t.Format == filetype.Cab || t.Format == filetype.SevenZip || strings.HasSuffix(t.Name, " after other data")
			if e.Path == overlayPath && late {
				behind = append(behind, e)
			} else {
				known = append(known, e)
			}
		}
	}
	switch typ.Format {
	case filetype.PE, filetype.ELF, filetype.MachO, filetype.MZ:
	case filetype.Script:
		if f, ok := unpack.FindBehind(r, size); ok {
			known = append(known, exe.Embedded{Path: fmt.Sprintf("%s/archive.%s", overlayPath, f.Format), Offset: f.Offset, Size: f.Size})
		}
		return known, installer
	default:
		return known, installer
	}
	// What is left between what is known, parted where the overlay begins.
	cuts := append(done, known...)
	slices.SortFunc(cuts, func(a, b exe.Embedded) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	count := map[string]int{}
	var archives []exe.Embedded
	at := int64(0)
	between := func(from, to int64, path string) {
		for _, f := range unpack.Find(io.NewSectionReader(r, from, to-from), to-from, typ.Format == filetype.MZ) {
			if f.Format == filetype.NSIS || f.Format == filetype.Inno {
				installer = f.Format
				continue
			}
			name := fmt.Sprintf("%s/archive.%s", path, f.Format)
			if count[path]++; f.Offset == 0 && f.Size == to-from {
				name = path
			} else if count[path] > 1 {
				name = fmt.Sprintf("%s/archive %d.%s", path, count[path], f.Format)
			}
			archives = append(archives, exe.Embedded{Path: name, Offset: from + f.Offset, Size: f.Size})
		}
	}
	for _, cut := range append(cuts, exe.Embedded{Offset: size}) {
		if at < cut.Offset {
			if middle := min(max(at, overlay), cut.Offset); at < middle {
				between(at, middle, "embedded")
				at = middle
			}
			if at < cut.Offset {
				between(at, cut.Offset, overlayPath)
			}
		}
		at = max(at, cut.Offset+cut.Size)
	}
	if installer == filetype.Inno {
		archives = nil // files that it holds as they are, which are its members
	}
	if len(archives) == 0 && installer == filetype.Unknown {
		archives = behind
	}
	return append(known, archives...), installer
}

// readerAt fails once the walk's time is over, so that what is searched does not go on.
type readerAt struct {
	w *walk
	r io.ReaderAt
}

func (r *readerAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.w.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.ReadAt(p, off)
}
