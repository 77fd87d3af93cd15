package netem

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Limits of the kernel's means.
const (
	// maxLinks is how many classes there are: three handles of 16 bits for each.
	maxLinks = 0x2fff
	// maxJitter is what netem holds in 32 signed bits of nanoseconds.
	maxJitter = math.MaxInt32 * time.Nanosecond
	// tick is the unit of a token bucket's depth (PSCHED_SHIFT 6).
	tick = 64 * time.Nanosecond
)

// unlimited is the rate, in bytes per second, of a token bucket that is not to
// limit anything: the largest that older kernels hold in 32 bits.
const unlimited = 4_000_000_000

// ethernet is the header that the kernel counts with each packet.
const ethernet = 14

// shape is what one link asks of the kernel.
type shape struct {
	from, to string
	class    uint16
	segment  bool // super-packets are cut: the link treats packets one by one
	delay    time.Duration
	jitter   time.Duration
	table    []int16 // of the jitter; nil is uniform
	loss     wan.LossModel
	limit    uint32 // packets that netem holds
	rate     uint64 // bytes per second
	burst    uint32 // bytes
	queue    uint32 // bytes that wait for the rate
	down     bool
	reject   bool
}

// translation is what a policy asks of the kernel.
type translation struct {
	shapes []shape
	sites  []siteRules
}

// siteRules is what becomes of what a site sends.
type siteRules struct {
	cluster, region string
	ranges          []wan.Range // its own
	to              []verdict
}

// verdict is what becomes of packets to a range.
type verdict struct {
	wan.Range
	cause wan.Cause // Delivered, or why there is no way
	local bool
	class uint16     // of the link
	rules []wan.Port // admitted, where ruled
	ruled bool
	// probes are exempt from the rules.
	probes wan.IDRange
}

// translator gathers what a policy asks for, and what cannot be had.
type translator struct {
	policy  *wan.Policy
	mtu     int
	classOf func(from, to string) uint16 // for good, as long as the driver is there
	seen    map[[2]string]uint16
	out     translation
	refused []error
}

// translate says what a policy asks of the kernel, or all that the kernel
// cannot do of it. mtu is the largest of the interfaces.
func translate(p wan.Policy, mtu int, classOf func(from, to string) uint16) (*translation, error) {
	table, err := p.Compile()
	if err != nil {
		return nil, err
	}
	t := &translator{policy: &p, mtu: mtu, classOf: classOf, seen: map[[2]string]uint16{}}
	for _, l := range p.Links {
		if len(l.Schedule) > 0 {
			t.refuse(l.From, l.To, "schedule", "the kernel changes nothing by itself")
		}
		t.link(l.From, l.To, &l.LinkModel)
	}
	t.sites(table)
	if len(t.out.shapes) > maxLinks {
		t.refused = append(t.refused, fmt.Errorf("netem: %d links: there are %d classes: %w", len(t.out.shapes), maxLinks, errors.ErrUnsupported))
	}
	return &t.out, errors.Join(t.refused...)
}

func (t *translator) refuse(from, to, property, why string) {
	t.refused = append(t.refused, fmt.Errorf("netem: link %s→%s: %s: %s: %w", from, to, property, why, errors.ErrUnsupported))
}

// link shapes a link once.
func (t *translator) link(from, to string, m *wan.LinkModel) uint16 {
	if class, ok := t.seen[[2]string{from, to}]; ok {
		return class
	}
	class := t.classOf(from, to)
	t.seen[[2]string{from, to}] = class
	s := shape{
		from: from, to: to, class: class, delay: m.OneWay, jitter: m.Jitter, loss: m.Loss,
		rate: unlimited, burst: superFrame, queue: unlimitedQueue, down: m.Down, reject: m.Down && m.Reject,
	}
	s.segment = m.Jitter > 0 || m.Loss != (wan.LossModel{}) || m.RateBps > 0
	t.jitter(&s, m)
	t.rate(&s, m)
	s.limit = netemLimit(m)
	if m.Duplicate > 0 {
		t.refuse(from, to, "duplicate", "since Linux 6.16 no tree with several netem queues may duplicate")
	}
	if m.Corrupt > 0 {
		t.refuse(from, to, "corrupt", "netem flips bits of headers too")
	}
	t.out.shapes = append(t.out.shapes, s)
	return class
}

func (t *translator) jitter(s *shape, m *wan.LinkModel) {
	switch {
	case m.Jitter == 0:
	case !m.Reorder:
		t.refuse(s.from, s.to, "jitter that keeps the order", "netem draws each packet's delay by itself, it does not wander; say reorder")
	case m.Jitter > maxJitter:
		t.refuse(s.from, s.to, "jitter", fmt.Sprintf("%v is above %v, 32 bits of nanoseconds", m.Jitter, maxJitter))
	case m.Shape == wan.Normal:
		s.table = normalTable()
	case m.Shape == wan.Uniform:
		// netem's half-width is the deviation times √3.
		wide := time.Duration(math.Round(float64(m.Jitter) * math.Sqrt(3)))
		if wide > maxJitter {
			t.refuse(s.from, s.to, "jitter", fmt.Sprintf("±%v is above %v, 32 bits of nanoseconds", wide, maxJitter))
		}
		s.jitter = wide
	default:
		t.refuse(s.from, s.to, "jitter of shape "+m.Shape.String(), "netem's tables end at four deviations, where its tail begins")
	}
}

// superFrame is the largest frame that segment offloading leaves whole.
const superFrame = 65536 + ethernet

// unlimitedQueue is room in front of a rate that does not limit.
const unlimitedQueue = 64 << 20

func (t *translator) rate(s *shape, m *wan.LinkModel) {
	if m.RateBps == 0 {
		return
	}
	frame := uint64(t.frame())
	s.rate = m.RateBps / 8 // rounded down: the rate is never exceeded
	if s.rate == 0 || frame*uint64(time.Second)/s.rate/uint64(tick) > math.MaxUint32 {
		t.refuse(s.from, s.to, "rate", fmt.Sprintf("at %d bit/s a packet takes longer than 32 bits of ticks of %v", m.RateBps, tick))
		s.rate = unlimited
		return
	}
	// A quarter of a millisecond, so that timers may be late.
	s.burst = uint32(min(max(frame, s.rate/4000), math.MaxUint32))
	queue := m.QueueBytes
	if queue == 0 {
		wait := m.Queue
		if wait == 0 {
			wait = wan.DefaultQueue
		}
		// What waits longest has this before it, and is itself in the queue.
		queue = uint64(float64(s.rate)*wait.Seconds()) + frame
	}
	s.queue = uint32(min(max(queue, frame), math.MaxUint32))
}

func (t *translator) frame() int { return t.mtu + ethernet }

// The bounds of what netem holds, in packets, and what it is sized for.
const (
	minHeld = 1000 // its default
	maxHeld = 4 << 20
	// meanPacket is in bytes; smaller packets at full rate do not fit.
	meanPacket = 512
	// assumedRate is in bytes per second, for links without a rate.
	assumedRate = 10_000_000_000 / 8
)

// netemLimit sizes netem's queue, which it counts in packets: rate × delay. The
// link's own rate comes behind the delay, so that what arrives may be more;
// beyond ten times the rate it would be dropped there anyway.
func netemLimit(m *wan.LinkModel) uint32 {
	rate := float64(assumedRate)
	if m.RateBps > 0 {
		rate = min(rate, 10*float64(m.RateBps)/8)
	}
	held := rate * (m.OneWay + 4*m.Jitter).Seconds() / meanPacket
	return uint32(min(max(math.Ceil(held), minHeld), maxHeld))
}

// sites says what becomes of what each site sends to each.
func (t *translator) sites(table *wan.Table) {
	ranges := table.Ranges()
	pieces := cut(ranges, t.policy.Routes)
	index := map[[2]string]int{}
	for _, r := range ranges {
		key := [2]string{r.Cluster, r.Region}
		i, ok := index[key]
		if !ok {
			i = len(t.out.sites)
			index[key] = i
			t.out.sites = append(t.out.sites, siteRules{cluster: r.Cluster, region: r.Region})
		}
		t.out.sites[i].ranges = append(t.out.sites[i].ranges, r)
	}
	for i := range t.out.sites {
		s := &t.out.sites[i]
		for _, to := range pieces {
			v := t.verdict(table, s, to)
			if n := len(s.to); n > 0 && s.to[n-1].Last.Next() == v.First && s.to[n-1].same(&v) {
				s.to[n-1].Last = v.Last
				continue
			}
			s.to = append(s.to, v)
		}
	}
}

func (v *verdict) same(o *verdict) bool {
	return v.Cluster == o.Cluster && v.Region == o.Region && v.cause == o.cause && v.class == o.class
}

func (t *translator) verdict(table *wan.Table, s *siteRules, to wan.Range) verdict {
	v := verdict{Range: to}
	if to.Cluster == s.cluster && to.Region == s.region {
		v.local = true
		return v
	}
	var hops []wan.Hop
	if hops, v.cause = table.Path(s.ranges[0].First, to.First); v.cause != wan.Delivered {
		return v
	}
	for _, h := range hops[1:] {
		t.refuse(h.From, h.To, fmt.Sprintf("transit from %s to %s", s.cluster, to.Cluster), "a packet has one class, and so one link")
		return v
	}
	v.class = t.link(hops[0].From, hops[0].To, &hops[0].Link)
	if s.cluster != to.Cluster {
		for _, r := range t.policy.Rules {
			if r.From == s.cluster && r.To == to.Cluster {
				if r.Source.IsValid() || r.Destination.IsValid() {
					t.refuse(hops[0].From, hops[0].To, fmt.Sprintf("a rule for a part of %s or %s", r.From, r.To), "rules are made for whole clusters")
				}
				v.ruled, v.probes = true, t.policy.Probes
				v.rules = append(v.rules, r.Ports...)
			}
		}
	}
	return v
}

// cut splits ranges where routes begin or end, so that each piece has one way.
func cut(ranges []wan.Range, routes []wan.Route) []wan.Range {
	var edges []netip.Addr // first addresses
	for _, r := range routes {
		edges = append(edges, r.To.Masked().Addr())
		if next := lastOf(r.To).Next(); next.IsValid() {
			edges = append(edges, next)
		}
	}
	slices.SortFunc(edges, netip.Addr.Compare)
	var out []wan.Range
	for _, r := range ranges {
		for _, e := range edges {
			if e.BitLen() == r.First.BitLen() && r.First.Less(e) && e.Compare(r.Last) <= 0 {
				piece := r
				piece.Last = e.Prev()
				out = append(out, piece)
				r.First = e
			}
		}
		out = append(out, r)
	}
	return out
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
