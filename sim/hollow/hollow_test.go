package hollow

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/wan"
)

// newNetwork is a network of one site.
func newNetwork(t *testing.T) *netstack.Network {
	t.Helper()
	e, err := wan.New(wan.Policy{Sites: []wan.Site{{Cluster: "eu", Region: "eu", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := netstack.New(e)
	t.Cleanup(n.Close)
	return n
}

func newHost(t *testing.T, n *netstack.Network, addr string) *netstack.Host {
	t.Helper()
	h, err := n.AddHost(addr, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// world is a kubelet with a fake API server, driven pod by pod.
type world struct {
	t      *testing.T
	k      *kubelet
	client *fake.Clientset
}

// newWorld starts a kubelet without its server and heartbeats.
func newWorld(t *testing.T, images program.Images, objects ...*corev1.ConfigMap) *world {
	t.Helper()
	n := newNetwork(t)
	client := fake.NewSimpleClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: "default"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	})
	for _, o := range objects {
		if err := client.Tracker().Add(o); err != nil {
			t.Fatal(err)
		}
	}
	cfg := NodeConfig{
		Name: "eu-worker-1", Network: n, Addr: netip.MustParseAddr("10.1.0.2"), PodCIDR: netip.MustParsePrefix("10.2.0.0/24"),
		Images: images, Version: "v1.36.3", ClusterDomain: "cluster.local",
		BackoffBase: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond, VolumeRefresh: 20 * time.Millisecond,
		LeaseDuration: time.Second, StatusPeriod: time.Second, client: client,
	}
	k := newKubelet(cfg, newHost(t, n, "10.1.0.2"))
	k.client = client
	k.objects = newAPIObjects(client)
	k.objects.keep = 0
	k.events = newEvents(k.ctx, client, cfg.Name)
	w := &world{t: t, k: k, client: client}
	t.Cleanup(func() { k.unplug(); k.stop() })
	return w
}

// run gives a pod to the kubelet, as a watch would.
func (w *world) run(spec corev1.PodSpec) *pod {
	w.t.Helper()
	return w.runPod(&corev1.Pod{Spec: spec})
}

var podUIDs = struct {
	sync.Mutex
	n int
}{}

func (w *world) runPod(p *corev1.Pod) *pod {
	w.t.Helper()
	podUIDs.Lock()
	podUIDs.n++
	uid := types.UID("uid-" + string(rune('a'+podUIDs.n)))
	podUIDs.Unlock()
	if p.Name == "" {
		p.Name = "p"
	}
	p.Namespace, p.UID, p.Spec.NodeName = "default", uid, w.k.cfg.Name
	if p.Spec.RestartPolicy == "" {
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if _, err := w.client.CoreV1().Pods("default").Create(context.Background(), p, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.k.seen(p)
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	return w.k.pods[uid]
}

// get reads the pod from the API.
func (w *world) get(name string) (*corev1.Pod, error) {
	return w.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
}

// await waits until the API's pod is as wanted, and returns it.
func (w *world) await(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	w.t.Helper()
	var last *corev1.Pod
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		p, err := w.get(name)
		if err == nil {
			if last = p; ok(p) {
				return p
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	if last == nil {
		w.t.Fatalf("pod %s: %s: there is none", name, what)
	}
	w.t.Fatalf("pod %s: %s: still %+v", name, what, last.Status)
	return nil
}

func (w *world) gone(name string) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := w.get(name); isNotFound(err) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatalf("pod %s is still there", name)
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// delete asks for a pod's deletion as the API server does: it stays, marked.
func (w *world) delete(p *pod, graceSeconds int64) {
	w.t.Helper()
	api, err := w.get(p.name)
	if err != nil {
		w.t.Fatal(err)
	}
	at := metav1.NewTime(time.Now().Add(time.Duration(graceSeconds) * time.Second))
	api.DeletionTimestamp, api.DeletionGracePeriodSeconds = &at, &graceSeconds
	if _, err := w.client.CoreV1().Pods("default").Update(context.Background(), api, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.k.seen(api)
}

// recorder is what programs of a test have done, in order.
type recorder struct {
	mu   sync.Mutex
	what []string
}

func (r *recorder) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.what = append(r.what, s)
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.what...)
}

// image wraps one program.
func image(prog program.Func) program.Image {
	return program.Image{Entrypoint: []string{"main"}, Commands: map[string]program.Func{"main": prog}}
}

func untilDone(ctx context.Context, _ *program.Process) error { <-ctx.Done(); return nil }
