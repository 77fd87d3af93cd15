package netem

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// TestContract is the proof, where the kernel has what the driver needs.
func TestContract(t *testing.T) {
	drivertest.Require(t)
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	drivertest.Run(t, func(t *testing.T, n *drivertest.Network, p wan.Policy) wan.Driver {
		d, err := Open(Config{Namespace: n.Router.Path(), Attachments: n.Attachments(), Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// withoutNetem asks the kernel for everything but netem, in whose place a
// bucket stands that limits nothing: links without delay and loss. It shows
// that the rest does what it should on kernels that have no netem.
func withoutNetem(device int, r request) error {
	if d, ok := r.(delayer); ok {
		r = bucket{parent: d.parent, handle: d.handle, rate: unlimited, burst: superFrame, limit: unlimitedQueue}
	}
	return send(device, r)
}

// bed is a driver without netem between three sites.
type bed struct {
	*drivertest.Network
	t    *testing.T
	d    *Driver
	stop func() error
}

func newBed(t *testing.T, p func(*wan.Policy)) *bed {
	t.Helper()
	n := drivertest.NewNetwork(t)
	if err := probe(withoutNetem); err != nil {
		t.Skip(err)
	}
	policy := n.Policy(0, 0)
	if p != nil {
		p(&policy)
	}
	d, err := open(Config{Namespace: n.Router.Path(), Attachments: n.Attachments(), Policy: policy}, withoutNetem)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{Network: n, t: t, d: d}
	t.Cleanup(func() {
		for range 2 {
			if err := d.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if err := Clean(n.Router.Path()); err != nil {
			t.Errorf("clean: %v", err)
		}
	})
	return b
}

// run opens the router until the test ends, or stop is called.
func (b *bed) run() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.d.Run(ctx) }()
	stopped := false
	b.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	b.t.Cleanup(func() {
		if err := b.stop(); err != nil {
			b.t.Errorf("run: %v", err)
		}
	})
}

// crosses tells whether a datagram comes from one address to another before
// the deadline; it is sent again and again until then.
func (b *bed) crosses(from *drivertest.Namespace, src netip.Addr, to *drivertest.Namespace, dst netip.Addr, within time.Duration) bool {
	b.t.Helper()
	sink, sender := drivertest.NewSink(b.t, to, dst), drivertest.NewSender(b.t, from, src)
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		_ = sender.Send(sink.Addr, 64) // a socket may be told that its last was rejected
		if _, err := sink.Receive(time.Now().Add(20 * time.Millisecond)); err == nil {
			return true
		}
	}
	return false
}

const (
	soon  = 10 * time.Second
	never = 300 * time.Millisecond
)

func (b *bed) counters(from, to string) wan.Counters {
	b.t.Helper()
	all, err := b.d.Counters()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range all {
		if c.From == from && c.To == to {
			return c
		}
	}
	b.t.Fatalf("no link %s→%s in %v", from, to, all)
	return wan.Counters{}
}

func TestNothingCrossesOutsideRun(t *testing.T) {
	b := newBed(t, nil)
	a, east := b.Sites[0], b.Sites[1]
	local := func() {
		t.Helper()
		if !b.crosses(a.Node, a.Addr4, a.Second, a.SecondPod4, soon) {
			t.Fatal("local traffic does not pass")
		}
	}
	local()
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a packet crossed before Run")
	}
	b.run()
	for _, to := range []netip.Addr{east.Addr4, east.Pod4, east.Addr6, east.Pod6} {
		from := a.Addr4
		if to.Is6() {
			from = a.Addr6
		}
		if !b.crosses(a.Node, from, east.Node, to, soon) {
			t.Errorf("nothing crosses to %v", to)
		}
	}
	local()
	c := b.counters("west", "east")
	if c.Packets < 4 || c.Bytes < c.Packets*(64+28) || c.Bytes > c.Packets*(64+48) {
		t.Errorf("the link counted %+v", c)
	}
	if w := b.counters("west", "west"); w.Packets != 0 {
		t.Errorf("local traffic was counted by a link: %+v", w)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a packet crossed after Run")
	}
	local()
	if err := b.d.Close(); err != nil {
		t.Error(err)
	}
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a packet crossed after Close")
	}
	local()
}

func TestVerdictsOfAnotherPolicy(t *testing.T) {
	b := newBed(t, nil)
	b.run()
	a, east, c := b.Sites[0], b.Sites[1], b.Sites[2]
	if !b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, soon) {
		t.Fatal("nothing crosses")
	}
	apply := func(change func(*wan.Policy)) {
		t.Helper()
		p := b.Policy(0, 0)
		change(&p)
		if err := b.d.Apply(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	before := b.counters("west", "east")

	apply(func(p *wan.Policy) { p.Links[0].Down = true })
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a packet crossed a cut link")
	}
	if !b.crosses(east.Node, east.Addr4, a.Node, a.Addr4, soon) {
		t.Error("the other direction is cut too")
	}
	cut := b.counters("west", "east")
	if cut.Dropped[wan.LinkDown] == 0 || cut.Packets != before.Packets {
		t.Errorf("before the cut %+v, after it %+v", before, cut)
	}

	apply(func(p *wan.Policy) { p.Peerings = p.Peerings[1:] })
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a packet crossed without a peering")
	}
	if !b.crosses(c.Node, c.Addr4, east.Node, east.Addr4, soon) {
		t.Error("the other peering is gone too")
	}
	if now := b.counters("west", "east"); now.Dropped[wan.LinkDown] != cut.Dropped[wan.LinkDown] {
		t.Errorf("another policy changed what was counted: %+v, was %+v", now, cut)
	}

	// What cannot be had leaves the old policy in force.
	p := b.Policy(0, 0)
	p.Links[0].Corrupt = .5
	if err := b.d.Apply(t.Context(), p); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("corruption: %v", err)
	}
	if b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, never) {
		t.Error("a refused policy took effect")
	}
}

func TestRulesAreStateful(t *testing.T) {
	b := newBed(t, func(p *wan.Policy) {
		p.Rules = []wan.Rule{{From: "a", To: "b", Ports: []wan.Port{{Protocol: wan.TCP, Number: 443}}}, {From: "b", To: "a"}}
	})
	b.run()
	a, east := b.Sites[0], b.Sites[1]
	for _, s := range []struct {
		listen, dial *drivertest.Namespace
		addr         netip.AddrPort
		want         bool
	}{
		{east.Node, a.Node, netip.AddrPortFrom(east.Addr4, 443), true},
		{east.Node, a.Node, netip.AddrPortFrom(east.Pod6, 443), true},
		{east.Node, a.Node, netip.AddrPortFrom(east.Addr4, 444), false},
		{a.Node, east.Node, netip.AddrPortFrom(a.Addr4, 443), false},
	} {
		l, err := s.listen.Listen(s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		patience := never
		if s.want {
			patience = soon
		}
		var c interface{ Close() error }
		for deadline := time.Now().Add(patience); ; { // Run may not have begun
			if c, err = s.dial.Dial(s.addr.String(), patience); err == nil || time.Now().After(deadline) {
				break
			}
		}
		if got := err == nil; got != s.want {
			t.Errorf("%v: connected is %v, want %v (%v)", s.addr, got, s.want, err)
		}
		if err == nil {
			c.Close()
		}
		l.Close()
	}
}

func TestSpoofedSourcesAreDropped(t *testing.T) {
	b := newBed(t, nil)
	b.run()
	a, east, c := b.Sites[0], b.Sites[1], b.Sites[2]
	if !b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, soon) {
		t.Fatal("nothing crosses")
	}
	// a takes an address of c's.
	stolen := c.Pod4.Next()
	lo, err := a.Node.Links.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Node.Links.AddrAdd(lo, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(stolen, 32))}); err != nil {
		t.Fatal(err)
	}
	if b.crosses(a.Node, stolen, east.Node, east.Addr4, never) {
		t.Error("a packet with another site's source crossed")
	}
}

// The rate is held, whatever super-packets the senders make, and what the
// queue has no room for is counted.
func TestRateIsHeld(t *testing.T) {
	const bps, size, count = 20_000_000, 1200, 200
	b := newBed(t, func(p *wan.Policy) { p.Links[0].RateBps, p.Links[0].Queue = bps, time.Second })
	b.run()
	a, east := b.Sites[0], b.Sites[1]
	if !b.crosses(a.Node, a.Addr4, east.Node, east.Addr4, soon) {
		t.Fatal("nothing crosses")
	}
	burst := func() []drivertest.Arrival {
		sink, sender := drivertest.NewSink(t, east.Node, east.Addr4), drivertest.NewSender(t, a.Node, a.Addr4)
		for range count {
			if err := sender.Send(sink.Addr, size); err != nil {
				t.Fatal(err)
			}
		}
		return sink.Collect(count, 2*time.Second)
	}
	got := burst()
	if len(got) != count {
		t.Fatalf("%d of %d arrived", len(got), count)
	}
	// What the bucket holds goes at once.
	least := time.Duration((count-3)*(size+28)) * 8 * time.Second / bps
	if took := got[count-1].Came - got[0].Sent; took < least {
		t.Errorf("%d packets in %v, %d bit/s take %v", count, took, bps, least)
	}
	p := b.Policy(0, 0)
	p.Links[0].RateBps, p.Links[0].QueueBytes = bps, 20_000
	if err := b.d.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	got = burst()
	full := b.counters("west", "east").Dropped[wan.QueueFull]
	if len(got) >= count || uint64(count-len(got)) != full {
		t.Errorf("%d of %d arrived, %d counted as dropped from the queue", len(got), count, full)
	}
}

// The options are laid out as the kernel's struct tc_netem_qopt and its
// attributes are.
func TestNetemOptions(t *testing.T) {
	d := delayer{
		delay: 20 * time.Millisecond, jitter: 2 * time.Millisecond, table: normalTable(), limit: 1234,
		loss: wan.LossModel{Good: .001, Bad: .3, Enter: .01, Leave: .2},
	}
	b := d.options().Serialize()[4:]
	opt := nl.DeserializeTcNetemQopt(b)
	want := nl.TcNetemQopt{Latency: 312500, Limit: 1234, Jitter: 31250}
	if *opt != want {
		t.Errorf("got %+v, want %+v", *opt, want)
	}
	attrs, err := nl.ParseRouteAttr(b[nl.SizeofTcNetemQopt:])
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint16][]byte{}
	for _, a := range attrs {
		found[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
	}
	if n := binary.NativeEndian.Uint64(found[latency64]); n != 20_000_000 {
		t.Errorf("latency64 is %d", n)
	}
	if n := binary.NativeEndian.Uint64(found[jitter64]); n != 2_000_000 {
		t.Errorf("jitter64 is %d", n)
	}
	if n := len(found[nl.TCA_NETEM_DELAY_DIST]); n != 2*tableSize {
		t.Errorf("the table is %d bytes", n)
	}
	loss, err := nl.ParseRouteAttr(found[nl.TCA_NETEM_LOSS])
	if err != nil || len(loss) != 1 || loss[0].Attr.Type != lossGE || len(loss[0].Value) != 16 {
		t.Fatalf("loss is %+v, %v", loss, err)
	}
	g := gilbertElliott(d.loss)
	for i, want := range []uint32{g.p, g.r, g.h, g.k1} {
		if got := binary.NativeEndian.Uint32(loss[0].Value[4*i:]); got != want {
			t.Errorf("parameter %d of the loss model is %d, want %d", i, got, want)
		}
	}
	random := delayer{loss: wan.LossModel{Good: .5}}
	if opt := nl.DeserializeTcNetemQopt(random.options().Serialize()[4:]); opt.Loss != probability(.5) {
		t.Errorf("independent loss is %d", opt.Loss)
	}
}

// Probe leaves nothing behind and tells what is missing.
func TestProbeNamesWhatIsMissing(t *testing.T) {
	if err := Probe(); err != nil && !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
}
