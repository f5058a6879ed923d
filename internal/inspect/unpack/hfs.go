package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
	"golang.org/x/text/unicode/norm"
)

// A volume of HFS+ is files without names that hold its tables as B-trees: the catalog has a record for each folder and file under its folder's
// number and its name, a second tree the extents of files in more than eight pieces, a third extended attributes. A file has two forks of bytes; what
// macOS compressed stands in an attribute or in the resource fork instead.

const (
	hfsMaxDepth      = 200
	hfsMaxFolders    = 1 << 20
	hfsMaxNames      = 32 << 20 // bytes of folders' names
	hfsMaxOverflow   = 1 << 20  // records of further extents
	hfsMaxAttributes = 32 << 20 // bytes of compressed files in attributes
	hfsKeyed         = 8        // runs of a file whose places tell whether another is the same
	hfsRoot          = 2        // number of the root folder
	hfsPrivate       = "\x00\x00\x00\x00HFS+ Private Data"
	hfsCompressed    = 0x20     // of the owner's flags
	hfsBlock         = 64 << 10 // bytes of a block of a compressed file, unpacked
)

// hfsExtent is a run of blocks.
type hfsExtent struct{ start, count uint32 }

// hfsFork is one of a file's two, as a record of the catalog tells it.
type hfsFork struct {
	size    int64
	blocks  uint32
	extents [8]hfsExtent
}

func hfsForkOf(b []byte) (f hfsFork) {
	be := binary.BigEndian
	f.size, f.blocks = int64(be.Uint64(b)), be.Uint32(b[12:])
	for i := range f.extents {
		f.extents[i] = hfsExtent{be.Uint32(b[16+8*i:]), be.Uint32(b[20+8*i:])}
	}
	return f
}

// hfsFile is a file of the catalog.
type hfsFile struct {
	id             uint32
	data, resource hfsFork
	compressed     bool
}

type hfsFolder struct {
	parent uint32
	name   string
}

type hfsOverflow struct {
	file     uint32
	resource bool
	start    uint32 // block of the fork
}

type hfsReader struct {
	*container
	base       int64 // where the volume begins, behind what wraps it
	block      int64
	overflow   map[hfsOverflow][8]hfsExtent
	attributes map[uint32][]byte // how a compressed file is compressed, with its bytes if they are few
	folders    map[uint32]hfsFolder
	inodes     map[uint32]hfsFile // what hard links lead to
	trouble    error
}

// readHFS tells the files of a volume of HFS+ or HFSX; a resource fork is a member of its own.
func readHFS(c *container) error {
	r := &hfsReader{container: c, overflow: make(map[hfsOverflow][8]hfsExtent), attributes: make(map[uint32][]byte), folders: make(map[uint32]hfsFolder),
		inodes: make(map[uint32]hfsFile)}
	h, err := c.readAt(1024, 512)
	if err != nil {
		return err
	}
	be := binary.BigEndian
	if string(h[:2]) == "BD" && string(h[124:126]) == "H+" { // in a volume of HFS
		r.base = int64(be.Uint16(h[28:]))*512 + int64(be.Uint16(h[126:]))*int64(be.Uint32(h[20:]))
		if h, err = c.readAt(r.base+1024, 512); err != nil {
			return err
		}
	}
	if string(h[:2]) != "H+" && string(h[:2]) != "HX" {
		return errors.New("it does not begin as it should")
	}
	if r.block = int64(be.Uint32(h[40:])); r.block < 512 || r.block > 1<<27 || r.block&(r.block-1) != 0 {
		return fmt.Errorf("blocks of %d bytes are not possible", r.block)
	}
	extents, catalog, attributes := hfsForkOf(h[192:]), hfsForkOf(h[272:]), hfsForkOf(h[352:])
	r.lost("the extents", r.leaves(3, extents, r.overflows))
	r.lost("the attributes", r.leaves(8, attributes, r.attribute))
	if err := r.leaves(4, catalog, r.folder); err != nil {
		if len(r.folders) == 0 {
			return fmt.Errorf("the catalog: %w", err)
		}
		r.lost("the catalog", err)
	}
	if err := r.leaves(4, catalog, r.file); err != nil {
		if c.stop != nil || c.ctx.Err() != nil {
			return err
		}
		r.lost("the catalog", err)
	}
	return r.trouble
}

// lost keeps the first error that costs a part.
func (r *hfsReader) lost(what string, err error) {
	if err != nil && r.trouble == nil {
		r.trouble = fmt.Errorf("%s: %w", what, err)
	}
}

// place is where the bytes of a fork lie.
func (r *hfsReader) place(id uint32, resource bool, f hfsFork) (hfsBytes, error) {
	if f.size < 0 || f.size > 1<<50 {
		return hfsBytes{}, errors.New("its size is not possible")
	}
	out := hfsBytes{r: r.r, size: f.size}
	var have uint32
	var left = f.size
	extents := f.extents
	for left > 0 {
		before := have
		for _, e := range extents {
			if e.count == 0 || left <= 0 {
				break
			}
			n := min(left, int64(e.count)*r.block)
			out.extents = append(out.extents, extent{r.base + int64(e.start)*r.block, n})
			left -= n
			if have += e.count; have < e.count {
				return out, errors.New("its extents are damaged")
			}
		}
		if left <= 0 {
			break
		}
		next, ok := r.overflow[hfsOverflow{id, resource, have}]
		if !ok || have == before {
			return out, errors.New("some of its extents are missing")
		}
		extents = next
	}
	return out, nil
}

// hfsBytes reads a fork.
type hfsBytes struct {
	r       io.ReaderAt
	extents []extent
	size    int64
}

func (b hfsBytes) ReadAt(p []byte, off int64) (n int, err error) {
	for _, e := range b.extents {
		if n == len(p) {
			break
		}
		if off >= e.size {
			off -= e.size
			continue
		}
		k := int(min(int64(len(p)-n), e.size-off))
		m, err := b.r.ReadAt(p[n:n+k], e.at+off)
		n += m
		if m < k {
			if err == io.EOF {
				err = errCut
			}
			return n, err
		}
		off = 0
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// leaves calls yield with each record of a B-tree, in order.
func (r *hfsReader) leaves(id uint32, f hfsFork, yield func(key, data []byte) error) error {
	if f.size == 0 {
		return nil
	}
	tree, err := r.place(id, false, f)
	if err != nil {
		return err
	}
	h := make([]byte, 64)
	if _, err := tree.ReadAt(h, 0); err != nil {
		return err
	}
	be := binary.BigEndian
	size, n := int64(be.Uint16(h[32:])), be.Uint32(h[24:])
	if size < 512 || size > 32<<10 || size&(size-1) != 0 {
		return fmt.Errorf("nodes of %d bytes are not possible", size)
	}
	node := make([]byte, size)
	for left := tree.size / size; n != 0; left-- {
		if left == 0 {
			return errors.New("its leaves are a list without end")
		}
		if m, err := tree.ReadAt(node, int64(n)*size); m < len(node) {
			if err == io.EOF {
				err = errCut
			}
			return err
		}
		if node[8] != 0xff {
			return errors.New("a leaf is none")
		}
		n = be.Uint32(node)
		records := int(be.Uint16(node[10:]))
		if 14+2*(records+1) > len(node) {
			return errors.New("a leaf is damaged")
		}
		for i := range records {
			from, to := int(be.Uint16(node[len(node)-2*(i+1):])), int(be.Uint16(node[len(node)-2*(i+2):]))
			if from < 14 || to < from+2 || to > len(node) {
				return errors.New("a leaf is damaged")
			}
			b := node[from:to]
			key := 2 + int(be.Uint16(b))
			if key > len(b) {
				return errors.New("a leaf is damaged")
			}
			if err := yield(b[2:key], b[min(key+key&1, len(b)):]); err != nil {
				return err
			}
		}
	}
	return nil
}

// overflows keeps a record of the tree of extents.
func (r *hfsReader) overflows(key, data []byte) error {
	if len(key) < 10 || len(data) < 64 {
		return errors.New("a record is too short")
	}
	if len(r.overflow) == hfsMaxOverflow {
		return fmt.Errorf("there are more than %d records", hfsMaxOverflow)
	}
	be := binary.BigEndian
	var e [8]hfsExtent
	for i := range e {
		e[i] = hfsExtent{be.Uint32(data[8*i:]), be.Uint32(data[8*i+4:])}
	}
	r.overflow[hfsOverflow{be.Uint32(key[2:]), key[0] == 0xff, be.Uint32(key[6:])}] = e
	return nil
}

// attribute keeps how a file is compressed.
func (r *hfsReader) attribute(key, data []byte) error {
	be := binary.BigEndian
	if len(key) < 12 || len(data) < 16 || be.Uint32(data) != 0x10 {
		return nil // one of another kind
	}
	n := int(be.Uint16(key[10:]))
	if 12+2*n > len(key) || utf16Name(key[12:12+2*n], be) != "com.apple.decmpfs" {
		return nil
	}
	size := int(min(be.Uint32(data[12:]), uint32(len(data)-16)))
	if len(r.attributes) >= hfsMaxAttributes/(16<<10) && size > 16 { // few bytes are kept of the rest: that they are compressed
		size = 16
	}
	if len(r.attributes) == hfsMaxFolders {
		return fmt.Errorf("there are more than %d compressed files", hfsMaxFolders)
	}
	r.attributes[be.Uint32(key[2:])] = bytes.Clone(data[16 : 16+size])
	return nil
}

// name is the folder and the name of a key of the catalog.
func (r *hfsReader) name(key []byte) (uint32, string, bool) {
	be := binary.BigEndian
	if len(key) < 6 {
		return 0, "", false
	}
	n := int(be.Uint16(key[4:]))
	if 6+2*n > len(key) {
		return 0, "", false
	}
	return be.Uint32(key), utf16Name(key[6:6+2*n], be), true
}

// folder keeps a folder, and a file that hard links lead to.
func (r *hfsReader) folder(key, data []byte) error {
	be := binary.BigEndian
	parent, name, ok := r.name(key)
	if !ok || len(data) < 12 {
		return errors.New("a record is damaged")
	}
	switch be.Uint16(data) {
	case 1:
		if len(r.folders) == hfsMaxFolders {
			return fmt.Errorf("there are more than %d folders", hfsMaxFolders)
		}
		r.folders[be.Uint32(data[8:])] = hfsFolder{parent, name}
	case 2:
		if strings.HasPrefix(name, "iNode") && r.folders[parent].name == hfsPrivate && len(data) >= 248 && len(r.inodes) < hfsMaxFolders {
			var n uint32
			if _, err := fmt.Sscanf(name, "iNode%d", &n); err == nil {
				r.inodes[n] = hfsFileOf(data)
			}
		}
	}
	return nil
}

func hfsFileOf(data []byte) hfsFile {
	return hfsFile{id: binary.BigEndian.Uint32(data[8:]), data: hfsForkOf(data[88:]), resource: hfsForkOf(data[168:]), compressed: data[41]&hfsCompressed != 0}
}

// path is that of a folder.
func (r *hfsReader) path(id uint32) (string, bool) {
	var parts []string
	for range hfsMaxDepth {
		if id == hfsRoot {
			path := ""
			for i := len(parts) - 1; i >= 0; i-- {
				path += parts[i] + "/"
			}
			return path, true
		}
		f, ok := r.folders[id]
		if !ok {
			break
		}
		// The slash of a name is what others write as a colon.
		parts = append(parts, strings.ReplaceAll(f.name, "/", ":"))
		id = f.parent
	}
	return "", false
}

// file tells a file.
func (r *hfsReader) file(key, data []byte) error {
	be := binary.BigEndian
	parent, name, ok := r.name(key)
	if !ok || len(data) < 2 {
		return errors.New("a record is damaged")
	}
	if be.Uint16(data) != 2 {
		return nil
	}
	if len(data) < 248 {
		return errors.New("a record is damaged")
	}
	path, ok := r.path(parent)
	if !ok {
		path = fmt.Sprintf("[folder %d]/", parent)
	}
	path = norm.NFC.String(path + strings.ReplaceAll(name, "/", ":")) // accents stand behind their letters there
	if len(path) > maxPath {
		path = path[len(path)-maxPath:]
	}
	f := hfsFileOf(data)
	mode := be.Uint16(data[42:])
	switch {
	case mode&0o170000 != 0 && mode&0o170000 != 0o100000: // a symbolic link or a device
		return nil
	case string(data[48:56]) == "hlnkhfs+":
		n := be.Uint32(data[44:])
		if f, ok = r.inodes[n]; !ok {
			return r.tell(Member{Path: cleanPath(path), Size: -1, Err: fmt.Errorf("it is a hard link to %d, which is not there", n)})
		}
	case r.folders[parent].name == hfsPrivate: // told by its links
		return nil
	}
	m := Member{Path: cleanPath(path), Size: f.data.size}
	compressed := f.compressed && f.data.size == 0
	if compressed {
		m.Size, m.Reader, m.Err = r.unpacked(f)
	} else if in, err := r.place(f.id, false, f.data); err != nil {
		m.Err = err
	} else {
		m.Reader = r.pieces(in.extents, in.size)
		if len(in.extents) <= hfsKeyed {
			m.Key = fmt.Sprint(in.extents, in.size) // not its number, which others may claim
		}
	}
	if err := r.tell(m); err != nil {
		return err
	}
	if f.resource.size == 0 || compressed {
		return nil
	}
	m = Member{Path: cleanPath(path + ":rsrc"), Size: f.resource.size}
	if in, err := r.place(f.id, true, f.resource); err != nil {
		m.Err = err
	} else {
		m.Reader = r.pieces(in.extents, in.size)
	}
	return r.tell(m)
}

// hfsKinds are the compressions of files: of those in the attribute, and of those in the resource fork.
var hfsKinds = map[uint32]string{3: "zlib", 4: "zlib", 7: "LZVN", 8: "LZVN", 9: "", 10: "", 11: "LZFSE", 12: "LZFSE", 13: "LZBITMAP", 14: "LZBITMAP"}

// unpacked opens a file that macOS compressed.
func (r *hfsReader) unpacked(f hfsFile) (int64, io.Reader, error) {
	a, ok := r.attributes[f.id]
	if !ok || len(a) < 16 || string(a[:4]) != "fpmc" {
		return -1, nil, errors.New("it is compressed, and how is not there")
	}
	le := binary.LittleEndian
	kind, size := le.Uint32(a[4:]), int64(le.Uint64(a[8:]))
	a = a[16:]
	if size < 0 || size > 1<<50 {
		return -1, nil, errors.New("its size is not possible")
	}
	name, ok := hfsKinds[kind]
	if !ok {
		return size, nil, fmt.Errorf("it is compressed by the method %d, which is not known", kind)
	}
	switch kind {
	case 3, 7, 9, 11:
		if size > 0 && len(a) == 0 {
			return size, nil, errors.New("there are too many compressed files to open this one")
		}
		return size, &exactReader{r: &lazyReader{open: func() (io.Reader, error) { return hfsUnpack(a, name, lzfseWindow) }}, left: size}, nil
	case 4, 8, 12:
		in, err := r.place(f.id, true, f.resource)
		if err != nil {
			return size, nil, err
		}
		return size, &exactReader{r: &lazyReader{open: func() (io.Reader, error) { return newHFSBlocks(in, name, size) }}, left: size}, nil
	}
	if name == "" {
		name = fmt.Sprint("method ", kind)
	}
	return size, nil, fmt.Errorf("it is compressed by %s, which is not read", name)
}

// hfsUnpack opens a block of a compressed file, of which no more than window bytes are wanted unless that is lzfseWindow. A block that grew by
// compression is kept as it is, behind a byte that begins no compressed one.
func hfsUnpack(b []byte, method string, window int) (io.Reader, error) {
	if len(b) == 0 {
		return nil, errCut
	}
	stored := true
	switch method {
	case "zlib":
		stored = b[0]&15 == 15
	case "LZVN":
		stored = b[0] == 6
	case "LZFSE":
		stored = b[0] == 0xff
	}
	if stored {
		return bytes.NewReader(b[1:]), nil
	}
	in := bytes.NewReader(b)
	switch method {
	case "LZVN":
		return newLZVN(bufio.NewReader(in), window), nil
	case "LZFSE":
		return newLZFSE(bufio.NewReader(in), window), nil
	}
	return zlib.NewReader(in)
}

// hfsBlocks reads the blocks of a compressed file in its resource fork.
type hfsBlocks struct {
	in     hfsBytes
	method string
	base   int64 // that the places of blocks count from
	n      int64
	next   int64
	block  io.Reader
	err    error
}

// newHFSBlocks opens those of a file of size bytes.
func newHFSBlocks(in hfsBytes, method string, size int64) (*hfsBlocks, error) {
	if method != "zlib" { // a table of where each begins, and the last ends, and nothing else of a resource fork
		return &hfsBlocks{in: in, method: method, n: (size + hfsBlock - 1) / hfsBlock}, nil
	}
	var h [8]byte
	if _, err := in.ReadAt(h[:4], 0); err != nil {
		return nil, err
	}
	b := &hfsBlocks{in: in, method: method, base: int64(binary.BigEndian.Uint32(h[:])) + 4}
	if _, err := in.ReadAt(h[:4], b.base); err != nil {
		return nil, err
	}
	b.n = int64(binary.LittleEndian.Uint32(h[:]))
	return b, nil
}

func (b *hfsBlocks) Read(p []byte) (int, error) {
	for b.err == nil {
		if b.block != nil {
			n, err := b.block.Read(p)
			if err == io.EOF {
				b.block, err = nil, nil
			}
			b.err = err
			if n > 0 || len(p) == 0 {
				return n, nil
			}
			continue
		}
		if b.next == b.n {
			b.err = io.EOF
			break
		}
		b.block, b.err = b.open()
	}
	return 0, b.err
}

func (b *hfsBlocks) open() (io.Reader, error) {
	var h [8]byte
	at := b.base + 4 + 8*b.next
	if b.method != "zlib" {
		at = 4 * b.next
	}
	if _, err := b.in.ReadAt(h[:], at); err != nil {
		return nil, err
	}
	b.next++
	from, n := int64(binary.LittleEndian.Uint32(h[:])), int64(binary.LittleEndian.Uint32(h[4:]))
	if b.method != "zlib" {
		n -= from
	}
	if n < 0 || n > 2*hfsBlock {
		return nil, errors.New("a block of it is too long")
	}
	packed := make([]byte, n)
	if _, err := b.in.ReadAt(packed, b.base+from); err != nil {
		return nil, err
	}
	block, err := hfsUnpack(packed, b.method, hfsBlock)
	return io.LimitReader(block, hfsBlock), err
}
