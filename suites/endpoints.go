package suites

import (
	"context"
	"fmt"
	"net/netip"
	neturl "net/url"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// endpoints are who may answer.
type endpoints struct {
	ready map[string]int    // per cluster
	home  map[string]string // the cluster of each pod
}

// findEndpoints reads the service's endpoints from every cluster's own API.
func (s *scenario) findEndpoints(ctx context.Context, url string) (*endpoints, error) {
	service, namespace, err := serviceOf(url)
	if err != nil {
		return nil, err
	}
	eps := &endpoints{ready: map[string]int{}, home: map[string]string{}}
	for _, cl := range s.plan.Clusters {
		c, err := s.clients.cluster(cl.Name)
		if err != nil {
			return nil, err
		}
		slices, err := slicesOf(ctx, c, namespace, service)
		if err != nil {
			return nil, fmt.Errorf("%s: endpoints of %s: %w", cl.Name, service, err)
		}
		for _, slice := range slices {
			s.touch(cl.Name, endpointSlices, namespace, slice.Name)
		}
		for pod, ready := range podsIn(slices) {
			eps.home[pod] = cl.Name
			if ready {
				eps.ready[cl.Name]++
			}
		}
	}
	return eps, nil
}

func slicesOf(ctx context.Context, c *cluster, namespace, service string) ([]discoveryv1.EndpointSlice, error) {
	list, err := c.kube.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// podsIn lists the pods of endpoint slices, and whether each is ready.
func podsIn(slices []discoveryv1.EndpointSlice) map[string]bool {
	pods := map[string]bool{}
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				pods[e.TargetRef.Name] = e.Conditions.Ready == nil || *e.Conditions.Ready
			}
		}
	}
	return pods
}

// serviceOf reads the Service out of a URL: "http://hello:5000" is hello in
// the default namespace, "http://hello.shop.svc.cluster.local" is in shop.
func serviceOf(url string) (name, namespace string, err error) {
	u, err := neturl.Parse(url)
	if err != nil {
		return "", "", invalid("%v", err)
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return "", "", invalid("%s does not name a Service", url)
	}
	parts := strings.Split(host, ".")
	if len(parts) == 1 {
		return parts[0], metav1.NamespaceDefault, nil
	}
	return parts[0], parts[1], nil
}

// settleWithin bounds how long to wait for what an earlier scenario set off.
const settleWithin = 15 * time.Second

// settle waits until the hub's templates have what they ask for, and every
// pod behind the service is ready and none is leaving. A lab that does not
// come to rest is not an answer to this scenario's question: that stands on
// the timeline, and the scenario goes on.
func (s *scenario) settle(ctx context.Context, url string) error {
	service, namespace, err := serviceOf(url)
	if err != nil {
		return err
	}
	took, err := until(ctx, "the workloads at rest", settleWithin, func(ctx context.Context) (string, bool) {
		for _, name := range lab.ClusterNames(s.lab) {
			c, err := s.clients.cluster(name)
			if err != nil {
				return short(err), false
			}
			look := unreadyDeployments
			if name != lab.HubName {
				look = func(ctx context.Context, c *cluster) string { return unreadyBehind(ctx, c, namespace, service) }
			}
			if seen := look(ctx, c); seen != "all ready" {
				return name + ": " + seen, false
			}
		}
		return "", true
	})
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		s.rec.mark("endpoints", err.Error())
	case took > pollEvery:
		s.rec.mark("endpoints", fmt.Sprintf("at rest after %v", took.Round(time.Millisecond)))
	}
	return nil
}

// unreadyBehind tells how many of the pods behind a service are not ready, or
// not among its endpoints yet.
func unreadyBehind(ctx context.Context, c *cluster, namespace, service string) string {
	svc, err := c.kube.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && len(svc.Spec.Selector) == 0 {
		return "all ready"
	}
	if err != nil {
		return short(err)
	}
	pods, err := c.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(svc.Spec.Selector).String()})
	if err != nil {
		return short(err)
	}
	slices, err := slicesOf(ctx, c, namespace, service)
	if err != nil {
		return short(err)
	}
	endpoints := podsIn(slices)
	unready, unknown := 0, 0
	for i := range pods.Items {
		switch p := &pods.Items[i]; {
		case !podReady(p):
			unready++
		case !endpoints[p.Name]:
			unknown++
		}
	}
	switch {
	case unready > 0:
		return fmt.Sprintf("%d of %d pods not ready or leaving", unready, len(pods.Items))
	case unknown > 0:
		return fmt.Sprintf("%d of %d pods not among the endpoints", unknown, len(pods.Items))
	}
	return "all ready"
}
