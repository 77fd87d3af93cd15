package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

const (
	// unreachableWithin bounds how long a killed API server may go on answering.
	unreachableWithin = 10 * time.Second
	// restartWithin bounds how long a control plane may take to come back.
	restartWithin = 45 * time.Second
)

// controlPlaneFailure kills a cluster's control plane right after a write,
// looks at the pods meanwhile, and at the objects afterwards.
func (s *scenario) controlPlaneFailure(ctx context.Context) error {
	name := s.spec.ControlPlaneFailure.Cluster
	c, err := s.clients.cluster(name)
	if err != nil {
		return err
	}
	s.begin("put a canary into %s", name)
	k, err := s.placeCanary(ctx, name, 1, "", nil)
	if err != nil {
		return err
	}
	pods, err := k.pods(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var probers []*prober
	for i := range pods {
		if !podReady(&pods[i]) {
			continue
		}
		p, err := s.probe(ctx, name, &pods[i])
		if err != nil {
			return fmt.Errorf("ask pod %s/%s before the failure: %w", name, pods[i].Name, err)
		}
		probers = append(probers, p)
	}
	s.begin("list the objects of %s", name)
	before, err := inventory(ctx, c)
	if err != nil {
		return err
	}
	marker, err := s.writeMarker(ctx, c)
	if err != nil {
		return err
	}
	before["configmaps"][string(marker.UID)] = marker.Namespace + "/" + marker.Name

	fault := lab.Fault{Kind: lab.StopControlPlane, Cluster: name}
	s.begin("kill the control plane of %s", name)
	if s.opts.Invert {
		s.rec.inverted(fault.String())
	}
	// Registered first, so that it runs when the fault is healed: the next
	// scenario must find an API server.
	s.cleanup("wait for the API server of "+name, func(ctx context.Context) error { return s.awaitAPI(ctx, c, restartWithin) })
	killed, err := s.inject(ctx, fault)
	if err != nil {
		return err
	}
	_, err = until(ctx, "API server of "+name+" silent", unreachableWithin, func(ctx context.Context) (string, bool) {
		err := healthy(ctx, c)
		return fmt.Sprintf("answers (%v)", err), err != nil
	})
	if !s.checkTimed("the API server of "+name+" does not answer", "no answer", answersText(err != nil), err == nil, time.Since(killed)) {
		return nil
	}
	s.checkServing(ctx, "pods go on answering without a control plane", probers)
	if err := s.hubServes(ctx, name); err != nil {
		return err
	}

	s.begin("start the control plane of %s again", name)
	healed := time.Now()
	if !s.opts.Invert { // inverting leaves it dead
		if healed, err = s.heal(ctx, fault); err != nil {
			return err
		}
	}
	err = s.awaitAPI(ctx, c, s.patience(restartWithin))
	if !s.checkTimed("the API server of "+name+" answers again", "an answer", answersText(err == nil), err == nil, time.Since(healed)) {
		return err
	}
	s.rec.mark(name, "API server answers again")
	return s.nothingLost(ctx, k, before, probers)
}

// hubWithin bounds how long the hub may take to answer on a busy machine.
const hubWithin = 10 * time.Second

// hubServes asks the hub that a cluster without a control plane carries. It has
// an API server and an etcd of its own, which are pods like any others.
func (s *scenario) hubServes(ctx context.Context, name string) error {
	if s.plan.Hub == nil || s.plan.Hub.Cluster != name {
		return nil
	}
	hub, err := s.clients.cluster(lab.HubName)
	if err != nil {
		return err
	}
	start := time.Now()
	err = s.awaitAPI(ctx, hub, hubWithin)
	s.checkTimed("the hub on "+name+" goes on answering", "an answer", answersText(err == nil), err == nil, time.Since(start))
	return nil
}

func answersText(yes bool) string {
	if yes {
		return "an answer"
	}
	return "no answer"
}

// nothingLost compares the objects with those before, and has the controllers
// do something.
func (s *scenario) nothingLost(ctx context.Context, k *canary, before map[string]map[string]string, probers []*prober) error {
	name := k.cluster.name
	s.begin("compare the objects of %s", name)
	after, err := inventory(ctx, k.cluster)
	if err != nil {
		return err
	}
	for _, kind := range sortedKeys(before) {
		var lost []string
		for uid, object := range before[kind] {
			if _, ok := after[kind][uid]; !ok {
				lost = append(lost, object)
			}
		}
		slices.Sort(lost)
		seen := fmt.Sprintf("%d there", len(before[kind])-len(lost))
		if len(lost) > 0 {
			seen += ", lost: " + strings.Join(lost[:min(5, len(lost))], ", ")
		}
		s.check(kind+" by UID", fmt.Sprintf("%d there", len(before[kind])), seen, len(lost) == 0)
	}
	s.checkServing(ctx, "the same pods answer afterwards", probers)

	s.begin("have the controllers of %s work", name)
	for _, n := range []int{2, 1} {
		start := time.Now()
		_, err := until(ctx, fmt.Sprintf("canary scaled to %d", n), canaryWithin, func(ctx context.Context) (string, bool) {
			if err := k.scale(ctx, n); err != nil {
				return short(err), false
			}
			return "", true
		})
		if err == nil {
			err = k.ready(ctx, n, "")
		}
		seen := fmt.Sprintf("%d ready", n)
		if err != nil {
			seen = err.Error()
		}
		if !s.checkTimed(fmt.Sprintf("a Deployment scales to %d", n), fmt.Sprintf("%d ready", n), seen, err == nil, time.Since(start)) {
			return nil
		}
	}
	s.rec.mark(name, "controllers work")
	return nil
}

// writeMarker writes an object just before the failure; what was acknowledged
// must survive.
func (s *scenario) writeMarker(ctx context.Context, c *cluster) (*corev1.ConfigMap, error) {
	api := c.kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	const name = "atoll-marker"
	remove := func(ctx context.Context) error {
		return ignoreNotFound(api.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	s.cleanup("remove the marker from "+c.name, remove)
	if err := remove(ctx); err != nil { // of a run that was killed
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	m, err := api.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"atoll.dev/lab": s.plan.Name}},
		Data:       map[string]string{"written": time.Now().UTC().Format(time.RFC3339Nano)},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: write a marker: %w", c.name, err)
	}
	return m, nil
}

// inventory lists the objects that must outlive a control plane: kind, UID, name.
func inventory(ctx context.Context, c *cluster) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for kind, gvr := range map[string]resource{
		"deployments": deployments, "nodes": nodes,
		"services": {Version: "v1", Resource: "services"}, "configmaps": {Version: "v1", Resource: "configmaps"},
		"secrets": {Version: "v1", Resource: "secrets"}, "pods": {Version: "v1", Resource: "pods"},
	} {
		list, err := c.dyn.Resource(gvr).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("%s: list %s: %w", c.name, kind, err)
		}
		out[kind] = map[string]string{}
		for i := range list.Items {
			// What is on its way out already may be gone afterwards.
			if o := &list.Items[i]; o.GetDeletionTimestamp() == nil {
				out[kind][string(o.GetUID())] = strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
			}
		}
	}
	return out, nil
}

// healthy asks the API server whether it is ready, on a fresh context.
func healthy(ctx context.Context, c *cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

func (s *scenario) awaitAPI(ctx context.Context, c *cluster, within time.Duration) error {
	_, err := until(ctx, "API server of "+c.name+" ready", within, func(ctx context.Context) (string, bool) {
		if err := healthy(ctx, c); err != nil {
			return short(err), false
		}
		return "", true
	})
	return err
}
