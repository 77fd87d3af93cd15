package sim

import (
	"time"

	"github.com/atoll-dev/atoll/topologies"
)

// Prediction is what the plan says will come out of one scenario. What does
// not follow from the topology is left empty.
type Prediction struct {
	Scenario string
	// Placements holds, for each step of a placement scenario, every division
	// that may come out: which of several depends on the template's UID. A
	// step whose replicas or weights are not known has none.
	Placements [][]map[string]int `json:",omitempty"`
	// Extended holds, for each step, the same of each workload that the policy
	// selects as well.
	Extended []map[string][]map[string]int `json:",omitempty"`
	// Events holds, for each step, the events that follow from the policy's
	// coming or going.
	Events [][]topologies.EventExpect `json:",omitempty"`
	// Answers are those to a traffic scenario whose requests come from a named
	// cluster.
	Answers
	// Origins are the answers for each cluster that they may come from, where
	// the hub places the workload that asks.
	Origins map[string]Answers `json:",omitempty"`
	// RTT is the round trip per ordered pair of clusters "a→b" between which
	// packets go both ways, from one cluster's first control-plane node to the
	// other's. Rules are left out: they do not apply to the lab's measurements.
	RTT map[string]time.Duration `json:",omitempty"`
	// Reachable tells for each ordered pair "a→b" and each port that a rule or
	// the stack names ("tcp/6443", "icmp") whether packets to it get there and
	// answers get back. A refusal is an answer.
	Reachable map[string]map[string]bool `json:",omitempty"`
	// Cut is the pair of clusters that a peering scenario cuts and heals: the
	// file's, or a seeded choice; empty where no two can talk.
	Cut []string `json:",omitempty"`
	// WithoutRoute is Reachable while the route that a peering scenario removes
	// is away, and Crosses tells for each direction between its two clusters
	// whether packets get there then.
	WithoutRoute map[string]map[string]bool `json:",omitempty"`
	Crosses      map[string]bool            `json:",omitempty"`
	// NotReady and Replaced bound a node failure, from the failure on.
	NotReady Window `json:",omitzero"`
	Replaced Window `json:",omitzero"`
	// Queueing bounds how much longer a round trip takes that waits in the full
	// queues of a congestion scenario's links, both ways.
	Queueing Window `json:",omitzero"`
	// Phases are what the schedule between a schedule scenario's clusters makes
	// of their links, from the lab's start on.
	Phases []Phase `json:",omitempty"`
	// ClusterNotReady bounds when the hub sees a cluster that is cut off from
	// it as not ready, from the cut on.
	ClusterNotReady Window `json:",omitzero"`
	// Running are the Deployments of a running scenario's workload, by cluster.
	Running map[string][]string `json:",omitempty"`
	// Proxies tells for each cluster of the mesh the clusters whose proxies its
	// control plane lists; none where it has no control plane.
	Proxies map[string][]string `json:",omitempty"`
	// Passes are the ordered pairs "a→b" between whose pods the rule of a
	// firewall scenario lets connections pass, and nothing else does.
	Passes []string `json:",omitempty"`
	// Parts are the clusters that may serve each part of a shop scenario's
	// pages; none where the part is missing.
	Parts map[string][]string `json:",omitempty"`
	// Missing are the parts of the home page that a shop scenario's partition
	// takes away.
	Missing []string `json:",omitempty"`
	// Writes is how long a write to the API takes, by the voter that leads: from
	// the API server's own voter to the leader, and from there to the nearest
	// majority, and back. The machine's own time is left out. WritesWithout is
	// the same without a quorum scenario's region.
	Writes        map[string]time.Duration `json:",omitempty"`
	WritesWithout map[string]time.Duration `json:",omitempty"`
	// Stop are the voters that a quorum scenario stops beside those of its
	// region: with the first of them started again there is a majority.
	Stop []string `json:",omitempty"`
	// WritesAgain bounds when a write is answered after the region is lost, and
	// QuorumAgain after the first of Stop is started again.
	WritesAgain Window `json:",omitzero"`
	QuorumAgain Window `json:",omitzero"`
}

// Answers are who answers a traffic scenario's requests, and how fast.
type Answers struct {
	// Shares is each answering cluster's share of a traffic scenario's
	// requests. Empty where several divisions may be in force: see Possible.
	Shares map[string]float64 `json:",omitempty"`
	// Possible holds the shares for each division that may be in force.
	Possible []map[string]float64 `json:",omitempty"`
	// Latency is what a request of a traffic scenario takes, by the cluster
	// that answers; the servers' own time left out.
	Latency map[string]Latency `json:",omitempty"`
}

// Phase is what the way between two clusters is, there and back, from a moment
// until the next phase.
type Phase struct {
	At   time.Duration // since the schedules began
	Down bool          `json:",omitempty"` // nothing comes back
	RTT  time.Duration `json:",omitempty"`
	// Jitter is the sum of the links' standard deviations.
	Jitter time.Duration `json:",omitempty"`
	// Loss is the share of echoes that are not answered, in the long run.
	Loss float64 `json:",omitempty"`
	// Bursts tells that losses come in bursts: a few seconds don't show their share.
	Bursts bool `json:",omitempty"`
}

// Window is the earliest and the latest moment of an event.
type Window [2]time.Duration

// Latency is the time of one request: over an open connection, and over a
// new one (connect, TLS handshake, request: three round trips).
type Latency struct{ Warm, Cold time.Duration }

// Prediction returns the prediction of the named scenario, or nil.
func (p *Plan) Prediction(scenario string) *Prediction {
	for i := range p.Predictions {
		if p.Predictions[i].Scenario == scenario {
			return &p.Predictions[i]
		}
	}
	return nil
}
