package views

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	"github.com/atoll-dev/atoll/fixtures/stack/mesh/discovery"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/topologies"
)

const twoNetworks = `apiVersion: atoll.dev/v1alpha1
kind: Topology
metadata: {name: views}
spec:
  clusters:
  - {name: eu, region: eu, network: net-eu}
  - {name: us, region: us, network: net-us}
  wan: {links: [{between: [eu, us], rtt: 40ms}]}
  stack: {mesh: {api: istio, on: [eu, us]}}
`

func TestWords(t *testing.T) {
	topology, err := topologies.Parse("views.yaml", []byte(twoNetworks), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sim.NewPlan(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	pod := plan.Cluster("eu").PodCIDR.Addr().Next()
	gateway := plan.Cluster("us").NodeCIDR.Addr().Next()
	s := &discovery.Snapshot{Services: []discovery.Service{
		{Name: "istiod", Namespace: "istio-system", Ports: []discovery.Port{{Number: 15012}}},
		{Name: "hello", Namespace: "default", Ports: []discovery.Port{{
			Number: 5000, Protocol: discovery.HTTP,
			Endpoints: []discovery.Endpoint{
				{Address: netip.AddrPortFrom(pod, 9898), Weight: 1, MTLS: true, Identities: []string{"b", "a", "b"}},
				{Address: netip.AddrPortFrom(gateway, 15443), Weight: 3},
			},
		}}},
	}}
	got := viewOf(plan, s, false)
	want := []string{"eu: 1 pods, 25.0 %, mutual TLS of a, b", "us: 1 gateways, 75.0 %, plain"}
	if p := got["hello.default:5000"]; len(got) != 1 || !reflect.DeepEqual(p.Endpoints, want) || p.Protocol != "http" {
		t.Errorf("got %+v", got)
	}
	want = []string{"eu: 1 pods, 25.0 %, TLS passed on", "us: 1 gateways, 75.0 %, TLS passed on"}
	if p := viewOf(plan, s, true)["SNI of hello.default:5000"]; !reflect.DeepEqual(p.Endpoints, want) || p.Policy != "" {
		t.Errorf("of a gateway: %+v", p)
	}
}

func TestCompare(t *testing.T) {
	record := func(engine, share string) *Record {
		return &Record{Engine: engine, Steps: []Step{{What: "as it is", Settled: true, Views: map[string]View{
			"eu/sleep": {"hello.default:5000": {Protocol: "http", Endpoints: []string{share}}},
		}}}}
	}
	a := record("a", "eu: 3 pods")
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	read := &Record{}
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	r, err := Compare(a, read)
	if err != nil || !r.Agree() || r.Views != 1 || r.Asked["endpoints"] != 1 {
		t.Errorf("the same: %+v, %v", r, err)
	}
	r, err = Compare(a, record("b", "eu: 2 pods"))
	if err != nil || r.Agree() || len(r.Differences) != 1 || r.Differences[0].What != "endpoints" {
		t.Errorf("other endpoints: %+v, %v", r, err)
	}
	lacks := record("b", "")
	lacks.Steps[0].Views = map[string]View{}
	if _, err := Compare(lacks, lacks); err == nil {
		t.Error("nothing was compared, and that agrees")
	}
	if _, err := Compare(a, &Record{Engine: "b"}); err == nil {
		t.Error("other steps are compared")
	}
}

func TestSameClients(t *testing.T) {
	all := map[string]View{"eu/sleep": {}, "us/sleep": {}, "us/hello": {}}
	some := map[string]View{"eu/sleep": {}}
	for _, c := range []struct {
		now     map[string]View
		without string
		want    bool
	}{
		{all, "", true}, {some, "", false}, {some, "us/", true}, {all, "us/", false},
	} {
		if got := sameClients(all, c.now, c.without); got != c.want {
			t.Errorf("%v without %q: %v", c.now, c.without, got)
		}
	}
}
