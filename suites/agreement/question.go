package agreement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	policyv1alpha1 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/policy/v1alpha1"
	workv1alpha2 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/work/v1alpha2"
	"github.com/atoll-dev/atoll/fixtures/stack/admin/names"
	"github.com/atoll-dev/atoll/sim/placement"
)

// question is one case on one lab.
type question struct {
	*asker
	c      Case
	answer Answer
	about  map[types.UID]string // what events are read about: its kind
	proven map[types.UID]int64  // bindings, by the generation that the scheduler has certainly seen
}

func (a *asker) ask(c Case) *question {
	return &question{asker: a, c: c, answer: Answer{Case: c, Events: []string{}}, about: map[types.UID]string{}, proven: map[types.UID]int64{}}
}

func (q *question) deployment() *appsv1.Deployment {
	labels := map[string]string{"app": q.c.Name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: q.c.Name, Labels: labels}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "nginx", Image: "nginx"}}
	for name, quantity := range q.c.Requests {
		r := &d.Spec.Template.Spec.Containers[0].Resources
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		r.Requests[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
	d.Spec.Paused = !q.c.Live
	return d
}

func (q *question) service() *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: q.c.Name}}
	s.Spec.Selector = map[string]string{"app": q.c.Name}
	s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	return s
}

func (q *question) policy(p policyv1alpha1.Placement) *policyv1alpha1.PropagationPolicy {
	o := &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: q.c.Name}}
	o.Spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: q.c.Name},
		{APIVersion: "v1", Kind: "Service", Name: q.c.Name},
	}
	o.Spec.Placement = p
	return o
}

// step takes a step and waits until the engine is done; members that can't be
// reached are left out.
func (q *question) step(ctx context.Context, n int, without map[string]bool) {
	if q.answer.Error != "" || ctx.Err() != nil {
		return
	}
	step := q.c.Steps[n]
	fail := func(err error) { q.answer.Error = fmt.Sprintf("%s: %v", step.What, err) }
	var err error
	if len(q.answer.Seen) == 0 {
		err = q.create(ctx, step)
	} else {
		err = q.change(ctx, q.c.Steps[n-1], step)
	}
	if err != nil {
		fail(err)
		return
	}
	seen, err := q.settle(ctx, step, without)
	if err != nil {
		fail(err)
		return
	}
	q.answer.Seen = append(q.answer.Seen, *seen)
}

// tries bounds making a template anew: the order wanted is one of two.
const tries = 60

// create makes the template, until its UID gives the order that the case
// wants, then Service and policy.
func (q *question) create(ctx context.Context, step Step) error {
	var d *appsv1.Deployment
	for range tries {
		d = q.deployment()
		d.Spec.Replicas = &step.Replicas
		// The one before may be on its way out.
		err := q.until(ctx, patience, "Deployment "+q.c.Name+" on the hub", func(ctx context.Context) error {
			return q.hub.Create(ctx, d)
		})
		if err != nil {
			return err
		}
		if placement.Descending(string(d.UID)) == q.c.Descending {
			break
		}
		if err := q.hub.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return err
		}
	}
	if placement.Descending(string(d.UID)) != q.c.Descending {
		return fmt.Errorf("no UID of %d gives the order that is wanted", tries)
	}
	s := q.service()
	if err := q.hub.Create(ctx, s); err != nil {
		return err
	}
	q.about[d.UID], q.about[s.UID] = "Deployment", "Service"
	return q.hub.Create(ctx, q.policy(step.Placement))
}

func (q *question) change(ctx context.Context, before, now Step) error {
	if before.Replicas != now.Replicas {
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, now.Replicas)
		if err := q.hub.Patch(ctx, q.deployment(), client.RawPatch(types.MergePatchType, patch)); err != nil {
			return err
		}
	}
	if now.Reschedule {
		return q.reschedule(ctx)
	}
	if reflect.DeepEqual(before.Placement, now.Placement) {
		return nil
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		p := q.policy(now.Placement)
		if err := q.hub.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		p.Spec.Placement = now.Placement
		return q.hub.Update(ctx, p)
	})
}

// reschedule asks for a new decision. It counts if it is of a later second than
// the last one.
func (q *question) reschedule(ctx context.Context) error {
	b := &workv1alpha2.ResourceBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: names.Binding("Deployment", q.c.Name)}}
	return q.until(ctx, patience, "a later second than the last decision's", func(ctx context.Context) error {
		if err := q.hub.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			return err
		}
		now := metav1.Now().Rfc3339Copy()
		if last := b.Status.LastScheduledTime; last != nil && !now.After(last.Time) {
			return errors.New("it is the same")
		}
		patch := fmt.Appendf(nil, `{"spec":{"rescheduleTriggeredAt":%q}}`, now.UTC().Format(time.RFC3339))
		return q.hub.Patch(ctx, b, client.RawPatch(types.MergePatchType, patch))
	})
}

// patientLooks are how often a binding is looked at before its scheduler has to
// be proven to have seen it: one that succeeds says so by itself, and proofs
// take the scheduler's time.
const patientLooks = 20

// errUnproven: nothing shows yet that the scheduler has seen a binding as it is.
var errUnproven = errors.New("the scheduler may not have seen the binding")

// settle waits until scheduler, members and status have followed a step and
// nothing changes any more.
func (q *question) settle(ctx context.Context, step Step, without map[string]bool) (*Seen, error) {
	start := time.Now()
	var last *Seen
	still, unproven := 0, 0
	for {
		seen, lacks, err := q.look(ctx, step, without)
		if err != nil {
			return nil, err
		}
		switch {
		case !errors.Is(lacks, errUnproven):
			unproven = 0
		case unproven < patientLooks && !strings.HasPrefix(seen.Scheduled, "False"):
			unproven++ // it is about to say so
		default:
			if err := q.prove(ctx); err != nil {
				return nil, err
			}
		}
		seen.Took = time.Since(start)
		if lacks == nil && last != nil && same(last, seen) {
			if still++; still >= quiet {
				seen.Settled = true
				return seen, nil
			}
		} else {
			still = 0
		}
		if last = seen; time.Since(start) > patience {
			return seen, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}

func same(a, b *Seen) bool {
	x, y := *a, *b
	x.Took, y.Took = 0, 0
	return reflect.DeepEqual(x, y)
}

// look reads what there is, and tells in lacks what is not done yet.
func (q *question) look(ctx context.Context, step Step, without map[string]bool) (seen *Seen, lacks, err error) {
	seen = &Seen{What: step.What, Division: map[string]int32{}, Scheduled: "no binding"}
	if seen.Members, seen.Services, err = q.read(ctx, without); err != nil {
		return nil, nil, err
	}
	b := &workv1alpha2.ResourceBinding{}
	err = q.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: names.Binding("Deployment", q.c.Name)}, b)
	if apierrors.IsNotFound(err) {
		return seen, errors.New("no binding"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	q.about[b.UID] = "ResourceBinding"
	for _, c := range b.Spec.Clusters {
		seen.Division[c.Name] = c.Replicas
	}
	seen.Affinity = b.Status.SchedulerObservedAffinityName
	if c := scheduled(b); c != nil {
		seen.Scheduled = string(c.Status) + " " + c.Reason
		seen.Behind = c.Status == metav1.ConditionTrue && b.Status.SchedulerObservedGeneration != b.Generation
	}
	lacks, err = q.unscheduled(ctx, b, step)
	if err != nil {
		return nil, nil, err
	}
	if want := reachable(seen.Division, without); lacks == nil && !maps.Equal(want, seen.Members) {
		lacks = errors.New("the members have not followed")
	}
	services, lack, err := q.servicesWanted(ctx, step, without)
	switch {
	case err != nil:
		return nil, nil, err
	case lacks != nil:
	case lack != nil:
		lacks = lack
	case !slices.Equal(services, seen.Services):
		lacks = errors.New("the Service is not where its binding says")
	}
	if q.c.Live {
		if seen.Status, err = q.status(ctx); err != nil {
			return nil, nil, err
		}
		var sum int32
		for _, n := range seen.Division {
			sum += n
		}
		if s := seen.Status; lacks == nil && (s.Replicas != sum || s.Ready != sum || len(seen.Division) > 0 && !s.Observed) {
			lacks = errors.New("the status is not added up")
		}
	}
	return seen, lacks, nil
}

func scheduled(b *workv1alpha2.ResourceBinding) *metav1.Condition {
	return meta.FindStatusCondition(b.Status.Conditions, workv1alpha2.ConditionScheduled)
}

// unscheduled tells what the scheduler still has to do for a binding: first the
// binding has to be what the step makes of it, then the scheduler has to have
// seen it so. A binding that could not be scheduled keeps the placement that it
// had.
func (q *question) unscheduled(ctx context.Context, b *workv1alpha2.ResourceBinding, step Step) (lacks, err error) {
	p := q.policy(step.Placement)
	if err := q.hub.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
		return nil, err
	}
	c := scheduled(b)
	switch {
	case b.Spec.Replicas != step.Replicas:
		return errors.New("the binding does not know the replicas"), nil
	case b.Spec.Placement == nil || !equal(*b.Spec.Placement, p.Spec.Placement):
		return errors.New("the binding does not know the placement"), nil
	case c == nil:
		return errors.New("nothing is said about scheduling"), nil
	case !q.seen(b, c):
		return errUnproven, nil
	case c.Status == metav1.ConditionFalse:
		return nil, nil
	}
	applied := &policyv1alpha1.Placement{}
	if json.Unmarshal([]byte(b.Annotations[names.AppliedPlacement]), applied) != nil || !equal(*applied, p.Spec.Placement) {
		return errors.New("the scheduler has not applied the placement"), nil
	}
	return nil, nil
}

// seen tells that the scheduler has seen a binding as it is: by its status, by
// the condition, where that says what it is about, or because it was proven.
func (q *question) seen(b *workv1alpha2.ResourceBinding, c *metav1.Condition) bool {
	return b.Status.SchedulerObservedGeneration == b.Generation ||
		c.ObservedGeneration == b.Generation ||
		q.proven[b.UID] == b.Generation && c.ObservedGeneration == 0
}

// prove waits until the scheduler has certainly seen the case's bindings as they
// are now.
func (q *question) prove(ctx context.Context) error {
	now := map[types.UID]int64{}
	for _, kind := range []string{"Deployment", "Service"} {
		b := &workv1alpha2.ResourceBinding{}
		err := q.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: names.Binding(kind, q.c.Name)}, b)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		now[b.UID] = b.Generation
	}
	if err := q.barrier(ctx); err != nil {
		return err
	}
	maps.Copy(q.proven, now)
	return nil
}

func equal(a, b policyv1alpha1.Placement) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func reachable(d map[string]int32, without map[string]bool) map[string]int32 {
	out := map[string]int32{}
	for c, n := range d {
		if !without[c] {
			out[c] = n
		}
	}
	return out
}

// servicesWanted are the members that the Service's own binding names.
func (q *question) servicesWanted(ctx context.Context, step Step, without map[string]bool) (on []string, lacks, err error) {
	b := &workv1alpha2.ResourceBinding{}
	err = q.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: names.Binding("Service", q.c.Name)}, b)
	if apierrors.IsNotFound(err) {
		return nil, errors.New("its Service has no binding"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	q.about[b.UID] = "ResourceBinding of the Service"
	step.Replicas = 0 // it has none
	if lacks, err = q.unscheduled(ctx, b, step); lacks != nil || err != nil {
		return nil, lacks, err
	}
	on = []string{}
	for _, c := range b.Spec.Clusters {
		if !without[c.Name] {
			on = append(on, c.Name)
		}
	}
	slices.Sort(on)
	return on, nil, nil
}

func (q *question) status(ctx context.Context) (*Status, error) {
	d := q.deployment()
	if err := q.hub.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
		return nil, err
	}
	s := d.Status
	return &Status{
		Replicas: s.Replicas, Updated: s.UpdatedReplicas, Ready: s.ReadyReplicas, Available: s.AvailableReplicas,
		Observed: s.ObservedGeneration >= d.Generation,
	}, nil
}

// end reads the events and takes the case away.
func (q *question) end(ctx context.Context) {
	if err := q.readEvents(ctx); err != nil && q.answer.Error == "" {
		q.answer.Error = fmt.Sprintf("events: %v", err)
	}
	for _, o := range []client.Object{q.deployment(), q.service(), q.policy(policyv1alpha1.Placement{})} {
		err := q.hub.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil && q.answer.Error == "" {
			q.answer.Error = fmt.Sprintf("delete: %v", err)
		}
	}
	err := q.until(ctx, patience, "the members to have nothing of "+q.c.Name, func(ctx context.Context) error {
		replicas, services, err := q.read(ctx, nil)
		if err == nil && len(replicas)+len(services) > 0 {
			err = errors.New("something is left")
		}
		return err
	})
	q.answer.Gone = err == nil
}

func (q *question) readEvents(ctx context.Context) error {
	var list corev1.EventList
	if err := q.hub.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	for _, e := range list.Items {
		if kind := q.about[e.InvolvedObject.UID]; kind != "" {
			q.answer.Events = append(q.answer.Events, kind+": "+e.Type+" "+e.Reason)
		}
	}
	slices.Sort(q.answer.Events)
	q.answer.Events = slices.Compact(q.answer.Events)
	return nil
}
