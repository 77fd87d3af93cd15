package suites

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/workloads"
)

const (
	// passesWithin bounds how long an open way may take to show.
	passesWithin = 15 * time.Second
	// callLimit ends one call: what is dropped is never answered.
	callLimit = 3 * time.Second
)

// call is one pod to call from another cluster's.
type call struct {
	pair string
	from *sender
	url  string
}

// firewall calls pods across clusters by their addresses, with the rule,
// without it, and with it again.
func (s *scenario) firewall(ctx context.Context) error {
	rule := s.spec.Firewall.Rule
	if len(s.predict.Passes) == 0 {
		return invalid("the plan predicts that nothing passes by rule %s alone", rule)
	}
	var calls []call
	var pairs [][2]string
	for _, pair := range s.predict.Passes {
		from, to, _ := strings.Cut(pair, "→")
		sender, err := s.caller(ctx, from)
		if err != nil {
			return err
		}
		url, err := s.callee(ctx, to)
		if err != nil {
			return err
		}
		calls = append(calls, call{pair, sender, url})
		pairs = append(pairs, [2]string{from, to})
	}
	fault := lab.Fault{Kind: lab.RemoveRule, Rule: rule}
	if s.opts.Invert {
		if err := s.breakWorld(ctx, fault); err != nil {
			return err
		}
	}
	cross, err := s.claimCrossing(ctx, pairs...)
	if err != nil {
		return err
	}
	s.begin("call with rule %s", rule)
	s.awaitCalls(ctx, "with the rule: ", calls)
	if s.opts.Invert {
		return nil
	}
	if err := cross.verify(ctx, s); err != nil {
		return err
	}
	s.begin("take rule %s away", rule)
	if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	for _, c := range calls {
		seen, answered := c.try(ctx)
		s.check("without the rule: "+c.pair, "no answer", seen, !answered)
	}
	s.begin("restore rule %s", rule)
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	s.awaitCalls(ctx, "with the rule again: ", calls)
	return nil
}

func (s *scenario) awaitCalls(ctx context.Context, when string, calls []call) {
	for _, c := range calls {
		s.await(ctx, when+c.pair, "an answer", s.patience(passesWithin), c.try)
	}
}

// try calls once, by a connection of its own.
func (c call) try(ctx context.Context) (string, bool) {
	replies, err := c.from.send(ctx, c.url, 1, callLimit)
	if err != nil {
		return short(err), false
	}
	r := replies[0]
	if !r.ok() {
		return fmt.Sprintf("no answer from %s: %s", c.url, firstLine(r.body)), false
	}
	return fmt.Sprintf("HTTP %d from %s after %v", r.code, c.url, r.took.Round(100*time.Microsecond)), true
}

// caller is a ready pod of the workload in a cluster.
func (s *scenario) caller(ctx context.Context, name string) (*sender, error) {
	c, p, err := s.readyPod(ctx, name, func(*corev1.Pod) bool { return true })
	if err != nil {
		return nil, err
	}
	return &sender{cluster: c, namespace: p.Namespace, pod: p.Name, container: p.Spec.Containers[0].Name}, nil
}

// callee is the URL by which a pod of the workload says that it is ready.
func (s *scenario) callee(ctx context.Context, name string) (string, error) {
	_, p, err := s.readyPod(ctx, name, func(p *corev1.Pod) bool { return probeOf(p) != "" })
	if err != nil {
		return "", err
	}
	return probeOf(p), nil
}

// probeOf is the URL of a pod's first container's readiness probe, or "".
func probeOf(p *corev1.Pod) string {
	c := p.Spec.Containers[0]
	if c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet == nil || p.Status.PodIP == "" {
		return ""
	}
	port := c.ReadinessProbe.HTTPGet.Port.String()
	for _, declared := range c.Ports {
		if declared.Name == port {
			port = fmt.Sprint(declared.ContainerPort)
		}
	}
	return "http://" + net.JoinHostPort(p.Status.PodIP, port) + c.ReadinessProbe.HTTPGet.Path
}

func (s *scenario) readyPod(ctx context.Context, name string, suits func(*corev1.Pod) bool) (*cluster, *corev1.Pod, error) {
	c, err := s.clients.cluster(name)
	if err != nil {
		return nil, nil, err
	}
	workload := s.spec.Firewall.Workload
	var found *corev1.Pod
	_, err = until(ctx, "a ready pod of "+workload+" in "+name, passesWithin, func(ctx context.Context) (string, bool) {
		list, err := c.kube.AppsV1().Deployments(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: workloads.WorkloadLabel + "=" + workload})
		if err != nil {
			return short(err), false
		}
		for i := range list.Items {
			pods, err := podsOfDeployment(ctx, c, &list.Items[i])
			if err != nil {
				return short(err), false
			}
			for j := range pods {
				if p := &pods[j]; p.DeletionTimestamp == nil && podReady(p) && suits(p) {
					found = p
					return p.Name, true
				}
			}
		}
		return fmt.Sprintf("%d Deployments, no pod that is ready and suits", len(list.Items)), false
	})
	return c, found, err
}
