package wan

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// link is one direction between two regions: what it remembers between
// packets, and its totals. Its model comes with each packet, from the policy in force.
type link struct {
	mu       sync.Mutex
	rng      rand.Rand
	bad      bool              // Gilbert-Elliott
	busy     []interval        // when the transmitter is taken, sorted, disjoint
	last     time.Time         // when the last packet that came directly arrives
	transit  map[int]time.Time // … of those that came by another link, by its index
	state    float64           // of the jitter, in standard deviations
	wobbled  time.Time         // when it was so
	answers  budget
	counters Counters
	dropped  [numCauses]uint64
}

// interval is when the transmitter is taken.
type interval struct{ from, to time.Time }

// direct is the ingress of packets that come from a cluster, not from another link.
const direct = -1

func newLink(seed uint64, from, to string) *link {
	h := fnv.New64a()
	_, _ = h.Write([]byte(from + "\x00" + to)) // a hash takes everything
	return &link{
		rng:      *rand.New(rand.NewPCG(seed, h.Sum64())),
		counters: Counters{From: from, To: to},
	}
}

// parcel is a packet, or a super-packet, as links see it.
type parcel struct {
	size       int       // bytes on the wire
	segments   int       // how many packets that is; more than one for a super-packet
	entered    time.Time // the WAN
	body, end  int       // what may be corrupted: from byte to byte
	answerable bool      // an ICMP error may be sent about it
}

// flight is one of the at most two packets that a parcel is on its way.
type flight struct {
	at      time.Time // here; later, where the last link ended
	ingress int       // the link it comes from
	flip    int
	copy    bool
}

// outcome is what a link made of a packet.
type outcome struct {
	cause   Cause
	doubled bool   // a copy was made,
	again   flight // made here
	extra   Cause  // unless it was dropped
	reject  bool
	segment bool // a super-packet that the queue would drop whole: nothing was done
}

// send puts a packet on the link: c becomes what comes out of it.
// mayDouble tells whether the link may duplicate it.
func (l *link) send(m *LinkModel, p *parcel, c *flight, index int, mayDouble bool) (o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	arrives, ingress := c.at, c.ingress
	var sent time.Time
	switch {
	case m.Down:
		o.cause = LinkDown
		o.reject = m.Reject && p.answerable && l.answers.spend(p.entered)
	case l.lose(&m.Loss):
		o.cause = Lost
	default:
		sent, o.cause = l.serialise(m, p.entered, arrives, p.size)
		o.segment = o.cause == QueueFull && p.segments > 1
	}
	if o.segment {
		return o
	}
	if o.cause != Delivered {
		l.dropped[o.cause] += uint64(p.segments)
		return o
	}
	c.ingress = index
	l.propagate(m, p, c, sent, ingress)
	if m.Duplicate == 0 || !mayDouble || l.rng.Float64() >= m.Duplicate {
		return o
	}
	o.doubled = true
	l.counters.Duplicated++
	if sent, o.extra = l.serialise(m, p.entered, arrives, p.size); o.extra != Delivered {
		l.dropped[o.extra]++
		return o
	}
	o.again = flight{ingress: index, copy: true}
	l.propagate(m, p, &o.again, sent, ingress)
	return o
}

// propagate takes a packet, sent at a time, to the end of the link.
func (l *link) propagate(m *LinkModel, p *parcel, c *flight, sent time.Time, ingress int) {
	delay := m.OneWay
	if m.Jitter > 0 {
		// 24 h of delay and 24 standard deviations of 24 h stay far from overflow.
		delay = max(0, delay+time.Duration(l.wobble(m, sent)*float64(m.Jitter)))
	}
	c.at = sent.Add(delay)
	if !m.Reorder {
		// In order per ingress: packets in transit arrive here in the future,
		// and those sent directly must not wait for them.
		if last := l.lastFrom(ingress); c.at.Before(last) {
			c.at = last
		}
		l.arrived(ingress, c.at)
	}
	if m.Corrupt > 0 && l.rng.Float64() < m.Corrupt && p.body < p.end {
		c.flip = 8*p.body + l.rng.IntN(8*(p.end-p.body))
		l.counters.Corrupted++
	}
	l.counters.Packets += uint64(p.segments)
	l.counters.Bytes += uint64(p.size)
}

func (l *link) lastFrom(ingress int) time.Time {
	if ingress == direct {
		return l.last
	}
	return l.transit[ingress]
}

func (l *link) arrived(ingress int, at time.Time) {
	switch {
	case ingress == direct:
		l.last = at
	case l.transit == nil:
		l.transit = map[int]time.Time{ingress: at}
	default:
		l.transit[ingress] = at
	}
}

// budget limits what a link answers, as Linux' icmp_msgs_per_sec and
// icmp_msgs_burst do, and RFC 1812 and RFC 4443 ask for.
type budget struct {
	left   float64
	filled time.Time
}

const (
	answersPerSecond = 1000
	answersBurst     = 50
)

func (b *budget) spend(now time.Time) bool {
	if b.filled.IsZero() {
		b.left = answersBurst
	} else if since := now.Sub(b.filled); since > 0 {
		b.left = min(answersBurst, b.left+since.Seconds()*answersPerSecond)
	}
	b.filled = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// lose asks the loss model: it decides in the present state, then the state changes.
func (l *link) lose(m *LossModel) bool {
	if *m == (LossModel{}) {
		l.bad = false
		return false
	}
	chance, change := m.Good, m.Enter
	if l.bad {
		chance, change = m.Bad, m.Leave
	}
	lost := chance > 0 && l.rng.Float64() < chance
	if change > 0 && l.rng.Float64() < change {
		l.bad = !l.bad
	}
	return lost
}

// maxIntervals bounds the memory of a link on which direct and transit
// traffic mix; beyond it the earliest gap is given up.
const maxIntervals = 1024

// serialise takes the transmitter for the packet's time at the link's rate,
// at the first gap that fits from its arrival on. It returns when the last
// bit has left.
func (l *link) serialise(m *LinkModel, now, arrives time.Time, size int) (time.Time, Cause) {
	if m.RateBps == 0 {
		return arrives, Delivered
	}
	// Packets enter at now at the earliest, so what lies before is of no use.
	past := 0
	for past < len(l.busy) && !l.busy[past].to.After(now) {
		past++
	}
	l.busy = slices.Delete(l.busy, 0, past)

	takes := transmission(size, m.RateBps)
	start, i := arrives, 0
	for ; i < len(l.busy); i++ {
		if !start.Add(takes).After(l.busy[i].from) {
			break
		}
		if l.busy[i].to.After(start) {
			start = l.busy[i].to
		}
	}
	wait := start.Sub(arrives)
	if m.full(wait, size) {
		return time.Time{}, QueueFull
	}
	l.counters.QueueMax = max(l.counters.QueueMax, wait)
	l.counters.Queued += wait
	end := start.Add(takes)
	l.take(i, interval{start, end})
	return end, Delivered
}

// full tells whether the queue drops a packet that would wait for so long.
func (m *LinkModel) full(wait time.Duration, size int) bool {
	if m.QueueBytes == 0 {
		return wait > cmp.Or(m.Queue, DefaultQueue)
	}
	if wait == 0 {
		return false // the transmitter takes it at once
	}
	// What will be sent until then, rounded down.
	hi, lo := bits.Mul64(uint64(wait), m.RateBps)
	if hi >= 8*uint64(time.Second) {
		return true
	}
	ahead, _ := bits.Div64(hi, lo, 8*uint64(time.Second))
	return ahead+uint64(size) > m.QueueBytes
}

// take inserts an interval before the i-th, and joins it with neighbours it touches.
func (l *link) take(i int, iv interval) {
	if i > 0 && l.busy[i-1].to.Equal(iv.from) {
		i--
		iv.from = l.busy[i].from
		l.busy = slices.Delete(l.busy, i, i+1)
	}
	if i < len(l.busy) && l.busy[i].from.Equal(iv.to) {
		iv.to = l.busy[i].to
		l.busy = slices.Delete(l.busy, i, i+1)
	}
	l.busy = slices.Insert(l.busy, i, iv)
	if len(l.busy) > maxIntervals {
		l.busy[1].from = l.busy[0].from
		l.busy = slices.Delete(l.busy, 0, 1)
	}
}

// transmission returns how long size bytes take at a rate, rounded up, so
// that the rate is never exceeded; a day at most.
func transmission(size int, bps uint64) time.Duration {
	hi, lo := bits.Mul64(uint64(size)*8, uint64(time.Second))
	if hi >= bps {
		return maxDelay
	}
	d, rest := bits.Div64(hi, lo, bps)
	if rest > 0 {
		d++
	}
	return time.Duration(min(d, uint64(maxDelay)))
}

func (l *link) snapshot() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counters
	c.Dropped = causes(&l.dropped)
	return c
}

func causes(dropped *[numCauses]uint64) map[Cause]uint64 {
	var m map[Cause]uint64
	for cause, n := range dropped {
		if n > 0 {
			if m == nil {
				m = map[Cause]uint64{}
			}
			m[Cause(cause)] = n
		}
	}
	return m
}
