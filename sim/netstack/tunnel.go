package netstack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// tunnelMTU is what WireGuard leaves of Ethernet's, as wg-quick(8) sets it.
const tunnelMTU = 1420

// TunnelConfig is a machine's end of an overlay network. The machine has two
// addresses: its programs use Inner, everybody else knows Outer. Between the
// two the network translates one to one, as a machine would choose the source
// by its route. It must be added before the hosts that use it.
type TunnelConfig struct {
	Inner  netip.Addr     // in the overlay; the address of the machine's host
	Outer  netip.Addr     // on the network, known to the engine
	Port   uint16         // the tunnel's own UDP port, at Outer
	Local  []netip.Prefix // what else is behind this machine: its pods
	Remote []netip.Prefix // what the machine, and what is behind it, reach through the tunnel

	// Send takes an IP packet for Remote. It must neither block nor use the
	// network in the caller's goroutine; the packet is its own.
	Send func(packet []byte)
	// Receive takes the payload of a datagram to Port; the same holds.
	Receive func(from netip.AddrPort, payload []byte)
}

// Tunnel is a TunnelConfig in force.
type Tunnel struct {
	TunnelConfig
	net  *Network
	down atomic.Bool
}

// AddTunnel gives a machine its overlay. An address that another has is an
// error.
func (n *Network) AddTunnel(c TunnelConfig) (*Tunnel, error) {
	t := &Tunnel{TunnelConfig: c, net: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.tunnels {
		if o.Inner == c.Inner || o.Outer == c.Outer {
			return nil, fmt.Errorf("tunnel of %v at %v: %w", c.Inner, c.Outer, ErrAddressTaken)
		}
	}
	for _, a := range []netip.Addr{c.Inner, c.Outer} {
		if n.hosts[key4(a)] != nil {
			return nil, fmt.Errorf("tunnel of %v at %v: %v: %w", c.Inner, c.Outer, a, ErrAddressTaken)
		}
	}
	n.setTunnels(append(slices.Clone(n.tunnels), t))
	return t, nil
}

// Close takes the overlay away from the machine.
func (t *Tunnel) Close() {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.net.setTunnels(slices.DeleteFunc(slices.Clone(t.net.tunnels), func(o *Tunnel) bool { return o == t }))
}

// SetUp plugs the machine's cable in or out, as far as the tunnel's own
// packets are concerned.
func (t *Tunnel) SetUp(up bool) { t.down.Store(!up) }

// tunnels is a table that senders read without a lock.
type tunnels struct {
	inner map[uint32]*Tunnel
	outer map[uint32]*Tunnel
	all   []*Tunnel
}

// setTunnels is called with the lock held.
func (n *Network) setTunnels(all []*Tunnel) {
	n.tunnels = all
	if len(all) == 0 {
		n.tunnelled.Store(nil)
		return
	}
	t := &tunnels{inner: map[uint32]*Tunnel{}, outer: map[uint32]*Tunnel{}, all: all}
	for _, one := range all {
		t.inner[key4(one.Inner)], t.outer[key4(one.Outer)] = one, one
	}
	n.tunnelled.Store(t)
}

// of finds the tunnel of the machine that has an address, or that is before it.
func (t *tunnels) of(key uint32) *Tunnel {
	if one := t.inner[key]; one != nil {
		return one
	}
	a := addr4(key)
	for _, one := range t.all {
		if contains(one.Local, a) {
			return one
		}
	}
	return nil
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// mtuOf is the MTU of a host with an address.
func (n *Network) mtuOf(addr netip.Addr) uint32 {
	if ts := n.tunnelled.Load(); ts != nil && ts.of(key4(addr)) != nil {
		return tunnelMTU
	}
	return mtu
}

// leave takes a packet that a host of a machine with an overlay sends. taken
// tells that it went into the tunnel, or stayed on the machine; else it goes
// on to the engine, from origin.
func (ts *tunnels) leave(v *buffer.View, origin netip.Addr) (_ netip.Addr, taken bool) {
	b := v.AsSlice()
	src, dst := srcKey(b), dstKey(b)
	t := ts.of(src)
	if t == nil {
		return origin, false
	}
	to := addr4(dst)
	inner, outer := key4(t.Inner), key4(t.Outer)
	switch {
	case dst == outer && src == inner:
		// To its own outer address: the answer has to come from there.
		readdress(b, outer, inner)
		t.net.arrive(v)
		return origin, true
	case dst == inner || contains(t.Local, to):
		t.net.arrive(v)
		return origin, true
	case contains(t.Remote, to):
		if !t.down.Load() {
			t.Send(slices.Clone(b))
		}
		v.Release()
		return origin, true
	case src == inner:
		readdress(b, outer, dst)
		origin = t.Outer
	}
	return origin, false
}

// enter takes a packet that has come to a machine's outer address: it is the
// tunnel's, or meant for the machine. taken tells that it was the tunnel's.
func (ts *tunnels) enter(v *buffer.View) (taken bool) {
	b := v.AsSlice()
	t := ts.outer[dstKey(b)]
	if t == nil {
		return false
	}
	if flow, l4, f, ok := parse(b); ok && f == whole && flow.proto == protoUDP && flow.dport == t.Port {
		size := int(binary.BigEndian.Uint16(l4[4:]))
		if !t.down.Load() && size >= header.UDPMinimumSize && size <= len(l4) {
			t.Receive(flow.source(), slices.Clone(l4[header.UDPMinimumSize:size]))
		}
		v.Release()
		return true
	}
	readdress(b, srcKey(b), key4(t.Inner))
	return false
}

// readdress gives a packet other addresses. Transport checksums are not in use
// on this network; the IP header's is.
func readdress(b []byte, src, dst uint32) {
	binary.BigEndian.PutUint32(b[12:], src)
	binary.BigEndian.PutUint32(b[16:], dst)
	sumIP(b[:int(b[0]&0xf)*4])
}

// SendTo sends a datagram of the tunnel's own, from Outer and Port.
func (t *Tunnel) SendTo(to netip.AddrPort, payload []byte) {
	if t.down.Load() || !to.Addr().Is4() {
		return
	}
	v, l4 := newIPv4(protoUDP, key4(t.Outer), key4(to.Addr()), header.UDPMinimumSize+len(payload))
	binary.BigEndian.PutUint16(l4, t.Port)
	binary.BigEndian.PutUint16(l4[2:], to.Port())
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	copy(l4[header.UDPMinimumSize:], payload)
	t.net.send(v, t.Outer)
}

// Deliver hands a packet that came out of the tunnel to the machine, or to
// what is behind it; a packet for anybody else is dropped.
func (t *Tunnel) Deliver(packet []byte) {
	if t.down.Load() || len(packet) < ipv4Min || packet[0]>>4 != 4 {
		return
	}
	if to := addr4(dstKey(packet)); to != t.Inner && !contains(t.Local, to) {
		return
	}
	t.net.arrive(buffer.NewViewWithData(packet))
}
