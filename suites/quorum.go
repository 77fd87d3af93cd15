package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

// quorum is a cluster's datastore while its voters are stopped.
type quorum struct {
	s       *scenario
	cluster *cluster
	ask     lab.Electorate
	plan    *sim.Cluster
	written int // names of the objects written
}

const (
	// quorumWrites are as many as the median of what a write takes is of.
	quorumWrites = 15
	// quorumWriteLimit is how long one write is waited for while the voters may
	// have no leader: asked anew, it is answered sooner than by an API server
	// that waits for its datastore.
	quorumWriteLimit = 500 * time.Millisecond
	// quorumSilence is for how long no write may be answered without a majority.
	quorumSilence = 3 * time.Second
	// quorumBack bounds how long the cluster may take to be whole again.
	quorumBack = 45 * time.Second

	quorumLabel = "atoll.dev/quorum"
)

// quorum measures writes with all voters of a cluster's datastore, without
// those of a region, and without a majority, and has them come back.
func (s *scenario) quorum(ctx context.Context) error {
	sc := s.spec.Quorum
	q, err := s.findQuorum(ctx)
	if err != nil {
		return err
	}
	if !q.allVote(ctx, "the voters of "+sc.Cluster, s.patience(30*time.Second)) {
		return nil
	}
	if err := q.measure(ctx, "with every voter", s.predict.Writes); err != nil {
		return err
	}

	s.begin("stop %s", sc.Region)
	var site []lab.Fault
	for _, n := range q.plan.In(sc.Region) {
		site = append(site, lab.Fault{Kind: lab.StopNode, Cluster: sc.Cluster, Node: n.Name})
	}
	lost := time.Now()
	for i, f := range site {
		at, err := s.inject(ctx, f)
		if err != nil {
			return err
		}
		if i == 0 {
			lost = at
		}
	}
	if !q.answered(ctx, "a write is answered without "+sc.Region, lost, s.predict.WritesAgain) {
		return nil
	}
	s.rec.mark(sc.Cluster, "writes go on")
	if err := q.measure(ctx, "without "+sc.Region, s.predict.WritesWithout); err != nil {
		return err
	}
	if len(s.predict.Stop) == 0 {
		return invalid("the plan names no voter whose loss would end the majority of %s", sc.Cluster)
	}
	ok, err := q.loseMajority(ctx)
	if !ok || err != nil {
		return err
	}
	first := s.predict.Stop[0]
	s.begin("start %s again", first)
	healed, err := s.heal(ctx, q.stop(first))
	if err != nil {
		return err
	}
	if !q.answered(ctx, "a write is answered with "+first+" again", healed, s.predict.QuorumAgain) {
		return nil
	}
	s.rec.mark(sc.Cluster, "a majority again")
	return q.whole(ctx, site)
}

// findQuorum looks up what the scenario is about.
func (s *scenario) findQuorum(ctx context.Context) (*quorum, error) {
	name := s.spec.Quorum.Cluster
	ask, ok := s.lab.(lab.Electorate)
	if !ok {
		return nil, fmt.Errorf("the voters of %s: %w", name, lab.ErrUnsupported)
	}
	if _, err := ask.Voters(ctx, name); err != nil {
		return nil, err
	}
	c, err := s.clients.cluster(name)
	if err != nil {
		return nil, err
	}
	q := &quorum{s: s, cluster: c, ask: ask, plan: s.plan.Cluster(name)}
	s.cleanup("delete what was written into "+name, func(ctx context.Context) error {
		return c.kube.CoreV1().ConfigMaps(metav1.NamespaceDefault).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: quorumLabel})
	})
	return q, nil
}

func (q *quorum) stop(node string) lab.Fault {
	return lab.Fault{Kind: lab.StopNode, Cluster: q.cluster.name, Node: node}
}

// voters tells who answers and who leads.
func (q *quorum) voters(ctx context.Context) (text, leader string, answering int) {
	voters, err := q.ask.Voters(ctx, q.cluster.name)
	if err != nil {
		return err.Error(), "", 0
	}
	var names []string
	for _, v := range voters {
		if !v.Answers {
			continue
		}
		answering++
		if v.Leads {
			leader = v.Node
		}
		names = append(names, v.Node)
	}
	text = "none answers"
	if answering > 0 {
		text = strings.Join(names, ", ") + " answer"
		if answering == 1 {
			text += "s"
		}
		if leader == "" {
			return text + ", none leads", "", answering
		}
		text += ", one leads"
	}
	return text, leader, answering
}

// allVote waits until every planned voter answers and one leads.
func (q *quorum) allVote(ctx context.Context, what string, within time.Duration) bool {
	var names []string
	for _, n := range q.plan.Voters() {
		names = append(names, n.Name)
	}
	q.s.begin("look at %s", what)
	expected := strings.Join(names, ", ") + " answer, one leads"
	return q.s.await(ctx, what, expected, within, func(ctx context.Context) (string, bool) {
		text, _, _ := q.voters(ctx)
		return text, text == expected
	})
}

// write writes an object of its own, which is one transaction of the datastore.
func (q *quorum) write(ctx context.Context, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	q.written++
	start := time.Now()
	_, err := q.cluster.kube.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:   fmt.Sprintf("quorum-%d-%d", start.UnixNano(), q.written),
		Labels: map[string]string{quorumLabel: ""},
	}}, metav1.CreateOptions{})
	return time.Since(start), err
}

// read reads from the API server's cache: what a request takes that the
// datastore has no part in.
func (q *quorum) read(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := q.cluster.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{ResourceVersion: "0"})
	return time.Since(start), err
}

// measure compares what a write takes with the plan's prediction for the voter
// that leads.
func (q *quorum) measure(ctx context.Context, when string, predicted map[string]time.Duration) error {
	s := q.s
	s.begin("write %s", when)
	const tries = 3
	for range tries {
		_, leader, _ := q.voters(ctx)
		var writes, own []time.Duration
		for range quorumWrites {
			w, err := q.write(ctx, 10*time.Second)
			if err != nil {
				return fmt.Errorf("write into %s %s: %w", q.cluster.name, when, err)
			}
			r, err := q.read(ctx)
			if err != nil {
				return fmt.Errorf("read from %s %s: %w", q.cluster.name, when, err)
			}
			writes, own = append(writes, w), append(own, r)
		}
		if _, now, _ := q.voters(ctx); leader == "" || now != leader {
			continue // it was not one leader's doing
		}
		want, known := predicted[leader]
		if !known {
			return invalid("the plan does not say what a write takes %s while %s leads", when, leader)
		}
		s.rec.latency(Latency{To: q.cluster.name + ", " + leader + " leads", Kind: "write", Expected: want, Median: median(writes), Max: longest(writes), Count: len(writes)})
		earliest, latest := writeBounds(want, median(own))
		took := median(writes)
		s.check("what a write takes "+when+", "+leader+" leading",
			fmt.Sprintf("%s, so from %s to %s on a machine that takes %s for a read of its own", millis(want), millis(earliest), millis(latest), millis(median(own))),
			fmt.Sprintf("%s (median of %d)", millis(took), len(writes)), took >= earliest && took <= latest)
		return nil
	}
	return fmt.Errorf("write into %s %s: the leader changed in each of %d measurements", q.cluster.name, when, tries)
}

// writeBounds are those of the median of what a write takes, by what crossing
// the links takes and what the API server needs for a read without any: jitter
// can make a round trip a little shorter, and a write is more work.
func writeBounds(crossing, own time.Duration) (earliest, latest time.Duration) {
	return crossing - max(2*time.Millisecond, crossing/20), crossing + max(10*time.Millisecond, crossing/4) + 4*own
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// answered waits until a write is answered, in a window of time since something.
func (q *quorum) answered(ctx context.Context, what string, since time.Time, window sim.Window) bool {
	return q.s.inWindow(ctx, what, since, window, func(ctx context.Context) (string, bool) {
		if _, err := q.write(ctx, quorumWriteLimit); err != nil {
			return short(err), false
		}
		return "answered", true
	})
}

func (q *quorum) notStopped() string {
	return fmt.Sprintf("voter %s of %s was not stopped", strings.Join(q.s.predict.Stop, ", "), q.cluster.name)
}

// loseMajority stops one voter more than the datastore can lose, and looks that
// no write is answered.
func (q *quorum) loseMajority(ctx context.Context) (bool, error) {
	s := q.s
	s.begin("stop %s too", strings.Join(s.predict.Stop, ", "))
	if s.opts.Invert {
		s.rec.inverted(q.notStopped())
	} else {
		for _, n := range s.predict.Stop {
			if _, err := s.inject(ctx, q.stop(n)); err != nil {
				return false, err
			}
		}
	}
	s.begin("write without a majority")
	seen, ok := fmt.Sprintf("none in %v", quorumSilence), true
	for end := time.Now().Add(quorumSilence); ok && time.Now().Before(end) && ctx.Err() == nil; {
		if took, err := q.write(ctx, time.Second); err == nil {
			seen, ok = "one, after "+millis(took), false
		}
	}
	if s.check("writes that are answered without a majority", fmt.Sprintf("none in %v", quorumSilence), seen, ok) {
		s.rec.mark(q.cluster.name, "no write is answered")
		return true, nil
	}
	st, err := s.lab.State(ctx)
	if err != nil {
		return false, fmt.Errorf("read the lab's state: %w", err)
	}
	for _, n := range s.predict.Stop {
		if now := findNode(st, q.cluster.name, n); now != nil && now.Running {
			return false, fmt.Errorf("%s: the lab says that %s runs", q.notStopped(), n)
		}
	}
	return false, nil
}

// whole starts what is still stopped, and waits until nodes, voters and
// Deployments are as before.
func (q *quorum) whole(ctx context.Context, site []lab.Fault) error {
	s := q.s
	s.begin("start %s again", s.spec.Quorum.Region)
	rest := slices.Clone(site)
	for _, n := range s.predict.Stop[1:] {
		rest = append(rest, q.stop(n))
	}
	for _, f := range rest {
		if _, err := s.heal(ctx, f); err != nil {
			return err
		}
	}
	q.allVote(ctx, "the voters of "+q.cluster.name+" in the end", quorumBack)
	s.await(ctx, "every node is Ready again", "all Ready", quorumBack, func(ctx context.Context) (string, bool) {
		var not []string
		for i := range q.plan.Nodes {
			name := q.plan.NodeName(&q.plan.Nodes[i])
			if status, err := nodeReady(ctx, q.cluster, name); err != nil || status != string(corev1.ConditionTrue) {
				not = append(not, q.plan.Nodes[i].Name+" Ready="+status)
			}
		}
		if len(not) > 0 {
			return strings.Join(not, ", "), false
		}
		return "all Ready", true
	})
	s.await(ctx, "the Deployments of "+q.cluster.name, "all ready", quorumBack, func(ctx context.Context) (string, bool) {
		seen := unreadyDeployments(ctx, q.cluster)
		return seen, seen == "all ready"
	})
	return nil
}
