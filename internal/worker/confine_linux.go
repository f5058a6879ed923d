package worker

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// denied are the system calls that a program which reads a file has no business with.
var denied = []string{"socket", "socketpair", "connect", "bind", "listen", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot",
	"unshare", "setns", "bpf", "perf_event_open", "keyctl", "add_key", "request_key", "kexec_load", "init_module", "finit_module", "delete_module", "kill", "tkill",
	"open_by_handle_at", "userfaultfd", "io_uring_setup", "fork", "vfork", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
	"process_madvise", "setpriority", "ioprio_set", "sched_setattr", "sched_setparam", "sched_setscheduler", "shmget", "shmat", "msgget", "semget", "mq_open"}

// deniedWith are those of which it needs only some: threads, its own limits, signals to itself.
func deniedWith() (calls []seccomp.NameWithConditions) {
	when := func(name string, argument uint32, op seccomp.Operation, value uint64) {
		calls = append(calls, seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: op, Value: value}}})
	}
	when("clone", 0, seccomp.BitsNotSet, unix.CLONE_THREAD)
	when("tgkill", 0, seccomp.NotEqual, uint64(os.Getpid())) // which it keeps
	when("prlimit64", 0, seccomp.NotEqual, 0)
	for _, command := range []uint64{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG} {
		when("fcntl", 1, seccomp.Equal, command)
	}
	return calls
}

// The limits of a confined program.
const (
	confinedMemory = 1 << 30
	confinedCPU    = 120 // seconds
)

// Confine makes this process a program of the system that reads the bytes of a file: it may read the system's programs and libraries and the given files, and
// write nothing but what is open. As a worker it stands back, and an interrupt at the terminal is not for it. It returns only when it fails.
func Confine(readable []string, program []string) error {
	runtime.LockOSThread()                               // which becomes the program
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) // what is only slower, or ended with its parent, is no failure
	_ = unix.Setpgid(0, 0)
	var rules []landlock.Rule
	for _, dir := range []string{"/usr", "/lib", "/lib64", "/bin"} {
		if _, err := os.Stat(dir); err == nil {
			rules = append(rules, landlock.RODirs(dir))
		}
	}
	for _, f := range append([]string{"/etc/ld.so.cache"}, readable...) {
		if _, err := os.Stat(f); err == nil {
			rules = append(rules, landlock.ROFiles(f))
		}
	}
	if err := landlock.V6.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	for _, l := range []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_DATA, confinedMemory}, {unix.RLIMIT_CPU, confinedCPU}, {unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, 256}} {
		if err := lower(l.resource, l.most); err != nil {
			return fmt.Errorf("rlimits: %w", err)
		}
	}
	if info, err := arch.GetInfo(""); err == nil && seccomp.Supported() {
		var names []string
		for _, name := range denied {
			if _, ok := info.SyscallNames[name]; ok {
				names = append(names, name)
			}
		}
		err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{
				{Action: seccomp.ActionErrno, Names: names, NamesWithCondtions: deniedWith()},
				{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}}, // its arguments cannot be seen; the C library takes clone then
			}}})
		if err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	return syscall.Exec(program[0], program, []string{})
}
