package netstack

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Network joins in-process hosts by a WAN engine.
type Network struct{}

// New makes an empty network. Packets between hosts of one site are delivered
// at once; all others as the engine says.
func New(e *wan.Engine) *Network { panic("not written yet") }

// Close takes every host off the network and stops its goroutines.
func (n *Network) Close() { panic("not written yet") }

// AddHost puts a host on the network. An address that is taken is an error.
func (n *Network) AddHost(name string, addr netip.Addr) (*Host, error) { panic("not written yet") }

// SetEdge makes the virtual addresses in prefix (a cluster's load balancers)
// answer: what arrives for them is sent on to a backend of services, and
// replies leave with the virtual address. nil takes it away.
func (n *Network) SetEdge(prefix netip.Prefix, s Services) { panic("not written yet") }

// Services is what kube-proxy knows: which backend a new flow to a virtual
// address gets. Asked once per flow.
type Services interface {
	// Backend returns the backend for a new flow from src to dst. known tells
	// whether dst is a service at all; a known service without a backend is
	// refused (TCP reset, ICMP port unreachable).
	Backend(protocol uint8, src, dst netip.AddrPort) (backend netip.AddrPort, known bool)
}

// Host is an IP stack with an address.
type Host struct{}

func (h *Host) Name() string     { panic("not written yet") }
func (h *Host) Addr() netip.Addr { panic("not written yet") }

// DialContext connects to IP:port over "tcp" or "udp". Refusals, resets and
// time-outs are *net.OpErrors that errors.Is knows (syscall.ECONNREFUSED …).
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	panic("not written yet")
}

// Listen accepts TCP connections on ":port", "IP:port" or "127.0.0.1:port".
// Port 0 picks one.
func (h *Host) Listen(network, address string) (net.Listener, error) { panic("not written yet") }

// ListenPacket receives UDP.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	panic("not written yet")
}

// Ping sends one ICMP echo and returns the round trip.
func (h *Host) Ping(ctx context.Context, to netip.Addr) (time.Duration, error) {
	panic("not written yet")
}

// SetServices puts a kube-proxy on the host: flows to virtual addresses are
// sent on to their backends, conntrack included.
func (h *Host) SetServices(s Services) { panic("not written yet") }

// SetUp plugs the host's cable in or out. A host that is down neither sends
// nor receives; its sockets do not notice.
func (h *Host) SetUp(up bool) { panic("not written yet") }

// Close resets every connection and takes the host off the network.
func (h *Host) Close() { panic("not written yet") }
