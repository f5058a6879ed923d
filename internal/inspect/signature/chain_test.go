package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
)

// TestChains signs by keys of each kind and chains of each shape, and compares the verdict with that of osslsigncode, which has the same roots,
// intermediates and lists of revocations.
func TestChains(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	dir := t.TempDir()
	now := time.Now()
	type certified struct {
		*x509.Certificate
		key crypto.Signer
	}
	ec := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	small := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	serial := int64(1000)
	make := func(name string, key crypto.Signer, by *certified, change func(*x509.Certificate)) *certified {
		t.Helper()
		serial++
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Spoor, tests"}}, NotBefore: now.AddDate(-2, 0, 0),
			NotAfter: now.AddDate(2, 0, 0), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
		if change != nil {
			change(c)
		}
		parent, signer := c, key
		if by != nil {
			parent, signer = by.Certificate, by.key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return &certified{cert, key}
	}
	end := func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = false, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	list := func(by *certified, until time.Time, revoked ...*certified) *x509.RevocationList {
		t.Helper()
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.AddDate(-1, 0, 0), NextUpdate: until}
		for _, r := range revoked {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: now.AddDate(0, -6, 0)})
		}
		der, err := x509.CreateRevocationList(rand.Reader, l, by.Certificate, by.key)
		if err != nil {
			t.Fatal(err)
		}
		x, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	files := 0
	save := func(blocks ...*pem.Block) string {
		t.Helper()
		files++
		var b bytes.Buffer
		for _, x := range blocks {
			if err := pem.Encode(&b, x); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, fmt.Sprint(files, ".pem"))
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	saveCerts := func(all ...*certified) string {
		t.Helper()
		var blocks []*pem.Block
		for _, c := range all {
			blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		}
		return save(blocks...)
	}

	rootKey, middleKey, leafKey := ec(elliptic.P256()), ec(elliptic.P384()), small(2048)
	root := make("Root", rootKey, nil, nil)
	other := make("Other Root", small(2048), nil, nil)
	cross := make("Root", rootKey, other, nil) // the same name and key, signed by another root
	crossPast := make("Root", rootKey, other, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, -1, 0) })
	middle := make("Middle", middleKey, root, nil)
	middlePast := make("Middle", middleKey, root, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, -1, 0) })
	impostor := make("Middle", ec(elliptic.P384()), other, nil)
	leaf := make("Leaf", leafKey, middle, end)
	zeros := func(n int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
	}
	short := make("Short", ec(elliptic.P256()), root, zeros(0))
	below := make("Below", ec(elliptic.P256()), short, nil)
	noCA := make("Nobody", ec(elliptic.P256()), root, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	noSign := make("Signs lists", ec(elliptic.P256()), root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	webOnly := make("Web Authority", ec(elliptic.P256()), root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	next := now.AddDate(1, 0, 0)
	odd := func(name string, key crypto.Signer, by *certified) *certified { return make(name, key, by, end) }
	plain := filepath.Join(dir, "plain.exe")
	if err := os.WriteFile(plain, image(3000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what    string
		who     *certified
		carries []*certified
		hash    string
		roots   []*certified
		extra   []*certified // for osslsigncode a root like others, which it takes for no more than a link
		lists   []*x509.RevocationList
		want    state
		differs string // why osslsigncode says otherwise
	}{
		{what: "P-256", who: odd("P-256", ec(elliptic.P256()), root), hash: "sha256", roots: []*certified{root}},
		{what: "P-384", who: odd("P-384", ec(elliptic.P384()), root), hash: "sha384", roots: []*certified{root}},
		{what: "P-521", who: odd("P-521", ec(elliptic.P521()), root), hash: "sha512", roots: []*certified{root}},
		{what: "P-256 and SHA-1", who: odd("P-256", ec(elliptic.P256()), root), hash: "sha1", roots: []*certified{root}},
		{what: "RSA of 1024 bits", who: odd("1024", small(1024), root), hash: "sha256", roots: []*certified{root}},
		{what: "RSA of 3072 bits", who: odd("3072", small(3072), root), hash: "sha512", roots: []*certified{root}},
		{what: "a chain of three", who: leaf, carries: []*certified{middle}, roots: []*certified{root}},
		{what: "the root carried, too", who: leaf, carries: []*certified{root, middle}, roots: []*certified{root}},
		{what: "the root carried, but not trusted", who: leaf, carries: []*certified{root, middle}, roots: []*certified{other}, want: unrooted},
		{what: "no intermediate", who: leaf, roots: []*certified{root}, want: unrooted},
		{what: "the operator has the intermediate", who: leaf, roots: []*certified{root}, extra: []*certified{middle}},
		{what: "cross-signed, to the one root", who: leaf, carries: []*certified{middle, cross}, roots: []*certified{root}},
		{what: "cross-signed, to the other root", who: leaf, carries: []*certified{middle, cross}, roots: []*certified{other}},
		{what: "cross-signed, to both", who: leaf, carries: []*certified{cross, middle}, roots: []*certified{other, root}},
		{what: "cross-signed by what has expired, to the one root", who: leaf, carries: []*certified{middle, crossPast}, roots: []*certified{root}},
		{what: "cross-signed by what has expired, to the other root", who: leaf, carries: []*certified{middle, crossPast}, roots: []*certified{other}, want: expired},
		{what: "an intermediate that has expired and its successor", who: leaf, carries: []*certified{middlePast, middle}, roots: []*certified{root}},
		{what: "an intermediate that has expired", who: leaf, carries: []*certified{middlePast}, roots: []*certified{root}, want: expired},
		{what: "another intermediate of the same name", who: leaf, carries: []*certified{impostor, middle}, roots: []*certified{root, other}},
		{what: "only another intermediate of the same name", who: leaf, carries: []*certified{impostor}, roots: []*certified{root, other}, want: unrooted},
		{what: "longer than allowed", who: odd("Deep", ec(elliptic.P256()), below), carries: []*certified{below, short}, roots: []*certified{root}, want: purpose},
		{what: "as long as allowed", who: odd("Flat", ec(elliptic.P256()), short), carries: []*certified{short}, roots: []*certified{root}},
		{what: "by a certificate that is no authority", who: odd("Forged", ec(elliptic.P256()), noCA), carries: []*certified{noCA}, roots: []*certified{root}, want: purpose},
		{what: "by an authority that may not sign certificates", who: odd("Forged", ec(elliptic.P256()), noSign), carries: []*certified{noSign}, roots: []*certified{root}, want: purpose},
		{what: "by an authority for web servers", who: odd("Web", ec(elliptic.P256()), webOnly), carries: []*certified{webOnly}, roots: []*certified{root}, want: purpose,
			differs: "OpenSSL asks the signer's certificate alone for its purpose"},
		{what: "nobody revoked", who: leaf, carries: []*certified{middle}, roots: []*certified{root}, lists: []*x509.RevocationList{list(root, next), list(middle, next)}},
		{what: "the signer revoked", who: leaf, carries: []*certified{middle}, roots: []*certified{root}, lists: []*x509.RevocationList{list(root, next), list(middle, next, leaf)}, want: revoked},
		{what: "the intermediate revoked", who: leaf, carries: []*certified{middle}, roots: []*certified{root}, lists: []*x509.RevocationList{list(root, next, middle), list(middle, next)}, want: revoked,
			differs: "it asks for the signer's certificate only"},
		{what: "revoked by a list that was to be renewed", who: leaf, carries: []*certified{middle}, roots: []*certified{root},
			lists: []*x509.RevocationList{list(root, now.AddDate(0, -1, 0)), list(middle, now.AddDate(0, -1, 0), leaf)}, want: revoked},
		{what: "not in a list that was to be renewed", who: leaf, carries: []*certified{middle}, roots: []*certified{root},
			lists: []*x509.RevocationList{list(root, now.AddDate(0, -1, 0)), list(middle, now.AddDate(0, -1, 0))}, differs: "OpenSSL wants a list that is in date"},
		{what: "in the list of an impostor", who: leaf, carries: []*certified{middle}, roots: []*certified{root}, lists: []*x509.RevocationList{list(root, next), list(impostor, next, leaf)},
			differs: "OpenSSL then lacks the list of the right one"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			key, err := x509.MarshalPKCS8PrivateKey(tt.who.key)
			if err != nil {
				t.Fatal(err)
			}
			files++
			out := filepath.Join(dir, fmt.Sprint(files, ".exe"))
			if tt.hash == "" {
				tt.hash = "sha256"
			}
			args := []string{"sign", "-certs", saveCerts(append([]*certified{tt.who}, tt.carries...)...), "-key", save(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), "-h", tt.hash, "-in", plain, "-out", out}
			if b, err := exec.Command(osslsigncode, args...).CombinedOutput(); err != nil {
				t.Fatalf("osslsigncode %v: %v\n%s", args, err, b)
			}
			trust := &Trust{Revocations: tt.lists}
			for _, c := range tt.roots {
				trust.Roots = append(trust.Roots, c.Certificate)
			}
			for _, c := range tt.extra {
				trust.Extra = append(trust.Extra, c.Certificate)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			found, err := verify(filetype.PE, bytes.NewReader(b), int64(len(b)), trust)
			if err != nil || !slices.Equal(states(found), []state{tt.want}) {
				t.Errorf("%v, %v, want %v", states(found), err, tt.want)
				for i, x := range found {
					t.Log(x.note(i + 1))
				}
			}
			args = []string{"verify", "-ignore-cdp", "-in", out, "-CAfile", saveCerts(append(slices.Clone(tt.roots), tt.extra...)...)}
			if len(tt.lists) > 0 {
				var blocks []*pem.Block
				for _, l := range tt.lists {
					blocks = append(blocks, &pem.Block{Type: "X509 CRL", Bytes: l.Raw})
				}
				args = append(args, "-CRLfile", save(blocks...))
			}
			said, err := exec.Command(osslsigncode, args...).CombinedOutput()
			if theirs := err == nil; theirs != (tt.want == valid) == (tt.differs == "") {
				t.Errorf("valid for osslsigncode: %v, where it differs: %q\n%s", theirs, tt.differs, said)
			}
		})
	}
}
