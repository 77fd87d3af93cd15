package wan

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Engine decides, packet by packet. It does no I/O, has no clock and starts no
// goroutine. Safe for concurrent use.
type Engine struct {
	seed  uint64
	now   atomic.Pointer[inForce]
	flows flows

	swap  sync.Mutex // held while a policy is compiled and put in force
	index map[[2]string]int
	links []*link // append only; indices are those of Counters

	tapsMu sync.Mutex // held while taps change
	taps   atomic.Pointer[taps]

	pairsMu sync.RWMutex
	pairs   map[[2]string]*pairTotal
}

// inForce is a compiled policy joined to the engine's links.
type inForce struct {
	*Table
	policy Policy
	ways   map[pair]*way
	links  []*link
	// lanes remembers what holds for every packet from one site to another,
	// by their indices, so that a packet costs one look.
	lanes sync.Map // pair → *lane
	// totals are the pair counters by the clusters' indices in this policy, -1
	// standing for "in no site"; the engine keeps them by name.
	totals sync.Map // pair → *pairTotal
}

// lane is the way from one site to another.
type lane struct {
	clusters pair
	total    *pairTotal
	ruled    bool // rules are to be asked, of one direction or the other
	// fixed tells that cause and ways hold for every address of the
	// destination; else they hang on routes, and each packet finds its own.
	fixed bool
	cause Cause
	ways  []*way
}

// way is one link as a policy has it: its models over time, the first being
// the one before any change.
type way struct {
	index int
	link  *link
	steps []step
}

type step struct {
	from  time.Time // of all but the first
	model LinkModel
	even  bool // it delays every packet alike, or drops all
}

func newStep(from time.Time, m LinkModel) step {
	even := m.Down || m.Jitter == 0 && m.Loss == (LossModel{}) && m.Duplicate == 0 && m.Corrupt == 0
	return step{from, m, even}
}

// at returns what the link is at a moment.
func (w *way) at(now time.Time) *step {
	low, high := 1, len(w.steps) // the answer is the one before the first that begins later
	for low < high {
		mid := int(uint(low+high) >> 1)
		if w.steps[mid].from.After(now) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return &w.steps[low-1]
}

type pairTotal struct {
	from, to              string
	packets, bytes        atomic.Uint64
	duplicated, corrupted atomic.Uint64
	dropped               [numCauses]atomic.Uint64
}

// New compiles a policy. Equal seeds and equal packets at equal times give
// equal verdicts.
func New(p Policy, seed uint64) (*Engine, error) {
	e := &Engine{seed: seed, index: map[[2]string]int{}, pairs: map[[2]string]*pairTotal{}}
	if err := e.Swap(p); err != nil {
		return nil, err
	}
	return e, nil
}

// Swap puts another policy in force while packets flow. Flows that rules have
// admitted stay known; links present in both policies keep their counters and generators.
func (e *Engine) Swap(p Policy) error {
	t, err := p.Compile()
	if err != nil {
		return err
	}
	e.swap.Lock()
	defer e.swap.Unlock()
	f := &inForce{Table: t, policy: p, ways: make(map[pair]*way, len(t.order))}
	for _, key := range t.order {
		names := [2]string{t.regions[key.from], t.regions[key.to]}
		i, ok := e.index[names]
		if !ok {
			i = len(e.links)
			e.index[names] = i
			e.links = append(e.links, newLink(e.seed, names[0], names[1]))
		}
		w := &way{index: i, link: e.links[i], steps: []step{newStep(time.Time{}, t.links[key])}}
		if !p.Epoch.IsZero() {
			for _, c := range t.schedules[key] {
				w.steps = append(w.steps, newStep(p.Epoch.Add(c.At), c.LinkModel))
			}
		}
		f.ways[key] = w
	}
	f.links = slices.Clone(e.links)
	e.now.Store(f)
	return nil
}

// Policy returns the policy in force, for reading.
func (e *Engine) Policy() Policy { return e.now.Load().policy }

// Table returns the policy in force, compiled.
func (e *Engine) Table() *Table { return e.now.Load().Table }

// Send decides what becomes of one IP packet that enters the WAN now. It
// neither changes nor keeps the packet.
func (e *Engine) Send(now time.Time, packet []byte) Verdict {
	return e.SendFrom(now, Ingress{}, packet)
}

// SendFrom is Send for a door that knows more of the packet than its bytes.
func (e *Engine) SendFrom(now time.Time, in Ingress, packet []byte) Verdict {
	f := e.now.Load()
	h, ok := parse(packet)
	p := passage{
		f: f, seen: e.taps.Load(), packet: packet, clusters: pair{-1, -1},
		parcel: parcel{size: len(packet), segments: 1, entered: now, body: h.body, end: h.end},
	}
	if !ok || !in.Super.split(&p.parcel) {
		return e.drop(&p, Malformed)
	}
	src, dst := f.find(h.src), f.find(h.dst)
	if in.From.IsValid() {
		if origin := f.find(in.From.Unmap()); origin != src {
			p.clusters = f.clustersOf(origin, dst)
			return e.drop(&p, Spoofed)
		}
	}
	if src >= 0 && src == dst {
		return Verdict{Local: true, Link: -1}
	}
	if src < 0 || dst < 0 {
		p.clusters = f.clustersOf(src, dst)
		return e.drop(&p, NoSite)
	}
	l := e.lane(f, pair{src, dst})
	p.clusters, p.total = l.clusters, l.total
	cause, ways := l.cause, l.ways
	if !l.fixed {
		var room [maxHops]*way
		cause, ways = f.waysTo(src, dst, h.dst, room[:0])
	}
	if cause != Delivered {
		return e.drop(&p, cause)
	}
	if p.segments > 1 && !whole(ways, &p.parcel) {
		return Verdict{Segment: true, Link: -1}
	}
	if l.ruled && !e.admit(f, now, p.clusters, &h, packet) {
		return e.drop(&p, Denied)
	}
	p.answerable = answerable(&h, packet)
	return p.cross(ways)
}

// lane returns the way from one site to another.
func (e *Engine) lane(f *inForce, key pair) *lane {
	if l, ok := f.lanes.Load(key); ok {
		return l.(*lane)
	}
	l := &lane{clusters: f.clustersOf(key.from, key.to)}
	l.total = e.total(f, l.clusters)
	if back := (pair{l.clusters.to, l.clusters.from}); l.clusters != back {
		l.ruled = f.rules[l.clusters] != nil || f.rules[back] != nil
	}
	if l.fixed = f.fixed(l.clusters); l.fixed {
		l.cause, l.ways = f.waysTo(key.from, key.to, netip.Addr{}, nil)
	}
	f.lanes.Store(key, l)
	return l
}

// waysTo appends the links from one site to an address in another.
func (f *inForce) waysTo(src, dst int32, to netip.Addr, ways []*way) (Cause, []*way) {
	p, cause := f.route(src, dst, to)
	if cause != Delivered {
		return cause, nil
	}
	for _, hop := range p.hops[:p.n] {
		ways = append(ways, f.ways[hop])
	}
	return Delivered, ways
}

// drop tells and counts what came to no link.
func (e *Engine) drop(p *passage, cause Cause) Verdict {
	e.total(p.f, p.clusters).dropped[cause].Add(uint64(p.segments))
	if p.seen != nil {
		p.seen.show(p.f, p.clusters, nil, Sighting{Sent: p.entered, Enters: p.entered, Last: true, Cause: cause, Packet: p.packet})
	}
	return Verdict{Cause: cause, Link: -1}
}

// admit asks the rules of a pair of clusters of which at least one direction
// has any.
func (e *Engine) admit(f *inForce, now time.Time, key pair, h *header, packet []byte) bool {
	_, ruled := f.rules[key]
	if h.kind == echoRequest && f.policy.Probes.Contains(h.srcPort) ||
		h.kind == echoReply && f.policy.Probes.Contains(h.dstPort) {
		return true
	}
	// What the rules do not speak of passes; its flow is remembered, because
	// the other direction is ruled and must let the replies through.
	known := e.flows.admit(now, h, packet, f.admits(key, h.src, h.dst, Port{h.protocol, h.dstPort}))
	return known || !ruled
}

// total returns the counters of a pair of clusters of f, -1 being none.
func (e *Engine) total(f *inForce, key pair) *pairTotal {
	if t, ok := f.totals.Load(key); ok {
		return t.(*pairTotal)
	}
	var names [2]string
	if key.from >= 0 {
		names[0] = f.clusters[key.from]
	}
	if key.to >= 0 {
		names[1] = f.clusters[key.to]
	}
	e.pairsMu.Lock()
	defer e.pairsMu.Unlock()
	t, ok := e.pairs[names]
	if !ok {
		t = &pairTotal{from: names[0], to: names[1]}
		e.pairs[names] = t
	}
	f.totals.Store(key, t)
	return t
}

// Counters returns a copy of every link's totals.
func (e *Engine) Counters() []Counters {
	f := e.now.Load()
	out := make([]Counters, len(f.links))
	for i, l := range f.links {
		out[i] = l.snapshot()
	}
	return out
}

// Pairs returns a copy of the totals between clusters, those without any
// packet left out, sorted by name.
func (e *Engine) Pairs() []PairCounters {
	e.pairsMu.RLock()
	defer e.pairsMu.RUnlock()
	out := make([]PairCounters, 0, len(e.pairs))
	for _, t := range e.pairs {
		var dropped [numCauses]uint64
		for i := range t.dropped {
			dropped[i] = t.dropped[i].Load()
		}
		out = append(out, PairCounters{
			t.from, t.to, t.packets.Load(), t.bytes.Load(), causes(&dropped), t.duplicated.Load(), t.corrupted.Load(),
		})
	}
	slices.SortFunc(out, func(a, b PairCounters) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}
