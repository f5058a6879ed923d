package exe

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Bounds of Mach-O.
const (
	maxCommands = 4096
	maxSlices   = 32
)

func readMachO(in *input, t *teller) error {
	b := in.full(0, 8)
	if b == nil {
		return errCut
	}
	if b[0] != 0xCA {
		return thinMachO(in, t)
	}
	// A universal binary: its slices are files of their own.
	step := int64(20)
	if b[3] == 0xBF {
		step = 32
	}
	n := int64(binary.BigEndian.Uint32(b[4:]))
	end := 8 + step*min(n, maxSlices)
	for i := range min(n, maxSlices) {
		b := in.full(8+step*i, step)
		if b == nil {
			return errCut
		}
		off, size := int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
		if step == 32 {
			off, size = int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))
		}
		t.embed(in, "slice "+filetype.MachOCPU(binary.BigEndian.Uint32(b)), off, size)
		if off > 0 && size > 0 && off < in.size && size <= in.size-off {
			end = max(end, off+size)
		}
	}
	t.overlay(in, end, in.size)
	return nil
}

func thinMachO(in *input, t *teller) error {
	b := in.full(0, 28)
	if b == nil {
		return errCut
	}
	var o binary.ByteOrder = binary.BigEndian
	if b[3] == 0xFE {
		o = binary.LittleEndian
	}
	wide := o.Uint32(b)&1 != 0
	count, at := o.Uint32(b[16:]), int64(28)
	if wide {
		at = 32
	}
	var all []section
	var segments []elfSegment
	var symbols, texts [2]int64
	end := at
	total := 0
	budget := in.size + 16<<20
	build, marked, sea := "", "", false
	probes := 0 // sections that were searched for what built the program
	account := func(off, n uint32) { end = max(end, min(in.size, int64(off)+int64(n))) }
	for range min(count, maxCommands) {
		b := in.full(at, 8)
		if b == nil {
			break
		}
		cmd, n := o.Uint32(b), int64(o.Uint32(b[4:]))
		if n < 8 {
			break
		}
		c := in.at(at, min(n, 64<<10))
		if int64(len(c)) < min(n, 64<<10) {
			break
		}
		at += n
		switch {
		case cmd == 1 && len(c) >= 56 || cmd == 0x19 && len(c) >= 72: // a segment
			var off, size, vaddr uint64
			protection := uint32(0)
			head, step := 56, 68
			sections := 0
			if cmd == 0x19 {
				head, step = 72, 80
				vaddr, off, size, sections = o.Uint64(c[24:]), o.Uint64(c[40:]), o.Uint64(c[48:]), int(o.Uint32(c[64:]))
				protection = o.Uint32(c[60:])
			} else {
				vaddr, off, size, sections = uint64(o.Uint32(c[24:])), uint64(o.Uint32(c[32:])), uint64(o.Uint32(c[36:])), int(o.Uint32(c[48:]))
				protection = o.Uint32(c[44:])
			}
			if off < uint64(in.size) {
				size = min(size, uint64(in.size)-off)
				end = max(end, int64(off+size))
				segments = append(segments, elfSegment{kind: 1, flags: protection, vaddr: vaddr, off: int64(off), size: int64(size)})
			}
			total += min(sections, len(c)/step)
			for k := 0; k < sections && head+(k+1)*step <= len(c); k++ {
				s := c[head+k*step:]
				name := strings.TrimRight(string(s[16:32]), "\x00") + "," + strings.TrimRight(string(s[:16]), "\x00")
				size, off, flags := int64(0), int64(0), uint32(0)
				if cmd == 0x19 {
					size, off, flags = int64(min(o.Uint64(s[40:]), 1<<40)), int64(o.Uint32(s[48:])), o.Uint32(s[64:])
				} else {
					size, off, flags = int64(o.Uint32(s[36:])), int64(o.Uint32(s[40:])), o.Uint32(s[56:])
				}
				h := -1.0
				if kind := flags & 0xFF; kind != 1 && kind != 12 && kind != 18 && off > 0 && off < in.size && len(all) < maxSections {
					if n := min(size, in.size-off); n <= budget {
						budget -= n
						h = in.entropy(off, n)
					}
				}
				if len(all) < maxSections {
					all = append(all, section{name, size, h})
				}
				switch {
				case strings.HasSuffix(name, ",__go_buildinfo") && (build == "" || build == "Go") && probes < 8:
					probes++
					info := goInfo(in.at(off, min(size, 64<<10)), func(va uint64, n int64) []byte {
						for _, s := range segments {
							if va >= s.vaddr && va-s.vaddr < uint64(s.size) {
								d := int64(va - s.vaddr)
								return in.at(s.off+d, min(n, s.size-d))
							}
						}
						return nil
					})
					if info != "" {
						build = info
					}
				case strings.HasSuffix(name, ",__gopclntab") && build == "":
					build = "Go"
				case strings.HasSuffix(name, ",__NODE_SEA_BLOB"):
					sea = true
				case strings.HasSuffix(name, ",upxTEXT"):
					marked = "section upxTEXT"
				case name == "__TEXT,__const" && build == "" && probes < 8:
					probes++
					build = rust(in.at(off, min(size, maxScan)))
				}
			}
		case cmd == 2 && len(c) >= 24: // the symbol table
			symbols = [2]int64{int64(o.Uint32(c[8:])), int64(o.Uint32(c[12:]))}
			texts = [2]int64{int64(o.Uint32(c[16:])), int64(o.Uint32(c[20:]))}
			width := uint32(12)
			if wide {
				width = 16
			}
			account(o.Uint32(c[8:]), uint32(min(uint64(o.Uint32(c[12:]))*uint64(width), 1<<32-1)))
			account(o.Uint32(c[16:]), o.Uint32(c[20:]))
		case (cmd == 0x1D || cmd == 0x26 || cmd == 0x29) && len(c) >= 16: // code signature, function starts, data in code
			account(o.Uint32(c[8:]), o.Uint32(c[12:]))
		case (cmd == 0x32 && len(c) >= 16) || (cmd == 0x24 && len(c) >= 12): // the oldest system that it runs on
			v := o.Uint32(c[8:])
			platform := "macOS"
			if cmd == 0x32 {
				v = o.Uint32(c[12:])
				if p := o.Uint32(c[8:]); p > 0 && p <= 12 {
					platform = []string{"macOS", "iOS", "tvOS", "watchOS", "bridgeOS", "Mac Catalyst", "iOS simulator", "tvOS simulator", "watchOS simulator", "DriverKit", "visionOS", "visionOS simulator"}[p-1]
				}
			}
			t.attribute(intel.Runtime, fmt.Sprintf("%s %d.%d", platform, v>>16, v>>8&0xFF))
		}
	}
	t.sections(all, total)
	t.attribute(intel.Runtime, build)
	t.fuzzy(intel.Symhash, symhash(in, o, wide, symbols, texts))
	if b := in.at(at, 1024); bytes.Contains(b, []byte(upxMark)) {
		if marked != "" {
			marked += "; "
		}
		marked += "mark UPX! behind the load commands"
	}
	packers := upx(in, marked, "")
	for _, f := range bundles(in, end, in.size) {
		packers = found(packers, f.name, f.evidence)
	}
	if sea {
		packers = found(packers, "Node.js single executable", "section __NODE_SEA_BLOB")
	}
	if len(packers) == 0 && o.Uint32(b[12:]) == 2 && total <= 1 { // a program; compilers divide theirs into sections
		for _, s := range segments {
			if s.flags&4 != 0 && s.size >= 4096 {
				if h := in.entropy(s.off, min(s.size, 16<<20)); h >= 7.2 {
					packers = append(packers, finding{"packed (unknown)", fmt.Sprintf("%d sections, and the code has an entropy of %.2f", total, h)})
					break
				}
			}
		}
	}
	t.packers(packers)
	t.overlay(in, end, in.size)
	return nil
}

// symhash returns the MD5 of the sorted names of external symbols that the file does not define, joined by commas: what an imphash is to PE.
func symhash(in *input, o binary.ByteOrder, wide bool, symbols, texts [2]int64) string {
	width := int64(12)
	if wide {
		width = 16
	}
	seen := map[string]struct{}{}
	total := 0
	for i := int64(0); i < min(symbols[1], maxSymbols) && total < maxSymbolText; i++ {
		b := in.full(symbols[0]+i*width, width)
		if b == nil {
			break
		}
		const debugging, kind, external = 0xE0, 0x0E, 0x01
		if b[4]&external == 0 || b[4]&kind != 0 || b[4]&debugging != 0 {
			continue
		}
		at := int64(o.Uint32(b))
		if at >= texts[1] {
			continue
		}
		if name := in.text(texts[0]+at, min(texts[1]-at, 4096)); name != "" {
			if _, again := seen[name]; !again {
				total += len(name)
				seen[name] = struct{}{}
			}
		}
	}
	if len(seen) == 0 {
		return ""
	}
	names := make([]string, 0, len(seen))
	for n := range seen {
		names = append(names, n)
	}
	slices.Sort(names)
	sum := md5.Sum([]byte(strings.Join(names, ",")))
	return hex.EncodeToString(sum[:])
}
