package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onsi/ginkgo/v2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	table   *wan.Table // the plan's WAN, before any change by a schedule
	faults  *faults
	chosen  []*topologies.Scenario
	result  *Result

	mu    sync.Mutex
	asked map[string]*scenario // by name, from the moment they begin
}

func newRun(ctx context.Context, b lab.Backend, opts Options) (*runner, error) {
	plan := b.Plan()
	if opts.Events == nil {
		opts.Events = func(lab.Event) {}
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	r := &runner{ctx: ctx, lab: b, plan: plan, opts: opts, seed: opts.Seed, clients: newClients(b), faults: &faults{lab: b}, asked: map[string]*scenario{}}
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
	case sc.Running != nil:
		return "workloads", (*scenario).running
	case sc.Proxies != nil:
		return "mesh", (*scenario).proxies
	case sc.Firewall != nil:
		return "firewall", (*scenario).firewall
	case sc.Shop != nil:
		return "shop", (*scenario).shop
	case sc.Change != nil:
		return "change", (*scenario).change
	case sc.SiteFailure != nil:
		return "failure", (*scenario).siteFailure
	case sc.Quorum != nil:
		return "failure", (*scenario).quorum
	case sc.PodFailure != nil:
		return "failure", (*scenario).podFailure
	case sc.Congestion != nil:
		return "links", (*scenario).congestion
	case sc.Schedule != nil:
		return "links", (*scenario).schedule
	}
	return "", func(*scenario, context.Context) error {
		return invalid("scenario %s is of a kind that the suites don't know", sc.Name)
	}
}

func (r *runner) run() (*Result, error) {
	r.result = &Result{
		Topology: r.plan.Name, Seed: r.seed, Provider: r.lab.Provider(), Plan: r.plan,
		Started: time.Now(), Inverted: r.opts.Invert,
		Engines: r.engines(), Versions: r.versions(),
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

// engines says what answers. One that is not atoll's own tells its version by
// the image of its controllers.
func (r *runner) engines() map[string]string {
	out := map[string]string{}
	stack := r.plan.Topology.Spec.Stack
	if a := stack.Admin; a != nil {
		out["admin"] = fmt.Sprintf("%s API, %s", a.API, engine(a.Engine, a.Chart))
		if a.Engine == topologies.EngineBinaries && r.plan.Hub != nil {
			out["admin"] += r.tagOf("karmada-system", "karmada-controller-manager", r.plan.Hub.Cluster)
		}
	}
	if m := stack.Mesh; m != nil {
		out["mesh"] = fmt.Sprintf("%s API, %s", m.API, engine(m.Engine, m.Chart))
		if m.Engine == topologies.EngineBinaries {
			out["mesh"] += r.tagOf("istio-system", "istiod", lab.ClusterNames(r.lab)...)
		}
	}
	if a := stack.Agents; a != nil {
		out["agents"] = a.Mode
	}
	if i := stack.Ingress; i != nil {
		out["ingress"] = fmt.Sprintf("%s API, %s", i.API, i.Engine)
	}
	return out
}

// engine names an engine, and the version of its charts where the topology has it.
func engine(e topologies.Engine, c *topologies.Chart) string {
	if e == topologies.EngineChart && c != nil && c.Version != "" {
		return fmt.Sprintf("%s %s", e, c.Version)
	}
	return string(e)
}

// tagOf is the tag of the image that a Deployment runs from, after a space, in
// the first of the clusters that has it; "" where none answers.
func (r *runner) tagOf(namespace, name string, clusters ...string) string {
	for _, cluster := range clusters {
		c, err := r.clients.cluster(cluster)
		if err != nil {
			continue
		}
		d, err := c.kube.AppsV1().Deployments(namespace).Get(r.ctx, name, metav1.GetOptions{})
		if err != nil || len(d.Spec.Template.Spec.Containers) == 0 {
			continue
		}
		if _, tag, ok := strings.Cut(path.Base(d.Spec.Template.Spec.Containers[0].Image), ":"); ok {
			return " " + tag
		}
	}
	return ""
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
