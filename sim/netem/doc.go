// Package netem is the second driver of real networks: it has the kernel do
// what the engine of sim/wan does, for a policy that the kernel's means can
// express. What they cannot is refused with the link's name, never ignored.
//
//	d, err := netem.Open(netem.Config{Namespace: ns, Attachments: as, Policy: p})
//	go d.Run(ctx)
//
// Unproven: the kernel it was written on has no sch_netem. What it asks of the
// kernel is tested against golden files, and all but the netem requests
// themselves against that kernel; the contract test (sim/wan/drivertest) runs
// where netem is and is skipped elsewhere, saying so.
//
// # How
//
// An nftables table decides who may talk to whom: sites, peerings, routes and
// rules, with conntrack as memory. It gives each packet that may pass the
// number of its link, as its priority. All interfaces send through one IFB
// device, so that a link is shared by all that crosses it, and there each link
// is an HTB class with three queueing disciplines, one in the other:
//
//	tbf    cuts super-packets where the link treats packets one by one
//	netem  loses, delays, and reorders where asked for
//	tbf    holds the rate, with a queue in bytes
//
// Changing a policy changes these in place: what waits in them stays.
//
// # What differs from the engine
//
// The rate counts 14 bytes of Ethernet header per packet, and is held behind
// the delay, not before it: with a constant delay nobody can tell. Normal
// jitter ends at four deviations. Loss is not a function of the seed. A packet
// that netem's own queue has no room for counts as lost; the queue is sized
// for ten times the link's rate, or 10 Gbit/s. A flow whose packets are out of
// TCP's window is known to the engine's rules, but not to conntrack.
package netem
