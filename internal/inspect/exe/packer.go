package exe

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// finding is a packer or installer and how it was recognised.
type finding struct{ name, evidence string }

// maxPackers bounds those told of one file.
const maxPackers = 4

// sectionNames are names that only one packer gives.
var sectionNames = []struct{ prefix, packer string }{
	{"UPX0", "UPX"}, {"UPX1", "UPX"}, {"UPX2", "UPX"}, {"UPX!", "UPX"},
	{".aspack", "ASPack"}, {".adata", "ASPack"}, {"ASPack", "ASPack"}, {".ASPack", "ASPack"},
	{".petite", "Petite"}, {"petite", "Petite"},
	{".nsp0", "NsPack"}, {".nsp1", "NsPack"}, {".nsp2", "NsPack"}, {"nsp0", "NsPack"}, {"nsp1", "NsPack"}, {".nsp", "NsPack"},
	{"MEW", "MEW"}, {"FSG!", "FSG"},
	{"PEC2", "PECompact"}, {"pec1", "PECompact"}, {"pec2", "PECompact"}, {"PEC2TO", "PECompact"}, {"PECompact2", "PECompact"}, {"pec", "PECompact"},
	{".themida", "Themida"}, {"Themida", "Themida"}, {".winlice", "WinLicense"}, {"WinLicen", "WinLicense"},
	{".vmp0", "VMProtect"}, {".vmp1", "VMProtect"}, {".vmp2", "VMProtect"}, {".vmp3", "VMProtect"}, {"VMProtect", "VMProtect"},
	{".enigma1", "Enigma Protector"}, {".enigma2", "Enigma Protector"}, {".MPRESS1", "MPRESS"}, {".MPRESS2", "MPRESS"},
	{".Upack", "Upack"}, {".ByDwing", "Upack"}, {".WWP32", "WWPack32"}, {".WWPACK", "WWPack32"}, {".wwp", "WWPack32"}, {".yP", "Yoda's Protector"}, {"yC", "Yoda's Crypter"},
	{".RLPack", "RLPack"}, {".shrink1", "Shrinker"}, {".shrink2", "Shrinker"}, {".shrink3", "Shrinker"}, {".pklstb", "PKLITE32"}, {"kkrunchy", "kkrunchy"},
	{".boom", "The Boomerang List Builder"}, {".ccg", "CCG"}, {".charmve", "PIN tool"}, {"BitArts", "Crunch"}, {"DAStub", "DAStub"}, {"!EPack", "EPack"},
	{".ecode", "EPL (Easy Programming Language)"}, {".gentee", "Gentee"}, {".mackt", "ImpREC"}, {".MaskPE", "MaskPE"}, {".mnbvcx1", "Firseria"},
	{".neolite", "NeoLite"}, {".neolit", "NeoLite"}, {".packed", "RLPack"}, {"PELOCKnt", "PELock NT"}, {".perplex", "Perplex"}, {"PEBundle", "PEBundle"}, {"PEPACK!!", "PE Pack"},
	{"ProCrypt", "ProCrypt"}, {".rmnet", "Ramnit (infected)"}, {".RPCrypt", "RPCrypt"}, {"RCryptor", "RPCrypt"}, {".seau", "SeauSFX"}, {".sforce3", "StarForce"}, {".spack", "Simple Pack"}, {".svkp", "SVKP"},
	{".taz", "PESpin"}, {".tsuarch", "TSULoader"}, {".tsustub", "TSULoader"}, {"_winzip_", "WinZip Self-Extractor"}, {".wixburn", "WiX Burn"},
	{".obsidium", "Obsidium"}, {".obsdium", "Obsidium"}, {".nicode", "CodeVirtualizer"}, {"lz32.dll", "Crinkler"},
}

// entryPattern is bytes at the entry point: hexadecimal digits, ?? for any.
type entryPattern struct {
	packer string
	bytes  []int16 // -1 for any
}

func pattern(packer, text string) entryPattern {
	p := entryPattern{packer: packer}
	for f := range strings.FieldsSeq(text) {
		if f == "??" {
			p.bytes = append(p.bytes, -1)
			continue
		}
		n, err := strconv.ParseUint(f, 16, 8)
		if err != nil {
			panic(err) // a constant of ours
		}
		p.bytes = append(p.bytes, int16(n))
	}
	return p
}

func (p *entryPattern) match(b []byte) bool {
	if len(b) < len(p.bytes) {
		return false
	}
	for i, c := range p.bytes {
		if c >= 0 && byte(c) != b[i] {
			return false
		}
	}
	return true
}

// entryPatterns are how the unpacking code of each begins.
var entryPatterns = []entryPattern{
	pattern("UPX", "60 BE ?? ?? ?? ?? 8D BE ?? ?? ?? ?? 57"),
	pattern("UPX", "60 BE ?? ?? ?? ?? 8D BE ?? ?? ?? ?? C7 87 ?? ?? ?? ?? ?? ?? ?? ?? 57"),
	pattern("UPX", "60 BE ?? ?? ?? ?? 8D BE ?? ?? ?? ?? 8D 87 ?? ?? ?? ?? FF 30 C7 00 ?? ?? ?? ?? 50 57"),
	pattern("UPX", "80 7C 24 08 01 0F 85 ?? ?? ?? ?? 60 BE"),
	pattern("UPX", "53 56 57 55 48 8D 35 ?? ?? ?? ?? 48 8D BE"),
	pattern("UPX", "48 89 4C 24 08 48 89 54 24 10 4C 89 44 24 18 80 FA 01 0F 85"),
	pattern("ASPack", "60 E8 03 00 00 00 E9 EB 04 5D 45 55 C3 E8 01"),
	pattern("ASPack", "60 E8 00 00 00 00 5D 81 ED ?? ?? ?? ?? B8 ?? ?? ?? ?? 03 C5 2B 85"),
	pattern("ASPack", "90 60 E8 03 00 00 00 E9 EB 04 5D 45 55 C3 E8 01"),
	pattern("Petite", "B8 ?? ?? ?? ?? 6A 00 68 ?? ?? ?? ?? 64 FF 35 00 00 00 00 64 89 25 00 00 00 00 66 9C 60 50"),
	pattern("Petite", "B8 ?? ?? ?? ?? 68 ?? ?? ?? ?? 64 FF 35 00 00 00 00 64 89 25 00 00 00 00 66 9C 60 50"),
	pattern("Petite", "66 9C 60 50 8D 88 ?? ?? ?? ?? 8D 90"),
	pattern("FSG 1.0", "BB D0 01 40 00 BF 00 10 40 00 BE ?? ?? ?? ?? 53 E8 0A 00 00 00 02 D2"),
	pattern("FSG 1.1", "BB D0 01 40 00 BF 00 10 40 00 BE ?? ?? ?? ?? FC B2 80 8A 06 46 88 07 47 02 D2"),
	pattern("FSG 1.33", "BE ?? ?? ?? ?? AD 93 AD 97 AD 56 96 B2 80 A4 B6 80 FF 13 73"),
	pattern("FSG 2.0", "87 25 ?? ?? ?? ?? 61 94 55 A4 B6 80 FF 13"),
	pattern("MEW 11", "E9 ?? ?? ?? FF 0C ?? ?? ?? 00 00 00 00 00 00 00 00"),
	pattern("MEW 10", "33 C0 E9 ?? ?? FF FF"),
	pattern("NsPack", "9C 60 E8 00 00 00 00 5D 83 ED 07 8D"),
	pattern("NsPack", "9C 60 E8 00 00 00 00 5D B8 ?? ?? ?? ?? 2B E8 8D"),
	pattern("NsPack", "9C 60 E8 00 00 00 00 5D B8 07 00 00 00 2B E8"),
	pattern("PECompact 2", "B8 ?? ?? ?? ?? 50 64 FF 35 00 00 00 00 64 89 25 00 00 00 00 33 C0 89 08 50 45"),
	pattern("PECompact 1", "EB 06 68 ?? ?? ?? ?? C3 9C 60 E8"),
	pattern("Themida", "B8 ?? ?? ?? ?? 60 0B C0 74 58 E8 00 00 00 00 58 05"),
	pattern("Themida", "B8 ?? ?? ?? ?? 60 0B C0 74 68 E8 00 00 00 00 58 05"),
	pattern("MPRESS", "60 E8 00 00 00 00 58 05 ?? ?? ?? ?? 8B 30 03 F0 2B C0 8B FE"),
	pattern("MPRESS", "57 56 53 51 52 41 50 48 8D 05 ?? ?? ?? ?? 48 8B 30 48 03 F0"),
	pattern("PESpin", "EB 01 68 60 E8 00 00 00 00 8B 1C 24 83 C3 12 81 2B E8 B1 06 00 FE 4B FD 82 2C 24"),
	pattern("WWPack32", "53 55 8B E8 33 DB EB 60"),
	pattern("Yoda's Crypter", "60 E8 00 00 00 00 5D 81 ED ?? ?? ?? ?? B9 ?? ?? 00 00 8D BD"),
	pattern("Yoda's Crypter", "55 8B EC 53 56 57 60 E8 00 00 00 00 5D 81 ED"),
	pattern("Upack", "BE ?? ?? ?? ?? AD 50 FF ?? ?? EB"),
	pattern("Upack", "BE ?? ?? ?? ?? AD 8B F8 95"),
	pattern("Upack", "60 E8 09 00 00 00 ?? ?? ?? ?? E9 06 02"),
	pattern("RLPack", "60 E8 00 00 00 00 8B 2C 24 83 C4 04"),
	pattern("tElock", "E9 ?? ?? FF FF 00 00 00 ?? ?? ?? ?? ?? ?? ?? ?? ?? 00 00 00 00 00 00 00 00"),
	pattern("Armadillo", "60 E8 00 00 00 00 5D 50 51 EB 0F B9 EB 0F B8 EB 07 B9 EB 0F 90 EB"),
	pattern("Armadillo", "60 E8 00 00 00 00 5D 50 51 0F CA F7 D2 9C F7 D2 0F CA EB 0F"),
	pattern("Enigma Protector", "60 E8 00 00 00 00 5D 83 ED 06 81 ED ?? ?? ?? ?? E9"),
	pattern("Enigma Protector", "55 8B EC 83 C4 F0 B8 00 10 40 00 E8 01 00 00 00 9A 83 C4 10 8B E5 5D E9"),
	pattern("ExeStealth", "EB 00 60 EB 00 E8 00 00 00 00 5D 81 ED"),
	pattern("Obsidium", "EB 02 ?? ?? E8 25 00 00 00"),
	pattern("Neolite", "E9 A6 00 00 00 ?? ?? ?? ?? ?? ?? ?? ?? 4E 65 6F 4C 69 74 65"),
	pattern("SVKP", "60 E8 00 00 00 00 5D 81 ED 06 00 00 00 EB 05"),
}

// elfPatterns are the same of ELF, by its number of the processor.
var elfPatterns = map[uint16][]entryPattern{
	3:  {pattern("UPX", "50 E8 ?? ?? 00 00 EB 0E 5A 58 59 97 60 8A 54 24 20 E9")},
	62: {pattern("UPX", "50 52 E8 ?? ?? 00 00 55 53 51 52 48 01 FE 56")},
	40: {pattern("UPX", "18 D0 4D E2 ?? ?? 00 EB 00 10 81 E0 3E 40 2D E9"), pattern("UPX", "18 D0 4D E2 ?? ?? 00 EB 00 C0 ?? E5 0E 00 5C E3")},
	183: {pattern("UPX", "?? ?? 00 94 01 40 21 8B E1 0B BE A9 E3 7B 01 A9"), pattern("UPX", "?? ?? 00 94 9F 38 00 71"),
		pattern("UPX", "F3 FF FF 18 ?? ?? 00 94 01 40 21 8B E1 0B BE A9"), pattern("UPX", "F3 FF FF 18 ?? ?? 00 94 9F 38 00 71")},
}

var (
	nsisVersion   = regexp.MustCompile(`Nullsoft Install System v([0-9][\w.+-]{0,30})`)
	innoVersion   = regexp.MustCompile(`Inno Setup Setup Data \((\d[\w.]{0,20})\)`)
	mpressVersion = regexp.MustCompile(`v([0-9]\.[0-9]{2})`)
	upxVersion    = regexp.MustCompile(`([0-9]\.[0-9]{2,3})\x00UPX!`)
	upxIdent      = regexp.MustCompile(`\$Id: UPX ([0-9][\w.+-]{0,20}) Copyright`)
)

// found adds evidence to a packer, which is told once.
func found(all []finding, name, evidence string) []finding {
	for i := range all {
		a, b := all[i].name, name
		if a == b || strings.HasPrefix(a, b+" ") || strings.HasPrefix(b, a+" ") {
			all[i].evidence += "; " + evidence
			if len(b) > len(a) {
				all[i].name = b
			}
			return all
		}
	}
	if len(all) >= maxPackers {
		return all
	}
	return append(all, finding{name, evidence})
}

// packers tells by what a PE was packed or which installer it is.
func (p *pe) packers(patterns *Patterns) []finding {
	var all []finding
	// A name that a packer gives is evidence whoever wrote it, so it is said as such.
	for i := range p.sections {
		name := p.sections[i].name
		for _, s := range sectionNames {
			if name == s.prefix || s.packer == "MEW" && strings.HasPrefix(name, s.prefix) || len(s.prefix) >= 5 && strings.HasPrefix(name, s.prefix) {
				packer := s.packer
				if packer == "ASPack" && name == ".adata" && !p.has(".aspack") {
					packer = "Armadillo"
					if !p.has(".data1") && !p.has(".text1") {
						break
					}
				}
				all = found(all, packer, "section "+name)
				break
			}
		}
	}
	head := p.in.at(0, 4096)
	var entry []byte
	if off, left := p.offset(p.entry); off >= 0 && p.entry != 0 {
		entry = p.in.at(off, min(left, 2048))
	}
	if p.machine == 0x14C || p.machine == 0x8664 {
		for i := range entryPatterns {
			if e := &entryPatterns[i]; e.match(entry) {
				all = found(all, e.packer, "entry point "+hexHead(entry, len(e.bytes)))
				break
			}
		}
	}
	if patterns != nil {
		if name := patterns.Match(entry); name != "" {
			all = found(all, name, "entry point, by the operator's signatures")
		}
	}
	for i := range all {
		switch {
		case all[i].name == "UPX":
			if m := upxVersion.FindSubmatch(head); m != nil {
				all[i].name = "UPX " + string(m[1])
				all[i].evidence += "; version before the mark UPX!"
			}
		case all[i].name == "MPRESS":
			if m := mpressVersion.FindSubmatch(head); m != nil {
				all[i].name = "MPRESS " + string(m[1])
			}
		}
	}
	if i := bytes.Index(entry, []byte("PECompact2")); i >= 0 {
		all = found(all, "PECompact 2", "the text PECompact2 at the entry point")
	}
	all = p.installers(all)
	if len(all) == 0 {
		if why := p.looksPacked(); why != "" {
			all = append(all, finding{"packed (unknown)", why})
		}
	}
	return all
}

func hexHead(b []byte, n int) string {
	n = min(n, len(b), 8)
	return fmt.Sprintf("% x", b[:n])
}

func (p *pe) has(name string) bool {
	for i := range p.sections {
		if p.sections[i].name == name {
			return true
		}
	}
	return false
}

// installers tells programs that carry what they install or run.
func (p *pe) installers(all []finding) []finding {
	at := func(off, n int64) []byte {
		if off < 0 || off >= p.end {
			return nil
		}
		return p.in.at(off, min(n, p.end-off))
	}
	manifest := string(p.first(rtManifest, 64<<10))
	over := at(p.overlay, 4096)
	// The data of NSIS begins on a multiple of 512, with its flags first.
	nsis := bytes.Index(over, []byte("\xEF\xBE\xAD\xDENullsoftInst"))
	if nsis < 0 && strings.Contains(manifest, "Nullsoft") && len(over) > 0 {
		nsis = bytes.Index(at(p.overlay, 1<<20), []byte("\xEF\xBE\xAD\xDENullsoftInst"))
	}
	if nsis >= 4 {
		name, evidence := "NSIS", "first header of NSIS in the overlay"
		if m := nsisVersion.FindStringSubmatch(manifest); m != nil {
			name, evidence = "NSIS "+m[1], evidence+"; manifest"
		}
		all = found(all, name, evidence)
	}
	var autoit, inno, cabinet, iss, sea, py2exe bool
	hotkey := ""
	var setup []byte
	for i := range p.resources {
		r := &p.resources[i]
		switch {
		case r.kind == "10" && r.name == "11111" && r.size >= 40:
			if b := p.in.at(r.off, 64); bytes.HasPrefix(b, []byte("rDlPtS")) {
				inno, setup = true, b
			}
		case r.kind == "10" && r.name == "SCRIPT":
			autoit = autoit || bytes.Contains(p.in.at(r.off, min(r.size, 64)), []byte("AU3!EA0"))
		case r.kind == "10" && r.name == "CABINET":
			cabinet = bytes.HasPrefix(p.in.at(r.off, 4), []byte("MSCF"))
		case r.kind == "10" && (r.name == ">AUTOHOTKEY SCRIPT<" || r.name == ">AHK WITH ICON<"):
			hotkey = "RCDATA/" + r.name
		case r.kind == "10" && r.name == "1" && bytes.HasPrefix(p.in.at(r.off, 16), []byte("; <COMPILER: v")):
			hotkey = "RCDATA/1"
		case r.name == "NODE_SEA_BLOB":
			sea = true
		case r.kind == "PYTHONSCRIPT":
			py2exe = true
		}
	}
	if inno {
		name, evidence := "Inno Setup", "resource RCDATA/11111"
		for _, k := range []int64{32, 40, 28} { // where the place of the header stands differs by version
			if int64(len(setup)) < k+4 {
				continue
			}
			if m := innoVersion.FindSubmatch(p.in.at(int64(le.Uint32(setup[k:])), 64)); m != nil {
				name, evidence = "Inno Setup "+string(m[1]), evidence+"; setup data"
				break
			}
		}
		all = found(all, name, evidence)
	} else if string(p.in.at(0x30, 4)) == "Inno" {
		all = found(all, "Inno Setup", "mark Inno at 0x30")
	}
	if i := bytes.Index(over, []byte("AU3!EA0")); i >= 0 || bytes.Contains(over, []byte("\xA3HK\xBE\x98\x6C\x4A\xA9\x99\x4C\x53\x0A\x86\xD6\x48\x7D")) || autoit {
		name, where := "AutoIt", "overlay"
		if autoit {
			where = "resource RCDATA/SCRIPT"
		}
		if i >= 0 && i+8 <= len(over) && over[i+7] == '5' {
			name = "AutoIt 3.0 to 3.2"
		} else {
			name = "AutoIt 3"
		}
		all = found(all, name, "compiled script in the "+where)
	}
	if cabinet {
		all = found(all, "Microsoft Cabinet SFX (IExpress)", "resource RCDATA/CABINET")
	}
	for _, f := range bundles(p.in, p.overlay, p.end) {
		all = found(all, f.name, f.evidence)
	}
	if sea {
		all = found(all, "Node.js single executable", "resource NODE_SEA_BLOB")
	}
	if hotkey != "" {
		all = found(all, "AutoHotkey", "compiled script in the resource "+hotkey)
	}
	if py2exe {
		all = found(all, "py2exe", "resource PYTHONSCRIPT")
	}
	switch {
	case bytes.HasPrefix(over, []byte("InstallShield\x00")), bytes.HasPrefix(over, []byte("ISSetupStream")):
		iss = true
	case bytes.Contains(over[:min(len(over), 1024)], []byte("I\x00S\x00S\x00e\x00t\x00u\x00p\x00S\x00t\x00r\x00e\x00a\x00m\x00")):
		iss = true
	}
	b := p.first(rtVersion, maxVersion)
	text := ""
	versionStrings(b, func(key, value string) {
		if len(text) < 4096 {
			text += key + "=" + value + "\n"
		}
	})
	switch {
	case iss:
		all = found(all, "InstallShield", "setup stream in the overlay")
	case p.end-p.overlay >= 4096 && p.flags&0x2000 == 0 && (strings.Contains(text, "InstallShield") || strings.Contains(text, "ISInternal")): // its libraries end with a line of text
		all = found(all, "InstallShield", "version information and an overlay")
	case p.end-p.overlay > 64 && p.installShieldFiles():
		all = found(all, "InstallShield", "list of files in the overlay")
	}
	if strings.Contains(text, "built with Inno Setup") && !inno { // its compiler only names itself
		all = found(all, "Inno Setup", "version information")
	}
	if p.has(".WISE") || strings.Contains(text, "Wise Installation") || bytes.Contains(over, []byte("WiseMain")) {
		all = found(all, "Wise Installer", "section, version information or overlay")
	}
	if strings.Contains(text, "Setup Factory") {
		all = found(all, "Setup Factory", "version information")
	}
	if len(over) > 0 && nsis < 4 {
		configured := bytes.HasPrefix(over, []byte(";!@Install@!UTF-8!")) || bytes.HasPrefix(over, []byte("\xEF\xBB\xBF;!@Install@!UTF-8!"))
		switch {
		case bytes.HasPrefix(over, []byte("7z\xBC\xAF\x27\x1C")) || configured:
			name, evidence := "7-Zip SFX", "7z archive in the overlay"
			if configured {
				evidence = "configuration of 7-Zip SFX in the overlay"
			}
			all = found(all, name, evidence)
		case bytes.HasPrefix(over, []byte("Rar!\x1A\x07")):
			all = found(all, "WinRAR SFX", "RAR archive in the overlay")
		case bytes.HasPrefix(over, []byte("MSCF\x00\x00\x00\x00")) && !strings.Contains(text, "InstallShield"):
			all = found(all, "Cabinet SFX", "cabinet in the overlay")
		case bytes.HasPrefix(over, []byte("PK\x03\x04")) && !isNamed(all, "PyInstaller"):
			all = found(all, "ZIP SFX", "ZIP archive in the overlay")
		}
	}
	return all
}

func isNamed(all []finding, prefix string) bool {
	for _, f := range all {
		if strings.HasPrefix(f.name, prefix) {
			return true
		}
	}
	return false
}

// installShieldFiles reports whether the overlay begins as that of InstallShield's single-file setups: name, path, version and size of a file,
// each as text with NUL behind it.
func (p *pe) installShieldFiles() bool {
	f := bytes.SplitN(p.in.at(p.overlay, min(1024, p.end-p.overlay)), []byte{0}, 5)
	if len(f) < 5 || len(f[0]) == 0 || len(f[3]) == 0 || len(f[3]) > 10 {
		return false
	}
	n, err := strconv.ParseInt(string(f[3]), 10, 64)
	return err == nil && n > 0 && n <= p.end-p.overlay && bytes.HasSuffix(f[1], f[0]) && bytes.ContainsRune(f[1], '\\')
}

// looksPacked returns why a PE seems packed by something unknown: almost nothing is imported by name, and its code is as dense as compressed data
// and can be written to, or it starts in code that can be written to beside room without bytes that can be run. All must hold, for each alone is
// usual in honest programs.
func (p *pe) looksPacked() string {
	if rva, _ := p.dir(14); rva != 0 || p.imports > 12 {
		return ""
	}
	const execute, write = 0x20000000, 0x80000000
	room := ""
	for i := range p.sections {
		s := &p.sections[i]
		starts := p.entry >= s.va && p.entry-s.va < max(s.vsize, s.claimed)
		switch {
		case s.claimed == 0 && s.vsize >= 4096 && s.flags&(execute|write) == execute|write && !starts:
			room = clean(s.name)
		case starts && s.flags&write != 0 && room != "":
			return fmt.Sprintf("it starts in section %s, which can be written; section %s can be written and run and has no bytes; %d imports", clean(s.name), room, p.imports)
		}
		if s.flags&execute == 0 && !(p.entry >= s.va && p.entry-s.va < max(s.vsize, s.claimed)) || s.flags&write == 0 || s.size < 4096 || s.entropy < 7.2 {
			continue
		}
		return fmt.Sprintf("section %s can be written and run and has an entropy of %.2f; %d imports", clean(s.name), s.entropy, p.imports)
	}
	return ""
}

// upxMark is what UPX leaves before what it packed, and behind it.
const upxMark = "UPX!"

// upx tells UPX in formats that keep no sections: by its mark in the first bytes behind the headers or at the end, else by the text that its
// loader carries and the code at the entry point, for the mark is often changed so that nobody unpacks the file.
func upx(in *input, marked, entry string) []finding {
	if marked == "" && entry == "" {
		return nil
	}
	f := finding{name: "UPX", evidence: marked}
	if entry != "" {
		if f.evidence != "" {
			f.evidence += "; "
		}
		f.evidence += "entry point " + entry
	}
	if marked == "" {
		f.evidence += "; its mark UPX! is changed"
	}
	for off := int64(0); off < min(in.size, 64<<20); off += 1<<20 - 64 {
		if m := upxIdent.FindSubmatch(in.at(off, 1<<20)); m != nil {
			f.name += " " + string(m[1])
			f.evidence += "; $Id"
			break
		}
	}
	return []finding{f}
}

// elfPackers tells by what an ELF file was packed.
func elfPackers(e *elf) []finding {
	head, tail := e.in.at(0, 4096), e.in.at(max(0, e.in.size-4096), 4096)
	marked, entry := "", ""
	switch {
	case bytes.Contains(head[:min(len(head), 1024)], []byte(upxMark)):
		marked = "mark UPX! behind the program headers"
	case bytes.Contains(tail[max(0, len(tail)-64):], []byte(upxMark)) && len(e.sections) == 0:
		marked = "mark UPX! at the end"
	}
	for i := range elfPatterns[e.machine] {
		if p, code := &elfPatterns[e.machine][i], e.memory(e.entry, 64); p.match(code) {
			entry = hexHead(code, len(p.bytes))
			break
		}
	}
	all := upx(e.in, marked, entry)
	for _, f := range bundles(e.in, e.end, e.in.size) {
		all = found(all, f.name, f.evidence)
	}
	if s := e.named("pydata"); s != nil {
		if v := pyInstaller(e.in.at(max(s.off, s.off+s.size-4096), 4096)); v != "" {
			all = found(all, v, "archive mark MEI in the section pydata")
		}
	}
	if e.seaNote() {
		all = found(all, "Node.js single executable", "note NODE_SEA_BLOB")
	}
	if e.bunInSegment() {
		all = found(all, "Bun executable", "mark ---- Bun! ---- at the end of the last segment")
	}
	if bytes.HasPrefix(e.in.at(e.end, 6), []byte("7z\xBC\xAF\x27\x1C")) {
		all = found(all, "7-Zip SFX", "7z archive in the overlay")
	}
	if i := bytes.Index(head, []byte("AI\x02")); i == 8 {
		all = found(all, "AppImage", "mark AI 2 in the header")
	}
	if len(all) == 0 && len(e.sections) == 0 && e.kind != 4 {
		for _, s := range e.segments {
			if s.kind == 1 && s.flags&1 != 0 && s.size >= 4096 {
				if h := e.in.entropy(s.off, min(s.size, 16<<20)); h >= 7.2 {
					all = append(all, finding{"packed (unknown)", fmt.Sprintf("no section headers, and the code has an entropy of %.2f", h)})
					break
				}
			}
		}
	}
	return all
}
