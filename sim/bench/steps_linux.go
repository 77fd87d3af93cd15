package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// step is one measurement, taken of every driver that it applies to before the
// next begins.
type step struct {
	group   string
	name    string
	applies func(kind) bool
	run     func(ctx context.Context, o Options, l *lane, report report) error
}

type report func(id, unit string, v float64)

const (
	probeInterval = time.Millisecond
	smallPacket   = 64 // bytes, IP header included

	flightRate   = 5e9 // bits per second
	flightOneWay = 50 * time.Millisecond
	// A super-packet of the largest UDP payload that 1500-byte packets make.
	flightPayload, flightSegments = 1472, 44
)

func steps() []step {
	var out []step
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond} {
		for _, streams := range []int{1, 8} {
			out = append(out, step{
				group:   tcpGroup,
				name:    fmt.Sprintf("TCP × %d at %d ms", streams, rtt.Milliseconds()),
				applies: func(k kind) bool { return (whole(k) || k.bare) && (rtt == 0 || k.delays) },
				run: func(ctx context.Context, o Options, l *lane, r report) error {
					return throughput(ctx, o, l, r, streams, rtt)
				},
			})
		}
	}
	out = append(out, step{packetsGroup, "small packets", func(k kind) bool { return whole(k) && k.packets }, smallPackets})
	out = append(out, step{delayGroup, "waking a thread", func(k kind) bool { return k.name == kernelName }, wake},
		step{delayGroup, "a bare timer", func(k kind) bool { return k.name == kernelName }, timer})
	for _, oneWay := range oneWays {
		out = append(out, step{
			group:   delayGroup,
			name:    fmt.Sprintf("delay of %d ms", oneWay.Milliseconds()),
			applies: func(k kind) bool { return k.packets && (oneWay == 0 || k.delays) },
			run: func(ctx context.Context, o Options, l *lane, r report) error {
				return delay(ctx, o, l, r, oneWay, false)
			},
		}, step{
			group:   delayGroup,
			name:    fmt.Sprintf("message delay of %d ms", oneWay.Milliseconds()),
			applies: func(k kind) bool { return whole(k) && !k.packets || k.name == kernelName && oneWay == 0 },
			run: func(ctx context.Context, o Options, l *lane, r report) error {
				return delay(ctx, o, l, r, oneWay, true)
			},
		})
	}
	return append(out,
		step{memoryGroup, "memory", func(k kind) bool { return whole(k) && k.process }, memory},
		step{linksGroup, "10,000 links", func(k kind) bool { return whole(k) && k.links }, links})
}

// whole tells a driver's main lane, of which everything is measured.
func whole(k kind) bool { return k.prefix == "" }

// throughput lets streams run and counts what arrives in a window.
func throughput(ctx context.Context, o Options, l *lane, report report, streams int, rtt time.Duration) error {
	var port netip.AddrPort
	if err := l.bed.b.call(ctx, "Listen", None{}, &port); err != nil {
		return err
	}
	to, err := l.driver.reach(ctx, rtt/2, port.Port())
	if err != nil {
		return err
	}
	if err := l.bed.a.call(ctx, "Dial", StreamArgs{To: to, Streams: streams}, &None{}); err != nil {
		return err
	}
	defer func() { _ = l.bed.a.call(context.WithoutCancel(ctx), "Hangup", None{}, &None{}) }()
	// From 10 packets to a window of 50 ms at 5 Gbit/s are 11 doublings, one
	// per round trip; twice that is let pass, and then some.
	warm := 300*time.Millisecond + 24*rtt
	if o.Quick {
		warm = 100*time.Millisecond + 2*rtt
	}
	if err := wait(ctx, warm); err != nil {
		return err
	}
	var before, after Received
	used, err := l.window(ctx, o.Window, func() error { return l.bed.b.call(ctx, "Received", None{}, &before) },
		func() error { return l.bed.b.call(ctx, "Received", None{}, &after) })
	if err != nil {
		return err
	}
	bytes := float64(after.Bytes - before.Bytes)
	if bytes == 0 {
		return fmt.Errorf("nothing arrived in %v", o.Window)
	}
	id := fmt.Sprintf("tcp/%d/%dms", streams, rtt.Milliseconds())
	report(id+"/rate", "Gbit/s", bytes*8/1e9/(after.At-before.At).Seconds())
	gib := bytes / (1 << 30)
	report(id+"/cpu", "s/GiB", used.all.Seconds()/gib)
	if l.driver.pid() != 0 {
		report(id+"/cpu-forwarder", "s/GiB", used.forwarder.Seconds()/gib)
	}
	return nil
}

// usage is CPU time of a window.
type usage struct{ all, forwarder time.Duration }

// window takes readings d apart, and the CPU time in between.
func (l *lane) window(ctx context.Context, d time.Duration, begin, end func() error) (u usage, err error) {
	if err := begin(); err != nil {
		return u, err
	}
	before, err := l.usage()
	if err != nil {
		return u, err
	}
	if err := wait(ctx, d); err != nil {
		return u, err
	}
	if err := end(); err != nil {
		return u, err
	}
	after, err := l.usage()
	if err != nil {
		return u, err
	}
	return usage{after.all - before.all, after.forwarder - before.forwarder}, nil
}

func (l *lane) usage() (u usage, err error) {
	if u.all, err = cpuTimes(l.pids); err != nil {
		return u, err
	}
	if pid := l.driver.pid(); pid != 0 {
		u.forwarder, err = cpuTime(pid)
	}
	return u, err
}

// flooded has a flood run around f.
func (l *lane) flooded(ctx context.Context, oneWay time.Duration, args FloodArgs, f func() error) error {
	var port netip.AddrPort
	err := l.bed.b.call(ctx, "DeafPort", None{}, &port)
	if err != nil {
		return err
	}
	if args.To, err = l.driver.reach(ctx, oneWay, port.Port()); err != nil {
		return err
	}
	if err := l.bed.a.call(ctx, "Flood", args, &None{}); err != nil {
		return err
	}
	err = f()
	if stopped := l.bed.a.call(context.WithoutCancel(ctx), "FloodStop", None{}, &None{}); err == nil {
		err = stopped
	}
	if err == nil {
		err = wait(ctx, 2*oneWay) // what is on its way is no part of the next measurement
	}
	return err
}

// smallPackets counts what arrives of more than can be forwarded.
func smallPackets(ctx context.Context, o Options, l *lane, report report) error {
	args := FloodArgs{Payload: smallPacket - ipUDPHeaders, Segments: 1}
	return l.flooded(ctx, 0, args, func() error {
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		var before, after uint64
		var from, to time.Duration
		used, err := l.window(ctx, o.Window,
			func() (err error) { before, _, err = l.bed.arrivedAtB(); from = monotonic(); return err },
			func() (err error) { after, _, err = l.bed.arrivedAtB(); to = monotonic(); return err })
		if err != nil {
			return err
		}
		packets := float64(after - before)
		report("packets/rate", "k/s", packets/1e3/(to-from).Seconds())
		if l.driver.pid() != 0 {
			report("packets/per-core", "k/s", packets/1e3/used.forwarder.Seconds())
		}
		return nil
	})
}

// delay times probes one by one.
func delay(ctx context.Context, o Options, l *lane, report report, oneWay time.Duration, tcp bool) error {
	run := rand.Uint64() // a name, not a choice
	var port netip.AddrPort
	if err := l.bed.b.call(ctx, "Capture", CaptureArgs{TCP: tcp, Run: run, Count: o.Probes}, &port); err != nil {
		return err
	}
	to, err := l.driver.reach(ctx, oneWay, port.Port())
	if err != nil {
		return err
	}
	var left, arrived Stamps
	before := stolen()
	if err := l.bed.a.call(ctx, "Probe", ProbeArgs{To: to, TCP: tcp, Run: run, Count: o.Probes, Interval: probeInterval}, &left); err != nil {
		return err
	}
	if err := l.arrivals(ctx, o.Probes, oneWay+time.Second); err != nil {
		return err
	}
	if err := l.bed.b.call(ctx, "Arrivals", None{}, &arrived); err != nil {
		return err
	}
	taken := stolen() - before
	var late Stamps
	for i := range min(len(left), len(arrived)) {
		if arrived[i] != 0 {
			late = append(late, arrived[i]-left[i]-int64(oneWay))
		}
	}
	if len(late) < o.Probes/2 {
		return fmt.Errorf("of %d probes only %d arrived", o.Probes, len(late))
	}
	id := fmt.Sprintf("delay/%dms", oneWay.Milliseconds())
	if tcp {
		id = "message-" + id
	}
	report.times(id, late)
	report(id+"/stolen", "ms", float64(taken.Milliseconds()))
	report(id+"/missing", "probes", float64(o.Probes-len(late)))
	return nil
}

// arrivals waits until all probes of the run are there, or patience is over.
func (l *lane) arrivals(ctx context.Context, count int, patience time.Duration) error {
	for until := time.Now().Add(patience); time.Now().Before(until); {
		var got int
		if err := l.bed.b.call(ctx, "Captured", None{}, &got); err != nil {
			return err
		}
		if got >= count {
			return nil
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // the missing are counted
}

// memory watches the forwarder while a known amount is on its way.
func memory(ctx context.Context, o Options, l *lane, report report) error {
	idle, _, err := residentBytes(l.driver.pid())
	if err != nil {
		return err
	}
	report("memory/idle", "MiB", float64(idle)/(1<<20))
	args := FloodArgs{Payload: flightPayload, Segments: flightSegments, RateBits: flightRate}
	return l.flooded(ctx, flightOneWay, args, func() error {
		if err := wait(ctx, 4*flightOneWay); err != nil { // until what arrives is as much as what is sent
			return err
		}
		var before, after, most, mostAnonymous uint64
		var from, to time.Duration
		_, err := l.window(ctx, 0,
			func() (err error) { _, before, err = l.bed.arrivedAtB(); from = monotonic(); return err },
			func() (err error) {
				for monotonic()-from < o.Window {
					all, anonymous, err := residentBytes(l.driver.pid())
					if err != nil {
						return err
					}
					most, mostAnonymous = max(most, all), max(mostAnonymous, anonymous)
					if err := wait(ctx, 10*time.Millisecond); err != nil {
						return err
					}
				}
				_, after, err = l.bed.arrivedAtB()
				to = monotonic()
				return err
			})
		if err != nil {
			return err
		}
		rate := float64(after-before) / (to - from).Seconds() // bytes per second
		report("memory/flight", "MiB", rate*flightOneWay.Seconds()/(1<<20))
		report("memory/resident", "MiB", float64(most)/(1<<20))
		report("memory/anonymous", "MiB", float64(mostAnonymous)/(1<<20))
		return nil
	})
}

// links times a policy of ten thousand.
func links(ctx context.Context, _ Options, l *lane, report report) error {
	d, ok := l.driver.(interface {
		links(context.Context, int) (LinkTimes, error)
	})
	if !ok {
		return fmt.Errorf("%T has no links", l.driver)
	}
	t, err := d.links(ctx, 10_000)
	if err != nil {
		return err
	}
	report("links/compile", "ms", float64(t.Compile.Microseconds())/1e3)
	report("links/swap", "ms", float64(t.Swap.Microseconds())/1e3)
	return nil
}

// wait lets a measurement take its time.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
