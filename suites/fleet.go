package suites

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
)

// fleet follows one Deployment on several clusters by watching each cluster's
// own API server.
type fleet struct {
	clusters []string
	onChange func(map[string]held)

	mu      sync.Mutex
	state   map[string]held
	changed chan struct{} // closed and replaced at every change
}

// held is what one cluster holds of the Deployment.
type held struct {
	there    bool
	replicas int // in its spec
	ready    int
}

// follow starts the watches and waits until each cluster was heard from.
// They end with ctx.
func (s *scenario) follow(ctx context.Context, namespace, name string, clusters []string) (*fleet, error) {
	f := &fleet{clusters: clusters, state: map[string]held{}, changed: make(chan struct{})}
	f.onChange = func(state map[string]held) {
		ready := map[string]int{}
		for c, h := range state {
			ready[c] = h.ready
		}
		s.rec.replicas(ready)
	}
	var synced []cache.InformerSynced
	for _, cluster := range clusters {
		c, err := s.clients.cluster(cluster)
		if err != nil {
			return nil, err
		}
		lw := cache.NewListWatchFromClient(c.kube.AppsV1().RESTClient(), "deployments", namespace, fields.OneTermEqualSelector("metadata.name", name))
		set := func(o any) {
			if d, ok := o.(*appsv1.Deployment); ok {
				f.set(cluster, held{there: true, replicas: int(replicasOf(d)), ready: int(d.Status.ReadyReplicas)})
			}
		}
		_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: lw, ObjectType: &appsv1.Deployment{},
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    set,
				UpdateFunc: func(_, o any) { set(o) },
				DeleteFunc: func(any) { f.set(cluster, held{}) },
			},
		})
		go informer.RunWithContext(ctx)
		synced = append(synced, informer.HasSynced)
	}
	_, err := until(ctx, fmt.Sprintf("a first reading of deployment %s from %s", name, strings.Join(clusters, ", ")), 10*time.Second,
		func(context.Context) (string, bool) {
			for i, ok := range synced {
				if !ok() {
					return "nothing yet from " + clusters[i], false
				}
			}
			return "", true
		})
	return f, err
}

func replicasOf(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func (f *fleet) set(cluster string, h held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[cluster] = h
	close(f.changed)
	f.changed = make(chan struct{})
	f.onChange(f.state)
}

// read returns each cluster's replicas as asked for and as ready, and a
// channel that is closed at the next change.
func (f *fleet) read() (want, ready map[string]int, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want, ready = map[string]int{}, map[string]int{}
	for _, c := range f.clusters {
		if h := f.state[c]; h.there {
			want[c], ready[c] = h.replicas, h.ready
		}
	}
	return want, ready, f.changed
}

// wait until hold says so, and return how long it took since start.
func (f *fleet) wait(ctx context.Context, what string, start time.Time, within time.Duration, hold func(want, ready map[string]int) bool) (time.Duration, error) {
	limited, cancel := context.WithDeadline(ctx, start.Add(within))
	defer cancel()
	for {
		want, ready, changed := f.read()
		if hold(want, ready) {
			return time.Since(start), nil
		}
		select {
		case <-changed:
		case <-limited.Done():
			e := &waitError{What: what, Within: within, Seen: division(want) + " asked for, " + division(ready) + " ready"}
			if ctx.Err() != nil {
				e.Cause = context.Cause(ctx)
			}
			return time.Since(start), e
		}
	}
}

// division writes replicas per cluster: "ap 3, eu 4, us 3"; a cluster without
// the Deployment is not in it.
func division(counts map[string]int) string {
	var parts []string
	for _, c := range sortedKeys(counts) {
		parts = append(parts, fmt.Sprintf("%s %d", c, counts[c]))
	}
	if len(parts) == 0 {
		return "nowhere"
	}
	return strings.Join(parts, ", ")
}
