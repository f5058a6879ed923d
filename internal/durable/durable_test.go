//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	whole := map[string]bool{}
	for _, s := range []string{"", "first", "the second, longer"} {
		whole[s] = true
		if err := Replace(path, []byte(s)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != s {
			t.Errorf("%q, %v; want %q", b, err, s)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Readers beside writers see one of the contents, never a part of one.
	var wg sync.WaitGroup
	for s := range whole {
		wg.Go(func() {
			for range 20 {
				if err := Replace(path, []byte(s)); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(path); err != nil || !whole[string(b)] {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
	wg.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if err := Replace(filepath.Join(dir, "no", "folder"), nil); !os.IsNotExist(err) {
		t.Errorf("without a folder: %v", err)
	}
	if err := Rename(path, filepath.Join(dir, "no", "folder")); !os.IsNotExist(err) {
		t.Errorf("into no folder: %v", err)
	}
}

// TestOwn: what root writes belongs to the folder's owner.
func TestOwn(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "a")
	if err := Replace(path, nil); err != nil {
		t.Fatal(err)
	}
	owner := func(path string) uint32 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	if got, want := owner(path), owner(dir); got != want {
		t.Errorf("owned by %d, the folder by %d", got, want)
	}
}

func TestRoom(t *testing.T) {
	free, size, err := Room(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("not known on this system")
	}
	if err != nil || free <= 0 || size < free {
		t.Errorf("%d of %d bytes free, %v", free, size, err)
	}
	if _, _, err := Room(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there has room")
	}
}
