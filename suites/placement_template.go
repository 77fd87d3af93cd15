package suites

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/workloads"
	"github.com/atoll-dev/atoll/topologies"
)

// template is a workload's Deployment on the hub, and the policy that places it.
type template struct {
	s                           *scenario
	hub                         *cluster
	namespace, name, policyName string
	uid                         string
	replicas                    int
	weights                     map[string]int64 // in force, by cluster
	workload                    *topologies.Workload
	extended                    []string // workloads that the policy selects as well
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
	t := &template{s: s, hub: hub, namespace: d.Namespace, name: d.Name, uid: string(d.UID), replicas: int(replicasOf(d)),
		workload: s.plan.Topology.Workload(workload)}
	s.touch(lab.HubName, deployments, t.namespace, t.name)
	for _, m := range s.plan.Hub.Members {
		s.touch(m, deployments, t.namespace, t.name)
	}
	if err := t.findPolicy(ctx); err != nil {
		return nil, err
	}
	s.touch(lab.HubName, policies, t.namespace, t.policyName)
	s.touch(lab.HubName, bindings, t.namespace, t.name+"-deployment")
	return t, nil
}

func (t *template) setReplicas(ctx context.Context, n int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	_, err := t.hub.kube.AppsV1().Deployments(t.namespace).Patch(ctx, t.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "atoll-suites"})
	if err != nil {
		return fmt.Errorf("hub: scale %s to %d: %w", t.name, n, err)
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
