package services

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/types"
)

// DNS answers for the cluster domain out of a table, by the specification of
// Kubernetes DNS-based service discovery 1.1.0: A and SRV of services, headless
// ones and their pods, CNAME of external names, pods by their dashed address,
// and PTR. It asks nobody else: names outside the domain do not exist. Until
// the table is filled every answer is SERVFAIL.
//
// It is a [dns.Handler]; Answer is the same without a server.
type DNS struct {
	table  *Table
	zone   string // "cluster.local."
	rotate atomic.Uint32
}

// NewDNS makes the DNS of a cluster. The domain is "cluster.local" unless the
// cluster was set up with another.
func NewDNS(t *Table, domain string) *DNS {
	return &DNS{table: t, zone: strings.ToLower(dns.Fqdn(domain))}
}

// Times to live and limits, as CoreDNS' kubernetes plugin has them.
const (
	ttl         = 5
	negativeTTL = 5
	specVersion = "1.1.0"
)

// MaxUDP is the largest answer over UDP in bytes, whatever the asker offers:
// one Ethernet frame's.
const MaxUDP = 1232

// ServeDNS implements [dns.Handler].
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) { Reply(w, q, d.Answer(q)) }

// Reply sends the answer m to the query q, over UDP cut to what the asker
// takes. One that is lost is asked for again.
func Reply(w dns.ResponseWriter, q, m *dns.Msg) {
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = min(max(size, int(o.UDPSize())), MaxUDP)
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

// Answer returns the reply to a query.
func (d *DNS) Answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return m.SetRcode(q, dns.RcodeNotImplemented)
	}
	m.SetReply(q)
	if q.IsEdns0() != nil {
		m.SetEdns0(MaxUDP, false)
	}
	select {
	case <-d.table.Synced():
	default:
		m.Rcode = dns.RcodeServerFailure
		return m
	}
	question := q.Question[0]
	if question.Qclass != dns.ClassINET {
		m.Rcode = dns.RcodeRefused
		return m
	}
	a := answer{dns: d, msg: m, question: question}
	name := strings.ToLower(question.Name)
	d.table.mu.RLock()
	defer d.table.mu.RUnlock()
	switch {
	case dns.IsSubDomain(d.zone, name):
		m.Authoritative = true
		labels := dns.SplitDomainName(name)
		a.inZone(labels[:len(labels)-dns.CountLabel(d.zone)])
		a.finish(d.zone)
	case dns.IsSubDomain("in-addr.arpa.", name):
		a.reverse(name)
		a.finish("in-addr.arpa.")
	default:
		a.finish(".")
	}
	return m
}

// answer is a reply in the making.
type answer struct {
	dns      *DNS
	msg      *dns.Msg
	question dns.Question
	exists   bool // the name exists, if perhaps not with this type
}

// finish says in the way of RFC 2308 that there is nothing, where it is so.
func (a *answer) finish(zone string) {
	if len(a.msg.Answer) > 0 {
		return
	}
	if !a.exists {
		a.msg.Rcode = dns.RcodeNameError
	}
	a.msg.Ns = append(a.msg.Ns, a.dns.soa(zone))
}

func (d *DNS) soa(zone string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  "ns.dns." + d.zone, Mbox: "hostmaster." + d.zone,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: negativeTTL,
	}
}

func (a *answer) header(rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: a.question.Name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func (a *answer) wants(rrtype uint16) bool {
	return a.question.Qtype == rrtype || a.question.Qtype == dns.TypeANY
}

func (a *answer) add(rr dns.RR) { a.msg.Answer = append(a.msg.Answer, rr) }

// inZone answers for a name in the cluster domain, given its labels before it.
func (a *answer) inZone(l []string) {
	n := len(l)
	switch {
	case n == 0:
		a.exists = true
		if a.wants(dns.TypeSOA) {
			a.add(a.dns.soa(a.dns.zone))
		}
		if a.wants(dns.TypeNS) {
			a.add(&dns.NS{Hdr: a.header(dns.TypeNS), Ns: "ns.dns." + a.dns.zone})
		}
	case n == 1 && l[0] == "dns-version":
		a.exists = true
		if a.wants(dns.TypeTXT) {
			a.add(&dns.TXT{Hdr: a.header(dns.TypeTXT), Txt: []string{specVersion}})
		}
	case l[n-1] == "svc":
		a.inServices(l[:n-1])
	case l[n-1] == "pod":
		a.inPods(l[:n-1])
	}
}

// inPods answers for "a-b-c-d.NAMESPACE". As with CoreDNS' "pods insecure" no
// pod needs to have the address.
func (a *answer) inPods(l []string) {
	switch len(l) {
	case 0, 1:
		a.exists = true
	case 2:
		ip, err := netip.ParseAddr(strings.ReplaceAll(l[0], "-", "."))
		if err != nil || !ip.Is4() {
			return
		}
		a.exists = true
		if a.wants(dns.TypeA) {
			a.add(&dns.A{Hdr: a.header(dns.TypeA), A: ip.AsSlice()})
		}
	}
}

// inServices answers for a name below "svc".
func (a *answer) inServices(l []string) {
	t := a.dns.table
	switch len(l) {
	case 0:
		a.exists = true
		return
	case 1: // a namespace
		for n := range t.services {
			if n.Namespace == l[0] {
				a.exists = true
				return
			}
		}
		return
	}
	ns, name, front := l[len(l)-1], l[len(l)-2], l[:len(l)-2]
	s := t.services[types.NamespacedName{Namespace: ns, Name: name}]
	if s == nil {
		return
	}
	switch len(front) {
	case 0:
		a.service(s)
	case 1: // a pod of a headless service, or one step to _port._protocol
		if strings.HasPrefix(front[0], "_") {
			a.exists = len(s.portsNamed("", front[0])) > 0
			return
		}
		a.members(s, front[0])
	case 2:
		if strings.HasPrefix(front[0], "_") && strings.HasPrefix(front[1], "_") {
			a.srv(s, s.portsNamed(front[0], front[1]))
		}
	}
}

func (a *answer) service(s *service) {
	if s.kind == "ExternalName" {
		if s.externalName == "" {
			return
		}
		a.exists = true
		target := dns.Fqdn(strings.ToLower(s.externalName))
		a.add(&dns.CNAME{Hdr: a.header(dns.TypeCNAME), Target: target})
		a.follow(target)
		return
	}
	addrs := s.clusterIPs
	if s.headless {
		for _, m := range a.dns.table.members(s.name) {
			addrs = append(addrs[:len(addrs):len(addrs)], m.addr)
		}
	}
	// As CoreDNS: a headless service without ready pods does not exist.
	a.exists = len(addrs) > 0
	a.addresses(addrs)
	if a.question.Qtype == dns.TypeSRV && a.exists {
		a.srv(s, s.ports)
	}
}

// maxAliases bounds chains of external names, which may be circles.
const maxAliases = 8

// follow adds what an alias within the cluster domain stands for. Where others
// lead nobody here knows.
func (a *answer) follow(target string) {
	if a.question.Qtype == dns.TypeCNAME || !dns.IsSubDomain(a.dns.zone, target) || len(a.msg.Answer) > maxAliases {
		return
	}
	labels := dns.SplitDomainName(target)
	next := answer{dns: a.dns, msg: a.msg, question: a.question}
	next.question.Name = target
	next.inZone(labels[:len(labels)-dns.CountLabel(a.dns.zone)])
}

func (a *answer) members(s *service, hostname string) {
	if !s.headless {
		return
	}
	var addrs []netip.Addr
	for _, m := range a.dns.table.members(s.name) {
		if m.hostname == hostname {
			addrs = append(addrs, m.addr)
		}
	}
	a.exists = len(addrs) > 0
	a.addresses(addrs)
}

// addresses adds A records, beginning with another one each time.
func (a *answer) addresses(addrs []netip.Addr) {
	if !a.wants(dns.TypeA) || len(addrs) == 0 {
		return
	}
	first := 0
	if len(addrs) > 1 {
		first = int(a.dns.rotate.Add(1)) % len(addrs)
	}
	for i := range addrs {
		ip := addrs[(first+i)%len(addrs)]
		a.add(&dns.A{Hdr: a.header(dns.TypeA), A: ip.AsSlice()})
	}
}

// srv adds SRV records, and the addresses of their targets beside them.
func (a *answer) srv(s *service, ports []port) {
	if len(ports) == 0 {
		return
	}
	base := s.name.Name + "." + s.name.Namespace + ".svc." + a.dns.zone
	type target struct {
		name string
		addr netip.Addr
		port uint16
	}
	var targets []target
	for _, p := range ports {
		if !s.headless {
			for _, ip := range s.clusterIPs {
				targets = append(targets, target{base, ip, p.number})
			}
			continue
		}
		for _, m := range a.dns.table.members(s.name) {
			if number, ok := m.ports[portName{p.name, p.proto}]; ok {
				targets = append(targets, target{m.hostname + "." + base, m.addr, number})
			}
		}
	}
	a.exists = a.exists || len(targets) > 0
	if !a.wants(dns.TypeSRV) {
		return
	}
	seen := map[string]bool{}
	for _, t := range targets {
		a.add(&dns.SRV{Hdr: a.header(dns.TypeSRV), Weight: uint16(100 / min(len(targets), 100)), Port: t.port, Target: t.name})
		if !seen[t.name] {
			seen[t.name] = true
			h := dns.RR_Header{Name: t.name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}
			a.msg.Extra = append(a.msg.Extra, &dns.A{Hdr: h, A: t.addr.AsSlice()})
		}
	}
}

// reverse answers for addresses of services and of named pods.
func (a *answer) reverse(name string) {
	labels := dns.SplitDomainName(name)
	if len(labels) != 6 { // a.b.c.d.in-addr.arpa
		return
	}
	ip, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
	if err != nil {
		return
	}
	t := a.dns.table
	for n, s := range t.services {
		base := n.Name + "." + n.Namespace + ".svc." + a.dns.zone
		var targets []string
		for _, c := range s.clusterIPs {
			if c == ip {
				targets = append(targets, base)
			}
		}
		if s.headless {
			for _, m := range t.members(n) {
				if m.addr == ip {
					targets = append(targets, m.hostname+"."+base)
				}
			}
		}
		for _, target := range targets {
			a.exists = true
			if a.wants(dns.TypePTR) {
				a.add(&dns.PTR{Hdr: a.header(dns.TypePTR), Ptr: target})
			}
		}
	}
}

// portsNamed are the ports that "_name._protocol" stands for; an empty name
// stands for all.
func (s *service) portsNamed(name, protocol string) []port {
	proto, ok := map[string]uint8{"_tcp": 6, "_udp": 17}[protocol]
	var out []port
	for _, p := range s.ports {
		if ok && p.proto == proto && (name == "" || p.name != "" && "_"+p.name == name) {
			out = append(out, p)
		}
	}
	return out
}

// member is a ready pod of a headless service.
type member struct {
	addr     netip.Addr
	hostname string // its own, or its address with dashes
	ports    map[portName]uint16
}

type portName struct {
	name  string
	proto uint8
}

// members returns the ready endpoints of a service, sorted by address. It is
// called with mu held.
func (t *Table) members(n types.NamespacedName) []member {
	byAddr := map[netip.Addr]*member{}
	for _, sl := range t.slices[n] {
		for _, e := range sl.endpoints {
			if !e.ready {
				continue
			}
			m := byAddr[e.addr]
			if m == nil {
				m = &member{addr: e.addr, hostname: e.hostname, ports: map[portName]uint16{}}
				if m.hostname == "" {
					m.hostname = strings.ReplaceAll(e.addr.String(), ".", "-")
				}
				byAddr[e.addr] = m
			}
			for _, p := range sl.ports {
				m.ports[portName{p.name, p.proto}] = p.number
			}
		}
	}
	out := make([]member, 0, len(byAddr))
	for _, m := range byAddr {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b member) int { return a.addr.Compare(b.addr) })
	return out
}
