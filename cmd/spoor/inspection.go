package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/inspect"
	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/signature"
	"spoor/internal/inspect/unpack"
	"spoor/internal/intel"
	"spoor/internal/scan"
	"spoor/internal/store"
	"spoor/internal/submit"
	"spoor/internal/worker"
)

// inspection is how files are inspected: the flags that 'inspect' and 'serve' share.
type inspection struct {
	workers   int
	memory    string
	time      time.Duration
	scratch   string
	passwords string
	peid      string
	rules     string
	roots     string
	system    bool
	clamd     string
}

const defaultWorkerMemory = "512MiB"

func (o *inspection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.workers, "workers", 0, "inspect `N` files at once, each in a process of its own (as many as there are cores)")
	f.StringVar(&o.memory, "worker-memory", defaultWorkerMemory, "memory that one inspection may use, a `SIZE` such as 512MiB or 2GiB")
	f.DurationVar(&o.time, "worker-time", inspect.DefaultLimits.Time, "longest time for one inspection")
	f.StringVar(&o.scratch, "scratch", "", "`DIR`ectory for large members while they are read (the system's for temporary files)")
	f.StringVar(&o.passwords, "passwords", "", "try the passwords in `FILE`, one a line, on encrypted archives, before the usual ones (infected, …)")
	f.StringVar(&o.peid, "peid", "", "recognise packers also by the signatures in `FILE`, a database of PEiD such as userdb.txt")
	f.StringVar(&o.rules, "yara", "", "match the YARA rules in `DIR`, *.yar and *.yara, against every file and member; on Linux, with Debian's package yara")
	f.StringVar(&o.clamd, "clamd", "", "have ClamAV scan every file and member: `ADDRESS` of clamd, a path of its socket or HOST:PORT")
	_ = cmd.MarkFlagDirname("scratch")
	_ = cmd.MarkFlagDirname("yara")
	f.StringVar(&o.roots, "roots", "", "verify signatures against the roots, intermediates, CRLs and OpenPGP keys in `DIR`; docs/signatures.md says how to fill it")
	f.BoolVar(&o.system, "system-roots", false, "trust the roots of the operating system to sign code, too")
	_ = cmd.MarkFlagDirname("roots")
	_ = cmd.MarkFlagFilename("passwords")
	_ = cmd.MarkFlagFilename("peid")
}

// pool makes the workers, and what else inspects. The function that it returns lets them go.
func (o *inspection) pool(log *slog.Logger) (_ *worker.Pool, end func(), _ error) {
	if o.workers == 0 {
		o.workers = runtime.NumCPU()
	}
	if o.workers < 1 || o.workers > 1024 {
		return nil, nil, misuse("--workers: %d; from 1 to 1024", o.workers)
	}
	o.time = cmp.Or(o.time, inspect.DefaultLimits.Time)
	memory, err := parseBytes(cmp.Or(o.memory, defaultWorkerMemory))
	if err != nil || memory < 64<<20 || memory > 1<<40 {
		return nil, nil, misuse("--worker-memory: %q is no size from 64MiB to 1TiB, such as 512MiB", o.memory)
	}
	if o.time < time.Second {
		return nil, nil, misuse("--worker-time: %s; a second at the least", o.time)
	}
	if err := writable(cmp.Or(o.scratch, os.TempDir())); err != nil {
		return nil, nil, misuse("large members cannot be laid aside while they are read: %v; give a folder by --scratch", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("finding this program: %w", err)
	}
	c := worker.Config{Command: []string{self, "worker"}, Workers: o.workers, Memory: memory, Limits: inspect.DefaultLimits, Scratch: o.scratch}
	c.Limits.Time = o.time
	c.Limits.Memory = memory / 4
	folder := &signature.TrustFolder{Folder: o.roots, System: o.system}
	trust, refused, err := folder.Load()
	if err != nil {
		return nil, nil, &exitError{exitMisuse, fmt.Errorf("--roots: %w", err)}
	}
	leftOut(log, refused)
	c.Trust = trust
	if o.passwords != "" {
		b, err := os.ReadFile(o.passwords)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the passwords: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				c.Passwords = append(c.Passwords, line)
			}
		}
	}
	c.Passwords = append(c.Passwords, unpack.DefaultPasswords...)
	if c.Patterns, err = o.patterns(log); err != nil {
		return nil, nil, err
	}
	closeScan := func() {}
	if o.rules != "" || o.clamd != "" {
		s, err := scan.New(scan.Config{Rules: o.rules, Confine: confine(self), Scratch: o.scratch, Clamd: o.clamd, Log: log})
		if err != nil {
			return nil, nil, err
		}
		c.Scan, closeScan = s.Scan, s.Close
	}
	p := worker.NewPool(c)
	endWatch := watchTrust(log, folder, p)
	return p, func() { endWatch(); p.Close(); closeScan() }, nil
}

// confine returns the command that starts a program of the system without rights, where it can be done.
func confine(self string) []string {
	if runtime.GOOS != "linux" {
		return nil
	}
	return []string{self, "confined"}
}

func leftOut(log *slog.Logger, refused []*intel.Refusal) {
	for _, r := range refused {
		log.Warn("left out of what signatures are verified against", "file", r.Input, "reason", r.Reason)
	}
}

// lookAtTrust is how often the folder of --roots is looked at; what has changed counts at the second look.
const lookAtTrust = 2 * time.Second

// watchTrust hands the workers what the folder holds whenever its files have changed, until the function that it returns is called.
func watchTrust(log *slog.Logger, folder *signature.TrustFolder, p *worker.Pool) (end func()) {
	if folder.Folder == "" && !folder.System {
		return func() {}
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lookAtTrust)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			switch trust, refused, err := folder.Reload(); {
			case err != nil:
				log.Error("reading what signatures are verified against; what was read before stays", "folder", folder.Folder, "error", err)
			case trust != nil:
				leftOut(log, refused)
				p.SetTrust(trust)
				log.Info("what signatures are verified against was read anew", "folder", folder.Folder)
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// writable reports why no file can be made in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, "spoor-scratch-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// patterns reads the database of --peid; nil without one. Signatures in it that cannot be read are told and left out.
func (o *inspection) patterns(log *slog.Logger) (*exe.Patterns, error) {
	if o.peid == "" {
		return nil, nil
	}
	f, err := os.Open(o.peid)
	if err != nil {
		return nil, &exitError{exitMisuse, fmt.Errorf("--peid: %w", err)}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, exe.MaxPatternText+1))
	if err != nil {
		return nil, &exitError{exitMisuse, fmt.Errorf("--peid: %w", err)}
	}
	if len(text) > exe.MaxPatternText {
		return nil, misuse("--peid: %s is longer than %d MiB", o.peid, exe.MaxPatternText>>20)
	}
	patterns, refused := exe.ParsePatterns(text)
	if patterns.Len() == 0 {
		if len(refused) > 0 {
			return nil, misuse("--peid: %s has no signature that can be read; line %d: %s", o.peid, refused[0].Line, refused[0].Reason)
		}
		return nil, misuse("--peid: %s has no signatures, such as: [Some packer] and below it: signature = 60 E8 ?? ?? ?? ?? 5D", o.peid)
	}
	for _, r := range refused {
		log.Warn("left out of the signatures of packers", "file", o.peid, "line", r.Line, "reason", r.Reason)
	}
	return patterns, nil
}

// submissions are the flags of 'serve' about files that are sent in.
type submissions struct {
	inspection inspection
	off        bool
	keep       string
	keepFor    time.Duration
}

func (o *submissions) flags(cmd *cobra.Command) {
	o.inspection.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.off, "no-submissions", false, "take no files in to be inspected")
	f.StringVar(&o.keep, "keep", "", "keep the bytes of inspected files in `DIR`, each under its SHA-256; they are not kept when not given")
	f.DurationVar(&o.keepFor, "keep-for", 0, "how long their bytes are kept; until a person removes them when not given")
	_ = cmd.MarkFlagDirname("keep")
}

// start opens the queue of files to inspect, in the data directory, and inspects what waits until ctx ends. The function that it returns waits for that.
func (o *submissions) start(ctx context.Context, data string, s *store.Store, log *slog.Logger, metrics *prometheus.Registry) (api.Submissions, func(), error) {
	if o.off {
		return nil, func() {}, nil
	}
	if o.keepFor != 0 && o.keep == "" {
		return nil, nil, misuse("--keep-for is about what --keep DIR keeps")
	}
	pool, end, err := o.inspection.pool(log)
	if err != nil {
		return nil, nil, err
	}
	queue, err := submit.Open(submit.Options{Dir: filepath.Join(data, "queue"), Pool: pool, Workers: o.inspection.workers, Recorder: s, Keep: o.keep, KeepFor: o.keepFor, Log: log,
		Inspected: func(ctx context.Context, h intel.Hash, m intel.Marking) (bool, error) {
			r, err := storeAsker(s, m)(ctx, h, []dossier.Section{dossier.Inspection})
			return isInspected(r), err
		}})
	if err != nil {
		end()
		return nil, nil, err
	}
	metrics.MustRegister(queue)
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		queue.Run(running)
	}()
	return queue, func() { stop(); <-done; end() }, nil
}

// parseBytes reads a number of bytes with a unit.
func parseBytes(s string) (int64, error) {
	for _, u := range []struct {
		name string
		is   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}} {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.is {
			return 0, errors.New("no number of bytes")
		}
		return n * u.is, nil
	}
	return 0, errors.New("no number of bytes")
}
