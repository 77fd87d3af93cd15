package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
)

// queueLen is how many packets wait for the device at either of its ends; as
// with a network card, what does not fit is dropped.
const queueLen = 1024

// mtu is what the machines' hosts send at most; see netstack.TunnelConfig.
const mtu = 1420

// inside is the device's end in the machine: what a TUN device is elsewhere.
type inside struct {
	packets chan []byte    // from the machine
	deliver func(p []byte) // to the machine
	events  chan tun.Event // up, once
	closed  chan struct{}  // by Close
	once    sync.Once      // of Close
	name    string         // the overlay's
}

var _ tun.Device = (*inside)(nil)

func newInside(name string, deliver func([]byte)) *inside {
	d := &inside{
		packets: make(chan []byte, queueLen), deliver: deliver,
		events: make(chan tun.Event, 1), closed: make(chan struct{}), name: name,
	}
	return d
}

// send queues a packet for the tunnel.
func (d *inside) send(p []byte) {
	select {
	case d.packets <- p:
	default:
	}
}

func (d *inside) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case <-d.closed:
		return 0, os.ErrClosed
	case p := <-d.packets:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	}
}

func (d *inside) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		d.deliver(append([]byte(nil), b[offset:]...))
	}
	return len(bufs), nil
}

func (d *inside) Close() error {
	d.once.Do(func() { close(d.closed); close(d.events) })
	return nil
}

func (d *inside) File() *os.File           { return nil }
func (d *inside) MTU() (int, error)        { return mtu, nil }
func (d *inside) Name() (string, error)    { return d.name, nil }
func (d *inside) Events() <-chan tun.Event { return d.events }
func (d *inside) BatchSize() int           { return 1 }

// datagram is one that came to the device's port.
type datagram struct {
	from    netip.AddrPort
	payload []byte
}

// outside is the device's end on the network: its UDP port.
type outside struct {
	sendTo func(to netip.AddrPort, payload []byte)
	in     chan datagram

	mu     sync.Mutex
	closed chan struct{} // nil while it is not open
}

var _ conn.Bind = (*outside)(nil)

// receive queues a datagram for the device.
func (o *outside) receive(from netip.AddrPort, payload []byte) {
	select {
	case o.in <- datagram{from, payload}:
	default:
	}
}

func (o *outside) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	closed := make(chan struct{})
	o.closed = closed
	return []conn.ReceiveFunc{func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case <-closed:
			return 0, net.ErrClosed
		case d := <-o.in:
			sizes[0], eps[0] = copy(bufs[0], d.payload), endpoint(d.from)
			return 1, nil
		}
	}}, port, nil
}

func (o *outside) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		close(o.closed)
		o.closed = nil
	}
	return nil
}

func (o *outside) Send(bufs [][]byte, to conn.Endpoint) error {
	e, ok := to.(endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	for _, b := range bufs {
		o.sendTo(netip.AddrPort(e), b)
	}
	return nil
}

func (o *outside) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return endpoint(a), nil
}

func (o *outside) SetMark(uint32) error { return nil }
func (o *outside) BatchSize() int       { return 1 }

// endpoint is where a peer was last heard from.
type endpoint netip.AddrPort

func (e endpoint) ClearSrc()           {}
func (e endpoint) SrcToString() string { return "" }
func (e endpoint) DstToString() string { return netip.AddrPort(e).String() }
func (e endpoint) DstToBytes() []byte  { b, _ := netip.AddrPort(e).MarshalBinary(); return b }
func (e endpoint) DstIP() netip.Addr   { return netip.AddrPort(e).Addr() }
func (e endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
