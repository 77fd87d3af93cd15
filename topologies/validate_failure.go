package topologies

import (
	"cmp"
	"slices"
	"time"
)

// maxLoad is what a link is filled with at most, as a share of its rate.
const maxLoad = 10

func (v *validator) podFailureScenario(path, what string, s *PodFailureScenario) {
	v.cluster(path+".cluster", what, s.Cluster)
	if s.Name == "" && v.lines[path+".name"] != 0 {
		v.fault(path+".name", "%s: name is empty; it is a Deployment, a StatefulSet, a DaemonSet or a pod", what)
	}
	v.duration(path+".expect.replacedWithin", what+": replacedWithin", s.Expect.ReplacedWithin)
}

func (v *validator) congestionScenario(path, what string, s *CongestionScenario) {
	if s.Load != 0 && !(s.Load > 1 && s.Load <= maxLoad) {
		v.fault(path+".load", "%s: a load of %s is outside of more than 100%% to %s: less does not fill a link", what, s.Load, Ratio(maxLoad))
	}
	for _, l := range v.linksBetween(path, what, s.From, s.To) {
		if l.Rate == 0 {
			v.fault(path, "%s: the link %s→%s has no rate, so nothing fills it", what, l.From, l.To)
			return
		}
		for _, c := range l.Schedule {
			if c.Rate == 0 {
				v.fault(path, "%s: the link %s→%s has no rate from %s on, so nothing fills it", what, l.From, l.To, Duration{c.At})
				return
			}
		}
	}
}

// lastChange is how late a schedule may change for a scenario to wait for it.
const lastChange = 4 * time.Minute

func (v *validator) scheduleScenario(path, what string, s *ScheduleScenario) {
	links := v.linksBetween(path, what, s.From, s.To)
	if links == nil {
		return
	}
	changes := slices.ContainsFunc(links, func(l DirectedLink) bool { return len(l.Schedule) > 0 })
	if !changes {
		v.fault(path, "%s: the links between %s and %s have no schedule to follow", what, s.From, s.To)
	}
	for _, l := range links {
		if n := len(l.Schedule); n > 0 && l.Schedule[n-1].At > lastChange {
			v.fault(path, "%s: the last change of %s→%s is at %s; a scenario waits for %s at most", what, l.From, l.To, Duration{l.Schedule[n-1].At}, Duration{lastChange})
		}
	}
}

// linksBetween returns both directions between the regions of two peered
// clusters. Where there are none it has said why.
func (v *validator) linksBetween(path, what, from, to string) (links []DirectedLink) {
	okFrom := v.cluster(path+".from", what, from)
	okTo := v.cluster(path+".to", what, to)
	if !okFrom || !okTo || v.failed("spec.wan") || v.failed("spec.wan.links") {
		return nil
	}
	if from == to || !v.t.Peered(from, to) && !v.failed("spec.wan.peering") {
		v.fault(path, "%s: %s and %s are not peered, so nothing crosses a link between them", what, from, to)
		return nil
	}
	a, b := v.clusters[from].Region, v.clusters[to].Region
	for _, l := range v.t.DirectedLinks() {
		if l.From == a && l.To == b || l.From == b && l.To == a {
			links = append(links, l)
		}
	}
	slices.SortFunc(links, func(x, y DirectedLink) int { return cmp.Compare(x.From, y.From) })
	return links
}
