package exe

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// programsOf returns the files of a format below folders; of each folder every nth.
func programsOf(t testing.TB, f filetype.Format, nth int, folders ...string) []string {
	t.Helper()
	var all []string
	for _, folder := range folders {
		n := 0
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			if info, err := entry.Info(); err != nil || info.Size() > 8<<20 {
				return err // enough smaller ones are there
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			info, err := file.Stat()
			if err != nil {
				return err
			}
			if filetype.Detect(file, info.Size()).Format == f {
				if n%nth == 0 {
					all = append(all, path)
				}
				n++
			}
			return nil
		})
		if err != nil {
			t.Skip(err)
		}
	}
	return all
}

// windowsPrograms are the PE files of Debian's packages and the shared data.
func windowsPrograms(t testing.TB) []string {
	t.Helper()
	var folders []string
	for _, p := range []string{"shim-signed_amd64", "shim-signed_arm64", "shim-signed_i386", "grub-efi-amd64-signed_amd64", "grub-efi-ia32-signed_i386", "fwupd-amd64-signed_amd64", "fwupd-arm64-signed_arm64"} {
		folders = append(folders, realdata.Sample(t, "signed", p))
	}
	for _, p := range []string{"systemd-boot-efi", "win32-loader", "python3-distlib", "libz-mingw-w64", "libgpg-error-mingw-w64-dev", "gcc-mingw-w64-i686-win32-runtime"} {
		folders = append(folders, realdata.Sample(t, p))
	}
	tool(t, "makensis", "nsis")
	folders = append(folders, "/usr/share/nsis", "/usr/share/clamav-testfiles", realdata.Path(t, "files"))
	if more := os.Getenv("SPOOR_SIGNED"); more != "" {
		folders = append(folders, more)
	}
	all := programsOf(t, filetype.PE, 1, folders...)
	// The assemblies of Mono, many of which are much alike.
	return append(all, programsOf(t, filetype.PE, 6, realdata.Sample(t, "mono-devel"))...)
}

// pefileScript prints what pefile says of each file that is named to it.
const pefileScript = `
import sys, json, hashlib, pefile
d = pefile.DIRECTORY_ENTRY
for path in sys.stdin:
    path = path.rstrip("\n")
    p = pefile.PE(path, fast_load=True)
    p.parse_data_directories([d["IMAGE_DIRECTORY_ENTRY_IMPORT"], d["IMAGE_DIRECTORY_ENTRY_RESOURCE"], d["IMAGE_DIRECTORY_ENTRY_DEBUG"]])
    rich = p.parse_rich_header()
    text = lambda b: b.decode("utf8", "replace")
    tables = [t.entries for i in getattr(p, "FileInfo", []) for s in i if hasattr(s, "StringTable") for t in s.StringTable]
    print(json.dumps({
        "imphash": p.get_imphash(),
        "richhash": hashlib.md5(rich["clear_data"]).hexdigest() if rich else "",
        "sections": [{"name": s.Name.rstrip(b"\0").hex(), "size": s.SizeOfRawData, "entropy": s.get_entropy()} for s in p.sections],
        "stamp": p.FILE_HEADER.TimeDateStamp,
        "repro": any(e.struct.Type == 16 for e in getattr(p, "DIRECTORY_ENTRY_DEBUG", [])),
        "strings": {text(k): text(v) for k, v in tables[0].items()} if tables else {},
        "overlay": p.get_overlay_data_start_offset() or 0,
        "symbols": [p.FILE_HEADER.PointerToSymbolTable, p.FILE_HEADER.NumberOfSymbols],
        "certificates": [p.OPTIONAL_HEADER.DATA_DIRECTORY[4].VirtualAddress, p.OPTIONAL_HEADER.DATA_DIRECTORY[4].Size] if len(p.OPTIONAL_HEADER.DATA_DIRECTORY) > 4 else [0, 0],
    }), flush=True)
`

type pefileSays struct {
	Imphash, Richhash string
	Sections          []struct {
		Name    string
		Size    int64
		Entropy float64
	}
	Stamp        int64
	Repro        bool
	Strings      map[string]string
	Overlay      int64
	Symbols      [2]int64
	Certificates [2]int64
}

var overlayText = regexp.MustCompile(`^(\d+) bytes at (\d+)`)

// TestAgainstPefile compares what we read of PE files with what Debian's python3-pefile reads. By hand the same was compared over 3,457 files,
// Wine, Mono, MinGW and what npm's packages ship: all equal but for what is allowed for below.
func TestAgainstPefile(t *testing.T) {
	if err := exec.Command("/usr/bin/python3", "-c", "import pefile").Run(); err != nil {
		t.Skip("Debian's python3-pefile is not installed")
	}
	paths := windowsPrograms(t)
	cmd := exec.Command("/usr/bin/python3", "-c", pefileScript)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n") + "\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	count := map[string]int{}
	for _, path := range paths {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			cmd.Wait()
			t.Fatalf("pefile stopped at %s: %v\n%s", path, err, errs.Bytes())
		}
		var want pefileSays
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := read(t, filetype.PE, b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		comparePefile(t, path, info, want, b, count)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("pefile: %v\n%s", err, errs.Bytes())
	}
	for what, least := range map[string]int{"files": 500, "imphash": 450, "richhash": 8, "sections": 2000, "compiled": 30, "strings": 1000, "overlay": 2} {
		if count[what] < least {
			t.Errorf("compared %d %s, %d at the least", count[what], what, least)
		}
	}
	t.Logf("compared: %v", count)
}

func comparePefile(t *testing.T, path string, info Info, want pefileSays, file []byte, count map[string]int) {
	t.Helper()
	size := int64(len(file))
	one := func(name string) string {
		v := info.values(name)
		if len(v) > 1 {
			t.Errorf("%s: %s %q", path, name, v)
		}
		return strings.Join(v, "")
	}
	same := func(name, got, want string) {
		if got != want {
			t.Errorf("%s: %s %q; pefile says %q", path, name, got, want)
		}
		if want != "" {
			count[name]++
		}
	}
	count["files"]++
	same("imphash", one("imphash"), want.Imphash)
	same("richhash", one("richhash"), want.Richhash)
	compiled := ""
	if at := time.Unix(want.Stamp, 0).UTC(); want.Stamp != 0 && want.Stamp != 1<<32-1 && !want.Repro && at.Year() >= 1985 {
		compiled = at.Format(time.RFC3339)
	}
	same("compiled", one("compiled"), compiled)
	for name, key := range map[string]string{"product": "ProductName", "company": "CompanyName", "description": "FileDescription", "original_name": "OriginalFilename"} {
		if got := one(name); got != clean(want.Strings[key]) {
			t.Errorf("%s: %s %q; pefile says %q", path, name, got, want.Strings[key])
		}
		count["strings"]++
	}
	if v := clean(want.Strings["FileVersion"]); v != "" { // else it is that of the fixed part
		same("version", one("version"), v)
	}
	var b strings.Builder
	entropy := regexp.MustCompile(` (\d+\.\d+)$`)
	parts := strings.Split(one("sections"), "; ")
	if len(parts) == len(want.Sections) {
		for i, s := range want.Sections {
			// Both round the same number, which may differ in its last digit.
			m := entropy.FindStringSubmatch(parts[i])
			h := -1.0
			if m != nil {
				h, _ = strconv.ParseFloat(m[1], 64)
			}
			raw, err := hex.DecodeString(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			name := clean(string(raw))
			if name == "" {
				name = "(no name)"
			}
			if d := h - s.Entropy; d > 0.0051 || d < -0.0051 || !strings.HasPrefix(parts[i], fmt.Sprintf("%s %d ", name, s.Size)) {
				fmt.Fprintf(&b, "%s; pefile says %s %d %.2f\n", parts[i], name, s.Size, s.Entropy)
			}
			count["sections"]++
		}
	} else {
		fmt.Fprintf(&b, "%d; pefile says %d\n", len(parts), len(want.Sections))
	}
	if b.Len() > 0 {
		t.Errorf("%s: sections: %s", path, b.String())
	}

	// For pefile an overlay is all behind the sections. We leave out the table of symbols that GNU's linker puts there, the certificates, and
	// what pads them.
	at := int64(0)
	if m := overlayText.FindStringSubmatch(one("overlay")); m != nil {
		at, _ = strconv.ParseInt(m[2], 10, 64)
	}
	theirs, off, n := want.Overlay, want.Certificates[0], want.Certificates[1]
	if theirs != 0 && n > 0 && off == theirs {
		if theirs = off + n; theirs > size-16 {
			theirs = 0
		}
	}
	switch {
	case at == theirs:
		if at != 0 {
			count["overlay"]++
		}
	case want.Symbols[1] > 0 && want.Symbols[0] >= want.Overlay && want.Symbols[0] < want.Overlay+512 && (at == 0 || at > want.Symbols[0]):
		count["overlay of symbols"]++
	case at == 0 && theirs < size && (size-theirs < minOverlay || len(bytes.Trim(file[theirs:], "\x00")) == 0): // padding is no overlay to us
	case filepath.Base(path) == "clam.exe" && at == 0: // its only section claims bytes that lie within the headers
	default:
		t.Errorf("%s: overlay at %d; pefile says %d", path, at, theirs)
	}
}

var calculated = regexp.MustCompile(`Calculated message digest *: *([0-9A-F]{64})\b`)

// TestAuthentihash compares it with what osslsigncode computes anew for each signature. That a signature holds the same is signature's test.
func TestAuthentihash(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	compared := 0
	for _, path := range windowsPrograms(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p := &pe{in: &input{r: bytes.NewReader(b), size: int64(len(b))}}
		if p.header() != nil {
			continue
		}
		if _, n := p.certificates(); n == 0 {
			continue
		}
		out, _ := exec.Command(osslsigncode, "verify", path).CombinedOutput() // fails for want of a root
		for _, m := range calculated.FindAllSubmatch(out, -1) {
			compared++
			if got := p.authentihash(); !strings.EqualFold(got, string(m[1])) {
				t.Errorf("%s: %s; osslsigncode says %s", path, got, m[1])
			}
		}
	}
	if compared < 5 {
		t.Errorf("compared %d", compared)
	}
	t.Logf("compared %d", compared)
}

var monodisModule = regexp.MustCompile(`(?m)^1: (.*) \d+ \{([0-9A-F-]{36})\}`)

// TestAgainstMonodis compares name and MVID of .NET modules with what Mono's disassembler says.
func TestAgainstMonodis(t *testing.T) {
	monodis := tool(t, "monodis", "mono-utils")
	paths := programsOf(t, filetype.PE, 60, realdata.Sample(t, "mono-devel"))
	paths = append(paths, realdata.Path(t, "files", "relic-functest", "ClassLibrary1.dll"))
	compared := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := read(t, filetype.PE, b)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(monodis, "--module", path).Output()
		if err != nil {
			continue // what it cannot load
		}
		m := monodisModule.FindSubmatch(out)
		if m == nil {
			continue
		}
		compared++
		want := fmt.Sprintf(", module %s, MVID %s", m[1], strings.ToLower(string(m[2])))
		if got := strings.Join(info.values("runtime"), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: %q; monodis says %q", path, got, want)
		}
	}
	if compared < 20 {
		t.Errorf("compared %d", compared)
	}
	t.Logf("compared %d", compared)
}

// A line of readelf -SW: the name, what kind it is, address, offset and size.
var readelfSection = regexp.MustCompile(`^\s*\[ *\d+\] (.*?) +([A-Z][A-Z0-9_]+|[0-9a-fx]+: <unknown>|LOOS\+\S+|LOPROC\+\S+) +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) `)

// TestAgainstReadelf compares names and sizes of sections with what readelf says of programs, libraries and objects.
func TestAgainstReadelf(t *testing.T) {
	readelf := tool(t, "readelf", "binutils")
	libraries, err := filepath.Glob("/usr/lib/*/*.[oa]")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := filepath.Glob("/usr/lib/*/lib[a-g]*.so.*")
	if err != nil {
		t.Fatal(err)
	}
	paths := programsOf(t, filetype.ELF, 6, append(append(libraries, shared...), "/usr/bin")...)
	compared, sections := 0, 0
	for len(paths) > 0 {
		some := paths[:min(len(paths), 50)]
		paths = paths[len(some):]
		out, err := exec.Command(readelf, append([]string{"-SW"}, some...)...).Output()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(out), "\nFile: ") {
			part = strings.TrimPrefix(part, "File: ")
			path, rest, ok := strings.Cut(part, "\n")
			if !ok || !filepath.IsAbs(path) {
				continue
			}
			var want []string
			for line := range strings.Lines(rest) {
				if m := readelfSection.FindStringSubmatch(line); m != nil && m[2] != "NULL" {
					size, err := strconv.ParseInt(m[3], 16, 64)
					if err != nil {
						t.Fatal(err)
					}
					if m[2] == "NOBITS" {
						size = 0 // it has no bytes in the file
					}
					name := strings.TrimSpace(m[1])
					if name == "" {
						name = "(no name)"
					}
					want = append(want, fmt.Sprint(name, " ", size))
				}
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := read(t, filetype.ELF, b)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			told := strings.Join(info.values("sections"), "")
			if strings.Contains(told, "; and ") {
				continue // more than are told
			}
			var got []string
			for s := range strings.SplitSeq(told, "; ") {
				if f := strings.Fields(s); len(f) > 1 {
					got = append(got, f[0]+" "+f[1])
				}
			}
			if strings.HasPrefix(told, "(no name)") {
				continue
			}
			if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
				t.Errorf("%s: %s", path, d)
			}
			compared++
			sections += len(want)
		}
	}
	if compared < 100 {
		t.Errorf("compared %d files", compared)
	}
	t.Logf("compared %d sections of %d files", sections, compared)
}
