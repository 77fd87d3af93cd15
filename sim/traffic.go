package sim

import (
	"net/url"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// traffic predicts who answers: requests spread over the endpoints that the
// caller's cluster knows, each alike. A caller that the hub places may be in
// several clusters.
func (f *forecast) traffic(p *Prediction, s *topologies.TrafficScenario) {
	d := f.service(s.To)
	if d == nil {
		return
	}
	cluster, _, placed := strings.Cut(s.From, "/")
	if placed {
		if from := f.plan.Cluster(cluster); from != nil {
			p.Answers = f.answers(from, d)
		}
		return
	}
	caller := f.deployed[s.From]
	if caller == nil {
		return
	}
	for _, division := range caller.divisions {
		for name, n := range division {
			if from := f.plan.Cluster(name); n > 0 && from != nil {
				if p.Origins == nil {
					p.Origins = map[string]Answers{}
				}
				p.Origins[name] = f.answers(from, d)
			}
		}
	}
}

// answers predicts who answers callers in one cluster.
func (f *forecast) answers(from *Cluster, d *deployed) (a Answers) {
	visible, doubtful := f.visible(from)
	for _, division := range d.divisions {
		if slices.ContainsFunc(doubtful, func(c string) bool { return division[c] > 0 }) {
			a.Possible = nil
			break
		}
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
		a.Possible = append(a.Possible, shares)
	}
	if len(a.Possible) == 1 {
		a.Shares, a.Possible = a.Possible[0], nil
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
		if a.Latency == nil {
			a.Latency = map[string]Latency{}
		}
		a.Latency[name] = l
	}
	return a
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
// of those that are doubtful it does not follow from the plan.
func (f *forecast) visible(from *Cluster) (names, doubtful []string) {
	names = []string{from.Name}
	mesh := f.plan.Topology.Spec.Stack.Mesh
	if mesh == nil || !slices.Contains(mesh.On, from.Name) {
		return names, nil // no one tells it of the others
	}
	control := from // whose control plane tells it
	if mesh.Layout == topologies.PrimaryRemote {
		control = f.plan.Cluster(mesh.Primary)
	}
	if control == nil {
		return names, nil
	}
	for _, name := range mesh.On {
		to := f.plan.Cluster(name)
		if to == nil || to == from {
			continue
		}
		_, there := f.rtt(from, to)
		switch {
		case !there || !f.watches(control, to):
			// Its API server cannot be watched.
		case to.Network == from.Network && f.admitsAll(from, to):
			names = append(names, name) // called directly, on whatever port
		case to.Network == from.Network:
			doubtful = append(doubtful, name) // called directly, on ports that the plan does not know
		case !f.table.Admits(from.Name, name, wan.Port{Protocol: wan.TCP, Number: MeshPort}):
			doubtful = append(doubtful, name) // known, and its gateway out of reach
		default:
			names = append(names, name)
		}
	}
	return names, doubtful
}

// watches tells whether a cluster's control plane of the mesh can read another
// cluster.
func (f *forecast) watches(control, to *Cluster) bool {
	if control == to {
		return true
	}
	_, there := f.rtt(control, to)
	return there && f.table.AdmitsFlow(control.Nodes[0].PodCIDR.Addr(), to.APIServer.Addr(), wan.Port{Protocol: wan.TCP, Number: APIServerPort})
}

// admitsAll tells whether pods of one cluster may call those of another on any
// port: what the rules list by number does not say so.
func (f *forecast) admitsAll(from, to *Cluster) bool {
	const some = 1 // no rule has a reason to name it
	return f.table.AdmitsFlow(from.Nodes[0].PodCIDR.Addr(), to.Nodes[0].PodCIDR.Addr(), wan.Port{Protocol: wan.TCP, Number: some})
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
