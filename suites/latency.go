package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// judgeLatency holds the request times against the links: over a pooled
// connection a request takes one round trip, over a new one three. The first
// requests had to open connections; later ones find as many as there are
// requests at once. A machine that is busy for a moment delays them, so either
// kind is measured again, up to latencyAttempts times; the checks say how
// often.
func (s *scenario) judgeLatency(ctx context.Context, sender *sender, first tally, eps *endpoints) error {
	if err := s.judgeWarm(ctx, sender, first, eps); err != nil {
		return err
	}
	return s.judgeCold(ctx, sender, first, eps)
}

// judgeWarm sends requests that find their connections there. On a small
// machine they delay each other, so they are fewer at once each time.
func (s *scenario) judgeWarm(ctx context.Context, sender *sender, first tally, eps *endpoints) error {
	for attempt := 1; ; attempt++ {
		atOnce := pooledAtOnce[attempt-1]
		s.begin("send %d requests over pooled connections, %d at once", pooledRequests, atOnce)
		replies, err := sender.sendAtOnce(ctx, atOnce, s.spec.Traffic.To, pooledRequests, s.meshTimes().request)
		if err != nil {
			return err
		}
		times := s.warmOf(count(replies, eps.home), first, sender.cluster.name)
		if times.held() || attempt == latencyAttempts {
			for i := range times.checks {
				times.checks[i].Seen += timesMeasured(attempt)
			}
			s.settleTimes(times)
			return nil
		}
	}
}

// judgeCold judges those of the first requests that had to open their
// connection. The connections are there since, so before it measures again the
// caller's pod is replaced: another one has none. Where nothing would replace it,
// or the lab kills no pods, the first measurement counts.
func (s *scenario) judgeCold(ctx context.Context, sender *sender, first tally, eps *endpoints) error {
	killer, kills := s.lab.(lab.PodKiller)
	kills = kills && sender.owned
	cold := coldRequestsOf{}
	for attempt := 1; ; attempt++ {
		cold.add(s.coldOf(first, sender.cluster.name), attempt)
		if cold.held() || attempt == latencyAttempts || !kills {
			s.settleTimes(cold.times())
			return nil
		}
		s.begin("replace pod %s, whose connections are open", sender.pod)
		at := time.Now()
		done, err := killer.KillPod(ctx, lab.PodTarget{Cluster: sender.cluster.name, Namespace: sender.namespace, Name: sender.pod})
		if errors.Is(err, lab.ErrUnsupported) { // or not permitted
			s.settleTimes(cold.times())
			return nil
		}
		if err != nil {
			return err
		}
		s.rec.fault(at, sender.cluster.name+"/"+done.Node, fmt.Sprintf("%s %s", lab.KillPodKind, done.Pod))
		sender.pod = done.Replacement // the scenario goes on with this one, which may be an endpoint
		if err := s.settle(ctx, s.spec.Traffic.To); err != nil {
			return err
		}
		now, err := s.findEndpoints(ctx, s.spec.Traffic.To)
		if err != nil {
			return err
		}
		*eps = *now
		s.begin("send %d requests over new connections", pooledRequests)
		replies, err := sender.send(ctx, s.spec.Traffic.To, pooledRequests, s.meshTimes().request)
		if err != nil {
			return err
		}
		first = count(replies, eps.home)
	}
}

// coldRequestsOf are a cluster's requests over new connections, by its name.
type coldRequestsOf map[string]coldTime

// coldTime is what they took, and what that says of them.
type coldTime struct {
	check   Check
	latency Latency
	told    bool // else the check says why it is none
}

func (t coldTime) held() bool { return t.told && t.check.OK }

// add takes what was measured now for those clusters that had not held. One of
// which there is too little now, or nothing that could be told, keeps what it
// had.
func (m coldRequestsOf) add(now coldRequestsOf, attempt int) {
	for c, t := range now {
		if before, there := m[c]; there && (before.held() || before.told && !t.told) {
			continue
		}
		t.check.Seen += timesMeasured(attempt)
		m[c] = t
	}
}

func (m coldRequestsOf) held() bool {
	for _, t := range m {
		if !t.held() {
			return false
		}
	}
	return true
}

func (m coldRequestsOf) times() requestTimes {
	times := requestTimes{untold: map[string]string{}}
	for _, c := range sortedKeys(m) {
		t := m[c]
		times.latency = append(times.latency, t.latency)
		if t.told {
			times.checks = append(times.checks, t.check)
		} else {
			times.untold[c] = t.check.Seen
		}
	}
	return times
}

// coldOf judges the requests that had to open their connection, where there
// are enough of them and the link is long enough to tell.
func (s *scenario) coldOf(t tally, from string) coldRequestsOf {
	out := coldRequestsOf{}
	for _, c := range sortedKeys(t.took) {
		w := s.linkTo(from, c)
		if w.rtt <= latencySlack {
			continue
		}
		if _, cold := warmAndCold(t.took[c], w.rtt); len(cold) >= coldRequests {
			var r coldTime
			r.check, r.latency, r.told = coldTimes(c, cold, t.took[from], w)
			out[c] = r
		}
	}
	return out
}

// settleTimes puts what was measured into the report.
func (s *scenario) settleTimes(t requestTimes) {
	for _, l := range t.latency {
		s.rec.latency(l)
	}
	for _, c := range sortedKeys(t.untold) {
		s.rec.mark(c, "not judged: "+t.untold[c])
	}
	for _, c := range t.checks {
		s.checkTimed(c.What, c.Expected, c.Seen, c.OK, 0)
	}
}

// coldTimes judges requests that had to open their connection: three round
// trips, not two and not a fourth. Handshakes take the machine time of their
// own, all at once more so; how much, the slowest of the requests show that
// went no further than home in the same burst, as many of them. Where that is
// more than half a round trip, the two can't be told apart, and told is false.
func coldTimes(cluster string, cold, atHome []time.Duration, w way) (check Check, l Latency, told bool) {
	own := median(slowest(atHome, len(cold)))
	want := 3 * w.rtt
	slack := max(3*w.tolerance+2*latencySlack, w.rtt/2)
	least, most := want-slack, want+min(slack+own, w.rtt)
	m := median(cold)
	check = Check{
		What:     "cold request to " + cluster,
		Expected: fmt.Sprintf("three round trips: %v to %v, %v of which it takes at home", least.Round(time.Millisecond), most.Round(time.Millisecond), own.Round(time.Millisecond)),
		Seen:     fmt.Sprintf("median %v of %d", m.Round(100*time.Microsecond), len(cold)),
		OK:       least <= m && m <= most,
	}
	l = Latency{To: cluster, Kind: "cold", Expected: want, Median: m, Max: longest(cold), Count: len(cold)}
	if own > w.rtt/2 {
		check.Seen += fmt.Sprintf("; at home it takes %v, more than half a round trip", own.Round(time.Millisecond))
		return check, l, false
	}
	return check, l, true
}

// slowest are the n longest times, or all where there are fewer.
func slowest(took []time.Duration, n int) []time.Duration {
	s := slices.Sorted(slices.Values(took))
	return s[max(0, len(s)-n):]
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

// requestTimes is what requests took, over pooled connections or over new ones,
// and what that says of them.
type requestTimes struct {
	checks  []Check
	latency []Latency
	untold  map[string]string // by cluster: why its times tell nothing
}

func (p *requestTimes) held() bool {
	return len(p.untold) == 0 && !slices.ContainsFunc(p.checks, func(c Check) bool { return !c.OK })
}

// warmOf judges requests that found their connections open.
func (s *scenario) warmOf(later, first tally, from string) requestTimes {
	p := requestTimes{untold: map[string]string{}}
	for _, c := range sortedKeys(first.took) {
		w := s.linkTo(from, c)
		if w.rtt <= latencySlack { // so near, one round trip and two can't be told apart
			check, l := judgeTimes(c, "warm", later.took[c], w.rtt, w.tolerance+latencySlack)
			p.checks, p.latency = append(p.checks, check), append(p.latency, l)
			continue
		}
		checks, l, told := warmTimes(c, later.took[c], later.took[from], w)
		p.latency = append(p.latency, l)
		if !told {
			p.untold[c] = checks[0].Seen
			continue
		}
		p.checks = append(p.checks, checks...)
	}
	return p
}

// warmTimes judges requests that found their connections open: one round trip,
// and not a second. What they take beside the network is held against those
// that went no further than home in the same burst, as coldTimes does; where
// that is more than half a round trip, told is false.
func warmTimes(cluster string, took, atHome []time.Duration, w way) (checks []Check, l Latency, told bool) {
	own := median(slowest(atHome, len(took)))
	warm, again := warmAndCold(took, w.rtt)
	slack := w.tolerance + latencySlack
	least, most := w.rtt-slack, w.rtt+min(slack+own, w.rtt)
	m := median(warm)
	checks = []Check{{
		What:     "warm request to " + cluster,
		Expected: fmt.Sprintf("one round trip: %v to %v, %v of which it takes at home", least.Round(time.Millisecond), most.Round(time.Millisecond), own.Round(time.Millisecond)),
		Seen:     fmt.Sprintf("median %v of %d", m.Round(100*time.Microsecond), len(warm)),
		OK:       len(warm) > 0 && least <= m && m <= most,
	}, {
		What:     "pooled connections to " + cluster,
		Expected: "most requests take one round trip",
		Seen:     fmt.Sprintf("%d of %d", len(warm), len(took)),
		OK:       len(warm) > 0 && len(warm) >= 2*len(again),
	}}
	l = Latency{To: cluster, Kind: "warm", Expected: w.rtt, Median: m, Max: longest(warm), Count: len(warm)}
	if own > w.rtt/2 {
		checks[0].Seen += fmt.Sprintf("; at home it takes %v, more than half a round trip", own.Round(time.Millisecond))
		return checks, l, false
	}
	return checks, l, true
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
