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
				p.Rules = append(p.Rules, Rule{name(i), name(i + d), []Port{{TCP, 443}}})
			}
		}
	}
	return p
}

func BenchmarkSend(b *testing.B) {
	for _, w := range []struct {
		sites int
		ruled bool
	}{{4, false}, {4, true}, {10_000, false}, {10_000, true}} {
		b.Run(fmt.Sprintf("sites=%d,ruled=%v", w.sites, w.ruled), func(b *testing.B) {
			e, err := New(world(w.sites, 1, w.ruled), 1)
			if err != nil {
				b.Fatal(err)
			}
			packets := make([][]byte, w.sites)
			for i := range packets {
				j := (i + 1) % w.sites
				packets[i] = spec{
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
