package hollow

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/sim/netstack"
)

// pod is a pod bound to this node, from its admission to its deletion. One
// goroutine (run) leads it through its life, one per running container serves
// that, and one (report) tells the API server.
type pod struct {
	k               *kubelet
	namespace, name string
	uid             types.UID
	spec            *corev1.PodSpec

	ctx    context.Context // done when the node's power is cut
	cancel context.CancelFunc
	ending context.Context // done when the pod is to end
	end    context.CancelFunc
	dirty  chan struct{} // the status has changed
	done   chan struct{} // closed when nothing of the pod runs any more

	volumes *podVolumes
	net     *podNet
	host    *netstack.Host
	addr    netip.Addr

	mu         sync.Mutex
	api        *corev1.Pod // as last seen
	containers []*container
	startTime  metav1.Time
	sandbox    bool              // network and volumes are there
	stopped    bool              // no container will run again
	endGrace   time.Duration     // of the deletion
	deleted    bool              // gone from the API
	failed     string            // a reason that ends the pod as Failed
	failedMsg  string            //
	frozen     *corev1.PodStatus // of a pod that was over before this kubelet started
}

func (k *kubelet) newPod(api *corev1.Pod) *pod {
	p := &pod{
		k: k, namespace: api.Namespace, name: api.Name, uid: api.UID, spec: api.Spec.DeepCopy(), api: api,
		dirty: make(chan struct{}, 1), done: make(chan struct{}), startTime: now(),
	}
	p.ctx, p.cancel = context.WithCancel(k.ctx)
	p.ending, p.end = context.WithCancel(p.ctx)
	for i := range p.spec.InitContainers {
		c := &p.spec.InitContainers[i]
		kind := initContainer
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			kind = sidecarContainer
		}
		p.containers = append(p.containers, newContainer(p, c, kind))
	}
	for i := range p.spec.Containers {
		c := newContainer(p, &p.spec.Containers[i], mainContainer)
		if len(p.spec.InitContainers) == 0 {
			c.state.Waiting.Reason = "ContainerCreating"
		}
		p.containers = append(p.containers, c)
	}
	if api.Status.StartTime != nil {
		p.startTime = *api.Status.StartTime
	}
	p.recall(api)
	if isTerminal(api.Status.Phase) {
		p.frozen = api.Status.DeepCopy()
	}
	return p
}

// recall takes over what an earlier kubelet of this node has reported: the
// containers it ran did not survive it.
func (p *pod) recall(api *corev1.Pod) {
	for _, list := range [][]corev1.ContainerStatus{api.Status.InitContainerStatuses, api.Status.ContainerStatuses} {
		for i := range list {
			s := &list[i]
			c := p.container(s.Name)
			if c == nil || s.ContainerID == "" {
				continue
			}
			c.restarts = s.RestartCount + 1
			c.last = s.LastTerminationState
			switch {
			case s.State.Running != nil:
				c.last = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					ExitCode: 255, Reason: "Unknown", StartedAt: s.State.Running.StartedAt, FinishedAt: now(), ContainerID: s.ContainerID,
				}}
			case s.State.Terminated != nil:
				c.last = s.State
			}
		}
	}
}

func (p *pod) container(name string) *container {
	for _, c := range p.containers {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// alive tells whether the pod may still start something.
func (p *pod) alive() bool { return p.ending.Err() == nil }

// sleep waits, or until the pod is to end.
func (p *pod) sleep(d time.Duration) bool { return sleep(p.ending, d) }

// change alters the state and has it reported.
func (p *pod) change(do func()) {
	p.mu.Lock()
	do()
	p.mu.Unlock()
	p.touch()
}

func (p *pod) touch() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

func (p *pod) grace() time.Duration {
	s := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if p.spec.TerminationGracePeriodSeconds != nil {
		s = *p.spec.TerminationGracePeriodSeconds
	}
	return time.Duration(s) * time.Second
}

func (p *pod) hostname() string {
	if p.spec.HostNetwork {
		return p.k.cfg.Name
	}
	if p.spec.Hostname != "" {
		return p.spec.Hostname
	}
	return p.name[:min(len(p.name), 63)]
}

// address is where the pod answers.
func (p *pod) address() netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

func (p *pod) facts() podFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return podFacts{pod: p.api, podIP: p.addr, hostIP: p.k.cfg.Addr, allocatable: p.k.cfg.capacity()}
}

func (p *pod) ref(field string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.namespace, Name: p.name, UID: p.uid, FieldPath: field}
}

// update takes a newer version from the API server.
func (p *pod) update(api *corev1.Pod) {
	p.mu.Lock()
	if older(api, p.api) {
		p.mu.Unlock()
		return // an echo of what our own writes have answered already
	}
	p.api = api
	p.mu.Unlock()
	if api.DeletionTimestamp != nil {
		grace := p.grace()
		if api.DeletionGracePeriodSeconds != nil {
			grace = time.Duration(*api.DeletionGracePeriodSeconds) * time.Second
		}
		p.terminate(grace)
	}
	p.touch()
}

// older tells whether a is an older version of the object than b.
func older(a, b *corev1.Pod) bool {
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return errX == nil && errY == nil && x < y
}

// now is the time to the second, as the API keeps it: what is sent must equal
// what comes back.
func now() metav1.Time { return metav1.Now().Rfc3339Copy() }

// terminate ends the pod; again with a shorter grace period hurries it.
func (p *pod) terminate(grace time.Duration) {
	p.mu.Lock()
	hurry := p.ending.Err() != nil && grace < p.endGrace
	if p.ending.Err() == nil || hurry {
		p.endGrace = grace
	}
	p.mu.Unlock()
	p.end()
	if hurry {
		go p.stopContainers(grace)
	}
}

// fail ends the pod as Failed.
func (p *pod) fail(reason, message string) {
	p.mu.Lock()
	p.failed, p.failedMsg = reason, message
	p.mu.Unlock()
	p.terminate(p.grace())
}

// run leads the pod through its life.
func (p *pod) run() {
	defer close(p.done)
	reported := make(chan struct{})
	go func() { defer close(reported); p.report() }()
	if p.frozen == nil {
		p.live()
	}
	if p.ctx.Err() != nil {
		return // the power is cut: nobody is told
	}
	p.change(func() { p.stopped = true })
	<-reported
}

// live is everything between admission and the last container's end.
func (p *pod) live() {
	if s := p.spec.ActiveDeadlineSeconds; s != nil {
		left := time.Until(p.startTime.Add(time.Duration(*s) * time.Second))
		t := time.AfterFunc(max(left, 0), func() {
			p.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
		})
		defer t.Stop()
	}
	p.touch()
	if !p.prepare() {
		return
	}
	defer p.release()
	refreshed := make(chan struct{})
	go func() { defer close(refreshed); p.refreshVolumes() }()
	var sidecars sync.WaitGroup
	if p.startInit(&sidecars) {
		p.runMain()
	}
	// The main containers are over: end what is left, sidecars above all.
	p.mu.Lock()
	grace := p.endGrace
	p.mu.Unlock()
	if p.alive() {
		grace = p.grace()
		p.end()
	}
	p.stopContainers(grace)
	sidecars.Wait()
	<-refreshed
}

// prepare sets up volumes and the network; false means the pod has ended.
func (p *pod) prepare() bool {
	addr := p.k.cfg.Addr
	host := p.k.host
	if !p.spec.HostNetwork {
		var err error
		if addr, err = p.k.ipam.take(); err == nil {
			if host, err = p.k.cfg.Network.AddHost(p.k.cfg.Name+"/"+p.namespace+"/"+p.name, addr); err != nil {
				p.k.ipam.release(addr)
			}
		}
		if err != nil {
			p.k.events.pod(p.ref(""), corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
			p.fail("FailedCreatePodSandBox", err.Error())
			return false
		}
		if p.k.services != nil {
			host.SetServices(p.k.services)
		}
	}
	p.mu.Lock()
	p.addr, p.host = addr, host
	p.net = newPodNet(host, p.resolver(host, addr))
	p.net.shared = p.spec.HostNetwork
	p.mu.Unlock()
	p.volumes = newPodVolumes(p.facts, p.k.objects, p.k.objects.token)
	wait := 100 * time.Millisecond
	var warned time.Time
	for {
		ctx, cancel := context.WithTimeout(p.ending, requestTimeout)
		err := p.volumes.refresh(ctx)
		cancel()
		if err == nil {
			break
		}
		if !p.alive() {
			p.release()
			return false
		}
		if time.Since(warned) > 10*time.Second {
			warned = time.Now()
			p.k.events.pod(p.ref(""), corev1.EventTypeWarning, "FailedMount", "%v", err)
		}
		p.sleep(wait)
		wait = min(wait*2, 2*time.Second)
	}
	p.change(func() { p.sandbox = true })
	return true
}

// release takes the pod off the network.
func (p *pod) release() {
	p.mu.Lock()
	host := p.host
	p.sandbox = false
	p.mu.Unlock()
	if host == nil || p.spec.HostNetwork {
		return
	}
	if p.k.ctx.Err() != nil {
		host.SetUp(false) // the power is cut: peers hear nothing
	}
	host.Close()
	p.k.ipam.release(p.addr)
}

// refreshVolumes keeps volumes up to date until the pod ends.
func (p *pod) refreshVolumes() {
	if !p.volumes.changing() {
		return
	}
	for p.sleep(p.k.cfg.VolumeRefresh) {
		ctx, cancel := context.WithTimeout(p.ending, requestTimeout)
		// What cannot be read now keeps its content, as on a real node.
		_ = p.volumes.refresh(ctx)
		cancel()
	}
}

// startInit runs the init containers one after another and starts the sidecars
// among them. false means the pod cannot go on.
func (p *pod) startInit(sidecars *sync.WaitGroup) bool {
	for _, c := range p.containers {
		switch c.kind {
		case initContainer:
			c.loop()
			if !p.alive() {
				return false
			}
			if t := c.exitState(); t == nil || t.ExitCode != 0 {
				return false // restartPolicy Never
			}
		case sidecarContainer:
			sidecars.Add(1)
			go func() { defer sidecars.Done(); c.loop() }()
			select {
			case <-c.startedOnce:
			case <-p.ending.Done():
				return false
			}
		}
	}
	return p.alive()
}

func (c *container) exitState() *corev1.ContainerStateTerminated {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.state.Terminated
}

// runMain runs the main containers until all are over, or the pod is to end.
func (p *pod) runMain() {
	var mains sync.WaitGroup
	for _, c := range p.containers {
		if c.kind == mainContainer {
			mains.Add(1)
			go func() { defer mains.Done(); c.loop() }()
		}
	}
	over := make(chan struct{})
	go func() { mains.Wait(); close(over) }()
	select {
	case <-over:
	case <-p.ending.Done():
		p.mu.Lock()
		grace := p.endGrace
		p.mu.Unlock()
		p.stopContainers(grace)
		<-over
	}
}

// stopContainers stops the main containers together, then the sidecars in
// reverse order, all within one grace period.
func (p *pod) stopContainers(grace time.Duration) {
	due := time.Now().Add(grace)
	var wg sync.WaitGroup
	stop := func(c *container) {
		c.stop(max(time.Until(due), 0), "Stopping container "+c.spec.Name)
	}
	for _, c := range p.containers {
		if c.kind != sidecarContainer {
			wg.Add(1)
			go func() { defer wg.Done(); stop(c) }()
		}
	}
	wg.Wait()
	for i := len(p.containers) - 1; i >= 0; i-- {
		if p.containers[i].kind == sidecarContainer {
			stop(p.containers[i])
		}
	}
}

// resolver makes the pod's stub resolver by its dnsPolicy.
func (p *pod) resolver(host *netstack.Host, addr netip.Addr) *resolver {
	r := &resolver{host: host, ndots: 1, hosts: map[string]netip.Addr{"localhost": netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.hostname(): addr}}
	if p.spec.HostNetwork {
		maps.Copy(r.hosts, p.k.cfg.hosts())
	}
	for _, a := range p.spec.HostAliases {
		if ip, err := netip.ParseAddr(a.IP); err == nil {
			for _, n := range a.Hostnames {
				r.hosts[n] = ip
			}
		}
	}
	policy := p.spec.DNSPolicy
	clusterFirst := policy == corev1.DNSClusterFirstWithHostNet || (policy == corev1.DNSClusterFirst || policy == "") && !p.spec.HostNetwork
	if clusterFirst && p.k.cfg.ClusterDNS.IsValid() {
		domain := p.k.cfg.ClusterDomain
		r.servers = []netip.Addr{p.k.cfg.ClusterDNS}
		r.search = []string{p.namespace + ".svc." + domain, "svc." + domain, domain}
		r.ndots = 5
	}
	if d := p.spec.DNSConfig; d != nil {
		for _, s := range d.Nameservers {
			if a, err := netip.ParseAddr(s); err == nil {
				r.servers = append(r.servers, a)
			}
		}
		r.search = append(r.search, d.Searches...)
		for _, o := range d.Options {
			if o.Name == "ndots" && o.Value != nil {
				_, _ = fmt.Sscan(*o.Value, &r.ndots)
			}
		}
	}
	return r
}

// etc are the files a kubelet writes into each container.
func (p *pod) etc() map[string]string {
	var hosts strings.Builder
	hosts.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
	fmt.Fprintf(&hosts, "%s\t%s\n", p.addr, p.hostname())
	if p.spec.HostNetwork {
		names := p.k.cfg.hosts()
		for _, name := range slices.Sorted(maps.Keys(names)) {
			fmt.Fprintf(&hosts, "%s\t%s\n", names[name], name)
		}
	}
	for _, a := range p.spec.HostAliases {
		fmt.Fprintf(&hosts, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return map[string]string{
		"etc/hosts":       hosts.String(),
		"etc/hostname":    p.hostname() + "\n",
		"etc/resolv.conf": p.net.names.resolvConf(),
	}
}
