package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds and magics of Apple's code signatures.
const (
	maxSuperBlob  = 16 << 20
	maxSlices     = 32
	maxCommands   = 10_000
	magicSuper    = 0xfade0cc0
	magicCode     = 0xfade0c02
	magicWrapper  = 0xfade0b01
	slotCMS       = 0x10000
	slotAlternate = 0x1000
)

var codeHashes = map[byte]crypto.Hash{1: crypto.SHA1, 2: crypto.SHA256, 3: crypto.SHA256, 4: crypto.SHA384}

// macho verifies the code signatures of a Mach-O file: of each architecture in a fat one.
func (f *file) macho() error {
	head, err := f.bytes(0, 8)
	if err != nil {
		return nil
	}
	be := binary.BigEndian
	magic := be.Uint32(head)
	if magic != 0xcafebabe && magic != 0xcafebabf {
		return f.slice(0, f.size, "Mach-O")
	}
	n := int64(be.Uint32(head[4:]))
	if n > maxSlices {
		return nil // a Java class, or nonsense
	}
	entry := int64(20)
	if magic == 0xcafebabf {
		entry = 32
	}
	for i := range n {
		b, err := f.bytes(8+i*entry, entry)
		if err != nil {
			return nil
		}
		at, size := int64(be.Uint32(b[8:])), int64(be.Uint32(b[12:]))
		if entry == 32 {
			at, size = int64(be.Uint64(b[8:])), int64(be.Uint64(b[16:]))
		}
		if at < 0 || size < 0 || at > f.size || size > f.size-at {
			continue
		}
		if err := f.slice(at, size, fmt.Sprintf("Mach-O part %d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// slice verifies one architecture.
func (f *file) slice(base, size int64, kind string) error {
	head, err := f.bytes(base, 32)
	if err != nil {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	at := base + 28
	switch binary.BigEndian.Uint32(head) {
	case 0xcefaedfe:
	case 0xcffaedfe:
		at = base + 32
	case 0xfeedface:
		order = binary.BigEndian
	case 0xfeedfacf:
		order, at = binary.BigEndian, base+32
	default:
		return nil
	}
	for range min(order.Uint32(head[16:]), maxCommands) {
		c, err := f.bytes(at, 16)
		if err != nil {
			return nil
		}
		n := int64(order.Uint32(c[4:]))
		if n < 8 {
			return nil
		}
		if order.Uint32(c) == 0x1d { // LC_CODE_SIGNATURE
			off, length := int64(order.Uint32(c[8:])), int64(order.Uint32(c[12:]))
			if off > size || length > size-off {
				return errors.New("the code signature reaches beyond the end of the file")
			}
			before := len(f.found)
			err := f.super(kind, base+off, length, base, off, nil)
			if tail := size - off - length; tail > 0 && err == nil {
				for _, x := range f.found[before:] {
					x.fail(appended, "%d bytes after the code signature", tail)
				}
			}
			return err
		}
		at += n
	}
	return nil
}

// dmg verifies a disk image's code signature, which its trailer points to.
func (f *file) dmg() error {
	koly, err := f.bytes(f.size-512, 512)
	if err != nil || string(koly[:4]) != "koly" {
		return nil
	}
	be := binary.BigEndian
	at, n := int64(be.Uint64(koly[296:])), int64(be.Uint64(koly[304:]))
	if n == 0 {
		return nil
	}
	if at < 0 || n < 0 || at > f.size || n > f.size-at {
		return errors.New("the code signature reaches beyond the end of the file")
	}
	clear(koly[304:312]) // as it was when it was digested
	before := len(f.found)
	err = f.super("disk image", at, n, 0, at, koly)
	if tail := f.size - 512 - at - n; tail > 0 && err == nil {
		for _, x := range f.found[before:] {
			x.fail(appended, "%d bytes after the code signature", tail)
		}
	}
	return err
}

// codeDirectory is the list of the digests of a program's pages.
type codeDirectory struct {
	raw      []byte
	hash     crypto.Hash
	size     int // of a digest as kept
	special  int
	slots    int
	at       int // of the digest of the first page
	limit    int64
	pageSize int64 // 0: the whole
}

func parseCode(b []byte) (*codeDirectory, error) {
	bad := errors.New("a damaged code directory")
	if len(b) < 44 {
		return nil, bad
	}
	be := binary.BigEndian
	d := &codeDirectory{raw: b, hash: codeHashes[b[37]], size: int(b[36]), limit: int64(be.Uint32(b[32:]))}
	at, special, slots := be.Uint32(b[16:]), be.Uint32(b[24:]), be.Uint32(b[28:])
	if d.hash == 0 || d.size == 0 || d.size > d.hash.Size() || b[39] > 31 {
		return nil, bad
	}
	if b[39] != 0 {
		d.pageSize = 1 << b[39]
	}
	if be.Uint32(b[8:]) >= 0x20300 && len(b) >= 64 {
		if l := int64(be.Uint64(b[56:])); l != 0 {
			d.limit = l
		}
	}
	n := uint64(len(b))
	if uint64(at) > n || uint64(special)*uint64(d.size) > uint64(at) || uint64(slots)*uint64(d.size) > n-uint64(at) || d.limit < 0 {
		return nil, bad
	}
	d.at, d.special, d.slots = int(at), int(special), int(slots)
	return d, nil
}

func (d *codeDirectory) digest(slot int) []byte {
	i := d.at + slot*d.size
	return d.raw[i : i+d.size]
}

// super verifies a code signature of n bytes at an offset, of code that begins at base and ends where the signature begins.
func (f *file) super(kind string, at, n, base, codeEnd int64, trailer []byte) error {
	if n > maxSuperBlob {
		return fmt.Errorf("a code signature of %d bytes; at most %d are read", n, maxSuperBlob)
	}
	b, err := f.bytes(at, n)
	be := binary.BigEndian
	if err != nil || len(b) < 12 || be.Uint32(b) != magicSuper {
		return errors.New("a damaged code signature")
	}
	count := be.Uint32(b[8:])
	if count > 64 {
		return errors.New("a code signature of too many parts")
	}
	parts := map[uint32][]byte{}
	var order []uint32
	for i := range int(count) {
		if len(b) < 12+8*i+8 {
			return errors.New("a damaged code signature")
		}
		slot, off := be.Uint32(b[12+8*i:]), int64(be.Uint32(b[16+8*i:]))
		if off+8 > int64(len(b)) {
			return errors.New("a damaged code signature")
		}
		size := int64(be.Uint32(b[off+4:]))
		if size < 8 || size > int64(len(b))-off {
			return errors.New("a damaged code signature")
		}
		if parts[slot] == nil {
			order = append(order, slot)
		}
		parts[slot] = b[off : off+size]
	}
	if trailer != nil {
		parts[6] = trailer
	}
	var first *codeDirectory
	var wrong []string
	var directories []*codeDirectory
	for _, slot := range order {
		p := parts[slot]
		if slot != 0 && (slot < slotAlternate || slot > slotAlternate+5) || be.Uint32(p) != magicCode {
			continue
		}
		d, err := parseCode(p)
		if err != nil {
			return err
		}
		if slot == 0 {
			first = d
		}
		directories = append(directories, d)
	}
	if first == nil {
		return errors.New("a code signature without a code directory")
	}
	for _, d := range directories {
		why, err := f.pages(d, base, codeEnd)
		if err != nil {
			return err
		}
		if why != "" {
			wrong = append(wrong, why)
		}
		for slot := 1; slot <= d.special; slot++ {
			p, want := parts[uint32(slot)], d.digest(-slot)
			if p == nil && (slot == 1 || slot == 3 || slot == 6) || len(bytes.Trim(want, "\x00")) == 0 && p == nil {
				continue // Info.plist and the resources are files of the bundle
			}
			if p == nil || !bytes.Equal(sum(d.hash, p)[:d.size], want) {
				wrong = append(wrong, fmt.Sprintf("the part %d of the signature is not the signed one", slot))
			}
		}
	}
	var x *finding
	if cms := parts[slotCMS]; len(cms) > 8 && be.Uint32(cms) == magicWrapper {
		sd, err := parseCMS(cms[8:])
		if err != nil {
			return err
		}
		if len(sd.signers) == 0 {
			return errors.New("a code signature without a signer")
		}
		for _, si := range sd.signers {
			x = f.signer(kind, sd, si, of(first.raw), oidCodeSigning)
			x.hash = first.hash
			f.add(x)
			if len(wrong) > 0 {
				x.fail(changed, "changed after signing: %s", wrong[0])
			}
		}
		return nil
	}
	x = &finding{kind: kind, hash: first.hash, state: unchecked, why: "ad hoc: signed by nobody"}
	if len(wrong) > 0 {
		x.fail(changed, "changed after signing: %s", wrong[0])
	}
	f.add(x)
	return nil
}

// pages compares the code with a directory; it returns what is wrong.
func (f *file) pages(d *codeDirectory, base, codeEnd int64) (string, error) {
	if d.limit > codeEnd {
		return "it covers more than there is", nil
	}
	if d.limit < codeEnd-4096 && codeEnd-d.limit > 4096 {
		return fmt.Sprintf("it covers %d bytes of %d", d.limit, codeEnd), nil
	}
	size := d.pageSize
	if size == 0 {
		size = max(d.limit, 1)
	}
	if pages := (d.limit + size - 1) / size; pages != int64(d.slots) {
		return fmt.Sprintf("it has %d pages, %d digests", pages, d.slots), nil
	}
	r := io.NewSectionReader(f.r, base, d.limit)
	w := d.hash.New()
	for i := range d.slots {
		w.Reset()
		if _, err := io.CopyN(w, r, min(size, d.limit-int64(i)*size)); err != nil {
			return "", fmt.Errorf("reading the code: %w", err)
		}
		if !bytes.Equal(w.Sum(nil)[:d.size], d.digest(i)) {
			return fmt.Sprintf("page %d is not the signed one", i), nil
		}
	}
	return "", nil
}
