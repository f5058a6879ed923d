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
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code := exitFailure
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	msg := err.Error()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		msg = "interrupted"
	}
	if msg != "" {
		fmt.Fprintln(stderr, "spoor:", msg)
		if code == exitMisuse {
			fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

// untilDone reads r until ctx ends, also while r has nothing to say: a terminal or a pipe would else keep the process waiting.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.CopyBuffer(in, struct{ io.Reader }{r}, make([]byte, 256<<10)) // a file's own WriteTo has a smaller buffer
		in.CloseWithError(err)                                                     // nil: the end
	}()
	return out
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "spoor",
		Short: "Self-hosted threat lookup for files",
		Long: `Spoor is a self-hosted threat lookup for files. Give it a hash; it answers everything that your own fleet,
feeds and analysis know of that file: is it bad and why, where it was seen and on how many machines, who signed
it, where it came from, what it started, what it came packed in, what resembles it.

Errors and progress go to standard error, answers to standard output. Where a command prints data, --json prints it for programs.

Environment: SPOOR_DATA, SPOOR_SERVER and SPOOR_TOKEN stand for --data, --server and --token; NO_COLOR turns colours off.

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
	root.AddCommand(newServe(), newImport(), newLookup(), newInspect(), newWorker(), newConfined(), newToken(), newCollect(), newFeed(), newDemo(), newBench(), newCompletion())
	root.SetHelpCommand(newHelp())
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

// newHelp is cobra's own help but for one thing: to ask about a command that is not there is misuse.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND…]",
		Short: "Tell how a command is used",
		Long: `Help tells how a command is used, as COMMAND --help does.

Exit codes: 0 done; 2 there is no such command.`,
		Example: `  spoor help import
  spoor help token create`,
		ValidArgsFunction: func(cmd *cobra.Command, path []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			if of, rest, err := cmd.Root().Find(path); err == nil && len(rest) == 0 {
				for _, c := range of.Commands() {
					if strings.HasPrefix(c.Name(), begun) {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, path []string) error {
			of, rest, err := cmd.Root().Find(path)
			if err != nil || len(rest) > 0 {
				return misuse("there is no command %q", strings.Join(path, " "))
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// newCompletion prints cobra's completion scripts.
func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script of a shell",
		Long: `Completion prints a script that teaches bash, zsh, fish or powershell to complete spoor's commands, flags and their values.

Exit codes: 0 done; 2 there is no script for this shell.`,
		Example: `  source <(spoor completion bash)
  spoor completion bash > /etc/bash_completion.d/spoor
  spoor completion zsh > "${fpath[1]}/_spoor"
  spoor completion fish > ~/.config/fish/completions/spoor.fish
  spoor completion powershell >> $PROFILE`,
		Args:      args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, shell []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch shell[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(out)
			}
		},
	}
}

// complete lets the shell complete a flag from fixed values.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// Fails only for a flag that is not there, which the test of completion would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginning(begun, "", values), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeList does the same for a flag that takes several values with commas between: the last one is completed.
func completeList(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		before := begun[:strings.LastIndexByte(begun, ',')+1]
		return beginning(begun, before, values), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

// beginning returns those of the values, each with before before it, that begin with begun.
func beginning(begun, before string, values []string) (out []string) {
	for _, v := range values {
		if v = before + v; strings.HasPrefix(v, begun) {
			out = append(out, v)
		}
	}
	return out
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
