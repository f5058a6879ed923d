package pebble_test

import (
	"context"
	"errors"
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
