package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

func (a *app) upCmd() *cobra.Command {
	var (
		pf      planFlags
		keep    bool
		prov    string
		metrics string
	)
	cmd := &cobra.Command{
		Use:   "up FILE",
		Short: "Bring a topology up and leave it running; on a running lab, apply the difference",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := pf.plan(args[0])
			if err != nil {
				return err
			}
			p, err := provider(prov)
			if err != nil {
				return err
			}
			if err := fixtures.Ready(cmd.Context(), p, plan); err != nil {
				return invalidError(err)
			}
			store, err := lab.DefaultStore()
			if err != nil {
				return err
			}
			if r, err := store.Get(plan.Name); err == nil && r.Ready && r.Owner.Alive() {
				return a.update(cmd.Context(), plan, pf.seed != 0)
			}
			return a.up(cmd.Context(), store, plan, prov, metrics, keep)
		},
	}
	pf.add(cmd.Flags())
	cmd.Flags().BoolVar(&keep, "keep", false, "leave a lab that failed to come up for looking at")
	addProvider(cmd.Flags(), &prov)
	addMetrics(cmd.Flags(), &metrics)
	return cmd
}

// update applies the difference between the file and the running lab.
func (a *app) update(ctx context.Context, plan *sim.Plan, seedGiven bool) error {
	b, r, err := open(ctx, []string{plan.Name})
	if err != nil {
		return err
	}
	if !seedGiven { // a drawn seed is no difference
		if plan, err = fixtures.Plan(plan.Topology, b.Plan().Seed); err != nil {
			return usageError(err)
		}
	}
	if reflect.DeepEqual(b.Plan(), plan) {
		return a.printf("lab %s is up and as the file says\n", r.Name)
	}
	events, stop := a.events()
	defer stop()
	if err := fixtures.Update(ctx, b, plan, events.sink); err != nil {
		return invalidError(err)
	}
	return a.printf("lab %s updated\n", r.Name)
}

// up starts a process that makes the lab and stays, shows its progress, and
// leaves once it is ready. Three pipes tie the two together: events come up
// one; the other's end, closed without the word, tells the child that its
// parent is gone and nobody will ever learn of the lab.
func (a *app) up(ctx context.Context, store lab.Store, plan *sim.Plan, prov, metrics string, keep bool) (err error) {
	dir, record, err := store.Create(plan.Name, prov)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !keep {
			err = errors.Join(err, cleanup(context.WithoutCancel(ctx), prov, dir), store.Remove(record))
		}
	}()
	data, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, planFile), data, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(dir, "atoll.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	eventsR, eventsW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer eventsR.Close()
	wordR, wordW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wordW.Close()
	child := exec.Command(self, "serve", plan.Name, "--provider", prov, fmt.Sprintf("--keep=%v", keep), "--metrics", metrics) //nolint:noctx // it outlives this command
	child.Stdout, child.Stderr = logFile, logFile
	child.ExtraFiles = []*os.File{eventsW, wordR}
	child.SysProcAttr = detached()
	if err := child.Start(); err != nil {
		return err
	}
	eventsW.Close()
	wordR.Close()
	// ctrl-C reaches the child as the broken promise below, not as a signal:
	// it is in a session of its own.
	stop := context.AfterFunc(ctx, func() { wordW.Close() })
	defer stop()

	events, stopEvents := a.events()
	defer stopEvents()
	ready, failure := readEvents(eventsR, events.sink)
	if ready {
		if _, err := io.WriteString(wordW, string(keepWord)); err != nil {
			return errors.Join(fmt.Errorf("lab %s: its process ended as it was ready; see %s", plan.Name, logFile.Name()), err)
		}
		if r, err := store.Get(plan.Name); err == nil && r.Metrics != "" {
			a.printf("metrics on %s\n", r.Metrics)
		}
		return a.printf("lab %s is up; `atoll status %s` shows it, `atoll down %s` removes it\n", plan.Name, plan.Name, plan.Name)
	}
	werr := child.Wait()
	switch {
	case ctx.Err() != nil:
		return invalidError(fmt.Errorf("interrupted; lab %s removed", plan.Name))
	case failure != "":
		return invalidError(errors.New(failure))
	default:
		return invalidError(fmt.Errorf("lab %s: its process ended before it was ready (%w); its log: %s", plan.Name, werr, tail(logFile.Name())))
	}
}

const (
	planFile   = "plan.json"
	keepWord   = 'k'
	readyStep  = "lab ready"
	failedStep = "lab failed"
)

// readEvents passes events on until the one that says how it ended.
func readEvents(r io.Reader, sink lab.Sink) (ready bool, failure string) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e lab.Event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			continue
		}
		switch e.Step {
		case readyStep:
			return true, ""
		case failedStep:
			failure = e.Detail
		default:
			sink(e)
		}
	}
	return false, failure
}

// tail returns the end of a log for an error message.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	const most = 2000
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return string(data)
}
