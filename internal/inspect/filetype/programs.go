package filetype

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// linear tells what a linear executable is, by the flags in its header: of OS/2 (LX), or of Windows and DOS extenders (LE).
func linear(b []byte) Type {
	kind, system := "EXE", ""
	if len(b) >= 20 {
		switch binary.LittleEndian.Uint32(b[16:]) & 0x38000 {
		case 0x08000, 0x18000:
			kind = "DLL"
		case 0x20000, 0x28000:
			kind = "driver"
		}
		system = map[uint16]string{1: " (OS/2)", 4: " (Windows VxD)"}[binary.LittleEndian.Uint16(b[10:])]
	}
	short := string(b[:2])
	return Type{MZ, short + " " + kind + system, short}
}

// mz tells what follows the two letters: PE, the older kinds, or DOS alone.
func (s *sample) mz() Type {
	h := s.head
	if len(h) < 28 {
		return Type{}
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	dos := Type{MZ, "DOS EXE", "MZ"}
	if len(h) < 64 {
		return dos
	}
	off := int64(u32(h[0x3C:]))
	b := s.at(off, 24+96)
	if len(b) < 4 || off < 4 {
		return s.dos(dos)
	}
	switch {
	case string(b[:4]) == "PE\x00\x00" && len(b) >= 26:
	case string(b[:2]) == "NE":
		name := "NE EXE (16-bit Windows)"
		if len(b) > 0x36 && u16(b[0x0C:])&0x8000 != 0 {
			name = "NE DLL (16-bit Windows)"
		}
		return Type{MZ, name, "NE"}
	case string(b[:2]) == "LE", string(b[:2]) == "LX":
		return linear(b)
	default:
		return s.dos(dos)
	}
	flags := u16(b[22:])
	opt := b[24:]
	width, dirs := "PE32", int64(96)
	switch u16(opt) {
	case 0x20B:
		width, dirs = "PE32+", 112
	case 0x107:
		width = "PE ROM"
	}
	kind := "EXE"
	subsystem := uint16(0)
	if len(opt) >= 70 {
		subsystem = u16(opt[68:])
	}
	switch {
	case subsystem == 10:
		kind = "EFI application"
	case subsystem == 11:
		kind = "EFI boot service driver"
	case subsystem == 12:
		kind = "EFI runtime driver"
	case flags&0x2000 != 0:
		kind = "DLL"
	case subsystem == 1:
		kind = "driver"
	}
	name := fmt.Sprintf("%s %s %s", width, kind, Machine(u16(b[4:])))
	if clr := s.at(off+24+dirs+14*8, 8); len(clr) == 8 && u32(clr) != 0 && u32(clr[4:]) != 0 {
		if n := s.at(off+24+dirs-4, 4); len(n) == 4 && u32(n) > 14 {
			name += " .NET"
		}
	}
	return Type{PE, name, "PE"}
}

// dos keeps apart text that begins with MZ by chance.
func (s *sample) dos(t Type) Type {
	if isText(s.head) {
		return Type{}
	}
	return t
}

// Machine names the processor of a COFF header.
func Machine(m uint16) string {
	switch m {
	case 0x14C:
		return "x86"
	case 0x8664:
		return "x64"
	case 0x1C0, 0x1C2, 0x1C4:
		return "ARM"
	case 0xAA64:
		return "ARM64"
	case 0xA641:
		return "ARM64EC"
	case 0x200:
		return "IA-64"
	case 0xEBC:
		return "EFI byte code"
	case 0x166, 0x169, 0x266, 0x366, 0x466:
		return "MIPS"
	case 0x184, 0x284:
		return "Alpha"
	case 0x1F0, 0x1F1:
		return "PowerPC"
	case 0x1A2, 0x1A3, 0x1A6, 0x1A8:
		return "SuperH"
	case 0x5032:
		return "RISC-V 32"
	case 0x5064:
		return "RISC-V 64"
	case 0x6232, 0x6264:
		return "LoongArch"
	}
	return fmt.Sprintf("machine 0x%x", m)
}

func (s *sample) elf() Type {
	h := s.head
	if len(h) < 20 {
		return Type{ELF, "ELF", "ELF"}
	}
	class, end := "", ""
	var o binary.ByteOrder = binary.LittleEndian
	switch h[4] {
	case 1:
		class = " 32"
	case 2:
		class = " 64"
	}
	switch h[5] {
	case 1:
		end = " LE"
	case 2:
		end, o = " BE", binary.BigEndian
	}
	kind := ""
	switch o.Uint16(h[16:]) {
	case 1:
		kind = " relocatable"
	case 2:
		kind = " executable"
	case 3:
		kind = " shared object"
		if s.elfInterpreter(o) {
			kind = " PIE executable"
		}
	case 4:
		kind = " core"
	}
	return Type{ELF, "ELF" + class + end + kind + " " + ELFMachine(o.Uint16(h[18:])), "ELF"}
}

// elfInterpreter reports whether a dynamic object names a loader, which programs do and libraries rarely.
func (s *sample) elfInterpreter(o binary.ByteOrder) bool {
	h := s.head
	if len(h) < 64 {
		return false
	}
	off, size, n := int64(o.Uint32(h[28:])), int64(o.Uint16(h[42:])), int64(o.Uint16(h[44:]))
	if h[4] == 2 {
		v := o.Uint64(h[32:])
		if v > 1<<40 {
			return false
		}
		off, size, n = int64(v), int64(o.Uint16(h[54:])), int64(o.Uint16(h[56:]))
	}
	if size < 32 {
		return false
	}
	for b := s.at(off, size*min(n, 512)); int64(len(b)) >= size; b = b[size:] {
		if o.Uint32(b) == 3 {
			return true
		}
	}
	return false
}

// ELFMachine names the processor of an ELF header.
func ELFMachine(m uint16) string {
	switch m {
	case 2, 18:
		return "SPARC"
	case 3, 6:
		return "x86"
	case 4:
		return "m68k"
	case 8, 10:
		return "MIPS"
	case 15:
		return "PA-RISC"
	case 20:
		return "PowerPC"
	case 21:
		return "PowerPC 64"
	case 22:
		return "S/390"
	case 40:
		return "ARM"
	case 42:
		return "SuperH"
	case 43:
		return "SPARC V9"
	case 50:
		return "IA-64"
	case 62:
		return "x86-64"
	case 83:
		return "AVR"
	case 93, 195:
		return "ARC"
	case 94:
		return "Xtensa"
	case 183:
		return "AArch64"
	case 190:
		return "CUDA"
	case 224:
		return "AMD GPU"
	case 243:
		return "RISC-V"
	case 247:
		return "eBPF"
	case 258:
		return "LoongArch"
	case 0x9026:
		return "Alpha"
	}
	return fmt.Sprintf("machine %d", m)
}

// macho tells the thin file at off.
func (s *sample) macho(off int64, long bool) Type {
	b := s.at(off, 16)
	if len(b) < 16 {
		return Type{MachO, "Mach-O", "MACHO"}
	}
	var o binary.ByteOrder = binary.BigEndian
	if b[3] == 0xFE {
		o = binary.LittleEndian
	}
	width := " 32"
	if o.Uint32(b)&1 != 0 {
		width = " 64"
	}
	kind := "file"
	switch o.Uint32(b[12:]) {
	case 1:
		kind = "object"
	case 2:
		kind = "executable"
	case 4:
		kind = "core"
	case 6:
		kind = "shared library"
	case 7:
		kind = "dynamic linker"
	case 8:
		kind = "bundle"
	case 9:
		kind = "shared library stub"
	case 10:
		kind = "debug symbols"
	case 11:
		kind = "kernel extension"
	}
	if !long {
		return Type{MachO, kind, "MACHO"}
	}
	return Type{MachO, "Mach-O" + width + " " + kind + " " + MachOCPU(o.Uint32(b[4:])), "MACHO"}
}

// MachOCPU names the processor of a Mach-O header.
func MachOCPU(c uint32) string {
	switch c {
	case 7:
		return "x86"
	case 0x01000007:
		return "x86-64"
	case 12:
		return "ARM"
	case 0x0100000C:
		return "arm64"
	case 0x0200000C:
		return "arm64_32"
	case 18:
		return "PowerPC"
	case 0x01000012:
		return "PowerPC 64"
	}
	return fmt.Sprintf("CPU 0x%x", c)
}

// fat tells a universal binary, slice by slice.
func (s *sample) fat() Type {
	n := int64(binary.BigEndian.Uint32(s.at(4, 4)))
	step := int64(20)
	if s.head[3] == 0xBF {
		step = 32
	}
	var cpus []string
	kind := ""
	for i := range min(n, 16) {
		b := s.at(8+i*step, step)
		if int64(len(b)) < step {
			break
		}
		cpus = append(cpus, MachOCPU(binary.BigEndian.Uint32(b)))
		if i == 0 {
			off := int64(binary.BigEndian.Uint32(b[8:]))
			if step == 32 {
				off = int64(binary.BigEndian.Uint64(b[8:]) & (1<<62 - 1))
			}
			if t := s.macho(off, false); t.Name != "Mach-O" {
				kind = " " + t.Name
			}
		}
	}
	return Type{MachO, "Mach-O universal" + kind + " (" + strings.Join(cpus, ", ") + ")", "MACHO"}
}

// pyInstaller reports whether all of the file is an archive of PyInstaller, which says so at its end.
func (s *sample) pyInstaller() bool {
	for _, cookie := range []int64{24 + 64, 24} {
		if b := s.at(s.size-cookie, 12); len(b) == 12 && string(b[:8]) == "MEI\x0c\x0b\x0a\x0b\x0e" && int64(binary.BigEndian.Uint32(b[8:])) == s.size {
			return true
		}
	}
	return false
}

// installShield reports whether the file begins as the files behind a setup program of InstallShield do: name, path, version and size of the first, each a text with NUL
// behind it.
func (s *sample) installShield() bool {
	f := strings.SplitN(string(s.at(0, 1024)), "\x00", 5)
	if len(f) < 5 || f[0] == "" || !strings.HasSuffix(f[1], `\`+f[0]) || strings.Trim(f[2], "0123456789.") != "" || f[2] == "" {
		return false
	}
	n, err := strconv.ParseInt(f[3], 10, 64)
	return err == nil && n >= 0 && n <= s.size
}
