package topologies

import (
	"fmt"
	"slices"
)

// Node is one node of a cluster, by its name in the lab.
type Node struct {
	Name  string // its own, or "control-plane", "control-plane-2" …, "worker-1", "worker-2" …
	Index int    // in the cluster, control planes first
	NodeGroup
}

// Expand returns the cluster's nodes one by one, control planes first, then
// in the file's order. Each has a copy of its group, with Count 1.
func (c Cluster) Expand() []Node {
	var nodes []Node
	for _, role := range []NodeRole{ControlPlane, Worker} {
		n := 0
		for _, g := range c.Nodes {
			if g.Role != role {
				continue
			}
			for range g.Count {
				name := g.Name
				if name == "" {
					n++
					name = fmt.Sprintf("%s-%d", role, n)
					if role == ControlPlane && n == 1 {
						name = string(ControlPlane)
					}
				}
				one := g
				one.Count = 1
				nodes = append(nodes, Node{Name: name, Index: len(nodes), NodeGroup: one})
			}
		}
	}
	return nodes
}

// Regions returns the regions in which the cluster has nodes, its own first.
func (c Cluster) Regions() []string {
	regions := []string{c.Region}
	for _, g := range c.Nodes {
		if g.Region != "" && !slices.Contains(regions, g.Region) {
			regions = append(regions, g.Region)
		}
	}
	return regions
}

// Cluster returns the named cluster, or nil.
func (t *Topology) Cluster(name string) *Cluster {
	for i := range t.Spec.Clusters {
		if t.Spec.Clusters[i].Name == name {
			return &t.Spec.Clusters[i]
		}
	}
	return nil
}

// Workload returns the named workload, or nil.
func (t *Topology) Workload(name string) *Workload {
	for i := range t.Spec.Workloads {
		if t.Spec.Workloads[i].Name == name {
			return &t.Spec.Workloads[i]
		}
	}
	return nil
}

// Admin returns the cluster that carries the hub, or nil.
func (t *Topology) Admin() *Cluster {
	for i := range t.Spec.Clusters {
		if t.Spec.Clusters[i].Role == RoleAdmin {
			return &t.Spec.Clusters[i]
		}
	}
	return nil
}

// Regions returns every region that has a node, in the file's order.
func (t *Topology) Regions() []string {
	var regions []string
	for _, c := range t.Spec.Clusters {
		for _, r := range c.Regions() {
			if !slices.Contains(regions, r) {
				regions = append(regions, r)
			}
		}
	}
	return regions
}

// PeeredPairs returns the pairs of clusters that are peered, each once.
func (t *Topology) PeeredPairs() [][2]string {
	var pairs [][2]string
	peering := t.Spec.WAN.Peering
	switch peering.Mode {
	case Mesh:
		for i, a := range t.Spec.Clusters {
			for _, b := range t.Spec.Clusters[i+1:] {
				pairs = append(pairs, [2]string{a.Name, b.Name})
			}
		}
	case Star:
		for _, c := range t.Spec.Clusters {
			if c.Name != peering.Hub {
				pairs = append(pairs, [2]string{peering.Hub, c.Name})
			}
		}
	case List:
		for _, p := range peering.Peerings {
			if len(p.Between) == 2 {
				pairs = append(pairs, [2]string{p.Between[0], p.Between[1]})
			}
		}
	}
	return pairs
}

// Peered tells whether two clusters exchange traffic at all.
func (t *Topology) Peered(a, b string) bool {
	return slices.ContainsFunc(t.PeeredPairs(), func(p [2]string) bool {
		return p == [2]string{a, b} || p == [2]string{b, a}
	})
}

// Kind returns the key under which the scenario stands in the file, or "" if
// it has none or several.
func (s Scenario) Kind() string {
	kinds := s.kinds()
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

func (s Scenario) kinds() []string {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"peering", s.Peering != nil},
		{"placement", s.Placement != nil},
		{"traffic", s.Traffic != nil},
		{"nodeFailure", s.NodeFailure != nil},
		{"controlPlaneFailure", s.ControlPlaneFailure != nil},
		{"agentPartition", s.AgentPartition != nil},
		{"running", s.Running != nil},
		{"proxies", s.Proxies != nil},
		{"firewall", s.Firewall != nil},
		{"shop", s.Shop != nil},
		{"change", s.Change != nil},
		{"siteFailure", s.SiteFailure != nil},
		{"quorum", s.Quorum != nil},
		{"podFailure", s.PodFailure != nil},
		{"congestion", s.Congestion != nil},
		{"schedule", s.Schedule != nil},
	} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}
