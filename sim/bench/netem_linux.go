package bench

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/netem"
)

// netemDriver is the kernel's own emulation; no process of it forwards.
type netemDriver struct {
	driver *netem.Driver
	stop   context.CancelFunc
	ended  chan struct{}
}

func openNetem(ctx context.Context, bed *bed, _ Options) (driver, string, error) {
	if err := netem.Probe(); err != nil {
		return nil, "", fmt.Errorf("%w: %w", errAbsent, err)
	}
	d, err := netem.Open(netem.Config{
		Namespace:   fmt.Sprintf("/proc/self/fd/%d", bed.router.file.Fd()),
		Attachments: attachments(),
		Policy:      pair(0),
	})
	if err != nil {
		return nil, "", err
	}
	ctx, stop := context.WithCancel(ctx)
	n := &netemDriver{driver: d, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(n.ended)
		_ = d.Run(ctx) // what it could not do is missed by who measures
	}()
	return n, "sch_netem behind nftables", nil
}

func (n *netemDriver) reach(ctx context.Context, oneWay time.Duration, port uint16) (netip.AddrPort, error) {
	return netip.AddrPortFrom(hostB.Addr(), port), n.driver.Apply(ctx, pair(oneWay))
}

func (n *netemDriver) pid() int { return 0 }

func (n *netemDriver) close() {
	n.stop()
	<-n.ended
	_ = n.driver.Close() // the namespace it worked in goes next
}
