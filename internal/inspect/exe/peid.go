package exe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"spoor/internal/intel"
)

// Bounds of an operator's signatures.
const (
	MaxPatternText  = 16 << 20 // bytes of the file
	maxPatterns     = 1 << 16
	maxPatternBytes = 2048
	maxRefused      = 20 // signatures that are refused by name
)

// Patterns are signatures of packers in the form of PEiD's userdb.txt, which an operator may bring. All are looked for at the entry point;
// those that say ep_only = false too.
type Patterns struct {
	byFirst [256][]peidPattern
	any     []peidPattern // whose first byte is open
	count   int
	text    string // what they were read from
}

type peidPattern struct {
	name string
	want []byte
	mask []byte // bits that count
}

// Len returns how many signatures there are.
func (p *Patterns) Len() int { return p.count }

// MarshalJSON writes them as the text they were read from, for a process that is started to use them.
func (p *Patterns) MarshalJSON() ([]byte, error) { return json.Marshal(p.text) }

// UnmarshalJSON reads what [Patterns.MarshalJSON] wrote.
func (p *Patterns) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	read, _ := ParsePatterns([]byte(text)) // what is refused was told when it was read first
	*p = *read
	return nil
}

// ParsePatterns reads a userdb.txt. Signatures that cannot be read are left out and refused by their line.
func ParsePatterns(text []byte) (*Patterns, []*intel.Refusal) {
	p := &Patterns{text: strings.ToValidUTF8(string(text), "\uFFFD")}
	var refused []*intel.Refusal
	more := 0
	refuse := func(line int, reason string) {
		if len(refused) < maxRefused {
			refused = append(refused, &intel.Refusal{Line: int64(line), Reason: reason})
		} else {
			more++
		}
	}
	text = bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))
	name := ""
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == ';':
		case line[0] == '[':
			end := bytes.LastIndexByte(line, ']')
			if end < 1 {
				end = len(line)
			}
			name = clean(string(line[1:end]))
		default:
			key, value, ok := bytes.Cut(line, []byte("="))
			if !ok || !strings.EqualFold(string(bytes.TrimSpace(key)), "signature") {
				continue
			}
			s, err := parseSignature(name, value)
			switch {
			case name == "":
				refuse(number, "a signature without a [name] above it")
				continue
			case err != nil:
				refuse(number, name+": "+err.Error())
				continue
			case p.count >= maxPatterns:
				refuse(number, fmt.Sprintf("more than %d signatures", maxPatterns))
				continue
			}
			p.count++
			if s.mask[0] == 0xFF {
				p.byFirst[s.want[0]] = append(p.byFirst[s.want[0]], s)
			} else {
				p.any = append(p.any, s)
			}
		}
	}
	if more > 0 {
		refused = append(refused, &intel.Refusal{Reason: fmt.Sprintf("%d more signatures cannot be read", more)})
	}
	return p, refused
}

func parseSignature(name string, text []byte) (peidPattern, error) {
	s := peidPattern{name: name}
	fixed := 0
	for f := range bytes.FieldsSeq(text) {
		for len(f) > 0 {
			if len(f) == 1 {
				return s, fmt.Errorf("%q is no byte", f)
			}
			var want, mask byte
			for _, c := range f[:2] {
				want, mask = want<<4, mask<<4
				switch {
				case c >= '0' && c <= '9':
					want, mask = want|(c-'0'), mask|15
				case c >= 'a' && c <= 'f':
					want, mask = want|(c-'a'+10), mask|15
				case c >= 'A' && c <= 'F':
					want, mask = want|(c-'A'+10), mask|15
				case c == '?' || c == ':' || c == 'x' || c == 'X':
				default:
					return s, fmt.Errorf("%q is no byte", f[:2])
				}
			}
			if mask == 0xFF {
				fixed++
			}
			s.want, s.mask = append(s.want, want), append(s.mask, mask)
			f = f[2:]
			if len(s.want) > maxPatternBytes {
				return s, fmt.Errorf("longer than %d bytes", maxPatternBytes)
			}
		}
	}
	if fixed < 3 {
		return s, fmt.Errorf("%d fixed bytes; at least 3", fixed)
	}
	return s, nil
}

// Match returns the name of the longest signature that code begins with, "" when none does.
func (p *Patterns) Match(code []byte) string {
	if len(code) == 0 {
		return ""
	}
	best, most := "", 0
	for _, list := range [][]peidPattern{p.byFirst[code[0]], p.any} {
		for i := range list {
			s := &list[i]
			if len(s.want) > most && s.match(code) {
				best, most = s.name, len(s.want)
			}
		}
	}
	return best
}

func (s *peidPattern) match(code []byte) bool {
	if len(code) < len(s.want) {
		return false
	}
	for i, m := range s.mask {
		if code[i]&m != s.want[i]&m {
			return false
		}
	}
	return true
}
