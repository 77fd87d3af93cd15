package netstack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Network joins in-process hosts by a WAN engine. All methods are safe for
// concurrent use.
type Network struct {
	engine engine
	sched  *scheduler
	work   *dispatcher

	mu     sync.RWMutex
	closed bool
	hosts  map[uint32]*Host
	edges  []edge

	tunnels   []*Tunnel
	tunnelled atomic.Pointer[tunnels] // the same, to be read without the lock; nil without

	edgeNAT  *nat        // the load balancers' flows, of all clusters
	hasEdges atomic.Bool // set once there was an edge: its flows outlive it

	stats stats
}

// engine is what the network asks of a *wan.Engine.
type engine interface {
	SendFrom(now time.Time, in wan.Ingress, packet []byte) wan.Verdict
}

// Stats are a network's totals.
type Stats struct {
	Sent       uint64 // packets that hosts sent
	Delivered  uint64 // packets given to a host
	NoHost     uint64 // dropped: admitted by the engine, but nobody has the address
	Down       uint64 // dropped: the host's cable is out
	Duplicated uint64 // copies that links made
	Corrupted  uint64 // dropped: a link flipped a bit, so the transport checksum is wrong
	Overflow   uint64 // dropped: a host's receive queue or the network's memory was full
	InFlight   int    // packets on the way across links
	FlowsLimit uint64 // new service flows dropped because a translation table was full
}

type stats struct {
	sent, delivered, noHost, down, duplicated, corrupted, overflow, flowsLimit atomic.Uint64
}

// Services is what kube-proxy knows: which backend a new flow to a virtual
// address gets. Asked once per flow.
type Services interface {
	// Backend returns the backend for a new flow from src to dst. known tells
	// whether dst is a service at all; a known service without a backend is
	// refused (TCP reset, ICMP port unreachable). It is called with a lock
	// held: it must be quick and must not use the network.
	Backend(protocol uint8, src, dst netip.AddrPort) (backend netip.AddrPort, known bool)
}

// BackendChecker may be implemented by Services, so that flows over UDP, which
// have no end of their own, leave a backend that is gone.
type BackendChecker interface {
	HasBackend(protocol uint8, dst, backend netip.AddrPort) bool
}

// New makes an empty network. Packets between hosts of one site are delivered
// at once; all others as the engine says.
func New(e *wan.Engine) *Network { return newNetwork(e) }

func newNetwork(e engine) *Network {
	n := &Network{engine: e, hosts: map[uint32]*Host{}}
	n.edgeNAT = newNAT(&n.stats)
	n.work = newDispatcher(min(runtime.GOMAXPROCS(0), 4))
	n.sched = newScheduler(n.arrive)
	return n
}

// Close takes every host off the network and stops its goroutines.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	hosts := make([]*Host, 0, len(n.hosts))
	for _, h := range n.hosts {
		hosts = append(hosts, h)
	}
	n.mu.Unlock()
	for _, h := range hosts {
		h.Close()
	}
	n.sched.close()
	n.work.close()
}

// AddHost puts a host on the network. An address that is taken is an error.
func (n *Network) AddHost(name string, addr netip.Addr) (*Host, error) {
	addr = addr.Unmap()
	if !addr.Is4() || addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
		return nil, fmt.Errorf("host %s: %v is not the IPv4 address of a host", name, addr)
	}
	h, err := newHost(n, name, addr)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	n.mu.Lock()
	other := n.hosts[h.key]
	closed := n.closed
	if other == nil && !closed {
		n.hosts[h.key] = h
	}
	n.mu.Unlock()
	if closed {
		h.Close()
		return nil, fmt.Errorf("host %s: network: %w", name, net.ErrClosed)
	}
	if other != nil {
		h.Close()
		return nil, fmt.Errorf("host %s: address %v is taken by %s: %w", name, addr, other.name, ErrAddressTaken)
	}
	return h, nil
}

// ErrAddressTaken is wrapped by AddHost's error.
var ErrAddressTaken = errors.New("address in use on the network")

// Host returns the host that has an address, or nil.
func (n *Network) Host(addr netip.Addr) *Host {
	if addr = addr.Unmap(); !addr.Is4() {
		return nil
	}
	return n.host(key4(addr))
}

func (n *Network) host(key uint32) *Host {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.hosts[key]
}

// Stats returns the totals so far.
func (n *Network) Stats() Stats {
	return Stats{
		Sent: n.stats.sent.Load(), Delivered: n.stats.delivered.Load(),
		NoHost: n.stats.noHost.Load(), Down: n.stats.down.Load(),
		Duplicated: n.stats.duplicated.Load(), Corrupted: n.stats.corrupted.Load(),
		Overflow:   n.stats.overflow.Load() + n.sched.overflow.Load(),
		FlowsLimit: n.stats.flowsLimit.Load(),
		InFlight:   n.sched.pending(),
	}
}

// send takes a packet from a host's cable, or from a translator, and shows it
// to the engine. origin is the address of the host, not valid for a
// translator's. It owns v, and never delivers in the caller's goroutine: that
// may hold locks of an IP stack.
func (n *Network) send(v *buffer.View, origin netip.Addr) {
	n.stats.sent.Add(1)
	if n.hasEdges.Load() && n.edgeNAT.reverse(v.AsSlice()) == natRewritten {
		// A reply of a load balancer's backend leaves with the virtual
		// address, which in a stretched cluster may be of another site.
		origin = netip.Addr{}
	}
	if ts := n.tunnelled.Load(); ts != nil && len(v.AsSlice()) >= ipv4Min {
		var taken bool
		if origin, taken = ts.leave(v, origin); taken {
			return
		}
	}
	now := time.Now()
	b := v.AsSlice()
	verdict := n.engine.SendFrom(now, wan.Ingress{From: origin}, b)
	if verdict.Cause != wan.Delivered {
		if verdict.Reject {
			if answer := wan.Unreachable(b, netip.Addr{}); answer != nil {
				n.deliver(now, verdict.At, 0, buffer.NewViewWithData(answer))
			}
		}
		v.Release()
		return
	}
	if !verdict.Again.IsZero() {
		n.stats.duplicated.Add(1)
		n.deliver(now, verdict.Again, verdict.FlipAgain, buffer.NewViewWithData(b))
	}
	n.deliver(now, verdict.At, verdict.Flip, v)
}

// deliver lets a packet arrive at a time. It owns v.
func (n *Network) deliver(now, at time.Time, flip int, v *buffer.View) {
	switch {
	case flip != 0:
		// Transport checksums are left out here, so it is the network that
		// notices what the receiver would: one wrong bit never adds up.
		n.stats.corrupted.Add(1)
		v.Release()
	case !at.After(now):
		n.arrive(v)
	default:
		n.sched.hold(at, v)
	}
}

// arrive takes a packet that has crossed the WAN, or did not need to.
func (n *Network) arrive(v *buffer.View) {
	b := v.AsSlice()
	if len(b) < ipv4Min {
		v.Release()
		return
	}
	if ts := n.tunnelled.Load(); ts != nil && ts.enter(v) {
		return
	}
	if h := n.host(dstKey(b)); h != nil {
		h.enqueue(v)
		return
	}
	if n.hasEdges.Load() && n.arriveAtEdge(v) {
		return
	}
	n.stats.noHost.Add(1)
	v.Release()
}
