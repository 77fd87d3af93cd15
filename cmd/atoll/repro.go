package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/topologies"
)

func (a *app) reproCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repro",
		Short: "Hand a world and what happened in it to someone else, in one file",
		Args:  usageArgs(cobra.NoArgs),
	}
	var out string
	mk := &cobra.Command{
		Use:   "make RESULTS",
		Short: "Make a bundle of a results.json, or of the folder it is in",
		Long: `Make a bundle of a results.json: the topology with its manifests, the plan, the
seed, the versions, the timers, the faults and when they were done, and the
results. It holds no secrets: no kubeconfig, no certificate, no log.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readResult(args[0])
			if err != nil {
				return usageError(err)
			}
			rep, err := reports.NewReproduction(r)
			if err != nil {
				return usageError(err)
			}
			data, err := rep.Marshal()
			if err != nil {
				return err
			}
			if out == "" {
				out = r.Topology + ".repro.json"
			}
			if err := os.WriteFile(out, data, 0o644); err != nil {
				return err
			}
			return a.printf("%s; `atoll repro run %s` brings the same world up and compares\n", out, out)
		},
	}
	mk.Flags().StringVar(&out, "file", "", "where to write it; NAME.repro.json when left out")

	var prov string
	var tf testFlags
	runIt := &cobra.Command{
		Use:   "run FILE",
		Short: "Bring a bundle's world up, run its scenarios, and compare with what it recorded",
		Long: `Bring a bundle's world up, run its scenarios, and compare with what it recorded.
Exit code 0: every scenario ended as it was recorded, failures included;
1: one ended otherwise.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return usageError(err)
			}
			rec, err := reports.ParseReproduction(data)
			if err != nil {
				return usageError(fmt.Errorf("%s: %w", args[0], err))
			}
			pf := planFlags{seed: rec.Seed}
			var t topologies.Topology
			if err := json.Unmarshal(rec.Topology, &t); err != nil {
				return usageError(fmt.Errorf("%s: topology: %w", args[0], err))
			}
			plan, err := pf.planOf(&t)
			if err != nil {
				return err
			}
			p, err := provider(prov)
			if err != nil {
				return err
			}
			tf.invert, tf.command = rec.Inverted, []string{"atoll", "repro", "run", args[0]}
			result, err := a.runPlan(cmd.Context(), p, plan, &tf, nil, false)
			if result == nil || result.Invalid != "" || cmd.Context().Err() != nil {
				return err // nothing to compare
			}
			differences := rec.Compare(result)
			for _, d := range differences {
				a.printf("differs: %s\n", d)
			}
			if len(differences) > 0 {
				return &codedError{code: exitFailed, silent: true, err: errors.New("not reproduced")}
			}
			return a.printf("reproduced: %d scenarios ended as recorded\n", len(result.Scenarios))
		},
	}
	addProvider(runIt.Flags(), &prov)
	runIt.Flags().StringVar(&tf.reports, "reports", "", "write reports to this folder")
	cmd.AddCommand(mk, runIt)
	return cmd
}
