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

// giveToOwner gives a file that root makes to whoever owns its directory: 'spoor token create' as root must not lock a server out that runs
// as another user. Where that fails, the server says that it may not read the file.
func giveToOwner(file, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	var s unix.Stat_t
	if unix.Stat(dir, &s) == nil && s.Uid != 0 {
		_ = os.Chown(file, int(s.Uid), int(s.Gid))
	}
}
