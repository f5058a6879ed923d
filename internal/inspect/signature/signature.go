// Package signature verifies who signed a file: digest, chain and time, against roots that the operator chooses.
//
// Which formats are verified, what each state means, and where the verdicts differ from those of osslsigncode and sbverify: docs/signatures.md.
package signature

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Result is what the signatures of a file say.
type Result struct {
	Facts []intel.Fact // intel.Signature, one a signature; intel.Certificate, one a certificate; attributes that say what is wrong
	Notes []string     // a line a signature, for a person: "signature 1 (SHA-256, nested): valid, timestamped 2019-03-01"

	Listed []Listed // of a catalogue: what it says of other files
}

// readers are the formats that carry signatures.
var readers = map[filetype.Format]func(*file) error{
	filetype.PE:      (*file).pe,
	filetype.MSI:     (*file).msi,
	filetype.OLE:     (*file).msi,
	filetype.Cab:     (*file).cab,
	filetype.Catalog: (*file).catalog,
	filetype.Script:  (*file).script,
	filetype.Text:    (*file).script,
	filetype.XML:     (*file).script,
	filetype.Jar:     (*file).jar,
	filetype.Zip:     (*file).jar, // what was taken for no more than a zip
	filetype.APK:     (*file).apk,
	filetype.Appx:    (*file).appx,
	filetype.OOXML:   (*file).ooxml,
	filetype.ELF:     (*file).module,
	filetype.MachO:   (*file).macho,
	filetype.DMG:     (*file).dmg,
	filetype.XAR:     (*file).xar,
	filetype.RPM:     (*file).rpm,
	filetype.Deb:     (*file).deb,
}

// Signed reports whether files of a format can carry a signature that Verify reads.
func Signed(f filetype.Format) bool { return readers[f] != nil }

// Verify reads and verifies all signatures of a file of format f in the size bytes of r. A file without a signature gives an empty result.
// An error is of reading r; what is wrong with a signature stands in the result.
func Verify(f filetype.Format, r io.ReaderAt, size int64, t *Trust) (Result, error) {
	found, err := verify(f, r, size, t)
	res := result(found)
	res.Listed = listed(found)
	return res, err
}

// maxFound bounds the signatures of a file that are told.
const maxFound = 64

func verify(f filetype.Format, r io.ReaderAt, size int64, t *Trust) ([]*finding, error) {
	read := readers[f]
	if read == nil || size <= 0 {
		return nil, nil
	}
	x := &file{r: &guarded{r: r}, size: size, verifier: newVerifier(t), digests: map[crypto.Hash][]byte{}}
	err := read(x)
	if bad := x.r.err; bad != nil {
		return x.found, fmt.Errorf("reading for signatures: %w", bad)
	}
	if err != nil { // the file's own fault
		x.add(&finding{kind: "signature", state: malformed, why: err.Error()})
	}
	return x.found, nil
}

// guarded remembers an error of reading that is not the file's end.
type guarded struct {
	r   io.ReaderAt
	err error
}

func (g *guarded) ReadAt(b []byte, at int64) (int, error) {
	n, err := g.r.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && g.err == nil {
		g.err = err
	}
	return n, err
}

// file is a file whose signatures are being read.
type file struct {
	r        *guarded
	size     int64
	verifier *verifier
	digests  map[crypto.Hash][]byte // computed so far
	found    []*finding

	pgpReadings int // OpenPGP signatures that were verified
}

// bytes returns n bytes at an offset, or an error when the file does not have them. The caller bounds n.
func (f *file) bytes(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at > f.size || n > f.size-at {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// copyTo writes the bytes from one offset to another.
func (f *file) copyTo(w io.Writer, from, to int64) error {
	if from < 0 || to > f.size || from > to {
		return io.ErrUnexpectedEOF
	}
	n, err := io.Copy(w, io.NewSectionReader(f.r, from, to-from))
	if err == nil && n != to-from {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// memo keeps a digest, so that two signatures cost one reading.
func (f *file) memo(compute func(crypto.Hash) ([]byte, error)) func(crypto.Hash) ([]byte, error) {
	kept := map[crypto.Hash][]byte{}
	return func(h crypto.Hash) ([]byte, error) {
		if d, ok := kept[h]; ok {
			return d, nil
		}
		d, err := compute(h)
		if err == nil {
			kept[h] = d
		}
		return d, err
	}
}

func (f *file) add(x *finding) {
	if len(f.found) < maxFound {
		f.found = append(f.found, x)
	}
}

// finding is one signature and what came of verifying it.
type finding struct {
	kind    string // "Authenticode", "JAR"
	nested  bool
	hash    crypto.Hash // over the content
	signer  string
	cert    *certificate
	carried []*certificate
	path    *path
	stamp   *stamp
	claimed time.Time // of signing, by the signer's own word
	state   state
	why     string
	remarks []string
	program string
	list    []byte // of a catalogue
}

func (f *finding) remark(format string, args ...any) {
	if len(f.remarks) < 8 {
		f.remarks = append(f.remarks, fmt.Sprintf(format, args...))
	}
}

// fail sets a state that is worse than the one that stands.
func (f *finding) fail(s state, format string, args ...any) {
	if s > f.state {
		f.state, f.why = s, fmt.Sprintf(format, args...)
	}
}

// signer verifies one signer of a CMS message: that its key signed content of this digest, when, and who it is.
// It does not know yet whether the content is that of the file.
func (f *file) signer(kind string, sd *signedData, si *signerInfo, digest func(crypto.Hash) ([]byte, error), eku string) *finding {
	v := f.verifier
	x := &finding{kind: kind, hash: si.digest, carried: sd.carried, claimed: si.signingTime, program: si.program}
	x.cert = si.certificate(sd.carried)
	if x.cert == nil {
		x.cert = si.certificate(v.pool.all)
	}
	if sd.unreadable > 0 {
		x.remark("%d certificates could not be read", sd.unreadable)
	}
	if x.cert == nil {
		x.signer = "certificate " + orNone(si.serial)
		if si.issuerName != "" {
			x.signer += " of " + si.issuerName
		}
		x.fail(unchecked, "the signer's certificate is neither in the file nor among the operator's")
		if si.attributes != nil && si.digest != 0 && si.digest.Available() {
			if got, err := digest(si.digest); err == nil && !bytes.Equal(got, si.messageDigest) {
				x.fail(changed, "changed after signing")
			}
		}
		return x
	}
	x.signer = x.cert.owner
	if x.signer == "" {
		x.signer = "unnamed (certificate " + orNone(x.cert.serial) + ")"
	}
	if err := si.verify(x.cert, digest); err != nil {
		switch {
		case errors.Is(err, errChanged):
			x.fail(changed, "changed after signing")
		case errors.Is(err, errSignature):
			x.fail(forged, "the signature is wrong: %v", err)
		case f.r.err != nil:
			return x
		default:
			x.fail(malformed, "%v", err)
		}
	}
	if si.attributes != nil && si.contentType != "" && si.contentType != sd.contentType && !sd.detached {
		x.remark("its attributes call the content one of type %s", dotted(si.contentType)) // which nobody compares; osslsigncode itself signs so what it extracted
	}
	f.trust(x, si, eku)
	return x
}

func orNone(s string) string {
	if s == "" {
		return "without a number"
	}
	return s
}

// trust judges when the signature was made, and the chain as of then.
func (f *file) trust(x *finding, si *signerInfo, eku string) {
	v := f.verifier
	at, stamped := v.now, false
	if all := v.stamps(si, x.carried); len(all) > 0 {
		x.stamp = all[0]
		if x.stamp.trusted() {
			at, stamped = x.stamp.at, true
		} else {
			x.remark("%s", x.stamp.why)
		}
	}
	x.path = v.chain(x.cert, x.carried, at, stamped, eku)
	if x.path.state != valid {
		x.fail(x.path.state, "%s", x.path.why)
	}
	if stamped && v.now.After(x.cert.notAfter) && !x.cert.anyPurpose && x.cert.may(oidLifetime) {
		x.fail(expired, "the certificate of %s expired on %s, and forbids that a time stamp makes it last longer", quoted(x.cert.owner), day(x.cert.notAfter))
	}
	for c, r := range x.path.revoked {
		if c != x.path.culprit && x.state != revoked {
			x.remark("the certificate of %s was revoked on %s%s, after the signature", quoted(c.owner), day(r.at), reason(r.reason))
		}
	}
	if weak(x.hash) {
		x.remark("weak digest %s", digestName(x.hash))
	}
	for _, w := range x.path.weak[:min(len(x.path.weak), 2)] {
		x.remark("weak digest %s", w)
	}
}

// oidLifetime is the purpose by which a signature ends with its certificate, stamped or not.
var oidLifetime = id(1, 3, 6, 1, 4, 1, 311, 10, 3, 13)

// status is the trust in a signature. Discredited is only who lost the right to sign: a changed file is not its signer's fault.
func (f *finding) status() intel.SignatureStatus {
	switch f.state {
	case valid:
		return intel.Trusted
	case revoked:
		return intel.Discredited
	}
	return intel.NotTrusted
}

// words says what came of it.
func (f *finding) words() string {
	s := map[state]string{valid: "valid", unchecked: "not verified", expired: "expired", early: "not yet valid", purpose: "not for this purpose",
		unrooted: "root not trusted", appended: "bytes appended", revoked: "revoked", changed: "changed after signing", forged: "wrong signature", malformed: "malformed"}[f.state]
	if f.why != "" && f.why != s {
		s += " (" + f.why + ")"
	}
	return s
}

// note is the line for a person.
func (f *finding) note(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "signature %d (%s", n, f.kind)
	if f.hash != 0 {
		b.WriteString(", " + digestName(f.hash))
	}
	if f.nested {
		b.WriteString(", nested")
	}
	b.WriteString("): " + f.words())
	if f.signer != "" {
		b.WriteString(", signer " + quoted(f.signer))
	}
	if f.program != "" {
		b.WriteString(", program " + quoted(f.program))
	}
	switch {
	case f.stamp != nil && !f.stamp.at.IsZero():
		fmt.Fprintf(&b, ", timestamped %s", f.stamp.at.UTC().Format("2006-01-02T15:04:05Z"))
		if f.stamp.by != nil {
			b.WriteString(" by " + quoted(f.stamp.by.owner))
		}
	case !f.claimed.IsZero():
		fmt.Fprintf(&b, ", signed %s by its own word", f.claimed.UTC().Format("2006-01-02T15:04:05Z"))
	}
	for _, r := range f.remarks {
		b.WriteString("; " + r)
	}
	s := strings.ReplaceAll(strings.ToValidUTF8(b.String(), " "), "\x00", " ")
	for len(s) > intel.MaxText {
		s = strings.ToValidUTF8(s[:intel.MaxText], "")
	}
	return s
}

// signed is when the signature was made: by a time stamp, else by the signer's own word.
func (f *finding) signed() time.Time {
	t := f.claimed
	if f.stamp != nil && !f.stamp.at.IsZero() {
		t = f.stamp.at
	}
	if y := t.Year(); y < 1950 || y > 9999 {
		return time.Time{}
	}
	return t
}

func result(found []*finding) Result {
	var r Result
	certs := map[[md5.Size]byte]int{}
	var list []intel.Certificate
	for i, f := range found {
		note := f.note(i + 1)
		r.Notes = append(r.Notes, note)
		if f.signer != "" {
			r.Facts = append(r.Facts, intel.Signature{Signer: f.signer, Status: f.status()})
		}
		r.Facts = append(r.Facts, intel.Attribute{Name: intel.SignatureNote, Value: note})
		carried := f.carried
		if f.stamp != nil {
			carried = append(carried[:len(carried):len(carried)], f.stamp.carried...)
		}
		for _, c := range carried {
			sum := c.md5()
			at, ok := certs[sum]
			if !ok {
				if len(list) == maxCarried {
					continue
				}
				at = len(list)
				certs[sum] = at
				list = append(list, intel.Certificate{MD5: md5Hash(sum), Serial: c.serial, Vendor: c.owner, Publisher: c.publisher,
					Issued: within(c.notBefore), Expires: within(c.notAfter), Direct: true})
			}
			f.about(c, &list[at])
		}
	}
	for _, c := range list {
		r.Facts = append(r.Facts, c)
	}
	return r
}

func within(t time.Time) time.Time {
	if y := t.Year(); y < 1950 || y > 9999 {
		return time.Time{}
	}
	return t
}

func md5Hash(sum [md5.Size]byte) intel.Hash {
	h, err := intel.ParseHash(fmt.Sprintf("%x", sum))
	if err != nil {
		panic("signature: an MD5 is no hash: " + err.Error())
	}
	return h
}

// about adds what a signature tells of a certificate.
func (f *finding) about(c *certificate, to *intel.Certificate) {
	in := func(p *path) bool {
		if p == nil {
			return false
		}
		for _, x := range p.chain {
			if x.same(c) {
				return true
			}
		}
		return false
	}
	mark := func(p *path) {
		for x := range p.revoked {
			if x.same(c) {
				to.Revoked = true
			}
		}
		if p.culprit != nil && p.culprit.same(c) {
			to.Discredited = true
		}
	}
	if in(f.path) {
		mark(f.path)
		to.Trusted = to.Trusted || f.state == valid
		if to.Signed.IsZero() && f.cert != nil && f.cert.same(c) {
			to.Signed = f.signed()
		}
	}
	if f.stamp != nil && in(f.stamp.path) {
		mark(f.stamp.path)
		to.Trusted = to.Trusted || f.stamp.trusted() && f.state == valid
	}
}
