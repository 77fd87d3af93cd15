package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/stack/admin"
	"github.com/atoll-dev/atoll/sim"
)

// changeWithin bounds bringing clusters up, or taking them away, in a lab that
// is busy with what it has.
const changeWithin = 3 * time.Minute

// change adds clusters, peerings and rules to the running lab, looks whether
// they are what the plan says and whether the others were left alone, and takes
// them away again.
func (s *scenario) change(ctx context.Context) error {
	larger, err := s.largerPlan()
	if err != nil {
		return err
	}
	var added []string
	for _, c := range larger.Clusters {
		if s.plan.Cluster(c.Name) == nil {
			added = append(added, c.Name)
		}
	}
	before, err := s.census(ctx)
	if err != nil {
		return err
	}
	s.begin("add %s", strings.Join(added, ", "))
	watch := s.watchChange(ctx, larger, added)
	s.cleanup("take "+strings.Join(added, ", ")+" away", func(ctx context.Context) error { return s.changeBack(ctx, added) })
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	err = fixtures.Update(limited, s.lab, larger, s.progress())
	seen := watch()
	if err != nil {
		return fmt.Errorf("add %s: %w", strings.Join(added, ", "), err)
	}
	s.rec.mark("topology", fmt.Sprintf("%s added after %v", strings.Join(added, ", "), time.Since(start).Round(100*time.Millisecond)))
	then, err := s.onPlan(larger)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		if err := s.breakWorld(ctx, lab.Fault{Kind: lab.Partition, Between: []string{added[0]}}); err != nil {
			return err
		}
	}
	s.judgeChange(ctx, then, added, seen)
	s.judgeUntouched(ctx, before, seen)
	if s.opts.Invert {
		return nil
	}
	s.begin("take %s away", strings.Join(added, ", "))
	limited, cancelBack := context.WithTimeout(ctx, changeWithin)
	defer cancelBack()
	if err := s.changeBack(limited, added); err != nil {
		return err
	}
	return s.judgeBack(ctx, before, added)
}

// largerPlan is the plan of the topology with the scenario's addition.
func (s *scenario) largerPlan() (*sim.Plan, error) {
	topology, err := s.plan.Topology.With(&s.spec.Change.Add)
	if err != nil {
		return nil, invalid("the addition: %v", err)
	}
	// Scenarios go on being those of the lab.
	topology.Spec.Scenarios = s.plan.Topology.Spec.Scenarios
	plan, err := fixtures.Plan(topology, s.plan.Seed)
	if err != nil {
		return nil, invalid("the plan with the addition: %v", err)
	}
	return plan, nil
}

// onPlan is the same scenario asking a lab of another plan.
func (s *scenario) onPlan(plan *sim.Plan) (*scenario, error) {
	table, err := plan.WAN.Compile()
	if err != nil {
		return nil, invalid("the plan's WAN: %v", err)
	}
	r := &runner{
		ctx: s.ctx, lab: s.lab, plan: plan, opts: s.opts, seed: s.seed, clients: newClients(s.lab), table: table,
		faults: s.faults, chosen: s.chosen, result: s.result, asked: map[string]*scenario{},
	}
	return &scenario{runner: r, spec: s.spec, predict: s.predict, rec: s.rec}, nil
}

// progress tells of the steps of a change as steps of the scenario.
func (s *scenario) progress() lab.Sink {
	return func(e lab.Event) {
		if e.Status == lab.Done || e.Status == lab.Failed {
			s.event(lab.Progress, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", e.Step, e.Subject, e.Status, e.Detail)))
		}
	}
}

// changeBack makes the lab what its file says. What is away already is fine.
func (s *scenario) changeBack(ctx context.Context, added []string) error {
	there := slices.DeleteFunc(slices.Clone(added), func(c string) bool { return s.lab.Plan().Cluster(c) == nil })
	if len(there) == 0 {
		return nil
	}
	if s.plan.Hub != nil {
		// While it can be reached: so the hub takes back what it has placed there.
		if err := admin.Unregister(ctx, s.lab, there...); err != nil {
			return err
		}
	}
	return fixtures.Update(ctx, s.lab, s.plan, s.progress())
}

// observed is what was seen while the lab changed.
type observed struct {
	peerings map[string][]lab.PeeringState // by pair, each state once, in order
	asked    map[string]int                // questions to the clusters that were there, by pair
	failed   map[string]string             // and the last that was not answered
}

// watchChange looks at the peerings of what is added, and asks the clusters
// that are there whether they still answer, until the function that it returns
// is called.
func (s *scenario) watchChange(ctx context.Context, larger *sim.Plan, added []string) func() observed {
	o := observed{peerings: map[string][]lab.PeeringState{}, asked: map[string]int{}, failed: map[string]string{}}
	ctx, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if st, err := s.lab.State(ctx); err == nil {
				for _, p := range st.Peerings {
					if !slices.Contains(added, p.A) && !slices.Contains(added, p.B) {
						continue
					}
					pair := p.A + "↔" + p.B
					if have := o.peerings[pair]; len(have) == 0 || have[len(have)-1] != p.State {
						mu.Lock()
						o.peerings[pair] = append(have, p.State)
						mu.Unlock()
						s.rec.mark(pair, string(p.State))
					}
				}
			}
			pause(ctx, pollEvery)
		}
	})
	for pair, ports := range s.openPairs() {
		q := question{from: pair[0], to: pair[1], port: ports}
		wg.Go(func() {
			for ctx.Err() == nil {
				a := s.try(ctx, q, true)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				o.asked[q.pair()]++
				if !a.yes {
					o.failed[q.pair()] = a.seen
				}
				mu.Unlock()
				pause(ctx, 5*pollEvery)
			}
		})
	}
	return func() observed {
		// The last state is read after the change.
		if st, err := s.lab.State(ctx); err == nil {
			mu.Lock()
			for _, p := range st.Peerings {
				pair := p.A + "↔" + p.B
				if have := o.peerings[pair]; len(have) > 0 && have[len(have)-1] != p.State {
					o.peerings[pair] = append(have, p.State)
				}
			}
			mu.Unlock()
		}
		stop()
		wg.Wait()
		return o
	}
}

// pause waits, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// openPairs are the pairs of clusters of the plan between which an API server
// can be asked.
func (s *scenario) openPairs() map[[2]string]string {
	port := fmt.Sprintf("tcp/%d", sim.APIServerPort)
	open := map[[2]string]string{}
	for _, a := range s.plan.Clusters {
		for _, b := range s.plan.Clusters {
			if a.Name != b.Name && s.predict.Reachable[a.Name+"→"+b.Name][port] {
				open[[2]string{a.Name, b.Name}] = port
			}
		}
	}
	return open
}

// judgeChange holds what is there now against the plan with the addition.
func (s *scenario) judgeChange(ctx context.Context, then *scenario, added []string, seen observed) {
	for _, pair := range sortedKeys(seen.peerings) {
		s.check("peering "+pair+" while it is made", "Pending, then Peered", statesText(seen.peerings[pair]),
			slices.Equal(seen.peerings[pair], []lab.PeeringState{lab.Pending, lab.Peered}))
	}
	if len(seen.peerings) == 0 {
		s.check("peerings of "+strings.Join(added, ", "), "at least one", "none", false)
	}
	s.begin("try every way")
	questions, expected := then.questions()
	then.judgePairs(ctx, "with "+strings.Join(added, ", ")+": ", questions, expected)
	if s.opts.Invert {
		return
	}
	if err := then.measureRoundTrips(ctx); err != nil {
		s.check("round trips", "measured", err.Error(), false)
	}
	if then.plan.Hub == nil {
		return
	}
	for _, name := range added {
		s.await(ctx, "the hub sees "+name, "Ready=True", catchUpWithin, func(ctx context.Context) (string, bool) {
			return s.memberState(ctx, name)
		})
	}
}

func (s *scenario) memberState(ctx context.Context, name string) (string, bool) {
	hub, err := s.clients.cluster(lab.HubName)
	if err != nil {
		return short(err), false
	}
	ready, err := memberReady(ctx, hub, name)
	return "Ready=" + ready, err == nil && ready == "True"
}

func statesText(states []lab.PeeringState) string {
	var parts []string
	for _, s := range states {
		parts = append(parts, string(s))
	}
	return strings.Join(parts, ", then ")
}

// judgeUntouched holds the clusters that were there against what they were.
func (s *scenario) judgeUntouched(ctx context.Context, before map[string]string, seen observed) {
	for _, pair := range sortedKeys(seen.asked) {
		s.check(pair+" meanwhile", "an answer each time", fmt.Sprintf("%d times asked%s", seen.asked[pair], orNothing("; once ", seen.failed[pair])),
			seen.asked[pair] > 0 && seen.failed[pair] == "")
	}
	after, err := s.census(ctx)
	if err != nil {
		s.check("what runs in the others", "the same", err.Error(), false)
		return
	}
	for _, c := range sortedKeys(before) {
		s.check("nodes and pods of "+c, "the same, none restarted", sameText(before[c], after[c]), before[c] == after[c])
	}
}

func orNothing(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// sameText tells what of a census is not in another.
func sameText(before, after string) string {
	if before == after {
		return "the same, none restarted"
	}
	less := func(a, b string) string {
		have := strings.Split(b, ", ")
		return strings.Join(slices.DeleteFunc(strings.Split(a, ", "), func(s string) bool { return slices.Contains(have, s) }), ", ")
	}
	return strings.TrimPrefix(orNothing("; before: ", less(before, after))+orNothing("; after: ", less(after, before)), "; ")
}

// judgeBack holds the lab against what it was before.
func (s *scenario) judgeBack(ctx context.Context, before map[string]string, added []string) error {
	st, err := s.lab.State(ctx)
	if err != nil {
		return invalid("read the lab's state: %v", err)
	}
	var names []string
	for _, c := range st.Clusters {
		names = append(names, c.Name)
	}
	want := slices.Collect(maps.Keys(before))
	slices.Sort(want)
	slices.Sort(names)
	s.check("clusters afterwards", strings.Join(want, ", "), strings.Join(names, ", "), slices.Equal(want, names))
	for _, p := range st.Peerings {
		if slices.Contains(added, p.A) || slices.Contains(added, p.B) {
			s.check("peerings afterwards", "none with "+strings.Join(added, ", "), p.A+"↔"+p.B, false)
		}
	}
	if s.plan.Hub != nil {
		hub, err := s.clients.cluster(lab.HubName)
		if err != nil {
			return err
		}
		list, err := hub.dyn.Resource(members).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		var registered []string
		for i := range list.Items {
			registered = append(registered, list.Items[i].GetName())
		}
		slices.Sort(registered)
		want := slices.Sorted(slices.Values(s.plan.Hub.Members))
		s.check("members of the hub afterwards", strings.Join(want, ", "), strings.Join(registered, ", "), slices.Equal(want, registered))
	}
	after, err := s.census(ctx)
	if err != nil {
		return err
	}
	for _, c := range sortedKeys(before) {
		s.check("nodes and pods of "+c+" afterwards", "the same, none restarted", sameText(before[c], after[c]), before[c] == after[c])
	}
	return nil
}

// census tells, for each cluster of the plan, its identity, its nodes, and its
// pods with their restarts.
func (s *scenario) census(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	var errs []error
	for _, c := range s.plan.Clusters {
		k, err := s.clients.cluster(c.Name)
		if err != nil {
			return nil, err
		}
		text, err := runningThings(ctx, k)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
		out[c.Name] = text
	}
	return out, errors.Join(errs...)
}

// runningThings tells what a cluster is and what it runs.
func runningThings(ctx context.Context, c *cluster) (string, error) {
	system, err := c.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	nodes, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	pods, err := c.kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var lines []string
	for i := range nodes.Items {
		lines = append(lines, fmt.Sprintf("node %s %s", nodes.Items[i].Name, nodes.Items[i].UID))
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil { // what is on its way out already goes by itself
			lines = append(lines, podLine(&pods.Items[i]))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("cluster %s, %s", system.UID, strings.Join(lines, ", ")), nil
}

func podLine(p *corev1.Pod) string {
	restarts := int32(0)
	for _, c := range p.Status.ContainerStatuses {
		restarts += c.RestartCount
	}
	return fmt.Sprintf("pod %s/%s %s restarted %d times", p.Namespace, p.Name, p.UID, restarts)
}
