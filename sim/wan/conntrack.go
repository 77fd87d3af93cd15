package wan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How long a flow is remembered without a packet, and how many flows at most.
const (
	idleTCP      = time.Hour
	idleClosed   = 10 * time.Second // both sides have sent FIN: time for the last ACK and its repetition
	idleUDP      = 3 * time.Minute
	idleICMP     = 30 * time.Second
	idleFragment = 30 * time.Second
	idleOther    = 10 * time.Minute

	flowShards    = 64
	flowsPerShard = 1024
	sweepEvery    = 30 * time.Second
)

// flowKey names a flow from its initiator's side.
type flowKey struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	ident            uint32 // of fragments; else 0
	protocol         uint8
	fragment         bool
}

func (k flowKey) reverse() flowKey {
	k.src, k.dst = k.dst, k.src
	k.srcPort, k.dstPort = k.dstPort, k.srcPort
	return k
}

// shard is the same for a flow and its reverse.
func (k *flowKey) shard() int {
	sum := func(a netip.Addr, port uint16) uint64 {
		n := numberOf(a)
		h := (n.hi ^ n.lo ^ uint64(port)<<40) * 0x9e3779b97f4a7c15
		return h ^ h>>29
	}
	h := sum(k.src, k.srcPort) + sum(k.dst, k.dstPort) + uint64(k.ident)
	return int(h * 0xbf58476d1ce4e5b9 >> 58) // the top 6 bits: flowShards
}

type flow struct {
	expires time.Time
	fins    uint8 // 1: the initiator's, 2: the other side's
}

// flows is the memory of the rules.
type flows struct {
	shards [flowShards]struct {
		sync.Mutex
		known map[flowKey]flow
		sweep time.Time
	}
}

// admit decides on a packet between two clusters of which at least one
// direction has rules. open tells whether the rules alone would admit it.
func (f *flows) admit(now time.Time, h *header, packet []byte, open bool) bool {
	switch h.kind {
	case icmpError:
		inner, ok := h.quoted(packet)
		return ok && f.knows(now, &inner) || open
	case fragment:
		_, ok := f.lookup(now, h.fragmentKey())
		return ok
	case icmpOther, unattributed:
		return open
	}
	if !f.known(now, h) {
		if h.kind == echoReply || !open {
			return false
		}
		f.remember(now, h.key(), flow{expires: now.Add(idle(h.protocol))})
		if h.protocol == TCP && h.flags&tcpRST != 0 {
			f.forget(h.key())
		}
	}
	if h.more {
		f.remember(now, h.fragmentKey(), flow{expires: now.Add(idleFragment)})
	}
	return true
}

// key names the flow as if h's sender were the initiator. An echo's
// identifier stands for the requester's port, so that a reply's key is the
// reverse of its request's.
func (h *header) key() flowKey {
	return flowKey{src: h.src, dst: h.dst, srcPort: h.srcPort, dstPort: h.dstPort, protocol: h.protocol}
}

func (h *header) fragmentKey() flowKey {
	return flowKey{src: h.src, dst: h.dst, ident: h.ident, protocol: h.protocol, fragment: true}
}

func idle(protocol uint8) time.Duration {
	switch protocol {
	case TCP:
		return idleTCP
	case UDP:
		return idleUDP
	case ICMP, ICMPv6:
		return idleICMP
	}
	return idleOther
}

// known tells whether the packet is of a known flow, either direction, and
// notes what it means for the flow.
func (f *flows) known(now time.Time, h *header) bool {
	k := h.key()
	s := &f.shards[k.shard()]
	s.Lock()
	defer s.Unlock()
	side := uint8(1)
	fl, ok := s.known[k]
	if !ok {
		// A SYN alone opens a flow of its own, it never answers one.
		if h.protocol == TCP && h.flags&(tcpSYN|tcpACK) == tcpSYN {
			return false
		}
		k, side = k.reverse(), 2
		fl, ok = s.known[k]
	}
	if !ok {
		return false
	}
	if !now.Before(fl.expires) {
		delete(s.known, k)
		return false
	}
	fl.expires = now.Add(idle(h.protocol))
	if h.protocol == TCP {
		switch {
		case h.flags&tcpRST != 0:
			delete(s.known, k)
			return true
		case h.flags&tcpSYN != 0:
			fl.fins = 0 // the ports are used anew
		case h.flags&tcpFIN != 0:
			fl.fins |= side
		}
		if fl.fins == 3 {
			fl.expires = now.Add(idleClosed)
		}
	}
	s.known[k] = fl
	return true
}

// knows tells whether the packet is of a known flow, without touching it.
func (f *flows) knows(now time.Time, h *header) bool {
	if h.kind != ordinary && h.kind != echoRequest && h.kind != echoReply {
		return false
	}
	_, there := f.lookup(now, h.key())
	_, back := f.lookup(now, h.key().reverse())
	return there || back
}

func (f *flows) lookup(now time.Time, k flowKey) (flow, bool) {
	s := &f.shards[k.shard()]
	s.Lock()
	defer s.Unlock()
	fl, ok := s.known[k]
	return fl, ok && now.Before(fl.expires)
}

func (f *flows) forget(k flowKey) {
	s := &f.shards[k.shard()]
	s.Lock()
	defer s.Unlock()
	delete(s.known, k)
}

// remember adds a flow; in a full shard it takes the place of the expired
// ones, or else of some that would expire first.
func (f *flows) remember(now time.Time, k flowKey, fl flow) {
	s := &f.shards[k.shard()]
	s.Lock()
	defer s.Unlock()
	if s.known == nil {
		s.known = map[flowKey]flow{}
	}
	if len(s.known) >= flowsPerShard || !now.Before(s.sweep) {
		for key, old := range s.known {
			if !now.Before(old.expires) {
				delete(s.known, key)
			}
		}
		s.sweep = now.Add(sweepEvery)
	}
	if len(s.known) >= flowsPerShard {
		evict(s.known, flowsPerShard/16)
	}
	s.known[k] = fl
}

// evict forgets the n flows that would expire first; several at once, because
// finding them takes a look at all.
func evict(known map[flowKey]flow, n int) {
	keys := slices.SortedFunc(maps.Keys(known), func(a, b flowKey) int {
		return cmp.Or(known[a].expires.Compare(known[b].expires), a.compare(b))
	})
	for _, k := range keys[:n] {
		delete(known, k)
	}
}

// compare orders keys, so that which flow is forgotten does not hang on the
// order of a map.
func (k flowKey) compare(o flowKey) int {
	rank := func(k flowKey) uint64 { return uint64(k.srcPort)<<48 | uint64(k.dstPort)<<32 | uint64(k.ident) }
	kind := func(k flowKey) int {
		if k.fragment {
			return 1
		}
		return 0
	}
	return cmp.Or(
		k.src.Compare(o.src), k.dst.Compare(o.dst), cmp.Compare(rank(k), rank(o)),
		cmp.Compare(k.protocol, o.protocol), cmp.Compare(kind(k), kind(o)),
	)
}
