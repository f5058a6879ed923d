package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/access"
	"spoor/internal/api"
	"spoor/internal/collect"
	"spoor/internal/demo"
	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/store"
)

func newDemo() *cobra.Command {
	var once, asJSON bool
	var data, listen string
	var budget time.Duration
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "See it work: this machine, a staged incident, and the server",
		Long: `Demo collects from this machine for about ten seconds, adds a staged incident, and serves both on loopback, with a token and three
hashes worth looking at. Everything goes to a temporary directory, which is removed at the end, unless --data names one.

Exit codes: 0 done; 1 failure; 2 misuse.`,
		Example: `  spoor demo
  spoor demo --once
  spoor demo --once --json --budget 0`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON && !once {
				return misuse("--json belongs to --once")
			}
			if host, _, err := net.SplitHostPort(listen); listen != "" && (err != nil || !isLoopback(host)) {
				return misuse("--listen: %s is no host:port on loopback", listen)
			}
			return runDemo(cmd, once, asJSON, data, listen, budget)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one full answer and exit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --once: print the answer as a line of JSON, as lookup does")
	cmd.Flags().StringVar(&data, "data", "", "keep the data in `DIR`")
	cmd.Flags().StringVar(&listen, "listen", "", "`ADDR`ess on loopback to serve on (127.0.0.1:8420, or a free port when that is taken)")
	cmd.Flags().DurationVar(&budget, "budget", 10*time.Second, "how long to look at this machine; 0 not at all")
	_ = cmd.MarkFlagDirname("data")
	return cmd
}

func runDemo(cmd *cobra.Command, once, asJSON bool, data, listen string, budget time.Duration) (err error) {
	ctx := cmd.Context()
	if data == "" {
		if data, err = os.MkdirTemp("", "spoor-demo-"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(data)
	}
	s, err := openStore(data, quiet())
	if err != nil {
		return err
	}
	good, err := fillDemo(cmd, s, budget)
	if err != nil {
		s.Close()
		return err
	}
	first := demo.Hashes(demo.Highlights()[0].Name)
	if once {
		defer s.Close()
		d, err := dossier.Build(ctx, s.View(intel.TLPRed), first.SHA256, dossier.Query{Sections: dossier.AllSections()})
		if err != nil {
			return err
		}
		p := printer{w: cmd.OutOrStdout(), colour: colours(cmd.OutOrStdout()), json: asJSON, full: true}
		return p.print(first.SHA256, api.Report(d))
	}
	if err := s.Close(); err != nil {
		return err
	}
	gates, err := access.Open(data, nil)
	if err != nil {
		return err
	}
	token, _, err := gates.Create(access.NewToken{Account: "demo", Lifetime: 24 * time.Hour, Scopes: []access.Scope{access.Admin}, Replace: true})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	o := serveOptions{data: data, listen: cmp.Or(listen, defaultListen), orFree: listen == "", logLevel: "warn", grace: 5 * time.Second, requestTimeout: 30 * time.Second}
	o.listening = func(address string) {
		fmt.Fprintf(out, "\nSpoor serves at  %s\nsign in with     %s\n", address, token)
		show := func(h intel.Hash, what string) {
			fmt.Fprintf(out, "\n%s\n  page   %s/hash/%s\n  curl   curl -s -H 'Authorization: Bearer %s' %s/api/hash/%s\n", what, address, h, token, address, h)
		}
		for _, x := range demo.Highlights() {
			show(demo.Hashes(x.Name).SHA256, x.What)
		}
		show(good.hash, good.what)
		fmt.Fprintln(out, "\nAn interrupt (Ctrl-C) ends it.")
	}
	return runServe(ctx, o, out, cmd.ErrOrStderr())
}

type shown struct {
	hash intel.Hash
	what string
}

// fillDemo collects and imports, and returns a third file worth looking at: one of this machine where there is one, else a staged one.
func fillDemo(cmd *cobra.Command, s *store.Store, budget time.Duration) (shown, error) {
	ctx := cmd.Context()
	pr := newProgress(cmd.ErrOrStderr())
	own := &remembering{Recorder: s}
	if budget > 0 {
		pr.step("looking at this machine for up to %s", budget)
		summary, err := collectInto(ctx, own, collect.Options{Budget: budget}, pr)
		pr.done()
		if summary == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
		} else if err != nil {
			return shown{}, err
		} else {
			printCollected(cmd.ErrOrStderr(), summary)
		}
	}
	pr.step("adding a staged incident")
	parts, err := demo.Parts(time.Now())
	if err != nil {
		return shown{}, err
	}
	for _, p := range parts {
		im := ingest.Importer{Recorder: s, Options: p.Options, Each: func(r intel.Refusal) { pr.line("refused: %v", &r) }}
		if p.Options.Format == "" {
			im.Options.Format = source.Auto
		}
		if _, err := im.Import(ctx, []string{"-"}, p.Content); err != nil {
			return shown{}, err
		}
	}
	pr.done()
	if !own.good.IsZero() {
		return shown{own.good, "a program of this machine: " + own.path}, nil
	}
	return shown{demo.Hashes("browser").SHA256, "a browser: known good, and yet it downloaded the loader"}, nil
}

// remembering remembers a packaged program of this machine that is in use.
type remembering struct {
	ingest.Recorder
	paths map[intel.Hash]string
	good  intel.Hash
	path  string
}

func (r *remembering) Record(ctx context.Context, id []byte, observations []intel.Observation) (bool, error) {
	if r.paths == nil {
		r.paths = map[intel.Hash]string{}
	}
	for i := range observations {
		o := &observations[i]
		h := o.File.SHA256
		switch f := o.Fact.(type) {
		case intel.Sighting:
			r.paths[h] = f.Path
		case intel.Listing:
			if (r.good.IsZero() || r.paths[h] == "/usr/bin/bash") && r.paths[h] != "" {
				r.good, r.path = h, r.paths[h]
			}
		}
	}
	return r.Recorder.Record(ctx, id, observations)
}
