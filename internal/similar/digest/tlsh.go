package digest

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// TLSH is a TLSH digest: 128 buckets, a checksum of one byte.
type TLSH struct {
	Checksum byte
	Length   byte     // of the file, logarithmic
	Q1, Q2   byte     // the first and second quartile of the buckets' counts as parts of the third, modulo 16
	Body     [32]byte // each bucket's quartile in two bits, as printed: the last bucket first
}

// tlshText is the length of a digest as text: T1, then 70 hex digits.
const tlshText = 72

// String spells the digest as TLSH 4 does: T1, upper case. Debian's tlsh, which is older, leaves out the T1.
func (t TLSH) String() string {
	b := [35]byte{t.Checksum<<4 | t.Checksum>>4, t.Length<<4 | t.Length>>4, t.Q1<<4 | t.Q2}
	copy(b[3:], t.Body[:])
	return "T1" + strings.ToUpper(hex.EncodeToString(b[:]))
}

// ParseTLSH reads a digest as text, with or without the T1, in either case.
func ParseTLSH(s string) (TLSH, error) {
	digits := s
	if len(s) == tlshText && (s[0] == 'T' || s[0] == 't') && s[1] == '1' {
		digits = s[2:]
	}
	var b [35]byte
	if len(digits) != 70 {
		return TLSH{}, fmt.Errorf("a TLSH digest is T1 and 70 hex digits, not %d characters", len(s))
	}
	if _, err := hex.Decode(b[:], []byte(digits)); err != nil {
		return TLSH{}, fmt.Errorf("a TLSH digest is T1 and 70 hex digits: %w", err)
	}
	t := TLSH{Checksum: b[0]<<4 | b[0]>>4, Length: b[1]<<4 | b[1]>>4, Q1: b[2] >> 4, Q2: b[2] & 15}
	copy(t.Body[:], b[3:])
	return t, nil
}

// around is the distance of a and b on a ring.
func around(a, b byte, ring int) int {
	d := int(a) - int(b)
	if d < 0 {
		d = -d
	}
	return min(d, ring-d)
}

// LengthCost is what two lengths add to a distance, and QuartileCost what two values of Q1 or Q2 do.
func LengthCost(a, b byte) int {
	if d := around(a, b, 256); d > 1 {
		return 12 * d
	} else {
		return d
	}
}

// QuartileCost is what two values of Q1, or of Q2, add to a distance.
func QuartileCost(a, b byte) int {
	if d := around(a, b, 16); d > 1 {
		return 12 * (d - 1)
	} else {
		return d
	}
}

// Distance is how far two digests are apart: 0 for equal ones, below about 30 for files that are nearly the same, above 100 for such that have
// nothing to do with each other.
func (t *TLSH) Distance(o *TLSH) int {
	d := LengthCost(t.Length, o.Length) + QuartileCost(t.Q1, o.Q1) + QuartileCost(t.Q2, o.Q2)
	if t.Checksum != o.Checksum {
		d++
	}
	for i := range t.Body {
		d += int(pairs[t.Body[i]][o.Body[i]])
	}
	return d
}

// pairs holds the distance of four buckets from four: for each the difference of quartiles, where 3 counts 6.
var pairs = func() (p [256][256]byte) {
	for a := range 256 {
		for b := range 256 {
			for shift := 0; shift < 8; shift += 2 {
				d := a>>shift&3 - b>>shift&3
				if d < 0 {
					d = -d
				}
				if d == 3 {
					d = 6
				}
				p[a][b] += byte(d)
			}
		}
	}
	return p
}()

// TLSHWriter makes a TLSH digest of what is written to it, in pieces of any size.
type TLSHWriter struct {
	buckets  [256]uint32
	last     [4]byte // the bytes before the next one, the newest first
	checksum byte
	length   uint64
}

// NewTLSHWriter returns a writer that was written nothing.
func NewTLSHWriter() *TLSHWriter { return &TLSHWriter{} }

// Write takes more of the bytes; it never fails.
func (w *TLSHWriter) Write(p []byte) (int, error) {
	n := len(p)
	for ; w.length < 4 && len(p) > 0; p = p[1:] {
		w.last = [4]byte{p[0], w.last[0], w.last[1], w.last[2]}
		w.length++
	}
	w.length += uint64(len(p))
	// Of a window of five bytes six triplets are counted, each by a Pearson hash of its own that begins with its salt.
	b, c, d, e := w.last[0], w.last[1], w.last[2], w.last[3]
	sum, k := w.checksum, &w.buckets
	for _, a := range p {
		x := first[a] ^ uint64(b)*(1|1<<8|1<<16|1<<24) ^ uint64(c)*(1<<32|1<<40) ^ uint64(d)<<48
		sum = pearson[pearson[byte(x)]^sum]
		k[pearson[pearson[byte(x>>8)]^c]]++
		k[pearson[pearson[byte(x>>16)]^d]]++
		k[pearson[pearson[byte(x>>24)]^e]]++
		k[pearson[pearson[byte(x>>32)]^d]]++
		k[pearson[pearson[byte(x>>40)]^e]]++
		k[pearson[pearson[byte(x>>48)]^e]]++
		b, c, d, e = a, b, c, d
	}
	w.last, w.checksum = [4]byte{b, c, d, e}, sum
	return n, nil
}

// minTLSH is how many bytes have a digest. It is TLSH 4's; Debian's tlsh wants 256.
const minTLSH = 50

// Sum returns the digest of what was written so far. ok is false where TLSH gives none: of fewer than 50 bytes, and of such whose triplets are so
// alike that they fill no more than half of the buckets.
func (w *TLSHWriter) Sum() (t TLSH, ok bool) {
	if w.length < minTLSH || w.length > math.MaxUint32 {
		return TLSH{}, false
	}
	sorted := [128]uint32(w.buckets[:128])
	slices.Sort(sorted[:])
	q1, q2, q3 := sorted[31], sorted[63], sorted[95]
	if sorted[63] == 0 || q3 == 0 {
		return TLSH{}, false
	}
	t = TLSH{Checksum: w.checksum, Length: logLength(uint32(w.length)), Q1: ratio(q1, q3), Q2: ratio(q2, q3)}
	for i, n := range w.buckets[:128] {
		var code byte
		switch {
		case n > q3:
			code = 3
		case n > q2:
			code = 2
		case n > q1:
			code = 1
		}
		t.Body[31-i/4] |= code << (i % 4 * 2)
	}
	return t, true
}

// ratio is computed as the reference does, single precision and overflow and all.
func ratio(q, q3 uint32) byte {
	return byte(uint32(float32(q*100)/float32(q3)) % 16)
}

// logLength is the logarithm of a length, of a base that falls with it: 1.5, 1.3, 1.1.
func logLength(n uint32) byte {
	l := float64(float32(math.Log(float64(float32(n)))))
	switch {
	case n <= 656:
		return byte(int(math.Floor(l / 0.4054651)))
	case n <= 3199:
		return byte(int(math.Floor(l/0.26236426 - 8.72777)))
	default:
		return byte(int(math.Floor(l/0.095310180 - 62.5472)))
	}
}

// The first step of each Pearson hash is of its salt alone.
const (
	salt0  = 1  // pearson[0]
	salt2  = 49 // pearson[2], and so on
	salt3  = 12
	salt5  = 178
	salt7  = 166
	salt11 = 84
	salt13 = 230
)

// first holds what the second step of each Pearson hash finds of the newest byte, eight bits for each salt.
var first = func() (t [256]uint64) {
	for a := range t {
		for i, salt := range []int{salt0, salt2, salt3, salt11, salt5, salt7, salt13} {
			t[a] |= uint64(pearson[salt^a]) << (8 * i)
		}
	}
	return t
}()

// pearson is the permutation of P. K. Pearson, "Fast hashing of variable-length text strings", CACM 33(6), 1990.
var pearson = [256]byte{
	1, 87, 49, 12, 176, 178, 102, 166, 121, 193, 6, 84, 249, 230, 44, 163, 14, 197, 213, 181,
	161, 85, 218, 80, 64, 239, 24, 226, 236, 142, 38, 200, 110, 177, 104, 103, 141, 253, 255, 50,
	77, 101, 81, 18, 45, 96, 31, 222, 25, 107, 190, 70, 86, 237, 240, 34, 72, 242, 20, 214,
	244, 227, 149, 235, 97, 234, 57, 22, 60, 250, 82, 175, 208, 5, 127, 199, 111, 62, 135, 248,
	174, 169, 211, 58, 66, 154, 106, 195, 245, 171, 17, 187, 182, 179, 0, 243, 132, 56, 148, 75,
	128, 133, 158, 100, 130, 126, 91, 13, 153, 246, 216, 219, 119, 68, 223, 78, 83, 88, 201, 99,
	122, 11, 92, 32, 136, 114, 52, 10, 138, 30, 48, 183, 156, 35, 61, 26, 143, 74, 251, 94,
	129, 162, 63, 152, 170, 7, 115, 167, 241, 206, 3, 150, 55, 59, 151, 220, 90, 53, 23, 131,
	125, 173, 15, 238, 79, 95, 89, 16, 105, 137, 225, 224, 217, 160, 37, 123, 118, 73, 2, 157,
	46, 116, 9, 145, 134, 228, 207, 212, 202, 215, 69, 229, 27, 188, 67, 124, 168, 252, 42, 4,
	29, 108, 21, 247, 19, 205, 39, 203, 233, 40, 186, 147, 198, 192, 155, 33, 164, 191, 98, 204,
	165, 180, 117, 76, 140, 36, 210, 172, 41, 54, 159, 8, 185, 232, 113, 196, 231, 47, 146, 120,
	51, 65, 28, 144, 254, 221, 93, 189, 194, 139, 112, 43, 71, 109, 184, 209,
}

// Codes are the quartiles of a digest's 128 buckets in four words, for comparing many: of 32 buckets each, the upper half of a word holds the
// upper bits and the lower half the Gray code's lower bits, in the same order.
type Codes [4]uint64

// Codes returns the body in words. The order of the buckets in them is not that of the text.
func (t *TLSH) Codes() (c Codes) {
	for i := range c {
		for j := range 8 {
			b := uint64(t.Body[8*i+j])
			for k := range 4 {
				code := b >> (2 * k) & 3
				c[i] |= (code>>1)<<(32+4*j+k) | (code>>1^code&1)<<(4*j+k)
			}
		}
	}
	return c
}

// Body is the reverse of Codes.
func (c *Codes) Body() (body [32]byte) {
	for i, w := range c {
		for j := range 8 {
			for k := range 4 {
				hi, lo := w>>(32+4*j+k)&1, w>>(4*j+k)&1
				body[8*i+j] |= byte(hi<<1|hi^lo) << (2 * k)
			}
		}
	}
	return body
}

// CodeDistance is what the 32 buckets of a word add to the distance. In Gray code a bit that differs counts one, and 0 and 3, which differ in the
// upper bit alone and are 6 apart, are told from 1 and 2 by the lower bit.
func CodeDistance(a, b uint64) int {
	x := a ^ b
	far := uint32(x>>32) &^ uint32(x) &^ uint32(a)
	return bits.OnesCount64(x) + 5*bits.OnesCount32(far)
}
