package store_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/kv"
	"spoor/internal/kv/mem"
	"spoor/internal/kv/pebble"
	"spoor/internal/similar/digest"
	"spoor/internal/store"
)

// alikeFiles makes files whose TLSH and ssdeep come in families; some of the digests are spelled otherwise than they are kept, and some may be
// seen by few only.
func alikeFiles(r *rand.Rand, n int) (files []intel.Hashes, observations []intel.Observation) {
	var t digest.TLSH
	word := ""
	for i := range n {
		if i%10 == 0 {
			t = digest.TLSH{Checksum: 1, Length: byte(40 + r.IntN(3)), Q1: byte(r.IntN(4)), Q2: byte(r.IntN(4))}
			for j := range t.Body {
				t.Body[j] = byte(r.Uint32())
			}
			word = hex.EncodeToString(t.Body[:6])
		}
		for range r.IntN(8) {
			t.Body[r.IntN(32)] ^= 1 << r.IntN(8)
		}
		h := hashes(hash(intel.SHA256, fmt.Sprintf("%02x", i%256)))
		b := h.SHA256.Bytes()
		b[0], b[1] = byte(i>>8), byte(i)
		h.SHA256, _ = intel.HashFromBytes(intel.SHA256, b)
		files = append(files, h)
		source := intel.Source{Type: intel.FeedSource, Name: "f"}
		if i%7 == 3 {
			source.Marking = intel.TLPRed
		}
		text := t.String()
		switch i % 3 {
		case 1:
			text = strings.ToLower(text)
		case 2:
			text = text[2:]
		}
		observations = append(observations,
			intel.Observation{Source: source, Time: noon, File: h, Fact: intel.FuzzyHash{Algorithm: intel.TLSH, Value: text}},
			intel.Observation{Source: source, Time: noon, File: h, Fact: intel.FuzzyHash{Algorithm: intel.SSDeep, Value: fmt.Sprintf("%d:%s%06x:%s", 96<<(i%2), word, i*7919, word[:7])}},
			intel.Observation{Source: source, Time: noon, File: h, Fact: intel.FuzzyHash{Algorithm: intel.Imphash, Value: strings.ToUpper(fmt.Sprintf("%032x", i/5))}})
	}
	return files, observations
}

// brute compares a file with all others.
func brute(files []intel.Hashes, observations []intel.Observation, of int, clearance intel.Marking, reach intel.Reach) (out []string) {
	for j := range observations {
		o := &observations[j]
		if o.File == files[of] || o.Source.Marking > clearance {
			continue
		}
		for k := range observations {
			mine := &observations[k]
			if mine.File != files[of] || mine.Source.Marking > clearance {
				continue
			}
			a, b := mine.Fact.(intel.FuzzyHash).Canonical(), o.Fact.(intel.FuzzyHash).Canonical()
			if a.Algorithm != b.Algorithm {
				continue
			}
			switch a.Algorithm {
			case intel.TLSH:
				x, _ := digest.ParseTLSH(a.Value)
				y, _ := digest.ParseTLSH(b.Value)
				if d := x.Distance(&y); d <= reach.Distance {
					out = append(out, fmt.Sprint(o.File.SHA256, " tlsh ", d, 0))
				}
			case intel.SSDeep:
				x, _ := digest.ParseSSDeep(a.Value)
				y, _ := digest.ParseSSDeep(b.Value)
				if s := x.Score(&y); s >= reach.Score {
					out = append(out, fmt.Sprint(o.File.SHA256, " ssdeep ", 0, s))
				}
			default:
				if a.Value == b.Value {
					out = append(out, fmt.Sprint(o.File.SHA256, " imphash ", 0, 0))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func told(found []intel.Resemblance) (out []string) {
	for _, r := range found {
		out = append(out, fmt.Sprint(r.Head.File.SHA256, " ", string(r.By.Algorithm), " ", r.Distance, r.Score))
	}
	slices.Sort(out)
	return out
}

// TestSimilarIsExact: what a look-up finds is what a comparison with every file finds, however the digests came and from wherever they are read, and
// nothing of what the reader may not see.
func TestSimilarIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	files, observations := alikeFiles(r, 300)
	half := len(observations) / 2
	for _, way := range []string{"rows", "memory first", "memory afterwards", "in many"} {
		t.Run(way, func(t *testing.T) {
			engine, err := pebble.Open(t.TempDir(), pebble.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := store.New(engine, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			load := func() {
				if err := s.LoadSimilar(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if way == "memory first" || way == "in many" {
				load()
			}
			for i, part := range [][]intel.Observation{observations[:half], observations[half:], observations[:30]} {
				if way == "in many" {
					_, _, err = s.RecordMany(t.Context(), iter.Seq2[[]byte, []intel.Observation](func(yield func([]byte, []intel.Observation) bool) {
						for n := range part {
							if !yield(fmt.Appendf(nil, "%d-%d", i, n), part[n:n+1]) {
								return
							}
						}
					}))
				} else {
					_, err = s.Record(t.Context(), fmt.Append(nil, i), part)
				}
				if err != nil {
					t.Fatal(err)
				}
				if way == "memory afterwards" {
					load()
				}
			}
			if tlsh, ssdeep, whole := s.SimilarCount(); whole != strings.HasPrefix(way, "memory") && way != "in many" || whole && (tlsh < 200 || ssdeep != len(files)) {
				t.Errorf("%d TLSH and %d ssdeep in memory, whole: %v", tlsh, ssdeep, whole)
			}
			for range 15 {
				i := r.IntN(len(files))
				for _, clearance := range []intel.Marking{intel.TLPRed, intel.TLPAmber} {
					want := brute(files, observations, i, clearance, intel.DefaultReach)
					f, err := s.View(clearance).Recall(t.Context(), files[i].SHA256, intel.SectionSimilar)
					if err != nil {
						if clearance == intel.TLPAmber && i%7 == 3 {
							continue // all that is known of it is hidden
						}
						t.Fatal(err)
					}
					if d := cmp.Diff(want, told(f.Similar)); d != "" {
						t.Fatalf("file %d, up to %v (-brute force +store):\n%s", i, clearance, d)
					}
				}
				far := intel.Reach{Distance: 100, Score: 50, Files: 1000}
				v := s.View(intel.TLPRed)
				f, err := v.Recall(t.Context(), files[i].SHA256, intel.SectionFuzzyHashes)
				if err != nil {
					t.Fatal(err)
				}
				var asked []intel.FuzzyHash
				for _, row := range f.FuzzyHashes {
					asked = append(asked, row.Value)
				}
				found, err := v.Similar(t.Context(), asked, far)
				if err != nil {
					t.Fatal(err)
				}
				found = slices.DeleteFunc(found, func(r intel.Resemblance) bool { return r.Head.File == files[i] })
				if d := cmp.Diff(brute(files, observations, i, intel.TLPRed, far), told(found)); d != "" {
					t.Fatalf("file %d, far (-brute force +store):\n%s", i, d)
				}
			}
		})
	}
}

// TestSimilarNearest: of more files than asked for the nearest come.
func TestSimilarNearest(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, observations := alikeFiles(rand.New(rand.NewPCG(6, 6)), 300)
	if _, err := s.Record(t.Context(), []byte("b"), observations); err != nil {
		t.Fatal(err)
	}
	of := observations[0].Fact.(intel.FuzzyHash).Canonical()
	all, err := s.View(intel.TLPRed).Similar(t.Context(), []intel.FuzzyHash{of}, intel.Reach{Distance: 100, Files: 1000})
	if err != nil || len(all) < 5 {
		t.Fatal(len(all), err)
	}
	few, err := s.View(intel.TLPRed).Similar(t.Context(), []intel.FuzzyHash{of}, intel.Reach{Distance: 100, Files: 3})
	if err != nil || len(few) != 3 {
		t.Fatal(len(few), err)
	}
	byDistance := func(a, b intel.Resemblance) int { return a.Distance - b.Distance }
	slices.SortStableFunc(all, byDistance)
	if greatest := slices.MaxFunc(few, byDistance); greatest.Distance > all[2].Distance {
		t.Errorf("one of the three is %d apart; the third is %d", greatest.Distance, all[2].Distance)
	}
}

// TestSimilarFresh: an answer does not stand any more when a file near its own comes.
func TestSimilarFresh(t *testing.T) {
	files, observations := alikeFiles(rand.New(rand.NewPCG(8, 8)), 10)
	for _, loaded := range []bool{false, true} {
		s, err := store.New(mem.New(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if loaded {
			if err := s.LoadSimilar(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Record(t.Context(), []byte("1"), observations[:3]); err != nil {
			t.Fatal(err)
		}
		v := s.View(intel.TLPRed)
		f, err := v.Recall(t.Context(), files[0].SHA256, intel.SectionSimilar)
		if err != nil || len(f.Similar) != 0 || !v.Fresh() {
			t.Fatal(err, f)
		}
		if _, err := s.Record(t.Context(), []byte("2"), observations[3:4]); err != nil { // the next one's TLSH
			t.Fatal(err)
		}
		if v.Fresh() {
			t.Error("the answer stands although a near file came")
		}
		if f, err = s.View(intel.TLPRed).Recall(t.Context(), files[0].SHA256, intel.SectionSimilar); err != nil || len(f.Similar) != 1 {
			t.Errorf("%d similar files, %v", len(f.Similar), err)
		}
	}
}

// TestSimilarWhileLoading: what is recorded while the index is read is in it.
func TestSimilarWhileLoading(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	files, observations := alikeFiles(rand.New(rand.NewPCG(9, 9)), 250)
	var group sync.WaitGroup
	group.Go(func() {
		for i := range files {
			if _, err := s.Record(t.Context(), fmt.Append(nil, i), observations[3*i:3*i+3]); err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.LoadSimilar(t.Context()); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	distinct := map[string]bool{}
	for _, o := range observations {
		if f := o.Fact.(intel.FuzzyHash).Canonical(); f.Algorithm == intel.TLSH {
			distinct[f.Value] = true
		}
	}
	if tlsh, ssdeep, whole := s.SimilarCount(); tlsh != len(distinct) || ssdeep != len(files) || !whole {
		t.Errorf("%d TLSH of %d and %d ssdeep of %d", tlsh, len(distinct), ssdeep, len(files))
	}
}

// withoutCatalogue is an engine that keeps no catalogue, as an older version wrote.
type withoutCatalogue struct{ kv.Store }

func (e withoutCatalogue) Apply(ctx context.Context, b *kv.Batch) (bool, error) {
	c := *b
	c.Writes = slices.DeleteFunc(slices.Clone(b.Writes), func(w kv.Write) bool { return w.Partition[0] == 'x' })
	return e.Store.Apply(ctx, &c)
}

// TestCatalogueIsMade: a store of a version without catalogue gets one when it is opened.
func TestCatalogueIsMade(t *testing.T) {
	engine := mem.New()
	old, err := store.New(withoutCatalogue{engine}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files, observations := alikeFiles(rand.New(rand.NewPCG(10, 10)), 50)
	if _, err := old.Record(t.Context(), []byte("1"), observations); err != nil {
		t.Fatal(err)
	}
	s, err := store.New(engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range files {
		f, err := s.View(intel.TLPRed).Recall(t.Context(), files[i].SHA256, intel.SectionSimilar)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(brute(files, observations, i, intel.TLPRed, intel.DefaultReach), told(f.Similar)); d != "" {
			t.Fatalf("file %d (-brute force +store):\n%s", i, d)
		}
	}
}
