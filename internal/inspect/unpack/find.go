package unpack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"spoor/internal/inspect/filetype"
)

// Found is an archive inside of another file.
type Found struct {
	Format filetype.Format
	Offset int64
	Size   int64 // up to the file's end, when the archive does not say how long it is
}

// Find looks for the first archive that begins at or after from, as a self-extracting program carries one behind its own code. It tells formats
// whose beginning says enough to be believed: zip, 7z, RAR and cabinet.
func Find(r io.ReaderAt, size, from int64) (Found, bool) {
	const step = 256 << 10
	const longest = 64 // bytes of a beginning that are looked at
	buf := make([]byte, step+longest)
	for at := max(from, 0); at < size; at += step {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && err != io.EOF {
			return Found{}, false
		}
		best := Found{Offset: -1}
		for _, magic := range foundMagics {
			for i := 0; i < min(n, step); {
				j := bytes.Index(buf[i:n], []byte(magic))
				if j < 0 || i+j >= step {
					break
				}
				off := at + int64(i+j)
				if f, length, ok := foundAt(buf[i+j:n], size-off); ok && (best.Offset < 0 || off < best.Offset) {
					best = Found{f, off, length}
					break
				}
				i += j + 1
			}
		}
		if best.Offset >= 0 {
			return best, true
		}
		if n < len(buf) {
			break
		}
	}
	return Found{}, false
}

var foundMagics = []string{"PK\x03\x04", "7z\xbc\xaf\x27\x1c", "Rar!\x1a\x07", "MSCF\x00\x00\x00\x00"}

// foundAt tells what archive begins with b, if one does, and how long it is of at most size bytes.
func foundAt(b []byte, size int64) (filetype.Format, int64, bool) {
	le := binary.LittleEndian
	switch {
	case len(b) >= 30 && b[0] == 'P':
		_, known := zipMethods[le.Uint16(b[8:])]
		name := le.Uint16(b[26:])
		if !known || name == 0 || name > maxPath || le.Uint16(b[4:])&0xff > 63 {
			return "", 0, false
		}
		return filetype.Zip, size, true
	case len(b) >= 32 && b[0] == '7':
		if crc32.ChecksumIEEE(b[12:32]) != le.Uint32(b[8:]) {
			return "", 0, false
		}
		if end := le.Uint64(b[12:]) + le.Uint64(b[20:]); end < uint64(size) {
			return filetype.SevenZip, min(size, int64(end)+sevenStart), true
		}
		return filetype.SevenZip, size, true
	case len(b) >= 8 && b[0] == 'R':
		if b[6] == 0 || b[6] == 1 && b[7] == 0 {
			return filetype.RAR, size, true
		}
	case len(b) >= 36 && b[0] == 'M':
		length := int64(le.Uint32(b[8:]))
		if length < 36 || le.Uint32(b[12:]) != 0 || b[25] != 1 {
			return "", 0, false
		}
		return filetype.Cab, min(length, size), true
	}
	return "", 0, false
}
