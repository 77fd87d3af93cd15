package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

const roleToxiproxy = "toxiproxy"

func init() { services[roleToxiproxy] = func() any { return newToxiproxy() } }

// Toxiproxy is what its child does when asked; exported for net/rpc alone.
type Toxiproxy struct {
	server *toxiproxy.ApiServer // without its HTTP interface
	proxy  *toxiproxy.Proxy
}

// ProxyArgs asks for a proxy with a delay in each direction.
type ProxyArgs struct {
	Listen, Upstream netip.AddrPort
	OneWay           time.Duration // whole milliseconds: it knows no others
}

func newToxiproxy() *Toxiproxy {
	return &Toxiproxy{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// Proxy replaces the proxy.
func (t *Toxiproxy) Proxy(args ProxyArgs, at *netip.AddrPort) error {
	if t.proxy != nil {
		t.proxy.Stop()
	}
	t.proxy = toxiproxy.NewProxy(t.server, "b", args.Listen.String(), args.Upstream.String())
	for _, stream := range []string{"upstream", "downstream"} {
		if args.OneWay == 0 {
			break
		}
		toxic := fmt.Sprintf(`{"type": "latency", "stream": %q, "attributes": {"latency": %d}}`, stream, args.OneWay.Milliseconds())
		if _, err := t.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return err
		}
	}
	if err := t.proxy.Start(); err != nil {
		return err
	}
	var err error
	*at, err = netip.ParseAddrPort(t.proxy.Listen)
	return err
}

// toxiproxyDriver is the child, seen from the benchmark.
type toxiproxyDriver struct{ child *child }

func openToxiproxy(ctx context.Context, bed *bed, _ Options) (driver, string, error) {
	c, err := startChild(ctx, bed.router, roleToxiproxy)
	if err != nil {
		return nil, "", err
	}
	return &toxiproxyDriver{c}, "TCP only; " + moduleVersion("github.com/Shopify/toxiproxy/v2"), nil
}

func (d *toxiproxyDriver) reach(ctx context.Context, oneWay time.Duration, port uint16) (at netip.AddrPort, err error) {
	err = d.child.call(ctx, "Proxy", ProxyArgs{
		Listen:   netip.AddrPortFrom(routerA.Addr(), 0),
		Upstream: netip.AddrPortFrom(hostB.Addr(), port),
		OneWay:   oneWay,
	}, &at)
	return at, err
}

func (d *toxiproxyDriver) pid() int { return d.child.pid() }
func (d *toxiproxyDriver) close()   { d.child.stop() }

// moduleVersion is the version of a module in this binary.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "version unknown"
}
