package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
	"github.com/atoll-dev/atoll/suites/agreement"
	"github.com/atoll-dev/atoll/topologies"
)

const (
	// policiesName is where what came of random policies is kept, among reports.
	policiesName    = "policies.json"
	defaultPolicies = 200
	maxPolicies     = 10_000
)

// place asks a lab random policies and keeps the answers.
func (a *app) place(ctx context.Context, b backend, tf *testFlags, result *suites.Result, events *eventLog) error {
	record, err := agreement.Ask(ctx, b, agreement.Options{
		Seed: result.Seed, Policies: tf.policies, Events: events.sink,
		Engine: result.Engines["admin"], Versions: result.Versions,
	})
	if record == nil {
		return err
	}
	if werr := os.MkdirAll(tf.reports, 0o755); werr != nil {
		return errors.Join(err, werr)
	}
	return errors.Join(err, record.Write(filepath.Join(tf.reports, policiesName)))
}

// engineFlags say which engines are compared, and on what.
type engineFlags struct {
	engines  []string
	seed     uint64
	timers   string
	provider string
	limit    time.Duration
}

func (f *engineFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.engines, "engine", nil, "compare two engines of the admin on the topology of a file: builtin,binaries")
	flags.Uint64Var(&f.seed, "seed", 1, "with --engine: fixes every random choice, the same on both")
	flags.StringVar(&f.timers, "timers", "", "with --engine: short or default; overrides the file's")
	flags.StringVar(&f.provider, "provider", embedded.Name, "with --engine: what makes the clusters")
	flags.DurationVar(&f.limit, "limit", 30*time.Minute, "with --engine: how long one engine may take before it is interrupted")
}

// compareEngines runs the same on two engines, each in a process and a lab of
// its own, one after the other, and compares.
func (a *app) compareEngines(ctx context.Context, args []string, ef *engineFlags, tf *testFlags) error {
	switch {
	case len(ef.engines) != 2 || ef.engines[0] == ef.engines[1]:
		return usageError(errors.New("--engine: want two engines to compare, such as builtin,binaries"))
	case len(args) != 1:
		return usageError(errors.New("--engine needs the file of a topology"))
	case tf.invert:
		return usageError(errors.New("--engine and --invert: inverted runs are not compared"))
	}
	if tf.policies == 0 {
		tf.policies = defaultPolicies
	}
	dir := tf.reports
	if dir == "" {
		tmp, err := os.MkdirTemp("", "atoll-engines-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	tf.reports = dir
	if err := tf.check(); err != nil {
		return err
	}
	var cells []reports.Cell
	for _, engine := range ef.engines {
		pf := planFlags{seed: ef.seed, timers: ef.timers, engine: engine}
		plan, err := pf.plan(args[0])
		if err != nil {
			return err
		}
		command := slices.Concat([]string{"atoll", "run", args[0], "--provider", ef.provider, "--seed", fmt.Sprint(plan.Seed)}, pf.args(), tf.args())
		cells = append(cells, reports.Cell{Topology: plan.Name, File: args[0], Provider: engine, Command: command})
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return err
	}
	var records []*agreement.Record
	for i := range cells {
		c := &cells[i]
		a.line(fmt.Sprintf("[%d/%d] engine %s", i+1, len(cells), c.Provider))
		at := filepath.Join(dir, c.Provider)
		if err := a.runCell(ctx, self, store, at, c, ef.limit); err != nil {
			return err
		}
		a.line(fmt.Sprintf("[%d/%d] engine %s: %s in %s", i+1, len(cells), c.Provider, c.Tell(), c.Elapsed.Round(time.Second)))
		record, err := agreement.Read(filepath.Join(at, policiesName))
		if err != nil {
			return invalidError(fmt.Errorf("engine %s: %s", c.Provider, c.Reason))
		}
		records = append(records, record)
	}
	return a.tellAgreement(cells, records)
}

// tellAgreement compares what two engines answered, to scenarios and policies.
func (a *app) tellAgreement(cells []reports.Cell, records []*agreement.Record) error {
	policies, err := agreement.Compare(records[0], records[1])
	if err != nil {
		return invalidError(err)
	}
	policies.A, policies.B = cells[0].Provider, cells[1].Provider
	out := &reports.Agreement{Policies: policies}
	if x, y := cells[0].Result, cells[1].Result; x != nil && y != nil && len(x.Scenarios) > 0 {
		// That the engines are two is what is compared, not a fault.
		y.Plan.Topology.Spec.Stack.Admin.Engine = topologies.Engine(cells[0].Provider)
		if out.Scenarios, err = reports.Compare(x, y); err != nil {
			return invalidError(err)
		}
		out.Scenarios.Runs[0].Name, out.Scenarios.Runs[1].Name = cells[0].Provider, cells[1].Provider
	}
	if err := a.print(out, func() error { return out.Text(a.stdout) }); err != nil {
		return err
	}
	switch {
	case out.Scenarios != nil && out.Scenarios.Invalid() != "":
		return &codedError{code: exitInvalid, silent: true, err: errors.New(out.Scenarios.Invalid())}
	case !out.Good():
		return &codedError{code: exitFailed, silent: true, err: errors.New("the engines differ")}
	}
	return nil
}
