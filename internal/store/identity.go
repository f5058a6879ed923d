package store

import (
	"bytes"
	"cmp"
	"slices"

	"spoor/internal/intel"
)

// Identity: which hashes name one file.
//
// Observations that carry several hashes tie them. The ties make a graph whose nodes are hashes; this file walks the part of it that the
// asked hash can reach and decides, from the merged ties alone, so that the order of arrival cannot matter:
//
//   - A weak hash belongs to the SHA-256 files that own it: those it is tied to itself, or by way of a hash between them.
//     One owner: it is that file's. None: the strongest hash it is tied to names the file. Several: it is in conflict.
//   - A file is its strongest hash; it unites the facts kept under each of its hashes that is not in conflict.
//   - A file tied to two hashes of one algorithm shows the one that more observations attest; the other is a conflict.
//   - Asked by a hash in conflict, the answer is the owner with more hits, united with the facts kept under the asked hash itself,
//     and every other owner stands under Conflicts.

// maxNodes bounds the walk: an honest file has three nodes; more come only of conflicts.
const maxNodes = 32

// node is one hash of the graph with the rows read for it.
type node struct {
	hash  intel.Hash
	asked bool   // its alias partition was read; weak hashes only
	facts bool   // there are facts under it
	read  bool   // its file partition was read
	rows  []row  // of its file partition
	hints []hint // of its alias partition
	ties  []tie  // to weaker hashes, from its rows
}

// hint names a stronger hash by its first bytes.
type hint struct {
	alg    intel.Algorithm
	prefix [hintBytes]byte
	listed bool // the partitions with that prefix were looked up
}

type tie struct {
	weak  intel.Hash
	count uint64
}

func (h *hint) matches(x intel.Hash) bool {
	if x.Algorithm() != h.alg {
		return false
	}
	var buf [hintBytes]byte
	return bytes.Equal(x.Prefix(buf[:0], hintBytes), h.prefix[:])
}

// graph is the walk from one asked hash.
type graph struct {
	asked intel.Hash
	nodes []*node // in the order of discovery; the first is the asked hash
}

func (g *graph) node(h intel.Hash) *node {
	for _, n := range g.nodes {
		if n.hash == h {
			return n
		}
	}
	return nil
}

func (g *graph) add(h intel.Hash) {
	if len(g.nodes) < maxNodes && g.node(h) == nil {
		g.nodes = append(g.nodes, &node{hash: h, facts: h.Algorithm() == intel.SHA256})
	}
}

// grow adds the nodes that the rows read so far lead to. It reports the hints that are still to be looked up.
func (g *graph) grow() (open []*hint) {
	for i := 0; i < len(g.nodes); i++ {
		n := g.nodes[i]
		for _, t := range n.ties {
			g.add(t.weak)
		}
		for j := range n.hints {
			h := &n.hints[j]
			if !h.listed && !slices.ContainsFunc(g.nodes, func(m *node) bool { return h.matches(m.hash) }) {
				open = append(open, h)
			}
		}
	}
	return open
}

// tied returns how many observations tie a and b, by the rows of the stronger one.
func (g *graph) tied(strong, weak intel.Hash) uint64 {
	n := g.node(strong)
	if n == nil {
		return 0
	}
	for _, t := range n.ties {
		if t.weak == weak {
			return t.count
		}
	}
	return 0
}

// above returns the nodes of one algorithm that are tied to h directly.
func (g *graph) above(h intel.Hash, a intel.Algorithm) (out []intel.Hash) {
	for _, n := range g.nodes {
		if n.hash.Algorithm() == a && g.tied(n.hash, h) > 0 {
			out = append(out, n.hash)
		}
	}
	return out
}

// owners returns the SHA-256 files that h belongs to, sorted.
func (g *graph) owners(h intel.Hash) []intel.Hash {
	if h.Algorithm() == intel.SHA256 {
		return []intel.Hash{h}
	}
	out := g.above(h, intel.SHA256)
	switch {
	case h.Algorithm() == intel.MD5:
		for _, s := range g.above(h, intel.SHA1) {
			out = append(out, g.above(s, intel.SHA256)...)
		}
	case len(out) == 0: // a SHA-1 that is tied to a SHA-256 only by way of an MD5 that has no other SHA-1
		if n := g.node(h); n != nil {
			for _, t := range n.ties {
				if len(g.above(t.weak, intel.SHA1)) == 1 {
					out = append(out, g.above(t.weak, intel.SHA256)...)
				}
			}
		}
	}
	slices.SortFunc(out, intel.Hash.Compare)
	return slices.Compact(out)
}

// heirs are the owners of h, or, when no SHA-256 owns it, the SHA-1s that it is tied to, or h itself.
func (g *graph) heirs(h intel.Hash) []intel.Hash {
	if o := g.owners(h); len(o) > 0 {
		return o
	}
	if h.Algorithm() == intel.MD5 {
		if o := g.above(h, intel.SHA1); len(o) > 0 {
			return o
		}
	}
	return []intel.Hash{h}
}

// identity is the decision: which file the asked hash names.
type identity struct {
	canonical intel.Hash
	hashes    intel.Hashes
	unite     []*node // whose rows are the file's facts
	conflicts []intel.Conflict
}

func (g *graph) decide() identity {
	heirs := g.heirs(g.asked)
	best := heirs[0]
	for _, h := range heirs[1:] {
		if g.hits(h) > g.hits(best) {
			best = h
		}
	}
	id := identity{canonical: best, hashes: intel.HashesOf(best)}
	id.add(g.node(best))
	dispute := func(h, other intel.Hash, count uint64) {
		id.conflicts = append(id.conflicts, intel.Conflict{Hash: h, Other: other, Count: max(count, 1)})
	}
	for a := best.Algorithm() - 1; a >= intel.MD5; a-- {
		// The candidates of this algorithm, the best attested first.
		var candidates []intel.Hash
		for _, n := range g.nodes {
			if n.hash.Algorithm() == a && slices.Contains(g.heirs(n.hash), best) {
				candidates = append(candidates, n.hash)
			}
		}
		slices.SortFunc(candidates, func(x, y intel.Hash) int {
			return cmp.Or(
				-cmp.Compare(b2i(x == g.asked), b2i(y == g.asked)),
				-cmp.Compare(g.tied(best, x), g.tied(best, y)),
				x.Compare(y))
		})
		for i, c := range candidates {
			for _, other := range g.heirs(c) {
				if other != best {
					dispute(c, other, g.tied(other, c))
				}
			}
			switch {
			case i > 0:
				dispute(best, c, g.tied(best, c))
			case len(g.heirs(c)) == 1 || c == g.asked:
				id.hashes.Set(c)
				id.add(g.node(c))
			default:
				id.hashes.Set(c)
			}
		}
	}
	slices.SortFunc(id.conflicts, func(x, y intel.Conflict) int {
		return cmp.Or(x.Hash.Compare(y.Hash), x.Other.Compare(y.Other))
	})
	return id
}

func (id *identity) add(n *node) {
	if n != nil && !slices.Contains(id.unite, n) {
		id.unite = append(id.unite, n)
	}
}

// hits is how often the file was sighted, by the rows under that hash alone.
func (g *graph) hits(h intel.Hash) (hits uint64) {
	if n := g.node(h); n != nil {
		for i := range n.rows {
			if n.rows[i].tag == tagSeen {
				hits += n.rows[i].tally.Count
			}
		}
	}
	return hits
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
