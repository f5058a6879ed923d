package unpack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"spoor/internal/inspect/filetype"
)

// Found is an archive inside of another file.
type Found struct {
	Format filetype.Format
	Offset int64
	Size   int64 // up to the file's end, when the archive does not say how long it is
}

// Bounds of a search.
const (
	maxFound   = 32
	maxZipEnds = 4096      // end records of zips that are looked at
	findStep   = 256 << 10 // bytes looked at at once
	findHead   = 64        // bytes of a beginning that are looked at first
)

// Find looks for the archives in the size bytes of r, as a self-extracting program carries them in itself or behind its own code. It tells
// formats whose beginning says enough to be believed: zip, 7z, RAR, cabinet, the data of NSIS and PyInstaller, the table of Inno Setup, and the files
// of InstallShield; of a DOS program also ARJ and LZH, whose marks are too short for larger ones. They are told in order, and what lies in one of
// them is not looked at. The bytes are read three times at most: for PyInstaller's end, for beginnings, and for the ends of zips.
func Find(r io.ReaderAt, size int64, dos bool) []Found {
	f := &finder{r: r, size: size}
	magics := foundMagics
	if dos {
		magics = append(slices.Clone(magics), dosMagics...)
	}
	var all []Found
	end := size
	// PyInstaller's mark ends its archive, so that is looked for first.
	py, ok := f.pyInstaller()
	if ok {
		end = py.Offset
	}
	buf := make([]byte, min(findStep+findHead, size))
	for at := int64(0); at < end && len(all) < maxFound; {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err != nil && err != io.EOF || n == 0 {
			break
		}
		best := Found{Offset: -1}
		for _, m := range magics {
			for i := 0; i < min(n, findStep); {
				j := bytes.Index(buf[i:n], []byte(m.mark))
				if j < 0 || i+j >= findStep {
					break
				}
				off := at + int64(i+j) - m.at
				if best.Offset >= 0 && off >= best.Offset {
					break
				}
				if off >= 0 {
					if found, ok := m.check(f, off, end); ok {
						best = found
						break
					}
				}
				i += j + 1
			}
		}
		if best.Offset < 0 {
			at += findStep
			continue
		}
		all = append(all, best)
		at = best.Offset + best.Size
	}
	if ok {
		all = append(all, py)
	}
	return all
}

// foundMagic is a mark, where it stands in an archive, and what else must be there. check tells the archive that begins at off and ends before
// end; the mark is there.
type foundMagic struct {
	mark  string
	at    int64
	check func(f *finder, off, end int64) (Found, bool)
}

var foundMagics = []foundMagic{
	{"PK\x03\x04", 0, (*finder).zip},
	{"7z\xbc\xaf\x27\x1c", 0, (*finder).sevenZip},
	{"Rar!\x1a\x07", 0, (*finder).rar},
	{"MSCF\x00\x00\x00\x00", 0, (*finder).cab},
	{nsisMark, 4, (*finder).nsis},
	{innoMark, 0, (*finder).inno},
	{isMark, 0, (*finder).installShield},
	{isStream, 0, (*finder).installShield},
}

var dosMagics = []foundMagic{
	{"\x60\xea", 0, (*finder).arj},
	{"-lh", 2, (*finder).lzh},
}

// finder looks at what may be archives.
type finder struct {
	r       io.ReaderAt
	size    int64
	zipEnds map[int64]int64 // where each zip that has an end record ends, by where it begins; nil until it is needed
}

// head is up to n bytes at off.
func (f *finder) head(off int64, n int) []byte {
	if off < 0 || off >= f.size {
		return nil
	}
	b := make([]byte, min(int64(n), f.size-off))
	k, _ := f.r.ReadAt(b, off)
	return b[:k]
}

func (f *finder) zip(off, end int64) (Found, bool) {
	b := f.head(off, 30)
	le := binary.LittleEndian
	if len(b) < 30 {
		return Found{}, false
	}
	name := le.Uint16(b[26:])
	if _, known := zipMethods[le.Uint16(b[8:])]; !known || name == 0 || name > maxPath || le.Uint16(b[4:])&0xff > 63 {
		return Found{}, false
	}
	if f.zipEnds == nil {
		f.ends(off)
	}
	stop := f.zipEnds[off]
	return Found{filetype.Zip, off, stop - off}, stop > 0 && stop <= end
}

// ends finds where the zips behind from end, and by their directories where each begins.
func (f *finder) ends(from int64) {
	f.zipEnds = map[int64]int64{}
	buf := make([]byte, min(findStep+findHead, f.size-from))
	seen := 0
	for at := from; at < f.size; at += findStep {
		n, err := f.r.ReadAt(buf[:min(int64(len(buf)), f.size-at)], at)
		for i := 0; i < min(n, findStep); {
			j := bytes.Index(buf[i:n], []byte("PK\x05\x06"))
			if j < 0 || i+j >= findStep {
				break
			}
			if seen++; seen > maxZipEnds {
				return
			}
			f.zipEnd(at + int64(i+j))
			i += j + 1
		}
		if err != nil && err != io.EOF || n == 0 {
			return
		}
	}
}

// zipEnd looks at the end record at off.
func (f *finder) zipEnd(off int64) {
	le := binary.LittleEndian
	b := f.head(off, 22)
	if len(b) < 22 {
		return
	}
	stop := min(f.size, off+22+int64(le.Uint16(b[20:])))
	length, at := int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
	start := off - length
	if length == 1<<32-1 || at == 1<<32-1 {
		z := f.head(off-20-56, 56)
		if len(z) < 56 || string(z[:4]) != "PK\x06\x06" {
			return
		}
		length, at = int64(le.Uint64(z[40:])), int64(le.Uint64(z[48:]))
		start = off - 20 - 56 - length
	}
	d := f.head(start, 46)
	if length <= 0 || at < 0 || len(d) < 46 || string(d[:4]) != "PK\x01\x02" {
		return
	}
	// Places count from the archive's beginning, or from that of the program: the first member tells which.
	begin := start - at + int64(le.Uint32(d[42:]))
	if _, again := f.zipEnds[begin]; !again {
		f.zipEnds[begin] = stop
	}
}

func (f *finder) sevenZip(off, end int64) (Found, bool) {
	b := f.head(off, sevenStart)
	le := binary.LittleEndian
	if len(b) < sevenStart || crc32.ChecksumIEEE(b[12:32]) != le.Uint32(b[8:]) {
		return Found{}, false
	}
	n := end - off
	if stop := le.Uint64(b[12:]) + le.Uint64(b[20:]); stop < uint64(n) {
		n = min(n, int64(stop)+sevenStart)
	}
	return Found{filetype.SevenZip, off, n}, true
}

// rar believes a mark that is followed by the header of an archive whose checksum is right.
func (f *finder) rar(off, end int64) (Found, bool) {
	b := f.head(off, findHead)
	le := binary.LittleEndian
	found := Found{filetype.RAR, off, end - off}
	switch {
	case len(b) >= 20 && b[6] == 0:
		n := int(le.Uint16(b[12:]))
		return found, b[9] == 0x73 && n >= 13 && 7+n <= len(b) && uint16(crc32.ChecksumIEEE(b[9:7+n])) == le.Uint16(b[7:])
	case len(b) >= 16 && b[6] == 1 && b[7] == 0:
		n, used := binary.Uvarint(b[12:])
		return found, used > 0 && used <= 3 && n > 0 && n <= uint64(len(b)-12-used) && crc32.ChecksumIEEE(b[12:12+used+int(n)]) == le.Uint32(b[8:])
	}
	return found, false
}

func (f *finder) cab(off, end int64) (Found, bool) {
	b := f.head(off, cabHeader)
	le := binary.LittleEndian
	if len(b) < cabHeader {
		return Found{}, false
	}
	length, files := int64(le.Uint32(b[8:])), int64(le.Uint32(b[16:]))
	if length < cabHeader || le.Uint32(b[12:]) != 0 || b[25] != 1 || files < cabHeader || files >= length {
		return Found{}, false
	}
	return Found{filetype.Cab, off, min(length, end-off)}, true
}

func (f *finder) nsis(off, end int64) (Found, bool) {
	b := f.head(off, nsisFirst)
	le := binary.LittleEndian
	if len(b) < nsisFirst || le.Uint32(b)&^15 != 0 {
		return Found{}, false
	}
	header, all := int64(le.Uint32(b[20:])), int64(le.Uint32(b[24:]))
	return Found{filetype.NSIS, off, min(all, end-off)}, header > 0 && all > nsisFirst
}

// inno finds the table by which a program is an installer of Inno Setup.
func (f *finder) inno(off, _ int64) (Found, bool) {
	b := f.head(off, 44)
	_, ok := readInnoTable(b)
	return Found{filetype.Inno, off, int64(len(b))}, ok
}

func (f *finder) arj(off, end int64) (Found, bool) {
	b := f.head(off, 11)
	le := binary.LittleEndian
	if len(b) < 11 || b[10] != 2 || b[4] < 30 {
		return Found{}, false
	}
	n := int(le.Uint16(b[2:]))
	if n < int(b[4]) || n > 2600 {
		return Found{}, false
	}
	b = f.head(off+4, n+4)
	return Found{filetype.ARJ, off, end - off}, len(b) == n+4 && crc32.ChecksumIEEE(b[:n]) == le.Uint32(b[n:])
}

func (f *finder) lzh(off, end int64) (Found, bool) {
	b := f.head(off, 256+2)
	found := Found{filetype.LZH, off, end - off}
	if len(b) < 24 || b[6] != '-' || b[5] != 'd' && (b[5] < '0' || b[5] > '7') {
		return found, false
	}
	switch b[20] {
	case 0, 1:
		n := int(b[0]) + 2
		if n < 24 || n > len(b) {
			return found, false
		}
		sum := byte(0)
		for _, c := range b[2:n] {
			sum += c
		}
		return found, sum == b[1]
	case 2:
		n := binary.LittleEndian.Uint16(b)
		return found, n >= 26 && n < 4096 && n&0xff != 0
	}
	return found, false
}

// pyInstaller finds the last archive of PyInstaller.
func (f *finder) pyInstaller() (found Found, ok bool) {
	buf := make([]byte, min(findStep+findHead, f.size))
	for at := int64(0); at < f.size; at += findStep {
		n, err := f.r.ReadAt(buf[:min(int64(len(buf)), f.size-at)], at)
		for i := 0; i < min(n, findStep); {
			j := bytes.Index(buf[i:n], []byte(pyMark))
			if j < 0 || i+j >= findStep {
				break
			}
			if c, last := readPyCookie(f.r, f.size, at+int64(i+j)); last {
				found, ok = Found{filetype.PyInstaller, c.start, c.end - c.start}, true
			}
			i += j + 1
		}
		if err != nil && err != io.EOF || n == 0 {
			break
		}
	}
	return found, ok
}

// scriptPayloads are what follows the text of a script that unpacks itself.
var scriptPayloads = []string{"\x1f\x8b\x08", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "LZIP", "\x04\x22\x4d\x18", "\x5d\x00\x00", "\x1f\x9d", "PK\x03\x04", "7z\xbc\xaf\x27\x1c", "ustar"}

// FindBehind looks for what a script carries behind its text: an archive or a compressed stream that begins on a line of its own and goes on to
// the end.
func FindBehind(r io.ReaderAt, size int64) (Found, bool) {
	const tarMark = 257 // where "ustar" stands in a tar
	buf := make([]byte, min(findStep+findHead, size))
	tries := 0
	for at := int64(0); at < size; at += findStep {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		best := Found{Offset: -1}
		for _, magic := range scriptPayloads {
			for i := 0; i < min(n, findStep); {
				j := bytes.Index(buf[i:n], []byte(magic))
				if j < 0 || i+j >= findStep {
					break
				}
				off := at + int64(i+j)
				if magic == "ustar" {
					off -= tarMark
				}
				i += j + 1
				if off < 1 || best.Offset >= 0 && off >= best.Offset {
					continue
				}
				var line [1]byte
				if k, _ := r.ReadAt(line[:], off-1); k < 1 || line[0] != '\n' {
					continue
				}
				if tries++; tries > maxZipEnds {
					return Found{}, false
				}
				if t := filetype.Detect(io.NewSectionReader(r, off, size-off), size-off); Opens(t.Format) {
					best = Found{t.Format, off, size - off}
					break
				}
			}
		}
		if best.Offset >= 0 {
			return best, true
		}
		if err != nil && err != io.EOF || n == 0 {
			break
		}
	}
	return Found{}, false
}
