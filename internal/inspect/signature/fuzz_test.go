package signature

import (
	"bytes"
	"crypto"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"spoor/internal/inspect/filetype"
)

// FuzzOpenPGP reads a Debian package's signature, with a key that is trusted.
func FuzzOpenPGP(f *testing.F) {
	e, err := openpgp.NewEntity("Packager", "", "p@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		f.Fatal(err)
	}
	var public, sig bytes.Buffer
	if err := e.Serialize(&public); err != nil {
		f.Fatal(err)
	}
	if err := openpgp.DetachSign(&sig, e, bytes.NewReader(bytes.Join([][]byte{debParts["debian-binary"], debParts["control.tar"], debParts["data.tar"]}, nil)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(sig.Bytes())
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFiles:\n\ta b 4 debian-binary\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte("\x89\x00\x20\x03\x05\x00\x66\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x01\x08\x00\x00\x00\x10\xff\xff"))
	trust := &Trust{Keys: [][]byte{public.Bytes()}}
	f.Fuzz(func(t *testing.T, sig []byte) {
		b := deb(member("_gpgorigin", sig))
		found, err := verify(filetype.Deb, bytes.NewReader(b), int64(len(b)), trust)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range found {
			if x.state == valid && !bytes.Contains(sig, e.PrimaryKey.Fingerprint) && !bytes.Contains(sig, []byte("BEGIN PGP")) {
				t.Errorf("valid without the key: %s", x.note(1))
			}
		}
	})
}

// FuzzPGPKeys reads a key ring.
func FuzzPGPKeys(f *testing.F) {
	e, err := openpgp.NewEntity("Packager", "", "p@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		f.Fatal(err)
	}
	var public bytes.Buffer
	if err := e.Serialize(&public); err != nil {
		f.Fatal(err)
	}
	f.Add(public.Bytes())
	f.Fuzz(func(t *testing.T, ring []byte) {
		l := &loader{trust: &Trust{}, seen: map[[32]byte]bool{}}
		l.load("x.gpg", "x", ring)
		newPool(l.trust)
	})
}

// FuzzRPM reads the headers of an RPM.
func FuzzRPM(f *testing.F) {
	header := func(entries ...[]byte) []byte {
		b := append([]byte("\x8e\xad\xe8\x01\x00\x00\x00\x00"), 0, 0, 0, byte(len(entries)), 0, 0, 0, 80)
		return append(append(b, bytes.Join(entries, nil)...), bytes.Repeat([]byte{'0'}, 80)...)
	}
	seed := append([]byte("\xed\xab\xee\xdb"), make([]byte, 92)...)
	seed = append(seed, header([]byte("\x00\x00\x01\x11\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("\x00\x00\x03\xec\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x10"), []byte("\x00\x00\x01\x0c\x00\x00\x00\x07\x00\x00\x00\x10\x00\x00\x00\x10"))...)
	for len(seed)%8 != 0 {
		seed = append(seed, 0)
	}
	seed = append(seed, header([]byte("\x00\x00\x13\xe4\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("\x00\x00\x13\xe5\x00\x00\x00\x04\x00\x00\x00\x04\x00\x00\x00\x01"))...)
	f.Add(append(seed, "payload"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := verify(filetype.RPM, bytes.NewReader(b), int64(len(b)), &Trust{}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzXML: the canonical form is XML that has itself as its canonical form.
func FuzzXML(f *testing.F) {
	f.Add([]byte(`<x:a xmlns:x="u" xmlns="d" x:z="1" a="2"><b xmlns="">&lt;<c xmlns="d"/></b></x:a>`))
	f.Add([]byte(`<Signature xmlns="` + dsig + `"><SignedInfo><CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/><Reference URI="#a"/></SignedInfo><SignatureValue>AA==</SignatureValue><Object Id="a"/></Signature>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := parseXML(b)
		if err != nil {
			return
		}
		for _, exclusive := range []bool{false, true} {
			form := root.canonical(exclusive)
			again, err := parseXML(form)
			if err != nil {
				continue // what an attribute may not hold here, written as a reference
			}
			if got := again.canonical(exclusive); !bytes.Equal(got, form) {
				t.Errorf("%q, then %q", form, got)
			}
		}
		_, _, _ = verifyXML(root, crypto.PublicKey(nil))
	})
}

// FuzzScript reads a script's signature block, in bytes and in UTF-16.
func FuzzScript(f *testing.F) {
	for _, s := range scriptStyles {
		text := "text\r\n" + s.first + "\r\n" + s.prefix + "MAA=" + s.suffix + "\r\n" + s.last + "\r\n"
		f.Add([]byte(text))
		f.Add(append([]byte{0xff, 0xfe}, utf16LE(text)...))
		f.Add(append([]byte{0xfe, 0xff, 0}, utf16LE(text)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := verify(filetype.Script, bytes.NewReader(b), int64(len(b)), &Trust{}); err != nil {
			t.Fatal(err)
		}
	})
}
