package tun_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// pour sends size bytes by TCP from one namespace to an address of another,
// and returns the connection's path MTU as its sender knew it at the end.
func pour(t *testing.T, from, to *drivertest.Namespace, addr netip.Addr, size int64) (pathMTU int) {
	t.Helper()
	ln, err := to.Listen(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	c, err := from.Dial(ln.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.CopyN(c, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	tcp := c.(*net.TCPConn)
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			pathMTU = int(info.Pmtu)
		}
	})
	_ = tcp.CloseWrite()
	select {
	case n := <-got:
		if n != size {
			t.Fatalf("%d of %d bytes arrived", n, size)
		}
	case <-time.After(patience):
		t.Fatalf("%d bytes did not arrive within %v", size, patience)
	}
	return pathMTU
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestSmallMTU sends what does not fit: past the TUN's MTU, and past that of
// the interface a packet leaves by. Nothing may vanish without a word.
func TestSmallMTU(t *testing.T) {
	for _, c := range []struct {
		name        string
		tun, leaves int
		want        int
	}{
		{"a small WAN", 1380, 1500, 1380},
		{"a small network behind it", 0, 1300, 1300},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := drivertest.NewNetwork(t)
			a, b := n.Sites[0], n.Sites[1]
			l, err := n.Router.Links.LinkByName(b.Interface)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Router.Links.LinkSetMTU(l, c.leaves); err != nil {
				t.Fatal(err)
			}
			r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{MTU: c.tun})
			defer runRouter(t, r)()
			newPair(t, n).arrives(newPair(t, n).far)
			for _, addr := range []netip.Addr{b.Addr4, b.Addr6, b.Pod4, b.Pod6} {
				if got := pour(t, a.Node, b.Node, addr, 1<<20); got != c.want {
					t.Errorf("to %v: the sender found a path MTU of %d, want %d", addr, got, c.want)
				}
			}
			// A datagram is fragmented, by its sender or on its way.
			for _, x := range []struct{ src, dst netip.Addr }{{a.Addr4, b.Addr4}, {a.Addr6, b.Addr6}} {
				sink, sender := drivertest.NewSink(t, b.Node, x.dst), drivertest.NewSender(t, a.Node, x.src)
				if err := sender.Send(sink.Addr, 4000); err != nil {
					t.Fatal(err)
				}
				if got := sink.Collect(1, patience); len(got) != 1 || got[0].Size != 4000 {
					t.Errorf("a datagram of 4000 bytes to %v: got %v", x.dst, got)
				}
			}
		})
	}
}

// TestSuperPackets looks at what becomes of them on several kinds of link.
func TestSuperPackets(t *testing.T) {
	n := drivertest.NewNetwork(t)
	a, b := n.Sites[2], n.Sites[1]
	r := open(t, n, n.Policy(oneWay, oneWay), tun.Config{})
	defer runRouter(t, r)()
	newPair(t, n).arrives(newPair(t, n).far)
	const size = 4 << 20
	for _, c := range []struct {
		name  string
		model wan.LinkModel
		cut   bool
	}{
		{"delay alone", wan.LinkModel{OneWay: oneWay}, false},
		{"a high rate", wan.LinkModel{OneWay: oneWay, RateBps: 100e9}, false},
		{"a low rate", wan.LinkModel{OneWay: oneWay, RateBps: 200e6}, true},
		{"loss", wan.LinkModel{OneWay: oneWay, Loss: wan.LossModel{Good: .01}}, true},
		{"jitter", wan.LinkModel{OneWay: oneWay, Jitter: oneWay / 10}, true},
		{"duplicates", wan.LinkModel{OneWay: oneWay, Duplicate: .05}, true},
		{"corruption", wan.LinkModel{OneWay: oneWay, Corrupt: .01}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := n.Policy(oneWay, oneWay)
			p.Links[0].LinkModel = c.model
			if err := r.Apply(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			for _, addr := range []netip.Addr{b.Addr4, b.Addr6} {
				before := r.Totals()
				pour(t, a.Node, b.Node, addr, size)
				after := r.Totals()
				if after.Supers == before.Supers {
					t.Errorf("to %v: no super-packets in %d bytes: this test proves nothing", addr, size)
				}
				if cut := after.Cut > before.Cut; cut != c.cut {
					t.Errorf("to %v: cut %d of %d super-packets", addr, after.Cut-before.Cut, after.Supers-before.Supers)
				}
			}
			if n := r.Totals().Malformed; n > 0 {
				t.Errorf("%d malformed", n)
			}
		})
	}
}

// ping returns the round trip of one echo.
func ping(t *testing.T, from *drivertest.Namespace, src, dst netip.Addr, seq int) (time.Duration, error) {
	t.Helper()
	network, protocol := "ip4:icmp", 1
	var request, reply icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	if dst.Is6() {
		network, protocol, request, reply = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	var c *icmp.PacketConn
	err := from.Do(func() (err error) { c, err = icmp.ListenPacket(network, src.String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const id = 77
	m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: seq, Data: make([]byte, 56)}}
	b, err := m.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := c.WriteTo(b, &net.IPAddr{IP: dst.AsSlice()}); err != nil {
		return 0, err
	}
	_ = c.SetReadDeadline(start.Add(patience))
	in := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(in)
		if err != nil {
			return 0, err
		}
		took := time.Since(start)
		got, err := icmp.ParseMessage(protocol, in[:n])
		if err != nil {
			return 0, err
		}
		if echo, ok := got.Body.(*icmp.Echo); ok && got.Type == reply && echo.ID == id && echo.Seq == seq {
			return took, nil
		}
		if got.Type == ipv4.ICMPTypeDestinationUnreachable || got.Type == ipv6.ICMPTypeDestinationUnreachable {
			return 0, fmt.Errorf("%w: code %d", errUnreachable, got.Code)
		}
	}
}

var errUnreachable = errors.New("destination unreachable")

func TestPing(t *testing.T) {
	n := drivertest.NewNetwork(t)
	a, b := n.Sites[0], n.Sites[1]
	const there, back = 30 * time.Millisecond, 10 * time.Millisecond
	r := open(t, n, n.Policy(there, back), tun.Config{})
	defer runRouter(t, r)()
	newPair(t, n).arrives(newPair(t, n).far)
	for i, x := range []struct{ src, dst netip.Addr }{{a.Addr4, b.Addr4}, {a.Addr6, b.Addr6}, {a.Pod4, b.Pod4}, {a.Pod6, b.Pod6}} {
		best := time.Hour
		for j := range 5 {
			took, err := ping(t, a.Node, x.src, x.dst, 10*i+j)
			if err != nil {
				t.Fatalf("ping %v: %v", x.dst, err)
			}
			best = min(best, took)
		}
		if best < there+back || best > there+back+20*time.Millisecond {
			t.Errorf("ping %v: %v at best, want %v", x.dst, best, there+back)
		}
	}
}

// TestSharedInterface has two sites of one cluster on one link: what goes from
// one to the other crosses the WAN, and what stays within one comes straight back.
func TestSharedInterface(t *testing.T) {
	n := drivertest.NewNetwork(t)
	a := n.Sites[0]
	const far = 30 * time.Millisecond
	p := n.Policy(oneWay, oneWay)
	beyond := netip.PrefixFrom(a.SecondPod4, 24).Masked()
	p.Sites[0].Prefixes = slices.DeleteFunc(p.Sites[0].Prefixes, func(x netip.Prefix) bool { return x == beyond })
	p.Sites = append(p.Sites, wan.Site{Cluster: "a", Region: "north", Prefixes: []netip.Prefix{beyond}})
	p.Links = append(p.Links, wan.Link{From: "west", To: "north", LinkModel: wan.LinkModel{OneWay: far}})
	engine, err := wan.New(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	attachments := n.Attachments()
	whole := attachments[0].Routes
	attachments[0].Routes = nil
	split := wan.Attachment{Interface: a.Interface}
	for _, route := range whole {
		if route.To == beyond {
			split.Routes = append(split.Routes, route)
		} else {
			attachments[0].Routes = append(attachments[0].Routes, route)
		}
	}
	r, err := tun.Open(tun.Config{Engine: engine, Attachments: append(attachments, split), Namespace: n.Router.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer runRouter(t, r)()
	newPair(t, n).arrives(newPair(t, n).far)

	sink, sender := drivertest.NewSink(t, a.Second, a.SecondPod4), drivertest.NewSender(t, a.Node, a.Addr4)
	if err := sender.Send(sink.Addr, 16); err != nil {
		t.Fatal(err)
	}
	if got := sink.Collect(1, patience); len(got) != 1 || got[0].Delay < far-time.Millisecond {
		t.Errorf("from one site to another of the same link: %+v, want %v", got, far)
	}
	before := r.Engine().Counters()
	sink, sender = drivertest.NewSink(t, a.Node, a.Pod4), drivertest.NewSender(t, a.Second, a.Second4)
	if err := sender.Send(sink.Addr, 16); err != nil {
		t.Fatal(err)
	}
	if got := sink.Collect(1, patience); len(got) != 1 {
		t.Error("within one site of a shared link nothing arrives")
	}
	if d := cmp.Diff(before, r.Engine().Counters()); d != "" {
		t.Errorf("links counted what stays within a site (-before +after):\n%s", d)
	}
}
