package signature

import (
	"encoding/asn1"
	"errors"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// The universal tags that signatures are made of.
const (
	tagBoolean   = 1
	tagInteger   = 2
	tagBits      = 3
	tagOctets    = 4
	tagOID       = 6
	tagSequence  = 16
	tagSet       = 17
	tagBMPString = 30
)

// maxNesting bounds constructed values of indefinite length in each other.
const maxNesting = 24

var errDER = errors.New("malformed DER")

// element is one value of the encoding. It points into the bytes that it was read from.
type element struct {
	class       byte // 0 universal, 2 context-specific
	tag         uint32
	constructed bool
	raw         []byte // all of it
	body        []byte // without tag and length
}

func (e *element) is(tag uint32) bool      { return e.class == 0 && e.tag == tag }
func (e *element) context(tag uint32) bool { return e.class == 2 && e.tag == tag }
func (e *element) inside() *der            { return &der{b: e.body} }

// header reads tag and length: how long the header is and the body, -1 for one of indefinite length.
func header(b []byte) (e element, head, length int, err error) {
	if len(b) < 2 {
		return e, 0, 0, errDER
	}
	e.class, e.constructed, e.tag = b[0]>>6, b[0]&0x20 != 0, uint32(b[0]&0x1f)
	at := 1
	if e.tag == 0x1f {
		e.tag = 0
		for {
			if at >= len(b) || at > 4 {
				return e, 0, 0, errDER
			}
			c := b[at]
			at++
			e.tag = e.tag<<7 | uint32(c&0x7f)
			if c&0x80 == 0 {
				break
			}
		}
	}
	if at >= len(b) {
		return e, 0, 0, errDER
	}
	c := b[at]
	at++
	switch {
	case c < 0x80:
		length = int(c)
	case c == 0x80:
		if !e.constructed {
			return e, 0, 0, errDER
		}
		return e, at, -1, nil
	case c > 0x84:
		return e, 0, 0, errDER
	default:
		for range c & 0x7f {
			if at >= len(b) {
				return e, 0, 0, errDER
			}
			length = length<<8 | int(b[at])
			at++
		}
	}
	if length > len(b)-at {
		return e, 0, 0, errDER
	}
	return e, at, length, nil
}

// extent returns how many bytes the body of a value of indefinite length has, without its two closing zeros.
func extent(b []byte, depth int) (int, error) {
	if depth > maxNesting {
		return 0, errDER
	}
	for at := 0; ; {
		if len(b)-at >= 2 && b[at] == 0 && b[at+1] == 0 {
			return at, nil
		}
		_, head, length, err := header(b[at:])
		if err != nil {
			return 0, err
		}
		at += head
		if length < 0 {
			if length, err = extent(b[at:], depth+1); err != nil {
				return 0, err
			}
			length += 2
		}
		at += length
	}
}

// der reads one element after another: DER, and BER as signers of other systems write it. Its first error stays.
type der struct {
	b   []byte
	err error
}

func (d *der) more() bool { return d.err == nil && len(d.b) > 0 }

// next returns the next element, a zero one after an error.
func (d *der) next() element {
	if d.err != nil {
		return element{}
	}
	e, head, length, err := header(d.b)
	tail := 0
	if err == nil && length < 0 {
		length, err = extent(d.b[head:], 0)
		tail = 2
	}
	if err != nil {
		d.err = err
		return element{}
	}
	e.raw, e.body = d.b[:head+length+tail], d.b[head:head+length]
	d.b = d.b[head+length+tail:]
	return e
}

// want returns the next element, which must have a universal tag; a zero one when it has another.
func (d *der) want(tag uint32) element {
	e := d.next()
	if d.err == nil && !e.is(tag) {
		d.err = errDER
		return element{}
	}
	return e
}

// optional returns the next element if it has the context-specific tag.
func (d *der) optional(tag uint32) (element, bool) {
	if !d.more() || d.b[0]>>6 != 2 || uint32(d.b[0]&0x1f) != tag {
		return element{}, false
	}
	e := d.next()
	return e, d.err == nil
}

// oid returns the next element, an object identifier, in its encoded form.
func (d *der) oid() string { e := d.want(tagOID); return string(e.body) }

// algorithm returns the next element, an AlgorithmIdentifier.
func (d *der) algorithm() algorithm {
	e := d.want(tagSequence)
	if d.err != nil {
		return algorithm{}
	}
	in := e.inside()
	a := algorithm{oid: in.oid(), parameters: in.b}
	if in.err != nil {
		d.err = in.err
	}
	return a
}

type algorithm struct {
	oid        string // encoded
	parameters []byte // raw
}

// octets returns the bytes of an octet string, also of one in parts.
func octets(e *element) []byte {
	if !e.constructed {
		return e.body
	}
	var all []byte
	collectOctets(e, &all, 0)
	return all
}

func collectOctets(e *element, all *[]byte, depth int) {
	for in := e.inside(); in.more() && depth < maxNesting; {
		part := in.next()
		if part.constructed {
			collectOctets(&part, all, depth+1)
		} else {
			*all = append(*all, part.body...)
		}
	}
}

// id returns the encoded form of an object identifier that this program knows.
func id(arcs ...int) string {
	b, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil || len(b) < 2 {
		panic("signature: a wrong object identifier in the program")
	}
	return string(b[2:])
}

// dotted writes an encoded object identifier for a person.
func dotted(oid string) string {
	if len(oid) == 0 || len(oid) > 64 {
		return "unknown"
	}
	var o asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(append([]byte{tagOID, byte(len(oid))}, oid...), &o); err != nil {
		return "unknown"
	}
	return o.String()
}

// moment reads UTCTime and GeneralizedTime, with fractions of a second, which time stamps have.
func moment(e *element) (time.Time, bool) {
	s := string(e.body)
	if len(s) > 32 {
		return time.Time{}, false
	}
	var layouts []string
	switch {
	case e.is(23):
		layouts = []string{"060102150405Z", "0601021504Z", "060102150405-0700", "0601021504-0700"}
	case e.is(24):
		layouts = []string{"20060102150405Z", "20060102150405.999999999Z", "20060102150405-0700", "200601021504Z"}
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			if e.is(23) && t.Year() >= 2050 { // RFC 5280: 50 to 99 are of the last century; Go cuts at 69
				t = t.AddDate(-100, 0, 0)
			}
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// words returns the text of a character string as clean UTF-8.
func words(e *element) string {
	if e.is(tagBMPString) {
		return utf16BE(e.body)
	}
	if e.is(28) { // UniversalString
		var s strings.Builder
		for b := e.body; len(b) >= 4 && s.Len() < maxText; b = b[4:] {
			s.WriteRune(rune(b[0])<<24 | rune(b[1])<<16 | rune(b[2])<<8 | rune(b[3]))
		}
		return clean(s.String())
	}
	if !utf8.Valid(e.body) && (e.is(20) || e.is(19) || e.is(22)) { // TeletexString, and others used as if they were: Latin-1
		var s strings.Builder
		for _, c := range e.body[:min(len(e.body), maxText)] {
			s.WriteRune(rune(c))
		}
		return clean(s.String())
	}
	return clean(string(e.body[:min(len(e.body), maxText)]))
}

func utf16BE(b []byte) string {
	b = b[:min(len(b), 2*maxText)]
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, uint16(b[0])<<8|uint16(b[1]))
	}
	return clean(string(utf16.Decode(u)))
}

// maxText is the longest name that is taken from a file.
const maxText = 256

// clean makes text from a file fit to be kept and shown: valid UTF-8, no control characters, of bounded length.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError || (r >= 0x200b && r <= 0x200f) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.TrimSpace(s)
	for len(s) > maxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
