package bench

import (
	"fmt"
	"math"
)

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
	goal("forwarder's CPU without delay, s/GiB", r.worst(tunName, "tcp/1/0ms/cpu-forwarder", "tcp/8/0ms/cpu-forwarder"), "≤", 0.7, "")
	goal("64-byte packets per core, 1000/s", r.worst(tunName, "packets/per-core"), "≥", 100, "")
	var medians, plain, tails, stolen []string
	for _, ms := range []int{0, 1, 10, 50, 150} {
		medians = append(medians, fmt.Sprintf("delay/%dms/median", ms))
		plain = append(plain, fmt.Sprintf("plain-delay/%dms/median", ms))
		tails = append(tails, fmt.Sprintf("delay/%dms/p99", ms))
		stolen = append(stolen, fmt.Sprintf("delay/%dms/stolen", ms))
	}
	goal("delay error, worst median, real-time, µs", r.worst(tunName, medians...), "≤", 50, "")
	goal("delay error, worst median, without, µs", r.worst(tunName, plain...), "≤", 150, "")
	if t := goal("delay error, worst p99 (idle machine), µs", r.worst(tunName, tails...), "≤", 200, ""); t != nil && !t.Reached {
		t.Unjudged = r.Machine.busy(r.worst(tunName, stolen...))
	}
	goal("resident, 5 Gbit/s × 50 ms in flight, MiB", r.worst(tunName, "memory/resident"), "≤", 64, "")
	goal("10,000 links compiled and in force, ms", r.worst(tunName, "links/swap"), "≤", 100, "")
	return out
}

// busy is why a machine was not idle, nothing if it was: other load before, or
// processors that the hypervisor took away, for so many ms, meanwhile.
func (m Machine) busy(stolen float64) string {
	switch {
	case m.LoadStart[0] >= float64(m.Cores):
		return fmt.Sprintf("load %.1f before", m.LoadStart[0])
	case stolen > 0:
		return fmt.Sprintf("%.0f ms stolen", stolen)
	}
	return ""
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
