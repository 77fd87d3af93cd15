package topologies

import (
	"slices"
)

// shopName is the workload that scenario shop is about.
const shopName = "shop"

// directWorkload checks that a name is that of a workload which goes to
// clusters directly.
func (v *validator) directWorkload(path, what, name string) *Workload {
	w := v.workload(path, what, name)
	if w == nil {
		return nil
	}
	if w.Via != ViaDirect {
		v.fault(path, "%s: workload %s goes via the hub, which says where its pods are; see the scenario placement", what, name)
		return nil
	}
	return w
}

func (v *validator) firewallScenario(path, what string, s *FirewallScenario) {
	w := v.directWorkload(path+".workload", what, s.Workload)
	names := v.t.RuleNames()
	if !slices.Contains(names, s.Rule) {
		if !v.failed(path+".rule") && (s.Rule != "" || v.lines[path+".rule"] != 0) {
			v.fault(path+".rule", "%s: no rule is called %q%s", what, abbreviate(s.Rule), didYouMean(s.Rule, names))
		}
		return
	}
	if w == nil {
		return
	}
	for _, r := range v.t.Spec.WAN.Rules {
		if r.Name != s.Rule {
			continue
		}
		for _, from := range r.From {
			for _, to := range r.To {
				a, _ := EndOf(from)
				b, _ := EndOf(to)
				if a != b && slices.Contains(w.On, a) && slices.Contains(w.On, b) {
					return
				}
			}
		}
	}
	v.fault(path, "%s: workload %s is on no two clusters that rule %s is for", what, s.Workload, s.Rule)
}

func (v *validator) shopScenario(path, what string, s *ShopScenario) {
	w := v.t.Workload(shopName)
	switch {
	case v.failed("spec.workloads"):
	case w == nil:
		v.fault(path, "%s: there is no workload %s", what, shopName)
	case w.Via != ViaDirect:
		v.fault(path, "%s: workload %s goes via the hub; it has to go to clusters directly", what, shopName)
		w = nil
	}
	mesh := v.t.Spec.Stack.Mesh
	if v.cluster(path+".gateway", what, s.Gateway) && !v.failed("spec.stack") && (mesh == nil || !slices.Contains(mesh.Ingress, s.Gateway)) {
		v.fault(path+".gateway", "%s: cluster %s has no gateway into the mesh; stack.mesh.ingress makes one", what, s.Gateway)
	}
	if s.Restart != "" && s.Partition != "" {
		v.fault(path, "%s: it either restarts or cuts off; make it two scenarios", what)
	}
	if s.Partition != "" && v.cluster(path+".partition", what, s.Partition) {
		switch {
		case s.Partition == s.Gateway:
			v.fault(path+".partition", "%s: the shop is entered in %s; with it cut off there is nothing to see", what, s.Partition)
		case w != nil && !slices.Contains(w.On, s.Partition):
			v.fault(path+".partition", "%s: nothing of the shop is on %s", what, s.Partition)
		}
	}
	if w != nil && s.Restart != "" {
		var names []string
		for _, c := range sortedKeys(w.Place) {
			names = append(names, w.Place[c]...)
		}
		if !slices.Contains(names, s.Restart) {
			v.fault(path+".restart", "%s: the shop places no Deployment %q%s", what, abbreviate(s.Restart), didYouMean(s.Restart, names))
		}
	}
}
