// Package nameserver serves DNS on a pod's network.
//
//	serve, err := nameserver.Listen(ctx, p, "53", handler)
//	…
//	err = serve()
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/program"
)

// Listen takes a port over UDP and TCP. What it returns answers until ctx is
// done, and then returns nil, or one of the two fails. The handler uses only
// RemoteAddr and WriteMsg of the writers that it is given.
func Listen(ctx context.Context, p *program.Process, port string, h dns.Handler) (serve func() error, err error) {
	pc, err := p.ListenPacket(ctx, "udp", ":"+port)
	if err != nil {
		return nil, fmt.Errorf("dns over udp: %w", err)
	}
	l, err := p.Listen(ctx, "tcp", ":"+port)
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("dns over tcp: %w", err)
	}
	return func() error {
		failed := make(chan error, 2)
		// The library's server wants sockets of the machine for UDP.
		go func() { failed <- fmt.Errorf("dns over udp: %w", servePackets(pc, h)) }()
		t := &dns.Server{Listener: l, Handler: h, ReadTimeout: 10 * time.Second}
		go func() { failed <- fmt.Errorf("dns over tcp: %w", t.ActivateAndServe()) }()
		defer func() {
			_, _ = pc.Close(), l.Close()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = t.ShutdownContext(ctx)
		}()
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}, nil
}

// servePackets answers DNS over UDP, each question by itself: one may have to
// be sent on.
func servePackets(pc net.PacketConn, h dns.Handler) error {
	buf := make([]byte, 64<<10)
	for failures := 0; ; {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			// It may be an ICMP error about an earlier answer.
			if failures++; failures > 100 || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		failures = 0
		q := new(dns.Msg)
		if err := q.Unpack(buf[:n]); err != nil || q.Response {
			continue
		}
		go h.ServeDNS(&packetWriter{pc: pc, to: from}, q)
	}
}

// packetWriter is the part of dns.ResponseWriter that handlers use.
type packetWriter struct {
	dns.ResponseWriter
	pc net.PacketConn
	to net.Addr
}

func (w *packetWriter) RemoteAddr() net.Addr { return w.to }

func (w *packetWriter) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = w.pc.WriteTo(b, w.to)
	return err
}
