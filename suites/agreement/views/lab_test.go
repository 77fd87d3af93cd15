package views_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/embedded/embeddedtest"
	"github.com/atoll-dev/atoll/fixtures/stack/istio"
	"github.com/atoll-dev/atoll/suites/agreement/views"
	"github.com/atoll-dev/atoll/topologies"
)

// layouts are the meshes that both engines are asked about.
var layouts = []struct{ name, networks, mesh string }{
	{"two networks", "net-eu net-us", "on: [eu, us]"},
	{"one network", "net net", "layout: flat, on: [eu, us]"},
	{"primary and remote", "net-eu net-us", "layout: primary-remote, primary: eu, on: [eu, us]"},
	{"three clusters, a gateway into the mesh", "net-eu net-us net-eu", "ingress: [eu], on: [eu, us, ap]"},
}

// topology is a mesh of clusters named eu, us and ap, each 40 ms from the others.
func topology(engine topologies.Engine, networks, mesh string) string {
	names := []string{"eu", "us", "ap"}[:len(strings.Fields(networks))]
	var b strings.Builder
	b.WriteString("apiVersion: atoll.dev/v1alpha1\nkind: Topology\nmetadata: {name: views}\nspec:\n  timers: short\n  clusters:\n")
	for i, network := range strings.Fields(networks) {
		fmt.Fprintf(&b, "  - {name: %[1]s, region: %[1]s, network: %[2]s}\n", names[i], network)
	}
	b.WriteString("  wan:\n    links:\n")
	for i, from := range names {
		for _, to := range names[i+1:] {
			fmt.Fprintf(&b, "    - {between: [%s, %s], rtt: 40ms}\n", from, to)
		}
	}
	fmt.Fprintf(&b, "  stack:\n    mesh: {api: istio, engine: %s, %s}\n  workloads:\n", engine, mesh)
	for _, workload := range []string{"hello", "sleep"} {
		fmt.Fprintf(&b, "  - {name: %s, via: direct, on: [%s]}\n", workload, strings.Join(names, ", "))
	}
	return b.String()
}

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
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			var records []*views.Record
			for _, engine := range []topologies.Engine{topologies.EngineBuiltin, topologies.EngineBinaries} {
				t.Run(string(engine), func(t *testing.T) {
					ctx, b := embeddedtest.Up(t, topology(engine, layout.networks, layout.mesh), 8*time.Minute)
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
