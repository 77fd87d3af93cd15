// Package wan is the engine of the simulated wide-area network: it decides,
// packet by packet, what becomes of IP traffic between clusters.
//
//	engine, err := wan.New(wan.Policy{
//		Sites: []wan.Site{
//			{Cluster: "eu", Region: "eu-west", Prefixes: eu},
//			{Cluster: "us", Region: "us-west", Prefixes: us},
//		},
//		Links: []wan.Link{
//			{From: "eu-west", To: "us-west", LinkModel: wan.LinkModel{OneWay: 70 * time.Millisecond}},
//			{From: "us-west", To: "eu-west", LinkModel: wan.LinkModel{OneWay: 70 * time.Millisecond}},
//		},
//		Peerings: []wan.Peering{{A: "eu", B: "us"}},
//	}, seed)
//	verdict := engine.Send(now, packet) // deliver at verdict.At, or drop for verdict.Cause
//
// # The way of a packet
//
// A packet's source and destination addresses are looked up in the sites, the
// longest prefix winning. Within one site it is local and the engine has
// nothing to say. Between the sites of one (stretched) cluster it crosses the
// link of their regions. Between clusters it needs a peering, and where the
// peering has routes, a route; a route with Via takes it through another
// cluster, link after link. Then the rules are asked, which remember flows so
// that replies pass. Then each link on the way in turn: cut or not, the loss
// model, serialisation at the link's rate with a bounded queue, propagation
// delay and jitter, a flipped bit, and perhaps a second copy of the packet.
//
// Clusters of one region are joined by an implicit link of
// [ImplicitOneWay] each way, unless the policy has a link from the region to itself.
//
// # What a door does
//
// The engine has no I/O; a door (sim/netstack, sim/tun) shows it packets and
// does what the verdict says: delivers at its time, a second copy at another,
// flips a bit, answers with what [Unreachable] makes. A door that knows where
// a packet came in, or that has super-packets of segment offloading, says so
// with [Engine.SendFrom].
//
// # Determinism
//
// The engine does no I/O, has no clock and starts no goroutine. Each link has
// a generator of its own, seeded from the engine's seed and the link's two
// regions: what happens on one link does not depend on the traffic of others.
// A link's schedule goes by the times of the packets and the policy's epoch.
package wan
