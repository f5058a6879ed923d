package similar

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"

	"spoor/internal/similar/digest"
)

// Level is where an ssdeep digest stands: the number of its block size. Only digests of the same and of the next levels have a score.
type Level uint8

// Levels is how many there are.
const Levels = 31

// LevelOf is the level of a digest.
func LevelOf(d *digest.SSDeep) Level { return Level(d.Level()) }

// NearLevels are the levels that have digests with a score.
func NearLevels(d *digest.SSDeep) []Level {
	var near []Level
	for l := d.Level() - 1; l <= d.Level()+1; l++ {
		if l >= 0 && l < Levels {
			near = append(near, Level(l))
		}
	}
	return near
}

// SSDeep is an index of ssdeep digests. The zero value is empty. Its methods may be called from many goroutines.
//
// Two digests have a score when parts of one block size have seven characters in a row in common. Of the five runs of three in seven, both have
// the one that comes first in a fixed order; so the digests stand in lists by such runs, about 28 each, and a search reads the lists of its own.
// Digests too short for that have a score only when they are equal, and stand in a list by all that they are.
type SSDeep struct {
	mu    sync.RWMutex
	texts []byte   // one after another
	ends  []uint64 // where each ends in texts
	lists [1 << 14]list
}

// list holds, for some keys, which digests stand under them: key<<32 | number of the digest. The first sorted ones are in order.
type list struct {
	places []uint64
	sorted int
}

const (
	gram = 7 // what two digests must have in common
	run  = 3 // what of it is looked up
)

// keys returns under what a digest stands, each once.
func keys(d *digest.SSDeep) []uint32 {
	out := make([]uint32, 0, 64)
	out = runs(out, uint64(d.Level()), d.First)
	out = runs(out, uint64(d.Level()+1), d.Second)
	if len(out) == 0 {
		h := uint64(d.Level() + 64)
		for _, c := range []byte(d.First + ":" + d.Second) {
			h = mix(h ^ uint64(c))
		}
		out = append(out, uint32(h))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func mix(h uint64) uint64 {
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>29
}

func runs(out []uint32, level uint64, s string) []uint32 {
	if len(s) < gram {
		return out
	}
	var order [64]uint32 // of the run that begins at each place
	for i := range len(s) - run + 1 {
		order[i] = uint32(mix(uint64(s[i])|uint64(s[i+1])<<8|uint64(s[i+2])<<16|level<<24) >> 20)
	}
	last := uint32(0)
	for i := range len(s) - gram + 1 {
		least := order[i]
		for _, o := range order[i+1 : i+gram-run+1] {
			least = min(least, o)
		}
		if i == 0 || least != last {
			out = append(out, least)
		}
		last = least
	}
	return out
}

func (x *SSDeep) list(key uint32) *list { return &x.lists[key>>18] }

func (x *SSDeep) text(n uint32) []byte {
	begin := uint64(0)
	if n > 0 {
		begin = x.ends[n-1]
	}
	return x.texts[begin:x.ends[n]]
}

// Len is how many digests the index holds.
func (x *SSDeep) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ends)
}

// Add adds a digest as text, if it is not there; what is no digest adds nothing.
func (x *SSDeep) Add(text string) {
	d, err := digest.ParseSSDeep(text)
	if err != nil {
		return
	}
	ks := keys(&d)
	x.mu.Lock()
	defer x.mu.Unlock()
	there := false
	x.list(ks[0]).each(ks[0], func(n uint32) {
		there = there || string(x.text(n)) == text
	})
	if there || len(x.ends) == 1<<32-1 {
		return
	}
	n := uint64(len(x.ends))
	x.texts = append(x.texts, text...)
	x.ends = append(x.ends, uint64(len(x.texts)))
	for _, k := range ks {
		x.list(k).add(uint64(k)<<32 | n)
	}
}

func (l *list) add(place uint64) {
	if n := len(l.places); n-l.sorted >= 64+n/8 {
		slices.Sort(l.places[l.sorted:])
		merged := make([]uint64, 0, n+n/8+1)
		early, late := l.places[:l.sorted], l.places[l.sorted:]
		for len(early) > 0 && len(late) > 0 {
			if early[0] < late[0] {
				merged, early = append(merged, early[0]), early[1:]
			} else {
				merged, late = append(merged, late[0]), late[1:]
			}
		}
		l.places = append(append(merged, early...), late...)
		l.sorted = n
	}
	l.places = append(l.places, place)
}

func (l *list) each(key uint32, visit func(n uint32)) {
	i := sort.Search(l.sorted, func(i int) bool { return uint32(l.places[i]>>32) >= key })
	for ; i < l.sorted && uint32(l.places[i]>>32) == key; i++ {
		visit(uint32(l.places[i]))
	}
	for _, p := range l.places[l.sorted:] {
		if uint32(p>>32) == key {
			visit(uint32(p))
		}
	}
}

// SSDeepMatch is a digest that was found.
type SSDeepMatch struct {
	Text  string
	Score int
}

// Search returns the digests whose score with d is least or more, the most alike first, at most most of them. Whether there were more is told by cut.
func (x *SSDeep) Search(d *digest.SSDeep, least, most int) (found []SSDeepMatch, cut bool) {
	s := NewSSDeepSearch(d, least, most)
	x.mu.RLock()
	defer x.mu.RUnlock()
	var candidates []uint32
	for _, k := range keys(d) {
		x.list(k).each(k, func(n uint32) { candidates = append(candidates, n) })
	}
	slices.Sort(candidates)
	for _, n := range slices.Compact(candidates) {
		s.Look(x.text(n))
	}
	return s.Found()
}

// SSDeepSearch gathers the digests most alike to one.
type SSDeepSearch struct {
	from        digest.SSDeep
	least, most int
	found       []SSDeepMatch
	cut         bool
}

// NewSSDeepSearch begins a search, for callers who bring the digests themselves.
func NewSSDeepSearch(d *digest.SSDeep, least, most int) *SSDeepSearch {
	return &SSDeepSearch{from: *d, least: max(least, 1), most: max(most, 1)}
}

// Look compares with a digest as text; what is no digest is passed over.
func (s *SSDeepSearch) Look(text []byte) {
	t := string(text)
	d, err := digest.ParseSSDeep(t)
	if err != nil {
		return
	}
	score := s.from.Score(&d)
	if score < s.least {
		return
	}
	s.found = append(s.found, SSDeepMatch{t, score})
	if len(s.found) >= 2*s.most+64 {
		s.best()
		s.least = s.found[len(s.found)-1].Score
	}
}

func (s *SSDeepSearch) best() {
	slices.SortFunc(s.found, func(a, b SSDeepMatch) int {
		return cmp.Or(-cmp.Compare(a.Score, b.Score), strings.Compare(a.Text, b.Text))
	})
	if len(s.found) > s.most {
		s.found, s.cut = s.found[:s.most], true
	}
}

// Found returns what was found, the most alike first, and whether there was more.
func (s *SSDeepSearch) Found() ([]SSDeepMatch, bool) {
	s.best()
	return s.found, s.cut
}
