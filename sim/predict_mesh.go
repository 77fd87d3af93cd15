package sim

import (
	"slices"

	"github.com/atoll-dev/atoll/sim/shop"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// running are the Deployments of a workload, by cluster.
func (f *forecast) running(workload string) map[string][]string {
	d := f.deployed[workload]
	if d == nil {
		return nil
	}
	return d.deployments
}

// proxies tells for each cluster of the mesh whose proxies it lists.
func (f *forecast) proxies() map[string][]string {
	mesh := f.plan.Topology.Spec.Stack.Mesh
	if mesh == nil {
		return nil
	}
	out := map[string][]string{}
	for _, name := range mesh.On {
		switch {
		case mesh.Layout != topologies.PrimaryRemote:
			out[name] = []string{name}
		case name == mesh.Primary:
			out[name] = slices.Clone(mesh.On)
		default:
			out[name] = []string{}
		}
	}
	return out
}

// passes are the pairs of clusters between whose pods connections pass with
// the scenario's rule, and would not without it.
func (f *forecast) passes(s *topologies.FirewallScenario) []string {
	w := f.plan.Topology.Workload(s.Workload)
	policy := f.plan.WAN.WithoutRule(s.Rule)
	without, err := policy.Compile()
	if w == nil || err != nil {
		return nil
	}
	var out []string
	for _, r := range f.plan.WAN.Rules {
		from, to := f.plan.Cluster(r.From), f.plan.Cluster(r.To)
		if r.Name != s.Rule || from == nil || to == nil || !slices.Contains(w.On, r.From) || !slices.Contains(w.On, r.To) {
			continue
		}
		port := wan.Port{Protocol: wan.TCP, Number: shop.HealthPort}
		a, b := from.Nodes[0].PodCIDR.Addr(), to.Nodes[0].PodCIDR.Addr()
		_, there := f.rtt(from, to)
		if there && f.table.AdmitsFlow(a, b, port) && !without.AdmitsFlow(a, b, port) && !slices.Contains(out, pairName(r.From, r.To)) {
			out = append(out, pairName(r.From, r.To))
		}
	}
	return out
}

// shop predicts who serves each part of the shop's pages.
func (f *forecast) shop(p *Prediction, s *topologies.ShopScenario) {
	d := f.deployed["shop"]
	if d == nil || d.deployments == nil {
		return
	}
	services := map[string]shop.Service{}
	at := map[string][]string{} // the clusters of each
	for _, service := range shop.Services {
		services[service.Name] = service
		for _, c := range f.plan.Topology.Workload("shop").On {
			if slices.Contains(d.deployments[c], service.Name) {
				at[service.Name] = append(at[service.Name], c)
			}
		}
	}
	// calls tells whether a service in a cluster gets an answer from another,
	// and from what that one calls in turn, with a cluster cut off.
	var answers func(from, service, cut string) bool
	answers = func(from, service, cut string) bool {
		return slices.ContainsFunc(at[service], func(to string) bool {
			if from != to && (from == cut || to == cut || !f.meshed(from, to, services[service].Target)) {
				return false
			}
			for _, next := range services[service].Calls {
				if service != "frontend" && !answers(to, next, cut) {
					return false
				}
			}
			return true
		})
	}
	p.Parts = map[string][]string{}
	if front := first(at["frontend"]); front != "" { // where there are several, they are alike
		for _, part := range slices.Concat(shop.Home, shop.Order) {
			from := front
			switch {
			case part.Service == "redis-cart":
				from = first(at["cartservice"])
			case part != shop.Order[0] && slices.Contains(shop.Order, part):
				from = first(at["checkoutservice"])
			}
			whole := answers(s.Gateway, "frontend", "") && (part.Service == "frontend" || answers(from, part.Service, ""))
			if part.Service == "redis-cart" {
				whole = whole && answers(front, "cartservice", "")
			}
			p.Parts[part.Name] = []string{}
			if whole {
				p.Parts[part.Name] = at[part.Service]
			}
			lost := !answers(front, part.Service, s.Partition)
			if part.Service == "redis-cart" {
				lost = !answers(front, "cartservice", s.Partition)
			}
			if s.Partition != "" && part.Service != "frontend" && slices.Contains(shop.Home, part) && lost {
				p.Missing = append(p.Missing, part.Name)
			}
		}
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// meshed tells whether a pod of one cluster reaches a port of another's pods
// by the mesh: itself within one network, else through the gateway.
func (f *forecast) meshed(from, to string, port uint16) bool {
	mesh := f.plan.Topology.Spec.Stack.Mesh
	a, b := f.plan.Cluster(from), f.plan.Cluster(to)
	if mesh == nil || a == nil || b == nil || !slices.Contains(mesh.On, from) || !slices.Contains(mesh.On, to) {
		return false
	}
	if _, there := f.rtt(a, b); !there {
		return false
	}
	source := a.Nodes[0].PodCIDR.Addr()
	if a.Network == b.Network {
		return f.table.AdmitsFlow(source, b.Nodes[0].PodCIDR.Addr(), wan.Port{Protocol: wan.TCP, Number: port})
	}
	return f.table.AdmitsFlow(source, b.LBCIDR.Addr(), wan.Port{Protocol: wan.TCP, Number: MeshPort})
}
