package unpack

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// update makes the containers of testdata anew, with the tools that each format has.
var update = flag.Bool("update", false, "write testdata anew with the reference tools")

// made is a container that a reference tool makes of the sources, in whose folder its script runs. The archive goes to standard output.
type made struct {
	format filetype.Format
	tool   string
	script string
	want   func(map[string][]byte) []entry
}

func all(sources map[string][]byte) []entry {
	var out []entry
	for name, b := range sources {
		out = append(out, entry{Path: name, Size: int64(len(b)), SHA256: sum(b)})
	}
	return sorted(out)
}

// only is one source, as often as it was packed, under the path that the container gives it.
func only(name, as string, times int) func(map[string][]byte) []entry {
	return func(sources map[string][]byte) []entry {
		b := bytes.Repeat(sources[name], times)
		return []entry{{Path: as, Size: int64(len(b)), SHA256: sum(b)}}
	}
}

func seven(args string) string {
	return "7z a -bd -mx=1 -mmt=1 " + args + " ../x . >/dev/null; cat ../x*; rm ../x*"
}

func arj(args string) string {
	return "arj a -r " + args + " ../x.arj . >/dev/null; cat ../x.arj; rm ../x.arj"
}

func xar(compression string) string {
	return "bsdtar --format=xar --options xar:compression=" + compression + " -cf ../x " + names + "; cat ../x; rm ../x"
}

func squash(args string) string {
	return "mksquashfs . ../x.sq -quiet -no-progress -noappend -nopad -all-time 1 -mkfs-time 1 " + args + " >/dev/null; cat ../x.sq; rm ../x.sq"
}

// isoPlain is what an image without names of either kind holds of two sources.
func isoPlain(sources map[string][]byte) []entry {
	return sorted(append(only("code.exe", "CODE.EXE", 1)(sources), only("one", "ONE", 1)(sources)...))
}

const (
	iso       = "genisoimage -quiet -no-pad -input-charset utf-8 "
	isoNames  = "code.exe one"
	names     = "code.exe docs empty noise.bin one zeros"
	files     = `find . -type f | LC_ALL=C sort | sed 's|^\./||' | `
	holes     = "mkdir ../s; cp -r . ../s; rm ../s/zeros; truncate -s $(wc -c <zeros) ../s/zeros; cd ../s; tar cf - -S "
	cabNames  = "code.exe docs/text.txt docs/ümläut.txt empty noise.bin one zeros"
	longNamed = "a_very_long_name_of_a_member.o"
)

func makers() map[string]made {
	text := only("docs/text.txt", "", 1)
	ar := func(sources map[string][]byte) []entry {
		return sorted(append(only("noise.bin", longNamed, 1)(sources), only("one", "one", 1)(sources)...))
	}
	return map[string]made{
		"zip-stored":       {filetype.Zip, "7z", seven("-tzip -mm=Copy"), all},
		"zip-deflate":      {filetype.Zip, "7z", seven("-tzip -mm=Deflate"), all},
		"zip-deflate64":    {filetype.Zip, "7z", seven("-tzip -mm=Deflate64"), all},
		"zip-bzip2":        {filetype.Zip, "7z", seven("-tzip -mm=BZip2"), all},
		"zip-lzma":         {filetype.Zip, "7z", seven("-tzip -mm=LZMA"), all},
		"zip-xz":           {filetype.Zip, "7z", seven("-tzip -mm=xz"), all},
		"zip-ppmd":         {filetype.Zip, "7z", seven("-tzip -mm=PPMd -mmem=16m -mo=8"), all},
		"zip-ppmd-long":    {filetype.Zip, "7z", seven("-tzip -mm=PPMd -mmem=16m -mo=16"), all},
		"zip-crypto":       {filetype.Zip, "7z", seven("-tzip -pinfected -mem=ZipCrypto"), all},
		"zip-aes128":       {filetype.Zip, "7z", seven("-tzip -pinfected -mem=AES128"), all},
		"zip-aes256-lzma":  {filetype.Zip, "7z", seven("-tzip -pmalware -mem=AES256 -mm=LZMA"), all},
		"zip-infozip":      {filetype.Zip, "zip", "zip -qrX - .", all},
		"zip-infozip-enc":  {filetype.Zip, "zip", "zip -qrX -P virus - .", all},
		"zip-bsdtar":       {filetype.Zip, "bsdtar", "bsdtar --format=zip -cf - " + names, all},
		"7z-copy":          {filetype.SevenZip, "7z", seven("-m0=Copy"), all},
		"7z-lzma":          {filetype.SevenZip, "7z", seven("-m0=LZMA"), all},
		"7z-lzma-lp":       {filetype.SevenZip, "7z", seven("-m0=LZMA:lc=1:lp=2:pb=0:d=64k"), all},
		"7z-lzma2":         {filetype.SevenZip, "7z", seven("-m0=LZMA2"), all},
		"7z-not-solid":     {filetype.SevenZip, "7z", seven("-m0=LZMA2:d=64k:c=1m -ms=off"), all},
		"7z-bcj":           {filetype.SevenZip, "7z", seven("-m0=BCJ -m1=LZMA2"), all},
		"7z-bcj2":          {filetype.SevenZip, "7z", seven("-m0=BCJ2 -m1=LZMA -m2=LZMA -m3=LZMA -mb0:1 -mb0s1:2 -mb0s2:3"), all},
		"7z-arm":           {filetype.SevenZip, "7z", seven("-m0=ARM -m1=LZMA2"), all},
		"7z-armt":          {filetype.SevenZip, "7z", seven("-m0=ARMT -m1=LZMA2"), all},
		"7z-arm64":         {filetype.SevenZip, "7z", seven("-m0=ARM64 -m1=LZMA2"), all},
		"7z-ppc":           {filetype.SevenZip, "7z", seven("-m0=PPC -m1=LZMA2"), all},
		"7z-ia64":          {filetype.SevenZip, "7z", seven("-m0=IA64 -m1=LZMA2"), all},
		"7z-sparc":         {filetype.SevenZip, "7z", seven("-m0=SPARC -m1=LZMA2"), all},
		"7z-delta":         {filetype.SevenZip, "7z", seven("-m0=Delta:4 -m1=LZMA2"), all},
		"7z-deflate":       {filetype.SevenZip, "7z", seven("-m0=Deflate"), all},
		"7z-deflate64":     {filetype.SevenZip, "7z", seven("-m0=Deflate64"), all},
		"7z-bzip2":         {filetype.SevenZip, "7z", seven("-m0=BZip2"), all},
		"7z-ppmd":          {filetype.SevenZip, "7z", seven("-m0=PPMd:mem=16m:o=8"), all},
		"7z-encrypted":     {filetype.SevenZip, "7z", seven("-pinfected"), all},
		"7z-encrypted-all": {filetype.SevenZip, "7z", seven("-pmalware -mhe=on"), all},
		"7z-plain-header":  {filetype.SevenZip, "7z", seven("-mhc=off"), all},
		"7z-bsdtar":        {filetype.SevenZip, "bsdtar", "bsdtar --format=7zip -cf ../x " + names + "; cat ../x; rm ../x", all},
		"tar-v7":           {filetype.Tar, "tar", "tar cf - --format=v7 " + names, all},
		"tar-gnu-sparse":   {filetype.Tar, "tar", holes + names + "; rm -r ../s", all},
		"tar-pax-sparse":   {filetype.Tar, "tar", holes + "--format=posix " + names + "; rm -r ../s", all},
		"tar-bsd-pax":      {filetype.Tar, "bsdtar", "bsdtar cf - --format=pax " + names, all},
		"tar-7z":           {filetype.Tar, "7z", seven("-ttar -mm=pax"), all},
		"cpio-newc":        {filetype.CPIO, "cpio", files + "cpio -o --quiet -H newc", all},
		"cpio-crc":         {filetype.CPIO, "cpio", files + "cpio -o --quiet -H crc", all},
		"cpio-odc":         {filetype.CPIO, "cpio", files + "cpio -o --quiet -H odc", all},
		"cpio-bin":         {filetype.CPIO, "cpio", files + "cpio -o --quiet -H bin", all},
		"cpio-bsd":         {filetype.CPIO, "bsdtar", files + "bsdtar -c --format=newc -T - -f -", all},
		"ar-gnu":           {filetype.Ar, "ar", "cp noise.bin " + longNamed + "; ar rc ../x " + longNamed + " one; cat ../x; rm ../x " + longNamed, ar},
		"ar-bsd":           {filetype.Ar, "bsdtar", "cp noise.bin " + longNamed + "; bsdtar --format=arbsd -cf - " + longNamed + " one; rm " + longNamed, ar},
		"gzip":             {filetype.Gzip, "gzip", "gzip -c docs/text.txt", only("docs/text.txt", "text.txt", 1)},
		"gzip-utf8":        {filetype.Gzip, "gzip", "gzip -c docs/ümläut.txt", only("docs/ümläut.txt", "ümläut.txt", 1)},
		"gzip-two":         {filetype.Gzip, "gzip", "gzip -nc docs/text.txt; gzip -nc docs/text.txt; head -c 1000 /dev/zero", only("docs/text.txt", "", 2)},
		"bzip2":            {filetype.Bzip2, "bzip2", "bzip2 -c docs/text.txt; bzip2 -c docs/text.txt", only("docs/text.txt", "", 2)},
		"xz":               {filetype.XZ, "xz", "xz -c docs/text.txt; head -c 8 /dev/zero; xz -c docs/text.txt", only("docs/text.txt", "", 2)},
		"xz-crc32":         {filetype.XZ, "xz", "xz -0 -Ccrc32 -c docs/text.txt", text},
		"xz-sha256":        {filetype.XZ, "xz", "xz -9e -Csha256 -c docs/text.txt", text},
		"xz-unchecked":     {filetype.XZ, "xz", "xz -Cnone --block-size=1000 -c docs/text.txt", text},
		"xz-x86":           {filetype.XZ, "xz", "xz --x86 --delta=dist=3 --lzma2=lc=0,lp=2,pb=1,dict=4096 -c code.exe", only("code.exe", "", 1)},
		"xz-arm":           {filetype.XZ, "xz", "xz --arm=start=4096 --lzma2 -c code.exe", only("code.exe", "", 1)},
		"xz-noise":         {filetype.XZ, "xz", "xz -c noise.bin", only("noise.bin", "", 1)},
		"xz-empty":         {filetype.XZ, "xz", "xz -c empty", only("empty", "", 1)},
		"cab-mszip":        {filetype.Cab, "gcab", "gcab -c -z ../x.cab " + cabNames + "; cat ../x.cab; rm ../x.cab", all},
		"cab-stored":       {filetype.Cab, "gcab", "gcab -c ../x.cab " + cabNames + "; cat ../x.cab; rm ../x.cab", all},
		"arj-stored":       {filetype.ARJ, "arj", arj("-m0"), all},
		"arj-best":         {filetype.ARJ, "arj", arj("-m1"), all},
		"arj-fast":         {filetype.ARJ, "arj", arj("-m3"), all},
		"arj-fastest":      {filetype.ARJ, "arj", arj("-m4"), all},
		"arj-garbled":      {filetype.ARJ, "arj", arj("-ginfected"), all},
		"iso-plain":        {filetype.ISO, "genisoimage", iso + "-l " + isoNames, isoPlain},
		"iso-joliet":       {filetype.ISO, "genisoimage", iso + "-J .", all},
		"iso-rock":         {filetype.ISO, "genisoimage", iso + "-R .", all},
		"iso-both":         {filetype.ISO, "genisoimage", iso + "-J -R .", all},
		"xar":              {filetype.XAR, "bsdtar", xar("gzip"), all},
		"xar-bzip2":        {filetype.XAR, "bsdtar", xar("bzip2"), all},
		"xar-stored":       {filetype.XAR, "bsdtar", xar("none"), all},
		"xar-lzma":         {filetype.XAR, "bsdtar", xar("lzma"), all},
		"xar-xz":           {filetype.XAR, "bsdtar", xar("xz"), all},
		"squashfs-gzip":    {filetype.SquashFS, "mksquashfs", squash("-comp gzip"), all},
		"squashfs-xz":      {filetype.SquashFS, "mksquashfs", squash("-comp xz -Xbcj x86 -b 4096"), all},
		"squashfs-zstd":    {filetype.SquashFS, "mksquashfs", squash("-comp zstd"), all},
		"squashfs-lz4":     {filetype.SquashFS, "mksquashfs", squash("-comp lz4 -b 4096"), all},
		"squashfs-stored":  {filetype.SquashFS, "mksquashfs", squash("-noI -noD -noF -no-fragments -b 4096"), all},
		"lzma":             {filetype.LZMA, "xz", "xz --format=lzma -c docs/text.txt", text},
		"lzip":             {filetype.Lzip, "lzip", "lzip -c docs/text.txt; lzip -0 -c docs/text.txt", only("docs/text.txt", "", 2)},
		"zstd":             {filetype.Zstd, "zstd", "zstd -qc docs/text.txt; zstd -q19c docs/text.txt", only("docs/text.txt", "", 2)},
		"zstd-long":        {filetype.Zstd, "zstd", "zstd -q --long=26 -c docs/text.txt", text},
		"lz4":              {filetype.LZ4, "lz4", "lz4 -qc docs/text.txt; lz4 -qc -9 -BD docs/text.txt", only("docs/text.txt", "", 2)},
		"lz4-checked":      {filetype.LZ4, "lz4", "lz4 -qc -B4 -BX --content-size docs/text.txt", text},
		"lz4-legacy":       {filetype.LZ4, "lz4", "lz4 -qlc docs/text.txt", text},
		"lz4-noise":        {filetype.LZ4, "lz4", "lz4 -qc noise.bin", only("noise.bin", "", 1)},
		"zlib":             {filetype.Zlib, "zlib-flate", "zlib-flate -compress <docs/text.txt", text},
		"zlib-noise":       {filetype.Zlib, "zlib-flate", "zlib-flate -compress <noise.bin", only("noise.bin", "", 1)},
		"compress":         {filetype.Compress, "compress", "compress -cf docs/text.txt", text},
		"compress-noise":   {filetype.Compress, "compress", "compress -cf noise.bin", only("noise.bin", "", 1)},
		"compress-10":      {filetype.Compress, "compress", "compress -b 10 -cf docs/text.txt", text},
		"compress-12":      {filetype.Compress, "compress", "compress -b 12 -cf code.exe", only("code.exe", "", 1)},
	}
}

// make makes it of sources that lie in dir.
func (m made) make(t testing.TB, dir string) []byte {
	if _, err := exec.LookPath(m.tool); err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	cmd := exec.Command("bash", "-ec", "set -o pipefail; "+m.script)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", m.script, err, stderr.Bytes())
	}
	return out
}

// TestTools unpacks what each format's own tools pack of files that fill blocks, windows and dictionaries.
func TestTools(t *testing.T) {
	sources := sources(2)
	dir := write(t, sources)
	for name, m := range makers() {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, m.format, m.make(t, dir), Options{Passwords: DefaultPasswords})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(m.want(sources), sorted(got)); diff != "" {
				t.Errorf("members (-packed +unpacked):\n%s", diff)
			}
		})
	}
}

// TestMade unpacks the same containers of small files, as they are kept in testdata.
func TestMade(t *testing.T) {
	sources := sources(200)
	makers := makers()
	if *update {
		dir := filepath.Join(write(t, sources))
		for name, m := range makers {
			t.Run(name, func(t *testing.T) {
				if err := os.WriteFile(filepath.Join("testdata", name), m.make(t, dir), 0o644); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	for name, b := range testdata(t) {
		t.Run(name, func(t *testing.T) {
			m, ok := makers[name]
			if !ok {
				t.Fatalf("nothing makes %s", name)
			}
			got, err := list(t, m.format, b, Options{Passwords: DefaultPasswords})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(m.want(sources), sorted(got)); diff != "" {
				t.Errorf("members (-packed +unpacked):\n%s", diff)
			}
		})
	}
}

// testdata is what TestMade keeps, by name.
func testdata(t testing.TB) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, e := range entries {
		if e.IsDir() { // of the fuzzer
			continue
		}
		b, err := os.ReadFile(filepath.Join("testdata", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = b
	}
	return out
}

// TestCut cuts every container of testdata at many places: the members before are told, the rest is told as a problem, nothing fails otherwise.
func TestCut(t *testing.T) {
	letPanicsPass = true
	defer func() { letPanicsPass = false }()
	makers := makers()
	for name, b := range testdata(t) {
		m := makers[name]
		whole, _ := list(t, m.format, b, Options{})
		once := only("docs/text.txt", "", 1)(sources(200))[0] // the first of two streams
		known := map[string]bool{once.SHA256: true}
		for _, e := range whole {
			known[e.Path+e.SHA256] = true
		}
		for i := range 40 {
			cut := b[:len(b)*i/40]
			got, err := list(t, m.format, cut, Options{})
			problems := ""
			for _, e := range got {
				problems += e.Err
				if e.Err == "" && !known[e.Path+e.SHA256] && m.format != filetype.Compress {
					t.Errorf("%s cut at %d: %v is whole there and was not in the whole container", name, len(cut), e)
				}
			}
			// A tar may end between members, and what compress(1) writes has no end at all.
			if err == nil && problems == "" && len(got) < len(whole) && m.format != filetype.Tar && m.format != filetype.Ar {
				t.Errorf("%s cut at %d: %d of %d members and no problem told", name, len(cut), len(got), len(whole))
			}
		}
	}
}

// TestClamAVTestFiles unpacks the files that ClamAV tests itself with, among them a zip that PKZIP 1 imploded. They all hold the same program.
func TestClamAVTestFiles(t *testing.T) {
	const dir = "/usr/share/clamav-testfiles"
	want, err := os.ReadFile(filepath.Join(dir, "clam.exe"))
	if err != nil {
		t.Skipf("Debian's clamav-testfiles is not there: %v", err)
	}
	for name, c := range map[string]struct {
		format filetype.Format
		path   string
	}{
		"clam.7z":          {filetype.SevenZip, "clam.exe"},
		"clam.zip":         {filetype.Zip, "clam.exe"},
		"clam.bz2.zip":     {filetype.Zip, "clam.exe"},
		"clam.d64.zip":     {filetype.Zip, "clam.exe"},
		"clam.impl.zip":    {filetype.Zip, "CLAM.EXE"},
		"clam.exe.bz2":     {filetype.Bzip2, ""},
		"clam.bin-be.cpio": {filetype.CPIO, "clam.exe"},
		"clam.bin-le.cpio": {filetype.CPIO, "clam.exe"},
		"clam.newc.cpio":   {filetype.CPIO, "clam.exe"},
		"clam.odc.cpio":    {filetype.CPIO, "clam.exe"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := list(t, c.format, b, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]entry{{Path: c.path, Size: int64(len(want)), SHA256: sum(want)}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestRPM compares a package that rpmbuild makes with what rpm2cpio finds in it.
func TestRPM(t *testing.T) {
	for _, tool := range []string{"rpmbuild", "rpm2cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the reference tool is not there: %v", err)
		}
	}
	for io, suffix := range map[string]string{"w9.gzdio": "gz", "w6.xzdio": "xz", "w9.bzdio": "bz2", "w3.zstdio": "zst", "w2.lzdio": "lzma"} {
		dir := write(t, sources(200))
		spec := "Name: made\nVersion: 1\nRelease: 2\nSummary: s\nLicense: none\nBuildArch: noarch\n%description\n%install\nmkdir -p %{buildroot}/usr/share\n" +
			"cp -r " + dir + "/* %{buildroot}/usr/share/\n%files\n/usr/share/*\n"
		top := t.TempDir()
		if err := os.WriteFile(filepath.Join(top, "made.spec"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_binary_payload "+io, "made.spec")
		path := filepath.Join(top, "RPMS", "noarch", "made-1-2.noarch.rpm")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := run(t, top, "rpm2cpio", path)
		var got []string
		for _, e := range unpackAll(t, filetype.RPM, b, "") {
			got = append(got, e.Path)
		}
		name := "made-1-2.noarch.cpio." + suffix
		if len(got) != 1 || got[0] != name {
			t.Errorf("%s: members %q, want %s", io, got, name)
			continue
		}
		payload := unpackAll(t, filetype.RPM, b, name)[0].data
		cpio := unpackAll(t, formatOf(name), payload, "")[0].data
		if !bytes.Equal(cpio, want) {
			t.Errorf("%s: the payload differs from rpm2cpio's", io)
		}
		members, err := list(t, filetype.CPIO, cpio, Options{})
		if err != nil || len(members) != len(sources(200)) {
			t.Errorf("%s: %d members, %v", io, len(members), err)
		}
	}
}

// whole is a member with its bytes.
type whole struct {
	Path string
	data []byte
}

func unpackAll(t testing.TB, f filetype.Format, b []byte, path string) []whole {
	t.Helper()
	var out []whole
	err := eachWhole(f, b, func(w whole) {
		if path == "" || w.Path == path {
			out = append(out, w)
		}
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: %d members, %v", f, len(out), err)
	}
	return out
}

// formatOf is the format that a member's suffix names.
func formatOf(path string) filetype.Format {
	return map[string]filetype.Format{
		"gz": filetype.Gzip, "tgz": filetype.Gzip, "xz": filetype.XZ, "bz2": filetype.Bzip2, "zst": filetype.Zstd, "lzma": filetype.LZMA, "tar": filetype.Tar,
		"cpio": filetype.CPIO, "deb": filetype.Deb, "rpm": filetype.RPM, "zip": filetype.Zip, "jar": filetype.Jar, "apk": filetype.APK,
		"appx": filetype.Appx, "vsix": filetype.Appx, "xap": filetype.Zip,
	}[path[strings.LastIndexByte(path, '.')+1:]]
}

func write(t testing.TB, sources map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "in")
	for name, b := range sources {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sources are files of several kinds, made without chance: text, noise, zeros, machine code, an empty one; 1/scale of what fills dictionaries.
func sources(scale int) map[string][]byte {
	noise := make([]byte, 40_000/scale+200)
	state := uint32(1)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	var text bytes.Buffer
	for i := range 20_000 / scale {
		fmt.Fprintf(&text, "line %d of the text, %x\n", i, noise[i%100:i%100+3])
	}
	var code []byte
	for i := range 20_000 / scale {
		code = append(code, noise[i%97], 0xe8, byte(i), byte(i>>8), 0, 0)
	}
	return map[string][]byte{
		"empty": {}, "one": []byte("1"), "docs/text.txt": text.Bytes(), "docs/ümläut.txt": []byte("named\n"), "noise.bin": noise,
		"zeros": make([]byte, 300_000/scale), "code.exe": code,
	}
}

// TestRealFiles compares real packages of signed software with what 7-Zip unpacks of them.
func TestRealFiles(t *testing.T) {
	dir := realdata.Path(t, "files", "relic-functest")
	for _, name := range []string{"App1_1.0.3.0_x64.appx", "VSIXProject1.vsix", "dummy.apk", "dummy.xap", "hello.jar"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		run(t, out, "7z", "x", "-bd", "-y", "-tzip", filepath.Join(dir, name))
		got, err := list(t, formatOf(name), b, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tree(t, out), sorted(got)); diff != "" {
			t.Errorf("%s (-7z +ours):\n%s", name, diff)
		}
	}
	deb := filepath.Join(dir, "zlib1g_1.2.8.dfsg-5_i386.deb")
	b, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	run(t, out, "dpkg-deb", "-R", deb, "root")
	var got []entry
	for _, m := range unpackAll(t, filetype.Deb, b, "") {
		kind, packed, _ := strings.Cut(m.Path, ".tar")
		if packed == "" { // debian-binary
			continue
		}
		members, err := list(t, filetype.Tar, unpackAll(t, formatOf(m.Path), m.data, "")[0].data, Options{})
		if err != nil {
			t.Error(err)
		}
		for _, e := range members {
			if kind == "control" {
				e.Path = "DEBIAN/" + e.Path
			}
			got = append(got, e)
		}
	}
	if diff := cmp.Diff(tree(t, filepath.Join(out, "root")), sorted(got)); diff != "" {
		t.Errorf("%s (-dpkg-deb +ours):\n%s", deb, diff)
	}
	rpm := filepath.Join(dir, "rocky-basesystem-11-13.el9.noarch.rpm")
	if b, err = os.ReadFile(rpm); err != nil {
		t.Fatal(err)
	}
	payload := unpackAll(t, filetype.RPM, b, "basesystem-11-13.el9.noarch.cpio.zst")[0]
	if cpio := unpackAll(t, formatOf(payload.Path), payload.data, "")[0].data; !bytes.Equal(cpio, run(t, out, "rpm2cpio", rpm)) {
		t.Error("the payload differs from rpm2cpio's")
	}
}

// tree lists the files below a folder, as a reference tool unpacked them.
func tree(t testing.TB, dir string) []entry {
	t.Helper()
	var out []entry
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out = append(out, entry{Path: filepath.ToSlash(rel), Size: int64(len(b)), SHA256: sum(b)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sorted(out)
}
