package agreement

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	policyv1alpha1 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/policy/v1alpha1"
	workv1alpha2 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/work/v1alpha2"
	"github.com/atoll-dev/atoll/fixtures/stack/admin/names"
)

// A scheduler that fails says so in a condition that may be of the step before,
// and does not say which generation it is about. But it takes bindings in the
// order in which they change, one after another. So a binding that changes
// later, and that it is seen to have dealt with, shows that it has dealt with
// what changed before. There are as many such bindings as questions, each of a
// ConfigMap of its own.
type probe struct {
	binding string
	turn    int64 // every turn asks for something that was not asked before
}

// rounds: a binding that is being dealt with as it changes is dealt with again
// after those that wait already, maybe after one round's.
const rounds = 2

const probeName = "barrier"

// makeProbes makes the probes and waits until they are scheduled.
func (a *asker) makeProbes(ctx context.Context) error {
	p := &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: probeName}}
	p.Spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{{
		APIVersion: "v1", Kind: "ConfigMap", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{probeName: "true"}},
	}}
	p.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: a.plan.Hub.Members[:1]}
	if err := a.hub.Create(ctx, p); err != nil {
		return fmt.Errorf("policy of the probes: %w", err)
	}
	a.probes = make(chan *probe, a.opts.Parallel)
	for i := range a.opts.Parallel {
		name := fmt.Sprintf("%s-%02d", probeName, i)
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{probeName: "true"}}}
		if err := a.hub.Create(ctx, m); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		a.probes <- &probe{binding: names.Binding("ConfigMap", name)}
	}
	for range a.opts.Parallel {
		pr := <-a.probes
		err := a.until(ctx, patience, "a probe to be scheduled", func(ctx context.Context) error {
			b := &workv1alpha2.ResourceBinding{}
			if err := a.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: pr.binding}, b); err != nil {
				return err
			}
			if len(b.Spec.Clusters) == 0 || b.Status.SchedulerObservedGeneration != b.Generation {
				return fmt.Errorf("%s is not", pr.binding)
			}
			return nil
		})
		if err != nil {
			return err
		}
		a.probes <- pr
	}
	return nil
}

// barrier returns when the scheduler has dealt with every binding as it was when
// barrier was called.
func (a *asker) barrier(ctx context.Context) error {
	var p *probe
	select {
	case p = <-a.probes:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { a.probes <- p }()
	for range rounds {
		// A time that is long past: it asks for nothing, and changes the binding.
		p.turn++
		at := time.Unix(p.turn, 0).UTC().Format(time.RFC3339)
		b := &workv1alpha2.ResourceBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.binding}}
		if err := a.hub.Patch(ctx, b, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"rescheduleTriggeredAt":%q}}`, at))); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		generation := b.Generation
		err := a.until(ctx, patience, "the scheduler to see a probe", func(ctx context.Context) error {
			if err := a.hub.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
				return err
			}
			if b.Status.SchedulerObservedGeneration < generation {
				return fmt.Errorf("%s is at generation %d, not %d", p.binding, b.Status.SchedulerObservedGeneration, generation)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
