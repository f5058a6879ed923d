package unpack

import (
	"crypto/md5"
	"encoding/hex"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// quantumWriter is the coder that a quantumDecoder reads. Bits that stand as they are stand where the decoder, which is 16 bits ahead, comes by them.
type quantumWriter struct {
	low, high uint32
	pending   int
	coded     []byte // a bit each
	shifted   int    // bits that the decoder has taken by now
	plain     []quantumPlain
}

type quantumPlain struct {
	at   int // behind so many of coded
	v    uint32
	bits uint
}

func (w *quantumWriter) bit(v byte) {
	w.coded = append(w.coded, v)
	for ; w.pending > 0; w.pending-- {
		w.coded = append(w.coded, 1-v)
	}
}

func (w *quantumWriter) symbol(m *quantumModel, symbol int) {
	i := 0
	for m.symbols[i].symbol != symbol {
		i++
	}
	span, all := w.high-w.low+1, m.symbols[0].count
	w.high = w.low + m.symbols[i].count*span/all - 1
	w.low += m.symbols[i+1].count * span / all
	m.seen(i)
	for {
		switch {
		case w.low&0x8000 == w.high&0x8000:
			w.bit(byte(w.low >> 15))
		case w.low&0x4000 != 0 && w.high&0x4000 == 0:
			w.pending++
			w.low &= 0x3fff
			w.high |= 0x4000
		default:
			return
		}
		w.low = w.low << 1 & 0xffff
		w.high = w.high<<1&0xffff | 1
		w.shifted++
	}
}

func (w *quantumWriter) raw(v uint32, bits uint) {
	w.plain = append(w.plain, quantumPlain{16 + w.shifted, v, bits})
}

func (w *quantumWriter) distance(m *quantumModel, distance int) {
	if distance <= 4 {
		w.symbol(m, distance-1)
		return
	}
	v, extra := distance-1, uint(1)
	for v>>extra > 3 {
		extra++
	}
	w.symbol(m, int(extra)*2+2+v>>extra&1)
	w.raw(uint32(v)&(1<<extra-1), extra)
}

func (w *quantumWriter) length(m *quantumModel, length int) {
	v := length - 5
	switch {
	case v < 6:
		w.symbol(m, v)
	case v == 254:
		w.symbol(m, 26)
	default:
		extra := uint(1)
		for (v+2)>>extra > 7 {
			extra++
		}
		w.symbol(m, int(4*extra)-2+(v+2)>>extra)
		w.raw(uint32(v+2)&(1<<extra-1), extra)
	}
}

// finish ends a block and gives its bytes.
func (w *quantumWriter) finish() []byte {
	w.pending++
	w.bit(byte(w.low >> 14 & 1))
	for len(w.coded) < 16+w.shifted {
		w.coded = append(w.coded, 0)
	}
	var out []byte
	var have uint
	put := func(bit byte) {
		if have%8 == 0 {
			out = append(out, 0)
		}
		out[len(out)-1] |= bit << (7 - have%8)
		have++
	}
	for i := 0; i <= len(w.coded); i++ {
		for len(w.plain) > 0 && w.plain[0].at == i {
			for n := w.plain[0].bits; n > 0; n-- {
				put(byte(w.plain[0].v >> (n - 1) & 1))
			}
			w.plain = w.plain[1:]
		}
		if i < len(w.coded) {
			put(w.coded[i])
		}
	}
	return out
}

// quantumOf packs, with a large window or a small one.
func quantumOf(data []byte, small bool) cabPart {
	bits := uint(21)
	if small {
		bits = 11
	}
	part := cabPart{method: uint16(bits)<<8 | 0x72}
	d := newQuantum(bits) // for its models
	last := make(map[[3]byte]int)
	for at := 0; at < len(data); {
		w := &quantumWriter{high: 0xffff}
		end := min(at+cabWindow, len(data))
		part.sizes = append(part.sizes, end-at)
		for at < end {
			length, distance := 0, 0
			if at+3 <= end {
				if from, ok := last[[3]byte(data[at:])]; ok && at-from <= 1<<bits {
					distance = at - from
					for length < 259 && at+length < end && data[from+length] == data[at+length] {
						length++
					}
				}
			}
			if length == 3 && distance > 4096 || length == 4 && distance > 1<<18 {
				length = 0
			}
			switch length {
			case 0:
				c := int(data[at])
				w.symbol(&d.kinds, c>>6)
				w.symbol(&d.literals[c>>6], c&63)
				length = 1
			case 3:
				w.symbol(&d.kinds, 4)
				w.distance(&d.three, distance)
			case 4:
				w.symbol(&d.kinds, 5)
				w.distance(&d.four, distance)
			default:
				w.symbol(&d.kinds, 6)
				w.length(&d.lengths, length)
				w.distance(&d.distances, distance)
			}
			for ; length > 0; length-- {
				if at+3 <= len(data) {
					last[[3]byte(data[at:])] = at
				}
				at++
			}
		}
		part.blocks = append(part.blocks, w.finish())
	}
	return part
}

// TestQuantumSamples compares what libmspack's samples hold with what cabextract reads of them.
func TestQuantumSamples(t *testing.T) {
	for _, name := range []string{"mszip_lzx_qtm.cab", "cve-2018-18584-qtm-max-size-block.cab", "cve-2014-9556-qtm-infinite-loop.cab"} {
		path := realdata.Sample(t, "libmspack", "test", "test_files", "cabd", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]string)
		for _, line := range regexp.MustCompile(`(?m)^  (\S+)  OK +([0-9a-f]{32})$`).FindAllStringSubmatch(string(runAnyhow(t, "cabextract", "-t", path)), -1) {
			want[line[1]] = line[2]
		}
		got := make(map[string]string)
		if err := eachWhole(filetype.Cab, b, func(w whole) {
			sum := md5.Sum(w.data)
			got[w.Path] = hex.EncodeToString(sum[:])
		}); err != nil {
			got = map[string]string{} // as cabextract fails
			t.Log(name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-cabextract +ours):\n%s", name, diff)
		}
	}
}
