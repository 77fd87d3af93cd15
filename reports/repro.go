package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/suites"
	"github.com/atoll-dev/atoll/topologies"
)

// ReproductionKind is the kind of a reproduction bundle.
const ReproductionKind = "Reproduction"

// Reproduction is a world and what happened in it, in one file without
// secrets: enough to bring the same up elsewhere and compare.
type Reproduction struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Topology   json.RawMessage   `json:"topology"` // complete, the workloads' manifests included
	Plan       *sim.Plan         `json:"plan"`
	Seed       uint64            `json:"seed"`
	Timers     sim.Timers        `json:"timers"`
	Versions   map[string]string `json:"versions"`
	Engines    map[string]string `json:"engines"`
	Provider   string            `json:"provider"`
	Inverted   bool              `json:"inverted,omitempty"`
	Faults     []FaultMark       `json:"faults,omitempty"`
	Scenarios  []suites.Scenario `json:"scenarios"`
}

// FaultMark is a fault, or its end, and when it was done.
type FaultMark struct {
	Scenario string        `json:"scenario"`
	At       time.Duration `json:"at"` // since the scenario's start
	What     string        `json:"what"`
}

// NewReproduction makes the bundle of a result.
func NewReproduction(r *suites.Result) (*Reproduction, error) {
	if r.Plan == nil || r.Plan.Topology == nil {
		return nil, errors.New("the result holds no plan")
	}
	topology, err := json.Marshal(r.Plan.Topology)
	if err != nil {
		return nil, err
	}
	out := &Reproduction{
		APIVersion: topologies.APIVersion, Kind: ReproductionKind,
		Topology: topology, Plan: r.Plan, Seed: r.Seed, Timers: r.Plan.Timers,
		Versions: r.Versions, Engines: r.Engines, Provider: r.Provider, Inverted: r.Inverted, Scenarios: r.Scenarios,
	}
	for _, s := range r.Scenarios {
		for _, m := range s.Timeline {
			if m.Fault {
				out.Faults = append(out.Faults, FaultMark{s.Name, m.At, m.What})
			}
		}
	}
	return out, nil
}

// Marshal writes the bundle.
func (r *Reproduction) Marshal() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// ParseReproduction reads a bundle and refuses what is none.
func ParseReproduction(data []byte) (*Reproduction, error) {
	var r Reproduction
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("not a reproduction bundle: %w", err)
	}
	if r.APIVersion != topologies.APIVersion || r.Kind != ReproductionKind {
		return nil, fmt.Errorf("not a reproduction bundle: apiVersion %q, kind %q; want %s, %s", r.APIVersion, r.Kind, topologies.APIVersion, ReproductionKind)
	}
	if len(r.Topology) == 0 || r.Seed == 0 {
		return nil, errors.New("not a reproduction bundle: it lacks its topology or its seed")
	}
	return &r, nil
}

// Compare lists how another run of the same world ended otherwise: outcomes
// and checks, not times.
func (r *Reproduction) Compare(now *suites.Result) (differences []string) {
	after := map[string]*suites.Scenario{}
	for i := range now.Scenarios {
		after[now.Scenarios[i].Name] = &now.Scenarios[i]
	}
	for _, was := range r.Scenarios {
		is, ok := after[was.Name]
		if !ok {
			differences = append(differences, fmt.Sprintf("scenario %s did not run", was.Name))
			continue
		}
		if is.Outcome != was.Outcome {
			differences = append(differences, fmt.Sprintf("scenario %s: was %s, is %s", was.Name, was.Outcome, is.Outcome))
		}
		verdicts := map[string]bool{}
		for _, c := range was.Checks {
			verdicts[c.What] = c.OK
		}
		for _, c := range is.Checks {
			if ok, there := verdicts[c.What]; there && ok != c.OK {
				differences = append(differences, fmt.Sprintf("scenario %s: %s: was %s, is %s (%s)", was.Name, c.What, held(ok), held(c.OK), c.Seen))
			}
		}
	}
	return differences
}

func held(ok bool) string {
	if ok {
		return "held"
	}
	return "not held"
}
