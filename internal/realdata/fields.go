package realdata

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

// MutateFields makes an input of the seeds as somebody would who knows their formats: numbers that look like sizes, counts and places in the file are
// set to what is off by one, negative, too large, or another such number of the file; records are repeated; names lead elsewhere; checksums
// of headers are made right again; and what comes of it is packed into archives of other formats, many times or few.
func MutateFields(rnd *rand.Rand, seeds [][]byte) []byte {
	const most = 1 << 20
	b := append([]byte(nil), seeds[rnd.IntN(len(seeds))]...)
	if len(b) > most {
		b = b[:most]
	}
	for range rnd.IntN(6) {
		switch rnd.IntN(8) {
		case 0, 1, 2, 3:
			setField(rnd, b)
		case 4:
			b = repeatRecord(rnd, b)
		case 5:
			renameIn(rnd, b)
		case 6:
			b = Mutate(rnd, [][]byte{b})
		case 7:
			b = b[:len(b)-rnd.IntN(1+len(b)/8)]
		}
	}
	if rnd.IntN(4) > 0 {
		mendChecksums(b)
	}
	for range rnd.IntN(4) {
		if b = pack(rnd, b); len(b) > most {
			break
		}
	}
	return b[:min(len(b), most)]
}

// field is a number in a file.
type field struct {
	at, width int
	order     binary.ByteOrder
}

func (f field) get(b []byte) uint64 {
	var wide [8]byte
	if f.order == binary.BigEndian {
		copy(wide[8-f.width:], b[f.at:f.at+f.width])
	} else {
		copy(wide[:], b[f.at:f.at+f.width])
	}
	return f.order.Uint64(wide[:])
}

func (f field) set(b []byte, v uint64) {
	var wide [8]byte
	f.order.PutUint64(wide[:], v)
	if f.order == binary.BigEndian {
		copy(b[f.at:], wide[8-f.width:])
	} else {
		copy(b[f.at:], wide[:f.width])
	}
}

// anyField returns a number that could be a size, a count or a place; it looks at some only.
func anyField(rnd *rand.Rand, b []byte) (field, bool) {
	for range 64 {
		near := min(len(b), 1024)
		at := rnd.IntN(near)
		switch rnd.IntN(4) {
		case 0:
			at = rnd.IntN(len(b))
		case 1:
			at = len(b) - 1 - rnd.IntN(near)
		}
		f := field{at: at, width: []int{1, 2, 4, 4, 8}[rnd.IntN(5)], order: binary.LittleEndian}
		if rnd.IntN(4) == 0 {
			f.order = binary.BigEndian
		}
		if f.at &^= min(f.width, 2) - 1; f.at+f.width > len(b) {
			continue
		}
		if v := f.get(b); v > 0 && v <= uint64(len(b))+64 {
			return f, true
		}
	}
	return field{}, false
}

func setField(rnd *rand.Rand, b []byte) {
	if len(b) == 0 {
		return
	}
	f, ok := anyField(rnd, b)
	if !ok {
		return
	}
	v, other := f.get(b), uint64(rnd.IntN(len(b)))
	if g, ok := anyField(rnd, b); ok && rnd.IntN(2) == 0 {
		other = g.get(b)
	}
	n := uint64(len(b))
	values := []uint64{0, 1, v - 1, v + 1, -v, 2 * v, v << 8, v << 16, ^uint64(0), ^uint64(0) >> 1, 1 << (8*f.width - 1), uint64(f.at), uint64(f.at + f.width), other, other, other,
		n, n - 1, n + 1, n - uint64(f.at), 0xFFFFFFFE, 1 << 31, 1<<31 - 1}
	f.set(b, values[rnd.IntN(len(values))])
}

// repeatRecord repeats what stands between two places where the same four bytes are, as records of a table begin, or any few bytes.
func repeatRecord(rnd *rand.Rand, b []byte) []byte {
	if len(b) < 16 {
		return b
	}
	at := rnd.IntN(len(b) - 8)
	size := 1 + rnd.IntN(64)
	if next := bytes.Index(b[at+4:], b[at:at+4]); next >= 0 && next < 8192 {
		size = next + 4
	}
	record := b[at:min(len(b), at+size)]
	again := bytes.Repeat(record, 1+rnd.IntN(1+min(20_000, (256<<10)/len(record))))
	if rnd.IntN(2) == 0 && len(again) < len(b)-at { // in the place of what stands there
		copy(b[at:], again)
		return b
	}
	return append(b[:at:at], append(again, b[at:]...)...)
}

// hostileNames are what members are called by somebody who means harm.
var hostileNames = []string{"../../../../etc/passwd", `..\..\x`, "/", "\\\\host\\share\\x", "C:\\x", "CON", "nul.txt", "a\x00b", "\u202Egpj.exe", "\xff\xfe\xff", ".", "..", "", "a/../b",
	"\n\r\t\x1b[2J", "x:y:$DATA", strings.Repeat("a/", 300), strings.Repeat("../", 300)}

// renameIn writes a name over a run of letters.
func renameIn(rnd *rand.Rand, b []byte) {
	if len(b) < 8 {
		return
	}
	name := hostileNames[rnd.IntN(len(hostileNames))]
	for range 32 {
		at := rnd.IntN(len(b) - 4)
		end := at
		for end < len(b) && (b[end] >= 'a' && b[end] <= 'z' || b[end] >= 'A' && b[end] <= 'Z' || b[end] == '.' || b[end] == '/') {
			end++
		}
		if end-at >= 3 {
			copy(b[at:end], name)
			return
		}
	}
}

// mendChecksums makes right what guards the headers of 7z, RAR, tar, ARJ and LZH, which otherwise end the reading.
func mendChecksums(b []byte) {
	le := binary.LittleEndian
	switch {
	case bytes.HasPrefix(b, []byte("7z\xBC\xAF\x27\x1C")) && len(b) >= 32:
		at, n := le.Uint64(b[12:]), le.Uint64(b[20:])
		if at < uint64(len(b)-32) && n <= uint64(len(b)-32)-at {
			le.PutUint32(b[28:], crc32.ChecksumIEEE(b[32+at:32+at+n]))
		}
		le.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	case bytes.HasPrefix(b, []byte("Rar!\x1A\x07\x00")):
		for at := 7; at+7 <= len(b); {
			n := int(le.Uint16(b[at+5:]))
			if n < 7 || at+n > len(b) {
				return
			}
			le.PutUint16(b[at:], uint16(crc32.ChecksumIEEE(b[at+2:at+n])))
			if le.Uint16(b[at+3:])&0x8000 != 0 && n >= 11 {
				n += int(min(le.Uint32(b[at+7:]), uint32(len(b))))
			}
			at += n
		}
	case bytes.HasPrefix(b, []byte("Rar!\x1A\x07\x01\x00")):
		for at := 8; at+8 <= len(b); {
			size, used := binary.Uvarint(b[at+4:])
			if used <= 0 || size > uint64(len(b)-at-4-used) {
				return
			}
			head := b[at+4 : at+4+used+int(size)]
			le.PutUint32(b[at:], crc32.ChecksumIEEE(head))
			at += 4 + len(head)
			fields := head[used:]
			_, a := binary.Uvarint(fields)
			if a <= 0 {
				return
			}
			flags, f := binary.Uvarint(fields[a:])
			if f <= 0 {
				return
			}
			rest := fields[a+f:]
			if flags&1 != 0 {
				_, n := binary.Uvarint(rest)
				rest = rest[max(0, n):]
			}
			if flags&2 != 0 {
				data, _ := binary.Uvarint(rest)
				at += int(min(data, uint64(len(b))))
			}
		}
	case len(b) >= 512 && bytes.HasPrefix(b[257:], []byte("ustar")):
		for at := 0; at+512 <= len(b); at += 512 {
			if h := b[at : at+512]; bytes.HasPrefix(h[257:], []byte("ustar")) {
				copy(h[148:], "        ")
				sum := 0
				for _, c := range h {
					sum += int(c)
				}
				copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
			}
		}
	case bytes.HasPrefix(b, []byte("\x60\xEA")):
		for at := 0; at+4 < len(b); {
			i := bytes.Index(b[at:], []byte("\x60\xEA"))
			if i < 0 {
				return
			}
			at += i + 2
			if at+2 > len(b) {
				return
			}
			if n := int(le.Uint16(b[at:])); n > 0 && n <= 2600 && at+2+n+4 <= len(b) {
				le.PutUint32(b[at+2+n:], crc32.ChecksumIEEE(b[at+2:at+2+n]))
			}
		}
	case len(b) > 24 && bytes.HasPrefix(b[2:], []byte("-l")) && b[20] < 2:
		if n := int(b[0]) + 2; n <= len(b) {
			b[1] = 0
			sum := byte(0)
			for _, c := range b[2:n] {
				sum += c
			}
			b[1] = sum
		}
	}
}

// pack puts a file into an archive: alone, or many times with a byte of difference, so that each is read.
func pack(rnd *rand.Rand, b []byte) []byte {
	n := 1
	if rnd.IntN(3) == 0 {
		n = 1 + rnd.IntN(64)
	}
	names := func(i int) string {
		if rnd.IntN(8) == 0 {
			return hostileNames[rnd.IntN(len(hostileNames))]
		}
		return fmt.Sprintf("member %d", i/2)
	}
	var out bytes.Buffer
	switch rnd.IntN(7) {
	case 0, 1:
		z := zip.NewWriter(&out)
		for i := range n {
			if w, err := z.CreateHeader(&zip.FileHeader{Name: names(i), Method: []uint16{zip.Store, zip.Deflate}[rnd.IntN(2)]}); err == nil {
				_, _ = w.Write(b)
				_, _ = w.Write([]byte{byte(i)}[:min(1, i)])
			}
		}
		_ = z.Close()
	case 2:
		t := tar.NewWriter(&out)
		for i := range n {
			content := append(b[:len(b):len(b)], []byte{byte(i)}[:min(1, i)]...)
			if t.WriteHeader(&tar.Header{Name: names(i), Size: int64(len(content)), Mode: 0o644, Format: tar.FormatGNU}) == nil {
				_, _ = t.Write(content)
			}
		}
		_ = t.Close()
	case 3:
		g := gzip.NewWriter(&out)
		_, _ = g.Write(b)
		_ = g.Close()
	case 4:
		out.WriteString("!<arch>\n")
		for i := range n {
			fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s%s", fmt.Sprintf("m%d/", i), 0, 0, 0, "100644", len(b), b, strings.Repeat("\n", len(b)%2))
		}
	case 5:
		out.WriteString("From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
		for i := range min(n, 4) {
			fmt.Fprintf(&out, "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"%d\"\r\n\r\n", i)
			for at := 0; at < len(b); at += 57 {
				out.WriteString(base64.StdEncoding.EncodeToString(b[at:min(len(b), at+57)]) + "\r\n")
			}
		}
		out.WriteString("--b--\r\n")
	case 6: // a zip whose members are all the same bytes, with itself as the last
		at := uint32(0)
		head := func(mark string, size int) []byte {
			h := append([]byte(mark), make([]byte, 26)...)
			h[4] = 20
			binary.LittleEndian.PutUint32(h[18:], uint32(size))
			binary.LittleEndian.PutUint32(h[22:], uint32(size))
			h[26] = 1
			return h
		}
		out.Write(append(head("PK\x03\x04", len(b)), 'x'))
		out.Write(b)
		begin := out.Len()
		for i := range n {
			h := make([]byte, 46)
			copy(h, "PK\x01\x02\x14\x00\x14")
			size := len(b) - i%max(1, len(b))
			if i > 0 && i == n-1 {
				size = 1 << 30
			}
			binary.LittleEndian.PutUint32(h[20:], uint32(size))
			binary.LittleEndian.PutUint32(h[24:], uint32(size))
			h[28] = 1
			binary.LittleEndian.PutUint32(h[42:], at)
			out.Write(append(h, byte('a'+i%26)))
		}
		end := make([]byte, 22)
		copy(end, "PK\x05\x06")
		binary.LittleEndian.PutUint16(end[8:], uint16(n))
		binary.LittleEndian.PutUint16(end[10:], uint16(n))
		binary.LittleEndian.PutUint32(end[12:], uint32(out.Len()-begin))
		binary.LittleEndian.PutUint32(end[16:], uint32(begin))
		out.Write(end)
	}
	return out.Bytes()
}
