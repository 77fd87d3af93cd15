package coredns

import (
	"context"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/program/nameserver"
)

// zones answers for the cluster's own zone and sends on what is below a zone
// with a server of its own.
type zones struct {
	own      dns.Handler
	forwards []forward
	dial     nameserver.Dial
	ctx      context.Context
}

// forward is a server block of nothing but the plugin forward.
type forward struct {
	zone string   // "clusterset.local."
	to   []string // host:port
}

// forwardTimeout is how long one server is waited for.
const forwardTimeout = 2 * time.Second

// ServeDNS implements [dns.Handler].
func (z *zones) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) == 1 {
		if f := z.lookup(q.Question[0].Name); f != nil {
			_ = w.WriteMsg(z.ask(f, w, q)) // the asker tries again
			return
		}
	}
	z.own.ServeDNS(w, q)
}

// lookup finds the longest zone that a name is in.
func (z *zones) lookup(name string) *forward {
	var found *forward
	for i := range z.forwards {
		f := &z.forwards[i]
		if dns.IsSubDomain(f.zone, dns.CanonicalName(name)) && (found == nil || len(f.zone) > len(found.zone)) {
			found = f
		}
	}
	return found
}

// ask sends a question on, over the protocol that it came by.
func (z *zones) ask(f *forward, w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
	network := "tcp"
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		network = "udp"
	}
	for _, server := range f.to {
		ctx, cancel := context.WithTimeout(z.ctx, forwardTimeout)
		m, err := nameserver.Ask(ctx, z.dial, network, server, q)
		cancel()
		if err == nil {
			return m
		}
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}
