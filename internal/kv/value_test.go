package kv_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"spoor/internal/kv"
)

func TestSketchCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{0, 1, 63, 64, 65, 500, 5000, 200_000} {
		var s kv.Sketch
		for range n {
			h := r.Uint64()
			s.Add(h)
			s.Add(h)
		}
		got := float64(s.Count())
		if n <= 64 && got != float64(n) || math.Abs(got-float64(n)) > 0.08*float64(n) {
			t.Errorf("a set of %d counts %v", n, got)
		}
	}
}

// TestMergeOrder: any grouping and order of the same parts gives the same bytes.
func TestMergeOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for range 200 {
		parts := make([]*kv.Value, 1+r.IntN(30))
		for i := range parts {
			v := &kv.Value{Count: r.Uint64N(4), First: r.Int64N(50), Learned: r.Int64N(50), Sources: []uint32{r.Uint32N(64)}}
			v.Last = v.First + r.Int64N(9)
			for range r.IntN(12) {
				v.Hosts.Add(r.Uint64N(300) * 0x9E3779B97F4A7C15)
			}
			if r.IntN(2) == 0 {
				v.Text = kv.Text{At: r.Int64N(3), Data: fmt.Append(nil, r.IntN(5))}
			}
			parts[i] = v
		}
		fold := func() []byte {
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			groups := make([]kv.Value, 1+r.IntN(4))
			for _, p := range parts {
				// Through its bytes, as an engine does it.
				var v kv.Value
				if err := v.Decode(p.Append(nil)); err != nil {
					t.Fatal(err)
				}
				groups[r.IntN(len(groups))].Merge(&v)
			}
			var all kv.Value
			for i := range groups {
				all.Merge(&groups[i])
			}
			return all.Append(nil)
		}
		if a, b := fold(), fold(); !bytes.Equal(a, b) {
			t.Fatalf("two orders of the same parts differ:\n%x\n%x", a, b)
		}
	}
}

// FuzzDecode: foreign bytes are refused or read; what is read is written again as the same value.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	v := kv.Value{Count: 3, First: 1, Last: 9, Learned: 4, Sources: []uint32{1, 2}, Text: kv.Text{At: 3, Data: []byte("x")}}
	v.Hosts.Add(5)
	f.Add(v.Append(nil))
	for i := range uint64(100) {
		v.Hosts.Add(i * 0x9E3779B97F4A7C15)
	}
	f.Add(v.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, w kv.Value
		if v.Decode(b) != nil {
			return
		}
		once := v.Append(nil)
		if err := w.Decode(once); err != nil {
			t.Fatalf("%x was read, but what it is written as is not: %v", b, err)
		}
		if !bytes.Equal(once, w.Append(nil)) {
			t.Fatalf("%x is written in two ways", b)
		}
	})
}
