package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
)

// way is what the plan says, at this time, of the way from one cluster to another and back,
// between their first control-plane nodes.
type way struct {
	rtt       time.Duration
	tolerance time.Duration // of a median against rtt
	jitter    time.Duration // of all links, there and back
	there     []wan.Hop
	back      []wan.Hop
}

// way returns how two clusters reach each other; ok is false if they don't.
// Rules are not asked.
func (r *runner) way(from, to string) (w way, ok bool) {
	return r.placeWay(lab.Place{Cluster: from}, lab.Place{Cluster: to})
}

// nodeOf is the plan's node of a place, or nil.
func (r *runner) nodeOf(p lab.Place) *sim.Node {
	c := r.plan.Cluster(p.Cluster)
	switch {
	case c == nil:
		return nil
	case p.Node == "":
		return &c.Nodes[0]
	}
	return c.Node(p.Node)
}

// placeWay is way between two places.
func (r *runner) placeWay(from, to lab.Place) (w way, ok bool) {
	a, b := r.nodeOf(from), r.nodeOf(to)
	if a == nil || b == nil {
		return w, false
	}
	table := r.table
	if r.plan.WAN.Scheduled() {
		// What holds now is what the schedules have made of the links.
		now := r.plan.WAN.At(time.Now())
		var err error
		if table, err = now.Compile(); err != nil {
			return w, false // not a way that anybody could know
		}
	}
	var there, back wan.Cause
	w.there, there = table.Path(a.WANAddr(), b.WANAddr())
	w.back, back = table.Path(b.WANAddr(), a.WANAddr())
	if there != wan.Delivered || back != wan.Delivered {
		return w, false
	}
	for _, h := range slices.Concat(w.there, w.back) {
		if h.Link.Down {
			return way{}, false
		}
		w.rtt += h.Link.OneWay
		w.jitter += h.Link.Jitter
	}
	w.tolerance = tolerance(w.rtt) + w.jitter
	return w, true
}

// changesTried bounds how often a way is measured that changed meanwhile.
const changesTried = 5

// steadily measures a way, again where a schedule changed it in the middle:
// half of such a measurement is of one way and half of another. It returns the
// way that was measured; ok is false where there is none now.
func (r *runner) steadily(from, to lab.Place, measure func(way) error) (w way, ok bool, err error) {
	w, ok = r.placeWay(from, to)
	for range changesTried {
		if !ok {
			return w, false, nil
		}
		err = measure(w)
		after, still := r.placeWay(from, to)
		if still && after.rtt == w.rtt && after.jitter == w.jitter {
			return w, true, err
		}
		w, ok = after, still
	}
	return w, ok, errors.New("its links change faster than they can be measured")
}

// tolerance is how far the median of a link's round trips may be from the
// file's, the jitter left out: 1 ms or 2 %, whichever is more.
func tolerance(rtt time.Duration) time.Duration { return max(time.Millisecond, rtt/50) }

// awaitOtherJitter lets jitter become another before a way that was out of
// tolerance is measured again. It wanders: a link needs some 25 times its
// jitter to forget what it was, and until then a second look would see the same.
func (r *runner) awaitOtherJitter(ways ...way) {
	var longest time.Duration
	for _, w := range ways {
		longest = max(longest, 25*w.jitter)
	}
	if longest == 0 {
		return
	}
	forgotten := time.NewTimer(longest)
	defer forgotten.Stop()
	select {
	case <-forgotten.C:
	case <-r.ctx.Done():
	}
}

// hop is one direction of a link, by its regions.
type hop struct{ from, to string }

// crossing is the links that a scenario claims to cross.
type crossing struct {
	hops   []hop
	before map[hop]uint64
	// uncounted is for labs whose network nobody counts the packets of.
	uncounted bool
}

// claimCrossing notes the counters of the links that lie between the clusters
// of each pair. Clusters that are the same cross nothing.
func (s *scenario) claimCrossing(ctx context.Context, pairs ...[2]string) (*crossing, error) {
	c := &crossing{}
	for _, p := range pairs {
		if p[0] == p[1] {
			continue
		}
		w, ok := s.way(p[0], p[1])
		if !ok {
			return nil, invalid("the plan has no way from %s to %s and back", p[0], p[1])
		}
		for _, h := range slices.Concat(w.there, w.back) {
			if h := (hop{h.From, h.To}); !slices.Contains(c.hops, h) {
				c.hops = append(c.hops, h)
			}
		}
	}
	st, err := s.lab.State(ctx)
	if err != nil {
		return nil, invalid("read the links' counters: %v", err)
	}
	if c.uncounted = st.Uncounted; c.uncounted && len(c.hops) > 0 {
		s.begin("not checked: that links are crossed; nobody counts this network's packets")
	}
	c.before, err = s.readCounters(ctx)
	return c, err
}

// from pairs one cluster with each of others.
func from(cluster string, others ...string) (pairs [][2]string) {
	for _, o := range others {
		pairs = append(pairs, [2]string{cluster, o})
	}
	return pairs
}

func (s *scenario) readCounters(ctx context.Context) (map[hop]uint64, error) {
	st, err := s.lab.State(ctx)
	if err != nil {
		return nil, invalid("read the links' counters: %v", err)
	}
	packets := map[hop]uint64{}
	for _, l := range st.Links {
		packets[hop{l.From, l.To}] += l.Packets
	}
	return packets, nil
}

// verify is an invalidError if the counters of a claimed link did not rise:
// then the traffic went another way, and whatever it showed is no answer.
func (c *crossing) verify(ctx context.Context, s *scenario) error {
	if c.uncounted {
		return nil
	}
	after, err := s.readCounters(ctx)
	if err != nil {
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
