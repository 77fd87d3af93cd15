package agreement

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/cluster/v1alpha1"
)

// room waits until the hub knows of every member what is there, and nothing of
// the cases is any more, and returns how much is free.
func (a *asker) room(ctx context.Context) (map[string]Room, error) {
	out := map[string]Room{}
	for name, member := range a.members {
		err := a.until(ctx, failurePatience, "the hub to know the room on "+name, func(ctx context.Context) error {
			var nodes corev1.NodeList
			var pods corev1.PodList
			if err := member.List(ctx, &nodes); err != nil {
				return err
			}
			if err := member.List(ctx, &pods); err != nil {
				return err
			}
			var running int64
			for i := range pods.Items {
				p := &pods.Items[i]
				if p.Namespace == namespace {
					return fmt.Errorf("pod %s is still there", p.Name)
				}
				if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
					running++
				}
			}
			c := &clusterv1alpha1.Cluster{}
			if err := a.hub.Get(ctx, client.ObjectKey{Name: name}, c); err != nil {
				return err
			}
			s := c.Status.ResourceSummary
			if s == nil {
				return fmt.Errorf("Cluster %s has no summary", name)
			}
			known := s.Allocated.Pods().Value() + s.Allocating.Pods().Value()
			if known != running {
				return fmt.Errorf("it knows of %d pods, there are %d", known, running)
			}
			r := Room{Pods: s.Allocatable.Pods().Value() - known, Nodes: map[uint]int{}}
			graded := 0
			for _, m := range s.AllocatableModelings {
				r.Nodes[m.Grade] = m.Count
				graded += m.Count
			}
			if graded != len(nodes.Items) {
				return fmt.Errorf("it has graded %d nodes of %d", graded, len(nodes.Items))
			}
			out[name] = r
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
