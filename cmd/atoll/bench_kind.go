package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/images"
	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/bench"
	"github.com/atoll-dev/atoll/topologies"
)

// kindBench is what `bench kind` found.
type kindBench struct {
	Machine    bench.Machine `json:"machine"`
	Kubernetes string        `json:"kubernetes"`
	Clusters   int           `json:"clusters"`
	Rounds     []kindRound   `json:"rounds"`
	// Bare and Lab are medians of the rounds, Ratio that of the rounds' own.
	Bare    time.Duration `json:"bare"`
	Lab     time.Duration `json:"lab"`
	Ratio   float64       `json:"ratio"`
	Goal    float64       `json:"goal"`
	Reached bool          `json:"reached"`
}

// kindRound is both, one after the other.
type kindRound struct {
	LabFirst bool          `json:"labFirst"`
	Bare     time.Duration `json:"bare"` // all clusters ready
	Lab      time.Duration `json:"lab"`  // all clusters ready, and the WAN between them
	Ratio    float64       `json:"ratio"`
	Load     float64       `json:"load"` // before the round, 1 min
	// Steps are the lab's: of the same step in several clusters, the longest.
	Steps map[string]time.Duration `json:"steps"`
}

const (
	// kindGoal is what a lab may take, times what bare clusters take.
	kindGoal = 1.2
	// bareWait is how long kind waits for a control plane.
	bareWait = 180 * time.Second
	// benchLab is the lab's name.
	benchLab = "bench-kind"
)

func (a *app) benchKindCmd() *cobra.Command {
	var rounds, clusters int
	cmd := &cobra.Command{
		Use:   "kind",
		Short: "Hold a lab on kind against as many bare kind clusters (Docker)",
		Long: `Brings up single-node clusters with a WAN between them, and as many by
"kind create cluster --wait 180s", concurrently, in a process each, from the
same node image; in turns, in one run. Measures until all are ready.

The lab waits for more than kind does: for its links, for cluster DNS, and for
service accounts. Other load on the machine is in the figures; the load average
stands beside them.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 1 || clusters < 2 || clusters > 20 {
				return usageError(errors.New("want at least 1 round of 2 to 20 clusters"))
			}
			r, err := a.benchKind(cmd.Context(), rounds, clusters)
			if err != nil {
				return invalidError(err)
			}
			return a.print(r, func() error { return a.printf("%s", r.text()) })
		},
	}
	cmd.Flags().IntVar(&rounds, "rounds", 3, "bring both up this many times")
	cmd.Flags().IntVar(&clusters, "clusters", 3, "how many clusters at once")
	return cmd
}

// benchPlan is clusters of one node, and links between all of them.
func benchPlan(clusters int) (*sim.Plan, error) {
	var text, links strings.Builder
	fmt.Fprintf(&text, "apiVersion: %s\nkind: Topology\nmetadata: {name: %s}\nspec:\n  clusters:\n", topologies.APIVersion, benchLab)
	for i := range clusters {
		fmt.Fprintf(&text, "  - {name: c%d, region: r%d}\n", i+1, i+1)
		for j := range i {
			fmt.Fprintf(&links, "    - {between: [r%d, r%d], rtt: 20ms}\n", j+1, i+1)
		}
	}
	t, err := topologies.Parse(benchLab, []byte(text.String()+"  wan:\n    links:\n"+links.String()), nil)
	if err != nil {
		return nil, err
	}
	return sim.NewPlan(t, 1)
}

func (a *app) benchKind(ctx context.Context, rounds, clusters int) (r *kindBench, err error) {
	plan, err := benchPlan(clusters)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg := kind.Config{Self: self, Version: fixtures.Version, Programs: fixtures.Images()}
	// Under a name in the store: what is left after a crash, `atoll down` finds.
	store, err := lab.DefaultStore()
	if err != nil {
		return nil, err
	}
	dir, record, err := store.Create(benchLab, kind.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, kind.Cleanup(context.WithoutCancel(ctx), dir), store.Remove(record))
	}()
	b := &kindBench{Machine: bench.Describe(ctx), Kubernetes: plan.Clusters[0].Kubernetes, Clusters: clusters, Goal: kindGoal}

	bare := func(round *kindRound) error {
		var err error
		round.Bare, err = kind.Bare(ctx, cfg, plan, dir, bareWait)
		return errors.Join(err, kind.Cleanup(context.WithoutCancel(ctx), dir))
	}
	whole := func(round *kindRound) error {
		steps := map[string]time.Duration{}
		var log eventLog
		start := time.Now()
		backend, err := kind.New(cfg).Up(ctx, plan, lab.Options{Dir: dir, Events: log.keep})
		round.Lab = time.Since(start)
		if err != nil {
			return err
		}
		for _, e := range log.events() {
			if e.Status == lab.Done {
				steps[e.Step] = max(steps[e.Step], e.Elapsed)
			}
		}
		round.Steps = steps
		return backend.Down(context.WithoutCancel(ctx))
	}
	// What has to be had once is had before.
	needs, err := images.Needs(ctx, plan, fixtures.Version)
	if err != nil {
		return nil, err
	}
	maker, err := a.maker(ctx, images.Config{})
	if err != nil {
		return nil, err
	}
	if _, err := maker.Get(ctx, needs); err != nil {
		return nil, err
	}
	for i := range rounds {
		round := kindRound{LabFirst: i%2 == 1, Load: bench.Loads(ctx)[0]}
		turns := []func(*kindRound) error{bare, whole}
		if round.LabFirst {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(&round); err != nil {
				return nil, err
			}
		}
		round.Ratio = round.Lab.Seconds() / round.Bare.Seconds()
		a.line(fmt.Sprintf("round %d of %d: bare %.1f s, lab %.1f s, ratio %.2f", i+1, rounds, round.Bare.Seconds(), round.Lab.Seconds(), round.Ratio))
		b.Rounds = append(b.Rounds, round)
	}
	b.sum()
	b.Machine.LoadEnd = bench.Loads(ctx)
	return b, nil
}

func (b *kindBench) sum() {
	b.Bare = medianOf(b.Rounds, func(r kindRound) time.Duration { return r.Bare })
	b.Lab = medianOf(b.Rounds, func(r kindRound) time.Duration { return r.Lab })
	b.Ratio = medianOf(b.Rounds, func(r kindRound) float64 { return r.Ratio })
	b.Reached = b.Ratio <= b.Goal
}

// medianOf an odd number of values; of an even one, the upper of the middle two.
func medianOf[T ~int64 | ~float64](rounds []kindRound, value func(kindRound) T) T {
	var all []T
	for _, r := range rounds {
		all = append(all, value(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (b *kindBench) text() string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s\n%d single-node clusters at once, Kubernetes %s, seconds until ready\n\n", b.Machine, b.Clusters, b.Kubernetes)
	fmt.Fprintf(&t, "%8s%14s%14s%8s%8s\n", "round", "bare kind", "lab with WAN", "ratio", "load")
	for i, r := range b.Rounds {
		fmt.Fprintf(&t, "%8d%14.1f%14.1f%8.2f%8.1f\n", i+1, r.Bare.Seconds(), r.Lab.Seconds(), r.Ratio, r.Load)
	}
	fmt.Fprintf(&t, "%8s%14.1f%14.1f%8.2f\n\nThe lab's steps (several at once; of the same step in several clusters, the longest)\n", "median", b.Bare.Seconds(), b.Lab.Seconds(), b.Ratio)
	names := map[string]bool{}
	for _, r := range b.Rounds {
		for s := range r.Steps {
			names[s] = true
		}
	}
	for _, s := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&t, "  %-14s%.1f\n", s, medianOf(b.Rounds, func(r kindRound) time.Duration { return r.Steps[s] }).Seconds())
	}
	mark := "ok  "
	if !b.Reached {
		mark = "MISS"
	}
	fmt.Fprintf(&t, "\nGoal\n  %s ratio of the lab to bare clusters   want ≤ %.1f   got %.2f\n", mark, b.Goal, b.Ratio)
	return t.String()
}
