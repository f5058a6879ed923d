package unpack

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sort"
	"strconv"
)

// A Windows image (WIM) holds streams, each once and known by its SHA-1, and images: trees of names whose files refer to streams. A stream is
// compressed in chunks of one size, or lies as it is, or lies with others in a solid resource, which is compressed as a whole.

const (
	wimHeader     = 208
	wimEntry      = 50 // bytes of the table of streams for each
	wimDentry     = 102
	wimMaxStreams = 1 << 20
	wimMaxTree    = 64 << 20 // bytes of an image's tree
	wimMaxDepth   = 200
	wimMaxChunk   = 64 << 20
	wimCompressed = 4 // flags of a resource
	wimSpanned    = 8
	wimSolid      = 16

	wimSolidHeader    = 16
	wimSolidMark      = 1 << 32  // the size of what is a solid resource itself
	wimMaxSolid       = 1 << 16  // resources
	wimMaxSolidChunks = 1 << 22  // of all of them
	wimMaxWaiting     = 32 << 20 // bytes of paths
)

// wimMaxUnpacked is how many bytes of solid resources are unpacked for one image file: to give a byte of each of its chunks takes all their bytes.
var wimMaxUnpacked int64 = 8 << 30

// wimResource is where a stream lies and how long it is.
type wimResource struct {
	at, packed, size int64
	flags            byte
	part             uint16
	run              *wimRun // of solid resources, in whose bytes it lies at at
}

func wimResourceOf(b []byte) wimResource {
	le := binary.LittleEndian
	v := le.Uint64(b)
	return wimResource{at: int64(le.Uint64(b[8:])), packed: int64(v & (1<<56 - 1)), size: int64(le.Uint64(b[16:])), flags: byte(v >> 56)}
}

type wimReader struct {
	*container
	kind    uint32 // of compression, of the header's flags
	chunk   int64
	part    uint16
	streams map[[sha1.Size]byte]wimResource
	lzx     *lzxDecoder
	lzms    *lzmsDecoder

	waiting []wimWaiting // members in solid resources
	paths   int          // bytes of theirs
	solid   wimChunk     // the last chunk of a solid resource that was unpacked
	solids  int          // resources
	chunks  int64        // of those that were opened
	spent   int64        // bytes of them that were unpacked

	tree    []byte
	seen    map[int64]bool // directories of the tree
	trouble error
}

// The compressions of the header's flags.
const (
	wimXPRESS  = 0x20000
	wimLZX     = 0x40000
	wimLZMS    = 0x80000
	wimXPRESS2 = 0x200000
)

// readWIM tells the files of each image of a Windows image; with several, their paths begin with the image's number.
func readWIM(c *container) error {
	h, err := c.readAt(0, wimHeader)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if string(h[:8]) != "MSWIM\x00\x00\x00" {
		return errors.New("it is written for a pipe, which is not read")
	}
	version, flags := le.Uint32(h[12:]), le.Uint32(h[16:])
	if version != 0x10d00 && version != 0xe00 {
		return fmt.Errorf("version 0x%x is not read", version)
	}
	r := &wimReader{container: c, chunk: int64(le.Uint32(h[20:])), part: le.Uint16(h[40:]), streams: make(map[[sha1.Size]byte]wimResource)}
	if flags&2 != 0 {
		if r.kind = flags & (wimXPRESS | wimLZX | wimLZMS | wimXPRESS2); r.kind == wimXPRESS2 {
			r.kind = wimXPRESS
		}
		if r.chunk < 1<<12 || r.chunk > wimMaxChunk || r.chunk&(r.chunk-1) != 0 {
			return fmt.Errorf("chunks of %d bytes are not possible", r.chunk)
		}
		if err := r.unpackable(r.kind, r.chunk); err != nil && r.kind == wimLZX {
			return err
		}
	}
	if parts := le.Uint16(h[42:]); parts > 1 && r.part > 1 {
		return fmt.Errorf("it is part %d of %d: its files are named by the first, which is another file", r.part, parts)
	}
	images := le.Uint32(h[44:])
	trees, trouble := r.table(wimResourceOf(h[48:]))
	if len(trees) == 0 {
		if trouble == nil && images == 0 {
			return nil
		}
		if trouble == nil {
			trouble = errors.New("no image is in it")
		}
		return trouble
	}
	for i, t := range trees {
		prefix := ""
		if len(trees) > 1 {
			prefix = strconv.Itoa(i + 1)
		}
		if err := r.image(t, prefix); err != nil {
			return err
		}
	}
	if r.trouble == nil {
		r.trouble = trouble
	}
	return r.trouble
}

// table reads what streams there are, and returns the trees of the images.
func (r *wimReader) table(t wimResource) ([]wimResource, error) {
	in, err := r.resource(t)
	if err != nil {
		return nil, fmt.Errorf("the table of streams: %w", err)
	}
	var trees []wimResource
	in = buffered(in)
	var e [wimEntry]byte
	var run *wimRun
	within := false // of the streams of a run
	le := binary.LittleEndian
	for n := t.size / wimEntry; n > 0; n-- {
		if _, err := io.ReadFull(in, e[:]); err != nil {
			return trees, fmt.Errorf("the table of streams: %w", err)
		}
		s := wimResourceOf(e[:])
		s.part = le.Uint16(e[24:])
		switch {
		case s.flags&wimSolid == 0:
		case s.size == wimSolidMark:
			if r.solids++; r.solids > wimMaxSolid {
				return trees, fmt.Errorf("there are more than %d solid resources", wimMaxSolid)
			}
			if run == nil || within {
				run, within = &wimRun{}, false
			}
			run.resources = append(run.resources, s)
			continue
		default: // its sizes are told otherwise, and its place is one in the run
			s.run, s.size, within = run, s.packed, true
		}
		if s.flags&2 != 0 && len(trees) < 1<<10 {
			trees = append(trees, s)
		}
		if len(r.streams) == wimMaxStreams {
			return trees, fmt.Errorf("there are more than %d streams", wimMaxStreams)
		}
		r.streams[[sha1.Size]byte(e[30:])] = s
	}
	return trees, nil
}

// image tells the files of an image.
func (r *wimReader) image(t wimResource, prefix string) error {
	lost := func(err error) error {
		if r.trouble == nil {
			r.trouble = fmt.Errorf("the tree of image %s: %w", max(prefix, "1"), err)
		}
		return r.ctx.Err()
	}
	in, err := r.resource(t)
	if err != nil {
		return lost(err)
	}
	if r.tree, err = readSome(in, t.size, min(wimMaxTree, r.o.Memory)); err != nil {
		return lost(err)
	}
	if len(r.tree) < 8 {
		return lost(errCut)
	}
	// The root follows the descriptors of who may do what.
	root := max(int64(binary.LittleEndian.Uint32(r.tree)), 8)
	e, _, ok := r.dentry((root + 7) &^ 7)
	if !ok {
		return lost(errors.New("its root is damaged"))
	}
	r.seen = make(map[int64]bool)
	if err := r.directory(e.below, prefix, 0, lost); err != nil {
		return err
	}
	return r.flush()
}

// wimWaiting is a member that is told later: those in solid resources in the order in which they lie there, so that these are unpacked once.
type wimWaiting struct {
	path string
	hash [sha1.Size]byte
}

func (r *wimReader) flush() error {
	places := make(map[*wimRun]int) // the runs in the order of their members
	for _, w := range r.waiting {
		if run := r.streams[w.hash].run; places[run] == 0 {
			places[run] = len(places) + 1
		}
	}
	slices.SortStableFunc(r.waiting, func(a, b wimWaiting) int {
		x, y := r.streams[a.hash], r.streams[b.hash]
		return cmp.Or(cmp.Compare(places[x.run], places[y.run]), cmp.Compare(x.at, y.at))
	})
	for _, w := range r.waiting {
		res := r.streams[w.hash]
		if err := r.tell(Member{Path: w.path, Size: res.size, Key: string(w.hash[:]), Reader: r.checked(res, w.hash)}); err != nil {
			return err
		}
	}
	r.waiting, r.paths = nil, 0
	return nil
}

// checked reads a resource whose SHA-1 is known.
func (r *wimReader) checked(res wimResource, hash [sha1.Size]byte) io.Reader {
	return &lazyReader{open: func() (io.Reader, error) {
		in, err := r.resource(res)
		return &hashChecker{in, sha1.New(), hash[:]}, err
	}}
}

// wimFile is a name of a tree.
type wimFile struct {
	name       string
	attributes uint32
	below      int64
	hash       [sha1.Size]byte
	tag        uint32 // of a reparse point
	extra      int    // streams that follow
}

// dentry reads a name of the tree, and where the next is. It is not ok at the directory's end (then next is 0) and when it is damaged.
func (r *wimReader) dentry(at int64) (f wimFile, next int64, ok bool) {
	if at < 0 || at > int64(len(r.tree))-8 {
		return f, -1, false
	}
	le := binary.LittleEndian
	length := int64(le.Uint64(r.tree[at:]))
	if length <= 8 {
		return f, 0, false
	}
	if length < wimDentry || length > int64(len(r.tree))-at {
		return f, -1, false
	}
	b := r.tree[at : at+length]
	f.attributes, f.below, f.hash = le.Uint32(b[8:]), int64(le.Uint64(b[16:])), [sha1.Size]byte(b[64:])
	f.tag, f.extra = le.Uint32(b[88:]), int(le.Uint16(b[96:]))
	n := int64(le.Uint16(b[100:]))
	if n > length-wimDentry {
		return f, -1, false
	}
	f.name = utf16Name(b[wimDentry:wimDentry+n], le)
	return f, (at + length + 7) &^ 7, true
}

// directory tells the files below a directory whose first name is at. Only what ends the whole is returned.
func (r *wimReader) directory(at int64, path string, depth int, lost func(error) error) error {
	if at == 0 || r.seen[at] {
		return nil
	}
	if depth > wimMaxDepth {
		return lost(fmt.Errorf("directory /%s lies deeper than %d levels", cleanPath(path), wimMaxDepth))
	}
	for !r.seen[at] { // each name is read but once, so a ring ends
		r.seen[at] = true
		f, next, ok := r.dentry(at)
		if !ok {
			if next != 0 {
				return lost(fmt.Errorf("directory /%s is damaged", cleanPath(path)))
			}
			return nil
		}
		below := path + "/" + f.name
		if len(below) > maxPath {
			below = below[len(below)-maxPath:]
		}
		// The streams of a file: the nameless one may stand among those that follow.
		type stream struct {
			name string
			hash [sha1.Size]byte
		}
		streams := []stream{{"", f.hash}}
		for range f.extra {
			if next > int64(len(r.tree))-38 {
				return lost(fmt.Errorf("directory /%s is damaged", cleanPath(path)))
			}
			le := binary.LittleEndian
			length := int64(le.Uint64(r.tree[next:]))
			if length < 38 || length > int64(len(r.tree))-next {
				return lost(fmt.Errorf("directory /%s is damaged", cleanPath(path)))
			}
			b := r.tree[next : next+length]
			s := stream{hash: [sha1.Size]byte(b[16:])}
			n := int64(le.Uint16(b[36:]))
			if n > length-38 {
				return lost(fmt.Errorf("directory /%s is damaged", cleanPath(path)))
			}
			s.name = utf16Name(b[38:38+n], le)
			if s.name == "" && s.hash != [sha1.Size]byte{} && f.attributes&0x400 == 0 {
				streams[0] = s
			} else if s.name != "" {
				streams = append(streams, s)
			}
			next = (next + length + 7) &^ 7
		}
		directory := f.attributes&0x10 != 0
		for _, s := range streams {
			if s.name == "" && (directory || f.attributes&0x400 != 0 && (f.tag == 0xa000000c || f.tag == 0xa0000003)) { // links
				continue
			}
			name := below
			if s.name != "" {
				name += ":" + s.name
			}
			m := Member{Path: cleanPath(name)}
			switch res, have := r.streams[s.hash]; {
			case s.name == "" && f.attributes&0x400 != 0:
				m.Size, m.Err = -1, fmt.Errorf("it is a reparse point of tag 0x%x, whose bytes lie elsewhere", f.tag)
			case s.hash == [sha1.Size]byte{}:
				m.Reader = bytes.NewReader(nil)
			case !have:
				m.Size, m.Err = -1, errors.New("its bytes are in no stream of this file")
			default:
				m.Size, m.Key = res.size, string(s.hash[:])
				if m.Err = r.readable(res); m.Err == nil && res.run != nil {
					r.waiting, r.paths = append(r.waiting, wimWaiting{m.Path, s.hash}), r.paths+len(m.Path)
					if r.paths > wimMaxWaiting {
						if err := r.flush(); err != nil {
							return err
						}
					}
					continue
				}
				if m.Err == nil {
					m.Reader = r.checked(res, s.hash)
				}
			}
			if err := r.tell(m); err != nil {
				return err
			}
		}
		if directory && f.attributes&0x400 == 0 {
			if err := r.directory(f.below, below, depth+1, lost); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// readable says why a resource cannot be read.
func (r *wimReader) readable(s wimResource) error {
	switch {
	case s.flags&wimSolid != 0 && s.run == nil:
		return errors.New("it lies in a solid resource, which is not there")
	case s.flags&wimSpanned != 0 || s.part != 0 && r.part != 0 && s.part != r.part:
		return fmt.Errorf("its bytes lie in part %d of the image, which is another file", s.part)
	case s.run != nil || s.flags&wimCompressed == 0:
		return nil
	}
	return r.unpackable(r.kind, r.chunk)
}

// unpackable says why chunks cannot be unpacked.
func (r *wimReader) unpackable(kind uint32, chunk int64) error {
	switch {
	case kind != wimXPRESS && kind != wimLZX && kind != wimLZMS:
		return fmt.Errorf("compression 0x%x is not known", kind)
	case kind == wimLZX && (chunk < 1<<15 || chunk > 1<<21 || chunk&(chunk-1) != 0):
		return fmt.Errorf("LZX with chunks of %d bytes", chunk)
	case 2*chunk > r.o.Memory:
		return errDictionary
	}
	return nil
}

// resource opens a resource.
func (r *wimReader) resource(s wimResource) (io.Reader, error) {
	if err := r.readable(s); err != nil {
		return nil, err
	}
	if s.run != nil {
		if err := r.openRun(s.run); err != nil {
			return nil, err
		}
		return &exactReader{r: &wimSolidReader{r: r, run: s.run, at: s.at}, left: s.size}, nil
	}
	if s.at < 0 || s.size < 0 || s.size > 1<<50 || s.at > r.size {
		return nil, errCut
	}
	if s.flags&wimCompressed == 0 {
		if s.size != s.packed {
			return nil, errors.New("it is not compressed, and has two sizes")
		}
		return r.stored(s.at, s.size), nil
	}
	w := &wimStream{r: r, resource: s, width: 4, chunks: (s.size + r.chunk - 1) / r.chunk}
	if s.size > 1<<32-1 {
		w.width = 8
	}
	w.data = s.at + w.width*max(w.chunks-1, 0)
	if w.data > r.size || s.packed > r.size-s.at || s.at+s.packed < w.data {
		return nil, errCut
	}
	return w, nil
}

// wimStream decompresses a resource chunk by chunk.
type wimStream struct {
	r        *wimReader
	resource wimResource
	width    int64 // of a place in the table of chunks
	data     int64 // where the first chunk begins
	chunks   int64
	next     int64
	from     int64 // where the next chunk begins, behind data
	out      []byte
	buffer   []byte // of the chunk
	err      error
}

func (w *wimStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(w.out) == 0 {
		if w.err == nil && w.next == w.chunks {
			w.err = io.EOF
		}
		if w.err == nil {
			w.out, w.err = w.block()
		}
		if w.err != nil {
			return 0, w.err
		}
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

func (w *wimStream) block() ([]byte, error) {
	r, s := w.r, w.resource
	size := min(r.chunk, s.size-w.next*r.chunk)
	to := s.at + s.packed - w.data
	if w.next+1 < w.chunks {
		b, err := r.readAt(s.at+w.next*w.width, int(w.width))
		if err != nil {
			return nil, err
		}
		if w.width == 4 {
			to = int64(binary.LittleEndian.Uint32(b))
		} else {
			to = int64(binary.LittleEndian.Uint64(b))
		}
	}
	if to < w.from || to > s.at+s.packed-w.data {
		return nil, errors.New("the table of chunks is damaged")
	}
	packed := to - w.from
	if packed > size {
		return nil, errors.New("a chunk is longer than it is unpacked")
	}
	in, err := r.readAt(w.data+w.from, int(packed))
	if err != nil {
		return nil, err
	}
	w.from = to
	w.next++
	w.buffer, err = r.unpack(r.kind, r.chunk, in, int(size), w.buffer)
	return w.buffer, err
}

// unpack unpacks a chunk of size bytes, in buffer when that helps.
func (r *wimReader) unpack(kind uint32, chunk int64, in []byte, size int, buffer []byte) ([]byte, error) {
	switch {
	case len(in) == size:
		return in, nil
	case kind == wimXPRESS:
		return xpress(in, size)
	case kind == wimLZMS:
		if r.lzms == nil {
			r.lzms = new(lzmsDecoder)
		}
		return r.lzms.block(in, size, slices.Grow(buffer[:0], min(size, 1<<16+64*len(in))))
	}
	if r.lzx == nil || int64(len(r.lzx.window)) != chunk {
		r.lzx = newLZX(uint(bits.Len64(uint64(chunk)) - 1))
		r.lzx.wim = true
	}
	r.lzx.reset()
	return r.lzx.block(in, size)
}

// wimRun are solid resources, whose bytes follow one another.
type wimRun struct {
	resources []wimResource
	parts     []wimPart // of them, once it was opened
	opened    bool
	err       error
}

// wimPart is an opened solid resource.
type wimPart struct {
	start, size int64 // in the run
	kind        uint32
	chunk       int64
	places      []int64 // where the chunks lie in the file, and the last ends
}

// openRun reads the headers and tables of solid resources.
func (r *wimReader) openRun(run *wimRun) error {
	if run.opened {
		return run.err
	}
	run.opened = true
	start := int64(0)
	for _, s := range run.resources {
		p, err := r.openPart(s)
		if err != nil {
			run.err = fmt.Errorf("its solid resource: %w", err)
			return run.err
		}
		p.start = start
		start += p.size
		run.parts = append(run.parts, p)
	}
	return nil
}

func (r *wimReader) openPart(s wimResource) (p wimPart, err error) {
	h, err := r.readAt(s.at, wimSolidHeader)
	if err != nil {
		return p, err
	}
	le := binary.LittleEndian
	size, chunk := le.Uint64(h), int64(le.Uint32(h[8:]))
	kinds := map[uint32]uint32{1: wimXPRESS, 2: wimLZX, 3: wimLZMS}
	p.kind = kinds[le.Uint32(h[12:])]
	if size > 1<<50 || chunk < 1<<12 {
		return p, fmt.Errorf("%d bytes in chunks of %d bytes are not possible", size, chunk)
	}
	p.size, p.chunk = int64(size), chunk
	if p.kind != wimLZX {
		chunk = min(chunk, p.size)
	}
	if err := r.unpackable(p.kind, chunk); err != nil {
		return p, err
	}
	n := (p.size + p.chunk - 1) / p.chunk
	if n > wimMaxSolidChunks-r.chunks {
		return p, fmt.Errorf("there are more than %d chunks", wimMaxSolidChunks)
	}
	r.chunks += n
	table, err := readSome(r.section(s.at+wimSolidHeader, 4*n), 4*n, 4*wimMaxSolidChunks)
	if err != nil {
		return p, err
	}
	at := s.at + wimSolidHeader + 4*n
	for ; len(table) > 0; table = table[4:] {
		p.places = append(p.places, at)
		at += int64(le.Uint32(table))
	}
	p.places = append(p.places, at)
	if at > r.size || s.packed > r.size-s.at || at > s.at+s.packed {
		return p, errCut
	}
	return p, nil
}

// wimChunk is an unpacked chunk of a solid resource.
type wimChunk struct {
	part   *wimPart
	number int64
	out    []byte
}

// wimSolidReader reads the bytes of a run.
type wimSolidReader struct {
	r   *wimReader
	run *wimRun
	at  int64
}

func (w *wimSolidReader) Read(p []byte) (int, error) {
	parts := w.run.parts
	i := sort.Search(len(parts), func(i int) bool { return w.at < parts[i].start+parts[i].size })
	if w.at < 0 || i == len(parts) {
		return 0, errCut
	}
	part := &parts[i]
	number, skip := (w.at-part.start)/part.chunk, (w.at-part.start)%part.chunk
	if c := &w.r.solid; c.part != part || c.number != number {
		out := c.out
		*c = wimChunk{}
		in, err := w.r.chunkOf(part, number)
		if err != nil {
			return 0, err
		}
		size := min(part.chunk, part.size-number*part.chunk)
		if w.r.spent += size; w.r.spent > wimMaxUnpacked {
			return 0, fmt.Errorf("the solid resources take more than %d bytes to be unpacked", wimMaxUnpacked)
		}
		if out, err = w.r.unpack(part.kind, part.chunk, in, int(size), out); err != nil {
			return 0, err
		}
		*c = wimChunk{part, number, out}
	}
	n := copy(p, w.r.solid.out[skip:])
	w.at += int64(n)
	return n, nil
}

// chunkOf reads a chunk as it is packed.
func (r *wimReader) chunkOf(p *wimPart, number int64) ([]byte, error) {
	n := p.places[number+1] - p.places[number]
	if n > min(p.chunk, p.size-number*p.chunk) {
		return nil, errors.New("a chunk is longer than it is unpacked")
	}
	return r.readAt(p.places[number], int(n))
}

var errXPRESS = errors.New("the XPRESS data is damaged")

// xpress decompresses a chunk of size bytes of LZ77 with a prefix code, as Microsoft calls it.
func xpress(in []byte, size int) ([]byte, error) {
	if len(in) < 256 {
		return nil, errXPRESS
	}
	var lengths [512]byte
	for i, b := range in[:256] {
		lengths[2*i], lengths[2*i+1] = b&15, b>>4
	}
	var code lzxCode
	if err := code.set(lengths[:]); err != nil {
		return nil, err
	}
	// The bits are those of lzxDecoder, of which at least sixteen are kept in advance: bytes of long matches lie behind them.
	d := lzxDecoder{in: in[256:]}
	d.need(16)
	out := make([]byte, 0, min(size, 16*len(in)))
	for len(out) < size {
		s, err := d.symbol(&code)
		if err != nil {
			return nil, errXPRESS
		}
		d.need(16)
		if d.over {
			return nil, errCut
		}
		if s < 256 {
			out = append(out, byte(s))
			continue
		}
		n, extra := s&15, uint(s>>4&15)
		if n == 15 {
			if d.pos >= len(d.in) {
				return nil, errCut
			}
			n += int(d.in[d.pos])
			d.pos++
			if n == 15+255 {
				if d.pos+2 > len(d.in) {
					return nil, errCut
				}
				n = int(binary.LittleEndian.Uint16(d.in[d.pos:]))
				d.pos += 2
			}
		}
		n += 3
		distance := 1<<extra + int(d.read(extra))
		d.need(16)
		if distance > len(out) || n > size-len(out) {
			return nil, errXPRESS
		}
		for range n {
			out = append(out, out[len(out)-distance])
		}
	}
	return out, nil
}
