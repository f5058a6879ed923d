package exe

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
	"spoor/internal/realdata"
)

func read(t testing.TB, f filetype.Format, b []byte) (Info, error) {
	t.Helper()
	return Read(f, bytes.NewReader(b), int64(len(b)))
}

// values returns what an Info says under an attribute or algorithm.
func (i Info) values(name string) []string {
	var all []string
	for _, f := range i.Facts {
		switch f := f.(type) {
		case intel.Attribute:
			if string(f.Name) == name {
				all = append(all, f.Value)
			}
		case intel.FuzzyHash:
			if string(f.Algorithm) == name {
				all = append(all, f.Value)
			}
		}
	}
	return all
}

func sum(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }

func utf16z(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func pad4(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// node is a node of a version resource.
func node(key string, value []byte, text bool, children ...[]byte) []byte {
	b := make([]byte, 6)
	b = pad4(append(b, utf16z(key)...))
	n := len(value)
	if text {
		n /= 2
		le.PutUint16(b[4:], 1)
	}
	b = append(b, value...)
	for _, c := range children {
		b = append(pad4(b), c...)
	}
	le.PutUint16(b, uint16(len(b)))
	le.PutUint16(b[2:], uint16(n))
	return b
}

// image is a PE that a test makes: one section of code, one with imports and resources.
type image struct {
	plus      bool
	libraries []string // "KERNEL32.dll:ExitProcess,#17"
	resources map[int][]byte
	sections  [2]string
	code      []byte
	flags     uint32 // of the first section
	rich      []byte // in the clear, from DanS on
	overlay   []byte
	certs     []byte
}

func (m image) bytes() []byte {
	const codeAt, dataAt = 0x1000, 0x100000
	code := append(slices.Clone(m.code), make([]byte, -len(m.code)&511)...)
	if len(code) == 0 {
		code = make([]byte, 512)
	}
	width := 4
	if m.plus {
		width = 8
	}
	// The data: descriptors, tables, names; then resources.
	data := make([]byte, 20*(len(m.libraries)+1))
	thunk := func(v uint64) {
		if m.plus {
			data = le.AppendUint64(data, v)
		} else {
			data = le.AppendUint32(data, uint32(v))
		}
	}
	for i, l := range m.libraries {
		name, functions, _ := strings.Cut(l, ":")
		le.PutUint32(data[20*i+12:], uint32(dataAt+len(data)))
		data = append(data, name+"\x00"...)
		var at []uint64
		for f := range strings.SplitSeq(functions, ",") {
			if number, ok := strings.CutPrefix(f, "#"); ok {
				var n uint64
				fmt.Sscan(number, &n)
				if m.plus {
					n |= 1 << 63
				} else {
					n |= 1 << 31
				}
				at = append(at, n)
				continue
			}
			at = append(at, uint64(dataAt+len(data)))
			data = append(data, "\x00\x00"+f+"\x00"...)
		}
		data = append(data, make([]byte, -len(data)&(width-1))...)
		le.PutUint32(data[20*i:], uint32(dataAt+len(data)))
		le.PutUint32(data[20*i+16:], uint32(dataAt+len(data)))
		for _, v := range at {
			thunk(v)
		}
		thunk(0)
	}
	data = pad4(data)
	root := len(data)
	var kinds []int
	for k := range m.resources {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	dir := func(n int) []byte { b := make([]byte, 16+8*n); le.PutUint16(b[14:], uint16(n)); return b }
	tree := dir(len(kinds))
	for i, k := range kinds {
		le.PutUint32(tree[16+8*i:], uint32(k))
		le.PutUint32(tree[20+8*i:], uint32(len(tree))|1<<31)
		names := dir(1)
		le.PutUint32(names[16:], 1)
		le.PutUint32(names[20:], uint32(len(tree)+24)|1<<31)
		languages := dir(1)
		le.PutUint32(languages[16:], 0x409)
		le.PutUint32(languages[20:], uint32(len(tree)+48))
		leaf := make([]byte, 16)
		tree = slices.Concat(tree, names, languages, leaf)
		le.PutUint32(tree[len(tree)-16:], uint32(dataAt+root+len(tree)))
		le.PutUint32(tree[len(tree)-12:], uint32(len(m.resources[k])))
		tree = pad4(append(tree, m.resources[k]...))
	}
	data = append(data, tree...)
	data = append(data, make([]byte, -len(data)&511)...)

	h := make([]byte, 0x400)
	copy(h, "MZ")
	head := 0x80
	if m.rich != nil {
		key := []byte{0x11, 0x22, 0x33, 0x44}
		for i, c := range m.rich {
			h[0x80+i] = c ^ key[i%4]
		}
		copy(h[0x80+len(m.rich):], "Rich")
		copy(h[0x84+len(m.rich):], key)
		head = 0x100
	}
	le.PutUint32(h[0x3C:], uint32(head))
	copy(h[head:], "PE\x00\x00")
	le.PutUint16(h[head+4:], 0x14C)
	le.PutUint16(h[head+6:], 2)
	le.PutUint32(h[head+8:], 1_600_000_000)
	o := h[head+24:]
	dirs := 96
	le.PutUint16(o, 0x10B)
	if m.plus {
		dirs = 112
		le.PutUint16(o, 0x20B)
		le.PutUint16(h[head+4:], 0x8664)
	}
	le.PutUint16(h[head+20:], uint16(dirs+128))
	le.PutUint32(o[16:], codeAt)
	le.PutUint32(o[60:], 0x400)
	le.PutUint32(o[dirs-4:], 16)
	if len(m.libraries) > 0 {
		le.PutUint32(o[dirs+8:], dataAt)
		le.PutUint32(o[dirs+12:], uint32(root))
	}
	if len(kinds) > 0 {
		le.PutUint32(o[dirs+16:], uint32(dataAt+root))
		le.PutUint32(o[dirs+20:], uint32(len(tree)))
	}
	if m.certs != nil {
		le.PutUint32(o[dirs+32:], uint32(0x400+len(code)+len(data)+len(m.overlay)))
		le.PutUint32(o[dirs+36:], uint32(len(m.certs)))
	}
	for i, s := range []struct {
		va    uint32
		data  []byte
		off   int
		flags uint32
	}{{codeAt, code, 0x400, m.flags | 0x60000020}, {dataAt, data, 0x400 + len(code), 0x40000040}} {
		b := o[dirs+128+40*i:]
		copy(b[:8], m.sections[i])
		le.PutUint32(b[8:], uint32(len(s.data)))
		le.PutUint32(b[12:], s.va)
		le.PutUint32(b[16:], uint32(len(s.data)))
		le.PutUint32(b[20:], uint32(s.off))
		le.PutUint32(b[36:], s.flags)
	}
	return slices.Concat(h, code, data, m.overlay, m.certs)
}

func sample() image {
	icon := "these are the bytes of an icon"
	group := make([]byte, 6+14)
	le.PutUint16(group[4:], 1)
	le.PutUint16(group[6+12:], 1)
	strs := node("040904B0", nil, true,
		node("ProductName", utf16z("Spoor Test"), true), node("CompanyName", utf16z("Nobody & Söhne"), true),
		node("FileDescription", utf16z("a file for a test"), true), node("FileVersion", utf16z("1.2.3"), true), node("OriginalFilename", utf16z("test.exe"), true))
	return image{
		sections:  [2]string{".text", ".rdata"},
		libraries: []string{"KERNEL32.dll:ExitProcess,LoadLibraryA", "WS2_32.dll:#115,#999", "other.ocx:#5"},
		resources: map[int][]byte{3: []byte(icon), 10: []byte("7z\xBC\xAF\x27\x1C and more bytes of it"), 14: group, 16: node("VS_VERSION_INFO", nil, false, node("StringFileInfo", nil, true, strs))},
		rich:      append([]byte("DanS\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1, 0, 2, 0, 3, 0, 0, 0),
		overlay:   []byte("PK\x05\x06" + strings.Repeat("\x00", 18+10)),
	}
}

func TestPE(t *testing.T) {
	for _, plus := range []bool{false, true} {
		m := sample()
		m.plus = plus
		b := m.bytes()
		info, err := read(t, filetype.PE, b)
		if err != nil {
			t.Fatal(err)
		}
		dirs := 0x100 + 24 + 96
		if plus {
			dirs += 16
		}
		h := sha256.Sum256(slices.Concat(b[:0x100+24+64], b[0x100+24+68:dirs+32], b[dirs+40:]))
		for name, want := range map[string][]string{
			"imphash":       {sum("kernel32.exitprocess,kernel32.loadlibrarya,ws2_32.wsastartup,ws2_32.ord999,other.ord5")},
			"richhash":      {sum(string(m.rich))},
			"authentihash":  {hex.EncodeToString(h[:])},
			"iconhash":      {sum("these are the bytes of an icon")},
			"compiled":      {"2020-09-13T12:26:40Z"},
			"product":       {"Spoor Test"},
			"company":       {"Nobody & Söhne"},
			"description":   {"a file for a test"},
			"version":       {"1.2.3"},
			"original_name": {"test.exe"},
			"packer":        nil,
			"overlay":       {fmt.Sprintf("32 bytes at %d: ZIP archive", len(b)-32)},
		} {
			if d := cmp.Diff(want, info.values(name)); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
		if s := info.values("sections"); len(s) != 1 || !strings.HasPrefix(s[0], ".text 512 0.00; .rdata ") {
			t.Errorf("sections %q", s)
		}
		var paths []string
		for _, e := range info.Embedded {
			paths = append(paths, e.Path)
			if e.Path == "overlay" && (e.Offset != int64(len(b)-32) || e.Size != 32) {
				t.Errorf("overlay at %d, %d", e.Offset, e.Size)
			}
			if e.Path == "resource RCDATA/1" && string(b[e.Offset:e.Offset+2]) != "7z" {
				t.Errorf("resource at %d", e.Offset)
			}
		}
		if d := cmp.Diff([]string{"resource RCDATA/1", "overlay"}, paths); d != "" {
			t.Error(d)
		}
	}
}

// The certificate table is no overlay, and no part of the authentihash.
func TestPECertificates(t *testing.T) {
	m := sample()
	m.overlay = nil
	plain, _ := read(t, filetype.PE, m.bytes())
	m.certs = []byte(strings.Repeat("certificate ", 20))
	signed, _ := read(t, filetype.PE, m.bytes())
	if d := cmp.Diff(plain.values("authentihash"), signed.values("authentihash")); d != "" {
		t.Error(d)
	}
	if v := signed.values("overlay"); v != nil {
		t.Error(v)
	}
}

// Where a file's alignment is below a sector, offsets count as they are: no bytes of the last section are an overlay.
func TestPEAlignment(t *testing.T) {
	for _, c := range []struct {
		alignment uint32
		want      []string
	}{{32, nil}, {512, []string{"32 bytes at 2560: text: ASCII"}}} {
		m := sample()
		m.overlay = nil
		b := m.bytes()
		b = append(b, []byte("and a part of the last section. ")...)
		head := int(le.Uint32(b[0x3C:]))
		le.PutUint32(b[head+24+36:], c.alignment)
		last := b[head+24+96+128+40:]
		le.PutUint32(last[20:], le.Uint32(last[20:])+32)
		info, err := read(t, filetype.PE, b)
		if d := cmp.Diff(c.want, info.values("overlay")); d != "" || err != nil {
			t.Errorf("alignment %d: %v, %s", c.alignment, err, d)
		}
	}
}

func TestPackers(t *testing.T) {
	dense := make([]byte, 8192)
	rand.NewChaCha8([32]byte{1}).Read(dense)
	const writable = 0x80000000
	shield := node("VS_VERSION_INFO", nil, false, node("StringFileInfo", nil, true, node("040904B0", nil, true, node("ProductName", utf16z("InstallShield"), true))))
	nsis := []byte("\x00\x00\x00\x00\xEF\xBE\xAD\xDENullsoftInst\x00\x00\x00\x00")
	for _, c := range []struct {
		name     string
		change   func(*image)
		want     string
		evidence string
	}{
		{"section names", func(m *image) { m.sections = [2]string{"UPX0", "UPX1"} }, "UPX", "section UPX0; section UPX1"},
		{"entry point", func(m *image) {
			m.code = []byte("\x87\x25\x10\x20\x30\x40\x61\x94\x55\xA4\xB6\x80\xFF\x13\x90")
		}, "FSG 2.0", "entry point 87 25"},
		{"NSIS", func(m *image) {
			m.overlay = nsis
			m.resources[24] = []byte("<description>Nullsoft Install System v3.08</description>")
		}, "NSIS 3.08", "overlay"},
		{"7-Zip", func(m *image) { m.overlay = []byte("7z\xBC\xAF\x27\x1C\x00\x04 and so on") }, "7-Zip SFX", "overlay"},
		{"WinRAR", func(m *image) { m.overlay = []byte("Rar!\x1A\x07\x01\x00 and so on") }, "WinRAR SFX", "overlay"},
		{"PyInstaller", func(m *image) {
			m.overlay = append([]byte("some archive"), "MEI\x0c\x0b\x0a\x0b\x0e\x00\x00\x01\x00\x00\x00\x00\x80\x00\x00\x00\x40\x00\x00\x01\x37python311.dll"...)
		}, "PyInstaller (Python 3.11)", "MEI"},
		{"Inno", func(m *image) {
			m.resources = map[int][]byte{10: append([]byte("rDlPtS\xCD\xE6\xD7\x7B\x0B\x2A"), make([]byte, 64)...)}
		}, "", ""}, // its number must be 11111
		{"dense, writable, few imports", func(m *image) { m.code, m.flags, m.sections[0] = dense, writable, "xyz" }, "packed (unknown)", "entropy of 7.9"},
		{"dense but not writable", func(m *image) { m.code = dense }, "", ""},
		{"writable but not dense", func(m *image) { m.code, m.flags = make([]byte, 8192), writable }, "", ""},
		{"InstallShield", func(m *image) { m.resources[16], m.overlay = shield, dense }, "InstallShield", "version information"},
		{"library of InstallShield", func(m *image) { m.resources[16], m.overlay = shield, []byte("[a line of text at the end]") }, "", ""},
		{"nothing", func(m *image) {}, "", ""},
	} {
		m := sample()
		m.overlay = nil
		c.change(&m)
		info, err := read(t, filetype.PE, m.bytes())
		if err != nil {
			t.Error(c.name, err)
		}
		got := strings.Join(info.values("packer"), " + ")
		if got != c.want || !strings.Contains(strings.Join(info.values("packer_evidence"), "\n"), c.evidence) {
			t.Errorf("%s: %q, %q; want %q", c.name, got, info.values("packer_evidence"), c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	p, refused := ParsePatterns([]byte("; comment\r\n[Some Packer 1.0 -> Somebody]\r\nsignature = 60 E8 ?? ?? ?? ?? 5D\r\nep_only = true\r\n\r\n[Longer]\nsignature = 60 E8 00 00 00 00 5D 8?\nep_only = true\n[Open]\nsignature = ?? 11 22 33 44\n[Bad]\nsignature = 60 ZZ\n[Short]\nsignature = 60 E8\n"))
	if d := cmp.Diff([]*intel.Refusal{{Line: 12, Reason: `Bad: "ZZ" is no byte`}, {Line: 14, Reason: "Short: 2 fixed bytes; at least 3"}}, refused); d != "" || p.Len() != 3 {
		t.Errorf("%d, %s", p.Len(), d)
	}
	// They come to a worker as JSON.
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	p = nil
	if err := json.Unmarshal(b, &p); err != nil || p.Len() != 3 {
		t.Fatalf("%v, %d", err, p.Len())
	}
	if _, refused := ParsePatterns([]byte("signature = 11 22 33\n" + strings.Repeat("[x]\nsignature = zz\n", 30))); len(refused) != maxRefused+1 || refused[0].Line != 1 || refused[maxRefused].Reason != "11 more signatures cannot be read" {
		t.Errorf("%v", refused)
	}
	for code, want := range map[string]string{
		"\x60\xE8\x01\x02\x03\x04\x5D": "Some Packer 1.0 -> Somebody", "\x60\xE8\x00\x00\x00\x00\x5D\x81": "Longer", "\x60\xE8\x00\x00\x00\x00\x5D\x91": "Some Packer 1.0 -> Somebody",
		"\x99\x11\x22\x33\x44": "Open", "\x60": "", "": "",
	} {
		if got := p.Match([]byte(code)); got != want {
			t.Errorf("% x: %q, want %q", code, got, want)
		}
	}
	m := sample()
	m.overlay, m.code = nil, []byte("\x60\xE8\x01\x02\x03\x04\x5D")
	image := m.bytes()
	info, _ := Options{Patterns: p}.Read(filetype.PE, bytes.NewReader(image), int64(len(image)))
	if d := cmp.Diff([]string{"Some Packer 1.0 -> Somebody"}, info.values("packer")); d != "" {
		t.Error(d)
	}
}

// The files of Debian's clamav-testfiles were packed by the real packers.
func TestRealPackers(t *testing.T) {
	const dir = "/usr/share/clamav-testfiles"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("Debian's clamav-testfiles is not installed")
	}
	for name, want := range map[string]string{
		"clam-upx.exe": "UPX 3.01", "clam-petite.exe": "Petite", "clam-mew.exe": "MEW 11", "clam-aspack.exe": "ASPack", "clam-nsis.exe": "NSIS 2.37", "clam-pespin.exe": "PESpin",
		"clam-wwpack.exe": "WWPack32", "clam-yc.exe": "UPX 3.01 + Yoda's Crypter", "clam-upack.exe": "Upack", "clam.ea05.exe": "UPX 3.00 + AutoIt 3.0 to 3.2", "clam.ea06.exe": "UPX 3.00 + AutoIt 3",
		"clam_ISmsi_int.exe": "InstallShield", "clam_IScab_ext.exe": "InstallShield",
		"clam_ISmsi_ext.exe": "InstallShield", "clam_IScab_int.exe": "InstallShield",
		"clam-fsg.exe": "", // what FSG would have packed lies in a section of an ordinary program, unpacked
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		info, err := read(t, filetype.PE, b)
		if got := strings.Join(info.values("packer"), " + "); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestRealPE(t *testing.T) {
	b, err := os.ReadFile(realdata.Path(t, "files", "relic-functest", "ClassLibrary1.dll"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := read(t, filetype.PE, b)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"imphash": "dae02f32a21e03ce65412f6e56942daa", "runtime": ".NET v4.0.30319, module ClassLibrary1.dll, MVID db40aef8-9f93-4921-b189-ea05d28509b5", "original_name": "ClassLibrary1.dll"} {
		if got := info.values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The test's own program was built by Go.
func TestOwnProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ELF only")
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, "PK\x05\x06"+strings.Repeat("\x00", 18)...)
	info, err := read(t, filetype.ELF, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.values("runtime"); len(got) == 0 || !strings.HasPrefix(got[0], "Go "+runtime.Version()) {
		t.Errorf("%q", got)
	}
	if got := info.values("overlay"); len(got) != 1 || got[0] != fmt.Sprintf("22 bytes at %d: ZIP archive", len(b)-22) {
		t.Errorf("%q", got)
	}
	if got := info.values("packer"); got != nil {
		t.Errorf("%q", got)
	}
}

// elf64 is a shared object of one symbol table.
func elf64(names ...string) []byte {
	text := []byte{0}
	table := make([]byte, 24)
	for i, n := range names {
		s := make([]byte, 24)
		le.PutUint32(s, uint32(len(text)))
		s[4] = 0x12 // a global function
		if i == 0 {
			s[4] = 0x11 // global data, which does not count
		}
		table = append(table, s...)
		text = append(text, n+"\x00"...)
	}
	b := make([]byte, 64)
	copy(b, "\x7FELF\x02\x01\x01")
	le.PutUint16(b[16:], 3)
	le.PutUint16(b[18:], 62)
	sections := [][3]uint64{{11, uint64(len(b)), uint64(len(table))}, {3, uint64(len(b) + len(table)), uint64(len(text))}}
	b = slices.Concat(b, table, text)
	le.PutUint64(b[40:], uint64(len(b)))
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 2)
	for _, s := range sections {
		h := make([]byte, 64)
		le.PutUint32(h[4:], uint32(s[0]))
		le.PutUint64(h[24:], s[1])
		le.PutUint64(h[32:], s[2])
		le.PutUint32(h[40:], 1)
		b = append(b, h...)
	}
	return b
}

func TestTelfhash(t *testing.T) {
	names := []string{"data"}
	for i := range 40 {
		names = append(names, fmt.Sprintf("Function%dName%d", i, i*i*7919))
	}
	first, err := read(t, filetype.ELF, elf64(names...))
	if err != nil {
		t.Fatal(err)
	}
	h := first.values("telfhash")
	if len(h) != 1 || len(h[0]) != 72 || !strings.HasPrefix(h[0], "t1") {
		t.Fatalf("%q", h)
	}
	// Order, letter case and names that are left out change nothing.
	slices.Reverse(names[1:])
	names[3] = strings.ToUpper(names[3])
	again, _ := read(t, filetype.ELF, elf64(append(names, "_init", "memcpy", "strlen", "puts", "open64")...))
	if d := cmp.Diff(h, again.values("telfhash")); d != "" {
		t.Error(d)
	}
	if other, _ := read(t, filetype.ELF, elf64("data", "f", "g")); other.values("telfhash") != nil {
		t.Errorf("%q of two short names", other.values("telfhash"))
	}
}

// macho64 is an object with external symbols, the last of which it defines itself.
func macho64(names ...string) []byte {
	text := []byte{0}
	var table []byte
	for i, n := range names {
		s := make([]byte, 16)
		le.PutUint32(s, uint32(len(text)))
		s[4] = 1
		if i == len(names)-1 {
			s[4] = 0x0F
		}
		table = append(table, s...)
		text = append(text, n+"\x00"...)
	}
	b := make([]byte, 32+24)
	copy(b, "\xCF\xFA\xED\xFE\x0C\x00\x00\x01")
	le.PutUint32(b[12:], 2)
	le.PutUint32(b[16:], 1)
	c := b[32:]
	le.PutUint32(c, 2)
	le.PutUint32(c[4:], 24)
	le.PutUint32(c[8:], uint32(len(b)))
	le.PutUint32(c[12:], uint32(len(names)))
	le.PutUint32(c[16:], uint32(len(b)+len(table)))
	le.PutUint32(c[20:], uint32(len(text)))
	return slices.Concat(b, table, text)
}

func TestMachO(t *testing.T) {
	thin := macho64("_printf", "_exit", "_printf", "_main")
	info, err := read(t, filetype.MachO, thin)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{sum("_exit,_printf")}, info.values("symhash")); d != "" {
		t.Error(d)
	}
	fat := make([]byte, 0x40)
	binary.BigEndian.PutUint32(fat, 0xCAFEBABE)
	binary.BigEndian.PutUint32(fat[4:], 1)
	binary.BigEndian.PutUint32(fat[8:], 0x0100000C)
	binary.BigEndian.PutUint32(fat[16:], 0x40)
	binary.BigEndian.PutUint32(fat[20:], uint32(len(thin)))
	info, err = read(t, filetype.MachO, append(fat, thin...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Embedded{{"slice arm64", 0x40, int64(len(thin))}}, info.Embedded); d != "" {
		t.Error(d)
	}
}

func FuzzRead(f *testing.F) {
	for _, plus := range []bool{false, true} {
		m := sample()
		m.plus, m.certs = plus, make([]byte, 64)
		f.Add(byte(0), m.bytes())
	}
	f.Add(byte(1), elf64("data", "some_function", "another_function"))
	f.Add(byte(1), append(elf64("data"), goMark+"\x08\x02go1.22.0"...))
	f.Add(byte(2), macho64("_printf", "_main"))
	f.Add(byte(2), []byte("\xCA\xFE\xBA\xBE\x00\x00\x00\x01\x01\x00\x00\x0C\x00\x00\x00\x00\x00\x00\x00\x1C\x00\x00\x00\x10\x00\x00\x00\x0C1234567890123456"))
	formats := []filetype.Format{filetype.PE, filetype.ELF, filetype.MachO}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		info, _ := read(t, formats[int(k)%3], b)
		for _, fact := range info.Facts {
			if a, ok := fact.(intel.Attribute); ok && (a.Value == "" || len(a.Value) > intel.MaxText) {
				t.Errorf("%q has %d bytes", a.Name, len(a.Value))
			}
		}
		for _, e := range info.Embedded {
			if e.Offset < 0 || e.Size <= 0 || e.Offset+e.Size > int64(len(b)) {
				t.Errorf("%+v of %d bytes", e, len(b))
			}
		}
	})
}

func FuzzPatterns(f *testing.F) {
	f.Add([]byte("[a]\nsignature = 60 E8 ?? 0? 11 22\n"), []byte("\x60\xE8\x00\x01\x11\x22"))
	f.Fuzz(func(t *testing.T, text, code []byte) {
		if p, _ := ParsePatterns(text); p.Len() == 0 && p.Match(code) != "" {
			t.Error("a match without signatures")
		}
	})
}
