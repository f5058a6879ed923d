package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"io"
)

const appxSignature = "AppxSignature.p7x"

// appx verifies an app package or bundle: AppxSignature.p7x has digests of members, of all packed bytes and of the directory.
func (f *file) appx() error {
	a, err := f.zip()
	if err != nil {
		return nil
	}
	e := a.byName[appxSignature]
	if e == nil {
		return f.opc(a)
	}
	blob, err := a.member(appxSignature)
	if err != nil {
		return err
	}
	blob, ok := bytes.CutPrefix(blob, []byte("PKCX"))
	if !ok {
		return errors.New(appxSignature + " has another form than is known")
	}
	f.authenticode("APPX", blob, func(in *indirect, x *finding) {
		list, ok := bytes.CutPrefix(in.digest, []byte("APPX"))
		n := in.hash.Size()
		if !ok || len(list)%(4+n) != 0 {
			x.fail(malformed, "the list of digests has another form than is known")
			return
		}
		seen := map[string]bool{}
		for ; len(list) > 0; list = list[4+n:] {
			tag, want := string(list[:4]), list[4:4+n]
			seen[tag] = true
			got, err := a.appxDigest(tag, e, in.hash)
			switch {
			case f.r.err != nil:
				return
			case errors.Is(err, errTooMuch):
				x.fail(unchecked, "%v", err)
			case err != nil:
				x.fail(changed, "changed after signing: %s: %v", tag, err)
			case !bytes.Equal(got, want):
				x.fail(changed, "changed after signing: the digest %s is not the signed one", tag)
			}
		}
		for _, need := range []struct{ tag, member string }{{"AXPC", ""}, {"AXCD", ""}, {"AXCT", "[Content_Types].xml"}, {"AXBM", "AppxBlockMap.xml"}, {"AXCI", "AppxMetadata/CodeIntegrity.cat"}} {
			if !seen[need.tag] && (need.member == "" || a.byName[need.member] != nil) {
				x.fail(changed, "changed after signing: the digest %s is not there", need.tag)
			}
		}
	})
	return nil
}

// appxDigest computes one of the digests of a package.
func (a *archive) appxDigest(tag string, sig *zipEntry, h crypto.Hash) ([]byte, error) {
	w := h.New()
	member := map[string]string{"AXCT": "[Content_Types].xml", "AXBM": "AppxBlockMap.xml", "AXCI": "AppxMetadata/CodeIntegrity.cat"}[tag]
	switch {
	case tag == "AXPC": // all that is packed before the signature
		if err := a.f.copyTo(w, 0, sig.offset); err != nil {
			return nil, errors.New("the signature is not the last member")
		}
	case tag == "AXCD": // the directory as it was without the signature
		size := 0
		for i := range a.entries {
			e := &a.entries[i]
			if e == sig {
				continue
			}
			if e.offset >= sig.offset {
				return nil, errors.New("the signature is not the last member")
			}
			w.Write(e.raw)
			size += len(e.raw)
		}
		le := binary.LittleEndian
		end, n := bytes.Clone(a.end), uint64(len(a.entries)-1)
		if a.end64 != nil {
			rec, loc := bytes.Clone(a.end64), bytes.Clone(a.locator)
			le.PutUint64(rec[24:], n)
			le.PutUint64(rec[32:], n)
			le.PutUint64(rec[40:], uint64(size))
			le.PutUint64(rec[48:], uint64(sig.offset))
			le.PutUint64(loc[8:], uint64(sig.offset)+uint64(size))
			w.Write(rec)
			w.Write(loc)
		}
		// Values that the larger record holds stay as they are: all bits set.
		if le.Uint16(end[8:]) != 0xffff {
			le.PutUint16(end[8:], uint16(n))
			le.PutUint16(end[10:], uint16(n))
		}
		if le.Uint32(end[12:]) != 0xffffffff {
			le.PutUint32(end[12:], uint32(size))
		}
		if le.Uint32(end[16:]) != 0xffffffff {
			le.PutUint32(end[16:], uint32(sig.offset))
		}
		w.Write(end)
	case member != "":
		e := a.byName[member]
		if e == nil {
			return nil, errors.New(member + " is not there")
		}
		r, err := a.open(e)
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a digest that is not known")
	}
	return w.Sum(nil), nil
}
