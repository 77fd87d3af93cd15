package main

import (
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/bench"
)

func TestBenchPlanJoinsEveryPair(t *testing.T) {
	plan, err := benchPlan(4)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Clusters) != 4 || len(plan.WAN.Links) != 12 {
		t.Errorf("%d clusters, %d directed links", len(plan.Clusters), len(plan.WAN.Links))
	}
	if plan.Hub != nil || len(plan.Topology.Spec.Workloads) > 0 {
		t.Error("bare clusters have no stack and no workloads; neither may the lab")
	}
}

func TestKindBenchTable(t *testing.T) {
	b := &kindBench{Machine: bench.Machine{CPU: "a CPU", Cores: 2}, Kubernetes: "v1.36.3", Clusters: 3, Goal: kindGoal}
	for _, r := range [][2]time.Duration{{30, 45}, {40, 44}, {35, 42}} { // ratios 1.5, 1.1, 1.2
		b.Rounds = append(b.Rounds, kindRound{
			Bare: r[0] * time.Second, Lab: r[1] * time.Second, Ratio: r[1].Seconds() / r[0].Seconds(),
			Steps: map[string]time.Duration{"WAN": r[0] * time.Second / 10},
		})
	}
	b.sum()
	if b.Bare != 35*time.Second || b.Lab != 44*time.Second || b.Ratio != 1.2 || !b.Reached {
		t.Errorf("bare %v, lab %v, ratio %v, reached %v", b.Bare, b.Lab, b.Ratio, b.Reached)
	}
	text := b.text()
	for _, want := range []string{"a CPU, 2 cores", "35.0          44.0    1.20", "WAN           3.5", "ok   ratio"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
