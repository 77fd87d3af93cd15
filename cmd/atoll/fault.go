package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

func (a *app) faultCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Break a running lab, or mend it",
		Long: `Break a running lab, or mend it. Every verb names what it is done to and has one
that undoes it; faults add up, stay until they are undone, and go with the lab.

  atoll fault partition ap
  atoll fault set-link eu-west us-west --rtt 400ms --loss 2%
  atoll fault remove-route eu us
  atoll status                      # what is in force
  atoll fault heal                  # nothing any more`,
		Args: usageArgs(cobra.NoArgs),
	}
	var name string
	cmd.PersistentFlags().StringVar(&name, "lab", "", "the lab, by name or file; the only one when left out")
	for _, v := range faultVerbs() {
		c := &cobra.Command{
			Use: v.use, Short: v.short, Args: usageArgs(v.args),
			RunE: func(cmd *cobra.Command, args []string) error {
				f, err := v.fault(cmd, args)
				if err != nil {
					return usageError(err)
				}
				if v.undo {
					return a.undoFault(cmd, name, f, v.kinds)
				}
				f.Kind = v.kinds[0]
				return a.addFault(cmd, name, f)
			},
		}
		if v.flags != nil {
			v.flags(c)
		}
		cmd.AddCommand(c)
	}
	cmd.AddCommand(a.wholeClusterCmd("stop-cluster CLUSTER", "Cut the power of all of a cluster's nodes", &name, false),
		a.wholeClusterCmd("start-cluster CLUSTER", "Undo stop-cluster, and stop-node for each of its nodes", &name, true))

	cmd.AddCommand(a.killPodCmd(&name))
	cmd.AddCommand(&cobra.Command{
		Use:   "heal [CLUSTER [CLUSTER]]",
		Short: "Undo a partition; without arguments, every fault",
		Args:  usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.undoFault(cmd, name, lab.Fault{Between: args}, []lab.FaultKind{lab.Partition})
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

// faultVerb adds one fault to those in force, or undoes what is in force of
// some kinds.
type faultVerb struct {
	use, short string
	args       cobra.PositionalArgs
	kinds      []lab.FaultKind
	undo       bool
	fault      func(cmd *cobra.Command, args []string) (lab.Fault, error)
	flags      func(*cobra.Command)
}

func faultVerbs() []faultVerb {
	kinds := func(k ...lab.FaultKind) []lab.FaultKind { return k }
	one, two := cobra.ExactArgs(1), cobra.ExactArgs(2)
	return []faultVerb{
		{use: "partition CLUSTER [CLUSTER]", short: "Cut two clusters apart, or one off from all others", args: cobra.RangeArgs(1, 2), kinds: kinds(lab.Partition), fault: between},
		{use: "cut-link REGION REGION", short: "Cut the link between two regions", args: two, kinds: kinds(lab.CutLink), fault: between},
		{use: "set-link REGION REGION", short: "Change the link between two regions", args: two, kinds: kinds(lab.SetLink), fault: changedLink, flags: linkFlags},
		{use: "restore-link REGION REGION", short: "Undo cut-link and set-link", args: two, undo: true, kinds: kinds(lab.CutLink, lab.SetLink), fault: between},
		{use: "fill-link REGION REGION", short: "Send more over the link between two regions than it takes", args: two, kinds: kinds(lab.FillLink), fault: filled, flags: fillFlags},
		{use: "drain-link REGION REGION", short: "Undo fill-link", args: two, undo: true, kinds: kinds(lab.FillLink), fault: between},
		{use: "remove-route FROM TO [CIDR]", short: "Take what leads to a cluster out of another's route table", args: cobra.RangeArgs(2, 3), kinds: kinds(lab.RemoveRoute), fault: routes},
		{use: "restore-route FROM TO [CIDR]", short: "Undo remove-route", args: cobra.RangeArgs(2, 3), undo: true, kinds: kinds(lab.RemoveRoute), fault: routes},
		{use: "close-rules FROM TO [PORT...]", short: "Withdraw what the rules admit from a cluster to another", args: cobra.MinimumNArgs(2), kinds: kinds(lab.CloseRules), fault: rules},
		{use: "open-rules FROM TO [PORT...]", short: "Undo close-rules", args: cobra.MinimumNArgs(2), undo: true, kinds: kinds(lab.CloseRules), fault: rules},
		{use: "remove-rule RULE", short: "Take the security rules of a name away", args: one, kinds: kinds(lab.RemoveRule), fault: named},
		{use: "restore-rule RULE", short: "Undo remove-rule", args: one, undo: true, kinds: kinds(lab.RemoveRule), fault: named},
		{use: "stop-node CLUSTER/NODE", short: "Cut a node's power", args: one, kinds: kinds(lab.StopNode), fault: node},
		{use: "start-node CLUSTER/NODE", short: "Undo stop-node", args: one, undo: true, kinds: kinds(lab.StopNode), fault: node},
		{use: "pause-node CLUSTER/NODE", short: "Halt a node as it is", args: one, kinds: kinds(lab.PauseNode), fault: node},
		{use: "resume-node CLUSTER/NODE", short: "Undo pause-node", args: one, undo: true, kinds: kinds(lab.PauseNode), fault: node},
		{use: "cordon-node CLUSTER/NODE", short: "Let nothing more be scheduled to a node of a cluster of yours, by Kubernetes' name", args: one, kinds: kinds(lab.CordonNode), fault: node},
		{use: "uncordon-node CLUSTER/NODE", short: "Undo cordon-node", args: one, undo: true, kinds: kinds(lab.CordonNode), fault: node},
		{use: "kill-component CLUSTER/COMPONENT", short: "Kill one component of a cluster's control plane: " + strings.Join(lab.Components, ", "), args: one, kinds: kinds(lab.KillComponent), fault: component},
		{use: "start-component CLUSTER/COMPONENT", short: "Undo kill-component", args: one, undo: true, kinds: kinds(lab.KillComponent), fault: component},
		{use: "stop-control-plane CLUSTER", short: "Kill a cluster's control plane", args: one, kinds: kinds(lab.StopControlPlane), fault: wholeCluster},
		{use: "start-control-plane CLUSTER", short: "Undo stop-control-plane", args: one, undo: true, kinds: kinds(lab.StopControlPlane), fault: wholeCluster},
	}
}

func between(_ *cobra.Command, args []string) (lab.Fault, error) {
	return lab.Fault{Between: args}, nil
}

func named(_ *cobra.Command, args []string) (lab.Fault, error) {
	return lab.Fault{Rule: args[0]}, nil
}

func wholeCluster(_ *cobra.Command, args []string) (lab.Fault, error) {
	return lab.Fault{Cluster: args[0]}, nil
}

func node(_ *cobra.Command, args []string) (f lab.Fault, err error) {
	f.Cluster, f.Node, err = cutSubject(args[0], "CLUSTER/NODE")
	return f, err
}

func component(_ *cobra.Command, args []string) (f lab.Fault, err error) {
	if f.Cluster, f.Component, err = cutSubject(args[0], "CLUSTER/COMPONENT"); err != nil {
		return f, err
	}
	if !slices.Contains(lab.Components, f.Component) {
		return f, fmt.Errorf("no component %s; there are %s", f.Component, strings.Join(lab.Components, ", "))
	}
	return f, nil
}

func cutSubject(arg, want string) (cluster, part string, err error) {
	cluster, part, ok := strings.Cut(arg, "/")
	if !ok || cluster == "" || part == "" {
		return "", "", fmt.Errorf("%q: want %s", arg, want)
	}
	return cluster, part, nil
}

func routes(_ *cobra.Command, args []string) (lab.Fault, error) {
	f := lab.Fault{From: args[0], To: args[1]}
	if len(args) > 2 {
		p, err := netip.ParsePrefix(args[2])
		if err != nil {
			return f, fmt.Errorf("%q is not a CIDR such as 10.10.0.0/16", args[2])
		}
		f.Destination = p.Masked()
	}
	return f, nil
}

func rules(_ *cobra.Command, args []string) (lab.Fault, error) {
	f := lab.Fault{From: args[0], To: args[1]}
	for _, a := range args[2:] {
		var p topologies.Port
		if err := p.UnmarshalText([]byte(a)); err != nil {
			return f, err
		}
		f.Ports = append(f.Ports, p)
	}
	return f, nil
}

func fillFlags(cmd *cobra.Command) {
	cmd.Flags().String("load", "", "what is sent, as a share of the link's rate; 110% when left out")
	cmd.Flags().Bool("one-way", false, "only from the first region to the second")
}

// filled reads fill-link's flags.
func filled(cmd *cobra.Command, args []string) (lab.Fault, error) {
	f := lab.Fault{Between: args, Load: lab.DefaultLoad}
	if oneWay, err := cmd.Flags().GetBool("one-way"); err != nil {
		return f, err
	} else if oneWay {
		f.Between, f.From, f.To = nil, args[0], args[1]
	}
	if text := cmd.Flag("load").Value.String(); text != "" {
		var r topologies.Ratio
		if err := r.UnmarshalText([]byte(text)); err != nil {
			return f, fmt.Errorf("--load: %w", err)
		}
		f.Load = float64(r)
	}
	return f, nil
}

func linkFlags(cmd *cobra.Command) {
	cmd.Flags().Duration("latency", 0, "delay, each way")
	cmd.Flags().Duration("rtt", 0, "round trip: twice the latency")
	cmd.Flags().Duration("jitter", 0, "standard deviation of the delay")
	cmd.Flags().String("loss", "", "share of packets lost, such as 2%")
	cmd.Flags().String("rate", "", "bits per second, such as 10Mbit; 0 is unlimited")
	cmd.Flags().Bool("one-way", false, "only from the first region to the second")
}

// changedLink reads set-link's flags; what is not given stays as planned.
func changedLink(cmd *cobra.Command, args []string) (lab.Fault, error) {
	f := lab.Fault{Between: args, Link: &lab.LinkChange{}}
	if oneWay, err := cmd.Flags().GetBool("one-way"); err != nil {
		return f, err
	} else if oneWay {
		f.Between, f.From, f.To = nil, args[0], args[1]
	}
	if cmd.Flags().Changed("latency") && cmd.Flags().Changed("rtt") {
		return f, fmt.Errorf("--rtt is twice --latency: give one of them")
	}
	for name, set := range map[string]func(time.Duration){
		"latency": func(d time.Duration) { f.Link.OneWay = &d },
		"rtt":     func(d time.Duration) { d /= 2; f.Link.OneWay = &d },
		"jitter":  func(d time.Duration) { f.Link.Jitter = &d },
	} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		d, err := cmd.Flags().GetDuration(name)
		if err != nil {
			return f, err
		}
		set(d)
	}
	if text := cmd.Flag("loss").Value.String(); text != "" {
		var r topologies.Ratio
		if err := r.UnmarshalText([]byte(text)); err != nil {
			return f, fmt.Errorf("--loss: %w", err)
		}
		loss := float64(r)
		f.Link.Loss = &loss
	}
	if text := cmd.Flag("rate").Value.String(); text != "" {
		var r topologies.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil {
			return f, fmt.Errorf("--rate: %w", err)
		}
		rate := uint64(r)
		f.Link.RateBps = &rate
	}
	if *f.Link == (lab.LinkChange{}) {
		return f, fmt.Errorf("what is to change? give --latency, --rtt, --jitter, --loss or --rate")
	}
	return f, nil
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
			if err := known(b, lab.Fault{Kind: lab.StopControlPlane, Cluster: args[0]}); err != nil {
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

// addFault puts a fault in force beside the others. It takes the place of one
// of its kind that is done to the same.
func (a *app) addFault(cmd *cobra.Command, name string, f lab.Fault) error {
	b, _, err := open(cmd.Context(), []string{name})
	if err != nil {
		return err
	}
	if err := known(b, f); err != nil {
		return usageError(err)
	}
	if f.Kind != lab.CordonNode { // of which the plan knows nothing
		if err := lab.CheckFaults(b.Plan(), []lab.Fault{f}); err != nil {
			return usageError(err)
		}
	}
	st, err := b.State(cmd.Context())
	if err != nil {
		return invalidError(err)
	}
	faults := slices.DeleteFunc(st.Faults, func(g lab.Fault) bool { return g.Kind == f.Kind && f.SameSubject(g) })
	faults = append(faults, f)
	if _, err := lab.Fills(b.Plan(), faults); err != nil {
		return usageError(err)
	}
	if err := b.Apply(cmd.Context(), faults); err != nil {
		if errors.Is(err, lab.ErrUnsupported) {
			return usageError(err)
		}
		return invalidError(err)
	}
	return a.printf("in force: %s\n", f)
}

// undoFault takes away what is in force of some kinds on a subject.
func (a *app) undoFault(cmd *cobra.Command, name string, f lab.Fault, kinds []lab.FaultKind) error {
	b, _, err := open(cmd.Context(), []string{name})
	if err != nil {
		return err
	}
	f.Kind = kinds[0]
	if err := known(b, f); err != nil {
		return usageError(err)
	}
	st, err := b.State(cmd.Context())
	if err != nil {
		return invalidError(err)
	}
	var gone, left []lab.Fault
	for _, g := range st.Faults {
		if slices.Contains(kinds, g.Kind) && f.SameSubject(g) {
			gone = append(gone, g)
		} else {
			left = append(left, g)
		}
	}
	if len(gone) == 0 {
		return usageError(fmt.Errorf("%s is not in force", f))
	}
	if err := b.Apply(cmd.Context(), left); err != nil {
		return invalidError(err)
	}
	for _, g := range gone {
		if err := a.printf("healed: %s\n", g); err != nil {
			return err
		}
	}
	return nil
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
		if name == "" || slices.Contains(names, name) {
			return nil
		}
		return fmt.Errorf("no %s %s; there are %s", what, name, strings.Join(names, ", "))
	}
	what, names := "cluster", clusters
	if f.Kind.OfLinks() {
		what, names = "region", regions
	}
	for _, n := range append(slices.Clone(f.Between), f.From, f.To) {
		if err := check(what, n, names); err != nil {
			return err
		}
	}
	if err := check("rule", f.Rule, plan.Topology.RuleNames()); err != nil {
		return err
	}
	if err := check("cluster", f.Cluster, clusters); err != nil || f.Node == "" || f.Kind == lab.CordonNode {
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
