package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
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

// etcdTimers tells of the datastores that have more than one voter.
func (d *description) etcdTimers() {
	for i := range d.p.Clusters {
		c := &d.p.Clusters[i]
		voters := c.Voters()
		if len(voters) < 2 {
			continue
		}
		var names []string
		for _, n := range voters {
			names = append(names, n.Name)
		}
		t := d.p.EtcdTimers(c)
		d.row("  datastore of "+c.Name, fmt.Sprintf("voters %s; heartbeat %v, election %v", strings.Join(names, ", "), t.Heartbeat, t.Election))
	}
}

// quorumPredictions writes what is predicted of a datastore's writes.
func (d *description) quorumPredictions(p *Prediction, line func(...any)) {
	writes := func(what string, of map[string]time.Duration) {
		for _, leader := range slices.Sorted(maps.Keys(of)) {
			line("  a write"+what, fmt.Sprintf("%v where %s leads", of[leader], leader))
		}
	}
	writes("", p.Writes)
	writes(" without the region", p.WritesWithout)
	if len(p.Stop) > 0 {
		line("  no write without", strings.Join(p.Stop, ", ")+" too")
	}
	for _, w := range []struct {
		name, after string
		window      Window
	}{{"  writes again", "the region is lost", p.WritesAgain}, {"  a majority again", "a voter is started", p.QuorumAgain}} {
		if w.window != (Window{}) {
			line(w.name, fmt.Sprintf("%v to %v after %s", w.window[0], w.window[1], w.after))
		}
	}
}
