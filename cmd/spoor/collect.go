package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/client"
	"spoor/internal/collect"
	"spoor/internal/ingest"
	"spoor/internal/intel"
)

func newCollect() *cobra.Command {
	var p place
	var o collect.Options
	var ndjson, asJSON bool
	var sensor collect.Sensor
	var rate uint
	cmd := &cobra.Command{
		Use:   "collect [flags]",
		Short: "Tell what this Linux machine itself knows of its files",
		Long: `Collect looks at the running processes and who started them; at executables on the PATH and in library folders; at what services,
cron and the beginning of sessions start; at users' downloads whose attributes say where they came from; and at which files are just as their
dpkg or rpm package installed them: those are known good. Run as root it sees all processes. With --root it looks at a mounted image instead.

Without --data and --server the observations go to standard output as NDJSON.

With --every it is a sensor: it looks again and again, at the lowest priority, and sends what is new to a server. Nothing is told twice: the start
of one process once, a file at a path once until it changes, goes or comes back. What it told, and what the server has not acknowledged yet, is
kept in --state, also through restarts; the server knows a batch that it has already by its name. With --state alone it does so once.

Exit codes: 0 done, also when the budget was used up; 1 failure; 2 misuse.`,
		Example: `  spoor collect --data /var/lib/spoor
  spoor collect --server https://spoor.example --token-file token
  spoor collect --server https://spoor.example --token-file token --every 1h
  spoor collect --root /mnt/image --host ws-7 --data /var/lib/spoor
  spoor collect --budget 30s | gzip > this-machine.ndjson.gz`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case cmd.Flags().Changed("every") && sensor.Every < time.Second:
				return misuse("--every is a time of a second or more, like 1h")
			case rate > maxRate:
				return misuse("--rate is at most %d", maxRate)
			}
			o.Rate = int64(rate) << 20
			if sensor.Every > 0 || sensor.Dir != "" {
				if ndjson {
					return misuse("--ndjson tells everything; --every and --state only what is new")
				}
				if err := p.check(cmd); err != nil {
					return err
				}
				if p.server == "" {
					return misuse("--every and --state send to a server: give --server")
				}
				if !cmd.Flags().Changed("rate") {
					o.Rate = sensorRate
				}
				sensor.Options = o
				return runSensor(cmd, &p, &sensor, asJSON)
			}
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
	cmd.Flags().StringVar(&o.Root, "root", "", "look at the mounted image in this `DIR`ectory instead; its links do not lead outside")
	cmd.Flags().DurationVar(&sensor.Every, "every", 0, "look again so often, and send what is new to the server")
	cmd.Flags().StringVar(&sensor.Dir, "state", "", "`DIR`ectory of what was told and not acknowledged ($STATE_DIRECTORY, else spoor-collect in $XDG_STATE_HOME)")
	cmd.Flags().UintVar(&rate, "rate", 0, "read at most so many `MIB` a second; 0 is as fast as can be, and 20 with --every or --state")
	_ = cmd.MarkFlagDirname("root") // fails only for a flag that is not there
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

// The bounds of reading: MiB a second that --rate takes, and bytes a second of a sensor that is told nothing else.
const (
	maxRate    = 1 << 20
	sensorRate = 20 << 20
)

// runSensor tells a server what is new on this machine, again and again with Every.
func runSensor(cmd *cobra.Command, p *place, s *collect.Sensor, asJSON bool) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if s.Dir, err = stateDir(s.Dir); err != nil {
		return err
	}
	s.Logger = serverLog(cmd.ErrOrStderr(), slog.LevelInfo, asJSON && s.Every > 0)
	if s.Every == 0 {
		s.Logger = quiet()
		s.Told = func(summary *collect.Summary) { err = tell(cmd.OutOrStdout(), summary, asJSON) }
	} else {
		runtime.GOMAXPROCS(1)
		if err := collect.Humble(); err != nil {
			s.Logger.Warn("the sensor runs as other processes do", "error", err)
		}
	}
	s.Send = func(ctx context.Context, batch string, ndjson []byte) error {
		receipt, err := c.Observe(ctx, batch, ndjson)
		switch {
		case errors.Is(err, client.ErrRefused):
			return fmt.Errorf("%w: %w", collect.ErrRefused, err)
		case err != nil:
			return err
		}
		for _, r := range receipt.Refusals {
			s.Logger.Warn("the server refused an observation", "field", r.Field, "reason", r.Reason)
		}
		return nil
	}
	if runErr := s.Run(cmd.Context()); runErr != nil {
		return runErr
	}
	return err
}

// stateDir is where a sensor keeps what it told: what is given, what systemd gives, or the user's own.
func stateDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding a folder for what was told; give --state: %w", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "spoor-collect"), nil
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
		if tellErr := tell(told, summary, asJSON); tellErr != nil {
			return tellErr
		}
	}
	return err
}

// tell prints a summary.
func tell(w io.Writer, summary *collect.Summary, asJSON bool) error {
	if !asJSON {
		printCollected(w, summary)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(summary)
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
	if s.Downloads > 0 {
		fmt.Fprintf(w, "%d files say where they were downloaded from\n", s.Downloads)
	}
	if s.Untold != "" {
		fmt.Fprintf(w, "this machine has %s, and they could not be asked for\n", s.Untold)
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
