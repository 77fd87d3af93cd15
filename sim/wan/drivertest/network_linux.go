package drivertest

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Network is clusters that a router joins: each site a namespace with a veth
// to the router's, and a default route through it.
type Network struct {
	Router *Namespace
	Sites  []*Site
}

// Site is one cluster's network. It has ranges of nodes and of pods, of both
// families; those of the pods are behind the (first) node.
type Site struct {
	Cluster, Region string
	Node            *Namespace
	// Second is another node of the same site, on the same link; only the
	// first site has one.
	Second *Namespace
	// Interface is the router's.
	Interface           string
	Nodes4, Nodes6      netip.Prefix
	Pods4, Pods6        netip.Prefix
	Addr4, Addr6        netip.Addr // of Node
	Pod4, Pod6          netip.Addr // of Node, in the pod ranges
	Second4, SecondPod4 netip.Addr
	gateway4, gateway6  netip.Addr
	secondPods4         netip.Prefix
}

// Regions are those of the sites of a [NewNetwork]: clusters a, b and c; a
// and c share a region.
var regions = []string{"west", "east", "west"}

// NewNetwork makes the network of the contract; it lasts as long as the test.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	Require(t)
	n := &Network{Router: NewNamespace(t)}
	for i, region := range regions {
		s := newSite(i, region)
		n.Sites = append(n.Sites, s)
		s.Node = NewNamespace(t)
		if err := s.build(t, n.Router, i == 0); err != nil {
			t.Fatalf("make site %s: %v", s.Cluster, err)
		}
	}
	return n
}

func newSite(i int, region string) *Site {
	p4 := func(third, last byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i + 1), third, last}), bits)
	}
	p6 := func(fourth, last byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 5: byte(i + 1), 7: fourth, 15: last}), 64)
	}
	return &Site{
		Cluster: string(rune('a' + i)), Region: region, Interface: fmt.Sprintf("site%d", i),
		Nodes4: p4(0, 0, 24), Nodes6: p6(0, 0), Pods4: p4(128, 0, 24), Pods6: p6(128, 0),
		gateway4: p4(0, 1, 24).Addr(), gateway6: p6(0, 1).Addr(),
		Addr4: p4(0, 2, 24).Addr(), Addr6: p6(0, 2).Addr(), Pod4: p4(128, 2, 24).Addr(), Pod6: p6(128, 2).Addr(),
		Second4: p4(0, 3, 24).Addr(), secondPods4: p4(129, 0, 24), SecondPod4: p4(129, 3, 24).Addr(),
	}
}

// build joins the site to the router. Two nodes are on one bridge with it.
func (s *Site) build(t testing.TB, router *Namespace, two bool) error {
	hub := s.Node
	node := "router"
	if two {
		hub, node = NewNamespace(t), "node"
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: s.Interface}, PeerName: node, PeerNamespace: netlink.NsFd(hub.handle),
	}
	if err := router.Links.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	if err := address(router, s.Interface, netip.PrefixFrom(s.gateway4, 24), netip.PrefixFrom(s.gateway6, 64)); err != nil {
		return err
	}
	if two {
		s.Second = NewNamespace(t)
		if err := bridge(hub, node, map[string]*Namespace{"one": s.Node, "two": s.Second}); err != nil {
			return err
		}
		if err := s.configure(s.Second, s.Second4, netip.Addr{}, s.SecondPod4, netip.Addr{}); err != nil {
			return err
		}
	}
	return s.configure(s.Node, s.Addr4, s.Addr6, s.Pod4, s.Pod6)
}

// bridge joins the interface up of hub and a new veth to each of the ports,
// where it is called router.
func bridge(hub *Namespace, up string, ports map[string]*Namespace) error {
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}
	if err := hub.Links.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	names := []string{up}
	for name, to := range ports {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "router", PeerNamespace: netlink.NsFd(to.handle)}
		if err := hub.Links.LinkAdd(veth); err != nil {
			return fmt.Errorf("veth: %w", err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		l, err := hub.Links.LinkByName(name)
		if err != nil {
			return err
		}
		if err := hub.Links.LinkSetMaster(l, br); err != nil {
			return err
		}
		if err := hub.Links.LinkSetUp(l); err != nil {
			return err
		}
	}
	return hub.Links.LinkSetUp(br)
}

// configure gives a node its addresses and its default routes.
func (s *Site) configure(ns *Namespace, node4, node6, pod4, pod6 netip.Addr) error {
	if err := address(ns, "router", netip.PrefixFrom(node4, 24), netip.PrefixFrom(node6, 64)); err != nil {
		return err
	}
	if err := address(ns, "lo", netip.PrefixFrom(pod4, 32), netip.PrefixFrom(pod6, 128)); err != nil {
		return err
	}
	for _, gw := range []netip.Addr{s.gateway4, s.gateway6} {
		if gw.Is6() && !node6.IsValid() {
			continue
		}
		if err := ns.Links.RouteAdd(&netlink.Route{Gw: gw.AsSlice()}); err != nil {
			return fmt.Errorf("route by %v: %w", gw, err)
		}
	}
	return nil
}

func address(ns *Namespace, name string, prefixes ...netip.Prefix) error {
	l, err := ns.Links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	for _, p := range prefixes {
		if !p.IsValid() {
			continue
		}
		a := &netlink.Addr{IPNet: ipnet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := ns.Links.AddrAdd(l, a); err != nil {
			return fmt.Errorf("address %v: %w", p, err)
		}
	}
	return ns.Links.LinkSetUp(l)
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Attachments are the router's interfaces.
func (n *Network) Attachments() []wan.Attachment {
	var out []wan.Attachment
	for _, s := range n.Sites {
		routes := []wan.AttachedRoute{
			{To: s.Nodes4}, {To: s.Nodes6}, {To: s.Pods4, Via: s.Addr4}, {To: s.Pods6, Via: s.Addr6},
		}
		if s.Second != nil {
			routes = append(routes, wan.AttachedRoute{To: s.secondPods4, Via: s.Second4})
		}
		out = append(out, wan.Attachment{Interface: s.Interface, Routes: routes})
	}
	return out
}

// Policy joins the sites: all are peered, and nothing but the given delays
// stands between a and b, and b and c.
func (n *Network) Policy(westEast, eastWest time.Duration) wan.Policy {
	p := wan.Policy{
		Links: []wan.Link{
			{From: "west", To: "east", LinkModel: wan.LinkModel{OneWay: westEast}},
			{From: "east", To: "west", LinkModel: wan.LinkModel{OneWay: eastWest}},
		},
		Peerings: []wan.Peering{{A: "a", B: "b"}, {A: "b", B: "c"}, {A: "a", B: "c"}},
	}
	for _, s := range n.Sites {
		prefixes := []netip.Prefix{s.Nodes4, s.Nodes6, s.Pods4, s.Pods6}
		if s.Second != nil {
			prefixes = append(prefixes, s.secondPods4)
		}
		p.Sites = append(p.Sites, wan.Site{Cluster: s.Cluster, Region: s.Region, Prefixes: prefixes})
	}
	return p
}
