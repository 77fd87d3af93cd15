package world

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-dev/atoll/sim/wan"
)

var start = time.Unix(1000, 0)

// host is the address of a host in cluster i: each has a /24.
func host(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }

// clusters makes n clusters, each in a region of its own, with a link both
// ways to the next.
func clusters(n int, there, back wan.LinkModel) wan.Policy {
	var p wan.Policy
	name := func(i int) string { return fmt.Sprintf("c%d", i%n) }
	region := func(i int) string { return fmt.Sprintf("r%d", i%n) }
	for i := range n {
		p.Sites = append(p.Sites, wan.Site{
			Cluster: name(i), Region: region(i), Prefixes: []netip.Prefix{netip.PrefixFrom(host(i), 24).Masked()},
		})
		if i+1 == n && n < 3 {
			break // the second is joined to the first already
		}
		p.Links = append(p.Links,
			wan.Link{From: region(i), To: region(i + 1), LinkModel: there},
			wan.Link{From: region(i + 1), To: region(i), LinkModel: back})
		p.Peerings = append(p.Peerings, wan.Peering{A: name(i), B: name(i + 1)})
	}
	return p
}

func newWorld(t testing.TB, p wan.Policy) (*World, *wan.Engine) {
	t.Helper()
	e, err := wan.New(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	return New(e, start), e
}

// datagram is an IPv4 packet with a UDP header and size bytes in all.
func datagram(from, to netip.Addr, size int) []byte {
	b := make([]byte, size)
	b[0], b[8], b[9] = 0x45, 64, wan.UDP
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	src, dst := from.As4(), to.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[24:], uint16(size-20))
	return b
}

// A round trip takes what the links say, to the nanosecond: delay both ways
// and, at a rate, the time that each packet takes the transmitter.
func TestRoundTripsAreExact(t *testing.T) {
	const there, back = 70 * time.Millisecond, 70*time.Millisecond + 1
	p := clusters(2, wan.LinkModel{OneWay: there, RateBps: 8e6}, wan.LinkModel{OneWay: back})
	w, _ := newWorld(t, p)
	request, answer := datagram(host(0), host(1), 1000), datagram(host(1), host(0), 100)
	w.Listen(host(1), func([]byte) { w.Send(answer) })
	const count = 1000
	var done int
	sent := w.Now()
	w.Listen(host(0), func([]byte) {
		done++
		if took := w.Now().Sub(sent); took != there+time.Millisecond+back {
			t.Fatalf("round trip %d took %v", done, took)
		}
		if done < count {
			sent = w.Now()
			w.Send(request)
		}
	})
	w.Send(request)
	w.Run()
	if done != count {
		t.Errorf("%d of %d round trips", done, count)
	}
	if got, want := w.Now().Sub(start), count*(there+time.Millisecond+back); got != want {
		t.Errorf("%d round trips took %v, want %v", count, got, want)
	}
}

// Whatever the links do, and whenever one looks: what was sent, or made as a
// copy, was delivered, was dropped, or is on its way; and the links' own
// counters say the same.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := rapid.SampledFrom([]float64{0, .1, .5, 1})
		model := func(label string) wan.LinkModel {
			return wan.LinkModel{
				OneWay:    time.Duration(rapid.Int64Range(0, 50e6).Draw(t, label+" delay")),
				Jitter:    time.Duration(rapid.Int64Range(0, 20e6).Draw(t, label+" jitter")),
				Shape:     wan.Shape(rapid.IntRange(0, 2).Draw(t, label+" shape")),
				Reorder:   rapid.Bool().Draw(t, label+" reorder"),
				Loss:      wan.LossModel{Good: chance.Draw(t, label+" loss")},
				Duplicate: chance.Draw(t, label+" duplicate"),
				Corrupt:   chance.Draw(t, label+" corrupt"),
				RateBps:   rapid.SampledFrom([]uint64{0, 1e5, 1e7}).Draw(t, label+" rate"),
				Queue:     20 * time.Millisecond,
			}
		}
		// From the first to the third, over the second.
		p := clusters(3, model("first"), wan.LinkModel{})
		p.Links = p.Links[:4]
		p.Links[2].LinkModel = model("second")
		p.Peerings = p.Peerings[:2]
		p.Routes = []wan.Route{
			{From: "c0", Peering: [2]string{"c0", "c1"}, To: netip.MustParsePrefix("10.0.2.0/24"), Via: "c1"},
			{From: "c1", Peering: [2]string{"c1", "c2"}, To: netip.MustParsePrefix("10.0.2.0/24")},
		}
		e, err := wan.New(p, rapid.Uint64().Draw(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		w := New(e, start)
		received := uint64(0)
		packet := datagram(host(0), host(2), 500)
		whole := string(packet)
		w.Listen(host(2), func(b []byte) {
			received++
			if flipped := differs(b, whole); flipped > 1 || flipped == 1 && p.Links[0].Corrupt == 0 && p.Links[2].Corrupt == 0 {
				t.Fatalf("%d bits differ", flipped)
			}
		})
		for range rapid.IntRange(1, 100).Draw(t, "packets") {
			w.Send(packet)
			w.RunUntil(w.Now().Add(time.Duration(rapid.Int64Range(0, 5e6).Draw(t, "gap"))))
			conserved(t, w, e, received)
		}
		w.Run()
		conserved(t, w, e, received)
		if w.Stats().InFlight != 0 {
			t.Fatalf("%d are on their way for ever", w.Stats().InFlight)
		}
		if string(packet) != whole {
			t.Fatal("the sender's packet was changed")
		}
	})
}

func conserved(t *rapid.T, w *World, e *wan.Engine, received uint64) {
	s := w.Stats()
	if s.Delivered != received || s.Sent+s.Duplicated != s.Delivered+s.Dropped+s.InFlight {
		t.Fatalf("received %d; %+v", received, s)
	}
	pair := e.Pairs()[0]
	if offered := s.Sent + pair.Duplicated; offered != pair.Packets+dropped(pair.Dropped) || pair.Packets != s.Delivered+s.InFlight {
		t.Fatalf("the pair counts %+v, the world %+v", pair, s)
	}
	// What comes out of the first link is offered to the second.
	links := e.Counters()
	first, second := links[0], links[2]
	if s.Sent+first.Duplicated != first.Packets+dropped(first.Dropped) ||
		first.Packets+second.Duplicated != second.Packets+dropped(second.Dropped) ||
		second.Packets != pair.Packets {
		t.Fatalf("sent %d; the links count %+v and %+v", s.Sent, first, second)
	}
}

func dropped(causes map[wan.Cause]uint64) (n uint64) {
	for _, k := range causes {
		n += k
	}
	return n
}

// differs counts the bits in which two packets differ.
func differs(a []byte, b string) (n int) {
	for i := range a {
		for x := a[i] ^ b[i]; x > 0; x &= x - 1 {
			n++
		}
	}
	return n
}

// A link that rejects has its sender told; the rest of the world goes on.
func TestReject(t *testing.T) {
	p := clusters(3, wan.LinkModel{OneWay: 10 * time.Millisecond}, wan.LinkModel{OneWay: 10 * time.Millisecond})
	p.Links[0].Down, p.Links[0].Reject = true, true
	w, _ := newWorld(t, p)
	told, came := 0, 0
	w.Listen(host(0), func(b []byte) {
		told++
		if b[9] != wan.ICMP || b[20] != 3 || b[21] != 13 {
			t.Errorf("told %x", b)
		}
	})
	w.Listen(host(2), func([]byte) { came++ })
	w.Send(datagram(host(0), host(1), 100))
	w.Send(datagram(host(1), host(2), 100))
	w.Run()
	if told != 1 || came != 1 {
		t.Errorf("%d answers, %d packets; want 1 and 1", told, came)
	}
}
