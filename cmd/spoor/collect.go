package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"spoor/internal/collect"
	"spoor/internal/ingest"
	"spoor/internal/intel"
)

func newCollect() *cobra.Command {
	var p place
	var o collect.Options
	var ndjson, asJSON bool
	cmd := &cobra.Command{
		Use:   "collect [flags]",
		Short: "Tell what this Linux machine itself knows of its files",
		Long: `Collect looks at the running processes and who started them, at executables on the PATH and in library folders, and at which of
them are just as their dpkg package installed them: those are known good. Run as root it sees all processes.

Without --data and --server the observations go to standard output as NDJSON.

Exit codes: 0 done, also when the budget was used up; 1 failure; 2 misuse.`,
		Example: `  spoor collect --data /var/lib/spoor
  spoor collect --server https://spoor.example --token-file token
  spoor collect --budget 30s | gzip > this-machine.ndjson.gz`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.data == "" && p.server == "" {
				ndjson = true
			}
			if !ndjson {
				if err := p.check(cmd); err != nil {
					return err
				}
			}
			return runCollect(cmd, &p, o, ndjson, asJSON)
		},
	}
	p.flags(cmd)
	cmd.Flags().DurationVar(&o.Budget, "budget", 0, "stop looking for more after so long; 0 looks at everything")
	cmd.Flags().BoolVar(&ndjson, "ndjson", false, "print the observations, whatever the environment names as the place")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON (on standard error when the observations go to standard output)")
	cmd.Flags().StringVar(&o.Host, "host", "", "`NAME` of this machine in the observations (its own)")
	cmd.Flags().StringVar(&o.Root, "root", "", "take `DIR`ectory for the root of the file system; for tests")
	_ = cmd.Flags().MarkHidden("root") // fails only for a flag that is not there
	return cmd
}

func runCollect(cmd *cobra.Command, p *place, o collect.Options, ndjson, asJSON bool) (err error) {
	var rec ingest.Recorder
	told := cmd.OutOrStdout()
	switch {
	case ndjson:
		told = cmd.ErrOrStderr()
		out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
		defer func() {
			if flushErr := out.Flush(); err == nil {
				err = flushErr
			}
		}()
		rec = printed{out}
	case p.server != "":
		c, err := p.client()
		if err != nil {
			return err
		}
		rec = remote{c}
	default:
		s, err := openStore(p.data, quiet())
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := s.Close(); err == nil {
				err = closeErr
			}
		}()
		rec = s
	}
	pr := newProgress(cmd.ErrOrStderr())
	summary, err := collectInto(cmd.Context(), rec, o, pr)
	pr.done()
	if summary != nil {
		if asJSON {
			e := json.NewEncoder(told)
			e.SetIndent("", "  ")
			if err := e.Encode(summary); err != nil {
				return err
			}
		} else {
			printCollected(told, summary)
		}
	}
	return err
}

// collectInto collects this machine into a recorder. Each run is a batch of its own.
func collectInto(ctx context.Context, rec ingest.Recorder, o collect.Options, pr *progress) (*collect.Summary, error) {
	var run [16]byte
	rand.Read(run[:])
	b := ingest.NewBatcher(ctx, rec, func(n uint64) []byte { return binary.BigEndian.AppendUint64(run[:], n) }, func(r intel.Refusal) { pr.line("refused: %v", &r) })
	o.Progress = func(files int, path string) { pr.say("looking at this machine: %d files: %s", files, path) }
	summary, err := collect.Run(ctx, o, b)
	if _, _, closeErr := b.Close(); err == nil {
		err = closeErr
	}
	return summary, err
}

func printCollected(w io.Writer, s *collect.Summary) {
	fmt.Fprintf(w, "%d processes (%d with their parent), %d files of %.0f MB in %.1f s, %d of them as their package installed them\n",
		s.Processes, s.Starts, s.Files, float64(s.Bytes)/1e6, s.Seconds, s.Packaged)
	if s.CutShort {
		fmt.Fprintln(w, "the time was up before everything was looked at")
	}
	if s.Unreadable > 0 {
		fmt.Fprintf(w, "%d processes and files could not be read; root may\n", s.Unreadable)
	}
	for i, path := range s.Changed {
		if i == shownRows {
			fmt.Fprintf(w, "… and %d more\n", len(s.Changed)-i)
			break
		}
		fmt.Fprintf(w, "changed since its package installed it: %s\n", printable(path))
	}
}

// printed records by printing NDJSON.
type printed struct{ w io.Writer }

func (p printed) Record(_ context.Context, _ []byte, observations []intel.Observation) (bool, error) {
	e := json.NewEncoder(p.w)
	e.SetEscapeHTML(false)
	for i := range observations {
		if err := e.Encode(observations[i]); err != nil {
			return false, err
		}
	}
	return false, nil
}
