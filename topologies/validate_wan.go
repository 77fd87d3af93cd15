package topologies

import (
	"fmt"
	"slices"
	"strings"
)

func (v *validator) links() {
	regions := v.t.Regions()
	first := map[[2]string]int{}
	for i, l := range v.t.Spec.WAN.Links {
		path := fmt.Sprintf("spec.wan.links[%d]", i)
		if !v.linkEnds(path, l, regions) {
			continue
		}
		v.linkValues(path, l)
		for _, ends := range l.ends() {
			j, twice := first[ends]
			if !twice {
				first[ends] = i
				continue
			}
			v.fault(path, "link %s: %s→%s is given in line %d already", l, ends[0], ends[1], v.lineAt(fmt.Sprintf("spec.wan.links[%d]", j)))
			break
		}
	}
}

// linkEnds checks how a link says what it joins.
func (v *validator) linkEnds(path string, l Link, regions []string) bool {
	directed := l.From != "" || l.To != ""
	switch {
	case v.failed(path+".between") || v.failed(path+".from") || v.failed(path+".to"):
		return false
	case len(l.Between) > 0 && directed:
		v.fault(path, "a link has either between or from and to, not both")
		return false
	case len(l.Between) == 0 && (l.From == "" || l.To == ""):
		if !v.failed(path) {
			v.fault(path, "a link needs two regions: between, or from and to")
		}
		return false
	case !directed && len(l.Between) != 2:
		v.fault(path+".between", "a link is between two regions, not %d", len(l.Between))
		return false
	}
	ok := true
	for _, end := range []struct{ path, region string }{
		{path + ".between[0]", at(l.Between, 0)}, {path + ".between[1]", at(l.Between, 1)},
		{path + ".from", l.From}, {path + ".to", l.To},
	} {
		if end.region != "" && !slices.Contains(regions, end.region) {
			v.fault(end.path, "link %s: no cluster is in region %q%s", l, abbreviate(end.region), didYouMean(end.region, regions))
			ok = false
		}
	}
	if slices.Contains(l.Between, "") {
		v.fault(path+".between", "a link needs two regions")
		ok = false
	}
	return ok
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func (v *validator) peering() {
	const path = "spec.wan.peering"
	p := v.t.Spec.WAN.Peering
	if v.failed(path + ".mode") {
		return
	}
	if p.Mode == Star {
		if p.Hub == "" && !v.failed(path) {
			v.fault(path, "peering: a star needs a hub, the cluster in the middle")
		} else {
			v.cluster(path+".hub", "peering: hub", p.Hub)
		}
	} else if p.Hub != "" {
		v.fault(path+".hub", "peering: only a star has a hub, not a %s", p.Mode)
	}
	if p.Mode == Mesh && len(p.Peerings) > 0 {
		v.fault(path+".peerings", "peering: only a list or a star has peerings, not a %s", p.Mode)
		return
	}
	if p.Mode == List && len(p.Peerings) == 0 && !v.failed(path) && len(v.t.Spec.Clusters) > 1 {
		v.fault(path, "peering: the list has no peerings, so no cluster reaches another")
	}
	first := map[[2]string]int{}
	for i, peer := range p.Peerings {
		pp := fmt.Sprintf("%s.peerings[%d]", path, i)
		v.peer(pp, peer, i, first)
		if p.Mode == Star && p.Hub != "" && len(peer.Between) == 2 && !slices.Contains(peer.Between, p.Hub) {
			v.fault(pp+".between", "peering %s↔%s: in a star every peering is with the hub, %s", peer.Between[0], peer.Between[1], p.Hub)
		}
	}
	v.missingLinks()
}

func (v *validator) peer(path string, peer Peer, i int, first map[[2]string]int) {
	if v.failed(path + ".between") {
		return
	}
	if len(peer.Between) != 2 {
		if len(peer.Between) > 0 || !v.failed(path) {
			v.fault(path+".between", "a peering is between two clusters, not %d", len(peer.Between))
		}
		return
	}
	a, b := peer.Between[0], peer.Between[1]
	okA := v.cluster(path+".between[0]", "peering", a)
	okB := v.cluster(path+".between[1]", "peering", b)
	if !okA || !okB {
		return
	}
	pair := [2]string{min(a, b), max(a, b)}
	if a == b {
		v.fault(path+".between", "peering: cluster %s with itself", a)
	} else if j, twice := first[pair]; twice {
		v.fault(path, "peering %s↔%s is given in line %d already", a, b, v.lineAt(fmt.Sprintf("spec.wan.peering.peerings[%d]", j)))
	} else {
		first[pair] = i
	}
	for j, r := range peer.Routes {
		v.route(fmt.Sprintf("%s.routes[%d]", path, j), peer, r)
	}
}

func (v *validator) route(path string, peer Peer, r Route) {
	if v.failed(path) {
		return
	}
	what := fmt.Sprintf("peering %s↔%s: route to %s", peer.Between[0], peer.Between[1], r.To)
	if !slices.Contains(peer.Between, r.From) {
		v.fault(path+".from", "%s: it starts in %q, which is neither of the two", what, abbreviate(r.From))
	}
	if r.To.IsValid() && v.usable(cidr{path + ".to", what + ":", r.To.Prefix}) {
		to := r.To.Masked()
		reached := slices.ContainsFunc(v.t.Spec.Clusters, func(c Cluster) bool {
			return c.CIDRs.Nodes.Overlaps(to) || c.CIDRs.Pods.Overlaps(to) || c.CIDRs.Services.Overlaps(to)
		})
		if !reached {
			v.fault(path+".to", "%s: no cluster has addresses there", what)
		}
	}
	if r.Via != "" && v.cluster(path+".via", what, r.Via) && r.Via == r.From {
		v.fault(path+".via", "%s: passed on by %s, where it starts", what, r.Via)
	}
}

// missingLinks reports the pairs of regions whose nodes are to talk, and that
// no link joins: between peered clusters, and within a stretched one.
func (v *validator) missingLinks() {
	if v.failed("spec.wan.links") || len(v.t.Spec.Clusters) > maxClusters {
		return
	}
	linked := map[[2]string]bool{}
	for _, l := range v.t.Spec.WAN.Links {
		for _, ends := range l.ends() {
			linked[ends] = true
		}
	}
	told := map[[2]string]bool{}
	need := func(path, a, b, why string) {
		pair := [2]string{min(a, b), max(a, b)}
		if a == b || a == "" || b == "" || told[pair] {
			return
		}
		there, back := linked[[2]string{a, b}], linked[[2]string{b, a}]
		switch {
		case there && back:
			return
		case there || back:
			if back {
				a, b = b, a
			}
			i := slices.IndexFunc(v.t.Spec.WAN.Links, func(l Link) bool { return l.From == a && l.To == b })
			v.fault(fmt.Sprintf("spec.wan.links[%d]", i), "link %s→%s: there is no link back, and %s", a, b, why)
		default:
			v.fault(path, "no link joins the regions %s and %s, and %s", a, b, why)
		}
		told[pair] = true
	}
	regions := make(map[string][]string, len(v.t.Spec.Clusters))
	for i, c := range v.t.Spec.Clusters {
		regions[c.Name] = c.Regions()
		for j, a := range regions[c.Name] {
			for _, b := range regions[c.Name][j+1:] {
				need(fmt.Sprintf("spec.clusters[%d].nodes", i), a, b, fmt.Sprintf("cluster %s has nodes in both", c.Name))
			}
		}
	}
	for _, pair := range v.t.PeeredPairs() {
		path := "spec.wan.peering"
		listed := slices.IndexFunc(v.t.Spec.WAN.Peering.Peerings, func(p Peer) bool {
			return len(p.Between) == 2 && slices.Contains(p.Between, pair[0]) && slices.Contains(p.Between, pair[1])
		})
		if listed >= 0 {
			path = fmt.Sprintf("spec.wan.peering.peerings[%d]", listed)
		}
		for _, a := range regions[pair[0]] {
			for _, b := range regions[pair[1]] {
				need(path, a, b, fmt.Sprintf("%s and %s are peered", pair[0], pair[1]))
			}
		}
	}
}

func (v *validator) rules() {
	for i, r := range v.t.Spec.WAN.Rules {
		path := fmt.Sprintf("spec.wan.rules[%d]", i)
		if r.Name != "" && !ruleName.MatchString(r.Name) {
			v.fault(path+".name", "rule %q: a name is letters, digits and dashes, at most 63 of them, the first and last no dash", abbreviate(r.Name))
		}
		for _, side := range []struct {
			field string
			names Names
		}{{"from", r.From}, {"to", r.To}} {
			p := path + "." + side.field
			if len(side.names) == 0 && !v.failed(path) {
				v.fault(p, "rule %d: %s names no cluster", i+1, side.field)
			}
			if len(side.names) == 1 && v.lines[p+"[0]"] == 0 {
				v.ruleEnd(p, fmt.Sprintf("rule %d", i+1), side.names[0]) // a bare name
				continue
			}
			v.ruleEnds(p, fmt.Sprintf("rule %d", i+1), side.names)
		}
		if len(r.From) == 1 && len(r.To) == 1 {
			from, _ := EndOf(r.From[0])
			if to, _ := EndOf(r.To[0]); v.clusters[from] != nil && from == to {
				v.fault(path, "rule %d: from %s to itself; rules are for traffic between clusters", i+1, from)
			}
		}
	}
}

// EndOf parts a rule's end into its cluster and that cluster's range: "nodes",
// "pods" or "services", or "" for all.
func EndOf(end string) (cluster, part string) {
	cluster, part, _ = strings.Cut(end, "/")
	return cluster, part
}

var rangeNames = []string{"nodes", "pods", "services"}

// ruleEnd checks one end of a rule.
func (v *validator) ruleEnd(path, what, end string) bool {
	cluster, part := EndOf(end)
	if !v.cluster(path, what, cluster) {
		return false
	}
	if strings.Contains(end, "/") && !slices.Contains(rangeNames, part) {
		v.fault(path, "%s: cluster %s has no range %q; it has %s%s", what, cluster, abbreviate(part), join(rangeNames), didYouMean(part, rangeNames))
		return false
	}
	return true
}

// ruleEnds checks a list of ends: known, and none twice.
func (v *validator) ruleEnds(path, what string, ends []string) {
	seen := map[string]bool{}
	for i, end := range ends {
		item := fmt.Sprintf("%s[%d]", path, i)
		if v.ruleEnd(item, what, end) && seen[end] {
			whose := "cluster"
			if strings.Contains(end, "/") {
				whose = "range"
			}
			v.fault(item, "%s: %s %s is named twice", what, whose, end)
		}
		seen[end] = true
	}
}

// RuleNames returns the names of the rules, in the file's order.
func (t *Topology) RuleNames() []string {
	var names []string
	for _, r := range t.Spec.WAN.Rules {
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}
