package wan

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// chain is a world in which a reaches c through b only, and d has no peering.
func chain(t *testing.T) *Engine {
	t.Helper()
	site := func(name, prefix string) Site {
		return Site{Cluster: name, Region: "r" + name, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
	}
	link := func(from, to string, oneWay time.Duration) Link {
		return Link{From: from, To: to, LinkModel: LinkModel{OneWay: oneWay}}
	}
	e, err := New(Policy{
		Sites:    []Site{site("a", "10.1.0.0/16"), site("b", "10.2.0.0/16"), site("c", "10.3.0.0/16"), site("d", "10.4.0.0/16")},
		Links:    []Link{link("ra", "rb", 10*time.Millisecond), link("rb", "rc", 20*time.Millisecond)},
		Peerings: []Peering{{A: "a", B: "b"}, {A: "b", B: "c"}},
		Routes: []Route{
			{From: "a", Peering: [2]string{"a", "b"}, To: netip.MustParsePrefix("10.3.0.0/16"), Via: "b"},
			{From: "b", Peering: [2]string{"b", "c"}, To: netip.MustParsePrefix("10.3.0.0/16")},
		},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTapSeesAPacketAtEveryLink(t *testing.T) {
	e := chain(t)
	var got []Sighting
	remove := e.Tap(func(s Sighting) { got = append(got, s) })
	now := time.Unix(100, 0)
	ms := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	transit := spec{src: "10.1.0.1", dst: "10.3.0.1", proto: UDP}.build()
	stray := spec{src: "10.1.0.1", dst: "10.4.0.1", proto: UDP}.build()
	nowhere := spec{src: "10.1.0.1", dst: "10.9.0.1", proto: UDP}.build()
	local := spec{src: "10.1.0.1", dst: "10.1.0.2", proto: UDP}.build()
	for _, b := range [][]byte{transit, stray, nowhere, local, {0x45}} {
		e.Send(now, b)
	}
	remove()
	e.Send(now, transit)
	want := []Sighting{
		{Link: 0, From: "ra", To: "rb", Src: "a", Dst: "c", Enters: now, Leaves: ms(10), Packet: transit},
		{Link: 1, From: "rb", To: "rc", Src: "a", Dst: "c", Enters: ms(10), Leaves: ms(30), Last: true, Packet: transit},
		{Link: -1, Src: "a", Dst: "d", Enters: now, Last: true, Cause: NoRoute, Packet: stray},
		{Link: -1, Src: "a", Enters: now, Last: true, Cause: NoSite, Packet: nowhere},
		{Link: -1, Enters: now, Last: true, Cause: Malformed, Packet: []byte{0x45}},
	}
	equal := func(a, b Sighting) bool {
		same := a.Sent.Equal(now) && slices.Equal(a.Packet, b.Packet) && a.Enters.Equal(b.Enters) && a.Leaves.Equal(b.Leaves)
		a.Packet, b.Packet = nil, nil
		a.Enters, a.Leaves, b.Enters, b.Leaves = now, now, now, now
		return same && a.Link == b.Link && a.From == b.From && a.To == b.To && a.Src == b.Src && a.Dst == b.Dst && a.Cause == b.Cause && a.Last == b.Last
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTapSeesWhatALinkDrops(t *testing.T) {
	e := chain(t)
	p := e.Policy()
	if err := e.Swap(p.WithLinkDown("rb", "rc")); err != nil {
		t.Fatal(err)
	}
	var causes []Cause
	defer e.Tap(func(s Sighting) {
		causes = append(causes, s.Cause)
		if dropped := s.Cause != Delivered; dropped != s.Leaves.IsZero() {
			t.Errorf("%v leaves at %v", s.Cause, s.Leaves)
		}
	})()
	e.Send(time.Unix(100, 0), spec{src: "10.1.0.1", dst: "10.3.0.1", proto: UDP}.build())
	if !slices.Equal(causes, []Cause{Delivered, LinkDown}) {
		t.Errorf("got %v", causes)
	}
}

// Two taps see the same; removing one leaves the other, and removing twice is no error.
func TestTapsAreRemovedAlone(t *testing.T) {
	e := chain(t)
	var one, two int
	removeOne := e.Tap(func(Sighting) { one++ })
	removeTwo := e.Tap(func(Sighting) { two++ })
	b := spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}.build()
	e.Send(time.Unix(100, 0), b)
	removeOne()
	removeOne()
	e.Send(time.Unix(100, 0), b)
	removeTwo()
	e.Send(time.Unix(100, 0), b)
	if one != 1 || two != 2 {
		t.Errorf("saw %d and %d packets, want 1 and 2", one, two)
	}
}

func TestSendAllocatesNothingWithoutATap(t *testing.T) {
	e := chain(t)
	b := spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}.build()
	now := time.Unix(100, 0)
	e.Send(now, b)
	if n := testing.AllocsPerRun(100, func() { e.Send(now, b) }); n > 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
