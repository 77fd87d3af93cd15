package suites

import (
	"context"
	"fmt"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/wan"
)

// withoutRoute takes what leads from one cluster to another out of its route
// table and puts it back. Nothing answers between the two meanwhile, for replies
// need a route as well; that just one direction is broken, the packets that
// still arrive in the other show.
func (s *scenario) withoutRoute(ctx context.Context, questions, due []question, expected map[question]bool) error {
	d := s.spec.Peering.RemoveRoute
	fault := lab.Fault{Kind: lab.RemoveRoute, From: d.From, To: d.To}
	s.begin("take the route %s→%s away", d.From, d.To)
	if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	before, err := s.countersAtRest(ctx, d.From, d.To)
	if err != nil {
		return err
	}
	without := map[question]bool{}
	for _, q := range questions {
		without[q] = s.predict.WithoutRoute[q.pair()][q.port]
	}
	s.judgePairs(ctx, "without the route: ", questions, without)
	after, err := s.pairCounters(ctx)
	if err != nil {
		return err
	}
	for _, way := range sortedKeys(s.predict.Crosses) {
		arrived := after[way].Packets - before[way].Packets
		lost := after[way].Dropped[wan.NoRoute] - before[way].Dropped[wan.NoRoute]
		seen := fmt.Sprintf("%d arrived, %d had no route", arrived, lost)
		if s.predict.Crosses[way] {
			s.check("packets "+way+" without the route", "some arrive, none without a route", seen, arrived > 0 && lost == 0)
		} else {
			s.check("packets "+way+" without the route", "none arrive, some without a route", seen, arrived == 0 && lost > 0)
		}
	}
	s.begin("put the route %s→%s back", d.From, d.To)
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	s.judgePairs(ctx, "with the route again: ", due, expected)
	return nil
}

// countersAtRest are the counters once nothing is on its way from one cluster to
// another any longer: what was sent before the route went still arrives.
func (s *scenario) countersAtRest(ctx context.Context, from, to string) (map[string]wan.PairCounters, error) {
	w, _ := s.way(from, to)
	var last map[string]wan.PairCounters
	_, err := until(ctx, "nothing on its way "+from+"→"+to, answerWithin+20*w.rtt, func(ctx context.Context) (string, bool) {
		was := last
		var err error
		if last, err = s.pairCounters(ctx); err != nil {
			return err.Error(), false
		}
		pair := from + "→" + to
		if was != nil && was[pair].Packets == last[pair].Packets {
			return "", true
		}
		pause(ctx, w.rtt)
		return fmt.Sprintf("%d packets arrived so far", last[pair].Packets), false
	})
	return last, err
}

// pairCounters are the WAN's counters by ordered pair of clusters.
func (s *scenario) pairCounters(ctx context.Context) (map[string]wan.PairCounters, error) {
	st, err := s.lab.State(ctx)
	if err != nil {
		return nil, invalid("read the counters: %v", err)
	}
	out := map[string]wan.PairCounters{}
	for _, p := range st.Pairs {
		out[p.From+"→"+p.To] = p
	}
	return out, nil
}
