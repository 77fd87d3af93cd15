package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/suites"
)

func (a *app) runCmd() *cobra.Command {
	var (
		pf   planFlags
		tf   testFlags
		keep bool
		prov string
		addr string
	)
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Bring a topology up, test it, report, and take it down",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tf.check(); err != nil {
				return err
			}
			plan, err := pf.plan(args[0])
			if err != nil {
				return err
			}
			p, err := provider(prov)
			if err != nil {
				return err
			}
			tf.command = []string{"atoll", "run", args[0], "--seed", fmt.Sprint(plan.Seed)}
			tf.command = append(tf.command, pf.args()...)
			if prov != embedded.Name {
				tf.command = append(tf.command, "--provider", prov)
			}
			tf.command = append(tf.command, tf.args()...)
			served, err := newExporter(cmd.Context(), addr) // before anything is made for nothing
			if err != nil {
				return usageError(err)
			}
			defer served.close()
			_, err = a.runPlan(cmd.Context(), p, plan, &tf, served, keep)
			return err
		},
	}
	pf.add(cmd.Flags())
	tf.add(cmd.Flags())
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the lab up when a scenario fails, until ctrl-C")
	addProvider(cmd.Flags(), &prov)
	addMetrics(cmd.Flags(), &addr)
	return cmd
}

// runPlan is the whole job in this process: up, test, report, down. What the
// lab tells Prometheus is served, if at all, from when it is up.
func (a *app) runPlan(ctx context.Context, p lab.Provider, plan *sim.Plan, tf *testFlags, served *exporter, keep bool) (result *suites.Result, err error) {
	events, stop := a.events()
	defer stop()
	if err := fixtures.Ready(ctx, p, plan); err != nil {
		return nil, invalidError(err)
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return nil, err
	}
	dir, record, err := store.Create(plan.Name, p.Name())
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, cleanup(context.WithoutCancel(ctx), p.Name(), dir), store.Remove(record))
	}()

	start := time.Now()
	b, err := fixtures.Up(ctx, p, plan, lab.Options{Dir: dir, Keep: false, Events: events.sink})
	if err != nil {
		return nil, invalidError(err)
	}
	defer func() {
		derr := events.sink.Step("down", "", func() error {
			down, cancel := context.WithTimeout(context.WithoutCancel(ctx), downLimit)
			defer cancel()
			return b.Down(down)
		})
		err = errors.Join(err, derr)
	}()
	stopServing, err := serveLab(ctx, store, &record, b)
	if err != nil {
		return nil, invalidError(err)
	}
	defer stopServing()
	served.serve(b)
	if served != nil && !a.quiet {
		fmt.Fprintf(a.stderr, "metrics on %s\n", served.url())
	}

	tf.up = time.Since(start)
	result, err = a.test(ctx, b, tf, events)
	if err != nil && keep && ctx.Err() == nil {
		fmt.Fprintf(a.stderr, "kept: lab %s is up until ctrl-C; `atoll status %s` shows it\n", plan.Name, plan.Name)
		<-ctx.Done()
	}
	return result, err
}

// serveLab answers for a lab on its socket, and says in the store that it is
// ready. What it returns stops the answering.
func serveLab(ctx context.Context, store lab.Store, record *lab.Record, b lab.Backend) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "unix", record.Socket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = lab.Serve(ctx, b, l) // ends with ctx; a lab that does not answer says so to whoever asks
	}()
	record.Ready = true
	stop = func() { cancel(); <-done }
	if err := store.Put(*record); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// eventLog is the one stream of a run: rendered as it comes, and kept for the
// report.
type eventLog struct {
	sink lab.Sink

	mu   sync.Mutex
	kept []lab.Event
}

func (l *eventLog) events() []lab.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]lab.Event(nil), l.kept...)
}

func (a *app) events() (log *eventLog, stop func()) {
	render, stop := a.progress()
	log = &eventLog{}
	log.sink = func(e lab.Event) {
		log.keep(e)
		render(e)
	}
	return log, stop
}

// keep is a sink that keeps what stays true.
func (l *eventLog) keep(e lab.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Status != lab.Progress {
		l.kept = append(l.kept, e)
	}
}
