package similar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/similar/digest"
)

// family makes digests that come in families, near each other by steps of all kinds, as files do.
func family(r *rand.Rand, n int) []digest.TLSH {
	var all []digest.TLSH
	for len(all) < n {
		t := digest.TLSH{Checksum: byte(r.Uint32()), Length: byte(r.IntN(6)) - 3, Q1: byte(r.IntN(16)), Q2: byte(r.IntN(16))}
		for i := range t.Body {
			t.Body[i] = byte(r.Uint32())
		}
		for range 1 + r.IntN(12) {
			all = append(all, t)
			for range r.IntN(20) {
				t.Body[r.IntN(32)] ^= 1 << r.IntN(8)
			}
			switch r.IntN(6) {
			case 0:
				t.Length++
			case 1:
				t.Q1 = (t.Q1 + byte(r.IntN(4))) & 15
			case 2:
				t.Q2 = (t.Q2 - byte(r.IntN(4))) & 15
			case 3:
				t.Checksum++
			}
		}
	}
	return all[:n]
}

// TestTLSHIsExact holds the index against a comparison with every digest.
func TestTLSHIsExact(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := family(r, 2000)
		var x, loaded TLSH
		for i := range all {
			x.Add(&all[i])
			if r.IntN(3) == 0 { // again, which changes nothing
				x.Add(&all[r.IntN(i+1)])
			}
		}
		distinct := map[digest.TLSH]bool{}
		for _, d := range all {
			distinct[d] = true
		}
		// The other index is filled by keys in their order, as from disk, and then some that it has.
		byCell := map[Cell][][]byte{}
		for d := range distinct {
			byCell[CellOf(&d)] = append(byCell[CellOf(&d)], Key(nil, &d))
		}
		for c, keys := range byCell {
			slices.SortFunc(keys, slices.Compare)
			for _, k := range append(keys, keys[0]) {
				loaded.AddKey(c, k)
			}
		}
		if x.Len() != len(distinct) || loaded.Len() != len(distinct) {
			t.Fatalf("%d and %d digests in the indexes, %d were added", x.Len(), loaded.Len(), len(distinct))
		}
		hits := 0
		for range 30 {
			q := all[r.IntN(len(all))]
			if r.IntN(2) == 0 {
				q.Body[r.IntN(32)] ^= byte(r.Uint32())
				q.Length += byte(r.IntN(3)) - 1
			}
			for _, distance := range []int{0, 1, 12, 30, 31, 60, 100, 300, 10000} {
				want := NewTLSHSearch(&q, distance, len(all))
				for d := range distinct {
					if n := q.Distance(&d); n <= distance {
						want.found = append(want.found, TLSHMatch{d, n})
					}
				}
				brute, _ := want.Found()
				hits += len(brute)
				for _, index := range []*TLSH{&x, &loaded} {
					got, cut := index.Search(&q, distance, len(all))
					if !slices.Equal(brute, got) || cut {
						t.Fatalf("within %d of %s (-brute force +index, cut %v):\n%s", distance, q, cut, cmp.Diff(brute, got))
					}
				}
				got, cut := x.Search(&q, distance, 5)
				if !slices.Equal(brute[:min(5, len(brute))], got) || cut != (len(brute) > 5) {
					t.Fatalf("the best five within %d, cut %v:\n%v", distance, cut, got)
				}
				by := NewTLSHSearch(&q, distance, len(all))
				for c, cost := range Near(&q, distance) {
					for _, k := range byCell[c] {
						by.Look(c, cost, k)
					}
				}
				if got, _ := by.Found(); !slices.Equal(brute, got) {
					t.Fatalf("by cells within %d: %s", distance, cmp.Diff(brute, got))
				}
			}
		}
		if hits < 1000 {
			t.Errorf("only %d hits: the test tests little", hits)
		}
	}
}

func TestTLSHKeys(t *testing.T) {
	for _, d := range family(rand.New(rand.NewPCG(1, 9)), 500) {
		if got, ok := FromKey(CellOf(&d), Key(nil, &d)); !ok || got != d {
			t.Fatalf("%s comes back as %s", d, got)
		}
	}
	if _, ok := FromKey(0, []byte("short")); ok {
		t.Error("a short key is a digest")
	}
}

// related makes ssdeep digests that share stretches, at neighbouring block sizes too.
func related(r *rand.Rand, n int) []string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	pool := []string{"", "aaaaaaaa", "abababababab"}
	for range n / 8 {
		pool = append(pool, word(r.IntN(16)))
	}
	part := func(most int) string {
		var b strings.Builder
		for range r.IntN(6) {
			if r.IntN(2) == 0 {
				b.WriteString(pool[r.IntN(len(pool))])
			} else {
				b.WriteString(word(r.IntN(6)))
			}
		}
		return b.String()[:min(b.Len(), most)]
	}
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%d:%s:%s", 3<<r.IntN(4), part(64), part(32))
	}
	return append(out, "3221225472:"+word(64)+":"+word(32), "3::", "3:a:b", "3:aaaa:b", "3:aaaaaa:b")
}

// TestSSDeepIsExact holds the index against a comparison with every digest.
func TestSSDeepIsExact(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 2))
		all := related(r, 1500)
		var x SSDeep
		for i, s := range all {
			x.Add(s)
			if r.IntN(3) == 0 {
				x.Add(all[r.IntN(i+1)])
			}
		}
		distinct := map[string]bool{}
		for _, s := range all {
			distinct[s] = true
		}
		if x.Len() != len(distinct) {
			t.Fatalf("%d digests in the index, %d were added", x.Len(), len(distinct))
		}
		hits := 0
		for range 60 {
			d, err := digest.ParseSSDeep(all[r.IntN(len(all))])
			if err != nil {
				t.Fatal(err)
			}
			scores := map[string]int{}
			for s := range distinct {
				o, _ := digest.ParseSSDeep(s)
				scores[s] = d.Score(&o)
			}
			for _, least := range []int{0, 1, 40, 100} {
				want := NewSSDeepSearch(&d, least, len(all))
				for s, score := range scores {
					if score >= max(least, 1) {
						want.found = append(want.found, SSDeepMatch{s, score})
					}
				}
				brute, _ := want.Found()
				hits += len(brute)
				got, cut := x.Search(&d, least, len(all))
				if !slices.Equal(brute, got) || cut {
					t.Fatalf("with %v of %d (-brute force +index, cut %v):\n%s", d, least, cut, cmp.Diff(brute, got))
				}
				got, cut = x.Search(&d, least, 5)
				if !slices.Equal(brute[:min(5, len(brute))], got) || cut != (len(brute) > 5) {
					t.Fatalf("the best five of %d, cut %v:\n%v", least, cut, got)
				}
			}
		}
		if hits < 1000 {
			t.Errorf("only %d hits: the test tests little", hits)
		}
	}
}

func TestNearLevels(t *testing.T) {
	for s, want := range map[string][]Level{"3::": {0, 1}, "12::": {1, 2, 3}, "3221225472::": {29, 30}} {
		d, err := digest.ParseSSDeep(s)
		if err != nil || !slices.Equal(NearLevels(&d), want) {
			t.Errorf("%s: %v, %v", s, NearLevels(&d), err)
		}
	}
}

// TestTogether searches while others add; the race detector looks on, and what was added before is found.
func TestTogether(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	digests := family(r, 3000)
	texts := related(r, 1000)
	var x TLSH
	var y SSDeep
	var group sync.WaitGroup
	for part := range 2 {
		group.Go(func() {
			for i := part; i < len(digests); i += 2 {
				x.Add(&digests[i])
				if got, _ := x.Search(&digests[i], 0, 1); len(got) != 1 || got[0].Digest != digests[i] {
					t.Errorf("%s was added and is not found", digests[i])
				}
			}
			for i := part; i < len(texts); i += 2 {
				y.Add(texts[i])
				d, _ := digest.ParseSSDeep(texts[i])
				if got, _ := y.Search(&d, 100, 1); len(got) != 1 {
					t.Errorf("%s was added and is not found", texts[i])
				}
			}
		})
	}
	group.Wait()
}
