package wan

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// world makes n clusters of one region each, a link from each to the next
// few, and a peering and rules beside every link.
func world(n, degree int, ruled bool) Policy {
	var p Policy
	name := func(i int) string { return fmt.Sprintf("c%d", i%n) }
	region := func(i int) string { return fmt.Sprintf("r%d", i%n) }
	for i := range n {
		p.Sites = append(p.Sites, Site{name(i), region(i), []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24),
		}})
		for d := 1; d <= degree; d++ {
			m := LinkModel{OneWay: 10 * time.Millisecond, RateBps: 1e9, Loss: LossModel{Good: .0001}}
			p.Links = append(p.Links, Link{From: region(i), To: region(i + d), LinkModel: m}, Link{From: region(i + d), To: region(i), LinkModel: m})
			p.Peerings = append(p.Peerings, Peering{A: name(i), B: name(i + d)})
			if ruled {
				p.Rules = append(p.Rules, Rule{From: name(i), To: name(i + d), Ports: []Port{{TCP, 443}}})
			}
		}
	}
	return p
}

// BenchmarkSend is what the engine takes for a packet, by how many sites (and
// links) the policy has, and between how many pairs of them packets go.
func BenchmarkSend(b *testing.B) {
	for _, w := range []struct {
		sites, pairs int
		ruled        bool
	}{{4, 4, false}, {4, 4, true}, {10_000, 4, false}, {10_000, 4, true}, {10_000, 10_000, false}, {10_000, 10_000, true}} {
		b.Run(fmt.Sprintf("sites=%d,pairs=%d,ruled=%v", w.sites, w.pairs, w.ruled), func(b *testing.B) {
			e, err := New(world(w.sites, 1, w.ruled), 1)
			if err != nil {
				b.Fatal(err)
			}
			packets := make([][]byte, w.pairs)
			for k := range packets {
				i := k * (w.sites / w.pairs)
				j := (i + 1) % w.sites
				packets[k] = spec{
					src: fmt.Sprintf("10.%d.%d.7", i>>8, i&255), dst: fmt.Sprintf("11.%d.%d.7", j>>8, j&255),
					proto: TCP, sport: 4000, dport: 443, payload: 1400,
				}.build()
			}
			now := time.Unix(0, 0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(12 * time.Microsecond)
				if v := e.Send(now, packets[i%len(packets)]); v.Cause != Delivered && v.Cause != Lost {
					b.Fatal(v)
				}
			}
		})
	}
}

// BenchmarkSwap configures 10,000 links from nothing, and puts another policy
// with as many in force. The target is 100 ms for both.
func BenchmarkSwap(b *testing.B) {
	first, second := world(5000, 1, true), world(5000, 1, true)
	for i := range second.Links {
		second.Links[i].OneWay *= 2
	}
	if len(first.Links) != 10_000 {
		b.Fatalf("%d links", len(first.Links))
	}
	b.Run("configure", func(b *testing.B) {
		for b.Loop() {
			if _, err := New(first, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("swap", func(b *testing.B) {
		e, err := New(first, 1)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			if err := e.Swap([]Policy{second, first}[i%2]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
