package wan

import (
	"net/netip"
	"time"
)

// Policy is everything the engine knows: who lives where, how regions are
// joined, who may talk to whom. It is data; Compile makes it fast. A new
// Policy replaces the old one whole.
type Policy struct {
	Sites    []Site
	Links    []Link
	Peerings []Peering
	Routes   []Route
	Rules    []Rule
}

// Site is the part of a cluster that is in one region. Most clusters are one
// site; a stretched cluster is several, each with the ranges of its nodes and
// their pods. Longest prefix wins.
type Site struct {
	Cluster  string
	Region   string
	Prefixes []netip.Prefix
}

// Link is one direction between two regions.
type Link struct {
	From, To string
	LinkModel
}

// LinkModel is what a link does to packets.
type LinkModel struct {
	OneWay  time.Duration // propagation delay
	Jitter  time.Duration // standard deviation of a normal variation of OneWay, cut off at 0
	Reorder bool          // whether jitter may reorder; else a packet waits for its predecessor
	Loss    LossModel
	RateBps uint64        // bits per second; 0 is unlimited
	Queue   time.Duration // longest wait for serialisation before tail drop; 0 means 100 ms
	Down    bool          // everything is dropped
}

// LossModel is Gilbert-Elliott; independent (Bernoulli) loss is Good alone.
type LossModel struct {
	Good, Bad    float64 // chance to lose a packet in either state, 0 to 1
	Enter, Leave float64 // chance, per packet, to go into and out of the bad state
}

// Peering lets two clusters exchange traffic; both directions, unless Routes
// are given (see Route).
type Peering struct {
	A, B string
	Down bool
}

// Route limits a peering: where a peered pair has any route in Policy.Routes,
// From reaches only what its routes list. Via names a transit cluster.
type Route struct {
	From    string
	Peering [2]string
	To      netip.Prefix
	Via     string
}

// Rule admits Ports from one cluster to another; stateful, so replies pass.
type Rule struct {
	From, To string
	Ports    []Port
}

// Port is an IP protocol number and a destination port (0: any; ICMP has none).
type Port struct {
	Protocol uint8
	Number   uint16
}

// Cause says why a packet was dropped.
type Cause uint8

// The causes.
const (
	Delivered Cause = iota
	Malformed       // not an IP packet, or truncated
	NoSite          // source or destination in no site
	NoPeering       // the clusters are not peered, or the peering is down
	NoRoute         // no route leads there
	NoLink          // peered, but no link joins the regions
	Denied          // no rule admits it
	LinkDown        // the link is cut
	Lost            // the loss model took it
	QueueFull       // tail drop at the link's rate
	numCauses
)

// Verdict is the engine's answer for one packet.
type Verdict struct {
	Cause Cause
	Local bool      // within one site: deliver at once, no link involved
	At    time.Time // when to deliver, if Cause is Delivered and not Local
	Link  int       // index into Counters, -1 if no link was crossed
}

// Counters are the totals of one link since the engine was made; they outlive
// policy swaps.
type Counters struct {
	From, To string // regions
	Packets  uint64 // delivered
	Bytes    uint64
	Dropped  map[Cause]uint64 `json:",omitempty"`
	// QueueMax is the longest wait for serialisation so far.
	QueueMax time.Duration
}
