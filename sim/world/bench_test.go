//go:build unix

package world

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// BenchmarkWorld passes packets round and round between clusters: each event
// is a packet sent, judged by the engine, held until it is due, and delivered.
// The target is a million events per CPU-second.
func BenchmarkWorld(b *testing.B) {
	for _, c := range []struct {
		clusters, each int // each: packets on their way per cluster
		name           string
		model          wan.LinkModel
	}{
		{3, 10, "delay", wan.LinkModel{OneWay: 50 * time.Millisecond}},
		{100, 10, "delay", wan.LinkModel{OneWay: 50 * time.Millisecond}},
		{10_000, 10, "delay", wan.LinkModel{OneWay: 50 * time.Millisecond}},
		{100, 10, "jitter,rate", wan.LinkModel{OneWay: 50 * time.Millisecond, Jitter: time.Millisecond, RateBps: 1e9}},
	} {
		b.Run(fmt.Sprintf("clusters=%d,packets=%d,%s", c.clusters, c.clusters*c.each, c.name), func(b *testing.B) {
			w, _ := newWorld(b, clusters(c.clusters, c.model, c.model))
			for i := range c.clusters {
				next := (i + 1) % c.clusters
				packet := datagram(host(i), host(next), 500)
				w.Listen(host(i), func([]byte) { w.Send(packet) })
				for k := range c.each {
					w.After(time.Duration(i*c.each+k)*time.Microsecond, func() { w.Send(packet) })
				}
			}
			w.RunUntil(start.Add(200 * time.Millisecond)) // everything is under way
			before, used := w.Stats().Delivered, processorTime()
			b.ReportAllocs()
			for b.Loop() {
				w.clock.Step()
			}
			b.ReportMetric(float64(w.Stats().Delivered-before)/(processorTime()-used).Seconds(), "events/CPU-s")
		})
	}
}

// processorTime is what this process has used so far, the garbage collector included.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
