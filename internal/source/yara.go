package source

import (
	"bytes"
	"regexp"
	"strings"

	"spoor/internal/intel"
)

// yaraRule is the head of a YARA rule.
var yaraRule = regexp.MustCompile(`(?m)^[ \t]*(?:(?:private|global)[ \t]+)*rule[ \t]+[A-Za-z_]\w*[ \t]*(?::[^{\n]*)?\{?`)

// yaraStart is how a file of rules begins, behind its comments.
var yaraStart = regexp.MustCompile(`^(?:import\s+"|include\s+"|(?:(?:private|global)\s+)*rule\s+[A-Za-z_]\w*\s*[:{\r\n/])`)

// sniffYARA is sure of a file that begins with a rule, or with what may stand before rules.
func sniffYARA(s *sample) int {
	rest := s.trimmed
	for {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		var end []byte
		switch {
		case bytes.HasPrefix(rest, []byte("//")):
			end = []byte("\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			end = []byte("*/")
		case yaraStart.Match(rest) && yaraRule.Match(rest):
			return 80
		default:
			return 0
		}
		_, after, ok := bytes.Cut(rest, end)
		if !ok {
			return 0
		}
		rest = after
	}
}

// readYARA reads the rules' own words about files: a "hash", "md5", "sha256" or "sample" among the meta of a rule is a file that the rule
// finds. It is listed, with the rule's name as threat and as detection; the rule's reference is a publication. No other hex names a file: not that of strings
// and conditions, nor that of comments. Records are rules.
func readYARA(r *reader) error {
	y := &yara{r: r, feed: r.feed("")}
	err := r.eachRaw(y.line)
	if err != nil {
		return err
	}
	return y.end()
}

// yara is the reading of a file of rules.
type yara struct {
	r       *reader
	feed    string
	comment bool   // within one of several lines
	depth   int    // of braces
	section string // of the rule: meta, strings, condition
	word    string // the one before
	key     string // of meta, whose value comes next
	named   bool   // the word "rule" was read, its name comes next

	rule   string // "" outside of rules
	hashes []yaraHash
	title  string
	links  []string
	since  string
}

type yaraHash struct {
	value string
	line  int64
}

// maxRuleHashes bounds the files that one rule names.
const maxRuleHashes = 10_000

// line reads one line: words, texts in quotes, and marks.
func (y *yara) line(line []byte) error {
	for i := 0; i < len(line); {
		if y.comment {
			end := bytes.Index(line[i:], []byte("*/"))
			if end < 0 {
				return nil
			}
			y.comment, i = false, i+end+2
			continue
		}
		c := line[i]
		switch {
		case c == '/' && i+1 < len(line) && line[i+1] == '/':
			return nil
		case c == '/' && i+1 < len(line) && line[i+1] == '*':
			y.comment = true
			i += 2
		case c == '/' && y.section != "meta": // a regular expression, which may hold quotes and braces
			i++
			if end := unescaped(line[i:], '/'); end >= 0 {
				i += end + 1
			}
		case c == '"':
			i++
			end := unescaped(line[i:], '"')
			if end < 0 {
				end = len(line) - i
			}
			y.value(string(line[i : i+end]))
			i = min(i+end+1, len(line))
		case wordByte[c]:
			start := i
			for i < len(line) && wordByte[line[i]] {
				i++
			}
			if err := y.token(string(line[start:i])); err != nil {
				return err
			}
		default:
			if err := y.mark(c); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// unescaped finds a mark that no backslash stands before, -1 for none.
func unescaped(text []byte, mark byte) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case mark:
			return i
		}
	}
	return -1
}

func (y *yara) token(word string) error {
	y.key = ""
	switch {
	case y.named:
		y.named, y.rule, y.section = false, word, ""
		y.r.result.Records++
	case word == "rule" && y.section != "strings" && (y.depth == 0 || y.section == "condition"):
		// Within a rule it is one whose braces do not pair; a new one begins.
		y.depth = 0
		if err := y.end(); err != nil {
			return err
		}
		y.named = true
	}
	y.word = word
	return nil
}

func (y *yara) mark(c byte) error {
	switch c {
	case '{':
		y.depth++
	case '}':
		if y.depth--; y.depth <= 0 {
			y.depth = 0
			if err := y.end(); err != nil {
				return err
			}
		}
	case ':':
		if y.word == "meta" || y.word == "strings" || y.word == "condition" {
			y.section = y.word
		}
	case '=':
		if y.section == "meta" {
			y.key = y.word
		}
	}
	if c != ' ' && c != '\t' && c != '\r' {
		y.word = ""
	}
	return nil
}

// value takes a text of the rule's meta.
func (y *yara) value(s string) {
	key := strings.ToLower(y.key)
	if y.key = ""; y.section != "meta" || y.rule == "" || key == "" {
		return
	}
	switch plain := strings.TrimRight(key, "0123456789_"); {
	case yaraHashKey(key):
		if len(y.hashes) < maxRuleHashes {
			y.hashes = append(y.hashes, yaraHash{cutText(s, 1024), y.r.in.number})
		}
	case plain == "description" && y.title == "":
		y.title = yaraEscapes.Replace(s)
	case (plain == "reference" || plain == "references" || plain == "ref" || plain == "url" || plain == "report") && len(y.links) < intel.MaxTags:
		if _, link := linkIn(s); link != "" && !sampleLink(link) {
			y.links = append(y.links, link)
		}
	case (plain == "date" || plain == "creation_date") && y.since == "":
		y.since = s
	}
}

// yaraEscapes are how a text in quotes holds a quote and a backslash.
var yaraEscapes = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\t`, " ", `\n`, " ")

// yaraHashKey reports whether a name among the meta says that its value is the hash of a file that the rule is about: each of its words is one of
// a few, so that "parent_hash", "fp_hash" and "imphash" are none.
func yaraHashKey(key string) bool {
	hash := false
	for word := range strings.SplitSeq(key, "_") {
		switch strings.TrimRight(word, "0123456789") {
		case "hash", "hashes", "md", "sha", "sample", "samples", "filehash", "samplehash":
			hash = true
		case "", "file", "reference", "malware", "original", "source":
		default:
			return false
		}
	}
	return hash
}

// end tells of the rule that was read.
func (y *yara) end() error {
	rule, hashes := y.rule, y.hashes
	if rule == "" {
		return nil
	}
	l := listed{threat: rule, engine: "YARA"}
	l.since, _ = parseTime(y.since)
	for _, link := range y.links {
		if p, ok := report(y.title, link); ok {
			l.reports = append(l.reports, p)
		}
	}
	y.rule, y.section, y.title, y.since, y.links, y.hashes = "", "", "", "", nil, y.hashes[:0]
	used := false
	found := foundHashes{}
	for _, h := range hashes {
		found.reset()
		found.add([]byte(h.value))
		for _, n := range found.wrong {
			y.r.refuseCut(h.line, "meta", n)
		}
		for _, l.file = range found.files() {
			used = true
			if err := y.r.listFile(h.line, y.feed, &l); err != nil {
				return err
			}
		}
	}
	if used {
		y.r.result.Used++
	} else {
		y.r.result.Other++
	}
	return nil
}
