package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A RAR is a chain of blocks. The library reads it from its beginning and gives up at the first block that it does not expect: a member that begins
// in the volume before, a header whose checksum differs. So the chain is looked over first, and where it is such, the library gets one that is
// mended, and it is told by the members that are concerned what is wrong with them.

const (
	rarMaxBlocks = 1 << 20 // that are looked over; the library reads on alone
	rarMaxMended = 1 << 12 // that are mended
	rarMaxHeader = 4 << 10 // bytes of a header that is looked for behind damage
)

var (
	errRARBefore = errors.New("it begins in the volume before, which is another file")
	errRARSolid  = errors.New("it is packed together with members before it, which are not there (solid)")
	errRARHeader = errors.New("its header is damaged")
)

// rarChain is what looking over the blocks gave.
type rarChain struct {
	container *container
	five      bool
	mended    []rarPiece    // what the library is to read; nil means the file as it is
	reasons   map[int]error // why the n-th member cannot be opened, from 0
	lost      []string      // what is damaged and belongs to no member
	from      int64         // up to where the file is in mended
	members   int
	whole     bool  // the dictionary of what comes next is there
	skip      int   // members that have been told before the library failed
	failed    error // why it failed at the one after them
}

// rarPiece is a piece of the chain: bytes of ours, or else those of the file from an offset up to another.
type rarPiece struct {
	b        []byte
	from, to int64
}

// rarBlock is the header of a block.
type rarBlock struct {
	raw     []byte // the whole header
	data    int64  // bytes that follow it
	kind    rarKind
	before  bool  // begins in the volume before
	solid   bool  // needs the dictionary of the members before
	window  int64 // bytes of dictionary
	packing int   // where the header says how it is packed
	damaged bool  // the checksum differs
}

type rarKind int

const (
	rarOther rarKind = iota
	rarMain
	rarFile
	rarDirectory
	rarEnd
	rarLocked // what follows is encrypted
)

// reader is what the library is to read.
func (z *rarChain) reader() io.Reader {
	if z.mended == nil {
		return z.container.section(0, z.container.size)
	}
	readers := make([]io.Reader, 0, len(z.mended)+1)
	for _, p := range z.mended {
		if p.b != nil {
			readers = append(readers, bytes.NewReader(p.b))
		} else {
			readers = append(readers, z.container.section(p.from, p.to-p.from))
		}
	}
	return io.MultiReader(append(readers, z.container.section(z.from, z.container.size-z.from))...)
}

// put has the library read b where the file has what lies from at to next.
func (z *rarChain) put(b []byte, at, next int64) {
	if at > z.from {
		z.mended = append(z.mended, rarPiece{from: z.from, to: at})
	}
	if len(b) > 0 {
		z.mended = append(z.mended, rarPiece{b: b})
	}
	z.from = next
}

// lookOver goes along the blocks. When the library failed behind some members, it is to pass over these and the one at which it failed.
func (c *container) lookOver(skip int, failed error) *rarChain {
	z := &rarChain{container: c, reasons: make(map[int]error), whole: true, skip: skip, failed: failed}
	at := int64(7)
	if start, err := c.readAt(0, 8); err == nil && string(start) == "Rar!\x1a\x07\x01\x00" {
		z.five = true
		at = 8
	} else if err != nil || string(start[:7]) != "Rar!\x1a\x07\x00" {
		return z // of RAR 1, which has no such blocks
	}
	for range rarMaxBlocks {
		b := z.block(at)
		next := int64(0)
		if b != nil {
			next = at + int64(len(b.raw)) + b.data
		}
		if b == nil || b.damaged && (next > c.size || next < c.size && z.block(next) == nil) {
			// What it says of its length is wrong, too. The chain goes on where a header's checksum is right.
			found := z.search(at + 1)
			if found < 0 || len(z.mended) >= rarMaxMended {
				return z
			}
			z.lost = append(z.lost, "a block's header is damaged")
			z.put(nil, at, found)
			z.whole = false
			at = found
			continue
		}
		switch b.kind {
		case rarLocked:
			return z
		case rarEnd:
			return z
		case rarMain:
			z.main(b, at)
		case rarFile, rarDirectory:
			z.member(b, at)
		default:
			if b.damaged {
				z.put(nil, at, min(next, c.size))
			}
		}
		if len(z.mended) >= rarMaxMended {
			return z
		}
		if at = next; at > c.size {
			return z
		}
	}
	return z
}

func (z *rarChain) member(b *rarBlock, at int64) {
	reason := error(nil)
	switch {
	case z.members < z.skip:
		reason = errRARSolid // it is not told
	case b.damaged:
		reason = errRARHeader
	case b.before:
		reason = errRARBefore
	case b.solid && !z.whole:
		reason = errRARSolid
	case b.window > z.container.o.Memory:
		reason = errDictionary
	case z.members == z.skip && z.failed != nil:
		reason = z.failed
	}
	if b.kind == rarFile {
		z.whole = reason == nil
	}
	if reason != nil {
		z.reasons[z.members] = reason
		z.put(b.mend(z.five), at, at+int64(len(b.raw)))
	}
	z.members++
}

// main has the library read a volume as if it were the first, so that it does not ask for those before.
func (z *rarChain) main(b *rarBlock, at int64) {
	le := binary.LittleEndian
	if !z.five {
		const volume, first = 1, 0x100
		z.whole = le.Uint16(b.raw[3:])&(volume|first) != volume
		return
	}
	r := rar5Header(b.raw)
	ok := r.ok
	if archive := r.number(); ok && r.ok && archive&2 != 0 { // it has a number
		z.whole = false
		z.put(rar5Block(1, 0, byte(archive&5)), at, at+int64(len(b.raw))+b.data)
	}
}

// block reads the header at an offset; nil when there is none that could be one.
func (z *rarChain) block(at int64) *rarBlock {
	c := z.container
	head, err := c.readAt(at, int(min(rarMaxHeader, max(c.size-at, 0))))
	if err != nil {
		return nil
	}
	if b := z.parse(head); b != nil || len(head) < rarMaxHeader {
		return b
	}
	if head, err = c.readAt(at, int(min(64<<10, c.size-at))); err != nil {
		return nil
	}
	return z.parse(head)
}

// parse reads a header at the beginning of head; nil when there is none that could be one, or it is longer.
func (z *rarChain) parse(head []byte) *rarBlock {
	le := binary.LittleEndian
	if z.five {
		r := rar5Header(head)
		if !r.ok || r.end > len(head) || r.kind < 1 || r.kind > 5 || r.data < 0 {
			return nil
		}
		b := &rarBlock{raw: head[:r.end], data: r.data}
		b.damaged = crc32.ChecksumIEEE(b.raw[4:]) != le.Uint32(b.raw)
		switch r.kind {
		case 1:
			b.kind = rarMain
		case 2:
			b.kind = rarFile
			b.before = r.flags&8 != 0
			flags := r.number() // of the file
			if flags&1 != 0 {
				b.kind = rarDirectory
			}
			size := r.number()
			r.number() // attributes
			if flags&2 != 0 {
				r.at += 4
			}
			if flags&4 != 0 {
				r.at += 4
			}
			b.packing = r.at
			if packing := r.number(); packing>>7&7 != 0 { // not stored
				b.solid = packing&(1<<6) != 0
				b.window = 128 << 10 << (packing >> 10 & 31)
				if !b.solid && flags&8 == 0 && size < uint64(b.window) {
					b.window = int64(size) // the library takes no more
				}
			}
			if !r.ok {
				return nil
			}
		case 4:
			b.kind = rarLocked
		case 5:
			b.kind = rarEnd
		}
		return b
	}
	if len(head) < 7 {
		return nil
	}
	kind, flags, size := head[2], le.Uint16(head[3:]), int(le.Uint16(head[5:]))
	if size < 7 || size > len(head) || kind < 0x72 || kind > 0x7b {
		return nil
	}
	b := &rarBlock{raw: head[:size]}
	sum := func(b []byte) uint16 { return uint16(crc32.ChecksumIEEE(b)) }
	if flags&0x8000 != 0 || kind == 0x74 || kind == 0x7a {
		if size < 11 {
			return nil
		}
		b.data = int64(le.Uint32(head[7:]))
	}
	switch kind {
	case 0x73:
		b.kind = rarMain
		b.damaged = flags&2 == 0 && sum(b.raw[2:]) != le.Uint16(head)
		if flags&0x80 != 0 {
			b.kind = rarLocked
		}
	case 0x74:
		if size < 32 {
			return nil
		}
		b.kind = rarFile
		if flags&0xe0 == 0xe0 {
			b.kind = rarDirectory
		}
		b.before = flags&1 != 0
		b.packing = 25
		b.solid = flags&0x10 != 0 && head[b.packing] != 0x30
		b.damaged = flags&8 == 0 && sum(b.raw[2:]) != le.Uint16(head)
		if flags&0x100 != 0 {
			if size < 40 {
				return nil
			}
			b.data |= int64(le.Uint32(head[32:])) << 32
		}
	case 0x7a:
		b.damaged = sum(b.raw[2:]) != le.Uint16(head)
	case 0x7b:
		b.kind = rarEnd
	}
	if b.data < 0 {
		return nil
	}
	return b
}

// mend is the header as if the member were stored and began in this volume, with the right checksum, so that the library passes over its data.
func (b *rarBlock) mend(five bool) []byte {
	raw := bytes.Clone(b.raw)
	le := binary.LittleEndian
	if !five {
		raw[3] &^= 1 | 0x10
		raw[b.packing] = 0x30
		le.PutUint16(raw, uint16(crc32.ChecksumIEEE(raw[2:])))
		return raw
	}
	r := rar5Header(raw)
	raw[r.flagsAt] &^= 8
	raw[b.packing] &^= 1 << 6
	if raw[b.packing]&0x80 != 0 {
		raw[b.packing+1] &^= 7
	}
	le.PutUint32(raw, crc32.ChecksumIEEE(raw[4:]))
	return raw
}

// search finds the next header of a member or of the end whose checksum is right; -1 when there is none.
func (z *rarChain) search(at int64) int64 {
	const step = 256 << 10
	buf := make([]byte, step+rarMaxHeader)
	for c := z.container; at < c.size; at += step {
		b := buf[:min(int64(len(buf)), c.size-at)]
		if n, _ := c.r.ReadAt(b, at); n < len(b) {
			return -1
		}
		for i := range min(len(b), step) {
			// What costs little comes first.
			if z.five {
				if i+7 > len(b) || b[i+4]&0x80 == 0 && b[i+5] != 2 && b[i+5] != 5 || b[i+4]&0x80 != 0 && b[i+6] != 2 {
					continue
				}
			} else if i+7 > len(b) || b[i+2] != 0x74 && b[i+2] != 0x7b || b[i+6] > rarMaxHeader>>8 {
				continue
			}
			if h := z.parse(b[i:]); h != nil && !h.damaged && (h.kind == rarFile || h.kind == rarDirectory || h.kind == rarEnd && len(h.raw) < 32 && h.sound(z.five)) {
				return at + int64(i)
			}
		}
	}
	return -1
}

// sound tells whether the checksum of an end block is right.
func (b *rarBlock) sound(five bool) bool {
	return five || uint16(crc32.ChecksumIEEE(b.raw[2:])) == binary.LittleEndian.Uint16(b.raw)
}

// rar5Fields are the numbers that every header of RAR 5 begins with; the rest is read by number.
type rar5Fields struct {
	b           []byte
	at, end     int // end is that of the header
	ok          bool
	flagsAt     int
	kind, flags uint64
	data        int64
}

func rar5Header(b []byte) *rar5Fields {
	r := &rar5Fields{b: b, at: 4, ok: len(b) >= 7}
	size := r.number()
	if !r.ok || size == 0 || size > 2<<20 {
		r.ok = false
		return r
	}
	r.end = r.at + int(size)
	r.kind = r.number()
	r.flagsAt = r.at
	r.flags = r.number()
	if r.flags&1 != 0 {
		r.number()
	}
	if r.flags&2 != 0 {
		r.data = int64(r.number())
	}
	r.ok = r.ok && r.at <= r.end
	return r
}

// number reads a number of variable length.
func (r *rar5Fields) number() uint64 {
	if !r.ok || r.at > len(r.b) {
		r.ok = false
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.ok = false
		return 0
	}
	r.at += n
	return v
}

// rar5Block makes a block of a short body.
func rar5Block(body ...byte) []byte {
	head := append([]byte{byte(len(body))}, body...)
	return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(head)), head...)
}
