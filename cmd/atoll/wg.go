package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) wgCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "wg [CLUSTER/]NODE",
		Short:   "Show a node's end of its cluster's overlay, as wg(8) does: peers, endpoints, handshakes, transfer",
		Example: "  atoll wg datacenter1",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := open(cmd.Context(), []string{name})
			if err != nil {
				return err
			}
			place, err := overlayPlace(b, args[0])
			if err != nil {
				return usageError(err)
			}
			i, err := b.WireGuard(cmd.Context(), place)
			if err != nil {
				return invalidError(err)
			}
			_, err = fmt.Fprint(a.stdout, i.Text(time.Now()))
			return err
		},
	}
	cmd.Flags().StringVar(&name, "lab", "", "the lab, by name or file; the only one when left out")
	return cmd
}

// overlayPlace finds the node that an argument names: with its cluster, or
// alone where one cluster has an overlay.
func overlayPlace(b lab.Backend, arg string) (lab.Place, error) {
	var overlaid []string
	plan := b.Plan()
	for _, c := range plan.Clusters {
		if c.Overlay != nil {
			overlaid = append(overlaid, c.Name)
		}
	}
	if len(overlaid) == 0 {
		return lab.Place{}, errors.New("no cluster of this lab has an overlay")
	}
	cluster, node, ok := strings.Cut(arg, "/")
	if !ok {
		if len(overlaid) > 1 {
			return lab.Place{}, fmt.Errorf("%q: want CLUSTER/NODE, as several clusters have an overlay: %s", arg, strings.Join(overlaid, ", "))
		}
		cluster, node = overlaid[0], arg
	}
	c := plan.Cluster(cluster)
	if c == nil || c.Overlay == nil {
		return lab.Place{}, fmt.Errorf("no cluster %s with an overlay; there are %s", cluster, strings.Join(overlaid, ", "))
	}
	node = strings.TrimSuffix(node, "."+c.Overlay.Name)
	if c.Node(node) == nil {
		var names []string
		for _, n := range c.Nodes {
			names = append(names, n.Name)
		}
		return lab.Place{}, fmt.Errorf("cluster %s has no node %q; it has %s", cluster, node, strings.Join(names, ", "))
	}
	return lab.Place{Cluster: cluster, Node: node}, nil
}
