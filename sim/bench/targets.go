package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The one-way delays whose error is measured.
var oneWays = []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond}

// targets holds the engine behind the TUN device against what it must reach.
// Of several figures that one goal speaks of, the worst counts.
func targets(r *Result) []Target {
	var out []Target
	goal := func(what string, got float64, sign string, limit float64, unit string) *Target {
		if math.IsNaN(got) {
			return nil // not measured
		}
		reached := got >= limit
		if sign == "≤" {
			reached = got <= limit
		}
		out = append(out, Target{What: what, Want: fmt.Sprintf("%s %g%s", sign, limit, unit), Got: got, Reached: reached})
		return &out[len(out)-1]
	}
	goal("1 TCP stream, no delay, of kernel forwarding", r.ratio("tcp/1/0ms/rate"), "≥", 0.5, "")
	goal("8 TCP streams, no delay, of kernel forwarding", r.ratio("tcp/8/0ms/rate"), "≥", 0.35, "")
	goal("8 TCP streams at 50 ms RTT, Gbit/s", r.worst(tunName, "tcp/8/50ms/rate"), "≥", 3, "")
	if t := goal("forwarder's CPU without delay, s/GiB", r.worst(tunName, forwarding...), "≤", forwarderCPU, ""); t != nil && !t.Reached {
		t.Unjudged = r.unreachable()
	}
	goal("forwarder's CPU, of the bare thread's", r.beyondBare(), "≤", beyond, "")
	goal("64-byte packets per core, 1000/s", r.worst(tunName, "packets/per-core"), "≥", 100, "")
	var medians, plain, tails []string
	for _, oneWay := range oneWays {
		ms := oneWay.Milliseconds()
		medians = append(medians, fmt.Sprintf("delay/%dms/median", ms))
		plain = append(plain, fmt.Sprintf("plain-delay/%dms/median", ms))
		tails = append(tails, fmt.Sprintf("delay/%dms/p99", ms))
	}
	goal("delay error, worst median, real-time, µs", r.worst(tunName, medians...), "≤", 50, "")
	goal("delay error, worst median, without, µs", r.worst(tunName, plain...), "≤", 150, "")
	if t := goal("delay error, worst p99 (idle machine), µs", r.worst(tunName, tails...), "≤", longestTail, ""); t != nil && !t.Reached {
		t.Unjudged = r.busy(tails)
	}
	goal("resident, 5 Gbit/s × 50 ms in flight, MiB", r.worst(tunName, "memory/resident"), "≤", 64, "")
	goal("10,000 links compiled and in force, ms", r.worst(tunName, "links/swap"), "≤", 100, "")
	return out
}

// forwarding are the metrics of what the forwarder takes of a processor.
var forwarding = []string{"tcp/1/0ms/cpu-forwarder", "tcp/8/0ms/cpu-forwarder"}

// forwarderCPU is how much that may be, in seconds per GiB.
const forwarderCPU = 0.7

// unreachable is why a forwarder that takes too much is no fault of the engine:
// wherever it does, so does a thread that only reads and writes.
func (r *Result) unreachable() string {
	most := 0.0
	for _, id := range forwarding {
		if !(r.worst(tunName, id) > forwarderCPU) {
			continue
		}
		bare := r.worst(tunName, "bare-"+id)
		if !(bare > forwarderCPU) {
			return ""
		}
		most = max(most, bare)
	}
	return "a thread that only reads and writes takes " + short(most) + " here"
}

// beyond is how much more the forwarder may take than that thread.
const beyond = 1.25

// beyondBare is the worst ratio of the forwarder to a thread that only reads and
// writes, each taken within a round; NaN if they were not measured.
func (r *Result) beyondBare() float64 {
	worst := math.NaN()
	for _, id := range forwarding {
		whole, bare := r.Metric(id), r.Metric("bare-"+id)
		if whole == nil || bare == nil {
			continue
		}
		a, b := whole.Figures[tunName].Rounds, bare.Figures[tunName].Rounds
		var ratios []float64
		for i := range min(len(a), len(b)) {
			ratios = append(ratios, a[i]/b[i])
		}
		if len(ratios) == 0 {
			continue
		}
		if m := quantile(ratios, 0.5); !(m <= worst) {
			worst = m
		}
	}
	return worst
}

// longestTail is the p99 of the delay error, in µs, that an idle machine allows.
const longestTail = 200

// busy is why tails that are too long are no fault of the engine, nothing if
// they are: as much other load before as there are processors, or processors
// that the hypervisor took away in a round of every one of them.
func (r *Result) busy(tails []string) string {
	if load := r.Machine.LoadStart[0]; load >= float64(r.Machine.Cores) {
		return fmt.Sprintf("load %.1f before", load)
	}
	var most float64
	for _, id := range tails {
		if !(r.worst(tunName, id) > longestTail) {
			continue
		}
		var taken float64
		if m := r.Metric(strings.TrimSuffix(id, "p99") + "stolen"); m != nil {
			for _, ms := range m.Figures[tunName].Rounds {
				taken = max(taken, ms)
			}
		}
		if taken == 0 {
			return ""
		}
		most = max(most, taken)
	}
	return fmt.Sprintf("%.0f ms stolen", most)
}

// ratio is the engine's to kernel forwarding; NaN if it was not measured.
func (r *Result) ratio(id string) float64 {
	if m := r.Metric(id); m != nil && m.Figures[tunName].Ratio != nil {
		return *m.Figures[tunName].Ratio
	}
	return math.NaN()
}

// worst is the largest median of a driver among metrics; NaN if none was measured.
func (r *Result) worst(driver string, ids ...string) float64 {
	worst := math.NaN()
	for _, id := range ids {
		m := r.Metric(id)
		if m == nil {
			continue
		}
		if f, ok := m.Figures[driver]; ok && !(f.Median <= worst) {
			worst = f.Median
		}
	}
	return worst
}
