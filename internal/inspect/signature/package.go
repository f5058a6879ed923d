package signature

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// The entries of an RPM's signature header that are OpenPGP signatures: those over the header only, and those over header and payload.
var (
	rpmOverHeader = map[uint32]string{267: "RPM header", 268: "RPM header", 278: "RPM header"}
	rpmOverAll    = map[uint32]string{1002: "RPM header and payload", 1005: "RPM header and payload"}
)

// Other entries: digests, by which the parts name each other.
const (
	rpmHeaderSHA1    = 269
	rpmHeaderSHA256  = 273
	rpmAllMD5        = 1004
	rpmPayloadDigest = 5092
	rpmPayloadHash   = 5093
)

// rpmHeader is one of the two headers of an RPM: a table of entries and the bytes that they point into.
type rpmHeader struct {
	from, to int64 // in the file
	index    []byte
	store    []byte
}

type rpmEntry struct{ tag, kind, off, n uint32 }

func (h *rpmHeader) entries(each func(rpmEntry)) {
	be := binary.BigEndian
	for x := h.index; len(x) >= 16; x = x[16:] {
		if e := (rpmEntry{be.Uint32(x), be.Uint32(x[4:]), be.Uint32(x[8:]), be.Uint32(x[12:])}); int64(e.off) <= int64(len(h.store)) {
			each(e)
		}
	}
}

// bytes returns the value of an entry of bytes; nil when it is none.
func (h *rpmHeader) bytes(e rpmEntry) []byte {
	if e.kind != 7 || int64(e.n) > int64(len(h.store))-int64(e.off) {
		return nil
	}
	return h.store[e.off : e.off+e.n]
}

// texts returns the values of an entry of text, or of a list of it.
func (h *rpmHeader) texts(e rpmEntry) (all []string) {
	if e.kind != 6 && e.kind != 8 {
		return nil
	}
	rest := h.store[e.off:]
	for n := e.n; n > 0 && len(all) < maxSigners; n-- {
		text, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			break
		}
		all, rest = append(all, string(text)), after
	}
	return all
}

func (f *file) rpmHeader(at, maxCount, maxSize int64) (*rpmHeader, error) {
	head, err := f.bytes(at, 16)
	if err != nil || !bytes.Equal(head[:3], []byte("\x8e\xad\xe8")) {
		return nil, nil
	}
	count, size := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if count > maxCount || size > maxSize {
		return nil, fmt.Errorf("a header of %d entries and %d bytes", count, size)
	}
	h := &rpmHeader{from: at, to: at + 16 + count*16 + size}
	if h.index, err = f.bytes(at+16, count*16); err != nil {
		return nil, nil
	}
	if h.store, err = f.bytes(at+16+count*16, size); err != nil {
		return nil, nil
	}
	return h, nil
}

// rpm verifies the digests of an RPM and, with the operator's keys, its signatures. The digests are nobody's word: they only tell a change.
func (f *file) rpm() error {
	lead, err := f.bytes(0, 96)
	if err != nil || !bytes.Equal(lead[:4], []byte("\xed\xab\xee\xdb")) {
		return nil
	}
	sigs, err := f.rpmHeader(96, 1024, 1<<20)
	if err != nil || sigs == nil {
		return err
	}
	main, err := f.rpmHeader((sigs.to+7)&^7, 1<<16, 64<<20)
	if err != nil || main == nil {
		return err
	}
	header := func(w io.Writer) error { return f.copyTo(w, main.from, main.to) }
	payload := func(w io.Writer) error { return f.copyTo(w, main.to, f.size) }
	all := func(w io.Writer) error { return f.copyTo(w, main.from, f.size) }

	var wrong []string // digests that are not those of the file
	compare := func(what string, h crypto.Hash, want string, content func(io.Writer) error) {
		w := h.New()
		if err := content(w); err == nil && !strings.EqualFold(hex.EncodeToString(w.Sum(nil)), want) {
			wrong = append(wrong, fmt.Sprintf("the %s of its %s", digestName(h), what))
		}
	}
	var payloadDigest string
	payloadHash := crypto.SHA256
	main.entries(func(e rpmEntry) {
		switch {
		case e.tag == rpmPayloadDigest:
			if t := main.texts(e); len(t) > 0 {
				payloadDigest = t[0]
			}
		case e.tag == rpmPayloadHash && e.kind == 4 && int64(e.off)+4 <= int64(len(main.store)):
			payloadHash = pgpHashes[byte(binary.BigEndian.Uint32(main.store[e.off:]))]
		}
	})
	if payloadDigest != "" && payloadHash != 0 {
		compare("payload", payloadHash, payloadDigest, payload)
	}
	seen := map[uint32]bool{}
	sigs.entries(func(e rpmEntry) {
		if seen[e.tag] {
			return // the first of a tag counts
		}
		seen[e.tag] = true
		text := ""
		if t := sigs.texts(e); len(t) > 0 {
			text = t[0]
		}
		switch {
		case e.tag == rpmHeaderSHA1 && text != "":
			compare("header", crypto.SHA1, text, header)
		case e.tag == rpmHeaderSHA256 && text != "":
			compare("header", crypto.SHA256, text, header)
		case e.tag == rpmAllMD5 && len(sigs.bytes(e)) == 16:
			compare("header and payload", crypto.MD5, hex.EncodeToString(sigs.bytes(e)), all)
		}
		what, content := rpmOverHeader[e.tag], header
		if what == "" {
			what, content = rpmOverAll[e.tag], all
		}
		if what == "" {
			return
		}
		if b := sigs.bytes(e); b != nil {
			f.pgp(what, b, content)
		}
		for _, t := range sigs.texts(e) {
			if b, err := base64.StdEncoding.DecodeString(t); err == nil {
				f.pgp(what, b, content)
			}
		}
	})
	if len(wrong) > 0 && f.r.err == nil {
		why := "changed after it was made: " + strings.Join(wrong, ", ") + " is not the one that it names"
		if len(f.found) == 0 {
			f.add(&finding{kind: "RPM digests", state: changed, why: why})
		}
		for _, x := range f.found {
			x.fail(changed, "%s", why)
		}
	}
	for _, x := range f.found {
		if x.kind == "RPM header" && (payloadDigest == "" || payloadHash == 0) {
			x.remark("it covers the header only, which does not name a digest of the payload")
		}
	}
	return nil
}

// debMember is a file in a Debian package.
type debMember struct {
	name     string
	at, size int64
}

// deb verifies, with the operator's keys, the signatures that debsigs and dpkg-sig add to a Debian package as members of names that begin with _gpg.
func (f *file) deb() error {
	magic, err := f.bytes(0, 8)
	if err != nil || string(magic) != "!<arch>\n" {
		return nil
	}
	var members, signatures []debMember
	at := int64(8)
	for range 64 {
		h, err := f.bytes(at, 60)
		if err != nil {
			break
		}
		name := strings.TrimRight(strings.TrimSpace(string(h[:16])), "/")
		n, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || n < 0 || n > f.size-at-60 {
			break
		}
		m := debMember{name, at + 60, n}
		if strings.HasPrefix(name, "_gpg") {
			signatures = append(signatures, m)
		} else {
			members = append(members, m)
		}
		at += 60 + n + n&1
	}
	content := func(w io.Writer) error {
		for _, part := range []string{"debian-binary", "control.tar", "data.tar"} {
			for _, m := range members {
				if m.name == part || strings.HasPrefix(m.name, part+".") {
					if err := f.copyTo(w, m.at, m.at+m.size); err != nil {
						return err
					}
					break
				}
			}
		}
		return nil
	}
	for _, m := range signatures {
		b, err := f.bytes(m.at, min(m.size, maxPGP))
		if err != nil {
			return nil
		}
		kind := "deb " + clean(strings.TrimPrefix(m.name, "_gpg"))
		if text, _ := clearsign.Decode(b); text != nil {
			f.debList(kind, b, text, members)
			continue
		}
		f.pgp(kind, b, content)
		if len(members) > 3 {
			f.found[len(f.found)-1].remark("the package has %d members, of which three are signed", len(members))
		}
	}
	return nil
}

// debList verifies what dpkg-sig adds: a signed list of the members before it, with their digests.
func (f *file) debList(kind string, b []byte, text *clearsign.Block, members []debMember) {
	before := len(f.found)
	f.pgp(kind, b, func(w io.Writer) error { _, err := w.Write(text.Bytes); return err })
	listed := map[string][]string{} // MD5, SHA-1 and size by name
	_, lines, _ := strings.Cut(string(text.Plaintext), "\nFiles:")
	for _, line := range strings.Split(lines, "\n") {
		if f := strings.Fields(line); len(f) == 4 {
			listed[f[3]] = f[:3]
		}
	}
	bad := ""
	for _, m := range members {
		want, ok := listed[m.name]
		if !ok {
			bad = fmt.Sprintf("%s is not in the signed list", clean(m.name))
			break
		}
		md, sha := crypto.MD5.New(), crypto.SHA1.New()
		if err := f.copyTo(io.MultiWriter(md, sha), m.at, m.at+m.size); err != nil {
			return
		}
		if hex.EncodeToString(md.Sum(nil)) != want[0] || hex.EncodeToString(sha.Sum(nil)) != want[1] || strconv.FormatInt(m.size, 10) != want[2] {
			bad = clean(m.name) + " is not as the signed list has it"
			break
		}
	}
	for _, x := range f.found[min(before, len(f.found)):] {
		if bad != "" {
			x.fail(changed, "changed after signing: %s", bad)
		}
		x.remark("the digests in the signed list are MD5 and SHA-1")
	}
}
