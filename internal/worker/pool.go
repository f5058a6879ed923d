package worker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"spoor/internal/durable"
	"spoor/internal/inspect"
	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/signature"
	"spoor/internal/intel"
)

// SourceName is the source of what inspection tells.
const SourceName = "inspection"

// Config is how a pool works. The zero value of a field stands for its default.
type Config struct {
	Command   []string         // starts a child that calls [Serve]
	Workers   int              // children at once; 1
	Limits    inspect.Limits   // [inspect.DefaultLimits]
	Memory    int64            // bytes of memory a child; 512 MiB
	Output    int64            // bytes that one inspection may say; 1 GiB
	Scratch   string           // a folder on a disk with room for Limits.Bytes a child; the system's for temporary files
	Spare     int64            // of the disk of Scratch, left to others; a twentieth of it and 1 GiB at most when 0
	Trust     *signature.Trust // to begin with; see [Pool.SetTrust]
	Passwords []string         // tried on encrypted members
	Patterns  *exe.Patterns    // of packers, beside those that are built in; may be nil
	// Scan, when not nil, is asked of every file and member, in this process. It returns what is detected, and notes of what could not be asked.
	Scan func(ctx context.Context, f *os.File, size int64) (found []intel.Detection, notes []string)
}

// The defaults.
const (
	DefaultMemory = 512 << 20
	DefaultOutput = 1 << 30
)

// grace is how much longer than its limit a child may take before it is killed: it ends an inspection that takes too long by itself.
const grace = 10 * time.Second

// lastWords is how long a child that broke off may take to end by itself.
const lastWords = 10 * time.Second

// restarts is how often an inspection goes on in a fresh child, past what the one before died of.
const restarts = 8

// fresh is after how many inspections a child is replaced, for what its readers may have kept.
const fresh = 1000

// Pool is a set of children. It may be used from many goroutines.
type Pool struct {
	c     Config
	slots chan *child // nil where no child has been started yet
	close sync.Once
	peak  atomic.Int64 // see PeakMemory
	trust atomic.Pointer[signature.Trust]
}

// SetTrust has the signatures of all files that are inspected from now on verified against t.
func (p *Pool) SetTrust(t *signature.Trust) { p.trust.Store(t) }

// PeakMemory returns the most bytes of memory that a child has held, of those that came to the end of an inspection; 0 where that cannot be told.
func (p *Pool) PeakMemory() int64 { return p.peak.Load() }

func (p *Pool) sawMemory(n int64) {
	for {
		if old := p.peak.Load(); n <= old || p.peak.CompareAndSwap(old, n) {
			return
		}
	}
}

// NewPool makes a pool; children start when they are needed.
func NewPool(c Config) *Pool {
	c.Workers = max(c.Workers, 1)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	c.Output = cmp.Or(c.Output, DefaultOutput)
	if c.Limits == (inspect.Limits{}) {
		c.Limits = inspect.DefaultLimits
	}
	p := &Pool{c: c, slots: make(chan *child, c.Workers)}
	p.SetTrust(cmp.Or(c.Trust, &signature.Trust{}))
	for range c.Workers {
		p.slots <- nil
	}
	return p
}

// Close ends the children, once each has done what it is at.
func (p *Pool) Close() {
	p.close.Do(func() {
		for range p.c.Workers {
			if c := <-p.slots; c != nil {
				c.end()
			}
		}
	})
}

// Result is what an inspection gave.
type Result struct {
	inspect.Summary
	Stopped string   `json:"stopped,omitempty"` // why it was ended before its end; what it had told until then holds
	Guards  []string `json:"guards"`            // that the child was under
}

// Job is how one file is inspected.
type Job struct {
	Name    string        // as it was handed in; may be empty
	Now     time.Time     // the moment of the observations
	Marking intel.Marking // of them
	Members *atomic.Int64 // counts the members as they are told, for a person who waits; may be nil
	File    intel.Hashes  // of the file, when the caller knows them: a child that says otherwise is not believed
	Extra   bool          // have it inspected at once, by a child beyond the number of workers, which ends with it
}

// Inspect inspects a file. tell gets the observations as they come, from this goroutine. When the child dies of what it reads, a fresh one leaves
// that alone, which a note says, and goes on behind it. What else goes wrong with the bytes or with the child is told by the result's Stopped, and
// by a note of the file when its hashes are known; the error is the caller's own (tell, the context) or that no child can be started.
func (p *Pool) Inspect(ctx context.Context, f *os.File, j Job, tell func(intel.Observation) error) (Result, error) {
	info, err := f.Stat()
	if err != nil {
		return Result{}, err
	}
	if !info.Mode().IsRegular() {
		return Result{}, &intel.Refusal{Input: j.Name, Reason: "not a regular file"}
	}
	var c *child
	if j.Extra {
		defer func() {
			if c != nil {
				c.end()
			}
		}()
	} else {
		select {
		case c = <-p.slots:
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
		defer func() { p.slots <- c }()
	}
	if c != nil && c.dead() { // while it had nothing to do: no file's doing
		c.kill()
		c = nil
	}
	if c != nil && c.trust != p.trust.Load() { // a child keeps what it was started with
		c.end()
		c = nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, p.c.Limits.Time+grace, errTooLong)
	defer cancel()
	i := &inspection{Job: j, f: f, size: info.Size(), tell: tell, tree: newTree(j.File, p.c.Limits.Members), output: p.c.Output, avoid: map[int]string{}}
	for {
		if c == nil {
			if c, err = p.start(); err != nil {
				c = nil
				return Result{}, fmt.Errorf("starting a worker: %v", err) // no error of the file, whatever path it names
			}
		}
		r, err := c.inspect(ctx, limited, i)
		r.Guards = c.guards
		p.sawMemory(PeakMemoryOf(c.cmd.Process.Pid)) // 0 when it has been killed
		if c.used++; c.broken || c.spent || c.used >= fresh {
			c.end()
			c = nil
		} else {
			c.tidy()
		}
		if err != errAgain {
			return r, err
		}
	}
}

// inspection is one file on its way, through as many children as it takes.
type inspection struct {
	Job
	f      *os.File
	size   int64
	tell   func(intel.Observation) error
	tree   *tree          // what may be told of
	told   int            // observations
	skip   int            // of those to come that have been told
	output int64          // bytes that may still be said
	avoid  map[int]string // the attempts that children died in, and of what
	said   scans          // of other engines
}

// child is one worker process.
type child struct {
	c       *Config
	pool    *Pool
	trust   *signature.Trust
	cmd     *exec.Cmd
	link    *link
	in      *bufio.Reader
	scratch []*os.File // of each level, and the file with the mark
	stderr  *tail
	guards  []string
	release func() // of what contains it
	used    int
	broken  bool
	spent   bool // says that it holds too much for another file
	exited  chan struct{}
}

func (p *Pool) start() (_ *child, err error) {
	c := &child{c: &p.c, pool: p, trust: p.trust.Load(), stderr: &tail{}, release: func() {}, exited: make(chan struct{})}
	defer func() {
		if err != nil {
			c.closeScratch()
		}
	}()
	for range files {
		f, err := os.CreateTemp(p.c.Scratch, "spoor-scratch-")
		if err != nil {
			return nil, fmt.Errorf("making a file for large members: %w", err)
		}
		_ = os.Remove(f.Name()) // open, it needs no name; where that cannot be, it is removed at the end
		c.scratch = append(c.scratch, f)
	}
	c.cmd = exec.Command(p.c.Command[0], p.c.Command[1:]...)
	c.cmd.Args[0] = os.Args[0] // as this program was called
	c.cmd.Env = []string{"GOTRACEBACK=single", "GODEBUG=madvdontneed=1"}
	c.cmd.Dir = filepath.VolumeName(os.TempDir()) + string(filepath.Separator)
	c.cmd.Stderr = c.stderr
	link, started, err := attach(c.cmd, c.scratch)
	if err != nil {
		return nil, err
	}
	c.link, c.in = link, bufio.NewReaderSize(link, 64<<10)
	err = c.cmd.Start()
	started()
	if err != nil {
		link.Close()
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is asked of its state
		close(c.exited)
	}()
	held, release, err := contain(c.cmd.Process, p.c.Memory)
	if err != nil {
		c.kill()
		return nil, err
	}
	c.release = release
	s := setup{Limits: p.c.Limits, Memory: p.c.Memory, Passwords: p.c.Passwords, Scan: p.c.Scan != nil, Trust: c.trust, Patterns: p.c.Patterns}
	var ready answer
	message, err := json.Marshal(&s)
	if err == nil {
		_, err = link.Write(append(message, '\n'))
	}
	if err == nil {
		err = receive(c.in, &ready)
	}
	if err != nil || len(ready.Ready) == 0 {
		c.kill()
		return nil, fmt.Errorf("it did not come up: %s", cmp.Or(c.stderr.first(), fmt.Sprint(err)))
	}
	c.guards = append(held, ready.Ready...)
	return c, nil
}

// keptScratch is how large a scratch file stays between inspections.
const keptScratch = 64 << 20

// tidy gives room back, whatever the child has left there.
func (c *child) tidy() {
	for _, f := range c.scratch {
		if info, err := f.Stat(); err == nil && info.Size() > keptScratch {
			_ = f.Truncate(0)
		}
	}
}

func (c *child) closeScratch() {
	for _, f := range c.scratch {
		f.Close()
		_ = os.Remove(f.Name()) // mostly removed before
	}
}

// end lets the child go: its socket is closed, which it takes for the end.
func (c *child) end() {
	c.link.Close()
	select {
	case <-c.exited:
	case <-time.After(time.Second):
	}
	c.kill()
}

// dead reports whether a child has ended.
func (c *child) dead() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

func (c *child) kill() {
	c.broken = true
	_ = c.cmd.Process.Kill() // fails only when it has ended
	<-c.exited
	c.link.Close()
	c.release()
	c.closeScratch()
}

// The reasons for which the parent ends an inspection.
var (
	errTooLong = errors.New("too long")
	errTooMuch = errors.New("too much output")
	errCrowded = errors.New("too little room on the disk of scratch")
	errEnded   = errors.New("the worker has ended")
)

// leastHashing is how long a file may be hashed here at the least, when a child has not come to it.
const leastHashing = time.Minute

// errAgain says that a fresh child is to go on.
var errAgain = errors.New("again")

// inspect has one file inspected.
func (c *child) inspect(ctx, limited context.Context, i *inspection) (Result, error) {
	var r Result
	limited, crowded := context.WithCancelCause(limited)
	defer crowded(nil)
	go c.watchScratch(limited, crowded)
	killed := context.AfterFunc(limited, func() { _ = c.cmd.Process.Kill() })
	defer killed()
	stop := func(why error) (Result, error) {
		if ctx.Err() != nil {
			c.kill()
			return r, ctx.Err()
		}
		if cause := context.Cause(limited); cause == errTooLong || cause == errCrowded {
			why = cause
		}
		if errors.Is(why, io.EOF) || errors.Is(why, io.ErrUnexpectedEOF) || errors.Is(why, syscall.ECONNRESET) || errors.Is(why, syscall.EPIPE) || errors.Is(why, fs.ErrNotExist) {
			select {
			case <-c.exited:
				why = errEnded
			case <-time.After(lastWords): // it may be saying why it dies
			}
		}
		at, marked := readMark(c.scratch[markFile])
		c.kill()
		r.Stopped = c.why(why)
		if _, again := i.avoid[at.attempt]; why == errEnded && c.died() && marked && !again && len(i.avoid) < restarts && i.said.kept() {
			i.avoid[at.attempt], i.skip = r.Stopped, min(at.told, i.told)
			return r, errAgain
		}
		r.File, r.Size = i.tree.root, i.size
		if r.File.IsZero() {
			hashing, end := context.WithTimeoutCause(ctx, max(c.c.Limits.Time, leastHashing), errTooLong)
			hashes, n, err := inspect.HashReader(inspect.While(hashing, io.NewSectionReader(i.f, 0, i.size)))
			end()
			switch {
			case ctx.Err() != nil:
				return r, ctx.Err()
			case errors.Is(err, errTooLong):
				return r, &intel.Refusal{Reason: fmt.Sprintf("nothing can be told of it: making its hashes takes more than %s; allow more time (--worker-time)", max(c.c.Limits.Time, leastHashing))}
			case err != nil || n != i.size:
				return r, nil // it cannot be read here either
			}
			r.File = hashes
		}
		for _, last := range []intel.Attribute{{Name: intel.InspectionNote, Value: "inspection stopped: " + r.Stopped}, {Name: intel.Inspected, Value: "revision " + inspect.Revision}} {
			if err := i.tell(i.stamp(intel.Observation{File: r.File, Fact: last})); err != nil {
				return r, err
			}
		}
		return r, nil
	}
	i.said.asked = 0
	if err := c.scratch[markFile].Truncate(0); err != nil { // of the file before
		return stop(err)
	}
	if err := limitCPU(c.cmd.Process, c.c.Limits.Time+grace); err != nil {
		return stop(err)
	}
	if err := c.link.send(&request{Name: i.Name, Size: i.size, Now: i.Now, Avoid: i.avoid}, i.f); err != nil {
		return stop(err)
	}
	in := &counted{r: c.in, left: &i.output}
	for {
		line, err := in.line()
		if err != nil {
			return stop(err)
		}
		if len(line) > 0 && line[0] == observed {
			o, err := intel.ParseObservation(line[1:])
			if err == nil && !told(o.Fact) {
				err = fmt.Errorf("it tells a %s, which no bytes can", o.Fact.Kind())
			}
			if err != nil {
				return stop(err)
			}
			if i.skip > 0 {
				i.skip--
				continue
			}
			if err := i.tree.take(o); err != nil {
				return stop(err)
			}
			i.told++
			if i.Members != nil && o.Fact.Kind() == (intel.Relation{}).Kind() {
				i.Members.Add(1)
			}
			if err := i.tell(i.stamp(o)); err != nil {
				c.kill() // it is in the middle of something
				return r, err
			}
			continue
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return stop(fmt.Errorf("it speaks nonsense: %w", err))
		}
		switch {
		case a.Scan != nil:
			if err := c.scan(limited, i, a.Scan); err != nil {
				return stop(err)
			}
		case a.Done != nil:
			if i.tree.root.IsZero() {
				return stop(errors.New("it says that it is done, and has told nothing"))
			}
			r.Summary, c.spent = *a.Done, a.Spent
			r.File, r.Size = i.tree.root, i.size
			return r, nil
		case a.Failed != "":
			return stop(errors.New(a.Failed))
		}
	}
}

// watchScratch calls crowded when the disk of scratch has less room than is left to others and this child holds some of it, until ctx ends.
func (c *child) watchScratch(ctx context.Context, crowded func(error)) {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		var held int64
		for _, f := range c.scratch {
			if info, err := f.Stat(); err == nil {
				held += info.Size()
			}
		}
		if held <= keptScratch {
			continue
		}
		if _, _, full := durable.Crowded(cmp.Or(c.c.Scratch, os.TempDir()), c.c.Spare); full {
			crowded(errCrowded)
			return
		}
	}
}

// told reports whether a fact is of a kind that bytes tell: a child that foreign bytes have taken over says nothing of hosts or feeds.
func told(f intel.Fact) bool {
	switch t := f.(type) {
	case intel.Attribute, intel.Signature, intel.Certificate, intel.FuzzyHash, intel.Detection:
		return true
	case intel.Relation:
		return t.Verb == intel.Contains
	}
	return false
}

// stamp says whose an observation is and when it was made; the child's own word for it is not taken.
func (j *Job) stamp(o intel.Observation) intel.Observation {
	o.Source = intel.Source{Type: intel.InspectionSource, Name: SourceName, Marking: j.Marking}
	o.Time, o.Last, o.Count = j.Now, time.Time{}, 0
	return o
}

// What the runtime says when a child meets these limits, which hold for all of a file.
const (
	cpuSignal  = "SIGXCPU"
	sizeSignal = "SIGXFSZ"
)

// died reports whether a child that has ended may have done so for something that another can leave alone.
func (c *child) died() bool {
	said := c.stderr.String()
	return !strings.Contains(said, cpuSignal) && !strings.Contains(said, sizeSignal)
}

// why says for a person why an inspection ended, of the error that the parent met and of what the child said last.
func (c *child) why(err error) string {
	said := c.stderr.String()
	switch {
	case errors.Is(err, errTooLong):
		return fmt.Sprintf("%s of time", c.c.Limits.Time)
	case errors.Is(err, errCrowded):
		return "no room in the scratch folder for large members: what is free of its disk is left to others; give it more, or another by --scratch"
	case errors.Is(err, errTooMuch):
		return fmt.Sprintf("%d MiB of output", c.c.Output>>20)
	case strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory"), strings.HasPrefix(said, "SIGSEGV"):
		// The runtime does not check each of its own allocations; a fault of a reader would be a panic.
		return fmt.Sprintf("%d MiB of memory", c.c.Memory>>20)
	case strings.Contains(said, cpuSignal):
		return fmt.Sprintf("%s of processor time", c.c.Limits.Time)
	case strings.Contains(said, sizeSignal):
		return fmt.Sprintf("%d bytes unpacked", c.c.Limits.Bytes)
	case said != "":
		return "the reader failed: " + c.stderr.first()
	case errors.Is(err, errEnded):
		return "the worker was ended: " + c.cmd.ProcessState.String()
	}
	return "the worker failed: " + err.Error()
}

// counted reads lines up to a number of bytes.
type counted struct {
	r    *bufio.Reader
	left *int64
}

// maxLine is the longest message that a child may send.
const maxLine = 1 << 20

func (c *counted) line() ([]byte, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		if *c.left -= int64(len(part)); *c.left < 0 || len(line)+len(part) > maxLine {
			return nil, errTooMuch
		}
		if err == nil && line == nil {
			return part, nil
		}
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// tail keeps the beginning of what a child says on standard error.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 16 << 10
	t.b.Write(p[:min(len(p), max(0, most-t.b.Len()))])
	return len(p), nil
}

// String returns what was said.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// first returns the first line of it, cut to a size for people.
func (t *tail) first() string {
	line, _, _ := strings.Cut(strings.TrimSpace(t.String()), "\n")
	const most = 300
	return strings.ToValidUTF8(line[:min(len(line), most)], "\uFFFD")
}
