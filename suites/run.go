package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// Options are how to ask.
type Options struct {
	Events      lab.Sink  // told of every scenario and its steps; may be nil
	Scenarios   []string  // only these, by name; all when empty
	LabelFilter string    // only those that match, in Ginkgo's syntax; the labels are the suite and the scenario's name
	Invert      bool      // break each scenario's world first
	FailFast    bool      // skip what comes after the first failure
	Seed        uint64    // fixes every random choice; the plan's when 0
	Log         io.Writer // Ginkgo's own output; discarded when nil
}

// ErrRanBefore is returned by a second Run: Ginkgo keeps its tree of specs in
// the process and runs it once.
var ErrRanBefore = errors.New("the suites have run in this process before; Ginkgo runs once per process")

var ranBefore atomic.Bool

// specLimit ends a scenario that hangs. Every wait inside has its own, much
// shorter, limit and says what it waited for.
const specLimit = 10 * time.Minute

// Run asks a lab every selected scenario of its plan, in the file's order. An
// error means that the questions could not be asked (an unknown name, an
// interrupt); whatever the lab answered is in the Result.
func Run(ctx context.Context, b lab.Backend, opts Options) (*Result, error) {
	r, err := newRun(ctx, b, opts)
	if err != nil {
		return nil, err
	}
	if !ranBefore.CompareAndSwap(false, true) {
		return nil, ErrRanBefore
	}
	return r.run()
}

// runner is one execution of the suites.
type runner struct {
	ctx     context.Context
	lab     lab.Backend
	plan    *sim.Plan
	opts    Options
	seed    uint64
	clients *clients
	table   *wan.Table // the plan's WAN, for asking it
	chosen  []*topologies.Scenario
	result  *Result
	current *scenario
}

func newRun(ctx context.Context, b lab.Backend, opts Options) (*runner, error) {
	plan := b.Plan()
	if opts.Events == nil {
		opts.Events = func(lab.Event) {}
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	r := &runner{ctx: ctx, lab: b, plan: plan, opts: opts, seed: opts.Seed, clients: newClients(b)}
	if r.seed == 0 {
		r.seed = plan.Seed
	}
	var err error
	if r.table, err = plan.WAN.Compile(); err != nil {
		return nil, fmt.Errorf("the plan's WAN: %w", err)
	}
	r.chosen, err = choose(plan.Topology.Spec.Scenarios, opts)
	return r, err
}

// choose selects scenarios by name and by label.
func choose(all []topologies.Scenario, opts Options) ([]*topologies.Scenario, error) {
	match := func([]string) bool { return true }
	if opts.LabelFilter != "" {
		f, err := types.ParseLabelFilter(opts.LabelFilter)
		if err != nil {
			return nil, fmt.Errorf("label filter %q: %w", opts.LabelFilter, err)
		}
		match = f
	}
	var names []string
	var chosen []*topologies.Scenario
	for i := range all {
		sc := &all[i]
		names = append(names, sc.Name)
		if len(opts.Scenarios) > 0 && !slices.Contains(opts.Scenarios, sc.Name) {
			continue
		}
		if suite, _ := kindOf(sc); match([]string{suite, sc.Name}) {
			chosen = append(chosen, sc)
		}
	}
	for _, want := range opts.Scenarios {
		if !slices.Contains(names, want) {
			return nil, fmt.Errorf("no scenario %q; there are %s", want, strings.Join(names, ", "))
		}
	}
	if len(chosen) == 0 && len(all) > 0 {
		return nil, errors.New("no scenario matches")
	}
	return chosen, nil
}

// kindOf returns the suite a scenario belongs to, and what asks it.
func kindOf(sc *topologies.Scenario) (suite string, ask func(*scenario, context.Context) error) {
	switch {
	case sc.Peering != nil:
		return "peering", (*scenario).peering
	case sc.Placement != nil:
		return "placement", (*scenario).placement
	case sc.Traffic != nil:
		return "traffic", (*scenario).traffic
	case sc.NodeFailure != nil:
		return "failure", (*scenario).nodeFailure
	case sc.ControlPlaneFailure != nil:
		return "failure", (*scenario).controlPlaneFailure
	case sc.AgentPartition != nil:
		return "failure", (*scenario).agentPartition
	}
	return "", func(*scenario, context.Context) error {
		return invalid("scenario %s is of a kind that the suites don't know", sc.Name)
	}
}

func (r *runner) run() (*Result, error) {
	r.result = &Result{
		Topology: r.plan.Name, Seed: r.seed, Provider: r.lab.Provider(), Plan: r.plan,
		Started: time.Now(), Inverted: r.opts.Invert,
		Engines: engines(r.plan), Versions: r.versions(),
	}
	res := r.result
	r.calibrate("before")
	if res.Invalid == "" {
		r.runSpecs()
		r.calibrate("after")
	} else {
		for _, sc := range r.chosen {
			suite, _ := kindOf(sc)
			res.Scenarios = append(res.Scenarios, Scenario{
				Name: sc.Name, Suite: suite, Outcome: Invalid, Reason: "not asked: " + res.Invalid, Started: time.Now(),
			})
		}
	}
	st, err := r.lab.State(context.WithoutCancel(r.ctx))
	if err != nil {
		r.invalidate(fmt.Sprintf("read the links' counters: %v", err))
	}
	res.Links = st.Links
	res.Elapsed = time.Since(res.Started)
	if r.ctx.Err() != nil {
		return res, fmt.Errorf("suites: %w", context.Cause(r.ctx))
	}
	return res, nil
}

func (r *runner) invalidate(why string) {
	if r.result.Invalid == "" {
		r.result.Invalid = why
	}
}

// runSpecs declares the tree and has Ginkgo run it.
func (r *runner) runSpecs() {
	// Ordered keeps the file's order; by itself Ginkgo sorts specs of one line
	// of code by name.
	ginkgo.Describe("topology "+r.plan.Name, ginkgo.Ordered, ginkgo.ContinueOnFailure, func() {
		for _, sc := range r.chosen {
			suite, ask := kindOf(sc)
			ginkgo.Describe(sc.Name, ginkgo.Label(suite, sc.Name), func() {
				ginkgo.It("holds", ginkgo.SpecTimeout(specLimit), func(ctx ginkgo.SpecContext) {
					r.current = newScenario(r, sc, suite)
					r.current.play(ctx, ask)
				})
			})
		}
	})
	ginkgo.ReportAfterEach(func(report ginkgo.SpecReport) { r.finish(report) })

	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomSeed = int64(r.seed & math.MaxInt64)
	suite.RandomizeAllSpecs = false
	suite.FailFast = r.opts.FailFast
	suite.GracePeriod = 10 * time.Second
	suite.Timeout = time.Duration(len(r.chosen)+1) * specLimit
	reporter.NoColor = true
	reporter.Verbose, reporter.Succinct, reporter.VeryVerbose = false, false, false
	stdout := formatter.ColorableStdOut
	formatter.ColorableStdOut = r.opts.Log
	defer func() { formatter.ColorableStdOut = stdout }()
	// Whether anything failed is in the Result, with more detail.
	ginkgo.RunSpecs(failer{}, "atoll", suite, reporter)
}

// failer is the least a Ginkgo run needs of a *testing.T.
type failer struct{}

func (failer) Fail() {}

// finish takes over what only Ginkgo knows of a scenario: a panic, a timeout,
// an interrupt, a failed cleanup.
func (r *runner) finish(report ginkgo.SpecReport) {
	s := r.current
	r.current = nil
	if s == nil { // skipped before it began
		sc := r.chosen[len(r.result.Scenarios)]
		suite, _ := kindOf(sc)
		r.result.Scenarios = append(r.result.Scenarios, Scenario{
			Name: sc.Name, Suite: suite, Outcome: Skipped, Reason: "not reached", Started: time.Now(),
		})
		return
	}
	res := s.rec.result()
	if report.State.Is(types.SpecStateFailureStates) && (res.Outcome == Passed || res.Outcome == "") {
		res.Outcome = Failed
		res.Reason = fmt.Sprintf("%s: %s", s.currentStep(), failureText(report.Failure))
		if report.Failure.FailureNodeType.Is(types.NodeTypeCleanupAfterEach) {
			res.Outcome = Invalid
			res.Reason = "cleanup: " + report.Failure.Message
		}
	}
	r.result.Scenarios = append(r.result.Scenarios, res)
	s.event(outcomeStatus(res.Outcome), outcomeDetail(&res))
}

func failureText(f types.Failure) string {
	if f.ForwardedPanic != "" {
		return fmt.Sprintf("panic: %s at %s", f.ForwardedPanic, f.Location)
	}
	return f.Message
}

func outcomeStatus(o Outcome) lab.Status {
	if o == Failed || o == Invalid {
		return lab.Failed
	}
	return lab.Done
}

func outcomeDetail(res *Scenario) string {
	switch res.Outcome {
	case Passed:
		return fmt.Sprintf("%d checks", len(res.Checks))
	default:
		return fmt.Sprintf("%s: %s", res.Outcome, res.Reason)
	}
}

func engines(plan *sim.Plan) map[string]string {
	out := map[string]string{}
	stack := plan.Topology.Spec.Stack
	if a := stack.Admin; a != nil {
		out["admin"] = fmt.Sprintf("%s API, %s", a.API, a.Engine)
	}
	if m := stack.Mesh; m != nil {
		out["mesh"] = fmt.Sprintf("%s API, %s", m.API, m.Engine)
	}
	if a := stack.Agents; a != nil {
		out["agents"] = a.Mode
	}
	return out
}

// versions asks every API server for its own. One that does not answer is the
// scenarios' business, not the header's.
func (r *runner) versions() map[string]string {
	out := map[string]string{}
	for _, name := range lab.ClusterNames(r.lab) {
		c, err := r.clients.cluster(name)
		if err != nil {
			continue
		}
		if v, err := c.kube.Discovery().ServerVersion(); err == nil {
			out[name] = v.GitVersion
		}
	}
	return out
}
