package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Open makes the driver under test in the router's namespace, with the policy
// in force.
type Open func(t *testing.T, n *Network, p wan.Policy) wan.Driver

const (
	westEast = 20 * time.Millisecond
	eastWest = 5 * time.Millisecond
	// late is how much later than it should the first quarter of the packets
	// may come, where the machine is busy with something else. How precise a
	// driver is, a benchmark tells.
	late = 10 * time.Millisecond
	// early is how much too early a packet may come: drivers correct for what
	// their own work takes, and may correct for too much.
	early = 100 * time.Microsecond
	// patience bounds what should come at once.
	patience = time.Minute
)

// Run holds a driver against the contract. What the driver refuses
// (errors.ErrUnsupported) is skipped, with its reason.
func Run(t *testing.T, open Open) {
	// One network for all: making one takes a second until its links are up.
	n := NewNetwork(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *lab)
	}{
		{"delay of each direction", testDelay},
		{"the link within a region", testImplicit},
		{"TCP", testTCP},
		{"local traffic stays out", testLocal},
		{"rate", testRate},
		{"loss", testLoss},
		{"duplicates", testDuplicates},
		{"corruption", testCorruption},
		{"jitter", testJitter},
		{"a cut link", testCut},
		{"a cut link that rejects", testReject},
		{"clusters that are not peered", testUnpeered},
		{"rules are stateful", testRules},
		{"another policy in a burst", testSwap},
		{"a policy that is none", testInvalid},
		{"nothing crosses before Run", testBeforeRun},
		{"nothing crosses after Run", testAfterRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, &lab{t: t, n: n, a: n.Sites[0], b: n.Sites[1], c: n.Sites[2], open: open})
		})
	}
}

// lab is a network and its driver.
type lab struct {
	t       *testing.T
	n       *Network
	a, b, c *Site
	open    Open
	d       wan.Driver
	stop    context.CancelFunc
	ended   chan error
}

// start opens the driver, runs it until the test ends, and waits until it
// carries traffic from a to b.
func (l *lab) start(p wan.Policy) {
	l.t.Helper()
	l.make(p)
	l.run()
	l.warm(NewSender(l.t, l.a.Node, l.a.Addr4), NewSink(l.t, l.b.Node, l.b.Addr4))
}

// quiet returns the counters once nothing is on its way any more: on a busy
// machine more than one datagram was sent before the first arrived.
func (l *lab) quiet() []wan.Counters {
	l.t.Helper()
	var last []wan.Counters
	since := time.Now()
	l.await("the counters stand still", func() bool {
		now, err := l.d.Counters()
		if err != nil {
			l.t.Fatal(err)
		}
		if !cmp.Equal(last, now) {
			last, since = now, time.Now()
		}
		return time.Since(since) > 10*(westEast+eastWest)
	})
	return last
}

func (l *lab) make(p wan.Policy) {
	l.t.Helper()
	l.d = l.open(l.t, l.n, p)
	l.t.Cleanup(func() {
		if err := l.d.Close(); err != nil {
			l.t.Errorf("close: %v", err)
		}
		if err := l.d.Close(); err != nil {
			l.t.Errorf("close again: %v", err)
		}
	})
}

func (l *lab) run() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop, l.ended = cancel, make(chan error, 1)
	go func() { l.ended <- l.d.Run(ctx) }()
	l.t.Cleanup(func() { l.end() })
}

// end stops the driver; twice does nothing.
func (l *lab) end() {
	l.stop()
	if err, ok := <-l.ended; ok {
		close(l.ended)
		if err != nil {
			l.t.Errorf("run: %v", err)
		}
	}
}

// apply puts a policy in force; a refusal skips the test.
func (l *lab) apply(p wan.Policy) {
	l.t.Helper()
	switch err := l.d.Apply(context.Background(), p); {
	case errors.Is(err, errors.ErrUnsupported):
		l.t.Skip(err)
	case err != nil:
		l.t.Fatalf("apply: %v", err)
	}
}

// link returns the counters of a link.
func (l *lab) link(from, to string) wan.Counters {
	l.t.Helper()
	all, err := l.d.Counters()
	if err != nil {
		l.t.Fatalf("counters: %v", err)
	}
	for _, c := range all {
		if c.From == from && c.To == to {
			return c
		}
	}
	return wan.Counters{From: from, To: to}
}

// await waits until a condition holds.
func (l *lab) await(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// warm sends datagrams until one arrives: neighbours are then resolved.
func (l *lab) warm(s *Sender, to *Sink) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := s.Send(to.Addr, 16); err != nil {
			l.t.Fatalf("send: %v", err)
		}
		if _, err := to.Receive(time.Now().Add(200 * time.Millisecond)); err == nil {
			for { // what else was on its way
				if _, err := to.Receive(time.Now().Add(50 * time.Millisecond)); err != nil {
					return
				}
			}
		}
	}
	l.t.Fatalf("nothing arrives at %v within %v", to.Addr, patience)
}

// expectDelay sends count datagrams and holds their delays against one.
func (l *lab) expectDelay(from *Namespace, src netip.Addr, to *Namespace, dst netip.Addr, want time.Duration) {
	l.t.Helper()
	const count = 21
	sink, sender := NewSink(l.t, to, dst), NewSender(l.t, from, src)
	l.warm(sender, sink)
	var got []Arrival
	for range count {
		if err := sender.Send(sink.Addr, 64); err != nil {
			l.t.Fatalf("send: %v", err)
		}
		got = append(got, sink.Collect(1, patience)...)
	}
	if len(got) != count {
		l.t.Fatalf("%v→%v: %d of %d arrived", src, dst, len(got), count)
	}
	d := Delays(got)
	if d[0] < want-early || d[count/4] > want+late {
		l.t.Errorf("%v→%v takes %v to %v, a quarter of the packets %v at most; want %v, %v less at most, and %v more for that quarter",
			src, dst, d[0], d[count-1], d[count/4], want, early, late)
	}
}

func testDelay(t *testing.T, l *lab) {
	l.start(l.n.Policy(westEast, eastWest))
	for _, c := range []struct {
		name     string
		from, to *Site
		src, dst netip.Addr
		want     time.Duration
	}{
		{"nodes IPv4", l.a, l.b, l.a.Addr4, l.b.Addr4, westEast},
		{"nodes IPv6", l.a, l.b, l.a.Addr6, l.b.Addr6, westEast},
		{"pods IPv4", l.a, l.b, l.a.Pod4, l.b.Pod4, westEast},
		{"pods IPv6", l.a, l.b, l.a.Pod6, l.b.Pod6, westEast},
		{"back IPv4", l.b, l.a, l.b.Addr4, l.a.Addr4, eastWest},
		{"back IPv6", l.b, l.a, l.b.Pod6, l.a.Pod6, eastWest},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := *l
			sub.t = t
			before := l.link(c.from.Region, c.to.Region)
			sub.expectDelay(c.from.Node, c.src, c.to.Node, c.dst, c.want)
			after := l.link(c.from.Region, c.to.Region)
			if n := after.Packets - before.Packets; n < 21 {
				t.Errorf("the link counted %d packets, at least 21 crossed it", n)
			}
			if n := after.Bytes - before.Bytes; n < 21*(64+28) {
				t.Errorf("the link counted %d bytes, at least %d crossed it", n, 21*(64+28))
			}
		})
	}
}

func testImplicit(t *testing.T, l *lab) {
	l.start(l.n.Policy(westEast, eastWest))
	l.expectDelay(l.a.Node, l.a.Addr4, l.c.Node, l.c.Addr4, wan.ImplicitOneWay)
	if c := l.link("west", "west"); c.Packets < 21 {
		t.Errorf("the link within west counted %d packets, at least 21 crossed it", c.Packets)
	}
}

func testTCP(t *testing.T, l *lab) {
	l.start(l.n.Policy(westEast, eastWest))
	for _, addr := range []netip.Addr{l.b.Addr4, l.b.Pod6} {
		ln, err := l.b.Node.Listen(netip.AddrPortFrom(addr, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		const size = 8 << 20
		sum := make(chan [2]uint64, 1)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			n, digest := digest(c)
			sum <- [2]uint64{n, digest}
		}()
		before := time.Now()
		c, err := l.a.Node.Dial(ln.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took < westEast+eastWest-2*early {
			t.Errorf("connected to %v in %v, a round trip is %v", addr, took, westEast+eastWest)
		}
		want, err := pour(c, size)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		select {
		case got := <-sum:
			if got != [2]uint64{size, want} {
				t.Errorf("received %d bytes with sum %x, sent %d with %x", got[0], got[1], size, want)
			}
		case <-time.After(patience):
			t.Fatalf("%d bytes did not arrive within %v", size, patience)
		}
	}
}

func testLocal(t *testing.T, l *lab) {
	l.start(l.n.Policy(westEast, eastWest))
	before := l.quiet()
	// The pods of the second node are behind it: the router turns the packets round.
	sink, sender := NewSink(t, l.a.Second, l.a.SecondPod4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	const count = 21
	for range count {
		if err := sender.Send(sink.Addr, 64); err != nil {
			t.Fatal(err)
		}
	}
	if got := sink.Collect(count, patience); len(got) != count {
		t.Fatalf("%d of %d arrived", len(got), count)
	}
	after, err := l.d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the links counted, though only local traffic flowed (-before +after):\n%s", d)
	}
}

func testRate(t *testing.T, l *lab) {
	const (
		bps, size, count = 20_000_000, 1200, 200
		wire             = size + 28 // UDP and IPv4 headers
	)
	l.start(l.n.Policy(westEast, eastWest))
	p := l.n.Policy(westEast, eastWest)
	p.Links[0].RateBps, p.Links[0].Queue = bps, time.Second
	l.apply(p)
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	for range count {
		if err := sender.Send(sink.Addr, size); err != nil {
			t.Fatal(err)
		}
	}
	got := sink.Collect(count, patience)
	if len(got) != count {
		t.Fatalf("%d of %d arrived", len(got), count)
	}
	// What came after the first was sent at the rate behind it.
	want := time.Duration((count - 1) * wire * 8 * int(time.Second) / bps)
	if took := got[count-1].Came - got[0].Sent - westEast; took < want-early || took > want+10*late {
		t.Errorf("a burst of %d packets of %d bytes took %v at %d bit/s, want %v", count, wire, took, bps, want)
	}
}

func testSwap(t *testing.T, l *lab) {
	const count = 400
	l.start(l.n.Policy(westEast, eastWest))
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	arrived := make(chan []Arrival, 1)
	go func() { arrived <- sink.Collect(count, patience) }()
	var swapped time.Duration
	for i := range count {
		if i == count/2 {
			l.apply(l.n.Policy(3*westEast, eastWest))
			swapped = clock()
		}
		if err := sender.Send(sink.Addr, 64); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
	}
	got := <-arrived
	if len(got) != count {
		t.Fatalf("%d of %d arrived: a swap of policies loses nothing", len(got), count)
	}
	for _, a := range got {
		if a.Sent > swapped && a.Delay < 3*westEast-early {
			t.Fatalf("packet %d, sent %v after the swap, took %v, want %v", a.Seq, a.Sent-swapped, a.Delay, 3*westEast)
		}
		if a.Delay < westEast-early {
			t.Fatalf("packet %d took %v, want %v", a.Seq, a.Delay, westEast)
		}
	}
}

func testInvalid(t *testing.T, l *lab) {
	p := l.n.Policy(westEast, eastWest)
	l.start(p)
	p.Peerings = append([]wan.Peering{{A: "a", B: "nowhere"}}, p.Peerings...)
	if err := l.d.Apply(context.Background(), p); err == nil {
		t.Error("a peering with a cluster that is not there was accepted")
	}
	l.expectDelay(l.a.Node, l.a.Addr4, l.b.Node, l.b.Addr4, westEast)
}

// pour writes size bytes that differ from place to place, and returns their sum.
func pour(w io.Writer, size int) (sum uint64, err error) {
	b := make([]byte, 64<<10)
	x := uint64(1)
	for size > 0 {
		for i := range b {
			x = x*6364136223846793005 + 1442695040888963407
			b[i] = byte(x >> 56)
		}
		part := b[:min(size, len(b))]
		if _, err := w.Write(part); err != nil {
			return 0, fmt.Errorf("write: %w", err)
		}
		sum = add(sum, part)
		size -= len(part)
	}
	return sum, nil
}

// digest reads to the end.
func digest(r io.Reader) (n, sum uint64) {
	b := make([]byte, 64<<10)
	for {
		k, err := r.Read(b)
		n += uint64(k)
		sum = add(sum, b[:k])
		if err != nil {
			return n, sum
		}
	}
}

func add(sum uint64, b []byte) uint64 {
	for _, c := range b {
		sum = sum*31 + uint64(c)
	}
	return sum
}
