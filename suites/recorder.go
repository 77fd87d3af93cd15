package suites

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// recorder collects what a scenario finds. Safe for concurrent use: probes
// and watches run beside each other.
type recorder struct {
	mu  sync.Mutex
	res Scenario
}

func newRecorder(name, suite string) *recorder {
	return &recorder{res: Scenario{Name: name, Suite: suite, Started: time.Now()}}
}

// check keeps an expectation beside what was seen, and returns ok.
func (r *recorder) check(c Check) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Checks = append(r.res.Checks, c)
	return c.OK
}

// mark puts a moment on the timeline.
func (r *recorder) mark(lane, what string) { r.markAt(time.Now(), lane, what) }

func (r *recorder) markAt(at time.Time, lane, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Timeline = append(r.res.Timeline, Mark{At: at.Sub(r.res.Started), What: what, Lane: lane})
}

// fault puts a fault, or its healing, on the timeline.
func (r *recorder) fault(at time.Time, lane, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Timeline = append(r.res.Timeline, Mark{At: at.Sub(r.res.Started), What: what, Lane: lane, Fault: true})
}

// replicas keeps one reading, unless nothing changed since the last.
func (r *recorder) replicas(counts map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.res.Replicas); n > 0 && maps.Equal(r.res.Replicas[n-1].Counts, counts) {
		return
	}
	r.res.Replicas = append(r.res.Replicas, Replicas{At: time.Since(r.res.Started), Counts: maps.Clone(counts)})
}

func (r *recorder) latency(l Latency) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Latency = append(r.res.Latency, l)
}

func (r *recorder) object(o Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Objects = append(r.res.Objects, o)
}

func (r *recorder) inverted(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Inverted = what
}

// end sets how the scenario came out. The first call counts.
func (r *recorder) end(o Outcome, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.res.Outcome != "" {
		return
	}
	r.res.Outcome, r.res.Reason = o, reason
	r.res.Elapsed = time.Since(r.res.Started)
}

// spoil says that the scenario left the lab in another state than it found:
// what passed is worth nothing then, what failed has one more reason.
func (r *recorder) spoil(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.res.Outcome != Failed {
		r.res.Outcome, r.res.Reason = Invalid, reason
		return
	}
	r.res.Reason += "; " + reason
}

// result is a copy of what was found so far, its timeline in order.
func (r *recorder) result() Scenario {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := r.res
	if res.Elapsed == 0 {
		res.Elapsed = time.Since(res.Started)
	}
	res.Checks = slices.Clone(res.Checks)
	res.Timeline = slices.Clone(res.Timeline)
	slices.SortStableFunc(res.Timeline, func(a, b Mark) int { return int(a.At - b.At) })
	return res
}

// failures describes every check that did not hold, a few in words and the
// rest by number.
func (r *recorder) failures() string {
	const most = 5
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	more := 0
	for _, c := range r.res.Checks {
		switch {
		case c.OK:
		case len(out) < most:
			out = append(out, fmt.Sprintf("%s: expected %s, saw %s", c.What, c.Expected, c.Seen))
		default:
			more++
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}
