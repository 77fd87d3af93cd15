package topologies

import (
	"fmt"
	"time"
)

// maxSchedule is the latest moment of a change.
const maxSchedule = 24 * time.Hour

// linkValues checks what a link does, at first and by its schedule.
func (v *validator) linkValues(path string, l Link) {
	what := "link " + l.String()
	v.linkDelay(path, what, len(l.Between) == 0, &l.RTT, &l.Latency)
	if l.RTT.Duration == 0 && l.Latency.Duration == 0 && !v.failed(path) {
		v.fault(path, "%s: rtt or latency must be given, and be more than 0", what)
	}
	v.linkParts(path, what, Change{
		RTT: &l.RTT, Latency: &l.Latency, Jitter: &l.Jitter, Loss: l.Loss,
		Duplicate: &l.Duplicate, Corrupt: &l.Corrupt, Queue: &l.Queue,
	})
	for i, c := range l.Schedule {
		v.change(fmt.Sprintf("%s.schedule[%d]", path, i), what, l, i, c)
	}
}

func (v *validator) change(path, link string, l Link, i int, c Change) {
	if v.failed(path) {
		return
	}
	what := fmt.Sprintf("%s at %s", link, c.At)
	switch {
	case c.At.Duration <= 0:
		v.fault(path+".at", "%s: a change comes after the lab is up; what holds from the start is of the link itself", what)
	case c.At.Duration > maxSchedule:
		v.fault(path+".at", "%s: later than %s", what, Duration{maxSchedule})
	case i > 0 && c.At.Duration <= l.Schedule[i-1].At.Duration:
		v.fault(path+".at", "%s: is not after the change at %s", what, l.Schedule[i-1].At)
	}
	if c == (Change{At: c.At}) {
		v.fault(path, "%s: nothing changes", what)
	}
	v.linkDelay(path, what, len(l.Between) == 0, c.RTT, c.Latency)
	for _, d := range []struct {
		field string
		value *Duration
	}{{"rtt", c.RTT}, {"latency", c.Latency}} {
		if d.value != nil && d.value.Duration == 0 {
			v.fault(path+"."+d.field, "%s: %s must be more than 0", what, d.field)
		}
	}
	v.linkParts(path, what, c)
}

// linkDelay checks that the delay is given once, and as fits the link.
func (v *validator) linkDelay(path, what string, directed bool, rtt, latency *Duration) {
	given := func(d *Duration) bool { return d != nil && d.Duration != 0 }
	switch {
	case v.failed(path+".rtt") || v.failed(path+".latency"):
	case given(rtt) && given(latency):
		v.fault(path, "%s: rtt is there and back, latency is one way; give one of them", what)
	case given(rtt) && directed:
		v.fault(path+".rtt", "%s: one direction has a latency, not an rtt", what)
	}
}

// linkParts checks each value by itself.
func (v *validator) linkParts(path, what string, c Change) {
	for _, d := range []struct {
		field string
		value *Duration
	}{{"rtt", c.RTT}, {"latency", c.Latency}, {"jitter", c.Jitter}} {
		if d.value != nil {
			v.duration(path+"."+d.field, what+": "+d.field, *d.value)
		}
	}
	if c.Queue != nil {
		v.duration(path+".queue", what+": queue", Duration{c.Queue.Time})
	}
	for _, r := range []struct {
		field string
		value *Ratio
	}{{"duplicate", c.Duplicate}, {"corrupt", c.Corrupt}} {
		if r.value != nil {
			v.ratio(path+"."+r.field, what+": "+r.field, *r.value)
		}
	}
	if c.Loss != nil {
		v.loss(path+".loss", what, *c.Loss)
	}
}

func (v *validator) duration(path, what string, d Duration) {
	switch {
	case d.Duration < 0:
		v.fault(path, "%s %s is negative", what, d)
	case d.Duration > maxDelay:
		v.fault(path, "%s %s is longer than %s", what, d, Duration{maxDelay})
	}
}

func (v *validator) ratio(path, what string, r Ratio) {
	if !(r >= 0 && r <= 1) {
		v.fault(path, "%s %s is outside 0–100%%", what, r)
	}
}

func (v *validator) loss(path, what string, loss Loss) {
	v.ratio(path+".ratio", what+": loss", loss.Ratio)
	v.ratio(path+".enter", what+": loss: enter", loss.Enter)
	v.ratio(path+".leave", what+": loss: leave", loss.Leave)
	v.ratio(path+".bad", what+": loss: bad", loss.Bad)
	v.ratio(path+".good", what+": loss: good", loss.Good)
	if v.failed(path) || !loss.Bursty() {
		return
	}
	switch {
	case loss.Ratio != 0:
		v.fault(path, "%s: loss has either a ratio or enter, leave, bad and good", what)
	case loss.Enter == 0:
		v.fault(path, "%s: loss in bursts needs enter, the chance to go into the bad state", what)
	case loss.Leave == 0:
		v.fault(path, "%s: loss in bursts needs leave, the chance to come out of the bad state", what)
	}
}
