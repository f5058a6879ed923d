package pebble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"spoor/internal/kv"
	"spoor/internal/kv/kvtest"
	"spoor/internal/kv/pebble"
)

// engine keeps its files in a file system in memory that can lose what was not synced.
type engine struct {
	*pebble.Store
	fs *vfs.MemFS
}

func open(t *testing.T, fs *vfs.MemFS) kv.Store {
	t.Helper()
	s, err := pebble.Open("db", pebble.Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &engine{s, fs}
}

func TestContract(t *testing.T) {
	kvtest.Run(t, kvtest.Engine{
		Open: func(t *testing.T) kv.Store { return open(t, vfs.NewCrashableMem()) },
		Reopen: func(t *testing.T, s kv.Store) kv.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, s.(*engine).fs)
		},
		Crash: func(t *testing.T, s kv.Store) kv.Store {
			left := s.(*engine).fs.CrashClone(vfs.CrashCloneCfg{})
			s.Close()
			return open(t, left)
		},
	})
}

// TestFlushed runs the contract with the rows in sorted tables instead of the write buffer.
func TestFlushed(t *testing.T) {
	kvtest.Run(t, kvtest.Engine{Open: func(t *testing.T) kv.Store {
		return flushing{open(t, vfs.NewCrashableMem()).(*engine)}
	}})
}

type flushing struct{ *engine }

func (f flushing) Apply(ctx context.Context, b *kv.Batch) (bool, error) {
	repeated, err := f.engine.Apply(ctx, b)
	if err == nil {
		err = f.Flush()
	}
	return repeated, err
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(dir, pebble.Options{}); !errors.Is(err, kv.ErrInUse) {
		t.Errorf("opening a directory twice: %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = pebble.Open(dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Stats().DiskBytes == 0 {
		t.Error("the engine knows nothing of its size")
	}
	s.Close()
}

// created calls back before a file is created.
type created struct {
	vfs.FS
	before func(name string) error
}

func (c *created) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := c.before(name); err != nil {
		return nil, err
	}
	return c.FS.Create(name, category)
}

// large yields the rows of several tables.
func large(yield func(kv.Write) bool) {
	v := &kv.Value{Count: 1, Text: kv.Text{Data: bytes.Repeat([]byte("x"), 100_000)}}
	for i := range 300 {
		v.Text.At = int64(i) // values that are all the same would be told once
		if !yield(kv.Write{Partition: fmt.Appendf(nil, "%0*d", 4+i/150, i), Key: []byte("k"), Value: v}) {
			return
		}
	}
}

// TestCrashInLoad loses power while tables are built, with all that was written still there, and with none of it: nothing of the load is seen,
// its ID is free, and its files are gone. The same of a load whose tables cannot be written.
func TestCrashInLoad(t *testing.T) {
	for _, kept := range []int{0, 100} {
		fs := vfs.NewCrashableMem()
		var left *vfs.MemFS
		var mu sync.Mutex // tables are built several at once
		tables, full := 0, false
		s, err := pebble.Open("db", pebble.Options{FS: &created{fs, func(name string) error {
			if !strings.Contains(name, "loading") || !strings.HasSuffix(name, ".sst") {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if tables++; tables == 3 { // the first was finished
				left = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(1, 2))})
				if found, _ := left.List("db/loading"); kept == 100 && len(found) < 3 {
					t.Errorf("%d files: the test does not try what it is for", len(found))
				}
			}
			if full && tables == 3 {
				return syscall.ENOSPC
			}
			return nil
		}}, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rows := func() (n int) {
			if err := s.Scan(t.Context(), []kv.Range{{Prefix: 4}, {Prefix: 5}}, func(kv.Row) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		load := func() error {
			tables = 0
			l := s.NewLoad()
			defer l.Close()
			if _, err := l.Add(t.Context(), [][]byte{[]byte("id")}, large); err != nil {
				t.Fatal(err)
			}
			return l.Commit(t.Context())
		}
		full = true
		if err := load(); !errors.Is(err, syscall.ENOSPC) || rows() > 0 {
			t.Errorf("a load that had no room for its tables: %v, %d rows", err, rows())
		}
		full = false
		if err := load(); err != nil {
			t.Fatal(err)
		}
		again := open(t, left).(*engine)
		if found, err := left.List("db/loading"); err != nil || len(found) > 0 {
			t.Errorf("files of a load that was not finished: %v, %v", found, err)
		}
		n := 0
		if err := again.Scan(t.Context(), []kv.Range{{Prefix: 4}, {Prefix: 5}}, func(kv.Row) error { n++; return nil }); err != nil || n > 0 {
			t.Errorf("%d rows of a load that was cut off: %v", n, err)
		}
		if repeated, err := again.Apply(t.Context(), &kv.Batch{ID: []byte("id")}); err != nil || repeated {
			t.Errorf("the ID of a load that was cut off: repeated %v, %v", repeated, err)
		}
		if found, err := fs.List("db/loading"); err != nil || len(found) > 0 {
			t.Errorf("files left after a load: %v, %v", found, err)
		}
		if repeated, err := s.Apply(t.Context(), &kv.Batch{ID: []byte("id")}); err != nil || !repeated || rows() != 300 {
			t.Errorf("the ID of a load: repeated %v, %v; %d rows", repeated, err, rows())
		}
	}
}
