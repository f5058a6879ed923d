package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// The data of NSIS, the Nullsoft Scriptable Install System, follow its program on a multiple of 512 bytes: a first header; the header, which is the compiled
// script with its strings; and the files, each with its length. Either each of these is compressed by itself, or all are one stream ("solid").

const (
	nsisMark       = "\xef\xbe\xad\xdeNullsoftInst"
	nsisFirst      = 28 // bytes of the first header
	nsisAlign      = 512
	nsisMaxHeader  = 64 << 20
	nsisEntry      = 28
	nsisMaxEntries = 1 << 20
	nsisMaxText    = 4 << 10
	nsisMaxPaths   = 32 << 20 // bytes of all paths, which may share what they are made of
	nsisMaxStub    = 4 << 20  // of the program, which an uninstaller begins with
	nsisKept       = 16 << 20 // bytes of one file that are kept because two entries of the script write it
)

// The instructions of the script that matter here.
const (
	nsisCreateDir   = 11
	nsisExtractFile = 20
	// The instruction that writes the uninstaller has a number that depends on what the program was built with.
	nsisUninstallerFrom, nsisUninstallerTo = 62, 66
)

// nsisReader is an installer that is read.
type nsisReader struct {
	*container
	start  int64 // of the first header
	data   int64 // of what follows it
	end    int64
	solid  bool
	method nsisMethod
	filter bool  // each stream begins with a byte that says whether x86 calls were converted
	files  int64 // where the files begin: in the container, or of a solid archive in its stream

	stream  *bufio.Reader // of a solid archive
	at      int64         // in it
	opened  int
	header  []byte
	wide    bool // strings are UTF-16
	old     bool // the codes in strings are those of NSIS 2
	park    bool // the codes in strings are those of the first Unicode edition of NSIS 2
	texts   []byte
	entries []byte
}

type nsisMethod int

const (
	nsisStored nsisMethod = iota
	nsisDeflate
	nsisBZ
	nsisLZMA
)

// nsisFile is a file that the script writes.
type nsisFile struct {
	path        string
	at          int64 // of its data, among the files
	uninstaller bool
	patches     int64 // bytes of what is changed in the program for an uninstaller
}

// readNSIS tells the files of an installer, which is its data alone or the program with them. The paths are those that the script writes, with its variables.
func readNSIS(c *container) error {
	n := &nsisReader{container: c}
	if err := n.find(); err != nil {
		return err
	}
	if err := n.open(); err != nil {
		return err
	}
	if err := n.layout(); err != nil {
		return err
	}
	files, all := n.script()
	slices.SortStableFunc(files, func(a, b nsisFile) int { return int(min(max(a.at-b.at, -1), 1)) })
	for len(files) > 0 {
		same := 1
		for same < len(files) && files[same].at == files[0].at {
			same++
		}
		if err := n.members(files[:same]); err != nil {
			return err
		}
		files = files[same:]
	}
	if !all {
		return fmt.Errorf("the paths of its files have more than %d bytes; what followed was not looked at", nsisMaxPaths)
	}
	return nil
}

// find sets where the data are.
func (n *nsisReader) find() error {
	b := make([]byte, nsisFirst)
	for at := int64(0); at+nsisFirst <= n.size; at += nsisAlign {
		if k, err := n.r.ReadAt(b, at); k < len(b) {
			return err
		}
		if string(b[4:20]) != nsisMark {
			continue
		}
		n.start, n.data = at, at+nsisFirst
		n.end = min(n.size, at+int64(binary.LittleEndian.Uint32(b[24:])))
		if n.end < n.data {
			return errors.New("the first header is damaged")
		}
		return nil
	}
	return errors.New("there is no first header")
}

// nsisLooksLZMA tells LZMA by its properties: the usual ones, a dictionary of full 64 KiB, and a first byte of zero.
func nsisLooksLZMA(b []byte) bool {
	return len(b) >= 6 && b[0] == 0x5d && b[1] == 0 && b[2] == 0 && b[5] == 0
}

func nsisLooksBzip2(b []byte) bool { return len(b) >= 2 && b[0] == nsisBlockMark && b[1] < 14 }

// open reads the header, and tells by its beginning how everything is compressed: nothing else says so.
func (n *nsisReader) open() error {
	le := binary.LittleEndian
	first, err := n.readAt(n.start, nsisFirst)
	if err != nil {
		return err
	}
	size := int64(le.Uint32(first[20:]))
	b := make([]byte, 12)
	k, err := n.r.ReadAt(b, n.data)
	if err != nil && err != io.EOF {
		return err
	}
	if b = b[:k]; len(b) < 12 {
		return errCut
	}
	// sniff tells the method of a stream that begins with b.
	sniff := func(b []byte) (nsisMethod, bool) {
		switch {
		case nsisLooksLZMA(b):
			return nsisLZMA, false
		case b[0] <= 1 && nsisLooksLZMA(b[1:]):
			return nsisLZMA, true
		case nsisLooksBzip2(b):
			return nsisBZ, false
		}
		return nsisDeflate, false
	}
	var header io.Reader
	switch claimed := int64(le.Uint32(b)); {
	case claimed == size:
		n.files = n.data + 4 + size
		header = n.stored(n.data+4, size)
	case b[3] == 0x80 && !nsisLooksLZMA(b) && (b[0] > 1 || !nsisLooksLZMA(b[1:])):
		n.method, n.filter = sniff(b[4:])
		claimed &^= 1 << 31
		n.files = n.data + 4 + claimed
		if header, err = n.decompress(n.stored(n.data+4, claimed)); err != nil {
			return err
		}
	default:
		n.solid = true
		n.method, n.filter = sniff(b)
		if err := n.rewind(); err != nil {
			return err
		}
		var own [4]byte
		if _, err := io.ReadFull(n.stream, own[:]); err != nil {
			return fmt.Errorf("the header: %w", err)
		}
		if size = int64(le.Uint32(own[:])); size > nsisMaxHeader {
			return fmt.Errorf("the header claims %d bytes", size)
		}
		n.files, n.at = 4+size, 4+size
		header = n.stream
	}
	if n.header, err = readSome(header, size, nsisMaxHeader); err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	return nil
}

// rewind opens the stream of a solid archive from its beginning.
func (n *nsisReader) rewind() error {
	if n.opened++; n.opened > cabOpens {
		return errors.New("the files lie in such disorder that the archive would be decompressed too often")
	}
	r, err := n.decompress(n.section(n.data, n.end-n.data))
	if err != nil {
		return err
	}
	n.stream, n.at = buffered(r), 0
	return nil
}

// decompress undoes the archive's method.
func (n *nsisReader) decompress(r io.Reader) (io.Reader, error) {
	in := buffered(r)
	filtered := false
	if n.filter {
		b, err := in.ReadByte()
		if err != nil {
			return nil, errCut
		}
		if b > 1 {
			return nil, fmt.Errorf("filter %d is not known", b)
		}
		filtered = b == 1
	}
	var out io.Reader
	switch n.method {
	case nsisDeflate:
		out = newInflaterNSIS(in)
	case nsisBZ:
		out = newNSISBzip2(in)
	case nsisLZMA:
		var p [5]byte
		if _, err := io.ReadFull(in, p[:]); err != nil {
			return nil, errCut
		}
		l, err := newLZMAReader(in, p[0], binary.LittleEndian.Uint32(p[1:]), -1, n.container)
		if err != nil {
			return nil, err
		}
		out = l
	default:
		return in, nil
	}
	if filtered {
		out = newFilterReader(out, x86Filter(), 0)
	}
	return out, nil
}

// layout finds the script and the strings in the header, and how the strings are written.
func (n *nsisReader) layout() error {
	le := binary.LittleEndian
	// The header has flags and eight tables, each an offset and a count. A program of 64 bits has offsets of 64 bits, whose upper half is zero.
	const tables, entries, strs, languages = 8, 2, 3, 4
	step := 8
	if len(n.header) >= 4+12*tables {
		step = 12
		for i := range tables {
			if le.Uint32(n.header[4+12*i+4:]) != 0 {
				step = 8
			}
		}
	}
	if len(n.header) < 4+step*tables {
		return errors.New("the header is too short")
	}
	table := func(i int) (int64, int64) {
		b := n.header[4+step*i:]
		return int64(le.Uint32(b)), int64(le.Uint32(b[step-4:]))
	}
	at, count := table(entries)
	text, _ := table(strs)
	textEnd, _ := table(languages)
	all := int64(len(n.header))
	if count > nsisMaxEntries || at > all || count*nsisEntry > all-at || text > textEnd || textEnd > all {
		return errors.New("the header's tables lie outside of it")
	}
	n.entries = n.header[at : at+count*nsisEntry]
	n.texts = n.header[text:textEnd]
	n.wide = len(n.texts) >= 2 && n.texts[0] == 0 && n.texts[1] == 0
	// Which codes stand for variables differs by version, so the ones that are there more often in the beginning of a string or behind another
	// character than chance would have it tell.
	var modern, ancient, park int
	if n.wide {
		for i := 0; i+4 <= len(n.texts); i += 2 {
			switch c := le.Uint16(n.texts[i:]); {
			case c >= 1 && c <= 4 && le.Uint16(n.texts[i+2:])&0x8000 != 0:
				modern++
			case c >= 0xe000 && c <= 0xe003:
				park++
			}
		}
		n.park = park > modern
		return nil
	}
	for i := 0; i+2 < len(n.texts); i++ {
		switch c := n.texts[i]; {
		case (c == 1 || c == 3) && n.texts[i+1]&0x80 != 0 && n.texts[i+2]&0x80 != 0:
			modern++
		case c == 0xfd && n.texts[i+1]&0x80 != 0 && n.texts[i+2]&0x80 != 0, c == 0xfe && n.texts[i+1] != 0:
			ancient++
		}
	}
	n.old = ancient > modern
	return nil
}

// nsisVariables are the names of the first variables.
var nsisVariables = []string{"CMDLINE", "INSTDIR", "OUTDIR", "EXEDIR", "LANGUAGE", "TEMP", "PLUGINSDIR", "EXEPATH", "EXEFILE", "HWNDPARENT", "_CLICK", "_OUTDIR"}

func nsisVariable(i int) string {
	switch {
	case i < 10:
		return "$" + strconv.Itoa(i)
	case i < 20:
		return "$R" + strconv.Itoa(i-10)
	case i-20 < len(nsisVariables):
		return "$" + nsisVariables[i-20]
	}
	return "$_" + strconv.Itoa(i) + "_"
}

// nsisFolders are the names of the shell's folders, by their numbers.
var nsisFolders = map[int]string{0x00: "DESKTOP", 0x02: "SMPROGRAMS", 0x05: "DOCUMENTS", 0x06: "FAVORITES", 0x07: "SMSTARTUP", 0x08: "RECENT", 0x09: "SENDTO", 0x0b: "STARTMENU",
	0x0d: "MUSIC", 0x0e: "VIDEOS", 0x10: "DESKTOP", 0x13: "NETHOOD", 0x14: "FONTS", 0x15: "TEMPLATES", 0x16: "STARTMENU", 0x17: "SMPROGRAMS", 0x18: "SMSTARTUP", 0x19: "DESKTOP",
	0x1a: "APPDATA", 0x1b: "PRINTHOOD", 0x1c: "LOCALAPPDATA", 0x1f: "FAVORITES", 0x20: "INTERNET_CACHE", 0x21: "COOKIES", 0x22: "HISTORY", 0x23: "APPDATA", 0x24: "WINDIR", 0x25: "SYSDIR",
	0x26: "PROGRAMFILES", 0x27: "PICTURES", 0x28: "PROFILE", 0x2b: "COMMONFILES", 0x2d: "TEMPLATES", 0x2e: "DOCUMENTS", 0x2f: "ADMINTOOLS", 0x30: "ADMINTOOLS", 0x35: "MUSIC",
	0x36: "PICTURES", 0x37: "VIDEOS", 0x38: "RESOURCES", 0x39: "RESOURCES_LOCALIZED", 0x3b: "CDBURN_AREA"}

// folder names the shell's folder of the two numbers: of one user, and of all. A number above 127 is the place of a value's name in the registry.
func (n *nsisReader) folder(one, all int) string {
	if one&0x80 != 0 {
		name := n.plain(one & 0x3f)
		bits := ""
		if one&0x40 != 0 {
			bits = "64"
		}
		switch name {
		case "ProgramFilesDir":
			return "$PROGRAMFILES" + bits
		case "CommonFilesDir":
			return "$COMMONFILES" + bits
		}
		return "$_" + name + bits
	}
	for _, k := range []int{one, all} {
		if name := nsisFolders[k]; name != "" {
			return "$" + name
		}
	}
	return fmt.Sprintf("$_folder_%d_%d", one, all)
}

// unit is the character at place i of the strings: a byte or two.
func (n *nsisReader) unit(i int) (int, bool) {
	if n.wide {
		if i < 0 || 2*i+2 > len(n.texts) {
			return 0, false
		}
		return int(binary.LittleEndian.Uint16(n.texts[2*i:])), true
	}
	if i < 0 || i >= len(n.texts) {
		return 0, false
	}
	return int(n.texts[i]), true
}

// plain is a string without codes.
func (n *nsisReader) plain(at int) string {
	var b []byte
	for len(b) < 64 {
		c, ok := n.unit(at)
		if !ok || c < 32 || c > 126 {
			break
		}
		b = append(b, byte(c))
		at++
	}
	return string(b)
}

// text is the string at a place, with the names of variables and folders for their codes.
func (n *nsisReader) text(at uint32) string {
	const skip, variable, folder, language = 0, 1, 2, 3
	var out []byte
	var units []uint16
	flush := func() {
		if len(units) > 0 {
			out = append(out, string(utf16.Decode(units))...)
			units = units[:0]
		}
	}
	put := func(c int) {
		if n.wide {
			units = append(units, uint16(c))
		} else {
			out = append(out, byte(c))
		}
	}
	for i := int(min(at, 1<<30)); len(out)+len(units) < nsisMaxText; {
		c, ok := n.unit(i)
		if !ok || c == 0 {
			break
		}
		i++
		code := -1
		switch {
		case n.park && c >= 0xe000 && c <= 0xe003:
			code = c - 0xe000
		case n.old && c >= 0xfc:
			code = c - 0xfc
		case !n.park && !n.old && c <= 4:
			code = 4 - c // 1 is the language, 4 the skip
		}
		if code < 0 {
			put(c)
			continue
		}
		next, ok := n.unit(i)
		if !ok {
			break
		}
		i++
		if code == skip {
			put(next)
			continue
		}
		low, high := next&0xff, next>>8
		if !n.wide {
			if high, ok = n.unit(i); !ok {
				break
			}
			i++
		}
		value := low&0x7f | high&0x7f<<7
		if n.park {
			value = next & 0x7fff
		}
		flush()
		switch code {
		case variable:
			out = append(out, nsisVariable(value)...)
		case folder:
			out = append(out, n.folder(low, high)...)
		case language:
			out = append(out, "$(LSTR_"+strconv.Itoa(value)+")"...)
		}
	}
	flush()
	if n.wide {
		return string(out)
	}
	return latin1Name(out)
}

// script follows the instructions from the first to the last and returns the files that they write; all is false when there are more.
func (n *nsisReader) script() (files []nsisFile, all bool) {
	le := binary.LittleEndian
	left := nsisMaxPaths
	add := func(f nsisFile) {
		left -= len(f.path) + 64
		files = append(files, f)
	}
	folder := "$INSTDIR"
	for e := n.entries; len(e) >= nsisEntry; e = e[nsisEntry:] {
		if left <= 0 {
			return files, false
		}
		arg := func(i int) uint32 { return le.Uint32(e[4+4*i:]) }
		switch which := le.Uint32(e); {
		case which == nsisCreateDir && arg(1) != 0:
			if folder = n.text(arg(0)); strings.HasPrefix(folder, "$OUTDIR") || strings.HasPrefix(folder, "$_OUTDIR") {
				folder = "$INSTDIR" + folder[strings.Index(folder, "OUTDIR")+6:]
			}
		case which == nsisExtractFile:
			add(nsisFile{path: nsisPath(folder, n.text(arg(1))), at: int64(arg(2))})
		case which >= nsisUninstallerFrom && which <= nsisUninstallerTo && n.uninstaller(arg(0), arg(1), arg(2), arg(4), arg(5)):
			add(nsisFile{path: nsisPath("$INSTDIR", n.text(arg(0))), at: int64(arg(1)), uninstaller: true, patches: int64(arg(2))})
		}
	}
	return files, true
}

// uninstaller tells by its arguments whether an instruction is the one that writes the uninstaller: a name, a place, and a small size.
func (n *nsisReader) uninstaller(name, at, size, unused1, unused2 uint32) bool {
	if unused1 != 0 || unused2 != 0 || size > 1<<20 || !n.solid && int64(at) > n.end || at == 0 && size == 0 {
		return false
	}
	text := strings.ToLower(n.text(name))
	return strings.HasSuffix(text, ".exe") || strings.Contains(text, "$")
}

// nsisPath joins a name to a folder unless it begins at a root or a variable.
func nsisPath(folder, name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	folder = strings.TrimRight(strings.ReplaceAll(folder, `\`, "/"), "/")
	root, _, _ := strings.Cut(name, "/")
	absolute := strings.HasPrefix(root, "$") && root != name || len(root) == 2 && root[1] == ':' || strings.HasPrefix(name, "//")
	if !absolute {
		name = folder + "/" + name
	}
	if name = cleanPath(name); name == "" {
		return "file"
	}
	return name
}

// members tells the files of one piece of data.
func (n *nsisReader) members(files []nsisFile) error {
	var kept []byte
	for i, f := range files {
		m := Member{Path: f.path, Size: -1}
		switch {
		case f.uninstaller:
			m.Reader = &lazyReader{open: func() (io.Reader, error) { return n.uninstall(f) }}
		case kept != nil:
			m.Size, m.Reader = int64(len(kept)), bytes.NewReader(kept)
		default:
			r, size, err := n.piece(f.at)
			if err == nil && i+1 < len(files) && size <= min(nsisKept, n.o.Memory/4) {
				if size >= 0 {
					kept, err = readSome(r, size, size)
				} else if b, e := io.ReadAll(io.LimitReader(r, nsisKept+1)); e != nil || len(b) <= nsisKept {
					kept, err = b, e
				} else {
					r = io.MultiReader(bytes.NewReader(b), r)
				}
				if kept != nil {
					size, r = int64(len(kept)), bytes.NewReader(kept)
				}
			}
			m.Size, m.Reader, m.Err = size, r, err
			if err != nil {
				m.Reader, kept = nil, nil
			}
		}
		if err := n.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// piece is the data at a place among the files; its size is -1 when it is not said.
func (n *nsisReader) piece(at int64) (io.Reader, int64, error) {
	le := binary.LittleEndian
	if !n.solid {
		if at > n.end-n.files-4 {
			return nil, 0, errCut
		}
		b, err := n.readAt(n.files+at, 4)
		if err != nil {
			return nil, 0, err
		}
		size := int64(le.Uint32(b))
		packed := size>>31 != 0
		size &^= 1 << 31
		if size > n.end-n.files-at-4 {
			return nil, 0, errCut
		}
		data := n.stored(n.files+at+4, size)
		if !packed {
			return data, size, nil
		}
		r, err := n.decompress(data)
		return r, -1, err
	}
	if n.stream == nil || n.at > n.files+at {
		if err := n.rewind(); err != nil {
			return nil, 0, err
		}
	}
	skipped, err := io.CopyN(io.Discard, n.stream, n.files+at-n.at)
	if n.at += skipped; err != nil {
		return nil, 0, err
	}
	var b [4]byte
	k, err := io.ReadFull(n.stream, b[:])
	if n.at += int64(k); err != nil {
		return nil, 0, err
	}
	size := int64(le.Uint32(b[:]))
	return &exactReader{r: &nsisSolid{n}, left: size}, size, nil
}

// nsisSolid reads the stream of a solid archive and counts.
type nsisSolid struct{ n *nsisReader }

func (s *nsisSolid) Read(p []byte) (int, error) {
	k, err := s.n.stream.Read(p)
	s.n.at += int64(k)
	return k, err
}

// uninstall makes the uninstaller as the installer does: its own program, with some places changed (icons), and data of its own. Without the program, the
// data alone.
func (n *nsisReader) uninstall(f nsisFile) (io.Reader, error) {
	le := binary.LittleEndian
	r, size, err := n.piece(f.at)
	if err != nil {
		return nil, err
	}
	patches, err := readSome(r, f.patches, 1<<20)
	if err != nil {
		return nil, err
	}
	next := f.at + 4 + size
	if !n.solid {
		b, err := n.readAt(n.files+f.at, 4)
		if err != nil {
			return nil, err
		}
		next = f.at + 4 + int64(le.Uint32(b)&^(1<<31))
	}
	var stub []byte
	if n.start > nsisMaxStub {
		return nil, fmt.Errorf("the program before the data has %d bytes", n.start)
	}
	if n.start > 0 {
		if stub, err = n.readAt(0, int(n.start)); err != nil {
			return nil, err
		}
		for p := patches; len(p) >= 8; {
			k, at := int64(le.Uint32(p)), int64(le.Uint32(p[4:]))
			if k == 0 {
				break
			}
			if p = p[8:]; k > int64(len(p)) || at > int64(len(stub)) || k > int64(len(stub))-at {
				return nil, errors.New("what is to be changed in the program is damaged")
			}
			copy(stub[at:], p[:k])
			p = p[k:]
		}
	}
	if r, _, err = n.piece(next); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(stub), r), nil
}
