package suites

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/workloads"
)

// canaryPort is where the canary's image answers.
const canaryPort = 9898

// canary is a Deployment of the suites' own in one cluster, so that a failure
// has something to hit that nobody else scales.
type canary struct {
	s       *scenario
	cluster *cluster
	name    string
}

// placeCanary creates a canary and waits until it is ready. Its pods go to
// the preferred node where there is room, and put up with taints of the plan;
// the scenario's end removes it.
func (s *scenario) placeCanary(ctx context.Context, cluster string, replicas int32, prefer string, tolerate []corev1.Toleration) (*canary, error) {
	c, err := s.clients.cluster(cluster)
	if err != nil {
		return nil, err
	}
	k := &canary{s: s, cluster: c, name: "atoll-canary"}
	labels := map[string]string{"app": k.name}
	none := int64(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: k.name, Namespace: metav1.NamespaceDefault, Labels: map[string]string{"atoll.dev/lab": s.plan.Name}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"app": k.name, "sidecar.istio.io/inject": "false"},
					Annotations: map[string]string{"sidecar.istio.io/inject": "false"},
				},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &none,
					Tolerations:                   tolerate,
					Containers: []corev1.Container{{
						Name: "canary", Image: workloads.CanaryImage,
						Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: canaryPort}},
						ReadinessProbe: &corev1.Probe{
							PeriodSeconds: 1,
							ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(canaryPort)}},
						},
					}},
				},
			},
		},
	}
	if prefer != "" {
		d.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
				Weight: 100,
				Preference: corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
					{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{prefer}},
				}},
			}},
		}}
	}
	api := c.kube.AppsV1().Deployments(metav1.NamespaceDefault)
	remove := func(ctx context.Context) error {
		background := metav1.DeletePropagationBackground
		return ignoreNotFound(api.Delete(ctx, k.name, metav1.DeleteOptions{PropagationPolicy: &background}))
	}
	s.cleanup("remove the canary from "+cluster, remove)
	s.touch(cluster, deployments, metav1.NamespaceDefault, k.name)
	if err := remove(ctx); err != nil { // of a run that was killed
		return nil, fmt.Errorf("%s: %w", cluster, err)
	}
	_, err = until(ctx, "room for the canary in "+cluster, 10*time.Second, func(ctx context.Context) (string, bool) {
		if _, err := api.Create(ctx, d, metav1.CreateOptions{}); err != nil {
			return short(err), false
		}
		return "", true
	})
	if err != nil {
		return nil, err
	}
	return k, k.ready(ctx, int(replicas), "")
}

// pods lists the canary's pods, those being deleted too.
func (k *canary) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := k.cluster.kube.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: "app=" + k.name})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// canaryWithin bounds how long starting a few pods may take: after an outage of
// the API a kubelet looks again only now and then, half a minute apart at most.
const canaryWithin = time.Minute

// ready waits for n ready pods outside of one node (of all nodes, when empty).
func (k *canary) ready(ctx context.Context, n int, notOn string) error {
	_, err := until(ctx, fmt.Sprintf("%d ready canary pods in %s", n, k.cluster.name), canaryWithin, func(ctx context.Context) (string, bool) {
		got, err := k.countReady(ctx, notOn)
		if err != nil {
			return short(err), false
		}
		return fmt.Sprintf("%d ready", got), got == n
	})
	return err
}

func (k *canary) countReady(ctx context.Context, notOn string) (int, error) {
	pods, err := k.pods(ctx)
	n := 0
	for i := range pods {
		if podReady(&pods[i]) && (notOn == "" || pods[i].Spec.NodeName != notOn) {
			n++
		}
	}
	return n, err
}

func (k *canary) scale(ctx context.Context, n int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	_, err := k.cluster.kube.AppsV1().Deployments(metav1.NamespaceDefault).Patch(ctx, k.name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func podReady(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// prober asks a pod from inside its cluster, without the Kubernetes API: over
// HTTP if the pod spoke HTTP when it was first asked, else by connecting.
type prober struct {
	s    *scenario
	from lab.Place
	pod  string
	addr string
	http bool
}

// probe finds out how a pod can be asked. A pod that can't is an error.
func (s *scenario) probe(ctx context.Context, cluster string, p *corev1.Pod) (*prober, error) {
	port := int32(0)
	for _, c := range p.Spec.Containers {
		for _, cp := range c.Ports {
			if port == 0 && (cp.Protocol == corev1.ProtocolTCP || cp.Protocol == "") {
				port = cp.ContainerPort
			}
		}
	}
	if port == 0 {
		return nil, fmt.Errorf("pod %s/%s declares no TCP port", cluster, p.Name)
	}
	pr := &prober{s: s, from: lab.Place{Cluster: cluster}, pod: p.Name, addr: net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port))), http: true}
	_, err := pr.ask(ctx)
	if err != nil {
		pr.http = false
		_, err = pr.ask(ctx)
	}
	return pr, err
}

// ask once; the pod's answer in words.
func (p *prober) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.s.lab.DialContext(ctx, p.from, network, addr)
	}
	if !p.http {
		conn, err := dial(ctx, "tcp", p.addr)
		if err != nil {
			return "", err
		}
		return "connected", conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/", nil)
	if err != nil {
		return "", err
	}
	tr := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode >= 500 {
		return "", errors.New(resp.Status)
	}
	return "HTTP " + resp.Status, nil
}

// checkServing asks every prober once and keeps one check for all.
func (s *scenario) checkServing(ctx context.Context, what string, probers []*prober) bool {
	var bad []string
	for _, p := range probers {
		if _, err := p.ask(ctx); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", p.pod, err))
		}
	}
	seen := fmt.Sprintf("%d answer", len(probers)-len(bad))
	if len(bad) > 0 {
		seen += "; " + strings.Join(bad, "; ")
	}
	return s.check(what, fmt.Sprintf("%d answer", len(probers)), seen, len(bad) == 0)
}
