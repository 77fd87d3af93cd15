package suites

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

// sitePageWithin is how long a page may take to answer again once pods are ready:
// until every ingress knows them. One that is asked meanwhile may try three
// endpoints that are gone, for five seconds each.
const sitePageWithin = 30 * time.Second

// askPage asks the ingress of every node that runs for the scenario's page,
// from the first such node elsewhere, across the WAN.
func (k *site) askPage(ctx context.Context, when string, within time.Duration) bool {
	s, page := k.s, k.s.spec.SiteFailure.Page
	if page == "" {
		return true
	}
	s.begin("ask for %s %s", page, when)
	u, err := url.Parse(page)
	if err != nil {
		return s.check("the page's URL", "a URL", err.Error(), false)
	}
	plan := s.plan.Cluster(k.cluster.name)
	return s.await(ctx, "the page "+page+" "+when, "every running node's ingress answers 200", within, func(ctx context.Context) (string, bool) {
		st, err := s.lab.State(ctx)
		if err != nil {
			return short(err), false
		}
		var running []*sim.Node
		for i := range plan.Nodes {
			if n := findNode(st, plan.Name, plan.Nodes[i].Name); n != nil && n.Running {
				running = append(running, &plan.Nodes[i])
			}
		}
		seen := make([]string, len(running))
		ok := make([]bool, len(running))
		var wg sync.WaitGroup
		for i, n := range running {
			wg.Go(func() {
				from := lab.Place{Cluster: plan.Name, Node: n.Name}
				for _, other := range running {
					if other.Region != n.Region {
						from.Node = other.Name
						break
					}
				}
				code, err := k.getPage(ctx, from, n, u)
				seen[i] = fmt.Sprintf("%s %s", n.Name, code)
				if err != nil {
					seen[i] = n.Name + " " + short(err)
				}
				ok[i] = err == nil && strings.HasPrefix(code, "200")
			})
		}
		wg.Wait()
		all := len(ok) > 0
		for _, one := range ok {
			all = all && one
		}
		return strings.Join(seen, ", "), all
	})
}

// getPage asks one node's ingress once.
func (k *site) getPage(ctx context.Context, from lab.Place, node *sim.Node, page *url.URL) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	port := page.Port()
	if port == "" {
		port = "80"
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return k.s.lab.DialContext(ctx, from, network, net.JoinHostPort(node.WANAddr().String(), port))
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return resp.Status, nil
}
