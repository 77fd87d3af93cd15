package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/placement"
)

// catchUpWithin bounds how long a healed agent may take to follow the hub:
// its clients back off while they are cut off.
const catchUpWithin = 30 * time.Second

// agentPartition cuts a member off from the hub, changes the workload
// meanwhile, and heals.
func (s *scenario) agentPartition(ctx context.Context) error {
	sc := s.spec.AgentPartition
	hub := s.plan.Hub
	if hub == nil || !slices.Contains(hub.Members, sc.Cluster) {
		return invalid("%s has no agent", sc.Cluster)
	}
	if hub.Cluster == sc.Cluster {
		return fmt.Errorf("%w: the hub is in %s itself, no link is between them", lab.ErrUnsupported, sc.Cluster)
	}
	t, err := s.findTemplate(ctx, sc.Workload)
	if err != nil {
		return err
	}
	s.touch(lab.HubName, members, "", sc.Cluster)
	fleet, err := s.follow(ctx, t.namespace, t.name, hub.Members)
	if err != nil {
		return err
	}
	// A scenario before this one may have left the members on their way. What
	// runs in the others is not this one's business: their nodes may be failing.
	settled := shown(placement.Divide(t.replicas, t.weights, t.uid), t.replicas)
	_, err = fleet.wait(ctx, t.name+" placed by static weight", time.Now(), convergeWithin, func(want, ready map[string]int) bool {
		return maps.Equal(want, settled) && ready[sc.Cluster] == settled[sc.Cluster]
	})
	if err != nil {
		return err
	}
	old := settled
	if old[sc.Cluster] == 0 {
		return invalid("%s has no replica of %s that could keep running", sc.Cluster, sc.Workload)
	}
	if err := s.awaitAgent(ctx, t.hub, sc.Cluster); err != nil {
		return err
	}
	pods, err := s.podsOf(ctx, t, sc.Cluster)
	if err != nil {
		return err
	}
	var probers []*prober
	for i := range pods {
		p, err := s.probe(ctx, sc.Cluster, &pods[i])
		if err != nil {
			return fmt.Errorf("ask pod %s/%s before the partition: %w", sc.Cluster, pods[i].Name, err)
		}
		probers = append(probers, p)
	}
	cross, err := s.claimCrossing(ctx, [2]string{hub.Cluster, sc.Cluster})
	if err != nil {
		return err
	}
	changed, after, err := changeFor(t, sc.Cluster)
	if err != nil {
		return err
	}

	fault := lab.Fault{Kind: lab.Partition, Between: []string{hub.Cluster, sc.Cluster}}
	s.begin("cut %s and %s apart", hub.Cluster, sc.Cluster)
	if s.opts.Invert {
		s.rec.inverted(fault.String())
	}
	total := t.replicas
	s.cleanup("scale "+t.name+" back", func(limited context.Context) error {
		if err := t.setReplicas(limited, total); err != nil || ctx.Err() != nil { // an interrupt has ended the watches
			return err
		}
		// What comes next counts pods: those on their way out would be missed.
		_, err := fleet.wait(limited, "replicas "+division(old), time.Now(), catchUpWithin, func(want, ready map[string]int) bool {
			return maps.Equal(want, old) && maps.Equal(ready, old)
		})
		return err
	})
	cut, err := s.inject(ctx, fault)
	if err != nil {
		return err
	}
	s.begin("scale %s to %d meanwhile", t.name, changed)
	if err := t.setReplicas(ctx, changed); err != nil {
		return err
	}
	s.rec.mark(lab.HubName, fmt.Sprintf("scaled to %d", changed))
	meanwhile := maps.Clone(after)
	meanwhile[sc.Cluster] = old[sc.Cluster]
	took, err := fleet.wait(ctx, "the others at "+division(meanwhile), time.Now(), convergeWithin, func(want, _ map[string]int) bool {
		return maps.Equal(want, meanwhile)
	})
	got, _, _ := fleet.read()
	if !s.checkTimed("replicas while cut off", division(meanwhile), division(got), err == nil, took) {
		return t.whyNot(ctx)
	}
	s.begin("wait for the hub to see %s as not ready", sc.Cluster)
	gone := s.notReady()
	ok := s.inWindow(ctx, "the hub sees "+sc.Cluster+" as Ready="+gone, cut, s.predict.ClusterNotReady, func(ctx context.Context) (string, bool) {
		ready, err := memberReady(ctx, t.hub, sc.Cluster)
		return "Ready=" + ready, err == nil && ready == gone
	})
	if !ok {
		return nil
	}
	s.rec.mark(sc.Cluster, "not ready for the hub")
	got, _, _ = fleet.read()
	s.check("replicas while cut off, still", division(meanwhile), division(got), maps.Equal(got, meanwhile))
	s.samePods(ctx, t, sc.Cluster, pods)
	s.checkServing(ctx, "pods of "+sc.Cluster+" go on answering", probers)
	return s.catchUp(ctx, t, fleet, cross, fault, after)
}

// notReady is how the hub sees a member that it has lost: of one whose agent is
// silent it knows nothing, one that does not answer it calls not ready.
func (s *scenario) notReady() string {
	if s.plan.Push() {
		return "False"
	}
	return "Unknown"
}

// catchUp heals the partition and waits until the member has followed.
func (s *scenario) catchUp(ctx context.Context, t *template, fleet *fleet, cross *crossing, fault lab.Fault, after map[string]int) error {
	name := s.spec.AgentPartition.Cluster
	s.begin("heal")
	healed := time.Now()
	var err error
	if !s.opts.Invert { // inverting leaves it cut off
		if healed, err = s.heal(ctx, fault); err != nil {
			return err
		}
	}
	within := s.patience(catchUpWithin)
	took, err := fleet.wait(ctx, "replicas "+division(after), healed, within, func(want, ready map[string]int) bool {
		return maps.Equal(want, after) && ready[name] == after[name]
	})
	got, _, _ := fleet.read()
	if !s.checkTimed(name+" catches up", division(after), division(got), err == nil, took) {
		return err
	}
	s.rec.mark(name, "caught up")
	s.await(ctx, "the hub sees "+name+" as ready again", "Ready=True", within, func(ctx context.Context) (string, bool) {
		ready, err := memberReady(ctx, t.hub, name)
		return "Ready=" + ready, err == nil && ready == "True"
	})
	return cross.verify(ctx, s)
}

// changeFor finds the smallest number of replicas above the present one that
// changes both the member's share and another's, and its division.
func changeFor(t *template, member string) (int, map[string]int, error) {
	const tries = 1000
	now := placement.Divide(t.replicas, t.weights, t.uid)
	for n := t.replicas + 1; n < t.replicas+tries; n++ {
		next := placement.Divide(n, t.weights, t.uid)
		others := false
		for c := range next {
			others = others || c != member && next[c] != now[c]
		}
		if next[member] != now[member] && (others || len(next) == 1) {
			return n, shown(next, n), nil
		}
	}
	return 0, nil, invalid("no change of replicas would reach %s with weights %s", member, weightsText(t.weights))
}

// podsOf lists the ready pods of the template's Deployment in a member.
func (s *scenario) podsOf(ctx context.Context, t *template, member string) ([]corev1.Pod, error) {
	c, err := s.clients.cluster(member)
	if err != nil {
		return nil, err
	}
	d, err := c.kube.AppsV1().Deployments(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}
	list, err := c.kube.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !podReady(&p) }), nil
}

// samePods checks that a member runs the very pods that it ran before.
func (s *scenario) samePods(ctx context.Context, t *template, member string, before []corev1.Pod) {
	now, err := s.podsOf(ctx, t, member)
	kept := 0
	for _, b := range before {
		if slices.ContainsFunc(now, func(p corev1.Pod) bool { return p.UID == b.UID }) {
			kept++
		}
	}
	seen := fmt.Sprintf("%d of them ready", kept)
	if err != nil {
		seen = short(err)
	}
	s.check("pods of "+member+" keep running", fmt.Sprintf("%d of them ready", len(before)), seen, err == nil && kept == len(before))
}

// awaitAgent waits until a member is ready for the hub and its lease has just
// been renewed: the window for noticing a silent agent counts from a renewal.
func (s *scenario) awaitAgent(ctx context.Context, hub *cluster, name string) error {
	if s.plan.Push() { // no agent, no lease
		_, err := until(ctx, name+" ready for the hub", catchUpWithin, func(ctx context.Context) (string, bool) {
			ready, err := memberReady(ctx, hub, name)
			return "Ready=" + ready, err == nil && ready == "True"
		})
		return err
	}
	renewed := func(ctx context.Context) (time.Time, error) {
		l, err := hub.kube.CoordinationV1().Leases(memberLeases).Get(ctx, name, metav1.GetOptions{})
		if err != nil || l.Spec.RenewTime == nil {
			return time.Time{}, err
		}
		return l.Spec.RenewTime.Time, nil
	}
	first, err := renewed(ctx)
	if err != nil {
		return fmt.Errorf("hub: lease of %s: %w", name, err)
	}
	_, err = until(ctx, name+" ready for the hub, its lease renewed", catchUpWithin+2*s.plan.Timers.ClusterLease, func(ctx context.Context) (string, bool) {
		ready, err := memberReady(ctx, hub, name)
		if err != nil {
			return short(err), false
		}
		last, err := renewed(ctx)
		if err != nil {
			return short(err), false
		}
		return fmt.Sprintf("Ready=%s, lease renewed at %s", ready, last.Format(time.TimeOnly)), ready == "True" && last.After(first)
	})
	return err
}

// memberLeases is the namespace of the hub where agents renew their leases.
const memberLeases = "karmada-cluster"

func memberReady(ctx context.Context, hub *cluster, name string) (string, error) {
	o, err := hub.dyn.Resource(members).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return short(err), err
	}
	return condition(o, "Ready"), nil
}
