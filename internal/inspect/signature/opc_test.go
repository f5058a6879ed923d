package signature

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestCanonical compares the canonical forms with those of xmllint, for XML of this machine and some with traps.
func TestCanonical(t *testing.T) {
	xmllint := tool(t, "xmllint", "libxml2-utils")
	dir := t.TempDir()
	var paths []string
	for i, s := range []string{
		`<a/>`, `<a b="2" a="1"><c/></a>`, `<x:a xmlns:x="u" xmlns="d" x:z="1" a="2"><b xmlns=""><c xmlns="d"/></b></x:a>`,
		`<a xmlns:z="1" xmlns:y="2"><y:b z:q="&quot;&amp;&lt;&gt;" y:q="'">&lt;&gt;&amp;"'</y:b></a>`, "<a>\r\n<![CDATA[<&>]]><!-- no --> &#13;&#x20ac;ä</a>",
		`<a xmlns:p="u"><b xmlns:p="u"><p:c xmlns:p="v"><p:d xmlns:p="u"/></p:c></b></a>`, `<a xml:lang="de" xmlns:n="u"><b n:a="1" xml:space="preserve"> </b></a>`,
	} {
		path := filepath.Join(dir, fmt.Sprint(i, ".xml"))
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for _, top := range []string{"/usr/share/mime", "/usr/share/xml", "/usr/share/fontconfig", "/etc/fonts", "/usr/share/dbus-1"} {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error { // what is not there is not compared
			if err == nil && d.Type().IsRegular() && slices.Contains([]string{".xml", ".conf"}, filepath.Ext(path)) && len(paths) < 300 {
				paths = append(paths, path)
			}
			return nil
		})
	}
	compared := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 1<<20 {
			continue
		}
		root, err := parseXML(b)
		if err != nil {
			continue // with a document type, most of them
		}
		for _, exclusive := range []bool{false, true} {
			arg := "--c14n"
			if exclusive {
				arg = "--exc-c14n"
			}
			// xmllint keeps comments, and has a line more around them outside of the root.
			clean, err := os.Create(filepath.Join(dir, "clean.xml"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := clean.Write(uncommented(b)); err != nil {
				t.Fatal(err)
			}
			clean.Close()
			want, err := exec.Command(xmllint, "--nonet", arg, clean.Name()).Output()
			if err != nil {
				continue
			}
			compared++
			if got := root.canonical(exclusive); !bytes.Equal(got, bytes.TrimSuffix(want, []byte("\n"))) && !bytes.Equal(got, want) {
				t.Errorf("%s (exclusive: %v):\n%.300s\nwant\n%.300s", path, exclusive, got, want)
			}
		}
	}
	t.Logf("%d canonical forms compared", compared)
	if compared < 14 {
		t.Errorf("only %d canonical forms compared", compared)
	}
}

// uncommented returns XML without its comments.
func uncommented(b []byte) []byte {
	var out []byte
	for {
		i := bytes.Index(b, []byte("<!--"))
		if i < 0 {
			return append(out, b...)
		}
		n := bytes.Index(b[i:], []byte("-->"))
		if n < 0 {
			return append(out, b...)
		}
		out, b = append(out, b[:i]...), b[i+n+3:]
	}
}

// TestOPC has xmlsec1 sign packages, and compares with it.
func TestOPC(t *testing.T) {
	xmlsec := tool(t, "xmlsec1", "xmlsec1")
	dir := t.TempDir()
	who := issue(t, nil, dir, "Extension Publisher", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	trust := &Trust{Roots: []*x509.Certificate{who.cert}}
	const rels = `<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId2" Type="t/sheet" Target="b.xml"/><Relationship Id="rId1" Type="t/sheet" Target="a &amp; b.xml" TargetMode="External"/><Relationship Id="rId9" Type="t/other" Target="c.xml"/></Relationships>`
	const chosen = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Target="a &amp; b.xml" TargetMode="External" Type="t/sheet"></Relationship><Relationship Id="rId2" Target="b.xml" TargetMode="Internal" Type="t/sheet"></Relationship></Relationships>`
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString(sum(crypto.SHA256, []byte(s))) }
	const sha256 = "http://www.w3.org/2001/04/xmlenc#sha256"
	for _, tt := range []struct{ what, canonical, signature string }{
		{"VSIX", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"},
		{"VSIX with SHA-512, exclusive", "http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"},
		{"Office", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"},
	} {
		template := `<?xml version="1.0" encoding="UTF-8"?>
<Signature xmlns="http://www.w3.org/2000/09/xmldsig#" Id="idPackageSignature" xmlns:unused="urn:unused"><SignedInfo><CanonicalizationMethod Algorithm="` + tt.canonical + `"/>
<SignatureMethod Algorithm="` + tt.signature + `"/><Reference Type="http://www.w3.org/2000/09/xmldsig#Object" URI="#idPackageObject"><Transforms><Transform Algorithm="` + tt.canonical + `"/></Transforms>
<DigestMethod Algorithm="` + sha256 + `"/><DigestValue></DigestValue></Reference></SignedInfo><SignatureValue/><KeyInfo><X509Data><X509Certificate>` + base64.StdEncoding.EncodeToString(who.cert.Raw) + `</X509Certificate></X509Data></KeyInfo>
<Object xmlns:mdssi="http://schemas.openxmlformats.org/package/2006/digital-signature" Id="idPackageObject"><Manifest><Reference URI="/dir/part%20one.txt?ContentType=text/plain"><DigestMethod Algorithm="` + sha256 + `"/><DigestValue>` + b64("part") + `</DigestValue></Reference>
<Reference URI="/_rels/.rels?ContentType=x"><Transforms><Transform Algorithm="http://schemas.openxmlformats.org/package/2006/RelationshipTransform"><mdssi:RelationshipsGroupReference SourceType="t/sheet"/></Transform><Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/></Transforms><DigestMethod Algorithm="` + sha256 + `"/><DigestValue>` + b64(chosen) + `</DigestValue></Reference></Manifest>
<SignatureProperties><SignatureProperty Target="#idPackageSignature" Id="idSignatureTime"><mdssi:SignatureTime><mdssi:Format>YYYY</mdssi:Format><mdssi:Value>2024-05-25T20:15:16Z</mdssi:Value></mdssi:SignatureTime><!-- a remark --></SignatureProperty></SignatureProperties></Object></Signature>`
		in, out := filepath.Join(dir, "in.xml"), filepath.Join(dir, "out.xml")
		if err := os.WriteFile(in, []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(xmlsec, "--sign", "--ignore-manifests", "--privkey-pem", who.keyFile()+","+who.certFile(), "--id-attr:Id", "Object", "--output", out, in).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tt.what, err, b)
		}
		signature, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		type part struct{ name, content string }
		pack := func(sig, content string, more ...part) []byte {
			var b bytes.Buffer
			w := zip.NewWriter(&b)
			all := []part{{"[Content_Types].xml", "<Types/>"}, {"_rels/.rels", rels}, {"dir/part one.txt", content}}
			if tt.what == "Office" {
				all = append(all, part{"_xmlsignatures/sig1.xml", sig}, part{"docProps/app.xml", "<x/>"})
			} else {
				all = append(all, part{"package/services/digital-signature/xml-signature/s.psdsxs", sig})
			}
			for _, p := range append(all, more...) {
				f, err := w.Create(p.name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write([]byte(p.content)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		good := string(signature)
		check := func(what string, b []byte, want state) {
			t.Helper()
			format := filetype.Appx
			if tt.what == "Office" {
				format = filetype.OOXML
			}
			found, err := verify(format, bytes.NewReader(b), int64(len(b)), trust)
			if err != nil || len(found) != 1 || found[0].state != want || found[0].signer != "Extension Publisher" {
				t.Errorf("%s, %s: %v, %v, want %v", tt.what, what, states(found), err, want)
				for i, f := range found {
					t.Log(f.note(i + 1))
				}
			}
		}
		theirs := func(sig string) bool {
			if err := os.WriteFile(in, []byte(sig), 0o600); err != nil {
				t.Fatal(err)
			}
			return exec.Command(xmlsec, "--verify", "--ignore-manifests", "--trusted-pem", who.certFile(), "--id-attr:Id", "Object", in).Run() == nil
		}
		check("signed", pack(good, "part"), valid)
		if !theirs(good) {
			t.Errorf("%s: xmlsec1 does not verify what it signed", tt.what)
		}
		for what, c := range map[string]struct {
			sig  string
			want state
		}{
			"its time changed":       {strings.Replace(good, "2024-05-25", "2023-05-25", 1), changed},
			"another digest":         {strings.Replace(good, b64("part"), b64("trap"), 1), changed},
			"SignedInfo changed":     {strings.Replace(good, `Type="http://www.w3.org/2000/09/xmldsig#Object"`, `Type="x"`, 1), forged},
			"blanks in a tag":        {strings.Replace(good, `<Manifest>`, `<Manifest  >`, 1), valid},
			"attributes swapped":     {strings.Replace(good, `Target="#idPackageSignature" Id="idSignatureTime"`, `Id='idSignatureTime' Target='#idPackageSignature'`, 1), valid},
			"the remark gone":        {strings.Replace(good, `<!-- a remark -->`, ``, 1), valid},
			"a line more in Object":  {strings.Replace(good, `<Manifest>`, "\n<Manifest>", 1), changed},
			"two of the same Id":     {strings.Replace(good, `Id="idSignatureTime"`, `Id="idPackageObject"`, 1), unchecked},
			"a transform not known":  {strings.Replace(good, `<Transforms><Transform Algorithm="http://www.w3.org/`, `<Transforms><Transform Algorithm="http://www.example.org/`, 1), forged},
			"an algorithm not known": {strings.Replace(good, `<SignatureMethod Algorithm="http://www.w3.org`, `<SignatureMethod Algorithm="http://www.example.org`, 1), unchecked},
		} {
			check(what, pack(c.sig, "part"), c.want)
			if got := theirs(c.sig); got != (c.want == valid) && what != "two of the same Id" {
				t.Errorf("%s, %s: right for xmlsec1: %v", tt.what, what, got)
			}
		}
		check("a part changed", pack(good, "Part"), changed)
		check("a part gone", bytes.ReplaceAll(pack(good, "part"), []byte("dir/part one.txt"), []byte("dir/part two.txt")), changed)
		check("a part more", pack(good, "part", part{"more.txt", "more"}), appended)
		check("a part twice", pack(good, "part", part{"_rels/.rels", rels}), appended)
	}
}

// TestRealOPC: the extension that relic signed is as it was, and no other.
func TestRealOPC(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(realdata.Path(t, "files", "relic-functest"), "VSIXProject1.vsix"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := verify(filetype.Detect(bytes.NewReader(b), int64(len(b))).Format, bytes.NewReader(b), int64(len(b)), &Trust{})
	if err != nil || len(found) != 1 || found[0].state != unrooted || found[0].signer != "ralph" {
		t.Fatalf("%v, %v", states(found), err)
	}
	root, err := x509.ParseCertificate(found[0].cert.raw)
	if err != nil {
		t.Fatal(err)
	}
	found, err = verify(filetype.Appx, bytes.NewReader(b), int64(len(b)), &Trust{Roots: []*x509.Certificate{root}})
	if err != nil || len(found) != 1 || found[0].state != valid {
		t.Errorf("%v, %v", states(found), err)
	}
}

// TestClickOnce: the manifest of an application is signed in XML; its signer is named.
func TestClickOnce(t *testing.T) {
	who := issue(t, nil, t.TempDir(), "Application Publisher", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	b := []byte(`<?xml version="1.0" encoding="utf-8"?><asmv1:assembly xmlns:asmv1="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0"><Signature Id="StrongNameSignature" xmlns="http://www.w3.org/2000/09/xmldsig#"><SignatureValue>AA==</SignatureValue>` +
		`<KeyInfo><X509Data><X509Certificate>` + base64.StdEncoding.EncodeToString(who.cert.Raw) + `</X509Certificate></X509Data></KeyInfo></Signature></asmv1:assembly>`)
	typ := filetype.Detect(bytes.NewReader(b), int64(len(b)))
	found, err := verify(typ.Format, bytes.NewReader(b), int64(len(b)), &Trust{})
	if err != nil || len(found) != 1 || found[0].state != unchecked || found[0].signer != "Application Publisher" || len(found[0].carried) != 1 {
		t.Errorf("%s: %v, %v", typ.Name, states(found), err)
	}
}
