package topologies

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The values of what a file leaves out.
const (
	DefaultKubernetes = "v1.36.3"
	DefaultQueue      = 100 * time.Millisecond
	DefaultRequests   = 100

	DefaultWireGuardPort = 51820
	DefaultKeepalive     = 20 * time.Second
	DefaultAccessKeyUses = 100

	// SameRegionRTT is the round trip between clusters of one region that no
	// link of the file joins.
	SameRegionRTT = 500 * time.Microsecond
)

// setDefaults fills in whatever is left out but the CIDRs. It copes with
// anything: the topology has not been validated yet.
func (t *Topology) setDefaults() {
	s := &t.Spec
	setDefault(&s.Kubernetes, DefaultKubernetes)
	setDefault(&s.Timers, TimersDefault)
	t.flatten()
	for i := range s.Clusters {
		s.Clusters[i].setDefaults(s.Kubernetes)
	}
	s.WAN.setDefaults()
	s.Stack.setDefaults(t)
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Via == "" {
			w.Via = ViaDirect
			if s.Stack.Admin != nil {
				w.Via = ViaHub
			}
		}
		if w.Via == ViaDirect && w.On == nil {
			w.On = t.managed()
		}
	}
	t.nameScenarios()
	for i := range s.Scenarios {
		if traffic := s.Scenarios[i].Traffic; traffic != nil {
			setDefault(&traffic.Requests, DefaultRequests)
		}
	}
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c *Cluster) setDefaults(kubernetes string) {
	setDefault(&c.Role, RoleManaged)
	setDefault(&c.Network, c.Name)
	setDefault(&c.Kubernetes, kubernetes)
	controlPlanes := 0
	for i := range c.Nodes {
		g := &c.Nodes[i]
		setDefault(&g.Count, 1)
		setDefault(&g.Region, c.Region)
		if g.Role == ControlPlane {
			controlPlanes++
		}
	}
	if c.Overlay != nil {
		w := &c.Overlay.WireGuard
		setDefault(&w.Port, DefaultWireGuardPort)
		setDefault(&w.Keepalive.Duration, DefaultKeepalive)
		setDefault(&w.AccessKeyUses, DefaultAccessKeyUses)
	}
	if controlPlanes == 0 {
		// Last, so that what is before it keeps its index; Expand puts it first.
		c.Nodes = append(c.Nodes, NodeGroup{Role: ControlPlane, Count: 1, Region: c.Region})
	}
}

// flatten puts the clusters of a flat mesh that name no network into that of
// the first.
func (t *Topology) flatten() {
	mesh := t.Spec.Stack.Mesh
	if mesh == nil || mesh.Layout != Flat {
		return
	}
	network := ""
	for i := range t.Spec.Clusters {
		c := &t.Spec.Clusters[i]
		in := slices.Contains(mesh.On, c.Name)
		if mesh.On == nil {
			in = c.Role != RoleAdmin
		}
		if !in {
			continue
		}
		setDefault(&network, cmp.Or(c.Network, c.Name))
		setDefault(&c.Network, network)
	}
}

func (w *WAN) setDefaults() {
	setDefault(&w.Peering.Mode, Mesh)
	for i := range w.Links {
		l := &w.Links[i]
		setDefault(&l.Queue, Queue{Time: DefaultQueue})
		l.Loss.setDefaults()
		for j := range l.Schedule {
			l.Schedule[j].Loss.setDefaults()
		}
	}
}

// setDefaults mends a mapping with nothing but a ratio.
func (l *Loss) setDefaults() {
	if l != nil && l.Enter == 0 && l.Leave == 0 && l.Good == 0 && l.Ratio != 0 {
		l.Bad = 0
	}
}

func (s *Stack) setDefaults(t *Topology) {
	if s.Admin != nil {
		setDefault(&s.Admin.Engine, EngineBuiltin)
	}
	if s.Agents != nil {
		setDefault(&s.Agents.Mode, ModePull)
		if s.Agents.On == nil {
			s.Agents.On = t.managed()
		}
	}
	if s.Ingress != nil {
		setDefault(&s.Ingress.Engine, EngineBuiltin)
		setDefault(&s.Ingress.Class, "public")
		if s.Ingress.On == nil {
			s.Ingress.On = t.managed()
		}
	}
	if s.Mesh != nil {
		setDefault(&s.Mesh.Layout, MultiPrimary)
		setDefault(&s.Mesh.Engine, EngineBuiltin)
		if s.Mesh.On == nil {
			s.Mesh.On = t.managed()
		}
	}
	s.setChartDefaults()
}

// managed returns the names of the managed clusters.
func (t *Topology) managed() []string {
	names := []string{}
	for _, c := range t.Spec.Clusters {
		if c.Role == RoleManaged {
			names = append(names, c.Name)
		}
	}
	return names
}

// nameScenarios calls an unnamed scenario by its kind, with a number from the
// second of the kind on, passing over names that are taken.
func (t *Topology) nameScenarios() {
	taken := map[string]bool{}
	for _, s := range t.Spec.Scenarios {
		taken[s.Name] = true
	}
	for i := range t.Spec.Scenarios {
		s := &t.Spec.Scenarios[i]
		kind := s.Kind()
		if s.Name != "" || kind == "" {
			continue
		}
		s.Name = kind
		for n := 2; taken[s.Name]; n++ {
			s.Name = fmt.Sprintf("%s-%d", kind, n)
		}
		taken[s.Name] = true
	}
}
