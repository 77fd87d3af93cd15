package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/workloads"
	"github.com/atoll-dev/atoll/sim/placement"
	"github.com/atoll-dev/atoll/topologies"
)

// convergeWithin bounds how long the members may take to follow the hub, on
// top of the WAN's round trips.
const convergeWithin = 15 * time.Second

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
	cross, err := s.claimCrossing(ctx, from(s.plan.Hub.Cluster, s.plan.Hub.Members...)...)
	if err != nil {
		return err
	}
	fleet, err := s.follow(ctx, t.namespace, t.name, s.plan.Hub.Members)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		if err := t.withholdPolicy(ctx); err != nil {
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

// placementStep applies one step and waits for the members to follow.
func (s *scenario) placementStep(ctx context.Context, t *template, fleet *fleet, i int, step topologies.PlacementStep) error {
	if step.Replicas != nil {
		t.replicas = *step.Replicas
	}
	if step.Weights != nil {
		t.weights = step.Weights
	}
	name := fmt.Sprintf("%d @ %s", t.replicas, weightsText(t.weights))
	s.begin("step %d: %s", i+1, name)

	policy, err := t.policy(ctx)
	if err != nil {
		return err
	}
	if policy == nil {
		s.check(name+": a policy selects the workload", "PropagationPolicy "+t.policyName, "no PropagationPolicy "+t.policyName, false)
	}
	start := time.Now()
	if policy != nil && step.Weights != nil {
		if err := t.setWeights(ctx, policy); err != nil {
			return err
		}
	}
	if step.Replicas != nil {
		if err := t.setReplicas(ctx, t.replicas); err != nil {
			return err
		}
	}
	s.rec.mark(lab.HubName, "applied "+name)

	want := s.expectedDivision(t, i, step, name)
	return s.converge(ctx, t, fleet, name, start, want, t.replicas)
}

// expectedDivision is the file's, or what the rule gives for this template's
// UID; that has to be one of those the plan predicted without knowing the UID.
func (s *scenario) expectedDivision(t *template, i int, step topologies.PlacementStep, name string) map[string]int {
	if step.Expect != nil {
		return shown(step.Expect, t.replicas)
	}
	want := placement.Divide(t.replicas, t.weights, t.uid)
	if i < len(s.predict.Placements) && len(s.predict.Placements[i]) > 0 {
		var possible []string
		for _, p := range s.predict.Placements[i] {
			possible = append(possible, division(shown(p, t.replicas)))
		}
		s.check(name+": the division for this UID is a predicted one", strings.Join(possible, " or "), division(want),
			slices.Contains(possible, division(want)))
	}
	return want
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
		if st.ObservedGeneration < d.Generation {
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

// template is a workload's Deployment on the hub, and the policy that places it.
type template struct {
	s                           *scenario
	hub                         *cluster
	namespace, name, policyName string
	uid                         string
	replicas                    int
	weights                     map[string]int64 // in force, by cluster
}

// findTemplate finds the Deployment of a workload on the hub and the
// PropagationPolicy that selects it.
func (s *scenario) findTemplate(ctx context.Context, workload string) (*template, error) {
	hub, err := s.clients.cluster(lab.HubName)
	if err != nil {
		return nil, err
	}
	list, err := hub.kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: workloads.WorkloadLabel + "=" + workload})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("hub: workload %s has no Deployment", workload)
	}
	d := &list.Items[0]
	for i := range list.Items {
		if list.Items[i].Name == workload {
			d = &list.Items[i]
		}
	}
	t := &template{s: s, hub: hub, namespace: d.Namespace, name: d.Name, uid: string(d.UID), replicas: int(replicasOf(d))}
	s.touch(lab.HubName, deployments, t.namespace, t.name)
	for _, m := range s.plan.Hub.Members {
		s.touch(m, deployments, t.namespace, t.name)
	}
	all, err := hub.dyn.Resource(policies).Namespace(t.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	t.policyName = d.Name + "-propagation"
	for i := range all.Items {
		if selects(&all.Items[i], d.Name) {
			t.policyName = all.Items[i].GetName()
			t.weights = staticWeights(&all.Items[i], s.plan.Hub.Members)
		}
	}
	s.touch(lab.HubName, policies, t.namespace, t.policyName)
	s.touch(lab.HubName, bindings, t.namespace, t.name+"-deployment")
	return t, nil
}

// policy reads the policy; nil if there is none.
func (t *template) policy(ctx context.Context) (*unstructured.Unstructured, error) {
	p, err := t.hub.dyn.Resource(policies).Namespace(t.namespace).Get(ctx, t.policyName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hub: policy %s: %w", t.policyName, err)
	}
	return p, nil
}

// withholdPolicy deletes the policy until the scenario ends.
func (t *template) withholdPolicy(ctx context.Context) error {
	p, err := t.policy(ctx)
	if err != nil || p == nil {
		return err
	}
	api := t.hub.dyn.Resource(policies).Namespace(t.namespace)
	replicas := t.replicas
	t.s.cleanup("put policy "+t.policyName+" back", func(ctx context.Context) error {
		fresh := p.DeepCopy()
		for _, f := range []string{"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"} {
			unstructured.RemoveNestedField(fresh.Object, "metadata", f)
		}
		_, err := api.Create(ctx, fresh, metav1.CreateOptions{})
		return err
	})
	// Runs before the policy is back: the members never see what was asked meanwhile.
	t.s.cleanup("scale "+t.name+" back", func(ctx context.Context) error { return t.setReplicas(ctx, replicas) })
	t.s.rec.inverted("no PropagationPolicy " + t.policyName)
	if err := api.Delete(ctx, t.policyName, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("withhold policy %s: %w", t.policyName, err)
	}
	_, err = until(ctx, "policy "+t.policyName+" gone", 5*time.Second, func(ctx context.Context) (string, bool) {
		p, err := t.policy(ctx)
		return fmt.Sprintf("still there: %v", p != nil), err == nil && p == nil
	})
	return err
}

func (t *template) setReplicas(ctx context.Context, n int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	_, err := t.hub.kube.AppsV1().Deployments(t.namespace).Patch(ctx, t.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "atoll-suites"})
	if err != nil {
		return fmt.Errorf("hub: scale %s to %d: %w", t.name, n, err)
	}
	return nil
}

// setWeights gives the policy exactly these static weights.
func (t *template) setWeights(ctx context.Context, p *unstructured.Unstructured) error {
	var list []any
	for _, c := range sortedKeys(t.weights) {
		list = append(list, map[string]any{
			"targetCluster": map[string]any{"clusterNames": []any{c}},
			"weight":        t.weights[c],
		})
	}
	scheduling := map[string]any{
		"replicaSchedulingType":     "Divided",
		"replicaDivisionPreference": "Weighted",
		"weightPreference":          map[string]any{"staticWeightList": list},
	}
	if err := unstructured.SetNestedMap(p.Object, scheduling, "spec", "placement", "replicaScheduling"); err != nil {
		return fmt.Errorf("policy %s: %w", t.policyName, err)
	}
	_, err := t.hub.dyn.Resource(policies).Namespace(t.namespace).Update(ctx, p, metav1.UpdateOptions{FieldManager: "atoll-suites"})
	if err != nil {
		return fmt.Errorf("hub: weights of %s: %w", t.policyName, err)
	}
	return nil
}

// whyNot tells what the hub itself says about a template that does not
// spread: its last warning.
func (t *template) whyNot(ctx context.Context) error {
	sel := fields.Set{"involvedObject.name": t.name, "type": "Warning"}.String()
	events, err := t.hub.kube.CoreV1().Events(t.namespace).List(ctx, metav1.ListOptions{FieldSelector: sel})
	if err != nil || len(events.Items) == 0 {
		return nil // the failed check says it all
	}
	last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return fmt.Errorf("the hub says: %s: %s", last.Reason, last.Message)
}

// selects tells whether a policy names a Deployment.
func selects(p *unstructured.Unstructured, name string) bool {
	list, _, _ := unstructured.NestedSlice(p.Object, "spec", "resourceSelectors")
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["kind"] == "Deployment" && (m["name"] == name || m["name"] == nil) {
			return true
		}
	}
	return false
}

// staticWeights reads a policy's weights by cluster name. Rules that select
// otherwise than by name match every cluster here, as an empty one does.
func staticWeights(p *unstructured.Unstructured, clusters []string) map[string]int64 {
	list, _, _ := unstructured.NestedSlice(p.Object, "spec", "placement", "replicaScheduling", "weightPreference", "staticWeightList")
	var rules []placement.Rule
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		names, _, _ := unstructured.NestedStringSlice(m, "targetCluster", "clusterNames")
		weight, _, _ := unstructured.NestedInt64(m, "weight")
		rules = append(rules, placement.Rule{Weight: weight, Matches: func(c string) bool {
			return len(names) == 0 || slices.Contains(names, c)
		}})
	}
	return placement.Weights(clusters, rules)
}
