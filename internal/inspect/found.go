package inspect

import (
	"fmt"
	"io"
	"slices"

	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/filetype"
	"spoor/internal/inspect/unpack"
)

// overlayPath is where exe says that something follows the program.
const overlayPath = "overlay"

// carve returns what lies in a program or a script, as runs of bytes that are files: those of embedded that begin like one, and the archives that
// begin somewhere else in it, as those that unpack themselves have them. No byte is in two of the runs that are found here. installer is a format
// of which the whole program is one.
func (w *walk) carve(r io.ReaderAt, size int64, format filetype.Format, embedded []exe.Embedded) (known []exe.Embedded, installer filetype.Format) {
	r = &readerAt{w, r}
	overlay := size
	var done []exe.Embedded // known, too
	for _, e := range embedded {
		if e.Offset < 0 || e.Size <= 0 || e.Size > size-e.Offset {
			continue
		}
		if e.Path == overlayPath {
			overlay = e.Offset
		}
		switch t := detect(io.NewSectionReader(r, e.Offset, e.Size), e.Size); t.Format {
		case filetype.Unknown, filetype.Text, filetype.Empty:
		case filetype.NSIS:
			// Its uninstaller is made of the program, too.
			installer, done = t.Format, append(done, e)
		default:
			known = append(known, e)
		}
	}
	switch format {
	case filetype.PE, filetype.ELF, filetype.MachO, filetype.MZ:
	case filetype.Script, filetype.Text:
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
		for _, f := range unpack.Find(io.NewSectionReader(r, from, to-from), to-from, format == filetype.MZ) {
			if f.Format == filetype.NSIS || f.Format == filetype.Inno {
				installer = f.Format
				continue
			}
			name := fmt.Sprintf("%s/archive.%s", path, f.Format)
			if count[path]++; count[path] > 1 {
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
