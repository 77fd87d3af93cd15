package sim

import (
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/topologies"
)

// Timers are the failure-detection timers in force.
type Timers struct {
	Profile            topologies.Timers
	NodeLease          time.Duration // duration of a node's lease; renewed every quarter of it
	NodeMonitorPeriod  time.Duration
	NodeMonitorGrace   time.Duration
	Toleration         time.Duration // default tolerationSeconds for not-ready and unreachable
	NodeEvictionRate   float64       // nodes per second
	ClusterLease       time.Duration // how often an agent renews its cluster's lease
	ClusterMonitor     time.Duration // how often the hub looks at the leases
	ClusterGracePeriod time.Duration // after which a cluster whose agent is silent is not ready
	ClusterPoll        time.Duration // how often the hub asks a cluster in push mode
	ClusterFailure     time.Duration // after which one that does not answer is not ready
}

// Allowances for what the timers do not cover. They go into the latest
// bounds of predictions only.
const (
	// Reaction is from a timer's running out to its effect being seen in the
	// API: a write, a watch, on a machine that is busy with a whole lab.
	Reaction = time.Second
	// PodStart is from a pod's deletion to its replacement's being ready:
	// created, scheduled, started, and probed.
	PodStart = 10 * time.Second

	// leaseJitter is how much later than planned a lease may be renewed (the
	// kubelet's lease controller adds up to 4 %).
	leaseJitter = 1.04
)

// NewTimers returns the timers of a profile for a Kubernetes version. Default
// are Kubernetes' (whose grace period became 50 s in 1.32) and Karmada's own.
func NewTimers(profile topologies.Timers, kubernetes string) Timers {
	if profile == topologies.TimersShort {
		return Timers{
			Profile:            profile,
			NodeLease:          4 * time.Second,
			NodeMonitorPeriod:  time.Second,
			NodeMonitorGrace:   6 * time.Second,
			Toleration:         5 * time.Second,
			NodeEvictionRate:   10,
			ClusterLease:       time.Second,
			ClusterMonitor:     time.Second,
			ClusterGracePeriod: 5 * time.Second,
			ClusterPoll:        time.Second,
			ClusterFailure:     5 * time.Second,
		}
	}
	t := Timers{
		Profile:            topologies.TimersDefault,
		NodeLease:          40 * time.Second,
		NodeMonitorPeriod:  5 * time.Second,
		NodeMonitorGrace:   50 * time.Second,
		Toleration:         300 * time.Second,
		NodeEvictionRate:   0.1,
		ClusterLease:       10 * time.Second,
		ClusterMonitor:     5 * time.Second,
		ClusterGracePeriod: 40 * time.Second,
		ClusterPoll:        10 * time.Second,
		ClusterFailure:     30 * time.Second,
	}
	if major, minor, ok := version(kubernetes); ok && (major < 1 || major == 1 && minor < 32) {
		t.NodeMonitorGrace = 40 * time.Second
	}
	return t
}

// TimersOf returns the timers of a cluster, which differ from the plan's
// where the cluster's Kubernetes version does.
func (p *Plan) TimersOf(c *Cluster) Timers { return NewTimers(p.Timers.Profile, c.Kubernetes) }

// version reads the first two numbers of "v1.36.3".
func version(s string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}

// NotReady bounds when a node that fails is seen as not ready, from the
// failure on. The last renewal of its lease was up to one interval before
// the failure; the controller notices a renewal, and the lack of one, when it
// next looks.
func (t Timers) NotReady() Window {
	renewal := time.Duration(float64(t.NodeLease/4) * leaseJitter)
	return Window{
		max(0, t.NodeMonitorGrace-renewal),
		t.NodeMonitorGrace + 2*t.NodeMonitorPeriod + Reaction,
	}
}

// Replaced bounds when the pods of a node that fails have ready replacements
// elsewhere, from the failure on: not ready, then the toleration, then (at
// the latest) Reaction and PodStart.
func (t Timers) Replaced() Window {
	w := t.NotReady()
	return Window{w[0] + t.Toleration, w[1] + t.Toleration + Reaction + PodStart}
}

// ClusterNotReady bounds when the hub sees a cluster that is cut off as not
// ready, from the cut on; rtt is the round trip between agent and hub.
func (t Timers) ClusterNotReady(rtt time.Duration) Window {
	renewal := time.Duration(float64(t.ClusterLease) * leaseJitter)
	return Window{
		max(0, t.ClusterGracePeriod-renewal-rtt),
		t.ClusterGracePeriod + 2*t.ClusterMonitor + rtt + Reaction,
	}
}

// karmadaRequest bounds every request of a real Karmada's controllers to a
// member; no flag changes it. A member whose packets are lost refuses nothing,
// so a question to it fails only then.
const karmadaRequest = 32 * time.Second

// PollLimit bounds one question to a cluster in push mode, of the built-in
// engine or of a real Karmada.
func (t Timers) PollLimit(builtin bool) time.Duration {
	if builtin {
		return max(t.ClusterPoll, 2*time.Second)
	}
	return karmadaRequest
}

// ClusterNotAnswering bounds when the hub sees a cluster in push mode that is
// cut off as not ready, from the cut on: the question that is the first to
// fail, the threshold, and the question that finds it passed. A real Karmada
// asks one that has just answered for its version and its APIs as well, and
// waits for those answers first.
func (t Timers) ClusterNotAnswering(builtin bool) Window {
	limit := t.PollLimit(builtin)
	latest := t.ClusterFailure + 2*(t.ClusterPoll+limit) + Reaction
	if !builtin {
		latest += 2 * limit
	}
	return Window{t.ClusterFailure, latest}
}
