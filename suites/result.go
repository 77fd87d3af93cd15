package suites

import (
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
)

// Result is what one run found: everything a report tells comes from here.
type Result struct {
	Topology string            `json:"topology"`
	Seed     uint64            `json:"seed"`
	Provider string            `json:"provider"`
	Command  []string          `json:"command"` // runs it again
	Started  time.Time         `json:"started"`
	Elapsed  time.Duration     `json:"elapsed"` // of the suites
	Up       time.Duration     `json:"up"`      // of bringing the lab up
	Versions map[string]string `json:"versions"`
	Engines  map[string]string `json:"engines"` // "admin": "karmada API, builtin v0.1.0"
	Inverted bool              `json:"inverted,omitempty"`

	Plan        *sim.Plan      `json:"plan"`
	Calibration []Calibration  `json:"calibration"`
	Scenarios   []Scenario     `json:"scenarios"`
	Links       []wan.Counters `json:"links"`
	Events      []lab.Event    `json:"events,omitempty"`
	// Invalid says why the harness, not the product, failed; empty if it did not.
	Invalid string `json:"invalid,omitempty"`
}

// Calibration is one link measured against the file.
type Calibration struct {
	From       string        `json:"from"` // clusters
	To         string        `json:"to"`
	When       string        `json:"when"` // before | after
	Configured time.Duration `json:"configured"`
	Measured   time.Duration `json:"measured"` // median
	Tolerance  time.Duration `json:"tolerance"`
	OK         bool          `json:"ok"`
	// Attempt counts from 1; a link out of tolerance is measured again, and
	// its last measurement counts.
	Attempt int `json:"attempt,omitempty"`
}

// Outcome is how a scenario ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
	Invalid Outcome = "invalid" // the harness failed: the product is not judged
)

// Scenario is one scenario's result.
type Scenario struct {
	Name     string        `json:"name"`
	Suite    string        `json:"suite"` // peering | placement | traffic | failure
	Outcome  Outcome       `json:"outcome"`
	Reason   string        `json:"reason,omitempty"` // of a failure, a skip, or invalidity; names the injected cause when inverted
	Started  time.Time     `json:"started"`
	Elapsed  time.Duration `json:"elapsed"`
	Checks   []Check       `json:"checks"`
	Timeline []Mark        `json:"timeline,omitempty"`
	Replicas []Replicas    `json:"replicas,omitempty"`
	Latency  []Latency     `json:"latency,omitempty"`
	Inverted string        `json:"inverted,omitempty"` // what was changed in the world
	// Objects are those the scenario touched, as they were when it failed,
	// before anything was put back.
	Objects []Object `json:"-"`
}

// NamesCause tells whether an inverted scenario failed as it must: with a
// reason that names what was changed in the world.
func (s *Scenario) NamesCause() bool {
	return s.Outcome == Failed && s.Inverted != "" && strings.Contains(s.Reason, s.Inverted)
}

// Object is one object of a cluster's API, or the events of a namespace.
type Object struct {
	Cluster string
	Name    string // "deployments/default/hello"
	YAML    string
}

// Check is one thing expected and seen.
type Check struct {
	What     string        `json:"what"`
	Expected string        `json:"expected"`
	Seen     string        `json:"seen"`
	OK       bool          `json:"ok"`
	Elapsed  time.Duration `json:"elapsed,omitempty"` // how long it took to come true
}

// Mark is a moment on a scenario's timeline.
type Mark struct {
	At   time.Duration `json:"at"` // since the scenario's start
	What string        `json:"what"`
	Lane string        `json:"lane,omitempty"` // e.g. the cluster or the node
	// Fault marks a fault that was injected or healed at this moment.
	Fault bool `json:"fault,omitempty"`
}

// Replicas is one reading of ready replicas per cluster.
type Replicas struct {
	At     time.Duration  `json:"at"`
	Counts map[string]int `json:"counts"`
}

// Latency is the distribution of request times to one cluster.
type Latency struct {
	To       string        `json:"to"`
	Kind     string        `json:"kind"` // warm | cold
	Expected time.Duration `json:"expected"`
	Median   time.Duration `json:"median"`
	Max      time.Duration `json:"max"`
	Count    int           `json:"count"`
}
