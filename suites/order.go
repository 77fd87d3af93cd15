package suites

import (
	"context"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/topologies"
)

// needs is what a scenario depends on, by name: "api/eu", "nodes/eu",
// "workload/hello". What it changes, no other may use meanwhile.
type needs struct {
	everything bool // depends on, and changes, all there is
	reads      []string
	changes    []string
}

// needsOf tells what a scenario depends on. Most of a failure's time is
// waiting for timers; what it does not touch can be asked about meanwhile.
func needsOf(sc *topologies.Scenario, members []string) needs {
	switch {
	case sc.NodeFailure != nil:
		c := sc.NodeFailure.Cluster
		n := needs{reads: []string{"api/" + c}, changes: []string{"nodes/" + c}}
		if strings.HasPrefix(sc.NodeFailure.Node, string(topologies.ControlPlane)) {
			n.changes = append(n.changes, "stack/"+c) // its pods prefer these nodes
		}
		return n
	case sc.SiteFailure != nil:
		// Of a control plane over several sites it may take a part.
		c := sc.SiteFailure.Cluster
		return needs{changes: []string{"nodes/" + c, "api/" + c, "stack/" + c, "workload/" + sc.SiteFailure.Workload}}
	case sc.PodFailure != nil:
		c := sc.PodFailure.Cluster
		return needs{reads: []string{"api/" + c, "nodes/" + c}, changes: []string{"stack/" + c, "workload/" + sc.PodFailure.Name}}
	case sc.ControlPlaneFailure != nil:
		c := sc.ControlPlaneFailure.Cluster
		return needs{reads: []string{"nodes/" + c}, changes: []string{"api/" + c}}
	case sc.AgentPartition != nil:
		c := sc.AgentPartition.Cluster
		n := needs{reads: []string{"nodes/" + c}, changes: []string{"agents", "workload/" + sc.AgentPartition.Workload}}
		for _, m := range members {
			n.reads = append(n.reads, "api/"+m, "stack/"+m)
		}
		return n
	}
	// The kinds of a mesh change the WAN under all clusters, or ask all of them.
	return needs{everything: true}
}

func (n needs) conflict(o needs) bool {
	if n.everything || o.everything {
		return true
	}
	common := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	return common(n.changes, o.changes) || common(n.changes, o.reads) || common(n.reads, o.changes)
}

// turn is one scenario's place in the order in which they are asked.
type turn struct {
	spec    *topologies.Scenario
	after   []*turn       // those that must have ended before it begins
	reached chan struct{} // closed when Ginkgo comes to its spec
	done    chan struct{} // closed when it has ended, or will not begin
	asked   *scenario     // nil if it did not begin; read it when done is closed
}

// turns puts the chosen scenarios in order: the file's, except that one need
// not wait for those before it that it has nothing in common with. Where a
// failure must have one cause only, or the first is to be the last, each waits
// for all before it and for Ginkgo.
func (r *runner) turns() []*turn {
	var members []string
	if r.plan.Hub != nil {
		members = append(slices.Clone(r.plan.Hub.Members), r.plan.Hub.Cluster)
	}
	oneByOne := r.opts.Invert || r.opts.FailFast
	var turns []*turn
	for _, sc := range r.chosen {
		t := &turn{spec: sc, reached: make(chan struct{}), done: make(chan struct{})}
		for _, before := range turns {
			if oneByOne || needsOf(sc, members).conflict(needsOf(before.spec, members)) {
				t.after = append(t.after, before)
			}
		}
		if !oneByOne {
			close(t.reached)
		}
		turns = append(turns, t)
	}
	return turns
}

// follow asks the scenario when its turn has come; if ctx ends before, never.
func (t *turn) follow(ctx context.Context, r *runner) {
	defer close(t.done)
	for _, before := range t.after {
		<-before.done
	}
	select {
	case <-t.reached:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return
	}
	suite, ask := kindOf(t.spec)
	s := newScenario(r, t.spec, suite)
	ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	r.began(t, s)
	s.play(ctx, ask)
}
