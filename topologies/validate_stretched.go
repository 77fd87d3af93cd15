package topologies

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// nodeName checks a group's own name, and what goes with it.
func (v *validator) nodeName(path string, c *Cluster, g NodeGroup) {
	if g.Schedulable && g.Role == Worker {
		v.fault(path+".schedulable", "cluster %s: schedulable is for control-plane nodes; a worker takes pods anyway", c.Name)
	}
	if g.Name == "" && v.lines[path+".name"] == 0 {
		return
	}
	if v.name(path+".name", "cluster "+c.Name+": the node's name", g.Name) && g.Count > 1 {
		v.fault(path+".name", "cluster %s: %d nodes can't all be called %s; give each an entry of its own", c.Name, g.Count, g.Name)
	}
}

// nodeNamesTwice reports own names that another node of the cluster has.
func (v *validator) nodeNamesTwice(path string, c *Cluster) {
	if v.failed(path) {
		return
	}
	taken := map[string]int{}
	for _, n := range c.Expand() {
		taken[n.Name]++
	}
	first := map[string]int{}
	for i, g := range c.Nodes {
		if g.Name == "" || g.Count > 1 {
			continue
		}
		p := fmt.Sprintf("%s[%d].name", path, i)
		j, twice := first[g.Name]
		switch {
		case twice:
			v.fault(p, "cluster %s: node %s: the name is taken by the node in line %d", c.Name, g.Name, v.lineAt(fmt.Sprintf("%s[%d].name", path, j)))
		case taken[g.Name] > 1 && !slices.ContainsFunc(c.Nodes[i+1:], func(o NodeGroup) bool { return o.Name == g.Name }):
			v.fault(p, "cluster %s: node %s: a node without a name of its own is called so", c.Name, g.Name)
		default:
			first[g.Name] = i
		}
	}
}

func (v *validator) siteFailureScenario(path, what string, s *SiteFailureScenario) {
	if v.cluster(path+".cluster", what, s.Cluster) {
		v.site(path+".region", what, v.clusters[s.Cluster], s.Region)
		if w := v.workload(path+".workload", what, s.Workload); w != nil {
			switch {
			case w.Via != ViaDirect:
				v.fault(path+".workload", "%s: workload %s goes via the hub; a site failure is about one cluster's own", what, s.Workload)
			case !slices.Contains(w.On, s.Cluster):
				v.fault(path+".workload", "%s: workload %s is not on %s", what, s.Workload, s.Cluster)
			}
		}
	}
	if s.Page != "" || v.lines[path+".page"] != 0 {
		v.url(path+".page", what, s.Page)
		in := v.t.Spec.Stack.Ingress
		if (in == nil || !slices.Contains(in.On, s.Cluster)) && v.clusters[s.Cluster] != nil && !v.failed("spec.stack") {
			v.fault(path+".page", "%s: no ingress is on %s to answer %s; stack.ingress puts one there", what, s.Cluster, abbreviate(s.Page))
		}
	}
	v.duration(path+".expect.notReadyWithin", what+": notReadyWithin", s.Expect.NotReadyWithin)
	v.duration(path+".expect.replacedWithin", what+": replacedWithin", s.Expect.ReplacedWithin)
}

// site checks that a cluster has nodes in a region, and others elsewhere that
// can take pods over.
func (v *validator) site(path, what string, c *Cluster, region string) {
	if v.failed(path) || region == "" && v.lines[path] == 0 || nodeCount(*c) > maxNodes {
		return
	}
	regions := c.Regions()
	nodes := c.Expand()
	if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Region == region }) {
		v.fault(path, "%s: cluster %s has no node in region %q; it has nodes in %s", what, c.Name, abbreviate(region), join(regions))
		return
	}
	if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Region != region && takesPods(n, nodes) }) {
		v.fault(path, "%s: outside of %s no node of %s takes ordinary pods, so nothing can take its pods over", what, region, c.Name)
	}
}

func (v *validator) quorumScenario(path, what string, s *QuorumScenario) {
	if !v.cluster(path+".cluster", what, s.Cluster) {
		return
	}
	c := v.clusters[s.Cluster]
	if v.failed(path+".region") || s.Region == "" && v.lines[path+".region"] == 0 || nodeCount(*c) > maxNodes {
		return
	}
	var voters, lost []string
	var regions []string
	first := ""
	for _, n := range c.Expand() {
		if n.Role != ControlPlane {
			continue
		}
		if first == "" {
			first = n.Region
		}
		voters = append(voters, n.Name)
		if n.Region == s.Region {
			lost = append(lost, n.Name)
		}
		if !slices.Contains(regions, n.Region) {
			regions = append(regions, n.Region)
		}
	}
	switch {
	case len(voters) < 3:
		v.fault(path+".cluster", "%s: cluster %s has %s; with less than three the loss of any one is a loss of quorum", what, c.Name, count(len(voters), "control-plane node"))
	case len(lost) == 0:
		v.fault(path+".region", "%s: no control-plane node of %s is in region %q; they are in %s", what, c.Name, abbreviate(s.Region), join(regions))
	case first == s.Region:
		v.fault(path+".region", "%s: %s, the first control-plane node of %s, is in %s; its API server has to be there to be asked", what, voters[0], c.Name, s.Region)
	case len(voters)-len(lost) <= len(voters)/2:
		v.fault(path+".region", "%s: %s has %d of the %d voters of %s; without it there is no majority", what, s.Region, len(lost), len(voters), c.Name)
	}
}

// maxKeepalive is what WireGuard's protocol has room for.
const maxKeepalive = 65535 * time.Second

func (v *validator) overlay(path string, c *Cluster) {
	if c.Overlay == nil || v.failed(path) {
		return
	}
	w := c.Overlay.WireGuard
	what := "cluster " + c.Name + ": overlay"
	v.name(path+".name", what+": the name", w.Name)
	if n := nodeCount(*c); n <= maxNodes {
		if bits := w.CIDR.Bits(); w.CIDR.IsValid() && w.CIDR.Addr().Is4() && (bits > 30 || 1<<(32-bits) < n+2) {
			v.fault(path+".cidr", "%s %s: too small for %s; the first address and the last are not for nodes", what, w.CIDR, count(n, "node"))
		}
		if w.AccessKeyUses < n {
			v.fault(path+".accessKeyUses", "%s: the access key lets %s in, and the cluster has %d", what, count(w.AccessKeyUses, "node"), n)
		}
	}
	if w.Port < 1 || w.Port > 65535 {
		v.fault(path+".port", "%s: port %d is not from 1 to 65535", what, w.Port)
	}
	if k := w.Keepalive.Duration; k < time.Second || k > maxKeepalive || k%time.Second != 0 {
		v.fault(path+".keepalive", "%s: keepalive %v is not in whole seconds from 1s on", what, k)
	}
}

func (v *validator) ingress() {
	in := v.t.Spec.Stack.Ingress
	if in == nil {
		return
	}
	const path = "spec.stack.ingress"
	v.members(path, "ingress", in.On)
	if len(validation.IsDNS1123Subdomain(in.Class)) > 0 && !v.failed(path+".class") {
		v.fault(path+".class", "ingress: class %q is not a name that an IngressClass can have", abbreviate(in.Class))
	}
}
