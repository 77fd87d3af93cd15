// Package example tests something of one's own in an atoll lab, with
// e2e-framework: a Setup function brings the clusters of world.yaml up and
// puts them into the context, and a test takes a klient per cluster out of it.
//
//	cd examples/e2e-framework && go test ./...
package example

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

var world env.Environment

func TestMain(m *testing.M) {
	world = env.New()
	world.Setup(labUp("world.yaml"))
	world.Finish(labDown)
	os.Exit(world.Run(m))
}

type labKey struct{}

// labUp is an env.Func that brings a topology up.
func labUp(file string) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		topology, err := topologies.Load(file)
		if err != nil {
			return ctx, err
		}
		plan, err := fixtures.Plan(topology, 1)
		if err != nil {
			return ctx, err
		}
		dir, err := os.MkdirTemp("", "atoll-example-")
		if err != nil {
			return ctx, err
		}
		provider := embedded.New(embedded.Config{Images: fixtures.Images(), Version: fixtures.Version})
		b, err := fixtures.Up(ctx, provider, plan, lab.Options{Dir: dir, Events: printDone})
		if err != nil {
			return ctx, errors.Join(err, os.RemoveAll(dir))
		}
		return context.WithValue(ctx, labKey{}, b), nil
	}
}

func labDown(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	if b, ok := ctx.Value(labKey{}).(lab.Backend); ok {
		return ctx, b.Down(ctx)
	}
	return ctx, nil
}

func printDone(e lab.Event) {
	if e.Status == lab.Done {
		fmt.Println(e.Step, e.Subject, e.Elapsed.Round(1e6))
	}
}

// backend takes the lab out of the context.
func backend(ctx context.Context, t *testing.T) lab.Backend {
	t.Helper()
	b, ok := ctx.Value(labKey{}).(lab.Backend)
	if !ok {
		t.Fatal("there is no lab in the context")
	}
	return b
}

// clientOf is an administrator's klient, not subject to the WAN.
func clientOf(ctx context.Context, t *testing.T, cluster string) klient.Client {
	t.Helper()
	cfg, err := backend(ctx, t).RESTConfig(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, cfg)
}

// clientFrom is a klient whose connections start in one cluster and cross the
// WAN to another's API server, delayed and cut as the topology and the faults say.
func clientFrom(ctx context.Context, t *testing.T, from, to string) klient.Client {
	t.Helper()
	b := backend(ctx, t)
	cfg, err := b.RESTConfig(to)
	if err != nil {
		t.Fatal(err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = 3 * time.Second // a question into a partition has no other end
	cfg.Host = "https://" + b.Plan().Cluster(to).APIServer.String()
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return b.DialContext(ctx, lab.Place{Cluster: from}, network, addr)
	}
	return newClient(t, cfg)
}

func newClient(t *testing.T, cfg *rest.Config) klient.Client {
	t.Helper()
	c, err := klient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
