package wan

import (
	"net/netip"
	"slices"
	"time"
)

// WithPartition returns a copy in which two clusters exchange nothing, by
// whatever way.
func (p *Policy) WithPartition(a, b string) Policy {
	q := *p
	q.Peerings = slices.Clone(p.Peerings)
	for i, pe := range q.Peerings {
		if pe.A == a && pe.B == b || pe.A == b && pe.B == a {
			q.Peerings[i].Down = true
			return q
		}
	}
	q.Peerings = append(q.Peerings, Peering{A: a, B: b, Down: true})
	return q
}

// WithIsolated returns a copy in which a cluster exchanges nothing with any other.
func (p *Policy) WithIsolated(cluster string) Policy {
	q := *p
	for _, s := range p.Sites {
		if s.Cluster != cluster {
			q = q.WithPartition(cluster, s.Cluster)
		}
	}
	return q
}

// WithoutRule returns a copy in which the rules of a name admit nothing. The
// pairs of clusters that they name stay ruled.
func (p *Policy) WithoutRule(name string) Policy {
	q := *p
	q.Rules = slices.Clone(p.Rules)
	for i := range q.Rules {
		if q.Rules[i].Name == name {
			q.Rules[i].Ports = nil
		}
	}
	return q
}

// WithLinkDown returns a copy in which the link between two regions is cut,
// in both directions. With twice the same region it is the link between that
// region's clusters.
func (p *Policy) WithLinkDown(a, b string) Policy {
	q := *p
	q.Links = slices.Clone(p.Links)
	found := false
	for i, l := range q.Links {
		if l.From == a && l.To == b || l.From == b && l.To == a {
			q.Links[i].Down = true
			q.Links[i].Schedule = slices.Clone(l.Schedule)
			for j := range l.Schedule {
				q.Links[i].Schedule[j].Down = true
			}
			found = true
		}
	}
	if a == b && !found {
		q.Links = append(q.Links, Link{From: a, To: a, LinkModel: LinkModel{OneWay: ImplicitOneWay, Down: true}})
	}
	return q
}

// Scheduled tells whether any link changes over time.
func (p *Policy) Scheduled() bool {
	return slices.ContainsFunc(p.Links, func(l Link) bool { return len(l.Schedule) > 0 })
}

// At returns the policy as it is at a moment: what its links' schedules have
// changed by then is the links' own, and nothing is left to change.
func (p *Policy) At(now time.Time) Policy {
	q := *p
	q.Links = slices.Clone(p.Links)
	q.Epoch = time.Time{}
	for i, l := range p.Links {
		q.Links[i].Schedule = nil
		for _, c := range l.Schedule {
			if p.Epoch.IsZero() || p.Epoch.Add(c.At).After(now) {
				break
			}
			q.Links[i].LinkModel = c.LinkModel
		}
	}
	return q
}

// RoutesTo returns the destinations of the entries in a cluster's route table
// that lead to another cluster, through their peering or through a transit
// cluster, in the order of the policy. A peering that lists no routes stands
// for one entry for each range of its two clusters.
func (p *Policy) RoutesTo(from, to string) []netip.Prefix {
	q := p.withEntries(from, to)
	var out []netip.Prefix
	for _, r := range q.Routes {
		if r.From == from && q.leadsTo(r, to) {
			out = append(out, r.To)
		}
	}
	return out
}

// WithoutRoute returns a copy in which a cluster's route table has lost the
// entries that RoutesTo lists: all of them, or where destination is valid that
// one. Other entries stay, those of the other direction as well.
func (p *Policy) WithoutRoute(from, to string, destination netip.Prefix) Policy {
	q := p.withEntries(from, to)
	q.Routes = slices.DeleteFunc(q.Routes, func(r Route) bool {
		return r.From == from && q.leadsTo(r, to) && (!destination.IsValid() || r.To == destination)
	})
	return q
}

// withEntries returns a copy in which the peering of two clusters, if they
// have one, lists its routes.
func (p *Policy) withEntries(a, b string) Policy {
	q := *p
	q.Routes, q.Peerings = slices.Clone(p.Routes), slices.Clone(p.Peerings)
	for i, pe := range q.Peerings {
		if !(pe.A == a && pe.B == b || pe.A == b && pe.B == a) || pe.Routed {
			continue
		}
		q.Peerings[i].Routed = true
		listed := slices.ContainsFunc(q.Routes, func(r Route) bool {
			return r.Peering == [2]string{pe.A, pe.B} || r.Peering == [2]string{pe.B, pe.A}
		})
		if listed {
			continue
		}
		for _, way := range [][2]string{{pe.A, pe.B}, {pe.B, pe.A}} {
			for _, to := range q.ranges(way[1]) {
				q.Routes = append(q.Routes, Route{From: way[0], Peering: [2]string{pe.A, pe.B}, To: to})
			}
		}
	}
	return q
}

// ranges are the prefixes of a cluster.
func (p *Policy) ranges(cluster string) (out []netip.Prefix) {
	for _, s := range p.Sites {
		if s.Cluster == cluster {
			for _, prefix := range s.Prefixes {
				out = append(out, prefix.Masked())
			}
		}
	}
	return out
}

func (p *Policy) leadsTo(r Route, cluster string) bool {
	return slices.ContainsFunc(p.ranges(cluster), r.To.Overlaps)
}

// Admitted returns what the rules list for an ordered pair of clusters; named
// is false for one that no rule names, and which is open.
func (p *Policy) Admitted(from, to string) (ports []Port, named bool) {
	for _, r := range p.Rules {
		if r.From == from && r.To == to {
			ports, named = append(ports, r.Ports...), true
		}
	}
	return ports, named
}

// WithRulesClosed returns a copy in which the rules admit these ports no more
// from one cluster to another; without ports, nothing at all, even if no rule
// names the two. Flows that were admitted go on.
func (p *Policy) WithRulesClosed(from, to string, ports []Port) Policy {
	q := *p
	q.Rules = []Rule{{From: from, To: to}} // ruled, whatever becomes of the others
	for _, r := range p.Rules {
		if r.From == from && r.To == to {
			r.Ports = slices.DeleteFunc(slices.Clone(r.Ports), func(port Port) bool {
				return len(ports) == 0 || slices.Contains(ports, port)
			})
		}
		q.Rules = append(q.Rules, r)
	}
	return q
}

// WithLink returns a copy in which one direction between two regions is
// changed, now and whenever its schedule changes it. With twice the same
// region it is the link between that region's clusters.
func (p *Policy) WithLink(from, to string, change func(*LinkModel)) Policy {
	q := *p
	q.Links = slices.Clone(p.Links)
	if from == to && !slices.ContainsFunc(q.Links, func(l Link) bool { return l.From == from && l.To == to }) {
		q.Links = append(q.Links, Link{From: from, To: to, LinkModel: LinkModel{OneWay: ImplicitOneWay}})
	}
	for i, l := range q.Links {
		if l.From != from || l.To != to {
			continue
		}
		change(&q.Links[i].LinkModel)
		q.Links[i].Schedule = slices.Clone(l.Schedule)
		for j := range l.Schedule {
			change(&q.Links[i].Schedule[j].LinkModel)
		}
	}
	return q
}
