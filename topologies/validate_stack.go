package topologies

import (
	"fmt"
	"slices"
)

// LibraryWorkloads are the workloads that need no manifest.
var LibraryWorkloads = []string{"hello", "nginx", "shop", "sleep"}

func (v *validator) stack() {
	s := v.t.Spec.Stack
	admin := v.t.Admin()
	if s.Admin != nil && admin == nil && !v.failed("spec.clusters") {
		v.fault("spec.stack.admin", "stack: an admin needs a cluster whose role is admin")
	}
	if s.Agents != nil {
		if s.Admin == nil && !v.failed("spec.stack") {
			v.fault("spec.stack.agents", "stack: agents need an admin, the hub that they join")
		}
		v.members("spec.stack.agents", "agents", s.Agents.On)
	}
	v.ingress()
	v.charts()
	if s.Mesh == nil {
		return
	}
	v.members("spec.stack.mesh", "mesh", s.Mesh.On)
	v.clusterSet("spec.stack.mesh.ingress", "mesh: ingress", s.Mesh.Ingress)
	for i, name := range s.Mesh.Ingress {
		if v.clusters[name] != nil && !slices.Contains(s.Mesh.On, name) {
			v.fault(fmt.Sprintf("spec.stack.mesh.ingress[%d]", i), "mesh: ingress: %s is not a cluster of the mesh", name)
		}
	}
	v.oneNetwork(s.Mesh)
	path := "spec.stack.mesh.primary"
	switch {
	case s.Mesh.Layout == PrimaryRemote && s.Mesh.Primary == "":
		if !v.failed("spec.stack.mesh") {
			v.fault("spec.stack.mesh", "mesh: the layout primary-remote needs a primary")
		}
	case s.Mesh.Layout != PrimaryRemote && s.Mesh.Primary != "":
		v.fault(path, "mesh: only the layout primary-remote has a primary, not %s", s.Mesh.Layout)
	case s.Mesh.Primary != "" && v.cluster(path, "mesh: primary", s.Mesh.Primary) && !slices.Contains(s.Mesh.On, s.Mesh.Primary):
		v.fault(path, "mesh: the primary %s is not a cluster of the mesh", s.Mesh.Primary)
	}
}

// oneNetwork checks that a flat mesh is.
func (v *validator) oneNetwork(m *MeshSpec) {
	if m.Layout != Flat {
		return
	}
	var first *Cluster
	for _, name := range m.On {
		c := v.clusters[name]
		switch {
		case c == nil:
		case first == nil:
			first = c
		case c.Network != first.Network:
			v.fault("spec.stack.mesh", "mesh: the layout flat needs one network, and %s is in %s, %s in %s", first.Name, first.Network, c.Name, c.Network)
			return
		}
	}
}

// members checks on which clusters a part of the stack is.
func (v *validator) members(path, what string, on []string) {
	v.clusterSet(path+".on", what, on)
	if len(on) == 0 && !v.failed(path) && !v.failed("spec.clusters") {
		v.fault(path, "%s: on no cluster; there is no managed one", what)
	}
}

func (v *validator) workloads() {
	first := map[string]int{}
	for i, w := range v.t.Spec.Workloads {
		path := fmt.Sprintf("spec.workloads[%d]", i)
		namePath := path + ".name"
		if v.lines[namePath] == 0 {
			namePath = path // a bare name
		}
		if v.failed(path) || !v.name(namePath, "the workload's name", w.Name) {
			continue
		}
		if j, twice := first[w.Name]; twice {
			v.fault(namePath, "workload %s: the name is taken by the workload in line %d", w.Name, v.lineAt(fmt.Sprintf("spec.workloads[%d]", j)))
		} else {
			first[w.Name] = i
		}
		if w.Manifest == "" && w.Objects == nil && !slices.Contains(LibraryWorkloads, w.Name) {
			v.fault(namePath, "workload %s: not in the library (%s), so it needs a manifest%s", w.Name, join(LibraryWorkloads), didYouMean(w.Name, LibraryWorkloads))
		}
		v.workloadVia(path, w)
	}
}

func (v *validator) workloadVia(path string, w Workload) {
	if w.Via == ViaHub {
		if v.t.Spec.Stack.Admin == nil && !v.failed("spec.stack") {
			v.fault(path+".via", "workload %s: there is no hub for it to go via; stack.admin makes one", w.Name)
		}
		if w.On != nil {
			v.fault(path+".on", "workload %s: the hub says on which clusters it is; on needs via: direct", w.Name)
		}
		if w.Place != nil {
			v.fault(path+".place", "workload %s: the hub says on which clusters it is; place needs via: direct", w.Name)
		}
		return
	}
	if w.Policy != "" {
		v.fault(path+".policy", "workload %s: only what goes via the hub has a policy to withhold", w.Name)
	}
	v.clusterSet(path+".on", "workload "+w.Name, w.On)
	if len(w.On) == 0 && !v.failed("spec.clusters") {
		v.fault(path, "workload %s: on no cluster", w.Name)
	}
	for _, name := range sortedKeys(w.Place) {
		p := path + ".place." + name
		if v.cluster(p, "workload "+w.Name+": place", name) && !slices.Contains(w.On, name) {
			v.fault(p, "workload %s: place: it is not on %s", w.Name, name)
		}
		seen := map[string]bool{}
		for i, d := range w.Place[name] {
			if seen[d] {
				v.fault(fmt.Sprintf("%s[%d]", p, i), "workload %s: place: %s names %q twice", w.Name, name, abbreviate(d))
			}
			seen[d] = true
		}
	}
}

// PlacedOn tells whether a Deployment of the workload is on a cluster.
func (w *Workload) PlacedOn(deployment, cluster string) bool {
	named := false
	for c, names := range w.Place {
		if slices.Contains(names, deployment) {
			if c == cluster {
				return true
			}
			named = true
		}
	}
	return !named
}
