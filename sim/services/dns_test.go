package services

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/wan"
)

func newDNS() *DNS {
	external := newService("external", "", "80")
	external.Spec.Type, external.Spec.ExternalName = corev1.ServiceTypeExternalName, "Example.com"
	inside := newService("inside", "")
	inside.Spec.Type, inside.Spec.ExternalName = corev1.ServiceTypeExternalName, "hello.default.svc.cluster.local"
	circle := newService("circle", "")
	circle.Spec.Type, circle.Spec.ExternalName = corev1.ServiceTypeExternalName, "circle.default.svc.cluster.local"
	kube := newService("kubernetes", "10.96.0.1", "443")
	named := newSlice("db", "a", "http", corev1.ProtocolTCP, 5432, map[string]condition{"10.1.0.7": isReady})
	hostname := "db-0"
	named.Endpoints[0].Hostname = &hostname
	tb := NewTable(1)
	tb.Set([]*corev1.Service{
		newService("hello", "10.96.0.2", "http/5000", "udp/53"), external, inside, circle, kube,
		newService("db", "None", "http/5432"), newService("idle", "None", "80"),
	}, []*discoveryv1.EndpointSlice{
		named,
		newSlice("db", "b", "http", corev1.ProtocolTCP, 5432, map[string]condition{"10.1.0.8": isReady, "10.1.0.9": isNotReady}),
	})
	return NewDNS(tb, "cluster.local")
}

func TestDNSAnswers(t *testing.T) {
	d := newDNS()
	for _, c := range []struct {
		query string
		rcode int
		want  string // the data, sorted
	}{
		{"A kubernetes.default.svc.cluster.local", dns.RcodeSuccess, "10.96.0.1"},
		{"A HELLO.Default.svc.cluster.local", dns.RcodeSuccess, "10.96.0.2"},
		{"AAAA hello.default.svc.cluster.local", dns.RcodeSuccess, ""},
		{"A nobody.default.svc.cluster.local", dns.RcodeNameError, ""},
		{"A hello.other.svc.cluster.local", dns.RcodeNameError, ""},
		{"A default.svc.cluster.local", dns.RcodeSuccess, ""},
		{"A other.svc.cluster.local", dns.RcodeNameError, ""},
		{"A svc.cluster.local", dns.RcodeSuccess, ""},
		{"SOA cluster.local", dns.RcodeSuccess, "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"},
		{"A db.default.svc.cluster.local", dns.RcodeSuccess, "10.1.0.7, 10.1.0.8"},
		{"A db-0.db.default.svc.cluster.local", dns.RcodeSuccess, "10.1.0.7"},
		{"A 10-1-0-8.db.default.svc.cluster.local", dns.RcodeSuccess, "10.1.0.8"},
		{"A 10-1-0-9.db.default.svc.cluster.local", dns.RcodeNameError, ""},
		{"A x.hello.default.svc.cluster.local", dns.RcodeNameError, ""},
		{"A idle.default.svc.cluster.local", dns.RcodeNameError, ""},
		{"SRV _http._tcp.hello.default.svc.cluster.local", dns.RcodeSuccess, "0 100 5000 hello.default.svc.cluster.local."},
		{"SRV _u._udp.hello.default.svc.cluster.local", dns.RcodeSuccess, "0 100 53 hello.default.svc.cluster.local."},
		{"A _http._tcp.hello.default.svc.cluster.local", dns.RcodeSuccess, ""},
		{"SRV _nope._tcp.hello.default.svc.cluster.local", dns.RcodeNameError, ""},
		{"SRV _http._tcp.db.default.svc.cluster.local", dns.RcodeSuccess, "0 50 5432 10-1-0-8.db.default.svc.cluster.local., 0 50 5432 db-0.db.default.svc.cluster.local."},
		{"A external.default.svc.cluster.local", dns.RcodeSuccess, "example.com."},
		{"A inside.default.svc.cluster.local", dns.RcodeSuccess, "10.96.0.2, hello.default.svc.cluster.local."},
		{"A 10-1-2-3.default.pod.cluster.local", dns.RcodeSuccess, "10.1.2.3"},
		{"A 10-1-2-300.default.pod.cluster.local", dns.RcodeNameError, ""},
		{"TXT dns-version.cluster.local", dns.RcodeSuccess, `"1.1.0"`},
		{"PTR 2.0.96.10.in-addr.arpa", dns.RcodeSuccess, "hello.default.svc.cluster.local."},
		{"PTR 7.0.1.10.in-addr.arpa", dns.RcodeSuccess, "db-0.db.default.svc.cluster.local."},
		{"PTR 9.9.9.9.in-addr.arpa", dns.RcodeNameError, ""},
		{"A example.com", dns.RcodeNameError, ""},
		{"A hello", dns.RcodeNameError, ""},
	} {
		kind, name, _ := strings.Cut(c.query, " ")
		q := new(dns.Msg)
		q.SetQuestion(dns.Fqdn(name), dns.StringToType[kind])
		m := d.Answer(q)
		var got []string
		for _, rr := range m.Answer {
			got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		slices.Sort(got)
		if m.Rcode != c.rcode || strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s %q, want %s %q", c.query, dns.RcodeToString[m.Rcode], got, dns.RcodeToString[c.rcode], c.want)
		}
		if len(m.Answer) == 0 && (len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA) {
			t.Errorf("%s: no SOA with a negative answer", c.query)
		}
		if _, err := m.Pack(); err != nil {
			t.Errorf("%s: %v", c.query, err)
		}
	}
	q := new(dns.Msg)
	q.SetQuestion("circle.default.svc.cluster.local.", dns.TypeA)
	if m := d.Answer(q); len(m.Answer) > maxAliases+1 {
		t.Errorf("a circle of names gave %d records", len(m.Answer))
	}
	unfilled := NewDNS(NewTable(1), "cluster.local")
	if m := unfilled.Answer(q); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("before the table is filled: %s", dns.RcodeToString[m.Rcode])
	}
}

func FuzzDNS(f *testing.F) {
	for _, n := range []string{"hello.default.svc.cluster.local.", "_http._tcp.db.default.svc.cluster.local.", "..", "1-2-3-4.x.pod.cluster.local."} {
		q := new(dns.Msg)
		q.SetQuestion(n, dns.TypeANY)
		if b, err := q.Pack(); err == nil {
			f.Add(b)
		}
	}
	d := newDNS()
	f.Fuzz(func(_ *testing.T, b []byte) {
		q := new(dns.Msg)
		if q.Unpack(b) == nil {
			d.Answer(q)
		}
	})
}

// A pod in one region asks for a service of its cluster by the virtual
// address, and for one of another cluster by its load balancer.
func TestPodToServiceToBackend(t *testing.T) {
	prefix := netip.MustParsePrefix
	engine, err := wan.New(wan.Policy{
		Sites: []wan.Site{
			{Cluster: "eu", Region: "eu-west", Prefixes: []netip.Prefix{prefix("10.1.0.0/16")}},
			{Cluster: "us", Region: "us-west", Prefixes: []netip.Prefix{prefix("10.2.0.0/16")}},
		},
		Links: []wan.Link{
			{From: "eu-west", To: "us-west", LinkModel: wan.LinkModel{OneWay: 20 * time.Millisecond}},
			{From: "us-west", To: "eu-west", LinkModel: wan.LinkModel{OneWay: 20 * time.Millisecond}},
		},
		Peerings: []wan.Peering{{A: "eu", B: "us"}},
		Rules:    []wan.Rule{{From: "eu", To: "us", Ports: []wan.Port{{Protocol: tcp, Number: 443}}}},
		Probes:   wan.LabProbes,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	network := netstack.New(engine)
	defer network.Close()
	host := func(addr, answer string) *netstack.Host {
		h, err := network.AddHost(addr, netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		l, err := h.Listen("tcp", ":8080")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				_ = c.Close()
			}
		}()
		return h
	}
	pod, _, usPod := host("10.1.0.1", "pod"), host("10.1.0.2", "eu"), host("10.2.0.2", "us")
	eu, us := NewTable(1), NewTable(1)
	eu.Set([]*corev1.Service{newService("hello", "10.96.0.1", "80"), newService("idle", "10.96.0.2", "80")}, []*discoveryv1.EndpointSlice{
		newSlice("hello", "a", "", corev1.ProtocolTCP, 8080, map[string]condition{"10.1.0.2": isReady}),
	})
	lb := newService("gateway", "10.97.0.1", "443", "444")
	lb.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.2.192.1"}}
	us.Set([]*corev1.Service{lb}, []*discoveryv1.EndpointSlice{
		newSlice("gateway", "a", "", corev1.ProtocolTCP, 8080, map[string]condition{"10.2.0.2": isReady}),
	})
	pod.SetServices(eu)
	network.SetEdge(prefix("10.2.192.0/18"), us)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ask := func(addr string, d time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		c, err := pod.DialContext(ctx, "tcp", addr)
		if err != nil {
			return "", err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		return string(b), err
	}
	if got, err := ask("10.96.0.1:80", 5*time.Second); got != "eu" || err != nil {
		t.Errorf("own cluster's service: %q, %v", got, err)
	}
	if got, err := ask("10.2.192.1:443", 5*time.Second); got != "us" || err != nil {
		t.Errorf("other cluster's load balancer: %q, %v", got, err)
	}
	if _, err := ask("10.2.192.1:444", 200*time.Millisecond); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a port the rules forbid: %v, want a timeout", err)
	}
	if _, err := ask("10.96.0.2:80", 5*time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("service without backend: %v, want a refusal", err)
	}
	if rtt, err := pod.Ping(ctx, usPod.Addr()); err != nil || rtt < 40*time.Millisecond {
		t.Errorf("probe: %v, %v, want 40 ms", rtt, err)
	}
	echo, cancelEcho := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancelEcho()
	if rtt, err := pod.Echo(echo, usPod.Addr()); err == nil {
		t.Errorf("the rules forbid ICMP, yet an echo came back after %v", rtt)
	}
}

// Large answers are cut over UDP and whole over TCP.
func TestDNSTruncates(t *testing.T) {
	endpoints := map[string]condition{}
	for i := range 200 {
		endpoints[fmt.Sprintf("10.1.1.%d", i)] = isReady
	}
	tb := NewTable(1)
	tb.Set([]*corev1.Service{newService("big", "None", "80")}, []*discoveryv1.EndpointSlice{newSlice("big", "a", "", corev1.ProtocolTCP, 80, endpoints)})
	d := NewDNS(tb, "cluster.local")
	q := new(dns.Msg)
	q.SetQuestion("big.default.svc.cluster.local.", dns.TypeA)
	for _, c := range []struct {
		from net.Addr
		want func(int, bool) bool
	}{
		{&net.UDPAddr{}, func(n int, tc bool) bool { return n < 40 && tc }},
		{&net.TCPAddr{}, func(n int, tc bool) bool { return n == 200 && !tc }},
	} {
		w := &writer{from: c.from}
		d.ServeDNS(w, q)
		if !c.want(len(w.msg.Answer), w.msg.Truncated) {
			t.Errorf("over %s: %d answers, truncated %v", c.from.Network(), len(w.msg.Answer), w.msg.Truncated)
		}
	}
}

type writer struct {
	dns.ResponseWriter
	from net.Addr
	msg  *dns.Msg
}

func (w *writer) RemoteAddr() net.Addr      { return w.from }
func (w *writer) WriteMsg(m *dns.Msg) error { w.msg = m; return nil }
