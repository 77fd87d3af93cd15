package main

import (
	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/topologies"
)

func (a *app) planCmd() *cobra.Command {
	var pf planFlags
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what a topology would become, and what is predicted; creates nothing",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := pf.plan(args[0])
			if err != nil {
				return err
			}
			return a.print(plan, func() error { return plan.Describe(a.stdout) })
		},
	}
	pf.add(cmd.Flags())
	return cmd
}

func (a *app) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of topology files",
		Long: `Print the JSON Schema of topology files. Editors with yaml-language-server use it
by this first line of a topology:

    # yaml-language-server: $schema=schema.json

after ` + "`atoll schema >schema.json`" + ` in the same folder.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			data, err := topologies.Schema()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
}

func (a *app) topologiesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "topologies",
		Short: "List the library's topologies, which every verb takes by name",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			names := topologies.LibraryNames()
			return a.print(names, func() error {
				for _, n := range names {
					if err := a.printf("%s\n", n); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
