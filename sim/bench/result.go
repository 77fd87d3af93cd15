package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Options say how long to look.
type Options struct {
	Rounds int           `json:"rounds"` // 0 means 5; every driver is measured once per round
	Window time.Duration `json:"window"` // of one throughput measurement; 0 means 1 s
	Probes int           `json:"probes"` // packets per delay measurement, 1 ms apart; 0 means 1,000
	// Quick looks whether everything works and measures nothing worth keeping.
	Quick bool `json:"quick,omitempty"`
	// Only names the drivers to measure; empty means all. Kernel forwarding is
	// always measured: it is what the others are held against.
	Only []string `json:"only,omitempty"`
	// Measure names what to measure (see [Groups]); empty means all.
	Measure []string `json:"measure,omitempty"`
	// Profile is a file for a CPU profile of the engine's process; optional.
	Profile string `json:"profile,omitempty"`
	// Progress is told what is being measured; may be nil.
	Progress func(string) `json:"-"`
}

// Validate tells what is wrong with them, all of it.
func (o Options) Validate() error {
	var faults []error
	if o.Rounds < 0 || o.Rounds > 1000 {
		faults = append(faults, fmt.Errorf("%d rounds: want 1 to 1000", o.Rounds))
	}
	if o.Window < 0 || o.Window > time.Minute {
		faults = append(faults, fmt.Errorf("a window of %v: want up to a minute", o.Window))
	}
	if o.Probes < 0 || o.Probes > 1_000_000 {
		faults = append(faults, fmt.Errorf("%d probes: want up to a million", o.Probes))
	}
	for _, name := range o.Measure {
		if !slices.Contains(Groups(), name) {
			faults = append(faults, fmt.Errorf("nothing called %q to measure: there are %s", name, strings.Join(Groups(), ", ")))
		}
	}
	for _, name := range o.Only {
		if !slices.Contains(Drivers(), name) {
			faults = append(faults, fmt.Errorf("no driver %q: there are %s", name, strings.Join(Drivers(), ", ")))
		}
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	if o.Quick {
		o.Rounds, o.Window, o.Probes = 1, 150*time.Millisecond, 50
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if o.Window == 0 {
		o.Window = time.Second
	}
	if o.Probes == 0 {
		o.Probes = 1000
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// Result is what came out.
type Result struct {
	Machine Machine  `json:"machine"`
	Options Options  `json:"options"`
	Drivers []Driver `json:"drivers"`
	Metrics []Metric `json:"metrics"`
	Targets []Target `json:"targets,omitempty"`
}

// Driver is one way across the router.
type Driver struct {
	Name string `json:"name"`
	// Note is what the driver says of itself: its version, its scheduling.
	Note string `json:"note,omitempty"`
	// Skipped is why it was not measured.
	Skipped string `json:"skipped,omitempty"`
}

// Metric is one line: a figure per driver.
type Metric struct {
	ID   string `json:"id"` // such as tcp/8/50ms/rate
	Unit string `json:"unit"`
	// Figures by driver; a driver that cannot be measured this way has none.
	Figures map[string]Figure `json:"figures"`
}

// Figure is the median of the rounds.
type Figure struct {
	Median float64 `json:"median"`
	// Ratio to kernel forwarding in the same run: the median of the rounds'
	// own ratios. Absent where kernel forwarding has no such figure.
	Ratio  *float64  `json:"ratio,omitempty"`
	Rounds []float64 `json:"rounds"` // in the order they were taken
}

// Target is a goal of the engine behind the TUN device and what came of it.
type Target struct {
	What    string  `json:"what"`
	Want    string  `json:"want"`
	Got     float64 `json:"got"`
	Reached bool    `json:"reached"`
	// Unjudged is why a goal that was not reached is no fault of the engine: this
	// machine was not idle, or on it nothing behind a TUN device could reach it.
	Unjudged string `json:"unjudged,omitempty"`
}

// Metric finds a line by its ID; nil if nothing was measured.
func (r *Result) Metric(id string) *Metric {
	for i := range r.Metrics {
		if r.Metrics[i].ID == id {
			return &r.Metrics[i]
		}
	}
	return nil
}

// samples gathers figures over the rounds.
type samples struct {
	order []Metric                        // without figures
	seen  map[string]map[string][]float64 // metric → driver → rounds
}

func (s *samples) add(id, unit, driver string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return // nothing was moved, so nothing per unit can be told
	}
	if s.seen == nil {
		s.seen = map[string]map[string][]float64{}
	}
	if s.seen[id] == nil {
		s.seen[id] = map[string][]float64{}
		s.order = append(s.order, Metric{ID: id, Unit: unit})
	}
	s.seen[id][driver] = append(s.seen[id][driver], v)
}

// metrics sums the rounds up. A ratio is taken within each round, where driver
// and baseline shared the machine's mood, and then its median.
func (s *samples) metrics() []Metric {
	out := slices.Clone(s.order)
	for i := range out {
		m := &out[i]
		m.Figures = map[string]Figure{}
		base := s.seen[m.ID][kernelName]
		for driver, rounds := range s.seen[m.ID] {
			f := Figure{Median: median(rounds), Rounds: rounds}
			if len(base) == len(rounds) {
				var ratios []float64
				for k := range rounds {
					if base[k] != 0 {
						ratios = append(ratios, rounds[k]/base[k])
					}
				}
				if len(ratios) == len(rounds) {
					r := median(ratios)
					f.Ratio = &r
				}
			}
			m.Figures[driver] = f
		}
	}
	return out
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile is the value below which the share q of v lies: the nearest rank,
// and for the median of an even number the mean of the middle two.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if q == 0.5 && len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[min(len(s)-1, max(0, int(math.Ceil(q*float64(len(s))))-1))]
}
