package kvtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"spoor/internal/kv"
	"spoor/internal/kv/mem"
)

// runLoad runs the contract of [kv.Loader].
func (e Engine) runLoad(t *testing.T) {
	if _, ok := e.Open(t).(kv.Loader); !ok {
		t.Log("this engine takes rows only in batches: not applicable")
		return
	}
	t.Run("merge", e.loadMerge)
	t.Run("runs", e.loadRuns)
	t.Run("ids", e.loadIDs)
	t.Run("faults", e.loadFaults)
	t.Run("one moment", e.loadOneMoment)
	t.Run("beside batches", e.loadBesideBatches)
	t.Run("held", e.loadHeld)
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
	repeated, err := loadOnce(t.Context(), s, ids, sorted(writes...))
	if err != nil {
		t.Fatal(err)
	}
	return repeated
}

// loadOnce adds once and commits.
func loadOnce(ctx context.Context, s kv.Store, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	l := s.(kv.Loader).NewLoad()
	defer l.Close()
	if repeated, err = l.Add(ctx, ids, rows); len(repeated) > 0 || err != nil {
		return repeated, err
	}
	return nil, l.Commit(ctx)
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

// loadRuns: what several Adds bring is merged whatever their order, the same rows among it, and nothing is seen before Commit.
func (e Engine) loadRuns(t *testing.T) {
	s, model := e.Open(t), mem.New()
	rnd := rand.New(rand.NewPCG(3, 9))
	partitions := []string{"a", "b", "bb", "ccc", "cccc"}
	l := s.(kv.Loader).NewLoad()
	defer l.Close()
	for i := range 20 {
		rows := map[string]kv.Write{}
		for range rnd.IntN(600) {
			w := write(partitions[rnd.IntN(len(partitions))], fmt.Sprintf("k%03d", rnd.IntN(400)), &kv.Value{Count: 1 + rnd.Uint64N(9), First: 1 + rnd.Int64N(99),
				Sources: []uint32{rnd.Uint32N(30)}, Text: kv.Text{At: rnd.Int64N(50), Data: fmt.Append(nil, rnd.IntN(1000))}})
			rows[string(w.Partition)+"/"+string(w.Key)] = w
		}
		writes := slices.Collect(maps.Values(rows))
		if repeated, err := l.Add(t.Context(), ids(fmt.Sprint("run", i)), sorted(writes...)); len(repeated) > 0 || err != nil {
			t.Fatal(repeated, err)
		}
		apply(t, model, "", writes...)
		switch repeated, err := l.Add(t.Context(), ids("x", fmt.Sprint("run", i/2)), sorted(writes...)); {
		case err != nil:
			t.Fatal(err)
		case !slices.Equal(repeated, []int{1}):
			t.Errorf("an ID that was added to the load: repeated %v", repeated)
		}
	}
	if diff := cmp.Diff([]string{}, dump(t, s, partitions), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("seen before it was committed:\n%s", diff)
	}
	if err := l.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if diff := cmp.Diff(dump(t, model, partitions), dump(t, s, partitions)); diff != "" {
		t.Errorf("rows (-model +engine):\n%s", diff)
	}
	if !apply(t, s, "run0", write("a", "k", count(1))) {
		t.Error("a batch is new after a load with its ID")
	}

	l = s.(kv.Loader).NewLoad()
	if _, err := l.Add(t.Context(), ids("forgotten"), sorted(write("a", "forgotten", count(1)))); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if apply(t, s, "forgotten", write("b", "k000", count(0))) {
		t.Error("a load that was not committed left its ID")
	}
	if diff := cmp.Diff(dump(t, model, partitions), dump(t, s, partitions)); diff != "" {
		t.Errorf("rows after a load that was not committed (-model +engine):\n%s", diff)
	}
}

// loadHeld: who brings an ID that a load holds waits until it is closed, and sees what became of it. A load that holds IDs does not wait.
func (e Engine) loadHeld(t *testing.T) {
	s := e.Open(t)
	for _, committed := range []bool{false, true} {
		l := s.(kv.Loader).NewLoad()
		if _, err := l.Add(t.Context(), ids("one", "two"), sorted(write("p", "k", count(1)))); err != nil {
			t.Fatal(err)
		}
		other := s.(kv.Loader).NewLoad()
		if _, err := other.Add(t.Context(), ids("three"), sorted()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Add(t.Context(), ids("four", "two"), sorted()); !errors.Is(err, kv.ErrHeld) {
			t.Errorf("a second load that holds an ID, for one that the first holds: %v", err)
		}
		other.Close()
		short, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Apply(short, &kv.Batch{ID: []byte("one")}); !errors.Is(err, context.Canceled) {
			t.Errorf("a batch that waits, cancelled: %v", err)
		}
		done := make(chan bool, 2)
		go func() { done <- apply(t, s, "two", write("p", "k", count(10))) }()
		go func() { done <- load(t, s, ids("four", "one"), write("p", "k", count(10))) != nil }()
		apply(t, s, "", write("p", "other", count(1))) // is not hindered
		select {
		case <-done:
			t.Error("a batch did not wait for the load that holds its ID")
		default:
		}
		if committed {
			if err := l.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		a, b := <-done, <-done
		if a != committed || b != committed {
			t.Errorf("committed %v: repeated %v and %v", committed, a, b)
		}
		sum := 20
		if committed {
			sum = 1
		}
		want(t, scan(t, s, kv.Range{Partition: []byte("p"), To: []byte("l")}), fmt.Sprint("0 p/k=", sum))
		s = e.Open(t)
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
		if _, err := loadOnce(in, s, c.ids, c.rows); !errors.Is(err, c.want) {
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
			if _, err := loadOnce(t.Context(), s, ids(fmt.Sprint("load", i)), sorted(rows...)); err != nil {
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
	if _, err := loadOnce(t.Context(), s, nil, sorted()); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("a load after Close: %v", err)
	}
	// A load that is under way does not hinder closing, nor those who wait for it, and ends with it.
	s = e.Open(t)
	l := s.(kv.Loader).NewLoad()
	if _, err := l.Add(t.Context(), ids("id"), sorted(write("p", "k", count(1)))); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), &kv.Batch{ID: []byte("id")})
		waiting <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context()); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	l.Close()
	if err := <-waiting; !errors.Is(err, kv.ErrClosed) {
		t.Errorf("a batch that waited for a load, after Close: %v", err)
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
