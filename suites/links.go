package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
)

// hop is one direction of a link, by its regions.
type hop struct{ from, to string }

// implicitOneWay is half the round trip of the implicit link between clusters
// of one region.
const implicitOneWay = 250 * time.Microsecond

// region is where a place of the plan is.
func region(plan *sim.Plan, p lab.Place) string {
	c := plan.Cluster(p.Cluster)
	if c == nil {
		return ""
	}
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.Name == p.Node || p.Node == "" && n.Addr == c.APIServer.Addr() {
			return n.Region
		}
	}
	return c.Region
}

// link returns the model of one direction.
func link(plan *sim.Plan, h hop) (wan.LinkModel, bool) {
	for _, l := range plan.WAN.Links {
		if l.From == h.from && l.To == h.to {
			return l.LinkModel, true
		}
	}
	if h.from == h.to {
		return wan.LinkModel{OneWay: implicitOneWay}, true
	}
	return wan.LinkModel{}, false
}

// roundTrip is what the file says of the way between two clusters and back,
// and how far a median may be from it: 1 ms or 2 %, whichever is more, plus
// both directions' jitter. ok tells whether both directions have a link.
func roundTrip(plan *sim.Plan, a, b string) (rtt, tolerance time.Duration, ok bool) {
	ra, rb := region(plan, lab.Place{Cluster: a}), region(plan, lab.Place{Cluster: b})
	there, ok1 := link(plan, hop{ra, rb})
	back, ok2 := link(plan, hop{rb, ra})
	rtt = there.OneWay + back.OneWay
	return rtt, slack(rtt) + there.Jitter + back.Jitter, ok1 && ok2
}

func slack(rtt time.Duration) time.Duration { return max(time.Millisecond, rtt/50) }

// peered tells whether two clusters exchange traffic directly and without a
// narrowing route: such a pair measures its link and nothing else.
func peered(plan *sim.Plan, a, b string) bool {
	up := slices.ContainsFunc(plan.WAN.Peerings, func(p wan.Peering) bool {
		return !p.Down && (p.A == a && p.B == b || p.A == b && p.B == a)
	})
	return up && routed(plan, a, b) && routed(plan, b, a)
}

// routed tells whether from's routes, if it has any for this peering, lead
// straight to the other's nodes.
func routed(plan *sim.Plan, from, to string) bool {
	any := false
	target := plan.Cluster(to).APIServer.Addr()
	for _, r := range plan.WAN.Routes {
		pair := r.Peering == [2]string{from, to} || r.Peering == [2]string{to, from}
		if r.From != from || !pair {
			continue
		}
		any = true
		if r.To.Contains(target) && r.Via == "" {
			return true
		}
	}
	return !any
}

// crossing reads the counters of links that a scenario claims to cross.
type crossing struct {
	hops   []hop
	before map[hop]uint64
}

// claimCrossing notes the counters of the links between one cluster and
// others, both directions. Clusters that are the same cross nothing.
func (s *scenario) claimCrossing(ctx context.Context, from string, to ...string) (*crossing, error) {
	c := &crossing{}
	a := region(s.plan, lab.Place{Cluster: from})
	for _, name := range to {
		if name == from {
			continue
		}
		b := region(s.plan, lab.Place{Cluster: name})
		for _, h := range []hop{{a, b}, {b, a}} {
			if !slices.Contains(c.hops, h) {
				c.hops = append(c.hops, h)
			}
		}
	}
	return c, s.readCounters(ctx, &c.before)
}

func (s *scenario) readCounters(ctx context.Context, into *map[hop]uint64) error {
	st, err := s.lab.State(ctx)
	if err != nil {
		return invalid("read the links' counters: %v", err)
	}
	*into = map[hop]uint64{}
	for _, l := range st.Links {
		(*into)[hop{l.From, l.To}] += l.Packets
	}
	return nil
}

// verify is an invalidError if the counters of a claimed link did not rise:
// then the traffic went another way, and whatever it showed is no answer.
func (c *crossing) verify(ctx context.Context, s *scenario) error {
	var after map[hop]uint64
	if err := s.readCounters(ctx, &after); err != nil {
		return err
	}
	var idle []string
	for _, h := range c.hops {
		if after[h] <= c.before[h] {
			idle = append(idle, fmt.Sprintf("%s→%s (%d packets)", h.from, h.to, after[h]))
		}
	}
	if len(idle) > 0 {
		return invalid("the scenario claims to cross links whose counters did not rise: %s", strings.Join(idle, ", "))
	}
	return nil
}
