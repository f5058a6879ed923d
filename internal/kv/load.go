package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
)

// Loader is a [Store] that also takes very many rows in one step, faster than batch by batch: by sorted tables, by one large insert.
type Loader interface {
	Store

	// Load merges the rows as one batch that has many IDs: whole or not at all, also over a crash; it returns only when they are durable and
	// visible. When some of the IDs were applied before, nothing is changed and repeated holds their indexes, so that the caller can come
	// again without what those IDs stand for. An ID may not stand in ids twice.
	//
	// The rows come in the order of [CompareRows], each once; Load fails with [ErrUnsorted] when they do not, and changes nothing. What a yielded
	// Write points to may change as soon as the next is asked for. Other calls go on while Load reads rows; rows itself makes none.
	Load(ctx context.Context, ids [][]byte, rows iter.Seq[Write]) (repeated []int, err error)
}

// ErrUnsorted: the rows of a load are not in their order, or one stands in it twice.
var ErrUnsorted = errors.New("kv: rows to load are out of order")

// CompareRows orders rows for [Loader.Load]: by the length of the partition, the partition, the key.
func CompareRows(a, b *Write) int {
	return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), bytes.Compare(a.Partition, b.Partition), bytes.Compare(a.Key, b.Key))
}

// checkIDs fails with [ErrTooLong] when an ID is empty or too long.
func checkIDs(ids [][]byte) error {
	for _, id := range ids {
		if len(id) == 0 || len(id) > MaxID {
			return fmt.Errorf("batch ID of %d bytes: %w", len(id), ErrTooLong)
		}
	}
	return nil
}

// CheckLoad is [CheckBatch] for a load: it passes rows on as long as they are right, and check tells afterwards what was not.
// The error is that of the IDs. Engines call it first.
func CheckLoad(ids [][]byte, rows iter.Seq[Write]) (checked iter.Seq[Write], check func() error, err error) {
	if err := checkIDs(ids); err != nil {
		return nil, nil, err
	}
	var fault error
	checked = func(yield func(Write) bool) {
		var last Write
		for w := range rows {
			if fault = checkWrite(&w); fault != nil {
				return
			}
			if last.Partition != nil && CompareRows(&last, &w) >= 0 {
				fault = fmt.Errorf("row %x/%x after %x/%x: %w", w.Partition, w.Key, last.Partition, last.Key, ErrUnsorted)
				return
			}
			last.Partition, last.Key = append(last.Partition[:0], w.Partition...), append(last.Key[:0], w.Key...)
			if !yield(w) {
				return
			}
		}
	}
	return checked, func() error { return fault }, nil
}
