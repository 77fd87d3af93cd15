package views

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/stack/mesh/discovery"
	"github.com/atoll-dev/atoll/sim"
)

// gatewayPort is the port of gateways between networks.
const gatewayPort = 15443

// systems are the namespaces whose services are the engine's business, or the
// cluster's.
var systems = []string{"kube-system", "istio-system", "mcs-system", "karmada-system", "karmada-cluster"}

// viewOf puts a proxy's configuration into words. Of a gateway, who listens is
// not compared, nor with what policy: what counts is where it passes TLS on to
// by its SNI.
func viewOf(plan *sim.Plan, s *discovery.Snapshot, gateway bool) View {
	out := View{}
	for _, service := range s.Services {
		if slices.Contains(systems, service.Namespace) || service.Name == "kubernetes" {
			continue
		}
		for i := range service.Ports {
			p := &service.Ports[i]
			if gateway {
				name := fmt.Sprintf("SNI of %s.%s:%d", service.Name, service.Namespace, p.Number)
				out[name] = Port{Endpoints: endpointsOf(plan, p.Endpoints, gateway)}
				continue
			}
			out[fmt.Sprintf("%s.%s:%d", service.Name, service.Namespace, p.Number)] = Port{
				Protocol: string(p.Protocol), Endpoints: endpointsOf(plan, p.Endpoints, gateway), Policy: policyOf(&p.Policy),
			}
		}
	}
	return out
}

// way is what endpoints have in common that differ in their address only.
type way struct {
	cluster string
	gateway bool
	tls     string
}

// endpointsOf puts endpoints into words. TLS that is passed on is the client's.
func endpointsOf(plan *sim.Plan, all []discovery.Endpoint, passed bool) []string {
	count, weight, total := map[way]int{}, map[way]float64{}, 0.0
	for _, e := range all {
		w := way{cluster: clusterOf(plan, e.Address.Addr()), gateway: e.Address.Port() == gatewayPort, tls: "plain"}
		switch {
		case passed:
			w.tls = "TLS passed on"
		case e.MTLS:
			names := slices.Clone(e.Identities)
			slices.Sort(names)
			w.tls = "mutual TLS of " + strings.Join(slices.Compact(names), ", ")
		}
		count[w]++
		weight[w] += float64(e.Weight)
		total += float64(e.Weight)
	}
	out := []string{}
	for w, n := range count {
		what := "pods"
		if w.gateway {
			what = "gateways"
		}
		share := 0.0
		if total > 0 {
			share = 100 * weight[w] / total
		}
		out = append(out, fmt.Sprintf("%s: %d %s, %.1f %%, %s", w.cluster, n, what, share, w.tls))
	}
	slices.Sort(out)
	return out
}

// clusterOf is where an address of the plan is.
func clusterOf(plan *sim.Plan, a netip.Addr) string {
	for _, c := range plan.Clusters {
		if c.PodCIDR.Contains(a) || c.NodeCIDR.Contains(a) {
			return c.Name
		}
	}
	return a.String()
}

func policyOf(p *discovery.Policy) string {
	words := []string{
		"connect " + time.Duration(p.ConnectTimeout).String(), strings.ToLower(string(p.Balance)),
		fmt.Sprintf("%d retries of %s on %s", p.Retries.Attempts, time.Duration(p.Retries.PerTryTimeout), sorted(p.Retries.On)),
	}
	if o := p.Outlier; o != nil {
		words = append(words, fmt.Sprintf("ejected for %s after %d 5xx or %d of the gateway, at most %d %%",
			time.Duration(o.BaseEjection), o.Consecutive5xx, o.ConsecutiveGateway, o.MaxEjectionPercent))
	}
	if p.NoTLS {
		words = append(words, "no TLS")
	}
	return strings.Join(words, "; ")
}

func sorted(list string) string {
	all := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(all)
	return strings.Join(all, ",")
}
