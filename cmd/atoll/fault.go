package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) faultCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Break a running lab, or mend it",
		Args:  usageArgs(cobra.NoArgs),
	}
	var name string
	cmd.PersistentFlags().StringVar(&name, "lab", "", "the lab, by name or file; the only one when left out")
	// each verb adds its fault to those in force, or takes it away.
	add := func(use, short string, args cobra.PositionalArgs, remove bool, make func(args []string) (lab.Fault, error)) {
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: usageArgs(args),
			RunE: func(cmd *cobra.Command, args []string) error {
				f, err := make(args)
				if err != nil {
					return usageError(err)
				}
				return a.changeFault(cmd, name, f, remove)
			},
		})
	}
	pair := func(kind lab.FaultKind) func([]string) (lab.Fault, error) {
		return func(args []string) (lab.Fault, error) { return lab.Fault{Kind: kind, Between: args}, nil }
	}
	node := func(args []string) (lab.Fault, error) {
		cluster, node, ok := strings.Cut(args[0], "/")
		if !ok || cluster == "" || node == "" {
			return lab.Fault{}, fmt.Errorf("%q: want CLUSTER/NODE", args[0])
		}
		return lab.Fault{Kind: lab.StopNode, Cluster: cluster, Node: node}, nil
	}
	cluster := func(args []string) (lab.Fault, error) {
		return lab.Fault{Kind: lab.StopControlPlane, Cluster: args[0]}, nil
	}
	add("partition CLUSTER [CLUSTER]", "Cut two clusters apart, or one off from all others", cobra.RangeArgs(1, 2), false, pair(lab.Partition))
	add("cut-link REGION REGION", "Cut the link between two regions", cobra.ExactArgs(2), false, pair(lab.CutLink))
	add("restore-link REGION REGION", "Undo cut-link", cobra.ExactArgs(2), true, pair(lab.CutLink))
	add("stop-node CLUSTER/NODE", "Cut a node's power", cobra.ExactArgs(1), false, node)
	add("start-node CLUSTER/NODE", "Undo stop-node", cobra.ExactArgs(1), true, node)
	add("stop-control-plane CLUSTER", "Kill a cluster's control plane", cobra.ExactArgs(1), false, cluster)
	add("start-control-plane CLUSTER", "Undo stop-control-plane", cobra.ExactArgs(1), true, cluster)
	cmd.AddCommand(a.wholeClusterCmd("stop-cluster CLUSTER", "Cut the power of all of a cluster's nodes", &name, false),
		a.wholeClusterCmd("start-cluster CLUSTER", "Undo stop-cluster, and stop-node for each of its nodes", &name, true))

	cmd.AddCommand(&cobra.Command{
		Use:   "heal [CLUSTER [CLUSTER]]",
		Short: "Undo a partition; without arguments, every fault",
		Args:  usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.changeFault(cmd, name, lab.Fault{Kind: lab.Partition, Between: args}, true)
			}
			b, _, err := open(cmd.Context(), []string{name})
			if err != nil {
				return err
			}
			if err := b.Apply(cmd.Context(), nil); err != nil {
				return invalidError(err)
			}
			return a.printf("healed\n")
		},
	})
	return cmd
}

// wholeClusterCmd stops or starts every node of a cluster at once.
func (a *app) wholeClusterCmd(use, short string, name *string, remove bool) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := open(cmd.Context(), []string{*name})
			if err != nil {
				return err
			}
			if err := known(b, lab.Fault{Kind: lab.StopNode, Cluster: args[0]}); err != nil {
				return usageError(err)
			}
			st, err := b.State(cmd.Context())
			if err != nil {
				return invalidError(err)
			}
			faults := slices.DeleteFunc(st.Faults, func(f lab.Fault) bool { return f.Kind == lab.StopNode && f.Cluster == args[0] })
			if !remove {
				for _, n := range b.Plan().Cluster(args[0]).Nodes {
					faults = append(faults, lab.Fault{Kind: lab.StopNode, Cluster: args[0], Node: n.Name})
				}
			}
			if err := b.Apply(cmd.Context(), faults); err != nil {
				return invalidError(err)
			}
			if remove {
				return a.printf("cluster %s runs\n", args[0])
			}
			return a.printf("cluster %s is stopped\n", args[0])
		},
	}
}

func (a *app) changeFault(cmd *cobra.Command, name string, f lab.Fault, remove bool) error {
	b, _, err := open(cmd.Context(), []string{name})
	if err != nil {
		return err
	}
	if err := known(b, f); err != nil {
		return usageError(err)
	}
	st, err := b.State(cmd.Context())
	if err != nil {
		return invalidError(err)
	}
	same := func(g lab.Fault) bool { return reflect.DeepEqual(normal(f), normal(g)) }
	faults := slices.DeleteFunc(slices.Clone(st.Faults), same)
	switch {
	case !remove:
		faults = append(faults, f)
	case len(faults) == len(st.Faults):
		return usageError(fmt.Errorf("%s is not in force", f))
	}
	if err := b.Apply(cmd.Context(), faults); err != nil {
		return invalidError(err)
	}
	if remove {
		return a.printf("healed: %s\n", f)
	}
	return a.printf("in force: %s\n", f)
}

// normal makes eu↔us and us↔eu the same fault.
func normal(f lab.Fault) lab.Fault {
	f.Between = slices.Clone(f.Between)
	slices.Sort(f.Between)
	return f
}

// known refuses names that the lab does not have.
func known(b lab.Backend, f lab.Fault) error {
	plan := b.Plan()
	var clusters, regions []string
	for _, c := range plan.Clusters {
		clusters = append(clusters, c.Name)
		for _, n := range c.Nodes {
			if !slices.Contains(regions, n.Region) {
				regions = append(regions, n.Region)
			}
		}
	}
	check := func(what, name string, names []string) error {
		if slices.Contains(names, name) {
			return nil
		}
		return fmt.Errorf("no %s %s; there are %s", what, name, strings.Join(names, ", "))
	}
	for _, n := range f.Between {
		what, names := "cluster", clusters
		if f.Kind == lab.CutLink {
			what, names = "region", regions
		}
		if err := check(what, n, names); err != nil {
			return err
		}
	}
	if f.Cluster == "" {
		return nil
	}
	if err := check("cluster", f.Cluster, clusters); err != nil || f.Node == "" {
		return err
	}
	var nodes []string
	for _, n := range plan.Cluster(f.Cluster).Nodes {
		nodes = append(nodes, n.Name)
	}
	return check("node", f.Node, nodes)
}

func sortedJoin(s []string) string {
	slices.Sort(s)
	return strings.Join(s, ", ")
}
