package suites

import (
	"context"
	"encoding/json"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

const (
	// defaultRequests are sent when the file gives no number.
	defaultRequests = 100
	// pooledRequests are sent once the connections are there, and as many over
	// new ones where the first took too long; latencyAttempts times in all.
	pooledRequests  = 40
	latencyAttempts = len(pooledAtOnce)
	// coldRequests are the least that have a median worth judging.
	coldRequests = 3
	// latencySlack is what a request may take beside the network on a busy
	// machine: name lookup, two proxies, the application.
	latencySlack = 20 * time.Millisecond
)

// pooledAtOnce is how many of the pooled requests are under way at once, by
// attempt. One alone waits for no other.
var pooledAtOnce = [...]int{parallel, 4, 1}

// meshTimes are how long to wait for what the mesh does in its own time.
type meshTimes struct {
	request  time.Duration // ends one request: longer than a try that gets no answer, and the next
	failover time.Duration // to avoid a cluster that has gone, and to find it again
}

// meshTimes depend on the timers: a mesh with Istio's own gives a connection
// 10 s and a try 15 s, and tries what it gave up again after 30 s, and later
// each time.
func (s *scenario) meshTimes() meshTimes {
	if s.plan.Timers.Profile == topologies.TimersShort {
		return meshTimes{request: 5 * time.Second, failover: 20 * time.Second}
	}
	return meshTimes{request: 40 * time.Second, failover: 3 * time.Minute}
}

// traffic sends requests from a workload and looks at who answers, in what
// proportion and how fast; then, if the file says so, with a cluster cut off.
func (s *scenario) traffic(ctx context.Context) error {
	sc := s.spec.Traffic
	sender, err := s.findSender(ctx, sc.From)
	if err != nil {
		return err
	}
	if answers, ok := s.predict.Origins[sender.cluster.name]; ok {
		s.predict.Answers = answers // what is predicted for a caller that is there
	}
	s.begin("read the endpoints of %s", sc.To)
	if err := s.settle(ctx, sc.To); err != nil {
		return err
	}
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
	s.begin("send %d requests from %s/%s", n, sender.cluster.name, workloadOf(sc.From))
	first, eps, err := s.sendInProportion(ctx, sender, n, eps, expected)
	if err != nil {
		return err
	}
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

// sendInProportion sends the requests and judges who answered. A mesh learns
// of new endpoints, and trusts those that failed again, in its own time, so
// what is out of proportion is measured again for as long as a failover may
// take; the checks say how often.
func (s *scenario) sendInProportion(ctx context.Context, sender *sender, n int, eps *endpoints, expected []string) (tally, *endpoints, error) {
	start := time.Now()
	for attempt := 1; ; attempt++ {
		replies, err := sender.send(ctx, s.spec.Traffic.To, n, s.patience(s.meshTimes().request))
		if err != nil {
			return tally{}, eps, err
		}
		t := count(replies, eps.home)
		checks := append(answerChecks(t, n, expected), proportionCheck(t, eps, expected))
		if s.spec.Traffic.Expect.Regions {
			checks = append(checks, s.regionCheck(replies, eps.home))
		}
		held := !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK })
		if !held && time.Since(start) < s.meshTimes().failover && !s.opts.Invert {
			s.event(lab.Progress, fmt.Sprintf("once more: %s of endpoints %s", t, division(eps.ready)))
			if eps, err = s.findEndpoints(ctx, s.spec.Traffic.To); err != nil {
				return t, eps, err
			}
			continue
		}
		for _, c := range checks {
			s.checkTimed(c.What, c.Expected, c.Seen+timesMeasured(attempt), c.OK, time.Since(start))
		}
		s.judgePlannedShares(sharesOf(eps, expected))
		return t, eps, nil
	}
}

func timesMeasured(attempt int) string {
	if attempt == 1 {
		return ""
	}
	return fmt.Sprintf(" (measured %d times)", attempt)
}

// answerChecks judge who answered: all that are expected, and nobody else.
func answerChecks(t tally, n int, expected []string) []Check {
	checks := []Check{{What: "requests answered", Expected: fmt.Sprintf("%d of %d", n, n), Seen: t.String(), OK: t.failed == 0}}
	for _, c := range expected {
		checks = append(checks, Check{What: "answers from " + c, Expected: "some", Seen: fmt.Sprint(t.byCluster[c]), OK: t.byCluster[c] > 0})
	}
	for _, c := range sortedKeys(t.byCluster) {
		if !slices.Contains(expected, c) {
			checks = append(checks, Check{What: "answers from " + c, Expected: "none", Seen: fmt.Sprint(t.byCluster[c])})
		}
	}
	return checks
}

// sharesOf are the ready endpoints' shares per cluster.
func sharesOf(eps *endpoints, expected []string) map[string]float64 {
	total := 0
	for _, c := range expected {
		total += eps.ready[c]
	}
	shares := map[string]float64{}
	for _, c := range expected {
		shares[c] = float64(eps.ready[c]) / float64(total)
	}
	return shares
}

// proportionCheck holds the answers against the ready endpoints: Pearson's
// chi-square may not exceed what chance exceeds in one run of a hundred. A
// weighted round robin, which leaves little to chance, stays far below.
func proportionCheck(t tally, eps *endpoints, expected []string) Check {
	shares := sharesOf(eps, expected)
	x2, freedom := chiSquare(t.byCluster, shares)
	limit := chiSquareLimit(freedom)
	return Check{
		What:     "in proportion to ready endpoints (" + division(eps.ready) + ")",
		Expected: fmt.Sprintf("%s; χ² at most %.1f (99 %%)", sharesText(shares), limit),
		Seen:     fmt.Sprintf("%s; χ² %.1f", division(t.byCluster), x2), OK: x2 <= limit,
	}
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

// judgeRegions asks each answering pod for its environment, where the
// application offers it: REGION has to be that of the pod's own cluster.
func (s *scenario) judgeRegions(ctx context.Context, sender *sender, url string, eps *endpoints) error {
	u, err := neturl.Parse(url)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return nil
	}
	s.begin("ask for REGION")
	u.Path = "/env"
	replies, err := sender.send(ctx, u.String(), min(30, 2*len(eps.home)), s.meshTimes().request)
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
	ok := s.await(ctx, "the others answer while "+gone+" is cut off", "10 of 10, none from "+gone, s.meshTimes().failover, func(ctx context.Context) (string, bool) {
		replies, err := sender.send(ctx, url, parallel, s.meshTimes().request)
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
	replies, err := sender.send(ctx, url, sample, s.meshTimes().request)
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
	ok = s.await(ctx, gone+" answers again", "some, and no failure", s.meshTimes().failover, func(ctx context.Context) (string, bool) {
		replies, err := sender.send(ctx, url, parallel, s.meshTimes().request)
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
