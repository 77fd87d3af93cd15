package sim

import (
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// Plan is a topology made definite. It is plain data: the same topology and
// seed give the same plan.
type Plan struct {
	Name        string
	Seed        uint64
	Topology    *topologies.Topology
	Clusters    []Cluster // in the file's order
	WAN         wan.Policy
	Hub         *Hub // nil without stack.admin
	Timers      Timers
	Predictions []Prediction
	// Shared says that the clusters are somebody's, who has other things in
	// them: what others' objects are subject to is left as it is.
	Shared bool `json:",omitempty"`
}

// Cluster is one cluster of a plan.
type Cluster struct {
	Name       string
	Region     string
	Role       topologies.Role
	Network    string // the mesh's network
	Kubernetes string // "v1.36.3"
	NodeCIDR   netip.Prefix
	PodCIDR    netip.Prefix
	SvcCIDR    netip.Prefix
	// LBCIDR is the part of NodeCIDR from which Services of type LoadBalancer
	// get their addresses.
	LBCIDR    netip.Prefix
	DNS       netip.Addr     // cluster DNS: the tenth address of SvcCIDR
	APIServer netip.AddrPort // in the simulated network: the first control-plane node, port 6443
	// ServerName is HOST:PORT of the API server where its certificate is not
	// good for the address.
	ServerName string `json:",omitempty"`
	// Image is where the cluster's nodes have atoll's own image, if not under
	// the name of the build.
	Image string `json:",omitempty"`
	// Overlay is nil where nodes use their addresses on the WAN.
	Overlay *Overlay `json:",omitempty"`
	Nodes   []Node
}

// Node is one node of a plan.
type Node struct {
	Name   string // the lab's name: its own, or "control-plane", "worker-1"
	Region string
	Zone   string
	Role   topologies.NodeRole
	Labels map[string]string
	Taints []topologies.Taint
	// Schedulable is true of a control-plane node that takes ordinary pods
	// although the cluster has workers.
	Schedulable bool `json:",omitempty"`
	// Addr is the node's in Kubernetes: in the overlay, where there is one.
	Addr netip.Addr
	// Underlay is the node's address on the WAN where Addr is the overlay's.
	Underlay netip.Addr `json:",omitzero"`
	PodCIDR  netip.Prefix
}

// Hub is where the admin's API server is.
type Hub struct {
	Cluster string
	Addr    netip.AddrPort // in the simulated network: the admin's first node, port 5443; the NodePort of a chart's
	Members []string       // clusters that have joined it
	// Charted is true of a hub whose API server is part of a chart: it is
	// installed with the stack, and the provider makes none.
	Charted bool `json:",omitempty"`
}

// Begun returns the plan with its links' schedules counting from a moment on,
// or itself where no link has one. A lab's schedules begin when it is up.
func (p *Plan) Begun(at time.Time) *Plan {
	if !p.WAN.Scheduled() {
		return p
	}
	q := *p
	// A plan is data, so it keeps no monotonic reading.
	q.WAN.Epoch = at.Round(0).UTC()
	return &q
}

// Push tells whether the hub dials its members, instead of their agents dialling it.
func (p *Plan) Push() bool {
	if p.Hub == nil || p.Topology == nil {
		return false
	}
	agents := p.Topology.Spec.Stack.Agents
	return agents != nil && agents.Mode == topologies.ModePush
}

// BuiltinHub tells whether atoll's own engine answers as the hub, not a real
// Karmada.
func (p *Plan) BuiltinHub() bool {
	a := p.Topology.Spec.Stack.Admin
	return a == nil || a.Engine == "" || a.Engine == topologies.EngineBuiltin
}

// Cluster returns the named cluster, or nil.
func (p *Plan) Cluster(name string) *Cluster {
	for i := range p.Clusters {
		if p.Clusters[i].Name == name {
			return &p.Clusters[i]
		}
	}
	return nil
}

// MeshNetworks is how many networks the clusters of the mesh are in; 0 without
// a mesh. Between several there are gateways, within one pods dial each other.
func (p *Plan) MeshNetworks() int {
	mesh := p.Topology.Spec.Stack.Mesh
	if mesh == nil {
		return 0
	}
	networks := map[string]bool{}
	for _, name := range mesh.On {
		if c := p.Cluster(name); c != nil {
			networks[c.Network] = true
		}
	}
	return len(networks)
}

// ServerURL is where other clusters reach the API server, by a name or an
// address that its certificate is good for.
func (c *Cluster) ServerURL() string {
	if c.ServerName != "" {
		return "https://" + c.ServerName
	}
	return "https://" + c.APIServer.String()
}

// ImageOr is where the cluster's nodes have atoll's own image, which is called
// build where the plan does not say otherwise.
func (c *Cluster) ImageOr(build string) string {
	if c.Image != "" {
		return c.Image
	}
	return build
}

// Node returns the named node, or nil.
func (c *Cluster) Node(name string) *Node {
	for i := range c.Nodes {
		if c.Nodes[i].Name == name {
			return &c.Nodes[i]
		}
	}
	return nil
}
