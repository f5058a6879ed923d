package signature

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync"
	"time"
)

// state is what came of verifying a signature. Larger is worse to have said of it.
type state int

const (
	valid     state = iota
	unchecked       // there, and named, but nothing here can verify it
	expired         // a certificate had expired, and no time stamp says that the signature is older
	early           // a certificate was not yet valid
	purpose         // a certificate is not for this
	unrooted        // the chain does not reach a root of the operator
	appended        // right but for bytes that came after it
	revoked         // a certificate had been revoked
	changed         // the file is not what was signed
	forged          // the signature is not of the key that it names
	malformed       // it cannot be read
)

// maxChain bounds the certificates of a chain, maxLinks the signatures on certificates that are verified for one file.
const (
	maxChain = 10
	maxLinks = 2000
)

// pool is Trust made ready to be searched.
type pool struct {
	roots map[string][]*certificate // by subject
	known map[[sha256.Size]byte]bool
	extra map[string][]*certificate
	crls  map[string][]*crl    // by issuer
	all   []*certificate       // roots and extra
	keys  map[string][]*pgpKey // by id, in hex
}

type crl struct {
	tbs, sig []byte
	alg      algorithm
	entries  map[string]revocation // by serial number

	mu sync.Mutex
	by map[string]bool // keys that were tried: whether the list is of that key
}

type revocation struct {
	at     time.Time
	reason int
}

func newPool(t *Trust) *pool {
	p := &pool{roots: map[string][]*certificate{}, known: map[[sha256.Size]byte]bool{}, extra: map[string][]*certificate{}, crls: map[string][]*crl{}, keys: map[string][]*pgpKey{}}
	if t == nil {
		return p
	}
	for _, x := range t.Roots {
		if c, err := parseCertificate(x.Raw); err == nil {
			p.roots[c.subject] = append(p.roots[c.subject], c)
			p.known[sha256.Sum256(c.raw)] = true
			p.all = append(p.all, c)
		}
	}
	for _, x := range t.Extra {
		if c, err := parseCertificate(x.Raw); err == nil {
			p.extra[c.subject] = append(p.extra[c.subject], c)
			p.all = append(p.all, c)
		}
	}
	for _, x := range t.Revocations {
		if issuer, l := newCRL(x); l != nil {
			p.crls[issuer] = append(p.crls[issuer], l)
		}
	}
	for _, ring := range t.Keys {
		keys, err := pgpKeys(ring)
		if err != nil {
			continue // LoadTrust took none that cannot be read
		}
		for _, k := range keys {
			id := k.public.KeyIdString()
			p.keys[id] = append(p.keys[id], k)
		}
	}
	return p
}

// newCRL makes a list ready; nil when its bytes cannot be read.
func newCRL(x *x509.RevocationList) (issuer string, l *crl) {
	d := &der{b: x.Raw}
	outer := d.want(tagSequence)
	in := outer.inside()
	tbs := in.want(tagSequence)
	l = &crl{tbs: tbs.raw, entries: make(map[string]revocation, len(x.RevokedCertificateEntries)), by: map[string]bool{}}
	l.alg = in.algorithm()
	sig := in.want(tagBits)
	issuerName := (&der{b: x.RawIssuer}).want(tagSequence)
	if d.err != nil || in.err != nil || len(sig.body) < 1 {
		return "", nil
	}
	l.sig = sig.body[1:]
	issuer, _ = name(&issuerName)
	for i := range x.RevokedCertificateEntries {
		e := &x.RevokedCertificateEntries[i]
		if e.SerialNumber == nil || e.ReasonCode == 8 { // removeFromCRL
			continue
		}
		at := e.RevocationTime
		for _, ext := range e.Extensions {
			if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 24}) { // invalidity date: since when the key is suspect
				v := (&der{b: ext.Value}).next()
				if t, ok := moment(&v); ok && t.Before(at) {
					at = t
				}
			}
		}
		l.entries[serialHex(e.SerialNumber.Bytes())] = revocation{at, e.ReasonCode}
	}
	return issuer, l
}

func (l *crl) isOf(issuer *certificate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, tried := l.by[string(issuer.spki)]
	if !tried {
		_, err := verifyBytes(issuer.key, l.alg, 0, l.tbs, l.sig)
		ok = err == nil
		if len(l.by) < 64 {
			l.by[string(issuer.spki)] = ok
		}
	}
	return ok
}

// verifier verifies the signatures of one file.
type verifier struct {
	pool  *pool
	now   time.Time
	links map[[2]*certificate]error
	known map[*certificate]bool
}

func newVerifier(t *Trust) *verifier {
	v := &verifier{links: map[[2]*certificate]error{}, known: map[*certificate]bool{}}
	if t == nil {
		t = &Trust{}
	}
	t.once.Do(func() { t.pool = newPool(t) })
	v.pool, v.now = t.pool, t.At
	if v.now.IsZero() {
		v.now = time.Now()
	}
	return v
}

var errBudget = errors.New("too many certificates to look at")

func (v *verifier) link(c, issuer *certificate) error {
	k := [2]*certificate{c, issuer}
	err, ok := v.links[k]
	if !ok {
		if len(v.links) >= maxLinks {
			return errBudget
		}
		_, err = c.signedBy(issuer)
		v.links[k] = err
	}
	return err
}

func (v *verifier) isRoot(c *certificate) bool {
	is, ok := v.known[c]
	if !ok {
		is = v.pool.known[sha256.Sum256(c.raw)]
		v.known[c] = is
	}
	return is
}

// path is a chain of certificates, leaf first, with what is to be said of it.
type path struct {
	chain   []*certificate
	rooted  bool
	state   state
	why     string
	revoked map[*certificate]revocation // also those that were revoked too late to matter
	culprit *certificate                // whose revocation does matter
	weak    []string                    // of its links
}

// chain finds the best chain from leaf as of the time at. stamped says that this time is proven. With eku, all certificates must be for that purpose.
func (v *verifier) chain(leaf *certificate, carried []*certificate, at time.Time, stamped bool, eku string) *path {
	var best *path
	steps := 0
	var extend func(chain []*certificate)
	extend = func(chain []*certificate) {
		if steps++; steps > maxLinks || best != nil && best.state == valid {
			return
		}
		last := chain[len(chain)-1]
		root := v.isRoot(last)
		dead := true
		if !root && len(chain) < maxChain {
			for i, set := range [][]*certificate{v.pool.roots[last.issuer], carried, v.pool.extra[last.issuer]} {
			next:
				for _, c := range set {
					if i == 1 && c.subject != last.issuer {
						continue
					}
					for _, seen := range chain {
						if seen.same(c) {
							continue next
						}
					}
					if v.link(last, c) == nil {
						dead = false
						extend(append(chain[:len(chain):len(chain)], c))
					}
				}
			}
		}
		if root || dead {
			p := v.judge(chain, root, at, stamped, eku)
			if best == nil || p.rooted && !best.rooted || p.rooted == best.rooted && p.state < best.state {
				if best != nil && best.state == revoked && p.state != valid {
					return // of several chains that do not hold, the one that says most
				}
				best = p
			}
		}
	}
	extend([]*certificate{leaf})
	return best
}

// judge says what is to be said of a chain whose links are verified.
func (v *verifier) judge(chain []*certificate, rooted bool, at time.Time, stamped bool, eku string) *path {
	p := &path{chain: chain, rooted: rooted, revoked: map[*certificate]revocation{}}
	say := func(s state, format string, args ...any) {
		if p.state == valid {
			p.state, p.why = s, fmt.Sprintf(format, args...)
		}
	}
	for i, c := range chain {
		if i+1 == len(chain) {
			break
		}
		for _, l := range v.pool.crls[c.issuer] {
			r, listed := l.entries[c.serial]
			if !listed || chain[i+1].key == nil || !l.isOf(chain[i+1]) {
				continue
			}
			if old, ok := p.revoked[c]; !ok || r.at.Before(old.at) {
				p.revoked[c] = r
			}
		}
		if r, ok := p.revoked[c]; ok && (!stamped || !at.Before(r.at)) {
			if p.culprit == nil {
				p.culprit = c
			}
			say(revoked, "the certificate of %s was revoked on %s%s", quoted(c.owner), day(r.at), reason(r.reason))
		}
	}
	if !rooted {
		switch top := chain[len(chain)-1]; {
		case len(chain) == 1 && top.selfIssued():
			say(unrooted, "self-signed, and no root of the operator")
		case top.selfIssued():
			say(unrooted, "its root %s is none of the operator's", quoted(top.owner))
		default:
			say(unrooted, "the chain ends at %s, whose issuer %s is not there", quoted(top.owner), quoted(top.publisher))
		}
	}
	below := 0 // intermediate certificates below, without self-issued ones
	for i, c := range chain {
		if i > 0 {
			top := i == len(chain)-1 && rooted
			switch {
			case !c.ca && !(top && (c.v1 || !c.basic)):
				say(purpose, "%s is no certificate authority", quoted(c.owner))
			case c.pathLen >= 0 && below > c.pathLen:
				say(purpose, "the chain is longer than %s allows", quoted(c.owner))
			case c.usage >= 0 && c.usage&usageCertSign == 0:
				say(purpose, "%s may not sign certificates", quoted(c.owner))
			}
			if !c.selfIssued() {
				below++
			}
		}
		if c.unknownCritical {
			say(purpose, "the certificate of %s makes a demand that is not known here", quoted(c.owner))
		}
		if !c.may(eku) {
			say(purpose, "the certificate of %s is not for %s", quoted(c.owner), purposeName(eku))
		}
		if at.Before(c.notBefore) {
			say(early, "the certificate of %s is valid only from %s", quoted(c.owner), day(c.notBefore))
		}
		if at.After(c.notAfter) {
			if stamped {
				say(expired, "the certificate of %s had expired on %s, before the signature", quoted(c.owner), day(c.notAfter))
			} else {
				say(expired, "the certificate of %s expired on %s, and no trusted time stamp says that the signature is older", quoted(c.owner), day(c.notAfter))
			}
		}
		if h := digestOf[c.alg.oid]; weak(h) && !(i == len(chain)-1) {
			p.weak = append(p.weak, fmt.Sprintf("%s on the certificate of %s", digestName(h), quoted(c.owner)))
		}
	}
	return p
}

func reason(code int) string {
	names := []string{"", " because its key was compromised", " because its authority was compromised", " because the affiliation changed", " as superseded",
		" because its use ended", " for the time being", "", "", " because the privilege was withdrawn", " because its authority was compromised"}
	if code < 0 || code >= len(names) {
		return ""
	}
	return names[code]
}

func purposeName(eku string) string {
	switch eku {
	case oidCodeSigning:
		return "signing code"
	case oidTimeStamp:
		return "time stamps"
	}
	return "this"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
func quoted(s string) string { return "“" + s + "”" }

// stamp is a time that somebody other than the signer vouches for.
type stamp struct {
	at      time.Time
	kind    string // "RFC 3161", "PKCS #9"
	hash    crypto.Hash
	by      *certificate
	carried []*certificate
	path    *path  // nil when the stamp itself is not right
	why     string // why it is not trusted
}

func (s *stamp) trusted() bool { return s.path != nil && s.path.state == valid }

// stamps verifies the time stamps on a signature: the trusted ones first.
func (v *verifier) stamps(si *signerInfo, carried []*certificate) []*stamp {
	var all []*stamp
	for _, b := range si.tokens {
		all = append(all, v.token(si, b, carried))
	}
	for i := range si.counters {
		all = append(all, v.counter(si, &si.counters[i], carried))
	}
	for i, s := range all {
		if s.trusted() {
			all[0], all[i] = all[i], all[0]
			break
		}
	}
	return all
}

// token verifies a time stamp of RFC 3161.
func (v *verifier) token(si *signerInfo, b []byte, carried []*certificate) *stamp {
	s := &stamp{kind: "RFC 3161"}
	sd, err := parseCMS(b)
	if err != nil || len(sd.signers) != 1 || sd.contentType != oidStampInfo {
		s.why = "the time stamp is malformed"
		return s
	}
	s.carried = sd.carried
	info := (&der{b: sd.content}).want(tagSequence)
	d := info.inside()
	d.want(tagInteger)
	d.oid()
	imprint := d.want(tagSequence)
	in := imprint.inside()
	s.hash = digestOf[in.algorithm().oid]
	want := in.want(tagOctets)
	d.want(tagInteger)
	when := d.next()
	at, ok := moment(&when)
	if d.err != nil || in.err != nil || !ok {
		s.why = "the time stamp is malformed"
		return s
	}
	switch {
	case s.hash == 0 || !s.hash.Available():
		s.why = "the time stamp's digest is not supported"
		return s
	case string(sum(s.hash, si.sig)) != string(want.body):
		s.why = "the time stamp is of another signature"
		return s
	}
	v.endorse(s, sd.signers[0], at, of(sd.content), sd.carried, carried)
	return s
}

// counter verifies a countersignature of PKCS #9, as Authenticode stamped times before RFC 3161.
func (v *verifier) counter(si *signerInfo, e *element, carried []*certificate) *stamp {
	s := &stamp{kind: "PKCS #9"}
	c, err := parseSigner(e)
	if err != nil {
		s.why = "the time stamp is malformed"
		return s
	}
	s.hash = c.digest
	if c.signingTime.IsZero() {
		s.why = "a countersignature without a time"
		return s
	}
	v.endorse(s, c, c.signingTime, of(si.sig), carried)
	return s
}

// endorse verifies who vouches for a time stamp.
func (v *verifier) endorse(s *stamp, si *signerInfo, at time.Time, digest func(crypto.Hash) ([]byte, error), sets ...[]*certificate) {
	s.by = si.certificate(sets...)
	if s.by == nil {
		s.why = "the certificate of the time stamp is not there"
		return
	}
	if err := si.verify(s.by, digest); err != nil {
		s.why = "the time stamp is wrong: " + err.Error()
		return
	}
	s.at = at
	var all []*certificate
	for _, set := range sets {
		all = append(all, set...)
	}
	s.path = v.chain(s.by, all, at, true, oidTimeStamp)
	if s.path.state != valid {
		s.why = "the time stamp is not trusted: " + s.path.why
	}
}
