// Command spoor answers everything that your fleet, feeds and analysis know of a file, by its hash.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes, the same for every command.
const (
	exitFailure = 1 // something that should work did not
	exitMisuse  = 2 // the command line is wrong
	exitPartly  = 3 // done, but something was refused or is unknown
)

// exitError ends the process with a code. A nil err prints nothing: the output has said it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func misuse(format string, args ...any) error {
	return &exitError{exitMisuse, fmt.Errorf(format, args...)}
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs one command line and returns the exit code. An interrupt or SIGTERM ends it gracefully, a second one at once.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitFailure
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintln(stderr, "spoor:", msg)
		if code == exitMisuse {
			fmt.Fprintln(stderr, "Try 'spoor --help' or 'spoor COMMAND --help'.")
		}
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "spoor",
		Short: "Self-hosted threat lookup for files",
		Long: `Spoor is a self-hosted threat lookup for files. Give it a hash; it answers everything that your own fleet,
feeds and analysis know of that file: is it bad and why, where it was seen and on how many machines, who signed
it, where it came from, what it started, what it came packed in, what resembles it.

Exit codes: 0 done; 1 failure; 2 the command line is wrong; 3 done, but something was refused or is unknown.`,
		Example: `  spoor demo                                  a working example on this machine
  spoor serve --data /var/lib/spoor            the server
  spoor import --data /var/lib/spoor logs/     take logs in
  spoor lookup --server URL 44d88612fea8a8f36de82e1278abb02f`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitMisuse, err} })
	root.SetVersionTemplate("spoor {{.Version}}\n")
	root.AddCommand(newServe(), newImport(), newLookup(), newToken(), newCollect(), newDemo(), newBench())
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	// An unknown command is misuse, too.
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return misuse("there is no command %q", args[0])
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	return root
}

// args turns a complaint about positional arguments into misuse.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return &exitError{exitMisuse, err}
		}
		return nil
	}
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "development"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
