package topologies

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

var scenarioKinds = []string{"peering", "placement", "traffic", "nodeFailure", "controlPlaneFailure", "agentPartition", "running", "proxies", "firewall", "shop", "change", "siteFailure", "quorum", "podFailure", "congestion", "schedule"}

func join(names []string) string { return strings.Join(names, ", ") }

func (v *validator) scenarios() {
	first := map[string]int{}
	for i, s := range v.t.Spec.Scenarios {
		path := fmt.Sprintf("spec.scenarios[%d]", i)
		if kinds := s.kinds(); len(kinds) != 1 {
			switch {
			case v.failed(path):
			case len(kinds) == 0:
				v.fault(path, "scenario %d asks nothing; it needs one of %s", i+1, join(scenarioKinds))
			default:
				v.fault(path, "scenario %d is of several kinds: %s; make it several scenarios", i+1, join(kinds))
			}
			continue
		}
		if !scenarioName.MatchString(s.Name) {
			v.fault(path+".name", "scenario %q: a name is letters, digits and dashes, at most 63 of them, the first and last no dash", abbreviate(s.Name))
		}
		if j, twice := first[s.Name]; twice {
			v.fault(path+".name", "scenario %s: the name is taken by the scenario in line %d", s.Name, v.lineAt(fmt.Sprintf("spec.scenarios[%d]", j)))
		} else {
			first[s.Name] = i
		}
		v.scenario(path+"."+s.Kind(), "scenario "+s.Name, s)
	}
}

func (v *validator) scenario(path, what string, s Scenario) {
	switch {
	case s.Peering != nil:
		v.peeringScenario(path, what, s.Peering)
	case s.Placement != nil:
		v.placementScenario(path, what, s.Placement)
	case s.Traffic != nil:
		v.trafficScenario(path, what, s.Traffic)
	case s.NodeFailure != nil:
		v.nodeFailureScenario(path, what, s.NodeFailure)
	case s.ControlPlaneFailure != nil:
		v.cluster(path+".cluster", what, s.ControlPlaneFailure.Cluster)
	case s.AgentPartition != nil:
		v.agentPartitionScenario(path, what, s.AgentPartition)
	case s.Running != nil:
		v.directWorkload(path+".workload", what, s.Running.Workload)
	case s.Proxies != nil:
		if v.t.Spec.Stack.Mesh == nil && !v.failed("spec.stack") {
			v.fault(path, "%s: there is no mesh; stack.mesh makes one", what)
		}
	case s.Firewall != nil:
		v.firewallScenario(path, what, s.Firewall)
	case s.Shop != nil:
		v.shopScenario(path, what, s.Shop)
	case s.Change != nil:
		v.changeScenario(path, what, s.Change)
	case s.SiteFailure != nil:
		v.siteFailureScenario(path, what, s.SiteFailure)
	case s.Quorum != nil:
		v.quorumScenario(path, what, s.Quorum)
	case s.PodFailure != nil:
		v.podFailureScenario(path, what, s.PodFailure)
	case s.Congestion != nil:
		v.congestionScenario(path, what, s.Congestion)
	case s.Schedule != nil:
		v.scheduleScenario(path, what, s.Schedule)
	}
}

func (v *validator) peeringScenario(path, what string, s *PeeringScenario) {
	if len(v.t.PeeredPairs()) == 0 && !v.failed("spec") {
		v.fault(path, "%s: no two clusters are peered", what)
	}
	if s.RemoveRoute != nil {
		v.direction(path+".removeRoute", what, s.RemoveRoute)
	}
	if s.Cut == nil || v.failed(path+".cut") {
		return
	}
	if len(s.Cut) != 2 {
		v.fault(path+".cut", "%s: cut names two clusters, not %d", what, len(s.Cut))
		return
	}
	okA := v.cluster(path+".cut[0]", what, s.Cut[0])
	okB := v.cluster(path+".cut[1]", what, s.Cut[1])
	if okA && okB && !v.t.Peered(s.Cut[0], s.Cut[1]) && !v.failed("spec.wan.peering") {
		v.fault(path+".cut", "%s: %s and %s are not peered, so there is nothing to cut", what, s.Cut[0], s.Cut[1])
	}
}

func (v *validator) direction(path, what string, d *Direction) {
	okFrom := v.cluster(path+".from", what, d.From)
	okTo := v.cluster(path+".to", what, d.To)
	if okFrom && okTo && !v.t.Peered(d.From, d.To) && !v.failed("spec.wan.peering") {
		v.fault(path, "%s: %s and %s are not peered, so there is no route to remove", what, d.From, d.To)
	}
}

// hubWorkload checks that a name is that of a workload which the hub places.
func (v *validator) hubWorkload(path, what, name string) {
	w := v.workload(path, what, name)
	if w == nil {
		return
	}
	if w.Via != ViaHub {
		v.fault(path, "%s: workload %s does not go via the hub, so nothing places it", what, name)
	} else if v.t.Spec.Stack.Agents == nil && !v.failed("spec.stack") {
		v.fault(path, "%s: without stack.agents no cluster receives workload %s", what, name)
	}
}

func (v *validator) workload(path, what, name string) *Workload {
	if w := v.t.Workload(name); w != nil {
		return w
	}
	if v.failed(path) || v.failed("spec.workloads") || name == "" && v.lines[path] == 0 {
		return nil
	}
	var names []string
	for _, w := range v.t.Spec.Workloads {
		names = append(names, w.Name)
	}
	v.fault(path, "%s: unknown workload %q%s", what, abbreviate(name), didYouMean(name, names))
	return nil
}

// member checks that a name is that of a cluster with an agent.
func (v *validator) member(path, what, name string) {
	if !v.cluster(path, what, name) {
		return
	}
	agents := v.t.Spec.Stack.Agents
	if agents != nil && !slices.Contains(agents.On, name) && !v.failed("spec.stack.agents") {
		v.fault(path, "%s: cluster %s has no agent", what, name)
	}
}

func (v *validator) replicas(path, what string, n int) {
	switch {
	case n < 0:
		v.fault(path, "%s: %d replicas: less than none", what, n)
	case n > maxReplicas:
		v.fault(path, "%s: %d replicas are too many; at most %d", what, n, maxReplicas)
	}
}

func (v *validator) trafficScenario(path, what string, s *TrafficScenario) {
	cluster := v.sender(path+".from", what, s.From)
	if cluster == "" && s.Partition != "" && !v.failed(path) && !strings.Contains(s.From, "/") {
		v.fault(path+".partition", "%s: with from: WORKLOAD the cluster that is cut off might be the one that asks; name the cluster that asks", what)
	}
	v.url(path+".to", what, s.To)
	if s.Requests < 1 || s.Requests > maxRequests {
		v.fault(path+".requests", "%s: %d requests are not from 1 to %d", what, s.Requests, maxRequests)
	}
	if s.Partition != "" && v.cluster(path+".partition", what, s.Partition) && s.Partition == cluster {
		v.fault(path+".partition", "%s: the requests start in %s; with it cut off none would get out", what, cluster)
	}
	v.clusterSet(path+".expect.clusters", what, s.Expect.Clusters)
}

// sender checks where requests come from, and returns the cluster if one is named.
func (v *validator) sender(path, what, from string) (cluster string) {
	if v.failed(path) || from == "" && v.lines[path] == 0 {
		return ""
	}
	cluster, name, placed := strings.Cut(from, "/")
	switch {
	case !placed && from != "":
		v.hubWorkload(path, what, from)
		return ""
	case cluster == "" || name == "":
		v.fault(path, "%s: from is CLUSTER/WORKLOAD, or WORKLOAD for one that the hub places, not %q", what, abbreviate(from))
		return ""
	}
	known := v.cluster(path, what, cluster)
	w := v.workload(path, what, name)
	if known && w != nil && w.Via == ViaDirect && !slices.Contains(w.On, cluster) {
		v.fault(path, "%s: workload %s is not on %s", what, name, cluster)
	}
	return cluster
}

func (v *validator) url(path, what, text string) {
	if v.failed(path) || text == "" && v.lines[path] == 0 {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		v.fault(path, "%s: %q is not a URL such as http://hello:5000", what, abbreviate(text))
		return
	}
	if port := u.Port(); port != "" {
		var p Port
		if p.UnmarshalText([]byte("tcp/"+port)) != nil {
			v.fault(path, "%s: %q: a port is a number from 1 to 65535", what, abbreviate(text))
		}
	}
}

func (v *validator) nodeFailureScenario(path, what string, s *NodeFailureScenario) {
	if v.cluster(path+".cluster", what, s.Cluster) {
		c := v.clusters[s.Cluster]
		var names, others []string
		if nodeCount(*c) <= maxNodes {
			nodes := c.Expand()
			for _, n := range nodes {
				names = append(names, n.Name)
				if n.Name != s.Node && takesPods(n, nodes) {
					others = append(others, n.Name)
				}
			}
		}
		switch {
		case v.failed(path+".node") || s.Node == "" && v.failed(path) || names == nil:
		case !slices.Contains(names, s.Node):
			v.fault(path+".node", "%s: cluster %s has no node %q; it has %s", what, s.Cluster, abbreviate(s.Node), abbreviate(join(names)))
		case len(names) == 1:
			v.fault(path+".node", "%s: %s is the only node of %s, so nothing can take its pods over", what, s.Node, s.Cluster)
		case len(others) == 0:
			v.fault(path+".node", "%s: no node of %s but %s takes ordinary pods (the others are tainted), so nothing can take its pods over", what, s.Cluster, s.Node)
		}
	}
	v.duration(path+".expect.notReadyWithin", what+": notReadyWithin", s.Expect.NotReadyWithin)
	v.duration(path+".expect.replacedWithin", what+": replacedWithin", s.Expect.ReplacedWithin)
}

// takesPods tells whether pods without tolerations are scheduled to a node:
// it has no taint that keeps them away, and the control plane's, which every
// provider sets where there are workers, is one.
func takesPods(n Node, all []Node) bool {
	workers := slices.ContainsFunc(all, func(n Node) bool { return n.Role == Worker })
	return (n.Role == Worker || !workers || n.Schedulable) &&
		!slices.ContainsFunc(n.Taints, func(t Taint) bool { return t.Effect != "PreferNoSchedule" })
}

func (v *validator) agentPartitionScenario(path, what string, s *AgentPartitionScenario) {
	v.hubWorkload(path+".workload", what, s.Workload)
	v.member(path+".cluster", what, s.Cluster)
	if admin := v.t.Admin(); admin != nil && admin.Name == s.Cluster {
		v.fault(path+".cluster", "%s: the hub is on %s itself; no partition comes between them", what, s.Cluster)
	}
}
