// Package capture writes what crosses a WAN as pcapng, which Wireshark opens.
//
//	err := capture.Run(ctx, engine, file, capture.Options{Link: []string{"eu-west", "us-west"}})
//
// Every direction of a link is an interface of the file, named FROM>TO. A
// packet is stamped when it enters the link, to the nanosecond, so that an
// answer is as far from its question as the link is long. What was dropped is
// there too, with the cause as its comment: the display filter
// frame.comment contains "dropped" finds it.
//
// Packets are IP packets as the engine gets them: without Ethernet header,
// larger than the MTU where a door passes super-packets on, and with whatever
// checksum a sender leaves to its network card.
package capture
