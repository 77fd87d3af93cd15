package suites

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// fakeLab answers what the parts tested here ask; the rest would panic.
type fakeLab struct {
	lab.Backend
	plan  *sim.Plan
	state lab.State
	rtt   map[string]time.Duration // "a→b"
}

func (f *fakeLab) Plan() *sim.Plan                          { return f.plan }
func (f *fakeLab) Provider() string                         { return "fake" }
func (f *fakeLab) State(context.Context) (lab.State, error) { return f.state, nil }
func (f *fakeLab) Apply(_ context.Context, faults []lab.Fault) error {
	f.state.Faults = faults
	return nil
}
func (f *fakeLab) Ping(_ context.Context, a, b lab.Place, n int) (out []time.Duration, err error) {
	for range n {
		out = append(out, f.rtt[a.Cluster+"→"+b.Cluster])
	}
	return out, nil
}

func planned(t *testing.T, name string) *sim.Plan {
	t.Helper()
	topology, err := topologies.FromLibrary(name)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sim.NewPlan(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func testRunner(t *testing.T, f *fakeLab) *runner {
	t.Helper()
	r, err := newRun(t.Context(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.result = &Result{}
	return r
}

func TestChoose(t *testing.T) {
	all := []topologies.Scenario{
		{Name: "peering", Peering: &topologies.PeeringScenario{}},
		{Name: "crash", NodeFailure: &topologies.NodeFailureScenario{}},
		{Name: "cut", AgentPartition: &topologies.AgentPartitionScenario{}},
	}
	for _, c := range []struct {
		opts Options
		want string // the names, or the error
	}{
		{Options{}, "peering crash cut"},
		{Options{Scenarios: []string{"cut", "peering"}}, "peering cut"},
		{Options{LabelFilter: "failure"}, "crash cut"},
		{Options{LabelFilter: "failure && !cut"}, "crash"},
		{Options{Scenarios: []string{"nope"}}, `no scenario "nope"; there are peering, crash, cut`},
		{Options{LabelFilter: "traffic"}, "no scenario matches"},
		{Options{LabelFilter: "(("}, "label filter"},
	} {
		chosen, err := choose(all, c.opts)
		var names []string
		for _, s := range chosen {
			names = append(names, s.Name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if ok := got == c.want || err != nil && strings.HasPrefix(got, c.want); !ok {
			t.Errorf("%+v: %q, want %q", c.opts, got, c.want)
		}
	}
}

func TestCalibrationMeasuresEveryDirectedLinkOnce(t *testing.T) {
	f := &fakeLab{plan: planned(t, "three-regions"), rtt: map[string]time.Duration{}}
	r := testRunner(t, f)
	links := map[hop]bool{}
	for _, p := range r.calibrationPairs() {
		w, ok := r.placeWay(p[0], p[1])
		if !ok {
			t.Fatalf("no way %v", p)
		}
		h := hop{w.there[0].From, w.there[0].To}
		if links[h] {
			t.Errorf("%v is measured twice", h)
		}
		links[h] = true
		f.rtt[p[0].String()+"→"+p[1].String()] = w.rtt
	}
	// One stretched cluster is measured between its sites.
	one := testRunner(t, &fakeLab{plan: planned(t, "microk8s-netmaker")})
	if pairs := one.calibrationPairs(); len(pairs) != 6 {
		t.Errorf("of three sites six directions are to be measured, not %v", pairs)
	}
	// Six directions between three regions, and the implicit link of eu-west.
	if len(links) != 7 || !links[hop{"eu-west", "eu-west"}] {
		t.Errorf("measured: %v", links)
	}

	r.calibrate("before")
	if r.result.Invalid != "" || len(r.result.Calibration) != 7 {
		t.Errorf("exact links: %q, %d measured", r.result.Invalid, len(r.result.Calibration))
	}
	for _, c := range r.result.Calibration {
		if c.From == "us" && c.To == "ap" && (c.Configured != 220*time.Millisecond || c.Tolerance != 4400*time.Microsecond) {
			t.Errorf("asymmetric link: %+v", c)
		}
		if c.From == "eu" && c.To == "us" && c.Tolerance != 2800*time.Microsecond+4*time.Millisecond {
			t.Errorf("link with jitter: %+v", c)
		}
	}

	f.rtt["us→ap"] = 225 * time.Millisecond
	r.calibrate("after")
	const want = "calibration after the suites: us→ap: median 225ms, configured 220ms ± 4.4ms"
	if r.result.Invalid != want {
		t.Errorf("got %q, want %q", r.result.Invalid, want)
	}
	// Seven before, seven after, and the bad one again and again: all are shown.
	if n := len(r.result.Calibration); n != 7+7+calibrationAttempts-1 {
		t.Errorf("%d measurements", n)
	}
}

func TestCrossingThatDidNotHappenIsInvalid(t *testing.T) {
	f := &fakeLab{plan: planned(t, "two-clusters")}
	count := func(there, back uint64) {
		f.state.Links = []wan.Counters{{From: "us-east", To: "us-west", Packets: there}, {From: "us-west", To: "us-east", Packets: back}}
	}
	r := testRunner(t, f)
	s := newScenario(r, r.chosen[0], "peering")
	count(10, 10)
	c, err := s.claimCrossing(t.Context(), [2]string{"east", "west"}, [2]string{"east", "east"})
	if err != nil || len(c.hops) != 2 {
		t.Fatalf("%v, %v", c, err)
	}
	count(11, 10)
	var bad *invalidError
	if err := c.verify(t.Context(), s); !errors.As(err, &bad) || !strings.Contains(err.Error(), "us-west→us-east (10 packets)") {
		t.Errorf("one direction stood still: %v", err)
	}
	count(11, 11)
	if err := c.verify(t.Context(), s); err != nil {
		t.Errorf("both rose: %v", err)
	}
}

func TestRecorderKeepsWhatWasExpectedBesideWhatWasSeen(t *testing.T) {
	r := newRecorder("p", "placement")
	r.check(Check{What: "a", Expected: "1", Seen: "1", OK: true})
	if r.failures() != "" {
		t.Errorf("no check failed: %q", r.failures())
	}
	for range 7 {
		r.check(Check{What: "b", Expected: "1", Seen: "2"})
	}
	if got := r.failures(); !strings.HasPrefix(got, "b: expected 1, saw 2; ") || !strings.HasSuffix(got, "; and 2 more") {
		t.Errorf("failures: %q", got)
	}
	r.replicas(map[string]int{"eu": 1})
	r.replicas(map[string]int{"eu": 1})
	r.replicas(map[string]int{"eu": 2})
	r.mark("eu", "late")
	r.markAt(r.res.Started.Add(-time.Second), "eu", "early")
	r.end(Failed, "first")
	r.end(Passed, "")
	res := r.result()
	if len(res.Replicas) != 2 || res.Timeline[0].What != "early" || res.Outcome != Failed || res.Reason != "first" {
		t.Errorf("got %+v", res)
	}
	if _, err := json.Marshal(res); err != nil {
		t.Error(err)
	}
}

func TestNamesCause(t *testing.T) {
	cut := lab.Fault{Kind: lab.Partition, Between: []string{"ap"}}.String()
	for _, c := range []struct {
		s    Scenario
		want bool
	}{
		{Scenario{Outcome: Failed, Inverted: cut, Reason: "answers from ap: expected some, saw 0; in force: partition ap"}, true},
		{Scenario{Outcome: Failed, Inverted: cut, Reason: "exec: no such pod"}, false},
		{Scenario{Outcome: Passed, Inverted: cut, Reason: cut}, false},
		{Scenario{Outcome: Failed, Reason: cut}, false},
	} {
		if got := c.s.NamesCause(); got != c.want {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
}

func TestPlayEndsInAnOutcomeWhateverHappens(t *testing.T) {
	f := &fakeLab{plan: planned(t, "two-clusters")}
	r := testRunner(t, f)
	fault := lab.Fault{Kind: lab.StopControlPlane, Cluster: "west"}
	for _, c := range []struct {
		name    string
		ask     func(*scenario, context.Context) error
		outcome Outcome
		reason  string // contained
	}{
		{"nothing wrong", func(*scenario, context.Context) error { return nil }, Passed, ""},
		{"a check fails", func(s *scenario, _ context.Context) error { s.check("a", "1", "2", false); return nil }, Failed, "a: expected 1, saw 2"},
		{"a panic", func(s *scenario, _ context.Context) error { s.begin("step %d", 3); panic("nil map") }, Failed, "step 3: panic: nil map"},
		{"unsupported", func(*scenario, context.Context) error { return lab.ErrUnsupported }, Skipped, "not supported"},
		{"invalid", func(*scenario, context.Context) error { return invalid("no way") }, Invalid, "no way"},
		{"a fault stays", func(s *scenario, ctx context.Context) error {
			_, err := s.inject(ctx, fault)
			s.check("a", "1", "2", false)
			return err
		}, Failed, "in force: stop-control-plane west"},
		{"interrupted", func(s *scenario, ctx context.Context) error {
			s.begin("wait")
			s.end(errors.New("ctrl-C"))
			<-ctx.Done()
			return ctx.Err()
		}, Failed, "wait: interrupted: ctrl-C"},
		{"cleanup fails", func(s *scenario, _ context.Context) error {
			s.cleanup("sweep", func(context.Context) error { return errors.New("no broom") })
			return nil
		}, Invalid, "cleanup: sweep: no broom"},
	} {
		swept := false
		s := newScenario(r, r.chosen[0], "peering")
		s.cleanup("sweep", func(ctx context.Context) error { swept = true; return ctx.Err() })
		ctx, end := context.WithCancelCause(t.Context())
		s.end = end
		s.play(ctx, c.ask)
		res := s.rec.result()
		if res.Outcome != c.outcome || !strings.Contains(res.Reason, c.reason) || !swept || len(f.state.Faults) != 0 {
			t.Errorf("%s: %s, %q, swept %v, in force %v", c.name, res.Outcome, res.Reason, swept, f.state.Faults)
		}
	}
}

func TestFaultsOfScenariosAtTheSameTime(t *testing.T) {
	before := lab.Fault{Kind: lab.CutLink, Between: []string{"a", "b"}}
	one := lab.Fault{Kind: lab.StopNode, Cluster: "eu", Node: "worker-1"}
	two := lab.Fault{Kind: lab.StopControlPlane, Cluster: "us"}
	f := &fakeLab{state: lab.State{Faults: []lab.Fault{before}}}
	set := &faults{lab: f}
	inForce := func(want ...lab.Fault) {
		t.Helper()
		if !reflect.DeepEqual(f.state.Faults, want) {
			t.Errorf("in force %v, want %v", f.state.Faults, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(set.inject(t.Context(), one))
	must(set.inject(t.Context(), two))
	inForce(before, one, two)
	must(set.heal(t.Context(), one))
	inForce(before, two)
	must(set.heal(t.Context(), one)) // once more, by a cleanup
	inForce(before, two)
	must(set.heal(t.Context(), two))
	inForce(before)
}

func TestScenariosThatHaveNothingInCommonAreAskedTogether(t *testing.T) {
	node := func(name, cluster, node string) topologies.Scenario {
		return topologies.Scenario{Name: name, NodeFailure: &topologies.NodeFailureScenario{Cluster: cluster, Node: node}}
	}
	control := func(name, cluster string) topologies.Scenario {
		return topologies.Scenario{Name: name, ControlPlaneFailure: &topologies.ControlPlaneFailureScenario{Cluster: cluster}}
	}
	all := []topologies.Scenario{
		{Name: "p", Peering: &topologies.PeeringScenario{}},
		node("n-eu", "eu", "worker-1"), control("c-us", "us"), control("c-eu", "eu"), node("n-us", "us", "worker-1"),
		{Name: "a", AgentPartition: &topologies.AgentPartitionScenario{Cluster: "ap", Workload: "hello"}},
		node("n-ap", "ap", "worker-1"), node("cp-eu", "eu", "control-plane"),
	}
	for _, c := range []struct {
		opts Options
		want map[string]string // whom each waits for
	}{
		{Options{}, map[string]string{
			"n-eu": "p", "c-us": "p", "c-eu": "p n-eu", "n-us": "p c-us",
			"a":    "p c-us c-eu", // not for the nodes of others
			"n-ap": "p a", "cp-eu": "p n-eu c-eu a",
		}},
		{Options{Invert: true}, map[string]string{"n-eu": "p", "c-us": "p n-eu", "c-eu": "p n-eu c-us"}},
		{Options{FailFast: true}, map[string]string{"c-us": "p n-eu"}},
	} {
		r := &runner{opts: c.opts, plan: &sim.Plan{Hub: &sim.Hub{Cluster: "m", Members: []string{"eu", "us", "ap"}}}}
		r.chosen, _ = choose(all, c.opts)
		for _, turn := range r.turns() {
			want, ok := c.want[turn.spec.Name]
			var after []string
			for _, before := range turn.after {
				after = append(after, before.spec.Name)
			}
			if got := strings.Join(after, " "); ok && got != want {
				t.Errorf("%+v: %s waits for %q, want %q", c.opts, turn.spec.Name, got, want)
			}
		}
	}
}

func TestChangeForReachesTheMemberAndAnother(t *testing.T) {
	tpl := &template{replicas: 10, weights: map[string]int64{"eu": 2, "ap": 1, "us": 2}, uid: "x"}
	n, division, err := changeFor(tpl, "ap")
	if err != nil || n <= 10 || division["ap"] <= 2 || division["eu"]+division["us"]+division["ap"] != n {
		t.Errorf("%d, %v, %v", n, division, err)
	}
	if _, _, err := changeFor(tpl, "manager"); err == nil {
		t.Error("a cluster without weight never changes")
	}
}

func TestFaultsInForceAreNamedInsteadOfMeasured(t *testing.T) {
	f := &fakeLab{plan: planned(t, "three-regions"), state: lab.State{Faults: []lab.Fault{
		{Kind: lab.Partition, Between: []string{"eu", "us"}}, {Kind: lab.StopNode, Cluster: "ap", Node: "worker-1"},
	}}}
	r := testRunner(t, f)
	r.calibrate("before")
	const want = "calibration before the suites: in force: partition eu↔us, stop-node ap/worker-1; `atoll fault heal` undoes it"
	if r.result.Invalid != want || len(r.result.Calibration) != 0 {
		t.Errorf("got %q and %d measurements, want %q", r.result.Invalid, len(r.result.Calibration), want)
	}
}
