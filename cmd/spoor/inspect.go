package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/inspect"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
	"spoor/internal/submit"
	"spoor/internal/worker"
	"spoor/wire"
)

type inspectOptions struct {
	place          place
	inspection     inspection
	asJSON, ndjson bool
	again          bool
	marking        intel.Marking
}

func newInspect() *cobra.Command {
	var o inspectOptions
	var marking string
	cmd := &cobra.Command{
		Use:   "inspect [flags] PATH…",
		Short: "Read files: what they are, who signed them, what is in them",
		Long: `Inspect reads the bytes of files: hashes, type, packer, signatures and certificates, fuzzy hashes, and what they contain, to six
generations. A directory means every file below it; "-" is standard input. Archives, installers, packages, disk images, mails and documents
are opened, also within each other.

The bytes are read in processes of their own that have no network, no files and bounded memory and time; what one of them cannot do is told
as a note of the file.

Without --data or --server nothing is kept: the answer for each file is made of what its own bytes say. With one of them what is found is
recorded, and the answer holds what else is known. A file that was inspected before is not inspected again, so a run that was cut off is simply
run again; --again inspects it all the same, and counts nothing twice.

Up to three files are answered in full, more with a line each, which also counts the notes of the file and its members. With --json each answer is
a line: the keys of the API's answer, MemberPaths and Inspection, and Path, Hash and Known. With --ndjson the observations are printed instead, as 'spoor import' takes them.

Exit codes: 0 all read; 3 some could not be read, or were stopped; 2 misuse; 1 failure.`,
		Example: `  spoor inspect setup.exe
  spoor inspect --json mail.eml | jq .MemberPaths
  spoor inspect --data /var/lib/spoor /mnt/image
  spoor inspect --ndjson /srv/mirror/pool > observations.ndjson`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, paths []string) error {
			if o.place.data != "" || o.place.server != "" {
				if err := o.place.check(cmd); err != nil {
					return err
				}
			}
			if o.asJSON && o.ndjson {
				return misuse("give --json or --ndjson, not both")
			}
			if err := o.marking.UnmarshalText([]byte(marking)); err != nil {
				return &exitError{exitMisuse, fmt.Errorf("--marking: %w", err)}
			}
			return runInspect(cmd, &o, paths)
		},
	}
	o.place.flags(cmd)
	f := cmd.Flags()
	f.Lookup("data").Usage = "record into the data `DIR`ectory ($SPOOR_DATA)"
	f.Lookup("server").Usage = "record into the server at `URL` ($SPOOR_SERVER)"
	o.inspection.flags(cmd)
	f.BoolVar(&o.asJSON, "json", false, "print each answer as a line of JSON")
	f.BoolVar(&o.ndjson, "ndjson", false, "print the observations, one a line")
	f.BoolVar(&o.again, "again", false, "inspect also what was inspected before")
	f.StringVar(&marking, "marking", "clear", "who may see it, a TLP `MARKING`: clear, green, amber, amber+strict, red")
	complete(cmd, "marking", markings...)
	return cmd
}

// inspected is one file on its way.
type inspected struct {
	path   string // as it was named
	stdin  string // the file that holds standard input, when it is that
	size   int64
	file   intel.Hashes
	again  bool // it had been inspected before
	result worker.Result
	report *wire.HashReport
	err    error
	done   chan struct{}
}

func runInspect(cmd *cobra.Command, o *inspectOptions, paths []string) (err error) {
	ctx := cmd.Context()
	pr := newProgress(cmd.ErrOrStderr())
	defer pr.done()
	refused := 0
	refuse := func(path string, err error) {
		refused++
		pr.line("refused: %s: %v", path, reasonOf(err))
	}
	files, cleanup, err := findFiles(ctx, paths, cmd.InOrStdin(), pr, refuse)
	defer cleanup()
	if err != nil {
		return err
	}
	pool, end, err := o.inspection.pool(quiet())
	if err != nil {
		return err
	}
	defer end()
	rec, ask, seen, closeStore, err := o.recorder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()

	out := printer{w: cmd.OutOrStdout(), colour: colours(cmd.OutOrStdout()), json: o.asJSON, full: len(files) <= 3}
	var total int64
	for i := range files {
		total += files[i].size
	}
	var printing sync.Mutex // of observations
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetEscapeHTML(false)
	var members atomic.Int64 // told of until now
	h := headway{start: time.Now(), files: len(files), total: total}
	one := func(ctx context.Context, in *inspected) error {
		f, err := os.Open(cmp.Or(in.stdin, in.path))
		if err != nil {
			return err
		}
		defer f.Close()
		if !o.again && seen != nil && o.place.data+o.place.server != "" {
			if in.file, _, err = inspect.HashReader(inspect.While(ctx, f)); err != nil {
				return err
			}
			before, err := seen(ctx, in.file.SHA256, []dossier.Section{dossier.Inspection})
			if err != nil {
				return err
			}
			in.again = isInspected(before)
		}
		job := worker.Job{Name: filepath.Base(in.path), Now: time.Now(), Marking: o.marking, Members: &members}
		if in.stdin != "" {
			job.Name = "" // nobody has told one
		}
		switch {
		case in.again && o.ndjson:
		case in.again:
			err = submit.RecordNames(ctx, rec, in.file, job)
		case o.ndjson:
			tell := func(o intel.Observation) error {
				printing.Lock()
				defer printing.Unlock()
				return encoder.Encode(o)
			}
			in.result, err = pool.Inspect(ctx, f, job, tell)
			for _, o := range submit.Names(in.result.File, job, job.Name) {
				err = errors.Join(err, tell(o))
			}
		default:
			in.result, err = submit.Record(ctx, pool, rec, f, job)
		}
		if err != nil || o.ndjson {
			return err
		}
		if in.file.IsZero() {
			in.file = in.result.File
		}
		names := dossier.AllSections()
		switch {
		case o.asJSON:
			names = append(dossier.PageSections(), dossier.MemberPaths, dossier.Inspection)
		case !out.full:
			names = []dossier.Section{dossier.Zone, dossier.FileGeneralInfo, dossier.DetectionsInfo, dossier.FileNames}
		}
		in.report, err = ask(ctx, in.file.SHA256, names)
		return err
	}

	work, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan *inspected)
	ahead := make(chan struct{}, 64+2*o.inspection.workers) // answers that wait to be printed
	var wg sync.WaitGroup
	for range min(o.inspection.workers, len(files)) {
		wg.Go(func() {
			for in := range next {
				begun := time.Now()
				in.err = one(work, in)
				h.add(in, begun)
				close(in.done)
			}
		})
	}
	go func() {
		defer close(next)
		for i := range files {
			select {
			case ahead <- struct{}{}:
			case <-work.Done():
				return
			}
			select {
			case next <- &files[i]:
			case <-work.Done():
				return
			}
		}
	}()
	defer wg.Wait()
	defer cancel()
	stopped, before := 0, 0
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	terminal := isTerminal(cmd.OutOrStdout())
	for i := range files {
		in := &files[i]
		for waits := true; waits; {
			select {
			case <-in.done:
				waits = false
			case <-tick.C:
				pr.say("%s", h.say(time.Now(), members.Load()))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		<-ahead
		if in.err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !isFileError(in.err) {
				return in.err
			}
			refuse(in.path, in.err)
			continue
		}
		if in.again {
			before++
		}
		if in.result.Stopped != "" {
			stopped++
			pr.line("stopped: %s: %s", in.path, in.result.Stopped)
		}
		if terminal {
			pr.done() // the answer is not written behind it
		}
		if !o.ndjson {
			if err := out.file(in); err != nil {
				return err
			}
			in.report = nil
		}
		pr.say("%s", h.say(time.Now(), members.Load()))
	}
	pr.done()
	if len(files) > 3 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d files, %d members in %.1f s; %d inspected before, %d stopped, %d refused\n", len(files), members.Load(), time.Since(h.start).Seconds(), before, stopped, refused)
	}
	if refused+stopped > 0 {
		return &exitError{exitPartly, nil}
	}
	return nil
}

// headway is how far an inspection of many files is. Files are counted when they are done, also those that wait behind a large one to be printed.
type headway struct {
	start time.Time
	files int
	total int64 // bytes of all files

	mu            sync.Mutex
	done          int
	bytes, before int64     // of files that are done, those refused too; of these, of files that were inspected before
	fresh         time.Time // when the first file began that was not inspected before
}

// add counts a file that is done.
func (h *headway) add(in *inspected, begun time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done++
	h.bytes += in.size
	switch {
	case in.again:
		h.before += in.size
	case h.fresh.IsZero() || begun.Before(h.fresh):
		h.fresh = begun
	}
}

// say tells how far it is. The time left is that which the bytes left take at the rate of those that were inspected now: what was inspected before
// goes much faster, and comes first.
func (h *headway) say(now time.Time, members int64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	took := now.Sub(h.start)
	if h.done == 0 { // perhaps one large file: only its members are known
		return fmt.Sprintf("0 of %d files, %d members, %.1f members/s, %s", h.files, members, float64(members)/took.Seconds(), took.Round(time.Second))
	}
	s := fmt.Sprintf("%d of %d files, %d members, %.1f files/s, %.1f MB/s", h.done, h.files, members, float64(h.done)/took.Seconds(), float64(h.bytes)/1e6/took.Seconds())
	of := now.Sub(h.fresh)
	if inspected := h.bytes - h.before; inspected > 0 && of > 3*time.Second { // before, a guess is far off
		const days = 24 * 60 * 60
		switch left := of.Seconds() / float64(inspected) * float64(h.total-h.bytes); {
		case left < 3*days:
			s += fmt.Sprintf(", %s left", time.Duration(left*float64(time.Second)).Round(time.Second))
		case left < 1000*days: // of more it is no guess any longer
			s += fmt.Sprintf(", %.0f days left", left/days)
		}
	}
	return s
}

// recorder returns where observations go, what answers from them, and what answers those who may see what is recorded: a store in memory when no
// place is given.
func (o *inspectOptions) recorder() (rec ingest.Recorder, ask, seen asker, done func() error, err error) {
	none := func() error { return nil }
	switch {
	case o.ndjson && o.place.data == "" && o.place.server == "":
		return nil, nil, nil, none, nil
	case o.place.server != "":
		c, err := o.place.client()
		if err != nil {
			return nil, nil, nil, none, err
		}
		ask, _, err := o.place.asker()
		return remote{c}, ask, ask, none, err
	case o.place.data != "":
		s, err := openStore(o.place.data, quiet())
		if err != nil {
			return nil, nil, nil, none, err
		}
		return s, storeAsker(s, intel.TLPRed), storeAsker(s, o.marking), s.Close, nil
	}
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		return nil, nil, nil, none, err
	}
	return s, storeAsker(s, intel.TLPRed), storeAsker(s, o.marking), s.Close, nil
}

// isInspected reports whether an answer says that this revision's readers have read the file.
func isInspected(r *wire.HashReport) bool {
	return r != nil && slices.ContainsFunc(r.Inspection, func(p wire.Property) bool {
		return p.Name == string(intel.Inspected) && p.Value == "revision "+inspect.Revision
	})
}

// findFiles lists the regular files below paths with their sizes. Standard input becomes a file that cleanup removes.
func findFiles(ctx context.Context, paths []string, stdin io.Reader, pr *progress, refuse func(string, error)) (files []inspected, cleanup func(), err error) {
	cleanup = func() {}
	for _, root := range paths {
		if root == "-" {
			f, err := os.CreateTemp("", "spoor-stdin-")
			if err != nil {
				return nil, cleanup, err
			}
			before := cleanup
			cleanup = func() { before(); os.Remove(f.Name()) }
			n, err := io.Copy(f, untilDone(ctx, stdin))
			if err := errors.Join(err, f.Close()); err != nil {
				return nil, cleanup, fmt.Errorf("reading standard input: %w", err)
			}
			files = append(files, inspected{path: "-", stdin: f.Name(), size: n, done: make(chan struct{})})
			continue
		}
		if _, err := os.Stat(root); err != nil {
			return nil, cleanup, misuse("%v", err)
		}
		if resolved, err := filepath.EvalSymlinks(root); err == nil {
			root = resolved // what was named is meant, also by a link
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				refuse(path, err)
				if entry != nil && entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if path == root && !entry.IsDir() && !entry.Type().IsRegular() {
				refuse(path, errors.New("neither a regular file nor a folder")) // it was asked for; below a folder such are passed over
				return nil
			}
			if entry.Type().IsRegular() {
				info, err := entry.Info()
				if err != nil {
					refuse(path, err)
					return nil
				}
				files = append(files, inspected{path: path, size: info.Size(), done: make(chan struct{})})
				pr.say("%d files found", len(files))
			}
			return nil
		})
		if err != nil {
			return nil, cleanup, err
		}
	}
	return files, cleanup, nil
}

// isFileError reports whether an error is one of the file itself, which others need not suffer from.
func isFileError(err error) bool {
	var p *fs.PathError
	var r *intel.Refusal
	return errors.As(err, &p) || errors.As(err, &r)
}

// reasonOf is what an error says without the path.
func reasonOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// file prints the answer for a file.
func (p *printer) file(in *inspected) error {
	switch {
	case p.json:
		e := json.NewEncoder(p.w)
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Path  string
			Hash  string
			Known bool
			*wire.HashReport
		}{in.path, upperHex(in.file.SHA256), in.report != nil, in.report})
	case !p.full && in.report != nil:
		typ := ""
		if g := in.report.FileGeneralInfo; g != nil {
			typ = g.Type
		}
		name := ""
		if len(in.report.DetectionsInfo) > 0 {
			name = "  " + in.report.DetectionsInfo[0].DetectionName
		}
		members := fmt.Sprintf("%d members", in.result.Members)
		if in.result.Notes > 0 {
			members += fmt.Sprintf(", %d notes", in.result.Notes)
		}
		if in.again {
			members = "inspected before"
		}
		_, err := fmt.Fprintf(p.w, "%s %s  %s  %s  %s%s\n", p.zone(in.report.Zone, 7), in.file.SHA256, printable(in.path), members, printable(typ), printable(name))
		return err
	}
	return p.print(in.file.SHA256, in.report)
}
