package worker

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// rights returns what this process can do that a worker must not; limited says that it is under limits of the kernel.
func rights(ppid int, limited bool) (got []string) {
	parent := uintptr(ppid)
	try := func(what string, err error) {
		if err == nil {
			got = append(got, what)
		}
	}
	// call tries a system call. Whatever error it gives, but that it is not permitted or not there, would mean that the kernel looked at it.
	call := func(what string, number uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := syscall.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != unix.EPERM && errno != unix.ENOSYS {
			got = append(got, what)
		}
	}
	_, err := os.ReadFile("/etc/hostname")
	try("read a file", err)
	try("write a file", os.WriteFile(filepath.Join(os.TempDir(), "spoor-worker-test"), nil, 0o600))
	_, err = os.ReadDir("/")
	try("list a folder", err)
	_, err = os.Stat("/etc/passwd")
	try("see that a file is there", err)
	_, err = os.ReadFile("/proc/self/environ")
	try("read /proc", err)
	_, err = net.Dial("tcp", "127.0.0.1:9")
	if err == nil || strings.Contains(err.Error(), "refused") {
		try("open a connection", nil)
	}
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	try("start a program", exec.Command("/bin/true").Run())
	zero := make([]byte, 256)
	buffer := uintptr(unsafe.Pointer(&zero[0]))
	call("signal its parent", unix.SYS_KILL, parent, 0)
	call("signal a thread of its parent", unix.SYS_TGKILL, parent, parent, 0)
	call("queue a signal", unix.SYS_RT_SIGQUEUEINFO, parent, 0, buffer)
	call("hold its parent", unix.SYS_PIDFD_OPEN, parent, 0)
	call("have the kernel signal its parent", unix.SYS_FCNTL, linkFD, unix.F_SETOWN, parent)
	call("choose that signal", unix.SYS_FCNTL, linkFD, unix.F_SETSIG, uintptr(unix.SIGKILL))
	call("limit its parent", unix.SYS_PRLIMIT64, parent, unix.RLIMIT_CPU, 0, buffer)
	call("trace its parent", unix.SYS_PTRACE, unix.PTRACE_SEIZE, parent, 0, 0)
	call("read its parent's memory", unix.SYS_PROCESS_VM_READV, parent, buffer, 1, buffer, 1, 0)
	call("run a process beside itself", unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0)
	call("have memory that does not count", unix.SYS_MMAP, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON, ^uintptr(0), 0)
	if limited { // what is only read is no memory of RLIMIT_DATA, and has tables in the kernel all the same
		var err error
		for n := 0; n < 8 && err == nil; n++ {
			_, err = unix.Mmap(-1, 0, 1<<30, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
		}
		try("have addresses without end", err)
	}
	call("make a file of memory", unix.SYS_MEMFD_CREATE, buffer, 0)
	call("set up io_uring", unix.SYS_IO_URING_SETUP, 1, buffer)
	call("handle its own page faults", unix.SYS_USERFAULTFD, 0)
	call("make an abstract socket", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	call("make a pair of sockets", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, buffer)
	call("load a program into the kernel", unix.SYS_BPF, 0, buffer, 16)
	call("read keys", unix.SYS_KEYCTL, 0, 0, 0)
	call("have shared memory", unix.SYS_SHMGET, 0, 4096, 0o1600)
	call("leave its namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	call("raise its limits", unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, buffer)
	call("change what it may become", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
	call("open a file in another way", unix.SYS_OPENAT2, ^uintptr(99), buffer, buffer, 24)
	call("open a file by its number", unix.SYS_OPEN_BY_HANDLE_AT, linkFD, buffer, 0)
	call("start a program from a descriptor", unix.SYS_EXECVEAT, scratchFD, buffer, 0, 0, unix.AT_EMPTY_PATH)
	call("run a process with flags", unix.SYS_CLONE3, buffer, 64)
	call("use io_uring", unix.SYS_IO_URING_ENTER, scratchFD, 1, 0, 0, 0)
	call("have memory that nobody sees", unix.SYS_MEMFD_SECRET, 0)
	call("have memory that stays", unix.SYS_MLOCKALL, 3)
	call("watch files", unix.SYS_INOTIFY_INIT1, 0)
	call("watch the machine", unix.SYS_PERF_EVENT_OPEN, buffer, 0, ^uintptr(0), ^uintptr(0), 0)
	call("control a device", unix.SYS_IOCTL, linkFD, unix.TIOCSTI, buffer)
	call("have larger pipes", unix.SYS_FCNTL, linkFD, unix.F_SETPIPE_SZ, 1<<20)
	call("go first", unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, ^uintptr(19))
	call("send to an address", unix.SYS_SENDTO, linkFD, buffer, 1, 0, buffer, 16)
	call("take a lock of others", unix.SYS_FLOCK, scratchFD, unix.LOCK_EX)
	call("have room set aside", unix.SYS_FALLOCATE, scratchFD, 0, 0, 1<<30)
	call("mount", unix.SYS_MOUNT, buffer, buffer, buffer, 0, buffer)
	call("become another user", unix.SYS_SETUID, 0)
	return got
}

// onlyFilter gives up what the filter of system calls takes, and no more.
func onlyFilter() []string {
	if ok, err := filter(); !ok || err != nil {
		return []string{"no filter"}
	}
	return []string{"seccomp"}
}

// TestGuards: a worker can do nothing but read. The filter of system calls holds that also by itself, but for what it needs the kernel's Landlock for.
func TestGuards(t *testing.T) {
	for _, tt := range []struct {
		mode   string
		guards []string
	}{
		{"rights", []string{"landlock", "rlimits", "seccomp"}},
		{"calls", []string{"seccomp"}},
	} {
		p := newTestPool(t, Config{}, "-child="+tt.mode)
		r, _ := gather(t, p, write(t, "x"), "x")
		if diff := cmp.Diff(tt.guards, r.Guards); diff != "" {
			t.Errorf("%s: guards (-want +got):\n%s", tt.mode, diff)
		}
		if !strings.HasSuffix(r.Stopped, "could ") {
			t.Errorf("%s: a worker %s", tt.mode, r.Stopped)
		}
	}
}
