package tun_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// BenchmarkTCP sends TCP from one site to another for two seconds: forwarded
// by the kernel, by a thread that does nothing but read from the TUN devices and
// write to them, and by the router, at several delays.
func BenchmarkTCP(b *testing.B) {
	for _, streams := range []int{1, 8} {
		b.Run(fmt.Sprintf("kernel/streams=%d", streams), func(b *testing.B) {
			n := drivertest.NewNetwork(b)
			forwardByKernel(b, n)
			transfer(b, n, streams, nil)
		})
		b.Run(fmt.Sprintf("bare/streams=%d", streams), func(b *testing.B) {
			n := drivertest.NewNetwork(b)
			r := open(b, n, n.Policy(0, 0), tun.Config{})
			defer runAs(b, r, r.RunBare)()
			transfer(b, n, streams, r)
		})
		for _, oneWay := range []time.Duration{0, 25 * time.Millisecond} {
			b.Run(fmt.Sprintf("tun/streams=%d/rtt=%v", streams, 2*oneWay), func(b *testing.B) {
				n := drivertest.NewNetwork(b)
				r := open(b, n, n.Policy(oneWay, oneWay), tun.Config{})
				defer runRouter(b, r)()
				transfer(b, n, streams, r)
			})
		}
	}
}

// runRouter runs r until the function that it returns is called.
func runRouter(b testing.TB, r *tun.Router) (stop func()) { return runAs(b, r, r.Run) }

// runAs is runRouter with another loop.
func runAs(b testing.TB, r *tun.Router, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	}
}

// forwardByKernel makes the router's namespace an ordinary router.
func forwardByKernel(b testing.TB, n *drivertest.Network) {
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := n.Router.Sysctl(name, "1"); err != nil {
			b.Fatal(err)
		}
	}
	for _, s := range n.Sites {
		l, err := n.Router.Links.LinkByName(s.Interface)
		if err != nil {
			b.Fatal(err)
		}
		dst := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: s.Addr4.AsSlice(), Dst: netlink.NewIPNet(s.Pods4.Addr().AsSlice())}
		if err := n.Router.Links.RouteAdd(dst); err != nil {
			b.Fatal(err)
		}
	}
}

func transfer(b *testing.B, n *drivertest.Network, streams int, r *tun.Router) {
	from, to := n.Sites[2], n.Sites[1]
	for _, ns := range []*drivertest.Namespace{from.Node, to.Node} {
		for name, value := range map[string]string{
			"net/ipv4/tcp_rmem": "4096 131072 67108864", "net/ipv4/tcp_wmem": "4096 131072 67108864",
		} {
			if err := ns.Sysctl(name, value); err != nil {
				b.Fatal(err)
			}
		}
	}
	sink := begin(b, task{Namespace: to.Node.Path(), Listen: netip.AddrPortFrom(to.Addr4, 0).String()})
	address := sink.line(b)
	read := func() int64 {
		_, _ = fmt.Fprintln(sink.in)
		v, err := strconv.ParseInt(sink.line(b), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	for range b.N {
		source := begin(b, task{Namespace: from.Node.Path(), Dial: address, Streams: streams, For: 4 * time.Second})
		time.Sleep(1500 * time.Millisecond) // slow start is not what is measured
		var before, after tun.Counters
		if r != nil {
			before = r.Totals()
		}
		start, from := time.Now(), read()
		time.Sleep(2 * time.Second)
		bits, took := float64(read()-from)*8, time.Since(start)
		if r != nil {
			after = r.Totals()
			b.ReportMetric((after.CPU-before.CPU).Seconds()/(bits/8/(1<<30)), "cpu-s/GiB")
			b.ReportMetric(float64(after.WriteBytes-before.WriteBytes)/float64(after.Writes-before.Writes), "B/write")
			b.ReportMetric(float64(after.Memory)/(1<<20), "MiB")
			b.ReportMetric(float64(after.Late.Quantile(.5).Microseconds()), "late-p50-µs")
			b.ReportMetric(float64(after.Late.Quantile(.99).Microseconds()), "late-p99-µs")
		}
		b.ReportMetric(bits/1e9/took.Seconds(), "Gbit/s")
		_ = source.cmd.Wait()
	}
}
