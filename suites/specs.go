package suites

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

// specLimit ends a scenario that hangs. Every wait inside has its own, much
// shorter, limit and says what it waited for.
const specLimit = 10 * time.Minute

// runSpecs declares the tree, one spec per scenario, and has Ginkgo run it.
func (r *runner) runSpecs() {
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	// Ordered keeps the file's order; by itself Ginkgo sorts specs of one line
	// of code by name.
	ginkgo.Describe("topology "+r.plan.Name, ginkgo.Ordered, ginkgo.ContinueOnFailure, func() {
		for _, group := range r.groups() {
			for _, sc := range group {
				suite, _ := kindOf(sc)
				ginkgo.Describe(sc.Name, ginkgo.Label(suite, sc.Name), func() {
					ginkgo.It("holds", ginkgo.SpecTimeout(specLimit), func(spec ginkgo.SpecContext) {
						r.start(ctx, group)
						r.await(spec, r.asked[sc.Name])
					})
				})
			}
		}
	})
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomSeed = int64(r.seed & math.MaxInt64)
	suite.RandomizeAllSpecs = false
	suite.FailFast = r.opts.FailFast
	suite.GracePeriod = 2 * cleanupLimit
	suite.Timeout = time.Duration(len(r.chosen)+1) * specLimit
	reporter.NoColor = true
	reporter.Verbose, reporter.Succinct, reporter.VeryVerbose = false, false, false
	stdout := formatter.ColorableStdOut
	formatter.ColorableStdOut = r.opts.Log
	defer func() { formatter.ColorableStdOut = stdout }()
	// Whether anything failed is in the Result, with more detail.
	ginkgo.RunSpecs(failer{}, "atoll", suite, reporter)

	cancel(context.Canceled) // those that Ginkgo no longer waited for
	for _, sc := range r.chosen {
		r.result.Scenarios = append(r.result.Scenarios, r.resultOf(sc))
	}
}

// failer is the least a Ginkgo run needs of a *testing.T.
type failer struct{}

func (failer) Fail() {}

// groups puts scenarios together that are next to each other in the file and
// touch different clusters: most of their time is waiting for timers, so they
// are asked at the same time. Inverted ones are asked one by one, so that a
// failure can have one cause only.
func (r *runner) groups() [][]*topologies.Scenario {
	var groups [][]*topologies.Scenario
	taken := map[string]bool{}
	for _, sc := range r.chosen {
		cluster := onlyCluster(sc)
		if cluster != "" && !taken[cluster] && len(taken) > 0 && !r.opts.Invert && !r.opts.FailFast {
			groups[len(groups)-1] = append(groups[len(groups)-1], sc)
			taken[cluster] = true
			continue
		}
		groups = append(groups, []*topologies.Scenario{sc})
		clear(taken)
		if cluster != "" {
			taken[cluster] = true
		}
	}
	return groups
}

// onlyCluster is the one cluster that a scenario touches; "" if it may be
// several.
func onlyCluster(sc *topologies.Scenario) string {
	switch {
	case sc.NodeFailure != nil:
		return sc.NodeFailure.Cluster
	case sc.ControlPlaneFailure != nil:
		return sc.ControlPlaneFailure.Cluster
	}
	return ""
}

// start begins the scenarios of a group that have not begun.
func (r *runner) start(ctx context.Context, group []*topologies.Scenario) {
	for _, sc := range group {
		if r.asked[sc.Name] != nil {
			continue
		}
		suite, ask := kindOf(sc)
		s := newScenario(r, sc, suite)
		r.mu.Lock()
		r.asked[sc.Name] = s
		r.mu.Unlock()
		ctx, end := context.WithCancelCause(ctx)
		s.end = end
		go s.play(ctx, ask)
	}
}

// await waits for a scenario's end and tells Ginkgo how it came out. If
// Ginkgo gives up on the spec, the scenario is ended, and cleaned up after.
func (r *runner) await(spec ginkgo.SpecContext, s *scenario) {
	stop := context.AfterFunc(spec, func() { s.end(context.Cause(spec)) })
	<-s.done
	stop()
	switch res := s.rec.result(); res.Outcome {
	case Passed:
	case Skipped:
		ginkgo.Skip(res.Reason)
	default:
		ginkgo.Fail(fmt.Sprintf("%s: %s", res.Outcome, res.Reason))
	}
}

func (r *runner) resultOf(sc *topologies.Scenario) Scenario {
	if s := r.asked[sc.Name]; s != nil {
		<-s.done
		return s.rec.result()
	}
	suite, _ := kindOf(sc)
	return Scenario{Name: sc.Name, Suite: suite, Outcome: Skipped, Reason: "not reached", Started: time.Now()}
}

// passed tells whether a scenario of this run has ended well.
func (r *runner) passed(name string) bool {
	r.mu.Lock()
	s := r.asked[name]
	r.mu.Unlock()
	return s != nil && s.rec.result().Outcome == Passed
}

func outcomeStatus(o Outcome) lab.Status {
	if o == Failed || o == Invalid {
		return lab.Failed
	}
	return lab.Done
}

func outcomeDetail(res *Scenario) string {
	if res.Outcome == Passed {
		return fmt.Sprintf("%d checks", len(res.Checks))
	}
	return fmt.Sprintf("%s: %s", res.Outcome, res.Reason)
}
