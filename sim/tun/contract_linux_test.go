package tun_test

import (
	"testing"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

func TestContract(t *testing.T) {
	drivertest.Run(t, func(t *testing.T, n *drivertest.Network, p wan.Policy) wan.Driver {
		return open(t, n, p, tun.Config{})
	})
}

// open makes a router of the network, with what else the configuration says.
func open(t testing.TB, n *drivertest.Network, p wan.Policy, cfg tun.Config) *tun.Router {
	t.Helper()
	engine, err := wan.New(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Engine, cfg.Attachments, cfg.Namespace = engine, n.Attachments(), n.Router.Path()
	r, err := tun.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("report %+v, totals %+v", r.Report(), r.Totals())
		}
	})
	return r
}
