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

// Every link is measured with calibrationPings echoes, in calibrationBatches
// interleaved series: one after another they would take 20 round trips.
const (
	calibrationPings   = 20
	calibrationBatches = 4
)

// calibrate measures every link that some peered pair of clusters uses, from
// both of its ends, and invalidates the run if one is out of tolerance.
func (r *runner) calibrate(when string) {
	err := r.opts.Events.Step("calibrate "+when, "", func() error {
		pairs := r.calibrationPairs()
		found := make([]Calibration, len(pairs))
		errs := make([]error, len(pairs))
		var wg sync.WaitGroup
		for i, p := range pairs {
			wg.Go(func() { found[i], errs[i] = r.measure(p[0], p[1], when) })
		}
		wg.Wait()
		r.result.Calibration = append(r.result.Calibration, found...)
		return errors.Join(errs...)
	})
	if err != nil && r.ctx.Err() == nil {
		r.invalidate(fmt.Sprintf("calibration %s the suites: %s", when, strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
}

// calibrationPairs picks one ordered pair of clusters per directed link.
func (r *runner) calibrationPairs() [][2]string {
	var pairs [][2]string
	seen := map[hop]bool{}
	for _, a := range r.plan.Clusters {
		for _, b := range r.plan.Clusters {
			w, ok := r.way(a.Name, b.Name)
			// Over several links at once none of them is measured.
			if a.Name == b.Name || !ok || len(w.there) != 1 || len(w.back) != 1 {
				continue
			}
			if h := (hop{w.there[0].From, w.there[0].To}); !seen[h] {
				seen[h] = true
				pairs = append(pairs, [2]string{a.Name, b.Name})
			}
		}
	}
	return pairs
}

func (r *runner) measure(from, to, when string) (Calibration, error) {
	w, _ := r.way(from, to)
	rtt := w.rtt
	c := Calibration{From: from, To: to, When: when, Configured: rtt, Tolerance: w.tolerance}
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second+calibrationPings*4*rtt)
	defer cancel()
	got, err := r.pings(ctx, lab.Place{Cluster: from}, lab.Place{Cluster: to}, calibrationPings, rtt)
	if err != nil {
		return c, fmt.Errorf("%s→%s: %w", from, to, err)
	}
	if len(got) < calibrationPings/2 {
		return c, fmt.Errorf("%s→%s: %d of %d echoes came back", from, to, len(got), calibrationPings)
	}
	c.Measured = median(got)
	c.OK = (c.Measured - rtt).Abs() <= c.Tolerance
	if !c.OK {
		return c, fmt.Errorf("%s→%s: median %v, configured %v ± %v", from, to, c.Measured.Round(10*time.Microsecond), rtt, c.Tolerance)
	}
	return c, nil
}

// pings sends count echoes over a way of which the round trip is known. On a
// long one they go in several series, spread over the round trip, so that no
// two are on the way close to each other.
func (r *runner) pings(ctx context.Context, from, to lab.Place, count int, rtt time.Duration) ([]time.Duration, error) {
	batches := calibrationBatches
	if rtt < 20*time.Millisecond || count < 2*batches {
		batches = 1
	}
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
			offset := time.NewTimer(rtt * time.Duration(i) / time.Duration(batches))
			defer offset.Stop()
			select {
			case <-offset.C:
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
