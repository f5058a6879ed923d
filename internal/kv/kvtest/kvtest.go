// Package kvtest is the contract of package kv as tests; each engine runs it.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/kv"
	"spoor/internal/kv/mem"
)

// Engine is what Run tests.
type Engine struct {
	// Open returns a new, empty engine.
	Open func(t *testing.T) kv.Store
	// Reopen closes s and opens the same rows again; nil when the engine keeps nothing.
	Reopen func(t *testing.T, s kv.Store) kv.Store
	// Crash stops s as a power loss would, everything unsynced gone, and opens what is left; nil when that cannot be simulated.
	Crash func(t *testing.T, s kv.Store) kv.Store
}

// Run runs the contract against an engine.
func Run(t *testing.T, e Engine) {
	t.Run("merge", e.merge)
	t.Run("batch", e.batch)
	t.Run("concurrent batch", e.concurrentBatch)
	t.Run("ranges", e.ranges)
	t.Run("partitions", e.partitions)
	t.Run("rewrite", e.rewrite)
	t.Run("one moment", e.oneMoment)
	t.Run("rewrite beside writers", e.rewriteBesideWriters)
	t.Run("refusals", e.refusals)
	t.Run("close", e.close)
	t.Run("like the model", e.likeTheModel)
	t.Run("reopen", e.reopen)
	t.Run("crash", e.crash)
	t.Run("load", e.runLoad)
}

func count(n uint64) *kv.Value { return &kv.Value{Count: n} }

func write(partition, key string, v *kv.Value) kv.Write {
	return kv.Write{Partition: []byte(partition), Key: []byte(key), Value: v}
}

func apply(t *testing.T, s kv.Store, id string, writes ...kv.Write) bool {
	t.Helper()
	repeated, err := s.Apply(t.Context(), &kv.Batch{ID: []byte(id), Writes: writes})
	if err != nil {
		t.Fatal(err)
	}
	return repeated
}

// scan prints the rows of ranges: "range partition/key=encoded value".
func scan(t *testing.T, s kv.Store, ranges ...kv.Range) []string {
	t.Helper()
	out := []string{}
	err := s.Scan(t.Context(), ranges, func(r kv.Row) error {
		out = append(out, fmt.Sprintf("%d %s/%s=%d", r.Range, r.Partition, r.Key, r.Value.Count))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func all(partition string) kv.Range { return kv.Range{Partition: []byte(partition)} }

func (e Engine) merge(t *testing.T) {
	s := e.Open(t)
	a := &kv.Value{Count: 2, First: 100, Last: 200, Learned: 7, Sources: []uint32{3, 9}, Text: kv.Text{At: 5, Data: []byte("old")}}
	a.Hosts.Add(0xAAAA)
	b := &kv.Value{Count: 3, First: 50, Last: 150, Learned: 9, Sources: []uint32{1, 9}, Text: kv.Text{At: 6, Data: []byte("new")}}
	b.Hosts.Add(0xBBBB)
	apply(t, s, "", write("p", "k", a), write("p", "k", b))
	apply(t, s, "", write("p", "k", a))
	apply(t, s, "", write("p", "only exists", &kv.Value{}))
	merged := &kv.Value{Count: 7, First: 50, Last: 200, Learned: 7, Sources: []uint32{1, 3, 9}, Text: kv.Text{At: 6, Data: []byte("new")}}
	merged.Hosts.Add(0xAAAA)
	merged.Hosts.Add(0xBBBB)
	var got [][]byte
	if err := s.Scan(t.Context(), []kv.Range{all("p")}, func(r kv.Row) error {
		got = append(got, r.Value.Append(nil))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{merged.Append(nil), (&kv.Value{}).Append(nil)}, got); diff != "" {
		t.Errorf("merged values (-want +got):\n%s", diff)
	}
}

func (e Engine) batch(t *testing.T) {
	s := e.Open(t)
	for i, wantRepeated := range []bool{false, true, true} {
		if got := apply(t, s, "id", write("p", "k", count(5))); got != wantRepeated {
			t.Errorf("application %d: repeated = %v, want %v", i, got, wantRepeated)
		}
	}
	apply(t, s, "", write("p", "k", count(1)))
	apply(t, s, "", write("p", "k", count(1)))
	if apply(t, s, "other", write("p", "k", count(10))) {
		t.Error("a new ID is told to be repeated")
	}
	want(t, scan(t, s, all("p")), "0 p/k=17")
}

func (e Engine) concurrentBatch(t *testing.T) {
	s := e.Open(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 16 {
		wg.Go(func() {
			for i := range 20 {
				repeated, err := s.Apply(t.Context(), &kv.Batch{ID: fmt.Append(nil, "id", i), Writes: []kv.Write{write("p", "k", count(1))}})
				if err != nil {
					t.Error(err)
				}
				if !repeated {
					mu.Lock()
					first++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if first != 20 {
		t.Errorf("%d applications were told to be the first of 20", first)
	}
	want(t, scan(t, s, all("p")), "0 p/k=20")
}

func (e Engine) ranges(t *testing.T) {
	s := e.Open(t)
	apply(t, s, "", write("p", "a", count(1)), write("p", "b", count(2)), write("p", "b\x00", count(3)), write("p", "c", count(4)),
		write("p\x00", "x", count(5)), write("q", "a", count(6)), write("o", "z", count(7)))
	want(t, scan(t, s, all("p")), "0 p/a=1", "0 p/b=2", "0 p/b\x00=3", "0 p/c=4")
	want(t, scan(t, s, kv.Range{Partition: []byte("p"), From: []byte("b")}), "0 p/b=2", "0 p/b\x00=3", "0 p/c=4")
	want(t, scan(t, s, kv.Range{Partition: []byte("p"), From: []byte("b"), To: []byte("c")}), "0 p/b=2", "0 p/b\x00=3")
	want(t, scan(t, s, kv.Range{Partition: []byte("p"), To: []byte("b")}), "0 p/a=1")
	want(t, scan(t, s, kv.Range{Partition: []byte("p"), Limit: 2}), "0 p/a=1", "0 p/b=2")
	want(t, scan(t, s, kv.Range{Partition: []byte("p"), From: []byte("c"), To: []byte("a")}))
	want(t, scan(t, s, all("nothing")))
	want(t, scan(t, s))
	want(t, scan(t, s, all("q"), all("nothing"), kv.Range{Partition: []byte("p"), Limit: 1}, all("q")),
		"0 q/a=6", "2 p/a=1", "3 q/a=6")
	stop := errors.New("stop")
	n := 0
	if err := s.Scan(t.Context(), []kv.Range{all("p"), all("q")}, func(kv.Row) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("a scan that yield stops: %v after %d rows", err, n)
	}
}

func (e Engine) partitions(t *testing.T) {
	s := e.Open(t)
	apply(t, s, "", write("fab", "1", count(1)), write("fab", "2", count(2)), write("fac", "1", count(3)), write("fa", "1", count(4)),
		write("fabc", "1", count(5)), write("fb\xff", "1", count(6)), write("fb\xff", "2", count(6)), write("fc0", "9", count(7)), write("g00", "1", count(8)))
	by := func(p string, n, limit int) kv.Range { return kv.Range{Partition: []byte(p), Prefix: n, Limit: limit} }
	want(t, scan(t, s, by("f", 3, 0)), "0 fab/1=1", "0 fac/1=3", "0 fb\xff/1=6", "0 fc0/9=7")
	want(t, scan(t, s, by("fa", 3, 0), by("g", 3, 0)), "0 fab/1=1", "0 fac/1=3", "1 g00/1=8")
	want(t, scan(t, s, by("f", 3, 2)), "0 fab/1=1", "0 fac/1=3")
	want(t, scan(t, s, by("fab", 3, 0)), "0 fab/1=1")
	want(t, scan(t, s, by("fx", 3, 0)))
	want(t, scan(t, s, by("f", 2, 0)), "0 fa/1=4")
}

func (e Engine) rewrite(t *testing.T) {
	s := e.Open(t)
	apply(t, s, "", write("p", "a1", count(1)), write("p", "b1", count(2)), write("p", "b2", count(3)), write("p", "c1", count(4)), write("q", "b1", count(5)))
	fail := errors.New("no")
	r := kv.Range{Partition: []byte("p"), From: []byte("b"), To: []byte("c")}
	if err := s.Rewrite(t.Context(), r, func([]kv.Row) ([]kv.Row, []kv.Write, error) { return nil, nil, fail }); !errors.Is(err, fail) {
		t.Errorf("a rewrite that fails: %v", err)
	}
	err := s.Rewrite(t.Context(), r, func(rows []kv.Row) ([]kv.Row, []kv.Write, error) {
		if len(rows) != 2 || string(rows[0].Key) != "b1" || rows[1].Value.Count != 3 {
			t.Errorf("rows handed to replace: %v", rows)
		}
		return rows[1:], []kv.Write{write("tail", "b1", rows[0].Value), write("p", "a1", count(10))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, scan(t, s, all("p"), all("q"), all("tail")), "0 p/a1=11", "0 p/b2=3", "0 p/c1=4", "1 q/b1=5", "2 tail/b1=2")
	apply(t, s, "", write("p", "b1", count(1)), write("p", "b2", count(1)))
	want(t, scan(t, s, all("p")), "0 p/a1=11", "0 p/b1=1", "0 p/b2=4", "0 p/c1=4")
	if err := s.Rewrite(t.Context(), all("p"), func([]kv.Row) ([]kv.Row, []kv.Write, error) { return nil, nil, nil }); err != nil {
		t.Fatal(err)
	}
	want(t, scan(t, s, all("p"), all("q")), "1 q/b1=5")
}

// oneMoment: a batch that writes two rows is seen whole or not at all.
func (e Engine) oneMoment(t *testing.T) {
	s := e.Open(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			if _, err := s.Apply(t.Context(), &kv.Batch{Writes: []kv.Write{write("a", "k", count(1)), write("z", "k", count(1))}}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for {
		var sums [2]uint64
		if err := s.Scan(t.Context(), []kv.Range{all("a"), all("z")}, func(r kv.Row) error { sums[r.Range] += r.Value.Count; return nil }); err != nil {
			t.Fatal(err)
		}
		if sums[0] != sums[1] {
			t.Fatalf("a scan saw half of a batch: %d and %d", sums[0], sums[1])
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// rewriteBesideWriters: no count is lost while rows move between partitions and writers go on.
func (e Engine) rewriteBesideWriters(t *testing.T) {
	s := e.Open(t)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := s.Apply(t.Context(), &kv.Batch{Writes: []kv.Write{write("p", fmt.Sprint(w, i%10), count(1))}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		err := s.Rewrite(t.Context(), all("p"), func(rows []kv.Row) (kept []kv.Row, moved []kv.Write, err error) {
			for i, r := range rows {
				if i%2 == 0 {
					kept = append(kept, r)
				} else {
					moved = append(moved, kv.Write{Partition: []byte("tail"), Key: r.Key, Value: r.Value})
				}
			}
			return kept, moved, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	sum := uint64(0)
	if err := s.Scan(t.Context(), []kv.Range{all("p"), all("tail")}, func(r kv.Row) error { sum += r.Value.Count; return nil }); err != nil {
		t.Fatal(err)
	}
	if sum != 400 {
		t.Errorf("%d of 400 counts are left", sum)
	}
}

func (e Engine) refusals(t *testing.T) {
	s := e.Open(t)
	long := string(bytes.Repeat([]byte("x"), 2000))
	for name, b := range map[string]kv.Batch{
		"empty partition": {Writes: []kv.Write{write("", "k", count(1))}},
		"empty key":       {Writes: []kv.Write{write("p", "", count(1))}},
		"long partition":  {Writes: []kv.Write{write(long[:kv.MaxPartition+1], "k", count(1))}},
		"long key":        {Writes: []kv.Write{write("p", long[:kv.MaxKey+1], count(1))}},
		"long ID":         {ID: []byte(long[:kv.MaxID+1])},
	} {
		b.Writes = append([]kv.Write{write("p", "good", count(1))}, b.Writes...)
		if _, err := s.Apply(t.Context(), &b); !errors.Is(err, kv.ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", name, err)
		}
	}
	want(t, scan(t, s, all("p")))
	apply(t, s, "", write(long[:kv.MaxPartition], long[:kv.MaxKey], count(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Apply(ctx, &kv.Batch{Writes: []kv.Write{write("p", "k", count(1))}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply with a cancelled context: %v", err)
	}
	if err := s.Scan(ctx, []kv.Range{all("p")}, func(kv.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan with a cancelled context: %v", err)
	}
	want(t, scan(t, s, all("p")))
}

func (e Engine) close(t *testing.T) {
	s := e.Open(t)
	apply(t, s, "", write("p", "k", count(1)))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Apply(t.Context(), &kv.Batch{}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	if err := s.Scan(t.Context(), nil, nil); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Scan after Close: %v", err)
	}
	if err := s.Rewrite(t.Context(), all("p"), nil); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Rewrite after Close: %v", err)
	}
}

// randomValue makes a value with any mixture of fields.
func randomValue(r *rand.Rand) *kv.Value {
	v := &kv.Value{Count: uint64(r.IntN(5))}
	if r.IntN(2) == 0 {
		v.First = 1 + r.Int64N(1000)
		v.Last = v.First + r.Int64N(1000)
	}
	if r.IntN(2) == 0 {
		v.Learned = 1 + r.Int64N(1000)
	}
	if r.IntN(2) == 0 {
		v.Sources = []uint32{r.Uint32N(40)}
	}
	for range r.IntN(20) {
		v.Hosts.Add(r.Uint64N(500) * 0x9E3779B97F4A7C15)
	}
	if r.IntN(3) == 0 {
		v.Text = kv.Text{At: r.Int64N(3), Data: fmt.Append(nil, r.IntN(9))}
	}
	return v
}

// applyOrLoad applies a batch, or loads its rows where the engine can.
func applyOrLoad(t *testing.T, s kv.Store, b *kv.Batch, byLoad bool) (bool, error) {
	l, ok := s.(kv.Loader)
	if !ok || !byLoad {
		return s.Apply(t.Context(), b)
	}
	once := mem.New() // each row once
	if _, err := once.Apply(t.Context(), &kv.Batch{Writes: b.Writes}); err != nil {
		return false, err
	}
	var rows []kv.Write
	for i := range b.Writes {
		w := b.Writes[i]
		if slices.ContainsFunc(rows, func(x kv.Write) bool { return kv.CompareRows(&x, &w) == 0 }) {
			continue
		}
		r := kv.Range{Partition: w.Partition, From: w.Key, To: append(slices.Clone(w.Key), 0)}
		if err := once.Scan(t.Context(), []kv.Range{r}, func(r kv.Row) error { w.Value = r.Value; return nil }); err != nil {
			return false, err
		}
		rows = append(rows, w)
	}
	var ids [][]byte
	if len(b.ID) > 0 {
		ids = append(ids, b.ID)
	}
	repeated, err := loadOnce(t.Context(), l, ids, sorted(rows...))
	return len(repeated) > 0, err
}

func dump(t *testing.T, s kv.Store, partitions []string) (out []string) {
	t.Helper()
	var ranges []kv.Range
	for _, p := range partitions {
		ranges = append(ranges, all(p))
	}
	err := s.Scan(t.Context(), ranges, func(r kv.Row) error {
		out = append(out, fmt.Sprintf("%s/%s=%x", r.Partition, r.Key, r.Value.Append(nil)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// likeTheModel runs random batches against the engine and the one in memory; after each step both hold the same bytes.
func (e Engine) likeTheModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s, model := e.Open(t), kv.Store(mem.New())
	partitions := []string{"a", "ab", "b", "\xff\xff", "\x00"}
	for step := range 300 {
		b := kv.Batch{}
		if r.IntN(2) == 0 {
			b.ID = fmt.Append(nil, r.IntN(100))
		}
		for range 1 + r.IntN(20) {
			b.Writes = append(b.Writes, write(partitions[r.IntN(len(partitions))], fmt.Sprint(r.IntN(12)), randomValue(r)))
		}
		got, err1 := applyOrLoad(t, s, &b, step%5 == 0)
		exp, err2 := model.Apply(t.Context(), &b)
		if err1 != nil || err2 != nil || got != exp {
			t.Fatalf("step %d: repeated %v (%v), the model %v (%v)", step, got, err1, exp, err2)
		}
		if step%7 == 0 {
			rng := kv.Range{Partition: []byte(partitions[r.IntN(len(partitions))]), From: []byte("1"), To: []byte("4")}
			half := func(rows []kv.Row) ([]kv.Row, []kv.Write, error) {
				var moved []kv.Write
				for _, row := range rows[len(rows)/2:] {
					moved = append(moved, kv.Write{Partition: []byte("tail"), Key: row.Key, Value: row.Value})
				}
				return rows[:len(rows)/2], moved, nil
			}
			if err := errors.Join(s.Rewrite(t.Context(), rng, half), model.Rewrite(t.Context(), rng, half)); err != nil {
				t.Fatal(err)
			}
		}
		if step == 150 && e.Reopen != nil {
			s = e.Reopen(t, s)
		}
		if step%10 == 0 {
			names := append(slices.Clone(partitions), "tail")
			if diff := cmp.Diff(dump(t, model, names), dump(t, s, names)); diff != "" {
				t.Fatalf("step %d (-model +engine):\n%s", step, diff)
			}
		}
	}
}

func (e Engine) reopen(t *testing.T) {
	if e.Reopen == nil {
		t.Log("this engine keeps nothing: not applicable")
		return
	}
	s := e.Open(t)
	apply(t, s, "id", write("p", "k", count(1)))
	s = e.Reopen(t, s)
	if !apply(t, s, "id", write("p", "k", count(1))) {
		t.Error("a batch ID was forgotten over a restart")
	}
	want(t, scan(t, s, all("p")), "0 p/k=1")
}

// crash: after every simulated power loss all that was acknowledged is there, each batch whole, none twice.
func (e Engine) crash(t *testing.T) {
	if e.Crash == nil {
		t.Log("this engine has no simulated power loss: not applicable")
		return
	}
	s := e.Open(t)
	const batches, each = 40, 5
	acknowledged := 0
	for round := range batches {
		for i := range round + 1 { // deliver everything again, as a resumed import does
			apply(t, s, fmt.Sprint("batch", i), write("p", "a", count(each)), write("q", "b", count(each)))
		}
		acknowledged = round + 1
		s = e.Crash(t, s)
		line := fmt.Sprint(acknowledged * each)
		want(t, scan(t, s, all("p"), all("q")), "0 p/a="+line, "1 q/b="+line)
	}
}
