package sim

import (
	"slices"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// Voters are the nodes whose datastores vote: those of the control plane. The
// first is beside the API server.
func (c *Cluster) Voters() []*Node {
	var voters []*Node
	for i := range c.Nodes {
		if c.Nodes[i].Role == topologies.ControlPlane {
			voters = append(voters, &c.Nodes[i])
		}
	}
	return voters
}

// Majority is how many voters of n a write needs.
func Majority(n int) int { return n/2 + 1 }

// EtcdTimers are those by which a datastore's members find that their leader is
// gone: a follower that misses heartbeats for one to two election timeouts
// stands for election.
type EtcdTimers struct{ Heartbeat, Election time.Duration }

// Etcd returns the timers of a datastore whose members are up to a round trip
// apart. The default ones are etcd's own, whatever the distance. The short ones
// follow etcd's advice on tuning: a heartbeat of about the longest round trip,
// and ten of them for an election; less than 50 ms is not steady on a machine
// with other work.
func (t Timers) Etcd(rtt time.Duration) EtcdTimers {
	if t.Profile != topologies.TimersShort {
		return EtcdTimers{100 * time.Millisecond, time.Second}
	}
	const least = 50 * time.Millisecond
	h := max(least, (rtt + time.Millisecond - 1).Truncate(time.Millisecond))
	return EtcdTimers{h, 10 * h}
}

// EtcdTimers returns the timers of a cluster's datastore.
func (p *Plan) EtcdTimers(c *Cluster) EtcdTimers {
	table, err := p.WAN.Compile()
	if err != nil { // NewPlan has seen to it
		return p.TimersOf(c).Etcd(0)
	}
	f := forecast{plan: p, table: table}
	return f.etcdTimers(c)
}

func (f *forecast) etcdTimers(c *Cluster) EtcdTimers {
	var longest time.Duration
	voters := c.Voters()
	for _, a := range voters {
		for _, b := range voters {
			if d, ok := f.nodeRTT(a, b); ok {
				longest = max(longest, d)
			}
		}
	}
	return f.plan.TimersOf(c).Etcd(longest)
}

// nodeRTT is the round trip between two nodes, from the delays of the links
// alone; ok is false where packets do not go both ways.
func (f *forecast) nodeRTT(a, b *Node) (d time.Duration, ok bool) {
	for _, way := range [2][2]*Node{{a, b}, {b, a}} {
		one, cause := f.table.OneWay(way[0].WANAddr(), way[1].WANAddr())
		if cause != wan.Delivered {
			return 0, false
		}
		d += one
	}
	return d, true
}

// StartVoter is from a voter's power to its vote, at the latest: its process,
// on a machine that is busy with a whole lab, and its peers' connections.
const StartVoter = 10 * time.Second

func (f *forecast) quorum(p *Prediction, s *topologies.QuorumScenario) {
	c := f.plan.Cluster(s.Cluster)
	if c == nil {
		return
	}
	all := c.Voters()
	rest := slices.DeleteFunc(slices.Clone(all), func(n *Node) bool { return n.Region == s.Region })
	p.Writes, p.WritesWithout = f.writes(all, len(all)), f.writes(rest, len(all))
	// From the last on: the first is beside the API server, which has to be
	// there to be asked.
	for i := len(rest) - 1; i > 0 && len(rest)-len(p.Stop) >= Majority(len(all)); i-- {
		p.Stop = append(p.Stop, rest[i].Name)
	}
	t := f.etcdTimers(c)
	// The votes may be split once.
	elected := 4 * t.Election
	p.WritesAgain = Window{0, elected + Reaction}
	p.QuorumAgain = Window{0, StartVoter + elected + Reaction}
}

// writes is how long a write takes among voters that answer, of so many that
// there are, by who leads.
func (f *forecast) writes(answering []*Node, of int) map[string]time.Duration {
	if len(answering) < Majority(of) {
		return nil
	}
	out := map[string]time.Duration{}
	for _, leader := range answering {
		there, ok := f.nodeRTT(answering[0], leader)
		if !ok {
			continue
		}
		var others []time.Duration
		for _, o := range answering {
			if d, ok := f.nodeRTT(leader, o); ok && o != leader {
				others = append(others, d)
			}
		}
		need := Majority(of) - 1 // beside the leader itself
		if len(others) < need {
			continue
		}
		slices.Sort(others)
		if need > 0 {
			there += others[need-1]
		}
		out[leader.Name] = there
	}
	return out
}
