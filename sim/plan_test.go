package sim

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// TestPlans plans each topology of testdata/plans and compares the
// description; -rewrite writes it anew.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata/plans", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var (
				topology *topologies.Topology
				err      error
			)
			switch d.Cmd {
			case "library":
				topology, err = topologies.FromLibrary(d.CmdArgs[0].Key)
			case "topology":
				topology, err = topologies.Parse(path, []byte(d.Input), nil)
			default:
				t.Fatalf("no such command: %s", d.Cmd)
			}
			if err != nil {
				return fmt.Sprintf("error: %v\n", err)
			}
			plan, err := NewPlan(topology, 1)
			if err != nil {
				return fmt.Sprintf("error: %v\n", err)
			}
			if _, err := wan.New(plan.WAN, plan.Seed); err != nil {
				t.Errorf("the engine refuses the plan: %v", err)
			}
			roundTrip(t, plan)
			var out []string
			for _, line := range strings.Split(plan.String(), "\n") {
				if line != "" { // a blank line ends the expectation
					out = append(out, strings.TrimRight(line, " "))
				}
			}
			return strings.Join(out, "\n") + "\n"
		})
	})
}

// roundTrip checks that JSON loses nothing.
func roundTrip(t *testing.T, plan *Plan) {
	t.Helper()
	first, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan, &again) {
		second, _ := json.MarshalIndent(&again, "", " ")
		t.Errorf("JSON changes the plan %s to\n%s", first, second)
	}
	if plan.String() != again.String() {
		t.Error("the description differs after JSON")
	}
	// And the same topology and seed give the same plan.
	same, err := NewPlan(plan.Topology, plan.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan, same) {
		t.Error("planned twice, the plans differ")
	}
}

// What is not known when the plan is made is known with the library's manifests.
func TestPredictWithManifests(t *testing.T) {
	topology, err := topologies.FromLibrary("three-regions")
	if err != nil {
		t.Fatal(err)
	}
	topology.Spec.Scenarios = []topologies.Scenario{
		{Name: "t", Traffic: &topologies.TrafficScenario{From: "us/sleep", To: "http://hello:5000"}},
		{Name: "p", Placement: &topologies.PlacementScenario{Workload: "hello", Steps: []topologies.PlacementStep{{Weights: map[string]int64{"eu": 1}}}}},
	}
	plan, err := NewPlan(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	if p := plan.Prediction("t"); p.Shares != nil || p.Possible != nil {
		t.Errorf("guessed %v %v", p.Shares, p.Possible)
	}
	if p := plan.Prediction("p"); p.Placements[0] != nil {
		t.Errorf("guessed %v", p.Placements)
	}

	const deployment = `
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: hello}, spec: {replicas: 4}}
- {apiVersion: v1, kind: Service, metadata: {name: hello}}
- {apiVersion: example.com/v1, kind: Odd, metadata: {name: odd}, spec: {replicas: many, placement: here}}
- {apiVersion: v1, kind: Service, metadata: [a, list]}
`
	for name, c := range map[string]struct {
		policy     string
		shares     map[string]float64
		placements []map[string]int
	}{
		"no policy": {"", nil, []map[string]int{{"eu": 4}}}, // another workload may bring it
		"static weights": {`
  placement:
    clusterAffinity: {clusterNames: [eu, us]}
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [eu, ap]}, weight: 3}, {targetCluster: {clusterNames: [us]}, weight: 1}]}`,
			map[string]float64{"eu": 0.75, "us": 0.25}, []map[string]int{{"eu": 4}}},
		"static weights, the rest left out": {`
  placement:
    clusterAffinity: {clusterNames: [eu, us]}
    replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [eu]}, weight: 3}, {targetCluster: {clusterNames: [us]}, weight: 1}]}}`,
			map[string]float64{"eu": 0.75, "us": 0.25}, []map[string]int{{"eu": 4}}},
		"duplicated": {`
  placement: {clusterAffinity: {clusterNames: [eu, us]}}`,
			map[string]float64{"eu": 0.5, "us": 0.5}, []map[string]int{{"eu": 4}}},
		"by label": {`
  placement: {clusterAffinity: {labelSelector: {matchLabels: {a: b}}}}`, nil, []map[string]int{{"eu": 4}}},
		"dynamic": {`
  placement: {replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, weightPreference: {dynamicWeight: AvailableReplicas}}}`,
			nil, []map[string]int{{"eu": 4}}},
		"outside the affinity": {`
  placement: {clusterAffinity: {clusterNames: [ap]}}`,
			map[string]float64{"ap": 1}, []map[string]int{{"ap": 4}}}, // no weight is left, so all in it are alike
	} {
		t.Run(name, func(t *testing.T) {
			text := deployment
			if c.policy != "" {
				text += "---\napiVersion: policy.karmada.io/v1alpha1\nkind: PropagationPolicy\nmetadata: {name: p}\nspec:\n  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: hello}]" + c.policy
			}
			err := plan.Predict(func(w *topologies.Workload, _ string) ([]byte, error) {
				if w.Name == "hello" {
					return []byte(text), nil
				}
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.Prediction("t").Shares; !reflect.DeepEqual(got, c.shares) {
				t.Errorf("shares: got %v, want %v", got, c.shares)
			}
			got := plan.Prediction("p").Placements[0]
			if !reflect.DeepEqual(got, c.placements) {
				t.Errorf("placements: got %v, want %v", got, c.placements)
			}
		})
	}

	if err := plan.Predict(func(*topologies.Workload, string) ([]byte, error) { return []byte("{"), nil }); err == nil {
		t.Error("a manifest that is not YAML was read")
	}
}

// What the loader would have refused is an error, not a panic.
func TestNewPlanRefuses(t *testing.T) {
	prefix := func(s string) topologies.Prefix {
		if s == "" {
			return topologies.Prefix{}
		}
		return topologies.Prefix{Prefix: netip.MustParsePrefix(s)}
	}
	cluster := func(nodes, pods, services string, count int) *topologies.Topology {
		return &topologies.Topology{Spec: topologies.Spec{Clusters: []topologies.Cluster{{
			Name: "c", Region: "r",
			CIDRs: topologies.CIDRs{Nodes: prefix(nodes), Pods: prefix(pods), Services: prefix(services)},
			Nodes: []topologies.NodeGroup{{Role: topologies.ControlPlane, Count: count}},
		}}}}
	}
	for name, c := range map[string]struct {
		topology *topologies.Topology
		want     string
	}{
		"nothing":        {nil, "no topology"},
		"no ranges":      {cluster("", "", "", 1), "the nodes range invalid Prefix is not an IPv4 range"},
		"IPv6":           {cluster("fd00::/64", "10.1.0.0/16", "10.2.0.0/16", 1), "is not an IPv4 range"},
		"no nodes":       {cluster("10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16", 0), "no control-plane node"},
		"tiny nodes":     {cluster("10.0.0.0/31", "10.1.0.0/16", "10.2.0.0/16", 1), "too small"},
		"too many nodes": {cluster("10.0.0.0/28", "10.1.0.0/16", "10.2.0.0/16", 11), "no address for node control-plane-11"},
		"tiny pods":      {cluster("10.0.0.0/24", "10.1.0.0/31", "10.2.0.0/16", 4), "too small for 4 nodes"},
		"tiny services":  {cluster("10.0.0.0/24", "10.1.0.0/16", "10.2.0.0/29", 1), "too small"},
		"overlap":        {overlapping(), "belongs to"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewPlan(c.topology, 1); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}

func overlapping() *topologies.Topology {
	p := func(s string) topologies.Prefix { return topologies.Prefix{Prefix: netip.MustParsePrefix(s)} }
	c := topologies.Cluster{
		Name: "a", Region: "r", Nodes: []topologies.NodeGroup{{Role: topologies.ControlPlane, Count: 1}},
		CIDRs: topologies.CIDRs{Nodes: p("10.0.0.0/16"), Pods: p("10.1.0.0/16"), Services: p("10.2.0.0/16")},
	}
	d := c
	d.Name = "b"
	return &topologies.Topology{Spec: topologies.Spec{Clusters: []topologies.Cluster{c, d}}}
}

// Every node's addresses are its own, and the WAN knows where they are.
func TestAddressLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 40).Draw(t, "nodes")
		nodeBits := rapid.IntRange(16, 25).Draw(t, "node bits")
		podBits := rapid.IntRange(12, 20).Draw(t, "pod bits")
		away := rapid.IntRange(0, nodes-1).Draw(t, "away")
		c := topologies.Cluster{
			Name: "c", Region: "home",
			CIDRs: topologies.CIDRs{
				Nodes:    topologies.Prefix{Prefix: netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), nodeBits)},
				Pods:     topologies.Prefix{Prefix: netip.PrefixFrom(netip.MustParseAddr("10.64.0.0"), podBits)},
				Services: topologies.Prefix{Prefix: netip.MustParsePrefix("10.128.0.0/16")},
			},
			Nodes: []topologies.NodeGroup{
				{Role: topologies.ControlPlane, Count: nodes - away, Region: "home"},
				{Role: topologies.Worker, Count: away, Region: "away"},
			},
		}
		plan, err := NewPlan(&topologies.Topology{Spec: topologies.Spec{Clusters: []topologies.Cluster{c}}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		table, err := plan.WAN.Compile()
		if err != nil {
			t.Fatal(err)
		}
		got := plan.Clusters[0]
		if len(got.Nodes) != nodes || !got.NodeCIDR.Contains(got.LBCIDR.Addr()) {
			t.Fatalf("%d nodes, load balancers %v", len(got.Nodes), got.LBCIDR)
		}
		for i, n := range got.Nodes {
			if !got.NodeCIDR.Contains(n.Addr) || got.LBCIDR.Contains(n.Addr) {
				t.Fatalf("%s at %v", n.Name, n.Addr)
			}
			if !got.PodCIDR.Contains(n.PodCIDR.Addr()) || n.PodCIDR != n.PodCIDR.Masked() {
				t.Fatalf("%s has pods %v", n.Name, n.PodCIDR)
			}
			for _, m := range got.Nodes[:i] {
				if m.Addr == n.Addr || m.PodCIDR.Overlaps(n.PodCIDR) || m.Name == n.Name {
					t.Fatalf("%v and %v meet", m, n)
				}
			}
			for _, a := range []netip.Addr{n.Addr, n.PodCIDR.Addr().Next()} {
				if cluster, region, ok := table.Site(a); !ok || cluster != "c" || region != n.Region {
					t.Fatalf("%v of %s is in %s %s", a, n.Name, cluster, region)
				}
			}
		}
	})
}

// The bounds that the timers give hold what was measured on real clusters.
func TestTimers(t *testing.T) {
	within := func(w Window, d time.Duration) bool { return w[0] <= d && d <= w[1] }
	old := NewTimers(topologies.TimersDefault, "v1.31.9")
	if d := 41 * time.Second; !within(old.NotReady(), d) {
		t.Errorf("%v is outside %v", d, old.NotReady())
	}
	if d := 350 * time.Second; !within(NewTimers(topologies.TimersDefault, "v1.36.3").Replaced(), d) {
		t.Errorf("%v is outside", d)
	}
	short := NewTimers(topologies.TimersShort, "v1.31.0")
	if d := 6200 * time.Millisecond; !within(short.NotReady(), d) {
		t.Errorf("%v is outside %v", d, short.NotReady())
	}
	if short.NodeMonitorGrace != 6*time.Second {
		t.Error("the version changes the short timers")
	}
	for v, want := range map[string]time.Duration{"v1.31.4": 40, "1.32.0": 50, "v1.36.3": 50, "": 50, "latest": 50} {
		if got := NewTimers(topologies.TimersDefault, v).NodeMonitorGrace; got != want*time.Second {
			t.Errorf("%s: grace %v, want %ds", v, got, want)
		}
	}
	if w := short.ClusterNotReady(time.Minute); w[0] != 0 || w[1] < time.Minute {
		t.Errorf("a long way: %v", w)
	}
	// Push mode: a real Karmada waits for an answer longer than its thresholds.
	if w, limit := short.ClusterNotAnswering(true), 12*time.Second; w[0] != 5*time.Second || w[1] > limit {
		t.Errorf("built-in: %v, want from 5s, and before %v", w, limit)
	}
	if w := short.ClusterNotAnswering(false); w[0] != 5*time.Second || w[1] != 136*time.Second {
		t.Errorf("Karmada: %v, want from 5s to 136s", w)
	}
}
