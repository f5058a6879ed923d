//go:build unix

package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors that a child inherits.
const (
	linkFD    = 3
	scratchFD = 4 // the first of them
)

// link is one end of the pair of sockets. Files that come with what is read are kept until they are asked for.
type link struct {
	*net.UnixConn
	child bool // only a child takes files
	files []*os.File
}

// niceness is how far a child stands back: look-ups and everything else on the machine go first.
const niceness = 10

// attach gives a command that is about to start the other end, and the scratch files. The function that it returns is called once it has started, or
// could not be. The child is a process group of its own: an interrupt at the terminal is for the parent, who would take it for a fault of the file
// when its child died of it.
func attach(cmd *exec.Cmd, scratch []*os.File) (*link, func(), error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|cloexec, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a pair of sockets: %w", err)
	}
	here, there := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "parent")
	l, err := newLink(here)
	if err != nil {
		there.Close()
		return nil, nil, err
	}
	cmd.ExtraFiles = append([]*os.File{there}, scratch...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return l, func() {
		there.Close()
		if cmd.Process != nil {
			_ = unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, niceness) // all its threads; what is only slower is no failure
		}
	}, nil
}

// inherit is the child's: its end, and its scratch files.
func inherit() (*link, []*os.File, error) {
	l, err := newLink(os.NewFile(linkFD, "parent"))
	if err != nil {
		return nil, nil, err
	}
	l.child = true
	var scratch []*os.File
	for k := range files {
		scratch = append(scratch, os.NewFile(uintptr(scratchFD+k), fmt.Sprintf("scratch %d", k)))
	}
	return l, scratch, nil
}

func newLink(f *os.File) (*link, error) {
	if f == nil {
		return nil, errors.New("no socket")
	}
	defer f.Close() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a Unix socket")
	}
	return &link{UnixConn: u}, nil
}

// Read reads, and keeps the files that come along. A parent takes none: the kernel closes what a child would send.
func (l *link) Read(p []byte) (int, error) {
	if !l.child {
		return l.UnixConn.Read(p)
	}
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := l.ReadMsgUnix(p, oob)
	if oobn > 0 {
		messages, _ := unix.ParseSocketControlMessage(oob[:oobn]) // nothing in it is no file
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				unix.CloseOnExec(fd)
				l.files = append(l.files, os.NewFile(uintptr(fd), "handed over"))
			}
		}
	}
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return max(n, 0), err
}

// send writes a request and hands its file over.
func (l *link) send(r *request, f *os.File) error {
	message, err := json.Marshal(r)
	if err != nil {
		return err
	}
	message = append(message, '\n')
	n, _, err := l.WriteMsgUnix(message, unix.UnixRights(int(f.Fd())), nil)
	if err == nil && n < len(message) {
		_, err = l.Write(message[n:])
	}
	return err
}

// processorTime returns how much processor time this process has used.
func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // it fails for nobody
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// orphaned returns when the other end is closed, as it is when the parent dies in the middle of an inspection.
func (l *link) orphaned() {
	raw, err := l.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for p := []unix.PollFd{{Fd: int32(fd)}}; ; {
			if _, err := unix.Poll(p, -1); err != unix.EINTR {
				return
			}
		}
	})
}

// file returns the file that came with a request.
func (l *link) file(*request) (*os.File, error) {
	if len(l.files) == 0 {
		return nil, errors.New("no file came with the request")
	}
	f := l.files[0]
	l.files = l.files[1:]
	return f, nil
}
