package source

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"spoor/internal/intel"
)

// FindHashes returns the hashes that stand in any text, in order, repeats included: runs of hex digits of exactly the right length with no
// letter or digit beside them. What is named an imphash or an authentihash is passed over: it is not a file's hash.
func FindHashes(text []byte) []intel.Hash {
	var found []intel.Hash
	eachHexRun(text, func(h intel.Hash, _, _ int) {
		if !h.IsZero() {
			found = append(found, h)
		}
	})
	return found
}

// eachHexRun calls f for every run of hex digits that is a hash, and with the zero Hash for one that is nearly a hash; it is text[start:end].
func eachHexRun(text []byte, f func(h intel.Hash, start, end int)) {
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
				f(h, i-n-len(word), i-n)
			}
		case 30, 31, 33, 38, 39, 41, 62, 63, 65:
			if isHex(word) && !otherDigest(text[:start]) {
				f(intel.Hash{}, i-n-len(word), i-n)
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

// inAddress reports whether text[start:end] is a piece of a web address: of the path of a URL, or of a domain's name. There it names a file only in
// the address of a collection of samples.
func inAddress(text []byte, start, end int) bool {
	joint := func(c byte) bool { return c > ' ' && strings.IndexByte("./=-?&%#~+:@]", c) >= 0 }
	if !(start > 0 && joint(text[start-1])) && !(end < len(text) && text[end] > ' ' && strings.IndexByte("./?&%#~-[", text[end]) >= 0) {
		return false
	}
	const stops = " \t\r\n\"'<>()`|,;{}"
	from := max(0, start-1024)
	if i := bytes.LastIndexAny(text[from:start], stops); i >= 0 {
		from += i + 1
	}
	if scheme := addressBegin.FindIndex(text[from:start]); scheme != nil {
		address, _ := refang(string(text[from+scheme[0] : start]))
		return !sampleLink(address) || strings.Contains(address, "/url/") || strings.Contains(address, "/collection/") || strings.Contains(address, "/graph/")
	}
	to := min(len(text), end+1024)
	if i := bytes.IndexAny(text[end:to], stops); i >= 0 {
		to = end + i
	}
	token := string(text[from:to])
	if !strings.Contains(token, ".") || strings.HasPrefix(token, ".") {
		return false
	}
	_, ok := listAddress(strings.TrimRight(token, ".:"), false)
	return ok
}

// addressBegin is the scheme of a URL, which may be written so that nothing follows it.
var addressBegin = regexp.MustCompile(`(?i)(?:h..ps?|ftps?|fxp|wss?|tcp)(?:://|\[:\]//|\[://\]|\[:/\]/)`)

// readHashList reads a list as the listings of a feed: each line's hashes, or the address that it begins with. Different kinds of hash on one
// line name one file; only what one line states together is tied together. After the entry there may be a comment, as "HASH;comment - https://report"
// has it: its words name the threat, its link is a publication. A line of words that say that what follows is no file's hash, such as a key or
// "certificates:", holds up to the next line of words. In a report, a heading and the link that its words give are the publication that names the
// hashes below; such a link is no entry of the list.
func readHashList(r *reader) error {
	feed := r.feed("")
	if head, _ := r.in.Peek(sniffed); isLicence(r.name, head) {
		return r.each(func([]byte, int64) error { r.result.Other++; return nil })
	}
	found := foundHashes{}
	no := listOfCertificates(r.name)
	var about reportPart
	table := newReportTable(r, feed)
	var before struct { // the line before
		bars   int
		number int64
	}
	err := r.each(func(line []byte, number int64) error {
		if taken, err := table.take(line, number, &about, no); taken || err != nil {
			return err
		}
		found.reset()
		found.add(line)
		if about.line(line, len(found.all) > 0) {
			r.result.Other++
			return nil
		}
		bars := bytes.Count(line, []byte("|"))
		row := bars > 1 && bars == before.bars && number == before.number+1
		before.bars, before.number = bars, number
		if line[0] == '#' && !row { // a row of the kind of the one before may begin with such a name
			if headingLine(line) {
				no = namesNoFile(string(line))
			}
			r.result.Other++
			return nil
		}
		if bytes.IndexByte(line, ';') >= 0 && fileNamePattern.Match(line) {
			r.result.Other++
			return nil
		}
		for _, n := range found.wrong {
			r.refuseCut(number, "", n)
		}
		if len(found.all) == 0 {
			if line[0] == '|' {
				return addressCells(r, line, number, feed)
			}
			address, threat := addressLine(string(line))
			if address == "" || sampleLink(address) {
				if len(found.wrong) == 0 && headingLine(line) {
					no = namesNoFile(string(line))
				}
				r.result.Other++
				return nil
			}
			about.prose = false
			r.result.Used++
			return r.list(number, feed, entry{address: address, threat: threat})
		}
		if no {
			r.result.Other++
			return nil
		}
		r.result.Used++
		l := listed{reports: about.publication}
		if i := bytes.IndexByte(line, ';'); i >= 0 && i <= 64 {
			comment := string(line[i+1:])
			if isComment(comment) { // a hash in it is of another file
				found.reset()
				found.add(line[:i])
			}
			before, link := linkIn(comment)
			if isComment(before) {
				l.threat = strings.Trim(strings.TrimSpace(before), " -;:(<[")
			}
			if link != "" && !sampleLink(link) {
				if p, ok := report(l.threat, link); ok {
					l.reports = append(l.reports, p)
				}
			}
		}
		for _, l.file = range found.files() {
			if err := r.listFile(number, feed, &l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return table.flush(no)
}

// isComment reports whether what follows an entry holds a word that is no hash.
func isComment(s string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == ';' || c == ',' || c == '\t' }), func(w string) bool {
		return strings.ContainsFunc(w, unicode.IsLetter) && !isHex([]byte(w))
	})
}

// licenceTitles are words at the top of the licences that lie beside public lists.
var licenceTitles = regexp.MustCompile(`(?i)apache license|permission is hereby granted|redistribution and use in source and binary|gnu (?:lesser |affero )?general public license|` +
	`creative commons|detection rule license|mozilla public license|this is free and unencumbered software|by exercising the licensed rights`)

// isLicence reports whether a text without hashes is a licence, by its name or its beginning: the addresses in it are no indicators.
func isLicence(name string, head []byte) bool {
	base := strings.ToLower(intel.BaseName(name[strings.LastIndexByte(name, '!')+1:]))
	stem, _, _ := strings.Cut(base, ".")
	named := stem == "license" || stem == "licence" || stem == "copying" || stem == "copyright" || stem == "notice" || strings.HasPrefix(stem, "license-") || strings.HasPrefix(stem, "licence-")
	return (named || licenceTitles.Match(head[:min(len(head), 4096)]) && !bytes.Contains(head, []byte("[.]"))) && len(FindHashes(head)) == 0
}

// reportPart follows a report: what its last heading and the link below that say of the lines to come.
type reportPart struct {
	heading     string // that has no link yet
	prose       bool   // the line before was a sentence
	asciidoc    bool   // a heading of AsciiDoc was met
	code        string // the mark that ends the block of code that the lines are in
	publication []intel.Publication
}

// line takes notice of a line, of which it is known whether it holds hashes, and reports whether it is a link to the report and nothing else.
func (p *reportPart) line(line []byte, hashes bool) (link bool) {
	wasProse := p.prose
	p.prose = false
	if p.fence(line) {
		return false
	}
	if level := headingOf(line); level > 0 {
		p.asciidoc = p.asciidoc || line[0] == '='
		if text := strings.TrimSpace(strings.Trim(string(line), "=# ")); level <= 2 && !plainHeading(text) {
			p.heading = text
		}
		return false
	}
	if hashes || line[0] == '|' || line[0] == ':' { // a colon begins an attribute of AsciiDoc
		return false
	}
	text := string(line[:min(len(line), 2048)])
	before, address := linkIn(text)
	rest := text[len(before)+len(address):]
	if _, path, _ := strings.Cut(strings.TrimSuffix(address, "/"), "://"); !strings.Contains(path, "/") {
		if _, next := linkIn(rest); next != "" { // the site where the report is, then the report
			address, rest = next, rest[strings.Index(rest, next)+len(next):]
		}
	}
	spaces := strings.Count(before, " ")
	p.prose = spaces >= 4 || wasProse && spaces > 0
	alone := strings.Trim(strings.Replace(string(line), address, "", 1), " -*<>()[].,:") == ""
	labelled := strings.HasPrefix(rest, "[") // AsciiDoc's text of a link
	if address == "" || alone && !wasProse && !labelled {
		return false
	}
	if _, path, _ := strings.Cut(strings.TrimSuffix(address, "/"), "://"); p.heading != "" && strings.Contains(path, "/") && !sampleLink(address) {
		if made, ok := report(p.heading, address); ok {
			p.publication, p.heading = []intel.Publication{made}, ""
		}
	}
	return alone || labelled
}

// plainWords are those of headings that only say what kind of thing comes; they are no report's title.
var plainWords = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq("file files sample samples hash hashes md5 sha1 sha256 ioc iocs indicator indicators of compromise network host based and or the detection detections " +
		"name names eset obsolete old new yara snort rule rules domain domains ip address addresses url urls c2 c c2s server servers certificate certificates reference references readme notes " +
		"mitre att ck techniques table contents summary introduction overview list related other others additional appendix malware filenames paths") {
		m[w] = true
	}
	return m
}()

// plainHeading reports whether a heading's words are all of that kind.
func plainHeading(s string) bool {
	plain := true
	words(s, func(w string) bool { plain = plainWords[w]; return plain })
	return plain
}

// fence reports whether a line is in a block of code, or begins or ends one: of Markdown between ```, of AsciiDoc between lines of dashes or dots.
func (p *reportPart) fence(line []byte) bool {
	switch {
	case p.code != "" && (string(line) == p.code || line[0] == '=' && headingOf(line) > 0): // a heading that is no comment of code: the end was forgotten
		p.code = ""
		return line[0] != '='
	case p.code != "":
	case bytes.HasPrefix(line, []byte("```")):
		p.code = "```"
	case p.asciidoc && len(line) >= 4 && len(line) < 200 && (line[0] == '-' || line[0] == '.') && len(bytes.Trim(line, string(line[:1]))) == 0:
		p.code = string(line)
	}
	return p.code != ""
}

// headingOf returns the level of a line that is a heading of AsciiDoc or Markdown, 0 of another.
func headingOf(line []byte) int {
	if line[0] != '=' && line[0] != '#' || len(line) > 300 {
		return 0
	}
	if text := bytes.TrimLeft(line, "=#"); len(text) > 0 && text[0] == ' ' {
		return len(line) - len(text)
	}
	return 0
}

// fileNamePattern is a line of a list of file names as signature-base has it, a regular expression and a score; a hash in it is part of a name.
var fileNamePattern = regexp.MustCompile(`^[^;]*[\\\\.()$^][^;]*;[0-9]{1,3}(;|$)`)

// headingLine reports whether a line without an entry is a few words that may say what the next lines are.
func headingLine(line []byte) bool {
	line = bytes.TrimLeft(line, "=# \t*") // marks of a heading
	return len(line) < 80 && bytes.IndexByte(line, '=') < 0 && bytes.ContainsFunc(line, unicode.IsLetter) &&
		!slices.ContainsFunc(bytes.Fields(line), func(w []byte) bool { return len(w) > 24 || len(w) >= 8 && isHex(w) })
}

// addressCells tells of the addresses that are whole cells of a row of a Markdown or AsciiDoc table.
func addressCells(r *reader, row []byte, number int64, feed string) error {
	used := false
	for cell := range bytes.SplitSeq(row, []byte{'|'}) {
		address, ok := listAddress(string(trimMarks(cell)), false)
		if !ok {
			continue
		}
		used = true
		if err := r.list(number, feed, entry{address: address}); err != nil {
			return err
		}
	}
	if used {
		r.result.Used++
	} else {
		r.result.Other++
	}
	return nil
}

// listOfCertificates reports whether an input's own name says that it lists certificates: nothing else tells their hashes from those of files.
func listOfCertificates(name string) (yes bool) {
	words(strings.ReplaceAll(intel.BaseName(name[strings.LastIndexByte(name, '!')+1:]), "_", " "), func(w string) bool {
		yes = w == "cert" || w == "certs" || w == "certificate" || w == "certificates" || w == "thumbprints"
		return !yes
	})
	return yes
}

// addressLine returns the address that a line of a list is, or begins with before a comment.
func addressLine(line string) (address, threat string) {
	line = strings.TrimSpace(strings.TrimLeft(line, "-*•> \t'\"`"))
	end := strings.IndexFunc(line, func(c rune) bool { return c <= ' ' || c == '\u00a0' || c == '|' || c == '`' || c == '"' || c == '\'' })
	rest := ""
	if end >= 0 {
		line, rest = line[:end], strings.TrimSpace(line[end:])
	}
	if !strings.Contains(line, "://") {
		if i := strings.IndexAny(line, ";,"); i > 0 {
			line, rest = line[:i], line[i+1:]+" "+rest
		}
	}
	line = strings.TrimRight(line, ",;:")
	a, ok := listAddress(line, false)
	if !ok {
		return "", ""
	}
	rest = strings.TrimSpace(rest)
	if c, _ := utf8.DecodeRuneInString(rest); rest != "" && unicode.IsLetter(c) && end >= 0 && !strings.Contains(line, "://") {
		// A name that words follow may begin a sentence; an IP address or what was defanged does not.
		host, _, _ := strings.Cut(a, ":")
		if _, defanged := refang(line); !defanged && !intel.IsIP(host) {
			return "", ""
		}
	}
	before, _ := linkIn(rest)
	return a, cutText(strings.Trim(before, " -–#;:,(|)<[\"'`"), maxThreat)
}
