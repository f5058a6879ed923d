// Package pebble is the embedded engine: rows in one directory, kept by Pebble with a merge operator.
//
// A row's key on disk is length(1) | partition | key, so that a bloom filter on the first two parts answers "no such partition"
// without a read. The ledger of applied batch IDs stands under length 0, written in the same atomic batch as the rows.
package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"spoor/internal/kv"
)

// Options are the engine's settings; the zero value is good.
type Options struct {
	CacheBytes    int64        // of blocks; 0 means 256 MiB
	MemTableBytes uint64       // of one write buffer; 0 means 64 MiB
	Logger        *slog.Logger // told of faults; nothing is told when nil
	FS            vfs.FS       // the machine's own when nil
}

// Store is the engine. It implements [kv.Store].
type Store struct {
	db    *pebble.DB
	cache *pebble.Cache

	life   sync.RWMutex // held for reading by every call, for writing by Close
	closed bool
	writes sync.RWMutex // held for reading by Apply, for writing by Rewrite and by the last step of a load
	holds  kv.Holds     // of two equal batches at once, the second waits for the first
	dead   int          // rows that rewrites took away since the last flush, under writes
	tables tables       // how a load builds them
}

var _ kv.Loader = (*Store)(nil)

// Open opens the directory, making it when it is not there. It fails with [kv.ErrInUse] when another process holds it.
func Open(dir string, o Options) (*Store, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	opts := RawOptions()
	opts.Logger = logger{o.Logger}
	opts.MemTableSize = o.MemTableBytes
	if o.FS != nil {
		opts.FS = o.FS
	}
	cache := pebble.NewCache(o.CacheBytes)
	opts.Cache = cache
	db, err := pebble.Open(dir, opts)
	if err != nil {
		cache.Unref()
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held by") {
			return nil, fmt.Errorf("locking %s: %w", dir, kv.ErrInUse)
		}
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	s := &Store{db: db, cache: cache}
	if err := s.tables.open(dir, opts, db); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// RawOptions are the settings that Open gives to Pebble, for the bench, which measures a raw Pebble beside the engine.
func RawOptions() *pebble.Options {
	opts := &pebble.Options{
		Comparer:                    comparer,
		Merger:                      &pebble.Merger{Name: "spoor.v1", Merge: newMerger},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               256 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      logger{slog.New(slog.DiscardHandler)},
	}
	// Rows of one partition are not versions of one key: their values belong beside them, not into blocks of their own. (EnableValueBlocks has
	// no say in tables of today's format.)
	opts.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	opts.Experimental.EnableColumnarBlocks = func() bool { return false } // measured slower for this shape, see docs/performance.md
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 8 << 10
		opts.Levels[i].IndexBlockSize = 256 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return compression })
	return opts
}

// compression is Snappy, but zstd for the data of the lowest level, where nearly all rows are. Pebble's own profiles would be Snappy on every
// level: they name MinLZ, which tables without columnar blocks cannot hold, and fall back as a whole.
var compression = func() pebble.DBCompressionSettings {
	c := pebble.UniformDBCompressionSettings(block.SnappyCompression)
	lowest := *block.SnappyCompression
	lowest.Name = "spoor.v1"
	lowest.DataBlocks = block.BalancedCompression.DataBlocks // zstd, level 1
	lowest.MinReductionPercent = 5
	c.Levels[len(c.Levels)-1] = &lowest
	return c
}()

// comparer orders keys bytewise; Split ends a key's prefix after its partition, which is what the bloom filters hold.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "spoor.v1"
	c.Split = func(k []byte) int {
		if len(k) == 0 || k[0] == 0 {
			return len(k)
		}
		return min(1+int(k[0]), len(k))
	}
	c.ComparePointSuffixes = bytes.Compare
	c.CompareRangeSuffixes = bytes.Compare
	return &c
}()

// logger hands Pebble's own messages on. Pebble calls Fatalf when its directory can no longer be trusted (a failed write of
// the manifest, say) and relies on the process to end: what was acknowledged is safe, and a restart reads it back.
type logger struct{ log *slog.Logger }

func (l logger) Infof(string, ...any) {}
func (l logger) Errorf(format string, args ...any) {
	l.log.Error("engine", "message", fmt.Sprintf(format, args...))
}
func (l logger) Fatalf(format string, args ...any) {
	l.log.Error("engine stops the process", "message", fmt.Sprintf(format, args...))
	fmt.Fprintf(os.Stderr, "spoor: the store's engine cannot go on: %s\n", fmt.Sprintf(format, args...))
	os.Exit(1)
}

func diskKey(dst, partition, key []byte) []byte {
	dst = append(dst, byte(len(partition)))
	dst = append(dst, partition...)
	return append(dst, key...)
}

func ledgerKey(id []byte) []byte { return append([]byte{0}, id...) }

// begin keeps the engine open until the function that it returns is called.
func (s *Store) begin(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return nil, kv.ErrClosed
	}
	return s.life.RUnlock, nil
}

// Apply implements [kv.Store].
func (s *Store) Apply(ctx context.Context, b *kv.Batch) (bool, error) {
	if err := kv.CheckBatch(b); err != nil {
		return false, err
	}
	if len(b.ID) > 0 { // before the engine is kept open: a load that is waited for must come to its end
		give, err := s.holds.Take(ctx, true, b.ID)
		if err != nil {
			return false, err
		}
		defer give()
	}
	end, err := s.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	s.writes.RLock()
	defer s.writes.RUnlock()
	if len(b.ID) > 0 {
		if repeated, err := s.applied(b.ID); repeated || err != nil {
			return repeated, err
		}
	}
	batch := s.db.NewBatchWithSize(64*len(b.Writes) + 256)
	defer batch.Close()
	if len(b.ID) > 0 {
		if err := batch.Set(ledgerKey(b.ID), nil, nil); err != nil {
			return false, fmt.Errorf("writing: %w", err)
		}
	}
	if err := merge(batch, b.Writes); err != nil {
		return false, fmt.Errorf("writing: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return false, fmt.Errorf("committing: %w", err)
	}
	return false, nil
}

// applied reports whether the ledger holds a batch ID.
func (s *Store) applied(id []byte) (bool, error) {
	_, closer, err := s.db.Get(ledgerKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the ledger: %w", err)
	}
	return true, closer.Close()
}

func merge(batch *pebble.Batch, writes []kv.Write) error {
	var key, value []byte
	for i := range writes {
		w := &writes[i]
		key = diskKey(key[:0], w.Partition, w.Key)
		value = w.Value.Append(value[:0])
		if err := batch.Merge(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

var iterOptions = &pebble.IterOptions{KeyTypes: pebble.IterKeyTypePointsOnly, UseL6Filters: true}

// Scan implements [kv.Store].
func (s *Store) Scan(ctx context.Context, ranges []kv.Range, yield func(kv.Row) error) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	it, err := s.db.NewIterWithContext(ctx, iterOptions)
	if err != nil {
		return fmt.Errorf("scanning: %w", err)
	}
	sc := scanner{ctx: ctx, it: it, yield: yield}
	for i := range ranges {
		if ranges[i].Prefix > 0 {
			err = sc.partitions(i, &ranges[i])
		} else {
			err = sc.rows(i, &ranges[i])
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, it.Close())
}

// scanner is one Scan under way; its buffers serve every row.
type scanner struct {
	ctx   context.Context
	it    *pebble.Iterator
	yield func(kv.Row) error
	seek  []byte
	to    []byte
	value kv.Value
	seen  int
}

// row yields the row that the iterator stands on.
func (sc *scanner) row(i, partition int) error {
	if sc.seen++; sc.seen&1023 == 0 {
		if err := sc.ctx.Err(); err != nil {
			return err
		}
	}
	k := sc.it.Key()
	v, err := sc.it.ValueAndErr()
	if err != nil {
		return fmt.Errorf("scanning: %w", err)
	}
	if err := sc.value.Decode(v); err != nil {
		return fmt.Errorf("scanning: row %x: %w", k, err)
	}
	return sc.yield(kv.Row{Range: i, Partition: k[1 : 1+partition], Key: k[1+partition:], Value: &sc.value})
}

// rows answers a range of one partition.
func (sc *scanner) rows(i int, r *kv.Range) error {
	if len(r.Partition) == 0 || len(r.Partition) > kv.MaxPartition {
		return nil
	}
	sc.seek = diskKey(sc.seek[:0], r.Partition, r.From)
	if r.To != nil {
		sc.to = diskKey(sc.to[:0], r.Partition, r.To)
	}
	n := 0
	for ok := sc.it.SeekPrefixGE(sc.seek); ok; ok = sc.it.Next() {
		if r.To != nil && bytes.Compare(sc.it.Key(), sc.to) >= 0 {
			break
		}
		if err := sc.row(i, len(r.Partition)); err != nil {
			return err
		}
		if n++; n == r.Limit {
			break
		}
	}
	return sc.it.Error()
}

// partitions answers a range that lists partitions: it seeks from the first row of one to the first row of the next.
func (sc *scanner) partitions(i int, r *kv.Range) error {
	if r.Prefix > kv.MaxPartition || len(r.Partition) > r.Prefix {
		return nil
	}
	sc.to = append(append(sc.to[:0], byte(r.Prefix)), r.Partition...)
	begins := len(sc.to)
	sc.seek = append(sc.seek[:0], sc.to...)
	n := 0
	for ok := sc.it.SeekGE(sc.seek); ok; ok = sc.it.SeekGE(sc.seek) {
		k := sc.it.Key()
		if len(k) < 1+r.Prefix || !bytes.Equal(k[:begins], sc.to) {
			break
		}
		sc.seek = append(sc.seek[:0], k[:1+r.Prefix]...)
		if err := sc.row(i, r.Prefix); err != nil {
			return err
		}
		if n++; n == r.Limit {
			break
		}
		if sc.seek = successor(sc.seek); sc.seek == nil {
			break
		}
	}
	return sc.it.Error()
}

// successor turns b into the least name that follows every name that begins with b; nil when there is none.
func successor(b []byte) []byte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xFF {
			b[i]++
			return b[:i+1]
		}
	}
	return nil
}

// Rewrite implements [kv.Store]. It keeps writers, but not readers, out while it runs.
func (s *Store) Rewrite(ctx context.Context, r kv.Range, replace func([]kv.Row) ([]kv.Row, []kv.Write, error)) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.writes.Lock()
	defer s.writes.Unlock()
	it, err := s.db.NewIterWithContext(ctx, iterOptions)
	if err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	r.Limit, r.Prefix = 0, 0
	var rows []kv.Row
	sc := scanner{ctx: ctx, it: it, yield: func(row kv.Row) error {
		rows = append(rows, kv.Row{Partition: r.Partition, Key: bytes.Clone(row.Key), Value: row.Value.Clone()})
		return nil
	}}
	if err := errors.Join(sc.rows(0, &r), it.Close()); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	kept, moved, err := replace(rows)
	if err != nil {
		return err
	}
	writes := make([]kv.Write, 0, len(kept)+len(moved))
	for _, k := range kept {
		writes = append(writes, kv.Write{Partition: r.Partition, Key: k.Key, Value: k.Value})
	}
	writes = append(writes, moved...)
	if err := kv.CheckBatch(&kv.Batch{Writes: writes}); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	from, to := diskKey(nil, r.Partition, r.From), diskKey(nil, r.Partition, r.To)
	if r.To == nil {
		if to = successor(to); to == nil {
			return fmt.Errorf("rewriting: partition %x: %w", r.Partition, kv.ErrTooLong)
		}
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	// In one batch the later operation wins, so the merges stand on the emptied range.
	if err := batch.DeleteRange(from, to, nil); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	if err := merge(batch, writes); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("rewriting: %w", err)
	}
	// Rows that were taken away still stand in the write buffer, and every scan of the range steps over them until they are flushed.
	if s.dead += len(rows); s.dead > maxDead {
		s.dead = 0
		if _, err := s.db.AsyncFlush(); err != nil {
			return fmt.Errorf("rewriting: %w", err)
		}
	}
	return nil
}

// maxDead is how many rows may stand in the write buffer for nothing: scanning them costs about 5 ms.
const maxDead = 1 << 16

// Flush writes what stands in memory to its files, so that Stats counts it.
func (s *Store) Flush() error {
	end, err := s.begin(context.Background())
	if err != nil {
		return err
	}
	defer end()
	return s.db.Flush()
}

// Busy reports whether flushes or compactions are under way, for measurements, which are to begin at rest.
func (s *Store) Busy() bool {
	end, err := s.begin(context.Background())
	if err != nil {
		return false
	}
	defer end()
	m := s.db.Metrics()
	return m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0
}

// Stats implements [kv.Store].
func (s *Store) Stats() kv.Stats {
	end, err := s.begin(context.Background())
	if err != nil {
		return kv.Stats{}
	}
	defer end()
	m := s.db.Metrics()
	return kv.Stats{DiskBytes: m.DiskSpaceUsage(), MemoryBytes: uint64(m.BlockCache.Size) + m.MemTable.Size}
}

// Close implements [kv.Store]. Closing again does nothing.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.db.Close()
	s.cache.Unref()
	if err != nil {
		return fmt.Errorf("closing the engine: %w", err)
	}
	return nil
}

// merger folds the operands of one row. A lone operand, the common case, is passed through undecoded.
type merger struct {
	raw    []byte
	value  kv.Value
	folded bool
}

func newMerger(_, value []byte) (pebble.ValueMerger, error) {
	return &merger{raw: bytes.Clone(value)}, nil
}

// MergeNewer folds one more operand in; the order does not matter.
func (m *merger) MergeNewer(value []byte) error {
	if !m.folded {
		if err := m.value.Decode(m.raw); err != nil {
			return err
		}
		m.folded = true
	}
	var v kv.Value
	if err := v.Decode(value); err != nil {
		return err
	}
	m.value.Merge(&v)
	return nil
}

// MergeOlder is MergeNewer.
func (m *merger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish encodes the result.
func (m *merger) Finish(bool) ([]byte, io.Closer, error) {
	if m.folded {
		return m.value.Append(nil), nil, nil
	}
	return m.raw, nil, nil
}
