//go:build unix

package access

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the first n bytes of a file for writing, nil when the file system does not do that.
func mapFile(f *os.File, n int) []byte {
	b, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return b
}

func unmapFile(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // fails only for what was never mapped
	}
}
