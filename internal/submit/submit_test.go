package submit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
	"spoor/internal/worker"
)

// TestMain is also the worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-child" {
		if err := worker.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type bench struct {
	*Queue
	store *store.Store
	o     Options
}

// newBench opens a queue in a folder, before a store in memory.
func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := &bench{store: s}
	b.o = Options{Dir: filepath.Join(t.TempDir(), "queue"), Recorder: s, Inspected: b.inspected, Workers: 2}
	b.o.Pool = worker.NewPool(worker.Config{Command: []string{os.Args[0], "-child"}, Workers: 2, Scratch: t.TempDir()})
	t.Cleanup(b.o.Pool.Close)
	if change != nil {
		change(&b.o)
	}
	b.open(t)
	return b
}

func (b *bench) open(t *testing.T) {
	t.Helper()
	var err error
	if b.Queue, err = Open(b.o); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) facts(h intel.Hash) *intel.Facts { return b.seen(h, intel.TLPRed) }

func (b *bench) seen(h intel.Hash, clearance intel.Marking) *intel.Facts {
	f, err := b.store.View(clearance).Recall(context.Background(), h, intel.AllSections)
	if err != nil {
		return nil
	}
	return f
}

func (b *bench) inspected(_ context.Context, h intel.Hash, m intel.Marking) (bool, error) {
	f := b.seen(h, m)
	if f == nil {
		return false, nil
	}
	for _, d := range f.Details {
		if d.Value.Name == intel.Inspected {
			return true, nil
		}
	}
	return false, nil
}

// run runs the queue until the test ends, or the function that it returns is called.
func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (b *bench) submit(t *testing.T, content, name string) Ticket {
	t.Helper()
	ticket, err := b.Submit(t.Context(), strings.NewReader(content), Submission{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(content)); ticket.File.SHA256.String() != fmt.Sprintf("%x", want) || ticket.Size != int64(len(content)) {
		t.Fatalf("%+v", ticket)
	}
	return ticket
}

func TestSubmit(t *testing.T) {
	b := newBench(t, nil)
	ticket := b.submit(t, "hello", `C:\dir\first.txt`)
	if p, ok := b.State(ticket.File.MD5, intel.TLPClear); !ok || p.State != Waiting {
		t.Errorf("before: %v %v", p, ok)
	}
	b.submit(t, "hello", "second.txt") // waits already: gets a name more
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	if _, ok := b.State(ticket.File.SHA256, intel.TLPRed); ok {
		t.Error("it still waits")
	}
	f := b.facts(ticket.File.SHA1)
	if f == nil {
		t.Fatal("nothing is known of it")
	}
	names := map[string]uint64{}
	for _, n := range f.Names {
		names[n.Value] = n.Count
	}
	if len(names) != 2 || names["first.txt"] != 1 || names["second.txt"] != 1 {
		t.Errorf("names %v", names)
	}
	if again := b.submit(t, "hello", "third.txt"); !again.Done {
		t.Error("a file that was inspected waits again")
	}
	b.submit(t, "hello", "third.txt") // the same again counts nothing
	for _, n := range b.facts(ticket.File.SHA256).Names {
		if n.Count != 1 {
			t.Errorf("%s counts %d", n.Value, n.Count)
		}
	}
	left, err := os.ReadDir(b.o.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the queue's folder: %v %v", left, err)
	}
}

// TestEndsMeanwhile: an inspection that ends between the question whether a file has been inspected and the file's taking its place is the only one.
func TestEndsMeanwhile(t *testing.T) {
	var b *bench
	meanwhile := func() {}
	b = newBench(t, func(o *Options) {
		o.Inspected = func(ctx context.Context, h intel.Hash, m intel.Marking) (bool, error) {
			is, err := b.inspected(ctx, h, m)
			meanwhile()
			return is, err
		}
	})
	h := b.submit(t, "hello", "first.txt").File.SHA256
	meanwhile = func() {
		meanwhile = func() {}
		stop := b.run(t)
		b.Wait(t.Context(), h)
		stop()
	}
	if ticket := b.submit(t, "hello", "second.txt"); !ticket.Done {
		t.Error("it waits for a second inspection")
	}
	if p, ok := b.State(h, intel.TLPRed); ok {
		t.Errorf("it is %s", p.State)
	}
	if names := b.facts(h).Names; len(names) != 2 {
		t.Errorf("names %v", names)
	}
}

// TestRestart: what was acknowledged is inspected by the next server, what was not is gone, and what cannot be taken up is left and told.
func TestRestart(t *testing.T) {
	b := newBench(t, nil)
	var tickets []Ticket
	for i := range 20 {
		tickets = append(tickets, b.submit(t, fmt.Sprintf("file %d", i), "x"))
	}
	for name, content := range map[string]string{"incoming-123": "half a file", strings.Repeat("0", 64) + "-0.file": "inspected, and the server ended", strings.Repeat("1", 64) + "-0.json": "{}"} {
		if err := os.WriteFile(filepath.Join(b.o.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.open(t)
	b.run(t)
	for _, ticket := range tickets {
		b.Wait(t.Context(), ticket.File.SHA256)
		if ok, _ := b.inspected(t.Context(), ticket.File.SHA256, intel.TLPClear); !ok {
			t.Errorf("%s was lost", ticket.File.SHA256)
		}
	}
	left, err := os.ReadDir(b.o.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the queue's folder: %v %v", left, err)
	}
}

// TestKillsTheServer: a file at which the server ends again and again is given up with a note.
func TestKillsTheServer(t *testing.T) {
	b := newBench(t, nil)
	ticket := b.submit(t, "evil", "x")
	for range maxAttempts {
		e := b.take(false)
		if err := b.write(e); err != nil {
			t.Fatal(err)
		}
		b.open(t) // the server ends here
	}
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	f := b.facts(ticket.File.SHA256)
	if f == nil || len(f.Details) != 2 || !strings.Contains(f.Details[0].Value.Value+f.Details[1].Value.Value, "the server ended 3 times") {
		t.Errorf("%+v", f)
	}
}

// TestMarking: a file that was inspected for those who may see more is inspected also for the others, and they are not told of what they may not see.
func TestMarking(t *testing.T) {
	b := newBench(t, nil)
	submit := func(m intel.Marking) Ticket {
		t.Helper()
		ticket, err := b.Submit(t.Context(), strings.NewReader("secret"), Submission{Name: "x", Marking: m})
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	h := submit(intel.TLPRed).File.SHA256
	if p, ok := b.State(h, intel.TLPAmber); ok {
		t.Errorf("told of a file that is waiting: %+v", p)
	}
	stop := b.run(t)
	b.Wait(t.Context(), h)
	stop()
	if b.seen(h, intel.TLPAmber) != nil {
		t.Error("red is seen by amber")
	}
	if ticket := submit(intel.TLPAmber); ticket.Done {
		t.Error("what amber may not see counts as inspected")
	}
	if p, ok := b.State(h, intel.TLPAmber); !ok || p.State != Waiting || p.Ahead != 0 {
		t.Errorf("%+v %v", p, ok)
	}
	b.run(t)
	b.Wait(t.Context(), h)
	if ok, _ := b.inspected(t.Context(), h, intel.TLPAmber); !ok {
		t.Error("not inspected for amber")
	}
	if ticket := submit(intel.TLPRed); !ticket.Done {
		t.Error("what all may see is inspected again for red")
	}
}

// TestTurns: each account gets its turn, and none the whole of the room.
func TestTurns(t *testing.T) {
	b := newBench(t, func(o *Options) { o.MaxBytes = 10 })
	submit := func(account, content string) error {
		_, err := b.Submit(t.Context(), strings.NewReader(content), Submission{Account: account})
		return err
	}
	for _, s := range []string{"a1", "a2", "a3"} {
		if err := submit("a", s); err != nil {
			t.Fatal(err)
		}
	}
	if err := submit("a", "a4"); !errors.Is(err, ErrFull) {
		t.Errorf("more than half for one account: %v", err)
	}
	if err := submit("b", "b1"); err != nil {
		t.Fatal(err)
	}
	b.open(t) // accounts are known also after a restart
	var got []string
	for range 4 {
		e := b.take(false)
		got = append(got, e.Account)
	}
	if diff := cmp.Diff([]string{"a", "b", "a", "a"}, got); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

// TestLongFiles: who sends what takes long does not hold up the others.
func TestLongFiles(t *testing.T) {
	b := newBench(t, nil)
	hashes := map[string]intel.Hash{}
	submit := func(account string, contents ...string) {
		t.Helper()
		for _, c := range contents {
			ticket, err := b.Submit(t.Context(), strings.NewReader(c), Submission{Account: account})
			if err != nil {
				t.Fatal(err)
			}
			hashes[c] = ticket.File.SHA256
		}
	}
	submit("a", "a1", "a2", "a3")
	long := []*entry{b.take(false), b.take(false)} // all workers
	submit("b", "b1", "b2")
	if e := b.take(true); e != nil {
		t.Fatalf("one more worker while the others have only begun: %s", e.Account)
	}
	ago := func(e *entry, d time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		e.begun = time.Now().Add(-d)
	}
	ago(long[0], time.Minute)
	if e := b.take(true); e != nil {
		t.Fatalf("one more worker while one of the others has only begun: %s", e.Account)
	}
	ago(long[1], time.Minute)
	extra := b.take(true)
	if extra == nil || extra.Account != "b" {
		t.Fatalf("all workers are at long files of one account, and another waits: %+v", extra)
	}
	if e := b.take(true); e != nil {
		t.Fatalf("one more worker for an account that has one: %s", e.Account)
	}
	for i, e := range []*entry{extra, long[0], long[1]} {
		if !b.inspect(t.Context(), e, i == 0) {
			t.Fatal("ended")
		}
	}
	for _, c := range []string{"a1", "a2", "b1"} {
		if ok, _ := b.inspected(t.Context(), hashes[c], intel.TLPRed); !ok {
			t.Errorf("%s is not inspected", c)
		}
	}

	// Who had little is before who had much, also with one worker, and those of one account go by age.
	submit("c", "c1")
	var got []string
	for range 3 {
		e := b.take(false)
		got = append(got, e.Account)
		if !b.inspect(t.Context(), e, false) {
			t.Fatal("ended")
		}
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, got); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
	// And all that is forgotten in time.
	b.mu.Lock()
	b.halved = b.halved.Add(-20 * halfLife)
	b.mu.Unlock()
	if b.take(false); len(b.had) != 0 {
		t.Errorf("remembered after hours: %v", b.had)
	}
}

// TestManyAtOnce: files that one account sends at the same time are no more than may wait of it, and leave others their room.
func TestManyAtOnce(t *testing.T) {
	b := newBench(t, func(o *Options) { o.MaxBytes = 10 * MaxFile })
	piece := make([]byte, MaxFile/4)
	var all []*incoming
	took := func(account string, files int) (n int) {
		for range files {
			i := &incoming{q: b.Queue, account: account}
			all = append(all, i)
			for range 4 {
				if _, err := i.Write(piece); err != nil {
					if !errors.Is(err, ErrFull) {
						t.Fatal(err)
					}
					return n
				}
				n++
			}
		}
		return n
	}
	if got, want := took("a", 12), 4*6; got != want { // half, and the file that came to it
		t.Errorf("%d quarters of files of one account, want %d", got, want)
	}
	if !b.full("a") || b.full("b") {
		t.Errorf("full for a %v, for b %v", b.full("a"), b.full("b"))
	}
	if got := took("b", 1); got != 4 {
		t.Errorf("%d quarters of another account's file", got)
	}
	for _, i := range all {
		i.done()
	}
	if len(b.held) != 0 || b.coming != 0 || b.full("a") {
		t.Errorf("held when all have gone: %v, %d", b.held, b.coming)
	}
	ticket := b.submit(t, "hello", "x")
	b.open(t) // counted also after a restart
	if b.held[""] != 5 {
		t.Errorf("held %v", b.held)
	}
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	if b.mu.Lock(); len(b.held) != 0 {
		t.Errorf("held when it is inspected: %v", b.held)
	}
	b.mu.Unlock()
}

func TestLimits(t *testing.T) {
	b := newBench(t, func(o *Options) { o.MaxBytes = 3 })
	if _, err := b.Submit(t.Context(), zeros{}, Submission{Name: "x"}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file without end: %v", err)
	}
	b.submit(t, "four", "x")
	if _, err := b.Submit(t.Context(), strings.NewReader("x"), Submission{Name: "x"}); !errors.Is(err, ErrFull) || !errors.Is(err, intel.ErrUnavailable) {
		t.Errorf("a full queue: %v", err)
	}
	b = newBench(t, func(o *Options) { o.Spare = 1 << 62 })
	if _, err := b.Submit(t.Context(), strings.NewReader("x"), Submission{Name: "x"}); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "left to the store") {
		t.Errorf("a disk with less than is left to others: %v", err)
	}
	if n, err := (&incoming{q: b.Queue}).Write([]byte("x")); n != 0 || !errors.Is(err, ErrFull) {
		t.Errorf("a disk that has less while bytes come: %d %v", n, err)
	}
	b = newBench(t, nil)
	if err := os.RemoveAll(b.o.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(t.Context(), strings.NewReader("x"), Submission{Name: "x"}); !errors.Is(err, ErrFull) {
		t.Errorf("a folder that takes nothing: %v", err)
	}
	if _, err := newBench(t, nil).Submit(t.Context(), &failing{}, Submission{Name: "x"}); err == nil || err.Error() != "went away" {
		t.Errorf("a sender that goes away: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("went away") }

func TestKeep(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "kept")
	b := newBench(t, func(o *Options) { o.Keep, o.KeepFor = keep, time.Hour })
	ticket := b.submit(t, "keep me", "x")
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	path := b.Kept(ticket.File.SHA256)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte("keep me")) {
		t.Fatalf("%q %v", got, err)
	}
	b.sweep(time.Now().Add(59 * time.Minute))
	if _, err := os.Stat(path); err != nil {
		t.Errorf("gone before its time: %v", err)
	}
	b.sweep(time.Now().Add(61 * time.Minute))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there after its time: %v", err)
	}
}

// TestLinks: where somebody has laid links into the folders, no other file is read, and none is laid elsewhere.
func TestLinks(t *testing.T) {
	kept, elsewhere, secret := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "secret")
	link := filepath.Join(t.TempDir(), "kept")
	if err := errors.Join(os.WriteFile(secret, []byte("keep me"), 0o600), os.Symlink(kept, link)); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(o *Options) { o.Keep, o.KeepFor = link, time.Hour })
	bytesAt := func(ticket Ticket) string { return b.bytesPath(idOf(ticket.File, 0)) }

	// In the place of a folder of the first byte.
	ticket := b.submit(t, "keep me", "x")
	first := filepath.Dir(b.Kept(ticket.File.SHA256))
	if err := os.Symlink(elsewhere, first); err != nil {
		t.Fatal(err)
	}
	stop := b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	stop()
	for _, dir := range []string{elsewhere, b.o.Dir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("in %s: %v %v", dir, left, err)
		}
	}

	// In the place of the bytes, while the server runs and before it starts.
	ticket = b.submit(t, "keep me, too", "x")
	if err := errors.Join(os.Remove(bytesAt(ticket)), os.Symlink(secret, bytesAt(ticket))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.one(t.Context(), b.take(false), false); !errors.Is(err, errNotOurs) {
		t.Errorf("a link is read: %v", err)
	}
	size12 := "../../secret" // as the entry says
	if err := errors.Join(os.Remove(bytesAt(ticket)), os.Symlink(size12, bytesAt(ticket))); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if _, ok := b.State(ticket.File.SHA256, intel.TLPRed); ok {
		t.Error("a link is taken up")
	}

	// A folder that is itself a link is kept in, and swept; what is not ours stays there.
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	ticket = b.submit(t, "another", "x")
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	s := ticket.File.SHA256.String()
	mine, theirs := filepath.Join(kept, s[:2], s), []string{filepath.Join(kept, "notes.txt"), filepath.Join(kept, s)}
	for _, name := range theirs {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.sweep(time.Now().Add(59 * time.Minute))
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("not kept: %v", err)
	}
	b.sweep(time.Now().Add(61 * time.Minute))
	if _, err := os.Stat(mine); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there after its time: %v", err)
	}
	for _, name := range theirs {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("what somebody else laid there is gone: %v", err)
		}
	}
}

// TestKeepEnds: whatever moment the server ends at, what is kept is whole, and nothing is left that belongs to nobody.
func TestKeepEnds(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "kept")
	b := newBench(t, func(o *Options) { o.Keep = keep })
	ticket := b.submit(t, "keep me", "x")
	to := b.Kept(ticket.File.SHA256)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	// It ends while it copies to another disk.
	if err := os.WriteFile(filepath.Join(filepath.Dir(to), newPrefix+"1"), []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if p, ok := b.State(ticket.File.SHA256, intel.TLPRed); !ok || p.State != Waiting || p.Size != 7 {
		t.Errorf("%+v %v", p, ok)
	}
	// It ends when the copy is there.
	e := b.take(false)
	if err := copyTo(b.bytesPath(e.id), to); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if _, ok := b.State(ticket.File.SHA256, intel.TLPRed); !ok {
		t.Error("the file was lost")
	}
	// It ends when the bytes are gone and the entry is there.
	if err := os.Remove(b.bytesPath(e.id)); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if _, ok := b.State(ticket.File.SHA256, intel.TLPRed); ok {
		t.Error("a file without bytes waits")
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "keep me" {
		t.Errorf("%q %v", got, err)
	}
	for _, dir := range []string{b.o.Dir, filepath.Dir(to)} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != filepath.Base(to) {
			t.Errorf("left in %s: %v %v", dir, left, err)
		}
	}
	// Where it cannot be kept, its bytes do not stay in the queue's folder.
	if err := errors.Join(os.RemoveAll(keep), os.WriteFile(keep, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ticket = b.submit(t, "keep me, too", "x")
	b.run(t)
	b.Wait(t.Context(), ticket.File.SHA256)
	if left, err := os.ReadDir(b.o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left in the queue's folder: %v %v", left, err)
	}
}
