package unpack

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sort"
	"strings"
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

// runAnyhow is run, whatever the tool says of its success.
func runAnyhow(t testing.TB, tool string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out
}

// eachWhole unpacks a container with its members' bytes.
func eachWhole(f filetype.Format, b []byte, yield func(whole)) error {
	return Each(context.Background(), f, bytes.NewReader(b), int64(len(b)), Options{}, func(m Member) error {
		if m.Err != nil {
			return m.Err
		}
		data, err := io.ReadAll(m.Reader)
		yield(whole{m.Path, data})
		return err
	})
}

// TestSameBytes: members that are the same bytes of their container are read a few times, which the format may mean, and not as often as it has room for names.
func TestSameBytes(t *testing.T) {
	const size, members = 4 << 20, 64
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%02d", i), Method: zip.Store})
		if err == nil && i == 0 {
			_, err = w.Write(make([]byte, size))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	in := b.Bytes()
	first := bytes.Index(in, []byte("PK\x01\x02"))
	for at := first; string(in[at:at+4]) == "PK\x01\x02"; at += 48 { // every entry says the first one's sizes and place
		copy(in[at+16:at+28], in[first+16:])
		copy(in[at+42:at+46], in[first+42:])
	}
	read := 0
	err := Each(t.Context(), filetype.Zip, bytes.NewReader(in), int64(len(in)), Options{}, func(m Member) error {
		if m.Reader != nil {
			if n, err := io.Copy(io.Discard, m.Reader); n == size && err == nil {
				read++
			}
		}
		return nil
	})
	if want := (overlapFree + overlapTimes*len(in)) / size; read != want || err == nil || !strings.Contains(err.Error(), errOverlap.Error()) {
		t.Errorf("%d members read, want %d; %v", read, want, err)
	}
}

// TestSharedBlock: members that are packed together, as the ends of files in a squashfs, may each have their block unpacked anew: only members that are
// the same bytes lie over each other.
func TestSharedBlock(t *testing.T) {
	const size, members = 1 << 20, 200
	for _, tt := range []struct {
		given int64 // bytes of each member
		want  bool
	}{{1, false}, {size, true}} {
		in := bytes.NewReader(make([]byte, size))
		file := &fileReader{ctx: t.Context(), r: in, size: size}
		c := &container{ctx: t.Context(), format: filetype.SquashFS, r: file, file: file, size: size}
		for range members {
			m := &memberReader{c: c, r: &lazyReader{open: func() (io.Reader, error) {
				block, err := io.ReadAll(c.section(0, size))
				return bytes.NewReader(block[:tt.given]), err
			}}}
			if _, err := io.Copy(io.Discard, m); (err != nil) && !tt.want {
				t.Fatalf("%d bytes given: %v", tt.given, err)
			}
		}
		if got := c.overlaps(); got != tt.want {
			t.Errorf("%d bytes given of %d that are read: lie over each other: %v, want %v", tt.given, size, got, tt.want)
		}
	}
}
