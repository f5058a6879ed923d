package unpack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"

	"spoor/internal/inspect/filetype"
)

// entry is what a test compares of a member.
type entry struct {
	Path   string
	Size   int64
	SHA256 string
	Err    string
}

func (e entry) String() string { return fmt.Sprintf("%s %d %s %s", e.Path, e.Size, e.SHA256, e.Err) }

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// list unpacks a container of which nothing is too large for a test.
func list(t testing.TB, f filetype.Format, b []byte, o Options) ([]entry, error) {
	t.Helper()
	return listReader(t, f, bytes.NewReader(b), int64(len(b)), o)
}

func listReader(t testing.TB, f filetype.Format, r io.ReaderAt, size int64, o Options) ([]entry, error) {
	t.Helper()
	var out []entry
	err := Each(context.Background(), f, r, size, o, func(m Member) error {
		e := entry{Path: m.Path}
		if m.Err != nil {
			e.Err = m.Err.Error()
			e.Size = m.Size
			out = append(out, e)
			return nil
		}
		h := sha256.New()
		n, err := io.Copy(h, m.Reader)
		if err != nil {
			if !errors.As(err, new(*Problem)) {
				t.Errorf("member %s: the error is no *Problem: %v", m.Path, err)
			}
			e.Err = err.Error()
		} else if m.Size >= 0 && m.Size != n {
			t.Errorf("member %s: claims %d bytes, has %d", m.Path, m.Size, n)
		}
		e.Size, e.SHA256 = n, hex.EncodeToString(h.Sum(nil)[:8])
		out = append(out, e)
		return nil
	})
	if err != nil && !errors.As(err, new(*Problem)) {
		t.Errorf("the error is no *Problem: %v", err)
	}
	return out, err
}

func sorted(e []entry) []entry {
	sort.Slice(e, func(i, j int) bool { return e[i].String() < e[j].String() })
	return e
}

// tree lists the files below a folder, as a reference tool unpacked them.
func tree(t testing.TB, dir string) []entry {
	t.Helper()
	var out []entry
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
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

// run runs a reference tool in dir; the test is skipped, naming it, where it is not there.
func run(t testing.TB, dir, tool string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", tool, args, err, out, stderr.Bytes())
	}
	return out
}

// sources is a folder of files of several kinds, made without chance: text, noise, zeros, machine code, an empty one.
func sources(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range contents() {
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

func contents() map[string][]byte {
	noise := make([]byte, 50_000)
	state := uint32(1)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	var text bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&text, "line %d of the text, %x\n", i, noise[i%100:i%100+3])
	}
	code := make([]byte, 0, 120_000)
	for i := range 20_000 {
		code = append(code, noise[i%997], 0xe8, byte(i), byte(i>>8), 0, 0)
	}
	return map[string][]byte{
		"empty": {}, "one": []byte("1"), "docs/text.txt": text.Bytes(), "docs/ümläut.txt": []byte("named\n"), "noise.bin": noise,
		"zeros": make([]byte, 300_000), "code.exe": code,
	}
}
