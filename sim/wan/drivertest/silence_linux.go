package drivertest

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// expectSilence sends datagrams that must not arrive, and then waits for one
// that was sent after them to cross between two others: it shows that they
// had their time.
func (l *lab) expectSilence(sender *Sender, sink *Sink, witness func()) {
	l.t.Helper()
	for range 10 {
		// A driver that rejects has the socket told of it: that is an answer too.
		_ = sender.Send(sink.Addr, 64)
	}
	witness()
	if got := sink.Collect(1, 100*time.Millisecond); len(got) > 0 {
		l.t.Errorf("a packet crossed from %v to %v", got[0].From, sink.Addr)
	}
}

func testCut(t *testing.T, l *lab) {
	p := l.n.Policy(westEast, eastWest)
	l.start(p)
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	p.Links[0].Down = true
	l.apply(p)
	l.expectSilence(sender, sink, func() {
		l.await("the cut link counts 10 drops", func() bool { return l.link("west", "east").Dropped[wan.LinkDown] >= 10 })
	})
	// The other direction is whole.
	l.expectDelay(l.b.Node, l.b.Addr4, l.a.Node, l.a.Addr4, eastWest)
	l.apply(l.n.Policy(westEast, eastWest))
	l.warm(sender, sink)
}

func testUnpeered(t *testing.T, l *lab) {
	p := l.n.Policy(westEast, eastWest)
	l.start(p)
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	p.Peerings = p.Peerings[1:]
	l.apply(p)
	other, back := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.c.Node, l.c.Addr4)
	l.expectSilence(sender, sink, func() { l.warm(back, other) })
}

func testRules(t *testing.T, l *lab) {
	p := l.n.Policy(westEast, eastWest)
	l.start(p)
	open, err := l.b.Node.Listen(netip.AddrPortFrom(l.b.Addr4, 443).String())
	if err != nil {
		t.Fatal(err)
	}
	shut, err := l.b.Node.Listen(netip.AddrPortFrom(l.b.Addr4, 444).String())
	if err != nil {
		t.Fatal(err)
	}
	back, err := l.a.Node.Listen(netip.AddrPortFrom(l.a.Addr4, 443).String())
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range []io.Closer{open, shut, back} {
		defer ln.Close()
	}
	p.Rules = []wan.Rule{
		{From: "a", To: "b", Ports: []wan.Port{{Protocol: wan.TCP, Number: 443}}},
		{From: "b", To: "a"},
	}
	l.apply(p)
	c, err := l.a.Node.Dial(open.Addr().String(), patience)
	if err != nil {
		t.Fatalf("the admitted port: %v", err)
	}
	defer c.Close()
	const short = 500 * time.Millisecond
	if c, err := l.a.Node.Dial(shut.Addr().String(), short); err == nil {
		_ = c.Close()
		t.Error("connected to a port that no rule admits")
	}
	if c, err := l.b.Node.Dial(back.Addr().String(), short); err == nil {
		_ = c.Close()
		t.Error("connected against the direction of the rules")
	}
	if c, err := l.c.Node.Dial(shut.Addr().String(), patience); err != nil {
		t.Errorf("a cluster that no rule names: %v", err)
	} else {
		_ = c.Close()
	}
}

func testBeforeRun(t *testing.T, l *lab) {
	l.make(l.n.Policy(westEast, eastWest))
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	local, near := NewSink(t, l.a.Second, l.a.SecondPod4), NewSender(t, l.a.Node, l.a.Addr4)
	// Local traffic, which the router turns round, shows that it is there.
	l.expectSilence(sender, sink, func() { l.warm(near, local) })
	l.run()
	l.warm(sender, sink)
}

func testAfterRun(t *testing.T, l *lab) {
	l.start(l.n.Policy(westEast, eastWest))
	sink, sender := NewSink(t, l.b.Node, l.b.Addr4), NewSender(t, l.a.Node, l.a.Addr4)
	local, near := NewSink(t, l.a.Second, l.a.SecondPod4), NewSender(t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	l.end()
	l.expectSilence(sender, sink, func() { l.warm(near, local) })
	if err := l.d.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	l.expectSilence(sender, sink, func() { l.warm(near, local) })
}
