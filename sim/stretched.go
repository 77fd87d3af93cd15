package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/topologies"
)

// Overlay is a cluster's network of WireGuard.
type Overlay struct {
	Name          string // the interface's, and the domain of the nodes' names
	CIDR          netip.Prefix
	Port          uint16
	Keepalive     time.Duration
	AccessKeyUses int
}

func planOverlay(o *topologies.Overlay) *Overlay {
	if o == nil {
		return nil
	}
	w := o.WireGuard
	return &Overlay{
		Name: w.Name, CIDR: w.CIDR.Masked(), Port: uint16(w.Port),
		Keepalive: w.Keepalive.Duration, AccessKeyUses: w.AccessKeyUses,
	}
}

// putInOverlay gives the i-th node its address in the overlay.
func (c *Cluster) putInOverlay(n *Node, i uint64) error {
	if c.Overlay == nil {
		return nil
	}
	addr, ok := at(c.Overlay.CIDR, 1+i)
	if !ok {
		return fmt.Errorf("the overlay's range %v has no address for node %s", c.Overlay.CIDR, n.Name)
	}
	n.Underlay, n.Addr = n.Addr, addr
	return nil
}

// WANAddr is the node's address on the WAN.
func (n *Node) WANAddr() netip.Addr {
	if n.Underlay.IsValid() {
		return n.Underlay
	}
	return n.Addr
}

// NodeName is what Kubernetes calls a node of the cluster: by its name in the
// overlay, where there is one.
func (c *Cluster) NodeName(n *Node) string {
	if c.Overlay != nil {
		return n.Name + "." + c.Overlay.Name
	}
	return c.Name + "-" + n.Name
}

// Regions are those in which the cluster has nodes, in the nodes' order.
func (c *Cluster) Regions() []string {
	var regions []string
	for i := range c.Nodes {
		if !slices.Contains(regions, c.Nodes[i].Region) {
			regions = append(regions, c.Nodes[i].Region)
		}
	}
	return regions
}

// In returns the cluster's nodes in a region.
func (c *Cluster) In(region string) []*Node {
	var nodes []*Node
	for i := range c.Nodes {
		if c.Nodes[i].Region == region {
			nodes = append(nodes, &c.Nodes[i])
		}
	}
	return nodes
}

// ControlPlaneTaint tells whether a node has the taint that keeps ordinary
// pods off the control plane: where there are workers, and it is not
// schedulable. As in kind, the control plane of a cluster that has no other
// nodes takes pods.
func (c *Cluster) ControlPlaneTaint(n *Node) bool {
	return n.Role == topologies.ControlPlane && !n.Schedulable &&
		slices.ContainsFunc(c.Nodes, func(o Node) bool { return o.Role == topologies.Worker })
}

// siteFailure is a node failure for each of the site's nodes, except that they
// are evicted one after another, at the eviction rate: all are of one zone or
// more, and a zone that has wholly failed is evicted at the normal rate while
// another lives.
func (f *forecast) siteFailure(p *Prediction, s *topologies.SiteFailureScenario) {
	c := f.plan.Cluster(s.Cluster)
	if c == nil {
		return
	}
	t := f.plan.TimersOf(c)
	p.NotReady, p.Replaced = t.NotReady(), t.Replaced()
	if n := len(c.In(s.Region)); n > 1 && t.NodeEvictionRate > 0 {
		p.Replaced[1] += time.Duration(float64(n-1) / t.NodeEvictionRate * float64(time.Second))
	}
}
