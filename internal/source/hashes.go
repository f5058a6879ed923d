package source

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"

	"spoor/internal/intel"
)

// FindHashes returns the hashes that stand in any text, in order, repeats included: runs of hex digits of exactly the right length with no
// letter or digit beside them. What is named an imphash or an authentihash is passed over: it is not a file's hash.
func FindHashes(text []byte) []intel.Hash {
	var found []intel.Hash
	eachHexRun(text, func(h intel.Hash, _ int) {
		if !h.IsZero() {
			found = append(found, h)
		}
	})
	return found
}

// eachHexRun calls f for every run of hex digits that is a hash, and with the zero Hash and its length for one that is nearly a hash.
func eachHexRun(text []byte, f func(h intel.Hash, length int)) {
	for i := 0; i < len(text); {
		start := i
		n, ok := 0, true
		for ok {
			for i += n; i < len(text) && wordByte[text[i]]; {
				i++
			}
			n, ok = wordRune(text[i:])
		}
		word := text[start:i]
		i += n // what ended the word
		if len(word) > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X') {
			word = word[2:]
		}
		switch len(word) {
		case 32, 40, 64:
			if h, ok := hexHash(word); ok && !otherDigest(text[:start]) && (len(word) == 64 || !gitID(text[:start])) {
				f(h, len(word))
			}
		case 30, 31, 33, 38, 39, 41, 62, 63, 65:
			if isHex(word) && !otherDigest(text[:start]) {
				f(intel.Hash{}, len(word))
			}
		}
	}
}

// wordRune returns the size of the first character, 0 at the end, and whether it is part of a word. A no-break space, a zero-width mark, a
// typographic quote or a byte that is no UTF-8 is not.
func wordRune(text []byte) (size int, ok bool) {
	if len(text) == 0 {
		return 0, false
	}
	if c := text[0]; c < utf8.RuneSelf {
		return 1, wordByte[c]
	}
	r, size := utf8.DecodeRune(text)
	return size, unicode.In(r, unicode.L, unicode.M, unicode.N)
}

// wordByte says which bytes are characters of a word by themselves; hexValue has the value of each hex digit, and 16 for all other bytes.
var wordByte, hexValue = func() (word [256]bool, digit [256]byte) {
	for i := range digit {
		c := byte(i)
		word[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		switch {
		case '0' <= c && c <= '9':
			digit[c] = c - '0'
		case 'a' <= c && c <= 'f':
			digit[c] = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			digit[c] = c - 'A' + 10
		default:
			digit[c] = 16
		}
	}
	return word, digit
}()

func isHex(b []byte) bool {
	for _, c := range b {
		if hexValue[c] == 16 {
			return false
		}
	}
	return true
}

// hexHash is [intel.ParseHash] of a word of the right length, for texts that are full of them.
func hexHash(word []byte) (h intel.Hash, ok bool) {
	var sum [32]byte
	bad := byte(0)
	for i := 0; i+1 < len(word); i += 2 {
		hi, lo := hexValue[word[i]], hexValue[word[i+1]]
		sum[i/2] = hi<<4 | lo
		bad |= hi | lo
	}
	if bad >= 16 {
		return h, false
	}
	a := intel.SHA256
	switch len(word) {
	case 32:
		a = intel.MD5
	case 40:
		a = intel.SHA1
	}
	h, err := intel.HashFromBytes(a, sum[:len(word)/2])
	return h, err == nil
}

// otherNames are names of hex that is no file's hash.
var otherNames = [...]string{"imphash", "imp_hash", "import hash", "authentihash", "richhash", "rich_hash", "telfhash", "pehash", "ja3", "ja3s",
	"thumbprint", "serial", "serial number", "serial_number", "serialnumber", "guid", "validationkey", "decryptionkey"}

// otherDigest reports whether the text just before a digest names another kind of digest, as "IMPHASH=" does.
func otherDigest(before []byte) bool {
	before = bytes.TrimRight(before[max(0, len(before)-32):], "\"'=:>|`*\\ \t")
	if len(before) == 0 || !wordByte[before[len(before)-1]] {
		return false // no name ends here
	}
	before = bytes.ToLower(before)
	for _, name := range otherNames {
		if bytes.HasSuffix(before, []byte(name)) {
			return true
		}
	}
	return false
}

// gitID reports whether the text just before a digest is the beginning of a web address that goes on with a git id.
func gitID(before []byte) bool {
	if !bytes.HasSuffix(before, []byte("/")) {
		return false
	}
	before = before[max(0, len(before)-512):]
	_, address, ok := bytes.Cut(before[bytes.LastIndexAny(before, " \t\r\n\"'<>()[]|,;")+1:], []byte("://"))
	if !ok {
		return false
	}
	for _, folder := range []string{"/commit/", "/commits/", "/blob/", "/tree/", "/raw/"} {
		if bytes.HasSuffix(address, []byte(folder)) {
			return true
		}
	}
	return bytes.HasPrefix(address, []byte("gist.")) || bytes.HasPrefix(address, []byte("raw.githubusercontent.com/")) && bytes.Count(address, []byte("/")) == 3
}

// readHashList reads a list as the listings of a feed: each line's hashes. Three different kinds of hash on one line name one file; only what
// one line states together is tied together.
func readHashList(r *reader) error {
	return r.each(func(line []byte, number int64) error {
		if line[0] == '#' {
			r.result.Other++
			return nil
		}
		var all []intel.Hash
		one, tied := intel.Hashes{}, true
		eachHexRun(line, func(h intel.Hash, length int) {
			if h.IsZero() {
				r.refuse(number, "", fmt.Sprintf("%d hex digits are no hash: it is cut; MD5 has 32, SHA-1 40, SHA-256 64", length))
				return
			}
			all = append(all, h)
			tied = tied && (one.Get(h.Algorithm()).IsZero() || one.Get(h.Algorithm()) == h)
			one.Set(h)
		})
		if len(all) == 0 {
			r.result.Other++
			return nil
		}
		r.result.Used++
		files := []intel.Hashes{one}
		if !tied {
			files = files[:0]
			for _, h := range all {
				files = append(files, intel.HashesOf(h))
			}
		}
		for _, f := range files {
			if err := r.list(number, r.feed(""), entry{file: f}); err != nil {
				return err
			}
		}
		return nil
	})
}
