package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

var (
	oidPagesSHA1   = id(1, 3, 6, 1, 4, 1, 311, 2, 3, 1)
	oidPagesSHA256 = id(1, 3, 6, 1, 4, 1, 311, 2, 3, 2)
)

// classPages is the kind of serialized object that holds digests of pages.
const classPages = "\xa6\xb5\x86\xd5\xb4\xa1\x24\x66\xae\x05\xa2\x17\xda\x8e\x60\xd6"

// pages are the digests of the pages of a program, which the kernel compares as it loads one after another.
type pages struct {
	hash  crypto.Hash
	table []byte // an offset in the file and a digest each; the last one has zeros and tells only where the end is
}

// parsePages reads them from SpcPeImageData; nil when there are none.
func parsePages(image []byte) (*pages, error) {
	bad := errors.New("malformed digests of pages")
	d := &der{b: image}
	d.oid()
	data := d.want(tagSequence)
	in := data.inside()
	if in.more() && in.b[0] == tagBits {
		in.next()
	}
	if d.err != nil || in.err != nil {
		return nil, nil // of another format: nothing to compare
	}
	link, ok := in.optional(0)
	if !ok {
		return nil, nil
	}
	object, ok := link.inside().optional(1)
	if !ok {
		return nil, nil // a name, which says “obsolete”
	}
	in = object.inside()
	class, serialized := in.want(tagOctets), in.want(tagOctets)
	if in.err != nil || string(class.body) != classPages {
		return nil, bad
	}
	in = (&der{b: serialized.body})
	set := in.want(tagSet)
	attribute := set.inside().want(tagSequence)
	a := attribute.inside()
	p := &pages{}
	switch a.oid() {
	case oidPagesSHA1:
		p.hash = crypto.SHA1
	case oidPagesSHA256:
		p.hash = crypto.SHA256
	default:
		return nil, bad
	}
	values := a.want(tagSet)
	v := values.inside()
	table := v.want(tagOctets)
	if in.err != nil || a.err != nil || v.err != nil {
		return nil, bad
	}
	p.table = octets(&table)
	return p, nil
}

// errPages says which page is not the signed one.
type errPages int64

func (e errPages) Error() string {
	return fmt.Sprintf("the page at offset %#x is not the signed one", int64(e))
}

// comparePages compares the digests of pages with the file. Signers differ in what the last entry says of the end, which nobody needs.
func (f *file) comparePages(l peLayout, p *pages) error {
	le := binary.LittleEndian
	step := 4 + p.hash.Size()
	n := len(p.table)/step - 1
	if len(p.table)%step != 0 || n < 1 {
		return errors.New("malformed digests of pages")
	}
	head, err := f.bytes(l.header, 24)
	if err != nil {
		return err
	}
	numbers, err := f.bytes(l.header+24+32, 32) // of the optional header, from the alignment of sections to the size of the headers
	if err != nil {
		return err
	}
	page, headers := int64(le.Uint32(numbers)), int64(le.Uint32(numbers[28:]))
	if page < 512 || page > 4<<20 || headers > page || headers < l.directory+8 {
		return errors.New("digests of pages, whose size the header does not tell")
	}
	sections, err := f.bytes(l.header+24+int64(le.Uint16(head[20:])), 40*int64(le.Uint16(head[6:])))
	if err != nil {
		return err
	}
	zeros := make([]byte, page)
	table := p.table
	left := 2*f.size + 64<<20 // bytes that may be digested: sections can overlap, and the last page of each is filled up
	is := func(at, size int64, stretches ...[2]int64) error {
		if left -= page; left < 0 {
			return errors.New("digests of pages of more bytes than the file has")
		}
		w := p.hash.New()
		for _, s := range stretches {
			if err := f.copyTo(w, s[0], s[1]); err != nil {
				return err
			}
		}
		w.Write(zeros[:page-size])
		if len(table) == step || int64(le.Uint32(table)) != at || !bytes.Equal(w.Sum(nil), table[4:step]) {
			return errPages(at)
		}
		table = table[step:]
		return nil
	}
	if err := is(0, headers, [2]int64{0, l.checksum}, [2]int64{l.checksum + 4, l.directory}, [2]int64{l.directory + 8, headers}); err != nil {
		return err
	}
	for s := range slices.Chunk(sections, 40) {
		at, size := int64(le.Uint32(s[20:])), int64(le.Uint32(s[16:]))
		for end := at + size; at < end; at += page {
			if err := is(at, min(page, end-at), [2]int64{at, min(at+page, end)}); err != nil {
				return err
			}
		}
	}
	if len(table) != step || len(bytes.Trim(table[4:], "\x00")) > 0 {
		return errPages(le.Uint32(table))
	}
	return nil
}

// checkPages compares the digests of pages that a signature has, where the digest of the whole is right: who signed wrong ones, or the gaps between
// sections, is told.
func (f *file) checkPages(l peLayout, in *indirect, x *finding) {
	if x.state == changed {
		return
	}
	p, err := parsePages(in.image)
	if err == nil && p != nil {
		err = f.comparePages(l, p)
	}
	var wrong errPages
	switch {
	case err == nil:
	case errors.As(err, &wrong):
		x.fail(changed, "changed after signing: %v", wrong)
	default:
		x.fail(malformed, "%v", err)
	}
}
