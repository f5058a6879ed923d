package unpack

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// ppmdSources are larger than a model of little memory can learn: text is this package's own, and code this test's.
func ppmdSources(t *testing.T) map[string][]byte {
	t.Helper()
	var text []byte
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	code = code[len(code)/4:][:400_000]
	noise := make([]byte, 60_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	zeros := make([]byte, 200_000)
	return map[string][]byte{
		"text": text[:400_000], "code": code, "noise": noise, "zeros": zeros,
		"mix": bytes.Join([][]byte{text[300_000:400_000], noise[:20_000], zeros[:50_000], code[:100_000], text[:200_000]}, nil),
	}
}

// TestPPMdMemory reads what 7-Zip packs with models that use up their memory: those of zip begin anew or cut their tree, those of 7z begin anew.
func TestPPMdMemory(t *testing.T) {
	sources := ppmdSources(t)
	dir := write(t, sources)
	packed := func(format filetype.Format, script string) []byte {
		m := made{format, "7z", script, all}
		b := m.make(t, dir)
		got, err := list(t, m.format, b, Options{})
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(m.want(sources), sorted(got)); diff != "" {
			t.Errorf("%s: members (-packed +unpacked):\n%s", script, diff)
		}
		return b
	}
	zipped := func(level, memory, order int) (streams string) {
		b := packed(filetype.Zip, fmt.Sprintf("7z a -bd -tzip -mmt=1 -mm=PPMd:mem=%dm:o=%d -mx=%d ../x.zip . >/dev/null; cat ../x.zip; rm ../x.zip", memory, order, level))
		for _, stream := range rawMembers(t, b) {
			streams += string(stream[min(len(stream), 2):]) // without what tells the level and the memory
		}
		return streams
	}
	for _, order := range []int{4, 8, 16} {
		t.Run(fmt.Sprintf("zip of order %d", order), func(t *testing.T) {
			anew, cut, enough := zipped(5, 1, order), zipped(7, 1, order), zipped(5, 64, order)
			// Were the memory not used up, these would be the same.
			if anew == cut || cut == enough || anew == enough {
				t.Errorf("%d bytes begun anew, %d cut, %d of a model that suffices", len(anew), len(cut), len(enough))
			}
		})
	}
	for _, order := range []int{4, 32} {
		t.Run(fmt.Sprintf("7z of order %d", order), func(t *testing.T) {
			sevenZip := func(memory string) int {
				return len(packed(filetype.SevenZip, fmt.Sprintf("7z a -bd -ms=off -m0=PPMd:mem=%s:o=%d ../x.7z . >/dev/null; cat ../x.7z; rm ../x.7z", memory, order)))
			}
			if little, enough := sevenZip("100k"), sevenZip("64m"); little == enough {
				t.Errorf("%d bytes with little memory and with enough", little)
			}
		})
	}
}

// rawMembers are the packed bytes of a zip's members.
func rawMembers(t testing.TB, b []byte) (out [][]byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

// ppmdStream is what 7-Zip packs of random letters, of which a few thousand use up a megabyte. The method takes effect when the memory is used up.
func ppmdStream(t testing.TB, megabytes, method, letters int) []byte {
	t.Helper()
	text := make([]byte, letters)
	rand.NewChaCha8([32]byte{}).Read(text)
	for i := range text {
		text[i] = 'a' + text[i]&7
	}
	m := made{filetype.Zip, "7z", fmt.Sprintf("7z a -bd -tzip -mm=PPMd:mem=%dm:o=16 -mx=%d ../x.zip . >/dev/null; cat ../x.zip; rm ../x.zip", megabytes, 5+2*(method&1)), all}
	b := m.make(t, write(t, map[string][]byte{"letters": text}))
	b = rawMembers(t, b)[0]
	if b[1]>>4 != byte(method&1) {
		t.Fatalf("7-Zip has packed with method %d", b[1]>>4)
	}
	b[1] = b[1]&15 | byte(method)<<4
	return b
}

// TestPPMdLimits holds the decoder to the memory that it may use, and to what it knows.
func TestPPMdLimits(t *testing.T) {
	const letters = 150_000
	for name, c := range map[string]struct {
		method, megabytes int
		memory            int64
		want              error
	}{
		"begun anew":         {ppmdRestart, 1, 2 << 20, nil},
		"cut":                {ppmdCutOff, 1, 2 << 20, nil},
		"frozen":             {ppmdFreeze, 1, 2 << 20, errPPMdFrozen},
		"more than is there": {ppmdCutOff, 256, 2 << 20, errDictionary},
		"frozen, but enough": {ppmdFreeze, 256, 64 << 20, nil},
	} {
		r, err := newPPMd8(buffered(bytes.NewReader(ppmdStream(t, c.megabytes, c.method, letters))), letters, &container{o: Options{Memory: c.memory}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, c.want) || (err == nil) != (n == letters) {
			t.Errorf("%s: after %d bytes %v, want %v", name, n, err, c.want)
		}
		d := r.(*ppmd8)
		t.Logf("%s: %d bytes of text, %d of memory", name, n, d.allocated)
		if d.allocated > c.memory+12*ppmdPage {
			t.Errorf("%s: %d bytes of units", name, d.allocated)
		}
	}
}
