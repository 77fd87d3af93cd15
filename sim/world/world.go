package world

import (
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/clock"
	"github.com/atoll-dev/atoll/sim/wan"
)

// World is a network and its clock. It is not safe for concurrent use: hosts
// are called one after another, each at its time.
type World struct {
	engine *wan.Engine
	clock  *clock.Virtual[event]
	hosts  map[netip.Addr]func(packet []byte)
	stats  Stats
}

// Stats are a world's totals. What was sent, and Duplicated, is what was
// Delivered, Dropped, came to NoHost, or is InFlight.
type Stats struct {
	Sent       uint64
	Duplicated uint64 // copies that links made, and did not drop
	Delivered  uint64 // given to a host
	Dropped    uint64 // by the engine
	NoHost     uint64 // arrived where nobody listens
	InFlight   uint64
}

// event is a packet that arrives, or something to do.
type event struct {
	packet []byte
	flip   int
	do     func()
}

// New makes an empty world, whose clock shows start.
func New(e *wan.Engine, start time.Time) *World {
	w := &World{engine: e, hosts: map[netip.Addr]func([]byte){}}
	w.clock = clock.NewVirtual(start, w.happen)
	return w
}

// Now returns the time.
func (w *World) Now() time.Time { return w.clock.Now() }

// After has do called when d has passed.
func (w *World) After(d time.Duration, do func()) { w.clock.After(d, event{do: do}) }

// Run goes on until nothing is left to happen.
func (w *World) Run() { w.clock.Run() }

// RunUntil goes on up to a time, that time included.
func (w *World) RunUntil(t time.Time) { w.clock.RunUntil(t) }

// Stats returns the totals so far.
func (w *World) Stats() Stats { return w.stats }

// Listen has receive called with each packet for an address; nil ends it. A
// packet that a link duplicated is received twice, one that it corrupted as it is.
func (w *World) Listen(addr netip.Addr, receive func(packet []byte)) {
	if receive == nil {
		delete(w.hosts, addr.Unmap())
		return
	}
	w.hosts[addr.Unmap()] = receive
}

// Send sends an IP packet, now. It keeps the packet, which must not be changed
// any more before it has been received.
func (w *World) Send(packet []byte) {
	w.stats.Sent++
	now := w.clock.Now()
	v := w.engine.Send(now, packet)
	if v.Cause != wan.Delivered {
		w.stats.Dropped++
		if v.Reject {
			if answer := wan.Unreachable(packet, netip.Addr{}); answer != nil {
				w.stats.Sent++
				w.hold(v.At, event{packet: answer})
			}
		}
		return
	}
	if v.Local {
		v.At = now
	}
	w.hold(v.At, event{packet: packet, flip: v.Flip})
	if !v.Again.IsZero() {
		w.stats.Duplicated++
		w.hold(v.Again, event{packet: packet, flip: v.FlipAgain})
	}
}

func (w *World) hold(at time.Time, e event) {
	w.stats.InFlight++
	w.clock.At(at, e)
}

func (w *World) happen(e event) {
	if e.do != nil {
		e.do()
		return
	}
	w.stats.InFlight--
	receive := w.hosts[destination(e.packet)]
	if receive == nil {
		w.stats.NoHost++
		return
	}
	if e.flip != 0 {
		e.packet = append([]byte(nil), e.packet...) // its copy, and its sender, have it whole
		wan.FlipBit(e.packet, e.flip)
	}
	w.stats.Delivered++
	receive(e.packet)
}

// destination reads where a packet goes. The engine has read its header before.
func destination(packet []byte) netip.Addr {
	if packet[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(packet[16:20]))
	}
	return netip.AddrFrom16([16]byte(packet[24:40]))
}
