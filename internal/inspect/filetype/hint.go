package filetype

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// hint is an expression that speaks for a language. Expressions are slow and mostly not there, so texts are looked for first, one of which is in
// whatever the expression matches.
type hint struct {
	re     *regexp.Regexp
	oneOf  []string // in lower case; empty when there is none to look for
	weight int
}

func newHint(expression string, weight int) hint {
	h := hint{re: regexp.MustCompile(expression), weight: weight}
	if tree, err := syntax.Parse(expression, syntax.Perl); err == nil {
		h.oneOf = oneOf(tree.Simplify())
	}
	return h
}

// may reports whether the expression can match a text. small is the text in lower case.
func (h *hint) may(small string) bool {
	return len(h.oneOf) == 0 || slices.ContainsFunc(h.oneOf, func(s string) bool { return strings.Contains(small, s) })
}

// in reports whether the expression matches t. small is t in lower case.
func (h *hint) in(t, small string) bool { return h.may(small) && h.re.MatchString(t) }

// oneOf returns texts one of which is in all that an expression matches, nil when there are none.
func oneOf(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return oneOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return oneOf(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if found := oneOf(sub); len(found) > 0 && (best == nil || shortest(found) > shortest(best)) {
				best = found
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			found := oneOf(sub)
			if len(found) == 0 {
				return nil
			}
			all = append(all, found...)
		}
		return all
	}
	return nil
}

func shortest(texts []string) int {
	n := len(texts[0])
	for _, s := range texts {
		n = min(n, len(s))
	}
	return n
}
