package digest

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tool finds a reference tool, or skips.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian package %s): not compared", name, pkg)
	}
	return path
}

// realFiles returns up to most regular files of this machine, some of each folder.
func realFiles(t *testing.T, most int) []string {
	t.Helper()
	var files []string
	for _, root := range []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/usr/include"} {
		perFolder := map[string]int{}
		n := 0
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || n >= most/4 || strings.ContainsAny(path, "\n\t,\"") {
				return nil
			}
			if perFolder[filepath.Dir(path)]++; perFolder[filepath.Dir(path)] > 400 {
				return fs.SkipDir
			}
			info, err := d.Info()
			if err != nil || info.Size() > 512<<10 {
				return nil
			}
			n++
			files = append(files, path)
			return nil
		})
	}
	return files
}

// inPieces reads a file in pieces of changing size, so that the seams between pieces are tested too.
func inPieces(t *testing.T, path string, r *rand.Rand) (Digests, int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("%s cannot be read: %v", path, err)
	}
	tw, sw := NewTLSHWriter(), NewSSDeepWriter()
	for rest := data; len(rest) > 0; {
		n := 1 + r.IntN(min(len(rest), 1+r.IntN(100_000)))
		tw.Write(rest[:n])
		sw.Write(rest[:n])
		rest = rest[n:]
	}
	d := Digests{SSDeep: sw.Sum()}
	if sum, ok := tw.Sum(); ok {
		d.TLSH = sum.String()
	}
	return d, len(data)
}

const wanted = 2400

func TestTLSHEqualsReference(t *testing.T) {
	tlsh := tool(t, "tlsh", "tlsh-tools")
	files := realFiles(t, wanted)
	if len(files) < 100 {
		t.Skip("too few files on this machine")
	}
	r := rand.New(rand.NewPCG(1, 2))
	folder := t.TempDir()
	compared, none := 0, 0
	var all []TLSH
	ours := map[string]string{}
	// The tool reads one file a call, or a folder: a folder of links, some hundred at a time, is fastest.
	for i, f := range files {
		d, size := inPieces(t, f, r)
		if size < 256 {
			continue // the reference, version 3, makes none
		}
		link := filepath.Join(folder, strconv.Itoa(i))
		if err := os.Symlink(f, link); err != nil {
			t.Fatal(err)
		}
		ours[link] = d.TLSH
		if sum, err := ParseTLSH(d.TLSH); err == nil {
			all = append(all, sum)
		}
	}
	out, err := exec.Command(tlsh, "-r", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		digest, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if len(digest) == 70 {
			theirs[path] = "T1" + digest
		}
	}
	for path, d := range ours {
		if theirs[path] != d {
			target, _ := os.Readlink(path)
			t.Errorf("%s: %s, the reference has %q", target, d, theirs[path])
		}
		if d == "" {
			none++
		} else {
			compared++
		}
	}
	t.Logf("%d digests equal, %d files have none in either", compared, none)

	// Distances of some digests from all.
	list := filepath.Join(t.TempDir(), "list")
	var text bytes.Buffer
	for i := range all {
		fmt.Fprintf(&text, "%s\t%d\n", all[i].String()[2:], i)
	}
	if err := os.WriteFile(list, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	distances := 0
	for range 20 {
		q := all[r.IntN(len(all))]
		out, err := exec.Command(tlsh, "-c", q.String()[2:], "-l", list).Output()
		if err != nil {
			t.Fatal(err)
		}
		scan := bufio.NewScanner(bytes.NewReader(out))
		for scan.Scan() {
			f := strings.Split(scan.Text(), "\t") // what was asked, name, distance
			if len(f) != 3 {
				continue
			}
			i, err := strconv.Atoi(f[1])
			want, err2 := strconv.Atoi(f[2])
			if err != nil || err2 != nil || i >= len(all) {
				t.Fatalf("the reference printed %q", f)
			}
			distances++
			if got := q.Distance(&all[i]); got != want {
				t.Fatalf("%s and %s are %d apart, the reference says %d", q, all[i], got, want)
			}
		}
	}
	if distances != 20*len(all) {
		t.Errorf("%d distances were compared of %d", distances, 20*len(all))
	}
	t.Logf("%d distances equal", distances)
}

func TestSSDeepEqualsReference(t *testing.T) {
	ssdeep := tool(t, "ssdeep", "ssdeep")
	files := realFiles(t, wanted)
	if len(files) < 100 {
		t.Skip("too few files on this machine")
	}
	r := rand.New(rand.NewPCG(1, 3))
	folder := t.TempDir()
	paths := map[string]string{}
	for i, f := range files {
		link := strconv.Itoa(i)
		if err := os.Symlink(f, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
		paths[link] = f
	}
	run := func(args ...string) []string {
		c := exec.Command(ssdeep, args...)
		c.Dir = folder
		out, err := c.Output()
		if len(out) == 0 {
			t.Fatal(err)
		}
		return strings.Split(string(out), "\n")
	}
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	var digests []string
	for _, line := range run(append([]string{"-s", "-b"}, names...)...) {
		digest, name, ok := strings.Cut(line, `,"`)
		path := paths[strings.TrimSuffix(name, `"`)]
		if !ok || path == "" {
			continue
		}
		d, _ := inPieces(t, path, r)
		if d.SSDeep != digest {
			t.Errorf("%s: %s, the reference has %s", path, d.SSDeep, digest)
		}
		digests = append(digests, line)
	}
	t.Logf("%d digests equal", len(digests))
	if len(digests) < len(files)*9/10 {
		t.Errorf("the reference printed %d digests of %d files", len(digests), len(files))
	}

	// Scores of all pairs of some.
	digests = digests[:min(len(digests), 500)]
	list := filepath.Join(folder, "list")
	if err := os.WriteFile(list, []byte("ssdeep,1.1--blocksize:hash:hash,filename\n"+strings.Join(digests, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := map[[2]string]int{}
	for _, line := range run("-s", "-c", "-a", "-k", list, "list") {
		f := strings.Split(line, ",") // "list:1","list:2",score, or the like
		if len(f) != 3 {
			continue
		}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatalf("%q", line)
		}
		name := func(s string) string { return s[strings.LastIndexByte(strings.Trim(s, `"`), ':')+2 : len(s)-1] }
		theirs[[2]string{name(f[0]), name(f[1])}] = n
	}
	parsed := map[string]SSDeep{}
	for _, line := range digests {
		digest, name, _ := strings.Cut(line, `,"`)
		d, err := ParseSSDeep(digest)
		if err != nil {
			t.Fatal(err)
		}
		parsed[strings.TrimSuffix(name, `"`)] = d
	}
	positive := 0
	for pair, want := range theirs {
		a, okA := parsed[pair[0]]
		b, okB := parsed[pair[1]]
		if !okA || !okB {
			t.Fatalf("the reference compares %q", pair)
		}
		if got := a.Score(&b); got != want {
			t.Fatalf("%v and %v score %d, the reference says %d", a, b, got, want)
		}
		if want > 0 {
			positive++
		}
	}
	t.Logf("%d scores equal, %d of them above zero", len(theirs), positive)
	if positive < 100 {
		t.Errorf("too few scores were compared")
	}
}

// TestLengths compares digests at the edges of the logarithm of the length.
func TestLengths(t *testing.T) {
	tlsh := tool(t, "tlsh", "tlsh-tools")
	var lengths []uint32
	for n := uint32(256); n < 1<<20; n++ {
		if logLength(n) != logLength(n+1) {
			lengths = append(lengths, n-1, n, n+1, n+2)
		}
	}
	data := make([]byte, 2<<20)
	r := rand.New(rand.NewPCG(4, 5))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	folder := t.TempDir()
	ours := map[string]string{}
	for _, n := range lengths {
		name := filepath.Join(folder, strconv.Itoa(int(n)))
		if err := os.WriteFile(name, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		w := NewTLSHWriter()
		w.Write(data[:n])
		if sum, ok := w.Sum(); ok {
			ours[name] = sum.String()[2:]
		}
	}
	out, err := exec.Command(tlsh, "-r", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		digest, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ours[path] != digest {
			t.Errorf("%s: %s, the reference has %s", path, ours[path], digest)
		}
		n++
	}
	if n != len(lengths) {
		t.Errorf("%d of %d lengths compared", n, len(lengths))
	}
}
