package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// lane is a driver in its bed.
type lane struct {
	kind   kind
	bed    *bed
	driver driver
	pids   []int // everything that works for this lane, the kernel's threads included
}

// Run measures. It needs root, or the capabilities to make network namespaces
// (else [ErrMachine]); what it makes is gone when it returns, and when it is killed.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if err := permitted(); err != nil {
		return nil, err
	}
	r := &Result{Options: o, Machine: Describe(ctx)}
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			l.close()
		}
	}()
	for _, k := range kinds() {
		if len(o.Only) > 0 && k.name != kernelName && !slices.Contains(o.Only, k.name) {
			continue
		}
		l, note, err := openLane(ctx, k, o)
		switch {
		case errors.Is(err, errAbsent) && k.prefix != "":
			continue
		case errors.Is(err, errAbsent):
			r.Drivers = append(r.Drivers, Driver{Name: k.name, Skipped: strings.TrimPrefix(err.Error(), errAbsent.Error()+": ")})
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		lanes = append(lanes, l)
		if k.prefix == "" {
			r.Drivers = append(r.Drivers, Driver{Name: k.name, Note: note})
		}
	}
	var s samples
	for round := range o.Rounds {
		for _, step := range steps() {
			if len(o.Measure) > 0 && !slices.Contains(o.Measure, step.group) {
				continue
			}
			for _, l := range lanes {
				if !step.applies(l.kind) {
					continue
				}
				o.Progress(fmt.Sprintf("round %d of %d: %s, %s%s", round+1, o.Rounds, step.name, l.kind.prefix, l.kind.name))
				err := step.run(ctx, o, l, func(id, unit string, v float64) { s.add(l.kind.prefix+id, unit, l.kind.name, v) })
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if err != nil {
					return nil, fmt.Errorf("round %d: %s, %s: %w", round+1, step.name, l.kind.name, err)
				}
			}
		}
	}
	r.Metrics = s.metrics()
	r.Targets = targets(r)
	r.Machine.LoadEnd = Loads(ctx)
	return r, nil
}

func openLane(ctx context.Context, k kind, o Options) (*lane, string, error) {
	bed, err := newBed(ctx)
	if err != nil {
		return nil, "", err
	}
	driver, note, err := k.open(ctx, bed, o)
	if err != nil {
		bed.close()
		return nil, "", err
	}
	l := &lane{kind: k, bed: bed, driver: driver}
	l.pids = append(softirqThreads(), bed.a.pid(), bed.b.pid())
	if pid := driver.pid(); pid != 0 {
		l.pids = append(l.pids, pid)
	}
	return l, note, nil
}

func (l *lane) close() {
	l.driver.close()
	l.bed.close()
}

// permitted tries what the benchmark cannot do without.
func permitted() error {
	ns, err := newNamespace()
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: network namespaces need root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): %w", ErrMachine, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMachine, err)
	}
	defer ns.close()
	if err := ns.sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return fmt.Errorf("%w: /proc/sys must be writable, as it is not in an unprivileged container: %w", ErrMachine, err)
	}
	return nil
}
