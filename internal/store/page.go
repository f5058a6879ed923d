package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Page returns some rows of one group of a file's facts: those that follow after in the order of their keys, head and tail alike, about
// most of them. Going from nil along next until it is nil meets every row that there is. The counts of one thing may be spread over
// neighbouring pages, where sources of different markings speak of it.
//
// It fails as Recall does, and with [intel.ErrInvalid] when after is no next of this group.
func (v *View) Page(ctx context.Context, h intel.Hash, group intel.Section, after []byte, most int) (f *intel.Facts, next []byte, err error) {
	tag := tagOf(group)
	from := []byte{tag}
	if after != nil {
		if len(after) < 3 || after[0] != tag {
			return nil, nil, &intel.Refusal{Field: "cursor", Reason: "it is not one that an answer for this section gave"}
		}
		from = append(bytes.Clone(after), 0)
	}
	most = min(most, v.s.hubs.rows) // so that no page is a hub itself
	all, under, err := v.recall(ctx, h, group)
	if err != nil {
		return nil, nil, err
	}
	var ranges []kv.Range
	for _, name := range under {
		head := filePartition(nil, name)
		for _, p := range [][]byte{head, append([]byte{spaceTail}, head...)} {
			v.stamps = append(v.stamps, v.s.changes.stamp(p))
			ranges = append(ranges, kv.Range{Partition: p, From: from, To: tagBound(tag + 1), Limit: most})
		}
	}
	type keyed struct {
		key []byte
		row row
		ok  bool // the reader may see it
	}
	var found []keyed
	counts := make([]int, len(ranges))
	err = v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		counts[kr.Range]++
		r, ok := v.keep(&kr)
		found = append(found, keyed{bytes.Clone(kr.Key), r, ok})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("paging through %s: %w", h, v.s.kind(err))
	}
	slices.SortFunc(found, func(x, y keyed) int { return bytes.Compare(x.key, y.key) })
	var rows []row
	keys := 0
	for i := range found {
		if i == 0 || !bytes.Equal(found[i].key, found[i-1].key) {
			if keys == most {
				next = found[i-1].key
				break
			}
			keys++
		}
		if found[i].ok {
			rows = append(rows, found[i].row)
		}
	}
	if next == nil && slices.Max(counts) == most {
		next = found[len(found)-1].key
	}
	f = &intel.Facts{Asked: h, Head: all.Head, Conflicts: all.Conflicts}
	if len(rows) > 0 {
		rows = united([]*node{{rows: rows}})
	}
	return f, next, v.body(ctx, f, rows, group)
}
