package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/stack/mesh"
)

const (
	// proxiesWithin bounds how long a proxy may take to be connected and synced.
	proxiesWithin = 30 * time.Second
	// goneWithin bounds how long a control plane may list proxies that are cut
	// off: a ping, and its answer that does not come.
	goneWithin = 25 * time.Second
)

// proxies asks the mesh's control plane in each cluster which proxies it
// serves, and holds that against the pods that have one.
func (s *scenario) proxies(ctx context.Context) error {
	if len(s.predict.Proxies) == 0 {
		return invalid("the plan predicts no proxies for %s", s.spec.Name)
	}
	if s.opts.Invert {
		if err := s.cutRemoteOff(ctx); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(s.predict.Proxies) {
		served := s.predict.Proxies[name]
		s.begin("ask %s for its proxies", name)
		if len(served) == 0 {
			_, err := mesh.ProxyStatus(ctx, s.lab, name)
			seen := "an answer"
			if err != nil {
				seen = err.Error()
			}
			s.check("proxies asked of "+name, "refused: "+mesh.ErrNoControlPlane.Error(), seen, errors.Is(err, mesh.ErrNoControlPlane))
			continue
		}
		for _, of := range served {
			s.await(ctx, "proxies of "+of+" asked of "+name, "every pod's with a proxy, SYNCED", s.patience(proxiesWithin), func(ctx context.Context) (string, bool) {
				return s.proxiesOf(ctx, name, of)
			})
		}
	}
	return nil
}

// proxiesOf compares what a control plane lists of a cluster with its pods.
func (s *scenario) proxiesOf(ctx context.Context, asked, of string) (string, bool) {
	want, err := s.podsWithProxy(ctx, of)
	if err != nil {
		return short(err), false
	}
	all, err := mesh.ProxyStatus(ctx, s.lab, asked)
	if err != nil {
		return short(err), false
	}
	var synced, others []string
	for _, p := range all {
		if p.Cluster != of {
			continue
		}
		name := p.Name + "." + p.Namespace
		if p.Status == mesh.Synced {
			synced = append(synced, name)
		} else {
			others = append(others, name+" "+p.Status)
		}
	}
	var missing []string
	for _, w := range want {
		if !slices.Contains(synced, w) {
			missing = append(missing, w)
		}
	}
	text := fmt.Sprintf("%d of %d SYNCED", len(want)-len(missing), len(want))
	if len(others) > 0 {
		text += "; " + strings.Join(others, ", ")
	}
	if len(missing) > 0 {
		text += "; not listed: " + strings.Join(missing[:min(len(missing), 3)], ", ")
	}
	// A pod that has just gone may be listed a little longer.
	return text, len(want) > 0 && len(missing) == 0 && len(others) == 0
}

// podsWithProxy are a cluster's running pods that have the mesh's proxy, as
// POD.NAMESPACE.
func (s *scenario) podsWithProxy(ctx context.Context, name string) ([]string, error) {
	c, err := s.clients.cluster(name)
	if err != nil {
		return nil, err
	}
	list, err := c.kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		p := &list.Items[i]
		// Of Kubernetes' own sidecars, as Istio 1.27 and later inject it, it is one.
		all := slices.Concat(p.Spec.Containers, p.Spec.InitContainers)
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning &&
			slices.ContainsFunc(all, func(c corev1.Container) bool { return c.Name == "istio-proxy" }) {
			names = append(names, p.Name+"."+p.Namespace)
		}
	}
	slices.Sort(names)
	return names, nil
}

// cutRemoteOff is the inversion: a remote cluster is cut off, until its control
// plane has noticed.
func (s *scenario) cutRemoteOff(ctx context.Context) error {
	for _, asked := range sortedKeys(s.predict.Proxies) {
		for _, of := range s.predict.Proxies[asked] {
			if of == asked {
				continue
			}
			if err := s.breakWorld(ctx, lab.Fault{Kind: lab.Partition, Between: []string{of}}); err != nil {
				return err
			}
			s.begin("wait until %s has noticed", asked)
			_, err := until(ctx, asked+" misses proxies of "+of, goneWithin, func(ctx context.Context) (string, bool) {
				text, all := s.proxiesOf(ctx, asked, of)
				return text, !all
			})
			return err
		}
	}
	return fmt.Errorf("%w: inverting needs a cluster whose control plane is another's", lab.ErrUnsupported)
}
