package suites

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/atoll-dev/atoll/fixtures/workloads"
	"github.com/atoll-dev/atoll/sim/placement"
	"github.com/atoll-dev/atoll/topologies"
)

// findPolicy looks for the PropagationPolicy that selects the template: on the
// hub, or where there is none in the workload's manifest.
func (t *template) findPolicy(ctx context.Context) error {
	t.policyName = t.name + "-propagation"
	all, err := t.policies().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for i := range all.Items {
		if selects(&all.Items[i], t.name) {
			t.policyName = all.Items[i].GetName()
			t.weights = staticWeights(&all.Items[i], t.s.plan.Hub.Members)
			return nil
		}
	}
	written, err := t.writtenPolicy()
	if err != nil || written == nil {
		return err
	}
	t.policyName = written.GetName()
	t.weights = staticWeights(written, t.s.plan.Hub.Members)
	return nil
}

// writtenPolicy is the policy as the workload's manifest has it; nil if it has none.
func (t *template) writtenPolicy() (*unstructured.Unstructured, error) {
	if t.workload == nil {
		return nil, nil
	}
	objects, err := workloads.Objects(t.s.plan, t.workload, "")
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetKind() == "PropagationPolicy" && workloads.IsPolicy(o) && selects(o, t.name) {
			o.SetNamespace(t.namespace)
			o.SetLabels(map[string]string{workloads.LabLabel: t.s.plan.Name, workloads.WorkloadLabel: t.workload.Name})
			return o, nil
		}
	}
	return nil, nil
}

func (t *template) policies() dynamic.ResourceInterface {
	return t.hub.dyn.Resource(policies).Namespace(t.namespace)
}

// policy reads the policy; nil if there is none.
func (t *template) policy(ctx context.Context) (*unstructured.Unstructured, error) {
	p, err := t.policies().Get(ctx, t.policyName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hub: policy %s: %w", t.policyName, err)
	}
	return p, nil
}

// shape makes the policy what a step asks for, and judges whether there is one.
func (t *template) shape(ctx context.Context, name string, step topologies.PlacementStep) error {
	if t.s.opts.Invert {
		step.Policy = "" // it stays away
	}
	there, err := t.put(ctx, step)
	if err == nil && !there {
		t.s.check(name+": a policy selects the workload", "PropagationPolicy "+t.policyName, "no PropagationPolicy "+t.policyName, false)
	}
	return err
}

// judgeAbsent judges that there is no policy.
func (t *template) judgeAbsent(ctx context.Context, name string) error {
	p, err := t.policy(ctx)
	if err != nil {
		return err
	}
	none, seen := "no PropagationPolicy "+t.policyName, ""
	if seen = none; p != nil {
		seen = "PropagationPolicy " + t.policyName + " is there"
	}
	t.s.check(name+": no policy selects the workload", none, seen, p == nil)
	return nil
}

// put makes the policy what a step asks for: there, with its affinity, its
// weights and the workloads that it selects as well. Where there is none, and
// the step does not apply it, nothing is done.
func (t *template) put(ctx context.Context, step topologies.PlacementStep) (there bool, _ error) {
	p, err := t.policy(ctx)
	if err != nil {
		return false, err
	}
	missing := p == nil
	if missing && step.Policy == topologies.PolicyApply {
		if p, err = t.writtenPolicy(); err != nil {
			return false, err
		}
		if p == nil {
			return false, invalid("the manifest of workload %s has no PropagationPolicy to apply", t.workload.Name)
		}
	}
	if p == nil {
		return false, nil
	}
	before := p.DeepCopy()
	for _, w := range step.Extend {
		if err := t.extend(p, w); err != nil {
			return false, fmt.Errorf("policy %s: select workload %s: %w", t.policyName, w, err)
		}
	}
	if step.On != nil {
		if err := unstructured.SetNestedStringSlice(p.Object, step.On, "spec", "placement", "clusterAffinity", "clusterNames"); err != nil {
			return false, fmt.Errorf("policy %s: %w", t.policyName, err)
		}
	}
	if step.Weights != nil {
		if err := unstructured.SetNestedMap(p.Object, t.scheduling(), "spec", "placement", "replicaScheduling"); err != nil {
			return false, fmt.Errorf("policy %s: %w", t.policyName, err)
		}
	}
	switch {
	case missing:
		_, err = t.policies().Create(ctx, p, metav1.CreateOptions{FieldManager: "atoll-suites"})
	case !equality.Semantic.DeepEqual(before, p):
		_, err = t.policies().Update(ctx, p, metav1.UpdateOptions{FieldManager: "atoll-suites"})
	}
	if err != nil {
		return false, fmt.Errorf("hub: policy %s: %w", t.policyName, err)
	}
	return true, nil
}

// scheduling divides by exactly the template's weights.
func (t *template) scheduling() map[string]any {
	var list []any
	for _, c := range sortedKeys(t.weights) {
		list = append(list, map[string]any{
			"targetCluster": map[string]any{"clusterNames": []any{c}},
			"weight":        t.weights[c],
		})
	}
	return map[string]any{
		"replicaSchedulingType":     "Divided",
		"replicaDivisionPreference": "Weighted",
		"weightPreference":          map[string]any{"staticWeightList": list},
	}
}

// extend lets a policy select the Deployments and Services of one more workload.
func (t *template) extend(p *unstructured.Unstructured, workload string) error {
	if !slices.Contains(t.extended, workload) {
		t.extended = append(t.extended, workload)
	}
	w := t.s.plan.Topology.Workload(workload)
	if w == nil {
		return fmt.Errorf("there is no such workload")
	}
	objects, err := workloads.Objects(t.s.plan, w, "")
	if err != nil {
		return err
	}
	selectors, _, err := unstructured.NestedSlice(p.Object, "spec", "resourceSelectors")
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != "Deployment" && o.GetKind() != "Service" {
			continue
		}
		s := map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "name": o.GetName()}
		there := slices.ContainsFunc(selectors, func(have any) bool {
			m, ok := have.(map[string]any)
			return ok && m["apiVersion"] == s["apiVersion"] && m["kind"] == s["kind"] && m["name"] == s["name"]
		})
		if !there {
			selectors = append(selectors, s)
		}
	}
	return unstructured.SetNestedSlice(p.Object, selectors, "spec", "resourceSelectors")
}

// withhold makes the workload what it is before anybody has given it a policy:
// on the hub, and nowhere else. A policy that is merely deleted leaves what it
// has placed where it is, so the objects are deleted and made anew, those of
// other workloads that the policy selects as well.
func (t *template) withhold(ctx context.Context, fleet *fleet) error {
	p, err := t.policy(ctx)
	if err != nil {
		return err
	}
	placed, _, _ := fleet.read()
	if p == nil && len(placed) == 0 {
		return nil
	}
	for _, w := range t.placedBy(p) {
		if err := t.makeAnew(ctx, w); err != nil {
			return fmt.Errorf("take workload %s back: %w", w.Name, err)
		}
	}
	if _, err := fleet.wait(ctx, "nothing of "+t.name+" on the members", time.Now(), convergeWithin+20*t.s.longestRTT(), func(want, _ map[string]int) bool { return len(want) == 0 }); err != nil {
		return err
	}
	again, err := t.s.findTemplate(ctx, t.workload.Name)
	if err != nil {
		return err
	}
	t.uid, t.weights, t.extended = again.uid, again.weights, nil
	return t.setReplicas(ctx, t.replicas)
}

// placedBy are the workloads of which a policy selects something, and the
// template's own.
func (t *template) placedBy(p *unstructured.Unstructured) []*topologies.Workload {
	all := []*topologies.Workload{t.workload}
	for i := range t.s.plan.Topology.Spec.Workloads {
		w := &t.s.plan.Topology.Spec.Workloads[i]
		if p != nil && w.Name != t.workload.Name && w.Via == topologies.ViaHub && w.Policy == topologies.PolicyWithhold && selects(p, w.Name) {
			all = append(all, w)
		}
	}
	return all
}

// makeAnew deletes a workload's objects on the hub and applies them again,
// without their policy.
func (t *template) makeAnew(ctx context.Context, w *topologies.Workload) error {
	if err := workloads.Delete(ctx, t.s.lab, w); err != nil {
		return err
	}
	_, err := until(ctx, "workload "+w.Name+" gone from the hub", convergeWithin+20*t.s.longestRTT(), func(ctx context.Context) (string, bool) {
		list, err := t.hub.kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: workloads.WorkloadLabel + "=" + w.Name})
		if err != nil {
			return short(err), false
		}
		bound, err := t.hub.dyn.Resource(bindings).Namespace(t.namespace).Get(ctx, w.Name+"-deployment", metav1.GetOptions{})
		if err == nil {
			return "ResourceBinding " + bound.GetName() + " is still there", false
		}
		return fmt.Sprintf("%d Deployments are still there", len(list.Items)), len(list.Items) == 0 && apierrors.IsNotFound(err)
	})
	if err != nil {
		return err
	}
	bare := *w
	bare.Policy = topologies.PolicyWithhold
	return workloads.Put(ctx, t.s.lab, &bare)
}

// withholdPolicy deletes the policy until the scenario ends. What a scenario
// that begins without a policy would apply is not applied.
func (t *template) withholdPolicy(ctx context.Context) error {
	p, err := t.policy(ctx)
	if err != nil {
		return err
	}
	replicas := t.replicas
	if p != nil {
		t.s.cleanup("put policy "+t.policyName+" back", func(ctx context.Context) error {
			fresh := p.DeepCopy()
			for _, f := range []string{"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"} {
				unstructured.RemoveNestedField(fresh.Object, "metadata", f)
			}
			_, err := t.policies().Create(ctx, fresh, metav1.CreateOptions{})
			return err
		})
	}
	// Runs before the policy is back: the members never see what was asked meanwhile.
	t.s.cleanup("scale "+t.name+" back", func(ctx context.Context) error { return t.setReplicas(ctx, replicas) })
	t.s.rec.inverted("no PropagationPolicy " + t.policyName)
	if p == nil {
		return nil
	}
	if err := t.policies().Delete(ctx, t.policyName, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("withhold policy %s: %w", t.policyName, err)
	}
	_, err = until(ctx, "policy "+t.policyName+" gone", 5*time.Second, func(ctx context.Context) (string, bool) {
		p, err := t.policy(ctx)
		return fmt.Sprintf("still there: %v", p != nil), err == nil && p == nil
	})
	return err
}

// forcePolicy applies the policy, if it is not there, and waits until it has
// placed something; when the scenario ends the workload is as it was.
func (t *template) forcePolicy(ctx context.Context, fleet *fleet) error {
	p, err := t.policy(ctx)
	if err != nil {
		return err
	}
	if p == nil {
		if p, err = t.writtenPolicy(); err != nil {
			return err
		}
		if p == nil {
			return invalid("the manifest of workload %s has no PropagationPolicy to apply", t.workload.Name)
		}
		t.s.cleanup("take workload "+t.workload.Name+" back", func(ctx context.Context) error { return t.makeAnew(ctx, t.workload) })
		if _, err := t.policies().Create(ctx, p, metav1.CreateOptions{FieldManager: "atoll-suites"}); err != nil {
			return fmt.Errorf("hub: policy %s: %w", t.policyName, err)
		}
	}
	t.s.rec.inverted("PropagationPolicy " + t.policyName + " is there")
	_, err = fleet.wait(ctx, "the policy places something", time.Now(), convergeWithin+20*t.s.longestRTT(), func(want, _ map[string]int) bool { return len(want) > 0 })
	return err
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
