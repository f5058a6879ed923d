package source

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"spoor/internal/intel"
)

// listed is what one row or object of a list states of one file, beside that it is listed.
type listed struct {
	file      intel.Hashes
	zone      intel.Zone
	threat    string
	engine    string // who gave the threat its name; "" makes no detection of it
	since     time.Time
	attribute []intel.Attribute
	fuzzy     []intel.FuzzyHash
	from      []string // addresses that the file came from
	contacts  []string // addresses that the file contacts
	signature []intel.Signature
	reports   []intel.Publication
}

// maxThreat bounds a threat's name that is taken from a column or a comment; it is a name, not a text.
const maxThreat = 200

// name adds a file name; what is no name adds nothing.
func (l *listed) name(s string) {
	s = meaningful(s)
	if placeholder := len(s) > 1 && s[0] == '<' && s[len(s)-1] == '>'; s != "" && !placeholder && !strings.EqualFold(s, "unknown") && !strings.EqualFold(s, "none") {
		l.add(intel.OriginalName, intel.BaseName(s))
	}
}

// add adds an attribute; an empty one, and one that is there, add nothing.
func (l *listed) add(name intel.AttributeName, value string) {
	a := intel.Attribute{Name: name, Value: clean(meaningful(value))}
	if a.Value != "" && len(a.Value) <= intel.MaxText && !slices.Contains(l.attribute, a) {
		l.attribute = append(l.attribute, a)
	}
}

// size adds a size in bytes; what is no whole number adds nothing.
func (l *listed) size(s string) {
	if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil && n > 0 {
		l.add(intel.Size, strconv.FormatInt(n, 10))
	}
}

// resembles adds a fuzzy hash. TLSH is kept with the T1 before it, however it is written.
func (l *listed) resembles(a intel.FuzzyAlgorithm, s string) {
	switch s = meaningful(s); {
	case s == "" || len(s) > 1024 || strings.ContainsAny(s, " \t\x00") || strings.Trim(s, "0") == "" || !utf8.ValidString(s):
		return
	case a == intel.SSDeep:
		if strings.Count(s, ":") < 2 {
			return
		}
	case a == intel.TLSH:
		if s = strings.ToUpper(s); len(s) == 70 {
			s = "T1" + s
		}
		if len(s) != 72 || !isHex([]byte(s[2:])) {
			return
		}
	default:
		if s = strings.ToLower(s); !isHex([]byte(s)) {
			return
		}
	}
	l.fuzzy = append(l.fuzzy, intel.FuzzyHash{Algorithm: a, Value: s})
}

// signed adds who signed the file. A list does not check signatures, so that none is trusted for it; discredited says that it calls the certificate one
// that signs malware.
func (l *listed) signed(signer string, discredited bool) {
	f := intel.Signature{Signer: cutText(clean(meaningful(signer)), intel.MaxText), Status: intel.NotTrusted}
	if discredited {
		f.Status = intel.Discredited
	}
	if f.Signer != "" && !slices.Contains(l.signature, f) && len(l.signature) < maxSigners {
		l.signature = append(l.signature, f)
	}
}

// listFile tells of a file of a list: its listing, and all else that the row states of it.
func (r *reader) listFile(line int64, feed string, l *listed) error {
	l.threat = cutText(l.threat, maxThreat)
	if err := r.list(line, feed, entry{file: l.file, zone: l.zone, threat: l.threat, since: l.since}); err != nil {
		return err
	}
	tell := func(f intel.Fact) error {
		o := intel.Observation{Source: r.feedSource(feed), Time: r.o.Now, File: l.file, Fact: f}
		if !l.since.IsZero() {
			o.Time = l.since
		}
		return r.observe(line, &o)
	}
	if l.engine != "" && l.threat != "" {
		if err := tell(intel.Detection{Name: clean(l.threat), Method: clean(l.engine), Zone: cmp.Or(l.zone, r.o.Zone)}); err != nil {
			return err
		}
	}
	for _, f := range l.attribute {
		if err := tell(f); err != nil {
			return err
		}
	}
	for _, f := range l.fuzzy {
		if err := tell(f); err != nil {
			return err
		}
	}
	for _, f := range l.signature {
		if err := tell(f); err != nil {
			return err
		}
	}
	for _, url := range l.from {
		if err := tell(intel.Download{URL: clean(url)}); err != nil {
			return err
		}
	}
	for _, url := range l.contacts {
		if err := tell(intel.Access{URL: clean(url)}); err != nil {
			return err
		}
	}
	for _, p := range l.reports {
		if err := tell(p); err != nil {
			return err
		}
	}
	return nil
}

// report makes a publication of a title and a link, either of which may lack; ok is false when both do.
func report(title, url string) (p intel.Publication, ok bool) {
	title, url = cutText(clean(strings.Join(strings.Fields(title), " ")), 500), clean(strings.TrimSpace(url))
	if title == "" && url == "" || len(url) > intel.MaxText {
		return p, false
	}
	return intel.Publication{ID: publicationID(url, title), Type: intel.OSINT, Title: cmp.Or(title, url), URL: url}, true
}

// cutText cuts a text to at most n bytes, at a character.
func cutText(s string, n int) string {
	if s = strings.TrimSpace(s); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}

// refangs are the ways to write an address so that nothing follows it, and what they stand for.
var refangs = strings.NewReplacer(
	"[://]", "://", "[:]//", "://", "[:/]/", "://", "[:]", ":", "(:)", ":", "[/]", "/",
	"[.]", ".", "(.)", ".", "{.}", ".", "[.", ".", ".]", ".", "[dot]", ".", "(dot)", ".", "{dot}", ".", "[DOT]", ".", "[,]", ".", `\.`, ".",
	"[@]", "@", "(@)", "@", "[at]", "@", "(at)", "@", "[www]", "www", "[http]", "http", "[https]", "https",
)

// refang undoes the defanging of an address, and reports whether it was defanged.
func refang(s string) (string, bool) {
	was := s
	if strings.ContainsAny(s, `[({\`) {
		s = refangs.Replace(s)
	}
	if i := strings.Index(s, ":"); i > 3 && i < 10 && (s[0]|0x20 == 'h' || s[0]|0x20 == 'f') {
		switch strings.ToLower(strings.Trim(s[:i], "[]()")) {
		case "hxxp", "htxp", "hxtp", "h**p", "meow", "hxxxp":
			s = "http" + s[i:]
		case "hxxps", "htxps", "hxtps", "h**ps", "hxxxps":
			s = "https" + s[i:]
		case "fxp":
			s = "ftp" + s[i:]
		}
	}
	return s, s != was
}

// fileEndings are the top-level domains that are met far more often as the end of a file's name.
var fileEndings = map[string]bool{"zip": true, "sh": true, "py": true, "pl": true, "ps": true, "md": true, "so": true, "cab": true, "cat": true,
	"mov": true, "bz": true, "rs": true, "ini": true, "mp": true, "vc": true, "ps1": true, "com": false}

// listAddress reads a token of a list as a URL, a domain or an IP address, defanged or not. sure says that the list says it to be one.
// What is a mail address, a file's name or a path is none.
func listAddress(token string, sure bool) (string, bool) {
	if len(token) < 4 || len(token) > intel.MaxText {
		return "", false
	}
	if live := strings.HasPrefix(token, "http://") || strings.HasPrefix(token, "https://"); live && asciidocLabel(token) {
		return "", false
	}
	s, defanged := refang(token)
	s = strings.TrimPrefix(strings.TrimPrefix(s, "*."), ".")
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if hasScheme && (scheme == "" || strings.ContainsAny(scheme, "./?#")) {
		hasScheme, rest = false, s
	}
	if !hasScheme {
		rest = s
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	if !hasScheme && strings.ContainsAny(host, "@") || strings.ContainsAny(host, `\<>"%$={}*,;`) || strings.ContainsAny(s, " \t") {
		return "", false
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	name := host
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasPrefix(host, "[") && strings.Count(host, ":") == 1 {
		name = host[:i]
	}
	a, err := intel.ParseAddress(s)
	if err != nil {
		return "", false
	}
	if _, err := netip.ParseAddr(a.Host); err == nil {
		if i := strings.LastIndexByte(s, '/'); !hasScheme && i > 0 && len(s)-i <= 4 && strings.Trim(s[i+1:], "0123456789") == "" {
			return "", false // a network
		}
		// Three digits and dots may be a version; four parts of it are an address, but for a network's own.
		return a.URL, !strings.HasSuffix(a.Host, ".0.0.0") && a.Host != "::" && (strings.Contains(s, ".") || strings.Count(s, ":") > 2)
	}
	if hasScheme {
		switch strings.ToLower(scheme) {
		case "http", "https", "ftp", "ftps", "tcp", "udp", "ws", "wss", "sftp", "ssh", "socks5", "ldap", "ldaps", "rmi", "tls", "ssl", "stratum+tcp", "smb", "tor":
		default:
			return "", false
		}
		return a.URL, strings.Contains(a.Host, ".") || sure
	}
	name = strings.TrimSuffix(name, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return "", false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	ending := strings.ToLower(name[dot+1:])
	if suffix, icann := publicsuffix.PublicSuffix(a.Host); !icann && !strings.Contains(suffix, ".") && ending != "onion" && ending != "bit" && ending != "i2p" {
		return "", false
	} else if suffix == a.Host && !sure && !defanged {
		return "", false
	}
	if !sure && !defanged && fileEndings[ending] {
		return "", false
	}
	return a.URL, true
}

// asciidocLabel reports whether a web address goes on with the text that AsciiDoc shows instead of it, as in "https://a.example/report[our report]".
func asciidocLabel(address string) bool {
	i := strings.LastIndexByte(address, '[')
	if i < 0 {
		return false
	}
	switch label := strings.TrimRight(address[i:], ".,;"); label {
	case "[.]", "[:]", "[://]", "[/]", "[dot]", "[DOT]", "[at]", "[@]", "[,]":
		return false
	default:
		// What is defanged goes on behind the bracket; so does an IPv6 address.
		end := strings.IndexByte(label, ']')
		return end < 0 && !strings.HasPrefix(label, "[.") && !strings.HasPrefix(label, "[:") || end == len(label)-1 && !strings.HasSuffix(address[:i], "//")
	}
}

// noFile are words that say, in a heading or a column's name, that the hex below it names no file.
var noFile = map[string]bool{"certificate": true, "certificates": true, "cert": true, "certs": true, "serial": true, "serials": true, "thumbprint": true,
	"thumbprints": true, "fingerprint": true, "fingerprints": true, "key": true, "keys": true, "validationkey": true, "decryptionkey": true, "guid": true,
	"guids": true, "uuid": true, "uuids": true, "imphash": true, "imphashes": true, "authentihash": true, "richpeheaderhash": true, "richhash": true,
	"tbs": true, "password": true, "passwords": true, "token": true, "tokens": true, "mutex": true, "mutexes": true, "ja3": true,
	"ja3s": true, "jarm": true, "ja4": true, "favicon": true, "salt": true, "nonce": true, "iv": true, "wallet": true, "wallets": true, "tlsh": true, "ssdeep": true,
	"telfhash": true, "vhash": true, "dhash": true, "tenant": true, "session": true, "secret": true, "secrets": true, "id": true, "ids": true,
	"commit": true, "commits": true, "bitcoin": true, "btc": true, "crc32": true, "sha3": true, "sha512": true, "sha384": true, "imp": true, "uid": true,
	"identifier": true, "identifiers": true, "cookie": true, "cookies": true, "challenge": true, "pubkey": true, "cn": true, "gimphash": true, "pehash": true,
	"campaignid": true, "signer": true, "privatekey": true, "publickey": true, "etag": true, "etags": true, "x509": true}

// files are words that say that it does.
var filesWords = map[string]bool{"file": true, "files": true, "sample": true, "samples": true, "binary": true, "binaries": true, "malware": true, "payload": true,
	"payloads": true, "dropper": true, "droppers": true, "loader": true, "loaders": true, "driver": true, "drivers": true, "installer": true, "installers": true,
	"stealer": true, "backdoor": true, "backdoors": true, "plugin": true, "plugins": true, "module": true, "modules": true, "logger": true, "dll": true, "exe": true, "trojan": true,
	"ransomware": true, "spyware": true, "implant": true, "implants": true, "library": true}

// wordBreaks are the places where one word of a name in camel case ends.
var wordBreaks = regexp.MustCompile(`([a-z])([A-Z][a-z])`)

var wordSpellings = strings.NewReplacer("sha-", "sha", "md-5", "md5")

// words calls f with each run of letters and digits, in lower case, until it returns false; "SHA-256" is one word.
func words(s string, f func(string) bool) {
	s = wordSpellings.Replace(strings.ToLower(wordBreaks.ReplaceAllString(s, "$1 $2")))
	for w := range strings.FieldsFuncSeq(s, func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c > 0x7F) }) {
		if !f(w) {
			return
		}
	}
}

// namesNoFile reports whether a heading or a name says that the hex below it is no file's hash.
func namesNoFile(s string) bool {
	no, file := false, false
	words(s, func(w string) bool {
		no = no || noFile[w]
		file = file || filesWords[w]
		return true
	})
	return no && !file
}

// commandOption is how a command line goes on behind an argument of hex.
var commandOption = regexp.MustCompile(`^ --[a-z]`)

// foundHashes are the hashes of one place of a text.
type foundHashes struct {
	all   []intel.Hash
	one   intel.Hashes
	tied  bool // they are of different algorithms, so that they name one file
	wrong []int
	named []intel.Hashes // what files returns
}

// add takes in what a piece of the place holds.
func (f *foundHashes) add(text []byte) {
	eachHexRun(text, func(h intel.Hash, start, end int) {
		if inAddress(text, start, end) || commandOption.Match(text[end:min(len(text), end+8)]) {
			return
		}
		if h.IsZero() {
			f.wrong = append(f.wrong, end-start)
			return
		}
		f.all = append(f.all, h)
		f.tied = f.tied && (f.one.Get(h.Algorithm()).IsZero() || f.one.Get(h.Algorithm()) == h)
		f.one.Set(h)
	})
}

func (f *foundHashes) reset() {
	*f = foundHashes{all: f.all[:0], wrong: f.wrong[:0], named: f.named[:0], tied: true}
}

// files returns the files that the hashes name; they stand until the next reset.
func (f *foundHashes) files() []intel.Hashes {
	switch {
	case len(f.all) == 0:
		return nil
	case f.tied:
		f.named = append(f.named[:0], f.one)
		return f.named
	}
	f.named = f.named[:0]
	for _, h := range f.all {
		if one := intel.HashesOf(h); !slices.Contains(f.named, one) {
			f.named = append(f.named, one)
		}
	}
	return f.named
}

// refuseCut refuses what is nearly a hash.
func (r *reader) refuseCut(line int64, field string, length int) {
	r.refuse(line, field, fmt.Sprintf("%d hex digits are no hash: it is cut; MD5 has 32, SHA-1 40, SHA-256 64", length))
}

// linkIn finds the first web address in a text that is written to be followed, and returns it and the text before it.
func linkIn(s string) (before, link string) {
	i := strings.Index(s, "http")
	for i >= 0 {
		rest := s[i:]
		if strings.HasPrefix(rest, "http://") || strings.HasPrefix(rest, "https://") {
			end := strings.IndexAny(rest, " \t\"'<>[]`|{}\u00a0\n")
			if end < 0 {
				end = len(rest)
			}
			link = rest[:end]
			if strings.Count(link, "(") < strings.Count(link, ")") {
				link = link[:strings.LastIndexByte(link, ')')]
				if j := strings.IndexByte(link, ')'); j >= 0 && !strings.Contains(link, "(") {
					link = link[:j]
				}
			}
			link = strings.TrimRight(link, ".,;:!?*_")
			return s[:i], link
		}
		j := strings.Index(s[i+4:], "http")
		if j < 0 {
			break
		}
		i += 4 + j
	}
	return s, ""
}

// trimMarks takes away blanks, zero-width marks, quotes and the marks of Markdown and AsciiDoc around a cell.
func trimMarks(b []byte) []byte {
	return bytes.Trim(b, " \t\r\n`'\"*+_\u00a0\u200b\u200c\u200d\u2060\ufeff")
}
