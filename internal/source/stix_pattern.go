package source

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stixTest is one comparison of a STIX pattern.
type stixTest struct {
	object string   // the type of object, in lower case: "file"
	path   []string // the property, step by step; a list index stands as "*" or a number in a step of its own
	op     string   // "=", "!=", "<", "IN", "LIKE", "MATCHES", …
	not    bool
	values []string // one, or those of a set
}

// stixExpression is a comparison expression: a test, or the joining of others.
type stixExpression struct {
	test *stixTest // nil for a joining
	or   bool      // alternatives; else all of them hold
	of   []*stixExpression
}

// The bounds of a pattern.
const (
	maxPatternDepth  = 64
	maxPatternValues = 100_000 // tests and values of sets
)

// parseStixPattern reads a pattern of STIX 2 (https://docs.oasis-open.org/cti/stix/v2.1, section 9) and returns the comparison expression of each of
// its observation expressions. How these are joined, and their qualifiers, are checked and not kept: they say when things are seen, not what they are.
//
//	pattern     = ordered { "FOLLOWEDBY" ordered }
//	ordered     = all { "OR" all }
//	all         = observation { "AND" observation }
//	observation = ( "[" comparison "]" | "(" pattern ")" ) { qualifier }
//	qualifier   = "WITHIN" number "SECONDS" | "REPEATS" number "TIMES" | "START" time "STOP" time
//	comparison  = both { "OR" both }
//	both        = test { "AND" test }
//	test        = "(" comparison ")" | [ "NOT" ] "EXISTS" path | path [ "NOT" ] operator value
//	path        = type ":" step { "." step | "[" ( number | "*" ) "]" }
//
// Keywords are taken in either case, and quotes of a step may be double, as early exporters wrote them.
func parseStixPattern(pattern string) ([]*stixExpression, error) {
	p := &stixParser{text: pattern}
	if p.next(); p.err == nil {
		p.pattern(0)
	}
	if p.err == nil && p.token.kind != stixEnd {
		p.fail("%s does not belong there", p.token)
	}
	return p.found, p.err
}

type stixTokenKind uint8

const (
	stixEnd     stixTokenKind = iota
	stixWord                  // a name, keyword or number
	stixText                  // '…'
	stixQuoted                // "…"
	stixLiteral               // t'…', h'…', b'…'
	stixMark                  // [ ] ( ) : . , * and comparison operators
)

type stixToken struct {
	kind stixTokenKind
	text string
	at   int
}

func (t stixToken) String() string {
	if t.kind == stixEnd {
		return "the end"
	}
	return fmt.Sprintf("%.40q", t.text)
}

type stixParser struct {
	text  string
	at    int
	token stixToken // the next
	found []*stixExpression
	size  int
	err   error
}

func (p *stixParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at character %d: %w", p.token.at+1, fmt.Errorf(format, args...))
	}
	p.token = stixToken{kind: stixEnd, at: p.token.at}
}

// next reads a token.
func (p *stixParser) next() {
	if p.err != nil {
		return
	}
	for p.at < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.at:])
		if !unicode.IsSpace(r) && r != '\uFEFF' && r != '\u200B' {
			break
		}
		p.at += n
	}
	start := p.at
	p.token = stixToken{kind: stixEnd, at: start}
	if start == len(p.text) {
		return
	}
	c := p.text[start]
	switch {
	case c == '\'':
		p.quoted(stixText, '\'')
	case c == '"':
		p.quoted(stixQuoted, '"')
	case (c == 't' || c == 'h' || c == 'b') && start+1 < len(p.text) && p.text[start+1] == '\'':
		p.at++
		if p.quoted(stixLiteral, '\''); p.err == nil && c == 'h' && (len(p.token.text)%2 != 0 || !isHex([]byte(p.token.text))) {
			p.fail("%s is no hex", p.token)
		}
	case stixWordByte(c):
		for p.at < len(p.text) && stixWordByte(p.text[p.at]) {
			p.at++
		}
		p.token = stixToken{stixWord, p.text[start:p.at], start}
	case strings.IndexByte("[]():.,*", c) >= 0:
		p.at++
		p.token = stixToken{stixMark, p.text[start:p.at], start}
	case strings.IndexByte("=!<>", c) >= 0:
		for p.at < len(p.text) && p.at < start+2 && strings.IndexByte("=!<>", p.text[p.at]) >= 0 {
			p.at++
		}
		p.token = stixToken{stixMark, p.text[start:p.at], start}
	default:
		r, _ := utf8.DecodeRuneInString(p.text[start:])
		p.fail("%q does not belong there", r)
	}
}

func stixWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '+'
}

// quoted reads a text in quotes, in which a backslash stands before a quote or a backslash.
func (p *stixParser) quoted(kind stixTokenKind, quote byte) {
	start := p.at
	p.at++
	var b strings.Builder
	for from := p.at; p.at < len(p.text); {
		switch c := p.text[p.at]; c {
		case quote:
			b.WriteString(p.text[from:p.at])
			p.at++
			p.token = stixToken{kind, b.String(), start}
			return
		case '\\':
			b.WriteString(p.text[from:p.at])
			if p.at++; p.at < len(p.text) && p.text[p.at] != quote && p.text[p.at] != '\\' {
				b.WriteByte('\\') // exporters that do not escape: C:\Windows
			}
			from = p.at
			if p.at < len(p.text) {
				p.at++
			}
		default:
			p.at++
		}
	}
	p.token.at = start
	p.fail("a text without its end")
}

// is reports whether the next token is this mark or keyword.
func (p *stixParser) is(s string) bool {
	switch p.token.kind {
	case stixWord:
		return strings.EqualFold(p.token.text, s)
	case stixMark:
		return p.token.text == s
	}
	return false
}

// take passes the next token when it is this mark or keyword.
func (p *stixParser) take(s string) bool {
	if !p.is(s) {
		return false
	}
	p.next()
	return true
}

func (p *stixParser) need(s string) {
	if !p.take(s) {
		p.fail("%s instead of %q", p.token, s)
	}
}

// pattern reads observation expressions. That AND binds closer than OR, and OR closer than FOLLOWEDBY, is of no account here.
func (p *stixParser) pattern(depth int) {
	for p.observation(depth); p.err == nil && (p.take("AND") || p.take("OR") || p.take("FOLLOWEDBY")); {
		p.observation(depth)
	}
}

func (p *stixParser) observation(depth int) {
	switch {
	case depth > maxPatternDepth:
		p.fail("nested too deeply")
	case p.take("["):
		e := p.comparison(depth + 1)
		if p.need("]"); p.err == nil {
			p.found = append(p.found, e)
		}
	case p.take("("):
		p.pattern(depth + 1)
		p.need(")")
	default:
		p.fail("%s instead of \"[\"", p.token)
	}
	for p.err == nil {
		switch {
		case p.take("WITHIN"):
			p.number()
			p.need("SECONDS")
		case p.take("REPEATS"):
			p.number()
			p.need("TIMES")
		case p.take("START"):
			p.time()
			p.need("STOP")
			p.time()
		default:
			return
		}
	}
}

func (p *stixParser) number() {
	if p.token.kind != stixWord || strings.Trim(p.token.text, "0123456789+") != "" {
		p.fail("%s instead of a number", p.token)
		return
	}
	if p.next(); p.take(".") && p.token.kind == stixWord {
		p.next()
	}
}

func (p *stixParser) time() {
	if p.token.kind != stixLiteral && p.token.kind != stixText { // STIX 2.0 had plain texts
		p.fail("%s instead of a time", p.token)
		return
	}
	p.next()
}

func (p *stixParser) comparison(depth int) *stixExpression {
	return p.joined("OR", func() *stixExpression {
		return p.joined("AND", func() *stixExpression { return p.one(depth) })
	})
}

// joined reads one or more expressions with a keyword between them.
func (p *stixParser) joined(keyword string, read func() *stixExpression) *stixExpression {
	e := read()
	if p.err != nil || !p.is(keyword) {
		return e
	}
	all := &stixExpression{or: keyword == "OR", of: []*stixExpression{e}}
	for p.err == nil && p.take(keyword) {
		all.of = append(all.of, read())
	}
	return all
}

func (p *stixParser) one(depth int) *stixExpression {
	if depth > maxPatternDepth {
		p.fail("nested too deeply")
		return nil
	}
	if p.take("(") {
		e := p.comparison(depth + 1)
		p.need(")")
		return e
	}
	if p.size++; p.size > maxPatternValues {
		p.fail("more than %d comparisons", maxPatternValues)
		return nil
	}
	t := &stixTest{not: p.take("NOT")}
	if p.take("EXISTS") {
		t.op = "EXISTS"
		p.path(t)
		return &stixExpression{test: t}
	}
	p.path(t)
	if p.take("NOT") {
		t.not = !t.not
	}
	p.operator(t)
	return &stixExpression{test: t}
}

func (p *stixParser) path(t *stixTest) {
	if p.token.kind != stixWord {
		p.fail("%s instead of an object's path", p.token)
		return
	}
	t.object = strings.ToLower(p.token.text)
	p.next()
	p.need(":")
	for p.err == nil {
		switch p.token.kind {
		case stixWord, stixText, stixQuoted:
			t.path = append(t.path, p.token.text)
			p.next()
		default:
			p.fail("%s instead of a property", p.token)
		}
		for p.err == nil && p.take("[") {
			switch {
			case p.is("*"), p.token.kind == stixWord && strings.Trim(p.token.text, "0123456789-") == "":
				t.path = append(t.path, p.token.text)
				p.next()
			default:
				p.fail("%s instead of an index", p.token)
			}
			p.need("]")
		}
		if !p.take(".") {
			return
		}
	}
}

var errNoOperator = errors.New("no comparison; one of = != < <= > >= IN LIKE MATCHES ISSUBSET ISSUPERSET is")

func (p *stixParser) operator(t *stixTest) {
	for _, op := range []string{"=", "==", "!=", "<>", "<", "<=", ">", ">=", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"} {
		if p.take(op) {
			t.op = strings.ReplaceAll(op, "==", "=")
			p.value(t)
			return
		}
	}
	if !p.take("IN") {
		p.fail("%s: %w", p.token, errNoOperator)
		return
	}
	t.op = "IN"
	p.need("(")
	for p.value(t); p.err == nil && p.take(","); {
		p.value(t)
	}
	p.need(")")
}

// value reads a literal: a text, number, true or false, time, hex or binary.
func (p *stixParser) value(t *stixTest) {
	if p.size++; p.size > maxPatternValues {
		p.fail("more than %d values", maxPatternValues)
		return
	}
	switch p.token.kind {
	case stixText, stixQuoted, stixLiteral:
		t.values = append(t.values, p.token.text)
		p.next()
	case stixWord: // a number or a truth; "1.5" is three tokens
		text := p.token.text
		if strings.Trim(text, "0123456789+-") != "" && !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
			p.fail("%s instead of a value in quotes", p.token)
			return
		}
		if p.next(); p.take(".") && p.token.kind == stixWord {
			text += "." + p.token.text
			p.next()
		}
		t.values = append(t.values, text)
	default:
		p.fail("%s instead of a value", p.token)
	}
}
