package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
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
	case s.Change != nil:
		f.change(&p, i, s.Change)
	case s.SiteFailure != nil:
		f.siteFailure(&p, s.SiteFailure)
	case s.Quorum != nil:
		f.quorum(&p, s.Quorum)
	case s.Congestion != nil:
		p.Queueing = f.queueing(s.Congestion)
	case s.Schedule != nil:
		p.Phases = f.phases(s.Schedule)
	}
	return p
}

// rtt returns the round trip between the first control-plane nodes of two
// clusters, from the delays of the links alone; ok is false where packets do
// not go both ways.
func (f *forecast) rtt(a, b *Cluster) (d time.Duration, ok bool) {
	there, cause := f.table.OneWay(a.Nodes[0].WANAddr(), b.Nodes[0].WANAddr())
	if cause != wan.Delivered {
		return 0, false
	}
	back, cause := f.table.OneWay(b.Nodes[0].WANAddr(), a.Nodes[0].WANAddr())
	if cause != wan.Delivered {
		return 0, false
	}
	return there + back, true
}

func pairName(a, b string) string { return a + "→" + b }

func (f *forecast) peering(p *Prediction, index int, s *topologies.PeeringScenario) {
	ports := f.ports(s.Ports)
	p.Reachable = f.reachable(ports)
	for _, a := range f.plan.Clusters {
		for _, b := range f.plan.Clusters {
			if d, ok := f.rtt(&a, &b); ok && a.Name != b.Name {
				if p.RTT == nil {
					p.RTT = map[string]time.Duration{}
				}
				p.RTT[pairName(a.Name, b.Name)] = d
			}
		}
	}
	talking := f.talking(p.Reachable)
	switch {
	case s.Cut != nil:
		p.Cut = slices.Clone(s.Cut)
	case len(talking) > 0:
		rng := rand.New(rand.NewPCG(f.plan.Seed, uint64(index)))
		p.Cut = talking[rng.IntN(len(talking))]
	}
	if s.RemoveRoute != nil {
		f.withoutRoute(p, ports, s.RemoveRoute)
	}
}

// reachable tells for each ordered pair of clusters which ports answer.
func (f *forecast) reachable(ports []topologies.Port) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, a := range f.plan.Clusters {
		for _, b := range f.plan.Clusters {
			if a.Name == b.Name {
				continue
			}
			_, ok := f.rtt(&a, &b)
			answers := map[string]bool{}
			for _, port := range ports {
				answers[port.String()] = ok && f.table.Admits(a.Name, b.Name, Port(port))
			}
			out[pairName(a.Name, b.Name)] = answers
		}
	}
	return out
}

// talking are the peered pairs of which the first, in the file's order, gets
// some answer from the second.
func (f *forecast) talking(reachable map[string]map[string]bool) (pairs [][]string) {
	peered := map[[2]string]bool{}
	for _, pe := range f.plan.WAN.Peerings {
		peered[[2]string{pe.A, pe.B}], peered[[2]string{pe.B, pe.A}] = true, true
	}
	for i, a := range f.plan.Clusters {
		for _, b := range f.plan.Clusters[i+1:] {
			some := false
			for _, yes := range reachable[pairName(a.Name, b.Name)] {
				some = some || yes
			}
			if some && peered[[2]string{a.Name, b.Name}] {
				pairs = append(pairs, []string{a.Name, b.Name})
			}
		}
	}
	return pairs
}

// withoutRoute predicts what is left while a route table lacks what leads to
// another cluster: no answer either way, since replies need a route too, but
// packets of the other direction still arrive.
func (f *forecast) withoutRoute(p *Prediction, ports []topologies.Port, d *topologies.Direction) {
	policy := f.plan.WAN.WithoutRoute(d.From, d.To, netip.Prefix{})
	table, err := policy.Compile()
	if err != nil {
		return // as the plan's own WAN compiles, so does this
	}
	then := forecast{plan: f.plan, table: table}
	p.WithoutRoute = then.reachable(ports)
	p.Crosses = map[string]bool{}
	for _, way := range [][2]string{{d.From, d.To}, {d.To, d.From}} {
		a, b := f.plan.Cluster(way[0]), f.plan.Cluster(way[1])
		_, cause := table.OneWay(a.Nodes[0].Addr, b.Nodes[0].Addr)
		p.Crosses[pairName(a.Name, b.Name)] = cause == wan.Delivered
	}
}

// ports returns the ports that a rule or the stack names, and others.
func (f *forecast) ports(others []topologies.Port) []topologies.Port {
	spec := &f.plan.Topology.Spec
	ports := []topologies.Port{{Protocol: "icmp"}, {Protocol: "tcp", Number: APIServerPort}}
	add := func(p topologies.Port) {
		if !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	if f.plan.Hub != nil {
		add(topologies.Port{Protocol: "tcp", Number: f.plan.Hub.Addr.Port()})
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
	for _, p := range others {
		add(p)
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

// agentPartition changes the workload meanwhile, but puts it back as it was.
func (f *forecast) agentPartition(p *Prediction, s *topologies.AgentPartitionScenario) {
	if f.plan.Hub == nil {
		return
	}
	hub, c := f.plan.Cluster(f.plan.Hub.Cluster), f.plan.Cluster(s.Cluster)
	if c == nil || hub == c {
		return
	}
	switch d, ok := f.rtt(c, hub); {
	case ok && f.plan.Push():
		p.ClusterNotReady = f.plan.Timers.ClusterNotAnswering(f.plan.BuiltinHub())
	case ok:
		p.ClusterNotReady = f.plan.Timers.ClusterNotReady(d)
	}
}
