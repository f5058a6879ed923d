package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
)

// Store is what the runner needs of the store.
type Store interface {
	ingest.Recorder
	// Snapshot keeps that a feed was recorded whole at a moment: what it listed before and no longer does is no longer live.
	Snapshot(ctx context.Context, feed string, at time.Time) error
	// FeedTerms keeps how a feed's listings count. Terms that are kept already cost nothing.
	FeedTerms(ctx context.Context, feed string, t intel.FeedTerms) error
}

// Options are what a runner works with.
type Options struct {
	File   string      // the configuration
	Dir    string      // of states and of what is held; made when it is not there
	Store  Store       // nil: only Status
	View   func() View // opens a look at the store that sees everything
	Logger *slog.Logger
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
}

// Runner runs feeds. Its methods may be called from many goroutines.
type Runner struct {
	o     Options
	slots chan struct{} // runs at once
	turns chan struct{} // of them, those that read and record
	wg    sync.WaitGroup
	ctx   context.Context // of runs that Start and Accept began; ends with Close
	stop  context.CancelFunc

	mu     sync.Mutex
	looked os.FileInfo // the configuration as it was read last; nil: it was not there
	config Config
	wrong  string            // what is wrong with the configuration's newest form; the one before stays in force
	feeds  map[string]*entry // those configured, and those that were
	untold string            // why the terms of feeds are not kept
}

// entry is one feed, as long as the process runs.
type entry struct {
	feed    Feed
	state   State
	running bool
	next    time.Time
}

// atOnce is how many feeds run at once, and lookEvery how often the clock and the configuration are looked at.
const (
	atOnce    = 64
	recording = 2 // of them, those that read and record; the others wait for their servers
	lookEvery = 2 * time.Second
	unchanged = 24 * time.Hour // the same content is recorded anew after so long, so that its last moment goes on
)

// The errors of Start and Accept that a caller tells apart; both are [intel.ErrInvalid].
var (
	errNoFeed  = &intel.Refusal{Field: "feed", Reason: "there is no feed of that name"}
	errNotHeld = &intel.Refusal{Field: "feed", Reason: "nothing of this feed is held"}
	errBusy    = &intel.Refusal{Field: "feed", Reason: "it is running now"}
)

// New makes a runner and reads the configuration, which need not be there. Close must be called.
func New(o Options) (*Runner, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Store != nil {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of feeds: %w", err)
		}
		removeRests(o.Dir)
	}
	r := &Runner{o: o, slots: make(chan struct{}, atOnce), turns: make(chan struct{}, recording), feeds: map[string]*entry{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.remember()
	r.reload()
	return r, nil
}

// remember finds the feeds that have a state: those that are not configured were, once.
func (r *Runner) remember() {
	files, _ := filepath.Glob(filepath.Join(r.o.Dir, "*.json"))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if s, err := readState(r.o.Dir, name); err == nil && isName(name) {
			r.feeds[name] = &entry{state: s}
		}
	}
}

// removed returns the names of feeds that were configured and are no longer, in order. While it is not known what is configured, none is.
func (r *Runner) removed() (names []string) {
	if r.wrong != "" {
		return nil
	}
	for name := range r.feeds {
		if !slices.ContainsFunc(r.config.Feeds, func(f Feed) bool { return f.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// agree tells the store how the listings of each feed count, and that those of removed feeds no longer do.
func (r *Runner) agree(ctx context.Context) {
	now := r.o.Now()
	terms := map[string]intel.FeedTerms{}
	r.mu.Lock()
	for i := range r.config.Feeds {
		terms[r.config.Feeds[i].Name] = r.config.Feeds[i].terms(now)
	}
	for _, name := range r.removed() {
		terms[name] = intel.FeedTerms{Weight: 100, Removed: true}
	}
	r.mu.Unlock()
	wrong := ""
	for name, t := range terms {
		if err := r.o.Store.FeedTerms(ctx, name, t); err != nil && ctx.Err() == nil {
			wrong = err.Error()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if wrong != "" && wrong != r.untold {
		r.o.Logger.Error("how the listings of feeds count is not kept", "error", wrong)
	}
	r.untold = wrong
}

// removeRests removes what an interrupted run left.
func removeRests(dir string) {
	durable.RemoveUnfinished(dir)
	names, _ := filepath.Glob(filepath.Join(dir, ".run-*"))
	for _, n := range names {
		_ = os.RemoveAll(n) // it is in nobody's way
	}
}

// Close ends all runs and waits for them. What was recorded stays.
func (r *Runner) Close() {
	r.stop()
	r.wg.Wait()
}

// Run fetches feeds when they are due and takes up the configuration when it changes, until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	for {
		r.tick(ctx)
		if r.o.Sleep(ctx, lookEvery) != nil {
			return
		}
	}
}

// tick starts what is due.
func (r *Runner) tick(ctx context.Context) {
	r.reload()
	r.agree(ctx)
	now := r.o.Now()
	r.mu.Lock()
	var due []*entry
	for i := range r.config.Feeds {
		if e := r.feeds[r.config.Feeds[i].Name]; !e.running && !now.Before(e.next) {
			e.running = true
			due = append(due, e)
		}
	}
	r.mu.Unlock()
	for _, e := range due {
		r.wg.Go(func() { r.run(ctx, e, r.fetch) })
	}
}

// reload takes up the configuration when it has changed.
func (r *Runner) reload() {
	info, err := os.Stat(r.o.File)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.looked != nil && info.ModTime().Equal(r.looked.ModTime()) && info.Size() == r.looked.Size() {
		return
	}
	var c *Config
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if r.looked == nil && r.wrong == "" {
			return
		}
		c, info, err = &Config{}, nil, nil
	case err == nil:
		var text []byte
		if text, err = os.ReadFile(r.o.File); err == nil {
			c, err = ParseConfig(r.o.File, text)
		}
	}
	r.looked = info
	if err != nil {
		if msg := err.Error(); msg != r.wrong {
			r.wrong = msg
			r.o.Logger.Error("the configuration of feeds is wrong; the one before stays in force", "error", msg)
		}
		return
	}
	r.wrong, r.config = "", *c
	for i := range c.Feeds {
		f := c.Feeds[i]
		e := r.feeds[f.Name]
		if e == nil {
			s, err := readState(r.o.Dir, f.Name)
			if err != nil {
				r.o.Logger.Error("the state of a feed is lost; it begins anew", "feed", f.Name, "error", err)
				s = State{}
			}
			e = &entry{state: s}
			r.feeds[f.Name] = e
		}
		if e.feed.Name != "" && e.feed.fingerprint() == f.fingerprint() && e.feed.Every == f.Every {
			e.feed = f
			continue
		}
		e.feed = f
		e.next = r.due(e)
	}
	r.o.Logger.Info("feeds configured", "feeds", len(c.Feeds))
}

// due is when a feed runs next: its interval after the last time, and up to a tenth more by its name, so that feeds do not all run at once; sooner after a
// failure, in steps that double.
func (r *Runner) due(e *entry) time.Time {
	s := &e.state
	if s.Attempted.IsZero() || s.Place != e.feed.fingerprint() {
		return time.Time{}
	}
	h := fnv.New32a()
	h.Write([]byte(e.feed.Name))
	wait := e.feed.Every + time.Duration(float64(e.feed.Every)/10*float64(h.Sum32())/(1<<32))
	if s.Failures > 0 {
		wait = min(wait, time.Minute<<min(s.Failures-1, 6))
	}
	return s.Attempted.Add(wait)
}

// run does one thing with a feed that is marked as running, and keeps its state. It never fails: what went wrong stands in the state.
func (r *Runner) run(ctx context.Context, e *entry, what func(context.Context, *Feed, Guard, *State) error) {
	r.mu.Lock()
	f, s, guard := e.feed, e.state, r.config.Guard
	r.mu.Unlock()
	var err error
	select {
	case r.slots <- struct{}{}:
		within, cancel := context.WithTimeout(ctx, f.Timeout)
		if err = r.o.Store.FeedTerms(within, f.Name, f.terms(r.o.Now())); err == nil {
			err = what(within, &f, guard, &s)
		}
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("it took longer than %s: %w", f.Timeout, err)
		}
		cancel()
		<-r.slots
	case <-ctx.Done():
		err = ctx.Err()
	}
	now := r.o.Now().UTC()
	s.Was = &Was{f.Kind, f.shownPlace(), f.Zone, f.Marking}
	stopped := err != nil && ctx.Err() != nil // by us: no fault of the feed
	if !stopped {
		s.Attempted = now
		if err != nil {
			secret, _ := f.Credential.secret()
			s.Error = message(err, secret)
			s.Failures++
			s.Failed++
			r.o.Logger.Warn("a feed failed", "feed", f.Name, "error", s.Error, "failures", s.Failures)
		} else {
			s.Error, s.Failures, s.Succeeded = "", 0, now
		}
	}
	if err := writeState(r.o.Dir, f.Name, &s); err != nil {
		r.o.Logger.Error("the state of a feed is not kept", "feed", f.Name, "error", err)
		s.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.state, e.running = s, false
	e.next = r.due(e)
}

// fetch fetches what is new of a feed and records it.
func (r *Runner) fetch(ctx context.Context, f *Feed, guard Guard, s *State) error {
	if place := f.fingerprint(); s.Place != place {
		s.Place, s.Cursor, s.Digest = place, Cursor{}, ""
		s.Held = nil
		_ = os.RemoveAll(heldPath(r.o.Dir, f.Name))
	}
	if s.Held != nil && !f.Snapshot() {
		return nil // the pages behind the one that is held wait with it
	}
	c, err := r.newClient(f)
	if err != nil {
		return err
	}
	defer c.close()
	dir, err := os.MkdirTemp(r.o.Dir, ".run-*")
	if err != nil {
		return fmt.Errorf("keeping what is fetched: %w", err)
	}
	defer os.RemoveAll(dir)
	for {
		cur := s.Cursor
		if s.Held != nil {
			cur = s.Held.Cursor
		}
		p, err := c.next(ctx, cur, dir)
		if err != nil {
			return err
		}
		if p.path != "" {
			if err := r.take(ctx, f, guard, s, p); err != nil || s.Held != nil {
				return err
			}
		}
		if s.Held == nil {
			s.Cursor = p.cursor
		}
		if !p.more {
			return nil
		}
		// What is recorded need not be fetched again, whatever the next page brings.
		if err := writeState(r.o.Dir, f.Name, s); err != nil {
			return err
		}
	}
}

// take looks at a portion and records it, or holds it back.
func (r *Runner) take(ctx context.Context, f *Feed, guard Guard, s *State, p *portion) error {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.Snapshot() {
		if s.Held != nil && s.Held.Digest == p.digest {
			return nil // still the same
		}
		if s.Held == nil && p.digest == s.Digest && r.o.Now().Sub(s.Snapshot) < unchanged {
			return nil
		}
	}
	fleet, err := r.o.View().FleetHosts(ctx)
	if err != nil {
		return err
	}
	look := &survey{feed: f, guard: guard, hosts: guard.common(fleet), view: r.o.View, accepted: slices.Sorted(slices.Values(s.Accepted)), seen: map[uint64]struct{}{}}
	if _, err := r.read(ctx, f, p.path, r.moment(s), look); err != nil {
		return err
	}
	if look.observations == 0 && f.Snapshot() && s.Entries < 2 {
		return errors.New("it lists nothing that could be read")
	}
	if why := look.reasons(s.Entries); len(why) > 0 {
		if f.Kind != Path {
			kept := heldPath(r.o.Dir, f.Name)
			if err := os.RemoveAll(kept); err != nil {
				return fmt.Errorf("keeping what is held: %w", err)
			}
			if err := os.Rename(p.path, kept); err != nil {
				return fmt.Errorf("keeping what is held: %w", err)
			}
		}
		s.Held = &Held{At: r.o.Now().UTC(), Digest: p.digest, Entries: look.entries, Reasons: why, Files: look.files, Cursor: p.cursor}
		r.o.Logger.Warn("a feed is held back: a person must accept it", "feed", f.Name, "reasons", why)
		return nil
	}
	if err := r.record(ctx, f, s, p, look.entries); err != nil {
		return err
	}
	if s.Held != nil {
		s.Held = nil
		_ = os.RemoveAll(heldPath(r.o.Dir, f.Name))
	}
	return nil
}

// moment is when a snapshot is taken: whole seconds, and after the one before.
func (r *Runner) moment(s *State) time.Time {
	at := r.o.Now().UTC().Truncate(time.Second)
	if !at.After(s.Snapshot) {
		at = s.Snapshot.Add(time.Second)
	}
	return at
}

// read reads content into a recorder. It fails when it is nothing that can be read; broken says which input was not read to its end.
func (r *Runner) read(ctx context.Context, f *Feed, path string, at time.Time, rec ingest.Recorder) (broken string, err error) {
	o := source.Options{Format: f.Format, Feed: f.Name, Zone: f.Zone, Marking: f.Marking, Now: at}
	if f.Format == source.Observations {
		o.Feed = "" // they name it themselves, and told makes it this one
	}
	im := ingest.Importer{Recorder: rec, Options: o, Each: func(refused intel.Refusal) {
		if refused.Line == 0 && refused.Field == "" && broken == "" {
			refused.Input = filepath.Base(refused.Input)
			broken = refused.Error()
		}
	}}
	sum, err := im.Import(ctx, []string{path}, nil)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && sum.Inputs == 0 && sum.Refused > 0 {
		err = errors.New(cmp.Or(broken, "nothing in it can be read"))
	}
	if err != nil {
		return broken, fmt.Errorf("reading: %w", err)
	}
	return broken, nil
}

// record puts a portion into the store; a snapshot that is whole takes the place of the one before.
func (r *Runner) record(ctx context.Context, f *Feed, s *State, p *portion, entries uint64) error {
	at := r.moment(s)
	broken, err := r.read(ctx, f, p.path, at, &told{r.o.Store, f, at})
	if err != nil {
		return err
	}
	if !f.Snapshot() {
		s.Entries += entries
		return nil
	}
	if broken != "" {
		return fmt.Errorf("not all of it can be read, so nothing that it listed before is taken for gone: %s", broken)
	}
	if err := r.o.Store.Snapshot(ctx, f.Name, at); err != nil {
		return err
	}
	s.Entries, s.Snapshot, s.Digest = entries, at, p.digest
	r.o.Logger.Info("a feed's snapshot is recorded", "feed", f.Name, "entries", entries)
	return nil
}

// accept records what is held, that very content, and remembers its trusted files as let in.
func (r *Runner) accept(ctx context.Context, f *Feed, _ Guard, s *State) error {
	h := s.Held
	if s.Place != f.fingerprint() {
		return errors.New("its configuration changed since it was held: run it again")
	}
	p := &portion{path: heldPath(r.o.Dir, f.Name), digest: h.Digest, cursor: h.Cursor}
	if f.Kind == Path {
		digest, err := digestPath(ctx, f.Place)
		if err != nil {
			return err
		}
		if p.path = f.Place; digest != h.Digest {
			return errors.New("it changed since it was held: run it again")
		}
	}
	if err := r.record(ctx, f, s, p, h.Entries); err != nil {
		return err
	}
	s.Accepted = append(s.Accepted, h.Files...)
	s.Accepted = s.Accepted[max(len(s.Accepted)-maxAccepted, 0):]
	s.Cursor, s.Held = p.cursor, nil
	r.o.Logger.Info("a held feed was accepted", "feed", f.Name, "entries", h.Entries)
	if f.Kind != Path {
		_ = os.RemoveAll(p.path)
	}
	return nil
}

// begin marks a feed as running and runs it in the background; done is closed at its end.
func (r *Runner) begin(name string, accept bool) (done chan struct{}, err error) {
	r.reload()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.config.Feeds, func(f Feed) bool { return f.Name == name }) {
		return nil, errNoFeed
	}
	e := r.feeds[name]
	what := r.fetch
	switch {
	case e.running:
		return nil, errBusy
	case accept && e.state.Held == nil:
		return nil, errNotHeld
	case accept:
		what = r.accept
	}
	e.running = true
	done = make(chan struct{})
	r.wg.Go(func() {
		defer close(done)
		r.run(r.ctx, e, what)
	})
	return done, nil
}

// Start runs a feed now, in the background. It fails with [intel.ErrInvalid] when there is none of that name, or when it runs already.
func (r *Runner) Start(name string) error {
	_, err := r.begin(name, false)
	return err
}

// Accept lets in what is held of a feed, in the background. It fails as Start does, and when nothing is held.
func (r *Runner) Accept(name string) error {
	_, err := r.begin(name, true)
	return err
}

// Do runs a feed, or accepts what is held of it, and waits for the end.
func (r *Runner) Do(ctx context.Context, name string, accept bool) error {
	done, err := r.begin(name, accept)
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		r.stop()
		<-done
		return ctx.Err()
	}
}

// Status tells of all feeds in the configuration's order, then of those that were removed, and what is wrong with the configuration, if anything.
func (r *Runner) Status() (all []Status, wrong string) {
	r.reload()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.config.Feeds {
		e := r.feeds[r.config.Feeds[i].Name]
		all = append(all, e.feed.status(&e.state, e.running, e.next))
	}
	for _, name := range r.removed() {
		e := r.feeds[name]
		f := Feed{Name: name}
		if was := e.state.Was; was != nil {
			f.Kind, f.Place, f.Zone, f.Marking = was.Kind, was.Place, was.Zone, was.Marking
		}
		s := f.status(&e.state, false, time.Time{})
		s.State, s.Held, s.Error = Removed, nil, ""
		all = append(all, s)
	}
	return all, r.wrong
}
