package wan

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the link: nothing comes before it was sent; without Reorder in
// order; no faster than the rate; never after a longer wait than the queue
// admits; and every packet, and every copy, is accounted for.
func TestLinkLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		e := must(t, twoSites(m), rapid.Uint64().Draw(t, "seed"))
		build := map[bool]func(int) []byte{false: udp, true: udp6}[rapid.Bool().Draw(t, "IPv6")]
		now, last := epoch, time.Time{}
		var delivered, bytes, copies, corrupted uint64
		n := rapid.IntRange(1, 200).Draw(t, "packets")
		for range n {
			now = now.Add(time.Duration(rapid.Int64Range(0, 5e6).Draw(t, "gap")))
			packet := build(rapid.IntRange(0, 1400).Draw(t, "size"))
			v := e.Send(now, packet)
			if v.Local || v.Link != 0 || v.Segment {
				t.Fatalf("not on the link: %+v", v)
			}
			if v.Cause != Delivered {
				continue
			}
			arrivals := []time.Time{v.At}
			if !v.Again.IsZero() {
				copies++
				arrivals = append(arrivals, v.Again)
			}
			for i, at := range arrivals {
				delivered++
				bytes += uint64(len(packet))
				if at.Before(now) {
					t.Fatalf("delivered %v before it was sent", now.Sub(at))
				}
				if !m.Reorder && at.Before(last) {
					t.Fatalf("overtakes its predecessor by %v", last.Sub(at))
				}
				if m.Jitter == 0 {
					checkDelay(t, &m, len(packet), at.Sub(now), i)
					// As fast as the transmitter takes them, and no faster.
					if gap := at.Sub(last); m.RateBps > 0 && !last.IsZero() && gap < transmission(len(packet), m.RateBps) {
						t.Fatalf("%d bytes %v after the packet before", len(packet), gap)
					}
				}
				last = at
			}
			for _, flip := range []int{v.Flip, v.FlipAgain} {
				if flip != 0 {
					corrupted++
					if header := len(build(0)) - 8; flip < 8*header || flip >= 8*len(packet) {
						t.Fatalf("flips bit %d of %d bytes", flip, len(packet))
					}
				}
			}
		}
		c := e.Counters()[0]
		var dropped uint64
		for _, k := range c.Dropped {
			dropped += k
		}
		if uint64(n)+c.Duplicated != c.Packets+dropped {
			t.Fatalf("sent %d; counted %+v", n, c)
		}
		if c.Packets != delivered || c.Bytes != bytes || c.Corrupted != corrupted || c.Duplicated < copies {
			t.Fatalf("delivered %d (%d bytes, %d copies, %d corrupted); counted %+v", delivered, bytes, copies, corrupted, c)
		}
		pair := e.Pairs()[0]
		if want := (PairCounters{"a", "b", c.Packets, c.Bytes, c.Dropped, c.Duplicated, c.Corrupted}); !reflect.DeepEqual(pair, want) {
			t.Fatalf("the pair says %+v, the link %+v", pair, c)
		}
	})
}

// checkDelay holds the delay of the i-th of a packet and its copy against the
// link's: no less than propagation and the packet's own time at the rate, no
// more than the longest queue before it adds.
func checkDelay(t *rapid.T, m *LinkModel, size int, took time.Duration, i int) {
	own := time.Duration(0)
	if m.RateBps > 0 {
		own = transmission(size, m.RateBps)
	}
	if took < m.OneWay+own {
		t.Fatalf("took %v, less than %v", took, m.OneWay+own)
	}
	if m.RateBps == 0 {
		if took > m.OneWay {
			t.Fatalf("took %v, more than %v", took, m.OneWay)
		}
		return
	}
	queue := m.Queue
	switch {
	case m.QueueBytes > 0 && m.RateBps < 1000:
		return // the queue may last longer than a day, and that is as long as anything takes
	case m.QueueBytes > 0:
		// It fits behind the others; 200 packets are each rounded up by 1 ns at most.
		queue = max(0, transmission(int(m.QueueBytes), m.RateBps)-own) + 400*time.Nanosecond + transmission(1, m.RateBps)
	case queue == 0:
		queue = DefaultQueue
	}
	if longest := m.OneWay + queue + own; took > longest {
		t.Fatalf("copy %d took %v, more than %v", i, took, longest)
	}
}

// A queue in bytes drops a packet exactly if what is ahead of it and not yet
// sent, and itself, are more than the queue; one that finds the transmitter
// idle is never dropped.
func TestQueueInBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := LinkModel{RateBps: 8e9, QueueBytes: rapid.Uint64Range(1, 20_000).Draw(t, "queue")} // a byte each ns: nothing is rounded
		e := must(t, twoSites(m), 1)
		now, free := epoch, epoch
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 2000).Draw(t, "gap")))
			packet := udp(rapid.IntRange(0, 1472).Draw(t, "size"))
			ahead := max(0, free.Sub(now)) // ns, and bytes
			want := Delivered
			if ahead > 0 && uint64(ahead)+uint64(len(packet)) > m.QueueBytes {
				want = QueueFull
			}
			v := e.Send(now, packet)
			if v.Cause != want {
				t.Fatalf("%d bytes behind %d: %v, want %v", len(packet), ahead, v.Cause, want)
			}
			if v.Cause == Delivered {
				free = now.Add(ahead + time.Duration(len(packet)))
				if !v.At.Equal(free) {
					t.Fatalf("sent at %v, want %v", v.At, free)
				}
			}
		}
	})
}

// A schedule switches at its moments, to the nanosecond, for the packets that
// enter the WAN then; before the epoch is known it does not begin; and
// Policy.At says the same.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := twoSites(LinkModel{OneWay: time.Millisecond, Reorder: true})
		p.Epoch = epoch.Add(time.Hour)
		at := time.Duration(0)
		for i := range rapid.IntRange(0, 20).Draw(t, "changes") {
			at += time.Duration(rapid.Int64Range(1, 10e9).Draw(t, "at"))
			p.Links[0].Schedule = append(p.Links[0].Schedule, Change{at, LinkModel{
				OneWay: time.Duration(i+2) * time.Millisecond, Reorder: true, // the moments asked about are in no order
				Down: rapid.IntRange(0, 4).Draw(t, "down") == 0,
			}})
		}
		waiting := p
		waiting.Epoch = time.Time{}
		e, still := must(t, p, 1), must(t, waiting, 1)
		moments := []time.Duration{-time.Hour, -1, 0}
		for _, c := range p.Links[0].Schedule {
			moments = append(moments, c.At-1, c.At, c.At+1)
		}
		for _, at := range moments {
			now := p.Epoch.Add(at)
			want := p.Links[0].LinkModel
			for _, c := range p.Links[0].Schedule {
				if c.At <= at {
					want = c.LinkModel
				}
			}
			v := e.Send(now, udp(0))
			if (v.Cause == LinkDown) != want.Down || v.Cause == Delivered && v.At.Sub(now) != want.OneWay {
				t.Fatalf("at %v: %v after %v; the link is %+v", at, v.Cause, v.At.Sub(now), want)
			}
			if got := p.At(now).Links[0]; got.LinkModel != want || got.Schedule != nil {
				t.Fatalf("at %v the policy has %+v, want %+v", at, got, want)
			}
			if v := still.Send(now, udp(0)); v.At.Sub(now) != time.Millisecond {
				t.Fatalf("without an epoch, %v after %v", v.Cause, v.At.Sub(now))
			}
		}
	})
}

// A link that is down by a fault stays down, whatever its schedule says.
func TestScheduleDoesNotHealACutLink(t *testing.T) {
	p := twoSites(LinkModel{})
	p.Epoch = epoch
	p.Links[0].Schedule = []Change{{time.Second, LinkModel{OneWay: 1}}, {2 * time.Second, LinkModel{OneWay: 2}}}
	e := must(t, p.WithLinkDown("ra", "rb"), 1)
	for s := range 4 {
		if v := e.Send(epoch.Add(time.Duration(s)*time.Second), udp(0)); v.Cause != LinkDown {
			t.Errorf("after %d s: %v", s, v.Cause)
		}
	}
	if v := must(t, p, 1).Send(epoch.Add(time.Second), udp(0)); v.Cause != Delivered {
		t.Errorf("the original was changed: %v", v.Cause)
	}
}

// The rate holds for all that shares the link, whatever came before: bytes
// delivered between any two arrivals fit into the time between them.
func TestRateIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const bps = 10e6
		m := LinkModel{OneWay: 20 * time.Millisecond, RateBps: bps, Queue: 50 * time.Millisecond, Duplicate: .3, Loss: LossModel{Good: .1}}
		e := must(t, twoSites(m), rapid.Uint64().Draw(t, "seed"))
		type arrival struct {
			at   time.Time
			size int
		}
		var came []arrival
		now := epoch
		for range 200 {
			now = now.Add(time.Duration(rapid.Int64Range(0, 2e6).Draw(t, "gap")))
			packet := udp(rapid.IntRange(0, 1472).Draw(t, "size"))
			if v := e.Send(now, packet); v.Cause == Delivered {
				came = append(came, arrival{v.At, len(packet)})
				if !v.Again.IsZero() {
					came = append(came, arrival{v.Again, len(packet)})
				}
			}
		}
		for i := range came {
			bits := 0
			for j := i + 1; j < len(came); j++ {
				bits += 8 * came[j].size
				if took := came[j].at.Sub(came[i].at); float64(bits) > bps*took.Seconds()+1e-3 {
					t.Fatalf("%d bits in %v", bits, took)
				}
			}
		}
	})
}

// Where a packet comes from is looked at by whoever knows: an address of
// another site is forged, of the same site it is not.
func TestSpoofedSources(t *testing.T) {
	p := twoSites(LinkModel{})
	p.Sites = append(p.Sites, Site{Cluster: "c", Region: "rc"})
	for _, c := range []struct {
		name   string
		packet spec
		from   string
		want   Cause
	}{
		{"its own", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}, "10.1.0.1", Delivered},
		{"a neighbour's", spec{src: "10.1.0.9", dst: "10.2.0.1", proto: UDP}, "10.1.0.1", Delivered},
		{"its own, by IPv6", spec{src: "fd01::1", dst: "fd02::1", proto: UDP}, "fd01::9", Delivered},
		{"by another family", spec{src: "fd01::1", dst: "fd02::1", proto: UDP}, "10.1.0.1", Delivered},
		{"as 4 in 6", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}, "::ffff:10.1.0.1", Delivered},
		{"another site's", spec{src: "10.2.0.7", dst: "10.1.0.1", proto: UDP}, "10.1.0.1", Spoofed},
		{"of where it goes, to look local", spec{src: "10.2.0.7", dst: "10.2.0.1", proto: UDP}, "10.1.0.1", Spoofed},
		{"nobody's", spec{src: "192.0.2.1", dst: "10.2.0.1", proto: UDP}, "10.1.0.1", Spoofed},
		{"another site's, by IPv6", spec{src: "fd02::7", dst: "fd02::1", proto: UDP}, "fd01::1", Spoofed},
		{"by a stranger", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}, "192.0.2.1", Spoofed},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := must(t, p, 1)
			v := e.SendFrom(epoch, Ingress{From: netip.MustParseAddr(c.from)}, c.packet.build())
			if v.Cause != c.want || v.Local {
				t.Errorf("got %+v, want %v", v, c.want)
			}
			var counted uint64
			for _, pair := range e.Pairs() {
				counted += pair.Dropped[c.want] + pair.Packets
			}
			if counted != 1 {
				t.Errorf("counted %+v", e.Pairs())
			}
		})
	}
}
