package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// Manifests returns the text of a workload's manifest for one of the clusters
// it goes to directly, or for the hub when cluster is empty.
type Manifests func(w *topologies.Workload, cluster string) ([]byte, error)

// Predict fills in the plan's predictions. NewPlan has done so already; who
// knows the library's manifests calls it again with them, for predictions that
// hang on what replicas and weights a library workload begins with. With nil,
// only the workloads that bring their objects are known.
func (p *Plan) Predict(manifests Manifests) error {
	table, err := p.WAN.Compile()
	if err != nil {
		return fmt.Errorf("plan %s: %w", p.Name, err)
	}
	if manifests == nil {
		manifests = func(w *topologies.Workload, _ string) ([]byte, error) { return w.Objects, nil }
	}
	f := forecast{plan: p, table: table, deployed: map[string]*deployed{}}
	for i := range p.Topology.Spec.Workloads {
		w := &p.Topology.Spec.Workloads[i]
		d, err := f.begin(w, manifests)
		if err != nil {
			return fmt.Errorf("plan %s: workload %s: %w", p.Name, w.Name, err)
		}
		f.deployed[w.Name] = d
	}
	p.Predictions = nil
	for i := range p.Topology.Spec.Scenarios {
		p.Predictions = append(p.Predictions, f.scenario(i, &p.Topology.Spec.Scenarios[i]))
	}
	return nil
}

// forecast goes through the scenarios in the file's order: what one leaves
// behind, the next begins with.
type forecast struct {
	plan     *Plan
	table    *wan.Table
	deployed map[string]*deployed // by workload
}

func (f *forecast) scenario(i int, s *topologies.Scenario) Prediction {
	p := Prediction{Scenario: s.Name}
	switch {
	case s.Peering != nil:
		f.peering(&p, i, s.Peering)
	case s.Placement != nil:
		f.placement(&p, s.Placement)
	case s.Traffic != nil:
		f.traffic(&p, s.Traffic)
	case s.NodeFailure != nil:
		if c := f.plan.Cluster(s.NodeFailure.Cluster); c != nil {
			t := f.plan.TimersOf(c)
			p.NotReady, p.Replaced = t.NotReady(), t.Replaced()
		}
	case s.AgentPartition != nil:
		f.agentPartition(&p, s.AgentPartition)
	case s.Running != nil:
		p.Running = f.running(s.Running.Workload)
	case s.Proxies != nil:
		p.Proxies = f.proxies()
	case s.Firewall != nil:
		p.Passes = f.passes(s.Firewall)
	case s.Shop != nil:
		f.shop(&p, s.Shop)
	}
	return p
}

// rtt returns the round trip between the first control-plane nodes of two
// clusters, from the delays of the links alone; ok is false where packets do
// not go both ways.
func (f *forecast) rtt(a, b *Cluster) (d time.Duration, ok bool) {
	there, cause := f.table.OneWay(a.Nodes[0].Addr, b.Nodes[0].Addr)
	if cause != wan.Delivered {
		return 0, false
	}
	back, cause := f.table.OneWay(b.Nodes[0].Addr, a.Nodes[0].Addr)
	if cause != wan.Delivered {
		return 0, false
	}
	return there + back, true
}

func pairName(a, b string) string { return a + "→" + b }

func (f *forecast) peering(p *Prediction, index int, s *topologies.PeeringScenario) {
	clusters := f.plan.Clusters
	ports := f.ports()
	p.Reachable = map[string]map[string]bool{}
	peered := map[[2]string]bool{}
	for _, pe := range f.plan.WAN.Peerings {
		peered[[2]string{pe.A, pe.B}], peered[[2]string{pe.B, pe.A}] = true, true
	}
	var talking [][]string
	for i := range clusters {
		for j := range clusters {
			a, b := &clusters[i], &clusters[j]
			if i == j {
				continue
			}
			d, ok := f.rtt(a, b)
			if ok {
				if p.RTT == nil {
					p.RTT = map[string]time.Duration{}
				}
				p.RTT[pairName(a.Name, b.Name)] = d
			}
			answers := map[string]bool{}
			some := false
			for _, port := range ports {
				yes := ok && f.table.Admits(a.Name, b.Name, Port(port))
				answers[port.String()] = yes
				some = some || yes
			}
			p.Reachable[pairName(a.Name, b.Name)] = answers
			if some && i < j && peered[[2]string{a.Name, b.Name}] {
				talking = append(talking, []string{a.Name, b.Name})
			}
		}
	}
	switch {
	case s.Cut != nil:
		p.Cut = slices.Clone(s.Cut)
	case len(talking) > 0:
		rng := rand.New(rand.NewPCG(f.plan.Seed, uint64(index)))
		p.Cut = talking[rng.IntN(len(talking))]
	}
}

// ports returns the ports that a rule or the stack names.
func (f *forecast) ports() []topologies.Port {
	spec := &f.plan.Topology.Spec
	ports := []topologies.Port{{Protocol: "icmp"}, {Protocol: "tcp", Number: APIServerPort}}
	add := func(p topologies.Port) {
		if !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	if f.plan.Hub != nil {
		add(topologies.Port{Protocol: "tcp", Number: HubPort})
	}
	if f.plan.MeshNetworks() > 1 {
		add(topologies.Port{Protocol: "tcp", Number: MeshPort})
	}
	for _, r := range spec.WAN.Rules {
		if ofRanges(r) {
			continue // asked from node to node, it could not be told
		}
		for _, p := range r.Allow {
			if p.Number != 0 || p.Protocol == "icmp" { // every port is too many to try
				add(p)
			}
		}
	}
	return ports
}

// ofRanges tells whether a rule is for parts of clusters only.
func ofRanges(r topologies.Rule) bool {
	for _, end := range slices.Concat(r.From, r.To) {
		if _, part := topologies.EndOf(end); part != "" {
			return true
		}
	}
	return false
}

// placement goes through the steps; replicas and weights that a step leaves
// out stay as they were.
func (f *forecast) placement(p *Prediction, s *topologies.PlacementScenario) {
	d := f.deployed[s.Workload]
	if d == nil {
		d = &deployed{}
		f.deployed[s.Workload] = d
	}
	for _, step := range s.Steps {
		if step.Replicas != nil {
			n := *step.Replicas
			d.replicas = &n
		}
		if step.Weights != nil {
			d.weigh(step.Weights)
		}
		d.divide()
		p.Placements = append(p.Placements, d.divisions)
	}
}

// agentPartition changes the workload meanwhile, but puts it back as it was.
func (f *forecast) agentPartition(p *Prediction, s *topologies.AgentPartitionScenario) {
	if f.plan.Hub == nil {
		return
	}
	hub, c := f.plan.Cluster(f.plan.Hub.Cluster), f.plan.Cluster(s.Cluster)
	if c == nil || hub == c {
		return
	}
	if d, ok := f.rtt(c, hub); ok {
		p.ClusterNotReady = f.plan.Timers.ClusterNotReady(d)
	}
}
