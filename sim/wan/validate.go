package wan

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// maxDelay bounds every duration of a link, so that sums of them cannot overflow.
const maxDelay = 24 * time.Hour

// Validate returns every fault of a policy, joined.
func (p *Policy) Validate() error {
	v := validator{clusters: map[string]bool{}, regions: map[string]bool{}}
	v.sites(p.Sites)
	v.links(p.Links)
	v.peerings(p.Peerings)
	v.routes(p.Routes)
	for _, r := range p.Rules {
		what := fmt.Sprintf("rule %s→%s", r.From, r.To)
		v.cluster(what, r.From)
		v.cluster(what, r.To)
		for _, p := range []netip.Prefix{r.Source, r.Destination} {
			if p != (netip.Prefix{}) && (!p.IsValid() || p.Addr().Is4In6()) {
				v.fault("%s: %v is no prefix", what, p)
			}
		}
	}
	if p.Probes.First > p.Probes.Last {
		v.fault("probes: %d-%d is no range", p.Probes.First, p.Probes.Last)
	}
	return errors.Join(v.faults...)
}

type validator struct {
	clusters, regions map[string]bool
	peered            map[[2]string]bool
	faults            []error
}

func (v *validator) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf("wan: "+format, args...))
}

func (v *validator) cluster(what, name string) {
	if !v.clusters[name] {
		v.fault("%s: no cluster %q", what, name)
	}
}

func (v *validator) sites(sites []Site) {
	owner := map[netip.Prefix]string{}
	for _, s := range sites {
		name := s.Cluster + " in " + s.Region
		if s.Cluster == "" || s.Region == "" {
			v.fault("site %q: cluster and region are required", name)
		}
		v.clusters[s.Cluster], v.regions[s.Region] = true, true
		for _, p := range s.Prefixes {
			if !p.IsValid() || p.Addr().Is4In6() {
				v.fault("site %s: %v is no prefix", name, p)
				continue
			}
			if other, taken := owner[p.Masked()]; taken && other != name {
				v.fault("site %s: %v belongs to %s already", name, p, other)
			}
			owner[p.Masked()] = name
		}
	}
}

func (v *validator) links(links []Link) {
	seen := map[[2]string]bool{}
	for _, l := range links {
		what := fmt.Sprintf("link %s→%s", l.From, l.To)
		if l.From == "" || l.To == "" {
			v.fault("%s: two regions are required", what)
		}
		if seen[[2]string{l.From, l.To}] {
			v.fault("%s: given twice", what)
		}
		seen[[2]string{l.From, l.To}] = true
		v.model(what, &l.LinkModel)
		last := time.Duration(-1)
		for _, c := range l.Schedule {
			at := fmt.Sprintf("%s at %v", what, c.At)
			switch {
			case c.At < 0 || c.At > maxDelay:
				v.fault("%s: the moment is outside 0-%v", at, maxDelay)
			case c.At <= last:
				v.fault("%s: comes after %v", at, last)
			}
			last = c.At
			v.model(at, &c.LinkModel)
		}
	}
}

func (v *validator) model(what string, m *LinkModel) {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"delay", m.OneWay}, {"jitter", m.Jitter}, {"queue", m.Queue}} {
		if d.value < 0 || d.value > maxDelay {
			v.fault("%s: %s %v is outside 0-%v", what, d.name, d.value, maxDelay)
		}
	}
	for _, c := range []struct {
		name  string
		value float64
	}{
		{"loss (good)", m.Loss.Good}, {"loss (bad)", m.Loss.Bad}, {"loss (enter)", m.Loss.Enter}, {"loss (leave)", m.Loss.Leave},
		{"duplicate", m.Duplicate}, {"corrupt", m.Corrupt},
	} {
		if !(c.value >= 0 && c.value <= 1) { // NaN included
			v.fault("%s: %s %v is outside 0-1", what, c.name, c.value)
		}
	}
	if m.Shape >= numShapes {
		v.fault("%s: no such shape of jitter: %d", what, m.Shape)
	}
	if m.Queue > 0 && m.QueueBytes > 0 {
		v.fault("%s: the queue is given in time and in bytes", what)
	}
	if m.Reject && !m.Down {
		v.fault("%s: rejects, but is not down", what)
	}
}

func (v *validator) peerings(peerings []Peering) {
	v.peered = map[[2]string]bool{}
	for _, p := range peerings {
		what := fmt.Sprintf("peering %s↔%s", p.A, p.B)
		v.cluster(what, p.A)
		v.cluster(what, p.B)
		if p.A == p.B {
			v.fault("%s: two clusters are required", what)
		}
		if v.peered[[2]string{p.A, p.B}] {
			v.fault("%s: given twice", what)
		}
		v.peered[[2]string{p.A, p.B}], v.peered[[2]string{p.B, p.A}] = true, true
	}
}

func (v *validator) routes(routes []Route) {
	for _, r := range routes {
		what := fmt.Sprintf("route of %s to %v", r.From, r.To)
		if r.From != r.Peering[0] && r.From != r.Peering[1] {
			v.fault("%s: %s is not of the peering %s↔%s", what, r.From, r.Peering[0], r.Peering[1])
		}
		if !v.peered[r.Peering] {
			v.fault("%s: no peering %s↔%s", what, r.Peering[0], r.Peering[1])
		}
		if !r.To.IsValid() || r.To.Addr().Is4In6() {
			v.fault("%s: %v is no prefix", what, r.To)
		}
		if r.Via == "" {
			continue
		}
		v.cluster(what, r.Via)
		if r.Via == r.From || !v.peered[[2]string{r.From, r.Via}] {
			v.fault("%s: via %s, which %s is not peered with", what, r.Via, r.From)
		}
	}
}
