package netstack

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nicCable    tcpip.NICID = 1
	nicLoopback tcpip.NICID = 2
)

// mtu is Ethernet's, so that loss and rates work on packets of the usual size.
const mtu = 1500

// Host is an IP stack with an address and a loopback interface. All methods
// are safe for concurrent use.
type Host struct {
	net   *Network
	name  string
	addr  netip.Addr
	key   uint32 // addr
	stack *stack.Stack
	cable *cable
	in    inbox
	down  atomic.Bool

	services atomic.Pointer[Services]
	nat      *nat
	echoes   echoes

	mu        sync.Mutex
	closed    bool
	listeners map[closer]struct{}
}

type closer interface{ Close() error }

func newHost(n *Network, name string, addr netip.Addr) (*Host, error) {
	h := &Host{net: n, name: name, addr: addr, key: key4(addr), nat: newNAT(&n.stats), listeners: map[closer]struct{}{}}
	h.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        true,
	})
	h.cable = &cable{host: h, mtu: n.mtuOf(addr)}
	if err := h.configure(); err != nil {
		h.stack.Destroy()
		return nil, err
	}
	return h, nil
}

func (h *Host) configure() error {
	s := h.stack
	loopbackNet := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), PrefixLen: 8}
	own := tcpip.AddrFrom4(h.addr.As4()).WithPrefix()
	for _, nic := range []struct {
		id   tcpip.NICID
		link stack.LinkEndpoint
		addr tcpip.AddressWithPrefix
	}{{nicCable, h.cable, own}, {nicLoopback, loopback.New(), loopbackNet}} {
		if err := s.CreateNIC(nic.id, nic.link); err != nil {
			return fmt.Errorf("create interface: %v", err)
		}
		addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: nic.addr}
		if err := s.AddProtocolAddress(nic.id, addr, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("add address: %v", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: loopbackNet.Subnet(), NIC: nicLoopback},
		{Destination: header.IPv4EmptySubnet, NIC: nicCable},
	})
	var (
		sack     = tcpip.TCPSACKEnabled(true)
		moderate = tcpip.TCPModerateReceiveBufferOption(true)
		rcv      = tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 8 << 20}
		snd      = tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 8 << 20}
		maxRTO   = tcpip.TCPMaxRTOOption(10 * time.Second)
		timeWait = tcpip.TCPTimeWaitTimeoutOption(10 * time.Second)
	)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &rcv, &snd, &maxRTO, &timeWait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("set %T: %v", o, err)
		}
	}
	// The ports Linux takes for outgoing connections.
	if err := s.SetPortRange(32768, 60999); err != nil {
		return fmt.Errorf("set port range: %v", err)
	}
	return nil
}

// Name returns the name given to AddHost.
func (h *Host) Name() string { return h.name }

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// SetServices puts a kube-proxy on the host: flows to virtual addresses are
// sent on to their backends, conntrack included. nil takes it away; flows that
// are under way go on.
func (h *Host) SetServices(s Services) {
	if s == nil {
		h.services.Store(nil)
		return
	}
	h.services.Store(&s)
}

// SetUp plugs the host's cable in or out. A host that is down neither sends
// nor receives; its sockets do not notice.
func (h *Host) SetUp(up bool) { h.down.Store(!up) }

// Up tells whether the host's cable is plugged in.
func (h *Host) Up() bool { return !h.down.Load() }

// Close resets every connection and takes the host off the network. Its
// address can be used again when Close returns.
func (h *Host) Close() {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	listeners := h.listeners
	h.listeners = nil
	h.mu.Unlock()
	for l := range listeners {
		_ = l.Close()
	}
	h.stack.Close() // resets leave by the cable, which is still in
	for _, e := range h.stack.CleanupEndpoints() {
		e.Abort()
	}
	h.stack.Wait()
	h.in.shut()
	h.net.mu.Lock()
	if h.net.hosts[h.key] == h {
		delete(h.net.hosts, h.key)
	}
	h.net.mu.Unlock()
}

// transmit takes a packet that the stack sends. It owns v.
func (h *Host) transmit(v *buffer.View) {
	if h.down.Load() {
		h.net.stats.down.Add(1)
		v.Release()
		return
	}
	b := v.AsSlice()
	// A hairpin's reply first: it is for a virtual address, but no new flow.
	if h.nat.reverse(b) == natRewritten {
		if dstKey(b) == h.key {
			h.enqueue(v)
			return
		}
	} else {
		switch h.nat.forward(h.proxy(), b) {
		case natRewritten:
			if dstKey(b) == h.key {
				h.enqueue(v)
				return
			}
		case natRefused:
			if r := refusal(b); r != nil {
				h.enqueue(r)
			}
			v.Release()
			return
		case natDropped:
			v.Release()
			return
		}
	}
	h.net.send(v, h.addr)
}

func (h *Host) proxy() Services {
	if s := h.services.Load(); s != nil {
		return *s
	}
	return nil
}

// receive gives a packet to the stack. It owns v. It is called by one
// goroutine at a time, which holds no lock.
func (h *Host) receive(v *buffer.View) {
	if h.down.Load() {
		h.net.stats.down.Add(1)
		v.Release()
		return
	}
	b := v.AsSlice()
	// A packet to oneself through a service is under way to the backend, not
	// back: its source is the virtual address, and reverse does not know it.
	h.nat.reverse(b)
	h.net.stats.delivered.Add(1)
	if h.echoes.answered(b) {
		v.Release()
		return
	}
	h.cable.deliver(v)
}

// cable is the link endpoint between a host's stack and the network.
type cable struct {
	host *Host
	mtu  uint32
	disp atomic.Pointer[stack.NetworkDispatcher]
}

var _ stack.LinkEndpoint = (*cable)(nil)

func (c *cable) WritePackets(l stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range l.AsSlice() {
		c.host.transmit(p.ToView())
	}
	return l.Len(), nil
}

func (c *cable) deliver(v *buffer.View) {
	d := c.disp.Load()
	if d == nil {
		v.Release()
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	(*d).DeliverNetworkPacket(ipv4.ProtocolNumber, p)
	p.DecRef()
}

func (c *cable) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		c.disp.Store(nil)
		return
	}
	c.disp.Store(&d)
}

func (c *cable) IsAttached() bool { return c.disp.Load() != nil }

func (c *cable) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}

func (c *cable) MTU() uint32                             { return c.mtu }
func (c *cable) SetMTU(uint32)                           {}
func (c *cable) MaxHeaderLength() uint16                 { return 0 }
func (c *cable) LinkAddress() tcpip.LinkAddress          { return "" }
func (c *cable) SetLinkAddress(tcpip.LinkAddress)        {}
func (c *cable) Wait()                                   {}
func (c *cable) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (c *cable) AddHeader(*stack.PacketBuffer)           {}
func (c *cable) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (c *cable) Close()                                  {}
func (c *cable) SetOnCloseAction(func())                 {}
