//go:build unix

package worker

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"spoor/internal/inspect"
	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// largeSize is how large the files of TestLarge are in MiB when $SPOOR_LARGE does not say: enough that a reader whose time grows with the square of the
// bytes shows, and little enough for every run of the tests.
const largeSize = 1

// TestLarge has a large file of each type inspected, made so that its readers have as much to do as the format lets a file of that size ask for: tables
// with millions of entries, entries that all point at the same bytes, streams cut into the smallest pieces. With SPOOR_LARGE=256 the files have the most
// bytes that a server takes, and a line for each tells the time and the memory that it took.
//
// Whatever the file, the inspection ends in time with the hashes of it and its mark, and the worker stays under its memory and alive.
func TestLarge(t *testing.T) {
	size, most := largeSize<<20, 20*time.Second
	c := Config{Limits: inspect.DefaultLimits}
	c.Limits.Members, c.Limits.Bytes = 10_000, 16<<20 // to reach them takes long
	if s := os.Getenv("SPOOR_LARGE"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1024 {
			t.Fatalf("SPOOR_LARGE=%q: a number of MiB, from 1 to 1024", s)
		}
		size, most, c.Limits = n<<20, 4*time.Minute, inspect.DefaultLimits
	}
	name := filepath.Join(t.TempDir(), "large")
	for _, l := range append(larges, repeated(t)...) {
		t.Run(l.name, func(t *testing.T) {
			content := l.make(size)
			content = content[:min(len(content), size)]
			if got := filetype.Detect(bytes.NewReader(content), int64(len(content))).Format; got != l.format {
				t.Errorf("the file made is %q, want %q", got, l.format)
			}
			want, _, _ := inspect.HashReader(bytes.NewReader(content))
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			content = nil
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			p := newTestPool(t, c, "-child")
			whole, told := false, 0
			var notes []string
			start, used := time.Now(), childTime(t)
			r, err := p.Inspect(t.Context(), f, Job{Name: "x", Now: now}, func(o intel.Observation) error {
				told++
				switch a, ok := o.Fact.(intel.Attribute); {
				case ok && a.Name == intel.Inspected && o.File == want:
					whole = true
				case ok && a.Name == intel.InspectionNote:
					if notes = append(notes, a.Value); strings.Contains(a.Value, "the reader failed") {
						t.Errorf("a reader panics: %s", a.Value)
					}
				}
				return nil
			})
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			used = childTime(t) - used
			t.Logf("%6.1f s  %6.1f s of processor  %4d MB  %7d members  %8d observations  stopped: %q  notes: %.300q", took.Seconds(), used.Seconds(), p.PeakMemory()/1e6, r.Members, told, r.Stopped, notes[:min(len(notes), 3)])
			if r.File != want || !whole {
				t.Errorf("file %v, want %v; marked as inspected: %v", r.File, want, whole)
			}
			if r.Stopped != "" {
				t.Errorf("stopped: %s", r.Stopped)
			}
			if used > most {
				t.Errorf("it took %s of processor time", used)
			}
			if memory := p.PeakMemory(); memory > DefaultMemory {
				t.Errorf("%d MB of memory", memory/1e6)
			}
		})
	}
}

// childTime returns how much processor time the children have used that have ended.
func childTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// large is one file to make, of about so many bytes.
type large struct {
	name   string
	format filetype.Format
	make   func(size int) []byte
}

// repeated are the files that the readers of containers are tested with, each again and again: streams of many parts, or an archive with much behind it.
func repeated(t *testing.T) (all []large) {
	dir := filepath.Join("..", "inspect", "unpack", "testdata")
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := map[filetype.Format]bool{}
	for _, e := range names {
		if !e.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		f := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format
		again := large{e.Name() + " again and again", f, func(size int) []byte { return bytes.Repeat(b, max(1, size/max(1, len(b)))) }}
		if b2 := again.make(largeSize << 20); f == filetype.Unknown || done[f] || filetype.Detect(bytes.NewReader(b2), int64(len(b2))).Format != f {
			continue // a disk image's end is looked for at its end
		}
		done[f] = true
		all = append(all, again)
	}
	return all
}

var (
	lit = binary.LittleEndian
	big = binary.BigEndian
)

// grown is head and then units until there are size bytes.
func grown(head []byte, size int, unit func(i int) []byte) []byte {
	b := append(make([]byte, 0, size+1<<16), head...)
	for i := 0; len(b) < size; i++ {
		b = append(b, unit(i)...)
	}
	return b
}

// over is head and then the same unit until there are size bytes.
func over(head, unit string) func(size int) []byte {
	return func(size int) []byte {
		return append([]byte(head), bytes.Repeat([]byte(unit), max(0, size-len(head))/len(unit))...)
	}
}

func noise(size int) []byte {
	rnd := rand.NewChaCha8([32]byte{1})
	b := make([]byte, size)
	_, _ = rnd.Read(b)
	return b
}

func utf16Bytes(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = lit.AppendUint16(b, u)
	}
	return b
}

// put32 writes little-endian numbers at a place.
func put32(b []byte, at int, values ...uint32) {
	for i, v := range values {
		lit.PutUint32(b[at+4*i:], v)
	}
}

// program makes a PE of one section, whose data directory of the number dir points at its content at the address 0x1000. What stands behind the
// headers is at 0x200.
func program(dir int, content []byte) []byte {
	b := make([]byte, 0x200, 0x200+len(content))
	copy(b, "MZ")
	put32(b, 0x3C, 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	lit.PutUint16(p[4:], 0x14C)
	lit.PutUint16(p[6:], 1)
	lit.PutUint16(p[20:], 224)
	lit.PutUint16(p[22:], 0x102)
	opt := p[24:]
	lit.PutUint16(opt, 0x10B)
	put32(opt, 16, 0x1000)
	put32(opt, 28, 0x400000, 0x1000, 0x200)
	put32(opt, 56, 0x20000000, 0x200)
	put32(opt, 92, 16)
	at := uint32(0x1000)
	if dir == 4 { // its place in the file, not in memory
		at = 0x200
	}
	put32(opt, 96+8*dir, at, uint32(len(content)))
	s := opt[224:]
	copy(s, ".data")
	put32(s, 8, uint32(len(content)), 0x1000, uint32(len(content)), 0x200)
	put32(s, 36, 0xE0000020)
	if dir == 4 {
		put32(s, 8, 0, 0x1000, 0, 0x200)
	}
	return append(b, content...)
}

// elf makes an ELF of 64 bits whose section headers stand behind the content, which is at 64. Each section is given by kind, flags, place, size, link and
// the size of an entry.
func elf(content []byte, sections [][6]uint64) []byte {
	b := make([]byte, 64, 64+len(content)+64*len(sections))
	copy(b, "\x7FELF\x02\x01\x01")
	lit.PutUint16(b[16:], 3)
	lit.PutUint16(b[18:], 62)
	lit.PutUint32(b[20:], 1)
	lit.PutUint64(b[40:], uint64(64+len(content)))
	lit.PutUint16(b[52:], 64)
	lit.PutUint16(b[58:], 64)
	lit.PutUint16(b[60:], uint16(len(sections)))
	b = append(b, content...)
	for _, s := range sections {
		h := make([]byte, 64)
		lit.PutUint32(h[4:], uint32(s[0]))
		for i, v := range []uint64{s[1], 0, s[2], s[3]} {
			lit.PutUint64(h[8+8*i:], v)
		}
		lit.PutUint32(h[40:], uint32(s[4]))
		lit.PutUint64(h[56:], s[5])
		b = append(b, h...)
	}
	return b
}

// compound makes a compound file of 512-byte sectors: the FAT first, then the directory, then the rest as one chain. dir makes the directory's entries;
// it is told where the rest begins and how many bytes it has.
func compound(size int, dir func(start uint32, n int) [][]byte) []byte {
	total := size/512 - 1
	fats := total/128 + 1
	difats := max(0, (fats-109+126)/127)
	entries := dir(0, 0)
	dirs := (len(entries) + 3) / 4
	start := fats + difats + dirs
	entries = dir(uint32(start), (total-start)*512)
	b := make([]byte, (total+1)*512)
	copy(b, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")
	lit.PutUint16(b[24:], 0x3E)
	lit.PutUint16(b[26:], 3)
	lit.PutUint16(b[28:], 0xFFFE)
	lit.PutUint16(b[30:], 9)
	lit.PutUint16(b[32:], 6)
	first := uint32(0xFFFFFFFE)
	if difats > 0 {
		first = uint32(fats)
	}
	put32(b, 44, uint32(fats), uint32(fats+difats), 0, 4096, 0xFFFFFFFE, 0, first, uint32(difats))
	for i := range 109 {
		put32(b, 76+4*i, 0xFFFFFFFF)
		if i < fats {
			put32(b, 76+4*i, uint32(i))
		}
	}
	sector := func(n int) []byte { return b[(n+1)*512:] }
	for i := 109; i < fats; i++ {
		k := (i - 109) / 127
		put32(sector(fats+k), 4*((i-109)%127), uint32(i))
		next := uint32(0xFFFFFFFE)
		if k+1 < difats {
			next = uint32(fats + k + 1)
		}
		put32(sector(fats+k), 508, next)
	}
	for i := range total {
		next := uint32(i + 1)
		if i < fats+difats {
			next = 0xFFFFFFFD
		} else if i == start-1 || i == total-1 {
			next = 0xFFFFFFFE
		}
		put32(sector(0), 4*i, next)
	}
	for i, e := range entries {
		copy(sector(fats + difats)[128*i:], e)
	}
	return b
}

// entry makes an entry of a compound file's directory.
func entry(name string, kind byte, right, down, start uint32, size int) []byte {
	b := make([]byte, 128)
	n := copy(b[:62], utf16Bytes(name))
	lit.PutUint16(b[64:], uint16(n+2))
	b[66], b[67] = kind, 1
	put32(b, 68, 0xFFFFFFFF, right, down)
	put32(b, 116, start, uint32(size))
	return b
}

// zipped makes a zip: the local headers, then a central directory with an entry for each place.
func zipped(locals []byte, name func(i int) string, places []uint32, each int, method uint16) []byte {
	b := locals
	at := len(b)
	for i, place := range places {
		n := name(i)
		h := make([]byte, 46, 46+len(n))
		copy(h, "PK\x01\x02")
		lit.PutUint16(h[4:], 20)
		lit.PutUint16(h[6:], 20)
		lit.PutUint16(h[10:], method)
		put32(h, 16, 0, uint32(each), uint32(each))
		lit.PutUint16(h[28:], uint16(len(n)))
		put32(h, 42, place)
		b = append(append(b, h...), n...)
	}
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	lit.PutUint16(end[8:], uint16(len(places)))
	lit.PutUint16(end[10:], uint16(len(places)))
	put32(end, 12, uint32(len(b)-at), uint32(at))
	return append(b, end...)
}

// local makes the header of a stored member of a zip.
func local(name string, size int) []byte {
	h := make([]byte, 30, 30+len(name))
	copy(h, "PK\x03\x04")
	lit.PutUint16(h[4:], 20)
	put32(h, 14, 0, uint32(size), uint32(size))
	lit.PutUint16(h[26:], uint16(len(name)))
	return append(h, name...)
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// tarHead makes a header of a tar.
func tarHead(name string, size int, kind byte) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", size))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// script is head and then numbered lines.
func script(head, line string) func(size int) []byte {
	return func(size int) []byte {
		return grown([]byte(head), size, func(i int) []byte { return fmt.Appendf(nil, line, i) })
	}
}

const mailHead = "From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"

const none = 0xFFFFFFFF

// larges are the files, a few for a format where its readers differ in what they have to do.
var larges = []large{
	{"PE: random code", filetype.PE, func(size int) []byte { return program(0, noise(size-0x200)) }},
	{"PE: as many sections as can be, each of the whole file", filetype.PE, func(size int) []byte {
		b := program(0, noise(size-0x200))
		lit.PutUint16(b[0x86:], 0xFFFF)
		for at := 0x80 + 24 + 224; at+40 < len(b) && at < 40*0xFFFF; at += 40 {
			copy(b[at:], ".all\x00\x00\x00\x00")
			put32(b, at+8, uint32(size), 0x1000, uint32(size), 0x200, 0, 0, 0, 0xE0000020)
		}
		return b
	}},
	{"PE: libraries that import the same million names", filetype.PE, func(size int) []byte {
		b := make([]byte, size-0x200)
		half := len(b) / 2 &^ 3
		for at := 0; at+40 < half; at += 20 {
			put32(b, at, uint32(0x1000+half), 0, 0, uint32(0x1000+half), uint32(0x1000+half))
		}
		for at := half; at+4 < len(b); at += 4 {
			put32(b, at, 0x1000+uint32(half)+uint32(at*7919)%uint32(half))
		}
		return program(1, b)
	}},
	{"PE: resources that are folders of each other", filetype.PE, func(size int) []byte {
		b := make([]byte, size-0x200)
		for at := 0; at+16+8*0xFFFF < len(b); at += 16 + 8*0xFFFF {
			lit.PutUint16(b[at+14:], 0xFFFF)
			for i := range 0xFFFF {
				put32(b, at+16+8*i, uint32(i), 1<<31|uint32(i*16%len(b)))
			}
		}
		return program(2, b)
	}},
	{"PE: resources that are all the same large program", filetype.PE, func(size int) []byte {
		const leaves = 4096
		b := make([]byte, size-0x200)
		dir := func(at, n int, to func(i int) uint32) {
			lit.PutUint16(b[at+14:], uint16(n))
			for i := range n {
				put32(b, at+16+8*i, uint32(100+i), to(i))
			}
		}
		dir(0, 1, func(int) uint32 { return 1<<31 | 0x100 })
		dir(0x100, leaves, func(i int) uint32 { return 1<<31 | uint32(0x10000+24*i) })
		for i := range leaves {
			dir(0x10000+24*i, 1, func(int) uint32 { return uint32(0x40000 + 16*i) })
			put32(b, 0x40000+16*i, 0x1000+0x80000+uint32(i), uint32(len(b)-0x80000-i))
		}
		for at := 0x80000; at+2 < len(b); at += 2 {
			copy(b[at:], "MZ")
		}
		return program(2, b)
	}},
	{"PE: a million certificates", filetype.PE, func(size int) []byte {
		return program(4, over("", "\x08\x00\x00\x00\x00\x02\x02\x00")(size-0x200))
	}},
	{"PE: one certificate of all bytes", filetype.PE, func(size int) []byte {
		n := size - 0x200
		b := over("", "\x30\x80")(n)
		put32(b, 0, uint32(n), 0x00020200)
		return program(4, b)
	}},
	{"PE: an overlay of beginnings of archives", filetype.PE, func(size int) []byte {
		return append(program(0, make([]byte, 4096)), over("", "PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00A")(size-4608)...)
	}},
	{"PE: an overlay of marks of installers", filetype.PE, func(size int) []byte {
		return append(program(0, make([]byte, 4096)), over("", "\xEF\xBE\xAD\xDENullsoftInstInno Setup Setup Data (6.0.0)zlb\x1ARar!\x1A\x07MSCF\x00\x00\x00\x00rDlPtSMEI\x0C\x0B\x0A\x0B\x0EAU3!EA06")(size-4608)...)
	}},
	{"PE: a header of Rich that has no end", filetype.PE, func(size int) []byte {
		b := append(make([]byte, size-0x400), program(0, nil)[0x80:]...)
		copy(b, "MZ")
		put32(b, 0x3C, uint32(size-0x400))
		return b
	}},
	{"ELF: sections of the whole file", filetype.ELF, func(size int) []byte {
		var s [][6]uint64
		for range min(0xFF00, size/128) {
			s = append(s, [6]uint64{1, 2, 0, uint64(size), 0, 0})
		}
		return elf(noise(size-64-64*len(s)), s)
	}},
	{"ELF: a million symbols that are parts of one name", filetype.ELF, func(size int) []byte {
		n := size - 64 - 3*64
		b := bytes.Repeat([]byte("a"), n)
		names := n / 4
		for i := 0; 24*(i+1) < n-names; i++ {
			s := b[names+24*i:]
			lit.PutUint64(s, 0x1200000000|uint64(1+i*4097%names))
			lit.PutUint64(s[8:], 0)
		}
		return elf(b, [][6]uint64{{3, 2, 64, uint64(names)}, {2, 0, uint64(64 + names), uint64(n - names), 0, 24}})
	}},
	{"ELF: a million needed libraries", filetype.ELF, func(size int) []byte {
		n := size - 64 - 2*64
		b := grown(nil, n, func(i int) []byte { return lit.AppendUint64(lit.AppendUint64(nil, 1), uint64(i*16)) })[:n]
		return elf(b, [][6]uint64{{3, 2, 64, uint64(n)}, {6, 2, 64, uint64(n), 0, 16}})
	}},
	{"ELF: a signed module of one signature of all bytes", filetype.ELF, func(size int) []byte {
		b := append(elf(nil, nil), bytes.Repeat([]byte("\x30\x80"), (size-64-40)/2)...)
		b = append(b, 0, 0, 2, 0, 0, 0, 0, 0)
		b = big.AppendUint32(b, uint32(size-64-40))
		return append(b, "~Module signature appended~\n"...)
	}},
	{"Mach-O: as many slices as can be, each of the whole file", filetype.MachO, func(size int) []byte {
		b := big.AppendUint32([]byte("\xCA\xFE\xBA\xBE"), 30)
		for i := range 30 {
			for _, v := range []uint32{7, uint32(i), uint32(4096 * (i + 1)), uint32(size - 4096*32), 12} {
				b = big.AppendUint32(b, v)
			}
		}
		return over(string(b), "\xCF\xFA\xED\xFE\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00")(size)
	}},
	{"Mach-O: load commands and sections without end", filetype.MachO, func(size int) []byte {
		b := []byte("\xCF\xFA\xED\xFE\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00")
		b = append(lit.AppendUint32(lit.AppendUint32(b, 0xFFFFFF), uint32(size-32)), make([]byte, 8)...)
		segment := make([]byte, 72+80*800)
		put32(segment, 0, 0x19, uint32(len(segment)))
		lit.PutUint64(segment[48:], uint64(size))
		put32(segment, 64, 800)
		for i := range 800 {
			s := segment[72+80*i:]
			copy(s, "__const")
			copy(s[16:], "__TEXT")
			lit.PutUint64(s[40:], uint64(size))
			put32(s, 48, 32)
		}
		return over(string(b), string(segment))(size)
	}},
	{"Mach-O: a million symbols that are parts of one name", filetype.MachO, func(size int) []byte {
		b := []byte("\xCF\xFA\xED\xFE\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00")
		b = append(lit.AppendUint32(lit.AppendUint32(b, 1), 24), make([]byte, 8)...)
		names := size / 4
		for _, v := range []uint32{2, 24, uint32(56 + names), uint32((size - names - 56) / 16), 56, uint32(names)} {
			b = lit.AppendUint32(b, v)
		}
		b = append(b, bytes.Repeat([]byte("a"), names)...)
		return grown(b, size, func(i int) []byte {
			return append(lit.AppendUint32(nil, uint32(i*4099%names)), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		})
	}},
	{"Mach-O: a signature whose parts are all the same large directory", filetype.MachO, func(size int) []byte {
		b := []byte("\xCF\xFA\xED\xFE\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00")
		b = append(lit.AppendUint32(lit.AppendUint32(b, 1), 16), make([]byte, 8)...)
		for _, v := range []uint32{0x1D, 16, 4096, uint32(size - 4096)} {
			b = lit.AppendUint32(b, v)
		}
		b = append(b, make([]byte, 4096-len(b))...)
		n := (size - 4096) / 16
		s := big.AppendUint32(big.AppendUint32([]byte("\xFA\xDE\x0C\xC0"), uint32(size-4096)), uint32(n))
		for i := range n {
			s = big.AppendUint32(big.AppendUint32(s, 0x1000+uint32(i%5)), uint32(12+8*n))
		}
		d := big.AppendUint32([]byte("\xFA\xDE\x0C\x02"), uint32(size-4096-len(s)))
		for _, v := range []uint32{0x20400, 2, 44, 44, 0, uint32((size - len(s) - 8192) / 32), uint32(size), 0x20020010, 0} {
			d = big.AppendUint32(d, v)
		}
		return over(string(b)+string(s)+string(d), "\x01\x02\x03\x04")(size)
	}},
	{"DEX", filetype.DEX, over("dex\n035\x00\x00\x00\x00\x00", "\x00\x01\x02\x03\x04\x05\x06\x07")},
	{"Java class", filetype.Class, over("\xCA\xFE\xBA\xBE\x00\x00\x00\x34\xFF\xFF", "\x01\x00\x01a")},
	{"WebAssembly", filetype.WASM, over("\x00asm\x01\x00\x00\x00", "\x00\x01\x00")},
	{"LNK: a million blocks behind it", filetype.LNK, func(size int) []byte {
		h := make([]byte, 76)
		copy(h, "L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00F")
		h[20] = 0x80
		return over(string(h), "\x08\x00\x00\x00\x05\x00\x00\xA0")(size)
	}},
	{"LNK: much behind it", filetype.LNK, func(size int) []byte {
		h := make([]byte, 80)
		copy(h, "L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00F")
		h[20] = 0x80
		return over(string(h), "MZ\x90\x00")(size)
	}},

	{"PDF: a million objects", filetype.PDF, script("%PDF-1.7\n", "%d 0 obj<</Type/Action/S/JavaScript/JS(app.alert\\(1\\))>>endobj\n")},
	{"PDF: streams that have no end", filetype.PDF, script("%PDF-1.7\n", "%d 0 obj<</Type/ObjStm/Filter/FlateDecode/Length 9>>stream\nendstrea")},
	{"PDF: object streams that unpack to much", filetype.PDF, func(size int) []byte {
		z := deflated(bytes.Repeat([]byte("<</JS(((((>>/#4aavaScript"), 1<<16))
		return grown([]byte("%PDF-1.7\n"), size, func(i int) []byte {
			return fmt.Appendf(nil, "%d 0 obj<</Type/ObjStm/Filter/FlateDecode/Length %d>>stream\n%s\nendstream endobj\n", i, len(z), z)
		})
	}},
	{"PDF: attachments", filetype.PDF, func(size int) []byte {
		z := deflated(bytes.Repeat([]byte("MZ"), 1<<10))
		return grown([]byte("%PDF-1.7\n"), size, func(i int) []byte {
			return fmt.Appendf(nil, "%d 0 obj<</Type/Filespec/F(a%d)/EF<</F %d 0 R>>>>endobj %d 0 obj<</Type/EmbeddedFile/Filter/FlateDecode/Length %d>>stream\n%s\nendstream endobj\n", 2*i+1, i, 2*i+2, 2*i+2, len(z), z)
		})
	}},
	{"PDF: nested dictionaries and arrays", filetype.PDF, over("%PDF-1.7\n1 0 obj", "<<[/A")},
	{"PDF: a text that does not end", filetype.PDF, over("%PDF-1.7\n1 0 obj(", "(")},
	{"PDF: comments", filetype.PDF, over("%PDF-1.7\n", "%PDF-1.7 obj<</JS\n")},
	{"RTF: nested groups", filetype.RTF, over("{\\rtf1 ", "{")},
	{"RTF: one object of all bytes", filetype.RTF, over("{\\rtf1{\\object\\objemb{\\*\\objdata 0105000002000000080000005061636b61676500000000000000000000ffff7f", "4d5a")},
	{"RTF: a million objects", filetype.RTF, over("{\\rtf1 ", "{\\object\\objemb{\\*\\objclass X}{\\*\\objdata 01050000020000000200000041000000000000000000020000004d5a}}")},
	{"RTF: a million binary runs", filetype.RTF, over("{\\rtf1 ", "{\\object{\\*\\objdata \\bin999999999 MZ}}")},
	{"OLE: one stream of millions of sectors", filetype.OLE, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			return [][]byte{entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0), entry("Contents", 2, none, none, start, n)}
		})
	}},
	{"OLE: streams that are all the same sectors", filetype.OLE, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			all := [][]byte{entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0)}
			for i := range min(60_000, size/256) {
				all = append(all, entry("s"+strconv.Itoa(i), 2, uint32(i+2), none, start, n-i))
			}
			return all
		})
	}},
	{"OLE: folders in folders", filetype.OLE, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			all := [][]byte{entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0)}
			for i := range min(60_000, size/256) {
				all = append(all, entry("folder of a long name "+strconv.Itoa(i), 1, none, uint32(i+2), 0, 0))
			}
			return all
		})
	}},
	{"OLE: small streams in a chain that turns back", filetype.OLE, func(size int) []byte {
		b := compound(size, func(start uint32, n int) [][]byte {
			all := [][]byte{entry("Root Entry", 5, none, 1, start, n)}
			for i := range min(60_000, size/256) {
				all = append(all, entry("s"+strconv.Itoa(i), 2, uint32(i+2), none, 0, 4095))
			}
			return all
		})
		fats := (size/512-1)/128 + 1
		put32(b, 60, uint32(fats)+uint32(max(0, (fats-109+126)/127)), uint32(size/512))
		return b
	}},
	{"OLE: macro modules that are all the same stream", filetype.OLE, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			all := [][]byte{entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0), entry("Macros", 1, none, 2, 0, 0), entry("VBA", 1, none, 3, 0, 0), entry("dir", 2, 4, none, start, n), entry("_VBA_PROJECT", 2, 5, none, start, n)}
			for i := range min(1000, size/1024) {
				all = append(all, entry("Module"+strconv.Itoa(i), 2, uint32(i+6), none, start, n))
			}
			return all
		})
	}},
	{"MSI: tables that are all the same stream", filetype.MSI, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			root := entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0)
			copy(root[80:], "\x84\x10\x0C\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00F")
			all := [][]byte{root}
			for i := range min(20_000, size/256) {
				name := "\u4840\u3F3F\u4577\u446C\u3E6A\u44B2\u482F" // !_StringPool
				if i > 0 {
					name = string([]rune{0x4840, rune(0x3800 + i%4096), rune(0x3800 + i/4096)})
				}
				all = append(all, entry(name, 2, uint32(i+2), none, start, n))
			}
			return all
		})
	}},
	{"MSG: attachments that are all the same stream", filetype.MSG, func(size int) []byte {
		return compound(size, func(start uint32, n int) [][]byte {
			all := [][]byte{entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0), entry("__properties_version1.0", 2, 2, none, start, n), entry("__nameid_version1.0", 1, 3, none, 0, 0)}
			for i := range min(1000, size/1024) {
				at := uint32(3 + 2*i)
				all = append(all, entry(fmt.Sprintf("__attach_version1.0_#%08X", i), 1, at+2, at+1, 0, 0), entry("__substg1.0_37010102", 2, none, none, start, n))
			}
			return all
		})
	}},
	{"OOXML: a large part", filetype.OOXML, func(size int) []byte {
		b := append(local("[Content_Types].xml", 0), local("word/document.xml", size-4096)...)
		second := uint32(49)
		b = append(b, over("", "<w:p><w:r>")(size-4096)...)
		names := []string{"[Content_Types].xml", "word/document.xml", "word/vbaProject.bin", "word/_rels/document.xml.rels"}
		return zipped(b, func(i int) string { return names[i] }, []uint32{0, second, second, second}, size-4096, 0)
	}},

	{"zip: a million members of one byte", filetype.Zip, func(size int) []byte {
		var b []byte
		var places []uint32
		for i := 0; len(b)+60*i < size-200; i++ {
			places = append(places, uint32(len(b)))
			b = append(append(b, local("a"+strconv.Itoa(i), 1)...), byte(i))
		}
		return zipped(b, func(i int) string { return "a" + strconv.Itoa(i) }, places[:min(len(places), 0xFFFF)], 1, 0)
	}},
	{"zip: members that are all the same bytes", filetype.Zip, func(size int) []byte {
		n := size/2 - 4096
		b := append(local("x", n), noise(n)...)
		places := make([]uint32, min(0xFFFF, size/2/60))
		return zipped(b, func(i int) string { return strconv.Itoa(i) }, places, n, 0)
	}},
	{"zip: long names", filetype.Zip, func(size int) []byte {
		name := strings.Repeat("d/", 30000)
		places := make([]uint32, max(1, size/61000))
		return zipped(local("x", 0), func(i int) string { return name + strconv.Itoa(i) }, places, 0, 0)
	}},
	{"zip: encrypted members", filetype.Zip, func(size int) []byte {
		var b []byte
		var places []uint32
		for i := 0; len(b)+70*i < size-200; i++ {
			places = append(places, uint32(len(b)))
			h := local("a", 13)
			h[6] = 1
			b = append(append(b, h...), "aaaaaaaaaaaaa"...)
		}
		out := zipped(b, func(i int) string { return strconv.Itoa(i) }, places[:min(len(places), 0xFFFF)], 13, 0)
		for at := len(b); at+46 < len(out) && string(out[at:at+4]) == "PK\x01\x02"; at += 46 + int(lit.Uint16(out[at+28:])) {
			out[at+8] = 1
		}
		return out
	}},
	{"JAR: a manifest of all bytes", filetype.Jar, func(size int) []byte {
		n := size - 4096
		text := script("Manifest-Version: 1.0\r\n\r\n", "Name: a/%d.class\r\nSHA-256-Digest: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")(n)[:n]
		b := append(local("META-INF/MANIFEST.MF", n), text...)
		names := []string{"META-INF/MANIFEST.MF", "META-INF/A.SF", "META-INF/A.RSA", "META-INF/B.SF", "META-INF/B.RSA"}
		return zipped(b, func(i int) string { return names[i] }, make([]uint32, len(names)), n, 0)
	}},
	{"APK: a signing block of all bytes", filetype.APK, func(size int) []byte {
		b := append(local("AndroidManifest.xml", 4), "\x03\x00\x08\x00"...)
		n := size - len(b) - 300
		block := lit.AppendUint64(nil, uint64(n-8))
		for len(block) < n-24-2000 {
			block = lit.AppendUint32(lit.AppendUint64(block, 1004), 0x7109871A)
			block = append(block, bytes.Repeat([]byte("\x0A\x00\x00\x00"), 250)...)
		}
		block = append(lit.AppendUint64(block, uint64(n-len(block)-24-8)), make([]byte, n-len(block)-24-8)...)
		block = append(lit.AppendUint64(block, uint64(n-8)), "APK Sig Block 42"...)
		names := []string{"AndroidManifest.xml", "classes.dex", "META-INF/MANIFEST.MF"}
		return zipped(append(b, block...), func(i int) string { return names[i] }, make([]uint32, len(names)), 4, 0)
	}},
	{"7z: a header of all bytes", filetype.SevenZip, func(size int) []byte {
		h := grown([]byte("\x01\x05\xE0\xFF\xFF\xFF\x11"), size-32, func(int) []byte { return []byte("a\x00\x00\x00") })[:size-32]
		s := lit.AppendUint64(nil, 0)
		s = lit.AppendUint32(lit.AppendUint64(s, uint64(len(h))), crc32.ChecksumIEEE(h))
		b := lit.AppendUint32([]byte("7z\xBC\xAF\x27\x1C\x00\x04"), crc32.ChecksumIEEE(s))
		return append(append(b, s...), h...)
	}},
	{"RAR 5: a million members", filetype.RAR, func(size int) []byte {
		block := func(body string) []byte {
			b := append([]byte{byte(len(body))}, body...)
			return append(lit.AppendUint32(nil, crc32.ChecksumIEEE(b)), b...)
		}
		head := append([]byte("Rar!\x1A\x07\x01\x00"), block("\x01\x00\x00")...)
		return grown(head, size, func(i int) []byte {
			return block("\x02\x02\x00\x00\x00\x00\x00\x00\x06" + fmt.Sprintf("%06d", i%1_000_000))
		})
	}},
	{"RAR 4: a million members", filetype.RAR, func(size int) []byte {
		block := func(kind byte, flags uint16, rest []byte) []byte {
			b := append([]byte{kind}, lit.AppendUint16(lit.AppendUint16(nil, flags), uint16(7+len(rest)))...)
			b = append(b, rest...)
			return append(lit.AppendUint16(nil, uint16(crc32.ChecksumIEEE(b))), b...)
		}
		head := append([]byte("Rar!\x1A\x07\x00"), block(0x73, 0, make([]byte, 6))...)
		return grown(head, size, func(i int) []byte {
			rest := make([]byte, 25)
			rest[17], rest[18] = 29, 0x30
			lit.PutUint16(rest[19:], 6)
			return block(0x74, 0x8000, append(rest, fmt.Sprintf("%06d", i%1_000_000)...))
		})
	}},
	{"tar: a million empty members", filetype.Tar, func(size int) []byte {
		return grown(nil, size, func(i int) []byte { return tarHead(strconv.Itoa(i), 0, '0') })
	}},
	{"tar: members of extended headers", filetype.Tar, func(size int) []byte {
		long := append(tarHead("x", 1<<20, 'x'), over("", "30 comment=aaaaaaaaaaaaaaaaaa\n")(1<<20)...)
		return grown(nil, size, func(i int) []byte {
			return append(append(long, make([]byte, max(0, 512+1<<20-len(long)))...), tarHead(strconv.Itoa(i), 0, '0')...)
		})
	}},
	{"tar: one large member", filetype.Tar, func(size int) []byte {
		return append(tarHead("x", size-2048, '0'), noise(size-512)...)
	}},
	{"gzip: a million streams", filetype.Gzip, func(size int) []byte { return bytes.Repeat(gzipped(nil), size/23) }},
	{"gzip: noise", filetype.Gzip, func(size int) []byte { return gzipped(noise(size - size/1000)) }},
	{"gzip: zeros", filetype.Gzip, func(size int) []byte {
		z := gzipped(make([]byte, 64<<20))
		return bytes.Repeat(z, max(1, size/len(z)))
	}},
	{"bzip2: a million streams", filetype.Bzip2, over("BZh91AY&SY\x00", "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00")},
	{"zstd: a million frames", filetype.Zstd, over("\x28\xB5\x2F\xFD\x20\x00\x01\x00\x00", "\x28\xB5\x2F\xFD\x20\x00\x01\x00\x00")},
	{"zstd: frames to skip", filetype.Zstd, over("\x28\xB5\x2F\xFD\x20\x00\x01\x00\x00", "\x50\x2A\x4D\x18\x00\x00\x00\x00")},
	{"lz4: a million frames", filetype.LZ4, over("\x04\x22\x4D\x18\x40\x40\xC0\x00\x00\x00\x00", "\x04\x22\x4D\x18\x40\x40\xC0\x00\x00\x00\x00")},
	{"lzma: noise", filetype.LZMA, func(size int) []byte {
		return append([]byte("\x5D\x00\x00\x80\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00"), noise(size-14)...)
	}},
	{"compress: noise", filetype.Compress, func(size int) []byte { return append([]byte("\x1F\x9D\x90"), noise(size-3)...) }},
	{"cab: as many members as can be, all the same folder", filetype.Cab, func(size int) []byte {
		const files = 65535
		head := make([]byte, 36+8)
		copy(head, "MSCF")
		put32(head, 8, uint32(size), 0, 44)
		head[24], head[25] = 3, 1
		lit.PutUint16(head[26:], 1)
		lit.PutUint16(head[28:], files)
		n := size / 40
		for i := range min(files, n) {
			f := make([]byte, 16)
			put32(f, 0, uint32(size/4), uint32(i))
			head = append(append(append(head, f...), strconv.Itoa(i)...), 0)
		}
		put32(head, 36, uint32(len(head)))
		lit.PutUint16(head[40:], uint16(min(0xFFFF, (size-len(head))/32776)))
		block := make([]byte, 8+32768)
		lit.PutUint16(block[4:], 32768)
		lit.PutUint16(block[6:], 32768)
		return over(string(head), string(block))(size)
	}},
	{"ISO 9660: one folder of millions of entries", filetype.ISO, func(size int) []byte {
		b := make([]byte, size)
		copy(b[0x8000:], "\x01CD001\x01")
		volume := b[0x8000:]
		put32(volume, 80, uint32(size/2048))
		lit.PutUint16(volume[128:], 2048)
		root := volume[156:]
		root[0], root[25], root[32] = 34, 2, 1
		put32(root, 2, 18)
		put32(root, 10, uint32(size-18*2048))
		copy(b[0x8800:], "\xFFCD001\x01")
		for at := 18 * 2048; at+40 < size; at += 36 {
			if at/2048 != (at+36)/2048 {
				at = (at + 2047) &^ 2047
				if at+40 > size {
					break
				}
			}
			e := b[at:]
			e[0], e[32] = 36, 2
			put32(e, 2, uint32(20+at%100))
			put32(e, 10, 3)
			copy(e[33:], strconv.Itoa(10+at%90))
		}
		return b
	}},
	{"ISO 9660: folders that are all the same", filetype.ISO, func(size int) []byte {
		b := make([]byte, size)
		copy(b[0x8000:], "\x01CD001\x01")
		volume := b[0x8000:]
		put32(volume, 80, uint32(size/2048))
		lit.PutUint16(volume[128:], 2048)
		root := volume[156:]
		root[0], root[25], root[32] = 34, 2, 1
		put32(root, 2, 18)
		put32(root, 10, uint32(size-18*2048))
		copy(b[0x8800:], "\xFFCD001\x01")
		for at := 18 * 2048; at+40 < size; at += 36 {
			if at/2048 != (at+36)/2048 {
				at = (at + 2047) &^ 2047
				if at+40 > size {
					break
				}
			}
			e := b[at:]
			e[0], e[25], e[32] = 36, 2, 2
			put32(e, 2, uint32(19+at/36%(size/2048-19)))
			put32(e, 10, uint32(size))
			copy(e[33:], strconv.Itoa(10+at%90))
		}
		return b
	}},
	{"cpio: a million members", filetype.CPIO, func(size int) []byte {
		return grown(nil, size, func(i int) []byte {
			return fmt.Appendf(nil, "070701%08X000081A40000000000000000000000010000000000000001000000000000000000000000000000000000000800000000%07d\x00\x00\x00\x00", i, i%10_000_000)[:120]
		})
	}},
	{"ar: a million members", filetype.Ar, func(size int) []byte {
		return grown([]byte("!<arch>\n"), size, func(i int) []byte {
			return fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", fmt.Sprint(i, "/"), 0, 0, 0, "100644", 0)
		})
	}},
	{"ar: a table of names of all bytes", filetype.Ar, func(size int) []byte {
		n := (size - 68) / 2 &^ 1
		b := fmt.Appendf([]byte("!<arch>\n"), "%-16s%-12s%-6s%-6s%-8s%-10d`\n", "//", "", "", "", "", n)
		b = append(b, bytes.Repeat([]byte("aaaaaaaaa/\n"), n/11+1)[:n]...)
		return grown(b, size, func(i int) []byte {
			return fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", fmt.Sprint("/", i*11%n), 0, 0, 0, "100644", 0)
		})
	}},
	{"deb: a large control member", filetype.Deb, func(size int) []byte {
		z := gzipped(append(tarHead("control", 64<<20, '0'), make([]byte, 64<<20)...))
		z = bytes.Repeat(z, max(1, (size-200)/len(z)))
		if len(z)%2 == 1 {
			z = append(z, 0)
		}
		b := fmt.Appendf([]byte("!<arch>\n"), "%-16s%-12d%-6d%-6d%-8s%-10d`\n2.0\n", "debian-binary", 0, 0, 0, "100644", 4)
		return append(fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", "control.tar.gz", 0, 0, 0, "100644", len(z)), z...)
	}},
	{"RPM: a header of all bytes", filetype.RPM, func(size int) []byte {
		lead := make([]byte, 96)
		copy(lead, "\xED\xAB\xEE\xDB\x03\x00\x00\x00\x00\x01x")
		lead[79] = 5
		lead = append(lead, "\x8E\xAD\xE8\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		n := (size - len(lead) - 16) / 17
		lead = append(lead, "\x8E\xAD\xE8\x01\x00\x00\x00\x00"...)
		lead = big.AppendUint32(big.AppendUint32(lead, uint32(n)), uint32(n))
		return over(string(lead), "\x00\x00\x03\xE8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01")(size)
	}},
	{"ARJ: a million members", filetype.ARJ, func(size int) []byte {
		block := func(name string, kind byte) []byte {
			h := append(append(make([]byte, 30), name...), 0, 0)
			h[0], h[1], h[2], h[6] = 30, 11, 1, kind
			b := lit.AppendUint16([]byte("\x60\xEA"), uint16(len(h)))
			return append(lit.AppendUint32(append(b, h...), crc32.ChecksumIEEE(h)), 0, 0)
		}
		return grown(block("x.arj", 2), size, func(i int) []byte { return block(strconv.Itoa(i), 0) })
	}},
	{"LZH: a million members", filetype.LZH, func(size int) []byte {
		return grown(nil, size, func(i int) []byte {
			name := fmt.Sprintf("%08d", i%100_000_000)
			h := append(make([]byte, 22), name...)
			h[0] = byte(len(h))
			copy(h[2:], "-lh0-")
			h[19], h[21] = 0x20, byte(len(name))
			h = append(h, 0, 0)
			for _, c := range h[2:] {
				h[1] += c
			}
			return h
		})
	}},
	{"TNEF: a million attributes", filetype.TNEF, over("\x78\x9F\x3E\x22\x01\x00\x01\x06\x90\x08\x00\x04\x00\x00\x00\x00\x00\x01\x00\x01\x00", "\x02\x02\x90\x06\x00\x0E\x00\x00\x00\x01\x00\xFF\xFF\xFF\xFF\x00\x00\x00\x00\x00\x00\x00\x00\xFD\x03")},
	{"SZDD: noise", filetype.SZDD, func(size int) []byte {
		return append([]byte("SZDD\x88\xF0\x27\x33A_\x00\x00\x00\x10"), noise(size-14)...)
	}},
	{"BinHex", filetype.BinHex, over("(This file must be converted with BinHex 4.0)\r\n\r\n:", "$f*TEQKPH#jKD@aX0#3\r\n")},
	{"CHM", filetype.CHM, func(size int) []byte {
		b := make([]byte, 0x60+0x54)
		copy(b, "ITSF\x03\x00\x00\x00\x60\x00\x00\x00\x01\x00\x00\x00")
		lit.PutUint64(b[0x48:], 0x60)
		lit.PutUint64(b[0x50:], uint64(size-0x60))
		lit.PutUint64(b[0x58:], uint64(size-0x1000))
		copy(b[0x60:], "ITSP\x01\x00\x00\x00\x54\x00\x00\x00\x0A\x00\x00\x00\x00\x10\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\xFF\xFF\xFF\xFF\x00\x00\x00\x00")
		put32(b, 0x60+0x24, uint32((size-len(b))/4096-1), none, uint32((size-len(b))/4096))
		page := 0
		return grown(b, size, func(i int) []byte {
			p := make([]byte, 4096)
			copy(p, "PMGL")
			put32(p, 4, 2, 0, uint32(i-1), uint32(i+1))
			for at := 20; at+16 < 4090; at += 14 {
				copy(p[at:], fmt.Sprintf("\x0A/%09d\x00\x01\x01", page))
				page++
			}
			return p
		})
	}},
	{"WIM: a table of all bytes", filetype.WIM, func(size int) []byte {
		b := make([]byte, 208)
		copy(b, "MSWIM\x00\x00\x00\xD0\x00\x00\x00\x00\x0D\x01\x00")
		put32(b, 20, 0x8000)
		lit.PutUint16(b[40:], 1)
		lit.PutUint16(b[42:], 1)
		put32(b, 44, 1)
		lit.PutUint64(b[48:], uint64(size-208)|2<<56)
		lit.PutUint64(b[56:], 208)
		lit.PutUint64(b[64:], uint64(size-208))
		return grown(b, size, func(i int) []byte {
			e := make([]byte, 50)
			lit.PutUint64(e, uint64(size/2))
			lit.PutUint64(e[8:], 208)
			lit.PutUint64(e[16:], uint64(size/2))
			lit.PutUint16(e[24:], 1)
			put32(e, 26, 1, uint32(i))
			return e
		})
	}},
	{"WIM: solid resources of all bytes", filetype.WIM, func(size int) []byte {
		b := make([]byte, 208)
		copy(b, "MSWIM\x00\x00\x00\xD0\x00\x00\x00\x00\x0D\x01\x00")
		lit.PutUint16(b[40:], 1)
		lit.PutUint16(b[42:], 1)
		put32(b, 44, 1)
		lit.PutUint64(b[48:], uint64(size-208)|2<<56)
		lit.PutUint64(b[56:], 208)
		lit.PutUint64(b[64:], uint64(size-208))
		return grown(b, size, func(i int) []byte {
			e := make([]byte, 50)
			lit.PutUint64(e, uint64(size/2)|16<<56)
			lit.PutUint64(e[8:], 208)
			lit.PutUint64(e[16:], uint64(1-i%2)<<32) // a resource, then a stream in it
			lit.PutUint16(e[24:], 1)
			put32(e, 26, 1, uint32(i))
			return e
		})
	}},
	{"SquashFS: tables of all bytes", filetype.SquashFS, func(size int) []byte {
		b := make([]byte, 96)
		copy(b, "hsqs")
		put32(b, 4, 0xFFFFFF, 0, 131072, 0xFFFFFF)
		lit.PutUint16(b[20:], 1)
		lit.PutUint16(b[22:], 17)
		lit.PutUint16(b[24:], 0x1|0x2|0x8)
		lit.PutUint16(b[26:], 1)
		lit.PutUint16(b[28:], 4)
		lit.PutUint64(b[40:], uint64(size))
		for i, v := range []uint64{uint64(size - 8), uint64(size - 8), 1<<64 - 1, 96, uint64(size / 2), uint64(size - 16), 1<<64 - 1} {
			lit.PutUint64(b[48+8*i-8:], v)
		}
		lit.PutUint64(b[32:], 0)
		block := lit.AppendUint16(nil, 0x8000|8192)
		for i := range 8192 / 32 {
			inode := make([]byte, 32)
			lit.PutUint16(inode, 1)
			put32(inode, 12, uint32(i), 0, 1, 0, 0xFFFF)
			block = append(block, inode...)
		}
		return over(string(b), string(block))(size)
	}},
	{"DMG: blocks of LZFSE of all bytes", filetype.DMG, func(size int) []byte {
		// Each gives a byte, and has codes of every length: of one symbol alone, which needs no bits.
		var table []byte
		bit := 0
		for i := range 360 {
			v, n := 0, 2
			if most := map[int]int{1: 64, 20: 64, 40: 256, 104 + 'x': 1024}[i]; most != 0 {
				v, n = (most-24)<<4|15, 14
			}
			for ; n > 0; n-- {
				if bit%8 == 0 {
					table = append(table, 0)
				}
				table[bit/8] |= byte(v&1) << (bit % 8)
				v >>= 1
				bit++
			}
		}
		block := []byte("bvx2\x01\x00\x00\x00")
		for _, v := range []uint64{4 | 1<<40 | 7<<60, 7 << 60, uint64(32 + len(table))} {
			block = lit.AppendUint64(block, v)
		}
		block = append(block, table...)
		n := (size - 8192) / len(block)
		mish := make([]byte, 204+40)
		copy(mish, "mish\x00\x00\x00\x01")
		big.PutUint64(mish[16:], uint64(n/512))
		big.PutUint32(mish[200:], 1)
		run := mish[204:]
		big.PutUint32(run, 0x80000007)
		big.PutUint64(run[16:], uint64(n/512))
		big.PutUint64(run[32:], uint64(n*len(block)))
		b := bytes.Repeat(block, n)
		plist := "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key><data>" + base64.StdEncoding.EncodeToString(mish) +
			"</data><key>Name</key><string>x</string></dict></array></dict></dict></plist>"
		trailer := make([]byte, 512)
		copy(trailer, "koly\x00\x00\x00\x04\x00\x00\x02\x00")
		big.PutUint64(trailer[0xd8:], uint64(len(b)))
		big.PutUint64(trailer[0xe0:], uint64(len(plist)))
		return append(append(b, plist...), trailer...)
	}},
	{"exFAT: a directory of all bytes", filetype.ExFAT, func(size int) []byte {
		const cluster = 4096
		sectors := size / 512
		table := (size/cluster*4+511)/512 + 1
		n := (size - (8+table)*512) / cluster
		b := make([]byte, size)
		copy(b[3:], "EXFAT   ")
		lit.PutUint64(b[72:], uint64(sectors))
		put32(b, 80, 8, uint32(table), uint32(8+table), uint32(n), 2)
		b[108], b[109], b[110], b[510], b[511] = 9, 3, 1, 0x55, 0xaa
		for i := range n {
			put32(b, 8*512+4*(i+2), uint32(i+3))
		}
		put32(b, 8*512+4*(n+1), 1<<32-1)
		entries := b[(8+table)*512:][:n*cluster]
		for i := 0; i+96 <= len(entries); i += 96 {
			e := entries[i:]
			e[0], e[1], e[32], e[33], e[35], e[64] = 0x85, 2, 0xc0, 3, 10, 0xc1
			lit.PutUint64(e[40:], 100)
			put32(e, 52, 2)
			lit.PutUint64(e[56:], 100)
			for k, c := range fmt.Sprintf("%010d", i) {
				e[66+2*k] = byte(c)
			}
		}
		return b
	}},
	{"DMG: runs of all bytes", filetype.DMG, func(size int) []byte {
		n := (size - 8192) * 3 / 4 / 2 / 40
		table := make([]byte, 204)
		copy(table, "mish\x00\x00\x00\x01")
		big.PutUint64(table[16:], uint64(n))
		big.PutUint32(table[200:], uint32(n))
		for i := range n {
			run := big.AppendUint32(nil, 1)
			for _, v := range []uint64{uint64(i), 1, 0, 512} {
				run = big.AppendUint64(append(run, make([]byte, 4)[:4*(1-min(1, len(run)/8))]...), v)
			}
			table = append(table, run[:40]...)
		}
		b := make([]byte, 4096)
		at := len(b)
		b = append(b, "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key><data>"...)
		b = append(b, base64.StdEncoding.EncodeToString(table)...)
		b = append(b, "</data><key>Name</key><string>disk (Apple_HFS : 1)</string></dict></array></dict></dict></plist>"...)
		end := make([]byte, 512)
		copy(end, "koly\x00\x00\x00\x04\x00\x00\x02\x00")
		big.PutUint64(end[32:], uint64(at))
		big.PutUint64(end[216:], uint64(at))
		big.PutUint64(end[224:], uint64(len(b)-at))
		return append(b, end...)
	}},
	{"XAR: a table of contents of all bytes", filetype.XAR, func(size int) []byte {
		var toc bytes.Buffer
		toc.WriteString("<?xml version=\"1.0\"?><xar><toc>")
		for i := 0; toc.Len() < 2*size; i++ {
			fmt.Fprintf(&toc, "<file id=\"%d\"><name>f%d</name><type>file</type><data><length>1</length><offset>0</offset><size>1</size><encoding style=\"application/octet-stream\"/></data></file>", i, i)
		}
		toc.WriteString("</toc></xar>")
		z := deflated(toc.Bytes())
		b := []byte("xar!\x00\x1C\x00\x01")
		b = big.AppendUint64(big.AppendUint64(b, uint64(len(z))), uint64(toc.Len()))
		return over(string(big.AppendUint32(b, 0))+string(z), "abcd")(size)
	}},

	{"mail: a million lines of header", filetype.Mail, script(mailHead, "X-Header-%d: some words\r\n")},
	{"mail: one folded header", filetype.Mail, over(mailHead+"X-Long: a\r\n", " =?utf-8?B?aGVsbG8gd29ybGQ=?=\r\n")},
	{"mail: one attachment of all bytes", filetype.Mail, func(size int) []byte {
		line := base64.StdEncoding.EncodeToString(noise(57)) + "\r\n"
		return over(mailHead+"Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\n", line)(size)
	}},
	{"mail: a million parts", filetype.Mail, script(mailHead+"Content-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\nContent-Disposition: attachment; filename=%d.txt\r\n\r\nx\r\n")},
	{"mail: parts in parts", filetype.Mail, func(size int) []byte {
		return grown([]byte(mailHead+"Content-Type: multipart/mixed; boundary=b0\r\n\r\n"), size, func(i int) []byte {
			return fmt.Appendf(nil, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
		})
	}},
	{"mail: one line", filetype.Mail, over(mailHead+"Content-Transfer-Encoding: quoted-printable\r\n\r\n", "=41=42 word ")},
	{"mbox: a million mails", filetype.Mbox, script("", "From a@example.com Thu Jan  1 00:00:00 2026\nFrom: a@example.com\nTo: b@example.com\nSubject: %d\nMessage-ID: <1@example.com>\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\nx\n\n")},

	{"script: PowerShell", filetype.Script, script("", "function Get-Thing%d { param($a) Write-Host $a; Invoke-Expression $a }\r\n")},
	{"script: PowerShell with a signature of all bytes", filetype.Script, func(size int) []byte {
		head := "#requires -version 5\r\nfunction Get-Thing { param($a) Write-Host $a }\r\nInvoke-Expression $env:x\r\n# SIG # Begin signature block\r\n"
		b := over(head, "# MIIFuQYJKoZIhvcNAQcCoIIFqjCCBaYCAQExDzANBglghkgBZQMEAgEFADB5Bgor\r\n")(size - 100)
		return append(b, "# SIG # End signature block\r\n"...)
	}},
	{"script: JavaScript in one line", filetype.Script, over("#!/usr/bin/env node\nvar a=[", "function(){return eval('x')},")},
	{"script: shell", filetype.Script, script("#!/bin/sh\n", "echo %d; if [ -f x ]; then rm x; fi\n")},
	{"script: PHP", filetype.Script, over("<?php ", "eval(base64_decode('aGVsbG8='));")},
	{"HTML", filetype.HTML, over("<!DOCTYPE html><html><head><script>", "document.write('<div>');")},
	{"XML: elements in elements", filetype.XML, over("<?xml version=\"1.0\"?>", "<a>")},
	{"XML: a disk image's words", filetype.XML, over("<?xml version=\"1.0\"?><!DOCTYPE a [", "<!ENTITY a \"&a;&a;\">")},
	{"text: JSON", filetype.Text, script("[", "{\"key\": %d, \"value\": [1, 2, {\"a\": \"b\"}]},\n")},
	{"text: one line", filetype.Text, over("", "a")},
	{"text: UTF-16", filetype.Text, func(size int) []byte {
		return over("\xFF\xFE", string(utf16Bytes("some words, and more of them\r\n")))(size)
	}},
	{"image: PNG", filetype.Image, over("\x89PNG\r\n\x1A\n\x00\x00\x00\x0DIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90\x77\x53\xDE", "\x00\x00\x00\x00IDAT\x35\xAF\x06\x1E")},
	{"noise", filetype.Unknown, noise},
	{"zeros", filetype.Unknown, func(size int) []byte { return make([]byte, size) }},
	{"PKCS #7: a sequence of all bytes", filetype.Other, func(size int) []byte {
		b := []byte("\x30\x84")
		b = big.AppendUint32(b, uint32(size-6))
		b = append(b, "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02\xA0\x84"...)
		b = big.AppendUint32(b, uint32(size-6-17))
		return over(string(b), "\x30\x84\x00\x00\x00\x02\x05\x00")(size)
	}},
}
