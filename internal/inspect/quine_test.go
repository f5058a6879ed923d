package inspect

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// quine returns an archive that holds itself: head, a stream of deflate, and tail. Both get its checksum and size, and must be of a constant length.
// It is Russ Cox's construction: heads of literals and repetitions, ten bytes each, whose output are the same ones.
func quine(t *testing.T, head, tail func(crc, packed, size uint32) []byte) []byte {
	t.Helper()
	const u = 10 // bytes of a literal's head, and of a repetition
	literal := func(n int) []byte {
		return []byte{0, 0, 0, 0xFF, 0xFF, 0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}
	}
	p, s := len(head(0, 0, 0)), 5+len(tail(0, 0, 0))
	again := func(n int) []byte { return repetition(t, n) }
	make := func(crc, packed, size uint32) []byte {
		head, tail := head(crc, packed, size), append([]byte{1, 0, 0, 0xFF, 0xFF}, tail(crc, packed, size)...)
		return bytes.Join([][]byte{
			head,
			literal(p + u), head, literal(p + u),
			again(p + u),
			literal(u), again(p + u),
			literal(u), literal(u),
			literal(4 * u), again(p + u), literal(u), literal(u), literal(4 * u),
			again(4 * u),
			literal(4 * u), again(4 * u), literal(4 * u), again(4 * u), literal(4 * u),
			again(4 * u),
			literal(4 * u), literal(0), literal(0), again(2 * u), literal(s + u),
			again(2 * u),
			literal(s + u), again(s + u), tail,
			again(s + u),
			tail,
		}, nil)
	}
	size := uint32(len(make(0, 0, 0)))
	packed := size - uint32(p) - uint32(len(tail(0, 0, 0)))
	// Its checksum changes with each bit of the checksum in it by a constant: 32 equations for as many bits.
	sum := func(crc uint32) uint32 { return crc32.ChecksumIEEE(make(crc, packed, size)) }
	var rows [32]uint64 // of bits of crc, and in bit 32 what must come of them
	for i := range rows {
		rows[i] = uint64(sum(0)>>i&1)<<32 | 1<<i
		for j := range 32 {
			rows[i] ^= uint64((sum(1<<j)^sum(0))>>i&1) << j
		}
	}
	var crc uint32
	for i := range rows {
		at := i
		for at < 32 && rows[at]>>i&1 == 0 {
			at++
		}
		if at == 32 {
			t.Fatal("no such checksum: give it another name")
		}
		rows[i], rows[at] = rows[at], rows[i]
		for k := range rows {
			if k != i && rows[k]>>i&1 != 0 {
				rows[k] ^= rows[i]
			}
		}
	}
	for i, r := range rows {
		crc |= uint32(r>>32) << i
	}
	return make(crc, packed, size)
}

// repetition is the last n bytes once more, as ten bytes of deflate: a block with its fixed code and an empty one of literals, which ends with a byte.
func repetition(t *testing.T, n int) []byte {
	t.Helper()
	extra := 0
	for n-1 >= 4<<extra {
		extra++
	}
	symbol := uint32(n - 1)
	if n > 4 {
		symbol = uint32(2*extra + 2 + (n-1)>>extra - 2)
	}
	// Several lengths make n. A block is of 10 bits without them, and the blocks of 38 to 45, so that the last one's head ends in the sixth byte.
	var parts []int
	var find func(left, bits int) bool
	find = func(left, bits int) bool {
		if left == 0 {
			return bits%10 < 8
		}
		for _, k := range []struct{ least, most, bits int }{{67, 114, 11}, {35, 66, 10}, {19, 34, 9}, {11, 18, 8}, {3, 10, 7}} {
			for l := min(k.most, left); l >= k.least && bits >= k.bits+5+extra; l-- {
				parts = append(parts, l)
				if find(left-l, bits-k.bits-5-extra) {
					return true
				}
				parts = parts[:len(parts)-1]
			}
		}
		return false
	}
	if !find(n, 35) {
		t.Fatalf("%d bytes cannot be repeated in so many: give it another name", n)
	}
	var out uint64
	bits := 0
	low := func(v uint32, n int) { out |= uint64(v) << bits; bits += n } // numbers from their lowest bit
	high := func(v uint32, n int) {                                      // codes from their highest
		for n--; n >= 0; n-- {
			low(v>>n&1, 1)
		}
	}
	low(0b010, 3)
	for _, l := range parts {
		x := 0
		for l-3 >= 8<<x {
			x++
		}
		high(uint32(1+4*x+(l-3)>>x), 7) // of 257 to 279, less 256
		low(uint32(l-3)&(1<<x-1), x)
		high(symbol, 5)
		low(uint32(n-1)&(1<<extra-1), extra)
	}
	high(0, 7)
	for bits < 38 {
		low(0b010, 3)
		high(0, 7)
	}
	return append(binary.LittleEndian.AppendUint64(nil, out)[:6], 0, 0, 0xFF, 0xFF)
}

// TestQuines: an archive that holds itself is read once.
func TestQuines(t *testing.T) {
	words := func(all ...uint32) (b []byte) {
		for _, w := range all {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	gz := quine(t, func(_, _, _ uint32) []byte { return []byte("\x1F\x8B\x08\x08\x00\x00\x00\x00\x00\xFFquine.gz\x00") },
		func(crc, _, size uint32) []byte { return words(crc, size) })
	const name = "quine.zip"
	fields := func(crc, packed, size uint32) []byte {
		return append(append([]byte("\x14\x00\x00\x00\x08\x00\x00\x00\x00\x00"), words(crc, packed, size)...), byte(len(name)), 0, 0, 0)
	}
	z := quine(t, func(crc, packed, size uint32) []byte {
		return append(append([]byte("PK\x03\x04"), fields(crc, packed, size)...), name...)
	}, func(crc, packed, size uint32) []byte {
		b := append(append([]byte("PK\x01\x02\x14\x00"), fields(crc, packed, size)...), "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+name...)
		return append(append(b, "PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"...), append(words(uint32(len(b)), 30+uint32(len(name))+packed), 0, 0)...)
	})

	// They are what they shall be.
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, gz) {
		t.Fatalf("gzip: %v\n%s", err, cmp.Diff(gz, b))
	}
	d, err := zip.NewReader(bytes.NewReader(z), int64(len(z)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, z) {
		t.Fatalf("zip: %v\n%s", err, cmp.Diff(z, b))
	}

	for path, c := range map[string][]byte{"quine.gz": gz, "quine.zip": z} {
		sum, all := look(t, c, path, nil)
		if diff := cmp.Diff([]string{short(c) + " > " + path + " " + short(c)}, members(all)); diff != "" {
			t.Errorf("members of %s (-want +got):\n%s", path, diff)
		}
		if notes := notesOf(all); sum.Members != 1 || sum.Unpacked != int64(len(c)) || len(notes) != 0 {
			t.Errorf("%s: %+v %q", path, sum, notes)
		}
	}
}
