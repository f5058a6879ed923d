package store

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// View is one reader's look at the store, limited to what its clearance may see. It remembers what it read, so that Fresh can tell
// whether an answer made from it still stands. A View is for one goroutine.
type View struct {
	s         *Store
	clearance intel.Marking
	stamps    []stamp
	arena     arena
}

// View opens a look at the store for a reader who may see markings up to clearance.
func (s *Store) View(clearance intel.Marking) *View { return &View{s: s, clearance: clearance} }

// Fresh reports whether everything that the view has read is still as it was. It may be called from any goroutine once reading is done.
func (v *View) Fresh() bool { return v.s.changes.fresh(v.stamps) }

// Size is about how many bytes the view keeps to answer Fresh.
func (v *View) Size() int { return 64 + 8*len(v.stamps) }

// row is a row taken apart and copied out of the engine.
type row struct {
	tag    byte
	detail [2]byte
	object string
	extra  string // what stands beside the object in the text
	at     int64  // when the text was written
	tally  intel.Tally
	hosts  *kv.Sketch // tagSeen only
}

func compareRows(a, b *row) int {
	return cmp.Or(cmp.Compare(a.tag, b.tag), slices.Compare(a.detail[:], b.detail[:]), strings.Compare(a.object, b.object))
}

// absorb merges o, a row of the same tag and object, into r.
func (r *row) absorb(o *row) {
	addTally(&r.tally, &o.tally)
	if o.extra != "" && (r.extra == "" || o.at > r.at || o.at == r.at && o.extra > r.extra) {
		r.extra, r.at = o.extra, o.at
	}
	if o.hosts != nil {
		if r.hosts == nil {
			r.hosts = new(kv.Sketch)
		}
		r.hosts.Merge(o.hosts)
	}
}

func addTally(t, o *intel.Tally) {
	t.Count += o.Count
	if t.First == 0 || o.First != 0 && o.First < t.First {
		t.First = o.First
	}
	t.Last = max(t.Last, o.Last)
	if t.Learned == 0 || o.Learned != 0 && o.Learned < t.Learned {
		t.Learned = o.Learned
	}
	t.Sources = uniteNames(t.Sources, o.Sources)
}

// uniteNames unites sorted sets; it never changes either.
func uniteNames(a, b []string) []string {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), kv.MaxSources)]
}

// arena keeps many small texts in few allocations.
type arena struct{ b strings.Builder }

func (a *arena) keep(s []byte) string {
	if len(s) == 0 {
		return ""
	}
	if a.b.Cap()-a.b.Len() < len(s) {
		size := min(max(512, 2*a.b.Cap()), 1<<16)
		a.b = strings.Builder{}
		a.b.Grow(max(size, len(s)))
	}
	at := a.b.Len()
	a.b.Write(s)
	return a.b.String()[at:]
}

// keep copies a row out of the engine; ok is false when the reader may not see it, or when no such row is ours.
func (v *View) keep(kr *kv.Row) (r row, ok bool) {
	k, ok := parseKey(kr.Key, kr.Value.Text)
	if !ok || k.marking > v.clearance {
		return row{}, false
	}
	r = row{tag: k.tag, object: v.arena.keep(k.object), extra: v.arena.keep(k.extra), at: kr.Value.Text.At}
	copy(r.detail[:], k.detail)
	r.tally = intel.Tally{
		Count:   kr.Value.Count,
		First:   intel.Seconds(kr.Value.First),
		Last:    intel.Seconds(kr.Value.Last),
		Learned: intel.Seconds(kr.Value.Learned),
		Sources: v.s.sources.nameSet(kr.Value.Sources),
	}
	if k.tag == tagSeen {
		r.hosts = new(kv.Sketch)
		r.hosts.Merge(&kr.Value.Hosts)
	}
	return r, true
}

// smallPartition is how many rows are read of a whole partition before it is read relation by relation, each bounded.
const smallPartition = 4096

// fileRanges are the row ranges of a file's partition that hold the head and the wanted groups.
func fileRanges(dst []kv.Range, partition []byte, want intel.Section, perRelation int) []kv.Range {
	dst = append(dst, kv.Range{Partition: partition, To: tagBound(endOfHead), Limit: perRelation})
	for i, t := range sectionTags {
		if want&(1<<i) != 0 && (i == 0 || sectionTags[i-1] != t || want&(1<<(i-1)) == 0) {
			dst = append(dst, kv.Range{Partition: partition, From: tagBound(t), To: tagBound(t + 1), Limit: perRelation})
		}
	}
	return dst
}

var tagBounds = func() (b [256][]byte) {
	for i := range b {
		b[i] = []byte{byte(i)}
	}
	return b
}()

func tagBound(tag byte) []byte { return tagBounds[tag] }

// target is what a range of a scan is read for.
type target struct {
	g     *graph
	n     *node // rows or hints of this node
	h     *hint // or the partitions that this hint names
	alias bool
	count int
}

// scratch is what a load needs while it runs; most loads are small and many, so it is used again.
type scratch struct {
	ranges  []kv.Range
	targets []target
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// load walks all graphs to their ends, side by side: one scan a round answers for every graph.
func (v *View) load(ctx context.Context, graphs []*graph, want intel.Section) error {
	sc := scratches.Get().(*scratch)
	ranges, targets := sc.ranges, sc.targets
	defer func() {
		const kept = 32 // of each: clearing more would cost what this saves
		if cap(ranges) > kept || cap(targets) > kept {
			return
		}
		clear(ranges[:cap(ranges)])
		clear(targets[:cap(targets)])
		sc.ranges, sc.targets = ranges[:0], targets[:0]
		scratches.Put(sc)
	}()
	if v.stamps == nil {
		v.stamps = make([]stamp, 0, 8*len(graphs))
	}
	// Most of a small partition is read faster as a whole than relation by relation; what was not asked for is passed over later.
	whole := bits.OnesCount32(uint32(want)) >= 6
	budget := v.s.hubs.scanBudget()
	for round := 0; ; round++ {
		ranges, targets = ranges[:0], targets[:0]
		for _, g := range graphs {
			for _, h := range g.grow() {
				if round < 8 {
					p := append(make([]byte, 0, 2+hintBytes), spaceFile, byte(h.alg))
					ranges = append(ranges, kv.Range{Partition: append(p, h.prefix[:]...), Prefix: 2 + h.alg.Size(), Limit: 8})
					targets = append(targets, target{g: g, h: h})
				}
				h.listed = true
			}
			for _, n := range g.nodes {
				// A weak hash is asked first whether there are facts under it: most have none, and an unknown one has neither.
				if n.hash.Algorithm() < intel.SHA256 && !n.asked {
					n.asked = true
					p := aliasPartition(nil, n.hash)
					v.stamps = append(v.stamps, v.s.changes.stamp(p))
					ranges = append(ranges, kv.Range{Partition: p, Limit: maxNodes})
					targets = append(targets, target{g: g, n: n, alias: true})
				}
				if n.read || !n.facts {
					continue
				}
				n.read = true
				p := filePartition(nil, n.hash)
				v.stamps = append(v.stamps, v.s.changes.stamp(p))
				before := len(ranges)
				switch {
				case whole && want&intel.SectionHosts == 0: // of a popular file most rows are hosts
					ranges = append(ranges, kv.Range{Partition: p, To: tagBound(tagHost), Limit: smallPartition},
						kv.Range{Partition: p, From: tagBound(tagHost + 1), Limit: smallPartition})
				case whole:
					ranges = append(ranges, kv.Range{Partition: p, Limit: smallPartition})
				default:
					ranges = fileRanges(ranges, p, want, budget)
				}
				for range len(ranges) - before {
					targets = append(targets, target{g: g, n: n})
				}
			}
		}
		if len(ranges) == 0 {
			return nil
		}
		err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
			t := &targets[kr.Range]
			t.count++
			switch {
			case t.h != nil:
				if h, err := intel.HashFromBytes(t.h.alg, kr.Partition[2:]); err == nil {
					t.g.add(h)
				}
			case t.alias:
				if len(kr.Key) == 1+hintBytes {
					h := hint{alg: intel.Algorithm(kr.Key[0])}
					copy(h.prefix[:], kr.Key[1:])
					if h.matches(t.n.hash) {
						t.n.facts = true
					} else {
						t.n.hints = append(t.n.hints, h)
					}
				}
			default:
				if r, ok := v.keep(&kr); ok {
					t.n.rows = append(t.n.rows, r)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("recalling %d files: %w", len(graphs), v.s.kind(err))
		}
		for i := range targets {
			t := &targets[i]
			if t.n == nil || t.alias {
				continue
			}
			if whole && t.count == smallPartition {
				if err := v.reread(ctx, t.n, want); err != nil {
					return err
				}
			}
			t.n.readTies()
		}
	}
}

// reread reads a large partition relation by relation.
func (v *View) reread(ctx context.Context, n *node, want intel.Section) error {
	n.rows = n.rows[:0]
	p := filePartition(nil, n.hash)
	counts := map[byte]int{}
	budget := v.s.hubs.scanBudget()
	err := v.s.kv.Scan(ctx, fileRanges(nil, p, want, budget), func(kr kv.Row) error {
		if r, ok := v.keep(&kr); ok {
			n.rows = append(n.rows, r)
		}
		counts[kr.Key[0]]++
		return nil
	})
	if err != nil {
		return fmt.Errorf("recalling %s: %w", n.hash, v.s.kind(err))
	}
	for tag, count := range counts {
		if tag >= endOfHead && count >= budget {
			v.s.hubs.tell(p, tag)
		}
	}
	return nil
}

// readTies finds the ties among the node's rows.
func (n *node) readTies() {
	n.ties = n.ties[:0]
	for i := range n.rows {
		r := &n.rows[i]
		if r.tag != tagTies {
			continue
		}
		rest := []byte(r.object)
		for _, a := range [...]intel.Algorithm{intel.MD5, intel.SHA1} {
			if r.detail[0]&byte(a) == 0 || len(rest) < a.Size() {
				continue
			}
			h, err := intel.HashFromBytes(a, rest[:a.Size()])
			rest = rest[a.Size():]
			if err != nil {
				continue
			}
			if j := slices.IndexFunc(n.ties, func(t tie) bool { return t.weak == h }); j >= 0 {
				n.ties[j].count += r.tally.Count
			} else {
				n.ties = append(n.ties, tie{h, r.tally.Count})
			}
		}
	}
	// The best attested first, so that the bound on nodes drops the least.
	slices.SortFunc(n.ties, func(x, y tie) int { return cmp.Or(-cmp.Compare(x.count, y.count), x.weak.Compare(y.weak)) })
}

// united returns the rows of the nodes, sorted, each object once.
func united(nodes []*node) []row {
	rows := nodes[0].rows
	if len(nodes) > 1 {
		n := 0
		for _, m := range nodes {
			n += len(m.rows)
		}
		rows = make([]row, 0, n)
		for _, m := range nodes {
			rows = append(rows, m.rows...)
		}
	}
	if len(nodes) > 1 || !slices.IsSortedFunc(rows, func(a, b row) int { return compareRows(&a, &b) }) {
		slices.SortFunc(rows, func(a, b row) int { return compareRows(&a, &b) })
	}
	out := rows[:0]
	for i := range rows {
		if len(out) > 0 && compareRows(&out[len(out)-1], &rows[i]) == 0 {
			out[len(out)-1].absorb(&rows[i])
		} else {
			out = append(out, rows[i])
		}
	}
	return out
}
