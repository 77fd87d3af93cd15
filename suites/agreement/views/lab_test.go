package views_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/embedded/embeddedtest"
	"github.com/atoll-dev/atoll/fixtures/stack/istio"
	"github.com/atoll-dev/atoll/suites/agreement/views"
	"github.com/atoll-dev/atoll/topologies"
)

const networks = `apiVersion: atoll.dev/v1alpha1
kind: Topology
metadata: {name: views}
spec:
  timers: short
  clusters:
  - {name: eu, region: eu, network: net-eu}
  - {name: us, region: us, network: net-us}
  wan:
    links: [{between: [eu, us], rtt: 40ms}]
  stack:
    mesh: {api: istio, engine: %s, on: [eu, us]}
  workloads:
  - {name: hello, via: direct, on: [eu, us]}
  - {name: sleep, via: direct, on: [eu, us]}
`

const flat = `apiVersion: atoll.dev/v1alpha1
kind: Topology
metadata: {name: views}
spec:
  timers: short
  clusters:
  - {name: eu, region: eu}
  - {name: us, region: us}
  wan:
    links: [{between: [eu, us], rtt: 40ms}]
  stack:
    mesh: {api: istio, engine: %s, layout: flat, on: [eu, us]}
  workloads:
  - {name: hello, via: direct, on: [eu, us]}
  - {name: sleep, via: direct, on: [eu, us]}
`

// The built-in mesh and a real Istio tell the same proxies the same, where
// docs/fidelity.md does not say otherwise.
func TestEnginesAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real control planes")
	}
	if _, err := istio.Find(t.Context()); errors.Is(err, istio.ErrNotSet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for name, topology := range map[string]string{"two networks": networks, "one network": flat} {
		t.Run(name, func(t *testing.T) {
			var records []*views.Record
			for _, engine := range []topologies.Engine{topologies.EngineBuiltin, topologies.EngineBinaries} {
				t.Run(string(engine), func(t *testing.T) {
					ctx, b := embeddedtest.Up(t, fmt.Sprintf(topology, engine), 8*time.Minute)
					r, err := views.Ask(ctx, b, views.Options{Engine: string(engine), Events: embeddedtest.Log(t)})
					if err != nil {
						t.Fatal(err)
					}
					records = append(records, r)
				})
			}
			if len(records) != 2 {
				t.Fatal("one of the engines was not asked")
			}
			result, err := views.Compare(records[0], records[1])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d views in %d steps; compared %v", result.Views, result.Steps, result.Asked)
			for _, d := range result.Differences {
				t.Errorf("%s: %s of %s: %s: %s and %s", d.Step, d.Client, d.Port, d.What, d.A, d.B)
			}
		})
	}
}
