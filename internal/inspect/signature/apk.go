package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// maxSigningBlock bounds the block of signatures before an APK's directory.
const maxSigningBlock = 32 << 20

// The parts of the signing block that hold signatures.
var apkSchemes = []struct {
	id   uint32
	name string
}{{0x7109871a, "APK v2"}, {0xf05368c0, "APK v3"}, {0x1b93ad61, "APK v3.1"}}

// apkAlgorithm is a signature algorithm of the schemes 2 and 3.
type apkAlgorithm struct {
	hash crypto.Hash
	pss  bool
	tree bool // the digest is a tree of fs-verity's
}

var apkAlgorithms = map[uint32]apkAlgorithm{
	0x0101: {crypto.SHA256, true, false}, 0x0102: {crypto.SHA512, true, false},
	0x0103: {crypto.SHA256, false, false}, 0x0104: {crypto.SHA512, false, false},
	0x0201: {crypto.SHA256, false, false}, 0x0202: {crypto.SHA512, false, false}, 0x0301: {crypto.SHA256, false, false},
	0x0421: {crypto.SHA256, false, true}, 0x0423: {crypto.SHA256, false, true}, 0x0425: {crypto.SHA256, false, true},
}

// fields reads values that each have their length in 32 bits before them.
type fields struct {
	b   []byte
	err error
}

var errAPK = errors.New("a damaged APK signing block")

func (f *fields) more() bool { return f.err == nil && len(f.b) > 0 }

func (f *fields) number() uint32 {
	if f.err != nil || len(f.b) < 4 {
		f.err = errAPK
		return 0
	}
	n := binary.LittleEndian.Uint32(f.b)
	f.b = f.b[4:]
	return n
}

func (f *fields) next() []byte {
	n := f.number()
	if f.err != nil || uint64(n) > uint64(len(f.b)) {
		f.err = errAPK
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

// apk verifies an Android package by all of its schemes.
func (f *file) apk() error {
	a, err := f.zip()
	if err != nil {
		return nil
	}
	start, block, err := f.signingBlock(a)
	if err != nil {
		return err
	}
	schemes := map[string]bool{}
	digest := f.memo(func(h crypto.Hash) ([]byte, error) { return f.apkDigest(a, start, h) })
	tree := f.memo(func(h crypto.Hash) ([]byte, error) { return f.apkTree(a, start, h) })
	for b := block; len(b) >= 12; {
		n := binary.LittleEndian.Uint64(b)
		if n < 4 || n > uint64(len(b)-8) {
			return errAPK
		}
		for _, s := range apkSchemes {
			if binary.LittleEndian.Uint32(b[8:]) == s.id {
				schemes[s.name] = true
				f.apkSigners(s.name, b[12:8+n], digest, tree)
			}
		}
		b = b[8+n:]
	}
	before := len(f.found)
	if err := f.jarSignatures(a, "APK v1"); err != nil {
		return err
	}
	// The first scheme's signature file says which others there were, so that nobody takes them away unseen.
	for i := range a.entries {
		base, ok := metaInf(a.entries[i].name)
		if !ok || !strings.HasSuffix(base, ".SF") {
			continue
		}
		sf, err := a.member(a.entries[i].name)
		if err != nil {
			continue
		}
		head, _, err := parseManifest(sf)
		if err != nil {
			continue
		}
		for _, x := range f.found[before:] {
			for scheme := range strings.SplitSeq(head.attr["x-android-apk-signed"], ",") {
				if name := "APK v" + strings.TrimSpace(scheme); (name == "APK v2" || name == "APK v3") && !schemes[name] {
					x.fail(changed, "changed after signing: the signature of the scheme %s was taken away", name)
				}
			}
		}
	}
	return nil
}

// signingBlock returns where the block begins and its inside; without one, the start of the directory.
func (f *file) signingBlock(a *archive) (int64, []byte, error) {
	foot, err := f.bytes(a.start-24, 24)
	if err != nil || !bytes.Equal(foot[8:], []byte("APK Sig Block 42")) {
		return a.start, nil, nil
	}
	n := binary.LittleEndian.Uint64(foot)
	if n < 24 || n > maxSigningBlock || int64(n)+8 > a.start {
		return 0, nil, errAPK
	}
	start := a.start - int64(n) - 8
	b, err := f.bytes(start, int64(n)+8)
	if err != nil || binary.LittleEndian.Uint64(b) != n {
		return 0, nil, errAPK
	}
	return start, b[8 : len(b)-24], nil
}

// apkDigest is over pieces of a mebibyte of members, directory and end, and then over their digests.
func (f *file) apkDigest(a *archive, start int64, h crypto.Hash) ([]byte, error) {
	if a.end64 != nil {
		return nil, errors.New("zip64 in an APK")
	}
	end := bytes.Clone(a.end)
	binary.LittleEndian.PutUint32(end[16:], uint32(start))
	var digests []byte
	count := uint32(0)
	buf := make([]byte, 1<<20)
	for _, r := range []io.Reader{io.NewSectionReader(f.r, 0, start), io.NewSectionReader(f.r, a.start, a.endAt-a.start), bytes.NewReader(end)} {
		for {
			n, err := io.ReadFull(r, buf)
			if n > 0 {
				var head [5]byte
				head[0] = 0xa5
				binary.LittleEndian.PutUint32(head[1:], uint32(n))
				digests = append(digests, sum(h, head[:], buf[:n])...)
				count++
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				return nil, err
			}
		}
	}
	var head [5]byte
	head[0] = 0x5a
	binary.LittleEndian.PutUint32(head[1:], count)
	return sum(h, head[:], digests), nil
}

// apkTree is the digest of fs-verity over the same bytes: of pages, of the pages of their digests and so on, to one, and the number of bytes.
func (f *file) apkTree(a *archive, start int64, h crypto.Hash) ([]byte, error) {
	if a.end64 != nil {
		return nil, errors.New("zip64 in an APK")
	}
	const page = 4096
	salt := make([]byte, 8)
	level := func(r io.Reader) (digests []byte, n int64, err error) {
		buf := make([]byte, page)
		for {
			k, err := io.ReadFull(r, buf)
			if k > 0 {
				clear(buf[k:])
				digests = append(digests, sum(h, salt, buf)...)
				n += int64(k)
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return digests, n, nil
			}
			if err != nil {
				return nil, 0, err
			}
		}
	}
	end := bytes.Clone(a.end)
	binary.LittleEndian.PutUint32(end[16:], uint32(start))
	digests, n, err := level(io.MultiReader(io.NewSectionReader(f.r, 0, start), io.NewSectionReader(f.r, a.start, a.endAt-a.start), bytes.NewReader(end)))
	for err == nil && len(digests) > page {
		digests, _, err = level(bytes.NewReader(digests))
	}
	if err == nil {
		digests, _, err = level(bytes.NewReader(digests))
	}
	return binary.LittleEndian.AppendUint64(digests, uint64(n)), err
}

// apkLineage tells whose key an app's key was before it was changed for another, from the proof that scheme 3 has for it: each signed the next.
func (f *file) apkLineage(x *finding, attributes *fields) {
	for n := 0; attributes.more() && n < maxSigners; n++ {
		one := &fields{b: attributes.next()}
		if one.number() != 0x3ba06f8c || one.err != nil {
			continue
		}
		one.number() // version
		var before *certificate
		var with uint32
		var names []string
		for one.more() && len(names) < maxSigners {
			node := &fields{b: one.next()}
			raw := node.next()
			signed := &fields{b: raw}
			c, err := parseCertificate(signed.next())
			by := signed.number()
			node.number() // what the older key may still do
			next := node.number()
			sig := node.next()
			if err != nil || one.err != nil || node.err != nil || signed.err != nil {
				x.fail(malformed, "a damaged proof that the key was changed")
				return
			}
			if before != nil {
				alg, ok := apkAlgorithms[by]
				salt := -1
				if _, isRSA := before.key.(*rsa.PublicKey); isRSA && alg.pss {
					salt = alg.hash.Size()
				}
				if !ok || by != with || before.key == nil || verifyDigest(before.key, alg.hash, salt, sum(alg.hash, raw), sig) != nil {
					x.fail(forged, "the proof that the key was changed is wrong")
					return
				}
			}
			names = append(names, quoted(c.owner)+" ("+orNone(c.serial)+")")
			before, with = c, next
			if c.same(x.cert) {
				break
			}
		}
		if before == nil || !before.same(x.cert) {
			x.fail(forged, "the proof that the key was changed is of another key")
			return
		}
		if len(names) > 1 {
			x.remark("its key succeeds that of %s, as that key says", strings.Join(names[:len(names)-1], ", then "))
		}
	}
}

func (f *file) apkSigners(kind string, b []byte, digest, tree func(crypto.Hash) ([]byte, error)) {
	outer := &fields{b: b}
	list := &fields{b: outer.next()}
	if outer.err != nil || !list.more() {
		f.add(&finding{kind: kind, state: malformed, why: errAPK.Error()})
		return
	}
	for n := 0; list.more(); n++ {
		signer := list.next()
		if list.err != nil || n == maxSigners {
			f.add(&finding{kind: kind, state: malformed, why: errAPK.Error()})
			return
		}
		f.add(f.apkSigner(kind, signer, digest, tree))
	}
}

func (f *file) apkSigner(kind string, b []byte, digest, tree func(crypto.Hash) ([]byte, error)) *finding {
	x := &finding{kind: kind}
	in := &fields{b: b}
	signed := in.next()
	if kind != "APK v2" {
		in.number()
		in.number()
	}
	sigs := &fields{b: in.next()}
	key := in.next()
	data := &fields{b: signed}
	digests := &fields{b: data.next()}
	certs := &fields{b: data.next()}
	if in.err != nil || data.err != nil {
		x.fail(malformed, "%v", errAPK)
		return x
	}
	for certs.more() && len(x.carried) < maxCarried {
		c, err := parseCertificate(certs.next())
		if err != nil {
			break
		}
		x.carried = append(x.carried, c)
	}
	if len(x.carried) == 0 {
		x.signer = "unknown (no certificate)"
		x.fail(malformed, "no certificate of the signer")
		return x
	}
	x.cert = x.carried[0]
	if x.signer = x.cert.owner; x.signer == "" {
		x.signer = "unnamed (certificate " + orNone(x.cert.serial) + ")"
	}
	if !bytes.Equal(key, x.cert.spki) {
		x.fail(forged, "the key is not that of the certificate")
	}
	pub, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		x.fail(malformed, "a key of a kind that is not supported")
		return x
	}
	verified := 0
	for n := 0; sigs.more() && n < maxSigners; n++ {
		one := &fields{b: sigs.next()}
		alg, ok := apkAlgorithms[one.number()]
		sig := one.next()
		if sigs.err != nil || one.err != nil {
			x.fail(malformed, "%v", errAPK)
			return x
		}
		if !ok {
			continue
		}
		salt := -1
		if _, isRSA := pub.(*rsa.PublicKey); isRSA && alg.pss {
			salt = alg.hash.Size()
		} else if _, isEC := pub.(*ecdsa.PublicKey); isEC && alg.pss {
			x.fail(forged, "an algorithm that is not of this key")
			continue
		}
		if err := verifyDigest(pub, alg.hash, salt, sum(alg.hash, signed), sig); err != nil {
			x.fail(forged, "the signature is wrong: %v", err)
			continue
		}
		verified++
	}
	if verified == 0 && x.state == valid {
		x.fail(malformed, "no signature of an algorithm that is known")
	}
	compared := 0
	for n := 0; digests.more() && n < maxSigners; n++ {
		one := &fields{b: digests.next()}
		alg, ok := apkAlgorithms[one.number()]
		want := one.next()
		if digests.err != nil || one.err != nil {
			x.fail(malformed, "%v", errAPK)
			return x
		}
		if !ok {
			continue
		}
		x.hash = max(x.hash, alg.hash)
		compute := digest
		if alg.tree {
			compute = tree
		}
		got, err := compute(alg.hash)
		switch {
		case f.r.err != nil:
			return x
		case err != nil:
			x.fail(malformed, "%v", err)
		case !bytes.Equal(got, want):
			x.fail(changed, "changed after signing: its %s is not the signed one", digestName(alg.hash))
		}
		compared++
	}
	if compared == 0 {
		x.fail(malformed, "no digest of an algorithm that is known")
	}
	if kind != "APK v2" {
		data.number() // the versions of Android that it is for, again
		data.number()
		f.apkLineage(x, &fields{b: data.next()})
	}
	f.trust(x, &signerInfo{}, "")
	return x
}
