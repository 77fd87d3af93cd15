// Package sim is the simulated world. At its root is the Plan: a topology
// with every name, address and route resolved, and what is predicted of it.
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
	Nodes     []Node
}

// Node is one node of a plan.
type Node struct {
	Name    string // the lab's name: "control-plane", "worker-1"
	Region  string
	Zone    string
	Role    topologies.NodeRole
	Labels  map[string]string
	Taints  []topologies.Taint
	Addr    netip.Addr
	PodCIDR netip.Prefix
}

// Hub is where the admin's API server is.
type Hub struct {
	Cluster string
	Addr    netip.AddrPort // in the simulated network: the admin's first node, port 5443
	Members []string       // clusters with an agent
}

// Timers are the failure-detection timers in force.
type Timers struct {
	Profile            topologies.Timers
	NodeLease          time.Duration // duration of a node's lease; renewed every quarter of it
	NodeMonitorPeriod  time.Duration
	NodeMonitorGrace   time.Duration
	Toleration         time.Duration // default tolerationSeconds for not-ready and unreachable
	NodeEvictionRate   float64       // nodes per second
	ClusterLease       time.Duration // how often an agent renews its cluster's lease
	ClusterMonitor     time.Duration // how often the hub looks at the leases
	ClusterGracePeriod time.Duration // after which a cluster is not ready
}

// Prediction is what the plan says will come out of one scenario.
type Prediction struct {
	Scenario string
	// Placements holds, for each step of a placement scenario, every division
	// that may come out: which of several depends on the template's UID.
	Placements [][]map[string]int `json:",omitempty"`
	// Shares is each answering cluster's share of a traffic scenario's requests.
	Shares map[string]float64 `json:",omitempty"`
	// RTT is the round trip per ordered pair of clusters "a→b" that may talk.
	RTT map[string]time.Duration `json:",omitempty"`
	// Reachable tells for each ordered pair "a→b" and each port named by a
	// rule ("tcp/6443", "icmp") whether it answers.
	Reachable map[string]map[string]bool `json:",omitempty"`
	// NotReady and Replaced bound a node failure, from the failure on:
	// earliest and latest.
	NotReady [2]time.Duration
	Replaced [2]time.Duration
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

// Node returns the named node, or nil.
func (c *Cluster) Node(name string) *Node {
	for i := range c.Nodes {
		if c.Nodes[i].Name == name {
			return &c.Nodes[i]
		}
	}
	return nil
}
