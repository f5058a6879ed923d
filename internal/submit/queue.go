package submit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spoor/internal/durable"
	"spoor/internal/ingest"
	"spoor/internal/inspect"
	"spoor/internal/intel"
	"spoor/internal/worker"
)

// MaxFile is the most bytes of a submitted file.
const MaxFile = 256 << 20

// Options are how a queue works. The zero value of a number stands for its default.
type Options struct {
	Dir      string // of the files that wait; made when it is not there
	Pool     *worker.Pool
	Workers  int // how many the pool has
	Recorder ingest.Recorder
	// Inspected tells whether a file has been inspected, by the readers of today, and those who may see what is marked so may see what it gave.
	Inspected func(ctx context.Context, h intel.Hash, m intel.Marking) (bool, error)
	MaxBytes  int64         // of all files that wait, and that come; 16 GiB. One account's are at most half of it
	Spare     int64         // of the disk of Dir, left to others, the store above all; a twentieth of it and 1 GiB at most when 0
	Keep      string        // a folder for the bytes of inspected files; "": they are not kept
	KeepFor   time.Duration // how long they are kept; 0: until a person removes them
	Log       *slog.Logger
}

// The kinds of error that a caller tells apart, beside those of intel.
var (
	// ErrTooLarge: a file of more than MaxFile bytes.
	ErrTooLarge = errors.New("too large")
	// ErrFull: there is no room for what waits; trying again later may help.
	ErrFull = fmt.Errorf("there is no room for files that wait: %w", intel.ErrUnavailable)
)

// Submission is what comes with the bytes of a file.
type Submission struct {
	Name    string // may be empty
	Account string // whose it is; each gets its turn
	Marking intel.Marking
	Again   bool // inspect it also when it was inspected before
}

// Ticket is what a submission gets.
type Ticket struct {
	File intel.Hashes
	Size int64
	Done bool // it had been inspected before
}

// State is how far a file is that was submitted.
type State string

// The states of a file that waits. One that has been inspected is in none.
const (
	Waiting    State = "not started"
	Inspecting State = "in progress"
)

// Progress is how far a file is, and what is before it.
type Progress struct {
	State   State
	File    intel.Hashes
	Size    int64
	Ahead   int       // files that came before and are not done
	Since   time.Time // of this state
	Members int64     // that its inspection has told of until now
}

// entry is one file that waits, as it stands on disk beside the bytes.
type entry struct {
	File     intel.Hashes  `json:"file"`
	Size     int64         `json:"size"`
	Name     string        `json:"name,omitempty"` // it was submitted as, first
	Account  string        `json:"account,omitempty"`
	Marking  intel.Marking `json:"marking"`
	At       time.Time     `json:"at"`
	Attempts int           `json:"attempts"` // begun; more than one when the server ended meanwhile

	id      string
	state   State
	begun   time.Time    // the inspection
	members atomic.Int64 // told of in it
	done    chan struct{}
}

const (
	maxWaiting  = 100_000 // files, however small
	maxAttempts = 3
	halfLife    = 10 * time.Minute // of what an account had; as long as one file may take
	longTaken   = 5 * time.Second  // by each of all workers, and others get one more
)

// Queue is the files that wait. It may be used from many goroutines.
type Queue struct {
	o Options

	mu      sync.Mutex
	waiting map[string]*entry // by id
	order   []*entry
	bytes   int64                    // of those that wait
	ended   uint64                   // inspections, since the start
	coming  int64                    // bytes of those that are being received
	held    map[string]int64         // bytes of each account's, of both
	more    chan struct{}            // something waits
	had     map[string]time.Duration // what workers have lately spent on each account's files; halved every halfLife
	halved  time.Time                // the last time that it was

	inspected *prometheus.CounterVec
	depth     prometheus.GaugeFunc
	memory    prometheus.GaugeFunc
}

// Open opens a queue and finds the files that waited when it was last closed.
func Open(o Options) (*Queue, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 16 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Workers = max(o.Workers, 1)
	for _, dir := range []string{o.Dir, o.Keep} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a folder for submitted files: %w", err)
		}
	}
	if o.Keep != "" {
		keep, err := filepath.EvalSymlinks(o.Keep) // a link to a larger disk; below it none is followed
		if err != nil {
			return nil, fmt.Errorf("making a folder for submitted files: %w", err)
		}
		o.Keep = keep
		unfinished, _ := filepath.Glob(filepath.Join(o.Keep, "*", newPrefix+"*"))
		for _, n := range unfinished {
			_ = os.Remove(n) // a copy that was cut off; its file still waits
		}
	}
	q := &Queue{o: o, waiting: map[string]*entry{}, held: map[string]int64{}, had: map[string]time.Duration{}, halved: time.Now(), more: make(chan struct{}, o.Workers),
		inspected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_inspections_total", Help: "Inspections of submitted files, by outcome."}, []string{"outcome"})}
	q.depth = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "spoor_inspections_waiting", Help: "Submitted files that wait for their inspection or are at it."}, func() float64 {
		q.mu.Lock()
		defer q.mu.Unlock()
		return float64(len(q.waiting))
	})
	q.memory = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "spoor_worker_memory_peak_bytes", Help: "Most memory that a worker has held since the start."}, func() float64 {
		return float64(o.Pool.PeakMemory())
	})
	return q, q.load()
}

// Describe implements [prometheus.Collector].
func (q *Queue) Describe(c chan<- *prometheus.Desc) {
	q.inspected.Describe(c)
	q.depth.Describe(c)
	q.memory.Describe(c)
}

// Collect implements [prometheus.Collector].
func (q *Queue) Collect(c chan<- prometheus.Metric) {
	q.inspected.Collect(c)
	q.depth.Collect(c)
	q.memory.Collect(c)
}

// The suffixes of the files in a queue's folder: the bytes, what is known of them, and what was not finished.
const (
	bytesSuffix = ".file"
	entrySuffix = ".json"
	newPrefix   = "incoming-"
)

func (q *Queue) bytesPath(id string) string { return filepath.Join(q.o.Dir, id+bytesSuffix) }
func (q *Queue) entryPath(id string) string { return filepath.Join(q.o.Dir, id+entrySuffix) }

// load finds what waits. An entry is written before its bytes get their name, so bytes without an entry are nobody's. A link is nothing that a queue
// writes, and would have a file read that nobody submitted.
func (q *Queue) load() error {
	durable.RemoveUnfinished(q.o.Dir)
	names, err := os.ReadDir(q.o.Dir)
	if err != nil {
		return fmt.Errorf("looking for files that wait: %w", err)
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), entrySuffix)
		if !ok {
			id, isBytes := strings.CutSuffix(n.Name(), bytesSuffix)
			_, err := os.Stat(q.entryPath(id))
			// A submission that was not acknowledged; or an inspection that was recorded.
			if strings.HasPrefix(n.Name(), newPrefix) || isBytes && errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(filepath.Join(q.o.Dir, n.Name()))
			}
			continue
		}
		info, statErr := os.Lstat(q.bytesPath(id))
		if errors.Is(statErr, fs.ErrNotExist) {
			_ = os.Remove(q.entryPath(id)) // a submission that was not acknowledged
			continue
		}
		e := &entry{id: id, state: Waiting, done: make(chan struct{})}
		var b []byte
		switch {
		case statErr != nil:
			err = statErr
		case !n.Type().IsRegular() || !info.Mode().IsRegular():
			err = errNotOurs
		default:
			b, err = os.ReadFile(q.entryPath(id))
		}
		if err == nil {
			err = json.Unmarshal(b, e)
		}
		if err != nil || e.id != idOf(e.File, e.Marking) || info.Size() != e.Size {
			q.o.Log.Error("a file that waited cannot be taken up and is left where it is", "file", q.entryPath(id), "error", err)
			continue
		}
		q.waiting[id] = e
		q.order = append(q.order, e)
		q.bytes += e.Size
		q.hold(e.Account, e.Size)
	}
	slices.SortStableFunc(q.order, func(a, b *entry) int { return a.At.Compare(b.At) })
	for range min(len(q.order), cap(q.more)) {
		q.wake()
	}
	return nil
}

// errNotOurs is a link, or what else is neither a file nor a folder, in the place of one.
var errNotOurs = errors.New("it is a link or a device")

func idOf(f intel.Hashes, m intel.Marking) string {
	return f.SHA256.String() + "-" + fmt.Sprint(uint8(m))
}

func (q *Queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// room fails when no more bytes are to be written. A store that finds its disk full ends the server, so it is left a part of it.
func (q *Queue) room() error {
	if free, left, crowded := durable.Crowded(q.o.Dir, q.o.Spare); crowded {
		return fmt.Errorf("%d MB of the disk are free, and %d MB are left to the store: %w", free/1e6, left/1e6, ErrFull)
	}
	return nil
}

// incoming counts the bytes of a file as they come, so that many that come at once cannot be more than the disk was meant for.
type incoming struct {
	q       *Queue
	account string
	n       int64
}

// Write implements [io.Writer].
func (i *incoming) Write(p []byte) (int, error) {
	if err := i.q.room(); err != nil {
		return 0, err
	}
	i.q.mu.Lock()
	defer i.q.mu.Unlock()
	i.n += int64(len(p))
	i.q.coming += int64(len(p))
	i.q.hold(i.account, int64(len(p)))
	if i.q.bytes+i.q.coming > i.q.o.MaxBytes+MaxFile || i.q.held[i.account] > i.q.o.MaxBytes/2+MaxFile {
		return 0, ErrFull
	}
	return len(p), nil
}

func (i *incoming) done() {
	i.q.mu.Lock()
	defer i.q.mu.Unlock()
	i.q.coming -= i.n
	i.q.hold(i.account, -i.n)
}

// hold counts bytes of an account. The caller holds q.mu.
func (q *Queue) hold(account string, n int64) {
	if q.held[account] += n; q.held[account] == 0 {
		delete(q.held, account)
	}
}

// full reports whether no more is taken in, of this account or of any.
func (q *Queue) full(account string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	files := 0
	for _, e := range q.order {
		if e.Account == account {
			files++
		}
	}
	return q.bytes >= q.o.MaxBytes || len(q.order) >= maxWaiting || q.held[account] > q.o.MaxBytes/2 || files >= maxWaiting/2
}

// Submit takes a file in. When it returns without an error the file stands on disk, and will be inspected also after a crash. A file that has
// been inspected is not inspected again unless s says so; its name is recorded.
func (q *Queue) Submit(ctx context.Context, r io.Reader, s Submission) (t Ticket, err error) {
	if q.full(s.Account) {
		return t, ErrFull
	}
	if err := q.room(); err != nil {
		return t, err
	}
	f, err := os.CreateTemp(q.o.Dir, newPrefix)
	if err != nil {
		return t, fmt.Errorf("keeping a submitted file: %w: %w", ErrFull, err)
	}
	defer func() {
		f.Close()
		if err != nil || t.Done {
			_ = os.Remove(f.Name()) // the next start would
		}
	}()
	h := inspect.NewHasher()
	coming := &incoming{q: q, account: s.Account}
	defer coming.done()
	n, err := io.CopyBuffer(io.MultiWriter(coming, f, h), struct{ io.Reader }{io.LimitReader(r, MaxFile+1)}, make([]byte, 256<<10))
	t.File, t.Size = h.Sum()
	var disk *fs.PathError
	switch {
	case errors.As(err, &disk):
		return t, fmt.Errorf("keeping a submitted file: %w: %w", ErrFull, err)
	case err != nil:
		return t, err
	case n > MaxFile:
		return t, fmt.Errorf("the file is %w: at most %d MiB", ErrTooLarge, MaxFile>>20)
	}
	named := func() error {
		return RecordNames(ctx, q.o.Recorder, t.File, worker.Job{Name: s.Name, Now: time.Now(), Marking: s.Marking})
	}
	e := &entry{File: t.File, Size: t.Size, Account: s.Account, Marking: s.Marking, At: time.Now().UTC(), id: idOf(t.File, s.Marking), Name: s.Name, state: Waiting, done: make(chan struct{})}
	for synced := false; ; synced = true {
		ended := q.inspections()
		if !s.Again {
			if t.Done, err = q.o.Inspected(ctx, t.File.SHA256, s.Marking); err != nil {
				return t, err
			}
			if t.Done {
				return t, named()
			}
		}
		if !synced {
			if err := f.Sync(); err != nil {
				return t, fmt.Errorf("keeping a submitted file: %w: %w", ErrFull, err)
			}
		}
		switch added, err := q.add(e, f.Name(), ended); {
		case errors.Is(err, errAskAgain):
			continue
		case err == nil && !added: // it waits already, and keeps the name that it came with first
			_ = os.Remove(f.Name())
			return t, named()
		default:
			return t, err
		}
	}
}

// inspections returns how many inspections have ended.
func (q *Queue) inspections() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

// errAskAgain: since it was asked whether the file has been inspected, an inspection has ended, which may have been that of the same file.
var errAskAgain = errors.New("an inspection has ended meanwhile")

// add lets a file wait whose bytes stand on disk. It reports false when it waits already. ended is how many inspections had ended before it was
// found not to be inspected.
func (q *Queue) add(e *entry, file string, ended uint64) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.waiting[e.id] != nil:
		return false, nil
	case q.ended != ended:
		return false, errAskAgain
	}
	if err := q.write(e); err != nil {
		return false, err
	}
	if err := durable.Rename(file, q.bytesPath(e.id)); err != nil {
		_ = os.Remove(q.entryPath(e.id)) // without its bytes it is nothing
		return false, fmt.Errorf("keeping a submitted file: %w: %w", ErrFull, err)
	}
	q.waiting[e.id] = e
	q.order = append(q.order, e)
	q.bytes += e.Size
	q.hold(e.Account, e.Size)
	q.wake()
	return true, nil
}

// write writes an entry to disk, whole or not at all.
func (q *Queue) write(e *entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := durable.Replace(q.entryPath(e.id), b); err != nil {
		return fmt.Errorf("keeping a submitted file: %w: %w", ErrFull, err)
	}
	return nil
}

// State returns how far a submitted file is, of what an account with this clearance may see; ok is false when it does not wait.
func (q *Queue) State(h intel.Hash, clearance intel.Marking) (p Progress, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, e := range q.order {
		f := &e.File
		if e.Marking > clearance || h != f.SHA256 && h != f.SHA1 && h != f.MD5 || ok && e.state == Waiting {
			continue
		}
		p, ok = Progress{State: e.state, File: e.File, Size: e.Size, Ahead: i, Since: e.At}, true
		if e.state == Inspecting {
			p.Since, p.Members = e.begun, e.members.Load()
		}
	}
	return p, ok
}

// Wait waits until no inspection of the file waits any more, or ctx ends.
func (q *Queue) Wait(ctx context.Context, h intel.Hash) {
	for {
		q.mu.Lock()
		i := slices.IndexFunc(q.order, func(e *entry) bool { return e.File.SHA256 == h })
		if i < 0 {
			q.mu.Unlock()
			return
		}
		done := q.order[i].done
		q.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// Run inspects what waits until ctx ends, and removes what has been kept long enough.
func (q *Queue) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range q.o.Workers {
		wg.Go(func() {
			for {
				e := q.take(false)
				if e == nil {
					select {
					case <-q.more:
						continue
					case <-ctx.Done():
						return
					}
				}
				if !q.inspect(ctx, e, false) {
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			if e := q.take(true); e != nil {
				if !q.inspect(ctx, e, true) {
					return
				}
				continue
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	})
	if q.o.Keep != "" && q.o.KeepFor > 0 {
		wg.Go(func() {
			for {
				q.sweep(time.Now())
				select {
				case <-time.After(min(time.Hour, max(q.o.KeepFor/10, time.Second))):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

// take takes a file that nobody is at: of the account of which the fewest are inspected now, of several such of the one on whose files workers have
// lately spent the least time, and of that its oldest. So neither who sends thousands nor who sends what takes long holds up the others. That alone
// would leave others waiting while all workers are at one account's long files; so extra asks for a file that is worth a worker beyond their number:
// when each has been at its file for long, and of an account of which none is inspected.
func (q *Queue) take(extra bool) (next *entry) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for ; now.Sub(q.halved) >= halfLife; q.halved = q.halved.Add(halfLife) {
		for account, d := range q.had {
			if q.had[account] = d / 2; d < time.Second {
				delete(q.had, account)
			}
		}
	}
	under, long := map[string]int{}, 0
	for _, e := range q.order {
		if e.state == Inspecting {
			under[e.Account]++
			if now.Sub(e.begun) >= longTaken {
				long++
			}
		}
	}
	if extra && long < q.o.Workers {
		return nil
	}
	before := func(a, b string) bool {
		return cmp.Or(cmp.Compare(under[a], under[b]), cmp.Compare(q.had[a], q.had[b])) < 0
	}
	for _, e := range q.order {
		if e.state == Waiting && (next == nil || before(e.Account, next.Account)) {
			next = e
		}
	}
	if next == nil || extra && under[next.Account] > 0 {
		return nil
	}
	next.state, next.begun = Inspecting, now
	next.members.Store(0)
	next.Attempts++
	return next
}

// retry is how long a file waits when what it told could not be recorded, or no worker could be started.
const retry = 5 * time.Second

// inspect has one file inspected, by one more worker when extra. It reports false when ctx has ended.
func (q *Queue) inspect(ctx context.Context, e *entry, extra bool) bool {
	outcome, err := q.one(ctx, e, extra)
	if err != nil {
		if ctx.Err() == nil {
			q.o.Log.Error("a submitted file could not be inspected and waits", "file", e.File.SHA256.String(), "error", err)
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
		q.mu.Lock()
		e.state = Waiting
		e.Attempts-- // it was not the file's doing
		q.mu.Unlock()
		return ctx.Err() == nil
	}
	q.inspected.WithLabelValues(outcome).Inc()
	q.release(e) // it may take its time, and whoever submits the file meanwhile finds it waiting
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, e.id)
	q.order = slices.DeleteFunc(q.order, func(x *entry) bool { return x == e })
	q.bytes -= e.Size
	q.hold(e.Account, -e.Size)
	q.had[e.Account] += time.Since(e.begun)
	q.ended++
	close(e.done)
	return true
}

// one inspects a file and records what it says, and its names.
func (q *Queue) one(ctx context.Context, e *entry, extra bool) (outcome string, err error) {
	q.mu.Lock()
	err = q.write(e) // how often it has been begun
	q.mu.Unlock()
	if err != nil {
		// On a full disk what waits must be inspected all the same, or nothing would ever make room.
		q.o.Log.Error("that an inspection begins cannot be written down", "file", e.File.SHA256.String(), "error", err)
	}
	j := worker.Job{Name: e.Name, Now: time.Now(), Marking: e.Marking, Members: &e.members, File: e.File, Extra: extra}
	if e.Attempts > maxAttempts {
		note := fmt.Sprintf("inspection stopped: the server ended %d times while it was at it", e.Attempts-1)
		said := Names(e.File, j, e.Name)
		for _, a := range []intel.Attribute{{Name: intel.InspectionNote, Value: note}, {Name: intel.Inspected, Value: "revision " + inspect.Revision}} {
			said = append(said, intel.Observation{Source: intel.Source{Type: intel.InspectionSource, Name: worker.SourceName, Marking: e.Marking}, Time: j.Now, File: e.File, Fact: a})
		}
		return "stopped", record(ctx, q.o.Recorder, said...)
	}
	f, err := openFile(q.bytesPath(e.id))
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := Record(ctx, q.o.Pool, q.o.Recorder, f, j)
	if err != nil {
		return "", err
	}
	outcome = "complete"
	if r.Stopped != "" {
		outcome = "stopped"
		q.o.Log.Warn("inspection stopped", "file", e.File.SHA256.String(), "reason", r.Stopped)
	}
	return outcome, nil
}

// openFile opens a regular file.
func openFile(path string) (*os.File, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNotOurs)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(before, now) {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, errNotOurs)
	}
	return f, nil
}

// release lets the bytes of an inspected file go, or lays them where they are kept. What fails is told in the log and costs only the bytes.
func (q *Queue) release(e *entry) {
	from := q.bytesPath(e.id)
	var err error
	if q.o.Keep != "" {
		err = keep(from, q.Kept(e.File.SHA256))
	}
	if removeErr := os.Remove(from); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	err = errors.Join(err, os.Remove(q.entryPath(e.id))) // last: when the server ends before, an entry without bytes is nobody's
	if err != nil {
		q.o.Log.Error("the bytes of an inspected file", "file", e.File.SHA256.String(), "error", err)
	}
}

// keep lays a file where it is kept, from now on.
func keep(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if info, err := os.Lstat(filepath.Dir(to)); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s: %w", filepath.Dir(to), errNotOurs))
	}
	now := time.Now()
	if err := os.Chtimes(from, now, now); err != nil {
		return err
	}
	if os.Rename(from, to) == nil {
		return nil
	}
	return copyTo(from, to) // it is on another disk
}

// copyTo copies a file, whole or not at all.
func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), newPrefix)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		err = durable.Rename(out.Name(), to)
	}
	if err != nil {
		_ = os.Remove(out.Name())
	}
	return err
}

// Kept is where the bytes of a file are kept, if they are: by its SHA-256, in a folder of its first byte.
func (q *Queue) Kept(h intel.Hash) string {
	s := h.String()
	return filepath.Join(q.o.Keep, s[:2], s)
}

// sweep removes what has been kept long enough, and nothing else that somebody has in the folder.
func (q *Queue) sweep(now time.Time) {
	err := filepath.WalkDir(q.o.Keep, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if h, err := intel.ParseHash(entry.Name()); err != nil || len(h.Bytes()) != sha256.Size || path != q.Kept(h) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil // it has just gone
		}
		if now.Sub(info.ModTime()) > q.o.KeepFor {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		q.o.Log.Error("removing what has been kept long enough", "error", err)
	}
}
