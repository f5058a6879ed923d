//go:build linux || darwin || freebsd

package durable

import "golang.org/x/sys/unix"

// Room returns how many bytes of the disk of a folder this process may still use, and how many the disk has.
func Room(dir string) (free, size int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), nil
}
