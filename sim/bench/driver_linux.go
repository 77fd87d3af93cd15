package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/tun"
)

// kind is a driver before it runs.
type kind struct {
	name    string
	packets bool // carries any IP packet, not TCP connections only
	delays  bool
	process bool // has a process that carries any packet, whose memory is asked for
	links   bool // has a policy of links that it compiles itself
	// prefix is put before the metrics' names: another lane of the same driver,
	// of which only the delays are measured, or if it is bare what TCP takes
	// without delay.
	prefix string
	bare   bool
	// open makes the bed's router forward, and says what is at work. It may
	// fail with errAbsent: then the driver is shown as skipped.
	open func(context.Context, *bed, Options) (driver, string, error)
}

// driver is one at work in a bed's router.
type driver interface {
	// reach sets the delay of both directions and tells where a finds a port of b.
	reach(ctx context.Context, oneWay time.Duration, port uint16) (netip.AddrPort, error)
	// pid is the process that forwards; 0 if the kernel does.
	pid() int
	close()
}

// errAbsent is what this machine lacks for a driver.
var errAbsent = errors.New("not on this machine")

func kinds() []kind {
	return []kind{
		{name: kernelName, packets: true, open: openKernel},
		{name: tunName, packets: true, delays: true, process: true, links: true, open: openTUN(OpenArgs{})},
		{name: tunName, prefix: "plain-", packets: true, delays: true, open: openTUN(OpenArgs{Ordinary: true})},
		{name: tunName, prefix: "bare-", bare: true, process: true, open: openTUN(OpenArgs{Bare: true})},
		{name: netemName, packets: true, delays: true, open: openNetem},
		{name: toxiproxyName, delays: true, open: openToxiproxy},
	}
}

// kernel forwarding: the baseline.
type kernel struct{}

func openKernel(_ context.Context, bed *bed, _ Options) (driver, string, error) {
	return kernel{}, "veth, IP forwarding", bed.router.sysctl("net/ipv4/ip_forward", "1")
}

func (kernel) reach(_ context.Context, oneWay time.Duration, port uint16) (netip.AddrPort, error) {
	if oneWay != 0 {
		return netip.AddrPort{}, errors.New("kernel forwarding has no delay")
	}
	return netip.AddrPortFrom(hostB.Addr(), port), nil
}

func (kernel) pid() int { return 0 }
func (kernel) close()   {}

// tunDriver is the engine behind a TUN device, in a child.
type tunDriver struct{ child *child }

func openTUN(args OpenArgs) func(context.Context, *bed, Options) (driver, string, error) {
	return func(ctx context.Context, bed *bed, o Options) (driver, string, error) {
		if err := tun.Probe(); err != nil {
			return nil, "", fmt.Errorf("%w: %w", errAbsent, err)
		}
		c, err := startChild(ctx, bed.router, roleTUN)
		if err != nil {
			return nil, "", err
		}
		if !args.Ordinary && !args.Bare {
			args.Profile = o.Profile
		}
		var note string
		if err := c.call(ctx, "Open", args, &note); err != nil {
			c.stop()
			return nil, "", err
		}
		return &tunDriver{c}, note, nil
	}
}

func (d *tunDriver) reach(ctx context.Context, oneWay time.Duration, port uint16) (netip.AddrPort, error) {
	return netip.AddrPortFrom(hostB.Addr(), port), d.child.call(ctx, "Delay", oneWay, &None{})
}

func (d *tunDriver) links(ctx context.Context, n int) (t LinkTimes, err error) {
	return t, d.child.call(ctx, "Links", n, &t)
}

func (d *tunDriver) pid() int { return d.child.pid() }
func (d *tunDriver) close()   { d.child.stop() }
