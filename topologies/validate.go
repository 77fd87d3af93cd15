package topologies

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Bounds of what a file may ask for. They keep a slip of the finger from
// asking for the moon; none is near what one machine can do.
const (
	maxClusters = 4096
	maxNodes    = 1000 // per cluster
	maxReplicas = 10_000
	maxRequests = 100_000
	maxWeight   = 1_000_000
	maxDelay    = 10 * time.Minute
	maxNameLen  = 40 // so that a node's name in Kubernetes, CLUSTER-worker-1000, is still a label
)

// reserved are names that commands use for something else than a cluster.
var reserved = []string{"hub"}

// kubernetesVersion is what the download sites and module proxies call one.
var kubernetesVersion = regexp.MustCompile(`^v1\.[0-9]{1,2}\.[0-9]{1,2}$`)

// ruleName is what can stand on a command line.
var ruleName = scenarioName

// scenarioName is what can stand in a file's name and on a command line.
var scenarioName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)

// validator looks at a topology whose defaults are filled in. What the
// decoder could not read it passes over in silence: that has been said.
type validator struct {
	*decoder
	t        *Topology
	clusters map[string]*Cluster
}

func (v *validator) validate() {
	v.clusters = map[string]*Cluster{}
	v.name("metadata.name", "the topology's name", v.t.Metadata.Name)
	v.version("spec.kubernetes", v.t.Spec.Kubernetes)
	v.clusterList()
	v.ranges()
	v.links()
	v.peering()
	v.rules()
	v.stack()
	v.workloads()
	v.scenarios()
}

// fault reports a fault of the value at path in words that name their subject.
func (v *validator) fault(path, format string, args ...any) {
	v.errs = append(v.errs, Fault{File: v.file, Line: v.lineAt(path), What: fmt.Sprintf(format, args...)})
}

// name checks a name that becomes part of host names and file names.
func (v *validator) name(path, what, name string) bool {
	if v.failed(path) || name == "" && v.lines[path] == 0 {
		return false // said already, as missing
	}
	if len(validation.IsDNS1123Label(name)) > 0 || len(name) > maxNameLen {
		v.fault(path, "%s %q must be lower-case letters, digits and dashes, at most %d of them, the first and last no dash", what, abbreviate(name), maxNameLen)
		return false
	}
	return true
}

func (v *validator) version(path, version string) {
	if v.failed(path) || kubernetesVersion.MatchString(version) {
		return
	}
	v.fault(path, "Kubernetes version %q is not of the form %s", abbreviate(version), DefaultKubernetes)
}

// cluster checks that a name is a cluster's.
func (v *validator) cluster(path, what, name string) bool {
	if _, ok := v.clusters[name]; ok {
		return true
	}
	if v.failed(path) || name == "" && v.lines[path] == 0 {
		return false
	}
	v.fault(path, "%s: unknown cluster %q%s", what, abbreviate(name), didYouMean(name, v.clusterNames()))
	return false
}

func (v *validator) clusterNames() []string {
	names := make([]string, 0, len(v.t.Spec.Clusters))
	for _, c := range v.t.Spec.Clusters {
		names = append(names, c.Name)
	}
	return names
}

// clusterSet checks a list of clusters: known, and none twice.
func (v *validator) clusterSet(path, what string, names []string) {
	seen := map[string]bool{}
	for i, name := range names {
		item := fmt.Sprintf("%s[%d]", path, i)
		if v.cluster(item, what, name) && seen[name] {
			v.fault(item, "%s: cluster %s is named twice", what, name)
		}
		seen[name] = true
	}
}

func (v *validator) clusterList() {
	clusters := v.t.Spec.Clusters
	if len(clusters) == 0 && !v.failed("spec") {
		v.fault("spec.clusters", "there is no cluster")
	}
	if len(clusters) > maxClusters {
		v.fault("spec.clusters", "%d clusters are too many; at most %d", len(clusters), maxClusters)
	}
	first := map[string]int{}
	admin := -1
	for i := range clusters {
		c := &clusters[i]
		path := fmt.Sprintf("spec.clusters[%d]", i)
		if v.name(path+".name", "the cluster's name", c.Name) {
			if slices.Contains(reserved, c.Name) {
				v.fault(path+".name", "cluster %s: the name is reserved for the hub's API server", c.Name)
			}
			if j, twice := first[c.Name]; twice {
				v.fault(path+".name", "cluster %s: the name is taken by the cluster in line %d", c.Name, v.lineAt(fmt.Sprintf("spec.clusters[%d].name", j)))
			} else {
				first[c.Name] = i
			}
		}
		if c.Name != "" && v.clusters[c.Name] == nil {
			v.clusters[c.Name] = c
		}
		if c.Role == RoleAdmin {
			if admin >= 0 {
				v.fault(path+".role", "cluster %s: the admin is %s already; there can be one", c.Name, clusters[admin].Name)
			} else {
				admin = i
			}
		}
		v.name(path+".region", "cluster "+c.Name+": region", c.Region)
		v.name(path+".network", "cluster "+c.Name+": network", c.Network)
		v.existing(path+".existing", &v.t.Spec.Clusters[i])
		if v.lines[path+".kubernetes"] != 0 {
			v.version(path+".kubernetes", c.Kubernetes)
		}
		v.nodes(path+".nodes", c)
		v.overlay(path+".overlay.wireguard", c)
	}
}

func (v *validator) nodes(path string, c *Cluster) {
	total := 0
	for i, g := range c.Nodes {
		p := fmt.Sprintf("%s[%d]", path, i)
		if g.Count < 1 {
			v.fault(p+".count", "cluster %s: a count of %d nodes is less than 1", c.Name, g.Count)
		}
		total += max(min(g.Count, maxNodes+1), 0)
		v.nodeName(p, c, g)
		if g.Region != c.Region {
			v.name(p+".region", "cluster "+c.Name+": region", g.Region)
		}
		for _, msg := range validation.IsValidLabelValue(g.Zone) {
			v.fault(p+".zone", "cluster %s: zone %q: %s", c.Name, abbreviate(g.Zone), msg)
		}
		for _, key := range sortedKeys(g.Labels) {
			for _, msg := range validation.IsQualifiedName(key) {
				v.fault(p+".labels."+key, "cluster %s: label %q: %s", c.Name, abbreviate(key), msg)
			}
			for _, msg := range validation.IsValidLabelValue(g.Labels[key]) {
				v.fault(p+".labels."+key, "cluster %s: label %s: value %q: %s", c.Name, abbreviate(key), abbreviate(g.Labels[key]), msg)
			}
		}
		for j, taint := range g.Taints {
			tp := fmt.Sprintf("%s.taints[%d]", p, j)
			if !v.failed(tp) {
				for _, msg := range validation.IsQualifiedName(taint.Key) {
					v.fault(tp+".key", "cluster %s: taint %q: %s", c.Name, abbreviate(taint.Key), msg)
				}
				for _, msg := range validation.IsValidLabelValue(taint.Value) {
					v.fault(tp+".value", "cluster %s: taint %s: value %q: %s", c.Name, abbreviate(taint.Key), abbreviate(taint.Value), msg)
				}
			}
		}
	}
	if total > maxNodes {
		v.fault(path, "cluster %s: more than %d nodes", c.Name, maxNodes)
		return
	}
	v.nodeNamesTwice(path, c)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// cidr is one range of the topology and where it stands.
type cidr struct {
	path   string
	what   string // "eu's pods"
	prefix netip.Prefix
}

// ranges checks the CIDRs that the file gives, and assigns the others.
func (v *validator) ranges() {
	var given []cidr
	for i := range v.t.Spec.Clusters {
		c := &v.t.Spec.Clusters[i]
		for _, r := range []struct {
			field  string
			prefix *Prefix
		}{{"nodes", &c.CIDRs.Nodes}, {"pods", &c.CIDRs.Pods}, {"services", &c.CIDRs.Services}} {
			if !r.prefix.IsValid() {
				continue
			}
			one := cidr{fmt.Sprintf("spec.clusters[%d].cidrs.%s", i, r.field), c.Name + "'s " + r.field, r.prefix.Prefix}
			if v.usable(one) {
				v.size(one, r.field, c)
				given = append(given, one)
			} else {
				r.prefix.Prefix = netip.Prefix{} // so that one is assigned, and its neighbours are still looked at
			}
		}
	}
	for i, c := range v.t.Spec.Clusters {
		if c.Overlay == nil || !c.Overlay.WireGuard.CIDR.IsValid() {
			continue
		}
		one := cidr{fmt.Sprintf("spec.clusters[%d].overlay.wireguard.cidr", i), c.Name + "'s overlay", c.Overlay.WireGuard.CIDR.Prefix}
		if v.usable(one) {
			given = append(given, one)
		}
	}
	v.overlaps(given)
	if len(v.t.Spec.Clusters) > maxClusters {
		return
	}
	for _, c := range v.t.Spec.Clusters {
		if nodeCount(c) > maxNodes {
			return
		}
	}
	for _, i := range assignCIDRs(v.t.Spec.Clusters) {
		v.fault(fmt.Sprintf("spec.clusters[%d]", i), "cluster %s: no room is left in %s for the ranges it leaves out; give it cidrs", v.t.Spec.Clusters[i].Name, private)
	}
}

// usable checks a range by itself.
func (v *validator) usable(c cidr) bool {
	addr := c.prefix.Addr()
	switch {
	case !addr.Is4():
		v.fault(c.path, "%s %s: only IPv4 can be had", c.what, c.prefix)
	case c.prefix.Bits() < 8:
		v.fault(c.path, "%s %s: larger than a /8", c.what, c.prefix)
	case c.prefix.Masked() != c.prefix:
		v.fault(c.path, "%s %s: an address inside the range, not the range; did you mean %s?", c.what, c.prefix, c.prefix.Masked())
		return true // the range is clear all the same
	case addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast(), addr.As4()[0] == 0, addr.As4()[0] >= 240:
		v.fault(c.path, "%s %s: a range that hosts cannot have", c.what, c.prefix)
	default:
		return true
	}
	return false
}

// size checks that a range has room for what the cluster needs.
func (v *validator) size(c cidr, field string, cluster *Cluster) {
	n := nodeCount(*cluster)
	if n > maxNodes {
		return
	}
	bits := c.prefix.Bits()
	switch field {
	case "nodes":
		if bits > minNodesBits || 1<<(32-bits) < nodesRoom(n) {
			v.fault(c.path, "%s %s: too small for %s; the first two addresses and the last quarter are not for nodes", c.what, c.prefix, count(n, "node"))
		}
	case "pods":
		if NodePodsBits(c.prefix, n) > minNodePodsBits {
			v.fault(c.path, "%s %s: too small for %s; each needs at least a /%d", c.what, c.prefix, count(n, "node"), minNodePodsBits)
		}
	case "services":
		if bits > minServicesBits {
			v.fault(c.path, "%s %s: too small; it must be at least a /%d", c.what, c.prefix, minServicesBits)
		}
		if bits < maxServicesBits {
			v.fault(c.path, "%s %s: too large; kube-apiserver takes at most a /%d", c.what, c.prefix, maxServicesBits)
		}
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// overlaps reports each range that overlaps one before it in the file.
func (v *validator) overlaps(ranges []cidr) {
	// By address: then only neighbours, and what encloses them, can overlap.
	slices.SortStableFunc(ranges, func(a, b cidr) int {
		return cmp.Or(a.prefix.Masked().Addr().Compare(b.prefix.Masked().Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	var open []cidr // those that enclose the current address
	for _, r := range ranges {
		for len(open) > 0 && !open[len(open)-1].prefix.Overlaps(r.prefix) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			a, b := open[len(open)-1], r
			if v.lineAt(a.path) > v.lineAt(b.path) || v.lineAt(a.path) == v.lineAt(b.path) && a.path > b.path {
				a, b = b, a
			}
			v.fault(b.path, "%s %s overlaps %s %s (line %d)", b.what, b.prefix, a.what, a.prefix, v.lineAt(a.path))
		}
		open = append(open, r)
	}
}
