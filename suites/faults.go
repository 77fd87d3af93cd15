package suites

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// faults are those in force: what the lab had before the suites began, and
// what scenarios have injected and not yet healed. A backend takes the set
// whole, so scenarios that are asked at the same time share it.
type faults struct {
	lab lab.Backend

	mu       sync.Mutex
	read     bool
	before   []lab.Fault
	injected []lab.Fault
}

// inject puts one more fault in force.
func (f *faults) inject(ctx context.Context, fault lab.Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readBefore(ctx); err != nil {
		return err
	}
	next := append(slices.Clone(f.injected), fault)
	// Even a fault that could not be injected whole has to be healed.
	f.injected = next
	if err := f.lab.Apply(ctx, slices.Concat(f.before, next)); err != nil {
		return fmt.Errorf("inject %s: %w", fault, err)
	}
	return nil
}

// heal takes a scenario's fault away again. One that is not there is fine.
func (f *faults) heal(ctx context.Context, fault lab.Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.injected, func(g lab.Fault) bool { return reflect.DeepEqual(fault, g) })
	if i < 0 {
		return nil
	}
	next := slices.Delete(slices.Clone(f.injected), i, i+1)
	if err := f.lab.Apply(ctx, slices.Concat(f.before, next)); err != nil {
		return fmt.Errorf("heal %s: %w", fault, err)
	}
	f.injected = next
	return nil
}

func (f *faults) readBefore(ctx context.Context) error {
	if f.read {
		return nil
	}
	st, err := f.lab.State(ctx)
	if err != nil {
		return invalid("read the lab's state: %v", err)
	}
	f.read, f.before = true, st.Faults
	return nil
}

// inject puts a fault in force until the scenario heals it or ends, and
// returns the moment before.
func (s *scenario) inject(ctx context.Context, f lab.Fault) (time.Time, error) {
	s.cleanup("heal "+f.String(), func(ctx context.Context) error { return s.faults.heal(ctx, f) })
	at := time.Now()
	if err := s.faults.inject(ctx, f); err != nil {
		return at, err
	}
	s.rec.fault(at, f.Subject(), f.String())
	return at, nil
}

// heal takes a fault of the scenario away again, and returns the moment before.
func (s *scenario) heal(ctx context.Context, f lab.Fault) (time.Time, error) {
	at := time.Now()
	if err := s.faults.heal(ctx, f); err != nil {
		return at, err
	}
	s.rec.fault(at, f.Subject(), "healed: "+f.String())
	return at, nil
}

// breakWorld does what inverting a scenario means, and keeps it in the words
// that its failure has to repeat.
func (s *scenario) breakWorld(ctx context.Context, f lab.Fault) error {
	s.rec.inverted(f.String())
	_, err := s.inject(ctx, f)
	return err
}
