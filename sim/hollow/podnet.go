package hollow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
)

// podNet is a pod's network: a host, names, and the mesh's redirection.
type podNet struct {
	host   *netstack.Host
	names  *resolver
	shared bool // with the node

	mu        sync.Mutex
	settled   *sync.Cond // a redirected dial has left dialling
	redirect  *redirect
	listeners map[uint16][]*procListener
}

// redirect is what istio-init sets up with nftables, kept at the level of
// streams.
type redirect struct {
	outbound, inbound uint16
	except            []uint16
	dialling          int                       // redirected dials whose port is not in wanted yet
	wanted            map[uint16]netip.AddrPort // by the dialling side's port
}

func newPodNet(host *netstack.Host, names *resolver) *podNet {
	n := &podNet{host: host, names: names, listeners: map[uint16][]*procListener{}}
	n.settled = sync.NewCond(&n.mu)
	return n
}

func (n *podNet) setRedirect(r program.Redirection) error {
	if err := r.Check(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shared {
		return fmt.Errorf("redirect: the pod shares its node's network")
	}
	n.redirect = &redirect{outbound: r.Outbound, inbound: r.Inbound, except: slices.Clone(r.Except), wanted: map[uint16]netip.AddrPort{}}
	return nil
}

// own tells whether a port is the sidecar's or left alone.
func (r *redirect) own(port uint16) bool {
	return port == r.outbound || port == r.inbound || slices.Contains(r.except, port)
}

// resolve turns host:port into addresses, as net.Dialer does.
func (n *podNet) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	port, err := parsePort(network, service)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), port)}, nil
	}
	addrs, err := n.names.lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a, port)
	}
	return out, nil
}

// wellKnownPorts spares programs that name a service the machine's list.
var wellKnownPorts = map[string]uint16{"http": 80, "https": 443, "domain": 53}

func parsePort(network, s string) (uint16, error) {
	if p, ok := wellKnownPorts[s]; ok {
		return p, nil
	}
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, &net.AddrError{Err: "unknown port " + network + "/" + s, Addr: s}
	}
	return uint16(p), nil
}

// dial connects to the first address that answers.
func (n *podNet) dial(ctx context.Context, network, address string, direct bool) (net.Conn, error) {
	targets, err := n.resolve(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var first error
	for _, t := range targets {
		c, err := n.dialAddr(ctx, network, t, direct)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (n *podNet) dialAddr(ctx context.Context, network string, to netip.AddrPort, direct bool) (net.Conn, error) {
	if !direct && (network == "tcp" || network == "tcp4") && !to.Addr().IsLoopback() && to.Addr() != n.host.Addr() {
		n.mu.Lock()
		r := n.redirect
		if r != nil && !slices.Contains(r.except, to.Port()) {
			r.dialling++
			n.mu.Unlock()
			return n.dialRedirected(ctx, r, to)
		}
		n.mu.Unlock()
	}
	return n.host.DialContext(ctx, network, to.String())
}

func (n *podNet) dialRedirected(ctx context.Context, r *redirect, to netip.AddrPort) (net.Conn, error) {
	c, err := n.host.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(r.outbound))))
	n.mu.Lock()
	defer n.mu.Unlock()
	r.dialling--
	n.settled.Broadcast()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: errors.Unwrap(err)}
	}
	if local := addrPort(c.LocalAddr()); local.IsValid() {
		r.wanted[local.Port()] = to
	}
	return &redirectedConn{Conn: c, remote: net.TCPAddrFromAddrPort(to)}, nil
}

// redirectedConn names as its peer the one that was dialled, as a translated
// connection does.
type redirectedConn struct {
	net.Conn
	remote net.Addr
}

func (c *redirectedConn) RemoteAddr() net.Addr { return c.remote }
func (c *redirectedConn) CloseWrite() error    { return closeWrite(c.Conn) }

// original finds where an accepted connection was meant to go. A dialling side
// learns its own port only once it is connected, which may be after the
// accepting side asks; so it waits for the dials under way.
func (n *podNet) original(c net.Conn) netip.AddrPort {
	remote := addrPort(c.RemoteAddr())
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.redirect
	if r == nil {
		return netip.AddrPort{}
	}
	for {
		if to, ok := r.wanted[remote.Port()]; ok && remote.Addr().IsLoopback() {
			delete(r.wanted, remote.Port())
			return to
		}
		if r.dialling == 0 {
			return netip.AddrPort{}
		}
		n.settled.Wait()
	}
}

// backlog is how many connections may wait to be accepted.
const backlog = 256

// procListener accepts for one process. Who gets a connection is decided as it
// arrives, so redirection works for listeners opened before it, too.
type procListener struct {
	net.Listener
	net  *podNet
	port uint16

	queue     chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
	err       error // why the host's listener ended; set before closed
}

func (n *podNet) listen(network, address string) (*procListener, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && host != "" {
		ip, err := netip.ParseAddr(host)
		if err != nil { // a name of the pod itself, "localhost" above all
			var ok bool
			if ip, ok = n.names.hosts[host]; !ok {
				return nil, &net.OpError{Op: "listen", Net: network, Err: &net.AddrError{Err: "not an address of this pod", Addr: address}}
			}
		}
		address = ":" + port
		if !ip.IsUnspecified() {
			address = net.JoinHostPort(ip.String(), port)
		}
	}
	hl, err := n.host.Listen(network, address)
	if err != nil {
		return nil, err
	}
	l := &procListener{
		Listener: hl, net: n, port: addrPort(hl.Addr()).Port(),
		queue: make(chan net.Conn, backlog), closed: make(chan struct{}),
	}
	n.mu.Lock()
	n.listeners[l.port] = append(n.listeners[l.port], l)
	n.mu.Unlock()
	go l.pump()
	return l, nil
}

func (l *procListener) pump() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.end(err)
			return
		}
		l.net.route(l, c)
	}
}

// route gives a connection that arrived on l to whom it is for.
func (n *podNet) route(l *procListener, c net.Conn) {
	n.mu.Lock()
	r := n.redirect
	var sidecar *procListener
	if r != nil && len(n.listeners[r.inbound]) > 0 {
		sidecar = n.listeners[r.inbound][0]
	}
	n.mu.Unlock()
	if r == nil {
		l.offer(c)
		return
	}
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	switch {
	case l.port == r.outbound:
		l.offer(&acceptedConn{Conn: c, original: n.original(c)})
	case r.own(l.port), local.Addr().IsLoopback(), remote.Addr() == n.host.Addr():
		l.offer(c)
	case sidecar == nil:
		c.Close() // nobody listens where the connection is sent
	default:
		sidecar.offer(&acceptedConn{Conn: c, original: local})
	}
}

func (l *procListener) offer(c net.Conn) {
	select {
	case <-l.closed:
		c.Close()
	default:
		select {
		case l.queue <- c:
		default:
			c.Close()
		}
	}
}

// Accept returns the next connection for this listener's program.
func (l *procListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, l.err
	}
}

// Close stops listening.
func (l *procListener) Close() error {
	l.end(&net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed})
	return nil
}

func (l *procListener) end(err error) {
	l.closeOnce.Do(func() {
		l.err = err
		close(l.closed)
		l.Listener.Close()
		n := l.net
		n.mu.Lock()
		n.listeners[l.port] = slices.DeleteFunc(n.listeners[l.port], func(o *procListener) bool { return o == l })
		if len(n.listeners[l.port]) == 0 {
			delete(n.listeners, l.port)
		}
		n.mu.Unlock()
		for {
			select {
			case c := <-l.queue:
				c.Close()
				continue
			default:
			}
			return
		}
	})
}

// acceptedConn remembers where it was meant to go.
type acceptedConn struct {
	net.Conn
	original netip.AddrPort
}

func (c *acceptedConn) CloseWrite() error { return closeWrite(c.Conn) }

func (n *podNet) originalDst(c net.Conn) (netip.AddrPort, error) {
	for {
		switch v := c.(type) {
		case *procConn:
			c = v.Conn
			continue
		case *acceptedConn:
			if v.original.IsValid() {
				return v.original, nil
			}
		case interface{ NetConn() net.Conn }: // tls.Conn
			c = v.NetConn()
			continue
		}
		break
	}
	return netip.AddrPort{}, fmt.Errorf("original destination: the connection from %v was not redirected", c.RemoteAddr())
}

func addrPort(a net.Addr) netip.AddrPort {
	switch v := a.(type) {
	case *net.TCPAddr:
		ap := v.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.UDPAddr:
		ap := v.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case nil:
		return netip.AddrPort{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
