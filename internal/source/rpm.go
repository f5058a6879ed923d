package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"spoor/internal/intel"
)

// An .rpm is a lead of 96 bytes, a header of signatures, the header proper, and the packed files, which are not opened. A header is an index of
// entries, each a tag, a type, an offset and a count, and the store that the offsets lead into. Both Go libraries for it that were tried die on hostile
// ones, and all that is wanted here are eight tags.

var rpmLead, rpmHeader = []byte{0xED, 0xAB, 0xEE, 0xDB}, []byte{0x8E, 0xAD, 0xE8, 0x01}

func sniffRPM(s *sample) int {
	if len(s.head) >= 96+16 && bytes.HasPrefix(s.head, rpmLead) && bytes.Equal(s.head[96:100], rpmHeader) {
		return 100
	}
	return 0
}

// The tags that are read.
const (
	rpmSize         = 1000 // in the signatures' header: bytes of the header and the packed files
	rpmLongSize     = 270  // the same of large ones
	rpmName         = 1000
	rpmVersion      = 1001
	rpmRelease      = 1002
	rpmOldNames     = 1027 // whole paths, before rpm 4
	rpmFileSizes    = 1028
	rpmFileDigests  = 1035 // hex; "" of what is no regular file
	rpmDirIndexes   = 1116
	rpmBaseNames    = 1117
	rpmDirNames     = 1118
	rpmLongSizes    = 5008
	rpmDigestAlgo   = 5011 // as OpenPGP numbers them; MD5 when it is not there
	maxRPMEntries   = 0xFFFF
	rpmInt32        = 4
	rpmInt64        = 5
	rpmString       = 6
	rpmStringArray  = 8
	rpmI18NString   = 9
	rpmDigestMD5    = 1
	rpmDigestSHA1   = 2
	rpmDigestSHA256 = 8
)

func readRPM(r *reader) error {
	damaged := func(why string, args ...any) error {
		return &intel.Refusal{Reason: "rpm: " + fmt.Sprintf(why, args...)}
	}
	fault := func(what string, err error) error {
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return damaged("the input ends within its %s", what)
		case errors.Is(err, errRPMHeader):
			return damaged("its %s: %v", what, err)
		}
		return err
	}
	h := r.hashed()
	var lead [96]byte
	if _, err := io.ReadFull(h, lead[:]); err != nil {
		return fault("lead", err)
	}
	if !bytes.HasPrefix(lead[:], rpmLead) {
		return damaged("it does not begin as one")
	}
	signatures, err := readRPMTags(h)
	if err != nil {
		return fault("header of signatures", err)
	}
	if rest := int64(len(signatures.store)) % 8; rest != 0 {
		if _, err := io.CopyN(io.Discard, h, 8-rest); err != nil {
			return fault("header of signatures", err)
		}
	}
	before := h.n
	tags, err := readRPMTags(h)
	if err != nil {
		return fault("header", err)
	}
	if _, err := io.Copy(io.Discard, h); err != nil {
		return err
	}
	// A package that was cut has other hashes than the package.
	for _, tag := range []uint32{rpmSize, rpmLongSize} {
		if n, ok := signatures.number(tag, 0); ok && n != uint64(h.n-before) {
			return damaged("its signatures are of %d bytes, but there are %d: it is cut, or something was put behind it", n, h.n-before)
		}
	}
	c, err := r.pack(h, strings.Trim(tags.text(rpmName)+" "+tags.text(rpmVersion)+"-"+tags.text(rpmRelease), " -"))
	if err != nil {
		return err
	}
	return r.rpmMembers(c, tags)
}

func (r *reader) rpmMembers(c *container, tags *rpmTags) error {
	digests := tags.texts(rpmFileDigests)
	bases, folders, old := tags.texts(rpmBaseNames), tags.texts(rpmDirNames), tags.texts(rpmOldNames)
	algorithm := intel.MD5
	switch n, ok := tags.number(rpmDigestAlgo, 0); {
	case !ok, n == rpmDigestMD5:
	case n == rpmDigestSHA1:
		algorithm = intel.SHA1
	case n == rpmDigestSHA256:
		algorithm = intel.SHA256
	default:
		if len(digests) > 0 {
			r.refuse(0, "FILEDIGESTALGO", fmt.Sprintf("the digests of its files are of algorithm %d, by which nothing is found here", n))
		}
		return nil
	}
	names := max(len(bases), len(old))
	if len(digests) != names {
		r.refuse(0, "FILEDIGESTS", fmt.Sprintf("%d digests of %d files", len(digests), names))
		return nil
	}
	for i, digest := range digests {
		if i == maxFiles {
			r.refuse(0, "FILEDIGESTS", fmt.Sprintf("more than %d files: the rest is left", maxFiles))
			return nil
		}
		r.result.Records++
		if digest == "" {
			r.result.Other++ // a folder, a link, a device
			continue
		}
		h := r.namedHash(0, "FILEDIGESTS", digest, algorithm)
		if h.IsZero() {
			continue
		}
		var path string
		if len(bases) == 0 {
			path = old[i]
		} else if n, ok := tags.number(rpmDirIndexes, i); ok && n < uint64(len(folders)) {
			path = folders[n] + bases[i]
		} else {
			r.refuse(0, "DIRINDEXES", fmt.Sprintf("%q is in no folder", short(bases[i])))
			continue
		}
		size := ""
		if n, ok := tags.number(rpmLongSizes, i); ok {
			size = strconv.FormatUint(n, 10)
		} else if n, ok := tags.number(rpmFileSizes, i); ok {
			size = strconv.FormatUint(n, 10)
		}
		if err := r.member(c, 0, h, path, size); err != nil {
			return err
		}
	}
	return nil
}

// rpmTags is a header.
type rpmTags struct {
	entries map[uint32]rpmEntry
	store   []byte
}

type rpmEntry struct{ kind, offset, count uint32 }

var errRPMHeader = errors.New("no header")

// readRPMTags reads a header. Memory grows with what is there, not with what the header claims.
func readRPMTags(in io.Reader) (*rpmTags, error) {
	var head [16]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	entries, size := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
	switch {
	case !bytes.Equal(head[:4], rpmHeader):
		return nil, fmt.Errorf("%w begins there", errRPMHeader)
	case entries > maxRPMEntries, size > maxControl:
		return nil, fmt.Errorf("%w of %d entries and %d bytes is read", errRPMHeader, entries, size)
	}
	t := &rpmTags{entries: map[uint32]rpmEntry{}}
	for range entries {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return nil, err
		}
		tag := binary.BigEndian.Uint32(head[:])
		if _, ok := t.entries[tag]; !ok {
			t.entries[tag] = rpmEntry{binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])}
		}
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, in, int64(size)); err != nil {
		return nil, err
	}
	t.store = b.Bytes()
	return t, nil
}

// at returns what stands in the store from an entry's offset on.
func (t *rpmTags) at(tag uint32) (e rpmEntry, b []byte, ok bool) {
	if e, ok = t.entries[tag]; !ok || uint64(e.offset) > uint64(len(t.store)) {
		return e, nil, false
	}
	return e, t.store[e.offset:], true
}

// number returns the i-th number of an entry.
func (t *rpmTags) number(tag uint32, i int) (uint64, bool) {
	e, b, ok := t.at(tag)
	width := 4
	if e.kind == rpmInt64 {
		width = 8
	}
	if !ok || e.kind != rpmInt32 && e.kind != rpmInt64 || uint64(i) >= uint64(e.count) || (i+1)*width > len(b) {
		return 0, false
	}
	if b = b[i*width:]; width == 8 {
		return binary.BigEndian.Uint64(b), true
	}
	return uint64(binary.BigEndian.Uint32(b)), true
}

// text returns the first text of an entry.
func (t *rpmTags) text(tag uint32) string {
	e, b, ok := t.at(tag)
	if !ok || e.kind != rpmString && e.kind != rpmI18NString && e.kind != rpmStringArray {
		return ""
	}
	text, _, _ := bytes.Cut(b[:min(len(b), maxTold)], []byte{0})
	return string(text)
}

// texts returns all texts of an entry, as many as are really there.
func (t *rpmTags) texts(tag uint32) (all []string) {
	e, b, ok := t.at(tag)
	if !ok || e.kind != rpmStringArray {
		return nil
	}
	for range e.count {
		text, rest, whole := bytes.Cut(b, []byte{0})
		if !whole {
			break
		}
		all = append(all, string(text))
		b = rest
	}
	return all
}
