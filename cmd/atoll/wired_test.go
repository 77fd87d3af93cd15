package main

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/rest"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/capture"
	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/wan"
)

// wired is a lab that is all WAN: real hosts on a real engine, and no
// Kubernetes. What it cannot answer is nil and would panic.
type wired struct {
	lab.Backend
	engine *wan.Engine
}

func (w *wired) Plan() *sim.Plan {
	return &sim.Plan{Name: "wired", Seed: 7, Clusters: []sim.Cluster{{Name: "eu", Region: "eu-west"}, {Name: "us", Region: "us-west"}}}
}
func (w *wired) Provider() string                        { return "wired" }
func (w *wired) RESTConfig(string) (*rest.Config, error) { return nil, lab.ErrUnsupported }

func (w *wired) State(context.Context) (lab.State, error) {
	return lab.State{Links: w.engine.Counters(), Pairs: w.engine.Pairs()}, nil
}

func (w *wired) Capture(ctx context.Context, o capture.Options, out io.Writer) error {
	return capture.Run(ctx, w.engine, out, o)
}

// wiredLab is the script command `wired-lab`: it puts a lab with traffic into
// the script's store until the script ends. eu pings us, on a link of 20 ms
// each way, and ap, which it is not peered with.
func wiredLab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: wired-lab")
	}
	site := func(name, region, prefix string) wan.Site {
		return wan.Site{Cluster: name, Region: region, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
	}
	model := wan.LinkModel{OneWay: 20 * time.Millisecond}
	engine, err := wan.New(wan.Policy{
		Sites: []wan.Site{site("eu", "eu-west", "10.1.0.0/16"), site("us", "us-west", "10.2.0.0/16"), site("ap", "ap-south", "10.3.0.0/16")},
		Links: []wan.Link{
			{From: "eu-west", To: "us-west", LinkModel: model},
			{From: "us-west", To: "eu-west", LinkModel: model},
		},
		Peerings: []wan.Peering{{A: "eu", B: "us"}},
	}, 7)
	ts.Check(err)
	network := netstack.New(engine)
	ts.Defer(network.Close)
	eu, err := network.AddHost("eu", netip.MustParseAddr("10.1.0.1"))
	ts.Check(err)
	us, err := network.AddHost("us", netip.MustParseAddr("10.2.0.1"))
	ts.Check(err)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ts.Defer(func() { cancel(); wg.Wait() })
	for _, to := range []netip.Addr{us.Addr(), netip.MustParseAddr("10.3.0.1")} {
		wg.Go(func() {
			for ctx.Err() == nil {
				one, done := context.WithTimeout(ctx, 100*time.Millisecond)
				_, _ = eu.Echo(one, to) // ap never answers
				done()
			}
		})
	}
	store := lab.Store{Root: filepath.Join(ts.Getenv("ATOLL_HOME"), "labs")}
	b := &wired{engine: engine}
	_, record, err := store.Create(b.Plan().Name, b.Provider())
	ts.Check(err)
	stop, err := serveLab(ctx, store, &record, b)
	ts.Check(err)
	ts.Defer(func() {
		stop()
		ts.Check(store.Remove(record))
	})
}
