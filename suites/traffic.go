package suites

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	neturl "net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

const (
	// defaultRequests are sent when the file gives no number.
	defaultRequests = 100
	// pooledRequests are sent once the connections are there, and again where
	// they took too long, latencyAttempts times in all.
	pooledRequests  = 40
	latencyAttempts = 3
	// requestLimit ends one request.
	requestLimit = 5 * time.Second
	// failoverWithin bounds how long the mesh may take to avoid a cluster
	// that has gone, and to find it again.
	failoverWithin = 20 * time.Second
	// latencySlack is what a request may take beside the network on a busy
	// machine: name lookup, two proxies, the application.
	latencySlack = 20 * time.Millisecond
)

// endpoints are who may answer.
type endpoints struct {
	ready map[string]int    // per cluster
	home  map[string]string // the cluster of each pod
}

// traffic sends requests from a workload and looks at who answers, in what
// proportion and how fast; then, if the file says so, with a cluster cut off.
func (s *scenario) traffic(ctx context.Context) error {
	sc := s.spec.Traffic
	sender, err := s.findSender(ctx, sc.From)
	if err != nil {
		return err
	}
	s.begin("read the endpoints of %s", sc.To)
	eps, err := s.findEndpoints(ctx, sc.To)
	if err != nil {
		return err
	}
	expected := s.expectedClusters(eps)
	for _, c := range expected {
		if eps.ready[c] == 0 {
			s.check("ready endpoints in "+c, "at least 1", "0", false)
		}
	}
	if s.rec.failures() != "" {
		return nil
	}
	cross, err := s.claimCrossing(ctx, from(sender.cluster.name, expected...)...)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		i := slices.IndexFunc(expected, func(c string) bool { return c != sender.cluster.name })
		if i < 0 {
			return fmt.Errorf("%w: inverting needs a cluster other than the sender's to answer", lab.ErrUnsupported)
		}
		if err := s.breakWorld(ctx, lab.Fault{Kind: lab.Partition, Between: []string{expected[i]}}); err != nil {
			return err
		}
	}

	n := sc.Requests
	if n == 0 {
		n = defaultRequests
	}
	s.begin("send %d requests from %s", n, sc.From)
	replies, err := sender.send(ctx, sc.To, n, s.patience(requestLimit))
	if err != nil {
		return err
	}
	first := count(replies, eps.home)
	s.judgeAnswers(first, n, expected)
	s.judgeProportion(first, eps, expected)
	if s.opts.Invert {
		return nil
	}
	if err := s.judgeLatency(ctx, sender, first, eps); err != nil {
		return err
	}
	if err := cross.verify(ctx, s); err != nil {
		return err
	}
	if err := s.judgeRegions(ctx, sender, sc.To, eps); err != nil {
		return err
	}
	if sc.Partition != "" {
		return s.failover(ctx, sender, sc.To, eps, expected)
	}
	return nil
}

// findSender finds a ready pod of CLUSTER/WORKLOAD.
func (s *scenario) findSender(ctx context.Context, place string) (*sender, error) {
	name, workload, ok := strings.Cut(place, "/")
	if !ok {
		return nil, invalid("%q is not CLUSTER/WORKLOAD", place)
	}
	c, err := s.clients.cluster(name)
	if err != nil {
		return nil, err
	}
	var pod *corev1.Pod
	s.touch(name, deployments, metav1.NamespaceDefault, workload)
	_, err = until(ctx, "a ready pod of "+place, 10*time.Second, func(ctx context.Context) (string, bool) {
		p, err := lab.ReadyPod(ctx, c.kube, "", workload)
		if err != nil {
			return short(err), false
		}
		pod = p
		return p.Name, true
	})
	if err != nil {
		return nil, err
	}
	return &sender{cluster: c, namespace: pod.Namespace, pod: pod.Name, container: pod.Spec.Containers[0].Name}, nil
}

// findEndpoints reads the service's endpoints from every cluster's own API.
func (s *scenario) findEndpoints(ctx context.Context, url string) (*endpoints, error) {
	service, namespace, err := serviceOf(url)
	if err != nil {
		return nil, err
	}
	eps := &endpoints{ready: map[string]int{}, home: map[string]string{}}
	for _, cl := range s.plan.Clusters {
		c, err := s.clients.cluster(cl.Name)
		if err != nil {
			return nil, err
		}
		list, err := c.kube.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + service,
		})
		if err != nil {
			return nil, fmt.Errorf("%s: endpoints of %s: %w", cl.Name, service, err)
		}
		for _, slice := range list.Items {
			s.touch(cl.Name, endpointSlices, namespace, slice.Name)
			for _, e := range slice.Endpoints {
				if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
					continue
				}
				eps.home[e.TargetRef.Name] = cl.Name
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					eps.ready[cl.Name]++
				}
			}
		}
	}
	return eps, nil
}

// serviceOf reads the Service out of a URL: "http://hello:5000" is hello in
// the default namespace, "http://hello.shop.svc.cluster.local" is in shop.
func serviceOf(url string) (name, namespace string, err error) {
	u, err := neturl.Parse(url)
	if err != nil {
		return "", "", invalid("%v", err)
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return "", "", invalid("%s does not name a Service", url)
	}
	parts := strings.Split(host, ".")
	if len(parts) == 1 {
		return parts[0], metav1.NamespaceDefault, nil
	}
	return parts[0], parts[1], nil
}

// expectedClusters are the file's, else the plan's, else all with endpoints.
func (s *scenario) expectedClusters(eps *endpoints) []string {
	if c := s.spec.Traffic.Expect.Clusters; len(c) > 0 {
		return c
	}
	if len(s.predict.Shares) > 0 {
		return sortedKeys(s.predict.Shares)
	}
	if len(s.predict.Latency) > 0 { // every cluster that the caller's is told of
		return slices.DeleteFunc(sortedKeys(s.predict.Latency), func(c string) bool { return eps.ready[c] == 0 })
	}
	return sortedKeys(eps.ready)
}

func (s *scenario) judgeAnswers(t tally, n int, expected []string) {
	s.check("requests answered", fmt.Sprintf("%d of %d", n, n), t.String(), t.failed == 0)
	for _, c := range expected {
		s.check("answers from "+c, "some", fmt.Sprint(t.byCluster[c]), t.byCluster[c] > 0)
	}
	for _, c := range sortedKeys(t.byCluster) {
		if !slices.Contains(expected, c) {
			s.check("answers from "+c, "none", fmt.Sprint(t.byCluster[c]), false)
		}
	}
}

// judgeProportion holds the answers against the ready endpoints: Pearson's
// chi-square may not exceed what chance exceeds in one run of a hundred. A
// weighted round robin, which leaves little to chance, stays far below.
func (s *scenario) judgeProportion(t tally, eps *endpoints, expected []string) {
	total := 0
	for _, c := range expected {
		total += eps.ready[c]
	}
	shares := map[string]float64{}
	for _, c := range expected {
		shares[c] = float64(eps.ready[c]) / float64(total)
	}
	x2, freedom := chiSquare(t.byCluster, shares)
	limit := chiSquareLimit(freedom)
	s.check("in proportion to ready endpoints ("+division(eps.ready)+")",
		fmt.Sprintf("%s; χ² at most %.1f (99 %%)", sharesText(shares), limit),
		fmt.Sprintf("%s; χ² %.1f", division(t.byCluster), x2), x2 <= limit)
	s.judgePlannedShares(shares)
}

// judgePlannedShares holds the endpoints against the plan: one of the
// divisions that it thought possible has to be in force. The plan goes through
// the file from its beginning, so this is a check only where this run did too;
// else it stands on the timeline.
func (s *scenario) judgePlannedShares(shares map[string]float64) {
	possible := s.predict.Possible
	if len(s.predict.Shares) > 0 {
		possible = []map[string]float64{s.predict.Shares}
	}
	if len(possible) == 0 {
		return
	}
	var texts []string
	for _, p := range possible {
		texts = append(texts, sharesText(p))
	}
	want, seen := strings.Join(texts, " or "), sharesText(shares)
	if !s.placedInThisRun() {
		s.rec.mark("endpoints", fmt.Sprintf("%s; after all scenarios before this one: %s", seen, want))
		return
	}
	s.check("endpoints as planned", want, seen, slices.Contains(texts, seen))
}

// placedInThisRun tells whether there are placement scenarios before this one
// in the file, and all of them have just passed.
func (s *scenario) placedInThisRun() bool {
	placed := false
	for i := range s.plan.Topology.Spec.Scenarios {
		sc := &s.plan.Topology.Spec.Scenarios[i]
		if sc == s.spec {
			break
		}
		if sc.Placement == nil {
			continue
		}
		if placed = s.passed(sc.Name); !placed {
			return false
		}
	}
	return placed
}

func sharesText(shares map[string]float64) string {
	var parts []string
	for _, c := range sortedKeys(shares) {
		parts = append(parts, fmt.Sprintf("%s %.1f%%", c, 100*shares[c]))
	}
	return strings.Join(parts, ", ")
}

// judgeLatency holds the request times against the links: over a pooled
// connection a request takes one round trip, over a new one three. The first
// requests had to open connections; later ones find as many as there are
// requests at once. A machine that is busy for a moment delays them, so they
// are sent again, up to latencyAttempts times; the checks say how often.
func (s *scenario) judgeLatency(ctx context.Context, sender *sender, first tally, eps *endpoints) error {
	var checks []Check
	for attempt := 1; attempt <= latencyAttempts; attempt++ {
		s.begin("send %d requests over pooled connections", pooledRequests)
		replies, err := sender.send(ctx, s.spec.Traffic.To, pooledRequests, requestLimit)
		if err != nil {
			return err
		}
		var latency []Latency
		checks, latency = s.pooledTimes(count(replies, eps.home), first, sender.cluster.name)
		held := !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK })
		if held || attempt == latencyAttempts {
			for _, l := range latency {
				s.rec.latency(l)
			}
			for i := range checks {
				if attempt > 1 {
					checks[i].Seen += fmt.Sprintf(" (measured %d times)", attempt)
				}
			}
			break
		}
	}
	for _, c := range checks {
		s.checkTimed(c.What, c.Expected, c.Seen, c.OK, 0)
	}
	for _, c := range sortedKeys(first.took) {
		if w := s.linkTo(sender.cluster.name, c); w.rtt > latencySlack {
			// Handshakes take time of their own, all at once more so: it has
			// to be nearer to three round trips than to two or four.
			_, cold := warmAndCold(first.took[c], w.rtt)
			if len(cold) > 0 {
				check, latency := judgeTimes(c, "cold", cold, 3*w.rtt, max(3*w.tolerance+2*latencySlack, w.rtt/2))
				s.checkTimed(check.What, check.Expected, check.Seen, check.OK, 0)
				s.rec.latency(latency)
			}
		}
	}
	return nil
}

// linkTo is the way from the sender's cluster to one that answers. Within a
// cluster there is none, and no time to pay.
func (s *scenario) linkTo(from, to string) way {
	if from == to {
		return way{}
	}
	w, _ := s.way(from, to)
	if p, ok := s.predict.Latency[to]; ok {
		w.rtt = p.Warm
	}
	return w
}

// pooledTimes judges requests that found their connections open.
func (s *scenario) pooledTimes(later, first tally, from string) (checks []Check, latency []Latency) {
	for _, c := range sortedKeys(first.took) {
		w := s.linkTo(from, c)
		warm, again := later.took[c], []time.Duration(nil)
		if w.rtt > latencySlack { // nearer, the two can't be told apart
			warm, again = warmAndCold(later.took[c], w.rtt)
		}
		check, l := judgeTimes(c, "warm", warm, w.rtt, w.tolerance+latencySlack)
		checks, latency = append(checks, check), append(latency, l)
		if w.rtt > latencySlack {
			checks = append(checks, Check{
				What: "pooled connections to " + c, Expected: "most requests take one round trip",
				Seen: fmt.Sprintf("%d of %d", len(warm), len(warm)+len(again)), OK: len(warm) > 0 && len(warm) >= 2*len(again),
			})
		}
	}
	return checks, latency
}

// judgeTimes holds the median of request times against what is expected. No
// request at all is not as expected.
func judgeTimes(cluster, kind string, took []time.Duration, want, tolerance time.Duration) (Check, Latency) {
	m := median(took)
	return Check{
		What:     fmt.Sprintf("%s request to %s", kind, cluster),
		Expected: fmt.Sprintf("%v ± %v", want, tolerance.Round(time.Millisecond)),
		Seen:     fmt.Sprintf("median %v of %d", m.Round(100*time.Microsecond), len(took)),
		OK:       len(took) > 0 && (m-want).Abs() <= tolerance,
	}, Latency{To: cluster, Kind: kind, Expected: want, Median: m, Max: longest(took), Count: len(took)}
}

// judgeRegions asks each answering pod for its environment, where the
// application offers it: REGION has to be that of the pod's own cluster.
func (s *scenario) judgeRegions(ctx context.Context, sender *sender, url string, eps *endpoints) error {
	u, err := neturl.Parse(url)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return nil
	}
	s.begin("ask for REGION")
	u.Path = "/env"
	replies, err := sender.send(ctx, u.String(), min(30, 2*len(eps.home)), requestLimit)
	if err != nil {
		return err
	}
	seen := map[string]string{}
	for _, r := range replies {
		env := parseEnv(r.body)
		if c, ok := eps.home[env["HOSTNAME"]]; ok && env["REGION"] != "" {
			seen[c] = env["REGION"]
		}
	}
	for _, c := range sortedKeys(seen) {
		want := s.plan.Cluster(c).Region
		s.check("REGION in "+c, want, seen[c], seen[c] == want)
	}
	return nil
}

// parseEnv reads podinfo's /env: a JSON list of KEY=VALUE.
func parseEnv(body string) map[string]string {
	var list []string
	env := map[string]string{}
	if json.Unmarshal([]byte(body), &list) != nil {
		return env
	}
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

// failover cuts a cluster off: the others must answer in its place, and it
// must answer again once healed.
func (s *scenario) failover(ctx context.Context, sender *sender, url string, eps *endpoints, expected []string) error {
	gone := s.spec.Traffic.Partition
	fault := lab.Fault{Kind: lab.Partition, Between: []string{gone}}
	s.begin("cut %s off", gone)
	if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	ok := s.await(ctx, "the others answer while "+gone+" is cut off", "10 of 10, none from "+gone, failoverWithin, func(ctx context.Context) (string, bool) {
		replies, err := sender.send(ctx, url, parallel, requestLimit)
		if err != nil {
			return short(err), false
		}
		t := count(replies, eps.home)
		return t.String(), t.failed == 0 && t.byCluster[gone] == 0
	})
	if !ok {
		return nil
	}
	s.rec.mark(gone, "the others answer in its place")

	const sample = 40
	replies, err := sender.send(ctx, url, sample, requestLimit)
	if err != nil {
		return err
	}
	t := count(replies, eps.home)
	s.check("requests answered while "+gone+" is cut off", fmt.Sprintf("at least %d of %d", sample*95/100, sample),
		t.String(), sample-t.failed >= sample*95/100)
	for _, c := range expected {
		if c == gone {
			s.check("answers from "+c+" while it is cut off", "none", fmt.Sprint(t.byCluster[c]), t.byCluster[c] == 0)
		} else {
			s.check("answers from "+c+" while "+gone+" is cut off", "some", fmt.Sprint(t.byCluster[c]), t.byCluster[c] > 0)
		}
	}

	s.begin("heal %s", gone)
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	ok = s.await(ctx, gone+" answers again", "some, and no failure", failoverWithin, func(ctx context.Context) (string, bool) {
		replies, err := sender.send(ctx, url, parallel, requestLimit)
		if err != nil {
			return short(err), false
		}
		t := count(replies, eps.home)
		return t.String(), t.byCluster[gone] > 0 && t.failed == 0
	})
	if ok {
		s.rec.mark(gone, "answers again")
	}
	return nil
}
