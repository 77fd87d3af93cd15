package suites

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// Every link is measured with calibrationPings echoes, in interleaved series:
// one after another they would take 20 round trips. A machine that is busy for
// a moment delays every packet, so a link that is out of tolerance is measured
// again, calibrationAttempts times in all, each time after twice as long a
// pause (3 s in all: what a scenario set in motion comes to rest); the Result
// shows every attempt, and the last one counts.
const (
	calibrationPings    = 20
	calibrationAttempts = 5
	calibrationPause    = 200 * time.Millisecond
)

// calibrate measures every link that some peered pair of clusters or some
// stretched cluster uses, from both of its ends, and invalidates the run if one is out of tolerance.
func (r *runner) calibrate(when string) {
	err := r.opts.Events.Step("calibrate "+when, "", func() error {
		if err := r.nothingInForce(); err != nil {
			return err
		}
		pairs := r.calibrationPairs()
		var err error
		pause := calibrationPause
		for attempt := 1; ; attempt++ {
			if pairs, err = r.measureAll(pairs, when, attempt); len(pairs) == 0 || attempt == calibrationAttempts {
				return err
			}
			select {
			case <-time.After(pause):
				pause *= 2
			case <-r.ctx.Done():
				return err
			}
		}
	})
	if err != nil && r.ctx.Err() == nil {
		r.invalidate(fmt.Sprintf("calibration %s the suites: %s", when, strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
}

// nothingInForce refuses to measure a lab that somebody has broken: its links
// would be out of tolerance for a reason that is known.
func (r *runner) nothingInForce() error {
	st, err := r.lab.State(r.ctx)
	if err != nil {
		return fmt.Errorf("read the lab's state: %w", err)
	}
	if len(st.Faults) == 0 {
		return nil
	}
	var faults []string
	for _, f := range st.Faults {
		faults = append(faults, f.String())
	}
	return fmt.Errorf("in force: %s; `atoll fault heal` undoes it", strings.Join(faults, ", "))
}

// measureAll measures links at once and returns those out of tolerance.
func (r *runner) measureAll(pairs [][2]lab.Place, when string, attempt int) (out [][2]lab.Place, err error) {
	found := make([]Calibration, len(pairs))
	measured := make([]bool, len(pairs))
	errs := make([]error, len(pairs))
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() {
			found[i], measured[i], errs[i] = r.measure(p[0], p[1])
			found[i].When, found[i].Attempt = when, attempt
		})
	}
	wg.Wait()
	for i, p := range pairs {
		if measured[i] {
			r.result.Calibration = append(r.result.Calibration, found[i])
		}
		if errs[i] != nil {
			out = append(out, p)
		}
	}
	return out, errors.Join(errs...)
}

// calibrationPairs picks one ordered pair of places per directed link: a place
// is a cluster's first node in a region.
func (r *runner) calibrationPairs() [][2]lab.Place {
	var places []lab.Place
	for i := range r.plan.Clusters {
		c := &r.plan.Clusters[i]
		for _, region := range c.Regions() {
			p := lab.Place{Cluster: c.Name}
			if n := c.In(region)[0]; n != &c.Nodes[0] {
				p.Node = n.Name
			}
			places = append(places, p)
		}
	}
	var pairs [][2]lab.Place
	seen := map[hop]bool{}
	for _, a := range places {
		for _, b := range places {
			w, ok := r.placeWay(a, b)
			// Over several links at once none of them is measured.
			if a == b || !ok || len(w.there) != 1 || len(w.back) != 1 {
				continue
			}
			if h := (hop{w.there[0].From, w.there[0].To}); !seen[h] {
				seen[h] = true
				pairs = append(pairs, [2]lab.Place{a, b})
			}
		}
	}
	return pairs
}

// waysOf returns the ways of pairs of clusters.
func (r *runner) waysOf(pairs [][2]string) (ways []way) {
	for _, p := range pairs {
		if w, ok := r.way(p[0], p[1]); ok {
			ways = append(ways, w)
		}
	}
	return ways
}

// measure measures a link; ok is false where its schedule has it down by now.
func (r *runner) measure(from, to lab.Place) (c Calibration, ok bool, err error) {
	c = Calibration{From: from.String(), To: to.String()}
	var got []time.Duration
	var w way
	w, ok, err = r.steadily(from, to, func(w way) (err error) {
		ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second+calibrationPings*4*w.rtt)
		defer cancel()
		// The other end of the link measures too: its echoes go in the gaps of these.
		offset := time.Duration(0)
		if c.From > c.To {
			offset = w.rtt / time.Duration(2*series(calibrationPings, w.rtt))
		}
		got, err = r.pings(ctx, from, to, calibrationPings, w.rtt, offset)
		return err
	})
	c.Configured, c.Tolerance = w.rtt, w.tolerance
	if err != nil {
		return c, true, fmt.Errorf("%s→%s: %w", from, to, err)
	}
	if !ok {
		return c, false, nil
	}
	if len(got) < calibrationPings/2 {
		return c, true, fmt.Errorf("%s→%s: %d of %d echoes came back", from, to, len(got), calibrationPings)
	}
	c.Measured = median(got)
	c.OK = (c.Measured - w.rtt).Abs() <= c.Tolerance
	if !c.OK {
		return c, true, fmt.Errorf("%s→%s: median %v, configured %v ± %v", from, to, c.Measured.Round(10*time.Microsecond), w.rtt, c.Tolerance)
	}
	return c, true, nil
}

// pings sends count echoes over a way of which the round trip is known. On a
// long one they go in several series, spread over the round trip, so that no
// two are on the way close to each other; the first goes after offset.
func (r *runner) pings(ctx context.Context, from, to lab.Place, count int, rtt, offset time.Duration) ([]time.Duration, error) {
	batches := series(count, rtt)
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	var wg sync.WaitGroup
	for i := range batches {
		n := count / batches
		if i < count%batches {
			n++
		}
		wg.Go(func() {
			start := time.NewTimer(offset + rtt*time.Duration(i)/time.Duration(batches))
			defer start.Stop()
			select {
			case <-start.C:
			case <-ctx.Done():
				return
			}
			got, err := r.lab.Ping(ctx, from, to, n)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, got...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// series is in how many series echoes go over a way: 10 ms and more apart, and
// at least two in each.
func series(count int, rtt time.Duration) int {
	return max(1, min(count/2, int(rtt/(10*time.Millisecond)), 10))
}
