package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/kind/inside"
)

// insideCmd groups what atoll runs for itself: in the containers of a kind
// lab, and between kind and Docker.
func (a *app) insideCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "inside", Hidden: true, Short: "What atoll runs for itself"}
	var router inside.RouterOptions
	routerCmd := &cobra.Command{
		Use:  "router",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return inside.Router(cmd.Context(), router) },
	}
	routerCmd.Flags().Uint64Var(&router.Seed, "seed", 0, "")
	cmd.AddCommand(
		routerCmd,
		&cobra.Command{
			Use:  "join",
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return inside.Join(cmd.Context()) },
		},
		&cobra.Command{
			Use:  "node",
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return inside.Node(cmd.Context()) },
		},
		&cobra.Command{
			Use:  "kind",
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				return kind.Call(cmd.Context(), self, a.stdin, a.stdout)
			},
		},
		&cobra.Command{
			Use:                "docker-run",
			DisableFlagParsing: true, // they are docker's
			RunE:               func(_ *cobra.Command, args []string) error { return kind.DockerRun(args) },
		},
	)
	return cmd
}
