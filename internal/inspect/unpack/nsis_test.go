package unpack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// nsisScript is what Debian's makensis compiles: folders, a name of its own, a plugin, an uninstaller with a script of its own, and the same data twice.
const nsisScript = `Unicode %[1]t
Name "Test"
OutFile "setup.exe"
InstallDir "$PROGRAMFILES\Test"
SetCompressor %[2]s
Section "main"
SetOutPath "$INSTDIR"
File text.txt
File empty.txt
SetOutPath "$INSTDIR\sub folder"
File random.bin
File runs.bin
SetOutPath "$SYSDIR"
File /oname=renamed.txt text.txt
SetOutPath "$APPDATA\Test"
File zeros.bin
InitPluginsDir
File "/oname=$PLUGINSDIR\part.dat" small.txt
System::Call 'kernel32::GetTickCount()i.r0'
WriteUninstaller "$INSTDIR\remove.exe"
SectionEnd
Section "Uninstall"
Delete "$INSTDIR\text.txt"
nsExec::Exec 'x'
SectionEnd
`

// nsisSources are the files that the script packs.
func nsisSources(t testing.TB, dir string) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{9})
	random := make([]byte, 70_000)
	rng.Read(random)
	var runs []byte
	for i := range 2000 {
		runs = append(runs, bytes.Repeat([]byte{byte(i % 7)}, i%260)...)
	}
	for name, b := range map[string][]byte{"text.txt": bytes.Repeat([]byte("A line of text, and another one.\r\n"), 3000), "empty.txt": {}, "random.bin": random, "runs.bin": runs,
		"zeros.bin": make([]byte, 1<<20), "small.txt": []byte("small")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// nsisInstaller compiles the script.
func nsisInstaller(t testing.TB, unicode bool, compressor string) []byte {
	t.Helper()
	dir := t.TempDir()
	nsisSources(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "x.nsi"), fmt.Appendf(nil, nsisScript, unicode, compressor), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "makensis", "-V1", "x.nsi")
	b, err := os.ReadFile(filepath.Join(dir, "setup.exe"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNSIS compares installers of Debian's makensis with what 7-Zip extracts from them.
func TestNSIS(t *testing.T) {
	for _, compressor := range []string{"zlib", "bzip2", "lzma", "/SOLID zlib", "/SOLID bzip2", "/SOLID lzma"} {
		for _, unicode := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s unicode %t", compressor, unicode), func(t *testing.T) {
				b := nsisInstaller(t, unicode, compressor)
				got := map[string]string{}
				entries, err := list(t, filetype.NSIS, b, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Err != "" {
						t.Error(e.Err)
					}
					got[strings.TrimPrefix(e.Path, "$INSTDIR/")] = e.SHA256
				}
				if d := cmp.Diff(sevenZipExtracts(t, b), got); d != "" {
					t.Error(d)
				}
				if got["remove.exe"] == "" || got["$SYSDIR/renamed.txt"] == "" || got["$PLUGINSDIR/System.dll"] == "" {
					t.Errorf("a file lacks: %v", slices.Sorted(maps.Keys(got)))
				}
			})
		}
	}
}

// sevenZipExtracts are the files that 7-Zip extracts from an archive, by path.
func sevenZipExtracts(t testing.TB, b []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "setup.exe"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "7z", "x", "-y", "-oout", "setup.exe")
	out := map[string]string{}
	root := filepath.Join(dir, "out")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h := sha256.Sum256(b)
		name, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(name)] = hex.EncodeToString(h[:8])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var _ = binary.LittleEndian
