package unpack

import (
	"bytes"
	"encoding/binary"
	"io"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// lzSequence are literals, and a match behind them.
type lzSequence struct {
	literals        []byte
	match, distance int
}

// lzSequences finds matches by the last place of the same three bytes.
func lzSequences(in []byte, literals, match, distance int) (out []lzSequence) {
	last := map[[3]byte]int{}
	from := 0
	for i := 0; i < len(in); {
		n, d := 0, 0
		if i+3 <= len(in) {
			at, ok := last[[3]byte(in[i:])]
			last[[3]byte(in[i:])] = i
			if ok && at < i && i-at <= distance {
				d = i - at
				for i+n < len(in) && in[i+n] == in[at+n] && n < match {
					n++
				}
			}
		}
		if n < 3 && i-from < literals && i+1 < len(in) {
			i++
			continue
		}
		if n < 3 {
			n, d = 0, 0
			i = min(i+1, from+literals)
		}
		out = append(out, lzSequence{in[from:i], n, d})
		i += n
		from = i
	}
	return out
}

// packLZVN compresses without a block's header.
func packLZVN(in []byte) (out []byte) {
	prev := 0
	for _, s := range lzSequences(in, 271, 270, 1<<16-1) {
		l, m, d := s.literals, s.match, s.distance
		if m == 0 || len(l) > 3 {
			n := len(l)
			if m > 0 {
				n -= len(l) & 3
			}
			if n < 16 {
				out = append(out, 0xe0|byte(n))
			} else {
				out = append(out, 0xe0, byte(n-16))
			}
			out, l = append(out, l[:n]...), l[n:]
		}
		if m == 0 {
			continue
		}
		short := min(m, 10)
		if len(l) == 2 {
			short = min(m, 6) // more would be no instruction with most distances
		}
		if len(l) == 3 || len(l) == 1 && short > 8 {
			short = min(m, map[int]int{3: 4, 1: 8}[len(l)])
		}
		op := byte(len(l)<<6 | (short-3)<<3)
		switch {
		case d == prev && len(l) > 0:
			out = append(append(out, op|6), l...)
		case d == prev:
			short = 0
		case d < 0x600:
			out = append(append(out, op|byte(d>>8), byte(d)), l...)
		case d < 1<<14:
			short = min(m, 34)
			n := short - 3
			out = append(append(out, 0xa0|byte(len(l)<<3|n>>2), byte(d<<2|n&3), byte(d>>6)), l...)
		default:
			out = append(append(out, op|7, byte(d), byte(d>>8)), l...)
		}
		prev = d
		for m -= short; m > 0; m -= short {
			if short = min(m, 15); m < 16 {
				out = append(out, 0xf0|byte(m))
			} else {
				short = min(m, 271)
				out = append(out, 0xf0, byte(short-16))
			}
		}
		out = append(out, 0x0e, 0x16)
	}
	return append(out, 6, 0, 0, 0, 0, 0, 0, 0)
}

// lzfseBlock is a block of a kind without codes.
func lzfseBlock(kind string, size int, packed []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(kind), uint32(size))
	if kind == lzfseLZVN {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(packed)))
	}
	return append(b, packed...)
}

// lzfseWriter gathers bits, the lowest first: the last comes first when they are read.
type lzfseWriter struct {
	out  []byte
	bits uint64
	have uint
}

func (w *lzfseWriter) add(v uint32, n uint8) {
	w.bits |= uint64(v) << w.have
	for w.have += uint(n); w.have >= 8; w.have -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

// end gives the bytes, and how many bits of the last are not used.
func (w *lzfseWriter) end() ([]byte, int) {
	if w.have == 0 {
		return w.out, 0
	}
	return append(w.out, byte(w.bits)), 8 - int(w.have)
}

// lzfseFreqsOf makes shares of states of how often symbols occur.
func lzfseFreqsOf(count []int, states int) []uint16 {
	total, most, left := 0, 0, states
	for i, n := range count {
		total += n
		if n > count[most] {
			most = i
		}
	}
	out := make([]uint16, len(count))
	for i, n := range count {
		if n > 0 {
			out[i] = uint16(max(1, n*states/total))
			left -= int(out[i])
		}
	}
	for ; left < 0; left++ { // the rarest have more than their share
		for i := range out {
			if out[i] > out[most] {
				most = i
			}
		}
		out[most]--
	}
	out[most] += uint16(left) // all, when nothing occurs
	return out
}

// encode writes a symbol so that state follows, and gives the state that stands for it.
func (w *lzfseWriter) encode(states []lzfseState, value int32, state uint16) uint16 {
	first := sort.Search(len(states), func(i int) bool { return states[i].value+1<<states[i].extra > value })
	for i := first; i < len(states); i++ {
		if s := states[i]; s.value <= value && value < s.value+1<<s.extra && s.next <= state && state < s.next+1<<s.bits {
			w.add(uint32(value-s.value), s.extra)
			w.add(uint32(state-s.next), s.bits)
			return uint16(i)
		}
	}
	panic("no state leads there")
}

// packLZFSE compresses to blocks with a header of either length.
func packLZFSE(in []byte, kind string) (out []byte) {
	all := lzSequences(in, 315, 2359, 262_139)
	for len(all) > 0 {
		n, literals, size := 0, []byte(nil), 0
		for n < len(all) && n < lzfseMatches && len(literals)+len(all[n].literals) <= lzfseLiterals-4 {
			literals = append(literals, all[n].literals...)
			size += len(all[n].literals) + all[n].match
			n++
		}
		part := all[:n]
		all = all[n:]
		for len(literals)%4 != 0 {
			literals = append(literals, 0)
		}
		var values [][3]int32
		counts := [4][]int{make([]int, 256), make([]int, 20), make([]int, 20), make([]int, 64)}
		slots := [4]*valueSlots{nil, &lzfseL, &lzfseM, &lzfseD}
		for _, c := range literals {
			counts[0][c]++
		}
		prev := 0
		for _, s := range part {
			v := [3]int32{int32(len(s.literals)), int32(s.match), int32(s.distance)}
			switch {
			case s.match == 0 && prev == 0:
				v[2], prev = 1, 1 // a distance is looked at also when it is not used
			case s.match == 0 || s.distance == prev:
				v[2] = 0 // as before
			default:
				prev = s.distance
			}
			values = append(values, v)
			for i, v := range v {
				slot := 0
				for slot+1 < len(slots[i+1].base) && int32(slots[i+1].base[slot+1]) <= v {
					slot++
				}
				counts[i+1][slot]++
			}
		}
		var codes [4][]lzfseState
		var freqs [4][]uint16
		for i := range codes {
			freqs[i] = lzfseFreqsOf(counts[i], lzfseStates[i])
			codes[i], _ = lzfseCode(nil, freqs[i], lzfseStates[i], slots[i])
		}
		var w lzfseWriter
		var states [4]uint16
		for i := len(literals) - 1; i >= 0; i-- {
			states[i%4] = w.encode(codes[0], int32(literals[i]), states[i%4])
		}
		first, firstUnused := w.end()
		w = lzfseWriter{out: make([]byte, 8)} // which are never read
		var lmd [3]uint16
		for i := len(values) - 1; i >= 0; i-- {
			for j := 2; j >= 0; j-- {
				lmd[j] = w.encode(codes[j+1], values[i][j], lmd[j])
			}
		}
		second, secondUnused := w.end()
		le := binary.LittleEndian
		order := append(append(append(append([]uint16(nil), freqs[1]...), freqs[2]...), freqs[3]...), freqs[0]...)
		h := le.AppendUint32([]byte(kind), uint32(size))
		if kind == lzfseLong {
			for _, v := range []int{len(first) + len(second), len(literals), len(part), len(first), len(second), -firstUnused} {
				h = le.AppendUint32(h, uint32(v))
			}
			for _, v := range states {
				h = le.AppendUint16(h, v)
			}
			h = le.AppendUint32(h, uint32(-secondUnused))
			for _, v := range append(lmd[:], order...) {
				h = le.AppendUint16(h, v)
			}
			h = append(h, 0, 0)
		} else {
			var f lzfseWriter
			for _, v := range order {
				switch v := uint32(v); {
				case v < 2:
					f.add(v<<1, 2)
				case v < 4:
					f.add((v-2)<<2|1, 3)
				case v < 8:
					f.add((v-4)<<3|3, 5)
				case v < 24:
					f.add((v-8)<<4|7, 8)
				default:
					f.add((v-24)<<4|15, 14)
				}
			}
			table, _ := f.end()
			h = le.AppendUint64(h, uint64(len(literals))|uint64(len(first))<<20|uint64(len(part))<<40|uint64(7-firstUnused)<<60)
			h = le.AppendUint64(h, uint64(states[0])|uint64(states[1])<<10|uint64(states[2])<<20|uint64(states[3])<<30|uint64(len(second))<<40|uint64(7-secondUnused)<<60)
			h = le.AppendUint64(h, uint64(32+len(table))|uint64(lmd[0])<<32|uint64(lmd[1])<<42|uint64(lmd[2])<<52)
			h = append(h, table...)
		}
		out = append(append(append(out, h...), first...), second...)
	}
	return out
}

// lzfseContent is what a compressor finds much and little in, of whole sectors.
func lzfseContent(scale int) []byte {
	s := sources(scale)
	b := append(append(bytes.Clone(s["code.exe"]), s["docs/text.txt"]...), s["noise.bin"]...)
	b = append(append(b, make([]byte, 100_000/scale)...), b...) // matches of every distance
	return b[:len(b)&^(dmgSector-1)]
}

// lzfseStreams are the same bytes in blocks of every kind.
func lzfseStreams(content []byte) map[string][]byte {
	third := len(content) / 3
	mixed := packLZFSE(content[:third], lzfseShort)
	mixed = append(mixed, lzfseBlock(lzfseLZVN, third, packLZVN(content[third:2*third]))...)
	mixed = append(mixed, packLZFSE(content[2*third:], lzfseShort)...)
	four := append(packLZFSE(content[:third], lzfseLong), lzfseBlock(lzfseLZVN, third, packLZVN(content[third:2*third]))...)
	four = append(append(four, packLZFSE(content[2*third:len(content)-7], lzfseShort)...), lzfseBlock(lzfseRaw, 7, content[len(content)-7:])...)
	streams := map[string][]byte{
		"as it is":     lzfseBlock(lzfseRaw, len(content), content),
		"LZVN":         lzfseBlock(lzfseLZVN, len(content), packLZVN(content)),
		"long header":  packLZFSE(content, lzfseLong),
		"short header": packLZFSE(content, lzfseShort),
		"mixed":        mixed,
		"all kinds":    four,
	}
	for name := range streams {
		streams[name] = append(streams[name], lzfseEnd...)
	}
	return streams
}

// TestDMGLZFSE reads runs that the test compresses, as 7-Zip does.
func TestDMGLZFSE(t *testing.T) {
	content := lzfseContent(2)
	sectors := uint64(len(content) / dmgSector)
	for name, packed := range lzfseStreams(content) {
		t.Run(name, func(t *testing.T) {
			if name != "as it is" && len(packed) > len(content)*9/10 {
				t.Errorf("%d bytes became %d", len(content), len(packed))
			}
			b := dmgOf(packed, sectors, [5]uint64{dmgLZFSE, 0, sectors, 0, uint64(len(packed))}, [5]uint64{dmgEndOfRuns, sectors})
			got, err := list(t, filetype.DMG, b, Options{})
			want := []entry{{Path: "disk (Apple_HFS : 1)", Size: int64(len(content)), SHA256: sum(content)}}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v, members (-want +got):\n%s", err, diff)
			}
			if strings.Contains(string(packed), lzfseRaw) || strings.Contains(string(packed), lzfseLong) {
				return // 7-Zip reads the first not to its end, and does not know the second
			}
			theirs := unpackedBy7z(t, b, "-tdmg")
			if len(theirs) != 1 || theirs[0].SHA256 != sum(content) {
				t.Errorf("7-Zip has %v", theirs)
			}
		})
	}
}

// TestLZFSEPieces reads a stream in pieces of every size.
func TestLZFSEPieces(t *testing.T) {
	content := lzfseContent(10)
	for name, packed := range lzfseStreams(content) {
		for _, size := range []int{1, 7, 4096, 1 << 20} {
			z := newLZFSE(buffered(bytes.NewReader(packed)), lzfseWindow)
			var out []byte
			piece := make([]byte, size)
			var err error
			for n := 0; err == nil; out = append(out, piece[:n]...) {
				n, err = z.Read(piece)
			}
			if err != io.EOF || !bytes.Equal(out, content) {
				t.Errorf("%s by %d bytes: %v, %d bytes of %d", name, size, err, len(out), len(content))
			}
		}
	}
}

// TestLZFSEHostile holds what a stream may not do.
func TestLZFSEHostile(t *testing.T) {
	le := binary.LittleEndian
	content := []byte(strings.Repeat("abcdefgh", 100) + "ijkl")
	long, short := packLZFSE(content, lzfseLong), packLZFSE(content, lzfseShort)
	field := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		le.PutUint32(b[at:], v)
		return b
	}
	lzvn := func(size int, b string) []byte { return lzfseBlock(lzfseLZVN, size, []byte(b)) }
	damaged, cut := errLZFSE.Error(), errCut.Error()
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":                    {nil, cut},
		"no block":                   {[]byte("bvx?1234"), "a block of LZFSE is of no known kind"},
		"raw, cut":                   {lzfseBlock(lzfseRaw, 1<<31, []byte("abc")), cut},
		"without an end":             {short, cut},
		"header, cut":                {long[:100], cut},
		"literals of 2^32":           {field(long, 12, 1<<32-1), damaged},
		"matches of 2^32":            {field(long, 16, 1<<32-1), damaged},
		"more literals than bytes":   {field(field(long, 4, 100), 12, 104), damaged},
		"codes of 2^32 bytes":        {field(long, 20, 1<<32-1), "4294967295 bytes claimed where at most 1048576 are taken"},
		"codes cut":                  {field(long, 24, 1<<20), cut},
		"unused bits":                {field(long, 28, 9), damaged},
		"states":                     {field(long, 32, 0xffffffff), damaged},
		"literals of too many":       {field(long, 52+2*104, 0xffffffff), damaged},
		"fewer bytes":                {field(long, 4, 805), damaged},
		"more bytes":                 {field(long, 4, 803), damaged},
		"no table":                   {field(short, 24, 32), damaged},
		"a table of 2^32":            {field(short, 24, 1<<32-1), damaged},
		"a table shorter than needs": {field(short, 24, 40), damaged},
		"LZVN, cut":                  {lzvn(5, "\xe5ab"), cut},
		"LZVN, literals beyond":      {lzvn(5, "\xe5ab")[:13], cut},
		"LZVN, more than said":       {lzvn(1, "\xe2ab\x06"), damaged},
		"LZVN, less than said":       {lzvn(3, "\xe2ab\x06"), damaged},
		"LZVN, no instruction":       {lzvn(3, "\xe2ab\x1e"), damaged},
		"LZVN, no instruction 7":     {lzvn(3, "\xe2ab\x70"), damaged},
		"LZVN, before the beginning": {lzvn(5, "\xe2ab\x00\x03"), damaged},
		"LZVN, distance of none":     {lzvn(5, "\xe2ab\x00\x00"), damaged},
		"LZVN, no distance before":   {lzvn(5, "\xe2ab\xf3"), damaged},
		"LZVN of 2^32":               {field(lzvn(2, "\xe2ab"), 8, 1<<32-1), cut},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			n := allocated(func() { _, err = io.Copy(io.Discard, newLZFSE(buffered(bytes.NewReader(c.in)), lzfseWindow)) })
			if err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if n > 1<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
	// A window that is too small for a distance.
	packed := packLZFSE(append(append(bytes.Clone(content[:600]), sources(1)["noise.bin"][:3000]...), content[:600]...), lzfseShort)
	if _, err := io.Copy(io.Discard, newLZFSE(buffered(bytes.NewReader(packed)), 1<<10)); err != errLZFSE {
		t.Errorf("a window of 1 KiB: %v", err)
	}
}

// FuzzLZFSE reads the bytes as a stream, and as LZVN alone.
func FuzzLZFSE(f *testing.F) {
	for _, packed := range lzfseStreams(lzfseContent(200)) {
		f.Add(packed)
	}
	f.Add(packLZVN(lzfseContent(200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 22
		for _, z := range []*lzfseReader{newLZFSE(buffered(bytes.NewReader(b)), lzfseWindow), newLZVN(buffered(bytes.NewReader(b)), hfsBlock)} {
			n, _ := io.Copy(io.Discard, io.LimitReader(z, most))
			if left := z.window.total - n; left < 0 || n < most && left != 0 {
				t.Errorf("%d bytes of %d", n, z.window.total)
			}
		}
	})
}
