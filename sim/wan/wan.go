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
	Links    []Link    `json:",omitempty"`
	Peerings []Peering `json:",omitempty"`
	Routes   []Route   `json:",omitempty"`
	Rules    []Rule    `json:",omitempty"`
	// Probes are the identifiers of ICMP echoes (requests and replies) that
	// the rules do not apply to: the lab's own measurements. Peerings, routes
	// and links apply to them as to everything. The zero value exempts none.
	Probes IDRange
}

// IDRange is a range of ICMP identifiers, First and Last included. The zero
// value is empty.
type IDRange struct{ First, Last uint16 }

// Contains tells whether id is in the range.
func (r IDRange) Contains(id uint16) bool {
	return r != IDRange{} && r.First <= id && id <= r.Last
}

// LabProbes is the range that plans set and that drivers take the identifiers
// of their measuring pings from; ordinary echoes stay outside it.
var LabProbes = IDRange{First: 0xa700, Last: 0xa7ff}

// ImplicitOneWay is the delay, each way, between clusters of one region.
const ImplicitOneWay = 250 * time.Microsecond

// DefaultQueue is the longest wait for serialisation on a link that names none.
const DefaultQueue = 100 * time.Millisecond

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
	Jitter  time.Duration `json:",omitempty"` // standard deviation of a normal variation of OneWay, cut off at 0; wanders unless Reorder
	Reorder bool          `json:",omitempty"` // whether jitter may reorder; else a packet waits for its predecessor
	Loss    LossModel
	RateBps uint64        `json:",omitempty"` // bits per second; 0 is unlimited
	Queue   time.Duration `json:",omitempty"` // longest wait for serialisation before tail drop; 0 means DefaultQueue
	Down    bool          `json:",omitempty"` // everything is dropped
}

// LossModel is Gilbert-Elliott; independent (Bernoulli) loss is Good alone.
type LossModel struct {
	Good  float64 `json:",omitempty"` // chance to lose a packet in the good state, 0 to 1
	Bad   float64 `json:",omitempty"` // … in the bad state
	Enter float64 `json:",omitempty"` // chance, after each packet, to go from the good state to the bad
	Leave float64 `json:",omitempty"` // … and back
}

// Ratio is the share of packets lost in the long run.
func (l LossModel) Ratio() float64 {
	if l.Enter == 0 {
		return l.Good // the bad state is never entered
	}
	bad := l.Enter / (l.Enter + l.Leave)
	return (1-bad)*l.Good + bad*l.Bad
}

// Peering lets two clusters exchange traffic; both directions, unless Routes
// are given (see Route). One that is Down cuts its two clusters apart, by
// whatever way their traffic would go.
type Peering struct {
	A, B string
	Down bool `json:",omitempty"`
}

// Route is an entry of a cluster's route table: From sends what is meant for
// To through the peering. Where a peering has any route, its two clusters use
// it for what their routes list and for nothing else; as in a route table,
// replies need a route of their own. Of several routes that match, the one
// with the longest prefix counts. Via names a transit cluster, which From must
// be peered with, and which passes the packet on by its own peerings and routes.
type Route struct {
	From    string
	Peering [2]string
	To      netip.Prefix
	Via     string `json:",omitempty"`
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

// Verdict is the engine's answer for one packet.
type Verdict struct {
	Cause Cause
	Local bool      // within one site: deliver at once, no link involved
	At    time.Time // when to deliver, if Cause is Delivered and not Local
	Link  int       // index into Counters: the last link crossed, or the one that dropped it; -1 if none
}

// Counters are the totals of one link since the engine was made; they outlive
// policy swaps.
type Counters struct {
	From, To string           // regions; equal for the link between clusters of one region
	Packets  uint64           // delivered
	Bytes    uint64           // delivered, IP headers included
	Dropped  map[Cause]uint64 `json:",omitempty"`
	// QueueMax is the longest wait for serialisation so far.
	QueueMax time.Duration
}

// PairCounters are the totals of what one cluster sent another, end to end,
// whichever links it crossed. They count the drops that no link sees: no
// peering, no route, denied. A name is empty where an address is in no site;
// both are for packets that could not be read.
type PairCounters struct {
	From, To string // clusters
	Packets  uint64
	Bytes    uint64
	Dropped  map[Cause]uint64 `json:",omitempty"`
}
