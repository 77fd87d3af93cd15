package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// queueing is what the full queues of the links between two clusters add to a
// round trip: no more than they hold, and at least half of it, since an echo
// that finds room behind a queue that drops some may have come just after one.
func (f *forecast) queueing(s *topologies.CongestionScenario) (w Window) {
	a, b := f.plan.Cluster(s.From), f.plan.Cluster(s.To)
	if a == nil || b == nil {
		return w
	}
	there, _ := f.table.Path(a.Nodes[0].WANAddr(), b.Nodes[0].WANAddr())
	back, _ := f.table.Path(b.Nodes[0].WANAddr(), a.Nodes[0].WANAddr())
	for _, h := range slices.Concat(there, back) {
		w[1] += h.Link.QueueTime()
	}
	w[0] = w[1] / 2
	return w
}

// phases are those of the way between two clusters: a new one wherever one of
// its links changes.
func (f *forecast) phases(s *topologies.ScheduleScenario) (out []Phase) {
	a, b := f.plan.Cluster(s.From), f.plan.Cluster(s.To)
	if a == nil || b == nil {
		return nil
	}
	moments := []time.Duration{0}
	for _, l := range f.plan.WAN.Links {
		for _, c := range l.Schedule {
			if !slices.Contains(moments, c.At) {
				moments = append(moments, c.At)
			}
		}
	}
	slices.Sort(moments)
	begun := f.plan.WAN
	begun.Epoch = time.Unix(0, 0)
	for _, at := range moments {
		policy := begun.At(begun.Epoch.Add(at))
		table, err := policy.Compile()
		if err != nil {
			return nil // as the plan's own WAN compiles, so does this
		}
		p := phase(table, a, b)
		p.At = at
		if n := len(out); n > 0 {
			same := out[n-1]
			same.At = at
			if same == p {
				continue // another link's change
			}
		}
		out = append(out, p)
	}
	return out
}

// phase is what the way between two clusters is, there and back.
func phase(table *wan.Table, a, b *Cluster) (p Phase) {
	there, cause := table.Path(a.Nodes[0].WANAddr(), b.Nodes[0].WANAddr())
	back, backCause := table.Path(b.Nodes[0].WANAddr(), a.Nodes[0].WANAddr())
	if cause != wan.Delivered || backCause != wan.Delivered {
		return Phase{Down: true}
	}
	passes := 1.0
	for _, h := range slices.Concat(there, back) {
		if h.Link.Down {
			return Phase{Down: true}
		}
		p.RTT += h.Link.OneWay
		p.Jitter += h.Link.Jitter
		p.Bursts = p.Bursts || h.Link.Loss.Enter > 0
		// What a flipped bit makes of an echo is no answer either.
		passes *= (1 - h.Link.Loss.Ratio()) * (1 - h.Link.Corrupt)
	}
	p.Loss = 1 - passes
	return p
}

// String is what a phase looks like.
func (p Phase) String() string {
	if p.Down {
		return "nothing comes back"
	}
	return fmt.Sprintf("round trip %v, %.2f %% lost", p.RTT, 100*p.Loss)
}

// linkPredictions writes what is predicted of the scenarios of links.
func (d *description) linkPredictions(p *Prediction, line func(...any)) {
	if p.Queueing != (Window{}) {
		line("  waiting in queues", fmt.Sprintf("%v to %v of each round trip", p.Queueing[0], p.Queueing[1]))
	}
	for _, phase := range p.Phases {
		line(fmt.Sprintf("  from %v on", phase.At), phase)
	}
}
