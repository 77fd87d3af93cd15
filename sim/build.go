package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// The ports of the API servers in the simulated network.
const (
	APIServerPort = 6443
	HubPort       = 5443
	// MeshPort is where an east-west gateway takes the mesh's traffic.
	MeshPort = 15443
)

// NewPlan makes a topology definite. The topology must have its defaults
// filled in and be valid, as topologies.Load leaves it; what could not be
// planned is reported, all of it.
func NewPlan(t *topologies.Topology, seed uint64) (*Plan, error) {
	if t == nil {
		return nil, errors.New("plan: no topology")
	}
	p := &Plan{
		Name:     t.Metadata.Name,
		Seed:     seed,
		Topology: t,
		Timers:   NewTimers(t.Spec.Timers, t.Spec.Kubernetes),
	}
	var faults []error
	for _, c := range t.Spec.Clusters {
		cluster, err := planCluster(c)
		if err != nil {
			faults = append(faults, fmt.Errorf("plan: cluster %s: %w", c.Name, err))
			continue
		}
		p.Clusters = append(p.Clusters, cluster)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if admin := t.Admin(); admin != nil && t.Spec.Stack.Admin != nil {
		p.Hub = &Hub{
			Cluster: admin.Name,
			Addr:    netip.AddrPortFrom(p.Cluster(admin.Name).Nodes[0].WANAddr(), HubPort),
		}
		if agents := t.Spec.Stack.Agents; agents != nil {
			p.Hub.Members = slices.Clone(agents.On)
		}
		if spec := t.Spec.Stack.Admin; spec.Engine == topologies.EngineChart && spec.Chart != nil {
			p.Hub.Charted = true
			p.Hub.Addr = netip.AddrPortFrom(p.Hub.Addr.Addr(), uint16(spec.Chart.NodePort))
		}
	}
	p.WAN = p.policy()
	if err := p.Predict(nil); err != nil {
		return nil, err
	}
	return p, nil
}

func planCluster(c topologies.Cluster) (Cluster, error) {
	out := Cluster{
		Name: c.Name, Region: c.Region, Role: c.Role, Network: c.Network, Kubernetes: c.Kubernetes,
		NodeCIDR: c.CIDRs.Nodes.Masked(), PodCIDR: c.CIDRs.Pods.Masked(), SvcCIDR: c.CIDRs.Services.Masked(),
	}
	for _, r := range []struct {
		name   string
		prefix netip.Prefix
	}{{"nodes", out.NodeCIDR}, {"pods", out.PodCIDR}, {"services", out.SvcCIDR}} {
		if !r.prefix.IsValid() || !r.prefix.Addr().Is4() {
			return out, fmt.Errorf("the %s range %v is not an IPv4 range", r.name, r.prefix)
		}
	}
	nodes := c.Expand()
	if len(nodes) == 0 || nodes[0].Role != topologies.ControlPlane {
		return out, errors.New("no control-plane node")
	}
	if out.NodeCIDR.Bits() > 30 {
		return out, fmt.Errorf("the nodes range %v is too small", out.NodeCIDR)
	}
	// The last quarter: two bits longer, and both set.
	quarter := uint64(1) << (30 - out.NodeCIDR.Bits())
	last, ok := at(out.NodeCIDR, 3*quarter)
	if !ok {
		return out, fmt.Errorf("the nodes range %v is too small", out.NodeCIDR)
	}
	out.LBCIDR = netip.PrefixFrom(last, out.NodeCIDR.Bits()+2)
	if out.DNS, ok = at(out.SvcCIDR, 10); !ok {
		return out, fmt.Errorf("the services range %v is too small", out.SvcCIDR)
	}
	out.Overlay = planOverlay(c.Overlay)
	podBits := topologies.NodePodsBits(out.PodCIDR, len(nodes))
	for _, n := range nodes {
		i := uint64(n.Index)
		addr, ok := at(out.NodeCIDR, 2+i)
		if !ok || out.LBCIDR.Contains(addr) {
			return out, fmt.Errorf("the nodes range %v has no address for node %s", out.NodeCIDR, n.Name)
		}
		if podBits > 30 {
			return out, fmt.Errorf("the pods range %v is too small for %d nodes", out.PodCIDR, len(nodes))
		}
		pods, ok := at(out.PodCIDR, i<<(32-podBits))
		if !ok {
			return out, fmt.Errorf("the pods range %v has no part for node %s", out.PodCIDR, n.Name)
		}
		node := Node{
			Name: n.Name, Region: n.Region, Zone: n.Zone, Role: n.Role,
			Labels: maps.Clone(n.Labels), Taints: slices.Clone(n.Taints),
			Schedulable: n.Schedulable,
			Addr:        addr, PodCIDR: netip.PrefixFrom(pods, podBits),
		}
		if err := out.putInOverlay(&node, i); err != nil {
			return out, err
		}
		if node.Region == "" {
			node.Region = c.Region
		}
		out.Nodes = append(out.Nodes, node)
	}
	out.APIServer = netip.AddrPortFrom(out.Nodes[0].WANAddr(), APIServerPort)
	return out, nil
}

// at returns the n-th address of a range; ok is false if it has none.
func at(p netip.Prefix, n uint64) (netip.Addr, bool) {
	if n >= 1<<(32-p.Bits()) {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b), true
}

// policy says for the WAN engine what the topology says.
func (p *Plan) policy() wan.Policy {
	t := p.Topology
	policy := wan.Policy{Sites: p.sites(), Probes: wan.LabProbes}
	for _, l := range t.DirectedLinks() {
		if l.Implicit {
			continue // the engine makes them where they are needed
		}
		link := wan.Link{From: l.From, To: l.To, LinkModel: model(l.LinkState)}
		for _, c := range l.Schedule {
			link.Schedule = append(link.Schedule, wan.Change{At: c.At, LinkModel: model(c.LinkState)})
		}
		policy.Links = append(policy.Links, link)
	}
	for _, pair := range t.PeeredPairs() {
		policy.Peerings = append(policy.Peerings, wan.Peering{A: pair[0], B: pair[1]})
	}
	for _, peer := range t.Spec.WAN.Peering.Peerings {
		for _, r := range peer.Routes {
			policy.Routes = append(policy.Routes, wan.Route{
				From: r.From, Peering: [2]string(peer.Between), To: r.To.Masked(), Via: r.Via,
			})
		}
	}
	policy.Rules = p.rules(t.Spec.WAN.Rules)
	return policy
}

// model is one direction of a link as the WAN engine has it.
func model(l topologies.LinkState) wan.LinkModel {
	m := wan.LinkModel{
		OneWay: l.Latency, Jitter: l.Jitter, Shape: shapes[l.Distribution], Reorder: l.Reorder,
		Loss:      wan.LossModel{Good: float64(l.Loss.Ratio)},
		Duplicate: float64(l.Duplicate), Corrupt: float64(l.Corrupt),
		RateBps: uint64(l.Rate), Queue: l.Queue.Time, QueueBytes: l.Queue.Bytes,
		Down: l.Down != topologies.Up, Reject: l.Down == topologies.Reject,
	}
	if l.Loss.Bursty() {
		m.Loss = wan.LossModel{
			Good: float64(l.Loss.Good), Bad: float64(l.Loss.Bad),
			Enter: float64(l.Loss.Enter), Leave: float64(l.Loss.Leave),
		}
	}
	return m
}

var shapes = map[topologies.Distribution]wan.Shape{
	topologies.Normal: wan.Normal, topologies.Uniform: wan.Uniform, topologies.Pareto: wan.Pareto,
}

// sites puts each cluster's whole ranges into its region, and of a stretched
// cluster the nodes elsewhere, with their pods, into theirs.
func (p *Plan) sites() []wan.Site {
	var sites []wan.Site
	for _, c := range p.Clusters {
		sites = append(sites, wan.Site{
			Cluster: c.Name, Region: c.Region,
			Prefixes: []netip.Prefix{c.NodeCIDR, c.PodCIDR, c.SvcCIDR},
		})
		own := len(sites) - 1
		for _, n := range c.Nodes {
			if n.Region == c.Region {
				continue
			}
			i := slices.IndexFunc(sites[own:], func(s wan.Site) bool { return s.Region == n.Region })
			if i < 0 {
				i = len(sites) - own
				sites = append(sites, wan.Site{Cluster: c.Name, Region: n.Region})
			}
			s := &sites[own+i]
			s.Prefixes = append(s.Prefixes, netip.PrefixFrom(n.WANAddr(), 32), n.PodCIDR)
		}
	}
	return sites
}

// rules writes each rule out by ordered pair of clusters, in the file's order;
// those alike but for their ports are one.
func (p *Plan) rules(in []topologies.Rule) []wan.Rule {
	var out []wan.Rule
	for _, r := range in {
		for _, from := range r.From {
			for _, to := range r.To {
				rule := wan.Rule{Name: r.Name}
				rule.From, rule.Source = p.ruleEnd(from)
				rule.To, rule.Destination = p.ruleEnd(to)
				if rule.From == rule.To {
					continue // within a cluster no rule applies
				}
				i := slices.IndexFunc(out, func(o wan.Rule) bool {
					return o.Name == rule.Name && o.From == rule.From && o.To == rule.To && o.Source == rule.Source && o.Destination == rule.Destination
				})
				if i < 0 {
					i = len(out)
					out = append(out, rule)
				}
				for _, port := range r.Allow {
					if p := Port(port); !slices.Contains(out[i].Ports, p) {
						out[i].Ports = append(out[i].Ports, p)
					}
				}
			}
		}
	}
	return out
}

// ruleEnd is a rule's end as the WAN engine has it.
func (p *Plan) ruleEnd(end string) (cluster string, part netip.Prefix) {
	cluster, name := topologies.EndOf(end)
	c := p.Cluster(cluster)
	switch {
	case c == nil: // the engine says so
	case name == "nodes":
		part = c.NodeCIDR
	case name == "pods":
		part = c.PodCIDR
	case name == "services":
		part = c.SvcCIDR
	}
	return cluster, part
}

// Port is a topology's port as the WAN engine has it.
func Port(p topologies.Port) wan.Port {
	return wan.Port{Protocol: map[string]uint8{"tcp": wan.TCP, "udp": wan.UDP, "icmp": wan.ICMP}[p.Protocol], Number: p.Number}
}
