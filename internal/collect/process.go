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
	"sync"
	"time"

	"spoor/internal/intel"
)

// hashed is a file that was read, now or when it was last told of.
type hashed struct {
	file  intel.Hashes
	size  int64
	real  string      // path without links
	told  bool        // in this run
	info  fs.FileInfo // tells whether another path leads to the same file
	away  bool        // not what is at its path: deleted or replaced meanwhile, or in another mount namespace
	known *known      // what the memory has of it; nil without one
}

// hash reads the file at a path without links.
func (c *collector) hash(real string) (*hashed, error) {
	f, err := c.tree.open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return c.hashOpen(f, real, real)
}

// sumAll hashes what r holds in one pass, and counts its bytes.
func sumAll(r io.Reader) (file intel.Hashes, size int64, err error) {
	m, s1, s2 := md5.New(), sha1.New(), sha256.New()
	if size, err = io.Copy(io.MultiWriter(m, s1, s2), r); err != nil {
		return file, size, err
	}
	for _, sum := range []struct {
		a intel.Algorithm
		b []byte
	}{{intel.MD5, m.Sum(nil)}, {intel.SHA1, s1.Sum(nil)}, {intel.SHA256, s2.Sum(nil)}} {
		one, err := intel.HashFromBytes(sum.a, sum.b)
		if err != nil {
			return file, size, err
		}
		file.Set(one)
	}
	return file, size, nil
}

// checkRegular fails for what is no regular file, and for one that is too large to be hashed.
func checkRegular(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return fmt.Errorf("%s: not a regular file of at most %d bytes: %w", path, maxFile, intel.ErrInvalid)
	}
	return nil
}

// hashOpen hashes a file in one pass, unless the memory knows it under this key and it has not changed since.
func (c *collector) hashOpen(f *os.File, key, real string) (*hashed, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkRegular(real, info); err != nil {
		return nil, err
	}
	h := &hashed{size: info.Size(), real: real, info: info}
	now := fingerprintOf(info)
	if c.o.memory != nil {
		if k := c.o.memory.file(key, now); k != nil {
			h.known, h.file = k, k.hashes()
			return h, nil
		}
	}
	if h.file, h.size, err = sumAll(&paced{c, io.LimitReader(f, maxFile)}); err != nil {
		return nil, err
	}
	if c.o.memory != nil {
		h.known = c.o.memory.learn(key, now, &h.file)
		if h.known == nil {
			return nil, errFull
		}
	}
	return h, nil
}

// pace spreads reading over time.
type pace struct {
	rate int64 // bytes a second, 0: none
	mu   sync.Mutex
	next time.Time // when what was read so far may have been
}

// paced reads no faster than the collector's pace, and not on when the time is up or the caller gave up.
type paced struct {
	c *collector
	r io.Reader
}

func (p *paced) Read(b []byte) (int, error) {
	if err := p.c.spent(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	if rate := p.c.pace.rate; rate > 0 && n > 0 {
		p.c.pace.mu.Lock()
		now := time.Now()
		if p.c.pace.next.Before(now) {
			p.c.pace.next = now
		}
		p.c.pace.next = p.c.pace.next.Add(time.Duration(n) * time.Second / time.Duration(rate))
		wait := p.c.pace.next.Sub(now)
		p.c.pace.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-p.c.ctx.Done():
			return n, p.c.ctx.Err()
		}
	}
	return n, err
}

// process is one entry of /proc.
type process struct {
	pid, parent int
	ticks       int64 // from the machine's start to its own
	started     time.Time
	path        string
	h           *hashed
}

// processes tells of every running process: its file, and who started it.
func (c *collector) processes() error {
	proc, err := c.tree.resolve("/proc")
	var entries []fs.DirEntry
	if err == nil {
		entries, err = c.tree.readDir(proc)
	}
	if err != nil {
		if c.tree.root != nil && errors.Is(err, fs.ErrNotExist) {
			return nil // an image has none
		}
		return fmt.Errorf("collecting: reading processes: %w", err)
	}
	if c.o.memory != nil {
		c.o.memory.boot(c.bootID())
	}
	boot := c.bootTime()
	all := map[int]*process{}
	var order []*process
	var spent error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// What was found before the time was up is told.
		if spent = c.spent(); spent != nil {
			break
		}
		p, err := c.process(proc, pid, boot)
		if errors.Is(err, errBudget) {
			spent = err
			break
		}
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
	if spent != nil && !errors.Is(spent, errBudget) {
		return spent
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
		if c.o.memory != nil && !c.o.memory.start(p.pid, p.ticks) {
			continue
		}
		if err := c.observe(p.started, intel.Hashes{}, intel.Telemetry, sourceName, intel.Relation{Verb: intel.Started,
			From: intel.Object{Hashes: parent.h.file, Path: parent.path}, To: intel.Object{Hashes: p.h.file, Path: p.path}}); err != nil {
			return err
		}
	}
	return spent
}

func (c *collector) process(proc string, pid int, boot time.Time) (*process, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	path, err := c.tree.readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid, path: strings.TrimSuffix(path, " (deleted)")}
	var stat string
	c.lines(filepath.Join(dir, "stat"), func(line string) { stat += line + " " })
	// The name, in brackets, may hold anything; what follows the last bracket is fixed: state, parent … start time as the 20th.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("process %d: its stat has %d fields: %w", pid, len(fields), intel.ErrInvalid)
	}
	p.parent, _ = strconv.Atoi(fields[1])
	const ticks = 100 // USER_HZ is 100 on every Linux that Go runs on
	if p.ticks, err = strconv.ParseInt(fields[19], 10, 64); err == nil && !boot.IsZero() {
		p.started = boot.Add(time.Duration(p.ticks) * time.Second / ticks)
	}
	// By its exe, the file is found even when it was deleted or lies in another mount namespace.
	var f *os.File
	if c.tree.root == nil {
		f, err = os.Open(filepath.Join(dir, "exe"))
	} else {
		f, err = c.tree.find(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	real, err := c.tree.resolve(p.path)
	away := true
	if err == nil {
		here, err := c.tree.lstat(real)
		away = err != nil || !os.SameFile(here, info)
	}
	known := c.away
	if h := c.hashed[real]; h != nil && !away {
		known = []*hashed{h}
	}
	for _, h := range known {
		if os.SameFile(h.info, info) {
			p.h = h
			return p, nil
		}
	}
	key := real
	if away {
		real = p.path
		key = fmt.Sprintf("%s (away, inode %d)", p.path, fingerprintOf(info).Inode)
	}
	if p.h, err = c.hashOpen(f, key, real); err != nil {
		return nil, err
	}
	p.h.away = away
	if away {
		c.away = append(c.away, p.h)
	} else {
		c.hashed[real] = p.h
	}
	return p, nil
}

// bootTime reads when the machine started, the zero time when that cannot be read.
func (c *collector) bootTime() (at time.Time) {
	c.lines("/proc/stat", func(line string) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				at = time.Unix(n, 0).UTC()
			}
		}
	})
	return at
}

// bootID is the name that the kernel gave the time since the machine's start; where there is none, that start.
func (c *collector) bootID() (id string) {
	c.lines("/proc/sys/kernel/random/boot_id", func(line string) { id = line })
	if id == "" {
		id = c.bootTime().String()
	}
	return id
}
