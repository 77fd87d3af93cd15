package views

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/stack/mesh"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/topologies"
)

const (
	// rootNamespace is where a mesh keeps its remote secrets.
	rootNamespace = "istio-system"
	// patience bounds how long views may take to change, where they have to.
	patience = 45 * time.Second
	// quiet is how long views have to have been the same. A control plane waits
	// at most ten seconds for more changes before it tells any (Istio's
	// PILOT_DEBOUNCE_MAX), and a tenth of one where there are no more.
	quiet     = 3 * time.Second
	pollEvery = 200 * time.Millisecond
	timeUnit  = 100 * time.Millisecond
)

// Options are what is told in the record, and of what happens.
type Options struct {
	Engine   string
	Versions map[string]string
	Events   lab.Sink
}

// asker asks one lab.
type asker struct {
	lab     lab.Backend
	plan    *sim.Plan
	clients map[string]kubernetes.Interface
	dead    string // the cluster whose API server is
}

// Ask takes a lab's mesh through the steps. An error means that it could not be
// asked; what is done to the lab is undone.
func Ask(ctx context.Context, b lab.Backend, o Options) (*Record, error) {
	if o.Events == nil {
		o.Events = func(lab.Event) {}
	}
	a := &asker{lab: b, plan: b.Plan(), clients: map[string]kubernetes.Interface{}}
	all := mesh.Members(a.plan)
	if len(all) < 2 {
		return nil, fmt.Errorf("views are compared in a mesh of at least two clusters; lab %s has none", a.plan.Name)
	}
	for _, name := range all {
		cfg, err := b.RESTConfig(name)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
		cfg = rest.CopyConfig(cfg)
		cfg.QPS = -1 // the lab has no one to be fair to
		if a.clients[name], err = kubernetes.NewForConfig(cfg); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
	}
	r := &Record{Engine: o.Engine, Versions: o.Versions, Started: time.Now()}
	err := a.walk(ctx, r, o.Events)
	r.Elapsed = time.Since(r.Started)
	return r, err
}

// step is something to do, whether proxies have to be told of it, which clients
// can't be asked then, by how their names begin, and whether all has to be as
// it was at first.
type step struct {
	what    string
	changes bool
	without string
	do      func(context.Context) error
	mends   bool
}

// steps are what a plan's mesh is taken through, always back to where it was:
// to the last cluster of it, as the others see it.
func (a *asker) steps() ([]step, error) {
	all := mesh.Members(a.plan)
	of := all[len(all)-1]
	var observers []string
	for _, name := range mesh.Primaries(a.plan) {
		if name != of {
			observers = append(observers, name)
		}
	}
	if len(observers) == 0 {
		return nil, fmt.Errorf("the mesh has no control plane but that of %s", of)
	}
	out := []step{{what: "as it is", do: func(context.Context) error { return nil }}}
	if name := a.scalable(of); name != "" {
		was := new(int32)
		for _, to := range []struct {
			what string
			by   func(int32) int32
			no   string
		}{
			{"two more pods of " + name + " in " + of, func(n int32) int32 { return n + 2 }, ""},
			{"no pod of " + name + " in " + of, func(int32) int32 { return 0 }, of + "/" + name},
			{name + " in " + of + " as it was", func(n int32) int32 { return n }, ""},
		} {
			out = append(out, step{what: to.what, changes: true, without: to.no, do: func(ctx context.Context) error {
				return a.scale(ctx, of, name, was, to.by)
			}})
		}
	}
	observer := observers[0]
	var kept *corev1.Secret
	secrets := a.clients[observer].CoreV1().Secrets(rootNamespace)
	fault := lab.Fault{Kind: lab.KillComponent, Cluster: of, Component: "kube-apiserver"}
	return append(out,
		step{what: "the remote secret of " + of + " is deleted in " + observer, changes: true, do: func(ctx context.Context) (err error) {
			if kept, err = secrets.Get(ctx, mesh.RemoteSecret(of), metav1.GetOptions{}); err != nil {
				return err
			}
			return secrets.Delete(ctx, kept.Name, metav1.DeleteOptions{})
		}},
		step{what: "it is back", changes: true, do: func(ctx context.Context) error {
			kept.ResourceVersion, kept.UID = "", ""
			_, err := secrets.Create(ctx, kept, metav1.CreateOptions{})
			return err
		}},
		step{what: "the API server of " + of + " is dead", without: of + "/", do: func(ctx context.Context) error {
			a.dead = of
			return a.lab.Apply(ctx, []lab.Fault{fault})
		}},
		step{what: "it is back, too", mends: true, do: func(ctx context.Context) error {
			if err := a.lab.Apply(ctx, nil); err != nil {
				return err
			}
			a.dead = ""
			return nil
		}},
	), nil
}

// walk takes the steps. However it ends, nothing stays dead.
func (a *asker) walk(ctx context.Context, r *Record, events lab.Sink) (err error) {
	steps, err := a.steps()
	if err != nil {
		return err
	}
	defer func() {
		if a.dead != "" {
			err = errors.Join(err, a.lab.Apply(context.WithoutCancel(ctx), nil))
		}
	}()
	var first, before map[string]View
	for _, s := range steps {
		err := events.Step("views: "+s.what, "", func() error {
			if err := s.do(ctx); err != nil {
				return err
			}
			seen, err := a.settle(ctx, func(now map[string]View) bool {
				return (!s.changes || !reflect.DeepEqual(now, before)) && (first == nil || sameClients(first, now, s.without)) &&
					(!s.mends || reflect.DeepEqual(now, first))
			})
			if err != nil {
				return err
			}
			seen.What = s.what
			before = seen.Views
			if first == nil {
				first = before
			}
			r.Steps = append(r.Steps, *seen)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// sameClients tells whether all are there that were first, but for those that
// can't be asked.
func sameClients(first, now map[string]View, without string) bool {
	for client := range first {
		asked := without == "" || !strings.HasPrefix(client, without)
		if (now[client] != nil) != asked {
			return false
		}
	}
	return true
}

// settle waits until the views are such that the step may be over, and have been
// the same for long enough.
func (a *asker) settle(ctx context.Context, over func(map[string]View) bool) (*Step, error) {
	begun := time.Now()
	out := &Step{}
	since := begun
	var faults error
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		views, err := a.views(ctx)
		now := time.Now()
		switch {
		case err != nil:
			faults, since = err, now
		case !reflect.DeepEqual(views, out.Views):
			out.Views, since = views, now
		}
		out.Took = since.Sub(begun)
		if err == nil && now.Sub(since) >= quiet && over(views) {
			out.Settled = true
			return out, nil
		}
		if now.Sub(begun) > patience {
			if out.Views == nil {
				return nil, faults
			}
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// views asks one proxy of each workload, and of each gateway, in each cluster
// whose API server lives.
func (a *asker) views(ctx context.Context) (map[string]View, error) {
	out := map[string]View{}
	for _, name := range slices.Sorted(maps.Keys(a.clients)) {
		if name == a.dead {
			continue
		}
		for _, namespace := range []string{metav1.NamespaceDefault, rootNamespace} {
			if err := a.viewsOf(ctx, name, namespace, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (a *asker) viewsOf(ctx context.Context, cluster, namespace string, out map[string]View) error {
	pods, err := a.clients[cluster].CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	slices.SortFunc(pods.Items, func(x, y corev1.Pod) int { return x.CreationTimestamp.Compare(y.CreationTimestamp.Time) })
	for i := range pods.Items {
		p := &pods.Items[i]
		client := cluster + "/" + p.Labels["app"]
		if out[client] != nil || !ready(p) {
			continue
		}
		s, err := mesh.View(ctx, a.lab, cluster, namespace, p.Name)
		if err != nil {
			return err
		}
		if s == nil {
			return fmt.Errorf("%s has no configuration", client)
		}
		out[client] = viewOf(a.plan, s, namespace == rootNamespace)
	}
	return nil
}

// ready tells whether a pod is, and has a proxy.
func ready(p *corev1.Pod) bool {
	all := slices.Concat(p.Spec.Containers, p.Spec.InitContainers)
	return p.DeletionTimestamp == nil && p.Labels["app"] != "" &&
		slices.ContainsFunc(all, func(c corev1.Container) bool { return c.Name == "istio-proxy" }) &&
		slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
}

// scalable is a workload that only this topology scales and that is in a cluster
// and in others; "" if there is none.
func (a *asker) scalable(cluster string) string {
	for _, w := range a.plan.Topology.Spec.Workloads {
		if w.Via == topologies.ViaDirect && len(w.Place) == 0 && slices.Contains(w.On, cluster) && len(w.On) > 1 {
			return w.Name
		}
	}
	return ""
}

// scale changes how many pods a Deployment has, and waits until they are. was is
// how many it had the first time.
func (a *asker) scale(ctx context.Context, cluster, name string, was *int32, by func(int32) int32) error {
	api := a.clients[cluster].AppsV1().Deployments(metav1.NamespaceDefault)
	d, err := api.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *was == 0 {
		*was = *d.Spec.Replicas
	}
	want := by(*was)
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, want)
	if _, err := api.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	return lab.Until(ctx, pollEvery, fmt.Sprintf("%d pods of %s", want, name), func(ctx context.Context) error {
		d, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas != want || d.Status.Replicas != want {
			return fmt.Errorf("%d of %d are ready", d.Status.ReadyReplicas, d.Status.Replicas)
		}
		return nil
	})
}
