package services

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/sim/netstack"
)

// Table knows the services of one cluster. It is safe for concurrent use. It
// keeps what it needs of the objects, not the objects.
type Table struct {
	mu       sync.RWMutex
	services map[types.NamespacedName]*service
	slices   map[types.NamespacedName]map[string]*slice    // by service, then by the slice's name
	sliceOf  map[types.NamespacedName]types.NamespacedName // slice → service
	virtuals map[virtualKey]*virtual
	owned    map[types.NamespacedName][]virtualKey
	watchers map[*func(types.NamespacedName)]bool
	synced   chan struct{}
	syncOnce sync.Once

	pickMu sync.Mutex // for rand and the virtuals' clients
	rand   *rand.Rand
	now    func() time.Time
}

var (
	_ netstack.Services       = (*Table)(nil)
	_ netstack.BackendChecker = (*Table)(nil)
)

// service is what the table keeps of a Service.
type service struct {
	name         types.NamespacedName
	kind         corev1.ServiceType
	clusterIPs   []netip.Addr
	headless     bool
	externalIPs  []netip.Addr // reached like the cluster IP: external IPs, load balancers
	externalName string
	ports        []port
	affinity     time.Duration // 0: none
	balanced     balanced
}

// balanced is what the Balancer needs.
type balanced struct {
	wanted    bool
	requested string       // spec.loadBalancerIP
	ingress   []netip.Addr // status
	class     string
}

type port struct {
	name   string
	proto  uint8
	number uint16
}

// slice is what the table keeps of an EndpointSlice.
type slice struct {
	ports     []port // number 0: any
	endpoints []endpoint
}

type endpoint struct {
	addr               netip.Addr
	hostname           string
	ready              bool
	servingTerminating bool
}

type virtualKey struct {
	proto uint8
	addr  netip.AddrPort
}

// virtual is one port of a virtual address.
type virtual struct {
	backends []netip.AddrPort // sorted
	affinity time.Duration
	clients  map[netip.Addr]client
}

// client is a caller whose session has affinity.
type client struct {
	backend netip.AddrPort
	last    time.Time
}

// maxClients bounds the callers remembered per port for session affinity.
const maxClients = 16384

// NewTable makes an empty table. The seed fixes the choices of backends.
func NewTable(seed uint64) *Table {
	return &Table{
		services: map[types.NamespacedName]*service{},
		slices:   map[types.NamespacedName]map[string]*slice{},
		sliceOf:  map[types.NamespacedName]types.NamespacedName{},
		virtuals: map[virtualKey]*virtual{},
		owned:    map[types.NamespacedName][]virtualKey{},
		watchers: map[*func(types.NamespacedName)]bool{},
		synced:   make(chan struct{}),
		rand:     rand.New(rand.NewPCG(seed, 0x7365727669636573)),
		now:      time.Now,
	}
}

// Set replaces everything the table knows.
func (t *Table) Set(services []*corev1.Service, slices []*discoveryv1.EndpointSlice) {
	t.replaceServices(services)
	t.replaceSlices(slices)
	t.syncOnce.Do(func() { close(t.synced) })
}

// Synced is closed once the table has been filled.
func (t *Table) Synced() <-chan struct{} { return t.synced }

// Backend implements [netstack.Services]. As kube-proxy does, it chooses at
// random among the ready endpoints, or where there are none, among those that
// still serve while they terminate.
func (t *Table) Backend(protocol uint8, src, dst netip.AddrPort) (netip.AddrPort, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := t.virtuals[virtualKey{protocol, dst}]
	if v == nil {
		return netip.AddrPort{}, false
	}
	if len(v.backends) == 0 {
		return netip.AddrPort{}, true
	}
	t.pickMu.Lock()
	defer t.pickMu.Unlock()
	if v.affinity == 0 {
		return v.backends[t.rand.IntN(len(v.backends))], true
	}
	now := t.now()
	c, ok := v.clients[src.Addr()]
	if !ok || now.Sub(c.last) > v.affinity || !contains(v.backends, c.backend) {
		c.backend = v.backends[t.rand.IntN(len(v.backends))]
	}
	c.last = now
	if !ok && len(v.clients) >= maxClients {
		maps.DeleteFunc(v.clients, func(_ netip.Addr, c client) bool { return now.Sub(c.last) > v.affinity })
		if len(v.clients) >= maxClients {
			return c.backend, true // not remembered
		}
	}
	v.clients[src.Addr()] = c
	return c.backend, true
}

// HasBackend implements [netstack.BackendChecker].
func (t *Table) HasBackend(protocol uint8, dst, backend netip.AddrPort) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := t.virtuals[virtualKey{protocol, dst}]
	return v != nil && contains(v.backends, backend)
}

func contains(sorted []netip.AddrPort, a netip.AddrPort) bool {
	_, ok := slices.BinarySearchFunc(sorted, a, netip.AddrPort.Compare)
	return ok
}

// onChange makes the table call f for each service that changes or goes, until
// stop is called, and now for those that are there. f must not call the table.
func (t *Table) onChange(f func(types.NamespacedName)) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[&f] = true
	for n := range t.services {
		f(n)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, &f)
	}
}

// changed is called with mu held.
func (t *Table) changed(names ...types.NamespacedName) {
	for _, n := range names {
		t.rebuild(n)
		for f := range t.watchers {
			(*f)(n)
		}
	}
}

func (t *Table) setService(s *corev1.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keepService(s)
	t.services[k.name] = k
	t.changed(k.name)
}

func (t *Table) deleteService(n types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.services, n)
	t.changed(n)
}

func (t *Table) replaceServices(all []*corev1.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := map[types.NamespacedName]bool{}
	for n := range t.services {
		names[n] = true
	}
	clear(t.services)
	for _, s := range all {
		k := keepService(s)
		t.services[k.name] = k
		names[k.name] = true
	}
	t.changed(sorted(names)...)
}

func (t *Table) setSlice(s *discoveryv1.EndpointSlice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := sliceService(s)
	touched := t.dropSlice(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
	if of.Name != "" {
		t.putSlice(of, s)
		touched[of] = true
	}
	t.changed(sorted(touched)...)
}

func (t *Table) deleteSlice(n types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed(sorted(t.dropSlice(n))...)
}

func (t *Table) replaceSlices(all []*discoveryv1.EndpointSlice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := map[types.NamespacedName]bool{}
	for n := range t.slices {
		names[n] = true
	}
	clear(t.slices)
	clear(t.sliceOf)
	for _, s := range all {
		if of := sliceService(s); of.Name != "" {
			t.putSlice(of, s)
			names[of] = true
		}
	}
	t.changed(sorted(names)...)
}

func (t *Table) putSlice(of types.NamespacedName, s *discoveryv1.EndpointSlice) {
	if t.slices[of] == nil {
		t.slices[of] = map[string]*slice{}
	}
	t.slices[of][s.Name] = keepSlice(s)
	t.sliceOf[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = of
}

// dropSlice forgets a slice, whichever service it was of.
func (t *Table) dropSlice(n types.NamespacedName) map[types.NamespacedName]bool {
	touched := map[types.NamespacedName]bool{}
	of, ok := t.sliceOf[n]
	if !ok {
		return touched
	}
	delete(t.sliceOf, n)
	delete(t.slices[of], n.Name)
	if len(t.slices[of]) == 0 {
		delete(t.slices, of)
	}
	touched[of] = true
	return touched
}

func sorted(names map[types.NamespacedName]bool) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(names), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// rebuild makes the virtual addresses of one service anew.
func (t *Table) rebuild(n types.NamespacedName) {
	old := map[virtualKey]*virtual{}
	for _, k := range t.owned[n] {
		old[k] = t.virtuals[k]
		delete(t.virtuals, k)
	}
	delete(t.owned, n)
	s := t.services[n]
	if s == nil || s.headless || s.kind == corev1.ServiceTypeExternalName {
		return
	}
	for _, p := range s.ports {
		backends := t.backends(s, p)
		for _, addr := range slices.Concat(s.clusterIPs, s.externalIPs) {
			k := virtualKey{p.proto, netip.AddrPortFrom(addr, p.number)}
			if t.virtuals[k] != nil {
				continue // another service's address: the first keeps it
			}
			v := &virtual{backends: backends, affinity: s.affinity}
			if s.affinity > 0 {
				v.clients = map[netip.Addr]client{}
				if o := old[k]; o != nil && o.clients != nil {
					v.clients = o.clients
				}
			}
			t.virtuals[k] = v
			t.owned[n] = append(t.owned[n], k)
		}
	}
}

// backends are where a service's port leads to now.
func (t *Table) backends(s *service, p port) []netip.AddrPort {
	var ready, terminating []netip.AddrPort
	for _, sl := range t.slices[s.name] {
		for _, ep := range sl.ports {
			if ep.name != p.name || ep.proto != p.proto || ep.number == 0 {
				continue
			}
			for _, e := range sl.endpoints {
				a := netip.AddrPortFrom(e.addr, ep.number)
				switch {
				case e.ready:
					ready = append(ready, a)
				case e.servingTerminating:
					terminating = append(terminating, a)
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = terminating
	}
	slices.SortFunc(ready, netip.AddrPort.Compare)
	return slices.Compact(ready)
}
