package pebble

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"spoor/internal/kv"
)

// TestRuns writes runs of many pieces and merges them part by part: the parts together hold each row once, in order, with its values added up,
// wherever they are cut.
func TestRuns(t *testing.T) {
	fs := vfs.NewMem()
	dir := tables{fs: fs, dir: ""}
	rnd := rand.New(rand.NewPCG(8, 15))
	want := map[string]uint64{}
	l := &load{}
	pieces := 0
	for range 7 {
		rows := map[string]kv.Write{}
		for range 5000 + rnd.IntN(3000) {
			partition := make([]byte, 3+2*rnd.IntN(2))
			partition[0], partition[1] = byte(rnd.IntN(3)), byte(rnd.IntN(256))
			w := kv.Write{Partition: partition, Key: []byte{byte(rnd.IntN(256)), byte(rnd.IntN(4))}, Value: &kv.Value{Count: 1 + rnd.Uint64N(3)}}
			if rnd.IntN(100) == 0 {
				w.Value.Text.Data = make([]byte, 1+rnd.IntN(2000))
			}
			rows[string(diskKey(nil, w.Partition, w.Key))] = w
		}
		var sorted []kv.Write
		for key, w := range rows {
			want[key] += w.Value.Count
			sorted = append(sorted, w)
		}
		slices.SortFunc(sorted, func(a, b kv.Write) int { return kv.CompareRows(&a, &b) })
		r, err := dir.writeRun(t.Context(), slices.Values(sorted))
		if err != nil {
			t.Fatal(err)
		}
		l.runs = append(l.runs, r)
		pieces += len(r.pieces) - 1
	}
	if pieces < 3*len(l.runs) {
		t.Fatalf("%d pieces: the test does not try what it is for", pieces)
	}
	var keys []string
	for key := range want {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for range 6 {
		parts := []part{{}}
		for _, i := range slices.Sorted(slices.Values(rnd.Perm(len(keys))[:rnd.IntN(9)])) {
			cut := []byte(keys[i])
			cut = cut[:1+rnd.IntN(len(cut))]
			if last := &parts[len(parts)-1]; string(cut) > string(last.from) {
				last.to = cut
				parts = append(parts, part{from: cut})
			}
		}
		got := map[string]uint64{}
		var order []string
		for _, p := range parts {
			err := mergeRuns(t.Context(), l.runs, p, func(key, value []byte) error {
				var v kv.Value
				if err := v.Decode(value); err != nil {
					return err
				}
				order = append(order, string(key))
				got[string(key)] += v.Count
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(order, keys) {
			t.Fatalf("%d parts: %d rows in another order or not the same ones, want %d", len(parts), len(order), len(keys))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%d parts: %s", len(parts), diff)
		}
	}
	for _, r := range l.runs {
		r.remove(&dir)
	}
	if left, err := fs.List(""); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestParts holds how what is loaded is cut: the parts follow each other without a gap, and where partitions of another length begin, another
// part does.
func TestParts(t *testing.T) {
	pieces := func(length byte, from, step, n int) *run {
		r := &run{}
		for i := range n {
			r.pieces = append(r.pieces, piece{first: fmt.Appendf([]byte{length}, "%06d", from+i*step), at: int64(i) * pieceBytes, size: pieceBytes})
		}
		r.pieces = append(r.pieces, piece{at: int64(n) * pieceBytes})
		return r
	}
	l := &load{runs: []*run{pieces(10, 0, 3, 1000), pieces(10, 1, 3, 1000), pieces(34, 0, 1, 2000), pieces(34, 2000, 1, 2000), pieces(40, 0, 1, 1)}}
	parts := l.parts(2)
	starts := map[string]bool{}
	for i, p := range parts {
		if i > 0 && !slices.Equal(p.from, parts[i-1].to) || i == 0 && p.from != nil || i == len(parts)-1 && p.to != nil {
			t.Errorf("part %d of %d: %x to %x", i, len(parts), p.from, p.to)
		}
		starts[hex.EncodeToString(p.from)] = true
	}
	if len(parts) < 8 || len(parts) > 30 || !starts["22"] {
		t.Errorf("%d parts: %v", len(parts), starts)
	}
	if parts := (&load{}).parts(2); parts != nil {
		t.Errorf("of nothing: %v", parts)
	}
}

// TestDamagedRun: a run that does not hold what was written is a fault, not a panic and not other rows.
func TestDamagedRun(t *testing.T) {
	for _, damaged := range [][]byte{{0xFF}, {1, 1, 0, 'a'}, {0, 9, 0, 'a'}, {0, 1, 9, 'a'}, {0, 1}, {0}} {
		fs := vfs.NewMem()
		dir := tables{fs: fs, dir: ""}
		r, err := dir.writeRun(t.Context(), slices.Values([]kv.Write{{Partition: []byte("p"), Key: []byte("k"), Value: &kv.Value{}}}))
		if err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create(r.name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(damaged); err != nil {
			t.Fatal(err)
		}
		if r.file, err = fs.Open(r.name); err != nil {
			t.Fatal(err)
		}
		r.pieces[0].size, r.pieces[1].at = int64(len(damaged)), int64(len(damaged))
		if err := mergeRuns(t.Context(), []*run{r}, part{}, func(_, _ []byte) error { return nil }); !errors.Is(err, errRun) {
			t.Errorf("%x: %v", damaged, err)
		}
	}
}
