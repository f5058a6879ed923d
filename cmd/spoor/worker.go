package main

import (
	"github.com/spf13/cobra"

	"spoor/internal/worker"
)

// newWorker is what inspections start for themselves; no person calls it.
func newWorker() *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Short:  "Read one file after another for the process that started this one",
		Hidden: true,
		Args:   args(cobra.NoArgs),
		RunE:   func(*cobra.Command, []string) error { return worker.Serve() },
	}
}

// newConfined starts a program of the system that reads foreign bytes, such as yara, after giving up rights; no person calls it.
func newConfined() *cobra.Command {
	return &cobra.Command{
		Use:    "confined FILE… -- PROGRAM ARGUMENT…",
		Short:  "Become a program that may read the files, and no others, and that has no network",
		Hidden: true,
		Args:   args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, line []string) error {
			dash := cmd.ArgsLenAtDash()
			if dash < 0 || dash == len(line) {
				return misuse("say what to start, after --")
			}
			return worker.Confine(line[:dash], line[dash:])
		},
	}
}
