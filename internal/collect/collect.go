// Package collect turns what this Linux machine can tell of its files into observations: running processes and who started them,
// executables on the PATH and in library folders, and which of them are just as their dpkg package installed them.
package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// Options say what to look at; the zero value looks at this machine without a time limit.
type Options struct {
	Budget  time.Duration // stop looking for more after so long; 0: no limit
	Root    string        // of the file system, "/" when empty; tests have their own
	Host    string        // this machine's name when empty
	Path    string        // folders of executables, $PATH when empty
	Folders []string      // folders of libraries, the usual ones when nil
	Now     func() time.Time
	// Progress, when not nil, is told of every file.
	Progress func(files int, path string)
}

// Summary is what was found.
type Summary struct {
	Processes  int           `json:"processes"`  // whose file could be read
	Starts     int           `json:"starts"`     // of them, whose parent's file could be read too
	Unreadable int           `json:"unreadable"` // processes and files that this user may not read
	Files      int           `json:"files"`      // distinct files that were hashed
	Bytes      int64         `json:"bytes"`      // of them
	Packaged   int           `json:"packaged"`   // files that are as their package installed them
	Changed    []string      `json:"changed"`    // files of a package that differ from what it installed
	CutShort   bool          `json:"cut_short"`  // the budget was used up before the end
	Took       time.Duration `json:"-"`
	Seconds    float64       `json:"seconds"`
}

// maxFile is the largest file that is hashed.
const maxFile = 512 << 20

// sourceName is what the observations give as their source.
const sourceName = "collect"

// errBudget ends the looking.
var errBudget = errors.New("budget used up")

// Run collects into sink. It fails on other systems than Linux, and as the sink does; what cannot be read is counted.
func Run(ctx context.Context, o Options, sink source.Sink) (*Summary, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("collecting: this system is %s; only Linux can be collected from", runtime.GOOS)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if o.Path == "" {
		o.Path = os.Getenv("PATH")
	}
	if o.Folders == nil {
		o.Folders = []string{"/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local/lib", "/opt"}
	}
	c := &collector{ctx: ctx, o: o, sink: sink, start: time.Now(), hashed: map[string]*hashed{}}
	c.packages = readPackages(o.Root)
	err := c.processes()
	if err == nil {
		err = c.folders()
	}
	if errors.Is(err, errBudget) {
		c.summary.CutShort, err = true, nil
	}
	c.summary.Took = time.Since(c.start)
	c.summary.Seconds = c.summary.Took.Seconds()
	return &c.summary, err
}

type collector struct {
	ctx      context.Context
	o        Options
	sink     source.Sink
	start    time.Time
	packages map[string]packaged
	hashed   map[string]*hashed // by real path
	away     []*hashed          // that processes run and no path leads to
	summary  Summary
}

// within returns where a path of the machine is, below the root.
func (c *collector) within(path string) string { return filepath.Join(c.o.Root, path) }

// outside is the reverse.
func (c *collector) outside(path string) string {
	if c.o.Root == "/" {
		return path
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean(c.o.Root)), "/")
}

// spent returns an error when the time is up or the caller gave up.
func (c *collector) spent() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.o.Budget > 0 && time.Since(c.start) > c.o.Budget {
		return errBudget
	}
	return nil
}

func (c *collector) observe(at time.Time, file intel.Hashes, typ intel.SourceType, name string, fact intel.Fact) error {
	o := intel.Observation{Source: intel.Source{Type: typ, Name: name}, Time: at, File: file, Fact: fact}
	if err := o.Check(); err != nil {
		var r *intel.Refusal
		if errors.As(err, &r) {
			c.sink.Refuse(*r)
			return nil
		}
		return err
	}
	return c.sink.Observe(o)
}

// found tells of a file once: its sighting, its size, and whether it is its package's.
func (c *collector) found(path string, h *hashed) error {
	now := c.o.Now()
	if c.o.Progress != nil {
		c.o.Progress(c.summary.Files, path)
	}
	if err := c.observe(now, h.file, intel.Telemetry, sourceName, intel.Sighting{Path: path, Host: c.o.Host}); err != nil {
		return err
	}
	if h.told {
		return nil
	}
	h.told = true
	c.summary.Files++
	c.summary.Bytes += h.size
	if err := c.observe(now, h.file, intel.Telemetry, sourceName, intel.Attribute{Name: intel.Size, Value: fmt.Sprint(h.size)}); err != nil {
		return err
	}
	if h.away {
		return nil // its path may be a package's; this file is not
	}
	p, ok := c.packages[path]
	if !ok {
		p, ok = c.packages[h.real]
	}
	if !ok {
		return nil
	}
	if p.md5 != h.file.MD5 {
		c.summary.Changed = append(c.summary.Changed, path)
		return nil
	}
	c.summary.Packaged++
	return c.observe(now, h.file, intel.FeedSource, "dpkg", intel.Listing{Feed: "dpkg", Zone: intel.Green, Threat: p.name})
}

// folders looks at the executables of the PATH, then of the library folders.
func (c *collector) folders() error {
	seen := map[string]bool{}
	var paths []string // to hash, in order
	list := func(dir string, deep bool) error {
		real, err := filepath.EvalSymlinks(c.within(dir))
		if err != nil || seen[real] {
			return nil
		}
		seen[real] = true
		return filepath.WalkDir(real, func(name string, e fs.DirEntry, err error) error {
			if spent := c.spent(); spent != nil {
				return spent
			}
			if err != nil {
				c.summary.Unreadable++
				return nil
			}
			if e.IsDir() {
				if name != real && (!deep || seen[name]) {
					return fs.SkipDir
				}
				seen[name] = true
				return nil
			}
			info, err := e.Info()
			if err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() <= maxFile && (info.Mode()&0o111 != 0 || strings.Contains(e.Name(), ".so")) {
				paths = append(paths, name)
			}
			return nil
		})
	}
	var err error
	for _, dir := range filepath.SplitList(c.o.Path) {
		if err == nil && filepath.IsAbs(dir) {
			err = list(dir, false)
		}
	}
	for _, dir := range c.o.Folders {
		if err == nil {
			err = list(dir, true)
		}
	}
	// What was listed is hashed even when listing ended early, as far as time allows.
	if err != nil && !errors.Is(err, errBudget) {
		return err
	}
	return errors.Join(c.hashAll(paths), err)
}

// hashAll hashes files on all cores and tells of them in order.
func (c *collector) hashAll(paths []string) error {
	type result struct {
		path string
		h    *hashed
		err  error
	}
	workers := runtime.GOMAXPROCS(0)
	jobs := make(chan int, 64)
	results := make([]chan result, len(paths))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				h, err := hashFile(paths[i])
				results[i] <- result{paths[i], h, err}
			}
		})
	}
	go func() {
		defer close(jobs)
		for i := range paths {
			select {
			case jobs <- i:
			case <-stop:
				return
			}
		}
	}()
	defer wg.Wait()
	defer close(stop)
	for i := range paths {
		if err := c.spent(); err != nil {
			return err
		}
		var r result
		select {
		case r = <-results[i]:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		if r.err != nil {
			c.summary.Unreadable++
			continue
		}
		if old := c.hashed[r.path]; old != nil && os.SameFile(old.info, r.h.info) {
			r.h = old // a process runs it: told already
			if old.told {
				continue
			}
		}
		c.hashed[r.path] = r.h
		r.h.real = c.outside(r.h.real)
		if err := c.found(c.outside(r.path), r.h); err != nil {
			return err
		}
	}
	return nil
}
