package collect

import (
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// hashed is a file that was read.
type hashed struct {
	file intel.Hashes
	size int64
	real string // path without links
	told bool
	info fs.FileInfo // tells whether another path leads to the same file
	away bool        // not what is at its path: deleted or replaced meanwhile, or in another mount namespace
}

// hashFile hashes a file in one pass.
func hashFile(path string) (*hashed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes: %w", path, maxFile, intel.ErrInvalid)
	}
	m, s1, s2 := md5.New(), sha1.New(), sha256.New()
	n, err := io.Copy(io.MultiWriter(m, s1, s2), io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	h := &hashed{size: n, real: path, info: info}
	for _, sum := range []struct {
		a intel.Algorithm
		b []byte
	}{{intel.MD5, m.Sum(nil)}, {intel.SHA1, s1.Sum(nil)}, {intel.SHA256, s2.Sum(nil)}} {
		one, err := intel.HashFromBytes(sum.a, sum.b)
		if err != nil {
			return nil, err
		}
		h.file.Set(one)
	}
	return h, nil
}

// process is one entry of /proc.
type process struct {
	pid, parent int
	started     time.Time
	path        string
	h           *hashed
}

// processes tells of every running process: its file, and who started it.
func (c *collector) processes() error {
	proc := c.within("proc")
	entries, err := os.ReadDir(proc)
	if err != nil {
		return fmt.Errorf("collecting: reading processes: %w", err)
	}
	boot := bootTime(filepath.Join(proc, "stat"))
	all := map[int]*process{}
	var order []*process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := c.spent(); err != nil {
			return err
		}
		p, err := c.process(proc, pid, boot)
		if err != nil {
			// A process that ended meanwhile, or a thread of the kernel, has no file; one that may not be looked at is counted.
			if errors.Is(err, fs.ErrPermission) {
				c.summary.Unreadable++
			}
			continue
		}
		all[pid] = p
		order = append(order, p)
	}
	slices.SortFunc(order, func(a, b *process) int { return cmp.Compare(a.pid, b.pid) })
	for _, p := range order {
		c.summary.Processes++
		if err := c.found(p.path, p.h); err != nil {
			return err
		}
		parent := all[p.parent]
		if parent == nil {
			continue
		}
		c.summary.Starts++
		if err := c.observe(p.started, intel.Hashes{}, intel.Telemetry, sourceName, intel.Relation{Verb: intel.Started,
			From: intel.Object{Hashes: parent.h.file, Path: parent.path}, To: intel.Object{Hashes: p.h.file, Path: p.path}}); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) process(proc string, pid int, boot time.Time) (*process, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	path, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid, path: strings.TrimSuffix(path, " (deleted)")}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil, err
	}
	// The name, in brackets, may hold anything; what follows the last bracket is fixed: state, parent … start time as the 20th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("process %d: its stat has %d fields: %w", pid, len(fields), intel.ErrInvalid)
	}
	p.parent, _ = strconv.Atoi(fields[1])
	const ticks = 100 // USER_HZ is 100 on every Linux that Go runs on
	if n, err := strconv.ParseInt(fields[19], 10, 64); err == nil && !boot.IsZero() {
		p.started = boot.Add(time.Duration(n) * time.Second / ticks)
	}
	// By its exe, the file is found even when it was deleted or lies in another mount namespace.
	name := filepath.Join(dir, "exe")
	if c.o.Root != "/" {
		name = c.within(path)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	key := c.within(p.path)
	here, err := os.Stat(key)
	away := err != nil || !os.SameFile(here, info)
	known := c.away
	if h := c.hashed[key]; h != nil && !away {
		known = []*hashed{h}
	}
	for _, h := range known {
		if os.SameFile(h.info, info) {
			p.h = h
			return p, nil
		}
	}
	if p.h, err = hashFile(name); err != nil {
		return nil, err
	}
	p.h.real, p.h.away = p.path, away
	if away {
		c.away = append(c.away, p.h)
	} else {
		c.hashed[key] = p.h
	}
	return p, nil
}

// bootTime reads when the machine started, the zero time when that cannot be read.
func bootTime(stat string) time.Time {
	b, err := os.ReadFile(stat)
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(n, 0).UTC()
			}
		}
	}
	return time.Time{}
}
