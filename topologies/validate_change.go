package topologies

import (
	"fmt"
	"strings"
)

// changeScenario checks the topology that an addition makes, with every fault
// at the line of what was added.
func (v *validator) changeScenario(path, what string, s *ChangeScenario) {
	if len(v.errs) > 0 {
		return // what is to be changed is not sound itself
	}
	if len(s.Add.Clusters) == 0 {
		v.fault(path+".add.clusters", "%s: no cluster is added", what)
	}
	for i, c := range s.Add.Clusters {
		if c.Role == RoleAdmin {
			v.fault(fmt.Sprintf("%s.add.clusters[%d].role", path, i), "%s: cluster %s: only managed clusters can be added", what, c.Name)
		}
	}
	if len(v.errs) > 0 {
		return
	}
	spec := &v.t.Spec
	d := &decoder{file: v.file, lines: map[string]int{}, bad: map[string]bool{}}
	d.lines[""] = v.lineAt(path)
	moved := []struct {
		from, to string
		offset   int
	}{
		{path + ".add.clusters", "spec.clusters", len(spec.Clusters)},
		{path + ".add.links", "spec.wan.links", len(spec.WAN.Links)},
		{path + ".add.peerings", "spec.wan.peering.peerings", len(spec.WAN.Peering.Peerings)},
		{path + ".add.rules", "spec.wan.rules", len(spec.WAN.Rules)},
	}
	for at, line := range v.lines {
		if !strings.HasPrefix(at, path) {
			d.lines[at] = line
		}
	}
	for _, m := range moved {
		for at, line := range v.lines {
			rest, ok := strings.CutPrefix(at, m.from+"[")
			if !ok {
				continue
			}
			var index int
			if n, err := fmt.Sscanf(rest, "%d", &index); n == 1 && err == nil {
				_, tail, _ := strings.Cut(rest, "]")
				d.lines[fmt.Sprintf("%s[%d]%s", m.to, m.offset+index, tail)] = line
			}
		}
	}
	merged := v.t.merged(&s.Add)
	merged.setDefaults()
	sub := &validator{decoder: d, t: merged}
	sub.validate()
	for _, f := range d.errs {
		f.What = what + ": " + f.What
		v.errs = append(v.errs, f)
	}
}
