package suites

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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
	touched []objectRef

	cleanups []cleanup // last in, first out
	end      context.CancelCauseFunc

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

// play asks, judges the answers, and puts the world back, whatever happens.
func (s *scenario) play(ctx context.Context, ask func(*scenario, context.Context) error) {
	s.event(lab.Started, "")
	s.judge(ctx, s.askSafely(ctx, ask))
	if err := s.cleanUp(ctx); err != nil {
		s.rec.spoil(fmt.Sprintf("cleanup: %v", err))
	}
	res := s.rec.result()
	s.event(outcomeStatus(res.Outcome), outcomeDetail(&res))
}

// askSafely makes an error of a panic.
func (s *scenario) askSafely(ctx context.Context, ask func(*scenario, context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", s.currentStep(), p, debug.Stack())
		}
	}()
	return ask(s, ctx)
}

// judge decides how the scenario came out. err is what kept it from asking
// on; the checks that failed are the recorder's.
func (s *scenario) judge(ctx context.Context, err error) {
	if ctx.Err() != nil {
		err = errors.Join(fmt.Errorf("%s: interrupted: %w", s.currentStep(), context.Cause(ctx)), err)
	}
	var bad *invalidError
	switch failures := s.rec.failures(); {
	case errors.Is(err, lab.ErrUnsupported):
		s.rec.end(Skipped, err.Error())
	case errors.As(err, &bad):
		s.rec.end(Invalid, bad.why)
	case err != nil || failures != "":
		s.rec.end(Failed, s.explain(ctx, failures, err))
	default:
		s.rec.end(Passed, "")
	}
}

// explain says what failed and what in the lab's own state accounts for it,
// and keeps the objects concerned as they are now.
func (s *scenario) explain(ctx context.Context, failures string, err error) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
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

// cleanup is something to put back when the scenario has ended.
type cleanup struct {
	what string
	do   func(context.Context) error
}

// cleanup puts something back when the scenario has ended, however it ended.
// Cleanups run last in, first out.
func (s *scenario) cleanup(what string, do func(context.Context) error) {
	s.cleanups = append(s.cleanups, cleanup{what, do})
}

// cleanUp runs every cleanup. They don't end with the scenario's context: an
// interrupted scenario is cleaned up too.
func (s *scenario) cleanUp(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(s.cleanups) {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
		if err := c.do(limited); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.what, err))
		}
		cancel()
	}
	return errors.Join(errs...)
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
