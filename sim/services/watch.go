package services

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/atoll-dev/atoll/sim/netstack"
)

// Watch fills a table from an API server and keeps it current until ctx is
// done, through interruptions too. It returns once the table is filled.
func Watch(ctx context.Context, client kubernetes.Interface, seed uint64) (*Table, error) {
	t := NewTable(seed)
	t.Follow(ctx, client, logr.Discard())
	select {
	case <-t.Synced():
		return t, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("watch services: %w", context.Cause(ctx))
	}
}

// Proxy returns what makes kube-proxies: a table that is kept current until
// the context is done. It does not wait for the API server: until that
// answers, no address is a service.
func Proxy(seed uint64) func(context.Context, kubernetes.Interface) (netstack.Services, error) {
	var proxies atomic.Uint64
	return func(ctx context.Context, client kubernetes.Interface) (netstack.Services, error) {
		t := NewTable(seed + proxies.Add(1))
		t.Follow(ctx, client, logr.Discard())
		return t, nil
	}
}

// retry is how long to wait between attempts to reach the API server. It is
// shorter than client-go's (up to 30 s), for a lab has few clients and heals
// what it cut.
var retry = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 20, Cap: 3 * time.Second}

// Follow feeds the table from an API server until ctx is done.
func (t *Table) Follow(ctx context.Context, client kubernetes.Interface, log logr.Logger) {
	var missing atomic.Int32
	missing.Store(2)
	filled := func() func() {
		return sync.OnceFunc(func() {
			if missing.Add(-1) == 0 {
				t.syncOnce.Do(func() { close(t.synced) })
			}
		})
	}
	ctx = klog.NewContext(ctx, log)
	services := client.CoreV1().Services(metav1.NamespaceAll)
	follow(ctx, client, log, &corev1.Service{}, &store[*corev1.Service]{
		set: t.setService, remove: t.deleteService, replace: t.replaceServices, filled: filled(),
	}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return services.List(ctx, o)
		},
		WatchFuncWithContext: services.Watch,
	})
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	follow(ctx, client, log, &discoveryv1.EndpointSlice{}, &store[*discoveryv1.EndpointSlice]{
		set: t.setSlice, remove: t.deleteSlice, replace: t.replaceSlices, filled: filled(),
	}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return slices.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return slices.Watch(ctx, o)
		},
	})
}

func follow(ctx context.Context, client kubernetes.Interface, log logr.Logger, kind runtime.Object, into cache.ReflectorStore, lw *cache.ListWatch) {
	backoff := retry
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), kind, into,
		cache.ReflectorOptions{Logger: &log, Backoff: &backoff})
	go r.RunWithContext(ctx)
}

// store lets a reflector feed the table directly, without a cache of objects
// between them.
type store[T metav1.Object] struct {
	set     func(T)
	remove  func(types.NamespacedName)
	replace func([]T)
	filled  func()
}

var errKind = errors.New("an object of another kind")

func (s *store[T]) Add(obj any) error { return s.Update(obj) }

func (s *store[T]) Update(obj any) error {
	o, ok := obj.(T)
	if !ok {
		return errKind
	}
	s.set(o)
	return nil
}

func (s *store[T]) Delete(obj any) error {
	o, ok := obj.(T)
	if !ok {
		return errKind
	}
	s.remove(types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()})
	return nil
}

func (s *store[T]) Replace(objs []any, _ string) error {
	all := make([]T, 0, len(objs))
	for _, obj := range objs {
		o, ok := obj.(T)
		if !ok {
			return errKind
		}
		all = append(all, o)
	}
	s.replace(all)
	s.filled()
	return nil
}

func (s *store[T]) Resync() error { return nil }
