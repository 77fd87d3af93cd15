package hollow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/netstack"
)

// resolver is a pod's stub resolver: /etc/hosts, then the name servers of
// /etc/resolv.conf with its search list. It holds no cache, like those of
// common base images.
type resolver struct {
	host    *netstack.Host
	hosts   map[string]netip.Addr
	servers []netip.Addr
	search  []string
	ndots   int
}

// Timing of resolv.conf(5).
const (
	dnsTimeout  = 5 * time.Second
	dnsAttempts = 2
)

// resolvConf is the text of /etc/resolv.conf.
func (r *resolver) resolvConf() string {
	var b strings.Builder
	if len(r.search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.search, " "))
	}
	for _, s := range r.servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if r.ndots != 1 {
		fmt.Fprintf(&b, "options ndots:%d\n", r.ndots)
	}
	return b.String()
}

// candidates are the full names to ask for, in order.
func (r *resolver) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var out []string
	for _, s := range r.search {
		out = append(out, name+"."+strings.TrimSuffix(s, ".")+".")
	}
	if strings.Count(name, ".") >= r.ndots {
		return append([]string{name + "."}, out...)
	}
	return append(out, name+".")
}

func (r *resolver) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if a, ok := r.hosts[strings.TrimSuffix(name, ".")]; ok {
		return []netip.Addr{a}, nil
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	var failure error
	for _, full := range r.candidates(name) {
		addrs, err := r.ask(ctx, full)
		if err == nil && len(addrs) > 0 {
			return addrs, nil
		}
		if err != nil {
			failure = err
			var de *net.DNSError
			if errors.As(err, &de) && de.IsTimeout {
				break // the next name would wait as long
			}
		}
	}
	var de *net.DNSError
	if errors.As(failure, &de) {
		de.Name = name
		return nil, de
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// ask queries the A records of one full name. A name that does not exist or
// has none is no error.
func (r *resolver) ask(ctx context.Context, full string) ([]netip.Addr, error) {
	m := new(dns.Msg)
	m.SetQuestion(full, dns.TypeA)
	m.SetEdns0(1232, false)
	var failure *net.DNSError
	for range dnsAttempts {
		for _, s := range r.servers {
			in, err := r.exchange(ctx, "udp", s, m)
			if err == nil && in.Truncated {
				in, err = r.exchange(ctx, "tcp", s, m)
			}
			server := netip.AddrPortFrom(s, 53).String()
			if err != nil {
				var ne net.Error
				timeout := errors.As(err, &ne) && ne.Timeout()
				text := err.Error()
				if timeout {
					text = "i/o timeout"
				}
				failure = &net.DNSError{Err: text, Name: full, Server: server, IsTimeout: timeout, IsTemporary: true}
				if ctx.Err() != nil {
					return nil, failure
				}
				continue
			}
			switch in.Rcode {
			case dns.RcodeSuccess:
				var out []netip.Addr
				for _, rr := range in.Answer {
					if a, ok := rr.(*dns.A); ok {
						if ip, ok := netip.AddrFromSlice(a.A.To4()); ok {
							out = append(out, ip)
						}
					}
				}
				return out, nil
			case dns.RcodeNameError:
				return nil, nil
			}
			failure = &net.DNSError{Err: "server misbehaving", Name: full, Server: server, IsTemporary: true}
		}
	}
	if failure == nil {
		return nil, nil // no server at all: no name exists
	}
	return nil, failure
}

func (r *resolver) exchange(ctx context.Context, network string, server netip.Addr, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	c, err := r.host.DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	co := &dns.Conn{Conn: c, UDPSize: 1232}
	q := *m
	q.Id = dns.Id()
	if err := co.WriteMsg(&q); err != nil {
		return nil, err
	}
	for {
		in, err := co.ReadMsg()
		if err != nil {
			return nil, err
		}
		if in.Id == q.Id {
			return in, nil
		}
	}
}
