package suites

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

const (
	// phaseEvery is how often an echo is sent during a phase.
	phaseEvery = 50 * time.Millisecond
	// phaseEchoes is how many are needed to judge a phase, and phaseMost how
	// many are enough.
	phaseEchoes = 20
	phaseMost   = 200
	// phaseMargin keeps echoes off a change: those that a busy machine delays
	// would be of two phases.
	phaseMargin = 300 * time.Millisecond
	// echoPatience is how long beyond its round trip an echo is waited for.
	echoPatience = 500 * time.Millisecond
	// deviations bound a share that is counted: one false alarm in 2 million.
	deviations = 5
)

// schedule goes along with the schedule of the links between two clusters.
func (s *scenario) schedule(ctx context.Context) error {
	sc := s.spec.Schedule
	begun := s.plan.WAN.Epoch
	if begun.IsZero() {
		return invalid("the links' schedules have not begun")
	}
	phases := s.predict.Phases
	first := 0
	for i, p := range phases {
		if !begun.Add(p.At).After(time.Now()) {
			first = i
		}
	}
	if first == len(phases)-1 {
		return invalid("the schedule between %s and %s has ended, %v after the lab came up: take the lab down and up again", sc.From, sc.To, time.Since(begun).Round(time.Second))
	}
	if s.opts.Invert {
		// No fault makes a link that is down slower.
		for first < len(phases) && phases[first].Down {
			first++
		}
		if first == len(phases) {
			return invalid("the links between %s and %s stay down", sc.From, sc.To)
		}
		away := 3 * phases[first].RTT / 2
		regions := []string{s.plan.Cluster(sc.From).Region, s.plan.Cluster(sc.To).Region}
		if err := s.breakWorld(ctx, lab.Fault{Kind: lab.SetLink, Between: regions, Link: &lab.LinkChange{OneWay: &away}}); err != nil {
			return err
		}
	}
	crossed := &crossing{}
	if _, ok := s.way(sc.From, sc.To); ok {
		var err error
		if crossed, err = s.claimCrossing(ctx, [2]string{sc.From, sc.To}); err != nil {
			return err
		}
	}
	for i := first; i < len(phases); i++ {
		from, to := begun.Add(phases[i].At), time.Time{}
		if i+1 < len(phases) {
			to = begun.Add(phases[i+1].At)
		}
		s.begin("phase from %v on: %v", phases[i].At, phases[i])
		if err := s.phase(ctx, phases[i], from, to); err != nil {
			return err
		}
		if s.opts.Invert {
			break // one is enough
		}
	}
	return crossed.verify(ctx, s)
}

// phase waits for a phase and judges it. to is the zero time in the last.
func (s *scenario) phase(ctx context.Context, p sim.Phase, from, to time.Time) error {
	sc := s.spec.Schedule
	for wait := time.Until(from.Add(phaseMargin)); wait > 0; wait = 0 {
		began := time.NewTimer(wait)
		defer began.Stop()
		select {
		case <-began.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.rec.markAt(from, sc.From+"→"+sc.To, p.String())
	got, err := s.phaseEchoes(ctx, p, to)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s→%s from %v on: ", sc.From, sc.To, p.At)
	if got.sent < phaseEchoes {
		s.begin("not judged: %d echoes were sent before the next change", got.sent)
		return nil
	}
	if p.Down {
		s.check(name+"answered", "0 of "+fmt.Sprint(got.sent), fmt.Sprint(len(got.rtts)), len(got.rtts) == 0)
		return nil
	}
	lost := float64(got.sent-len(got.rtts)) / float64(got.sent)
	if !p.Bursts {
		n := float64(got.sent)
		within := deviations*math.Sqrt(p.Loss*(1-p.Loss)/n) + 2/n
		s.check(name+"lost", fmt.Sprintf("%.1f %% ± %.1f %%", 100*p.Loss, 100*within), fmt.Sprintf("%.1f %% of %d", 100*lost, got.sent), math.Abs(lost-p.Loss) <= within)
	}
	if len(got.rtts) < phaseEchoes/2 {
		return nil // hardly anything is left to have a median
	}
	within := tolerance(p.RTT) + p.Jitter
	rtt := median(got.rtts)
	s.check(name+"round trip", fmt.Sprintf("%v ± %v", p.RTT, within), rounded(rtt), (rtt-p.RTT).Abs() <= within)
	return nil
}

// phaseSeen is what came of a phase's echoes.
type phaseSeen struct {
	sent int
	rtts []time.Duration
}

// phaseEchoes sends echoes until a phase ends, or enough were sent. Each is
// back before the phase ends, or is lost.
func (s *scenario) phaseEchoes(ctx context.Context, p sim.Phase, end time.Time) (got phaseSeen, err error) {
	sc := s.spec.Schedule
	limit := p.RTT + 10*p.Jitter + echoPatience
	last := func() bool {
		return got.sent == phaseMost || !end.IsZero() && time.Until(end) < limit+phaseMargin
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	tick := time.NewTicker(phaseEvery)
	defer tick.Stop()
	for !last() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
			return got, context.Cause(ctx)
		}
		got.sent++
		wg.Go(func() {
			one, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			rtts, e := s.lab.Ping(one, lab.Place{Cluster: sc.From}, lab.Place{Cluster: sc.To}, 1)
			mu.Lock()
			defer mu.Unlock()
			got.rtts = append(got.rtts, rtts...)
			// Running out of time is to be lost.
			if e != nil && one.Err() == nil {
				err = errors.Join(err, fmt.Errorf("echo from %s to %s: %w", sc.From, sc.To, e))
			}
		})
	}
	wg.Wait()
	return got, err
}
