package unpack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An archive of PyInstaller is data, a table of contents, and a cookie at its end that says where the two are. The table's entries name a piece of the
// data each: scripts and modules of Python, libraries, and archives of modules (PYZ).

const (
	pyMark       = "MEI\x0c\x0b\x0a\x0b\x0e"
	pyCookie     = 24      // bytes up to version 2.0
	pyCookieLong = 24 + 64 // since then, with the name of Python's library
	pyEntry      = 18
	pyMaxTable   = 16 << 20
)

// pyArchive is where an archive of PyInstaller and its table lie.
type pyArchive struct {
	start, end      int64 // of the archive
	table, tableEnd int64
}

// readPyCookie reads the cookie at off; false when it is none.
func readPyCookie(r io.ReaderAt, size, off int64) (pyArchive, bool) {
	be := binary.BigEndian
	b := make([]byte, pyCookie)
	if n, _ := r.ReadAt(b, off); n < len(b) || string(b[:8]) != pyMark {
		return pyArchive{}, false
	}
	length, table, n := int64(be.Uint32(b[8:])), int64(be.Uint32(b[12:])), int64(be.Uint32(b[16:]))
	for _, cookie := range []int64{pyCookieLong, pyCookie} {
		c := pyArchive{start: off + cookie - length, end: off + cookie}
		c.table, c.tableEnd = c.start+table, c.start+table+n
		if c.start < 0 || c.end > size || c.tableEnd > off || n < pyEntry {
			continue
		}
		var e [4]byte
		if k, _ := r.ReadAt(e[:], c.table); k < len(e) {
			continue
		}
		if each := int64(be.Uint32(e[:])); each >= pyEntry && each <= n {
			return c, true
		}
	}
	return pyArchive{}, false
}

// readPyInstaller tells the pieces of an archive of PyInstaller. The archive ends where the file does.
func readPyInstaller(c *container) error {
	var a pyArchive
	ok := false
	for _, cookie := range []int64{pyCookieLong, pyCookie} {
		if ok = c.size >= cookie; ok {
			if a, ok = readPyCookie(c.r, c.size, c.size-cookie); ok {
				break
			}
		}
	}
	if !ok {
		return errors.New("it does not end with a cookie of PyInstaller")
	}
	table, err := readSome(c.section(a.table, a.tableEnd-a.table), a.tableEnd-a.table, pyMaxTable)
	if err != nil {
		return fmt.Errorf("the table: %w", err)
	}
	be := binary.BigEndian
	for len(table) > 0 {
		if len(table) < pyEntry {
			return errCut
		}
		n := int64(be.Uint32(table))
		if n < pyEntry || n > int64(len(table)) {
			return errors.New("the table is damaged")
		}
		e := table[:n]
		table = table[n:]
		off, packed, size := int64(be.Uint32(e[4:])), int64(be.Uint32(e[8:])), int64(be.Uint32(e[12:]))
		name, _, _ := bytes.Cut(e[pyEntry:], []byte{0})
		kind := e[17]
		if kind == 'o' || kind == 'n' || kind == 'd' { // an option, a link, and a reference to another archive hold nothing
			continue
		}
		m := Member{Path: cleanPath(latin1Name(name)), Size: size}
		data := c.stored(a.start+off, packed)
		switch {
		case off+packed > a.table-a.start:
			m.Err = errCut
		case e[16] == 0:
			if packed != size {
				m.Err = errors.New("a stored piece has two sizes")
			}
			m.Reader = data
		case e[16] == 1:
			m.Reader = &exactReader{r: &lazyReader{open: func() (io.Reader, error) { return zlib.NewReader(buffered(data)) }}, left: size}
		default:
			m.Err = fmt.Errorf("compression %d is not known", e[16])
		}
		if m.Err != nil {
			m.Reader = nil
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
	return nil
}
