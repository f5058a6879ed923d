package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
)

// Loader is a [Store] that also takes very many rows in one step, faster than batch by batch: by sorted tables, by one large insert.
type Loader interface {
	Store

	// NewLoad begins a load.
	NewLoad() Load
}

// Load is a load under way, for one goroutine. What is added to it is merged as one batch that has many IDs: whole or not at all, also over a
// crash. Other calls to the store go on beside it. Close must be called.
type Load interface {
	// Add adds rows, and the IDs of the batches that they are of. When some of the IDs were applied before, or added to this load, nothing is
	// added and repeated holds their indexes, so that the caller can come again without what those IDs stand for. An ID may not stand in ids
	// twice. Nothing of an Add that fails is added.
	//
	// The rows come in the order of [CompareRows], each once; Add fails with [ErrUnsorted] when they do not. Rows of several Adds may come in any
	// order and be the same. What a yielded Write points to may change as soon as the next is asked for; rows itself calls no engine.
	//
	// The load holds the IDs until it is closed: whoever brings one of them meanwhile waits. So does the first Add, for IDs that others hold. One
	// that finds such an ID while the load holds IDs itself fails with [ErrHeld], for two loads might wait for each other: the caller commits what
	// there is and comes again with a new load.
	Add(ctx context.Context, ids [][]byte, rows iter.Seq[Write]) (repeated []int, err error)

	// Commit applies what was added. It returns only when that is durable and visible. Nothing may be added then.
	Commit(ctx context.Context) error

	// Close gives the IDs back, and forgets what was not committed.
	Close()
}

var (
	// ErrUnsorted: the rows of a load are not in their order, or one stands in it twice.
	ErrUnsorted = errors.New("kv: rows to load are out of order")
	// ErrHeld: another batch or load has one of the IDs under way.
	ErrHeld = errors.New("kv: batch under way elsewhere")
)

// CompareRows orders rows for [Load.Add]: by the length of the partition, the partition, the key.
func CompareRows(a, b *Write) int {
	return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), bytes.Compare(a.Partition, b.Partition), bytes.Compare(a.Key, b.Key))
}

// CheckIDs fails with [ErrTooLong] when the ID of a batch in a load is empty or too long. Engines call it first.
func CheckIDs(ids [][]byte) error {
	for _, id := range ids {
		if len(id) == 0 || len(id) > MaxID {
			return fmt.Errorf("batch ID of %d bytes: %w", len(id), ErrTooLong)
		}
	}
	return nil
}

// Unsorted is the [ErrUnsorted] of a row that comes after one which it does not follow.
func Unsorted(w *Write) error {
	return fmt.Errorf("row %x/%x: %w", w.Partition, w.Key, ErrUnsorted)
}

// Holds are the IDs of the batches and loads that are under way. Engines have one; the zero Holds is ready.
type Holds struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the ID is given back
}

// Take holds the IDs, all or none. For those that are held it waits, when it may, or fails with [ErrHeld]. The caller gives them back by give.
func (h *Holds) Take(ctx context.Context, wait bool, ids ...[]byte) (give func(), err error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	for {
		busy := h.take(names)
		switch {
		case busy == nil:
			return func() { h.give(names) }, nil
		case !wait:
			return nil, ErrHeld
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take holds the IDs unless one is held: then it returns what is closed when that one is given back.
func (h *Holds) take(ids []string) (busy <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if c := h.held[id]; c != nil {
			return c
		}
	}
	if h.held == nil {
		h.held = make(map[string]chan struct{})
	}
	given := make(chan struct{})
	for _, id := range ids {
		h.held[id] = given
	}
	return nil
}

func (h *Holds) give(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, id := range ids {
		if i == 0 {
			close(h.held[id]) // one for all of them
		}
		delete(h.held, id)
	}
}

// Held are the IDs that one load holds, for the engine's implementation of [Load].
type Held struct {
	Holds *Holds // the engine's
	ids   map[string]bool
	gives []func()
}

// Add does what [Load.Add] says of IDs around add, which adds the rows, unless the engine finds that some of the IDs were applied before.
func (h *Held) Add(ctx context.Context, ids [][]byte, add func() (repeated []int, err error)) (repeated []int, err error) {
	if err := CheckIDs(ids); err != nil {
		return nil, err
	}
	for i, id := range ids {
		if h.ids[string(id)] {
			repeated = append(repeated, i)
		}
	}
	if len(repeated) > 0 {
		return repeated, nil
	}
	give, err := h.Holds.Take(ctx, len(h.ids) == 0, ids...)
	if err != nil {
		return nil, err
	}
	if repeated, err = add(); len(repeated) > 0 || err != nil {
		give()
		return repeated, err
	}
	h.gives = append(h.gives, give)
	if h.ids == nil {
		h.ids = map[string]bool{}
	}
	for _, id := range ids {
		h.ids[string(id)] = true
	}
	return nil, nil
}

// Len is how many IDs the load holds.
func (h *Held) Len() int { return len(h.ids) }

// All yields the IDs, in no order.
func (h *Held) All() iter.Seq[string] { return maps.Keys(h.ids) }

// Give gives the IDs back.
func (h *Held) Give() {
	for _, give := range h.gives {
		give()
	}
	h.gives = nil
}
