package topologies

import (
	"fmt"
	"regexp"
)

// objectName is KIND/NAME, as kubectl has it.
var objectName = regexp.MustCompile(`^[A-Z][A-Za-z]*/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

func (v *validator) placementScenario(path, what string, s *PlacementScenario) {
	v.hubWorkload(path+".workload", what, s.Workload)
	if len(s.Steps) == 0 && !v.failed(path) {
		v.fault(path+".steps", "%s: there are no steps", what)
	}
	for i, step := range s.Steps {
		v.placementStep(fmt.Sprintf("%s.steps[%d]", path, i), fmt.Sprintf("%s: step %d", what, i+1), s.Workload, step)
	}
}

func (v *validator) placementStep(path, what, workload string, step PlacementStep) {
	changes := step.Policy != "" || step.Extend != nil || step.On != nil || step.Replicas != nil || step.Weights != nil
	if !changes && step.Expect == nil && step.Events == nil && !v.failed(path) {
		v.fault(path, "%s changes neither replicas nor weights nor the policy, and expects nothing of its own", what)
	}
	if step.Replicas != nil {
		v.replicas(path+".replicas", what, *step.Replicas)
	}
	if step.Policy == PolicyWithhold && (step.Weights != nil || step.Extend != nil || step.On != nil) {
		v.fault(path+".policy", "%s: a policy that is withheld has no weights, no affinity, and selects nothing", what)
	}
	v.extensions(path+".extend", what, workload, step.Extend)
	v.affinity(path+".on", what, step)
	if step.Weights != nil && len(step.Weights) == 0 {
		v.fault(path+".weights", "%s: weights names no cluster", what)
	}
	for _, name := range sortedKeys(step.Weights) {
		wp := path + ".weights." + name
		v.member(wp, what, name)
		if weight := step.Weights[name]; (weight < 1 || weight > maxWeight) && !v.failed(wp) {
			v.fault(wp, "%s: weight %d of %s is not from 1 to %d", what, weight, abbreviate(name), maxWeight)
		}
	}
	for _, name := range sortedKeys(step.Expect) {
		ep := path + ".expect." + name
		v.member(ep, what, name)
		v.replicas(ep, fmt.Sprintf("%s: %s", what, abbreviate(name)), step.Expect[name])
	}
	for i, e := range step.Events {
		ep := fmt.Sprintf("%s.events[%d].on", path, i)
		if !objectName.MatchString(e.On) && !v.failed(ep) && v.lines[ep] != 0 {
			v.fault(ep, "%s: event: on is KIND/NAME, such as Service/hello, not %q", what, abbreviate(e.On))
		}
	}
}

// extensions checks the workloads that a policy is to select as well: each
// goes via the hub, and has no policy of its own that would keep it.
func (v *validator) extensions(path, what, workload string, names []string) {
	for i, name := range names {
		p := fmt.Sprintf("%s[%d]", path, i)
		if name == workload {
			v.fault(p, "%s: the policy of %s selects it already", what, name)
			continue
		}
		v.hubWorkload(p, what, name)
		if w := v.t.Workload(name); w != nil && w.Via == ViaHub && w.Policy != PolicyWithhold {
			v.fault(p, "%s: workload %s has a policy of its own, which keeps it; give the workload policy: withhold", what, name)
		}
	}
}

func (v *validator) affinity(path, what string, step PlacementStep) {
	if step.On != nil && len(step.On) == 0 {
		v.fault(path, "%s: on names no cluster", what)
	}
	seen := map[string]bool{}
	for i, name := range step.On {
		p := fmt.Sprintf("%s[%d]", path, i)
		v.member(p, what, name)
		if seen[name] {
			v.fault(p, "%s: cluster %s is named twice", what, name)
		}
		seen[name] = true
	}
}
