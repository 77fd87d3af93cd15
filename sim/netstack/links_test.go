package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/atoll-dev/atoll/sim/wan"
)

// A link that rejects lets a connection fail at once, where a cut one lets it
// time out.
func TestRejectedConnectionFailsAtOnce(t *testing.T) {
	n := realWAN(t, wan.LinkModel{Down: true, Reject: true}, wan.LinkModel{})
	a := addHost(t, n, "10.1.0.1")
	addHost(t, n, "10.2.0.1")
	ctx := withTimeout(t, 30*time.Second)
	_, err := a.DialContext(ctx, "tcp", "10.2.0.1:80")
	if ctx.Err() != nil || !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("got %v, want host unreachable", err)
	}
}

// TCP delivers what was sent over links that duplicate, corrupt, lose and
// reorder packets; and they did.
func TestTransferIsIntactOverWildLinks(t *testing.T) {
	m := wan.LinkModel{
		OneWay: 2 * time.Millisecond, Jitter: time.Millisecond, Shape: wan.Pareto, Reorder: true,
		Loss: wan.LossModel{Good: .005}, Duplicate: .05, Corrupt: .01,
	}
	n := realWAN(t, m, m)
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	l, err := b.Listen("tcp", ":9000")
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 << 10
	want := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		sum := sha256.New()
		_, _ = io.CopyN(io.MultiWriter(c, sum), rand.NewChaCha8([32]byte{7}), size)
		want <- sum.Sum(nil)
	}()
	c, err := a.DialContext(withTimeout(t, 60*time.Second), "tcp", "10.2.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.New()
	if got, err := io.Copy(sum, c); err != nil || got != size {
		t.Fatalf("read %d of %d bytes: %v", got, size, err)
	}
	if !bytes.Equal(<-want, sum.Sum(nil)) {
		t.Error("what came is not what was sent")
	}
	if s := n.Stats(); s.Duplicated == 0 || s.Corrupted == 0 {
		t.Errorf("the links were tame: %+v", s)
	}
}

// A host that sends with another's address reaches nobody, not even where
// that makes the packet look local.
func TestForgedSourceIsDropped(t *testing.T) {
	n := realWAN(t, wan.LinkModel{}, wan.LinkModel{})
	a := addHost(t, n, "10.1.0.1")
	addHost(t, n, "10.2.0.1")
	for _, src := range []string{"10.2.0.9", "192.0.2.1"} {
		before := n.Stats()
		v, _ := newIPv4(protoUDP, key4(netip.MustParseAddr(src)), key4(netip.MustParseAddr("10.2.0.1")), 8)
		a.transmit(v)
		after := n.Stats()
		if after.Sent != before.Sent+1 || after.InFlight != 0 || after.Delivered != before.Delivered {
			t.Errorf("from %s: %+v, then %+v", src, before, after)
		}
	}
	e := n.engine.(*wan.Engine)
	var spoofed uint64
	for _, p := range e.Pairs() {
		spoofed += p.Dropped[wan.Spoofed]
	}
	if spoofed != 2 {
		t.Errorf("%d packets counted as spoofed, want 2", spoofed)
	}
}

// TCP Reno (gVisor's, both ends) over a link that loses a share p of the
// packets gets the bandwidth of Mathis, Semke, Mahdavi and Ott (1997):
//
//	MSS/RTT · √(3/2) / √p
//
// The model has the window halved at each loss and grown by a segment per
// round trip, and knows nothing of timeouts. One loss in 1/p = 100 segments,
// the window is between 8 and 16 segments and a cycle lasts 8 round trips, so
// that the test sees about 30 of them. The segments between two losses vary
// by as many as their mean, and a cycle's bandwidth by about half its mean:
// 9 % for 30. Four of that, and some 15 % for what the model leaves out
// (recovery, timeouts of small windows), make the bound.
func TestTCPComesNearMathis(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	const (
		p       = .01
		oneWay  = 15 * time.Millisecond
		segment = 1460 - 12 // the timestamps' option
		bound   = 4*.09 + .15
	)
	n := realWAN(t, wan.LinkModel{OneWay: oneWay, Loss: wan.LossModel{Good: p}}, wan.LinkModel{OneWay: oneWay})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	reno := tcpip.CongestionControlOption("reno")
	if err := a.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &reno); err != nil {
		t.Fatal(err)
	}
	l, err := b.Listen("tcp", ":9000")
	if err != nil {
		t.Fatal(err)
	}
	var received atomic.Int64
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := a.DialContext(ctx, "tcp", "10.2.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		zeros := make([]byte, 64<<10)
		for {
			if _, err := c.Write(zeros); err != nil {
				return
			}
		}
	}()
	// Echoes, one after another and over the direction without loss first, are
	// the clock: a machine that is busy slows them down as it does TCP, and
	// one that stands still stops both. An echo that was lost takes patience,
	// and says nothing of the round trip.
	const patience = 10 * oneWay
	roundTrip := func(d time.Duration) (mean, took time.Duration) {
		count := 0
		for took < d || count == 0 {
			ping, cancel := context.WithTimeout(ctx, patience)
			begin := time.Now()
			rtt, err := b.Ping(ping, a.Addr())
			took += min(time.Since(begin), patience)
			cancel()
			if err == nil {
				mean += rtt
				count++
			}
		}
		return mean / time.Duration(count), took
	}
	roundTrip(time.Second) // slow start is over
	before := received.Load()
	rtt, took := roundTrip(7 * time.Second)
	got := float64(received.Load()-before) / took.Seconds()
	want := segment / rtt.Seconds() * math.Sqrt(1.5) / math.Sqrt(p)
	t.Logf("%.2f Mbit/s at %v; Mathis: %.2f", got*8/1e6, rtt, want*8/1e6)
	if math.Abs(got/want-1) > bound {
		t.Errorf("%.2f Mbit/s, want %.2f ± %.0f %%", got*8/1e6, want*8/1e6, 100*bound)
	}
}
