package suites

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/topologies"
)

// scenario is one scenario while it is asked.
type scenario struct {
	*runner
	spec    *topologies.Scenario
	predict sim.Prediction
	rec     *recorder
	step    atomic.Pointer[string]
	before  []lab.Fault // in force when the scenario began
	touched []objectRef

	gateways map[string]netip.Addr // of the mesh, by cluster
}

// objectRef is an object whose state explains a failure.
type objectRef struct {
	cluster, namespace, name string
	resource                 resource
}

func newScenario(r *runner, sc *topologies.Scenario, suite string) *scenario {
	s := &scenario{runner: r, spec: sc, rec: newRecorder(sc.Name, suite)}
	if p := r.plan.Prediction(sc.Name); p != nil {
		s.predict = *p
	}
	return s
}

// invalidError says that the harness failed, so the product is not judged.
type invalidError struct{ why string }

func (e *invalidError) Error() string { return e.why }

func invalid(format string, args ...any) error {
	return &invalidError{fmt.Sprintf(format, args...)}
}

// play asks, judges the answers and tells Ginkgo. What ask returns is what
// kept it from asking on; the checks that failed are the recorder's.
func (s *scenario) play(spec ginkgo.SpecContext, ask func(*scenario, context.Context) error) {
	ctx, cancel := context.WithCancelCause(spec)
	defer cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	defer stop()
	s.event(lab.Started, "")

	err := s.prepare(ctx)
	if err == nil {
		err = ask(s, ctx)
	}
	if ctx.Err() != nil {
		err = errors.Join(fmt.Errorf("%s: interrupted: %w", s.currentStep(), context.Cause(ctx)), err)
	}
	var bad *invalidError
	switch failures := s.rec.failures(); {
	case errors.Is(err, lab.ErrUnsupported):
		s.rec.end(Skipped, err.Error())
		ginkgo.Skip(err.Error())
	case errors.As(err, &bad):
		s.rec.end(Invalid, bad.why)
		ginkgo.Fail(bad.why)
	case err != nil || failures != "":
		reason := s.explain(spec, failures, err)
		s.rec.end(Failed, reason)
		ginkgo.Fail(reason)
	default:
		s.rec.end(Passed, "")
	}
}

func (s *scenario) prepare(ctx context.Context) error {
	st, err := s.lab.State(ctx)
	if err != nil {
		return invalid("read the lab's state: %v", err)
	}
	s.before = st.Faults
	return nil
}

// explain says what failed and what in the lab's own state accounts for it,
// and keeps the objects concerned as they are now.
func (s *scenario) explain(spec context.Context, failures string, err error) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(spec), 10*time.Second)
	defer cancel()
	var parts []string
	if failures != "" {
		parts = append(parts, failures)
	}
	if err != nil {
		parts = append(parts, err.Error())
	}
	if st, err := s.lab.State(ctx); err != nil {
		parts = append(parts, fmt.Sprintf("the lab's state can't be read: %v", err))
	} else if len(st.Faults) > 0 {
		var faults []string
		for _, f := range st.Faults {
			faults = append(faults, f.String())
		}
		parts = append(parts, "in force: "+strings.Join(faults, ", "))
	}
	s.keepObjects(ctx)
	return strings.Join(parts, "; ")
}

// begin names the step that the scenario is in from now on.
func (s *scenario) begin(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.step.Store(&text)
	ginkgo.By(text)
	s.event(lab.Progress, text)
}

func (s *scenario) currentStep() string {
	if p := s.step.Load(); p != nil {
		return *p
	}
	return "start"
}

func (s *scenario) event(status lab.Status, detail string) {
	e := lab.Event{Time: time.Now(), Step: "scenario " + s.spec.Name, Status: status, Detail: detail}
	if status == lab.Done || status == lab.Failed {
		e.Elapsed = time.Since(s.rec.result().Started)
	}
	s.opts.Events(e)
}

// check keeps what was expected beside what was seen. The scenario goes on.
func (s *scenario) check(what, expected, seen string, ok bool) bool {
	return s.checkTimed(what, expected, seen, ok, 0)
}

func (s *scenario) checkTimed(what, expected, seen string, ok bool, elapsed time.Duration) bool {
	if !ok {
		s.event(lab.Progress, fmt.Sprintf("%s: expected %s, saw %s", what, expected, seen))
	}
	return s.rec.check(Check{What: what, Expected: expected, Seen: seen, OK: ok, Elapsed: elapsed})
}

// await waits for a condition and keeps a check of what it saw last.
func (s *scenario) await(ctx context.Context, what, expected string, within time.Duration, look func(context.Context) (string, bool)) bool {
	seen, took, err := s.watch(ctx, what, within, look)
	return s.checkTimed(what, expected, seen, err == nil, took)
}

// watch is until, with what was seen last whether it came true or not.
func (s *scenario) watch(ctx context.Context, what string, within time.Duration, look func(context.Context) (string, bool)) (seen string, took time.Duration, err error) {
	took, err = until(ctx, what, within, func(ctx context.Context) (string, bool) {
		text, ok := look(ctx)
		if ok {
			seen = text
		}
		return text, ok
	})
	var failed *waitError
	if errors.As(err, &failed) {
		seen = fmt.Sprintf("%s, after %v", failed.Seen, took.Round(100*time.Millisecond))
	}
	return seen, took, err
}

// cleanupLimit bounds one cleanup: bringing a control plane back takes longest.
const cleanupLimit = time.Minute

// cleanup puts something back when the scenario has ended, however it ended.
// Cleanups run last in, first out.
func (s *scenario) cleanup(what string, do func(context.Context) error) {
	ginkgo.DeferCleanup(func(ctx ginkgo.SpecContext) {
		if err := do(ctx); err != nil {
			ginkgo.Fail(fmt.Sprintf("%s: %v", what, err))
		}
	}, ginkgo.NodeTimeout(cleanupLimit))
}

// inject puts faults in force beside those that were there before the
// scenario, and returns the moment they were. They are healed at the end.
func (s *scenario) inject(ctx context.Context, faults ...lab.Fault) (time.Time, error) {
	s.cleanup("heal "+faults[0].String(), func(ctx context.Context) error { return s.lab.Apply(ctx, s.before) })
	at := time.Now()
	if err := s.lab.Apply(ctx, append(slices.Clone(s.before), faults...)); err != nil {
		return at, fmt.Errorf("inject %s: %w", faults[0], err)
	}
	for _, f := range faults {
		s.rec.fault(at, lane(f), f.String())
	}
	return at, nil
}

// heal takes the scenario's faults away again.
func (s *scenario) heal(ctx context.Context, f lab.Fault) (time.Time, error) {
	at := time.Now()
	if err := s.lab.Apply(ctx, s.before); err != nil {
		return at, fmt.Errorf("heal %s: %w", f, err)
	}
	s.rec.fault(at, lane(f), "healed: "+f.String())
	return at, nil
}

func lane(f lab.Fault) string {
	switch {
	case f.Node != "":
		return f.Cluster + "/" + f.Node
	case f.Cluster != "":
		return f.Cluster
	}
	return strings.Join(f.Between, "↔")
}

// breakWorld does what inverting this scenario means, and keeps it in words
// that the failure has to repeat.
func (s *scenario) breakWorld(ctx context.Context, f lab.Fault) error {
	s.rec.inverted(f.String())
	_, err := s.inject(ctx, f)
	return err
}

// patience is how long to wait for something to come true. An inverted
// scenario waits for what never will, so it need not wait as long.
func (s *scenario) patience(d time.Duration) time.Duration {
	const inverted = 4 * time.Second
	if s.opts.Invert {
		return min(d, inverted)
	}
	return d
}
