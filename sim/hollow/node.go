package hollow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
)

// Node is a machine that can be powered on and off.
type Node struct {
	cfg NodeConfig

	mu      sync.Mutex
	host    *netstack.Host
	kubelet *kubelet // nil while stopped
	closed  bool
}

// StartNode powers a node on. It returns when the kubelet's server listens and
// the Node object is there and Ready; ctx bounds only that.
func StartNode(ctx context.Context, cfg NodeConfig) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, host: cfg.Host}
	return n, n.Start(ctx)
}

// Name is the node's name in Kubernetes.
func (n *Node) Name() string { return n.cfg.Name }

// Host is the node's host, nil while the node is stopped and has none.
func (n *Node) Host() *netstack.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host
}

// Running tells whether the node is powered on.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kubelet != nil
}

// Start boots a stopped node; one that runs is left alone. Pods that the API
// server still binds to the node are started anew.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("hollow node %s: closed", n.cfg.Name)
	}
	if n.kubelet != nil {
		return nil
	}
	if n.cfg.Host == nil {
		h, err := n.cfg.Network.AddHost(n.cfg.Name, n.cfg.Addr)
		if err != nil {
			return fmt.Errorf("hollow node %s: %w", n.cfg.Name, err)
		}
		n.host = h
	} else {
		n.host.SetUp(true)
	}
	k, err := startKubelet(ctx, n.cfg, n.host)
	if err != nil {
		n.unplug()
		return fmt.Errorf("hollow node %s: %w", n.cfg.Name, err)
	}
	n.kubelet = k
	return nil
}

// Stop cuts the node's power: its host and its pods' fall silent, programs
// end, and nobody is told.
func (n *Node) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kubelet == nil {
		return
	}
	n.kubelet.unplug()
	n.host.SetUp(false)
	n.kubelet.stop()
	n.kubelet = nil
	n.unplug()
}

// unplug takes a host of the node's own off the network.
func (n *Node) unplug() {
	n.host.SetUp(false)
	if n.cfg.Host == nil {
		n.host.Close()
		n.host = nil
	}
}

// Close stops the node for good.
func (n *Node) Close() {
	n.Stop()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
}

// kubelet is one boot of a node.
type kubelet struct {
	cfg      *NodeConfig
	host     *netstack.Host
	ctx      context.Context
	cancel   context.CancelFunc
	client   kubernetes.Interface
	conns    *connrotation.Dialer
	objects  *apiObjects
	events   *events
	ipam     *ipam
	services netstack.Services
	probes   *http.Transport
	listener net.Listener
	boot     string
	started  time.Time
	working  sync.WaitGroup
	pauses   pauses
	recover  chan struct{} // asks for the node's status to be told at once

	mu   sync.Mutex
	pods map[types.UID]*pod
	bins map[string]*volume // what /bin shows of an image, by its reference
}

// newKubelet makes a kubelet that does nothing yet.
func newKubelet(cfg NodeConfig, host *netstack.Host) *kubelet {
	k := &kubelet{
		cfg: &cfg, host: host, ipam: newIPAM(cfg.PodCIDR), pods: map[types.UID]*pod{}, bins: map[string]*volume{},
		boot: newBootID(), started: time.Now(), recover: make(chan struct{}, 1),
		probes: probeTransport(host.DialContext),
	}
	// client-go logs through the context; the process's global logger is not
	// a library's to use.
	k.ctx, k.cancel = context.WithCancel(klog.NewContext(context.Background(), cfg.Log))
	return k
}

func startKubelet(ctx context.Context, cfg NodeConfig, host *netstack.Host) (_ *kubelet, err error) {
	k := newKubelet(cfg, host)
	defer func() {
		if err != nil {
			k.unplug()
			k.stop()
		}
	}()
	k.conns = connrotation.NewDialer(host.DialContext)
	if k.client, err = k.newClient(); err != nil {
		return nil, err
	}
	k.objects = newAPIObjects(k.client)
	k.events = newEvents(k.ctx, k.client, cfg.Name)
	if err := k.serve(); err != nil {
		return nil, err
	}
	if err := k.register(ctx); err != nil {
		return nil, err
	}
	if cfg.Proxy != nil {
		if k.services, err = cfg.Proxy(k.ctx, k.client); err != nil {
			return nil, fmt.Errorf("kube-proxy: %w", err)
		}
		host.SetServices(k.services)
	}
	k.background(k.keepLease)
	k.background(k.keepStatus)
	k.background(k.watchPods)
	k.events.ofNode(corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	return k, nil
}

// newClient makes the client whose connections start at the node's host.
func (k *kubelet) newClient() (kubernetes.Interface, error) {
	if k.cfg.client != nil {
		return k.cfg.client, nil
	}
	rc := rest.CopyConfig(k.cfg.RESTConfig)
	rc.Dial = k.conns.DialContext
	rc.QPS, rc.Burst = -1, -1
	rc.UserAgent = "atoll-hollow-kubelet/" + k.cfg.Version
	rc.ContentType, rc.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	return kubernetes.NewForConfig(rc)
}

func (k *kubelet) background(do func()) {
	k.working.Add(1)
	go func() { defer k.working.Done(); do() }()
}

// powerCut is how long programs are waited for when the power is cut: they
// hold nothing any more, but tidy programs give back their memory.
const powerCut = 500 * time.Millisecond

func (k *kubelet) stop() {
	k.cancel()
	if k.listener != nil {
		k.listener.Close()
	}
	if k.conns != nil {
		k.conns.CloseAll()
	}
	k.probes.CloseIdleConnections()
	k.mu.Lock()
	pods := make([]*pod, 0, len(k.pods))
	for _, p := range k.pods {
		pods = append(pods, p)
	}
	k.mu.Unlock()
	for _, p := range pods {
		for _, c := range p.containers {
			c.cutOff()
		}
	}
	over := make(chan struct{})
	go func() {
		k.working.Wait()
		for _, p := range pods {
			<-p.done
		}
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(powerCut):
	}
	if k.events != nil {
		k.events.stop()
	}
}

// cutOff ends a run without any ceremony.
func (c *container) cutOff() {
	c.pod.mu.Lock()
	run := c.current
	c.pod.mu.Unlock()
	if run != nil {
		run.killOnce(c.pod)()
	}
}

// watchPods follows the pods bound to this node.
func (k *kubelet) watchPods() {
	mine := fields.OneTermEqualSelector("spec.nodeName", k.cfg.Name).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = mine
			return k.client.CoreV1().Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = mine
			return k.client.CoreV1().Pods("").Watch(ctx, o)
		},
	}
	backoff := watchRetry
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, k.client), &corev1.Pod{}, podStore{k},
		cache.ReflectorOptions{Logger: &k.cfg.Log, Backoff: &backoff})
	r.RunWithContext(k.ctx)
}

// watchRetry is how long to wait between attempts to reach the API server. A
// real kubelet waits up to half a minute, which a lab would wait for after
// every outage that it causes.
var watchRetry = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 20, Cap: 2 * time.Second}

// podStore hands what a reflector finds to the kubelet.
type podStore struct{ k *kubelet }

var errNoPod = errors.New("not a pod")

// Add implements cache.ReflectorStore.
func (s podStore) Add(o any) error { return s.Update(o) }

// Update implements cache.ReflectorStore.
func (s podStore) Update(o any) error {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return errNoPod
	}
	p.ManagedFields = nil
	s.k.seen(p)
	return nil
}

// Delete implements cache.ReflectorStore.
func (s podStore) Delete(o any) error {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return errNoPod
	}
	s.k.unseen(p.UID)
	return nil
}

// Replace implements cache.ReflectorStore: what is not listed is gone.
func (s podStore) Replace(all []any, _ string) error {
	listed := map[types.UID]bool{}
	for _, o := range all {
		if p, ok := o.(*corev1.Pod); ok {
			listed[p.UID] = true
		}
	}
	s.k.mu.Lock()
	var gone []types.UID
	for uid := range s.k.pods {
		if !listed[uid] {
			gone = append(gone, uid)
		}
	}
	s.k.mu.Unlock()
	for _, uid := range gone {
		s.k.unseen(uid)
	}
	for _, o := range all {
		if err := s.Update(o); err != nil {
			return err
		}
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (s podStore) Resync() error { return nil }

// seen admits a pod, or passes on a newer version of it.
func (k *kubelet) seen(api *corev1.Pod) {
	k.mu.Lock()
	p, ok := k.pods[api.UID]
	if !ok && k.ctx.Err() == nil {
		p = k.newPod(api)
		k.pods[api.UID] = p
	}
	k.mu.Unlock()
	if p == nil {
		return
	}
	p.update(api)
	if ok {
		return
	}
	go func() {
		p.run()
		if k.ctx.Err() == nil {
			k.mu.Lock()
			delete(k.pods, p.uid)
			k.mu.Unlock()
		}
		p.cancel()
	}()
}

func (k *kubelet) unseen(uid types.UID) {
	k.mu.Lock()
	p := k.pods[uid]
	k.mu.Unlock()
	if p != nil {
		p.gone()
	}
}

// find returns the pod of that name; during a replacement, the one that is not
// ending.
func (k *kubelet) find(namespace, name string) *pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *pod
	for _, p := range k.pods {
		if p.namespace == namespace && p.name == name && (found == nil || p.alive()) {
			found = p
		}
	}
	return found
}

// bin is an image's /bin: an empty file for each of its commands, so that
// scripts find them.
func (k *kubelet) bin(ref string, image program.Image) *volume {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.bins[ref]
	if !ok {
		files := map[string][]byte{}
		for name := range image.Commands {
			files[path.Base(name)] = nil
		}
		tree, err := fixedFS(files, 0o755)
		if err != nil { // a command with an odd name
			tree = newMemFS()
		}
		v = &volume{}
		v.set(tree)
		k.bins[ref] = v
	}
	return v
}
