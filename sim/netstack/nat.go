package netstack

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Flows are forgotten after being idle for these times, which are Linux'
// (nf_conntrack), but for established TCP, where Linux has 5 days.
const (
	tcpEstablished = 24 * time.Hour
	tcpOpening     = 120 * time.Second
	tcpClosing     = 10 * time.Second
	udpReplied     = 120 * time.Second
	udpOneWay      = 30 * time.Second
	fragmentsFor   = 30 * time.Second
	sweepEvery     = 5 * time.Second
)

// maxFlows bounds a translation table; a full one drops new flows, as Linux
// does. maxFragments bounds the datagrams whose fragments are being followed.
const (
	maxFlows     = 65536
	maxFragments = 256
)

// nat sends flows to virtual addresses on to backends and gives the replies
// the virtual address again: what netfilter does for kube-proxy. A flow has
// two tuples that are looked up: the client's, client→virtual, and the reply's,
// backend→client. The client's address is kept, and so is its port unless
// another flow to the same backend has it.
type nat struct {
	stats *stats
	used  atomic.Bool // false: there never was a flow, nothing to look up

	mu        sync.Mutex
	fwd, rev  map[tuple]*flow
	fragments map[fragmentKey]fragmentOf
	swept     int64
	portHint  uint16
	start     time.Time
}

type flow struct {
	orig tuple // client → virtual
	back tuple // backend → client; the source of a hairpin is the virtual address
	last int64 // when a packet was seen, in ns since nat.start

	replied    bool
	finO, finR bool // FIN seen from the client, from the backend
	closing    bool
}

type fragmentKey struct {
	src, dst uint32
	id       uint16
	proto    uint8
}

// fragmentOf is what the first fragment was rewritten to.
type fragmentOf struct {
	to    tuple
	until int64
}

func newNAT(s *stats) *nat {
	return &nat{stats: s, start: time.Now(), fwd: map[tuple]*flow{}, rev: map[tuple]*flow{}}
}

// natResult is what became of a packet.
type natResult uint8

const (
	natUntouched natResult = iota // none of ours
	natRewritten
	natRefused // a service without a backend
	natDropped
)

// forward translates a packet from a client to a virtual address. services
// may be nil: then only flows that are known pass.
func (n *nat) forward(services Services, b []byte) natResult {
	if services == nil && !n.used.Load() {
		return natUntouched
	}
	t, l4, frag, ok := parse(b)
	if !ok {
		return natUntouched
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := int64(time.Since(n.start))
	if frag == laterFragment {
		return n.rewriteFragment(b, t, now)
	}
	f := n.fwd[t]
	if f != nil && n.stale(f, services, t, l4, now) {
		n.remove(f)
		f = nil
	}
	if f == nil {
		if services == nil {
			return natUntouched
		}
		backend, known := services.Backend(t.proto, t.source(), t.destination())
		if !known {
			return natUntouched
		}
		backendAddr := backend.Addr().Unmap()
		if !backendAddr.Is4() || backend.Port() == 0 {
			return natRefused
		}
		if f = n.add(t, key4(backendAddr), backend.Port(), now); f == nil {
			n.stats.flowsLimit.Add(1)
			return natDropped
		}
	}
	f.see(l4, now, false)
	to := f.back.inverse()
	n.noteFragment(b, t, to, frag, now)
	rewrite(b, to, frag)
	return natRewritten
}

// reverse translates a reply from a backend, and ICMP errors about packets to
// it.
func (n *nat) reverse(b []byte) natResult {
	if !n.used.Load() || len(b) < ipv4Min {
		return natUntouched
	}
	if b[9] == protoICMP {
		return n.reverseError(b)
	}
	t, l4, frag, ok := parse(b)
	if !ok {
		return natUntouched
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := int64(time.Since(n.start))
	if frag == laterFragment {
		return n.rewriteFragment(b, t, now)
	}
	f := n.rev[t]
	if f == nil {
		return natUntouched
	}
	f.see(l4, now, true)
	to := f.orig.inverse()
	n.noteFragment(b, t, to, frag, now)
	rewrite(b, to, frag)
	return natRewritten
}

// reverseError translates an ICMP error that quotes a packet to a backend, so
// that the client recognises its own.
func (n *nat) reverseError(b []byte) natResult {
	ihl := int(b[0]&0xf) * 4
	if ihl < ipv4Min || len(b) < ihl+icmpMin+ipv4Min+8 {
		return natUntouched
	}
	switch header.ICMPv4Type(b[ihl]) {
	case header.ICMPv4DstUnreachable, header.ICMPv4TimeExceeded, header.ICMPv4ParamProblem:
	default:
		return natUntouched
	}
	quoted := b[ihl+icmpMin:]
	qihl := int(quoted[0]&0xf) * 4
	if qihl < ipv4Min || len(quoted) < qihl+8 || binary.BigEndian.Uint16(quoted[6:])&0x1fff != 0 {
		return natUntouched
	}
	sent := tuple{
		src: srcKey(quoted), dst: dstKey(quoted), proto: quoted[9],
		sport: binary.BigEndian.Uint16(quoted[qihl:]), dport: binary.BigEndian.Uint16(quoted[qihl+2:]),
	}
	n.mu.Lock()
	f := n.rev[sent.inverse()]
	n.mu.Unlock()
	if f == nil {
		return natUntouched
	}
	rewrite(quoted, f.orig, whole)
	if srcKey(b) == sent.dst {
		binary.BigEndian.PutUint32(b[12:], f.orig.dst)
	}
	binary.BigEndian.PutUint32(b[16:], f.orig.src)
	sumIP(b[:ihl])
	sumICMP(b[ihl:])
	return natRewritten
}

// see notes what a packet says about its flow's life.
func (f *flow) see(l4 []byte, now int64, reply bool) {
	f.last = now
	f.replied = f.replied || reply
	if f.orig.proto != protoTCP {
		return
	}
	flags := header.TCP(l4).Flags()
	if flags&header.TCPFlagFin != 0 {
		f.finR = f.finR || reply
		f.finO = f.finO || !reply
	}
	if flags&header.TCPFlagRst != 0 || f.finO && f.finR {
		f.closing = true
	}
}

func (f *flow) expired(now int64) bool {
	limit := tcpEstablished
	switch {
	case f.orig.proto == protoUDP && f.replied:
		limit = udpReplied
	case f.orig.proto == protoUDP:
		limit = udpOneWay
	case f.closing:
		limit = tcpClosing
	case !f.replied:
		limit = tcpOpening
	}
	return now-f.last > int64(limit)
}

// stale tells whether a packet of a known flow begins another: the flow is
// over and its port used again, it was idle for too long, or its backend over
// UDP is gone. Established TCP stays where it is.
func (n *nat) stale(f *flow, services Services, t tuple, l4 []byte, now int64) bool {
	if f.expired(now) {
		return true
	}
	if t.proto == protoTCP {
		flags := header.TCP(l4).Flags()
		return f.closing && flags&header.TCPFlagSyn != 0 && flags&header.TCPFlagAck == 0
	}
	c, ok := services.(BackendChecker)
	return ok && !c.HasBackend(t.proto, t.destination(), f.back.source())
}

// add makes a flow, or returns nil when there is no room for it.
func (n *nat) add(t tuple, backend uint32, port uint16, now int64) *flow {
	n.sweep(now)
	if len(n.fwd) >= maxFlows {
		return nil
	}
	back := tuple{proto: t.proto, src: backend, sport: port, dst: t.src, dport: t.sport}
	if backend == t.src {
		// A hairpin: the client is its own backend. Were the source its own
		// address, the reply would not come by here to be translated.
		back.dst = t.dst
	}
	for tries := 0; n.rev[back] != nil; tries++ {
		if tries == 4096 {
			return nil
		}
		n.portHint++
		back.dport = 1024 + n.portHint%(65535-1024)
	}
	f := &flow{orig: t, back: back, last: now}
	n.fwd[t], n.rev[back] = f, f
	n.used.Store(true)
	return f
}

func (n *nat) remove(f *flow) {
	delete(n.fwd, f.orig)
	delete(n.rev, f.back)
}

// sweep forgets what is over. It looks at everything, so not too often: not
// at every packet while a table is full either.
func (n *nat) sweep(now int64) {
	if now-n.swept < int64(sweepEvery) {
		return
	}
	n.swept = now
	for _, f := range n.fwd {
		if f.expired(now) {
			n.remove(f)
		}
	}
	for k, f := range n.fragments {
		if now > f.until {
			delete(n.fragments, k)
		}
	}
}

// noteFragment remembers where the first fragment of a datagram goes; the
// others carry no ports.
func (n *nat) noteFragment(b []byte, from, to tuple, frag fragment, now int64) {
	if frag != firstFragment {
		return
	}
	if len(n.fragments) >= maxFragments {
		n.sweep(now)
		if len(n.fragments) >= maxFragments {
			return
		}
	}
	if n.fragments == nil {
		n.fragments = map[fragmentKey]fragmentOf{}
	}
	k := fragmentKey{from.src, from.dst, binary.BigEndian.Uint16(b[4:]), from.proto}
	n.fragments[k] = fragmentOf{to, now + int64(fragmentsFor)}
}

func (n *nat) rewriteFragment(b []byte, t tuple, now int64) natResult {
	f, ok := n.fragments[fragmentKey{t.src, t.dst, binary.BigEndian.Uint16(b[4:]), t.proto}]
	if !ok || now > f.until {
		return natUntouched
	}
	rewrite(b, f.to, laterFragment)
	return natRewritten
}

// flows returns how many flows are known.
func (n *nat) flows() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.fwd)
}
