// Package tun joins real networks by the WAN engine: a router in a network
// namespace or a container, on any Linux kernel that has TUN devices.
//
//	engine, err := wan.New(policy, seed)
//	router, err := tun.Open(tun.Config{
//		Engine: engine,
//		Attachments: []wan.Attachment{
//			{Interface: "eth0", Routes: []wan.AttachedRoute{{To: euNodes}, {To: euPods, Via: euNode}}},
//			{Interface: "eth1", Routes: []wan.AttachedRoute{{To: usNodes}, {To: usPods, Via: usNode}}},
//		},
//	})
//	defer router.Close()
//	err = router.Run(ctx)
//
// # The way of a packet
//
// Each attachment has a TUN device of its own (wan0, wan1 …), so that the
// engine knows where a packet came in, and a forged source address is seen.
// Policy routing sends what comes in by eth0 into wan0, unless it is meant for
// eth0's own ranges; that the kernel turns round as any router does. The router
// reads the packet, asks the engine, and writes it back to the same device when
// it is due; what comes out of a TUN device is routed to the attachments' ranges
// and nowhere else.
//
// What is neither local nor the engine's is unreachable: the rules send nothing
// to the main table. A TUN device vanishes with its process, and its route with
// it; below that route lies a black hole. So a router that dies,
// however it dies, takes the network with it, and nothing passes it by.
//
// # Super-packets
//
// The kernel hands over TCP and UDP packets of up to 64 KiB, uncut and without
// checksums (IFF_VNET_HDR), and takes them back so. Where every link on the way
// treats the packets alike they pass untouched; where there is loss, jitter,
// duplication, corruption, reordering or a low rate the engine asks for the
// packets they stand for, and the router cuts them as the kernel would have.
//
// # MTU
//
// The kernel forwards into the TUN and out of it, so it also says what routers
// say: a packet that is too large for the TUN's MTU, or for the interface it
// leaves by, is fragmented or answered with "fragmentation needed" or "packet
// too big". The TUN has the largest MTU of the attachments unless the
// configuration gives a smaller one. TCP's maximum segment size is not
// rewritten: whoever tests how a product copes with a small MTU must see it do
// so, and what is not TCP would not be helped.
//
// # Time
//
// One thread reads, asks and writes, and sleeps in ppoll until the next packet
// is due or comes. It is scheduled in real time, and spins for the last
// microseconds before a packet is due, where the machine permits; and it keeps
// processors from sleeping while packets are near. [Router.Report] tells what
// was granted. A packet's time counts from when it
// was read, so that none is released early. What it waits in the device's queue
// before, until the thread is awake, is added to its delay; that queue is short.
//
// The thread needs one of Go's processors whenever it wakes up. A process that
// does more than route should have one to spare (GOMAXPROCS).
package tun
