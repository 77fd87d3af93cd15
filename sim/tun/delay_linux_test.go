package tun_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// BenchmarkDelay sends 1,000 datagrams, one at a time, and reports how much
// later than they should the kernel received them: all of it, sending socket
// and both of the router's forwardings included.
func BenchmarkDelay(b *testing.B) {
	b.Run("kernel/0s", func(b *testing.B) {
		n := drivertest.NewNetwork(b)
		forwardByKernel(b, n)
		measure(b, n, 0)
	})
	for _, c := range []struct {
		name string
		cfg  tun.Config
	}{{"realtime", tun.Config{}}, {"ordinary", tun.Config{Ordinary: true}}, {"without spin", tun.Config{Ordinary: true, Spin: -1}}} {
		for _, oneWay := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond} {
			b.Run(fmt.Sprintf("%s/%v", c.name, oneWay), func(b *testing.B) {
				n := drivertest.NewNetwork(b)
				r := open(b, n, n.Policy(oneWay, oneWay), c.cfg)
				defer runRouter(b, r)()
				measure(b, n, oneWay)
				report := r.Report()
				b.Logf("realtime %v %s, spin %v %s", report.Realtime, report.RealtimeWhy, report.Spin, report.SpinWhy)
				totals := r.Totals()
				b.ReportMetric(float64(totals.Late.Quantile(.5).Nanoseconds())/1e3, "router-p50-µs")
				b.ReportMetric(float64(totals.Late.Quantile(.99).Nanoseconds())/1e3, "router-p99-µs")
			})
		}
	}
}

// measure reports how late datagrams from c to b are. Both times are of the
// kernel's clock: the sender's, and what is on the receiving socket's buffer.
func measure(b *testing.B, n *drivertest.Network, oneWay time.Duration) {
	from, to := n.Sites[2], n.Sites[1]
	sink, err := to.Node.ListenUDP(netip.AddrPortFrom(to.Addr4, 0).String())
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close()
	set(b, sink, unix.SO_TIMESTAMPNS, 1)
	source, err := from.Node.ListenUDP(netip.AddrPortFrom(from.Addr4, 0).String())
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	const warm, count = 50, 1000
	go func() {
		to := sink.LocalAddr().(*net.UDPAddr).AddrPort()
		for { // what is lost before the links are up is sent again
			var p [64]byte
			binary.BigEndian.PutUint64(p[:], uint64(time.Now().UnixNano()))
			if _, err := source.WriteToUDPAddrPort(p[:], to); errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	var late []time.Duration
	var p, oob [256]byte
	_ = sink.SetReadDeadline(time.Now().Add(patience))
	for i := range warm + count {
		_, k, _, _, err := sink.ReadMsgUDPAddrPort(p[:], oob[:])
		if err != nil {
			b.Fatal(err)
		}
		came := stampOf(b, oob[:k], unix.SCM_TIMESTAMPNS)
		if i >= warm {
			late = append(late, time.Duration(came-int64(binary.BigEndian.Uint64(p[:])))-oneWay)
		}
	}
	slices.Sort(late)
	us := func(q float64) float64 {
		return float64(late[min(len(late)-1, int(q*float64(len(late))))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(us(.5), "p50-µs")
	b.ReportMetric(us(.99), "p99-µs")
	b.ReportMetric(us(1), "max-µs")
	b.ReportMetric(0, "ns/op")
}
