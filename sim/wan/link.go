package wan

import (
	"hash/fnv"
	"math"
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
	rng      *rand.Rand
	bad      bool       // Gilbert-Elliott
	busy     []interval // when the transmitter is taken, sorted, disjoint
	last     map[int]time.Time
	state    float64   // of the jitter, in standard deviations
	wobbled  time.Time // when it was so
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
		rng:      rand.New(rand.NewPCG(seed, h.Sum64())),
		last:     map[int]time.Time{},
		counters: Counters{From: from, To: to},
	}
}

// send puts a packet of size bytes, which entered the WAN at now and comes to
// this link at arrives, on the link. ingress is the link it comes from.
func (l *link) send(m *LinkModel, now, arrives time.Time, ingress, size int) (time.Time, Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var cause Cause
	var sent time.Time
	switch {
	case m.Down:
		cause = LinkDown
	case l.lose(&m.Loss):
		cause = Lost
	default:
		sent, cause = l.serialise(m, now, arrives, size)
	}
	if cause != Delivered {
		l.dropped[cause]++
		return time.Time{}, cause
	}
	delay := m.OneWay
	if m.Jitter > 0 {
		// 24 h of delay and 10 standard deviations of 24 h stay far from overflow.
		delay = max(0, delay+time.Duration(clamp(l.wobble(m, sent), 10)*float64(m.Jitter)))
	}
	at := sent.Add(delay)
	if !m.Reorder {
		// In order per ingress: packets in transit arrive here in the future,
		// and those sent directly must not wait for them.
		if last := l.last[ingress]; at.Before(last) {
			at = last
		}
		l.last[ingress] = at
	}
	l.counters.Packets++
	l.counters.Bytes += uint64(size)
	return at, Delivered
}

// minMemory is the least correlation time of jitter.
const minMemory = 20 * time.Millisecond

// wobble returns the jitter of a packet that is sent at a time, in standard
// deviations. Where jitter may reorder, every packet draws its own. Else each
// would wait for the slowest before it, and a busy link would be slower than
// it says; so there the jitter wanders as a queue on the way would: an
// Ornstein-Uhlenbeck process, normal at any time, forgetting what it was in
// ten times the deviation (20 ms at least). What waiting for the predecessor
// adds is then below a fifth of the deviation.
func (l *link) wobble(m *LinkModel, sent time.Time) float64 {
	fresh := l.rng.NormFloat64()
	if m.Reorder {
		return fresh
	}
	since := sent.Sub(l.wobbled)
	switch {
	case l.wobbled.IsZero():
		l.state = fresh
	case since <= 0: // transit and direct traffic mix: no time has passed
		return l.state
	default:
		keep := math.Exp(-float64(since) / float64(max(minMemory, 10*m.Jitter)))
		l.state = keep*l.state + math.Sqrt(1-keep*keep)*fresh
	}
	l.wobbled = sent
	return l.state
}

// clamp bounds a standard normal variable to ±limit.
func clamp(x, limit float64) float64 { return math.Max(-limit, math.Min(limit, x)) }

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
	limit := m.Queue
	if limit == 0 {
		limit = DefaultQueue
	}
	if wait > limit {
		return time.Time{}, QueueFull
	}
	l.counters.QueueMax = max(l.counters.QueueMax, wait)
	end := start.Add(takes)
	l.take(i, interval{start, end})
	return end, Delivered
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
