package kvtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/kv"
)

// runLoad runs the contract of [kv.Loader].
func (e Engine) runLoad(t *testing.T) {
	if _, ok := e.Open(t).(kv.Loader); !ok {
		t.Log("this engine takes rows only in batches: not applicable")
		return
	}
	t.Run("merge", e.loadMerge)
	t.Run("ids", e.loadIDs)
	t.Run("faults", e.loadFaults)
	t.Run("one moment", e.loadOneMoment)
	t.Run("beside batches", e.loadBesideBatches)
	t.Run("close", e.loadClose)
	t.Run("crash", e.loadCrash)
}

func ids(names ...string) (out [][]byte) {
	for _, n := range names {
		out = append(out, []byte(n))
	}
	return out
}

// sorted yields the writes in the order of a load, all through one Write that changes, as the contract allows.
func sorted(writes ...kv.Write) iter.Seq[kv.Write] {
	slices.SortFunc(writes, func(a, b kv.Write) int { return kv.CompareRows(&a, &b) })
	return func(yield func(kv.Write) bool) {
		w := kv.Write{Value: new(kv.Value)}
		for _, x := range writes {
			w.Partition, w.Key = append(w.Partition[:0], x.Partition...), append(w.Key[:0], x.Key...)
			*w.Value = *x.Value
			if !yield(w) {
				return
			}
		}
	}
}

// load loads and returns the indexes of the IDs that were repeated.
func load(t *testing.T, s kv.Store, ids [][]byte, writes ...kv.Write) []int {
	t.Helper()
	repeated, err := s.(kv.Loader).Load(t.Context(), ids, sorted(writes...))
	if err != nil {
		t.Fatal(err)
	}
	return repeated
}

// many makes n rows in partitions of several lengths, more than one table's worth when n is large.
func many(n int, v *kv.Value) (out []kv.Write) {
	for i := range n {
		out = append(out, write(fmt.Sprintf("%0*d", 1+i%7, i%997), fmt.Sprintf("k%06d", i), v))
	}
	return out
}

// loadMerge: what is loaded merges with what is there, what comes later with what was loaded.
func (e Engine) loadMerge(t *testing.T) {
	s := e.Open(t)
	v := func(n uint64, first, last int64, source uint32, text string) *kv.Value {
		return &kv.Value{Count: n, First: first, Last: last, Learned: last, Sources: []uint32{source}, Text: kv.Text{At: last, Data: []byte(text)}}
	}
	apply(t, s, "", write("p", "both", v(1, 50, 60, 9, "first")), write("p", "old", count(1)))
	load(t, s, nil, write("p", "both", v(2, 40, 70, 3, "second")), write("p", "new", count(2)), write("longer", "new", count(2)), write("z", "\x00", &kv.Value{}))
	apply(t, s, "", write("p", "both", v(4, 45, 65, 5, "third")), write("p", "new", count(4)))
	load(t, s, nil, write("p", "new", count(8)))
	merged := &kv.Value{Count: 7, First: 40, Last: 70, Learned: 60, Sources: []uint32{3, 5, 9}, Text: kv.Text{At: 70, Data: []byte("second")}}
	want := []string{
		fmt.Sprintf("p/both=%x", merged.Append(nil)),
		fmt.Sprintf("p/new=%x", count(14).Append(nil)),
		fmt.Sprintf("p/old=%x", count(1).Append(nil)),
		fmt.Sprintf("longer/new=%x", count(2).Append(nil)),
		fmt.Sprintf("z/\x00=%x", (&kv.Value{}).Append(nil)),
	}
	if diff := cmp.Diff(want, dump(t, s, []string{"p", "longer", "z"})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if e.Reopen != nil {
		s = e.Reopen(t, s)
		if diff := cmp.Diff(want, dump(t, s, []string{"p", "longer", "z"})); diff != "" {
			t.Errorf("rows after a restart (-want +got):\n%s", diff)
		}
	}
}

// loadIDs: an ID counts once, whether it came with a batch or with a load, alone or among others, before or after a restart.
func (e Engine) loadIDs(t *testing.T) {
	s := e.Open(t)
	apply(t, s, "b", write("p", "k", count(1)))
	for i, step := range []struct {
		ids      [][]byte
		repeated []int
		sum      int
	}{
		{ids("a", "b", "c"), []int{1}, 1},
		{ids("c", "a"), nil, 11},
		{ids("c", "a"), []int{0, 1}, 11},
		{ids("d", "a"), []int{1}, 11},
		{ids("d"), nil, 21},
		{nil, nil, 31},
		{nil, nil, 41},
	} {
		if diff := cmp.Diff(step.repeated, load(t, s, step.ids, write("p", "k", count(10)))); diff != "" {
			t.Errorf("step %d: repeated (-want +got):\n%s", i, diff)
		}
		want(t, scan(t, s, all("p")), fmt.Sprint("0 p/k=", step.sum))
		if i == 2 && e.Reopen != nil {
			s = e.Reopen(t, s)
		}
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		if !apply(t, s, id, write("p", "k", count(100))) {
			t.Errorf("batch %q is new after a load with its ID", id)
		}
	}
	if repeated := load(t, s, ids("without rows")); repeated != nil {
		t.Errorf("a load without rows: repeated %v", repeated)
	}
	if !apply(t, s, "without rows", write("p", "k", count(100))) {
		t.Error("the ID of a load without rows was forgotten")
	}
	want(t, scan(t, s, all("p")), "0 p/k=41")
}

// loadFaults: a load that fails in the middle changes nothing, and its ID is free.
func (e Engine) loadFaults(t *testing.T) {
	s := e.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	long := string(make([]byte, 2000))
	rows := func(last ...kv.Write) iter.Seq[kv.Write] { return slices.Values(append(many(1, count(1)), last...)) }
	for name, c := range map[string]struct {
		ids  [][]byte
		rows iter.Seq[kv.Write]
		want error
	}{
		"twice":           {ids("id"), rows(write("p", "k", count(1)), write("p", "k", count(1))), kv.ErrUnsorted},
		"keys":            {ids("id"), rows(write("p", "k", count(1)), write("p", "a", count(1))), kv.ErrUnsorted},
		"partitions":      {ids("id"), rows(write("p", "k", count(1)), write("o", "z", count(1))), kv.ErrUnsorted},
		"lengths":         {ids("id"), rows(write("pp", "k", count(1)), write("q", "k", count(1))), kv.ErrUnsorted},
		"empty partition": {ids("id"), rows(write("", "k", count(1))), kv.ErrTooLong},
		"empty key":       {ids("id"), rows(write("p", "", count(1))), kv.ErrTooLong},
		"long partition":  {ids("id"), rows(write(long[:kv.MaxPartition+1], "k", count(1))), kv.ErrTooLong},
		"long key":        {ids("id"), rows(write("p", long[:kv.MaxKey+1], count(1))), kv.ErrTooLong},
		"long ID":         {ids("id", long[:kv.MaxID+1]), rows(), kv.ErrTooLong},
		"empty ID":        {ids("id", ""), rows(), kv.ErrTooLong},
		"cancelled": {ids("id"), func(yield func(kv.Write) bool) {
			for i, w := range many(5000, count(1)) {
				w.Partition = fmt.Appendf(nil, "%09d", i)
				if i == 2500 {
					cancel()
				}
				if !yield(w) {
					return
				}
			}
		}, context.Canceled},
	} {
		in := t.Context()
		if name == "cancelled" {
			in = ctx
		}
		if _, err := s.(kv.Loader).Load(in, c.ids, c.rows); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	want(t, scan(t, s, all("0"), all("p"), all("000000000")))
	if repeated := load(t, s, ids("id"), write("p", "k", count(1))); repeated != nil {
		t.Errorf("the ID of loads that failed is told to be repeated")
	}
	want(t, scan(t, s, all("p")), "0 p/k=1")
}

// loadOneMoment: a load is seen whole or not at all, and batches go on beside it.
func (e Engine) loadOneMoment(t *testing.T) {
	s := e.Open(t)
	const loads = 10
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range loads {
			rows := append(many(3000, count(1)), write("a", "k", count(1)), write("zzzzzzzzzz", "k", count(1)))
			if _, err := s.(kv.Loader).Load(t.Context(), ids(fmt.Sprint("load", i)), sorted(rows...)); err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Apply(t.Context(), &kv.Batch{Writes: []kv.Write{write("a", "k", count(1)), write("zzzzzzzzzz", "k", count(1))}}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var sums [2]uint64
		if err := s.Scan(t.Context(), []kv.Range{all("a"), all("zzzzzzzzzz")}, func(r kv.Row) error { sums[r.Range] += r.Value.Count; return nil }); err != nil {
			t.Fatal(err)
		}
		if sums[0] != sums[1] {
			t.Fatalf("a scan saw half of a load: %d and %d", sums[0], sums[1])
		}
	}
	want(t, scan(t, s, all("a")), fmt.Sprint("0 a/k=", 2*loads))
}

// loadBesideBatches: of loads and batches with the same IDs at once, each ID counts once.
func (e Engine) loadBesideBatches(t *testing.T) {
	s := e.Open(t)
	const n = 30
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if _, err := s.Apply(t.Context(), &kv.Batch{ID: fmt.Append(nil, i), Writes: []kv.Write{write("p", "k", count(1))}}); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := n - 1; i >= 0; i-- {
		load(t, s, [][]byte{fmt.Append(nil, i)}, write("p", "k", count(1)))
	}
	<-done
	want(t, scan(t, s, all("p")), fmt.Sprint("0 p/k=", n))
}

func (e Engine) loadClose(t *testing.T) {
	s := e.Open(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.(kv.Loader).Load(t.Context(), nil, sorted()); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Load after Close: %v", err)
	}
}

// loadCrash: after every simulated power loss each load that was acknowledged is there, whole, once.
func (e Engine) loadCrash(t *testing.T) {
	if e.Crash == nil {
		t.Log("this engine has no simulated power loss: not applicable")
		return
	}
	s := e.Open(t)
	for round := range 12 {
		for i := range round + 1 {
			apply(t, s, fmt.Sprint("batch", i), write("p", "a", count(1)))
			load(t, s, ids(fmt.Sprint("load", i), fmt.Sprint("load too", i)), write("p", "a", count(10)), write("qq", "b", count(1)))
		}
		s = e.Crash(t, s)
		want(t, scan(t, s, all("p"), all("qq")), fmt.Sprint("0 p/a=", 11*(round+1)), fmt.Sprint("1 qq/b=", round+1))
	}
}
