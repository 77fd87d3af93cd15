package sim

import (
	"fmt"
	"net/netip"
)

// overlays tells of the clusters whose nodes have a network of their own.
func (d *description) overlays() {
	first := true
	for i := range d.p.Clusters {
		c := &d.p.Clusters[i]
		if c.Overlay == nil {
			continue
		}
		if first {
			d.title("OVERLAYS")
			d.row("  cluster", "range", "names", "made by", "keepalive", "access key")
			first = false
		}
		o := c.Overlay
		d.row("  "+c.Name, o.CIDR, "NODE."+o.Name, fmt.Sprintf("WireGuard, udp/%d", o.Port), o.Keepalive, fmt.Sprintf("%d of %d uses", len(c.Nodes), o.AccessKeyUses))
	}
}

// addrText is a node's address, and behind it where that is on the WAN.
func addrText(n *Node) string {
	if n.Underlay == (netip.Addr{}) {
		return n.Addr.String()
	}
	return n.Addr.String() + " at " + n.Underlay.String()
}
