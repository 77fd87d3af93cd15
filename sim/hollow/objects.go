package hollow

import (
	"context"
	"sort"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const metav1Default = metav1.NamespaceDefault

// requestTimeout bounds one request of a kubelet, so that one that was under
// way when the network was cut does not hold anything up after it healed.
const requestTimeout = 10 * time.Second

// apiObjects reads what pods refer to. Pods that are alike start together on
// a node, so answers are shared for a moment.
type apiObjects struct {
	client kubernetes.Interface
	keep   time.Duration

	mu      sync.Mutex
	answers map[string]*answer
}

type answer struct {
	ready chan struct{}
	at    time.Time
	value any
	err   error
}

func newAPIObjects(client kubernetes.Interface) *apiObjects {
	return &apiObjects{client: client, keep: 500 * time.Millisecond, answers: map[string]*answer{}}
}

func (o *apiObjects) get(ctx context.Context, key string, read func(context.Context) (any, error)) (any, error) {
	o.mu.Lock()
	for k, a := range o.answers {
		select {
		case <-a.ready:
			if time.Since(a.at) > o.keep {
				delete(o.answers, k)
			}
		default:
		}
	}
	a, ok := o.answers[key]
	if !ok {
		a = &answer{ready: make(chan struct{})}
		o.answers[key] = a
	}
	o.mu.Unlock()
	if !ok {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		a.value, a.err = read(rctx)
		cancel()
		a.at = time.Now()
		if a.err != nil { // what is missing may be there the next moment
			a.at = time.Time{}
		}
		close(a.ready)
	}
	select {
	case <-a.ready:
		return a.value, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (o *apiObjects) configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	v, err := o.get(ctx, "configmap/"+namespace+"/"+name, func(ctx context.Context) (any, error) {
		return o.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return nil, err
	}
	return v.(*corev1.ConfigMap), nil
}

func (o *apiObjects) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	v, err := o.get(ctx, "secret/"+namespace+"/"+name, func(ctx context.Context) (any, error) {
		return o.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return nil, err
	}
	return v.(*corev1.Secret), nil
}

// services lists those a pod's environment names: of its namespace, and the
// API server's.
func (o *apiObjects) services(ctx context.Context, namespace string) ([]corev1.Service, error) {
	list := func(namespace, selector string) ([]corev1.Service, error) {
		v, err := o.get(ctx, "services/"+namespace+"/"+selector, func(ctx context.Context) (any, error) {
			return o.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{FieldSelector: selector, ResourceVersion: "0"})
		})
		if err != nil {
			return nil, err
		}
		return v.(*corev1.ServiceList).Items, nil
	}
	out, err := list(metav1Default, "metadata.name=kubernetes")
	if err != nil || namespace == "" {
		return out, err
	}
	own, err := list(namespace, "")
	if err != nil {
		return nil, err
	}
	all := append([]corev1.Service(nil), own...)
	if namespace != metav1Default {
		all = append(all, out...)
	}
	return all, nil
}

// token asks for a service account's token bound to a pod.
func (o *apiObjects) token(ctx context.Context, pod *corev1.Pod, src *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: src.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if src.Audience != "" {
		req.Spec.Audiences = []string{src.Audience}
	}
	got, err := o.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, req, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return got.Status.Token, got.Status.ExpirationTimestamp.Time, nil
}

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }

func isTrue(b *bool) bool { return b != nil && *b }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
