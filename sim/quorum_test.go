package sim

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/topologies"
)

func TestQuorumPrediction(t *testing.T) {
	const head = `{apiVersion: atoll.dev/v1alpha1, kind: Topology, metadata: {name: q}, spec: {timers: short, `
	const three = head + `clusters: [{name: c, region: a, nodes: [
		{name: a1, role: control-plane}, {name: b1, role: control-plane, region: b}, {name: d1, role: control-plane, region: d}, {name: w, role: worker}]}],
		wan: {links: [{between: [a, b], rtt: 10ms}, {between: [a, d], rtt: 60ms}, {from: b, to: d, latency: 5ms}, {from: d, to: b, latency: 25ms}]},
		scenarios: [{quorum: {cluster: c, region: d}}]}}`
	const five = head + `clusters: [{name: c, region: a, nodes: [
		{name: a1, role: control-plane}, {name: a2, role: control-plane}, {name: b1, role: control-plane, region: b}, {name: d1, role: control-plane, region: d},
		{name: e1, role: control-plane, region: e}]}],
		wan: {links: [{between: [a, b], rtt: 10ms}, {between: [a, d], rtt: 60ms}, {between: [a, e], rtt: 100ms}, {between: [b, d], rtt: 20ms}, {between: [b, e], rtt: 90ms}, {between: [d, e], rtt: 50ms}]},
		scenarios: [{quorum: {cluster: c, region: e}}]}}`
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, c := range []struct {
		name, text      string
		writes, without map[string]time.Duration
		stop            []string
		etcd            EtcdTimers
	}{
		{"three", three,
			// From the API server on a1 to the leader, and from there to the nearest.
			map[string]time.Duration{"a1": ms(10), "b1": ms(10 + 10), "d1": ms(60 + 30)},
			map[string]time.Duration{"a1": ms(10), "b1": ms(10 + 10)},
			[]string{"b1"}, EtcdTimers{ms(60), ms(600)}},
		{"five", five,
			// Two more are needed: of a1's, a2 in its own region and b1.
			map[string]time.Duration{"a1": ms(10), "a2": ms(10), "b1": ms(10 + 10), "d1": ms(60 + 50), "e1": ms(100 + 90)},
			map[string]time.Duration{"a1": ms(10), "a2": ms(10), "b1": ms(10 + 10), "d1": ms(60 + 60)},
			[]string{"d1", "b1"}, EtcdTimers{ms(100), ms(1000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			topology, err := topologies.Parse("q.yaml", []byte(c.text), nil)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := NewPlan(topology, 1)
			if err != nil {
				t.Fatal(err)
			}
			p := plan.Prediction("quorum")
			if !maps.Equal(p.Writes, c.writes) {
				t.Errorf("writes %v, want %v", p.Writes, c.writes)
			}
			if !maps.Equal(p.WritesWithout, c.without) {
				t.Errorf("writes without the region %v, want %v", p.WritesWithout, c.without)
			}
			if !slices.Equal(p.Stop, c.stop) {
				t.Errorf("to stop: %v, want %v", p.Stop, c.stop)
			}
			if got := plan.EtcdTimers(plan.Cluster("c")); got != c.etcd {
				t.Errorf("timers %v, want %v", got, c.etcd)
			}
			if got := NewTimers(topologies.TimersDefault, "v1.36.3").Etcd(time.Second); got != (EtcdTimers{ms(100), ms(1000)}) {
				t.Errorf("etcd's own timers are %v", got)
			}
		})
	}
}
