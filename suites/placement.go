package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/placement"
	"github.com/atoll-dev/atoll/topologies"
)

// convergeWithin bounds how long the members may take to follow the hub, on
// top of the WAN's round trips.
const convergeWithin = 45 * time.Second

// placement applies steps to a workload on the hub and reads from the
// members' own API servers what came of them.
func (s *scenario) placement(ctx context.Context) error {
	if s.plan.Hub == nil {
		return invalid("the plan has no hub")
	}
	t, err := s.findTemplate(ctx, s.spec.Placement.Workload)
	if err != nil {
		return err
	}
	var crossed [][2]string
	if slices.ContainsFunc(s.spec.Placement.Steps, places) { // else nothing need cross the WAN
		crossed = from(s.plan.Hub.Cluster, s.plan.Hub.Members...)
	}
	cross, err := s.claimCrossing(ctx, crossed...)
	if err != nil {
		return err
	}
	fleet, err := s.follow(ctx, t.namespace, t.name, s.plan.Hub.Members)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		if err := s.invertPlacement(ctx, t, fleet); err != nil {
			return err
		}
	}
	for i, step := range s.spec.Placement.Steps {
		if err := s.placementStep(ctx, t, fleet, i, step); err != nil {
			return err
		}
	}
	return cross.verify(ctx, s)
}

// places tells whether a step has the hub place something.
func places(step topologies.PlacementStep) bool {
	return step.Policy != topologies.PolicyWithhold &&
		(step.Policy != "" || step.Extend != nil || step.On != nil || step.Replicas != nil || step.Weights != nil)
}

// invertPlacement takes the policy away; or puts it there, where the question
// begins with what is without one.
func (s *scenario) invertPlacement(ctx context.Context, t *template, fleet *fleet) error {
	// Runs last: what comes after this scenario begins with what it leaves.
	s.cleanup("leave what the steps leave", func(ctx context.Context) error { return s.leaveBehind(ctx, fleet) })
	if s.spec.Placement.Steps[0].Policy != topologies.PolicyWithhold {
		return t.withholdPolicy(ctx)
	}
	return t.forcePolicy(ctx, fleet)
}

// leaveBehind does what the steps do, without judging what comes of it, and
// waits until the members have followed.
func (s *scenario) leaveBehind(ctx context.Context, fleet *fleet) error {
	t, err := s.findTemplate(ctx, s.spec.Placement.Workload)
	if err != nil {
		return err
	}
	want := map[string]int{}
	for _, step := range s.spec.Placement.Steps {
		if step.Replicas != nil {
			t.replicas = *step.Replicas
			if err := t.setReplicas(ctx, t.replicas); err != nil {
				return err
			}
		}
		if step.Weights != nil {
			t.weights = step.Weights
		}
		if step.Policy == topologies.PolicyWithhold {
			clear(want)
			continue
		}
		there, err := t.put(ctx, step)
		if err != nil {
			return err
		}
		if there {
			want = shown(placement.Divide(t.replicas, t.weights, t.uid), t.replicas)
		}
	}
	_, err = fleet.wait(ctx, "replicas "+division(want), time.Now(), convergeWithin+20*s.longestRTT(), func(got, _ map[string]int) bool { return maps.Equal(got, want) })
	return err
}

// placementStep applies one step and waits for the members to follow.
func (s *scenario) placementStep(ctx context.Context, t *template, fleet *fleet, i int, step topologies.PlacementStep) error {
	if step.Replicas != nil {
		t.replicas = *step.Replicas
	}
	if step.Weights != nil {
		t.weights = step.Weights
	}
	withheld := step.Policy == topologies.PolicyWithhold
	name := fmt.Sprintf("%d @ %s", t.replicas, weightsText(t.weights))
	if withheld {
		name = fmt.Sprintf("%d without a policy", t.replicas)
	}
	s.begin("step %d: %s", i+1, name)
	start := time.Now()
	if withheld && !s.opts.Invert {
		// Replicas come with the manifest; what the step wants is set below.
		if err := t.withhold(ctx, fleet); err != nil {
			return err
		}
	}
	if !withheld {
		if err := t.shape(ctx, name, step); err != nil {
			return err
		}
	}
	if step.Replicas != nil {
		if err := t.setReplicas(ctx, t.replicas); err != nil {
			return err
		}
	}
	s.rec.mark(lab.HubName, "applied "+name)
	if withheld {
		if err := t.judgeAbsent(ctx, name); err != nil {
			return err
		}
		// The hub's own word that it has looked and found none: only then is
		// it an answer that nothing came of the template.
		if err := s.judgeEvents(ctx, name, t.namespace, s.expectedEvents(i, step)); err != nil {
			return err
		}
		return s.converge(ctx, t, fleet, name, start, s.expectedNowhere(step), 0)
	}
	want := s.expectedDivision(t, i, step, name)
	if err := s.converge(ctx, t, fleet, name, start, want, t.replicas); err != nil {
		return err
	}
	for _, workload := range t.extended {
		if err := s.placedToo(ctx, t, i, workload, start); err != nil {
			return err
		}
	}
	return s.judgeEvents(ctx, name, t.namespace, s.expectedEvents(i, step))
}

// placedToo holds a workload that the policy has been extended to against what
// its weights make of it.
func (s *scenario) placedToo(ctx context.Context, t *template, i int, workload string, start time.Time) error {
	too, err := s.findTemplate(ctx, workload)
	if err != nil {
		return err
	}
	too.weights = t.weights
	fleet, err := s.follow(ctx, too.namespace, too.name, s.plan.Hub.Members)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s, %d @ %s", workload, too.replicas, weightsText(too.weights))
	want := placement.Divide(too.replicas, too.weights, too.uid)
	if i < len(s.predict.Extended) {
		s.predicted(name, want, too.replicas, s.predict.Extended[i][workload])
	}
	return s.converge(ctx, too, fleet, name, start, want, too.replicas)
}

// expectedNowhere is the file's, or no cluster at all.
func (s *scenario) expectedNowhere(step topologies.PlacementStep) map[string]int {
	return shown(step.Expect, 1)
}

// expectedDivision is the file's, or what the rule gives for this template's
// UID; that has to be one of those the plan predicted without knowing the UID.
func (s *scenario) expectedDivision(t *template, i int, step topologies.PlacementStep, name string) map[string]int {
	if step.Expect != nil {
		return shown(step.Expect, t.replicas)
	}
	want := placement.Divide(t.replicas, t.weights, t.uid)
	if i < len(s.predict.Placements) {
		s.predicted(name, want, t.replicas, s.predict.Placements[i])
	}
	return want
}

// predicted holds a division against those that the plan thought possible
// without knowing the template's UID.
func (s *scenario) predicted(name string, want map[string]int, replicas int, divisions []map[string]int) {
	if len(divisions) == 0 {
		return
	}
	var possible []string
	for _, p := range divisions {
		possible = append(possible, division(shown(p, replicas)))
	}
	s.check(name+": the division for this UID is a predicted one", strings.Join(possible, " or "), division(want),
		slices.Contains(possible, division(want)))
}

// converge waits until the members ask for what is wanted, have it ready, and
// the hub's template says so.
func (s *scenario) converge(ctx context.Context, t *template, fleet *fleet, name string, start time.Time, want map[string]int, total int) error {
	within := s.patience(convergeWithin + 20*s.longestRTT())
	took, err := fleet.wait(ctx, "replicas "+division(want), start, within, func(got, _ map[string]int) bool { return maps.Equal(got, want) })
	got, _, _ := fleet.read()
	if !s.checkTimed(name+": replicas on the members", division(want), division(got), err == nil, took) {
		return t.whyNot(ctx)
	}
	s.rec.mark("members", fmt.Sprintf("%s placed after %v", division(want), took.Round(time.Millisecond)))

	took, err = fleet.wait(ctx, "ready "+division(want), start, within, func(_, ready map[string]int) bool { return maps.Equal(ready, want) })
	_, ready, _ := fleet.read()
	if !s.checkTimed(name+": ready on the members", division(want), division(ready), err == nil, took) {
		return nil
	}
	s.rec.mark("members", fmt.Sprintf("%s ready after %v", division(want), took.Round(time.Millisecond)))

	seen, _, err := s.watch(ctx, "the hub's aggregated status", within, func(ctx context.Context) (string, bool) {
		d, err := t.hub.kube.AppsV1().Deployments(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
		if err != nil {
			return short(err), false
		}
		st := d.Status
		seen := fmt.Sprintf("%d ready", st.ReadyReplicas)
		if len(want) > 0 && st.ObservedGeneration < d.Generation { // nobody observes what is placed nowhere
			return fmt.Sprintf("%s of generation %d, asked for %d", seen, st.ObservedGeneration, d.Generation), false
		}
		return seen, int(st.ReadyReplicas) == total && int(st.Replicas) == total
	})
	s.checkTimed(name+": status on the hub", fmt.Sprintf("%d ready", total), seen, err == nil, time.Since(start))
	return nil
}

// longestRTT is the longest round trip between any two clusters that may talk.
func (s *scenario) longestRTT() (most time.Duration) {
	for _, a := range s.plan.Clusters {
		for _, b := range s.plan.Clusters {
			if w, ok := s.way(a.Name, b.Name); ok {
				most = max(most, w.rtt)
			}
		}
	}
	return most
}

// shown is a division as a cluster's API shows it: one that gets nothing has
// no Deployment, unless nobody gets anything.
func shown(d map[string]int, total int) map[string]int {
	out := map[string]int{}
	for c, n := range d {
		if n > 0 || total == 0 {
			out[c] = n
		}
	}
	return out
}

func weightsText(w map[string]int64) string {
	if len(w) == 0 {
		return "the policy's weights"
	}
	var parts []string
	for _, c := range sortedKeys(w) {
		parts = append(parts, fmt.Sprintf("%s %d", c, w[c]))
	}
	return strings.Join(parts, ":")
}
