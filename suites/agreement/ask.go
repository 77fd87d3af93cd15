package agreement

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/stack/admin/api"
	clusterv1alpha1 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/cluster/v1alpha1"
	"github.com/atoll-dev/atoll/sim"
)

const (
	// namespace is where the cases are, on the hub and on the members.
	namespace = "agreement"

	// patience bounds a step: a real Karmada takes one to three seconds, on a
	// machine that is busy with other things twenty.
	patience = 2 * time.Minute
	// failurePatience bounds seeing a member lost and found, beyond the timers.
	failurePatience = time.Minute
	pollEvery       = 150 * time.Millisecond
	// quiet is how long everything must have been as it should be: what is on
	// its way by then was not asked for.
	quiet = 2

	defaultParallel = 16
	// failureCases are asked around the failure of a member.
	failureCases = 24
)

// Options are what to ask.
type Options struct {
	Seed uint64
	// Policies is the number of cases, beside those around the failure.
	Policies int
	// Parallel is how many cases are asked at a time.
	Parallel int
	Events   lab.Sink
	// Engine and Versions are told in the record.
	Engine   string
	Versions map[string]string
}

// asker asks one lab.
type asker struct {
	lab     lab.Backend
	plan    *sim.Plan
	opts    Options
	hub     client.Client
	members map[string]client.Client
	probes  chan *probe
}

// Members are a plan's, with what cases select them by.
func Members(plan *sim.Plan) []Member {
	var out []Member
	for i, name := range plan.Hub.Members {
		tier := "gold"
		if i%2 == 1 {
			tier = "silver"
		}
		out = append(out, Member{Name: name, Region: plan.Cluster(name).Region, Tier: tier})
	}
	return out
}

// Ask asks a lab every case and returns what came of each. An error means that
// the lab could not be asked; what a case met is in its answer.
func Ask(ctx context.Context, b lab.Backend, opts Options) (*Record, error) {
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	if opts.Events == nil {
		opts.Events = func(lab.Event) {}
	}
	a := &asker{lab: b, plan: b.Plan(), opts: opts, members: map[string]client.Client{}}
	if a.plan.Hub == nil || len(a.plan.Hub.Members) < 2 {
		return nil, fmt.Errorf("policies are compared on a hub with at least two members; lab %s has none", a.plan.Name)
	}
	if err := a.connect(); err != nil {
		return nil, err
	}
	members := Members(a.plan)
	if err := a.begin(ctx, members); err != nil {
		return nil, err
	}
	r := &Record{Engine: opts.Engine, Versions: opts.Versions, Seed: opts.Seed, Started: time.Now()}
	cases := Cases(opts.Seed, opts.Policies, members)
	err := opts.Events.Step(fmt.Sprintf("place %d random policies", len(cases)), "", func() error {
		r.Cases = make([]Answer, len(cases))
		return a.all(ctx, cases, r.Cases, func(c *Case) bool { return !c.ByRoom() })
	})
	if err == nil {
		err = opts.Events.Step("place those that hang on the members' room", "", func() (err error) {
			if r.Room, err = a.room(ctx); err != nil {
				return err
			}
			return a.all(ctx, cases, r.Cases, (*Case).ByRoom)
		})
	}
	if err == nil {
		err = a.failure(ctx, r, members)
	}
	r.Elapsed = time.Since(r.Started)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	return r, errors.Join(err, client.IgnoreNotFound(a.hub.Delete(context.WithoutCancel(ctx), ns)))
}

func (a *asker) connect() error {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(s); err != nil {
			return err
		}
	}
	to := func(name string) (client.Client, error) {
		cfg, err := a.lab.RESTConfig(name)
		if err != nil {
			return nil, err
		}
		cfg = rest.CopyConfig(cfg)
		cfg.QPS = -1 // the lab has no one to be fair to
		return client.New(cfg, client.Options{Scheme: s})
	}
	var err error
	if a.hub, err = to(lab.HubName); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, m := range a.plan.Hub.Members {
		if a.members[m], err = to(m); err != nil {
			return fmt.Errorf("member %s: %w", m, err)
		}
	}
	return nil
}

// begin labels the members and makes the cases' namespace.
func (a *asker) begin(ctx context.Context, members []Member) error {
	for _, m := range members {
		c := &clusterv1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: m.Name}}
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, TierLabel, m.Tier)
		if err := a.hub.Patch(ctx, c, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return fmt.Errorf("label Cluster %s: %w", m.Name, err)
		}
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := a.hub.Create(ctx, ns); err != nil {
		return fmt.Errorf("namespace %s on the hub: %w", namespace, err)
	}
	for m, c := range a.members {
		err := a.until(ctx, patience, "namespace "+namespace+" on "+m, func(ctx context.Context) error {
			return c.Get(ctx, client.ObjectKeyFromObject(ns), &corev1.Namespace{})
		})
		if err != nil {
			return err
		}
	}
	return a.makeProbes(ctx)
}

// until calls ask until it returns nil.
func (a *asker) until(ctx context.Context, limit time.Duration, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	if err := lab.Until(ctx, pollEvery, what, ask); err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// all asks those of the cases that are wanted, several at a time, each from
// beginning to end.
func (a *asker) all(ctx context.Context, cases []Case, out []Answer, wanted func(*Case) bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.opts.Parallel)
	for i := range cases {
		if !wanted(&cases[i]) {
			continue
		}
		g.Go(func() error {
			q := a.ask(cases[i])
			for n := range cases[i].Steps {
				q.step(ctx, n, nil)
			}
			q.end(ctx)
			out[i] = q.answer
			return ctx.Err()
		})
	}
	return g.Wait()
}

// failure cuts a member off from the hub: some cases are there before, are
// changed meanwhile, and again when it is back; others begin meanwhile.
func (a *asker) failure(ctx context.Context, r *Record, members []Member) error {
	lost := members[len(members)-1].Name
	if lost == a.plan.Hub.Cluster {
		lost = members[0].Name
	}
	var before, meanwhile []*question
	for i, c := range Cases(a.opts.Seed+1, failureCases, members) {
		// Three steps: before, while it is lost, and when it is back.
		for len(c.Steps) < 3 {
			last := c.Steps[len(c.Steps)-1]
			last.Reschedule = false
			last.Replicas, last.What = last.Replicas+2, fmt.Sprintf("scale to %d", last.Replicas+2)
			c.Steps = append(c.Steps, last)
		}
		c.Steps, c.Name, c.Live = c.Steps[:3], "failure-"+c.Name, false
		q := a.ask(c)
		if i%3 == 2 {
			meanwhile = append(meanwhile, q)
		} else {
			before = append(before, q)
		}
	}
	each := func(list []*question, do func(q *question)) error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(a.opts.Parallel)
		for _, q := range list {
			g.Go(func() error { do(q); return gctx.Err() })
		}
		return g.Wait()
	}
	defer func() {
		for _, q := range slices.Concat(before, meanwhile) {
			r.Cases = append(r.Cases, q.answer)
		}
	}()
	if err := each(before, func(q *question) { q.step(ctx, 0, nil) }); err != nil {
		return err
	}
	fault := lab.Fault{Kind: lab.Partition, Between: []string{a.plan.Hub.Cluster, lost}}
	r.Failure = &Failure{Member: lost}
	err := a.opts.Events.Step("cut "+lost+" off from the hub", "", func() error {
		if err := a.lab.Apply(ctx, []lab.Fault{fault}); err != nil {
			return err
		}
		limit := a.failurePatience()
		return a.sees(ctx, lost, limit, &r.Failure.Lost, func(c Cluster) bool { return !strings.HasPrefix(c.Ready, "True") && len(c.Taints) > 0 })
	})
	if err == nil {
		without := map[string]bool{lost: true}
		err = each(before, func(q *question) { q.step(ctx, 1, without) })
		if err == nil {
			err = each(meanwhile, func(q *question) { q.step(ctx, 0, without); q.step(ctx, 1, without) })
		}
	}
	healed := a.opts.Events.Step("heal "+lost, "", func() error {
		if err := a.lab.Apply(context.WithoutCancel(ctx), nil); err != nil {
			return err
		}
		limit := a.failurePatience()
		return a.sees(ctx, lost, limit, &r.Failure.Healed, func(c Cluster) bool { return strings.HasPrefix(c.Ready, "True") && len(c.Taints) == 0 })
	})
	if err := errors.Join(err, healed); err != nil {
		return err
	}
	return each(slices.Concat(before, meanwhile), func(q *question) { q.step(ctx, 2, nil); q.end(ctx) })
}

// failurePatience bounds seeing a member lost and found.
func (a *asker) failurePatience() time.Duration {
	limit := a.plan.Timers.ClusterGracePeriod + a.plan.Timers.ClusterFailure + failurePatience
	if a.plan.Push() {
		limit += a.plan.Timers.ClusterNotAnswering(a.plan.BuiltinHub())[1]
	}
	return limit
}

// sees waits until the hub sees a member as is wanted. That it never does is an
// answer, not an error.
func (a *asker) sees(ctx context.Context, name string, limit time.Duration, into *Cluster, want func(Cluster) bool) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := lab.Until(ctx, pollEvery, "the hub to see it", func(ctx context.Context) error {
		c := &clusterv1alpha1.Cluster{}
		if err := a.hub.Get(ctx, client.ObjectKey{Name: name}, c); err != nil {
			return err
		}
		now := Cluster{Ready: "none", After: time.Since(start)}
		for _, cond := range c.Status.Conditions {
			if cond.Type == "Ready" {
				now.Ready = string(cond.Status) + " " + cond.Reason
			}
		}
		for _, t := range c.Spec.Taints {
			now.Taints = append(now.Taints, t.Key+":"+string(t.Effect))
		}
		slices.Sort(now.Taints)
		*into = now
		if !want(now) {
			return fmt.Errorf("%s is %s", name, now.Ready)
		}
		return nil
	})
	if into.Ready == "" {
		return err // it could not even be read
	}
	return nil
}

// read returns a member's Deployments of a case and whether it has the Service.
func (q *question) read(ctx context.Context, without map[string]bool) (map[string]int32, []string, error) {
	replicas, services := map[string]int32{}, []string{}
	for _, m := range slices.Sorted(maps.Keys(q.members)) {
		if without[m] {
			continue
		}
		d, s := q.deployment(), q.service()
		switch err := q.members[m].Get(ctx, client.ObjectKeyFromObject(d), d); {
		case err == nil && d.DeletionTimestamp == nil:
			replicas[m] = *d.Spec.Replicas
		case err != nil && !apierrors.IsNotFound(err):
			return nil, nil, err
		}
		switch err := q.members[m].Get(ctx, client.ObjectKeyFromObject(s), s); {
		case err == nil && s.DeletionTimestamp == nil:
			services = append(services, m)
		case err != nil && !apierrors.IsNotFound(err):
			return nil, nil, err
		}
	}
	return replicas, services, nil
}
