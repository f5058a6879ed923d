package dossier

import (
	"cmp"
	"slices"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// maxEdges bounds the edges of one tree, and so what a package of packages can cost a reader.
const maxEdges = 8 * MaxRows

// tree is what a walk along containers or members finds: the edges by level, each once, and every file but the asked one.
type tree struct {
	rows  []MemberRow
	order []order // of each row
	files []intel.Hash
	names map[intel.Hash]intel.Hashes
	red   bool // a file of it is red
}

// containers walks from the file to what contained it, members to what it contains; each is walked once for all sections.
func (b *builder) containers() (*tree, error) {
	var err error
	if b.up == nil {
		b.up, err = b.walk(b.facts.ContainedIn, intel.SectionContainedIn)
	}
	return b.up, err
}

func (b *builder) members() (*tree, error) {
	var err error
	if b.down == nil {
		b.down, err = b.walk(b.facts.Contains, intel.SectionContains)
	}
	return b.down, err
}

// walk follows a relation breadth first from its direct rows to the builder's depth. A file that was met before is not followed again,
// so a container that holds itself ends; the edge to it is still told.
func (b *builder) walk(direct []intel.Row[intel.Related], relation intel.Section) (*tree, error) {
	t := &tree{names: map[intel.Hash]intel.Hashes{}}
	met := map[intel.Hash]bool{b.facts.File.Strongest(): true}
	near := []intel.Hashes{b.facts.File} // the files whose rows are in sets
	sets := [][]intel.Row[intel.Related]{direct}
	for level := 0; ; level++ {
		var next []intel.Hash
		var nextNames []intel.Hashes
		for i, rows := range sets {
			// The best first, so that the bounds drop the least.
			slices.SortFunc(rows, func(x, y intel.Row[intel.Related]) int {
				return cmp.Or(-cmp.Compare(verdict.Zone(x.Value.Head), verdict.Zone(y.Value.Head)), -cmp.Compare(x.Count, y.Count),
					-cmp.Compare(x.Last, y.Last), x.Value.Hash.Compare(y.Value.Hash))
			})
			for j := range rows {
				if len(t.rows) == maxEdges {
					return t, nil
				}
				r := &rows[j]
				if r.Value.Head == nil {
					continue
				}
				t.edge(near[i], r, relation, level)
				if h := r.Value.Hash; !met[h] {
					met[h] = true
					t.files = append(t.files, h)
					t.names[h] = r.Value.Head.File
					next = append(next, h)
					nextNames = append(nextNames, r.Value.Head.File)
				}
			}
		}
		if level == b.depth || len(next) == 0 {
			return t, nil
		}
		next, nextNames = next[:min(len(next), MaxRows)], nextNames[:min(len(next), MaxRows)]
		var err error
		if sets, err = b.view.Relatives(b.ctx, next, relation); err != nil {
			return nil, err
		}
		near = nextNames
	}
}

func (t *tree) edge(near intel.Hashes, r *intel.Row[intel.Related], relation intel.Section, level int) {
	h := r.Value.Head
	row := MemberRow{Zone: verdict.Zone(h), Parent: near, Child: h.File, Level: level, Size: size(h), Type: attribute(h, intel.Type),
		Detection: verdict.Detection(h), Path: r.Value.Path}
	if relation == intel.SectionContainedIn {
		row.Parent, row.Child = h.File, near
	}
	t.red = t.red || row.Zone == intel.Red
	t.rows = append(t.rows, row)
	t.order = append(t.order, order{row.Zone, r.Count, int64(r.Last)})
}

// best returns the rows in the order of every section, cut to most.
func (t *tree) best(most int) []MemberRow {
	type both struct {
		row   MemberRow
		order order
	}
	rows := make([]both, len(t.rows))
	for i := range rows {
		rows[i] = both{t.rows[i], t.order[i]}
	}
	rows = capped(rows, most, func(b *both) order { return b.order }, func(x, y *both) int {
		return cmp.Or(cmp.Compare(x.row.Level, y.row.Level), compareFiles(x.row.Parent, y.row.Parent), compareFiles(x.row.Child, y.row.Child),
			strings.Compare(x.row.Path, y.row.Path))
	})
	out := make([]MemberRow, len(rows))
	for i := range rows {
		out[i] = rows[i].row
	}
	return out
}
