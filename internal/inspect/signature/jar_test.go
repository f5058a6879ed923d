package signature

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
)

// TestJarSigners signs JARs as jarsigner does. Its own verdict (of OpenJDK 17) was compared by hand on 26 JARs that it signed by each kind of key and
// digest, in parts and by two signers, and that were changed then; where it differs is in docs/signatures.md.
func TestJarSigners(t *testing.T) {
	openssl := tool(t, "openssl", "openssl")
	dir := t.TempDir()
	now := time.Now()
	root := issue(t, nil, dir, "Root", now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0))
	one := issue(t, root, dir, "One", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	two := issue(t, root, dir, "Two", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, b)
		}
	}
	// A key that is for RSASSA-PSS alone.
	run("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "pss.key")
	run("req", "-x509", "-new", "-key", "pss.key", "-subj", "/CN=PSS", "-days", "100", "-out", "pss.pem")
	b, err := os.ReadFile(filepath.Join(dir, "pss.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := pem.Decode(b)
	pss, err := x509.ParseCertificate(p.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	trust := &Trust{Roots: []*x509.Certificate{pss, root.cert}}

	digest := func(h crypto.Hash, b []byte) string { return base64.StdEncoding.EncodeToString(sum(h, b)) }
	name := map[crypto.Hash]string{crypto.MD5: "MD5", crypto.SHA1: "SHA1", crypto.SHA256: "SHA-256"}
	section := func(h crypto.Hash, file string, content []byte) string {
		return fmt.Sprintf("Name: %s\r\n%s-Digest: %s\r\n\r\n", file, name[h], digest(h, content))
	}
	const main = "Manifest-Version: 1.0\r\n\r\n"
	signed := func(sections ...string) []byte {
		all := "Signature-Version: 1.0\r\nSHA-256-Digest-Manifest: " + digest(crypto.SHA256, []byte(main+strings.Join(sections, ""))) +
			"\r\nSHA-256-Digest-Manifest-Main-Attributes: " + digest(crypto.SHA256, []byte(main)) + "\r\n\r\n"
		for _, s := range sections {
			file, _, _ := strings.Cut(strings.TrimPrefix(s, "Name: "), "\r\n")
			all += section(crypto.SHA256, file, []byte(s))
		}
		return []byte(all)
	}
	block := func(sf []byte, cert, key string, more ...string) []byte {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "sf"), sf, 0o600); err != nil {
			t.Fatal(err)
		}
		run(append([]string{"cms", "-sign", "-binary", "-in", "sf", "-signer", cert, "-inkey", key, "-md", "sha256", "-outform", "DER", "-out", "block"}, more...)...)
		b, err := os.ReadFile(filepath.Join(dir, "block"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	x, z := []byte("x"), []byte("z")
	ofX, ofZ := section(crypto.SHA256, "a/x.class", x), section(crypto.SHA256, "z.class", z)
	weakX := section(crypto.MD5, "a/x.class", x)
	byOne := func(sections ...string) []byte { return block(signed(sections...), one.certFile(), one.keyFile()) }
	byTwo := func(sections ...string) []byte { return block(signed(sections...), two.certFile(), two.keyFile()) }
	type members = map[string]string
	for _, tt := range []struct {
		what    string
		members members
		kind    filetype.Format
		want    []state
		remarks string // of the last signature
	}{
		{"plain", members{"META-INF/MANIFEST.MF": main + ofX, "META-INF/A.SF": string(signed(ofX)), "META-INF/A.RSA": string(byOne(ofX)), "a/x.class": "x"}, filetype.Jar, []state{valid}, ""},
		{"a key for PSS alone", members{"META-INF/MANIFEST.MF": main + ofX, "META-INF/A.SF": string(signed(ofX)),
			"META-INF/A.RSA": string(block(signed(ofX), "pss.pem", "pss.key", "-keyopt", "rsa_padding_mode:pss")), "a/x.class": "x"}, filetype.Jar, []state{valid}, ""},
		{"members by MD5", members{"META-INF/MANIFEST.MF": main + weakX, "META-INF/A.SF": string(signed(weakX)), "META-INF/A.RSA": string(byOne(weakX)), "a/x.class": "x"},
			filetype.Jar, []state{valid}, "weak digest MD5 of members"},
		{"a second signer of more", members{"META-INF/MANIFEST.MF": main + ofX + ofZ, "META-INF/B.SF": string(signed(ofX)), "META-INF/B.RSA": string(byOne(ofX)),
			"META-INF/A.SF": string(signed(ofX, ofZ)), "META-INF/A.RSA": string(byTwo(ofX, ofZ)), "a/x.class": "x", "z.class": "z"},
			filetype.Jar, []state{valid, valid}, "it does not sign “z.class”, which was added to the manifest"},
		{"a second signer of more, of an APK", members{"META-INF/MANIFEST.MF": main + ofX + ofZ, "META-INF/B.SF": string(signed(ofX)), "META-INF/B.RSA": string(byOne(ofX)),
			"META-INF/A.SF": string(signed(ofX, ofZ)), "META-INF/A.RSA": string(byTwo(ofX, ofZ)), "a/x.class": "x", "z.class": "z"}, filetype.APK, []state{valid, changed}, ""},
		{"a section changed", members{"META-INF/MANIFEST.MF": main + section(crypto.SHA256, "a/x.class", z), "META-INF/A.SF": string(signed(ofX)), "META-INF/A.RSA": string(byOne(ofX)),
			"a/x.class": "z"}, filetype.Jar, []state{changed}, ""},
		{"a member removed", members{"META-INF/MANIFEST.MF": main + ofX + ofZ, "META-INF/A.SF": string(signed(ofX, ofZ)), "META-INF/A.RSA": string(byOne(ofX, ofZ)), "a/x.class": "x"},
			filetype.Jar, []state{changed}, ""},
	} {
		var archive bytes.Buffer
		w := zip.NewWriter(&archive)
		for _, name := range slices.Sorted(maps.Keys(tt.members)) {
			f, err := w.Create(name)
			if err == nil {
				_, err = f.Write([]byte(tt.members[name]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := verify(tt.kind, bytes.NewReader(archive.Bytes()), int64(archive.Len()), trust)
		if err != nil || !slices.Equal(states(found), tt.want) || strings.Join(found[len(found)-1].remarks, "; ") != tt.remarks {
			t.Errorf("%s: %v, %v, want %v and %q", tt.what, states(found), err, tt.want, tt.remarks)
			for i, x := range found {
				t.Log(x.note(i + 1))
			}
		}
	}
}
