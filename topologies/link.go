package topologies

import "time"

// Link joins two regions: both directions alike with Between, or one
// direction with From and To.
type Link struct {
	Between []string `json:"between,omitempty" jsonschema:"minItems=2,maxItems=2"` // two regions: both directions alike
	From    string   `json:"from,omitempty"`                                       // a region: this direction only
	To      string   `json:"to,omitempty"`                                         // a region: this direction only

	RTT          Duration     `json:"rtt,omitzero"`                                                             // round trip, halved each way; only with between
	Latency      Duration     `json:"latency,omitzero"`                                                         // one way
	Jitter       Duration     `json:"jitter,omitzero"`                                                          // standard deviation of the latency, per direction
	Distribution Distribution `json:"distribution,omitempty" jsonschema:"enum=normal,enum=uniform,enum=pareto"` // of the jitter; normal when left out
	Reorder      bool         `json:"reorder,omitempty"`                                                        // lets jitter reorder packets
	Loss         *Loss        `json:"loss,omitempty"`                                                           // per direction: a percentage, or a mapping for bursts
	Duplicate    Ratio        `json:"duplicate,omitempty"`                                                      // chance, per packet, that it comes twice
	Corrupt      Ratio        `json:"corrupt,omitempty"`                                                        // chance, per packet, that a bit of it is flipped
	Rate         Rate         `json:"rate,omitempty"`                                                           // per direction; unlimited when left out
	Queue        Queue        `json:"queue,omitzero"`                                                           // how much traffic may wait, as time at the rate or as a size; 100ms when left out
	Down         Down         `json:"down,omitempty"`                                                           // true or blackhole: everything is dropped; reject: and the sender is told
	Schedule     []Change     `json:"schedule,omitempty"`                                                       // what changes over time, once the lab is up
}

// Change is what is different with a link from a moment on. What it leaves out
// stays as it was.
type Change struct {
	At Duration `json:"at"` // how long after the lab is up

	RTT          *Duration    `json:"rtt,omitempty"`                                                            // round trip, halved each way; only with between
	Latency      *Duration    `json:"latency,omitempty"`                                                        // one way
	Jitter       *Duration    `json:"jitter,omitempty"`                                                         // 0s for none
	Distribution Distribution `json:"distribution,omitempty" jsonschema:"enum=normal,enum=uniform,enum=pareto"` // of the jitter
	Reorder      *bool        `json:"reorder,omitempty"`                                                        // whether jitter reorders packets
	Loss         *Loss        `json:"loss,omitempty"`                                                           // 0% for none
	Duplicate    *Ratio       `json:"duplicate,omitempty"`                                                      // 0% for none
	Corrupt      *Ratio       `json:"corrupt,omitempty"`                                                        // 0% for none
	Rate         *Rate        `json:"rate,omitempty"`                                                           // 0 for unlimited
	Queue        *Queue       `json:"queue,omitempty"`                                                          // as time or as a size
	Down         *Down        `json:"down,omitempty"`                                                           // false: the link is up again
}

// Distribution is how jitter is distributed around the latency; its mean is
// the latency and its standard deviation the jitter, whichever it is.
type Distribution string

// The distributions. None is normal.
const (
	Normal  Distribution = "normal"
	Uniform Distribution = "uniform" // nothing is farther than √3 times the jitter
	Pareto  Distribution = "pareto"  // most are a little early, few are very late
)

// Queue is how much traffic may wait for a link, as the time it takes at the
// link's rate ("100ms") or as a size ("256KiB").
type Queue struct {
	Time  time.Duration
	Bytes uint64
}

// Down says whether a link is cut, and how its end takes that: without a word
// (true, or blackhole), or telling the sender by ICMP (reject).
type Down string

// The ways to be down.
const (
	Up        Down = ""
	Blackhole Down = "blackhole"
	Reject    Down = "reject"
)

// Loss is either independent ("0.01%") or, given as a mapping, bursty by the
// Gilbert-Elliott model: per packet, Enter and Leave are the chances to go
// into and out of the bad state, Bad and Good the chances to lose a packet there.
type Loss struct {
	Ratio Ratio `json:"ratio,omitempty"` // independent (Bernoulli) loss

	Enter Ratio `json:"enter,omitempty"` // chance, per packet, to go into the bad state
	Leave Ratio `json:"leave,omitempty"` // chance, per packet, to leave it
	Bad   Ratio `json:"bad,omitempty"`   // chance to lose a packet in the bad state; 100% when left out
	Good  Ratio `json:"good,omitempty"`  // chance to lose a packet in the good state
}

// LinkState is one direction of a link at some time.
type LinkState struct {
	Latency      time.Duration // one way
	Jitter       time.Duration // standard deviation
	Distribution Distribution
	Reorder      bool
	Loss         Loss
	Duplicate    Ratio
	Corrupt      Ratio
	Rate         Rate
	Queue        Queue
	Down         Down
}

// DirectedLink is one direction between two regions.
type DirectedLink struct {
	From, To string
	LinkState
	Schedule []ScheduledState
	Implicit bool // within a region, and not in the file
}

// ScheduledState is what a link is from a moment on, the whole of it.
type ScheduledState struct {
	At time.Duration // after the lab is up
	LinkState
}

// DirectedLinks returns every direction of every link, in the file's order,
// and then the implicit link within each region of which the file has none.
func (t *Topology) DirectedLinks() []DirectedLink {
	var links []DirectedLink
	within := map[string]bool{}
	for _, l := range t.Spec.WAN.Links {
		state := l.state()
		var schedule []ScheduledState
		for now, i := state, 0; i < len(l.Schedule); i++ {
			now = l.Schedule[i].apply(now)
			schedule = append(schedule, ScheduledState{l.Schedule[i].At.Duration, now})
		}
		for _, ends := range l.ends() {
			if ends[0] == ends[1] {
				within[ends[0]] = true
			}
			links = append(links, DirectedLink{From: ends[0], To: ends[1], LinkState: state, Schedule: schedule})
		}
	}
	for _, r := range t.Regions() {
		if !within[r] {
			implicit := LinkState{Latency: SameRegionRTT / 2, Queue: Queue{Time: DefaultQueue}}
			links = append(links, DirectedLink{From: r, To: r, LinkState: implicit, Implicit: true})
		}
	}
	return links
}

// state is each direction of the link, before any change.
func (l Link) state() LinkState {
	s := LinkState{
		Latency: l.Latency.Duration, Jitter: l.Jitter.Duration, Distribution: l.Distribution, Reorder: l.Reorder,
		Duplicate: l.Duplicate, Corrupt: l.Corrupt, Rate: l.Rate, Queue: l.Queue, Down: l.Down,
	}
	if l.RTT.Duration != 0 {
		s.Latency = l.RTT.Duration / 2
	}
	if l.Loss != nil {
		s.Loss = *l.Loss
	}
	return s
}

// apply returns what a change makes of a link.
func (c Change) apply(s LinkState) LinkState {
	if c.RTT != nil {
		s.Latency = c.RTT.Duration / 2
	}
	if c.Latency != nil {
		s.Latency = c.Latency.Duration
	}
	if c.Jitter != nil {
		s.Jitter = c.Jitter.Duration
	}
	setIf(&s.Reorder, c.Reorder)
	setIf(&s.Loss, c.Loss)
	setIf(&s.Duplicate, c.Duplicate)
	setIf(&s.Corrupt, c.Corrupt)
	setIf(&s.Rate, c.Rate)
	setIf(&s.Queue, c.Queue)
	setIf(&s.Down, c.Down)
	if c.Distribution != "" {
		s.Distribution = c.Distribution
	}
	return s
}

func setIf[T any](v, to *T) {
	if to != nil {
		*v = *to
	}
}

// ends returns the link's directions as pairs of from and to.
func (l Link) ends() [][2]string {
	if len(l.Between) == 2 {
		a, b := l.Between[0], l.Between[1]
		if a == b {
			return [][2]string{{a, a}}
		}
		return [][2]string{{a, b}, {b, a}}
	}
	return [][2]string{{l.From, l.To}}
}

// String names the link as messages do.
func (l Link) String() string {
	if len(l.Between) == 2 {
		return l.Between[0] + "↔" + l.Between[1]
	}
	return l.From + "→" + l.To
}
