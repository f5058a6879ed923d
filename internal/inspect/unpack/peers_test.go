package unpack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// TestSevenZipMakes unpacks what 7-Zip packed, by each method, and compares with what went in.
func TestSevenZipMakes(t *testing.T) {
	dir := sources(t)
	want := tree(t, dir)
	for name, c := range map[string]struct {
		format filetype.Format
		args   []string
	}{
		"zip stored":      {filetype.Zip, []string{"-tzip", "-mm=Copy"}},
		"zip deflate":     {filetype.Zip, []string{"-tzip", "-mm=Deflate"}},
		"zip deflate64":   {filetype.Zip, []string{"-tzip", "-mm=Deflate64"}},
		"zip bzip2":       {filetype.Zip, []string{"-tzip", "-mm=BZip2"}},
		"zip lzma":        {filetype.Zip, []string{"-tzip", "-mm=LZMA"}},
		"zip xz":          {filetype.Zip, []string{"-tzip", "-mm=xz"}},
		"zip ppmd":        {filetype.Zip, []string{"-tzip", "-mm=PPMd"}},
		"zip crypto":      {filetype.Zip, []string{"-tzip", "-pinfected", "-mem=ZipCrypto"}},
		"zip aes128":      {filetype.Zip, []string{"-tzip", "-pinfected", "-mem=AES128"}},
		"zip aes256 lzma": {filetype.Zip, []string{"-tzip", "-pinfected", "-mem=AES256", "-mm=LZMA"}},
		"7z copy":         {filetype.SevenZip, []string{"-m0=Copy"}},
		"7z lzma":         {filetype.SevenZip, []string{"-m0=LZMA"}},
		"7z lzma lp":      {filetype.SevenZip, []string{"-m0=LZMA:lc=1:lp=2:pb=0:d=64k"}},
		"7z lzma2":        {filetype.SevenZip, []string{"-m0=LZMA2"}},
		"7z small":        {filetype.SevenZip, []string{"-m0=LZMA2:d=64k:c=1m", "-ms=off"}},
		"7z bcj":          {filetype.SevenZip, []string{"-m0=BCJ", "-m1=LZMA2"}},
		"7z bcj2":         {filetype.SevenZip, []string{"-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3"}},
		"7z arm":          {filetype.SevenZip, []string{"-m0=ARM", "-m1=LZMA2"}},
		"7z armt":         {filetype.SevenZip, []string{"-m0=ARMT", "-m1=LZMA2"}},
		"7z arm64":        {filetype.SevenZip, []string{"-m0=ARM64", "-m1=LZMA2"}},
		"7z ppc":          {filetype.SevenZip, []string{"-m0=PPC", "-m1=LZMA2"}},
		"7z ia64":         {filetype.SevenZip, []string{"-m0=IA64", "-m1=LZMA2"}},
		"7z sparc":        {filetype.SevenZip, []string{"-m0=SPARC", "-m1=LZMA2"}},
		"7z delta":        {filetype.SevenZip, []string{"-m0=Delta:4", "-m1=LZMA2"}},
		"7z deflate":      {filetype.SevenZip, []string{"-m0=Deflate"}},
		"7z deflate64":    {filetype.SevenZip, []string{"-m0=Deflate64"}},
		"7z bzip2":        {filetype.SevenZip, []string{"-m0=BZip2"}},
		"7z ppmd":         {filetype.SevenZip, []string{"-m0=PPMd"}},
		"7z encrypted":    {filetype.SevenZip, []string{"-pinfected"}},
		"7z all":          {filetype.SevenZip, []string{"-pinfected", "-mhe=on"}},
		"7z plain header": {filetype.SevenZip, []string{"-mhc=off"}},
		"tar gnu":         {filetype.Tar, []string{"-ttar", "-mm=gnu"}},
		"tar pax":         {filetype.Tar, []string{"-ttar", "-mm=pax"}},
	} {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "a.bin")
			run(t, dir, "7z", append(append([]string{"a", "-bd", "-mx=9"}, c.args...), archive, ".")...)
			b, err := os.ReadFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, c.format, b, Options{Passwords: DefaultPasswords})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, sorted(got)); diff != "" {
				t.Errorf("members (-7z +ours):\n%s", diff)
			}
		})
	}
}
