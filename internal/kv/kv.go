// Package kv is the small seam between the store and the engine that keeps its rows.
//
// An engine keeps rows. A row is named by a partition and a key inside it, both bytes, both compared bytewise; its
// value is a [Value], and values of one row merge: counts add, times widen, sets unite ([Value.Merge]). Merging is
// commutative, associative and known to the engine, so a writer never reads first, and an engine may merge when it
// likes: at write, in the background or at read (LSM merge operators, ClickHouse aggregate states, SQL upserts).
//
// The contract is package kvtest; each engine runs it.
package kv

import "context"

// MaxPartition is the longest partition name in bytes; MaxKey the longest row key.
const (
	MaxPartition = 255
	MaxKey       = 1024
)

// Write merges a value into one row. An empty Value makes sure that the row exists.
type Write struct {
	Partition, Key []byte
	Value          *Value
}

// Batch is a set of writes that is applied whole or not at all.
type Batch struct {
	// ID names the batch, 1 to 64 bytes: applying a batch whose ID was applied before changes nothing, also after a
	// crash. A batch without ID is applied each time.
	ID     []byte
	Writes []Write // a row may stand in it more than once
}

// Range names rows of one partition, From <= key < To with a nil bound open, or lists partitions by Prefix.
type Range struct {
	Partition []byte
	From, To  []byte
	// Prefix, when not 0, makes the range list partitions instead of rows: the first row of every partition that is
	// Prefix bytes long and whose name begins with Partition. From and To are then ignored.
	Prefix int
	// Limit is the greatest number of rows to yield; 0 means no limit.
	Limit int
}

// Row is a row as a scan yields it. Its slices and what Value holds belong to the engine: copy what is kept.
type Row struct {
	Range     int // index of the range that the row answers
	Partition []byte
	Key       []byte
	Value     *Value
}

// Store is an engine. All methods may be called from many goroutines.
// Every error but the context's own wraps intel-free causes; the store above gives them their kind.
type Store interface {
	// Apply merges the batch's writes. It returns only when they are durable and visible to every later Scan.
	// repeated says that the batch's ID had been applied before and nothing was changed.
	Apply(ctx context.Context, b *Batch) (repeated bool, err error)

	// Scan yields the rows of each range in key order, the ranges in the order given, as of one moment: a batch is
	// seen whole or not at all. It stops at the first error that yield returns and returns it.
	Scan(ctx context.Context, ranges []Range, yield func(Row) error) error

	// Rewrite replaces the rows of r, atomically against Apply and Scan: the engine scans r, hands each row to keep,
	// and puts in its place the rows that keep's result says. Writes that keep adds to moved are merged in the same
	// step; they may be of other partitions but not inside r.
	Rewrite(ctx context.Context, r Range, replace func(rows []Row) (kept []Row, moved []Write, err error)) error

	// Stats tells what the engine knows of itself.
	Stats() Stats

	// Close waits for calls under way and releases the engine. Nothing acknowledged is lost.
	Close() error
}

// Stats are an engine's own figures. A figure that it cannot tell is zero.
type Stats struct {
	DiskBytes   uint64 // live data on disk
	MemoryBytes uint64 // caches and write buffers
}
