package digest

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
)

// ssdeep's own constants.
const (
	window    = 7  // of the rolling hash, and of what two digests must have in common
	minBlock  = 3  // the smallest block size; the others are its doubles
	halfParts = 32 // the second part is no longer, and the first no shorter where a smaller block size would do
	maxParts  = 64
	levels    = 31 // block sizes
	base64    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

	hashInit = 0x27
)

// level makes the parts of one block size. Characters are kept as their number plus one, 0 is none.
type level struct {
	parts    [maxParts]byte // one character for each piece; the last place is the piece that is always open
	n        int            // how many are closed
	halfLast byte           // the character of the half digest's last piece when it was met
}

// SSDeepWriter makes an ssdeep digest of what is written to it, in pieces of any size.
//
// A piece ends where the rolling hash hits a multiple of the block size, and is told by six bits of a hash. It is not known which block size will
// do until the end, so all that may are made at once: their six-bit hashes stand side by side in words and take a byte all in one step.
type SSDeepWriter struct {
	length     uint64
	roll       roller
	begin, end int       // the block sizes that are made
	full, half [4]uint64 // lanes of eight bits: the hash of each block size's open piece, and of its half digest's; lane 0 is of begin
	last       byte      // the hash of the open piece of a 32nd block size
	hasLast    bool
	levels     [levels]level
}

type roller struct {
	last       uint64 // the bytes before, the newest in the lowest eight bits
	h1, h2, h3 uint32
}

// NewSSDeepWriter returns a writer that was written nothing.
func NewSSDeepWriter() *SSDeepWriter {
	w := &SSDeepWriter{end: 1}
	w.full[0], w.half[0] = hashInit, hashInit
	return w
}

const lanes = 0x0101010101010101

// step is the hash of a piece, h*0x93 ^ c of which six bits count, for eight lanes: 0x93 is 19 modulo 64.
func step(h, c uint64) uint64 {
	return ((h + h<<1&(0x3E*lanes) + h<<4&(0x30*lanes)) & (0x3F * lanes)) ^ c
}

func lane(h *[4]uint64, i int) byte { return byte(h[i>>3] >> (i & 7 * 8)) }
func setLane(h *[4]uint64, i int, b byte) {
	s := i & 7 * 8
	h[i>>3] = h[i>>3]&^(0xFF<<s) | uint64(b)<<s
}

// Write takes more of the bytes; it never fails.
func (w *SSDeepWriter) Write(p []byte) (int, error) {
	n := len(p)
	w.length += uint64(n)
	for len(p) > 0 {
		to, highest := w.roll.next(p, 1<<w.begin-1)
		w.hash(p[:to])
		p = p[to:]
		if highest >= 0 {
			w.close(highest)
		}
	}
	return n, nil
}

// next rolls over p to the next byte that ends a piece of a block size, of which mask has a bit for each smaller one. It returns how many bytes that
// are, and the largest block size of which a piece ends there, or -1 when none does in p.
func (r *roller) next(p []byte, mask uint32) (to, highest int) {
	h1, h2, h3, last := r.h1, r.h2, r.h3, r.last
	to, highest = len(p), -1
	for i, c := range p {
		h2 += window*uint32(c) - h1
		h1 += uint32(c) - uint32(byte(last>>(8*(window-1))))
		h3 = h3<<5 ^ uint32(c)
		last = last<<8 | uint64(c)
		// Divided by three without rest? Then the product with three's inverse is the quotient, else it is larger than any.
		const inverse = 0xAAAAAAAB
		multiple := (h1 + h2 + h3 + 1) * inverse
		if multiple&mask == 0 && multiple <= 0x55555555 && multiple != 0 {
			to, highest = i+1, bits.TrailingZeros32(multiple)
			break
		}
	}
	r.h1, r.h2, r.h3, r.last = h1, h2, h3, last
	return to, highest
}

// hash adds bytes to the open piece of each block size.
func (w *SSDeepWriter) hash(p []byte) {
	for i := range (w.end - w.begin + 7) / 8 {
		full, half := w.full[i], w.half[i]
		for _, c := range p {
			c8 := uint64(c&0x3F) * lanes
			full, half = step(full, c8), step(half, c8)
		}
		w.full[i], w.half[i] = full, half
	}
	if w.hasLast {
		for _, c := range p {
			w.last = byte(step(uint64(w.last), uint64(c&0x3F)))
		}
	}
}

// close ends a piece of every block size up to the highest one.
func (w *SSDeepWriter) close(highest int) {
	for i := w.begin; i < w.end && i <= highest; {
		l, k := &w.levels[i], i-w.begin
		if l.n == 0 {
			w.fork()
		}
		l.parts[l.n] = lane(&w.full, k) + 1
		l.halfLast = lane(&w.half, k) + 1
		if l.n < maxParts-1 {
			l.n++
			l.parts[l.n] = 0
			setLane(&w.full, k, hashInit)
			if l.n < halfParts {
				setLane(&w.half, k, hashInit)
				l.halfLast = 0
			}
		} else {
			w.reduce()
		}
		i++
	}
}

// fork begins the next larger block size: until now its open piece was that of the largest.
func (w *SSDeepWriter) fork() {
	k := w.end - 1 - w.begin
	if w.end < levels {
		setLane(&w.full, k+1, lane(&w.full, k))
		setLane(&w.half, k+1, lane(&w.half, k))
		w.end++
	} else if !w.hasLast {
		w.last, w.hasLast = lane(&w.full, k), true
	}
}

// reduce gives the smallest block size up, once it cannot be the digest's any more.
func (w *SSDeepWriter) reduce() {
	if w.end-w.begin < 2 || minBlock<<w.begin*maxParts >= w.length || w.levels[w.begin+1].n < halfParts {
		return
	}
	w.begin++
	for _, h := range []*[4]uint64{&w.full, &w.half} {
		for i := range h {
			h[i] >>= 8
			if i+1 < len(h) {
				h[i] |= h[i+1] << 56
			}
		}
	}
}

// Sum returns the digest of what was written so far.
func (w *SSDeepWriter) Sum() string {
	i := w.begin
	for i < levels-1 && minBlock<<i*maxParts < w.length {
		i++
	}
	i = min(i, w.end-1)
	for i > w.begin && w.levels[i].n < halfParts {
		i--
	}
	open := w.roll.h1+w.roll.h2+w.roll.h3 != 0
	l := &w.levels[i]
	b := strconv.AppendUint(nil, minBlock<<i, 10)
	b = append(b, ':')
	write := func(parts []byte, last byte) {
		for _, c := range parts {
			b = append(b, base64[c-1])
		}
		if last != 0 {
			b = append(b, base64[last-1])
		}
	}
	if open {
		write(l.parts[:l.n], lane(&w.full, i-w.begin)+1)
	} else {
		write(l.parts[:l.n], l.parts[l.n])
	}
	b = append(b, ':')
	switch {
	case i < w.end-1:
		n := &w.levels[i+1]
		last := n.halfLast
		if open {
			last = lane(&w.half, i+1-w.begin) + 1
		}
		write(n.parts[:min(n.n, halfParts-1)], last)
	case open && i == 0:
		write(nil, lane(&w.full, 0)+1)
	case open:
		write(nil, w.last+1)
	}
	return string(b)
}

// SSDeep is an ssdeep digest taken apart. Of a run of one character in a part three are kept, as ssdeep compares.
type SSDeep struct {
	Block         uint64 // block size of First; that of Second is twice as large
	First, Second string
}

var errSSDeep = errors.New(`an ssdeep digest is "block size:characters:characters"`)

// ParseSSDeep reads a digest as text. What follows the second part after a comma, a file's name, is passed over.
func ParseSSDeep(s string) (SSDeep, error) {
	size, rest, ok := strings.Cut(s, ":")
	first, second, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return SSDeep{}, errSSDeep
	}
	second, _, _ = strings.Cut(second, ",")
	block, err := strconv.ParseUint(size, 10, 40)
	if err != nil || block%minBlock != 0 || block == 0 || bits.OnesCount64(block/minBlock) != 1 || block>>levels >= minBlock {
		return SSDeep{}, errors.New("the block size of an ssdeep digest is 3, doubled up to 30 times")
	}
	if !alphabet(first) || !alphabet(second) {
		return SSDeep{}, errors.New("a part of an ssdeep digest is at most 64 characters of base64")
	}
	return SSDeep{block, shorten(first), shorten(second)}, nil
}

func alphabet(s string) bool {
	return len(s) <= maxParts && strings.Trim(s, base64) == ""
}

// shorten cuts runs of one character to three.
func shorten(s string) string {
	var b []byte // nil as long as nothing was cut
	for i := range s {
		run := i >= 3 && s[i] == s[i-1] && s[i] == s[i-2] && s[i] == s[i-3]
		switch {
		case run && b == nil:
			b = append(make([]byte, 0, len(s)), s[:i]...)
		case !run && b != nil:
			b = append(b, s[i])
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}

// Level is the number of the block size: 0 for 3, 30 for the largest.
func (d *SSDeep) Level() int { return bits.TrailingZeros64(d.Block / minBlock) }

// Score is how alike two digests are: 0 for nothing in common that counts, 100 for equal ones.
func (d *SSDeep) Score(o *SSDeep) int {
	switch {
	case *d == *o:
		return 100
	case d.Block == o.Block:
		return max(score(d.First, o.First, d.Block), score(d.Second, o.Second, 2*d.Block))
	case 2*d.Block == o.Block:
		return score(d.Second, o.First, o.Block)
	case d.Block == 2*o.Block:
		return score(d.First, o.Second, d.Block)
	}
	return 0
}

func score(a, b string, block uint64) int {
	if !common(a, b) {
		return 0
	}
	s := 100 - 100*(edits(a, b)*maxParts/(len(a)+len(b)))/maxParts
	// Of a small block size a short match says little.
	if block < (99+window)/window*minBlock {
		s = min(s, int(block/minBlock)*min(len(a), len(b)))
	}
	return s
}

// common reports whether the two have seven characters in a row in common.
func common(a, b string) bool {
	for i := 0; i+window <= len(a); i++ {
		if strings.Contains(b, a[i:i+window]) {
			return true
		}
	}
	return false
}

// edits is the edit distance: to add or to drop a character costs one, to change it two.
func edits(a, b string) int {
	var row [maxParts + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change += 2
			}
			row[j+1] = min(up+1, row[j]+1, change)
			diagonal = up
		}
	}
	return row[len(b)]
}
