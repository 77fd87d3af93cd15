package netstack

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// realWAN is the engine that labs use, with two regions: 10.1.0.0/16 and 10.2.0.0/16.
func realWAN(b testing.TB, there, back wan.LinkModel) *Network {
	b.Helper()
	e, err := wan.New(wan.Policy{
		Sites: []wan.Site{
			{Cluster: "a", Region: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
			{Cluster: "b", Region: "b", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
		},
		Links:    []wan.Link{{From: "a", To: "b", LinkModel: there}, {From: "b", To: "a", LinkModel: back}},
		Peerings: []wan.Peering{{A: "a", B: "b"}},
		Probes:   wan.LabProbes,
	}, 1)
	if err != nil {
		b.Fatal(err)
	}
	n := New(e)
	b.Cleanup(n.Close)
	return n
}

// BenchmarkPing prints how much longer than the link's a round trip takes.
func BenchmarkPing(b *testing.B) {
	for _, oneWay := range []time.Duration{250 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond} {
		b.Run(oneWay.String(), func(b *testing.B) {
			n := realWAN(b, wan.LinkModel{OneWay: oneWay}, wan.LinkModel{OneWay: oneWay})
			from, to := addHost(b, n, "10.1.0.1"), addHost(b, n, "10.2.0.1")
			var excess []time.Duration
			for b.Loop() {
				rtt, err := from.Ping(context.Background(), to.Addr())
				if err != nil {
					b.Fatal(err)
				}
				excess = append(excess, rtt-2*oneWay)
			}
			slices.Sort(excess)
			b.ReportMetric(float64(excess[len(excess)/2].Microseconds()), "µs-excess-p50")
			b.ReportMetric(float64(excess[len(excess)*99/100].Microseconds()), "µs-excess-p99")
		})
	}
}

// BenchmarkTransfer moves 1 MiB per operation over one connection.
func BenchmarkTransfer(b *testing.B) {
	for _, c := range []struct {
		name, to string
		oneWay   time.Duration
	}{{"site", "10.1.0.2", 0}, {"1ms", "10.2.0.2", time.Millisecond}, {"50ms", "10.2.0.2", 50 * time.Millisecond}} {
		b.Run(c.name, func(b *testing.B) {
			n := realWAN(b, wan.LinkModel{OneWay: c.oneWay}, wan.LinkModel{OneWay: c.oneWay})
			from, to := addHost(b, n, "10.1.0.1"), addHost(b, n, c.to)
			l, err := to.Listen("tcp", ":80")
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				s, err := l.Accept()
				if err != nil {
					return
				}
				chunk := make([]byte, 1<<20)
				for {
					if _, err := s.Write(chunk); err != nil {
						return
					}
				}
			}()
			conn, err := from.DialContext(context.Background(), "tcp", c.to+":80")
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(1 << 20)
			for b.Loop() {
				if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
			_ = conn.Close()
		})
	}
}

// BenchmarkHost makes hosts and prints what each costs.
func BenchmarkHost(b *testing.B) {
	n := realWAN(b, wan.LinkModel{}, wan.LinkModel{})
	measure := func() (uint64, int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()
	}
	bytes, goroutines := measure()
	i := 0
	for b.Loop() {
		addHost(b, n, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1))
		i++
	}
	bytes1, goroutines1 := measure()
	b.ReportMetric(float64(bytes1-bytes)/float64(i)/1024, "KiB/host")
	b.ReportMetric(float64(goroutines1-goroutines)/float64(i), "goroutines/host")
}
