package signature

import (
	"crypto"
	//lint:ignore SA1019 signatures of old files are made with it
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	_ "crypto/md5" // links the digests that signatures use
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"math/big"
)

// The digests that a signature may name.
var digestOf = map[string]crypto.Hash{
	id(1, 2, 840, 113549, 2, 5):        crypto.MD5,
	id(1, 3, 14, 3, 2, 26):             crypto.SHA1,
	id(2, 16, 840, 1, 101, 3, 4, 2, 1): crypto.SHA256,
	id(2, 16, 840, 1, 101, 3, 4, 2, 2): crypto.SHA384,
	id(2, 16, 840, 1, 101, 3, 4, 2, 3): crypto.SHA512,
	id(2, 16, 840, 1, 101, 3, 4, 2, 4): crypto.SHA224,
	id(1, 2, 840, 113549, 1, 1, 4):     crypto.MD5, // some signers name the digest by the signature's algorithm
	id(1, 2, 840, 113549, 1, 1, 5):     crypto.SHA1,
	id(1, 2, 840, 113549, 1, 1, 11):    crypto.SHA256,
	id(1, 2, 840, 113549, 1, 1, 12):    crypto.SHA384,
	id(1, 2, 840, 113549, 1, 1, 13):    crypto.SHA512,
	id(1, 2, 840, 113549, 1, 1, 14):    crypto.SHA224,
	id(1, 3, 14, 3, 2, 29):             crypto.SHA1,
	id(1, 2, 840, 10045, 4, 1):         crypto.SHA1,
	id(1, 2, 840, 10045, 4, 3, 1):      crypto.SHA224,
	id(1, 2, 840, 10045, 4, 3, 2):      crypto.SHA256,
	id(1, 2, 840, 10045, 4, 3, 3):      crypto.SHA384,
	id(1, 2, 840, 10045, 4, 3, 4):      crypto.SHA512,
	id(1, 2, 840, 10040, 4, 3):         crypto.SHA1,
	id(2, 16, 840, 1, 101, 3, 4, 3, 1): crypto.SHA224,
	id(2, 16, 840, 1, 101, 3, 4, 3, 2): crypto.SHA256,
	id(1, 3, 14, 3, 2, 27):             crypto.SHA1,
	id(1, 3, 14, 3, 2, 3):              crypto.MD5,
}

var (
	oidRSAPSS  = id(1, 2, 840, 113549, 1, 1, 10)
	oidMGF1    = id(1, 2, 840, 113549, 1, 1, 8)
	oidEd25519 = id(1, 3, 101, 112)
)

// Keys larger than these are no one's, but cost much to compute with.
const (
	maxRSABits = 16384
	maxDSABits = 4096
)

var errSignature = errors.New("the signature is not of this key and these bytes")

// digestName writes a digest as a person does.
func digestName(h crypto.Hash) string {
	if h == 0 {
		return "unknown digest"
	}
	return h.String()
}

func weak(h crypto.Hash) bool { return h == crypto.MD5 || h == crypto.SHA1 }

func sum(h crypto.Hash, parts ...[]byte) []byte {
	w := h.New()
	for _, p := range parts {
		w.Write(p)
	}
	return w.Sum(nil)
}

// pss returns the digest and the length of the salt that the parameters of RSASSA-PSS name.
func pss(parameters []byte) (crypto.Hash, int, error) {
	h, salt := crypto.SHA1, 20
	d := &der{b: parameters}
	if !d.more() {
		return h, salt, nil
	}
	seq := d.want(tagSequence)
	in := seq.inside()
	if e, ok := in.optional(0); ok {
		h = digestOf[e.inside().algorithm().oid]
	}
	if e, ok := in.optional(1); ok {
		mgf := e.inside().algorithm()
		inner := (&der{b: mgf.parameters}).algorithm()
		if mgf.oid != oidMGF1 || digestOf[inner.oid] != h {
			return 0, 0, errors.New("RSASSA-PSS with a mask generation that is not supported")
		}
	}
	if e, ok := in.optional(2); ok {
		n := e.inside().want(tagInteger)
		if len(n.body) > 2 {
			return 0, 0, errDER
		}
		salt = 0
		for _, c := range n.body {
			salt = salt<<8 | int(c)
		}
	}
	if d.err != nil || in.err != nil {
		return 0, 0, errDER
	}
	if h == 0 || !h.Available() {
		return 0, 0, errors.New("RSASSA-PSS with an unknown digest")
	}
	return h, salt, nil
}

// verifyBytes verifies a signature over message. fallback is the digest where the algorithm does not name one. It returns the digest used.
func verifyBytes(key any, alg algorithm, fallback crypto.Hash, message, sig []byte) (crypto.Hash, error) {
	if alg.oid == oidEd25519 {
		pub, ok := key.(ed25519.PublicKey)
		if !ok || len(pub) != ed25519.PublicKeySize {
			return 0, errSignature
		}
		if !ed25519.Verify(pub, message, sig) {
			return crypto.SHA512, errSignature
		}
		return crypto.SHA512, nil
	}
	h, salt := fallback, -1
	if alg.oid == oidRSAPSS {
		var err error
		if h, salt, err = pss(alg.parameters); err != nil {
			return 0, err
		}
	} else if named, ok := digestOf[alg.oid]; ok && named != 0 {
		h = named
	}
	if h == 0 || !h.Available() {
		return 0, fmt.Errorf("the algorithm %s is not supported", dotted(alg.oid))
	}
	return h, verifyDigest(key, h, salt, sum(h, message), sig)
}

// verifyDigest verifies a signature over a digest; salt is the length of the salt of RSASSA-PSS, -1 for PKCS #1 v1.5 and other keys.
func verifyDigest(key any, h crypto.Hash, salt int, digest, sig []byte) error {
	switch pub := key.(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits", pub.N.BitLen())
		}
		if pub.N.BitLen() < 1024 {
			return verifySmallRSA(pub, h, salt, digest, sig)
		}
		var err error
		if salt >= 0 {
			err = rsa.VerifyPSS(pub, h, digest, sig, &rsa.PSSOptions{SaltLength: salt})
		} else {
			err = rsa.VerifyPKCS1v15(pub, h, digest, sig)
			if err != nil && weak(h) { // Symantec's time stamps have the bare digest, without the name of its algorithm
				err = rsa.VerifyPKCS1v15(pub, 0, digest, sig)
			}
		}
		if err != nil {
			return errSignature
		}
		return nil
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(pub, digest, sig) {
			return errSignature
		}
		return nil
	case *dsa.PublicKey:
		return verifyDSA(pub, digest, sig)
	case ed25519.PublicKey:
		return errSignature
	}
	return errors.New("a key of a kind that is not supported")
}

// prefixes are the DigestInfo headers of PKCS #1 v1.5.
var prefixes = map[crypto.Hash]string{
	crypto.MD5:    "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.SHA1:   "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
}

// verifySmallRSA verifies with the keys of less than 1024 bits that crypto/rsa refuses; old files have them, and no secret is at stake.
func verifySmallRSA(pub *rsa.PublicKey, h crypto.Hash, salt int, digest, sig []byte) error {
	prefix, ok := prefixes[h]
	size := (pub.N.BitLen() + 7) / 8
	if !ok || salt >= 0 || size < len(prefix)+len(digest)+11 || len(sig) != size || pub.E < 3 {
		return fmt.Errorf("an RSA key of %d bits", pub.N.BitLen())
	}
	want := make([]byte, 0, size)
	want = append(want, 0, 1)
	for len(want) < size-len(prefix)-len(digest)-1 {
		want = append(want, 0xff)
	}
	want = append(append(append(want, 0), prefix...), digest...)
	got := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(pub.E)), pub.N)
	if got.Cmp(new(big.Int).SetBytes(want)) != 0 {
		return errSignature
	}
	return nil
}

func verifyDSA(pub *dsa.PublicKey, digest, sig []byte) error {
	if n := pub.P.BitLen(); n > maxDSABits || n < 512 || pub.Q.BitLen() > 512 || pub.Q.BitLen() < 128 || pub.P.Bit(0) == 0 || pub.Q.Bit(0) == 0 {
		return errors.New("a DSA key that is not supported")
	}
	d := &der{b: sig}
	seq := d.want(tagSequence)
	in := seq.inside()
	r, s := in.want(tagInteger), in.want(tagInteger)
	if d.err != nil || in.err != nil || len(r.body) > 65 || len(s.body) > 65 {
		return errSignature
	}
	if n := pub.Q.BitLen() / 8; len(digest) > n {
		digest = digest[:n]
	}
	if !dsa.Verify(pub, digest, new(big.Int).SetBytes(r.body), new(big.Int).SetBytes(s.body)) {
		return errSignature
	}
	return nil
}
