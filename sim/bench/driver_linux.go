package bench

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// kind is a driver before it runs.
type kind struct {
	name    string
	packets bool // carries any IP packet, not TCP connections only
	delays  bool
	// open makes the bed's router forward, and says what is at work. It may
	// fail with errAbsent: then the driver is shown as skipped.
	open func(context.Context, *bed) (driver, string, error)
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
		{name: toxiproxyName, delays: true, open: openToxiproxy},
	}
}

// kernel forwarding: the baseline.
type kernel struct{}

func openKernel(_ context.Context, bed *bed) (driver, string, error) {
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
