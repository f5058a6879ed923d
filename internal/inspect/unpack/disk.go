package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"

	"spoor/internal/inspect/filetype"
)

const (
	diskSector   = 512
	diskMaxParts = 1 << 10
	vhdFooter    = 512
)

// readDisk tells the partitions of a disk: by a GUID partition table, Apple's partition map, or the table in the boot sector.
func readDisk(c *container) error {
	b, err := c.readAt(0, diskSector)
	if err != nil {
		return err
	}
	for _, sector := range []int64{512, 4096} {
		if h, err := c.readAt(sector, 92); err == nil && string(h[:8]) == "EFI PART" {
			return c.gpt(h, sector)
		}
	}
	if string(b[:2]) == "ER" {
		return c.appleMap()
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return errors.New("no table of partitions is there")
	}
	return c.mbr(b)
}

// partition tells n bytes at a place as a member.
func (c *container) partition(i int, kind string, at, n int64) error {
	m := Member{Path: fmt.Sprintf("partition %d", i), Size: n}
	if kind != "" {
		m.Path += " (" + strings.ReplaceAll(kind, "/", "_") + ")"
	}
	m.Path = cleanPath(m.Path + ".img")
	if at < 0 || n < 0 || at >= c.size {
		m.Err = errors.New("it lies beyond the end of the image")
	} else {
		m.Reader = c.stored(at, n)
	}
	return c.tell(m)
}

// mbrKinds are the usual kinds of partitions.
var mbrKinds = map[byte]string{0x01: "FAT12", 0x04: "FAT16", 0x06: "FAT16", 0x0b: "FAT32", 0x0c: "FAT32", 0x0e: "FAT16", 0x07: "NTFS", 0x27: "Windows recovery", 0x82: "Linux swap",
	0x83: "Linux", 0x8e: "Linux LVM", 0xa5: "FreeBSD", 0xa8: "Mac", 0xaf: "HFS", 0xee: "GPT", 0xef: "EFI"}

// mbr tells the partitions of a boot sector, and the logical ones, each of which has a boot sector that points to the next.
func (c *container) mbr(b []byte) error {
	le := binary.LittleEndian
	told := 0
	tell := func(e []byte, base int64) error {
		told++
		kind := mbrKinds[e[4]]
		if kind == "" {
			kind = fmt.Sprintf("type 0x%02x", e[4])
		}
		return c.partition(told, kind, (base+int64(le.Uint32(e[8:])))*diskSector, int64(le.Uint32(e[12:]))*diskSector)
	}
	var extended []int64
	for e := b[446:510]; len(e) >= 16; e = e[16:] {
		switch {
		case e[4] == 0 || le.Uint32(e[12:]) == 0:
		case e[4] == 5 || e[4] == 0x0f || e[4] == 0x85:
			extended = append(extended, int64(le.Uint32(e[8:])))
		default:
			if err := tell(e, 0); err != nil {
				return err
			}
		}
	}
	for _, first := range extended {
		seen := make(map[int64]bool)
		for at := first; !seen[at]; {
			seen[at] = true
			b, err := c.readAt(at*diskSector, diskSector)
			if err != nil || b[510] != 0x55 || b[511] != 0xaa {
				return fmt.Errorf("the table of logical partitions at sector %d is damaged", at)
			}
			if len(seen) > diskMaxParts {
				return fmt.Errorf("there are more than %d logical partitions", diskMaxParts)
			}
			if e := b[446:]; e[4] != 0 && le.Uint32(e[12:]) != 0 {
				if err := tell(e, at); err != nil {
					return err
				}
			}
			e := b[462:]
			if e[4] == 0 || le.Uint32(e[12:]) == 0 {
				break
			}
			at = first + int64(le.Uint32(e[8:]))
		}
	}
	return nil
}

// gptKinds are the usual kinds of partitions, by the first bytes of their GUIDs.
var gptKinds = map[string]string{
	"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11": "EFI",
	"\x16\xe3\xc9\xe3\x5c\x0b\xb8\x4d": "Microsoft reserved",
	"\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44": "basic data",
	"\xa4\xbb\x94\xde\xd1\x06\x40\x4d": "Windows recovery",
	"\xaf\x3d\xc6\x0f\x83\x84\x72\x47": "Linux",
	"\x48\x61\x68\x21\x49\x64\x6f\x6e": "BIOS boot",
	"\x00\x53\x46\x48\x00\x00\xaa\x11": "HFS",
	"\xef\x57\x34\x7c\x00\x00\xaa\x11": "APFS",
}

func (c *container) gpt(h []byte, sector int64) error {
	le := binary.LittleEndian
	at, n, size := int64(le.Uint64(h[72:])), le.Uint32(h[80:]), int64(le.Uint32(h[84:]))
	if size < 128 || size > 4096 || at < 0 || at > c.size/sector {
		return errors.New("the GUID partition table is damaged")
	}
	for i := range min(n, diskMaxParts) {
		e, err := c.readAt(at*sector+int64(i)*size, 128)
		if err != nil {
			return err
		}
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		first, last := int64(le.Uint64(e[32:])), int64(le.Uint64(e[40:]))
		name := strings.TrimRight(utf16Name(e[56:128], le), "\x00")
		if name == "" {
			name = gptKinds[string(e[:8])]
		}
		if first < 0 || last < first || last > 1<<50 {
			first, last = 1<<50, 1<<50
		}
		if err := c.partition(int(i)+1, name, first*sector, (last-first+1)*sector); err != nil {
			return err
		}
	}
	if n > diskMaxParts {
		return fmt.Errorf("the GUID partition table has room for %d partitions, of which %d are looked at", n, diskMaxParts)
	}
	return nil
}

func (c *container) appleMap() error {
	be := binary.BigEndian
	n := uint32(1)
	for i := uint32(0); i < min(n, diskMaxParts); i++ {
		e, err := c.readAt(int64(i+1)*diskSector, 80)
		if err != nil {
			return err
		}
		if string(e[:2]) != "PM" {
			return errors.New("the partition map is damaged")
		}
		n = be.Uint32(e[4:])
		name, _, _ := strings.Cut(latin1Name(e[16:48]), "\x00")
		kind, _, _ := strings.Cut(latin1Name(e[48:80]), "\x00")
		if kind == "Apple_partition_map" || kind == "Apple_Free" {
			continue
		}
		if err := c.partition(int(i)+1, strings.TrimSpace(name+" "+kind), int64(be.Uint32(e[8:]))*diskSector, int64(be.Uint32(e[12:]))*diskSector); err != nil {
			return err
		}
	}
	return nil
}

// readVirtual tells the partitions of a virtual machine's disk, or the disk itself where it has none.
func readVirtual(c *container) error {
	h, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	switch {
	case string(h[:4]) == "KDMV":
		return c.vmdk()
	case string(h[:4]) == "QFI\xfb":
		return c.qcow()
	case string(h[:8]) == "vhdxfile":
		return c.vhdx()
	case string(h[0x40:0x44]) == "\x7f\x10\xda\xbe":
		return c.vdi()
	}
	return c.vhd()
}

// vhd makes the container that of the disk which a file of Virtual PC holds.
func (c *container) vhd() error {
	be := binary.BigEndian
	f, err := c.readAt(c.size-vhdFooter, vhdFooter)
	if err != nil || string(f[:8]) != "conectix" {
		if f, err = c.readAt(0, vhdFooter); err != nil || string(f[:8]) != "conectix" {
			return errors.New("its footer is missing")
		}
	}
	size := int64(be.Uint64(f[48:]))
	switch kind := be.Uint32(f[60:]); kind {
	case 2:
		return c.disk(c.r, min(size, c.size-vhdFooter))
	case 4:
		return errors.New("it holds only what changed of another disk, which is another file")
	case 3:
	default:
		return fmt.Errorf("a disk of the kind %d is not read", kind)
	}
	h, err := c.readAt(int64(be.Uint64(f[16:])), 1024)
	if err != nil || string(h[:8]) != "cxsparse" {
		return errors.New("the header of its blocks is missing")
	}
	in, table, blocks, block := c.r, int64(be.Uint64(h[16:])), int64(be.Uint32(h[28:])), int64(be.Uint32(h[32:]))
	if block < 4096 || block > 1<<30 || block%4096 != 0 || table < 0 || size < 0 || size > 1<<50 {
		return errors.New("the header of its blocks is damaged")
	}
	maps := (block/512/8 + 511) / 512 * 512 // bytes of the map of sectors before each block
	return c.disk(&blockDisk{r: in, size: size, block: block, place: func(i int64) (int64, int64, error) {
		if i >= blocks {
			return -1, 0, nil
		}
		var b [4]byte
		if _, err := in.ReadAt(b[:], table+4*i); err != nil {
			return 0, 0, errCut
		}
		if v := be.Uint32(b[:]); v != 1<<32-1 {
			return int64(v)*512 + maps, 0, nil
		}
		return -1, 0, nil
	}}, size)
}

// disk tells the partitions of a disk, or it as a whole.
func (c *container) disk(r io.ReaderAt, size int64) error {
	if size < 0 {
		return errCut
	}
	c.r, c.size = r, size
	if filetype.Detect(r, size).Format == filetype.Disk {
		return readDisk(c)
	}
	return c.tell(Member{Path: "disk.img", Size: size, Reader: c.stored(0, size)})
}

// blockDisk is a disk of which only the blocks that were written are there.
type blockDisk struct {
	r           io.ReaderAt
	size, block int64
	place       func(i int64) (at, packed int64, err error) // of a block; at is -1 for zeros, packed how many bytes it has compressed, 0 when it is not
	unpack      func(io.Reader) (io.Reader, error)
	kept        int64 // block that was unpacked last, and one more
	out         []byte
}

func (d *blockDisk) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= d.size {
			return n, io.EOF
		}
		i, in := off/d.block, off%d.block
		k := int(min(int64(len(p)-n), d.block-in, d.size-off))
		at, packed, err := d.place(i)
		switch {
		case err != nil:
			return n, err
		case at < 0:
			clear(p[n : n+k])
		case packed > 0:
			if d.kept != i+1 {
				d.kept = 0
				if d.out == nil {
					d.out = make([]byte, d.block)
				}
				z, err := d.unpack(io.NewSectionReader(d.r, at, packed))
				if err != nil {
					return n, err
				}
				if _, err := io.ReadFull(z, d.out); err != nil {
					return n, errCut
				}
				d.kept = i + 1
			}
			copy(p[n:n+k], d.out[in:])
		default:
			if m, err := d.r.ReadAt(p[n:n+k], at+in); m < k {
				if err == io.EOF {
					err = errCut
				}
				return n + m, err
			}
		}
		n += k
		off += int64(k)
	}
	return n, nil
}

// A VHDX says where its parts are by their GUIDs, as they stand in the file.
const (
	vhdxTable    = 192 << 10 // where the table of regions begins
	vhdxBlocks   = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxMetadata = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxFile     = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxSize     = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxSector   = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"
)

// vhdx makes the container that of the disk which a file of Hyper-V holds.
func (c *container) vhdx() error {
	le := binary.LittleEndian
	// Of the two headers, the later one that is whole counts. What its log holds would have to be written first.
	var sequence uint64
	var log [16]byte
	for _, at := range []int64{64 << 10, 128 << 10} {
		h, err := c.readAt(at, 64)
		if err == nil && string(h[:4]) == "head" && le.Uint64(h[8:]) >= sequence {
			sequence, log = le.Uint64(h[8:]), [16]byte(h[48:])
		}
	}
	if log != [16]byte{} {
		return errors.New("it was not closed: its log would have to be written first")
	}
	part := func(table []byte, guid string) int64 {
		for ; len(table) >= 32; table = table[32:] {
			if string(table[:16]) == guid {
				return int64(le.Uint64(table[16:]))
			}
		}
		return -1
	}
	b, err := c.readAt(vhdxTable, 64<<10)
	if err != nil || string(b[:4]) != "regi" {
		return errors.New("the table of its regions is missing")
	}
	blocks, metadata := part(b[16:], vhdxBlocks), part(b[16:], vhdxMetadata)
	if b, err = c.readAt(metadata, 64<<10); err != nil || string(b[:8]) != "metadata" {
		return errors.New("its metadata are missing")
	}
	value := func(guid string) uint64 {
		for e := b[32:]; len(e) >= 32; e = e[32:] {
			if string(e[:16]) == guid {
				if v, err := c.readAt(metadata+int64(le.Uint32(e[16:])), 8); err == nil {
					return le.Uint64(v)
				}
			}
		}
		return 0
	}
	file, size, sector := value(vhdxFile), int64(value(vhdxSize)), int64(value(vhdxSector)&(1<<32-1))
	in, block := c.r, int64(file&(1<<32-1))
	if file>>32&2 != 0 {
		return errors.New("it holds only what changed of another disk, which is another file")
	}
	if blocks < 0 || block < 1<<20 || block > 256<<20 || block&(block-1) != 0 || size < 0 || size > 1<<50 || sector != 512 && sector != 4096 {
		return errors.New("its metadata are damaged")
	}
	ratio := (1 << 23) * sector / block // after so many places of blocks, that of a map of sectors stands in the table
	return c.disk(&blockDisk{r: in, size: size, block: block, place: func(i int64) (int64, int64, error) {
		var b [8]byte
		if _, err := in.ReadAt(b[:], blocks+8*(i+i/ratio)); err != nil {
			return 0, 0, errCut
		}
		if v := le.Uint64(b[:]); v&7 == 6 {
			return int64(v >> 20 << 20), 0, nil
		}
		return -1, 0, nil
	}}, size)
}

// qcow makes the container that of the disk which a file of QEMU holds.
func (c *container) qcow() error {
	h, err := c.readAt(0, 104)
	if err != nil {
		return err
	}
	be := binary.BigEndian
	version, bits, size, table := be.Uint32(h[4:]), be.Uint32(h[20:]), int64(be.Uint64(h[24:])), int64(be.Uint64(h[40:]))
	entries := int64(be.Uint32(h[36:]))
	switch {
	case version != 2 && version != 3:
		return fmt.Errorf("version %d of QEMU's disks is not read", version)
	case be.Uint64(h[8:]) != 0:
		return errors.New("it holds only what changed of another disk, which is another file")
	case be.Uint32(h[32:]) != 0:
		return errors.New("it is encrypted")
	case version == 3 && be.Uint64(h[72:])&^1 != 0:
		return fmt.Errorf("it has features (0x%x) that are not read", be.Uint64(h[72:]))
	case bits < 9 || bits > 21 || size < 0 || size > 1<<50 || table < 0:
		return errors.New("its header is damaged")
	}
	in, cluster := c.r, int64(1)<<bits
	read := func(at int64) (uint64, error) {
		var b [8]byte
		if _, err := in.ReadAt(b[:], at); err != nil {
			return 0, errCut
		}
		return be.Uint64(b[:]), nil
	}
	const place = 1<<56 - 1<<9
	d := &blockDisk{r: in, size: size, block: cluster, place: func(i int64) (int64, int64, error) {
		first := i / (cluster / 8)
		if first >= entries {
			return -1, 0, nil
		}
		v, err := read(table + 8*first)
		if err != nil || v&place == 0 {
			return -1, 0, err
		}
		if v, err = read(int64(v&place) + 8*(i%(cluster/8))); err != nil {
			return 0, 0, err
		}
		switch {
		case v&(1<<62) != 0:
			shift := 62 - (bits - 8)
			at := int64(v & (1<<shift - 1))
			return at, (int64(v>>shift&(1<<(bits-8)-1))+1)*512 - at&511, nil
		case v&1 != 0 || v&place == 0:
			return -1, 0, nil
		}
		return int64(v & place), 0, nil
	}, unpack: func(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil }}
	return c.disk(d, size)
}

// vmdk makes the container that of the disk which a file of VMware holds by itself.
func (c *container) vmdk() error {
	h, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint64(h[56:]) == 1<<64-1 { // written in one go: what was not known at the beginning stands at the end
		if h, err = c.readAt(c.size-1024, 512); err != nil || string(h[:4]) != "KDMV" {
			return errors.New("its footer is missing")
		}
	}
	flags, size, grain, table, per := le.Uint32(h[8:]), int64(le.Uint64(h[12:])), int64(le.Uint64(h[20:])), int64(le.Uint64(h[56:])), int64(le.Uint32(h[44:]))
	if size < 0 || size > 1<<41 || grain < 1 || grain > 1<<11 || per < 1 || per > 1<<16 || table < 0 || table > 1<<41 {
		return errors.New("its header is damaged")
	}
	text, _ := io.ReadAll(io.LimitReader(c.section(int64(min(le.Uint64(h[28:]), 1<<40))*512, int64(min(le.Uint64(h[36:]), 128))*512), 64<<10))
	if _, parent, ok := strings.Cut(string(text), "parentCID="); ok && !strings.HasPrefix(parent, "ffffffff") {
		return errors.New("it holds only what changed of another disk, which is another file")
	}
	in, packed := c.r, flags&(1<<16) != 0
	read := func(at int64) (int64, error) {
		var b [4]byte
		if _, err := in.ReadAt(b[:], at); err != nil {
			return 0, errCut
		}
		return int64(le.Uint32(b[:])), nil
	}
	d := &blockDisk{r: in, size: size * 512, block: grain * 512, place: func(i int64) (int64, int64, error) {
		at, err := read(table*512 + 4*(i/per))
		if err != nil || at == 0 {
			return -1, 0, err
		}
		if at, err = read(at*512 + 4*(i%per)); err != nil || at < 2 {
			return -1, 0, err
		}
		if !packed {
			return at * 512, 0, nil
		}
		n, err := read(at*512 + 8)
		return at*512 + 12, max(n, 1), err
	}, unpack: func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }}
	return c.disk(d, d.size)
}

// vdi makes the container that of the disk which a file of VirtualBox holds.
func (c *container) vdi() error {
	h, err := c.readAt(0, 512)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	kind, table, data, size := le.Uint32(h[0x4c:]), int64(le.Uint32(h[0x154:])), int64(le.Uint32(h[0x158:])), int64(le.Uint64(h[0x170:]))
	block, extra, blocks := int64(le.Uint32(h[0x178:])), int64(le.Uint32(h[0x17c:])), int64(le.Uint32(h[0x180:]))
	if kind != 1 && kind != 2 {
		return errors.New("it holds only what changed of another disk, which is another file")
	}
	if block < 4096 || block > 1<<30 || extra > 1<<20 || size < 0 || size > 1<<50 {
		return errors.New("its header is damaged")
	}
	in := c.r
	return c.disk(&blockDisk{r: in, size: size, block: block, place: func(i int64) (int64, int64, error) {
		var b [4]byte
		if i >= blocks {
			return -1, 0, nil
		}
		if _, err := in.ReadAt(b[:], table+4*i); err != nil {
			return 0, 0, errCut
		}
		if v := le.Uint32(b[:]); v < 1<<32-2 {
			return data + int64(v)*(block+extra) + extra, 0, nil
		}
		return -1, 0, nil
	}}, size)
}
