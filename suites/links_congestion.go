package suites

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/wan"
)

const (
	// congestionEchoes are sent at once, mostEchoes in all, until enoughEchoes
	// have come back: a full queue drops most of them.
	congestionEchoes, enoughEchoes, mostEchoes = 12, 3, 60
	// drainWithin is how long full queues may take to drain, beside what they
	// hold: a busy machine's own queues among it.
	drainWithin = 10 * time.Second
)

// congestion fills the links between two clusters and measures what that does
// to others on them.
func (s *scenario) congestion(ctx context.Context) error {
	sc := s.spec.Congestion
	w, ok := s.way(sc.From, sc.To)
	if !ok {
		return invalid("the plan has no way from %s to %s and back", sc.From, sc.To)
	}
	crossed, err := s.claimCrossing(ctx, [2]string{sc.From, sc.To})
	if err != nil {
		return err
	}
	s.begin("measure %s→%s, empty", sc.From, sc.To)
	pair := sc.From + "→" + sc.To
	idle, ok := s.awaitEmpty(ctx, pair+", links empty", drainWithin, w)
	if !ok {
		return nil // what full queues add could not be told
	}

	load := float64(sc.Load)
	if load == 0 {
		load = lab.DefaultLoad
	}
	regions := [2]string{s.plan.Cluster(sc.From).Region, s.plan.Cluster(sc.To).Region}
	fault := lab.Fault{Kind: lab.FillLink, Between: regions[:], Load: load}
	s.begin("fill the links between %s and %s", regions[0], regions[1])
	dropped, err := s.queueDrops(ctx)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		s.rec.inverted("not in force: " + fault.String())
	} else if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	full, err := s.echoTime(ctx, sc.From, sc.To, w.rtt+s.predict.Queueing[1])
	if err != nil {
		return err
	}
	wait, window := full-idle, s.predict.Queueing
	// What jitter does to one of the two measurements, it does not to the other.
	slack := 2 * w.tolerance
	ok = s.check("waiting in full queues "+pair, fmt.Sprintf("between %v and %v", window[0], window[1]), rounded(wait), wait >= window[0]-slack && wait <= window[1]+slack)
	after, err := s.queueDrops(ctx)
	if err != nil {
		return err
	}
	for _, h := range crossed.hops {
		n := after[h] - dropped[h]
		ok = s.check(fmt.Sprintf("packets that the queue of %s→%s dropped", h.from, h.to), "some", fmt.Sprint(n), n > 0) && ok
	}
	if !ok && s.opts.Invert {
		return fmt.Errorf("not in force: %s", fault)
	}

	s.begin("let the queues drain")
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	s.awaitEmpty(ctx, pair+", links empty again", drainWithin+2*window[1], w)
	return crossed.verify(ctx, s)
}

// awaitEmpty waits until a round trip is what the plan says. A busy machine
// makes one longer for a moment, as it does when links are calibrated.
func (s *scenario) awaitEmpty(ctx context.Context, what string, within time.Duration, w way) (rtt time.Duration, ok bool) {
	sc := s.spec.Congestion
	ok = s.await(ctx, "round trip "+what, fmt.Sprintf("%v ± %v", w.rtt, w.tolerance), within, func(ctx context.Context) (string, bool) {
		var err error
		if rtt, err = s.echoTime(ctx, sc.From, sc.To, w.rtt); err != nil {
			return short(err), false
		}
		return rounded(rtt), (rtt - w.rtt).Abs() <= w.tolerance
	})
	return rtt, ok
}

// echoTime is the median of several echoes between two clusters. Full queues
// drop most of those that come between the packets that fill them, so echoes
// are sent until enough have come back.
func (s *scenario) echoTime(ctx context.Context, from, to string, about time.Duration) (time.Duration, error) {
	var got []time.Duration
	sent := 0
	for len(got) < enoughEchoes && sent < mostEchoes {
		back, err := s.pings(ctx, lab.Place{Cluster: from}, lab.Place{Cluster: to}, congestionEchoes, about, 0)
		if err != nil {
			return 0, fmt.Errorf("echoes from %s to %s: %w", from, to, err)
		}
		got, sent = append(got, back...), sent+congestionEchoes
	}
	if len(got) < enoughEchoes {
		return 0, fmt.Errorf("echoes from %s to %s: %d of %d came back", from, to, len(got), sent)
	}
	slices.Sort(got)
	return median(got), nil
}

// queueDrops are the packets that each link's queue has dropped so far.
func (s *scenario) queueDrops(ctx context.Context) (map[hop]uint64, error) {
	st, err := s.lab.State(ctx)
	if err != nil {
		return nil, invalid("read the links' counters: %v", err)
	}
	out := map[hop]uint64{}
	for _, l := range st.Links {
		out[hop{l.From, l.To}] += l.Dropped[wan.QueueFull]
	}
	return out, nil
}

func rounded(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
