package topologies

// ChangeScenario changes the topology of the running lab as `atoll up` with an
// edited file would, checks that what was added works and that what was there
// was not touched, and changes it back.
type ChangeScenario struct {
	Add   Addition `json:"add"`             // what the topology gets
	Ports []Port   `json:"ports,omitempty"` // to try afterwards beside those that a rule or the stack names
}

// Addition is what is added to a topology. Added clusters that are managed join
// the hub, if there is one.
type Addition struct {
	Clusters []Cluster `json:"clusters"`           // at least one; all of them managed
	Links    []Link    `json:"links,omitempty"`    // between regions, new ones and old
	Peerings []Peer    `json:"peerings,omitempty"` // as in wan.peering
	Rules    []Rule    `json:"rules,omitempty"`    // as in wan.rules
}

// With returns the topology with an addition, its defaults filled in and its
// ranges assigned, and without scenarios. What is there is not changed; what
// would not be valid is an Errors without lines.
func (t *Topology) With(add *Addition) (*Topology, error) {
	merged := t.merged(add)
	merged.setDefaults()
	v := &validator{decoder: &decoder{lines: map[string]int{}, bad: map[string]bool{}}, t: merged}
	v.validate()
	if len(v.errs) > 0 {
		return nil, v.errs
	}
	return merged, nil
}

// merged is With before anything is filled in.
func (t *Topology) merged(add *Addition) *Topology {
	m := *t
	s := &m.Spec
	s.Scenarios = nil
	s.Clusters = joined(s.Clusters, add.Clusters)
	for i := range s.Clusters {
		s.Clusters[i].Nodes = joined(s.Clusters[i].Nodes, nil)
	}
	s.WAN.Links = joined(s.WAN.Links, add.Links)
	s.WAN.Peering.Peerings = joined(s.WAN.Peering.Peerings, add.Peerings)
	s.WAN.Rules = joined(s.WAN.Rules, add.Rules)
	if s.Stack.Agents != nil {
		agents := *s.Stack.Agents
		for _, c := range add.Clusters {
			agents.On = joined(agents.On, []string{c.Name})
		}
		s.Stack.Agents = &agents
	}
	s.Workloads = joined(s.Workloads, nil)
	return &m
}

// joined is a list of its own with the items of both.
func joined[T any](a, b []T) []T {
	if a == nil && b == nil {
		return nil
	}
	return append(append(make([]T, 0, len(a)+len(b)), a...), b...)
}
