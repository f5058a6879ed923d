package unpack

import "io"

// inflater64 reads deflate64: deflate with a window of 64 KiB and longer matches. 7-Zip and Windows write it in zips of large files.
type inflater64 struct {
	bitReader
	ring
	literals, distances prefixCode
	last                bool // block
	kind                int  // of the block: -1 none, 0 stored, 1 codes
	left                int  // of a stored block
	length, distance    int  // of a match still to be copied
	failed              error
	nsis                bool // deflate as NSIS has it: stored blocks may say their length once
}

func newInflater64(r io.ByteReader) io.Reader {
	return &inflater64{bitReader: bitReader{r: r}, ring: ring{buf: make([]byte, 64<<10)}, kind: -1}
}

func (f *inflater64) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := f.take(p); n > 0 {
			return n, nil
		}
		if f.failed != nil {
			return 0, f.failed
		}
		f.failed = f.step()
		if f.failed == nil && f.bitReader.err != nil {
			f.failed = f.bitReader.err
		}
	}
}

var (
	inflateLengthBase  = [31]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 3}
	inflateLengthExtra = [31]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 16}
)

// newInflaterNSIS reads the deflate of NSIS.
func newInflaterNSIS(r io.ByteReader) io.Reader {
	return &inflater64{bitReader: bitReader{r: r}, ring: ring{buf: make([]byte, 64<<10)}, kind: -1, nsis: true}
}

// step decodes until the ring's end or the block's.
func (f *inflater64) step() error {
	if f.kind < 0 {
		return f.block()
	}
	for f.free() > 0 && f.err == nil {
		if f.length > 0 {
			f.put(f.back(f.distance))
			f.length--
			continue
		}
		if f.kind == 0 {
			if f.left == 0 {
				f.kind = -1
				return nil
			}
			f.put(byte(f.read(8)))
			f.left--
			continue
		}
		symbol := f.literals.decode(&f.bitReader)
		switch {
		case symbol < 0:
			return errCode
		case symbol < 256:
			f.put(byte(symbol))
		case symbol == 256:
			f.kind = -1
			return nil
		case symbol > 285:
			return errCode
		default:
			if f.length = 258; symbol < 285 || !f.nsis {
				f.length = inflateLengthBase[symbol-257] + int(f.read(inflateLengthExtra[symbol-257]))
			}
			slot := f.distances.decode(&f.bitReader)
			if slot < 0 {
				return errCode
			}
			f.distance = slot + 1
			if slot > 3 {
				extra := uint(slot/2 - 1)
				f.distance = (2+slot&1)<<extra + 1 + int(f.read(extra))
			}
			if int64(f.distance) > f.total {
				return errCode
			}
		}
	}
	return nil
}

func (f *inflater64) block() error {
	if f.last {
		return io.EOF
	}
	f.last = f.read(1) == 1
	switch f.read(2) {
	case 0:
		f.align()
		n := f.read(16)
		f.need(16)
		switch inverse := uint32(f.bits & 0xffff); {
		case inverse == n^0xffff:
			f.drop(16)
		case !f.nsis:
			return errCode
		}
		f.kind, f.left = 0, int(n)
		return nil
	case 1:
		var lengths [288]byte
		for i := range lengths {
			switch {
			case i < 144:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			case i < 280:
				lengths[i] = 7
			default:
				lengths[i] = 8
			}
		}
		if err := f.literals.canonical(lengths[:]); err != nil {
			return err
		}
		for i := range 32 {
			lengths[i] = 5
		}
		f.kind = 1
		return f.distances.canonical(lengths[:32])
	case 2:
		f.kind = 1
		return f.dynamic()
	}
	return errCode
}

func (f *inflater64) dynamic() error {
	literals, distances, codes := int(f.read(5))+257, int(f.read(5))+1, int(f.read(4))+4
	var lengths [288 + 32]byte
	order := [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for i := range codes {
		lengths[order[i]] = byte(f.read(3))
	}
	var code prefixCode
	if err := code.canonical(lengths[:19]); err != nil {
		return err
	}
	clear(lengths[:])
	for i := 0; i < literals+distances; {
		symbol := code.decode(&f.bitReader)
		if symbol < 0 {
			return errCode
		}
		if symbol < 16 {
			lengths[i] = byte(symbol)
			i++
			continue
		}
		var n int
		var value byte
		switch symbol {
		case 16:
			if i == 0 {
				return errCode
			}
			n, value = 3+int(f.read(2)), lengths[i-1]
		case 17:
			n = 3 + int(f.read(3))
		default:
			n = 11 + int(f.read(7))
		}
		if i+n > literals+distances {
			return errCode
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	if literals > 288 {
		return errCode
	}
	if err := f.literals.canonical(lengths[:literals]); err != nil {
		return err
	}
	return f.distances.canonical(lengths[literals : literals+distances])
}
