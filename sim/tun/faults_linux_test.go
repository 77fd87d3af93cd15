package tun_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

const (
	oneWay   = 2 * time.Millisecond
	patience = time.Minute
)

// pair is a way from site a to site b, and one that stays within a.
type pair struct {
	t      *testing.T
	n      *drivertest.Network
	across *drivertest.Sender
	far    *drivertest.Sink
	near   *drivertest.Sink
}

func newPair(t *testing.T, n *drivertest.Network) *pair {
	a, b := n.Sites[0], n.Sites[1]
	return &pair{
		t: t, n: n, across: drivertest.NewSender(t, a.Node, a.Addr4),
		far: drivertest.NewSink(t, b.Node, b.Addr4), near: drivertest.NewSink(t, a.Second, a.SecondPod4),
	}
}

// arrives sends to a sink until something arrives.
func (p *pair) arrives(at *drivertest.Sink) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_ = p.across.Send(at.Addr, 16) // an unreachable network is an error, and no news
		if len(at.Collect(1, 100*time.Millisecond)) > 0 {
			for len(at.Collect(1, 50*time.Millisecond)) > 0 { // what else was on its way
			}
			return
		}
	}
	p.t.Fatalf("nothing arrives at %v within %v", at.Addr, patience)
}

// silent sends across, and then shows by local traffic, which the same
// kernel forwards, that what it sent had its time.
func (p *pair) silent() {
	p.t.Helper()
	for range 20 {
		_ = p.across.Send(p.far.Addr, 16)
	}
	p.arrives(p.near)
	if got := p.far.Collect(1, 100*time.Millisecond); len(got) > 0 {
		p.t.Fatal("a packet passed by a router that is not there")
	}
}

func TestKilledRouterForwardsNothing(t *testing.T) {
	n := drivertest.NewNetwork(t)
	p := newPair(t, n)
	describe := task{Namespace: n.Router.Path(), Router: &routerTask{n.Attachments(), n.Policy(oneWay, oneWay)}}
	first := begin(t, describe)
	first.line(t)
	p.arrives(p.far)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()
	if v, err := sysctl(n.Router, "net/ipv4/ip_forward"); err != nil || v != "1" {
		t.Fatalf("ip_forward is %q, %v: this test would prove nothing", v, err)
	}
	p.silent()
	// Another takes its place.
	begin(t, describe).line(t)
	p.arrives(p.far)
}

func sysctl(ns *drivertest.Namespace, name string) (v string, err error) {
	err = ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + name)
		v = strings.TrimSpace(string(b))
		return err
	})
	return v, err
}

func TestDeviceTakenAway(t *testing.T) {
	n := drivertest.NewNetwork(t)
	p := newPair(t, n)
	r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	p.arrives(p.far)
	l, err := n.Router.Links.LinkByName(r.Report().Devices[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Router.Links.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "wan1 was taken away") {
			t.Errorf("Run returned %v, want it to name wan1", err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on without its device")
	}
	p.silent()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	p.silent()
}

// TestForgedSource sends from a with an address of b's.
func TestForgedSource(t *testing.T) {
	n := drivertest.NewNetwork(t)
	a, c := n.Sites[0], n.Sites[2]
	r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{})
	defer runRouter(t, r)()
	forged := netip.MustParseAddr("10.2.0.77")
	lo, err := a.Node.Links.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Node.Links.AddrAdd(lo, &netlink.Addr{IPNet: netlink.NewIPNet(forged.AsSlice())}); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, n)
	p.arrives(p.far)
	sink, sender := drivertest.NewSink(t, c.Node, c.Addr4), drivertest.NewSender(t, a.Node, forged)
	for range 20 {
		if err := sender.Send(sink.Addr, 16); err != nil {
			t.Fatal(err)
		}
	}
	p.arrives(p.far)
	if got := sink.Collect(1, 100*time.Millisecond); len(got) > 0 {
		t.Errorf("a packet from %v came out of a", got[0].From)
	}
	if got := dropped(r, wan.Spoofed); got != 20 {
		t.Errorf("%d counted as spoofed, want 20", got)
	}
}

// dropped sums the engine's drops of a cause.
func dropped(r *tun.Router, cause wan.Cause) (n uint64) {
	for _, p := range r.Engine().Pairs() {
		n += p.Dropped[cause]
	}
	return n
}

// TestGarbage puts into the router's own device what no kernel would.
func TestGarbage(t *testing.T) {
	n := drivertest.NewNetwork(t)
	r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{MTU: 9000})
	defer runRouter(t, r)()
	p := newPair(t, n)
	p.arrives(p.far)
	l, err := n.Router.Links.LinkByName(r.Report().Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := n.Router.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	whole := udpPacket(netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.2.0.2"), 100)
	for _, c := range []struct {
		name   string
		packet []byte
		cause  wan.Cause
	}{
		{"one byte", []byte{0x45}, wan.Malformed},
		{"no IP version", append([]byte{0x95}, whole[1:]...), wan.Malformed},
		{"an IPv4 header cut off", whole[:19], wan.Malformed},
		{"an IPv4 packet cut off", whole[:60], wan.Malformed},
		{"a header length below the least", append([]byte{0x44}, whole[1:]...), wan.Malformed},
		{"an IPv6 header cut off", append([]byte{0x60}, whole[1:39]...), wan.Malformed},
		{"longer than it says", append(whole[:100:100], make([]byte, 8000)...), wan.Malformed},
		{"an address of nobody", udpPacket(netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("192.0.2.1"), 100), wan.NoSite},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "longer than it says" {
				binary.BigEndian.PutUint16(c.packet[2:], 9000)
			}
			before := dropped(r, c.cause)
			ll := &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: l.Attrs().Index} // ETH_P_IP, network order
			if err := unix.Sendto(fd, c.packet, 0, ll); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(patience); dropped(r, c.cause) != before+1; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d counted as %v, want one more than %d", dropped(r, c.cause), c.cause, before)
				}
			}
		})
	}
	// A protocol that nobody knows crosses like any other.
	sctp := udpPacket(netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.2.0.2"), 100)
	sctp[9] = 253 // for experiments, RFC 3692
	before := r.Totals().Writes
	if err := unix.Sendto(fd, sctp, 0, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: l.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); r.Totals().Writes == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an unknown protocol does not cross")
		}
	}
	p.arrives(p.far)
}

func udpPacket(src, dst netip.Addr, payload int) []byte {
	b := make([]byte, 28+payload)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	a, z := src.As4(), dst.As4()
	copy(b[12:], a[:])
	copy(b[16:], z[:])
	binary.BigEndian.PutUint16(b[20:], 4000)
	binary.BigEndian.PutUint16(b[22:], 9)
	binary.BigEndian.PutUint16(b[24:], uint16(8+payload))
	return b
}

// TestFullMemory holds more on the way than the memory takes.
func TestFullMemory(t *testing.T) {
	n := drivertest.NewNetwork(t)
	r := open(t, n, n.Policy(300*time.Millisecond, oneWay), tun.Config{Memory: 4 << 20})
	defer runRouter(t, r)()
	p := newPair(t, n)
	p.arrives(p.far)
	const size = 1400
	sent := 0
	for deadline := time.Now().Add(patience); r.Totals().Overflow == 0; sent++ {
		if err := p.across.Send(p.far.Addr, size); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("4 MiB take %d packets of %d bytes", sent, size)
		}
	}
	if got := r.Totals().Memory; got > 4<<20 {
		t.Errorf("%d bytes of memory taken, 4 MiB allowed", got)
	}
	for deadline := time.Now().Add(patience); r.Totals().Held > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("packets are held for ever")
		}
	}
	p.arrives(p.far)
}

func TestOpenRefuses(t *testing.T) {
	drivertest.Require(t)
	ns := drivertest.NewNamespace(t)
	engine, err := wan.New(wan.Policy{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix("10.1.0.0/24")
	to := func(name string, ps ...netip.Prefix) wan.Attachment {
		a := wan.Attachment{Interface: name}
		for _, p := range ps {
			a.Routes = append(a.Routes, wan.AttachedRoute{To: p})
		}
		return a
	}
	for _, c := range []struct {
		name string
		cfg  tun.Config
		want string
	}{
		{"no engine", tun.Config{Attachments: []wan.Attachment{to("lo", prefix)}}, "no engine"},
		{"nothing attached", tun.Config{Engine: engine}, "no attachments"},
		{"no such interface", tun.Config{Engine: engine, Attachments: []wan.Attachment{to("eth7", prefix)}}, "attachment eth7"},
		{"a range twice", tun.Config{Engine: engine, Attachments: []wan.Attachment{to("lo", prefix), to("eth1", prefix)}}, "behind lo already"},
		{"two families", tun.Config{Engine: engine, Attachments: []wan.Attachment{{Interface: "lo", Routes: []wan.AttachedRoute{{To: prefix, Via: netip.MustParseAddr("fd00::1")}}}}}, "two families"},
		{"no MTU", tun.Config{Engine: engine, MTU: 100, Attachments: []wan.Attachment{to("lo", prefix)}}, "MTU 100"},
		{"no namespace", tun.Config{Engine: engine, Namespace: "/nowhere", Attachments: []wan.Attachment{to("lo", prefix)}}, "open namespace /nowhere"},
		{"a name too long", tun.Config{Engine: engine, Name: "wide-area-network", Attachments: []wan.Attachment{to("lo", prefix)}}, "at most 10 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.Namespace == "" {
				c.cfg.Namespace = ns.Path()
			}
			r, err := tun.Open(c.cfg)
			if err == nil {
				_ = r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	n := drivertest.NewNetwork(t)
	before := rules(t, n.Router)
	r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(rules(t, n.Router)) == len(before) {
		t.Fatal("a closed router leaves no rules: networks would be joined")
	}
	for range 2 {
		if err := tun.Clean(n.Router.Path()); err != nil {
			t.Fatal(err)
		}
		if got := rules(t, n.Router); len(got) != len(before) {
			t.Errorf("rules after Clean: %v, before Open: %v", got, before)
		}
	}
	routes, err := n.Router.Links.RouteListFiltered(unix.AF_UNSPEC, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range routes {
		if route.Protocol == 0xa7 {
			t.Errorf("a route is left: %v", route)
		}
	}
}

func rules(t *testing.T, ns *drivertest.Namespace) []netlink.Rule {
	t.Helper()
	all, err := ns.Links.RuleList(unix.AF_UNSPEC)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
