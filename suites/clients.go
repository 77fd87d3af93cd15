package suites

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// resource is a kind of object in an API.
type resource = schema.GroupVersionResource

// The resources that the suites read and write beside the typed ones.
var (
	deployments = resource{Group: "apps", Version: "v1", Resource: "deployments"}
	policies    = resource{Group: "policy.karmada.io", Version: "v1alpha1", Resource: "propagationpolicies"}
	bindings    = resource{Group: "work.karmada.io", Version: "v1alpha2", Resource: "resourcebindings"}
	members     = resource{Group: "cluster.karmada.io", Version: "v1alpha1", Resource: "clusters"}
	nodes       = resource{Version: "v1", Resource: "nodes"}

	endpointSlices = resource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
)

// clients are the real Kubernetes clients of a lab, made once per cluster.
type clients struct {
	lab lab.Backend
	mu  sync.Mutex
	m   map[string]*cluster
}

// cluster is one API server, by its clients.
type cluster struct {
	name string
	cfg  *rest.Config
	kube kubernetes.Interface
	dyn  dynamic.Interface
}

func newClients(b lab.Backend) *clients { return &clients{lab: b, m: map[string]*cluster{}} }

func (c *clients) cluster(name string) (*cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, ok := c.m[name]; ok {
		return got, nil
	}
	cfg, err := c.lab.RESTConfig(name)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", name, err)
	}
	cfg = rest.AddUserAgent(rest.CopyConfig(cfg), "atoll-suites")
	cfg.QPS, cfg.Burst = -1, -1
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", name, err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", name, err)
	}
	got := &cluster{name: name, cfg: cfg, kube: kube, dyn: dyn}
	c.m[name] = got
	return got, nil
}

// ignoreNotFound is for deleting what may be gone.
func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// touch remembers an object, so that a failure can show it.
func (s *scenario) touch(cluster string, gvr resource, namespace, name string) {
	s.touched = append(s.touched, objectRef{cluster: cluster, resource: gvr, namespace: namespace, name: name})
}

// keepObjects reads the touched objects, and the events around them, into the
// result. What cannot be read is kept as the error.
func (s *scenario) keepObjects(ctx context.Context) {
	events := resource{Version: "v1", Resource: "events"}
	seen := map[objectRef]bool{}
	for _, ref := range s.touched {
		if seen[ref] {
			continue
		}
		seen[ref] = true
		s.keepObject(ctx, ref)
		if ev := (objectRef{cluster: ref.cluster, namespace: ref.namespace, resource: events}); !seen[ev] && ref.namespace != "" {
			seen[ev] = true
			s.keepObject(ctx, ev)
		}
	}
}

func (s *scenario) keepObject(ctx context.Context, ref objectRef) {
	text, err := func() ([]byte, error) {
		c, err := s.clients.cluster(ref.cluster)
		if err != nil {
			return nil, err
		}
		api := c.dyn.Resource(ref.resource).Namespace(ref.namespace)
		if ref.name == "" {
			list, err := api.List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				list.Items[i].SetManagedFields(nil)
			}
			return yaml.Marshal(list)
		}
		o, err := api.Get(ctx, ref.name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		o.SetManagedFields(nil)
		return yaml.Marshal(o)
	}()
	if err != nil {
		text = []byte("# " + err.Error() + "\n")
	}
	name := ref.resource.Resource
	for _, part := range []string{ref.namespace, ref.name} {
		if part != "" {
			name += "/" + part
		}
	}
	s.rec.object(Object{Cluster: ref.cluster, Name: name, YAML: string(text)})
}

// condition reads one of an object's status conditions; "" if it has none.
func condition(o *unstructured.Unstructured, kind string) string {
	list, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return ""
	}
	for _, item := range list {
		if c, ok := item.(map[string]any); ok && c["type"] == kind {
			status, _ := c["status"].(string)
			return status
		}
	}
	return ""
}

// short is an error in a few words, for what a wait saw last.
func short(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}
