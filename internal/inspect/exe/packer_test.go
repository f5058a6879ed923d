package exe

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// packersOf returns what a program is said to be packed by, and why.
func packersOf(t testing.TB, b []byte) (names, evidence string) {
	t.Helper()
	f := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format
	info, err := read(t, f, b)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(info.values("packer"), " + "), strings.Join(info.values("packer_evidence"), "\n")
}

func tool(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: Debian's package %s", name, debian)
	}
	return path
}

// installer makes a small installer by NSIS and returns its path.
func installer(t testing.TB, dir, target, compressor string) string {
	t.Helper()
	makensis := tool(t, "makensis", "nsis")
	name := filepath.Join(dir, strings.ReplaceAll(target+" "+compressor, "/", "")+".exe")
	script := filepath.Join(dir, "script.nsi")
	text := fmt.Sprintf("Target %s\nName t\nOutFile \"%s\"\nSetCompressor %s\nSection\nSetOutPath $TEMP\nFile %s\nSectionEnd\n", target, name, compressor, script)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(makensis, "-V1", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}

// UPX is told of each program and method, by its marks; and also when these are changed, as they are so that nobody unpacks the file.
func TestUPX(t *testing.T) {
	upx := realdata.Sample(t, "upx-ucl", "usr", "bin", "upx-ucl")
	version, err := exec.Command(upx, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	// "upx 4.2.2" calls itself 4.22 in what it packs.
	_, number, _ := strings.Cut(strings.SplitN(string(version), "\n", 2)[0], " ")
	major, minor, _ := strings.Cut(number, ".")
	want := "UPX " + major + "." + strings.ReplaceAll(minor, ".", "")

	dir := t.TempDir()
	for _, program := range []string{"/bin/ls", installer(t, dir, "x86-unicode", "zlib"), installer(t, dir, "amd64-unicode", "zlib")} {
		for _, method := range []string{"-1", "--best", "--lzma"} {
			packed := filepath.Join(dir, "packed")
			// NSIS's overlay is left out, so that the packed program is all there is.
			if out, err := exec.Command(upx, "-qqq", "-f", "--overlay=strip", method, "-o", packed, program).CombinedOutput(); err != nil {
				t.Fatalf("%s %s: %v: %s", method, program, err, out)
			}
			b, err := os.ReadFile(packed)
			if err != nil {
				t.Fatal(err)
			}
			os.Remove(packed)
			if got, why := packersOf(t, b); got != want || !strings.Contains(why, "entry point") {
				t.Errorf("%s %s: %q, %q; want %q", filepath.Base(program), method, got, why, want)
			}
			for _, change := range [][2]string{{"UPX!", "YTS\x99"}, {"UPX0", ".txt"}, {"UPX1", ".dat"}, {"$Id: UPX", "$Id: ZZZ"}} {
				b = bytes.ReplaceAll(b, []byte(change[0]), []byte(change[1]))
			}
			if got, why := packersOf(t, b); got != "UPX" {
				t.Errorf("%s %s with other marks: %q, %q; want UPX", filepath.Base(program), method, got, why)
			}
		}
	}
}

func TestInstallers(t *testing.T) {
	dir := t.TempDir()
	version, err := exec.Command(tool(t, "makensis", "nsis"), "-VERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "NSIS " + strings.TrimPrefix(strings.TrimSpace(string(version)), "v")
	for _, target := range []string{"x86-ansi", "x86-unicode", "amd64-unicode"} {
		for _, compressor := range []string{"zlib", "/SOLID zlib", "bzip2", "/SOLID lzma"} {
			b, err := os.ReadFile(installer(t, dir, target, compressor))
			if err != nil {
				t.Fatal(err)
			}
			if got, why := packersOf(t, b); got != want {
				t.Errorf("%s %s: %q, %q; want %q", target, compressor, got, why, want)
			}
		}
	}
}

func TestSelfExtractors(t *testing.T) {
	for _, name := range []string{"test_read_format_rar_sfx.exe.uu", "test_read_format_rar5_sfx.exe.uu"} {
		b := realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", name))
		if got, why := packersOf(t, b); got != "WinRAR SFX" {
			t.Errorf("%s: %q, %q", name, got, why)
		}
	}
	stub, err := os.ReadFile("/usr/lib/p7zip/7zCon.sfx")
	if err != nil {
		t.Skip("/usr/lib/p7zip/7zCon.sfx is not installed: Debian's package p7zip-full")
	}
	archive := filepath.Join(t.TempDir(), "a.7z")
	if out, err := exec.Command("7z", "a", "-bso0", archive, "packer_test.go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	body, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if got, why := packersOf(t, stub); got != "" {
		t.Errorf("without an archive: %q, %q", got, why)
	}
	if got, why := packersOf(t, slices.Concat(stub, body)); got != "7-Zip SFX" {
		t.Errorf("%q, %q", got, why)
	}
}

// Programs that are an interpreter and a script. Real ones of Bun, caxa and Node.js were compared when this was written; the rest is made
// after what their makers write.
func TestBundles(t *testing.T) {
	note := append(make([]byte, 0, 64), "\x0E\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00NODE_SEA_BLOB\x00\x00\x00blob"...)
	for _, c := range []struct {
		overlay string
		want    string
	}{
		{"module" + strings.Repeat("x", 400) + "<nexe~~sentinel>\x00\x00\x00\x00\x00\x00\x59\x40\x00\x00\x00\x00\x00\x00\x79\x40", "nexe (Node.js)"},
		{"payload(function(process, require, console, EXECPATH_FD, PAYLOAD_POSITION, PAYLOAD_SIZE) { return (function (REQUIRE_COMMON, VIRTUAL_FILESYSTEM, DEFAULT_ENTRYPOINT, SYMLINKS) {" + strings.Repeat(" ", 100<<10) + "\n})", "pkg (Node.js)"},
		{"modules\n---- Bun! ----\n\x01\x02\x03\x04\x05\x06\x07\x08", "Bun executable"},
		{"eszip d3n0l4nd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "Deno executable"},
		{"\nCAXACAXACAXA\n\x1F\x8B\x08 archive\n{\"identifier\":\"x\",\"command\":[\"a\"]}", "caxa (Node.js)"},
		{"some archive MEI\x0c\x0b\x0a\x0b\x0e\x00\x00\x01\x00\x00\x00\x00\x80\x00\x00\x00\x40\x00\x00\x01\x37python311.dll", "PyInstaller (Python 3.11)"},
		{"an archive, and no mark of any of them", ""},
	} {
		m := sample()
		m.overlay, m.resources = []byte(c.overlay), nil
		for kind, b := range map[string][]byte{"PE": m.bytes(), "ELF": append(elf64("data"), c.overlay...), "Mach-O": append(macho64("_main"), c.overlay...)} {
			if got, why := packersOf(t, b); got != c.want {
				t.Errorf("%s: %q, %q; want %q", kind, got, why, c.want)
			}
		}
	}
	// A note of its own is how Node.js finds its script in ELF.
	b := elf64("data")
	at := uint64(len(b))
	b = append(b, note...)
	segment := make([]byte, 56)
	le.PutUint32(segment, 4)
	le.PutUint64(segment[8:], at)
	le.PutUint64(segment[32:], uint64(len(note)))
	le.PutUint64(b[32:], uint64(len(b)))
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	if got, why := packersOf(t, append(b, segment...)); got != "Node.js single executable" {
		t.Errorf("%q, %q", got, why)
	}
}

// A program of Go is told also by its table of functions alone.
func TestGoTable(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "abcd\xF1\xFF\xFF\xFF\x00\x00\x01\x08": true, "abcd\xF0\xFF\xFF\xFF\x00\x00\x04\x04": true,
		"abc\xF1\xFF\xFF\xFF\x00\x00\x01\x08": false, "abcd\xF1\xFF\xFF\xFF\x00\x00\x01\x07": false, "\xF1\xFF\xFF\xFF\x00\x00\x00\x00\xFB\xFF\xFF\xFF\x00\x00\x01\x08": true,
		"\xF1\xFF\xFF\xFF\x00\x00": false,
	} {
		if got := goTable([]byte(in)); got != want {
			t.Errorf("% x: %v", in, got)
		}
	}
}

// Of what is packed by something unknown, compared by hand: all of 53 programs that UPX packed and whose marks and loader's beginning were changed.
func TestLooksPacked(t *testing.T) {
	const run, write = 0x20000000, 0x80000000
	p := pe{in: &input{r: bytes.NewReader(nil)}, entry: 0x3010, sections: []peSection{
		{name: ".room", va: 0x1000, vsize: 0x2000, flags: run | write},
		{name: ".code", va: 0x3000, vsize: 0x200, claimed: 0x200, size: 0x200, flags: run | write, entropy: 5},
	}}
	if d := cmp.Diff("it starts in section .code, which can be written; section .room can be written and run and has no bytes; 0 imports", p.looksPacked()); d != "" {
		t.Error(d)
	}
	p.imports = 40
	if got := p.looksPacked(); got != "" {
		t.Error(got)
	}
	p.imports, p.sections[0].flags = 0, write // usual: data that begins as zeros
	if got := p.looksPacked(); got != "" {
		t.Error(got)
	}
}
