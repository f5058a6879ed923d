package intel

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Canonical is the one spelling of the value: a TLSH in upper case with T1 before it, as TLSH 4 prints it; an ssdeep without the file's name
// that may follow it; the others, which are hex, in lower case. What is no value of its algorithm stays as it is.
func (f FuzzyHash) Canonical() FuzzyHash {
	switch f.Algorithm {
	case TLSH:
		digits := f.Value
		if len(digits) == 72 && (digits[0] == 'T' || digits[0] == 't') && digits[1] == '1' {
			digits = digits[2:]
		}
		if len(digits) == 70 && isHex(digits) {
			f.Value = "T1" + strings.ToUpper(digits)
		}
	case SSDeep:
		f.Value, _, _ = strings.Cut(f.Value, ",")
	case Telfhash: // a TLSH of symbols, which its tools print in lower case
		f.Value = strings.ToLower(f.Value)
	default:
		if isHex(f.Value) {
			f.Value = strings.ToLower(f.Value)
		}
	}
	return f
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return s != ""
}

// ParseFuzzyHash reads a fuzzy hash as a person or a client gives it, and returns it in its one spelling. What is none is an [ErrInvalid].
func ParseFuzzyHash(a FuzzyAlgorithm, value string) (FuzzyHash, error) {
	f := FuzzyHash{a, strings.TrimSpace(value)}.Canonical()
	ok := true
	reason := ""
	switch a {
	case TLSH:
		ok, reason = len(f.Value) == 72 && f.Value[:2] == "T1" && isHex(f.Value[2:]), "a TLSH is T1 and 70 hex digits"
	case SSDeep:
		size, rest, found := strings.Cut(f.Value, ":")
		first, second, found2 := strings.Cut(rest, ":")
		ok = found && found2 && isBlockSize(size) && len(first) <= 64 && len(second) <= 64 && strings.Trim(first+second, base64Letters) == ""
		reason = "an ssdeep is a block size, which is 3, doubled up to 30 times, and two parts of at most 64 letters, with colons between them"
	case Telfhash:
		digits := strings.TrimPrefix(f.Value, "t1")
		ok, reason = len(digits) == 70 && isHex(digits), "a telfhash is 70 hex digits, mostly with t1 before them"
	case Authentihash:
		n := len(f.Value)
		ok, reason = isHex(f.Value) && (n == 32 || n == 40 || n == 64), "an authentihash is 64 hex digits, of SHA-256, or 40 or 32"
	case IconHash: // tools make it in several ways
		ok, reason = isHex(f.Value), "it is hex digits"
	default:
		ok, reason = isHex(f.Value) && len(f.Value) == 32, "it is 32 hex digits"
	}
	if !ok {
		return FuzzyHash{}, &Refusal{Field: string(a), Reason: fmt.Sprintf("%s is none: %s", quoteShort(value), reason)}
	}
	if err := f.check(); err != nil {
		return FuzzyHash{}, err
	}
	return f, nil
}

// isBlockSize reports whether a text is a block size of ssdeep.
func isBlockSize(s string) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n%3 == 0 && bits.OnesCount64(n/3) == 1 && n/3 <= 1<<30
}

// LooksFuzzy reports whether a text that a person gives has the form of a fuzzy hash, and of which: a TLSH and an ssdeep show it by themselves, the
// others have their name before them ("imphash:…"). Whether it is one says [ParseFuzzyHash].
func LooksFuzzy(text string) (a FuzzyAlgorithm, value string, ok bool) {
	text = strings.TrimSpace(text)
	name, value, named := strings.Cut(text, ":")
	a = FuzzyAlgorithm(strings.ToLower(name))
	switch {
	case strings.ContainsAny(text, " \t\r\n"):
	case named && slices.Contains(fuzzyAlgorithms, a):
		return a, value, true
	case strings.Count(text, ":") >= 2 && name != "" && strings.Trim(name, "0123456789") == "":
		return SSDeep, text, true
	case len(text) == 70 && isHex(text), len(text) == 72 && strings.EqualFold(text[:2], "T1") && isHex(text[2:]):
		return TLSH, text, true
	}
	return "", "", false
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// FuzzyAlgorithms returns all of them.
func FuzzyAlgorithms() []FuzzyAlgorithm { return slices.Clone(fuzzyAlgorithms) }
