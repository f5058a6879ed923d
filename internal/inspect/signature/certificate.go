package signature

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// certificate is read by ourselves, for crypto/x509 refuses some that real signatures carry, and refuses to verify with SHA-1 and MD5.
type certificate struct {
	raw, tbs         []byte
	serial           string // hex, upper case, whole bytes
	issuer, subject  string // names in a form that compares equal when they are the same name
	owner, publisher string // common name, else organisation
	notBefore        time.Time
	notAfter         time.Time
	spki             []byte
	key              any // nil when of a kind that is not supported
	alg              algorithm
	sig              []byte
	v1               bool
	basic            bool // basic constraints are there
	ca               bool
	pathLen          int // -1: no limit
	usage            int // key usage: the first two bytes' bits; -1 when absent
	purposes         []string
	anyPurpose       bool // no extended key usage, or the one that means any
	ski, aki         string
	unknownCritical  bool
}

var (
	oidKeyUsage    = id(2, 5, 29, 15)
	oidBasic       = id(2, 5, 29, 19)
	oidExtUsage    = id(2, 5, 29, 37)
	oidSKI         = id(2, 5, 29, 14)
	oidAKI         = id(2, 5, 29, 35)
	oidAnyUsage    = id(2, 5, 29, 37, 0)
	oidCodeSigning = id(1, 3, 6, 1, 5, 5, 7, 3, 3)
	oidTimeStamp   = id(1, 3, 6, 1, 5, 5, 7, 3, 8)
	oidCommonName  = id(2, 5, 4, 3)
	oidOrg         = id(2, 5, 4, 10)
	oidOrgUnit     = id(2, 5, 4, 11)

	// Critical extensions that need no treatment here: certificate policies, constraints on names and policies, alternative names, CRL distribution
	// points, Netscape's kind of certificate (Debian's authority for Secure Boot marks it as critical), and Apple's own, which mark what one is for.
	harmless = map[string]bool{
		id(2, 5, 29, 32): true, id(2, 5, 29, 33): true, id(2, 5, 29, 36): true, id(2, 5, 29, 54): true, id(2, 5, 29, 30): true,
		id(2, 5, 29, 17): true, id(2, 5, 29, 18): true, id(2, 5, 29, 31): true,
		id(2, 16, 840, 1, 113730, 1, 1): true,
	}
	applePrefix = id(1, 2, 840, 113635, 100, 6)
)

const (
	usageDigitalSignature = 0x80
	usageCertSign         = 0x04
)

// parseCertificate reads a certificate of X.509.
func parseCertificate(raw []byte) (*certificate, error) {
	d := &der{b: raw}
	outer := d.want(tagSequence)
	if d.err != nil {
		return nil, d.err
	}
	c := &certificate{raw: outer.raw, pathLen: -1, usage: -1, anyPurpose: true, v1: true}
	in := outer.inside()
	tbs := in.want(tagSequence)
	c.tbs = tbs.raw
	c.alg = in.algorithm()
	sig := in.want(tagBits)
	if in.err != nil || len(sig.body) < 1 {
		return nil, errDER
	}
	c.sig = sig.body[1:]

	t := tbs.inside()
	if e, ok := t.optional(0); ok {
		v := e.inside().want(tagInteger)
		c.v1 = len(v.body) != 1 || v.body[0] < 2
	}
	serial := t.want(tagInteger)
	c.serial = serialHex(serial.body)
	t.algorithm()
	issuer := t.want(tagSequence)
	validity := t.want(tagSequence)
	subject := t.want(tagSequence)
	spki := t.want(tagSequence)
	if t.err != nil {
		return nil, t.err
	}
	c.issuer, c.publisher = name(&issuer)
	c.subject, c.owner = name(&subject)
	v := validity.inside()
	from, until := v.next(), v.next()
	var ok1, ok2 bool
	c.notBefore, ok1 = moment(&from)
	c.notAfter, ok2 = moment(&until)
	if v.err != nil || !ok1 || !ok2 {
		return nil, errors.New("a certificate without a period of validity")
	}
	c.spki = spki.raw
	if len(spki.raw) <= maxRSABits/8*2 {
		c.key = publicKey(spki)
	}
	for t.more() {
		e := t.next()
		if e.context(3) {
			list := e.inside().want(tagSequence)
			c.extensions(list.inside())
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	return c, nil
}

// publicKey reads a SubjectPublicKeyInfo; nil when the key is of a kind that is not supported.
func publicKey(spki element) any {
	if key, err := x509.ParsePKIXPublicKey(spki.raw); err == nil {
		return key
	}
	in := spki.inside()
	alg, bits := in.algorithm(), in.want(tagBits)
	if in.err == nil && alg.oid == oidRSAPSS && len(bits.body) > 1 { // crypto/x509 does not know keys that are for this padding alone
		if key, err := x509.ParsePKCS1PublicKey(bits.body[1:]); err == nil {
			return key
		}
	}
	return nil
}

func (c *certificate) extensions(d *der) {
	for d.more() {
		e := d.want(tagSequence)
		in := e.inside()
		oid := in.oid()
		critical := false
		value := in.next()
		if value.is(tagBoolean) {
			critical = len(value.body) == 1 && value.body[0] != 0
			value = in.next()
		}
		if in.err != nil || d.err != nil {
			return
		}
		v := value.inside()
		switch oid {
		case oidBasic:
			c.basic = true
			seq := v.want(tagSequence)
			for b := seq.inside(); b.more(); {
				switch x := b.next(); {
				case x.is(tagBoolean):
					c.ca = len(x.body) == 1 && x.body[0] != 0
				case x.is(tagInteger) && len(x.body) == 1:
					c.pathLen = int(x.body[0])
				}
			}
		case oidKeyUsage:
			if bits := v.want(tagBits); len(bits.body) >= 2 {
				c.usage = int(bits.body[1])
			}
		case oidExtUsage:
			c.anyPurpose = false
			seq := v.want(tagSequence)
			for p := seq.inside(); p.more() && len(c.purposes) < 64; {
				o := p.oid()
				c.purposes = append(c.purposes, o)
				c.anyPurpose = c.anyPurpose || o == oidAnyUsage
			}
		case oidSKI:
			o := v.want(tagOctets)
			c.ski = string(o.body)
		case oidAKI:
			seq := v.want(tagSequence)
			if x, ok := seq.inside().optional(0); ok {
				c.aki = string(x.body)
			}
		default:
			if critical && !harmless[oid] && !strings.HasPrefix(oid, applePrefix) {
				c.unknownCritical = true
			}
		}
	}
}

// serialHex writes the serial number as certificate viewers do: whole bytes, without the byte that only keeps it positive.
func serialHex(b []byte) string {
	if len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return strings.ToUpper(hex.EncodeToString(b[:min(len(b), 64)]))
}

// name returns a Name in comparable form, and what it is shown as. Names compare as OpenSSL and Windows compare them: without regard to case,
// blanks at the ends and repeated, and the kind of the string.
func name(e *element) (key, shown string) {
	var b strings.Builder
	var common, org, unit, any string
	for d := e.inside(); d.more(); {
		set := d.want(tagSet)
		for s := set.inside(); s.more(); {
			seq := s.want(tagSequence)
			in := seq.inside()
			oid := in.oid()
			value := in.next()
			if in.err != nil {
				break
			}
			text := words(&value)
			b.WriteString(oid)
			b.WriteByte(0)
			if text != "" && len(value.body) <= maxText {
				b.WriteString(strings.ToLower(strings.Join(strings.Fields(text), " ")))
			} else {
				b.Write(value.body)
			}
			b.WriteByte(0)
			switch oid {
			case oidCommonName:
				common = text
			case oidOrg:
				org = text
			case oidOrgUnit:
				unit = text
			}
			any = text
		}
		b.WriteByte(1)
	}
	for _, s := range []string{common, org, unit, any} {
		if s != "" {
			return b.String(), s
		}
	}
	return b.String(), ""
}

func (c *certificate) md5() [md5.Size]byte { return md5.Sum(c.raw) }
func (c *certificate) selfIssued() bool    { return c.subject == c.issuer }

// signedBy reports whether the key of issuer made the signature on c, and with which digest.
func (c *certificate) signedBy(issuer *certificate) (crypto.Hash, error) {
	if issuer.key == nil {
		return 0, errors.New("a key of a kind that is not supported")
	}
	return verifyBytes(issuer.key, c.alg, 0, c.tbs, c.sig)
}

func (c *certificate) may(purpose string) bool {
	if c.anyPurpose || purpose == "" {
		return true
	}
	for _, p := range c.purposes {
		if p == purpose {
			return true
		}
	}
	return false
}

func (c *certificate) same(o *certificate) bool { return bytes.Equal(c.raw, o.raw) }
