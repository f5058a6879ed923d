package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/client"
	"spoor/internal/collect"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
)

// The values of flags, for completion.
var (
	zones    = []string{"red", "orange", "yellow", "gray", "green"}
	markings = []string{"clear", "green", "amber", "amber+strict", "red"}
)

func newImport() *cobra.Command {
	var p place
	var format, feed, zone, marking string
	var asJSON, knownGood bool
	var formats []string
	for _, f := range source.Formats() {
		formats = append(formats, string(f))
	}
	cmd := &cobra.Command{
		Use:   "import [flags] PATH…",
		Short: "Take logs, observations and lists of hashes in",
		Long: `Import reads files, directories and "-" for standard input. The format is found by content; zip, gz, bz2, zst, xz and tar
are opened, also within each other. The same input imported again counts nothing, and an import that was cut off is simply run again.

With --known-good the paths are a clean system's folders: each file in them is hashed and listed as known good, in the feed --feed or
"golden image". Nothing is read as a log then, and archives are not opened; but what a .deb or .rpm states of the files that it installs is
known good with it, and they are its members.

Every file or line that is not taken is named on stderr; the rest goes in.

Formats:
` + source.FormatHelp() + `
Exit codes: 0 all read; 3 some files or lines refused; 2 misuse; 1 failure.`,
		Example: `  spoor import --data /var/lib/spoor /cases/17/logs
  spoor import --server https://spoor.example --token-file token sysmon.json.gz
  spoor import --feed blocklist --zone red hashes.txt
  spoor import --known-good --feed "golden image 2026" /mnt/image
  zcat observations.ndjson.gz | spoor import --json -`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := p.check(cmd); err != nil {
				return err
			}
			if !slices.Contains(formats, format) {
				return misuse("there is no format %q; known are %s", format, strings.Join(formats, ", "))
			}
			o := source.Options{Format: source.Format(format), Feed: feed, Now: time.Now()}
			if zone != "" { // else as the format has it
				if err := o.Zone.UnmarshalText([]byte(zone)); err != nil {
					return &exitError{exitMisuse, fmt.Errorf("--zone: %w", err)}
				}
			}
			if err := o.Marking.UnmarshalText([]byte(marking)); err != nil {
				return &exitError{exitMisuse, fmt.Errorf("--marking: %w", err)}
			}
			if knownGood && (slices.Contains(paths, "-") || cmd.Flags().Changed("format")) {
				return misuse("--known-good lists the files of folders: it takes no --format, and not standard input")
			}
			if feed == "" && !knownGood && cmd.Flags().Changed("zone") {
				return misuse("--zone says what being listed in a feed means: name the feed with --feed")
			}
			for _, path := range paths {
				if path != "-" {
					if _, err := os.Stat(path); err != nil {
						return misuse("%v", err)
					}
				}
			}
			return runImport(cmd, &p, o, paths, asJSON, knownGood)
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "auto", "`FORMAT` of the inputs, by a name of the list above")
	cmd.Flags().StringVar(&feed, "feed", "", "the inputs are listings of the feed `NAME`")
	cmd.Flags().StringVar(&zone, "zone", "", "what being listed in the feed means, a `ZONE`: red, orange, yellow, gray or green (known good); red when not given, green for formats of known good files")
	cmd.Flags().StringVar(&marking, "marking", "clear", "who may see it, a TLP `MARKING`: clear, green, amber, amber+strict, red; what observations say themselves goes before it when it is stricter")
	cmd.Flags().BoolVar(&knownGood, "known-good", false, "list every file in the folders as known good, by its hashes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON")
	complete(cmd, "format", formats...)
	complete(cmd, "zone", zones...)
	complete(cmd, "marking", markings...)
	return cmd
}

func runImport(cmd *cobra.Command, p *place, o source.Options, paths []string, asJSON, knownGood bool) (err error) {
	var rec ingest.Recorder
	if p.server != "" {
		c, err := p.client()
		if err != nil {
			return err
		}
		rec = remote{c}
	} else {
		s, err := openStore(p.data, quiet())
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := s.Close(); err == nil && closeErr != nil {
				err = closeErr
			}
		}()
		rec = s
		if os.Getenv("GOMEMLIMIT") == "" {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(importMemory))
		}
	}
	pr := newProgress(cmd.ErrOrStderr())
	start := time.Now()
	im := ingest.Importer{Recorder: rec, Options: o,
		Each: func(r intel.Refusal) {
			if cmd.Context().Err() == nil { // what an interrupt cut off is not at fault
				pr.line("refused: %v", &r)
			}
		},
		Progress: func(input string, s *ingest.Summary) {
			rate := float64(s.Bytes) / 1e6 / max(time.Since(start).Seconds(), 0.001)
			pr.say("%d inputs, %d observations, %d refused, %.0f MB/s: %s", s.Inputs, total(s.Kinds), s.Refused, rate, input)
		},
	}
	var stdin io.Reader
	if slices.Contains(paths, "-") {
		stdin = untilDone(cmd.Context(), cmd.InOrStdin())
	}
	var summary *ingest.Summary
	if knownGood {
		summary, err = im.Take(cmd.Context(), func(sink source.Sink, s *ingest.Summary) error {
			return collect.Golden(cmd.Context(), paths, o, sink, func(path string, size int64) {
				s.Inputs++
				s.Records++
				s.Used++
				s.Bytes += size
				im.Progress(path, s)
			})
		})
	} else {
		summary, err = im.Import(cmd.Context(), paths, stdin)
	}
	pr.done()
	if err == nil {
		err = cmd.Context().Err()
	}
	if printErr := printSummary(cmd.OutOrStdout(), summary, asJSON); err == nil {
		err = printErr
	}
	if err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	if summary.Refused > 0 {
		return &exitError{exitPartly, nil}
	}
	return nil
}

// importMemory is what the garbage collector is asked to stay under while a store is filled: half of what is live then is rows that wait to be
// sorted, and by itself the collector would let as much garbage again come together.
const importMemory = 400 << 20

func total(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func printSummary(w io.Writer, s *ingest.Summary, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	fmt.Fprintf(w, "%d inputs, %.1f MB, %d records in %.1f s: %d used, %d repeated within their input, %d without a file's hash\n",
		s.Inputs, float64(s.Bytes)/1e6, s.Records, s.Seconds, s.Used, s.Repeats, s.Other)
	fmt.Fprintf(w, "%d observations recorded", s.Accepted)
	if s.Repeated > 0 {
		fmt.Fprintf(w, ", %d were known from an earlier import and changed nothing", s.Repeated)
	}
	fmt.Fprintln(w)
	for _, kind := range intel.Kinds() {
		if n := s.Kinds[kind]; n > 0 {
			fmt.Fprintf(w, "  %-12s %d\n", kind, n)
		}
	}
	if s.Refused > 0 {
		fmt.Fprintf(w, "%d refused, by fault:\n", s.Refused)
		faults := slices.Collect(maps.Keys(s.Faults))
		slices.SortFunc(faults, func(a, b string) int {
			if s.Faults[a] != s.Faults[b] {
				return int(s.Faults[b]) - int(s.Faults[a])
			}
			return strings.Compare(a, b)
		})
		for _, f := range faults {
			fmt.Fprintf(w, "  %-6d %s\n", s.Faults[f], f)
		}
	}
	return nil
}

// remote records by way of a server.
type remote struct{ c *client.Client }

func (r remote) Record(ctx context.Context, id []byte, observations []intel.Observation) (bool, error) {
	var body []byte
	for i := range observations {
		b, err := json.Marshal(observations[i])
		if err != nil {
			return false, err
		}
		body = append(append(body, b...), '\n')
	}
	receipt, err := r.c.Observe(ctx, hex.EncodeToString(id), body)
	if err != nil {
		return false, err
	}
	if receipt.Refused > 0 {
		first := receipt.Refusals[0]
		return false, fmt.Errorf("the server refused %d of %d observations, the first for %s: %s (is it older than this program?)", receipt.Refused, len(observations), first.Field, first.Reason)
	}
	return receipt.Repeated > 0, nil
}
