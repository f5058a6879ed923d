package signature

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"
)

// Bounds of one CMS message.
const (
	maxCMS     = 16 << 20 // bytes; catalogues are the largest
	maxCarried = 256      // certificates
	maxSigners = 16
	maxStamps  = 8 // of a signer
	maxNested  = 16
)

var (
	oidSignedData       = id(1, 2, 840, 113549, 1, 7, 2)
	oidContentType      = id(1, 2, 840, 113549, 1, 9, 3)
	oidMessageDigest    = id(1, 2, 840, 113549, 1, 9, 4)
	oidSigningTime      = id(1, 2, 840, 113549, 1, 9, 5)
	oidCounterSignature = id(1, 2, 840, 113549, 1, 9, 6)
	oidStampToken       = id(1, 2, 840, 113549, 1, 9, 16, 2, 14)
	oidStampInfo        = id(1, 2, 840, 113549, 1, 9, 16, 1, 4)
	oidSpcIndirectData  = id(1, 3, 6, 1, 4, 1, 311, 2, 1, 4)
	oidSpcOpus          = id(1, 3, 6, 1, 4, 1, 311, 2, 1, 12)
	oidNested           = id(1, 3, 6, 1, 4, 1, 311, 2, 4, 1)
	oidSpcStamp         = id(1, 3, 6, 1, 4, 1, 311, 3, 3, 1)
	oidCTL              = id(1, 3, 6, 1, 4, 1, 311, 10, 1)
)

// signedData is a CMS (PKCS #7) message of the type SignedData.
type signedData struct {
	contentType string
	content     []byte // what the signature is over: the body of the content's value; nil when it stands elsewhere
	whole       []byte // the content's value with its tag and length
	detached    bool
	carried     []*certificate
	unreadable  int // certificates that could not be read
	signers     []*signerInfo
	rest        int // bytes after the message that are not zero, to the last such
}

type signerInfo struct {
	issuer, serial string
	issuerName     string // as shown
	keyID          string
	digest         crypto.Hash
	digestOID      string
	alg            algorithm
	sig            []byte
	attributes     []byte // signed attributes as they were signed, nil when there are none
	contentType    string
	messageDigest  []byte
	signingTime    time.Time // the signer's own word
	program        string
	nested         [][]byte
	tokens         [][]byte // RFC 3161
	counters       []element
}

// parseCMS reads a ContentInfo with SignedData, or SignedData alone.
func parseCMS(b []byte) (*signedData, error) {
	if len(b) > maxCMS {
		return nil, fmt.Errorf("a signature of %d bytes; at most %d are read", len(b), maxCMS)
	}
	d := &der{b: b}
	outer := d.want(tagSequence)
	if d.err != nil {
		return nil, errors.New("no CMS message")
	}
	rest := len(bytes.TrimRight(d.b, "\x00"))
	in := outer.inside()
	if len(in.b) > 0 && in.b[0] == tagOID {
		if in.oid() != oidSignedData {
			return nil, errors.New("a CMS message that is not SignedData")
		}
		e, ok := in.optional(0)
		if !ok {
			return nil, errors.New("a CMS message without content")
		}
		body := e.inside().want(tagSequence)
		in = body.inside()
	}
	sd := &signedData{rest: rest}
	in.want(tagInteger)
	in.want(tagSet)
	content := in.want(tagSequence)
	if in.err != nil {
		return nil, errors.New("malformed SignedData")
	}
	c := content.inside()
	sd.contentType = c.oid()
	sd.detached = true
	if e, ok := c.optional(0); ok {
		if v := e.inside().next(); v.raw != nil {
			sd.detached, sd.whole = false, v.raw
			switch {
			case v.is(tagOctets):
				sd.content = octets(&v)
			case v.is(tagSequence):
				sd.content = v.body
			default: // nobody signs the tag
				return nil, errors.New("a CMS message with content that is neither a sequence nor octets")
			}
		}
	}
	if c.err != nil {
		return nil, errors.New("malformed SignedData")
	}
	if e, ok := in.optional(0); ok {
		for certs := e.inside(); certs.more() && len(sd.carried)+sd.unreadable < maxCarried; {
			x := certs.next()
			if certs.err != nil {
				break
			}
			if !x.is(tagSequence) {
				continue // attribute certificates
			}
			if cert, err := parseCertificate(x.raw); err == nil {
				sd.carried = append(sd.carried, cert)
			} else {
				sd.unreadable++
			}
		}
	}
	in.optional(1)
	infos := in.want(tagSet)
	if in.err != nil {
		return nil, errors.New("malformed SignedData")
	}
	for s := infos.inside(); s.more(); {
		e := s.want(tagSequence)
		if s.err != nil {
			return nil, errors.New("malformed signer")
		}
		if len(sd.signers) == maxSigners {
			return nil, fmt.Errorf("more than %d signers", maxSigners)
		}
		si, err := parseSigner(&e)
		if err != nil {
			return nil, err
		}
		sd.signers = append(sd.signers, si)
	}
	return sd, nil
}

func parseSigner(e *element) (*signerInfo, error) {
	bad := errors.New("malformed signer")
	si := &signerInfo{}
	d := e.inside()
	d.want(tagInteger)
	who := d.next()
	switch {
	case d.err != nil:
		return nil, bad
	case who.is(tagSequence):
		in := who.inside()
		issuer, serial := in.want(tagSequence), in.want(tagInteger)
		if in.err != nil {
			return nil, bad
		}
		si.issuer, si.issuerName = name(&issuer)
		si.serial = serialHex(serial.body)
	case who.context(0):
		o := octets(&who)
		if who.constructed {
			if x := who.inside().next(); x.is(tagOctets) {
				o = octets(&x)
			}
		}
		si.keyID = string(o)
	default:
		return nil, bad
	}
	si.digestOID = d.algorithm().oid
	si.digest = digestOf[si.digestOID]
	if attrs, ok := d.optional(0); ok {
		// They are signed as the SET that they are, not as the tagged field that they stand in.
		si.attributes = append([]byte{0x31}, attrs.raw[1:]...)
		if err := attributes(&attrs, func(oid string, values *der) {
			v := values.next()
			if values.err != nil {
				return
			}
			switch oid {
			case oidContentType:
				si.contentType = string(v.body)
			case oidMessageDigest:
				si.messageDigest = v.body
			case oidSigningTime:
				si.signingTime, _ = moment(&v)
			case oidSpcOpus:
				si.program = opus(&v)
			}
		}); err != nil {
			return nil, bad
		}
	}
	si.alg = d.algorithm()
	sig := d.want(tagOctets)
	if d.err != nil {
		return nil, bad
	}
	si.sig = octets(&sig)
	if attrs, ok := d.optional(1); ok {
		// What nobody signed may be broken without the signature being so.
		_ = attributes(&attrs, func(oid string, values *der) {
			for values.more() {
				v := values.next()
				if values.err != nil {
					return
				}
				switch oid {
				case oidNested:
					if len(si.nested) < maxNested {
						si.nested = append(si.nested, v.raw)
					}
				case oidSpcStamp, oidStampToken:
					if len(si.tokens) < maxStamps {
						si.tokens = append(si.tokens, v.raw)
					}
				case oidCounterSignature:
					if len(si.counters) < maxStamps {
						si.counters = append(si.counters, v)
					}
				}
			}
		})
	}
	return si, nil
}

// attributes calls each with every attribute and a reader of its values.
func attributes(set *element, each func(oid string, values *der)) error {
	d := set.inside()
	for d.more() {
		seq := d.want(tagSequence)
		in := seq.inside()
		oid := in.oid()
		values := in.want(tagSet)
		if in.err != nil || d.err != nil {
			return errDER
		}
		each(oid, values.inside())
	}
	return d.err
}

// opus returns the name of the program that an Authenticode signer gave.
func opus(e *element) string {
	p, ok := e.inside().optional(0)
	if !ok {
		return ""
	}
	in := p.inside()
	if s, ok := in.optional(0); ok {
		return utf16BE(s.body)
	}
	if s, ok := in.optional(1); ok {
		return clean(string(s.body[:min(len(s.body), maxText)]))
	}
	return ""
}

// certificate returns the signer's certificate among those carried, nil when it is not there.
func (si *signerInfo) certificate(sets ...[]*certificate) *certificate {
	for _, set := range sets {
		for _, c := range set {
			if si.keyID != "" && c.ski == si.keyID || si.keyID == "" && c.serial == si.serial && c.issuer == si.issuer {
				return c
			}
		}
	}
	return nil
}

// errChanged is that what was signed is not what is there.
var errChanged = errors.New("the content's digest is not the signed one")

// verify verifies that cert's key signed content of this digest. It does not look at who cert is.
func (si *signerInfo) verify(cert *certificate, digest func(crypto.Hash) ([]byte, error)) error {
	if si.digest == 0 || !si.digest.Available() {
		return fmt.Errorf("the digest %s is not supported", dotted(si.digestOID))
	}
	if cert.key == nil {
		return errors.New("the key in the certificate is of a kind that is not supported")
	}
	got, err := digest(si.digest)
	if err != nil {
		return err
	}
	if si.attributes == nil {
		salt := -1
		if si.alg.oid == oidRSAPSS {
			h, n, err := pss(si.alg.parameters)
			if err != nil || h != si.digest {
				return errSignature
			}
			salt = n
		}
		if err := verifyDigest(cert.key, si.digest, salt, got, si.sig); err != nil {
			if errors.Is(err, errSignature) {
				return errChanged
			}
			return err
		}
		return nil
	}
	if _, err := verifyBytes(cert.key, si.alg, si.digest, si.attributes, si.sig); err != nil {
		return err
	}
	if si.messageDigest == nil {
		return errors.New("signed attributes without a message digest")
	}
	if !bytes.Equal(got, si.messageDigest) {
		return errChanged
	}
	return nil
}

// of returns the digest of bytes in memory, as verify asks for it.
func of(b []byte) func(crypto.Hash) ([]byte, error) {
	return func(h crypto.Hash) ([]byte, error) { return sum(h, b), nil }
}
