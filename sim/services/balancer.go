package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
)

// Balancer is the part of a cloud's controller that gives Services of type
// LoadBalancer an address. The address is given up when the service goes, or
// is of that type no more. Services that name a loadBalancerClass are left to
// others.
type Balancer struct {
	Client kubernetes.Interface
	Table  *Table       // of the same cluster; followed by somebody
	Prefix netip.Prefix // where the addresses come from; the first and the last are not used
	Log    logr.Logger

	given map[types.NamespacedName]netip.Addr // what the table may not show yet
}

// ErrNoAddress is wrapped by the log's error for a service that gets no
// address: all are taken, or the one it asks for is.
var ErrNoAddress = errors.New("no free load balancer address")

// Run gives addresses until ctx is done. Services that have one of Prefix when
// it starts keep it. One Run at a time per cluster.
func (b *Balancer) Run(ctx context.Context) error {
	if !b.Prefix.IsValid() || !b.Prefix.Addr().Is4() {
		return fmt.Errorf("load balancer: %v is not an IPv4 prefix", b.Prefix)
	}
	select {
	case <-b.Table.Synced():
	case <-ctx.Done():
		return nil
	}
	b.given = map[types.NamespacedName]netip.Addr{}
	q := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, 5*time.Second))
	defer context.AfterFunc(ctx, q.ShutDown)()
	defer q.ShutDown()
	defer b.Table.onChange(q.Add)()
	for {
		n, down := q.Get()
		if down {
			return nil
		}
		if err := b.reconcile(ctx, n); err != nil && ctx.Err() == nil {
			b.Log.Error(err, "load balancer", "service", n.String())
			q.AddRateLimited(n)
		} else {
			q.Forget(n)
		}
		q.Done(n)
	}
}

func (b *Balancer) reconcile(ctx context.Context, n types.NamespacedName) error {
	s, exists, taken := b.Table.balanced(n)
	if !exists || !s.wanted || s.class != "" {
		delete(b.given, n)
		if exists && s.class == "" && slices.ContainsFunc(s.ingress, b.Prefix.Contains) {
			return b.setIngress(ctx, n)
		}
		return nil
	}
	for _, a := range s.ingress {
		// Of two services with one address, the first by name keeps it.
		if b.Prefix.Contains(a) && taken[a] == n && (s.requested == "" || s.requested == a.String()) {
			delete(b.given, n)
			return nil
		}
	}
	for other, a := range b.given {
		if _, ok := taken[a]; !ok && other != n {
			taken[a] = other
		}
	}
	a, err := b.choose(n, s.requested, taken)
	if err != nil {
		return err
	}
	b.given[n] = a
	return b.setIngress(ctx, n, a)
}

// choose picks the address asked for, the one given before, or the lowest free.
func (b *Balancer) choose(n types.NamespacedName, requested string, taken map[netip.Addr]types.NamespacedName) (netip.Addr, error) {
	free := func(a netip.Addr) bool {
		owner, ok := taken[a]
		return b.usable(a) && (!ok || owner == n)
	}
	if requested != "" {
		if a, err := netip.ParseAddr(requested); err == nil && free(a) {
			return a, nil
		}
		return netip.Addr{}, fmt.Errorf("%w: %s", ErrNoAddress, requested)
	}
	if a, ok := b.given[n]; ok && free(a) {
		return a, nil
	}
	for a := b.Prefix.Masked().Addr().Next(); b.usable(a); a = a.Next() {
		if free(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w in %v", ErrNoAddress, b.Prefix)
}

func (b *Balancer) usable(a netip.Addr) bool {
	p := b.Prefix.Masked()
	return p.Contains(a) && a != p.Addr() && p.Contains(a.Next())
}

// setIngress writes the addresses of a service; none clears them.
func (b *Balancer) setIngress(ctx context.Context, n types.NamespacedName, addrs ...netip.Addr) error {
	ingress := []corev1.LoadBalancerIngress{}
	for _, a := range addrs {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}})
	if err != nil {
		return err
	}
	_, err = b.Client.CoreV1().Services(n.Namespace).Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil // gone meanwhile
	}
	if err != nil {
		return fmt.Errorf("set address of service %v: %w", n, err)
	}
	return nil
}

// balanced returns what the balancer needs to know of a service, and who has
// which address.
func (t *Table) balanced(n types.NamespacedName) (s balanced, exists bool, taken map[netip.Addr]types.NamespacedName) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	taken = map[netip.Addr]types.NamespacedName{}
	for name, s := range t.services {
		for _, a := range s.balanced.ingress {
			if o, ok := taken[a]; !ok || name.String() < o.String() {
				taken[a] = name
			}
		}
	}
	if k := t.services[n]; k != nil {
		return k.balanced, true, taken
	}
	return balanced{}, false, taken
}
