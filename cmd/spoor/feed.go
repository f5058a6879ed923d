package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/api"
	"spoor/internal/feed"
	"spoor/internal/intel"
	"spoor/internal/store"
	"spoor/wire"
)

// feedPlace is where a command finds feeds: a server, or a data directory and the configuration.
type feedPlace struct {
	place
	file   string
	asJSON bool
}

func (p *feedPlace) flags(cmd *cobra.Command) {
	p.place.flags(cmd)
	cmd.Flags().StringVar(&p.file, "feeds", "", "configuration `FILE` (feeds.yaml in the data directory); not with --server")
	cmd.Flags().BoolVar(&p.asJSON, "json", false, "print the feeds as JSON")
	_ = cmd.MarkFlagFilename("feeds", "yaml", "yml")
}

// feedsFile is the configuration of a data directory when none is named, and feedsDir where the state of feeds is.
func feedsFile(data string) string { return filepath.Join(data, "feeds.yaml") }
func feedsDir(data string) string  { return filepath.Join(data, "feeds") }

func newFeed() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feed",
		Short: "Fetch feeds, look at them, let in what is held back",
		Long: `Feeds are lists that Spoor fetches itself: a running server does so on their schedule, as its file feeds.yaml says, and takes up each change
of that file. docs/feeds.md describes it.

Exit codes: 0 done; 1 failure; 2 misuse; 3 a feed fails or is held back.`,
		Example: `  spoor feed list
  spoor feed run --server https://spoor.example --token-file token urlhaus
  spoor feed accept --server https://spoor.example --token-file token blocklist`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFeedList(), newFeedStatus(), newFeedRun(), newFeedAccept())
	return cmd
}

func newFeedList() *cobra.Command {
	var p feedPlace
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the feeds, a line each",
		Long: `List prints each feed's state: waiting (it has not run yet), running, ok, failing, held, or removed (it is
no longer configured, and what it listed does not count).

Exit codes: 0 all is well; 1 failure; 2 misuse; 3 a feed fails or is held back.`,
		Example: `  spoor feed list --data /var/lib/spoor
  spoor feed list --server https://spoor.example --token-file token --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.show(cmd, nil, false) },
	}
	p.flags(cmd)
	return cmd
}

func newFeedStatus() *cobra.Command {
	var p feedPlace
	cmd := &cobra.Command{
		Use:   "status [flags] [NAME…]",
		Short: "Tell all about feeds: the last error, why one is held back",
		Long: `Status tells everything about the named feeds, or about all.

Exit codes: 0 all is well; 1 failure; 2 misuse; 3 a feed fails or is held back.`,
		Example: `  spoor feed status --data /var/lib/spoor blocklist
  spoor feed status --server https://spoor.example --token-file token`,
		Args: args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, names []string) error { return p.show(cmd, names, true) },
	}
	p.flags(cmd)
	return cmd
}

func newFeedRun() *cobra.Command {
	var p feedPlace
	cmd := &cobra.Command{
		Use:   "run [flags] [NAME…]",
		Short: "Fetch feeds now",
		Long: `Run fetches the named feeds, or all, one after the other, and tells what came of it. A running server holds its data directory: go through it with
--server.

Exit codes: 0 all went well; 1 failure; 2 misuse; 3 a feed failed or is held back.`,
		Example: `  spoor feed run --data /var/lib/spoor
  spoor feed run --server https://spoor.example --token-file token blocklist`,
		Args: args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, names []string) error { return p.act(cmd, names, false) },
	}
	p.flags(cmd)
	return cmd
}

func newFeedAccept() *cobra.Command {
	var p feedPlace
	cmd := &cobra.Command{
		Use:   "accept [flags] NAME…",
		Short: "Let in what is held back of a feed",
		Long: `Accept records what the guard held back, that very content. The trusted files that it calls bad are remembered as let in.
'spoor feed status' says why it was held.

Exit codes: 0 done; 1 failure; 2 misuse, also when nothing is held; 3 it failed.`,
		Example: `  spoor feed accept --data /var/lib/spoor blocklist
  spoor feed accept --server https://spoor.example --token-file token blocklist`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error { return p.act(cmd, names, true) },
	}
	p.flags(cmd)
	return cmd
}

// check fails unless the place is one.
func (p *feedPlace) check(cmd *cobra.Command) error {
	if err := p.place.check(cmd); err != nil {
		return err
	}
	if p.server != "" && p.file != "" {
		return misuse("--feeds is for a data directory; a server has its own")
	}
	if p.server == "" && p.file == "" {
		p.file = feedsFile(p.data)
	}
	if p.server == "" {
		if _, err := os.Stat(p.file); err != nil {
			return fmt.Errorf("there is no configuration of feeds; docs/feeds.md describes it: %w", err)
		}
	}
	return nil
}

// feeds asks for the feeds.
func (p *feedPlace) feeds(ctx context.Context) (*wire.Feeds, error) {
	if p.server != "" {
		c, err := p.client()
		if err != nil {
			return nil, err
		}
		return c.Feeds(ctx)
	}
	r, err := feed.New(feed.Options{File: p.file, Dir: feedsDir(p.data)})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return told(r)
}

// told is what a runner tells of its feeds; a wrong configuration is an error.
func told(r *feed.Runner) (*wire.Feeds, error) {
	f := api.FeedsOf(r.Status())
	if f.ConfigError != "" {
		return nil, errors.New(f.ConfigError)
	}
	return f, nil
}

func (p *feedPlace) show(cmd *cobra.Command, names []string, long bool) error {
	if err := p.check(cmd); err != nil {
		return err
	}
	f, err := p.feeds(cmd.Context())
	if err != nil {
		return err
	}
	return p.print(cmd, f, names, long)
}

// act runs feeds, or accepts what is held of them, one after the other.
func (p *feedPlace) act(cmd *cobra.Command, names []string, accept bool) (err error) {
	if err := p.check(cmd); err != nil {
		return err
	}
	do, feeds, done, err := p.actor(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	f, err := feeds()
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(f.Feeds, func(f wire.Feed) bool { return f.Name == n }) {
			return misuse("there is no feed %q", n)
		}
	}
	for _, x := range f.Feeds {
		if len(names) == 0 && x.State != feed.Removed || slices.Contains(names, x.Name) {
			if err := do(x.Name, accept); err != nil {
				if errors.Is(err, intel.ErrInvalid) {
					return &exitError{exitMisuse, fmt.Errorf("%s: %w", x.Name, err)}
				}
				return err
			}
		}
	}
	if f, err = feeds(); err != nil {
		return err
	}
	return p.print(cmd, f, names, true)
}

// actor returns how a feed is run to its end, and how the feeds stand.
func (p *feedPlace) actor(cmd *cobra.Command) (do func(name string, accept bool) error, feeds func() (*wire.Feeds, error), done func() error, err error) {
	ctx := cmd.Context()
	if p.server == "" {
		log := quiet()
		s, err := openStore(p.data, log)
		if err != nil {
			return nil, nil, nil, err
		}
		r, err := newRunner(p.file, p.data, s, log)
		if err != nil {
			return nil, nil, nil, errors.Join(err, s.Close())
		}
		do = func(name string, accept bool) error { return r.Do(ctx, name, accept) }
		return do, func() (*wire.Feeds, error) { return told(r) }, func() error { r.Close(); return s.Close() }, nil
	}
	c, err := p.client()
	if err != nil {
		return nil, nil, nil, err
	}
	feeds = func() (*wire.Feeds, error) { return c.Feeds(ctx) }
	do = func(name string, accept bool) error {
		begin := c.RunFeed
		if accept {
			begin = c.AcceptFeed
		}
		f, err := begin(ctx, name)
		for err == nil && f.State == feed.Running {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
			var all *wire.Feeds
			if all, err = feeds(); err != nil {
				break
			}
			i := slices.IndexFunc(all.Feeds, func(f wire.Feed) bool { return f.Name == name })
			if i < 0 {
				return fmt.Errorf("the feed %s is no longer configured", name)
			}
			f = &all.Feeds[i]
		}
		return err
	}
	return do, feeds, func() error { return nil }, nil
}

// newRunner makes the runner of a data directory.
func newRunner(file, data string, s *store.Store, log *slog.Logger) (*feed.Runner, error) {
	return feed.New(feed.Options{File: file, Dir: feedsDir(data), Store: s, View: func() feed.View { return s.View(intel.TLPRed) }, Logger: log})
}

// print prints the named feeds, or all.
func (p *feedPlace) print(cmd *cobra.Command, f *wire.Feeds, names []string, long bool) error {
	out := cmd.OutOrStdout()
	for _, n := range names {
		if !slices.ContainsFunc(f.Feeds, func(f wire.Feed) bool { return f.Name == n }) {
			return misuse("there is no feed %q", n)
		}
	}
	if len(names) > 0 {
		f.Feeds = slices.DeleteFunc(f.Feeds, func(f wire.Feed) bool { return !slices.Contains(names, f.Name) })
	}
	bad := f.ConfigError != ""
	for i := range f.Feeds {
		bad = bad || f.Feeds[i].State == feed.Failing || f.Feeds[i].State == feed.HeldUp
	}
	var err error
	switch {
	case p.asJSON:
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(f)
	case long:
		for i := range f.Feeds {
			printFeed(out, &f.Feeds[i])
		}
	default:
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "FEED\tSTATE\tENTRIES\tLAST SUCCESS\tNEXT\tFROM")
		for _, x := range f.Feeds {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", x.Name, x.State, x.Entries, moment(x.Success), moment(x.Next), x.Place)
		}
		err = w.Flush()
	}
	if err != nil {
		return err
	}
	if f.ConfigError != "" && !p.asJSON {
		fmt.Fprintln(out, "the configuration is wrong, and the one before is in force:", f.ConfigError)
	}
	if bad {
		return &exitError{exitPartly, nil}
	}
	return nil
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func printFeed(out io.Writer, x *wire.Feed) {
	fmt.Fprintf(out, "%s: %s, %d entries\n", x.Name, x.State, x.Entries)
	fmt.Fprintf(out, "  from          %s (%s)\n", x.Place, x.Kind)
	fmt.Fprintf(out, "  last success  %s\n", moment(x.Success))
	if !x.Snapshot.IsZero() {
		fmt.Fprintf(out, "  snapshot      %s\n", moment(x.Snapshot))
	}
	fmt.Fprintf(out, "  next          %s\n", moment(x.Next))
	if x.Error != "" {
		fmt.Fprintf(out, "  last error    %s\n", x.Error)
	}
	if h := x.Held; h != nil {
		fmt.Fprintf(out, "  held since    %s, %d entries; 'spoor feed accept' lets it in\n", moment(h.At), h.Entries)
		for _, why := range h.Reasons {
			fmt.Fprintf(out, "    %s\n", why)
		}
		if len(h.Files) > 0 {
			fmt.Fprintf(out, "    files: %s\n", strings.Join(h.Files, " "))
		}
	}
}
