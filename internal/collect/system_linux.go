package collect

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openPlainly follows no link and waits for nobody.
const openPlainly = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW

// fingerprintOf tells whether a file may have changed since it was read.
func fingerprintOf(info fs.FileInfo) fingerprint {
	f := fingerprint{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Inode, f.Device, f.Changed = s.Ino, uint64(s.Dev), s.Ctim.Nano()
	}
	return f
}

// attribute reads a text that stands beside a file's content, "" when there is none.
func attribute(f *os.File, name string) string {
	b := make([]byte, 4096)
	n, err := unix.Fgetxattr(int(f.Fd()), name, b)
	if err != nil || n <= 0 {
		return ""
	}
	return strings.TrimRight(string(b[:n]), "\x00")
}

// lock takes a file for this process alone, until it is closed.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// Humble lets every other process of the machine go first, for the processor and for the disk.
func Humble() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("lowering the priority: %w", err)
	}
	// Each thread has its own; those that come later take after these.
	const idle = 3 << 13 // class idle of ioprio_set(2)
	for _, e := range tasks {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, 19); err != nil && err != unix.ESRCH {
			return fmt.Errorf("lowering the priority: %w", err)
		}
		if _, _, err := unix.Syscall(unix.SYS_IOPRIO_SET, 1, uintptr(id), idle); err != 0 && err != unix.ESRCH {
			return fmt.Errorf("lowering the priority for the disk: %w", err)
		}
	}
	return nil
}
