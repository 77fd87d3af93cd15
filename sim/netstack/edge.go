package netstack

import (
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/buffer"
)

// edge is a cluster's load balancer: it owns the virtual addresses in prefix.
type edge struct {
	prefix   netip.Prefix
	services Services
}

// SetEdge makes the virtual addresses in prefix (a cluster's load balancers)
// answer: what arrives for them is sent on to a backend of services, and
// replies leave with the virtual address. nil takes it away; flows that are
// under way go on. An address in prefix that a host has is the host's.
//
// The backend gets the packet as soon as it arrived at the edge: the engine
// has judged and delayed it on its way to the virtual address.
func (n *Network) SetEdge(prefix netip.Prefix, s Services) {
	prefix = prefix.Masked()
	n.mu.Lock()
	defer n.mu.Unlock()
	edges := slices.DeleteFunc(slices.Clone(n.edges), func(e edge) bool { return e.prefix == prefix })
	if s != nil {
		edges = append(edges, edge{prefix, s})
		slices.SortFunc(edges, func(a, b edge) int { return b.prefix.Bits() - a.prefix.Bits() })
		n.hasEdges.Store(true)
	}
	n.edges = edges
}

// arriveAtEdge sends a packet for a virtual address on to its backend. It
// reports whether it took the packet.
func (n *Network) arriveAtEdge(v *buffer.View) bool {
	b := v.AsSlice()
	var services Services
	dst := addr4(dstKey(b))
	n.mu.RLock()
	for _, e := range n.edges {
		if e.prefix.Contains(dst) {
			services = e.services
			break
		}
	}
	n.mu.RUnlock()
	switch n.edgeNAT.forward(services, b) {
	case natRewritten:
		if h := n.host(dstKey(b)); h != nil {
			h.enqueue(v)
			return true
		}
		n.stats.noHost.Add(1)
	case natRefused:
		if r := refusal(b); r != nil {
			n.send(r, netip.Addr{})
		}
	case natUntouched:
		return false
	}
	v.Release()
	return true
}
