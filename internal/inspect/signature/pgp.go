package signature

import (
	"bytes"
	"crypto"
	//lint:ignore SA1019 signatures of old packages are made with it
	"crypto/dsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Bounds of OpenPGP signatures.
const (
	maxPGP        = 256 << 10 // bytes of one
	maxPGPReading = 4         // of a file that are verified, since each reads the file
)

var pgpHashes = map[byte]crypto.Hash{1: crypto.MD5, 2: crypto.SHA1, 8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512, 11: crypto.SHA224}

// pgpKey is an OpenPGP key of the operator's that may sign.
type pgpKey struct {
	public  *packet.PublicKey
	owner   string
	expires time.Time // zero: never
	revoked *revocation
}

// pgpKeys takes the keys that may sign from a key ring in binary form.
func pgpKeys(ring []byte) ([]*pgpKey, error) {
	list, err := openpgp.ReadKeyRing(bytes.NewReader(ring))
	if err != nil {
		return nil, err
	}
	var all []*pgpKey
	for _, e := range list {
		self, identity := e.PrimarySelfSignature()
		if self == nil {
			continue
		}
		owner := "OpenPGP key " + e.PrimaryKey.KeyIdString()
		if identity != nil {
			owner = clean(identity.Name)
		}
		add := func(public *packet.PublicKey, self *packet.Signature, revocations ...*packet.Signature) {
			if !public.CanSign() || self.FlagsValid && !self.FlagSign {
				return
			}
			k := &pgpKey{public: public, owner: owner}
			if s := self.KeyLifetimeSecs; s != nil && *s != 0 {
				k.expires = public.CreationTime.Add(time.Duration(*s) * time.Second)
			}
			for _, r := range revocations {
				if k.revoked == nil || r.CreationTime.Before(k.revoked.at) {
					k.revoked = &revocation{at: r.CreationTime}
					if why := r.RevocationReason; why != nil && *why == packet.KeyCompromised {
						k.revoked.reason = 1
					}
				}
			}
			all = append(all, k)
		}
		add(e.PrimaryKey, self, e.Revocations...)
		for _, sub := range e.Subkeys {
			add(sub.PublicKey, sub.Sig, slices.Concat(e.Revocations, sub.Revocations)...)
		}
	}
	return all, nil
}

// pgp verifies the OpenPGP signatures in b over what content writes, with the operator's keys. Where the key is not there, it is named.
func (f *file) pgp(kind string, b []byte, content func(io.Writer) error) {
	if i := bytes.Index(b, []byte("-----BEGIN PGP SIGNATURE-----")); i >= 0 {
		b = dearmor(b[i:])
	}
	for n := 0; len(b) > 0 && n < maxSigners; n++ {
		tag, body, rest, ok := pgpPacket(b)
		if !ok {
			if n == 0 {
				f.add(&finding{kind: kind, state: malformed, why: "no OpenPGP signature"})
			}
			return
		}
		raw := b[:len(b)-len(rest)]
		b = rest
		if tag != 2 {
			continue
		}
		x := &finding{kind: kind}
		id := pgpSignature(body, x)
		if id == "" {
			id = "unknown"
		}
		x.signer = "OpenPGP key " + id
		f.pgpVerify(x, id, raw, body, content)
		f.add(x)
	}
}

// pgpVerify verifies one signature with the key of the operator's that it names by id or fingerprint.
func (f *file) pgpVerify(x *finding, id string, raw, body []byte, content func(io.Writer) error) {
	var keys []*pgpKey
	if len(id) >= 16 {
		short := id[len(id)-16:]
		if len(id) == 64 { // of newer keys the id is the front of the fingerprint
			short = id[:16]
		}
		keys = f.verifier.pool.keys[short]
	}
	if f.pgpReadings++; f.pgpReadings > maxPGPReading {
		x.fail(unchecked, "more than %d OpenPGP signatures", maxPGPReading)
		return
	}
	if weak(x.hash) {
		x.remark("weak digest %s", digestName(x.hash))
	}
	verify, changedTo, err := pgpDigest(raw, body, content)
	switch {
	case f.r.err != nil:
		return
	case err != nil:
		x.fail(unchecked, "%v", err)
		return
	case changedTo: // the signature holds two bytes of the digest, in clear
		x.fail(changed, "changed after signing")
	case len(keys) == 0:
		x.fail(unchecked, "its OpenPGP key is none of the operator's")
	}
	if len(keys) == 0 {
		return
	}
	k := keys[0]
	x.signer = k.owner
	x.remark("key %s", id)
	if x.state != changed {
		err := errSignature
		for _, k = range keys {
			if err = verify(k.public); err == nil {
				break
			}
		}
		if err != nil {
			x.fail(forged, "the signature is wrong: %v", err)
		}
	}
	now := f.verifier.now
	switch {
	case k.revoked != nil:
		x.fail(revoked, "the key of %s was revoked on %s%s", quoted(k.owner), day(k.revoked.at), reason(k.revoked.reason))
	case !k.expires.IsZero() && now.After(k.expires):
		x.fail(expired, "the key of %s expired on %s, and no trusted time stamp says that the signature is older", quoted(k.owner), day(k.expires))
	case x.claimed.After(now.Add(24 * time.Hour)):
		x.fail(early, "signed on %s by its own word", day(x.claimed))
	}
}

// pgpDigest reads what a signature is over. It returns how to verify it with a key, and whether the bytes of the digest that the signature holds in
// clear differ already.
func pgpDigest(raw, body []byte, content func(io.Writer) error) (verify func(*packet.PublicKey) error, differs bool, err error) {
	if len(body) > 19 && body[0] == 3 {
		h := pgpHashes[body[16]]
		if h == 0 || h == crypto.MD5 || body[1] != 5 || body[2] != 0 { // rpm and gpg no longer take MD5 either
			return nil, false, errors.New("an old OpenPGP signature of a kind that is not supported")
		}
		w := h.New()
		if err := content(w); err != nil {
			return nil, false, err
		}
		w.Write(body[2:7])
		digest := w.Sum(nil)
		return func(k *packet.PublicKey) error { return verifyOldPGP(k, body[15], h, digest, body[19:]) }, !bytes.Equal(digest[:2], body[17:19]), nil
	}
	p, err := packet.Read(bytes.NewReader(raw))
	if err != nil {
		return nil, false, fmt.Errorf("an OpenPGP signature that is not supported: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok || sig.SigType != packet.SigTypeBinary && sig.SigType != packet.SigTypeText {
		return nil, false, errors.New("an OpenPGP signature that is of no document")
	}
	w, err := sig.PrepareVerify()
	if err != nil {
		return nil, false, err
	}
	to := w
	if sig.SigType == packet.SigTypeText {
		to = openpgp.NewCanonicalTextHash(w)
	}
	if err := content(to); err != nil {
		return nil, false, err
	}
	state, ok := w.(interface {
		MarshalBinary() ([]byte, error)
		UnmarshalBinary([]byte) error
	})
	if !ok {
		return nil, false, errors.New("a digest that is not supported")
	}
	before, err := state.MarshalBinary()
	if err != nil {
		return nil, false, err
	}
	w.Write(sig.HashSuffix)
	differs = !bytes.Equal(w.Sum(nil)[:2], sig.HashTag[:])
	return func(k *packet.PublicKey) error {
		if err := state.UnmarshalBinary(before); err != nil {
			return err
		}
		return k.VerifySignature(w, sig)
	}, differs, nil
}

// verifyOldPGP verifies the third version's signature, which many RPMs have, from its numbers.
func verifyOldPGP(k *packet.PublicKey, algorithm byte, h crypto.Hash, digest, numbers []byte) error {
	number := func() *big.Int {
		if len(numbers) < 2 {
			return new(big.Int)
		}
		n := (int(binary.BigEndian.Uint16(numbers)) + 7) / 8
		numbers = numbers[2:]
		n = min(n, len(numbers))
		v := new(big.Int).SetBytes(numbers[:n])
		numbers = numbers[n:]
		return v
	}
	switch key := k.PublicKey.(type) {
	case *rsa.PublicKey:
		s := number()
		if size := (key.N.BitLen() + 7) / 8; (algorithm == 1 || algorithm == 3) && (s.BitLen()+7)/8 <= size {
			return verifyDigest(key, h, -1, digest, s.FillBytes(make([]byte, size)))
		}
	case *dsa.PublicKey:
		if algorithm == 17 {
			sig, err := asn1.Marshal(struct{ R, S *big.Int }{number(), number()})
			if err != nil {
				return errSignature
			}
			return verifyDSA(key, digest, sig)
		}
	}
	return errSignature
}

func dearmor(b []byte) []byte {
	var text strings.Builder
	body := false
	for i, line := range strings.Split(string(b[:min(len(b), maxPGP)]), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case i == 0:
		case strings.HasPrefix(line, "-----END"), body && strings.HasPrefix(line, "="):
			out, _ := base64.StdEncoding.DecodeString(text.String())
			return out
		case line == "":
			body = true
		case body:
			text.WriteString(line)
		}
	}
	return nil
}

// pgpPacket splits off one packet.
func pgpPacket(b []byte) (tag byte, body, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x80 == 0 {
		return 0, nil, nil, false
	}
	var n, head uint64
	if b[0]&0x40 != 0 { // the newer form
		tag = b[0] & 0x3f
		switch c := b[1]; {
		case c < 192:
			n, head = uint64(c), 2
		case c < 224 && len(b) > 2:
			n, head = (uint64(c)-192)<<8+uint64(b[2])+192, 3
		case c == 255 && len(b) > 5:
			n, head = uint64(binary.BigEndian.Uint32(b[2:])), 6
		default:
			return 0, nil, nil, false
		}
	} else {
		tag = b[0] >> 2 & 0xf
		switch kind := b[0] & 3; {
		case kind == 0:
			n, head = uint64(b[1]), 2
		case kind == 1 && len(b) > 2:
			n, head = uint64(binary.BigEndian.Uint16(b[1:])), 3
		case kind == 2 && len(b) > 4:
			n, head = uint64(binary.BigEndian.Uint32(b[1:])), 5
		default:
			return 0, nil, nil, false
		}
	}
	if n > uint64(len(b))-head {
		return 0, nil, nil, false
	}
	return tag, b[head : head+n], b[head+n:], true
}

// pgpSignature fills digest and time; it returns the key's id, or its fingerprint.
func pgpSignature(b []byte, x *finding) (key string) {
	if len(b) < 6 {
		return ""
	}
	switch b[0] {
	case 3:
		if len(b) < 17 {
			return ""
		}
		x.claimed = unix(b[3:])
		x.hash = pgpHashes[b[16]]
		return strings.ToUpper(hex.EncodeToString(b[7:15]))
	case 4, 5:
		x.hash = pgpHashes[b[3]]
		b = b[4:]
		for range 2 { // what is signed, then what is not
			n := int(binary.BigEndian.Uint16(b))
			if n > len(b)-2 {
				return key
			}
			for s := b[2 : 2+n]; len(s) > 1; {
				size, head := int(s[0]), 1
				if size >= 192 {
					if size < 255 {
						size, head = (size-192)<<8+int(s[1])+192, 2
					} else if len(s) > 5 {
						size, head = int(binary.BigEndian.Uint32(s[1:])&0xffffff), 5
					}
				}
				if size == 0 || size > len(s)-head {
					break
				}
				v := s[head+1 : head+size]
				switch s[head] & 0x7f {
				case 2:
					if len(v) == 4 && x.claimed.IsZero() {
						x.claimed = unix(v)
					}
				case 16:
					if key == "" {
						key = strings.ToUpper(hex.EncodeToString(v[:min(len(v), 8)]))
					}
				case 33:
					if len(v) > 1 {
						key = strings.ToUpper(hex.EncodeToString(v[1:min(len(v), 33)]))
					}
				}
				s = s[head+size:]
			}
			b = b[2+n:]
			if len(b) < 2 {
				break
			}
		}
	}
	return key
}

func unix(b []byte) time.Time { return time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC() }
