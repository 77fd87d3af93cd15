package coredns

import (
	"net/netip"

	"github.com/miekg/dns"
)

// hostsTTL is that of the hosts plugin.
const hostsTTL = 3600

// withHosts answers for names of its own, and passes on all others.
func withHosts(hosts map[string]netip.Addr, next dns.Handler) dns.Handler {
	if len(hosts) == 0 {
		return next
	}
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Question) != 1 {
			next.ServeDNS(w, q)
			return
		}
		name := q.Question[0].Name
		addr, ok := hosts[dns.CanonicalName(name)]
		if !ok {
			next.ServeDNS(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		if q.Question[0].Qtype == dns.TypeA && addr.Is4() {
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: hostsTTL},
				A:   addr.AsSlice(),
			}}
		}
		_ = w.WriteMsg(m)
	})
}
