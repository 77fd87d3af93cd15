package wan

import (
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
