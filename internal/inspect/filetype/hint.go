package filetype

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// hint is an expression that speaks for a language. An expression tried at every place of a text is slow; so each is tried only where it can begin:
// at the lines that begin with a byte of its own, or where a text stands that all its matches begin with.
type hint struct {
	expression string
	weight     int
	places     func() *places
}

// newHint makes one of an expression, which must not match nothing at all. It is compiled when it is first looked for: a command that starts knows
// nothing of texts.
func newHint(expression string, weight int) hint {
	return hint{expression, weight, sync.OnceValue(func() *places { return compile(expression) })}
}

// places are where an expression can match.
type places struct {
	begins [256]bool // what the first byte of a match can be
	lines  bool      // every match begins a line, or follows the space that does
	indent bool      // of those, the latter
	texts  []string  // in lower case: every match begins with one of them; nil when there are none, or too short ones
	at     *regexp.Regexp
	// For what has no such beginning.
	whole *regexp.Regexp
}

func compile(expression string) *places {
	p := new(places)
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		panic(err) // an expression of ours
	}
	rest := parts(tree)
	if rest[0].Op == syntax.OpBeginLine {
		p.lines = true
		if rest = rest[1:]; len(rest) > 1 && isSpaces(rest[0]) {
			p.indent, rest = true, rest[1:]
		}
	}
	tree = &syntax.Regexp{Op: syntax.OpConcat, Flags: tree.Flags, Sub: rest}
	if p.first(tree) {
		panic("an expression that matches nothing: " + expression)
	}
	// The byte before a match is there for \b to look at; see look.
	p.at = regexp.MustCompile(`\A(?s:.)(?:` + tree.String() + `)`)
	p.texts = prefixes(tree)
	if p.lines {
		return p
	}
	if len(p.texts) == 0 || shortest(p.texts) < 2 {
		p.texts = nil
		if n := len(slices.DeleteFunc(slices.Clone(p.begins[:]), func(b bool) bool { return !b })); n > 8 {
			p.whole = regexp.MustCompile(expression)
		}
	}
	return p
}

// parts are those of a concatenation, or the expression itself.
func parts(re *syntax.Regexp) []*syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpConcat {
		return re.Sub
	}
	return []*syntax.Regexp{re}
}

// isSpaces reports whether an expression is \s*.
func isSpaces(re *syntax.Regexp) bool {
	return re.Op == syntax.OpStar && re.Sub[0].Op == syntax.OpCharClass && slices.Equal(re.Sub[0].Rune, []rune{'\t', '\n', '\f', '\r', ' ', ' '})
}

// first marks what bytes a match of the expression can begin with, and reports whether it can be empty.
func (p *places) first(re *syntax.Regexp) (empty bool) {
	mark := func(lo, hi rune) {
		for c := lo; c <= min(hi, 0x7F); c++ {
			p.begins[c] = true
		}
		if hi > 0x7F {
			for c := 0x80; c < 0x100; c++ {
				p.begins[c] = true
			}
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		mark(re.Rune[0], re.Rune[0])
		if s := string(re.Rune[0]); re.Flags&syntax.FoldCase != 0 {
			p.begins[strings.ToUpper(s)[0]], p.begins[strings.ToLower(s)[0]] = true, true
		}
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			mark(re.Rune[i], re.Rune[i+1])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		mark(0, 0x80)
	case syntax.OpCapture, syntax.OpPlus:
		return p.first(re.Sub[0])
	case syntax.OpRepeat:
		return p.first(re.Sub[0]) || re.Min == 0
	case syntax.OpStar, syntax.OpQuest:
		p.first(re.Sub[0])
		return true
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !p.first(sub) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			empty = p.first(sub) || empty
		}
		return empty
	default: // \b, $ and their like
		return true
	}
	return false
}

// prefixes returns texts, in lower case, one of which all matches of an expression begin with; nil when there are none.
func prefixes(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture:
		return prefixes(re.Sub[0])
	case syntax.OpConcat:
		for i, sub := range re.Sub {
			if sub.Op == syntax.OpWordBoundary {
				continue
			}
			if sub.Op == syntax.OpQuest && i+1 < len(re.Sub) {
				with, without := prefixes(sub.Sub[0]), prefixes(&syntax.Regexp{Op: syntax.OpConcat, Sub: re.Sub[i+1:]})
				if len(with) == 0 || len(without) == 0 {
					return nil
				}
				return append(with, without...)
			}
			all := prefixes(sub)
			if len(all) > 0 && sub.Op == syntax.OpLiteral && i+1 < len(re.Sub) && re.Sub[i+1].Op == syntax.OpAlternate {
				// "write-" and what may follow it.
				if more := prefixes(re.Sub[i+1]); len(more) > 0 {
					for k := range more {
						more[k] = all[0] + more[k]
					}
					return more
				}
			}
			return all
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			found := prefixes(sub)
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

// looked is a text that hints are looked for in.
type looked struct {
	text  string // it, after a line's end
	small string // text with its ASCII letters in lower case, so that places are the same in both
	lines []textLine
}

// longest is how much of a text, from the byte before it on, is looked at for one match: what an expression costs goes by it.
const longest = 256

// matches reports whether the expression matches at a place of a text.
func (p *places) matches(l *looked, at int) bool {
	return p.at.MatchString(l.text[at-1 : min(at-1+longest, len(l.text))])
}

// textLine is where a line begins, and where the first byte stands that is no space, which may be on a later line.
type textLine struct{ at, first int }

func look(t string) looked {
	l := looked{text: "\n" + t}
	small := []byte(l.text)
	for i, c := range small {
		if 'A' <= c && c <= 'Z' {
			small[i] = c + 'a' - 'A'
		}
	}
	l.small = string(small)
	for i := 0; i < len(t); {
		n := strings.IndexByte(l.text[i+1:], '\n')
		if n < 0 {
			n = len(l.text) - i - 1
		}
		first := i + 1
		for first < len(l.text) && (l.text[first] == ' ' || '\t' <= l.text[first] && l.text[first] <= '\r' && l.text[first] != '\v') {
			first++
		}
		l.lines = append(l.lines, textLine{i + 1, first})
		i += n + 1
	}
	return l
}

// in reports whether the expression matches a text.
func (h *hint) in(l *looked) bool {
	p := h.places()
	switch {
	case p.whole != nil:
		return p.whole.MatchString(l.text[1:])
	case p.lines:
		for _, line := range l.lines {
			at := line.at
			if p.indent {
				at = line.first
			}
			if at >= len(l.text) || !p.begins[l.text[at]] {
				continue
			}
			if p.texts != nil && !slices.ContainsFunc(p.texts, func(s string) bool { return strings.HasPrefix(l.small[at:], s) }) {
				continue
			}
			if p.matches(l, at) {
				return true
			}
		}
	case p.texts != nil:
		for _, s := range p.texts {
			for i := 1; ; i++ {
				n := strings.Index(l.small[i:], s)
				if n < 0 {
					break
				}
				if i += n; p.matches(l, i) {
					return true
				}
			}
		}
	default:
		for i := 1; i < len(l.text); i++ {
			if p.begins[l.text[i]] && p.matches(l, i) {
				return true
			}
		}
	}
	return false
}
