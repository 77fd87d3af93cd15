// Package netstack is a network of in-process hosts: each one a whole IP stack
// (gVisor's) with an address, joined to the others by a [wan.Engine]. It needs
// no privileges, no devices and no ports of the machine.
//
//	n := netstack.New(engine)
//	defer n.Close()
//	server, _ := n.AddHost("eu/hello", netip.MustParseAddr("10.21.0.5"))
//	l, _ := server.Listen("tcp", ":5000")
//	go http.Serve(l, handler)
//
//	client, _ := n.AddHost("us/sleep", netip.MustParseAddr("10.31.0.7"))
//	c, err := client.DialContext(ctx, "tcp", "10.21.0.5:5000") // crosses the WAN
//
// Every packet a host sends is shown to the engine as the bytes of an IP
// packet. What stays in its site is delivered at once; the rest is held until
// the moment the engine names. A packet that may not pass is dropped without
// an answer, as security lists do: a connection to a forbidden place times out.
// Only a link that rejects answers, by ICMP: there a connection fails at once.
//
// Beside hosts there are the two translators of a Kubernetes cluster, both
// driven by [Services]: a kube-proxy on a host ([Host.SetServices]) and a load
// balancer at the edge of a cluster ([Network.SetEdge]).
//
// A machine may be in an overlay ([Network.AddTunnel]): then it has two
// addresses, and what it sends to the overlay's other machines goes through a
// tunnel of which only the datagrams are on the network.
//
// What differs from a real network: IPv4 only; transport checksums are left
// out, as with offloading network cards, so a packet with a bit flipped on a
// link is dropped by the network, not by the host that it comes to; a retransmission is never delayed for
// longer than 10 s (Linux: 120 s), so that a healed partition is seen to heal;
// a connection is remembered for 10 s after it closed (Linux: 60 s).
package netstack
