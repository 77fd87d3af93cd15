package wan

import (
	"cmp"
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
	ways   map[pair]way
	links  []*link
	// totals remembers the pair counters by the clusters' indices in this
	// policy, -1 standing for "in no site"; the engine keeps them by name.
	totals sync.Map // pair → *pairTotal
}

// way is one link as a policy has it.
type way struct {
	index int
	link  *link
	model *LinkModel
}

type pairTotal struct {
	from, to       string
	packets, bytes atomic.Uint64
	dropped        [numCauses]atomic.Uint64
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
	f := &inForce{Table: t, policy: p, ways: make(map[pair]way, len(t.order))}
	for _, key := range t.order {
		names := [2]string{t.regions[key.from], t.regions[key.to]}
		i, ok := e.index[names]
		if !ok {
			i = len(e.links)
			e.index[names] = i
			e.links = append(e.links, newLink(e.seed, names[0], names[1]))
		}
		model := t.links[key]
		f.ways[key] = way{i, e.links[i], &model}
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
	f := e.now.Load()
	seen := e.taps.Load() // nil unless somebody watches
	h, ok := parse(packet)
	if !ok {
		e.total(f, pair{-1, -1}).dropped[Malformed].Add(1)
		if seen != nil {
			seen.show(f, pair{-1, -1}, nil, Sighting{Enters: now, Cause: Malformed, Packet: packet})
		}
		return Verdict{Cause: Malformed, Link: -1}
	}
	src, dst := f.find(h.src), f.find(h.dst)
	if src >= 0 && src == dst {
		return Verdict{Local: true, Link: -1}
	}
	clusters := pair{-1, -1}
	if src >= 0 {
		clusters.from = f.sites[src].cluster
	}
	if dst >= 0 {
		clusters.to = f.sites[dst].cluster
	}
	total := e.total(f, clusters)
	if src < 0 || dst < 0 {
		total.dropped[NoSite].Add(1)
		if seen != nil {
			seen.show(f, clusters, nil, Sighting{Enters: now, Cause: NoSite, Packet: packet})
		}
		return Verdict{Cause: NoSite, Link: -1}
	}
	p, cause := f.route(src, dst, h.dst)
	if cause == Delivered && !e.admit(f, now, clusters, &h, packet) {
		cause = Denied
	}
	if cause != Delivered {
		total.dropped[cause].Add(1)
		if seen != nil {
			seen.show(f, clusters, nil, Sighting{Enters: now, Cause: cause, Packet: packet})
		}
		return Verdict{Cause: cause, Link: -1}
	}
	v := Verdict{At: now, Link: direct}
	for _, hop := range p.hops[:p.n] {
		w := f.ways[hop]
		enters := v.At
		v.At, v.Cause = w.link.send(w.model, now, v.At, v.Link, len(packet))
		v.Link = w.index
		if seen != nil {
			seen.show(f, clusters, &w, Sighting{Enters: enters, Leaves: v.At, Cause: v.Cause, Packet: packet})
		}
		if v.Cause != Delivered {
			total.dropped[v.Cause].Add(1)
			return v
		}
	}
	total.packets.Add(1)
	total.bytes.Add(uint64(len(packet)))
	return v
}

// admit asks the rules.
func (e *Engine) admit(f *inForce, now time.Time, key pair, h *header, packet []byte) bool {
	if key.from == key.to || len(f.rules) == 0 {
		return true
	}
	_, ruled := f.rules[key]
	if !ruled {
		if _, back := f.rules[pair{key.to, key.from}]; !back {
			return true
		}
	}
	if h.kind == echoRequest && f.policy.Probes.Contains(h.srcPort) ||
		h.kind == echoReply && f.policy.Probes.Contains(h.dstPort) {
		return true
	}
	// What the rules do not speak of passes; its flow is remembered, because
	// the other direction is ruled and must let the replies through.
	known := e.flows.admit(now, h, packet, f.admits(key, h.protocol, h.dstPort))
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
		out = append(out, PairCounters{t.from, t.to, t.packets.Load(), t.bytes.Load(), causes(&dropped)})
	}
	slices.SortFunc(out, func(a, b PairCounters) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}
