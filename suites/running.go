package suites

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/fixtures/workloads"
)

// runningWithin bounds how long a Deployment's pods may take to be ready.
const runningWithin = 60 * time.Second

// running looks in every cluster at which Deployments of a workload there are,
// and that all their pods run and are ready.
func (s *scenario) running(ctx context.Context) error {
	name, placed := s.spec.Running.Workload, s.predict.Running
	if placed == nil {
		return invalid("the plan does not know the Deployments of %s", name)
	}
	if s.opts.Invert {
		if err := s.scaleOneAway(ctx, placed); err != nil {
			return err
		}
	}
	for _, c := range s.plan.Clusters {
		client, err := s.clients.cluster(c.Name)
		if err != nil {
			return err
		}
		s.begin("look at the pods of %s in %s", name, c.Name)
		list, err := client.kube.AppsV1().Deployments(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: workloads.WorkloadLabel + "=" + name})
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		var there []string
		for _, d := range list.Items {
			there = append(there, d.Name)
		}
		want := slices.Sorted(slices.Values(placed[c.Name]))
		slices.Sort(there)
		s.check("Deployments of "+name+" in "+c.Name, listText(want), listText(there), slices.Equal(want, there))
		for _, d := range want {
			s.touch(c.Name, deployments, metav1.NamespaceDefault, d)
			s.await(ctx, d+" in "+c.Name, "every pod Running and ready", s.patience(runningWithin), func(ctx context.Context) (string, bool) {
				return podsOf(ctx, client, d)
			})
		}
	}
	return nil
}

func listText(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// podsOf tells of a Deployment's pods, and whether all run and are ready.
func podsOf(ctx context.Context, c *cluster, name string) (string, bool) {
	d, err := c.kube.AppsV1().Deployments(metav1.NamespaceDefault).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return short(err), false
	}
	want := 1
	if d.Spec.Replicas != nil {
		want = int(*d.Spec.Replicas)
	}
	if want == 0 {
		return scaledAway(name, c.name), false
	}
	pods, err := podsOfDeployment(ctx, c, d)
	if err != nil {
		return short(err), false
	}
	ready := 0
	var others []string
	for i := range pods {
		switch p := &pods[i]; {
		case p.DeletionTimestamp != nil:
			others = append(others, p.Name+" Terminating")
		case p.Status.Phase == corev1.PodRunning && podReady(p):
			ready++
		default:
			others = append(others, fmt.Sprintf("%s %s, not ready", p.Name, p.Status.Phase))
		}
	}
	text := fmt.Sprintf("%d of %d Running and ready", ready, want)
	if len(others) > 0 {
		text += "; " + strings.Join(others, ", ")
	}
	return text, ready == want && len(others) == 0
}

func podsOfDeployment(ctx context.Context, c *cluster, d *appsv1.Deployment) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, err
	}
	list, err := c.kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func scaledAway(deployment, cluster string) string {
	return "deployment " + deployment + " of " + cluster + " is scaled to 0"
}

// scaleOneAway is the inversion: one Deployment, of the seed's choice, has no
// pods any more.
func (s *scenario) scaleOneAway(ctx context.Context, placed map[string][]string) error {
	type one struct{ cluster, deployment string }
	var all []one
	for _, c := range sortedKeys(placed) {
		for _, d := range placed[c] {
			all = append(all, one{c, d})
		}
	}
	if len(all) == 0 {
		return invalid("the workload has no Deployment that could be scaled away")
	}
	it := all[rand.New(rand.NewPCG(s.seed, 1)).IntN(len(all))]
	c, err := s.clients.cluster(it.cluster)
	if err != nil {
		return err
	}
	api := c.kube.AppsV1().Deployments(metav1.NamespaceDefault)
	before, err := api.Get(ctx, it.deployment, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("%s: %w", it.cluster, err)
	}
	scale := func(ctx context.Context, n int32) error {
		_, err := api.Patch(ctx, it.deployment, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
		return err
	}
	replicas := int32(1)
	if before.Spec.Replicas != nil {
		replicas = *before.Spec.Replicas
	}
	s.cleanup("scale "+it.deployment+" of "+it.cluster+" back", func(ctx context.Context) error {
		if err := scale(ctx, replicas); err != nil {
			return err
		}
		_, err := until(ctx, it.deployment+" is ready again", cleanupLimit, func(ctx context.Context) (string, bool) {
			return podsOf(ctx, c, it.deployment)
		})
		return err
	})
	s.rec.inverted(scaledAway(it.deployment, it.cluster))
	return scale(ctx, 0)
}
