package wan

import (
	"cmp"
	"math"
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
	// Epoch is the moment that the links' schedules count from. While it is
	// zero they have not begun, and links are as given.
	Epoch time.Time `json:",omitzero"`
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
	// Schedule changes the link over time, in the order of its moments. A
	// packet meets each link on its way as it is when the packet enters the WAN.
	Schedule []Change `json:",omitempty"`
}

// Change is a link from a moment on: the whole model, not what differs.
type Change struct {
	At time.Duration // after Policy.Epoch
	LinkModel
}

// LinkModel is what a link does to packets.
type LinkModel struct {
	OneWay  time.Duration // propagation delay; the mean, where there is jitter
	Jitter  time.Duration `json:",omitempty"` // standard deviation of the delay, which is cut off at 0
	Shape   Shape         `json:",omitempty"` // how jitter is distributed
	Reorder bool          `json:",omitempty"` // whether jitter may reorder; else it rises at once and sinks slowly, as a queue does
	Loss    LossModel
	// Duplicate is the chance, 0 to 1, that a packet which is not lost comes
	// twice. The copy takes its own time on the link. A packet is duplicated
	// once at most, however many links it crosses.
	Duplicate float64 `json:",omitempty"`
	// Corrupt is the chance, 0 to 1, that one bit behind the IP headers of a
	// packet (and of its copy, by itself) is flipped.
	Corrupt    float64       `json:",omitempty"`
	RateBps    uint64        `json:",omitempty"` // bits per second; 0 is unlimited
	Queue      time.Duration `json:",omitempty"` // longest wait for serialisation before tail drop; 0 means DefaultQueue
	QueueBytes uint64        `json:",omitempty"` // the queue in bytes instead: a packet that must wait is dropped if it does not fit behind the others
	Down       bool          `json:",omitempty"` // everything is dropped
	Reject     bool          `json:",omitempty"` // with Down: the sender is told, by ICMP
}

// QueueTime is how long a packet waits at most that the queue takes; 0 without
// a rate.
func (m *LinkModel) QueueTime() time.Duration {
	switch {
	case m.RateBps == 0:
		return 0
	case m.QueueBytes > 0:
		return transmission(int(min(m.QueueBytes, math.MaxInt)), m.RateBps)
	}
	return cmp.Or(m.Queue, DefaultQueue)
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
	// Routed says that only what Routes list passes, even where they list
	// nothing.
	Routed bool `json:",omitempty"`
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

// Rule admits Ports from one cluster to another; stateful, so replies pass. A
// pair of clusters that any rule names is ruled, whatever addresses the rule
// is for.
type Rule struct {
	Name     string `json:",omitempty"` // may be empty; several rules may have the same
	From, To string
	// Source and Destination are the ranges of the two clusters that the rule
	// is for; all addresses where they are the zero Prefix.
	Source      netip.Prefix `json:",omitzero"`
	Destination netip.Prefix `json:",omitzero"`
	Ports       []Port
}

// Port is an IP protocol number and a destination port (0: any; ICMP has none).
type Port struct {
	Protocol uint8
	Number   uint16
}

// Ingress is what a door knows of a packet beside its bytes. The zero value
// is a plain packet of unknown origin.
type Ingress struct {
	// From is an address of where the packet came in, such as the host's that
	// sent it. A packet whose source address is in another site is dropped as
	// Spoofed. The zero Addr claims nothing.
	From netip.Addr
	// Super is given for a super-packet.
	Super Super
}

// Super describes a super-packet: several segments of one flow, which segment
// offloading (GSO) has left in one packet.
type Super struct {
	Header  int // bytes of headers, IP included, that each segment has
	Payload int // bytes of payload of each segment but the last, which may have less; 0: no super-packet
}

// Verdict is the engine's answer for one packet.
type Verdict struct {
	Cause Cause
	Local bool      // within one site: deliver at once, no link involved
	At    time.Time // when to deliver, if Cause is Delivered and not Local
	Link  int       // index into Counters: the last link crossed, or the one that dropped it; -1 if none
	// Flip is the bit to flip before delivery, 0 for none: bit Flip%8 (0 being
	// the highest) of byte Flip/8. Its transport checksum must be in the packet
	// before, where offloading left it out; see [FlipBit].
	Flip int
	// Again is when to deliver a second copy, with FlipAgain; it is not before
	// At, and zero where there is none.
	Again     time.Time
	FlipAgain int
	// Reject is set for a dropped packet whose sender is to be told, at At, by
	// what [Unreachable] makes of the packet.
	Reject bool
	// Segment is set for a super-packet that may not pass as one, because the
	// links on its way treat its segments each by itself. Nothing was counted:
	// the door segments it and sends the segments one by one.
	Segment bool
}

// Counters are the totals of one link since the engine was made; they outlive
// policy swaps. Packets are those on the wire: a super-packet counts as its
// segments, a copy as one more. What was offered to the link, together with
// Duplicated, is Packets and what was dropped.
type Counters struct {
	From, To   string           // regions; equal for the link between clusters of one region
	Packets    uint64           // delivered
	Bytes      uint64           // delivered, IP headers included
	Dropped    map[Cause]uint64 `json:",omitempty"`
	Duplicated uint64           `json:",omitempty"` // copies made here, whether they were delivered or not
	Corrupted  uint64           `json:",omitempty"` // delivered with a bit flipped
	// QueueMax is the longest wait for serialisation so far, Queued the sum of
	// all: over the packets of a period it is their mean wait.
	QueueMax, Queued time.Duration
}

// PairCounters are the totals of what one cluster sent another, end to end,
// whichever links it crossed. They count the drops that no link sees: no
// peering, no route, denied. A name is empty where an address is in no site;
// both are for packets that could not be read.
type PairCounters struct {
	From, To   string // clusters
	Packets    uint64
	Bytes      uint64
	Dropped    map[Cause]uint64 `json:",omitempty"`
	Duplicated uint64           `json:",omitempty"`
	Corrupted  uint64           `json:",omitempty"`
}
