package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"strings"
)

// opc names who signed a package of the Open Packaging Conventions (VSIX). Its signatures are XML, whose canonical form is not computed here.
func (f *file) opc(a *archive) error {
	for i := range a.entries {
		name := a.entries[i].name
		if len(f.found) == maxSigners || !strings.HasSuffix(strings.ToLower(name), ".psdsxs") {
			continue
		}
		b, err := a.member(name)
		if err != nil {
			return err
		}
		x := &finding{kind: "OPC", state: unchecked, why: "signatures in XML are named only", signer: "unknown (no certificate)"}
		for _, der := range xmlCertificates(b) {
			if c, err := parseCertificate(der); err == nil && len(x.carried) < maxCarried {
				x.carried = append(x.carried, c)
			}
		}
		for j := range a.entries { // or the certificates are members of their own
			if e := &a.entries[j]; strings.HasSuffix(strings.ToLower(e.name), ".cer") && strings.Contains(e.name, "digital-signature") && len(x.carried) < maxCarried {
				if der, err := a.member(e.name); err == nil {
					if c, err := parseCertificate(der); err == nil {
						x.carried = append(x.carried, c)
					}
				}
			}
		}
		if len(x.carried) > 0 {
			x.cert = x.carried[0]
			x.signer = x.cert.owner
			if x.signer == "" {
				x.signer = "unnamed (certificate " + orNone(x.cert.serial) + ")"
			}
		}
		f.add(x)
	}
	return nil
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
