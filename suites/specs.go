package suites

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"

	"github.com/atoll-dev/atoll/fixtures/lab"
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
	turns := r.turns()
	following := false
	ginkgo.Describe("topology "+r.plan.Name, ginkgo.Ordered, ginkgo.ContinueOnFailure, func() {
		for _, t := range turns {
			suite, _ := kindOf(t.spec)
			ginkgo.Describe(t.spec.Name, ginkgo.Label(suite, t.spec.Name), func() {
				ginkgo.It("holds", ginkgo.SpecTimeout(specLimit), func(spec ginkgo.SpecContext) {
					if !following { // only now is Ginkgo sure to want them
						following = true
						for _, t := range turns {
							go t.follow(ctx, r)
						}
					}
					r.await(spec, t)
				})
			})
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
	for _, t := range turns {
		if following {
			<-t.done
		}
		r.result.Scenarios = append(r.result.Scenarios, resultOf(t))
	}
}

// failer is the least a Ginkgo run needs of a *testing.T.
type failer struct{}

func (failer) Fail() {}

// began keeps a scenario where others find it.
func (r *runner) began(t *turn, s *scenario) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.asked = s
	r.asked[t.spec.Name] = s
}

// await waits for a scenario's end and tells Ginkgo how it came out. If
// Ginkgo gives up on the spec, the scenario is ended, and cleaned up after.
func (r *runner) await(spec ginkgo.SpecContext, t *turn) {
	select {
	case <-t.reached:
	default:
		close(t.reached)
	}
	stop := context.AfterFunc(spec, func() {
		r.mu.Lock()
		s := t.asked
		r.mu.Unlock()
		if s != nil {
			s.end(context.Cause(spec))
		}
	})
	defer stop()
	<-t.done
	s := t.asked
	if s == nil {
		ginkgo.Skip("not reached")
	}
	switch res := s.rec.result(); res.Outcome {
	case Passed:
	case Skipped:
		ginkgo.Skip(res.Reason)
	default:
		ginkgo.Fail(fmt.Sprintf("%s: %s", res.Outcome, res.Reason))
	}
}

func resultOf(t *turn) Scenario {
	if t.asked != nil {
		return t.asked.rec.result()
	}
	suite, _ := kindOf(t.spec)
	return Scenario{Name: t.spec.Name, Suite: suite, Outcome: Skipped, Reason: "not reached", Started: time.Now()}
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
