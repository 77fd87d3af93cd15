package sim

import (
	"github.com/atoll-dev/atoll/topologies"
)

// change predicts what reaches what once the topology has got its addition.
func (f *forecast) change(p *Prediction, index int, s *topologies.ChangeScenario) {
	larger, err := f.plan.Topology.With(&s.Add)
	if err != nil {
		return // as the topology was loaded, it can be added
	}
	plan, err := NewPlan(larger, f.plan.Seed)
	if err != nil {
		return
	}
	table, err := plan.WAN.Compile()
	if err != nil {
		return
	}
	then := forecast{plan: plan, table: table, deployed: map[string]*deployed{}}
	then.peering(p, index, &topologies.PeeringScenario{Ports: s.Ports})
	p.Cut = nil
}
