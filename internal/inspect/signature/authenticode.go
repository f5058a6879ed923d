package signature

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
)

// indirect is SpcIndirectDataContent: which digest the signed file has.
type indirect struct {
	hash   crypto.Hash
	digest []byte
	image  []byte // what is said of the file beside: of a PE, which carries digests of its pages
}

func parseIndirect(content []byte) (*indirect, error) {
	d := &der{b: content}
	data := d.want(tagSequence)
	info := d.want(tagSequence)
	in := info.inside()
	alg := in.algorithm()
	digest := in.want(tagOctets)
	if d.err != nil || in.err != nil {
		return nil, errors.New("malformed SpcIndirectDataContent")
	}
	h := digestOf[alg.oid]
	if h == 0 || !h.Available() {
		return nil, fmt.Errorf("the digest %s is not supported", dotted(alg.oid))
	}
	return &indirect{h, octets(&digest), data.body}, nil
}

// authenticode verifies one signature and those nested in it. check compares the digest that was signed with the file's, and says what is wrong.
func (f *file) authenticode(kind string, blob []byte, check func(*indirect, *finding)) {
	f.nestedAuthenticode(kind, blob, check, 0)
}

func (f *file) nestedAuthenticode(kind string, blob []byte, check func(*indirect, *finding), depth int) {
	if len(f.found) >= maxFound {
		return
	}
	sd, err := parseCMS(blob)
	if err != nil {
		f.add(&finding{kind: kind, nested: depth > 0, state: malformed, why: err.Error()})
		return
	}
	if len(sd.signers) == 0 {
		f.add(&finding{kind: kind, nested: depth > 0, state: malformed, why: "no signer", carried: sd.carried})
		return
	}
	for i, si := range sd.signers {
		x := f.signer(kind, sd, si, of(sd.content), oidCodeSigning)
		x.nested = depth > 0
		f.add(x)
		if i > 0 {
			x.remark("a further signer of the same message; Windows looks at the first only")
		}
		switch in, err := parseIndirect(sd.content); {
		case sd.contentType != oidSpcIndirectData:
			x.fail(malformed, "signs something of type %s, no file", dotted(sd.contentType))
		case err != nil:
			x.fail(malformed, "%v", err)
		default:
			x.hash = in.hash
			if weak(x.hash) && !weak(si.digest) {
				x.remark("weak digest %s", digestName(x.hash))
			}
			check(in, x)
		}
		if depth < 2 {
			for _, b := range si.nested {
				f.nestedAuthenticode(kind, b, check, depth+1)
			}
		}
	}
}

// compare is the check of formats whose signature names one digest of the file.
func (f *file) compare(digest func(crypto.Hash) ([]byte, error)) func(*indirect, *finding) {
	return func(in *indirect, x *finding) {
		got, err := digest(in.hash)
		switch {
		case f.r.err != nil:
		case err != nil:
			x.fail(malformed, "the file cannot be read to its end: %v", err)
		case !bytes.Equal(got, in.digest):
			x.fail(changed, "changed after signing: its %s is not the signed one", digestName(in.hash))
		}
	}
}
