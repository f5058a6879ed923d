// Package collect turns what this Linux machine can tell of its files into observations: running processes and who started them,
// executables on the PATH, in library folders and of what starts by itself, where downloaded files came from, and which files are just as their
// dpkg or rpm package installed them. A [Sensor] does so again and again and tells nothing twice.
package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// Options say what to look at; the zero value looks at this machine without a time limit.
type Options struct {
	Budget  time.Duration    // stop looking for more after so long; 0: no limit
	Root    string           // of the file system, "/" when empty; a mounted image, say, whose links do not lead outside
	Host    string           // the machine's own name when empty
	Path    string           // folders of executables, $PATH when empty
	Folders []string         // folders of libraries, the usual ones when nil
	RPM     string           // program that lists rpm's packages, rpm itself when empty
	Rate    int64            // bytes that are read a second, 0: as fast as can be
	Now     func() time.Time // the clock; time.Now when nil
	// Progress, when not nil, is told of every file.
	Progress func(files int, path string)

	memory *memory // what was told before; nil: nothing
}

// Summary is what was found.
type Summary struct {
	Processes  int           `json:"processes"`        // whose file could be read
	Starts     int           `json:"starts"`           // of them, whose parent's file could be read too
	Unreadable int           `json:"unreadable"`       // processes and files that this user may not read
	Files      int           `json:"files"`            // distinct files that were hashed
	Bytes      int64         `json:"bytes"`            // of them
	Downloads  int           `json:"downloads"`        // files that say where they came from
	Packaged   int           `json:"packaged"`         // files that are as their package installed them
	Untold     string        `json:"untold,omitempty"` // what the machine has and could not be asked
	Changed    []string      `json:"changed"`          // files of a package that differ from what it installed
	CutShort   bool          `json:"cut_short"`        // the budget was used up before the end
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
	if o.Path == "" {
		o.Path = usualPath
		if o.Root == "/" {
			o.Path = os.Getenv("PATH")
		}
	}
	if o.Folders == nil {
		o.Folders = []string{"/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local/lib", "/opt"}
	}
	tree, err := openTree(o.Root)
	if err != nil {
		return nil, err
	}
	defer tree.close()
	c := &collector{ctx: ctx, o: o, tree: tree, sink: sink, start: o.Now(), hashed: map[string]*hashed{}, packages: map[string]packaged{}, pace: pace{rate: o.Rate}}
	if c.o.Host == "" {
		c.o.Host = c.hostname()
	}
	readDpkg(tree, c.packages)
	if !readRPM(ctx, tree, o.RPM, c.packages) {
		c.summary.Untold = "rpm's packages"
	}
	err = c.processes()
	if err == nil {
		err = c.folders()
	}
	if errors.Is(err, errBudget) {
		c.summary.CutShort, err = true, nil
	}
	c.summary.Took = o.Now().Sub(c.start)
	c.summary.Seconds = c.summary.Took.Seconds()
	return &c.summary, err
}

// usualPath is an image's: that of this process is not its.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// hostname is the name of this machine; of an image, what it calls itself, "" when it does not.
func (c *collector) hostname() (name string) {
	if c.tree.root == nil {
		name, _ = os.Hostname()
		return name
	}
	c.lines("/etc/hostname", func(line string) {
		if name == "" && !strings.HasPrefix(line, "#") {
			name = line
		}
	})
	return name
}

type collector struct {
	ctx      context.Context
	o        Options
	tree     *tree
	sink     source.Sink
	start    time.Time
	packages map[string]packaged
	hashed   map[string]*hashed // by real path
	away     []*hashed          // that processes run and no path leads to
	entered  map[string]bool    // folders that were looked through
	from     map[string]intel.Download
	pace     pace
	summary  Summary
}

// spent returns an error when the time is up or the caller gave up.
func (c *collector) spent() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.o.Budget > 0 && c.o.Now().Sub(c.start) > c.o.Budget {
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

// found tells of a file: each time its sighting, the first time its size, and whether it is its package's. With a memory all of that is told
// once for a path, until the file there changes.
func (c *collector) found(path string, h *hashed) error {
	now := c.o.Now()
	if c.o.Progress != nil {
		c.o.Progress(c.summary.Files, path)
	}
	told := h.known != nil && h.known.Told
	if !told {
		if err := c.observe(now, h.file, intel.Telemetry, sourceName, intel.Sighting{Path: path, Host: c.o.Host}); err != nil {
			return err
		}
	}
	if h.told {
		return nil
	}
	h.told = true
	c.summary.Files++
	c.summary.Bytes += h.size
	if !told {
		if err := c.observe(now, h.file, intel.Telemetry, sourceName, intel.Attribute{Name: intel.Size, Value: fmt.Sprint(h.size)}); err != nil {
			return err
		}
		if h.known != nil {
			h.known.Told = true
		}
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
	if !p.is(&h.file) {
		c.summary.Changed = append(c.summary.Changed, path)
		return nil
	}
	c.summary.Packaged++
	if told {
		return nil
	}
	return c.observe(now, h.file, intel.FeedSource, p.manager, intel.Listing{Feed: p.manager, Zone: intel.Green, Threat: p.name})
}

// walk calls each for the regular files below a folder that have content and can be hashed, in the order of their names, down to so many
// folders below it; [fs.SkipAll] ends it.
func (c *collector) walk(real string, deep int, each func(path string, info fs.FileInfo) error) error {
	err := c.enter(real, deep, each)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (c *collector) enter(real string, deep int, each func(path string, info fs.FileInfo) error) error {
	if err := c.spent(); err != nil {
		return err
	}
	entries, err := c.tree.readDir(real)
	if err != nil {
		c.summary.Unreadable++
	}
	for _, e := range entries {
		if err := c.spent(); err != nil {
			return err
		}
		path := filepath.Join(real, e.Name())
		if e.IsDir() {
			if deep > 0 && !c.entered[path] {
				if c.entered != nil {
					c.entered[path] = true
				}
				if err := c.enter(path, deep-1, each); err != nil {
					return err
				}
			}
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() <= maxFile {
			if err := each(path, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// deepest is how far library folders are followed.
const deepest = 64

// folders looks at the executables of the PATH, then at what starts by itself, at downloads, and at the library folders.
func (c *collector) folders() error {
	var paths []string // to hash, in order; a path may come twice
	c.entered = map[string]bool{}
	list := func(dir string, deep int) error {
		real, err := c.tree.resolve(dir)
		if err != nil || c.entered[real] {
			return nil
		}
		if info, err := c.tree.lstat(real); err != nil || !info.IsDir() {
			return nil
		}
		c.entered[real] = true
		return c.walk(real, deep, func(path string, info fs.FileInfo) error {
			if info.Mode()&0o111 != 0 || strings.Contains(filepath.Base(path), ".so") {
				paths = append(paths, path)
			}
			return nil
		})
	}
	var err error
	for _, dir := range filepath.SplitList(c.o.Path) {
		if err == nil && filepath.IsAbs(dir) {
			err = list(dir, 0)
		}
	}
	homes := c.homes()
	if err == nil {
		for _, path := range c.started(homes) {
			real, err := c.tree.resolve(path)
			if err != nil {
				continue
			}
			if info, err := c.tree.lstat(real); err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() <= maxFile {
				paths = append(paths, real)
			}
		}
	}
	if err == nil {
		entered := c.entered
		c.entered = nil // a folder of downloads may be one of the others, too
		var downloaded []string
		downloaded, c.from, err = c.downloads(homes)
		c.entered = entered
		paths = append(paths, downloaded...)
	}
	for _, dir := range c.o.Folders {
		if err == nil {
			err = list(dir, deepest)
		}
	}
	// What was listed is hashed even when listing ended early, as far as time allows.
	if err != nil && !errors.Is(err, errBudget) {
		return err
	}
	seen := map[string]bool{}
	paths = slices.DeleteFunc(paths, func(path string) bool {
		again := seen[path]
		seen[path] = true
		return again
	})
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
				h, err := c.hash(paths[i])
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
			if errors.Is(r.err, errBudget) {
				return r.err
			}
			c.summary.Unreadable++
			continue
		}
		if old := c.hashed[r.path]; old != nil && os.SameFile(old.info, r.h.info) {
			r.h = old // a process runs it: told already, unless the time was up
		}
		if !r.h.told {
			c.hashed[r.path] = r.h
			if err := c.found(r.path, r.h); err != nil {
				return err
			}
		}
		if d, ok := c.from[r.path]; ok {
			if err := c.downloaded(d, r.h); err != nil {
				return err
			}
		}
	}
	return nil
}

// downloaded tells where a file came from.
func (c *collector) downloaded(d intel.Download, h *hashed) error {
	c.summary.Downloads++
	if h.known != nil {
		if h.known.Origin == d.URL {
			return nil
		}
		h.known.Origin = d.URL
	}
	return c.observe(c.o.Now(), h.file, intel.Telemetry, sourceName, d)
}
