package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	opcSignature     = "http://schemas.openxmlformats.org/package/2006/digital-signature"
	opcRelationships = "http://schemas.openxmlformats.org/package/2006/relationships"
	opcTransform     = "http://schemas.openxmlformats.org/package/2006/RelationshipTransform"
)

// ooxml verifies the signatures of an Office document.
func (f *file) ooxml() error {
	a, err := f.zip()
	if err != nil {
		return nil
	}
	return f.opc(a)
}

// opc verifies the signatures of a package of the Open Packaging Conventions (VSIX, Office documents): XML with the digests of the parts.
func (f *file) opc(a *archive) error {
	for i := range a.entries {
		name := a.entries[i].name
		office := strings.HasPrefix(name, "_xmlsignatures/") && strings.HasSuffix(strings.ToLower(name), ".xml")
		if len(f.found) == maxSigners || !office && !strings.HasSuffix(strings.ToLower(name), ".psdsxs") {
			continue
		}
		b, err := a.member(name)
		if err != nil {
			return err
		}
		x := &finding{kind: "OPC", signer: "unknown (no certificate)"}
		eku := oidCodeSigning
		if office {
			x.kind, eku = "Office", ""
		}
		f.opcCertificates(a, x, b)
		f.opcVerify(a, x, b, eku)
		f.add(x)
	}
	return nil
}

// opcCertificates finds the certificates of a signature, the signer's first.
func (f *file) opcCertificates(a *archive, x *finding, b []byte) {
	for _, der := range xmlCertificates(b) {
		if c, err := parseCertificate(der); err == nil && len(x.carried) < maxCarried {
			x.carried = append(x.carried, c)
		}
	}
	for j := range a.entries { // or they are members of their own
		if e := &a.entries[j]; strings.HasSuffix(strings.ToLower(e.name), ".cer") && strings.Contains(e.name, "digital-signature") && len(x.carried) < maxCarried {
			if der, err := a.member(e.name); err == nil {
				if c, err := parseCertificate(der); err == nil {
					x.carried = append(x.carried, c)
				}
			}
		}
	}
	// The signer's is that which is nobody's issuer.
	for _, c := range x.carried {
		if !slices.ContainsFunc(x.carried, func(o *certificate) bool { return o != c && o.issuer == c.subject }) {
			x.cert = c
			break
		}
	}
	if x.cert == nil && len(x.carried) > 0 {
		x.cert = x.carried[0]
	}
	if x.cert != nil {
		x.signer = x.cert.owner
		if x.signer == "" {
			x.signer = "unnamed (certificate " + orNone(x.cert.serial) + ")"
		}
	}
}

func (f *file) opcVerify(a *archive, x *finding, b []byte, eku string) {
	root, err := parseXML(b)
	if err != nil || !root.is(dsig, "Signature") {
		x.fail(unchecked, "%v", errXML)
		return
	}
	for _, t := range root.all(opcSignature, "SignatureTime") {
		if at, err := time.Parse(time.RFC3339, t.child(opcSignature, "Value").content()); err == nil {
			x.claimed = at
		}
	}
	if x.cert == nil || x.cert.key == nil {
		x.fail(unchecked, "the signer's certificate is not there")
		return
	}
	signed, h, err := verifyXML(root, x.cert.key)
	x.hash = h
	switch {
	case errors.Is(err, errSignature):
		x.fail(forged, "the signature is wrong: %v", err)
	case errors.Is(err, errChanged):
		x.fail(changed, "changed after signing")
	case err != nil:
		x.fail(unchecked, "%v", err)
	}
	f.trust(x, &signerInfo{}, eku)
	if err != nil {
		return
	}
	if len(root.all(opcSignature, "TimeStamp")) > 0 || bytes.Contains(b, []byte("EncapsulatedTimeStamp")) {
		x.remark("its time stamp is not looked at")
	}
	parts := map[string]bool{}
	for _, n := range signed {
		for _, m := range n.all(dsig, "Manifest") {
			for _, r := range references(m) {
				f.opcPart(a, x, r, parts)
			}
		}
	}
	if len(parts) == 0 {
		x.fail(malformed, "it signs no part of the package")
	}
	var more []string
	for i := range a.entries {
		name := a.entries[i].name
		if !parts[strings.ToLower(name)] && !strings.HasSuffix(name, "/") && name != "[Content_Types].xml" && !strings.HasPrefix(name, "package/services/digital-signature/") &&
			!strings.HasPrefix(name, "_xmlsignatures/") && !(x.kind == "Office" && strings.HasPrefix(name, "docProps/")) {
			more = append(more, name)
		}
	}
	if a.twice != "" {
		x.fail(appended, "two members are called %s", quoted(clean(a.twice)))
	}
	if len(more) > 0 {
		x.fail(appended, "%d members are not signed, such as %s", len(more), quoted(clean(more[0])))
	}
}

// opcPart compares the digest of one part.
func (f *file) opcPart(a *archive, x *finding, r xmlReference, parts map[string]bool) {
	path, _, _ := strings.Cut(r.uri, "?")
	name, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	if err != nil || r.hash == 0 {
		x.fail(unchecked, "a reference to %s that is not known here", quoted(clean(r.uri)))
		return
	}
	e := a.byName[name]
	for i := range a.entries { // parts are the same whatever the case
		if e == nil && strings.EqualFold(a.entries[i].name, name) {
			e = &a.entries[i]
		}
	}
	if e == nil {
		x.fail(changed, "changed after signing: %s is not there any more", quoted(clean(name)))
		return
	}
	parts[strings.ToLower(e.name)] = true
	var got []byte
	if len(r.transforms) == 0 {
		w := r.hash.New()
		in, openErr := a.open(e)
		if err = openErr; err == nil {
			_, err = io.Copy(w, in)
		}
		got = w.Sum(nil)
	} else {
		got, err = a.relationships(e, r)
	}
	switch {
	case f.r.err != nil:
	case errors.Is(err, errTooMuch), errors.Is(err, errXML):
		x.fail(unchecked, "%s: %v", clean(name), err)
	case err != nil:
		x.fail(changed, "changed after signing: %s: %v", clean(name), err)
	case !bytes.Equal(got, r.digest):
		x.fail(changed, "changed after signing: the digest of %s is not the signed one", quoted(clean(name)))
	}
}

// relationships is the digest of a part that ties others together, of which only those count that the signature chose: the others may come and go.
func (a *archive) relationships(e *zipEntry, r xmlReference) ([]byte, error) {
	if len(r.transforms) != 2 || r.transforms[0].attr("Algorithm") != opcTransform {
		return nil, errXML
	}
	exclusive, ok := xmlCanonical[r.transforms[1].attr("Algorithm")]
	if !ok {
		return nil, errXML
	}
	ids, types := map[string]bool{}, map[string]bool{}
	for _, c := range r.transforms[0].children {
		switch {
		case c.is(opcSignature, "RelationshipReference"):
			ids[c.attr("SourceId")] = true
		case c.is(opcSignature, "RelationshipsGroupReference"):
			types[c.attr("SourceType")] = true
		}
	}
	b, err := a.member(e.name)
	if err != nil {
		return nil, err
	}
	root, err := parseXML(b)
	if err != nil || !root.is(opcRelationships, "Relationships") {
		return nil, errXML
	}
	out := &xmlNode{local: "Relationships", declared: map[string]string{"": opcRelationships}}
	for _, c := range root.children {
		if c.is(opcRelationships, "Relationship") && (ids[c.attr("Id")] || types[c.attr("Type")]) {
			n := &xmlNode{parent: out, local: "Relationship", attrs: slices.Clone(c.attrs)}
			if c.attr("TargetMode") == "" {
				n.attrs = append(n.attrs, xml.Attr{Name: xml.Name{Local: "TargetMode"}, Value: "Internal"})
			}
			out.children = append(out.children, n)
		}
	}
	slices.SortStableFunc(out.children, func(x, y *xmlNode) int { return strings.Compare(x.attr("Id"), y.attr("Id")) })
	return sum(r.hash, out.canonical(exclusive)), nil
}

// clickOnce names who signed the manifest of an application or its deployment.
func (f *file) clickOnce(b []byte) {
	if !bytes.Contains(b, []byte("urn:schemas-microsoft-com:asm.v1")) || !bytes.Contains(b, []byte(dsig)) || !bytes.Contains(b, []byte("SignatureValue>")) {
		return
	}
	x := &finding{kind: "ClickOnce", state: unchecked, why: "the signature of a manifest is named only", signer: "unknown (no certificate)"}
	f.opcCertificates(&archive{f: f}, x, b)
	f.add(x)
}

// xmlCertificates returns the contents of all elements X509Certificate.
func xmlCertificates(b []byte) [][]byte {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	var all [][]byte
	in := false
	for len(all) < maxCarried {
		t, err := d.RawToken()
		if err != nil {
			break
		}
		switch t := t.(type) {
		case xml.StartElement:
			in = t.Name.Local == "X509Certificate"
		case xml.EndElement:
			in = false
		case xml.CharData:
			if in {
				if der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(t)), "")); err == nil && len(der) > 0 {
					all = append(all, der)
				}
			}
		}
	}
	return all
}
