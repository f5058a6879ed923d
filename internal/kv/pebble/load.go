package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"spoor/internal/kv"
)

// Load builds sorted tables beside the database and has it take them over, all in one step. The ledger's rows stand in the first of them, so
// that the IDs are remembered exactly when the rows are there.

const (
	// tableBytes is about how large a table may grow, before compression.
	tableBytes = 64 << 20
	// ownTable is how large a table must be to end where the partitions' length changes. What is named by hashes comes in any order, what is
	// named by sorted hashes in order: apart, the latter lie side by side in the lowest level and are never written again.
	ownTable = 1 << 20
)

// tables is the directory in which tables are built, and how.
type tables struct {
	fs     vfs.FS
	dir    string
	writer sstable.WriterOptions
	number atomic.Int64 // of the next file
}

// open empties the directory, in which a crash may have left tables. The database must be open, and so locked.
func (t *tables) open(dir string, opts *pebble.Options, db *pebble.DB) error {
	opts.EnsureDefaults()
	t.fs, t.dir = opts.FS, opts.FS.PathJoin(dir, "loading")
	t.writer = opts.MakeWriterOptions(len(opts.Levels)-1, db.TableFormat())
	t.writer.DisableValueBlocks = true // as RawOptions has it
	if err := t.fs.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("removing tables that were not finished: %w", err)
	}
	if err := t.fs.MkdirAll(t.dir, 0o750); err != nil {
		return fmt.Errorf("making a directory for tables: %w", err)
	}
	return nil
}

// Load implements [kv.Loader].
func (s *Store) Load(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	rows, check, err := kv.CheckLoad(ids, rows)
	if err != nil {
		return nil, err
	}
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if repeated, err := s.repeated(ids); len(repeated) > 0 || err != nil {
		return repeated, err
	}
	b := builder{tables: &s.tables}
	defer b.remove()
	if err := b.build(ctx, ids, rows); err != nil {
		return nil, fmt.Errorf("building tables: %w", err)
	}
	if err := check(); err != nil {
		return nil, err
	}
	if len(b.names) == 0 {
		return nil, nil
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if repeated, err := s.repeated(ids); len(repeated) > 0 || err != nil {
		return repeated, err
	}
	if err := s.db.Ingest(ctx, b.names); err != nil {
		return nil, fmt.Errorf("taking tables over: %w", err)
	}
	return nil, nil
}

// repeated returns the indexes of the IDs that the ledger holds.
func (s *Store) repeated(ids [][]byte) (repeated []int, err error) {
	for i, id := range ids {
		found, err := s.applied(id)
		if err != nil {
			return nil, err
		}
		if found {
			repeated = append(repeated, i)
		}
	}
	return repeated, nil
}

// builder writes the tables of one Load.
type builder struct {
	*tables
	names  []string
	w      *sstable.Writer
	length byte // of the partitions of the last row
	size   int  // of the table so far, before compression
}

func (b *builder) build(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (err error) {
	defer func() { err = errors.Join(err, b.finish()) }()
	ids = slices.Clone(ids)
	slices.SortFunc(ids, bytes.Compare)
	for _, id := range ids {
		if err := b.next(ledgerKey(id)); err != nil {
			return err
		}
		if err := b.w.Set(ledgerKey(id), nil); err != nil {
			return err
		}
	}
	var key, value []byte
	n := 0
	for w := range rows {
		if n++; n&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		key, value = diskKey(key[:0], w.Partition, w.Key), w.Value.Append(value[:0])
		if err := b.next(key); err != nil {
			return err
		}
		if err := b.w.Merge(key, value); err != nil {
			return err
		}
		b.size += len(key) + len(value)
	}
	return ctx.Err()
}

// next makes ready for a row: it begins a table where there is none or the row is better in one of its own.
func (b *builder) next(key []byte) error {
	if b.w != nil && (b.size > tableBytes || b.size > ownTable && b.length != key[0]) {
		if err := b.finish(); err != nil {
			return err
		}
	}
	b.length = key[0]
	if b.w != nil {
		return nil
	}
	name := b.fs.PathJoin(b.dir, fmt.Sprintf("%d.sst", b.number.Add(1)))
	f, err := b.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	b.names = append(b.names, name)
	b.w, b.size = sstable.NewWriter(objstorageprovider.NewFileWritable(f), b.writer), 0
	return nil
}

// finish ends the table under way; it is synced then.
func (b *builder) finish() error {
	if b.w == nil {
		return nil
	}
	w := b.w
	b.w = nil
	return w.Close()
}

// remove removes the tables that the database has not taken over. What cannot be removed now is when the directory is opened again.
func (b *builder) remove() {
	for _, name := range b.names {
		_ = b.fs.Remove(name)
	}
}
