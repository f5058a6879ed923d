package intel

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// Algorithm is one of the three hash algorithms that identify a file. A larger value is a stronger algorithm.
type Algorithm uint8

// The algorithms, weakest first.
const (
	MD5 Algorithm = iota + 1
	SHA1
	SHA256
)

// Size returns the hash's length in bytes: 16, 20 or 32.
func (a Algorithm) Size() int {
	switch a {
	case MD5:
		return 16
	case SHA1:
		return 20
	case SHA256:
		return 32
	}
	return 0
}

func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA1:
		return "SHA-1"
	case SHA256:
		return "SHA-256"
	}
	return "no algorithm"
}

// Hash is an algorithm and its bytes. It is comparable; the zero Hash is no hash.
type Hash struct {
	alg Algorithm
	sum [32]byte
}

// ParseHash reads an MD5, SHA-1 or SHA-256 in hex: either case, with or without a leading 0x, blanks around it ignored.
// Anything else, a truncated hash above all, is an [ErrInvalid]; nothing is ever padded.
func ParseHash(s string) (Hash, error) {
	t := strings.TrimSpace(s)
	if len(t) > 2 && t[0] == '0' && (t[1] == 'x' || t[1] == 'X') {
		t = t[2:]
	}
	var h Hash
	switch len(t) {
	case 32:
		h.alg = MD5
	case 40:
		h.alg = SHA1
	case 64:
		h.alg = SHA256
	default:
		return Hash{}, &Refusal{Reason: fmt.Sprintf("%s is not a hash: %d characters; give an MD5 (32 hex digits), SHA-1 (40) or SHA-256 (64)", quoteShort(s), len(t))}
	}
	bad := byte(0)
	for i := 0; i+1 < len(t) && i/2 < len(h.sum); i += 2 {
		hi, lo := hexValue[t[i]], hexValue[t[i+1]]
		bad |= hi | lo
		h.sum[i/2] = hi<<4 | lo
	}
	if bad > 15 {
		return Hash{}, &Refusal{Reason: fmt.Sprintf("%s is not a hash: it holds a character that is no hex digit", quoteShort(s))}
	}
	return h, nil
}

// hexValue has the value of each hex digit, and 255 for all other bytes.
var hexValue = func() (digit [256]byte) {
	for i := range digit {
		switch c := byte(i); {
		case '0' <= c && c <= '9':
			digit[i] = c - '0'
		case 'a' <= c && c <= 'f':
			digit[i] = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			digit[i] = c - 'A' + 10
		default:
			digit[i] = 255
		}
	}
	return digit
}()

// quoteShort quotes foreign text for an error message, cut to a length that fits a line.
func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

// HashFromBytes makes a Hash of raw bytes; it fails when the length is not the algorithm's.
func HashFromBytes(a Algorithm, b []byte) (Hash, error) {
	if a.Size() == 0 || len(b) != a.Size() {
		return Hash{}, &Refusal{Reason: fmt.Sprintf("%d bytes are no %s", len(b), a)}
	}
	h := Hash{alg: a}
	copy(h.sum[:], b)
	return h, nil
}

// IsZero reports whether h is no hash.
func (h Hash) IsZero() bool { return h.alg == 0 }

// Algorithm returns the hash's algorithm, 0 for the zero Hash.
func (h Hash) Algorithm() Algorithm { return h.alg }

// Append appends the raw bytes to dst.
func (h Hash) Append(dst []byte) []byte { return append(dst, h.sum[:h.alg.Size()]...) }

// Bytes returns a copy of the raw bytes.
func (h Hash) Bytes() []byte { return h.Append(nil) }

// Compare orders hashes by strength, then by bytes.
func (h Hash) Compare(o Hash) int {
	if h.alg != o.alg {
		return int(h.alg) - int(o.alg)
	}
	return bytes.Compare(h.sum[:], o.sum[:])
}

// String returns lower-case hex; the zero Hash is the empty string.
func (h Hash) String() string { return hex.EncodeToString(h.sum[:h.alg.Size()]) }

// MarshalText writes lower-case hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h.sum[:h.alg.Size()]), nil }

// UnmarshalText reads what [ParseHash] reads; empty text is the zero Hash.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	p, err := ParseHash(string(b))
	if err != nil {
		return err
	}
	*h = p
	return nil
}

// Hashes are what is known of one file's names: each field may be the zero Hash.
type Hashes struct {
	MD5    Hash `json:"md5,omitzero"`
	SHA1   Hash `json:"sha1,omitzero"`
	SHA256 Hash `json:"sha256,omitzero"`
}

// HashesOf returns the set that holds just h.
func HashesOf(h Hash) Hashes {
	var s Hashes
	s.Set(h)
	return s
}

// Set puts h in the field of its algorithm; the zero Hash changes nothing.
func (s *Hashes) Set(h Hash) {
	switch h.alg {
	case MD5:
		s.MD5 = h
	case SHA1:
		s.SHA1 = h
	case SHA256:
		s.SHA256 = h
	}
}

// Get returns the hash of one algorithm, zero when unknown.
func (s Hashes) Get(a Algorithm) Hash {
	switch a {
	case MD5:
		return s.MD5
	case SHA1:
		return s.SHA1
	case SHA256:
		return s.SHA256
	}
	return Hash{}
}

// Strongest returns the hash under which facts of the file are recorded: SHA-256, else SHA-1, else MD5, else zero.
func (s Hashes) Strongest() Hash {
	switch {
	case !s.SHA256.IsZero():
		return s.SHA256
	case !s.SHA1.IsZero():
		return s.SHA1
	}
	return s.MD5
}

// IsZero reports whether no hash is known.
func (s Hashes) IsZero() bool { return s.MD5.alg|s.SHA1.alg|s.SHA256.alg == 0 }

// check fails when a hash stands in the field of another algorithm.
func (s *Hashes) check() error {
	if (s.MD5.alg == 0 || s.MD5.alg == MD5) && (s.SHA1.alg == 0 || s.SHA1.alg == SHA1) && (s.SHA256.alg == 0 || s.SHA256.alg == SHA256) {
		return nil
	}
	for _, f := range []struct {
		name string
		h    Hash
		want Algorithm
	}{{"md5", s.MD5, MD5}, {"sha1", s.SHA1, SHA1}, {"sha256", s.SHA256, SHA256}} {
		if !f.h.IsZero() && f.h.alg != f.want {
			return &Refusal{Field: f.name, Reason: fmt.Sprintf("%s is a %s; it must have %d hex digits", f.h, f.h.alg, 2*f.want.Size())}
		}
	}
	return nil
}

// Byte returns the i-th byte of the hash, 0 past its end.
func (h Hash) Byte(i int) byte {
	if i < h.alg.Size() {
		return h.sum[i]
	}
	return 0
}

// Prefix appends the first n bytes to dst.
func (h Hash) Prefix(dst []byte, n int) []byte { return append(dst, h.sum[:min(n, h.alg.Size())]...) }
