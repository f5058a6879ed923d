package source

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"spoor/internal/intel"
)

func sniffOpenIOC(s *sample) int {
	if len(s.trimmed) == 0 || s.trimmed[0] != '<' {
		return 0
	}
	for _, mark := range []string{"schemas.mandiant.com/2010/ioc", "openioc.org/schemas"} {
		if bytes.Contains(s.head, []byte(mark)) {
			return 90
		}
	}
	if openIOCRoot.Match(s.head) {
		return 80
	}
	return 0
}

var openIOCRoot = regexp.MustCompile(`<(?:\w+:)?(?:OpenIOC|ioc)[\s>]`)

// The bounds of OpenIOC. Its documents are small; one is kept in memory, its text twice at most.
const (
	maxOpenIOC      = 64 << 20 // bytes of an input
	maxOpenIOCItems = 200_000  // of one document
)

// readOpenIOC reads OpenIOC 1.0 and 1.1: the file hashes and addresses that a document's definition names, as listings of who wrote it, and the document
// as a publication of its files. What AND joins is one file as long as it names each algorithm once; what OR joins is not.
func readOpenIOC(r *reader) error { return readOpenIOCUpTo(r, maxOpenIOC) }

func readOpenIOCUpTo(r *reader, most int64) error {
	in := &openIOCInput{r: r, most: most}
	d := xml.NewDecoder(transform.NewReader(in, runes.ReplaceIllFormed()))
	d.Strict = false // an entity that XML does not know stands as it is; there is no way to define one
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	o := openIOC{r: r, d: d, in: in}
	err := o.read()
	// Also of an input that is cut, all that was read is told.
	return errors.Join(err, o.tell())
}

// broken refuses what the decoder could not read; what is the input's own fault, or the end of the whole import, comes back.
func (o *openIOC) broken(err error) error {
	var syntax *xml.SyntaxError
	var own *streamError
	why := err.Error()
	switch {
	case errors.As(err, &own) || o.r.ctx.Err() != nil:
		return err
	case errors.Is(err, errOpenIOCLong):
		why = fmt.Sprintf("longer than %d bytes: the rest is not read", o.in.most)
	case errors.As(err, &syntax):
		why = "not XML: " + syntax.Msg
	}
	o.r.result.Records++
	o.r.refuse(o.line(), "", why)
	return nil
}

var errOpenIOCLong = errors.New("too long")

// openIOCInput bounds what the decoder reads, and gives it UTF-8.
type openIOCInput struct {
	r          *reader
	read, most int64
}

func (in *openIOCInput) Read(p []byte) (int, error) {
	if err := in.r.ctx.Err(); err != nil {
		return 0, err
	}
	if in.read >= in.most {
		return 0, errOpenIOCLong
	}
	n, err := in.r.in.Read(p[:min(len(p), maxLine)])
	for i, c := range p[:n] { // us-ascii and latin-1 documents with stray bytes, and characters that XML has not
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			p[i] = ' '
		}
	}
	in.read += int64(n)
	return n, err
}

// openIOC is the document in hand.
type openIOC struct {
	r  *reader
	d  *xml.Decoder
	in *openIOCInput

	open        bool
	id          string
	title       string
	description string
	author      string
	date        string
	modified    string
	threat      string
	links       []string // addresses
	actor       bool     // it is about a group
	crime       bool
	nodes       []openIOCNode // the indicators that are open
	files       []openIOCFile
	addresses   []openIOCAddress
	items       int
}

// openIOCNode is an Indicator: items and nodes joined by one operator.
type openIOCNode struct {
	and   bool
	parts int // items and nodes in it
	line  int64
	items []openIOCItem
	from  int // where the addresses of the nodes in it begin
}

type openIOCItem struct {
	line      int64
	search    string
	condition string
	negate    bool
	content   string
}

type openIOCFile struct {
	line int64
	stixFile
}

type openIOCAddress struct {
	line    int64
	address string
}

func (o *openIOC) line() int64 {
	line, _ := o.d.InputPos()
	return int64(line)
}

func attribute(e *xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (o *openIOC) read() error {
	var item openIOCItem
	var text strings.Builder
	var link string // the href or rel of the link that is open
	var rel string
	depth := 0
	for {
		t, err := o.d.RawToken()
		if errors.Is(err, io.EOF) {
			if o.open {
				o.r.result.Records++
				o.r.refuse(o.line(), "", "the input ends within this document")
			}
			return nil
		}
		if err != nil {
			return o.broken(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			if text.Len() < 64<<10 {
				text.Write(t)
			}
		case xml.StartElement:
			if depth++; depth > maxLevels {
				return o.broken(errDeep)
			}
			text.Reset()
			switch t.Name.Local {
			case "ioc", "OpenIOC":
				if err := o.tell(); err != nil {
					return err
				}
				*o = openIOC{r: o.r, d: o.d, in: o.in, open: true, id: attribute(&t, "id"), modified: attribute(&t, "last-modified")}
			case "link":
				rel, link = attribute(&t, "rel"), attribute(&t, "href")
			case "Indicator":
				o.nodes = append(o.nodes, openIOCNode{and: strings.EqualFold(attribute(&t, "operator"), "AND"), line: o.line(), from: len(o.addresses)})
			case "IndicatorItem":
				item = openIOCItem{line: o.line(), condition: attribute(&t, "condition"), negate: strings.EqualFold(attribute(&t, "negate"), "true")}
			case "Context":
				item.search = attribute(&t, "search")
			}
		case xml.EndElement:
			depth--
			content := strings.TrimSpace(clean(text.String()))
			text.Reset()
			switch t.Name.Local {
			case "ioc", "OpenIOC":
				o.open = false
				if err := o.tell(); err != nil {
					return err
				}
			case "short_description":
				o.title = fitText(content)
			case "description":
				o.description = fitText(content)
			case "authored_by":
				o.author = content
			case "authored_date":
				o.date = content
			case "link":
				o.link(rel, link, content)
			case "Content":
				item.content = content
			case "IndicatorItem":
				o.item(item)
				item = openIOCItem{}
			case "Indicator":
				o.close()
			}
		}
	}
}

// link takes a link: an address, or what kind of threat the document is about.
func (o *openIOC) link(rel, href, content string) {
	for _, s := range []string{href, content} {
		if strings.HasPrefix(strings.ToLower(s), "http") && !strings.Contains(s, "attack.mitre.org/") && len(o.links) < 16 {
			o.links = append(o.links, fitText(s))
		}
	}
	upper := strings.ToUpper(content)
	switch strings.ToLower(rel) {
	case "threatcategory", "threatgroup", "grade":
		o.actor = o.actor || strings.HasPrefix(upper, "APT") || strings.HasPrefix(upper, "UNC")
		o.crime = o.crime || strings.Contains(upper, "CRIME") || strings.HasPrefix(upper, "FIN")
	case "family", "malware":
		if o.threat == "" && len(content) <= 256 {
			o.threat = content
		}
	}
}

func (o *openIOC) item(item openIOCItem) {
	o.r.result.Records++
	if o.items++; o.items > maxOpenIOCItems {
		if o.r.result.Other++; o.items == maxOpenIOCItems+1 {
			o.r.refuse(item.line, "", fmt.Sprintf("more than %d items: the rest is not read", maxOpenIOCItems))
		}
		return
	}
	if len(o.nodes) == 0 {
		o.r.result.Other++
		return
	}
	node := &o.nodes[len(o.nodes)-1]
	node.parts++
	node.items = append(node.items, item)
}

// The searches that name a property of a file, by what it is. Hashes of sections, of certificates and of memory are no files'.
var openIOCHashes = map[string]string{
	"fileitem/md5sum": "md5", "fileitem/sha1sum": "sha1", "fileitem/sha256sum": "sha256",
	"filewriteevent/md5": "md5", "imageloadevent/md5": "md5", "processevent/md5": "md5", "serviceitem/pathmd5sum": "md5", "serviceitem/servicedllmd5sum": "md5",
	"processitem/md5sum": "md5", "driveritem/md5sum": "md5",
}

// openIOCAddresses are the searches that name a domain, an IP address or a URL.
var openIOCAddresses = map[string]bool{
	"network/dns": true, "network/uri": true, "dnsentryitem/recordname": true, "dnsentryitem/host": true, "dnsentryitem/recorddata/host": true, "portitem/remoteip": true,
	"urlhistoryitem/url": true, "urlhistoryitem/hostname": true, "dnslookupevent/hostname": true, "urlmonitorevent/hostname": true, "ipv4networkevent/remoteip": true,
	"networkitem/remoteip": true, "filedownloadhistoryitem/sourceurl": true, "routeentryitem/destination": true,
}

// close ends an Indicator: its items become files and addresses.
func (o *openIOC) close() {
	if len(o.nodes) == 0 {
		return
	}
	n := o.nodes[len(o.nodes)-1]
	o.nodes = o.nodes[:len(o.nodes)-1]
	if len(o.nodes) > 0 {
		o.nodes[len(o.nodes)-1].parts++
	}
	tied := n.and && n.parts > 1
	one := openIOCFile{line: n.line}
	var apart []openIOCFile
	several := false
	for _, item := range n.items {
		search := strings.ToLower(item.search)
		positive := !item.negate && !strings.HasSuffix(strings.ToLower(item.condition), "not")
		is := positive && strings.EqualFold(item.condition, "is")
		algorithm := openIOCHashes[search]
		switch {
		case !positive:
			o.r.result.Other++
		case algorithm != "":
			f := openIOCFile{line: item.line}
			if why := f.digest(algorithm, item.content); why != "" {
				o.r.refuse(item.line, item.search, why)
				o.r.result.Other++
				continue
			}
			o.r.result.Used++
			for _, h := range []intel.Hash{f.hashes.Strongest()} {
				has := one.hashes.Get(h.Algorithm())
				several = several || !has.IsZero() && has != h
				one.hashes.Set(h)
			}
			apart = append(apart, f)
		case tied && is && search == "fileitem/filename":
			o.r.result.Used++
			one.name = cmp.Or(one.name, item.content)
		case tied && is && search == "fileitem/sizeinbytes":
			o.r.result.Used++
			one.size = cmp.Or(one.size, item.content)
		case !tied && openIOCAddresses[search] && openIOCAddress1(item.content):
			o.r.result.Used++
			o.addresses = append(o.addresses, openIOCAddress{item.line, item.content})
		default:
			o.r.result.Other++
		}
	}
	if tied {
		// An address that matters only together with something else is not bad in itself.
		o.addresses = o.addresses[:min(n.from, len(o.addresses))]
	}
	if tied && !several && len(apart) > 0 {
		o.files = append(o.files, one)
	} else {
		o.files = append(o.files, apart...)
	}
}

// openIOCAddress1 reports whether the content of an item is an address, not a part of one: a search may be for "/index.php" or "update.".
func openIOCAddress1(s string) bool {
	a, err := intel.ParseAddress(s)
	if err != nil || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "/") {
		return false
	}
	if intel.IsIP(a.Host) {
		return true
	}
	suffix, icann := publicsuffix.PublicSuffix(a.Host)
	return a.Host != suffix && (icann || strings.Contains(suffix, "."))
}

var openIOCURL = regexp.MustCompile(`https?://[^\s<>"'()\[\]]+`)

// tell tells of the document in hand, and forgets it.
func (o *openIOC) tell() error {
	r := o.r
	for len(o.nodes) > 0 { // of a document that is cut
		o.close()
	}
	feed := r.feed(cmp.Or(o.author, "OpenIOC"))
	p := intel.Publication{ID: clean(o.id), Type: intel.OSINT, Title: cmp.Or(o.title, fitText(o.description)), Description: o.description}
	switch {
	case o.actor:
		p.Type = intel.APT
	case o.crime:
		p.Type = intel.Crimeware
	}
	if len(o.links) > 0 {
		p.URL = o.links[0]
	} else {
		p.URL = strings.TrimRight(openIOCURL.FindString(o.description), ".,;:")
	}
	p.ID = cmp.Or(p.ID, publicationID(p.URL, p.Title))
	p.Published, _ = parseTime(o.date)
	if p.Updated, _ = parseTime(o.modified); p.Updated.Before(p.Published) {
		p.Updated = p.Published
	}
	for _, f := range o.files {
		if err := r.list(f.line, feed, entry{file: f.hashes, threat: o.threat, since: p.Published}); err != nil {
			return err
		}
		say := func(fact intel.Fact) error {
			ob := intel.Observation{Source: r.feedSource(feed), Time: r.o.Now, File: f.hashes, Fact: fact}
			if !p.Published.IsZero() && fact.Kind() == "publication" {
				ob.Time = p.Published
			}
			return r.observe(f.line, &ob)
		}
		if f.name != "" {
			if err := say(intel.Attribute{Name: intel.OriginalName, Value: f.name}); err != nil {
				return err
			}
		}
		if n, err := strconv.ParseUint(f.size, 10, 63); err == nil {
			if err := say(intel.Attribute{Name: intel.Size, Value: strconv.FormatUint(n, 10)}); err != nil {
				return err
			}
		}
		if p.Title != "" {
			if err := say(p); err != nil {
				return err
			}
		}
	}
	for _, a := range o.addresses {
		if err := r.list(a.line, feed, entry{address: a.address, threat: o.threat, since: p.Published}); err != nil {
			return err
		}
	}
	*o = openIOC{r: o.r, d: o.d, in: o.in}
	return nil
}
