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
		n, ok := wordRune(text[i:])
		for ok {
			i += n
			n, ok = wordRune(text[i:])
		}
		word := text[start:i]
		i += n // what ended the word
		if len(word) > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X') {
			word = word[2:]
		}
		switch len(word) {
		case 32, 40, 64:
			if h, err := intel.ParseHash(string(word)); err == nil && !otherDigest(text[:start]) && (len(word) == 64 || !gitID(text[:start])) {
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
		return 1, '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
	}
	r, size := utf8.DecodeRune(text)
	return size, unicode.In(r, unicode.L, unicode.M, unicode.N)
}

func isHex(b []byte) bool {
	for _, c := range b {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}

// otherNames are names of hex that is no file's hash.
var otherNames = [...]string{"imphash", "imp_hash", "import hash", "authentihash", "richhash", "rich_hash", "telfhash", "pehash", "ja3", "ja3s",
	"thumbprint", "serial", "serial number", "serial_number", "serialnumber", "guid", "validationkey", "decryptionkey"}

// otherDigest reports whether the text just before a digest names another kind of digest, as "IMPHASH=" does.
func otherDigest(before []byte) bool {
	before = bytes.ToLower(bytes.TrimRight(before[max(0, len(before)-32):], "\"'=:>|`*\\ \t"))
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
