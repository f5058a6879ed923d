package pebble

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"spoor/internal/kv"
)

// A load keeps what is added as sorted runs in files beside the database (run.go). To commit, it merges them into sorted tables that do not
// overlap and has the database take those over, all in one step: a row is sorted once and written twice, however much is loaded. The ledger's rows
// stand in the first table, so that the IDs are remembered exactly when the rows are there.

const (
	// tableBytes is about how many bytes of runs become one table at most, leastTable at least where others could be built meanwhile.
	tableBytes = 64 << 20
	leastTable = 8 << 20
	// ownTable is how large a table must be to end where the partitions' length changes. What is named by hashes comes in any order, what is
	// named by sorted hashes in order: apart, the latter lie side by side in the lowest level and are never written again.
	ownTable = 1 << 20
)

// tables is the directory in which runs are kept and tables are built, and how.
type tables struct {
	fs     vfs.FS
	dir    string
	writer sstable.WriterOptions
	number atomic.Int64 // of the next file
}

// open empties the directory, in which a crash may have left files. The database must be open, and so locked.
func (t *tables) open(dir string, opts *pebble.Options, db *pebble.DB) error {
	opts.EnsureDefaults()
	t.fs, t.dir = opts.FS, opts.FS.PathJoin(dir, "loading")
	t.writer = opts.MakeWriterOptions(len(opts.Levels)-1, db.TableFormat())
	t.writer.DisableValueBlocks = true // as RawOptions has it
	if err := t.fs.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("removing files of loads that were not finished: %w", err)
	}
	if err := t.fs.MkdirAll(t.dir, 0o750); err != nil {
		return fmt.Errorf("making a directory for loads: %w", err)
	}
	return nil
}

// create makes a file of that kind.
func (t *tables) create(kind string) (name string, f vfs.File, err error) {
	name = t.fs.PathJoin(t.dir, fmt.Sprintf("%d.%s", t.number.Add(1), kind))
	f, err = t.fs.Create(name, vfs.WriteCategoryUnspecified)
	return name, f, err
}

var _ kv.Loader = (*Store)(nil)

// NewLoad implements [kv.Loader].
func (s *Store) NewLoad() kv.Load { return &load{s: s, held: kv.Held{Holds: &s.holds}} }

// load is a load under way.
type load struct {
	s    *Store
	held kv.Held
	runs []*run
}

// Add implements [kv.Load].
func (l *load) Add(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	return l.held.Add(ctx, ids, func() ([]int, error) { return l.add(ctx, ids, rows) })
}

func (l *load) add(ctx context.Context, ids [][]byte, rows iter.Seq[kv.Write]) (repeated []int, err error) {
	end, err := l.s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for i, id := range ids {
		found, err := l.s.applied(id)
		if err != nil {
			return nil, err
		}
		if found {
			repeated = append(repeated, i)
		}
	}
	if len(repeated) > 0 {
		return repeated, nil
	}
	r, err := l.s.tables.writeRun(ctx, rows)
	if err != nil {
		return nil, err
	}
	if r != nil {
		l.runs = append(l.runs, r)
	}
	return nil, nil
}

// Commit implements [kv.Load].
func (l *load) Commit(ctx context.Context) error {
	end, err := l.s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	names, err := l.build(ctx)
	defer func() { // those that the database has not taken over; what cannot be removed now is when the directory is opened again
		for _, name := range names {
			_ = l.s.tables.fs.Remove(name)
		}
	}()
	if err != nil {
		return fmt.Errorf("building tables: %w", err)
	}
	if len(names) == 0 {
		return nil
	}
	l.s.writes.Lock()
	defer l.s.writes.Unlock()
	if err := l.s.db.Ingest(ctx, names); err != nil {
		return fmt.Errorf("taking tables over: %w", err)
	}
	return nil
}

// Close implements [kv.Load].
func (l *load) Close() {
	for _, r := range l.runs {
		r.remove(&l.s.tables)
	}
	l.held.Give()
	l.runs = nil
}

// build writes the tables, several at a time, and returns the names of all that it began.
func (l *load) build(ctx context.Context) (names []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	parts := l.parts(workers)
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range min(workers, len(parts)) {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < len(parts) && err == nil {
				part := parts[next]
				next++
				mu.Unlock()
				name, buildErr := l.table(ctx, part)
				mu.Lock()
				if name != "" {
					names = append(names, name)
				}
				if buildErr != nil && err == nil {
					err = buildErr
					cancel()
				}
			}
		})
	}
	wg.Wait()
	return names, err
}

// part is the rows from a name on to before another one; nil is open.
type part struct{ from, to []byte }

// parts cuts what was added into the rows of tables.
func (l *load) parts(workers int) []part {
	if len(l.runs) == 0 && l.held.Len() == 0 {
		return nil
	}
	var all []piece
	total := int64(0)
	for _, r := range l.runs {
		all = append(all, r.pieces[:len(r.pieces)-1]...)
		total += r.size()
	}
	slices.SortFunc(all, func(a, b piece) int { return bytes.Compare(a.first, b.first) })
	most := min(max(total/int64(4*workers), leastTable), tableBytes)
	parts := []part{{}}
	size := int64(0)
	for i := range all {
		var cut []byte
		switch length := all[i].first[0]; {
		case size >= most:
			cut = all[i].first
		case size >= ownTable && length != all[i-1].first[0]:
			cut = []byte{length}
		}
		if last := &parts[len(parts)-1]; cut != nil && !bytes.Equal(cut, last.from) {
			last.to = cut
			parts = append(parts, part{from: cut})
			size = 0
		}
		size += all[i].size
	}
	return parts
}

// table writes the table of a part and returns its name once it is begun. It is synced at the end.
func (l *load) table(ctx context.Context, p part) (name string, err error) {
	name, f, err := l.s.tables.create("sst")
	if err != nil {
		return "", err
	}
	w := sstable.NewWriter(newWritable(f), l.s.tables.writer)
	defer func() { err = errors.Join(err, w.Close()) }()
	if p.from == nil {
		for _, id := range l.sortedIDs() {
			if err := w.Set(ledgerKey(id), nil); err != nil {
				return name, err
			}
		}
	}
	return name, mergeRuns(ctx, l.runs, p, w.Merge)
}

func (l *load) sortedIDs() [][]byte {
	ids := make([][]byte, 0, l.held.Len())
	for id := range l.held.All() {
		ids = append(ids, []byte(id))
	}
	slices.SortFunc(ids, bytes.Compare)
	return ids
}

// writable is the file of a table. It is written in large pieces, each of which is soon on its way to the disk, so that the last sync has little to
// wait for.
type writable struct {
	file vfs.File
	*bufio.Writer
}

func newWritable(f vfs.File) *writable {
	const size = 512 << 10
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: size})
	return &writable{f, bufio.NewWriterSize(f, size)}
}

func (w *writable) Write(b []byte) error {
	_, err := w.Writer.Write(b)
	return err
}

// Finish writes what is left and syncs the file.
func (w *writable) Finish() error {
	err := w.Flush()
	if err == nil {
		err = w.file.Sync()
	}
	return errors.Join(err, w.file.Close())
}

func (w *writable) Abort() { _ = w.file.Close() }
