package sim

import (
	"slices"

	"github.com/atoll-dev/atoll/topologies"
)

// placement goes through the steps; what a step leaves out stays as it was.
func (f *forecast) placement(p *Prediction, s *topologies.PlacementScenario) {
	d := f.deployed[s.Workload]
	if d == nil {
		d = &deployed{}
		f.deployed[s.Workload] = d
	}
	events := false
	for _, step := range s.Steps {
		f.step(d, step)
		p.Placements = append(p.Placements, d.divisions)
		var extended map[string][]map[string]int
		for _, name := range d.extended {
			if extended == nil {
				extended = map[string][]map[string]int{}
			}
			extended[name] = f.deployed[name].divisions
		}
		p.Extended = append(p.Extended, extended)
		told := f.events(s.Workload, d, step)
		p.Events = append(p.Events, told)
		events = events || len(told) > 0
	}
	if len(d.extended) == 0 {
		p.Extended = nil
	}
	if !events {
		p.Events = nil
	}
}

// step makes of a workload, and of those that its policy selects as well, what
// a step does.
func (f *forecast) step(d *deployed, step topologies.PlacementStep) {
	if step.Policy != "" {
		d.withheld = step.Policy == topologies.PolicyWithhold
	}
	if step.Replicas != nil {
		n := *step.Replicas
		d.replicas = &n
	}
	if step.On != nil {
		d.affinity = slices.Clone(step.On)
	}
	switch {
	case step.Weights != nil:
		d.weigh(step.Weights)
	case step.On != nil && d.asked != nil:
		d.weigh(d.asked)
	}
	for _, name := range step.Extend {
		if !slices.Contains(d.extended, name) {
			d.extended = append(d.extended, name)
		}
	}
	d.divide()
	for _, name := range d.extended {
		e := f.deployed[name]
		if e == nil {
			e = &deployed{}
			f.deployed[name] = e
		}
		e.withheld, e.affinity, e.asked, e.weights, e.duplicated = d.withheld, d.affinity, d.asked, d.weights, d.duplicated
		e.divide()
	}
}

// events tells what Karmada says of a policy's coming or going: of a template
// without one that none matches, else where each Service was applied.
func (f *forecast) events(workload string, d *deployed, step topologies.PlacementStep) (out []topologies.EventExpect) {
	if !d.known || step.Policy == "" && step.Extend == nil && step.On == nil {
		return nil
	}
	about := append([]*deployed{d}, f.extensions(d)...)
	for _, w := range about {
		if d.withheld {
			for _, object := range w.objects() {
				out = append(out, topologies.EventExpect{On: object, Reason: "ApplyPolicyFailed", Message: "No policy match for resource"})
			}
			continue
		}
		for _, service := range w.services {
			for _, cluster := range d.affinity {
				out = append(out, topologies.EventExpect{On: "Service/" + service, Reason: "SyncSucceed", Message: "to cluster " + cluster})
			}
		}
	}
	return out
}

func (f *forecast) extensions(d *deployed) (out []*deployed) {
	for _, name := range d.extended {
		if e := f.deployed[name]; e.known {
			out = append(out, e)
		}
	}
	return out
}
