//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Own gives a file that root makes to whoever owns its folder: what root does with a server's data must not lock the server out, which runs as
// another user. Where that fails, the server says that it may not read the file.
func Own(path string) {
	if os.Geteuid() != 0 {
		return
	}
	var s unix.Stat_t
	if unix.Stat(filepath.Dir(path), &s) == nil && s.Uid != 0 {
		_ = os.Chown(path, int(s.Uid), int(s.Gid))
	}
}
