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
