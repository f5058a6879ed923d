package worker

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

const cloexec = unix.SOCK_CLOEXEC

// allowed are the system calls that the Go runtime and the reading of open descriptors need. Names that an architecture does not have are passed over.
var allowed = []string{
	"read", "pread64", "readv", "write", "pwrite64", "writev", "lseek", "close", "fstat", "ftruncate", "recvmsg", "sendmsg",
	"munmap", "mremap", "mprotect", "madvise", "mincore", "brk",
	"futex", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "sched_yield", "sched_getaffinity", "restart_syscall",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe2", "poll", "ppoll",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "getpid", "gettid", "set_robust_list", "rseq", "arch_prctl", "set_tid_address",
	"timer_create", "timer_settime", "timer_delete", "setitimer",
	"getrandom", "getrusage", "exit", "exit_group",
}

// within returns the system calls that are allowed with some arguments only, whatever else guards.
func within() (calls []seccomp.NameWithConditions) {
	when := func(name string, argument uint32, op seccomp.Operation, value uint64) {
		calls = append(calls, seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: op, Value: value}}})
	}
	when("clone", 0, seccomp.BitsSet, unix.CLONE_THREAD)  // threads, no processes
	when("tgkill", 0, seccomp.Equal, uint64(os.Getpid())) // no signals to the parent and to other workers
	when("mmap", 3, seccomp.BitsNotSet, unix.MAP_SHARED)  // what is shared does not count for RLIMIT_DATA
	for _, command := range []uint64{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC} {
		when("fcntl", 1, seccomp.Equal, command) // F_SETOWN makes the kernel send signals to others
	}
	return calls
}

// addresses is how many bytes of addresses are left beside memory: the Go runtime reserves some, and those that are only read cost tables in the kernel.
const addresses = 4 << 30

// restrict takes every right from this process but that of reading and writing what is open. It returns the guards that hold.
func restrict(s *setup) ([]string, error) {
	var guards []string
	// A kernel without Landlock gives what it has; the missing guard is told by its absence.
	abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err := landlock.V6.BestEffort().Restrict(); err != nil {
		return nil, fmt.Errorf("landlock: %w", err)
	}
	if n := int(abi); n > 0 && n < 1000 {
		guards = append(guards, "landlock")
	}
	limits := []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, uint64(s.Memory)}, {unix.RLIMIT_AS, uint64(s.Memory) + addresses},
		{unix.RLIMIT_FSIZE, uint64(s.Limits.Bytes)}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, 64},
	}
	for _, l := range limits {
		if err := lower(l.resource, l.most); err != nil {
			return nil, fmt.Errorf("rlimits: %w", err)
		}
	}
	guards = append(guards, "rlimits")
	filtered, err := filter()
	if filtered {
		guards = append(guards, "seccomp")
	}
	return guards, err
}

// filter leaves this process only the system calls that reading takes; it reports false where there is no filter for them.
func filter() (bool, error) {
	if !seccomp.Supported() {
		return false, nil
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return false, nil // an architecture that the filter does not know
	}
	names := slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { _, ok := info.SyscallNames[name]; return !ok })
	err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionAllow, Names: names},
			// The C library asks for clone3 first, and takes clone when there is none.
			{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}},
			{Action: seccomp.ActionAllow, NamesWithCondtions: within()},
		},
	}})
	if err != nil {
		return false, fmt.Errorf("seccomp: %w", err)
	}
	return true, nil
}

// contain has nothing to do: the child takes its rights away itself, before it is handed anything.
func contain(*os.Process, int64) ([]string, func(), error) { return nil, func() {}, nil }

// lower sets a limit of this process, which may be under a lower one already.
func lower(resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	most = min(most, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most})
}

// limitCPU lets a child use so much processor time from now on.
func limitCPU(p *os.Process, more time.Duration) error {
	used, err := cpuTime(p.Pid)
	if err != nil {
		return err
	}
	most := uint64((used + more + time.Second - 1) / time.Second)
	return unix.Prlimit(p.Pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}, nil)
}

// cpuTime returns how much processor time a process has used, to a hundredth of a second.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name, in brackets, and may hold anything. Fields 14 and 15 are user and system time in ticks.
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 on every architecture that Go has
}

// PeakMemoryOf returns the most bytes of memory that a running process has held, 0 when that cannot be told. What the kernel tells of one that has
// ended also counts what its parent held when it started it.
func PeakMemoryOf(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kb, _ := strconv.ParseInt(fields[1], 10, 64) // 0 when it is no number
			return kb << 10
		}
	}
	return 0
}
