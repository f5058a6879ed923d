package inspect

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"spoor/internal/inspect/signature"
	"spoor/internal/intel"
)

func oid(arcs ...int) asn1.ObjectIdentifier { return arcs }

// tlv is a value of DER of less than 64 KiB.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	if len(body) < 0x80 {
		return append([]byte{tag, byte(len(body))}, body...)
	}
	return append([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
}

func der(t *testing.T, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// catalogue is one without a signature, of files by their digests: as before Windows 8, with the digest in an attribute and its text as the name, or
// as since then by the digest alone.
func catalogue(t *testing.T, algorithm asn1.ObjectIdentifier, named bool, digests ...[]byte) []byte {
	t.Helper()
	var files []byte
	for _, d := range digests {
		name, attributes := d, []byte{}
		if named {
			name = nil
			for _, u := range utf16.Encode([]rune(fmt.Sprintf("%X\x00", d))) {
				name = binary.LittleEndian.AppendUint16(name, u)
			}
			image := tlv(0x30, der(t, oid(1, 3, 6, 1, 4, 1, 311, 2, 1, 15)), tlv(0x30, []byte{3, 1, 0}, tlv(0xa0, tlv(0xa2, tlv(0x80)))))
			value := tlv(0x30, image, tlv(0x30, tlv(0x30, der(t, algorithm), []byte{5, 0}), tlv(0x04, d)))
			attributes = tlv(0x30, der(t, oid(1, 3, 6, 1, 4, 1, 311, 2, 1, 4)), tlv(0x31, value))
		}
		files = append(files, tlv(0x30, tlv(0x04, name), tlv(0x31, attributes))...)
	}
	list := tlv(0x30, tlv(0x30, der(t, oid(1, 3, 6, 1, 4, 1, 311, 12, 1, 1))), tlv(0x04, []byte("0123456789abcdef")), der(t, time.Unix(1e9, 0).UTC()),
		tlv(0x30, der(t, oid(1, 3, 6, 1, 4, 1, 311, 12, 1, 2)), []byte{5, 0}), tlv(0x30, files))
	content := tlv(0x30, der(t, oid(1, 3, 6, 1, 4, 1, 311, 10, 1)), tlv(0xa0, list))
	return tlv(0x30, der(t, oid(1, 2, 840, 113549, 1, 7, 2)), tlv(0xa0, tlv(0x30, []byte{2, 1, 1}, tlv(0x31), content, tlv(0x31))))
}

// TestCatalogue inspects an archive in which files are signed by way of a catalogue, and asks osslsigncode about each of them.
func TestCatalogue(t *testing.T) {
	osslsigncode, err := exec.LookPath("osslsigncode")
	if err != nil {
		t.Skip("osslsigncode is not installed (Debian's package osslsigncode)")
	}
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Driver House"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certFile := save("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	keyFile := save("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))

	// A driver whose size is no multiple of eight, the same with its code changed, and a text.
	driver := program(t, 1001)
	changed := bytes.Clone(driver)
	changed[0x500] ^= 1
	text := []byte("[Version]\r\nCatalogFile=driver.cat\r\n")
	other := []byte("nobody lists this")
	authenticode := func(b []byte, pad int) []byte {
		const checksum, table = 0x80 + 24 + 64, 0x80 + 24 + 112 + 32
		return bytes.Join([][]byte{b[:checksum], b[checksum+4 : table], b[table+8:], make([]byte, pad)}, nil)
	}
	one, two := sha1.Sum(authenticode(driver, 7)), sha256.Sum256(authenticode(driver, 7))
	flat := sha1.Sum(text)
	bare := sha256.Sum256(authenticode(driver, 0))
	textToo := sha256.Sum256(text)
	sha1OID, sha256OID := oid(1, 3, 14, 3, 2, 26), oid(2, 16, 840, 1, 101, 3, 4, 2, 1)
	for _, tt := range []struct {
		what   string
		list   []byte
		driver bool // is listed
		text   bool
		spoilt bool // the signature of the catalogue
		ask    bool // osslsigncode, which knows the earlier lists, and programs with their zeros only
	}{
		{"SHA-1", catalogue(t, sha1OID, true, one[:], flat[:]), true, true, false, true},
		{"SHA-256", catalogue(t, sha256OID, true, two[:]), true, false, false, true},
		{"SHA-256 without zeros", catalogue(t, sha256OID, true, bare[:]), true, false, false, false},
		{"names that are digests", catalogue(t, sha256OID, false, two[:], textToo[:]), true, true, false, false},
		{"another program's", catalogue(t, sha1OID, true, flat[:]), false, true, false, true},
		{"changed itself", catalogue(t, sha1OID, true, one[:], flat[:]), false, false, true, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			in, out := save("in.cat", tt.list), filepath.Join(dir, "out.cat")
			_ = os.Remove(out) // of the case before
			if b, err := exec.Command(osslsigncode, "sign", "-certs", certFile, "-key", keyFile, "-h", "sha256", "-in", in, "-out", out).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			cat, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if tt.spoilt {
				cat[bytes.Index(cat, []byte("0123456789abcdef"))] ^= 1
			}
			var archive bytes.Buffer
			z := zip.NewWriter(&archive)
			files := []entry{{"driver.sys", driver}, {"driver.inf", text}, {"driver.cat", cat}, {"changed.sys", changed}, {"other.txt", other}}
			for _, f := range files {
				w, err := z.Create(f.name)
				if err == nil {
					_, err = w.Write(f.content)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			_, all := look(t, archive.Bytes(), "driver.zip", func(i *Inspector) { i.Trust = &signature.Trust{Roots: []*x509.Certificate{root}} })
			for _, f := range files {
				want := f.name == "driver.sys" && tt.driver || f.name == "driver.inf" && tt.text
				if f.name == "driver.cat" {
					continue
				}
				var signed, certified, noted bool
				for _, o := range all {
					if o.File.SHA256.String() != fmt.Sprintf("%x", sha256.Sum256(f.content)) {
						continue
					}
					switch x := o.Fact.(type) {
					case intel.Signature:
						signed = true
						if x.Signer != "Driver House" || x.Status != intel.Trusted {
							t.Errorf("%s: %+v", f.name, x)
						}
					case intel.Certificate:
						certified = true
						if x.Direct || !x.Trusted || x.Serial != "07" {
							t.Errorf("%s: %+v", f.name, x)
						}
					case intel.Attribute:
						noted = noted || x.Name == intel.SignatureNote && strings.HasPrefix(x.Value, "in a catalogue: signature 1 (catalogue, SHA-256): valid")
					}
				}
				if signed != want || certified != want || noted != want {
					t.Errorf("%s: signed: %v, with a certificate: %v, with a note: %v; want %v", f.name, signed, certified, noted, want)
				}
				if tt.ask && strings.HasSuffix(f.name, ".sys") {
					said, err := exec.Command(osslsigncode, "verify", "-CAfile", certFile, "-catalog", out, "-in", save(f.name, f.content)).CombinedOutput()
					if theirs := err == nil; theirs != want {
						t.Errorf("%s: valid for osslsigncode: %v\n%s", f.name, theirs, said)
					}
				}
			}
		})
	}
}

// program is a PE of a header of 0x400 bytes and more.
func program(t *testing.T, more int) []byte {
	t.Helper()
	le := binary.LittleEndian
	b := make([]byte, 0x400+more)
	copy(b, "MZ")
	le.PutUint32(b[0x3C:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], 0x8664)
	le.PutUint16(p[6:], 1)
	le.PutUint16(p[20:], 240)
	le.PutUint16(p[22:], 0x22)
	o := p[24:]
	le.PutUint16(o, 0x20B)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[60:], 0x400)
	le.PutUint16(o[68:], 1)
	le.PutUint32(o[108:], 16)
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], uint32(more))
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], uint32(more))
	le.PutUint32(s[20:], 0x400)
	for i := range b[0x400:] {
		b[0x400+i] = byte(i * 7)
	}
	return b
}
