package signature

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Bounds of an XML document that is a signature.
const (
	maxXMLNodes = 200_000
	maxXMLDepth = 100
)

const dsig = "http://www.w3.org/2000/09/xmldsig#"

// The algorithms of XML signatures, by their names.
var (
	xmlDigests = map[string]crypto.Hash{dsig + "sha1": crypto.SHA1, "http://www.w3.org/2001/04/xmlenc#sha256": crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384, "http://www.w3.org/2001/04/xmlenc#sha512": crypto.SHA512}
	xmlSignatures = map[string]crypto.Hash{dsig + "rsa-sha1": crypto.SHA1, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": crypto.SHA384, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": crypto.SHA512,
		"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1": crypto.SHA1, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384": crypto.SHA384, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512": crypto.SHA512}
	xmlCanonical = map[string]bool{"http://www.w3.org/TR/2001/REC-xml-c14n-20010315": false, "http://www.w3.org/2001/10/xml-exc-c14n#": true} // whether exclusive
)

// xmlNode is an element of an XML document, or a piece of text.
type xmlNode struct {
	parent   *xmlNode
	prefix   string
	local    string // empty: text
	attrs    []xml.Attr
	declared map[string]string // namespaces, by prefix
	children []*xmlNode
	text     string
}

var errXML = errors.New("XML of a kind that is not read here")

// parseXML reads a document of which the canonical form can be told: without a document type and processing instructions.
func parseXML(b []byte) (*xmlNode, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	var root, at *xmlNode
	depth := 0
	for nodes := 0; ; nodes++ {
		if nodes > maxXMLNodes {
			return nil, errXML
		}
		token, err := d.RawToken()
		if err == io.EOF && root != nil && at == nil {
			return root, nil
		}
		if err != nil {
			return nil, errXML
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxXMLDepth || at == nil && root != nil {
				return nil, errXML
			}
			n := &xmlNode{parent: at, prefix: t.Name.Space, local: t.Name.Local, declared: map[string]string{}}
			for _, a := range t.Attr {
				switch {
				case strings.ContainsAny(a.Value, "\t\r\n"): // whether they stood there as such decides what they mean, and cannot be told any more
					return nil, errXML
				case a.Name.Space == "" && a.Name.Local == "xmlns":
					n.declared[""] = a.Value
				case a.Name.Space == "xmlns":
					n.declared[a.Name.Local] = a.Value
				default:
					n.attrs = append(n.attrs, a)
				}
			}
			if at == nil {
				root = n
			} else {
				at.children = append(at.children, n)
			}
			at = n
		case xml.EndElement:
			if at == nil || t.Name.Space != at.prefix || t.Name.Local != at.local {
				return nil, errXML
			}
			at = at.parent
			depth--
		case xml.CharData:
			if at != nil {
				at.children = append(at.children, &xmlNode{parent: at, text: string(t)})
			}
		case xml.ProcInst:
			if t.Target != "xml" {
				return nil, errXML
			}
		case xml.Directive:
			return nil, errXML
		}
	}
}

// namespace returns what a prefix stands for at a node.
func (n *xmlNode) namespace(prefix string) string {
	if prefix == "xml" {
		return "http://www.w3.org/XML/1998/namespace"
	}
	for ; n != nil; n = n.parent {
		if uri, ok := n.declared[prefix]; ok {
			return uri
		}
	}
	return ""
}

func (n *xmlNode) is(space, local string) bool {
	return n.local == local && n.namespace(n.prefix) == space
}

// child returns the only child of a name; nil when there is none, or more.
func (n *xmlNode) child(space, local string) *xmlNode {
	if n == nil {
		return nil
	}
	var found *xmlNode
	for _, c := range n.children {
		if c.is(space, local) {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

// all returns every element of a name at and below a node.
func (n *xmlNode) all(space, local string) (found []*xmlNode) {
	if n == nil {
		return nil
	}
	if n.is(space, local) {
		found = append(found, n)
	}
	for _, c := range n.children {
		found = append(found, c.all(space, local)...)
	}
	return found
}

// attr returns an attribute without a namespace.
func (n *xmlNode) attr(name string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// content returns an element's own text.
func (n *xmlNode) content() string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range n.children {
		b.WriteString(c.text)
	}
	return b.String()
}

func (n *xmlNode) base64() []byte {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.content()), ""))
	if err != nil {
		return nil
	}
	return b
}

// byID returns the element with an Id; nil when there are two, of which a signature could mean one and a reader the other.
func (n *xmlNode) byID(id string) *xmlNode {
	var found []*xmlNode
	var walk func(*xmlNode)
	walk = func(n *xmlNode) {
		for _, a := range n.attrs {
			if strings.EqualFold(a.Name.Local, "id") && a.Value == id {
				found = append(found, n)
			}
		}
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(n)
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

var (
	escapeText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	escapeAttr = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)

// canonical returns the canonical form of an element (Canonical XML 1.0, or the exclusive one), without comments.
func (n *xmlNode) canonical(exclusive bool) []byte {
	var b bytes.Buffer
	inherited := map[string]string{} // of the elements around, for the inclusive form
	var attrs []xml.Attr
	if !exclusive {
		for p := n.parent; p != nil; p = p.parent {
			for prefix, uri := range p.declared {
				if _, nearer := inherited[prefix]; !nearer {
					inherited[prefix] = uri
				}
			}
			for _, a := range p.attrs {
				if a.Name.Space == "xml" && !slices.ContainsFunc(append(attrs, n.attrs...), func(x xml.Attr) bool { return x.Name == a.Name }) {
					attrs = append(attrs, a)
				}
			}
		}
	}
	n.write(&b, exclusive, inherited, attrs, map[string]string{})
	return b.Bytes()
}

func (n *xmlNode) write(b *bytes.Buffer, exclusive bool, inherited map[string]string, more []xml.Attr, written map[string]string) {
	if n.local == "" {
		_, _ = escapeText.WriteString(b, n.text)
		return
	}
	name := n.local
	if n.prefix != "" {
		name = n.prefix + ":" + name
	}
	b.WriteString("<" + name)
	want := map[string]string{}
	if exclusive { // those that are used here
		want[n.prefix] = n.namespace(n.prefix)
		for _, a := range n.attrs {
			if a.Name.Space != "" {
				want[a.Name.Space] = n.namespace(a.Name.Space)
			}
		}
	} else {
		maps.Copy(want, inherited)
		maps.Copy(want, n.declared)
	}
	delete(want, "xml")
	out := maps.Clone(written)
	for _, prefix := range slices.Sorted(maps.Keys(want)) {
		if want[prefix] == written[prefix] {
			continue
		}
		out[prefix] = want[prefix]
		if prefix == "" {
			b.WriteString(` xmlns="`)
		} else {
			b.WriteString(` xmlns:` + prefix + `="`)
		}
		_, _ = escapeAttr.WriteString(b, want[prefix])
		b.WriteString(`"`)
	}
	attrs := append(slices.Clone(n.attrs), more...)
	space := func(a xml.Attr) string {
		if a.Name.Space == "" {
			return ""
		}
		return n.namespace(a.Name.Space)
	}
	slices.SortStableFunc(attrs, func(x, y xml.Attr) int {
		return cmp.Or(cmp.Compare(space(x), space(y)), cmp.Compare(x.Name.Local, y.Name.Local))
	})
	for _, a := range attrs {
		b.WriteString(" ")
		if a.Name.Space != "" {
			b.WriteString(a.Name.Space + ":")
		}
		b.WriteString(a.Name.Local + `="`)
		_, _ = escapeAttr.WriteString(b, a.Value)
		b.WriteString(`"`)
	}
	b.WriteString(">")
	for _, c := range n.children {
		c.write(b, exclusive, nil, nil, out)
	}
	b.WriteString("</" + name + ">")
}

// xmlReference is a part of a signature that names the digest of something.
type xmlReference struct {
	uri        string
	transforms []*xmlNode
	hash       crypto.Hash
	digest     []byte
}

func references(n *xmlNode) (all []xmlReference) {
	for _, c := range n.children {
		if c.is(dsig, "Reference") {
			r := xmlReference{uri: c.attr("URI"), hash: xmlDigests[c.child(dsig, "DigestMethod").attr("Algorithm")], digest: c.child(dsig, "DigestValue").base64()}
			if t := c.child(dsig, "Transforms"); t != nil {
				for _, x := range t.children {
					if x.is(dsig, "Transform") {
						r.transforms = append(r.transforms, x)
					}
				}
			}
			all = append(all, r)
		}
	}
	return all
}

// verifyXML verifies the value of a signature with a certificate's key, and the digests of the document's own elements that it names. It returns these
// elements. The error is errSignature, errChanged, or says what cannot be verified.
func verifyXML(sig *xmlNode, key any) (signed []*xmlNode, h crypto.Hash, err error) {
	info := sig.child(dsig, "SignedInfo")
	if info == nil {
		return nil, 0, errXML
	}
	exclusive, ok := xmlCanonical[info.child(dsig, "CanonicalizationMethod").attr("Algorithm")]
	method := info.child(dsig, "SignatureMethod").attr("Algorithm")
	h = xmlSignatures[method]
	if !ok || h == 0 {
		return nil, h, fmt.Errorf("a signature in XML by the algorithm %s", quoted(clean(method)))
	}
	value := sig.child(dsig, "SignatureValue").base64()
	if _, ok := key.(*ecdsa.PublicKey); ok && len(value)%2 == 0 { // two numbers side by side
		r, s := new(big.Int).SetBytes(value[:len(value)/2]), new(big.Int).SetBytes(value[len(value)/2:])
		if value, err = asn1.Marshal(struct{ R, S *big.Int }{r, s}); err != nil {
			return nil, h, errSignature
		}
	}
	if err := verifyDigest(key, h, -1, sum(h, info.canonical(exclusive)), value); err != nil {
		return nil, h, err
	}
	root := sig
	for root.parent != nil {
		root = root.parent
	}
	for _, r := range references(info) {
		id, ok := strings.CutPrefix(r.uri, "#")
		if !ok || r.hash == 0 || len(signed) == maxSigners {
			return nil, h, fmt.Errorf("a signature in XML over %s", quoted(clean(r.uri)))
		}
		n := root.byID(id)
		if n == nil {
			return nil, h, fmt.Errorf("a signature in XML over %s, which is not there once", quoted(clean(r.uri)))
		}
		exclusive := false
		for _, t := range r.transforms {
			if exclusive, ok = xmlCanonical[t.attr("Algorithm")]; !ok || len(r.transforms) > 1 || t.child("http://www.w3.org/2001/10/xml-exc-c14n#", "InclusiveNamespaces") != nil {
				return nil, h, errors.New("a signature in XML with a transform that is not known here")
			}
		}
		if !bytes.Equal(sum(r.hash, n.canonical(exclusive)), r.digest) {
			return nil, h, errChanged
		}
		signed = append(signed, n)
	}
	if len(signed) == 0 {
		return nil, h, errors.New("a signature in XML over nothing")
	}
	return signed, h, nil
}
