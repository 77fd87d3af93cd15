package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

// Kubernetes looks at things now and then, and the suites look at Kubernetes
// now and then: a window is widened by this much at either end.
const windowSlack = time.Second

// nodeFailure stops a node under a pair of canary pods and follows what
// Kubernetes does about it, then starts it again.
func (s *scenario) nodeFailure(ctx context.Context) error {
	sc := s.spec.NodeFailure
	node, err := s.kubeNode(ctx, sc.Cluster, sc.Node)
	if err != nil {
		return err
	}
	s.begin("put canary pods on %s", node)
	k, err := s.canaryOn(ctx, sc.Cluster, sc.Node, node)
	if err != nil {
		return err
	}
	fault, verb := lab.Fault{Kind: lab.StopNode, Cluster: sc.Cluster, Node: sc.Node}, "stop"
	if sc.Pause {
		fault.Kind, verb = lab.PauseNode, "pause"
	}
	lane := sc.Cluster + "/" + sc.Node

	s.begin("%s %s", verb, lane)
	failed := time.Now()
	if s.opts.Invert {
		s.rec.inverted(notStopped(sc.Cluster, sc.Node))
	} else if failed, err = s.inject(ctx, fault); err != nil {
		return err
	}

	window := s.predict.NotReady
	if d := sc.Expect.NotReadyWithin.Duration; d > 0 {
		window[1] = d
	}
	s.begin("wait for %s to be NotReady", node)
	ok := s.inWindow(ctx, "node "+lane+" is NotReady", failed, window, func(ctx context.Context) (string, bool) {
		status, err := nodeReady(ctx, k.cluster, node)
		return "Ready=" + status, err == nil && status != string(corev1.ConditionTrue)
	})
	if !ok {
		return s.whetherStopped(ctx, sc.Cluster, sc.Node)
	}
	s.rec.mark(lane, "NotReady")

	window = s.predict.Replaced
	if d := sc.Expect.ReplacedWithin.Duration; d > 0 {
		window[1] = d
	}
	s.begin("wait for the pods to be evicted and replaced")
	evicted := false
	ok = s.inWindow(ctx, "its pods are replaced elsewhere", failed, window, func(ctx context.Context) (string, bool) {
		pods, err := k.pods(ctx)
		if err != nil {
			return short(err), false
		}
		gone, ready := 0, 0
		for i := range pods {
			p := &pods[i]
			switch {
			case p.Spec.NodeName == node && (p.DeletionTimestamp != nil || disrupted(p)):
				gone++
			case p.Spec.NodeName != node && podReady(p):
				ready++
			}
		}
		if gone > 0 && !evicted {
			evicted = true
			s.rec.mark(lane, "eviction begins")
		}
		return fmt.Sprintf("%d evicted, %d ready elsewhere", gone, ready), ready >= canaryPods
	})
	if !ok {
		return s.whetherStopped(ctx, sc.Cluster, sc.Node)
	}
	s.rec.mark(lane, "replaced")
	return s.startNodeAgain(ctx, k, fault, node)
}

const canaryPods = 2

// canaryOn puts the canary on the node, or says why it can't be done.
func (s *scenario) canaryOn(ctx context.Context, cluster, name, node string) (*canary, error) {
	c, err := s.clients.cluster(cluster)
	if err != nil {
		return nil, err
	}
	nodes, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cluster, err)
	}
	if !slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool { return n.Name != node && takesPods(&n) }) {
		return nil, invalid("%s has no other node that could take the pods of %s", cluster, name)
	}
	var tolerate []corev1.Toleration
	for _, t := range s.plan.Cluster(cluster).Node(name).Taints {
		tolerate = append(tolerate, corev1.Toleration{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
	}
	k, err := s.placeCanary(ctx, cluster, canaryPods, node, tolerate)
	if err != nil {
		return nil, err
	}
	pods, err := k.pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cluster, err)
	}
	on := 0
	for _, p := range pods {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			on++
		}
	}
	if on == 0 {
		return nil, invalid("the scheduler put no canary pod on %s/%s: nothing there would have to be replaced", cluster, name)
	}
	return k, nil
}

func takesPods(n *corev1.Node) bool {
	return !n.Spec.Unschedulable && nodeCondition(n) == corev1.ConditionTrue &&
		!slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
}

// inWindow waits for a condition and checks that it came true in a window of
// time since a failure.
func (s *scenario) inWindow(ctx context.Context, what string, since time.Time, window sim.Window, look func(context.Context) (string, bool)) bool {
	within := time.Until(since) + window[1] + windowSlack
	seen, _, err := s.watch(ctx, what, max(within, pollEvery), look)
	took := time.Since(since)
	expected := fmt.Sprintf("between %v and %v", window[0].Round(100*time.Millisecond), window[1].Round(100*time.Millisecond))
	if err != nil {
		return s.checkTimed(what, expected, seen, false, took)
	}
	ok := took >= window[0]-windowSlack && took <= window[1]+windowSlack
	return s.checkTimed(what, expected, fmt.Sprintf("after %v", took.Round(10*time.Millisecond)), ok, took)
}

// startNodeAgain heals the node and waits until the cluster is as before.
func (s *scenario) startNodeAgain(ctx context.Context, k *canary, fault lab.Fault, node string) error {
	const within = 90 * time.Second // real nodes boot
	lane := fault.Cluster + "/" + fault.Node
	s.begin("let %s run again", lane)
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	ok := s.await(ctx, "node "+lane+" is Ready again", "Ready=True", within, func(ctx context.Context) (string, bool) {
		status, err := nodeReady(ctx, k.cluster, node)
		return "Ready=" + status, err == nil && status == string(corev1.ConditionTrue)
	})
	if !ok {
		return nil
	}
	s.rec.mark(lane, "Ready again")
	s.await(ctx, "the evicted pods are gone from "+lane, "0 left", within, func(ctx context.Context) (string, bool) {
		pods, err := k.pods(ctx)
		if err != nil {
			return short(err), false
		}
		left := 0
		for i := range pods {
			if pods[i].DeletionTimestamp != nil {
				left++
			}
		}
		return fmt.Sprintf("%d left", left), left == 0
	})
	s.await(ctx, "the Deployments of "+fault.Cluster, "all ready", within, func(ctx context.Context) (string, bool) {
		seen := unreadyDeployments(ctx, k.cluster)
		return seen, seen == "all ready"
	})
	return nil
}

// unreadyDeployments names the Deployments that lack replicas.
func unreadyDeployments(ctx context.Context, c *cluster) string {
	list, err := c.kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return short(err)
	}
	var bad []string
	for i := range list.Items {
		if d := &list.Items[i]; !deploymentReady(d) {
			text := fmt.Sprintf("%s %d/%d", d.Name, d.Status.ReadyReplicas, replicasOf(d))
			if d.Status.ObservedGeneration < d.Generation {
				text += fmt.Sprintf(" of generation %d, asked for %d", d.Status.ObservedGeneration, d.Generation)
			}
			bad = append(bad, text)
		}
	}
	if len(bad) == 0 {
		return "all ready"
	}
	return strings.Join(bad, ", ")
}

func deploymentReady(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.ReadyReplicas == replicasOf(d)
}

// kubeNode finds Kubernetes' name of a lab's node.
func (s *scenario) kubeNode(ctx context.Context, cluster, node string) (string, error) {
	st, err := s.lab.State(ctx)
	if err != nil {
		return "", invalid("read the lab's state: %v", err)
	}
	n := findNode(st, cluster, node)
	if n == nil {
		return "", invalid("the lab has no node %s/%s", cluster, node)
	}
	s.touch(cluster, nodes, "", n.Node)
	return n.Node, nil
}

func findNode(st lab.State, cluster, node string) *lab.NodeState {
	for _, c := range st.Clusters {
		for i := range c.Nodes {
			if c.Name == cluster && c.Nodes[i].Name == node {
				return &c.Nodes[i]
			}
		}
	}
	return nil
}

func notStopped(cluster, node string) string {
	return fmt.Sprintf("node %s/%s was not stopped", cluster, node)
}

// whetherStopped accounts for a node whose failure had no effect: it may
// still run.
func (s *scenario) whetherStopped(ctx context.Context, cluster, node string) error {
	st, err := s.lab.State(ctx)
	if err != nil {
		return fmt.Errorf("read the lab's state: %w", err)
	}
	if n := findNode(st, cluster, node); n != nil && n.Running && !n.Paused {
		return fmt.Errorf("%s: the lab says that it runs", notStopped(cluster, node))
	}
	return nil
}

func nodeReady(ctx context.Context, c *cluster, name string) (string, error) {
	n, err := c.kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return short(err), err
	}
	return string(nodeCondition(n)), nil
}

func nodeCondition(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// disrupted tells whether a pod is marked as about to be evicted.
func disrupted(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	})
}
