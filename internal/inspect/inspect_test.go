package inspect

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

// look inspects bytes and returns every observation, and what contains what as "container > path" by names of contents.
func look(t *testing.T, content []byte, name string, change func(*Inspector)) (Summary, []intel.Observation) {
	t.Helper()
	i := &Inspector{Limits: DefaultLimits, Source: intel.Source{Type: intel.InspectionSource, Name: "test"}, Passwords: []string{"infected"}}
	for k := range i.Scratch {
		f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(k)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		i.Scratch[k] = f
	}
	if change != nil {
		change(i)
	}
	var all []intel.Observation
	sum, err := i.Inspect(t.Context(), File{ReaderAt: bytes.NewReader(content), Size: int64(len(content)), Name: name}, time.Unix(1e9, 0), func(o intel.Observation) error {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		all = append(all, o)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, all
}

// members returns what contains what: the container's and the member's first digits, and the path.
func members(all []intel.Observation) (out []string) {
	for _, o := range all {
		if r, ok := o.Fact.(intel.Relation); ok {
			out = append(out, r.From.SHA256.String()[:8]+" > "+r.To.Path+" "+r.To.SHA256.String()[:8])
		}
	}
	return out
}

// notesOf returns the notes of all files.
func notesOf(all []intel.Observation) (out []string) {
	for _, o := range all {
		if a, ok := o.Fact.(intel.Attribute); ok && a.Name == intel.InspectionNote {
			out = append(out, a.Value)
		}
	}
	return out
}

func short(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b))[:8] }

type entry struct {
	name    string
	content []byte
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.Create(e.name)
		if err == nil {
			_, err = w.Write(e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tgz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOutside has names that lead out of their archive: each is told once, also of a member that is there twice, and no more than the bound.
func TestOutside(t *testing.T) {
	same := []byte("the same")
	_, all := look(t, zipOf(t, entry{"../../etc/passwd", same}, entry{`C:\x`, same}, entry{"fine/x", same}), "x.zip", nil)
	want := []string{`etc/passwd: the container names it "../../etc/passwd", outside of itself`, `x: the container names it "C:\x", outside of itself`}
	if diff := cmp.Diff(want, notesOf(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var many []entry
	for k := range maxNotes + 5 {
		many = append(many, entry{fmt.Sprintf("../%d", k), same})
	}
	_, all = look(t, zipOf(t, many...), "x.zip", nil)
	notes := notesOf(all)
	if got := notes[len(notes)-1]; len(notes) != maxNotes+1 || got != "and 5 notes more" {
		t.Errorf("%d notes, the last %q", len(notes), got)
	}
}

func TestMembers(t *testing.T) {
	hello := []byte("hello\n")
	inner := tgz(t, entry{"dir/hello.txt", hello}, entry{"other.txt", []byte("other")})
	outer := zipOf(t, entry{"packed.tgz", inner}, entry{"hello again.txt", hello})
	sum, all := look(t, outer, "outer.zip", nil)
	plain := func() []byte { g, _ := gzip.NewReader(bytes.NewReader(inner)); b, _ := io.ReadAll(g); return b }()
	want := []string{
		short(outer) + " > packed.tgz " + short(inner),
		short(inner) + " > packed.tar " + short(plain),
		short(plain) + " > dir/hello.txt " + short(hello),
		short(plain) + " > other.txt " + short([]byte("other")),
		short(outer) + " > hello again.txt " + short(hello),
	}
	if diff := cmp.Diff(want, members(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sum.Members != 5 || sum.Notes != 0 || sum.Type == "" {
		t.Errorf("%+v", sum)
	}
	last := all[len(all)-1]
	if a, ok := last.Fact.(intel.Attribute); !ok || a.Name != intel.Inspected || last.File.SHA256.String()[:8] != short(outer) {
		t.Errorf("the last word is %+v", last)
	}
	// What is said of a file is said once, however often it is in it.
	sizes := 0
	for _, o := range all {
		if a, ok := o.Fact.(intel.Attribute); ok && a.Name == intel.Size && o.File.SHA256.String()[:8] == short(hello) {
			sizes++
		}
	}
	if sizes != 1 {
		t.Errorf("the size of one member is told %d times", sizes)
	}
}

// TestNotesOfMembers: the file handed in says that its members have notes, which nobody would find among thousands.
func TestNotesOfMembers(t *testing.T) {
	var broken []entry
	for i := range 40 {
		broken = append(broken, entry{fmt.Sprintf("b%02d.zip", i), fmt.Appendf([]byte("PK\x03\x04"), "%060d", i)})
	}
	whole := zipOf(t, entry{"inner.zip", zipOf(t, broken...)}, entry{"good.txt", []byte("good")})
	sum, all := look(t, whole, "", nil)
	var told []string
	for _, o := range all {
		if a, ok := o.Fact.(intel.Attribute); ok && a.Name == intel.InspectionNote && o.File.SHA256 == sum.File.SHA256 {
			told = append(told, a.Value)
		}
	}
	if diff := cmp.Diff([]string{"40 members have notes of their own: b00.zip, b01.zip, b02.zip, …"}, told); diff != "" {
		t.Error(diff)
	}
	if sum.Notes < 40 {
		t.Errorf("%d notes", sum.Notes)
	}
	if _, all := look(t, zipOf(t, entry{"good.txt", []byte("good")}), "", nil); len(notesOf(all)) > 0 {
		t.Errorf("notes of what was read wholly: %q", notesOf(all))
	}
}

// TestLargeMember: what does not fit into memory is read from scratch, byte for byte.
func TestLargeMember(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{spoolMemory - 1, spoolMemory, spoolMemory + 1, 5*spoolMemory + 7} {
		large := make([]byte, size)
		for i := range large {
			large[i] = byte(rnd.Uint32())
		}
		inner := zipOf(t, entry{"large", large}, entry{"small", []byte("s")})
		outer := zipOf(t, entry{"inner.zip", inner})
		_, all := look(t, outer, "", nil)
		want := []string{short(outer) + " > inner.zip " + short(inner), short(inner) + " > large " + short(large), short(inner) + " > small " + short([]byte("s"))}
		if diff := cmp.Diff(want, members(all)); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", size, diff)
		}
		_, all = look(t, outer, "", func(i *Inspector) { i.Scratch = [MaxLevel + 1]Scratch{} })
		if size >= spoolMemory && !slices.ContainsFunc(notesOf(all), func(n string) bool { return strings.Contains(n, "larger than the room") }) {
			t.Errorf("%d bytes without scratch: %q", size, notesOf(all))
		}
	}
}

func TestLevels(t *testing.T) {
	content := []byte("the innermost")
	for range MaxLevel + 3 {
		content = zipOf(t, entry{"a.zip", content})
	}
	sum, all := look(t, content, "", nil)
	if sum.Members != MaxLevel+1 {
		t.Errorf("%d members, want %d generations", sum.Members, MaxLevel+1)
	}
	if diff := cmp.Diff([]string{"not opened: what lies deeper than six generations is not looked at", "a member has notes of its own: a.zip"}, notesOf(all)); diff != "" {
		t.Error(diff)
	}
	// A script could hold files; the deepest one that holds none is not told of.
	content = []byte("#!/bin/sh\necho nothing\n")
	for range MaxLevel + 1 {
		content = zipOf(t, entry{"a", content})
	}
	if sum, all := look(t, content, "", nil); sum.Members != MaxLevel+1 || len(notesOf(all)) != 0 {
		t.Errorf("%d members, notes %q", sum.Members, notesOf(all))
	}
}

// TestLimits: each bound that is reached is told, what came before it stays, and the end is reached.
func TestLimits(t *testing.T) {
	bomb := zipOf(t, entry{"first", []byte("first")}, entry{"zeros", make([]byte, 80<<20)}, entry{"after", []byte("after")})
	many := []entry{}
	for i := range 200 {
		many = append(many, entry{fmt.Sprint(i), []byte(fmt.Sprint(i))})
	}
	// A file that holds itself would never end: here one that holds the same container again and again.
	same := zipOf(t, entry{"x", []byte("x")})
	for _, tt := range []struct {
		what    string
		content []byte
		limits  func(*Limits)
		members int
		note    string
	}{
		{"bytes", bomb, func(l *Limits) { l.Bytes = 70 << 20; l.Ratio = 1 << 40 }, 2, "stopped at zeros, after 73400320 bytes unpacked"},
		{"ratio", bomb, func(l *Limits) { l.Ratio = 100 }, 2, "stopped at zeros, after 100 times the file's own bytes unpacked"},
		{"members", zipOf(t, many...), func(l *Limits) { l.Members = 100 }, 100, "stopped after 100 members"},
		{"a container again", zipOf(t, entry{"1", same}, entry{"2", same}), func(*Limits) {}, 3, ""},
		{"in depth", zipOf(t, entry{"in.zip", zipOf(t, many...)}, entry{"after", []byte("after")}), func(l *Limits) { l.Members = 100 }, 100, "stopped after 100 members"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			sum, all := look(t, tt.content, "", func(i *Inspector) { tt.limits(&i.Limits) })
			if sum.Members != tt.members {
				t.Errorf("%d members, want %d", sum.Members, tt.members)
			}
			notes := notesOf(all)
			if tt.note == "" && len(notes) > 0 || tt.note != "" && !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, tt.note) }) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if a, ok := all[len(all)-1].Fact.(intel.Attribute); !ok || a.Name != intel.Inspected {
				t.Errorf("the last word is %+v", all[len(all)-1])
			}
		})
	}
}

func TestTime(t *testing.T) {
	var many []entry
	for i := range 2000 {
		many = append(many, entry{fmt.Sprint(i), []byte(fmt.Sprint(i))})
	}
	content := zipOf(t, many...)
	_, all := look(t, content, "", func(i *Inspector) {
		i.Limits.Time = 50 * time.Millisecond
		i.Scan = func(int, int64) ([]intel.Detection, []string, error) {
			time.Sleep(time.Millisecond)
			return nil, nil, nil
		}
	})
	if notes := notesOf(all); len(notes) != 1 || !strings.HasPrefix(notes[0], "stopped after 50ms") {
		t.Errorf("%q", notes)
	}
}

func TestReceiverFails(t *testing.T) {
	content := zipOf(t, entry{"a", []byte("a")}, entry{"b", []byte("b")})
	for fails := range 5 {
		i := &Inspector{Limits: DefaultLimits, Source: intel.Source{Type: intel.InspectionSource, Name: "test"}}
		n := 0
		_, err := i.Inspect(t.Context(), File{bytes.NewReader(content), int64(len(content)), ""}, time.Now(), func(intel.Observation) error {
			if n++; n > fails {
				return io.ErrClosedPipe
			}
			return nil
		})
		if !errors.Is(err, io.ErrClosedPipe) || n != fails+1 {
			t.Errorf("after %d: %v, %d calls", fails, err, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	i := &Inspector{Limits: DefaultLimits, Source: intel.Source{Type: intel.InspectionSource, Name: "test"}}
	_, err := i.Inspect(ctx, File{bytes.NewReader(content), int64(len(content)), ""}, time.Now(), func(intel.Observation) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the context's end: %v", err)
	}
}

func TestHasher(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, hashBlock - 1, hashBlock, 2*hashBlock - 1, 2 * hashBlock, 2*hashBlock + 1, 9*hashBlock + 3} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		want, n, err := HashReader(bytes.NewReader(b))
		if err != nil || n != int64(size) || want.SHA256.String() != fmt.Sprintf("%x", sha256.Sum256(b)) {
			t.Fatalf("%d: %v %d %v", size, want, n, err)
		}
		h := NewHasher()
		for rest := b; len(rest) > 0; {
			k := min(len(rest), 1+rnd.IntN(3*hashBlock))
			h.Write(rest[:k])
			rest = rest[k:]
		}
		if got, _ := h.Sum(); got != want {
			t.Errorf("%d bytes in pieces: %v, want %v", size, got, want)
		}
	}
	if got, _, _ := HashReader(strings.NewReader("hello\n")); got.MD5.String() != "b1946ac92492d2347c6235b4d2611184" || got.SHA1.String() != "f572d396fae9206628714fb2ce00f72e94f2258f" {
		t.Errorf("%v", got)
	}
}

func BenchmarkHasher(b *testing.B) {
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := HashReader(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// bounded is a file of the system that may be no larger than so many bytes.
type bounded struct {
	Scratch
	most int64
}

func (b bounded) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.most {
		return 0, syscall.EFBIG
	}
	return b.Scratch.WriteAt(p, off)
}

// TestBytes: what unpacks to more than may be unpacked is told as that, though the system lets no file grow beyond it.
func TestBytes(t *testing.T) {
	large := zipOf(t, entry{"large", make([]byte, 4*spoolMemory)})
	_, all := look(t, large, "", func(i *Inspector) {
		i.Limits.Bytes = 2*spoolMemory + 100
		for k := range i.Scratch {
			i.Scratch[k] = bounded{i.Scratch[k], i.Limits.Bytes}
		}
	})
	if diff := cmp.Diff([]string{"stopped at large, after 2097252 bytes unpacked: what followed was not looked at"}, notesOf(all)); diff != "" {
		t.Error(diff)
	}
}

// full takes nothing.
type full struct{ io.ReaderAt }

func (full) WriteAt([]byte, int64) (int, error) { return 0, syscall.ENOSPC }
func (full) Truncate(int64) error               { return nil }

// TestNoRoom: a full disk is no fault of the file, and ends its inspection.
func TestNoRoom(t *testing.T) {
	large := zipOf(t, entry{"large", make([]byte, 2*spoolMemory)})
	i := &Inspector{Limits: DefaultLimits, Source: intel.Source{Type: intel.InspectionSource, Name: "test"}}
	for k := range i.Scratch {
		i.Scratch[k] = full{}
	}
	_, err := i.Inspect(t.Context(), File{ReaderAt: bytes.NewReader(large), Size: int64(len(large))}, time.Unix(1e9, 0), func(intel.Observation) error { return nil })
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--scratch") {
		t.Errorf("error %v", err)
	}
}
