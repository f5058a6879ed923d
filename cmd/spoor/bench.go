package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/access"
	"spoor/internal/bench"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/worker"
)

func newBench() *cobra.Command {
	var o bench.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench [flags]",
		Short: "Measure this machine, each figure beside its limit or peer",
		Long: `Bench measures recording, importing and answering on data that it makes itself, each figure beside a peer that is measured in the
same run or beside its limit, because machines differ. It needs about 10 GB of scratch space and twenty minutes, with --quick a tenth of
the data and under five minutes.

Exit codes: 0 every target reached; 3 some missed; 2 misuse; 1 failure.`,
		Example: `  spoor bench --quick
  spoor bench --json > figures.json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			pr := newProgress(cmd.ErrOrStderr())
			o.Progress = func(what string) { pr.step("%s", what) }
			o.StoreDir = storeDir
			for _, f := range source.Formats() {
				o.Formats = append(o.Formats, string(f))
			}
			o.ImportApart = importApart
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			o.Worker, o.Confine = []string{self, "worker"}, confine(self)
			o.Serve = serveApart
			o.Import = func(ctx context.Context, dir string, in bench.Input) (err error) {
				s, err := openStore(dir, quiet())
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, s.Close()) }()
				im := ingest.Importer{Recorder: s, Options: source.Options{Format: source.Format(in.Format), Feed: in.Feed, Zone: intel.Red, Now: time.Now()}}
				if in.KnownGood {
					im.Options.Zone = intel.Green
				}
				summary, err := im.Import(ctx, []string{in.File}, nil)
				if err == nil && summary.Refused > 0 {
					err = fmt.Errorf("%d lines were refused: %v", summary.Refused, &summary.Refusals[0])
				}
				return err
			}
			c := cachesFor(machineMemory())
			o.BlockCache, o.AnswerCache = c.blocks, c.answers
			results, err := bench.Run(cmd.Context(), o)
			pr.done()
			// Also of a run that failed, what was measured is told.
			if printErr := printResults(cmd.OutOrStdout(), results, asJSON); err == nil {
				err = printErr
			}
			if err != nil {
				return err
			}
			for _, r := range results {
				if !r.Reached {
					return &exitError{exitPartly, nil}
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "a tenth of the data, under five minutes")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "scratch `DIR`ectory (the system's temporary one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

// importApart imports by the import command in a process of its own and returns the most memory that it held.
func importApart(ctx context.Context, dir string, in bench.Input) (memory int64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this program: %w", err)
	}
	line := []string{"import", "--data", dir, in.File}
	if in.Format != "" {
		line = append(line, "--format", in.Format)
	}
	if in.Feed != "" {
		line = append(line, "--feed", in.Feed)
	}
	if in.KnownGood {
		line = append(line, "--zone", intel.Green.String())
	}
	c := exec.CommandContext(ctx, self, line...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out.Bytes()[max(0, out.Len()-1000):]))
			}
			return memory, err
		case <-time.After(20 * time.Millisecond):
			memory = max(memory, worker.PeakMemoryOf(c.Process.Pid))
		}
	}
}

// serveApart starts the server in a process of its own, on a new data directory.
func serveApart(ctx context.Context, dir string) (_ *bench.Served, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	data := filepath.Join(dir, "served")
	gates, err := access.Open(data, nil)
	if err != nil {
		return nil, err
	}
	quota := uint64(1) << 40
	token, _, err := gates.Create(access.NewToken{Account: "bench", Lifetime: time.Hour, Scopes: []access.Scope{access.Lookup, access.Submit}, Quota: &quota})
	if err = errors.Join(err, gates.Close()); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-json")
	log, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	var line struct{ Address string }
	for d := json.NewDecoder(log); line.Address == ""; {
		if err := d.Decode(&line); err != nil {
			_ = c.Process.Kill() // it may have ended
			return nil, errors.Join(fmt.Errorf("the server does not say where it listens: %w", err), c.Wait())
		}
	}
	drained := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, log); close(drained) }()
	stop := func() error {
		err := c.Process.Signal(os.Interrupt)
		if err != nil {
			err = c.Process.Kill() // where there is no such signal
		}
		<-drained
		if waited := c.Wait(); err == nil && ctx.Err() == nil && runtime.GOOS != "windows" {
			err = waited
		}
		return err
	}
	return &bench.Served{URL: line.Address, Token: token, PID: c.Process.Pid, Stop: stop}, nil
}

func printResults(w io.Writer, results []bench.Result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tPEER OR LIMIT\tRATIO\tTARGET\tREACHED")
	for _, r := range results {
		peer, ratio, reached := "", "", ""
		if r.Peer != "" {
			peer, ratio = fmt.Sprintf("%g %s: %s", r.PeerValue, r.Unit, r.Peer), fmt.Sprintf("%g", r.Ratio)
		}
		if r.Target != "" {
			reached = map[bool]string{true: "yes", false: "NO"}[r.Reached]
		}
		fmt.Fprintf(t, "%s\t%g %s\t%s\t%s\t%s\t%s\n", r.Name, r.Value, r.Unit, peer, ratio, r.Target, reached)
	}
	return t.Flush()
}
