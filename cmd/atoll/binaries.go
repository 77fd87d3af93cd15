package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/embedded/binaries"
)

func (a *app) binariesCmd() *cobra.Command {
	version := binaries.Default
	cmd := &cobra.Command{
		Use:   "binaries",
		Short: "Find, download or build the Kubernetes binaries, and print their folder",
		Long: `Find, download or build the Kubernetes binaries, and print their folder.
They are looked for in ` + binaries.EnvBin + `, then in the user's cache; else downloaded where
the official release can be reached, else built from the Go modules (about five
minutes on two cores, once). The folder also holds a kubectl.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := func(line string) {
				if !a.quiet {
					fmt.Fprintln(a.stderr, line)
				}
			}
			set, err := binaries.Find(cmd.Context(), version, progress)
			if err != nil {
				return invalidError(err)
			}
			return a.print(set, func() error { return a.printf("%s\n", set.Dir) })
		},
	}
	cmd.Flags().StringVar(&version, "kubernetes", version, "version")
	return cmd
}
