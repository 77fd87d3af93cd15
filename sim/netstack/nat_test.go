package netstack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeServices are services by protocol and address: "tcp 10.96.0.1:80".
type fakeServices struct {
	mu       sync.Mutex
	backends map[string][]string
	next     int
}

func service(proto uint8, a netip.AddrPort) string {
	return map[uint8]string{protoTCP: "tcp ", protoUDP: "udp "}[proto] + a.String()
}

func (f *fakeServices) Backend(proto uint8, _, dst netip.AddrPort) (netip.AddrPort, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bs, known := f.backends[service(proto, dst)]
	if len(bs) == 0 {
		return netip.AddrPort{}, known
	}
	f.next++
	return netip.MustParseAddrPort(bs[f.next%len(bs)]), true
}

func (f *fakeServices) HasBackend(proto uint8, dst, backend netip.AddrPort) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.backends[service(proto, dst)] {
		if b == backend.String() {
			return true
		}
	}
	return false
}

func (f *fakeServices) set(name string, backends ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends[name] = backends
}

func TestServicesReachTheirBackends(t *testing.T) {
	n := newTest(t, &testWAN{oneWay: time.Millisecond})
	a, b, c := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.1.0.2"), addHost(t, n, "10.2.0.3")
	serveName(t, b, ":8080", "b")
	serveName(t, c, ":8080", "c")
	s := &fakeServices{backends: map[string][]string{
		"tcp 10.96.0.1:80": {"10.1.0.2:8080", "10.2.0.3:8080"},
		"tcp 10.96.0.2:80": {},
		"udp 10.96.0.2:53": {},
	}}
	a.SetServices(s)
	count := map[string]int{}
	for range 20 {
		got, err := ask(t, a, "10.96.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		name, from, _ := strings.Cut(got, " ")
		if !strings.HasPrefix(from, "10.1.0.1:") {
			t.Errorf("the backend sees %s, want the client's address", from)
		}
		count[name]++
	}
	if count["b"] != 10 || count["c"] != 10 {
		t.Errorf("answered by %v, want 10 each", count)
	}
	conn, err := a.DialContext(withTimeout(t, time.Second), "tcp", "10.96.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); got != "10.96.0.1:80" {
		t.Errorf("the client sees %s, want the virtual address", got)
	}
	_ = conn.Close()

	if _, err := ask(t, a, "10.96.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("no backend: %v, want ECONNREFUSED", err)
	}
	u, err := a.DialContext(withTimeout(t, time.Second), "udp", "10.96.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, _ = u.Write([]byte("x"))
	_ = u.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := u.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("no backend over UDP: %v, want ECONNREFUSED", err)
	}
	if _, err := a.DialContext(withTimeout(t, 50*time.Millisecond), "tcp", "10.96.0.3:80"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("unknown service: %v, want a timeout", err)
	}
	// Nobody listens on the backend's port: its own refusal comes back.
	s.set("tcp 10.96.0.4:80", "10.1.0.2:81")
	if _, err := ask(t, a, "10.96.0.4:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("backend refuses: %v, want ECONNREFUSED", err)
	}
	s.set("udp 10.96.0.4:53", "10.1.0.2:81")
	u, err = a.DialContext(withTimeout(t, time.Second), "udp", "10.96.0.4:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, _ = u.Write([]byte("x"))
	_ = u.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := u.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("backend refuses over UDP: %v, want ECONNREFUSED", err)
	}
}

func TestHairpin(t *testing.T) {
	n := newTest(t, &testWAN{})
	a := addHost(t, n, "10.1.0.1")
	serveName(t, a, ":8080", "self")
	pc, err := a.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	go echoPackets(pc, "self")
	a.SetServices(&fakeServices{backends: map[string][]string{
		"tcp 10.96.0.1:80": {"10.1.0.1:8080"},
		"udp 10.96.0.1:53": {"10.1.0.1:53"},
		"udp 10.96.0.1:54": {"10.1.0.1:54"}, // nobody listens
	}})
	for range 3 {
		if got, err := ask(t, a, "10.96.0.1:80"); err != nil || !strings.HasPrefix(got, "self ") {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if got, err := askPacket(t, a, "10.96.0.1:53", 4000); err != nil || got != "self" {
		t.Errorf("over UDP: %q, %v", got, err)
	}
	if _, err := askPacket(t, a, "10.96.0.1:54", 1); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("over UDP, nobody listens: %v, want ECONNREFUSED", err)
	}
}

func echoPackets(pc net.PacketConn, name string) {
	buf := make([]byte, 65536)
	for {
		_, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = pc.WriteTo([]byte(name), from)
	}
}

func askPacket(t *testing.T, h *Host, address string, size int) (string, error) {
	t.Helper()
	u, err := h.DialContext(withTimeout(t, time.Second), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	return exchange(u, size)
}

func exchange(u net.Conn, size int) (string, error) {
	_ = u.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := u.Write(bytes.Repeat([]byte{'x'}, size)); err != nil {
		return "", err
	}
	buf := make([]byte, 65536)
	k, err := u.Read(buf)
	return string(buf[:k]), err
}

func TestBackendsThatGo(t *testing.T) {
	n := newTest(t, &testWAN{})
	a, b, c := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.1.0.2"), addHost(t, n, "10.1.0.3")
	for h, name := range map[*Host]string{b: "b", c: "c"} {
		pc, err := h.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		go echoPackets(pc, name)
	}
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServices{backends: map[string][]string{"tcp 10.96.0.1:80": {"10.1.0.2:80"}, "udp 10.96.0.1:53": {"10.1.0.2:53"}}}
	a.SetServices(s)
	conn, err := a.DialContext(withTimeout(t, time.Second), "tcp", "10.96.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.DialContext(withTimeout(t, time.Second), "udp", "10.96.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if got, err := exchange(u, 10); got != "b" {
		t.Fatalf("got %q, %v, want b", got, err)
	}
	s.set("tcp 10.96.0.1:80")
	s.set("udp 10.96.0.1:53", "10.1.0.3:53")
	if got, err := exchange(u, 10); got != "c" {
		t.Errorf("backend b is gone: got %q, %v, want c", got, err)
	}
	if _, err := conn.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := peer.Read(buf); err != nil || string(buf) != "still" {
		t.Errorf("an established connection: %q, %v; want it left alone", buf, err)
	}
}

func TestEdge(t *testing.T) {
	e := &testWAN{oneWay: 5 * time.Millisecond}
	n := newTest(t, e)
	near, far := addHost(t, n, "10.2.0.9"), addHost(t, n, "10.1.0.1")
	b1, b2 := addHost(t, n, "10.2.1.1"), addHost(t, n, "10.2.1.2")
	serveName(t, b1, ":15443", "b1")
	serveName(t, b2, ":15443", "b2")
	s := &fakeServices{backends: map[string][]string{
		"tcp 10.2.192.1:443": {"10.2.1.1:15443", "10.2.1.2:15443"},
		"tcp 10.2.192.2:443": {},
	}}
	lb := netip.MustParsePrefix("10.2.192.0/18")
	n.SetEdge(lb, s)
	for _, c := range []*Host{near, far} {
		count := map[string]int{}
		for range 10 {
			start := time.Now()
			got, err := ask(t, c, "10.2.192.1:443")
			if err != nil {
				t.Fatalf("from %s: %v", c.Name(), err)
			}
			if took := time.Since(start); c == far && took < 10*time.Millisecond {
				t.Errorf("from %s: took %v, less than a round trip", c.Name(), took)
			}
			name, from, _ := strings.Cut(got, " ")
			if !strings.HasPrefix(from, c.Addr().String()+":") {
				t.Errorf("the backend sees %s, want the client's address", from)
			}
			count[name]++
		}
		if count["b1"] != 5 || count["b2"] != 5 {
			t.Errorf("from %s: answered by %v, want 5 each", c.Name(), count)
		}
		if _, err := ask(t, c, "10.2.192.2:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("from %s, no backend: %v, want ECONNREFUSED", c.Name(), err)
		}
	}
	// A backend that reaches itself through the load balancer.
	s.set("tcp 10.2.192.1:443", "10.2.1.1:15443")
	if got, err := ask(t, b1, "10.2.192.1:443"); err != nil || !strings.HasPrefix(got, "b1 ") {
		t.Errorf("hairpin: %q, %v", got, err)
	}
	n.SetEdge(lb, nil)
	if _, err := far.DialContext(withTimeout(t, 60*time.Millisecond), "tcp", "10.2.192.1:443"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("edge taken away: %v, want a timeout", err)
	}
}

// Two virtual addresses with one backend, from one source port: the replies
// must be told apart.
func TestNATKeepsFlowsApart(t *testing.T) {
	s := &fakeServices{backends: map[string][]string{"tcp 10.96.0.1:80": {"10.1.0.2:80"}, "tcp 10.96.0.2:80": {"10.1.0.2:80"}}}
	n := newNAT(&stats{})
	syn := func(vip string) []byte { return segment("10.1.0.1:40000", vip, 0x02) }
	one, two := syn("10.96.0.1:80"), syn("10.96.0.2:80")
	if n.forward(s, one) != natRewritten || n.forward(s, two) != natRewritten {
		t.Fatal("not rewritten")
	}
	t1, _, _, _ := parse(one)
	t2, _, _, _ := parse(two)
	if t1 == t2 {
		t.Fatalf("both flows became %v", t1)
	}
	for back, want := range map[tuple]string{t1.inverse(): "10.96.0.1:80", t2.inverse(): "10.96.0.2:80"} {
		b := segment(back.source().String(), back.destination().String(), 0x12)
		if n.reverse(b) != natRewritten {
			t.Fatalf("reply %v not rewritten", back)
		}
		if got, _, _, _ := parse(b); got.source().String() != want || got.destination().String() != "10.1.0.1:40000" {
			t.Errorf("reply became %v→%v, want from %s", got.source(), got.destination(), want)
		}
	}
}

func TestNATForgets(t *testing.T) {
	s := &fakeServices{backends: map[string][]string{"tcp 10.96.0.1:80": {"10.1.0.2:80"}}}
	n := newNAT(&stats{})
	var clock time.Duration
	pass := func(d time.Duration) { clock += d; n.start = time.Now().Add(-clock) }
	pass(time.Minute)
	for i := range 100 {
		n.forward(s, segment(fmt.Sprintf("10.1.0.1:%d", 40000+i), "10.96.0.1:80", 0x02))
	}
	if n.flows() != 100 {
		t.Fatalf("%d flows, want 100", n.flows())
	}
	pass(tcpOpening + time.Second)
	n.forward(s, segment("10.1.0.1:50000", "10.96.0.1:80", 0x02))
	if n.flows() != 1 || len(n.rev) != 1 {
		t.Errorf("%d flows after their time, want 1", n.flows())
	}
	n.reverse(segment("10.1.0.2:80", "10.1.0.1:50000", 0x12))
	pass(time.Hour)
	n.forward(s, segment("10.1.0.1:50001", "10.96.0.1:80", 0x02))
	if n.flows() != 2 {
		t.Errorf("%d flows, want the established one to live on", n.flows())
	}
	n.reverse(segment("10.1.0.2:80", "10.1.0.1:50000", 0x04)) // RST
	pass(tcpClosing + sweepEvery)
	n.forward(s, segment("10.1.0.1:50002", "10.96.0.1:80", 0x02))
	if n.flows() != 2 {
		t.Errorf("%d flows, want the reset one gone", n.flows())
	}
	for i := range maxFlows + 10 {
		n.forward(s, segment(fmt.Sprintf("10.3.%d.%d:1000", i/256%256, i%256), "10.96.0.1:80", 0x02))
		n.forward(s, segment(fmt.Sprintf("10.3.%d.%d:1001", i/256%256, i%256), "10.96.0.1:80", 0x02))
	}
	if n.flows() != maxFlows || n.stats.flowsLimit.Load() == 0 {
		t.Errorf("%d flows, %d refused, want no more than %d", n.flows(), n.stats.flowsLimit.Load(), maxFlows)
	}
}

// segment is a TCP segment without a payload.
func segment(from, to string, flags byte) []byte {
	f, d := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	v, l4 := newIPv4(protoTCP, key4(f.Addr()), key4(d.Addr()), 20)
	l4[0], l4[1], l4[2], l4[3] = byte(f.Port()>>8), byte(f.Port()), byte(d.Port()>>8), byte(d.Port())
	l4[12], l4[13] = 5<<4, flags
	return v.AsSlice()
}

func FuzzNAT(f *testing.F) {
	f.Add(segment("10.1.0.1:40000", "10.96.0.1:80", 0x02))
	f.Add([]byte{0x4f})
	r := refusal(segment("10.1.0.1:40000", "10.96.0.1:80", 0x02))
	f.Add(r.AsSlice())
	s := &fakeServices{backends: map[string][]string{"tcp 10.96.0.1:80": {"10.1.0.2:80"}}}
	f.Fuzz(func(_ *testing.T, b []byte) {
		n := newNAT(&stats{})
		n.forward(s, segment("10.1.0.1:40000", "10.96.0.1:80", 0x02))
		_ = refusal(b)
		n.reverse(bytes.Clone(b))
		n.forward(s, bytes.Clone(b))
	})
}
