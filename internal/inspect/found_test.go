package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// elfOf is a program of 64 bits: a header and one segment, which holds the code.
func elfOf(code string) []byte {
	le := binary.LittleEndian
	const head = 64 + 56
	b := make([]byte, head, head+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint32(b[64:], 1)
	le.PutUint64(b[64+32:], uint64(head+len(code)))
	return append(b, code...)
}

// peOf is a program of Windows with one section, and a certificate table behind what follows it.
func peOf(code, overlay, certificates string) []byte {
	le := binary.LittleEndian
	const head, entries = 0x40, 0x40 + 24 + 112
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], head)
	copy(b[head:], "PE\x00\x00")
	le.PutUint16(b[head+4:], 0x8664)
	le.PutUint16(b[head+6:], 1)
	le.PutUint16(b[head+20:], 112+16*8)
	le.PutUint16(b[head+24:], 0x20b)
	le.PutUint32(b[head+24+60:], 0x400)
	le.PutUint32(b[head+24+108:], 16)
	code += strings.Repeat("\x90", -len(code)&511)
	if certificates != "" {
		le.PutUint32(b[entries+4*8:], uint32(0x400+len(code)+len(overlay)))
		le.PutUint32(b[entries+4*8+4:], uint32(len(certificates)))
	}
	section := b[entries+16*8:]
	copy(section, ".text")
	le.PutUint32(section[8:], uint32(len(code)))
	le.PutUint32(section[12:], 0x1000)
	le.PutUint32(section[16:], uint32(len(code)))
	le.PutUint32(section[20:], 0x400)
	return append(append(append(b, code...), overlay...), certificates...)
}

// paths are those of the members, in order, under the paths of what holds them.
func paths(all []intel.Observation) []string {
	place := map[intel.Hash]string{}
	var out []string
	for _, o := range all {
		if r, ok := o.Fact.(intel.Relation); ok {
			path := r.To.Path
			if above := place[r.From.SHA256]; above != "" {
				path = above + " > " + path
			}
			if place[r.To.SHA256] == "" {
				place[r.To.SHA256] = path
			}
			out = append(out, path)
		}
	}
	return out
}

// TestPrograms holds what of a program or script is told as a member: archives wherever they begin, each once, and nothing else.
func TestPrograms(t *testing.T) {
	zip := string(zipOf(t, entry{"x.txt", []byte("content of x")}))
	zip2 := string(zipOf(t, entry{"y.txt", []byte("content of y")}))
	tar := string(tgz(t, entry{"z.txt", []byte("content of z")}))
	code := strings.Repeat("\x90\xe8code PK\x03\x04 MSCF\x00\x00\x00\x00 7z\xbc\xaf\x27\x1c", 100)
	script := "#!/bin/sh\n# unpacks itself\ntail -n +4 \"$0\" | tar xz\nexit 0\n"
	for name, c := range map[string]struct {
		in   []byte
		want []string
	}{
		"PE, overlay":                 {peOf(code, zip, ""), []string{"overlay", "overlay > x.txt"}},
		"PE, configuration before":    {peOf(code, ";!@Install@!UTF-8!\nTitle=\"x\"\n;!@InstallEnd@!"+zip, ""), []string{"overlay/archive.zip", "overlay/archive.zip > x.txt"}},
		"PE, two in the overlay":      {peOf(code, "data\x00\x01"+zip+"more\x00"+zip2, ""), []string{"overlay/archive.zip", "overlay/archive.zip > x.txt", "overlay/archive 2.zip", "overlay/archive 2.zip > y.txt"}},
		"PE, in a section":            {peOf(code+zip+code, "", ""), []string{"embedded/archive.zip", "embedded/archive.zip > x.txt"}},
		"PE, before a signature":      {peOf(code, "\x00\x01\x02"+zip, strings.Repeat("\x00certificate", 30)), []string{"overlay/archive.zip", "overlay/archive.zip > x.txt"}},
		"PE, behind a signature":      {append(peOf(code, "", strings.Repeat("\x00certificate", 30)), zip...), []string{"overlay", "overlay > x.txt"}},
		"PE, a signature alone":       {peOf(code, "", strings.Repeat("\x00certificate", 30)), nil},
		"PE, padding":                 {peOf(code, "\r\n", ""), nil},
		"PE, padding of zeros":        {peOf(code, strings.Repeat("\x00", 500), ""), nil},
		"PE, data":                    {peOf(code, strings.Repeat("data\x00\x01", 50), ""), nil},
		"ELF, overlay":                {append(elfOf(code), zip...), []string{"overlay", "overlay > x.txt"}},
		"ELF, later":                  {append(elfOf(code), "\x00\x01\x02"+zip...), []string{"overlay/archive.zip", "overlay/archive.zip > x.txt"}},
		"ELF, in a segment":           {elfOf(code + zip), []string{"embedded/archive.zip", "embedded/archive.zip > x.txt"}},
		"DOS":                         {append([]byte("MZ\x00\x01\x02\x00\x00\x00\x04\x00"+strings.Repeat("\x00", 54)+code), zip...), []string{"overlay/archive.zip", "overlay/archive.zip > x.txt"}},
		"script":                      {append([]byte(script), tar...), []string{"overlay/archive.gzip", "overlay/archive.gzip > archive", "overlay/archive.gzip > archive > z.txt"}},
		"script alone":                {[]byte(script), nil},
		"a zip in a zip in a program": {peOf(code, "\x00\x01"+string(zipOf(t, entry{"in.zip", []byte(zip)})), ""), []string{"overlay/archive.zip", "overlay/archive.zip > in.zip", "overlay/archive.zip > in.zip > x.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, all := look(t, c.in, "setup", nil)
			if d := cmp.Diff(c.want, paths(all)); d != "" {
				t.Error(d)
			}
			if notes := notesOf(all); len(notes) > 0 && !strings.Contains(name, "signature") {
				t.Errorf("notes: %q", notes)
			}
			overlay := false
			for _, o := range all {
				a, ok := o.Fact.(intel.Attribute)
				overlay = overlay || ok && a.Name == intel.Overlay
			}
			if strings.Contains(name, "padding") && overlay {
				t.Error("padding is told as an overlay")
			}
		})
	}
}

// made runs a tool in a folder with some files and returns what it made; the test is skipped, naming it, where it is not there.
func made(t *testing.T, result, tool string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("the tool is not there: %v", err)
	}
	dir := t.TempDir()
	files := map[string]string{"in/a.txt": strings.Repeat("text of a\n", 500), "in/b.bin": strings.Repeat("\x00\x01\x02", 5000)}
	files["x.nsi"] = "Name x\nOutFile setup.exe\nInstallDir $TEMP\\x\nSection\nSetOutPath $INSTDIR\nFile in\\a.txt\nFile in\\b.bin\nWriteUninstaller $INSTDIR\\remove.exe\nSectionEnd\nSection Uninstall\nSectionEnd\n"
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, result))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestInstallers looks at what tools make that bring their own program.
func TestInstallers(t *testing.T) {
	for name, c := range map[string]struct {
		in   func(*testing.T) []byte
		want []string
	}{
		"7-Zip SFX": {func(t *testing.T) []byte { return made(t, "out", "7z", "a", "-sfx", "out", "in") }, []string{"overlay", "overlay > in/a.txt", "overlay > in/b.bin"}},
		"makeself": {func(t *testing.T) []byte { return made(t, "out.run", "makeself", "in", "out.run", "label", "./a.txt") },
			[]string{"overlay/archive.gzip", "overlay/archive.gzip > archive", "overlay/archive.gzip > archive > a.txt", "overlay/archive.gzip > archive > b.bin"}},
		"makeself, xz": {func(t *testing.T) []byte {
			return made(t, "out.run", "makeself", "--xz", "in", "out.run", "label", "./a.txt")
		},
			[]string{"overlay/archive.xz", "overlay/archive.xz > archive", "overlay/archive.xz > archive > a.txt", "overlay/archive.xz > archive > b.bin"}},
		"NSIS":      {func(t *testing.T) []byte { return made(t, "setup.exe", "makensis", "-V1", "x.nsi") }, []string{"$INSTDIR/a.txt", "$INSTDIR/b.bin", "$INSTDIR/remove.exe"}},
		"NSIS, old": {func(t *testing.T) []byte { return file(t, "/usr/share/clamav-testfiles/clam-nsis.exe") }, []string{"$INSTDIR/clam.exe"}},
		"WinRAR SFX, 4": {func(t *testing.T) []byte {
			return realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", "test_read_format_rar_sfx.exe.uu"))
		}, []string{"overlay", "overlay > test.txt", "overlay > testdir/test.txt", "overlay > testshortcut.lnk"}},
		"WinRAR SFX, 5": {func(t *testing.T) []byte {
			return realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", "test_read_format_rar5_sfx.exe.uu"))
		}, []string{"overlay", "overlay > test.txt.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, all := look(t, c.in(t), "setup", nil)
			got := slices.DeleteFunc(paths(all), func(p string) bool { return strings.HasPrefix(p, "resource ") })
			slices.Sort(got)
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("not there: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestManyBeginnings holds that a program full of what begins like an archive is told with what it holds, and no more than so many.
func TestManyBeginnings(t *testing.T) {
	var overlay bytes.Buffer
	overlay.WriteString("\x00\x01\x02")
	for i := range 100 {
		overlay.Write(zipOf(t, entry{fmt.Sprint(i), []byte(fmt.Sprint("content ", i))}))
	}
	_, all := look(t, peOf("code", overlay.String(), ""), "setup", nil)
	if got := len(paths(all)); got != 2*32 {
		t.Errorf("%d members", got)
	}
}

// TestInstallerNames holds that the files in a cabinet of an MSI have the names that the MSI has for them, not the cabinet's.
func TestInstallerNames(t *testing.T) {
	b := file(t, realdata.Path(t, "files", "relic-functest", "dummy.msi"))
	_, all := look(t, b, "dummy.msi", nil)
	if !slices.Contains(paths(all), "product.cab > Program Files/dummy/ClassLibrary1.dll") {
		t.Errorf("members: %q", paths(all))
	}
}

// TestCarriers holds that whatever of Debian's clamav-testfiles carries clam.exe tells it as a member, or why not. The packed programs, which hold no
// file but themselves, are left out.
func TestCarriers(t *testing.T) {
	const dir = "/usr/share/clamav-testfiles"
	want := short(file(t, filepath.Join(dir, "clam.exe")))
	whole, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	notes := map[string][]string{
		"clam.sis":            {"not opened: no reader opens files of the type Symbian package"},
		"clam.ea05.exe":       {"not opened: no reader opens files of the type AutoIt compiled script", "a member has notes of its own: overlay"},
		"clam.ea06.exe":       {"not opened: no reader opens files of the type AutoIt compiled script", "a member has notes of its own: overlay"},
		"clam_cache_emax.tgz": {"not opened: what lies deeper than six generations is not looked at", "a member has notes of its own: clam03.tgz"},
	}
	carriers := 0
	for _, e := range whole {
		if e.Name() == "clam.exe" || strings.HasPrefix(e.Name(), "clam-") && e.Name() != "clam-nsis.exe" {
			continue
		}
		_, all := look(t, file(t, filepath.Join(dir, e.Name())), e.Name(), nil)
		if d := cmp.Diff(notes[e.Name()], notesOf(all)); d != "" {
			t.Errorf("%s: %s", e.Name(), d)
		}
		told := slices.ContainsFunc(members(all), func(m string) bool { return strings.HasSuffix(m, " "+want) })
		if _, why := notes[e.Name()]; told == why {
			t.Errorf("%s: a member %v, %q", e.Name(), told, members(all))
		}
		carriers++
	}
	if carriers < 30 {
		t.Errorf("only %d carriers", carriers)
	}
}
