package signature

import (
	"crypto"
	"errors"
	"io"
	"strings"

	"spoor/internal/intel"
)

// Listed is what one signature of a catalogue says of the files that it lists.
type Listed struct {
	Digests []string     // bytes, of any length: those of the file, or of a program without what a signature leaves out
	Facts   []intel.Fact // of each such file: that it is signed by way of the catalogue
}

const borrowedList = "signs the list of the catalogue that it is nested in"

// catalog verifies who signed a Windows catalogue; it is the signature of other files.
func (f *file) catalog() error {
	blob, err := f.bytes(0, min(f.size, maxCMS+1))
	if err != nil {
		return err
	}
	return f.catalogMessage(blob, nil, 0)
}

// catalogMessage verifies a catalogue, and those nested in it: lists of their own, or, as VirtualBox signs, messages without one, over that of the
// outer catalogue.
func (f *file) catalogMessage(blob, outer []byte, depth int) error {
	if len(f.found) >= maxFound {
		return nil
	}
	sd, err := parseCMS(blob)
	if err != nil {
		return err
	}
	content, borrowed := sd.content, sd.detached && outer != nil
	if borrowed {
		content = outer
	}
	for _, si := range sd.signers {
		x := f.signer("catalogue", sd, si, of(content), oidCodeSigning)
		x.nested = depth > 0
		switch {
		case borrowed:
			x.remark(borrowedList)
		case sd.detached:
			x.fail(unchecked, "what it signs is not here")
		}
		if sd.contentType != oidCTL && !borrowed {
			x.kind = "CMS"
			x.remark("signs content of type %s", dotted(sd.contentType))
		}
		if sd.rest > 0 && depth == 0 {
			x.fail(appended, "%d bytes after the signed message", sd.rest)
		}
		if borrowed {
			x.list = (&der{b: outer}).want(tagSequence).body
		} else if sd.contentType == oidCTL {
			x.list = sd.content
		}
		f.add(x)
		if depth == 2 {
			continue
		}
		for _, b := range si.nested {
			if err := f.catalogMessage(b, sd.whole, depth+1); err != nil {
				f.add(&finding{kind: "catalogue", nested: true, state: malformed, why: err.Error()})
			}
		}
	}
	return nil
}

// maxListed bounds the files of a catalogue that are looked for.
const maxListed = 100_000

// listed returns what the signatures that are right as such say of the files in their lists; whether they are trusted is another matter.
func listed(found []*finding) (all []Listed) {
	for i, f := range found {
		if f.list == nil || f.state >= changed || f.state == unchecked {
			continue
		}
		l := Listed{Digests: digestsIn(f.list)}
		for _, fact := range result([]*finding{f}).Facts {
			switch x := fact.(type) {
			case intel.Certificate:
				x.Direct = false
				fact = x
			case intel.Attribute:
				x.Value = "in a catalogue: " + f.note(i+1)
				for len(x.Value) > intel.MaxText {
					x.Value = strings.ToValidUTF8(x.Value[:intel.MaxText], "")
				}
				fact = x
			}
			l.Facts = append(l.Facts, fact)
		}
		if len(l.Digests) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// digestsIn are those of the files in a list of trust. The list of Windows 8 and later names a file by its digest; the earlier one has it in an
// attribute, and names the file by its text.
func digestsIn(list []byte) (all []string) {
	d := &der{b: list}
	d.want(tagSequence) // what it is for
	if d.more() && d.b[0] == tagOctets {
		d.next() // its name
	}
	d.next() // since when
	d.want(tagSequence)
	files := d.want(tagSequence)
	for in := files.inside(); in.more() && len(all) < maxListed; {
		file := in.want(tagSequence)
		x := file.inside()
		name := x.want(tagOctets)
		if n := len(name.body); n == crypto.SHA1.Size() || n == crypto.SHA256.Size() {
			all = append(all, string(name.body))
		}
		values := x.want(tagSet)
		if x.err != nil {
			continue
		}
		// What of the rest cannot be read is no digest.
		_ = attributes(&values, func(oid string, values *der) {
			if oid != oidSpcIndirectData {
				return
			}
			value := values.want(tagSequence)
			if in, err := parseIndirect(value.body); err == nil {
				all = append(all, string(in.digest))
			}
		})
	}
	return all
}

// ProgramDigests are those by which a catalogue lists a program that is not signed itself: SHA-1 and SHA-256 of what a signature would cover, with and
// without zeros that fill the file up to a multiple of eight bytes, as signers do. There are none of what is no program.
func ProgramDigests(r io.ReaderAt, size int64) (all []string, err error) {
	f := &file{r: &guarded{r: r}, size: size}
	l, err := f.peLayout()
	if err != nil || l.directory == 0 || l.table != 0 {
		return nil, nil
	}
	one, two := crypto.SHA1.New(), crypto.SHA256.New()
	w := io.MultiWriter(one, two)
	if err := errors.Join(f.copyTo(w, 0, l.checksum), f.copyTo(w, l.checksum+4, l.directory), f.copyTo(w, l.directory+8, size)); err != nil {
		return nil, err
	}
	all = append(all, string(one.Sum(nil)), string(two.Sum(nil)))
	if pad := -size & 7; pad > 0 {
		_, err = w.Write(make([]byte, pad))
		all = append(all, string(one.Sum(nil)), string(two.Sum(nil)))
	}
	return all, err
}
