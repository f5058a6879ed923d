package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// image makes a small PE32+ program: headers and one section of the size bytes.
func image(size int) []byte {
	le := binary.LittleEndian
	const headers = 0x400
	size = (size + 511) &^ 511
	b := make([]byte, headers+size)
	copy(b, "MZ")
	le.PutUint32(b[0x3C:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], 0x8664)
	le.PutUint16(p[6:], 1)    // sections
	le.PutUint16(p[20:], 240) // of the optional header
	le.PutUint16(p[22:], 0x22)
	o := p[24:]
	le.PutUint16(o, 0x20B)
	le.PutUint32(o[16:], 0x1000) // entry
	le.PutUint64(o[24:], 0x140000000)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint16(o[48:], 6)
	le.PutUint32(o[56:], 0x1000+uint32(size+0xFFF)&^0xFFF)
	le.PutUint32(o[60:], headers)
	le.PutUint16(o[68:], 3)
	le.PutUint32(o[108:], 16)
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], uint32(size))
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], uint32(size))
	le.PutUint32(s[20:], headers)
	le.PutUint32(s[36:], 0x60000020)
	for i := headers; i < len(b); i++ {
		b[i] = byte(i * 7)
	}
	return b
}

// authority is a root, or what it signed.
type authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
	dir  string
	name string
}

func (a *authority) certFile() string { return filepath.Join(a.dir, a.name+".pem") }
func (a *authority) keyFile() string  { return filepath.Join(a.dir, a.name+".key") }

// issue makes a certificate signed by a, or by itself when a is nil.
func issue(t *testing.T, a *authority, dir, name string, from, to time.Time, eku ...x509.ExtKeyUsage) *authority {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, ExtKeyUsage: eku, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature}
	if slices.Contains(eku, x509.ExtKeyUsageTimeStamping) { // must be critical, and alone
		value, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
		if err != nil {
			t.Fatal(err)
		}
		c.ExtKeyUsage, c.ExtraExtensions = nil, []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: value}}
	}
	parent, signer := c, key
	if a == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature
	} else {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	out := &authority{cert, key, dir, name}
	for file, block := range map[string]*pem.Block{out.certFile(): {Type: "CERTIFICATE", Bytes: der}, out.keyFile(): {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func tool(t *testing.T, name, pack string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian's package %s)", name, pack)
	}
	return path
}

// states returns the state of each signature.
func states(found []*finding) (all []state) {
	for _, f := range found {
		all = append(all, f.state)
	}
	return all
}

// TestAuthenticode signs a program with osslsigncode in the ways that matter, and compares what we make of it with what osslsigncode makes of it.
func TestAuthenticode(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	dir := t.TempDir()
	now := time.Now()
	years := func(n int) time.Time { return now.AddDate(n, 0, 0) }
	root := issue(t, nil, dir, "Test Root", years(-10), years(10))
	leaf := issue(t, root, dir, "Test Publisher", years(-1), years(1), x509.ExtKeyUsageCodeSigning)
	past := issue(t, root, dir, "Past Publisher", years(-3), years(-2), x509.ExtKeyUsageCodeSigning)
	wrong := issue(t, root, dir, "Web Server", years(-1), years(1), x509.ExtKeyUsageServerAuth)
	tsa := issue(t, root, dir, "Test Stamper", years(-5), years(5), x509.ExtKeyUsageTimeStamping)
	other := issue(t, nil, dir, "Other Root", years(-10), years(10))
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: years(-1), NextUpdate: years(1),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: leaf.cert.SerialNumber, RevocationTime: now.Add(-24 * time.Hour)}}}, root.cert, root.key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(crl)
	if err != nil {
		t.Fatal(err)
	}

	plain := filepath.Join(dir, "plain.exe")
	if err := os.WriteFile(plain, image(5000), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	sign := func(in string, who *authority, args ...string) string {
		t.Helper()
		n++
		out := filepath.Join(dir, fmt.Sprint(n, ".exe"))
		line := slices.Concat([]string{"sign", "-certs", who.certFile(), "-key", who.keyFile(), "-ac", root.certFile()}, args, []string{"-in", in, "-out", out})
		if b, err := exec.Command(osslsigncode, line...).CombinedOutput(); err != nil {
			t.Fatalf("osslsigncode %v: %v\n%s", line, err, b)
		}
		return out
	}
	stamp := func(at time.Time) []string {
		return []string{"-TSA-certs", tsa.certFile(), "-TSA-key", tsa.keyFile(), "-TSA-time", fmt.Sprint(at.Unix())}
	}
	change := func(in string, f func([]byte) []byte) string {
		t.Helper()
		b, err := os.ReadFile(in)
		if err != nil {
			t.Fatal(err)
		}
		n++
		out := filepath.Join(dir, fmt.Sprint(n, ".exe"))
		if err := os.WriteFile(out, f(b), 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	signed := sign(plain, leaf, "-h", "sha256")
	byRoot := &Trust{Roots: []*x509.Certificate{root.cert}}
	for _, tt := range []struct {
		what    string
		file    string
		trust   *Trust
		want    []state
		differs string // why osslsigncode says otherwise
	}{
		{"trusted root", signed, byRoot, []state{valid}, ""},
		{"SHA-1", sign(plain, leaf, "-h", "sha1"), byRoot, []state{valid}, ""},
		{"unknown root", signed, &Trust{Roots: []*x509.Certificate{other.cert}}, []state{unrooted}, ""},
		{"no roots", signed, &Trust{}, []state{unrooted}, ""},
		{"a byte of the code changed", change(signed, func(b []byte) []byte { b[0x500] ^= 1; return b }), byRoot, []state{changed}, ""},
		{"the checksum changed", change(signed, func(b []byte) []byte { b[0x80+24+64] ^= 1; return b }), byRoot, []state{valid}, ""},
		{"expired, no time stamp", sign(plain, past, "-h", "sha256"), byRoot, []state{expired}, ""},
		{"expired, but stamped while it was good", sign(plain, past, slices.Concat([]string{"-h", "sha256"}, stamp(years(-2).AddDate(0, -6, 0)))...), byRoot, []state{valid}, ""},
		{"stamped after it expired", sign(plain, past, slices.Concat([]string{"-h", "sha256"}, stamp(years(-1)))...), byRoot, []state{expired}, ""},
		{"a certificate for web servers", sign(plain, wrong, "-h", "sha256"), byRoot, []state{purpose}, ""},
		{"revoked before the signature", signed, &Trust{Roots: byRoot.Roots, Revocations: []*x509.RevocationList{list}}, []state{revoked}, "it is asked without CRLs here"},
		{"revoked after the signature was stamped", sign(plain, leaf, slices.Concat([]string{"-h", "sha256"}, stamp(now.AddDate(0, -6, 0)))...), &Trust{Roots: byRoot.Roots, Revocations: []*x509.RevocationList{list}}, []state{valid}, ""},
		{"nested", sign(sign(plain, leaf, "-h", "sha1"), leaf, "-h", "sha256", "-nest"), byRoot, []state{valid, valid}, ""},
		{"a certificate table of an unknown revision", change(signed, func(b []byte) []byte { b[len(image(5000))+4] ^= 1; return b }), byRoot, []state{unchecked}, ""},
		{"the message's tag changed", change(signed, func(b []byte) []byte { b[bytes.Index(b, []byte(oidSignedData))+len(oidSignedData)+4] ^= 1; return b }), byRoot, []state{malformed}, ""},
		{"the content's tag, which nobody signs, changed", change(signed, func(b []byte) []byte {
			b[bytes.Index(b, []byte(oidSpcIndirectData))+len(oidSpcIndirectData)+2] ^= 1
			return b
		}), byRoot, []state{malformed}, ""},
		{"bytes appended", change(signed, func(b []byte) []byte { return append(b, "appended"...) }), byRoot, []state{appended}, ""},
		{"the signature's own bytes changed", change(signed, func(b []byte) []byte { b[len(b)-40] ^= 1; return b }), byRoot, []state{forged}, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b, err := os.ReadFile(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			found, err := verify(filetype.PE, bytes.NewReader(b), int64(len(b)), tt.trust)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range found {
				t.Log(f.note(i + 1))
			}
			if got := states(found); !slices.Equal(got, tt.want) {
				t.Errorf("states %v, want %v", got, tt.want)
			}
			ours := len(found) > 0 && !slices.ContainsFunc(found, func(f *finding) bool { return f.state != valid })
			theirs := true
			args := []string{"verify", "-ignore-cdp", "-in", tt.file}
			for _, c := range tt.trust.Roots {
				file := root.certFile()
				if c == other.cert {
					file = other.certFile()
				}
				args = append(args, "-CAfile", file, "-TSA-CAfile", file)
			}
			out, err := exec.Command(osslsigncode, args...).CombinedOutput()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				theirs = false
			} else if err != nil {
				t.Fatal(err)
			}
			if ours != theirs && tt.differs == "" {
				t.Errorf("valid for us: %v, for osslsigncode: %v\n%s", ours, theirs, out)
			}
		})
	}
	// What the facts say: the signer, the status, the certificates.
	b, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(filetype.PE, bytes.NewReader(b), int64(len(b)), byRoot)
	if err != nil {
		t.Fatal(err)
	}
	certs := 0
	for _, fact := range r.Facts {
		switch c := fact.(type) {
		case intel.Signature:
			if c.Signer != "Test Publisher" || c.Status != intel.Trusted {
				t.Errorf("%+v", c)
			}
		case intel.Certificate:
			if certs++; c.Vendor == "Test Publisher" && (c.Publisher != "Test Root" || !c.Trusted || !c.Direct || c.Revoked || !strings.EqualFold(strings.TrimLeft(c.Serial, "0"), leaf.cert.SerialNumber.Text(16))) {
				t.Errorf("%+v", c)
			}
		}
	}
	if certs != 2 {
		t.Errorf("%d certificates, want the publisher's and the root's", certs)
	}
}

// TestSecureBoot signs a program with sbsign twice, as a boot loader with two signatures has them, and compares with sbverify.
func TestSecureBoot(t *testing.T) {
	sbsign, sbverify := tool(t, "sbsign", "sbsigntool"), tool(t, "sbverify", "sbsigntool")
	dir := t.TempDir()
	one := issue(t, nil, dir, "One", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	two := issue(t, nil, dir, "Two", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	file := filepath.Join(dir, "boot.efi")
	if err := os.WriteFile(file, image(9000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*authority{one, two} {
		if b, err := exec.Command(sbsign, "--key", who.keyFile(), "--cert", who.certFile(), "--output", file, file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []*authority{one, two} {
		found, err := verify(filetype.PE, bytes.NewReader(b), int64(len(b)), &Trust{Roots: []*x509.Certificate{who.cert}})
		if err != nil || len(found) != 2 {
			t.Fatalf("%v, %v", found, err)
		}
		for i, f := range found {
			if want := f.signer == who.name; want != (f.state == valid) {
				t.Errorf("trusting %s: %s", who.name, f.note(i+1))
			}
		}
		if out, err := exec.Command(sbverify, "--cert", who.certFile(), file).CombinedOutput(); err != nil {
			t.Errorf("sbverify: %v\n%s", err, out)
		}
	}
}

// TestAgainstOsslsigncode reads real signed files: whether the digest is that of the file must be what osslsigncode says, for each file that both read.
func TestAgainstOsslsigncode(t *testing.T) {
	dir := realdata.Path(t, "files", "relic-functest")
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	check := func(name string, content []byte) {
		typ := filetype.Detect(bytes.NewReader(content), int64(len(content)))
		switch typ.Format {
		case filetype.PE, filetype.MSI, filetype.Cab, filetype.Appx, filetype.Catalog:
		default:
			return
		}
		found, err := verify(typ.Format, bytes.NewReader(content), int64(len(content)), &Trust{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := filepath.Join(t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(osslsigncode, "verify", "-ignore-cdp", "-in", file).CombinedOutput() // fails for want of a root
		said := string(out)
		switch {
		case strings.Contains(said, "No signature found") || strings.Contains(said, "Unsupported file") || strings.Contains(said, "Failed to extract"):
			if strings.Contains(said, "No signature found") && len(found) > 0 {
				t.Errorf("%s: osslsigncode finds no signature, we %d", name, len(found))
			}
			return
		case !strings.Contains(said, "message digest") && !strings.Contains(said, "Message digest") && !strings.Contains(said, "DigitalSignature"):
			return
		}
		compared++
		theirs := !strings.Contains(said, "MISMATCH")
		ours := len(found) > 0 && found[0].state != changed && found[0].state != malformed
		if ours != theirs {
			t.Errorf("%s: the digest is right for us: %v, for osslsigncode: %v\n%s", name, ours, theirs, said)
		}
	}
	for _, n := range names {
		content, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		check(n.Name(), content)
	}
	t.Logf("%d files compared", compared)
}

// TestMutations: whatever happens to a signed file, verifying it ends, without a panic and without reading forever.
func TestMutations(t *testing.T) {
	var seeds [][]byte
	dir := realdata.Path(t, "files", "relic-functest")
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if b, err := os.ReadFile(filepath.Join(dir, n.Name())); err == nil && len(b) < 40<<10 {
			seeds = append(seeds, b)
		}
	}
	formats := []filetype.Format{}
	for f := range readers {
		formats = append(formats, f)
	}
	slices.Sort(formats)
	rnd := mrand.New(mrand.NewPCG(5, 6))
	for i := range 3000 {
		b := bytes.Clone(seeds[rnd.IntN(len(seeds))])
		f := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format
		if i%10 == 0 {
			f = formats[rnd.IntN(len(formats))]
		}
		for range 1 + rnd.IntN(6) {
			at := rnd.IntN(len(b))
			switch rnd.IntN(4) {
			case 0:
				b[at] ^= 1 << rnd.IntN(8)
			case 1:
				b[at] = 0xFF
			case 2:
				if rnd.IntN(4) == 0 {
					b = b[:at+1]
				}
			case 3:
				copy(b[at:], b[rnd.IntN(len(b)):])
			}
		}
		r, err := Verify(f, bytes.NewReader(b), int64(len(b)), &Trust{})
		if err != nil {
			t.Fatalf("input %d: %v", i, err)
		}
		for _, fact := range r.Facts {
			o := intel.Observation{Source: intel.Source{Type: intel.InspectionSource, Name: "x"}, Time: time.Now(), File: intel.Hashes{MD5: md5Hash([16]byte{1})}, Fact: fact}
			if err := o.Check(); err != nil {
				t.Errorf("input %d: %+v: %v", i, fact, err)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(image(100), string(filetype.PE))
	for format := range readers {
		f.Add([]byte("MZ"), string(format))
	}
	f.Fuzz(func(t *testing.T, b []byte, format string) {
		if _, err := Verify(filetype.Format(format), bytes.NewReader(b), int64(len(b)), &Trust{}); err != nil {
			t.Error(err)
		}
	})
}

// What stands in the unused places of a compound file's header must not hide its signature.
func TestCompoundHeader(t *testing.T) {
	b, err := os.ReadFile(realdata.Path(t, "files", "relic-functest", "dummy.msi"))
	if err != nil {
		t.Fatal(err)
	}
	entries := func() int {
		f := &file{r: &guarded{r: bytes.NewReader(b)}, size: int64(len(b))}
		c, err := f.installer()
		if err != nil {
			t.Fatal(err)
		}
		return len(c.Entries)
	}
	want := entries()
	for _, slot := range []int{1, 10, 108} {
		copy(b[76+4*slot:], "\xe3\xff\xff\xff") // a sector far beyond the file
		if got := entries(); got != want {
			t.Errorf("%d entries, not %d", got, want)
		}
	}
}
