package netstack

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Keep-alive as package net sets it on connections.
const (
	keepaliveIdle     = 15 * time.Second
	keepaliveInterval = 15 * time.Second
	keepaliveCount    = 9
)

// backlog is how many connections may wait to be accepted.
const backlog = 4096

// DialContext connects to IP:port over "tcp" or "udp". Refusals, resets and
// time-outs are *net.OpErrors that errors.Is knows (syscall.ECONNREFUSED …).
// An address without an IP is the host itself. A TCP connection can close its
// two directions separately (CloseWrite, CloseRead).
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	proto, remote, err := h.resolve(network, address, true)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: netAddr(proto, remote), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	var wq waiter.Queue
	ep, terr := h.endpoint(proto, &wq)
	if terr != nil {
		return fail(terr)
	}
	if proto == udp.ProtocolNumber {
		if err := ep.Connect(full(remote)); err != nil {
			ep.Close()
			return fail(sysError("connect", err))
		}
		// gonet's Read sleeps through errors (port unreachable): wake it.
		entry := waiter.NewFunctionEntry(waiter.EventErr, func(waiter.EventMask) {
			go wq.Notify(waiter.ReadableEvents) // not from within Notify
		})
		wq.EventRegister(&entry)
		return &udpConn{UDPConn: gonet.NewUDPConn(&wq, ep), remote: remote}, nil
	}
	entry, done := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	connectErr := ep.Connect(full(remote))
	if _, started := connectErr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			ep.Close()
			return fail(ctx.Err())
		case <-done:
		}
		connectErr = ep.LastError()
	}
	if connectErr != nil {
		ep.Close()
		return fail(sysError("connect", connectErr))
	}
	return newTCPConn(&wq, ep), nil
}

// Listen accepts TCP connections on ":port", "IP:port" or "127.0.0.1:port".
// Port 0 picks one. Connections to a listener on 127.0.0.1 come from the host
// itself only.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	proto, local, err := h.resolve(network, address, false)
	if err == nil && proto != tcp.ProtocolNumber {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddr(proto, local), Err: err}
	}
	var wq waiter.Queue
	ep, err := h.endpoint(proto, &wq)
	if err != nil {
		return fail(err)
	}
	// As Go's net does: a program that starts again takes its port back while
	// connections of the last one are in TIME_WAIT.
	ep.SocketOptions().SetReuseAddress(true)
	if err := ep.Bind(full(local)); err != nil {
		ep.Close()
		return fail(sysError("bind", err))
	}
	if err := ep.Listen(backlog); err != nil {
		ep.Close()
		return fail(sysError("listen", err))
	}
	l := &listener{host: h, ep: ep, wq: &wq, closed: make(chan struct{})}
	if !h.track(l) {
		_ = l.Close()
		return fail(net.ErrClosed)
	}
	return l, nil
}

// ListenPacket receives UDP, on addresses as Listen takes them.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	proto, local, err := h.resolve(network, address, false)
	if err == nil && proto != udp.ProtocolNumber {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	fail := func(err error) (net.PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddr(proto, local), Err: err}
	}
	var wq waiter.Queue
	ep, err := h.endpoint(proto, &wq)
	if err != nil {
		return fail(err)
	}
	if err := ep.Bind(full(local)); err != nil {
		ep.Close()
		return fail(sysError("bind", err))
	}
	c := &udpConn{UDPConn: gonet.NewUDPConn(&wq, ep)}
	c.onClose = func() { h.forget(c) }
	if !h.track(c) {
		_ = c.Close()
		return fail(net.ErrClosed)
	}
	return c, nil
}

// track makes Close of the host close c too; false if that has happened.
func (h *Host) track(c closer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.listeners[c] = struct{}{}
	return true
}

func (h *Host) forget(c closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, c)
}

func (h *Host) endpoint(proto tcpip.TransportProtocolNumber, wq *waiter.Queue) (tcpip.Endpoint, error) {
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	ep, err := h.stack.NewEndpoint(proto, ipv4.ProtocolNumber, wq)
	if err != nil {
		return nil, sysError("socket", err)
	}
	return ep, nil
}

// resolve parses what callers give as network and address. The zero address
// stands for any.
func (h *Host) resolve(network, address string, dial bool) (tcpip.TransportProtocolNumber, netip.AddrPort, error) {
	var proto tcpip.TransportProtocolNumber
	switch network {
	case "tcp", "tcp4":
		proto = tcp.ProtocolNumber
	case "udp", "udp4":
		proto = udp.ProtocolNumber
	default:
		return 0, netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, netip.AddrPort{}, &net.AddrError{Err: "not a port number", Addr: port}
	}
	addr := netip.IPv4Unspecified()
	if host != "" {
		addr, err = netip.ParseAddr(host)
		if err != nil {
			return 0, netip.AddrPort{}, &net.AddrError{Err: "not an IP address", Addr: host}
		}
		addr = addr.Unmap()
		if addr == netip.IPv6Unspecified() {
			addr = netip.IPv4Unspecified()
		}
		if !addr.Is4() {
			return 0, netip.AddrPort{}, &net.AddrError{Err: "not an IPv4 address", Addr: host}
		}
	}
	if dial && addr.IsUnspecified() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return proto, netip.AddrPortFrom(addr, uint16(number)), nil
}

func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	if !a.Addr().IsUnspecified() {
		f.Addr = tcpip.AddrFrom4(a.Addr().As4())
	}
	return f
}

func netAddr(proto tcpip.TransportProtocolNumber, a netip.AddrPort) net.Addr {
	if proto == udp.ProtocolNumber {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// listener accepts TCP connections.
type listener struct {
	host   *Host
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	once   onceErr
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	registered := false
	for {
		select {
		case <-l.closed:
			return nil, l.fail(net.ErrClosed)
		default:
		}
		ep, wq, err := l.ep.Accept(nil)
		if err == nil {
			return newTCPConn(wq, ep), nil
		}
		if _, block := err.(*tcpip.ErrWouldBlock); !block {
			select {
			case <-l.closed:
				return nil, l.fail(net.ErrClosed)
			default:
				return nil, l.fail(sysError("accept", err))
			}
		}
		if !registered {
			registered = true
			l.wq.EventRegister(&entry)
			defer l.wq.EventUnregister(&entry)
			continue // lest one came before we registered
		}
		select {
		case <-l.closed:
		case <-ready:
		}
	}
}

func (l *listener) fail(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
}

func (l *listener) Close() error {
	return l.once.do(func() error {
		close(l.closed)
		l.ep.Close()
		l.host.forget(l)
		return nil
	}, func() error { return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed} })
}

func (l *listener) Addr() net.Addr {
	a, err := l.ep.GetLocalAddress()
	if err != nil {
		return net.TCPAddrFromAddrPort(netip.AddrPort{})
	}
	if a.Addr.Len() == 0 {
		return &net.TCPAddr{IP: net.IPv4zero, Port: int(a.Port)}
	}
	return &net.TCPAddr{IP: net.IP(a.Addr.AsSlice()), Port: int(a.Port)}
}

func newTCPConn(wq *waiter.Queue, ep tcpip.Endpoint) *tcpConn {
	o := ep.SocketOptions()
	idle, interval := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveInterval)
	// A connection that is over already takes no options, and needs none.
	_ = ep.SetSockOpt(&idle)
	_ = ep.SetSockOpt(&interval)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepaliveCount)
	o.SetKeepAlive(true)
	return &tcpConn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep}
}

// tcpConn is gonet's connection with the errors of package net.
type tcpConn struct {
	*gonet.TCPConn
	ep   tcpip.Endpoint
	once onceErr
}

func (c *tcpConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.TCPConn.Read(b)
	return n, c.fix(err)
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.fix(err)
}

func (c *tcpConn) CloseWrite() error { return c.fix(c.TCPConn.CloseWrite()) }
func (c *tcpConn) CloseRead() error  { return c.fix(c.TCPConn.CloseRead()) }

// SetLinger is as of *net.TCPConn: with 0, Close resets the connection.
func (c *tcpConn) SetLinger(sec int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: sec >= 0, Timeout: time.Duration(max(sec, 0)) * time.Second})
	return nil
}

// SetNoDelay is as of *net.TCPConn. It is on from the start.
func (c *tcpConn) SetNoDelay(on bool) error {
	c.ep.SocketOptions().SetDelayOption(!on)
	return nil
}

// Close also wakes readers and writers, as of package net.
func (c *tcpConn) Close() error {
	return c.once.do(func() error {
		_ = c.TCPConn.SetDeadline(past)
		return c.TCPConn.Close()
	}, func() error {
		return &net.OpError{Op: "close", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: net.ErrClosed}
	})
}

func (c *tcpConn) fix(err error) error { return fixError(err, c.once.isDone()) }

// udpConn is gonet's connection with the errors of package net.
type udpConn struct {
	*gonet.UDPConn
	remote  netip.AddrPort // if connected
	once    onceErr
	onClose func()
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	return n, c.fix(err)
}

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.UDPConn.ReadFrom(b)
	return n, a, c.fix(err)
}

func (c *udpConn) Write(b []byte) (int, error) {
	n, err := c.UDPConn.Write(b)
	return n, c.fix(err)
}

func (c *udpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	fail := func(err error) (int, error) {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: to, Err: err}
	}
	u, ok := to.(*net.UDPAddr)
	if !ok || u == nil {
		return fail(net.InvalidAddrError("not a *net.UDPAddr"))
	}
	// gonet takes an address of 16 bytes for IPv6.
	ip := u.IP.To4()
	if ip == nil {
		return fail(net.InvalidAddrError("not an IPv4 address"))
	}
	n, err := c.UDPConn.WriteTo(b, &net.UDPAddr{IP: ip, Port: u.Port})
	return n, c.fix(err)
}

func (c *udpConn) Close() error {
	return c.once.do(func() error {
		if c.onClose != nil {
			c.onClose()
		}
		_ = c.UDPConn.SetDeadline(past)
		return c.UDPConn.Close()
	}, func() error { return &net.OpError{Op: "close", Net: "udp", Source: c.LocalAddr(), Err: net.ErrClosed} })
}

func (c *udpConn) LocalAddr() net.Addr {
	if a, ok := c.UDPConn.LocalAddr().(*net.UDPAddr); ok && a != nil {
		if len(a.IP) == 0 {
			a.IP = net.IPv4zero
		}
		return a
	}
	return &net.UDPAddr{IP: net.IPv4zero}
}

func (c *udpConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

func (c *udpConn) fix(err error) error { return fixError(err, c.once.isDone()) }

// past is a deadline that wakes everybody.
var past = time.Unix(1, 0)
