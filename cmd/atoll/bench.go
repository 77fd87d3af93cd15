package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/sim/bench"
)

func (a *app) benchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what this machine makes of atoll",
	}
	cmd.AddCommand(a.benchWANCmd(), a.benchKindCmd())
	return cmd
}

func (a *app) benchWANCmd() *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "wan",
		Short: "Hold the WAN's drivers against kernel forwarding (Linux, root)",
		Long: `Measures kernel forwarding, the WAN engine behind a TUN device, netem where the
kernel has it, and Toxiproxy, interleaved in one run, in network namespaces of
its own: throughput, small packets, CPU, delay error, memory.

Takes about 40 seconds a round. Other load on the machine is in the figures;
the load average stands beside them.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return usageError(err)
			}
			if !a.quiet {
				o.Progress = func(what string) { fmt.Fprintln(a.stderr, what) }
			}
			r, err := bench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.print(r, func() error { return r.Text(a.stdout) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Rounds, "rounds", 5, "measure everything this many times")
	f.BoolVar(&o.Quick, "quick", false, "only look whether everything works; the figures are worth nothing")
	f.StringVar(&o.Profile, "profile", "", "write a CPU profile of the engine's process to this file")
	f.StringSliceVar(&o.Only, "only", nil, "drivers to hold against kernel forwarding: "+strings.Join(bench.Drivers(), ", "))
	f.StringSliceVar(&o.Measure, "measure", nil, "what to measure: "+strings.Join(bench.Groups(), ", "))
	return cmd
}
