package store

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// The schema. A partition's first byte is its space; the rest says of what.
//
//	space  partition                          rows (tag first, marking last)
//	f      alg(1) hash                        the facts of the file that the hash names; tags below
//	a      alg(1) first 8 bytes of a weak hash    alg(1) first 8 bytes of a stronger hash tied to it: a hint, verified by
//	                                          reading that file's ties; short, because hashes do not compress. A hint to the
//	                                          weak hash itself says that facts stand under it, so that one look tells that nothing is known
//	w      URL (long ones cut, see object)    what is known of a URL: listings, files
//	d      domain or IP address               the same of a host, and its URLs and addresses
//	z      algorithm, 0, fuzzy hash           files that share it
//	x      t and a cell, or s and a level     every TLSH and every ssdeep, arranged so that the near ones stand together, see similar.go
//	c      MD5 of a certificate               files that carry it
//	p      publication id                     what it is, field by field, and files that it names
//	s                                         source id(4): text "type 0 name"
//	n                                         feed: the last is the moment of its last complete snapshot; text: its terms
//	F                                         one row: its hosts are all machines that were ever seen
//	m      first 16 bytes of a hash           how far a stream has been taken in, as the last time; see marks.go
//	T      any partition of space f, w or d   rows rolled out of a relation that grew too large, see hubs.go
//
// A row's key is
//
//	tag(1) | detail (fixed length by tag) | long(1) | object | marking(1)
//
// where object is the thing that the row is about: a path, a name, an address, or for a related file
// alg(1) hash, or 0 path 0 name when no hash is known. Values are kv.Values: count, first and last time, when Spoor learned
// it, source ids; the text, when there is one, is "what else is known", the latest winning.
//
// Facts stand under the strongest hash that their observation carried. Rows of different markings are never merged in the store;
// a reader merges those that its account may see.
const (
	spaceFile        = 'f'
	spaceAlias       = 'a'
	spaceURL         = 'w'
	spaceHost        = 'd'
	spaceFuzzy       = 'z'
	spaceCatalogue   = 'x'
	spaceCertificate = 'c'
	spacePublication = 'p'
	spaceSources     = 's'
	spaceSnapshots   = 'n'
	spaceFleet       = 'F'
	spaceMark        = 'm'
	spaceTail        = 'T'
)

// The tags of a partition. What a verdict needs comes first, so that it is one short scan.
const (
	tagTies        = 0x01 // detail: mask(1) of the weak hashes that follow as object: 1 MD5, 2 SHA-1; the value has no first and last time
	tagSeen        = 0x02 // sightings; the value's hosts are the distinct machines
	tagAttribute   = 0x03 // object: name 0 value
	tagDetection   = 0x04 // detail: zone; object: name 0 method; text: URL
	tagListing     = 0x05 // detail: zone; object: feed 0 threat
	tagVerdict     = 0x06 // detail: zone; object: analyst 0 comment
	tagSignature   = 0x07 // detail: status; object: signer
	tagPublication = 0x08 // of a file: object: type 0 id; text: title 0 URL; of a publication: object: name of a field; text: what stands in it
	tagGap         = 0x0E // detail: tag(1) 'r' or 'h': count of rows, of hits, that were rolled out of the relation tag
	endOfHead      = 0x10

	tagHost         = 0x10
	tagPath         = 0x11
	tagName         = 0x12
	tagStarted      = 0x20 // detail: weak(1), as for the five below; object: file; text: path 0 name
	tagStartedBy    = 0x21
	tagDownloaded   = 0x22
	tagDownloadedBy = 0x23
	tagContains     = 0x24
	tagContainedIn  = 0x25
	tagCameFrom     = 0x30 // detail: truncated(1); object: URL
	tagAccessed     = 0x31 // detail: truncated(1); object: URL
	tagCertificate  = 0x38 // object: MD5; text: the certificate as JSON
	tagFuzzy        = 0x39 // object: algorithm 0 value
	tagDetail       = 0x3A // object: name 0 value, of an attribute that no verdict needs

	tagURL        = 0x40 // of a host: object: URL
	tagIP         = 0x41 // of a host: object: IP address it resolved to
	tagDomain     = 0x45 // of an IP address: object: domain that resolved to it
	tagCame       = 0x42 // of an address: detail: weak(1), always 0; object: file that came from it
	tagContacted  = 0x43 // of an address: the same; file that contacted it
	tagMemberFile = 0x44 // of a fuzzy hash, certificate or publication: the same; file that has it
)

// detailLength returns how many bytes follow a tag before the long byte.
func detailLength(tag byte) int {
	switch tag {
	case tagTies, tagDetection, tagListing, tagVerdict, tagSignature,
		tagStarted, tagStartedBy, tagDownloaded, tagDownloadedBy, tagContains, tagContainedIn,
		tagCameFrom, tagAccessed, tagCame, tagContacted, tagMemberFile:
		return 1
	case tagGap:
		return 2
	}
	return 0
}

const (
	maxObject  = 700 // bytes of an object that stand in a key as they are
	cutObject  = 200 // of a longer one so much stands in the key, then its SHA-256; the whole is in the text
	maxAddress = 200 // the same for an address in a partition's name, where nothing else keeps the whole
)

func filePartition(dst []byte, h intel.Hash) []byte {
	dst = append(dst, spaceFile, byte(h.Algorithm()))
	return h.Append(dst)
}

// hintBytes is how much of a hash an alias row keeps.
const hintBytes = 8

func aliasPartition(dst []byte, weak intel.Hash) []byte {
	dst = append(dst, spaceAlias, byte(weak.Algorithm()))
	at := len(dst)
	return weak.Append(dst)[:at+hintBytes]
}

func addressPartition(dst []byte, space byte, s string) []byte {
	dst = append(dst, space)
	if len(s) <= maxAddress {
		return append(dst, s...)
	}
	sum := sha256.Sum256([]byte(s))
	dst = append(dst, s[:maxAddress]...)
	return append(dst, sum[:]...)
}

// key builds the row key of an object, and the text that must stand beside it: the extra text given, and the whole object when it is long.
type key struct {
	tag     byte
	detail  [2]byte
	object  []byte
	marking intel.Marking
}

func (k *key) append(dst []byte) []byte {
	dst = append(dst, k.tag)
	dst = append(dst, k.detail[:detailLength(k.tag)]...)
	if len(k.object) <= maxObject {
		dst = append(dst, 0)
		dst = append(dst, k.object...)
	} else {
		sum := sha256.Sum256(k.object)
		dst = append(dst, 1)
		dst = append(dst, k.object[:cutObject]...)
		dst = append(dst, sum[:]...)
	}
	return append(dst, byte(k.marking))
}

// text encodes what stands in a row's text: the whole object when the key holds a cut one, then the extra text.
func (k *key) text(extra string) []byte {
	if len(k.object) <= maxObject {
		if extra == "" {
			return nil
		}
		return append([]byte{0}, extra...)
	}
	b := append(make([]byte, 0, len(k.object)+len(extra)+6), 1)
	b = binary.AppendUvarint(b, uint64(len(k.object)))
	b = append(b, k.object...)
	return append(b, extra...)
}

// parsedKey is a row key taken apart. object points into the key, or into the text when it was long.
type parsedKey struct {
	tag     byte
	detail  []byte
	object  []byte
	marking intel.Marking
	extra   []byte
}

// parseKey takes a row apart; ok is false for a row that this schema never writes.
func parseKey(row []byte, text kv.Text) (k parsedKey, ok bool) {
	if len(row) < 3 {
		return k, false
	}
	k.tag = row[0]
	n := detailLength(k.tag)
	if len(row) < 3+n {
		return k, false
	}
	k.detail = row[1 : 1+n]
	long := row[1+n]
	k.object = row[2+n : len(row)-1]
	k.marking = intel.Marking(row[len(row)-1])
	switch {
	case long == 0 && len(text.Data) > 0:
		k.extra = text.Data[1:]
	case long == 1:
		if len(text.Data) < 2 {
			return k, false
		}
		size, w := binary.Uvarint(text.Data[1:])
		if w <= 0 || size > uint64(len(text.Data)-1-w) {
			return k, false
		}
		k.object = text.Data[1+w : 1+w+int(size)]
		k.extra = text.Data[1+w+int(size):]
	}
	return k, true
}

// pair joins two texts, neither of which holds a NUL, and cutPair parts them.
func pair(a, b string) string {
	if b == "" {
		return a
	}
	return a + "\x00" + b
}

func cutPair(s string) (a, b string) {
	a, b, _ = strings.Cut(s, "\x00")
	return a, b
}

// fileObject is the object of a related file.
func fileObject(dst []byte, o *intel.Object) []byte {
	if h := o.Strongest(); !h.IsZero() {
		return h.Append(append(dst, byte(h.Algorithm())))
	}
	dst = append(dst, 0)
	return append(dst, pair(o.Path, o.Name)...)
}

// parseFileObject returns the related file's hash, or its path and name when no hash is known.
func parseFileObject(object string) (h intel.Hash, path, name string, ok bool) {
	if object == "" {
		return h, "", "", false
	}
	if object[0] == 0 {
		path, name = cutPair(object[1:])
		return h, path, name, true
	}
	h, err := intel.HashFromBytes(intel.Algorithm(object[0]), []byte(object[1:]))
	return h, "", "", err == nil
}

// tagOf is the row tag of a group of facts.
func tagOf(s intel.Section) byte {
	for i, t := range sectionTags {
		if s == 1<<i {
			return t
		}
	}
	return 0
}

// sectionTags follow the order of intel's sections. SectionSimilar needs the fuzzy hashes.
var sectionTags = [...]byte{tagPath, tagName, tagHost, tagStarted, tagStartedBy, tagDownloaded, tagDownloadedBy,
	tagContains, tagContainedIn, tagCameFrom, tagAccessed, tagCertificate, tagFuzzy, tagFuzzy, tagDetail}
