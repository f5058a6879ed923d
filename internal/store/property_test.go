package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// open makes a store in memory whose arrival clock stands still.
func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	o.Now = func() time.Time { return time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC) }
	s, err := store.New(mem.New(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func record(t *testing.T, s *store.Store, id string, observations ...intel.Observation) (repeated bool) {
	t.Helper()
	for i := range observations {
		if err := observations[i].Check(); err != nil {
			t.Fatalf("the test's observation %d: %v", i, err)
		}
	}
	repeated, err := s.Record(t.Context(), []byte(id), observations)
	if err != nil {
		t.Fatal(err)
	}
	return repeated
}

// recordMany is record by RecordMany.
func recordMany(t *testing.T, s *store.Store, id string, observations ...intel.Observation) {
	t.Helper()
	accepted, repeated, err := s.RecordMany(t.Context(), func(yield func([]byte, []intel.Observation) bool) { yield([]byte(id), observations) })
	if err != nil || accepted != uint64(len(observations)) || repeated != 0 {
		t.Fatalf("%d accepted, %d repeated, %v", accepted, repeated, err)
	}
}

// answer is the whole dossier of a hash, every section, as the API spells it.
func answer(t *testing.T, s *store.Store, h intel.Hash) string {
	t.Helper()
	d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), h, dossier.Query{Sections: dossier.AllSections()})
	if err != nil {
		return "error: " + err.Error()
	}
	b, err := json.MarshalIndent(api.Report(d), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// world draws observations about a few files, so that all of them meet.
type world struct {
	*rand.Rand
	files []intel.Hashes
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1))}
	for range 5 {
		w.files = append(w.files, intel.Hashes{MD5: w.hash(intel.MD5), SHA1: w.hash(intel.SHA1), SHA256: w.hash(intel.SHA256)})
	}
	return w
}

func (w *world) hash(a intel.Algorithm) intel.Hash {
	b := make([]byte, a.Size())
	for i := range b {
		b[i] = byte(w.Uint32())
	}
	h, err := intel.HashFromBytes(a, b)
	if err != nil {
		panic(err)
	}
	return h
}

// some is what one observation happens to know of a file: at least one of its hashes. One in thirty confuses two files.
func (w *world) some() intel.Hashes {
	f := w.files[w.IntN(len(w.files))]
	if w.IntN(30) == 0 {
		f.MD5 = w.files[w.IntN(len(w.files))].MD5
	}
	if w.IntN(60) == 0 {
		f.SHA1 = w.files[w.IntN(len(w.files))].SHA1
	}
	for {
		var h intel.Hashes
		for _, x := range []intel.Hash{f.MD5, f.SHA1, f.SHA256} {
			if w.IntN(2) == 0 {
				h.Set(x)
			}
		}
		if !h.IsZero() {
			return h
		}
	}
}

func (w *world) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w *world) zone() intel.Zone { return intel.Zone(1 + w.IntN(5)) }

func (w *world) observation() intel.Observation {
	o := intel.Observation{
		Source: intel.Source{
			Type:    []intel.SourceType{intel.Telemetry, intel.FeedSource, intel.Analyst}[w.IntN(3)],
			Name:    w.pick("sysmon", "edr", "list"),
			Marking: intel.Marking(w.IntN(3)),
		},
		Count: uint64(w.IntN(4)),
	}
	if w.IntN(5) > 0 {
		o.Time = time.Unix(1_700_000_000+int64(w.IntN(200)), 0)
		if w.IntN(3) == 0 {
			o.Last = o.Time.Add(time.Duration(w.IntN(100)) * time.Second)
		}
	}
	o.File = w.some()
	url := w.pick("http://evil.example/a.exe", "https://user:secret@evil.example/a.exe", "http://10.0.0.1/b", "cdn.example")
	object := func() intel.Object {
		x := intel.Object{Path: w.pick("", `C:\a.exe`, `C:\Windows\b.exe`), Name: w.pick("", "a.exe")}
		x.Hashes = w.some()
		return x
	}
	switch w.IntN(12) {
	case 0:
		o.Fact = intel.Attribute{Name: intel.Type, Value: w.pick("PE32", "PE32+", "ZIP")}
	case 1, 2, 3:
		o.Fact = intel.Sighting{Path: w.pick("", `C:\a.exe`, "/usr/bin/a"), Name: w.pick("", "a.exe", "b.exe"), Host: w.pick("", "h1", "h2", "h3")}
	case 4, 5:
		r := intel.Relation{Verb: []intel.Verb{intel.Started, intel.Downloaded, intel.Contains}[w.IntN(3)], From: object(), To: object(), Weak: w.IntN(4) == 0}
		if r.Verb != intel.Contains && w.IntN(5) == 0 {
			r.To = intel.Object{Path: `C:\unknown.exe`}
		}
		o.File, o.Fact = intel.Hashes{}, r
	case 6:
		o.Fact = intel.Access{URL: url, IPs: []string{w.pick("192.0.2.1", "192.0.2.2")}}
	case 7:
		o.Fact = intel.Download{URL: url}
	case 8:
		o.Fact = intel.Detection{Name: w.pick("Trojan.A", "Adware.B"), Method: w.pick("", "clamav"), Zone: w.zone(), URL: w.pick("", "https://d.example/1", "https://d.example/2")}
	case 9:
		o.Fact = intel.Listing{Feed: w.pick("one", "two"), Zone: w.zone(), Threat: w.pick("", "A")}
		if w.IntN(3) == 0 {
			o.File, o.Address = intel.Hashes{}, w.pick("http://evil.example/a.exe", "evil.example", "10.0.0.1")
		}
	case 10:
		switch w.IntN(3) {
		case 0:
			o.Fact = intel.Signature{Signer: w.pick("A", "B"), Status: intel.Trusted}
		case 1:
			o.Fact = intel.Publication{ID: w.pick("r1", "r2"), Type: intel.APT, Title: w.pick("T1", "T2")}
		default:
			o.Fact = intel.AnalystVerdict{Zone: w.zone(), Analyst: w.pick("ann", "bob")}
		}
	default:
		if w.IntN(2) == 0 {
			o.Fact = intel.FuzzyHash{Algorithm: intel.Imphash, Value: w.pick("x", "y")}
		} else {
			o.Fact = intel.Certificate{MD5: w.files[0].MD5, Serial: "01", Publisher: w.pick("CA 1", "CA 2"), Trusted: w.IntN(2) == 0}
		}
	}
	return o
}

// dossiers are the answers to every hash of the world.
func (w *world) dossiers(t *testing.T, s *store.Store) string {
	var b strings.Builder
	for _, f := range w.files {
		for _, h := range []intel.Hash{f.MD5, f.SHA1, f.SHA256} {
			fmt.Fprintf(&b, "%s\n%s\n", h, answer(t, s, h))
		}
	}
	return b.String()
}

// deliver records the observations in batches of random sizes, in the order given, some batches twice, and checks what Record says of those.
func (w *world) deliver(t *testing.T, s *store.Store, observations []intel.Observation) {
	t.Helper()
	if w.IntN(3) == 0 {
		w.deliverMany(t, s, observations)
		return
	}
	for n := 0; len(observations) > 0; n++ {
		size := 1 + w.IntN(min(len(observations), 60))
		id := fmt.Sprint("batch ", n)
		if record(t, s, id, observations[:size]...) {
			t.Fatalf("batch %d is said to be repeated the first time", n)
		}
		for range w.IntN(3) {
			if !record(t, s, id, observations[:size]...) {
				t.Fatalf("batch %d is not said to be repeated", n)
			}
		}
		observations = observations[size:]
	}
}

// deliverMany is deliver by RecordMany: all of it in one step, after some batches came alone, and again and beside others.
func (w *world) deliverMany(t *testing.T, s *store.Store, observations []intel.Observation) {
	t.Helper()
	type batch struct {
		id           []byte
		observations []intel.Observation
	}
	var batches []batch
	total := uint64(len(observations))
	before := uint64(0)
	for n := 0; len(observations) > 0; n++ {
		size := 1 + w.IntN(min(len(observations), 60))
		b := batch{fmt.Append(nil, "batch ", n), observations[:size]}
		observations = observations[size:]
		batches = append(batches, b)
		if w.IntN(5) == 0 {
			record(t, s, string(b.id), b.observations...)
			before += uint64(size)
		}
		if w.IntN(5) == 0 {
			batches = append(batches, b)
		}
	}
	all := func(yield func([]byte, []intel.Observation) bool) {
		for _, b := range batches {
			if !yield(b.id, b.observations) {
				return
			}
		}
	}
	given := uint64(0)
	for _, b := range batches {
		given += uint64(len(b.observations))
	}
	for i, want := range []uint64{total - before, 0} {
		accepted, repeated, err := s.RecordMany(t.Context(), all)
		if err != nil || accepted != want || repeated != given-want {
			t.Fatalf("delivery %d: %d accepted, %d repeated (%v), want %d and %d", i, accepted, repeated, err, want, given-want)
		}
	}
	for _, b := range batches {
		if !record(t, s, string(b.id), b.observations...) {
			t.Fatalf("%s is not said to be repeated after it came among many", b.id)
		}
	}
}

// TestOrder holds the promise that order, batching, splitting and repetition of deliveries never change an answer, conflicts included.
func TestOrder(t *testing.T) {
	conflicts := 0
	for seed := range uint64(40) {
		w := newWorld(seed)
		observations := make([]intel.Observation, 20+w.IntN(250))
		for i := range observations {
			observations[i] = w.observation()
		}
		s := open(t, store.Options{})
		record(t, s, "all", observations...)
		want := w.dossiers(t, s)
		if strings.Contains(want, `"Other"`) {
			conflicts++
		}
		for range 4 {
			w.Shuffle(len(observations), func(i, j int) { observations[i], observations[j] = observations[j], observations[i] })
			s := open(t, store.Options{})
			w.deliver(t, s, observations)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(w.dossiers(t, s), "\n")); diff != "" {
				t.Fatalf("world %d: another order, another answer (-first +second):\n%s", seed, diff)
			}
		}
	}
	if conflicts == 0 || conflicts == 40 {
		t.Errorf("%d of 40 worlds hold a conflict: the test does not try what it is for", conflicts)
	}
}

// TestSplitCounts holds the promise that n observations of one count what one observation of n counts.
func TestSplitCounts(t *testing.T) {
	w := newWorld(7)
	one, many := open(t, store.Options{}), open(t, store.Options{})
	for i := range 200 {
		o := w.observation()
		o.Count, o.Last = 3, o.Time
		record(t, one, fmt.Sprint(i), o)
		o.Count = 1
		record(t, many, fmt.Sprint(i, "a"), o)
		record(t, many, fmt.Sprint(i, "b"), o, o)
	}
	if diff := cmp.Diff(w.dossiers(t, one), w.dossiers(t, many)); diff != "" {
		t.Error(diff)
	}
}

// TestReadWhileWritten reads answers between the batches, as a busy server does: what is cached on the way must not show later.
func TestReadWhileWritten(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(100 + seed)
		read, unread := open(t, store.Options{CachedHeads: 64}), open(t, store.Options{})
		for i := range 150 {
			o := w.observation()
			if i%3 == 0 {
				recordMany(t, read, fmt.Sprint(i), o)
			} else {
				record(t, read, fmt.Sprint(i), o)
			}
			record(t, unread, fmt.Sprint(i), o)
			if i%5 == 0 {
				w.dossiers(t, read)
			}
		}
		if diff := cmp.Diff(strings.Split(w.dossiers(t, unread), "\n"), strings.Split(w.dossiers(t, read), "\n")); diff != "" {
			t.Fatalf("world %d: reading changed an answer (-unread +read):\n%s", seed, diff)
		}
	}
}

// TestManyAtOnce records the same batches by several callers at once, many in one step and one by one, in both orders, more than one pile of them:
// each counts once, for one caller.
func TestManyAtOnce(t *testing.T) {
	const batches, files = 24, 5000
	s := open(t, store.Options{})
	batch := func(n int) ([]byte, []intel.Observation) {
		var out []intel.Observation
		for i := range files {
			h := numbered(n*files + i)
			weak, err := intel.HashFromBytes(intel.MD5, h.Bytes()[:16])
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, intel.Observation{Source: intel.Source{Type: intel.FeedSource, Name: "NSRL"}, Time: noon, File: hashes(h, weak),
				Fact: intel.Listing{Feed: "NSRL", Zone: intel.Green}})
		}
		return fmt.Append(nil, n), out
	}
	many := func(order func(n int) int) func() (uint64, uint64, error) {
		return func() (uint64, uint64, error) {
			return s.RecordMany(t.Context(), func(yield func([]byte, []intel.Observation) bool) {
				for n := range batches {
					if !yield(batch(order(n))) {
						return
					}
				}
			})
		}
	}
	var wg sync.WaitGroup
	var accepted, repeated atomic.Uint64
	for _, caller := range []func() (uint64, uint64, error){
		many(func(n int) int { return n }),
		many(func(n int) int { return batches - 1 - n }),
		func() (a, r uint64, err error) {
			for n := 0; n < batches && err == nil; n += 5 {
				var again bool
				id, observations := batch(n)
				if again, err = s.Record(t.Context(), id, observations); again {
					r += files
				} else {
					a += files
				}
			}
			return a, r, err
		},
	} {
		wg.Go(func() {
			a, r, err := caller()
			if err != nil {
				t.Error(err)
			}
			accepted.Add(a)
			repeated.Add(r)
		})
	}
	wg.Wait()
	if a, r := accepted.Load(), repeated.Load(); a != batches*files || r != (batches+5)*files {
		t.Errorf("%d accepted and %d repeated, want %d and %d", a, r, batches*files, (batches+5)*files)
	}
	for i := 0; i < batches*files; i += 997 {
		f, err := s.View(intel.TLPRed).Recall(t.Context(), numbered(i), 0)
		if err != nil || len(f.Head.Listings) != 1 || f.Head.Listings[0].Tally.Count != 1 {
			t.Fatalf("file %d: %+v, %v", i, f.Head.Listings, err)
		}
	}
}
