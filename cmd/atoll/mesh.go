package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/stack/mesh"
)

func (a *app) meshCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "mesh", Short: "Ask the mesh", Args: usageArgs(cobra.NoArgs)}
	var name string
	status := &cobra.Command{
		Use:   "proxy-status CLUSTER",
		Short: "List the proxies that a cluster's control plane serves",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := open(cmd.Context(), []string{name})
			if err != nil {
				return err
			}
			if b.Plan().Cluster(args[0]) == nil {
				return usageError(fmt.Errorf("no cluster %s", args[0]))
			}
			proxies, err := mesh.ProxyStatus(cmd.Context(), b, args[0])
			if err != nil {
				return invalidError(err)
			}
			return a.print(proxies, func() error {
				w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
				mesh.WriteProxies(w, proxies)
				return w.Flush()
			})
		},
	}
	status.Flags().StringVar(&name, "lab", "", "the lab, by name or file; the only one when left out")
	cmd.AddCommand(status)
	return cmd
}
