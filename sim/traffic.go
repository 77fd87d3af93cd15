package sim

import (
	"net/url"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// traffic predicts who answers: requests spread over the endpoints that the
// caller's cluster knows, each alike.
func (f *forecast) traffic(p *Prediction, s *topologies.TrafficScenario) {
	cluster, _, _ := strings.Cut(s.From, "/")
	from, d := f.plan.Cluster(cluster), f.service(s.To)
	if from == nil || d == nil {
		return
	}
	visible, ok := f.visible(from)
	if !ok {
		return
	}
	for _, division := range d.divisions {
		total := 0
		for _, c := range visible {
			total += division[c]
		}
		shares := map[string]float64{}
		for _, c := range visible {
			if n := division[c]; n > 0 {
				shares[c] = float64(n) / float64(total)
			}
		}
		p.Possible = append(p.Possible, shares)
	}
	if len(p.Possible) == 1 {
		p.Shares, p.Possible = p.Possible[0], nil
	}
	for _, name := range visible {
		to := f.plan.Cluster(name)
		if to.stretched() || from.stretched() {
			continue // it hangs on the nodes that the pods are on
		}
		l := Latency{}
		if to != from {
			d, _ := f.rtt(from, to)
			l = Latency{Warm: d, Cold: 3 * d}
		}
		if p.Latency == nil {
			p.Latency = map[string]Latency{}
		}
		p.Latency[name] = l
	}
}

// service finds the workload behind a URL, nil if there is not just one.
func (f *forecast) service(to string) *deployed {
	u, err := url.Parse(to)
	if err != nil {
		return nil
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	var found *deployed
	for _, d := range f.deployed {
		if slices.Contains(d.services, name) {
			if found != nil {
				return nil
			}
			found = d
		}
	}
	return found
}

// visible returns the clusters whose endpoints a caller in from is sent to;
// ok is false where that does not follow from the plan.
func (f *forecast) visible(from *Cluster) (names []string, ok bool) {
	names = []string{from.Name}
	mesh := f.plan.Topology.Spec.Stack.Mesh
	if mesh == nil || !slices.Contains(mesh.On, from.Name) {
		return names, true // no one tells it of the others
	}
	if mesh.Layout != topologies.MultiPrimary {
		return nil, false
	}
	for _, name := range mesh.On {
		to := f.plan.Cluster(name)
		if to == nil || to == from {
			continue
		}
		_, there := f.rtt(from, to)
		known := there && f.table.Admits(from.Name, name, wan.Port{Protocol: wan.TCP, Number: APIServerPort})
		if !known {
			continue // its API server cannot be watched
		}
		if to.Network == from.Network || !f.table.Admits(from.Name, name, wan.Port{Protocol: wan.TCP, Number: MeshPort}) {
			// Called directly, on ports that the plan does not know; or
			// known, and its gateway out of reach.
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// stretched tells whether the cluster has nodes in more than one region.
func (c *Cluster) stretched() bool {
	for _, n := range c.Nodes {
		if n.Region != c.Nodes[0].Region {
			return true
		}
	}
	return false
}
